//! What this room counts, one line of help each. Nothing here is labelled by a number or an id.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const ROWS: &str = "tandem_billing_rows_total";
const WRITE: &str = "tandem_billing_write_seconds";
const FAILURES: &str = "tandem_billing_write_failures_total";
const LAG: &str = "tandem_billing_lag_rows";

/// Registers the help lines; once, after the recorder is installed.
pub fn describe() {
    describe_counter!(ROWS, Unit::Count, "call records written to sql");
    describe_histogram!(
        WRITE,
        Unit::Seconds,
        "time of one transaction that writes call records"
    );
    describe_counter!(
        FAILURES,
        Unit::Count,
        "transactions with call records that failed"
    );
    describe_gauge!(
        LAG,
        Unit::Count,
        "call records in the outbox that this node has not written"
    );
}

pub(crate) fn wrote(rows: usize, took: Duration) {
    counter!(ROWS).increment(rows as u64);
    histogram!(WRITE).record(took);
}

pub(crate) fn write_failed() {
    counter!(FAILURES).increment(1);
}

pub(crate) fn lag(rows: u64) {
    // Exact up to 2^53.
    gauge!(LAG).set(rows as f64);
}
