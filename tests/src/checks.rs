//! Checks that several tests make of a load: limits, moments, records.

use crate::platform::{Life, Log, plain};
use crate::records::{self, Record};
use crate::rerate::Tariff;
use crate::switch::{NODES, Switch};
use crate::wait::eventually;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How late an unbind may take effect at the platform after its moment, in seconds: two processes, one HTTP exchange
/// and a shared machine lie between.
pub const LATE_SECS: f64 = 0.5;
/// How early: records keep whole milliseconds of the log's time, which the simulator's clock is near to.
pub const EARLY_SECS: f64 = 0.02;

/// The calls of a load as the outside saw them.
#[derive(Debug)]
pub struct Load {
    /// CDRs by flow number.
    pub cdrs: BTreeMap<String, Record>,
    /// AXB CDRs by flow number.
    pub axb: BTreeMap<String, Record>,
}

impl Load {
    /// Reads the records of `calls` AXB calls and asserts that all nodes export the same rows in the same order, each
    /// flow number once, one CDR for each AXB CDR.
    #[track_caller]
    pub fn read(switch: &Switch, calls: usize) -> Load {
        let first = switch.export(1, "axb-cdr");
        let rows = records::read(&first);
        assert_eq!(rows.len(), calls, "AXB CDRs on node 1");
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
    pub fn unbound_in_time(&self, lives: &[Life], delay: Option<u32>) {
        let mut latest: f64 = 0.0;
        for (cdr, life) in self.bindings(lives) {
            let secs = |field| cdr.time(field).map(|ms| ms as f64 / 1000.0);
            let ended = secs("ended_at").unwrap_or_else(|| panic!("no end in {}", cdr.0));
            let moment = match (delay, secs("answered_at")) {
                (Some(delay), Some(answered)) => ended.min(answered + f64::from(delay)),
                _ => ended,
            };
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
            latest = latest.max(off);
        }
        println!(
            "delay {delay:?}: latest unbind {:.0} ms after its moment",
            latest * 1000.0
        );
    }

    /// No A carried more calls at once than `limit`: from the bind, which comes after the reservation, to the call's
    /// end, which comes before A is free.
    #[track_caller]
    pub fn a_within(&self, lives: &[Life], limit: usize) {
        let mut moves: BTreeMap<&str, Vec<(i64, i32)>> = BTreeMap::new();
        for (cdr, life) in self.bindings(lives) {
            let ended = cdr
                .time("ended_at")
                .unwrap_or_else(|| panic!("no end in {}", cdr.0));
            let of_a = moves.entry(&life.a).or_default();
            of_a.push(((life.bound * 1000.0).ceil() as i64, 1));
            of_a.push((ended, -1));
        }
        for (a, mut moves) in moves {
            moves.sort_unstable();
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
pub fn nothing_left(switch: &Switch, limit: Duration) {
    switch.comes_to_rest(&[1, 2, 3], limit);
    nothing_bound(switch, limit);
    switch.states_agree(Duration::from_secs(10));
}

/// No binding in the simulator's table within `limit`.
#[track_caller]
pub fn nothing_bound(switch: &Switch, limit: Duration) {
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
pub fn round(switch: &Switch, since: f64, x_limit: usize) -> (Log, Vec<Life>) {
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
