//! Tables by number: rows, calls, bindings, and what follows from them.
//!
//! Numbers are given in rising order, so a table is nearly dense where it is used most: slots of neighbouring numbers
//! on a page, neighbouring pages in a quire, quires in one list. A look-up is three steps and, but for numbers that
//! have long been overtaken, no search, whatever the table's size. All three are shared between clones: after a clone
//! a write copies the list, the quire and the page that it touches, unless no clone has them any more.

use crate::command::CallId;
use crate::entity::{Id, Row};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// What a page holds.
pub(super) trait Slot: Clone {
    /// Nothing there.
    const EMPTY: Self;
    fn is_empty(&self) -> bool;
}

impl<T> Slot for Option<Arc<T>> {
    const EMPTY: Self = None;
    fn is_empty(&self) -> bool {
        self.is_none()
    }
}

/// Pages of a quire.
const QUIRE: usize = 32;

#[derive(Clone)]
struct Page<T, const N: usize> {
    /// Slots that hold something.
    used: u32,
    /// Nothing while none does.
    slots: Option<Arc<[T; N]>>,
}

#[derive(Clone)]
struct Quire<T, const N: usize> {
    /// The numbers' upper part.
    base: u64,
    /// Slots that hold something.
    used: u32,
    pages: Arc<[Page<T, N>; QUIRE]>,
}

impl<T, const N: usize> Quire<T, N> {
    fn new(base: u64) -> Self {
        let page = |_| Page {
            used: 0,
            slots: None,
        };
        Quire {
            base,
            used: 0,
            pages: Arc::new(std::array::from_fn(page)),
        }
    }
}

/// Slots by number. Pages with nothing on them are not kept, nor are quires but the last.
pub(super) struct Paged<T, const N: usize> {
    /// By `base`, rising.
    quires: Arc<Vec<Quire<T, N>>>,
    /// Slots that hold something.
    len: usize,
    /// The page that was emptied last, to be used again: a table of one row at a time makes no page for each.
    spare: Option<Arc<[T; N]>>,
}

impl<T, const N: usize> Default for Paged<T, N> {
    fn default() -> Self {
        Paged {
            quires: Arc::default(),
            len: 0,
            spare: None,
        }
    }
}

impl<T, const N: usize> Clone for Paged<T, N> {
    fn clone(&self) -> Self {
        Paged {
            quires: self.quires.clone(),
            len: self.len,
            spare: None,
        }
    }
}

/// Where a number lies: its quire's base, its page in the quire, its slot on the page.
fn place<const N: usize>(number: u64) -> (u64, usize, usize) {
    let page = number / N as u64;
    (
        page / QUIRE as u64,
        (page % QUIRE as u64) as usize,
        (number % N as u64) as usize,
    )
}

impl<T: Slot, const N: usize> Paged<T, N> {
    fn find(&self, base: u64) -> Result<usize, usize> {
        // While no quire has ever become empty one stands at its own number. The newest numbers lie in the last.
        match (self.quires.get(base as usize), self.quires.last()) {
            (Some(quire), _) if quire.base == base => Ok(base as usize),
            (_, Some(quire)) if quire.base == base => Ok(self.quires.len() - 1),
            _ => self.quires.binary_search_by_key(&base, |quire| quire.base),
        }
    }

    pub(super) fn slot(&self, number: u64) -> Option<&T> {
        let (base, page, at) = place::<N>(number);
        let quire = self.find(base).ok()?;
        Some(&self.quires[quire].pages[page].slots.as_ref()?[at])
    }

    /// A slot that holds something, to be changed to something else.
    fn filled_mut(&mut self, number: u64) -> Option<&mut T> {
        if self.slot(number)?.is_empty() {
            return None;
        }
        let (base, page, at) = place::<N>(number);
        let quire = self.find(base).ok()?;
        let quire = &mut Arc::make_mut(&mut self.quires)[quire];
        let page = &mut Arc::make_mut(&mut quire.pages)[page];
        Some(&mut Arc::make_mut(page.slots.as_mut()?)[at])
    }

    /// Changes one slot, which may be empty before and after.
    pub(super) fn change<R>(&mut self, number: u64, change: impl FnOnce(&mut T) -> R) -> R {
        let (base, page, at) = place::<N>(number);
        let found = self.find(base);
        let quires = Arc::make_mut(&mut self.quires);
        let index = found.unwrap_or_else(|index| {
            // An empty one was only kept while it was the last.
            if index == quires.len() {
                quires.pop_if(|last| last.used == 0);
            }
            let index = index.min(quires.len());
            quires.insert(index, Quire::new(base));
            index
        });
        let quire = &mut quires[index];
        let page = &mut Arc::make_mut(&mut quire.pages)[page];
        let spare = &mut self.spare;
        let slots = page.slots.get_or_insert_with(|| {
            spare
                .take()
                .unwrap_or_else(|| Arc::new([const { T::EMPTY }; N]))
        });
        let slot = &mut Arc::make_mut(slots)[at];
        let before = slot.is_empty();
        let result = change(slot);
        match (before, slot.is_empty()) {
            (true, false) => {
                page.used += 1;
                quire.used += 1;
                self.len += 1;
            }
            (false, true) => {
                page.used -= 1;
                quire.used -= 1;
                self.len -= 1;
            }
            _ => {}
        }
        if page.used == 0 {
            self.spare = page.slots.take();
        }
        if quire.used == 0 && index + 1 < quires.len() {
            quires.remove(index);
        }
        result
    }

    /// Slots that hold something, by rising number.
    pub(super) fn iter(&self) -> Iter<'_, T, N> {
        Iter {
            quires: &self.quires,
            front: 0,
            back: self.quires.len() * QUIRE * N,
            left: self.len,
        }
    }
}

impl<T: Slot + PartialEq, const N: usize> PartialEq for Paged<T, N> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<T: Slot + fmt::Debug, const N: usize> fmt::Debug for Paged<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Walks a table from both ends.
pub(super) struct Iter<'a, T, const N: usize> {
    quires: &'a [Quire<T, N>],
    /// Slots are counted through all quires, empty pages as well.
    front: usize,
    back: usize,
    left: usize,
}

impl<'a, T: Slot, const N: usize> Iter<'a, T, N> {
    /// The page of a slot.
    fn page(&self, place: usize) -> Option<&'a [T; N]> {
        let quire = &self.quires[place / N / QUIRE];
        quire.pages[place / N % QUIRE].slots.as_deref()
    }

    fn found(&mut self, place: usize, slot: &'a T) -> Option<(u64, &'a T)> {
        if slot.is_empty() {
            return None;
        }
        self.left -= 1;
        let base = self.quires[place / N / QUIRE].base;
        let within = place % (N * QUIRE);
        Some((base * (N * QUIRE) as u64 + within as u64, slot))
    }
}

impl<'a, T: Slot, const N: usize> Iterator for Iter<'a, T, N> {
    type Item = (u64, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            let place = self.front;
            let Some(slots) = self.page(place) else {
                self.front += N;
                continue;
            };
            self.front += 1;
            if let Some(found) = self.found(place, &slots[place % N]) {
                return Some(found);
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T: Slot, const N: usize> DoubleEndedIterator for Iter<'_, T, N> {
    fn next_back(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            let place = self.back - 1;
            let Some(slots) = self.page(place) else {
                self.back -= N;
                continue;
            };
            self.back -= 1;
            if let Some(found) = self.found(place, &slots[place % N]) {
                return Some(found);
            }
        }
        None
    }
}

impl<T: Slot, const N: usize> ExactSizeIterator for Iter<'_, T, N> {}

/// What rows are numbered with.
pub(super) trait Key: Copy {
    fn number(self) -> u64;
    fn of(number: u64) -> Self;
}

impl Key for Id {
    fn number(self) -> u64 {
        self.into()
    }
    fn of(number: u64) -> Self {
        number as Id
    }
}

impl Key for u64 {
    fn number(self) -> u64 {
        self
    }
    fn of(number: u64) -> Self {
        number
    }
}

impl Key for CallId {
    fn number(self) -> u64 {
        self.0
    }
    fn of(number: u64) -> Self {
        CallId(number)
    }
}

/// Shared rows by their key.
pub(super) struct Numbered<K, V>(Paged<Option<Arc<V>>, 64>, PhantomData<K>);

/// The rows of a table that operators edit.
pub(super) type Rows<T> = Numbered<Id, Row<T>>;

impl<K: Key, V> Numbered<K, V> {
    pub(super) fn len(&self) -> usize {
        self.0.len
    }

    pub(super) fn get(&self, key: &K) -> Option<&Arc<V>> {
        self.0.slot(key.number())?.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut Arc<V>> {
        self.0.filled_mut(key.number())?.as_mut()
    }

    pub(super) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn insert(&mut self, key: K, row: Arc<V>) -> Option<Arc<V>> {
        self.0.change(key.number(), |slot| slot.replace(row))
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<Arc<V>> {
        if !self.contains_key(key) {
            return None;
        }
        self.0.change(key.number(), Option::take)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (K, &Arc<V>)> + DoubleEndedIterator {
        self.0.iter().map(|(number, row)| {
            let row = row.as_ref();
            let row = row.expect("only slots that hold a row are walked");
            (K::of(number), row)
        })
    }

    pub(super) fn keys(&self) -> impl ExactSizeIterator<Item = K> + DoubleEndedIterator {
        self.iter().map(|(key, _)| key)
    }

    pub(super) fn values(&self) -> impl ExactSizeIterator<Item = &Arc<V>> + DoubleEndedIterator {
        self.iter().map(|(_, row)| row)
    }
}

impl<K, V> Clone for Numbered<K, V> {
    fn clone(&self) -> Self {
        Numbered(self.0.clone(), PhantomData)
    }
}

impl<K, V> Default for Numbered<K, V> {
    fn default() -> Self {
        Numbered(Paged::default(), PhantomData)
    }
}

impl<K, V: PartialEq> PartialEq for Numbered<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K, V: fmt::Debug> fmt::Debug for Numbered<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<K: Key + Serialize, V: Serialize> Serialize for Numbered<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, K, V> Deserialize<'de> for Numbered<K, V>
where
    K: Key + Deserialize<'de>,
    V: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<K, V>(PhantomData<(K, V)>);
        impl<'de, K, V> Visitor<'de> for Read<K, V>
        where
            K: Key + Deserialize<'de>,
            V: Deserialize<'de>,
        {
            type Value = Numbered<K, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("rows by number")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut rows = Numbered::default();
                while let Some((key, row)) = map.next_entry()? {
                    rows.insert(key, row);
                }
                Ok(rows)
            }
        }
        deserializer.deserialize_map(Read(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    impl Slot for u32 {
        const EMPTY: Self = 0;
        fn is_empty(&self) -> bool {
            *self == 0
        }
    }

    proptest! {
        #[test]
        fn behaves_as_a_sorted_map(
            steps in proptest::collection::vec((0u64..60, 0u64..2_000, 0u32..3, any::<bool>()), 0..300),
        ) {
            let mut counts = Paged::<u32, 16>::default();
            let mut model = BTreeMap::new();
            for (far, near, value, clone) in steps {
                // Some lie where quires are dense, some where they are far between.
                let id = if far % 2 == 0 { near } else { far << 32 | near };
                let kept = clone.then(|| (counts.clone(), model.clone()));
                counts.change(id, |n| *n = value);
                if value == 0 { model.remove(&id); } else { model.insert(id, value); }
                prop_assert_eq!(counts.iter().len(), model.len());
                prop_assert_eq!(counts.slot(id).copied().unwrap_or(0), value);
                if let Some((kept, model)) = kept {
                    prop_assert!(kept.iter().eq(model.iter().map(|(id, n)| (*id, n))), "a clone stays");
                }
            }
            prop_assert!(counts.iter().eq(model.iter().map(|(id, n)| (*id, n))));
            prop_assert!(counts.iter().rev().eq(model.iter().rev().map(|(id, n)| (*id, n))));
            let mut both = counts.iter();
            let mut walked = Vec::new();
            while let Some((id, _)) = both.next() {
                walked.push(id);
                walked.extend(both.next_back().map(|(id, _)| id));
            }
            walked.sort_unstable();
            prop_assert!(walked.iter().eq(model.keys()));
        }
    }
}
