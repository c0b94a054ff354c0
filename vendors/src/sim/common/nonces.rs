//! Which nonces have been used.

use std::collections::{HashSet, VecDeque};

use sha2::{Digest, Sha256};

/// Remembered at most; the oldest go first.
const NONCES_MAX: usize = 1_000_000;

/// The nonces of the recent past, each as the beginning of its digest.
#[derive(Debug, Default)]
pub struct Nonces {
    seen: HashSet<[u8; 16]>,
    order: VecDeque<(u64, [u8; 16])>,
}

impl Nonces {
    /// Whether a nonce comes for the first time within `keep_ms`. Remembers it.
    pub fn first_use(&mut self, nonce: &str, now_ms: u64, keep_ms: u64) -> bool {
        while let Some((at_ms, oldest)) = self.order.front() {
            if at_ms + keep_ms > now_ms && self.order.len() < NONCES_MAX {
                break;
            }
            self.seen.remove(oldest);
            self.order.pop_front();
        }
        let mut mark = [0; 16];
        mark.copy_from_slice(&Sha256::digest(nonce.as_bytes())[..16]);
        if !self.seen.insert(mark) {
            return false;
        }
        self.order.push_back((now_ms, mark));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_are_forgotten_when_their_time_has_passed() {
        let mut nonces = Nonces::default();
        for n in 0..10 {
            assert!(nonces.first_use(&n.to_string(), 0, 1000));
        }
        assert!(!nonces.first_use("3", 999, 1000));
        assert!(nonces.first_use("later", 1000, 1000));
        assert_eq!((nonces.seen.len(), nonces.order.len()), (1, 1));
    }
}
