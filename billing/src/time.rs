//! Points in time as the records hold them, and their RFC 3339 text form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Milliseconds in a civil day; leap seconds do not exist on this scale.
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;
/// 9999-12-31T23:59:59.999Z, the last moment that RFC 3339 can write.
const LAST_MS: u64 = 253_402_300_799_999;

/// A point in time: milliseconds since 1970-01-01 UTC, up to the end of the year 9999.
///
/// Text form: RFC 3339 in UTC with exactly three digits of a second
/// (`2025-11-21T22:00:00.123Z`). Serde writes that string where a person reads and the bare
/// integer elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The last point in time that can be written, the end of the year 9999.
    pub const MAX: Time = Time(LAST_MS);

    /// The moment `ms` milliseconds after 1970-01-01 UTC, at most [`Time::MAX`].
    pub const fn from_ms(ms: u64) -> Time {
        Time(if ms > LAST_MS { LAST_MS } else { ms })
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn ms(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = Date::of_day((self.0 / DAY_MS) as i64);
        let of_day = self.0 % DAY_MS;
        write!(
            f,
            "{date}T{:02}:{:02}:{:02}.{:03}Z",
            of_day / HOUR_MS,
            of_day % HOUR_MS / MINUTE_MS,
            of_day % MINUTE_MS / SECOND_MS,
            of_day % SECOND_MS,
        )
    }
}

/// A text that is no RFC 3339 time between 1970 and 9999.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 time")]
pub struct TimeError(String);

impl FromStr for Time {
    type Err = TimeError;

    /// Reads RFC 3339 §5.6 `date-time` with any offset and any number of fraction digits (what is
    /// finer than a millisecond is cut off), and a bare `full-date` as its first moment in UTC.
    /// A leap second is the first moment of the next minute.
    fn from_str(text: &str) -> Result<Time, TimeError> {
        read_time(text.as_bytes())
            .ok_or_else(|| TimeError(text.chars().take(40).collect::<String>()))
    }
}

fn read_time(text: &[u8]) -> Option<Time> {
    let mut text = Scan(text);
    let year = text.number(4)?;
    text.one_of(b"-")?;
    let month = text.number(2)?;
    text.one_of(b"-")?;
    let day = text.number(2)?;
    let date = Date {
        year: i32::try_from(year).ok()?,
        month: month as u8,
        day: day as u8,
    };
    let mut ms = date.checked_day()? * DAY_MS as i64;
    if !text.0.is_empty() {
        // RFC 3339 allows `t`, `z` and a blank for readability.
        text.one_of(b"Tt ")?;
        let hour = text.number(2).filter(|&hour| hour < 24)?;
        text.one_of(b":")?;
        let minute = text.number(2).filter(|&minute| minute < 60)?;
        text.one_of(b":")?;
        let second = text.number(2).filter(|&second| second <= 60)?;
        let fraction = if text.one_of(b".").is_some() {
            text.fraction_ms()?
        } else {
            0
        };
        ms += (hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + fraction) as i64;
        match text.one_of(b"Zz+-")? {
            b'Z' | b'z' => {}
            sign => {
                let hours = text.number(2).filter(|&hours| hours < 24)?;
                text.one_of(b":")?;
                let minutes = text.number(2).filter(|&minutes| minutes < 60)?;
                let offset = (hours * HOUR_MS + minutes * MINUTE_MS) as i64;
                ms -= if sign == b'+' { offset } else { -offset };
            }
        }
        if !text.0.is_empty() {
            return None;
        }
    }
    u64::try_from(ms).ok().filter(|&ms| ms <= LAST_MS).map(Time)
}

/// What is left of a text that is read from the left.
struct Scan<'t>(&'t [u8]);

impl Scan<'_> {
    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        wanted.contains(&first).then(|| {
            self.0 = rest;
            first
        })
    }

    /// Exactly `digits` digits.
    fn number(&mut self, digits: usize) -> Option<u64> {
        let (head, rest) = self.0.split_at_checked(digits)?;
        let value = head.iter().try_fold(0u64, |value, byte| {
            byte.is_ascii_digit()
                .then(|| value * 10 + u64::from(byte - b'0'))
        })?;
        self.0 = rest;
        Some(value)
    }

    /// One digit or more, read as a fraction of a second.
    fn fraction_ms(&mut self) -> Option<u64> {
        let count = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let value = |place: usize, weight: u64| {
            digits
                .get(place)
                .map_or(0, |byte| u64::from(byte - b'0') * weight)
        };
        (count > 0).then(|| value(0, 100) + value(1, 10) + value(2, 1))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(de::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Time::from_ms)
        }
    }
}

/// A civil date of the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date {
    /// Year, 0 being 1 BC.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
}

/// Days in 400 years: the calendar repeats after them.
const ERA_DAYS: i64 = 146_097;
/// Day number of 1970-01-01 counted from 0000-03-01.
const MARCH_ZERO: i64 = 719_468;
/// Days of a year that begins in March before each of its months. February comes last, so the
/// leap day never shifts a month.
const BEFORE_MONTH: [i64; 12] = [0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337];

impl Date {
    /// The date `day` days after 1970-01-01.
    pub(crate) fn of_day(day: i64) -> Date {
        let day = day + MARCH_ZERO;
        let (era, of_era) = (day.div_euclid(ERA_DAYS), day.rem_euclid(ERA_DAYS));
        // A first guess by mean years is never too small, and at most one year too large.
        let mut year = of_era * 400 / ERA_DAYS;
        while days_before_year(year + 1) <= of_era {
            year += 1;
        }
        while days_before_year(year) > of_era {
            year -= 1;
        }
        let of_year = of_era - days_before_year(year);
        let month = BEFORE_MONTH.partition_point(|&before| before <= of_year) as i64 - 1;
        let day = of_year - BEFORE_MONTH[month as usize] + 1;
        // Month 0 is March; January and February belong to the next civil year.
        let civil = if month < 10 { month + 3 } else { month - 9 };
        Date {
            year: (era * 400 + year + i64::from(month >= 10)) as i32,
            month: civil as u8,
            day: day as u8,
        }
    }

    /// Days from 1970-01-01 to this date.
    pub(crate) fn day_number(self) -> i64 {
        let month = (i64::from(self.month) + 9) % 12;
        let year = i64::from(self.year) - i64::from(month >= 10);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        era * ERA_DAYS
            + days_before_year(of_era)
            + BEFORE_MONTH[month as usize]
            + i64::from(self.day)
            - 1
            - MARCH_ZERO
    }

    /// As [`Date::day_number`], or `None` when the calendar has no such date.
    fn checked_day(self) -> Option<i64> {
        if !(1..=12).contains(&self.month) {
            return None;
        }
        let day = self.day_number();
        (Date::of_day(day) == self).then_some(day)
    }

    /// The first day of the month after this date's.
    pub(crate) fn next_month(self) -> Date {
        let last = self.month == 12;
        Date {
            year: self.year + i32::from(last),
            month: if last { 1 } else { self.month + 1 },
            day: 1,
        }
    }
}

/// Days of an era, which begins on a first of March, before its year `year`.
fn days_before_year(year: i64) -> i64 {
    year * 365 + year / 4 - year / 100 + year / 400
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments_are_written_and_read() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_763_762_400_123, "2025-11-21T22:00:00.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Time(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Time(ms)), "{text}");
        }
        assert_eq!(Time::from_ms(u64::MAX), Time::MAX);
    }

    #[test]
    fn offsets_fractions_and_bare_dates_are_read() {
        for (text, ms) in [
            ("1970-01-01", 0),
            ("1970-01-01T08:00:00+08:00", 0),
            ("1969-12-31T20:00:00-04:00", 0),
            ("1970-01-01t00:00:00.1z", 100),
            ("1970-01-01 00:00:00.123999999Z", 123),
            ("1970-01-01T00:00:60Z", 60_000),
        ] {
            assert_eq!(text.parse(), Ok(Time(ms)), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_times_are_refused() {
        for text in [
            "",
            "now",
            "1970-01-01T",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T24:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-00-01",
            "2025-02-29T00:00:00Z",
            "2025-04-31",
            "2025-01-00",
            "1969-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999-00:01",
            "1970-01-01T00:00:00Zx",
            "+970-01-01T00:00:00Z",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_day_of_five_centuries_follows_the_one_before() {
        let mut before = Date::of_day(-100_000);
        for day in -99_999..100_000 {
            let date = Date::of_day(day);
            assert_eq!(date.day_number(), day);
            let next = if date.day == 1 {
                before.next_month()
            } else {
                Date {
                    day: before.day + 1,
                    ..before
                }
            };
            assert_eq!(date, next);
            before = date;
        }
    }

    proptest! {
        #[test]
        fn every_time_survives_its_text(ms in 0..=LAST_MS) {
            prop_assert_eq!(Time(ms).to_string().parse(), Ok(Time(ms)));
        }

        #[test]
        fn arbitrary_texts_never_panic(text in "[0-9TZ:+. -]{0,40}|.*") {
            let _ = text.parse::<Time>();
        }
    }
}
