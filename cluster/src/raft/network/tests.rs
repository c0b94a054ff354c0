//! A peer that receives a snapshot.

use super::*;
use crate::link::{AnyNet, Under, accept};
use crate::raft::snapshot::Store;
use crate::wal::record as own;
use crate::wal::{AnyDisk, Identity};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn identity(node: u64) -> Identity {
    Identity {
        cluster: "c".into(),
        node,
    }
}

fn roster(dir: &Path, node: u64, others: BTreeMap<u64, String>) -> Arc<Roster> {
    let opened = Roster::open(dir, identity(node), others, true, Under::default());
    Arc::new(opened.expect("opens"))
}

/// Sends a snapshot to a peer that says so often, 600 ms apart, that it is installing it; and then that it is done, or
/// nothing any more.
async fn sent(words: u32, done: bool) -> Rpc<Vote> {
    let dir = tempfile::tempdir().expect("temporary directory");
    let there = tempfile::tempdir().expect("temporary directory");
    let vote = own::Vote::default();
    let any = "127.0.0.1:0".parse().expect("an address");
    let (mut listener, address) = AnyNet::default().listen(any).await.expect("binds");
    let them = roster(there.path(), 2, BTreeMap::new());
    let peer = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("accepts");
        let (mut connection, _) = accept(socket, &them).await.expect("is welcome");
        while connection.next().await.expect("goes on").kind != kind::SNAPSHOT_END {}
        for _ in 0..words {
            tokio::time::sleep(Duration::from_millis(600)).await;
            let word = Frame::new(kind::SNAPSHOT_WAIT, Bytes::new());
            connection.writer.send(word).await.expect("is sent");
        }
        if done {
            let answer = Frame::new(kind::SNAPSHOT_ANSWER, wire::put(&vote));
            connection.writer.send(answer).await.expect("is sent");
        }
        // The connection stays, as that of a machine without power does.
        std::future::pending::<()>().await;
    });
    let (store, _) = Store::open(AnyDisk::default(), dir.path(), &identity(1)).expect("is opened");
    let (last, members) = (Some(own::LogId::default()), types::Members::default());
    store
        .write(1, last, members, BTreeSet::new(), |out| {
            out.write_all(b"the state")
        })
        .expect("is written");
    let (header, file) = store.newest().expect("is read").expect("is there");
    let snapshot = SnapshotOf::<TypeConfig, SnapshotFile> {
        meta: header.meta().expect("is sound"),
        snapshot: file,
    };
    let roster = roster(dir.path(), 1, BTreeMap::from([(2, address.to_string())]));
    let network = Networks { roster }.network(2, Channel::Snapshot);
    let sent = network
        .send_snapshot(types::from_vote(&vote), snapshot)
        .await;
    peer.abort();
    sent
}

#[tokio::test]
async fn who_takes_long_to_install_a_snapshot_is_waited_for_and_who_falls_silent_is_not() {
    let (slow, silent) = futures::join!(sent(6, true), sent(1, false));
    slow.expect("it was at it all the while");
    let error = silent.expect_err("nobody is there").to_string();
    assert!(error.contains("answer of node 2 is overdue"), "{error}");
}
