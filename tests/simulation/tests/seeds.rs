//! Some seeds of the whole switch in a simulated world; `tests/simulate switch` runs as many as wanted.

use tandem_simulation::runner::Many;

/// Runs so many seeds from the first on, a process each.
#[track_caller]
fn check(first: u64, count: u64, twice: bool) {
    let many = Many {
        program: env!("CARGO_BIN_EXE_tandem-switch-simulation").to_owned(),
        first,
        count,
        twice,
        wishes: Vec::new(),
    };
    let summary = many.run();
    assert_eq!(summary.seeds, count);
    assert_eq!(
        summary.failed,
        [],
        "to see one: tests/simulate switch --seed N"
    );
}

#[test]
fn what_the_switch_promises_holds_under_every_seed() {
    check(1, 100, false);
}

#[test]
fn a_seed_does_the_same_again() {
    check(1_001, 4, true);
}
