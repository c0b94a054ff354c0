//! Moments as text, in the notations that platforms use, without clock or time zone data.

/// A notation, compiled: pieces of the calendar and what stands between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    parts: Vec<Part>,
    /// Milliseconds to add to UTC.
    zone_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Milli,
    Literal(String),
}

const PARTS: [(&str, Part); 7] = [
    ("YYYY", Part::Year),
    ("MM", Part::Month),
    ("DD", Part::Day),
    ("hh", Part::Hour),
    ("mm", Part::Minute),
    ("ss", Part::Second),
    ("SSS", Part::Milli),
];

impl Format {
    /// `format` of `YYYY MM DD hh mm ss SSS` and anything else as it is; `zone` is `utc` or
    /// `+08:00`. An error is for people.
    pub(super) fn new(format: &str, zone: &str) -> Result<Format, String> {
        let mut parts = Vec::new();
        let mut rest = format;
        let mut literal = String::new();
        while let Some(c) = rest.chars().next() {
            let part = PARTS.iter().find(|(word, _)| rest.starts_with(word));
            let Some((word, part)) = part else {
                literal.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part.clone());
            rest = &rest[word.len()..];
        }
        if parts.is_empty() {
            return Err("holds none of YYYY, MM, DD, hh, mm, ss, SSS".to_owned());
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        let zone_ms = zone_ms(zone).ok_or("a zone is `utc` or like `+08:00`")?;
        Ok(Format { parts, zone_ms })
    }

    /// A Unix time in milliseconds in this notation. Years beyond 9999 are written with more
    /// digits.
    pub(super) fn write(&self, unix_ms: u64) -> String {
        let local = unix_ms.saturating_add_signed(self.zone_ms);
        let (year, month, day) = civil(local / 86_400_000);
        let second = local / 1000;
        let mut out = String::with_capacity(24);
        for part in &self.parts {
            match part {
                Part::Year => digits(&mut out, year, 4),
                Part::Month => digits(&mut out, month, 2),
                Part::Day => digits(&mut out, day, 2),
                Part::Hour => digits(&mut out, second / 3600 % 24, 2),
                Part::Minute => digits(&mut out, second / 60 % 60, 2),
                Part::Second => digits(&mut out, second % 60, 2),
                Part::Milli => digits(&mut out, local % 1000, 3),
                Part::Literal(text) => out.push_str(text),
            }
        }
        out
    }

    /// The Unix time in milliseconds of a text that is wholly in this notation; what it does not
    /// name is the first of its kind. `None` for anything else, also before 1970.
    pub(super) fn read(&self, text: &str) -> Option<u64> {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        let (mut hour, mut minute, mut second, mut milli) = (0, 0, 0, 0);
        let mut rest = text;
        for part in &self.parts {
            let (into, width, most): (&mut u64, usize, u64) = match part {
                Part::Year => (&mut year, 4, 9_999),
                Part::Month => (&mut month, 2, 12),
                Part::Day => (&mut day, 2, 31),
                Part::Hour => (&mut hour, 2, 23),
                Part::Minute => (&mut minute, 2, 59),
                // A leap second is the first of the next minute.
                Part::Second => (&mut second, 2, 60),
                Part::Milli => (&mut milli, 3, 999),
                Part::Literal(literal) => {
                    rest = rest.strip_prefix(literal.as_str())?;
                    continue;
                }
            };
            let (digits, after) = rest.split_at_checked(width)?;
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            *into = digits.parse().ok().filter(|number| *number <= most)?;
            rest = after;
        }
        if !rest.is_empty() || year < 1970 || month == 0 || day == 0 {
            return None;
        }
        let days = days(year, month, day);
        if civil(days) != (year, month, day) {
            return None;
        }
        let second = ((days * 24 + hour) * 60 + minute) * 60 + second;
        (second * 1_000 + milli).checked_add_signed(-self.zone_ms)
    }
}

fn zone_ms(zone: &str) -> Option<i64> {
    if zone == "utc" {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (u8, u8) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 14 && minutes < 60)
        .then(|| sign * (i64::from(hours) * 3_600_000 + i64::from(minutes) * 60_000))
}

fn digits(out: &mut String, number: u64, least: u32) {
    let mut place = 10_u64.pow(least - 1);
    while number / place >= 10 {
        place *= 10;
    }
    while place > 0 {
        // One decimal digit.
        out.push(char::from(b'0' + (number / place % 10) as u8));
        place /= 10;
    }
}

/// Proleptic Gregorian year, month and day of a day number counted from 1970-01-01. Works in
/// 400-year eras that begin on 1 March, so that the leap day is the last day of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    // 719,468 days lie between 0000-03-01 and 1970-01-01; 146,097 make 400 years.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// The day number of a date from 1970 on, the other way of [`civil`].
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month_from_march) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year / 4 - year / 100 + year / 400;
    365 * year + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_as_utc() {
        let iso = Format::new("YYYY-MM-DDThh:mm:ssZ", "utc").unwrap();
        for (unix_s, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_716_193_800, "2024-05-20T08:30:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (253_402_300_800, "10000-01-01T00:00:00Z"),
        ] {
            assert_eq!(iso.write(unix_s * 1000 + 999), text);
        }
        let _ = iso.write(u64::MAX);
    }

    #[test]
    fn zones_and_milliseconds_are_written() {
        for (format, zone, text) in [
            ("YYYYMMDDhhmmssSSS", "+08:00", "20240520163000123"),
            ("YYYY-MM-DD hh:mm:ss", "-05:30", "2024-05-20 03:00:00"),
            ("YYYYMMDDThhmmssZ", "utc", "20240520T083000Z"),
        ] {
            let format = Format::new(format, zone).unwrap();
            assert_eq!(format.write(1_716_193_800_123), text);
        }
        for (format, zone) in [
            ("x", "utc"),
            ("YYYY", "cst"),
            ("YYYY", "+15:00"),
            ("YYYY", ""),
        ] {
            assert!(Format::new(format, zone).is_err(), "{format} {zone}");
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let local = Format::new("YYYY-MM-DD hh:mm:ss", "+08:00").unwrap();
        let compact = Format::new("YYYYMMDDhhmmssSSS", "-05:30").unwrap();
        for day in 0..60_000_u64 {
            let at = day * 86_400_000 + day % 86_400 * 1_000 + 72_000_000;
            assert_eq!(local.read(&local.write(at)), Some(at));
            assert_eq!(compact.read(&compact.write(at + 7)), Some(at + 7));
        }
    }

    #[test]
    fn what_is_no_moment_is_not_read() {
        let local = Format::new("YYYY-MM-DD hh:mm:ss", "utc").unwrap();
        for text in [
            "",
            "2024-05-20",
            "2024-05-20 08:30:00Z",
            "2024-05-20T08:30:00",
            "2024-02-30 00:00:00",
            "2023-02-29 00:00:00",
            "2024-13-01 00:00:00",
            "2024-00-01 00:00:00",
            "2024-05-20 24:00:00",
            "+024-05-20 08:30:00",
            "1969-12-31 23:59:59",
            "２024-05-20 08:30:00",
        ] {
            assert_eq!(local.read(text), None, "{text}");
        }
        let far = Format::new("YYYY", "+14:00").unwrap();
        assert_eq!(far.read("1970"), None);
    }
}
