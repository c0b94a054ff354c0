//! Pauses between requests to a platform about the same thing.

use tandem_cluster::entity::Millis;
use tandem_vendors::outcome::{Class, Failure};

/// When the platform is asked again after it said that it holds nothing: a slow bind may still arrive.
pub const LOOK_AGAIN_MS: [Millis; 3] = [1_000, 3_000, 8_000];
/// Pauses between failed requests: doubled from the first to the last (`DOMAIN.md` §4.2).
const RETRY_MIN_MS: Millis = 1_000;
const RETRY_MAX_MS: Millis = 300_000;
/// The first pause before a repeat that the platform's definition speaks of, doubled too, up to [`RETRY_MIN_MS`].
const SOON_MS: Millis = 100;

/// The pause after a failed request of which `before` failed already. The first `soon` of them are repeated soon, as
/// the platform's definition says of this failure: a lost packet need not cost a second. A platform that has too much
/// to do is left alone for the longer pauses from the beginning.
pub fn pause_after(before: u32, soon: u32, failure: &Failure) -> Millis {
    let pause = if before < soon && failure.class != Class::Throttled {
        SOON_MS
            .saturating_mul(1 << before.min(20))
            .min(RETRY_MIN_MS)
    } else {
        let long = before.saturating_sub(match failure.class {
            Class::Throttled => 0,
            _ => soon,
        });
        RETRY_MIN_MS.saturating_mul(1 << long.min(20))
    };
    pause.max(failure.wait_ms.unwrap_or(0)).min(RETRY_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(class: Class, soon: u32, wait_ms: Option<Millis>, want: &[Millis]) {
        let mut failure = Failure::new(class, "c", "");
        failure.wait_ms = wait_ms;
        let pauses: Vec<_> = (0..want.len() as u32)
            .map(|before| pause_after(before, soon, &failure))
            .collect();
        assert_eq!(pauses, want, "{class} {soon} {wait_ms:?}");
    }

    #[test]
    fn pauses_double_from_a_second_to_five_minutes_and_heed_the_platform() {
        let want = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300].map(|secs| secs * 1_000);
        check(Class::Unknown, 0, None, &want);
        check(
            Class::Unknown,
            0,
            Some(7_000),
            &[7_000, 7_000, 7_000, 8_000],
        );
        let failure = Failure::new(Class::Unknown, "c", "");
        assert_eq!(
            pause_after(u32::MAX, u32::MAX, &failure),
            300_000.min(RETRY_MIN_MS)
        );
        assert_eq!(pause_after(u32::MAX, 0, &failure), 300_000);
    }

    #[test]
    fn what_a_definition_repeats_is_repeated_soon_and_then_as_ever() {
        let want = [100, 200, 400, 800, 1_000, 1_000, 2_000, 4_000];
        check(Class::Unknown, 5, None, &want);
        check(Class::NotSent, 1, None, &[100, 1_000, 2_000]);
        check(Class::NotSent, 2, Some(500), &[500, 500, 1_000]);
        check(Class::Throttled, 5, None, &[1_000, 2_000, 4_000]);
        check(Class::Throttled, 5, Some(60_000), &[60_000, 60_000]);
    }
}
