//! Infobip number masking. The digest of Authorization is taken as hexadecimal, and the platform
//! waits two seconds: neither is public.

use serde_json::json;

use super::{fields, need, object, text};
use crate::sim::asking::{Answer, Asker, Asking, Heard, Question, Request, Stamp};
use crate::sim::common::crypt::{Hash, digest};

pub static ASKER: Asker = Asker {
    word: "infobip",
    path: "/callback",
    ask,
    read,
};

fn ask(question: &Question, asking: &Asking, _: &Stamp) -> Request {
    let plain = |number: &str| number.trim_start_matches('+').to_owned();
    let body = json!({
        "from": plain(&question.from),
        "to": plain(&question.x),
        "correlationId": question.call,
        "nmCorrelationId": format!("nm-{}", question.call),
    })
    .to_string();
    let rest = question.url.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    let hashed = format!("{path}{body}{}", asking.secret);
    let proof = format!("{}:{}", asking.key, digest(Hash::Sha256, hashed));
    Request {
        headers: vec![
            ("Content-Type", "application/json".to_owned()),
            ("Authorization", proof),
        ],
        body,
    }
}

/// Digits with their country, in E.164.
fn number(text: &str) -> Result<String, String> {
    let digits = (6..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits || text.starts_with('0') {
        return Err("a number is none".to_owned());
    }
    Ok(format!("+{text}"))
}

fn read(heard: &Heard) -> Result<Answer, String> {
    let known = [
        "command",
        "phoneNumber",
        "callerId",
        "announcements",
        "recording",
        "machineDetection",
        "clientReferenceId",
        "fileId",
        "fileUrl",
    ];
    let answer = object(heard, &known)?;
    match need(&answer, "command", 32)?.as_str() {
        "audio" => {
            if text(&answer, "fileId", 200)?
                .or(text(&answer, "fileUrl", 2_048)?)
                .is_none()
            {
                return Err("audio without a file".to_owned());
            }
            return Ok(Answer::Refuse);
        }
        "dial" => {}
        other => return Err(format!("command {other}")),
    }
    if number(&need(&answer, "callerId", 20)?)? != heard.x {
        return Err("callerId is no number of this account".to_owned());
    }
    if let Some(recording) = answer.get("recording") {
        let recording = fields(recording, &["enabled", "recordCalleeAnnouncement"])?;
        if !recording.values().all(serde_json::Value::is_boolean) {
            return Err("recording says neither true nor false".to_owned());
        }
    }
    Ok(Answer::Dial {
        b: number(&need(&answer, "phoneNumber", 20)?)?,
        own_id: text(&answer, "clientReferenceId", 200)?.unwrap_or_default(),
    })
}
