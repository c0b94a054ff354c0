//! Nodes that come and go: what an operator wants, and how the node that leads at the time carries it out. He asks
//! again until he is told that it is done, and from then on it must be so.
//!
//! Node 1 stays, so that whoever was taken out finds somebody who tells him.

use super::ledger::Phase;
use super::node::Node;
use super::plan::{self, Plan};
use rand::Rng;
use rand::rngs::StdRng;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use tandem_cluster::handle::{Cluster, MemberError, Role};
use tandem_simulation::event;

/// So many changes may be wanted at a time.
const AT_ONCE: usize = 2;
/// Members are never fewer, so that one of them can be away.
const FEWEST: usize = 3;
/// Nor more.
const MOST: usize = 6;
/// Machines that are taken into service, those of the beginning included.
const MACHINES: u64 = 14;

/// A change that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A machine joins; with `replaces` that one goes when it gets its vote.
    Join { node: u64, replaces: Option<u64> },
    /// A machine goes.
    Leave { node: u64 },
}

impl Change {
    fn gone(self) -> Option<u64> {
        match self {
            Change::Join { replaces, .. } => replaces,
            Change::Leave { node } => Some(node),
        }
    }
}

/// Who is in service.
#[derive(Default)]
pub struct Roll {
    content: RefCell<Content>,
}

#[derive(Default)]
struct Content {
    /// Machines in service.
    machines: BTreeSet<u64>,
    /// Those of them that are to go.
    going: BTreeSet<u64>,
    /// Those that were in service and are no more.
    retired: BTreeSet<u64>,
    wanted: Vec<Change>,
    changed: u64,
    last: u64,
}

impl Roll {
    pub fn new(plan: &Plan) -> Roll {
        let content = Content {
            machines: plan.ids().collect(),
            last: plan.nodes,
            ..Content::default()
        };
        Roll {
            content: RefCell::new(content),
        }
    }

    /// Machines in service, those that are to go and have not heard of it included.
    pub fn machines(&self) -> Vec<u64> {
        self.content.borrow().machines.iter().copied().collect()
    }

    pub fn serves(&self, node: u64) -> bool {
        self.content.borrow().machines.contains(&node)
    }

    /// The machine after this one, in a circle.
    pub fn after(&self, node: u64) -> u64 {
        let content = self.content.borrow();
        let mut later = content.machines.range(node + 1..);
        let first = content.machines.first();
        *later.next().or(first).expect("node 1 stays")
    }

    /// Those who are members when everything that is wanted has been done.
    pub fn members(&self) -> BTreeSet<u64> {
        let content = self.content.borrow();
        content
            .machines
            .difference(&content.going)
            .copied()
            .collect()
    }

    pub fn retired(&self) -> Vec<u64> {
        self.content.borrow().retired.iter().copied().collect()
    }

    /// Whether a node may find that it was taken out.
    pub fn may_go(&self, node: u64) -> bool {
        self.content.borrow().going.contains(&node)
    }

    /// A machine is in service no longer.
    pub fn retire(&self, node: u64) {
        event!("node {node} is out of service");
        let content = &mut *self.content.borrow_mut();
        content.machines.remove(&node);
        content.going.remove(&node);
        content.retired.insert(node);
    }

    /// Changes that were carried out.
    pub fn changed(&self) -> u64 {
        self.content.borrow().changed
    }

    pub fn is_settled(&self) -> bool {
        self.content.borrow().wanted.is_empty()
    }

    /// Wants another change; `None` when there is none to be wanted.
    pub fn want(&self, rng: &mut StdRng) -> Option<Change> {
        let members = self.members();
        let content = &mut *self.content.borrow_mut();
        if content.wanted.len() >= AT_ONCE {
            return None;
        }
        let joining = |node: &u64| {
            let mut wanted = content.wanted.iter();
            wanted.any(|change| matches!(change, Change::Join { node: joins, .. } if joins == node))
        };
        let stays: Vec<u64> = members
            .iter()
            .copied()
            .filter(|node| *node != 1 && !joining(node))
            .collect();
        let node = content.last + 1;
        let grows = node <= MACHINES && members.len() < MOST;
        let gone = match stays.is_empty() {
            true => None,
            false => Some(stays[rng.random_range(0..stays.len())]),
        };
        let change = match rng.random_range(0..3) {
            0 if grows => Change::Join {
                node,
                replaces: None,
            },
            1 if members.len() > FEWEST => Change::Leave { node: gone? },
            _ if node <= MACHINES => Change::Join {
                node,
                replaces: Some(gone?),
            },
            _ => return None,
        };
        event!("wanted: {change:?}");
        if let Change::Join { node, .. } = change {
            content.machines.insert(node);
            content.last = node;
        }
        content.going.extend(change.gone());
        content.wanted.push(change);
        Some(change)
    }

    /// A machine that was to join will not: a fresh one comes in its place.
    fn give_up(&self, change: Change) {
        let Change::Join { node, replaces } = change else {
            return;
        };
        self.retire(node);
        let content = &mut *self.content.borrow_mut();
        content.last += 1;
        let node = content.last;
        content.machines.insert(node);
        content.wanted.retain(|other| *other != change);
        content.wanted.push(Change::Join { node, replaces });
    }

    fn done(&self, change: Change) {
        event!("done: {change:?}");
        let content = &mut *self.content.borrow_mut();
        let before = content.wanted.len();
        content.wanted.retain(|other| *other != change);
        content.changed += (before - content.wanted.len()) as u64;
    }

    /// What is wrong with the members as a node sees them in the end.
    pub fn check(&self, cluster: &Cluster) -> Result<(), String> {
        let status = cluster.status();
        let wanted = self.members();
        let voters = status.members.iter().filter(|member| member.voter);
        let voters: BTreeSet<u64> = voters.map(|member| member.node).collect();
        let stray = status.members.iter().find(|member| !member.voter);
        let former = status.former.iter().find(|node| wanted.contains(node));
        match (voters == wanted, stray, former) {
            (false, ..) => Err(format!("voters are {voters:?}, not {wanted:?}")),
            (_, Some(stray), _) => Err(format!("node {} has no vote", stray.node)),
            (.., Some(node)) => Err(format!("node {node} counts as a former member")),
            _ => Ok(()),
        }
    }
}

impl Node {
    /// Carries out what is wanted while this node leads.
    pub async fn change_members(self: Rc<Self>) {
        loop {
            self.rest(50, 300).await;
            let wanted = self.ledger.roll.content.borrow().wanted.clone();
            if wanted.is_empty()
                || self.ledger.phase() == Phase::Quiet
                || self.cluster.standing().borrow().role != Role::Leader
            {
                continue;
            }
            let change = wanted[self.random(0, wanted.len() as u64) as usize];
            let outcome = match change {
                Change::Join { node, replaces } => {
                    let joining = self.cluster.add_member(plan::member(node), replaces).await;
                    joining.map(|joining| joining.voter)
                }
                Change::Leave { node } => {
                    let gone = self.cluster.remove_member(node, false).await;
                    gone.map(|_| true)
                }
            };
            event!("{change:?}: {outcome:?}");
            match outcome {
                Ok(true) => self.ledger.roll.done(change),
                Ok(false) => {}
                Err(
                    MemberError::NotLeader(_)
                    | MemberError::Unknown(_)
                    | MemberError::Busy
                    | MemberError::Absent { .. }
                    | MemberError::Quorum { .. }
                    | MemberError::Failed(_),
                ) => {}
                // An earlier leader had begun to add it, and died before a majority knew.
                Err(MemberError::NotEmpty(_)) => self.ledger.roll.give_up(change),
                Err(error) => self
                    .ledger
                    .broken(format!("{change:?} is refused: {error}")),
            }
        }
    }
}
