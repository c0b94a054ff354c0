//! The callee's answer: until it is replicated, what becomes of it meanwhile, and what the record says of it.

use super::*;

#[test]
fn a_cancel_that_crosses_the_answer_is_an_unanswered_call() {
    let mut story = Story::committing();
    story.check(
        Event::Caller(ended(LegEnd::Cancelled)),
        &[
            "callee: hang up",
            "release",
            "end unanswered cancelled by Caller",
        ],
    );
    story.check(Event::Committed { unbind_at: None }, &[]);
}

#[test]
fn the_callees_answer_is_acknowledged_when_it_is_replicated_and_not_before() {
    let mut story = Story::committing();
    // A phone that repeats its answer, or moves, or asks something meanwhile hears nothing of its answer.
    let again = LegEvent::Answered {
        body: Some(sdp("answer")),
    };
    story.check(Event::Callee(1, again), &[]);
    story.check(Event::Callee(1, LegEvent::Moved), &["keep targets"]);
    let info = LegEvent::Info {
        content_type: "".into(),
        bytes: "".into(),
        id: 7,
    };
    story.check(Event::Callee(1, info), &["callee: answer info 200"]);
    story.check(
        Event::Committed { unbind_at: None },
        &[
            "disarm Commit",
            "callee: ack",
            "caller: answer with body",
            "release at None",
        ],
    );
    story.check(Event::Committed { unbind_at: None }, &["release at None"]);
}

/// Wall time of the end and of the answer, as the record will have them.
fn moments(actions: &[Action]) -> (Millis, Option<Millis>) {
    match actions.last() {
        Some(Action::End {
            ended_at,
            answered_at,
            ..
        }) => (*ended_at, *answered_at),
        other => panic!("no end: {other:?}"),
    }
}

#[test]
fn an_answer_that_nobody_heard_is_charged_to_nobody() {
    for event in [
        Event::Caller(ended(LegEnd::Cancelled)),
        Event::Caller(ended(LegEnd::TransportFailed)),
        Event::Caller(ended(LegEnd::Timeout(Timeout::Setup))),
        Event::Callee(1, ended(LegEnd::Bye)),
        Event::Timer(Timer::Commit),
        Event::HangUp("node_failure"),
        Event::Abandon,
    ] {
        let what = format!("{event:?}");
        // The state may have the answer already, or get it before the end: the record's talk begins with it.
        let mut story = Story::committing().after(2_400);
        let actions = story.machine.on(event, story.now);
        assert_eq!(moments(&actions), (1_000_000, None), "{what}");
    }
    // Who leaves while it rings leaves at that moment.
    let mut story = Story::ringing().after(2_400);
    let cancelled = Event::Caller(ended(LegEnd::Cancelled));
    let actions = story.machine.on(cancelled, story.now);
    assert_eq!(moments(&actions), (1_002_400, None));
}

#[test]
fn talk_begins_when_the_customer_hears_of_the_answer() {
    // An election holds the answer up.
    let mut story = Story::committing().after(1_300);
    story.on(Event::Committed { unbind_at: None });
    let mut story = story.after(10_000);
    let bye = Event::Caller(ended(LegEnd::Bye));
    let actions = story.machine.on(bye, story.now);
    assert_eq!(moments(&actions), (1_011_300, Some(1_001_300)));
}

#[test]
fn limits_count_from_what_the_customer_hears() {
    let mut story = Story::of_a_call();
    let attempt = Attempt {
        max_duration_secs: Some(60),
        ..*plain(1)
    };
    story.on(Event::Reserved(Box::new(attempt)));
    story.on(Event::Callee(1, LegEvent::Answered { body: None }));
    let mut story = story.after(2_000);
    story.check(
        Event::Committed { unbind_at: None },
        &[
            "disarm Commit",
            "callee: ack",
            "caller: answer",
            "arm Limit 63000",
            "release at None",
        ],
    );
}

#[test]
fn an_answer_that_is_not_replicated_in_time_is_not_passed_on() {
    let mut story = Story::committing();
    story.check(
        Event::Timer(Timer::Commit),
        &[
            "caller: refuse 503 retry 2",
            "callee: hang up",
            "release",
            "end unanswered node_failure by Server",
        ],
    );
    story.check(Event::Committed { unbind_at: Some(5) }, &[]);
}

#[test]
fn an_answer_that_the_state_has_no_room_for_goes_out_all_the_same() {
    let mut story = Story::committing();
    story.check(
        Event::NotKept,
        &["unprotected", "callee: ack", "caller: answer with body"],
    );
}

#[test]
fn an_invite_without_an_offer_is_answered_in_its_ack() {
    let (mut story, _) = Story::begins(None);
    story.on(Event::Reserved(plain(1)));
    story.on(Event::Callee(
        1,
        LegEvent::Answered {
            body: Some(sdp("offer")),
        },
    ));
    story.check(
        Event::Committed { unbind_at: None },
        &[
            "disarm Commit",
            "caller: answer with body",
            "release at None",
        ],
    );
    story.check(
        Event::Caller(LegEvent::Confirmed {
            body: Some(sdp("answer")),
        }),
        &["callee: ack with body", "keep offer | answer"],
    );
}

#[test]
fn the_descriptions_are_replicated_with_the_answer() {
    for (offer, kept) in [(Some(sdp("offer")), "offer"), (None, "-")] {
        let (mut story, _) = Story::begins(offer);
        story.on(Event::Reserved(plain(1)));
        let body = Some(sdp("answer"));
        let answered = Event::Callee(1, LegEvent::Answered { body });
        let actions = story.machine.on(answered, story.now);
        let told = actions.iter().find_map(|action| match action {
            Action::Commit { told, .. } => Some((text(&told.caller), text(&told.callee))),
            _ => None,
        });
        assert_eq!(told, Some(("answer".to_owned(), kept.to_owned())));
    }
}
