//! A rolling upgrade under load: nodes of two levels in one cluster, no call lost, and no way back once it is through.

use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::sipp::{Running, numbers};
use tandem_tests::switch::NODES;
use tandem_tests::{Sipp, Switch, eventually, process};

/// Calls held through each node.
const HELD: usize = 15;
/// Calls placed while a node is down.
const MEANWHILE: usize = 15;
/// Longer than all upgrades take.
const TALK_MS: u32 = 45_000;

fn level(switch: &Switch, node: u8) -> u64 {
    let cluster = switch.cluster(node);
    cluster["level"].as_u64().expect("it has a level")
}

/// What each member speaks, as one node heard it.
fn spoken(switch: &Switch, node: u8) -> Vec<Option<u64>> {
    let cluster = switch.cluster(node);
    let members = cluster["members"].as_array().expect("a list");
    members
        .iter()
        .map(|member| member["level"].as_u64())
        .collect()
}

fn answered(switch: &Switch, nodes: &[u8]) -> Result<u64, String> {
    let mut sum = 0;
    for node in nodes {
        let status = switch.api(*node).try_status()?;
        let here = status["answered_calls"].as_u64();
        sum += here.ok_or_else(|| status.to_string())?;
    }
    Ok(sum)
}

/// Short calls through one node, at a few a second.
fn short(switch: &Switch, node: u8, from: u64, calls: usize) -> Running {
    let numbers = numbers(15_900_000_000 + from, 13_800_000_000 + from, calls);
    Sipp::customer("customer", switch.own_port(), switch.sip(node), numbers)
        .rate(5, 1_000)
        .pause(500)
        .start(switch.dir())
}

#[test]
fn a_cluster_is_upgraded_node_by_node_under_load() {
    let mut switch = Switch::at_level(1);
    switch.make_room(20, 20);
    switch.states_agree(Duration::from_secs(5));
    switch.cli(2, &["cluster", "upgrade", "--hold"]);
    let phone = Sipp::phone("phone_moves", switch.phone_port())
        .patience(150_000)
        .start(switch.dir());
    let held: Vec<Running> = (1..=NODES)
        .map(|node| {
            let from = u64::from(node) * 10_000;
            let numbers = numbers(15_900_000_000 + from, 13_800_000_000 + from, HELD);
            Sipp::customer(
                "customer_moves",
                switch.own_port(),
                switch.sip(node),
                numbers,
            )
            .rate(15, 1_000)
            .patience(TALK_MS)
            .start(switch.dir())
        })
        .collect();
    let all = HELD * usize::from(NODES);
    eventually(
        "all calls are answered",
        Duration::from_secs(20),
        || match held
            .iter()
            .map(|r| r.lines("ANSWERED").len())
            .sum::<usize>()
        {
            some if some == all => Ok(()),
            some => Err(format!("{some} of {all}")),
        },
    );

    let leader = switch.leader();
    let order = [leader % NODES + 1, (leader + 1) % NODES + 1, leader];
    let mut placed = all;
    for (nth, node) in (0..).zip(order) {
        let living: Vec<u8> = (1..=NODES).filter(|other| *other != node).collect();
        switch.cli(living[0], &["cluster", "drain", &format!("dev-{node}")]);
        let calls = living
            .iter()
            .zip([40_000, 50_000])
            .map(|(through, base)| short(&switch, *through, base + nth * 100, MEANWHILE));
        let calls: Vec<Running> = calls.collect();
        let pid = switch.pid(node);
        assert!(process::signal(pid, "TERM"), "node {node} ran");
        assert!(process::gone(pid, Duration::from_secs(20)), "it stops");
        switch.change_config(node, "max_level = 1\n", "");
        switch.restart(node);
        for calls in calls {
            calls.finish(Duration::from_secs(30)).all_good(MEANWHILE);
        }
        // The new release and an old one carry calls of their own.
        for through in [node, living[1]] {
            let from = 60_000 + nth * 1_000 + u64::from(through) * 100;
            let calls = short(&switch, through, from, 5);
            calls.finish(Duration::from_secs(20)).all_good(5);
        }
        placed += 2 * MEANWHILE + 10;
        eventually(
            "held calls go on",
            Duration::from_secs(15),
            || match answered(&switch, &[1, 2, 3])? {
                some if some == all as u64 => Ok(()),
                some => Err(format!("{some} of {all}")),
            },
        );
        assert_eq!(level(&switch, node), 1, "held");
        let old = &order[nth as usize + 1..];
        eventually(
            "every node says what it speaks",
            Duration::from_secs(10),
            || {
                let want = (1..=NODES).map(|node| Some(2 - u64::from(old.contains(&node))));
                match spoken(&switch, living[0]) {
                    said if said == want.collect::<Vec<_>>() => Ok(()),
                    said => Err(format!("{said:?}")),
                }
            },
        );
    }
    switch.states_agree(Duration::from_secs(10));
    let status = switch.client(1, &["cluster", "status"]);
    let alarms = String::from_utf8_lossy(&status.stderr);
    assert!(alarms.contains("is held at 1"), "{alarms}");

    // Through: it rises while calls are held, and every node is told.
    let said = switch.cli(2, &["cluster", "upgrade", "-o", "json"]);
    assert!(
        said.contains("\"level\": 2") || said.contains("\"level\":2"),
        "{said}"
    );
    for node in 1..=NODES {
        eventually(
            "the level is known",
            Duration::from_secs(5),
            || match level(&switch, node) {
                2 => Ok(()),
                other => Err(other.to_string()),
            },
        );
        let metrics = switch.api(node).metrics();
        let told = metrics.lines().any(|line| line == "tandem_cluster_level 2");
        assert!(told, "{metrics}");
    }
    let calls = short(&switch, order[0], 70_000, 5);
    calls.finish(Duration::from_secs(20)).all_good(5);
    placed += 5;

    for running in held {
        running.finish(Duration::from_secs(90)).all_good(HELD);
    }
    nothing_left(&switch, Duration::from_secs(20));
    assert_eq!(phone.stop().failed(), 0);
    let records = switch.export(1, "cdr");
    for node in 2..=NODES {
        assert_eq!(
            switch.export(node, "cdr"),
            records,
            "records of node {node}"
        );
    }
    let cdrs = switch.cdrs(1);
    assert_eq!(cdrs.len(), placed);
    for cdr in cdrs {
        assert_eq!(cdr.text("end_reason"), "normal", "{cdr:?}");
    }
    switch.states_agree(Duration::from_secs(10));

    // No way back, and no way in for the release before.
    let node = order[0];
    let pid = switch.pid(node);
    process::signal(pid, "TERM");
    assert!(process::gone(pid, Duration::from_secs(20)), "it stops");
    switch.change_config(node, "heartbeat_ms", "max_level = 1\nheartbeat_ms");
    let (code, said) = switch.serve(node);
    assert_eq!(code, Some(8), "{said}");
    assert!(
        said.contains("is of level 2, this node speaks 1: run a newer release on it"),
        "{said}"
    );
    switch.change_config(node, "max_level = 1\n", "");
    switch.restart(node);
    let address = switch.join_with(4, &["--max-level", "1"]).to_string();
    let add = ["cluster", "add", "--id", "4", "--address", &address];
    let refused = switch.client(1, &add);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(
        said.contains("node 4 speaks level 1, the cluster is at level 2"),
        "{said}"
    );
    eventually("node 4 ends", Duration::from_secs(10), || {
        match switch.node_log(4) {
            log if log.contains("cluster `dev` is at level 2, this node speaks 1") => Ok(()),
            log => Err(log),
        }
    });
}
