//! From the outbox into the store: the loop that a node runs as a task.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::metrics;
use crate::store::{Store, StoreError};

/// Where rows of the outbox are kept: a [`Store`], whose methods of the same names say what is
/// promised, or what stands for one in a simulation.
pub trait Keep: Send + Sync + 'static {
    /// As [`Store::last`].
    fn last(&self) -> u64;

    /// As [`Store::watch`].
    fn watch(&self) -> watch::Receiver<u64>;

    /// As [`Store::append_encoded`].
    fn append_encoded(
        &self,
        rows: &[(u64, Bytes)],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// As [`Store::sync`].
    fn sync(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// As [`Store::records`].
    fn records(
        &self,
        from: u64,
        to: u64,
    ) -> impl Future<Output = Result<Vec<(u64, Bytes)>, StoreError>> + Send;
}

impl Keep for Store {
    fn last(&self) -> u64 {
        Store::last(self)
    }

    fn watch(&self) -> watch::Receiver<u64> {
        Store::watch(self)
    }

    async fn append_encoded(&self, rows: &[(u64, Bytes)]) -> Result<u64, StoreError> {
        Store::append_encoded(self, rows).await
    }

    async fn sync(&self) -> Result<u64, StoreError> {
        Store::sync(self).await
    }

    async fn records(&self, from: u64, to: u64) -> Result<Vec<(u64, Bytes)>, StoreError> {
        Store::records(self, from, to).await
    }
}

/// How the loop gathers rows into transactions, and how it waits when the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Most rows of a transaction.
    pub rows_max: usize,
    /// How long rows may gather after a transaction that was not full. A transaction costs about
    /// twenty times a row.
    pub linger: Duration,
    /// First wait after a failure that may pass; it doubles up to `retry_max`.
    pub retry_min: Duration,
    /// Longest wait after a failure.
    pub retry_max: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            rows_max: 500,
            linger: Duration::from_millis(100),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(5),
        }
    }
}

/// Rows of the outbox.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Encoded records in the order of their numbers.
    pub rows: Vec<(u64, Bytes)>,
    /// Number of the outbox's newest row, for the lag.
    pub head: u64,
}

/// Writes what `next` hands out until it hands out `None`.
///
/// `next(from, rows_max)` resolves when the outbox has the row `from` or later ones, with the first
/// of them; it may begin earlier, for rows stored already are left alone. When the outbox has
/// dropped `from` already, the missing rows have to come from a peer's
/// [`Store::records`], through the same door.
///
/// Failures that may pass (full disk, lock) are logged and tried again for ever: the outbox keeps
/// the rows, calls go on. Others, such as a gap or an unreadable record, end the loop with the
/// error; it can be run again once they are mended.
pub async fn pump<K, N, F>(store: &K, pace: Pace, mut next: N) -> Result<(), StoreError>
where
    K: Keep,
    N: FnMut(u64, usize) -> F,
    F: Future<Output = Option<Batch>>,
{
    let mut retry = pace.retry_min;
    while let Some(batch) = next(store.last() + 1, pace.rows_max).await {
        let rows = &batch.rows[..batch.rows.len().min(pace.rows_max)];
        match store.append_encoded(rows).await {
            Ok(last) => {
                metrics::lag(batch.head.saturating_sub(last));
                retry = pace.retry_min;
                if rows.len() < pace.rows_max {
                    tokio::time::sleep(pace.linger).await;
                }
            }
            Err(error) if error.is_passing() => {
                metrics::lag(batch.head.saturating_sub(store.last()));
                tracing::warn!(%error, wait = ?retry, "call records not written, trying again");
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(pace.retry_max);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
