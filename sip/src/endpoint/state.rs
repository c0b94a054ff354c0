//! What the shard keeps of each transaction and each leg.

use bytes::Bytes;

use super::slab::Slot;
use crate::dialog::Dialog;
use crate::leg::{Cause, LegId, Offer, Sent};
use crate::message::{Message, Method};
use crate::timer::{Millis, TimerId};
use crate::transaction::Machine;
use crate::transport::Flow;

/// What a timer is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    Transaction(Slot),
    Leg(Slot),
}

/// What a transaction means to the leg it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Invite,
    Cancel,
    Bye,
    Reinvite,
    Update,
    Info,
    /// Answered on the spot.
    Other,
}

/// A machine with what it needs to act: the last bytes, not the message.
#[derive(Debug)]
pub(super) struct Transaction {
    pub machine: Machine,
    pub role: Role,
    /// The status of the last response sent; 0 before the first and on the client side.
    pub status: u16,
    /// Client INVITE: an ACK has taken the place of the INVITE.
    pub acked: bool,
    pub key: u64,
    pub merged: Option<u64>,
    pub timer: Option<TimerId>,
    pub leg: Option<Slot>,
    pub flow: Flow,
    /// Client: the request, or the ACK of its refusal. Server: the last response.
    pub bytes: Bytes,
    /// Server: the request, until it has its final response.
    pub request: Option<Box<Message>>,
    /// Client INVITE: the ACK of each 2xx by its To tag; one, unless a proxy forked.
    pub acks: Vec<Acknowledged>,
}

/// How a 2xx from one far end is acknowledged whenever it comes again.
#[derive(Debug)]
pub(super) struct Acknowledged {
    pub tag: u64,
    /// Empty until the node has given it.
    pub ack: Bytes,
    pub flow: Flow,
}

impl Transaction {
    pub fn is_client(&self) -> bool {
        matches!(self.machine, Machine::ClientInvite(_) | Machine::Client(_))
    }

    /// Whether the final response is still to come or to be sent.
    pub fn pending(&self) -> bool {
        match &self.machine {
            Machine::ClientInvite(machine) => machine.pending(),
            Machine::Client(machine) => machine.pending(),
            Machine::ServerInvite(machine) => machine.pending(),
            Machine::Server(machine) => machine.pending(),
        }
    }

    /// What the last bytes are when they are sent again.
    pub fn again(&self) -> Sent {
        if !self.is_client() {
            return Sent::Response {
                status: self.status,
                retransmission: true,
            };
        }
        let method = match self.role {
            _ if self.acked => Method::Ack,
            Role::Invite | Role::Reinvite => Method::Invite,
            Role::Cancel => Method::Cancel,
            Role::Bye => Method::Bye,
            Role::Update => Method::Update,
            Role::Info => Method::Info,
            Role::Other => Method::Options,
        };
        Sent::Request {
            method,
            retransmission: true,
        }
    }
}

/// One far end.
#[derive(Debug)]
pub(super) struct Leg {
    pub slot: Slot,
    /// In the table of dialogs.
    pub key: u64,
    pub state: State,
    /// The node has been told the end; what is left is between us and the far end.
    pub ended: bool,
    /// Nothing is left; the leg goes when the work on it is done.
    pub gone: bool,
    pub timer: Option<TimerId>,
    /// The patience of the present state.
    pub limit_at: Option<Millis>,
    pub dialog: Dialog,
    pub unacked: Option<Box<Unacked>>,
    pub ours: Option<Ours>,
    pub theirs: Option<Theirs>,
    /// INFOs of the far end that the node has not answered.
    pub infos: Vec<Slot>,
}

/// ```text
///  inbound   Invited ─Answer→ Talking (unacked until the ACK)
///  outbound  Inviting ─2xx→ Acknowledging ─Ack→ Talking
///  either    ─BYE sent→ Closing ─its answer→ gone
/// ```
#[derive(Debug)]
pub(super) enum State {
    Invited(Box<InvitedState>),
    Inviting(Box<InvitingState>),
    /// The far end has answered; the node owes the ACK.
    Acknowledging {
        invite: Slot,
        cseq: u32,
        /// Our INVITE carried the offer, so the ACK has no body.
        offered: bool,
    },
    Talking,
    /// Our BYE is out. The leg stays to answer a BYE that crosses it.
    Closing,
}

#[derive(Debug)]
pub(super) struct InvitedState {
    pub invite: Slot,
    /// The INVITE brought an offer.
    pub offered: bool,
    /// When to send 100, or the last provisional response again (RFC 3261 §13.3.1.1).
    pub refresh_at: Option<Millis>,
}

#[derive(Debug)]
pub(super) struct InvitingState {
    pub invite: Slot,
    pub offered: bool,
    pub no_response_at: Option<Millis>,
    pub cancel: Cancel,
    /// Tags of provisional responses and the last CSeq seen from each.
    pub early: Vec<Early>,
}

#[derive(Debug)]
pub(super) struct Early {
    pub tag: Bytes,
    pub remote_cseq: Option<u32>,
}

/// RFC 3261 §9.1: no CANCEL before a provisional response.
#[derive(Debug)]
pub(super) enum Cancel {
    Unwanted,
    Wanted(Option<Cause>),
    Sent(Option<Cause>),
}

/// A 2xx of ours that the far end has not acknowledged, RFC 3261 §13.3.1.4.
#[derive(Debug)]
pub(super) struct Unacked {
    pub cseq: u32,
    pub bytes: Bytes,
    pub flow: Flow,
    /// Our 2xx brought the offer, so the ACK brings the answer.
    pub offered: bool,
    /// The INVITE that made the leg, not a later one.
    pub first: bool,
    pub repeat_at: Millis,
    pub repeat_ms: Millis,
    pub end_at: Millis,
    /// Hung up meanwhile: BYE follows the ACK (RFC 3261 §15).
    pub bye: Option<Option<Cause>>,
}

/// An offer of ours under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ours {
    pub slot: Slot,
    pub offered: bool,
    pub cseq: u32,
    /// The 2xx has come with an offer, the node owes the ACK.
    pub awaits_ack: bool,
}

/// An offer of the far end that the node has not answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theirs {
    pub slot: Slot,
    pub via: Offer,
    pub offered: bool,
}

impl Leg {
    pub fn new(slot: Slot, key: u64, dialog: Dialog, state: State) -> Box<Self> {
        Box::new(Self {
            slot,
            key,
            state,
            ended: false,
            gone: false,
            timer: None,
            limit_at: None,
            dialog,
            unacked: None,
            ours: None,
            theirs: None,
            infos: Vec::new(),
        })
    }

    pub fn id(&self) -> LegId {
        LegId(self.slot.to_u64())
    }

    /// The state in words, for errors.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Invited(_) => "ringing inbound",
            State::Inviting(_) => "ringing outbound",
            State::Acknowledging { .. } => "owing the ack",
            State::Talking if self.unacked.is_some() => "waiting for the ack",
            State::Talking => "talking",
            State::Closing => "closing",
        }
    }

    /// When the leg wants to be looked at.
    pub fn next(&self) -> Option<Millis> {
        let unacked = self
            .unacked
            .as_ref()
            .map(|unacked| unacked.repeat_at.min(unacked.end_at));
        let state = match &self.state {
            State::Invited(invited) => invited.refresh_at,
            State::Inviting(inviting) => inviting.no_response_at,
            _ => None,
        };
        [self.limit_at, unacked, state].into_iter().flatten().min()
    }
}
