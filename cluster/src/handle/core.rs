//! The node without the state's types: start, stop, and what is asked of it.

mod open;
mod shared;
mod watch;

pub(crate) use self::shared::Shared;

use super::confirm;
use super::levels::Dialect;
use super::proposer::Queue;
use super::serve;
use super::{Config, MemberStatus, ProposeError, RestoreError, Role, StartError, Status};
use crate::link::{ANSWER_LIMIT, RequestError};
use crate::raft::Raft;
use crate::raft::machine::Driver;
use crate::wal::Fullness;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use openraft::async_runtime::watch::WatchReceiver;
use std::any::Any;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, timeout};

/// Answers another node's question: its id, the question; the answer, or a reason for none.
pub type Handler =
    Arc<dyn Fn(u64, Bytes) -> BoxFuture<'static, Result<Bytes, String>> + Send + Sync>;

/// Where a node stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What it is.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// The leader it knows.
    pub leader: Option<u64>,
}

impl Standing {
    /// Waits until there is another leader than the one known here, or the same of another term. What that one was asked
    /// need not be waited for any longer: one that fell silent, with its machine or its network, would answer nothing
    /// until the time is up, and an election takes less.
    pub(crate) async fn succeeded(self, mut standing: Receiver<Standing>) {
        let other = |now: &Standing| {
            now.leader.is_some() && (now.leader, now.term) != (self.leader, self.term)
        };
        if standing.wait_for(other).await.is_err() {
            // The node stops, which ends what was asked as well.
            std::future::pending().await
        }
    }
}

/// How long a question waits for a link before its node counts as out of reach.
const REDIAL_LIMIT: Duration = Duration::from_millis(200);
/// How long an orderly stop waits for submitted commands, and for another leader.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// A node.
pub(crate) struct Core {
    pub(crate) node: u64,
    pub(crate) address: SocketAddr,
    pub(crate) raft: Raft,
    pub(crate) queue: Arc<Queue>,
    pub(crate) standing: Receiver<Standing>,
    pub(crate) shared: Arc<Shared>,
    fullness: Fullness,
    pub(crate) in_place: bool,
    /// The node's own, unless it runs in place.
    runtime: Mutex<Option<Runtime>>,
}

impl Core {
    /// Starts a node. `live` is called when the replay is over.
    pub(crate) async fn start(
        config: Config,
        driver: Box<dyn Driver>,
        live: Box<dyn FnOnce() + Send>,
        dialect: Dialect,
    ) -> Result<Core, StartError> {
        if config.in_place {
            return open::open(config, driver, live, dialect).await;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.workers.clamp(1, 2))
            .max_blocking_threads(8)
            .thread_name("tandem-raft")
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        let opened = runtime
            .spawn(open::open(config, driver, live, dialect))
            .await;
        let outcome = opened.unwrap_or_else(|error| Err(StartError::Restore(error.to_string())));
        match outcome {
            Ok(mut core) => {
                core.runtime = Mutex::new(Some(runtime));
                Ok(core)
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    pub(crate) async fn propose(&self, command: Bytes) -> Result<(u64, Bytes), ProposeError> {
        let reply = self.queue.propose(command)?;
        reply.await.map_err(|_| ProposeError::Stopped)
    }

    pub(crate) fn submit(&self, command: Bytes) -> bool {
        self.queue.submit(command)
    }

    /// Waits until the entry `index` has been applied here.
    pub(crate) async fn applied_beyond(
        &self,
        index: u64,
        limit: Duration,
    ) -> Result<(), ProposeError> {
        let mut applied = self.shared.progress.applied.subscribe();
        match timeout(limit, applied.wait_for(|applied| *applied > index)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ProposeError::Stopped),
            Err(_) => Err(ProposeError::Unknown(limit)),
        }
    }

    /// The index after the last entry a reader must have applied, asked of the leader; `None` when there is none that
    /// can tell.
    pub(crate) async fn read_index(&self) -> Option<u64> {
        let standing = *self.standing.borrow();
        if standing.role == Role::Leader {
            return confirm::read_index(&self.raft, &self.shared).await.ok();
        }
        let peer = self.shared.peer(standing.leader?)?;
        tokio::select! {
            biased;
            answer = peer.ask(serve::read_index(), ANSWER_LIMIT) => serve::take_index(&answer.ok()?),
            () = standing.succeeded(self.standing.clone()) => None,
        }
    }

    pub(crate) fn log_time(&self) -> Option<u64> {
        let progress = &self.shared.progress;
        progress.time().now(progress.now_us())
    }

    /// Waits until `ready` gives something, looking again whenever entries have been applied.
    pub(crate) async fn when_applied<T>(
        &self,
        limit: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, ProposeError> {
        let mut applied = self.shared.progress.applied.subscribe();
        let waiting = async {
            loop {
                applied.mark_unchanged();
                if let Some(found) = ready() {
                    return Ok(found);
                }
                if applied.changed().await.is_err() {
                    return Err(ProposeError::Stopped);
                }
            }
        };
        timeout(limit, waiting)
            .await
            .unwrap_or(Err(ProposeError::Unknown(limit)))
    }

    /// See [`StateMachine::put_in_place`]. Runs between two applications of entries, which wait meanwhile.
    pub(crate) async fn put_in_place(
        &self,
        state: Box<dyn Any + Send>,
        upto: u64,
    ) -> Result<u64, RestoreError> {
        let in_place = self.in_place;
        let put = self.raft.with_state_machine(move |machine| {
            let put = || machine.put_in_place(state, upto);
            let put = match in_place {
                true => put(),
                false => tokio::task::block_in_place(put),
            };
            ready(put).boxed()
        });
        match put.await {
            Ok(Ok(end)) => Ok(end),
            Ok(Err(error)) => Err(RestoreError::Replay(error.to_string())),
            Err(_) => Err(RestoreError::Stopped),
        }
    }

    pub(crate) async fn peer_request(
        &self,
        node: u64,
        question: Bytes,
        limit: Duration,
    ) -> Result<Bytes, RequestError> {
        let refused = |reason: &str| RequestError::Refused {
            node,
            reason: reason.into(),
        };
        if question.len() > serve::PEER_BYTES {
            return Err(refused("question is too large"));
        }
        if node == self.node {
            let handler = self
                .shared
                .handler()
                .ok_or_else(|| refused("node answers no questions yet"))?;
            let answer = timeout(limit, handler(node, question)).await;
            return answer
                .map_err(|_| RequestError::NoAnswer(node))?
                .map_err(|reason| RequestError::Refused { node, reason });
        }
        let peer = self
            .shared
            .peer(node)
            .ok_or_else(|| refused("no such node"))?;
        let (begun, question) = (Instant::now(), serve::peer(&question));
        loop {
            match peer.ask(question.clone(), limit).await {
                // The link may be resting after a failed dial; what was not sent can be sent again.
                Err(RequestError::NotSent(_)) if begun.elapsed() < limit.min(REDIAL_LIMIT) => {
                    tokio::time::sleep(REDIAL_LIMIT / 10).await;
                }
                outcome => return outcome,
            }
        }
    }

    pub(crate) fn set_handler(&self, handler: Handler) {
        self.shared.set_handler(handler);
    }

    pub(crate) fn status(&self) -> Status {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let Standing { role, term, leader } = *self.standing.borrow();
        let applied = *self.shared.progress.applied.borrow();
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let nodes = metrics.membership_config.nodes();
        let nodes: BTreeMap<u64, String> =
            nodes.map(|(id, node)| (*id, node.addr.clone())).collect();
        let seen = self.shared.everyone_seen();
        let members: Vec<MemberStatus> = nodes
            .into_iter()
            .map(|(node, address)| {
                let here = node == self.node;
                let seen = seen.get(&node).copied().unwrap_or_default();
                MemberStatus {
                    node,
                    address,
                    voter: voters.contains(&node),
                    alive: here || seen.is_alive(),
                    applied: if here { Some(applied) } else { seen.applied },
                    level: if here {
                        Some(self.shared.progress.spoken)
                    } else {
                        seen.level
                    },
                }
            })
            .collect();
        let alive = members
            .iter()
            .filter(|member| member.voter && member.alive)
            .count();
        let stopped = metrics
            .running_state
            .as_ref()
            .err()
            .map(ToString::to_string);
        let after = |id: Option<u64>| id.map_or(0, |index| index + 1);
        Status {
            node: self.node,
            role,
            term,
            leader,
            applied,
            committed: after(metrics.local_committed.map(|id| id.index)),
            first_log: after(metrics.purged.map(|id| id.index)),
            last_log: after(metrics.last_log_index),
            snapshot: after(metrics.snapshot.map(|id| id.index)),
            quorum: leader.is_some() && alive * 2 > voters.len() && stopped.is_none(),
            members,
            levels: *self.shared.progress.levels.borrow(),
            former: self
                .shared
                .roster
                .members()
                .former
                .iter()
                .copied()
                .collect(),
            stopped,
            disk_full: self.fullness.get(),
        }
    }

    pub(crate) async fn shutdown(&self) {
        let begun = Instant::now();
        while self.queue.submitted() + self.queue.waited() > 0 && begun.elapsed() < STOP_LIMIT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.hand_over().await;
        self.queue.close();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop in order");
        }
        if let Some(runtime) = self.take_runtime() {
            // Blocking, since it waits for a snapshot that is being written.
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(STOP_LIMIT)).await;
        }
    }

    /// Gives leadership to the most advanced of the living, so that nobody waits for an election.
    pub(crate) async fn hand_over(&self) {
        let status = self.status();
        if status.role != Role::Leader {
            return;
        }
        let others = status
            .members
            .iter()
            .filter(|m| m.voter && m.alive && m.node != self.node);
        let Some(heir) = others.max_by_key(|member| member.applied) else {
            return;
        };
        let mut standing = self.standing.clone();
        if self.raft.trigger().transfer_leader(heir.node).await.is_ok() {
            let _ = timeout(
                STOP_LIMIT / 2,
                standing.wait_for(|standing| standing.role != Role::Leader),
            )
            .await;
        }
    }

    pub(crate) fn kill(&self) {
        self.queue.close();
        if let Some(runtime) = self.take_runtime() {
            runtime.shutdown_background();
        }
    }

    fn take_runtime(&self) -> Option<Runtime> {
        self.runtime
            .lock()
            .expect("no code panics while it holds this")
            .take()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::watch;

    #[tokio::test]
    async fn a_leader_is_succeeded_by_another_or_in_another_term_and_not_by_nobody() {
        let standing = |leader, term| Standing {
            role: Role::Follower,
            term,
            leader,
        };
        let was = standing(Some(1), 4);
        let (sender, receiver) = watch::channel(was);
        let mut succeeded = Box::pin(was.succeeded(receiver));
        for (leader, term, is) in [(Some(1), 4, false), (None, 5, false), (Some(3), 5, true)] {
            sender.send_replace(standing(leader, term));
            let done = succeeded.as_mut().now_or_never().is_some();
            assert_eq!(done, is, "leader {leader:?} of term {term}");
        }
        let again = was.succeeded(sender.subscribe());
        sender.send_replace(standing(Some(1), 6));
        assert!(again.now_or_never().is_some(), "the same of another term");
    }
}
