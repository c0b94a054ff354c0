//! Machines and their time.
//!
//! Time goes on in steps. In a step every machine that is on runs for the same stretch of it, one after the other, on a
//! runtime of its own whose clock is stopped: whenever all of the machine's tasks wait, its clock leaps to the next
//! timer, until the step is over. No message between machines takes less than a step, so within one they cannot have
//! heard of each other, and the order in which they run does not matter.

use crate::event;
use crate::net::SimNet;
use futures::future::LocalBoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tandem_cluster::wal::SimDisk;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::Instant;

/// The world begins at this moment, milliseconds since 1970.
pub const BEGAN_MS: u64 = 1_750_000_000_000;

/// What runs on a machine: called at each start of it.
pub type Software = Rc<dyn Fn() -> LocalBoxFuture<'static, ()>>;

/// How a machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The process is killed: what it wrote is kept, its connections are reset.
    Process,
    /// The power goes: what was not synced is lost or kept by chance, and nobody is told anything.
    Power,
}

/// The machine that runs just now.
#[derive(Clone, Copy)]
struct Current {
    host: u64,
    /// The world's time at the start of the step.
    from_ms: u64,
    upto_ms: u64,
    /// The machine's clocks then.
    began: Instant,
    wall_ms: i64,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
    static NOW_MS: Cell<u64> = const { Cell::new(0) };
}

/// The machine whose code runs just now.
pub fn current() -> Option<u64> {
    CURRENT.with_borrow(|current| current.map(|current| current.host))
}

/// Milliseconds since the world began, by no machine's clock.
pub fn now_ms() -> u64 {
    CURRENT.with_borrow(|current| match current {
        Some(current) => {
            let passed = current.began.elapsed().as_millis() as u64;
            (current.from_ms + passed).min(current.upto_ms)
        }
        None => NOW_MS.get(),
    })
}

/// The clock on the wall of the machine that runs just now, milliseconds since 1970; to be given to
/// [`Config::wall`](tandem_cluster::handle::Config::wall).
pub fn wall() -> u64 {
    CURRENT.with_borrow(|current| match current {
        Some(current) => {
            let passed = current.began.elapsed().as_millis() as i64;
            u64::try_from(current.wall_ms + passed).unwrap_or(0)
        }
        None => BEGAN_MS + NOW_MS.get(),
    })
}

struct Running {
    /// Before the runtime, so that they are dropped first.
    tasks: LocalSet,
    main: JoinHandle<()>,
    runtime: Runtime,
    /// The runtime's clock when it was made, and the machine's then.
    began: Instant,
    began_us: u64,
}

struct Host {
    software: Software,
    disk: SimDisk,
    running: Option<Running>,
    paused: bool,
    /// The machine's monotonic clock, microseconds; it goes on while the machine is paused or off.
    mono_us: u64,
    /// How much faster it goes than the world's, parts of a million.
    fast_ppm: i64,
    /// How far its clock on the wall is ahead, beyond what comes of going fast.
    ahead_ms: i64,
}

/// All machines.
pub struct World {
    now_ms: u64,
    step_ms: u64,
    hosts: BTreeMap<u64, Host>,
    net: SimNet,
    rng: StdRng,
}

impl World {
    /// A world without machines. No message takes less than `step_ms`; shorter steps cost more.
    pub fn new(seed: u64, step_ms: u64) -> World {
        NOW_MS.set(0);
        World {
            now_ms: 0,
            step_ms,
            hosts: BTreeMap::new(),
            net: SimNet::new(seed, step_ms),
            rng: StdRng::seed_from_u64(crate::entropy::mix(seed ^ 0x6d61_6368_696e_6573)),
        }
    }

    /// The network; clones share it.
    pub fn net(&self) -> &SimNet {
        &self.net
    }

    /// Milliseconds since the world began.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Adds a machine, which is off, and hands out its disk. Ids are above 0.
    pub fn add<F>(&mut self, id: u64, software: impl Fn(SimDisk) -> F + 'static) -> SimDisk
    where
        F: Future<Output = ()> + 'static,
    {
        let disk = SimDisk::default();
        let given = disk.clone();
        let host = Host {
            software: Rc::new(move || Box::pin(software(given.clone()))),
            disk: disk.clone(),
            running: None,
            paused: false,
            mono_us: 0,
            fast_ppm: 0,
            ahead_ms: 0,
        };
        self.hosts.insert(id, host);
        disk
    }

    fn host(&mut self, id: u64) -> &mut Host {
        self.hosts.get_mut(&id).expect("the scenario added it")
    }

    /// A machine's disk.
    pub fn disk(&self, id: u64) -> &SimDisk {
        &self.hosts[&id].disk
    }

    /// Whether there is such a machine.
    pub fn has(&self, id: u64) -> bool {
        self.hosts.contains_key(&id)
    }

    /// Whether a machine is on, paused or not.
    pub fn is_on(&self, id: u64) -> bool {
        self.hosts[&id].running.is_some()
    }

    /// Whether what runs on a machine has ended by itself, or panicked. It stays on until it is killed.
    pub fn has_ended(&self, id: u64) -> bool {
        let running = self.hosts[&id].running.as_ref();
        running.is_some_and(|running| running.main.is_finished())
    }

    /// Whether a machine is paused.
    pub fn is_paused(&self, id: u64) -> bool {
        self.hosts[&id].paused
    }

    /// Switches a machine on; one that is on stays so.
    pub fn start(&mut self, id: u64) {
        let host = self.host(id);
        if host.running.is_some() {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("takes nothing but memory");
        let (began, tasks) = (runtime.block_on(async { Instant::now() }), LocalSet::new());
        let main = tasks.spawn_local((host.software)());
        host.paused = false;
        host.running = Some(Running {
            tasks,
            main,
            runtime,
            began,
            began_us: host.mono_us,
        });
        self.net.machine_is(id, true);
        event!("node {id} starts");
    }

    /// Ends what runs on a machine; one that is off stays so.
    pub fn kill(&mut self, id: u64, death: Death) {
        let host = self.host(id);
        let Some(running) = host.running.take() else {
            return;
        };
        event!("node {id} dies: {death:?}");
        host.paused = false;
        // Nothing that is done while the tasks are dropped reaches the disk or the network.
        let disk = host.disk.clone();
        disk.fail_after(0);
        self.net.process_ends(id, death == Death::Process);
        drop(running);
        match death {
            Death::Process => disk.restart(),
            Death::Power => {
                self.net.machine_is(id, false);
                disk.crash(|| self.rng.random());
            }
        }
    }

    /// Gives a machine no time. Its clocks go on, as those of a stopped process do.
    pub fn pause(&mut self, id: u64) {
        event!("node {id} is paused");
        self.host(id).paused = true;
    }

    /// Lets a paused machine run again.
    pub fn resume(&mut self, id: u64) {
        event!("node {id} goes on");
        self.host(id).paused = false;
    }

    /// Sets how far a machine's clock on the wall is ahead of the world's, beyond what comes of going fast.
    pub fn set_clock(&mut self, id: u64, ahead_ms: i64) {
        event!("clock of node {id} steps to {ahead_ms} ms ahead");
        self.host(id).ahead_ms = ahead_ms;
    }

    /// Sets how much faster a machine's clocks go than the world's, parts of a million; negative: slower.
    pub fn set_rate(&mut self, id: u64, fast_ppm: i64) {
        event!("clocks of node {id} go {fast_ppm} ppm fast");
        self.host(id).fast_ppm = fast_ppm;
    }

    /// Goes on for so long, at least.
    pub fn run_for(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.now_ms < until {
            self.step();
        }
    }

    /// Goes on for one step.
    pub fn step(&mut self) {
        let (from_ms, upto_ms) = (self.now_ms, self.now_ms + self.step_ms);
        for (id, host) in &mut self.hosts {
            let from_us = host.mono_us;
            let takes = self.step_ms * 1_000;
            host.mono_us += takes.saturating_add_signed(takes as i64 * host.fast_ppm / 1_000_000);
            if let (Some(running), false) = (&host.running, host.paused) {
                let at = |us: u64| running.began + Duration::from_micros(us - running.began_us);
                let current = Current {
                    host: *id,
                    from_ms,
                    upto_ms,
                    began: at(from_us),
                    wall_ms: (BEGAN_MS + from_us / 1_000) as i64 + host.ahead_ms,
                };
                let net = self.net.clone();
                let (id, end) = (*id, at(host.mono_us));
                let drive = async move {
                    // Behind after a pause: the clock leaps, and every timer finds itself late.
                    let behind = current.began.saturating_duration_since(Instant::now());
                    if !behind.is_zero() {
                        tokio::time::advance(behind).await;
                    }
                    while let Some(due_ms) = net.next_due(id).filter(|due_ms| *due_ms < upto_ms) {
                        let after = Duration::from_millis(due_ms.saturating_sub(from_ms));
                        tokio::time::sleep_until(current.began + after).await;
                        net.deliver(id, due_ms);
                    }
                    tokio::time::sleep_until(end).await;
                };
                CURRENT.set(Some(current));
                running.runtime.block_on(running.tasks.run_until(drive));
                CURRENT.set(None);
            } else if host.running.is_none() {
                // What comes for a process that is not there.
                self.net.deliver(*id, upto_ms);
            }
        }
        self.now_ms = upto_ms;
        NOW_MS.set(upto_ms);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in self.hosts.values_mut() {
            host.disk.fail_after(0);
            host.running = None;
        }
    }
}
