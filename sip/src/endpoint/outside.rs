//! Received requests: matched to their transaction, their dialog, or neither.

use super::keys::hex;
use super::slab::Slot;
use super::state::{InvitedState, Leg, Role, State};
use super::stray::{Stray, token_in};
use super::write::Answer;
use super::{Admission, Endpoint, read};
use crate::dialog::{Dialog, ROUTES_MAX};
use crate::leg::{EndedBy, LegEvent};
use crate::message::{Message, Method, Name};
use crate::timer::Millis;
use crate::transaction::{Act, Machine};
use crate::transport::Flow;

use bytes::Bytes;

impl Endpoint {
    pub(super) fn on_request(
        &mut self,
        request: Message,
        flow: Flow,
        now: Millis,
    ) -> Option<Box<Stray>> {
        if *request.method() == Method::Ack {
            return self.on_ack(request, flow, now);
        }
        let key = self.secret.server_key(&request, false);
        if let Some(&slot) = self.servers.get(&key) {
            self.on_copy(slot);
            return None;
        }
        // A slip elsewhere in the message is no reason to leave a call open.
        let ends = matches!(request.method(), Method::Bye | Method::Cancel);
        if let Some(finding) = request
            .finding()
            .filter(|finding| !(ends && finding.status == 400))
        {
            self.respond_stateless(&request, &flow, key, &Answer::of(finding.status));
            return None;
        }
        if *request.method() == Method::Cancel {
            self.on_cancel(request, key, flow, now);
            return None;
        }
        let local_tag = request
            .to()
            .tag()
            .map(|tag| self.secret.dialog_key(request.call_id(), tag));
        match local_tag {
            Some(dialog) => match self.dialogs.get(&dialog).copied() {
                // BYE frees more than it takes; anything else has a bound even inside dialogs.
                Some(_) if self.crowded() && *request.method() != Method::Bye => {
                    let full = Answer {
                        retry_after_s: Some(self.config.retry_after_s),
                        ..Answer::of(503)
                    };
                    self.respond_stateless(&request, &flow, key, &full);
                }
                Some(leg) => self.on_inside(leg, request, key, flow, now),
                None if token_in(&request).is_some() => return Some(Stray::new(request, flow)),
                None => self.respond_stateless(&request, &flow, key, &Answer::of(481)),
            },
            None => self.on_outside(request, key, flow, now),
        }
        None
    }

    /// Twice what refuses new calls.
    fn crowded(&self) -> bool {
        self.transactions.len() - self.client_transactions >= 2 * self.config.transactions_max
    }

    fn on_copy(&mut self, slot: Slot) {
        let act = match self
            .transactions
            .get(slot)
            .map(|transaction| &transaction.machine)
        {
            Some(Machine::ServerInvite(machine)) => machine.on_copy(),
            Some(Machine::Server(machine)) => machine.on_copy(),
            _ => Act::Nothing,
        };
        if act == Act::Resend {
            self.resend(slot);
        }
    }

    /// An ACK belongs to the INVITE it shares a branch with, or by its tags to a dialog. One that belongs to nothing
    /// is absorbed: there is no answer to an ACK.
    fn on_ack(&mut self, ack: Message, flow: Flow, now: Millis) -> Option<Box<Stray>> {
        let key = self.secret.server_key(&ack, true);
        let slot = self.servers.get(&key).copied().or_else(|| {
            // Some callers give the ACK of a refusal a branch of its own; left alone they would hear it for 32 s.
            let merged = self.secret.merged_key(&ack, &Method::Invite);
            let refused = |slot: &Slot| {
                self.transactions
                    .get(*slot)
                    .is_some_and(|t| t.status >= 300)
            };
            self.merged.get(&merged).copied().filter(refused)
        });
        if let Some(slot) = slot {
            let act = match self
                .transactions
                .get_mut(slot)
                .map(|transaction| &mut transaction.machine)
            {
                Some(Machine::ServerInvite(machine)) => machine.on_ack(&self.timing, now),
                _ => Act::Nothing,
            };
            self.rearm(slot, now);
            if act != Act::Pass {
                return None;
            }
        }
        let dialog = self.secret.dialog_key(ack.call_id(), ack.to().tag()?);
        let Some(&leg) = self.dialogs.get(&dialog) else {
            return token_in(&ack).is_some().then(|| Stray::new(ack, flow));
        };
        self.with_leg(leg, now, |this, leg| this.on_leg_ack(leg, &ack, flow, now));
        None
    }

    /// RFC 3261 §9.2. The CANCEL is answered whatever became of the INVITE; only one still open is ended.
    fn on_cancel(&mut self, cancel: Message, key: u64, flow: Flow, now: Millis) {
        let invite_key = self.secret.server_key(&cancel, true);
        let invite = self.servers.get(&invite_key).copied();
        let Some(invite) = invite else {
            return self.respond_stateless(&cancel, &flow, key, &Answer::of(481));
        };
        let Some(transaction) = self.transactions.get(invite) else {
            return;
        };
        let (role, pending, leg) = (transaction.role, transaction.pending(), transaction.leg);
        let tag = leg
            .and_then(|leg| self.legs.get(leg))
            .map(|leg| leg.dialog.local_tag.clone());
        let tag = tag.unwrap_or_else(|| Bytes::copy_from_slice(&hex(key)));
        let cause = read::cause(&cancel);
        let slot = self.open_server(key, Role::Other, flow, cancel, None, now);
        self.respond(slot, &tag, &Answer::of(200), now);
        let Some(leg) = leg.filter(|_| pending) else {
            return;
        };
        self.with_leg(leg, now, |this, leg| {
            this.respond(invite, &tag, &Answer::of(487), now);
            match role {
                Role::Invite => {
                    this.end(leg, EndedBy::Cancelled, cause);
                    leg.gone = true;
                }
                // The call goes on without the change; the node's decision about it comes too late.
                _ => leg.theirs = None,
            }
        });
    }

    fn on_outside(&mut self, request: Message, key: u64, flow: Flow, now: Millis) {
        let merged = self.secret.merged_key(&request, request.method());
        let status = match request.method() {
            _ if self.merged.contains_key(&merged) => 482,
            _ if request.unsupported(&[]).next().is_some() => 420,
            Method::Invite => return self.on_invite(request, key, merged, flow, now),
            Method::Options => {
                let answer = self.admission_answer().unwrap_or(Answer::of(200));
                return self.respond_stateless(&request, &flow, key, &answer);
            }
            // These live in dialogs only, and there is none.
            Method::Bye | Method::Info | Method::Update => 481,
            other => unwelcome(other),
        };
        self.respond_stateless(&request, &flow, key, &Answer::of(status));
    }

    /// The refusal of the moment, if new work is refused.
    fn admission_answer(&self) -> Option<Answer<'static>> {
        let Admission::Refusing {
            status,
            retry_after_s,
        } = self.admission
        else {
            return None;
        };
        Some(Answer {
            retry_after_s: (retry_after_s > 0).then_some(retry_after_s),
            ..Answer::of(status)
        })
    }

    fn on_invite(&mut self, invite: Message, key: u64, merged: u64, flow: Flow, now: Millis) {
        if let Some(refusal) = self.admission_answer() {
            return self.respond_stateless(&invite, &flow, key, &refusal);
        }
        let servers = self.transactions.len() - self.client_transactions;
        if self.legs.len() >= self.config.legs_max || servers >= self.config.transactions_max {
            let full = Answer {
                retry_after_s: Some(self.config.retry_after_s),
                ..Answer::of(503)
            };
            return self.respond_stateless(&invite, &flow, key, &full);
        }
        if invite.values(Name::RecordRoute).nth(ROUTES_MAX).is_some() {
            return self.respond_stateless(&invite, &flow, key, &Answer::of(513));
        }
        if read::strange_body(&invite) {
            return self.respond_stateless(&invite, &flow, key, &Answer::of(415));
        }
        let event = read::invited(&invite, flow);
        let offered = event.body.is_some();
        let tag = self.secret.tag(None);
        let cseq = self.secret.draw_between(1, 1 << 16) as u32;
        let dialog = Dialog::inbound(&invite, flow, tag, cseq);
        let dialog_key = self.secret.dialog_key(&dialog.call_id, &dialog.local_tag);

        let slot = self.open_server(key, Role::Invite, flow, invite, None, now);
        let trying = self.config.trying_delay_ms;
        if trying == 0 {
            self.respond(slot, &[], &Answer::of(100), now);
        }
        let state = InvitedState {
            invite: slot,
            offered,
            refresh_at: (trying > 0).then_some(now + trying),
        };
        let leg = self
            .legs
            .insert_with(|leg| Leg::new(leg, dialog_key, dialog, State::Invited(Box::new(state))));
        self.dialogs.insert(dialog_key, leg);
        self.merged.insert(merged, slot);
        if let Some(transaction) = self.transactions.get_mut(slot) {
            transaction.leg = Some(leg);
            transaction.merged = Some(merged);
        }
        let limit_at = now + self.config.setup_limit_ms;
        self.with_leg(leg, now, |this, leg| {
            leg.limit_at = Some(limit_at);
            this.emit(leg.id(), LegEvent::Invited(Box::new(event)));
        });
    }
}

/// 405 for a method we know and do not serve, 501 for one nobody told us of (RFC 3261 §8.2.1, §21.5.2).
pub(super) fn unwelcome(method: &Method) -> u16 {
    if matches!(method, Method::Other(_)) {
        501
    } else {
        405
    }
}

/// Extensions an inside request demands; none is supported.
pub(super) fn demands_extensions(request: &Message) -> bool {
    request.values(Name::Require).next().is_some()
}
