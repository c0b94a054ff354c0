//! What this room counts. Labels: the interface's name, the operation, the result; never a number.

use std::time::Duration;

use crate::exchange::Op;

const REQUESTS: &str = "tandem_vendor_requests_total";
const SECONDS: &str = "tandem_vendor_request_seconds";
const BREAKER: &str = "tandem_vendor_breaker_open";
const CLOCK: &str = "tandem_interface_clock_offset_seconds";

/// Gives every metric its help line; call once after the recorder is installed.
pub fn describe() {
    ::metrics::describe_counter!(
        REQUESTS,
        "Requests to number platforms by interface, operation and result"
    );
    ::metrics::describe_histogram!(
        SECONDS,
        ::metrics::Unit::Seconds,
        "Time from sending a request to a number platform to its read answer or failure"
    );
    ::metrics::describe_gauge!(
        BREAKER,
        "1 while the circuit breaker of an interface holds requests back"
    );
    ::metrics::describe_gauge!(
        CLOCK,
        ::metrics::Unit::Seconds,
        "What is added to our clock in requests of an interface, learnt from its answers; 0 within a second"
    );
}

/// One request came to its end; `sent_for` is absent when it was never sent.
pub(crate) fn request(interface: &str, op: Op, result: &'static str, sent_for: Option<Duration>) {
    ::metrics::counter!(
        REQUESTS,
        "interface" => interface.to_owned(), "op" => op.word(), "result" => result
    )
    .increment(1);
    if let Some(sent_for) = sent_for {
        ::metrics::histogram!(SECONDS, "interface" => interface.to_owned(), "op" => op.word())
            .record(sent_for);
    }
}

/// The breaker's state after a change.
pub(crate) fn breaker(interface: &str, open: bool) {
    ::metrics::gauge!(BREAKER, "interface" => interface.to_owned()).set(f64::from(u8::from(open)));
}

/// What is added to our clock, after a change.
pub(crate) fn clock(interface: &str, offset_ms: i64) {
    ::metrics::gauge!(CLOCK, "interface" => interface.to_owned()).set(offset_ms as f64 / 1_000.0);
}
