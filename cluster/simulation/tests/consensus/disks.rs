//! What slow disks cost: an entry is committed when two of three nodes have it on disk, whichever two they are.

use crate::{NODES, Three, others, until};
use std::time::Duration;
use tandem_simulation::entropy;

/// A slow disk takes so long for a sync; a quick one takes no time.
const SLOW_MS: u64 = 800;
/// The network and the proposer take at most this, from a follower as well.
const WAY_MS: u64 = 40;

/// How long each of three commands took that were proposed at each node, while these nodes' disks are slow.
fn took(three: &mut Three, slow: &[u64]) -> Vec<u64> {
    for id in slow {
        let disk = three.world.disk(*id);
        disk.set_sync_takes(Duration::from_millis(SLOW_MS));
    }
    let mut took = Vec::new();
    for id in 1..=NODES {
        for mark in 1..=3 {
            let from_ms = three.world.now_ms();
            let committed = three.hands.propose(id, mark);
            until(&mut three.world, 10 * SLOW_MS, "no answer", || {
                committed.get().is_some()
            });
            took.push(three.world.now_ms() - from_ms);
        }
    }
    assert!(three.hands.leads(three.leader), "nobody else was elected");
    took
}

#[test]
fn one_slow_disk_holds_up_nobody_and_two_hold_up_all() {
    entropy::fix(1).expect("the test begins anew where everything follows from a seed");
    for seed in 0..5 {
        for id in 1..=NODES {
            let mut three = Three::elected(seed);
            let took = took(&mut three, &[id]);
            let longest = took.iter().max();
            assert!(
                longest.is_some_and(|longest| *longest <= WAY_MS),
                "seed {seed}, leader {}, slow {id}: {took:?}",
                three.leader
            );
        }
        for id in 1..=NODES {
            let mut three = Three::elected(seed);
            let took = took(&mut three, &others(id));
            let shortest = took.iter().min();
            assert!(
                shortest.is_some_and(|shortest| *shortest >= SLOW_MS),
                "seed {seed}, leader {}, quick {id}: {took:?}",
                three.leader
            );
        }
    }
}
