//! Nodes come and go while the cluster works.

mod nodes;

use nodes::{Node, Note, Three, small_snapshots, until};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tandem_cluster::handle::{Member, MemberError, Role, StartError};
use tokio::task::JoinHandle;

const SECOND: Duration = Duration::from_secs(1);

/// Proposes one note after another until it is told to stop; answers how many were confirmed.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<u64>>>,
}

impl Load {
    /// Through these nodes.
    fn on(nodes: &[&Node]) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicU64::new(1));
        let tasks = nodes.iter().map(|node| {
            let (node, stop, next) = ((*node).clone(), stop.clone(), next.clone());
            tokio::spawn(async move {
                let mut confirmed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    node.propose(Note::new(id)).await.expect("is applied");
                    confirmed.push(id);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                confirmed
            })
        });
        Load {
            tasks: tasks.collect(),
            stop,
        }
    }

    /// Waits until a good deal has been noted.
    async fn is_under_way(&self, three: &Three) {
        let noted = || three.node(0).state().order.len();
        until("under load", || noted() >= 200).await;
    }

    async fn confirmed(self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.expect("does not panic"));
        }
        all
    }
}

fn voters(node: &Node) -> Vec<u64> {
    let members = node.status().members;
    let voters = members.iter().filter(|member| member.voter);
    voters.map(|member| member.node).collect()
}

/// Waits until everyone who is up sees these voters.
async fn all_see(three: &Three, wanted: &[u64]) {
    let begun = Instant::now();
    while three.up_nodes().any(|(_, node)| voters(node) != wanted) {
        let seen: Vec<_> = three.up_nodes().map(|(_, node)| voters(node)).collect();
        assert!(begun.elapsed() < 10 * SECOND, "{seen:?}, not {wanted:?}");
        tokio::time::sleep(SECOND / 50).await;
    }
}

async fn expelled(node: &Node) -> String {
    let mut expelled = node.expelled();
    let told = expelled.wait_for(Option::is_some);
    let told = tokio::time::timeout(10 * SECOND, told).await;
    let told = told.expect("is told").expect("node runs");
    told.clone().expect("is some")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_become_five_and_three_again_under_load() {
    let mut three = Three::start_with(small_snapshots).await;
    three.leader().await;
    let load = Load::on(&[three.node(0), three.node(1), three.node(2)]);
    load.is_under_way(&three).await;
    for _ in 0..2 {
        let (at, member) = three.grow().await;
        three.add(&member, None).await.expect("is added");
        // Told again, it is done already.
        three.add(&member, None).await.expect("is there");
        let applied = three.node(at).status().applied;
        assert!(applied > 50, "it has a vote with {applied} entries");
    }
    all_see(&three, &[1, 2, 3, 4, 5]).await;
    // The new ones forward and lead like the others.
    let more = Load::on(&[three.node(3), three.node(4)]);
    let leader = three.leader().await;
    let heir = if leader == 3 { 4 } else { 3 };
    let handed = three.node(leader).transfer_leader(heir as u64 + 1).await;
    handed.expect("begins");
    let mut standing = three.node(heir).standing();
    let leads = standing.wait_for(|standing| standing.role == Role::Leader);
    let leads = tokio::time::timeout(5 * SECOND, leads).await;
    leads.expect("in time").expect("node runs");
    drop(more.confirmed().await);
    // The leader itself goes, then the other new one.
    for gone in [heir, if heir == 3 { 4 } else { 3 }] {
        let id = gone as u64 + 1;
        assert_eq!(three.remove(id, false).await, Ok(true));
        assert_eq!(three.remove(id, false).await, Ok(false));
        let why = expelled(three.node(gone)).await;
        assert_eq!(why, format!("node {id} was removed from cluster `test`"));
        three.kill(gone);
    }
    all_see(&three, &[1, 2, 3]).await;
    let confirmed = load.confirmed().await;
    let state = three.agree().await;
    assert_eq!(state.voters, BTreeSet::from([1, 2, 3]));
    for id in &confirmed {
        assert!(state.places.contains_key(id), "{id} is lost");
    }
    println!("{} commands confirmed", confirmed.len());
    // Neither in the log nor in a snapshot is it forgotten who went.
    for at in 0..3 {
        three.kill(at);
    }
    for at in 0..3 {
        three.up(at).await;
    }
    three.leader().await;
    assert_eq!(three.node(0).status().former, [4, 5]);
    let (_, fresh) = three.grow().await;
    let again = Member { id: 4, ..fresh };
    assert_eq!(three.add(&again, None).await, Err(MemberError::Used(4)));
    // One that was removed comes back as it was: it is told once more.
    three.up(4).await;
    let why = expelled(three.node(4)).await;
    assert_eq!(why, "node 5 was removed from cluster `test`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_leader_without_a_majority_begins_no_change() {
    let mut three = Three::start().await;
    let leader = three.leader().await;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    let (_, member) = three.grow().await;
    for at in others {
        three.kill(at);
    }
    let refused = three.node(leader).add_member(member.clone(), None).await;
    let refused = refused.expect_err("nobody confirms it");
    assert!(
        matches!(
            refused,
            MemberError::Unknown(_) | MemberError::NotLeader(_) | MemberError::Failed(_)
        ),
        "{refused}"
    );
    for at in others {
        three.up(at).await;
    }
    let proposed = three.node(leader).propose(Note::new(1)).await;
    proposed.expect("is applied");
    let members = three.node(leader).status().members;
    let members: Vec<u64> = members.iter().map(|member| member.node).collect();
    assert_eq!(members, [1, 2, 3]);
    three.add(&member, None).await.expect("is added");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_dead_node_is_replaced_in_one_change() {
    let mut three = Three::start().await;
    let dead = three.follower().await;
    let id = dead as u64 + 1;
    three.kill(dead);
    let writer = (dead + 1) % 3;
    for note in 0..50 {
        let proposed = three.node(writer).propose(Note::new(note)).await;
        proposed.expect("is applied");
    }
    let (_, member) = three.grow().await;
    assert_eq!(
        three.add(&member, Some(9)).await,
        Err(MemberError::NoMember(9))
    );
    three.add(&member, Some(id)).await.expect("is replaced");
    let expected: Vec<u64> = (1..=4).filter(|node| *node != id).collect();
    all_see(&three, &expected).await;
    assert_eq!(three.agree().await.order.len(), 50);
    // The dead machine comes to itself again.
    three.up(dead).await;
    let why = expelled(three.node(dead)).await;
    assert_eq!(why, format!("node {id} was removed from cluster `test`"));
    // And with an empty disk, as if the cluster were to be begun.
    three.kill(dead);
    three.wipe(dead);
    let config = three.configs[dead].clone();
    let refused = Node::open(config, Arc::new(())).await.err();
    assert!(
        matches!(&refused, Some(StartError::Expelled(why)) if why.ends_with("was removed from cluster `test`")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_id_with_an_empty_disk_is_refused_by_one_clear_line() {
    let mut three = Three::start().await;
    let lost = three.follower().await;
    let proposed = three.node(lost).propose(Note::new(1)).await;
    proposed.expect("is applied");
    three.kill(lost);
    three.wipe(lost);
    let refused = Node::open(three.configs[lost].clone(), Arc::new(())).await;
    let why = refused.err().expect("does not start").to_string();
    let id = lost as u64 + 1;
    assert_eq!(
        why,
        format!(
            "node {id} comes with another data directory than the one it joined with: an id is never used again with \
             an empty disk, add the machine under a new one"
        )
    );
    // Nor does it help to call it a new node.
    three.configs[lost].join = true;
    three.up(lost).await;
    let address = three.configs[lost].listen.to_string();
    let member = Member { id, address };
    three
        .add(&member, None)
        .await
        .expect("was a voter all along");
    tokio::time::sleep(SECOND).await;
    assert_eq!(
        three.node(lost).status().applied,
        0,
        "nothing is sent to it"
    );
    let writer = (lost + 1) % 3;
    let proposed = three.node(writer).propose(Note::new(2)).await;
    proposed.expect("two of three go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_would_cost_the_quorum_or_cannot_be_is_refused() {
    let mut three = Three::start().await;
    three.leader().await;
    let (place, stranger) = three.grow().await;
    let with = |id, address: &str| Member {
        id,
        address: address.into(),
    };
    let address = three.configs[0].listen.to_string();
    let node = 1;
    for (member, error) in [
        (
            with(0, "127.0.0.1:9"),
            MemberError::Invalid("node id must lie between 1 and 4294967295".into()),
        ),
        (
            with(7, "here"),
            MemberError::Invalid("address `here` is not host:port".into()),
        ),
        (
            with(7, &address),
            MemberError::AddressTaken {
                node,
                address: address.clone(),
            },
        ),
        (
            with(1, "127.0.0.1:9"),
            MemberError::Member { node, address },
        ),
    ] {
        assert_eq!(three.add(&member, None).await, Err(error));
    }
    let said = async |member: Member| {
        three
            .add(&member, None)
            .await
            .expect_err("refused")
            .to_string()
    };
    assert_eq!(
        said(with(7, &stranger.address)).await,
        format!(
            "node 7 does not answer at `{0}`: node 7 at `{0}` rejected us: this is node 4, not 7",
            stranger.address
        )
    );
    assert!(
        said(with(7, "127.0.0.1:1"))
            .await
            .contains("cannot be reached"),
        "nobody listens there"
    );
    assert_eq!(three.remove(9, false).await, Err(MemberError::NoMember(9)));

    three.kill(place);
    // One of three is dead: of the two that live neither can be spared.
    let dead = three.follower().await;
    three.kill(dead);
    let missed = |node: &Node| {
        let mut members = node.status().members.into_iter();
        members.any(|member| member.node == dead as u64 + 1 && !member.alive)
    };
    until("missed", || three.up_nodes().all(|(_, node)| missed(node))).await;
    let leader = three.leader().await;
    let other = (0..3)
        .find(|at| *at != dead && *at != leader)
        .expect("two live");
    let id = other as u64 + 1;
    assert_eq!(
        three
            .remove(id, false)
            .await
            .expect_err("refused")
            .to_string(),
        format!("without node {id} only 1 of 2 voters would be alive, which is no quorum")
    );
    assert_eq!(three.remove(dead as u64 + 1, false).await, Ok(true));
    let proposed = three.node(leader).propose(Note::new(1)).await;
    proposed.expect("two of two go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_that_has_moved_is_reached_at_its_new_address_and_no_other_is() {
    let mut three = Three::start().await;
    let moved = three.follower().await;
    let id = moved as u64 + 1;
    three.kill(moved);
    let address = nodes::free_addresses(1)[0];
    let to = |address: String| Member { id, address };
    let step = async |three: &Three, member: Member| {
        three
            .by_leader(async |leader| leader.move_member(member.clone()).await)
            .await
    };
    let absent = step(&three, to(address.to_string())).await;
    let absent = absent.expect_err("nobody is there yet").to_string();
    assert!(absent.contains("cannot be reached"), "{absent}");

    three.configs[moved].listen = address;
    three.up(moved).await;
    let proposed = three.node((moved + 1) % 3).propose(Note::new(1)).await;
    proposed.expect("two of three go on");
    assert_eq!(step(&three, to(address.to_string())).await, Ok(true));
    assert_eq!(step(&three, to(address.to_string())).await, Ok(false));
    assert_eq!(three.agree().await.order.len(), 1, "it has caught up");
    let seen = |node: &Node| {
        let members = node.status().members;
        let member = members.into_iter().find(|member| member.node == id);
        member.expect("a member").address
    };
    for (_, node) in three.up_nodes() {
        assert_eq!(seen(node), address.to_string());
    }

    // Another node's address, another node there, and no member at all.
    let other = (moved + 1) % 3;
    let taken = three.configs[other].listen.to_string();
    let node = other as u64 + 1;
    assert_eq!(
        step(&three, to(taken.clone())).await,
        Err(MemberError::AddressTaken {
            node,
            address: taken.clone()
        })
    );
    let alias = taken.replace("127.0.0.1", "localhost");
    let refused = step(&three, to(alias)).await.expect_err("is another node");
    assert!(matches!(refused, MemberError::Absent { .. }), "{refused}");
    let nobody = Member {
        id: 9,
        ..to(address.to_string())
    };
    assert_eq!(step(&three, nobody).await, Err(MemberError::NoMember(9)));

    // Restarted with their old files, the others find it by the log.
    let leader = three.leader().await;
    three.kill(leader);
    three.up(leader).await;
    let proposed = three.node(moved).propose(Note::new(2)).await;
    proposed.expect("is applied");
    assert_eq!(three.agree().await.order.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn five_nodes_work_with_two_of_them_dead() {
    let mut five = Three::start_many(5, |_| ()).await;
    let leader = five.leader().await;
    five.kill(leader);
    five.kill((leader + 1) % 5);
    let node = five.node((leader + 2) % 5).clone();
    for note in 0..20 {
        node.propose(Note::new(note)).await.expect("is applied");
    }
    five.up(leader).await;
    assert_eq!(five.agree().await.order.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cluster_is_begun_once_and_by_those_who_agree() {
    let mut three = Three::start().await;
    three.leader().await;
    let proposed = three.node(0).propose(Note::new(1)).await;
    proposed.expect("is applied");
    // A fourth that thinks it began the cluster too.
    let (at, member) = three.grow().await;
    three.kill(at);
    three.wipe(at);
    let mut config = three.configs[at].clone();
    config.join = false;
    config.members = three.configs[0].members.clone();
    config.members.push(member);
    let refused = Node::open(config, Arc::new(())).await;
    assert_eq!(
        refused.err().expect("does not start").to_string(),
        "cluster `test` consists of nodes 1, 2, 3, not 1, 2, 3, 4: a further node must be configured to join"
    );
    // All of them at once, again and again.
    for _ in 0..2 {
        for at in 0..3 {
            three.kill(at);
        }
        for at in 0..3 {
            three.up(at).await;
        }
        three.leader().await;
    }
    assert_eq!(three.agree().await.order.len(), 1);
}
