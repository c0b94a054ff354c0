//! The only user of bincode in this room.
//!
//! Whatever is stored or sent goes through [`encode`] and [`decode`]: bincode 2's standard layout (varints, little
//! endian) over serde. The layout is positional: enums are append-only and structs never change shape. Bytes from
//! outside are decoded under a size limit, and bytes left over are an error.
//!
//! # Bringing in something new
//!
//! Nodes of two releases run beside each other, and each may go back to the older one until the cluster's
//! [level](crate::level) has risen. So all bytes are frozen: `cluster/fixtures/level-N` holds a sample of everything
//! that came with level N, and a test fails when one of them is written or read otherwise. What changes comes with a
//! new level, [`SPOKEN`](crate::level::SPOKEN) plus one:
//!
//! - **A command, a reply, a refusal, a question between nodes**: a variant appended to its enum. A command says its
//!   level in [`Command::needs`](crate::command::Command::needs); before the cluster is there, proposing it is an error,
//!   so the proposer looks at [`Handle::level`](crate::handle::Handle::level) and does it the old way as long as there is
//!   one. A reply or refusal may only answer a command of its own level or later.
//! - **A field of a command**: a new variant with a new struct that holds the old one (as
//!   [`ClaimAt`](crate::command::ClaimAt) holds a [`Claim`](crate::command::Claim)).
//! - **A new part of the state**: a struct of its own behind those that are there, written from its level on (as
//!   `Since2` of [`State`](crate::state::State)); its `Default` is what states of a lower level are read as.
//! - **A field of a row that is there**: best beside it, in a map of the new part. Where that does not do, the old
//!   struct stays under a name with its level, is what is read from states of lower levels, and a function makes the new
//!   one of it; and the state is written in the old form until the level has risen.
//! - **What `apply` or the biller does with a command that is there**: the same on all nodes, whatever their release.
//!   Other behaviour looks at [`State::level`](crate::state::State::level).
//! - **The handshake and the answer to a ping** grow at their ends: they are read by [`decode_front`], and who does not
//!   know what stands there does not read it.
//! - **Frames of segments, snapshots and backups** have a format of their own that changes only together with a level.
//!
//! Then the test `write_fixtures` (ignored otherwise) writes the samples of the new level. Those of a level that was
//! released are never written again.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most bytes one decoded value may claim: larger than any frame or snapshot section, small enough that a lying
/// length cannot exhaust memory.
pub const LIMIT_BYTES: usize = 256 * 1024 * 1024;

/// Why a value could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value has no encoding.
    #[error("value cannot be encoded")]
    Encode(#[source] bincode::error::EncodeError),
    /// The bytes are not such a value.
    #[error("bytes are not a valid `{what}`")]
    Decode {
        /// Type wanted.
        what: &'static str,
        /// What bincode says.
        #[source]
        source: bincode::error::DecodeError,
    },
    /// The bytes hold a value and then more.
    #[error("{left} bytes left over behind a `{what}`")]
    LeftOver {
        /// Type wanted.
        what: &'static str,
        /// How many.
        left: usize,
    },
}

impl CodecError {
    /// What the stream that was written to said, if that was the reason.
    pub fn io(&self) -> Option<std::io::ErrorKind> {
        match self {
            CodecError::Encode(bincode::error::EncodeError::Io { inner, .. }) => Some(inner.kind()),
            _ => None,
        }
    }
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<LIMIT_BYTES>()
}

/// Encodes a value.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    bincode::serde::encode_to_vec(value, config()).map_err(CodecError::Encode)
}

/// Encodes a value behind what `out` already holds.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    struct Tail<'a>(&'a mut Vec<u8>);
    impl bincode::enc::write::Writer for Tail<'_> {
        fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    bincode::serde::encode_into_writer(value, Tail(out), config()).map_err(CodecError::Encode)
}

/// Encodes a value into a stream, returning the bytes written.
pub fn encode_to<T: Serialize + ?Sized, W: std::io::Write>(
    value: &T,
    out: &mut W,
) -> Result<usize, CodecError> {
    bincode::serde::encode_into_std_write(value, out, config()).map_err(CodecError::Encode)
}

/// Decodes a value that fills `bytes` exactly.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let what = std::any::type_name::<T>();
    let (value, used) = bincode::serde::decode_from_slice(bytes, config())
        .map_err(|source| CodecError::Decode { what, source })?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(CodecError::LeftOver { what, left }),
    }
}

/// Decodes a value off the front of `bytes`. What stands behind it a newer release has added.
pub fn decode_front<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let what = std::any::type_name::<T>();
    bincode::serde::decode_from_slice(bytes, config())
        .map(|(value, _)| value)
        .map_err(|source| CodecError::Decode { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Plain,
        Named {
            number: u64,
            text: String,
            maybe: Option<i64>,
        },
    }

    #[test]
    fn layout_is_frozen() {
        let value = Sample::Named {
            number: 300,
            text: "ab".into(),
            maybe: Some(-1),
        };
        let bytes = encode(&value).expect("encodes");
        assert_eq!(bytes, [1, 0xfb, 0x2c, 0x01, 2, b'a', b'b', 1, 1]);
        assert_eq!(decode::<Sample>(&bytes).expect("decodes"), value);
        let mut out = vec![9];
        encode_into(&Sample::Plain, &mut out).expect("encodes");
        assert_eq!(out, [9, 0]);
    }

    #[test]
    fn bytes_left_over_are_refused() {
        assert!(matches!(
            decode::<u8>(&[1, 2]),
            Err(CodecError::LeftOver { left: 1, .. })
        ));
        assert_eq!(decode_front::<u8>(&[1, 2]).expect("decodes"), 1);
    }

    #[test]
    fn a_lying_length_is_refused_without_allocating() {
        // A vector that claims 2^60 bytes.
        let bytes = [0xfd, 0, 0, 0, 0, 0, 0, 0, 16];
        assert!(decode::<Vec<u8>>(&bytes).is_err());
        assert!(decode::<String>(&bytes).is_err());
    }
}
