//! Work on a cluster that carries calls: every node restarted in turn, and the quorum lost and found again.

use std::net::Ipv4Addr;
use std::time::Duration;
use tandem_tests::checks::{Load, balances, balances_fell, nothing_left};
use tandem_tests::crowd::{self, Crowd, Share};
use tandem_tests::rerate::Tariff;
use tandem_tests::switch::NODES;
use tandem_tests::wire::{Wire, header, status};
use tandem_tests::{Switch, eventually, process};

/// Longest from the last renewal of a node that stops until another one has its calls.
const UNSEEN_SECS: f64 = 8.0;
const X_LIMIT: usize = 20;

/// A cluster with room for a crowd, and one whose customers begin at each node.
#[track_caller]
fn crowded(rate: u32, calls: usize, hold_secs: u32) -> (Switch, Crowd) {
    let switch = Switch::start();
    switch.make_room(20, X_LIMIT);
    switch.api(1).unbind_delay(Some(1));
    switch.states_agree(Duration::from_secs(5));
    let mut crowd = Crowd::gather(switch.dir(), Ipv4Addr::LOCALHOST, switch.phone_port());
    join(&switch, &mut crowd, rate, calls, hold_secs);
    (switch, crowd)
}

fn join(switch: &Switch, crowd: &mut Crowd, rate: u32, calls: usize, hold_secs: u32) {
    for first in 0..NODES {
        let order = (0..NODES).map(|n| (first + n) % NODES + 1);
        crowd.join(&Share {
            port: switch.own_port(),
            nodes: order.map(|node| (node, switch.sip(node))).collect(),
            calls,
            rate,
            hold_secs,
        });
    }
}

#[test]
fn a_rolling_restart_under_load_loses_no_call() {
    const RATE: u32 = 8;
    const SECS: u32 = 60;
    let (mut switch, crowd) = crowded(RATE, (RATE * SECS) as usize, 20);
    let tariff = Tariff::read(&switch.api(1));
    let before = balances(&switch.api(1));
    std::thread::sleep(Duration::from_secs(10));
    for node in 1..=NODES {
        let (name, other) = (format!("dev-{node}"), node % NODES + 1);
        switch.cli(other, &["cluster", "drain", &name]);
        let pid = switch.pid(node);
        // The first is given the time to bring what is in set-up to its end; the others are told to stop at once.
        if node == 1 {
            eventually("nothing is in set-up", Duration::from_secs(10), || {
                let status = switch.api(node).try_status()?;
                match status["calls"] == status["answered_calls"] {
                    true => Ok(()),
                    false => Err(status.to_string()),
                }
            });
        }
        assert!(process::signal(pid, "TERM"), "node {node} ran");
        let gone = process::gone(pid, Duration::from_secs(20));
        assert!(gone, "node {node} does not stop");
        switch.restart(node);
        std::thread::sleep(Duration::from_secs(5));
    }
    let calls = crowd.disperse(Duration::from_secs(120));
    nothing_left(&switch, Duration::from_secs(30));
    let load = Load::export(&switch);
    let found = crowd::none_lost(&calls, &load, UNSEEN_SECS);
    println!("{found:#?}");
    let unanswered = calls.iter().filter(|call| call.answered.is_none()).count();
    assert_eq!(unanswered, 0, "customers that were never answered");
    // Who rang was answered: a node that stops in order lets what is in set-up come to its end.
    let rang_twice: Vec<_> = calls.iter().filter(|call| call.rings.len() > 1).collect();
    assert!(
        rang_twice.is_empty(),
        "{} such as {:?}",
        rang_twice.len(),
        rang_twice[0]
    );
    let log = switch.platform_log();
    log.never_doubled(X_LIMIT);
    crowd::each_bound_once(&load, &log.lives());
    load.prices_hold(&tariff);
    balances_fell(&switch, &before, &load);
}

#[test]
fn without_a_quorum_calls_go_on_and_end_and_new_ones_are_refused_until_it_is_back() {
    const CALLS: usize = 40;
    // At most, from the kill until every node has its calls.
    const OUTAGE_SECS: f64 = 40.0;
    // These hang up while there is no quorum.
    let (mut switch, mut crowd) = crowded(20, CALLS, 12);
    // And these after it is back.
    join(&switch, &mut crowd, 20, CALLS, 40);
    let tariff = Tariff::read(&switch.api(1));
    let before = balances(&switch.api(1));
    let all = CALLS * 2 * usize::from(NODES);
    eventually(
        "all calls are answered",
        Duration::from_secs(20),
        || match crowd.count("ANSWERED") {
            calls if calls == all => Ok(()),
            calls => Err(format!("{calls} of {all}")),
        },
    );
    let last = switch.leader();
    let dead: Vec<u8> = (1..=NODES).filter(|node| *node != last).collect();
    for node in &dead {
        switch.kill(*node);
    }
    eventually("it is not ready", Duration::from_secs(5), || {
        let at = switch.api(last).at;
        let readyz = tandem_tests::http::request(at, "GET", "/readyz", None, None)?;
        match readyz.status {
            503 => Ok(()),
            status => Err(format!("{status}: {}", readyz.body)),
        }
    });
    let wire = Wire::udp(switch.sip(last));
    let invite = wire.request(
        "INVITE",
        &format!("sip:13900000000@{}", switch.sip(last)),
        70,
        "",
    );
    let refusal = wire.ask(&invite);
    assert_eq!(status(&refusal), 503, "{refusal}");
    assert!(header(&refusal, "Retry-After").is_some(), "{refusal}");

    // A third of the first crowd lives at the node that is left, and everybody there is served.
    let quota = CALLS;
    eventually("they hang up", Duration::from_secs(20), || {
        match crowd.count("ENDED") {
            calls if calls >= quota => Ok(()),
            calls => Err(format!("{calls} of {quota}")),
        }
    });
    let answered = switch.api(last).try_status().expect("it answers");
    assert_eq!(
        answered["answered_calls"], CALLS,
        "those who talk talk on: {answered}"
    );
    for node in &dead {
        switch.start_node(*node);
    }
    for node in 1..=NODES {
        switch.wait_ready(node);
    }
    let calls = crowd.disperse(Duration::from_secs(90));
    nothing_left(&switch, Duration::from_secs(30));
    let load = Load::export(&switch);
    let found = crowd::none_lost(&calls, &load, OUTAGE_SECS);
    println!("{found:#?}");
    assert_eq!(found.answered, all);
    // Their ends were kept, and nobody took over what was over.
    let crossed = |call: &&crowd::Call| call.first_node() == last && call.crossed > 0;
    assert_eq!(calls.iter().find(crossed).map(|call| &call.callee), None);
    let log = switch.platform_log();
    log.never_doubled(X_LIMIT);
    crowd::each_bound_once(&load, &log.lives());
    load.prices_hold(&tariff);
    balances_fell(&switch, &before, &load);
}
