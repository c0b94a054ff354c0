use super::*;
use crate::wal::SimDisk;
use std::fs;

fn roster(dir: &Path, node: u64, nodes: &[u64], has_log: bool) -> Arc<Roster> {
    let us = Identity {
        cluster: "c".into(),
        node,
    };
    let configured = nodes.iter().map(|id| (*id, format!("n{id}:1"))).collect();
    Arc::new(Roster::open(dir, us, configured, has_log, Under::default()).expect("opens"))
}

async fn greet(from: &Roster, to: &Arc<Roster>, founders: &[u64]) -> Result<(), String> {
    let hello = from.hello(to.us.node, Channel::Control, founders);
    let body = codec::encode(&hello).expect("encodes");
    to.receive(&body, None)
        .await
        .map(drop)
        .map_err(|rejection| rejection.reason)
}

#[tokio::test]
async fn an_id_that_comes_back_with_another_disk_is_turned_away_for_good() {
    let (one, two, wiped) = (tempdir(), tempdir(), tempdir());
    let us = roster(one.path(), 1, &[1, 2], true);
    let other = roster(two.path(), 2, &[1, 2], true);
    assert_eq!(greet(&other, &us, &[]).await, Ok(()));
    // The same node after a restart of both.
    drop((us, other));
    let us = roster(one.path(), 1, &[1, 2], true);
    assert_eq!(
        greet(&roster(two.path(), 2, &[1, 2], true), &us, &[]).await,
        Ok(())
    );
    let other = roster(wiped.path(), 2, &[1, 2], false);
    let reason = greet(&other, &us, &[1, 2]).await.expect_err("is refused");
    assert!(reason.starts_with("node 2 comes with another data directory"));
    assert!(us.expelled().borrow().is_none());
    other.rejected(1, "n1:1", Rejection::lasting(reason.clone()));
    assert_eq!(*other.expelled().borrow(), Some(reason));
}

#[tokio::test]
async fn who_cannot_be_noted_on_a_full_disk_is_not_met_however_often_it_tries() {
    let (disk, elsewhere) = (SimDisk::default(), tempdir());
    let us = Identity {
        cluster: "c".into(),
        node: 1,
    };
    let under = Under {
        disk: AnyDisk(Arc::new(disk.clone())),
        ..Under::default()
    };
    let us = Roster::open(Path::new("/data"), us, BTreeMap::new(), true, under);
    let us = Arc::new(us.expect("opens"));
    let other = roster(elsewhere.path(), 2, &[1, 2], true);
    disk.set_room(Some(disk.used()));
    for _ in 0..2 {
        let refused = greet(&other, &us, &[]).await.expect_err("is refused");
        assert!(refused.starts_with("roster cannot be written"), "{refused}");
    }
    disk.set_room(None);
    assert_eq!(greet(&other, &us, &[]).await, Ok(()));
}

#[tokio::test]
async fn a_node_that_would_begin_with_nothing_beside_a_restored_cluster_is_noted_by_nobody() {
    let (one, two, again) = (tempdir(), tempdir(), tempdir());
    let identity = |node| Identity {
        cluster: "c".into(),
        node,
    };
    let restored = |dir: &Path, node| {
        Roster::begin(dir, 77, level::FIRST).expect("is written");
        roster(dir, node, &[1, 2], true)
    };
    let us = restored(one.path(), 1);
    let founder = Under {
        founds: true,
        ..Under::default()
    };
    let configured = [1, 2].map(|id| (id, format!("n{id}:1")));
    let configured = BTreeMap::from(configured);
    let empty = Roster::open(two.path(), identity(2), configured, false, founder);
    let empty = Arc::new(empty.expect("opens"));
    // Whichever of the two dials, and for whatever.
    let refused = greet(&empty, &us, &[]).await.expect_err("is refused");
    assert!(refused.contains("was restored from a backup"), "{refused}");
    let refused = greet(&us, &empty, &[]).await.expect_err("is refused");
    assert!(refused.contains("was restored from a backup"), "{refused}");
    assert!(empty.expelled().borrow().is_some());
    assert_eq!(greet(&us, &restored(again.path(), 2), &[]).await, Ok(()));
}

#[tokio::test]
async fn who_was_removed_is_told_so_and_finds_it_in_its_own_log() {
    let (one, two) = (tempdir(), tempdir());
    let (us, other) = (
        roster(one.path(), 1, &[1, 2], true),
        roster(two.path(), 2, &[1, 2], true),
    );
    let members = Members {
        nodes: BTreeMap::from([(1, "n1:1".into()), (3, "n3:1".into())]),
        former: BTreeSet::from([2]),
    };
    us.set_members(members.clone());
    let removed = "node 2 was removed from cluster `c`".to_owned();
    assert_eq!(greet(&other, &us, &[]).await, Err(removed.clone()));
    other.set_members(members);
    assert_eq!(*other.expelled().borrow(), Some(removed));
    assert_eq!(us.others().into_keys().collect::<Vec<_>>(), [3]);
    assert_eq!(us.addresses(2), ["n2:1"]);
}

#[tokio::test]
async fn a_cluster_is_begun_by_those_alone_who_agree_on_its_members() {
    let dirs: Vec<_> = (0..4).map(|_| tempdir()).collect();
    let founder = |at: usize, nodes: &[u64]| roster(dirs[at].path(), at as u64 + 1, nodes, false);
    let us = founder(0, &[1, 2, 3]);
    assert_eq!(
        greet(&founder(1, &[1, 2, 3]), &us, &[1, 2, 3]).await,
        Ok(())
    );
    let reason = greet(&founder(3, &[1, 2, 3, 4]), &us, &[1, 2, 3, 4]).await;
    assert_eq!(
        reason,
        Err(
            "cluster `c` consists of nodes 1, 2, 3, not 1, 2, 3, 4: a further node must be configured to join"
                .into()
        )
    );
    // Who joins has no such opinion.
    assert_eq!(greet(&founder(3, &[1]), &us, &[]).await, Ok(()));
    us.change(|known| known.origin.replace(77).is_none())
        .await
        .expect("is written");
    let reason = greet(&founder(2, &[1, 2, 3]), &us, &[1, 2, 3]).await;
    assert!(
        reason
            .expect_err("is refused")
            .contains("was restored from a backup")
    );
    let elsewhere = founder(2, &[1, 2, 3]);
    assert_eq!(elsewhere.found().await.expect("is written"), Ok(()));
    assert_eq!(
        greet(&elsewhere, &us, &[]).await,
        Err("nodes 3 and 1 were begun from different backups".into())
    );
}

#[tokio::test]
async fn a_node_that_is_too_old_is_told_so_whoever_dials() {
    let (one, two) = (tempdir(), tempdir());
    let us = roster(one.path(), 1, &[1, 2], true);
    us.set_level(2).await.expect("is written");
    let old = || {
        let us = Identity {
            cluster: "c".into(),
            node: 2,
        };
        let under = Under {
            spoken: 1,
            ..Under::default()
        };
        let opened = Roster::open(two.path(), us, BTreeMap::new(), false, under);
        Arc::new(opened.expect("opens"))
    };
    let other = old();
    let said = "node 2 speaks level 1, cluster `c` is at level 2: run a newer release on it";
    assert_eq!(greet(&other, &us, &[]).await, Err(said.into()));
    assert_eq!(greet(&us, &other, &[]).await, Ok(()));
    let said = "cluster `c` is at level 2, this node speaks 1: run a newer release on it";
    assert_eq!(*other.expelled().borrow(), Some(said.into()));
    let welcome = |level, active| Welcome {
        disk: 1,
        origin: None,
        level,
        active,
    };
    let error = us.check_levels(2, "n2:1", &welcome(1, 1));
    assert_eq!(
        error.expect_err("is refused").to_string(),
        "node 2 at `n2:1` speaks level 1, the cluster is at level 2: run a newer release on it"
    );
    assert!(us.check_levels(2, "n2:1", &welcome(2, 2)).is_ok());
    let other = old();
    assert!(other.check_levels(1, "n1:1", &welcome(2, 2)).is_err());
    assert!(other.expelled().borrow().is_some());
    // It knows after a restart as well, and does not open what it may not be able to read.
    assert!(Roster::check_level(&RealDisk, one.path(), 2).is_ok());
    let error = Roster::check_level(&RealDisk, one.path(), 1).expect_err("is refused");
    assert!(
        error
            .to_string()
            .ends_with("is of level 2, this node speaks 1: run a newer release on it")
    );
    drop(us);
    let us = roster(one.path(), 1, &[1, 2], true);
    assert_eq!(us.hello(2, Channel::Control, &[]).active, 2);
}

#[tokio::test]
async fn a_hello_may_go_on_behind_what_is_known() {
    let (one, two) = (tempdir(), tempdir());
    let us = roster(one.path(), 1, &[1, 2], true);
    let hello = roster(two.path(), 2, &[1, 2], true).hello(1, Channel::Control, &[]);
    let mut body = codec::encode(&hello).expect("encodes");
    body.extend([7, 7, 7]);
    assert!(us.receive(&body, None).await.is_ok());
    let body = codec::encode(&Hello {
        protocol: 9,
        ..hello
    })
    .expect("encodes");
    let rejection = us.receive(&body[..3], None).await.expect_err("is refused");
    assert_eq!(rejection.reason, "protocol 9 is not ours, 1");
}

#[test]
fn a_roster_that_was_tampered_with_is_refused() {
    let dir = tempdir();
    fs::write(dir.path().join("roster"), "disk zero\n").expect("is written");
    let us = Identity {
        cluster: "c".into(),
        node: 1,
    };
    assert!(Roster::open(dir.path(), us, BTreeMap::new(), true, Under::default()).is_err());
}

fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir().expect("temporary directory")
}
