//! Nodes on bad disks: power that goes out everywhere at once, a disk that is full, a sync that fails.

mod nodes;

use nodes::{Note, Three, until};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tandem_cluster::handle::Role;
use tandem_cluster::wal::{AnyDisk, Disk, DiskFile, RealDisk};

const FINE: u8 = 0;
/// Nothing grows.
const FULL: u8 = 1;
/// Syncs fail.
const FAILING: u8 = 2;
/// Nothing works any more.
const OFF: u8 = 3;

/// What would be left of a file without power.
#[derive(Default)]
struct Kept {
    durable: Vec<u8>,
    /// Written since the last sync.
    pending: Vec<(usize, Vec<u8>)>,
    /// Its name is durable.
    named: bool,
    removed: bool,
}

#[derive(Default)]
struct Shadow {
    mode: AtomicU8,
    files: Mutex<BTreeMap<PathBuf, Kept>>,
}

/// The machine's disk, which knows what of it is durable.
#[derive(Clone, Default)]
struct BadDisk(Arc<Shadow>);

struct BadFile {
    disk: BadDisk,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

impl BadDisk {
    fn set(&self, mode: u8) {
        self.0.mode.store(mode, Ordering::SeqCst);
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Kept>> {
        self.0.files.lock().expect("test")
    }

    fn allows(&self, grows: bool) -> io::Result<()> {
        match self.0.mode.load(Ordering::SeqCst) {
            OFF => Err(io::Error::other("power is gone")),
            FULL if grows => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn file(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(BadFile {
            disk: self.clone(),
            path: path.to_path_buf(),
            file,
        })
    }

    /// Makes the real files what they are after a loss of power: what was not synced is gone.
    fn lose_power(&self) {
        for (path, kept) in std::mem::take(&mut *self.files()) {
            match kept.named {
                true => std::fs::write(&path, &kept.durable).expect("is written"),
                false => drop(std::fs::remove_file(&path)),
            }
        }
    }
}

impl Disk for BadDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.allows(true)?;
        let file = RealDisk.create(path)?;
        self.files().insert(path.to_path_buf(), Kept::default());
        Ok(self.file(path, file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let kept = Kept {
            durable: std::fs::read(path)?,
            named: true,
            ..Kept::default()
        };
        self.files().insert(path.to_path_buf(), kept);
        Ok(self.file(path, RealDisk.open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.allows(false)?;
        if let Some(kept) = self.files().get_mut(path) {
            kept.removed = true;
        }
        RealDisk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.allows(false)?;
        let mut files = self.files();
        if let Some(kept) = files.remove(from) {
            files.insert(to.to_path_buf(), kept);
        }
        RealDisk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.allows(false)?;
        self.files().retain(|path, kept| {
            let here = path.parent() == Some(dir);
            kept.named |= here;
            !(here && kept.removed)
        });
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        RealDisk.lock(path)
    }
}

impl DiskFile for BadFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let grows = offset + bytes.len() as u64 > self.file.len()?;
        self.disk.allows(grows)?;
        if let Some(kept) = self.disk.files().get_mut(&self.path) {
            kept.pending.push((offset as usize, bytes.to_vec()));
        }
        self.file.write_at(offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.allows(len > self.file.len()?)?;
        if let Some(kept) = self.disk.files().get_mut(&self.path) {
            kept.durable.resize(len as usize, 0);
        }
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.allows(false)?;
        if self.disk.0.mode.load(Ordering::SeqCst) == FAILING {
            return Err(io::Error::other("the medium is worn out"));
        }
        if let Some(kept) = self.disk.files().get_mut(&self.path) {
            for (offset, bytes) in std::mem::take(&mut kept.pending) {
                let end = offset + bytes.len();
                if kept.durable.len() < end {
                    kept.durable.resize(end, 0);
                }
                kept.durable[offset..end].copy_from_slice(&bytes);
            }
        }
        Ok(())
    }
}

async fn start() -> (Three, Vec<BadDisk>) {
    let disks: Vec<BadDisk> = (0..3).map(|_| BadDisk::default()).collect();
    let three = Three::start_with(|config| {
        config.disk = AnyDisk(Arc::new(disks[config.node_id as usize - 1].clone()));
    })
    .await;
    (three, disks)
}

/// Notes something at any node that takes it.
async fn note(three: &Three, id: u64) {
    let mut note = Note::new(id);
    note.weight = vec![7; 60_000];
    let begun = Instant::now();
    loop {
        for (_, node) in three.up_nodes() {
            let limit = Duration::from_millis(500);
            if node.propose_within(note.clone(), limit).await.is_ok() {
                return;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "nobody takes it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_power_that_goes_out_everywhere_at_once() {
    let (mut three, disks) = start().await;
    let ids = Arc::new(AtomicU64::new(0));
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    for round in 0..4 {
        three.leader().await;
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..12)
            .map(|caller| {
                let node = three.node(caller % 3).clone();
                let (ids, acknowledged) = (ids.clone(), acknowledged.clone());
                let stop = stop.clone();
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let id = ids.fetch_add(1, Ordering::Relaxed);
                        match node.propose(Note::new(id)).await {
                            Ok(_) => drop(acknowledged.lock().expect("test").insert(id)),
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        let so_far = acknowledged.lock().expect("test").len();
        let enough = so_far + 100 + 37 * round as usize;
        let count = || acknowledged.lock().expect("test").len();
        until("so much acknowledged", || count() >= enough).await;
        for disk in &disks {
            disk.set(OFF);
        }
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.abort();
            let _ = caller.await;
        }
        for at in 0..3 {
            three.kill(at);
        }
        // Their threads notice, and let go of the files.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for disk in &disks {
            disk.lose_power();
            disk.set(FINE);
        }
        for at in 0..3 {
            three.up(at).await;
        }
        three.leader().await;
        note(&three, 1_000_000 + round).await;
        let state = three.agree().await;
        let acknowledged = acknowledged.lock().expect("test");
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|id| !state.places.contains_key(*id))
            .collect();
        assert!(lost.is_empty(), "round {round} lost {lost:?}");
        assert!(!acknowledged.is_empty(), "the load made something");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_is_full_hands_over_and_comes_back_when_there_is_room() {
    let (three, disks) = start().await;
    note(&three, 0).await;
    let leader = three.leader().await;
    disks[leader].set(FULL);
    for id in 1..30 {
        note(&three, id).await;
    }
    until("full", || three.node(leader).status().disk_full.is_some()).await;
    let why = three.node(leader).status().disk_full.expect("just seen");
    assert!(why.starts_with("disk is full: `"), "{why}");
    until("led by another", || {
        let others = three.up_nodes().filter(|(at, _)| *at != leader);
        let mut roles = others.map(|(_, node)| node.standing().borrow().role);
        roles.any(|role| role == Role::Leader)
    })
    .await;
    for id in 30..40 {
        note(&three, id).await;
    }
    disks[leader].set(FINE);
    until("mended", || three.node(leader).status().disk_full.is_none()).await;
    note(&three, 40).await;
    let state = three.agree().await;
    assert_eq!(state.order.len(), 41);
    assert_eq!(three.node(leader).status().stopped, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_sync_fails_stops_and_says_why_and_the_others_go_on() {
    let (mut three, disks) = start().await;
    note(&three, 0).await;
    let leader = three.leader().await;
    disks[leader].set(FAILING);
    for id in 1..5 {
        note(&three, id).await;
    }
    let node = three.node(leader).clone();
    until("stopped", || node.standing().borrow().role == Role::Stopped).await;
    let why = node.status().stopped.expect("says why");
    assert!(why.contains("sync of `"), "{why}");
    drop(node);
    three.kill(leader);
    disks[leader].set(FINE);
    three.up(leader).await;
    note(&three, 5).await;
    assert_eq!(three.agree().await.order.len(), 6);
}
