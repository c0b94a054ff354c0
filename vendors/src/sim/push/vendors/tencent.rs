//! Tencent Cloud: the bill of a call, with its recording. Call states are pushed too, in a form
//! that is not public.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | addresses | the configured one; those that a bind names are not called |
//! | letter case of the fields | lower camel |
//! | proof | the address |
//! | durations | texts |

use serde_json::json;

use super::super::{Account, Fate, Herald, Notice, Story, Success, Told, by_address};
use super::{beijing, beijing_if};
use crate::sim::common::Notation::Zeros;

/// See the module.
pub(in crate::sim::push) static HERALD: Herald = Herald {
    word: "tencent",
    tell,
    prove: by_address,
    success: Success::Status200,
    again_s: [&[], &[60, 300, 900]],
};

fn tell(story: &Story, told: Told, _: &Account) -> Vec<Notice> {
    if told != Told::Bill {
        return Vec::new();
    }
    let status = match story.fate() {
        Fate::Talked => 1,
        Fate::Cancelled => 3,
        Fate::NoAnswer => 4,
        Fate::Rejected => 5,
        Fate::Off => 6,
        Fate::NoNumber => 7,
        Fate::Busy => 8,
        Fate::Failed => 10,
    };
    let whole_s = (story.ended_ms() / 1000).saturating_sub(story.started_ms / 1000);
    let bill = json!({
        "callId": story.session,
        "bindId": story.carrier.bind_id,
        "src": Zeros.write(story.caller()),
        "dst": Zeros.write(story.callee()),
        "dstVirtualNum": Zeros.write(&story.carrier.x),
        "callCenterAcceptTime": beijing(story.started_ms),
        "startDstCallTime": beijing(story.started_ms),
        "startDstRingTime": beijing_if(story.ringing_ms),
        "dstAcceptTime": beijing_if(story.answered_ms),
        "endCallTime": beijing(story.ended_ms()),
        "callEndStatus": status.to_string(),
        "srcDuration": whole_s.to_string(),
        "dstDuration": story.talked_s().to_string(),
        "recordUrl": story.recording().unwrap_or_default(),
    });
    vec![Notice::json(told, bill)]
}
