//! A pool of number pairs as its callers see it, and the question whether a history of it is linearizable.
//!
//! A history holds, for each operation, when a caller asked, when it was answered, and what the answer was. It is
//! linearizable when every operation can be given one moment between the two (one without an answer: any moment after
//! the asking, or none) so that the operations, done one by one in that order, give these answers.
//!
//! The search goes through the history in the order of time and keeps a set of [`Front`]s: which of the operations
//! under way have already taken effect. What is held follows from that set alone, whatever the order within it. At an
//! answer, the fronts in which that operation has taken effect remain, and so do those that reach it through
//! operations under way. An empty set is the proof that there is no order at all. Three facts about this object keep
//! the set small without losing an answer (`as_strict_as_trying_every_order` compares with the search that knows none
//! of them):
//!
//! 1. A refusal and a look change nothing, so in a front where one is justified it takes effect at once.
//! 2. Takings and releases that need not take effect yet lose nothing by waiting, except that takings may justify a
//!    refusal, and that both may bring a number to what somebody saw there. So a release is tried early only for a
//!    taking that lacks what it gives back or for a look that saw less, and a taking only while a refusal waits that
//!    the takings under way could justify, or a look that saw more.
//! 3. Of two fronts with the same refusals and looks behind them, the one with fewer effects can still become the
//!    other, so the other is dropped.
//!
//! **What a history must hold.** Everything that changes the pool, or may have: an operation whose answer nobody got
//! stays in it without one. A taking without an answer is entered only if it is known by other means which pair it was
//! given (the state at the end says so); one that was never given a pair is left out. Looks without an answer say
//! nothing and are left out.
//!
//! **Rests.** Without rests the verdict is exact. A rest is counted from the moment at which the release took effect,
//! of which only the limits are known; each comparison is made in favour of the pool. So a correct history is never
//! rejected, and a wrong one may pass if it is wrong by less than the time that the two operations took.

use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;

/// Nanoseconds since the history began.
pub type Moment = u64;

/// The pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Lines of each A.
    pub a_lines: Vec<u8>,
    /// Lines of each X.
    pub x_lines: Vec<u8>,
    /// Callees.
    pub callees: usize,
    /// How long a pair rests after its release; 0: no rests.
    pub rest: Moment,
    /// How far the clock that counts rests may lie off.
    pub slack: Moment,
}

/// A number of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Number {
    A(usize),
    X(usize),
}

/// What an operation did, by its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The pair was given for a call to this callee.
    Take { a: usize, x: usize, b: usize },
    /// There was no pair for this callee.
    Refused { b: usize },
    /// The A line taken by that operation was given back.
    FreeA { of: usize },
    /// The X line and the pair taken by that operation were given back.
    FreeX { of: usize },
    /// Somebody read how many lines of a number were held.
    Seen { number: Number, lines: u8 },
}

/// An operation.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub invoked: Moment,
    /// `None`: there was no answer, so it takes effect at any moment after `invoked`, or never.
    pub returned: Option<Moment>,
    pub deed: Deed,
}

/// How hard the search was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effort {
    /// Fronts looked at.
    pub fronts: u64,
    /// Most of them for one answer.
    pub widest: usize,
    /// Most fronts kept at a time.
    pub kept: usize,
    /// Most operations under way at a time.
    pub under_way: usize,
}

/// Why a history is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// No order of the operations explains the answer of this one.
    NotLinearizable { op: usize, text: String },
    /// The history is none: a release before its taking was answered, or twice.
    Malformed { op: usize },
    /// More than the search can bear.
    TooWide { op: usize },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::NotLinearizable { op, text } => {
                write!(f, "operation {op} has no place in any order: {text}")
            }
            Broken::Malformed { op } => {
                write!(f, "operation {op} gives back what nobody was given")
            }
            Broken::TooWide { op } => write!(f, "too many orders to try at operation {op}"),
        }
    }
}

/// Operations that can be under way at a time: the bits of a front.
const UNDER_WAY_MAX: usize = 128;
/// Fronts looked at for one answer.
const FRONTS_MAX: usize = 100_000;

/// What is held, and what rests.
#[derive(Clone, Debug)]
pub struct Held {
    a: Vec<u8>,
    x: Vec<u8>,
    /// By A and X.
    pairs: Vec<Pair>,
    /// By X and callee: X would not know whose call a call-back from that callee is.
    callees: Vec<bool>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    active: bool,
    /// The latest release: not before the first, not after the second.
    released: Option<(Moment, Moment)>,
}

impl Held {
    fn lines(&self, number: Number) -> u8 {
        match number {
            Number::A(a) => self.a[a],
            Number::X(x) => self.x[x],
        }
    }
}

impl Pool {
    /// Nothing held.
    pub fn empty(&self) -> Held {
        Held {
            a: vec![0; self.a_lines.len()],
            x: vec![0; self.x_lines.len()],
            pairs: vec![Pair::default(); self.a_lines.len() * self.x_lines.len()],
            callees: vec![false; self.x_lines.len() * self.callees],
        }
    }

    fn pair(&self, a: usize, x: usize) -> usize {
        a * self.x_lines.len() + x
    }

    fn callee(&self, x: usize, b: usize) -> usize {
        x * self.callees + b
    }

    /// Whether the operation, done now, gives its answer.
    pub fn explains(&self, held: &Held, history: &[Op], op: usize) -> bool {
        let Op {
            invoked,
            returned,
            deed,
        } = history[op];
        match deed {
            Deed::Take { a, x, b } => {
                let pair = held.pairs[self.pair(a, x)];
                // The latest possible moment of the taking, the earliest of the release.
                let rested = pair.released.is_none_or(|(earliest, _)| {
                    self.rest == 0
                        || returned.unwrap_or(Moment::MAX).saturating_add(self.slack)
                            >= earliest.saturating_add(self.rest)
                });
                held.a[a] < self.a_lines[a]
                    && held.x[x] < self.x_lines[x]
                    && !pair.active
                    && rested
                    && !held.callees[self.callee(x, b)]
            }
            Deed::Refused { b } => (0..self.a_lines.len()).all(|a| {
                held.a[a] >= self.a_lines[a]
                    || (0..self.x_lines.len()).all(|x| {
                        let pair = held.pairs[self.pair(a, x)];
                        // The earliest possible moment of the refusal, the latest of the release.
                        let rests = pair.released.is_some_and(|(_, latest)| {
                            self.rest > 0
                                && invoked
                                    < latest.saturating_add(self.rest).saturating_add(self.slack)
                        });
                        held.x[x] >= self.x_lines[x]
                            || pair.active
                            || rests
                            || held.callees[self.callee(x, b)]
                    })
            }),
            Deed::FreeA { .. } | Deed::FreeX { .. } => true,
            Deed::Seen { number, lines } => held.lines(number) == lines,
        }
    }

    /// Does the operation.
    pub fn perform(&self, held: &mut Held, history: &[Op], op: usize) {
        let Op {
            invoked,
            returned,
            deed,
        } = history[op];
        match deed {
            Deed::Take { a, x, b } => {
                held.a[a] += 1;
                held.x[x] += 1;
                held.pairs[self.pair(a, x)].active = true;
                held.callees[self.callee(x, b)] = true;
            }
            Deed::Refused { .. } | Deed::Seen { .. } => {}
            Deed::FreeA { of } => {
                if let Deed::Take { a, .. } = history[of].deed {
                    held.a[a] -= 1;
                }
            }
            Deed::FreeX { of } => {
                if let Deed::Take { a, x, b } = history[of].deed {
                    held.x[x] -= 1;
                    let pair = &mut held.pairs[self.pair(a, x)];
                    let (earliest, latest) = pair.released.unwrap_or((0, 0));
                    *pair = Pair {
                        active: false,
                        released: Some((
                            earliest.max(invoked),
                            latest.max(returned.unwrap_or(Moment::MAX)),
                        )),
                    };
                    held.callees[self.callee(x, b)] = false;
                }
            }
        }
    }

    /// Whether releasing gives back something that this taking lacks.
    fn helps(&self, held: &Held, history: &[Op], release: usize, taking: usize) -> bool {
        let Deed::Take { a, x, b } = history[taking].deed else {
            return false;
        };
        let of = match history[release].deed {
            Deed::FreeA { of } | Deed::FreeX { of } => of,
            _ => return false,
        };
        let Deed::Take {
            a: its_a,
            x: its_x,
            b: its_b,
        } = history[of].deed
        else {
            return false;
        };
        match history[release].deed {
            Deed::FreeA { .. } => its_a == a && held.a[a] >= self.a_lines[a],
            _ => {
                its_x == x
                    && (held.x[x] >= self.x_lines[x]
                        || its_a == a
                        || (its_b == b && held.callees[self.callee(x, b)]))
            }
        }
    }
}

/// Whether an operation takes a line of this number.
fn takes(deed: Deed, number: Number) -> bool {
    match (deed, number) {
        (Deed::Take { a, .. }, Number::A(of)) => a == of,
        (Deed::Take { x, .. }, Number::X(of)) => x == of,
        _ => false,
    }
}

/// Checks that releases follow the answer of their taking, each once.
fn well_formed(history: &[Op]) -> Result<(), Broken> {
    let mut freed = HashSet::new();
    for (at, op) in history.iter().enumerate() {
        let (of, side) = match op.deed {
            Deed::FreeA { of } => (of, 'a'),
            Deed::FreeX { of } => (of, 'x'),
            _ => continue,
        };
        let taken = history.get(of).is_some_and(|taking| {
            matches!(taking.deed, Deed::Take { .. })
                && taking.returned.is_some_and(|answer| answer < op.invoked)
        });
        if !taken || !freed.insert((of, side)) {
            return Err(Broken::Malformed { op: at });
        }
    }
    Ok(())
}

/// Some of the operations under way have taken effect.
#[derive(Clone, Debug)]
struct Front {
    /// Bits of the places in `Search::places`.
    done: u128,
    held: Held,
}

struct Search<'a> {
    pool: &'a Pool,
    history: &'a [Op],
    /// Operations under way.
    places: Vec<Option<usize>>,
    takings: u128,
    releases: u128,
    refusals: u128,
    looks: u128,
    effort: Effort,
}

/// Whether the history is linearizable.
pub fn check(pool: &Pool, history: &[Op]) -> Result<Effort, Broken> {
    well_formed(history)?;
    let mut events: Vec<(Moment, bool, usize)> = Vec::with_capacity(history.len() * 2);
    for (at, op) in history.iter().enumerate() {
        events.push((op.invoked, false, at));
        events.extend(op.returned.map(|moment| (moment, true, at)));
    }
    // At the same moment askings come first: that orders fewer operations.
    events.sort_unstable();
    let mut search = Search {
        pool,
        history,
        places: Vec::new(),
        takings: 0,
        releases: 0,
        refusals: 0,
        looks: 0,
        effort: Effort::default(),
    };
    let mut fronts = vec![Front {
        done: 0,
        held: pool.empty(),
    }];
    for (_, answer, op) in events {
        if answer {
            fronts = search.answered(op, fronts)?;
        } else {
            search.asked(op, &mut fronts)?;
        }
    }
    Ok(search.effort)
}

fn bits(mut set: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (set != 0).then(|| {
            let at = set.trailing_zeros() as usize;
            set &= set - 1;
            at
        })
    })
}

impl Search<'_> {
    fn op(&self, place: usize) -> usize {
        self.places[place].expect("only places of operations under way are looked at")
    }

    fn asked(&mut self, op: usize, fronts: &mut [Front]) -> Result<(), Broken> {
        let place = match self.places.iter().position(Option::is_none) {
            Some(place) => place,
            None if self.places.len() < UNDER_WAY_MAX => {
                self.places.push(None);
                self.places.len() - 1
            }
            None => return Err(Broken::TooWide { op }),
        };
        self.places[place] = Some(op);
        let bit = 1 << place;
        match self.history[op].deed {
            Deed::Take { .. } => self.takings |= bit,
            Deed::FreeA { .. } | Deed::FreeX { .. } => self.releases |= bit,
            Deed::Refused { .. } => {
                self.refusals |= bit;
                fronts.iter_mut().for_each(|front| self.settle(front));
            }
            Deed::Seen { .. } => {
                self.looks |= bit;
                fronts.iter_mut().for_each(|front| self.settle(front));
            }
        }
        let under_way = (self.takings | self.releases | self.idle()).count_ones();
        self.effort.under_way = self.effort.under_way.max(under_way as usize);
        Ok(())
    }

    fn answered(&mut self, op: usize, before: Vec<Front>) -> Result<Vec<Front>, Broken> {
        let place = self
            .places
            .iter()
            .position(|under_way| *under_way == Some(op))
            .expect("an answer follows its asking");
        let bit = 1u128 << place;
        let seen = before[0].held.clone();
        let looked_at = self.effort.fronts;
        let mut after = Vec::new();
        for front in before {
            if front.done & bit != 0 {
                after.push(front);
            } else {
                self.reach(place, front, &mut after)?;
            }
        }
        let looked_at = (self.effort.fronts - looked_at) as usize;
        self.effort.widest = self.effort.widest.max(looked_at);
        let mut fronts = self.least(after);
        if fronts.is_empty() {
            let text = format!("{:?} while {seen:?} was held", self.history[op]);
            return Err(Broken::NotLinearizable { op, text });
        }
        self.places[place] = None;
        self.takings &= !bit;
        self.releases &= !bit;
        self.refusals &= !bit;
        self.looks &= !bit;
        fronts.iter_mut().for_each(|front| front.done &= !bit);
        self.effort.kept = self.effort.kept.max(fronts.len());
        Ok(fronts)
    }

    /// All fronts worth having in which the operation at `place` has just taken effect.
    fn reach(&mut self, place: usize, from: Front, out: &mut Vec<Front>) -> Result<(), Broken> {
        let wanted = 1u128 << place;
        let mut seen = HashSet::from([from.done]);
        let mut open = vec![from];
        while let Some(front) = open.pop() {
            self.effort.fronts += 1;
            if front.done & wanted != 0 {
                out.push(front);
                continue;
            }
            let hopeful = self.refusal_may_come(&front);
            let mut next = Vec::new();
            if wanted & self.idle() == 0 && self.explains(&front, place) {
                out.push(self.with(&front, place));
            } else if wanted & self.takings != 0 {
                next.extend(self.helpful(&front, place));
            }
            if hopeful {
                for taking in bits(self.takings & !front.done & !wanted) {
                    if self.explains(&front, taking) {
                        next.push(taking);
                    } else {
                        next.extend(self.helpful(&front, taking));
                    }
                }
            }
            for look in bits(self.looks & !front.done) {
                self.towards(&front, look, &mut next);
            }
            for step in next {
                if seen.insert(front.done | 1 << step) {
                    open.push(self.with(&front, step));
                }
            }
            if seen.len() > FRONTS_MAX {
                let op = self.op(place);
                return Err(Broken::TooWide { op });
            }
        }
        Ok(())
    }

    fn explains(&self, front: &Front, place: usize) -> bool {
        self.pool
            .explains(&front.held, self.history, self.op(place))
    }

    /// Releases under way that give back what a taking lacks.
    fn helpful(&self, front: &Front, taking: usize) -> impl Iterator<Item = usize> {
        bits(self.releases & !front.done).filter(move |release| {
            self.pool.helps(
                &front.held,
                self.history,
                self.op(*release),
                self.op(taking),
            )
        })
    }

    /// Steps that bring a number nearer to what a look saw there.
    fn towards(&self, front: &Front, look: usize, next: &mut Vec<usize>) {
        let Deed::Seen { number, lines } = self.history[self.op(look)].deed else {
            return;
        };
        if front.held.lines(number) > lines {
            next.extend(bits(self.releases & !front.done).filter(|release| {
                let given_back = match (self.history[self.op(*release)].deed, number) {
                    (Deed::FreeA { of }, Number::A(_)) | (Deed::FreeX { of }, Number::X(_)) => of,
                    _ => return false,
                };
                takes(self.history[given_back].deed, number)
            }));
            return;
        }
        for taking in bits(self.takings & !front.done) {
            if !takes(self.history[self.op(taking)].deed, number) {
                continue;
            }
            if self.explains(front, taking) {
                next.push(taking);
            } else {
                next.extend(self.helpful(front, taking));
            }
        }
    }

    /// Operations under way that change nothing.
    fn idle(&self) -> u128 {
        self.refusals | self.looks
    }

    fn with(&self, front: &Front, place: usize) -> Front {
        let mut front = front.clone();
        self.pool
            .perform(&mut front.held, self.history, self.op(place));
        front.done |= 1 << place;
        self.settle(&mut front);
        front
    }

    /// Lets the refusals and looks take effect that are justified here.
    fn settle(&self, front: &mut Front) {
        for place in bits(self.idle() & !front.done) {
            if self.explains(front, place) {
                front.done |= 1 << place;
            }
        }
    }

    /// Whether a refusal that is not justified yet would be if all takings under way took effect, as no order can
    /// do better.
    fn refusal_may_come(&self, front: &Front) -> bool {
        let waiting = self.refusals & !front.done;
        if waiting == 0 {
            return false;
        }
        let mut held = front.held.clone();
        for taking in bits(self.takings & !front.done) {
            self.pool.perform(&mut held, self.history, self.op(taking));
        }
        bits(waiting).any(|place| self.pool.explains(&held, self.history, self.op(place)))
    }

    /// Drops every front that another one can still become.
    fn least(&self, mut fronts: Vec<Front>) -> Vec<Front> {
        let effects = |front: &Front| front.done & !self.idle();
        let idle = |front: &Front| front.done & self.idle();
        fronts.sort_by_key(|front| {
            (
                effects(front).count_ones(),
                u32::MAX - idle(front).count_ones(),
            )
        });
        let mut kept: Vec<Front> = Vec::new();
        for front in fronts {
            let covered = kept.iter().any(|less| {
                effects(less) & !effects(&front) == 0 && idle(&front) & !idle(less) == 0
            });
            if !covered {
                kept.push(front);
            }
        }
        kept
    }
}
