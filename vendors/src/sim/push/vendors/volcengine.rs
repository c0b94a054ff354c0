//! Volcengine: call states, which are never repeated, and the bill, which is for hours.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | proof | the address: the recipe of the signature is not public |
//! | `allEventType` | the states so far, with commas |
//! | `callResult` | 1 answered, 2 busy, 4 no answer, 5 off, 6 no such number, 11 rejected, 20 given up, 99 other |
//! | `releaseType` | 1 the caller, 2 the callee, 0 the platform |
//! | recordings | the push of their addresses has no known fields and is left out |

use serde_json::json;

use super::super::{Account, Herald, Notice, Story, Success, Told, by_address};
use super::vcc::call_result;
use crate::sim::common::Notation::National;
use crate::sim::sip::Side;

/// See the module. The papers go on every two hours without an end; here twice.
pub(in crate::sim::push) static HERALD: Herald = Herald {
    word: "volcengine",
    tell,
    prove: by_address,
    success: Success::Status2xx,
    again_s: [&[], &[10, 30, 60, 120, 180, 7_200, 7_200]],
};

fn tell(story: &Story, told: Told, account: &Account) -> Vec<Notice> {
    let carrier = &story.carrier;
    let common = json!({
        "accountId": account.key,
        "callId": story.session,
        "serviceType": "200",
        "caller": National.write(story.caller()),
        "callee": National.write(story.callee()),
        "phoneNoA": National.write(&carrier.a),
        "phoneNoB": National.write(&carrier.b),
        "phoneNoX": National.write(&carrier.x),
        "subscriptionId": carrier.bind_id,
        "userData": carrier.user_data,
    });
    let mut said = common;
    let (state, at_ms, so_far) = match told {
        Told::Started => (1, story.started_ms, "1"),
        Told::Ringing => (2, story.ringing_ms.unwrap_or(story.started_ms), "1,2"),
        Told::Answered => (3, story.answered_ms.unwrap_or(story.started_ms), "1,2,3"),
        Told::Ended => {
            let so_far = match (story.ringing_ms, story.answered_ms) {
                (_, Some(_)) => "1,2,3,4",
                (Some(_), None) => "1,2,4",
                (None, None) => "1,4",
            };
            (4, story.ended_ms(), so_far)
        }
        Told::Bill => {
            said["messageType"] = 2.into();
            said["beginCallTime"] = story.started_ms.into();
            said["ringTime"] = story.ringing_ms.unwrap_or(0).into();
            said["startTime"] = story.answered_ms.unwrap_or(0).into();
            said["endTime"] = story.ended_ms().into();
            said["callDuration"] = story.talked_s().into();
            said["callResult"] = call_result(story).into();
            said["callType"] = u8::from(story.incoming).into();
            said["releaseType"] = match story.ended_by() {
                Side::Platform => 0,
                Side::Caller => 1,
                Side::Callee => 2,
            }
            .into();
            return vec![Notice::json(told, said)];
        }
    };
    said["messageType"] = 1.into();
    said["eventType"] = state.into();
    said["allEventType"] = so_far.into();
    said["eventTime"] = (at_ms / 1000).to_string().into();
    vec![Notice::json(told, said)]
}
