//! What each vendor pushes, read by the definition with which a customer reads it.

mod delivery;

use super::*;
use crate::Interface;
use crate::definition::Plan;
use crate::definition::{CallEvent, CallbackRequest};
use crate::interface::Vendor;
use crate::sim::common::crypt::{Hash, base64, mac};
use crate::sim::sip::{End, Route, Side};
use crate::sim::vendor::Carrier;

/// 2024-05-20 08:30:00 UTC.
const NOW_MS: u64 = 1_716_193_800_000;

/// A call of A to X that B answers after 4 seconds; they talk a minute, A hangs up.
fn talked() -> Story {
    Story {
        session: "0a1b2c3d-0000000001".into(),
        carrier: carrier(),
        incoming: false,
        started_ms: NOW_MS,
        ringing_ms: Some(NOW_MS + 1_500),
        answered_ms: Some(NOW_MS + 4_000),
        ended: Some((NOW_MS + 64_000, end(Side::Caller, 0))),
    }
}

fn end(by: Side, status: u16) -> End {
    End { by, status }
}

fn carrier() -> Carrier {
    Carrier {
        route: Route::Out("13900000002".into()),
        bind_id: "7001".into(),
        a: "+862131000001".into(),
        x: "+8617000000000".into(),
        b: "+8613900000002".into(),
        own_id: "call-1".into(),
        user_data: "call-1".into(),
        recorded: true,
        since_ms: NOW_MS - 1_000,
    }
}

/// B is busy.
fn busy() -> Story {
    Story {
        ringing_ms: None,
        answered_ms: None,
        ended: Some((NOW_MS + 2_000, end(Side::Callee, 486))),
        ..talked()
    }
}

fn account(vendor: &str) -> Account {
    let mut credentials = Credentials::new("key", "secret");
    credentials.callback_url = format!("http://127.0.0.1:1/callbacks/{vendor}/");
    credentials.callback_secret = "to/ken".into();
    Account::of(&credentials).unwrap()
}

/// The customer's side.
fn plan(row: &Row) -> Plan {
    let vendor = Vendor::named(row.vendor).unwrap();
    let mut interface = Interface::new(1, "pushes", vendor, "");
    for (name, value) in row.params {
        interface = interface.with(name, value);
    }
    Plan::new(&interface)
}

/// Reads a push as a node would: status and body of the answer, and the events.
fn receive(row: &Row, request: &Request, name: &str, now_ms: u64) -> (u16, String, Vec<CallEvent>) {
    let head = format!("http://127.0.0.1:1/callbacks/{}/{name}", row.vendor);
    let suffix = request.url.strip_prefix(&head).unwrap();
    let suffix = suffix.trim_start_matches('/').replace("%2F", "/");
    let headers = request.headers.iter().map(|(n, v)| (*n, v.as_str()));
    let pushed = CallbackRequest {
        method: "POST",
        url: &request.url,
        suffix: &suffix,
        headers: &headers.collect::<Vec<_>>(),
        body: request.body.as_bytes(),
        now_ms,
    };
    let plan = plan(row);
    let received = plan.receive(name, &pushed);
    let reply = plan.reply(name, &received);
    let receipt = received.unwrap_or_default();
    assert_eq!(receipt.odd, [""; 0], "{request:?}");
    (reply.status, reply.body, receipt.events)
}

/// An event in a line: kind, binding, own id, numbers, the seconds since the call began of what it
/// tells (`@` itself, start, ring, answer, end), duration, cause, whether there is a recording, and
/// what it costs in millionths.
fn line(event: &CallEvent) -> String {
    let since = |at_ms: Option<u64>| match at_ms {
        None => "-".to_owned(),
        Some(at_ms) => (at_ms / 1000 - NOW_MS / 1000).to_string(),
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let times = [
        event.started_ms,
        event.ringing_ms,
        event.answered_ms,
        event.ended_ms,
    ];
    let times = times.map(since).join(" ");
    let id = event.handle.values().next().cloned();
    let numbers = [&event.a, &event.x, &event.b].map(text).join(" ");
    format!(
        "{} {} {} {numbers} @{} {times} {}s {}{}{}",
        event.kind.word(),
        text(&id),
        text(&event.own_id),
        since(event.at_ms),
        event
            .duration_ms
            .map_or("-".to_owned(), |ms| (ms / 1000).to_string()),
        text(&event.cause),
        event.recording.as_ref().map_or("", |_| " wav"),
        event
            .cost_micros
            .map_or(String::new(), |micros| format!(" costs {micros}")),
    )
}

struct Row {
    vendor: &'static str,
    params: &'static [(&'static str, &'static str)],
    /// What a call is told as that was answered.
    talked: &'static [&'static str],
    /// The end of one that met a busy phone.
    busy: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        vendor: "aliyun",
        params: &[
            ("access_key_id", "key"),
            ("access_key_secret", "secret"),
            ("pool_key", "key"),
            ("callback_token", "to/ken"),
        ],
        talked: &[
            "answered 7001 call-1 02131000001 17000000000 13900000002 @4 0 1 4 - -s -",
            "bill 7001 call-1 02131000001 17000000000 13900000002 @- 0 1 4 64 -s 16",
        ],
        busy: &["bill 7001 call-1 02131000001 17000000000 13900000002 @- 0 - - 2 -s 17"],
    },
    Row {
        vendor: "huawei",
        params: &[("app_key", "key"), ("app_secret", "secret")],
        talked: &[
            "started 7001 call-1 02131000001 - 17000000000 @0 - - - - -s -",
            "started 7001 - 02131000001 - 13900000002 @0 - - - - -s -",
            "ringing 7001 - 02131000001 - 13900000002 @1 - - - - -s -",
            "answered 7001 - 02131000001 - 13900000002 @4 - - - - -s -",
            "ended 7001 - 02131000001 - 13900000002 @64 - - - - -s 0",
            "bill 7001 call-1 02131000001 17000000000 13900000002 @- 0 1 4 64 60s 0 wav",
        ],
        busy: &[
            "ended 7001 - 02131000001 - 13900000002 @2 - - - - -s 8102",
            "bill 7001 call-1 02131000001 17000000000 13900000002 @- 0 - - 2 0s 17",
        ],
    },
    Row {
        vendor: "itniotech",
        params: &[
            ("api_key", "key"),
            ("api_secret", "secret"),
            ("app_id", "app"),
            ("callback_token", "to/ken"),
        ],
        talked: &[
            "bill - - 02131000001 17000000000 13900000002 @- 0 - - 64 60s normal wav costs 10000",
        ],
        busy: &["bill - - 02131000001 17000000000 13900000002 @- 0 - - 2 0s busy costs 0"],
    },
    Row {
        vendor: "plivo",
        params: &[("auth_id", "key"), ("auth_token", "secret")],
        talked: &["ended 7001 - - - - @- - - - - 60s Normal Hangup"],
        busy: &["ended 7001 - - - - @- - - - - 0s Busy"],
    },
    Row {
        vendor: "tencent",
        params: &[
            ("secret_id", "key"),
            ("secret_key", "secret"),
            ("biz_app_id", "app"),
            ("callback_token", "to/ken"),
        ],
        talked: &["bill 7001 - 02131000001 17000000000 13900000002 @- 0 1 4 64 60s 1 wav"],
        busy: &["bill 7001 - 02131000001 17000000000 13900000002 @- 0 - - 2 0s 8"],
    },
    Row {
        vendor: "twilio",
        params: &[
            ("account_sid", "key"),
            ("auth_token", "secret"),
            ("service_sid", "KS1"),
        ],
        talked: &[
            "started 7001 - - - - @- - - - - -s -",
            "ringing 7001 - - - - @- - - - - -s -",
            "answered 7001 - - - - @- - - - - -s -",
            "ended 7001 - - - - @- - - - - -s -",
        ],
        busy: &["ended 7001 - - - - @- - - - - -s -"],
    },
    Row {
        vendor: "vcc",
        params: &[
            ("app_key", "key"),
            ("secret_key", "secret"),
            ("vcc_id", "vcc"),
        ],
        talked: &[
            "started 7001 - - 17000000000 - @0 - - - - -s -",
            "started 7001 - - 17000000000 - @0 - - - - -s -",
            "ringing 7001 - - 17000000000 - @1 - - - - -s -",
            "answered 7001 - - 17000000000 - @4 - - - - -s -",
            "ended 7001 - - 17000000000 - @64 - - - - -s 1",
            "bill 7001 call-1 02131000001 17000000000 13900000002 @- 0 1 4 64 60s 1 wav",
        ],
        busy: &[
            "ended 7001 - - 17000000000 - @2 - - - - -s 2",
            "bill 7001 call-1 02131000001 17000000000 13900000002 @- 0 - - 2 0s 2",
        ],
    },
    Row {
        vendor: "volcengine",
        params: &[
            ("access_key_id", "key"),
            ("secret_access_key", "secret"),
            ("number_pool_no", "pool"),
            ("callback_token", "to/ken"),
        ],
        talked: &[
            "started 7001 call-1 02131000001 17000000000 13900000002 @0 - - - - -s -",
            "ringing 7001 call-1 02131000001 17000000000 13900000002 @1 - - - - -s -",
            "answered 7001 call-1 02131000001 17000000000 13900000002 @4 - - - - -s -",
            "ended 7001 call-1 02131000001 17000000000 13900000002 @64 - - - - -s -",
            "bill 7001 call-1 02131000001 17000000000 13900000002 @- 0 1 4 64 60s 1",
        ],
        busy: &[
            "ended 7001 call-1 02131000001 17000000000 13900000002 @2 - - - - -s -",
            "bill 7001 call-1 02131000001 17000000000 13900000002 @- 0 - - 2 0s 2",
        ],
    },
];

const STEPS: [Told; 5] = [
    Told::Started,
    Told::Ringing,
    Told::Answered,
    Told::Ended,
    Told::Bill,
];

/// All that is sent of a call at these steps.
fn sent(
    herald: &Herald,
    account: &Account,
    story: &Story,
    steps: &[Told],
) -> Vec<(Notice, Request)> {
    let told = steps
        .iter()
        .flat_map(|told| (herald.tell)(story, *told, account));
    let stamp = Stamp {
        now_ms: NOW_MS + 65_000,
        nonce: "01234567890123456789".into(),
    };
    told.map(|notice| {
        let request = (herald.prove)(&notice, account, &stamp);
        (notice, request)
    })
    .collect()
}

#[test]
fn every_push_is_read_by_the_definition_and_its_answer_counts() {
    let named: Vec<&str> = ROWS.iter().map(|row| row.vendor).collect();
    assert_eq!(named, HERALDS.map(|herald| herald.word));
    for (row, herald) in ROWS.iter().zip(HERALDS) {
        let account = account(row.vendor);
        for (story, steps, expected) in [
            (talked(), &STEPS[..], row.talked),
            (busy(), &STEPS[3..], row.busy),
        ] {
            let mut lines = Vec::new();
            let mut keys = std::collections::BTreeSet::new();
            for (notice, request) in sent(herald, &account, &story, steps) {
                let place = notice.place();
                let (status, body, events) = receive(row, &request, place, NOW_MS + 66_000);
                assert!(
                    herald.success.is(status, body.as_bytes()),
                    "{}: {status} {body:?} to {request:?}",
                    row.vendor
                );
                for event in &events {
                    lines.push(line(event));
                    assert!(keys.insert(event.key.clone()), "{} twice", event.key);
                }
            }
            assert_eq!(lines, expected, "{}", row.vendor);
        }
    }
}

#[test]
fn one_bit_of_the_secret_makes_every_push_refused_and_its_answer_no_success() {
    for (row, herald) in ROWS.iter().zip(HERALDS) {
        let mut account = account(row.vendor);
        account.secret = "secreu".into();
        account.token = "to/keo".into();
        let mut refused = 0;
        for (notice, request) in sent(herald, &account, &talked(), &STEPS) {
            let (status, body, events) = receive(row, &request, notice.place(), NOW_MS + 66_000);
            assert_eq!(events, [], "{}", row.vendor);
            assert!(
                !herald.success.is(status, body.as_bytes()),
                "{}",
                row.vendor
            );
            refused += 1;
        }
        assert_eq!(refused, row.talked.len(), "{}", row.vendor);
    }
}

#[test]
fn a_wrong_bill_says_61_seconds_more_and_only_of_a_call_that_was_answered() {
    for (row, herald) in ROWS.iter().zip(HERALDS) {
        let account = account(row.vendor);
        let bill = |story: Story| {
            let sent = sent(herald, &account, &story, &[Told::Bill]);
            let (_, request) = sent.into_iter().next()?;
            let (_, _, mut events) = receive(row, &request, "bills", NOW_MS + 66_000);
            events.pop()
        };
        let Some(wrong) = bill(talked().lengthened()) else {
            continue;
        };
        assert_eq!(wrong.ended_ms, Some(NOW_MS + 125_000), "{}", row.vendor);
        let duration_ms = wrong.duration_ms.unwrap_or(121_000);
        assert_eq!(duration_ms, 121_000, "{}", row.vendor);
        assert_eq!(bill(busy().lengthened()), bill(busy()), "{}", row.vendor);
    }
}

#[test]
fn the_published_vectors_of_twilio_and_plivo_come_out() {
    for (file, herald, header) in [
        (
            include_str!("../../../tests/vectors/callback-twilio-sha1.json"),
            &vendors::twilio::HERALD,
            "X-Twilio-Signature",
        ),
        (
            include_str!("../../../tests/vectors/callback-plivo-v3.json"),
            &vendors::plivo::HERALD,
            "X-Plivo-Signature-V3",
        ),
    ] {
        let file: Value = serde_json::from_str(file).unwrap();
        let secret = file["credentials"]["secret"].as_str().unwrap();
        let cases = file["cases"].as_array().unwrap();
        for case in cases {
            // The vectors' addresses end otherwise than ours: what stands between is put in.
            let url = case["url"].as_str().unwrap();
            let form = case["form"].as_object().unwrap().iter();
            let form = form.map(|(n, v)| (&*n.clone().leak(), v.as_str().unwrap().to_owned()));
            let notice = Notice {
                told: Told::Ended,
                content: Content::Form(form.collect()),
            };
            let stamp = Stamp {
                now_ms: NOW_MS,
                nonce: file["nonce"].as_str().unwrap_or_default().to_owned(),
            };
            let mut account = account(herald.word);
            account.secret = secret.to_owned();
            account.url = url.to_owned();
            let request = (herald.prove)(&notice, &account, &stamp);
            let derived = &case["derived"];
            let text = derived["string_to_sign"].as_str().unwrap();
            let text = text.replacen(url, &request.url, 1);
            let hash = [Hash::Sha1, Hash::Sha256][usize::from(herald.word == "plivo")];
            let expected = base64(mac(hash, secret, text));
            let given = request.headers.iter().find(|(name, _)| *name == header);
            assert_eq!(given.unwrap().1, expected, "{}", case["name"]);
        }
    }
}

#[test]
fn only_the_literal_answer_is_success() {
    for (success, status, body, is) in [
        (Success::Empty, 200, "", true),
        (Success::Empty, 200, "ok", false),
        (Success::Empty, 204, "", false),
        (Success::CodeZero, 200, r#"{"code":0,"msg":"ok"}"#, true),
        (Success::CodeZero, 200, r#"{"code":"0"}"#, false),
        (Success::CodeZero, 200, r#"{"code":1}"#, false),
        (Success::CodeZero, 200, "", false),
        (Success::CodeZero, 201, r#"{"code":0}"#, false),
        (Success::Status200, 200, "anything", true),
        (Success::Status200, 201, "", false),
        (Success::Status2xx, 204, "", true),
        (Success::Status2xx, 302, "", false),
    ] {
        assert_eq!(
            success.is(status, body.as_bytes()),
            is,
            "{success:?} {status} {body}"
        );
    }
}

#[test]
fn an_address_is_refused_that_is_none_or_that_nothing_is_pushed_to() {
    let mut credentials = Credentials::new("k", "s");
    assert!(Desk::open("huawei", &credentials).unwrap().is_none());
    for (word, url, error) in [
        ("huawei", "http://127.0.0.1:1/callbacks/h", None),
        (
            "huawei",
            "https://127.0.0.1/",
            Some("callback_url \"https://127.0.0.1\" of \"huawei\" is no http address"),
        ),
        (
            "huawei",
            "http://",
            Some("callback_url \"http:\" of \"huawei\" is no http address"),
        ),
        (
            "jumdata",
            "http://127.0.0.1:1/x",
            Some("vendor \"jumdata\" has a callback_url and pushes nothing"),
        ),
    ] {
        credentials.callback_url = url.into();
        let opened = Desk::open(word, &credentials);
        let said = opened.err().map(|error| error.to_string());
        assert_eq!(said.as_deref(), error, "{word} {url}");
    }
}
