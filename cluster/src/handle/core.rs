//! The node without the state's types: start, stop, and what its tasks share.

use super::levels::{self, Dialect};
use super::members;
use super::proposer::{Proposer, Queue};
use super::serve::{self, Server};
use super::{Config, MemberStatus, ProposeError, RestoreError, Role, StartError, Status};
use crate::beside::beside;
use crate::level::Level;
use crate::link::tls::Tls;
use crate::link::{
    ANSWER_LIMIT, Channel, Dialer, LinkError, Members, Peer, RequestError, Roster, Under,
};
use crate::raft::Raft;
use crate::raft::machine::{Driver, Progress, StateMachine};
use crate::raft::network::Networks;
use crate::raft::snapshot::Store;
use crate::raft::store::LogStore;
use crate::raft::types::TypeConfig;
use crate::wal::record::LogId;
use crate::wal::{Fullness, Identity, Wal, WalError};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{Fatal, InitializeError, RaftError};
use openraft::impls::BasicNode;
use openraft::metrics::RaftServerMetrics;
use openraft::{ReadPolicy, ServerState, SnapshotPolicy};
use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Answers another node's question: its id, the question; the answer, or a reason for none.
pub type Handler =
    Arc<dyn Fn(u64, Bytes) -> BoxFuture<'static, Result<Bytes, String>> + Send + Sync>;

/// Where a node stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What it is.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// The leader it knows.
    pub leader: Option<u64>,
}

/// A node that has said nothing for so long counts as dead.
const SILENCE: Duration = Duration::from_millis(1500);
/// How long a question waits for a link before its node counts as out of reach.
const REDIAL_LIMIT: Duration = Duration::from_millis(200);
/// Interval of pings and of the gauges.
const PING_EVERY: Duration = Duration::from_millis(500);
/// How long an orderly stop waits for submitted commands, and for another leader.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// What the node's tasks share.
pub(crate) struct Shared {
    pub(crate) queue: Arc<Queue>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) wall: fn() -> u64,
    pub(crate) roster: Arc<Roster>,
    /// Everyone this node talks to; changes with the members.
    peers: RwLock<BTreeMap<u64, Peer>>,
    seen: Mutex<BTreeMap<u64, Seen>>,
    pub(crate) dialect: Dialect,
    handler: RwLock<Option<Handler>>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    at: Option<Instant>,
    applied: Option<u64>,
    level: Option<Level>,
}

impl Shared {
    /// The link to another node.
    pub(crate) fn peer(&self, node: u64) -> Option<Peer> {
        self.peers().get(&node).cloned()
    }

    fn peers(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Peer>> {
        self.peers
            .read()
            .expect("no code panics while it holds this")
    }

    /// Begins to talk to whoever has become a member, and no longer to whoever is none any more.
    fn follow_roster(&self) {
        let others = self.roster.others();
        let mut peers = self
            .peers
            .write()
            .expect("no code panics while it holds this");
        if peers.keys().eq(others.keys()) {
            return;
        }
        let mut seen = self.seen();
        peers.retain(|node, _| others.contains_key(node));
        seen.retain(|node, _| others.contains_key(node));
        for node in others.into_keys() {
            seen.entry(node).or_default();
            peers
                .entry(node)
                .or_insert_with(|| Peer::start(Dialer::new(self.roster.clone(), node)));
        }
    }

    /// How many of the nodes are a majority.
    pub(crate) fn majority(&self) -> usize {
        self.peers().len().div_ceil(2) + 1
    }

    /// Whether a node said something of late.
    pub(crate) fn is_alive(&self, node: u64) -> bool {
        let seen = self.seen().get(&node).and_then(|seen| seen.at);
        seen.is_some_and(|at| at.elapsed() < SILENCE)
    }

    /// The highest level that a node speaks, if it is alive and has said so.
    pub(crate) fn spoken_by(&self, node: u64) -> Option<Level> {
        if node == self.roster.us.node {
            return Some(self.progress.spoken);
        }
        let seen = self.seen().get(&node).copied().unwrap_or_default();
        let alive = seen.at.is_some_and(|at| at.elapsed() < SILENCE);
        seen.level.filter(|_| alive)
    }

    /// A node said something.
    pub(crate) fn touch(&self, node: u64) {
        // Nodes that are no members leave no trace.
        if let Some(seen) = self.seen().get_mut(&node) {
            seen.at = Some(Instant::now());
        }
    }

    /// Gives leadership to the most advanced of those who answer.
    async fn lead_no_longer(&self, raft: &Raft) {
        let heir = {
            let metrics = raft.metrics().borrow_watched().clone();
            let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
            let seen = self.seen();
            let alive = seen.iter().filter(|(node, seen)| {
                voters.contains(node) && seen.at.is_some_and(|at| at.elapsed() < SILENCE)
            });
            alive
                .max_by_key(|(_, seen)| seen.applied)
                .map(|(node, _)| *node)
        };
        if let Some(heir) = heir {
            tracing::warn!(to = heir, "leadership is handed over, the disk is full");
            // Tried again at the next tick.
            let _ = raft.trigger().transfer_leader(heir).await;
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Seen>> {
        self.seen
            .lock()
            .expect("no code panics while it holds this")
    }

    pub(crate) fn handler(&self) -> Option<Handler> {
        self.handler
            .read()
            .expect("no code panics while it holds this")
            .clone()
    }
}

/// A node.
pub(crate) struct Core {
    pub(crate) node: u64,
    pub(crate) address: SocketAddr,
    pub(crate) raft: Raft,
    pub(crate) queue: Arc<Queue>,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) shared: Arc<Shared>,
    fullness: Fullness,
    pub(crate) in_place: bool,
    /// The node's own, unless it runs in place.
    runtime: Mutex<Option<Runtime>>,
}

impl Core {
    /// Starts a node. `live` is called when the replay is over.
    pub(crate) async fn start(
        config: Config,
        driver: Box<dyn Driver>,
        live: Box<dyn FnOnce() + Send>,
        dialect: Dialect,
    ) -> Result<Core, StartError> {
        if config.in_place {
            return open(config, driver, live, dialect).await;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.workers.clamp(1, 2))
            .max_blocking_threads(8)
            .thread_name("tandem-raft")
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        let opened = runtime.spawn(open(config, driver, live, dialect)).await;
        let outcome = opened.unwrap_or_else(|error| Err(StartError::Restore(error.to_string())));
        match outcome {
            Ok(mut core) => {
                core.runtime = Mutex::new(Some(runtime));
                Ok(core)
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    pub(crate) async fn propose(&self, command: Bytes) -> Result<(u64, Bytes), ProposeError> {
        let reply = self.queue.propose(command)?;
        reply.await.map_err(|_| ProposeError::Stopped)
    }

    pub(crate) fn submit(&self, command: Bytes) -> bool {
        self.queue.submit(command)
    }

    /// Waits until the entry `index` has been applied here.
    pub(crate) async fn applied_beyond(
        &self,
        index: u64,
        limit: Duration,
    ) -> Result<(), ProposeError> {
        let mut applied = self.shared.progress.applied.subscribe();
        match timeout(limit, applied.wait_for(|applied| *applied > index)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ProposeError::Stopped),
            Err(_) => Err(ProposeError::Unknown(limit)),
        }
    }

    /// The index after the last entry a reader must have applied, asked of the leader; `None` when there is none that
    /// can tell.
    pub(crate) async fn read_index(&self) -> Option<u64> {
        let Standing { role, leader, .. } = *self.standing.borrow();
        if role == Role::Leader {
            let (read, _) = self
                .raft
                .get_read_log_id(ReadPolicy::ReadIndex)
                .await
                .ok()?;
            return Some(read.index() + 1);
        }
        let peer = self.shared.peer(leader?)?;
        serve::take_index(&peer.ask(serve::read_index(), ANSWER_LIMIT).await.ok()?)
    }

    pub(crate) fn log_time(&self) -> Option<u64> {
        let progress = &self.shared.progress;
        progress.time().now(progress.now_us())
    }

    /// Waits until `ready` gives something, looking again whenever entries have been applied.
    pub(crate) async fn when_applied<T>(
        &self,
        limit: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, ProposeError> {
        let mut applied = self.shared.progress.applied.subscribe();
        let waiting = async {
            loop {
                applied.mark_unchanged();
                if let Some(found) = ready() {
                    return Ok(found);
                }
                if applied.changed().await.is_err() {
                    return Err(ProposeError::Stopped);
                }
            }
        };
        timeout(limit, waiting)
            .await
            .unwrap_or(Err(ProposeError::Unknown(limit)))
    }

    /// See [`StateMachine::put_in_place`]. Runs between two applications of entries, which wait meanwhile.
    pub(crate) async fn put_in_place(
        &self,
        state: Box<dyn Any + Send>,
        upto: u64,
    ) -> Result<u64, RestoreError> {
        let in_place = self.in_place;
        let put = self.raft.with_state_machine(move |machine| {
            let put = || machine.put_in_place(state, upto);
            let put = match in_place {
                true => put(),
                false => tokio::task::block_in_place(put),
            };
            ready(put).boxed()
        });
        match put.await {
            Ok(Ok(end)) => Ok(end),
            Ok(Err(error)) => Err(RestoreError::Replay(error.to_string())),
            Err(_) => Err(RestoreError::Stopped),
        }
    }

    pub(crate) async fn peer_request(
        &self,
        node: u64,
        question: Bytes,
        limit: Duration,
    ) -> Result<Bytes, RequestError> {
        let refused = |reason: &str| RequestError::Refused {
            node,
            reason: reason.into(),
        };
        if question.len() > serve::PEER_BYTES {
            return Err(refused("question is too large"));
        }
        if node == self.node {
            let handler = self
                .shared
                .handler()
                .ok_or_else(|| refused("node answers no questions yet"))?;
            let answer = timeout(limit, handler(node, question)).await;
            return answer
                .map_err(|_| RequestError::NoAnswer(node))?
                .map_err(|reason| RequestError::Refused { node, reason });
        }
        let peer = self
            .shared
            .peer(node)
            .ok_or_else(|| refused("no such node"))?;
        let (begun, question) = (Instant::now(), serve::peer(&question));
        loop {
            match peer.ask(question.clone(), limit).await {
                // The link may be resting after a failed dial; what was not sent can be sent again.
                Err(RequestError::NotSent(_)) if begun.elapsed() < limit.min(REDIAL_LIMIT) => {
                    tokio::time::sleep(REDIAL_LIMIT / 10).await;
                }
                outcome => return outcome,
            }
        }
    }

    pub(crate) fn set_handler(&self, handler: Handler) {
        *self
            .shared
            .handler
            .write()
            .expect("no code panics while it holds this") = Some(handler);
    }

    pub(crate) fn status(&self) -> Status {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let Standing { role, term, leader } = *self.standing.borrow();
        let applied = *self.shared.progress.applied.borrow();
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let nodes = metrics.membership_config.nodes();
        let nodes: BTreeMap<u64, String> =
            nodes.map(|(id, node)| (*id, node.addr.clone())).collect();
        let seen = self.shared.seen().clone();
        let members: Vec<MemberStatus> = nodes
            .into_iter()
            .map(|(node, address)| {
                let here = node == self.node;
                let seen = seen.get(&node).copied().unwrap_or_default();
                MemberStatus {
                    node,
                    address,
                    voter: voters.contains(&node),
                    alive: here || seen.at.is_some_and(|at| at.elapsed() < SILENCE),
                    applied: if here { Some(applied) } else { seen.applied },
                    level: if here {
                        Some(self.shared.progress.spoken)
                    } else {
                        seen.level
                    },
                }
            })
            .collect();
        let alive = members
            .iter()
            .filter(|member| member.voter && member.alive)
            .count();
        let stopped = metrics
            .running_state
            .as_ref()
            .err()
            .map(ToString::to_string);
        let after = |id: Option<u64>| id.map_or(0, |index| index + 1);
        Status {
            node: self.node,
            role,
            term,
            leader,
            applied,
            committed: after(metrics.local_committed.map(|id| id.index)),
            last_log: after(metrics.last_log_index),
            snapshot: after(metrics.snapshot.map(|id| id.index)),
            quorum: leader.is_some() && alive * 2 > voters.len() && stopped.is_none(),
            members,
            levels: *self.shared.progress.levels.borrow(),
            former: self
                .shared
                .roster
                .members()
                .former
                .iter()
                .copied()
                .collect(),
            stopped,
            disk_full: self.fullness.get(),
        }
    }

    pub(crate) async fn shutdown(&self) {
        let begun = Instant::now();
        while self.queue.submitted() + self.queue.waited() > 0 && begun.elapsed() < STOP_LIMIT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.hand_over().await;
        self.queue.close();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop in order");
        }
        if let Some(runtime) = self.take_runtime() {
            // Blocking, since it waits for a snapshot that is being written.
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(STOP_LIMIT)).await;
        }
    }

    /// Gives leadership to the most advanced of the living, so that nobody waits for an election.
    pub(crate) async fn hand_over(&self) {
        let status = self.status();
        if status.role != Role::Leader {
            return;
        }
        let others = status
            .members
            .iter()
            .filter(|m| m.voter && m.alive && m.node != self.node);
        let Some(heir) = others.max_by_key(|member| member.applied) else {
            return;
        };
        let mut standing = self.standing.clone();
        if self.raft.trigger().transfer_leader(heir.node).await.is_ok() {
            let _ = timeout(
                STOP_LIMIT / 2,
                standing.wait_for(|standing| standing.role != Role::Leader),
            )
            .await;
        }
    }

    pub(crate) fn kill(&self) {
        self.queue.close();
        if let Some(runtime) = self.take_runtime() {
            runtime.shutdown_background();
        }
    }

    fn take_runtime(&self) -> Option<Runtime> {
        self.runtime
            .lock()
            .expect("no code panics while it holds this")
            .take()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn open(
    config: Config,
    driver: Box<dyn Driver>,
    live: Box<dyn FnOnce() + Send>,
    dialect: Dialect,
) -> Result<Core, StartError> {
    let identity = Identity {
        cluster: config.cluster_id.clone(),
        node: config.node_id,
    };
    let configured: BTreeMap<u64, String> = config
        .members
        .iter()
        .map(|member| (member.id, member.address.clone()))
        .collect();
    let tls = match config.tls.clone() {
        None => None,
        Some(files) => {
            let opened = beside(move || Tls::open(config.node_id, files)).await;
            let opened = opened.map_err(|error| StartError::Restore(error.to_string()))?;
            Some(Arc::new(opened?))
        }
    };
    if let Some(tls) = &tls {
        tokio::spawn(tls.clone().follow_files());
    }
    let (wal, store, snapshot, roster, pristine) = {
        let (dir, identity) = (config.data_dir.clone(), identity.clone());
        let configured = configured.clone();
        let under = Under {
            disk: config.disk.clone(),
            net: config.net.clone(),
            tls,
            spoken: config.level_max,
            founds: !config.join,
        };
        let (log, in_place) = (config.log, config.in_place);
        beside(move || -> Result<_, StartError> {
            Roster::check_level(&*under.disk.0, &dir, under.spoken)?;
            let disk = under.disk.clone();
            let open = match in_place {
                true => Wal::open_in_place,
                false => Wal::open,
            };
            let wal = open(disk.0.clone(), &dir, identity.clone(), log)?;
            let (store, snapshot) = Store::open(disk, &dir.join("snapshots"), &identity)?;
            let pristine = wal.last().is_none() && wal.vote().is_none() && snapshot.is_none();
            let roster = Roster::open(&dir, identity, configured, !pristine, under)
                .map_err(WalError::from)?;
            Ok((wal, Arc::new(store), snapshot, Arc::new(roster), pristine))
        })
        .await
        .map_err(|error| StartError::Restore(error.to_string()))??
    };
    check_complete(wal.purged(), snapshot)?;

    let listening = config.net.listen(config.listen).await;
    let (listener, address) = listening.map_err(|source| StartError::Listen {
        address: config.listen,
        source,
    })?;

    let fullness = wal.fullness();
    let progress = Arc::new(Progress::new(config.level_max));
    let machine = StateMachine::new(
        driver,
        store.clone(),
        wal.clone(),
        progress.clone(),
        config.snapshots.bytes,
    );
    let networks = Networks {
        roster: roster.clone(),
    };
    let restore = |error: &dyn std::fmt::Display| StartError::Restore(error.to_string());
    let settings = Arc::new(
        settings(&config)
            .validate()
            .map_err(|error| StartError::Config(error.to_string()))?,
    );
    let raft = Raft::build(
        config.node_id,
        settings,
        networks,
        LogStore::new(wal),
        machine,
    )
    .await
    .map_err(|error| restore(&error))?;
    live();
    raft.run();

    let queue = Arc::new(Queue::default());
    let shared = Arc::new(Shared {
        queue: queue.clone(),
        progress: progress.clone(),
        roster: roster.clone(),
        peers: RwLock::default(),
        seen: Mutex::default(),
        wall: config.wall,
        dialect,
        handler: RwLock::new(None),
    });
    note_members(&raft, &shared);

    let (sender, standing) = watch::channel(Standing::default());
    tokio::spawn(follow_standing(raft.clone(), sender));
    tokio::spawn(follow_members(raft.clone(), shared.clone()));
    let server = Server {
        raft: raft.clone(),
        store,
        shared: shared.clone(),
        standing: standing.clone(),
    };
    tokio::spawn(server.listen(listener));
    tokio::spawn(Proposer::new(raft.clone(), shared.clone(), standing.clone(), &config).run());
    tokio::spawn(tick(
        raft.clone(),
        fullness.clone(),
        shared.clone(),
        standing.clone(),
    ));
    tokio::spawn(snapshot_when_heavy(raft.clone(), progress));
    tokio::spawn(members::finish_changes(raft.clone(), standing.clone()));
    tokio::spawn(levels::follow(shared.clone()));
    tokio::spawn(levels::keep(
        raft.clone(),
        shared.clone(),
        standing.clone(),
        config.level_settled,
    ));

    if pristine && !config.join {
        may_found(&roster, configured.keys().copied().collect()).await?;
    }
    let core = Core {
        node: config.node_id,
        address,
        raft,
        queue,
        standing,
        shared,
        fullness,
        in_place: config.in_place,
        runtime: Mutex::new(None),
    };
    if config.join {
        if pristine {
            tracing::info!(
                cluster = config.cluster_id,
                node = config.node_id,
                %address,
                "waits to be added to the cluster"
            );
        }
        return Ok(core);
    }
    let members: BTreeMap<u64, BasicNode> = configured
        .iter()
        .map(|(id, address)| (*id, BasicNode::new(address)))
        .collect();
    match core.raft.initialize(members).await {
        Ok(()) => tracing::info!(
            cluster = config.cluster_id,
            node = config.node_id,
            "made the cluster"
        ),
        // It exists already.
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
        Err(error) => return Err(restore(&error)),
    }
    tracing::info!(cluster = config.cluster_id, node = config.node_id, %address, "cluster node is up");
    Ok(core)
}

/// Asks the others whether this node, which has no log, may begin the cluster with them: not when there was a log of
/// this id, or when they know other members. Who does not answer is taken to be not there yet.
async fn may_found(roster: &Arc<Roster>, founders: Vec<u64>) -> Result<(), StartError> {
    let others = roster.others().into_keys();
    let asked = others.map(|node| {
        let (dialer, founders) = (Dialer::new(roster.clone(), node), founders.clone());
        async move { dialer.dial_as(Channel::Control, &founders).await }
    });
    for answer in futures::future::join_all(asked).await {
        if let Err(error @ LinkError::Refused { .. }) = answer {
            return Err(StartError::Expelled(error.to_string()));
        }
    }
    if let Some(reason) = roster.expelled().borrow().clone() {
        return Err(StartError::Expelled(reason));
    }
    roster
        .found()
        .await
        .map_err(|error| StartError::Restore(format!("roster cannot be written: {error}")))?
        .map_err(StartError::Expelled)
}

/// Tells the roster what the log says of the members.
fn note_members(raft: &Raft, shared: &Shared) {
    let metrics = raft.server_metrics();
    let nodes = metrics
        .borrow_watched()
        .membership_config
        .nodes()
        .map(|(id, node)| (*id, node.addr.clone()))
        .collect();
    let former = shared.progress.former.borrow().clone();
    shared.roster.set_members(Members { nodes, former });
    shared.follow_roster();
}

/// Keeps the roster up to date.
async fn follow_members(raft: Raft, shared: Arc<Shared>) {
    let mut metrics = raft.server_metrics();
    let mut former = shared.progress.former.subscribe();
    loop {
        note_members(&raft, &shared);
        let ended = tokio::select! {
            changed = metrics.changed() => changed.is_err(),
            changed = former.changed() => changed.is_err(),
        };
        if ended {
            return;
        }
    }
}

/// Entries that were purged must be in the snapshot.
fn check_complete(purged: Option<LogId>, snapshot: Option<LogId>) -> Result<(), StartError> {
    match (purged, snapshot) {
        (Some(purged), snapshot)
            if snapshot.is_none_or(|snapshot| snapshot.index < purged.index) =>
        {
            let text =
                format!("log begins behind entry {purged}, newest snapshot ends at {snapshot:?}");
            Err(StartError::Restore(text))
        }
        _ => Ok(()),
    }
}

fn settings(config: &Config) -> openraft::Config {
    let ms = |duration: Duration| duration.as_millis() as u64;
    openraft::Config {
        cluster_name: config.cluster_id.clone(),
        heartbeat_interval: ms(config.timings.heartbeat),
        election_timeout_min: ms(config.timings.election_min),
        election_timeout_max: ms(config.timings.election_max),
        // Acknowledged entries spare a follower heartbeats, for as long as one can still come in time.
        heartbeat_min_interval: Some(spared_ms(config.timings)),
        enable_pre_vote: Some(true),
        // The commit noted on disk may lag: a restarted leader stands for election again.
        enable_leader_restore: Some(false),
        install_snapshot_timeout: 60_000,
        // Entries weigh up to a megabyte or two; a request must fit a frame.
        max_payload_entries: 16,
        replication_lag_threshold: config.snapshots.entries + config.snapshots.keep,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshots.entries),
        max_in_snapshot_log_to_keep: config.snapshots.keep,
        purge_batch_size: (config.snapshots.keep / 8).clamp(1, 1024),
        backoff: "100ms".into(),
        ..openraft::Config::default()
    }
}

/// How long after an acknowledged message no heartbeat is needed: the next one, a tick of the library late, must still
/// come before `election_min`.
fn spared_ms(timings: super::Timings) -> u64 {
    let (heartbeat, min) = (
        timings.heartbeat.as_millis() as u64,
        timings.election_min.as_millis() as u64,
    );
    let tick = heartbeat * 13 / 64 + 1;
    min.saturating_sub(heartbeat + 3 * tick)
}

/// Keeps [`Standing`] up to date.
async fn follow_standing(raft: Raft, sender: watch::Sender<Standing>) {
    let mut metrics = raft.server_metrics();
    loop {
        let now = standing_of(&metrics.borrow_watched());
        let changed = sender.send_if_modified(|standing| std::mem::replace(standing, now) != now);
        if changed {
            let leader = now
                .leader
                .map_or_else(|| "none".to_owned(), |leader| leader.to_string());
            tracing::info!(
                role = now.role.name(),
                term = now.term,
                leader,
                "standing in the cluster"
            );
        }
        if metrics.changed().await.is_err() {
            break;
        }
    }
    match &raft.metrics().borrow_watched().running_state {
        Ok(()) | Err(Fatal::Stopped) => {}
        Err(error) => tracing::error!(%error, "cluster node has stopped"),
    }
    sender.send_modify(|standing| {
        *standing = Standing {
            role: Role::Stopped,
            leader: None,
            ..*standing
        }
    });
}

fn standing_of(metrics: &RaftServerMetrics<TypeConfig>) -> Standing {
    let role = match metrics.state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    };
    Standing {
        role,
        term: metrics.vote.leader_id.term,
        leader: metrics.current_leader,
    }
}

/// Asks after the other nodes, and sets the gauges.
async fn tick(
    raft: Raft,
    fullness: Fullness,
    shared: Arc<Shared>,
    standing: watch::Receiver<Standing>,
) {
    let mut interval = tokio::time::interval(PING_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = *standing.borrow();
        {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            crate::metrics::standing(now.role, now.term, now.leader);
            crate::metrics::progress(
                metrics.local_committed.map_or(0, |id| id.index + 1),
                *shared.progress.applied.borrow(),
                metrics.last_log_index.map_or(0, |index| index + 1),
            );
        }
        crate::metrics::queues(shared.queue.waited(), shared.queue.submitted());
        if now.role == Role::Leader && fullness.get().is_some() {
            shared.lead_no_longer(&raft).await;
        }
        let peers: Vec<(u64, Peer)> = shared
            .peers()
            .iter()
            .map(|(node, peer)| (*node, peer.clone()))
            .collect();
        for (node, peer) in peers {
            let shared = shared.clone();
            tokio::spawn(async move {
                let asked_us = shared.progress.now_us();
                if let Ok(answer) = peer.ask(serve::ping(), ANSWER_LIMIT).await {
                    let now_us = shared.progress.now_us();
                    let applied = serve::take_index(&answer);
                    if let Some(wall) = serve::take_clock(&answer) {
                        shared
                            .progress
                            .time()
                            .heard(node, wall, now_us - asked_us, now_us);
                    }
                    if let Some(seen) = shared.seen().get_mut(&node) {
                        *seen = Seen {
                            at: Some(Instant::now()),
                            applied,
                            level: serve::take_level(&answer),
                        };
                    }
                }
            });
        }
    }
}

/// Builds a snapshot when the log has grown heavy before it has grown long.
async fn snapshot_when_heavy(raft: Raft, progress: Arc<Progress>) {
    loop {
        progress.heavy.notified().await;
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}
