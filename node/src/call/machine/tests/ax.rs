//! Stories of outgoing AX calls: turns, callees being named, callers who leave meanwhile.

use super::*;

/// Over a static relation of a platform that is told the callee.
pub(super) fn ax(number: u16, turn: bool) -> Box<Attempt> {
    let lease = AxLease {
        ax: 7,
        interface: 1,
        a: "a".into(),
        x: "x".into(),
        b_submitted: "b".into(),
        handle: Default::default(),
        set_callee: true,
        turn,
    };
    Box::new(Attempt {
        ax: Some(lease),
        caller_out: "a".into(),
        callee_out: "x".into(),
        ..*plain(number)
    })
}

fn ringing(status: u16) -> LegEvent {
    LegEvent::Progress {
        status,
        reason: "".into(),
        body: None,
    }
}

pub(super) fn refused_callee(attempt: u16, failure: Failure, may_hold: bool) -> Event {
    Event::CalleeRefused {
        attempt,
        failure,
        may_hold,
    }
}

pub(super) fn platform_refused() -> Failure {
    Failure::PlatformRefused { code: "c".into() }
}

#[test]
fn an_ax_call_waits_for_its_turn_names_its_callee_and_gives_the_turn_up_at_the_first_18x() {
    let mut story = Story::of_a_call();
    story.check(
        Event::Reserved(ax(1, false)),
        &["disarm Reserve", "arm Turn 11000"],
    );
    story.check(
        Event::Turn { attempt: 1 },
        &["disarm Turn", "name callee 1 x b"],
    );
    story.check(
        Event::CalleeNamed { attempt: 1 },
        &["dial a x with offer", "arm Response 6000"],
    );
    story.check(
        Event::Callee(1, ringing(180)),
        &["disarm Response", "accepted 1", "caller: progress 180"],
    );
    story.check(
        Event::Callee(1, ringing(183)),
        &["disarm Response", "caller: progress 183"],
    );
    story.check(
        Event::Callee(1, LegEvent::Answered { body: None }),
        &[
            "disarm Response",
            "arm Commit 4000",
            "commit 1000000 pdd 0 ",
        ],
    );
    story.check(
        Event::Committed { unbind_at: None },
        &[
            "disarm Commit",
            "callee: ack",
            "caller: answer",
            "release at None",
        ],
    );
    story.check(
        Event::Callee(1, ended(LegEnd::Bye)),
        &["caller: hang up", "end answered normal by Callee"],
    );
}

#[test]
fn an_ax_call_whose_turn_it_is_names_its_callee_at_once() {
    let mut story = Story::of_a_call();
    story.check(
        Event::Reserved(ax(1, true)),
        &["disarm Reserve", "name callee 1 x b"],
    );
    story.on(Event::CalleeNamed { attempt: 1 });
    story.check(
        Event::Callee(1, LegEvent::Answered { body: None }),
        &[
            "disarm Response",
            "accepted 1",
            "arm Commit 4000",
            "commit 1000000 pdd 0 ",
        ],
    );
}

#[test]
fn an_ax_call_of_a_type_that_is_told_no_callee_dials_at_once_and_has_no_turn() {
    let mut story = Story::of_a_call();
    let mut attempt = ax(1, true);
    attempt.ax.as_mut().expect("an AX attempt").set_callee = false;
    story.check(
        Event::Reserved(attempt),
        &["disarm Reserve", "dial a x with offer", "arm Response 6000"],
    );
    story.check(
        Event::Callee(1, ringing(180)),
        &["disarm Response", "caller: progress 180"],
    );
}

#[test]
fn a_turn_that_overtakes_its_attempt_is_not_lost() {
    let mut story = Story::of_a_call();
    story.check(Event::Turn { attempt: 1 }, &[]);
    story.check(
        Event::Reserved(ax(1, false)),
        &["disarm Reserve", "name callee 1 x b"],
    );
}

#[test]
fn a_turn_that_does_not_come_in_time_lets_another_number_be_tried() {
    let mut story = Story::of_a_call();
    story.on(Event::Reserved(ax(1, false)));
    story.check(
        Event::Timer(Timer::Turn),
        &[
            "disarm Response",
            "next after 1: NumberRefused { code: \"turn\" }",
            "arm Reserve 3000",
        ],
    );
    story.check(Event::Turn { attempt: 1 }, &[]);
    story.check(
        Event::Reserved(ax(2, false)),
        &["disarm Reserve", "arm Turn 11000"],
    );
}

#[test]
fn a_callee_that_is_surely_not_named_moves_the_call_on_at_once() {
    for failure in [
        platform_refused(),
        Failure::NumberRefused { code: "c".into() },
    ] {
        let mut story = Story::of_a_call();
        story.on(Event::Reserved(ax(1, true)));
        let next = format!("next after 1: {failure:?}");
        story.check(
            refused_callee(1, failure, false),
            &["disarm Response", &next, "arm Reserve 3000"],
        );
    }
}

#[test]
fn a_callee_that_may_be_named_late_keeps_the_turn_for_a_while() {
    let mut story = Story::of_a_call();
    story.on(Event::Reserved(ax(1, true)));
    story.check(
        refused_callee(1, platform_refused(), true),
        &["arm Turn 3000"],
    );
    story.check(
        Event::Timer(Timer::Turn),
        &[
            "disarm Response",
            "next after 1: PlatformRefused { code: \"c\" }",
            "arm Reserve 3000",
        ],
    );
}

#[test]
fn a_gateway_that_refuses_an_ax_call_ends_its_turn_with_the_attempt() {
    let mut story = Story::of_a_call();
    story.on(Event::Reserved(ax(1, true)));
    story.on(Event::CalleeNamed { attempt: 1 });
    story.check(
        Event::Callee(1, refused(503)),
        &[
            "disarm Response",
            "next after 1: Gateway { status: 503 }",
            "arm Reserve 3000",
        ],
    );
    // A plain attempt after it has no turn to give up.
    story.on(Event::Reserved(plain(2)));
    story.check(
        Event::Callee(2, ringing(180)),
        &["disarm Response", "caller: progress 180"],
    );
}

/// Where an AX call stands, what its caller's leaving brings at once, and what ends the call.
#[test]
fn a_caller_who_leaves_an_ax_call_leaves_no_callee_for_the_next() {
    const END: &str = "end unanswered cancelled by Caller";
    let queued = || vec![Event::Reserved(ax(1, false))];
    let naming = || vec![Event::Reserved(ax(1, true))];
    let named = || {
        vec![
            Event::Reserved(ax(1, true)),
            Event::CalleeNamed { attempt: 1 },
        ]
    };
    let doubtful = || {
        vec![
            Event::Reserved(ax(1, true)),
            refused_callee(1, platform_refused(), true),
        ]
    };
    type Words = &'static [&'static str];
    type Row = (&'static str, Vec<Event>, Words, Vec<(Event, Words)>);
    let table: Vec<Row> = vec![
        (
            "waiting for its turn",
            queued(),
            &["disarm Turn", END],
            vec![],
        ),
        (
            "callee on its way, named",
            naming(),
            &[],
            vec![(Event::CalleeNamed { attempt: 1 }, &[END])],
        ),
        (
            "callee on its way, refused",
            naming(),
            &[],
            vec![(refused_callee(1, platform_refused(), false), &[END])],
        ),
        (
            "callee on its way, lost",
            naming(),
            &[],
            vec![
                (
                    refused_callee(1, platform_refused(), true),
                    &["arm Turn 3000"],
                ),
                (Event::Timer(Timer::Turn), &[END]),
            ],
        ),
        (
            "callee lost",
            doubtful(),
            &[],
            vec![(Event::Timer(Timer::Turn), &[END])],
        ),
        ("dialing", named(), &["callee: hang up", END], vec![]),
    ];
    for (stands, before, at_once, later) in table {
        let mut story = Story::of_a_call();
        for event in before {
            story.on(event);
        }
        let left = story.on(Event::Caller(ended(LegEnd::Cancelled)));
        assert_eq!(left, at_once, "{stands}");
        for (event, want) in later {
            assert_eq!(story.on(event), want, "{stands}");
        }
        assert!(story.machine.is_over(), "{stands}");
    }
}

#[test]
fn an_operator_who_ends_an_ax_call_is_told_at_once_and_the_turn_waits_for_the_platform() {
    let mut story = Story::of_a_call();
    story.on(Event::Reserved(ax(1, true)));
    story.check(
        Event::HangUp("admin_hangup"),
        &["caller: refuse 503 retry 2"],
    );
    story.check(
        Event::CalleeNamed { attempt: 1 },
        &["end unanswered admin_hangup by Server"],
    );
}
