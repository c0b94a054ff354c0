//! The choice of (A,X) for an outgoing AX call (`DOMAIN.md` §5).
//!
//! As in §4.1, A is drawn uniformly among the A numbers of the group that have a free line and at least one X that this
//! call may use with them; then X uniformly among the best rank that is left for that A. Of X numbers of equal rank
//! those come first on which no call is about to set its callee, then those with the shortest queue: a call that can
//! go at once does not wait.

use super::bits::Ids;
use super::digits::Digits;
use super::explain::AxExcluded;
use super::numbers::{Number, Rank, Want};
use super::rng::Rng;
use super::{AxPhase, State};
use crate::entity::{ANumber, AxBinding, Conflict, Id, Row, Table, XSelect};

/// Throws for an A before the fitting ones are listed.
const A_THROWS: u32 = 32;
/// Bound relations of an interface that are listed at once instead of thrown for.
const LIST_AT_ONCE: u32 = 8;

/// A, X and the relation of both.
pub(super) struct PickedAx {
    pub(super) a: Number,
    pub(super) x: Number,
    pub(super) ax: Id,
}

pub(super) struct Search<'a> {
    state: &'a State,
    want: &'a Want<'a>,
    conflict: Conflict,
    b: Digits,
    area: Option<&'a str>,
    free_a: &'a Ids,
    free_x: &'a Ids,
}

impl State {
    /// A relation for this call with a line of its A and a slot of its X, or none.
    pub(super) fn pick_ax(&self, want: &Want<'_>, rng: &mut Rng) -> Option<PickedAx> {
        let (_, bound) = self.index.ax.count(want.interface);
        if bound == 0 {
            return None;
        }
        let search = Search::new(self, want)?;
        if search.free_a.is_empty() || search.free_x.is_empty() {
            return None;
        }
        let id = search.draw_a(bound, rng)?;
        let a = self.content.a_numbers.get(&id)?;
        let best = search.best_for(a);
        let (x, ax) = *best.get(rng.below(best.len() as u32) as usize)?;
        Some(PickedAx {
            a: Number::of(id, &self.index.a_briefs)?,
            x: Number::of(x, &self.index.x_briefs)?,
            ax,
        })
    }
}

impl<'a> Search<'a> {
    /// `None`: the group has no A, or the interface no X.
    pub(super) fn new(state: &'a State, want: &'a Want<'a>) -> Option<Self> {
        Some(Search {
            state,
            want,
            conflict: state.conflict(want.interface),
            b: Digits::from(want.b_submitted),
            area: state.area_of(want.caller),
            free_a: &state.index.a_pools.get(&want.group)?.free,
            free_x: &state.index.x_pools.get(&want.interface)?.free,
        })
    }

    /// Whether this call may use a relation with its A, whatever its state; else why not.
    pub(super) fn verdict(&self, ax: &Row<AxBinding>) -> Result<Rank, AxExcluded> {
        let state = self.state;
        let bound = (state.ax_live(ax.id)).is_some_and(|live| live.phase == AxPhase::Bound);
        if !bound {
            return Err(AxExcluded::NotBound);
        }
        let a = &ax.entity.a_number;
        let number = Digits::from(&**a);
        let (_, (rank, _)) = self.usable(ax.id, &number)?;
        match state.find_a(self.want.group, a) {
            None => Err(AxExcluded::NotInGroup),
            Some(id) if !self.free_a.contains(id) => Err(AxExcluded::AFull),
            Some(_) if a == self.want.b_submitted => Err(AxExcluded::Callee),
            Some(_) => Ok(rank),
        }
    }

    fn draw_a(&self, bound: u32, rng: &mut Rng) -> Option<Id> {
        if bound > LIST_AT_ONCE {
            for _ in 0..A_THROWS {
                let id = self.free_a.nth(rng.below(self.free_a.len()))?;
                if self.fits(id) {
                    return Some(id);
                }
            }
        }
        let fitting = self.fitting_a(bound);
        fitting
            .get(rng.below(fitting.len() as u32) as usize)
            .copied()
    }

    fn fits(&self, a: Id) -> bool {
        self.state
            .content
            .a_numbers
            .get(&a)
            .is_some_and(|row| !self.best_for(row).is_empty())
    }

    /// All A numbers that this call may use, found from whichever is fewest: free A, relations, free X.
    fn fitting_a(&self, bound: u32) -> Vec<Id> {
        let (state, interface) = (self.state, self.want.interface);
        let a_of = |ax: Id| {
            let row = state.content.ax.get(&ax)?;
            let a = state.find_a(self.want.group, &row.entity.a_number)?;
            self.free_a.contains(a).then_some(a)
        };
        let least = bound.min(self.free_a.len()).min(self.free_x.len());
        let mut all: Vec<Id> = if least == self.free_a.len() {
            self.free_a.iter().collect()
        } else if least == bound {
            state
                .index
                .ax
                .of_interface(interface)
                .filter_map(a_of)
                .collect()
        } else {
            self.free_x
                .iter()
                .filter_map(|x| state.x(x))
                .flat_map(|x| {
                    let number = Digits::from(&*x.entity.number);
                    state.index.ax.of_x(interface, &number).collect::<Vec<Id>>()
                })
                .filter_map(a_of)
                .collect()
        };
        all.sort_unstable();
        all.dedup();
        all.retain(|a| self.fits(*a));
        all
    }

    /// X numbers of the best rank and the shortest queue for `a`, each with its relation.
    fn best_for(&self, a: &Row<ANumber>) -> Vec<(Id, Id)> {
        if a.entity.number == self.want.b_submitted {
            return Vec::new();
        }
        let number = Digits::from(&*a.entity.number);
        let mut best = Vec::new();
        let mut best_key = None;
        for ax in self.state.index.ax.of_a(self.want.interface, &number) {
            let Ok((x, key)) = self.usable(ax, &number) else {
                continue;
            };
            if best_key.is_none_or(|known| key < known) {
                best_key = Some(key);
                best.clear();
            }
            if best_key == Some(key) {
                best.push((x, ax));
            }
        }
        best
    }

    /// The X of a relation with what it is preferred by, if this call may use it.
    fn usable(&self, ax: Id, a: &Digits) -> Result<(Id, (Rank, usize)), AxExcluded> {
        let state = self.state;
        let row = state.content.ax.get(&ax);
        let live = state.content.ax_live.get(&ax);
        let (Some(row), Some(live)) = (row, live) else {
            return Err(AxExcluded::NotBound);
        };
        // One whose end has come and that nobody has noticed yet.
        if super::ax_index::ends(&row.entity, live).is_some_and(|end| end <= state.content.at) {
            return Err(AxExcluded::Expired);
        }
        let x = state
            .named(Table::XNumbers, &row.entity.x_number)
            .and_then(|id| state.x(id))
            .filter(|x| x.entity.interface == self.want.interface)
            .ok_or(AxExcluded::NotListed)?;
        if !self.free_x.contains(x.id) {
            return Err(AxExcluded::XFull);
        }
        if self.want.refused_x.contains(&x.id)
            || !state.callee_fits(self.conflict, x.id, &self.b)
            || (self.conflict == Conflict::XCallee && state.stands_as_b(x.id, a))
        {
            return Err(AxExcluded::Conflict);
        }
        let rank = Rank::of(&x.entity, self.want.caller, self.area);
        let rank = match (rank, self.want.mode) {
            (None, _) | (Some(Rank::Other), XSelect::Restrict) => {
                return Err(AxExcluded::NotPermitted);
            }
            (Some(_), XSelect::None) => Rank::Other,
            (Some(rank), _) => rank,
        };
        Ok((x.id, (rank, state.index.ax.queued(x.id).count())))
    }
}
