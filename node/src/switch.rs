//! This process as the admin API sees it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::{Arbiter, ArbiterHandle};
use futures::FutureExt;
use futures::future::BoxFuture;
use tandem_billing::Store;
use tandem_cluster::command::{CallId, Command, Epoch, Reply};
use tandem_cluster::entity::{Id, Millis};
use tandem_cluster::handle::{self, ProposeError};
use tandem_cluster::state::State;
use tandem_cluster::state::explain::{Explanation, Question};
use tandem_ops::exchange::{OnNode, Trial, Tried, Untried};
use tandem_ops::membership::{Change, Member, Progress, Unchanged};
use tandem_ops::platform::{Known, PlatformReply, PlatformRequest};
use tandem_ops::reconciliation::{ProgressTo, Reconciliation};
use tandem_ops::switch::{
    Answer, AskError, Check, Digest, Failed, NodeStatus, Query, RaftStatus, Role, Switch,
    Unavailable,
};
use tandem_ops::types::Types;
use tokio::sync::{Semaphore, oneshot};

use crate::backup;
use crate::biller::Arithmetic;
use crate::call::actor::HangUp;
use crate::call::reason;
use crate::callbacks;
use crate::core::Core;
use crate::members;
use crate::peer;
use crate::platforms::fill_type_rules;
use crate::reconcile;
use crate::start::chain;
use crate::trial;
use crate::types::Vendors;

/// A person waits this long for an edit.
const PROPOSE_WITHIN: Duration = Duration::from_secs(5);

/// A new leader is there within this.
const CURRENT_WITHIN: Duration = Duration::from_secs(1);

/// How often, and how many times, a snapshot under way is looked for.
const SNAPSHOT_LOOK_EVERY: Duration = Duration::from_millis(50);
const SNAPSHOT_LOOKS: u32 = 500;
/// Looks after which it is asked for again.
const SNAPSHOT_ASK_EVERY: u32 = 10;

/// How long a mark may take to arrive here.
const MARK_WITHIN: Duration = Duration::from_secs(5);

/// The process, lent to the admin API.
pub struct Process {
    core: Arc<Core>,
    store: Arc<Store>,
    /// Where actors live that are begun for the admin API, whose own threads end before the calls do.
    actors: ArbiterHandle,
    /// One at a time.
    backups: Semaphore,
}

impl Process {
    /// Lends this process.
    ///
    /// # Panics
    /// Outside of an actor system.
    pub fn new(core: Arc<Core>, store: Arc<Store>) -> Self {
        Process {
            core,
            store,
            actors: Arbiter::current(),
            backups: Semaphore::new(1),
        }
    }
}

impl Switch for Process {
    fn name(&self) -> String {
        self.core.config.node.access_name.clone()
    }

    fn now(&self) -> Millis {
        self.core.clock.now().wall
    }

    fn state_at(&self) -> (Arc<State>, u64) {
        self.core.cluster.state_now()
    }

    fn propose(&self, mut command: Command) -> BoxFuture<'_, Result<Reply, Unavailable>> {
        fill_type_rules(&mut command);
        async move {
            let cluster = &self.core.cluster;
            let applied = async {
                let (index, reply) = cluster.propose_indexed(command).await?;
                // The leader answered; what this node shows next must have it too.
                cluster.state_at_least(index, PROPOSE_WITHIN).await?;
                Ok::<_, ProposeError>(reply)
            };
            match tokio::time::timeout(PROPOSE_WITHIN, applied).await {
                Ok(outcome) => outcome.map_err(|error| Unavailable(error.to_string())),
                Err(_) => Err(Unavailable("no answer in time".to_owned())),
            }
        }
        .boxed()
    }

    fn current(&self) -> BoxFuture<'_, bool> {
        async {
            // Without a quorum nobody can tell, and whoever looks then should not be kept waiting as well.
            let cluster = &self.core.cluster;
            cluster.status().quorum && self.core.barrier.pass(cluster, CURRENT_WITHIN).await
        }
        .boxed()
    }

    fn raft(&self) -> RaftStatus {
        let status = self.core.cluster.status();
        RaftStatus {
            node: status.node,
            leader: status.leader,
            term: status.term,
            role: match status.role {
                handle::Role::Leader => Role::Leader,
                handle::Role::Follower => Role::Follower,
                handle::Role::Candidate => Role::Candidate,
                handle::Role::Learner | handle::Role::Stopped => Role::Learner,
            },
            applied: status.applied,
            voters: status
                .members
                .iter()
                .filter(|member| member.voter)
                .map(|member| member.node)
                .collect(),
            members: status
                .members
                .into_iter()
                .map(|member| Member {
                    node: member.node,
                    address: member.address,
                    voter: member.voter,
                    alive: member.alive,
                    applied: member.applied,
                    level: member.level,
                })
                .collect(),
            former: status.former,
            level: status.levels.active,
            level_held: status.levels.held,
            plain_links: self.core.config.cluster.has_plain_links(),
        }
    }

    fn local(&self) -> NodeStatus {
        let core = &self.core;
        let (state, applied) = core.cluster.state_now();
        let counts = state.counts();
        let raft = self.raft();
        let usage = Usage::read();
        NodeStatus {
            calls: core.calls.len() as u64,
            answered_calls: core.figures.answered.load(Ordering::Relaxed),
            bindings: counts.bindings,
            x_in_use: counts.x_in_use,
            a_in_use: counts.a_in_use,
            timers: core.figures.timers.load(Ordering::Relaxed),
            reserved: counts.reserved_money,
            outbox: counts.outbox,
            applied,
            state_hash: state.hash(),
            name: core.config.node.access_name.clone(),
            node: core.config.node.id,
            address: core.config.admin.listen.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_secs: core.clock.mono() / 1_000,
            draining: core.is_draining(),
            raft,
            cpu_ms: usage.cpu_ms,
            memory_bytes: usage.memory_bytes,
            disk_free_bytes: disk_free(&core.config.node.data_dir),
            checks: self.checks(),
            settings: self.settings(),
        }
    }

    fn checks(&self) -> Vec<Check> {
        let core = &self.core;
        let check = |name: &str, fault: Option<&str>| Check {
            name: name.to_owned(),
            fault: fault.map(str::to_owned),
        };
        let status = core.cluster.status();
        let taking =
            core.figures.shards_open.load(Ordering::Relaxed) == core.config.shards() as u64;
        vec![
            check(
                "quorum",
                (!status.quorum).then_some("fewer than half of the nodes are in reach"),
            ),
            check(
                "disk",
                status.stopped.as_deref().or(status.disk_full.as_deref()),
            ),
            check("claim", core.claim_fault().as_deref()),
            check("sip", (!taking).then_some("new calls are refused")),
            check(
                "drain",
                core.is_draining().then_some("the node is draining"),
            ),
        ]
    }

    fn types(&self) -> &dyn Types {
        &Vendors
    }

    fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    fn hang_up(&self, call: CallId) -> bool {
        match self.core.calls.get(call) {
            Some(actor) => {
                actor.do_send(HangUp(reason::ADMIN_HANGUP));
                true
            }
            None => false,
        }
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<u64, Failed>> {
        async move {
            let cluster = &self.core.cluster;
            let before = cluster.status().applied;
            // It is written beside what goes on; tell when it is there. While another is being written none is begun.
            for look in 0..SNAPSHOT_LOOKS {
                if look % SNAPSHOT_ASK_EVERY == 0 {
                    cluster
                        .trigger_snapshot()
                        .await
                        .map_err(|error| Failed(error.to_string()))?;
                }
                let snapshot = cluster.status().snapshot;
                if snapshot >= before {
                    return Ok(snapshot);
                }
                tokio::time::sleep(SNAPSHOT_LOOK_EVERY).await;
            }
            Err(Failed("the snapshot is not written yet".to_owned()))
        }
        .boxed()
    }

    fn backup(&self, records: bool) -> BoxFuture<'_, Result<std::fs::File, Failed>> {
        async move {
            let Ok(_one) = self.backups.try_acquire() else {
                return Err(Failed("another backup is being written".to_owned()));
            };
            let core = &self.core;
            let (cluster, store) = (core.cluster.clone(), Arc::clone(&self.store));
            let at = core.clock.now().wall;
            let written = backup::write(cluster, store, &core.config, at, records).await;
            written.map_err(|error| {
                tracing::warn!(error = chain(&error), "no backup");
                Failed(chain(&error))
            })
        }
        .boxed()
    }

    fn marked(&self, mark: u64) -> BoxFuture<'_, Result<Digest, Failed>> {
        async move {
            let kept = self.core.cluster.marked(mark, MARK_WITHIN).await;
            let (state, applied) = kept.map_err(|error| match error {
                ProposeError::Unknown(_) => Failed("it has not applied the mark yet".to_owned()),
                error => Failed(error.to_string()),
            })?;
            // It walks over everything.
            tokio::task::spawn_blocking(move || Digest::of(&state, applied))
                .await
                .map_err(|error| Failed(error.to_string()))
        }
        .boxed()
    }

    fn copy_state(&self, mark: u64, from: u64) -> BoxFuture<'_, Result<u64, Failed>> {
        async move {
            let begun = Instant::now();
            let (state, upto) = peer::copy(&self.core, from, mark).await.map_err(Failed)?;
            let bytes = state.len();
            let applied = self.core.cluster.restore(state, upto).await;
            let applied = applied.map_err(|error| Failed(crate::start::chain(&error)))?;
            tracing::warn!(from, bytes, took = ?begun.elapsed(), "state repaired from another node");
            metrics::counter!("tandem_node_state_repairs_total").increment(1);
            Ok(applied)
        }
        .boxed()
    }

    fn transfer_leader(&self, to: u64) -> BoxFuture<'_, Result<(), Failed>> {
        async move {
            self.core
                .cluster
                .transfer_leader(to)
                .await
                .map_err(|error| Failed(error.to_string()))
        }
        .boxed()
    }

    fn change_members_here(&self, change: Change) -> BoxFuture<'_, Result<Progress, Unchanged>> {
        members::change(&self.core, change).boxed()
    }

    fn change_members(&self, change: Change) -> BoxFuture<'_, Result<Progress, Unchanged>> {
        members::by_leader(&self.core, change).boxed()
    }

    fn epoch(&self) -> Option<Epoch> {
        self.core.epoch()
    }

    fn reconcile(
        &self,
        interface: Id,
        apply: bool,
        progress: ProgressTo,
    ) -> BoxFuture<'_, Result<Reconciliation, Failed>> {
        reconcile::run(Arc::clone(&self.core), interface, apply, progress).boxed()
    }

    fn interface(&self, interface: Id, exchanges: bool) -> OnNode {
        trial::on_node(&self.core, interface, exchanges)
    }

    fn try_interface(&self, asked: Trial) -> BoxFuture<'_, Result<Tried, Untried>> {
        let core = Arc::clone(&self.core);
        let (tell, told) = oneshot::channel();
        // Goes on when nobody waits any more, until its binding is released.
        self.actors.spawn(async move {
            let _ = tell.send(trial::run(core, asked).await);
        });
        async move {
            let stops = || Unavailable("this node is stopping".to_owned());
            told.await
                .unwrap_or_else(|_| Err(Untried::Unavailable(stops())))
        }
        .boxed()
    }

    fn explain(&self, question: &Question) -> Option<Explanation> {
        self.core.cluster.state().explain(question, &Arithmetic)
    }

    fn platform_known(&self, interface: &str, name: &str) -> Known {
        callbacks::known(&self.core, interface, name)
    }

    fn platform_refusal(&self, interface: &str, name: &str, status: u16) -> Option<PlatformReply> {
        callbacks::refusal(&self.core, interface, name, status)
    }

    fn platform_request(&self, request: PlatformRequest) -> BoxFuture<'_, PlatformReply> {
        callbacks::answer(&self.core, &self.store, request).boxed()
    }

    fn ask(&self, node: &str, query: Query) -> BoxFuture<'_, Result<Answer, AskError>> {
        let node = node.to_owned();
        async move {
            if node == self.core.config.node.access_name {
                return Ok(tandem_ops::switch::answer(self, query).await);
            }
            let id = self
                .core
                .cluster
                .state()
                .devices()
                .find(|device| device.access_name == node)
                .map(|d| d.node);
            match id {
                None => Err(AskError::Unknown(node)),
                Some(id) => peer::query(&self.core, id, query)
                    .await
                    .ok_or(AskError::Silent(node)),
            }
        }
        .boxed()
    }
}

impl Process {
    fn settings(&self) -> BTreeMap<String, String> {
        let sip = &self.core.config.sip;
        let list = |addresses: &[std::net::SocketAddr]| {
            addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        BTreeMap::from([
            ("sip_udp".to_owned(), list(&sip.udp)),
            ("sip_tcp".to_owned(), list(&sip.tcp)),
            ("shards".to_owned(), self.core.config.shards().to_string()),
            ("cluster".to_owned(), self.core.config.cluster.id.clone()),
        ])
    }
}

/// Bytes that this process may still write where its data lies; 0 where that cannot be told.
fn disk_free(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// What the process has used, from `/proc`; 0 where that cannot be read.
struct Usage {
    cpu_ms: u64,
    memory_bytes: u64,
}

impl Usage {
    fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name in parentheses may hold anything; the numbers stand behind it.
        let fields: Vec<u64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| {
                rest.split_whitespace()
                    .map(|field| field.parse().unwrap_or(0))
                    .collect()
            })
            .unwrap_or_default();
        let field = |at: usize| fields.get(at).copied().unwrap_or(0);
        // proc(5): utime and stime in clock ticks of 10 ms, rss in pages of 4 KiB.
        Usage {
            cpu_ms: (field(11) + field(12)) * 10,
            memory_bytes: field(21) * 4_096,
        }
    }
}
