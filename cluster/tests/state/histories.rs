//! Random histories over random configurations. After every step I1 to I6 hold by a ledger that is kept beside the
//! state (`ledger.rs`); at the end everything that was taken is free again, no money has come or gone unseen, every
//! call has one record. Replicas of a history agree wherever a snapshot cuts it.
//!
//! `TANDEM_HISTORIES` sets how many histories are run in all, 10,000 by itself. A failure is shortened and printed with
//! the command that runs it again.

use crate::ledger::EVENTS;
use crate::random::*;
use crate::steps::History;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tandem_cluster::command::Command;
use tandem_cluster::entity::Millis;
use tandem_cluster::state::State;
use tandem_cluster::state::testing::PerPeriod;

const HISTORIES: u64 = 10_000;
/// Tests that share them, so that every core has work.
const PARTS: u64 = 4;
/// Histories over one configuration: making one costs as much as a history.
const PER_CONFIGURATION: u64 = 20;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

fn configuration(seed: u64) -> History {
    History::new(&mut Dice::new(!(seed / PER_CONFIGURATION)))
}

/// Runs steps; an error says how many it took and which rule was broken.
fn run(base: &History, steps: &[Step]) -> (History, Result<(), (usize, String)>) {
    let mut history = base.clone();
    let mut done = 0;
    let result = catch_unwind(AssertUnwindSafe(|| {
        for step in steps {
            done += 1;
            history.step(*step)?;
        }
        history.finish()
    }));
    // The state's own check panics.
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>();
        Err(text
            .cloned()
            .unwrap_or_else(|| "a panic without words".to_owned()))
    });
    (history, result.map_err(|broken| (done, broken)))
}

/// Leaves out whatever the failure does not need.
fn shorten(base: &History, mut steps: Vec<Step>) -> Vec<Step> {
    let mut size = steps.len();
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match run(base, &fewer).1 {
                Err((done, _)) => {
                    fewer.truncate(done);
                    steps = fewer;
                }
                Ok(()) => at += size,
            }
        }
        size /= 2;
    }
    steps
}

/// Runs one history and says what it came to.
fn prove(base: &History, seed: u64) -> BTreeMap<&'static str, u64> {
    let steps = steps(&mut Dice::new(seed));
    let (history, result) = run(base, &steps);
    let Err((done, broken)) = result else {
        return history.ledger.seen;
    };
    let short = shorten(base, steps[..done].to_vec());
    let (history, reason) = run(base, &short);
    let reason = reason.map_or_else(|(_, reason)| reason, |()| "nothing".to_owned());
    for (at, seed, command) in &history.w.log {
        println!("{at} {seed} {command:?}");
    }
    panic!(
        "history {seed} breaks after {done} steps: {broken}\nshortened to {} steps: {reason}\nthe commands stand above; \
         run it again with\n    TANDEM_SEED={seed} cargo nextest run -p tandem-cluster --test state \
         -E 'test(histories_part_1)'",
        short.len()
    );
}

fn prove_part(part: u64) {
    if let Some(seed) = number("TANDEM_SEED") {
        if part == 1 {
            prove(&configuration(seed), seed);
        }
        return;
    }
    let share = number("TANDEM_HISTORIES")
        .unwrap_or(HISTORIES)
        .div_ceil(PARTS);
    let first = (part - 1) * share;
    let mut base = configuration(first);
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in first..first + share {
        if seed % PER_CONFIGURATION == 0 {
            base = configuration(seed);
        }
        for (event, times) in prove(&base, seed) {
            *seen.entry(event).or_insert(0) += times;
        }
    }
    println!("{share} histories: {seen:?}");
    let missing = EVENTS.iter().find(|event| !seen.contains_key(*event));
    assert!(
        share < 1_000 || missing.is_none(),
        "no history came to: {missing:?}"
    );
}

#[test]
fn numbers_are_given_once_and_never_lost_histories_part_1() {
    prove_part(1);
}

#[test]
fn numbers_are_given_once_and_never_lost_histories_part_2() {
    prove_part(2);
}

#[test]
fn numbers_are_given_once_and_never_lost_histories_part_3() {
    prove_part(3);
}

#[test]
fn numbers_are_given_once_and_never_lost_histories_part_4() {
    prove_part(4);
}

fn replay<'a>(state: &mut State, log: impl IntoIterator<Item = &'a (Millis, u64, Command)>) {
    for (at, seed, command) in log {
        state.apply(*at, *seed, command, &PerPeriod);
    }
}

#[test]
fn replicas_agree_and_a_snapshot_at_any_point_changes_nothing() {
    for seed in 0..number("TANDEM_HISTORIES").unwrap_or(HISTORIES) / 50 {
        let base = configuration(seed * PER_CONFIGURATION);
        let mut dice = Dice::new(seed);
        let (history, _) = run(&base, &steps(&mut dice));
        let world = history.w;
        let log = &world.log;
        let cut = dice.below(log.len() as u64) as usize;
        let mut second = base.w.state.clone();
        replay(&mut second, log);
        let mut third = base.w.state.clone();
        replay(&mut third, &log[..cut]);
        let bytes =
            bincode::serde::encode_to_vec(&third, bincode::config::standard()).expect("encodes");
        let (mut third, _): (State, _) =
            bincode::serde::decode_from_slice(&bytes, bincode::config::standard())
                .expect("decodes");
        replay(&mut third, &log[cut..]);
        assert_eq!(second.hash(), world.state.hash(), "seed {seed}");
        assert_eq!(
            third.hash(),
            world.state.hash(),
            "seed {seed}, cut at {cut}"
        );
        assert!(third == second);
        assert_eq!(third.check(), Ok(()));
    }
}
