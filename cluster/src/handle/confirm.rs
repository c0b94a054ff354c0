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
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver;
use std::collections::BTreeSet;

/// Term and node of a vote, or of a leader, in the order that rules: who has voted takes no part under a lesser one.
pub(crate) type Rank = (u64, u64);

/// The index after the last entry that a reader must have applied who asks now, of this node as the leader. The reason if
/// it does not lead, or no majority says so.
pub(crate) async fn read_index(raft: &Raft, shared: &Shared) -> Result<u64, String> {
    let read = raft.get_read_log_id(ReadPolicy::LeaseRead).await;
    let (read, _) = read.map_err(|error| error.to_string())?;
    let leader = read.committed_leader_id();
    still_leads(raft, shared, (leader.term, leader.node_id)).await?;
    Ok(read.index() + 1)
}

/// The vote of this node.
pub(crate) async fn voted(raft: &Raft) -> Result<Rank, String> {
    let vote = raft
        .with_raft_state(|state| state.vote_ref().leader_id)
        .await;
    let vote = vote.map_err(|error| error.to_string())?;
    Ok((vote.term, vote.node_id))
}

/// Whether a majority, of both sides in the midst of a change of members, has voted for nobody above this node as the
/// leader of that rank. Each is asked now, and waited for as long as for any answer.
pub(crate) async fn still_leads(raft: &Raft, shared: &Shared, leads: Rank) -> Result<(), String> {
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
    let deposed = |vote: Rank| match vote > leads {
        true => Err("another leader was elected".to_owned()),
        false => Ok(()),
    };
    deposed(voted(raft).await?)?;
    let mut behind = BTreeSet::from([own]);
    while !is_majority(&sides, &behind) {
        let Some((node, answer)) = asked.next().await else {
            return Err("no majority confirms this leader".to_owned());
        };
        // Who does not answer may be dead, which says nothing of the others.
        if let Some(vote) = answer.ok().and_then(|answer| serve::take_vote(&answer)) {
            deposed(vote)?;
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
