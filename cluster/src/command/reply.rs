//! What applying a command gives: a reply to who proposed it, and effects for the nodes they name.

use super::{BindingId, CallId, Epoch};
use crate::entity::{Id, Micros, Millis, Table, Transport};
use crate::level::Level;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What `apply` answers to the proposer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// It is so.
    Done,
    /// Named outcome that is not an error of the switch.
    Refused(Refusal),
    /// Numbers, gateway, credit.
    Reserved(Box<Attempt>),
    /// To an `Answered`.
    Answered {
        /// When the binding is to be released; `None`: at call end (or there is none).
        unbind_at: Option<Millis>,
    },
    /// To a `Renew`.
    Renewed(Credit),
    /// To a `Claim`.
    Claimed {
        /// The tenure.
        epoch: Epoch,
    },
    /// To a `Put`.
    Row {
        /// The row's id.
        id: Id,
        /// Its version now.
        version: u32,
    },
    /// To a `Pay`.
    Balance(Micros),
    /// To a `PutMany`: the rows' ids, in its order.
    Rows(Vec<Id>),
    /// To a `Borrow`.
    Lent(Lease),
}

/// How far the reserved money carries a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// Paid for up to this second from the answer.
    pub upto_secs: u32,
    /// No more will be granted: hang up at that second (`balance_exhausted`).
    pub last: bool,
}

/// One way to carry the call: where to send it and as whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts from 1 within the call.
    pub number: u16,
    /// Which gateway.
    pub gateway: Id,
    /// Its name.
    pub gateway_name: String,
    /// Where.
    pub address: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// Caller as sent.
    pub caller_out: String,
    /// Callee as sent.
    pub callee_out: String,
    /// Send P-Asserted-Identity.
    pub send_identity: bool,
    /// Silence allowed.
    pub response_timeout_ms: u32,
    /// Numbers to bind first.
    pub lease: Option<Lease>,
    /// A static relation to go out over; never together with `lease`.
    pub ax: Option<AxLease>,
    /// Longest call by the gateways' settings, seconds; `None` is without bound.
    pub max_duration_secs: Option<u32>,
    /// First slice of credit; `None`: the call costs nothing.
    pub credit: Option<Credit>,
}

/// The numbers of one AXB attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The row in the state.
    pub binding: BindingId,
    /// Whose X.
    pub interface: Id,
    /// A
    pub a: String,
    /// X
    pub x: String,
    /// B' as told to the platform.
    pub b_submitted: String,
}

/// The static relation of one AX attempt (`DOMAIN.md` §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxLease {
    /// The row in the state.
    pub ax: Id,
    /// Whose X.
    pub interface: Id,
    /// A
    pub a: String,
    /// X
    pub x: String,
    /// B' as told to the platform.
    pub b_submitted: String,
    /// The platform's named values of the relation.
    pub handle: BTreeMap<String, String>,
    /// The callee must be set at the platform before the INVITE leaves.
    pub set_callee: bool,
    /// This call's turn on the X has come. While it is false the owner waits for [`Effect::AxTurn`].
    pub turn: bool,
}

/// Refusals, in their order of precedence where several hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The proposer's tenure is over; it must serve no longer.
    StaleEpoch,
    /// No such call, or it has ended.
    UnknownCall,
    /// The mapping gateway is gone or locked.
    GatewayLocked,
    /// The mapping gateway has no free line.
    GatewayCapacity,
    /// `caller_forbidden`
    CallerForbidden,
    /// `callee_forbidden`
    CalleeForbidden,
    /// `account_locked`
    AccountLocked,
    /// `account_expired`
    AccountExpired,
    /// `rate_not_found`
    RateNotFound,
    /// `balance_insufficient`
    BalanceInsufficient,
    /// No prefix matches.
    NoRoute,
    /// Prefixes match, no gateway has a line.
    RouteCapacity,
    /// Only AXB gateways match and the customer may not use them.
    AxbNotAllowed,
    /// No free pair.
    NoAxbNumber,
    /// Every bind tried failed.
    AxbBindFailed,
    /// The last gateway's failure is the answer: nothing more to try, or its failure does not move calls on.
    PassOn {
        /// Its status.
        status: u16,
    },
    /// The access name is held by a live claim.
    ClaimHeld {
        /// Who holds it.
        address: String,
        /// How long its lease lasts without renewal.
        left_ms: u64,
    },
    /// Row or version is not as the edit says; the text names field and reason.
    Invalid {
        /// The field.
        field: String,
        /// What is wrong with it.
        text: String,
    },
    /// The row has been changed meanwhile.
    VersionConflict {
        /// Its version now.
        version: u32,
    },
    /// No such row.
    NotFound,
    /// The row is used by others; the text names one.
    InUse {
        /// By what.
        by: String,
    },
    /// The answered X is not ours or is full.
    XNotOurs,
    /// So many rows wait in the outbox that only records of calls are still taken.
    OutboxFull,
    /// An operator holds the cluster at its level. Answers commands of level 2 alone.
    LevelHeld,
    /// The node speaks a lower level than the cluster is at. Answers commands of level 2 alone.
    LevelTooLow {
        /// What the cluster is at.
        active: Level,
    },
}

/// What a node must do because of an applied entry. Every node sees every effect of entries applied after its start;
/// the one named as owner acts.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A binding changed hands: `owner` releases it at its moment.
    Adopted {
        /// New owner.
        owner: Epoch,
        /// Which.
        binding: BindingId,
    },
    /// An answered call changed hands: `owner` carries it on.
    CallAdopted {
        /// New owner.
        owner: Epoch,
        /// Which.
        call: CallId,
    },
    /// An operator asked for a release.
    UnbindAsked {
        /// Owner.
        owner: Epoch,
        /// Which.
        binding: BindingId,
    },
    /// An operator dropped the row; one best-effort request goes out.
    ForceUnbound {
        /// Owner.
        owner: Epoch,
        /// What it was.
        gone: Box<crate::state::Binding>,
    },
    /// A tenure is over: its node must stop serving.
    Fenced {
        /// Which.
        epoch: Epoch,
    },
    /// The outbox has grown.
    Outbox {
        /// Last number in it.
        last: u64,
    },
    /// A call's turn on its X has come: it may set its callee.
    AxTurn {
        /// The tenure that runs it.
        owner: Epoch,
        /// The call.
        call: CallId,
        /// Its attempt.
        attempt: u16,
    },
    /// A static relation is to be bound or released at the platform, now by `owner`: an operator asked, it ran out, or
    /// the node that had begun is gone. The row's phase says which of the two; one exchange a row at a time.
    AxAsked {
        /// Owner.
        owner: Epoch,
        /// Which.
        ax: Id,
    },
    /// An operator dropped a static relation; one best-effort request goes out.
    AxForced {
        /// Owner.
        owner: Epoch,
        /// What it was.
        gone: Box<crate::state::AxRow>,
    },
    /// An operator changed a row; caches made from it are stale.
    Edited {
        /// Table.
        table: Table,
        /// Row.
        id: Id,
    },
    /// An operator changed many rows of a table at once; caches made from it are stale.
    EditedMany {
        /// Table.
        table: Table,
        /// How many.
        rows: u32,
    },
}
