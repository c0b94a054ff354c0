//! The life of a binding, line by line of §4.2.

use crate::world::*;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::{Phase, XState};

fn lease(attempt: &Attempt) -> Lease {
    attempt.lease.clone().expect("AXB")
}

#[test]
fn unbind_moment_follows_the_interface() {
    for (delay, expected) in [(None, None), (Some(0), Some(0)), (Some(7), Some(7_000))] {
        let (mut w, rows) = World::usual(1, 1);
        w.change_interface(rows.interface, |i| i.unbind_delay_secs = delay);
        let (call, attempt) = w.reserved(rows.mapping, "1", "138");
        w.bound(&lease(&attempt));
        w.wait(5_000);
        let moment = expected.map(|ms| w.now + ms);
        assert_eq!(w.answered(call), moment);
        let binding = w.binding(lease(&attempt).binding);
        assert_eq!((binding.unbind_at, binding.phase), (moment, Phase::Bound));
    }
}

#[test]
fn answer_that_overtakes_the_bind_keeps_its_moment() {
    let (mut w, rows) = World::usual(1, 1);
    w.change_interface(rows.interface, |i| i.unbind_delay_secs = Some(2));
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    let moment = w.answered(call);
    assert_eq!(moment, Some(w.now + 2_000));
    w.wait(10);
    w.bound(&lease(&attempt));
    assert_eq!(w.binding(1).unbind_at, moment);
    assert_eq!(w.binding(1).phase, Phase::Bound);
    w.wait(10);
    assert_eq!(
        w.answered(call),
        moment,
        "a repeated answer gets the first moment"
    );
}

#[test]
fn early_release_frees_x_and_keeps_a_until_the_call_ends() {
    let (mut w, rows) = World::usual(2, 1);
    w.change_interface(rows.interface, |i| i.unbind_delay_secs = Some(0));
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    w.bound(&lease(&attempt));
    w.answered(call);
    assert_eq!(w.refused(rows.mapping, "1", "139"), Refusal::NoAxbNumber);
    w.unbound(lease(&attempt).binding, false);
    assert_eq!(w.state.x_use(w.x("17000000")), 0);
    assert_eq!(w.state.a_use(w.a(&lease(&attempt).a)), 1);
    let (_, second) = w.reserved(rows.mapping, "1", "139");
    assert_eq!(lease(&second).x, lease(&attempt).x);
    assert_ne!(lease(&second).a, lease(&attempt).a);
    w.end(call);
    assert_eq!(w.state.a_use(w.a(&lease(&attempt).a)), 0);
}

#[test]
fn end_of_call_releases_what_is_left() {
    let (mut w, rows) = World::usual(1, 1);
    w.change_interface(rows.interface, |i| i.unbind_delay_secs = Some(60));
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    w.bound(&lease(&attempt));
    w.answered(call);
    w.wait(1_000);
    w.end(call);
    let binding = w.binding(lease(&attempt).binding);
    assert_eq!(
        (binding.phase, binding.unbind_at),
        (Phase::Unbinding, Some(w.now))
    );
    assert_eq!(
        w.state.x_use(w.x("17000000")),
        1,
        "held until the platform lets go"
    );
    assert_eq!(w.state.a_use(w.a("02100000")), 0);
    w.unbound(1, false);
    assert_eq!(w.state.counts().bindings, 0);
    assert_eq!(w.unbound(1, false), Reply::Done, "once more is no news");
}

#[test]
fn bind_that_comes_after_the_end_is_kept_for_its_release() {
    let (mut w, rows) = World::usual(1, 1);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    w.end(call);
    assert_eq!(w.binding(1).phase, Phase::Unbinding);
    w.bound(&lease(&attempt));
    assert_eq!(w.binding(1).phase, Phase::Unbinding);
    assert_eq!(
        w.binding(1).handle.get("id").map(String::as_str),
        Some("h1")
    );
}

#[test]
fn refused_number_gives_two_further_x_then_the_next_gateway() {
    let (mut w, rows) = World::usual(9, 9);
    let plain = w.put(Entity::RoutingGateway(RoutingGateway {
        priority: 20,
        ..routing("plain")
    }));
    let (call, mut attempt) = w.reserved(rows.mapping, "1", "138");
    let mut refused = Vec::new();
    for number in 1..=3 {
        assert_eq!((attempt.number, attempt.gateway), (number, rows.routing));
        refused.push(lease(&attempt).x);
        let Reply::Reserved(next) = w.next(
            call,
            number,
            Failure::NumberRefused {
                code: "1012".into(),
            },
        ) else {
            panic!("no attempt after {number}")
        };
        attempt = *next;
    }
    refused.sort();
    refused.dedup();
    assert_eq!(refused.len(), 3);
    assert_eq!((attempt.gateway, attempt.lease), (plain, None));
    assert_eq!(w.state.counts().bindings, 0, "nothing was bound");
    let again = w.next(
        call,
        1,
        Failure::NumberRefused {
            code: "1012".into(),
        },
    );
    assert!(
        matches!(again, Reply::Reserved(a) if a.number == 4),
        "a repeat gets the present attempt"
    );
}

#[test]
fn refused_number_that_leaves_no_x_ends_in_bind_failed() {
    let (mut w, rows) = World::usual(9, 1);
    let (call, _) = w.reserved(rows.mapping, "1", "138");
    let failure = Failure::NumberRefused {
        code: "1012".into(),
    };
    assert_eq!(
        w.next(call, 1, failure.clone()),
        Reply::Refused(Refusal::AxbBindFailed)
    );
    assert_eq!(
        w.next(call, 1, failure),
        Reply::Refused(Refusal::AxbBindFailed),
        "and stays so"
    );
    assert_eq!(w.state.counts().a_in_use, 0);
    assert_eq!(w.state.gateway_calls(rows.routing), 0);
}

#[test]
fn platform_refusal_leaves_its_gateway_at_once() {
    let (mut w, rows) = World::usual(9, 9);
    let (call, _) = w.reserved(rows.mapping, "1", "138");
    let reply = w.next(
        call,
        1,
        Failure::PlatformRefused {
            code: "1020".into(),
        },
    );
    assert_eq!(reply, Reply::Refused(Refusal::AxbBindFailed));
    assert_eq!(w.state.counts().bindings, 0);
}

#[test]
fn unknown_bind_quarantines_until_the_platform_has_let_go() {
    let (mut w, rows) = World::usual(2, 1);
    let plain = w.put(Entity::RoutingGateway(RoutingGateway {
        priority: 20,
        ..routing("plain")
    }));
    w.change_x("17000000", |x| x.line_limit = 5);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    let Reply::Reserved(next) = w.next(
        call,
        1,
        Failure::BindUnknown {
            code: "timeout".into(),
        },
    ) else {
        panic!()
    };
    assert_eq!(next.gateway, plain);
    let binding = w.binding(lease(&attempt).binding);
    assert_eq!(
        (binding.phase, binding.unbind_at),
        (Phase::Orphan, Some(w.now))
    );
    assert_eq!(binding.last_error.as_deref(), Some("timeout"));
    assert_eq!(
        w.state.a_use(w.a(&lease(&attempt).a)),
        0,
        "the call left this A"
    );
    let failed = UnbindFailed {
        binding: 1,
        epoch: w.epoch,
        error: "still down".into(),
    };
    assert_eq!(w.apply(Command::UnbindFailed(failed)), Reply::Done);
    assert_eq!(w.state.x_state(w.x("17000000")), XState::Quarantined);
    w.unbound(1, true);
    assert_eq!(w.state.counts().let_go, 0, "it was never known to be there");
    assert_eq!(w.state.x_state(w.x("17000000")), XState::Active);
}

#[test]
fn late_word_on_an_unknown_bind_makes_it_a_plain_release() {
    let (mut w, rows) = World::usual(2, 1);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    w.next(
        call,
        1,
        Failure::BindUnknown {
            code: "timeout".into(),
        },
    );
    w.bound(&lease(&attempt));
    assert_eq!(w.binding(1).phase, Phase::Unbinding);
    assert_eq!(w.state.x_state(w.x("17000000")), XState::Active);
}

#[test]
fn failed_gateway_frees_a_and_releases_the_binding_while_the_pair_stays_out() {
    let (mut w, rows) = World::usual(1, 1);
    w.change_x("17000000", |x| x.line_limit = 5);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    w.bound(&lease(&attempt));
    assert_eq!(
        w.next(call, 1, Failure::Gateway { status: 503 }),
        Reply::Refused(Refusal::PassOn { status: 503 })
    );
    assert_eq!(w.binding(1).phase, Phase::Unbinding);
    assert_eq!(w.state.a_use(w.a("02100000")), 0);
    assert_eq!(w.refused(rows.mapping, "1", "139"), Refusal::NoAxbNumber);
    w.unbound(1, false);
    w.wait(2_000);
    w.reserved(rows.mapping, "1", "139");
}

#[test]
fn the_answered_x_is_the_one_that_is_booked() {
    let (mut w, rows) = World::usual(1, 1);
    w.change_routing(rows.routing, |g| g.callee_rules = "1:8".into());
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    let other = w.put(x_number(rows.interface, "17999"));
    assert_eq!(w.bound_as(lease(&attempt).binding, "17999"), Reply::Done);
    assert_eq!(
        (w.state.x_use(w.x("17000000")), w.state.x_use(other)),
        (0, 1)
    );
    let record = w.state.call(call).expect("call");
    let attempt = record.attempt.as_ref().expect("attempt");
    assert_eq!(
        (&*lease(attempt).x, &*attempt.callee_out),
        ("17999", "87999")
    );
    assert_eq!(record.axb.as_ref().map(|axb| &*axb.x), Some("17999"));
    assert_eq!(w.bound_as(1, "17999"), Reply::Done, "once more is no news");
    w.end(call);
    w.unbound(1, false);
    assert_eq!(w.state.counts().x_in_use, 0);
}

#[test]
fn an_answered_x_that_cannot_be_booked_is_refused_and_released() {
    type Make = fn(&mut World, Rows);
    let cases: [(&str, Make); 4] = [
        ("nobody's", |_, _| {}),
        ("another interface's", |w, _| {
            let other = w.put(interface("other"));
            w.put(x_number(other, "17999"));
        }),
        ("full", |w, r| {
            w.put(x_number(r.interface, "17999"));
            w.change_x("17000000", |x| x.disabled = true);
            w.reserved(r.mapping, "1", "139");
            w.change_x("17000000", |x| x.disabled = false);
        }),
        ("paired with this callee", |w, r| {
            w.put(x_number(r.interface, "17999"));
            w.change_x("17999", |x| x.line_limit = 5);
            w.change_x("17000000", |x| x.disabled = true);
            w.reserved(r.mapping, "1", "138");
            w.change_x("17000000", |x| x.disabled = false);
        }),
    ];
    for (case, make) in cases {
        let (mut w, rows) = World::usual(2, 1);
        make(&mut w, rows);
        if w.state.find(Table::XNumbers, "17999").is_some() {
            w.change_x("17999", |x| x.disabled = true);
        }
        let (call, attempt) = w.reserved(rows.mapping, "1", "138");
        let binding = lease(&attempt).binding;
        assert_eq!(
            w.bound_as(binding, "17999"),
            Reply::Refused(Refusal::XNotOurs),
            "{case}"
        );
        assert_eq!(
            w.bound_as(binding, "17999"),
            Reply::Refused(Refusal::XNotOurs),
            "{case}, again"
        );
        assert_eq!(w.binding(binding).phase, Phase::Unbinding, "{case}");
        assert_eq!(w.binding(binding).x, lease(&attempt).x, "{case}");
        w.next(
            call,
            attempt.number,
            Failure::NumberRefused {
                code: "other x".into(),
            },
        );
        w.end(call);
    }
}

#[test]
fn missing_at_the_platform_releases_and_is_counted() {
    let (mut w, rows) = World::usual(1, 1);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    w.bound(&lease(&attempt));
    w.end(call);
    w.unbound(1, true);
    assert_eq!((w.state.counts().bindings, w.state.counts().let_go), (0, 1));
    assert_eq!(w.state.let_go(rows.interface), 1);
}

#[test]
fn missing_after_an_unbind_without_answer_is_our_own_doing() {
    let (mut w, rows) = World::usual(1, 1);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    w.bound(&lease(&attempt));
    w.end(call);
    w.apply(Command::UnbindFailed(UnbindFailed {
        binding: 1,
        epoch: w.epoch,
        error: "timeout".into(),
    }));
    assert_eq!(w.binding(1).last_error.as_deref(), Some("timeout"));
    w.unbound(1, true);
    assert_eq!((w.state.counts().bindings, w.state.counts().let_go), (0, 0));
}

#[test]
fn hold_missing_keeps_the_row_until_it_is_forced() {
    let (mut w, rows) = World::usual(1, 1);
    w.change_interface(rows.interface, |i| i.hold_missing = true);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    w.bound(&lease(&attempt));
    w.end(call);
    w.unbound(1, true);
    assert_eq!(w.binding(1).phase, Phase::Unbinding);
    assert!(w.binding(1).last_error.is_some());
    assert_eq!(w.state.x_use(w.x("17000000")), 1);
    let gone = w.binding(1).clone();
    assert_eq!(
        w.apply(Command::ForceUnbind {
            binding: 1,
            actor: "op".into()
        }),
        Reply::Done
    );
    assert_eq!(
        w.effects,
        [Effect::ForceUnbound {
            owner: w.epoch,
            gone: Box::new(gone)
        }]
    );
    assert_eq!(w.state.counts().bindings, 0);
    let again = w.apply(Command::ForceUnbind {
        binding: 1,
        actor: "op".into(),
    });
    assert_eq!(again, Reply::Refused(Refusal::NotFound));
    assert_eq!(
        w.state
            .audit()
            .filter(|line| format!("{:?}", line.deed).contains("ForceUnbind"))
            .count(),
        1
    );
}

#[test]
fn asked_release_goes_to_the_owner_and_the_row_waits_for_the_platform() {
    let (mut w, rows) = World::usual(1, 1);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    w.bound(&lease(&attempt));
    w.answered(call);
    assert_eq!(
        w.apply(Command::AskUnbind {
            binding: 1,
            actor: "op".into()
        }),
        Reply::Done
    );
    assert_eq!(
        w.effects,
        [Effect::UnbindAsked {
            owner: w.epoch,
            binding: 1
        }]
    );
    assert_eq!(w.binding(1).phase, Phase::Unbinding);
    w.unbound(1, false);
    assert_eq!(w.state.counts().bindings, 0);
    assert!(w.state.call(call).is_some(), "the call goes on");
}

#[test]
fn confirmation_of_a_forced_binding_finds_nothing() {
    let (mut w, rows) = World::usual(1, 1);
    w.reserved(rows.mapping, "1", "138");
    w.apply(Command::ForceUnbind {
        binding: 1,
        actor: "op".into(),
    });
    assert_eq!(w.bound_as(1, "17000000"), Reply::Refused(Refusal::NotFound));
}
