//! Points in time as vendors write them, by counting days year by year: the simulator's own
//! reading, which shares nothing with the client's.

/// What the clocks of Chinese platforms are ahead of UTC, in seconds.
pub const BEIJING_S: u64 = 8 * 3600;

fn leap(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

fn month_days(year: u64) -> [u64; 12] {
    let february = if leap(year) { 29 } else { 28 };
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

fn year_days(year: u64) -> u64 {
    if leap(year) { 366 } else { 365 }
}

/// Unix seconds of a text of a shape: in the shape `Y`, `M`, `D`, `h`, `m` and `s` stand for one
/// digit each of year, month, day, hour, minute and second, all else for itself. `None` for any
/// other text and for days and hours that do not exist.
pub fn read(text: &str, shape: &str) -> Option<u64> {
    if text.len() != shape.len() {
        return None;
    }
    let mut parts = [0_u64; 6];
    for (byte, place) in text.bytes().zip(shape.bytes()) {
        match b"YMDhms".iter().position(|known| *known == place) {
            Some(part) if byte.is_ascii_digit() => {
                parts[part] = parts[part] * 10 + u64::from(byte - b'0');
            }
            None if byte == place => {}
            _ => return None,
        }
    }
    let [year, month, day, hour, minute, second] = parts;
    let months = month_days(year);
    let in_month = *months.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if year < 1970 || day == 0 || day > in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut days: u64 = (1970..year).map(year_days).sum();
    days += months
        .iter()
        .take(usize::try_from(month - 1).ok()?)
        .sum::<u64>();
    Some((((days + day - 1) * 24 + hour) * 60 + minute) * 60 + second)
}

/// `YYYY-MM-DDThh:mm:ssZ`.
pub const ISO: &str = "YYYY-MM-DDThh:mm:ssZ";
/// `YYYYMMDDThhmmssZ`.
pub const COMPACT: &str = "YYYYMMDDThhmmssZ";
/// `YYYY-MM-DD hh:mm:ss`.
pub const PLAIN: &str = "YYYY-MM-DD hh:mm:ss";
/// `YYYYMMDDhhmmss`.
pub const DIGITS: &str = "YYYYMMDDhhmmss";

/// A Unix time in seconds in such a shape.
pub fn write(unix_s: u64, shape: &str) -> String {
    let mut days = unix_s / 86_400;
    let mut year = 1970;
    while days >= year_days(year) {
        days -= year_days(year);
        year += 1;
    }
    let mut month = 1;
    for in_month in month_days(year) {
        if days < in_month {
            break;
        }
        days -= in_month;
        month += 1;
    }
    let rest = unix_s % 86_400;
    let parts = [
        ('Y', year),
        ('M', month),
        ('D', days + 1),
        ('h', rest / 3600),
        ('m', rest / 60 % 60),
        ('s', rest % 60),
    ];
    // Digits are taken from the end, so that the last place of a part is its units.
    let mut left = parts.map(|(_, value)| value);
    let mut text: Vec<char> = shape.chars().collect();
    for place in text.iter_mut().rev() {
        if let Some(part) = parts.iter().position(|(letter, _)| letter == place) {
            let digit = u32::try_from(left[part] % 10).unwrap_or(0);
            *place = char::from_digit(digit, 10).unwrap_or('0');
            left[part] /= 10;
        }
    }
    text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_nonsense_is_not() {
        for (text, shape, unix_s) in [
            ("1970-01-01T00:00:00Z", ISO, Some(0)),
            ("2000-02-29T00:00:00Z", ISO, Some(951_782_400)),
            ("2024-05-20T08:30:00Z", ISO, Some(1_716_193_800)),
            ("20240520T083000Z", COMPACT, Some(1_716_193_800)),
            ("20240520083000", DIGITS, Some(1_716_193_800)),
            (
                "2024-05-20 16:30:00",
                PLAIN,
                Some(1_716_193_800 + BEIJING_S),
            ),
            ("2023-02-29T00:00:00Z", ISO, None),
            ("2024-13-01T00:00:00Z", ISO, None),
            ("2024-00-01T00:00:00Z", ISO, None),
            ("2024-05-20T24:00:00Z", ISO, None),
            ("2024-05-20T08:30:00+", ISO, None),
            ("", ISO, None),
            ("2024-05-2é08:30:00Z", ISO, None),
        ] {
            assert_eq!(read(text, shape), unix_s, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for unix_s in [0, 951_782_399, 951_782_400, 1_716_193_800, 4_107_542_399] {
            for shape in [ISO, COMPACT, PLAIN, DIGITS] {
                let text = write(unix_s, shape);
                assert_eq!(read(&text, shape), Some(unix_s), "{text}");
            }
        }
        assert_eq!(write(1_716_193_800, ISO), "2024-05-20T08:30:00Z");
    }
}
