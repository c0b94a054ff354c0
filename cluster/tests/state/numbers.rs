//! Which A and X a call gets, line by line of §4.1.

use crate::world::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::XState;

fn x_with(w: &mut World, interface: Id, number: &str, callers: &[&str], others: bool) -> Id {
    let Entity::XNumber(x) = x_number(interface, number) else {
        unreachable!()
    };
    w.put(Entity::XNumber(XNumber {
        callers: callers.iter().map(|c| c.to_string()).collect(),
        allow_other_callers: others,
        line_limit: 50,
        ..x
    }))
}

/// Every X that a caller can get, by many draws.
fn reachable(mode: XSelect, xs: &[(&str, &[&str], bool)], caller: &str) -> Vec<String> {
    let (mut w, rows) = World::usual(50, 0);
    w.change_mapping(rows.mapping, |g| g.x_select_mode = mode);
    for (number, callers, others) in xs {
        x_with(&mut w, rows.interface, number, callers, *others);
    }
    let mut seen = BTreeMap::new();
    for n in 0..40 {
        let (call, reply) = w.reserve(rows.mapping, caller, &format!("138{n:08}"));
        match reply {
            Reply::Reserved(attempt) => {
                let lease = attempt.lease.expect("AXB");
                *seen.entry(lease.x).or_insert(0) += 1;
                w.end(call);
                w.unbound(lease.binding, false);
                w.wait(3_000);
            }
            Reply::Refused(refusal) => assert_eq!(refusal, Refusal::NoAxbNumber),
            other => panic!("{other:?}"),
        }
    }
    seen.into_keys().collect()
}

#[test]
fn x_selection_by_mode_rank_and_permission() {
    use XSelect::{None, Prefer, Restrict};
    let exact = ("1701", &["05718512345"][..], true);
    let long = ("1702", &["05718*"][..], true);
    let short = ("1703", &["0571*"][..], true);
    let open = ("1704", &[][..], true);
    let shut = ("1705", &["05718512345"][..], false);
    let dead = ("1706", &[][..], false);
    let caller = "05718512345";
    for (mode, xs, caller, expected) in [
        // Every permitted X alike.
        (
            None,
            &[exact, long, short, open][..],
            caller,
            &["1701", "1702", "1703", "1704"][..],
        ),
        (None, &[exact, open], "1", &["1701", "1704"]),
        (None, &[shut, open], caller, &["1704", "1705"]),
        (None, &[shut, open], "1", &["1704"]),
        (None, &[shut], "1", &[]),
        (None, &[dead], "1", &[]),
        // Only those that name the caller, the best rank first.
        (Restrict, &[exact, long, short, open], caller, &["1701"]),
        (Restrict, &[long, short, open], caller, &["1702"]),
        (Restrict, &[short, open], caller, &["1703"]),
        (Restrict, &[open, exact], "1", &[]),
        (Restrict, &[exact, shut], caller, &["1701", "1705"]),
        (Restrict, &[dead], caller, &[]),
        // Those that name the caller, and only when there is none any open one.
        (Prefer, &[exact, open], caller, &["1701"]),
        (Prefer, &[short, open], caller, &["1703"]),
        (Prefer, &[exact, open], "1", &["1701", "1704"]),
        (Prefer, &[shut, open], "1", &["1704"]),
        (Prefer, &[shut], "1", &[]),
        // Self-service: the customer selects the X by dialling with that caller.
        (Restrict, &[shut, open, long], caller, &["1705"]),
    ] {
        assert_eq!(
            reachable(mode, xs, caller),
            expected,
            "{mode:?} {xs:?} {caller}"
        );
    }
}

#[test]
fn prefer_falls_back_only_while_the_named_are_used_up() {
    let (mut w, rows) = World::usual(9, 0);
    w.change_mapping(rows.mapping, |g| g.x_select_mode = XSelect::Prefer);
    let named = x_with(&mut w, rows.interface, "1701", &["1"], true);
    w.change_x("1701", |x| x.line_limit = 1);
    x_with(&mut w, rows.interface, "1702", &[], true);
    let (call, first) = w.reserved(rows.mapping, "1", "138");
    let (_, second) = w.reserved(rows.mapping, "1", "139");
    let x = |attempt: &Attempt| {
        attempt
            .lease
            .as_ref()
            .map(|lease| lease.x.clone())
            .expect("AXB")
    };
    assert_eq!((x(&first), x(&second)), ("1701".into(), "1702".into()));
    w.end(call);
    w.unbound(1, false);
    assert_eq!(w.state.x_use(named), 0);
    assert_eq!(x(&w.reserved(rows.mapping, "1", "137").1), "1701");
}

#[test]
fn a_number_serves_as_many_calls_as_its_limit() {
    let (mut w, rows) = World::usual(1, 5);
    w.change_a("02100000", |a| a.line_limit = 3);
    for n in 0..3 {
        w.reserved(rows.mapping, "1", &format!("138{n}"));
    }
    assert_eq!(w.refused(rows.mapping, "1", "1389"), Refusal::NoAxbNumber);
    assert_eq!(w.state.a_use(w.a("02100000")), 3);
}

#[test]
fn an_x_of_limit_k_carries_k_bindings_with_k_different_a() {
    let (mut w, rows) = World::usual(5, 1);
    w.change_x("17000000", |x| x.line_limit = 3);
    let mut seen = Vec::new();
    for n in 0..3 {
        seen.push(
            w.reserved(rows.mapping, "1", &format!("138{n}"))
                .1
                .lease
                .expect("AXB")
                .a,
        );
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);
    assert_eq!(w.refused(rows.mapping, "1", "1389"), Refusal::NoAxbNumber);
}

#[test]
fn the_same_pair_is_never_bound_twice_even_with_lines_to_spare() {
    let (mut w, rows) = World::usual(1, 1);
    w.change_x("17000000", |x| x.line_limit = 9);
    w.change_a("02100000", |a| a.line_limit = 9);
    w.reserved(rows.mapping, "1", "138");
    assert_eq!(w.refused(rows.mapping, "1", "139"), Refusal::NoAxbNumber);
}

#[test]
fn the_same_number_in_two_groups_is_one_a_to_the_platform() {
    let (mut w, rows) = World::usual(1, 1);
    w.change_x("17000000", |x| x.line_limit = 9);
    let other = w.put(Entity::AGroup(AGroup { name: "gb".into() }));
    w.put(a_number(other, "02100000"));
    w.reserved(rows.mapping, "1", "138");
    w.change_routing(rows.routing, |g| {
        if let Some(axb) = &mut g.axb {
            axb.a_group = other;
        }
    });
    assert_eq!(w.refused(rows.mapping, "1", "139"), Refusal::NoAxbNumber);
}

#[test]
fn a_callee_is_reached_over_an_x_only_once_at_a_time() {
    let (mut w, rows) = World::usual(5, 1);
    w.change_x("17000000", |x| x.line_limit = 9);
    w.reserved(rows.mapping, "1", "138");
    assert_eq!(w.refused(rows.mapping, "1", "138"), Refusal::NoAxbNumber);
    w.reserved(rows.mapping, "1", "139");
}

#[test]
fn nobody_is_called_from_the_own_number() {
    let (mut w, rows) = World::usual(1, 5);
    assert_eq!(
        w.refused(rows.mapping, "1", "02100000"),
        Refusal::NoAxbNumber
    );
    w.put(a_number(rows.group, "022"));
    for _ in 0..3 {
        let (call, attempt) = w.reserved(rows.mapping, "1", "02100000");
        assert_eq!(attempt.lease.map(|lease| lease.a), Some("022".into()));
        w.end(call);
    }
}

#[test]
fn a_released_pair_rests_and_others_go_on() {
    let (mut w, rows) = World::usual(1, 2);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    let first = attempt.lease.expect("AXB");
    w.bound(&first);
    w.end(call);
    w.unbound(first.binding, false);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    let second = attempt.lease.expect("AXB");
    assert_ne!(first.x, second.x);
    w.bound(&second);
    w.end(call);
    w.unbound(second.binding, false);
    assert_eq!(w.refused(rows.mapping, "1", "138"), Refusal::NoAxbNumber);
    w.wait(1_999);
    assert_eq!(w.refused(rows.mapping, "1", "138"), Refusal::NoAxbNumber);
    w.wait(1);
    w.reserved(rows.mapping, "1", "138");
}

#[test]
fn disabled_quarantined_and_leaving_x_get_nothing_new() {
    let (mut w, rows) = World::usual(9, 1);
    w.change_x("17000000", |x| x.line_limit = 9);
    let id = w.x("17000000");
    w.change_x("17000000", |x| x.disabled = true);
    assert_eq!(w.state.x_state(id), XState::Disabled);
    assert_eq!(w.refused(rows.mapping, "1", "138"), Refusal::NoAxbNumber);
    w.change_x("17000000", |x| x.disabled = false);
    let (call, attempt) = w.reserved(rows.mapping, "1", "138");
    let lease = attempt.lease.expect("AXB");
    w.next(
        call,
        1,
        Failure::BindUnknown {
            code: "timeout".into(),
        },
    );
    assert_eq!(w.state.x_state(id), XState::Quarantined);
    assert_eq!(w.refused(rows.mapping, "1", "139"), Refusal::NoAxbNumber);
    w.unbound(lease.binding, true);
    assert_eq!(w.state.x_state(id), XState::Active);
    w.reserved(rows.mapping, "1", "139");
    assert_eq!(w.remove(Table::XNumbers, id), Reply::Done);
    assert_eq!(w.state.x_state(id), XState::Disabled);
    assert_eq!(w.refused(rows.mapping, "1", "137"), Refusal::NoAxbNumber);
}

#[test]
fn exhaustion_goes_to_the_next_gateway_before_it_is_an_answer() {
    let (mut w, rows) = World::usual(1, 1);
    w.reserved(rows.mapping, "1", "138");
    assert_eq!(w.refused(rows.mapping, "1", "139"), Refusal::NoAxbNumber);
    let plain = w.put(Entity::RoutingGateway(RoutingGateway {
        priority: 20,
        ..routing("plain")
    }));
    assert_eq!(w.reserved(rows.mapping, "1", "139").1.gateway, plain);
}

/// Chi-square of observed draws against equal chances.
fn chi_square(seen: &BTreeMap<String, u32>, cells: usize, draws: u32) -> f64 {
    let expected = f64::from(draws) / cells as f64;
    let of = |count: u32| (f64::from(count) - expected).powi(2) / expected;
    seen.values().map(|count| of(*count)).sum::<f64>() + (cells - seen.len()) as f64 * expected
}

#[test]
fn a_and_x_are_drawn_uniformly() {
    // 40 of each; of the X numbers, half are open, a quarter lies under two prefixes that match, and a quarter under
    // one: entries that overlap must not make a number likelier.
    let (mut w, rows) = World::usual(40, 20);
    for n in 0..10 {
        x_with(
            &mut w,
            rows.interface,
            &format!("1800{n:04}"),
            &["139*", "13*", "13900000001"],
            false,
        );
        x_with(
            &mut w,
            rows.interface,
            &format!("1900{n:04}"),
            &["13*"],
            n % 2 == 0,
        );
    }
    let draws = 12_000;
    let (mut a, mut x) = (BTreeMap::new(), BTreeMap::new());
    let mut state = w.state.clone();
    for n in 0..draws {
        let call = CallId::new(w.epoch, n + 1);
        let ask = Reserve {
            call,
            ..w.ask(rows.mapping, "13900000001", "138")
        };
        let (reply, _) = state.apply(
            w.now,
            u64::from(n) * 77 + 5,
            &Command::Reserve(ask),
            &tandem_cluster::state::testing::PerPeriod,
        );
        let Reply::Reserved(attempt) = reply else {
            panic!("{reply:?}")
        };
        let lease = attempt.lease.expect("AXB");
        *a.entry(lease.a).or_insert(0) += 1;
        *x.entry(lease.x).or_insert(0) += 1;
        state = w.state.clone();
    }
    // 39 degrees of freedom: 99.99 % lie below 81.
    let (of_a, of_x) = (chi_square(&a, 40, draws), chi_square(&x, 40, draws));
    assert!(of_a < 81.0, "A {of_a} {a:?}");
    assert!(of_x < 81.0, "X {of_x} {x:?}");
}

#[test]
fn relations_are_drawn_uniformly_over_a_and_then_over_x() {
    let (mut w, rows) = World::usual(20, 40);
    w.checks = false;
    w.change_interface(rows.interface, |i| i.type_rules.ax = true);
    w.change_mapping(rows.mapping, |g| (g.allow_axb, g.allow_ax) = (false, true));
    // Ten A numbers with one to four relations each; the other ten have none.
    for a in 0..10 {
        for n in 0..1 + a % 4 {
            let x = 4 * a + n;
            w.bound_relation(rows.interface, &format!("021{a:05}"), &format!("170{x:05}"));
        }
    }
    let draws = 4_000;
    let (mut of_a, mut of_x) = (BTreeMap::new(), BTreeMap::new());
    for n in 0..draws {
        let (call, attempt) = w.reserved(rows.mapping, "1", &format!("138{n:08}"));
        let lease = attempt.ax.expect("a relation");
        *of_a.entry(lease.a.clone()).or_insert(0) += 1;
        if lease.a == "02100003" || lease.a == "02100007" {
            *of_x.entry(lease.x).or_insert(0) += 1;
        }
        w.end(call);
    }
    // 9 degrees of freedom: 27.9 is passed once in a thousand.
    assert!(chi_square(&of_a, 10, draws) < 27.9, "{of_a:?}");
    // The four of one A are alike; 7 degrees of freedom over two such A, 24.3 once in a thousand.
    let of_two = of_x.values().sum();
    assert!(chi_square(&of_x, 8, of_two) < 24.3, "{of_x:?}");
}

#[test]
fn the_rare_fitting_number_is_drawn_uniformly_too() {
    // 200 A numbers, of which all but five have their only X taken: throwing misses, listing decides.
    let (mut w, rows) = World::usual(200, 1);
    w.change_x("17000000", |x| x.line_limit = 1_000);
    w.change_interface(rows.interface, |i| i.pair_rest_ms = 3_600_000);
    for n in 0..195 {
        let (call, attempt) = w.reserved(rows.mapping, "1", &format!("138{n:08}"));
        w.end(call);
        w.unbound(attempt.lease.expect("AXB").binding, false);
    }
    let mut seen = BTreeMap::new();
    for n in 0..1_000 {
        let mut state = w.state.clone();
        let ask = w.ask(rows.mapping, "1", "139");
        let biller = tandem_cluster::state::testing::PerPeriod;
        let (reply, _) = state.apply(w.now, n * 31 + 7, &Command::Reserve(ask), &biller);
        let Reply::Reserved(attempt) = reply else {
            panic!("{reply:?}")
        };
        *seen.entry(attempt.lease.expect("AXB").a).or_insert(0) += 1;
    }
    // 4 degrees of freedom: 99.99 % lie below 23.5.
    assert!(chi_square(&seen, 5, 1_000) < 23.5, "{seen:?}");
}

#[test]
fn the_rare_fitting_x_is_drawn_uniformly_too() {
    // One A and 60 X numbers, of which all but three rest with it.
    let (mut w, rows) = World::usual(1, 60);
    w.change_interface(rows.interface, |i| i.pair_rest_ms = 3_600_000);
    for n in 0..57 {
        let (call, attempt) = w.reserved(rows.mapping, "1", &format!("138{n:08}"));
        w.end(call);
        w.unbound(attempt.lease.expect("AXB").binding, false);
    }
    let mut seen = BTreeMap::new();
    for n in 0..900 {
        let mut state = w.state.clone();
        let ask = w.ask(rows.mapping, "1", "139");
        let biller = tandem_cluster::state::testing::PerPeriod;
        let (reply, _) = state.apply(w.now, n * 31 + 7, &Command::Reserve(ask), &biller);
        let Reply::Reserved(attempt) = reply else {
            panic!("{reply:?}")
        };
        *seen.entry(attempt.lease.expect("AXB").x).or_insert(0) += 1;
    }
    // 2 degrees of freedom: 99.99 % lie below 18.4.
    assert!(chi_square(&seen, 3, 900) < 18.4, "{seen:?}");
}

/// What a plain reading of §4.1 allows: for every A that fits, the X numbers of the best rank.
fn allowed(
    w: &World,
    rows: Rows,
    mode: XSelect,
    caller: &str,
    b: &str,
) -> BTreeMap<String, Vec<String>> {
    let rank = |x: &XNumber| {
        let named = x
            .callers
            .iter()
            .filter_map(|entry| match entry.strip_suffix('*') {
                Some(head) => caller.starts_with(head).then(|| (1, 99 - head.len())),
                None => (entry == caller).then_some((0, 0)),
            });
        let other = x.allow_other_callers.then_some((2, 0));
        match mode {
            XSelect::None => named.min().or(other).map(|_| (0, 0)),
            XSelect::Restrict => named.min(),
            XSelect::Prefer => named.min().or(other),
        }
    };
    let mut fitting = BTreeMap::new();
    for a in w.state.a_numbers().filter(|a| a.entity.group == rows.group) {
        if w.state.a_use(a.id) >= a.entity.line_limit || a.entity.number == b {
            continue;
        }
        let free: Vec<_> = w
            .state
            .x_numbers()
            .filter(|x| {
                w.state.x_state(x.id) == XState::Active && w.state.x_use(x.id) < x.entity.line_limit
            })
            .filter(|x| {
                !w.state.bindings().any(|binding| {
                    let numbers = [&binding.a, &binding.b_submitted];
                    binding.x_id == x.id
                        && (numbers.contains(&&a.entity.number)
                            || numbers.iter().any(|number| **number == b))
                })
            })
            .filter_map(|x| rank(&x.entity).map(|rank| (rank, x.entity.number.clone())))
            .collect();
        if let Some(best) = free.iter().map(|(rank, _)| *rank).min() {
            let xs = free
                .into_iter()
                .filter(|(rank, _)| *rank == best)
                .map(|(_, x)| x)
                .collect();
            fitting.insert(a.entity.number.clone(), xs);
        }
    }
    fitting
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pair_is_given_exactly_when_a_plain_reading_allows_one(
        xs in proptest::collection::vec((1u32..3, any::<bool>(), proptest::sample::subsequence(
            vec!["1*", "13*", "139", "0571*", "1390"], 0..4)), 0..14),
        limits in proptest::collection::vec(1u32..4, 1..7),
        mode in proptest::sample::select(vec![XSelect::None, XSelect::Restrict, XSelect::Prefer]),
        calls in proptest::collection::vec((0usize..4, 0usize..4, any::<bool>()), 1..40),
    ) {
        let (mut w, rows) = World::usual(0, 0);
        w.checks = false;
        w.change_interface(rows.interface, |i| i.pair_rest_ms = 0);
        w.change_mapping(rows.mapping, |g| g.x_select_mode = mode);
        for (n, (limit, others, callers)) in xs.iter().enumerate() {
            let number = format!("170{n}");
            x_with(&mut w, rows.interface, &number, callers, *others);
            w.change_x(&number, |x| x.line_limit = *limit);
        }
        for (n, limit) in limits.iter().enumerate() {
            let id = w.put(a_number(rows.group, &format!("138{n}")));
            w.change(id, Entity::ANumber(ANumber { group: rows.group, number: format!("138{n}"), line_limit: *limit }));
        }
        w.checks = true;
        for (caller, callee, early) in calls {
            let (caller, callee) = (["139", "1390", "05718", "2"][caller], ["1380", "1381", "77", "78"][callee]);
            let expected = allowed(&w, rows, mode, caller, callee);
            let (call, reply) = w.reserve(rows.mapping, caller, callee);
            match reply {
                Reply::Reserved(attempt) => {
                    let lease = attempt.lease.expect("AXB");
                    let xs = expected.get(&lease.a);
                    prop_assert!(xs.is_some_and(|xs| xs.contains(&lease.x)), "{lease:?} {expected:?}");
                    if early {
                        w.unbound(lease.binding, false);
                    }
                }
                Reply::Refused(Refusal::NoAxbNumber) => {
                    prop_assert!(expected.is_empty(), "{expected:?}");
                    w.end(call);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
