//! What a call costs the whole cluster: three nodes of the switch in this process, each with its log on disk, 600 calls
//! a second of reserve, bound, answered, unbound and end, read as a node reads: an admission, a look at the interface,
//! and a writer of records that follows the outbox.
//!
//! `cargo bench -p tandem-cluster --bench switch [-- calls-per-second [seconds]]`. CPU is of the process: three nodes
//! and the callers.

#[path = "calls.rs"]
mod calls;
#[path = "sample.rs"]
mod sample;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tandem_cluster::command::*;
use tandem_cluster::entity::Entity;
use tandem_cluster::handle::{Cluster, Config, Member};
use tandem_cluster::state::testing::PerPeriod;

const NUMBERS: u32 = 300;
/// What a node reads of operators' tables may be so old.
const TABLES_AGE: Duration = Duration::from_millis(200);

/// CPU time of this process: the kernel counts in hundredths of a second.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields = stat.rsplit(')').next().expect("has a name");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|n| n.parse::<u64>().expect("number")).sum();
    Duration::from_millis(ticks * 10)
}

async fn start(dirs: &[tempfile::TempDir]) -> Vec<(Cluster, Epoch)> {
    let sockets = || std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let listeners: Vec<_> = dirs.iter().map(|_| sockets()).collect();
    let addresses: Vec<_> = listeners
        .iter()
        .map(|listener| listener.local_addr().expect("is bound"))
        .collect();
    drop(listeners);
    let members: Vec<Member> = (1..)
        .zip(&addresses)
        .map(|(id, address)| Member {
            id,
            address: address.to_string(),
        })
        .collect();
    let mut nodes = Vec::new();
    for ((id, dir), address) in (1..).zip(dirs).zip(&addresses) {
        let config = Config::new(id, "bench", dir.path(), *address, members.clone());
        let node = Cluster::start(config, Arc::new(PerPeriod)).await;
        nodes.push(node.expect("starts"));
    }
    let mut claimed = Vec::new();
    for node in nodes {
        let claim = Claim {
            access_name: format!("n{}", node.node_id()),
            node: node.node_id(),
            boot: 1,
            address: String::new(),
            version: String::new(),
            lease_ms: 60_000,
        };
        match node.propose(Command::Claim(claim)).await {
            Ok(Reply::Claimed { epoch }) => claimed.push((node, epoch)),
            other => panic!("{other:?}"),
        }
    }
    claimed
}

async fn put(node: &Cluster, request: u64, entity: Entity) {
    let put = Put {
        request,
        actor: "op".into(),
        id: None,
        version: None,
        memo: String::new(),
        entity,
    };
    let reply = node.propose(Command::Put(put)).await;
    assert!(matches!(reply, Ok(Reply::Row { .. })), "{reply:?}");
}

/// Follows the outbox as the writer of records does, and reports what is stored.
async fn write(node: Cluster) {
    let mut effects = node.effects().expect("first");
    let (mut from, mut reported) = (1, Instant::now());
    while let Some(applied) = effects.recv().await {
        if !matches!(applied.effects[..], [.., Effect::Outbox { .. }]) {
            continue;
        }
        from += node.state().outbox_from(from, 10_000).len() as u64;
        if reported.elapsed() > Duration::from_millis(250) {
            reported = Instant::now();
            node.submit(Command::Stored {
                node: node.node_id(),
                upto: from - 1,
            });
        }
    }
}

async fn call(node: Cluster, epoch: Epoch, count: u32) {
    let state = node.state_within(TABLES_AGE);
    assert!(state.mapping_gateway(1).is_some());
    drop(state);
    let id = CallId::new(epoch, count);
    let lease = match node.propose(calls::reserve(id, 1)).await {
        Ok(Reply::Reserved(attempt)) => attempt.lease.expect("AXB"),
        other => panic!("{other:?}"),
    };
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(
        node.state_within(TABLES_AGE)
            .interface(lease.interface)
            .is_some()
    );
    node.submit(calls::bound(&lease, epoch));
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.propose(calls::answered(id)).await.expect("is applied");
    tokio::time::sleep(Duration::from_millis(200)).await;
    node.submit(calls::unbound(&lease, epoch));
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.submit(calls::end(id));
}

fn main() {
    let mut args = std::env::args().filter_map(|arg| arg.parse::<u32>().ok());
    let (per_second, seconds) = (args.next().unwrap_or(600), args.next().unwrap_or(6));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let dirs: Vec<_> = (0..3)
            .map(|_| tempfile::tempdir().expect("temporary directory"))
            .collect();
        let nodes = start(&dirs).await;
        let mut rows = Vec::new();
        sample::entities(NUMBERS, 20_000, |entity| rows.push(entity));
        for (request, entity) in (1..).zip(rows) {
            put(&nodes[0].0, request, entity).await;
        }
        for (node, _) in &nodes {
            let limit = Duration::from_secs(60);
            node.caught_up(limit).await.expect("catches up");
            tokio::spawn(write(node.clone()));
        }
        let count = AtomicU32::new(0);
        for round in ["warm", "1", "2", "3"] {
            let (begun, used) = (Instant::now(), cpu());
            let total = per_second * seconds;
            let mut tasks = Vec::new();
            for nth in 0..total {
                let at = begun + Duration::from_secs(1) * nth / per_second;
                tokio::time::sleep_until(at.into()).await;
                let (node, epoch) = nodes[nth as usize % nodes.len()].clone();
                let count = count.fetch_add(1, Ordering::Relaxed);
                tasks.push(tokio::spawn(call(node, epoch, count)));
            }
            for task in tasks {
                task.await.expect("does not panic");
            }
            let cpu = (cpu() - used).as_secs_f64() * 1e3;
            println!(
                "round {round}: {per_second} calls/s · {:.3} ms CPU a call over three nodes ({:.1} s)",
                cpu / f64::from(total),
                begun.elapsed().as_secs_f64()
            );
        }
    });
}
