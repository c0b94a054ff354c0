//! Numbers as keys of tables.
//!
//! Nearly every number is at most 32 of the digits, `*`, `#` and `+`, and is packed into 128 bits, so that comparing
//! two keys touches no memory but the keys. Whatever else a caller may dial stays a text. Equal texts give equal keys.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Digits {
    /// Four bits a character; no character is 0, so lengths tell texts apart.
    Packed(u128),
    Text(Arc<str>),
}

const PACKED_MAX: usize = 32;

impl From<&str> for Digits {
    fn from(text: &str) -> Self {
        let mut packed = 0u128;
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
            packed = packed << 4 | u128::from(nibble);
        }
        Digits::Packed(packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_equal_where_texts_are(one in "[0-2*#+a]{0,34}", other in "[0-2*#+a]{0,4}") {
            prop_assert_eq!(Digits::from(&*one) == Digits::from(&*other), one == other);
            prop_assert_eq!(Digits::from(&*one), Digits::from(&*one.clone()));
        }
    }
}
