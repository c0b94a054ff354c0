//! What a call is called in metrics: few words, each known beforehand.

use super::machine::Takeover;
use super::reason;

/// How a take-over went.
pub(super) fn takeover(result: Takeover) -> &'static str {
    match result {
        Takeover::Refreshed => "refreshed",
        Takeover::Unrefreshed => "unrefreshed",
        Takeover::Ended => "ended",
        Takeover::Failed => "failed",
    }
}

/// The reason as a metric label: the keys are few, but they come as text.
pub(super) fn result(key: &str) -> &'static str {
    const KNOWN: [&str; 20] = [
        reason::NORMAL,
        reason::CANCELLED,
        reason::NO_ANSWER,
        reason::BUSY,
        reason::REJECTED,
        reason::RESPONSE_TIMEOUT,
        reason::MAX_DURATION,
        reason::BALANCE_EXHAUSTED,
        reason::ADMIN_HANGUP,
        reason::NODE_FAILURE,
        "no_route",
        "gateway_capacity",
        "no_axb_number",
        "axb_not_allowed",
        "axb_bind_failed",
        "account_locked",
        "account_expired",
        "balance_insufficient",
        "rate_not_found",
        "callee_forbidden",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == key)
        .unwrap_or("other")
}
