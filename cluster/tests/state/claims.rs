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
        epoch: old,
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
            epoch: old,
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
            epoch: old,
            answered_at: w.now,
            pdd_ms: 0,
            dialogs: vec![],
            codec: String::new(),
        }),
        Command::Renew(Renew {
            call,
            epoch: old,
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
        Command::AxAccepted {
            call,
            epoch: old,
            attempt: 1,
        },
        Command::Keep(Keep {
            call,
            epoch: old,
            dialogs: vec![1],
        }),
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
fn lost_node_has_its_calls_in_set_up_closed_and_the_rest_spread_over_the_living() {
    let (mut w, rows) = World::usual(9, 9);
    w.change_interface(rows.interface, |i| i.unbind_delay_secs = Some(600));
    let lost = w.epoch;
    let calls: Vec<_> = (0..4)
        .map(|n| w.reserved(rows.mapping, "1", &format!("138{n}")))
        .collect();
    for (_, attempt) in &calls[..3] {
        w.bound(attempt.lease.as_ref().expect("AXB"));
    }
    let moment = w.answered(calls[0].0);
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
    let adopted = |owner, binding| Effect::Adopted { owner, binding };
    assert_eq!(
        w.effects,
        [
            Effect::Fenced { epoch: lost },
            Effect::Outbox { last: 3 },
            // With its call.
            adopted(two, 1),
            adopted(three, 2),
            adopted(two, 3),
            adopted(three, 4),
            Effect::CallAdopted {
                owner: two,
                call: calls[0].0
            },
        ]
    );
    let gone_on = w.state.call(calls[0].0).expect("goes on");
    assert_eq!((gone_on.owner, gone_on.heard_at), (two, Some(heard)));
    assert!(
        w.records(2)
            .iter()
            .all(|record| record.contains("node_failure 0"))
    );
    let phases: Vec<_> = w
        .state
        .bindings()
        .map(|binding| (binding.phase, binding.unbind_at))
        .collect();
    let now = w.now;
    assert_eq!(phases[0], (Phase::Bound, moment), "its deadline stays");
    assert_eq!(phases[1], (Phase::Unbinding, Some(heard)));
    assert_eq!(phases[2], (Phase::Unbinding, Some(now)));
    assert_eq!(
        phases[3],
        (Phase::Orphan, Some(now)),
        "whether the platform has it, nobody knows"
    );
    w.end(calls[0].0);
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

/// How each way of leaving deals with an answered call.
#[test]
fn answered_calls_go_on_with_one_living_node() {
    type Leaves = fn(&mut World, Epoch);
    let table: [(&str, Leaves, u64, usize); 4] = [
        (
            "its lease runs out",
            |w, epoch| {
                w.wait(3_000);
                w.apply(Command::NodeDown { epoch });
            },
            2,
            7,
        ),
        (
            "it resigns",
            |w, epoch| drop(w.apply(Command::Resign { epoch })),
            2,
            7,
        ),
        (
            "it starts anew and is one of the living",
            |w, _| {
                w.claim("n1", 1, 2);
            },
            3,
            7,
        ),
        (
            "another node takes its expired name",
            |w, _| {
                w.wait(3_000);
                w.claim("n1", 4, 1);
            },
            3,
            7,
        ),
    ];
    for (how, leave, living, calls) in table {
        let (mut w, rows) = World::usual(9, 9);
        let old = w.epoch;
        let taken: Vec<CallId> = (0..calls)
            .map(|n| {
                let (call, attempt) = w.reserved(rows.mapping, "1", &format!("138{n}"));
                w.bound(&attempt.lease.expect("AXB"));
                w.answered(call);
                call
            })
            .collect();
        w.claim("n2", 2, 1);
        w.claim("n3", 3, 1);
        leave(&mut w, old);
        let adopted = w.effects.iter().filter_map(|effect| match effect {
            Effect::CallAdopted { owner, call } => Some((*owner, *call)),
            _ => None,
        });
        let adopted: Vec<(Epoch, CallId)> = adopted.collect();
        assert_eq!(
            adopted.iter().map(|(_, call)| *call).collect::<Vec<_>>(),
            taken,
            "{how}"
        );
        let owners: std::collections::BTreeSet<Epoch> =
            adopted.iter().map(|(owner, _)| *owner).collect();
        assert_eq!(owners.len() as u64, living, "{how}");
        for owner in owners {
            assert!(w.state.tenure(owner).is_some(), "{how}");
            let share = w.state.calls_of(owner).count();
            assert!(
                (2..=4).contains(&share),
                "{how}: one has {share} of {calls}"
            );
            let bindings = w.state.bindings_of(owner);
            assert!(
                bindings.map(|row| w.owner(row.call)).all(|of| of == owner),
                "{how}"
            );
        }
        assert_eq!(w.state.counts().answered, calls as u64, "{how}");
        for call in taken {
            assert_eq!(w.end(call), Reply::Done, "{how}");
        }
        assert_eq!(w.records(1).len(), calls, "{how}");
    }
}

#[test]
fn answered_calls_of_the_last_node_wait_for_the_next_claim() {
    let (mut w, rows) = World::usual(3, 3);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    w.bound(&attempt.lease.expect("AXB"));
    w.answered(call);
    let old = w.epoch;
    w.apply(Command::Resign { epoch: old });
    assert_eq!(w.effects, [Effect::Fenced { epoch: old }]);
    assert_eq!(w.end(call), Reply::Refused(Refusal::StaleEpoch));
    w.wait(600_000);
    let epoch = w.claim("n2", 2, 1);
    assert_eq!(
        w.effects,
        [
            Effect::Adopted {
                owner: epoch,
                binding: 1
            },
            Effect::CallAdopted { owner: epoch, call }
        ]
    );
    w.wait(1_000);
    assert_eq!(w.end(call), Reply::Done);
    assert!(w.records(1)[0].contains("normal 601 "));
}

#[test]
fn an_answered_call_without_dialogs_ends_with_its_node() {
    let (mut w, rows) = World::usual(3, 3);
    let (call, _) = w.reserved(rows.mapping, "1", "138");
    w.apply(Command::Answered(Answered {
        call,
        epoch: w.epoch,
        answered_at: w.now,
        pdd_ms: 1,
        dialogs: Vec::new(),
        codec: String::new(),
    }));
    w.wait(1_000);
    w.apply(Command::KeepAlive { epoch: w.epoch });
    w.claim("n2", 2, 1);
    w.wait(2_000);
    w.apply(Command::Resign { epoch: w.epoch });
    assert!(w.state.call(call).is_none());
    assert!(
        w.records(1)[0].contains("node_failure 1 "),
        "up to the moment at which the node was last heard"
    );
}

#[test]
fn only_the_new_owner_speaks_for_an_adopted_call() {
    let (mut w, rows) = World::usual(3, 3);
    w.change_interface(rows.interface, |i| i.unbind_delay_secs = Some(0));
    let old = w.epoch;
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    let lease = attempt.lease.expect("AXB");
    w.bound(&lease);
    w.answered(call);
    let (two, three) = (w.claim("n2", 2, 1), w.claim("n3", 3, 1));
    // It wakes up and has its name back.
    let anew = w.claim("n1", 1, 2);
    assert_eq!(w.owner(call), two);
    let words = |epoch| {
        let binding = lease.binding;
        [
            Command::Answered(Answered {
                call,
                epoch,
                answered_at: 5,
                pdd_ms: 0,
                dialogs: vec![9],
                codec: String::new(),
            }),
            Command::Keep(Keep {
                call,
                epoch,
                dialogs: vec![8],
            }),
            Command::Renew(Renew {
                call,
                epoch,
                upto_secs: 60,
            }),
            Command::AxAccepted {
                call,
                epoch,
                attempt: 1,
            },
            Command::Next(Next {
                call,
                epoch,
                attempt: 1,
                failure: Failure::Gateway { status: 503 },
            }),
            Command::Bound(Bound {
                binding,
                epoch,
                handle: Default::default(),
                x: lease.x.clone(),
                expires_at: None,
                raw: String::new(),
            }),
            Command::UnbindFailed(UnbindFailed {
                binding,
                epoch,
                error: "e".into(),
            }),
            Command::Unbound(Unbound {
                binding,
                epoch,
                missing: false,
            }),
            Command::End(End {
                call,
                epoch,
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
            }),
        ]
    };
    let said: Vec<_> = [old, anew, three].into_iter().flat_map(words).collect();
    let heeded = words(two);
    let before = w.state.hash();
    for command in said {
        let reply = w.apply(command.clone());
        assert_eq!(reply, Reply::Refused(Refusal::StaleEpoch), "{command:?}");
    }
    assert_eq!(w.state.hash(), before);
    for command in heeded {
        let reply = w.apply(command.clone());
        assert!(
            !matches!(reply, Reply::Refused(_)),
            "{command:?}: {reply:?}"
        );
    }
    assert_eq!(w.records(1).len(), 1);
}

#[test]
fn what_another_node_needs_is_replaced_while_the_call_talks() {
    let (mut w, rows) = World::usual(3, 3);
    let (call, _) = w.reserved(rows.mapping, "1", "138");
    let keep = |bytes: usize| {
        Command::Keep(Keep {
            call,
            epoch: 1,
            dialogs: vec![7; bytes],
        })
    };
    assert_eq!(
        w.apply(keep(10)),
        Reply::Refused(Refusal::UnknownCall),
        "not before the answer"
    );
    w.answered(call);
    assert_eq!(w.apply(keep(16 * 1024)), Reply::Done);
    let text = "16385 bytes where 16384 are kept".to_owned();
    let field = "dialogs".to_owned();
    assert_eq!(
        w.apply(keep(16 * 1024 + 1)),
        Reply::Refused(Refusal::Invalid { field, text })
    );
    let kept = |w: &World| w.state.call(call).map(|call| call.dialogs.0.len());
    assert_eq!(kept(&w), Some(16 * 1024));
    w.end(call);
    assert_eq!(w.apply(keep(10)), Reply::Refused(Refusal::UnknownCall));
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
fn settings_of_a_device_change_one_by_one_and_unknown_ones_are_refused() {
    let mut w = World::empty();
    let set = |pairs: &[(&str, &str)]| Command::Device {
        access_name: "n1".into(),
        label: None,
        settings: Some(
            pairs
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
        ),
        draining: None,
        actor: "op".into(),
    };
    assert_eq!(
        w.apply(set(&[("log_level", "debug"), ("calls_max", "5")])),
        Reply::Done
    );
    assert_eq!(
        w.apply(set(&[("calls_max", ""), ("calls_per_s", "9")])),
        Reply::Done
    );
    let device = w.state.device("n1").expect("device");
    let settings: Vec<_> = device.settings.iter().collect();
    assert_eq!(
        settings,
        [
            (&"calls_per_s".to_owned(), &"9".to_owned()),
            (&"log_level".to_owned(), &"debug".to_owned())
        ]
    );
    let refused = w.apply(set(&[("calls_per_s", "1"), ("colour", "red")]));
    assert!(
        matches!(&refused, Reply::Refused(Refusal::Invalid { field, .. }) if field == "settings.colour"),
        "{refused:?}"
    );
    let device = w.state.device("n1").expect("device");
    assert_eq!(device.settings["calls_per_s"], "9", "all of them or none");
}

#[test]
fn names_that_nobody_holds_are_forgotten_in_the_end() {
    let mut w = World::empty();
    for node in 0..300 {
        w.wait(10);
        let epoch = w.claim(&format!("away-{node}"), 100 + node, 1);
        w.apply(Command::Resign { epoch });
    }
    assert_eq!(w.state.devices().count(), 256);
    assert!(w.state.device("n1").is_some(), "it is held");
    assert!(w.state.device("away-0").is_none());
    assert!(w.state.device("away-299").is_some());
}

#[test]
fn time_of_the_log_never_runs_back() {
    let mut w = World::empty();
    let at = w.state.at();
    w.now -= 1_000;
    w.apply(Command::KeepAlive { epoch: w.epoch });
    assert_eq!(w.state.at(), at);
}
