//! What platforms push: proofs, records and bounds, told of Huawei; other vendors' in `vendors.rs`.

mod mistakes;
mod vendors;

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::*;
use crate::Interface;
use crate::damage::damaged;
use crate::interface::Vendor;

/// 2024-05-20 08:30:00 UTC.
const NOW_MS: u64 = 1_716_193_800_000;

fn plan(vendor: &str, params: &[(&str, &str)]) -> Plan {
    let vendor = Vendor::named(vendor).unwrap();
    let mut interface = Interface::new(1, "pushes", vendor, "");
    for (name, value) in params {
        interface = interface.with(name, value);
    }
    Plan::new(&interface)
}

fn huawei() -> Plan {
    plan("huawei", &[("app_key", "key"), ("app_secret", "secret")])
}

fn push<'a>(headers: &'a [(&'a str, &'a str)], body: &'a str) -> CallbackRequest<'a> {
    CallbackRequest {
        method: "POST",
        url: "https://switch.example.test/callbacks/hz-1/events",
        suffix: "",
        headers,
        body: body.as_bytes(),
        now_ms: NOW_MS,
    }
}

/// The header as the platform makes it, by nothing of the definition's.
fn wsse(secret: &str, created: &str) -> String {
    let digest = STANDARD.encode(Sha256::digest(format!("a1B2{created}{secret}")));
    format!(
        "UsernameToken Username=\"key\", PasswordDigest=\"{digest}\", Nonce=\"a1B2\", Created=\"{created}\""
    )
}

/// Pushes a body to Huawei's definition with a proof that holds.
fn told(name: &str, body: &str) -> Result<Receipt, CallbackError> {
    let proof = wsse("secret", "2024-05-20T08:30:00Z");
    huawei().receive(name, &push(&[("x-wsse", &proof)], body))
}

const ANSWERED: &str = r#"{"eventType":"answer","statusInfo":{
    "timestamp":"2024-05-20 08:29:58","sessionId":"1200_1029_4294967295_20240520082950",
    "caller":"+8613800000001","called":"+8613900000002","subscriptionId":"sub-0001"}}"#;

#[test]
fn an_event_of_huawei_is_read() {
    let receipt = told("events", ANSWERED).unwrap();
    assert_eq!(receipt.odd, Vec::<String>::new());
    let [event] = &receipt.events[..] else {
        panic!("{receipt:?}")
    };
    let key = "answered\n1200_1029_4294967295_20240520082950\nanswer\n2024-05-20 08:29:58\n+8613900000002";
    let expected = CallEvent {
        kind: EventKind::Answered,
        key: key.to_owned(),
        call_id: Some("1200_1029_4294967295_20240520082950".to_owned()),
        handle: [("subscriptionId".to_owned(), "sub-0001".to_owned())].into(),
        own_id: None,
        a: Some("13800000001".to_owned()),
        x: None,
        b: Some("13900000002".to_owned()),
        at_ms: Some(NOW_MS - 2_000),
        started_ms: None,
        ringing_ms: None,
        answered_ms: None,
        ended_ms: None,
        duration_ms: None,
        cause: None,
        recording: None,
        cost_micros: None,
    };
    assert_eq!(*event, expected);
    let json = serde_json::to_string(event).unwrap();
    assert_eq!(serde_json::from_str::<CallEvent>(&json).unwrap(), expected);
}

#[test]
fn every_event_of_huawei_has_its_kind() {
    for (word, kind) in [
        ("callin", EventKind::Started),
        ("callout", EventKind::Started),
        ("alerting", EventKind::Ringing),
        ("answer", EventKind::Answered),
        ("disconnect", EventKind::Ended),
        ("somethingNew", EventKind::Other),
    ] {
        let body = ANSWERED.replace("\"answer\"", &format!("\"{word}\""));
        assert_eq!(
            told("events", &body).unwrap().events[0].kind,
            kind,
            "{word}"
        );
    }
}

fn bill(icid: &str) -> String {
    format!(
        r#"{{"direction":1,"icid":"{icid}","bindNum":"+8617000000001","sessionId":"s-1",
        "callerNum":"+8613800000001","calleeNum":"+8617000000001","fwdDstNum":"+862100000000",
        "callInTime":"2024-05-20 08:20:00","fwdStartTime":"2024-05-20 08:20:01",
        "fwdAlertingTime":"2024-05-20 08:20:05","fwdAnswerTime":"2024-05-20 08:20:10",
        "callEndTime":"2024-05-20 08:21:10","fwdUnaswRsn":0,"ulFailReason":0,
        "recordFlag":1,"recordFileDownloadUrl":"https://records.example.test/1.wav",
        "subscriptionId":"sub-0001","callDuration":60}}"#
    )
}

fn bills(rows: &[String]) -> String {
    format!(r#"{{"eventType":"fee","feeLst":[{}]}}"#, rows.join(","))
}

#[test]
fn bills_of_huawei_come_as_a_list() {
    let receipt = told("bills", &bills(&[bill("i-1"), bill("i-2")])).unwrap();
    assert_eq!(receipt.events.len(), 2);
    let first = &receipt.events[0];
    assert_eq!(first.kind, EventKind::Bill);
    assert_eq!(first.key, "bill\ns-1\ni-1");
    assert_eq!(first.a.as_deref(), Some("13800000001"));
    assert_eq!(first.x.as_deref(), Some("17000000001"));
    assert_eq!(first.b.as_deref(), Some("02100000000"));
    let at = |minute: u64, second: u64| Some(NOW_MS - 600_000 + minute * 60_000 + second * 1_000);
    assert_eq!(first.started_ms, at(0, 0));
    assert_eq!(first.ringing_ms, at(0, 5));
    assert_eq!(first.answered_ms, at(0, 10));
    assert_eq!(first.ended_ms, at(1, 10));
    assert_eq!(first.duration_ms, Some(60_000));
    assert_eq!(first.cause.as_deref(), Some("0"));
    assert_eq!(
        first.recording.as_deref(),
        Some("https://records.example.test/1.wav")
    );
}

#[test]
fn times_of_huawei_are_read_in_the_zone_of_the_interface() {
    let interface = [
        ("app_key", "key"),
        ("app_secret", "secret"),
        ("callback_zone", "+08:00"),
    ];
    let proof = wsse("secret", "2024-05-20T08:30:00Z");
    let received =
        plan("huawei", &interface).receive("events", &push(&[("X-WSSE", &proof)], ANSWERED));
    assert_eq!(
        received.unwrap().events[0].at_ms,
        Some(NOW_MS - 2_000 - 8 * 3_600_000)
    );
}

#[test]
fn a_repeated_push_has_the_same_keys_and_another_one_others() {
    let key = |name: &str, body: &str| told(name, body).unwrap().events[0].key.clone();
    assert_eq!(key("events", ANSWERED), key("events", ANSWERED));
    let mut keys = BTreeSet::new();
    for (name, body) in [
        ("events", ANSWERED.to_owned()),
        ("events", ANSWERED.replace("\"answer\"", "\"disconnect\"")),
        ("events", ANSWERED.replace("08:29:58", "08:29:59")),
        ("bills", bills(&[bill("i-1")])),
        ("bills", bills(&[bill("i-2")])),
    ] {
        assert!(keys.insert(key(name, &body)), "{body}");
    }
    // What is long becomes a digest, and stays different.
    for last in ["1", "2"] {
        let long = "9".repeat(300) + last;
        let long = key("bills", &bills(&[bill(&long)]));
        assert!(long.len() <= CALLBACK_KEY_MAX);
        assert!(keys.insert(long));
    }
}

#[test]
fn a_bill_without_its_key_is_told_and_the_others_are_taken() {
    let odd = r#"{"icid":"i-9"}"#.to_owned();
    let receipt = told("bills", &bills(&[odd.clone(), bill("i-1")])).unwrap();
    assert_eq!(receipt.events.len(), 1);
    assert_eq!(receipt.odd, ["record 1: has no /sessionId"]);
    let refused = told("bills", &bills(&[odd])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "call-back `bills` cannot be read: record 1: has no /sessionId"
    );
}

#[test]
fn what_cannot_be_read_in_a_bill_is_left_out_and_told() {
    let body = bill("i-1")
        .replace("2024-05-20 08:21:10", "yesterday")
        .replace("\"callDuration\":60", "\"callDuration\":-1");
    let receipt = told("bills", &bills(&[body])).unwrap();
    assert_eq!(receipt.events[0].ended_ms, None);
    assert_eq!(receipt.events[0].duration_ms, None);
    assert_eq!(
        receipt.odd,
        [
            "record 1: /callEndTime cannot be read",
            "record 1: /callDuration cannot be read"
        ]
    );
}

#[test]
fn huaweis_proof_is_checked() {
    let created = "2024-05-20T08:30:00Z";
    let good = wsse("secret", created);
    let cases: [(&str, String, &str); 7] = [
        ("right", good.clone(), ""),
        ("none", String::new(), "header x-wsse is missing"),
        (
            "other secret",
            wsse("secreu", created),
            "its signature or secret is wrong",
        ),
        (
            "other nonce",
            good.replace("a1B2", "a1B3"),
            "its signature or secret is wrong",
        ),
        (
            "other time",
            good.replace("08:30:00Z", "08:30:01Z"),
            "its signature or secret is wrong",
        ),
        (
            "no digest",
            good.replace("PasswordDigest", "Digest"),
            "it carries no proof",
        ),
        (
            "no time",
            wsse("secret", "today"),
            "the time it was signed cannot be read",
        ),
    ];
    for (name, proof, why) in cases {
        let headers = [("X-WSSE", proof.as_str())];
        let headers = if proof.is_empty() { &[][..] } else { &headers };
        let received = huawei().receive("events", &push(headers, ANSWERED));
        let said = received.err().map(|error| error.to_string());
        let wanted = match why {
            "" => None,
            why => Some(format!("call-back `events` is not proved: {why}")),
        };
        assert_eq!(said, wanted, "{name}");
    }
}

#[test]
fn every_single_bit_of_a_proof_counts() {
    let good = wsse("secret", "2024-05-20T08:30:00Z");
    let digest = good.find("PasswordDigest=\"").unwrap() + 16;
    for at in digest..digest + 44 {
        for bit in 0..7 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(bad) = String::from_utf8(bytes) else {
                continue;
            };
            let received = huawei().receive("events", &push(&[("X-WSSE", &bad)], ANSWERED));
            assert!(received.is_err(), "{bad}");
        }
    }
}

#[test]
fn a_proof_that_is_too_old_or_too_new_is_refused() {
    let param = |skew| {
        let params = [
            ("app_key", "key"),
            ("app_secret", "secret"),
            ("callback_skew", skew),
        ];
        plan("huawei", &params)
    };
    for (created, skew, off_s) in [
        ("2024-05-20T08:25:00Z", "300", None),
        ("2024-05-20T08:35:00Z", "300", None),
        ("2024-05-20T08:24:59Z", "300", Some(301)),
        ("2024-05-20T08:35:01Z", "300", Some(301)),
        ("2024-05-20T08:24:59Z", "301", None),
        ("2014-05-20T08:24:59Z", "0", None),
    ] {
        let proof = wsse("secret", created);
        let received = param(skew).receive("events", &push(&[("X-WSSE", &proof)], ANSWERED));
        let stale = match received {
            Ok(_) => None,
            Err(CallbackError::Stale { off_s, .. }) => Some(off_s),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(stale, off_s, "{created} {skew}");
    }
}

#[test]
fn the_newer_signature_of_huawei_is_taken_too() {
    // UTC+8.
    let created = "2024-05-20T16:30:00Z";
    let url = "https://switch.example.test/callbacks/hz-1/events";
    let digest = |text: String| {
        let mac = crate::definition::digest::Hash::Sha256.mac(b"secret", text.as_bytes());
        let digest = STANDARD.encode(mac);
        format!(
            "UsernameToken Username=\"key\",PasswordDigest=\"{digest}\",Nonce=\"n\",Created=\"{created}\""
        )
    };
    let good = digest(format!("{url}\nn\n{created}"));
    let received = huawei().receive("events", &push(&[("X-AKSK", &good)], ANSWERED));
    assert!(received.is_ok(), "{received:?}");
    let other = digest(format!("{url}/\nn\n{created}"));
    let received = huawei().receive("events", &push(&[("X-AKSK", &other)], ANSWERED));
    assert_eq!(received.unwrap_err().word(), "unproved");
}

#[test]
fn what_is_no_push_is_refused_with_its_reason() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let huge = " ".repeat(CALLBACK_BODY_MAX + 1);
    let many = bills(&vec![bill("i"); 51]);
    for (body, said) in [
        ("", "EOF while parsing"),
        ("{", "EOF while parsing"),
        ("<xml/>", "expected value"),
        ("7", "neither an object nor a list"),
        ("{}", "there is no list at /feeLst"),
        (r#"{"feeLst":7}"#, "there is no list at /feeLst"),
        (r#"{"feeLst":[7]}"#, "record 1: is no object"),
        (deep.as_str(), "recursion limit"),
        (many.as_str(), "it has 51 records, at most 50 are read"),
        (huge.as_str(), "has 262145 bytes, more than 262144"),
    ] {
        let error = told("bills", body).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(told("bills", r#"{"feeLst":[]}"#), Ok(Receipt::default()));
    // Who cannot prove who he is learns nothing of what was wrong with the rest.
    let received = huawei().receive("bills", &push(&[("X-WSSE", "x")], &deep));
    assert_eq!(received.unwrap_err().word(), "unproved");
}

#[test]
fn each_refusal_has_its_status() {
    let plan = huawei();
    let proof = wsse("secret", "2024-05-20T08:30:00Z");
    let headers = [("X-WSSE", proof.as_str())];
    let good = push(&headers, ANSWERED);
    let huge = vec![b' '; CALLBACK_BODY_MAX + 1];
    for (name, request, status) in [
        ("events", good, 200),
        ("nothing", good, 404),
        (
            "events",
            CallbackRequest {
                method: "PUT",
                ..good
            },
            405,
        ),
        (
            "events",
            CallbackRequest {
                suffix: "x",
                ..good
            },
            403,
        ),
        (
            "events",
            CallbackRequest {
                body: &huge,
                ..good
            },
            413,
        ),
        (
            "events",
            CallbackRequest {
                body: b"\xff",
                ..good
            },
            400,
        ),
        ("events", CallbackRequest { body: b"{", ..good }, 400),
        (
            "events",
            CallbackRequest {
                headers: &[],
                ..good
            },
            403,
        ),
        ("events", CallbackRequest { now_ms: 0, ..good }, 403),
    ] {
        let received = plan.receive(name, &request);
        assert_eq!(plan.reply(name, &received).status, status, "{received:?}");
    }
}

#[test]
fn damaged_pushes_never_panic() {
    let plan = huawei();
    let proof = wsse("secret", "2024-05-20T08:30:00Z");
    let bills = bills(&[bill("i-1"), bill("i-2")]);
    damaged(&[ANSWERED.as_bytes(), bills.as_bytes()], 5_000, |body| {
        let headers = [("X-WSSE", proof.as_str())];
        for name in ["events", "bills"] {
            let request = CallbackRequest {
                body,
                ..push(&headers, "")
            };
            let received = plan.receive(name, &request);
            for event in received.iter().flat_map(|receipt| &receipt.events) {
                assert!(event.key.len() <= CALLBACK_KEY_MAX);
            }
        }
    });
    damaged(&[proof.as_bytes()], 5_000, |header| {
        let header = String::from_utf8_lossy(header);
        let _ = plan.receive("events", &push(&[("X-WSSE", &header)], ANSWERED));
    });
}
