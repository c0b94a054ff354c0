//! The device actor: claims this node's access name and keeps the claim alive; on the leader it ends the tenures whose
//! lease has run out; it keeps what is live here in step with the state. It looks at the world and carries out what
//! [`machine`] decides.

pub mod machine;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tandem_cluster::command::{
    Attempt, BindingId, CallId, Claim, ClaimAt, Command, Effect, End, EndedBy, Epoch, Refusal,
    Reply,
};
use tandem_cluster::entity::{Id, Millis};
use tandem_cluster::handle::{ProposeError, Role};
use tandem_cluster::level::FIRST;
use tandem_cluster::state::settings::Settings;
use tandem_cluster::state::{AxPhase, Binding, Call, Phase, State};
use tandem_sip::dialog::Dialog;

use crate::ax;
use crate::binding::actor::{BindingActor, Order};
use crate::call::actor::{Abandon, Turn};
use crate::call::machine::{Adopted, FarEnd};
use crate::call::reason;
use crate::config::Config;
use crate::core::Core;
use crate::handover::{self, Far, Handover};
use crate::platforms;
use crate::shard::TakeOver;
use machine::{Action, Event, Limits, Machine, Suspect, View};

/// A claim is renewed so many times in a lease.
const RENEWALS: u32 = 3;
/// The cluster is looked at this often.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// Live actors and the state are compared this often.
const RECONCILE_EVERY: Duration = Duration::from_secs(2);
/// Marked states are wanted by a comparison that is under way, and no longer.
const MARKS_AGE: Duration = Duration::from_secs(60);
/// A tenure that ran out is declared so within this, or at the next look.
const DOWN_WITHIN: Duration = Duration::from_secs(1);
/// A resignation must be replicated within this; without a quorum the lease runs out by itself.
const RESIGN_WITHIN: Duration = Duration::from_secs(2);

/// Requests that one owner of a call may have sent in a dialog, untold.
const CSEQ_JUMP: u32 = 1_000;

const CLAIM_AGAIN_MS: Millis = 500;
const QUORUM_GRACE_MS: Millis = 1_500;
const SILENCE_MS: Millis = 3_000;
const SETTLED_MS: Millis = 5_000;

/// This node's device.
pub struct DeviceActor {
    core: Arc<Core>,
    machine: Machine,
    boot: u64,
    settings: Settings,
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
        let boot = core.chance.draw();
        DeviceActor {
            core,
            machine: Machine::new(limits),
            boot,
            settings: Settings::default(),
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
                    self.boot = core.chance.draw();
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
                self.keep_log_time();
            }
            Action::TellFirst(answer) => {
                if let Some(first) = self.first.take() {
                    // Nobody may listen any more when the process is stopping.
                    let _ = first.send(answer);
                }
            }
            Action::Hold(until) => core.hold_until(until),
            Action::Renew(epoch) => self.renew(epoch, ctx),
            Action::Resign(epoch) => drop(actix::spawn(self.resign(epoch))),
            Action::Drop(epoch) => {
                tracing::error!(epoch, "claim lost; what ran under it is another's");
                metrics::counter!("tandem_node_claims_total", "result" => "lost").increment(1);
                drop_all(core);
            }
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
                crate::metrics::taken_over("binding", "adopted");
            }
            Action::Release(epoch, binding) => match core.bindings.get(binding) {
                Some(actor) => actor.do_send(Order::Release),
                None => self.adopt(epoch, binding),
            },
            Action::Farewell(epoch, gone) => self.farewell(epoch, &gone),
            Action::AdoptAll(epoch) => self.adopt_all(epoch),
            Action::TakeOver(epoch, call) => self.take_over(epoch, call),
            Action::Close(epoch, call) => self.close(epoch, call),
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
        let claim = Claim {
            access_name: config.node.access_name.clone(),
            node: config.node.id,
            boot: self.boot,
            address: address(config),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lease_ms: config.node.lease_ms,
        };
        let cluster = self.core.cluster.clone();
        let command = match cluster.level() {
            FIRST => Command::Claim(claim),
            _ => Command::ClaimAt(ClaimAt {
                claim,
                level: cluster.spoken(),
            }),
        };
        let (asked_at, within) = (self.core.clock.mono(), self.renew_every());
        let claimed = async move {
            let (index, reply) = cluster.propose_indexed(command).await?;
            // The reply comes from the leader, before the entry does. What begins here begins with a state that knows
            // of the claim, unless there is so much to catch up with that the claim must be renewed meanwhile.
            let _ = cluster.state_at_least(index, within).await;
            Ok(reply)
        };
        ctx.spawn(claimed.into_actor(self).map(move |reply, device, ctx| {
            let event = device.heard(reply);
            let held = match &event {
                Event::Claimed(epoch) => Some(*epoch),
                _ => None,
            };
            device.feed(event, ctx);
            if let Some(epoch) = held {
                device.feed(Event::Held { epoch, asked_at }, ctx);
            }
        }));
    }

    fn renew(&self, epoch: Epoch, ctx: &mut Context<Self>) {
        let cluster = self.core.cluster.clone();
        let (asked_at, within) = (self.core.clock.mono(), self.renew_every());
        let renewed = async move {
            cluster
                .propose_within(Command::KeepAlive { epoch }, within)
                .await
        };
        ctx.spawn(
            renewed
                .into_actor(self)
                .map(move |reply, device, ctx| match reply {
                    Ok(Reply::Refused(Refusal::StaleEpoch)) => {
                        device.feed(Event::Stale(epoch), ctx)
                    }
                    Ok(_) => device.feed(Event::Held { epoch, asked_at }, ctx),
                    // Asked again by the next renewal.
                    Err(_) => {}
                }),
        );
    }

    fn renew_every(&self) -> Duration {
        Duration::from_millis(u64::from(self.core.config.node.lease_ms)) / RENEWALS
    }

    /// The answer to a claim.
    fn heard(&self, reply: Result<Reply, ProposeError>) -> Event {
        match reply {
            Ok(Reply::Claimed { epoch }) => {
                tracing::info!(epoch, "access name claimed");
                metrics::counter!("tandem_node_claims_total", "result" => "granted").increment(1);
                self.core.note_claim_fault(None);
                Event::Claimed(epoch)
            }
            Ok(Reply::Refused(refusal)) => {
                metrics::counter!("tandem_node_claims_total", "result" => "refused").increment(1);
                let name = &self.core.config.node.access_name;
                let fault = match &refusal {
                    Refusal::ClaimHeld { address, .. } => {
                        format!("access name `{name}` is held by the node at {address}")
                    }
                    other => format!("access name `{name}` is refused: {other:?}"),
                };
                // Asked for again and again, told once.
                if self.core.note_claim_fault(Some(fault.clone())) {
                    tracing::error!("{fault}");
                }
                Event::Refused(refusal)
            }
            _ => Event::Unanswered,
        }
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

    /// Keeps the clock on the log's time. A state that does not know of the claim yet is behind, and so is its time: by
    /// as long as this node was down.
    fn keep_log_time(&self) {
        let core = &self.core;
        let state = core.cluster.state();
        let caught_up = core
            .epoch()
            .is_some_and(|epoch| state.tenure(epoch).is_some());
        if let (true, Some(log_time)) = (caught_up, core.cluster.log_time()) {
            match core.calls.is_empty() {
                // No duration is harmed.
                true => core.clock.set(log_time),
                false => core.clock.follow(log_time),
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
        let log_time = core.cluster.log_time();
        self.keep_log_time();
        let settings = own.map(|device| Settings::of(&device.settings));
        let settings = settings.unwrap_or_default();
        let view = View {
            healthy: status.quorum && status.stopped.is_none(),
            leads,
            members: status
                .members
                .iter()
                .map(|member| (member.node, member.alive))
                .collect(),
            draining: own.is_some_and(|device| device.draining),
            // Leases are meant in the log's time, whatever this machine's clock says.
            expired: match log_time {
                Some(log_time) if leads => state.expired_claims(log_time),
                _ => Vec::new(),
            },
        };
        core.set_disk_full(status.disk_full.is_some());
        self.take_settings(settings);
        self.feed(Event::Looked(view), ctx);
    }

    /// Acts on what an operator has set.
    fn take_settings(&mut self, settings: Settings) {
        if self.settings == settings {
            return;
        }
        tracing::info!(?settings, "settings of this device");
        if self.settings.log_level != settings.log_level
            && !tandem_ops::log::set_level(settings.log_level)
        {
            tracing::warn!("log level cannot be changed in this process");
        }
        self.settings = settings;
        self.core.set_settings(settings);
    }

    fn look_at_state(&mut self, ctx: &mut Context<Self>) {
        let core = &self.core;
        core.cluster.forget_marks(MARKS_AGE);
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

    /// A tenure begins: what it was given with its beginning.
    fn adopt_all(&mut self, epoch: Epoch) {
        let state = self.core.cluster.state();
        let bindings: Vec<BindingId> = state.bindings_of(epoch).map(|row| row.id).collect();
        let calls: Vec<CallId> = state.calls_of(epoch).map(|call| call.id()).collect();
        for binding in bindings {
            if !self.core.bindings.contains(binding) {
                crate::metrics::taken_over("binding", "adopted");
                self.adopt(epoch, binding);
            }
        }
        for call in calls {
            self.take_over(epoch, call);
        }
    }

    fn take_over(&self, epoch: Epoch, id: CallId) {
        let core = &self.core;
        let state = core.cluster.state();
        let Some(call) = state.call(id).filter(|call| call.owner == epoch) else {
            return;
        };
        if core.calls.contains(id) {
            return;
        }
        let message = handover::decode(&call.dialogs.0)
            .and_then(|handover| taking_over(&state, call, handover));
        let shard = message
            .as_ref()
            .and_then(|message| core.shard_of(&message.caller.call_id));
        match (message, shard) {
            (Some(message), Some(shard)) => {
                tracing::info!(call = ?id, "call taken over");
                shard.do_send(message);
            }
            // Kept by a version that we do not know, or no thread is there to run it.
            _ => {
                crate::metrics::taken_over("call", "failed");
                self.close(epoch, id);
            }
        }
    }

    fn close(&self, epoch: Epoch, id: CallId) {
        tracing::warn!(call = ?id, "call without an actor closed");
        let state = self.core.cluster.state();
        let call = state.call(id);
        let now = self.core.clock.now().wall;
        self.core.submit(Command::End(End {
            call: id,
            epoch,
            ended_at: call.and_then(|call| call.heard_at).unwrap_or(now),
            answered_at: call.and_then(|call| call.answered_at),
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

/// Everything that runs here under a tenure that is over: what talks is dropped without a word, calls in set-up end
/// for their callers (the state has closed them), bindings are released by others.
pub fn drop_all(core: &Core) {
    for (_, binding) in core.bindings.take() {
        binding.do_send(Order::Abandon);
    }
    for (_, call) in core.calls.take() {
        call.do_send(Abandon);
    }
}

/// What the state has of an answered call, for the thread that will run it.
fn taking_over(state: &State, call: &Call, handover: Handover) -> Option<TakeOver> {
    let Handover { caller, callee } = handover;
    let far_end = |far: &Far| FarEnd {
        told: far.told(),
        takes_update: far.dialog.takes_update,
    };
    let answered_at = call.answered_at?;
    let adopted = Adopted {
        attempt: Box::new(Attempt::clone(call.attempt.as_deref()?)),
        credit: call.credit,
        answered_at,
        heard_at: call.heard_at.unwrap_or(answered_at),
        caller: far_end(&caller),
        callee: far_end(&callee),
    };
    // Whoever had the call before may have gone before it told the state how far its requests had come.
    let jump = call
        .owner
        .saturating_sub(call.id().epoch())
        .saturating_sub(1);
    let ahead = |mut dialog: Dialog| {
        let cseq = dialog.local_cseq;
        dialog.local_cseq = cseq.saturating_add(jump.saturating_mul(CSEQ_JUMP));
        dialog
    };
    let gateway = state.mapping_gateway(call.asked.gateway);
    Some(TakeOver {
        call: call.id(),
        epoch: call.owner,
        gateway: gateway.map_or("", |row| &row.entity.name).into(),
        adopted,
        caller: ahead(caller.dialog),
        callee: ahead(callee.dialog),
    })
}

/// 接入地址: where this node's admin API is found. One that listens everywhere is found where its links are.
fn address(config: &Config) -> String {
    let listen = config.admin.listen;
    let mut peers = config.cluster.peers.iter();
    let own = peers.find(|peer| peer.id == config.node.id);
    match own.and_then(|own| own.address.rsplit_once(':')) {
        Some((host, _)) if listen.ip().is_unspecified() => format!("{host}:{}", listen.port()),
        _ => listen.to_string(),
    }
}

impl Actor for DeviceActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.feed(Event::Started, ctx);
        ctx.run_interval(self.renew_every(), |device, ctx| {
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
