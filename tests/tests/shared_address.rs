//! One address for all nodes: calls stay at the node that took them wherever the address goes.

use std::time::Duration;
use tandem_tests::apart::Apart;
use tandem_tests::ends::{Callee, Caller, Over, cancel_of};
use tandem_tests::eventually;
use tandem_tests::wire::status;

const LIMIT: Duration = Duration::from_secs(5);

#[track_caller]
fn hears(callee: &Callee, what: &str, count: usize) {
    eventually(what, LIMIT, || match callee.count(what) {
        heard if heard == count => Ok(()),
        heard => Err(format!("{heard} instead of {count}")),
    });
}

#[test]
fn calls_go_on_and_end_in_order_when_the_address_moves() {
    let switch = Apart::start();
    let shared = switch.shared();
    switch.move_to(None, 1);

    let callee = Callee::on(switch.carrier(), true);
    let mut callers: Vec<Caller> = ["90000000001", "90000000002"]
        .into_iter()
        .map(|number| {
            let mut caller = Caller::new(switch.own(), Over::Udp, shared, number);
            caller.invite(shared);
            assert_eq!(caller.target, format!("sip:{shared}"));
            caller.acknowledge(shared);
            caller
        })
        .collect();
    hears(&callee, "ACK", 2);

    println!("the address moves: what customers say still reaches the call");
    switch.move_to(Some(1), 2);
    for caller in &mut callers {
        let told = ("application/dtmf-relay", "Signal=5\r\n");
        let answer = caller.ask(shared, "INFO", Some(told));
        assert_eq!((status(&answer.text), answer.from), (200, shared));
        let answer = caller.reoffer(shared, shared);
        assert_eq!((status(&answer.text), answer.from), (200, shared));
        assert!(
            answer.text.contains(&format!("Contact: <sip:{shared}>")),
            "{}",
            answer.text
        );
    }
    hears(&callee, "INFO", 2);
    hears(&callee, "ACK", 4);

    println!("and what the switch says reaches the customers, though they say nothing before");
    switch.move_to(Some(2), 3);
    callee.says(switch.sip(1), "BYE");
    let mut last = callers.pop().expect("two");
    let bye = last.hear(shared, LIMIT).expect("a BYE");
    assert!(bye.text.starts_with("BYE "), "{}", bye.text);
    assert_eq!(bye.from, shared);
    last.agree(&bye);
    // Heard by the node that said it, or it would come again.
    let again = last.hear(shared, Duration::from_millis(1_500));
    assert!(again.is_none(), "{again:?}");
    let mut first = callers.pop().expect("one");
    let answer = first.ask(shared, "BYE", None);
    assert_eq!((status(&answer.text), answer.from), (200, shared));
    hears(&callee, "BYE", 1);
    drop(callee);

    println!("a call in set-up when the address moves can be given up");
    let callee = Callee::on(switch.carrier(), false);
    let mut caller = Caller::new(switch.own(), Over::Udp, shared, "90000000003");
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n";
    let invite = caller.request("INVITE", Some(("application/sdp", sdp)));
    caller.say(shared, &invite);
    while status(&caller.hear(shared, LIMIT).expect("it rings").text) != 180 {}
    switch.move_to(Some(3), 1);
    // A copy is no second call.
    caller.say(shared, &invite);
    let copy = caller.hear(shared, LIMIT).expect("the answer again");
    assert_eq!((status(&copy.text), copy.from), (180, shared));
    let answer = caller.exchange(shared, &cancel_of(&invite), LIMIT);
    let answer = answer.expect("an answer to CANCEL");
    assert_eq!((status(&answer.text), answer.from), (200, shared));
    let refusal = caller.hear(shared, LIMIT).expect("the end of the INVITE");
    assert_eq!((status(&refusal.text), refusal.from), (487, shared));
    hears(&callee, "CANCEL", 1);
    assert_eq!(callee.count("INVITE"), 1);

    eventually("three records", LIMIT, || match switch.cdrs(1) {
        rows if rows.len() == 3 => Ok(()),
        rows => Err(format!("{rows:?}")),
    });
    let mut reasons: Vec<String> = switch
        .cdrs(1)
        .iter()
        .map(|row| row.text("end_reason").to_owned())
        .collect();
    reasons.sort();
    assert_eq!(reasons, ["cancelled", "normal", "normal"]);
}

#[test]
fn calls_of_a_dead_node_go_on_behind_the_address_wherever_they_live_then() {
    const CALLS: usize = 6;
    let switch = Apart::start();
    let shared = switch.shared();
    switch.move_to(None, 1);
    let callee = Callee::on(switch.carrier(), true);
    let mut callers: Vec<Caller> = (0..CALLS)
        .map(|number| {
            let callee = format!("9000000000{number}");
            let mut caller = Caller::new(switch.own(), Over::Udp, shared, &callee);
            caller.invite(shared);
            caller.acknowledge(shared);
            caller
        })
        .collect();
    hears(&callee, "ACK", CALLS);
    switch.kill(1);
    // Two and three carry the calls on; the address is with two alone.
    switch.hand_over(1, 2);
    std::thread::scope(|scope| {
        for caller in &mut callers {
            scope.spawn(move || {
                let told = ("application/dtmf-relay", "Signal=5\r\n");
                let answer = caller.ask(shared, "INFO", Some(told));
                assert_eq!((status(&answer.text), answer.from), (200, shared));
                while caller.agreed.is_empty() {
                    let asked = caller.hear(shared, LIMIT).expect("word of the new owner");
                    if status(&asked.text) == 0 {
                        caller.agree(&asked);
                    }
                }
                let moved = &caller.agreed[0];
                assert_eq!(moved.from, shared);
                let contact = format!("Contact: <sip:{shared}>");
                assert!(moved.text.contains(&contact), "{}", moved.text);
                let answer = caller.ask(shared, "BYE", None);
                assert_eq!((status(&answer.text), answer.from), (200, shared));
            });
        }
    });
    hears(&callee, "BYE", CALLS);
    eventually("the records", LIMIT, || match switch.cdrs(2) {
        rows if rows.len() == CALLS => Ok(()),
        rows => Err(format!("{rows:?}")),
    });
    for row in switch.cdrs(3) {
        assert_eq!(row.text("end_reason"), "normal");
    }
}
