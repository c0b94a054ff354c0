//! Who belongs to the cluster: nodes come as learners, get a vote once they have caught up, and go.
//!
//! Each change is one entry, or two by way of a joint majority of old and new voters. A leader that dies between the
//! two leaves the rest to the next one ([`finish_changes`]).

use super::confirm::{self, Unconfirmed};
use super::core::{Core, Standing};
use super::{Member, Role, serve};
use crate::level::Level;
use crate::link::{ANSWER_LIMIT, Channel, Dialer, LinkError, Peer, RequestError};
use crate::raft::Raft;
use crate::raft::types::{LogId, TypeConfig};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::impls::BasicNode;
use openraft::raft::Precondition;
use openraft::{ChangeMembers, RaftMetrics};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Members, learners included.
const MEMBERS_MAX: usize = 15;
/// Bytes of an address.
const ADDRESS_MAX: usize = 261;
/// Both entries of a change must be committed within this.
const CHANGE_LIMIT: Duration = Duration::from_secs(5);
/// So many entries behind, a learner counts as caught up: a busy leader is never quite reached.
const CAUGHT_UP: u64 = 200;
/// The last change is waited for so long before another one is refused: its answer may be ahead of the news of it.
const SETTLED_LIMIT: Duration = Duration::from_millis(200);
/// A majority must confirm within this that this node leads.
const CONFIRM_LIMIT: Duration = Duration::from_secs(1);
/// It is asked again after this.
const CONFIRM_PAUSE: Duration = Duration::from_millis(20);
/// A change that stands half done for so long is finished by the leader.
const FINISH_AFTER: Duration = Duration::from_secs(2);

/// How far a node is that is being added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// This step changed something.
    pub changed: bool,
    /// It has its vote: the adding is done.
    pub voter: bool,
    /// Entries that it holds.
    pub holds: u64,
    /// Entries that there are.
    pub of: u64,
}

/// Why the members were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Only the leader changes members; this is who leads, as far as known.
    #[error("this node does not lead")]
    NotLeader(Option<u64>),
    /// The outcome is not known: no majority answered in time.
    #[error("no quorum has confirmed the change after {0:?}")]
    Unknown(Duration),
    /// Another change is not finished.
    #[error("another change of the members is under way")]
    Busy,
    /// There is no such member.
    #[error("node {0} is no member of the cluster")]
    NoMember(u64),
    /// An id is given once.
    #[error("node {0} was a member once: an id is never given again, take a new one")]
    Used(u64),
    /// The same id with another address.
    #[error("node {node} is a member already, at `{address}`")]
    Member {
        /// Which.
        node: u64,
        /// Where.
        address: String,
    },
    /// Another node's address.
    #[error("address `{address}` is that of node {node}")]
    AddressTaken {
        /// Whose.
        node: u64,
        /// The address.
        address: String,
    },
    /// It cannot be an id or an address.
    #[error("{0}")]
    Invalid(String),
    /// As many as there may be.
    #[error("the cluster has {MEMBERS_MAX} members, no more are taken")]
    Full,
    /// The node does not answer there, or not as this node of this cluster.
    #[error("node {node} does not answer at `{address}`: {reason}")]
    Absent {
        /// Which.
        node: u64,
        /// Where.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The node runs a release that is too old.
    #[error(
        "node {node} speaks level {level}, the cluster is at level {active}: run a newer release on it"
    )]
    TooOld {
        /// Which.
        node: u64,
        /// What it speaks.
        level: Level,
        /// What the cluster is at.
        active: Level,
    },
    /// The node has a log that is not this cluster's.
    #[error("node {0} holds a log already: let it join with an empty data directory and a new id")]
    NotEmpty(u64),
    /// A majority of those who stay must be alive.
    #[error(
        "without node {node} only {alive} of {voters} voters would be alive, which is no quorum"
    )]
    Quorum {
        /// Who was to go.
        node: u64,
        /// Living voters that stay.
        alive: usize,
        /// Voters that stay.
        voters: usize,
    },
    /// Somebody must stay.
    #[error("node {0} is the only voter")]
    Last(u64),
    /// The consensus has stopped or refuses.
    #[error("{0}")]
    Failed(String),
}

pub(super) fn check(id: u64, address: &str) -> Result<(), MemberError> {
    let invalid = |what: String| Err(MemberError::Invalid(what));
    if !(1..=u64::from(u32::MAX)).contains(&id) {
        return invalid("node id must lie between 1 and 4294967295".into());
    }
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty());
    let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    match port.is_some_and(|port| port > 0) && address.len() <= ADDRESS_MAX {
        true if address.chars().all(plain) => Ok(()),
        _ => invalid(format!(
            "address `{}` is not host:port",
            address.escape_debug().take(80).collect::<String>()
        )),
    }
}

/// Refuses an address that a member has.
fn check_free(view: &View, address: &str) -> Result<(), MemberError> {
    match view.nodes.iter().find(|(_, known)| *known == address) {
        None => Ok(()),
        Some((node, _)) => Err(MemberError::AddressTaken {
            node: *node,
            address: address.to_owned(),
        }),
    }
}

/// The members as a leader sees them, on which a change is decided.
struct View {
    id: Option<LogId>,
    nodes: BTreeMap<u64, String>,
    voters: BTreeSet<u64>,
    /// A change is half done.
    joint: bool,
    /// The last entry that changed them is committed: what stands here was not only wanted by a leader.
    committed: bool,
}

impl View {
    fn of(metrics: &RaftMetrics<TypeConfig>) -> View {
        let stored = &metrics.membership_config;
        let nodes = stored.nodes();
        View {
            id: *stored.log_id(),
            nodes: nodes.map(|(id, node)| (*id, node.addr.clone())).collect(),
            voters: stored.voter_ids().collect(),
            joint: stored.membership().get_joint_config().len() > 1,
            committed: stored.log_id() == metrics.committed_membership_config.log_id(),
        }
    }
}

impl Core {
    /// The members, when this node leads and no change is under way. A majority has confirmed it: one that slept while
    /// another was elected would judge by a list of the past.
    async fn leading(&self) -> Result<View, MemberError> {
        let Standing { role, leader, .. } = *self.standing.borrow();
        if role != Role::Leader {
            return Err(MemberError::NotLeader(leader));
        }
        let mut metrics = self.raft.metrics();
        let settled = async {
            loop {
                let view = View::of(&metrics.borrow_and_update());
                if view.committed && !view.joint {
                    return Ok(view);
                }
                if metrics.changed().await.is_err() {
                    return Err(MemberError::Failed("cluster node has stopped".into()));
                }
            }
        };
        let settled = timeout(SETTLED_LIMIT, settled).await;
        let view = settled.unwrap_or(Err(MemberError::Busy))?;
        let confirmed = async {
            loop {
                match confirm::read_index(&self.raft, &self.shared).await {
                    // A link that was cut is not dialled again at once.
                    Err(Unconfirmed::NoQuorum) => sleep(CONFIRM_PAUSE).await,
                    outcome => return outcome,
                }
            }
        };
        match timeout(CONFIRM_LIMIT, confirmed).await {
            Ok(Ok(_)) => Ok(view),
            Ok(Err(Unconfirmed::NotLeader(leader))) => Err(MemberError::NotLeader(leader)),
            Ok(Err(why)) => Err(MemberError::Failed(why.to_string())),
            Err(_) => Err(MemberError::Unknown(CONFIRM_LIMIT)),
        }
    }

    fn is_alive(&self, node: u64) -> bool {
        node == self.node || self.shared.is_alive(node)
    }

    /// Refuses to leave a set of voters without a living majority.
    fn check_quorum(&self, gone: u64, stay: &BTreeSet<u64>) -> Result<(), MemberError> {
        let alive = stay.iter().filter(|node| self.is_alive(**node)).count();
        match alive * 2 > stay.len() {
            true => Ok(()),
            false => Err(MemberError::Quorum {
                node: gone,
                alive,
                voters: stay.len(),
            }),
        }
    }

    pub(crate) async fn add_member(
        &self,
        member: Member,
        replaces: Option<u64>,
    ) -> Result<Joining, MemberError> {
        check(member.id, &member.address)?;
        let view = self.leading().await?;
        let node = member.id;
        let known = view.nodes.contains_key(&node);
        match view.nodes.get(&node) {
            Some(address) if *address != member.address => {
                let address = address.clone();
                return Err(MemberError::Member { node, address });
            }
            Some(_) => {}
            None => {
                self.check_new(&view, &member, replaces).await?;
                let nodes = BTreeMap::from([(node, BasicNode::new(&member.address))]);
                self.change(&view, ChangeMembers::AddNodes(nodes), true)
                    .await?;
                tracing::info!(node, address = member.address, "node added as learner");
            }
        }
        let joining = Joining {
            changed: !known,
            ..self.joining(node)
        };
        let gone = replaces.filter(|old| view.voters.contains(old));
        if joining.voter && gone.is_none() {
            return Ok(joining);
        }
        let caught_up = joining.holds + CAUGHT_UP >= joining.of && joining.holds > 0;
        let may_vote = joining.voter || (caught_up && self.is_alive(node));
        if !may_vote {
            return Ok(joining);
        }
        self.promote(node, gone).await?;
        Ok(Joining {
            changed: true,
            voter: true,
            ..joining
        })
    }

    async fn check_new(
        &self,
        view: &View,
        member: &Member,
        replaces: Option<u64>,
    ) -> Result<(), MemberError> {
        let Member { id: node, address } = member.clone();
        if let Some(old) = replaces.filter(|old| !view.nodes.contains_key(old)) {
            return Err(MemberError::NoMember(old));
        }
        if self.shared.progress.former.borrow().contains(&node) {
            return Err(MemberError::Used(node));
        }
        check_free(view, &address)?;
        if view.nodes.len() >= MEMBERS_MAX {
            return Err(MemberError::Full);
        }
        let dialer = self.reach(node, &address).await?;
        let absent = |reason: String| MemberError::Absent {
            node,
            address: address.clone(),
            reason,
        };
        let about = Peer::start(dialer).ask(serve::about(), ANSWER_LIMIT).await;
        let about = about.map_err(|error: RequestError| absent(error.to_string()))?;
        match serve::take_index(&about) {
            Some(0) => Ok(()),
            // What it holds it may have by now from a leader that followed this one.
            Some(_) if self.leading().await?.id != view.id => Err(MemberError::Busy),
            Some(_) => Err(MemberError::NotEmpty(node)),
            None => Err(absent("its answer cannot be read".into())),
        }
    }

    /// Shakes hands with a node at an address that is not on the roster: it is there, it is that node of this cluster,
    /// and its data directory is the one it joined with.
    async fn reach(&self, node: u64, address: &str) -> Result<Dialer, MemberError> {
        let dialer = Dialer {
            at: Some(address.to_owned()),
            ..Dialer::new(self.shared.roster.clone(), node)
        };
        match dialer.dial(Channel::Request).await {
            Ok(_) => Ok(dialer),
            Err(LinkError::TooOld { level, active, .. }) => Err(MemberError::TooOld {
                node,
                level,
                active,
            }),
            Err(error) => Err(MemberError::Absent {
                node,
                address: address.to_owned(),
                reason: chain(&error),
            }),
        }
    }

    /// A member has another address from here on. Only one that answers there gets it: two machines that both believe
    /// to be the member would each have its vote.
    pub(crate) async fn move_member(&self, member: Member) -> Result<bool, MemberError> {
        check(member.id, &member.address)?;
        let view = self.leading().await?;
        let Member { id: node, address } = member;
        match view.nodes.get(&node) {
            None => return Err(MemberError::NoMember(node)),
            Some(known) if *known == address => return Ok(false),
            Some(_) => {}
        }
        check_free(&view, &address)?;
        // Nobody can ask himself who he is.
        self.give_way(node).await?;
        self.reach(node, &address).await?;
        let nodes = BTreeMap::from([(node, BasicNode::new(&address))]);
        self.change(&view, ChangeMembers::SetNodes(nodes), true)
            .await?;
        tracing::info!(node, address, "node has another address");
        Ok(true)
    }

    /// How far the leader knows a node to be.
    fn joining(&self, node: u64) -> Joining {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref().and_then(|all| all.get(&node));
        let after = |index: Option<u64>| index.map_or(0, |index| index + 1);
        Joining {
            changed: false,
            voter: metrics.membership_config.voter_ids().any(|id| id == node),
            holds: after(matched.and_then(|id| id.as_ref().map(|id| id.index))),
            of: after(metrics.last_log_index),
        }
    }

    /// Gives a node its vote, and takes that of the one it replaces.
    async fn promote(&self, node: u64, replaces: Option<u64>) -> Result<(), MemberError> {
        let view = self.leading().await?;
        let mut stay = view.voters.clone();
        stay.insert(node);
        let add = ChangeMembers::AddVoterIds(BTreeSet::from([node]));
        let changes = match replaces {
            None => add,
            Some(old) => {
                stay.remove(&old);
                self.check_quorum(old, &stay)?;
                self.give_way(old).await?;
                let remove = ChangeMembers::RemoveVoters(BTreeSet::from([old]));
                ChangeMembers::Batch(vec![add, remove])
            }
        };
        self.change(&view, changes, false).await?;
        tracing::info!(node, ?replaces, "node votes");
        Ok(())
    }

    pub(crate) async fn remove_member(&self, node: u64, force: bool) -> Result<bool, MemberError> {
        let view = self.leading().await?;
        if !view.nodes.contains_key(&node) {
            // Said again after an answer that was lost.
            return match self.shared.progress.former.borrow().contains(&node) {
                true => Ok(false),
                false => Err(MemberError::NoMember(node)),
            };
        }
        let changes = if view.voters.contains(&node) {
            let mut stay = view.voters.clone();
            stay.remove(&node);
            if stay.is_empty() {
                return Err(MemberError::Last(node));
            }
            if !force {
                self.check_quorum(node, &stay)?;
            }
            self.give_way(node).await?;
            ChangeMembers::RemoveVoters(BTreeSet::from([node]))
        } else {
            ChangeMembers::RemoveNodes(BTreeSet::from([node]))
        };
        self.change(&view, changes, false).await?;
        tracing::info!(node, "node removed");
        Ok(true)
    }

    /// A leader that is to go lets another one carry that out.
    async fn give_way(&self, gone: u64) -> Result<(), MemberError> {
        if gone != self.node {
            return Ok(());
        }
        self.hand_over().await;
        Err(match *self.standing.borrow() {
            Standing {
                role: Role::Leader, ..
            } => MemberError::Failed("no other node takes the leadership".into()),
            Standing { leader, .. } => MemberError::NotLeader(leader),
        })
    }

    async fn change(
        &self,
        view: &View,
        changes: ChangeMembers<u64, BasicNode>,
        retain: bool,
    ) -> Result<(), MemberError> {
        let raft = self.raft.clone();
        let seen = Precondition::LastMembershipLogId {
            last_membership_log_id: view.id,
        };
        // A task of its own: given up by the one who asks, the second entry must follow all the same.
        let changed =
            tokio::spawn(async move { raft.change_membership_if(changes, retain, [seen]).await });
        match timeout(CHANGE_LIMIT, changed).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) => Err(refused(error)),
            Ok(Err(_)) => Err(MemberError::Failed("cluster node has stopped".into())),
            Err(_) => Err(MemberError::Unknown(CHANGE_LIMIT)),
        }
    }
}

fn refused(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MemberError {
    match error {
        RaftError::APIError(
            ClientWriteError::ForwardToLeader(forward)
            | ClientWriteError::LogEntryDiscarded(forward),
        ) => MemberError::NotLeader(forward.leader_id),
        RaftError::APIError(
            ClientWriteError::PreconditionFailed(_)
            | ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_)
                | ChangeMembershipError::UncommittedLeaderLog(_),
            ),
        ) => MemberError::Busy,
        error => MemberError::Failed(error.to_string()),
    }
}

/// The error and what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Finishes what an earlier leader began: as long as two sets of voters count, both must answer.
pub(crate) async fn finish_changes(raft: Raft, standing: watch::Receiver<Standing>) {
    let mut half_done = None;
    loop {
        sleep(FINISH_AFTER).await;
        let role = standing.borrow().role;
        let view = View::of(&raft.metrics().borrow_watched());
        match role {
            Role::Stopped => return,
            Role::Leader if view.joint && half_done == Some(view.id) => {}
            _ => {
                half_done = view.joint.then_some(view.id);
                continue;
            }
        }
        tracing::info!("finishes a change of members that was left half done");
        let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
        let seen = Precondition::LastMembershipLogId {
            last_membership_log_id: view.id,
        };
        let finishing = raft.change_membership_if(nothing, false, [seen]);
        match timeout(CHANGE_LIMIT, finishing).await {
            Ok(Err(error)) => tracing::warn!(%error, "change of members is still half done"),
            Ok(Ok(_)) => half_done = None,
            Err(_) => tracing::warn!("change of members is still half done, there is no quorum"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_ports() {
        for (address, fits) in [
            ("10.0.0.4:5070", true),
            ("node-4.switch.example:5070", true),
            ("[2001:db8::4]:5070", true),
            ("10.0.0.4", false),
            (":5070", false),
            ("node-4:0", false),
            ("node-4:70000", false),
            ("node 4:5070", false),
            ("http://node-4:5070", false),
        ] {
            assert_eq!(check(4, address).is_ok(), fits, "{address}");
        }
        assert!(check(0, "10.0.0.4:5070").is_err());
    }
}
