//! Static relations and the calls that go out over them, step by step (`DOMAIN.md` §5).

use crate::world::*;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::AxPhase;

const CALLER: &str = "057188";
const A0: &str = "02100000";
const A1: &str = "02100001";
const X0: &str = "17000000";
const X1: &str = "17000001";

/// A platform with static relations that sets callees, `a` A numbers and `x` X numbers of limit 9, AX alone allowed.
fn world(a: u32, x: u32) -> (World, Rows) {
    let (mut w, rows) = World::usual(a, x);
    w.change_interface(rows.interface, |i| {
        i.type_rules.ax = true;
        i.type_rules.set_callee = true;
    });
    for n in 0..a {
        w.change_a(&format!("021{n:05}"), |a| a.line_limit = 9);
    }
    for n in 0..x {
        w.change_x(&format!("170{n:05}"), |x| x.line_limit = 9);
    }
    w.change_mapping(rows.mapping, |g| {
        g.allow_axb = false;
        g.allow_ax = true;
    });
    (w, rows)
}

fn ax_of(attempt: &Attempt) -> &AxLease {
    attempt.ax.as_ref().expect("goes out over a relation")
}

#[test]
fn a_call_goes_out_over_a_bound_relation_and_holds_its_a_and_its_x() {
    let (mut w, rows) = world(2, 2);
    let ax = w.bound_relation(rows.interface, A1, X0);
    let (call, attempt) = w.reserved(rows.mapping, CALLER, "13800");
    assert_eq!(attempt.lease, None);
    assert_eq!((&*attempt.caller_out, &*attempt.callee_out), (A1, X0));
    let lease = ax_of(&attempt);
    assert_eq!((lease.ax, &*lease.a, &*lease.x), (ax, A1, X0));
    assert_eq!(&*lease.b_submitted, "13800");
    assert_eq!(lease.handle["id"], format!("s{ax}"));
    assert!(lease.set_callee && lease.turn);
    assert_eq!((w.state.a_use(w.a(A1)), w.state.x_use(w.x(X0))), (1, 1));
    assert_eq!(w.state.bindings().len(), 0);
    let facts = w
        .state
        .call(call)
        .expect("call")
        .axb
        .clone()
        .expect("facts");
    assert_eq!((&*facts.a, &*facts.x, &*facts.interface), (A1, X0, "hz"));
    w.end(call);
    assert_eq!((w.state.a_use(w.a(A1)), w.state.x_use(w.x(X0))), (0, 0));
    assert_eq!(w.ax_phase(ax), AxPhase::Bound);
}

#[test]
fn axb_comes_first_and_ax_carries_what_finds_no_pair() {
    let (mut w, rows) = world(2, 1);
    w.change_x(X0, |x| x.line_limit = 2);
    w.change_mapping(rows.mapping, |g| g.allow_axb = true);
    w.bound_relation(rows.interface, A0, X0);
    let (_, first) = w.reserved(rows.mapping, CALLER, "13800");
    assert_eq!(first.lease.expect("a binding").a, A1);
    let (_, second) = w.reserved(rows.mapping, CALLER, "13801");
    assert_eq!((&*ax_of(&second).a, &*ax_of(&second).x), (A0, X0));
    assert_eq!(w.state.x_use(w.x(X0)), 2);
    assert_eq!(
        w.refused(rows.mapping, CALLER, "13802"),
        Refusal::NoAxbNumber
    );
}

#[test]
fn calls_on_one_x_set_their_callees_one_after_another() {
    let (mut w, rows) = world(2, 2);
    w.bound_relation(rows.interface, A0, X0);
    let call = |w: &mut World, b: &str| w.reserved(rows.mapping, CALLER, b);
    let (one, first) = call(&mut w, "1381");
    let (two, second) = call(&mut w, "1382");
    let (three, third) = call(&mut w, "1383");
    let (four, _) = call(&mut w, "1384");
    let turns = [&first, &second, &third].map(|attempt| ax_of(attempt).turn);
    assert_eq!(turns, [true, false, false]);
    w.bound_relation(rows.interface, A1, X1);
    let (beside, aside) = call(&mut w, "1385");
    assert_eq!((&*ax_of(&aside).x, ax_of(&aside).turn), (X1, true));
    w.end(beside);
    w.accepted(one, 2);
    assert!(
        w.turns().is_empty(),
        "another attempt's word counts for nothing"
    );
    w.accepted(one, 1);
    assert_eq!(w.turns(), [two]);
    w.accepted(one, 1);
    assert!(w.turns().is_empty());
    // Whoever gives up while waiting only leaves the queue.
    w.end(three);
    assert!(w.turns().is_empty());
    w.answered(two);
    assert_eq!(w.turns(), [four]);
    let now = w
        .state
        .call(four)
        .expect("call")
        .attempt
        .clone()
        .expect("attempt");
    assert!(ax_of(&now).turn);
    assert_eq!(w.state.x_use(w.x(X0)), 3);
}

#[test]
fn a_turn_passes_on_when_its_holder_fails_ends_or_loses_its_node() {
    let (mut w, rows) = world(1, 1);
    w.bound_relation(rows.interface, A0, X0);
    let home = w.epoch;
    let away = w.claim("n2", 2, 1);
    w.epoch = away;
    let (lost, _) = w.reserved(rows.mapping, CALLER, "1381");
    w.epoch = home;
    let (failing, _) = w.reserved(rows.mapping, CALLER, "1382");
    let (ending, _) = w.reserved(rows.mapping, CALLER, "1383");
    let (last, _) = w.reserved(rows.mapping, CALLER, "1384");
    w.apply(Command::Resign { epoch: away });
    assert_eq!(w.turns(), [failing]);
    assert!(w.state.call(lost).is_none());
    let refused = Failure::NumberRefused { code: "x".into() };
    assert_eq!(
        w.next(failing, 1, refused),
        Reply::Refused(Refusal::AxbBindFailed)
    );
    assert_eq!(w.turns(), [ending]);
    w.end(ending);
    assert_eq!(w.turns(), [last]);
}

#[test]
fn a_relation_and_a_binding_never_share_a_pair() {
    let (mut w, rows) = world(1, 1);
    w.change_mapping(rows.mapping, |g| g.allow_axb = true);
    let (call, attempt) = w.reserved(rows.mapping, CALLER, "13800");
    let binding = attempt.lease.expect("a binding").binding;
    let ax = w.relation(rows.interface, A0, X0);
    let taken = Reply::Refused(Refusal::InUse {
        by: format!("binding {binding}"),
    });
    assert_eq!(w.ask_ax(ax, AxDeed::Bind), taken);
    w.end(call);
    w.unbound(binding, false);
    assert!(
        matches!(w.ask_ax(ax, AxDeed::Bind), Reply::Refused(Refusal::InUse { by }) if by.contains("rest"))
    );
    w.wait(2_000);
    assert_eq!(w.ask_ax(ax, AxDeed::Bind), Reply::Done);
    assert_eq!(
        w.refused(rows.mapping, CALLER, "13800"),
        Refusal::NoAxbNumber
    );
    // An unknown outcome keeps the pair, a sure one gives it back.
    w.ax_failed(ax, true);
    assert_eq!(w.ax_phase(ax), AxPhase::Error);
    assert_eq!(
        w.refused(rows.mapping, CALLER, "13800"),
        Refusal::NoAxbNumber
    );
    w.ask_ax(ax, AxDeed::Unbind);
    assert_eq!(w.effects, [Effect::AxAsked { owner: w.epoch, ax }]);
    w.ax_result(ax, AxResult::Unbound { missing: true });
    assert_eq!(w.ax_phase(ax), AxPhase::Unbound);
    assert_eq!(
        w.refused(rows.mapping, CALLER, "13800"),
        Refusal::NoAxbNumber
    );
    w.wait(2_000);
    w.reserved(rows.mapping, CALLER, "13800");
}

#[test]
fn a_refused_bind_leaves_the_pair_free() {
    let (mut w, rows) = world(1, 1);
    let ax = w.relation(rows.interface, A0, X0);
    w.ask_ax(ax, AxDeed::Bind);
    w.ax_failed(ax, false);
    assert_eq!(w.ax_phase(ax), AxPhase::Error);
    let live = w.state.ax_live(ax).expect("lives");
    assert_eq!(
        (live.last_error.as_deref(), live.last_error_at),
        (Some("no"), Some(w.now))
    );
    w.change_mapping(rows.mapping, |g| g.allow_axb = true);
    w.reserved(rows.mapping, CALLER, "13800");
    assert_eq!(w.remove(Table::AxBindings, ax), Reply::Done);
}

#[test]
fn a_failed_unbind_stays_and_its_pair_with_it() {
    let (mut w, rows) = world(1, 1);
    let ax = w.bound_relation(rows.interface, A0, X0);
    w.ask_ax(ax, AxDeed::Unbind);
    w.ax_failed(ax, false);
    assert_eq!(w.ax_phase(ax), AxPhase::Unbinding);
    assert_eq!(
        w.refused(rows.mapping, CALLER, "13800"),
        Refusal::NoAxbNumber
    );
    assert!(matches!(
        w.remove(Table::AxBindings, ax),
        Reply::Refused(Refusal::InUse { .. })
    ));
    w.ask_ax(ax, AxDeed::ForceUnbind);
    assert!(
        matches!(&w.effects[..], [Effect::AxForced { gone, .. }] if gone.live.handle["id"] == format!("s{ax}"))
    );
    assert_eq!(w.ax_phase(ax), AxPhase::Unbound);
    // The answer to what was asked before says nothing any more.
    w.ax_failed(ax, true);
    assert_eq!(w.ax_phase(ax), AxPhase::Unbound);
    assert_eq!(w.remove(Table::AxBindings, ax), Reply::Done);
}

#[test]
fn a_bind_that_was_dropped_under_way_is_released_when_it_turns_out_to_stand() {
    let (mut w, rows) = world(1, 1);
    let ax = w.relation(rows.interface, A0, X0);
    w.ask_ax(ax, AxDeed::Bind);
    w.ask_ax(ax, AxDeed::ForceUnbind);
    assert_eq!(w.ax_phase(ax), AxPhase::Unbound);
    assert_eq!(w.ax_bound(ax), Reply::Done);
    assert_eq!(w.ax_phase(ax), AxPhase::Unbinding);
    assert_eq!(w.effects, [Effect::AxAsked { owner: w.epoch, ax }]);
    assert_eq!(w.ax_bound(ax), Reply::Done);
    assert!(w.effects.is_empty(), "a repeat asks for nothing");
}

#[test]
fn a_relation_whose_end_has_come_is_released() {
    let (mut w, rows) = world(1, 1);
    let until = w.now + 60_000;
    let Entity::AxBinding(entity) = relation(rows.interface, A0, X0) else {
        unreachable!()
    };
    let ax = w.put(Entity::AxBinding(AxBinding {
        expires_at: Some(until),
        ..entity
    }));
    w.ask_ax(ax, AxDeed::Bind);
    w.ax_bound(ax);
    w.wait(59_999);
    let (call, _) = w.reserved(rows.mapping, CALLER, "13800");
    w.wait(1);
    assert_eq!(
        w.refused(rows.mapping, CALLER, "13801"),
        Refusal::NoAxbNumber
    );
    assert_eq!(w.effects, [Effect::AxAsked { owner: w.epoch, ax }]);
    assert_eq!(w.ax_phase(ax), AxPhase::Unbinding);
    assert!(w.state.call(call).is_some(), "its call goes on");
    w.ax_result(ax, AxResult::Unbound { missing: false });
    assert!(
        matches!(w.ask_ax(ax, AxDeed::Bind), Reply::Refused(Refusal::Invalid { field, .. }) if field == "expires_at")
    );
}

#[test]
fn a_lost_owners_task_goes_to_one_that_lives() {
    let (mut w, rows) = world(1, 1);
    let ax = w.relation(rows.interface, A0, X0);
    let home = w.epoch;
    w.epoch = w.claim("n2", 2, 1);
    w.ask_ax(ax, AxDeed::Bind);
    let away = w.epoch;
    w.apply(Command::Resign { epoch: away });
    assert!(w.effects.contains(&Effect::AxAsked { owner: home, ax }));
    w.epoch = home;
    // What the lost one had asked may have been done, so a refusal now is not the whole truth.
    w.ax_failed(ax, false);
    assert!(w.state.ax_live(ax).expect("lives").takes_pair());
    w.apply(Command::Resign { epoch: home });
    assert_eq!(
        w.ask_ax(ax, AxDeed::Bind),
        Reply::Refused(Refusal::StaleEpoch)
    );
}

#[test]
fn an_x_that_is_not_listed_or_not_free_carries_no_outgoing_call() {
    type Change = fn(&mut World);
    let cases: [(&str, Change); 5] = [
        ("not in the list of X numbers", |w| {
            let x = w.x(X0);
            w.remove(Table::XNumbers, x);
        }),
        ("disabled", |w| w.change_x(X0, |x| x.disabled = true)),
        ("closed to this caller", |w| {
            w.change_x(X0, |x| x.allow_other_callers = false)
        }),
        ("its A has no free line", |w| {
            let a = w.a(A0);
            w.remove(Table::ANumbers, a);
        }),
        ("relation released", |w| {
            let ax = w
                .state
                .find(Table::AxBindings, "02100000/17000000")
                .expect("row");
            w.ask_ax(ax, AxDeed::ForceUnbind);
        }),
    ];
    for (case, change) in cases {
        let (mut w, rows) = world(1, 1);
        w.bound_relation(rows.interface, A0, X0);
        change(&mut w);
        assert_eq!(
            w.refused(rows.mapping, CALLER, "13800"),
            Refusal::NoAxbNumber,
            "{case}"
        );
    }
}

#[test]
fn only_what_the_customer_may_use_is_used() {
    // Allowed: AXB, AX; there: a pair, a relation; what happens.
    let cases = [
        (false, false, "not allowed"),
        (true, false, "binding"),
        (false, true, "relation"),
        (true, true, "binding"),
    ];
    for (axb, ax, expected) in cases {
        let (mut w, rows) = world(2, 2);
        w.bound_relation(rows.interface, A0, X0);
        w.change_mapping(rows.mapping, |g| {
            g.allow_axb = axb;
            g.allow_ax = ax;
        });
        let found = match w.reserve(rows.mapping, CALLER, "13800").1 {
            Reply::Refused(Refusal::AxbNotAllowed) => "not allowed",
            Reply::Reserved(attempt) if attempt.ax.is_some() => "relation",
            Reply::Reserved(attempt) if attempt.lease.is_some() => "binding",
            _ => "else",
        };
        assert_eq!(found, expected, "AXB {axb}, AX {ax}");
    }
}
