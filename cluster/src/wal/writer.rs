//! The handle that the consensus uses: entries are readable as soon as they are appended, and a thread (a task, where
//! nothing may happen beside the caller's runtime) makes them durable in the order of the calls.

use super::appender::{Appender, Location, Recovered, Settings, WriteError, Written};
use super::disk::{Disk, DiskError, DiskFile};
use super::record::{Entry, LogId, Payload, Record, Vote};
use super::segment::Identity;
use super::{WalError, record};
use bytes::Bytes;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Called once, when what it belongs to is durable or never will be.
pub type Callback = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Entries kept in memory for followers and for applying; older ones are read from disk.
const CACHE_BYTES: usize = 32 << 20;
/// A batch is closed when it has grown to this.
const BATCH_BYTES: usize = 8 << 20;
/// Largest number of entries or bytes handed out by one read.
const READ_BYTES: usize = 4 << 20;
/// An idle log notes the last commit after this long, so that a restart applies again what had been applied.
const COMMIT_LAG: Duration = Duration::from_millis(200);

/// A full disk is looked at again after this long.
const FULL_WAIT: Duration = Duration::from_millis(200);

/// How long a new process waits for the lock of the one it follows.
const LOCK_WAIT: Duration = Duration::from_secs(2);

struct Slot {
    id: LogId,
    payload: Option<Payload>,
    location: Option<Location>,
}

#[derive(Default)]
struct Memory {
    vote: Option<Vote>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    /// `committed` is newer than what was written.
    committed_dirty: bool,
    /// Without gap, `slots[0].id.index` is the first.
    slots: VecDeque<Slot>,
    /// Payloads in memory, bytes.
    cached: usize,
    /// Slots before this one have no payload in memory.
    uncached: usize,
    files: BTreeMap<u64, Arc<dyn DiskFile>>,
    failed: Option<String>,
}

enum Job {
    Vote(Vote, Callback),
    Append(Vec<Entry>, Callback),
    Truncate(u64, Callback),
    Purge(LogId, Callback),
}

/// Why nothing more can be written just now, or soon: the disk is full. What was called durable is; what waits is
/// written when there is room again. Keeps no log open.
#[derive(Clone, Debug, Default)]
pub struct Fullness(Arc<Mutex<Option<String>>>);

impl Fullness {
    fn why(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().expect("no code panics while it holds this")
    }

    /// Why there is no room; `None` while there is.
    pub fn get(&self) -> Option<String> {
        self.why().clone()
    }
}

struct Shared {
    memory: Mutex<Memory>,
    full: Fullness,
    /// Dropped with the last handle: another process may then open the directory.
    _lock: Box<dyn Any + Send + Sync>,
}

/// A log that is open. Cloning shares it; the thread ends with the last clone, after writing what was queued.
#[derive(Clone)]
pub struct Wal {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    /// Wakes the writer where it is a task. Behind `jobs`, so that the last clone's bell rings when they have ended.
    bell: Option<Bell>,
}

#[derive(Clone)]
struct Bell(Arc<Notify>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Wal {
    /// Locks `data_dir`, opens or begins the log in `data_dir/log` and starts its thread. Blocks: for the recovery,
    /// and for up to two seconds while another process holds the lock.
    pub fn open(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        identity: Identity,
        settings: Settings,
    ) -> Result<Wal, WalError> {
        let (wal, worker) = Wal::prepare(disk, data_dir, identity, settings, None)?;
        std::thread::Builder::new()
            .name("tandem-log".into())
            .spawn(move || worker.run())
            .map_err(|source| DiskError::Io {
                doing: "starting the writer",
                path: data_dir.to_path_buf(),
                source,
            })?;
        Ok(wal)
    }

    /// The same with a task of the caller's runtime in place of the thread, for simulations. What the disk says that a
    /// sync takes passes in the runtime's time.
    pub fn open_in_place(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        identity: Identity,
        settings: Settings,
    ) -> Result<Wal, WalError> {
        let bell = Arc::new(Notify::new());
        let ours = Some(Bell(bell.clone()));
        let (wal, worker) = Wal::prepare(disk, data_dir, identity, settings, ours)?;
        tokio::spawn(worker.run_in_place(bell));
        Ok(wal)
    }

    fn prepare(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        identity: Identity,
        settings: Settings,
        bell: Option<Bell>,
    ) -> Result<(Wal, Worker), WalError> {
        disk.create_dir_all(data_dir)
            .map_err(|source| DiskError::NotCreatable {
                path: data_dir.to_path_buf(),
                source,
            })?;
        let lock_path = data_dir.join("lock");
        let lock = lock(&*disk, &lock_path).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => DiskError::Locked {
                path: data_dir.to_path_buf(),
            },
            _ => DiskError::new("locking", &lock_path, source),
        })?;
        let (appender, recovered) =
            Appender::open(disk, &data_dir.join("log"), identity, settings)?;
        let Recovered {
            facts,
            entries,
            files,
        } = recovered;
        let slots: VecDeque<Slot> = entries
            .into_iter()
            .map(|(id, location)| Slot {
                id,
                payload: None,
                location: Some(location),
            })
            .collect();
        let memory = Memory {
            vote: facts.vote,
            purged: facts.purged,
            committed: facts.committed,
            uncached: slots.len(),
            slots,
            files: files.into_iter().collect(),
            ..Memory::default()
        };
        let shared = Arc::new(Shared {
            memory: Mutex::new(memory),
            full: Fullness::default(),
            _lock: lock,
        });
        let (jobs, queue) = mpsc::channel();
        let worker = Worker {
            appender,
            shared: shared.clone(),
            queue,
            full: false,
        };
        Ok((Wal { shared, jobs, bell }, worker))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.shared.memory()
    }

    /// Last vote.
    pub fn vote(&self) -> Option<Vote> {
        self.memory().vote
    }

    /// Last purged entry.
    pub fn purged(&self) -> Option<LogId> {
        self.memory().purged
    }

    /// Last entry, or the last purged one when there is none behind it.
    pub fn last(&self) -> Option<LogId> {
        let memory = self.memory();
        memory.slots.back().map(|slot| slot.id).or(memory.purged)
    }

    /// Last entry known to be committed when that was noted.
    pub fn committed(&self) -> Option<LogId> {
        self.memory().committed
    }

    /// Whether the disk has room.
    pub fn fullness(&self) -> Fullness {
        self.shared.full.clone()
    }

    /// Notes a commit. Not waited for: it rides with the next write, or is written when the log has been idle.
    pub fn set_committed(&self, committed: Option<LogId>) {
        let mut memory = self.memory();
        memory.committed_dirty = memory.committed != committed && committed.is_some();
        memory.committed = committed;
    }

    /// Notes a vote; `done` runs when it is durable.
    pub fn save_vote(&self, vote: Vote, done: Callback) {
        self.memory().vote = Some(vote);
        self.send(Job::Vote(vote, done));
    }

    /// Appends entries; they can be read at once, `done` runs when they are durable. They must continue the log.
    pub fn append(&self, entries: Vec<Entry>, done: Callback) -> io::Result<()> {
        {
            let mut memory = self.memory();
            let mut next = memory
                .slots
                .back()
                .map(|slot| slot.id)
                .or(memory.purged)
                .map(|id| id.index + 1);
            for entry in &entries {
                if next.is_some_and(|next| next != entry.id.index) {
                    let text = format!(
                        "entry {} does not continue a log that ends before {next:?}",
                        entry.id
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
                }
                next = Some(entry.id.index + 1);
            }
            for entry in &entries {
                memory.cached += entry.weight();
                let payload = Some(entry.payload.clone());
                memory.slots.push_back(Slot {
                    id: entry.id,
                    payload,
                    location: None,
                });
            }
            memory.evict();
        }
        self.send(Job::Append(entries, done));
        Ok(())
    }

    /// Drops entries from `from` on.
    pub fn truncate(&self, from: u64, done: Callback) {
        self.memory().truncate(from);
        self.send(Job::Truncate(from, done));
    }

    /// Drops entries up to and with `upto`, which may lie beyond the last entry.
    pub fn purge(&self, upto: LogId, done: Callback) {
        self.memory().purge(upto);
        self.send(Job::Purge(upto, done));
    }

    fn send(&self, job: Job) {
        let (job, reason) = {
            // Under the lock that the failure is noted with: what is queued before it, the thread answers when it ends,
            // and after it nothing is queued.
            let memory = self.memory();
            match &memory.failed {
                Some(reason) => (job, reason.clone()),
                None => match self.jobs.send(job) {
                    Ok(()) => {
                        if let Some(Bell(bell)) = &self.bell {
                            bell.notify_one();
                        }
                        return;
                    }
                    Err(mpsc::SendError(job)) => (job, "the writer is gone".into()),
                },
            }
        };
        job.callback()(Err(WalError::Closed(reason).into()));
    }

    /// Entries in a range of indexes, as many from its start as fit one read of a few megabytes; at least one if
    /// there is one. Reads from disk what is no longer in memory.
    pub fn read(&self, range: impl RangeBounds<u64>) -> io::Result<Vec<Entry>> {
        enum Found {
            Here(Entry),
            There(LogId, Location, Arc<dyn DiskFile>),
        }
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
        let mut found = Vec::new();
        {
            let memory = self.memory();
            let Some(first) = memory.slots.front().map(|slot| slot.id.index) else {
                return Ok(Vec::new());
            };
            let skip = start.saturating_sub(first).min(memory.slots.len() as u64) as usize;
            let mut bytes = 0;
            for slot in memory.slots.range(skip..) {
                if slot.id.index >= end || bytes > READ_BYTES {
                    break;
                }
                match (&slot.payload, &slot.location) {
                    (Some(payload), _) => {
                        let entry = Entry {
                            id: slot.id,
                            payload: payload.clone(),
                        };
                        bytes += entry.weight();
                        found.push(Found::Here(entry));
                    }
                    (None, Some(location)) => {
                        bytes += location.length as usize;
                        let file = memory.files.get(&location.segment).cloned();
                        let file =
                            file.ok_or_else(|| io::Error::other("segment of an entry is gone"))?;
                        found.push(Found::There(slot.id, *location, file));
                    }
                    (None, None) => {
                        return Err(io::Error::other("entry is neither in memory nor on disk"));
                    }
                }
            }
        }
        found
            .into_iter()
            .map(|found| match found {
                Found::Here(entry) => Ok(entry),
                Found::There(id, location, file) => read_entry(&*file, id, location),
            })
            .collect()
    }
}

/// Waits a moment for a process that is on its way out.
fn lock(disk: &dyn Disk, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match disk.lock(path) {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
            {
                std::thread::sleep(LOCK_WAIT / 20);
            }
            outcome => return outcome,
        }
    }
}

fn read_entry(file: &dyn DiskFile, id: LogId, location: Location) -> io::Result<Entry> {
    let mut bytes = vec![0; location.length as usize];
    file.read_at(location.offset, &mut bytes)?;
    let invalid = |what: &str| {
        let text = format!(
            "entry {id} in segment {:016x} at byte {}: {what}",
            location.segment, location.offset
        );
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    match Record::take(&Bytes::from(bytes)) {
        Ok((Record::Entry(entry), _)) if entry.id == id => Ok(entry),
        Ok(_) => Err(invalid("another record lies there")),
        Err(record::BadRecord(what)) => Err(invalid(what)),
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        // A panic under this lock would have left a half-changed index: better to go down with it.
        self.memory
            .lock()
            .expect("no code panics while it holds the index")
    }
}

impl Memory {
    fn truncate(&mut self, from: u64) {
        while self.slots.back().is_some_and(|slot| slot.id.index >= from) {
            if let Some(slot) = self.slots.pop_back() {
                self.forget(&slot);
            }
        }
        self.uncached = self.uncached.min(self.slots.len());
    }

    fn purge(&mut self, upto: LogId) {
        while self
            .slots
            .front()
            .is_some_and(|slot| slot.id.index <= upto.index)
        {
            if let Some(slot) = self.slots.pop_front() {
                self.forget(&slot);
                self.uncached = self.uncached.saturating_sub(1);
            }
        }
        self.purged = self.purged.max(Some(upto));
    }

    fn forget(&mut self, slot: &Slot) {
        if let Some(payload) = &slot.payload {
            self.cached = self.cached.saturating_sub(payload.weight());
        }
    }

    /// Drops the oldest payloads that are on disk until the rest fits.
    fn evict(&mut self) {
        while self.cached > CACHE_BYTES {
            let Some(slot) = self.slots.get_mut(self.uncached) else {
                return;
            };
            if slot.location.is_none() {
                return;
            }
            if let Some(payload) = slot.payload.take() {
                self.cached = self.cached.saturating_sub(payload.weight());
            }
            self.uncached += 1;
        }
    }

    fn written(&mut self, entries: &[LogId], written: Written) {
        if let Some((number, file)) = written.begun {
            self.files.insert(number, file);
        }
        if self
            .files
            .first_key_value()
            .is_some_and(|(number, _)| *number < written.oldest)
        {
            self.files = self.files.split_off(&written.oldest);
        }
        let first = self.slots.front().map_or(0, |slot| slot.id.index);
        for (id, location) in entries.iter().zip(written.locations) {
            // Truncated or purged in the meantime, or another entry in its place: then the place does not matter.
            let at = id.index.checked_sub(first).map(|at| at as usize);
            if let Some(slot) = at.and_then(|at| self.slots.get_mut(at))
                && slot.id == *id
            {
                slot.location = Some(location);
            }
        }
    }
}

impl Payload {
    fn weight(&self) -> usize {
        match self {
            Payload::Blank => 0,
            Payload::Normal(bytes) => bytes.len(),
            Payload::Membership(membership) => 64 * (1 + membership.nodes.len()),
        }
    }
}

impl Job {
    fn callback(self) -> Callback {
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
struct Worker {
    appender: Appender,
    shared: Arc<Shared>,
    queue: Receiver<Job>,
    /// There was no room when it was last looked for.
    full: bool,
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
    fn run(mut self) {
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

    async fn run_in_place(mut self, bell: Arc<Notify>) {
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
                crate::metrics::log_written(batch.begun.elapsed(), batch.ids.len());
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
