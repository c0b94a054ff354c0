//! Reading requests as strictly as the vendor: JSON bodies and query strings in which every field is
//! known and has the right form.

use serde_json::{Map, Value};

use crate::sim::vendor::Call;

/// A refused request: code and text.
pub(super) struct Refused(pub(super) &'static str, pub(super) String);

impl Refused {
    pub(super) fn field(name: &str, what: &str) -> Refused {
        Refused("1010002", format!("invalid request: {name} {what}"))
    }
}

/// A JSON body whose fields are all known.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn read(call: &Call, known: &[&str]) -> Result<Fields, Refused> {
        let content_type = call
            .headers
            .iter()
            .find(|(name, _)| *name == "content-type");
        let content_type =
            content_type.map(|(_, value)| value.to_ascii_lowercase().replace(' ', ""));
        if content_type.as_deref() != Some("application/json;charset=utf-8") {
            return Err(Refused::field("Content-Type", "is not JSON in UTF-8"));
        }
        let Ok(Value::Object(fields)) = serde_json::from_slice(call.body) else {
            return Err(Refused::field("body", "is no JSON object"));
        };
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Refused::field(&shown(name), "is unknown")),
            None => Ok(Fields(fields)),
        }
    }

    pub(super) fn text(&self, name: &str, bytes_max: usize) -> Result<Option<String>, Refused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= bytes_max => Ok(Some(text.clone())),
            Some(Value::String(_)) => Err(Refused::field(name, "is too long")),
            Some(_) => Err(Refused::field(name, "is no string")),
        }
    }

    pub(super) fn whole(&self, name: &str, most: u64) -> Result<Option<u64>, Refused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) if number <= most => Ok(Some(number)),
                _ => Err(Refused::field(
                    name,
                    &format!("is no integer from 0 to {most}"),
                )),
            },
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<String>, Refused> {
        match self.text(name, 32)? {
            None => Ok(None),
            Some(text) => e164(name, &text).map(Some),
        }
    }

    /// One of these words.
    pub(super) fn choice(&self, name: &str, words: &[&str]) -> Result<Option<String>, Refused> {
        match self.text(name, 32)? {
            Some(word) if !words.contains(&word.as_str()) => Err(Refused::field(
                name,
                &format!("is none of {}", words.join(", ")),
            )),
            word => Ok(word),
        }
    }

    /// Fields that have no effect here, checked all the same.
    pub(super) fn common(&self) -> Result<(), Refused> {
        for name in ["recordFlag", "privateSms"] {
            self.choice(name, &["true", "false"])?;
        }
        self.text("recordHintTone", 128)?;
        self.text("areaMatchMode", 32)?;
        if self
            .text("userData", 256)?
            .is_some_and(|text| text.is_empty())
        {
            return Err(Refused::field("userData", "is empty"));
        }
        let minutes = self.whole("maxDuration", 1440)?;
        if self.text("lastMinVoice", 128)?.is_some() && minutes.unwrap_or(0) == 0 {
            return Err(Refused::field("lastMinVoice", "needs maxDuration"));
        }
        match self.0.get("preVoice") {
            None => Ok(()),
            Some(Value::Object(tones)) => {
                for (name, tone) in tones {
                    let known = name == "callerHintTone" || name == "calleeHintTone";
                    if !known || tone.as_str().is_none_or(|tone| tone.len() > 128) {
                        return Err(Refused::field("preVoice", "holds a bad tone"));
                    }
                }
                Ok(())
            }
            Some(_) => Err(Refused::field("preVoice", "is no object")),
        }
    }
}

/// A number in the vendor's form: `+`, country code, 5 to 20 digits in all, and no zero in front
/// of a Chinese area code.
pub(super) fn e164(name: &str, text: &str) -> Result<String, Refused> {
    let digits = text.strip_prefix('+').unwrap_or("");
    let fits = (5..=20).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
        && !digits.starts_with("860");
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Refused::field(name, "is no number in the form +86…"))
    }
}

pub(super) fn missing(name: &str) -> Refused {
    Refused::field(name, "is missing")
}

pub(super) fn query_pairs(query: &str, known: &[&str]) -> Result<Vec<(String, String)>, Refused> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for item in query.split('&').filter(|item| !item.is_empty()) {
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        let value = percent_decode(value)
            .ok_or_else(|| Refused::field(&shown(name), "is badly encoded"))?;
        if !known.contains(&name) {
            return Err(Refused::field(&shown(name), "is unknown"));
        }
        if pairs.iter().any(|(n, _)| n == name) {
            return Err(Refused::field(name, "is there twice"));
        }
        pairs.push((name.to_owned(), value));
    }
    Ok(pairs)
}

pub(super) fn pair<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}

/// Form decoding: a bare `+` is a space, so a number must be sent with `%2B`.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// A foreign name, short enough for an answer.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(40).collect()
}
