//! One file a vendor: how it asks, and which answers it takes.

pub(super) mod infobip;
pub(super) mod unicom;

use serde_json::{Map, Value};

use super::Heard;

/// The object that an answer is, of no other fields than these.
fn object(heard: &Heard, known: &[&str]) -> Result<Map<String, Value>, String> {
    if heard.status != 200 {
        return Err(format!("status {}", heard.status));
    }
    let kind = heard.content_type.split(';').next().unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        return Err(format!("content type {}", heard.content_type));
    }
    let value: Value = serde_json::from_slice(heard.body).map_err(|error| error.to_string())?;
    fields(&value, known)
}

/// The members of an object, which has no others than these.
fn fields(value: &Value, known: &[&str]) -> Result<Map<String, Value>, String> {
    let members = value.as_object().ok_or("is no object")?;
    match members.keys().find(|key| !known.contains(&key.as_str())) {
        Some(strange) => Err(format!("`{strange}` is no field")),
        None => Ok(members.clone()),
    }
}

/// A text of so many bytes at most; `None` when it is not there.
fn text(members: &Map<String, Value>, name: &str, most: usize) -> Result<Option<String>, String> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= most => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{name}` is no text of {most} bytes")),
    }
}

/// The same for one that must be there and hold something.
fn need(members: &Map<String, Value>, name: &str, most: usize) -> Result<String, String> {
    let text = text(members, name, most)?.unwrap_or_default();
    if text.is_empty() {
        return Err(format!("`{name}` is missing"));
    }
    Ok(text)
}
