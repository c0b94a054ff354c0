//! What stands on each X: the A numbers of its bindings, those that rest, and the numbers that are called over it.
//!
//! Nearly every X carries few at once. These lie together on two cache lines of its own, so that a draw, a reservation
//! and a release touch no other place for them, however many bindings live elsewhere. What finds no room there goes to
//! a hash table of all X numbers.
//!
//! A pair whose rest is over is gone for whoever asks. Nobody looks for it at that moment, for nobody has touched its X
//! for so long: its place is given away when room is wanted.

use super::digits::Digits;
use super::lookup::Seeded;
use crate::command::BindingId;
use crate::entity::{Id, Millis};
use std::collections::HashMap;

/// How a number stands on an X.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// As the A of this binding.
    Active(BindingId),
    /// As an A that is free again after this moment.
    Resting(Millis),
    /// As the B' of so many bindings and AX calls.
    Called(u32),
}

/// A number may stand on an X once in each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Caller,
    Called,
}

impl Stand {
    fn role(self) -> Role {
        match self {
            Stand::Active(_) | Stand::Resting(_) => Role::Caller,
            Stand::Called(_) => Role::Called,
        }
    }

    fn is_over(self, at: Millis) -> bool {
        matches!(self, Stand::Resting(until) if until <= at)
    }
}

/// A number, packed, and how it stands.
type Place = (u64, Stand);

/// No number is packed as 0 but the empty one, which is kept far.
const FREE: Place = (0, Stand::Called(0));

/// Numbers on one X.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Near {
    places: [Place; 5],
    /// Further ones of this X in the hash table.
    far: u32,
}

const _: () = assert!(size_of::<Near>() == 128, "two cache lines");

const EMPTY: Near = Near {
    places: [FREE; 5],
    far: 0,
};

/// X rows whose places are made together.
const PAGE: usize = 32;

/// Of all X numbers.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// By X row; ids are given in rising order.
    near: Vec<Option<Box<[Near; PAGE]>>>,
    far: HashMap<(Id, Digits, Role), Stand, Seeded>,
    /// Log time: what rests until now rests no more.
    now: Millis,
}

/// The form in which a number is kept near, if it has one.
fn packed(number: &Digits) -> Option<u64> {
    match number {
        Digits::Packed(packed) if *packed != 0 => Some(*packed),
        _ => None,
    }
}

fn page_of(x: Id) -> (usize, usize) {
    (x as usize / PAGE, x as usize % PAGE)
}

impl Near {
    fn find(&self, number: Option<u64>, role: Role) -> Option<usize> {
        let number = number?;
        let is_it = |place: &Place| place.0 == number && place.1.role() == role;
        self.places.iter().position(is_it)
    }
}

impl Standing {
    /// Log time goes on. It never steps back.
    pub(super) fn set_now(&mut self, now: Millis) {
        self.now = now;
    }

    fn near(&self, x: Id) -> Option<&Near> {
        let (page, at) = page_of(x);
        Some(&self.near.get(page)?.as_ref()?[at])
    }

    fn near_mut(&mut self, x: Id) -> &mut Near {
        let (page, at) = page_of(x);
        if self.near.len() <= page {
            self.near.resize_with(page + 1, || None);
        }
        &mut self.near[page].get_or_insert_with(|| Box::new([EMPTY; PAGE]))[at]
    }

    /// How a number stands on an X in this role.
    pub(super) fn get(&self, x: Id, number: &Digits, role: Role) -> Option<Stand> {
        let near = self.near(x)?;
        let stand = match near.find(packed(number), role) {
            Some(place) => near.places[place].1,
            None if near.far == 0 => return None,
            None => *self.far.get(&(x, number.clone(), role))?,
        };
        (!stand.is_over(self.now)).then_some(stand)
    }

    /// Lets a number stand on an X; how it stood so far in the same role.
    pub(super) fn put(&mut self, x: Id, number: &Digits, stand: Stand) -> Option<Stand> {
        let (packed, role, now) = (packed(number), stand.role(), self.now);
        let near = self.near_mut(x);
        let there = match near.find(packed, role) {
            Some(place) => Some(&mut near.places[place].1),
            None if near.far == 0 => None,
            None => self.far.get_mut(&(x, number.clone(), role)),
        };
        if let Some(there) = there {
            let before = std::mem::replace(there, stand);
            return (!before.is_over(now)).then_some(before);
        }
        let near = self.near_mut(x);
        let mut places = near.places.iter_mut();
        if let Some(packed) = packed
            && let Some(place) = places.find(|place| **place == FREE || place.1.is_over(now))
        {
            *place = (packed, stand);
            return None;
        }
        near.far += 1;
        self.make_room();
        self.far.insert((x, number.clone(), role), stand);
        None
    }

    /// A number stands on an X no more.
    pub(super) fn take(&mut self, x: Id, number: &Digits, role: Role) {
        let near = self.near_mut(x);
        if let Some(place) = near.find(packed(number), role) {
            near.places[place] = FREE;
        } else if near.far > 0 && self.far.remove(&(x, number.clone(), role)).is_some() {
            self.near_mut(x).far -= 1;
        }
    }

    /// An X is gone with all that stands on it, rests included: its number never comes again.
    pub(super) fn forget(&mut self, x: Id) {
        if self.near(x).is_none() {
            return;
        }
        let near = self.near_mut(x);
        let far = std::mem::replace(near, EMPTY).far;
        if far > 0 {
            self.far.retain(|(on, ..), _| *on != x);
        }
        // What was made for the numbers of an import goes with the last of them.
        let page = &mut self.near[page_of(x).0];
        let unused = |near: &Near| near.far == 0 && near.places == [FREE; 5];
        if page.as_ref().is_some_and(|rows| rows.iter().all(unused)) {
            *page = None;
        }
    }

    /// Keeps the table at most half full, for in a full one what is taken out leaves marks behind that make it be
    /// written anew ever so often. Rests that are over go first.
    fn make_room(&mut self) {
        if self.far.len() * 2 < self.far.capacity() {
            return;
        }
        let mut over = Vec::new();
        self.far.retain(|(x, ..), stand| {
            let stays = !stand.is_over(self.now);
            if !stays {
                over.push(*x);
            }
            stays
        });
        for x in over {
            self.near_mut(x).far -= 1;
        }
        if self.far.len() * 4 > self.far.capacity() {
            self.far.reserve(self.far.capacity());
        }
    }

    /// All of them, in no order.
    fn iter(&self) -> impl Iterator<Item = (Id, Digits, Stand)> + '_ {
        let pages = self.near.iter().enumerate();
        let rows = pages.flat_map(|(page, rows)| {
            let rows = rows.iter().flat_map(|rows| rows.iter()).enumerate();
            rows.map(move |(row, near)| ((page * PAGE + row) as Id, near))
        });
        let near = rows.flat_map(|(x, near)| {
            let places = near.places.iter().filter(|place| **place != FREE);
            places.map(move |(number, stand)| (x, Digits::Packed(*number), *stand))
        });
        let far = self.far.iter();
        near.chain(far.map(|((x, number, _), stand)| (*x, number.clone(), *stand)))
            .filter(|(_, _, stand)| !stand.is_over(self.now))
    }
}

impl PartialEq for Standing {
    /// The same stand on the same, wherever either keeps them.
    fn eq(&self, other: &Self) -> bool {
        self.iter().count() == other.iter().count()
            && self
                .iter()
                .all(|(x, number, stand)| other.get(x, &number, stand.role()) == Some(stand))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_is_forgotten_takes_no_room() {
        let mut standing = Standing::default();
        for x in 0..100 {
            for n in 0..9 {
                standing.put(x, &number(n), Stand::Resting(1));
            }
        }
        for x in 0..100 {
            standing.forget(x);
        }
        assert_eq!(standing, Standing::default());
        assert!(standing.far.is_empty() && standing.near.iter().all(Option::is_none));
    }

    fn number(n: u8) -> Digits {
        // One is no packed number, one is empty.
        match n {
            0 => Digits::from(""),
            1 => Digits::from("sip:anonymous"),
            n => Digits::from(&*n.to_string()),
        }
    }

    proptest! {
        #[test]
        fn behaves_as_a_map_without_what_is_over(
            steps in proptest::collection::vec((0u32..5, 0u8..12, 0u8..4, 0u64..40), 0..400),
        ) {
            let (mut standing, mut model) = (Standing::default(), BTreeMap::new());
            for (now, (x, n, deed, rest)) in (0..).zip(steps) {
                standing.set_now(now);
                model.retain(|_, stand: &mut Stand| !stand.is_over(now));
                // Few X, so that they are crowded, and on different pages.
                let x = x * 20;
                let key = |role| (x, n, role == Role::Called);
                let stand = match deed {
                    0 => Stand::Active(now),
                    1 => Stand::Resting(now + 1 + rest),
                    2 => Stand::Called(n.into()),
                    _ => {
                        for role in [Role::Caller, Role::Called] {
                            prop_assert_eq!(standing.get(x, &number(n), role), model.remove(&key(role)));
                            standing.take(x, &number(n), role);
                        }
                        continue;
                    }
                };
                prop_assert_eq!(standing.put(x, &number(n), stand), model.insert(key(stand.role()), stand));
                let mut again = Standing::default();
                again.set_now(now);
                for ((x, n, _), stand) in model.iter().rev() {
                    again.put(*x, &number(*n), *stand);
                }
                prop_assert_eq!(&standing, &again);
            }
        }
    }
}
