//! Some seeds of the whole switch in a simulated world; `tests/simulate switch` runs as many as wanted.

use tandem_simulation::runner::{Many, Summary};

/// Runs so many seeds from the first on, a process each.
#[track_caller]
fn check(first: u64, count: u64, twice: bool) {
    let summary = many(first, count, twice, &[]);
    assert_eq!(summary.seeds, count);
    assert_eq!(
        summary.failed,
        [],
        "to see one: tests/simulate switch --seed N"
    );
}

fn many(first: u64, count: u64, twice: bool, wishes: &[&str]) -> Summary {
    let many = Many {
        program: env!("CARGO_BIN_EXE_tandem-switch-simulation").to_owned(),
        first,
        count,
        twice,
        wishes: wishes.iter().map(ToString::to_string).collect(),
    };
    many.run()
}

#[test]
fn what_the_switch_promises_holds_under_every_seed() {
    check(1, 100, false);
}

#[test]
fn a_seed_does_the_same_again() {
    check(1_001, 4, true);
}

/// Of five seeds at least so many must see what is wrong on purpose, and say so in these words.
#[track_caller]
fn finds(flaw: &str, least: usize, words: &[&str]) {
    let summary = many(2_001, 5, false, &["--flaw", flaw]);
    let seen = |text: &&(u64, String)| words.iter().any(|words| text.1.contains(words));
    let found = summary.failed.iter().filter(seen).count();
    assert!(found >= least, "only {found} of 5: {:?}", summary.failed);
}

#[test]
fn disks_that_lie_are_found() {
    finds(
        "lies",
        4,
        &["nodes are up", "answered records of", "has other states"],
    );
}

#[test]
fn phones_that_are_never_hung_up_are_found() {
    finds("mute", 5, &["is not over"]);
}

#[test]
fn records_that_are_stored_twice_are_found() {
    finds("muddle", 5, &["has two records", "or others"]);
}
