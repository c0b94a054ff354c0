//! The handle that the consensus uses: entries are readable as soon as they are appended, and a thread (a task, where
//! nothing may happen beside the caller's runtime) makes them durable in the order of the calls.

mod memory;
mod worker;

use self::memory::{Memory, Slot};
use self::worker::{Job, Worker};
use super::appender::{Appender, Location, Recovered, Settings};
use super::disk::{Disk, DiskError, DiskFile};
use super::record::{Entry, LogId, Record, Vote};
use super::segment::Identity;
use super::{WalError, record};
use bytes::Bytes;
use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Called once, when what it belongs to is durable or never will be.
pub type Callback = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Largest number of entries or bytes handed out by one read.
const READ_BYTES: usize = 4 << 20;
/// How long a new process waits for the lock of the one it follows.
const LOCK_WAIT: Duration = Duration::from_secs(2);

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
