//! 当前绑定 under the operator's hands: unbind asks the platform, force-unbind does not wait for it.

use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use tandem_tests::checks::{binding, gone, held};
use tandem_tests::switch::NODES;
use tandem_tests::{Seed, Sipp, Switch, Talk, eventually};

const CALLER: &str = "15900000001";

fn seed() -> Seed {
    Seed::new()
        .interface("i", "")
        .x("i", "17000000001..17000000003", "line_limit = 3")
        .a("ga", "02100000000..02100000019", "")
        .axb_gateway("platform", "", "ga", "i", "")
        .customer("customer", "127.0.0.1", "")
}

#[track_caller]
fn id_of(switch: &Switch, callee: &str) -> String {
    let row = binding(switch, 2, callee);
    row.unwrap_or_else(|| panic!("no binding of {callee}"))["id"].to_string()
}

#[test]
fn unbind_asks_the_platform_and_force_unbind_does_not_wait_for_it() {
    let switch = Switch::seeded(&seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let platform = switch.platform();

    // Unbound under a call: the row goes when the platform has let go, the call talks on.
    let (one, two, three) = ("13800000001", "13800000002", "13800000003");
    let first = Talk::start(&switch, 1, CALLER, one);
    switch.cli(3, &["binding", "unbind", &id_of(&switch, one)]);
    gone(&switch, one);
    assert_eq!(held(&switch), BTreeSet::new());

    // The platform does not answer: the row stays and says so, the X stays held, whoever asks how often.
    let second = Talk::start(&switch, 2, CALLER, two);
    let id = id_of(&switch, two);
    platform.fault(json!({ "down": true }));
    for node in 1..=NODES {
        switch.cli(node, &["binding", "unbind", &id]);
    }
    let row = eventually("the row says why", Duration::from_secs(3), || {
        let row = binding(&switch, 1, two).ok_or("the row has gone")?;
        match row["last_error"].as_str() {
            Some(_) => Ok(row),
            None => Err(row.to_string()),
        }
    });
    assert_eq!(row["state"], "unbinding", "{row}");
    let x = row["x_number"].as_str().expect("a number");
    assert_eq!(
        switch.api(3).find("x-numbers", "number", x)["concurrency"],
        1
    );
    // It is mended and asked for again: no need to wait for the next try.
    platform.heal();
    switch.cli(1, &["binding", "unbind", &id]);
    gone(&switch, two);
    assert_eq!(held(&switch), BTreeSet::new());

    // Forced while the platform is down: row and X are free at once, one request still went out.
    let third = Talk::start(&switch, 3, CALLER, three);
    let id = id_of(&switch, three);
    platform.fault(json!({ "down": true }));
    let asked = || {
        let log = switch.platform_log();
        log.requests.iter().filter(|r| r.op == "unbind").count()
    };
    let before = asked();
    switch.cli(2, &["binding", "force-unbind", &id]);
    gone(&switch, three);
    eventually("one request went out", Duration::from_secs(3), || {
        if asked() > before {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    });
    let again = switch.client(1, &["binding", "force-unbind", &id]);
    assert_eq!(again.status.code(), Some(3), "forced twice");
    platform.heal();
    // What it could not be told it still holds; nobody here waits for it.
    assert_eq!(held(&switch), BTreeSet::from([three.to_owned()]));

    for talk in [first, second, third] {
        talk.end();
    }
    switch.comes_to_rest(&[1, 2, 3], Duration::from_secs(5));
    assert_eq!(asked(), before + 1, "best effort is one request");
    assert_eq!(phone.stop().failed(), 0);
    let rows = switch.cdrs(1);
    assert_eq!(rows.len(), 3);
    assert!(
        rows.iter()
            .all(|row| row.text("end_reason") == "admin_hangup")
    );
    let done = switch.cli(2, &["audit", "list", "-o", "jsonl"]);
    assert_eq!(done.matches("\"force_unbind\"").count(), 1, "{done}");
}
