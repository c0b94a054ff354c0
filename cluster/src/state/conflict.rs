//! Which bindings may stand side by side on one X (`DOMAIN.md` §4.1, I3 and I4).
//!
//! A pair (A,X) is exclusive in every case, static relations included. What else excludes what is a property of the
//! platform's type, [`Conflict`]:
//!
//! - [`Conflict::Pair`]: nothing more.
//! - [`Conflict::XCallee`]: a number stands at most once on an X, be it as A or as B'. So (X,B') is given once, B' is no
//!   A on that X, and A is no B' there. A call from any number to X then has one meaning, which is what such platforms
//!   demand ("each user number may appear only once per X").
//! - [`Conflict::XExclusive`]: one binding per X, whatever its line limit says; a static relation is one, and the calls
//!   over it go out one after another.
//!
//! An outgoing AX call counts as a binding of its B': while it lasts B sees X, and a call back must find one A. Its A
//! stands on the X by the static relation.

use super::State;
use super::digits::Digits;
use super::standing::{Role, Stand};
use crate::command::BindingId;
use crate::entity::{Conflict, Id};

impl State {
    /// What the type of an interface lets stand side by side.
    pub(super) fn conflict(&self, interface: Id) -> Conflict {
        self.interface(interface)
            .map_or_else(Conflict::default, |row| row.entity.type_rules.conflict)
    }

    /// Whether `b` may be called over this X by some A.
    pub(super) fn callee_fits(&self, conflict: Conflict, x: Id, b: &Digits) -> bool {
        conflict != Conflict::XCallee
            || (!self.stands_as_b(x, b) && self.pair_holder(b, x).is_none() && !self.ax_takes(b, x))
    }

    /// Whether an AXB binding may stand on this X beside its static relations, whatever the A.
    pub(super) fn beside_ax(&self, conflict: Conflict, x: Id) -> bool {
        let relations = |x| self.index.ax.relations(x);
        conflict != Conflict::XExclusive
            || (self.index.x_briefs.get(x)).is_none_or(|x| relations(&x.number) == 0)
    }

    /// Whether `a` may stand on this X: no static relation of the two, and `a` is not called over it. Whether an AXB
    /// binding has the pair, or its rest is over, is asked elsewhere.
    pub(super) fn caller_fits(&self, conflict: Conflict, x: Id, a: &Digits) -> bool {
        let called = conflict == Conflict::XCallee && self.stands_as_b(x, a);
        !called && !self.ax_takes(a, x)
    }

    /// A static relation takes the pair.
    pub(super) fn ax_takes(&self, a: &Digits, x: Id) -> bool {
        !self.index.ax.is_empty()
            && (self.index.x_briefs.get(x)).is_some_and(|x| self.index.ax.takes(a, &x.number))
    }

    /// The number is the B' of a binding or of an AX call on this X.
    pub(super) fn stands_as_b(&self, x: Id, number: &Digits) -> bool {
        self.x_use(x) > 0 && self.stand(x, number, Role::Called).is_some()
    }

    /// The AXB binding that has the pair.
    pub(super) fn pair_holder(&self, a: &Digits, x: Id) -> Option<BindingId> {
        if self.x_use(x) == 0 {
            return None;
        }
        match self.stand(x, a, Role::Caller) {
            Some(Stand::Active(binding)) => Some(binding),
            _ => None,
        }
    }

    /// How a number stands on an X.
    pub(super) fn stand(&self, x: Id, number: &Digits, role: Role) -> Option<Stand> {
        self.lookup().standing.get(x, number, role)
    }
}
