//! One node killed with -9 in the middle of a load.

use std::collections::BTreeSet;
use std::time::Duration;
use tandem_tests::checks::{nothing_bound, nothing_left, round};
use tandem_tests::platform::plain;
use tandem_tests::sipp::{Finished, numbers};
use tandem_tests::switch::NODES;
use tandem_tests::wait::epoch_secs;
use tandem_tests::{Sipp, Switch, eventually};

/// Calls a second offered to each node.
const RATE: u32 = 20;
/// Seconds of load; the node dies in the middle.
const SECS: u32 = 16;

/// Moments of successful set-ups, in order.
fn set_ups(customers: &[Finished]) -> Vec<f64> {
    let mut moments: Vec<f64> = customers
        .iter()
        .flat_map(|c| c.lines("ANSWERED"))
        .map(|line| line.at)
        .collect();
    moments.sort_by(f64::total_cmp);
    moments
}

fn a_node_dies(choose: impl Fn(u8) -> u8) {
    let mut switch = Switch::start();
    let api = switch.api(1);
    switch.make_room(4, 20);
    api.unbind_delay(Some(1));
    let victim = choose(switch.leader());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let calls = (RATE * SECS) as usize;
    let customers: Vec<_> = (1..=NODES)
        .map(|node| {
            let from = u64::from(node) * 10_000;
            let numbers = numbers(15_900_000_000 + from, 13_800_000_000 + from, calls);
            let scenario = if node == victim {
                "customer_any"
            } else {
                "customer"
            };
            let customer = Sipp::customer(scenario, switch.own_port(), switch.sip(node), numbers);
            (
                node,
                customer.rate(RATE, 1_000).pause(3_000).start(switch.dir()),
            )
        })
        .collect();
    eventually("half of the load", Duration::from_secs(30), || {
        let placed = customers[0].1.lines("SENT").len();
        if placed >= calls / 2 {
            Ok(())
        } else {
            Err(format!("{placed} calls placed"))
        }
    });
    let killed_at = epoch_secs();
    switch.kill(victim);
    let mut survivors = Vec::new();
    for (node, running) in customers {
        if node == victim {
            // Its calls cannot end well; what it saw is of no interest.
            drop(running);
        } else {
            survivors.push(running.finish(Duration::from_secs(60)));
        }
    }
    for customer in &survivors {
        customer.all_good(calls);
    }

    let moments = set_ups(&survivors);
    assert!(
        moments[0] < killed_at && killed_at < moments[moments.len() - 1],
        "the node died outside of the load"
    );
    let gaps = moments
        .windows(2)
        .map(|pair| (pair[1] - pair[0], pair[0] - killed_at));
    let (gap, since) = gaps
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .expect("there were calls");
    println!(
        "longest time without a successful set-up: {:.0} ms, {since:.3} s after the kill",
        gap * 1000.0
    );
    assert!(
        gap <= 1.0,
        "{gap:.3} s without a successful set-up, {since:.3} s after the kill"
    );

    // The dead node's claim runs out, its calls are closed, its bindings released; nobody waits for its return.
    nothing_bound(&switch, Duration::from_secs(20));
    switch.restart(victim);
    drop(phone);
    nothing_left(&switch, Duration::from_secs(45));
    // What the dead node had bound is released once only, limits held all the time.
    let (log, lives) = round(&switch, 0.0, 20);
    assert_eq!(log.applied("bind"), log.applied("unbind"));
    assert!(lives.iter().all(|life| life.unbound.is_some()));
    let exports: Vec<_> = (1..=NODES)
        .map(|node| switch.export(node, "axb-cdr"))
        .collect();
    assert!(
        exports[0] == exports[1] && exports[1] == exports[2],
        "the nodes' AXB CDRs differ after the return"
    );
    let rows = switch.axb_cdrs(victim);
    let recorded: BTreeSet<_> = rows
        .iter()
        .map(|row| ["a_number", "x_number", "b_number"].map(|field| plain(row.text(field))))
        .collect();
    for life in &lives {
        let key = [life.a.clone(), life.x.clone(), life.b.clone()];
        assert!(recorded.contains(&key), "no AXB CDR for {life:?}");
    }
    // What died between reservation and bind has a record and no binding.
    let unbound = rows.len() - lives.len();
    assert!(
        unbound <= RATE as usize,
        "{unbound} AXB CDRs without a binding"
    );

    // The returned node takes calls again.
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let again = numbers(15_900_090_000, 13_800_090_000, 20);
    let again = Sipp::customer("customer", switch.own_port(), switch.sip(victim), again)
        .rate(20, 1_000)
        .pause(500);
    again
        .start(switch.dir())
        .finish(Duration::from_secs(20))
        .all_good(20);
    nothing_left(&switch, Duration::from_secs(10));
    drop(phone);
}

#[test]
fn a_follower_dies_and_the_others_go_on() {
    a_node_dies(|leader| leader % NODES + 1);
}

#[test]
fn the_leader_dies_and_the_others_go_on_within_a_second() {
    a_node_dies(|leader| leader);
}

#[test]
fn all_nodes_restarted_have_lost_nothing() {
    let mut switch = Switch::start();
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let customer = Sipp::customer(
        "customer",
        switch.own_port(),
        switch.sip(2),
        numbers(15_900_000_001, 13_800_000_001, 40),
    );
    customer
        .rate(20, 1_000)
        .pause(500)
        .start(switch.dir())
        .finish(Duration::from_secs(30))
        .all_good(40);
    drop(phone);
    nothing_left(&switch, Duration::from_secs(10));
    let before = switch.export(1, "axb-cdr");
    let money = switch.api(1).find("accounts", "account", "c1")["money"].clone();
    let pool = switch.api(1).list("x-numbers").len();
    for node in 1..=NODES {
        switch.kill(node);
    }
    // All at once: none of them is ready without a quorum.
    switch.restart_all();
    nothing_left(&switch, Duration::from_secs(20));
    assert_eq!(switch.export(3, "axb-cdr"), before);
    assert_eq!(
        switch.api(2).find("accounts", "account", "c1")["money"],
        money
    );
    assert_eq!(switch.api(3).list("x-numbers").len(), pool);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let again = numbers(15_900_090_000, 13_800_090_000, 10);
    let again = Sipp::customer("customer", switch.own_port(), switch.sip(1), again).pause(200);
    again
        .start(switch.dir())
        .finish(Duration::from_secs(20))
        .all_good(10);
    nothing_left(&switch, Duration::from_secs(10));
    drop(phone);
}
