//! Changes of the members, carried to whoever leads.

use std::time::Duration;

use tandem_cluster::handle::{Joining, Member, MemberError, Role};
use tandem_ops::membership::{Change, Progress, Unchanged};
use tandem_ops::switch::{Answer, Query};
use tokio::time::{Instant, sleep};

use crate::core::Core;
use crate::peer;

/// A leader is looked for no longer than this.
const LEADER_WITHIN: Duration = Duration::from_secs(10);
/// Pause before the leader is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Changes the members from this node, which must lead.
pub async fn change(core: &Core, change: Change) -> Result<Progress, Unchanged> {
    let changed = match change {
        Change::Add {
            node,
            address,
            replaces,
        } => {
            let member = Member { id: node, address };
            core.cluster.add_member(member, replaces).await.map(step)
        }
        Change::Remove { node, force } => {
            let removed = core.cluster.remove_member(node, force).await;
            removed.map(|changed| Progress {
                changed,
                ..Progress::default()
            })
        }
        Change::Move { node, address } => {
            let moved = core.cluster.move_member(Member { id: node, address }).await;
            moved.map(|changed| Progress {
                changed,
                ..Progress::default()
            })
        }
    };
    changed.map_err(unchanged)
}

fn step(joining: Joining) -> Progress {
    Progress {
        changed: joining.changed,
        voter: joining.voter,
        holds: joining.holds,
        of: joining.of,
    }
}

fn unchanged(error: MemberError) -> Unchanged {
    let text = error.to_string();
    match error {
        MemberError::NotLeader(leader) => Unchanged::NotLeader(leader),
        MemberError::NoMember(_) => Unchanged::NotFound(text),
        MemberError::Invalid(_) => Unchanged::Invalid(text),
        MemberError::Unknown(_) | MemberError::Failed(_) => Unchanged::Unavailable(text),
        MemberError::Busy
        | MemberError::Used(_)
        | MemberError::Member { .. }
        | MemberError::AddressTaken { .. }
        | MemberError::Full
        | MemberError::Absent { .. }
        | MemberError::NotEmpty(_)
        | MemberError::TooOld { .. }
        | MemberError::Quorum { .. }
        | MemberError::Last(_) => Unchanged::Refused(text),
    }
}

/// Has the leader change the members, and its heir when leadership moves meanwhile.
pub async fn by_leader(core: &Core, change: Change) -> Result<Progress, Unchanged> {
    let until = Instant::now() + LEADER_WITHIN;
    while Instant::now() < until {
        let status = core.cluster.status();
        let outcome = match status.leader {
            _ if status.role == Role::Leader => self::change(core, change.clone()).await,
            None => Err(Unchanged::NotLeader(None)),
            Some(leader) => {
                match peer::query(core, leader, Query::ChangeMembers(change.clone())).await {
                    Some(Answer::Members(outcome)) => outcome,
                    Some(_) => Err(Unchanged::Unavailable("leader answers otherwise".into())),
                    None => Err(Unchanged::Unavailable(format!(
                        "leader, node {leader}, gave no answer: look at the members before you repeat this"
                    ))),
                }
            }
        };
        match outcome {
            Err(Unchanged::NotLeader(_)) => sleep(AGAIN_AFTER).await,
            outcome => return outcome,
        }
    }
    Err(Unchanged::Unavailable("no leader".into()))
}
