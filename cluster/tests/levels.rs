//! Nodes of two levels in one cluster: what they may say to each other, and when the level rises.

mod nodes;

use std::sync::Arc;
use std::time::{Duration, Instant};
use tandem_cluster::command::{Claim, ClaimAt, Command, Put, Reply};
use tandem_cluster::entity::{AGroup, Entity};
use tandem_cluster::handle::{
    Cluster, Config, Member, MemberError, ProposeError, Role, Snapshots, StartError,
};
use tandem_cluster::level::Level;
use tandem_cluster::state::testing::PerPeriod;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);

/// Three nodes of the switch, on loopback.
struct Mixed {
    configs: Vec<Config>,
    nodes: Vec<Option<Cluster>>,
    _dirs: Vec<TempDir>,
    puts: u64,
}

impl Mixed {
    /// Nodes that speak these levels.
    async fn start(levels: [Level; 3]) -> Mixed {
        let addresses = nodes::free_addresses(3);
        let members: Vec<Member> = (1..)
            .zip(&addresses)
            .map(|(id, address)| Member {
                id,
                address: address.to_string(),
            })
            .collect();
        let dirs: Vec<_> = (0..3)
            .map(|_| tempfile::tempdir().expect("temporary directory"))
            .collect();
        let configs = (0..3).map(|at| Config {
            level_max: levels[at],
            level_settled: Duration::from_millis(200),
            snapshots: Snapshots {
                entries: 50,
                bytes: 64 << 20,
                keep: 10,
            },
            ..Config::new(
                at as u64 + 1,
                "mixed",
                dirs[at].path(),
                addresses[at],
                members.clone(),
            )
        });
        let mut mixed = Mixed {
            configs: configs.collect(),
            nodes: vec![None, None, None],
            _dirs: dirs,
            puts: 0,
        };
        for at in 0..3 {
            mixed.up(at).await.expect("starts");
        }
        mixed
    }

    async fn up(&mut self, at: usize) -> Result<(), StartError> {
        let node = Cluster::start(self.configs[at].clone(), Arc::new(PerPeriod)).await?;
        self.nodes[at] = Some(node);
        Ok(())
    }

    fn down(&mut self, at: usize) {
        self.nodes[at].take().expect("is up").kill();
    }

    fn node(&self, at: usize) -> &Cluster {
        self.nodes[at].as_ref().expect("is up")
    }

    /// Makes rows, through one node.
    async fn put(&mut self, at: usize, rows: usize) {
        for _ in 0..rows {
            self.puts += 1;
            let put = Command::Put(Put {
                request: self.puts,
                actor: "test".into(),
                id: None,
                version: None,
                memo: String::new(),
                entity: Entity::AGroup(AGroup {
                    name: format!("group-{}", self.puts),
                }),
            });
            let reply = self.node(at).propose_within(put, LIMIT).await;
            assert!(matches!(reply, Ok(Reply::Row { .. })), "{reply:?}");
        }
    }

    /// Moves leadership to a node.
    async fn lead(&self, at: usize) {
        let begun = Instant::now();
        while self.node(at).standing().borrow().role != Role::Leader {
            for node in self.nodes.iter().flatten() {
                if node.standing().borrow().role == Role::Leader {
                    node.transfer_leader(at as u64 + 1).await.expect("runs");
                }
            }
            assert!(begun.elapsed() < LIMIT, "does not lead");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Waits until all nodes that are up have the same state, and gives its level.
    async fn agree(&self) -> Level {
        let begun = Instant::now();
        loop {
            let seen: Vec<(u64, u64, Level)> = self
                .nodes
                .iter()
                .flatten()
                .map(|node| {
                    let (state, applied) = node.state_now();
                    (applied, state.hash(), state.level())
                })
                .collect();
            if seen.windows(2).all(|pair| pair[0] == pair[1]) {
                return seen[0].2;
            }
            assert!(begun.elapsed() < LIMIT, "states differ: {seen:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a node's log no longer has the entries before `index`: who lacks them needs its snapshot.
    async fn drops_before(&self, at: usize, index: u64) {
        let begun = Instant::now();
        while self.node(at).status().first_log < index {
            assert!(begun.elapsed() < LIMIT, "{:?}", self.node(at).status());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn rises_to(&self, level: Level) {
        let begun = Instant::now();
        while self
            .nodes
            .iter()
            .flatten()
            .any(|node| node.level() != level)
        {
            let status = self.nodes.iter().flatten().next().map(Cluster::status);
            assert!(begun.elapsed() < LIMIT, "{status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn claim_at(level: Level) -> Command {
    Command::ClaimAt(ClaimAt {
        claim: Claim {
            access_name: "n1".into(),
            node: 1,
            boot: 1,
            address: "here".into(),
            version: "test".into(),
            lease_ms: 60_000,
        },
        level,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_level_rises_behind_the_last_upgraded_node_and_older_ones_stay_out() {
    let mut mixed = Mixed::start([2, 2, 1]).await;
    mixed.put(2, 5).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(mixed.agree().await, 1, "one node speaks level 1 only");
    let refused = mixed.node(0).propose(claim_at(2)).await;
    assert!(
        matches!(
            refused,
            Err(ProposeError::Level {
                needs: 2,
                active: 1
            })
        ),
        "{refused:?}"
    );
    assert!(!mixed.node(0).submit(claim_at(2)), "nor by this way");
    let spoken = |mixed: &Mixed| {
        let members = mixed.node(0).status().members;
        members.iter().map(|m| m.level).collect::<Vec<_>>()
    };
    assert_eq!(spoken(&mixed), [Some(2), Some(2), Some(1)]);

    // It goes back and forth as often as anybody likes.
    for level in [2, 1] {
        mixed.down(1);
        mixed.configs[1].level_max = level;
        mixed.up(1).await.expect("starts");
        mixed.put(1, 5).await;
    }
    assert_eq!(mixed.agree().await, 1);
    for at in [1, 2] {
        mixed.down(at);
        mixed.configs[at].level_max = 2;
        mixed.up(at).await.expect("starts");
    }
    mixed.rises_to(2).await;
    mixed.put(2, 5).await;
    assert_eq!(mixed.agree().await, 2);
    let claimed = mixed.node(0).propose(claim_at(2)).await;
    assert!(matches!(claimed, Ok(Reply::Claimed { .. })), "{claimed:?}");

    // Its disk may hold what an older release cannot read.
    mixed.down(1);
    mixed.configs[1].level_max = 1;
    let error = mixed.up(1).await.expect_err("is refused");
    assert!(error.is_for_good());
    let text = error.to_string();
    assert!(
        text.starts_with("data directory `")
            && text.ends_with("` is of level 2, this node speaks 1: run a newer release on it"),
        "{text}"
    );
    mixed.configs[1].level_max = 2;
    mixed.up(1).await.expect("starts");

    // A new one of the older release.
    let address = nodes::free_addresses(1)[0];
    let dir = tempfile::tempdir().expect("temporary directory");
    let joining = Config {
        join: true,
        level_max: 1,
        ..Config::new(4, "mixed", dir.path(), address, vec![])
    };
    let old = Cluster::start(joining, Arc::new(PerPeriod)).await;
    let old = old.expect("waits to be added");
    mixed.lead(0).await;
    let member = Member {
        id: 4,
        address: address.to_string(),
    };
    let refused = mixed.node(0).add_member(member, None).await;
    assert_eq!(
        refused,
        Err(MemberError::TooOld {
            node: 4,
            level: 1,
            active: 2
        })
    );
    assert_eq!(
        *old.expelled().borrow(),
        Some("cluster `mixed` is at level 2, this node speaks 1: run a newer release on it".into())
    );
    mixed.put(1, 5).await;
    assert_eq!(mixed.agree().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_held_level_rises_when_it_is_let_go() {
    let mut mixed = Mixed::start([1, 2, 2]).await;
    let hold = |hold| Command::HoldLevel {
        hold,
        actor: "test".into(),
    };
    mixed.node(0).propose(hold(true)).await.expect("is applied");
    mixed.down(0);
    mixed.configs[0].level_max = 2;
    mixed.up(0).await.expect("starts");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(mixed.agree().await, 1);
    mixed
        .node(1)
        .propose(hold(false))
        .await
        .expect("is applied");
    mixed.rises_to(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn below_the_higher_level_snapshots_pass_both_ways() {
    let mut mixed = Mixed::start([1, 2, 2]).await;
    // Sent by a node that speaks 2 to one that speaks 1, and the other way.
    for (from, to) in [(1, 0), (0, 2)] {
        mixed.lead(from).await;
        mixed.down(to);
        let before = mixed.node(from).status().last_log;
        mixed.put(from, 200).await;
        mixed.drops_before(from, before).await;
        mixed.up(to).await.expect("starts");
        assert_eq!(mixed.agree().await, 1);
        let installed = mixed.node(to).status().snapshot;
        assert!(installed >= before, "{installed} after {before}");
        // It starts again from what it installed.
        mixed.down(to);
        mixed.up(to).await.expect("starts");
        mixed.put(to, 1).await;
        assert_eq!(mixed.agree().await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_far_behind_installs_the_snapshot_of_a_level_that_came_meanwhile() {
    let mut mixed = Mixed::start([2, 2, 2]).await;
    mixed.rises_to(2).await;
    mixed.lead(0).await;
    mixed.down(2);
    let before = mixed.node(0).status().last_log;
    mixed.put(0, 200).await;
    mixed.drops_before(0, before).await;
    mixed.up(2).await.expect("starts");
    assert_eq!(mixed.agree().await, 2);
    // The copy of a state that a damaged node is given.
    let (state, upto) = mixed.node(1).state_now();
    let copy = tandem_cluster::codec::encode(&*state).expect("encodes");
    mixed.put(0, 3).await;
    mixed.agree().await;
    mixed
        .node(2)
        .restore(copy.into(), upto)
        .await
        .expect("is put in place");
    assert_eq!(mixed.agree().await, 2);
}
