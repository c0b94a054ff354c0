//! `tandem interface test`: what an operator sees of a platform that works, is slow, refuses us, loses answers or is
//! gone; and that nothing is left anywhere afterwards.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Output;
use std::time::Duration;
use tandem_tests::checks::{held, nothing_bound};
use tandem_tests::{Seed, Switch, eventually};

const INTERFACE: &str = "i";

fn seed() -> Seed {
    Seed::new()
        .interface(INTERFACE, "")
        .x(INTERFACE, "17000000001..17000000009", "")
        .a("ga", "02100000000..02100000009", "")
        .axb_gateway("platform", "", "ga", INTERFACE, "")
        .customer("customer", "127.0.0.1", "")
}

/// A trial and its exit code.
#[track_caller]
fn tried(switch: &Switch, node: u8, more: &[&str]) -> (Value, i32) {
    let args = [&["interface", "test", INTERFACE, "-o", "json"], more].concat();
    let Output {
        status,
        stdout,
        stderr,
    } = switch.client(node, &args);
    let text = String::from_utf8_lossy(&stdout);
    let told = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text} {}", String::from_utf8_lossy(&stderr)));
    (told, status.code().expect("it exited"))
}

fn ops(tried: &Value) -> Vec<(String, String)> {
    let word = |step: &Value, field: &str| step[field].as_str().unwrap_or_default().to_owned();
    let steps = tried["steps"].as_array().expect("steps");
    let step = |step: &Value| (word(step, "op"), word(step, "outcome"));
    steps.iter().map(step).collect()
}

fn pairs(steps: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(op, outcome): &(&str, &str)| ((*op).to_owned(), (*outcome).to_owned());
    steps.iter().map(owned).collect()
}

#[test]
fn an_interface_is_tried_and_nothing_is_left_whatever_the_platform_does() {
    let switch = Switch::seeded(&seed());
    let platform = switch.platform();
    let good = pairs(&[
        ("bind", "bound"),
        ("query", "found"),
        ("unbind", "released"),
    ]);

    // Healthy, from every node.
    for node in 1..=3 {
        let (told, code) = tried(&switch, node, &[]);
        assert_eq!((&told["passed"], code), (&json!(true), 0), "{told:#}");
        assert_eq!(ops(&told), good, "{told:#}");
        assert_eq!(held(&switch), BTreeSet::new());
    }
    // In words, with the numbers that were wanted, and no secret among them.
    let named = [
        "--a",
        "02100000003",
        "--x",
        "17000000005",
        "--b",
        "13900000001",
    ];
    let text = switch.cli(2, &[&["interface", "test", INTERFACE], &named[..]].concat());
    for said in [
        "A 02100000003, X 17000000005, B 13900000001",
        "  > POST http://127.0.0.1:",
        "  > X-AKSK: ***",
        "  < 200",
        "passed in ",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("sample-app-secret"), "{text}");
    let wrong = switch.client(1, &["interface", "test", INTERFACE, "--x", "18000000000"]);
    assert_eq!(wrong.status.code(), Some(4), "no X of this interface");

    // Slow, but in time.
    platform.fault(json!({ "latency_ms": 1_500 }));
    let (told, code) = tried(&switch, 1, &[]);
    assert_eq!((&told["passed"], code), (&json!(true), 0), "{told:#}");
    assert!(told["took_ms"].as_u64() >= Some(4_500), "{told:#}");
    platform.heal();

    // Answers are lost: what was bound is found again and released.
    platform.fault(json!({ "drop_reply_rate": 1.0, "ops": ["bind"] }));
    let (told, code) = tried(&switch, 2, &[]);
    assert_eq!((&told["passed"], code), (&json!(false), 1), "{told:#}");
    assert_eq!(ops(&told)[0], ("bind".into(), "unknown".into()), "{told:#}");
    assert_eq!(told["left"], false, "{told:#}");
    platform.heal();
    assert_eq!(held(&switch), BTreeSet::new());

    // Bound, then gone: it stays and is released when the platform is there again.
    platform.fault(json!({ "down": true, "ops": ["unbind"] }));
    let (told, code) = tried(&switch, 3, &["--within-secs", "3"]);
    assert_eq!((&told["left"], code), (&json!(true), 7), "{told:#}");
    let rows = switch.api(1).list("bindings");
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (&rows[0]["trial"], &rows[0]["id"]),
        (&json!(true), &told["binding"])
    );
    let second = switch.client(1, &["interface", "test", INTERFACE]);
    assert_eq!(second.status.code(), Some(4), "one trial at a time");
    platform.heal();
    nothing_bound(&switch, Duration::from_secs(20));
    assert_eq!(held(&switch), BTreeSet::new());

    // A wrong secret: refused once, and then not even sent, for the platform would block our address.
    switch.cli(
        1,
        &["interface", "set", INTERFACE, "params.app_secret=wrong-one"],
    );
    let (told, code) = tried(&switch, 1, &[]);
    assert_eq!((&told["passed"], code), (&json!(false), 1), "{told:#}");
    assert_eq!(ops(&told), pairs(&[("bind", "config")]), "{told:#}");
    assert_eq!(told["left"], false, "{told:#}");
    let (told, _) = tried(&switch, 1, &[]);
    assert_eq!(ops(&told), pairs(&[("bind", "vendor_down")]), "{told:#}");
    assert_eq!(told["steps"][0]["sent"], false, "{told:#}");
    let status = switch.cli(3, &["interface", "status", INTERFACE, "-o", "json"]);
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let nodes = status["nodes"].as_array().expect("nodes");
    let refused = nodes.iter().find(|node| node["breaker"].is_string());
    assert!(refused.is_some(), "{status:#}");

    // Told of every node, the failure among them, without secrets and whole numbers.
    let text = switch.cli(3, &["interface", "exchanges", INTERFACE, "-o", "jsonl"]);
    let failed = |line: &str| line.contains("\"outcome\":\"config\"");
    assert!(text.lines().any(failed), "{text}");
    for hidden in [
        "sample-app-secret",
        "wrong-one",
        "02100000003",
        "17000000005",
        "13900000001",
    ] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    let full = switch.cli(1, &["interface", "exchanges", INTERFACE, "--full"]);
    assert!(full.contains("  > X-AKSK: ***"), "{full}");

    // A certificate that is none: the simulator speaks no TLS.
    let url = format!("urls.base=https://{}/huawei", platform.at);
    switch.cli(
        1,
        &[
            "interface",
            "set",
            INTERFACE,
            "params.app_secret=sample-app-secret",
            &url,
        ],
    );
    let (told, code) = tried(&switch, 2, &[]);
    assert_eq!((&told["passed"], code), (&json!(false), 1), "{told:#}");
    assert_eq!(ops(&told), pairs(&[("bind", "not_sent")]), "{told:#}");

    // Mended: tried again at once.
    let url = format!("urls.base=http://{}/huawei", platform.at);
    switch.cli(1, &["interface", "set", INTERFACE, &url]);
    eventually("the interface works again", Duration::from_secs(5), || {
        let (told, _) = tried(&switch, 1, &[]);
        match told["passed"] == json!(true) {
            true => Ok(()),
            false => Err(told.to_string()),
        }
    });
    nothing_bound(&switch, Duration::from_secs(5));
    assert_eq!(held(&switch), BTreeSet::new());
}
