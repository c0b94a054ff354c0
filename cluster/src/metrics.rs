//! What this room counts. No label takes a value without bound.

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use std::time::Duration;

const FSYNC: &str = "tandem_cluster_fsync_seconds";
const LOG_ENTRIES: &str = "tandem_cluster_log_entries_total";

/// Describes every metric of the room; called once at the start of the process, after the recorder is installed.
pub fn describe() {
    describe_histogram!(
        FSYNC,
        Unit::Seconds,
        "Time of one write and sync of the log."
    );
    describe_counter!(LOG_ENTRIES, "Entries made durable in the log.");
}

/// A batch was written and synced.
pub(crate) fn log_written(took: Duration, entries: usize) {
    histogram!(FSYNC).record(took.as_secs_f64());
    counter!(LOG_ENTRIES).increment(entries as u64);
}
