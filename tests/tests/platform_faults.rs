//! The X platform slow, failing, cutting its replies or down: calls get another X, another gateway or a clear 503, and
//! nothing stays bound.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tandem_tests::checks::{nothing_bound, nothing_left};
use tandem_tests::sipp::{Finished, Running, numbers};
use tandem_tests::switch::free_port;
use tandem_tests::{Sipp, Switch, eventually};

/// How long after a fault everything must be released: the longest step of the back-off that such a short fault can
/// reach, and some.
const RELEASED: Duration = Duration::from_secs(20);

fn calls(switch: &Switch, count: usize, per_s: u32) -> Running {
    let own = switch.own_port();
    let numbers = numbers(
        15_900_000_000 + u64::from(own) * 1_000,
        13_800_000_000 + u64::from(own) * 1_000,
        count,
    );
    let node = 1 + u8::try_from(own % 3).expect("less than 3");
    Sipp::customer("customer_any", own, switch.sip(node), numbers)
        .rate(per_s, 1_000)
        .pause(1_000)
        .start(switch.dir())
}

/// Every refusal is a 503 whose Reason names `reason`; answers how many calls were answered.
#[track_caller]
fn answered_or_refused(customer: &Finished, count: usize, reason: &str) -> usize {
    let refused = customer.lines("REFUSED");
    for line in &refused {
        assert_eq!(line.words[2], "503", "{line:?}");
        assert!(
            line.words[3..].join(" ").contains(reason),
            "the 503 does not say {reason}: {line:?}"
        );
    }
    let answered = customer.logged("ANSWERED");
    assert_eq!(answered + refused.len(), count, "{}", customer.errors());
    assert_eq!(customer.failed(), 0, "{}", customer.errors());
    answered
}

/// Adds a copy of a routing gateway with some fields changed.
fn copy_of_gateway(switch: &Switch, of: &str, changes: Value) {
    copy_of(switch, "routing-gateways", of, changes);
}

fn copy_of(switch: &Switch, collection: &str, of: &str, changes: Value) {
    let api = switch.api(1);
    let mut row = api.find(collection, "name", of);
    let fields = row.as_object_mut().expect("a row is an object");
    let kept: &[&str] = match collection {
        "interfaces" => &[
            "name",
            "type",
            "params",
            "urls",
            "unbind_delay_secs",
            "timeout_ms",
            "pair_rest_ms",
        ],
        _ => &[
            "name",
            "prefixes",
            "prefix_style",
            "remote_ip",
            "signal_port",
            "capacity",
            "priority",
            "clearing_account",
            "axb_enabled",
            "a_group",
            "interface",
            "axb_account",
        ],
    };
    fields.retain(|key, _| kept.contains(&key.as_str()));
    for (key, value) in changes.as_object().expect("changes are an object") {
        fields.insert(key.clone(), value.clone());
    }
    api.add(collection, row);
}

/// A gateway beside the platform's, not AXB, tried after it.
fn spare_gateway(switch: &Switch) {
    let platform = switch.api(1).find("routing-gateways", "name", "platform");
    let priority = platform["priority"].as_u64().expect("a number") + 10;
    copy_of_gateway(
        switch,
        "plain",
        json!({ "name": "spare", "prefixes": platform["prefixes"], "priority": priority }),
    );
}

#[test]
fn a_refused_number_gets_the_call_another_x() {
    let switch = Switch::start();
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    switch
        .platform()
        .fault(json!({ "error_rate": 0.3, "error_code": "1012010" }));
    let customer = calls(&switch, 100, 20).finish(Duration::from_secs(40));
    switch.platform().heal();
    let answered = answered_or_refused(&customer, 100, "axb_bind_failed");
    // Three tries fail together once in 37 calls.
    assert!(answered >= 85, "{answered} of 100 calls were answered");
    let log = switch.platform_log();
    let mut tried: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for request in log.requests.iter().filter(|r| r.op == "bind") {
        tried.entry(&request.b).or_default().push(&request.x);
    }
    let again = tried.values().filter(|xs| xs.len() > 1).count();
    assert!(again > 0, "no bind was refused");
    for (b, xs) in tried {
        assert!(xs.len() <= 3, "more than two more tries for {b}: {xs:?}");
        let mut distinct = xs.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(
            distinct.len(),
            xs.len(),
            "{b} was offered a refused X again"
        );
    }
    nothing_left(&switch, RELEASED);
    drop(phone);
}

#[test]
fn a_failing_platform_is_a_503_with_its_reason_or_the_next_gateway() {
    let switch = Switch::start();
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    switch
        .platform()
        .fault(json!({ "error_rate": 1.0, "error_code": "1010029" }));
    let customer = calls(&switch, 20, 10).finish(Duration::from_secs(30));
    assert_eq!(answered_or_refused(&customer, 20, "axb_bind_failed"), 0);
    assert_eq!(phone.lines("INVITE").len(), 0);

    spare_gateway(&switch);
    let spare = Sipp::phone("phone", switch.plain_port()).start(switch.dir());
    let customer = calls(&switch, 20, 10).finish(Duration::from_secs(30));
    assert_eq!(answered_or_refused(&customer, 20, "axb_bind_failed"), 20);
    assert_eq!(spare.lines("INVITE").len(), 20);

    switch.platform().heal();
    nothing_left(&switch, RELEASED);
    let customer = calls(&switch, 10, 10).finish(Duration::from_secs(30));
    assert_eq!(answered_or_refused(&customer, 10, "axb_bind_failed"), 10);
    nothing_left(&switch, RELEASED);
}

#[test]
fn a_dead_interface_gives_way_to_another_axb_gateway() {
    let switch = Switch::start();
    let api = switch.api(1);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    copy_of(
        &switch,
        "interfaces",
        "huawei-sim",
        json!({ "name": "dead", "urls": { "base": nobody }, "params": { "app_key": "k", "app_secret": "s" } }),
    );
    for n in 0..40 {
        api.add(
            "x-numbers",
            json!({ "interface": "dead", "number": format!("170001000{n:02}"), "line_limit": 20 }),
        );
    }
    let platform = api.find("routing-gateways", "name", "platform");
    api.change("routing-gateways", &platform, json!({ "priority": 9 }));
    copy_of_gateway(
        &switch,
        "platform",
        json!({ "name": "first", "interface": "dead", "priority": 1 }),
    );
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let customer = calls(&switch, 20, 10).finish(Duration::from_secs(30));
    assert_eq!(answered_or_refused(&customer, 20, "axb_bind_failed"), 20);
    let seen = phone.lines("INVITE");
    assert_eq!(seen.len(), 20);
    assert!(
        seen.iter()
            .all(|line| line.caller().starts_with("170000000")),
        "{seen:?}"
    );
    nothing_left(&switch, RELEASED);
}

#[test]
fn a_slow_platform_delays_calls_and_harms_none() {
    let switch = Switch::start();
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    switch.platform().fault(json!({ "latency_ms": 700 }));
    let customer = calls(&switch, 60, 20).finish(Duration::from_secs(40));
    assert_eq!(answered_or_refused(&customer, 60, "axb_bind_failed"), 60);
    let sent: BTreeMap<String, f64> = customer
        .lines("SENT")
        .iter()
        .map(|line| (line.callee().to_owned(), line.at))
        .collect();
    for line in customer.lines("ANSWERED") {
        let waited = line.at - sent[line.callee()];
        assert!(
            waited >= 0.7,
            "answered after {waited:.3} s, before the platform had bound"
        );
    }
    switch.platform().heal();
    nothing_left(&switch, RELEASED);
    drop(phone);
}

#[test]
fn a_bind_that_times_out_leaves_nothing_bound() {
    let switch = Switch::start();
    let api = switch.api(1);
    let interface = api.find("interfaces", "name", "huawei-sim");
    api.change("interfaces", &interface, json!({ "timeout_ms": 400 }));
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    switch.platform().fault(json!({ "latency_ms": 1500 }));
    let customer = calls(&switch, 20, 10).finish(Duration::from_secs(40));
    assert_eq!(answered_or_refused(&customer, 20, "axb_bind_failed"), 0);
    switch.platform().heal();
    nothing_left(&switch, RELEASED);
    let log = switch.platform_log();
    assert_eq!(log.applied("bind"), log.applied("unbind"));
    let customer = calls(&switch, 10, 10).finish(Duration::from_secs(30));
    assert_eq!(answered_or_refused(&customer, 10, "axb_bind_failed"), 10);
    nothing_left(&switch, RELEASED);
    drop(phone);
}

#[test]
fn replies_cut_off_leave_nothing_bound() {
    let switch = Switch::start();
    let api = switch.api(1);
    api.unbind_delay(Some(0));
    spare_gateway(&switch);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let spare = Sipp::phone("phone", switch.plain_port()).start(switch.dir());
    switch.platform().fault(json!({ "drop_reply_rate": 0.5 }));
    let customer = calls(&switch, 60, 20).finish(Duration::from_secs(60));
    // A call whose bind is unknown goes by the next gateway, one whose unbind is unknown goes on all the same.
    assert_eq!(answered_or_refused(&customer, 60, "axb_bind_failed"), 60);
    let seen = phone.lines("INVITE").len() + spare.lines("INVITE").len();
    assert_eq!(seen, 60);
    let cut = switch
        .platform_log()
        .requests
        .iter()
        .filter(|r| r.op == "bind" && r.applied && !r.answered)
        .count();
    assert!(cut > 0, "no reply to a bind was cut");
    switch.platform().heal();
    nothing_left(&switch, RELEASED);
    let log = switch.platform_log();
    assert_eq!(log.applied("bind"), log.applied("unbind"));
}

#[test]
fn a_platform_that_goes_down_under_running_calls_is_asked_again_until_it_is_back() {
    let switch = Switch::start();
    let api = switch.api(1);
    api.unbind_delay(Some(1));
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let numbers = numbers(15_900_000_000, 13_800_000_000, 20);
    let talking = Sipp::customer("customer", switch.own_port(), switch.sip(2), numbers)
        .rate(40, 1_000)
        .pause(4_000);
    let talking = talking.start(switch.dir());
    eventually(
        "twenty calls talk",
        Duration::from_secs(10),
        || match talking.lines("ANSWERED").len() {
            20 => Ok(()),
            n => Err(format!("{n}")),
        },
    );
    switch.platform().fault(json!({ "down": true }));
    let refused = calls(&switch, 10, 10).finish(Duration::from_secs(30));
    assert_eq!(answered_or_refused(&refused, 10, "axb_bind_failed"), 0);
    // The running calls end well although their unbinds fail, and their rows say so.
    talking.finish(Duration::from_secs(20)).all_good(20);
    let rows = api.list("bindings");
    assert!(
        !rows.is_empty(),
        "the bindings of the running calls are held"
    );
    assert!(
        rows.iter().any(|row| row["last_error"]
            .as_str()
            .is_some_and(|text| !text.is_empty())),
        "{rows:?}"
    );
    switch.platform().heal();
    nothing_bound(&switch, RELEASED);
    nothing_left(&switch, RELEASED);
    drop(phone);
}
