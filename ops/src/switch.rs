//! What the process lends to this room: the replicated state, a way to change it, and the nodes of the cluster.
//!
//! [`Switch`] is implemented once, by the process. Everything that concerns *another* node goes through
//! [`Switch::ask`] as a [`Query`], which the process carries to that node and has answered there by [`answer`]; so the
//! process needs one message kind for the whole admin API, and a new question needs no new wiring.
//!
//! Questions and answers travel as JSON, for they grow with every release and nodes of two releases run beside each
//! other: a field that one side does not know is not read, one that it misses has its default. A question of a kind that
//! a node does not know is refused there, and the text says so.

use crate::exchange::{OnNode, Trial, Tried, Untried};
use crate::membership::{Change, Member, Progress, Unchanged};
use crate::platform::{Known, PlatformReply, PlatformRequest};
use crate::reconciliation::{ProgressTo, Reconciliation};
use crate::types::Types;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tandem_cluster::command::{CallId, Command, Epoch, Reply};
use tandem_cluster::entity::{Id, Micros, Millis};
use tandem_cluster::level::Level;
use tandem_cluster::state::State;
use tandem_cluster::state::explain::{Explanation, Question};

/// The process, seen from the admin API.
///
/// All methods that return at once must be cheap (no lock held over I/O); all futures must end within the time their
/// comment names, for a person waits for them.
pub trait Switch: Send + Sync + 'static {
    /// This node's access name.
    fn name(&self) -> String;

    /// Wall clock.
    fn now(&self) -> Millis;

    /// The state as applied here, and the index after the last entry in it.
    fn state_at(&self) -> (Arc<State>, u64);

    /// The state as applied here.
    fn state(&self) -> Arc<State> {
        self.state_at().0
    }

    /// Proposes a command and answers when this node has applied it, so that the next [`Switch::state`] shows it.
    /// Ends within 5 s.
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Reply, Unavailable>>;

    /// Waits until this node has applied everything that any node had acknowledged when this was called. False when
    /// it cannot tell, which it knows at once without a quorum, else within 1 s: what it shows then may be old.
    fn current(&self) -> BoxFuture<'_, bool>;

    /// Where this node stands in the consensus.
    fn raft(&self) -> RaftStatus;

    /// This node's counters, as `GET /api/v1/status` shows them.
    fn local(&self) -> NodeStatus;

    /// What `/readyz` asks of this node. Probes come often, so this should cost less than all of [`Switch::local`].
    fn checks(&self) -> Vec<Check> {
        self.local().checks
    }

    /// The types of interfaces that this program speaks.
    fn types(&self) -> &dyn Types;

    /// This node's store of records.
    fn store(&self) -> Arc<tandem_billing::Store>;

    /// Tells a call that lives on this node to end with reason `admin_hangup`. False: no such call here.
    fn hang_up(&self, call: CallId) -> bool;

    /// Writes a snapshot of this node's state and answers the entry it reaches. Ends within 30 s.
    fn snapshot(&self) -> BoxFuture<'_, Result<u64, Failed>>;

    /// Writes a backup of the cluster, with the records of this node if they are wanted, and hands it over as an open
    /// file. One at a time; with millions of records it takes minutes.
    fn backup(&self, records: bool) -> BoxFuture<'_, Result<std::fs::File, Failed>>;

    /// What this node holds behind the mark of a [`Command::Mark`], for which it waits. Ends within 10 s.
    fn marked(&self, mark: u64) -> BoxFuture<'_, Result<Digest, Failed>>;

    /// Puts the state that the raft node `from` keeps under a mark in place of this node's, applies what has been
    /// applied since, and answers the last entry in it. Calls go on meanwhile. Ends within 30 s, and longer for a state
    /// that takes longer to copy.
    fn copy_state(&self, mark: u64, from: u64) -> BoxFuture<'_, Result<u64, Failed>>;

    /// Hands leadership from this node to the raft node `to`. Ends within 5 s.
    fn transfer_leader(&self, to: u64) -> BoxFuture<'_, Result<(), Failed>>;

    /// Changes the members, if this node leads. Ends within 8 s.
    fn change_members_here(&self, change: Change) -> BoxFuture<'_, Result<Progress, Unchanged>>;

    /// Has the leader change the members, whoever that is. Ends within 20 s.
    fn change_members(&self, change: Change) -> BoxFuture<'_, Result<Progress, Unchanged>>;

    /// The tenure this node serves under, which a [`Command::AskAx`] names as the one that asks the platform; `None`
    /// while its access name is not claimed.
    fn epoch(&self) -> Option<Epoch>;

    /// Asks the platform of an interface what it holds for each X number there, and compares that with the state. With
    /// `apply` each difference is looked at a second time and then cleared on the side that is wrong; without, nothing
    /// changes anywhere. `progress` is told after every number.
    ///
    /// Runs on this node, one comparison of an interface at a time, with few requests at once and within the
    /// interface's rate limit: minutes for 10,000 numbers. Dropping the future stops it between two requests.
    ///
    /// # Errors
    /// No such interface, a type that cannot be asked, a platform that serves nobody, or one comparison under way.
    fn reconcile(
        &self,
        interface: Id,
        apply: bool,
        progress: ProgressTo,
    ) -> BoxFuture<'_, Result<Reconciliation, Failed>>;

    /// How an interface does on this node, with its last exchanges if they are wanted; who looks at them is taken to
    /// watch, and for some seconds all are written down.
    fn interface(&self, interface: Id, exchanges: bool) -> OnNode;

    /// Binds and unbinds a spare number of an interface, from this node. Ends within the time it names, and a second.
    /// Dropping the future stops nothing: what was bound is released all the same.
    fn try_interface(&self, trial: Trial) -> BoxFuture<'_, Result<Tried, Untried>>;

    /// Every decision about a call that is not made, by the state as applied here; `None`: no such mapping gateway. Walks
    /// over the numbers of every interface that would be asked.
    fn explain(&self, question: &Question) -> Option<Explanation>;

    /// Whether there is this interface, and whether its type has an address of this name. Asked before anything of a
    /// platform's request is read, so it must cost next to nothing.
    fn platform_known(&self, interface: &str, name: &str) -> Known;

    /// How a request to this address is refused under a status of ours, in the platform's literal form; `None` when
    /// there is no such address.
    fn platform_refusal(&self, interface: &str, name: &str, status: u16) -> Option<PlatformReply>;

    /// Answers a platform's request: proves it by its definition, and tells success only for what every node will
    /// have. Ends within 5 s.
    fn platform_request(&self, request: PlatformRequest) -> BoxFuture<'_, PlatformReply>;

    /// Carries a question to the node with this access name (which may be this one) and has it answered there by
    /// [`answer`]. Ends within 2 s, for [`Query::Status`] within 1 s, for what needs work on a disk or a walk over the
    /// state within 30 s.
    fn ask(&self, node: &str, query: Query) -> BoxFuture<'_, Result<Answer, AskError>>;
}

/// A question or an order to one node, as it travels between nodes. Variants are append-only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Query {
    /// Its counters.
    Status,
    /// Rows and hash of every table at a mark.
    Digest {
        /// The mark.
        mark: u64,
    },
    /// End this call, which lives there.
    HangUp(CallId),
    /// Write a snapshot.
    Snapshot,
    /// Hand leadership to this raft node.
    TransferLeader {
        /// Who leads next.
        to: u64,
    },
    /// How an interface does there.
    Interface {
        /// Which.
        interface: Id,
        /// With its last exchanges.
        exchanges: bool,
    },
    /// Change the members, as their leader.
    ChangeMembers(Change),
    /// Take the state over that another node keeps under a mark.
    CopyState {
        /// The mark.
        mark: u64,
        /// Raft node that has it.
        from: u64,
    },
}

/// What a node answers. Variants are append-only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To `Status`.
    Status(Box<NodeStatus>),
    /// To `Digest`.
    Digest(Digest),
    /// To `HangUp`: whether the call lived there.
    HangUp(bool),
    /// To `Snapshot` (the entry it reaches).
    Snapshot(u64),
    /// To `TransferLeader`.
    Done,
    /// It could not be done; the text says why.
    Failed(String),
    /// To `Interface`.
    Interface(Box<OnNode>),
    /// To `ChangeMembers`.
    Members(Result<Progress, Unchanged>),
    /// To `CopyState`: the last entry in it now.
    Copied(u64),
}

/// Answers a question on the node it concerns. Called by the process for a [`Query`] that came from another node, and
/// by an implementation of [`Switch::ask`] when the node asked is the own one.
pub async fn answer(switch: &dyn Switch, query: Query) -> Answer {
    match query {
        Query::Status => Answer::Status(Box::new(switch.local())),
        Query::Digest { mark } => match switch.marked(mark).await {
            Ok(digest) => Answer::Digest(digest),
            Err(Failed(why)) => Answer::Failed(why),
        },
        Query::CopyState { mark, from } => match switch.copy_state(mark, from).await {
            Ok(upto) => Answer::Copied(upto),
            Err(Failed(why)) => Answer::Failed(why),
        },
        Query::HangUp(call) => Answer::HangUp(switch.hang_up(call)),
        Query::Snapshot => match switch.snapshot().await {
            Ok(upto) => Answer::Snapshot(upto),
            Err(Failed(why)) => Answer::Failed(why),
        },
        Query::Interface {
            interface,
            exchanges,
        } => Answer::Interface(Box::new(switch.interface(interface, exchanges).bounded())),
        Query::ChangeMembers(change) => Answer::Members(switch.change_members_here(change).await),
        Query::TransferLeader { to } => match switch.transfer_leader(to).await {
            Ok(()) => Answer::Done,
            Err(Failed(why)) => Answer::Failed(why),
        },
    }
}

/// No quorum, no leader, or no answer in time: whether the command was applied is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cluster unavailable: {0}")]
pub struct Unavailable(pub String);

/// An action that did not work; the text says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

/// A node could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No device has this access name.
    #[error("no device `{0}`")]
    Unknown(String),
    /// It did not answer in time or the link is down.
    #[error("device `{0}` does not answer")]
    Silent(String),
}

/// Part in the consensus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes entries from a leader.
    #[default]
    Follower,
    /// Orders the entries.
    Leader,
    /// Asks for votes.
    Candidate,
    /// Follows without a vote.
    Learner,
}

impl Role {
    /// The word used in the API.
    pub fn word(self) -> &'static str {
        match self {
            Role::Follower => "follower",
            Role::Leader => "leader",
            Role::Candidate => "candidate",
            Role::Learner => "learner",
        }
    }
}

/// Where a node stands in the consensus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RaftStatus {
    /// Its raft id.
    pub node: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<u64>,
    /// Term.
    pub term: u64,
    /// Its part.
    pub role: Role,
    /// Last entry applied here.
    pub applied: u64,
    /// Raft ids of the voters.
    pub voters: Vec<u64>,
    /// Everyone, learners included.
    pub members: Vec<Member>,
    /// Raft ids of nodes that were removed.
    pub former: Vec<u64>,
    /// The level that the cluster is at.
    pub level: Level,
    /// An operator holds it there.
    pub level_held: bool,
    /// Its links to other machines are not encrypted.
    pub plain_links: bool,
}

/// Counters of one node. The first eight are 0 when it is idle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Calls that live on this node.
    pub calls: u64,
    /// Of these, answered.
    pub answered_calls: u64,
    /// Bindings in the replicated state.
    pub bindings: u64,
    /// X slots held.
    pub x_in_use: u64,
    /// A lines held.
    pub a_in_use: u64,
    /// Timers of calls and bindings that are armed.
    pub timers: u64,
    /// Money reserved by calls.
    pub reserved: Micros,
    /// Records not yet stored by every voter.
    pub outbox: u64,
    /// Last entry applied.
    pub applied: u64,
    /// Hash of the applied state.
    pub state_hash: u64,
    /// Access name.
    pub name: String,
    /// Raft id.
    pub node: u64,
    /// Where its admin API listens.
    pub address: String,
    /// Program version.
    pub version: String,
    /// Since the start of the process.
    pub uptime_secs: u64,
    /// Takes no new calls.
    pub draining: bool,
    /// Where it stands in the consensus.
    pub raft: RaftStatus,
    /// User and system time of the process, milliseconds.
    pub cpu_ms: u64,
    /// Resident memory of the process.
    pub memory_bytes: u64,
    /// What may still be written where its data lies.
    pub disk_free_bytes: u64,
    /// What `/readyz` asks.
    pub checks: Vec<Check>,
    /// More for people, such as listening addresses.
    pub settings: BTreeMap<String, String>,
}

impl NodeStatus {
    /// Whether every check passes.
    pub fn ready(&self) -> bool {
        self.checks.iter().all(|check| check.fault.is_none())
    }
}

/// One question of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is asked, one word: `quorum`, `claim`, `sip`, `store`, `disk`.
    pub name: String,
    /// Why the answer is no.
    pub fault: Option<String>,
}

/// What a node holds, for comparison with another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Digest {
    /// Last entry applied.
    pub applied: u64,
    /// Hash of everything.
    pub state_hash: u64,
    /// Table by table.
    pub tables: Vec<TableDigest>,
    /// What does not follow from the tables although it should: the first difference.
    pub fault: Option<String>,
}

/// One table of a [`Digest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableDigest {
    /// Its name in the API.
    pub table: String,
    /// Rows.
    pub rows: u64,
    /// Of everything in it.
    pub hash: u64,
}

impl Digest {
    /// Of a state that has applied everything up to `applied`. Walks all of it: some 100 ms for 100,000 rows.
    pub fn of(state: &State, applied: u64) -> Digest {
        let tables = state.tables().into_iter().map(|table| TableDigest {
            table: table.table.to_owned(),
            rows: table.rows,
            hash: table.hash,
        });
        Digest {
            applied,
            state_hash: state.hash(),
            tables: tables.collect(),
            fault: state.check_index().err(),
        }
    }

    /// Whether two nodes hold the same.
    pub fn is_like(&self, other: &Digest) -> bool {
        self.tables == other.tables && self.fault.is_some() == other.fault.is_some()
    }
}
