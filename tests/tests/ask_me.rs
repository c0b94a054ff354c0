//! Platforms that store nothing and ask for each call: whichever node they ask knows who is to be called.

use serde_json::json;
use std::net::Ipv4Addr;
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::platform::Request;
use tandem_tests::process::rss;
use tandem_tests::sipp::{Finished, numbers};
use tandem_tests::{Seed, Sipp, Switch, eventually, http};

/// A customer who may use static relations alone.
const AX: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// How long after its last call a switch may hold anything.
const RELEASED: Duration = Duration::from_secs(10);

/// Type, its parameters, and the beginning of its callees and X numbers. The platforms ask node 1, and node 2 when that
/// does not answer, at an interface of the type's name.
const PLATFORMS: [(&str, &str, &str, &str); 2] = [
    (
        "china-unicom-x",
        r#"app_id = "sample-app-key", app_secret = "sample-app-secret""#,
        "131",
        "166",
    ),
    (
        "infobip",
        r#"api_id = "sample-app-key", api_secret = "sample-app-secret", refuse_file_id = "f""#,
        "132",
        "167",
    ),
];

fn seed() -> Seed {
    let seed = Seed::new()
        .a("ga", "02100000000..02100000009", "line_limit = 5")
        .customer("customer", "127.0.0.1", "")
        .customer("ax", &AX.to_string(), "allow_axb = false\nallow_ax = true");
    PLATFORMS
        .into_iter()
        .fold(seed, |seed, (kind, params, callees, x)| {
            let fields = format!(
                r#"name = "{kind}"
type = "{kind}"
params = {{ {params} }}
pair_rest_ms = 0"#
            );
            seed.table("interfaces", &fields)
                .x(kind, &format!("{x}00000000..{x}00000009"), "line_limit = 5")
                .axb_gateway(&format!("to-{kind}"), callees, "ga", kind, "")
        })
}

/// Calls to the callees of one platform through one node.
#[track_caller]
fn calls(switch: &Switch, node: u8, callees: &str, block: u64, count: usize) -> Finished {
    let callee = callees.parse::<u64>().expect("digits") * 100_000_000 + block * 1_000;
    Sipp::customer(
        "customer_any",
        switch.own_port(),
        switch.sip(node),
        numbers(15_900_000_000 + block * 1_000, callee, count),
    )
    .rate(10, 1_000)
    .pause(300)
    .start(switch.dir())
    .finish(Duration::from_secs(60))
}

/// The questions that were answered so, by the vendor's word.
fn questions(switch: &Switch, code: &str) -> Vec<Request> {
    let log = switch.platform_log();
    let questions = log.requests.into_iter();
    questions
        .filter(|request| request.op == "question" && request.code == code)
        .collect()
}

#[test]
fn a_platform_asks_another_node_than_the_calls_and_rings_b_with_x() {
    let switch = Switch::seeded(&seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    for (block, (kind, _, callees, _)) in (0..).zip(PLATFORMS) {
        let done = calls(&switch, 3, callees, block, 20);
        assert_eq!(done.logged("ANSWERED"), 20, "{kind}: {}", done.errors());
    }
    let rung = phone.lines("INVITE");
    assert_eq!(rung.len(), 40);
    for line in rung {
        let (_, _, _, x) = PLATFORMS
            .into_iter()
            .find(|(_, _, callees, _)| line.callee().starts_with(callees))
            .expect("only these were called");
        assert!(line.caller().starts_with(x), "{line:?}");
    }
    nothing_left(&switch, RELEASED);
    let asked = questions(&switch, "dial");
    assert_eq!(asked.len(), 40);
    assert!(asked.iter().all(|asked| !asked.bind_id.is_empty()));
    let log = switch.platform_log();
    assert_eq!(
        log.applied("bind"),
        0,
        "nothing is bound at such a platform"
    );
    for (kind, ..) in PLATFORMS {
        let line = format!(
            r#"tandem_platform_questions_total{{interface="{kind}",result="connected"}} 20"#
        );
        let told = switch.api(1).metrics();
        assert!(told.contains(&line), "{line} is not in the metrics");
    }
    let api = switch.api(1);
    let spent = api.metric("platform_question_seconds_sum", &[]);
    let each = spent / api.metric("platform_question_seconds_count", &[]);
    println!("a question took {:.1} ms", each * 1_000.0);
    assert!(each < 0.1, "a question took {each} s");
}

#[test]
fn who_proves_nothing_and_who_has_no_call_is_refused() {
    let switch = Switch::seeded(&seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let platform = switch.platform();
    for (block, (kind, _, callees, _)) in (0..).zip(PLATFORMS) {
        platform.fault(json!({ "vendor": kind, "bad_proof": true }));
        let done = calls(&switch, 2, callees, block, 2);
        assert_eq!(done.logged("ANSWERED"), 0, "{kind}");
        // The second address refuses as well.
        let refused = questions(&switch, "malformed");
        assert_eq!(
            refused.len(),
            4 * (usize::try_from(block).expect("few") + 1)
        );
        platform.heal();
        let done = calls(&switch, 2, callees, block, 2);
        assert_eq!(done.logged("ANSWERED"), 2, "{kind}: {}", done.errors());
    }
    // A stranger calls an X, one of our A numbers calls another: no call of ours goes there.
    for (caller, x) in [
        (13_900_000_001, 16_600_000_001),
        (2_100_000_000, 16_799_999_999),
    ] {
        let before = questions(&switch, "refuse").len();
        let stranger = Sipp::customer(
            "customer_any",
            switch.own_port(),
            switch.platform_sip(),
            numbers(caller, x, 1),
        );
        let done = stranger.start(switch.dir()).finish(Duration::from_secs(20));
        assert_eq!(done.logged("ANSWERED"), 0);
        assert_eq!(questions(&switch, "refuse").len(), before + 1);
    }
    assert_eq!(phone.lines("INVITE").len(), 4);
    nothing_left(&switch, RELEASED);
}

#[test]
fn a_platform_asks_its_second_address_when_the_first_nodes_is_dead() {
    let mut switch = Switch::seeded(&seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    // Calls of its own, each with a binding that the dead node can no longer release.
    let orphans = Sipp::customer(
        "customer_any",
        switch.own_port(),
        switch.sip(1),
        numbers(15_900_009_000, 13_100_009_000, 5),
    );
    let orphans = orphans.pause(8_000).start(switch.dir());
    eventually("five bindings on node 2", Duration::from_secs(10), || {
        let status = switch.api(2).try_status()?;
        match orphans.lines("ANSWERED").len() == 5 && status["bindings"] == 5 {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    });
    switch.kill(1);
    eventually("two nodes take calls", Duration::from_secs(20), || {
        switch.wait_ready(2);
        switch.wait_ready(3);
        Ok::<_, String>(())
    });
    for (block, (kind, _, callees, _)) in (0..).zip(PLATFORMS) {
        let done = calls(&switch, 3, callees, block, 10);
        assert_eq!(done.logged("ANSWERED"), 10, "{kind}: {}", done.errors());
    }
    assert_eq!(questions(&switch, "silent").len(), 20);
    assert_eq!(questions(&switch, "dial").len(), 25);
    drop(orphans);
    switch.restart(1);
    nothing_left(&switch, Duration::from_secs(45));
    drop(phone);
}

#[test]
fn one_pair_after_the_other_rings_its_own_callee_whichever_node_lags() {
    let (kind, params, callees, _) = PLATFORMS[0];
    let interface = format!(
        "name = \"{kind}\"\ntype = \"{kind}\"\nparams = {{ {params} }}\nunbind_delay_secs = 0\npair_rest_ms = 0"
    );
    let seed = Seed::new()
        .a("ga", "02100000000", "line_limit = 5")
        .customer("customer", "127.0.0.1", "")
        .table("interfaces", &interface)
        .x(kind, "16600000000", "line_limit = 1")
        .axb_gateway("platform", callees, "ga", kind, "");
    let switch = Switch::seeded(&seed);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let first = 13_100_000_000_u64;
    for n in 0..12 {
        let customer = Sipp::customer(
            "customer_any",
            switch.own_port(),
            switch.sip(1 + u8::try_from(n % 3).expect("small")),
            numbers(15_900_000_000, first + n, 1),
        );
        let done = customer.start(switch.dir()).finish(Duration::from_secs(20));
        assert_eq!(done.logged("ANSWERED"), 1, "call {n}: {}", done.errors());
    }
    let rung: Vec<_> = phone
        .lines("INVITE")
        .iter()
        .map(|line| line.callee().to_owned())
        .collect();
    let wanted: Vec<_> = (0..12).map(|n| (first + n).to_string()).collect();
    assert_eq!(rung, wanted);
    nothing_left(&switch, RELEASED);
}

#[test]
fn a_static_relation_of_such_a_platform_carries_calls_both_ways() {
    let switch = Switch::seeded(&seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let (a, x) = ("02100000003", "16700000003");
    let (a_number, x_number) = (format!("a_number={a}"), format!("x_number={x}"));
    switch.cli(2, &["ax", "add", "interface=infobip", &a_number, &x_number]);
    switch.cli(3, &["ax", "bind", &format!("{a}/{x}")]);

    // Out: each call's own callee, one after another and from every node.
    for node in 1..=3 {
        let callee = 13_200_007_000 + u64::from(node) * 10;
        let customer = Sipp::customer(
            "customer_any",
            switch.own_port(),
            switch.sip(node),
            numbers(15_900_000_001, callee, 3),
        );
        let done = customer
            .from_ip(AX)
            .rate(10, 1_000)
            .pause(300)
            .start(switch.dir())
            .finish(Duration::from_secs(30));
        assert_eq!(done.logged("ANSWERED"), 3, "node {node}: {}", done.errors());
    }
    let rung = phone.lines("INVITE");
    assert!(rung.iter().all(|line| line.caller() == x), "{rung:?}");
    let mut callees: Vec<_> = rung.iter().map(|line| line.callee().to_owned()).collect();
    callees.sort_unstable();
    callees.dedup();
    assert_eq!(callees.len(), 9, "{callees:?}");

    // In: whoever calls X reaches A.
    let stranger = Sipp::customer(
        "customer_any",
        switch.own_port(),
        switch.platform_sip(),
        numbers(13_900_000_001, x.parse().expect("digits"), 1),
    );
    let done = stranger.start(switch.dir()).finish(Duration::from_secs(20));
    assert_eq!(done.logged("ANSWERED"), 1, "{}", done.errors());
    let rung = phone.lines("INVITE");
    let last = rung.last().expect("it has rung ten times");
    assert_eq!((rung.len(), last.callee(), last.caller()), (10, a, x));

    switch.cli(1, &["ax", "unbind", &format!("{a}/{x}")]);
    nothing_left(&switch, RELEASED);
}

#[test]
fn hostile_questions_are_refused_and_cost_little() {
    let switch = Switch::seeded(&seed());
    let node = switch.api(2).at;
    let large = format!(r#"{{"caller":"{}"}}"#, "1".repeat(10_000_000));
    let deep = "[".repeat(200_000);
    let wide = format!("{{{}}}", r#""a":[[[[]]]],"#.repeat(1_000));
    let before = rss(switch.pid(2));
    for _ in 0..20 {
        for (body, statuses) in [
            (large.as_str(), [0, 413]),
            (&deep, [413, 413]),
            (&wide, [400, 403]),
            ("no json", [403, 403]),
            (
                r#"{"caller":"02100000001","callee":"16600000001"}"#,
                [403, 403],
            ),
            ("", [403, 403]),
        ] {
            let path = "/callbacks/china-unicom-x/voice_inactive";
            let sent = http::send(node, "POST", path, &[], Some(body));
            // A server that has heard enough may hang up before all is sent.
            let status = sent.map_or(0, |response| response.status);
            assert!(statuses.contains(&status), "{status}: {} bytes", body.len());
        }
    }
    for path in [
        "/callbacks/china-unicom-x/nothing",
        "/callbacks/nobody/voice_inactive",
    ] {
        let response = http::send(node, "POST", path, &[], Some("{}")).expect("an answer");
        assert_eq!(response.status, 404, "{path}");
    }
    let grown = rss(switch.pid(2)).saturating_sub(before);
    assert!(grown < 64 << 20, "it has grown by {grown} bytes");
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let done = calls(&switch, 2, "131", 9, 2);
    assert_eq!(done.logged("ANSWERED"), 2, "{}", done.errors());
    drop(phone);
}
