//! Three nodes with real disks and sockets: what the cluster promises its users.

mod nodes;

use bytes::Bytes;
use nodes::{Note, Three, small_snapshots};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tandem_cluster::handle::{ProposeError, Role, StartError};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn commands_from_every_node_are_applied_once_and_alike() {
    let three = Three::start().await;
    three.leader().await;
    let mut tasks = Vec::new();
    for (at, node) in three.up_nodes() {
        for count in 0..40 {
            let node = node.clone();
            let id = at as u64 * 1000 + count;
            tasks.push(tokio::spawn(async move {
                let (index, place) = node
                    .propose_indexed(Note::new(id))
                    .await
                    .expect("is applied");
                // Read your own write, on the node you wrote to.
                let state = node
                    .state_at_least(index, SECOND)
                    .await
                    .expect("catches up");
                assert_eq!(state.places[&id], place);
            }));
        }
    }
    for task in tasks {
        task.await.expect("does not panic");
    }
    let state = three.agree().await;
    assert_eq!(state.order.len(), 120);
    assert!(
        state.at > 1_700_000_000_000,
        "the leader's clock is in the entries"
    );
    // The same command again is the same command.
    let place = three
        .node(1)
        .propose(Note::new(0))
        .await
        .expect("is applied");
    assert_eq!(place, state.places[&0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn submitted_commands_keep_their_order() {
    let three = Three::start().await;
    let follower = three.follower().await;
    for id in 0..2000 {
        assert!(three.node(follower).submit(Note::new(id)));
        if id % 100 == 0 {
            three
                .node(follower)
                .propose(Note::new(1_000_000 + id))
                .await
                .expect("is applied");
        }
    }
    while three.node(follower).submitted() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let state = three.agree().await;
    let order: Vec<u64> = state
        .order
        .iter()
        .copied()
        .filter(|id| *id < 1_000_000)
        .collect();
    assert_eq!(order, (0..2000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut three = Three::start().await;
    let mut acknowledged = Vec::new();
    let mut next = 0;
    for round in 0..3 {
        let leader = three.leader().await;
        for _ in 0..20 {
            three
                .node((leader + 1) % 3)
                .propose(Note::new(next))
                .await
                .expect("is applied");
            acknowledged.push(next);
            next += 1;
        }
        three.kill(leader);
        let begun = Instant::now();
        let survivor = three.node((leader + 1) % 3).clone();
        survivor.propose(Note::new(next)).await.expect("is applied");
        acknowledged.push(next);
        next += 1;
        let gap = begun.elapsed();
        println!("round {round}: {gap:?} without a commit");
        assert!(gap < 3 * SECOND, "{gap:?} without a commit");
        three.up(leader).await;
        survivor.propose(Note::new(next)).await.expect("is applied");
        acknowledged.push(next);
        next += 1;
        let state = three.agree().await;
        for id in &acknowledged {
            assert!(state.places.contains_key(id), "{id} is lost");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn submitted_commands_outlive_a_leader() {
    let mut three = Three::start().await;
    let leader = three.leader().await;
    let other = (leader + 1) % 3;
    for id in 0..500 {
        three.node(other).submit(Note::new(id));
        if id == 250 {
            three.kill(leader);
        }
    }
    let begun = Instant::now();
    while three.node(other).submitted() > 0 {
        assert!(
            begun.elapsed() < 10 * SECOND,
            "{} are left",
            three.node(other).submitted()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let state = three.agree().await;
    assert_eq!(
        state.order.iter().copied().collect::<Vec<_>>(),
        (0..500).collect::<Vec<_>>()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_restart_of_all_nodes_loses_nothing() {
    let mut three = Three::start_with(small_snapshots).await;
    three.leader().await;
    for id in 0..150 {
        three
            .node(id as usize % 3)
            .propose(Note::new(id))
            .await
            .expect("is applied");
    }
    let before = three.agree().await;
    for at in 0..3 {
        three.kill(at);
    }
    for at in 0..3 {
        three.up(at).await;
    }
    three
        .node(0)
        .propose(Note::new(5))
        .await
        .expect("is applied");
    let after = three.agree().await;
    assert_eq!(after.order, before.order);
    assert_eq!(after.mix, before.mix);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_far_behind_gets_a_snapshot() {
    let mut three = Three::start_with(small_snapshots).await;
    let behind = three.follower().await;
    three.kill(behind);
    let writer = (behind + 1) % 3;
    for id in 0..300 {
        three
            .node(writer)
            .propose(Note::new(id))
            .await
            .expect("is applied");
    }
    three.up(behind).await;
    three
        .node(writer)
        .propose(Note::new(300))
        .await
        .expect("is applied");
    let state = three.agree().await;
    assert_eq!(state.order.len(), 301);
    assert!(
        three.node(behind).status().snapshot > 100,
        "{:?}",
        three.node(behind).status()
    );
    // And it starts again from that snapshot.
    three.kill(behind);
    three.up(behind).await;
    three
        .node(behind)
        .propose(Note::new(301))
        .await
        .expect("is applied");
    assert_eq!(three.agree().await.order.len(), 302);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_a_quorum_outcomes_are_unknown_and_submitted_commands_wait() {
    let mut three = Three::start().await;
    let leader = three.leader().await;
    three.kill((leader + 1) % 3);
    three.kill((leader + 2) % 3);
    let node = three.node(leader).clone();
    let begun = Instant::now();
    let outcome = node
        .propose_within(Note::new(1), Duration::from_millis(300))
        .await;
    assert!(
        matches!(outcome, Err(ProposeError::Unknown(_))),
        "{outcome:?}"
    );
    assert!(begun.elapsed() < SECOND);
    node.submit(Note::new(2));
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(node.submitted(), 1);
    assert!(!node.status().quorum, "{:?}", node.status());
    assert!(node.caught_up(Duration::from_millis(200)).await.is_err());
    three.up((leader + 1) % 3).await;
    let index = node.caught_up(10 * SECOND).await.expect("quorum is back");
    assert!(index > 0);
    let begun = Instant::now();
    while node.submitted() > 0 {
        assert!(begun.elapsed() < 10 * SECOND);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(three.agree().await.places.contains_key(&2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn effects_come_in_order_on_every_node_but_not_for_what_was_replayed() {
    let mut three = Three::start().await;
    three.leader().await;
    let mut receivers: Vec<_> = three
        .up_nodes()
        .map(|(_, node)| node.effects().expect("is the first"))
        .collect();
    assert!(three.node(0).effects().is_none());
    for id in 0..50 {
        three
            .node(id as usize % 3)
            .propose(Note::new(id))
            .await
            .expect("is applied");
    }
    let order: Vec<u64> = three.agree().await.order.iter().copied().collect();
    for receiver in &mut receivers {
        let mut seen = Vec::new();
        while seen.len() < 50 {
            seen.extend(receiver.recv().await.expect("node runs").effects);
        }
        assert_eq!(seen, order);
    }
    let follower = three.follower().await;
    // The commit is noted on disk once the log has been idle for a moment.
    tokio::time::sleep(SECOND).await;
    three.kill(follower);
    three.up(follower).await;
    let mut effects = three.node(follower).effects().expect("is the first");
    three
        .node(follower)
        .propose(Note::new(99))
        .await
        .expect("is applied");
    assert_eq!(effects.recv().await.expect("node runs").effects, [99]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn leadership_moves_on_request_and_at_an_orderly_stop() {
    let mut three = Three::start().await;
    let leader = three.leader().await;
    let heir = (leader + 1) % 3;
    three
        .node(leader)
        .propose(Note::new(1))
        .await
        .expect("is applied");
    three.agree().await;
    let begun = Instant::now();
    three
        .node(leader)
        .transfer_leader(heir as u64 + 1)
        .await
        .expect("begins");
    let mut standing = three.node(heir).standing();
    standing
        .wait_for(|standing| standing.role == Role::Leader)
        .await
        .expect("node runs");
    println!("transfer took {:?}", begun.elapsed());
    let leader = three.leader().await;
    let node = three.nodes[leader].take().expect("is up");
    let begun = Instant::now();
    node.shutdown().await;
    println!("orderly stop took {:?}", begun.elapsed());
    drop(node);
    let begun = Instant::now();
    three
        .node((leader + 1) % 3)
        .propose(Note::new(2))
        .await
        .expect("is applied");
    println!("next commit after {:?}", begun.elapsed());
    three.up(leader).await;
    three.agree().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nodes_ask_each_other() {
    let three = Three::start().await;
    for (at, node) in three.up_nodes() {
        node.on_peer_request(Arc::new(move |from, question| {
            Box::pin(async move {
                match &question[..] {
                    b"fail" => Err(format!("node {} will not", at + 1)),
                    _ => Ok(Bytes::from(format!("{from} asked {}", at + 1))),
                }
            })
        }));
    }
    let answer = three
        .node(0)
        .peer_request(2, Bytes::from_static(b"x"), SECOND)
        .await;
    assert_eq!(answer, Ok(Bytes::from_static(b"1 asked 2")));
    let answer = three
        .node(2)
        .peer_request(3, Bytes::from_static(b"x"), SECOND)
        .await;
    assert_eq!(answer, Ok(Bytes::from_static(b"3 asked 3")));
    let refused = three
        .node(2)
        .peer_request(1, Bytes::from_static(b"fail"), SECOND)
        .await
        .expect_err("refused");
    assert_eq!(refused.to_string(), "node 1 refused: node 1 will not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_status_names_the_living_and_the_dead() {
    let mut three = Three::start().await;
    let leader = three.leader().await;
    three
        .node(leader)
        .propose(Note::new(1))
        .await
        .expect("is applied");
    three.agree().await;
    tokio::time::sleep(SECOND).await;
    for (at, node) in three.up_nodes() {
        let status = node.status();
        assert!(
            status.quorum
                && status
                    .members
                    .iter()
                    .all(|member| member.alive && member.voter),
            "{at}: {status:?}"
        );
        assert_eq!(status.leader, Some(leader as u64 + 1));
    }
    let dead = (leader + 1) % 3;
    three.kill(dead);
    tokio::time::sleep(2 * SECOND).await;
    for (_, node) in three.up_nodes() {
        let status = node.status();
        assert!(status.quorum);
        let alive: Vec<bool> = status.members.iter().map(|member| member.alive).collect();
        assert_eq!(alive, (0..3).map(|at| at != dead).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_keeps_a_node_from_starting_is_named() {
    let three = Three::start().await;
    let open = async |change: &dyn Fn(&mut tandem_cluster::handle::Config)| {
        let mut config = three.configs[0].clone();
        change(&mut config);
        let opened = nodes::Node::open(config, Arc::new(())).await;
        opened.err().expect("does not start").to_string()
    };
    let dir = tempfile::tempdir().expect("temporary directory");
    let taken = three.configs[1].listen;
    assert_eq!(
        open(&|config| {
            config.data_dir = dir.path().to_path_buf();
            config.listen = taken;
        })
        .await,
        format!("cannot listen for nodes on {taken}")
    );
    let held = three.configs[0].data_dir.display().to_string();
    assert_eq!(
        open(&|_| ()).await,
        format!("data directory `{held}` is locked by another process")
    );
    assert_eq!(
        open(&|config| config.node_id = 9).await,
        "cluster configuration: node 9 is not among the members"
    );
    let error = nodes::Node::open(
        {
            let mut config = three.configs[0].clone();
            config.members[1].address = config.members[0].address.clone();
            config
        },
        Arc::new(()),
    )
    .await;
    assert!(matches!(error.err(), Some(StartError::Config(_))));
}
