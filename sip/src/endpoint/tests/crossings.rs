//! Messages that cross on the wire.

use super::*;

#[test]
fn an_answer_that_crosses_cancel_is_hung_up() {
    let mut bench = Bench::new();
    let leg = bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 180, "xt"));
    bench.hang_up(leg, Some(Cause::q850(16)));
    assert_eq!(bench.said(), ["CANCEL"]);
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert_eq!(
        bench.last().header(Name::Reason).as_deref(),
        Some(&b"Q.850;cause=16"[..])
    );
    assert_eq!(bench.said(), ["ACK", "BYE"]);
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert_eq!(bench.said(), ["ACK"]);
    assert_eq!(bench.heard(), ["progress 180", "ended: Local"]);
    bench.assert_empty();
}

#[test]
fn an_answer_that_comes_instead_of_the_first_provisional_is_hung_up_too() {
    let mut bench = Bench::new();
    let leg = bench.dialled();
    let invite = bench.only();
    bench.hang_up(leg, None);
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert_eq!(bench.said(), ["ACK", "BYE"]);
    assert_eq!(bench.heard(), ["ended: Local"]);
    bench.assert_empty();
}

#[test]
fn a_cancel_that_crosses_our_200_changes_nothing() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.said();
    bench.hear(caller("CANCEL", 1, "a1", ""));
    assert_eq!(bench.said(), ["200 CANCEL"]);
    bench.hear(caller("ACK", 1, "a1ack", &tag));
    assert_eq!(bench.heard(), ["confirmed"]);
}

#[test]
fn byes_that_cross_are_both_answered() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    bench.said();
    bench.hang_up(leg, None);
    let bye = bench.only();
    bench.hear(caller("BYE", 2, "bye", &tag));
    assert_eq!(bench.said(), ["200 BYE"]);
    bench.hear(reply_to(&bye, 200, ""));
    assert_eq!(bench.heard(), ["ended: Local"]);
    bench.assert_empty();
}

#[test]
fn a_reinvite_that_crosses_our_bye_gets_481() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    bench.said();
    bench.hang_up(leg, None);
    bench.hear(caller("INVITE", 2, "r1", &tag).sdp());
    assert_eq!(bench.said(), ["BYE", "481 INVITE"]);
    assert_eq!(bench.heard(), ["ended: Local"]);
    bench.assert_empty();
}

#[test]
fn a_bye_that_crosses_our_reinvite_ends_the_call_and_a_late_2xx_is_still_acknowledged() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    bench.said();
    bench.reoffer(leg, Offer::Invite);
    let invite = bench.only();
    bench.hear(caller("BYE", 2, "bye", &tag));
    assert_eq!(bench.said(), ["200 BYE"]);
    bench.hear(reply_to(&invite, 200, "").sdp());
    assert_eq!(bench.said(), ["ACK"]);
    assert_eq!(bench.heard(), ["ended: Bye"]);
    bench.assert_empty();
}

#[test]
fn a_bye_answers_the_reinvite_that_the_node_had_not() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    bench.hear(caller("INVITE", 2, "r1", &tag).sdp());
    bench.said();
    bench.hear(caller("BYE", 3, "bye", &tag));
    assert_eq!(bench.said(), ["200 BYE", "487 INVITE"]);
    assert!(matches!(
        bench.refused(leg, Command::AcceptReoffer { body: None }),
        CommandError::UnknownLeg(_)
    ));
    bench.assert_empty();
}

#[test]
fn hanging_up_with_a_reinvite_unanswered_refuses_it() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    bench.hear(caller("INVITE", 2, "r1", &tag).sdp());
    bench.said();
    bench.hang_up(leg, None);
    assert_eq!(bench.said(), ["487 INVITE", "BYE"]);
    bench.assert_empty();
}

#[test]
fn reinvites_that_cross_get_491_and_a_time_to_come_again() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    bench.said();
    bench.reoffer(leg, Offer::Invite);
    let invite = bench.only();
    bench.hear(caller("INVITE", 2, "r1", &tag).sdp());
    assert_eq!(bench.said(), ["491 INVITE"]);
    bench.hear(caller("ACK", 2, "r1", &tag));
    bench.hear(caller("UPDATE", 3, "u1", &tag).sdp());
    assert_eq!(bench.said(), ["491 UPDATE"]);
    bench.heard();
    bench.hear(reply_to(&invite, 491, ""));
    let LegEvent::Reanswered {
        status: 491,
        retry_after_ms: Some(wait),
        ..
    } = bench.told[0].1
    else {
        panic!("no answer")
    };
    assert!(
        wait <= 2_000,
        "the far end owns the Call-ID, so we come again first"
    );
    bench.said();
    bench.reoffer(leg, Offer::Invite);
    assert_eq!(bench.said(), ["INVITE"]);
}

#[test]
fn the_owner_of_the_call_id_waits_longer() {
    let mut bench = Bench::new();
    let leg = bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    bench.acknowledge(leg);
    bench.said();
    bench.heard();
    bench.reoffer(leg, Offer::Invite);
    let invite = bench.only();
    bench.hear(reply_to(&invite, 491, ""));
    let LegEvent::Reanswered {
        retry_after_ms: Some(wait),
        ..
    } = bench.told[0].1
    else {
        panic!("no answer")
    };
    assert!((2_100..=4_000).contains(&wait), "{wait}");
}

#[test]
fn a_second_offer_before_the_first_is_answered_gets_500() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    bench.hear(caller("INVITE", 2, "r1", &tag).sdp());
    bench.said();
    bench.hear(caller("UPDATE", 3, "u1", &tag).sdp());
    assert!(bench.last().header(Name::RetryAfter).is_some());
    bench.hear(caller("INVITE", 4, "r2", &tag).sdp());
    assert!(bench.last().header(Name::RetryAfter).is_some());
    assert_eq!(bench.said(), ["500 UPDATE", "500 INVITE"]);
    assert!(matches!(
        bench.refused(
            leg,
            Command::Reoffer {
                via: Offer::Update,
                body: sdp()
            }
        ),
        CommandError::OfferPending(_)
    ));
    bench.command(leg, Command::AcceptReoffer { body: sdp() });
    assert_eq!(bench.said(), ["200 INVITE"]);
}

#[test]
fn a_reinvite_before_the_call_is_answered_comes_too_early() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.command(
        leg,
        Command::Progress {
            status: 183,
            body: sdp(),
        },
    );
    let tag = bench.our_tag();
    bench.said();
    bench.hear(caller("INVITE", 2, "r1", &tag).sdp());
    bench.hear(caller("UPDATE", 3, "u1", &tag).sdp());
    assert_eq!(bench.said(), ["500 INVITE", "500 UPDATE"]);
    assert!(bench.heard().is_empty());
}

#[test]
fn a_reinvite_that_overtakes_the_ack_stands_for_it() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.said();
    bench.hear(caller("INVITE", 2, "r1", &tag).sdp());
    assert_eq!(bench.heard(), ["confirmed", "reoffered Invite sdp"]);
    bench.hear(caller("ACK", 1, "a1ack", &tag));
    bench.command(leg, Command::AcceptReoffer { body: sdp() });
    bench.said();
    bench.pass(500);
    assert_eq!(bench.said(), ["200 INVITE"], "only the new 2xx is repeated");
}

#[test]
fn a_reinvite_that_overtakes_an_ack_with_the_answer_has_to_wait() {
    let mut bench = Bench::new();
    bench.hear(caller("INVITE", 1, "a1", ""));
    let (leg, _) = bench.told.remove(0);
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.said();
    bench.hear(caller("INVITE", 2, "r1", &tag).sdp());
    assert_eq!(bench.said(), ["491 INVITE"]);
    bench.hear(caller("ACK", 1, "a1ack", &tag).sdp());
    assert_eq!(bench.heard(), ["confirmed sdp"]);
}

#[test]
fn a_bye_that_overtakes_the_200_ends_the_leg_and_the_200_is_settled() {
    let mut bench = Bench::new();
    bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 180, "xt"));
    bench.hear(callee(&invite, "xt", "BYE", 1, "bye"));
    assert_eq!(bench.said(), ["200 BYE", "CANCEL"]);
    assert_eq!(bench.heard(), ["progress 180", "ended: Bye"]);
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert_eq!(bench.said(), ["ACK", "BYE"]);
    bench.assert_empty();
}

#[test]
fn early_dialogs_count_their_own_requests() {
    let mut bench = Bench::new();
    let leg = bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 183, "one").sdp());
    bench.hear(reply_to(&invite, 183, "two").sdp());
    bench.heard();
    bench.hear(callee(&invite, "one", "INFO", 50, "i1"));
    bench.hear(callee(&invite, "two", "INFO", 7, "i2"));
    bench.hear(callee(&invite, "two", "INFO", 6, "i3"));
    assert_eq!(bench.heard(), ["info", "info"]);
    assert_eq!(bench.said(), ["500 INFO"]);
    bench.hear(callee(&invite, "one", "UPDATE", 51, "u1").sdp());
    assert_eq!(
        bench.said(),
        ["491 UPDATE"],
        "our offer is not answered yet"
    );
    bench.hear(reply_to(&invite, 200, "two").sdp());
    assert_eq!(
        bench.endpoint.dialog(leg).expect("answered").remote_cseq,
        Some(7)
    );
    bench.said();
    bench.hear(callee(&invite, "one", "INFO", 52, "i4"));
    assert_eq!(bench.said(), ["481 INFO"], "that early dialog is over");
}

#[test]
fn hanging_up_while_owing_an_ack_sends_it_first() {
    let mut bench = Bench::new();
    let leg = bench.dial(Dial {
        body: None,
        ..call()
    });
    let invite = bench.only();
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    bench.hang_up(leg, None);
    assert_eq!(bench.said(), ["ACK", "BYE"]);
    bench.assert_empty();
}
