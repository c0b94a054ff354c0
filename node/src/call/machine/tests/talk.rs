//! Answered calls: changes of the session, limits and credit, news that cross from leg to leg.

use super::*;

#[test]
fn a_far_end_that_moves_is_found_by_whoever_takes_the_call_over() {
    let moved = || Event::Callee(1, LegEvent::Moved);
    Story::committing().check(moved(), &["keep targets"]);
    let mut story = Story::talking();
    story.check(moved(), &["keep targets"]);
    story.check(Event::Caller(LegEvent::Moved), &["keep targets"]);
}

#[test]
fn hold_crosses_from_leg_to_leg_and_back() {
    let mut story = Story::talking();
    let hold = LegEvent::Reoffered {
        via: Offer::Invite,
        body: Some(sdp("hold")),
    };
    story.check(Event::Caller(hold), &["callee: reoffer"]);
    let glare = LegEvent::Reoffered {
        via: Offer::Invite,
        body: Some(sdp("codec")),
    };
    story.check(Event::Callee(1, glare), &["callee: refuse reoffer 491"]);
    let held = LegEvent::Reanswered {
        status: 200,
        reason: "".into(),
        body: Some(sdp("held")),
        retry_after_ms: None,
    };
    story.check(
        Event::Callee(1, held),
        &["caller: accept reoffer with body", "keep held | hold"],
    );
    story.check(Event::Caller(LegEvent::Reconfirmed { body: None }), &[]);
}

#[test]
fn a_refused_reoffer_leaves_the_call_as_it_was() {
    let mut story = Story::talking();
    story.on(Event::Callee(
        1,
        LegEvent::Reoffered {
            via: Offer::Update,
            body: Some(sdp("codec")),
        },
    ));
    let refused = LegEvent::Reanswered {
        status: 488,
        reason: "".into(),
        body: None,
        retry_after_ms: None,
    };
    story.check(Event::Caller(refused), &["callee: refuse reoffer 488"]);
    assert!(story.machine.is_answered());
}

#[test]
fn a_reinvite_without_an_offer_is_answered_in_its_ack() {
    let mut story = Story::talking();
    story.check(
        Event::Caller(LegEvent::Reoffered {
            via: Offer::Invite,
            body: None,
        }),
        &["callee: reoffer"],
    );
    let offer = LegEvent::Reanswered {
        status: 200,
        reason: "".into(),
        body: Some(sdp("offer")),
        retry_after_ms: None,
    };
    story.check(
        Event::Callee(1, offer),
        &["caller: accept reoffer with body"],
    );
    story.check(
        Event::Caller(LegEvent::Reconfirmed {
            body: Some(sdp("answer")),
        }),
        &["callee: ack with body", "keep offer | answer"],
    );
}

#[test]
fn info_crosses_and_its_answers_find_back() {
    let mut story = Story::talking();
    let info = |id| LegEvent::Info {
        content_type: "application/dtmf-relay".into(),
        bytes: "Signal=1".into(),
        id,
    };
    story.check(Event::Caller(info(7)), &["callee: info"]);
    story.check(Event::Callee(1, info(9)), &["caller: info"]);
    story.check(
        Event::Callee(1, LegEvent::InfoAnswered { status: 200 }),
        &["caller: answer info 200"],
    );
    story.check(
        Event::Caller(LegEvent::InfoAnswered { status: 415 }),
        &["callee: answer info 415"],
    );
}

#[test]
fn the_shorter_of_money_and_configuration_ends_the_call() {
    let table = [
        (Some(60), None, vec!["arm Limit 61000"], "max_duration"),
        (
            Some(60),
            Some(Credit {
                upto_secs: 30,
                last: true,
            }),
            vec!["arm Limit 31000"],
            "balance_exhausted",
        ),
        (
            Some(20),
            Some(Credit {
                upto_secs: 30,
                last: true,
            }),
            vec!["arm Limit 21000"],
            "max_duration",
        ),
        (
            None,
            Some(Credit {
                upto_secs: 6,
                last: true,
            }),
            vec!["arm Limit 7000"],
            "balance_exhausted",
        ),
    ];
    for (max_duration_secs, credit, armed, key) in table {
        let mut story = Story::of_a_call();
        story.on(Event::Reserved(Box::new(Attempt {
            max_duration_secs,
            credit,
            ..*plain(1)
        })));
        story.on(Event::Callee(1, LegEvent::Answered { body: None }));
        let actions = story.on(Event::Committed { unbind_at: None });
        assert_eq!(actions[3..actions.len() - 1], armed);
        let end = format!("end answered {key} by Server");
        story.check(
            Event::Timer(Timer::Limit),
            &["caller: hang up", "callee: hang up", &end],
        );
    }
}

#[test]
fn credit_is_renewed_before_the_slice_ends_until_the_last_one() {
    let mut story = Story::of_a_call();
    let credit = Some(Credit {
        upto_secs: 60,
        last: false,
    });
    story.on(Event::Reserved(Box::new(Attempt {
        credit,
        ..*plain(1)
    })));
    story.on(Event::Callee(1, LegEvent::Answered { body: None }));
    let talking = story.on(Event::Committed { unbind_at: None });
    assert!(
        talking.contains(&"arm Renew 51000".to_owned()),
        "{talking:?}"
    );
    let mut story = story.after(50_000);
    story.check(Event::Timer(Timer::Renew), &["renew 60"]);
    story.check(
        Event::Renewed(Credit {
            upto_secs: 120,
            last: false,
        }),
        &["arm Renew 111000"],
    );
    story.check(
        Event::Renewed(Credit {
            upto_secs: 60,
            last: true,
        }),
        &[],
    );
    story.check(
        Event::Renewed(Credit {
            upto_secs: 120,
            last: true,
        }),
        &["arm Limit 121000"],
    );
}

#[test]
fn a_far_ends_cause_goes_over_to_the_other_side() {
    let mut story = Story::talking();
    let cause = Some(Cause::q850(16));
    let bye = LegEvent::Ended(Ended {
        by: LegEnd::Bye,
        cause: cause.clone(),
    });
    let actions = story.machine.on(Event::Callee(1, bye), story.now);
    assert!(
        matches!(&actions[0], Action::Caller(Command::HangUp { cause: passed }) if *passed == cause)
    );
    assert!(
        matches!(actions.last(), Some(Action::End { by: EndedBy::Callee, reason, .. }) if reason.q850 == Some(16))
    );
}
