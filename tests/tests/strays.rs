//! What far ends say within a call is served at whichever node they say it to.

use std::net::SocketAddr;
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::ends::{Callee, Caller, Heard, Over};
use tandem_tests::wire::status;
use tandem_tests::{Switch, eventually};

/// The sum of a counter's series that have this label.
fn counted(switch: &Switch, node: u8, name: &str, label: &str) -> u64 {
    let text = switch.api(node).metrics();
    let series = text
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(label));
    series
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum::<f64>() as u64
}

fn passed_on(switch: &Switch, node: u8) -> u64 {
    counted(
        switch,
        node,
        "tandem_node_strays_total",
        "outcome=\"passed_on\"",
    )
}

#[test]
fn every_node_serves_what_either_end_says_within_a_call() {
    let switch = Switch::start();
    let callee = Callee::at(switch.plain_port());
    let [one, two, three] = [1, 2, 3].map(|node| switch.sip(node));
    for (number, over) in [(1, Over::Udp), (2, Over::Tcp)] {
        println!("{over:?}: the customer says each thing to another node");
        let mut caller = Caller::place(over, one, &format!("9000000000{number}"));
        caller.acknowledge(two);
        // An answer without its ACK would come again after half a second.
        let again = caller.hear(one, Duration::from_millis(1_200));
        assert!(again.is_none(), "{again:?}");

        let told = ("application/dtmf-relay", "Signal=5\r\n");
        for (node, at) in [(three, "three"), (two, "two"), (one, "one")] {
            let answer = caller.ask(node, "INFO", Some(told));
            assert_eq!((status(&answer.text), answer.from), (200, node), "{at}");
        }
        let answer = caller.reoffer(two, three);
        assert_eq!((status(&answer.text), answer.from), (200, two));
        assert!(answer.text.contains("m=audio"), "{}", answer.text);
        let again = caller.hear(two, Duration::from_millis(1_200));
        assert!(again.is_none(), "{again:?}");
        let answer = caller.ask(three, "BYE", None);
        assert_eq!((status(&answer.text), answer.from), (200, three));
        eventually(
            "the callee hears BYE",
            Duration::from_secs(5),
            || match callee.count("BYE") {
                heard if heard == number => Ok(()),
                heard => Err(format!("{heard}")),
            },
        );
        assert_eq!(callee.count("INFO"), 3 * number);
        assert_eq!(callee.count("ACK"), 2 * number);
    }

    println!("the callee hangs up at another node");
    let mut caller = Caller::place(Over::Udp, one, "90000000003");
    caller.acknowledge(one);
    eventually(
        "the callee's ACK",
        Duration::from_secs(5),
        || match callee.count("ACK") {
            5 => Ok(()),
            other => Err(format!("{other}")),
        },
    );
    callee.says(three, "BYE");
    let bye = caller.hear(one, Duration::from_secs(5)).expect("a BYE");
    assert!(bye.text.starts_with("BYE "), "{}", bye.text);
    assert_eq!(bye.from, one);
    caller.agree(&bye);
    eventually("the callee's answer", Duration::from_secs(5), || {
        let heard = callee.heard();
        let answer = heard.iter().find(|heard| status(&heard.text) > 0);
        match answer.map(|answer| (status(&answer.text), answer.from)) {
            Some((200, from)) if from == three => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });

    nothing_left(&switch, Duration::from_secs(10));
    let rows = switch.cdrs(2);
    assert_eq!(rows.len(), 3);
    for (row, ended_by) in rows.iter().zip(["caller", "caller", "callee"]) {
        assert_eq!(row.text("end_reason"), "normal", "{ended_by}");
    }
    assert!(passed_on(&switch, 2) >= 4 && passed_on(&switch, 3) >= 4);
    assert_eq!(passed_on(&switch, 1), 0);
    for node in 1..=3 {
        let lost = counted(
            &switch,
            node,
            "tandem_node_errands_total",
            "result=\"lost\"",
        );
        let full = counted(
            &switch,
            node,
            "tandem_node_errands_total",
            "result=\"full\"",
        );
        assert_eq!((lost, full), (0, 0));
    }
}

#[test]
fn names_of_no_call_are_refused_at_once_everywhere() {
    let switch = Switch::start();
    let callee = Callee::at(switch.plain_port());
    let [one, two, three] = [1, 2, 3].map(|node| switch.sip(node));
    for over in [Over::Udp, Over::Tcp] {
        let mut caller = Caller::place(over, one, "90000000001");
        caller.acknowledge(one);
        let to = caller.to.clone();
        let (head, token) = to.split_once(".c").expect("the tag ends in a token");
        let (epoch, count) = token.split_once('-').expect("of two numbers");
        let wrong = [
            // Another random part, another call of the tenure, a tenure that never was, no call at all.
            to.replace(".c", "0.c"),
            format!(
                "{}0000000000000000.c{token}",
                head.split_at(head.len() - 16).0
            ),
            format!("{head}.c{epoch}-{count}9"),
            format!("{head}.c99{epoch}-{count}"),
            format!("{head}.c{epoch}-0{count}"),
            format!("{head}.c18446744073709551616-1"),
            format!("{head}.{}", "x".repeat(32)),
            head.to_owned(),
            format!("{head}.c%00-\u{e9}"),
        ];
        for wrong in wrong {
            for node in [two, one] {
                caller.to.clone_from(&wrong);
                let answer = caller.ask(node, "BYE", None);
                assert_eq!((status(&answer.text), answer.from), (481, node), "{wrong}");
            }
            // Nobody answers an ACK, and nothing comes of it.
            let ack = caller.request("ACK", None);
            caller.say(three, &ack);
        }
        println!("{over:?}: the call goes on, and its right name counts until its end");
        caller.to.clone_from(&to);
        let answer = caller.ask(two, "BYE", None);
        assert_eq!((status(&answer.text), answer.from), (200, two));
        nothing_left(&switch, Duration::from_secs(10));
        for node in [one, two, three] {
            let answer = caller.ask(node, "BYE", None);
            assert_eq!((status(&answer.text), answer.from), (481, node));
        }
    }
    assert_eq!(callee.count("BYE"), 2);
    assert_eq!(switch.cdrs(3).len(), 2);
}

fn say(caller: &mut Caller, node: SocketAddr, method: &str) -> Heard {
    match method {
        "BYE" => caller.ask(node, "BYE", None),
        _ => caller.reoffer(node, node),
    }
}

#[test]
fn what_is_said_to_the_living_waits_until_they_have_the_calls_of_the_dead() {
    let switch = Switch::start();
    let callee = Callee::at(switch.plain_port());
    let nodes = [1, 2, 3].map(|node| switch.sip(node));
    // Who hangs up and who changes the session, over what, at which of the living.
    let said = [
        (Over::Udp, "BYE", nodes[1]),
        (Over::Tcp, "BYE", nodes[2]),
        (Over::Udp, "INVITE", nodes[2]),
        (Over::Tcp, "INVITE", nodes[1]),
    ];
    let mut callers: Vec<_> = said
        .into_iter()
        .zip(1..)
        .map(|((over, method, node), number)| {
            let mut caller = Caller::place(over, nodes[0], &format!("9000000000{number}"));
            caller.acknowledge(nodes[0]);
            (caller, method, node)
        })
        .collect();
    eventually("every ACK", Duration::from_secs(5), || {
        match callee.count("ACK") {
            4 => Ok(()),
            heard => Err(format!("{heard}")),
        }
    });
    switch.kill(1);
    std::thread::scope(|scope| {
        for (caller, method, node) in &mut callers {
            scope.spawn(move || {
                let mut answer = say(caller, *node, method);
                // Crosses what the new owner asks; that is over in a moment.
                while status(&answer.text) == 491 {
                    std::thread::sleep(Duration::from_millis(200));
                    answer = say(caller, *node, method);
                }
                assert_eq!(
                    (status(&answer.text), answer.from),
                    (200, *node),
                    "{method}"
                );
            });
        }
    });
    for (caller, method, node) in &mut callers {
        if *method != "BYE" {
            let answer = caller.ask(*node, "BYE", None);
            assert_eq!((status(&answer.text), answer.from), (200, *node));
        }
    }
    eventually("every BYE", Duration::from_secs(5), || {
        match callee.count("BYE") {
            4 => Ok(()),
            heard => Err(format!("{heard}")),
        }
    });
    eventually("four records", Duration::from_secs(10), || {
        match switch.cdrs(2).len() {
            4 => Ok(()),
            rows => Err(format!("{rows}")),
        }
    });
    for row in switch.cdrs(3) {
        assert_eq!(row.text("end_reason"), "normal");
    }
    let held = |node| {
        counted(
            &switch,
            node,
            "tandem_node_strays_total",
            "outcome=\"held\"",
        )
    };
    assert!(held(2) + held(3) >= 4, "{} {}", held(2), held(3));
}
