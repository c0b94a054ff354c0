//! A leader that another has followed, while what its followers said to it was still on its way: who reads there must
//! not be told of the past.
//!
//! The followers have acknowledged an entry, and the network holds that back. They elect another leader, which commits
//! more. Then somebody reads at the old one, and what was held back arrives there, in another order for each seed. What
//! was said before the reader asked says nothing of who led when he did, although it names the newest entry that the
//! old leader has.

use crate::{Three, others, until};
use std::time::Duration;
use tandem_simulation::entropy;

/// A leader is elected within this.
const ELECTED_MS: u64 = 900;
/// What was held back comes within this.
const LATE_MS: u64 = 300;

/// What a reader at the old leader saw, and what there was before he asked.
fn read_of_the_past(seed: u64) -> (Option<u64>, u64) {
    let Three {
        mut world,
        hands,
        leader: old,
    } = Three::elected(seed);
    let first = hands.propose(old, 1);
    until(&mut world, 1_000, "nothing is committed", || {
        first.get().is_some()
    });
    world.run_for(100);

    let others = others(old);
    for other in &others {
        world.net().cut(*other, old);
    }
    let acknowledged = hands.propose(old, 2);
    world.run_for(10);
    for other in &others {
        world.net().cut(old, *other);
    }
    let follows = || others.iter().copied().find(|id| hands.leads(*id));
    until(&mut world, ELECTED_MS, "nobody follows", || {
        follows().is_some()
    });
    let new = follows().expect("it was seen");
    let later = hands.propose(new, 3);
    until(&mut world, 500, "nothing is committed", || {
        later.get().is_some()
    });
    let least = later.get().expect("it was seen");
    assert!(hands.leads(old), "it has heard of nothing");
    assert_eq!(acknowledged.get(), None);

    let limit = Duration::from_millis(LATE_MS);
    let seen = hands.ask(old, move |cluster| async move {
        cluster.caught_up(limit).await.ok()
    });
    world.run_for(4);
    world.net().heal(0);
    // To each other half of the seeds the old leader can ask nobody anything.
    for other in others.iter().filter(|_| seed.is_multiple_of(2)) {
        world.net().cut(old, *other);
    }
    world.run_for(2 * LATE_MS);
    (seen.get(), least)
}

#[test]
fn acknowledgements_from_before_do_not_confirm_a_leader() {
    entropy::fix(1).expect("the test begins anew where everything follows from a seed");
    let mut reads = 0;
    for seed in 0..300 {
        let (seen, least) = read_of_the_past(seed);
        assert!(
            seen.is_none_or(|seen| seen >= least),
            "seed {seed}: {least} entries were committed, and a reader saw {seen:?}"
        );
        reads += u64::from(seen.is_some());
    }
    // Who can ask the others learns who leads, and reads there.
    assert!(reads >= 100, "only {reads} of 300 could read");
}
