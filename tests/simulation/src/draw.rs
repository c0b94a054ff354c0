//! Draws of one seed that several owners share.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A source of draws; clones share it.
#[derive(Clone, Debug)]
pub struct Draw(Arc<Mutex<StdRng>>);

impl Draw {
    pub fn new(seed: u64) -> Draw {
        Draw(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    fn with<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&self, bound: u64) -> u64 {
        self.with(|rng| rng.random_range(0..bound))
    }

    /// Bytes.
    pub fn bytes(&self) -> [u8; 16] {
        self.with(|rng| rng.random())
    }
}

/// A seed for one of several purposes of a run (SplitMix64's step).
pub fn seed_for(seed: u64, purpose: u64) -> u64 {
    let mut z = seed.wrapping_add(purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
