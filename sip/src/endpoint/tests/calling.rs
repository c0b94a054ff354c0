//! Outbound legs up to the ACK.

use super::*;

/// An outbound call that has been answered; the ACK is taken. Gives the INVITE too.
fn answered(bench: &mut Bench) -> (LegId, Message) {
    let leg = bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert_eq!(bench.heard(), ["answered sdp"]);
    bench.acknowledge(leg);
    assert_eq!(bench.said(), ["ACK"]);
    (leg, invite)
}

#[test]
fn an_invite_carries_what_was_dialled() {
    let mut bench = Bench::new();
    let mut dial = call();
    dial.headers = vec![(
        Bytes::from_static(b"P-Asserted-Identity"),
        Bytes::from_static(b"<sip:1@x>\r\nEvil: 1"),
    )];
    bench.dial(dial);
    let invite = bench.only();
    assert_eq!(invite.uri(), b"sip:170@10.0.0.2");
    assert_eq!(invite.max_forwards(), Some(69));
    assert_eq!(invite.from().uri, b"sip:0210@10.0.0.1");
    assert!(invite.from().tag().is_some() && invite.to().tag().is_none());
    assert_eq!(
        invite.contact().map(|contact| contact.uri),
        Some(&b"sip:10.0.0.1:5060"[..])
    );
    assert!(invite.top_via().unique_branch().is_some() && invite.top_via().rport.is_some());
    assert!(invite.has_sdp());
    assert!(invite.other(b"Evil").is_none(), "no value adds a header");
}

#[test]
fn call_ids_belong_to_the_shard_that_makes_them() {
    for shard in 0..4 {
        let mut bench = Bench::with(Config {
            shard,
            shards: 4,
            ..Config::default()
        });
        for _ in 0..8 {
            bench.dialled();
            let invite = bench.only();
            assert_eq!(
                crate::transport::shard_of(invite.call_id(), 4),
                shard as usize
            );
        }
    }
}

#[test]
fn an_unanswered_invite_is_repeated_and_given_up_by_timer_b() {
    let mut bench = Bench::new();
    bench.dialled();
    bench.pass_to(31_999);
    let moments: Vec<Millis> = bench.said_when().into_iter().map(|(at, _)| at).collect();
    assert_eq!(moments, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    bench.pass_to(32_000);
    assert_eq!(bench.heard(), ["ended: Timeout(Response)"]);
    bench.assert_empty();
}

#[test]
fn a_gateway_that_says_nothing_can_be_given_up_earlier() {
    let mut bench = Bench::new();
    bench.dial(Dial {
        no_response_ms: 4_000,
        ..call()
    });
    bench.pass_to(4_000);
    assert_eq!(bench.heard(), ["ended: Timeout(Response)"]);
    // It may still answer late.
    let invite = bench.sent[0].2.clone();
    bench.said();
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert_eq!(bench.said(), ["ACK", "BYE"]);
    assert!(bench.heard().is_empty());
    bench.assert_empty();
}

#[test]
fn progress_is_told_but_not_100() {
    let mut bench = Bench::new();
    bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 100, ""));
    bench.hear(reply_to(&invite, 180, "xt"));
    bench.hear(reply_to(&invite, 183, "xt").sdp());
    assert_eq!(bench.heard(), ["progress 180", "progress 183 sdp"]);
    bench.pass(100_000);
    assert!(
        bench.said().is_empty(),
        "no repeats after a provisional response"
    );
}

#[test]
fn an_answer_is_acknowledged_in_its_dialog() {
    let mut bench = Bench::new();
    let leg = bench.dialled();
    let invite = bench.only();
    assert!(bench.endpoint.dialog(leg).is_none());
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    bench.command(leg, Command::Ack { body: sdp() });
    let ack = bench.only();
    assert!(!ack.has_sdp(), "the offer was ours");
    assert_eq!(ack.uri(), b"sip:x@10.0.0.2:5060");
    assert_eq!(ack.cseq().0, invite.cseq().0);
    assert_eq!(ack.to().tag(), Some(&b"xt"[..]));
    assert_ne!(ack.top_via().branch, invite.top_via().branch);
    let dialog = bench.endpoint.dialog(leg).expect("it is answered");
    assert_eq!(
        (&dialog.remote_tag[..], dialog.initiator),
        (&b"xt"[..], true)
    );
}

#[test]
fn a_2xx_that_comes_again_is_acknowledged_again() {
    let mut bench = Bench::new();
    let (_, invite) = answered(&mut bench);
    bench.pass(31_000);
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert_eq!(bench.said(), ["ACK"]);
    assert!(bench.heard().is_empty());
    bench.pass(2_000);
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert!(bench.said().is_empty(), "timer M is over");
}

#[test]
fn an_answer_is_acknowledged_when_the_node_says_so_and_not_before() {
    let mut bench = Bench::new();
    let leg = bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert_eq!(bench.heard(), ["answered sdp"]);
    let mut copies = 0;
    for pause in [500, 1_000, 1_400] {
        bench.pass(pause);
        bench.hear(reply_to(&invite, 200, "xt").sdp());
        copies += 1;
    }
    assert!(
        bench.said().is_empty() && bench.heard().is_empty(),
        "after {copies} copies"
    );
    // What the far end asks meanwhile is answered as before any ACK.
    bench.hear(callee(&invite, "xt", "UPDATE", 1, "u1").sdp());
    bench.hear(callee(&invite, "xt", "INVITE", 2, "r1").sdp());
    assert_eq!(bench.said(), ["491 UPDATE", "491 INVITE"]);
    bench.hear(callee(&invite, "xt", "UPDATE", 3, "u2"));
    assert_eq!(bench.said(), ["200 UPDATE"]);
    assert!(bench.heard().is_empty(), "it is where it was");
    bench.acknowledge(leg);
    assert_eq!(bench.said(), ["ACK"]);
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert_eq!(bench.said(), ["ACK"]);
}

#[test]
fn an_answer_that_is_not_wanted_after_all_is_acknowledged_and_hung_up() {
    let mut bench = Bench::new();
    let leg = bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    bench.hang_up(leg, None);
    assert_eq!(bench.said(), ["ACK", "BYE"]);
    assert_eq!(bench.heard(), ["answered sdp", "ended: Local"]);
    bench.assert_empty();
}

#[test]
fn a_far_end_that_hangs_up_before_its_answer_is_acknowledged_gets_both() {
    let mut bench = Bench::new();
    bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    bench.hear(callee(&invite, "xt", "BYE", 1, "bye"));
    assert_eq!(bench.said(), ["200 BYE", "ACK"]);
    assert_eq!(bench.heard(), ["answered sdp", "ended: Bye"]);
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert_eq!(bench.said(), ["ACK"]);
    bench.assert_empty();
}

#[test]
fn a_fork_that_answers_meanwhile_is_hung_up_at_once_and_the_first_waits() {
    let mut bench = Bench::new();
    let leg = bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    bench.hear(reply_to(&invite, 200, "fork").sdp());
    assert_eq!(bench.last().to().tag(), Some(&b"fork"[..]));
    assert_eq!(bench.said(), ["ACK", "BYE"]);
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert!(bench.said().is_empty());
    bench.acknowledge(leg);
    assert_eq!(bench.only().to().tag(), Some(&b"xt"[..]));
}

#[test]
fn a_2xx_from_another_branch_of_a_fork_is_acknowledged_and_hung_up() {
    let mut bench = Bench::new();
    let (_, invite) = answered(&mut bench);
    bench.hear(
        reply_to(&invite, 200, "fork")
            .header("Record-Route: <sip:10.0.0.9;lr>")
            .sdp(),
    );
    assert_eq!(bench.last().to().tag(), Some(&b"fork"[..]));
    assert_eq!(bench.last().cseq().0, invite.cseq().0 + 1);
    assert_eq!(
        bench.last().header(Name::Route).as_deref(),
        Some(&b"<sip:10.0.0.9;lr>"[..])
    );
    assert_eq!(bench.sent[0].1.remote, address("10.0.0.9:5060"));
    assert_eq!(bench.said(), ["ACK", "BYE"]);
    bench.hear(reply_to(&invite, 200, "fork").sdp());
    assert_eq!(bench.said(), ["ACK"], "only the ACK again");
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert_eq!(bench.last().to().tag(), Some(&b"xt"[..]));
    assert!(bench.heard().is_empty());
}

#[test]
fn a_refusal_is_told_and_acknowledged_and_its_copies_too() {
    let mut bench = Bench::new();
    bench.dialled();
    let invite = bench.only();
    let busy = reply_to(&invite, 486, "xt").header("Retry-After: 30 (in a call);duration=5");
    bench.hear(busy.header("Reason: Q.850 ;cause=17;text=\"User busy\""));
    let ack = bench.only();
    assert_eq!(
        (ack.method(), ack.to().tag()),
        (&Method::Ack, Some(&b"xt"[..]))
    );
    assert_eq!(
        (ack.uri(), ack.top_via().branch),
        (invite.uri(), invite.top_via().branch)
    );
    let LegEvent::Ended(ended) = &bench.told[0].1 else {
        panic!("not ended")
    };
    assert!(matches!(
        ended.by,
        EndedBy::Refused {
            status: 486,
            retry_after_s: Some(30),
            ..
        }
    ));
    assert_eq!(ended.cause.as_ref().and_then(|cause| cause.q850), Some(17));
    assert_eq!(
        ended.cause.as_ref().and_then(|cause| cause.text.as_deref()),
        Some(&b"User busy"[..])
    );
    bench.hear(reply_to(&invite, 486, "xt"));
    assert_eq!(bench.said(), ["ACK"]);
    assert_eq!(bench.endpoint.counts().legs, 0);
    bench.assert_empty();
}

#[test]
fn case_ack_for_a_non_2xx_carries_the_route_of_the_invite() {
    let mut bench = Bench::new();
    let mut dial = call();
    dial.headers = vec![(
        Bytes::from_static(b"Route"),
        Bytes::from_static(b"<sip:10.0.0.2;lr>"),
    )];
    bench.dial(dial);
    let invite = bench.only();
    bench.hear(reply_to(&invite, 404, "xt"));
    assert_eq!(
        bench.only().header(Name::Route).as_deref(),
        Some(&b"<sip:10.0.0.2;lr>"[..])
    );
}

#[test]
fn case_ringing_longer_than_the_limit_is_cancelled_and_the_487_absorbed() {
    let mut bench = Bench::new();
    bench.dial(Dial {
        ringing_limit_ms: 60_000,
        ..call()
    });
    let invite = bench.only();
    bench.hear(reply_to(&invite, 180, "xt"));
    bench.pass_to(60_000);
    let cancel = bench.only();
    assert_eq!(cancel.method(), &Method::Cancel);
    assert_eq!(
        (cancel.uri(), cancel.top_via().branch),
        (invite.uri(), invite.top_via().branch)
    );
    assert_eq!(
        (cancel.cseq().0, cancel.to().tag()),
        (invite.cseq().0, None)
    );
    assert_eq!(bench.heard(), ["progress 180", "ended: Timeout(Ringing)"]);
    bench.hear(reply_to(&cancel, 200, "xt"));
    bench.hear(reply_to(&invite, 487, "xt"));
    assert_eq!(bench.said(), ["ACK"]);
    bench.hear(reply_to(&invite, 487, "xt"));
    assert_eq!(bench.said(), ["ACK"]);
    assert!(bench.heard().is_empty());
    bench.assert_empty();
}

#[test]
fn the_endpoints_own_ringing_limit_holds_where_none_is_dialled() {
    let mut bench = Bench::new();
    bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 183, "xt"));
    bench.pass_to(179_999);
    assert!(bench.said().is_empty());
    bench.pass_to(180_000);
    assert_eq!(bench.said(), ["CANCEL"]);
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut bench = Bench::new();
    let leg = bench.dialled();
    let invite = bench.only();
    bench.hang_up(leg, Some(Cause::q850(16)));
    assert_eq!(bench.heard(), ["ended: Local"]);
    assert!(bench.said().is_empty());
    bench.hear(reply_to(&invite, 100, ""));
    let cancel = bench.only();
    assert_eq!(
        cancel.header(Name::Reason).as_deref(),
        Some(&b"Q.850;cause=16"[..])
    );
    bench.hear(reply_to(&invite, 180, "xt"));
    assert!(bench.said().is_empty() && bench.heard().is_empty());
    bench.hear(reply_to(&invite, 487, "xt"));
    assert_eq!(bench.said(), ["ACK"]);
    bench.assert_empty();
}

#[test]
fn a_far_end_that_finishes_neither_cancel_nor_invite_is_not_waited_for() {
    let mut bench = Bench::new();
    let leg = bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 180, "xt"));
    bench.pass_to(10_000);
    bench.hang_up(leg, None);
    bench.pass_to(41_999);
    assert_eq!(bench.endpoint.counts().legs, 1);
    bench.pass_to(42_000);
    assert_eq!(bench.endpoint.counts(), Counts::default());
}

#[test]
fn a_delayed_offer_waits_for_the_nodes_answer() {
    let mut bench = Bench::new();
    let leg = bench.dial(Dial {
        body: None,
        ..call()
    });
    let invite = bench.only();
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert_eq!(bench.heard(), ["answered sdp"]);
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert!(bench.said().is_empty());
    bench.command(leg, Command::Ack { body: sdp() });
    let ack = bench.only();
    assert!(ack.has_sdp());
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    assert!(bench.only().has_sdp(), "the copy gets the same ACK");
    assert!(matches!(
        bench.refused(leg, Command::Ack { body: None }),
        CommandError::NotNow { .. }
    ));
}

#[test]
fn a_forgotten_ack_ends_the_leg() {
    let mut bench = Bench::new();
    bench.dial(Dial {
        body: None,
        ..call()
    });
    let invite = bench.only();
    bench.hear(reply_to(&invite, 200, "xt").sdp());
    bench.pass(32_000);
    assert_eq!(bench.said(), ["ACK", "BYE"]);
    assert_eq!(bench.heard(), ["answered sdp", "ended: Timeout(Ack)"]);
    bench.assert_empty();
}

#[test]
fn a_peer_that_cannot_be_reached_ends_the_leg_at_once() {
    let mut bench = Bench::new();
    bench.dialled();
    let other = Flow::udp(address(OURS), address("10.0.0.3:5060"));
    bench.endpoint.transport_failed(&other, bench.now);
    bench.drain();
    assert!(bench.heard().is_empty());
    bench.endpoint.transport_failed(&udp(), bench.now);
    bench.drain();
    assert_eq!(bench.heard(), ["ended: TransportFailed"]);
    bench.assert_empty();
}

#[test]
fn answers_that_match_nothing_are_dropped() {
    let mut bench = Bench::new();
    bench.dialled();
    let invite = bench.only();
    bench.hear(reply_to(&invite, 200, "xt").replace("z9hG4bK", "z9hG4bKf"));
    bench.hear(reply_to(&invite, 200, "xt").replace(" INVITE", " BYE"));
    bench.hear(reply_to(&invite, 200, "xt").header("Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1"));
    assert!(bench.heard().is_empty() && bench.said().is_empty());
}

#[test]
fn a_full_shard_refuses_to_dial_but_not_the_calls_it_has() {
    let mut bench = Bench::with(Config {
        legs_max: 1,
        ..Config::default()
    });
    let leg = bench.invited();
    bench.dialled();
    bench.said();
    let refused = bench.dialled();
    assert_eq!(bench.heard(), ["ended: refused 503"]);
    assert!(matches!(
        bench.refused(refused, Command::HangUp { cause: None }),
        CommandError::UnknownLeg(_)
    ));
    bench.hear(
        caller("INVITE", 1, "b1", "")
            .replace("call-1", "call-2")
            .sdp(),
    );
    assert_eq!(
        bench.last().header(Name::RetryAfter).as_deref(),
        Some(&b"5"[..])
    );
    assert_eq!(bench.said(), ["503 INVITE"]);
    bench.command(leg, Command::Answer { body: sdp() });
    assert_eq!(bench.said(), ["200 INVITE"]);
}
