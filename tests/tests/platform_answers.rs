//! What the platform answers beside success: that it holds nothing, that a number is taken, that we are too fast or
//! unknown to it.

use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::sipp::numbers;
use tandem_tests::switch::NODES;
use tandem_tests::talk::try_call;
use tandem_tests::{Seed, Sipp, Switch, Talk, eventually};

const CALLER: &str = "15900000001";

/// The platform's id of the live binding to B.
#[track_caller]
fn bind_id(switch: &Switch, b: &str) -> String {
    let log = switch.platform_log();
    let bound = log.requests.iter().rev();
    let mut bound = bound.filter(|r| r.op == "bind" && r.applied && r.b == b);
    let request = bound
        .next()
        .unwrap_or_else(|| panic!("{b} was never bound"));
    request.bind_id.clone()
}

/// The one row of 当前绑定, once it is as `fits` wants it.
#[track_caller]
fn row(switch: &Switch, fits: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    eventually("the one binding", Duration::from_secs(5), || {
        let rows = switch.api(3).list("bindings");
        match rows.as_slice() {
            [row] if fits(row) => Ok(row.clone()),
            _ => Err(format!("{rows:?}")),
        }
    })
}

fn concurrency(switch: &Switch, x: &str) -> u64 {
    let row = switch.api(2).find("x-numbers", "number", x);
    row["concurrency"].as_u64().expect("a count")
}

#[test]
fn a_binding_that_the_platform_let_go_first_is_released_and_counted_or_held_where_asked() {
    let (free, held) = ("17000000001", "17000000002");
    let seed = Seed::new()
        .interface("frees", "")
        .interface("holds", "hold_missing = true")
        .x("frees", free, "")
        .x("holds", held, "")
        .a("ga", "02100000000..02100000009", "")
        .axb_gateway("frees", "138", "ga", "frees", "")
        .axb_gateway("holds", "139", "ga", "holds", "")
        .customer("customer", "127.0.0.1", "");
    let switch = Switch::seeded(&seed);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let let_go = |interface: &str| {
        for node in 1..=NODES {
            eventually("who let go is counted", Duration::from_secs(2), || {
                let api = switch.api(node);
                let row = api.find("interfaces", "name", interface);
                let metric = api.metric("let_go", &[&format!("interface=\"{interface}\"")]);
                match row["let_go"] == 1 && metric == 1.0 {
                    true => Ok(()),
                    false => Err(format!("node {node}: {row}, metric {metric}")),
                }
            });
        }
    };

    // Nothing is left on the platform: the row goes, X is free, and it is counted who let go first.
    let talk = Talk::start(&switch, 1, CALLER, "13800000001");
    switch
        .platform()
        .unbind_directly(&bind_id(&switch, "13800000001"));
    assert_eq!(concurrency(&switch, free), 1, "we do not know it yet");
    talk.end();
    nothing_left(&switch, Duration::from_secs(5));
    let_go("frees");
    try_call(&switch, 3, CALLER, "13800000002").is_answered();
    nothing_left(&switch, Duration::from_secs(5));
    let_go("frees");
    // An unbind whose answer was lost had its effect: that nothing is there when it is asked again is our own doing.
    let talk = Talk::start(&switch, 2, CALLER, "13800000003");
    let cut = json!({ "drop_reply_rate": 1.0, "ops": ["unbind"] });
    switch.platform().fault(cut);
    talk.end();
    row(&switch, |row| row["last_error"].is_string());
    assert_eq!(concurrency(&switch, free), 1, "not confirmed yet");
    switch.platform().heal();
    nothing_left(&switch, Duration::from_secs(10));
    let_go("frees");

    // An interface that holds what is missing keeps row and X, whoever asks, until it is forced.
    let talk = Talk::start(&switch, 2, CALLER, "13900000001");
    let handle = bind_id(&switch, "13900000001");
    switch.platform().unbind_directly(&handle);
    talk.end();
    let missing = |row: &serde_json::Value| {
        let error = row["last_error"].as_str().unwrap_or_default();
        row["state"] == "unbinding" && error.contains("no such binding")
    };
    let kept = row(&switch, missing);
    let id = kept["id"].to_string();
    let_go("holds");
    let asked = |switch: &Switch| {
        let log = switch.platform_log();
        let unbinds = log.requests.iter();
        unbinds
            .filter(|r| r.op == "unbind" && !r.applied && r.bind_id == handle)
            .count()
    };
    let before = asked(&switch);
    switch.cli(1, &["binding", "unbind", &id]);
    eventually(
        "the platform is asked again",
        Duration::from_secs(5),
        || {
            let now = asked(&switch);
            if now > before {
                Ok(())
            } else {
                Err(format!("{now} times"))
            }
        },
    );
    row(&switch, missing);
    assert_eq!(concurrency(&switch, held), 1);
    try_call(&switch, 3, CALLER, "13900000002").is(503, "no_axb_number");
    let_go("holds");
    switch.cli(3, &["binding", "force-unbind", &id]);
    assert!(switch.api(3).list("bindings").is_empty());
    try_call(&switch, 1, CALLER, "13900000003").is_answered();
    nothing_left(&switch, Duration::from_secs(5));
    let none = switch.client(2, &["binding", "force-unbind", &id]);
    assert_eq!(none.status.code(), Some(3), "a binding that is gone");
    let seen = phone.stop().logged("INVITE");
    assert_eq!((seen, switch.axb_cdrs(1).len()), (5, 5));
}

#[test]
fn another_x_than_the_one_asked_for_is_used_and_booked_when_it_is_ours_and_free() {
    let (asked, other, stranger) = ("17000000001", "17000000002", "17900000000");
    // The other X names nobody, so that no call ever asks for it.
    let seed = Seed::new()
        .interface("i", "")
        .x("i", asked, "line_limit = 9")
        .x("i", other, "allow_other_callers = false")
        .a("ga", "02100000000..02100000009", "")
        .axb_gateway("platform", "", "ga", "i", "")
        .customer("customer", "127.0.0.1", "");
    let switch = Switch::seeded(&seed);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let platform = switch.platform();
    let at_rest = || {
        eventually("nothing is on the way", Duration::from_secs(5), || {
            match (switch.api(1).list("bindings").len(), platform.bindings()) {
                (1, 1) => Ok(()),
                counts => Err(format!("{counts:?}")),
            }
        });
    };
    platform.fault(json!({ "other_x": other }));
    let talk = Talk::start(&switch, 1, CALLER, "13800000001");
    let booked = row(&switch, |row| row["state"] == "bound");
    assert_eq!(booked["x_number"], other, "{booked}");
    assert_eq!(
        (concurrency(&switch, asked), concurrency(&switch, other)),
        (0, 1)
    );

    // Its one line is in use: what the platform gives all the same is given back, and the call is refused.
    try_call(&switch, 2, CALLER, "13800000002").is(503, "axb_bind_failed");
    at_rest();
    // A number of nobody's is no number to call with.
    platform.fault(json!({ "other_x": stranger }));
    try_call(&switch, 3, CALLER, "13800000003").is(503, "axb_bind_failed");
    at_rest();
    platform.heal();
    try_call(&switch, 3, CALLER, "13800000004").is_answered();
    talk.end();
    nothing_left(&switch, Duration::from_secs(5));

    let log = switch.platform_log();
    let bound: Vec<(&str, &str)> = log
        .requests
        .iter()
        .filter(|r| r.op == "bind" && r.applied)
        .map(|r| (r.b.as_str(), r.x.as_str()))
        .collect();
    let wanted = [
        ("13800000001", other),
        ("13800000002", other),
        ("13800000003", stranger),
        ("13800000004", asked),
    ];
    assert_eq!(bound, wanted);
    assert_eq!(log.applied("unbind"), 4);
    let seen: Vec<String> = phone
        .stop()
        .lines("INVITE")
        .iter()
        .map(|line| line.caller().to_owned())
        .collect();
    assert_eq!(seen, [other, asked]);
    let xs: BTreeSet<String> = switch
        .axb_cdrs(2)
        .iter()
        .map(|row| format!("{} {}", row.text("b_number"), row.text("x_number")))
        .collect();
    assert!(
        xs.contains(&format!("13800000001 {other}"))
            && xs.contains(&format!("13800000004 {asked}")),
        "{xs:?}"
    );
}

#[test]
fn a_number_taken_by_somebody_else_gets_the_call_another_x_and_three_are_tried() {
    let xs = ["17000000001", "17000000002", "17000000003", "17000000004"];
    let seed = Seed::new()
        .interface("i", "")
        .x("i", &format!("{}..{}", xs[0], xs[3]), "line_limit = 20")
        .a("ga", "02100000000..02100000049", "")
        .axb_gateway("platform", "", "ga", "i", "")
        .customer("customer", "127.0.0.1", "");
    let switch = Switch::seeded(&seed);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let platform = switch.platform();
    // Somebody else has bound each callee on the first two X numbers: three tries always find one of the others.
    let callee = |n: u64| (13_800_000_000 + n).to_string();
    let mut foreign = 0;
    for n in 0..12 {
        for x in &xs[..2] {
            platform.bind_directly(&format!("0220000{foreign:04}"), x, &callee(n));
            foreign += 1;
        }
    }
    let numbers = numbers(15_900_000_000, 13_800_000_000, 12);
    let customer = Sipp::customer("customer", switch.own_port(), switch.sip(1), numbers)
        .pause(500)
        .start(switch.dir());
    customer.finish(Duration::from_secs(20)).all_good(12);
    let seen: BTreeSet<String> = phone
        .lines("INVITE")
        .iter()
        .map(|line| line.caller().to_owned())
        .collect();
    assert_eq!(seen, BTreeSet::from([xs[2].to_owned(), xs[3].to_owned()]));

    // One callee is bound on all four: three are tried, each once, and the call is refused.
    for x in xs {
        platform.bind_directly(&format!("0220000{foreign:04}"), x, &callee(100));
        foreign += 1;
    }
    try_call(&switch, 2, CALLER, &callee(100)).is(503, "axb_bind_failed");
    switch.comes_to_rest(&[1, 2, 3], Duration::from_secs(5));
    assert_eq!(
        platform.bindings(),
        foreign,
        "nobody else's binding was touched"
    );
    let ours = |r: &&tandem_tests::platform::Request| r.a.starts_with("21");
    let log = switch.platform_log();
    let mut tried: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for r in log.requests.iter().filter(ours).filter(|r| r.op == "bind") {
        tried.entry(&r.b).or_default().push((&r.x, &r.code));
    }
    let last = tried.remove(&*callee(100)).expect("it was tried");
    assert_eq!(last.len(), 3, "{last:?}");
    assert!(last.iter().all(|(_, code)| *code == "1012010"), "{last:?}");
    let distinct: BTreeSet<_> = last.iter().map(|(x, _)| x).collect();
    assert_eq!(distinct.len(), 3, "{last:?}");
    let again = tried.values().filter(|tries| tries.len() > 1).count();
    assert!(again > 0, "no bind was refused: {tried:?}");
    let interface = switch.api(3).find("interfaces", "name", "i");
    let error = interface["last_error"].as_str().unwrap_or_default();
    assert!(error.contains("1012010"), "{interface}");
    let rows = switch.cdrs(1);
    let row = rows.iter().find(|row| row.text("callee") == callee(100));
    let row = row.expect("a refused call has a record");
    assert_eq!(row.text("end_reason"), "axb_bind_failed");
}

#[test]
fn too_fast_or_unknown_to_the_platform_is_a_503_until_it_is_mended() {
    let seed = Seed::new()
        .interface("i", "")
        .x("i", "17000000001..17000000009", "line_limit = 20")
        .a("ga", "02100000000..02100000049", "")
        .axb_gateway("platform", "", "ga", "i", "")
        .customer("customer", "127.0.0.1", "");
    let switch = Switch::seeded(&seed);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());

    // Too fast: what is over the platform's limit is refused with its reason, what is below it talks.
    switch.platform().fault(json!({ "throttle_per_s": 3 }));
    let customer = Sipp::customer(
        "customer_any",
        switch.own_port(),
        switch.sip(1),
        numbers(15_900_000_000, 13_800_000_000, 12),
    );
    let customer = customer.rate(60, 1_000).pause(3_000).start(switch.dir());
    let counts = eventually("all calls are decided", Duration::from_secs(10), || {
        let (answered, refused) = (
            customer.lines("ANSWERED").len(),
            customer.lines("REFUSED").len(),
        );
        match answered + refused {
            12 => Ok((answered, refused)),
            _ => Err(format!("{answered} answered, {refused} refused")),
        }
    });
    switch.platform().heal();
    // The platform counts by the seconds of its clock; the calls lie in one or two of them.
    let log = switch.platform_log();
    let seconds: BTreeSet<u64> = log.requests.iter().map(|r| r.t as u64).collect();
    assert!(
        (3..=3 * seconds.len()).contains(&counts.0) && counts.1 > 0,
        "{counts:?} in {seconds:?}"
    );
    for line in customer.lines("REFUSED") {
        let reason = line.words[3..].join(" ");
        assert!(
            line.words[2] == "503" && reason.contains("axb_bind_failed"),
            "{line:?}"
        );
    }
    customer.finish(Duration::from_secs(10)).all_good(12);
    nothing_left(&switch, Duration::from_secs(10));
    let throttled = switch.platform_log();
    let throttled = throttled.requests.iter().filter(|r| r.code == "1010010");
    assert_eq!(
        throttled.count(),
        counts.1,
        "a throttled bind is not sent again for this call"
    );

    // Unknown: a wrong secret refuses new calls; the call that talks goes on, its row waits for the right secret.
    let talk = Talk::start(&switch, 2, CALLER, "13800000100");
    switch.cli(3, &["interface", "set", "i", "params.app_secret=wrong"]);
    for node in 1..=NODES {
        let callee = format!("1380000020{node}");
        try_call(&switch, node, CALLER, &callee).is(503, "axb_bind_failed");
    }
    talk.end();
    row(&switch, |row| row["last_error"].is_string());
    let interface = switch.api(1).find("interfaces", "name", "i");
    assert!(interface["last_error"].is_string(), "{interface}");
    switch.cli(
        1,
        &[
            "interface",
            "set",
            "i",
            "params.app_secret=sample-app-secret",
        ],
    );
    for node in 1..=NODES {
        let callee = format!("1380000030{node}");
        try_call(&switch, node, CALLER, &callee).is_answered();
    }
    nothing_left(&switch, Duration::from_secs(20));
    assert_eq!(phone.stop().logged("INVITE"), counts.0 + 4);
}
