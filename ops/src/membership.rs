//! Who belongs to the cluster, as the admin API changes it.

use serde::{Deserialize, Serialize};
use tandem_cluster::level::Level;

/// A member of the consensus as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// Its raft id.
    pub node: u64,
    /// Where its links are reached, `host:port`.
    pub address: String,
    /// It votes; one that does not is catching up.
    pub voter: bool,
    /// It said something of late.
    pub alive: bool,
    /// Entries that it had applied when it last said so.
    pub applied: Option<u64>,
    /// The highest level that it spoke when it last said so.
    pub level: Option<Level>,
}

/// What an operator wants of the members. Variants are append-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// One step of adding a node: a learner first, a voter once it has caught up.
    Add {
        /// Its raft id, never used before.
        node: u64,
        /// Where its links are reached, `host:port`.
        address: String,
        /// The node that leaves when this one gets its vote.
        replaces: Option<u64>,
    },
    /// A node leaves for good.
    Remove {
        /// Which.
        node: u64,
        /// Whatever becomes of the quorum.
        force: bool,
    },
    /// A node that answers at another address already is reached there from now on.
    Move {
        /// Which.
        node: u64,
        /// Where its links are reached now, `host:port`.
        address: String,
    },
}

/// How far a change is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Something was changed just now; a repeat of what is done changes nothing.
    pub changed: bool,
    /// The node has its vote.
    pub voter: bool,
    /// Entries that it holds.
    pub holds: u64,
    /// Entries that there are.
    pub of: u64,
}

/// Why the members were not changed. Variants are append-only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Unchanged {
    /// Another node leads.
    #[error("this node does not lead")]
    NotLeader(Option<u64>),
    /// No such member.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be an id or an address.
    #[error("{0}")]
    Invalid(String),
    /// It must not be, or not now.
    #[error("{0}")]
    Refused(String),
    /// No leader, no quorum, or no answer in time: the outcome is not known.
    #[error("{0}")]
    Unavailable(String),
}
