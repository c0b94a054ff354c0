//! What a replicated command costs: three nodes in this process, each with its log on disk, every commit synced.
//!
//! `cargo bench -p tandem-cluster --bench commands [idle|calls-100|callers-16|…]`. Rates depend on the disk and on what else runs; the CPU columns
//! (user and system, all three nodes and the callers together) are the ones to compare.

#[path = "../tests/nodes/mod.rs"]
mod nodes;

use nodes::{Node, Note, Three};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const RUN: Duration = Duration::from_secs(4);

/// CPU time of this process: the kernel counts in hundredths of a second.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("has a name")
        .split_whitespace()
        .collect();
    let ticks: u64 =
        fields[11].parse::<u64>().expect("number") + fields[12].parse::<u64>().expect("number");
    Duration::from_millis(ticks * 10)
}

fn quantile(sorted: &[Duration], q: f64) -> Duration {
    sorted
        .get((sorted.len() as f64 * q) as usize)
        .copied()
        .unwrap_or_default()
}

static IDS: AtomicU64 = AtomicU64::new(0);

/// Callers that each wait for one command after another.
async fn closed(name: &str, node: &Node, callers: usize) {
    let (begun, used) = (Instant::now(), cpu());
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let node = node.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while begun.elapsed() < RUN {
                    let at = Instant::now();
                    node.propose(Note::new(IDS.fetch_add(1, Ordering::Relaxed)))
                        .await
                        .expect("is applied");
                    took.push(at.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.expect("does not panic"));
    }
    let (wall, used) = (begun.elapsed(), cpu() - used);
    took.sort_unstable();
    println!(
        "{name:9} {callers:4} callers: {:7.0} commands/s · p50 {:>9.2?} · p99 {:>9.2?} · {:6.1} us CPU a command",
        took.len() as f64 / wall.as_secs_f64(),
        quantile(&took, 0.5),
        quantile(&took, 0.99),
        used.as_secs_f64() * 1e6 / took.len() as f64,
    );
}

/// Calls of two waited-for and three submitted commands each, offered at a rate, spread over the nodes.
async fn calls(three: &Three, per_second: u64) {
    let nodes: Vec<Node> = three.up_nodes().map(|(_, node)| node.clone()).collect();
    let (begun, used) = (Instant::now(), cpu());
    let total = per_second * RUN.as_secs();
    let applied = nodes[0].status().applied;
    let took = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for count in 0..total {
        let at = begun + Duration::from_micros(count * 1_000_000 / per_second);
        tokio::time::sleep_until(at.into()).await;
        let (node, took) = (nodes[count as usize % nodes.len()].clone(), took.clone());
        tasks.push(tokio::spawn(async move {
            let note = || Note::new(IDS.fetch_add(1, Ordering::Relaxed));
            for pause in [100, 200] {
                let at = Instant::now();
                node.propose(note()).await.expect("is applied");
                took.lock().expect("no panic").push(at.elapsed());
                node.submit(note());
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            node.submit(note());
        }));
    }
    for task in tasks {
        task.await.expect("does not panic");
    }
    let (wall, used) = (begun.elapsed(), cpu() - used);
    let entries = nodes[0].status().applied - applied;
    let mut took = std::mem::take(&mut *took.lock().expect("no panic"));
    took.sort_unstable();
    println!(
        "{per_second:4} calls/s of 5 commands: {:6.3} ms CPU a call · {:.2} entries a call · p50 {:>9.2?} · p99 {:>9.2?} ({:.1} s)",
        used.as_secs_f64() * 1e3 / total as f64,
        entries as f64 / total as f64,
        quantile(&took, 0.5),
        quantile(&took, 0.99),
        wall.as_secs_f64(),
    );
}

/// Whether a part was asked for: by no name at all, or by one that it begins with.
fn wanted(part: &str) -> bool {
    let mut names = std::env::args()
        .skip(1)
        .filter(|name| !name.starts_with('-'))
        .peekable();
    names.peek().is_none() || names.any(|name| part.starts_with(&name))
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let three = Three::start().await;
        three.leader().await;
        if wanted("idle") {
            let used = cpu();
            tokio::time::sleep(RUN).await;
            println!(
                "idle: {:.1} ms CPU a second",
                (cpu() - used).as_secs_f64() * 1e3 / RUN.as_secs_f64()
            );
        }
        for per_second in [20, 100, 500] {
            if wanted(&format!("calls-{per_second}")) {
                calls(&three, per_second).await;
            }
        }
        three.agree().await;
        drop(three);

        // What the path can do when nothing is held back to save CPU.
        let three = Three::start_with(|config| config.entries_per_s = 1_000_000).await;
        let leader = three.leader().await;
        let follower = three.follower().await;
        for per_second in [100, 500] {
            if wanted(&format!("unpaced-{per_second}")) {
                print!("unpaced: ");
                calls(&three, per_second).await;
            }
        }
        for callers in [1, 16, 256] {
            if wanted(&format!("callers-{callers}")) {
                closed("leader", three.node(leader), callers).await;
                closed("follower", three.node(follower), callers).await;
            }
        }
        three.agree().await;
    });
}
