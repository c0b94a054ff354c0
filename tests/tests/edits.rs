//! Edits act at once on every node, and calls in progress do not feel them.

use serde_json::Value;
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::switch::NODES;
use tandem_tests::talk::try_call;
use tandem_tests::{Seed, Sipp, Switch, Talk, eventually};

const CALLER: &str = "15900000001";

/// Callees that nobody was called before, counted up.
struct Callees(u64);

impl Callees {
    fn next(&mut self) -> String {
        self.0 += 1;
        self.0.to_string()
    }
}

/// The row of 当前绑定 of a callee.
#[track_caller]
fn binding(switch: &Switch, callee: &str) -> Value {
    switch.api(2).find("bindings", "b_number", callee)
}

#[track_caller]
fn concurrency(switch: &Switch, collection: &str, number: &str) -> u64 {
    let row = switch.api(3).find(collection, "number", number);
    row["concurrency"]
        .as_u64()
        .unwrap_or_else(|| panic!("{row}"))
}

/// A new call through each node is refused at once for want of numbers.
#[track_caller]
fn no_numbers(switch: &Switch, callees: &mut Callees) {
    for node in 1..=NODES {
        try_call(switch, node, CALLER, &callees.next()).is(503, "no_axb_number");
    }
}

/// A new call through each node is answered, with this X.
#[track_caller]
fn all_take(switch: &Switch, callees: &mut Callees, x: &str) {
    for node in 1..=NODES {
        let callee = callees.next();
        let talk = Talk::start(switch, node, CALLER, &callee);
        assert_eq!(binding(switch, &callee)["x_number"], x);
        talk.end();
    }
}

#[test]
fn numbers_taken_out_of_use_finish_the_calls_they_carry() {
    let (old, new) = ("17000000001", "17000000002");
    let seed = Seed::new()
        .interface("i", "")
        .x("i", old, "line_limit = 5")
        .a("ga", "02100000000..02100000009", "")
        .axb_gateway("platform", "", "ga", "i", "")
        .customer("customer", "127.0.0.1", "");
    let switch = Switch::seeded(&seed);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let mut callees = Callees(13_800_000_000);

    // Disabled under a call: new calls find it nowhere from the moment the command has returned.
    let callee = callees.next();
    let talk = Talk::start(&switch, 1, CALLER, &callee);
    switch.cli(2, &["x", "set", old, "state=disabled"]);
    no_numbers(&switch, &mut callees);
    assert_eq!(binding(&switch, &callee)["state"], "bound");
    assert_eq!(concurrency(&switch, "x-numbers", old), 1);
    talk.end();
    nothing_left(&switch, Duration::from_secs(5));
    assert_eq!(concurrency(&switch, "x-numbers", old), 0);
    switch.cli(3, &["x", "set", old, "state=active"]);
    all_take(&switch, &mut callees, old);

    // Removed under a call: the number goes with its last binding, and another takes its place at once.
    let callee = callees.next();
    let talk = Talk::start(&switch, 2, CALLER, &callee);
    switch.cli(3, &["x", "remove", old]);
    no_numbers(&switch, &mut callees);
    let again = switch.client(1, &["x", "remove", old]);
    assert_eq!(again.status.code(), Some(3), "removed twice");
    let number = format!("number={new}");
    switch.cli(1, &["x", "add", "interface=i", &number, "line_limit=5"]);
    all_take(&switch, &mut callees, new);
    let row = binding(&switch, &callee);
    assert!(row["state"] == "bound" && row["x_number"] == old, "{row}");
    talk.end();
    nothing_left(&switch, Duration::from_secs(5));
    let left: Vec<Value> = switch.api(2).list("x-numbers");
    assert!(left.len() == 1 && left[0]["number"] == new, "{left:?}");

    // A removed under a call: alike.
    let callee = callees.next();
    let talk = Talk::start(&switch, 3, CALLER, &callee);
    let a = binding(&switch, &callee)["a_number"].clone();
    let a = a.as_str().expect("a number").to_owned();
    for row in switch.api(1).list("a-numbers") {
        let number = row["number"].as_str().expect("a number");
        switch.cli(2, &["a", "remove", &format!("ga/{number}")]);
    }
    no_numbers(&switch, &mut callees);
    switch.cli(3, &["a", "add", "group=ga", "number=02200000000"]);
    all_take(&switch, &mut callees, new);
    assert_eq!(binding(&switch, &callee)["a_number"], *a);
    talk.end();
    nothing_left(&switch, Duration::from_secs(5));
    let left = switch.api(1).list("a-numbers");
    assert!(
        left.len() == 1 && left[0]["number"] == "02200000000",
        "{left:?}"
    );
    switch.platform_log().never_doubled(5);
    assert_eq!(phone.stop().failed(), 0);
}

#[test]
fn a_limit_below_what_is_in_use_lets_calls_end_and_takes_none_until_there_is_room() {
    let (a, x) = ("02100000000", "17000000001");
    let seed = Seed::new()
        .interface("narrow-a", "")
        .interface("narrow-x", "")
        .x("narrow-a", "17100000001..17100000005", "line_limit = 9")
        .x("narrow-x", x, "line_limit = 3")
        .a("one", a, "line_limit = 3")
        .a("many", "02200000000..02200000009", "")
        .axb_gateway("narrow-a", "138", "one", "narrow-a", "")
        .axb_gateway("narrow-x", "139", "many", "narrow-x", "")
        .customer("customer", "127.0.0.1", "");
    let switch = Switch::seeded(&seed);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let cases = [
        (13_800_000_000, ["a", "one/02100000000"], "a-numbers", a),
        (13_900_000_000, ["x", x], "x-numbers", x),
    ];
    for (first, [thing, key], collection, number) in cases {
        let mut callees = Callees(first);
        let mut talks: Vec<Talk> = (1..=NODES)
            .map(|node| Talk::start(&switch, node, CALLER, &callees.next()))
            .collect();
        assert_eq!(concurrency(&switch, collection, number), 3);
        switch.cli(2, &[thing, "set", key, "line_limit=2"]);
        // Three of two lines in use, then two of two: no room either way.
        no_numbers(&switch, &mut callees);
        talks.remove(0).end();
        no_numbers(&switch, &mut callees);
        assert_eq!(concurrency(&switch, collection, number), 2);
        talks.remove(0).end();
        try_call(&switch, 1, CALLER, &callees.next()).is_answered();
        // A raised limit acts as soon.
        switch.cli(3, &[thing, "set", key, "line_limit=4"]);
        talks.extend((1..=NODES).map(|node| Talk::start(&switch, node, CALLER, &callees.next())));
        assert_eq!(concurrency(&switch, collection, number), 4);
        no_numbers(&switch, &mut callees);
        talks.into_iter().for_each(Talk::end);
        nothing_left(&switch, Duration::from_secs(5));
    }
    switch.platform_log().never_doubled(4);
    assert_eq!(phone.stop().failed(), 0);
}

#[test]
fn delays_locks_and_groups_changed_under_calls_count_for_the_next_call_only() {
    let x = "17000000001";
    let seed = Seed::new()
        .interface("i", "")
        .x("i", x, "line_limit = 20")
        .a("ga", "02100000000..02100000009", "")
        .a("gb", "02200000000..02200000009", "")
        .axb_gateway("platform", "", "ga", "i", "")
        .customer("customer", "127.0.0.1", "");
    let switch = Switch::seeded(&seed);
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let mut callees = Callees(13_800_000_000);
    let unbound = |callee: &str| {
        let lives = switch.platform_log().lives();
        let life = lives.iter().find(|life| life.b == callee);
        let life = life.unwrap_or_else(|| panic!("{callee} was never bound"));
        life.unbound
    };

    // Answered before the delay changed, a call keeps the moment it has; answered after, it takes the new one.
    let before = callees.next();
    let first = Talk::start(&switch, 1, CALLER, &before);
    switch.cli(2, &["interface", "set", "i", "unbind_delay_secs=1"]);
    let after = callees.next();
    let second = Talk::start(&switch, 3, CALLER, &after);
    let answered = tandem_tests::wait::epoch_secs();
    let at = eventually("a second after the answer", Duration::from_secs(4), || {
        unbound(&after).ok_or_else(|| "bound".to_owned())
    });
    assert!(
        (0.5..2.0).contains(&(at - answered)),
        "after {:.3} s",
        at - answered
    );
    assert_eq!(unbound(&before), None, "its moment is its end");
    switch.cli(3, &["interface", "set", "i", "unbind_delay_secs=0"]);
    let at_once = callees.next();
    let third = Talk::start(&switch, 2, CALLER, &at_once);
    eventually("at the answer", Duration::from_secs(1), || {
        unbound(&at_once)
            .map(drop)
            .ok_or_else(|| "bound".to_owned())
    });
    assert_eq!(unbound(&before), None, "its moment is its end still");
    // Early unbinds free X, not A; what the platform has done is known here a moment later.
    eventually(
        "two early unbinds are known",
        Duration::from_secs(2),
        || {
            let x = concurrency(&switch, "x-numbers", x);
            let group = switch.api(1).find("a-groups", "name", "ga");
            match (x, group["free_count"].as_u64()) {
                (1, Some(7)) => Ok(()),
                _ => Err(format!("X carries {x}; {group}")),
            }
        },
    );

    // Another A group, another interface's X: from the next call on.
    switch.cli(1, &["routing-gateway", "set", "platform", "a_group=gb"]);
    for node in 1..=NODES {
        let callee = callees.next();
        try_call(&switch, node, CALLER, &callee).is_answered();
        let log = switch.platform_log();
        let bound = log.requests.iter().find(|r| r.b == callee);
        let bound = bound.expect("it was bound");
        assert!(bound.a.starts_with("22"), "{bound:?}");
    }
    // What carries calls is not removed from under them.
    for (args, code) in [
        (["routing-gateway", "remove", "platform"], 4),
        (["mapping-gateway", "remove", "customer"], 4),
        (["interface", "remove", "i"], 4),
        (["account", "remove", "c1"], 4),
        (["a-group", "remove", "gb"], 4),
    ] {
        let output = switch.client(2, &args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains("used by"), "{args:?}: {errors}");
    }

    // Locked: nobody new, on any node; who talks goes on.
    let locks = [
        (["mapping-gateway", "set", "customer"], 403, "locked"),
        (["routing-gateway", "set", "platform"], 404, "no_route"),
        (["account", "set", "c1"], 403, "account_locked"),
    ];
    for (command, status, reason) in locks {
        let set = |lock: &str| switch.cli(3, &[&command[..], &[lock]].concat());
        set("lock_type=3");
        for node in 1..=NODES {
            try_call(&switch, node, CALLER, &callees.next()).is(status, reason);
        }
        set("lock_type=0");
        try_call(&switch, 2, CALLER, &callees.next()).is_answered();
    }
    eventually(
        "three calls talk still",
        Duration::from_secs(2),
        || match switch.api(1).list("calls").len() {
            3 => Ok(()),
            n => Err(format!("{n} calls")),
        },
    );
    for talk in [first, second, third] {
        talk.end();
    }
    nothing_left(&switch, Duration::from_secs(5));
    let rows = switch.cdrs(2);
    let hung_up = rows
        .iter()
        .filter(|row| row.text("end_reason") == "admin_hangup");
    assert_eq!(hung_up.count(), 3);
    assert_eq!(phone.stop().failed(), 0);
}
