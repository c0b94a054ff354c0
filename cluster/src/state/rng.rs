//! The dice of `apply`: seeded by the log entry, so that every node throws alike.

/// A splitmix64 stream.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// A stream of its own for each pair of seed and salt.
    pub(super) fn new(seed: u64, salt: u64) -> Self {
        let mut rng = Rng(seed ^ salt.wrapping_mul(0xd6e8_feb8_6659_fd93));
        rng.next();
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`; 0 when `bound` is 0.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        if bound < 2 {
            return 0;
        }
        // Draws from the ragged end of the range would favour small results, so they are thrown again.
        let whole = u64::MAX - u64::MAX % u64::from(bound);
        loop {
            let draw = self.next();
            if draw < whole {
                return (draw % u64::from(bound)) as u32;
            }
        }
    }
}
