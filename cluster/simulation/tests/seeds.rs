//! Seeds of the simulated cluster: many hold, each does the same thing twice, and what is wrong on purpose is found.
//!
//! `tests/run` gives the release build of the program (`TANDEM_SIMULATE`) and a thousand seeds take a few minutes; the
//! debug build, which a test run by hand finds, does a tenth of them. `SIMULATION_SEEDS` sets another number.

use tandem_simulation::runner::{Many, Summary};

fn many(first: u64, count: u64, twice: bool, wishes: &[&str]) -> Summary {
    let many = Many {
        program: program().unwrap_or_else(|| env!("CARGO_BIN_EXE_simulate").into()),
        first,
        count,
        twice,
        wishes: wishes.iter().map(ToString::to_string).collect(),
    };
    many.run()
}

/// The release build.
fn program() -> Option<String> {
    std::env::var("TANDEM_SIMULATE").ok()
}

fn holds(summary: &Summary) {
    let texts: Vec<&str> = summary.failed.iter().map(|(_, text)| &**text).collect();
    assert!(
        texts.is_empty(),
        "{} of {} seeds fail; see one with `tests/simulate --seed {}`:\n{}",
        texts.len(),
        summary.seeds,
        summary.failed[0].0,
        texts.join("\n")
    );
    println!("{} seeds in {:.1?}", summary.seeds, summary.took);
}

#[test]
fn what_was_acknowledged_is_there_whatever_goes_wrong() {
    let given = std::env::var("SIMULATION_SEEDS").ok();
    let given = given.and_then(|text| text.parse().ok());
    let count = given.unwrap_or(if program().is_some() { 1_000 } else { 100 });
    holds(&many(1, count, false, &[]));
}

#[test]
fn a_seed_does_the_same_thing_twice() {
    holds(&many(5_001, 20, true, &[]));
}

#[test]
fn a_long_history_under_faults_is_linearizable() {
    let operations = if program().is_some() { "20000" } else { "2000" };
    holds(&many(6_001, 2, false, &["--operations", operations]));
}

#[test]
fn disks_that_lie_are_found() {
    let summary = many(7_001, 10, false, &["--flaw", "lies"]);
    assert!(summary.failed.len() >= 8, "only {:?}", summary.failed);
}

#[test]
fn a_number_that_was_given_twice_is_found() {
    let summary = many(8_001, 2, false, &["--flaw", "twice", "--operations", "300"]);
    assert_eq!(summary.failed.len(), 2);
    for (_, text) in &summary.failed {
        assert!(text.contains("has no place in any order"), "{text}");
    }
}
