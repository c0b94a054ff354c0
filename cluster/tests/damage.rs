//! A node whose state differs from the others': found by a mark, repaired by another node's state.

mod nodes;

use imbl::OrdMap;
use nodes::Three;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tandem_cluster::codec;
use tandem_cluster::handle::{Machine, ProposeError};

/// Sums by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums(OrdMap<u64, u64>);

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Do {
    Add { key: u64, amount: u64 },
    Mark(u64),
}

/// What one node's memory does to it.
#[derive(Default)]
struct Memory {
    /// Additions to this key are lost.
    loses: AtomicU64,
    broken: AtomicBool,
}

impl Machine for Sums {
    type Command = Do;
    type Reply = u64;
    type Effect = ();
    type Context = Memory;

    fn initial() -> Self {
        Sums::default()
    }

    fn apply_one(&mut self, _: u64, _: u64, command: &Do, memory: &Memory) -> (u64, Vec<()>) {
        let Do::Add { key, amount } = command else {
            return (0, vec![]);
        };
        if memory.broken.load(Ordering::Relaxed) && memory.loses.load(Ordering::Relaxed) == *key {
            return (0, vec![]);
        }
        let sum = self.0.get(key).copied().unwrap_or(0) + amount;
        self.0.insert(*key, sum);
        (sum, vec![])
    }

    fn set_voters(&mut self, _: BTreeSet<u64>) {}

    fn mark(command: &Do) -> Option<u64> {
        match command {
            Do::Mark(id) => Some(*id),
            Do::Add { .. } => None,
        }
    }
}

const LIMIT: Duration = Duration::from_secs(5);

/// Three nodes, each with a memory of its own.
struct Damaged(Three<Sums>);

impl Damaged {
    async fn start() -> Damaged {
        Damaged(Three::open((0..3).map(|_| Arc::default()).collect(), |_| ()).await)
    }

    async fn add(&self, key: u64) {
        let add = Do::Add { key, amount: 1 };
        self.0.node(0).propose(add).await.expect("replies");
    }

    /// What each node holds at one entry.
    async fn compare(&self, mark: u64) -> Vec<(Arc<Sums>, u64)> {
        let marked = self.0.node(0).propose(Do::Mark(mark)).await;
        marked.expect("replies");
        let mut held = Vec::new();
        for (_, node) in self.0.up_nodes() {
            held.push(node.marked(mark, LIMIT).await.expect("is kept"));
        }
        assert!(
            held.windows(2).all(|pair| pair[0].1 == pair[1].1),
            "the same entry"
        );
        held
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_equal_at_a_mark_whatever_goes_on() {
    let three = Arc::new(Damaged::start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..20)
        .map(|key| {
            let (three, stop) = (three.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    three.add(key).await;
                }
            })
        })
        .collect();
    for mark in 1..=20 {
        let held = three.compare(mark).await;
        assert_eq!(held[0].0, held[1].0);
        assert_eq!(held[1].0, held[2].0);
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("ends");
    }
    let late = three.0.node(0).marked(1, Duration::from_millis(50)).await;
    assert!(matches!(late, Err(ProposeError::Unknown(_))), "long gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_is_found_and_repaired_under_load_and_stays_repaired() {
    let mut three = Damaged::start().await;
    for key in 0..50 {
        three.add(key).await;
    }
    let memory = three.0.contexts[2].clone();
    memory.loses.store(7, Ordering::Relaxed);
    memory.broken.store(true, Ordering::Relaxed);
    three.add(7).await;
    three.add(8).await;
    three.compare(1).await;
    memory.broken.store(false, Ordering::Relaxed);
    let held = three.compare(2).await;
    assert_eq!(held[0].0, held[1].0);
    assert_ne!(held[1].0, held[2].0, "found");
    assert_eq!((held[1].0.0[&7], held[2].0.0[&7]), (2, 1));

    // It goes on while the copy is on its way, on the damaged node as well.
    let (right, upto) = held[1].clone();
    let copy = codec::encode(&*right).expect("encodes");
    for key in 0..300 {
        three.add(key % 50).await;
    }
    let damaged = three.0.node(2);
    damaged.caught_up(LIMIT).await.expect("catches up");
    let end = damaged
        .restore(copy.into(), upto)
        .await
        .expect("is restored");
    assert!(end >= upto + 300, "{end} after {upto}");
    three.add(9).await;
    let held = three.compare(3).await;
    assert_eq!(held[0].0, held[2].0);
    assert_eq!(held[2].0.0[&7], 8);

    // A copy that is behind what the log still has, or ahead of what is applied, changes nothing.
    let damaged = three.0.node(2);
    let copy = codec::encode(&*held[0].0).expect("encodes");
    let error = damaged.restore(copy.into(), u64::MAX).await;
    assert!(error.is_err());
    let error = damaged.restore(b"no state".as_slice().into(), 1).await;
    assert!(error.is_err());
    assert_eq!(three.compare(4).await[2].0, held[2].0);

    // Its next snapshot holds the repaired state, and so does it after a restart.
    let damaged = three.0.node(2);
    let begun = Instant::now();
    while damaged.status().snapshot <= end {
        damaged.trigger_snapshot().await.expect("begins");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(begun.elapsed() < LIMIT, "no snapshot");
    }
    three.0.kill(2);
    three.0.up(2).await;
    let held = three.compare(5).await;
    assert_eq!(held[0].0, held[2].0);
}
