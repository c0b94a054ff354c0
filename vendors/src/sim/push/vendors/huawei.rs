//! Huawei: call events one by one, bills in a list (here of one), both proved by WSSE, which signs
//! neither address nor body.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | zone of the times | UTC |
//! | `caller` and `called` of events | as each leg has them: A and X when the call comes in, then A and B |
//! | `spId`, `hostName`, `areaCode`, names of recordings' stores | made up |

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::{Account, Fate, Herald, Notice, Request, Stamp, Story, Success, Told};
use crate::sim::common::times::{ISO, PLAIN, write};

const MINUTE_S: u64 = 60;
const AGAIN_S: &[u64] = &[
    MINUTE_S,
    4 * MINUTE_S,
    9 * MINUTE_S,
    106 * MINUTE_S,
    203 * MINUTE_S,
    300 * MINUTE_S,
];

/// See the module.
pub(in crate::sim::push) static HERALD: Herald = Herald {
    word: "huawei",
    tell,
    prove,
    success: Success::Empty,
    again_s: [AGAIN_S, AGAIN_S],
};

fn utc(at_ms: u64) -> String {
    write(at_ms / 1000, PLAIN)
}

fn tell(story: &Story, told: Told, account: &Account) -> Vec<Notice> {
    let notice = |value| Notice::json(told, value);
    let (caller, callee) = (story.caller(), story.callee());
    match told {
        Told::Started => {
            let mut callin = event(
                story,
                "callin",
                story.started_ms,
                [caller, &story.carrier.x],
            );
            if !story.carrier.user_data.is_empty() {
                callin["statusInfo"]["userData"] = story.carrier.user_data.as_str().into();
            }
            let callout = event(story, "callout", story.started_ms, [caller, callee]);
            vec![notice(callin), notice(callout)]
        }
        Told::Ringing => {
            let at_ms = story.ringing_ms.unwrap_or(story.started_ms);
            vec![notice(event(story, "alerting", at_ms, [caller, callee]))]
        }
        Told::Answered => {
            let at_ms = story.answered_ms.unwrap_or(story.started_ms);
            vec![notice(event(story, "answer", at_ms, [caller, callee]))]
        }
        Told::Ended => {
            let mut end = event(story, "disconnect", story.ended_ms(), [caller, callee]);
            let (code, text) = released(story.fate());
            end["statusInfo"]["stateCode"] = code.into();
            end["statusInfo"]["stateDesc"] = text.into();
            vec![notice(end)]
        }
        Told::Bill => {
            let fee = json!({"eventType": "fee", "feeLst": [fee(story, account)]});
            vec![notice(fee)]
        }
    }
}

fn event(story: &Story, word: &str, at_ms: u64, [caller, called]: [&str; 2]) -> Value {
    json!({
        "eventType": word,
        "statusInfo": {
            "timestamp": utc(at_ms),
            "sessionId": story.session,
            "caller": caller,
            "called": called,
            "subscriptionId": story.carrier.bind_id,
        },
    })
}

/// The vendor's release cause.
fn released(fate: Fate) -> (u32, &'static str) {
    match fate {
        Fate::Talked | Fate::Cancelled => (0, "The user releases the call."),
        Fate::NoNumber => (8100, "The callee number does not exist."),
        Fate::NoAnswer | Fate::Failed => (8101, "No answer."),
        Fate::Busy => (8102, "The callee is busy."),
        Fate::Off => (8104, "The callee is powered off."),
        Fate::Rejected => (7504, "The callee rejects the call."),
    }
}

/// Q.850.
fn cause(fate: Fate) -> u32 {
    match fate {
        Fate::Talked => 0,
        Fate::NoNumber => 1,
        Fate::Cancelled => 16,
        Fate::Busy => 17,
        Fate::NoAnswer => 19,
        Fate::Off => 20,
        Fate::Rejected => 21,
        Fate::Failed => 31,
    }
}

fn fee(story: &Story, account: &Account) -> Value {
    let time = |at_ms: Option<u64>| at_ms.map(utc).unwrap_or_default();
    let talked = story.answered_ms.is_some();
    let status = story.ended.map_or(0, |(_, end)| end.status);
    let recording = story.recording();
    let carrier = &story.carrier;
    json!({
        "direction": 1,
        "spId": "sim",
        "appKey": account.key,
        "icid": format!("{}.1", story.session),
        "bindNum": carrier.x,
        "sessionId": story.session,
        "callerNum": story.caller(),
        "calleeNum": carrier.x,
        "fwdDisplayNum": carrier.x,
        "fwdDstNum": story.callee(),
        "callInTime": utc(story.started_ms),
        "fwdStartTime": utc(story.started_ms),
        "fwdAlertingTime": time(story.ringing_ms),
        "fwdAnswerTime": time(story.answered_ms),
        "callEndTime": utc(story.ended_ms()),
        "fwdUnaswRsn": cause(story.fate()),
        "failTime": if talked { String::new() } else { utc(story.ended_ms()) },
        "ulFailReason": 0,
        "sipStatusCode": if talked { 0 } else { status },
        "recordFlag": u8::from(recording.is_some()),
        "recordStartTime": if recording.is_some() { time(story.answered_ms) } else { String::new() },
        "recordObjectName": recording.as_ref().map_or(String::new(), |_| format!("{}.wav", story.session)),
        "recordBucketName": "sim",
        "recordDomain": "records.sim.invalid",
        "recordFileDownloadUrl": recording.unwrap_or_default(),
        "serviceType": "004",
        "hostName": "sim",
        "subscriptionId": carrier.bind_id,
        "userData": carrier.user_data,
        "callDuration": story.talked_s(),
        "areaCode": "",
        "callRelDirection": 0,
    })
}

fn prove(notice: &Notice, account: &Account, stamp: &Stamp) -> Request {
    let mut request = Request::of(notice, account.address(notice));
    let created = write(stamp.now_ms / 1000, ISO);
    let mut hash = Sha256::new();
    for part in [&stamp.nonce, &created, &account.secret] {
        hash.update(part.as_bytes());
    }
    let token = format!(
        "UsernameToken Username=\"{}\",PasswordDigest=\"{}\",Nonce=\"{}\",Created=\"{created}\"",
        account.key,
        STANDARD.encode(hash.finalize()),
        stamp.nonce,
    );
    let scheme = "WSSE realm=\"SDP\",profile=\"UsernameToken\",type=\"Appkey\"";
    request.headers.push(("Authorization", scheme.to_owned()));
    request.headers.push(("X-WSSE", token));
    request
}
