//! What all actors of a node share: the replicated state, the clocks, the registries of live actors.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::Addr;
use tandem_cluster::command::{BindingId, CallId, Command, Epoch};
use tandem_cluster::entity::{Id, Millis};
use tandem_cluster::handle::Cluster;
use tandem_cluster::state::State;
use tandem_cluster::state::settings::Settings;
use tandem_sip::transport::shard_of;
use tokio::sync::Semaphore;

use crate::ax::actor::AxActor;
use crate::barrier::Barrier;
use crate::binding::actor::BindingActor;
use crate::call::actor::CallActor;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::Config;
use crate::pace::Pace;
use crate::platforms::Platforms;
use crate::reconcile::UnderWay;
use crate::shard::Shard;

/// Texts of errors in the state are cut to this many bytes.
pub const ERROR_MAX: usize = 500;

/// Calls taken over whose far ends are being refreshed at a time: a thousand of them must not burst.
const REFRESHES_MAX: usize = 64;

/// How old the tables may be that calls read.
const TABLES_AGE: Duration = Duration::from_millis(200);

/// Shared by the actors of one process.
pub struct Core {
    /// The node file.
    pub config: Config,
    /// Both clocks.
    pub clock: Clock,
    /// The replicated state and the way to change it.
    pub cluster: Cluster,
    /// One client per interface.
    pub platforms: Platforms,
    /// What is drawn here.
    pub chance: Chance,
    /// Calls that live here.
    pub calls: Registry<CallId, CallActor>,
    /// Bindings that are looked after here.
    pub bindings: Registry<BindingId, BindingActor>,
    /// The signalling threads, by their number.
    pub shards: Registry<usize, Shard>,
    /// Leave to refresh the far ends of a call that was taken over.
    pub refreshes: Arc<Semaphore>,
    /// Static relations about which a platform is being asked from here.
    pub relations: Registry<Id, AxActor>,
    /// Interfaces that are compared with their platforms now.
    pub comparing: UnderWay,
    /// What readers wait for who must not miss what another node has acknowledged.
    pub barrier: Barrier,
    /// Figures for status and metrics.
    pub figures: Figures,
    epoch: AtomicU32,
    count: AtomicU32,
    /// The claim counts until then unless it is renewed, by the monotonic clock.
    held_until: AtomicU64,
    /// Why there is no claim.
    claim_fault: Mutex<Option<String>>,
    draining: AtomicBool,
    quorum: AtomicBool,
    disk_full: AtomicBool,
    /// What an operator has set for this device.
    settings: Mutex<Settings>,
    pace: Mutex<Pace>,
}

/// Counters that several actors move.
#[derive(Default)]
pub struct Figures {
    /// Answered calls that live here.
    pub answered: AtomicU64,
    /// Timers of calls and bindings that are armed.
    pub timers: AtomicU64,
    /// Reservations under way.
    pub reservations: AtomicU64,
    /// Shards that take new calls.
    pub shards_open: AtomicU64,
}

/// What a node has of the world around it, beside its disks and its networks.
pub struct Surroundings {
    /// Both clocks.
    pub clock: Clock,
    /// What is drawn.
    pub chance: Chance,
    /// The ways to the platforms.
    pub platforms: Platforms,
}

impl Surroundings {
    /// This machine's, from now on.
    pub fn of_machine() -> Self {
        Surroundings {
            clock: Clock::start(),
            chance: Chance::of_machine(),
            platforms: Platforms::default(),
        }
    }
}

impl Core {
    /// The state for reading operators' tables: an edit is in it at once, calls and bindings may lag. Calls read it
    /// all the time, and a state of this very moment costs a clone each time.
    pub fn tables(&self) -> Arc<State> {
        self.cluster.state_within(TABLES_AGE)
    }

    /// Before the first claim: nothing is admitted.
    pub fn new(config: Config, around: Surroundings, cluster: Cluster) -> Arc<Core> {
        Arc::new(Core {
            config,
            clock: around.clock,
            cluster,
            platforms: around.platforms,
            chance: around.chance,
            calls: Registry::default(),
            bindings: Registry::default(),
            shards: Registry::default(),
            refreshes: Arc::new(Semaphore::new(REFRESHES_MAX)),
            relations: Registry::default(),
            comparing: UnderWay::default(),
            barrier: Barrier::default(),
            figures: Figures::default(),
            epoch: AtomicU32::new(0),
            count: AtomicU32::new(0),
            held_until: AtomicU64::new(0),
            claim_fault: Mutex::default(),
            draining: AtomicBool::new(false),
            quorum: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
            settings: Mutex::default(),
            pace: Mutex::default(),
        })
    }

    /// The tenure this node serves under; `None` while it has none.
    pub fn epoch(&self) -> Option<Epoch> {
        match self.epoch.load(Ordering::Acquire) {
            0 => None,
            epoch => Some(epoch),
        }
    }

    /// Begins or ends a tenure.
    pub fn set_epoch(&self, epoch: Option<Epoch>) {
        self.count.store(0, Ordering::Release);
        self.epoch.store(epoch.unwrap_or(0), Ordering::Release);
    }

    /// The claim counts until `until` by the monotonic clock. A process that was stopped for longer finds it over when
    /// it wakes, before it has heard anything.
    pub fn hold_until(&self, until: Millis) {
        self.held_until.store(until, Ordering::Release);
    }

    /// Notes why there is no claim; answers whether that is news.
    pub fn note_claim_fault(&self, fault: Option<String>) -> bool {
        let mut noted = lock(&self.claim_fault);
        let news = *noted != fault;
        *noted = fault;
        news
    }

    /// Why no new call is taken under the claim, for people.
    pub fn claim_fault(&self) -> Option<String> {
        if self.epoch().is_none() {
            let noted = lock(&self.claim_fault).clone();
            return Some(noted.unwrap_or_else(|| "the access name is not claimed".to_owned()));
        }
        (!self.is_held()).then(|| "the claim was not renewed in time".to_owned())
    }

    /// Whether what begins under this tenure is still this node's, as far as the process can tell: see
    /// [`hold_until`](Core::hold_until).
    pub fn serves_under(&self, epoch: Epoch) -> bool {
        self.epoch() == Some(epoch) && self.is_held()
    }

    /// Whether there is a tenure that the clock says is over, and nobody has said yet whether it is.
    pub fn is_in_doubt(&self) -> bool {
        self.epoch().is_some() && !self.is_held()
    }

    fn is_held(&self) -> bool {
        self.clock.mono() < self.held_until.load(Ordering::Acquire)
    }

    /// What an operator has set for this device.
    pub fn settings(&self) -> Settings {
        *lock(&self.settings)
    }

    /// Acts on what an operator has set from now on.
    pub fn set_settings(&self, settings: Settings) {
        *lock(&self.settings) = settings;
    }

    /// Calls that this node may carry at once.
    pub fn calls_max(&self) -> usize {
        let here = self.config.limits.calls_max;
        let set = self.settings().calls_max;
        set.map_or(here, |set| here.min(set as usize))
    }

    /// Whether one more call may come this second.
    pub fn is_in_pace(&self) -> bool {
        match self.settings().calls_per_s {
            None => true,
            Some(per_s) => lock(&self.pace).take(per_s, self.clock.mono()),
        }
    }

    /// A new call's id; `None` without a tenure.
    pub fn next_call(&self) -> Option<CallId> {
        let epoch = self.epoch()?;
        Some(CallId::new(
            epoch,
            self.count.fetch_add(1, Ordering::Relaxed),
        ))
    }

    /// The thread to which the messages of a dialog come.
    pub fn shard_of(&self, sip_call_id: &[u8]) -> Option<Addr<Shard>> {
        self.shards.get(shard_of(sip_call_id, self.config.shards()))
    }

    /// No new calls are taken.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Takes no new calls from now on, or takes them again.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Release);
    }

    /// A majority of the nodes is in reach, as far as the last look told.
    pub fn has_quorum(&self) -> bool {
        self.quorum.load(Ordering::Acquire)
    }

    /// Notes what a look at the cluster told.
    pub fn set_quorum(&self, quorum: bool) {
        self.quorum.store(quorum, Ordering::Release);
    }

    /// Notes whether the log has room on its disk.
    pub fn set_disk_full(&self, full: bool) {
        self.disk_full.store(full, Ordering::Release);
    }

    /// Why a new call cannot be taken now.
    pub fn closed(&self) -> Option<Closed> {
        if self.is_draining() {
            Some(Closed::Draining)
        } else if self.epoch().is_none() || !self.is_held() {
            Some(Closed::NoClaim)
        } else if !self.has_quorum() {
            Some(Closed::NoQuorum)
        } else if self.disk_full.load(Ordering::Acquire) {
            Some(Closed::DiskFull)
        } else if self.calls.len() >= self.calls_max() {
            Some(Closed::Full)
        } else {
            None
        }
    }

    /// Notes the last error of an interface, for people.
    pub fn note_interface_error(&self, interface: Id, mut text: String) {
        text.truncate(text.floor_char_boundary(ERROR_MAX));
        self.submit(Command::InterfaceError { interface, text });
    }

    /// Proposes what nobody waits for.
    pub fn submit(&self, command: Command) {
        if !self.cluster.submit(command) {
            // Refused only when a million of them wait or the node has failed; both are told elsewhere.
            metrics::counter!("tandem_node_submits_refused_total").increment(1);
        }
    }
}

/// Why a node takes no new call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// An operator wants it so.
    Draining,
    /// The access name is not claimed (any more).
    NoClaim,
    /// Fewer than half of the nodes are in reach.
    NoQuorum,
    /// Nothing can be written to the log.
    DiskFull,
    /// As many calls as this node may carry.
    Full,
}

impl Closed {
    /// One word for metrics and readiness.
    pub fn word(self) -> &'static str {
        match self {
            Closed::Draining => "draining",
            Closed::NoClaim => "no_claim",
            Closed::NoQuorum => "no_quorum",
            Closed::DiskFull => "disk_full",
            Closed::Full => "full",
        }
    }
}

/// Live actors by id. Held for a moment only, never over work.
pub struct Registry<K, A: actix::Actor>(Mutex<HashMap<K, Addr<A>>>);

impl<K, A: actix::Actor> Default for Registry<K, A> {
    fn default() -> Self {
        Registry(Mutex::new(HashMap::new()))
    }
}

impl<K: Copy + Ord + std::hash::Hash, A: actix::Actor> Registry<K, A> {
    /// Remembers an actor.
    pub fn insert(&self, id: K, addr: Addr<A>) {
        self.lock().insert(id, addr);
    }

    /// Forgets an actor; another one with its id that has come after it stays.
    pub fn remove(&self, id: K, addr: &Addr<A>) {
        let mut actors = self.lock();
        if actors.get(&id) == Some(addr) {
            actors.remove(&id);
        }
    }

    /// Forgets all of them and gives them back, by their ids.
    pub fn take(&self) -> Vec<(K, Addr<A>)> {
        let taken = std::mem::take(&mut *self.lock());
        in_order(taken.into_iter().collect())
    }

    /// The actor with this id.
    pub fn get(&self, id: K) -> Option<Addr<A>> {
        self.lock().get(&id).cloned()
    }

    /// Whether there is one with this id.
    pub fn contains(&self, id: K) -> bool {
        self.lock().contains_key(&id)
    }

    /// How many live.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// None live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, at this moment, by their ids.
    pub fn all(&self) -> Vec<(K, Addr<A>)> {
        let actors = self.lock();
        in_order(
            actors
                .iter()
                .map(|(id, addr)| (*id, addr.clone()))
                .collect(),
        )
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Addr<A>>> {
        lock(&self.0)
    }
}

/// Whatever is done with all actors is done in an order that can be told again.
fn in_order<K: Copy + Ord, A: actix::Actor>(mut actors: Vec<(K, Addr<A>)>) -> Vec<(K, Addr<A>)> {
    actors.sort_unstable_by_key(|(id, _)| *id);
    actors
}

/// What is behind a lock; whoever panicked while it held one of these left it whole.
fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
