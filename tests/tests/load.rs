//! Two thousand calls at a hundred a second over three nodes, 3 s each, once for each kind of unbind delay.
//!
//! The pools are made scarce on purpose (400 A lines and 400 X slots for some 305 calls at once), so that limits are
//! met and not merely far away; prices differ by prefix and carry sections, so that the re-rating means something.

use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tandem_tests::checks::{Ends, Load};
use tandem_tests::platform::plain;
use tandem_tests::rerate::Tariff;
use tandem_tests::switch::NODES;
use tandem_tests::{Sipp, Switch};

const CALLS: usize = 2_000;
const A_LIMIT: usize = 2;
const X_LIMIT: usize = 4;

/// Callees 130…, 131… to 139…, all different.
fn pairs(from: usize, count: usize) -> Vec<(String, String)> {
    let callee = |n: u64| 13_000_000_000 + n % 10 * 100_000_000 + n;
    let numbers = (from as u64..).take(count);
    numbers
        .map(|n| ((15_900_000_000 + n).to_string(), callee(n).to_string()))
        .collect()
}

/// Prices of every shape, by callee for the customer and the X platform, by X for the landing.
fn varied_prices(switch: &Switch) {
    let api = switch.api(1);
    let group = |account: &str| {
        let row = api.find("accounts", "account", account);
        row["fee_rate_group"]
            .as_str()
            .expect("an account has a group")
            .to_owned()
    };
    let gateway = api.find("routing-gateways", "name", "platform");
    let named = |value: &serde_json::Value| {
        value
            .as_str()
            .expect("an account is named by its number")
            .to_owned()
    };
    let customer = group("c1");
    let landing = group(&named(&gateway["clearing_account"]));
    let axb = group(&named(&gateway["axb_account"]));
    let shapes = [
        json!({ "fee": "0.10", "period": 60 }),
        json!({ "fee": "0.006", "period": 6 }),
        json!({ "fee": "0.013", "period": 1 }),
        json!({ "fee": "0.01", "period": 1, "sections": [{ "fee": "0.05", "secs": 2 }] }),
        json!({ "fee": "0", "period": 60 }),
        json!({ "fee": "0.000001", "period": 3 }),
        json!({ "fee": "0.02", "period": 2, "sections": [{ "fee": "0.001", "secs": 1 }, { "fee": "0.3", "secs": 10 }] }),
    ];
    let add = |group: &str, prefix: String, shape: usize| {
        let mut row = shapes[shape % shapes.len()].clone();
        row["group"] = group.into();
        row["prefix"] = prefix.into();
        row["level"] = 4.into();
        api.add("fee-rates", row);
    };
    for n in 0..7 {
        add(&customer, format!("13{n}0"), n);
        add(&landing, format!("170000000{n}"), n + 2);
        if axb != customer {
            add(&axb, format!("13{n}00"), n + 4);
        }
    }
}

/// By node, how often what took longer than a quarter of a second: a far end repeats itself after half of one.
fn long_waits(switch: &Switch) -> BTreeMap<u8, BTreeMap<String, u64>> {
    let of_node = |node: u8| {
        let value = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
        let mut waits = BTreeMap::new();
        for line in switch.api(node).metrics().lines() {
            let Some((name, kind)) = line.split_once("_seconds_") else {
                continue;
            };
            let [all, short] = waits.entry(name.to_owned()).or_insert([0, 0]);
            if kind.starts_with("count") {
                *all += value(line).unwrap_or(0);
            } else if kind.contains("le=\"0.25\"") {
                *short += value(line).unwrap_or(0);
            }
        }
        let long = waits.into_iter().filter(|(_, [all, short])| all > short);
        let long = long.map(|(name, [all, short])| (name, all - short));
        (node, long.collect())
    };
    (1..=NODES).map(of_node).collect()
}

fn two_thousand_calls(delay: Option<u32>) {
    let switch = Switch::start();
    let api = switch.api(2);
    switch.make_room(A_LIMIT, X_LIMIT);
    api.unbind_delay(delay);
    varied_prices(&switch);
    // They were entered at another node than they are read from.
    switch.states_agree(Duration::from_secs(5));
    let tariff = Tariff::read(&api);
    switch.comes_to_rest(&[1, 2, 3], Duration::from_secs(5));

    let phone = Sipp::phone("phone", switch.phone_port())
        .pause(20)
        .start(switch.dir());
    let shares = [667, 667, 666];
    let mut from = 0;
    let customers: Vec<_> = (1..=NODES)
        .zip(shares)
        .map(|(node, share)| {
            let numbers = pairs(from, share);
            from += share;
            let customer = Sipp::customer("customer", switch.own_port(), switch.sip(node), numbers);
            (
                share,
                customer.rate(100, 3_000).pause(3_000).start(switch.dir()),
            )
        })
        .collect();
    let customers: Vec<_> = customers
        .into_iter()
        .map(|(share, running)| (share, running.finish(Duration::from_secs(90))))
        .collect();
    switch.comes_to_rest(&[1, 2, 3], Duration::from_secs(5));
    let phone = phone.stop();

    for (share, customer) in &customers {
        customer.all_good(*share);
        assert_eq!(
            customer.retransmissions(),
            0,
            "a customer had to repeat itself; waits of more than 0.25 s: {:?}",
            long_waits(&switch)
        );
    }
    assert_eq!(phone.failed(), 0, "{}", phone.errors());
    assert_eq!(
        phone.retransmissions(),
        0,
        "the phone had to repeat itself; waits of more than 0.25 s: {:?}",
        long_waits(&switch)
    );

    let log = switch.platform_log();
    assert_eq!((log.applied("bind"), log.applied("unbind")), (CALLS, CALLS));
    log.never_doubled(X_LIMIT);
    assert_eq!(switch.platform().bindings(), 0);
    let lives = log.lives();
    let load = Load::read(&switch, CALLS);
    let ends = Ends::read(&phone, customers.iter().map(|(_, customer)| customer));
    load.unbound_in_time(&lives, delay, &ends);
    load.a_within(&lives, A_LIMIT, &ends);
    load.prices_hold(&tariff);
    let holds: BTreeSet<u64> = load
        .axb
        .values()
        .map(|row| row.number("hold_secs"))
        .collect();
    assert!(
        holds.iter().all(|hold| (3..=4).contains(hold)),
        "calls of 3 s were held {holds:?} s"
    );

    // The phone saw each call once, from the X of its record and from nobody else.
    let seen: BTreeMap<String, String> = phone
        .lines("INVITE")
        .iter()
        .map(|line| (plain(line.callee()), plain(line.caller())))
        .collect();
    let recorded: BTreeMap<String, String> = load
        .axb
        .values()
        .map(|row| (plain(row.text("b_number")), plain(row.text("x_number"))))
        .collect();
    assert_eq!(phone.logged("INVITE"), CALLS);
    let other: Vec<_> = recorded
        .iter()
        .filter(|(callee, x)| seen.get(*callee) != Some(x))
        .map(|(callee, x)| (callee, x, seen.get(callee)))
        .collect();
    assert!(
        other.is_empty() && seen.len() == recorded.len(),
        "callee, X of the record, caller that the phone saw: {other:?}"
    );
    assert!(
        seen.values().all(|x| x.starts_with("170000000")),
        "a caller that is no X reached the phone"
    );
    switch.states_agree(Duration::from_secs(10));
}

#[test]
fn two_thousand_calls_unbound_when_they_end() {
    two_thousand_calls(None);
}

#[test]
fn two_thousand_calls_unbound_at_the_answer() {
    two_thousand_calls(Some(0));
}

#[test]
fn two_thousand_calls_unbound_two_seconds_after_the_answer() {
    two_thousand_calls(Some(2));
}
