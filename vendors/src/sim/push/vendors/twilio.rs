//! Twilio Proxy: the state of an interaction, as a form, signed with its address.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | fields | ids of interaction and session, states of both sides |
//! | repeats | none |

use super::super::{Account, Content, Fate, Herald, Notice, Request, Stamp, Story, Success, Told};
use crate::sim::common::crypt::{Hash, base64, mac};

/// See the module.
pub(in crate::sim::push) static HERALD: Herald = Herald {
    word: "twilio",
    tell,
    prove,
    success: Success::Status2xx,
    again_s: [&[], &[]],
};

fn tell(story: &Story, told: Told, _: &Account) -> Vec<Notice> {
    let state = match (told, story.fate()) {
        (Told::Started, _) => "initiated",
        (Told::Ringing, _) => "ringing",
        (Told::Answered, _) => "in-progress",
        (Told::Bill, _) => return Vec::new(),
        (Told::Ended, Fate::Talked) => "completed",
        (Told::Ended, Fate::Busy) => "busy",
        (Told::Ended, Fate::NoAnswer | Fate::Off) => "no-answer",
        (Told::Ended, Fate::Cancelled) => "canceled",
        (Told::Ended, Fate::NoNumber | Fate::Rejected | Fate::Failed) => "failed",
    };
    let form = vec![
        ("interactionSid", format!("KI{}", story.session)),
        ("sessionSid", story.carrier.bind_id.clone()),
        ("interactionType", "Voice".to_owned()),
        ("inboundResourceStatus", "in-progress".to_owned()),
        ("outboundResourceStatus", state.to_owned()),
    ];
    let content = Content::Form(form);
    vec![Notice { told, content }]
}

/// The address with its query, then every name and value in the order of the names.
fn prove(notice: &Notice, account: &Account, _: &Stamp) -> Request {
    let mut request = Request::of(notice, account.address(notice));
    if let Content::Form(form) = &notice.content {
        let mut form = form.clone();
        form.sort();
        let mut text = request.url.clone();
        for (name, value) in form {
            text.push_str(name);
            text.push_str(&value);
        }
        let signature = base64(mac(Hash::Sha1, &account.secret, text));
        request.headers.push(("X-Twilio-Signature", signature));
    }
    request
}
