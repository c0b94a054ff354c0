//! End reasons: the text keys of `DOMAIN.md` §9, and how refusals and far ends' answers map to them.

use tandem_cluster::command::{EndReason, EndedBy, Refusal};
use tandem_sip::leg::{Cause, Ended, EndedBy as LegEnd, Timeout};

/// Both ends were content.
pub const NORMAL: &str = "normal";
/// The caller left before the answer.
pub const CANCELLED: &str = "cancelled";
/// Nobody answered.
pub const NO_ANSWER: &str = "no_answer";
/// The callee was busy.
pub const BUSY: &str = "busy";
/// The callee or its carrier refused.
pub const REJECTED: &str = "rejected";
/// Somebody was silent for too long.
pub const RESPONSE_TIMEOUT: &str = "response_timeout";
/// The configured limit of a call.
pub const MAX_DURATION: &str = "max_duration";
/// The money is used up.
pub const BALANCE_EXHAUSTED: &str = "balance_exhausted";
/// An operator ended it.
pub const ADMIN_HANGUP: &str = "admin_hangup";
/// Its node stopped or lost its claim.
pub const NODE_FAILURE: &str = "node_failure";

/// A reason that no far end gave.
pub fn of(key: &str) -> EndReason {
    EndReason {
        key: key.to_owned(),
        sip: None,
        q850: None,
    }
}

/// How a refusal is told to the caller and written down.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// Final SIP status.
    pub status: u16,
    /// For the record.
    pub reason: EndReason,
    /// Who ended the call.
    pub by: EndedBy,
    /// The caller may try again soon.
    pub passing: bool,
}

impl Answer {
    /// The Reason header that goes with it.
    pub fn cause(&self) -> Cause {
        sip_cause(self.status, &self.reason.key)
    }
}

/// `Reason: SIP;cause=…;text="…"`.
pub fn sip_cause(status: u16, text: &str) -> Cause {
    Cause {
        sip: Some(status),
        q850: None,
        text: Some(text.to_owned().into()),
    }
}

/// The Reason of a BYE that the switch sends of its own accord.
pub fn switch_cause(key: &str) -> Cause {
    let q850 = match key {
        BALANCE_EXHAUSTED | MAX_DURATION | ADMIN_HANGUP => 31,
        _ => 41,
    };
    Cause {
        sip: None,
        q850: Some(q850),
        text: Some(key.to_owned().into()),
    }
}

/// SIP answers of our own refusals (`DOMAIN.md` §9).
pub fn answer_to(refusal: &Refusal) -> Answer {
    let ours = |status, key: &str, passing| Answer {
        status,
        reason: of(key),
        by: EndedBy::Server,
        passing,
    };
    match refusal {
        Refusal::StaleEpoch | Refusal::UnknownCall => ours(503, NODE_FAILURE, true),
        Refusal::GatewayLocked => ours(403, "account_locked", false),
        Refusal::GatewayCapacity | Refusal::RouteCapacity => ours(503, "gateway_capacity", true),
        Refusal::CallerForbidden => ours(403, "caller_forbidden", false),
        Refusal::CalleeForbidden => ours(403, "callee_forbidden", false),
        Refusal::AccountLocked => ours(403, "account_locked", false),
        Refusal::AccountExpired => ours(403, "account_expired", false),
        Refusal::RateNotFound => ours(403, "rate_not_found", false),
        Refusal::BalanceInsufficient => ours(402, "balance_insufficient", false),
        Refusal::NoRoute => ours(404, "no_route", false),
        Refusal::AxbNotAllowed => ours(403, "axb_not_allowed", false),
        Refusal::NoAxbNumber => ours(503, "no_axb_number", true),
        Refusal::AxbBindFailed => ours(503, "axb_bind_failed", true),
        Refusal::PassOn { status } => passed_on(*status),
        // Answers to edits; an admission never gets them.
        Refusal::ClaimHeld { .. }
        | Refusal::Invalid { .. }
        | Refusal::VersionConflict { .. }
        | Refusal::NotFound
        | Refusal::InUse { .. }
        | Refusal::XNotOurs
        | Refusal::OutboxFull
        | Refusal::LevelHeld
        | Refusal::LevelTooLow { .. } => ours(500, REJECTED, false),
    }
}

/// A carrier's final failure, as the customer hears it.
fn passed_on(status: u16) -> Answer {
    let (key, by) = match status {
        486 | 600 => (BUSY, EndedBy::Callee),
        480 | 487 => (NO_ANSWER, EndedBy::Callee),
        408 => (RESPONSE_TIMEOUT, EndedBy::Server),
        _ => (REJECTED, EndedBy::Callee),
    };
    let told = match status {
        // A carrier's challenge is ours to answer, not the customer's; its redirects lead out of the switch.
        401 | 407 => 403,
        300..=399 => 480,
        // The callee's side never saw a CANCEL of this customer.
        487 => 480,
        400..=699 => status,
        _ => 500,
    };
    let reason = EndReason {
        key: key.to_owned(),
        sip: Some(status),
        q850: None,
    };
    Answer {
        status: told,
        reason,
        by,
        passing: matches!(told, 500 | 503 | 504),
    }
}

/// The status that stands for the end of an outbound leg before its answer.
pub fn status_of(ended: &Ended) -> u16 {
    match &ended.by {
        LegEnd::Refused { status, .. } => *status,
        LegEnd::Timeout(Timeout::Ringing) => 480,
        LegEnd::Timeout(_) => 408,
        LegEnd::TransportFailed => 503,
        // A BYE on an early dialog, or our own end.
        LegEnd::Bye | LegEnd::Cancelled | LegEnd::Local => 480,
    }
}

/// Why a caller's leg ended before the answer.
pub fn of_caller_leaving(ended: &Ended) -> (EndReason, EndedBy) {
    match ended.by {
        LegEnd::Timeout(_) => (with_cause(RESPONSE_TIMEOUT, ended), EndedBy::Server),
        LegEnd::TransportFailed => (with_cause(RESPONSE_TIMEOUT, ended), EndedBy::Caller),
        _ => (with_cause(CANCELLED, ended), EndedBy::Caller),
    }
}

/// Why a callee's leg ended after its answer and before the caller heard of it.
pub fn of_callee_leaving(ended: &Ended) -> (EndReason, EndedBy) {
    (with_cause(NO_ANSWER, ended), EndedBy::Callee)
}

/// Why an answered call ended, when the leg of `side` did.
pub fn of_talk(ended: &Ended, side: EndedBy) -> (EndReason, EndedBy) {
    match ended.by {
        LegEnd::Bye | LegEnd::Cancelled | LegEnd::Local => (with_cause(NORMAL, ended), side),
        LegEnd::Refused { .. } => (with_cause(REJECTED, ended), side),
        LegEnd::Timeout(_) | LegEnd::TransportFailed => {
            (with_cause(RESPONSE_TIMEOUT, ended), EndedBy::Server)
        }
    }
}

fn with_cause(key: &str, ended: &Ended) -> EndReason {
    let far_end = ended.cause.as_ref();
    EndReason {
        key: key.to_owned(),
        sip: match &ended.by {
            LegEnd::Refused { status, .. } => Some(*status),
            _ => far_end.and_then(|c| c.sip),
        },
        q850: far_end
            .and_then(|c| c.q850)
            .and_then(|c| u8::try_from(c).ok()),
    }
}
