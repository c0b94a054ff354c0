//! One process of a node: its real parts on a runtime of its own, whose clock the world moves.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tandem_cluster::handle::{self, Cluster};
use tandem_cluster::link::AnyNet;
use tandem_cluster::wal::AnyDisk;
use tandem_node::biller::Arithmetic;
use tandem_node::chance::Chance;
use tandem_node::clock::Clock;
use tandem_node::config;
use tandem_node::core::{Core, Surroundings};
use tandem_node::parts::{self, Feeds, Parts};
use tandem_node::platforms::Platforms;
use tandem_node::start::cluster_config;
use tandem_sip::transport::{Listen, Transport};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::draw::{Draw, seed_for};
use crate::links::Links;
use crate::outlet::{Datagrams, Out, Outlet, Ways};
use crate::shelf::{Keeper, Shelf};

/// When the world begins, milliseconds since 1970.
pub const EPOCH_MS: u64 = 1_763_800_000_000;

thread_local! {
    /// The wall clock of the node that runs now: what it showed when its process began, and when that was.
    static WALL: Cell<Option<(u64, Instant)>> = const { Cell::new(None) };
}

/// The wall clock of the node that runs now, milliseconds since 1970.
pub fn wall_ms() -> u64 {
    let wall = WALL.with(Cell::get);
    wall.map_or(EPOCH_MS, |(base, since)| {
        base + Instant::now().saturating_duration_since(since).as_millis() as u64
    })
}

/// What a process is made of.
#[derive(Clone)]
pub struct Build {
    pub node: u64,
    pub nodes: u64,
    /// Of this process alone.
    pub seed: u64,
    pub sip: SocketAddr,
    /// What the machine's clock shows beyond the world's time.
    pub skew_ms: i64,
    pub shelf: Arc<Shelf>,
    pub disk: AnyDisk,
    pub shards: usize,
}

/// Where a node's links are reached.
pub fn link_of(node: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, node as u8], 7_000))
}

/// Where a node's signalling is reached.
pub fn sip_of(node: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8], 5_060))
}

fn config_of(build: &Build) -> config::Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    config::Config {
        node: config::Node {
            id: build.node,
            access_name: format!("n{}", build.node),
            data_dir: PathBuf::from(format!("/n{}", build.node)),
            lease_ms: 3_000,
        },
        sip: config::Sip {
            udp: vec![build.sip],
            tcp: vec![],
            shards: Some(build.shards),
            advertised: None,
            shared: config::Shared::default(),
        },
        cluster: config::Cluster {
            id: "simulation".into(),
            listen: link_of(build.node),
            peers: (1..=build.nodes)
                .map(|id| config::Peer {
                    id,
                    address: link_of(id).to_string(),
                })
                .collect(),
            join: false,
            tls: None,
            max_level: None,
            heartbeat_ms: 200,
            election_ms: [600, 1_200],
        },
        admin: config::Admin {
            listen: any,
            token_file: PathBuf::new(),
        },
        log: config::Log::default(),
        limits: config::Limits::default(),
        vendors: config::Vendors::default(),
        callbacks: config::Callbacks::default(),
    }
}

/// What a process is once it has started.
pub struct Up {
    pub core: Arc<Core>,
    pub feeds: Feeds,
    _parts: Parts,
}

/// A process.
pub struct Process {
    up: Rc<RefCell<Option<Up>>>,
    failed: Rc<RefCell<Option<String>>>,
    pub outlet: Outlet,
    /// World time at which it began, and the moment of its own clock.
    since: (u64, Instant),
    wall: u64,
    local: LocalSet,
    runtime: Runtime,
}

impl Process {
    /// Begins at a moment of the world.
    pub fn start(build: Build, now: u64) -> Process {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without threads and sockets needs nothing of the system");
        let local = LocalSet::new();
        let (up, failed) = <(Rc<RefCell<Option<Up>>>, Rc<RefCell<Option<String>>>)>::default();
        let outlet = Outlet::default();
        let wall = (EPOCH_MS + now).saturating_add_signed(build.skew_ms);
        let since = {
            let _within = runtime.enter();
            Instant::now()
        };
        let boot = boot(build, wall, outlet.clone());
        let (up_cell, failed_cell) = (Rc::clone(&up), Rc::clone(&failed));
        local.spawn_local(async move {
            match boot.await {
                Ok(up) => *up_cell.borrow_mut() = Some(up),
                Err(error) => *failed_cell.borrow_mut() = Some(error),
            }
        });
        Process {
            up,
            failed,
            outlet,
            since: (now, since),
            wall,
            local,
            runtime,
        }
    }

    /// Runs it until a moment of the world.
    pub fn run_until(&mut self, until: u64) {
        WALL.with(|wall| wall.set(Some((self.wall, self.since.1))));
        let until = self.since.1 + Duration::from_millis(until.saturating_sub(self.since.0));
        let sleep = async move { tokio::time::sleep_until(until).await };
        self.local.block_on(&self.runtime, sleep);
        WALL.with(|wall| wall.set(None));
    }

    /// It was stopped and goes on at a moment of the world: its clocks went on meanwhile.
    pub fn wake_at(&mut self, now: u64) {
        WALL.with(|wall| wall.set(Some((self.wall, self.since.1))));
        let there = self.since.1 + Duration::from_millis(now.saturating_sub(self.since.0));
        let jump = async move {
            let gap = there.saturating_duration_since(Instant::now());
            tokio::time::advance(gap).await;
        };
        self.runtime.block_on(jump);
        WALL.with(|wall| wall.set(None));
    }

    /// What it is, once it has started.
    pub fn up<T>(&self, look: impl FnOnce(&Up) -> T) -> Option<T> {
        self.up.borrow().as_ref().map(look)
    }

    /// Why it did not start.
    pub fn failed(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    /// Does something within it.
    pub fn within(&self, work: impl Future<Output = ()> + 'static) {
        self.local.spawn_local(work);
    }

    /// Ends it as a kill does.
    pub fn kill(self) -> Vec<Out> {
        let Process {
            up,
            outlet,
            local,
            runtime,
            ..
        } = self;
        // What it said before it died has been taken; what its parts say while they are dropped was never said.
        {
            let _within = runtime.enter();
            drop(up);
            drop(local);
        }
        drop(runtime);
        outlet.take()
    }
}

async fn boot(build: Build, wall: u64, outlet: Outlet) -> Result<Up, String> {
    let config = config_of(&build);
    let draw = |purpose| Draw::new(seed_for(build.seed, purpose));
    let cluster_config = handle::Config {
        disk: build.disk.clone(),
        net: AnyNet(Some(Arc::new(Links(outlet.clone())))),
        wall: wall_ms,
        in_place: true,
        ..cluster_config(&config)
    };
    let cluster = Cluster::start(cluster_config, Arc::new(Arithmetic))
        .await
        .map_err(|error| error.to_string())?;
    let effects = cluster.effects().ok_or("effects are taken already")?;
    let ways = Ways {
        outlet: outlet.clone(),
        draw: draw(1),
    };
    let around = Surroundings {
        clock: Clock::begin(wall),
        chance: Chance::seeded(seed_for(build.seed, 2)),
        platforms: Platforms::through(Arc::new(ways)),
    };
    let (feeds, arrivals) = parts::feeds(&config);
    let listen = Listen {
        udp: config.sip.udp.clone(),
        ..Listen::default()
    };
    let transport = Transport::through(Arc::new(Datagrams(outlet)), listen);
    let keeper = Arc::new(Keeper::open(build.shelf, draw(3)));
    let core = Core::new(config, around, cluster);
    let mut parts = Parts::put_together(&core, &keeper, transport, feeds.clone());
    parts.start_shards(arrivals, |_, start| start());
    parts.answer_peers(&keeper, None);
    // Whether the first claim is granted shows by itself.
    drop(parts.claim(effects));
    Ok(Up {
        core,
        feeds,
        _parts: parts,
    })
}
