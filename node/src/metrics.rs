//! The process's own metrics, each with its line of help.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

/// Registers the help lines.
pub fn describe() {
    describe_counter!(
        "tandem_node_calls_total",
        Unit::Count,
        "ended calls by mapping gateway and result"
    );
    describe_counter!(
        "tandem_node_state_repairs_total",
        Unit::Count,
        "times this node's state differed and was replaced by another node's"
    );
    describe_counter!(
        "tandem_node_invites_refused_total",
        Unit::Count,
        "INVITEs that became no call, by reason"
    );
    describe_counter!(
        "tandem_node_reservations_total",
        Unit::Count,
        "reservations by result"
    );
    describe_histogram!(
        "tandem_node_reservation_seconds",
        Unit::Seconds,
        "time from asking for numbers to having them"
    );
    describe_histogram!(
        "tandem_node_post_dial_delay_seconds",
        Unit::Seconds,
        "time from INVITE to ringing or answer"
    );
    describe_counter!(
        "tandem_node_answers_unprotected_total",
        Unit::Count,
        "answers passed on without replication: dialogs too large to keep"
    );
    describe_histogram!(
        "tandem_node_ax_turn_seconds",
        Unit::Seconds,
        "time an outgoing AX call waited for its turn on its X number"
    );
    describe_counter!(
        "tandem_node_ax_turns_missed_total",
        Unit::Count,
        "outgoing AX calls whose turn did not come in time"
    );
    describe_counter!(
        "tandem_node_ax_missing_total",
        Unit::Count,
        "static relations that the platform let go first"
    );
    describe_counter!(
        "tandem_node_bindings_missing_total",
        Unit::Count,
        "bindings that the platform let go first"
    );
    describe_counter!(
        "tandem_node_claims_total",
        Unit::Count,
        "claims of the access name by result"
    );
    describe_histogram!(
        "tandem_node_setup_seconds",
        Unit::Seconds,
        "time from INVITE to the answer passed on"
    );
    describe_counter!(
        "tandem_node_charged_micros_total",
        "millionths of the currency unit in the records stored here, by kind of account"
    );
    describe_counter!(
        "tandem_node_takeovers_total",
        Unit::Count,
        "what was taken over from other nodes and what came of it"
    );
    describe_counter!(
        "tandem_node_submits_refused_total",
        Unit::Count,
        "commands that the cluster did not take"
    );
    describe_counter!(
        "tandem_platform_questions_total",
        Unit::Count,
        "questions of platforms that store nothing, by interface and result"
    );
    describe_histogram!(
        "tandem_platform_question_seconds",
        Unit::Seconds,
        "time from a platform's question to its answer"
    );
    describe_counter!(
        "tandem_node_strays_total",
        Unit::Count,
        "messages of calls that are not on the node where they arrived, by outcome"
    );
    describe_counter!(
        "tandem_node_errands_total",
        Unit::Count,
        "SIP messages handed to other nodes, by result"
    );
    describe_gauge!(
        "tandem_node_shared_addresses",
        Unit::Count,
        "addresses of sip.shared that this machine has now"
    );
    describe_gauge!("tandem_node_legs", Unit::Count, "SIP legs of this node");
    describe_gauge!(
        "tandem_node_active_calls",
        Unit::Count,
        "calls that live on this node"
    );
    describe_gauge!(
        "tandem_node_answered_calls",
        Unit::Count,
        "answered calls that live on this node"
    );
    counter!("tandem_node_ax_turns_missed_total").increment(0);
    counter!("tandem_node_ax_missing_total").increment(0);
    counter!("tandem_node_state_repairs_total").increment(0);
    // Present from the start: a counter that appears with its first event hides that event from rates.
    counter!("tandem_node_takeovers_total", "what" => "binding", "result" => "adopted")
        .increment(0);
    for result in ["refreshed", "unrefreshed", "ended", "failed"] {
        counter!("tandem_node_takeovers_total", "what" => "call", "result" => result).increment(0);
    }
    for reason in [
        "draining",
        "no_claim",
        "no_quorum",
        "disk_full",
        "full",
        "pace",
        "stood_still",
        "unknown_source",
        "bad_number",
    ] {
        counter!("tandem_node_invites_refused_total", "reason" => reason).increment(0);
    }
    for outcome in Strays::ALL {
        strays(outcome, 0);
    }
    for result in Errands::ALL {
        errands(result, 0);
    }
    charged(&[("customer", 0), ("landing", 0), ("axb", 0)]);
}

/// What became of a message of a call that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strays {
    /// Given to the node that has the call.
    PassedOn,
    /// Kept until the call has its next owner.
    Held,
    /// Answered that there is no such call, or to come again.
    Refused,
    /// Lost, or of no use to anybody.
    Dropped,
}

impl Strays {
    const ALL: [Strays; 4] = [
        Strays::PassedOn,
        Strays::Held,
        Strays::Refused,
        Strays::Dropped,
    ];

    fn label(self) -> &'static str {
        match self {
            Strays::PassedOn => "passed_on",
            Strays::Held => "held",
            Strays::Refused => "refused",
            Strays::Dropped => "dropped",
        }
    }
}

/// Counts strays.
pub fn strays(outcome: Strays, count: usize) {
    counter!("tandem_node_strays_total", "outcome" => outcome.label()).increment(count as u64);
}

/// What became of messages handed to other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errands {
    /// The other node has carried them out.
    Done,
    /// It does not answer.
    Lost,
    /// Too many wait for it already.
    Full,
}

impl Errands {
    const ALL: [Errands; 3] = [Errands::Done, Errands::Lost, Errands::Full];

    fn label(self) -> &'static str {
        match self {
            Errands::Done => "done",
            Errands::Lost => "lost",
            Errands::Full => "full",
        }
    }
}

/// Counts messages handed to other nodes.
pub fn errands(result: Errands, count: usize) {
    counter!("tandem_node_errands_total", "result" => result.label()).increment(count as u64);
}

/// Notes how many shared addresses are on this machine.
pub fn shared_here(count: usize) {
    gauge!("tandem_node_shared_addresses").set(count as f64);
}

/// Counts what was taken over from another tenure.
pub fn taken_over(what: &'static str, result: &'static str) {
    counter!("tandem_node_takeovers_total", "what" => what, "result" => result).increment(1);
}

/// Counts charges of a stored record, in millionths.
pub fn charged(amounts: &[(&'static str, i64)]) {
    for (account, micros) in amounts {
        counter!("tandem_node_charged_micros_total", "account" => *account)
            .increment(u64::try_from(*micros).unwrap_or(0));
    }
}
