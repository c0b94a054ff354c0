//! A leader that another has followed, while what its followers said to it was still on its way: who reads there must
//! not be told of the past.
//!
//! The followers have acknowledged an entry, and the network holds that back. They elect another leader, which commits
//! more. Then somebody reads at the old one, and what was held back arrives there, in another order for each seed. What
//! was said before the reader asked says nothing of who led when he did, although it names the newest entry that the
//! old leader has.

use futures::future::LocalBoxFuture;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tandem_cluster::command::Command;
use tandem_cluster::handle::{Cluster, Config, Member, Role};
use tandem_cluster::state::testing::PerPeriod;
use tandem_cluster::wal::{AnyDisk, SimDisk};
use tandem_simulation::{SimNet, World, entropy, world};
use tokio::task::spawn_local;
use tokio::time::sleep;

const NODES: u64 = 3;
const PORT: u16 = 7_000;
/// A leader is elected within this.
const ELECTED_MS: u64 = 900;
/// What was held back comes within this.
const LATE_MS: u64 = 300;

type Job = LocalBoxFuture<'static, ()>;

/// What the test has in its hands of a node.
#[derive(Default)]
struct Hands {
    clusters: RefCell<BTreeMap<u64, Cluster>>,
    jobs: RefCell<Vec<(u64, Job)>>,
}

impl Hands {
    async fn run(self: Rc<Self>, id: u64, config: Config) {
        let cluster = Cluster::start(config, Arc::new(PerPeriod)).await;
        let cluster = cluster.expect("nothing is wrong with it");
        self.clusters.borrow_mut().insert(id, cluster);
        loop {
            sleep(Duration::from_millis(1)).await;
            let due = |job: &mut (u64, Job)| job.0 == id;
            let due: Vec<(u64, Job)> = self.jobs.borrow_mut().extract_if(.., due).collect();
            for (_, job) in due {
                spawn_local(job);
            }
        }
    }

    fn cluster(&self, id: u64) -> Cluster {
        self.clusters.borrow()[&id].clone()
    }

    fn leads(&self, id: u64) -> bool {
        let clusters = self.clusters.borrow();
        let cluster = clusters.get(&id);
        cluster.is_some_and(|cluster| cluster.standing().borrow().role == Role::Leader)
    }

    /// Proposes at a node; what is there afterwards is how many entries there are up to that one, once it is committed.
    fn propose(&self, id: u64, mark: u64) -> Rc<Cell<Option<u64>>> {
        self.ask(id, move |cluster| async move {
            let proposed = cluster.propose_indexed(Command::Mark { id: mark }).await;
            proposed.ok().map(|(index, _)| index + 1)
        })
    }

    fn ask<F>(&self, id: u64, question: impl FnOnce(Cluster) -> F) -> Rc<Cell<Option<u64>>>
    where
        F: Future<Output = Option<u64>> + 'static,
    {
        let answer = Rc::new(Cell::new(None));
        let (given, question) = (answer.clone(), question(self.cluster(id)));
        let job = async move { given.set(question.await) };
        self.jobs.borrow_mut().push((id, Box::pin(job)));
        answer
    }
}

fn until(world: &mut World, most_ms: u64, what: &str, is_so: impl Fn() -> bool) {
    let end_ms = world.now_ms() + most_ms;
    while !is_so() {
        assert!(world.now_ms() < end_ms, "{what} after {most_ms} ms");
        world.step();
    }
}

/// What a reader at the old leader saw, and what there was before he asked.
fn read_of_the_past(seed: u64) -> (Option<u64>, u64) {
    let mut world = World::new(seed, 2);
    let hands = Rc::new(Hands::default());
    let member = |id: u64| Member {
        id,
        address: SimNet::address(id, PORT).to_string(),
    };
    for id in 1..=NODES {
        let listen = SimNet::address(id, PORT);
        let members = (1..=NODES).map(member).collect();
        let mut config = Config::new(id, "simulated", "/data", listen, members);
        config.net = world.net().of(id);
        config.wall = world::wall;
        config.in_place = true;
        let hands = hands.clone();
        world.add(id, move |disk: SimDisk| {
            let mut config = config.clone();
            config.disk = AnyDisk(Arc::new(disk));
            hands.clone().run(id, config)
        });
        world.start(id);
    }
    // The first one may give way at once to another of the same term.
    world.run_for(2_000);
    let leader = (1..=NODES).find(|id| hands.leads(*id));
    let old = leader.expect("one is elected within two seconds");
    let first = hands.propose(old, 1);
    until(&mut world, 1_000, "nothing is committed", || {
        first.get().is_some()
    });
    world.run_for(100);

    let others: Vec<u64> = (1..=NODES).filter(|id| *id != old).collect();
    for other in &others {
        world.net().cut(*other, old);
    }
    let acknowledged = hands.propose(old, 2);
    world.run_for(10);
    for other in &others {
        world.net().cut(old, *other);
    }
    let follows = || others.iter().copied().find(|id| hands.leads(*id));
    until(&mut world, ELECTED_MS, "nobody follows", || {
        follows().is_some()
    });
    let new = follows().expect("it was seen");
    let later = hands.propose(new, 3);
    until(&mut world, 500, "nothing is committed", || {
        later.get().is_some()
    });
    let least = later.get().expect("it was seen");
    assert!(hands.leads(old), "it has heard of nothing");
    assert_eq!(acknowledged.get(), None);

    let limit = Duration::from_millis(LATE_MS);
    let seen = hands.ask(old, move |cluster| async move {
        cluster.caught_up(limit).await.ok()
    });
    world.run_for(4);
    world.net().heal(0);
    // To each other half of the seeds the old leader can ask nobody anything.
    for other in others.iter().filter(|_| seed.is_multiple_of(2)) {
        world.net().cut(old, *other);
    }
    world.run_for(2 * LATE_MS);
    (seen.get(), least)
}

#[test]
fn acknowledgements_from_before_do_not_confirm_a_leader() {
    entropy::fix(1).expect("the test begins anew where everything follows from a seed");
    let mut reads = 0;
    for seed in 0..300 {
        let (seen, least) = read_of_the_past(seed);
        assert!(
            seen.is_none_or(|seen| seen >= least),
            "seed {seed}: {least} entries were committed, and a reader saw {seen:?}"
        );
        reads += u64::from(seen.is_some());
    }
    // Who can ask the others learns who leads, and reads there.
    assert!(reads >= 100, "only {reads} of 300 could read");
}
