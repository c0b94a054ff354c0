//! The device actor: claims this node's access name, keeps the claim alive, fences the node when it is lost, and, on
//! the leader, ends the tenures whose lease has run out. It also keeps what is live here in step with the state: an
//! orphaned binding is adopted, a call that the state holds and nobody runs is closed.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tandem_cluster::command::{
    BindingId, CallId, Claim, Command, Effect, End, EndedBy, Epoch, Refusal, Reply,
};
use tandem_cluster::entity::{Id, Millis, Table};
use tandem_cluster::handle::{Role, Status};
use tandem_cluster::state::{AxPhase, Phase};

use crate::ax;
use crate::binding::actor::{BindingActor, Order};
use crate::call::actor::{HangUp, Turn};
use crate::call::reason;
use crate::core::Core;

/// A claim is renewed this often; the lease lasts three times as long by default.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(1);
/// The leader looks for leases that ran out this often.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// Live actors and the state are compared this often.
const RECONCILE_EVERY: Duration = Duration::from_secs(2);
/// Pause after a claim that was refused or could not be replicated.
const CLAIM_AGAIN: Duration = Duration::from_millis(500);
/// An election takes less than this: calls wait for its end. After it they are refused, for a caller is better served by
/// trying elsewhere. Milliseconds.
const QUORUM_GRACE: u64 = 1_500;
/// A node that has just started has not heard from anybody yet. Milliseconds.
const SILENCE: Millis = 3_000;
/// What is younger than this may still be on its way between state and actors.
const SETTLED: u64 = 5_000;

/// This node's device.
pub struct DeviceActor {
    core: Arc<Core>,
    boot: u64,
    /// Set once: told how the first claim went.
    first: Option<tokio::sync::oneshot::Sender<Result<Epoch, Refusal>>>,
    leading_since: Option<u64>,
    quorum_seen: Option<u64>,
    /// Nodes that do not answer, each told once.
    silent: BTreeSet<u64>,
    stopping: bool,
    /// Seen without an actor at the last look; acted on when still so at the next.
    suspects: HashSet<Suspect>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Suspect {
    Binding(BindingId),
    Call(CallId),
    Relation(Id),
}

/// An effect of an applied entry.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Applied(pub Effect);

/// The process is stopping: an operator's undrain no longer counts.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stopping;

/// Gives the claim up; answers when that is replicated or cannot be.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Resign;

impl DeviceActor {
    /// A device that will claim; `first` hears how the first claim went.
    pub fn new(
        core: Arc<Core>,
        first: tokio::sync::oneshot::Sender<Result<Epoch, Refusal>>,
    ) -> Self {
        DeviceActor {
            core,
            boot: rand::random(),
            first: Some(first),
            leading_since: None,
            quorum_seen: None,
            silent: BTreeSet::new(),
            stopping: false,
            suspects: HashSet::new(),
        }
    }

    fn claim(&mut self, ctx: &mut Context<Self>) {
        let config = &self.core.config;
        let command = Command::Claim(Claim {
            access_name: config.node.access_name.clone(),
            node: config.node.id,
            boot: self.boot,
            address: config.admin.listen.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lease_ms: config.node.lease_ms,
        });
        let cluster = self.core.cluster.clone();
        let claimed = async move { cluster.propose(command).await };
        ctx.spawn(
            claimed
                .into_actor(self)
                .map(|reply, device, ctx| match reply {
                    Ok(Reply::Claimed { epoch }) => {
                        tracing::info!(epoch, "access name claimed");
                        metrics::counter!("tandem_node_claims_total", "result" => "granted")
                            .increment(1);
                        device.core.set_epoch(Some(epoch));
                        device.answer_first(Ok(epoch));
                    }
                    Ok(Reply::Refused(refusal)) => {
                        metrics::counter!("tandem_node_claims_total", "result" => "refused")
                            .increment(1);
                        tracing::error!(?refusal, "access name refused");
                        device.answer_first(Err(refusal));
                        ctx.run_later(CLAIM_AGAIN, Self::claim);
                    }
                    _ => drop(ctx.run_later(CLAIM_AGAIN, Self::claim)),
                }),
        );
    }

    fn answer_first(&mut self, answer: Result<Epoch, Refusal>) {
        if let Some(first) = self.first.take() {
            // Nobody may listen any more when the process is stopping.
            let _ = first.send(answer);
        }
    }

    fn keep_alive(&mut self, ctx: &mut Context<Self>) {
        let Some(epoch) = self.core.epoch() else {
            return;
        };
        let cluster = self.core.cluster.clone();
        let limit = KEEP_ALIVE_EVERY;
        let renewed = async move {
            cluster
                .propose_within(Command::KeepAlive { epoch }, limit)
                .await
        };
        ctx.spawn(renewed.into_actor(self).map(move |reply, device, ctx| {
            if let Ok(Reply::Refused(Refusal::StaleEpoch)) = reply {
                device.fence(epoch, ctx);
            }
        }));
    }

    /// The tenure is over: what runs under it is ended here (the state has closed the records), then the name is
    /// claimed anew.
    fn fence(&mut self, epoch: Epoch, ctx: &mut Context<Self>) {
        if self.core.epoch() != Some(epoch) {
            return;
        }
        tracing::error!(epoch, "claim lost; calls of this tenure are ended");
        metrics::counter!("tandem_node_claims_total", "result" => "lost").increment(1);
        self.core.set_epoch(None);
        for (call, actor) in self.core.calls.all() {
            if call.epoch() == epoch {
                actor.do_send(HangUp(reason::NODE_FAILURE));
            }
        }
        // A fresh boot: this process's earlier tenure must not be given back to it.
        self.boot = rand::random();
        self.claim(ctx);
    }

    /// Says once of every other node that it does not answer, and once that it does again.
    fn watch_members(&mut self, status: &Status, now: Millis) {
        if now < SILENCE {
            return;
        }
        for member in &status.members {
            match (member.alive, self.silent.contains(&member.node)) {
                (false, false) => {
                    self.silent.insert(member.node);
                    tracing::warn!(node = member.node, address = %member.address, "node does not answer");
                }
                (true, true) => {
                    self.silent.remove(&member.node);
                    tracing::info!(node = member.node, address = %member.address, "node answers again");
                }
                _ => {}
            }
        }
    }

    /// Looks at the cluster. The leader also declares tenures down whose lease has run out.
    fn watch(&mut self) {
        let status = self.core.cluster.status();
        let now = self.core.clock.now();
        self.watch_members(&status, now.mono);
        if status.quorum && status.stopped.is_none() {
            self.quorum_seen = Some(now.mono);
        }
        let missing = self.quorum_seen.map(|seen| now.mono.saturating_sub(seen));
        self.core
            .set_quorum(missing.is_some_and(|missing| missing < QUORUM_GRACE));
        let state = self.core.cluster.state();
        if !self.stopping {
            let own = state.device(&self.core.config.node.access_name);
            self.core
                .set_draining(own.is_some_and(|device| device.draining));
        }
        metrics::gauge!("tandem_node_active_calls").set(self.core.calls.len() as f64);
        let answered = self.core.figures.answered.load(Ordering::Relaxed);
        metrics::gauge!("tandem_node_answered_calls").set(answered as f64);
        if status.role != Role::Leader {
            self.leading_since = None;
            return;
        }
        // A new leader first lets every node renew: while there was none, nobody could.
        let since = *self.leading_since.get_or_insert(now.mono);
        if now.mono.saturating_sub(since) < u64::from(self.core.config.node.lease_ms) {
            return;
        }
        for epoch in state.expired_claims(now.wall) {
            let cluster = self.core.cluster.clone();
            actix::spawn(async move {
                tracing::warn!(epoch, "lease ran out");
                // Repeated by the next look if it did not work.
                let _ = cluster
                    .propose_within(Command::NodeDown { epoch }, Duration::from_secs(1))
                    .await;
            });
        }
    }

    fn reconcile(&mut self) {
        let Some(epoch) = self.core.epoch() else {
            return;
        };
        let state = self.core.cluster.state();
        let settled = |since: u64| since + SETTLED < state.at();
        let mut suspects = HashSet::new();
        for row in state
            .bindings_of(epoch)
            .filter(|row| settled(row.created_at))
        {
            if !self.core.bindings.contains(row.id) {
                let suspect = Suspect::Binding(row.id);
                match self.suspects.contains(&suspect) {
                    true => {
                        tracing::warn!(binding = row.id, "binding without an actor taken up");
                        self.adopt(epoch, row.id);
                    }
                    false => drop(suspects.insert(suspect)),
                }
            }
        }
        for id in state.ax_bindings().map(|row| row.id) {
            let own = state
                .ax_live(id)
                .is_some_and(|live| live.owner == Some(epoch));
            if own && !self.core.relations.contains(id) {
                let suspect = Suspect::Relation(id);
                match self.suspects.contains(&suspect) {
                    true => ax::actor::look(&self.core, epoch, id),
                    false => drop(suspects.insert(suspect)),
                }
            }
        }
        for call in state
            .calls_of(epoch)
            .filter(|call| settled(call.reserved_at))
        {
            if !self.core.calls.contains(call.id()) {
                let suspect = Suspect::Call(call.id());
                match self.suspects.contains(&suspect) {
                    true => self.close(call.id(), call.answered_at),
                    false => drop(suspects.insert(suspect)),
                }
            }
        }
        self.suspects = suspects;
    }

    fn close(&self, call: CallId, answered_at: Option<u64>) {
        tracing::warn!(?call, "call without an actor closed");
        self.core.submit(Command::End(End {
            call,
            ended_at: self.core.clock.now().wall,
            answered_at,
            pdd_ms: None,
            codec: String::new(),
            reason: reason::of(reason::NODE_FAILURE),
            by: EndedBy::Server,
        }));
    }

    fn adopt(&self, epoch: Epoch, id: BindingId) {
        let state = self.core.cluster.state();
        if let Some(row) = state.binding(id)
            && !self.core.bindings.contains(id)
        {
            BindingActor::adopt(Arc::clone(&self.core), epoch, row);
        }
    }

    /// An interface was edited, perhaps mended: what it could not release is tried now instead of after a pause.
    fn ask_again(&self, interface: Id) {
        let Some(own) = self.core.epoch() else {
            return;
        };
        let state = self.core.cluster.state();
        let stuck = state.bindings_of(own).filter(|row| {
            row.interface == interface && matches!(row.phase, Phase::Unbinding | Phase::Orphan)
        });
        for row in stuck {
            if let Some(actor) = self.core.bindings.get(row.id) {
                actor.do_send(Order::Release);
            }
        }
        let stuck = state.ax_bindings().filter(|row| {
            row.entity.interface == interface
                && state
                    .ax_live(row.id)
                    .is_some_and(|live| live.phase == AxPhase::Unbinding)
        });
        for row in stuck {
            ax::actor::look(&self.core, own, row.id);
        }
    }

    fn apply(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        let own = self.core.epoch();
        match effect {
            Effect::Adopted { owner, binding } if Some(owner) == own => {
                metrics::counter!("tandem_node_takeovers_total", "what" => "binding").increment(1);
                self.adopt(owner, binding);
            }
            Effect::UnbindAsked { owner, binding } if Some(owner) == own => {
                match self.core.bindings.get(binding) {
                    Some(actor) => actor.do_send(Order::Release),
                    None => self.adopt(owner, binding),
                }
            }
            Effect::ForceUnbound { owner, gone } if Some(owner) == own => {
                match self.core.bindings.get(gone.id) {
                    Some(actor) => actor.do_send(Order::Forced),
                    None => drop(BindingActor::farewell(Arc::clone(&self.core), owner, &gone)),
                }
            }
            Effect::Edited {
                table: Table::Interfaces,
                id,
            } => self.ask_again(id),
            Effect::AxTurn {
                owner,
                call,
                attempt,
            } if Some(owner) == own => {
                if let Some(actor) = self.core.calls.get(call) {
                    actor.do_send(Turn { attempt });
                }
            }
            Effect::AxAsked { owner, ax } if Some(owner) == own => {
                ax::actor::look(&self.core, owner, ax);
            }
            Effect::AxForced { owner, gone } if Some(owner) == own => {
                ax::actor::farewell(&self.core, owner, *gone);
            }
            Effect::Fenced { epoch } => self.fence(epoch, ctx),
            // Another node's, or looked up where it is needed.
            _ => {}
        }
    }
}

impl Actor for DeviceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.claim(ctx);
        ctx.run_interval(KEEP_ALIVE_EVERY, Self::keep_alive);
        ctx.run_interval(WATCH_EVERY, |device, _| device.watch());
        ctx.run_interval(RECONCILE_EVERY, |device, _| device.reconcile());
    }
}

impl Handler<Applied> for DeviceActor {
    type Result = ();

    fn handle(&mut self, Applied(effect): Applied, ctx: &mut Context<Self>) {
        self.apply(effect, ctx);
    }
}

impl Handler<Stopping> for DeviceActor {
    type Result = ();

    fn handle(&mut self, _: Stopping, _: &mut Context<Self>) {
        self.stopping = true;
        self.core.set_draining(true);
    }
}

impl Handler<Resign> for DeviceActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Resign, _: &mut Context<Self>) -> Self::Result {
        self.stopping = true;
        let epoch = self.core.epoch();
        self.core.set_epoch(None);
        let cluster = self.core.cluster.clone();
        Box::pin(async move {
            if let Some(epoch) = epoch {
                // Without a quorum the lease runs out by itself.
                let _ = cluster
                    .propose_within(Command::Resign { epoch }, Duration::from_secs(2))
                    .await;
            }
        })
    }
}
