//! The tasks that watch over a node: who is a member, who leads, who is alive, how heavy the log has become.

use super::Standing;
use super::shared::{Seen, Shared};
use crate::handle::{Role, serve};
use crate::link::{ANSWER_LIMIT, Members, Peer};
use crate::raft::Raft;
use crate::raft::machine::Progress;
use crate::raft::types::TypeConfig;
use crate::wal::Fullness;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use openraft::metrics::RaftServerMetrics;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Interval of pings and of the gauges.
const PING_EVERY: Duration = Duration::from_millis(500);

/// Tells the roster what the log says of the members.
pub(super) fn note_members(raft: &Raft, shared: &Shared) {
    let metrics = raft.server_metrics();
    let nodes = metrics
        .borrow_watched()
        .membership_config
        .nodes()
        .map(|(id, node)| (*id, node.addr.clone()))
        .collect();
    let former = shared.progress.former.borrow().clone();
    shared.roster.set_members(Members { nodes, former });
    shared.follow_roster();
}

/// Keeps the roster up to date.
pub(super) async fn follow_members(raft: Raft, shared: Arc<Shared>) {
    let mut metrics = raft.server_metrics();
    let mut former = shared.progress.former.subscribe();
    loop {
        note_members(&raft, &shared);
        let ended = tokio::select! {
            changed = metrics.changed() => changed.is_err(),
            changed = former.changed() => changed.is_err(),
        };
        if ended {
            return;
        }
    }
}

/// Keeps [`Standing`] up to date.
pub(super) async fn follow_standing(raft: Raft, sender: watch::Sender<Standing>) {
    let mut metrics = raft.server_metrics();
    loop {
        let now = standing_of(&metrics.borrow_watched());
        let changed = sender.send_if_modified(|standing| std::mem::replace(standing, now) != now);
        if changed {
            let leader = now
                .leader
                .map_or_else(|| "none".to_owned(), |leader| leader.to_string());
            tracing::info!(
                role = now.role.name(),
                term = now.term,
                leader,
                "standing in the cluster"
            );
        }
        if metrics.changed().await.is_err() {
            break;
        }
    }
    match &raft.metrics().borrow_watched().running_state {
        Ok(()) | Err(Fatal::Stopped) => {}
        Err(error) => tracing::error!(%error, "cluster node has stopped"),
    }
    sender.send_modify(|standing| {
        *standing = Standing {
            role: Role::Stopped,
            leader: None,
            ..*standing
        }
    });
}

fn standing_of(metrics: &RaftServerMetrics<TypeConfig>) -> Standing {
    let role = match metrics.state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    };
    Standing {
        role,
        term: metrics.vote.leader_id.term,
        leader: metrics.current_leader,
    }
}

/// Asks after the other nodes, and sets the gauges.
pub(super) async fn tick(
    raft: Raft,
    fullness: Fullness,
    shared: Arc<Shared>,
    standing: watch::Receiver<Standing>,
) {
    let mut interval = tokio::time::interval(PING_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = *standing.borrow();
        {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            crate::metrics::standing(now.role, now.term, now.leader);
            crate::metrics::progress(
                metrics.local_committed.map_or(0, |id| id.index + 1),
                *shared.progress.applied.borrow(),
                metrics.last_log_index.map_or(0, |index| index + 1),
            );
        }
        crate::metrics::queues(shared.queue.waited(), shared.queue.submitted());
        if now.role == Role::Leader && fullness.get().is_some() {
            shared.lead_no_longer(&raft).await;
        }
        let peers: Vec<(u64, Peer)> = shared
            .peers()
            .iter()
            .map(|(node, peer)| (*node, peer.clone()))
            .collect();
        for (node, peer) in peers {
            let shared = shared.clone();
            tokio::spawn(async move {
                let asked_us = shared.progress.now_us();
                if let Ok(answer) = peer.ask(serve::ping(), ANSWER_LIMIT).await {
                    let now_us = shared.progress.now_us();
                    let applied = serve::take_index(&answer);
                    if let Some(wall) = serve::take_clock(&answer) {
                        shared
                            .progress
                            .time()
                            .heard(node, wall, now_us - asked_us, now_us);
                    }
                    if let Some(seen) = shared.seen().get_mut(&node) {
                        *seen = Seen {
                            at: Some(Instant::now()),
                            applied,
                            level: serve::take_level(&answer),
                        };
                    }
                }
            });
        }
    }
}

/// Builds a snapshot when the log has grown heavy before it has grown long.
pub(super) async fn snapshot_when_heavy(raft: Raft, progress: Arc<Progress>) {
    loop {
        progress.heavy.notified().await;
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}
