//! What makes the log durable: gathers what waits into blocks, and tells those who wait.

use super::{Callback, Shared};
use crate::wal::WalError;
use crate::wal::appender::{Appender, WriteError, Written};
use crate::wal::disk::DiskError;
use crate::wal::record::{Entry, LogId, Record, Vote};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// A batch is closed when it has grown to this.
const BATCH_BYTES: usize = 8 << 20;
/// An idle log notes the last commit after this long, so that a restart applies again what had been applied.
const COMMIT_LAG: Duration = Duration::from_millis(200);

/// A full disk is looked at again after this long.
const FULL_WAIT: Duration = Duration::from_millis(200);
/// A write that is durable only after this is worth a line: calls in set-up have waited for it.
const SLOW_WRITE: Duration = Duration::from_millis(500);

/// What a handle asks for, and who is told when it is done.
pub(super) enum Job {
    Vote(Vote, Callback),
    Append(Vec<Entry>, Callback),
    Truncate(u64, Callback),
    Purge(LogId, Callback),
}

impl Job {
    pub(super) fn callback(self) -> Callback {
        match self {
            Job::Vote(_, done)
            | Job::Append(_, done)
            | Job::Truncate(_, done)
            | Job::Purge(_, done) => done,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Job::Append(entries, _) => entries.iter().map(|entry| entry.weight() + 64).sum(),
            _ => 64,
        }
    }
}

/// The thread or task behind a [`Wal`].
pub(super) struct Worker {
    pub(super) appender: Appender,
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Receiver<Job>,
    /// There was no room when it was last looked for.
    pub(super) full: bool,
}

/// What becomes one block, and who is told.
struct Batch {
    records: Vec<Record>,
    /// Its entries.
    ids: Vec<LogId>,
    callbacks: Vec<Callback>,
    begun: Instant,
}

impl Worker {
    pub(super) fn run(mut self) {
        let mut settled = false;
        loop {
            let first = match settled {
                true => self
                    .queue
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
                false => self.queue.recv_timeout(COMMIT_LAG),
            };
            let mut jobs = match first {
                Ok(job) => vec![job],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => {
                    // The last handle is gone: leave the newest commit behind.
                    let _ = self.write(Vec::new());
                    return;
                }
            };
            settled = jobs.is_empty() && !self.full;
            self.gather(&mut jobs);
            if let Err(error) = self.write(jobs) {
                return self.give_up(&error);
            }
        }
    }

    pub(super) async fn run_in_place(mut self, bell: Arc<Notify>) {
        let mut settled = false;
        loop {
            let mut jobs = Vec::new();
            let ended = match self.queue.try_recv() {
                Ok(job) => {
                    jobs.push(job);
                    false
                }
                Err(TryRecvError::Disconnected) => true,
                Err(TryRecvError::Empty) if settled => {
                    bell.notified().await;
                    settled = false;
                    continue;
                }
                Err(TryRecvError::Empty) => {
                    if timeout(COMMIT_LAG, bell.notified()).await.is_ok() {
                        continue;
                    }
                    false
                }
            };
            settled = jobs.is_empty() && !self.full;
            self.gather(&mut jobs);
            match self.write_in_place(jobs).await {
                // The last handle is gone: the newest commit was left behind.
                _ if ended => return,
                Err(error) => return self.give_up(&error),
                Ok(()) => {}
            }
        }
    }

    /// Takes what else waits, as much as makes a batch.
    fn gather(&self, jobs: &mut Vec<Job>) {
        let mut bytes: usize = jobs.iter().map(Job::weight).sum();
        while bytes < BATCH_BYTES
            && let Ok(job) = self.queue.try_recv()
        {
            bytes += job.weight();
            jobs.push(job);
        }
    }

    /// The failure is noted, so nothing more is queued; what is still there is answered with it.
    fn give_up(&self, error: &WalError) {
        tracing::error!(%error, "log cannot be written, node stops");
        let reason = error.to_string();
        while let Ok(job) = self.queue.try_recv() {
            job.callback()(Err(WalError::Closed(reason.clone()).into()));
        }
    }

    /// Makes room before it is needed.
    fn look_ahead(&mut self) -> Result<(), WalError> {
        match self.appender.make_room_ahead() {
            Ok(()) => self.set_full(None),
            Err(error @ WalError::Disk(DiskError::Full { .. })) => self.set_full(Some(&error)),
            Err(error) => {
                let reason = error.to_string();
                self.shared.memory().failed = Some(reason.clone());
                return Err(WalError::Closed(reason));
            }
        }
        Ok(())
    }

    fn set_full(&mut self, error: Option<&WalError>) {
        if self.full == error.is_some() {
            return;
        }
        self.full = error.is_some();
        *self.shared.full.why() = error.map(ToString::to_string);
        crate::metrics::disk_full(self.full);
        match error {
            Some(error) => tracing::error!(%error, "log has no room, it waits for some"),
            None => tracing::warn!("log has room again"),
        }
    }

    fn write(&mut self, jobs: Vec<Job>) -> Result<(), WalError> {
        let Some(batch) = self.batch(jobs)? else {
            return Ok(());
        };
        let written = loop {
            match self.appender.write(&batch.records) {
                Err(WriteError::NoRoom(error)) => {
                    if let Err(error) = self.no_room(error) {
                        break Err(error);
                    }
                    std::thread::sleep(FULL_WAIT);
                }
                Err(WriteError::Failed(error)) => break Err(error),
                Ok(written) => break Ok(written),
            }
        };
        self.settle(batch, written)
    }

    async fn write_in_place(&mut self, jobs: Vec<Job>) -> Result<(), WalError> {
        let Some(batch) = self.batch(jobs)? else {
            return Ok(());
        };
        let staged = loop {
            match self.appender.stage(&batch.records) {
                Err(WriteError::NoRoom(error)) => {
                    if let Err(error) = self.no_room(error) {
                        break Err(error);
                    }
                    sleep(FULL_WAIT).await;
                }
                Err(WriteError::Failed(error)) => break Err(error),
                Ok(staged) => break Ok(staged),
            }
        };
        let takes = self.appender.sync_takes();
        if !takes.is_zero() {
            sleep(takes).await;
        }
        let written = staged.and_then(|staged| {
            let finished = self.appender.finish(&batch.records, staged);
            finished.map_err(|(WriteError::NoRoom(error) | WriteError::Failed(error))| error)
        });
        self.settle(batch, written)
    }

    /// What the jobs put into the log, with a commit that is to be noted; `None` when that is nothing.
    fn batch(&mut self, jobs: Vec<Job>) -> Result<Option<Batch>, WalError> {
        let mut records = Vec::with_capacity(jobs.len() + 1);
        let mut ids = Vec::new();
        let mut callbacks = Vec::with_capacity(jobs.len());
        for job in jobs {
            match job {
                Job::Vote(vote, done) => {
                    records.push(Record::Vote(vote));
                    callbacks.push(done);
                }
                Job::Append(entries, done) => {
                    ids.extend(entries.iter().map(|entry| entry.id));
                    records.extend(entries.into_iter().map(Record::Entry));
                    callbacks.push(done);
                }
                Job::Truncate(from, done) => {
                    records.push(Record::Truncate(from));
                    callbacks.push(done);
                }
                Job::Purge(upto, done) => {
                    records.push(Record::Purge(upto));
                    callbacks.push(done);
                }
            }
        }
        {
            let mut memory = self.shared.memory();
            if memory.committed_dirty {
                memory.committed_dirty = false;
                records.extend(memory.committed.map(Record::Committed));
            }
        }
        if records.is_empty() {
            if self.full {
                self.look_ahead()?;
            }
            return Ok(None);
        }
        Ok(Some(Batch {
            records,
            ids,
            callbacks,
            begun: Instant::now(),
        }))
    }

    /// The log stands still, which to the consensus is a slow disk: nothing is acknowledged meanwhile. With the last
    /// handle gone nobody waits any more.
    fn no_room(&mut self, error: WalError) -> Result<(), WalError> {
        self.set_full(Some(&error));
        match Arc::strong_count(&self.shared) == 1 {
            true => Err(error),
            false => Ok(()),
        }
    }

    fn settle(&mut self, batch: Batch, written: Result<Written, WalError>) -> Result<(), WalError> {
        match written {
            Ok(written) => {
                let took = batch.begun.elapsed();
                // What waited for room has had a line that says so.
                if took >= SLOW_WRITE && !self.full {
                    tracing::warn!(
                        ?took,
                        entries = batch.ids.len(),
                        "disk is slow, the log waited for it"
                    );
                }
                crate::metrics::log_written(took, batch.ids.len());
                let mut memory = self.shared.memory();
                memory.written(&batch.ids, written);
                memory.evict();
                drop(memory);
                for done in batch.callbacks {
                    done(Ok(()));
                }
                self.look_ahead()
            }
            Err(error) => {
                let reason = error.to_string();
                self.shared.memory().failed = Some(reason.clone());
                let kind = io::Error::from(error).kind();
                for done in batch.callbacks {
                    done(Err(io::Error::new(kind, reason.clone())));
                }
                Err(WalError::Closed(reason))
            }
        }
    }
}
