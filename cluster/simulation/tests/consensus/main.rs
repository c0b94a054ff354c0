//! Three nodes on simulated machines, in situations laid by hand that a seed would seldom bring about.

mod disks;
mod readers;

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
use tandem_simulation::{SimNet, World, world};
use tokio::task::spawn_local;
use tokio::time::sleep;

const NODES: u64 = 3;
const PORT: u16 = 7_000;

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

fn others(id: u64) -> Vec<u64> {
    (1..=NODES).filter(|other| *other != id).collect()
}

/// Three nodes that have elected a leader.
struct Three {
    world: World,
    hands: Rc<Hands>,
    leader: u64,
}

impl Three {
    fn elected(seed: u64) -> Three {
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
        Three {
            leader: leader.expect("one is elected within two seconds"),
            world,
            hands,
        }
    }
}
