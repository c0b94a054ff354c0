//! Tables by row id: rows, and what follows from them.
//!
//! Ids are given in rising order, so a table is nearly dense: pages of neighbouring ids behind one list of pages. A
//! look-up is two steps and no search, whatever the table's size. Pages and their list are shared between clones;
//! the first write after a clone copies the list, and each write the page that it touches if a clone still has it.

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

#[derive(Clone)]
struct Page<T, const N: usize> {
    /// The ids' upper part.
    base: Id,
    used: u32,
    slots: Arc<[T; N]>,
}

/// Slots by id. Pages with nothing on them are not kept.
#[derive(Clone)]
pub(super) struct Paged<T, const N: usize> {
    /// By `base`, rising.
    pages: Arc<Vec<Page<T, N>>>,
    /// Slots that hold something.
    len: usize,
}

impl<T, const N: usize> Default for Paged<T, N> {
    fn default() -> Self {
        Paged {
            pages: Arc::default(),
            len: 0,
        }
    }
}

fn place<const N: usize>(id: Id) -> (Id, usize) {
    (id / N as Id, id as usize % N)
}

impl<T: Slot, const N: usize> Paged<T, N> {
    fn find(&self, base: Id) -> Result<usize, usize> {
        // While no page has ever become empty a page stands at its own number.
        match self.pages.get(base as usize) {
            Some(page) if page.base == base => Ok(base as usize),
            _ => self.pages.binary_search_by_key(&base, |page| page.base),
        }
    }

    pub(super) fn slot(&self, id: Id) -> Option<&T> {
        let (base, at) = place::<N>(id);
        let page = self.find(base).ok()?;
        Some(&self.pages[page].slots[at])
    }

    /// Changes one slot, which may be empty before and after.
    pub(super) fn change<R>(&mut self, id: Id, change: impl FnOnce(&mut T) -> R) -> R {
        let (base, at) = place::<N>(id);
        let found = self.find(base);
        let pages = Arc::make_mut(&mut self.pages);
        let index = found.unwrap_or_else(|index| {
            let page = Page {
                base,
                used: 0,
                slots: Arc::new([const { T::EMPTY }; N]),
            };
            pages.insert(index, page);
            index
        });
        let page = &mut pages[index];
        let slot = &mut Arc::make_mut(&mut page.slots)[at];
        let before = slot.is_empty();
        let result = change(slot);
        match (before, slot.is_empty()) {
            (true, false) => {
                page.used += 1;
                self.len += 1;
            }
            (false, true) => {
                page.used -= 1;
                self.len -= 1;
            }
            _ => {}
        }
        if page.used == 0 {
            pages.remove(index);
        }
        result
    }

    /// Slots that hold something, by rising id.
    pub(super) fn iter(&self) -> Iter<'_, T, N> {
        Iter {
            pages: &self.pages,
            front: 0,
            back: self.pages.len() * N,
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
    pages: &'a [Page<T, N>],
    front: usize,
    back: usize,
    left: usize,
}

impl<'a, T: Slot, const N: usize> Iter<'a, T, N> {
    fn at(&self, place: usize) -> Option<(Id, &'a T)> {
        let page = &self.pages[place / N];
        let slot = &page.slots[place % N];
        (!slot.is_empty()).then_some((page.base * N as Id + (place % N) as Id, slot))
    }
}

impl<'a, T: Slot, const N: usize> Iterator for Iter<'a, T, N> {
    type Item = (Id, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            let found = self.at(self.front);
            self.front += 1;
            if found.is_some() {
                self.left -= 1;
                return found;
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
            self.back -= 1;
            let found = self.at(self.back);
            if found.is_some() {
                self.left -= 1;
                return found;
            }
        }
        None
    }
}

impl<T: Slot, const N: usize> ExactSizeIterator for Iter<'_, T, N> {}

/// The rows of a table.
pub(super) struct Rows<T>(Paged<Option<Arc<Row<T>>>, 64>);

impl<T> Rows<T> {
    pub(super) fn get(&self, id: &Id) -> Option<&Arc<Row<T>>> {
        self.0.slot(*id)?.as_ref()
    }

    pub(super) fn contains_key(&self, id: &Id) -> bool {
        self.get(id).is_some()
    }

    pub(super) fn insert(&mut self, id: Id, row: Arc<Row<T>>) -> Option<Arc<Row<T>>> {
        self.0.change(id, |slot| slot.replace(row))
    }

    pub(super) fn remove(&mut self, id: &Id) -> Option<Arc<Row<T>>> {
        if !self.contains_key(id) {
            return None;
        }
        self.0.change(*id, Option::take)
    }

    pub(super) fn iter(
        &self,
    ) -> impl ExactSizeIterator<Item = (Id, &Arc<Row<T>>)> + DoubleEndedIterator {
        self.0.iter().map(|(id, row)| {
            let row = row.as_ref();
            (id, row.expect("only slots that hold a row are walked"))
        })
    }

    pub(super) fn keys(&self) -> impl ExactSizeIterator<Item = Id> + DoubleEndedIterator {
        self.iter().map(|(id, _)| id)
    }

    pub(super) fn values(
        &self,
    ) -> impl ExactSizeIterator<Item = &Arc<Row<T>>> + DoubleEndedIterator {
        self.iter().map(|(_, row)| row)
    }
}

impl<T> Clone for Rows<T> {
    fn clone(&self) -> Self {
        Rows(self.0.clone())
    }
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Rows(Paged::default())
    }
}

impl<T: PartialEq> PartialEq for Rows<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Rows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Serialize> Serialize for Rows<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Rows<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Read<T> {
            type Value = Rows<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("rows by id")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rows<T>, A::Error> {
                let mut rows = Rows::default();
                while let Some((id, row)) = map.next_entry()? {
                    rows.insert(id, row);
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
            steps in proptest::collection::vec((0u32..2_000, 0u32..3, any::<bool>()), 0..300),
        ) {
            let mut counts = Paged::<u32, 256>::default();
            let mut model = BTreeMap::new();
            for (id, value, clone) in steps {
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
