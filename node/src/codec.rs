//! The one place of this room that turns values into bytes and back.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most bytes that are decoded.
const BYTES_MAX: usize = 8 << 20;

/// Encodes a value; empty, with a line in the log, for one that has no encoding.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard()).unwrap_or_else(|error| {
        tracing::error!(%error, "value cannot be encoded");
        Vec::new()
    })
}

/// Reads what [`encode`] wrote; `None` for damaged bytes or too many of them.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let config = bincode::config::standard().with_limit::<BYTES_MAX>();
    bincode::serde::decode_from_slice(bytes, config)
        .ok()
        .map(|(value, _)| value)
}
