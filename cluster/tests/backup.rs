//! A cluster that begins with the state of another one.

mod nodes;

use nodes::{Node, Note, Notes, Three};
use std::sync::Arc;
use std::time::Duration;
use tandem_cluster::backup::{About, FORMAT, Piece, Reader, Writer};
use tandem_cluster::codec;
use tandem_cluster::handle::{Config, StartError, restore};

/// What a running node gives.
async fn back_up(node: &Node) -> Vec<u8> {
    let current = node.caught_up(Duration::from_secs(5)).await;
    current.expect("has a quorum");
    let (state, applied) = node.state_now();
    let about = About {
        format: FORMAT,
        level: 1,
        cluster: "test".into(),
        version: "0".into(),
        at: state.at,
        applied,
        state_hash: 0,
        recorded: 0,
        records: false,
    };
    let mut writer = Writer::new(Vec::new(), &about).expect("is written");
    writer.state(&*state).expect("is written");
    writer.finish().expect("is written")
}

/// Begins a node's directory with it.
fn begin(config: &Config, backup: &[u8]) -> Result<(), StartError> {
    let (about, mut reader) = Reader::open(backup).expect("is sound");
    let mut state = Vec::new();
    loop {
        match reader.next_piece().expect("is sound") {
            Piece::State(part) => state.extend(part),
            Piece::Records(_) => {}
            Piece::End(mark) => {
                let state: Notes = codec::decode(&state).expect("is whole");
                return restore(config, state, about.applied, mark);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_restored_cluster_goes_on_from_the_state_of_the_backup() {
    let mut three = Three::start().await;
    three.leader().await;
    for id in 0..120 {
        let node = three.node(id as usize % 3);
        node.propose(Note::new(id)).await.expect("is applied");
    }
    let backup = back_up(three.node(1)).await;
    let before = three.agree().await;
    let proposed = three.node(0).propose(Note::new(999)).await;
    proposed.expect("is applied, and lost with the old cluster");
    let other = back_up(three.node(0)).await;
    for at in 0..3 {
        three.kill(at);
        // The old directory is not taken.
        let refused = begin(&three.configs[at], &backup).expect_err("is in use");
        assert!(refused.to_string().ends_with("is not empty"), "{refused}");
        three.wipe(at);
    }
    begin(&three.configs[0], &backup).expect("is restored");
    begin(&three.configs[1], &backup).expect("is restored");
    begin(&three.configs[2], &other).expect("is restored");

    three.up(0).await;
    three.up(1).await;
    three.leader().await;
    let proposed = three.node(1).propose(Note::new(500)).await;
    proposed.expect("is applied");
    let after = three.agree().await;
    assert_eq!(after.order.len(), 121);
    assert!(before.order.iter().eq(after.order.iter().take(120)));
    assert!(!after.places.contains_key(&999));

    // One that began with another backup is no part of it, and does no harm.
    three.up(2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(three.node(2).standing().borrow().leader, None);
    three.kill(2);
    // Nor is one that would begin with nothing.
    three.wipe(2);
    let refused = Node::open(three.configs[2].clone(), Arc::new(())).await;
    assert_eq!(
        refused.err().expect("does not start").to_string(),
        "cluster `test` was restored from a backup: restore the same one on node 3, or let it join"
    );
    three.wipe(2);
    begin(&three.configs[2], &backup).expect("is restored");
    three.up(2).await;
    three.leader().await;
    let proposed = three.node(2).propose(Note::new(501)).await;
    proposed.expect("is applied");
    assert_eq!(three.agree().await.order.len(), 122);
    // All of it is still there after a restart of all.
    for at in 0..3 {
        three.kill(at);
    }
    for at in 0..3 {
        three.up(at).await;
    }
    three.leader().await;
    assert_eq!(three.agree().await.order.len(), 122);
    // And it grows like any other.
    let (_, member) = three.grow().await;
    three.add(&member, None).await.expect("is added");
    assert_eq!(three.agree().await.order.len(), 122);
}
