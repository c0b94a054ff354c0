//! The log's own types and their bytes, frozen here so that a new release of the consensus library changes neither
//! what lies on disk nor what travels between nodes.
//!
//! All numbers are little endian. A *block* is what one write puts on disk and one sync makes durable:
//! `[length u32][crc u32][sequence u64] record…`, the length counting the records and the checksum covering sequence
//! and records. A record is `[length u32][crc u32][kind u8] body`, its length counting kind and body. The sequence
//! rises by one with every block of a log, across segments.

use crate::codec;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes before the records of a block.
pub const BLOCK_HEADER: usize = 16;
/// Bytes before a record's kind.
pub const RECORD_HEADER: usize = 8;
/// Largest body of a block: a batch of appends, cut by the writer well below this.
pub const BLOCK_MAX: usize = 128 * 1024 * 1024;

/// Names an entry: who appended it and where.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogId {
    /// Term of the leader that appended it.
    pub term: u64,
    /// That leader.
    pub node: u64,
    /// Place in the log, from 0.
    pub index: u64,
}

impl std::fmt::Display for LogId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.term, self.node, self.index)
    }
}

/// Whom this node voted for, or follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Vote {
    /// Term.
    pub term: u64,
    /// Candidate or leader.
    pub node: u64,
    /// A quorum granted it.
    pub committed: bool,
}

/// Who takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// One set of voters, or two while a change is under way.
    pub configs: Vec<Vec<u64>>,
    /// Every node, voters and learners, with its address.
    pub nodes: Vec<(u64, String)>,
}

/// What an entry carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: a new leader's first entry.
    Blank,
    /// Commands, encoded by the leader.
    Normal(Bytes),
    /// A change of members.
    Membership(Membership),
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub id: LogId,
    /// What it carries.
    pub payload: Payload,
}

/// A change to the log, in the order of the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The vote now.
    Vote(Vote),
    /// An entry behind the last one.
    Entry(Entry),
    /// Entries from this index on are gone.
    Truncate(u64),
    /// Entries up to and with this one are gone.
    Purge(LogId),
    /// Entries up to this one are known to be committed.
    Committed(LogId),
}

const VOTE: u8 = 1;
const ENTRY: u8 = 2;
const TRUNCATE: u8 = 3;
const PURGE: u8 = 4;
const COMMITTED: u8 = 5;

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Bytes that are no record, or no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes are not a log record: {0}")]
pub struct BadRecord(pub &'static str);

/// Reads little-endian numbers off the front of bytes.
pub(crate) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], BadRecord> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(BadRecord("too short"))?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, BadRecord> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, BadRecord> {
        let bytes = self.take(4)?.try_into().expect("take returned four bytes");
        Ok(u32::from_le_bytes(bytes))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, BadRecord> {
        let bytes = self.take(8)?.try_into().expect("take returned eight bytes");
        Ok(u64::from_le_bytes(bytes))
    }

    pub(crate) fn log_id(&mut self) -> Result<LogId, BadRecord> {
        Ok(LogId {
            term: self.u64()?,
            node: self.u64()?,
            index: self.u64()?,
        })
    }

    pub(crate) fn vote(&mut self) -> Result<Vote, BadRecord> {
        let (term, node) = (self.u64()?, self.u64()?);
        let committed = match self.u8()? {
            0 => false,
            1 => true,
            _ => return Err(BadRecord("vote is neither committed nor not")),
        };
        Ok(Vote {
            term,
            node,
            committed,
        })
    }

    /// An optional log id: a flag, then the id.
    pub(crate) fn maybe_log_id(&mut self) -> Result<Option<LogId>, BadRecord> {
        match self.u8()? {
            0 => Ok(None),
            1 => Ok(Some(self.log_id()?)),
            _ => Err(BadRecord("log id is neither there nor not")),
        }
    }
}

pub(crate) fn put_log_id(id: &LogId, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.term.to_le_bytes());
    out.extend_from_slice(&id.node.to_le_bytes());
    out.extend_from_slice(&id.index.to_le_bytes());
}

pub(crate) fn put_maybe_log_id(id: Option<&LogId>, out: &mut Vec<u8>) {
    match id {
        None => out.push(0),
        Some(id) => {
            out.push(1);
            put_log_id(id, out);
        }
    }
}

pub(crate) fn put_vote(vote: &Vote, out: &mut Vec<u8>) {
    out.extend_from_slice(&vote.term.to_le_bytes());
    out.extend_from_slice(&vote.node.to_le_bytes());
    out.push(u8::from(vote.committed));
}

impl Entry {
    /// Writes the entry's bytes, alike on disk and between nodes: log id, kind of payload, payload.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_log_id(&self.id, out);
        match &self.payload {
            Payload::Blank => out.push(BLANK),
            Payload::Normal(bytes) => {
                out.push(NORMAL);
                out.extend_from_slice(bytes);
            }
            Payload::Membership(membership) => {
                out.push(MEMBERSHIP);
                codec::encode_into(membership, out).expect("numbers and strings always encode");
            }
        }
    }

    /// Reads what [`Entry::put`] wrote; the payload shares `bytes`.
    pub fn take(bytes: &Bytes) -> Result<Entry, BadRecord> {
        let mut cursor = Cursor(bytes);
        let id = cursor.log_id()?;
        let kind = cursor.u8()?;
        let rest = bytes.slice(bytes.len() - cursor.0.len()..);
        let payload = match kind {
            BLANK if rest.is_empty() => Payload::Blank,
            BLANK => return Err(BadRecord("blank entry has a payload")),
            NORMAL => Payload::Normal(rest),
            MEMBERSHIP => Payload::Membership(
                codec::decode(&rest).map_err(|_| BadRecord("membership does not decode"))?,
            ),
            _ => return Err(BadRecord("unknown kind of entry")),
        };
        Ok(Entry { id, payload })
    }

    /// Bytes that the payload holds in memory, about.
    pub fn weight(&self) -> usize {
        match &self.payload {
            Payload::Blank => 0,
            Payload::Normal(bytes) => bytes.len(),
            Payload::Membership(membership) => 64 * (1 + membership.nodes.len()),
        }
    }
}

impl Record {
    /// Writes the record with its header behind what `out` holds.
    pub fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; RECORD_HEADER]);
        match self {
            Record::Vote(vote) => {
                out.push(VOTE);
                put_vote(vote, out);
            }
            Record::Entry(entry) => {
                out.push(ENTRY);
                entry.put(out);
            }
            Record::Truncate(from) => {
                out.push(TRUNCATE);
                out.extend_from_slice(&from.to_le_bytes());
            }
            Record::Purge(id) => {
                out.push(PURGE);
                put_log_id(id, out);
            }
            Record::Committed(id) => {
                out.push(COMMITTED);
                put_log_id(id, out);
            }
        }
        let body = start + RECORD_HEADER;
        let length = (out.len() - body) as u32;
        let crc = crc32fast::hash(&out[body..]);
        out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        out[start + 4..body].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the record at the front of `bytes` and says how many bytes it took.
    pub fn take(bytes: &Bytes) -> Result<(Record, usize), BadRecord> {
        let mut cursor = Cursor(bytes);
        let length = cursor.u32()? as usize;
        let crc = cursor.u32()?;
        let body = cursor.take(length)?;
        if crc32fast::hash(body) != crc {
            return Err(BadRecord("checksum differs"));
        }
        let end = RECORD_HEADER + length;
        let mut cursor = Cursor(body);
        let record = match cursor.u8()? {
            VOTE => Record::Vote(cursor.vote()?),
            ENTRY => {
                return Ok((
                    Record::Entry(Entry::take(&bytes.slice(RECORD_HEADER + 1..end))?),
                    end,
                ));
            }
            TRUNCATE => Record::Truncate(cursor.u64()?),
            PURGE => Record::Purge(cursor.log_id()?),
            COMMITTED => Record::Committed(cursor.log_id()?),
            _ => return Err(BadRecord("unknown kind")),
        };
        match cursor.0.is_empty() {
            true => Ok((record, end)),
            false => Err(BadRecord("bytes left over")),
        }
    }
}

/// Starts a block in an empty buffer.
pub fn begin_block(out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; BLOCK_HEADER]);
}

/// Fills in the header of the block that `out` holds.
pub fn finish_block(sequence: u64, out: &mut [u8]) {
    let length = (out.len() - BLOCK_HEADER) as u32;
    out[8..16].copy_from_slice(&sequence.to_le_bytes());
    let crc = crc32fast::hash(&out[8..]);
    out[..4].copy_from_slice(&length.to_le_bytes());
    out[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// The block at the front of `bytes`: its sequence and its records' bytes. `None` when there is no whole, sound one.
pub fn take_block(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut cursor = Cursor(bytes);
    let length = cursor.u32().ok()? as usize;
    let crc = cursor.u32().ok()?;
    if length == 0 || length > BLOCK_MAX || bytes.len() < BLOCK_HEADER + length {
        return None;
    }
    if crc32fast::hash(&bytes[8..BLOCK_HEADER + length]) != crc {
        return None;
    }
    Some((cursor.u64().ok()?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let id = LogId {
            term: 3,
            node: 2,
            index: 9,
        };
        vec![
            Record::Vote(Vote {
                term: 7,
                node: 1,
                committed: true,
            }),
            Record::Entry(Entry {
                id,
                payload: Payload::Blank,
            }),
            Record::Entry(Entry {
                id,
                payload: Payload::Normal(Bytes::from_static(b"abc")),
            }),
            Record::Entry(Entry {
                id,
                payload: Payload::Membership(Membership {
                    configs: vec![vec![1, 2, 3]],
                    nodes: vec![(1, "a:1".into())],
                }),
            }),
            Record::Truncate(5),
            Record::Purge(id),
            Record::Committed(id),
        ]
    }

    #[test]
    fn records_survive_their_bytes() {
        for record in records() {
            let mut out = Vec::new();
            record.put(&mut out);
            let bytes = Bytes::from(out);
            assert_eq!(Record::take(&bytes), Ok((record, bytes.len())));
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused() {
        for record in records() {
            let mut out = Vec::new();
            record.put(&mut out);
            for cut in 0..out.len() {
                assert!(
                    Record::take(&Bytes::copy_from_slice(&out[..cut])).is_err(),
                    "{record:?} cut at {cut}"
                );
            }
            for bit in 0..out.len() * 8 {
                let mut bad = out.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    Record::take(&Bytes::from(bad)).is_err(),
                    "{record:?} with bit {bit} flipped"
                );
            }
        }
    }

    #[test]
    fn layout_of_an_entry_is_frozen() {
        let mut out = Vec::new();
        let entry = Entry {
            id: LogId {
                term: 3,
                node: 2,
                index: 9,
            },
            payload: Payload::Normal(Bytes::from_static(b"abc")),
        };
        Record::Entry(entry).put(&mut out);
        #[rustfmt::skip]
        assert_eq!(out, [
            29, 0, 0, 0, 225, 195, 59, 234, 2,
            3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,
            1, b'a', b'b', b'c',
        ]);
    }
}
