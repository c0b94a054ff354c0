//! What a node's tasks share.

use super::Handler;
use crate::handle::levels::Dialect;
use crate::handle::proposer::Queue;
use crate::level::Level;
use crate::link::{Dialer, Peer, Roster};
use crate::raft::Raft;
use crate::raft::machine::Progress;
use openraft::async_runtime::watch::WatchReceiver;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::time::Instant;

/// A node that has said nothing for so long counts as dead.
const SILENCE: Duration = Duration::from_millis(1500);

/// What the node's tasks share.
pub(crate) struct Shared {
    pub(crate) queue: Arc<Queue>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) wall: fn() -> u64,
    pub(crate) roster: Arc<Roster>,
    /// Everyone this node talks to; changes with the members.
    peers: RwLock<BTreeMap<u64, Peer>>,
    seen: Mutex<BTreeMap<u64, Seen>>,
    pub(crate) dialect: Dialect,
    handler: RwLock<Option<Handler>>,
}

/// When another node was last heard, and what it said of itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) at: Option<Instant>,
    pub(super) applied: Option<u64>,
    pub(super) level: Option<Level>,
}

impl Seen {
    /// Whether it was heard of late.
    pub(super) fn is_alive(&self) -> bool {
        self.at.is_some_and(|at| at.elapsed() < SILENCE)
    }
}

impl Shared {
    /// What the tasks of a node that opens share; it has no peers yet, and answers no questions.
    pub(super) fn new(
        queue: Arc<Queue>,
        progress: Arc<Progress>,
        roster: Arc<Roster>,
        wall: fn() -> u64,
        dialect: Dialect,
    ) -> Shared {
        Shared {
            queue,
            progress,
            wall,
            roster,
            peers: RwLock::default(),
            seen: Mutex::default(),
            dialect,
            handler: RwLock::new(None),
        }
    }

    /// The link to another node.
    pub(crate) fn peer(&self, node: u64) -> Option<Peer> {
        self.peers().get(&node).cloned()
    }

    pub(super) fn peers(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Peer>> {
        self.peers
            .read()
            .expect("no code panics while it holds this")
    }

    /// Begins to talk to whoever has become a member, and no longer to whoever is none any more.
    pub(super) fn follow_roster(&self) {
        let others = self.roster.others();
        let mut peers = self
            .peers
            .write()
            .expect("no code panics while it holds this");
        if peers.keys().eq(others.keys()) {
            return;
        }
        let mut seen = self.seen();
        peers.retain(|node, _| others.contains_key(node));
        seen.retain(|node, _| others.contains_key(node));
        for node in others.into_keys() {
            seen.entry(node).or_default();
            peers
                .entry(node)
                .or_insert_with(|| Peer::start(Dialer::new(self.roster.clone(), node)));
        }
    }

    /// How many of the nodes are a majority.
    pub(crate) fn majority(&self) -> usize {
        self.peers().len().div_ceil(2) + 1
    }

    /// Whether a node said something of late.
    pub(crate) fn is_alive(&self, node: u64) -> bool {
        self.seen().get(&node).is_some_and(Seen::is_alive)
    }

    /// The highest level that a node speaks, if it is alive and has said so.
    pub(crate) fn spoken_by(&self, node: u64) -> Option<Level> {
        if node == self.roster.us.node {
            return Some(self.progress.spoken);
        }
        let seen = self.seen().get(&node).copied().unwrap_or_default();
        seen.level.filter(|_| seen.is_alive())
    }

    /// A node said something.
    pub(crate) fn touch(&self, node: u64) {
        // Nodes that are no members leave no trace.
        if let Some(seen) = self.seen().get_mut(&node) {
            seen.at = Some(Instant::now());
        }
    }

    /// Gives leadership to the most advanced of those who answer.
    pub(super) async fn lead_no_longer(&self, raft: &Raft) {
        let heir = {
            let metrics = raft.metrics().borrow_watched().clone();
            let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
            let seen = self.seen();
            let alive = seen
                .iter()
                .filter(|(node, seen)| voters.contains(node) && seen.is_alive());
            alive
                .max_by_key(|(_, seen)| seen.applied)
                .map(|(node, _)| *node)
        };
        if let Some(heir) = heir {
            tracing::warn!(to = heir, "leadership is handed over, the disk is full");
            // Tried again at the next tick.
            let _ = raft.trigger().transfer_leader(heir).await;
        }
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, BTreeMap<u64, Seen>> {
        self.seen
            .lock()
            .expect("no code panics while it holds this")
    }

    /// When every other member was last heard, and what it said.
    pub(super) fn everyone_seen(&self) -> BTreeMap<u64, Seen> {
        self.seen().clone()
    }

    pub(super) fn set_handler(&self, handler: Handler) {
        *self
            .handler
            .write()
            .expect("no code panics while it holds this") = Some(handler);
    }

    pub(crate) fn handler(&self) -> Option<Handler> {
        self.handler
            .read()
            .expect("no code panics while it holds this")
            .clone()
    }
}
