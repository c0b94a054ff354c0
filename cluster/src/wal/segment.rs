//! One file of the log: a header that repeats what the unlinked segments before it knew, then blocks.

use super::WalError;
use super::disk::{Disk, DiskError, DiskFile};
use super::record::{self, BLOCK_HEADER, BLOCK_MAX, LogId, Record, Vote};
use crate::codec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Version of the files' layout, blocks and kinds of records included. What every release can read of every format is
/// the header up to its own format: magic, length and checksum of the header, and the format first in it.
pub const FORMAT: u16 = 1;

const MAGIC: &[u8; 8] = b"TNDM-LOG";
const PREFIX: usize = 16;

/// Whose log it is. A directory of another cluster or node is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Cluster's id.
    pub cluster: String,
    /// Node's id in the cluster.
    pub node: u64,
}

/// What a log knows beside its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Last vote.
    pub vote: Option<Vote>,
    /// Entries up to this one are gone.
    pub purged: Option<LogId>,
    /// Entries up to this one are known to be committed; may lag behind the truth.
    pub committed: Option<LogId>,
}

/// First bytes of a segment. `format` stands first so that every later version can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u16,
    /// Whose.
    pub identity: Identity,
    /// Segments of a log are numbered without gaps.
    pub number: u64,
    /// Sequence of the first block.
    pub sequence: u64,
    /// What was known when the segment was begun.
    pub facts: Facts,
}

/// A block as read.
#[derive(Debug)]
pub struct Block {
    /// Offset of the block in the file.
    pub offset: u64,
    /// Its records with the offset in the file and length of each.
    pub records: Vec<(Record, u64, u32)>,
}

/// A segment as read.
#[derive(Debug)]
pub struct Contents {
    /// Its header.
    pub header: Header,
    /// Its sound blocks.
    pub blocks: Vec<Block>,
    /// Where the next block belongs.
    pub end: u64,
    /// Sequence of the next block.
    pub sequence: u64,
    /// Behind `end` lies something other than zeros: the rest of a write that a crash cut short.
    pub torn: bool,
}

/// Path of a segment.
pub fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.log"))
}

/// The number in a segment's name; `None` for other files.
pub fn number_of(name: &str) -> Option<u64> {
    let stem = name.strip_suffix(".log")?;
    (stem.len() == 16)
        .then(|| u64::from_str_radix(stem, 16).ok())
        .flatten()
}

/// Makes a segment with its header, durable together with its name, and returns where its first block belongs.
pub fn create(
    disk: &dyn Disk,
    dir: &Path,
    header: &Header,
) -> Result<(Arc<dyn DiskFile>, u64), WalError> {
    let path = path(dir, header.number);
    let created = create_at(disk, dir, &path, header);
    if matches!(&created, Err(WalError::Disk(DiskError::Full { .. }))) {
        // So that the next try finds the name free; where that fails too, recovery knows a creation that was cut short.
        let _ = disk.remove(&path);
    }
    created
}

fn create_at(
    disk: &dyn Disk,
    dir: &Path,
    path: &Path,
    header: &Header,
) -> Result<(Arc<dyn DiskFile>, u64), WalError> {
    let name = |doing| move |source| DiskError::new(doing, path, source);
    let file = disk.create(path).map_err(name("creation"))?;
    let body = codec::encode(header).expect("numbers and strings always encode");
    let mut bytes = Vec::with_capacity(PREFIX + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    file.write_at(0, &bytes).map_err(name("write"))?;
    file.sync().map_err(name("sync"))?;
    disk.sync_dir(dir).map_err(name("sync of the directory"))?;
    Ok((file, bytes.len() as u64))
}

/// Reads a segment. `Ok(None)`: its creation was cut short by a crash and nothing was ever acknowledged from it.
///
/// `expected` is the sequence at which the segment before it ended. Only the `last` segment may end in a torn write;
/// a bad block that has sound ones behind it is damage, never a torn write, since a block is begun only after the
/// one before it was synced.
pub fn read(
    file: &dyn DiskFile,
    path: &Path,
    identity: &Identity,
    expected: Option<u64>,
    last: bool,
) -> Result<Option<Contents>, WalError> {
    let io = |source| WalError::Disk(DiskError::new("read", path, source));
    let length = file.len().map_err(io)?;
    let mut bytes = vec![0; length as usize];
    file.read_at(0, &mut bytes).map_err(io)?;
    let bytes = Bytes::from(bytes);
    let corrupt = |offset: usize, what: &'static str| WalError::Corrupt {
        path: path.to_path_buf(),
        offset: offset as u64,
        what,
    };

    let Some((header, start)) = read_header(&bytes) else {
        return match last && find_block(&bytes, 0, expected.unwrap_or(1)).is_none() {
            true => Ok(None),
            false => Err(corrupt(0, "bad header")),
        };
    };
    let header = header.map_err(|found| WalError::Format {
        path: path.to_path_buf(),
        found,
    })?;
    if header.identity.cluster != identity.cluster {
        let (found, wanted) = (header.identity.cluster, identity.cluster.clone());
        return Err(WalError::OtherCluster {
            path: path.to_path_buf(),
            found,
            wanted,
        });
    }
    if header.identity.node != identity.node {
        let (found, wanted) = (header.identity.node, identity.node);
        return Err(WalError::OtherNode {
            path: path.to_path_buf(),
            found,
            wanted,
        });
    }
    if path.file_name().and_then(|name| number_of(name.to_str()?)) != Some(header.number) {
        return Err(corrupt(0, "file bears another segment's name"));
    }
    if expected.is_some_and(|expected| expected != header.sequence) {
        return Err(corrupt(0, "blocks are missing before this segment"));
    }

    let mut blocks = Vec::new();
    let mut offset = start;
    let mut sequence = header.sequence;
    while let Some((found, length)) = record::take_block(&bytes[offset..]) {
        if found != sequence {
            return Err(corrupt(offset, "block out of sequence"));
        }
        let end = offset + BLOCK_HEADER + length;
        let mut at = offset + BLOCK_HEADER;
        let mut records = Vec::new();
        while at < end {
            let (record, taken) = Record::take(&bytes.slice(at..end))
                .map_err(|record::BadRecord(what)| corrupt(at, what))?;
            records.push((record, at as u64, taken as u32));
            at += taken;
        }
        blocks.push(Block {
            offset: offset as u64,
            records,
        });
        offset = end;
        sequence += 1;
    }
    let torn = bytes[offset..].iter().any(|byte| *byte != 0);
    if torn && !last {
        return Err(corrupt(offset, "bad block before the last segment"));
    }
    if torn && find_block(&bytes, offset, header.sequence).is_some() {
        return Err(corrupt(offset, "bad block with sound ones behind it"));
    }
    Ok(Some(Contents {
        header,
        blocks,
        end: offset as u64,
        sequence,
        torn,
    }))
}

/// The header and where it ends; the inner error is the version of a layout that is not ours.
fn read_header(bytes: &[u8]) -> Option<(Result<Header, u16>, usize)> {
    let mut cursor = record::Cursor(bytes);
    if cursor.take(MAGIC.len()).ok()? != MAGIC {
        return None;
    }
    let length = cursor.u32().ok()? as usize;
    let crc = cursor.u32().ok()?;
    // Whatever its length: a header that is whole was written, perhaps by a newer release, and is no creation cut short.
    let body = cursor.take(length).ok()?;
    if body.is_empty() || crc32fast::hash(body) != crc {
        return None;
    }
    let format = match body {
        // A varint below 251 is one byte.
        [format @ 0..=250, ..] => u16::from(*format),
        _ => return Some((Err(u16::MAX), PREFIX + length)),
    };
    if format != FORMAT {
        return Some((Err(format), PREFIX + length));
    }
    // Whole, and yet not as we write it: told as another format rather than taken for a creation cut short.
    let header = codec::decode(body).map_err(|_| u16::MAX);
    Some((header, PREFIX + length))
}

/// The offset of a sound block anywhere at or behind `from` whose sequence is `lowest` or a little more.
fn find_block(bytes: &[u8], from: usize, lowest: u64) -> Option<usize> {
    let highest = lowest + bytes.len() as u64;
    (from..bytes.len().saturating_sub(BLOCK_HEADER)).find(|offset| {
        let mut cursor = record::Cursor(&bytes[*offset..]);
        let Ok(length) = cursor.u32() else {
            return false;
        };
        let (Ok(_), Ok(sequence)) = (cursor.u32(), cursor.u64()) else {
            return false;
        };
        // The cheap tests come first, so that the scan stays linear.
        length != 0
            && length as usize <= BLOCK_MAX
            && (lowest..=highest).contains(&sequence)
            && record::take_block(&bytes[*offset..]).is_some()
    })
}
