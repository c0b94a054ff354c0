//! The switch's own state on three nodes: alike after commands from all of them, a snapshot, and a restart.

mod nodes;

use std::sync::Arc;
use std::time::{Duration, Instant};
use tandem_cluster::command::{Biller, Claim, Closing, Command, Put, Reply, Slice, Usage};
use tandem_cluster::entity::{AGroup, Entity, FeeRate, Micros};
use tandem_cluster::handle::{Cluster, Config, Member};

struct Free;

impl Biller for Free {
    fn close(&self, _: &Usage) -> Closing {
        Closing {
            charges: vec![],
            record: vec![],
        }
    }
    fn slice(&self, _: &FeeRate, _: u32, _: Micros) -> Option<Slice> {
        None
    }
    fn longest(&self, _: &FeeRate, _: Micros) -> Option<u32> {
        None
    }
}

async fn alike(nodes: &[Cluster]) -> u64 {
    let begun = Instant::now();
    loop {
        let seen: Vec<(u64, u64)> = nodes
            .iter()
            .map(|node| (node.status().applied, node.state().hash()))
            .collect();
        if seen.iter().all(|each| *each == seen[0]) {
            return seen[0].1;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "states differ: {seen:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_switchs_state_is_alike_on_all_nodes_and_survives_a_restart() {
    let listeners: Vec<_> = (0..3)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("binds"))
        .collect();
    let addresses: Vec<_> = listeners
        .iter()
        .map(|listener| listener.local_addr().expect("is bound"))
        .collect();
    drop(listeners);
    let dirs: Vec<_> = (0..3)
        .map(|_| tempfile::tempdir().expect("temporary directory"))
        .collect();
    let members: Vec<Member> = (1..)
        .zip(&addresses)
        .map(|(id, address)| Member {
            id,
            address: address.to_string(),
        })
        .collect();
    let start = async || {
        let mut nodes = Vec::new();
        for (at, dir) in dirs.iter().enumerate() {
            let mut config = Config::new(
                at as u64 + 1,
                "switch",
                dir.path(),
                addresses[at],
                members.clone(),
            );
            nodes::small_snapshots(&mut config);
            nodes.push(
                Cluster::start(config, Arc::new(Free))
                    .await
                    .expect("starts"),
            );
        }
        nodes
    };

    let nodes = start().await;
    let mut epochs = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let claim = Claim {
            access_name: format!("dev-{}", at + 1),
            node: node.node_id(),
            boot: 7,
            address: format!("127.0.0.1:{at}"),
            version: "test".into(),
            lease_ms: 60_000,
        };
        match node.propose(Command::Claim(claim)).await {
            Ok(Reply::Claimed { epoch }) => epochs.push(epoch),
            other => panic!("not claimed: {other:?}"),
        }
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 3, "each has a tenure of its own");
    for request in 0..90 {
        let put = Put {
            request,
            actor: "test".into(),
            id: None,
            version: None,
            memo: String::new(),
            entity: Entity::AGroup(AGroup {
                name: format!("group-{request}"),
            }),
        };
        let reply = nodes[request as usize % 3]
            .propose(Command::Put(put))
            .await
            .expect("is applied");
        assert!(matches!(reply, Reply::Row { version: 1, .. }), "{reply:?}");
    }
    let before = alike(&nodes).await;
    assert!(
        nodes.iter().any(|node| node.status().snapshot > 0),
        "a snapshot was taken"
    );
    for node in &nodes {
        node.shutdown().await;
    }
    drop(nodes);
    let nodes = start().await;
    for node in &nodes {
        node.caught_up(Duration::from_secs(10))
            .await
            .expect("catches up");
    }
    assert_eq!(alike(&nodes).await, before);
}
