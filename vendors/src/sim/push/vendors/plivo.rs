//! Plivo: the end of a call in a session, as a form, with a signature of the third version.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | address | the configured one; the one that a session names is not called |
//! | fields beside session, event and duration | `CallUUID`, `From`, `To`, `EndTime`, `HangupCause` |
//! | other events, recordings | none |

use super::super::{Account, Content, Fate, Herald, Notice, Request, Stamp, Story, Success, Told};
use crate::sim::common::Notation::International;
use crate::sim::common::crypt::{Hash, base64, mac};
use crate::sim::common::times::{PLAIN, write};

/// See the module.
pub(in crate::sim::push) static HERALD: Herald = Herald {
    word: "plivo",
    tell,
    prove,
    success: Success::Status2xx,
    again_s: [&[60, 120, 240], &[]],
};

fn tell(story: &Story, told: Told, _: &Account) -> Vec<Notice> {
    if told != Told::Ended {
        return Vec::new();
    }
    let cause = match story.fate() {
        Fate::Talked => "Normal Hangup",
        Fate::Busy => "Busy",
        Fate::NoAnswer => "No Answer",
        Fate::Off => "Unreachable",
        Fate::NoNumber => "Unknown Number",
        Fate::Rejected => "Rejected",
        Fate::Cancelled => "Cancelled",
        Fate::Failed => "Network Error",
    };
    let form = vec![
        ("SessionUUID", story.carrier.bind_id.clone()),
        ("CallUUID", story.session.clone()),
        ("Event", "HangupEvent".to_owned()),
        ("From", International.write(story.caller())),
        ("To", International.write(&story.carrier.x)),
        ("EndTime", write(story.ended_ms() / 1000, PLAIN)),
        ("Duration", story.talked_s().to_string()),
        ("HangupCause", cause.to_owned()),
    ];
    let content = Content::Form(form);
    vec![Notice { told, content }]
}

/// The address, a question mark even without a query, the query and a stop if there is one, every
/// name and value in the order of the names, a stop and the nonce.
fn prove(notice: &Notice, account: &Account, stamp: &Stamp) -> Request {
    let mut request = Request::of(notice, account.address(notice));
    if let Content::Form(form) = &notice.content {
        let (address, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
        let mut query: Vec<&str> = query.split('&').filter(|item| !item.is_empty()).collect();
        query.sort_unstable();
        let mut text = format!("{address}?{}", query.join("&"));
        if !query.is_empty() {
            text.push('.');
        }
        let mut form = form.clone();
        form.sort();
        for (name, value) in form {
            text.push_str(name);
            text.push_str(&value);
        }
        text.push('.');
        text.push_str(&stamp.nonce);
        let signature = base64(mac(Hash::Sha256, &account.secret, text));
        let headers = [
            ("X-Plivo-Signature-V3", signature),
            ("X-Plivo-Signature-V3-Nonce", stamp.nonce.clone()),
        ];
        request.headers.extend(headers);
    }
    request
}
