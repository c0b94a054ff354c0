//! A dialog that changes its node: what the new one says first, and what the old one says no more.

use super::*;

#[test]
fn an_update_without_a_body_tells_our_contact_alone() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    bench.said();
    let (via, body) = (Offer::Update, None);
    bench.command(leg, Command::Reoffer { via, body });
    let update = bench.only();
    assert_eq!(label(&update), "UPDATE");
    assert!(update.body_bytes().is_empty());
    assert_eq!(
        update.contact().map(|contact| contact.uri),
        Some(&b"sip:10.0.0.1:5060"[..])
    );
    bench.hear(reply_to(&update, 200, ""));
    assert_eq!(bench.heard(), ["reanswered 200"]);
    assert!(bench.said().is_empty(), "nothing to acknowledge");
}

#[test]
fn whether_a_far_end_takes_update_is_what_it_said_at_the_beginning() {
    for (allow, takes) in [
        ("Allow: INVITE, ACK, UPDATE, BYE", true),
        ("Allow: INVITE, ACK, BYE", false),
        ("Subject: UPDATE", false),
    ] {
        let mut bench = Bench::new();
        bench.hear(caller("INVITE", 1, "a1", "").header(allow).sdp());
        let (leg, _) = bench.told.remove(0);
        let dialog = bench.endpoint.dialog(leg).expect("an inbound leg has one");
        assert_eq!(dialog.takes_update, takes, "caller: {allow}");

        let mut bench = Bench::new();
        let leg = bench.dialled();
        let invite = bench.only();
        bench.hear(reply_to(&invite, 200, "t").header(allow).sdp());
        let dialog = bench.endpoint.dialog(leg).expect("it is answered");
        assert_eq!(dialog.takes_update, takes, "callee: {allow}");
    }
}

#[test]
fn a_forgotten_leg_says_nothing_more() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let (via, body) = (Offer::Invite, sdp());
    bench.command(leg, Command::Reoffer { via, body });
    bench.said();
    bench.endpoint.forget(leg);
    bench.endpoint.forget(leg);
    bench.assert_empty();
    assert!(bench.said().is_empty() && bench.heard().is_empty());
    assert!(
        bench
            .endpoint
            .command(leg, Command::HangUp { cause: None }, 0)
            .is_err()
    );
}

#[test]
fn a_forgotten_leg_leaves_its_answer_unrepeated() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.command(leg, Command::Answer { body: sdp() });
    assert_eq!(bench.said(), ["200 INVITE"]);
    bench.endpoint.forget(leg);
    bench.hear(caller("INVITE", 1, "a1", "").sdp());
    bench.pass(40_000);
    assert!(bench.said().is_empty() && bench.heard().is_empty());
    bench.assert_empty();
}
