//! The choice of a pair (A,X).
//!
//! A is drawn uniformly among the A numbers of the group that have a free line and at least one X that this call may
//! use with them; then X uniformly among the best rank that is left for that A. Both are drawn by throwing again
//! until the draw fits, which is exactly uniform and costs the same for a hundred numbers as for a hundred thousand.
//! When a bounded number of throws all miss, the fitting ones are listed and one of them is drawn.

use super::bits::Ids;
use super::briefs::Briefs;
use super::digits::Digits;
use super::explain::XRank;
use super::index::Index;
use super::pools::{CallerEntry, XPool};
use super::rng::Rng;
use super::standing::Role;
use super::{Call, State};
use crate::entity::{Conflict, Id, MappingGateway, RoutingGateway, Row, XNumber, XSelect};

/// Throws for an A before the fitting ones are listed.
const A_THROWS: u32 = 32;
/// Throws for an X of one rank before the fitting ones are listed.
const X_THROWS: u32 = 16;
/// X numbers that are listed at once instead of thrown for.
const LIST_AT_ONCE: u32 = 8;

/// A number that a call has been given.
pub(super) struct Number {
    pub(super) id: Id,
    pub(super) text: String,
}

impl Number {
    pub(super) fn of(id: Id, briefs: &Briefs) -> Option<Number> {
        let text = briefs.get(id)?.number.text();
        Some(Number { id, text })
    }
}

/// What a call wants of the pools.
pub(super) struct Want<'a> {
    pub(super) group: Id,
    pub(super) interface: Id,
    /// N
    pub(super) caller: &'a str,
    /// B'
    pub(super) b_submitted: &'a str,
    pub(super) mode: XSelect,
    /// X rows that were refused in this call.
    pub(super) refused_x: &'a [Id],
}

impl<'a> Want<'a> {
    /// What a call wants on an AXB gateway.
    pub(super) fn of(
        call: &'a Call,
        gateway: &Row<RoutingGateway>,
        from: &Row<MappingGateway>,
        b_submitted: &'a str,
    ) -> Option<Self> {
        let axb = gateway.entity.axb.as_ref()?;
        Some(Want {
            group: axb.a_group,
            interface: axb.interface,
            caller: &call.asked.caller,
            b_submitted,
            mode: from.entity.x_select_mode,
            refused_x: &call.refused_x,
        })
    }
}

/// Why an X with room is not for a call, whatever the A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The platform refused it in this call.
    Refused,
    /// The type forbids B' beside what stands on it.
    Callee,
    /// The type forbids a binding beside its static relation.
    Ax,
}

/// How well an X number's caller list names a caller; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Exact,
    /// Characters that the matching prefix falls short of the longest possible one: fewer is better.
    Prefix(u16),
    Region,
    /// Not named; the number takes other callers too.
    Other,
}

impl Rank {
    fn prefix(length: usize) -> Rank {
        Rank::Prefix(u16::MAX - length.min(usize::from(u16::MAX)) as u16)
    }

    /// The form that is told.
    pub(super) fn told(self) -> XRank {
        match self {
            Rank::Exact => XRank::Exact,
            Rank::Prefix(short) => XRank::Prefix(std::cmp::Reverse(u16::MAX - short)),
            Rank::Region => XRank::Region,
            Rank::Other => XRank::Other,
        }
    }

    /// Of an X row for a caller; `None`: not permitted.
    pub(super) fn of(x: &XNumber, caller: &str, area: Option<&str>) -> Option<Rank> {
        let named = x
            .callers
            .iter()
            .filter_map(|entry| match CallerEntry::read(entry) {
                CallerEntry::Exact(number) => (number == caller).then_some(Rank::Exact),
                CallerEntry::Prefix(prefix) => caller
                    .starts_with(prefix)
                    .then(|| Rank::prefix(prefix.len())),
                CallerEntry::Region(code) => (area == Some(code)).then_some(Rank::Region),
            })
            .min();
        named.or(x.allow_other_callers.then_some(Rank::Other))
    }
}

/// Free X numbers with the rank that they are taken for.
struct Source<'a> {
    ids: &'a Ids,
    rank: Rank,
}

/// Sources that count alike; a later tier is looked at only when the earlier ones have nothing.
struct Tier<'a> {
    sources: Vec<Source<'a>>,
    /// Open numbers come from their own source, so the named sources give only the closed ones.
    alike: bool,
}

impl Tier<'_> {
    fn len(&self) -> u32 {
        self.sources.iter().map(|source| source.ids.len()).sum()
    }

    fn nth(&self, mut k: u32) -> Option<(Id, Rank)> {
        for source in &self.sources {
            if k < source.ids.len() {
                return source.ids.nth(k).map(|id| (id, source.rank));
            }
            k -= source.ids.len();
        }
        None
    }
}

/// The search for one call.
pub(super) struct Search<'a> {
    state: &'a State,
    want: &'a Want<'a>,
    conflict: Conflict,
    b: Digits,
    area: Option<&'a str>,
    tiers: Vec<Tier<'a>>,
    /// The numbers of each tier that this call may use with some A, once they have been listed.
    listed: Option<Vec<Vec<Id>>>,
}

impl State {
    /// A pair for this call, or none.
    pub(super) fn pick_pair<'a>(
        &'a self,
        want: &'a Want<'a>,
        rng: &mut Rng,
    ) -> Option<(Number, Number)> {
        let free = &self.index.a_pools.get(&want.group)?.free;
        let pool = self.index.x_pools.get(&want.interface)?;
        if free.is_empty() || pool.free.is_empty() {
            return None;
        }
        let area = if pool.region.is_empty() {
            None
        } else {
            self.area_of(want.caller)
        };
        let mut search = Search::new(self, want, area, tiers(pool, want, area));
        let throwable: u32 = search.tiers.iter().map(Tier::len).sum();
        if throwable == 0 {
            return None;
        }
        if throwable <= LIST_AT_ONCE && search.list().iter().all(Vec::is_empty) {
            return None;
        }
        let (a_briefs, x_briefs) = (&self.index.a_briefs, &self.index.x_briefs);
        let given = |a, x| Some((Number::of(a, a_briefs)?, Number::of(x, x_briefs)?));
        for _ in 0..A_THROWS {
            let a = free.nth(rng.below(free.len()))?;
            if let Some(x) = search.x_for(a, rng) {
                return given(a, x);
            }
        }
        let fitting: Vec<Id> = search.fitting_a(free);
        let a = *fitting.get(rng.below(fitting.len() as u32) as usize)?;
        let x = search.x_for(a, rng)?;
        given(a, x)
    }
}

fn tiers<'a>(pool: &'a XPool, want: &Want<'a>, area: Option<&str>) -> Vec<Tier<'a>> {
    let mut named = Vec::new();
    if let Some(ids) = pool.exact.get(want.caller) {
        named.push(Source {
            ids,
            rank: Rank::Exact,
        });
    }
    if !pool.prefix.is_empty() {
        for (prefix, ids) in Index::prefixes(&pool.prefix, want.caller) {
            named.push(Source {
                ids,
                rank: Rank::prefix(prefix.len()),
            });
        }
    }
    if let Some(ids) = area.and_then(|area| pool.region.get(area)) {
        named.push(Source {
            ids,
            rank: Rank::Region,
        });
    }
    let open = Source {
        ids: &pool.open,
        rank: Rank::Other,
    };
    let single = |source| Tier {
        sources: vec![source],
        alike: false,
    };
    match want.mode {
        XSelect::None => {
            named.push(open);
            vec![Tier {
                sources: named,
                alike: true,
            }]
        }
        XSelect::Restrict => named.into_iter().map(single).collect(),
        XSelect::Prefer => named.into_iter().chain([open]).map(single).collect(),
    }
}

impl<'a> Search<'a> {
    fn new(
        state: &'a State,
        want: &'a Want<'a>,
        area: Option<&'a str>,
        tiers: Vec<Tier<'a>>,
    ) -> Self {
        Search {
            state,
            want,
            conflict: state.conflict(want.interface),
            b: Digits::from(want.b_submitted),
            area,
            tiers,
            listed: None,
        }
    }

    /// A search that only answers questions about single numbers.
    pub(super) fn questions(state: &'a State, want: &'a Want<'a>) -> Self {
        Self::new(state, want, state.area_of(want.caller), Vec::new())
    }

    /// The rank of an X that the mode of choice lets the caller use.
    pub(super) fn rank(&self, x: &XNumber) -> Option<Rank> {
        Rank::of(x, self.want.caller, self.area)
            .filter(|rank| *rank != Rank::Other || self.want.mode != XSelect::Restrict)
    }

    /// Why an X is not for this call with any A.
    pub(super) fn unfit(&self, x: Id) -> Option<Unfit> {
        if self.want.refused_x.contains(&x) {
            Some(Unfit::Refused)
        } else if !self.state.callee_fits(self.conflict, x, &self.b) {
            Some(Unfit::Callee)
        } else if !self.state.beside_ax(self.conflict, x) {
            Some(Unfit::Ax)
        } else {
            None
        }
    }

    /// Whether this call may use X, drawn from a source of this rank, with some A. A number that lies in several
    /// sources of a tier counts in one of them only, or it would be drawn too often.
    fn usable(&self, tier: &Tier<'_>, x: Id, rank: Rank) -> bool {
        if self.unfit(x).is_some() {
            return false;
        }
        if rank == Rank::Other {
            return true;
        }
        self.state.x(x).is_some_and(|row| {
            !(tier.alike && row.entity.allow_other_callers)
                && Rank::of(&row.entity, self.want.caller, self.area) == Some(rank)
        })
    }

    /// Whether this A may be bound with X for the call.
    pub(super) fn takes(&self, a: &Digits, x: Id) -> bool {
        *a != self.b && self.pair_fits(&(a.clone(), x))
    }

    /// Whether A and X may be bound to each other now.
    fn pair_fits(&self, pair: &(Digits, Id)) -> bool {
        let state = self.state;
        (state.stand(pair.1, &pair.0, Role::Caller)).is_none()
            && state.caller_fits(self.conflict, pair.1, &pair.0)
    }

    fn list(&mut self) -> &[Vec<Id>] {
        if self.listed.is_none() {
            let listed = self
                .tiers
                .iter()
                .map(|tier| {
                    let mut ids: Vec<Id> = tier
                        .sources
                        .iter()
                        .flat_map(|source| source.ids.iter().map(|id| (id, source.rank)))
                        .filter(|(id, rank)| self.usable(tier, *id, *rank))
                        .map(|(id, _)| id)
                        .collect();
                    ids.sort_unstable();
                    ids
                })
                .collect();
            self.listed = Some(listed);
        }
        self.listed.as_deref().unwrap_or_default()
    }

    /// An X of the best rank that is left for an A, or none.
    fn x_for(&mut self, a: Id, rng: &mut Rng) -> Option<Id> {
        let briefs = &self.state.index.a_briefs;
        if self.listed.is_none() {
            let mut missed = false;
            for tier in &self.tiers {
                let len = tier.len();
                for _ in 0..if len == 0 { 0 } else { X_THROWS } {
                    // X is drawn before A is looked at: both are far away in memory, and so they come together.
                    let (x, rank) = tier.nth(rng.below(len))?;
                    if self.usable(tier, x, rank) && self.takes(&briefs.get(a)?.number, x) {
                        return Some(x);
                    }
                }
                // Whether this tier has nothing is not known, so the next one may not be asked yet.
                missed = len > 0;
                if missed {
                    break;
                }
            }
            if !missed {
                return None;
            }
        }
        let a = &briefs.get(a)?.number;
        if *a == self.b {
            return None;
        }
        let mut pair = (a.clone(), 0);
        self.list();
        for ids in self
            .listed
            .as_deref()
            .unwrap_or_default()
            .iter()
            .filter(|ids| !ids.is_empty())
        {
            for _ in 0..X_THROWS {
                pair.1 = ids[rng.below(ids.len() as u32) as usize];
                if self.pair_fits(&pair) {
                    return Some(pair.1);
                }
            }
            let free: Vec<Id> = ids
                .iter()
                .copied()
                .filter(|x| {
                    pair.1 = *x;
                    self.pair_fits(&pair)
                })
                .collect();
            if !free.is_empty() {
                return free.get(rng.below(free.len() as u32) as usize).copied();
            }
        }
        None
    }

    /// All A numbers with a free line for which an X is left.
    fn fitting_a(&mut self, free: &Ids) -> Vec<Id> {
        let state = self.state;
        let mut all: Vec<Id> = self.list().concat();
        all.sort_unstable();
        all.dedup();
        free.iter()
            .filter(|id| {
                let Some(a) = state.index.a_briefs.get(*id) else {
                    return false;
                };
                let mut pair = (a.number.clone(), 0);
                a.number != self.b
                    && all.iter().any(|x| {
                        pair.1 = *x;
                        self.pair_fits(&pair)
                    })
            })
            .collect()
    }
}
