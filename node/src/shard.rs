//! One thread's share of the signalling: the endpoint with its transactions and legs, and the way from leg to call.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tandem_cluster::command::{Attempt, CallId};
use tandem_cluster::entity::Transport as Over;
use tandem_sip::dialog::Dialog;
use tandem_sip::endpoint::{Admission, Endpoint, Output};
use tandem_sip::leg::{self, Body, Cause, Command, Ended, LegEvent, LegId, Sent};
use tandem_sip::message::Method;
use tandem_sip::transport::{Flow, Inbound, Protocol, Transport};
use tokio::sync::mpsc;

use crate::call::actor::{CallActor, FromLeg};
use crate::core::Core;
use crate::pool::NumberPool;
use crate::strays::held::Held;
use crate::strays::post::Post;
use crate::strays::token;

mod admit;
mod stillness;
mod strays;
mod takeover;

use stillness::Stillness;
pub use takeover::{TakeLeg, TakeOver};

/// How often the shard looks whether new calls may be taken.
const ADMISSION_EVERY: Duration = Duration::from_millis(50);
/// Told to refused callers, in seconds.
const RETRY_AFTER_S: u32 = 2;

/// What new requests meet while no call may be taken.
const CLOSED: Admission = Admission::Refusing {
    status: 503,
    retry_after_s: RETRY_AFTER_S,
};

/// Which of a call's legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The leg that came in.
    Caller,
    /// The leg of an attempt.
    Callee(u16),
}

/// A command for a leg of a call; nothing happens when that leg is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ToLeg {
    /// Whose.
    pub call: CallId,
    /// Which leg.
    pub side: Side,
    /// What.
    pub command: Command,
}

/// Send an attempt's INVITE.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Dial {
    /// Whose.
    pub call: CallId,
    /// Where and as whom.
    pub attempt: Box<Attempt>,
    /// The offer.
    pub body: Option<Body>,
}

/// Asks for the dialogs of a call that live here.
#[derive(Message)]
#[rtype(result = "Pair")]
pub struct Dialogs(pub CallId);

/// The dialogs of a call.
#[derive(Debug, Default)]
pub struct Pair {
    /// Towards the caller.
    pub caller: Option<Dialog>,
    /// Towards the callee.
    pub callee: Option<Dialog>,
}

/// A call's actor has stopped.
#[derive(Message, Clone)]
#[rtype(result = "()")]
pub struct CallOver {
    /// Which.
    pub call: CallId,
    /// Whose legs it may have been; another actor with the same call keeps its own.
    pub actor: Addr<CallActor>,
}

/// The legs of a call are another node's from now on: nothing more is said on them.
#[derive(Message, Clone)]
#[rtype(result = "()")]
pub struct Forget {
    /// Which.
    pub call: CallId,
    /// As in [`CallOver`].
    pub actor: Addr<CallActor>,
}

/// Legs of a call that live here. A call taken over may have one of them with another thread.
struct Legs {
    actor: Addr<CallActor>,
    caller: Option<LegId>,
    callee: Option<(u16, LegId)>,
    max_forwards: u32,
}

/// Who stood still looks so often whether its tenure goes on.
const DOUBT_MS: u64 = 50;

/// One shard.
pub struct Shard {
    /// Its number among the threads of the node.
    index: usize,
    core: Arc<Core>,
    pool: Addr<NumberPool>,
    endpoint: Endpoint,
    transport: Transport,
    post: Arc<Post>,
    /// Requests for calls that are between two owners.
    held: Held,
    arrivals: Option<mpsc::Receiver<Vec<Inbound>>>,
    calls: HashMap<CallId, Legs>,
    legs: HashMap<LegId, (CallId, Side)>,
    timer: Option<(u64, SpawnHandle)>,
    open: bool,
    stillness: Stillness,
}

impl Shard {
    /// A shard that is fed by `arrivals`.
    pub fn new(
        index: usize,
        core: Arc<Core>,
        pool: Addr<NumberPool>,
        endpoint: Endpoint,
        transport: Transport,
        post: Arc<Post>,
        arrivals: mpsc::Receiver<Vec<Inbound>>,
    ) -> Self {
        Shard {
            index,
            core,
            pool,
            endpoint,
            transport,
            post,
            held: Held::default(),
            arrivals: Some(arrivals),
            calls: HashMap::new(),
            legs: HashMap::new(),
            timer: None,
            open: false,
            stillness: Stillness::default(),
        }
    }

    fn now(&self) -> u64 {
        self.core.clock.mono()
    }

    /// Carries out what the endpoint wants, and arms its next deadline.
    fn drain(&mut self, ctx: &mut Context<Self>) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Send { flow, bytes, kind } => {
                    count_retransmission(&kind);
                    self.send(&flow, bytes);
                }
                Output::Event { leg, event } => self.leg_event(leg, event, ctx),
            }
        }
        self.arm(ctx);
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let Some(deadline) = self.endpoint.next_deadline() else {
            return;
        };
        match self.timer {
            // A timer that fires early finds nothing due and arms the next; that is cheaper than moving it each time.
            Some((at, _)) if at <= deadline => return,
            Some((_, handle)) => drop(ctx.cancel_future(handle)),
            None => {}
        }
        self.wake_at(deadline, ctx);
    }

    fn wake_at(&mut self, at: u64, ctx: &mut Context<Self>) {
        let wait = Duration::from_millis(at.saturating_sub(self.now()).max(1));
        let handle = ctx.run_later(wait, |shard, ctx| {
            shard.timer = None;
            let now = shard.now();
            // Whoever stood still for long would repeat now what it had said before, to far ends that another node has
            // taken over meanwhile: an answer that was lost, and of a call that is no more.
            if shard.stillness.look(now) && shard.core.is_in_doubt() {
                return shard.wake_at(now + DOUBT_MS, ctx);
            }
            shard.endpoint.advance(now);
            shard.drain(ctx);
        });
        self.timer = Some((at, handle));
    }

    fn leg_event(&mut self, leg: LegId, event: LegEvent, ctx: &mut Context<Self>) {
        if let LegEvent::Invited(invited) = event {
            return self.invited(leg, *invited, ctx);
        }
        let ended = matches!(event, LegEvent::Ended(_));
        let known = if ended {
            self.legs.remove(&leg)
        } else {
            self.legs.get(&leg).copied()
        };
        let Some((call, side)) = known else { return };
        if let Some(legs) = self.calls.get(&call) {
            // Events of a leg are bounded by what its far end may send in one dialog; the call's own mailbox must not
            // lose any of them.
            legs.actor.do_send(FromLeg { side, event });
        }
    }

    fn dial(
        &mut self,
        Dial {
            call,
            attempt,
            body,
        }: Dial,
    ) {
        let Some(legs) = self.calls.get(&call) else {
            return;
        };
        let (actor, max_forwards) = (legs.actor.clone(), legs.max_forwards);
        let side = Side::Callee(attempt.number);
        let Some(flow) = self.flow_to(&attempt) else {
            tracing::warn!(gateway = %attempt.gateway_name, "no listener for this gateway's transport");
            actor.do_send(FromLeg {
                side,
                event: LegEvent::Ended(unreachable_far_end()),
            });
            return;
        };
        let host = flow.local;
        let from = Bytes::from(format!("<sip:{}@{host}>", attempt.caller_out));
        let over = if flow.transport == Protocol::Tcp {
            ";transport=tcp"
        } else {
            ""
        };
        let target = format!("sip:{}@{}{over}", attempt.callee_out, attempt.address);
        let mut headers = Vec::new();
        if attempt.send_identity {
            headers.push((Bytes::from_static(b"P-Asserted-Identity"), from.clone()));
        }
        let dial = leg::Dial {
            flow,
            request_uri: Bytes::from(target.clone()),
            from,
            to: Bytes::from(format!("<sip:{}@{}>", attempt.callee_out, attempt.address)),
            call_id: None,
            headers,
            body,
            max_forwards,
            ringing_limit_ms: self.core.config.limits.ringing_ms,
            // The call machine counts the silence, since it may try another gateway.
            no_response_ms: 0,
            token: Some(token(call)),
        };
        let now = self.now();
        let leg = self.endpoint.dial(dial, now);
        self.legs.insert(leg, (call, side));
        if let Some(legs) = self.calls.get_mut(&call) {
            legs.callee = Some((attempt.number, leg));
        }
    }

    fn flow_to(&self, attempt: &Attempt) -> Option<Flow> {
        let remote = attempt.address;
        match attempt.transport {
            Over::Udp => self
                .listener(Protocol::Udp, remote)
                .map(|local| Flow::udp(local, remote)),
            Over::Tcp => self
                .listener(Protocol::Tcp, remote)
                .map(|local| Flow::tcp(local, remote)),
        }
    }

    /// Our own address towards a peer.
    fn listener(&self, transport: Protocol, remote: SocketAddr) -> Option<SocketAddr> {
        let sip = &self.core.config.sip;
        let listeners = match transport {
            Protocol::Udp => &sip.udp,
            Protocol::Tcp => &sip.tcp,
        };
        let mut fitting = listeners
            .iter()
            .filter(|local| local.is_ipv4() == remote.is_ipv4());
        fitting.next().copied()
    }

    fn pass_on(
        &mut self,
        ToLeg {
            call,
            side,
            command,
        }: ToLeg,
    ) {
        let Some(legs) = self.calls.get(&call) else {
            return;
        };
        let leg = match (side, legs.callee) {
            (Side::Caller, _) => legs.caller,
            (Side::Callee(wanted), Some((attempt, leg))) if wanted == attempt => Some(leg),
            _ => None,
        };
        let Some(leg) = leg else { return };
        // A relayed request that its leg cannot take now must not leave the asking side without an answer.
        let unanswered = match &command {
            Command::Reoffer { .. } => Some(LegEvent::Reanswered {
                status: 491,
                reason: Bytes::new(),
                body: None,
                retry_after_ms: None,
            }),
            Command::Info { .. } => Some(LegEvent::InfoAnswered { status: 481 }),
            _ => None,
        };
        let actor = legs.actor.clone();
        if !self.command(leg, command)
            && let Some(event) = unanswered
        {
            actor.do_send(FromLeg { side, event });
        }
    }

    fn command(&mut self, leg: LegId, command: Command) -> bool {
        let now = self.now();
        match self.endpoint.command(leg, command, now) {
            Ok(()) => true,
            // Ordinary where a command crosses the far end's own news.
            Err(error) => {
                tracing::debug!(%error, "leg command not carried out");
                false
            }
        }
    }

    /// Events of the call's legs go nowhere from now on; the legs that were its actor's.
    fn let_go(&mut self, call: CallId, actor: &Addr<CallActor>) -> Vec<LegId> {
        if self
            .calls
            .get(&call)
            .is_none_or(|legs| legs.actor != *actor)
        {
            return Vec::new();
        }
        let Some(legs) = self.calls.remove(&call) else {
            return Vec::new();
        };
        let callee = legs.callee.map(|(_, leg)| leg);
        let legs: Vec<LegId> = legs.caller.into_iter().chain(callee).collect();
        for leg in &legs {
            self.legs.remove(leg);
        }
        legs
    }

    fn look_at_admission(&mut self, ctx: &mut Context<Self>) {
        self.stillness.look(self.now());
        let open = self.core.closed().is_none();
        if open != self.open {
            self.open = open;
            let shards_open = &self.core.figures.shards_open;
            match open {
                true => shards_open.fetch_add(1, Ordering::Relaxed),
                false => shards_open.fetch_sub(1, Ordering::Relaxed),
            };
            self.endpoint.set_admission(match open {
                true => Admission::Open,
                false => CLOSED,
            });
        }
        let counts = self.endpoint.counts();
        metrics::gauge!("tandem_node_legs").set(counts.legs as f64);
        ctx.run_later(ADMISSION_EVERY, Self::look_at_admission);
    }
}

impl Actor for Shard {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if let Some(mut arrivals) = self.arrivals.take() {
            ctx.add_stream(futures::stream::poll_fn(move |task| {
                arrivals.poll_recv(task)
            }));
        }
        self.core.shards.insert(self.index, ctx.address());
        self.endpoint.set_admission(CLOSED);
        self.look_at_admission(ctx);
    }
}

impl StreamHandler<Vec<Inbound>> for Shard {
    fn handle(&mut self, arrivals: Vec<Inbound>, ctx: &mut Context<Self>) {
        let now = self.now();
        for arrival in arrivals {
            match arrival {
                Inbound::Received(received) => self.receive(received, false, ctx),
                Inbound::PassedOn(received) => self.receive(received, true, ctx),
                // It is sent again, from wherever the address is then.
                Inbound::Failed { flow, .. } if self.post.is_moving(&flow) => {}
                Inbound::Failed { flow, .. } => self.endpoint.transport_failed(&flow, now),
            }
        }
        self.drain(ctx);
    }
}

impl Handler<ToLeg> for Shard {
    type Result = ();

    fn handle(&mut self, message: ToLeg, ctx: &mut Context<Self>) {
        self.pass_on(message);
        self.drain(ctx);
    }
}

impl Handler<Dial> for Shard {
    type Result = ();

    fn handle(&mut self, message: Dial, ctx: &mut Context<Self>) {
        self.dial(message);
        self.drain(ctx);
    }
}

impl Handler<Dialogs> for Shard {
    type Result = MessageResult<Dialogs>;

    fn handle(&mut self, Dialogs(call): Dialogs, _: &mut Context<Self>) -> Self::Result {
        let dialogs = self.calls.get(&call).map(|legs| {
            let dialog = |leg: Option<LegId>| self.endpoint.dialog(leg?);
            Pair {
                caller: dialog(legs.caller),
                callee: dialog(legs.callee.map(|(_, leg)| leg)),
            }
        });
        MessageResult(dialogs.unwrap_or_default())
    }
}

impl Handler<CallOver> for Shard {
    type Result = ();

    fn handle(&mut self, CallOver { call, actor }: CallOver, _: &mut Context<Self>) {
        self.let_go(call, &actor);
    }
}

impl Handler<Forget> for Shard {
    type Result = ();

    fn handle(&mut self, Forget { call, actor }: Forget, _: &mut Context<Self>) {
        for leg in self.let_go(call, &actor) {
            self.endpoint.forget(leg);
        }
    }
}

fn unreachable_far_end() -> Ended {
    Ended {
        by: leg::EndedBy::TransportFailed,
        cause: None::<Cause>,
    }
}

fn count_retransmission(sent: &Sent) {
    use tandem_sip::metrics::{Direction, retransmission};
    match sent {
        Sent::Request {
            method,
            retransmission: true,
        } => retransmission(Direction::Out, method),
        Sent::Response {
            retransmission: true,
            ..
        } => retransmission(Direction::Out, &Method::Other(Box::default())),
        _ => {}
    }
}
