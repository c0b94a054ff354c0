//! The "vcc" platform: events and a bill, signed in the body like a request.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | name of the field with the event's word | `event` |
//! | `current_time` | Beijing time like those of the bill |
//! | the answer that counts | 200 |

use serde_json::{Value, json};

use super::super::{Account, Content, Fate, Herald, Notice, Request, Stamp, Story, Success, Told};
use super::{beijing, beijing_if};
use crate::sim::common::Notation::National;
use crate::sim::common::crypt::{Hash, digest};
use crate::sim::common::plain;

/// See the module.
pub(in crate::sim::push) static HERALD: Herald = Herald {
    word: "vcc",
    tell,
    prove,
    success: Success::Status200,
    again_s: [&[60, 300, 900], &[60, 300, 900]],
};

/// How a call ended, in this vendor's numbers.
pub(super) fn call_result(story: &Story) -> u32 {
    match story.fate() {
        Fate::Talked => 1,
        Fate::Busy => 2,
        Fate::NoAnswer => 4,
        Fate::Off => 5,
        Fate::NoNumber => 6,
        Fate::Cancelled if story.ringing_ms.is_some() => 9,
        Fate::Rejected => 11,
        Fate::Cancelled => 20,
        Fate::Failed => 99,
    }
}

fn tell(story: &Story, told: Told, _: &Account) -> Vec<Notice> {
    let notice = |value| Notice::json(told, value);
    let event = |word: &str, at_ms: Option<u64>| {
        let mut event = json!({
            "event": word,
            "record_id": story.session,
            "bind_id": story.carrier.bind_id,
            "tel_x": National.write(&story.carrier.x),
            "current_time": beijing(at_ms.unwrap_or(story.started_ms)),
            "call_type": call_type(story),
            "user_data": story.carrier.user_data,
        });
        if word == "hangup" {
            event["call_result"] = call_result(story).into();
        }
        notice(event)
    };
    match told {
        Told::Started => ["callin", "callout"]
            .map(|word| event(word, Some(story.started_ms)))
            .into(),
        Told::Ringing => vec![event("ringing", story.ringing_ms)],
        Told::Answered => vec![event("answer", story.answered_ms)],
        Told::Ended => vec![event("hangup", Some(story.ended_ms()))],
        Told::Bill => vec![notice(bill(story))],
    }
}

/// 10: A called; 11: A was called.
fn call_type(story: &Story) -> u32 {
    10 + u32::from(story.incoming)
}

fn bill(story: &Story) -> Value {
    let carrier = &story.carrier;
    let recording = story.recording();
    let recorded_ms = story.answered_ms.filter(|_| recording.is_some());
    json!({
        "record_id": story.session,
        "bind_id": carrier.bind_id,
        "request_id": carrier.own_id,
        "tel_a": National.write(&carrier.a),
        "tel_b": National.write(&carrier.b),
        "tel_x": National.write(&carrier.x),
        "area_code": "",
        "call_type": call_type(story),
        "bind_time": beijing(carrier.since_ms),
        "begin_time": beijing(story.started_ms),
        "callout_time": beijing(story.started_ms),
        "alerting_time": beijing_if(story.ringing_ms),
        "connect_time": beijing_if(story.answered_ms),
        "release_time": beijing(story.ended_ms()),
        "call_duration": story.talked_s(),
        "call_result": call_result(story),
        "record_file_url": recording.unwrap_or_default(),
        "record_start_time": beijing_if(recorded_ms),
        "user_data": carrier.user_data,
    })
}

/// Pairs in the order of their names, without what is empty and without blanks in the values, the
/// secret behind them; the digest in capitals.
fn prove(notice: &Notice, account: &Account, stamp: &Stamp) -> Request {
    let mut said = notice.clone();
    if let Content::Json(body) = &mut said.content {
        body["ts"] = stamp.now_ms.into();
        let fields = body.as_object().into_iter().flatten();
        let mut signed: Vec<(String, String)> = fields
            .map(|(name, value)| {
                let value = plain(value).replace(['\r', '\n', ' '], "");
                (name.clone(), value)
            })
            .filter(|(_, value)| !value.is_empty())
            .collect();
        signed.sort();
        let mut text: String = signed.iter().map(|(n, v)| format!("{n}={v}&")).collect();
        text.push_str(&format!("secret_key={}", account.secret));
        body["sign"] = digest(Hash::Md5, text).to_uppercase().into();
        body["appkey"] = account.key.as_str().into();
    }
    Request::of(&said, account.address(notice))
}
