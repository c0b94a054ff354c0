//! Answered calls outlive the nodes that run them: killed, killed while leading, and stopped in order.

use std::collections::BTreeMap;
use std::time::Duration;
use tandem_tests::checks::{Load, nothing_bound, nothing_left};
use tandem_tests::platform::plain;
use tandem_tests::sipp::{Line, Running, numbers};
use tandem_tests::switch::NODES;
use tandem_tests::{Sipp, Switch, eventually, process};

/// Calls placed through each node.
const SHARE: usize = 60;
/// How long a customer talks after its call was answered or moved; longer than all three moves take together.
const TALK_MS: u32 = 26_000;
/// What clocks and datagrams may add between the switch and its far ends.
const APART_SECS: f64 = 1.0;

fn lines(running: &[Running], verb: &str) -> usize {
    running.iter().map(|r| r.lines(verb).len()).sum()
}

fn answered(switch: &Switch, node: u8) -> Result<u64, String> {
    let status = switch.api(node).try_status()?;
    status["answered_calls"]
        .as_u64()
        .ok_or_else(|| status.to_string())
}

/// Waits until these nodes run all calls and have told every far end of theirs.
#[track_caller]
fn carried_on(switch: &Switch, living: &[u8], calls: usize) {
    eventually(
        "the living carry every call on",
        Duration::from_secs(15),
        || {
            let mut sum = 0;
            for node in living {
                sum += answered(switch, *node)?;
            }
            match sum == calls as u64 {
                true => Ok(()),
                false => Err(format!("{sum} of {calls} calls")),
            }
        },
    );
}

fn taken_over(switch: &Switch, node: u8, result: &str) -> f64 {
    let labels = ["what=\"call\"", &format!("result=\"{result}\"")];
    switch
        .api(node)
        .metric("tandem_node_takeovers_total", &labels)
}

/// The far ends' own clocks of each call, by callee.
fn moments(lines: impl IntoIterator<Item = Line>) -> BTreeMap<String, f64> {
    lines
        .into_iter()
        .map(|line| (plain(line.callee()), line.at))
        .collect()
}

#[test]
fn answered_calls_outlive_their_nodes() {
    let mut switch = Switch::start();
    switch.make_room(20, 20);
    switch.api(1).unbind_delay(None);
    switch.states_agree(Duration::from_secs(5));
    let phone = Sipp::phone("phone_moves", switch.phone_port())
        .patience(90_000)
        .start(switch.dir());
    let customers: Vec<Running> = (1..=NODES)
        .map(|node| {
            let from = u64::from(node) * 10_000;
            let numbers = numbers(15_900_000_000 + from, 13_800_000_000 + from, SHARE);
            let customer = Sipp::customer(
                "customer_moves",
                switch.own_port(),
                switch.sip(node),
                numbers,
            );
            customer
                .rate(30, 1_000)
                .patience(TALK_MS)
                .start(switch.dir())
        })
        .collect();
    let calls = SHARE * usize::from(NODES);
    eventually(
        "all calls are answered",
        Duration::from_secs(20),
        || match lines(&customers, "ANSWERED") {
            all if all == calls => Ok(()),
            some => Err(format!("{some} of {calls}")),
        },
    );

    // A follower, the leader, and a node that is drained and stopped in order.
    let leader = switch.leader();
    let (second, third) = (leader % NODES + 1, (leader + 1) % NODES + 1);
    let mut moved = 0;
    for (victim, signal) in [(second, "KILL"), (leader, "KILL"), (third, "TERM")] {
        let living: Vec<u8> = (1..=NODES).filter(|node| *node != victim).collect();
        let held = answered(&switch, victim).expect("it still lives");
        assert!(held > 0, "node {victim} has calls to hand over");
        if signal == "TERM" {
            switch.cli(living[0], &["cluster", "drain", &format!("dev-{victim}")]);
        }
        let pid = switch.pid(victim);
        assert!(process::signal(pid, signal), "node {victim} ran");
        assert!(
            process::gone(pid, Duration::from_secs(10)),
            "{signal} ends it"
        );
        carried_on(&switch, &living, calls);
        moved += held as usize;
        eventually(
            "every far end knows",
            Duration::from_secs(10),
            || match lines(&customers, "MOVED") {
                all if all >= moved => Ok(()),
                some => Err(format!("{some} of {moved} customers were told")),
            },
        );
        for node in living {
            for result in ["failed", "unrefreshed", "ended"] {
                let count = taken_over(&switch, node, result);
                assert_eq!(
                    count, 0.0,
                    "{result} on node {node} after {signal} of {victim}"
                );
            }
        }
        switch.restart(victim);
    }
    assert_eq!(lines(&customers, "LEAVES"), 0, "TALK_MS is too short");

    let customers: Vec<_> = customers
        .into_iter()
        .map(|running| running.finish(Duration::from_secs(60)))
        .collect();
    for customer in &customers {
        customer.all_good(SHARE);
    }
    nothing_bound(&switch, Duration::from_secs(10));
    nothing_left(&switch, Duration::from_secs(10));
    let phone = phone.stop();
    assert_eq!(phone.failed(), 0, "{}", phone.errors());

    let log = switch.platform_log();
    assert_eq!((log.applied("bind"), log.applied("unbind")), (calls, calls));
    let load = Load::read(&switch, calls);
    load.unbound_in_time(&log.lives(), None);
    let began = moments(customers.iter().flat_map(|c| c.lines("ANSWERED")));
    let ended = moments(customers.iter().flat_map(|c| c.lines("LEAVES")));
    for cdr in load.cdrs.values() {
        assert_eq!(cdr.text("end_reason"), "normal", "{cdr:?}");
        let callee = plain(cdr.text("callee"));
        let talk = ended[&callee] - began[&callee];
        let secs = |field| cdr.time(field).map(|ms| ms as f64 / 1_000.0);
        let billed = secs("ended_at").zip(secs("answered_at"));
        let (end, answer) = billed.unwrap_or_else(|| panic!("a talk: {cdr:?}"));
        let apart = (end - answer - talk).abs();
        assert!(apart <= APART_SECS, "{apart:.3} s off: {cdr:?}");
    }
}
