//! What platforms tell of calls: kept once on every node, matched to the calls, compared with what was rated; and
//! nothing is acknowledged that is not proved, or not replicated.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;
use tandem_tests::http::{self, Response};
use tandem_tests::sipp::numbers;
use tandem_tests::switch::NODES;
use tandem_tests::{Sipp, Switch, eventually};

const BILLS: &str = "/callbacks/huawei-sim/bills";
const EVER: [&str; 4] = ["--since", "2020-01-01", "--until", "2100-01-01"];

/// Rows that a command prints.
#[track_caller]
fn rows(switch: &Switch, node: u8, args: &[&str]) -> Vec<Value> {
    let text = switch.cli(node, &[args, &["-o", "jsonl"]].concat());
    let row = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().map(row).collect()
}

/// All events of a kind, when every node shows the same.
fn alike(switch: &Switch, kind: &str) -> Result<Vec<Value>, String> {
    let args = ["platform-event", "export", "-o", "jsonl", "--kind", kind];
    let first = switch.cli(1, &args);
    for node in 2..=NODES {
        if switch.cli(node, &args) != first {
            return Err(format!("node {node} shows others than {first}"));
        }
    }
    let lines = first.lines();
    Ok(lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect())
}

/// All events, once every node shows the same `count` of this kind.
#[track_caller]
fn told(switch: &Switch, kind: &str, count: usize) -> Vec<Value> {
    let what = format!("{count} of {kind} on all nodes");
    eventually(&what, Duration::from_secs(20), || {
        let events = alike(switch, kind)?;
        match events.len() == count {
            true => Ok(events),
            false => Err(format!("{} of {kind}: {events:?}", events.len())),
        }
    })
}

/// All events of a kind, once every node shows the same, each with its call, and of this many calls.
///
/// An event and the record of its call are written by nodes of their own, and neither waits for the other.
#[track_caller]
fn told_of(switch: &Switch, kind: &str, calls: usize) -> Vec<Value> {
    let what = format!("{kind} of {calls} calls on all nodes");
    eventually(&what, Duration::from_secs(20), || {
        let events = alike(switch, kind)?;
        let known: BTreeSet<_> = events
            .iter()
            .map(|event| event["flow_no"].as_str())
            .collect();
        match known.len() == calls && !known.contains(&None) {
            true => Ok(events),
            false => Err(format!("{kind} of {known:?}: {events:?}")),
        }
    })
}

fn calls(switch: &Switch, node: u8, callee: u64, count: usize) {
    let numbers = numbers(15_900_000_001, callee, count);
    let customer = Sipp::customer("customer", switch.own_port(), switch.sip(node), numbers);
    let customer = customer.pause(1_500).start(switch.dir());
    customer.finish(Duration::from_secs(30)).all_good(count);
}

#[test]
fn every_node_holds_what_the_platform_told_and_the_report_shows_what_it_billed_wrongly() {
    let switch = Switch::start();
    let _phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let platform = switch.platform();
    platform.fault(json!({ "vendor": "huawei", "duplicate_callbacks": true }));
    for node in 1..=NODES {
        calls(&switch, node, 13_800_000_001 + u64::from(node) * 100, 2);
    }
    platform.fault(json!({
        "vendor": "huawei", "duplicate_callbacks": true, "wrong_bills": true
    }));
    calls(&switch, 2, 13_800_000_901, 1);
    platform.heal();

    let bills = told_of(&switch, "bill", 7);
    assert_eq!(bills.len(), 7, "each once: {bills:?}");
    let records = switch.axb_cdrs(1);
    assert_eq!(records.len(), 7);
    for bill in &bills {
        let by = bill["matched_by"].as_str().unwrap_or_default();
        assert!(by == "own_id" || by == "handle", "{bill}");
    }
    for kind in ["started", "ringing", "answered", "ended"] {
        told_of(&switch, kind, 7);
    }
    let of_one = rows(
        &switch,
        1,
        &[
            "platform-event",
            "list",
            "--flow-no",
            bills[0]["flow_no"].as_str().expect("matched"),
        ],
    );
    assert!(of_one.len() >= 5, "its events and its bill: {of_one:?}");

    let report = rows(
        &switch,
        3,
        &[&["report", "platform-bills"], &EVER[..]].concat(),
    );
    let verdicts: Vec<_> = report.iter().map(|row| row["verdict"].as_str()).collect();
    let mut want = vec![Some("equal"); 7];
    want[0] = Some("differs");
    assert_eq!(verdicts, want, "{report:?}");
    let diff = report[0]["diff_secs"].as_i64().expect("both know it");
    assert!((58..=64).contains(&diff), "{}", report[0]);
    assert_eq!(report[0]["b_number"], "13800000901");
    let totals = &rows(
        &switch,
        2,
        &[&["report", "platform-bills", "--totals"], &EVER[..]].concat(),
    )[0];
    assert_eq!(
        (&totals["bills"], &totals["differing"]),
        (&json!(7), &json!(1))
    );
    switch.comes_to_rest(&[1, 2, 3], Duration::from_secs(20));
    switch.states_agree(Duration::from_secs(10));
}

/// The vendor's headers for a push: WSSE over nonce and time.
fn signed(secret: &str, created: &str) -> String {
    let nonce = "52a8f5cd1fd74b2fb2b3b57f1f5a3c11";
    let digest = STANDARD.encode(Sha256::digest(format!("{nonce}{created}{secret}")));
    format!(
        "UsernameToken Username=\"sample-app-key\",PasswordDigest=\"{digest}\",Nonce=\"{nonce}\",Created=\"{created}\""
    )
}

fn now() -> String {
    let date = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])
        .output();
    let text = String::from_utf8(date.expect("date runs").stdout).expect("text");
    text.trim().to_owned()
}

fn bill(session: &str) -> String {
    json!({
        "eventType": "fee",
        "feeLst": [{
            "sessionId": session, "icid": "1", "callerNum": "+862102100007", "bindNum": "+8617000000007",
            "calleeNum": "+8613812344321", "callInTime": "2025-11-21 04:00:00", "callDuration": "12",
            "recordFileDownloadUrl": "https://records.invalid/r/1",
        }],
    })
    .to_string()
}

#[track_caller]
fn push(switch: &Switch, node: u8, proof: &str, body: &str) -> Response {
    let headers = [("X-WSSE", proof)];
    let at = switch.api(node).at;
    http::send(at, "POST", BILLS, &headers, Some(body)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_push_is_acknowledged_when_it_is_proved_and_safe_and_stored_once_however_often_it_comes() {
    let mut switch = Switch::start();
    let good = || signed("sample-app-secret", &now());
    let first = bill("session-1");
    for node in [1, 2, 3, 2, 1] {
        let answer = push(&switch, node, &good(), &first);
        assert_eq!((answer.status, &*answer.body), (200, ""), "node {node}");
    }
    for (proof, why) in [
        (signed("sample-app-secreu", &now()), "another secret"),
        (
            signed("sample-app-secret", "2025-01-01T00:00:00Z"),
            "too old",
        ),
        (String::new(), "none"),
    ] {
        let answer = push(&switch, 1, &proof, &bill("session-9"));
        assert_eq!(answer.status, 403, "{why}");
    }
    let answer = push(&switch, 2, &good(), "{\"feeLst\": 7");
    assert_eq!(answer.status, 400);
    let at = switch.api(3).at;
    for (path, status) in [
        ("/callbacks/nobody/bills", 404),
        ("/callbacks/huawei-sim/nothing", 404),
    ] {
        let answer = http::send(at, "POST", path, &[], Some("{}")).expect("an answer");
        assert_eq!(answer.status, status, "{path}");
    }
    // Refused by the size it announces, before any of it is read.
    let mut stream = TcpStream::connect(at).expect("a connection");
    let head = format!("POST {BILLS} HTTP/1.1\r\nHost: {at}\r\nContent-Length: 262145\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("written");
    let limit = stream.set_read_timeout(Some(Duration::from_secs(5)));
    limit.expect("a limit");
    let mut status = [0; 12];
    stream.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 413");
    told(&switch, "bill", 1);
    // What is stored already makes no entry of the log; above, a repeat may have been quicker than the store.
    let answer = push(&switch, 1, &good(), &first);
    assert_eq!((answer.status, &*answer.body), (200, ""));

    switch.kill(2);
    switch.kill(3);
    let answer = push(&switch, 1, &good(), &bill("session-2"));
    assert_eq!(answer.status, 503, "without a quorum");
    switch.restart(2);
    switch.restart(3);
    // The platform sends it again, to whichever node.
    for node in [1, 3] {
        let answer = push(&switch, node, &good(), &bill("session-2"));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let bills = told(&switch, "bill", 2);
    assert_eq!(bills[1]["platform_call_id"], "session-2");
    let report = rows(
        &switch,
        1,
        &[&["report", "platform-bills"], &EVER[..]].concat(),
    );
    let verdicts: Vec<_> = report.iter().map(|row| row["verdict"].as_str()).collect();
    assert_eq!(verdicts, [Some("only_theirs"); 2], "{report:?}");
    assert_eq!(report[0]["recording"], "https://records.invalid/r/1");

    let metrics = switch.api(1).metrics();
    for result in ["stored", "repeated", "unproved", "unavailable"] {
        let series = format!(
            "tandem_platform_requests_total{{interface=\"huawei-sim\",name=\"bills\",result=\"{result}\"}}"
        );
        assert!(metrics.contains(&series), "{series} is not in {metrics}");
    }
    for node in 1..=NODES {
        let log = switch.node_log(node);
        for secret in ["12344321", "sample-app-secret", "session-2"] {
            assert!(!log.contains(secret), "node {node} logs {secret}");
        }
    }
    switch.comes_to_rest(&[1, 2, 3], Duration::from_secs(20));
    switch.states_agree(Duration::from_secs(10));
}
