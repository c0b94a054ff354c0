//! AX mode (`DOMAIN.md` §5): static relations, calls out over them and in through them, beside bindings on the same X.

use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::platform::{Request, plain};
use tandem_tests::sipp::numbers;
use tandem_tests::switch::NODES;
use tandem_tests::talk::try_from;
use tandem_tests::{Seed, Sipp, Switch, Talk, eventually};

/// May use AX alone.
const AX: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// May use both, AXB first.
const BOTH: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);
/// May use AXB alone.
const AXB: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 13);

const CALLER: &str = "15900000001";
const A0: &str = "02100000000";
const A1: &str = "02100000001";
const X0: &str = "17000000000";
const X1: &str = "17000000001";

fn seed(a_limit: u32) -> Seed {
    let limit = format!("line_limit = {a_limit}");
    Seed::new()
        .interface("i", "")
        .x("i", &format!("{X0}..{X1}"), "line_limit = 9")
        .a("ga", "02100000000..02100000003", &limit)
        .axb_gateway("platform", "13", "ga", "i", "")
        .customer("ax", &AX.to_string(), "allow_axb = false\nallow_ax = true")
        .customer(
            "both",
            &BOTH.to_string(),
            "allow_axb = true\nallow_ax = true",
        )
        .customer("axb", &AXB.to_string(), "")
}

/// Makes a relation and has the platform bind it.
#[track_caller]
fn relate(switch: &Switch, node: u8, a: &str, x: &str) {
    let (a_number, x_number) = (format!("a_number={a}"), format!("x_number={x}"));
    switch.cli(node, &["ax", "add", "interface=i", &a_number, &x_number]);
    switch.cli(node, &["ax", "bind", &format!("{a}/{x}")]);
}

/// A relation's row as a node shows it.
#[track_caller]
fn relation(switch: &Switch, node: u8, a: &str, x: &str) -> Value {
    let text = switch.cli(node, &["ax", "show", &format!("{a}/{x}"), "-o", "json"]);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[track_caller]
fn concurrency(switch: &Switch, collection: &str, number: &str) -> u64 {
    let row = switch.api(3).find(collection, "number", number);
    row["concurrency"]
        .as_u64()
        .unwrap_or_else(|| panic!("{row}"))
}

fn of(switch: &Switch, op: &str) -> Vec<Request> {
    let log = switch.platform_log();
    log.requests.into_iter().filter(|r| r.op == op).collect()
}

#[test]
fn a_relation_carries_calls_out_beside_bindings_on_the_same_x() {
    let switch = Switch::seeded(&seed(5));
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let mut next = 13_800_000_000_u64;
    let mut callee = || {
        next += 1;
        next.to_string()
    };
    switch.cli(1, &["x", "set", X1, "state=disabled"]);

    // A row alone is no relation; the platform must have bound it.
    let (a_number, x_number) = (format!("a_number={A0}"), format!("x_number={X0}"));
    switch.cli(1, &["ax", "add", "interface=i", &a_number, &x_number]);
    assert_eq!(relation(&switch, 2, A0, X0)["state"], "unbound");
    try_from(&switch, AX, 1, CALLER, &callee()).is(503, "no_axb_number");
    let name = format!("{A0}/{X0}");
    switch
        .platform()
        .fault(json!({ "error_rate": 1.0, "error_code": "1010029", "ops": ["ax_bind"] }));
    let refused = switch.client(2, &["ax", "bind", &name]);
    assert_ne!(refused.status.code(), Some(0));
    let row = relation(&switch, 3, A0, X0);
    let error = row["last_error"].as_str().unwrap_or_default();
    assert!(
        row["state"] == "error" && error.contains("1010029"),
        "{row}"
    );
    switch.platform().heal();
    switch.cli(3, &["ax", "bind", &name]);
    for node in 1..=NODES {
        eventually("bound on every node", Duration::from_secs(2), || {
            let row = relation(&switch, node, A0, X0);
            match row["state"] == "bound" && row["bound_at"].is_string() {
                true => Ok(()),
                false => Err(row.to_string()),
            }
        });
    }
    let interface = switch.api(1).find("interfaces", "name", "i");
    assert_eq!(interface["ax_binding_count"], 1, "{interface}");

    // Outgoing: the callee is set, X is shown, A and X are held for the call.
    let b = callee();
    let outgoing = Talk::from(&switch, AX, 2, CALLER, &b);
    let set = of(&switch, "set_callee");
    assert_eq!(set.len(), 1, "{set:?}");
    let numbers = [&*set[0].a, &*set[0].x, &*set[0].b];
    assert!(
        set[0].applied && numbers[1] == X0 && numbers[2] == b,
        "{set:?}"
    );
    assert_eq!(
        (
            concurrency(&switch, "a-numbers", A0),
            concurrency(&switch, "x-numbers", X0)
        ),
        (1, 1)
    );
    assert!(switch.api(1).list("bindings").is_empty());

    // At the same time X carries bindings with every other A, and none with the relation's.
    let bound: Vec<Talk> = (1..=NODES)
        .map(|node| Talk::from(&switch, AXB, node, CALLER, &callee()))
        .collect();
    try_from(&switch, AXB, 1, CALLER, &callee()).is(503, "no_axb_number");
    assert_eq!(concurrency(&switch, "x-numbers", X0), 4);
    // Who may use both gets the relation when AXB has no pair.
    let both = Talk::from(&switch, BOTH, 3, CALLER, &callee());
    assert_eq!(of(&switch, "set_callee").len(), 2);
    assert_eq!(
        (
            concurrency(&switch, "a-numbers", A0),
            concurrency(&switch, "x-numbers", X0)
        ),
        (2, 5)
    );
    bound.into_iter().for_each(Talk::end);
    let first = Talk::from(&switch, BOTH, 2, CALLER, &callee());
    assert_eq!(of(&switch, "set_callee").len(), 2, "AXB comes first");
    first.end();

    // Unbound under its calls they talk on, and no other call uses it.
    switch.cli(2, &["ax", "unbind", &name]);
    assert_eq!(relation(&switch, 1, A0, X0)["state"], "unbound");
    try_from(&switch, AX, 3, CALLER, &callee()).is(503, "no_axb_number");
    outgoing.end();
    both.end();
    nothing_left(&switch, Duration::from_secs(5));
    assert_eq!(
        (of(&switch, "ax_bind").len(), of(&switch, "ax_unbind").len()),
        (2, 1)
    );

    // Forced while the platform is down: unbound at once, one request went out, and it can be removed.
    switch.cli(1, &["ax", "bind", &name]);
    switch.platform().fault(json!({ "down": true }));
    switch.cli(3, &["ax", "force-unbind", &name]);
    assert_eq!(relation(&switch, 3, A0, X0)["state"], "unbound");
    eventually(
        "one request went out",
        Duration::from_secs(3),
        || match of(&switch, "ax_unbind").len() {
            1 => Err("none".to_owned()),
            _ => Ok(()),
        },
    );
    switch.platform().heal();
    switch.cli(1, &["ax", "remove", &name]);

    let log = switch.platform_log();
    log.never_doubled(9);
    let a0 = plain(A0);
    assert!(log.requests.iter().all(|r| r.op != "bind" || r.a != a0));
    let seen = phone.stop();
    let lines = seen.lines("INVITE");
    assert_eq!(lines.len(), 6);
    assert!(lines.iter().all(|line| line.caller() == X0), "{lines:?}");
    let rows = switch.axb_cdrs(2);
    let over: Vec<_> = rows
        .iter()
        .filter(|row| row.text("a_number") == A0)
        .collect();
    assert_eq!((rows.len(), over.len()), (6, 2));
    assert!(over.iter().any(|row| row.text("b_number") == b));
}

#[test]
fn calls_on_one_x_set_their_callees_in_turn_and_calls_on_two_side_by_side() {
    let switch = Switch::seeded(&seed(9));
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    relate(&switch, 1, A0, X0);
    let slow = 0.4;
    switch
        .platform()
        .fault(json!({ "latency_ms": 400, "ops": ["set_callee"] }));
    let at_once = |count: usize, callee: u64| {
        let customers: Vec<_> = (1..=NODES)
            .map(|node| {
                let first = callee + u64::from(node) * 10;
                Sipp::customer(
                    "customer",
                    switch.own_port(),
                    switch.sip(node),
                    numbers(15_900_000_000 + first % 1_000, first, count),
                )
                .from_ip(AX)
                .rate(100, 1_000)
                .pause(500)
                .start(switch.dir())
            })
            .collect();
        for customer in customers {
            customer.finish(Duration::from_secs(20)).all_good(count);
        }
        nothing_left_but_relations(&switch);
    };

    // Six calls at once over one relation, through all nodes: each callee is rung once, so none was overwritten.
    at_once(2, 13_800_000_000);
    let times: Vec<f64> = of(&switch, "set_callee").iter().map(|r| r.t).collect();
    assert_eq!(times.len(), 6);
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= slow, "callees of one X set {times:?}");
    }
    let mut rung: Vec<String> = phone
        .lines("INVITE")
        .iter()
        .map(|line| line.callee().to_owned())
        .collect();
    rung.sort();
    rung.dedup();
    assert_eq!(rung.len(), 6, "{rung:?}");

    // Two relations with a line each: the second call does not wait for the first.
    for a in [A0, A1] {
        switch.cli(2, &["a", "set", &format!("ga/{a}"), "line_limit=1"]);
    }
    relate(&switch, 3, A1, X1);
    let since = tandem_tests::wait::epoch_secs();
    let one = Talk::ring(&switch, AX, 1, CALLER, "13800001001");
    let two = Talk::ring(&switch, AX, 2, CALLER, "13800001002");
    one.answered();
    two.answered();
    let times: Vec<f64> = of(&switch, "set_callee")
        .iter()
        .filter(|r| r.t >= since)
        .map(|r| r.t)
        .collect();
    assert_eq!(times.len(), 2);
    assert!(
        (times[1] - times[0]).abs() < slow,
        "two X numbers wait for each other: {times:?}"
    );
    one.end();
    two.end();
    nothing_left_but_relations(&switch);
    assert_eq!(phone.stop().failed(), 0);
}

#[track_caller]
fn nothing_left_but_relations(switch: &Switch) {
    switch.comes_to_rest(&[1, 2, 3], Duration::from_secs(5));
    let rows = switch.platform().table();
    assert!(rows.iter().all(|row| row["mode"] == "ax"), "{rows:?}");
}

#[test]
fn a_call_to_x_rings_a_and_is_an_ordinary_call_where_its_leg_reaches_us() {
    // The platform's own leg to A comes in from 127.0.0.1 and leaves by the carrier of A's numbers.
    let seed = seed(5)
        .customer("from-platform", "127.0.0.1", "allow_axb = false")
        .plain_gateway("desks", "021", "");
    let mut switch = Switch::seeded(&seed);
    let a_leg = switch.sip(2);
    switch.restart_platform(&format!("ax_incoming = \"{a_leg}\""));
    let desk = Sipp::phone("phone", switch.plain_port()).start(switch.dir());
    relate(&switch, 1, A0, X0);
    // Anybody, straight at the platform.
    let outsider = vec![("13700000000".to_owned(), X0.to_owned())];
    let platform = switch.platform_sip();
    Sipp::customer("customer", switch.own_port(), platform, outsider)
        .from_ip(AXB)
        .pause(300)
        .start(switch.dir())
        .finish(Duration::from_secs(15))
        .all_good(1);
    let stranger = vec![("13700000000".to_owned(), X1.to_owned())];
    let nobody = Sipp::customer("customer_any", switch.own_port(), platform, stranger)
        .from_ip(AXB)
        .start(switch.dir())
        .finish(Duration::from_secs(15));
    assert_eq!(
        nobody.lines("REFUSED").len(),
        1,
        "an X without a relation rings nobody"
    );
    nothing_left_but_relations(&switch);
    let seen = desk.stop();
    let lines = seen.lines("INVITE");
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].caller(), lines[0].callee()), (X0, A0));
    let rows = switch.cdrs(1);
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    let fields = [
        "caller",
        "callee",
        "caller_gateway",
        "callee_gateway",
        "end_reason",
    ];
    let told = fields.map(|field| row.text(field));
    assert_eq!(told, [X0, A0, "from-platform", "desks", "normal"]);
    assert!(switch.axb_cdrs(1).is_empty(), "no AXB call");
}
