//! The two dialogs of an answered call as they lie in the replicated state.
//!
//! The cluster keeps the bytes without reading them; a node that takes a call over reads them here. A version byte
//! stands in front.

use serde::{Deserialize, Serialize};
use tandem_sip::dialog::Dialog;

use crate::codec;

const VERSION: u8 = 1;

/// What another node needs to carry the call on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Towards the caller.
    pub caller: Option<Dialog>,
    /// Towards the callee.
    pub callee: Option<Dialog>,
}

/// Encodes both dialogs.
pub fn encode(caller: Option<Dialog>, callee: Option<Dialog>) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(codec::encode(&Handover { caller, callee }));
    bytes
}

/// Reads what [`encode`] wrote; `None` for an unknown version or damaged bytes.
pub fn decode(bytes: &[u8]) -> Option<Handover> {
    match bytes.split_first()? {
        (&VERSION, rest) => codec::decode(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dialogs_survive_the_way_through_the_state() {
        let bytes = encode(None, None);
        assert_eq!(bytes[0], VERSION);
        assert_eq!(
            decode(&bytes),
            Some(Handover {
                caller: None,
                callee: None
            })
        );
        assert_eq!(decode(&[9, 0, 0]), None);
        assert_eq!(decode(&[]), None);
    }
}
