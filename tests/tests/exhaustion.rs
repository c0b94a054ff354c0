//! Nothing is left to give: the next gateway first, then 503 with its reason; and an AXB gateway never carries a plain
//! call.

use serde_json::json;
use std::net::Ipv4Addr;
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::sipp::numbers;
use tandem_tests::switch::NODES;
use tandem_tests::talk::{try_call, try_from};
use tandem_tests::{Seed, Sipp, Switch, Talk};

/// The customer without AXB.
const WITHOUT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);

const CALLER: &str = "15900000001";

fn callee(n: u64) -> String {
    (13_800_000_000 + n).to_string()
}

#[test]
fn a_call_without_a_free_pair_goes_by_the_next_gateway_and_at_last_is_refused() {
    let seed = Seed::new()
        .interface("i1", "")
        .interface("i2", "")
        .x("i1", "17000000001", "")
        .x("i2", "17000000002", "line_limit = 5")
        .a("g1", "02100000000..02100000009", "")
        .a("g2", "02200000000", "line_limit = 1")
        .axb_gateway("first", "", "g1", "i1", "priority = 1")
        .axb_gateway("second", "", "g2", "i2", "priority = 2")
        .customer("customer", "127.0.0.1", "")
        .customer("without", &WITHOUT.to_string(), "allow_axb = false");
    let switch = Switch::seeded(&seed);
    let api = switch.api(2);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let plain = Sipp::phone("phone", switch.plain_port()).start(switch.dir());

    // The first gateway has one X, the second one A: the third call finds neither.
    let one = Talk::start(&switch, 1, CALLER, &callee(1));
    let two = Talk::start(&switch, 2, CALLER, &callee(2));
    for node in 1..=NODES {
        try_call(&switch, node, CALLER, &callee(10 + u64::from(node))).is(503, "no_axb_number");
    }
    // A customer that may not use AXB is never let out in plain by such a gateway, free or not.
    try_from(&switch, WITHOUT, 3, CALLER, &callee(3)).is(403, "axb_not_allowed");
    two.end();
    try_from(&switch, WITHOUT, 3, CALLER, &callee(3)).is(403, "axb_not_allowed");
    let two = Talk::start(&switch, 3, CALLER, &callee(4));

    // With a gateway that carries plain calls both go by it, with the numbers they came with.
    let spare = json!({
        "name": "spare", "prefixes": [""], "remote_ip": "127.0.0.1", "signal_port": switch.plain_port(), "priority": 3,
    });
    api.add("routing-gateways", spare);
    try_call(&switch, 1, CALLER, &callee(5)).is_answered();
    try_from(&switch, WITHOUT, 2, CALLER, &callee(6)).is_answered();
    // An AXB gateway whose X numbers are all out of use does not carry it in plain either.
    one.end();
    switch.cli(3, &["x", "set", "17000000001", "state=disabled"]);
    try_call(&switch, 1, CALLER, &callee(7)).is_answered();
    switch.cli(1, &["x", "set", "17000000001", "state=active"]);
    let one = Talk::start(&switch, 2, CALLER, &callee(8));
    one.end();
    two.end();
    nothing_left(&switch, Duration::from_secs(5));

    let seen = |phone: tandem_tests::Finished| -> Vec<(String, String)> {
        let lines = phone.lines("INVITE");
        lines
            .iter()
            .map(|line| (line.caller().to_owned(), line.callee().to_owned()))
            .collect()
    };
    let (x1, x2) = ("17000000001", "17000000002");
    let pairs = |pairs: &[(&str, u64)]| -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(caller, n)| ((*caller).to_owned(), callee(*n)))
            .collect()
    };
    assert_eq!(
        seen(phone.stop()),
        pairs(&[(x1, 1), (x2, 2), (x2, 4), (x1, 8)])
    );
    assert_eq!(
        seen(plain.stop()),
        pairs(&[(CALLER, 5), (CALLER, 6), (CALLER, 7)])
    );
    let log = switch.platform_log();
    assert_eq!((log.applied("bind"), log.applied("unbind")), (4, 4));
    log.never_doubled(1);

    let rows = switch.cdrs(1);
    let of = |n: u64| {
        let row = rows.iter().find(|row| row.text("callee") == callee(n));
        row.unwrap_or_else(|| panic!("no record of the call to {}", callee(n)))
    };
    for (n, reason, gateway) in [
        (1, "admin_hangup", "first"),
        (2, "admin_hangup", "second"),
        (11, "no_axb_number", ""),
        (13, "no_axb_number", ""),
        (3, "axb_not_allowed", ""),
        (5, "normal", "spare"),
        (6, "normal", "spare"),
        (7, "normal", "spare"),
        (8, "admin_hangup", "first"),
    ] {
        let row = of(n);
        assert_eq!(row.text("end_reason"), reason, "{}", row.0);
        assert_eq!(row.text("callee_gateway"), gateway, "{}", row.0);
        let talked = row.time("answered_at").is_some();
        assert_eq!(talked, !gateway.is_empty(), "{}", row.0);
    }
    assert_eq!(switch.axb_cdrs(1).len(), 4);
}

#[test]
fn three_nodes_asked_at_once_give_exactly_what_there_is() {
    let seed = Seed::new()
        .interface("i", "")
        .x("i", "17000000001..17000000005", "line_limit = 2")
        .a("ga", "02100000000..02100000049", "")
        .axb_gateway("platform", "", "ga", "i", "")
        .customer("customer", "127.0.0.1", "");
    let switch = Switch::seeded(&seed);
    let api = switch.api(1);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    // Every node gets more calls at once than the whole cluster has numbers for.
    let rush = |first: u64| {
        let customers: Vec<_> = (1..=NODES)
            .map(|node| {
                let from = first + u64::from(node) * 100;
                let numbers = numbers(15_900_000_000 + from, 13_800_000_000 + from, 12);
                Sipp::customer("customer_any", switch.own_port(), switch.sip(node), numbers)
                    .rate(40, 1_000)
                    .pause(4_000)
                    .start(switch.dir())
            })
            .collect();
        let mut answered = 0;
        for customer in customers {
            let customer = customer.finish(Duration::from_secs(20));
            customer.all_good(12);
            answered += customer.logged("ANSWERED");
            for line in customer.lines("REFUSED") {
                let reason = line.words[3..].join(" ");
                assert!(
                    line.words[2] == "503" && reason.contains("no_axb_number"),
                    "{line:?}"
                );
            }
        }
        nothing_left(&switch, Duration::from_secs(5));
        answered
    };
    assert_eq!(rush(0), 10, "five X numbers with two lines each");

    // Now A is what is scarce: four numbers with two lines each.
    api.change_all("x-numbers", &json!({ "line_limit": 20 }));
    for row in &api.list("a-numbers")[4..] {
        let path = format!("a-numbers/{}", tandem_tests::api::id(row));
        api.call("DELETE", &path, None);
    }
    api.change_all("a-numbers", &json!({ "line_limit": 2 }));
    assert_eq!(rush(1_000), 8, "four A numbers with two lines each");
    switch.platform_log().never_doubled(8);
    assert_eq!(phone.stop().logged("INVITE"), 18);
}
