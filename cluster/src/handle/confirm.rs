//! Whether who leads still led when it was asked: what a linearizable read, and a change of members, stand on.
//!
//! The library tells how far a leader has committed, and confirms it by when it sent what its followers have acknowledged
//! since. There it takes the acknowledgement of an entry for one of every message behind it that brings no newer entry,
//! word of a commit for one: of something that was sent after the reader had asked, when the follower had answered before.
//! A leader that was followed by another in between would answer with the past. So each follower is asked here for its
//! vote, when the leader has told its index: one whose vote is no greater by then helped nobody to lead before.

use super::core::Shared;
use super::serve;
use crate::link::ANSWER_LIMIT;
use crate::raft::Raft;
use crate::raft::types::TypeConfig;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::LinearizerOption;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use std::collections::BTreeSet;

/// Term and node of a vote, or of a leader, in the order that rules: who has voted takes no part under a lesser one.
pub(crate) type Rank = (u64, u64);

/// Why a node cannot say that it leads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unconfirmed {
    /// Another does, or stands for it; who, as far as known.
    #[error("this node does not lead")]
    NotLeader(Option<u64>),
    /// Too few answer.
    #[error("no majority confirms that this node leads")]
    NoQuorum,
    /// The consensus has stopped.
    #[error("{0}")]
    Stopped(String),
}

/// The index after the last entry that a reader must have applied who asks now, of this node as the leader: a majority,
/// of both sides in the midst of a change of members, has voted for nobody above it when they are asked after that. Each
/// is waited for as long as for any answer.
pub(crate) async fn read_index(raft: &Raft, shared: &Shared) -> Result<u64, Unconfirmed> {
    // The lease is no proof here, and spares the heartbeats that would be none either.
    let read = raft.get_read_log_id(LinearizerOption::new(None, true));
    let (read, _) = read.await.map_err(unconfirmed)?;
    let leader = read.committed_leader_id();
    still_leads(raft, shared, (leader.term, leader.node_id)).await?;
    Ok(read.index() + 1)
}

fn unconfirmed(error: RaftError<TypeConfig, LinearizableReadError<TypeConfig>>) -> Unconfirmed {
    match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            Unconfirmed::NotLeader(forward.leader_id)
        }
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => Unconfirmed::NoQuorum,
        RaftError::Fatal(error) => Unconfirmed::Stopped(error.to_string()),
    }
}

/// The vote of this node.
pub(crate) async fn voted(raft: &Raft) -> Result<Rank, Unconfirmed> {
    let vote = raft
        .with_raft_state(|state| state.vote_ref().leader_id)
        .await;
    let vote = vote.map_err(|error| Unconfirmed::Stopped(error.to_string()))?;
    Ok((vote.term, vote.node_id))
}

async fn still_leads(raft: &Raft, shared: &Shared, leads: Rank) -> Result<(), Unconfirmed> {
    let own = *raft.node_id();
    let sides: Vec<BTreeSet<u64>> = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership();
        members.get_joint_config().clone()
    };
    let others: BTreeSet<u64> = sides.iter().flatten().copied().collect();
    let others = others.into_iter().filter(|node| *node != own);
    let mut asked: FuturesUnordered<_> = others
        .filter_map(|node| {
            let peer = shared.peer(node)?;
            Some(async move { (node, peer.ask(serve::vote(), ANSWER_LIMIT).await) })
        })
        .collect();
    // Who was voted for has not won yet; whether he has, nobody here can know.
    let not_above = |vote: Rank| match vote > leads {
        true => Err(Unconfirmed::NotLeader(None)),
        false => Ok(()),
    };
    not_above(voted(raft).await?)?;
    let mut behind = BTreeSet::from([own]);
    while !is_majority(&sides, &behind) {
        let Some((node, answer)) = asked.next().await else {
            return Err(Unconfirmed::NoQuorum);
        };
        // Who does not answer may be dead, which says nothing of the others.
        if let Some(vote) = answer.ok().and_then(|answer| serve::take_vote(&answer)) {
            not_above(vote)?;
            behind.insert(node);
        }
    }
    Ok(())
}

/// Whether these are more than half of each side.
fn is_majority(sides: &[BTreeSet<u64>], nodes: &BTreeSet<u64>) -> bool {
    let most = |side: &BTreeSet<u64>| side.intersection(nodes).count() * 2 > side.len();
    sides.iter().all(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_one_of_each_side() {
        let of = |nodes: &[u64]| nodes.iter().copied().collect::<BTreeSet<u64>>();
        let three = [of(&[1, 2, 3])];
        let joint = [of(&[1, 2, 3]), of(&[1, 4, 5])];
        for (sides, nodes, is) in [
            (&three[..], &[1][..], false),
            (&three, &[1, 3], true),
            (&three, &[1, 4, 5], false),
            (&joint, &[1, 2], false),
            (&joint, &[1, 2, 3], false),
            (&joint, &[1, 2, 5], true),
            (&[of(&[1])], &[1], true),
        ] {
            assert_eq!(is_majority(sides, &of(nodes)), is, "{nodes:?} of {sides:?}");
        }
    }
}
