//! Records as the nodes export them, read from JSON lines.

use serde_json::Value;
use std::collections::BTreeMap;

/// One exported row; fields by the names of the domain page.
#[derive(Clone, Debug, PartialEq)]
pub struct Record(pub Value);

impl Record {
    /// A text field; a null reads as empty.
    #[track_caller]
    pub fn text(&self, field: &str) -> &str {
        match self.0.get(field) {
            Some(Value::String(text)) => text,
            Some(Value::Null) => "",
            other => panic!("record field `{field}` is {other:?} in {}", self.0),
        }
    }

    /// A whole number.
    #[track_caller]
    pub fn number(&self, field: &str) -> u64 {
        let value = &self.0[field];
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        number.unwrap_or_else(|| panic!("record field `{field}` is {value} in {}", self.0))
    }

    /// An amount in millionths.
    #[track_caller]
    pub fn amount(&self, field: &str) -> i64 {
        micros(self.text(field))
            .unwrap_or_else(|| panic!("record field `{field}` is no amount in {}", self.0))
    }

    /// A time in milliseconds since 1970; `None` when the field is empty.
    #[track_caller]
    pub fn time(&self, field: &str) -> Option<i64> {
        let text = self.text(field);
        (!text.is_empty()).then(|| {
            millis(text)
                .unwrap_or_else(|| panic!("record field `{field}` is no time in {}", self.0))
        })
    }

    /// 序列号, whatever its JSON type.
    pub fn flow_no(&self) -> String {
        match &self.0["flow_no"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// Reads an export; panics on a line that is not an object.
#[track_caller]
pub fn read(jsonl: &str) -> Vec<Record> {
    let rows = jsonl
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("export: {e}: {line}")));
    rows.map(Record).collect()
}

/// Rows by flow number; panics when one stands twice.
#[track_caller]
pub fn by_flow_no(rows: &[Record]) -> BTreeMap<String, &Record> {
    let mut map = BTreeMap::new();
    for row in rows {
        assert!(
            map.insert(row.flow_no(), row).is_none(),
            "flow number {} stands twice",
            row.flow_no()
        );
    }
    map
}

/// `1.25` as 1250000; exact, at most six digits behind the point.
pub fn micros(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.len() > 6 || whole.is_empty() {
        return None;
    }
    let value =
        whole.parse::<i64>().ok()? * 1_000_000 + format!("{fraction:0<6}").parse::<i64>().ok()?;
    Some(if negative { -value } else { value })
}

/// RFC 3339 UTC with milliseconds as milliseconds since 1970.
pub fn millis(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.split(':').map(str::parse::<i64>);
    let (hour, minute, second) = (
        clock.next()?.ok()?,
        clock.next()?.ok()?,
        clock.next()?.ok()?,
    );
    let milli: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    // Days since 1970 by counting 400-year, 100-year and 4-year cycles from a March-based year.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + milli)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_exactly() {
        let cases = [
            ("0.10", 100_000),
            ("5", 5_000_000),
            ("0.066", 66_000),
            ("-1.000001", -1_000_001),
        ];
        for (text, value) in cases {
            assert_eq!(micros(text), Some(value), "{text}");
        }
        assert_eq!(
            (micros("0.0000001"), micros("x"), micros("")),
            (None, None, None)
        );
    }

    #[test]
    fn times_read_in_milliseconds() {
        let cases = [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-03-01T00:00:00Z", 951_868_800_000),
            ("2026-11-21T22:24:49.006Z", 1_795_299_889_006),
        ];
        for (text, value) in cases {
            assert_eq!(millis(text), Some(value), "{text}");
        }
    }
}
