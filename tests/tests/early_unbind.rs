//! Unbind delay 0: an X that one call has left carries the next while the first still talks.

use serde_json::json;
use std::time::Duration;
use tandem_tests::api::id;
use tandem_tests::checks::{Load, nothing_left};
use tandem_tests::sipp::numbers;
use tandem_tests::{Sipp, Switch, eventually};

#[test]
fn a_second_call_gets_the_same_x_while_the_first_still_talks() {
    let switch = Switch::start();
    let api = switch.api(1);
    api.unbind_delay(Some(0));
    let pool = api.list("x-numbers");
    for row in &pool[1..] {
        api.call(
            "DELETE",
            &format!("x-numbers/{}?version={}", id(row), row["version"]),
            None,
        );
    }
    let only = api.list("x-numbers");
    assert_eq!(only.len(), 1);
    api.change("x-numbers", &only[0], json!({ "line_limit": 1 }));

    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let call = |node: u8, n: u64, pause: u32| {
        let numbers = numbers(15_900_000_000 + n, 13_800_000_000 + n, 1);
        Sipp::customer("customer", switch.own_port(), switch.sip(node), numbers)
            .pause(pause)
            .start(switch.dir())
    };
    let first = call(1, 1, 8_000);
    eventually("the first call's X is free", Duration::from_secs(5), || {
        let status = switch.api(1).try_status()?;
        let free = status["answered_calls"] == 1 && status["x_in_use"] == 0;
        if free {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    let second = call(2, 2, 1_000);
    let second = second.finish(Duration::from_secs(7));
    second.all_good(1);
    let first = first.finish(Duration::from_secs(15));
    first.all_good(1);
    nothing_left(&switch, Duration::from_secs(5));

    let load = Load::read(&switch, 2);
    let row = |callee: &str| {
        let mut rows = load
            .cdrs
            .iter()
            .filter(|(_, cdr)| cdr.text("callee") == callee);
        let (flow_no, cdr) = rows.next().expect("each call has a record");
        (cdr, &load.axb[flow_no])
    };
    let (first, first_axb) = row("13800000001");
    let (second, second_axb) = row("13800000002");
    assert_eq!(first_axb.text("x_number"), second_axb.text("x_number"));
    assert!(
        second.time("ended_at") < first.time("ended_at"),
        "the first call talked longer"
    );
    let seen: Vec<String> = phone
        .stop()
        .lines("INVITE")
        .iter()
        .map(|line| line.caller().to_owned())
        .collect();
    assert_eq!(seen[0], seen[1], "both callees saw the one X");
}

#[test]
fn with_unbind_at_the_end_a_second_call_finds_no_x() {
    let switch = Switch::start();
    let api = switch.api(1);
    api.unbind_delay(None);
    let pool = api.list("x-numbers");
    for row in &pool[1..] {
        api.call(
            "DELETE",
            &format!("x-numbers/{}?version={}", id(row), row["version"]),
            None,
        );
    }
    api.change("x-numbers", &pool[0], json!({ "line_limit": 1 }));
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let first = Sipp::customer(
        "customer",
        switch.own_port(),
        switch.sip(1),
        numbers(15_900_000_001, 13_800_000_001, 1),
    );
    let first = first.pause(4_000).start(switch.dir());
    eventually("the first call is answered", Duration::from_secs(5), || {
        if first.lines("ANSWERED").len() == 1 {
            Ok(())
        } else {
            Err("not yet".into())
        }
    });
    let second = Sipp::customer(
        "customer_any",
        switch.own_port(),
        switch.sip(3),
        numbers(15_900_000_002, 13_800_000_002, 1),
    );
    let second = second.start(switch.dir()).finish(Duration::from_secs(10));
    let refused = second.lines("REFUSED");
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].words[2], "503");
    assert!(
        refused[0].words[3..].join(" ").contains("no_axb_number"),
        "{refused:?}"
    );
    first.finish(Duration::from_secs(10)).all_good(1);
    nothing_left(&switch, Duration::from_secs(5));
    assert_eq!(phone.stop().logged("INVITE"), 1);
}
