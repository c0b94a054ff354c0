//! ITNIO: the record of a call, with what it costs.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | proof | the address |
//! | times | Beijing time |
//! | `type` | `voice` |
//! | `pay`, `currency` | a cent of a dollar for each minute begun |
//! | `hangupReason` | a word |
//! | the answer that counts, repeats | 200; 1, 5, 15 minutes |

use serde_json::json;

use super::super::{Account, Fate, Herald, Notice, Story, Success, Told, by_address};
use super::beijing;
use crate::sim::common::Notation::International;

/// See the module.
pub(in crate::sim::push) static HERALD: Herald = Herald {
    word: "itniotech",
    tell,
    prove: by_address,
    success: Success::Status200,
    again_s: [&[], &[60, 300, 900]],
};

fn tell(story: &Story, told: Told, account: &Account) -> Vec<Notice> {
    if told != Told::Bill {
        return Vec::new();
    }
    let talked_s = story.talked_s();
    let minutes = talked_s.div_ceil(60);
    let reason = match story.fate() {
        Fate::Talked => "normal",
        Fate::Busy => "busy",
        Fate::NoAnswer => "no answer",
        Fate::Off => "unreachable",
        Fate::NoNumber => "no such number",
        Fate::Rejected => "rejected",
        Fate::Cancelled => "cancelled",
        Fate::Failed => "failed",
    };
    let status = story.ended.map_or(0, |(_, end)| end.status);
    let recording = story.recording();
    let record = json!({
        "callid": story.session,
        "number": International.write(&story.carrier.x),
        "type": "voice",
        "caller": International.write(story.caller()),
        "called": International.write(story.callee()),
        "callDuration": talked_s,
        "chargedDuration": minutes * 60,
        "startTime": beijing(story.started_ms),
        "endTime": beijing(story.ended_ms()),
        "sipCode": if status == 0 { 200 } else { status },
        "hangupReason": reason,
        "recordingFileId": recording.as_ref().map_or("", |_| &*story.session),
        "recordingFileUrl": recording.as_deref().unwrap_or(""),
        "pay": format!("{}.{:02}", minutes / 100, minutes % 100),
        "currency": "USD",
        "appId": account.key,
    });
    vec![Notice::json(told, record)]
}
