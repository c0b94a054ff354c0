//! Access names, leases, and what a lost node leaves behind.

use crate::world::*;
use tandem_cluster::command::*;
use tandem_cluster::state::Phase;

#[test]
fn a_live_name_belongs_to_one_node() {
    let mut w = World::empty();
    let first = w.epoch;
    assert_eq!(w.claim("n1", 1, 1), first, "the same process asks again");
    let held = Refusal::ClaimHeld {
        address: "10.0.0.1:80".into(),
        left_ms: 3_000,
    };
    assert_eq!(w.try_claim("n1", 2, 9), Reply::Refused(held));
    w.wait(2_000);
    w.apply(Command::KeepAlive { epoch: first });
    w.wait(2_999);
    assert!(matches!(
        w.try_claim("n1", 2, 9),
        Reply::Refused(Refusal::ClaimHeld { left_ms: 1, .. })
    ));
    w.wait(1);
    let second = w.claim("n1", 2, 9);
    assert!(second > first);
    assert!(w.effects.contains(&Effect::Fenced { epoch: first }));
    assert_eq!(
        w.apply(Command::KeepAlive { epoch: first }),
        Reply::Refused(Refusal::StaleEpoch)
    );
}

#[test]
fn a_restarted_node_supersedes_its_own_claim_at_once() {
    let mut w = World::empty();
    let first = w.epoch;
    let second = w.claim("n1", 1, 2);
    assert!(second > first);
    assert_eq!(
        w.state.device("n1").and_then(|device| device.epoch),
        Some(second)
    );
    assert_eq!(w.state.tenures().count(), 1);
}

#[test]
fn a_late_word_of_an_earlier_process_unseats_nobody() {
    let mut w = World::empty();
    let second = w.claim("n1", 1, 2);
    assert_eq!(w.try_claim("n1", 1, 1), Reply::Refused(Refusal::StaleEpoch));
    assert!(w.state.tenure(second).is_some());
    w.wait(3_000);
    w.apply(Command::NodeDown { epoch: second });
    let third = w.claim("n1", 1, 2);
    assert!(
        third > second,
        "a process that was declared down may ask again"
    );
}

#[test]
fn a_node_is_down_only_when_its_lease_is_over() {
    let mut w = World::empty();
    let epoch = w.epoch;
    let reply = w.apply(Command::NodeDown { epoch });
    assert!(matches!(reply, Reply::Refused(Refusal::ClaimHeld { .. })));
    assert!(w.state.expired_claims(w.now + 2_999).is_empty());
    assert_eq!(w.state.expired_claims(w.now + 3_000), [epoch]);
    w.wait(3_000);
    assert_eq!(w.apply(Command::NodeDown { epoch }), Reply::Done);
    assert_eq!(w.effects, [Effect::Fenced { epoch }]);
    assert_eq!(
        w.apply(Command::NodeDown { epoch }),
        Reply::Done,
        "once more is no news"
    );
    assert_eq!(w.state.device("n1").and_then(|device| device.epoch), None);
}

#[test]
fn everything_under_an_old_epoch_is_refused() {
    let (mut w, rows) = World::usual(3, 3);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    let old = w.epoch;
    let ask = w.ask(rows.mapping, "1", "139");
    w.claim("n1", 1, 2);
    let binding = attempt.lease.expect("AXB").binding;
    let end = End {
        call,
        ended_at: w.now,
        answered_at: None,
        pdd_ms: None,
        codec: String::new(),
        reason: EndReason {
            key: "normal".into(),
            sip: None,
            q850: None,
        },
        by: EndedBy::Caller,
    };
    for command in [
        Command::Reserve(ask),
        Command::Next(Next {
            call,
            attempt: 1,
            failure: Failure::Gateway { status: 503 },
        }),
        Command::Bound(Bound {
            binding,
            epoch: old,
            handle: Default::default(),
            x: "17000000".into(),
            expires_at: None,
            raw: String::new(),
        }),
        Command::Answered(Answered {
            call,
            answered_at: w.now,
            pdd_ms: 0,
            dialogs: vec![],
            codec: String::new(),
        }),
        Command::Renew(Renew {
            call,
            upto_secs: 60,
        }),
        Command::Unbound(Unbound {
            binding,
            epoch: old,
            missing: false,
        }),
        Command::UnbindFailed(UnbindFailed {
            binding,
            epoch: old,
            error: String::new(),
        }),
        Command::End(end),
        Command::KeepAlive { epoch: old },
    ] {
        assert_eq!(
            w.apply(command.clone()),
            Reply::Refused(Refusal::StaleEpoch),
            "{command:?}"
        );
    }
}

#[test]
fn lost_node_has_its_calls_closed_and_its_bindings_spread_over_the_living() {
    let (mut w, rows) = World::usual(9, 9);
    w.change_interface(rows.interface, |i| i.unbind_delay_secs = Some(600));
    let lost = w.epoch;
    let calls: Vec<_> = (0..4)
        .map(|n| w.reserved(rows.mapping, "1", &format!("138{n}")))
        .collect();
    for (_, attempt) in &calls[..3] {
        w.bound(attempt.lease.as_ref().expect("AXB"));
    }
    w.answered(calls[0].0);
    w.wait(1_000);
    w.apply(Command::KeepAlive { epoch: lost });
    let heard = w.now;
    w.end(calls[1].0);
    let (two, three) = (w.claim("n2", 2, 1), w.claim("n3", 3, 1));
    w.wait(3_000);
    for epoch in [two, three] {
        w.apply(Command::KeepAlive { epoch });
    }
    assert_eq!(w.apply(Command::NodeDown { epoch: lost }), Reply::Done);
    assert_eq!(
        w.effects,
        [
            Effect::Fenced { epoch: lost },
            Effect::Outbox { last: 4 },
            Effect::Adopted {
                owner: two,
                binding: 1
            },
            Effect::Adopted {
                owner: three,
                binding: 2
            },
            Effect::Adopted {
                owner: two,
                binding: 3
            },
            Effect::Adopted {
                owner: three,
                binding: 4
            },
        ]
    );
    // Billed up to the moment at which the node was last heard.
    let hold = (heard - (heard - 1_000)) / 1_000;
    let fees = format!(
        "{}:100000 {}:30000 {}:6000",
        rows.customer, rows.landing, rows.settlement
    );
    assert_eq!(
        w.records(2)[0],
        format!("{} node_failure {hold} {fees}", calls[0].0)
    );
    let phases: Vec<_> = w
        .state
        .bindings()
        .map(|binding| (binding.phase, binding.unbind_at))
        .collect();
    let now = w.now;
    assert_eq!(phases[0], (Phase::Unbinding, Some(now)));
    assert_eq!(phases[1], (Phase::Unbinding, Some(heard)));
    assert_eq!(
        phases[3],
        (Phase::Orphan, Some(now)),
        "whether the platform has it, nobody knows"
    );
    let counts = w.state.counts();
    assert_eq!(
        (counts.calls, counts.a_in_use, counts.reserved_money),
        (0, 0, 0)
    );
    for binding in 1..=4 {
        w.unbound(binding, false);
    }
    assert_eq!(w.state.counts().bindings, 0);
}

#[test]
fn bindings_of_the_last_node_wait_for_the_next_claim() {
    let (mut w, rows) = World::usual(3, 3);
    let (_, attempt) = w.reserved(rows.mapping, "1", "138");
    w.bound(&attempt.lease.expect("AXB"));
    w.wait(3_000);
    w.apply(Command::NodeDown { epoch: w.epoch });
    assert_eq!(w.effects.len(), 2);
    assert_eq!(w.state.counts().bindings, 1);
    let epoch = w.claim("n2", 2, 1);
    assert_eq!(
        w.effects,
        [Effect::Adopted {
            owner: epoch,
            binding: 1
        }]
    );
    assert_eq!(w.state.bindings_of(epoch).count(), 1);
}

#[test]
fn resigned_node_hands_over() {
    let (mut w, rows) = World::usual(3, 3);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    w.bound(&attempt.lease.expect("AXB"));
    w.end(call);
    let two = w.claim("n2", 2, 1);
    assert_eq!(w.apply(Command::Resign { epoch: w.epoch }), Reply::Done);
    assert_eq!(
        w.effects,
        [
            Effect::Fenced { epoch: w.epoch },
            Effect::Adopted {
                owner: two,
                binding: 1
            }
        ]
    );
    assert_eq!(w.apply(Command::Resign { epoch: w.epoch }), Reply::Done);
}

#[test]
fn devices_remember_what_operators_set() {
    let mut w = World::empty();
    let edit = |label: Option<&str>, draining| Command::Device {
        access_name: "n1".into(),
        label: label.map(String::from),
        settings: None,
        draining,
        actor: "op".into(),
    };
    assert_eq!(w.apply(edit(Some("east"), Some(true))), Reply::Done);
    let first = w.state.device("n1").expect("device").clone();
    assert_eq!((&*first.label, first.draining), ("east", true));
    w.wait(5_000);
    w.claim("n1", 1, 2);
    let second = w.state.device("n1").expect("device");
    assert_eq!(
        (&*second.label, second.draining),
        ("east", false),
        "a new process starts undrained"
    );
    assert_eq!(
        (second.created_at, second.accessed_at),
        (first.created_at, first.created_at + 5_000)
    );
    let Command::Device {
        label,
        settings,
        draining,
        actor,
        ..
    } = edit(None, None)
    else {
        unreachable!()
    };
    let nobody = Command::Device {
        access_name: "zz".into(),
        label,
        settings,
        draining,
        actor,
    };
    assert_eq!(w.apply(nobody), Reply::Refused(Refusal::NotFound));
}

#[test]
fn time_of_the_log_never_runs_back() {
    let mut w = World::empty();
    let at = w.state.at();
    w.now -= 1_000;
    w.apply(Command::KeepAlive { epoch: w.epoch });
    assert_eq!(w.state.at(), at);
}
