use super::*;

const NOW: Now = Now {
    mono: 10_000,
    wall: 1_000_000,
};

fn handle() -> Handle {
    Handle::from([("subscriptionId".to_owned(), "s1".to_owned())])
}

fn bound(x: &str) -> Event {
    Event::BindDone(BindOutcome::Bound {
        handle: handle(),
        x: x.to_owned(),
        raw: String::new(),
    })
}

fn failed(class: Class) -> Failure {
    Failure::new(class, "c", "")
}

fn by(means: &[Recovery]) -> Recover {
    Recover {
        means: means.to_vec(),
        lapses_ms: Some(7_200_000),
        retry: Vec::new(),
    }
}

fn asked() -> Machine {
    asked_by(&[Recovery::Query, Recovery::Wait])
}

fn asked_by(means: &[Recovery]) -> Machine {
    let (machine, actions) = Machine::ask("170".to_owned(), by(means), NOW);
    assert_eq!(actions, [Action::Bind]);
    machine
}

#[test]
fn a_bound_binding_waits_for_its_moment() {
    let mut machine = asked();
    machine.on(bound("170"), NOW);
    assert_eq!(
        machine.on(Event::ReleaseAt(Some(NOW.wall + 5_000)), NOW),
        [Action::Arm(15_000)]
    );
    let early = Now {
        mono: 12_000,
        wall: NOW.wall + 2_000,
    };
    assert_eq!(machine.on(Event::Timer, early), [Action::Arm(15_000)]);
    let due = Now {
        mono: 15_000,
        wall: NOW.wall + 5_000,
    };
    assert_eq!(machine.on(Event::Timer, due), [Action::Unbind(handle())]);
    let done = machine.on(Event::UnbindDone(UnbindOutcome::Released), due);
    assert_eq!(
        done,
        [Action::NoteUnbound { missing: false }, Action::Finish]
    );
}

#[test]
fn a_call_that_ends_during_the_bind_releases_what_comes_of_it() {
    let mut machine = asked();
    assert_eq!(machine.on(Event::Release, NOW), []);
    let actions = machine.on(bound("170"), NOW);
    assert_eq!(actions.last(), Some(&Action::Unbind(handle())));
}

#[test]
fn a_refused_binding_drops_its_row_once_the_call_had_its_say() {
    let mut machine = asked();
    let actions = machine.on(
        Event::BindDone(BindOutcome::Failed(failed(Class::XConflict))),
        NOW,
    );
    assert_eq!(actions.last(), Some(&Action::Arm(NOW.mono + REFUSED_MS)));
    assert_eq!(
        machine.on(Event::Release, NOW),
        [Action::NoteUnbound { missing: false }, Action::Finish]
    );
}

#[test]
fn an_unknown_outcome_is_asked_for_until_it_is_sure() {
    let mut machine = asked();
    let actions = machine.on(
        Event::BindDone(BindOutcome::Failed(failed(Class::Unknown))),
        NOW,
    );
    assert_eq!(actions.last(), Some(&Action::Query));
    for pause in LOOK_AGAIN_MS {
        assert_eq!(
            machine.on(Event::QueryDone(QueryOutcome::None), NOW),
            [Action::Arm(NOW.mono + pause)]
        );
        assert_eq!(machine.on(Event::Timer, NOW), [Action::Query]);
    }
    let sure = machine.on(Event::QueryDone(QueryOutcome::None), NOW);
    assert_eq!(
        sure,
        [Action::NoteUnbound { missing: false }, Action::Finish]
    );
}

#[test]
fn a_binding_found_after_an_unknown_outcome_is_released() {
    let mut machine = asked();
    machine.on(
        Event::BindDone(BindOutcome::Failed(failed(Class::Unknown))),
        NOW,
    );
    let held = tandem_vendors::outcome::Held {
        handle: handle(),
        a: "1".into(),
        x: "170".into(),
        b: "2".into(),
    };
    let found = machine.on(Event::QueryDone(QueryOutcome::Found(vec![held])), NOW);
    assert_eq!(found, [Action::Unbind(handle())]);
}

fn lost(means: &[Recovery]) -> (Machine, Vec<Action>) {
    let mut machine = asked_by(means);
    let lost = Event::BindDone(BindOutcome::Failed(failed(Class::Unknown)));
    let mut actions = machine.on(lost, NOW);
    let told = actions.drain(..2).collect::<Vec<_>>();
    assert!(matches!(
        told[..],
        [
            Action::NoteError(_),
            Action::TellFailed(AttemptFailure::BindUnknown { .. })
        ]
    ));
    (machine, actions)
}

#[test]
fn each_platform_is_cleared_in_its_own_way() {
    use Recovery::{Numbers, OwnId, Query, Repeat, Wait};
    let unbind = || Action::Unbind(Handle::new());
    let lapses = Action::Arm(NOW.mono + 7_200_000);
    for (means, first) in [
        (vec![Query, Wait], Action::Query),
        (vec![OwnId, Wait], unbind()),
        (vec![Numbers], unbind()),
        (vec![Repeat, Wait], Action::Bind),
        (vec![Wait], Action::Arm(NOW.mono + 7_200_000)),
        (vec![], lapses),
    ] {
        assert_eq!(lost(&means).1, [first], "{means:?}");
    }
}

#[test]
fn a_lost_bind_is_unbound_by_its_own_id_until_it_is_sure() {
    let (mut machine, _) = lost(&[Recovery::OwnId, Recovery::Wait]);
    for pause in LOOK_AGAIN_MS {
        let gone = Event::UnbindDone(UnbindOutcome::AlreadyGone);
        assert_eq!(machine.on(gone, NOW), [Action::Arm(NOW.mono + pause)]);
        assert_eq!(
            machine.on(Event::Timer, NOW),
            [Action::Unbind(Handle::new())]
        );
    }
    let released = machine.on(Event::UnbindDone(UnbindOutcome::Released), NOW);
    assert_eq!(
        released,
        [Action::NoteUnbound { missing: false }, Action::Finish]
    );
}

#[test]
fn a_lost_bind_that_is_repeated_is_released_by_the_handle_it_got() {
    let (mut machine, _) = lost(&[Recovery::Repeat, Recovery::Wait]);
    assert_eq!(machine.on(bound("170"), NOW), [Action::Unbind(handle())]);
}

#[test]
fn what_one_way_is_refused_is_tried_in_the_next() {
    let (mut machine, _) = lost(&[Recovery::OwnId, Recovery::Numbers]);
    let refused = UnbindOutcome::Failed(failed(Class::Permanent));
    let actions = machine.on(Event::UnbindDone(refused.clone()), NOW);
    assert_eq!(actions.last(), Some(&Action::Unbind(Handle::new())));
    // The last one is kept to, with pauses.
    let actions = machine.on(Event::UnbindDone(refused), NOW);
    assert_eq!(actions.last(), Some(&Action::Arm(NOW.mono + 1_000)));
}

#[test]
fn a_platform_that_cannot_be_asked_has_let_go_when_the_lifetime_is_over() {
    let (mut machine, _) = lost(&[Recovery::Query, Recovery::Wait]);
    let down = Event::QueryDone(QueryOutcome::Failed(failed(Class::VendorDown)));
    assert!(
        machine
            .on(down, NOW)
            .contains(&Action::Arm(NOW.mono + 1_000))
    );
    let late = Now {
        mono: NOW.mono + 7_200_000,
        wall: NOW.wall + 7_200_000,
    };
    assert_eq!(
        machine.on(Event::Timer, late),
        [Action::NoteUnbound { missing: false }, Action::Finish]
    );
}

#[test]
fn a_lost_bind_that_never_lapses_and_cannot_be_asked_for_stays_until_it_is_forced() {
    let for_ever = Recover {
        means: vec![Recovery::Wait],
        lapses_ms: None,
        retry: Vec::new(),
    };
    let (mut machine, _) = Machine::ask("170".to_owned(), for_ever, NOW);
    let lost = Event::BindDone(BindOutcome::Failed(failed(Class::Unknown)));
    let actions = machine.on(lost, NOW);
    assert!(matches!(actions.last(), Some(Action::NoteUnbindFailed(_))));
    assert_eq!(machine.on(Event::Release, NOW), []);
    assert_eq!(machine.on(Event::Forced, NOW), [Action::Finish]);
}

#[test]
fn another_x_is_booked_before_the_call_goes_on() {
    let mut machine = asked();
    let actions = machine.on(bound("171"), NOW);
    assert!(matches!(&actions[..], [Action::Book { x, .. }] if x == "171"));
    let booked = machine.on(Event::Booked(true), NOW);
    assert_eq!(
        booked,
        [Action::TellBound {
            x: Some("171".into())
        }]
    );
}

#[test]
fn another_x_that_is_not_ours_is_released_and_the_attempt_fails() {
    let mut machine = asked();
    machine.on(bound("171"), NOW);
    let refused = machine.on(Event::Booked(false), NOW);
    assert!(matches!(
        &refused[..],
        [Action::TellFailed(_), Action::Unbind(_)]
    ));
}

#[test]
fn failed_unbinds_are_repeated_with_growing_pauses() {
    let mut machine = asked();
    machine.on(bound("170"), NOW);
    machine.on(Event::Release, NOW);
    for pause in [1_000, 2_000, 4_000] {
        let actions = machine.on(
            Event::UnbindDone(UnbindOutcome::Failed(failed(Class::Unknown))),
            NOW,
        );
        assert_eq!(actions.last(), Some(&Action::Arm(NOW.mono + pause)));
        assert_eq!(machine.on(Event::Timer, NOW), [Action::Unbind(handle())]);
    }
}

#[test]
fn an_unbind_asked_for_during_a_pause_goes_out_at_once_and_only_once() {
    let mut machine = asked();
    machine.on(bound("170"), NOW);
    machine.on(Event::Release, NOW);
    assert_eq!(machine.on(Event::Release, NOW), [], "one is under way");
    let failure = || failed(Class::VendorDown);
    machine.on(
        Event::UnbindDone(UnbindOutcome::Failed(failure().wait(60_000))),
        NOW,
    );
    assert_eq!(machine.on(Event::Release, NOW), [Action::Unbind(handle())]);
    assert_eq!(machine.on(Event::Timer, NOW), [], "the pause's timer");

    let mut machine = asked();
    machine.on(
        Event::BindDone(BindOutcome::Failed(failed(Class::Unknown))),
        NOW,
    );
    machine.on(Event::QueryDone(QueryOutcome::Failed(failure())), NOW);
    assert_eq!(machine.on(Event::Release, NOW), [Action::Query]);
    machine.on(Event::QueryDone(QueryOutcome::None), NOW);
    assert_eq!(machine.on(Event::Release, NOW), [], "a slow bind may come");
    assert_eq!(machine.on(Event::Timer, NOW), [Action::Query]);
}

#[test]
fn classes_of_bind_failures_tell_the_call_what_to_try_next() {
    let table = [
        (Class::XConflict, "number"),
        (Class::XUnusable, "number"),
        (Class::Throttled, "platform"),
        (Class::NotSent, "platform"),
        (Class::VendorDown, "platform"),
        (Class::Unknown, "unknown"),
    ];
    for (class, want) in table {
        let mut machine = asked();
        let actions = machine.on(Event::BindDone(BindOutcome::Failed(failed(class))), NOW);
        let told = actions.iter().find_map(|action| match action {
            Action::TellFailed(AttemptFailure::NumberRefused { .. }) => Some("number"),
            Action::TellFailed(AttemptFailure::PlatformRefused { .. }) => Some("platform"),
            Action::TellFailed(AttemptFailure::BindUnknown { .. }) => Some("unknown"),
            _ => None,
        });
        assert_eq!(told, Some(want), "{class:?}");
    }
}

#[test]
fn a_dropped_row_gets_one_last_request() {
    let mut machine = asked();
    machine.on(bound("170"), NOW);
    assert_eq!(machine.on(Event::Forced, NOW), [Action::Unbind(handle())]);
    assert_eq!(
        machine.on(
            Event::UnbindDone(UnbindOutcome::Failed(failed(Class::Unknown))),
            NOW
        ),
        [Action::Finish]
    );
}

fn repeating(rows: &[(Op, Class, u8)], means: &[Recovery]) -> Machine {
    let row = |(op, class, times): &(Op, Class, u8)| Retry {
        op: *op,
        class: *class,
        times: *times,
    };
    let recover = Recover {
        retry: rows.iter().map(row).collect(),
        ..by(means)
    };
    Machine::ask("170".to_owned(), recover, NOW).0
}

fn bind_fails(class: Class) -> Event {
    Event::BindDone(BindOutcome::Failed(failed(class)))
}

fn later(ms: Millis) -> Now {
    Now {
        mono: NOW.mono + ms,
        wall: NOW.wall + ms,
    }
}

#[test]
fn a_bind_is_repeated_only_as_the_definition_says_and_while_the_caller_can_wait() {
    use Class::{NotSent, Throttled, Unknown, XConflict};
    let repeat = &[Recovery::Repeat, Recovery::Wait][..];
    let query = &[Recovery::Query, Recovery::Wait][..];
    // What the definition repeats, how it recovers, what failed and when, whether it is sent again.
    type Case<'a> = (Option<Class>, &'a [Recovery], Class, Millis, bool);
    let cases: &[Case<'_>] = &[
        (None, query, NotSent, 1, false),
        (Some(NotSent), query, NotSent, 1, true),
        (Some(NotSent), query, NotSent, BIND_AGAIN_MS - 1, true),
        (Some(NotSent), query, NotSent, BIND_AGAIN_MS, false),
        (Some(NotSent), query, XConflict, 1, false),
        (Some(Throttled), query, Throttled, 1, true),
        // What may have taken effect is sent again only where the platform knows the request's id.
        (Some(Unknown), query, Unknown, 1, false),
        (Some(Unknown), repeat, Unknown, 1, true),
        (Some(Unknown), repeat, Unknown, BIND_AGAIN_MS, false),
    ];
    for (row, means, class, at, again) in cases {
        let rows: Vec<_> = row.iter().map(|class| (Op::Bind, *class, 1)).collect();
        let mut machine = repeating(&rows, means);
        let actions = machine.on(bind_fails(*class), later(*at));
        let told = actions.iter().any(|a| matches!(a, Action::TellFailed(_)));
        assert_eq!(
            (actions.last() == Some(&Action::Bind) && !told, told),
            (*again, !*again),
            "{row:?} {means:?} {class} after {at} ms: {actions:?}"
        );
        if *again {
            let actions = machine.on(bind_fails(*class), later(*at));
            let told = actions.iter().any(|a| matches!(a, Action::TellFailed(_)));
            assert!(told, "once only: {actions:?}");
        }
    }
}

#[test]
fn a_platform_that_names_a_wait_is_not_asked_again_while_a_caller_waits() {
    let rows = [(Op::Bind, Class::Throttled, 3)];
    let mut machine = repeating(&rows, &[Recovery::Wait]);
    let failure = failed(Class::Throttled).wait(1);
    let actions = machine.on(Event::BindDone(BindOutcome::Failed(failure)), later(1));
    assert!(!actions.contains(&Action::Bind), "{actions:?}");
}

#[test]
fn a_repeated_bind_that_works_is_a_binding_like_any_other() {
    let rows = [(Op::Bind, Class::Unknown, 1)];
    let mut machine = repeating(&rows, &[Recovery::Repeat, Recovery::Wait]);
    machine.on(bind_fails(Class::Unknown), later(1));
    let actions = machine.on(bound("170"), later(2));
    assert!(
        actions.contains(&Action::TellBound { x: None }),
        "{actions:?}"
    );
}

#[test]
fn a_bind_that_was_lost_once_stays_lost_whatever_its_repeat_is_told() {
    // The first one may have taken effect: its X must be cleared though the second was refused.
    let rows = [(Op::Bind, Class::Unknown, 1)];
    for class in [
        Class::XConflict,
        Class::NotSent,
        Class::Permanent,
        Class::VendorDown,
    ] {
        let mut machine = repeating(&rows, &[Recovery::Repeat, Recovery::Wait]);
        machine.on(bind_fails(Class::Unknown), later(1));
        let actions = machine.on(bind_fails(class), later(2));
        let unknown = |action: &Action| {
            matches!(
                action,
                Action::TellFailed(AttemptFailure::BindUnknown { .. })
            )
        };
        assert!(actions.iter().any(unknown), "{class}: {actions:?}");
        assert_eq!(actions.last(), Some(&Action::Bind), "{class}: it recovers");
    }
}

#[test]
fn a_released_binding_is_not_bound_again() {
    let rows = [(Op::Bind, Class::NotSent, 3)];
    let mut machine = repeating(&rows, &[Recovery::Wait]);
    assert_eq!(machine.on(Event::Release, later(1)), []);
    let actions = machine.on(bind_fails(Class::NotSent), later(2));
    assert!(!actions.contains(&Action::Bind), "{actions:?}");
    assert!(actions.contains(&Action::Finish), "{actions:?}");
}

#[test]
fn an_unbind_is_repeated_soon_as_often_as_the_definition_says_and_then_for_ever() {
    let rows = [(Op::Unbind, Class::Unknown, 2)];
    let mut machine = repeating(&rows, &[Recovery::Wait]);
    machine.on(bound("170"), NOW);
    assert_eq!(machine.on(Event::Release, NOW), [Action::Unbind(handle())]);
    for pause in [100, 200, 1_000, 2_000, 4_000] {
        let lost = Event::UnbindDone(UnbindOutcome::Failed(failed(Class::Unknown)));
        let actions = machine.on(lost, NOW);
        assert_eq!(actions.last(), Some(&Action::Arm(NOW.mono + pause)));
        assert_eq!(machine.on(Event::Timer, NOW), [Action::Unbind(handle())]);
    }
}
