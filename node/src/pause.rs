//! Pauses between requests to a platform about the same thing.

use tandem_cluster::entity::Millis;
use tandem_vendors::outcome::Failure;

/// When the platform is asked again after it said that it holds nothing: a slow bind may still arrive.
pub const LOOK_AGAIN_MS: [Millis; 3] = [1_000, 3_000, 8_000];
/// Pauses between failed requests: doubled from the first to the last (`DOMAIN.md` §4.2).
const RETRY_MIN_MS: Millis = 1_000;
const RETRY_MAX_MS: Millis = 300_000;

/// The pause after a failed request of which `before` failed already.
pub fn pause_after(before: u32, failure: &Failure) -> Millis {
    let doubled = RETRY_MIN_MS.saturating_mul(1 << before.min(20));
    doubled.max(failure.wait_ms.unwrap_or(0)).min(RETRY_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_vendors::outcome::Class;

    #[test]
    fn pauses_double_from_a_second_to_five_minutes_and_heed_the_platform() {
        let failure = Failure::new(Class::Unknown, "c", "");
        let pauses: Vec<_> = (0..10)
            .map(|before| pause_after(before, &failure))
            .collect();
        let want = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300];
        assert_eq!(pauses, want.map(|secs| secs * 1_000));
        assert_eq!(pause_after(0, &failure.clone().wait(7_000)), 7_000);
        assert_eq!(pause_after(u32::MAX, &failure), 300_000);
    }
}
