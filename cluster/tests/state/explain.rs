//! What is told about a call that is not made, beside what becomes of one that is.

use crate::world::*;
use std::collections::BTreeMap;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::State;
use tandem_cluster::state::explain::*;
use tandem_cluster::state::testing::PerPeriod;

const NOBODY: CallId = CallId(0);

fn question(gateway: Id, caller: &str, callee: &str) -> Question {
    Question {
        gateway,
        caller: caller.into(),
        callee: callee.into(),
        seed: 7,
        call: NOBODY,
    }
}

/// The answer, and that asking changed nothing.
fn explain(state: &State, question: &Question) -> Explanation {
    let before = state.hash();
    let told = state.explain(question, &PerPeriod).expect("a gateway");
    assert_eq!(state.hash(), before);
    state.check().expect("whole");
    told
}

fn verdicts(told: &Explanation) -> Vec<(&str, Verdict)> {
    told.routes
        .iter()
        .map(|route| (&*route.gateway, route.verdict.clone()))
        .collect()
}

/// The numbers of the only AXB gateway that is looked into.
fn axb(told: &Explanation) -> &Axb {
    let mut all = told.routes.iter().filter_map(|route| route.axb.as_ref());
    all.next().expect("an AXB gateway")
}

#[test]
fn the_route_and_the_pair_told_are_those_that_the_same_dice_reserve() {
    let (mut w, rows) = World::usual(20, 20);
    w.change_mapping(rows.mapping, |g| {
        g.caller_rules = "0:86".into();
        g.x_select_mode = XSelect::Prefer;
    });
    w.change_routing(rows.routing, |g| {
        g.caller_rules = "021:?;?;?".into();
        g.callee_rules = "170:8170-8199".into();
        g.axb.as_mut().expect("AXB").callee_rules = "138:?$$".into();
    });
    for n in 0..10 {
        w.change_x(&format!("170000{n:02}"), |x| x.callers = vec!["86*".into()]);
    }
    let mut pairs = BTreeMap::new();
    for seed in 0..40 {
        let ask = w.ask(rows.mapping, "8657188", "13800138000");
        let told = explain(
            &w.state,
            &Question {
                seed,
                call: ask.call,
                ..question(rows.mapping, "057188", "13800138000")
            },
        );
        let mut state = w.state.clone();
        let (reply, _) = state.apply(w.now, seed, &Command::Reserve(ask), &PerPeriod);
        let Reply::Reserved(attempt) = reply else {
            panic!("{reply:?}")
        };
        let lease = attempt.lease.expect("AXB");
        let route = &told.routes[0];
        let sent = route.sent.as_ref().expect("goes out");
        let pair = axb(&told).taken.as_ref().expect("a pair");
        assert_eq!(told.refused, None);
        assert_eq!(
            (&*route.gateway, &route.verdict),
            ("platform", &Verdict::Taken)
        );
        assert_eq!((&pair.a, &pair.x, pair.ax), (&lease.a, &lease.x, false));
        assert_eq!(axb(&told).b_submitted.after, lease.b_submitted);
        assert_eq!(sent.caller_out.after, attempt.caller_out);
        assert_eq!(sent.callee_out.after, attempt.callee_out);
        *pairs.entry(pair.a.clone()).or_insert(0) += 1;
    }
    assert!(pairs.len() > 5, "the dice decide: {pairs:?}");
}

#[test]
fn rules_account_and_rate_are_told() {
    let (mut w, rows) = World::usual(1, 1);
    w.apply(Command::Regions(RegionEdit {
        request: 900,
        actor: "op".into(),
        import: 1,
        part: 0,
        last: true,
        replace: true,
        rows: vec![RegionRow {
            mobile_prefix: 1_380_013,
            area_code: "571".into(),
            area_name: "浙江杭州".into(),
        }],
    }));
    w.put(rate("g", "138", UNIT / 10, 60));
    w.change_account(rows.customer, |a| a.limit_money = 5 * UNIT);
    w.change_mapping(rows.mapping, |g| {
        g.caller_rules = "9:,+86:0".into();
        g.callee_rules = "88:,0:".into();
        g.max_duration_secs = Some(7_200);
    });
    let told = explain(
        &w.state,
        &question(rows.mapping, "+8657188886666", "8813800138000"),
    );
    assert_eq!(told.gateway, "customer");
    let rule = |place, text: &str| RuleUsed {
        place,
        text: text.into(),
    };
    assert_eq!(told.caller.after, "057188886666");
    assert_eq!(told.caller.rule, Some(rule(2, "+86:0")));
    assert_eq!(told.callee.after, "13800138000");
    assert_eq!(told.callee.rule, Some(rule(1, "88:")));
    let area = |number: &Rewritten| number.region.as_ref().map(|area| area.area_code.clone());
    assert_eq!(area(&told.caller).as_deref(), Some("571"));
    assert_eq!(area(&told.callee).as_deref(), Some("571"));
    let payer = told.account.as_ref().expect("an account");
    let rate = payer.rate.as_ref().expect("a rate");
    assert_eq!((&*payer.account, payer.available), ("c1", 1_005 * UNIT));
    assert_eq!(
        (&*rate.prefix, rate.fee, rate.period),
        ("138", UNIT / 10, 60)
    );
    // floor(available/fee)·period; the gateway's own limit is shorter.
    assert_eq!(payer.pays_for_secs, Some(603_000));
    assert_eq!(told.max_duration_secs, Some(7_200));
    // DOMAIN §8: balance 5, 0.10 per 60 s, 50 minutes.
    w.change_account(rows.customer, |a| a.limit_money = 0);
    w.apply(Command::Pay(Payment {
        request: 901,
        actor: "op".into(),
        account: rows.customer,
        amount: -995 * UNIT,
        memo: String::new(),
    }));
    let told = explain(&w.state, &question(rows.mapping, "1", "13800138000"));
    assert_eq!(told.max_duration_secs, Some(3_000));
    assert_eq!(told.caller.rule, None);
    let sent = told.routes[0].sent.as_ref().expect("goes out");
    let account = |settled: &Option<Settled>| settled.as_ref().map(|s| s.account.clone());
    assert_eq!(account(&sent.landing).as_deref(), Some("s1"));
    assert_eq!(account(&sent.axb_settlement).as_deref(), Some("s2"));
    assert_eq!(
        w.state.explain(&question(99, "1", "2"), &PerPeriod),
        None,
        "no such gateway"
    );
}

#[test]
fn every_refusal_told_is_the_refusal_given() {
    type Change = fn(&mut World, &Rows);
    let cases: &[(Change, Refusal)] = &[
        (
            |w, r| w.change_mapping(r.mapping, |g| g.lock_type = 3),
            Refusal::GatewayLocked,
        ),
        (
            |w, r| {
                w.change_mapping(r.mapping, |g| g.capacity = 1);
                w.reserved(r.mapping, "1", "139");
            },
            Refusal::GatewayCapacity,
        ),
        (
            |w, r| {
                w.change_mapping(r.mapping, |g| {
                    g.caller_prefixes.prefixes = vec!["05".into()]
                });
            },
            Refusal::CallerForbidden,
        ),
        (
            |w, r| {
                w.change_mapping(r.mapping, |g| {
                    g.callee_prefixes.prefixes = vec!["139".into()];
                    g.callee_prefixes.allow = true;
                });
            },
            Refusal::CalleeForbidden,
        ),
        (
            |w, r| w.change_account(r.customer, |a| a.lock_type = 3),
            Refusal::AccountLocked,
        ),
        (
            |w, r| {
                let past = w.now - 1;
                w.change_account(r.customer, |a| a.valid_until = Some(past));
            },
            Refusal::AccountExpired,
        ),
        (
            |w, r| w.change_account(r.customer, |a| a.fee_rate_group = "none".into()),
            Refusal::RateNotFound,
        ),
        (
            |w, r| {
                w.apply(Command::Pay(Payment {
                    request: 901,
                    actor: "op".into(),
                    account: r.customer,
                    amount: -1_000 * UNIT,
                    memo: String::new(),
                }));
            },
            Refusal::BalanceInsufficient,
        ),
        (
            |w, r| w.change_routing(r.routing, |g| g.prefixes = vec!["9".into()]),
            Refusal::NoRoute,
        ),
        (
            |w, r| {
                w.change_routing(r.routing, |g| g.capacity = 1);
                w.reserved(r.mapping, "1", "139");
            },
            Refusal::RouteCapacity,
        ),
        (
            |w, r| w.change_mapping(r.mapping, |g| g.allow_axb = false),
            Refusal::AxbNotAllowed,
        ),
        (
            |w, _| {
                w.change_x("17000000", |x| x.disabled = true);
                w.change_x("17000001", |x| x.disabled = true);
            },
            Refusal::NoAxbNumber,
        ),
    ];
    for (change, refusal) in cases {
        let (mut w, rows) = World::usual(2, 2);
        let asked = question(rows.mapping, "0571", "138");
        let free = explain(&w.state, &asked);
        assert_eq!(
            (free.refused, &free.routes[0].verdict),
            (None, &Verdict::Taken)
        );
        change(&mut w, &rows);
        let told = explain(&w.state, &asked);
        assert_eq!(told.refused.as_ref(), Some(refusal));
        assert_eq!(w.refused(rows.mapping, "0571", "138"), *refusal);
        // What refuses is marked where it is told; a gateway is taken when the walk over them ends well.
        let failed: Vec<_> = told
            .checks
            .iter()
            .filter_map(|c| c.refused.clone())
            .collect();
        let payer = told.account.as_ref().and_then(|a| a.refused.clone());
        let marked = failed.contains(refusal) || payer.as_ref() == Some(refusal);
        let taken = told.routes.iter().any(|r| r.verdict == Verdict::Taken);
        assert_eq!(marked, taken, "{refusal:?}");
    }
}

#[test]
fn gateways_are_told_in_the_order_of_trial_with_the_reason_to_skip_each() {
    let (mut w, rows) = World::usual(2, 2);
    let add = |w: &mut World, name: &str, prefix: &str, change: &dyn Fn(&mut RoutingGateway)| {
        let mut row = RoutingGateway {
            prefixes: vec![prefix.into()],
            ..routing(name)
        };
        change(&mut row);
        w.put(Entity::RoutingGateway(row))
    };
    let poor = w.put(Entity::Account(Account {
        check_balance: true,
        ..match settlement("s9", "landing") {
            Entity::Account(account) => account,
            _ => unreachable!(),
        }
    }));
    let on = |g: &mut RoutingGateway| g.prefix_style = PrefixStyle::Continue;
    let dearer = |g: &mut RoutingGateway| {
        on(g);
        g.priority = 20;
    };
    let locked = |g: &mut RoutingGateway| g.lock_type = 3;
    let mut allowed = vec![
        rows.routing,
        add(&mut w, "locked", "1380", &locked),
        add(&mut w, "broke", "138", &|g| {
            on(g);
            g.clearing_account = Some(poor);
        }),
        add(&mut w, "first", "138", &dearer),
        add(&mut w, "second", "13", &on),
        add(&mut w, "tiny", "13", &|g| g.capacity = 1),
    ];
    add(&mut w, "foreign", "13800", &on);
    w.change_mapping(rows.mapping, |g| g.routing_gateways = vec![allowed[5]]);
    w.reserved(rows.mapping, "1", "138001");
    allowed.rotate_left(1);
    w.change_mapping(rows.mapping, |g| g.routing_gateways = allowed.clone());
    let told = explain(&w.state, &question(rows.mapping, "1", "13800138000"));
    assert_eq!(
        verdicts(&told),
        [
            ("foreign", Verdict::Skipped(Skip::NotAllowed)),
            ("locked", Verdict::Skipped(Skip::Locked)),
            ("broke", Verdict::Skipped(Skip::NoMoney)),
            ("first", Verdict::Taken),
            ("second", Verdict::Standby),
            ("tiny", Verdict::Skipped(Skip::Full)),
            ("platform", Verdict::Skipped(Skip::Terminated)),
        ]
    );
    let prefixes: Vec<&str> = told.routes.iter().map(|route| &*route.prefix).collect();
    assert_eq!(prefixes, ["13800", "1380", "138", "138", "13", "13", ""]);
    let (_, attempt) = w.reserved(rows.mapping, "1", "13800138000");
    assert_eq!(attempt.gateway_name, "first");
    // An AXB gateway without numbers is passed over, one that is not allowed is not asked.
    w.change_mapping(rows.mapping, |g| g.routing_gateways = vec![rows.routing]);
    w.change_x("17000000", |x| x.disabled = true);
    w.change_x("17000001", |x| x.disabled = true);
    let told = explain(&w.state, &question(rows.mapping, "1", "9"));
    assert_eq!(verdicts(&told), [("platform", Verdict::NoNumbers)]);
    w.change_mapping(rows.mapping, |g| g.allow_axb = false);
    let told = explain(&w.state, &question(rows.mapping, "1", "9"));
    let skipped = Verdict::Skipped(Skip::AxbNotAllowed);
    assert_eq!(verdicts(&told), [("platform", skipped)]);
}

#[test]
fn x_numbers_are_told_with_their_rank_or_why_they_are_left_out() {
    let (mut w, rows) = World::usual(3, 0);
    let caller = "057188886666";
    let x = |w: &mut World, number: &str, callers: &[&str], others: bool, disabled: bool| {
        let Entity::XNumber(x) = x_number(rows.interface, number) else {
            unreachable!()
        };
        w.put(Entity::XNumber(XNumber {
            callers: callers.iter().map(|c| c.to_string()).collect(),
            allow_other_callers: others,
            line_limit: 2,
            disabled,
            ..x
        }))
    };
    // One whose bind has an unknown outcome, one that is full, one that calls B' already.
    w.change_mapping(rows.mapping, |g| g.x_select_mode = XSelect::Prefer);
    let lost = x(&mut w, "1711", &[], true, false);
    let (call, attempt) = w.reserved(rows.mapping, caller, "13900000000");
    w.next(
        call,
        attempt.number,
        Failure::BindUnknown { code: "t".into() },
    );
    assert_eq!(w.state.x_use(lost), 1);
    x(&mut w, "1710", &[], true, false);
    let (_, attempt) = w.reserved(rows.mapping, caller, "13800000000");
    let holder = attempt.lease.expect("AXB").a;
    x(&mut w, "1709", &[], true, true);
    x(&mut w, "1708", &[], false, false);
    x(&mut w, "1707", &["1*"], true, false);
    x(&mut w, "1706", &["@0571"], true, false);
    x(&mut w, "1705", &["0571*"], true, false);
    x(&mut w, "1704", &["057188*"], true, false);
    x(&mut w, "1703", &[caller], true, false);
    let full = x(&mut w, "1712", &[caller], true, false);
    let row = w.state.x(full).expect("row").entity.clone();
    w.change(
        full,
        Entity::XNumber(XNumber {
            line_limit: 1,
            ..row
        }),
    );
    let told = explain(&w.state, &question(rows.mapping, caller, "13800000000"));
    let list = |told: &Explanation| {
        let x = axb(told).x.clone().expect("AXB");
        x.listed
            .into_iter()
            .map(|x| {
                let why = x.excluded.map_or("", XExcluded::key);
                (
                    x.x,
                    x.rank.map_or("none".into(), |rank| rank.to_string()),
                    why,
                )
            })
            .collect::<Vec<_>>()
    };
    let expected = [
        ("1703", "exact", ""),
        ("1712", "exact", ""),
        ("1704", "prefix 6", ""),
        ("1705", "prefix 4", ""),
        ("1706", "region", ""),
        ("1707", "other", ""),
        ("1709", "other", "disabled"),
        ("1711", "other", "quarantined"),
        ("1708", "none", "not_permitted"),
        ("1710", "other", "callee"),
    ]
    .map(|(x, rank, why)| (x.to_owned(), rank.to_owned(), why));
    assert_eq!(list(&told), expected);
    let x_told = axb(&told).x.as_ref().expect("AXB");
    assert_eq!(x_told.total, 10);
    assert_eq!(x_told.usable["exact"], 2);
    assert_eq!(x_told.excluded["quarantined"], 1);
    assert_eq!((axb(&told).a_total, axb(&told).a_free), (3, 2));
    let taken = axb(&told).taken.clone().expect("a pair");
    assert!(["1703", "1712"].contains(&&*taken.x), "{taken:?}");
    assert_ne!(taken.a, holder);
    // Full; not named under restrict; every free A bound with it or resting.
    let (call, attempt) = w.reserved(rows.mapping, caller, "13700000000");
    let lease = attempt.lease.expect("AXB");
    w.change_mapping(rows.mapping, |g| g.x_select_mode = XSelect::Restrict);
    let told = explain(&w.state, &question(rows.mapping, caller, "13600000000"));
    let why = |told: &Explanation, x: &str| {
        let found = list(told).into_iter().find(|(number, ..)| number == x);
        found.expect("listed").2
    };
    assert_eq!(why(&told, "1707"), "not_named");
    if lease.x == "1712" {
        assert_eq!(why(&told, "1712"), "full");
    }
    w.end(call);
    w.unbound(lease.binding, false);
    for a in ["02100000", "02100001", "02100002"] {
        if a != lease.a {
            w.change_a(a, |row| row.line_limit = 1);
            let id = w.a(a);
            if w.state.a_use(id) == 0 {
                w.remove(Table::ANumbers, id);
            }
        }
    }
    let told = explain(&w.state, &question(rows.mapping, caller, "13600000000"));
    assert_eq!(axb(&told).a_free, 1);
    assert_eq!(why(&told, &lease.x), "pairs", "the pair rests");
    w.wait(3_000);
    w.try_claim("n2", 2, 1);
    let told = explain(&w.state, &question(rows.mapping, caller, "13600000000"));
    assert_eq!(why(&told, &lease.x), "");
    // Only the best are listed, all are counted.
    for n in 0..200 {
        w.put(x_number(rows.interface, &format!("172{n:05}")));
    }
    w.change_mapping(rows.mapping, |g| g.x_select_mode = XSelect::None);
    let told = explain(&w.state, &question(rows.mapping, caller, "13600000000"));
    let x_told = axb(&told).x.as_ref().expect("AXB");
    assert_eq!((x_told.total, x_told.listed.len()), (210, LISTED_MAX));
    let counted: usize = x_told.usable.values().chain(x_told.excluded.values()).sum();
    assert_eq!(counted, 210);
}

#[test]
fn relations_are_told_with_why_they_are_left_out() {
    let (mut w, rows) = World::usual(4, 3);
    w.change_interface(rows.interface, |i| {
        i.type_rules.ax = true;
        i.type_rules.set_callee = true;
    });
    w.change_mapping(rows.mapping, |g| {
        g.allow_axb = false;
        g.allow_ax = true;
    });
    w.bound_relation(rows.interface, "02100000", "17000000");
    w.bound_relation(rows.interface, "02100001", "17000001");
    w.bound_relation(rows.interface, "02199999", "17000000");
    w.bound_relation(rows.interface, "02100002", "17999999");
    w.relation(rows.interface, "02100003", "17000002");
    w.change_x("17000001", |x| x.allow_other_callers = false);
    let told = explain(&w.state, &question(rows.mapping, "1", "13800000000"));
    assert_eq!(told.refused, None);
    assert_eq!(axb(&told).x, None);
    let ax = axb(&told).ax.as_ref().expect("AX");
    let listed: Vec<_> = ax
        .listed
        .iter()
        .map(|ax| (&*ax.a, &*ax.x, ax.excluded.map_or("", AxExcluded::key)))
        .collect();
    assert_eq!(
        listed,
        [
            ("02100000", "17000000", ""),
            ("02100003", "17000002", "not_bound"),
            ("02100002", "17999999", "not_listed"),
            ("02100001", "17000001", "not_permitted"),
            ("02199999", "17000000", "not_in_group"),
        ]
    );
    assert_eq!((ax.total, ax.usable["other"]), (5, 1));
    let taken = axb(&told).taken.clone().expect("a pair");
    assert_eq!(
        (&*taken.a, &*taken.x, taken.ax),
        ("02100000", "17000000", true)
    );
    let (_, attempt) = w.reserved(rows.mapping, "1", "13800000000");
    assert_eq!(attempt.ax.expect("AX").a, "02100000");
    let told = explain(&w.state, &question(rows.mapping, "1", "13700000000"));
    assert_eq!(told.refused, Some(Refusal::NoAxbNumber));
    assert_eq!(verdicts(&told), [("platform", Verdict::NoNumbers)]);
    let ax = axb(&told).ax.as_ref().expect("AX");
    assert_eq!(ax.excluded["x_full"], 2);
}
