//! The platform simulator: its log, its table, its faults; and the promises that can be checked on its log alone.

use crate::http;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

/// One request as the simulator logged it when it took effect.
#[derive(Clone, Debug)]
pub struct Request {
    /// Seconds since 1970.
    pub t: f64,
    /// `bind`, `unbind`, `query` …
    pub op: String,
    /// Numbers, without country code and leading 0 (see [`plain`]).
    pub a: String,
    /// The platform's number.
    pub x: String,
    /// The callee.
    pub b: String,
    /// The platform's handle.
    pub bind_id: String,
    /// The table changed.
    pub applied: bool,
    /// The reply was sent.
    pub answered: bool,
    /// The vendor's code.
    pub code: String,
}

/// A binding's life on the platform.
#[derive(Clone, Debug)]
pub struct Life {
    /// A.
    pub a: String,
    /// X.
    pub x: String,
    /// B'.
    pub b: String,
    /// When the bind took effect.
    pub bound: f64,
    /// When the unbind took effect.
    pub unbound: Option<f64>,
}

/// A number without `+86` and leading 0, so that the platform's format and ours compare.
pub fn plain(number: &str) -> String {
    number
        .strip_prefix("+86")
        .unwrap_or(number)
        .trim_start_matches('0')
        .to_owned()
}

/// Everything the simulator was asked, in the order in which it took effect.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The requests.
    pub requests: Vec<Request>,
}

impl Log {
    /// Reads the simulator's file; a last line still being written is left out, and so is what the simulator itself
    /// pushed.
    #[track_caller]
    pub fn read(path: &Path) -> Log {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Log {
            requests: whole
                .lines()
                .map(|line| read_request(line))
                .filter(|r| !matches!(r.op.as_str(), "event" | "bill"))
                .collect(),
        }
    }

    /// The part after time `t`.
    pub fn since(&self, t: f64) -> Log {
        Log {
            requests: self.requests.iter().filter(|r| r.t >= t).cloned().collect(),
        }
    }

    /// How many requests of this sort changed the table.
    pub fn applied(&self, op: &str) -> usize {
        self.requests
            .iter()
            .filter(|r| r.applied && r.op == op)
            .count()
    }

    /// Every binding with its end. Panics when an unbind took effect for a binding that is not live: that would be a
    /// second effective unbind.
    #[track_caller]
    pub fn lives(&self) -> Vec<Life> {
        let mut lives: Vec<Life> = Vec::new();
        let mut live: BTreeMap<String, usize> = BTreeMap::new();
        for request in self.requests.iter().filter(|r| r.applied) {
            match request.op.as_str() {
                "bind" => {
                    live.insert(request.bind_id.clone(), lives.len());
                    lives.push(Life {
                        a: request.a.clone(),
                        x: request.x.clone(),
                        b: request.b.clone(),
                        bound: request.t,
                        unbound: None,
                    });
                }
                "unbind" => {
                    let at = live.remove(&request.bind_id);
                    let at =
                        at.unwrap_or_else(|| panic!("unbind of what is not bound: {request:?}"));
                    lives[at].unbound = Some(request.t);
                }
                _ => {}
            }
        }
        lives
    }

    /// At no moment two live bindings with the same (A,X), nor more on one X than `x_limit`; and the platform's own
    /// rule, each user number at most once on an X.
    #[track_caller]
    pub fn never_doubled(&self, x_limit: usize) {
        let mut users: BTreeMap<&str, Vec<(&str, &str, &str)>> = BTreeMap::new();
        for request in self.requests.iter().filter(|r| r.applied) {
            let on_x = users.entry(&request.x).or_default();
            match request.op.as_str() {
                "bind" => {
                    for (a, b, id) in on_x.iter() {
                        let doubled = *a == request.a
                            || *b == request.b
                            || *a == request.b
                            || *b == request.a;
                        assert!(
                            !doubled,
                            "{request:?} while binding {id} of {a} and {b} lives on the same X"
                        );
                    }
                    on_x.push((&request.a, &request.b, &request.bind_id));
                    assert!(
                        on_x.len() <= x_limit,
                        "{} live bindings on one X, limit {x_limit}: {request:?}",
                        on_x.len()
                    );
                }
                "unbind" => on_x.retain(|(_, _, id)| *id != request.bind_id),
                _ => {}
            }
        }
    }

    /// Most bindings that lived at once on one X.
    pub fn busiest_x(&self) -> usize {
        let mut live: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut most = 0;
        for request in self.requests.iter().filter(|r| r.applied) {
            let on_x = live.entry(&request.x).or_default();
            match request.op.as_str() {
                "bind" => on_x.insert(&request.bind_id),
                "unbind" => on_x.remove(request.bind_id.as_str()),
                _ => false,
            };
            most = most.max(on_x.len());
        }
        most
    }
}

#[track_caller]
fn read_request(line: &str) -> Request {
    let row: Value =
        serde_json::from_str(line).unwrap_or_else(|e| panic!("simulator log: {e}: {line}"));
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    Request {
        t: row["t"]
            .as_f64()
            .unwrap_or_else(|| panic!("simulator log: no time: {line}")),
        op: text("op"),
        a: plain(&text("A")),
        x: plain(&text("X")),
        b: plain(&text("B")),
        bind_id: text("bind_id"),
        applied: row["applied"] == true,
        answered: row["answered"] == true,
        code: text("code"),
    }
}

/// The simulator's control side.
#[derive(Clone, Copy, Debug)]
pub struct Platform {
    /// Its HTTP port.
    pub at: SocketAddr,
}

impl Platform {
    /// Live bindings in its table.
    #[track_caller]
    pub fn bindings(&self) -> usize {
        self.table().len()
    }

    /// Its table as it shows it.
    #[track_caller]
    pub fn table(&self) -> Vec<Value> {
        let response = http::request(self.at, "GET", "/_sim/bindings", None, None)
            .unwrap_or_else(|e| panic!("{e}"));
        let table: Value = serde_json::from_str(&response.body)
            .unwrap_or_else(|e| panic!("{e}: {}", response.body));
        let rows = ["bindings", "items"]
            .iter()
            .find_map(|key| table[key].as_array())
            .or_else(|| table.as_array());
        rows.unwrap_or_else(|| panic!("/_sim/bindings is not a list: {table}"))
            .clone()
    }

    /// Makes it misbehave; the fields of `PUT /_sim/faults`. Without a `vendor` it is Huawei's.
    #[track_caller]
    pub fn fault(&self, mut fault: Value) {
        if fault["vendor"].is_null() {
            fault["vendor"] = "huawei".into();
        }
        self.control("PUT", Some(&fault.to_string()));
    }

    /// Makes it behave again.
    #[track_caller]
    pub fn heal(&self) {
        self.control("DELETE", None);
    }

    #[track_caller]
    fn control(&self, method: &str, body: Option<&str>) {
        let response = http::request(self.at, method, "/_sim/faults", None, body)
            .unwrap_or_else(|e| panic!("{e}"));
        assert!(
            (200..300).contains(&response.status),
            "{method} /_sim/faults: {response:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[(&str, &str, &str, &str, &str)]) -> Log {
        let requests = lines.iter().enumerate().map(|(n, (op, a, x, b, id))| {
            let line = format!(
                r#"{{"t":{n}.5,"vendor":"huawei","op":"{op}","A":"{a}","X":"{x}","B":"{b}","bind_id":"{id}","applied":true,"answered":true,"status":200,"code":"0"}}"#
            );
            read_request(&line)
        });
        Log {
            requests: requests.collect(),
        }
    }

    #[test]
    fn lives_pair_each_bind_with_its_unbind() {
        let log = log(&[
            (
                "bind",
                "+862100000001",
                "+8617000000000",
                "+8613800000001",
                "1",
            ),
            ("bind", "02100000002", "17000000000", "13800000002", "2"),
            ("unbind", "02100000001", "17000000000", "13800000001", "1"),
        ]);
        log.never_doubled(2);
        let lives = log.lives();
        assert_eq!(lives[0].a, "2100000001");
        assert_eq!((lives[0].unbound, lives[1].unbound), (Some(2.5), None));
        assert_eq!((log.busiest_x(), log.applied("bind")), (2, 2));
    }

    #[test]
    #[should_panic(expected = "on the same X")]
    fn a_pair_bound_twice_is_found() {
        log(&[("bind", "1", "9", "5", "a"), ("bind", "1", "9", "6", "b")]).never_doubled(9);
    }

    #[test]
    #[should_panic(expected = "limit 1")]
    fn an_x_over_its_limit_is_found() {
        log(&[("bind", "1", "9", "5", "a"), ("bind", "2", "9", "6", "b")]).never_doubled(1);
    }

    #[test]
    #[should_panic(expected = "what is not bound")]
    fn a_second_unbind_is_found() {
        log(&[
            ("bind", "1", "9", "5", "a"),
            ("unbind", "1", "9", "5", "a"),
            ("unbind", "1", "9", "5", "a"),
        ])
        .lives();
    }
}
