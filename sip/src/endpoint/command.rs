//! What the node wants: dial, commands, and the ways to end a leg.

use bytes::Bytes;

use super::Endpoint;
use super::keys::{Secret, TAG_LENGTH, hex, with_token};
use super::slab::Slot;
use super::state::{Cancel, InvitingState, Leg, Ours, Role, State};
use super::write::{self, ALLOW, Answer};
use crate::dialog::{Dialog, tagged};
use crate::leg::{
    Body, Cause, Command, CommandError, Dial, Ended, EndedBy, LegEvent, LegId, Offer, Token,
};
use crate::message::{Framing, Message, Method, Name};
use crate::timer::Millis;
use crate::transaction::Machine;
use crate::transport::shard_of;

/// How often a ringing INVITE's last provisional response is sent again, so that no proxy on the way gives up
/// (RFC 3261 §13.3.1.1).
pub(super) const REFRESH_MS: Millis = 60_000;

impl Endpoint {
    /// Sends an INVITE. The leg's events follow; when the shard is full by twice
    /// [`legs_max`](super::Config::legs_max) the first of them is its end, refused with 503.
    pub fn dial(&mut self, dial: Dial, now: Millis) -> LegId {
        let tag = self.secret.tag(dial.token.as_ref());
        let call_id = match dial.call_id {
            Some(call_id) => Bytes::copy_from_slice(&call_id),
            None => self.own_call_id(&dial.flow),
        };
        let cseq = self.secret.draw_between(1, 1 << 16) as u32;
        let dialog = Dialog::outbound(
            call_id,
            tagged(&dial.from, &tag),
            Bytes::copy_from_slice(&dial.to),
            tag,
            Bytes::copy_from_slice(&dial.request_uri),
            cseq,
            dial.flow,
        );
        let key = self.secret.dialog_key(&dialog.call_id, &dialog.local_tag);
        if self.legs.len() >= 2 * self.config.legs_max {
            let slot = self
                .legs
                .insert_with(|slot| Leg::new(slot, key, dialog, State::Closing));
            self.legs.remove(slot);
            let by = EndedBy::Refused {
                status: 503,
                reason: Bytes::new(),
                retry_after_s: None,
            };
            let id = LegId(slot.to_u64());
            self.emit(id, LegEvent::Ended(Ended { by, cause: None }));
            return id;
        }

        let face = self.faces.of(&dial.flow);
        let (branch_key, branch) = self.secret.branch();
        let writer = &mut self.writer;
        writer
            .request(&Method::Invite, &dialog.target)
            .via(face.transport, face.sent_by, &branch)
            .header_number(Name::MaxForwards, u64::from(dial.max_forwards))
            .header(Name::From, &dialog.local)
            .header(Name::To, &dialog.remote)
            .header(Name::CallId, &dialog.call_id)
            .cseq(cseq, &Method::Invite)
            .header(Name::Contact, &face.contact)
            .header(Name::Allow, ALLOW);
        for (name, value) in &dial.headers {
            writer.other(name, value);
        }
        if !self.config.server_name.is_empty() {
            writer.header(Name::UserAgent, &self.config.server_name);
        }
        let bytes = write::finish(writer, dial.body.as_ref());

        let limit_ms = if dial.ringing_limit_ms == 0 {
            self.config.ringing_limit_ms
        } else {
            dial.ringing_limit_ms
        };
        let no_response_at = (dial.no_response_ms > 0).then(|| now + dial.no_response_ms);
        let invite = self.open_client(
            branch_key,
            Role::Invite,
            Method::Invite,
            dial.flow,
            bytes,
            None,
            now,
        );
        let state = State::Inviting(Box::new(InvitingState {
            invite,
            offered: dial.body.is_some(),
            no_response_at,
            cancel: Cancel::Unwanted,
            early: Vec::new(),
        }));
        let slot = self
            .legs
            .insert_with(|slot| Leg::new(slot, key, dialog, state));
        self.dialogs.insert(key, slot);
        if let Some(transaction) = self.transactions.get_mut(invite) {
            transaction.leg = Some(slot);
        }
        self.with_leg(slot, now, |_, leg| leg.limit_at = Some(now + limit_ms));
        LegId(slot.to_u64())
    }

    /// A Call-ID whose messages come to this shard. As many are drawn as there are shards, on average.
    fn own_call_id(&mut self, flow: &crate::transport::Flow) -> Bytes {
        let host = self.faces.of(flow).sent_by.ip();
        loop {
            let mut text = Vec::with_capacity(48);
            text.extend_from_slice(&hex(self.secret.draw()));
            text.extend_from_slice(format!("@{host}").as_bytes());
            if self.config.shards <= 1
                || shard_of(&text, self.config.shards as usize) == self.config.shard as usize
            {
                return Bytes::from(text);
            }
        }
    }

    /// Carries out a command.
    ///
    /// # Errors
    /// The leg has ended, or it is not the moment; nothing was sent then.
    pub fn command(
        &mut self,
        leg: LegId,
        command: Command,
        now: Millis,
    ) -> Result<(), CommandError> {
        let slot = Slot::from_u64(leg.0);
        if self.legs.get(slot).is_none_or(|leg| leg.ended) {
            return Err(CommandError::UnknownLeg(leg));
        }
        self.with_leg(slot, now, |this, leg| this.leg_command(leg, command, now))
            .unwrap_or(Err(CommandError::UnknownLeg(leg)))
    }

    fn leg_command(
        &mut self,
        leg: &mut Leg,
        command: Command,
        now: Millis,
    ) -> Result<(), CommandError> {
        let name = command.name();
        let not_now = CommandError::NotNow {
            leg: leg.id(),
            command: name,
            state: leg.state_name(),
        };
        let bad = |status| CommandError::BadStatus {
            status,
            command: name,
        };
        match (&mut leg.state, command) {
            (_, Command::HangUp { cause }) => self.hang_up(leg, cause, now),
            (State::Invited(invited), Command::Name { token }) => {
                let invite = self.transactions.get(invited.invite);
                let told = invite.is_none_or(|invite| invite.status > 100);
                // A tag that the far end knows stays what it is.
                if told || leg.dialog.local_tag.len() != TAG_LENGTH {
                    return Err(not_now);
                }
                self.name(leg, &token);
            }
            (State::Invited(invited), Command::Progress { status, body }) => {
                if !(101..200).contains(&status) {
                    return Err(bad(status));
                }
                invited.refresh_at = Some(now + REFRESH_MS);
                let (invite, tag) = (invited.invite, leg.dialog.local_tag.clone());
                self.respond(
                    invite,
                    &tag,
                    &Answer {
                        body: body.as_ref(),
                        ..Answer::of(status)
                    },
                    now,
                );
            }
            (State::Invited(invited), Command::Answer { body }) => {
                let (invite, offered) = (invited.invite, invited.offered);
                leg.state = State::Talking;
                leg.limit_at = None;
                let answer = Answer {
                    body: body.as_ref(),
                    ..Answer::of(200)
                };
                self.accept(leg, invite, &answer, !offered && body.is_some(), true, now);
            }
            (
                State::Invited(invited),
                Command::Refuse {
                    status,
                    reason,
                    retry_after_s,
                    cause,
                },
            ) => {
                if !(300..700).contains(&status) {
                    return Err(bad(status));
                }
                let answer = Answer {
                    status,
                    reason: reason.as_deref(),
                    retry_after_s,
                    cause: cause.as_ref(),
                    body: None,
                };
                let (invite, tag) = (invited.invite, leg.dialog.local_tag.clone());
                self.drop_pending(leg, now);
                self.respond(invite, &tag, &answer, now);
                self.end(leg, EndedBy::Local, cause);
                leg.gone = true;
            }
            (
                &mut State::Acknowledging {
                    invite,
                    cseq,
                    offered,
                },
                Command::Ack { body },
            ) => {
                leg.state = State::Talking;
                leg.limit_at = None;
                self.acknowledge(leg, invite, cseq, body.as_ref().filter(|_| !offered));
            }
            (State::Talking, Command::Ack { body }) => {
                let Some(ours) = leg.ours.filter(|ours| ours.awaits_ack) else {
                    return Err(not_now);
                };
                leg.ours = None;
                leg.limit_at = None;
                self.acknowledge(leg, ours.slot, ours.cseq, body.as_ref());
            }
            (State::Talking, Command::Reoffer { via, body }) => {
                if leg.ours.is_some() || leg.theirs.is_some() {
                    return Err(CommandError::OfferPending(leg.id()));
                }
                if leg.unacked.is_some() {
                    return Err(not_now);
                }
                self.reoffer(leg, via, body.as_ref(), now);
            }
            (State::Talking, Command::AcceptReoffer { body }) => {
                let Some(theirs) = leg.theirs.take() else {
                    return Err(not_now);
                };
                let request = self
                    .transactions
                    .get(theirs.slot)
                    .and_then(|t| t.request.as_ref());
                if let Some(request) = request {
                    leg.dialog.refresh_target(request);
                }
                let answer = Answer {
                    body: body.as_ref(),
                    ..Answer::of(200)
                };
                match theirs.via {
                    Offer::Update => self.respond(theirs.slot, &[], &answer, now),
                    Offer::Invite => {
                        let offered = !theirs.offered && body.is_some();
                        self.accept(leg, theirs.slot, &answer, offered, false, now);
                    }
                }
            }
            (State::Talking, Command::RefuseReoffer { status }) => {
                if !(300..700).contains(&status) {
                    return Err(bad(status));
                }
                let Some(theirs) = leg.theirs.take() else {
                    return Err(not_now);
                };
                self.respond(theirs.slot, &[], &Answer::of(status), now);
            }
            (
                State::Talking,
                Command::Info {
                    content_type,
                    bytes,
                },
            ) => {
                let body = Body {
                    content_type,
                    bytes,
                };
                self.request(leg, Method::Info, Role::Info, None, Some(&body), now);
            }
            (_, Command::AnswerInfo { id, status }) => {
                if !(200..700).contains(&status) {
                    return Err(bad(status));
                }
                let info = Slot::from_u64(id);
                let Some(at) = leg.infos.iter().position(|slot| *slot == info) else {
                    return Err(not_now);
                };
                leg.infos.swap_remove(at);
                self.respond(info, &[], &Answer::of(status), now);
            }
            _ => return Err(not_now),
        }
        Ok(())
    }

    /// Puts the token behind our tag, which is part of what the dialog is found by.
    fn name(&mut self, leg: &mut Leg, token: &Token) {
        let dialog = &mut leg.dialog;
        dialog.local_tag = with_token(&dialog.local_tag, token);
        // The tag is the last of it.
        dialog.local = with_token(&dialog.local, token);
        let key = self.secret.dialog_key(&dialog.call_id, &dialog.local_tag);
        self.dialogs.remove(&leg.key);
        self.dialogs.insert(key, leg.slot);
        leg.key = key;
    }

    /// A request inside the dialog.
    fn request(
        &mut self,
        leg: &mut Leg,
        method: Method,
        role: Role,
        cause: Option<&Cause>,
        body: Option<&Body>,
        now: Millis,
    ) -> (Slot, u32) {
        let cseq = leg.dialog.next_cseq();
        let flow = leg.dialog.next_flow();
        let face = self.faces.of(&flow);
        let (key, branch) = self.secret.branch();
        let bytes = write::inside(
            &mut self.writer,
            &self.config.server_name,
            &face,
            &leg.dialog,
            &method,
            cseq,
            &branch,
            cause,
            body,
        );
        (
            self.open_client(key, role, method, flow, bytes, Some(leg.slot), now),
            cseq,
        )
    }

    fn reoffer(&mut self, leg: &mut Leg, via: Offer, body: Option<&Body>, now: Millis) {
        let (method, role) = Self::method_of(via);
        let (slot, cseq) = self.request(leg, method, role, None, body, now);
        leg.ours = Some(Ours {
            slot,
            offered: body.is_some(),
            cseq,
            awaits_ack: false,
        });
    }

    /// Ends a leg from our side, whatever its state.
    fn hang_up(&mut self, leg: &mut Leg, cause: Option<Cause>, now: Millis) {
        self.end(leg, EndedBy::Local, cause.clone());
        self.stop(leg, cause, now);
    }

    /// What ending means on the wire.
    pub(super) fn stop(&mut self, leg: &mut Leg, cause: Option<Cause>, now: Millis) {
        match &mut leg.state {
            State::Invited(invited) => {
                let (invite, tag) = (invited.invite, leg.dialog.local_tag.clone());
                self.drop_pending(leg, now);
                self.respond(
                    invite,
                    &tag,
                    &Answer {
                        cause: cause.as_ref(),
                        ..Answer::of(487)
                    },
                    now,
                );
                leg.gone = true;
            }
            State::Inviting(_) => {
                self.drop_pending(leg, now);
                self.cancel(leg, cause, now);
            }
            &mut State::Acknowledging { invite, cseq, .. } => {
                self.acknowledge(leg, invite, cseq, None);
                self.bye(leg, cause, now);
            }
            State::Talking => match &mut leg.unacked {
                // RFC 3261 §15: no BYE before the ACK has come, or will not come any more.
                Some(unacked) if unacked.first => unacked.bye = Some(cause),
                _ => self.bye(leg, cause, now),
            },
            State::Closing => {}
        }
    }

    /// CANCEL, or the wish for one until a provisional response has come.
    pub(super) fn cancel(&mut self, leg: &mut Leg, cause: Option<Cause>, now: Millis) {
        let State::Inviting(inviting) = &mut leg.state else {
            return;
        };
        leg.limit_at = None;
        inviting.no_response_at = None;
        let invite = inviting.invite;
        let Some(transaction) = self.transactions.get_mut(invite) else {
            leg.gone = true;
            return;
        };
        let Machine::ClientInvite(machine) = &mut transaction.machine else {
            return;
        };
        if !machine.proceeding() {
            inviting.cancel = Cancel::Wanted(cause);
            return;
        }
        // RFC 3261 §9.1: a far end that finishes neither is not waited for longer than this.
        machine.give_up_at(now + self.timing.patience_ms());
        let (flow, key) = (transaction.flow, Secret::cancel_key(transaction.key));
        let bytes = Message::parse(transaction.bytes.clone(), Framing::Datagram)
            .map(|request| write::cancel(&mut self.writer, &request, cause.as_ref()));
        inviting.cancel = Cancel::Sent(cause);
        if let Ok(bytes) = bytes {
            self.open_client(key, Role::Cancel, Method::Cancel, flow, bytes, None, now);
        }
        self.rearm(invite, now);
    }

    /// BYE. The leg stays until it is answered.
    pub(super) fn bye(&mut self, leg: &mut Leg, cause: Option<Cause>, now: Millis) {
        if let Some(ours) = leg.ours.take()
            && ours.awaits_ack
        {
            self.acknowledge(leg, ours.slot, ours.cseq, None);
        }
        self.drop_pending(leg, now);
        leg.limit_at = None;
        leg.state = State::Closing;
        self.request(leg, Method::Bye, Role::Bye, cause.as_ref(), None, now);
    }
}
