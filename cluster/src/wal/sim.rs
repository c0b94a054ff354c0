//! A disk in memory that forgets what was not synced, for tests and simulations: a crash keeps an arbitrary part of the
//! writes since the last sync, sector by sector and in no order, and an arbitrary part of the unsynced names.

use super::disk::{Disk, DiskFile};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

const SECTOR: usize = 512;

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// What of `now` may differ from `durable` within the length of both.
    dirty: Vec<Range<usize>>,
}

impl Content {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[offset..end].copy_from_slice(bytes);
        self.dirty.push(offset..end);
    }

    fn resize(&mut self, len: usize) {
        let before = self.now.len();
        self.now.resize(len, 0);
        self.dirty.push(before.min(len)..before.max(len));
    }

    fn sync(&mut self) {
        self.durable.resize(self.now.len(), 0);
        for range in self.dirty.drain(..) {
            let range = range.start.min(self.now.len())..range.end.min(self.now.len());
            self.durable[range.clone()].copy_from_slice(&self.now[range]);
        }
    }

    /// What a loss of power leaves.
    fn crash(&mut self, chance: &mut dyn FnMut() -> bool) {
        let mut after = std::mem::take(&mut self.durable);
        if self.now.len() != after.len() && chance() {
            after.resize(self.now.len(), 0);
        }
        let end = after.len().min(self.now.len());
        let sectors: BTreeSet<usize> = self
            .dirty
            .drain(..)
            .flat_map(|range| range.start / SECTOR..range.end.div_ceil(SECTOR))
            .collect();
        for sector in sectors {
            let range = (sector * SECTOR).min(end)..((sector + 1) * SECTOR).min(end);
            if !range.is_empty() && chance() {
                after[range.clone()].copy_from_slice(&self.now[range]);
            }
        }
        self.now.clone_from(&after);
        self.durable = after;
    }
}

type File = Arc<Mutex<Content>>;

#[derive(Default)]
struct Tree {
    now: BTreeMap<PathBuf, File>,
    durable: BTreeMap<PathBuf, File>,
    /// Operations left before the disk fails for good, as after a loss of power.
    left: Option<u64>,
    operations: u64,
    /// Bytes that all files together may have.
    room: Option<u64>,
    /// What a sync of a file takes.
    sync_takes: Duration,
    /// Syncs do nothing, and say that all is well.
    lies: bool,
}

/// The simulated disk; clones share it.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<Tree>>);

struct SimFile {
    disk: SimDisk,
    content: File,
}

fn content(file: &File) -> MutexGuard<'_, Content> {
    file.lock().expect("no code panics while it holds a file")
}

impl SimDisk {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0
            .lock()
            .expect("no code panics while it holds the tree")
    }

    fn step(&self) -> io::Result<()> {
        let mut tree = self.tree();
        tree.operations += 1;
        match &mut tree.left {
            Some(0) => Err(io::Error::other("power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Operations that change the disk, so far.
    pub fn operations(&self) -> u64 {
        self.tree().operations
    }

    /// Lets `left` more operations through; those after them fail until the next [`SimDisk::crash`].
    pub fn fail_after(&self, left: u64) {
        self.tree().left = Some(left);
    }

    /// Whether operations fail.
    pub fn is_off(&self) -> bool {
        self.tree().left == Some(0)
    }

    /// Lets all files together grow to so many bytes and no further.
    pub fn set_room(&self, room: Option<u64>) {
        self.tree().room = room;
    }

    /// Bytes of all files together.
    pub fn used(&self) -> u64 {
        let files = self.tree();
        files
            .now
            .values()
            .map(|file| content(file).now.len() as u64)
            .sum()
    }

    /// How long a sync takes from now on ([`Disk::sync_takes`]).
    pub fn set_sync_takes(&self, takes: Duration) {
        self.tree().sync_takes = takes;
    }

    /// Makes syncs do nothing from now on: what is written later is lost with the power although it was called durable.
    pub fn set_lies(&self, lies: bool) {
        self.tree().lies = lies;
    }

    /// Whether `file` may become `len` bytes long.
    fn grow(&self, file: &File, len: usize) -> io::Result<()> {
        let tree = self.tree();
        let Some(room) = tree.room else {
            return Ok(());
        };
        let of = |file: &File| content(file).now.len() as u64;
        let (used, own) = (tree.now.values().map(of).sum::<u64>(), of(file));
        match len as u64 > own && used.saturating_sub(own) + len as u64 > room {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    /// Power is lost and comes back: what was not synced survives by chance.
    pub fn crash(&self, mut chance: impl FnMut() -> bool) {
        let mut tree = self.tree();
        tree.left = None;
        let mut names = tree.durable.clone();
        for (path, file) in &tree.now {
            let known = tree.durable.get(path);
            if known.is_none_or(|known| !Arc::ptr_eq(known, file)) && chance() {
                names.insert(path.clone(), file.clone());
            }
        }
        for path in tree.durable.keys() {
            if !tree.now.contains_key(path) && chance() {
                names.remove(path);
            }
        }
        for file in names.values() {
            content(file).crash(&mut chance);
        }
        tree.now = names.clone();
        tree.durable = names;
    }

    /// The process ends, the machine stays on: all that was written is there for the next one.
    pub fn restart(&self) {
        self.tree().left = None;
    }

    /// Bytes of a file, if it is there.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let file = self.tree().now.get(path).cloned()?;
        let bytes = content(&file).now.clone();
        Some(bytes)
    }

    /// Puts bytes in place of a file's, durably.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let file = Arc::new(Mutex::new(Content {
            now: bytes.clone(),
            durable: bytes,
            dirty: Vec::new(),
        }));
        let mut tree = self.tree();
        tree.now.insert(path.to_path_buf(), file.clone());
        tree.durable.insert(path.to_path_buf(), file);
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let tree = self.tree();
        let inside = tree.now.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.step()?;
        let mut tree = self.tree();
        if tree.now.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = File::default();
        tree.now.insert(path.to_path_buf(), content.clone());
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            content,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let content = self.tree().now.get(path).cloned();
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            content: content.ok_or(io::ErrorKind::NotFound)?,
        }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        let removed = self.tree().now.remove(path);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        let mut tree = self.tree();
        let file = tree.now.remove(from).ok_or(io::ErrorKind::NotFound)?;
        tree.now.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step()?;
        let mut tree = self.tree();
        if tree.lies {
            return Ok(());
        }
        let here = |path: &PathBuf| path.parent() == Some(dir);
        let now = tree.now.iter().filter(|(path, _)| here(path));
        let now: Vec<_> = now
            .map(|(path, file)| (path.clone(), file.clone()))
            .collect();
        tree.durable.retain(|path, _| !here(path));
        tree.durable.extend(now);
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(()))
    }

    fn sync_takes(&self) -> Duration {
        self.tree().sync_takes
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(content(&self.content).now.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let content = content(&self.content);
        let start = offset as usize;
        let bytes = content
            .now
            .get(start..start + buf.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.step()?;
        let end = offset as usize + bytes.len();
        self.disk.grow(&self.content, end)?;
        content(&self.content).write(offset as usize, bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.step()?;
        content(&self.content).resize(len as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.step()?;
        if !self.disk.tree().lies {
            content(&self.content).sync();
        }
        Ok(())
    }
}
