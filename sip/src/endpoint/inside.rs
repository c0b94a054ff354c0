//! Requests of the far end inside a dialog, RFC 3261 §12.2.2.

use bytes::Bytes;

use super::outside::{demands_extensions, unwelcome};
use super::slab::Slot;
use super::state::{Cancel, Early, Leg, Role, State, Theirs, Unacked};
use super::write::Answer;
use super::{Endpoint, read};
use crate::leg::{EndedBy, LegEvent, Offer, Sent};
use crate::message::{Message, Method};
use crate::timer::Millis;
use crate::transport::Flow;

/// Early dialogs of one INVITE, by tag. Beyond, a fork's requests are refused.
const EARLY_MAX: usize = 16;
/// INFOs of one leg that the node may leave unanswered.
const INFOS_MAX: usize = 16;

impl Endpoint {
    pub(super) fn on_inside(
        &mut self,
        leg: Slot,
        request: Message,
        key: u64,
        flow: Flow,
        now: Millis,
    ) {
        self.with_leg(leg, now, |this, leg| {
            this.on_leg_request(leg, request, key, flow, now)
        });
    }

    fn on_leg_request(
        &mut self,
        leg: &mut Leg,
        request: Message,
        key: u64,
        flow: Flow,
        now: Millis,
    ) {
        let method = request.method().clone();
        let (cseq, _) = request.cseq();
        let known = match &mut leg.state {
            State::Inviting(inviting) => {
                // The tag is new when the provisional response was lost or overtaken.
                let tag = request.from().tag().unwrap_or_default();
                match early(&mut inviting.early, tag) {
                    Some(early) => {
                        let fresh = early.remote_cseq.is_none_or(|last| cseq > last);
                        early.remote_cseq = early.remote_cseq.max(Some(cseq));
                        Some(fresh)
                    }
                    None => None,
                }
            }
            _ if request.from().tag().unwrap_or_default() == &leg.dialog.remote_tag[..] => {
                let fresh = leg.dialog.accepts(cseq, &method);
                leg.dialog.remote_cseq = leg.dialog.remote_cseq.max(Some(cseq));
                Some(fresh)
            }
            _ => None,
        };
        let Some(fresh) = known else {
            return self.respond_stateless(&request, &flow, key, &Answer::of(481));
        };
        if fresh {
            leg.dialog.came_by(flow);
        }
        let role = match method {
            Method::Invite => Role::Reinvite,
            Method::Update => Role::Update,
            Method::Info => Role::Info,
            _ => Role::Other,
        };
        let refuses = |status| Answer::of(status);
        let refusal = if !fresh {
            Some(refuses(500))
        } else if matches!(leg.state, State::Closing) || (leg.ended && method != Method::Bye) {
            Some(refuses(if method == Method::Bye { 200 } else { 481 }))
        } else if method != Method::Bye && demands_extensions(&request) {
            Some(refuses(420))
        } else {
            match method {
                Method::Bye => None,
                Method::Invite | Method::Update if read::strange_body(&request) => {
                    Some(refuses(415))
                }
                Method::Invite => self.reinvite_refusal(leg),
                Method::Update if request.body_bytes().is_empty() => Some(refuses(200)),
                Method::Update => self.update_refusal(leg),
                Method::Info if leg.infos.len() >= INFOS_MAX => Some(refuses(503)),
                Method::Info => None,
                Method::Options => Some(refuses(200)),
                ref other => Some(refuses(unwelcome(other))),
            }
        };
        if let Some(answer) = refusal {
            let moved = method == Method::Update
                && answer.status == 200
                && leg.dialog.refresh_target(&request);
            let slot = self.open_server(key, role, flow, request, None, now);
            self.respond(slot, &[], &answer, now);
            if moved && matches!(leg.state, State::Talking | State::Acknowledging { .. }) {
                self.emit(leg.id(), LegEvent::Moved);
            }
            return;
        }
        match method {
            Method::Bye => self.on_bye(leg, request, key, flow, now),
            Method::Invite => self.on_offer(leg, Offer::Invite, request, key, flow, now),
            Method::Update => self.on_offer(leg, Offer::Update, request, key, flow, now),
            _ => {
                let content_type =
                    Bytes::copy_from_slice(request.content_type().unwrap_or_default());
                let bytes = request.body();
                let slot = self.open_server(key, role, flow, request, Some(leg.slot), now);
                leg.infos.push(slot);
                self.emit(
                    leg.id(),
                    LegEvent::Info {
                        content_type,
                        bytes,
                        id: slot.to_u64(),
                    },
                );
            }
        }
    }

    /// RFC 3261 §14.2 and RFC 5407 §3.
    fn reinvite_refusal(&mut self, leg: &mut Leg) -> Option<Answer<'static>> {
        match &leg.state {
            State::Talking => {}
            // The INVITE that makes the dialog is not through.
            State::Invited(_) => return Some(self.come_again()),
            _ => return Some(Answer::of(491)),
        }
        if leg.ours.is_some() {
            return Some(Answer::of(491));
        }
        if leg.theirs.is_some() {
            return Some(self.come_again());
        }
        match leg.unacked.as_deref() {
            // Our own offer is unanswered until that ACK comes.
            Some(unacked) if unacked.offered => Some(Answer::of(491)),
            Some(unacked) if unacked.bye.is_some() => Some(Answer::of(481)),
            _ => None,
        }
    }

    /// RFC 3311 §5.2.
    fn update_refusal(&mut self, leg: &mut Leg) -> Option<Answer<'static>> {
        if matches!(leg.state, State::Invited(_)) || leg.theirs.is_some() {
            return Some(self.come_again());
        }
        let ours_open =
            leg.ours.is_some() || leg.unacked.as_ref().is_some_and(|unacked| unacked.offered);
        if ours_open || !matches!(leg.state, State::Talking) {
            return Some(Answer::of(491));
        }
        None
    }

    /// 500 with a Retry-After of 0 to 10 s.
    fn come_again(&mut self) -> Answer<'static> {
        let after_s = self.secret.draw_between(0, 11) as u32;
        Answer {
            retry_after_s: Some(after_s),
            ..Answer::of(500)
        }
    }

    fn on_offer(
        &mut self,
        leg: &mut Leg,
        via: Offer,
        request: Message,
        key: u64,
        flow: Flow,
        now: Millis,
    ) {
        if let Some(unacked) = leg.unacked.take() {
            // Whoever sends the next INVITE has had our 2xx; its ACK was lost or overtaken (RFC 5407 §3.1.4).
            self.confirmed(leg, &unacked, None);
        }
        let body = read::body(&request);
        let role = if via == Offer::Invite {
            Role::Reinvite
        } else {
            Role::Update
        };
        let offered = body.is_some();
        let slot = self.open_server(key, role, flow, request, Some(leg.slot), now);
        if via == Offer::Invite {
            self.respond(slot, &[], &Answer::of(100), now);
        }
        leg.theirs = Some(Theirs { slot, via, offered });
        self.emit(leg.id(), LegEvent::Reoffered { via, body });
    }

    /// The far end hangs up. Whatever was pending ends with it.
    fn on_bye(&mut self, leg: &mut Leg, request: Message, key: u64, flow: Flow, now: Millis) {
        let cause = read::cause(&request);
        let slot = self.open_server(key, Role::Other, flow, request, None, now);
        self.respond(slot, &[], &Answer::of(200), now);
        self.drop_pending(leg, now);
        self.end(leg, EndedBy::Bye, cause);
        match &mut leg.state {
            State::Invited(invited) => {
                let (invite, tag) = (invited.invite, leg.dialog.local_tag.clone());
                self.respond(invite, &tag, &Answer::of(487), now);
                leg.gone = true;
            }
            // Its 2xx is still on the way, or other branches of a fork ring on.
            State::Inviting(inviting) => {
                if matches!(inviting.cancel, Cancel::Unwanted) {
                    self.cancel(leg, None, now);
                }
            }
            // Its 2xx is acknowledged all the same, whenever it comes again.
            &mut State::Acknowledging { invite, cseq, .. } => {
                self.acknowledge(leg, invite, cseq, None);
                leg.gone = true;
            }
            _ => leg.gone = true,
        }
    }

    /// Answers what the node has not answered, as RFC 3261 §15.1.2 asks of a UAS that gets a BYE.
    pub(super) fn drop_pending(&mut self, leg: &mut Leg, now: Millis) {
        let theirs = leg.theirs.take().map(|theirs| theirs.slot);
        for slot in leg.infos.drain(..).chain(theirs) {
            self.respond(slot, &[], &Answer::of(487), now);
        }
        leg.unacked = None;
    }

    /// Sends a 2xx to an INVITE and keeps it until its ACK comes.
    pub(super) fn accept(
        &mut self,
        leg: &mut Leg,
        slot: Slot,
        answer: &Answer<'_>,
        offered: bool,
        first: bool,
        now: Millis,
    ) {
        let cseq = self
            .transactions
            .get(slot)
            .and_then(|transaction| transaction.request.as_ref());
        let cseq = cseq.map_or(0, |request| request.cseq().0);
        let tag = leg.dialog.local_tag.clone();
        self.respond(slot, &tag, answer, now);
        let Some(transaction) = self.transactions.get_mut(slot) else {
            return;
        };
        // Copies of the INVITE are absorbed from here on; the leg repeats the 2xx.
        let bytes = std::mem::take(&mut transaction.bytes);
        let repeat_ms = Millis::from(self.timing.t1_ms);
        leg.unacked = Some(Box::new(Unacked {
            cseq,
            bytes,
            flow: transaction.flow,
            offered,
            first,
            repeat_at: now + repeat_ms,
            repeat_ms,
            end_at: now + self.timing.patience_ms(),
            bye: None,
        }));
    }

    pub(super) fn on_leg_ack(&mut self, leg: &mut Leg, ack: &Message, flow: Flow, now: Millis) {
        let fits = |unacked: &Unacked| unacked.cseq == ack.cseq().0;
        if ack.from().tag().unwrap_or_default() != &leg.dialog.remote_tag[..]
            || !leg.unacked.as_deref().is_some_and(fits)
        {
            // A copy, or one for an INVITE that is settled.
            return;
        }
        let Some(unacked) = leg.unacked.take() else {
            return;
        };
        leg.dialog.came_by(flow);
        match unacked.bye {
            Some(cause) => self.bye(leg, cause, now),
            None => self.confirmed(leg, &unacked, Some(ack)),
        }
    }

    fn confirmed(&mut self, leg: &mut Leg, unacked: &Unacked, ack: Option<&Message>) {
        let body = ack.filter(|_| unacked.offered).and_then(read::body);
        let event = if unacked.first {
            LegEvent::Confirmed { body }
        } else {
            LegEvent::Reconfirmed { body }
        };
        self.emit(leg.id(), event);
    }

    /// The 2xx's own clock: doubling from T1 to T2, RFC 3261 §13.3.1.4, over streams as well.
    pub(super) fn repeat_unacked(&mut self, leg: &mut Leg, now: Millis) {
        let longest = Millis::from(self.timing.t2_ms);
        let Some(unacked) = leg.unacked.as_deref_mut() else {
            return;
        };
        if unacked.end_at <= now || unacked.repeat_at > now {
            return;
        }
        unacked.repeat_ms = (unacked.repeat_ms * 2).min(longest);
        unacked.repeat_at = (unacked.repeat_at + unacked.repeat_ms).max(now + 1);
        let (flow, bytes) = (unacked.flow, unacked.bytes.clone());
        self.send(
            flow,
            bytes,
            Sent::Response {
                status: 200,
                retransmission: true,
            },
        );
    }
}

/// The early dialog of a tag, made when there is room.
pub(super) fn early<'a>(known: &'a mut Vec<Early>, tag: &[u8]) -> Option<&'a mut Early> {
    match known.iter().position(|early| early.tag == tag) {
        Some(at) => known.get_mut(at),
        None if known.len() < EARLY_MAX => {
            known.push(Early {
                tag: Bytes::copy_from_slice(tag),
                remote_cseq: None,
            });
            known.last_mut()
        }
        None => None,
    }
}
