//! Records as bytes: what the replicated outbox carries and peers send to each other.
//!
//! The only user of bincode in this room. The first byte is the version of what follows. bincode
//! knows no field names: a change of [`Cdr`](crate::record::Cdr), [`Axb`](crate::record::Axb) or
//! anything in them needs a new version, whose writing the cluster has to agree on first (nodes
//! that apply one log must produce equal bytes). Old versions stay readable.

use bytes::Bytes;

use crate::record::Record;

/// The version that [`encode`] writes.
pub const VERSION: u8 = 1;
/// No encoded record is longer, so no reader needs to take more.
pub const BYTES_MAX: usize = 16 * 1024;

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// There is no byte at all.
    #[error("record is empty")]
    Empty,
    /// Longer than [`BYTES_MAX`].
    #[error("record of {0} bytes is too long")]
    TooLong(usize),
    /// Written by a newer release, or not by us.
    #[error("record version {0} is unknown")]
    Version(u8),
    /// The version is known, the rest does not follow it.
    #[error("record is malformed")]
    Malformed(#[source] bincode::error::DecodeError),
    /// A whole record, and something behind it.
    #[error("record has {0} bytes too many")]
    Trailing(usize),
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<BYTES_MAX>()
}

/// A record as bytes. Those of [`close`](crate::usage::close) always fit; one assembled by other
/// means with texts beyond its bounds is refused.
pub fn encode(record: &Record) -> Result<Bytes, CodecError> {
    let mut bytes = Vec::with_capacity(384);
    bytes.push(VERSION);
    bincode::serde::encode_into_std_write(record, &mut bytes, config())
        .expect("a record has no part that bincode refuses and memory takes every write");
    if bytes.len() > BYTES_MAX {
        return Err(CodecError::TooLong(bytes.len()));
    }
    Ok(bytes.into())
}

/// The record that the bytes hold.
pub fn decode(bytes: &[u8]) -> Result<Record, CodecError> {
    if bytes.len() > BYTES_MAX {
        return Err(CodecError::TooLong(bytes.len()));
    }
    let (&version, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if version != VERSION {
        return Err(CodecError::Version(version));
    }
    let (record, read) =
        bincode::serde::decode_from_slice(body, config()).map_err(CodecError::Malformed)?;
    match body.len() - read {
        0 => Ok(record),
        more => Err(CodecError::Trailing(more)),
    }
}
