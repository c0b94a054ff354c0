//! `binding reconcile`: what the platform and we hold differently is shown, and cleared both ways.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tandem_tests::checks::{binding, gone, held, nothing_left};
use tandem_tests::platform::plain;
use tandem_tests::switch::NODES;
use tandem_tests::talk::try_call;
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

/// The differences that `binding reconcile` shows.
fn differences(switch: &Switch, node: u8, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let base = ["binding", "reconcile", "--interface", "i", "-o", "jsonl"];
    let output = switch.client(node, &[&base[..], args].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let rows = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    (output.status.code(), rows.collect())
}

/// The differences, once none of them may be on its way any more.
#[track_caller]
fn only_settled(switch: &Switch, node: u8, count: usize) -> Vec<Value> {
    eventually("differences that stand", Duration::from_secs(10), || {
        let (code, shown) = differences(switch, node, &[]);
        let settled = shown.iter().all(|row| row["held_by"] != "under way");
        match settled && shown.len() == count && code == Some(1) {
            true => Ok(shown),
            false => Err(format!("{code:?} {shown:?}")),
        }
    })
}

#[track_caller]
fn is(rows: &[Value], held_by: &str, callee: &str, outcome: &str) {
    let row = rows
        .iter()
        .find(|row| plain(row["b_number"].as_str().unwrap_or_default()) == callee);
    let row = row.unwrap_or_else(|| panic!("{callee} is not among {rows:?}"));
    assert!(
        row["held_by"] == held_by && row["outcome"] == outcome,
        "{row}"
    );
}

#[test]
fn reconcile_shows_what_differs_and_clears_it_both_ways() {
    let switch = Switch::seeded(&seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let (kept, lost, foreign) = ("13800000001", "13800000002", "13800000003");
    {
        let talk = Talk::start(&switch, 1, CALLER, kept);
        let other = Talk::start(&switch, 2, CALLER, lost);
        assert_eq!(differences(&switch, 1, &[]), (Some(0), Vec::new()));

        // One that we do not know of, and one that the platform has lost. What was bound a moment ago may be on its way:
        // for a few seconds it is shown as such and never touched.
        switch
            .platform()
            .bind_directly("02200000000", "17000000001", foreign);
        let log = switch.platform_log();
        let bound = log.requests.iter().find(|r| r.op == "bind" && r.b == lost);
        switch
            .platform()
            .unbind_directly(&bound.expect("it was bound").bind_id);
        let shown = only_settled(&switch, 3, 2);
        is(&shown, "platform", foreign, "shown");
        is(&shown, "us", lost, "shown");
        let both = BTreeSet::from([kept.to_owned(), foreign.to_owned()]);
        assert_eq!(held(&switch), both, "shown only");

        let (code, cleared) = differences(&switch, 2, &["--apply"]);
        assert_eq!((code, cleared.len()), (Some(0), 2), "{cleared:?}");
        is(&cleared, "platform", foreign, "cleared");
        is(&cleared, "us", lost, "cleared");
        gone(&switch, lost);
        assert_eq!(held(&switch), BTreeSet::from([kept.to_owned()]));
        assert_eq!(differences(&switch, 1, &[]), (Some(0), Vec::new()));
        // Calls whose binding was cleared talk on.
        other.end();
        talk.end();
        nothing_left(&switch, Duration::from_secs(5));
    }

    // The platform has lost everything; the calls that talk do not feel it.
    let callees = ["13800000011", "13800000012", "13800000013"];
    {
        let talks: Vec<Talk> = callees
            .iter()
            .zip(1..=NODES)
            .map(|(callee, node)| Talk::start(&switch, node, CALLER, callee))
            .collect();
        switch.platform().forget_bindings();
        only_settled(&switch, 1, 3);
        let (code, cleared) = differences(&switch, 3, &["--apply"]);
        assert_eq!((code, cleared.len()), (Some(0), 3), "{cleared:?}");
        callees.iter().for_each(|callee| gone(&switch, callee));
        talks.into_iter().for_each(Talk::end);
        nothing_left(&switch, Duration::from_secs(5));
    }

    // A platform that cannot be asked changes nothing on either side.
    let talk = Talk::start(&switch, 1, CALLER, "13800000021");
    switch.platform().fault(json!({ "down": true }));
    let (code, shown) = differences(&switch, 2, &["--apply"]);
    assert!(code != Some(0) && shown.is_empty(), "{code:?} {shown:?}");
    assert!(binding(&switch, 3, "13800000021").is_some());
    switch.platform().heal();
    talk.end();
    nothing_left(&switch, Duration::from_secs(20));
    try_call(&switch, 2, CALLER, "13800000022").is_answered();
    nothing_left(&switch, Duration::from_secs(5));
    assert_eq!(phone.stop().failed(), 0);
}
