//! How far a platform's clock is from ours, learnt from the `Date` of its answers (RFC 9110 §6.6.1),
//! as data over millisecond clocks.
//!
//! An answer bounds the difference from both sides. `Date` has whole seconds and was written between
//! the first byte we sent and the last byte we read, so
//!
//! ```text
//!   date - read  ≤  platform - ours  ≤  date + 1 s - sent
//! ```
//!
//! The bounds of many answers are intersected, which is finer than any one of them; a slow answer
//! says little and does no harm. Bounds widen with time, since clocks drift. An answer that
//! contradicts what is known is believed when the next one says the same: one of several servers
//! may be wrong, and so may a cache on the way.

/// The grain of `Date`. A clock that may be right within it is left alone.
pub const GRAIN_MS: i64 = 1_000;
/// Differences beyond this are absurd (a server without a clock) unless answer after answer repeats them.
pub const ABSURD_MS: i64 = 86_400_000;
/// Answers in a row that must agree before they replace what is known.
const CONFIRM: u32 = 2;
/// Answers in a row that must agree on an absurd difference.
const CONFIRM_ABSURD: u32 = 3;
/// How far two free clocks part in a millisecond, in millionths of one.
const DRIFT_PPM: u64 = 200;

/// What is known about one platform's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skew {
    known: Option<Bounds>,
    /// An answer that contradicts it, and how many in a row agreed with that.
    rival: Option<(Bounds, u32)>,
}

/// Bounds on (platform - ours), and when they were learnt by our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    low_ms: i64,
    high_ms: i64,
    at_ms: u64,
}

impl Bounds {
    /// As wide as they have become by now.
    fn aged(self, now_ms: u64) -> Bounds {
        let wider = now_ms.saturating_sub(self.at_ms) / 1_000 * DRIFT_PPM / 1_000;
        let wider = i64::try_from(wider).unwrap_or(ABSURD_MS).min(ABSURD_MS);
        Bounds {
            low_ms: self.low_ms.saturating_sub(wider),
            high_ms: self.high_ms.saturating_add(wider),
            at_ms: now_ms,
        }
    }

    fn and(self, other: Bounds) -> Option<Bounds> {
        let (low_ms, high_ms) = (
            self.low_ms.max(other.low_ms),
            self.high_ms.min(other.high_ms),
        );
        (low_ms <= high_ms).then_some(Bounds {
            low_ms,
            high_ms,
            at_ms: self.at_ms.max(other.at_ms),
        })
    }

    fn middle_ms(self) -> i64 {
        self.low_ms + (self.high_ms - self.low_ms) / 2
    }
}

impl Skew {
    /// Takes note of an answer: its `Date`, and when by our clock the request left and the answer's
    /// head was read, all in milliseconds since 1970. An answer that was read before its request
    /// left says that our own clock was set meanwhile, and is passed over.
    pub fn note(&mut self, date_ms: u64, sent_ms: u64, read_ms: u64) {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        if read_ms < sent_ms {
            return;
        }
        let told = Bounds {
            low_ms: signed(date_ms).saturating_sub(signed(read_ms)),
            high_ms: signed(date_ms)
                .saturating_add(GRAIN_MS)
                .saturating_sub(signed(sent_ms)),
            at_ms: read_ms,
        };
        let absurd = told.low_ms > ABSURD_MS || told.high_ms < -ABSURD_MS;
        let known = self.known.map(|known| known.aged(read_ms));
        if let Some(agreed) = known.and_then(|known| known.and(told)) {
            self.known = Some(agreed);
            self.rival = None;
            return;
        }
        if known.is_none() && !absurd {
            self.known = Some(told);
            self.rival = None;
            return;
        }
        let (rival, times) = match self.rival {
            Some((rival, times)) => match rival.aged(read_ms).and(told) {
                Some(agreed) => (agreed, times + 1),
                None => (told, 1),
            },
            None => (told, 1),
        };
        let enough = if absurd { CONFIRM_ABSURD } else { CONFIRM };
        if times >= enough {
            self.known = Some(rival);
            self.rival = None;
        } else {
            self.rival = Some((rival, times));
        }
    }

    /// What is added to our clock for this platform, in milliseconds: 0 while the difference may
    /// lie within the grain of what is known.
    pub fn offset_ms(&self) -> i64 {
        match self.known {
            Some(known) if known.low_ms > GRAIN_MS || known.high_ms < -GRAIN_MS => {
                known.middle_ms()
            }
            _ => 0,
        }
    }

    /// Whether the last answer contradicted what is known, and is not believed yet.
    pub fn is_contested(&self) -> bool {
        self.rival.is_some()
    }

    /// Our clock as the platform would read its own.
    pub fn correct(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.offset_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment that is no whole second.
    const NOW: u64 = 1_763_762_400_300;

    /// An answer of a platform whose clock is `off_ms` ahead, stamped in the middle of its way.
    fn answer(skew: &mut Skew, now_ms: u64, took_ms: u64, off_ms: i64) {
        let stamped = (now_ms + took_ms / 2).saturating_add_signed(off_ms);
        skew.note(stamped / 1_000 * 1_000, now_ms, now_ms + took_ms);
    }

    #[test]
    fn one_answer_corrects_what_is_off_by_more_than_the_grain() {
        // Platform ahead of us, way of the answer, correction at least, at most.
        for (off_ms, took_ms, least, most) in [
            (0, 20, 0, 0),
            (900, 20, 0, 0),
            (-900, 20, 0, 0),
            (61_000, 20, 60_000, 62_000),
            (-61_000, 20, -62_000, -60_000),
            (300_000, 2_000, 298_500, 301_500),
            (-28_800_000, 50, -28_801_000, -28_799_000),
            // A slow answer cannot tell a clock that is right from one that is a little wrong.
            (2_000, 5_000, 0, 0),
        ] {
            let mut skew = Skew::default();
            answer(&mut skew, NOW, took_ms, off_ms);
            let offset = skew.offset_ms();
            assert!((least..=most).contains(&offset), "{off_ms}: {offset}");
            assert_eq!(skew.correct(NOW), NOW.saturating_add_signed(offset));
        }
    }

    #[test]
    fn many_answers_are_finer_than_the_grain_of_one() {
        let mut skew = Skew::default();
        for n in 0..40 {
            answer(&mut skew, NOW + n * 1_037, 10, 5_432);
        }
        let offset = skew.offset_ms();
        assert!((5_372..=5_492).contains(&offset), "{offset}");
    }

    #[test]
    fn one_server_of_several_with_a_wrong_clock_changes_nothing() {
        let mut skew = Skew::default();
        for n in 0..30 {
            let off = if n % 3 == 2 { -600_000 } else { 0 };
            answer(&mut skew, NOW + n * 1_000, 10, off);
            assert_eq!(skew.offset_ms(), 0, "after {n}");
        }
    }

    #[test]
    fn a_clock_that_was_set_is_followed_at_the_second_answer() {
        let mut skew = Skew::default();
        answer(&mut skew, NOW, 10, 0);
        answer(&mut skew, NOW + 1_000, 10, 90_000);
        assert_eq!(skew.offset_ms(), 0);
        answer(&mut skew, NOW + 2_000, 10, 90_000);
        let offset = skew.offset_ms();
        assert!((89_000..=91_000).contains(&offset), "{offset}");
        // And back.
        answer(&mut skew, NOW + 3_000, 10, 0);
        answer(&mut skew, NOW + 4_000, 10, 0);
        assert_eq!(skew.offset_ms(), 0);
    }

    #[test]
    fn an_absurd_clock_is_believed_only_when_three_answers_agree() {
        let mut skew = Skew::default();
        let off = -40 * 365 * ABSURD_MS;
        for (n, applied) in [(0, false), (1, false), (2, true)] {
            answer(&mut skew, NOW + n * 1_000, 10, off);
            assert_eq!(skew.offset_ms() != 0, applied, "after {n}");
        }
        // Absurd ones that differ from each other are never believed.
        let mut skew = Skew::default();
        for n in 0..9 {
            answer(&mut skew, NOW + n * 1_000, 10, off + n as i64 * ABSURD_MS);
        }
        assert_eq!(skew.offset_ms(), 0);
    }

    #[test]
    fn bounds_widen_with_time_so_a_drifting_clock_stays_within_them() {
        let mut skew = Skew::default();
        let day = 86_400_000;
        for n in 0..20_u64 {
            // 100 ppm: 8.64 s a day.
            answer(&mut skew, NOW + n * day, 10, 10_000 + n as i64 * 8_640);
            let offset = skew.offset_ms();
            let truth = 10_000 + n as i64 * 8_640;
            assert!((offset - truth).abs() <= 18_000, "day {n}: {offset}");
        }
    }

    #[test]
    fn nonsense_is_passed_over() {
        let mut skew = Skew::default();
        // Our clock was set back while the answer was on its way.
        skew.note(NOW, NOW, NOW - 1);
        assert_eq!(skew, Skew::default());
        for _ in 0..4 {
            skew.note(u64::MAX, 0, u64::MAX);
            skew.note(0, u64::MAX, u64::MAX);
        }
        let _ = skew.correct(u64::MAX);
    }
}
