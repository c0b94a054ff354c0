//! Our half: a node of the cluster with callers in its process.

#[path = "../calls.rs"]
mod calls;
#[path = "../../tests/state/world.rs"]
#[allow(dead_code)]
mod world;

use crate::Histogram;
use crate::process::Measured;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::handle::{Cluster, Config, Member};
use tandem_cluster::state::testing::PerPeriod;

/// A numbers, and as many X numbers, each with one line.
pub const NUMBERS: usize = 10_000;
/// Callers wait while this node has so many submitted commands that are not committed.
const BEHIND_MAX: usize = 2_048;

pub struct Side {
    node: Cluster,
    epoch: Epoch,
    calls: Arc<AtomicU32>,
}

impl Side {
    pub async fn start(id: &str, dir: &str, addresses: &str, entries: &str) -> Side {
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
        let mut config = Config::new(id, "bench", dir, listen, members);
        config.entries_per_s = entries.parse().expect("number");
        let node = Cluster::start(config, Arc::new(PerPeriod))
            .await
            .expect("starts");
        let claim = Claim {
            access_name: format!("dev-{id}"),
            node: id,
            boot: 1,
            address: format!("127.0.0.1:{id}"),
            version: "bench".into(),
            lease_ms: 60_000,
        };
        let epoch = match node.propose(Command::Claim(claim)).await {
            Ok(Reply::Claimed { epoch }) => epoch,
            other => panic!("not claimed: {other:?}"),
        };
        let (effects, stored) = (node.effects(), node.clone());
        // As the switch does: records are stored some time after their calls, and then need not be kept.
        tokio::spawn(async move {
            let mut effects = effects.expect("nobody else took them");
            let mut told = Instant::now();
            while let Some(applied) = effects.recv().await {
                let last = applied
                    .effects
                    .iter()
                    .rev()
                    .find_map(|effect| match effect {
                        Effect::Outbox { last } => Some(*last),
                        _ => None,
                    });
                if let Some(upto) = last
                    && told.elapsed() > Duration::from_millis(100)
                {
                    told = Instant::now();
                    stored.submit(Command::Stored { node: id, upto });
                }
            }
        });
        Side {
            node,
            epoch,
            calls: Arc::default(),
        }
    }

    /// Makes a customer, an AXB gateway and its numbers.
    pub async fn configure(&self) {
        let requests = Arc::new(AtomicU64::new(1));
        let put = |entity| {
            let put = Command::Put(Put {
                request: requests.fetch_add(1, Ordering::Relaxed),
                actor: "bench".into(),
                id: None,
                version: None,
                memo: String::new(),
                entity,
            });
            let node = self.node.clone();
            async move {
                match node.propose(put).await {
                    Ok(Reply::Row { id, .. }) => id,
                    other => panic!("not put: {other:?}"),
                }
            }
        };
        let customer = put(world::account("c1", "g")).await;
        put(world::rate("g", "", 100, 60)).await;
        let interface = put(world::interface("hz")).await;
        let group = put(Entity::AGroup(AGroup { name: "ga".into() })).await;
        let numbers: Vec<_> = (0..NUMBERS)
            .flat_map(|n| {
                [
                    put(world::a_number(group, &format!("021{n:08}"))),
                    put(world::x_number(interface, &format!("170{n:08}"))),
                ]
            })
            .collect();
        futures::future::join_all(numbers).await;
        put(Entity::RoutingGateway(RoutingGateway {
            capacity: 1_000_000,
            axb: Some(AxbRoute {
                a_group: group,
                interface,
                callee_rules: String::new(),
                account: None,
                rate_on_submitted: false,
            }),
            ..world::routing("platform")
        }))
        .await;
        put(Entity::MappingGateway(MappingGateway {
            capacity: 1_000_000,
            ..world::mapping("customer", customer)
        }))
        .await;
    }

    pub async fn run(&self, callers: usize, run: Duration) -> Measured {
        self.node
            .caught_up(Duration::from_secs(10))
            .await
            .expect("catches up");
        let gateway = self.node.state().find(Table::MappingGateways, "customer");
        let gateway = gateway.expect("is configured");
        let entries = self.node.status().applied;
        let begun = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let caller = Caller {
                    node: self.node.clone(),
                    epoch: self.epoch,
                    calls: self.calls.clone(),
                    gateway,
                };
                tokio::spawn(caller.work(begun, run))
            })
            .collect();
        let mut measured = Measured::default();
        for task in tasks {
            measured.join(task.await.expect("does not panic"));
        }
        while self.node.submitted() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        measured.wall = begun.elapsed();
        measured.entries = self.node.status().applied - entries;
        measured
    }
}

struct Caller {
    node: Cluster,
    epoch: Epoch,
    calls: Arc<AtomicU32>,
    gateway: Id,
}

impl Caller {
    async fn work(self, begun: Instant, run: Duration) -> Measured {
        let mut measured = Measured::default();
        let mut times = Histogram::default();
        while begun.elapsed() < run {
            let call = CallId::new(self.epoch, self.calls.fetch_add(1, Ordering::Relaxed) + 1);
            let at = Instant::now();
            let reply = self.node.propose(calls::reserve(call, self.gateway)).await;
            match reply.expect("is applied") {
                Reply::Reserved(attempt) => {
                    times.add(at.elapsed());
                    let lease = attempt.lease.expect("the gateway is AXB");
                    self.node.submit(calls::unbound(&lease, self.epoch));
                }
                Reply::Refused(Refusal::NoAxbNumber) => measured.again += 1,
                other => panic!("not reserved: {other:?}"),
            }
            self.node.submit(calls::end(call));
            while self.node.submitted() > BEHIND_MAX {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        measured.times = times;
        measured
    }
}
