//! One thread's share of the signalling: the endpoint with its transactions and legs, and the way from leg to call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;
use tandem_cluster::command::{Attempt, CallId, Reserve};
use tandem_cluster::dial_rules::Rules;
use tandem_cluster::entity::{CalleeSource, CallerSource, MappingGateway, Transport as Over};
use tandem_sip::endpoint::{Admission, Endpoint, Output};
use tandem_sip::leg::{self, Body, Cause, Command, Ended, Invited, LegEvent, LegId, Sent};
use tandem_sip::message::{Method, NameAddr, Uri};
use tandem_sip::transport::{Flow, Inbound, Protocol, Transport};
use tokio::sync::mpsc;

use crate::call::actor::{CallActor, FromLeg};
use crate::call::reason;
use crate::core::Core;
use crate::pool::NumberPool;
use crate::strays::held::Held;
use crate::strays::post::Post;
use crate::strays::token;

mod strays;

/// Longest number taken from a request, in bytes.
const NUMBER_MAX: usize = 64;
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

/// Asks for both dialogs of a call, encoded for the replicated state.
#[derive(Message)]
#[rtype(result = "Vec<u8>")]
pub struct Dialogs(pub CallId);

/// A call's actor has stopped.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CallOver(pub CallId);

struct Legs {
    actor: Addr<CallActor>,
    caller: LegId,
    callee: Option<(u16, LegId)>,
    max_forwards: u32,
}

/// One shard.
pub struct Shard {
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
}

impl Shard {
    /// A shard that is fed by `arrivals`.
    pub fn new(
        core: Arc<Core>,
        pool: Addr<NumberPool>,
        endpoint: Endpoint,
        transport: Transport,
        post: Arc<Post>,
        arrivals: mpsc::Receiver<Vec<Inbound>>,
    ) -> Self {
        Shard {
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
        let wait = Duration::from_millis(deadline.saturating_sub(self.now()).max(1));
        let handle = ctx.run_later(wait, |shard, ctx| {
            shard.timer = None;
            let now = shard.now();
            shard.endpoint.advance(now);
            shard.drain(ctx);
        });
        self.timer = Some((deadline, handle));
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

    fn invited(&mut self, leg: LegId, invited: Invited, ctx: &mut Context<Self>) {
        match self.admit(&invited) {
            Ok((admission, gateway)) => {
                let call = admission.call;
                // Nothing but a 100 has gone out, so the tag is still ours to write.
                self.command(leg, Command::Name { token: token(call) });
                let (core, pool) = (Arc::clone(&self.core), self.pool.clone());
                let actor =
                    CallActor::launch(core, ctx.address(), pool, admission, gateway, invited.body);
                let max_forwards = invited.max_forwards.saturating_sub(1);
                self.calls.insert(
                    call,
                    Legs {
                        actor,
                        caller: leg,
                        callee: None,
                        max_forwards,
                    },
                );
                self.legs.insert(leg, (call, Side::Caller));
            }
            Err(refused) => {
                metrics::counter!("tandem_node_invites_refused_total", "reason" => refused.word)
                    .increment(1);
                let refuse = Command::Refuse {
                    status: refused.status,
                    reason: None,
                    retry_after_s: refused.passing.then_some(RETRY_AFTER_S),
                    cause: Some(reason::sip_cause(refused.status, refused.word)),
                };
                self.command(leg, refuse);
            }
        }
    }

    /// Recognises the gateway and reads the numbers; the rest is decided by the replicated state.
    fn admit(&self, invited: &Invited) -> Result<(Reserve, Arc<str>), Turned> {
        if let Some(closed) = self.core.closed() {
            return Err(Turned::later(closed.word()));
        }
        let state = self.core.tables();
        let Some(gateway) = state.mapping_gateway_for(invited.received_from.ip()) else {
            return Err(Turned::away(403, "unknown_source"));
        };
        let caller_access = number(caller_of(&gateway.entity, invited)).unwrap_or_default();
        let Some(callee_access) = number(callee_of(&gateway.entity, invited)) else {
            return Err(Turned::away(484, "bad_number"));
        };
        let Some(call) = self.core.next_call() else {
            return Err(Turned::later("no_claim"));
        };
        let rules = state.mapping_rules(gateway.id);
        let admission = Reserve {
            call,
            gateway: gateway.id,
            caller: by_rules(rules.map(|rules| &rules.caller), &caller_access),
            callee: by_rules(rules.map(|rules| &rules.callee), &callee_access),
            caller_access,
            callee_access,
            started_at: self.core.clock.now().wall,
            remote: invited.received_from,
            sip_call_id: text(&invited.call_id),
        };
        Ok((admission, Arc::from(gateway.entity.name.as_str())))
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
                event: LegEvent::Ended(unreachable_gateway()),
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
        let sip = &self.core.config.sip;
        let same_family =
            |local: &&std::net::SocketAddr| local.is_ipv4() == attempt.address.is_ipv4();
        match attempt.transport {
            Over::Udp => sip
                .udp
                .iter()
                .find(same_family)
                .map(|local| Flow::udp(*local, attempt.address)),
            Over::Tcp => sip
                .tcp
                .iter()
                .find(same_family)
                .map(|local| Flow::tcp(*local, attempt.address)),
        }
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
            (Side::Callee(wanted), Some((attempt, leg))) if wanted == attempt => leg,
            _ => return,
        };
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

    fn look_at_admission(&mut self, ctx: &mut Context<Self>) {
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
            let callee = legs.callee.and_then(|(_, leg)| self.endpoint.dialog(leg));
            crate::handover::encode(self.endpoint.dialog(legs.caller), callee)
        });
        MessageResult(dialogs.unwrap_or_default())
    }
}

impl Handler<CallOver> for Shard {
    type Result = ();

    fn handle(&mut self, CallOver(call): CallOver, _: &mut Context<Self>) {
        if let Some(legs) = self.calls.remove(&call) {
            self.legs.remove(&legs.caller);
            if let Some((_, leg)) = legs.callee {
                self.legs.remove(&leg);
            }
        }
    }
}

/// An INVITE that does not become a call.
struct Turned {
    status: u16,
    word: &'static str,
    passing: bool,
}

impl Turned {
    fn away(status: u16, word: &'static str) -> Self {
        Turned {
            status,
            word,
            passing: false,
        }
    }

    fn later(word: &'static str) -> Self {
        Turned {
            status: 503,
            word,
            passing: true,
        }
    }
}

fn unreachable_gateway() -> Ended {
    Ended {
        by: leg::EndedBy::TransportFailed,
        cause: None::<Cause>,
    }
}

fn caller_of(gateway: &MappingGateway, invited: &Invited) -> String {
    match gateway.caller_source {
        CallerSource::From => invited.from_user.clone(),
        CallerSource::PAssertedIdentity => user_of(&invited.p_asserted_identity),
        CallerSource::RemotePartyId => user_of(&invited.remote_party_id),
        CallerSource::PPreferredIdentity => user_of(&invited.p_preferred_identity),
        CallerSource::Display => invited.from_display.clone(),
    }
}

fn callee_of(gateway: &MappingGateway, invited: &Invited) -> String {
    match gateway.callee_source {
        CalleeSource::RequestUri => invited.uri_user.clone(),
        CalleeSource::To => invited.to_user.clone(),
        CalleeSource::Diversion => user_of(&invited.diversion),
    }
}

/// The user part of a name-addr header; empty when there is none.
fn user_of(value: &Option<Bytes>) -> String {
    let uri = value
        .as_deref()
        .and_then(NameAddr::parse)
        .map(|value| value.uri);
    let user = uri
        .and_then(Uri::parse)
        .and_then(|uri| uri.user_text().map(|user| user.into_owned()));
    user.map(|user| String::from_utf8_lossy(&user).into_owned())
        .unwrap_or_default()
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

/// A user part as a number: without parameters, bounded, made of what a number may have.
fn number(user: String) -> Option<String> {
    let number = user.split(';').next().unwrap_or_default();
    let fits = !number.is_empty()
        && number.len() <= NUMBER_MAX
        && number
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+*#-._".contains(&byte));
    fits.then(|| number.to_owned())
}

fn by_rules(rules: Option<&Rules>, number: &str) -> String {
    match rules {
        Some(rules) => rules.apply(number, &mut |bound| rand::random_range(0..bound.max(1))),
        None => number.to_owned(),
    }
}

fn text(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.truncate(text.floor_char_boundary(256));
    text
}
