//! Answered calls outlive the nodes that run them: killed, killed while leading, stopped in order, paused, all at once.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::thread::sleep;
use std::time::Duration;
use tandem_tests::checks::{Ends, Load, nothing_bound, nothing_left};
use tandem_tests::platform::plain;
use tandem_tests::sipp::{Line, Running, numbers};
use tandem_tests::switch::NODES;
use tandem_tests::wire::{self, Wire};
use tandem_tests::{Seed, Sipp, Switch, eventually, process};

/// Calls placed through each node.
const SHARE: usize = 60;
const CALLS: usize = SHARE * NODES as usize;
/// What clocks and datagrams may add between the switch and its far ends.
const APART_SECS: f64 = 1.0;

fn answered(switch: &Switch, node: u8) -> Result<u64, String> {
    let status = switch.api(node).try_status()?;
    status["answered_calls"]
        .as_u64()
        .ok_or_else(|| status.to_string())
}

/// Waits until these nodes run all calls and have told every far end of theirs.
#[track_caller]
fn carried_on(switch: &Switch, living: &[u8]) {
    eventually(
        "the living carry every call on",
        Duration::from_secs(15),
        || {
            let mut sum = 0;
            for node in living {
                sum += answered(switch, *node)?;
            }
            match sum == CALLS as u64 {
                true => Ok(()),
                false => Err(format!("{sum} of {CALLS} calls")),
            }
        },
    );
}

/// How take-overs of calls have gone at some nodes since these started.
#[derive(Default)]
struct Results(BTreeMap<&'static str, usize>);

impl Results {
    #[track_caller]
    fn read(switch: &Switch, nodes: &[u8]) -> Results {
        let sum = |result: &str| {
            let labels = ["what=\"call\"", &format!("result=\"{result}\"")];
            let of = |node: &u8| {
                let api = switch.api(*node);
                api.metric("tandem_node_takeovers_total", &labels) as usize
            };
            nodes.iter().map(of).sum()
        };
        let all = ["refreshed", "unrefreshed", "failed", "ended"];
        Results(all.map(|result| (result, sum(result))).into())
    }

    fn of(&self, result: &str) -> usize {
        self.0.get(result).copied().unwrap_or(0)
    }
}

/// The far ends' own clocks of each call, by callee.
fn moments(lines: impl IntoIterator<Item = Line>) -> BTreeMap<String, f64> {
    lines
        .into_iter()
        .map(|line| (plain(line.callee()), line.at))
        .collect()
}

/// Calls through every node, answered, with the far ends that hold them.
struct Held {
    phone: Running,
    customers: Vec<Running>,
    unbind_delay: Option<u32>,
}

impl Held {
    /// Places them and waits until all are answered. A customer talks for `talk_ms` after its call was answered or moved,
    /// so that must be longer than everything that happens to the nodes. Their bindings are released `unbind_delay`
    /// seconds after the answer, or with the call.
    #[track_caller]
    fn begin(switch: &Switch, talk_ms: u32, unbind_delay: Option<u32>) -> Held {
        switch.make_room(20, 20);
        switch.api(1).unbind_delay(unbind_delay);
        switch.states_agree(Duration::from_secs(5));
        let phone = Sipp::phone("phone_moves", switch.phone_port())
            .patience(90_000)
            .start(switch.dir());
        let customers: Vec<Running> = (1..=NODES)
            .map(|node| {
                let from = u64::from(node) * 10_000;
                let numbers = numbers(15_900_000_000 + from, 13_800_000_000 + from, SHARE);
                let (port, to) = (switch.own_port(), switch.sip(node));
                Sipp::customer("customer_moves", port, to, numbers)
                    .rate(30, 1_000)
                    .patience(talk_ms)
                    .start(switch.dir())
            })
            .collect();
        let held = Held {
            phone,
            customers,
            unbind_delay,
        };
        eventually(
            "all calls are answered",
            Duration::from_secs(20),
            || match held.lines("ANSWERED") {
                CALLS => Ok(()),
                some => Err(format!("{some} of {CALLS}")),
            },
        );
        held
    }

    fn lines(&self, verb: &str) -> usize {
        self.customers.iter().map(|r| r.lines(verb).len()).sum()
    }

    /// Waits until both far ends of `calls` calls that the living have taken over since `before` have answered that they
    /// know; nothing else has become of any.
    #[track_caller]
    fn moved(&self, switch: &Switch, living: &[u8], before: &Results, calls: usize) {
        eventually("every far end knows", Duration::from_secs(10), || {
            let now = Results::read(switch, living);
            let since = |result: &str| now.of(result) - before.of(result);
            for result in ["failed", "unrefreshed", "ended"] {
                assert_eq!(since(result), 0, "{result}");
            }
            match since("refreshed") {
                all if all == calls => Ok(()),
                some => Err(format!("{some} of {calls} calls")),
            }
        });
        assert_eq!(self.lines("LEAVES"), 0, "the talk is too short");
    }

    /// The customers hang up: every call ends well, with one record that says how long its far ends talked, and nothing
    /// is left anywhere.
    #[track_caller]
    fn end(self, switch: &Switch) {
        let finish = |running: Running| running.finish(Duration::from_secs(60));
        let customers: Vec<_> = self.customers.into_iter().map(finish).collect();
        for customer in &customers {
            customer.all_good(SHARE);
        }
        nothing_bound(switch, Duration::from_secs(10));
        nothing_left(switch, Duration::from_secs(10));
        let phone = self.phone.stop();
        assert_eq!(phone.failed(), 0, "{}", phone.errors());

        let log = switch.platform_log();
        assert_eq!((log.applied("bind"), log.applied("unbind")), (CALLS, CALLS));
        let load = Load::read(switch, CALLS);
        let ends = Ends::read(&phone, &customers);
        load.unbound_in_time(&log.lives(), self.unbind_delay, &ends);
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
}

fn others(node: u8) -> Vec<u8> {
    (1..=NODES).filter(|other| *other != node).collect()
}

#[test]
fn answered_calls_outlive_their_nodes() {
    let mut switch = Switch::start();
    let held = Held::begin(&switch, 26_000, None);
    // A follower, the leader, and a node that is drained and stopped in order.
    let leader = switch.leader();
    let (second, third) = (leader % NODES + 1, (leader + 1) % NODES + 1);
    for (victim, signal) in [(second, "KILL"), (leader, "KILL"), (third, "TERM")] {
        let living = others(victim);
        let here = answered(&switch, victim).expect("it still lives");
        assert!(here > 0, "node {victim} has calls to hand over");
        if signal == "TERM" {
            switch.cli(living[0], &["cluster", "drain", &format!("dev-{victim}")]);
        }
        let before = Results::read(&switch, &living);
        let pid = switch.pid(victim);
        assert!(process::signal(pid, signal), "node {victim} ran");
        let gone = process::gone(pid, Duration::from_secs(10));
        assert!(gone, "{signal} ends it");
        carried_on(&switch, &living);
        held.moved(&switch, &living, &before, here as usize);
        switch.restart(victim);
    }
    held.end(&switch);
}

#[test]
fn answered_calls_outlive_their_node_without_their_bindings() {
    let mut switch = Switch::start();
    let held = Held::begin(&switch, 15_000, Some(0));
    nothing_bound(&switch, Duration::from_secs(5));
    let victim = switch.leader() % NODES + 1;
    let here = answered(&switch, victim).expect("it still lives");
    switch.kill(victim);
    let living = others(victim);
    carried_on(&switch, &living);
    held.moved(&switch, &living, &Results::default(), here as usize);
    switch.restart(victim);
    held.end(&switch);
}

#[test]
fn a_paused_node_that_wakes_up_changes_nothing() {
    let switch = Switch::start();
    let held = Held::begin(&switch, 20_000, None);
    let paused = switch.leader() % NODES + 1;
    let here = answered(&switch, paused).expect("it still runs");
    let pid = switch.pid(paused);
    assert!(process::signal(pid, "STOP"));
    let living = others(paused);
    carried_on(&switch, &living);
    held.moved(&switch, &living, &Results::default(), here as usize);
    assert!(process::signal(pid, "CONT"));
    eventually(
        "it has dropped its calls",
        Duration::from_secs(10),
        || match answered(&switch, paused)? {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        },
    );
    switch.wait_ready(paused);
    held.end(&switch);
}

#[test]
fn what_came_to_a_node_while_it_stood_still_rings_no_phone() {
    let switch = Switch::start();
    let phone = Sipp::phone("phone_moves", switch.phone_port()).start(switch.dir());
    let paused = switch.leader() % NODES + 1;
    let to = switch.sip(paused);
    let callee = |n: u64| format!("sip:{}@{to}", 13_800_000_000 + n);
    let mut stream = TcpStream::connect(to).expect("the node listens");
    let local = stream.local_addr().expect("it is connected");
    let pid = switch.pid(paused);
    assert!(process::signal(pid, "STOP"));
    // Customers ask, hear nothing, and go to other nodes. What they sent lies in the node's sockets.
    let asked: Vec<Wire> = (0..50)
        .map(|n| {
            let wire = Wire::udp(to);
            wire.send(wire.request("INVITE", &callee(n), 70, "").as_bytes());
            let request = wire::request(local, "TCP", "INVITE", &callee(1_000 + n), 70, "");
            stream.write_all(request.as_bytes()).expect("there is room");
            sleep(Duration::from_millis(200));
            wire
        })
        .collect();
    assert!(process::signal(pid, "CONT"));
    for wire in &asked {
        let answer = loop {
            let answer = wire.receive(Duration::from_secs(5));
            match answer.as_deref().map(wire::status) {
                Some(100) => {}
                status => break status,
            }
        };
        assert_eq!(answer, Some(503), "it comes too late");
    }
    // Soon it serves again, and that call is the only one that there ever was.
    switch.wait_ready(paused);
    let callee = 13_800_900_000_u64.to_string();
    eventually("it takes calls", Duration::from_secs(10), || {
        Wire::udp(to).place_call(&callee).map(drop)
    });
    let rung: Vec<String> = phone
        .lines("INVITE")
        .iter()
        .map(|line| plain(line.callee()))
        .collect();
    assert_eq!(rung, [callee]);
    nothing_bound(&switch, Duration::from_secs(5));
    assert_eq!(switch.platform_log().applied("bind"), 1);
}

#[test]
fn answered_calls_outlive_the_restart_of_all_nodes() {
    let mut switch = Switch::start();
    let held = Held::begin(&switch, 25_000, None);
    for node in 1..=NODES {
        switch.kill(node);
    }
    switch.restart_all();
    carried_on(&switch, &[1, 2, 3]);
    held.moved(&switch, &[1, 2, 3], &Results::default(), CALLS);
    held.end(&switch);
}

#[test]
fn an_ax_call_outlives_its_node_and_its_relation_serves_on() {
    const AX: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
    const A: &str = "02100000000";
    const X: &str = "17000000000";
    let seed = Seed::new()
        .interface("i", "")
        .x("i", X, "line_limit = 2")
        .a("ga", A, "line_limit = 2")
        .axb_gateway("platform", "13", "ga", "i", "")
        .customer("ax", &AX.to_string(), "allow_axb = false\nallow_ax = true");
    let mut switch = Switch::seeded(&seed);
    let name = format!("{A}/{X}");
    let (a_number, x_number) = (format!("a_number={A}"), format!("x_number={X}"));
    switch.cli(1, &["ax", "add", "interface=i", &a_number, &x_number]);
    switch.cli(1, &["ax", "bind", &name]);
    let phone = Sipp::phone("phone_moves", switch.phone_port()).start(switch.dir());
    let victim = switch.leader() % NODES + 1;
    let living = others(victim);
    let place = |node: u8, n: u64, talk_ms: u32| {
        let numbers = numbers(15_900_000_000 + n, 13_800_000_000 + n, 1);
        Sipp::customer(
            "customer_moves",
            switch.own_port(),
            switch.sip(node),
            numbers,
        )
        .from_ip(AX)
        .patience(talk_ms)
        .start(switch.dir())
    };
    let carried = |switch: &Switch, node: u8| -> Vec<u64> {
        [("a-numbers", A), ("x-numbers", X)]
            .map(|(collection, number)| {
                let row = switch.api(node).find(collection, "number", number);
                row["concurrency"]
                    .as_u64()
                    .unwrap_or_else(|| panic!("{row}"))
            })
            .to_vec()
    };
    let is_answered = |customer: &Running| {
        eventually("it is answered", Duration::from_secs(5), || match customer
            .lines("ANSWERED")
            .len()
        {
            1 => Ok(()),
            _ => Err("not yet".to_owned()),
        });
    };

    let customer = place(victim, 1, 12_000);
    is_answered(&customer);
    switch.kill(victim);
    eventually("its far ends know", Duration::from_secs(10), || {
        let results = Results::read(&switch, &living);
        match ["refreshed", "unrefreshed", "failed", "ended"].map(|result| results.of(result)) {
            [1, 0, 0, 0] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(
        carried(&switch, living[0]),
        [1, 1],
        "A and X stay with the call"
    );
    // Its relation carries another call of the same A and X meanwhile.
    let second = place(living[1], 2, 2_000);
    is_answered(&second);
    assert_eq!(carried(&switch, living[0]), [2, 2]);
    second.finish(Duration::from_secs(10)).all_good(1);
    switch.restart(victim);
    customer.finish(Duration::from_secs(20)).all_good(1);
    switch.comes_to_rest(&[1, 2, 3], Duration::from_secs(5));
    switch.cli(1, &["ax", "unbind", &name]);
    nothing_left(&switch, Duration::from_secs(5));
    assert_eq!(carried(&switch, victim), [0, 0]);
    let phone = phone.stop();
    assert_eq!((phone.failed(), phone.logged("HUNGUP")), (0, 2));
    let records = switch.axb_cdrs(victim);
    assert_eq!(records.len(), 2, "{records:?}");
    let ops = switch.platform_log();
    let count = |op: &str| ops.requests.iter().filter(|r| r.op == op).count();
    assert_eq!((count("set_callee"), count("ax_unbind")), (2, 1));
}

#[test]
fn a_phone_that_has_moved_is_found_by_the_node_that_takes_its_call_over() {
    let mut switch = Switch::start();
    let port = switch.plain_port();
    let phone = Sipp::phone("phone_wanders", port).start(switch.dir());
    let elsewhere = Sipp::phone("phone_elsewhere", port + 1).start(switch.dir());
    let victim = switch.leader() % NODES + 1;
    let numbers = numbers(15_900_000_000, 9_000_000_000, 1);
    let customer = Sipp::customer(
        "customer_moves",
        switch.own_port(),
        switch.sip(victim),
        numbers,
    )
    .patience(10_000)
    .start(switch.dir());
    eventually(
        "the phone has moved",
        Duration::from_secs(5),
        || match phone.lines("MOVED").len() {
            1 => Ok(()),
            _ => Err("not yet".to_owned()),
        },
    );
    switch.states_agree(Duration::from_secs(5));
    switch.kill(victim);
    eventually(
        "its far ends know",
        Duration::from_secs(10),
        || match Results::read(&switch, &others(victim)).of("refreshed") {
            1 => Ok(()),
            _ => Err("not yet".to_owned()),
        },
    );
    assert_eq!(elsewhere.lines("MOVED").len(), 1);
    switch.restart(victim);
    customer.finish(Duration::from_secs(20)).all_good(1);
    eventually(
        "the phone is hung up",
        Duration::from_secs(2),
        || match elsewhere.lines("HUNGUP").len() {
            1 => Ok(()),
            _ => Err("not yet".to_owned()),
        },
    );
    nothing_left(&switch, Duration::from_secs(5));
}
