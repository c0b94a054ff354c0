//! What only applying looks up, by key and never in an order: pairs, (X,B'), ended calls, answered requests.
//!
//! Plain tables, for they are the most used and largest ones of a call, and readers have no use for them: a clone of the state leaves them behind and makes its own from the content should it ever need them (a trial routing,
//! a test that goes on from a clone). Nothing walks them, so their order is nobody's business and their hash has a
//! seed of the process, which keeps dialled numbers from choosing their places.

use super::Content;
use super::digits::Digits;
use super::standing::{Role, Stand, Standing};
use crate::command::{CallId, Reply};
use crate::entity::Id;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// The tables.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Lookup {
    pub(super) standing: Standing,
    pub(super) ended: CallSet,
    pub(super) requests: HashMap<u64, Reply, Seeded>,
}

impl Lookup {
    fn build(content: &Content) -> Lookup {
        let mut lookup = Lookup::default();
        for call in &content.ended {
            lookup.ended.set(*call, true);
        }
        lookup.requests.extend(content.requests.iter().cloned());
        lookup.standing.set_now(content.at);
        for rest in content.rests.iter() {
            // As good as gone: a rest that is over, and one on an X that is no more.
            if rest.until <= content.at || !content.x_numbers.contains_key(&rest.x) {
                continue;
            }
            let resting = Stand::Resting(rest.until);
            lookup.standing.put(rest.x, &rest.a, resting);
        }
        for binding in content.bindings.values() {
            let (x, a) = (binding.x_id, Digits::from(&*binding.a));
            lookup.standing.put(x, &a, Stand::Active(binding.id));
            lookup.called(x, &binding.b_submitted, true);
        }
        for call in content.calls.values() {
            let lease = call
                .attempt
                .as_ref()
                .and_then(|attempt| attempt.ax.as_ref());
            if let (Some(hold), Some(lease)) = (&call.ax, lease) {
                lookup.called(hold.x_id, &lease.b_submitted, true);
            }
        }
        lookup
    }

    /// Counts a number that is called over an X.
    pub(super) fn called(&mut self, x: Id, b_submitted: &str, up: bool) {
        let b = Digits::from(b_submitted);
        let calls = match self.standing.get(x, &b, Role::Called) {
            Some(Stand::Called(calls)) => calls,
            _ => 0,
        };
        let calls = if up {
            calls + 1
        } else {
            calls.saturating_sub(1)
        };
        if calls == 0 {
            self.standing.take(x, &b, Role::Called);
        } else {
            self.standing.put(x, &b, Stand::Called(calls));
        }
    }

    /// An ended call is remembered in place of the oldest one.
    pub(super) fn ended(&mut self, call: CallId, oldest: Option<CallId>) {
        self.ended.set(call, true);
        if let Some(oldest) = oldest {
            self.ended.set(oldest, false);
        }
    }
}

/// A set of calls, 64 to an entry. Calls of a tenure are counted up and end about when their neighbours end, so all
/// entries that are asked for lie in a few places, where one for each call would lie anywhere.
#[derive(Debug, Default, PartialEq)]
pub(super) struct CallSet(HashMap<u64, u64, Seeded>);

impl CallSet {
    fn place(call: CallId) -> (u64, u64) {
        (call.0 / 64, 1 << (call.0 % 64))
    }

    pub(super) fn contains(&self, call: CallId) -> bool {
        let (entry, bit) = Self::place(call);
        self.0.get(&entry).is_some_and(|calls| calls & bit != 0)
    }

    /// Puts a call in or takes it out.
    fn set(&mut self, call: CallId, member: bool) {
        let (entry, bit) = Self::place(call);
        if member {
            *self.0.entry(entry).or_default() |= bit;
        } else if let Entry::Occupied(mut calls) = self.0.entry(entry) {
            *calls.get_mut() &= !bit;
            if *calls.get() == 0 {
                calls.remove();
            }
        }
    }
}

/// The tables of one state, made of its content when they are first asked for, and kept up to date from then on.
/// [`super::State::apply`] asks before it changes anything, so they are never made of a content that is half changed.
#[derive(Debug, Default)]
pub(super) struct Made(OnceLock<Box<Lookup>>);

impl Made {
    pub(super) fn of(&self, content: &Content) -> &Lookup {
        self.0.get_or_init(|| Box::new(Lookup::build(content)))
    }

    /// To keep them up to date. What is not made needs no change.
    pub(super) fn made_mut(&mut self) -> Option<&mut Lookup> {
        self.0.get_mut().map(|lookup| &mut **lookup)
    }

    /// A pair is neither leased nor at rest.
    pub(super) fn free(&mut self, (a, x): &(Digits, Id)) {
        if let Some(lookup) = self.made_mut() {
            lookup.standing.take(*x, a, Role::Caller);
        }
    }
}

impl Clone for Made {
    fn clone(&self) -> Self {
        Made::default()
    }
}

impl PartialEq for Made {
    /// Tables that are not made differ from none.
    fn eq(&self, other: &Self) -> bool {
        match (self.0.get(), other.0.get()) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }
}

/// Makes hashers with a seed of their own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        Seeded(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Seeded {
    type Hasher = Fold;
    fn build_hasher(&self) -> Fold {
        Fold(self.0)
    }
}

/// Multiplies and folds, eight bytes at a time.
pub(super) struct Fold(u64);

impl Hasher for Fold {
    fn write_u64(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        self.0 = ((wide >> 64) as u64 ^ wide as u64).wrapping_add(0xf39c_c060_5ced_c835);
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
