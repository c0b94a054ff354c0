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
mod config;
mod confirm;
mod core;
mod driver;
mod effects;
mod errors;
mod levels;
mod members;
mod proposer;
mod restore;
pub(crate) mod serve;
mod status;

pub use self::config::{Config, Member, Snapshots, Timings, wall_clock};
pub use self::core::{Handler, Standing};
pub use self::driver::Machine;
pub use self::effects::{Applied, EffectReceiver};
pub use self::errors::{ProposeError, RestoreError, StartError};
pub use self::members::{Joining, MemberError};
pub use self::restore::restore;
pub use self::status::{MemberStatus, Role, Status};

use self::board::Board;
use self::core::Core;
use crate::codec;
use crate::command::Biller;
use crate::level::{FIRST, Level};
use crate::link::RequestError;
use crate::state::State;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

/// How old a state may be that readers get.
const FRESH: Duration = Duration::from_millis(5);

/// A node of the switch's cluster.
pub type Cluster = Handle<State>;

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
