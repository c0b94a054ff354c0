//! The actor around a call: one door in, one door out, no decision of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tandem_cluster::command::{
    AxLease, CallId, Command, End, Epoch, Failure, Next, Refusal, Reply, Reserve,
};
use tandem_ops::log::mask_numbers;
use tandem_sip::leg::{self, Body, LegEvent};
use tandem_vendors::outcome::{AxBind, Class, Failure as Refused, Service, SetCalleeOutcome};
use tokio::sync::OwnedSemaphorePermit;

use super::legs::Legs;
use super::machine::{Action, Adopted, Event, Limits, Machine, TURN_MISSED, Timer, Told};
use super::words;
use crate::binding::actor::{BindingActor, Order};
use crate::core::Core;
use crate::pool::{Ask, NumberPool};
use crate::shard::{CallOver, Dial, Forget, Shard, Side, ToLeg};

mod replicated;

use replicated::Keeping;

/// A call taken over gives its leave to refresh back after so long, whether its far ends have answered or not.
const REFRESH_HOLD: Duration = Duration::from_millis(500);

/// One call on the node that runs it.
pub struct CallActor {
    core: Arc<Core>,
    legs: Legs,
    /// The tenure under which it runs here.
    epoch: Epoch,
    pool: Addr<NumberPool>,
    id: CallId,
    machine: Machine,
    first: Vec<Action>,
    /// Taken by the first proposal.
    admission: Option<Box<Reserve>>,
    gateway: Arc<str>,
    binding: Option<Addr<BindingActor>>,
    timers: Vec<(Timer, SpawnHandle)>,
    /// Monotonic time since which it waits for its turn on an X.
    queued: Option<u64>,
    counted_answered: bool,
    /// Monotonic time of the INVITE.
    started: u64,
    /// Leave to refresh the far ends, while it is used.
    leave: Option<OwnedSemaphorePermit>,
    /// What the far ends were last told, where the state may not have it yet.
    told: Option<Told>,
    /// The entry with which the state got it; this node may be behind that.
    told_at: u64,
    keeping: Keeping,
}

/// Something happened on one of the call's legs.
#[derive(Message)]
#[rtype(result = "()")]
pub struct FromLeg {
    /// Whose.
    pub side: Side,
    /// What.
    pub event: LegEvent,
}

/// What became of an attempt's binding.
#[derive(Message)]
#[rtype(result = "()")]
pub enum FromBinding {
    /// It stands.
    Bound {
        /// Of this attempt.
        attempt: u16,
        /// The X, when it is not the one asked for.
        x: Option<String>,
    },
    /// It does not.
    Failed {
        /// Of this attempt.
        attempt: u16,
        /// Why.
        failure: Failure,
    },
}

/// An attempt of the call may name its callee now.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Turn {
    /// Which.
    pub attempt: u16,
}

/// Ends the call from outside.
#[derive(Message)]
#[rtype(result = "()")]
pub struct HangUp(pub &'static str);

/// The node is about to stop, and others live: what no other node can carry on ends.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Leave;

/// The tenure is over: what talks is another node's from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Abandon;

impl CallActor {
    /// Starts the actor of a call that this node has just taken.
    pub fn launch(
        core: Arc<Core>,
        shard: Addr<Shard>,
        pool: Addr<NumberPool>,
        admission: Reserve,
        gateway: Arc<str>,
        offer: Option<Body>,
    ) -> Addr<Self> {
        let now = core.clock.now();
        let (machine, first) = Machine::new(offer, limits(&core), now);
        let legs = Legs {
            caller: shard.clone(),
            callee: shard,
        };
        let (id, epoch) = (admission.call, admission.call.epoch());
        let begun = Begun {
            id,
            epoch,
            gateway,
            machine,
            first,
        };
        Self::start_as(core, legs, pool, begun, Some(Box::new(admission)))
    }

    /// Starts the actor of an answered call of another tenure.
    pub fn adopt(
        core: Arc<Core>,
        legs: Legs,
        pool: Addr<NumberPool>,
        (id, epoch): (CallId, Epoch),
        gateway: Arc<str>,
        adopted: Adopted,
    ) -> Addr<Self> {
        let now = core.clock.now();
        let (machine, first) = Machine::adopted(adopted, limits(&core), now);
        let begun = Begun {
            id,
            epoch,
            gateway,
            machine,
            first,
        };
        Self::start_as(core, legs, pool, begun, None)
    }

    fn start_as(
        core: Arc<Core>,
        legs: Legs,
        pool: Addr<NumberPool>,
        begun: Begun,
        admission: Option<Box<Reserve>>,
    ) -> Addr<Self> {
        let Begun {
            id,
            epoch,
            gateway,
            machine,
            first,
        } = begun;
        let counted_answered = machine.is_answered();
        if counted_answered {
            core.figures.answered.fetch_add(1, Ordering::Relaxed);
        }
        let (registry, started) = (Arc::clone(&core), core.clock.mono());
        let actor = CallActor {
            core,
            legs,
            epoch,
            pool,
            id,
            machine,
            first,
            admission,
            gateway,
            binding: None,
            timers: Vec::new(),
            queued: None,
            counted_answered,
            started,
            leave: None,
            told: None,
            told_at: 0,
            keeping: Keeping::Nothing,
        };
        let addr = actor.start();
        registry.calls.insert(id, addr.clone());
        addr
    }

    fn feed(&mut self, event: Event, ctx: &mut Context<Self>) {
        for action in self.machine.on(event, self.core.clock.now()) {
            self.perform(action, ctx);
        }
        if !self.machine.is_refreshing() {
            self.leave = None;
        }
        if self.machine.is_over() {
            ctx.stop();
        }
    }

    fn perform(&mut self, action: Action, ctx: &mut Context<Self>) {
        match action {
            Action::Reserve => {
                if let Some(admission) = self.admission.take() {
                    self.ask(Command::Reserve(*admission), ctx);
                }
            }
            Action::Next { attempt, failure } => {
                self.queued = None;
                if matches!(&failure, Failure::NumberRefused { code } if code == TURN_MISSED) {
                    metrics::counter!("tandem_node_ax_turns_missed_total").increment(1);
                }
                tracing::debug!(call = ?self.id, attempt, ?failure, "attempt failed");
                self.ask(
                    Command::Next(Next {
                        call: self.id,
                        epoch: self.epoch,
                        attempt,
                        failure,
                    }),
                    ctx,
                );
            }
            Action::Bind { attempt, lease } => {
                let core = Arc::clone(&self.core);
                self.binding = Some(BindingActor::ask(
                    core,
                    self.epoch,
                    &lease,
                    ctx.address(),
                    attempt,
                ));
            }
            Action::NameCallee { attempt, lease } => self.name_callee(attempt, lease, ctx),
            Action::Accepted { attempt } => self.core.submit(Command::AxAccepted {
                call: self.id,
                epoch: self.epoch,
                attempt,
            }),
            Action::ReleaseAt(at) => self.tell_binding(Order::ReleaseAt(at)),
            Action::Release => {
                self.tell_binding(Order::Release);
                self.binding = None;
            }
            Action::NeverBound(binding) => {
                self.core
                    .submit(Command::Unbound(tandem_cluster::command::Unbound {
                        binding,
                        epoch: self.epoch,
                        missing: false,
                    }))
            }
            Action::Dial { attempt, body } => self.legs.callee.do_send(Dial {
                call: self.id,
                attempt,
                body,
            }),
            Action::Caller(command) => self.to_leg(Side::Caller, command),
            Action::Callee(command) => {
                let attempt = self.machine.attempt().map_or(0, |attempt| attempt.number);
                self.to_leg(Side::Callee(attempt), command);
            }
            Action::Commit {
                answered_at,
                pdd_ms,
                codec,
                told,
            } => {
                self.told = Some(told.clone());
                self.commit(answered_at, pdd_ms, codec, told, ctx);
            }
            Action::Keep(told) => {
                self.told = Some(told);
                self.keep(ctx);
            }
            Action::KeepTargets => self.keep(ctx),
            Action::AskRefresh => self.ask_refresh(ctx),
            Action::TakenOver(result) => {
                crate::metrics::taken_over("call", words::takeover(result))
            }
            Action::Forget => self.legs.tell(Forget {
                call: self.id,
                actor: ctx.address(),
            }),
            Action::Renew { upto_secs } => self.renew(upto_secs, ctx),
            Action::Arm(timer, at) => {
                if timer == Timer::Turn {
                    self.queued.get_or_insert(self.core.clock.mono());
                }
                self.disarm(timer, ctx);
                let wait = Duration::from_millis(at.saturating_sub(self.core.clock.mono()));
                let handle = ctx.run_later(wait, move |actor, ctx| {
                    actor.forget(timer);
                    actor.feed(Event::Timer(timer), ctx);
                });
                self.timers.push((timer, handle));
                self.core.figures.timers.fetch_add(1, Ordering::Relaxed);
            }
            Action::Disarm(timer) => self.disarm(timer, ctx),
            Action::Unprotected => {
                tracing::warn!(call = ?self.id, "answer went out before it was replicated");
                metrics::counter!("tandem_node_answers_unprotected_total").increment(1);
            }
            Action::End {
                ended_at,
                answered_at,
                pdd_ms,
                codec,
                reason,
                by,
            } => {
                let result = words::result(&reason.key);
                metrics::counter!("tandem_node_calls_total", "gateway" => self.gateway.to_string(), "result" => result)
                    .increment(1);
                if let Some(pdd_ms) = pdd_ms {
                    metrics::histogram!("tandem_node_post_dial_delay_seconds")
                        .record(f64::from(pdd_ms) / 1_000.0);
                }
                let end = End {
                    call: self.id,
                    epoch: self.epoch,
                    ended_at,
                    answered_at,
                    pdd_ms,
                    codec,
                    reason,
                    by,
                };
                self.core.submit(Command::End(end));
            }
        }
        if !self.counted_answered && self.machine.is_answered() {
            self.counted_answered = true;
            let setup_ms = self.core.clock.mono().saturating_sub(self.started);
            metrics::histogram!("tandem_node_setup_seconds").record(setup_ms as f64 / 1_000.0);
            self.core.figures.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks for numbers through this thread's pool door.
    fn ask(&mut self, command: Command, ctx: &mut Context<Self>) {
        let asked = self
            .pool
            .send(Ask(command))
            .into_actor(self)
            .map(|reply, actor, ctx| {
                let event = match reply {
                    Ok(Ok(Reply::Reserved(attempt))) => Event::Reserved(attempt),
                    Ok(Ok(Reply::Refused(refusal))) => Event::Refused(refusal),
                    Ok(Ok(_)) => Event::Refused(Refusal::UnknownCall),
                    Ok(Err(_)) | Err(_) => Event::Overloaded,
                };
                actor.feed(event, ctx);
            });
        ctx.spawn(asked);
    }

    /// One request to the platform; its outcome comes back as an event.
    fn name_callee(&mut self, attempt: u16, lease: AxLease, ctx: &mut Context<Self>) {
        let waited_ms = self
            .queued
            .take()
            .map_or(0, |since| self.core.clock.mono().saturating_sub(since));
        metrics::histogram!("tandem_node_ax_turn_seconds").record(waited_ms as f64 / 1_000.0);
        let state = self.core.cluster.state();
        let client = self.core.platforms.client(&state, lease.interface);
        let asked = async move {
            let numbers = AxBind {
                own_id: crate::ax::own_id(lease.ax),
                a: lease.a,
                x: lease.x,
            };
            let outcome = match client {
                Ok(client) => {
                    client
                        .set_callee(&lease.handle, &numbers, &lease.b_submitted)
                        .await
                }
                Err(why) => SetCalleeOutcome::Failed(Refused::new(Class::Config, "interface", why)),
            };
            (lease.interface, outcome)
        };
        ctx.spawn(
            asked
                .into_actor(self)
                .map(move |(interface, outcome), actor, ctx| {
                    let event = match outcome {
                        SetCalleeOutcome::Set => Event::CalleeNamed { attempt },
                        SetCalleeOutcome::Failed(failure) => {
                            actor.callee_refused(attempt, interface, failure)
                        }
                    };
                    actor.feed(event, ctx);
                }),
        );
    }

    fn callee_refused(&self, attempt: u16, interface: u32, failure: Refused) -> Event {
        let text = failure.to_string();
        let shown = mask_numbers(&text);
        tracing::warn!(call = ?self.id, interface, error = %shown, "callee not named");
        self.core.note_interface_error(interface, text);
        let code = failure.code;
        Event::CalleeRefused {
            attempt,
            failure: match failure.class.other_x() {
                Service::Number => Failure::NumberRefused { code },
                Service::Platform => Failure::PlatformRefused { code },
            },
            may_hold: failure.class.may_hold(),
        }
    }

    fn to_leg(&self, side: Side, command: leg::Command) {
        self.legs.of(side).do_send(ToLeg {
            call: self.id,
            side,
            command,
        });
    }

    /// Waits for its turn among the calls that were taken over.
    fn ask_refresh(&mut self, ctx: &mut Context<Self>) {
        let leave = Arc::clone(&self.core.refreshes).acquire_owned();
        ctx.spawn(leave.into_actor(self).map(|leave, actor, ctx| {
            // An error would say that no leave is needed any more.
            actor.leave = leave.ok();
            ctx.run_later(REFRESH_HOLD, |actor, _| actor.leave = None);
            actor.feed(Event::Refresh, ctx);
        }));
    }

    fn tell_binding(&self, order: Order) {
        // The binding of a call that was taken over was taken over with it.
        let adopted = || {
            let lease = self.machine.attempt()?.lease.as_ref()?;
            self.core.bindings.get(lease.binding)
        };
        if let Some(binding) = self.binding.clone().or_else(adopted) {
            // A call gives its binding two orders at most.
            binding.do_send(order);
        }
    }

    fn disarm(&mut self, timer: Timer, ctx: &mut Context<Self>) {
        if let Some(handle) = self.forget(timer) {
            ctx.cancel_future(handle);
        }
    }

    fn forget(&mut self, timer: Timer) -> Option<SpawnHandle> {
        let at = self.timers.iter().position(|(armed, _)| *armed == timer)?;
        self.core.figures.timers.fetch_sub(1, Ordering::Relaxed);
        Some(self.timers.swap_remove(at).1)
    }

    /// The callee as sent, when the platform chose another X than the one asked for.
    fn callee_of(&self, x: &str) -> String {
        let state = self.core.tables();
        match self
            .machine
            .attempt()
            .and_then(|attempt| state.routing_rules(attempt.gateway))
        {
            Some(rules) => rules
                .callee
                .apply(x, &mut |bound| self.core.chance.below(bound)),
            None => x.to_owned(),
        }
    }
}

impl Actor for CallActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(64);
        for action in std::mem::take(&mut self.first) {
            self.perform(action, ctx);
        }
    }

    fn stopped(&mut self, ctx: &mut Context<Self>) {
        self.core
            .figures
            .timers
            .fetch_sub(self.timers.len() as u64, Ordering::Relaxed);
        if self.counted_answered {
            self.core.figures.answered.fetch_sub(1, Ordering::Relaxed);
        }
        let actor = ctx.address();
        self.core.calls.remove(self.id, &actor);
        let call = self.id;
        self.legs.tell(CallOver { call, actor });
    }
}

impl Handler<FromLeg> for CallActor {
    type Result = ();

    fn handle(&mut self, FromLeg { side, event }: FromLeg, ctx: &mut Context<Self>) {
        let event = match side {
            Side::Caller => Event::Caller(event),
            Side::Callee(attempt) => Event::Callee(attempt, event),
        };
        self.feed(event, ctx);
    }
}

impl Handler<FromBinding> for CallActor {
    type Result = ();

    fn handle(&mut self, message: FromBinding, ctx: &mut Context<Self>) {
        let event = match message {
            FromBinding::Bound { attempt, x } => Event::Bound {
                attempt,
                callee_out: x.map(|x| self.callee_of(&x)),
            },
            FromBinding::Failed { attempt, failure } => Event::BindFailed { attempt, failure },
        };
        self.feed(event, ctx);
    }
}

impl Handler<Turn> for CallActor {
    type Result = ();

    fn handle(&mut self, Turn { attempt }: Turn, ctx: &mut Context<Self>) {
        self.feed(Event::Turn { attempt }, ctx);
    }
}

impl Handler<Leave> for CallActor {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Context<Self>) {
        self.feed(Event::Leave, ctx);
    }
}

impl Handler<Abandon> for CallActor {
    type Result = ();

    fn handle(&mut self, _: Abandon, ctx: &mut Context<Self>) {
        self.feed(Event::Abandon, ctx);
    }
}

impl Handler<HangUp> for CallActor {
    type Result = ();

    fn handle(&mut self, HangUp(why): HangUp, ctx: &mut Context<Self>) {
        self.feed(Event::HangUp(why), ctx);
    }
}

/// What a call begins with, here.
struct Begun {
    id: CallId,
    epoch: Epoch,
    gateway: Arc<str>,
    machine: Machine,
    first: Vec<Action>,
}

fn limits(core: &Core) -> Limits {
    Limits {
        reserve_ms: core.config.limits.reserve_ms,
        commit_ms: core.config.limits.commit_ms,
        ..Limits::default()
    }
}
