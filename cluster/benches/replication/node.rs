//! A node with callers in its process, as calls live in a node of the switch.

use crate::Histogram;
use crate::calls;
use crate::counts::Counts;
use crate::process::Measured;
use crate::sample;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tandem_cluster::command::*;
use tandem_cluster::handle::{Cluster, Config, Member, Role};
use tandem_cluster::state::testing::PerPeriod;

/// A and X numbers, each with lines enough.
const NUMBERS: u32 = 300;
/// How often a node reports which records it has stored.
const STORE_EVERY: Duration = Duration::from_millis(250);
/// Calls that are set up side by side to be held.
const SIDE_BY_SIDE: usize = 64;

/// A node.
#[derive(Clone)]
pub struct Node {
    cluster: Cluster,
    epoch: Epoch,
    count: Arc<AtomicU32>,
}

impl Node {
    pub async fn start(id: &str, dir: &str, addresses: &str) -> Node {
        let id: u64 = id.parse().expect("number");
        let addresses: Vec<&str> = addresses.split(',').collect();
        let members: Vec<Member> = (1..)
            .zip(&addresses)
            .map(|(id, address)| Member {
                id,
                address: (*address).to_owned(),
            })
            .collect();
        let listen = addresses[id as usize - 1].parse().expect("address");
        let config = Config::new(id, "bench", dir, listen, members);
        let started = Cluster::start(config, Arc::new(PerPeriod)).await;
        let cluster = started.expect("starts");
        let claim = Claim {
            access_name: format!("n{id}"),
            node: id,
            boot: 1,
            address: String::new(),
            version: String::new(),
            lease_ms: 60_000,
        };
        let epoch = match cluster.propose(Command::Claim(claim)).await {
            Ok(Reply::Claimed { epoch }) => epoch,
            other => panic!("not claimed: {other:?}"),
        };
        tokio::spawn(store_records(cluster.clone()));
        Node {
            cluster,
            epoch,
            count: Arc::default(),
        }
    }

    /// Enters a small switch, with lines for so many calls at once.
    pub async fn configure(&self, calls: u32) {
        let mut rows = Vec::new();
        sample::entities(NUMBERS, calls, |entity| rows.push(entity));
        for (request, entity) in (1..).zip(rows) {
            let put = Put {
                request,
                actor: "bench".into(),
                id: None,
                version: None,
                memo: String::new(),
                entity,
            };
            let reply = self.cluster.propose(Command::Put(put)).await;
            assert!(matches!(reply, Ok(Reply::Row { .. })), "{reply:?}");
        }
    }

    pub fn reading(&self, counts: &Counts) -> String {
        let leads = self.cluster.standing().borrow().role == Role::Leader;
        counts.read(leads).line()
    }

    /// So many calls, so many a second, each of half a second.
    pub async fn run(&self, calls: u32, per_s: f64) -> Measured {
        let limit = Duration::from_secs(30);
        self.cluster.caught_up(limit).await.expect("catches up");
        let begun = Instant::now();
        let mut tasks = Vec::new();
        for nth in 0..calls {
            let at = begun + Duration::from_secs_f64(f64::from(nth) / per_s);
            tokio::time::sleep_until(at.into()).await;
            let node = self.clone();
            tasks.push(tokio::spawn(async move {
                let begun = Instant::now();
                let (call, lease) = node.reserve().await;
                let took = begun.elapsed();
                node.talk(call, &lease).await;
                took
            }));
        }
        let mut times = Histogram::default();
        for task in tasks {
            times.add(task.await.expect("does not panic"));
        }
        while self.cluster.submitted() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Measured {
            times,
            wall: begun.elapsed(),
            ..Measured::default()
        }
    }

    /// Sets so many calls up and leaves them answered.
    pub async fn hold(&self, calls: u32) {
        let left = Arc::new(AtomicU32::new(calls));
        let one_less = |left: u32| left.checked_sub(1);
        let tasks = (0..SIDE_BY_SIDE).map(|_| {
            let (node, left) = (self.clone(), left.clone());
            tokio::spawn(async move {
                while left
                    .try_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                    .is_ok()
                {
                    let (call, lease) = node.reserve().await;
                    node.answer(call, &lease).await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("does not panic");
        }
        let limit = Duration::from_secs(30);
        self.cluster.caught_up(limit).await.expect("catches up");
        // What the log keeps of them is no part of the state.
        let built = self.cluster.trigger_snapshot().await;
        built.expect("begins");
    }

    async fn reserve(&self) -> (CallId, Lease) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let call = CallId::new(self.epoch, count);
        match self.cluster.propose(calls::reserve(call, 1)).await {
            Ok(Reply::Reserved(attempt)) => (call, attempt.lease.expect("the gateway is AXB")),
            other => panic!("not reserved: {other:?}"),
        }
    }

    async fn answer(&self, call: CallId, lease: &Lease) {
        self.cluster.submit(calls::bound(lease, self.epoch));
        let answered = self.cluster.propose(calls::answered(call)).await;
        answered.expect("is applied");
    }

    /// The rest of a call: ringing, answer, talk, and the binding's end before the call's.
    async fn talk(&self, call: CallId, lease: &Lease) {
        tokio::time::sleep(Duration::from_millis(130)).await;
        self.answer(call, lease).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.cluster.submit(calls::unbound(lease, self.epoch));
        tokio::time::sleep(Duration::from_millis(150)).await;
        self.cluster.submit(calls::end(call));
    }
}

/// Reports records as stored, as the switch's writer of records does.
async fn store_records(cluster: Cluster) {
    let mut told = 0;
    loop {
        tokio::time::sleep(STORE_EVERY).await;
        let upto = cluster.state().outbox_last();
        if upto > told {
            told = upto;
            let node = cluster.node_id();
            cluster.submit(Command::Stored { node, upto });
        }
    }
}
