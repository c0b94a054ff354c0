//! Inbound legs up to the ACK.

use super::*;

#[test]
fn an_invite_gets_100_at_once_and_is_told() {
    let mut bench = Bench::new();
    bench.hear(
        caller("INVITE", 1, "a1", "")
            .header("P-Asserted-Identity: <sip:%2B8610@x>, <tel:+8610>")
            .sdp(),
    );
    let trying = bench.only();
    assert_eq!(label(&trying), "100 INVITE");
    assert_eq!(trying.to().tag(), None, "a 100 makes no dialog");
    let LegEvent::Invited(invited) = &bench.told[0].1 else {
        panic!("not invited")
    };
    assert_eq!(
        (invited.from_user.as_str(), invited.uri_user.as_str()),
        ("c", "b")
    );
    assert_eq!(
        (
            invited.from_display.as_str(),
            invited.max_forwards,
            invited.via_count
        ),
        ("C", 70, 1)
    );
    assert_eq!(
        invited.p_asserted_identity.as_deref(),
        Some(&b"<sip:%2B8610@x>"[..])
    );
    assert_eq!(invited.received_from, address(THEIRS));
    assert_eq!(invited.body, sdp());
}

#[test]
fn a_delayed_100_goes_out_only_when_nothing_else_did() {
    let config = Config {
        trying_delay_ms: 200,
        ..Config::default()
    };
    let mut bench = Bench::with(config.clone());
    bench.hear(caller("INVITE", 1, "a1", "").sdp());
    assert!(bench.said().is_empty());
    bench.pass(200);
    assert_eq!(bench.said_when(), [(200, "100 INVITE".into())]);

    let mut bench = Bench::with(config);
    bench.hear(caller("INVITE", 1, "a1", "").sdp());
    let leg = bench.told[0].0;
    bench.ring(leg);
    bench.pass(1_000);
    assert_eq!(bench.said(), ["180 INVITE"]);
}

#[test]
fn case_invite_copy_while_ringing_gets_the_last_provisional_again() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.hear(caller("INVITE", 1, "a1", "").sdp());
    assert_eq!(bench.said(), ["100 INVITE"]);
    bench.command(
        leg,
        Command::Progress {
            status: 183,
            body: sdp(),
        },
    );
    bench.said();
    bench.hear(caller("INVITE", 1, "a1", "").sdp());
    let again = bench.only();
    assert_eq!(label(&again), "183 INVITE");
    assert!(again.has_sdp());
    assert!(bench.heard().is_empty());
}

#[test]
fn case_180_has_a_to_tag_that_the_200_repeats() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.ring(leg);
    let ringing = bench.only();
    let tag = ringing
        .to()
        .tag()
        .expect("a 180 makes an early dialog")
        .to_vec();
    assert!(ringing.contact().is_some());
    bench.command(leg, Command::Answer { body: sdp() });
    let ok = bench.only();
    assert_eq!(ok.to().tag(), Some(&tag[..]));
    assert!(ok.contact().is_some() && ok.header(Name::Allow).is_some() && ok.has_sdp());
}

#[test]
fn ringing_for_long_is_said_again_every_minute() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.ring(leg);
    bench.said();
    bench.pass_to(125_000);
    assert_eq!(
        bench.said_when(),
        [
            (60_000, "180 INVITE".into()),
            (120_000, "180 INVITE".into())
        ]
    );
}

#[test]
fn an_inbound_leg_nobody_decides_about_is_refused() {
    let mut bench = Bench::new();
    bench.invited();
    bench.pass_to(240_000);
    assert_eq!(bench.said(), ["408 INVITE"]);
    assert_eq!(bench.heard(), ["ended: Timeout(Setup)"]);
    bench.assert_empty();
}

#[test]
fn case_cancel_while_ringing_gets_200_and_487_again_until_its_ack() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.ring(leg);
    let tag = bench.our_tag();
    bench.said();
    bench.hear(
        caller("CANCEL", 1, "a1", "")
            .header("Reason: SIP;cause=200;text=\"Call completed elsewhere\""),
    );
    assert_eq!(bench.last().to().tag(), Some(tag.as_bytes()));
    assert_eq!(bench.said(), ["200 CANCEL", "487 INVITE"]);
    let LegEvent::Ended(ended) = &bench.told[0].1 else {
        panic!("not ended")
    };
    assert_eq!(ended.by, EndedBy::Cancelled);
    let cause = ended.cause.as_ref().expect("a reason was given");
    assert_eq!(
        (cause.sip, cause.text.as_deref()),
        (Some(200), Some(&b"Call completed elsewhere"[..]))
    );

    bench.pass_to(4_000);
    let again = |at| (at, String::from("487 INVITE"));
    assert_eq!(bench.said_when(), [again(500), again(1_500), again(3_500)]);
    bench.hear(caller("CANCEL", 1, "a1", ""));
    assert_eq!(bench.said(), ["200 CANCEL"], "a copy gets the same");
    bench.hear(caller("ACK", 1, "a1", &tag));
    bench.pass(4_000);
    assert!(bench.said().is_empty());
    assert!(matches!(
        bench.refused(leg, Command::Answer { body: None }),
        CommandError::UnknownLeg(_)
    ));
    bench.assert_empty();
}

#[test]
fn case_invite_copy_after_the_ack_of_a_487_is_absorbed() {
    let mut bench = Bench::new();
    bench.invited();
    bench.hear(caller("CANCEL", 1, "a1", ""));
    let tag = bench.our_tag();
    bench.hear(caller("ACK", 1, "a1", &tag));
    bench.said();
    bench.pass(4_900);
    bench.hear(caller("INVITE", 1, "a1", "").sdp());
    assert!(bench.said().is_empty());
    assert_eq!(bench.heard(), ["ended: Cancelled"]);
    bench.assert_empty();
}

#[test]
fn case_2xx_not_acked_is_repeated_to_32_s_and_then_hung_up() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.command(leg, Command::Answer { body: sdp() });
    assert_eq!(bench.said(), ["200 INVITE"]);
    bench.pass_to(31_999);
    let moments: Vec<Millis> = bench.said_when().into_iter().map(|(at, _)| at).collect();
    assert_eq!(
        moments,
        [
            500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
        ]
    );
    assert!(bench.heard().is_empty());
    bench.pass_to(32_000);
    assert_eq!(bench.said(), ["BYE"]);
    assert_eq!(bench.heard(), ["ended: Timeout(Ack)"]);
    bench.assert_empty();
}

#[test]
fn a_2xx_is_repeated_over_a_stream_as_well() {
    let mut bench = Bench::new();
    bench.flow = tcp();
    let leg = bench.invited();
    bench.command(leg, Command::Answer { body: sdp() });
    bench.pass_to(1_600);
    assert_eq!(bench.said(), ["200 INVITE"; 3]);
}

#[test]
fn case_invite_copy_after_2xx_is_absorbed_before_and_after_the_ack() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.said();
    bench.hear(caller("INVITE", 1, "a1", "").sdp());
    assert!(bench.said().is_empty(), "the 2xx has its own clock");
    bench.hear(caller("ACK", 1, "a1ack", &tag));
    assert_eq!(bench.heard(), ["confirmed"]);
    bench.pass(31_000);
    bench.hear(caller("INVITE", 1, "a1", "").sdp());
    bench.hear(caller("ACK", 1, "a1ack", &tag));
    assert!(bench.said().is_empty() && bench.heard().is_empty());
}

#[test]
fn case_merged_invite_gets_482() {
    let mut bench = Bench::new();
    bench.invited();
    bench.hear(caller("INVITE", 1, "other", "").sdp());
    assert_eq!(bench.said(), ["482 INVITE"]);
    assert!(bench.heard().is_empty());
    // Once the first is over the same numbers are a new call again.
    bench.hear(caller("CANCEL", 1, "a1", ""));
    let tag = bench.our_tag();
    bench.hear(caller("ACK", 1, "a1", &tag));
    bench.pass(6_000);
    bench.said();
    bench.hear(caller("INVITE", 1, "third", "").sdp());
    assert_eq!(bench.said(), ["100 INVITE"]);
}

#[test]
fn case_cancel_for_no_transaction_gets_481() {
    let mut bench = Bench::new();
    bench.hear(caller("CANCEL", 1, "a1", ""));
    assert_eq!(bench.said(), ["481 CANCEL"]);
    bench.assert_empty();
}

#[test]
fn a_refusal_says_why() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    let cause = Cause {
        q850: Some(34),
        sip: None,
        text: Some(Bytes::from_static(b"no \"axb\"\r\nnumber")),
    };
    bench.command(
        leg,
        Command::Refuse {
            status: 503,
            reason: Some(Bytes::from_static(b"No Number")),
            retry_after_s: Some(7),
            cause: Some(cause),
        },
    );
    let refusal = bench.only();
    assert_eq!(
        (refusal.status(), refusal.reason()),
        (503, &b"No Number"[..])
    );
    assert_eq!(refusal.header(Name::RetryAfter).as_deref(), Some(&b"7"[..]));
    let reason = refusal.header(Name::Reason).expect("a cause was given");
    assert_eq!(reason.as_ref(), b"Q.850;cause=34;text=\"no axbnumber\"");
    assert_eq!(bench.heard(), ["ended: Local"]);
    bench.assert_empty();
}

#[test]
fn hanging_up_before_the_answer_is_487() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.hang_up(leg, Some(Cause::q850(31)));
    assert_eq!(bench.said(), ["487 INVITE"]);
    assert_eq!(bench.heard(), ["ended: Local"]);
    bench.assert_empty();
}

#[test]
fn a_bye_from_a_caller_that_still_waits_ends_the_invite_too() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.ring(leg);
    let tag = bench.our_tag();
    bench.said();
    bench.hear(caller("BYE", 2, "bye", &tag));
    assert_eq!(bench.said(), ["200 BYE", "487 INVITE"]);
    assert_eq!(bench.heard(), ["ended: Bye"]);
    bench.assert_empty();
}

#[test]
fn a_delayed_offer_is_answered_in_the_ack() {
    let mut bench = Bench::new();
    bench.hear(caller("INVITE", 1, "a1", ""));
    let (leg, _) = bench.told.remove(0);
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.hear(caller("ACK", 1, "a1ack", &tag).sdp());
    assert_eq!(bench.heard(), ["confirmed sdp"]);
}

#[test]
fn case_caller_without_from_tag_is_served_to_the_end() {
    let mut bench = Bench::new();
    let old = |text: Text| text.replace(";tag=ct", "").replace(";branch=z9hG4bKa1", "");
    bench.hear(old(caller("INVITE", 1, "a1", "")).sdp());
    bench.hear(old(caller("INVITE", 1, "a1", "")).sdp());
    assert_eq!(
        bench.said(),
        ["100 INVITE", "100 INVITE"],
        "the copy is known without a branch"
    );
    let (leg, _) = bench.told.remove(0);
    bench.command(leg, Command::Answer { body: sdp() });
    let tag = bench.our_tag();
    bench.hear(old(caller("ACK", 1, "a1", &tag)));
    assert_eq!(bench.heard(), ["confirmed"]);
    bench.said();
    bench.hear(old(caller("BYE", 2, "a1", &tag)));
    assert_eq!(bench.said(), ["200 BYE"]);
    assert_eq!(bench.heard(), ["ended: Bye"]);
    bench.assert_empty();
}

#[test]
fn a_refusal_to_a_caller_of_rfc_2543_finds_its_ack() {
    let mut bench = Bench::new();
    let old = |text: Text| text.replace("z9hG4bKa1", "1");
    bench.hear(old(caller("INVITE", 1, "a1", "")).sdp());
    let (leg, _) = bench.told.remove(0);
    bench.hang_up(leg, None);
    let tag = bench.our_tag();
    bench.hear(old(caller("ACK", 1, "a1", &tag)));
    bench.said();
    bench.pass(5_000);
    assert!(bench.said().is_empty());
    bench.assert_empty();
}

#[test]
fn a_caller_over_a_broken_connection_is_given_up() {
    let mut bench = Bench::new();
    bench.flow = tcp();
    bench.invited();
    bench.endpoint.transport_failed(&tcp(), bench.now);
    bench.drain();
    assert_eq!(bench.heard(), ["ended: TransportFailed"]);
    assert!(bench.said().is_empty());
    bench.assert_empty();
}

#[test]
fn commands_of_another_state_change_nothing() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    for command in [
        Command::Ack { body: None },
        Command::AcceptReoffer { body: None },
        Command::RefuseReoffer { status: 488 },
        Command::Reoffer {
            via: Offer::Invite,
            body: None,
        },
        Command::Info {
            content_type: Bytes::new(),
            bytes: Bytes::new(),
        },
        Command::AnswerInfo { id: 5, status: 200 },
    ] {
        let name = command.name();
        let error = bench.refused(leg, command).to_string();
        assert!(
            error.contains(name) && error.contains("ringing inbound"),
            "{error}"
        );
    }
    let error = bench.refused(
        leg,
        Command::Progress {
            status: 200,
            body: None,
        },
    );
    assert!(matches!(error, CommandError::BadStatus { status: 200, .. }));
    assert!(bench.said().is_empty());
    bench.command(leg, Command::Answer { body: sdp() });
    assert_eq!(bench.said(), ["200 INVITE"]);
}

#[test]
fn an_ack_of_a_refusal_with_a_branch_of_its_own_is_taken() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench.hang_up(leg, None);
    let tag = bench.our_tag();
    bench.said();
    bench.hear(caller("ACK", 1, "careless", &tag));
    bench.pass(5_000);
    assert!(bench.said().is_empty());
    bench.assert_empty();
}

#[test]
fn an_inbound_dialog_can_be_stored_before_its_answer() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    let before = bench.endpoint.dialog(leg).expect("all is known");
    bench.command(leg, Command::Answer { body: sdp() });
    assert_eq!(bench.endpoint.dialog(leg), Some(before));
    bench.hang_up(leg, None);
    assert_eq!(bench.endpoint.dialog(leg), None);
}

#[test]
fn case_transactions_move_on_their_own_not_when_someone_polls_them() {
    let mut bench = Bench::new();
    let leg = bench.invited();
    bench
        .endpoint
        .command(leg, Command::HangUp { cause: None }, 0)
        .expect("it rings");
    while let Some(at) = bench.endpoint.next_deadline() {
        bench.endpoint.advance(at);
    }
    assert_eq!(bench.endpoint.counts(), Counts::default());
    bench.drain();
    assert_eq!(bench.said(), ["487 INVITE"; 11]);
}
