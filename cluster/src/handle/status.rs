//! A node's view of itself and of the cluster.

use crate::level::{Level, Levels};

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
    /// Index of the first entry that the log here still has: those before it are in the snapshot only.
    pub first_log: u64,
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
