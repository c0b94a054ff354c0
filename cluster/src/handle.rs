//! A node of the cluster as the rest of the process sees it.
//!
//! [`Handle::start`] opens the data directory, listens for the other nodes and joins them, all on a runtime of its
//! own, so that no load elsewhere in the process delays a heartbeat. From then on: commands in by
//! [`propose`](Handle::propose) and [`submit`](Handle::submit), the state of the moment by [`state`](Handle::state),
//! what applied entries ask nodes to do by [`effects`](Handle::effects).
//!
//! A command is proposed again, with the same bytes, until its outcome is certain: the state sees to it that a repeat
//! changes nothing. Only the leader stamps entries with time and seed; other nodes forward their commands to it.

mod board;
mod core;
mod driver;
mod effects;
mod levels;
mod members;
mod proposer;
mod restore;
pub(crate) mod serve;

pub use self::core::{Handler, Standing};
pub use self::driver::Machine;
pub use self::effects::{Applied, EffectReceiver};
pub use self::members::{Joining, MemberError};
pub use self::restore::restore;

use self::board::Board;
use self::core::Core;
use crate::codec::{self, CodecError};
use crate::command::Biller;
use crate::level::{FIRST, Level, Levels, SPOKEN, TooNew};
use crate::link::{AnyNet, Files, RequestError, TlsError};
use crate::state::State;
use crate::wal::{AnyDisk, Settings, WalError};
use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// How old a state may be that readers get.
const FRESH: Duration = Duration::from_millis(5);

/// A node of the switch's cluster.
pub type Cluster = Handle<State>;

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id: never given to another machine, nor to the same one with an empty disk.
    pub id: u64,
    /// Where its links are reached, `host:port`. A name rather than a number survives a move.
    pub address: String,
}

impl Member {
    /// Refuses what cannot be an id or an address.
    pub fn check(id: u64, address: &str) -> Result<(), MemberError> {
        members::check(id, address)
    }
}

/// How a node takes part.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's id, one of `members`.
    pub node_id: u64,
    /// Nodes that name another cluster are rejected.
    pub cluster_id: String,
    /// Holds log and snapshots. Locked while the node runs.
    pub data_dir: PathBuf,
    /// Where to listen for the other nodes.
    pub listen: SocketAddr,
    /// All voters, this node included, alike on every node. Read when the cluster is made; later changes travel in
    /// the log, and a member's address there goes before the one here.
    pub members: Vec<Member>,
    /// This node never begins a cluster: it waits to be added to one that exists. `members` may then be empty.
    pub join: bool,
    /// Certificates for the links between nodes; `None` leaves them in the clear.
    pub tls: Option<Files>,
    /// The highest [level](crate::level) that this node speaks: [`SPOKEN`], or less to rehearse an upgrade.
    pub level_max: Level,
    /// How long every member must have spoken a level before the cluster is raised to it.
    pub level_settled: Duration,
    /// When elections happen.
    pub timings: Timings,
    /// When snapshots happen.
    pub snapshots: Snapshots,
    /// Threads of the node's runtime, 1 or 2.
    pub workers: usize,
    /// How long a submitted command may wait for company before it is proposed alone.
    pub linger: Duration,
    /// Entries a second beyond which the leader lets commands gather, 10 and more. At 200 a busy leader adds up to
    /// 5 ms to a commit; up to some 100 calls a second, and for a burst of 32 entries, next to nothing is delayed.
    /// Measured with 500 calls/s of five commands: 0.94 ms CPU a call over three nodes without a pace, 0.69 at 300,
    /// 0.46 at 100.
    pub entries_per_s: u32,
    /// Where log and snapshots lie: this machine's disk, but in tests of bad disks and in simulations.
    pub disk: AnyDisk,
    /// Sizes of the log's files.
    pub log: Settings,
    /// What links are made over: this machine's network, but in simulations, which have no `tls`.
    pub net: AnyNet,
    /// This machine's clock, milliseconds since 1970: [`wall_clock`], but in tests of wrong clocks and in simulations.
    pub wall: fn() -> u64,
    /// The node has no runtime and no thread of its own: everything it does, the log's writing too, is tasks of the
    /// runtime that it is started on, and ends with that. For simulations, on a runtime of one thread.
    pub in_place: bool,
}

/// The machine's clock, milliseconds since 1970.
pub fn wall_clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

impl Config {
    /// A node with the defaults of everything that has one.
    pub fn new(
        node_id: u64,
        cluster_id: impl Into<String>,
        data_dir: impl Into<PathBuf>,
        listen: SocketAddr,
        members: Vec<Member>,
    ) -> Self {
        Config {
            node_id,
            cluster_id: cluster_id.into(),
            data_dir: data_dir.into(),
            listen,
            members,
            join: false,
            tls: None,
            level_max: SPOKEN,
            level_settled: Duration::from_secs(10),
            timings: Timings::default(),
            snapshots: Snapshots::default(),
            workers: 1,
            linger: Duration::from_millis(20),
            entries_per_s: 200,
            disk: AnyDisk::default(),
            log: Settings::default(),
            net: AnyNet::default(),
            wall: wall_clock,
            in_place: false,
        }
    }

    fn check(&self) -> Result<(), StartError> {
        let bad = |what: String| Err(StartError::Config(what));
        if self.cluster_id.is_empty() || self.cluster_id.len() > 64 {
            return bad("cluster id must have 1 to 64 bytes".into());
        }
        if !self.join && !self.members.iter().any(|member| member.id == self.node_id) {
            return bad(format!("node {} is not among the members", self.node_id));
        }
        for (at, member) in self.members.iter().enumerate() {
            if self.members[..at].iter().any(|other| other.id == member.id) {
                return bad(format!("member {} is listed twice", member.id));
            }
            if self.members[..at]
                .iter()
                .any(|other| other.address == member.address)
            {
                return bad(format!("address `{}` is listed twice", member.address));
            }
        }
        for member in &self.members {
            if let Err(error) = Member::check(member.id, &member.address) {
                return bad(error.to_string());
            }
        }
        if self.tls.is_some() && self.net.0.is_some() {
            return bad("links of a simulation are in the clear".into());
        }
        if !(FIRST..=SPOKEN).contains(&self.level_max) {
            return bad(format!("level_max must lie between {FIRST} and {SPOKEN}"));
        }
        if self.entries_per_s < 10 {
            return bad("entries_per_s must be 10 or more".into());
        }
        let Timings {
            heartbeat,
            election_min,
            election_max,
        } = self.timings;
        if heartbeat.is_zero() || heartbeat * 2 > election_min || election_min >= election_max {
            return bad("timings must satisfy 2 x heartbeat <= election_min < election_max".into());
        }
        Ok(())
    }
}

/// When a silent leader is replaced. A new leader stands about `election_max` plus a random part between the two
/// after the last word of the old one; at most twice `election_max` and a round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Interval of the leader's word.
    pub heartbeat: Duration,
    /// Least random wait.
    pub election_min: Duration,
    /// Most random wait, and the time a leader is trusted without a word.
    pub election_max: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Timings {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(300),
        }
    }
}

/// When the log is replaced by a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshots {
    /// After this many entries.
    pub entries: u64,
    /// Or this many bytes of them.
    pub bytes: u64,
    /// Entries kept behind a snapshot, so that a node that was away for a short time catches up from the log.
    pub keep: u64,
}

impl Default for Snapshots {
    fn default() -> Self {
        Snapshots {
            entries: 50_000,
            bytes: 64 << 20,
            keep: 20_000,
        }
    }
}

/// Why a node did not start. One line each, naming the culprit.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not fit together.
    #[error("cluster configuration: {0}")]
    Config(String),
    /// The data directory or what lies in it.
    #[error(transparent)]
    Log(#[from] WalError),
    /// The address is taken or not ours.
    #[error("cannot listen for nodes on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The data directory is one of a newer release. Nothing in it was changed.
    #[error(transparent)]
    TooNew(#[from] TooNew),
    /// The certificates for links.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The others do not take this node, and only an operator can change that.
    #[error("{0}")]
    Expelled(String),
    /// The state could not be brought back from snapshot and log.
    #[error("state cannot be restored: {0}")]
    Restore(String),
    /// The operating system gave no threads.
    #[error("runtime of the cluster cannot be made")]
    Runtime(#[source] io::Error),
}

impl StartError {
    /// What lies in the data directory does not let this node start: starting again will not help.
    pub fn is_for_good(&self) -> bool {
        match self {
            StartError::Restore(_) | StartError::TooNew(_) => true,
            StartError::Log(error) => !matches!(error, WalError::Disk(_)) || error.is_damage(),
            _ => false,
        }
    }
}

/// Why a proposal has no reply.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// No answer within the limit: the command may still be applied later, or never.
    #[error("outcome of the command is not known after {0:?}")]
    Unknown(Duration),
    /// Too many commands wait already; this one was not taken.
    #[error("{0} commands wait to be committed, no more are taken")]
    Overloaded(usize),
    /// The cluster is not yet at the level that the command came with; it was not taken.
    #[error(
        "command is of level {needs}, the cluster is at level {active} until every node is upgraded"
    )]
    Level {
        /// The command's level.
        needs: Level,
        /// The cluster's.
        active: Level,
    },
    /// The command is larger than 1 MB; it was not taken.
    #[error("command of {0} bytes is too large")]
    TooLarge(usize),
    /// The node is stopping or has failed.
    #[error("cluster node has stopped")]
    Stopped,
    /// The command has no encoding, or the reply none that we can read.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Why another node's state was not put in place.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The bytes are no state.
    #[error("copied state cannot be read")]
    Codec(#[from] CodecError),
    /// What was applied behind it cannot be applied to it; nothing has changed.
    #[error("copied state is of no use: {0}")]
    Replay(String),
    /// The node is stopping or has failed.
    #[error("cluster node has stopped")]
    Stopped,
}

/// What a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Orders the log.
    Leader,
    /// Follows a leader.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Follows without a vote.
    #[default]
    Learner,
    /// Does nothing any more; see [`Status::stopped`].
    Stopped,
}

impl Role {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Learner => "learner",
            Role::Stopped => "stopped",
        }
    }
}

/// A member as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its id.
    pub node: u64,
    /// Its address.
    pub address: String,
    /// It votes.
    pub voter: bool,
    /// It is this node, or said something within the last second and a half.
    pub alive: bool,
    /// Entries it had applied when it last said so: the index after the last one.
    pub applied: Option<u64>,
    /// The highest level that it spoke when it last said so.
    pub level: Option<Level>,
}

/// A node and its view of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node: u64,
    /// What it is.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// The leader it follows.
    pub leader: Option<u64>,
    /// Index after the last entry applied here; 0 when there is none.
    pub applied: u64,
    /// Index after the last entry known here to be committed.
    pub committed: u64,
    /// Index after the last entry in the log here.
    pub last_log: u64,
    /// Index after the last entry in the newest snapshot here.
    pub snapshot: u64,
    /// Everyone; nobody before this node has heard of its cluster.
    pub members: Vec<MemberStatus>,
    /// Where the cluster's level stands, as of the last entry applied here.
    pub levels: Levels,
    /// Nodes that were members once. Their ids are not given again.
    pub former: Vec<u64>,
    /// There is a leader, and a majority of the voters is alive as far as this node sees.
    pub quorum: bool,
    /// Why the node stopped, if it did.
    pub stopped: Option<String>,
    /// Why the log cannot be written just now: the disk is full. Nothing that was acknowledged is in danger, and the log
    /// goes on by itself when there is room. Until then this node leads no longer than it must, and should take no
    /// calls.
    pub disk_full: Option<String>,
}

/// A running node. Clones share it; it stops with the last one.
pub struct Handle<M: Machine> {
    core: Arc<Core>,
    board: Arc<Board<M>>,
    effects: Arc<effects::Outlet<M::Effect>>,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Handle {
            core: self.core.clone(),
            board: self.board.clone(),
            effects: self.effects.clone(),
        }
    }
}

impl Cluster {
    /// Starts the switch's node: brings the state back from disk, listens, and joins the other members, making the
    /// cluster if it does not exist yet. Starting again, or starting all nodes at once, is safe: a cluster that
    /// exists is left as it is.
    ///
    /// Returns when the state is back as far as this disk knows; [`caught_up`](Handle::caught_up) tells when it is
    /// current.
    pub async fn start(config: Config, biller: Arc<dyn Biller>) -> Result<Cluster, StartError> {
        Handle::open(config, biller).await
    }
}

impl<M: Machine> Handle<M> {
    /// Starts a node for any state; `context` is lent to each application.
    pub async fn open(config: Config, context: Arc<M::Context>) -> Result<Self, StartError> {
        config.check()?;
        let board = Arc::new(Board::new(M::initial()));
        let (driver, effects) = driver::pair(context, board.clone());
        let dialect = levels::Dialect::of::<M>();
        let core = Core::start(config, Box::new(driver), effects.live(), dialect).await?;
        Ok(Handle {
            core: Arc::new(core),
            board,
            effects: Arc::new(effects),
        })
    }

    /// This node's id.
    pub fn node_id(&self) -> u64 {
        self.core.node
    }

    /// Where this node listens for the others: the configured address, its port filled in when that was 0.
    pub fn listen_address(&self) -> SocketAddr {
        self.core.address
    }

    /// The state as of 5 ms ago or later. Never older than what this node was told: the entry of effects received,
    /// the index waited for in [`state_at_least`](Handle::state_at_least) and [`caught_up`](Handle::caught_up), the
    /// progress seen in [`status`](Handle::status). A reply to a proposal does not count, for another node may have
    /// given it: who proposes and then reads asks for the proposal's index.
    ///
    /// Costs a few nanoseconds, or a clone when the last one is 5 ms old; holds that state as long as it is kept.
    pub fn state(&self) -> Arc<M> {
        self.state_within(FRESH)
    }

    /// Like [`state`](Handle::state), as of `age` ago or later: for what changes by operators' hands alone. Edits make
    /// effects, so while effects are received an edit is seen at once all the same.
    pub fn state_within(&self, age: Duration) -> Arc<M> {
        self.board.within(age)
    }

    /// The state with every entry applied here so far, and the index after the last of them: for people, who compare
    /// what nodes show. Each call may cost a clone and waits for a batch that is just being applied, so it is not for
    /// what calls read.
    pub fn state_now(&self) -> (Arc<M>, u64) {
        self.board.latest()
    }

    /// Waits until this node has applied the entry `index`, so that a client reads what it wrote.
    pub async fn state_at_least(
        &self,
        index: u64,
        limit: Duration,
    ) -> Result<Arc<M>, ProposeError> {
        self.core.applied_beyond(index, limit).await?;
        self.board.show_upto(index.saturating_add(1));
        Ok(self.state())
    }

    /// Waits until the state is as `wanted` says, looked at whenever entries have been applied here, and answers that
    /// state. Costs a clone of the state each time, so it is for the wait of the moment.
    pub async fn state_when(
        &self,
        limit: Duration,
        wanted: impl Fn(&M) -> bool,
    ) -> Result<Arc<M>, ProposeError> {
        let look = || {
            let (state, _) = self.board.latest();
            wanted(&state).then_some(state)
        };
        self.core.when_applied(limit, look).await
    }

    /// Proposes a command and waits until it has been applied, however long that takes.
    pub async fn propose(&self, command: M::Command) -> Result<M::Reply, ProposeError> {
        Ok(self.propose_indexed(command).await?.1)
    }

    /// Like [`propose`](Handle::propose), with the index of the entry for [`state_at_least`](Handle::state_at_least).
    pub async fn propose_indexed(
        &self,
        command: M::Command,
    ) -> Result<(u64, M::Reply), ProposeError> {
        let (index, reply) = self.core.propose(self.encode(&command)?).await?;
        Ok((index, codec::decode(&reply)?))
    }

    /// Proposes a command and waits for at most `limit`. After [`ProposeError::Unknown`] the command may still be
    /// applied: propose the same one again, or one that undoes it.
    pub async fn propose_within(
        &self,
        command: M::Command,
        limit: Duration,
    ) -> Result<M::Reply, ProposeError> {
        timeout(limit, self.propose(command))
            .await
            .unwrap_or(Err(ProposeError::Unknown(limit)))
    }

    /// Hands over a command nobody waits for. It is kept, in order among this node's submitted commands, and proposed
    /// until it is committed; it may wait a few milliseconds to ride in an entry with others. Kept in memory only: a
    /// process that dies takes what was not committed with it.
    ///
    /// Returns false, and counts it, when a million of them wait or the node has stopped: then it was not taken.
    pub fn submit(&self, command: M::Command) -> bool {
        match self.encode(&command) {
            Ok(bytes) => self.core.submit(bytes),
            Err(error) => {
                tracing::error!(%error, "submitted command cannot be proposed");
                false
            }
        }
    }

    /// A command's bytes, if the cluster is at its level.
    fn encode(&self, command: &M::Command) -> Result<Bytes, ProposeError> {
        let bytes = codec::encode(command)?;
        match M::needs(&bytes) {
            FIRST => Ok(bytes.into()),
            needs => match self.level() {
                active if needs > active => Err(ProposeError::Level { needs, active }),
                _ => Ok(bytes.into()),
            },
        }
    }

    /// The [level](crate::level) of the cluster, as of the last entry applied here: what came with a higher one must
    /// not be proposed, and is refused with [`ProposeError::Level`].
    pub fn level(&self) -> Level {
        self.core.shared.progress.levels.borrow().active
    }

    /// The highest level that this node speaks.
    pub fn spoken(&self) -> Level {
        self.core.shared.progress.spoken
    }

    /// The log's time now, milliseconds since 1970: what an entry would be stamped with. Leases and deadlines of the
    /// state are meant in it. Runs on between entries; alike on all nodes but for what an entry takes to come, and
    /// behind while this node is catching up. `None` before this process has seen an entry.
    pub fn log_time(&self) -> Option<u64> {
        self.core.log_time()
    }

    /// Submitted commands that are not committed yet.
    pub fn submitted(&self) -> usize {
        self.core.queue.submitted()
    }

    /// What entries applied after the restart's replay ask nodes to do, in order. One receiver: the first call gets
    /// it, later ones `None`.
    ///
    /// Nothing is lost: a receiver that falls 4,096 entries behind makes this node apply more slowly, so whoever
    /// receives must not wait for a proposal in between. Until the first call, entries beyond that number are dropped.
    pub fn effects(&self) -> Option<EffectReceiver<M::Effect>> {
        self.effects.take()
    }

    /// The node and its view of the cluster.
    pub fn status(&self) -> Status {
        let status = self.core.status();
        self.board.show_upto(status.applied);
        status
    }

    /// Changes of role, term and leader.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.core.standing.clone()
    }

    /// Waits until this node has applied everything that was committed anywhere before the call: a barrier for
    /// linearizable reads of [`state`](Handle::state). Returns the index after the last entry it waited for.
    pub async fn caught_up(&self, limit: Duration) -> Result<u64, ProposeError> {
        let deadline = Instant::now() + limit;
        loop {
            match timeout_at(deadline, self.core.read_index()).await {
                Err(_) => return Err(ProposeError::Unknown(limit)),
                Ok(Some(index)) => {
                    if let Some(last) = index.checked_sub(1) {
                        self.core
                            .applied_beyond(
                                last,
                                deadline.saturating_duration_since(Instant::now()),
                            )
                            .await?;
                    }
                    self.board.show_upto(index);
                    return Ok(index);
                }
                Ok(None) if self.core.standing.borrow().role == Role::Stopped => {
                    return Err(ProposeError::Stopped);
                }
                Ok(None) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Asks another node something small; its handler answers. At most 1 MB each way, within `limit`.
    pub async fn peer_request(
        &self,
        node: u64,
        question: Bytes,
        limit: Duration,
    ) -> Result<Bytes, RequestError> {
        self.core.peer_request(node, question, limit).await
    }

    /// Sets what answers other nodes' questions. At most 64 are answered at once for each node.
    pub fn on_peer_request(&self, handler: Handler) {
        self.core.set_handler(handler);
    }

    /// The state as every node has it behind the entry of a mark ([`Machine::mark`]), and the index after that entry.
    /// Waits for it for at most `limit`. It is kept until two more marks have been applied, or
    /// [`forget_marks`](Handle::forget_marks).
    pub async fn marked(&self, id: u64, limit: Duration) -> Result<(Arc<M>, u64), ProposeError> {
        self.core
            .when_applied(limit, || self.board.marked(id))
            .await
    }

    /// Lets go of marked states kept for longer than `age`: each costs the memory of what has changed since.
    pub fn forget_marks(&self, age: Duration) {
        self.board.forget_marks(age);
    }

    /// Puts a state that another node encoded ([`codec::encode`] of what [`marked`](Handle::marked) gave there) in
    /// place of this node's, which was found to differ: `upto` is the index after the last entry in it. Entries applied
    /// here since are applied to it from the own log, so that no entry is missed and nothing is done twice; then
    /// readers see it. Log, vote and membership stay as they are, so to the consensus nothing has happened and no
    /// promise of this node is broken. Answers the index after the last entry applied.
    ///
    /// The newest snapshot of this node may still hold the damage: build one at once
    /// ([`trigger_snapshot`](Handle::trigger_snapshot)) that reaches behind the answered index.
    pub async fn restore(&self, state: Bytes, upto: u64) -> Result<u64, RestoreError> {
        let decode = move || codec::decode::<M>(&state);
        let state = match self.core.in_place {
            true => decode()?,
            false => {
                let decoded = tokio::task::spawn_blocking(decode).await;
                decoded.map_err(|_| RestoreError::Stopped)??
            }
        };
        self.core.put_in_place(Box::new(state), upto).await
    }

    /// Builds a snapshot now and trims the log behind it; returns once that has begun.
    pub async fn trigger_snapshot(&self) -> Result<(), ProposeError> {
        self.core
            .raft
            .trigger()
            .snapshot()
            .await
            .map_err(|_| ProposeError::Stopped)
    }

    /// Why this node may take part no longer, once it is known: it was removed, or its data directory is not the one
    /// it joined with. Whoever runs it stops it then.
    pub fn expelled(&self) -> watch::Receiver<Option<String>> {
        self.core.shared.roster.expelled()
    }

    /// One step of adding a node, on the leader: it becomes a learner, and once it has caught up a voter. Repeat it
    /// until [`Joining::voter`]; a repeat of what is done changes nothing. With `replaces` that node leaves in the same
    /// change in which the new one gets its vote.
    ///
    /// Ends within 6 s; after [`MemberError::Unknown`] it may still happen.
    pub async fn add_member(
        &self,
        member: Member,
        replaces: Option<u64>,
    ) -> Result<Joining, MemberError> {
        self.core.add_member(member, replaces).await
    }

    /// Takes a node out of the cluster, on the leader; asked to remove itself, the leader hands leadership over first
    /// and names its heir in [`MemberError::NotLeader`]. Refused when those who stay would have no majority of living
    /// nodes, unless by `force`. The id is never given again. Answers false when it was out before.
    ///
    /// Ends within 6 s; after [`MemberError::Unknown`] it may still happen.
    pub async fn remove_member(&self, node: u64, force: bool) -> Result<bool, MemberError> {
        self.core.remove_member(node, force).await
    }

    /// Gives a member another address, on the leader; a leader that is to be moved itself hands leadership over first.
    /// The node must answer there already, as that member and with the data directory it joined with. Answers false when
    /// it had that address before.
    ///
    /// Ends within 8 s; after [`MemberError::Unknown`] it may still happen.
    pub async fn move_member(&self, member: Member) -> Result<bool, MemberError> {
        self.core.move_member(member).await
    }

    /// Hands leadership to another node, if this one has it. Returns once that has begun; watch
    /// [`standing`](Handle::standing) for the outcome.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), ProposeError> {
        self.core
            .raft
            .trigger()
            .transfer_leader(to)
            .await
            .map_err(|_| ProposeError::Stopped)
    }

    /// Stops in order: submitted commands are committed (for at most two seconds), leadership is handed over, the log
    /// is closed.
    pub async fn shutdown(&self) {
        self.core.shutdown().await;
    }

    /// Stops at once, as a crash would, except that the operating system keeps what was written. A node that runs in
    /// place takes nothing more, and ends with its runtime.
    pub fn kill(&self) {
        self.core.kill();
    }
}
