//! The log on disk: recovery at the start, then one write and one sync per batch. Blocking; knows no thread.

use super::WalError;
use super::disk::{Disk, DiskError, DiskFile};
use super::record::{self, LogId, Record};
use super::segment::{self, FORMAT, Facts, Header, Identity};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Sizes of the log's files.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A segment that has reached this many bytes is followed by a new one.
    pub segment_bytes: u64,
    /// A segment is extended with zeros by this many bytes at a time: a sync that changes no file size is cheaper.
    pub extend_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            segment_bytes: 64 << 20,
            extend_bytes: 1 << 20,
        }
    }
}

/// Where an entry's record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Segment's number.
    pub segment: u64,
    /// Offset in its file.
    pub offset: u64,
    /// Length of the record.
    pub length: u32,
}

/// What recovery found.
#[derive(Default)]
pub struct Recovered {
    /// Vote, purged, committed.
    pub facts: Facts,
    /// The entries, without gap.
    pub entries: VecDeque<(LogId, Location)>,
    /// Files to read them from.
    pub files: Vec<(u64, Arc<dyn DiskFile>)>,
}

struct Segment {
    number: u64,
    file: Arc<dyn DiskFile>,
    /// Highest index ever appended to it.
    highest: Option<u64>,
}

/// The writing end of a log.
pub struct Appender {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    identity: Identity,
    settings: Settings,
    /// Oldest first; the last one is written to.
    segments: VecDeque<Segment>,
    /// Where the next block goes.
    offset: u64,
    /// The file is this long; zeros behind `offset`.
    length: u64,
    /// Sequence of the next block.
    sequence: u64,
    facts: Facts,
    /// A segment that was begun and not told of yet.
    begun: Option<(u64, Arc<dyn DiskFile>)>,
    buffer: Vec<u8>,
    zeros: Vec<u8>,
}

/// What a write changed beside the bytes.
#[derive(Default)]
pub struct Written {
    /// Where each entry of the batch lies, in order.
    pub locations: Vec<Location>,
    /// A segment that was begun.
    pub begun: Option<(u64, Arc<dyn DiskFile>)>,
    /// Segments below this number are gone.
    pub oldest: u64,
}

/// A block that is written and not durable.
pub struct Staged {
    /// Offset within the block and length of each record.
    places: Vec<(u64, u32)>,
    /// The block's.
    length: u64,
}

/// Why a block was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk is full; nothing was written.
    #[error(transparent)]
    NoRoom(WalError),
    /// Anything else.
    #[error(transparent)]
    Failed(WalError),
}

impl WriteError {
    fn of_room(error: WalError) -> Self {
        match &error {
            WalError::Disk(DiskError::Full { .. }) => WriteError::NoRoom(error),
            _ => WriteError::Failed(error),
        }
    }
}

impl Appender {
    /// Opens the log in `dir` or begins one there, and reads what it holds.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        settings: Settings,
    ) -> Result<(Appender, Recovered), WalError> {
        let named = |doing| move |source| DiskError::new(doing, dir, source);
        disk.create_dir_all(dir)
            .map_err(|source| DiskError::NotCreatable {
                path: dir.to_path_buf(),
                source,
            })?;
        let names = disk.list(dir).map_err(named("listing"))?;
        let mut numbers: Vec<u64> = names
            .iter()
            .filter_map(|name| segment::number_of(name))
            .collect();
        numbers.sort_unstable();

        let mut log = Appender {
            disk,
            dir: dir.to_path_buf(),
            identity,
            settings,
            segments: VecDeque::new(),
            offset: 0,
            length: 0,
            sequence: 1,
            facts: Facts::default(),
            begun: None,
            buffer: Vec::new(),
            zeros: vec![0; settings.extend_bytes.min(1 << 18) as usize],
        };
        let mut recovered = Recovered::default();
        for (at, number) in numbers.iter().copied().enumerate() {
            log.recover(number, at + 1 == numbers.len(), &mut recovered)?;
        }
        if let (Some((first, _)), Some(purged)) =
            (recovered.entries.front(), &recovered.facts.purged)
            && first.index != purged.index + 1
        {
            return Err(log.corrupt("entries are missing behind the purged ones"));
        }
        // A commit may have been noted in a batch before the one with its entry, which a crash then cut off.
        let last = recovered
            .entries
            .back()
            .map(|(id, _)| *id)
            .or(recovered.facts.purged);
        recovered.facts.committed = recovered.facts.committed.min(last);
        log.facts = recovered.facts;
        match log.segments.is_empty() {
            true => log.begin_segment(numbers.last().copied().unwrap_or(1))?,
            false => {
                // A process that died between a write, or the making of a file, and its sync leaves what only the system's
                // memory holds. What was read here counts as durable from now on, so it has to be.
                log.sync()?;
                log.disk.sync_dir(dir).map_err(named("sync"))?;
            }
        }
        log.reserve()?;
        recovered.files = log
            .segments
            .iter()
            .map(|segment| (segment.number, segment.file.clone()))
            .collect();
        Ok((log, recovered))
    }

    fn corrupt(&self, what: &'static str) -> WalError {
        let number = self.segments.back().map_or(1, |segment| segment.number);
        WalError::Corrupt {
            path: segment::path(&self.dir, number),
            offset: 0,
            what,
        }
    }

    /// Reads one segment into `recovered`.
    fn recover(
        &mut self,
        number: u64,
        last: bool,
        recovered: &mut Recovered,
    ) -> Result<(), WalError> {
        let path = segment::path(&self.dir, number);
        let file = self
            .disk
            .open(&path)
            .map_err(|source| DiskError::new("opening", &path, source))?;
        let before = self.segments.back().map(|segment| segment.number);
        if before.is_some_and(|before| before + 1 != number) {
            return Err(WalError::Corrupt {
                path,
                offset: 0,
                what: "a segment is missing before this one",
            });
        }
        let expected = before.map(|_| self.sequence);
        let Some(contents) = segment::read(&*file, &path, &self.identity, expected, last)? else {
            tracing::warn!(path = %path.display(), "removed a log segment whose creation was cut short");
            self.disk
                .remove(&path)
                .map_err(|source| DiskError::new("removal", &path, source))?;
            self.disk
                .sync_dir(&self.dir)
                .map_err(|source| DiskError::new("sync", &self.dir, source))?;
            return Ok(());
        };
        if before.is_none() {
            recovered.facts = contents.header.facts;
        }
        let mut highest = None;
        for block in contents.blocks {
            let bad = |what| WalError::Corrupt {
                path: path.clone(),
                offset: block.offset,
                what,
            };
            for (record, offset, length) in block.records {
                match record {
                    Record::Vote(vote) => recovered.facts.vote = Some(vote),
                    Record::Committed(id) => recovered.facts.committed = Some(id),
                    Record::Truncate(from) => truncate(&mut recovered.entries, from),
                    Record::Purge(id) => {
                        purge(&mut recovered.entries, id.index);
                        recovered.facts.purged = recovered.facts.purged.max(Some(id));
                    }
                    Record::Entry(entry) => {
                        // With the segments before it unlinked, the first entry seen may lie anywhere.
                        let next = recovered.entries.back().map(|(last, _)| last.index + 1);
                        if next.is_some_and(|next| next != entry.id.index) {
                            return Err(bad("entry out of order"));
                        }
                        highest = highest.max(Some(entry.id.index));
                        recovered.entries.push_back((
                            entry.id,
                            Location {
                                segment: number,
                                offset,
                                length,
                            },
                        ));
                    }
                }
            }
        }
        self.offset = contents.end;
        self.sequence = contents.sequence;
        self.length = file
            .len()
            .map_err(|source| DiskError::new("read", &path, source))?;
        if contents.torn {
            tracing::warn!(path = %path.display(), offset = contents.end, "cut off a write that was never finished");
            // The file is cut and grown again: whatever the crash left behind reads as zeros from now on.
            let named = |source| DiskError::new("write", &path, source);
            file.set_len(self.offset).map_err(named)?;
            self.length = self.offset;
            file.sync().map_err(named)?;
        }
        self.segments.push_back(Segment {
            number,
            file,
            highest,
        });
        Ok(())
    }

    fn begin_segment(&mut self, number: u64) -> Result<(), WalError> {
        let header = Header {
            format: FORMAT,
            identity: self.identity.clone(),
            number,
            sequence: self.sequence,
            facts: self.facts,
        };
        let (file, start) = segment::create(&*self.disk, &self.dir, &header)?;
        self.segments.push_back(Segment {
            number,
            file,
            highest: None,
        });
        self.offset = start;
        self.length = start;
        Ok(())
    }

    /// Makes room for a block of so many bytes, in a new segment if the present one is full.
    fn make_room(&mut self, bytes: u64) -> Result<(), WalError> {
        if self.offset >= self.settings.segment_bytes {
            let number = self.active().number + 1;
            self.begin_segment(number)?;
            self.begun = Some((number, self.active().file.clone()));
        }
        let end = self.offset + bytes;
        match end > self.length {
            true => self.extend(end),
            false => Ok(()),
        }
    }

    /// Makes room for what comes next before it is needed, so that a full disk shows while there is some left.
    pub fn make_room_ahead(&mut self) -> Result<(), WalError> {
        match self.length >= self.offset + self.settings.extend_bytes / 2 {
            true => Ok(()),
            false => self.extend(self.length.max(self.offset)),
        }
    }

    /// Writes records as one block and returns when they are durable.
    ///
    /// After [`WriteError::NoRoom`] nothing has been written, and the same may be tried again. After any other error
    /// the log must not be written to: what reached the disk is unknown until it is opened anew.
    pub fn write(&mut self, records: &[Record]) -> Result<Written, WriteError> {
        let staged = self.stage(records)?;
        self.finish(records, staged)
    }

    /// The first half of [`Appender::write`]: the block is written and not durable. Errors are the same.
    pub fn stage(&mut self, records: &[Record]) -> Result<Staged, WriteError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        record::begin_block(&mut buffer);
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let at = buffer.len();
            record.put(&mut buffer);
            places.push((at as u64, (buffer.len() - at) as u32));
        }
        record::finish_block(self.sequence, &mut buffer);
        let length = buffer.len() as u64;
        let result = self
            .make_room(length)
            .map_err(WriteError::of_room)
            .and_then(|()| self.put(&buffer).map_err(WriteError::Failed));
        buffer.shrink_to(1 << 20);
        self.buffer = buffer;
        result.map(|()| Staged { places, length })
    }

    /// The second half of [`Appender::write`]: makes durable what was staged last.
    pub fn finish(&mut self, records: &[Record], staged: Staged) -> Result<Written, WriteError> {
        let Staged { places, length } = staged;
        self.sync().map_err(WriteError::Failed)?;
        let base = self.offset;
        self.offset += length;
        self.sequence += 1;

        let mut written = Written {
            begun: self.begun.take(),
            ..Written::default()
        };
        let number = self.active().number;
        let mut purged = false;
        for (record, (at, length)) in records.iter().zip(places) {
            match record {
                Record::Vote(vote) => self.facts.vote = Some(*vote),
                Record::Committed(id) => self.facts.committed = Some(*id),
                Record::Truncate(_) => {}
                Record::Purge(id) => {
                    self.facts.purged = self.facts.purged.max(Some(*id));
                    purged = true;
                }
                Record::Entry(entry) => {
                    let active = self.active_mut();
                    active.highest = active.highest.max(Some(entry.id.index));
                    written.locations.push(Location {
                        segment: number,
                        offset: base + at,
                        length,
                    });
                }
            }
        }
        if purged {
            self.unlink().map_err(WriteError::Failed)?;
        }
        written.oldest = self.segments.front().map_or(0, |segment| segment.number);
        Ok(written)
    }

    /// How long the disk takes between [`Appender::stage`] and [`Appender::finish`], where it does not block for it.
    pub fn sync_takes(&self) -> Duration {
        self.disk.sync_takes()
    }

    fn active(&self) -> &Segment {
        self.segments
            .back()
            .expect("open begins a segment when there is none")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments
            .back_mut()
            .expect("open begins a segment when there is none")
    }

    fn put(&mut self, block: &[u8]) -> Result<(), WalError> {
        let active = self.active();
        let path = segment::path(&self.dir, active.number);
        let file = active.file.clone();
        file.write_at(self.offset, block)
            .map_err(|source| WalError::Disk(DiskError::new("write", &path, source)))
    }

    fn sync(&self) -> Result<(), WalError> {
        let active = self.active();
        active.file.sync().map_err(|source| {
            let path = segment::path(&self.dir, active.number);
            WalError::Disk(DiskError::new("sync", &path, source))
        })
    }

    /// Makes sure that there is room for a while, so that a full disk shows at the start and not in the first call.
    fn reserve(&mut self) -> Result<(), WalError> {
        let length = self.length;
        self.make_room_ahead()?;
        match self.length == length {
            true => Ok(()),
            false => self.sync(),
        }
    }

    /// Puts zeros from `end` on.
    fn extend(&mut self, end: u64) -> Result<(), WalError> {
        let active = self.active();
        let path = segment::path(&self.dir, active.number);
        let until = end + self.settings.extend_bytes;
        let mut at = end;
        while at < until {
            let chunk = (until - at).min(self.zeros.len() as u64);
            active
                .file
                .write_at(at, &self.zeros[..chunk as usize])
                .map_err(|source| DiskError::new("write", &path, source))?;
            at += chunk;
        }
        self.length = until;
        Ok(())
    }

    /// Removes the oldest segments that hold nothing but purged entries. Their purge is durable already.
    fn unlink(&mut self) -> Result<(), WalError> {
        let purged = self.facts.purged.map(|id| id.index);
        while self.segments.len() > 1 && self.segments[0].highest <= purged {
            let path = segment::path(&self.dir, self.segments[0].number);
            self.disk
                .remove(&path)
                .map_err(|source| DiskError::new("removal", &path, source))?;
            // One by one: removals that became durable out of order would leave a gap between segments.
            self.disk
                .sync_dir(&self.dir)
                .map_err(|source| DiskError::new("sync", &self.dir, source))?;
            self.segments.pop_front();
        }
        Ok(())
    }
}

/// Drops entries from `from` on.
fn truncate(entries: &mut VecDeque<(LogId, Location)>, from: u64) {
    while entries.back().is_some_and(|(id, _)| id.index >= from) {
        entries.pop_back();
    }
}

/// Drops entries up to and with `upto`.
fn purge(entries: &mut VecDeque<(LogId, Location)>, upto: u64) {
    while entries.front().is_some_and(|(id, _)| id.index <= upto) {
        entries.pop_front();
    }
}
