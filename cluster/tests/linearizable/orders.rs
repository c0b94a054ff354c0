//! The checker checked: hand-made histories with a known verdict, and small random ones against the search that tries
//! every order.

use crate::pool::{Broken, Deed, Held, Moment, Number, Op, Pool, check};
use std::collections::HashSet;

fn pool(a: u8, x: u8, rest: Moment) -> Pool {
    Pool {
        a_lines: vec![1; a.into()],
        x_lines: vec![1; x.into()],
        callees: 3,
        rest,
        slack: 0,
    }
}

fn op(invoked: Moment, returned: impl Into<Option<Moment>>, deed: Deed) -> Op {
    Op {
        invoked,
        returned: returned.into(),
        deed,
    }
}

const fn take(a: usize, x: usize) -> Deed {
    Deed::Take { a, x, b: 0 }
}

const REFUSED: Deed = Deed::Refused { b: 1 };

fn free_a(of: usize) -> Deed {
    Deed::FreeA { of }
}

fn free_x(of: usize) -> Deed {
    Deed::FreeX { of }
}

const fn seen(number: Number, lines: u8) -> Deed {
    Deed::Seen { number, lines }
}

/// `culprit`: the operation that no order explains.
fn expect(name: &str, pool: &Pool, history: &[Op], culprit: Option<usize>) {
    let found = match check(pool, history) {
        Ok(_) => None,
        Err(Broken::NotLinearizable { op, .. }) => Some(op),
        Err(other) => panic!("{name}: {other}"),
    };
    assert_eq!(found, culprit, "{name}");
}

#[test]
fn wrong_histories_are_rejected_and_right_ones_are_not() {
    let one = pool(1, 1, 0);
    let wide = pool(2, 2, 0);
    expect(
        "a line is taken, given back and taken again",
        &one,
        &[
            op(0, 1, take(0, 0)),
            op(2, 3, free_a(0)),
            op(2, 3, free_x(0)),
            op(4, 5, take(0, 0)),
        ],
        None,
    );
    expect(
        "a number is given twice",
        &one,
        &[op(0, 1, take(0, 0)), op(2, 3, take(0, 0))],
        Some(1),
    );
    expect(
        "one A is given with two X",
        &wide,
        &[op(0, 3, take(0, 0)), op(2, 5, take(0, 1))],
        Some(1),
    );
    expect(
        "an A is given again before the release was even asked for",
        &one,
        &[
            op(0, 1, take(0, 0)),
            op(2, 3, free_x(0)),
            op(4, 5, take(0, 0)),
            op(6, 7, free_a(0)),
        ],
        Some(2),
    );
    expect(
        "a release under way explains that a line is given again",
        &one,
        &[
            op(0, 1, take(0, 0)),
            op(2, 9, free_a(0)),
            op(2, 9, free_x(0)),
            op(3, 4, take(0, 0)),
        ],
        None,
    );
    expect(
        "a release without an answer explains it long after",
        &one,
        &[
            op(0, 1, take(0, 0)),
            op(2, None, free_a(0)),
            op(2, None, free_x(0)),
            op(90, 91, take(0, 0)),
        ],
        None,
    );
    expect(
        "and need not explain anything",
        &one,
        &[
            op(0, 1, take(0, 0)),
            op(2, None, free_a(0)),
            op(2, 3, free_x(0)),
            op(90, 91, REFUSED),
        ],
        None,
    );
    expect(
        "a refusal while a pair was surely free",
        &wide,
        &[op(0, 1, take(0, 0)), op(2, 3, REFUSED)],
        Some(1),
    );
    expect(
        "a refusal after everything came back",
        &one,
        &[
            op(0, 1, take(0, 0)),
            op(2, 3, free_a(0)),
            op(2, 3, free_x(0)),
            op(4, 5, REFUSED),
        ],
        Some(3),
    );
    expect(
        "a refusal while the last pair was being taken",
        &one,
        &[op(2, 9, take(0, 0)), op(3, 4, REFUSED)],
        None,
    );
    expect(
        "a refusal before the release that came before the answer",
        &one,
        &[
            op(0, 1, take(0, 0)),
            op(2, 9, REFUSED),
            op(3, 4, free_x(0)),
            op(3, 4, free_a(0)),
        ],
        None,
    );
    // Both X's are surely free in turn, so there is no moment without a pair.
    expect(
        "two lines that are never taken at the same time justify no refusal",
        &pool(2, 2, 0),
        &[
            op(0, 1, take(0, 0)),
            op(0, 20, REFUSED),
            op(2, 3, free_a(0)),
            op(4, 5, free_x(0)),
            op(6, 7, take(1, 1)),
        ],
        Some(1),
    );
    expect(
        "a release cannot be early for a taking and late for a refusal",
        &one,
        &[
            op(0, 1, take(0, 0)),
            op(2, 20, free_a(0)),
            op(2, 20, free_x(0)),
            op(3, 4, take(0, 0)),
            op(5, 6, free_a(3)),
            op(5, 6, free_x(3)),
            op(7, 8, REFUSED),
        ],
        Some(6),
    );
    expect(
        "the same X for the same callee",
        &Pool {
            x_lines: vec![2],
            ..pool(2, 1, 0)
        },
        &[op(0, 1, take(0, 0)), op(2, 3, take(1, 0))],
        Some(1),
    );
    let resting = pool(1, 1, 100);
    let cycle = |again: Op| {
        [
            op(0, 1, take(0, 0)),
            op(2, 10, free_a(0)),
            op(2, 10, free_x(0)),
            again,
        ]
    };
    expect(
        "a pair at rest is given",
        &resting,
        &cycle(op(90, 95, take(0, 0))),
        Some(3),
    );
    expect(
        "a pair may have rested long enough",
        &resting,
        &cycle(op(90, 103, take(0, 0))),
        None,
    );
    expect(
        "a refusal while the pair may rest",
        &resting,
        &cycle(op(105, 120, REFUSED)),
        None,
    );
    expect(
        "a refusal when its rest is over",
        &resting,
        &cycle(op(111, 120, REFUSED)),
        Some(3),
    );
}

#[test]
fn whoever_looks_sees_what_was_held_at_one_moment_while_he_looked() {
    let one = pool(1, 1, 0);
    let x = |lines| seen(Number::X(0), lines);
    let a = |lines| seen(Number::A(0), lines);
    expect(
        "what was taken before is seen",
        &one,
        &[op(0, 1, take(0, 0)), op(2, 3, x(1)), op(2, 3, a(1))],
        None,
    );
    expect(
        "an old answer",
        &one,
        &[op(0, 1, take(0, 0)), op(2, 3, x(0))],
        Some(1),
    );
    expect(
        "an answer of before the release, which is over",
        &one,
        &[op(0, 1, take(0, 0)), op(2, 3, free_x(0)), op(4, 5, x(1))],
        Some(2),
    );
    expect(
        "early and late while a taking is under way, in this order",
        &one,
        &[op(0, 9, take(0, 0)), op(1, 2, x(0)), op(3, 4, x(1))],
        None,
    );
    expect(
        "what was seen cannot be taken back",
        &one,
        &[op(0, 9, take(0, 0)), op(1, 2, x(1)), op(3, 4, x(0))],
        Some(2),
    );
    expect(
        "two numbers tell of the same moment",
        &one,
        &[op(0, 9, take(0, 0)), op(1, 2, x(1)), op(3, 4, a(0))],
        Some(2),
    );
    expect(
        "a taking whose answer was lost is seen long after",
        &one,
        &[op(0, None, take(0, 0)), op(5, 6, x(0)), op(50, 51, x(1))],
        None,
    );
    expect(
        "it stays once it was seen",
        &one,
        &[op(0, None, take(0, 0)), op(5, 6, x(1)), op(50, 51, x(0))],
        Some(2),
    );
    expect(
        "a release whose answer was lost is seen",
        &one,
        &[op(0, 1, take(0, 0)), op(2, None, free_x(0)), op(7, 8, x(0))],
        None,
    );
    expect(
        "more than was ever asked for",
        &wide_x(),
        &[op(0, 1, take(0, 0)), op(2, 3, x(2))],
        Some(1),
    );
    expect(
        "a look between two changes that overlap it both",
        &wide_x(),
        &[
            op(0, 1, take(0, 0)),
            op(2, 9, free_x(0)),
            op(2, 9, Deed::Take { a: 1, x: 0, b: 1 }),
            op(3, 8, x(0)),
            op(3, 8, x(2)),
        ],
        Some(4),
    );
}

/// Two A's, and one X with two lines.
fn wide_x() -> Pool {
    Pool {
        x_lines: vec![2],
        ..pool(2, 1, 0)
    }
}

#[test]
fn a_release_of_nothing_is_no_history() {
    let history = [op(0, 5, take(0, 0)), op(4, 6, free_a(0))];
    assert_eq!(
        check(&pool(1, 1, 0), &history).expect_err("taking and release overlap"),
        Broken::Malformed { op: 1 }
    );
}

/// Tries every order.
fn any_order(pool: &Pool, history: &[Op]) -> bool {
    fn go(pool: &Pool, history: &[Op], done: u32, held: &Held, dead: &mut HashSet<u32>) -> bool {
        let left = || (0..history.len()).filter(|at| done & 1 << at == 0);
        let Some(first_answer) = left().filter_map(|at| history[at].returned).min() else {
            return true;
        };
        if dead.contains(&done) {
            return false;
        }
        for at in left().filter(|at| history[*at].invoked <= first_answer) {
            if pool.explains(held, history, at) {
                let mut held = held.clone();
                pool.perform(&mut held, history, at);
                if go(pool, history, done | 1 << at, &held, dead) {
                    return true;
                }
            }
        }
        dead.insert(done);
        false
    }
    go(pool, history, 0, &pool.empty(), &mut HashSet::new())
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// Callers that take and give back at random moments, whether or not that is possible.
fn random(dice: &mut Dice) -> (Pool, Vec<Op>) {
    let sizes = [(1, 1), (1, 2), (2, 1), (2, 2)];
    let (a_count, x_count) = sizes[dice.roll(4) as usize];
    let pool = Pool {
        a_lines: (0..a_count).map(|_| 1 + dice.roll(2) as u8).collect(),
        x_lines: (0..x_count).map(|_| 1 + dice.roll(2) as u8).collect(),
        callees: 2,
        rest: [0, 0, 6][dice.roll(3) as usize],
        slack: 0,
    };
    let mut history = Vec::new();
    let callers = 2 + dice.roll(3);
    for _ in 0..callers {
        let mut now = dice.roll(8);
        let mut span = |dice: &mut Dice, lost_in: u64| {
            let invoked = now + 1 + dice.roll(4);
            now = invoked + dice.roll(8);
            let lost = dice.roll(lost_in) == 0;
            (invoked, (!lost).then_some(now))
        };
        for _ in 0..1 + dice.roll(2) {
            let b = dice.roll(2) as usize;
            let (a, x) = (
                dice.roll(a_count as u64) as usize,
                dice.roll(x_count as u64) as usize,
            );
            let idle = match dice.roll(6) {
                0 => Some(Deed::Refused { b }),
                1 => Some(seen(Number::A(a), dice.roll(3) as u8)),
                2 => Some(seen(Number::X(x), dice.roll(3) as u8)),
                _ => None,
            };
            let lost_in = if idle.is_some() { u64::MAX } else { 12 };
            let (invoked, returned) = span(dice, lost_in);
            let of = history.len();
            history.push(op(
                invoked,
                returned,
                idle.unwrap_or(Deed::Take { a, x, b }),
            ));
            // Who does not know what was given gives nothing back.
            if idle.is_some() || returned.is_none() {
                continue;
            }
            let mut sides = [Deed::FreeA { of }, Deed::FreeX { of }];
            if dice.roll(2) == 0 {
                sides.reverse();
            }
            for side in sides {
                let (invoked, returned) = span(dice, 12);
                history.push(op(invoked, returned, side));
            }
        }
    }
    (pool, history)
}

#[test]
fn as_strict_as_trying_every_order() {
    let (mut right, mut wrong, mut refusals, mut looks, mut lost) = (0, 0, 0, 0, 0);
    for seed in 1..=40_000u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (pool, history) = random(&mut dice);
        let expected = any_order(&pool, &history);
        let found = match check(&pool, &history) {
            Ok(_) => true,
            Err(Broken::NotLinearizable { .. }) => false,
            Err(other) => panic!("seed {seed}: {other}"),
        };
        assert_eq!(
            found,
            expected,
            "seed {seed}: {pool:?}\n{}",
            history
                .iter()
                .map(|op| format!("{op:?}\n"))
                .collect::<String>()
        );
        let has = |what: fn(&Op) -> bool| u32::from(found && history.iter().any(what));
        match found {
            true => right += 1,
            false => wrong += 1,
        }
        refusals += has(|op| matches!(op.deed, Deed::Refused { .. }));
        looks += has(|op| matches!(op.deed, Deed::Seen { lines: 1.., .. }));
        lost += has(|op| matches!(op.deed, Deed::Take { .. }) && op.returned.is_none());
    }
    let text = format!(
        "{right} right, of them {refusals} with refusals, {looks} with looks that saw something, {lost} with lost \
         takings; {wrong} wrong"
    );
    println!("{text}");
    assert!(
        [right, wrong].iter().all(|count| *count > 1_000)
            && [refusals, looks, lost].iter().all(|count| *count > 300),
        "{text}"
    );
}
