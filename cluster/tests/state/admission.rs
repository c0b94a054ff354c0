//! Who may call, on whose money, and through which gateway.

use crate::world::*;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;

#[test]
fn a_call_gets_gateway_numbers_credit_and_its_record() {
    let (mut w, rows) = World::usual(1, 1);
    let (call, attempt) = w.reserved(rows.mapping, "13900000001", "13800000001");
    let lease = attempt.lease.as_ref().expect("AXB");
    assert_eq!(
        (&*lease.a, &*lease.x, &*lease.b_submitted),
        ("02100000", "17000000", "13800000001")
    );
    assert_eq!(
        (&*attempt.caller_out, &*attempt.callee_out),
        ("02100000", "17000000")
    );
    assert_eq!((attempt.number, &*attempt.gateway_name), (1, "platform"));
    assert_eq!(
        attempt.credit,
        Some(Credit {
            upto_secs: 60,
            last: false
        })
    );
    assert_eq!(
        w.state.account_balance(rows.customer),
        (1_000 * UNIT, UNIT / 10)
    );
    assert_eq!(w.state.mapping_gateway_calls(rows.mapping), 1);
    assert_eq!(w.state.gateway_calls(rows.routing), 1);
    let record = w.state.call(call).expect("record");
    assert_eq!(
        record
            .axb
            .as_ref()
            .map(|axb| (&*axb.interface, &*axb.a_group)),
        Some(("hz", "ga"))
    );
}

/// Each row breaks one more thing; the refusal named first wins over all that follow.
#[test]
fn refusals_come_in_their_order_of_precedence() {
    type Break = fn(&mut World, Rows);
    let breaks: [(Refusal, Break); 10] = [
        (Refusal::NoRoute, |w, r| {
            w.change_routing(r.routing, |g| g.prefixes = vec!["9".into()])
        }),
        (Refusal::BalanceInsufficient, |w, r| {
            w.apply(Command::Pay(Payment {
                request: 99_999,
                actor: "op".into(),
                account: r.customer,
                amount: -1_000 * UNIT,
                memo: String::new(),
            }));
        }),
        (Refusal::RateNotFound, |w, r| {
            w.change_account(r.customer, |a| a.fee_rate_group = "none".into())
        }),
        (Refusal::AccountExpired, |w, r| {
            w.change_account(r.customer, |a| a.valid_until = Some(1))
        }),
        (Refusal::AccountLocked, |w, r| {
            w.change_account(r.customer, |a| a.lock_type = 3)
        }),
        (Refusal::CalleeForbidden, |w, r| {
            w.change_mapping(r.mapping, |g| {
                g.callee_prefixes = PrefixList {
                    allow: false,
                    prefixes: vec!["138".into()],
                }
            })
        }),
        (Refusal::CallerForbidden, |w, r| {
            w.change_mapping(r.mapping, |g| {
                g.caller_prefixes = PrefixList {
                    allow: true,
                    prefixes: vec!["0571".into()],
                }
            })
        }),
        (Refusal::GatewayCapacity, |w, r| {
            w.change_mapping(r.mapping, |g| g.capacity = 1)
        }),
        (Refusal::GatewayLocked, |w, r| {
            w.change_mapping(r.mapping, |g| g.lock_type = 3)
        }),
        (Refusal::StaleEpoch, |w, _| {
            w.apply(Command::Resign { epoch: w.epoch });
        }),
    ];
    let (mut w, rows) = World::usual(5, 5);
    w.reserved(rows.mapping, "13900000001", "13800000009");
    for (expected, make) in breaks {
        make(&mut w, rows);
        assert_eq!(
            w.refused(rows.mapping, "13900000001", "13800000001"),
            expected
        );
    }
}

#[test]
fn prefix_lists_admit_or_refuse() {
    for (allow, prefixes, callee, passes) in [
        (false, vec![], "138", true),
        (true, vec![], "138", true),
        (false, vec!["138", "139"], "1380", false),
        (false, vec!["138", "139"], "1370", true),
        (true, vec!["138", "139"], "1390", true),
        (true, vec!["138", "139"], "1370", false),
    ] {
        let (mut w, rows) = World::usual(1, 1);
        let prefixes: Vec<String> = prefixes.into_iter().map(String::from).collect();
        w.change_mapping(rows.mapping, |g| {
            g.callee_prefixes = PrefixList {
                allow,
                prefixes: prefixes.clone(),
            }
        });
        let (_, reply) = w.reserve(rows.mapping, "1", callee);
        assert_eq!(
            matches!(reply, Reply::Reserved(_)),
            passes,
            "{allow} {prefixes:?} {callee}: {reply:?}"
        );
    }
}

#[test]
fn refused_call_holds_nothing_and_its_end_writes_the_record() {
    let (mut w, rows) = World::usual(1, 1);
    w.change_routing(rows.routing, |g| g.capacity = 1);
    let (first, _) = w.reserved(rows.mapping, "1", "138");
    let (second, reply) = w.reserve(rows.mapping, "1", "139");
    assert_eq!(reply, Reply::Refused(Refusal::RouteCapacity));
    assert_eq!(w.state.mapping_gateway_calls(rows.mapping), 1);
    assert_eq!(w.state.counts().calls, 2);
    assert_eq!(w.end_as(second, "gateway_capacity"), Reply::Done);
    assert_eq!(w.effects, [Effect::Outbox { last: 1 }]);
    assert_eq!(
        w.records(1),
        [format!("{second} gateway_capacity 0 {}:0", rows.customer)]
    );
    w.end(first);
    assert_eq!(w.state.counts().calls, 0);
    assert_eq!(w.state.outbox_last(), 2);
}

#[test]
fn unknown_gateway_is_refused_without_a_record() {
    let (mut w, _) = World::usual(1, 1);
    assert_eq!(w.refused(77, "1", "138"), Refusal::GatewayLocked);
    assert_eq!(w.state.counts().calls, 0);
}

#[test]
fn repeated_reserve_gives_the_same_attempt_and_late_ones_nothing() {
    let (mut w, rows) = World::usual(9, 9);
    let ask = w.ask(rows.mapping, "1", "138");
    let first = w.apply(Command::Reserve(ask.clone()));
    let again = w.apply(Command::Reserve(ask.clone()));
    assert_eq!(first, again);
    assert_eq!(w.state.counts().bindings, 1);
    w.end(ask.call);
    assert_eq!(
        w.apply(Command::Reserve(ask.clone())),
        Reply::Refused(Refusal::UnknownCall)
    );
    assert_eq!(
        w.end(ask.call),
        Reply::Done,
        "the end of an ended call is no news"
    );
    assert_eq!(w.state.outbox_last(), 1, "and writes nothing");
}

#[test]
fn longest_prefix_of_the_rates_decides_and_a_locked_rate_refuses() {
    let (mut w, rows) = World::usual(9, 9);
    w.put(rate("g", "138", UNIT, 60));
    let locked = w.put(rate("g", "1381", 2 * UNIT, 60));
    w.change(locked, {
        let Entity::FeeRate(rate) = rate("g", "1381", 2 * UNIT, 60) else {
            unreachable!()
        };
        Entity::FeeRate(FeeRate {
            locked: true,
            ..rate
        })
    });
    w.reserved(rows.mapping, "1", "13800");
    assert_eq!(w.state.account_balance(rows.customer).1, UNIT);
    assert_eq!(w.refused(rows.mapping, "1", "13810"), Refusal::RateNotFound);
    w.reserved(rows.mapping, "1", "137");
    assert_eq!(w.state.account_balance(rows.customer).1, UNIT + UNIT / 10);
}

#[test]
fn a_free_rate_needs_no_money() {
    let (mut w, rows) = World::usual(1, 1);
    w.put(rate("g", "110", 0, 60));
    w.change_account(rows.customer, |a| a.fee_rate_group = "g".into());
    w.apply(Command::Pay(Payment {
        request: 77_777,
        actor: "op".into(),
        account: rows.customer,
        amount: -1_000 * UNIT,
        memo: String::new(),
    }));
    let (call, attempt) = w.reserved(rows.mapping, "1", "110");
    assert_eq!(attempt.credit, None);
    let renewed = w.apply(Command::Renew(Renew {
        call,
        epoch: w.owner(call),
        upto_secs: 60,
    }));
    assert_eq!(
        renewed,
        Reply::Renewed(Credit {
            upto_secs: u32::MAX,
            last: false
        })
    );
}

/// Plain gateways: name, prefixes, priority, capacity, style.
fn gateways(w: &mut World, rows: &[(&str, &[&str], u32, u32, PrefixStyle)]) -> Vec<Id> {
    rows.iter()
        .map(|(name, prefixes, priority, capacity, style)| {
            w.put(Entity::RoutingGateway(RoutingGateway {
                prefixes: prefixes.iter().map(|p| p.to_string()).collect(),
                priority: *priority,
                capacity: *capacity,
                prefix_style: *style,
                ..routing(name)
            }))
        })
        .collect()
}

/// The gateways that a call is sent to in turn, all of which fail with 503.
fn walk(w: &mut World, mapping: Id, callee: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (call, mut reply) = w.reserve(mapping, "1", callee);
    while let Reply::Reserved(attempt) = reply {
        names.push(attempt.gateway_name.clone());
        reply = w.next(call, attempt.number, Failure::Gateway { status: 503 });
    }
    w.end(call);
    names
}

#[test]
fn gateways_are_tried_by_prefix_priority_load_past_calls_and_name() {
    use PrefixStyle::{Continue, Terminate};
    for (rows, callee, expected) in [
        // The longest prefix, and nothing else where it terminates.
        (
            &[
                ("a", &["1"][..], 1, 9, Terminate),
                ("b", &["13"], 5, 9, Terminate),
            ][..],
            "138",
            vec!["b"],
        ),
        (
            &[
                ("a", &["1"], 1, 9, Terminate),
                ("b", &["13"], 5, 9, Continue),
            ],
            "138",
            vec!["b", "a"],
        ),
        // One that terminates speaks for its whole prefix.
        (
            &[
                ("a", &[""], 1, 9, Terminate),
                ("b", &["13"], 5, 9, Continue),
                ("c", &["13"], 6, 9, Terminate),
            ],
            "138",
            vec!["b", "c"],
        ),
        // Priority before name; equal ones by name.
        (
            &[
                ("b", &["1"], 2, 9, Terminate),
                ("a", &["1"], 2, 9, Terminate),
                ("c", &["1"], 1, 9, Terminate),
            ],
            "138",
            vec!["c", "a", "b"],
        ),
        // A gateway under two prefixes gets the call once.
        (
            &[
                ("a", &["1", "13"], 1, 9, Continue),
                ("b", &["1"], 2, 9, Continue),
            ],
            "138",
            vec!["a", "b"],
        ),
        (&[("a", &["2"], 1, 9, Terminate)], "138", vec![]),
    ] {
        let mut w = World::empty();
        let customer = w.put(account("c1", "g"));
        w.put(rate("g", "", 0, 60));
        gateways(&mut w, rows);
        let from = w.put(Entity::MappingGateway(mapping("m", customer)));
        assert_eq!(walk(&mut w, from, callee), expected);
    }
}

#[test]
fn lower_load_wins_then_fewer_past_calls() {
    let mut w = World::empty();
    let customer = w.put(account("c1", "g"));
    w.put(rate("g", "", 0, 60));
    let style = PrefixStyle::Terminate;
    gateways(
        &mut w,
        &[("a", &[""], 1, 10, style), ("b", &[""], 1, 20, style)],
    );
    let from = w.put(Entity::MappingGateway(mapping("m", customer)));
    // 0/10 against 0/20, no past calls: the name. 1/10 against 0/20: b. 1/10 against 1/20: b. 1/10 against 2/20 and
    // one past call against two: a.
    let taken: Vec<String> = (0..4)
        .map(|_| w.reserved(from, "1", "138").1.gateway_name)
        .collect();
    assert_eq!(taken, ["a", "b", "b", "a"]);
}

#[test]
fn locked_forbidden_and_full_gateways_are_passed_over() {
    let mut w = World::empty();
    let customer = w.put(account("c1", "g"));
    w.put(rate("g", "", 0, 60));
    let style = PrefixStyle::Terminate;
    let ids = gateways(
        &mut w,
        &[
            ("a", &["138"], 1, 9, style),
            ("b", &["13"], 1, 1, style),
            ("c", &["13"], 2, 9, style),
            ("d", &["13"], 3, 9, style),
        ],
    );
    let from = w.put(Entity::MappingGateway(mapping("m", customer)));
    // A locked gateway's prefix does not count either.
    w.change_routing(ids[0], |g| g.lock_type = 3);
    assert_eq!(w.reserved(from, "1", "138").1.gateway_name, "b");
    assert_eq!(w.reserved(from, "1", "138").1.gateway_name, "c");
    w.change_mapping(from, |g| g.routing_gateways = vec![ids[1], ids[3]]);
    assert_eq!(w.reserved(from, "1", "138").1.gateway_name, "d");
    w.change_mapping(from, |g| g.routing_gateways = vec![ids[1]]);
    assert_eq!(w.refused(from, "1", "138"), Refusal::RouteCapacity);
    w.change_mapping(from, |g| g.routing_gateways = vec![ids[0]]);
    assert_eq!(w.refused(from, "1", "138"), Refusal::NoRoute);
}

#[test]
fn a_failure_moves_on_only_when_the_gateway_says_so() {
    for (switch_on, status, moves) in [
        (vec![], 503, true),
        (vec![], 599, true),
        (vec![], 408, true),
        (vec![], 430, true),
        (vec![], 486, false),
        (vec![], 404, false),
        (vec![], 603, false),
        (vec![486], 486, true),
        (vec![486], 503, false),
    ] {
        let mut w = World::empty();
        let customer = w.put(account("c1", "g"));
        w.put(rate("g", "", 0, 60));
        let style = PrefixStyle::Terminate;
        let ids = gateways(
            &mut w,
            &[("a", &[""], 1, 9, style), ("b", &[""], 2, 9, style)],
        );
        w.change_routing(ids[0], |g| g.switch_on = switch_on.clone());
        let from = w.put(Entity::MappingGateway(mapping("m", customer)));
        let (call, _) = w.reserved(from, "1", "138");
        let reply = w.next(call, 1, Failure::Gateway { status });
        match reply {
            Reply::Reserved(attempt) => {
                assert!(moves && attempt.gateway_name == "b" && attempt.number == 2)
            }
            Reply::Refused(refusal) => assert!(
                !moves && refusal == Refusal::PassOn { status },
                "{switch_on:?} {status}"
            ),
            other => panic!("{other:?}"),
        }
        assert_eq!(w.state.gateway_calls(ids[0]), 0);
        assert_eq!(w.state.gateway_calls(ids[1]), u32::from(moves));
    }
}

#[test]
fn axb_gateways_carry_axb_calls_only() {
    let (mut w, rows) = World::usual(3, 3);
    w.change_mapping(rows.mapping, |g| g.allow_axb = false);
    assert_eq!(w.refused(rows.mapping, "1", "138"), Refusal::AxbNotAllowed);
    let plain = w.put(Entity::RoutingGateway(RoutingGateway {
        priority: 20,
        capacity: 1,
        ..routing("plain")
    }));
    let (_, attempt) = w.reserved(rows.mapping, "1", "138");
    assert_eq!((attempt.gateway, attempt.lease.clone()), (plain, None));
    assert_eq!((&*attempt.caller_out, &*attempt.callee_out), ("1", "138"));
    // The plain one is usable, only full.
    assert_eq!(w.refused(rows.mapping, "1", "138"), Refusal::RouteCapacity);
    assert_eq!(w.state.gateway_calls(rows.routing), 0);
}

#[test]
fn a_gateway_rewrites_what_is_sent() {
    let (mut w, rows) = World::usual(1, 1);
    w.change_routing(rows.routing, |g| {
        g.caller_rules = "021:86021".into();
        g.callee_rules = "*:9$$$$$$$".into();
        if let Some(axb) = &mut g.axb {
            axb.callee_rules = "E3:+86".into();
        }
    });
    let (_, attempt) = w.reserved(rows.mapping, "1", "138");
    assert_eq!(
        (&*attempt.caller_out, &*attempt.callee_out),
        ("8602100000", "97000000")
    );
    assert_eq!(
        attempt.lease.map(|lease| lease.b_submitted),
        Some("+86138".into())
    );
}

#[test]
fn a_flagged_settlement_account_without_money_closes_its_gateway() {
    let (mut w, rows) = World::usual(2, 2);
    w.reserved(rows.mapping, "1", "138");
    w.change_account(rows.landing, |a| a.check_balance = true);
    assert_eq!(w.refused(rows.mapping, "1", "139"), Refusal::RouteCapacity);
}
