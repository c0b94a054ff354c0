//! Nodes whose clocks are wrong, and what the log's time makes of it.

mod nodes;

use nodes::{Note, Three};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tandem_cluster::handle::wall_clock;

const HOUR: i64 = 3_600_000;

/// How far each node's clock is off.
static OFF: [AtomicI64; 3] = [const { AtomicI64::new(0) }; 3];

fn wall<const NODE: usize>() -> u64 {
    (wall_clock() as i64 + OFF[NODE].load(Ordering::Relaxed)) as u64
}

const WALLS: [fn() -> u64; 3] = [wall::<0>, wall::<1>, wall::<2>];

/// The log's time of an entry that is made now, less the true time.
async fn ahead(three: &Three, id: u64) -> i64 {
    let node = three.node(three.leader().await);
    let (index, _) = node.propose_indexed(Note::new(id)).await.expect("replies");
    let limit = Duration::from_secs(5);
    let state = node.state_at_least(index, limit).await.expect("applied");
    state.at as i64 - wall_clock() as i64
}

/// One test, for the clocks are the process's.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_an_hour_off_moves_no_deadline_whether_it_leads_or_not() {
    let mut three = Three::start_with(|config| {
        config.wall = WALLS[config.node_id as usize - 1];
    })
    .await;
    three.leader().await;
    // Each has asked the others what time it is.
    three.hear().await;
    let mut id = 0;
    for step in [HOUR, -HOUR] {
        for (wrong, off) in OFF.iter().enumerate() {
            off.store(step, Ordering::Relaxed);
            if three.leader().await != wrong {
                let leader = three.node(three.leader().await);
                leader
                    .transfer_leader(wrong as u64 + 1)
                    .await
                    .expect("begins");
                let begun = Instant::now();
                while three.leader().await != wrong && begun.elapsed() < Duration::from_secs(5) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            for _ in 0..10 {
                id += 1;
                let ahead = ahead(&three, id).await;
                assert!(ahead.abs() < 1_000, "node {wrong} off by {step}: {ahead}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            for (at, node) in three.up_nodes() {
                let known = node.log_time().expect("has seen entries") as i64;
                let ahead = known - wall_clock() as i64;
                assert!(ahead.abs() < 1_000, "node {at} takes {ahead} for now");
            }
            // Its clock is put right while it leads.
            off.store(0, Ordering::Relaxed);
            id += 1;
            let ahead = ahead(&three, id).await;
            assert!(ahead.abs() < 1_000, "node {wrong} put right: {ahead}");
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
    }
    // A restart with a wrong clock, and the leader gone: whoever leads next does not believe it.
    let leader = three.leader().await;
    three.kill(leader);
    OFF[leader].store(20 * HOUR, Ordering::Relaxed);
    three.up(leader).await;
    three.leader().await;
    three.hear().await;
    let ahead = ahead(&three, id + 1).await;
    assert!(ahead.abs() < 2_000, "{ahead}");
}
