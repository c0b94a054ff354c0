//! What operators and monitoring see.

use std::process::{Command, Stdio};
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::sipp::numbers;
use tandem_tests::wire::Wire;
use tandem_tests::{Sipp, Switch, http};

/// Families of metrics that the outside is promised, by a part of their names, in the order of that promise.
const FAMILIES: [&str; 23] = [
    "calls_total",
    "active_calls",
    "setup",
    "post_dial_delay",
    "vendor_request_seconds",
    "bindings",
    "pool",
    "charged",
    "role",
    "term",
    "commit",
    "apply_seconds",
    "commands",
    "claims",
    "takeovers",
    "strays",
    "errands",
    "sip_messages",
    "retransmissions",
    "parse_errors",
    "refused",
    "outbox",
    "lag",
];

#[test]
fn metrics_are_well_formed_complete_and_name_no_number() {
    let switch = Switch::start();
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let customer = Sipp::customer(
        "customer",
        switch.own_port(),
        switch.sip(1),
        numbers(15_900_000_001, 13_800_000_001, 5),
    );
    customer
        .pause(500)
        .start(switch.dir())
        .finish(Duration::from_secs(15))
        .all_good(5);
    drop(phone);
    Wire::udp(switch.sip(1)).send(b"no message at all");
    nothing_left(&switch, Duration::from_secs(10));
    let text = switch.api(1).metrics();
    let series: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    for line in &series {
        assert!(line.starts_with("tandem_"), "{line}");
    }
    let has = |family: &&str| {
        series.iter().any(|line| {
            line.split(['{', ' '])
                .next()
                .is_some_and(|n| n.contains(*family))
        })
    };
    let missing: Vec<&str> = FAMILIES.into_iter().filter(|family| !has(family)).collect();
    assert!(missing.is_empty(), "no metric about {missing:?}:\n{text}");
    for number in ["1590000000", "1380000000", "1700000", "210000"] {
        assert!(
            !series.iter().any(|line| line
                .split(' ')
                .next()
                .is_some_and(|key| key.contains(number))),
            "a number is a label"
        );
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool; tests/run installs it (Debian: prometheus)");
    let mut input = promtool.stdin.take().expect("it was asked for");
    std::io::Write::write_all(&mut input, text.as_bytes()).expect("promtool reads");
    drop(input);
    let output = promtool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "promtool: {}\n{text}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn a_token_is_required_and_health_is_not_secret() {
    let switch = Switch::start();
    let at = switch.api(1).at;
    for path in ["/livez", "/readyz", "/metrics", "/version"] {
        assert_eq!(
            http::request(at, "GET", path, None, None)
                .expect("it answers")
                .status,
            200,
            "{path}"
        );
    }
    for token in [None, Some("wrong")] {
        for (method, path) in [
            ("GET", "/api/v1/cluster"),
            ("GET", "/api/v1/cdrs"),
            ("POST", "/api/v1/a-groups"),
        ] {
            let body = (method == "POST").then_some(r#"{"name":"intruder"}"#);
            let answer = http::request(at, method, path, token, body).expect("it answers");
            assert_eq!(
                answer.status, 401,
                "{method} {path} {token:?}: {}",
                answer.body
            );
            assert!(
                answer.body.contains("\"code\""),
                "not problem+json: {}",
                answer.body
            );
        }
    }
    assert!(
        switch
            .api(2)
            .list("a-groups")
            .iter()
            .all(|row| row["name"] != "intruder")
    );
}

#[test]
fn an_edit_on_one_node_is_seen_on_all_and_an_old_version_is_refused() {
    let switch = Switch::start();
    let row = switch.api(2).find("x-numbers", "number", "17000000007");
    switch
        .api(3)
        .change("x-numbers", &row, serde_json::json!({ "line_limit": 7 }));
    for node in 1..=3 {
        tandem_tests::eventually("the edit", Duration::from_secs(3), || {
            let row = switch.api(node).find("x-numbers", "number", "17000000007");
            if row["line_limit"] == 7 {
                Ok(())
            } else {
                Err(row.to_string())
            }
        });
    }
    let stale = serde_json::json!({ "line_limit": 9, "version": row["version"] });
    let path = format!("x-numbers/{}", tandem_tests::api::id(&row));
    let answer = switch
        .api(1)
        .try_call("PATCH", &path, Some(&stale))
        .expect("it answers");
    assert_eq!(answer.status, 409, "{}", answer.body);
}

#[test]
fn logs_show_no_whole_number() {
    let switch = Switch::start();
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let customer = Sipp::customer(
        "customer",
        switch.own_port(),
        switch.sip(2),
        numbers(15_900_000_001, 13_800_000_001, 5),
    );
    customer
        .pause(200)
        .start(switch.dir())
        .finish(Duration::from_secs(15))
        .all_good(5);
    drop(phone);
    nothing_left(&switch, Duration::from_secs(10));
    for node in 1..=3 {
        let log = switch.node_log(node);
        assert!(!log.is_empty(), "node {node} logs nothing");
        for number in ["159000000", "138000000"] {
            let line = log.lines().find(|line| line.contains(number));
            assert!(
                line.is_none(),
                "a whole number in the log of node {node}: {line:?}"
            );
        }
    }
}

#[test]
fn the_command_line_answers_in_tables_json_and_exit_codes() {
    let switch = Switch::start();
    for args in [
        &["cluster", "status"][..],
        &["binding", "list", "-o", "json"],
        &["call", "list"],
        &["x", "list", "-o", "csv"],
        &["interface", "list", "-o", "jsonl"],
        &["cdr", "query"],
    ] {
        let output = switch.client(1, args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {errors}");
    }
    let output = switch.client(1, &["x", "list", "-o", "csv"]);
    assert!(
        String::from_utf8_lossy(&output.stdout).lines().count() > 100,
        "a hundred X numbers and a heading"
    );
    assert_eq!(
        switch
            .client(2, &["call", "show", "999999999999"])
            .status
            .code(),
        Some(3)
    );
    assert_eq!(
        switch
            .client(2, &["--token", "wrong", "cluster", "status"])
            .status
            .code(),
        Some(5)
    );
}
