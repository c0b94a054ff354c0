//! A hash of the content, alike on all nodes and in all builds.

use super::State;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;

/// Eight bytes at a time, multiplied and folded: quick, stable, and not meant against adversaries.
struct Fold {
    hash: u64,
    pending: [u8; 8],
    filled: usize,
    length: u64,
}

impl Fold {
    fn new() -> Self {
        Fold {
            hash: 0xcbf2_9ce4_8422_2325,
            pending: [0; 8],
            filled: 0,
            length: 0,
        }
    }

    fn word(&mut self, word: u64) {
        let wide = u128::from(self.hash ^ word) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
        let folded = (wide >> 64) as u64 ^ wide as u64;
        // A word that meets its own hash would leave zero, and all that follows would hash alike.
        self.hash = folded.rotate_left(23).wrapping_add(0xf39c_c060_5ced_c835);
    }

    fn finish(mut self) -> u64 {
        self.pending[self.filled..].fill(0);
        self.word(u64::from_le_bytes(self.pending));
        self.word(self.length);
        self.hash
    }
}

impl Writer for Fold {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), EncodeError> {
        self.length += bytes.len() as u64;
        if self.filled > 0 {
            let take = bytes.len().min(8 - self.filled);
            self.pending[self.filled..self.filled + take].copy_from_slice(&bytes[..take]);
            self.filled += take;
            bytes = &bytes[take..];
            if self.filled < 8 {
                return Ok(());
            }
            self.word(u64::from_le_bytes(self.pending));
            self.filled = 0;
        }
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.word(u64::from_le_bytes(
                word.try_into().expect("chunks of eight"),
            ));
        }
        let rest = words.remainder();
        self.pending[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
        Ok(())
    }
}

impl State {
    /// A hash of the whole content, alike on nodes that applied the same entries. Encodes everything: some 60 ms for
    /// 200,000 numbers and 50,000 bindings, so it is taken of a clone and not where commands are applied.
    pub fn hash(&self) -> u64 {
        let mut fold = Fold::new();
        bincode::serde::encode_into_writer(&self.content, &mut fold, bincode::config::standard())
            .expect("the content has no type that bincode refuses and the writer never fails");
        fold.finish()
    }
}
