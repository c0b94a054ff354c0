//! Checks that several tests make of a load: limits, moments, records.

use crate::api::Api;
use crate::operated::{Operated, comes_to_rest, states_agree};
use crate::platform::{Life, Log, plain};
use crate::records::{self, Record};
use crate::rerate::Tariff;
use crate::sipp::{Finished, Line};
use crate::switch::{NODES, Switch};
use crate::wait::eventually;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How late an unbind may take effect at the platform after its moment, in seconds: two processes, one HTTP exchange
/// and a shared machine lie between.
pub const LATE_SECS: f64 = 0.5;
/// How early: a follower knows the log's time, which deadlines follow, to some milliseconds, and better with each message
/// that comes sooner than those before: so the first calls of a cluster may be unbound by as much too early.
pub const EARLY_SECS: f64 = 0.010;

/// When the far ends did what a binding's life hangs on, by this machine's clock, which is the simulator's too: records
/// keep the log's time, which may be some milliseconds off.
#[derive(Clone, Debug)]
pub struct Ends {
    /// When the phone picked up, by callee: just before the switch could know.
    answered: BTreeMap<String, f64>,
    /// When the customer hung up, by callee: just before the switch could know.
    left: BTreeMap<String, f64>,
}

impl Ends {
    /// From the logs of scenarios that write `ANSWER` and `LEAVES`.
    pub fn read<'f>(phone: &Finished, customers: impl IntoIterator<Item = &'f Finished>) -> Ends {
        let by_callee = |lines: Vec<Line>| -> BTreeMap<String, f64> {
            let lines = lines.into_iter();
            lines.map(|line| (plain(line.callee()), line.at)).collect()
        };
        let left = customers.into_iter().flat_map(|each| each.lines("LEAVES"));
        Ends {
            answered: by_callee(phone.lines("ANSWER")),
            left: by_callee(left.collect()),
        }
    }

    /// When the customer of the call to `callee` hung up.
    #[track_caller]
    fn left(&self, callee: &str) -> f64 {
        let left = self.left.get(callee);
        *left.unwrap_or_else(|| panic!("no customer of {callee} hung up"))
    }

    /// When the binding of the call to `callee` may go at the earliest: at the call's end without a delay, else
    /// `delay` seconds after the answer, or at the end if that came first.
    #[track_caller]
    fn unbind_moment(&self, callee: &str, delay: Option<u32>) -> f64 {
        let ended = self.left(callee);
        let Some(delay) = delay else { return ended };
        let answered = self.answered.get(callee);
        let answered = answered.unwrap_or_else(|| panic!("no phone {callee} picked up"));
        ended.min(answered + f64::from(delay))
    }
}

/// The calls of a load as the outside saw them.
#[derive(Debug)]
pub struct Load {
    /// CDRs by flow number.
    pub cdrs: BTreeMap<String, Record>,
    /// AXB CDRs by flow number.
    pub axb: BTreeMap<String, Record>,
}

impl Load {
    /// As [`Load::export`], of exactly `calls` AXB calls.
    #[track_caller]
    pub fn read(switch: &impl Operated, calls: usize) -> Load {
        let load = Load::export(switch);
        assert_eq!(load.axb.len(), calls, "AXB CDRs on node 1");
        load
    }

    /// Reads the records and asserts that all nodes export the same rows in the same order, each flow number once, one
    /// CDR for each AXB CDR.
    #[track_caller]
    pub fn export(switch: &impl Operated) -> Load {
        let first = switch.export(1, "axb-cdr");
        let rows = records::read(&first);
        for node in 2..=NODES {
            assert!(
                switch.export(node, "axb-cdr") == first,
                "nodes 1 and {node} export different AXB CDRs"
            );
        }
        let plain = switch.export(1, "cdr");
        for node in 2..=NODES {
            assert!(
                switch.export(node, "cdr") == plain,
                "nodes 1 and {node} export different CDRs"
            );
        }
        let own = |rows: Vec<Record>| {
            records::by_flow_no(&rows)
                .into_iter()
                .map(|(k, v)| (k, v.clone()))
                .collect()
        };
        let load = Load {
            axb: own(rows),
            cdrs: own(records::read(&plain)),
        };
        for flow_no in load.axb.keys() {
            assert!(
                load.cdrs.contains_key(flow_no),
                "AXB CDR {flow_no} has no CDR"
            );
        }
        load
    }

    /// Each of the three amounts of each call equals the independent re-rating.
    #[track_caller]
    pub fn prices_hold(&self, tariff: &Tariff) {
        for (flow_no, axb) in &self.axb {
            tariff.check(&self.cdrs[flow_no], axb);
        }
    }

    /// What these records cost each account, in millionths: what its balance must have fallen by.
    pub fn charges(&self) -> BTreeMap<String, i64> {
        let mut sums = BTreeMap::new();
        let mut charge = |account: &str, amount: i64| {
            if !account.is_empty() {
                *sums.entry(account.to_owned()).or_default() += amount;
            }
        };
        for cdr in self.cdrs.values() {
            charge(cdr.text("account"), cdr.amount("fee"));
        }
        for axb in self.axb.values() {
            charge(axb.text("landing_account"), axb.amount("landing_fee"));
            charge(axb.text("axb_account"), axb.amount("axb_fee"));
        }
        sums
    }

    /// Each AXB call had one binding of its own at the platform, with the numbers of its record, and each binding
    /// belonged to one call. Answers the pairs.
    #[track_caller]
    pub fn bindings<'l>(&'l self, lives: &'l [Life]) -> Vec<(&'l Record, &'l Life)> {
        let mut by_numbers: BTreeMap<(String, String, String), Vec<&Life>> = BTreeMap::new();
        for life in lives {
            by_numbers
                .entry((life.a.clone(), life.x.clone(), life.b.clone()))
                .or_default()
                .push(life);
        }
        let pairs: Vec<_> = self
            .axb
            .iter()
            .map(|(flow_no, axb)| {
                let key = ["a_number", "x_number", "b_number"].map(|field| plain(axb.text(field)));
                let [a, x, b] = key;
                let lives = by_numbers.get_mut(&(a, x, b)).and_then(Vec::pop);
                let life = lives.unwrap_or_else(|| panic!("no binding of its own for {}", axb.0));
                (&self.cdrs[flow_no], life)
            })
            .collect();
        let left: usize = by_numbers.values().map(Vec::len).sum();
        assert_eq!(left, 0, "bindings that belong to no call");
        pairs
    }

    /// Every binding was released at its moment: at the call's end without a delay, else `delay` seconds after the
    /// answer, or at the end if that came first.
    #[track_caller]
    pub fn unbound_in_time(&self, lives: &[Life], delay: Option<u32>, ends: &Ends) {
        let (mut earliest, mut latest) = (f64::MAX, f64::MIN);
        for (cdr, life) in self.bindings(lives) {
            let moment = ends.unbind_moment(&life.b, delay);
            let unbound = life
                .unbound
                .unwrap_or_else(|| panic!("never unbound: {life:?}"));
            let off = unbound - moment;
            let in_time = (-EARLY_SECS..=LATE_SECS).contains(&off);
            assert!(
                in_time,
                "unbound {off:.3} s after its moment (delay {delay:?}): {life:?} of {}",
                cdr.0
            );
            (earliest, latest) = (earliest.min(off), latest.max(off));
        }
        println!(
            "delay {delay:?}: unbound {:.1} to {:.0} ms after its moment",
            earliest * 1000.0,
            latest * 1000.0
        );
    }

    /// No A carried more calls at once than `limit`: from the bind, which comes after the reservation, to the
    /// customer's hanging up, which comes before A is free.
    #[track_caller]
    pub fn a_within(&self, lives: &[Life], limit: usize, ends: &Ends) {
        let mut moves: BTreeMap<&str, Vec<(f64, i32)>> = BTreeMap::new();
        for (_, life) in self.bindings(lives) {
            let of_a = moves.entry(&life.a).or_default();
            of_a.push((life.bound, 1));
            of_a.push((ends.left(&life.b), -1));
        }
        for (a, mut moves) in moves {
            moves
                .sort_unstable_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
            let mut calls: i32 = 0;
            for (t, step) in moves {
                calls += step;
                assert!(
                    calls <= limit as i32,
                    "A {a} carries {calls} calls at {t}, limit {limit}"
                );
            }
        }
    }
}

/// All counters back to 0 within `limit`, nothing left at the platform, and one state everywhere.
#[track_caller]
pub fn nothing_left(switch: &impl Operated, limit: Duration) {
    comes_to_rest(switch, &[1, 2, 3], limit);
    nothing_bound(switch, limit);
    states_agree(switch, Duration::from_secs(10));
}

/// No binding in the simulator's table within `limit`.
#[track_caller]
pub fn nothing_bound(switch: &impl Operated, limit: Duration) {
    eventually(
        "no binding is left at the platform",
        limit,
        || match switch.platform().bindings() {
            0 => Ok(()),
            left => Err(format!("{left} bindings")),
        },
    );
}

/// The part of a simulator log that lies in one round of a test, checked for the limits.
#[track_caller]
pub fn round(switch: &impl Operated, since: f64, x_limit: usize) -> (Log, Vec<Life>) {
    let log = switch.platform_log().since(since);
    log.never_doubled(x_limit);
    let lives = log.lives();
    (log, lives)
}

/// The binding of a callee as a node lists it.
pub fn binding(switch: &Switch, node: u8, callee: &str) -> Option<Value> {
    let rows = switch.api(node).list("bindings");
    rows.into_iter().find(|row| row["b_number"] == callee)
}

/// Waits until no node lists a binding of the callee.
#[track_caller]
pub fn gone(switch: &Switch, callee: &str) {
    for node in 1..=NODES {
        eventually(
            "the row has gone",
            Duration::from_secs(3),
            || match binding(switch, node, callee) {
                None => Ok(()),
                Some(row) => Err(format!("node {node}: {row}")),
            },
        );
    }
}

/// Callees that the platform holds bindings for.
pub fn held(switch: &Switch) -> BTreeSet<String> {
    let rows = switch.platform().table();
    let b = rows.iter().map(|row| row["B"].as_str().unwrap_or_default());
    b.map(plain).collect()
}

/// Balances in millionths by account.
#[track_caller]
pub fn balances(api: &Api) -> BTreeMap<String, i64> {
    let amount = |row: &Value| {
        let text = row["money"].as_str().unwrap_or_default();
        records::micros(text).unwrap_or_else(|| panic!("no amount `money` in {row}"))
    };
    let name = |row: &Value| row["account"].as_str().unwrap_or_default().to_owned();
    let rows = api.list("accounts");
    rows.iter().map(|row| (name(row), amount(row))).collect()
}

/// Every account has paid what the records say, to the last unit, as every node sees it.
#[track_caller]
pub fn balances_fell(switch: &impl Operated, before: &BTreeMap<String, i64>, load: &Load) {
    let charges = load.charges();
    for node in 1..=NODES {
        for (account, now) in balances(&switch.api(node)) {
            let charged = charges.get(&account).copied().unwrap_or(0);
            let fell = before[&account] - now;
            assert_eq!(fell, charged, "account `{account}` at node {node}");
        }
    }
}
