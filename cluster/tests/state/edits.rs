//! Rows made, changed and removed by operators.

use crate::world::*;
use std::net::IpAddr;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::{Deed, PaidAs, XState};

#[test]
fn rows_count_their_versions_and_conflicts_are_named() {
    let mut w = World::empty();
    let id = w.put(Entity::AGroup(AGroup { name: "ga".into() }));
    w.wait(500);
    let put = |request, version, name: &str| {
        Command::Put(Put {
            request,
            actor: "op".into(),
            id: Some(id),
            version,
            memo: "m".into(),
            entity: Entity::AGroup(AGroup { name: name.into() }),
        })
    };
    let first = w.apply(put(100, Some(1), "gb"));
    assert_eq!(first, Reply::Row { id, version: 2 });
    assert_eq!(
        w.effects,
        [Effect::Edited {
            table: Table::AGroups,
            id
        }]
    );
    assert_eq!(
        w.apply(put(100, Some(1), "gb")),
        first,
        "a repeat gets the first reply"
    );
    assert_eq!(
        w.apply(put(101, Some(1), "gc")),
        Reply::Refused(Refusal::VersionConflict { version: 2 })
    );
    assert_eq!(w.apply(put(102, None, "gc")), Reply::Row { id, version: 3 });
    let row = w.state.a_group(id).expect("row");
    assert_eq!(
        (&*row.entity.name, row.created_at + 500, row.updated_at),
        ("gc", w.now, w.now)
    );
    assert_eq!(w.state.find(Table::AGroups, "gc"), Some(id));
    assert_eq!(w.state.find(Table::AGroups, "ga"), None);
    assert_eq!(
        w.try_put(Some(77), Entity::AGroup(AGroup { name: "x".into() })),
        Reply::Refused(Refusal::NotFound)
    );
    let again = w.put(Entity::AGroup(AGroup { name: "ga".into() }));
    assert_eq!(w.remove(Table::AGroups, id), Reply::Done);
    assert_eq!(
        w.remove(Table::AGroups, id),
        Reply::Refused(Refusal::NotFound)
    );
    assert!(
        w.put(Entity::AGroup(AGroup { name: "gd".into() })) > again,
        "ids are never given twice"
    );
}

#[test]
fn bad_rows_are_refused_with_the_field_at_fault() {
    let (mut w, rows) = World::usual(1, 1);
    let bad = |w: &mut World, field: &str, entity: Entity| match w.try_put(None, entity) {
        Reply::Refused(Refusal::Invalid { field: found, .. }) => assert_eq!(found, field),
        other => panic!("{field}: {other:?}"),
    };
    macro_rules! with {
        ($kind:ident, $base:expr, $change:expr) => {{
            let Entity::$kind(mut row) = $base else {
                unreachable!()
            };
            let change: fn(&mut $kind) = $change;
            change(&mut row);
            Entity::$kind(row)
        }};
    }
    bad(
        &mut w,
        "name",
        with!(Interface, interface("new"), |i| i.name = String::new()),
    );
    bad(
        &mut w,
        "name",
        with!(Interface, interface("new"), |i| i.name = "n".repeat(65)),
    );
    bad(&mut w, "name", with!(Interface, interface("hz"), |_| {}));
    bad(
        &mut w,
        "kind",
        with!(Interface, interface("new"), |i| i.kind = String::new()),
    );
    bad(
        &mut w,
        "timeout_ms",
        with!(Interface, interface("new"), |i| i.timeout_ms = 0),
    );
    bad(
        &mut w,
        "rate_per_s",
        with!(Interface, interface("new"), |i| i.rate_per_s = Some(0)),
    );
    bad(
        &mut w,
        "params",
        with!(Interface, interface("new"), |i| {
            i.params.insert("k".into(), "v".repeat(9_000));
        }),
    );
    let x = || x_number(rows.interface, "17777");
    bad(
        &mut w,
        "number",
        with!(XNumber, x(), |x| x.number = "17000000".into()),
    );
    bad(
        &mut w,
        "number",
        with!(XNumber, x(), |x| x.number = "17a".into()),
    );
    bad(
        &mut w,
        "number",
        with!(XNumber, x(), |x| x.number = "1".repeat(33)),
    );
    bad(
        &mut w,
        "interface",
        with!(XNumber, x(), |x| x.interface = 99),
    );
    bad(
        &mut w,
        "line_limit",
        with!(XNumber, x(), |x| x.line_limit = 0),
    );
    bad(
        &mut w,
        "callers",
        with!(XNumber, x(), |x| x.callers = vec!["*".into()]),
    );
    bad(
        &mut w,
        "callers",
        with!(XNumber, x(), |x| x.callers = vec!["@".into()]),
    );
    bad(
        &mut w,
        "callers",
        with!(XNumber, x(), |x| x.callers = vec!["@05a".into()]),
    );
    bad(&mut w, "number", a_number(rows.group, "02100000"));
    bad(&mut w, "group", a_number(99, "022"));
    let from = || Entity::MappingGateway(mapping("new", rows.customer));
    bad(
        &mut w,
        "lock_type",
        with!(MappingGateway, from(), |g| g.lock_type = 1),
    );
    bad(
        &mut w,
        "capacity",
        with!(MappingGateway, from(), |g| g.capacity = 0),
    );
    bad(
        &mut w,
        "remote_ips",
        with!(MappingGateway, from(), |g| g.remote_ips =
            vec!["10.0.0.0/33".into()]),
    );
    bad(
        &mut w,
        "account",
        with!(MappingGateway, from(), |g| g.account = 99),
    );
    bad(
        &mut w,
        "caller_rules",
        with!(MappingGateway, from(), |g| g.caller_rules = "1".into()),
    );
    bad(
        &mut w,
        "callee_rules",
        with!(MappingGateway, from(), |g| g.callee_rules =
            "1:2,x:3".into()),
    );
    bad(
        &mut w,
        "routing_gateways",
        with!(MappingGateway, from(), |g| g.routing_gateways = vec![99]),
    );
    let to = || Entity::RoutingGateway(w_routing(rows));
    bad(
        &mut w,
        "prefixes",
        with!(RoutingGateway, to(), |g| g.prefixes = vec!["a".into()]),
    );
    bad(
        &mut w,
        "switch_on",
        with!(RoutingGateway, to(), |g| g.switch_on = vec![200]),
    );
    bad(
        &mut w,
        "clearing_account",
        with!(RoutingGateway, to(), |g| g.clearing_account = Some(99)),
    );
    for (field, change) in [
        ("axb.a_group", (|axb| axb.a_group = 99) as fn(&mut AxbRoute)),
        ("axb.interface", |axb| axb.interface = 99),
        ("axb.callee_rules", |axb| axb.callee_rules = ":".repeat(3)),
        // The customer's account settles nothing.
        ("axb.account", |axb| axb.account = Some(1)),
    ] {
        let mut gateway = w_routing(rows);
        change(gateway.axb.as_mut().expect("AXB"));
        bad(&mut w, field, Entity::RoutingGateway(gateway));
    }
    bad(
        &mut w,
        "account",
        with!(Account, account("c1", "g"), |_| {}),
    );
    bad(
        &mut w,
        "limit_money",
        with!(Account, account("c9", "g"), |a| a.limit_money = -1),
    );
    bad(&mut w, "prefix", rate("g", "", 1, 60));
    bad(&mut w, "fee", rate("g", "1", -1, 60));
    bad(&mut w, "period", rate("g", "1", 1, 0));
    let Entity::Account(plain) = account("s2", "axb") else {
        unreachable!()
    };
    match w.try_put(Some(rows.settlement), Entity::Account(plain)) {
        Reply::Refused(Refusal::Invalid { field, .. }) => assert_eq!(field, "kind"),
        other => panic!("{other:?}"),
    }
}

fn w_routing(rows: Rows) -> RoutingGateway {
    RoutingGateway {
        axb: Some(AxbRoute {
            a_group: rows.group,
            interface: rows.interface,
            callee_rules: String::new(),
            account: None,
            rate_on_submitted: false,
        }),
        ..routing("new")
    }
}

#[test]
fn rows_that_others_name_stay() {
    let (mut w, rows) = World::usual(1, 1);
    w.change_mapping(rows.mapping, |g| g.routing_gateways = vec![rows.routing]);
    for (table, id, by) in [
        (
            Table::Interfaces,
            rows.interface,
            "routing gateway `platform`",
        ),
        (Table::AGroups, rows.group, "routing gateway `platform`"),
        (
            Table::RoutingGateways,
            rows.routing,
            "mapping gateway `customer`",
        ),
        (Table::Accounts, rows.customer, "mapping gateway `customer`"),
        (Table::Accounts, rows.landing, "routing gateway `platform`"),
        (
            Table::Accounts,
            rows.settlement,
            "routing gateway `platform`",
        ),
    ] {
        assert_eq!(
            w.remove(table, id),
            Reply::Refused(Refusal::InUse { by: by.into() })
        );
    }
    let (call, _) = w.reserved(rows.mapping, "1", "138");
    let by = format!("call {call}");
    assert_eq!(
        w.remove(Table::MappingGateways, rows.mapping),
        Reply::Refused(Refusal::InUse { by })
    );
    w.end(call);
    assert_eq!(w.remove(Table::MappingGateways, rows.mapping), Reply::Done);
    assert_eq!(w.remove(Table::RoutingGateways, rows.routing), Reply::Done);
    let by = "X number `17000000`".into();
    assert_eq!(
        w.remove(Table::Interfaces, rows.interface),
        Reply::Refused(Refusal::InUse { by })
    );
    assert_eq!(w.remove(Table::XNumbers, w.x("17000000")), Reply::Done);
    let by = "X number `17000000`".into();
    assert_eq!(
        w.remove(Table::Interfaces, rows.interface),
        Reply::Refused(Refusal::InUse { by }),
        "it is leaving"
    );
    w.unbound(1, false);
    assert_eq!(w.remove(Table::Interfaces, rows.interface), Reply::Done);
}

#[test]
fn numbers_removed_in_use_finish_first() {
    let (mut w, rows) = World::usual(1, 1);
    let (x, a) = (w.x("17000000"), w.a("02100000"));
    let (call, _) = w.reserved(rows.mapping, "1", "138");
    assert_eq!(w.remove(Table::XNumbers, x), Reply::Done);
    assert_eq!(w.remove(Table::ANumbers, a), Reply::Done);
    assert!(w.state.x(x).is_some() && w.state.a(a).is_some());
    assert_eq!(w.state.x_state(x), XState::Disabled);
    assert_eq!(
        w.remove(Table::XNumbers, x),
        Reply::Refused(Refusal::NotFound)
    );
    assert_eq!(
        w.try_put(Some(x), x_number(rows.interface, "17000000")),
        Reply::Refused(Refusal::NotFound)
    );
    let taken = w.try_put(None, x_number(rows.interface, "17000000"));
    assert!(
        matches!(taken, Reply::Refused(Refusal::Invalid { .. })),
        "{taken:?}"
    );
    w.end(call);
    assert!(w.state.a(a).is_none());
    w.unbound(1, false);
    assert!(w.state.x(x).is_none());
    w.put(x_number(rows.interface, "17000000"));
    w.put(a_number(rows.group, "02100000"));
    w.wait(2_000);
    w.reserved(rows.mapping, "1", "138");
}

#[test]
fn numbers_moved_or_limited_in_use_finish_first() {
    let (mut w, rows) = World::usual(2, 1);
    let other = w.put(interface("other"));
    let group = w.put(Entity::AGroup(AGroup { name: "gb".into() }));
    w.change_x("17000000", |x| x.line_limit = 2);
    let (first, one) = w.reserved(rows.mapping, "1", "138");
    let (second, _) = w.reserved(rows.mapping, "1", "139");
    w.change_x("17000000", |x| {
        x.line_limit = 1;
        x.interface = other;
    });
    let a = one.lease.expect("AXB").a;
    w.change_a(&a, |row| row.group = group);
    assert_eq!(
        (w.state.x_pool(rows.interface), w.state.x_pool(other)),
        ((0, 0), (1, 0))
    );
    assert_eq!(
        (w.state.a_pool(rows.group), w.state.a_pool(group)),
        ((1, 0), (1, 0))
    );
    w.end(first);
    w.end(second);
    w.unbound(1, false);
    assert_eq!(
        w.state.x_pool(other),
        (1, 0),
        "one binding is left, and so is the limit"
    );
    w.unbound(2, false);
    assert_eq!(
        (w.state.x_pool(other), w.state.a_pool(group)),
        ((1, 1), (1, 1))
    );
}

#[test]
fn a_number_in_use_keeps_its_digits() {
    let (mut w, rows) = World::usual(1, 1);
    w.reserved(rows.mapping, "1", "138");
    let (x, a) = (w.x("17000000"), w.a("02100000"));
    let x = w.try_put(Some(x), x_number(rows.interface, "17000001"));
    assert!(matches!(x, Reply::Refused(Refusal::InUse { .. })), "{x:?}");
    let a = w.try_put(Some(a), a_number(rows.group, "02100001"));
    assert!(matches!(a, Reply::Refused(Refusal::InUse { .. })), "{a:?}");
}

#[test]
fn edits_act_on_the_next_call_and_leave_running_ones_alone() {
    let (mut w, rows) = World::usual(2, 2);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    let rate = w.state.find(Table::FeeRates, "g/").expect("rate");
    let Entity::FeeRate(dear) = crate::world::rate("g", "", 5 * UNIT, 60) else {
        unreachable!()
    };
    w.change(rate, Entity::FeeRate(dear));
    w.change_routing(rows.routing, |g| g.caller_rules = "0:9".into());
    assert_eq!(
        w.state
            .call(call)
            .and_then(|call| call.attempt.clone())
            .as_deref(),
        Some(&attempt)
    );
    w.answered(call);
    w.wait(1_000);
    w.end(call);
    assert_eq!(
        w.state.account_balance(rows.customer).0,
        1_000 * UNIT - UNIT / 10,
        "at the rate of its admission"
    );
    assert_eq!(
        w.reserved(rows.mapping, "1", "138").1.caller_out,
        "92100001"
    );
}

#[test]
fn gateways_are_found_by_their_most_specific_source() {
    let mut w = World::empty();
    let account = w.put(account("c1", "g"));
    let mut at = |name: &str, sources: &[&str]| {
        let remote_ips = sources.iter().map(|s| s.to_string()).collect();
        w.put(Entity::MappingGateway(MappingGateway {
            remote_ips,
            ..mapping(name, account)
        }))
    };
    let net = at("net", &["10.0.0.0/8"]);
    let host = at("host", &["10.0.0.7", "192.168.1.1"]);
    let part = at("part", &["10.0.0.0/24", "2001:db8::/32"]);
    let late = at("late", &["10.0.0.7"]);
    let found = |w: &World, ip: &str| {
        w.state
            .mapping_gateway_for(ip.parse::<IpAddr>().expect("ip"))
            .map(|row| row.id)
    };
    for (ip, expected) in [
        ("10.0.0.7", Some(host)),
        ("10.0.0.8", Some(part)),
        ("10.9.0.8", Some(net)),
        ("192.168.1.1", Some(host)),
        ("192.168.1.2", None),
        ("2001:db8::1", Some(part)),
        ("2001:db9::1", None),
        ("::ffff:10.0.0.7", Some(host)),
    ] {
        assert_eq!(found(&w, ip), expected, "{ip}");
    }
    w.remove(Table::MappingGateways, host);
    assert_eq!(found(&w, "10.0.0.7"), Some(late));
    assert_eq!(found(&w, "192.168.1.1"), None);
    w.change_mapping(net, |g| g.remote_ips = vec!["0.0.0.0/0".into()]);
    assert_eq!(found(&w, "192.168.1.2"), Some(net));
}

#[test]
fn rows_are_found_by_what_people_call_them() {
    let (w, rows) = World::usual(1, 1);
    for (table, name, expected) in [
        (Table::Interfaces, "hz", Some(rows.interface)),
        (Table::AGroups, "ga", Some(rows.group)),
        (Table::XNumbers, "17000000", Some(1)),
        (Table::ANumbers, "02100000", Some(1)),
        (Table::ANumbers, "ga/02100000", Some(1)),
        (Table::ANumbers, "gb/02100000", None),
        (Table::MappingGateways, "customer", Some(rows.mapping)),
        (Table::RoutingGateways, "platform", Some(rows.routing)),
        (Table::Accounts, "c1", Some(rows.customer)),
        (Table::FeeRates, "g/", Some(1)),
        (Table::FeeRates, "g", None),
    ] {
        assert_eq!(w.state.find(table, name), expected, "{table:?} {name}");
        if let Some(id) = expected {
            assert_eq!(w.state.row(table, id).map(|row| row.id), Some(id));
        }
    }
}

#[test]
fn audit_shows_before_and_after_without_secrets() {
    let (mut w, rows) = World::usual(0, 0);
    w.change_interface(rows.interface, |i| i.timeout_ms = 9_000);
    let line = w.state.audit().next_back().expect("line");
    assert_eq!((&*line.actor, line.at), ("op", w.now));
    assert_eq!(
        line.deed,
        Deed::Put {
            table: Table::Interfaces,
            id: rows.interface
        }
    );
    for (side, timeout) in [(&line.before, 5_000), (&line.after, 9_000)] {
        let Some(Entity::Interface(interface)) = side else {
            panic!("{line:?}")
        };
        assert_eq!(interface.timeout_ms, timeout);
        assert_eq!(interface.params["app_secret"], "******");
        assert_eq!(interface.params["expiration"], "7200");
    }
    assert_eq!(
        w.state
            .interface(rows.interface)
            .expect("row")
            .entity
            .params["app_secret"],
        "s3cret"
    );
}

#[test]
fn balances_are_opened_once_and_moved_by_payments() {
    let (mut w, rows) = World::usual(0, 0);
    w.change_account(rows.customer, |a| {
        a.money = 5;
        a.name = "renamed".into();
    });
    assert_eq!(w.state.account_balance(rows.customer).0, 1_000 * UNIT);
    let pay = |request, amount| {
        Command::Pay(Payment {
            request,
            actor: "op".into(),
            account: rows.customer,
            amount,
            memo: "m".into(),
        })
    };
    assert_eq!(w.apply(pay(500, 7 * UNIT)), Reply::Balance(1_007 * UNIT));
    assert_eq!(
        w.apply(pay(500, 7 * UNIT)),
        Reply::Balance(1_007 * UNIT),
        "a repeat moves nothing"
    );
    assert_eq!(
        w.apply(pay(501, -2_000 * UNIT)),
        Reply::Balance(-993 * UNIT)
    );
    assert!(matches!(
        w.apply(pay(502, 0)),
        Reply::Refused(Refusal::Invalid { .. })
    ));
    assert!(matches!(
        w.apply(pay(503, i64::MAX)),
        Reply::Refused(Refusal::Invalid { .. })
    ));
    let paid: Vec<_> = w
        .state
        .payments()
        .map(|paid| (paid.kind, paid.amount, paid.balance))
        .collect();
    assert_eq!(
        paid,
        [
            (PaidAs::Open, 1_000 * UNIT, 1_000 * UNIT),
            (PaidAs::Recharge, 7 * UNIT, 1_007 * UNIT),
            (PaidAs::Deduct, -2_000 * UNIT, -993 * UNIT),
        ]
    );
    w.remove(Table::MappingGateways, rows.mapping);
    assert_eq!(w.remove(Table::Accounts, rows.customer), Reply::Done);
    assert_eq!(
        w.state
            .payments()
            .next_back()
            .map(|paid| (paid.kind, paid.balance)),
        Some((PaidAs::Zero, 0))
    );
}

#[test]
fn interface_errors_are_kept_for_people() {
    let (mut w, rows) = World::usual(0, 0);
    let error = |interface| Command::InterfaceError {
        interface,
        text: "码".repeat(400),
    };
    assert_eq!(w.apply(error(rows.interface)), Reply::Done);
    let (at, text) = w.state.interface_error(rows.interface).expect("error");
    assert_eq!(
        (at, text.len()),
        (w.now, 498),
        "cut at a character's border"
    );
    assert_eq!(w.apply(error(99)), Reply::Refused(Refusal::NotFound));
}
