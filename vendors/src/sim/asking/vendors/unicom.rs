//! China Unicom, interactive X. How `sign` is made and how long the carrier waits is not public:
//! MD5 over appId, timestamp and secret, and two seconds.

use serde_json::json;

use super::{fields, need, object, text};
use crate::numbers::to_e164;
use crate::sim::asking::{Answer, Asker, Asking, Heard, Question, Request, Stamp};
use crate::sim::common::crypt::{Hash, digest};

pub static ASKER: Asker = Asker {
    word: "china-unicom-x",
    path: "/voice_inactive",
    ask,
    read,
};

fn ask(question: &Question, asking: &Asking, stamp: &Stamp) -> Request {
    let signed = format!("{}{}{}", asking.key, stamp.now_ms, asking.secret);
    let body = json!({
        "callId": question.call,
        "caller": national(&question.from),
        "callee": national(&question.x),
        "appId": asking.key,
        "timestamp": stamp.now_ms,
        "sign": digest(Hash::Md5, signed),
    });
    Request {
        headers: vec![("Content-Type", "application/json;charset=UTF-8".to_owned())],
        body: body.to_string(),
    }
}

/// National digits, landlines with their zero; what is no number as it is.
fn national(number: &str) -> String {
    crate::numbers::from_e164(number)
}

/// Digits as the carrier takes them, in E.164.
fn number(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 20 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a number is none".to_owned());
    }
    Ok(to_e164(text))
}

fn read(heard: &Heard) -> Result<Answer, String> {
    let answer = object(heard, &["code", "msg", "processType", "data"])?;
    if answer.get("code") != Some(&json!(200)) {
        return Err(format!("code {:?}", answer.get("code")));
    }
    let process = need(&answer, "processType", 2)?;
    let nothing = json!({});
    let known = [
        "uId",
        "caller",
        "callee",
        "limitTime",
        "audioCode",
        "ussd",
        "noAnswerForward",
        "busyForword",
        "altCallee",
        "connectAudioToUp",
        "connectAudioToDown",
        "hangupDtmf",
    ];
    let data = fields(answer.get("data").unwrap_or(&nothing), &known)?;
    match process.as_str() {
        "0" => {}
        "1" | "2" | "3" => return Ok(Answer::Refuse),
        other => return Err(format!("processType {other}")),
    }
    if number(&need(&data, "caller", 20)?)? != heard.x {
        return Err("the caller that is shown is not X".to_owned());
    }
    if let Some(limit) = text(&data, "limitTime", 5)?
        && limit.parse::<u32>().is_err()
    {
        return Err("limitTime is no number".to_owned());
    }
    Ok(Answer::Dial {
        b: number(&need(&data, "callee", 20)?)?,
        own_id: text(&data, "uId", 32)?.unwrap_or_default(),
    })
}
