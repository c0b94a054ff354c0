//! Snapshots as files: written beside the log, kept two deep, sent as they are.
//!
//! `[magic 8][length u32][crc u32] header`, then the state's bytes, then `[length u64][crc u32]` of them. A snapshot
//! gets its name only when it is whole and synced, so what bears a name and fails its checksum is damage. One of a newer
//! release is told from that: in all formats the header begins as in this one.

use super::types::{self, Members, TypeConfig};
use crate::codec;
use crate::level::{Level, SPOKEN, TooNew};
use crate::wal::AnyDisk;
use crate::wal::disk::{DiskError, DiskFile, create_anew};
use crate::wal::record::{self as own, Cursor};
use crate::wal::{Identity, WalError};
use openraft::type_config::alias::SnapshotMetaOf;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: &[u8; 8] = b"TNDM-SNP";
const FORMAT: u16 = 1;
const HEADER_MAX: usize = 64 << 10;
const TRAILER: usize = 12;
/// Snapshots kept: the newest, and the one before it for a transfer that still reads it.
const KEPT: usize = 2;

/// What stands before the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// [`FORMAT`]; it and the level first, so that every release can tell them.
    format: u16,
    /// Of the state's bytes.
    pub(crate) level: Level,
    cluster: String,
    /// Last entry contained.
    pub(crate) last: Option<own::LogId>,
    /// Members as of then.
    pub(crate) members: Members,
    /// Nodes that were members before.
    pub(crate) former: BTreeSet<u64>,
}

impl Header {
    pub(crate) fn meta(&self) -> Result<SnapshotMetaOf<TypeConfig>, own::BadRecord> {
        Ok(SnapshotMetaOf::<TypeConfig> {
            last_log_id: self.last.as_ref().map(types::from_log_id),
            last_membership: types::from_members(&self.members)?,
        })
    }
}

/// A snapshot on disk. The open file stays readable when its name is removed.
#[derive(Clone)]
pub(crate) struct SnapshotFile {
    pub(crate) path: PathBuf,
    file: Arc<dyn DiskFile>,
    pub(crate) bytes: u64,
}

impl fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in {}", self.bytes, self.path.display())
    }
}

impl SnapshotFile {
    fn open(disk: &AnyDisk, path: PathBuf) -> io::Result<Self> {
        let file = disk.open(&path)?;
        let bytes = file.len()?;
        Ok(SnapshotFile { path, file, bytes })
    }

    /// Reads a part of the file.
    pub(crate) fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buf)
    }

    /// Reads and checks all of it: header and the state's bytes. Blocks.
    pub(crate) fn load(&self) -> io::Result<(Header, Vec<u8>)> {
        let bad = |what| damaged(&self.path, what);
        let mut bytes = vec![0; self.bytes as usize];
        self.file.read_at(0, &mut bytes)?;
        let (header, start) = read_header(&bytes).map_err(|why| why.of(&self.path))?;
        let end = bytes
            .len()
            .checked_sub(TRAILER)
            .filter(|end| *end >= start)
            .ok_or_else(|| bad("too short"))?;
        let mut cursor = Cursor(&bytes[end..]);
        let (length, crc) = match (cursor.u64(), cursor.u32()) {
            (Ok(length), Ok(crc)) => (length, crc),
            _ => return Err(bad("too short")),
        };
        if length != (end - start) as u64 || crc32fast::hash(&bytes[start..end]) != crc {
            return Err(bad("checksum differs"));
        }
        bytes.truncate(end);
        bytes.drain(..start);
        Ok((header, bytes))
    }
}

fn damaged(path: &Path, what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("snapshot `{}` is damaged: {what}", path.display()),
    )
}

/// Why a header is not taken.
enum BadHeader {
    Damaged,
    Format(u16),
    Level(Level),
}

impl BadHeader {
    /// In words for people.
    fn of(self, path: &Path) -> io::Error {
        let name = || format!("snapshot `{}`", path.display());
        let newer = |what: String| io::Error::new(io::ErrorKind::Unsupported, what);
        match self {
            BadHeader::Damaged => damaged(path, "bad header"),
            BadHeader::Format(found) => newer(format!(
                "{} has format {found}, this release reads {FORMAT}",
                name()
            )),
            BadHeader::Level(found) => newer(
                TooNew {
                    what: name(),
                    level: found,
                    spoken: SPOKEN,
                }
                .to_string(),
            ),
        }
    }
}

/// The header, and where it ends.
fn read_header(bytes: &[u8]) -> Result<(Header, usize), BadHeader> {
    let (length, body) = header_body(bytes).ok_or(BadHeader::Damaged)?;
    // A newer header may go on in other ways.
    let (format, level): (u16, Level) =
        codec::decode_front(body).map_err(|_| BadHeader::Damaged)?;
    if format != FORMAT {
        return Err(BadHeader::Format(format));
    }
    if level > SPOKEN {
        return Err(BadHeader::Level(level));
    }
    let header = codec::decode(body).map_err(|_| BadHeader::Damaged)?;
    Ok((header, MAGIC.len() + 8 + length))
}

/// The header's bytes, when they are whole.
fn header_body(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut cursor = Cursor(bytes);
    if cursor.take(MAGIC.len()).ok()? != MAGIC {
        return None;
    }
    let (length, crc) = (cursor.u32().ok()? as usize, cursor.u32().ok()?);
    if length > HEADER_MAX {
        return None;
    }
    let body = cursor.take(length).ok()?;
    (crc32fast::hash(body) == crc).then_some((length, body))
}

/// Writes bytes from a place in a file on and keeps their checksum.
struct Checked<'f> {
    out: &'f dyn DiskFile,
    start: u64,
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl Write for Checked<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.out.write_at(self.start + self.bytes, buf)?;
        self.crc.update(buf);
        self.bytes += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that has not got its name yet. Unless it gets one it is removed, for a disk may be full of it.
#[derive(Debug)]
pub(crate) struct Unfinished {
    path: PathBuf,
    disk: AnyDisk,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Fails when it has got its name, as it mostly has. What is left behind is removed at the next start.
        let _ = self.disk.remove(&self.path);
    }
}

/// The directory of snapshots. Its calls block.
#[derive(Debug)]
pub(crate) struct Store {
    disk: AnyDisk,
    dir: PathBuf,
    cluster: String,
    count: AtomicU64,
}

impl Store {
    /// Opens the directory, removes what was never finished, and tells the last entry in the newest snapshot.
    pub(crate) fn open(
        disk: AnyDisk,
        dir: &Path,
        identity: &Identity,
    ) -> Result<(Store, Option<own::LogId>), WalError> {
        disk.create_dir_all(dir)
            .map_err(|source| DiskError::NotCreatable {
                path: dir.to_path_buf(),
                source,
            })?;
        let named = |doing| move |source| DiskError::new(doing, dir, source);
        for name in disk.list(dir).map_err(named("listing"))? {
            if name.ends_with(".tmp") {
                disk.remove(&dir.join(&name)).map_err(named("removal"))?;
            }
        }
        // A process that died right after it had named a snapshot left that name in the system's memory alone.
        disk.sync_dir(dir).map_err(named("sync"))?;
        let store = Store {
            disk,
            dir: dir.to_path_buf(),
            cluster: identity.cluster.clone(),
            count: AtomicU64::new(0),
        };
        let newest = store.newest().map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => WalError::Newer(error.to_string()),
            _ => named("read")(error).into(),
        });
        let Some((header, snapshot)) = newest? else {
            return Ok((store, None));
        };
        if header.cluster != identity.cluster {
            let (found, wanted) = (header.cluster, identity.cluster.clone());
            return Err(WalError::OtherCluster {
                path: snapshot.path,
                found,
                wanted,
            });
        }
        Ok((store, header.last))
    }

    /// The newest snapshot with its header.
    pub(crate) fn newest(&self) -> io::Result<Option<(Header, SnapshotFile)>> {
        let names = self.disk.list(&self.dir)?;
        let Some(name) = names.iter().rfind(|name| name.ends_with(".snap")) else {
            return Ok(None);
        };
        let snapshot = SnapshotFile::open(&self.disk, self.dir.join(name))?;
        Ok(Some((self.header(&snapshot)?, snapshot)))
    }

    fn header(&self, snapshot: &SnapshotFile) -> io::Result<Header> {
        let mut bytes = vec![0; (snapshot.bytes as usize).min(HEADER_MAX + 16)];
        snapshot.read_at(0, &mut bytes)?;
        match read_header(&bytes) {
            Ok((header, _)) => Ok(header),
            Err(why) => Err(why.of(&snapshot.path)),
        }
    }

    /// A new file for a snapshot that is not whole yet.
    pub(crate) fn temporary(&self) -> io::Result<(Arc<dyn DiskFile>, Unfinished)> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{count}.tmp"));
        let file = create_anew(&*self.disk, &path)?;
        let disk = self.disk.clone();
        Ok((file, Unfinished { path, disk }))
    }

    /// Writes a snapshot whose state, of this level, `write` puts out.
    pub(crate) fn write(
        &self,
        level: Level,
        last: Option<own::LogId>,
        members: Members,
        former: BTreeSet<u64>,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<SnapshotFile> {
        let header = Header {
            format: FORMAT,
            level,
            cluster: self.cluster.clone(),
            last,
            members,
            former,
        };
        let body = codec::encode(&header).expect("numbers and strings always encode");
        let (file, unfinished) = self.temporary()?;
        let mut begin = MAGIC.to_vec();
        begin.extend_from_slice(&(body.len() as u32).to_le_bytes());
        begin.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        begin.extend_from_slice(&body);
        file.write_at(0, &begin)?;
        let checked = Checked {
            out: &*file,
            start: begin.len() as u64,
            crc: crc32fast::Hasher::new(),
            bytes: 0,
        };
        let mut out = BufWriter::with_capacity(1 << 20, checked);
        write(&mut out)?;
        let Checked {
            start, crc, bytes, ..
        } = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        let mut trailer = bytes.to_le_bytes().to_vec();
        trailer.extend_from_slice(&crc.finalize().to_le_bytes());
        file.write_at(start + bytes, &trailer)?;
        file.sync()?;
        self.adopt(&unfinished.path, last)
    }

    /// Opens a file made by [`Store::temporary`] that is complete and synced; refuses one that this release cannot read.
    pub(crate) fn received(&self, path: &Unfinished) -> io::Result<SnapshotFile> {
        let snapshot = SnapshotFile::open(&self.disk, path.path.clone())?;
        self.header(&snapshot)?;
        Ok(snapshot)
    }

    /// Gives a whole, synced file its name and removes older snapshots.
    pub(crate) fn adopt(&self, from: &Path, last: Option<own::LogId>) -> io::Result<SnapshotFile> {
        let last = last.unwrap_or_default();
        let path = self.dir.join(format!(
            "{:020}-{:010}-{}.snap",
            last.index, last.term, last.node
        ));
        if path != from {
            self.disk.rename(from, &path)?;
            self.disk.sync_dir(&self.dir)?;
        }
        // Before older ones are removed: this one may be among them, if newer ones were received while it waited for
        // room on the disk. Open it stays readable.
        let adopted = SnapshotFile::open(&self.disk, path)?;
        let mut names: Vec<String> = self.disk.list(&self.dir)?;
        names.retain(|name| name.ends_with(".snap"));
        let old = names.len().saturating_sub(KEPT);
        for name in names.iter().take(old) {
            self.disk.remove(&self.dir.join(name))?;
        }
        Ok(adopted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::SimDisk;

    #[test]
    fn a_snapshot_that_newer_ones_have_overtaken_is_no_error_and_not_the_newest() {
        let identity = Identity {
            cluster: "c".into(),
            node: 1,
        };
        let disk = AnyDisk(Arc::new(SimDisk::default()));
        let (store, _) = Store::open(disk, Path::new("/snapshots"), &identity).expect("opens");
        let write = |index| {
            let last = own::LogId {
                index,
                ..own::LogId::default()
            };
            let text = format!("state {index}");
            let state = |out: &mut dyn Write| out.write_all(text.as_bytes());
            store
                .write(
                    SPOKEN,
                    Some(last),
                    Members::default(),
                    BTreeSet::new(),
                    state,
                )
                .expect("is written")
        };
        write(284);
        write(341);
        let (_, late) = write(227).load().expect("is sound");
        assert_eq!(late, b"state 227");
        let (header, newest) = store.newest().expect("is read").expect("is there");
        assert_eq!(header.last.map(|last| last.index), Some(341));
        assert_eq!(newest.load().expect("is sound").1, b"state 341");
    }
}
