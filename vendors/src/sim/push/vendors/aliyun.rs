//! Alibaba Cloud: reports in batches (here of one). A pick-up report when the call is answered, a
//! call record when it is over; there are reports of ringing too, whose fields are not known.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | proof | the address |
//! | `release_dir` | 1 the caller, 2 the callee, 0 the platform |
//! | `release_cause` | Q.850 |

use serde_json::{Value, json};

use super::super::{Account, Fate, Herald, Notice, Story, Success, Told, by_address};
use super::{beijing, beijing_if};
use crate::sim::common::Notation;
use crate::sim::sip::Side;

/// See the module.
pub(in crate::sim::push) static HERALD: Herald = Herald {
    word: "aliyun",
    tell,
    prove: by_address,
    success: Success::CodeZero,
    again_s: [&[60, 300, 900], &[60, 300, 900]],
};

fn tell(story: &Story, told: Told, account: &Account) -> Vec<Notice> {
    let report = match told {
        Told::Answered => picked_up(story, account),
        Told::Bill => record(story, account),
        _ => return Vec::new(),
    };
    vec![Notice::json(told, json!([report]))]
}

/// What both reports say.
fn report(story: &Story, account: &Account) -> Value {
    let carrier = &story.carrier;
    let id = carrier.bind_id.parse::<u64>();
    json!({
        "sub_id": id.map_or_else(|_| json!(carrier.bind_id), Value::from),
        "call_id": story.session,
        "phone_no": Notation::National.write(&carrier.a),
        "secret_no": Notation::National.write(&carrier.x),
        "peer_no": Notation::National.write(&carrier.b),
        "call_type": u8::from(story.incoming),
        "call_time": beijing(story.started_ms),
        "pool_key": account.key,
        "out_id": carrier.user_data,
    })
}

fn picked_up(story: &Story, account: &Account) -> Value {
    let mut report = report(story, account);
    report["ringTime"] = beijing_if(story.ringing_ms).into();
    report["start_time"] = beijing_if(story.answered_ms).into();
    report["city"] = "".into();
    report
}

/// A call that nobody answered starts when it is released.
fn record(story: &Story, account: &Account) -> Value {
    let mut report = report(story, account);
    let start_ms = story.answered_ms.unwrap_or(story.ended_ms());
    report["ring_time"] = beijing_if(story.ringing_ms).into();
    report["start_time"] = beijing(start_ms).into();
    report["release_time"] = beijing(story.ended_ms()).into();
    report["release_dir"] = match story.ended_by() {
        Side::Platform => 0,
        Side::Caller => 1,
        Side::Callee => 2,
    }
    .into();
    report["release_cause"] = match story.fate() {
        Fate::Talked | Fate::Cancelled => 16,
        Fate::NoNumber => 1,
        Fate::Busy => 17,
        Fate::NoAnswer => 19,
        Fate::Off => 20,
        Fate::Rejected => 21,
        Fate::Failed => 31,
    }
    .into();
    report
}
