//! What this room counts. No label takes a value without bound.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use crate::link::Channel;
use std::time::Duration;

const LINKS: &str = "tandem_cluster_links_made_total";
const APPLY: &str = "tandem_cluster_apply_seconds";
const APPLIED_ENTRIES: &str = "tandem_cluster_applied_entries_total";
const APPLIED_COMMANDS: &str = "tandem_cluster_applied_commands_total";
const SNAPSHOT: &str = "tandem_cluster_snapshot_seconds";
const SNAPSHOT_BYTES: &str = "tandem_cluster_snapshot_bytes";
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
    describe_histogram!(APPLY, Unit::Seconds, "Time to apply the entries that were committed together.");
    describe_counter!(APPLIED_ENTRIES, "Entries applied.");
    describe_counter!(APPLIED_COMMANDS, "Commands applied.");
    describe_histogram!(SNAPSHOT, Unit::Seconds, "Time to write a snapshot, off the command path.");
    describe_gauge!(SNAPSHOT_BYTES, Unit::Bytes, "Size of the last snapshot written.");
    describe_counter!(LINKS, "Connections made to other nodes, by what they are for.");
}

/// A batch was written and synced.
pub(crate) fn log_written(took: Duration, entries: usize) {
    histogram!(FSYNC).record(took.as_secs_f64());
    counter!(LOG_ENTRIES).increment(entries as u64);
}

/// A connection to a peer was made.
pub(crate) fn link_made(channel: Channel) {
    counter!(LINKS, "channel" => channel.name()).increment(1);
}

/// Entries committed together were applied.
pub(crate) fn applied(took: Duration, entries: u64, commands: usize) {
    histogram!(APPLY).record(took.as_secs_f64());
    counter!(APPLIED_ENTRIES).increment(entries);
    counter!(APPLIED_COMMANDS).increment(commands as u64);
}

/// A snapshot was written.
pub(crate) fn snapshot_built(took: Duration, bytes: u64) {
    histogram!(SNAPSHOT).record(took.as_secs_f64());
    gauge!(SNAPSHOT_BYTES).set(bytes as f64);
}
