//! phone.dat, the file in which China's mobile prefixes are passed around.
//!
//! Layout, numbers little-endian: 4 bytes of version (digits), 4 bytes offset of the first index entry; then records
//! `province|city|zip|area code` in UTF-8, each ended by a NUL; then index entries of 9 bytes to the end: the prefix of
//! seven digits (u32), the offset of its record (u32), the operator (u8). The file comes from outside: every offset is
//! checked.

use std::collections::HashMap;

/// Bytes before the records.
const HEAD: usize = 8;
/// Bytes of an index entry.
const ENTRY: usize = 9;
/// Entries at most.
pub const ENTRIES_MAX: usize = 1_000_000;
/// Bytes of a record at most.
const RECORD_MAX: usize = 512;

/// A prefix and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'f> {
    /// Its place in the index, counted from 1.
    pub number: u64,
    /// Seven digits.
    pub prefix: u32,
    /// 省
    pub province: &'f str,
    /// 市
    pub city: &'f str,
    /// 区号, mostly with its leading 0.
    pub area_code: &'f str,
}

/// A file that is no phone.dat.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not even its beginning fits.
    #[error("the file is no phone.dat: {0}")]
    Head(&'static str),
    /// More entries than there are prefixes.
    #[error("the file has more than {ENTRIES_MAX} entries")]
    TooMany,
    /// An entry leads nowhere.
    #[error("entry {number} of phone.dat: {why}")]
    Entry {
        /// Which, counted from 1.
        number: u64,
        /// What is wrong.
        why: &'static str,
    },
}

/// Reads all entries in the file's order.
pub fn read(bytes: &[u8]) -> Result<Vec<Entry<'_>>, Error> {
    let index = word(bytes, 4).ok_or(Error::Head("it is too short"))? as usize;
    let version = bytes.get(..4).unwrap_or_default();
    if !version.iter().all(u8::is_ascii_digit) {
        return Err(Error::Head("it does not begin with a version"));
    }
    if !(HEAD..=bytes.len()).contains(&index) {
        return Err(Error::Head("its index lies outside"));
    }
    let (records, entries) = bytes.split_at(index);
    if !entries.len().is_multiple_of(ENTRY) {
        return Err(Error::Head("its index is cut"));
    }
    if entries.len() / ENTRY > ENTRIES_MAX {
        return Err(Error::TooMany);
    }
    // Some hundred records serve half a million entries.
    let mut read: HashMap<usize, [&str; 3]> = HashMap::new();
    let mut found = Vec::with_capacity(entries.len() / ENTRY);
    for (number, entry) in (1..).zip(entries.chunks_exact(ENTRY)) {
        let fault = |why| Error::Entry { number, why };
        let cut = || fault("it is cut");
        let (prefix, offset) = (
            word(entry, 0).ok_or_else(cut)?,
            word(entry, 4).ok_or_else(cut)?,
        );
        let offset = offset as usize;
        let [province, city, area_code] = match read.get(&offset) {
            Some(record) => *record,
            None => {
                let record = record(records, offset).map_err(fault)?;
                read.insert(offset, record);
                record
            }
        };
        found.push(Entry {
            number,
            prefix,
            province,
            city,
            area_code,
        });
    }
    Ok(found)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}

fn record(records: &[u8], offset: usize) -> Result<[&str; 3], &'static str> {
    if offset < HEAD {
        return Err("its record lies outside");
    }
    let rest = records.get(offset..).ok_or("its record lies outside")?;
    let window = rest.get(..RECORD_MAX).unwrap_or(rest);
    let end = window
        .iter()
        .position(|byte| *byte == 0)
        .ok_or("its record has no end")?;
    let text = std::str::from_utf8(&window[..end]).map_err(|_| "its record is not UTF-8")?;
    let mut parts = text.split('|');
    match (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) {
        (Some(province), Some(city), Some(_zip), Some(area_code), None) => {
            Ok([province, city, area_code])
        }
        _ => Err("its record has not four parts"),
    }
}
