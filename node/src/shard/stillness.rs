//! Whether a thread has stood still, with its process (SIGSTOP) or its machine (a frozen guest).
//!
//! What came meanwhile lies in the kernel's buffers, and who sent it has long gone elsewhere: an INVITE that is read then
//! must not become a call, or the phone rings twice. Nothing tells how long a message has lain, but whoever looks at the
//! clock all the time sees that it has jumped. Requests inside dialogs are served whatever their age: a BYE ends its call.

use tandem_cluster::entity::Millis;

/// A thread that has not looked at its clock for so long stood still. Shorter than any caller's patience.
const STILL_MS: Millis = 2_000;
/// So long after it goes on no new call is taken: by then what lay in sockets, streams and queues has been read. Callers
/// of that moment are told to come again, and find another node at once.
const SETTLE_MS: Millis = 2_000;

/// Of one thread.
#[derive(Debug, Default)]
pub(super) struct Stillness {
    /// When the clock was last looked at.
    seen: Option<Millis>,
    settled_at: Millis,
}

impl Stillness {
    /// Looks at the clock, which is to be done far more often than each [`STILL_MS`] and before each new call. Tells
    /// whether what is read now may be old.
    pub fn look(&mut self, now: Millis) -> bool {
        let still_ms = now.saturating_sub(self.seen.unwrap_or(now));
        if still_ms > STILL_MS {
            tracing::warn!(still_ms, "stood still; what came meanwhile begins no call");
            self.settled_at = now + SETTLE_MS;
        }
        self.seen = Some(now);
        now < self.settled_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at these moments, and what each shows.
    #[track_caller]
    fn check(looks: &[(Millis, bool)]) {
        let mut stillness = Stillness::default();
        for (now, old) in looks {
            assert_eq!(stillness.look(*now), *old, "at {now} of {looks:?}");
        }
    }

    #[test]
    fn who_looks_often_is_never_still() {
        let looks: Vec<_> = (0..200).map(|at| (90_000 + at * 50, false)).collect();
        check(&looks);
    }

    #[test]
    fn a_late_look_shows_that_what_comes_now_may_be_old() {
        check(&[
            (1_000, false),
            // As late as threads of a busy machine are.
            (3_000, false),
            (3_050, false),
            // Stopped for twenty seconds; whichever look comes first shows it, and so do those that follow for a while.
            (23_050, true),
            (23_050, true),
            (23_100, true),
            (24_500, true),
            (25_049, true),
            (25_050, false),
            (25_100, false),
        ]);
    }

    #[test]
    fn one_stop_after_the_other_counts_from_the_last() {
        check(&[
            (0, false),
            (10_000, true),
            (11_000, true),
            (13_500, true),
            (15_499, true),
            (15_500, false),
        ]);
    }
}
