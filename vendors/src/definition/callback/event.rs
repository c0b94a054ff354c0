//! A record of a push becomes an event in our notation.

use std::fmt;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{CALLBACK_KEY_MAX, CallEvent, EventKind};
use crate::definition::answer::{follow, scalar};
use crate::definition::clock::Format;
use crate::definition::program::Bound;
use crate::definition::read::stored;
use crate::outcome::Handle;

/// Longest id, number in any notation, cause, word of an event, in bytes.
const TEXT_MAX: usize = 256;
/// Longest address of a recording, in bytes.
const URL_MAX: usize = 2_048;
/// Longest text that is taken for a number, in bytes.
const NUMBER_MAX: usize = 32;

/// Steps of a JSON pointer (RFC 6901) into a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::definition) struct Pointer(pub(super) Box<[Box<str>]>);

impl Pointer {
    pub(super) fn follow<'a>(&self, record: &'a Json) -> Option<&'a Json> {
        follow(record, &self.0)
    }

    pub(in crate::definition) fn text<'a>(
        &self,
        record: &'a Json,
    ) -> Option<std::borrow::Cow<'a, str>> {
        scalar(self.follow(record)?).filter(|text| !text.is_empty())
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| write!(f, "/{step}"))
    }
}

/// How moments are written.
#[derive(Clone, Debug)]
pub(super) enum Notation {
    Unix,
    UnixMs,
    Local(Format),
    /// The zone is what this parameter says.
    Zoned(usize, Vec<(Box<str>, Format)>),
}

impl Notation {
    /// Unix milliseconds. Zero and what is no moment of the years 1970 to 9999 are none.
    pub(super) fn read(&self, text: &str, params: &[Bound]) -> Option<u64> {
        const LAST_MS: u64 = 253_402_300_799_999;
        let text = text.trim();
        let at = match self {
            Notation::Unix => text.parse::<u64>().ok()?.checked_mul(1_000)?,
            Notation::UnixMs => text.parse().ok()?,
            Notation::Local(format) => format.read(text)?,
            Notation::Zoned(param, formats) => {
                let Some(Bound::Text(zone)) = params.get(*param) else {
                    return None;
                };
                let (_, format) = formats.iter().find(|(known, _)| **known == **zone)?;
                format.read(text)?
            }
        };
        (1..=LAST_MS).contains(&at).then_some(at)
    }
}

/// What a record tells.
#[derive(Debug)]
pub(super) enum KindOf {
    Always(EventKind),
    /// By a word in it; `None` is of no interest.
    Field {
        places: Vec<Pointer>,
        words: Vec<(Box<str>, Option<EventKind>)>,
        other: Option<EventKind>,
    },
}

/// Where the fields of a record stand; the first place that holds something counts.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) kind: KindOf,
    /// Tests that a record must pass to be of interest.
    pub(super) keep: Vec<(Pointer, Box<[Box<str>]>)>,
    /// Its parts; the first one must be there.
    pub(super) key: Vec<Vec<Pointer>>,
    pub(super) call_id: Vec<Pointer>,
    pub(super) own_id: Vec<Pointer>,
    pub(super) handle: Vec<(Box<str>, Vec<Pointer>)>,
    pub(super) a: Vec<Pointer>,
    pub(super) x: Vec<Pointer>,
    pub(super) b: Vec<Pointer>,
    pub(super) notation: Option<Notation>,
    pub(super) at: Vec<Pointer>,
    pub(super) started: Vec<Pointer>,
    pub(super) ringing: Vec<Pointer>,
    pub(super) answered: Vec<Pointer>,
    pub(super) ended: Vec<Pointer>,
    /// A call that nobody answered is told as answered when it ended.
    pub(super) answered_at_end_is_never: bool,
    pub(super) duration: Vec<Pointer>,
    /// Milliseconds of one of its units.
    pub(super) duration_unit: u64,
    pub(super) cause: Vec<Pointer>,
    pub(super) recording: Vec<Pointer>,
    pub(super) cost: Vec<Pointer>,
}

impl Mapping {
    /// The event of a record, `None` when it is of no interest. What is there and cannot be read
    /// is told in `odd`.
    pub(super) fn event(
        &self,
        row: &Json,
        params: &[Bound],
        odd: &mut Vec<String>,
    ) -> Result<Option<CallEvent>, String> {
        if !row.is_object() {
            return Err("is no object".to_owned());
        }
        let kept = |(place, words): &(Pointer, Box<[Box<str>]>)| {
            let text = place.text(row);
            text.is_some_and(|text| words.iter().any(|word| **word == *text))
        };
        if !self.keep.iter().all(kept) {
            return Ok(None);
        }
        let Some(kind) = self.kind(row) else {
            return Ok(None);
        };
        let mut read = Reading { row, params, odd };
        let handle: Handle = self
            .handle
            .iter()
            .filter_map(|(name, places)| Some((name.to_string(), read.text(places, TEXT_MAX)?)))
            .collect();
        let notation = self.notation.as_ref();
        let ended_ms = read.moment(&self.ended, notation);
        let mut answered_ms = read.moment(&self.answered, notation);
        if self.answered_at_end_is_never && answered_ms == ended_ms {
            answered_ms = None;
        }
        Ok(Some(CallEvent {
            kind,
            key: self.key(row, kind)?,
            call_id: read.text(&self.call_id, TEXT_MAX),
            handle,
            own_id: read.text(&self.own_id, TEXT_MAX),
            a: read.number(&self.a),
            x: read.number(&self.x),
            b: read.number(&self.b),
            at_ms: read.moment(&self.at, notation),
            started_ms: read.moment(&self.started, notation),
            ringing_ms: read.moment(&self.ringing, notation),
            answered_ms,
            ended_ms,
            duration_ms: read.duration(&self.duration, self.duration_unit),
            cause: read.text(&self.cause, TEXT_MAX),
            recording: read.text(&self.recording, URL_MAX),
            cost_micros: read.cost(&self.cost),
        }))
    }

    fn kind(&self, row: &Json) -> Option<EventKind> {
        match &self.kind {
            KindOf::Always(kind) => Some(*kind),
            KindOf::Field {
                places,
                words,
                other,
            } => {
                let word = places.iter().find_map(|place| place.text(row));
                let known = word.and_then(|word| {
                    let known = words.iter().find(|(known, _)| **known == *word);
                    known.map(|(_, kind)| *kind)
                });
                known.unwrap_or(*other)
            }
        }
    }

    /// The kind's word and the values that together name the record, a line each; of long ones
    /// their digest. The first value is needed, the others may be missing.
    fn key(&self, row: &Json, kind: EventKind) -> Result<String, String> {
        let mut key = kind.word().to_owned();
        for (index, places) in self.key.iter().enumerate() {
            let part = places.iter().find_map(|place| place.text(row));
            if index == 0 && part.is_none() {
                let place = places.first().map(Pointer::to_string);
                return Err(format!("has no {}", place.unwrap_or_default()));
            }
            key.push('\n');
            key.extend(part.as_deref());
        }
        if key.len() > CALLBACK_KEY_MAX {
            return Ok(hex::encode(Sha256::digest(key.as_bytes())));
        }
        Ok(key)
    }
}

/// One record being read.
struct Reading<'r> {
    row: &'r Json,
    params: &'r [Bound],
    odd: &'r mut Vec<String>,
}

impl Reading<'_> {
    /// What stands at the first place that holds anything; `read` is `None` for what is unreadable.
    fn first<T>(&mut self, places: &[Pointer], read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let row = self.row;
        let (place, text) = places
            .iter()
            .find_map(|place| Some((place, place.text(row)?)))?;
        let found = read(&text);
        if found.is_none() {
            self.odd.push(format!("{place} cannot be read"));
        }
        found
    }

    fn text(&mut self, places: &[Pointer], bytes_max: usize) -> Option<String> {
        self.first(places, |text| {
            let fits = text.len() <= bytes_max && !text.chars().any(char::is_control);
            fits.then(|| text.to_owned())
        })
    }

    /// In our notation. Platforms hide numbers with asterisks, and callers may be anonymous: what
    /// is no number is kept as it is.
    fn number(&mut self, places: &[Pointer]) -> Option<String> {
        let number = self.text(places, NUMBER_MAX)?;
        Some(stored(&number))
    }

    fn moment(&mut self, places: &[Pointer], notation: Option<&Notation>) -> Option<u64> {
        let (notation, params) = (notation?, self.params);
        // A time that is not known yet is written as zero by some.
        let known = self.first(places, |text| match text {
            "0" => Some(None),
            text => Some(Some(notation.read(text, params)?)),
        });
        known.flatten()
    }

    fn duration(&mut self, places: &[Pointer], unit_ms: u64) -> Option<u64> {
        self.first(places, |text| {
            let duration: u64 = text.trim().parse().ok()?;
            duration.checked_mul(unit_ms)
        })
    }

    fn cost(&mut self, places: &[Pointer]) -> Option<i64> {
        self.first(places, micros)
    }
}

/// Decimal text as millionths; further digits are cut off.
fn micros(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let decimal = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !decimal(whole) || !decimal(part) {
        return None;
    }
    let part: String = part.chars().chain("000000".chars()).take(6).collect();
    let whole: i64 = whole.parse().ok()?;
    let micros = whole
        .checked_mul(1_000_000)?
        .checked_add(part.parse().ok()?)?;
    Some(sign * micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_as_millionths() {
        for (text, micros_of) in [
            ("0", Some(0)),
            ("1", Some(1_000_000)),
            ("0.0123", Some(12_300)),
            ("-2.5", Some(-2_500_000)),
            ("0.12345678", Some(123_456)),
            ("7.", Some(7_000_000)),
            ("", None),
            (".5", None),
            ("1e3", None),
            ("1,5", None),
            ("9999999999999999999", None),
            ("9223372036855", None),
        ] {
            assert_eq!(micros(text), micros_of, "{text}");
        }
    }

    #[test]
    fn moments_are_read_in_their_notation_and_zone() {
        let local = |format, zone| Notation::Local(Format::new(format, zone).unwrap());
        let zoned = ["utc", "+08:00"].map(|zone| {
            let format = Format::new("YYYY-MM-DD hh:mm:ss", zone).unwrap();
            (zone.into(), format)
        });
        let zoned = Notation::Zoned(0, zoned.to_vec());
        let utc = [Bound::Text("utc".to_owned())];
        let china = [Bound::Text("+08:00".to_owned())];
        let at = 1_716_193_800_000;
        for (notation, params, text, read) in [
            (Notation::Unix, &utc, "1716193800", Some(at)),
            (Notation::UnixMs, &utc, "1716193800123", Some(at + 123)),
            (Notation::UnixMs, &utc, "-5", None),
            (Notation::Unix, &utc, "99999999999999999999", None),
            (Notation::Unix, &utc, "0", None),
            (zoned.clone(), &utc, "2024-05-20 08:30:00", Some(at)),
            (zoned.clone(), &china, "2024-05-20 16:30:00", Some(at)),
            (zoned.clone(), &china, "2024-05-20", None),
            (zoned, &utc, "1970-01-01 00:00:00", None),
            (
                local("YYYYMMDDhhmmssSSS", "+08:00"),
                &utc,
                "20240520163000123",
                Some(at + 123),
            ),
            (
                local("YYYY-MM-DD hh:mm:ss", "+08:00"),
                &utc,
                "1970-01-01 07:59:59",
                None,
            ),
        ] {
            assert_eq!(notation.read(text, params), read, "{text}");
        }
    }
}
