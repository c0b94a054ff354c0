//! From the replicated outbox into this node's own records, each exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tandem_billing::codec::Entry;
use tandem_billing::pump::{self, Batch, Keep, Pace};
use tandem_cluster::command::Command;
use tokio::sync::watch;

use crate::core::Core;
use crate::{metrics, peer};

/// The cluster is told this often how far the records are stored.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// Pause after the loop ended with an error that a person must mend.
const BROKEN_PAUSE: Duration = Duration::from_secs(5);
/// Most records asked of a peer at once.
const FETCH_MAX: u64 = 500;

/// Runs until the process stops. `head` follows the newest number of the outbox.
pub async fn run<K: Keep>(core: Arc<Core>, store: Arc<K>, head: watch::Receiver<u64>) {
    let report = report(Arc::clone(&core), Arc::clone(&store));
    let counted = AtomicU64::new(store.last());
    let write = async {
        loop {
            let next = |from, max| {
                let rows = next(&core, head.clone(), from, max);
                async { rows.await.inspect(|batch| count_charges(batch, &counted)) }
            };
            match pump::pump(&*store, Pace::default(), next).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(%error, "call records cannot be stored");
                    tokio::time::sleep(BROKEN_PAUSE).await;
                }
            }
        }
    };
    futures::future::join(report, write).await;
}

/// Counts the charges of records that come by for the first time.
fn count_charges(batch: &Batch, counted: &AtomicU64) {
    for (seq, row) in &batch.rows {
        if *seq <= counted.load(Ordering::Relaxed) {
            continue;
        }
        counted.store(*seq, Ordering::Relaxed);
        if let Ok(Entry::Call(record)) = Entry::decode(row) {
            let axb = record.axb.as_ref().map_or(0, |axb| axb.axb_fee.micros());
            let (fee, landing) = (record.cdr.fee.micros(), record.cdr.landing_fee.micros());
            metrics::charged(&[("customer", fee), ("landing", landing), ("axb", axb)]);
        }
    }
}

/// The next rows, once there are any.
async fn next(core: &Core, mut head: watch::Receiver<u64>, from: u64, max: usize) -> Option<Batch> {
    loop {
        let state = core.cluster.state();
        let newest = state.outbox_last();
        if newest >= from {
            let rows = state.outbox_from(from, max);
            return Some(match rows.first() {
                Some((first, _)) if *first == from => {
                    let rows = rows
                        .into_iter()
                        .map(|(seq, row)| (seq, Bytes::copy_from_slice(&row)))
                        .collect();
                    Batch { rows, head: newest }
                }
                // The outbox has let them go: this node was away for long.
                first => {
                    let upto = first.map_or(newest, |(first, _)| first - 1);
                    Batch {
                        rows: fetch(core, from, upto.min(from + FETCH_MAX - 1)).await,
                        head: newest,
                    }
                }
            });
        }
        head.changed().await.ok()?;
    }
}

/// Asks the peers in turn for records that the outbox no longer holds.
async fn fetch(core: &Core, from: u64, to: u64) -> Vec<(u64, Bytes)> {
    let members = core.cluster.status().members;
    for node in members
        .iter()
        .map(|member| member.node)
        .filter(|id| *id != core.config.node.id)
    {
        match peer::records(core, node, from, to).await {
            Some(rows) if rows.first().is_some_and(|(first, _)| *first == from) => return rows,
            _ => {}
        }
    }
    tracing::warn!(from, to, "no peer has these records");
    tokio::time::sleep(BROKEN_PAUSE).await;
    Vec::new()
}

/// Tells the cluster how far the records are safe here, so that the outbox may let them go.
async fn report<K: Keep>(core: Arc<Core>, store: Arc<K>) {
    let node = core.config.node.id;
    let mut reported = 0;
    let mut stored = store.watch();
    loop {
        let last = *stored.borrow_and_update();
        if last > reported {
            match store.sync().await {
                Ok(upto) => {
                    let command = Command::Stored { node, upto };
                    if core
                        .cluster
                        .propose_within(command, Duration::from_secs(5))
                        .await
                        .is_ok()
                    {
                        reported = upto;
                    }
                }
                Err(error) => tracing::warn!(%error, "call records not safe yet"),
            }
            tokio::time::sleep(REPORT_EVERY).await;
        } else if stored.changed().await.is_err() {
            return;
        }
    }
}
