//! A token bucket over a millisecond clock: `rate` requests a second, a burst of one second's worth.

/// One interface's allowance.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate_per_s: u64,
    /// Thousandths of a token, at most `rate_per_s` tokens.
    milli: u64,
    last_ms: u64,
}

impl Bucket {
    /// A full bucket. A rate of 0 is taken as 1.
    pub fn new(rate_per_s: u32, now_ms: u64) -> Bucket {
        let rate_per_s = u64::from(rate_per_s.max(1));
        Bucket {
            rate_per_s,
            milli: rate_per_s * 1000,
            last_ms: now_ms,
        }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// The milliseconds until there is one.
    pub fn take(&mut self, now_ms: u64) -> Result<(), u64> {
        // A clock that went back adds nothing.
        let passed = now_ms.saturating_sub(self.last_ms);
        self.last_ms = self.last_ms.max(now_ms);
        let full = self.rate_per_s * 1000;
        self.milli = full.min(
            self.milli
                .saturating_add(passed.saturating_mul(self.rate_per_s)),
        );
        if self.milli >= 1000 {
            self.milli -= 1000;
            Ok(())
        } else {
            Err((1000 - self.milli).div_ceil(self.rate_per_s))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_passes_and_then_the_rate_holds() {
        let mut bucket = Bucket::new(10, 0);
        assert_eq!((0..20).filter(|_| bucket.take(0).is_ok()).count(), 10);
        assert_eq!(bucket.take(0), Err(100));
        assert_eq!(bucket.take(99), Err(1));
        assert_eq!(bucket.take(100), Ok(()));
        assert_eq!(bucket.take(100), Err(100));
        let later = (100..10_100).filter(|ms| bucket.take(*ms).is_ok()).count();
        assert!((99..=100).contains(&later), "{later}");
    }

    #[test]
    fn a_clock_that_goes_back_adds_nothing() {
        let mut bucket = Bucket::new(1, 5_000);
        assert_eq!(bucket.take(5_000), Ok(()));
        assert_eq!(bucket.take(0), Err(1000));
        assert_eq!(bucket.take(5_500), Err(500));
        assert_eq!(bucket.take(u64::MAX), Ok(()));
    }
}
