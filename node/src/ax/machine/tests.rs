//! Events in, exact actions out.

use super::*;
use tandem_vendors::outcome::{Class, Held};

const NOW: Now = Now {
    mono: 10_000,
    wall: 1_000_000,
};

fn handle() -> Handle {
    Handle::from([("subscriptionId".to_owned(), "s1".to_owned())])
}

fn binding() -> Machine {
    let (machine, actions) = Machine::new("170".to_owned(), Wish::Bind, 1);
    assert_eq!(actions, [Action::Bind]);
    machine
}

fn unbinding() -> Machine {
    let (machine, actions) = Machine::new("170".to_owned(), Wish::Unbind(handle()), 2);
    assert_eq!(actions, [unbind(handle())]);
    machine
}

fn bound(x: &str) -> Event {
    Event::BindDone(BindOutcome::Bound {
        handle: handle(),
        x: x.to_owned(),
        raw: "raw".to_owned(),
    })
}

fn bind_failed(class: Class) -> Event {
    Event::BindDone(BindOutcome::Failed(Failure::new(class, "c", "")))
}

fn unbind_failed() -> Event {
    Event::UnbindDone(UnbindOutcome::Failed(Failure::new(Class::Unknown, "c", "")))
}

fn found(x: &str) -> Event {
    Event::QueryDone(QueryOutcome::Found(vec![Held {
        handle: handle(),
        a: "1".to_owned(),
        x: x.to_owned(),
        b: String::new(),
    }]))
}

fn unbind(handle: Handle) -> Action {
    Action::Unbind {
        x: "170".to_owned(),
        handle,
    }
}

fn note_bound(raw: &str) -> Action {
    Action::NoteBound {
        asked: 1,
        handle: handle(),
        raw: raw.to_owned(),
    }
}

fn note_failed(asked: u32, error: &str, unknown: bool) -> Action {
    Action::NoteFailed {
        asked,
        error: error.to_owned(),
        unknown,
    }
}

fn note_unbound(asked: u32, missing: bool) -> Action {
    Action::NoteUnbound { asked, missing }
}

#[test]
fn a_relation_that_the_platform_takes_is_noted_and_left_alone() {
    let mut machine = binding();
    assert_eq!(
        machine.on(bound("170"), NOW),
        [note_bound("raw"), Action::Finish]
    );
}

#[test]
fn a_refused_bind_is_noted_with_what_was_said_and_surely_left_nothing() {
    for class in [
        Class::XConflict,
        Class::Throttled,
        Class::NotSent,
        Class::Config,
    ] {
        let mut machine = binding();
        let error = format!("{class} (code c)");
        assert_eq!(
            machine.on(bind_failed(class), NOW),
            [note_failed(1, &error, false), Action::Finish]
        );
    }
}

#[test]
fn a_bind_of_unknown_outcome_is_looked_for_and_adopted() {
    let mut machine = binding();
    assert_eq!(
        machine.on(bind_failed(Class::Unknown), NOW),
        [Action::Query]
    );
    assert_eq!(
        machine.on(found("170"), NOW),
        [note_bound("unknown (code c), found"), Action::Finish]
    );
}

#[test]
fn a_bind_that_stays_lost_is_looked_for_until_it_cannot_arrive_any_more() {
    let mut machine = binding();
    machine.on(bind_failed(Class::Unknown), NOW);
    for pause in LOOK_AGAIN_MS {
        assert_eq!(
            machine.on(Event::QueryDone(QueryOutcome::None), NOW),
            [Action::Arm(NOW.mono + pause)]
        );
        assert_eq!(machine.on(Event::Timer, NOW), [Action::Query]);
    }
    assert_eq!(
        machine.on(Event::QueryDone(QueryOutcome::None), NOW),
        [note_failed(1, "unknown (code c)", false), Action::Finish]
    );
}

#[test]
fn a_lost_bind_that_cannot_be_looked_for_may_stand_all_the_same() {
    let mut machine = binding();
    machine.on(bind_failed(Class::Unknown), NOW);
    let failure = Failure::new(Class::VendorDown, "breaker", "");
    assert_eq!(
        machine.on(Event::QueryDone(QueryOutcome::Failed(failure)), NOW),
        [
            note_failed(1, "unknown (code c); vendor_down (code breaker)", true),
            Action::Finish
        ]
    );
}

#[test]
fn another_x_than_the_one_asked_for_goes_back_to_the_platform() {
    let mut machine = binding();
    let other = Action::Unbind {
        x: "171".to_owned(),
        handle: handle(),
    };
    assert_eq!(machine.on(bound("171"), NOW), [other]);
    assert_eq!(
        machine.on(Event::UnbindDone(UnbindOutcome::Released), NOW),
        [
            note_failed(1, "the platform gave another X", false),
            Action::Finish
        ]
    );
}

#[test]
fn a_release_is_noted_with_who_let_go_first() {
    for (outcome, missing) in [
        (UnbindOutcome::Released, false),
        (UnbindOutcome::AlreadyGone, true),
    ] {
        let mut machine = unbinding();
        assert_eq!(
            machine.on(Event::UnbindDone(outcome), NOW),
            [note_unbound(2, missing), Action::Finish]
        );
    }
}

#[test]
fn a_failed_release_is_tried_again_with_growing_pauses_and_at_once_when_asked_for() {
    let mut machine = unbinding();
    for pause in [1_000, 2_000, 4_000] {
        assert_eq!(
            machine.on(unbind_failed(), NOW),
            [
                note_failed(2, "unknown (code c)", true),
                Action::Arm(NOW.mono + pause)
            ]
        );
        assert_eq!(machine.on(Event::Timer, NOW), [unbind(handle())]);
    }
    machine.on(unbind_failed(), NOW);
    let again = Event::Wished(Wish::Unbind(Handle::new()), 2);
    assert_eq!(machine.on(again, NOW), [unbind(handle())]);
}

#[test]
fn a_release_asked_for_during_the_bind_follows_it_whatever_came_of_it() {
    let wish = || Event::Wished(Wish::Unbind(Handle::new()), 2);
    let mut machine = binding();
    assert_eq!(machine.on(wish(), NOW), []);
    assert_eq!(
        machine.on(bound("170"), NOW),
        [note_bound("raw"), unbind(handle())]
    );
    assert_eq!(
        machine.on(Event::UnbindDone(UnbindOutcome::Released), NOW),
        [note_unbound(2, false), Action::Finish]
    );

    let mut machine = binding();
    machine.on(wish(), NOW);
    assert_eq!(
        machine.on(bind_failed(Class::XConflict), NOW),
        [
            note_failed(1, "x_conflict (code c)", false),
            unbind(Handle::new())
        ]
    );
}

#[test]
fn a_repeated_wish_asks_the_platform_once() {
    let mut machine = binding();
    assert_eq!(machine.on(Event::Wished(Wish::Bind, 1), NOW), []);
    assert_eq!(
        machine.on(bound("170"), NOW),
        [note_bound("raw"), Action::Finish]
    );
}

#[test]
fn a_relation_wished_for_again_after_its_release_is_bound_again() {
    let mut machine = unbinding();
    assert_eq!(machine.on(Event::Wished(Wish::Bind, 3), NOW), []);
    assert_eq!(
        machine.on(Event::UnbindDone(UnbindOutcome::Released), NOW),
        [note_unbound(2, false), Action::Bind]
    );
}

#[test]
fn a_dropped_relation_gets_one_last_request() {
    let one = |mut machine: Machine, event: Event, want: Vec<Action>| {
        assert_eq!(machine.on(event, NOW), want);
        assert_eq!(machine.on(unbind_failed(), NOW), [Action::Finish]);
    };
    // Bound when it was dropped.
    let row = AxRow {
        id: 7,
        entity: tandem_cluster::entity::AxBinding {
            interface: 1,
            x_number: "170".to_owned(),
            a_number: "1".to_owned(),
            params: Default::default(),
            expires_at: None,
        },
        live: tandem_cluster::state::AxLive {
            phase: AxPhase::Bound,
            handle: handle(),
            ..Default::default()
        },
    };
    assert_eq!(Wish::of(&row), None);
    let (mut machine, actions) = Machine::farewell(&row);
    assert_eq!(actions, [unbind(handle())]);
    assert_eq!(machine.on(unbind_failed(), NOW), [Action::Finish]);
    // The release is out already.
    one(unbinding(), Event::Forced, vec![]);
    // The release waits for its next try.
    let mut waiting = unbinding();
    waiting.on(unbind_failed(), NOW);
    one(waiting, Event::Forced, vec![unbind(handle())]);
    // The bind is out: what comes of it goes back.
    for (outcome, want) in [
        (bound("170"), unbind(handle())),
        (bind_failed(Class::Unknown), unbind(Handle::new())),
    ] {
        let mut machine = binding();
        assert_eq!(machine.on(Event::Forced, NOW), []);
        one(machine, outcome, vec![want]);
    }
    let mut machine = binding();
    machine.on(Event::Forced, NOW);
    assert_eq!(
        machine.on(bind_failed(Class::XConflict), NOW),
        [Action::Finish]
    );
}

#[test]
fn a_relation_wished_for_after_it_was_dropped_is_bound_once_the_old_one_is_gone() {
    let mut machine = binding();
    machine.on(Event::Forced, NOW);
    machine.on(Event::Wished(Wish::Bind, 4), NOW);
    assert_eq!(machine.on(bound("170"), NOW), [unbind(handle())]);
    assert_eq!(
        machine.on(Event::UnbindDone(UnbindOutcome::Released), NOW),
        [Action::Bind]
    );
    assert_eq!(machine.asked(), 4);
}

mod histories {
    use super::*;
    use proptest::prelude::*;

    fn make(kind: u8, asked: u32) -> Event {
        match kind {
            0 => Event::Wished(Wish::Bind, asked + 1),
            1 => Event::Wished(Wish::Unbind(Handle::new()), asked + 1),
            2 => Event::Wished(Wish::Unbind(handle()), asked),
            3 => bound("170"),
            4 => bound("171"),
            5 => bind_failed(Class::Unknown),
            6 => bind_failed(Class::XConflict),
            7 => found("170"),
            8 => Event::QueryDone(QueryOutcome::None),
            9 => Event::UnbindDone(UnbindOutcome::Released),
            10 => Event::UnbindDone(UnbindOutcome::AlreadyGone),
            11 => unbind_failed(),
            12 => Event::Forced,
            _ => Event::Timer,
        }
    }

    proptest! {
        /// However events fall, at most one request is out, and a machine that is not over has a request out or a
        /// timer armed: nothing is forgotten.
        #[test]
        fn one_request_is_out_at_a_time_and_no_wish_is_lost(kinds in proptest::collection::vec(0..16u8, 0..80)) {
            #[derive(Clone, Copy, Debug, PartialEq)]
            enum Out { Bind, Query, Unbind, Timer, Nothing }
            let mut machine = binding();
            let mut out = Out::Bind;
            for kind in kinds {
                let event = make(kind, machine.asked());
                let fits = match &event {
                    Event::BindDone(_) => out == Out::Bind,
                    Event::QueryDone(_) => out == Out::Query,
                    Event::UnbindDone(_) => out == Out::Unbind,
                    Event::Timer => out == Out::Timer,
                    _ => true,
                };
                if !fits {
                    continue;
                }
                if matches!(event, Event::BindDone(_) | Event::QueryDone(_) | Event::UnbindDone(_) | Event::Timer) {
                    out = Out::Nothing;
                }
                for action in machine.on(event, NOW) {
                    let next = match action {
                        Action::Bind => Out::Bind,
                        Action::Query => Out::Query,
                        Action::Unbind { .. } => Out::Unbind,
                        Action::Arm(_) => Out::Timer,
                        _ => continue,
                    };
                    prop_assert!(matches!(out, Out::Nothing | Out::Timer), "{next:?} while {out:?} is out");
                    out = next;
                }
                let over = matches!(machine.phase, Phase::Over);
                prop_assert_eq!(over, out == Out::Nothing);
            }
        }
    }
}
