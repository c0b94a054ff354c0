//! What follows from static relations and from the calls that go out over them.

use super::Content;
use super::digits::Digits;
use super::model::{AxLive, AxPhase};
use crate::command::CallId;
use crate::entity::{AxBinding, Id, Millis};
use imbl::{OrdMap, OrdSet};
use std::sync::Arc;

/// What one row stands for in the tables below, so that it can be taken out of them again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    interface: Id,
    a: Digits,
    x: Digits,
    held: bool,
    bound: bool,
    ends: Option<Millis>,
}

/// Relations by what is asked of them, and the queues of the X numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct AxIndex {
    entries: OrdMap<Id, Arc<Entry>>,
    /// Relations that take their pair: A and X.
    pairs: OrdMap<(Digits, Digits), Id>,
    /// How many of them an X carries.
    on_x: OrdMap<Digits, u32>,
    /// Bound ones: interface, A, row.
    by_a: OrdSet<(Id, Digits, Id)>,
    /// Bound ones: interface, X, row.
    by_x: OrdSet<(Id, Digits, Id)>,
    /// Rows and bound rows of an interface.
    counts: OrdMap<Id, (u32, u32)>,
    /// When bound ones are to end.
    ends: OrdSet<(Millis, Id)>,
    /// Calls that set their callee one after another: X row and place in its queue. The first has its turn.
    queues: OrdMap<(Id, u64), CallId>,
}

/// When a bound relation is to end: by our own word or by the platform's, whichever is first.
pub(super) fn ends(entity: &AxBinding, live: &AxLive) -> Option<Millis> {
    [entity.expires_at, live.expires_at]
        .into_iter()
        .flatten()
        .min()
}

impl AxIndex {
    /// No row takes a pair.
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Brings the tables up to date with a row that was made, changed or removed.
    pub(super) fn refresh(&mut self, content: &Content, id: Id) {
        let new = content.ax.get(&id).map(|row| {
            let none = AxLive::default();
            let live = content.ax_live.get(&id).map_or(&none, |live| &**live);
            let bound = live.phase == AxPhase::Bound;
            Entry {
                interface: row.entity.interface,
                a: Digits::from(&*row.entity.a_number),
                x: Digits::from(&*row.entity.x_number),
                held: live.takes_pair(),
                bound,
                ends: ends(&row.entity, live).filter(|_| bound),
            }
        });
        let old = match &new {
            Some(entry) => self.entries.insert(id, Arc::new(entry.clone())),
            None => self.entries.remove(&id),
        };
        if old.as_deref() == new.as_ref() {
            return;
        }
        if let Some(old) = old {
            self.enter(id, &old, false);
        }
        if let Some(new) = new {
            self.enter(id, &new, true);
        }
    }

    fn enter(&mut self, id: Id, entry: &Entry, present: bool) {
        let step = |n: u32| if present { n + 1 } else { n.saturating_sub(1) };
        let (rows, bound) = self.counts.get(&entry.interface).copied().unwrap_or((0, 0));
        let counts = (step(rows), if entry.bound { step(bound) } else { bound });
        if counts == (0, 0) {
            self.counts.remove(&entry.interface);
        } else {
            self.counts.insert(entry.interface, counts);
        }
        if entry.held {
            let pair = (entry.a.clone(), entry.x.clone());
            if present {
                self.pairs.insert(pair, id);
            } else {
                self.pairs.remove(&pair);
            }
            let relations = step(self.on_x.get(&entry.x).copied().unwrap_or(0));
            if relations == 0 {
                self.on_x.remove(&entry.x);
            } else {
                self.on_x.insert(entry.x.clone(), relations);
            }
        }
        if entry.bound {
            let by_a = (entry.interface, entry.a.clone(), id);
            let by_x = (entry.interface, entry.x.clone(), id);
            if present {
                self.by_a.insert(by_a);
                self.by_x.insert(by_x);
            } else {
                self.by_a.remove(&by_a);
                self.by_x.remove(&by_x);
            }
        }
        if let Some(moment) = entry.ends {
            if present {
                self.ends.insert((moment, id));
            } else {
                self.ends.remove(&(moment, id));
            }
        }
    }

    /// A relation takes this pair.
    pub(super) fn takes(&self, a: &Digits, x: &Digits) -> bool {
        !self.pairs.is_empty() && self.pairs.contains_key(&(a.clone(), x.clone()))
    }

    /// How many relations take a pair of this X.
    pub(super) fn relations(&self, x: &Digits) -> u32 {
        self.on_x.get(x).copied().unwrap_or(0)
    }

    /// Rows of an interface, and how many of them are bound.
    pub(super) fn count(&self, interface: Id) -> (u32, u32) {
        self.counts.get(&interface).copied().unwrap_or((0, 0))
    }

    /// Bound relations of an A at an interface.
    pub(super) fn of_a(&self, interface: Id, a: &Digits) -> impl Iterator<Item = Id> + '_ {
        self.by_a
            .range((interface, a.clone(), 0)..=(interface, a.clone(), Id::MAX))
            .map(|(_, _, id)| *id)
    }

    /// Bound relations of an X at an interface.
    pub(super) fn of_x(&self, interface: Id, x: &Digits) -> impl Iterator<Item = Id> + '_ {
        self.by_x
            .range((interface, x.clone(), 0)..=(interface, x.clone(), Id::MAX))
            .map(|(_, _, id)| *id)
    }

    /// All bound relations of an interface.
    pub(super) fn of_interface(&self, interface: Id) -> impl Iterator<Item = Id> + '_ {
        let first = (interface, Digits::NONE, 0);
        self.by_a
            .range(first..)
            .take_while(move |(of, _, _)| *of == interface)
            .map(|(_, _, id)| *id)
    }

    /// The bound relation whose end is the first to come.
    pub(super) fn first_end(&self) -> Option<(Millis, Id)> {
        self.ends.get_min().copied()
    }

    /// Puts a call into its X's queue or takes it out.
    pub(super) fn queue(&mut self, x: Id, place: u64, call: CallId, present: bool) {
        if present {
            self.queues.insert((x, place), call);
        } else {
            self.queues.remove(&(x, place));
        }
    }

    /// Calls in the queue of an X, the first of which has its turn.
    pub(super) fn queued(&self, x: Id) -> impl Iterator<Item = (u64, CallId)> + '_ {
        self.queues
            .range((x, 0)..=(x, u64::MAX))
            .map(|((_, place), call)| (*place, *call))
    }
}
