//! Reading what a request says as strictly as the vendors do.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::notation::Notation;
use super::pairs::pairs;
use super::{Call, Refused};

/// The codes of a request that cannot be read.
#[derive(Clone, Copy, Debug)]
pub struct Codes {
    /// A field is wrong or unknown.
    pub bad: &'static str,
    /// A field is not there.
    pub missing: &'static str,
    /// A field is no number that can be called.
    pub number: &'static str,
}

impl Codes {
    /// One code for all.
    pub const fn all(code: &'static str) -> Codes {
        Codes {
            bad: code,
            missing: code,
            number: code,
        }
    }
}

/// What a request says, by name. A field that is null counts as absent.
#[derive(Debug)]
pub struct Fields {
    map: Map<String, Value>,
    codes: Codes,
}

impl Fields {
    /// A JSON object, which must be said to be one in `Content-Type`.
    pub fn json(call: &Call, codes: Codes) -> Result<Fields, Refused> {
        let content_type = call.header("content-type").unwrap_or("");
        let kind = content_type.split(';').next().unwrap_or("").trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Refused::new(codes.bad, "Content-Type is not JSON"));
        }
        Fields::object(call.body, codes)
    }

    /// A JSON object, whatever `Content-Type` says; nothing at all is an empty one.
    pub fn object(body: &[u8], codes: Codes) -> Result<Fields, Refused> {
        if body.is_empty() {
            return Ok(Fields::of(Map::new(), codes));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Fields::of(map, codes)),
            _ => Err(Refused::new(codes.bad, "body is no JSON object")),
        }
    }

    /// A form or query, each name once.
    pub fn form(text: &str, codes: Codes) -> Result<Fields, Refused> {
        let bad = |what: &'static str| Refused::new(codes.bad, what);
        let mut map = Map::new();
        for (name, value) in pairs(text).ok_or_else(|| bad("form is badly encoded"))? {
            if map.insert(name, Value::String(value)).is_some() {
                return Err(bad("a parameter is there twice"));
            }
        }
        Ok(Fields::of(map, codes))
    }

    /// Fields that are there already.
    pub fn of(mut map: Map<String, Value>, codes: Codes) -> Fields {
        map.retain(|_, value| !value.is_null());
        Fields { map, codes }
    }

    /// All of them.
    pub fn map(&self) -> &Map<String, Value> {
        &self.map
    }

    /// Refuses every field that is not named here (blanks between the names).
    pub fn only(&self, known: &str) -> Result<(), Refused> {
        let known: Vec<&str> = known.split_whitespace().collect();
        match self.map.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(self.bad(name, "is unknown")),
            None => Ok(()),
        }
    }

    /// The refusal of a field.
    pub fn bad(&self, name: &str, what: impl Display) -> Refused {
        let name: String = name.chars().take(40).collect();
        Refused::new(self.codes.bad, format!("{name} {what}"))
    }

    /// The refusal of a request without a field.
    pub fn missing(&self, name: &str) -> Refused {
        Refused::new(self.codes.missing, format!("{name} is missing"))
    }

    /// A value as it is signed, empty when there is none.
    pub fn plain(&self, name: &str) -> String {
        self.map.get(name).map_or_else(String::new, super::plain)
    }

    /// A text; one that is empty counts as absent.
    pub fn text(&self, name: &str, bytes_max: usize) -> Result<Option<String>, Refused> {
        match self.map.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if text.len() <= bytes_max => Ok(Some(text.clone())),
            Some(Value::String(_)) => Err(self.bad(name, "is too long")),
            Some(_) => Err(self.bad(name, "is no text")),
        }
    }

    /// A text that must be there.
    pub fn need(&self, name: &str, bytes_max: usize) -> Result<String, Refused> {
        let text = self.text(name, bytes_max)?;
        text.ok_or_else(|| self.missing(name))
    }

    /// A text that must be there and be this one, if this one is not empty.
    pub fn is(&self, name: &str, wanted: &str, code: &'static str) -> Result<(), Refused> {
        let given = self.need(name, 128)?;
        if wanted.is_empty() || given == wanted {
            Ok(())
        } else {
            Err(Refused::new(code, format!("{name} is unknown")))
        }
    }

    /// An integer as JSON has them.
    pub fn whole(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Refused> {
        let Some(value) = self.map.get(name) else {
            return Ok(None);
        };
        self.within(name, value.as_u64(), range)
    }

    /// An integer written as a text of digits.
    pub fn digits(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Refused> {
        let Some(text) = self.text(name, 20)? else {
            return Ok(None);
        };
        let plain = text.bytes().all(|b| b.is_ascii_digit());
        let value = plain.then(|| text.parse().ok()).flatten();
        self.within(name, value, range)
    }

    /// An integer in either form.
    pub fn count(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Refused> {
        if self.map.get(name).is_some_and(Value::is_string) {
            self.digits(name, range)
        } else {
            self.whole(name, range)
        }
    }

    fn within(
        &self,
        name: &str,
        value: Option<u64>,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Refused> {
        match value {
            Some(value) if range.contains(&value) => Ok(Some(value)),
            _ => {
                let (least, most) = range.into_inner();
                Err(self.bad(name, format!("is no integer from {least} to {most}")))
            }
        }
    }

    /// A phone number, in E.164.
    pub fn number(&self, name: &str, notation: Notation) -> Result<Option<String>, Refused> {
        let Some(text) = self.text(name, 40)? else {
            return Ok(None);
        };
        let number = notation.read(&text);
        let wrong = || Refused::new(self.codes.number, format!("{name} is no number"));
        number.ok_or_else(wrong).map(Some)
    }

    /// A phone number that must be there.
    pub fn need_number(&self, name: &str, notation: Notation) -> Result<String, Refused> {
        let number = self.number(name, notation)?;
        number.ok_or_else(|| self.missing(name))
    }

    /// One of these words (blanks between them), as text or as integer.
    pub fn choice(&self, name: &str, words: &str) -> Result<Option<String>, Refused> {
        let given = match self.map.get(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(yes)) => yes.to_string(),
            Some(_) => self.text(name, 64)?.unwrap_or_default(),
        };
        if words.split_whitespace().any(|word| word == given) {
            Ok(Some(given))
        } else {
            Err(self.bad(name, format!("is none of {words}")))
        }
    }
}
