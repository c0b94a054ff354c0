//! Which X a call gets: the choice modes, the ranks and the self-service pattern of `DOMAIN.md` §4.1.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;
use tandem_tests::checks::nothing_left;
use tandem_tests::talk::try_from;
use tandem_tests::{Seed, Sipp, Switch, Talk};

/// Named exactly, other callers refused.
const EXACT: &str = "17000000001";
/// Named by the longer prefix, other callers refused.
const LONG: &str = "17000000002";
/// Named by the shorter prefix, other callers refused.
const SHORT: &str = "17000000003";
/// Named by the shorter prefix, other callers taken too.
const BOTH: &str = "17000000004";
/// Names nobody, takes everybody.
const OPEN: &str = "17000000005";
/// Names nobody, takes nobody.
const NOBODY: &str = "17000000006";

/// The six kinds of X on one interface, `shift` further up the numbers.
fn kinds(seed: Seed, interface: &str, shift: u64, fields: &str) -> Seed {
    let kinds = [
        (EXACT, r#"["05718512345"]"#, false),
        (LONG, r#"["05718*"]"#, false),
        (SHORT, r#"["0571*"]"#, false),
        (BOTH, r#"["0571*"]"#, true),
        (OPEN, "[]", true),
        (NOBODY, "[]", false),
    ];
    kinds
        .into_iter()
        .fold(seed, |seed, (number, callers, others)| {
            let number = shifted(number, shift);
            seed.x(
                interface,
                &number,
                &format!("callers = {callers}\nallow_other_callers = {others}\n{fields}"),
            )
        })
}

fn shifted(number: &str, shift: u64) -> String {
    (number.parse::<u64>().expect("digits") + shift).to_string()
}

/// A customer for each mode, known by its address.
fn modes() -> [(&'static str, Ipv4Addr); 4] {
    let at = |last| Ipv4Addr::new(127, 0, 0, last);
    [
        ("none", at(11)),
        ("restrict", at(12)),
        ("prefer", at(13)),
        ("rewritten", at(14)),
    ]
}

fn address(mode: &str) -> Ipv4Addr {
    let found = modes().into_iter().find(|(name, _)| *name == mode);
    found.expect("a mode of the table").1
}

/// Callees with 1 use the interface of the table, those with 2 the one whose X numbers carry one call each.
fn seed() -> Seed {
    let seed = Seed::new()
        .interface("table", "unbind_delay_secs = 0")
        .interface("ranks", "")
        .a("ga", "02100000000..02100000199", "");
    let seed = kinds(seed, "table", 0, "line_limit = 100");
    let seed = kinds(seed, "ranks", 100, "line_limit = 1")
        .axb_gateway("table", "1", "ga", "table", "")
        .axb_gateway("ranks", "2", "ga", "ranks", "");
    modes().into_iter().fold(seed, |seed, (name, ip)| {
        let fields = match name {
            "rewritten" => {
                "x_select_mode = \"restrict\"\ncaller_rules = \"*:05718512345\"".to_owned()
            }
            mode => format!("x_select_mode = \"{mode}\""),
        };
        seed.customer(name, &ip.to_string(), &fields)
    })
}

/// Calls that a row makes for each X it may get: with 12, a row of five misses one of them once in 30,000 runs.
const CALLS_PER_X: usize = 12;

#[test]
fn every_mode_gives_each_caller_the_x_numbers_it_may_have_and_no_other() {
    let switch = Switch::seeded(&seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());

    //           mode        caller         X numbers that it may get; none: refused
    let table: [(&str, &str, &[&str]); 14] = [
        ("none", "05718512345", &[EXACT, LONG, SHORT, BOTH, OPEN]),
        ("none", "05718999999", &[LONG, SHORT, BOTH, OPEN]),
        ("none", "05711111111", &[SHORT, BOTH, OPEN]),
        ("none", "02112345678", &[BOTH, OPEN]),
        ("restrict", "05718512345", &[EXACT]),
        ("restrict", "05718999999", &[LONG]),
        ("restrict", "05711111111", &[SHORT, BOTH]),
        ("restrict", "02112345678", &[]),
        ("prefer", "05718512345", &[EXACT]),
        ("prefer", "05718999999", &[LONG]),
        ("prefer", "05711111111", &[SHORT, BOTH]),
        ("prefer", "02112345678", &[BOTH, OPEN]),
        // Self-service: the caller as rewritten counts, whatever number the customer came with.
        ("rewritten", "13912345678", &[EXACT]),
        ("rewritten", "05711111111", &[EXACT]),
    ];
    let mut callees: BTreeMap<String, usize> = BTreeMap::new();
    let mut next = 13_800_000_000_u64;
    let mut calls: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    for (row, (mode, caller, wanted)) in table.iter().enumerate() {
        for _ in 0..CALLS_PER_X * wanted.len().max(1) {
            next += 1;
            callees.insert(next.to_string(), row);
            let of_mode = calls.entry(mode).or_default();
            of_mode.push(((*caller).to_owned(), next.to_string()));
        }
    }
    let placed = callees.len();
    let customers: Vec<_> = calls
        .into_iter()
        .zip([1, 2, 3, 1])
        .map(|((mode, numbers), node)| {
            let count = numbers.len();
            let port = switch.own_port();
            let customer = Sipp::customer("customer_any", port, switch.sip(node), numbers)
                .from_ip(address(mode))
                .rate(30, 1_000)
                .pause(100)
                .start(switch.dir());
            (customer, count)
        })
        .collect();
    let mut refused = BTreeSet::new();
    for (customer, count) in customers {
        let customer = customer.finish(Duration::from_secs(40));
        customer.all_good(count);
        for line in customer.lines("REFUSED") {
            assert_eq!(line.words[2], "503", "{line:?}");
            assert!(
                line.words[3..].join(" ").contains("no_axb_number"),
                "{line:?}"
            );
            refused.insert(line.callee().to_owned());
        }
    }
    nothing_left(&switch, Duration::from_secs(10));

    let mut seen: Vec<BTreeSet<String>> = vec![BTreeSet::new(); table.len()];
    let rows = switch.axb_cdrs(2);
    assert_eq!(rows.len() + refused.len(), placed);
    let told: BTreeMap<(String, String), usize> =
        phone
            .stop()
            .lines("INVITE")
            .iter()
            .fold(BTreeMap::new(), |mut told, line| {
                *told
                    .entry((line.callee().to_owned(), line.caller().to_owned()))
                    .or_default() += 1;
                told
            });
    for row in &rows {
        let (b, x) = (row.text("b_number"), row.text("x_number"));
        seen[callees[b]].insert(x.to_owned());
        let calls = told.get(&(b.to_owned(), x.to_owned()));
        assert_eq!(
            calls,
            Some(&1),
            "the phone of {b} saw X {x} as its caller once"
        );
    }
    for ((mode, caller, wanted), seen) in table.iter().zip(&seen) {
        let wanted: BTreeSet<String> = wanted.iter().map(|x| (*x).to_owned()).collect();
        assert_eq!(*seen, wanted, "X numbers given to {caller} in mode {mode}");
    }
    for callee in &refused {
        assert!(table[callees[callee]].2.is_empty(), "{callee} was refused");
    }
    let log = switch.platform_log();
    assert_eq!(log.applied("bind"), rows.len());
    log.never_doubled(100);
}

#[test]
fn busy_x_numbers_give_way_to_the_next_rank_and_come_back() {
    let switch = Switch::seeded(&seed());
    let phone = Sipp::phone("phone", switch.phone_port()).start(switch.dir());
    let caller = "05718512345";
    let ladders: [(&str, &[&[&str]]); 2] = [
        (
            "prefer",
            &[&[EXACT], &[LONG], &[SHORT, BOTH], &[SHORT, BOTH], &[OPEN]],
        ),
        (
            "restrict",
            &[&[EXACT], &[LONG], &[SHORT, BOTH], &[SHORT, BOTH]],
        ),
    ];
    let mut next = 23_800_000_000_u64;
    let mut callee = || {
        next += 1;
        next.to_string()
    };
    let x_of = |callee: &str| {
        let rows = switch.api(1).list("bindings");
        let row = rows.iter().find(|row| row["b_number"] == callee);
        let row = row.unwrap_or_else(|| panic!("no binding for {callee} in {rows:?}"));
        shifted_back(row["x_number"].as_str().expect("a number"))
    };
    for (mode, ladder) in ladders {
        let ip = address(mode);
        let mut talks = Vec::new();
        for (step, wanted) in ladder.iter().enumerate() {
            let callee = callee();
            let node = 1 + u8::try_from(step % 3).expect("less than 3");
            talks.push(Talk::from(&switch, ip, node, caller, &callee));
            let x = x_of(&callee);
            assert!(
                wanted.contains(&x.as_str()),
                "{mode}, step {step}: {x}, not {wanted:?}"
            );
        }
        try_from(&switch, ip, 1, caller, &callee()).is(503, "no_axb_number");
        // The best X is free again: the next call gets it, whoever asks where.
        talks.remove(0).end();
        let again = callee();
        talks.push(Talk::from(&switch, ip, 3, caller, &again));
        assert_eq!(x_of(&again), EXACT, "{mode}");
        talks.into_iter().for_each(Talk::end);
        nothing_left(&switch, Duration::from_secs(5));
    }
    switch.platform_log().never_doubled(1);
    assert_eq!(phone.stop().failed(), 0);
    let refused = switch.cdrs(3);
    let refused = refused
        .iter()
        .filter(|row| row.text("end_reason") == "no_axb_number")
        .count();
    assert_eq!(refused, 2);
}

fn shifted_back(number: &str) -> String {
    (number.parse::<u64>().expect("digits") - 100).to_string()
}
