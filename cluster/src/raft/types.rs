//! The library's types and how ours turn into them and back.

use crate::wal::record as own;
use bytes::Bytes;
use openraft::impls::BasicNode;
use openraft::type_config::alias::{
    CommittedLeaderIdOf, EntryOf, LogIdOf, StoredMembershipOf, VoteOf,
};
use openraft::{EntryPayload, RaftTypeConfig};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

openraft::declare_raft_types!(
    /// How this cluster uses the library.
    pub(crate) TypeConfig:
        D = Payload,
        R = Replies,
);

/// Commands of one entry, encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payload(pub(crate) Bytes);

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Answers to the commands of one entry, in order, each encoded. Only the proposer's node makes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replies(pub(crate) Vec<Bytes>);

impl fmt::Display for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} replies", self.0.len())
    }
}

pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type Vote = VoteOf<TypeConfig>;
pub(crate) type Entry = EntryOf<TypeConfig>;
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
type LeaderId = <TypeConfig as RaftTypeConfig>::LeaderId;
type Membership = openraft::Membership<u64, BasicNode>;

pub(crate) fn to_log_id(id: &LogId) -> own::LogId {
    own::LogId {
        term: id.leader_id.term,
        node: id.leader_id.node_id,
        index: id.index,
    }
}

pub(crate) fn from_log_id(id: &own::LogId) -> LogId {
    let leader_id: CommittedLeaderIdOf<TypeConfig> = LeaderId {
        term: id.term,
        node_id: id.node,
    };
    LogId {
        leader_id,
        index: id.index,
    }
}

pub(crate) fn to_vote(vote: &Vote) -> own::Vote {
    own::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub(crate) fn from_vote(vote: &own::Vote) -> Vote {
    Vote {
        leader_id: LeaderId {
            term: vote.term,
            node_id: vote.node,
        },
        committed: vote.committed,
    }
}

pub(crate) fn to_membership(membership: &Membership) -> own::Membership {
    own::Membership {
        configs: membership
            .get_joint_config()
            .iter()
            .map(|set| set.iter().copied().collect())
            .collect(),
        nodes: membership
            .nodes()
            .map(|(id, node)| (*id, node.addr.clone()))
            .collect(),
    }
}

pub(crate) fn from_membership(membership: &own::Membership) -> Result<Membership, own::BadRecord> {
    if membership.configs.is_empty() && membership.nodes.is_empty() {
        return Ok(Membership::default());
    }
    let configs: Vec<BTreeSet<u64>> = membership
        .configs
        .iter()
        .map(|set| set.iter().copied().collect())
        .collect();
    let nodes: BTreeMap<u64, BasicNode> = membership
        .nodes
        .iter()
        .map(|(id, address)| (*id, BasicNode::new(address)))
        .collect();
    Membership::new(configs, nodes).map_err(|_| own::BadRecord("membership is not consistent"))
}

pub(crate) fn to_entry(entry: Entry) -> own::Entry {
    let payload = match entry.payload {
        EntryPayload::Blank => own::Payload::Blank,
        EntryPayload::Normal(Payload(bytes)) => own::Payload::Normal(bytes),
        EntryPayload::Membership(membership) => {
            own::Payload::Membership(to_membership(&membership))
        }
    };
    own::Entry {
        id: to_log_id(&entry.log_id),
        payload,
    }
}

pub(crate) fn from_entry(entry: own::Entry) -> Result<Entry, own::BadRecord> {
    let payload = match entry.payload {
        own::Payload::Blank => EntryPayload::Blank,
        own::Payload::Normal(bytes) => EntryPayload::Normal(Payload(bytes)),
        own::Payload::Membership(membership) => {
            EntryPayload::Membership(from_membership(&membership)?)
        }
    };
    Ok(Entry {
        log_id: from_log_id(&entry.id),
        payload,
    })
}

/// The members at some point of the log: the entry that set them, and who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Members {
    /// The entry.
    pub(crate) id: Option<own::LogId>,
    /// They.
    pub(crate) membership: own::Membership,
}

pub(crate) fn to_members(stored: &StoredMembership) -> Members {
    Members {
        id: stored.log_id().as_ref().map(to_log_id),
        membership: to_membership(stored.membership()),
    }
}

pub(crate) fn from_members(members: &Members) -> Result<StoredMembership, own::BadRecord> {
    let id = members.id.as_ref().map(from_log_id);
    Ok(StoredMembership::new(
        id,
        from_membership(&members.membership)?,
    ))
}
