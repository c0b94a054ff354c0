//! One application at a vendor: what it has bound, and the steps that every vendor takes alike.

use std::fmt::Write as _;

use serde_json::Value;

use super::nonces::Nonces;
use super::pairs::pairs;
use super::{Answer, Ask, Call, Dialect, Entry, Refused};
use crate::numbers::{from_e164, to_e164};
use crate::sim::sip::Route;
use crate::sim::table::{Conflict, Row, Table};
use crate::sim::vendor::{Carrier, Vendor};
use crate::sim::{Binding, Credentials, Mode, seconds};

/// Ended bindings remembered at most; the oldest go first.
const ENDED_MAX: usize = 10_000;

/// What one application has at a vendor.
#[derive(Debug)]
pub struct Desk {
    /// Who it is and what it may do.
    pub credentials: Credentials,
    /// Its bindings.
    pub table: Table,
    /// What a vendor keeps of a binding that has been ended, newest last.
    pub ended: Vec<(String, Row)>,
    nonces: Nonces,
    skew_s: u64,
    requests: u64,
    run: u32,
}

/// Why a binding cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// The table refuses it.
    Table(Conflict),
    /// No X was asked for and none is free for A and B.
    NoneFree,
    /// X is not the application's.
    NotOurs,
    /// A, X and B are not three different numbers.
    Alike,
}

impl Desk {
    /// A desk without bindings.
    pub fn new(dialect: &Dialect, credentials: Credentials) -> Desk {
        let run: u32 = rand::random();
        let scope = credentials.scope.unwrap_or(dialect.scope);
        let id = dialect.id;
        Desk {
            table: Table::with(scope, Box::new(move |serial| id(run, serial))),
            ended: Vec::new(),
            nonces: Nonces::default(),
            skew_s: credentials.skew_s.unwrap_or(dialect.skew_s),
            requests: 0,
            run,
            credentials,
        }
    }

    /// Whether a time in Unix milliseconds is near enough to the clock.
    pub fn in_time(&self, at_ms: u64, now_ms: u64) -> bool {
        at_ms.abs_diff(now_ms) <= self.skew_s.saturating_mul(1000)
    }

    /// Whether a nonce comes for the first time while its time could be accepted.
    pub fn first_use(&mut self, nonce: &str, now_ms: u64) -> bool {
        let keep_ms = self.skew_s.saturating_mul(2000).saturating_add(1000);
        self.nonces.first_use(nonce, now_ms, keep_ms)
    }

    /// A new id for an answer, of 32 hex digits.
    pub fn request_id(&mut self) -> String {
        self.requests += 1;
        format!("{:08x}{:024x}", self.run, self.requests)
    }

    /// Makes a binding. A row without X gets the first of the application's listed X that is free
    /// for it; `other_x` comes instead of either.
    ///
    /// # Errors
    /// When it cannot be; nothing has changed then.
    pub fn bind(&mut self, mut row: Row, other_x: Option<&str>) -> Result<(String, Row), Clash> {
        if row.a == row.b {
            return Err(Clash::Alike);
        }
        if row.x.is_empty() {
            let mut listed = self.credentials.listed_x();
            let found = listed.find(|x| {
                let wanted = Row {
                    x: x.clone(),
                    ..row.clone()
                };
                differ(&wanted) && self.table.refusal(&wanted, None).is_none()
            });
            row.x = found.ok_or(Clash::NoneFree)?;
        } else if !self.credentials.owns(&row.x) {
            return Err(Clash::NotOurs);
        }
        if let Some(other) = other_x {
            other.clone_into(&mut row.x);
        }
        if !differ(&row) {
            return Err(Clash::Alike);
        }
        let id = self.table.insert(row.clone()).map_err(Clash::Table)?;
        Ok((id, row))
    }

    /// Changes a binding under its id.
    ///
    /// # Errors
    /// When it cannot be; nothing has changed then.
    pub fn change(&mut self, id: &str, row: Row) -> Result<(), Clash> {
        if !self.credentials.owns(&row.x) {
            return Err(Clash::NotOurs);
        }
        if !differ(&row) {
            return Err(Clash::Alike);
        }
        self.table.replace(id, row).map_err(Clash::Table)
    }

    /// Ends a binding and remembers it as ended.
    pub fn end(&mut self, id: &str) -> Option<Row> {
        let row = self.table.remove(id)?;
        self.remember(id.to_owned(), row.clone());
        Some(row)
    }

    /// Ends what has expired.
    fn expire(&mut self, now_ms: u64) {
        for (id, row) in self.table.expire(now_ms) {
            self.remember(id, row);
        }
    }

    fn remember(&mut self, id: String, row: Row) {
        if self.ended.len() >= ENDED_MAX {
            self.ended.drain(..ENDED_MAX / 2);
        }
        self.ended.push((id, row));
    }

    /// A binding that has been ended or has expired, while it is remembered.
    pub fn once(&self, suits: impl Fn(&str, &Row) -> bool) -> Option<(String, Row)> {
        let found = self.ended.iter().rev().find(|(id, row)| suits(id, row));
        found.cloned()
    }

    /// The first binding on X that suits.
    pub fn on_x(&self, x: &str, suits: impl Fn(&Row) -> bool) -> Option<(String, Row)> {
        let mut rows = self.table.on_x(x).into_iter();
        let found = rows.find(|(_, row)| suits(row));
        found.map(|(id, row)| (id.to_owned(), row.clone()))
    }
}

/// Whether the numbers that are there differ.
fn differ(row: &Row) -> bool {
    row.a != row.b && row.a != row.x && row.b != row.x
}

/// The word of the log for the end of a binding.
pub fn ended_word(row: &Row) -> &'static str {
    if row.fixed { "ax_unbind" } else { "unbind" }
}

/// A dialect at its desk.
#[derive(Debug)]
pub struct Booth {
    dialect: &'static Dialect,
    /// Its state; tests look at it.
    pub desk: Desk,
}

impl Booth {
    /// An application without bindings.
    pub fn new(dialect: &'static Dialect, credentials: Credentials) -> Booth {
        Booth {
            dialect,
            desk: Desk::new(dialect, credentials),
        }
    }

    fn refuse(&mut self, call: &Call, refused: &Refused) -> Answer {
        let mut answer = (self.dialect.refuse)(&mut self.desk, call, refused);
        answer.code = refused.code.clone().into_owned();
        answer.entries = vec![self.named(call)];
        answer
    }

    /// What a request that is not served speaks of, as far as it can be read.
    fn named(&self, call: &Call) -> Entry {
        let op = (self.dialect.op)(call);
        let [a, x, b, id] = self.dialect.names;
        let said = said(call);
        let find = |names: &str| {
            let mut names = names.split_whitespace();
            let found = names.find_map(|name| said.iter().find(|(known, _)| known == name));
            found.map_or_else(String::new, |(_, value)| value.clone())
        };
        let mut id = find(id);
        if id.is_empty() {
            let last = call.path.trim_end_matches('/').rsplit('/').next();
            id = last.unwrap_or("").to_owned();
        }
        // The binding that an id speaks of is worth more than the id.
        if let Some(row) = self.desk.table.get(&id) {
            return Entry::of(op, &id, row, false);
        }
        Entry {
            op,
            a: from_e164(&find(a)),
            x: from_e164(&find(x)),
            b: from_e164(&find(b)),
            ..Entry::default()
        }
    }
}

/// Short texts and integers of query and body.
fn said(call: &Call) -> Vec<(String, String)> {
    let mut said = pairs(call.query).unwrap_or_default();
    match serde_json::from_slice(call.body) {
        Ok(Value::Object(map)) => {
            for (name, value) in map {
                let mut text = String::new();
                let written = match &value {
                    Value::String(own) => write!(text, "{own}"),
                    Value::Number(own) => write!(text, "{own}"),
                    _ => continue,
                };
                if written.is_ok() {
                    said.push((name, text));
                }
            }
        }
        _ => {
            let form = std::str::from_utf8(call.body).ok().and_then(pairs);
            said.extend(form.unwrap_or_default());
        }
    }
    said.retain(|(_, value)| value.len() <= 64);
    said
}

impl Vendor for Booth {
    fn op(&self, call: &Call) -> &'static str {
        (self.dialect.op)(call)
    }

    fn admit(&mut self, call: &Call, now_ms: u64) -> Result<(), Answer> {
        if (self.dialect.op)(call) == "other" {
            let (code, text) = self.dialect.unknown;
            return Err(self.refuse(call, &Refused::new(code, text)));
        }
        let checked = (self.dialect.authenticate)(&mut self.desk, call, now_ms);
        checked.map_err(|refused| self.refuse(call, &refused))
    }

    fn serve(&mut self, call: &Call, now_ms: u64, other_x: Option<&str>) -> Answer {
        self.desk.expire(now_ms);
        let ask = Ask {
            call,
            op: (self.dialect.op)(call),
            now_ms,
            other_x,
        };
        let served = (self.dialect.serve)(&mut self.desk, &ask);
        served.unwrap_or_else(|refused| self.refuse(call, &refused))
    }

    fn refused_by_fault(&mut self, call: &Call, code: Option<&str>) -> Answer {
        let refused = match code {
            None => Refused::new(self.dialect.throttled.0, self.dialect.throttled.1),
            Some("") => Refused::new(self.dialect.internal.0, self.dialect.internal.1),
            Some(code) => Refused {
                code: code.to_owned().into(),
                text: "injected fault".into(),
            },
        };
        self.refuse(call, &refused)
    }

    fn bindings(&mut self, now_ms: u64) -> Vec<Binding> {
        self.desk.expire(now_ms);
        let all = self.desk.table.all().into_iter();
        all.map(|(id, row)| Binding {
            vendor: self.dialect.word.to_owned(),
            mode: if row.fixed { Mode::Ax } else { Mode::Axb },
            bind_id: id.to_owned(),
            a: from_e164(&row.a),
            x: from_e164(&row.x),
            b: row.callee(now_ms).map_or_else(String::new, from_e164),
            since: seconds(row.since_ms),
            expires: row.expires_ms.map(seconds),
            callee_until: row.callee_until_ms.map(seconds),
        })
        .collect()
    }

    /// A binding of the caller goes on to its B; where X is given to somebody, anybody else's call
    /// reaches that one.
    fn carrier(&mut self, from: &str, x: &str, now_ms: u64) -> Option<Carrier> {
        self.desk.expire(now_ms);
        let (from, x) = (to_e164(from), to_e164(x));
        if let Some((id, row)) = self.desk.table.find(&x, &from)
            && row.a == from
        {
            let callee = row.callee(now_ms).filter(|_| row.direction != 2)?;
            return Some(Carrier::out(id, row, callee));
        }
        let on_x = self.desk.table.on_x(&x);
        let (id, row) = on_x.first().filter(|(_, row)| row.fixed)?;
        let route = Route::In {
            a: from_e164(&row.a),
            caller_shown: row.caller_shown,
        };
        (row.direction != 1).then(|| Carrier {
            route,
            ..Carrier::out(id, row, &from)
        })
    }

    fn lift_blocks(&mut self) {}
}
