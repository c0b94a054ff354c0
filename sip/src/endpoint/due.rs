//! What a leg does when its time has come, and what a broken flow means.

use super::Endpoint;
use super::state::{Leg, Role, State};
use super::write::Answer;
use crate::leg::{EndedBy, Timeout};
use crate::timer::Millis;
use crate::transport::Flow;

impl Endpoint {
    pub(super) fn leg_due(&mut self, leg: &mut Leg, now: Millis) {
        if leg
            .unacked
            .as_ref()
            .is_some_and(|unacked| unacked.end_at <= now)
        {
            return self.never_acked(leg, now);
        }
        self.repeat_unacked(leg, now);
        if leg.limit_at.is_some_and(|at| at <= now) {
            leg.limit_at = None;
            return self.limit_reached(leg, now);
        }
        match &mut leg.state {
            State::Invited(invited) if invited.refresh_at.is_some_and(|at| at <= now) => {
                let invite = invited.invite;
                let sent = self
                    .transactions
                    .get(invite)
                    .map_or(0, |transaction| transaction.status);
                invited.refresh_at = (sent > 100).then(|| now + super::command::REFRESH_MS);
                if sent > 100 {
                    self.resend(invite);
                } else if sent == 0 {
                    self.respond(invite, &[], &Answer::of(100), now);
                }
            }
            State::Inviting(inviting) if inviting.no_response_at.is_some_and(|at| at <= now) => {
                inviting.no_response_at = None;
                self.end(leg, EndedBy::Timeout(Timeout::Response), None);
                self.cancel(leg, None, now);
            }
            _ => {}
        }
    }

    /// RFC 3261 §13.3.1.4: a 2xx that is never acknowledged ends in a BYE.
    fn never_acked(&mut self, leg: &mut Leg, now: Millis) {
        let Some(unacked) = leg.unacked.take() else {
            return;
        };
        self.end(leg, EndedBy::Timeout(Timeout::Ack), None);
        self.bye(leg, unacked.bye.flatten(), now);
    }

    fn limit_reached(&mut self, leg: &mut Leg, now: Millis) {
        match &leg.state {
            State::Invited(invited) => {
                let (invite, tag) = (invited.invite, leg.dialog.local_tag.clone());
                self.drop_pending(leg, now);
                self.respond(invite, &tag, &Answer::of(408), now);
                self.end(leg, EndedBy::Timeout(Timeout::Setup), None);
                leg.gone = true;
            }
            State::Inviting(_) => {
                self.end(leg, EndedBy::Timeout(Timeout::Ringing), None);
                self.cancel(leg, None, now);
            }
            // The node owes an ACK and has forgotten it; the far end has given up by now.
            State::Acknowledging { .. } | State::Talking => {
                self.end(leg, EndedBy::Timeout(Timeout::Ack), None);
                self.stop(leg, None, now);
            }
            State::Closing => {}
        }
    }

    /// The flow is broken: a connection that closed or could not be made, a datagram that cannot be sent. Requests
    /// that wait for an answer by it have failed, and so have callers that wait for one of ours over a connection.
    /// Calls that stand go on: their next request finds another connection. Looks at every transaction.
    pub fn transport_failed(&mut self, flow: &Flow, now: Millis) {
        let failed: Vec<_> = self
            .transactions
            .slots()
            .filter(|(_, transaction)| transaction.pending() && same_way(&transaction.flow, flow))
            .filter(|(_, transaction)| transaction.is_client() || super::reliable(flow))
            .map(|(slot, _)| slot)
            .collect();
        for slot in failed {
            let Some(transaction) = self.close(slot) else {
                continue;
            };
            let Some(leg) = transaction.leg else { continue };
            self.with_leg(leg, now, |this, leg| {
                if !transaction.is_client() && transaction.role == Role::Invite {
                    this.end(leg, EndedBy::TransportFailed, None);
                    leg.gone = true;
                } else {
                    this.leg_request_failed(leg, slot, &transaction, EndedBy::TransportFailed, now);
                }
            });
        }
    }
}

/// Whether a message by `used` fails when `broken` does. A connection is one way; without one the peer's address is.
fn same_way(used: &Flow, broken: &Flow) -> bool {
    let connection = match (used.connection, broken.connection) {
        (Some(used), Some(broken)) => used == broken,
        _ => true,
    };
    used.transport == broken.transport
        && used.remote == broken.remote
        && used.relay == broken.relay
        && connection
}
