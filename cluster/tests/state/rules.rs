//! Which numbers a call may be given, by a plain walk over all of them: `DOMAIN.md` §4.1 and §5 read out loud.

use crate::ledger::{Ledger, Stand};
use std::collections::{BTreeMap, BTreeSet};
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::{AxPhase, State};

/// Why a number is as good as another for a caller: less is better.
type Preference = (u8, usize, usize);

fn preference(x: &XNumber, caller: &str, mode: XSelect) -> Option<Preference> {
    let named = x
        .callers
        .iter()
        .filter_map(
            |entry| match (entry.strip_suffix('*'), entry.strip_prefix('@')) {
                (Some(head), _) => caller.starts_with(head).then(|| (1, 99 - head.len(), 0)),
                // Fixed lines alone: no mobile is in a region while no table is loaded.
                (None, Some(area)) => caller
                    .strip_prefix('0')
                    .is_some_and(|national| national.starts_with(area))
                    .then_some((2, 0, 0)),
                (None, None) => (entry == caller).then_some((0, 0, 0)),
            },
        )
        .min();
    let other = x.allow_other_callers.then_some((3, 0, 0));
    match mode {
        XSelect::None => named.or(other).map(|_| (0, 0, 0)),
        XSelect::Restrict => named,
        XSelect::Prefer => named.or(other),
    }
}

/// The rows of relations that take their pair: A, X.
pub fn relations(state: &State) -> impl Iterator<Item = (&str, &str)> {
    state.ax_bindings().filter_map(|row| {
        let live = state.ax_live(row.id)?;
        let takes = match live.phase {
            AxPhase::Binding | AxPhase::Bound | AxPhase::Unbinding => true,
            AxPhase::Error => live.maybe_held,
            AxPhase::Unbound => false,
        };
        takes.then_some((&*row.entity.a_number, &*row.entity.x_number))
    })
}

fn conflict(state: &State, interface: Id) -> Conflict {
    let row = state.interface(interface).expect("interface");
    row.entity.type_rules.conflict
}

impl Ledger {
    pub fn a_lines(&self, a: Id) -> u32 {
        self.calls.values().filter(|call| call.a == Some(a)).count() as u32
    }

    fn ax_on(&self, x: Id) -> impl Iterator<Item = &AxLease> {
        let holds = self.calls.values().filter_map(|call| call.ax.as_ref());
        holds
            .filter(move |(_, on)| *on == x)
            .map(|(lease, _)| lease)
    }

    pub fn on(&self, x: Id) -> impl Iterator<Item = &Stand> {
        self.stands.values().filter(move |stand| stand.x == x)
    }

    pub fn x_slots(&self, x: Id) -> u32 {
        (self.on(x).count() + self.ax_on(x).count()) as u32
    }

    /// What the type says of a further B' on an X, and of its A (I3 and I4).
    pub fn beside(&self, state: &State, x: &Row<XNumber>, a: &str, b: &str, ax: bool) -> bool {
        let number = &x.entity.number;
        let (id, scope) = (x.id, conflict(state, x.entity.interface));
        let pair = self.on(id).any(|stand| stand.a == a)
            || relations(state).any(|pair| pair == (a, number));
        if pair && !ax {
            return false;
        }
        let called = |number: &str| {
            self.on(id).any(|stand| stand.b == number)
                || self.ax_on(id).any(|lease| lease.b_submitted == number)
        };
        match scope {
            Conflict::Pair => true,
            Conflict::XExclusive => {
                self.x_slots(id) == 0 && (ax || !relations(state).any(|(_, x)| x == number))
            }
            Conflict::XCallee => {
                !called(b)
                    && !called(a)
                    && !self.on(id).any(|stand| stand.a == b)
                    && !relations(state).any(|pair| pair == (b, number))
            }
        }
    }

    /// X numbers of a gateway's interface that may take one more, whatever the A.
    fn open_x<'a>(
        &'a self,
        state: &'a State,
        axb: &'a AxbRoute,
        refused: &'a BTreeSet<Id>,
    ) -> impl Iterator<Item = &'a Row<XNumber>> {
        state.x_numbers().filter(move |x| {
            x.entity.interface == axb.interface
                && !x.entity.disabled
                && !self.removed.contains(&(Table::XNumbers, x.id))
                && !self.on(x.id).any(|stand| stand.orphan)
                && self.x_slots(x.id) < x.entity.line_limit
                && !refused.contains(&x.id)
        })
    }

    fn open_a<'a>(
        &'a self,
        state: &'a State,
        axb: &'a AxbRoute,
        b: &'a str,
    ) -> impl Iterator<Item = &'a Row<ANumber>> {
        state.a_numbers().filter(move |a| {
            a.entity.group == axb.a_group
                && self.a_lines(a.id) < a.entity.line_limit
                && a.entity.number != b
                && !self.removed.contains(&(Table::ANumbers, a.id))
        })
    }

    /// For each A that this call may be given, its best X numbers: to bind, or over relations.
    pub fn fitting(
        &self,
        state: &State,
        axb: &AxbRoute,
        from: &MappingGateway,
        call: (&str, &str, &BTreeSet<Id>),
        ax: bool,
    ) -> BTreeMap<String, Vec<String>> {
        let (caller, b, refused) = call;
        let mut fitting = BTreeMap::new();
        for a in self.open_a(state, axb, b) {
            let number = &a.entity.number;
            let mut xs: Vec<(Preference, &str)> = Vec::new();
            for x in self.open_x(state, axb, refused) {
                let Some(mut preference) = preference(&x.entity, caller, from.x_select_mode) else {
                    continue;
                };
                let rested = self
                    .rests
                    .get(&(number.clone(), x.id))
                    .is_none_or(|until| *until <= state.at());
                let stands = if ax {
                    preference.2 = self.queues.get(&x.id).map_or(0, Vec::len);
                    bound(state, axb.interface, number, &x.entity.number)
                } else {
                    rested
                };
                if stands && self.beside(state, x, number, b, ax) {
                    xs.push((preference, &x.entity.number));
                }
            }
            if let Some(best) = xs.iter().map(|(preference, _)| *preference).min() {
                xs.retain(|(preference, _)| *preference == best);
                let xs = xs.into_iter().map(|(_, x)| x.to_owned()).collect();
                fitting.insert(number.clone(), xs);
            }
        }
        fitting
    }

    pub fn lines(&self, gateway: Id) -> u32 {
        let on = self
            .calls
            .values()
            .filter(|call| call.gateway == Some(gateway));
        on.count() as u32
    }
}

/// The relation is bound and its end has not come.
fn bound(state: &State, interface: Id, a: &str, x: &str) -> bool {
    state.ax_bindings().any(|row| {
        let entity = &row.entity;
        let same = (entity.interface, &*entity.a_number, &*entity.x_number) == (interface, a, x);
        let live = state
            .ax_live(row.id)
            .filter(|live| live.phase == AxPhase::Bound);
        same && live.is_some_and(|live| {
            let ends = [entity.expires_at, live.expires_at];
            ends.into_iter().flatten().all(|end| end > state.at())
        })
    })
}
