//! A disk in memory that forgets what was not synced, for tests: a crash keeps an arbitrary part of the writes since
//! the last sync, sector by sector and in no order, and an arbitrary part of the unsynced names.

use super::disk::{Disk, DiskFile};
use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
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
}

/// The simulated disk; clones share it.
#[derive(Clone, Default)]
pub(super) struct SimDisk(Arc<Mutex<Tree>>);

struct SimFile {
    disk: SimDisk,
    content: File,
}

impl SimDisk {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().expect("test")
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
    pub(super) fn operations(&self) -> u64 {
        self.tree().operations
    }

    /// Lets `left` more operations through.
    pub(super) fn fail_after(&self, left: u64) {
        self.tree().left = Some(left);
    }

    /// Lets all files together grow to so many bytes and no further.
    pub(super) fn set_room(&self, room: Option<u64>) {
        self.tree().room = room;
    }

    /// Whether `content` may become `len` bytes long.
    fn grow(&self, content: &File, len: usize) -> io::Result<()> {
        let tree = self.tree();
        let of = |file: &File| file.lock().expect("test").now.len() as u64;
        let (used, own) = (tree.now.values().map(of).sum::<u64>(), of(content));
        match tree.room {
            Some(room) if len as u64 > own && used - own + len as u64 > room => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    /// Power is lost and comes back: what was not synced survives by chance.
    pub(super) fn crash(&self, mut chance: impl FnMut() -> bool) {
        let mut tree = self.tree();
        tree.left = None;
        let mut names = tree.durable.clone();
        for (path, file) in &tree.now {
            if !tree.durable.contains_key(path) && chance() {
                names.insert(path.clone(), file.clone());
            }
        }
        for path in tree.durable.keys() {
            if !tree.now.contains_key(path) && chance() {
                names.remove(path);
            }
        }
        for file in names.values() {
            let mut content = file.lock().expect("test");
            let mut after = content.durable.clone();
            if content.now.len() != after.len() && chance() {
                after.resize(content.now.len(), 0);
            }
            for start in (0..after.len().min(content.now.len())).step_by(SECTOR) {
                let end = (start + SECTOR).min(after.len()).min(content.now.len());
                if chance() {
                    after[start..end].copy_from_slice(&content.now[start..end]);
                }
            }
            content.now = after.clone();
            content.durable = after;
        }
        tree.now = names.clone();
        tree.durable = names;
    }

    /// Bytes of a file.
    pub(super) fn bytes(&self, path: &Path) -> Vec<u8> {
        self.tree().now[path].lock().expect("test").now.clone()
    }

    /// Puts bytes in place of a file's.
    pub(super) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let content = Arc::new(Mutex::new(Content {
            now: bytes.clone(),
            durable: bytes,
        }));
        let mut tree = self.tree();
        tree.now.insert(path.to_path_buf(), content.clone());
        tree.durable.insert(path.to_path_buf(), content);
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
        let content = File::default();
        if self
            .tree()
            .now
            .insert(path.to_path_buf(), content.clone())
            .is_some()
        {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            content,
        }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let content = self
            .tree()
            .now
            .get(path)
            .cloned()
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            content,
        }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.tree()
            .now
            .remove(path)
            .map(|_| ())
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step()?;
        let mut tree = self.tree();
        let elsewhere = tree
            .durable
            .iter()
            .filter(|(path, _)| path.parent() != Some(dir));
        let mut durable: BTreeMap<_, _> = elsewhere
            .map(|(path, file)| (path.clone(), file.clone()))
            .collect();
        let here = tree
            .now
            .iter()
            .filter(|(path, _)| path.parent() == Some(dir));
        durable.extend(here.map(|(path, file)| (path.clone(), file.clone())));
        tree.durable = durable;
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(()))
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().expect("test").now.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let content = self.content.lock().expect("test");
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
        let mut content = self.content.lock().expect("test");
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.step()?;
        self.content
            .lock()
            .expect("test")
            .now
            .resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.step()?;
        let mut content = self.content.lock().expect("test");
        content.durable = content.now.clone();
        Ok(())
    }
}
