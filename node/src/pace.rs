//! New calls a second, as an operator has set them.

use tandem_cluster::entity::Millis;

/// Lets so many a second through, spread evenly, and a tenth of a second's share at once.
#[derive(Debug, Default)]
pub struct Pace {
    /// When all that were let through have had their share of time, in billionths of a second.
    paid_until: u128,
}

const SECOND: u128 = 1_000_000_000;

impl Pace {
    /// Whether one more may pass at this moment of the monotonic clock.
    pub fn take(&mut self, per_s: u32, now: Millis) -> bool {
        let (share, now) = (
            SECOND / u128::from(per_s.max(1)),
            u128::from(now) * 1_000_000,
        );
        let at_once = u128::from(per_s / 10).max(1);
        let paid_until = self.paid_until.max(now);
        let passes = paid_until - now <= share * (at_once - 1);
        if passes {
            self.paid_until = paid_until + share;
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(per_s: u32, asked_per_ms: u32, ms: u64) -> usize {
        let mut pace = Pace::default();
        let asked = (0..ms).flat_map(|now| (0..asked_per_ms).map(move |_| now));
        asked.filter(|now| pace.take(per_s, *now)).count()
    }

    #[test]
    fn no_more_pass_than_were_set_and_no_fewer() {
        for (per_s, asked_per_ms, ms, want) in [
            (1, 5, 10_000, 10..=11),
            (10, 5, 10_000, 100..=101),
            (100, 5, 1_000, 100..=110),
            (2_500, 20, 2_000, 4_990..=5_260),
            (100, 1, 50, 10..=15),
        ] {
            let passed = passed(per_s, asked_per_ms, ms);
            assert!(want.contains(&passed), "{per_s}/s in {ms} ms: {passed}");
        }
    }

    #[test]
    fn after_a_quiet_time_no_more_pass_at_once_than_a_tenth() {
        let mut pace = Pace::default();
        assert!(pace.take(100, 0));
        let at_once = (0..50).filter(|_| pace.take(100, 60_000)).count();
        assert_eq!(at_once, 10);
    }
}
