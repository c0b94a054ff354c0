//! A token bucket over a millisecond clock: so many requests a second, a burst of one second's worth.

/// Tokens are counted in these parts, so that a share of a small rate is no rounding to nothing.
const PARTS: u64 = 1_000_000;

/// One interface's allowance on one node.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Parts a millisecond, at least 1.
    parts_per_ms: u64,
    /// At most one second's worth, and never less than a whole token fits.
    parts: u64,
    last_ms: u64,
}

impl Bucket {
    /// A full bucket for this node's share of `rate_per_s` requests a second. A rate of 0 is taken
    /// as 1, and so are 0 nodes.
    pub fn new(rate_per_s: u32, nodes: u32, now_ms: u64) -> Bucket {
        let parts_per_ms = share(rate_per_s, nodes);
        Bucket {
            parts_per_ms,
            parts: full(parts_per_ms),
            last_ms: now_ms,
        }
    }

    /// The number of nodes that share the rate has changed.
    pub fn share(&mut self, rate_per_s: u32, nodes: u32, now_ms: u64) {
        self.fill(now_ms);
        self.parts_per_ms = share(rate_per_s, nodes);
        self.parts = self.parts.min(full(self.parts_per_ms));
    }

    /// Takes one token.
    ///
    /// # Errors
    /// The milliseconds until there is one.
    pub fn take(&mut self, now_ms: u64) -> Result<(), u64> {
        self.fill(now_ms);
        if self.parts >= PARTS {
            self.parts -= PARTS;
            Ok(())
        } else {
            Err((PARTS - self.parts).div_ceil(self.parts_per_ms))
        }
    }

    fn fill(&mut self, now_ms: u64) {
        // A clock that went back adds nothing.
        let passed = now_ms.saturating_sub(self.last_ms);
        self.last_ms = self.last_ms.max(now_ms);
        let more = passed.saturating_mul(self.parts_per_ms);
        self.parts = self.parts.saturating_add(more).min(full(self.parts_per_ms));
    }
}

fn share(rate_per_s: u32, nodes: u32) -> u64 {
    let parts = u64::from(rate_per_s.max(1)) * (PARTS / 1_000);
    (parts / u64::from(nodes.max(1))).max(1)
}

fn full(parts_per_ms: u64) -> u64 {
    (parts_per_ms * 1_000).max(PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_passes_and_then_the_rate_holds() {
        let mut bucket = Bucket::new(10, 1, 0);
        assert_eq!((0..20).filter(|_| bucket.take(0).is_ok()).count(), 10);
        assert_eq!(bucket.take(0), Err(100));
        assert_eq!(bucket.take(99), Err(1));
        assert_eq!(bucket.take(100), Ok(()));
        assert_eq!(bucket.take(100), Err(100));
        let later = (100..10_100).filter(|ms| bucket.take(*ms).is_ok()).count();
        assert!((99..=100).contains(&later), "{later}");
    }

    #[test]
    fn nodes_share_a_rate_and_all_of_them_together_stay_below_it() {
        // Rate, nodes, requests of one node in ten seconds after its burst.
        for (rate, nodes, least, most) in [
            (10, 1, 99, 100),
            (10, 3, 32, 34),
            (1, 3, 3, 4),
            (1, 100, 0, 1),
            (1_000_000, 3, 10_000, 10_000),
        ] {
            let mut bucket = Bucket::new(rate, nodes, 0);
            while bucket.take(0).is_ok() {}
            let taken = (1..=10_000).filter(|ms| bucket.take(*ms).is_ok()).count();
            assert!((least..=most).contains(&taken), "{rate}/{nodes}: {taken}");
        }
    }

    #[test]
    fn a_node_that_joins_takes_its_share_at_once_and_gives_it_back_when_it_goes() {
        let mut bucket = Bucket::new(100, 1, 0);
        bucket.share(100, 2, 0);
        assert_eq!((0..200).filter(|_| bucket.take(0).is_ok()).count(), 50);
        bucket.share(100, 1, 0);
        let later = (1..=1_000).filter(|ms| bucket.take(*ms).is_ok()).count();
        assert_eq!(later, 100);
    }

    #[test]
    fn a_clock_that_goes_back_adds_nothing() {
        let mut bucket = Bucket::new(1, 1, 5_000);
        assert_eq!(bucket.take(5_000), Ok(()));
        assert_eq!(bucket.take(0), Err(1000));
        assert_eq!(bucket.take(5_500), Err(500));
        assert_eq!(bucket.take(u64::MAX), Ok(()));
    }
}
