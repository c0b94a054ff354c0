//! Digests and MACs in the spellings that signatures have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use sm3::Sm3;

/// A hash function by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SM3.
    Sm3,
}

/// The digest of a text, lower-case hex.
pub fn digest(hash: Hash, text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    match hash {
        Hash::Md5 => hex::encode(Md5::digest(text)),
        Hash::Sha1 => hex::encode(Sha1::digest(text)),
        Hash::Sha256 => hex::encode(Sha256::digest(text)),
        Hash::Sm3 => hex::encode(Sm3::digest(text)),
    }
}

macro_rules! mac_of {
    ($hash:ty, $key:expr, $text:expr) => {{
        let mut mac = Hmac::<$hash>::new_from_slice($key).expect("hmac takes a key of any length");
        mac.update($text);
        mac.finalize().into_bytes().to_vec()
    }};
}

/// The HMAC of a text.
pub fn mac(hash: Hash, key: impl AsRef<[u8]>, text: impl AsRef<[u8]>) -> Vec<u8> {
    let (key, text) = (key.as_ref(), text.as_ref());
    match hash {
        Hash::Md5 => mac_of!(Md5, key, text),
        Hash::Sha1 => mac_of!(Sha1, key, text),
        Hash::Sha256 => mac_of!(Sha256, key, text),
        Hash::Sm3 => mac_of!(Sm3, key, text),
    }
}

/// A key that comes of a chain of HMAC-SHA256, each with the last one's outcome as its key.
pub fn derived(secret: impl AsRef<[u8]>, links: &[&str]) -> Vec<u8> {
    let first = secret.as_ref().to_vec();
    let link = |key, link| mac(Hash::Sha256, key, link);
    links.iter().fold(first, link)
}

/// Base64 with padding.
pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// The text that base64 stands for.
pub fn from_base64(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests_come_out() {
        for (hash, expected) in [
            (Hash::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (Hash::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                Hash::Sha256,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                Hash::Sm3,
                "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
            ),
        ] {
            assert_eq!(digest(hash, "abc"), expected, "{hash:?}");
        }
    }
}
