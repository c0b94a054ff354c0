//! The device actor: claims this node's access name and keeps the claim alive; on the leader it ends the tenures whose
//! lease has run out; it keeps what is live here in step with the state. It looks at the world and carries out what
//! [`machine`] decides.

pub mod machine;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tandem_cluster::command::{
    BindingId, CallId, Claim, Command, Effect, End, EndedBy, Epoch, Refusal, Reply,
};
use tandem_cluster::entity::{Id, Millis};
use tandem_cluster::handle::{ProposeError, Role};
use tandem_cluster::state::{AxPhase, Binding, Phase};

use crate::ax;
use crate::binding::actor::{BindingActor, Order};
use crate::call::actor::{HangUp, Turn};
use crate::call::reason;
use crate::core::Core;
use crate::platforms;
use machine::{Action, Event, Limits, Machine, Suspect, View};

/// A claim is renewed this often; the lease lasts three times as long by default.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(1);
/// The cluster is looked at this often.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// Live actors and the state are compared this often.
const RECONCILE_EVERY: Duration = Duration::from_secs(2);
/// A tenure that ran out is declared so within this, or at the next look.
const DOWN_WITHIN: Duration = Duration::from_secs(1);
/// A resignation must be replicated within this; without a quorum the lease runs out by itself.
const RESIGN_WITHIN: Duration = Duration::from_secs(2);

const CLAIM_AGAIN_MS: Millis = 500;
const QUORUM_GRACE_MS: Millis = 1_500;
const SILENCE_MS: Millis = 3_000;
const SETTLED_MS: Millis = 5_000;

/// This node's device.
pub struct DeviceActor {
    core: Arc<Core>,
    machine: Machine,
    boot: u64,
    /// Told how the first claim went.
    first: Option<tokio::sync::oneshot::Sender<Result<Epoch, Refusal>>>,
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
        let limits = Limits {
            claim_again_ms: CLAIM_AGAIN_MS,
            quorum_grace_ms: QUORUM_GRACE_MS,
            silence_ms: SILENCE_MS,
            settled_ms: SETTLED_MS,
            lease_ms: Millis::from(core.config.node.lease_ms),
        };
        DeviceActor {
            core,
            machine: Machine::new(limits),
            boot: rand::random(),
            first: Some(first),
        }
    }

    fn feed(&mut self, event: Event, ctx: &mut Context<Self>) {
        for action in self.machine.on(event, self.core.clock.mono()) {
            self.perform(action, ctx);
        }
    }

    fn perform(&mut self, action: Action, ctx: &mut Context<Self>) {
        let core = &self.core;
        match action {
            Action::Claim { afresh } => {
                if afresh {
                    self.boot = rand::random();
                }
                self.claim(ctx);
            }
            Action::ClaimAfter(ms) => {
                let pause = Duration::from_millis(ms);
                ctx.run_later(pause, |device, ctx| device.feed(Event::ClaimAgain, ctx));
            }
            Action::Serve(epoch) => {
                core.set_epoch(epoch);
                if epoch.is_some() {
                    platforms::tell_unverified(&core.cluster.state());
                }
            }
            Action::TellFirst(answer) => {
                if let Some(first) = self.first.take() {
                    // Nobody may listen any more when the process is stopping.
                    let _ = first.send(answer);
                }
            }
            Action::Renew(epoch) => self.renew(epoch, ctx),
            Action::Resign(epoch) => drop(actix::spawn(self.resign(epoch))),
            Action::EndCalls(epoch) => self.end_calls(epoch),
            Action::SetQuorum(quorum) => core.set_quorum(quorum),
            Action::SetDraining(draining) => core.set_draining(draining),
            Action::Say { node, answers } => self.say(node, answers),
            Action::Down(epoch) => {
                tracing::warn!(epoch, "lease ran out");
                let cluster = core.cluster.clone();
                let down = Command::NodeDown { epoch };
                // Repeated by the next look if it did not work.
                actix::spawn(async move { cluster.propose_within(down, DOWN_WITHIN).await });
            }
            Action::Adopt(epoch, binding) => self.adopt(epoch, binding),
            Action::CountAdopted => {
                metrics::counter!("tandem_node_takeovers_total", "what" => "binding").increment(1);
            }
            Action::Release(epoch, binding) => match core.bindings.get(binding) {
                Some(actor) => actor.do_send(Order::Release),
                None => self.adopt(epoch, binding),
            },
            Action::Farewell(epoch, gone) => self.farewell(epoch, &gone),
            Action::Close(call) => self.close(call),
            Action::Turn(call, attempt) => {
                if let Some(actor) = core.calls.get(call) {
                    actor.do_send(Turn { attempt });
                }
            }
            Action::Look(epoch, relation) => ax::actor::look(core, epoch, relation),
            Action::FarewellAx(epoch, gone) => ax::actor::farewell(core, epoch, *gone),
            Action::AskAgain(epoch, interface) => self.ask_again(epoch, interface),
        }
    }

    // ---- the claim ----

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
        ctx.spawn(claimed.into_actor(self).map(|reply, device, ctx| {
            let event = heard(reply);
            device.feed(event, ctx);
        }));
    }

    fn renew(&self, epoch: Epoch, ctx: &mut Context<Self>) {
        let cluster = self.core.cluster.clone();
        let renewed = async move {
            cluster
                .propose_within(Command::KeepAlive { epoch }, KEEP_ALIVE_EVERY)
                .await
        };
        ctx.spawn(renewed.into_actor(self).map(move |reply, device, ctx| {
            if let Ok(Reply::Refused(Refusal::StaleEpoch)) = reply {
                device.feed(Event::Stale(epoch), ctx);
            }
        }));
    }

    fn resign(&self, epoch: Option<Epoch>) -> impl Future<Output = ()> + use<> {
        let cluster = self.core.cluster.clone();
        async move {
            if let Some(epoch) = epoch {
                let _ = cluster
                    .propose_within(Command::Resign { epoch }, RESIGN_WITHIN)
                    .await;
            }
        }
    }

    fn end_calls(&self, epoch: Epoch) {
        tracing::error!(epoch, "claim lost; calls of this tenure are ended");
        metrics::counter!("tandem_node_claims_total", "result" => "lost").increment(1);
        for (call, actor) in self.core.calls.all() {
            if call.epoch() == epoch {
                actor.do_send(HangUp(reason::NODE_FAILURE));
            }
        }
    }

    // ---- looks ----

    fn look_at_cluster(&mut self, ctx: &mut Context<Self>) {
        let core = &self.core;
        let (status, state) = (core.cluster.status(), core.cluster.state());
        let own = state.device(&core.config.node.access_name);
        metrics::gauge!("tandem_node_active_calls").set(core.calls.len() as f64);
        let answered = core.figures.answered.load(Ordering::Relaxed);
        metrics::gauge!("tandem_node_answered_calls").set(answered as f64);
        let leads = status.role == Role::Leader;
        let view = View {
            healthy: status.quorum && status.stopped.is_none(),
            leads,
            members: status
                .members
                .iter()
                .map(|member| (member.node, member.alive))
                .collect(),
            draining: own.is_some_and(|device| device.draining),
            expired: match leads {
                true => state.expired_claims(core.clock.now().wall),
                false => Vec::new(),
            },
        };
        self.feed(Event::Looked(view), ctx);
    }

    fn look_at_state(&mut self, ctx: &mut Context<Self>) {
        let core = &self.core;
        let Some(epoch) = core.epoch() else { return };
        let state = core.cluster.state();
        let bindings = state
            .bindings_of(epoch)
            .filter(|row| !core.bindings.contains(row.id))
            .map(|row| (Suspect::Binding(row.id), row.created_at));
        let calls = state
            .calls_of(epoch)
            .filter(|call| !core.calls.contains(call.id()))
            .map(|call| (Suspect::Call(call.id()), call.reserved_at));
        let asked = |id: &Id| {
            state
                .ax_live(*id)
                .is_some_and(|live| live.owner == Some(epoch))
        };
        // No row says since when its wish stands; two looks are time enough.
        let relations = state
            .ax_bindings()
            .map(|row| row.id)
            .filter(|id| asked(id) && !core.relations.contains(*id))
            .map(|id| (Suspect::Relation(id), 0));
        let what = bindings.chain(calls).chain(relations).collect();
        let at = state.at();
        self.feed(Event::Unattended { at, what }, ctx);
    }

    fn say(&self, node: u64, answers: bool) {
        let status = self.core.cluster.status();
        let member = status.members.iter().find(|member| member.node == node);
        let address = member.map_or("", |member| &member.address);
        if answers {
            tracing::info!(node, %address, "node answers again");
        } else {
            tracing::warn!(node, %address, "node does not answer");
        }
    }

    // ---- bindings and calls ----

    fn adopt(&self, epoch: Epoch, id: BindingId) {
        let state = self.core.cluster.state();
        if let Some(row) = state.binding(id)
            && !self.core.bindings.contains(id)
        {
            tracing::info!(binding = id, "binding taken up");
            BindingActor::adopt(Arc::clone(&self.core), epoch, row);
        }
    }

    fn farewell(&self, epoch: Epoch, gone: &Binding) {
        match self.core.bindings.get(gone.id) {
            Some(actor) => actor.do_send(Order::Forced),
            None => drop(BindingActor::farewell(Arc::clone(&self.core), epoch, gone)),
        }
    }

    fn close(&self, call: CallId) {
        tracing::warn!(?call, "call without an actor closed");
        let state = self.core.cluster.state();
        self.core.submit(Command::End(End {
            call,
            ended_at: self.core.clock.now().wall,
            answered_at: state.call(call).and_then(|call| call.answered_at),
            pdd_ms: None,
            codec: String::new(),
            reason: reason::of(reason::NODE_FAILURE),
            by: EndedBy::Server,
        }));
    }

    /// An interface was edited, perhaps mended: what it could not release is tried now instead of after a pause.
    fn ask_again(&self, epoch: Epoch, interface: Id) {
        let state = self.core.cluster.state();
        let stuck = state.bindings_of(epoch).filter(|row| {
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
            ax::actor::look(&self.core, epoch, row.id);
        }
    }
}

/// The answer to a claim.
fn heard(reply: Result<Reply, ProposeError>) -> Event {
    match reply {
        Ok(Reply::Claimed { epoch }) => {
            tracing::info!(epoch, "access name claimed");
            metrics::counter!("tandem_node_claims_total", "result" => "granted").increment(1);
            Event::Claimed(epoch)
        }
        Ok(Reply::Refused(refusal)) => {
            tracing::error!(?refusal, "access name refused");
            metrics::counter!("tandem_node_claims_total", "result" => "refused").increment(1);
            Event::Refused(refusal)
        }
        _ => Event::Unanswered,
    }
}

impl Actor for DeviceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.feed(Event::Started, ctx);
        ctx.run_interval(KEEP_ALIVE_EVERY, |device, ctx| {
            device.feed(Event::Renew, ctx)
        });
        ctx.run_interval(WATCH_EVERY, Self::look_at_cluster);
        ctx.run_interval(RECONCILE_EVERY, Self::look_at_state);
    }
}

impl Handler<Applied> for DeviceActor {
    type Result = ();

    fn handle(&mut self, Applied(effect): Applied, ctx: &mut Context<Self>) {
        self.feed(Event::Applied(effect), ctx);
    }
}

impl Handler<Stopping> for DeviceActor {
    type Result = ();

    fn handle(&mut self, _: Stopping, ctx: &mut Context<Self>) {
        self.feed(Event::Stopping, ctx);
    }
}

impl Handler<Resign> for DeviceActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Resign, ctx: &mut Context<Self>) -> Self::Result {
        let mut resigned: ResponseFuture<()> = Box::pin(std::future::ready(()));
        for action in self.machine.on(Event::Resign, self.core.clock.mono()) {
            match action {
                Action::Resign(epoch) => resigned = Box::pin(self.resign(epoch)),
                action => self.perform(action, ctx),
            }
        }
        resigned
    }
}
