//! The payload of an entry: the leader's clock, a seed, and commands that stay encoded until they are applied.
//!
//! `[level u8][at u64][seed u64][count u32]` and per command `[length u32] bytes`, little endian. The level is the
//! lowest that reads all of its commands; it stands first so that every release can tell it.

use crate::level::{self, Level, TooNew};
use crate::wal::record::{BadRecord, Cursor};
use bytes::Bytes;

const HEADER: usize = 21;

/// Why an entry's content cannot be read. The node must stop, not skip it: the states of the nodes would part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    /// A newer release wrote it.
    #[error(transparent)]
    TooNew(#[from] TooNew),
    /// It is none.
    #[error(transparent)]
    Bad(#[from] BadRecord),
}

/// The content of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Leader's wall clock, milliseconds since 1970.
    pub(crate) at: u64,
    /// Decides every choice made in it.
    pub(crate) seed: u64,
    /// Encoded commands; they share the entry's bytes.
    pub(crate) commands: Vec<Bytes>,
}

/// Encodes a batch whose commands are of `level` or lower ones.
pub(crate) fn encode<'a>(
    level: Level,
    at: u64,
    seed: u64,
    commands: impl Iterator<Item = &'a Bytes> + Clone,
) -> Bytes {
    let size: usize = commands.clone().map(|command| 4 + command.len()).sum();
    let mut out = Vec::with_capacity(HEADER + size);
    out.push(level);
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&seed.to_le_bytes());
    put_list(commands, &mut out);
    out.into()
}

/// Decodes a batch, on a node that speaks levels up to `spoken`.
pub(crate) fn decode(bytes: &Bytes, spoken: Level) -> Result<Batch, BatchError> {
    let mut cursor = Cursor(bytes);
    let level = cursor.u8()?;
    if level < level::FIRST {
        return Err(BadRecord("entry is of no level").into());
    }
    level::check(|| "entry".to_owned(), level, spoken)?;
    let (at, seed) = (cursor.u64()?, cursor.u64()?);
    Ok(Batch {
        at,
        seed,
        commands: take_list(&bytes.slice(HEADER - 4..))?,
    })
}

/// Writes a list of byte strings.
pub(crate) fn put_list<'a>(list: impl Iterator<Item = &'a Bytes> + Clone, out: &mut Vec<u8>) {
    let count = list.clone().count() as u32;
    out.extend_from_slice(&count.to_le_bytes());
    for item in list {
        out.extend_from_slice(&(item.len() as u32).to_le_bytes());
        out.extend_from_slice(item);
    }
}

/// Reads what [`put_list`] wrote; the items share `bytes`.
pub(crate) fn take_list(bytes: &Bytes) -> Result<Vec<Bytes>, BadRecord> {
    let mut cursor = Cursor(bytes);
    let count = cursor.u32()? as usize;
    let mut list = Vec::with_capacity(count.min(bytes.len() / 4));
    for _ in 0..count {
        let length = cursor.u32()? as usize;
        list.push(bytes.slice_ref(cursor.take(length)?));
    }
    match cursor.0.is_empty() {
        true => Ok(list),
        false => Err(BadRecord("bytes left over behind a list")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layout_is_frozen() {
        let commands = [Bytes::from_static(b"ab"), Bytes::from_static(b"")];
        let bytes = encode(1, 258, 3, commands.iter());
        #[rustfmt::skip]
        assert_eq!(bytes[..], [
            1, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 0, 0, 2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0,
        ]);
        assert_eq!(
            decode(&bytes, 1),
            Ok(Batch {
                at: 258,
                seed: 3,
                commands: commands.to_vec()
            })
        );
    }

    #[test]
    fn an_entry_of_a_higher_level_is_told_from_damage() {
        let bytes = encode(3, 258, 3, [].iter());
        assert!(decode(&bytes, 3).is_ok());
        let error = decode(&bytes, 2).expect_err("is refused");
        assert_eq!(
            error.to_string(),
            "entry is of level 3, this node speaks 2: run a newer release on it"
        );
        let none = decode(&Bytes::from_static(&[0; HEADER]), 2);
        assert!(matches!(none, Err(BatchError::Bad(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&Bytes::from(bytes), 2);
        }
    }
}
