//! Calls played one by one: what the formula says must come out, and what it cannot say (pairs that rest) is measured.
//!
//! Calls come at random (exponential gaps). The first ten mean holding times are not counted, so that the empty start
//! does not flatter the result. The counted calls are cut into batches whose scatter gives the confidence.

use super::rng::Rng;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

/// Batches of a run.
const BATCHES: u64 = 25;
/// Student's t for 24 degrees of freedom, 95 % two-sided.
const T: f64 = 2.064;
/// Normal deviate, 95 % two-sided.
const Z: f64 = 1.960;
/// Margins that a calculated share may lie off: about four deviations, so that a table of many lines raises no alarm
/// by chance.
const MARGINS: f64 = 2.0;
/// Mean holding times before counting begins.
const WARM_HOLDS: f64 = 10.0;
/// Random X tried for an A before all are looked through.
const TRIES: usize = 8;

/// What came of simulated calls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Calls counted.
    pub calls: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Their share.
    pub share: f64,
    /// The true share lies within `share ± margin` in 95 of 100 runs.
    pub margin: f64,
}

impl Run {
    /// `burst`: refused calls that come together, on the average.
    fn of(batches: &[(u64, u64)], burst: f64) -> Run {
        let (calls, refused) = batches.iter().fold((0, 0), |(calls, refused), batch| {
            (calls + batch.0, refused + batch.1)
        });
        let share = refused as f64 / calls as f64;
        let count = batches.len() as f64;
        let squares: f64 = batches
            .iter()
            .map(|(calls, refused)| (*refused as f64 / *calls as f64 - share).powi(2))
            .sum();
        let scatter = T * (squares / (count - 1.0) / count).sqrt();
        // Batches that hold few bursts, or none, scatter too little to be believed. Bursts of random length at random
        // moments (compound Poisson) have this deviation.
        let bursts = Z * (2.0 * burst * (refused as f64 + burst)).sqrt() + Z * burst;
        Run {
            calls,
            refused,
            share,
            margin: scatter.max(bursts / calls as f64),
        }
    }

    /// Whether a calculated share is one that this run could have come from.
    pub fn agrees(&self, calculated: f64) -> bool {
        (self.share - calculated).abs() <= MARGINS * self.margin
    }
}

/// Counts calls into batches once the start is over.
struct Tally {
    warm_until: f64,
    batch_calls: u64,
    batches: Vec<(u64, u64)>,
}

impl Tally {
    fn new(calls: u64, warm_until: f64) -> Tally {
        Tally {
            warm_until,
            batch_calls: calls.div_ceil(BATCHES).max(1),
            batches: Vec::new(),
        }
    }

    /// False when all calls have been counted.
    fn count(&mut self, now: f64, refused: bool) -> bool {
        if now < self.warm_until {
            return true;
        }
        let begun = self.batches.len() as u64;
        match self.batches.last_mut() {
            Some(batch) if batch.0 < self.batch_calls => {
                batch.0 += 1;
                batch.1 += u64::from(refused);
            }
            _ if begun == BATCHES => return false,
            _ => self.batches.push((1, u64::from(refused))),
        }
        true
    }
}

/// A moment as a key of a heap: floats that are not negative sort as their bits do.
fn key(at: f64) -> u64 {
    at.to_bits()
}

/// The calls of a run.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Calls a second.
    pub rate: f64,
    /// How long one holds its numbers on the average, seconds.
    pub mean_hold: f64,
    /// Calls to count, at least.
    pub calls: u64,
    /// Of the random numbers.
    pub seed: u64,
}

impl Traffic {
    /// Refused calls that come together when all of `slots` are taken: a pool near its end fills again and again
    /// before it drains.
    fn burst(&self, slots: f64) -> f64 {
        let load = self.rate * self.mean_hold / slots;
        let longest = slots.sqrt().max(1.0);
        if load < 1.0 {
            (1.0 / (1.0 - load)).min(longest)
        } else {
            longest
        }
    }

    fn tally(&self) -> Tally {
        Tally::new(self.calls, WARM_HOLDS * self.mean_hold)
    }
}

/// Plays calls against `slots` slots, each held for as many seconds as `hold` draws.
pub fn slots(slots: u64, traffic: &Traffic, hold: impl Fn(&mut Rng) -> f64) -> Run {
    let mut rng = Rng::new(traffic.seed);
    let mut ends = BinaryHeap::new();
    let mut tally = traffic.tally();
    let mut now = 0.0;
    loop {
        now += rng.exponential(1.0 / traffic.rate);
        while ends.peek().is_some_and(|Reverse(end)| *end <= key(now)) {
            ends.pop();
        }
        let refused = ends.len() as u64 >= slots;
        // The draw is made for refused calls too: whether a call is refused must not change the calls after it.
        let until = now + hold(&mut rng);
        if !refused {
            ends.push(Reverse(key(until)));
        }
        if !tally.count(now, refused) {
            return Run::of(&tally.batches, traffic.burst(slots as f64));
        }
    }
}

/// How long one call holds its two numbers, seconds from the reservation.
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    /// X, to its unbind.
    pub x: f64,
    /// A, to the end of the call.
    pub a: f64,
}

/// Numbers that share one limit.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// How many, at least 1.
    pub count: usize,
    /// Lines of each, at least 1.
    pub limit: u32,
}

impl Numbers {
    fn lines(self) -> f64 {
        self.count as f64 * f64::from(self.limit)
    }
}

/// Numbers with a free line.
struct Free {
    limit: u32,
    used: Vec<u32>,
    free: Vec<u32>,
    /// Where each stands in `free`.
    at: Vec<u32>,
}

impl Free {
    fn new(numbers: Numbers) -> Free {
        let all = || (0..numbers.count as u32).collect::<Vec<u32>>();
        Free {
            limit: numbers.limit,
            used: vec![0; numbers.count],
            free: all(),
            at: all(),
        }
    }

    fn take(&mut self, number: u32) {
        let used = &mut self.used[number as usize];
        *used += 1;
        if *used == self.limit {
            let at = self.at[number as usize];
            self.free.swap_remove(at as usize);
            if let Some(moved) = self.free.get(at as usize) {
                self.at[*moved as usize] = at;
            }
        }
    }

    fn give_back(&mut self, number: u32) {
        let used = &mut self.used[number as usize];
        if *used == self.limit {
            self.at[number as usize] = self.free.len() as u32;
            self.free.push(number);
        }
        *used -= 1;
    }
}

/// What happens at a moment to a call's numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    A,
    X,
    Rest,
}

/// Plays calls as the switch reserves for them (`DOMAIN.md` §4.1): a random A with a free line, a random X with a free
/// slot, no pair twice at a time, and a pair that was released rests for `rest_secs`. Refused is a call that finds no
/// pair.
pub fn pairs(
    a: Numbers,
    x: Numbers,
    rest_secs: f64,
    traffic: &Traffic,
    hold: impl Fn(&mut Rng) -> Holds,
) -> Run {
    let mut rng = Rng::new(traffic.seed);
    let (mut a_free, mut x_free) = (Free::new(a), Free::new(x));
    let mut taken: HashSet<(u32, u32)> = HashSet::new();
    let mut ends = BinaryHeap::new();
    let mut tally = traffic.tally();
    let mut now = 0.0;
    loop {
        now += rng.exponential(1.0 / traffic.rate);
        while let Some(Reverse((end, what, a, x))) = ends.peek().copied() {
            if end > key(now) {
                break;
            }
            ends.pop();
            match what {
                End::A => a_free.give_back(a),
                End::X => {
                    x_free.give_back(x);
                    ends.push(Reverse((
                        key(f64::from_bits(end) + rest_secs),
                        End::Rest,
                        a,
                        x,
                    )));
                }
                End::Rest => {
                    taken.remove(&(a, x));
                }
            }
        }
        let pair = pick(&a_free.free, &x_free.free, &taken, &mut rng);
        let holds = hold(&mut rng);
        if let Some((a, x)) = pair {
            a_free.take(a);
            x_free.take(x);
            taken.insert((a, x));
            ends.push(Reverse((key(now + holds.a), End::A, a, x)));
            ends.push(Reverse((key(now + holds.x), End::X, a, x)));
        }
        if !tally.count(now, pair.is_none()) {
            let lines = a.lines().min(x.lines());
            return Run::of(&tally.batches, traffic.burst(lines));
        }
    }
}

fn pick(a: &[u32], x: &[u32], taken: &HashSet<(u32, u32)>, rng: &mut Rng) -> Option<(u32, u32)> {
    if a.is_empty() || x.is_empty() {
        return None;
    }
    let first = rng.below(a.len());
    for a in a[first..].iter().chain(&a[..first]) {
        for _ in 0..TRIES {
            let x = x[rng.below(x.len())];
            if !taken.contains(&(*a, x)) {
                return Some((*a, x));
            }
        }
        let first = rng.below(x.len());
        let mut all = x[first..].iter().chain(&x[..first]);
        if let Some(x) = all.find(|x| !taken.contains(&(*a, **x))) {
            return Some((*a, *x));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::erlang;
    use super::super::hold::Shape;
    use super::*;

    fn traffic(rate: f64, mean_hold: f64, calls: u64, seed: u64) -> Traffic {
        Traffic {
            rate,
            mean_hold,
            calls,
            seed,
        }
    }

    #[test]
    fn the_formula_comes_out_whatever_the_distribution() {
        for (slot_count, erlang) in [(1, 0.2), (5, 3.0), (20, 12.0), (60, 50.0), (100, 110.0)] {
            for shape in [
                Shape::Exponential,
                Shape::Fixed,
                Shape::Uniform,
                Shape::Mixed,
            ] {
                let run = slots(slot_count, &traffic(2.0, erlang / 2.0, 100_000, 3), |rng| {
                    shape.draw(erlang / 2.0, rng)
                });
                let told = erlang::blocking(slot_count, erlang);
                assert!(
                    run.agrees(told),
                    "{slot_count} slots, {erlang} Erlang, {shape:?}: {run:?} and {told}"
                );
                // A confidence that admits everything would prove nothing.
                assert!(run.margin < 0.25 * told, "{run:?}");
            }
        }
    }

    #[test]
    fn a_wrong_number_of_slots_is_noticed() {
        let run = slots(20, &traffic(2.0, 6.0, 200_000, 3), |rng| {
            rng.exponential(6.0)
        });
        assert!(
            !run.agrees(erlang::blocking(21, 12.0)) && !run.agrees(erlang::blocking(19, 12.0)),
            "{run:?}"
        );
    }

    #[test]
    fn one_seed_gives_one_run() {
        let run = |seed| {
            slots(5, &traffic(1.0, 3.0, 10_000, seed), |rng| {
                rng.exponential(3.0)
            })
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn nothing_refused_still_leaves_a_margin() {
        let run = slots(100, &traffic(1.0, 1.0, 10_000, 1), |rng| {
            rng.exponential(1.0)
        });
        assert_eq!(run.refused, 0);
        assert!(
            run.margin > 0.0 && run.agrees(1e-4) && !run.agrees(1e-3),
            "{run:?}"
        );
    }

    fn pool(count: usize, limit: u32) -> Numbers {
        Numbers { count, limit }
    }

    #[test]
    fn ample_a_leave_the_loss_to_x() {
        let hold = |rng: &mut Rng| {
            let time = rng.exponential(6.0);
            Holds { x: time, a: time }
        };
        let run = pairs(
            pool(500, 1),
            pool(10, 2),
            0.0,
            &traffic(2.0, 6.0, 200_000, 5),
            hold,
        );
        assert!(run.agrees(erlang::blocking(20, 12.0)), "{run:?}");
    }

    #[test]
    fn a_pair_that_rests_is_not_taken_again() {
        // One A with two lines on one X with two slots: the second call would need the pair of the first.
        let hold = |_: &mut Rng| Holds { x: 1.0, a: 1.0 };
        let run = pairs(
            pool(1, 2),
            pool(1, 2),
            0.0,
            &traffic(1.0, 1.0, 100_000, 5),
            hold,
        );
        assert!(run.agrees(erlang::blocking(1, 1.0)), "{run:?}");
        // A rest of 2 s makes the same pair as good as held for 3 s.
        let run = pairs(
            pool(1, 1),
            pool(1, 1),
            2.0,
            &traffic(1.0, 3.0, 100_000, 5),
            hold,
        );
        assert!(run.agrees(erlang::blocking(1, 3.0)), "{run:?}");
    }
}
