//! How many numbers a traffic needs, and what letting X go early saves.
//!
//! Pure: a [`Demand`] goes in, a [`Plan`] comes out, the same for one seed everywhere. A call holds an X slot from its
//! reservation to the unbind, that is the answer time and then the unbind delay or the talk, whichever ends first
//! (`DOMAIN.md` §4.2); an unanswered call holds it until it is given up. It holds an A line to its end (§4.1, I1). Both
//! are loss systems: [`erlang`] says how many are needed, [`simulate`] plays the calls and must agree.
//!
//! Absent on purpose: who may use which X. Numbers that only some callers may use are pools of their own; plan each by
//! itself.

pub mod chart;
pub mod erlang;
pub mod hold;
mod rng;
pub mod simulate;

use hold::Shape;
use rng::Rng;
use simulate::{Holds, Numbers, Run, Traffic};
use std::fmt;

/// Most offered traffic of one pool, Erlang.
pub const ERLANG_MAX: f64 = 1_000_000.0;
/// Most offered traffic that is simulated as well, Erlang.
pub const SIMULATED_ERLANG_MAX: f64 = 20_000.0;
/// Mean holding times that a simulation covers at least: a large pool runs full only now and then.
const HOLDS_MIN: f64 = 500.0;
/// Most delays compared.
pub const DELAYS_MAX: usize = 16;
/// Longest time of any kind, seconds.
pub const SECS_MAX: f64 = 86_400.0;
/// Most lines of a number, as the cluster has it.
pub const LIMIT_MAX: u32 = 1_000_000;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Calls that need a pair, 0.001 to 100,000 a second.
    pub calls_per_second: f64,
    /// Mean time from the bind to the answer, seconds.
    pub answer_secs: f64,
    /// Mean time from the bind to the end of a call that nobody answers, seconds.
    pub give_up_secs: f64,
    /// Mean time from the answer to the end of the call, seconds.
    pub talk_secs: f64,
    /// Share of calls that are answered, above 0 and at most 1.
    pub answer_ratio: f64,
    /// Time of one request to the platform, seconds: X is held for the bind and for the unbind as well, A for the bind.
    pub platform_secs: f64,
    /// How all these times but the platform's scatter.
    pub shape: Shape,
    /// Wanted share of refused calls for want of an X, and as much for want of an A; 1e-9 to 0.5.
    pub blocking: f64,
    /// 线路上限 of an X.
    pub x_limit: u32,
    /// 线路上限 of an A.
    pub a_limit: u32,
    /// How long a released pair rests, seconds. Given, whole calls are played with both numbers.
    pub pair_rest_secs: Option<f64>,
    /// 解绑延迟（秒）to compare: `None` at call end, else seconds after the answer. 1 to 16 of them.
    pub unbind_delays: Vec<Option<u32>>,
    /// Calls of a simulation at least, 10,000 to 50,000,000; 0: no simulation.
    pub calls: u64,
    /// Of the simulation.
    pub seed: u64,
}

impl Default for Demand {
    fn default() -> Demand {
        Demand {
            calls_per_second: 1.0,
            answer_secs: 10.0,
            give_up_secs: 10.0,
            talk_secs: 60.0,
            answer_ratio: 1.0,
            platform_secs: 0.0,
            shape: Shape::Exponential,
            blocking: 0.001,
            x_limit: 1,
            a_limit: 1,
            pair_rest_secs: None,
            unbind_delays: vec![None, Some(0)],
            calls: 1_000_000,
            seed: 1,
        }
    }
}

/// A demand that cannot be planned.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A value beyond its bounds.
    #[error("`{field}`: {value} is not within {least} and {most}")]
    Bound {
        /// Which.
        field: &'static str,
        /// What was given.
        value: f64,
        /// Least allowed.
        least: f64,
        /// Most allowed.
        most: f64,
    },
    /// No delay, or too many.
    #[error("`unbind_delays`: {0} delays to compare, 1 to {DELAYS_MAX} can be")]
    Delays(usize),
    /// More traffic than can be planned.
    #[error("{erlang:.0} Erlang are offered to {what}, at most {ERLANG_MAX} can be planned")]
    Erlang {
        /// Of which pool.
        what: &'static str,
        /// How much.
        erlang: f64,
    },
}

/// A pool that carries the demand.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Mean time a call holds a line of it, seconds.
    pub hold_secs: f64,
    /// Offered traffic.
    pub erlang: f64,
    /// Lines needed.
    pub lines: u64,
    /// Numbers that have so many lines.
    pub numbers: u64,
    /// Share refused by all lines of these numbers, by Erlang's formula.
    pub blocking: f64,
    /// The same as simulated; none when it was not asked for or is too large.
    pub simulated: Option<Run>,
}

impl Pool {
    /// Whether formula and simulation agree.
    pub fn agrees(&self) -> Option<bool> {
        Some(self.simulated?.agrees(self.blocking))
    }
}

/// What one unbind delay needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// 解绑延迟（秒）
    pub unbind_delay: Option<u32>,
    /// X numbers.
    pub x: Pool,
    /// X numbers that this saves beside a release at call end; 0 for that itself.
    pub saved: u64,
    /// Whole calls played with the numbers of this line, pairs resting.
    pub pairs: Option<Run>,
}

/// What a demand needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// A numbers: alike for all delays.
    pub a: Pool,
    /// X numbers needed when X is let go at call end.
    pub x_at_call_end: u64,
    /// A line for each delay, in the order asked.
    pub lines: Vec<Line>,
}

impl Demand {
    /// Checks every bound.
    pub fn check(&self) -> Result<(), Error> {
        let within = |field, value: f64, least: f64, most: f64| {
            // Not-a-number is within nothing.
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::Bound {
                field,
                value,
                least,
                most,
            })
        };
        within("calls_per_second", self.calls_per_second, 0.001, 100_000.0)?;
        within("answer_time", self.answer_secs, 0.0, SECS_MAX)?;
        within("give_up_time", self.give_up_secs, 0.0, SECS_MAX)?;
        within("talk_time", self.talk_secs, 0.0, SECS_MAX)?;
        within("answer_ratio", self.answer_ratio, 1e-6, 1.0)?;
        within("platform_time", self.platform_secs, 0.0, 600.0)?;
        within("blocking", self.blocking, 1e-9, 0.5)?;
        within(
            "x_limit",
            f64::from(self.x_limit),
            1.0,
            f64::from(LIMIT_MAX),
        )?;
        within(
            "a_limit",
            f64::from(self.a_limit),
            1.0,
            f64::from(LIMIT_MAX),
        )?;
        within(
            "pair_rest",
            self.pair_rest_secs.unwrap_or(0.0),
            0.0,
            3_600.0,
        )?;
        if self.calls > 0 {
            within("calls", self.calls as f64, 10_000.0, 50_000_000.0)?;
        }
        if !(1..=DELAYS_MAX).contains(&self.unbind_delays.len()) {
            return Err(Error::Delays(self.unbind_delays.len()));
        }
        for delay in self.unbind_delays.iter().flatten() {
            within("unbind_delay", f64::from(*delay), 0.0, SECS_MAX)?;
        }
        let offered = |what, hold: f64| {
            let erlang = hold * self.calls_per_second;
            if erlang <= ERLANG_MAX {
                return Ok(());
            }
            Err(Error::Erlang { what, erlang })
        };
        offered("A", self.a_hold())?;
        offered("X", self.x_hold(None))
    }

    /// Mean time that a call holds an X slot, seconds.
    pub fn x_hold(&self, delay: Option<u32>) -> f64 {
        self.x_hold_until(delay.map_or(f64::INFINITY, f64::from))
    }

    fn x_hold_until(&self, delay_secs: f64) -> f64 {
        let bound = self.shape.mean_until(self.talk_secs, delay_secs);
        let answered = self.answer_secs + bound;
        let ringing = (1.0 - self.answer_ratio) * self.give_up_secs;
        self.answer_ratio * answered + ringing + 2.0 * self.platform_secs
    }

    /// Mean time that a call holds an A line, seconds.
    pub fn a_hold(&self) -> f64 {
        let answered = self.answer_ratio * (self.answer_secs + self.talk_secs);
        answered + (1.0 - self.answer_ratio) * self.give_up_secs + self.platform_secs
    }

    /// X numbers needed with an unbind delay, by the formula alone. The demand must have passed [`Demand::check`].
    pub fn x_needed(&self, delay: Option<u32>) -> u64 {
        self.pool(self.x_hold(delay), self.x_limit).numbers
    }

    /// X numbers needed for unbind delays from 0 up, in even steps: the longest delay shown, and a number for each of
    /// `steps` (at least 2). The demand must have passed [`Demand::check`].
    pub fn x_curve(&self, steps: usize) -> (f64, Vec<u64>) {
        // Three mean talk times hold nineteen of twenty calls.
        let asked = self.unbind_delays.iter().flatten().max().copied();
        let longest = (3.0 * self.talk_secs)
            .max(asked.map_or(1.0, f64::from))
            .max(1.0);
        let needed = |step: usize| {
            let delay = longest * step as f64 / (steps.max(2) - 1) as f64;
            self.pool(self.x_hold_until(delay), self.x_limit).numbers
        };
        (longest, (0..steps).map(needed).collect())
    }

    fn pool(&self, hold_secs: f64, limit: u32) -> Pool {
        let erlang = hold_secs * self.calls_per_second;
        let lines = erlang::servers(erlang, self.blocking);
        let numbers = lines.div_ceil(u64::from(limit));
        Pool {
            hold_secs,
            erlang,
            lines,
            numbers,
            blocking: erlang::blocking(numbers * u64::from(limit), erlang),
            simulated: None,
        }
    }

    /// One call's times.
    fn draw(&self, delay: Option<u32>, rng: &mut Rng) -> Holds {
        let bind = self.platform_secs;
        if self.answer_ratio < 1.0 && rng.unit() >= self.answer_ratio {
            let end = bind + self.shape.draw(self.give_up_secs, rng);
            return Holds {
                x: end + self.platform_secs,
                a: end,
            };
        }
        let answer = bind + self.shape.draw(self.answer_secs, rng);
        let talk = self.shape.draw(self.talk_secs, rng);
        let bound = delay.map_or(talk, |delay| talk.min(f64::from(delay)));
        Holds {
            x: answer + bound + self.platform_secs,
            a: answer + talk,
        }
    }

    /// Calls to simulate that hold numbers for so long; none when they are too many or not wanted.
    fn traffic(&self, mean_hold: f64, stream: u64) -> Option<Traffic> {
        let erlang = mean_hold * self.calls_per_second;
        let wanted = self.calls > 0 && erlang <= SIMULATED_ERLANG_MAX;
        wanted.then(|| Traffic {
            rate: self.calls_per_second,
            mean_hold,
            calls: self.calls.max((HOLDS_MIN * erlang) as u64),
            // A seed of its own for each simulation of one plan.
            seed: Rng::new(self.seed ^ stream.rotate_left(32)).bits(),
        })
    }

    fn simulate(
        &self,
        pool: &Pool,
        limit: u32,
        stream: u64,
        hold: impl Fn(&mut Rng) -> f64,
    ) -> Option<Run> {
        let traffic = self.traffic(pool.hold_secs, stream)?;
        Some(simulate::slots(
            pool.numbers * u64::from(limit),
            &traffic,
            hold,
        ))
    }

    fn line(&self, number: usize, a: &Pool, x_at_call_end: u64) -> Line {
        let delay = self.unbind_delays.get(number).copied().flatten();
        let mut x = self.pool(self.x_hold(delay), self.x_limit);
        let stream = 2 * number as u64;
        x.simulated = self.simulate(&x, self.x_limit, stream + 1, |rng| self.draw(delay, rng).x);
        let pairs = self.pair_rest_secs.and_then(|rest| {
            let traffic = self.traffic(a.hold_secs.max(x.hold_secs), stream + 2)?;
            let (a, x) = (numbers(a, self.a_limit), numbers(&x, self.x_limit));
            Some(simulate::pairs(a, x, rest, &traffic, |rng| {
                self.draw(delay, rng)
            }))
        });
        Line {
            unbind_delay: delay,
            saved: x_at_call_end.saturating_sub(x.numbers),
            x,
            pairs,
        }
    }
}

fn numbers(pool: &Pool, limit: u32) -> Numbers {
    Numbers {
        count: pool.numbers as usize,
        limit,
    }
}

/// Plans. Simulations run side by side; a million calls take some tenths of a second each.
pub fn plan(demand: &Demand) -> Result<Plan, Error> {
    demand.check()?;
    let mut a = demand.pool(demand.a_hold(), demand.a_limit);
    let x_at_call_end = demand.x_needed(None);
    let (lines, simulated) = std::thread::scope(|scope| {
        let lines: Vec<_> = (0..demand.unbind_delays.len())
            .map(|number| {
                let a = &a;
                scope.spawn(move || demand.line(number, a, x_at_call_end))
            })
            .collect();
        let simulated = demand.simulate(&a, demand.a_limit, 0, |rng| demand.draw(None, rng).a);
        let lines: Vec<Line> = lines
            .into_iter()
            .map(|line| line.join().expect("simulations do not panic"))
            .collect();
        (lines, simulated)
    });
    a.simulated = simulated;
    Ok(Plan {
        a,
        x_at_call_end,
        lines,
    })
}

/// An unbind delay in words.
pub struct Delay(pub Option<u32>);

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("null"),
            Some(secs) => write!(f, "{secs}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demand() -> Demand {
        Demand {
            calls_per_second: 10.0,
            answer_secs: 8.0,
            give_up_secs: 40.0,
            talk_secs: 60.0,
            answer_ratio: 0.5,
            unbind_delays: vec![None, Some(5), Some(0)],
            calls: 100_000,
            ..Demand::default()
        }
    }

    #[test]
    fn a_slot_is_held_from_the_bind_to_the_unbind() {
        let fixed = Demand {
            shape: Shape::Fixed,
            ..demand()
        };
        for (delay, secs) in [
            (None, 0.5 * 68.0 + 0.5 * 40.0),
            (Some(0), 0.5 * 8.0 + 0.5 * 40.0),
            (Some(5), 0.5 * 13.0 + 0.5 * 40.0),
            // A call that ends before the delay lets go at its end.
            (Some(90), 0.5 * 68.0 + 0.5 * 40.0),
        ] {
            assert_eq!(fixed.x_hold(delay), secs, "{delay:?}");
        }
        assert_eq!(fixed.a_hold(), 54.0);
        let slow = Demand {
            platform_secs: 0.25,
            ..fixed
        };
        assert_eq!((slow.x_hold(Some(0)), slow.a_hold()), (24.5, 54.25));
    }

    #[test]
    fn formula_and_simulation_agree_for_every_shape_and_delay() {
        for shape in [
            Shape::Exponential,
            Shape::Fixed,
            Shape::Uniform,
            Shape::Mixed,
        ] {
            let plan = plan(&Demand {
                shape,
                blocking: 0.01,
                x_limit: 3,
                ..demand()
            })
            .expect("a plan");
            assert_eq!(plan.a.agrees(), Some(true), "{shape:?}: {:?}", plan.a);
            for line in &plan.lines {
                assert_eq!(line.x.agrees(), Some(true), "{shape:?}: {line:?}");
                assert!(line.x.blocking <= 0.01 && line.x.numbers == line.x.lines.div_ceil(3));
            }
        }
    }

    #[test]
    fn letting_go_early_saves_numbers() {
        let plan = plan(&Demand {
            answer_ratio: 1.0,
            calls: 0,
            ..demand()
        })
        .expect("a plan");
        let x: Vec<u64> = plan.lines.iter().map(|line| line.x.numbers).collect();
        let saved: Vec<u64> = plan.lines.iter().map(|line| line.saved).collect();
        // 680, 128 and 80 Erlang at one call in a thousand.
        assert_eq!(x, [742, 159, 106]);
        assert_eq!(saved, [0, 583, 636]);
        assert_eq!(plan.a.numbers, 742);
    }

    #[test]
    fn resting_pairs_refuse_a_little_more_than_the_pools_by_themselves() {
        let tight = Demand {
            calls_per_second: 1.0,
            answer_ratio: 1.0,
            answer_secs: 2.0,
            talk_secs: 4.0,
            blocking: 0.01,
            pair_rest_secs: Some(60.0),
            unbind_delays: vec![Some(0)],
            ..demand()
        };
        let line = &plan(&tight).expect("a plan").lines[0];
        let run = line.pairs.expect("played");
        assert!(run.share > line.x.blocking, "{line:?}");
        let roomy = Demand {
            pair_rest_secs: Some(0.0),
            ..tight
        };
        let free = plan(&roomy).expect("a plan").lines[0]
            .pairs
            .expect("played");
        assert!(free.share < run.share, "{free:?} {run:?}");
    }

    #[test]
    fn values_beyond_their_bounds_are_named() {
        type Spoil = fn(&mut Demand);
        let cases: [(&str, Spoil); 11] = [
            ("`calls_per_second`: 0 is", |demand| {
                demand.calls_per_second = 0.0
            }),
            ("`calls_per_second`: NaN is", |demand| {
                demand.calls_per_second = f64::NAN
            }),
            ("`answer_time`: -1 is", |demand| demand.answer_secs = -1.0),
            ("`talk_time`: inf is", |demand| {
                demand.talk_secs = f64::INFINITY
            }),
            ("`answer_ratio`: 1.5 is", |demand| demand.answer_ratio = 1.5),
            (
                "`blocking`: 0 is not within 0.000000001 and 0.5",
                |demand| demand.blocking = 0.0,
            ),
            ("`x_limit`: 0 is", |demand| demand.x_limit = 0),
            ("`calls`: 3 is", |demand| demand.calls = 3),
            ("`unbind_delays`: 0 delays", |demand| {
                demand.unbind_delays.clear()
            }),
            ("`unbind_delay`: 100000 is", |demand| {
                demand.unbind_delays = vec![Some(100_000)]
            }),
            ("8640010 Erlang are offered to A", |demand| {
                (
                    demand.talk_secs,
                    demand.calls_per_second,
                    demand.answer_ratio,
                ) = (86_400.0, 100.0, 1.0);
                demand.answer_secs = 0.1;
            }),
        ];
        for (said, spoil) in cases {
            let mut demand = demand();
            spoil(&mut demand);
            let error = plan(&demand).expect_err(said).to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[test]
    fn more_traffic_than_can_be_played_is_still_planned() {
        let huge = Demand {
            calls_per_second: 500.0,
            answer_secs: 0.5,
            talk_secs: 100.0,
            answer_ratio: 1.0,
            unbind_delays: vec![None, Some(0)],
            ..demand()
        };
        let plan = plan(&huge).expect("a plan");
        assert_eq!((plan.a.simulated, plan.lines[0].x.simulated), (None, None));
        assert_eq!(plan.lines[1].x.agrees(), Some(true));
    }

    proptest! {
        #[test]
        fn a_later_unbind_never_needs_fewer_numbers(
            rate in 0.1f64..50.0, answer in 0.0f64..30.0, talk in 0.0f64..200.0, delay in 0u32..300, more in 1u32..300, limit in 1u32..30
        ) {
            for shape in [Shape::Exponential, Shape::Fixed, Shape::Uniform, Shape::Mixed] {
                let demand = Demand {
                    calls_per_second: rate, answer_secs: answer, talk_secs: talk, x_limit: limit, shape, ..demand()
                };
                let needed = |delay| demand.x_needed(delay);
                prop_assert!(needed(Some(delay)) <= needed(Some(delay + more)));
                prop_assert!(needed(Some(delay + more)) <= needed(None));
            }
        }
    }
}
