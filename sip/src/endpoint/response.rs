//! Responses to our requests.

use bytes::Bytes;

use super::keys::Secret;
use super::slab::Slot;
use super::state::{Acknowledged, Cancel, Leg, Role, State, Transaction};
use super::write::{self, MAX_FORWARDS};
use super::{Endpoint, inside, read};
use crate::dialog::{flow_towards, start_routed};
use crate::leg::{Body, Cause, EndedBy, LegEvent, Offer, Sent, Timeout};
use crate::message::{Framing, Message, Method, Name, NameAddr};
use crate::timer::Millis;
use crate::transaction::{Act, Machine};
use crate::transport::Flow;

/// Far ends of one forked INVITE whose 2xx is acknowledged and hung up; more than that is no fork but an attack.
const FORKS_MAX: usize = 16;

impl Endpoint {
    /// False when it answers nothing that was asked here.
    pub(super) fn on_response(&mut self, response: &Message, flow: Flow, now: Millis) -> bool {
        let Some(&slot) = Secret::client_key(response).and_then(|key| self.clients.get(&key))
        else {
            return false;
        };
        self.on_answer(slot, response, flow, now);
        true
    }

    fn on_answer(&mut self, slot: Slot, response: &Message, flow: Flow, now: Millis) {
        let status = response.status();
        let Some(transaction) = self.transactions.get_mut(slot) else {
            return;
        };
        // The branch of an INVITE answers no BYE.
        let right_method = match (&transaction.machine, response.method()) {
            (Machine::ClientInvite(_), Method::Invite) => true,
            (Machine::Client(_), method) => !matches!(method, Method::Invite | Method::Ack),
            _ => false,
        };
        if !right_method {
            return;
        }
        let (role, leg) = (transaction.role, transaction.leg);
        let act = match &mut transaction.machine {
            Machine::ClientInvite(machine) => machine.on_response(status, &self.timing, now),
            Machine::Client(machine) => machine.on_response(status, &self.timing, now),
            Machine::ServerInvite(_) | Machine::Server(_) => return,
        };
        match act {
            Act::Pass => {}
            Act::PassAndAck => self.acknowledge_refusal(slot, response),
            Act::Resend => return self.resend(slot),
            Act::Nothing | Act::TimedOut | Act::Over => return,
        }
        match (role, status) {
            (Role::Invite | Role::Reinvite, 200..=299) => {
                self.on_accepted(slot, role, leg, response, flow, now)
            }
            (Role::Cancel | Role::Other, _) => {}
            (Role::Reinvite, 100..=199) => {
                // Nobody rings on a re-INVITE; without this bound it could hang for ever, also when its leg is gone.
                let give_up_at = now + 2 * self.timing.patience_ms();
                if let Some(Machine::ClientInvite(machine)) = self
                    .transactions
                    .get_mut(slot)
                    .map(|transaction| &mut transaction.machine)
                {
                    machine.give_up_at(give_up_at);
                }
            }
            _ => {
                if let Some(leg) = leg {
                    self.with_leg(leg, now, |this, leg| {
                        this.on_leg_response(leg, slot, role, response, flow, now)
                    });
                }
            }
        }
        self.rearm(slot, now);
    }

    /// RFC 3261 §17.1.1.3. The ACK takes the place of the INVITE.
    fn acknowledge_refusal(&mut self, slot: Slot, refusal: &Message) {
        let Some(transaction) = self.transactions.get_mut(slot) else {
            return;
        };
        let Ok(invite) = Message::parse(transaction.bytes.clone(), Framing::Datagram) else {
            return;
        };
        let ack = write::ack_of_refusal(&mut self.writer, &invite, refusal);
        transaction.bytes = ack.clone();
        transaction.acked = true;
        let flow = transaction.flow;
        self.send(
            flow,
            ack,
            Sent::Request {
                method: Method::Ack,
                retransmission: false,
            },
        );
    }

    /// A 2xx to an INVITE: the first one, a copy, or one from another branch of a fork.
    fn on_accepted(
        &mut self,
        slot: Slot,
        role: Role,
        leg: Option<Slot>,
        response: &Message,
        flow: Flow,
        now: Millis,
    ) {
        let tag = self.secret.tag_key(response.to().tag().unwrap_or_default());
        let Some(transaction) = self.transactions.get_mut(slot) else {
            return;
        };
        if let Some(known) = transaction.acks.iter().find(|known| known.tag == tag) {
            if !known.ack.is_empty() {
                let (flow, ack) = (known.flow, known.ack.clone());
                self.send(
                    flow,
                    ack,
                    Sent::Request {
                        method: Method::Ack,
                        retransmission: true,
                    },
                );
            }
            return;
        }
        let first = transaction.acks.is_empty();
        if transaction.acks.len() >= FORKS_MAX {
            return;
        }
        transaction.bytes = Bytes::new();
        transaction.acks.push(Acknowledged {
            tag,
            ack: Bytes::new(),
            flow,
        });
        let taken = match leg.filter(|_| first) {
            Some(leg) => self.with_leg(leg, now, |this, leg| match role {
                Role::Invite => this.on_answered(leg, response, flow, now),
                _ => this.on_reanswered(leg, slot, response, flow, now),
            }),
            None => None,
        };
        if taken != Some(true) {
            let cause = self.hang_up_cause(leg);
            self.decline(
                slot,
                tag,
                response,
                flow,
                role == Role::Invite,
                cause.as_ref(),
                now,
            );
            if first
                && role == Role::Invite
                && let Some(leg) = leg
            {
                self.with_leg(leg, now, |_, leg| leg.gone = true);
            }
        }
    }

    fn hang_up_cause(&self, leg: Option<Slot>) -> Option<Cause> {
        match &self.legs.get(leg?)?.state {
            State::Inviting(inviting) => match &inviting.cancel {
                Cancel::Wanted(cause) | Cancel::Sent(cause) => cause.clone(),
                Cancel::Unwanted => None,
            },
            _ => None,
        }
    }

    /// The first 2xx of a leg; false when nobody wants it any more.
    fn on_answered(&mut self, leg: &mut Leg, response: &Message, flow: Flow, now: Millis) -> bool {
        let State::Inviting(inviting) = &mut leg.state else {
            return false;
        };
        if leg.ended {
            return false;
        }
        let tag = response.to().tag().unwrap_or_default();
        let remote_cseq =
            inside::early(&mut inviting.early, tag).and_then(|early| early.remote_cseq);
        let (invite, offered) = (inviting.invite, inviting.offered);
        leg.dialog.answered(response, remote_cseq);
        leg.dialog.came_by(flow);
        // Nothing but the INVITE has been sent in this dialog.
        let cseq = leg.dialog.local_cseq;
        leg.state = State::Acknowledging {
            invite,
            cseq,
            offered,
        };
        leg.limit_at = Some(now + self.timing.patience_ms());
        self.emit(
            leg.id(),
            LegEvent::Answered {
                body: read::body(response),
            },
        );
        true
    }

    /// A 2xx to our re-INVITE; false when the leg has ended meanwhile.
    fn on_reanswered(
        &mut self,
        leg: &mut Leg,
        slot: Slot,
        response: &Message,
        flow: Flow,
        now: Millis,
    ) -> bool {
        let Some(ours) = leg.ours.filter(|ours| ours.slot == slot && !leg.ended) else {
            return false;
        };
        leg.dialog.refresh_target(response);
        leg.dialog.came_by(flow);
        if ours.offered {
            leg.ours = None;
            self.acknowledge(leg, slot, ours.cseq, None);
        } else {
            if let Some(ours) = &mut leg.ours {
                ours.awaits_ack = true;
            }
            leg.limit_at = Some(now + self.timing.patience_ms());
        }
        self.emit_reanswered(leg, response);
        true
    }

    fn emit_reanswered(&mut self, leg: &Leg, response: &Message) {
        let status = response.status();
        let asked = read::retry_after_s(response).map(|after_s| Millis::from(after_s) * 1_000);
        // RFC 3261 §14.1: the owner of the Call-ID waits longer, in steps of 10 ms.
        let drawn = match (status, leg.dialog.initiator) {
            (491, true) => Some(self.secret.draw_between(210, 401) * 10),
            (491, false) => Some(self.secret.draw_between(0, 201) * 10),
            _ => None,
        };
        let event = LegEvent::Reanswered {
            status,
            reason: read::reason(response),
            body: read::body(response),
            retry_after_ms: drawn.or(asked),
        };
        self.emit(leg.id(), event);
    }

    /// The ACK of a 2xx in the dialog; kept for the copies of that 2xx.
    pub(super) fn acknowledge(
        &mut self,
        leg: &mut Leg,
        invite: Slot,
        cseq: u32,
        body: Option<&Body>,
    ) {
        let flow = leg.dialog.next_flow();
        let face = self.faces.of(&flow);
        let (_, branch) = self.secret.branch();
        let server = &self.config.server_name;
        let ack = write::inside(
            &mut self.writer,
            server,
            &face,
            &leg.dialog,
            &Method::Ack,
            cseq,
            &branch,
            None,
            body,
        );
        // The invite transaction may be over when the node took long; then there are no more copies either.
        if let Some(transaction) = self.transactions.get_mut(invite)
            && let Some(place) = transaction.acks.first_mut()
        {
            place.ack = ack.clone();
            place.flow = flow;
        }
        self.send(
            flow,
            ack,
            Sent::Request {
                method: Method::Ack,
                retransmission: false,
            },
        );
    }

    /// Acknowledges a 2xx that nobody wants, and hangs up: another branch of a fork, or an answer that crossed our
    /// CANCEL. All that is needed stands in the response.
    #[allow(clippy::too_many_arguments)]
    fn decline(
        &mut self,
        slot: Slot,
        tag: u64,
        response: &Message,
        flow: Flow,
        bye: bool,
        cause: Option<&Cause>,
        now: Millis,
    ) {
        let target = response
            .contact()
            .map_or(response.to().uri, |contact| contact.uri);
        let mut routes: Vec<&[u8]> = response.values(Name::RecordRoute).collect();
        routes.reverse();
        let next = routes
            .first()
            .and_then(|route| NameAddr::parse(route))
            .map(|route| route.uri);
        let flow = flow_towards(next.unwrap_or(target), flow);
        let face = self.faces.of(&flow);
        let number = response.cseq().0;
        let (_, ack_branch) = self.secret.branch();
        let (key, bye_branch) = self.secret.branch();
        let mut request = |method: &Method, number, branch: &[u8], cause: Option<&Cause>| {
            start_routed(&mut self.writer, method, target, routes.iter().copied())
                .via(face.transport, face.sent_by, branch)
                .header_number(Name::MaxForwards, u64::from(MAX_FORWARDS))
                .copy(response, Name::From)
                .copy(response, Name::To)
                .copy(response, Name::CallId)
                .cseq(number, method);
            if let Some(cause) = cause {
                write::reasons(&mut self.writer, cause);
            }
            self.writer.finish()
        };
        let ack = request(&Method::Ack, number, &ack_branch, None);
        let hang_up =
            bye.then(|| request(&Method::Bye, number.wrapping_add(1), &bye_branch, cause));
        if let Some(transaction) = self.transactions.get_mut(slot)
            && let Some(place) = transaction.acks.iter_mut().find(|place| place.tag == tag)
        {
            place.ack = ack.clone();
            place.flow = flow;
        }
        self.send(
            flow,
            ack,
            Sent::Request {
                method: Method::Ack,
                retransmission: false,
            },
        );
        if let Some(bytes) = hang_up {
            self.open_client(key, Role::Bye, Method::Bye, flow, bytes, None, now);
        }
    }

    /// Everything but a 2xx to an INVITE.
    fn on_leg_response(
        &mut self,
        leg: &mut Leg,
        slot: Slot,
        role: Role,
        response: &Message,
        flow: Flow,
        now: Millis,
    ) {
        let status = response.status();
        match (role, status) {
            (Role::Invite, 100..=199) => self.on_provisional(leg, response, now),
            (Role::Invite, _) => {
                let by = EndedBy::Refused {
                    status,
                    reason: read::reason(response),
                    retry_after_s: read::retry_after_s(response),
                };
                self.end(leg, by, read::cause(response));
                leg.gone = true;
            }
            (Role::Reinvite | Role::Update, 200..) => {
                if leg.ended || !leg.ours.is_some_and(|ours| ours.slot == slot) {
                    return;
                }
                leg.ours = None;
                if status / 100 == 2 {
                    leg.dialog.refresh_target(response);
                    leg.dialog.came_by(flow);
                }
                self.emit_reanswered(leg, response);
                self.gone_at_far_end(leg, response, now);
            }
            (Role::Info, 200..) if !leg.ended => {
                self.emit(leg.id(), LegEvent::InfoAnswered { status });
                self.gone_at_far_end(leg, response, now);
            }
            (Role::Bye, 200..) => leg.gone = true,
            _ => {}
        }
    }

    /// RFC 3261 §12.2.1.2: a far end that knows of no such dialog (481), or got no answer itself (408), has ended it.
    fn gone_at_far_end(&mut self, leg: &mut Leg, response: &Message, now: Millis) {
        let status = response.status();
        if matches!(status, 408 | 481) {
            let by = EndedBy::Refused {
                status,
                reason: read::reason(response),
                retry_after_s: None,
            };
            self.end(leg, by, read::cause(response));
            self.bye(leg, None, now);
        }
    }

    fn on_provisional(&mut self, leg: &mut Leg, response: &Message, now: Millis) {
        let State::Inviting(inviting) = &mut leg.state else {
            return;
        };
        inviting.no_response_at = None;
        if let Cancel::Wanted(cause) = &inviting.cancel {
            let cause = cause.clone();
            return self.cancel(leg, cause, now);
        }
        if let Some(tag) = response.to().tag() {
            inside::early(&mut inviting.early, tag);
        }
        let status = response.status();
        if status > 100 && !leg.ended {
            let event = LegEvent::Progress {
                status,
                reason: read::reason(response),
                body: read::body(response),
            };
            self.emit(leg.id(), event);
        }
    }

    /// A transaction has given up waiting; it is out of the tables already.
    pub(super) fn timed_out(&mut self, slot: Slot, transaction: &Transaction, now: Millis) {
        let Some(leg) = transaction.leg else { return };
        self.with_leg(leg, now, |this, leg| {
            this.leg_request_failed(
                leg,
                slot,
                transaction,
                EndedBy::Timeout(Timeout::Dialog),
                now,
            );
        });
    }

    /// A request of ours, or one that the node has not answered, came to nothing.
    pub(super) fn leg_request_failed(
        &mut self,
        leg: &mut Leg,
        slot: Slot,
        transaction: &Transaction,
        by: EndedBy,
        now: Millis,
    ) {
        leg.infos.retain(|info| *info != slot);
        if leg.theirs.is_some_and(|theirs| theirs.slot == slot) {
            leg.theirs = None;
        }
        if !transaction.is_client() {
            return;
        }
        let timed_out = matches!(by, EndedBy::Timeout(_));
        match transaction.role {
            Role::Invite => {
                let by = if timed_out {
                    EndedBy::Timeout(Timeout::Response)
                } else {
                    by
                };
                self.end(leg, by, None);
                leg.gone = true;
            }
            Role::Bye => leg.gone = true,
            Role::Reinvite | Role::Update if leg.ours.is_some_and(|ours| ours.slot == slot) => {
                leg.ours = None;
                if leg.ended {
                    return;
                }
                let status = if timed_out { 408 } else { 503 };
                self.emit(
                    leg.id(),
                    LegEvent::Reanswered {
                        status,
                        reason: Bytes::new(),
                        body: None,
                        retry_after_ms: None,
                    },
                );
                self.end(leg, by, None);
                self.bye(leg, None, now);
            }
            Role::Info if !leg.ended => {
                let status = if timed_out { 408 } else { 503 };
                self.emit(leg.id(), LegEvent::InfoAnswered { status });
            }
            _ => {}
        }
    }

    /// Which method carries an offer.
    pub(super) fn method_of(via: Offer) -> (Method, Role) {
        match via {
            Offer::Invite => (Method::Invite, Role::Reinvite),
            Offer::Update => (Method::Update, Role::Update),
        }
    }
}
