//! What the owner of a call commands about it and its binding.

use super::{BindingId, CallId, Epoch};
use crate::entity::{Id, Millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Admission of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reserve {
    /// Its id; carries the owner's epoch.
    pub call: CallId,
    /// Where it came in.
    pub gateway: Id,
    /// C, as received.
    pub caller_access: String,
    /// N, after the gateway's rules.
    pub caller: String,
    /// Callee as received.
    pub callee_access: String,
    /// B.
    pub callee: String,
    /// When the INVITE arrived, by the node's clock.
    pub started_at: Millis,
    /// Source of the INVITE.
    pub remote: SocketAddr,
    /// The customer's SIP Call-ID.
    pub sip_call_id: String,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Failure {
    /// The platform refused this X or this pair; nothing is bound. Another X is tried, two at most.
    NumberRefused {
        /// The platform's code, for the row and the log.
        code: String,
    },
    /// The platform refused for a reason that every number shares, or could not be reached; nothing is bound.
    PlatformRefused {
        /// The platform's code.
        code: String,
    },
    /// Time-out or a cut reply: the platform may hold the binding. X is quarantined until an `Unbound` confirms.
    BindUnknown {
        /// What happened.
        code: String,
    },
    /// The routing gateway refused, was silent or could not be reached.
    Gateway {
        /// Final SIP status (408 for silence, 503 for a dead transport).
        status: u16,
    },
}

/// Asks for another attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Next {
    /// The call.
    pub call: CallId,
    /// The tenure that runs it.
    pub epoch: Epoch,
    /// The attempt that failed ([`Attempt::number`]).
    pub attempt: u16,
    /// How.
    pub failure: Failure,
}

/// Takes a pair (A,X) for a trial of its interface, one trial of an interface at a time. The binding is one that is to
/// be released from its beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Borrow {
    /// The tenure that tries.
    pub epoch: Epoch,
    /// What is tried.
    pub interface: Id,
    /// One of our A numbers; `None`: any that fits.
    pub a: Option<String>,
    /// One of the interface's X numbers; `None`: any that fits.
    pub x: Option<String>,
    /// B'; `None`: another of our A numbers.
    pub b: Option<String>,
    /// Who asked.
    pub actor: String,
}

/// What the platform answered to a bind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Which.
    pub binding: BindingId,
    /// Owner's tenure.
    pub epoch: Epoch,
    /// Named values that the unbind needs.
    pub handle: BTreeMap<String, String>,
    /// The X in the answer, which may differ from the X asked for.
    pub x: String,
    /// When the platform would drop it by itself.
    pub expires_at: Option<Millis>,
    /// The reply, cut to 2 KB.
    pub raw: String,
}

/// The callee answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The call.
    pub call: CallId,
    /// The tenure that runs it.
    pub epoch: Epoch,
    /// When the 200 arrived, by the owner's clock.
    pub answered_at: Millis,
    /// From the INVITE's arrival to the first ringing or answer.
    pub pdd_ms: u32,
    /// Both dialogs and the last SDP, encoded by the owner; opaque here, at most [`DIALOGS_MAX`]. Without any the call
    /// ends with its node.
    pub dialogs: Vec<u8>,
    /// First audio codec of the answer.
    pub codec: String,
}

/// What another node needs to carry an answered call on, as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Keep {
    /// The call.
    pub call: CallId,
    /// The tenure that runs it.
    pub epoch: Epoch,
    /// As in [`Answered::dialogs`].
    pub dialogs: Vec<u8>,
}

/// Asks for the next slice of credit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Renew {
    /// The call.
    pub call: CallId,
    /// The tenure that runs it.
    pub epoch: Epoch,
    /// The end of the slice in hand, seconds from the answer ([`Credit::upto_secs`]).
    pub upto_secs: u32,
}

/// A binding is gone from the platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unbound {
    /// Which.
    pub binding: BindingId,
    /// Owner's tenure.
    pub epoch: Epoch,
    /// The platform said that it had no such binding.
    pub missing: bool,
}

/// An unbind that did not work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnbindFailed {
    /// Which.
    pub binding: BindingId,
    /// Owner's tenure.
    pub epoch: Epoch,
    /// What the platform or the network said, at most 500 bytes.
    pub error: String,
}

/// 终止原因.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndReason {
    /// Text key of `DOMAIN.md` §9, such as `normal`.
    pub key: String,
    /// Far end's final SIP status, if one decided.
    pub sip: Option<u16>,
    /// Far end's Q.850 cause.
    pub q850: Option<u8>,
}

/// 挂断方.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndedBy {
    /// 0
    Caller,
    /// 1
    Callee,
    /// 2
    Server,
}

/// A call is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// The call.
    pub call: CallId,
    /// The tenure that runs it.
    pub epoch: Epoch,
    /// When, by the owner's clock.
    pub ended_at: Millis,
    /// When the callee answered, if it did: repeated here so that no record depends on an `Answered` that was lost.
    pub answered_at: Option<Millis>,
    /// From the INVITE's arrival to the first ringing or answer.
    pub pdd_ms: Option<u32>,
    /// First audio codec of the answer.
    pub codec: String,
    /// Why.
    pub reason: EndReason,
    /// By whom.
    pub by: EndedBy,
}
