//! What two ends say to each other passes the switch; what concerns the switch alone is answered by it.

use serde_json::json;
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::sipp::{Finished, numbers};
use tandem_tests::wire::{self, Wire, header, status};
use tandem_tests::{Sipp, Switch, eventually};

/// Callees of the gateway without AXB.
const PLAIN: u64 = 9_000_000_000;
/// Callees of the X platform.
const AXB: u64 = 13_800_000_000;
/// Calls of each pair of scenarios.
const CALLS: usize = 5;

/// Places calls from one scenario to the other through node `node` and asserts that both sides saw what they wanted.
#[track_caller]
fn pair(
    switch: &Switch,
    node: u8,
    callee: u64,
    customer: &str,
    phone: &str,
    pause: u32,
    tcp: bool,
) -> (Finished, Finished) {
    let port = if callee == PLAIN {
        switch.plain_port()
    } else {
        switch.phone_port()
    };
    let dir = tempfile::tempdir_in(switch.dir())
        .expect("a directory")
        .keep();
    let phone = Sipp::phone(phone, port)
        .pause(pause)
        .keep_messages()
        .start(&dir);
    let own = switch.own_port();
    let numbers = numbers(
        15_900_000_000 + u64::from(own) * 100,
        callee + u64::from(own) * 100,
        CALLS,
    );
    let sipp = Sipp::customer(customer, own, switch.sip(node), numbers)
        .rate(10, 1_000)
        .pause(pause)
        .keep_messages();
    let sipp = if tcp { sipp.tcp() } else { sipp };
    let customer = sipp.start(&dir).finish(Duration::from_secs(30));
    customer.all_good(CALLS);
    let phone = phone.stop();
    assert_eq!(phone.failed(), 0, "{}", phone.errors());
    assert_eq!(phone.logged("INVITE"), CALLS);
    nothing_left(switch, Duration::from_secs(10));
    (customer, phone)
}

#[test]
fn both_ends_hear_what_the_other_says() {
    let switch = Switch::start();
    for (callee, way) in [(PLAIN, "plain"), (AXB, "AXB")] {
        println!("{way}: answer, talk, hang up");
        pair(&switch, 1, callee, "customer", "phone", 200, false);
        println!("{way}: over TCP");
        pair(&switch, 2, callee, "customer", "phone", 200, true);
        println!("{way}: given up while it rings");
        let (_, phone) = pair(
            &switch,
            3,
            callee,
            "customer_cancels",
            "phone_cancelled",
            300,
            false,
        );
        assert_eq!(phone.logged("CANCELLED"), CALLS);
        println!("{way}: busy");
        let (customer, _) = pair(&switch, 1, callee, "customer_any", "phone_busy", 100, false);
        let refused = customer.lines("REFUSED");
        assert_eq!(refused.len(), CALLS);
        assert!(
            refused.iter().all(|line| line.words[2] == "486"),
            "{refused:?}"
        );
        println!("{way}: the callee hangs up");
        let (customer, _) = pair(
            &switch,
            2,
            callee,
            "customer_hears_bye",
            "phone_hangs_up",
            300,
            false,
        );
        assert_eq!(customer.logged("HUNGUP"), CALLS);
        println!("{way}: the customer holds");
        let (customer, phone) = pair(
            &switch,
            3,
            callee,
            "customer_holds",
            "phone_held",
            100,
            false,
        );
        assert_eq!(
            (customer.logged("HELD"), phone.logged("HELD")),
            (CALLS, CALLS)
        );
        println!("{way}: the callee holds");
        let (customer, phone) = pair(
            &switch,
            1,
            callee,
            "customer_held",
            "phone_holds",
            100,
            false,
        );
        assert_eq!(
            (customer.logged("HELD"), phone.logged("HELD")),
            (CALLS, CALLS)
        );
        println!("{way}: INFO and UPDATE");
        let (_, phone) = pair(
            &switch,
            2,
            callee,
            "customer_informs",
            "phone_informed",
            200,
            false,
        );
        assert_eq!(
            (phone.logged("INFO"), phone.logged("UPDATE")),
            (CALLS, CALLS)
        );
        println!("{way}: early media");
        let (customer, _) = pair(
            &switch,
            3,
            callee,
            "customer_early_media",
            "phone_early_media",
            200,
            false,
        );
        assert_eq!(customer.logged("EARLY"), CALLS);
    }
    // Records of all these ends say who ended each call and why.
    let rows = switch.cdrs(1);
    let reasons = |reason: &str| {
        rows.iter()
            .filter(|row| row.text("end_reason") == reason)
            .count()
    };
    assert_eq!(reasons("cancelled"), 2 * CALLS);
    assert_eq!(reasons("busy"), 2 * CALLS);
    let by = |direction: u64| {
        rows.iter()
            .filter(|row| row.number("end_direction") == direction)
            .count()
    };
    assert!(by(1) >= 2 * CALLS, "the callee hung up {} calls", by(1));
    assert_eq!(rows.len(), 18 * CALLS);
}

#[test]
fn both_ends_change_the_codec_and_collide_in_mid_call() {
    let switch = Switch::start();
    for (callee, way) in [(PLAIN, "plain"), (AXB, "AXB")] {
        for (node, customer, phone, seen) in [
            (1, "customer_recodes", "phone_recoded", "RECODED"),
            (2, "customer_recoded", "phone_recodes", "RECODED"),
            // Who asks while the other side's change is under way is refused for now (RFC 3261 §14.1).
            (3, "customer_holds", "phone_glares", "HELD"),
            (1, "customer_glares", "phone_holds", "HELD"),
        ] {
            println!("{way}: {customer} and {phone}");
            let (customer, phone) = pair(&switch, node, callee, customer, phone, 100, false);
            assert_eq!((customer.logged(seen), phone.logged(seen)), (CALLS, CALLS));
            let collided = customer.logged("GLARE") + phone.logged("GLARE");
            let wanted = if seen == "HELD" { CALLS } else { 0 };
            assert_eq!(collided, wanted);
        }
    }
    let rows = switch.cdrs(1);
    assert_eq!(rows.len(), 8 * CALLS);
    for row in rows {
        let (reason, codec) = (row.text("end_reason"), row.text("codec"));
        assert_eq!(
            (reason, codec),
            ("normal", "PCMA"),
            "the first codec: {}",
            row.0
        );
    }
}

#[test]
fn the_phone_sees_x_and_nowhere_a_or_c() {
    let switch = Switch::start();
    let (customer, phone) = pair(&switch, 1, AXB, "customer", "phone", 200, false);
    let seen = phone.messages();
    let load = switch.axb_cdrs(1);
    assert_eq!(load.len(), CALLS);
    for row in load {
        assert!(
            seen.contains(row.text("x_number")),
            "the phone never saw X of {}",
            row.0
        );
        assert!(
            !seen.contains(row.text("a_number").trim_start_matches('0')),
            "the phone saw A of {}",
            row.0
        );
    }
    for line in customer.lines("SENT") {
        assert!(
            !seen.contains(line.caller()),
            "the phone saw the customer's number {}",
            line.caller()
        );
    }
    let told = customer.messages();
    assert!(
        !told.contains("sip:0210000") && !told.contains("sip:170000000"),
        "the customer was told A or X:\n{told}"
    );
}

#[test]
fn requests_for_the_switch_itself_are_answered_by_it() {
    let switch = Switch::start();
    let to = switch.sip(1);
    let wire = Wire::udp(to);
    let uri = format!("sip:{to}");

    let answer = wire.ask(&wire.request("OPTIONS", &uri, 70, ""));
    assert_eq!(status(&answer), 200, "{answer}");
    let allowed = header(&answer, "Allow").unwrap_or_default().to_owned();
    for method in [
        "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "UPDATE",
    ] {
        assert!(allowed.contains(method), "Allow is `{allowed}`");
    }
    let cases: [(&str, u8, &str, &[u16]); 7] = [
        ("FROBNICATE", 70, "", &[501]),
        ("MESSAGE", 70, "", &[405]),
        ("PUBLISH", 70, "", &[405]),
        ("INVITE", 0, "", &[483]),
        ("INVITE", 70, "Require: teleportation\r\n", &[420]),
        ("OPTIONS", 0, "", &[483, 200]),
        ("CANCEL", 70, "", &[481]),
    ];
    for (method, forwards, extra, wanted) in cases {
        let answer = wire.ask(&wire.request(method, &uri, forwards, extra));
        assert!(
            wanted.contains(&status(&answer)),
            "{method}, Max-Forwards {forwards}, {extra}: {answer}"
        );
    }
    for method in ["BYE", "INFO", "UPDATE", "INVITE"] {
        let request = wire.request(method, &format!("sip:13800000000@{to}"), 70, "");
        let stray = request.replacen(
            &format!("<sip:13800000000@{to}>\r\nCall-ID"),
            &format!("<sip:13800000000@{to}>;tag=none\r\nCall-ID"),
            1,
        );
        assert_ne!(stray, request);
        let answer = wire.ask(&stray);
        assert_eq!(status(&answer), 481, "stray {method}: {answer}");
    }
    let future = wire
        .request("OPTIONS", &uri, 70, "")
        .replacen("SIP/2.0\r\n", "SIP/7.0\r\n", 1);
    assert_eq!(status(&wire.ask(&future)), 505);
    let crossed = wire
        .request("OPTIONS", &uri, 70, "")
        .replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE");
    assert_eq!(status(&wire.ask(&crossed)), 400);
    // A request answered once is answered alike when its copy comes.
    let request = wire.request("OPTIONS", &uri, 70, "");
    assert_eq!(wire.ask(&request), wire.ask(&request));
    // The answer goes to where the request came from, whatever its Via says (RFC 3581).
    let request = wire.request("OPTIONS", &uri, 70, "");
    let via = header(&request, "Via").expect("it has one").to_owned();
    let hidden = request.replacen(
        &via,
        "SIP/2.0/UDP 192.0.2.7:5099;branch=z9hG4bKhidden1;rport",
        1,
    );
    let answer = wire.ask(&hidden);
    let via = header(&answer, "Via").expect("copied");
    assert!(
        via.contains("received=127.0.0.1") && via.contains("rport="),
        "{via}"
    );

    let request = wire::request(to, "TCP", "OPTIONS", &uri, 70, "");
    // Two requests and a keep-alive in one write, and one in two.
    let second = wire::request(to, "TCP", "OPTIONS", &uri, 70, "");
    let answers = wire::tcp_exchange(
        to,
        format!("{request}\r\n\r\n{second}").as_bytes(),
        Duration::from_millis(500),
    );
    assert_eq!(answers.matches("SIP/2.0 200").count(), 2, "{answers}");
}

#[test]
fn refusals_carry_the_status_and_the_reason_of_the_domain() {
    let switch = Switch::start();
    let api = switch.api(1);
    let gateway = |fields: serde_json::Value| {
        let row = api.find("mapping-gateways", "name", "customer");
        api.change("mapping-gateways", &row, fields);
    };
    let mut own = 0;
    let mut refused = |callee: u64, wanted: &str, reason: &str| {
        own += 1;
        let numbers = numbers(15_900_000_000 + own, callee, 1);
        let customer = Sipp::customer("customer_any", switch.own_port(), switch.sip(2), numbers);
        let customer = customer.start(switch.dir()).finish(Duration::from_secs(15));
        let lines = customer.lines("REFUSED");
        assert_eq!(lines.len(), 1, "{}", customer.errors());
        let words = &lines[0].words;
        assert!(
            words[2] == wanted && words[3..].join(" ").contains(reason),
            "wanted {wanted} {reason}: {words:?}"
        );
    };
    gateway(json!({ "allow_axb": false, "allow_ax": false }));
    refused(AXB, "403", "axb_not_allowed");
    gateway(json!({ "allow_axb": true, "allow_ax": true, "lock_type": 3 }));
    refused(AXB, "403", "locked");
    gateway(json!({ "lock_type": 0, "capacity": 1 }));
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let first = Sipp::customer(
        "customer",
        switch.own_port(),
        switch.sip(1),
        numbers(15_900_001_000, AXB + 1, 1),
    );
    let first = first.pause(3_000).start(switch.dir());
    eventually(
        "the one call that fits",
        Duration::from_secs(5),
        || match first.lines("ANSWERED").len() {
            1 => Ok(()),
            _ => Err("not answered".into()),
        },
    );
    refused(AXB, "503", "gateway_capacity");
    first.finish(Duration::from_secs(10)).all_good(1);
    drop(phone);
    gateway(
        json!({ "capacity": 1000, "callee_prefixes": { "allow": false, "prefixes": ["138"] } }),
    );
    refused(AXB, "403", "callee_forbidden");
    gateway(json!({ "callee_prefixes": { "allow": false, "prefixes": [] } }));
    let account = api.find("accounts", "account", "c1");
    api.change("accounts", &account, json!({ "lock_type": 3 }));
    refused(AXB, "403", "account_locked");
    let account = api.find("accounts", "account", "c1");
    api.change("accounts", &account, json!({ "lock_type": 0 }));
    let group = account["fee_rate_group"].clone();
    api.add(
        "fee-rates",
        json!({ "group": group, "prefix": "1389", "fee": "0.1", "period": 60, "locked": true }),
    );
    refused(13_890_000_000, "403", "rate_not_found");
    api.add(
        "fee-rates",
        json!({ "group": group, "prefix": "1388", "fee": "99999999", "period": 60 }),
    );
    refused(13_880_000_000, "402", "balance_insufficient");
    nothing_left(&switch, Duration::from_secs(5));
}
