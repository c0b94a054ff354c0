//! The log as the library wants it, over [`Wal`].

use super::types::{self, Entry, LogId, TypeConfig, Vote};
use crate::wal::Wal;
use futures::{Stream, StreamExt, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use tokio::sync::oneshot;

/// The log store. Cloning shares the log.
#[derive(Clone)]
pub(crate) struct LogStore {
    wal: Wal,
}

impl LogStore {
    pub(crate) fn new(wal: Wal) -> Self {
        LogStore { wal }
    }
}

fn from_own(entries: Vec<crate::wal::Entry>) -> io::Result<Vec<Entry>> {
    let convert = |entry| {
        types::from_entry(entry)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
    };
    entries.into_iter().map(convert).collect()
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (mut start, end) = bounds(&range);
        let mut entries = Vec::new();
        while start < end {
            let part = self.wal.read(start..end)?;
            let Some(last) = part.last() else { break };
            start = last.id.index + 1;
            entries.extend(from_own(part)?);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        from_own(self.wal.read(start..end)?)
    }

    /// Reads as it goes, a few megabytes at a time.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let wal = self.wal.clone();
        let parts = stream::unfold(start, move |start| {
            let part = match start < end {
                true => wal.read(start..end).and_then(from_own),
                false => Ok(Vec::new()),
            };
            std::future::ready(match part {
                Ok(entries) => entries
                    .last()
                    .map(|last| last.log_id.index + 1)
                    .map(|next| {
                        (
                            stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()),
                            next,
                        )
                    }),
                Err(error) => Some((stream::iter(vec![Err(error)]), end)),
            })
        });
        parts.flatten()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.wal.vote().as_ref().map(types::from_vote))
    }
}

async fn durable(done: oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
    done.await
        .unwrap_or_else(|_| Err(io::Error::other("the log's writer is gone")))
}

fn callback() -> (crate::wal::Callback, oneshot::Receiver<io::Result<()>>) {
    let (send, receive) = oneshot::channel();
    let callback = Box::new(move |outcome| {
        // Nobody waits any more: the node is stopping.
        let _ = send.send(outcome);
    });
    (callback, receive)
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        Ok(LogState {
            last_purged_log_id: self.wal.purged().as_ref().map(types::from_log_id),
            last_log_id: self.wal.last().as_ref().map(types::from_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (done, wait) = callback();
        self.wal.save_vote(types::to_vote(vote), done);
        durable(wait).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.wal
            .set_committed(committed.as_ref().map(types::to_log_id));
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.wal.committed().as_ref().map(types::from_log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(types::to_entry).collect();
        self.wal.append(
            entries,
            Box::new(move |outcome| callback.io_completed(outcome)),
        )
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let (done, wait) = callback();
        self.wal
            .truncate(last.map_or(0, |last| last.index + 1), done);
        durable(wait).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        // Not waited for: what comes after it in the log's one stream is durable only after it.
        self.wal.purge(types::to_log_id(&upto), Box::new(|_| ()));
        Ok(())
    }
}
