//! Numbers as keys of tables.
//!
//! Nearly every number is at most 16 of the digits, `*`, `#` and `+`, and is packed into 64 bits, so that comparing two
//! keys touches no memory but the keys, and four of them lie on a cache line. Whatever else a caller may dial stays a
//! text. Equal texts give equal keys.

use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Digits {
    /// Four bits a character; no character is 0, so lengths tell texts apart.
    Packed(u64),
    Text(Arc<str>),
}

const PACKED_MAX: usize = 16;
/// Characters by their four bits.
const CHARACTERS: [char; 16] = [
    '\0', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', '+', '\0', '\0',
];

const _: () = assert!(size_of::<Digits>() == 16, "what lies on a cache line grows");

impl From<&str> for Digits {
    fn from(text: &str) -> Self {
        let mut packed = 0u64;
        if text.len() > PACKED_MAX {
            return Digits::Text(Arc::from(text));
        }
        for c in text.bytes() {
            let nibble = match c {
                b'0'..=b'9' => c - b'0' + 1,
                b'*' => 11,
                b'#' => 12,
                b'+' => 13,
                _ => return Digits::Text(Arc::from(text)),
            };
            packed = packed << 4 | u64::from(nibble);
        }
        Digits::Packed(packed)
    }
}

impl Digits {
    /// No number.
    pub(super) const NONE: Digits = Digits::Packed(0);

    /// The number as a text.
    pub(super) fn text(&self) -> String {
        match self {
            Digits::Packed(packed) => {
                let length = (u64::BITS - packed.leading_zeros()).div_ceil(4);
                let characters = (0..length).rev().map(|place| packed >> (4 * place) & 15);
                characters.map(|c| CHARACTERS[c as usize]).collect()
            }
            Digits::Text(text) => text.to_string(),
        }
    }
}

impl Hash for Digits {
    /// A packed number is one word and nothing else: the tables that it is a key of are asked several times a call.
    /// A text that hashes alike is told apart by comparison.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Digits::Packed(packed) => state.write_u64(*packed),
            Digits::Text(text) => text.hash(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_equal_where_texts_are(one in "[0-2*#+a]{0,18}", other in "[0-2*#+a]{0,4}") {
            prop_assert_eq!(Digits::from(&*one) == Digits::from(&*other), one == other);
            prop_assert_eq!(Digits::from(&*one), Digits::from(&*one.clone()));
        }

        #[test]
        fn a_key_tells_its_text(text in "[0-9*#+a]{0,18}") {
            prop_assert_eq!(Digits::from(&*text).text(), text);
        }
    }
}
