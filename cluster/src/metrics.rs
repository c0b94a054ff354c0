//! What this room counts. No label takes a value without bound.

use crate::handle::Role;
use crate::level::Level;
use crate::link::Channel;
use metrics::{
    Counter, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use std::time::Duration;

const LINKS: &str = "tandem_cluster_links_made_total";
const LINK_BYTES: &str = "tandem_cluster_link_bytes_total";
const INSECURE: &str = "tandem_cluster_links_insecure_total";
const CERTIFICATES: &str = "tandem_cluster_certificates_read_total";
const CERTIFICATE_LEFT: &str = "tandem_cluster_certificate_left_seconds";
const ROLE: &str = "tandem_cluster_role";
const TERM: &str = "tandem_cluster_term";
const LEADER: &str = "tandem_cluster_leader";
const COMMITTED: &str = "tandem_cluster_committed_index";
const APPLIED: &str = "tandem_cluster_applied_index";
const LAST_LOG: &str = "tandem_cluster_last_log_index";
const QUEUE: &str = "tandem_cluster_queue_commands";
const COMMIT: &str = "tandem_cluster_commit_seconds";
const BATCH: &str = "tandem_cluster_entry_commands";
const FORWARDED: &str = "tandem_cluster_forwarded_batches_total";
const RETRIED: &str = "tandem_cluster_retried_commands_total";
const REFUSED: &str = "tandem_cluster_submits_refused_total";
const EFFECTS_DROPPED: &str = "tandem_cluster_effects_dropped_total";
const APPLY: &str = "tandem_cluster_apply_seconds";
const APPLIED_ENTRIES: &str = "tandem_cluster_applied_entries_total";
const APPLIED_COMMANDS: &str = "tandem_cluster_applied_commands_total";
const SNAPSHOT: &str = "tandem_cluster_snapshot_seconds";
const SNAPSHOT_BYTES: &str = "tandem_cluster_snapshot_bytes";
const FSYNC: &str = "tandem_cluster_fsync_seconds";
const LOG_ENTRIES: &str = "tandem_cluster_log_entries_total";

const LEVEL: &str = "tandem_cluster_level";
const LEVEL_SPOKEN: &str = "tandem_cluster_level_spoken";
const DISK_FULL: &str = "tandem_cluster_disk_full";

/// Describes every metric of the room; called once at the start of the process, after the recorder is installed.
pub fn describe() {
    describe_gauge!(ROLE, "1 for the role this node has, 0 for the others.");
    describe_gauge!(TERM, "Term this node is in.");
    describe_gauge!(LEADER, "Node that this node follows, 0 for none.");
    describe_gauge!(
        COMMITTED,
        "Index after the last entry known here to be committed."
    );
    describe_gauge!(
        DISK_FULL,
        "1 while the disk is full and the log waits for room."
    );
    gauge!(DISK_FULL).set(0.0);
    describe_gauge!(LEVEL, "Level that the cluster is at.");
    describe_gauge!(LEVEL_SPOKEN, "Highest level that this node speaks.");
    describe_gauge!(APPLIED, "Index after the last entry applied here.");
    describe_gauge!(LAST_LOG, "Index after the last entry in the log here.");
    describe_gauge!(
        QUEUE,
        "Commands of this node that wait to be committed, by whether somebody waits for them."
    );
    describe_histogram!(
        COMMIT,
        Unit::Seconds,
        "Time from proposing an entry on the leader to its reply."
    );
    describe_histogram!(
        BATCH,
        "Commands in one entry proposed by this node as leader."
    );
    describe_counter!(FORWARDED, "Batches of commands forwarded to the leader.");
    describe_counter!(
        RETRIED,
        "Commands proposed again because their outcome was not certain."
    );
    describe_counter!(
        REFUSED,
        "Submitted commands refused because too many waited."
    );
    describe_counter!(
        EFFECTS_DROPPED,
        "Entries whose effects nobody had asked for."
    );
    describe_histogram!(
        FSYNC,
        Unit::Seconds,
        "Time of one write and sync of the log."
    );
    describe_counter!(LOG_ENTRIES, "Entries made durable in the log.");
    describe_histogram!(
        APPLY,
        Unit::Seconds,
        "Time to apply the entries that were committed together."
    );
    describe_counter!(APPLIED_ENTRIES, "Entries applied.");
    describe_counter!(APPLIED_COMMANDS, "Commands applied.");
    describe_histogram!(
        SNAPSHOT,
        Unit::Seconds,
        "Time to write a snapshot, off the command path."
    );
    describe_gauge!(
        SNAPSHOT_BYTES,
        Unit::Bytes,
        "Size of the last snapshot written."
    );
    describe_counter!(
        LINKS,
        "Connections made to other nodes, by what they are for."
    );
    describe_counter!(
        LINK_BYTES,
        Unit::Bytes,
        "Bytes exchanged with other nodes, by node, direction and what the connection is for; without those of encryption \
         and of handshakes."
    );
    describe_counter!(
        INSECURE,
        "Links refused because a certificate did not prove who dialled or answered."
    );
    describe_gauge!(
        CERTIFICATE_LEFT,
        Unit::Seconds,
        "How long this node's certificate for links, or its authority's, is still good; negative when it is over."
    );
    describe_counter!(
        CERTIFICATES,
        "Times that changed certificate files were read, by whether they were used."
    );
}

/// Counts bytes that pass between this node and another. Ids of nodes are few: they are never given again.
pub(crate) fn link_bytes(node: u64, channel: Channel, direction: &'static str) -> Counter {
    let node = node.to_string();
    counter!(LINK_BYTES, "node" => node, "direction" => direction, "channel" => channel.name())
}

/// A link was refused because a certificate proved nothing.
pub(crate) fn link_insecure() {
    counter!(INSECURE).increment(1);
}

/// How long a certificate for links is still good: `node`, our own, or `authority`, that of whoever signed it.
pub(crate) fn certificate_left(of: &'static str, seconds: i64) {
    gauge!(CERTIFICATE_LEFT, "of" => of).set(seconds as f64);
}

/// Certificates had changed and were read.
pub(crate) fn certificates_read(good: bool) {
    let result = if good { "used" } else { "refused" };
    counter!(CERTIFICATES, "result" => result).increment(1);
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

/// Where the node stands.
pub(crate) fn standing(role: Role, term: u64, leader: Option<u64>) {
    for each in [
        Role::Leader,
        Role::Follower,
        Role::Candidate,
        Role::Learner,
        Role::Stopped,
    ] {
        gauge!(ROLE, "role" => each.name()).set(f64::from(u8::from(each == role)));
    }
    gauge!(TERM).set(term as f64);
    gauge!(LEADER).set(leader.unwrap_or(0) as f64);
}

/// How far the node is.
pub(crate) fn progress(committed: u64, applied: u64, last_log: u64) {
    gauge!(COMMITTED).set(committed as f64);
    gauge!(APPLIED).set(applied as f64);
    gauge!(LAST_LOG).set(last_log as f64);
}

/// Commands that wait.
pub(crate) fn queues(waited: usize, submitted: usize) {
    gauge!(QUEUE, "waited" => "yes").set(waited as f64);
    gauge!(QUEUE, "waited" => "no").set(submitted as f64);
}

/// An entry proposed here was committed and applied.
pub(crate) fn committed(took: Duration, commands: usize) {
    histogram!(COMMIT).record(took.as_secs_f64());
    histogram!(BATCH).record(commands as f64);
}

/// A batch went to the leader.
pub(crate) fn forwarded() {
    counter!(FORWARDED).increment(1);
}

/// Commands go back to the queue.
pub(crate) fn retried(commands: usize) {
    counter!(RETRIED).increment(commands as u64);
}

/// A submitted command was not taken.
pub(crate) fn submit_refused() {
    counter!(REFUSED).increment(1);
}

/// Effects of an entry went nowhere.
pub(crate) fn effects_dropped() {
    counter!(EFFECTS_DROPPED).increment(1);
}

/// The log waits for room on its disk, or has some again.
pub(crate) fn disk_full(full: bool) {
    gauge!(DISK_FULL).set(f64::from(u8::from(full)));
}

/// The cluster's level, and what this node speaks.
pub(crate) fn levels(active: Level, spoken: Level) {
    gauge!(LEVEL).set(f64::from(active));
    gauge!(LEVEL_SPOKEN).set(f64::from(spoken));
}
