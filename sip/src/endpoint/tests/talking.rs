//! What happens inside a dialog.

use super::*;

#[test]
fn case_bye_copy_gets_the_same_200() {
    let mut bench = Bench::new();
    bench.talking();
    let tag = bench.dialog_tag();
    bench.hear(caller("BYE", 2, "bye", &tag).header("Reason: Q.850;cause=16"));
    let first = bench.only();
    let LegEvent::Ended(ended) = &bench.told[0].1 else {
        panic!("not ended")
    };
    assert_eq!(
        (&ended.by, ended.cause.as_ref().and_then(|c| c.q850)),
        (&EndedBy::Bye, Some(16))
    );
    bench.pass(20_000);
    bench.hear(caller("BYE", 2, "bye", &tag).header("Reason: Q.850;cause=16"));
    assert_eq!(bench.only().as_bytes(), first.as_bytes());
    assert_eq!(bench.heard(), ["ended: Bye"]);
    bench.assert_empty();
}

#[test]
fn our_bye_goes_through_the_dialog_and_ends_with_its_answer() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    bench.hang_up(leg, Some(Cause::q850(16)));
    assert_eq!(bench.heard(), ["ended: Local"]);
    let bye = bench.only();
    assert_eq!(bye.uri(), b"sip:c@10.0.0.2:5060");
    assert_eq!(
        (bye.to().tag(), bye.from().uri),
        (Some(&b"ct"[..]), &b"sip:b@10.0.0.1"[..])
    );
    assert_eq!(
        bye.header(Name::Reason).as_deref(),
        Some(&b"Q.850;cause=16"[..])
    );
    assert!(matches!(
        bench.refused(leg, Command::HangUp { cause: None }),
        CommandError::UnknownLeg(_)
    ));
    bench.hear(reply_to(&bye, 200, ""));
    assert_eq!(bench.endpoint.counts().legs, 0);
    bench.assert_empty();
}

#[test]
fn case_non_invite_retransmission_starts_at_t1() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let start = bench.now;
    bench.hang_up(leg, None);
    bench.pass(40_000);
    let moments: Vec<Millis> = bench
        .said_when()
        .into_iter()
        .map(|(at, _)| at - start)
        .collect();
    assert_eq!(
        moments,
        [
            0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
        ]
    );
    bench.assert_empty();
}

#[test]
fn hanging_up_before_the_ack_waits_for_it() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.said();
    bench.hang_up(leg, Some(Cause::q850(41)));
    assert_eq!(bench.heard(), ["ended: Local"]);
    assert!(bench.said().is_empty());
    bench.pass(500);
    assert_eq!(bench.said(), ["200 INVITE"]);
    bench.hear(caller("ACK", 1, "a1ack", &tag));
    let bye = bench.only();
    assert_eq!(
        bye.header(Name::Reason).as_deref(),
        Some(&b"Q.850;cause=41"[..])
    );
    assert!(bench.heard().is_empty());
    bench.assert_empty();
}

#[test]
fn case_in_dialog_request_with_an_old_cseq_gets_500() {
    let mut bench = Bench::new();
    bench.talking();
    let tag = bench.dialog_tag();
    bench.hear(caller("INFO", 7, "i1", &tag));
    assert_eq!(bench.heard(), ["info"]);
    bench.hear(caller("BYE", 6, "old", &tag));
    let first = bench.only();
    assert_eq!(label(&first), "500 BYE");
    bench.hear(caller("BYE", 6, "old", &tag));
    assert_eq!(bench.only().as_bytes(), first.as_bytes());
    assert!(bench.heard().is_empty());
    bench.hear(caller("BYE", 8, "new", &tag));
    assert_eq!(bench.heard(), ["ended: Bye"]);
}

#[test]
fn case_two_requests_of_one_dialog_in_a_burst_are_handled_in_order() {
    let mut bench = Bench::new();
    bench.talking();
    let tag = bench.dialog_tag();
    bench.hear(caller("INFO", 2, "i1", &tag));
    bench.hear(caller("BYE", 3, "b1", &tag));
    assert_eq!(bench.heard(), ["info", "ended: Bye"]);
    assert_eq!(bench.said(), ["200 BYE", "487 INFO"]);
    bench.assert_empty();
}

#[test]
fn a_reinvite_is_accepted_with_hold_and_resume() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    for (cseq, branch) in [(2, "hold"), (3, "resume")] {
        bench.hear(caller("INVITE", cseq, branch, &tag).sdp());
        assert_eq!(bench.heard(), ["reoffered Invite sdp"]);
        bench.command(leg, Command::AcceptReoffer { body: sdp() });
        assert_eq!(bench.said(), ["100 INVITE", "200 INVITE"]);
        bench.pass(500);
        assert_eq!(bench.said(), ["200 INVITE"], "repeated until the ACK");
        bench.hear(caller("ACK", cseq, &format!("{branch}ack"), &tag));
        assert_eq!(bench.heard(), ["reconfirmed"]);
        bench.pass(5_000);
        assert!(bench.said().is_empty());
    }
}

#[test]
fn a_reinvite_without_offer_gets_ours_and_answers_in_the_ack() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    bench.hear(caller("INVITE", 2, "r1", &tag));
    assert_eq!(bench.heard(), ["reoffered Invite"]);
    bench.command(leg, Command::AcceptReoffer { body: sdp() });
    bench.hear(caller("ACK", 2, "r1ack", &tag).sdp());
    assert_eq!(bench.heard(), ["reconfirmed sdp"]);
}

#[test]
fn a_reinvite_that_is_refused_leaves_the_call_as_it_was() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    bench.hear(
        caller("INVITE", 2, "r1", &tag)
            .replace("c@10.0.0.2:5060>\r\n", "new@10.0.0.2>\r\n")
            .sdp(),
    );
    bench.command(leg, Command::RefuseReoffer { status: 488 });
    assert_eq!(bench.said(), ["100 INVITE", "488 INVITE"]);
    bench.hear(caller("ACK", 2, "r1", &tag));
    let dialog = bench.endpoint.dialog(leg).expect("it goes on");
    assert_eq!(&dialog.target[..], b"sip:c@10.0.0.2:5060");
    assert!(matches!(
        bench.refused(leg, Command::RefuseReoffer { status: 488 }),
        CommandError::NotNow { .. }
    ));
}

#[test]
fn a_reinvite_can_be_cancelled_and_the_call_goes_on() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    bench.hear(caller("INVITE", 2, "r1", &tag).sdp());
    bench.said();
    bench.hear(caller("CANCEL", 2, "r1", &tag));
    assert_eq!(bench.said(), ["200 CANCEL", "487 INVITE"]);
    assert_eq!(bench.heard(), ["reoffered Invite sdp"]);
    assert!(matches!(
        bench.refused(leg, Command::AcceptReoffer { body: None }),
        CommandError::NotNow { .. }
    ));
    assert_eq!(bench.endpoint.counts().legs, 1);
}

#[test]
fn case_target_refresh_by_reinvite_and_update_is_taken() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    let moved = |text: Text, to: &str| {
        text.replace(
            "Contact: <sip:c@10.0.0.2:5060>",
            &format!("Contact: <{to}>"),
        )
    };
    bench.hear(moved(caller("INVITE", 2, "r1", &tag), "sip:c@10.0.0.3:6060").sdp());
    bench.command(leg, Command::AcceptReoffer { body: sdp() });
    bench.hear(caller("ACK", 2, "r1ack", &tag));
    bench.heard();
    bench.said();
    bench.command(
        leg,
        Command::Info {
            content_type: Bytes::from_static(b"a/b"),
            bytes: Bytes::from_static(b"x"),
        },
    );
    assert_eq!(bench.sent[0].1.remote, address("10.0.0.3:6060"));
    assert_eq!(bench.only().uri(), b"sip:c@10.0.0.3:6060");

    bench.hear(moved(caller("UPDATE", 3, "u1", &tag), "sip:c@10.0.0.4").sdp());
    bench.command(leg, Command::AcceptReoffer { body: sdp() });
    assert_eq!(bench.said(), ["200 UPDATE"]);
    // An UPDATE without a body only refreshes; the node need not answer, and hears of it when there is something new.
    for (cseq, branch) in [(4, "u2"), (5, "u3")] {
        let refresh = caller("UPDATE", cseq, branch, &tag);
        bench.hear(moved(refresh, "sip:c@10.0.0.5"));
        assert_eq!(bench.said(), ["200 UPDATE"]);
    }
    assert_eq!(bench.heard(), ["reoffered Update sdp", "moved"]);
    let dialog = bench.endpoint.dialog(leg).expect("it stands");
    assert_eq!(dialog.target, "sip:c@10.0.0.5");
    bench.hang_up(leg, None);
    assert_eq!(bench.only().uri(), b"sip:c@10.0.0.5");
}

#[test]
fn our_reinvite_is_acknowledged_and_refreshes_the_target() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    bench.said();
    bench.reoffer(leg, Offer::Invite);
    let invite = bench.only();
    assert!(invite.contact().is_some() && invite.has_sdp());
    bench.hear(reply_to(&invite, 100, ""));
    bench.hear(
        reply_to(&invite, 200, "")
            .replace("sip:x@", "sip:moved@")
            .sdp(),
    );
    let ack = bench.only();
    assert_eq!(
        (ack.uri(), ack.cseq().0),
        (&b"sip:moved@10.0.0.2:5060"[..], invite.cseq().0)
    );
    assert_eq!(bench.heard(), ["reanswered 200 sdp"]);
    bench.hear(reply_to(&invite, 200, "").sdp());
    assert_eq!(bench.said(), ["ACK"]);
    assert!(bench.heard().is_empty());
}

#[test]
fn our_reinvite_without_offer_waits_for_the_nodes_ack() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    bench.said();
    bench.command(
        leg,
        Command::Reoffer {
            via: Offer::Invite,
            body: None,
        },
    );
    let invite = bench.only();
    bench.hear(reply_to(&invite, 200, "").sdp());
    assert_eq!(bench.heard(), ["reanswered 200 sdp"]);
    assert!(bench.said().is_empty());
    assert!(matches!(
        bench.refused(
            leg,
            Command::Reoffer {
                via: Offer::Invite,
                body: sdp()
            }
        ),
        CommandError::OfferPending(_)
    ));
    bench.command(leg, Command::Ack { body: sdp() });
    assert!(bench.only().has_sdp());
    bench.reoffer(leg, Offer::Update);
    assert_eq!(bench.said(), ["UPDATE"]);
}

#[test]
fn our_update_brings_the_answer() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    bench.said();
    bench.reoffer(leg, Offer::Update);
    let update = bench.only();
    bench.hear(
        reply_to(&update, 200, "")
            .replace("sip:x@", "sip:moved@")
            .sdp(),
    );
    assert_eq!(bench.heard(), ["reanswered 200 sdp"]);
    assert_eq!(
        &bench.endpoint.dialog(leg).expect("talking").target[..],
        b"sip:moved@10.0.0.2:5060"
    );
}

#[test]
fn a_far_end_that_knows_of_no_such_call_ends_it() {
    for status in [408, 481] {
        let mut bench = Bench::new();
        let leg = bench.talking();
        bench.said();
        bench.reoffer(leg, Offer::Invite);
        let invite = bench.only();
        bench.hear(reply_to(&invite, status, ""));
        assert_eq!(bench.said(), ["ACK", "BYE"]);
        assert_eq!(
            bench.heard(),
            [
                format!("reanswered {status}"),
                format!("ended: refused {status}")
            ]
        );
        bench.assert_empty();
    }
}

#[test]
fn a_far_end_that_does_not_answer_a_reoffer_ends_the_call() {
    for via in [Offer::Invite, Offer::Update] {
        let mut bench = Bench::new();
        let leg = bench.talking();
        bench.reoffer(leg, via);
        bench.pass(31_900);
        bench.said();
        bench.pass(100);
        assert_eq!(bench.said(), ["BYE"]);
        assert_eq!(bench.heard(), ["reanswered 408", "ended: Timeout(Dialog)"]);
        bench.assert_empty();
    }
}

#[test]
fn a_reinvite_that_rings_for_ever_is_given_up() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    bench.said();
    bench.reoffer(leg, Offer::Invite);
    let invite = bench.only();
    bench.hear(reply_to(&invite, 100, ""));
    bench.pass(64_000);
    assert_eq!(bench.heard(), ["reanswered 408", "ended: Timeout(Dialog)"]);
    bench.assert_empty();
}

#[test]
fn a_reinvite_that_only_ever_gets_100_outlives_its_call_by_no_more_than_its_bound() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    bench.said();
    bench.reoffer(leg, Offer::Invite);
    let invite = bench.only();
    bench.hang_up(leg, None);
    let bye = bench.only();
    bench.hear(reply_to(&bye, 200, ""));
    assert_eq!(bench.endpoint.counts().legs, 0);
    bench.hear(reply_to(&invite, 100, ""));
    bench.assert_empty();
}

#[test]
fn info_is_relayed_both_ways() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    bench.hear(caller("INFO", 2, "i1", &tag).body("application/dtmf-relay", "Signal=5\r\n"));
    let (
        _,
        LegEvent::Info {
            content_type,
            bytes,
            id,
        },
    ) = bench.told.remove(0)
    else {
        panic!("no info")
    };
    assert_eq!(
        (&content_type[..], &bytes[..]),
        (&b"application/dtmf-relay"[..], &b"Signal=5\r\n"[..])
    );
    bench.said();
    bench.pass(3_500);
    assert_eq!(bench.said(), ["100 INFO"], "RFC 4320: not before");
    bench.command(leg, Command::AnswerInfo { id, status: 415 });
    assert_eq!(bench.said(), ["415 INFO"]);
    assert!(matches!(
        bench.refused(leg, Command::AnswerInfo { id, status: 200 }),
        CommandError::NotNow { .. }
    ));

    bench.command(
        leg,
        Command::Info {
            content_type,
            bytes,
        },
    );
    let info = bench.only();
    assert_eq!(info.body_bytes(), b"Signal=5\r\n");
    bench.hear(reply_to(&info, 200, ""));
    assert_eq!(bench.heard(), ["info answered 200"]);
    bench.command(
        leg,
        Command::Info {
            content_type: Bytes::from_static(b"a/b"),
            bytes: Bytes::from_static(b"y"),
        },
    );
    bench.pass(32_000);
    assert_eq!(bench.heard(), ["info answered 408"]);
    assert_eq!(bench.endpoint.counts().legs, 1);
}

#[test]
fn an_info_nobody_answers_is_forgotten_in_silence() {
    let mut bench = Bench::new();
    bench.talking();
    let tag = bench.dialog_tag();
    bench.hear(caller("INFO", 2, "i1", &tag));
    bench.said();
    bench.pass(60_000);
    assert_eq!(bench.said(), ["100 INFO"], "RFC 4320: no 408");
    assert!(
        bench
            .endpoint
            .legs
            .slots()
            .all(|(_, leg)| leg.infos.is_empty())
    );
}

#[test]
fn inside_requests_that_are_not_served_are_refused_and_the_call_goes_on() {
    let mut bench = Bench::new();
    bench.talking();
    let tag = bench.dialog_tag();
    bench.said();
    let cases = [
        (caller("OPTIONS", 2, "r2", &tag), "200 OPTIONS"),
        (caller("REFER", 3, "r3", &tag), "405 REFER"),
        (caller("FOO", 4, "r4", &tag), "501 FOO"),
        (
            caller("INVITE", 5, "r5", &tag).body("text/plain", "hello"),
            "415 INVITE",
        ),
        (
            caller("INFO", 6, "r6", &tag).header("Require: foo"),
            "420 INFO",
        ),
    ];
    for (request, answer) in cases {
        bench.hear(request);
        assert_eq!(bench.said(), [answer]);
    }
    assert!(bench.heard().iter().all(|event| event == "confirmed"));
    assert_eq!(bench.endpoint.counts().legs, 1);
}

#[test]
fn a_request_with_another_far_tag_is_no_part_of_the_dialog() {
    let mut bench = Bench::new();
    bench.talking();
    let tag = bench.dialog_tag();
    bench.said();
    bench.hear(caller("BYE", 2, "b1", &tag).replace("tag=ct", "tag=evil"));
    assert_eq!(bench.said(), ["481 BYE"]);
    bench.hear(caller("BYE", 2, "b2", &tag).replace("call-1", "call-2"));
    assert_eq!(bench.said(), ["481 BYE"]);
    assert_eq!(bench.endpoint.counts().legs, 1);
}

#[test]
fn a_dialog_goes_on_in_another_node() {
    let mut bench = Bench::new();
    let leg = bench.talking();
    let tag = bench.dialog_tag();
    let dialog = bench.endpoint.dialog(leg).expect("it is answered");
    let stored = serde_json::to_vec(&dialog).expect("a dialog can be written");
    let mut read: Dialog = serde_json::from_slice(&stored).expect("and read");
    assert_eq!(read, dialog);

    let mut other = Bench::new();
    other.endpoint = Endpoint::new(Config::default(), 99);
    read.flow.local = address("10.0.0.8:5060");
    read.flow.connection = Some(ConnectionId(3));
    let leg = other.endpoint.adopt(read.clone(), 0);
    assert_eq!(other.endpoint.adopt(read, 0), leg);
    other.command(
        leg,
        Command::Reoffer {
            via: Offer::Invite,
            body: sdp(),
        },
    );
    assert_eq!(
        other.sent[0].1.connection, None,
        "that was a connection of the other node"
    );
    let invite = other.only();
    assert!(invite.cseq().0 >= dialog.local_cseq + 1_000);
    assert_eq!(
        invite.contact().map(|contact| contact.uri),
        Some(&b"sip:10.0.0.8:5060"[..])
    );
    other.hear(reply_to(&invite, 200, "").sdp());
    other.hear(caller("BYE", 2, "bye", &tag));
    assert_eq!(other.said(), ["ACK", "200 BYE"]);
    assert_eq!(other.heard(), ["reanswered 200 sdp", "ended: Bye"]);
    other.assert_empty();
}

#[test]
fn a_bye_with_a_slip_in_it_still_ends_the_call() {
    let mut bench = Bench::new();
    bench.talking();
    let tag = bench.dialog_tag();
    bench.said();
    bench.hear(caller("BYE", 2, "bye", &tag).replace("Max-Forwards: 70", "Max-Forwards: lots"));
    assert_eq!(bench.said(), ["200 BYE"]);
    assert_eq!(bench.heard(), ["ended: Bye"]);
}
