//! Looks at the world in, exact actions out.

use super::*;

const LIMITS: Limits = Limits {
    claim_again_ms: 500,
    quorum_grace_ms: 1_500,
    silence_ms: 3_000,
    settled_ms: 5_000,
    lease_ms: 3_000,
};

fn claimed() -> Machine {
    let mut machine = Machine::new(LIMITS);
    assert_eq!(
        machine.on(Event::Started, 0),
        [Action::Claim { afresh: false }]
    );
    assert_eq!(
        machine.on(Event::Claimed(7), 10),
        [
            Action::Serve(Some(7)),
            Action::TellFirst(Ok(7)),
            Action::AdoptAll(7)
        ]
    );
    machine
}

fn held() -> Refusal {
    Refusal::ClaimHeld {
        address: "there".to_owned(),
        left_ms: 900,
    }
}

fn healthy() -> View {
    View {
        healthy: true,
        ..View::default()
    }
}

fn fenced(epoch: Epoch) -> Event {
    Event::Applied(Effect::Fenced { epoch })
}

#[test]
fn the_first_answer_is_told_once_and_a_refused_claim_is_tried_again() {
    let mut machine = Machine::new(LIMITS);
    machine.on(Event::Started, 0);
    assert_eq!(
        machine.on(Event::Refused(held()), 10),
        [Action::ClaimAfter(1_400)],
        "until the lease is over"
    );
    assert_eq!(
        machine.on(Event::Refused(held()), 1_410),
        [Action::TellFirst(Err(held())), Action::ClaimAfter(500)]
    );
    assert_eq!(
        machine.on(Event::ClaimAgain, 1_910),
        [Action::Claim { afresh: false }]
    );
    assert_eq!(
        machine.on(Event::Unanswered, 520),
        [Action::ClaimAfter(500)]
    );
    assert_eq!(
        machine.on(Event::Claimed(7), 1_100),
        [Action::Serve(Some(7)), Action::AdoptAll(7)]
    );
}

#[test]
fn only_a_claim_that_stands_is_renewed() {
    assert_eq!(Machine::new(LIMITS).on(Event::Renew, 0), []);
    assert_eq!(claimed().on(Event::Renew, 1_000), [Action::Renew(7)]);
}

#[test]
fn a_claim_counts_from_when_it_was_asked_for_and_a_late_one_is_renewed_at_once() {
    let mut machine = claimed();
    let held = |epoch, asked_at| Event::Held { epoch, asked_at };
    assert_eq!(machine.on(held(7, 10), 50), [Action::Hold(3_010)]);
    assert_eq!(machine.on(held(7, 1_000), 1_020), [Action::Hold(4_000)]);
    assert_eq!(machine.on(held(6, 2_000), 2_020), [], "an earlier one");
    assert_eq!(
        machine.on(held(7, 2_000), 9_000),
        [Action::Hold(5_000), Action::Renew(7)]
    );
}

#[test]
fn a_tenure_that_is_over_drops_what_it_ran_once_and_claims_as_another_process() {
    for news in [Event::Stale(7), fenced(7)] {
        let mut machine = claimed();
        assert_eq!(machine.on(fenced(6), 20), [], "an earlier one");
        assert_eq!(
            machine.on(news, 20),
            [
                Action::Serve(None),
                Action::Drop(7),
                Action::Claim { afresh: true }
            ]
        );
        assert_eq!(machine.on(Event::Stale(7), 30), []);
        assert_eq!(machine.on(Event::Renew, 30), []);
    }
}

#[test]
fn a_process_that_stops_drains_resigns_and_does_not_come_back() {
    let mut machine = claimed();
    assert_eq!(machine.on(Event::Stopping, 20), [Action::SetDraining(true)]);
    let undrained = machine.on(Event::Looked(healthy()), 30);
    assert_eq!(undrained, [Action::SetQuorum(true)]);
    assert_eq!(
        machine.on(Event::Resign, 40),
        [Action::Serve(None), Action::Resign(Some(7))]
    );
    assert_eq!(machine.on(fenced(7), 50), []);
    assert_eq!(machine.on(Event::ClaimAgain, 60), []);
    // A claim that was under way all the while.
    assert_eq!(machine.on(Event::Claimed(8), 70), [Action::Resign(Some(8))]);
}

#[test]
fn a_majority_out_of_reach_counts_as_there_until_an_election_must_be_over() {
    let mut machine = claimed();
    let mut quorum = |view: View, now| {
        let actions = machine.on(Event::Looked(view), now);
        actions.contains(&Action::SetQuorum(true))
    };
    assert!(!quorum(View::default(), 100), "never seen yet");
    assert!(quorum(healthy(), 200));
    assert!(quorum(View::default(), 1_699));
    assert!(!quorum(View::default(), 1_700));
    assert!(quorum(healthy(), 1_800));
}

#[test]
fn drain_follows_the_state() {
    let mut machine = claimed();
    let drained = View {
        draining: true,
        ..healthy()
    };
    assert_eq!(
        machine.on(Event::Looked(drained), 100),
        [Action::SetQuorum(true), Action::SetDraining(true)]
    );
    assert_eq!(
        machine.on(Event::Looked(healthy()), 200),
        [Action::SetQuorum(true), Action::SetDraining(false)]
    );
}

#[test]
fn a_leader_lets_every_node_renew_before_it_ends_tenures() {
    let leads = |expired: &[Epoch]| {
        Event::Looked(View {
            leads: true,
            expired: expired.to_vec(),
            ..healthy()
        })
    };
    let mut machine = claimed();
    let mut down = |event, now| -> Vec<Action> {
        let mut actions = machine.on(event, now);
        actions.retain(|action| matches!(action, Action::Down(_)));
        actions
    };
    assert_eq!(down(leads(&[3]), 10_000), []);
    assert_eq!(down(leads(&[3]), 12_999), []);
    assert_eq!(
        down(leads(&[3, 4]), 13_000),
        [Action::Down(3), Action::Down(4)]
    );
    // Leadership lost and won again: the wait begins anew.
    assert_eq!(down(Event::Looked(healthy()), 13_100), []);
    assert_eq!(down(leads(&[3]), 13_200), []);
}

#[test]
fn a_leader_that_has_its_majority_again_lets_every_node_renew_first() {
    let leads = |healthy| {
        Event::Looked(View {
            leads: true,
            healthy,
            expired: vec![3],
            ..View::default()
        })
    };
    let mut machine = claimed();
    let mut down = |event, now| -> Vec<Action> {
        let mut actions = machine.on(event, now);
        actions.retain(|action| matches!(action, Action::Down(_)));
        actions
    };
    assert_eq!(down(leads(true), 10_000), []);
    // Its leases run out while it hears nobody; whose calls these are is not decided then.
    assert_eq!(down(leads(false), 12_000), []);
    assert_eq!(down(leads(false), 20_000), []);
    assert_eq!(down(leads(true), 20_100), []);
    assert_eq!(down(leads(true), 23_099), []);
    assert_eq!(down(leads(true), 23_100), [Action::Down(3)]);
}

#[test]
fn a_silent_node_is_told_of_once_and_once_more_when_it_answers() {
    let looked = |answers| {
        Event::Looked(View {
            members: vec![(1, true), (2, answers)],
            ..healthy()
        })
    };
    let mut machine = claimed();
    let mut said = |event, now| -> Vec<Action> {
        let mut actions = machine.on(event, now);
        actions.retain(|action| matches!(action, Action::Say { .. }));
        actions
    };
    let say = |answers| Action::Say { node: 2, answers };
    assert_eq!(said(looked(false), 2_999), [], "nobody has been heard yet");
    assert_eq!(said(looked(false), 3_000), [say(false)]);
    assert_eq!(said(looked(false), 3_100), []);
    assert_eq!(said(looked(true), 3_200), [say(true)]);
    assert_eq!(said(looked(true), 3_300), []);
}

#[test]
fn what_nobody_looks_after_is_taken_up_at_the_second_look_and_not_before_it_has_settled() {
    let (call, others) = (CallId::new(7, 1), CallId::new(3, 1));
    let table = [
        (Suspect::Binding(3), Action::Adopt(7, 3)),
        (Suspect::Call(call), Action::Close(7, call)),
        (Suspect::Call(others), Action::TakeOver(7, others)),
        (Suspect::Relation(4), Action::Look(7, 4)),
    ];
    for (suspect, want) in table {
        let mut machine = claimed();
        let mut look = |at, what: &[(Suspect, Millis)]| {
            let what = what.to_vec();
            machine.on(Event::Unattended { at, what }, at)
        };
        let alone = [(suspect, 1_000)];
        assert_eq!(look(6_000, &alone), [], "too young");
        assert_eq!(look(6_001, &alone), [], "seen for the first time");
        assert_eq!(look(6_002, &[]), [], "looked after meanwhile");
        assert_eq!(look(6_003, &alone), []);
        assert_eq!(look(6_004, &alone), [want]);
        assert_eq!(look(6_005, &alone), [], "given time to begin");
    }
}

#[test]
fn a_node_without_a_tenure_takes_nothing_up() {
    let mut machine = Machine::new(LIMITS);
    for at in [10_000, 11_000] {
        let what = vec![(Suspect::Binding(3), 0)];
        assert_eq!(machine.on(Event::Unattended { at, what }, at), []);
    }
    let asked = Effect::AxAsked { owner: 7, ax: 1 };
    assert_eq!(machine.on(Event::Applied(asked), 0), []);
}

#[test]
fn effects_are_carried_out_by_their_owner_alone() {
    let effects = |owner| {
        [
            Effect::Adopted { owner, binding: 3 },
            Effect::UnbindAsked { owner, binding: 3 },
            Effect::AxTurn {
                owner,
                call: CallId::new(7, 1),
                attempt: 2,
            },
            Effect::AxAsked { owner, ax: 4 },
            Effect::CallAdopted {
                owner,
                call: CallId::new(3, 1),
            },
        ]
    };
    let mut machine = claimed();
    for effect in effects(6) {
        assert_eq!(machine.on(Event::Applied(effect), 0), []);
    }
    let done: Vec<Action> = effects(7)
        .into_iter()
        .flat_map(|effect| machine.on(Event::Applied(effect), 0))
        .collect();
    let want = [
        Action::CountAdopted,
        Action::Adopt(7, 3),
        Action::Release(7, 3),
        Action::Turn(CallId::new(7, 1), 2),
        Action::Look(7, 4),
        Action::TakeOver(7, CallId::new(3, 1)),
    ];
    assert_eq!(done, want);
}

#[test]
fn an_edited_interface_is_asked_again_by_every_node_and_other_edits_by_none() {
    let edited = |table| Event::Applied(Effect::Edited { table, id: 5 });
    let mut machine = claimed();
    assert_eq!(
        machine.on(edited(Table::Interfaces), 0),
        [Action::AskAgain(7, 5)]
    );
    assert_eq!(machine.on(edited(Table::XNumbers), 0), []);
}

#[test]
fn a_call_taken_over_that_nobody_runs_any_more_is_closed() {
    let mut machine = claimed();
    let (owner, call) = (7, CallId::new(3, 1));
    machine.on(Event::Applied(Effect::CallAdopted { owner, call }), 0);
    let mut look = |at| {
        let what = vec![(Suspect::Call(call), 1_000)];
        machine.on(Event::Unattended { at, what }, at)
    };
    look(7_000);
    assert_eq!(look(9_000), [Action::Close(7, call)]);
}
