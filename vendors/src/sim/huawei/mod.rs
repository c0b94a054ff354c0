//! Huawei's AXB and AX interfaces as their documentation describes them, from a parsed request to
//! an answer. Pure: clock and draws come in, the lines for the log go out.
//!
//! Where the documentation names no HTTP status for a code, this simulator answers 403; it refuses
//! body fields it does not know, which the vendor may not do. By the vendor's FAQ an application
//! has one mode; here it has both unless its configuration says otherwise, and the same X may carry
//! bindings and a relation side by side.

mod ax;
mod axb;
mod fields;

use serde_json::{Value, json};

use super::auth::{Gatekeeper, Refusal};
use super::relations::Relations;
use super::sip::Route;
use super::table::Table;
use super::vendor::{Answer, Call, Carrier, Entry, Vendor};
use super::{Binding, Credentials, Mode, seconds};
use crate::numbers::{from_e164, to_e164};
use fields::{Refused, percent_decode};

const AXB_PATH: &str = "/rest/caas/relationnumber/partners/v1.0";
const AX_PATH: &str = "/rest/provision/caas/privatenumber/v1.0";
const CALLEE_PATH: &str = "/rest/caas/privatenumber/calleenumber/v1.0";
/// Paths of the vendor's modes that are not simulated: as if the application had another one.
const OTHER_MODES: [&str; 2] = [
    "/rest/caas/extendnumber/v1.0",
    "/rest/omp/xyrelationnumber/v1.0",
];
const DURATION_MAX_S: u64 = 7_776_000;

/// One application's state at the vendor.
#[derive(Debug)]
pub struct Huawei {
    credentials: Credentials,
    keeper: Gatekeeper,
    table: Table,
    relations: Relations,
}

/// The word of the log for what is asked; both modes ask with `query`.
fn op(call: &Call) -> &'static str {
    match (call.path, call.method) {
        (AXB_PATH, "POST") => "bind",
        (AXB_PATH, "DELETE") => "unbind",
        (AXB_PATH, "PUT") => "modify",
        (AX_PATH, "POST") => "ax_bind",
        (AX_PATH, "DELETE") => "ax_unbind",
        (CALLEE_PATH, "PUT") => "set_callee",
        (AXB_PATH | AX_PATH, "GET") => "query",
        _ => "other",
    }
}

impl Huawei {
    /// An application without bindings.
    pub fn new(credentials: Credentials) -> Huawei {
        Huawei::numbered(credentials, rand::random())
    }

    /// One whose ids tell this run of the simulator from others.
    pub fn numbered(credentials: Credentials, run: u32) -> Huawei {
        Huawei {
            keeper: Gatekeeper::new(credentials.clone()),
            credentials,
            table: Table::new(format!("{run:08x}")),
            relations: Relations::new(format!("{run:08x}-ax")),
        }
    }

    fn refuse(&self, call: &Call, status: u16, code: &str, text: &str) -> Answer {
        let mut entry = named(call);
        // The binding that an id speaks of is worth more than the id.
        if let Some(row) = self.table.get(&entry.bind_id) {
            entry = Entry::of(entry.op, &entry.bind_id.clone(), row, false);
        } else if let Some(relation) = self.relations.get(&entry.bind_id) {
            (entry.a, entry.x) = (from_e164(&relation.a), from_e164(&relation.x));
        }
        Answer {
            status,
            code: code.to_owned(),
            body: json!({"resultcode": code, "resultdesc": text}).to_string(),
            entries: vec![entry],
            ..Answer::default()
        }
    }

    /// Refuses an X that is not the application's.
    fn own(&self, field: &str, x: &str) -> Result<(), Refused> {
        if self.credentials.owns(x) {
            Ok(())
        } else {
            let text = format!("{field} is not of this application");
            Err(Refused("1011001", text))
        }
    }

    /// The first X of the list that suits.
    fn free_x(&self, suits: impl Fn(&str) -> bool) -> Result<String, Refused> {
        let found = self.credentials.listed_x().find(|x| suits(x));
        let text = "number resources of the city are exhausted";
        found.ok_or_else(|| Refused("1012006", text.into()))
    }
}

impl Vendor for Huawei {
    fn op(&self, call: &Call) -> &'static str {
        op(call)
    }

    fn lift_blocks(&mut self) {
        self.keeper.lift_blocks();
    }

    fn bindings(&mut self, now_ms: u64) -> Vec<Binding> {
        self.table.expire(now_ms);
        let bindings = self.table.all().into_iter().map(|(id, row)| Binding {
            vendor: "huawei".into(),
            mode: Mode::Axb,
            bind_id: id.to_owned(),
            a: from_e164(&row.a),
            x: from_e164(&row.x),
            b: from_e164(&row.b),
            since: seconds(row.since_ms),
            expires: row.expires_ms.map(seconds),
            callee_until: None,
        });
        let relations = self.relations.all().map(|(id, relation)| {
            let callee = relation.callee(now_ms);
            Binding {
                vendor: "huawei".into(),
                mode: Mode::Ax,
                bind_id: id.to_owned(),
                a: from_e164(&relation.a),
                x: from_e164(&relation.x),
                b: callee.map_or_else(String::new, |callee| from_e164(&callee.b)),
                since: seconds(relation.since_ms),
                expires: None,
                callee_until: callee.map(|callee| seconds(callee.until_ms)),
            }
        });
        let mut all: Vec<Binding> = bindings.chain(relations).collect();
        all.sort_by(|one, other| one.since.total_cmp(&other.since));
        all
    }

    /// A binding of the caller comes first, whatever relation X has. Else the caller who has X goes
    /// on to the callee named for it, as often as he likes until that one ends, and anybody else
    /// reaches the one who has X.
    fn carrier(&mut self, from: &str, x: &str, now_ms: u64) -> Option<Carrier> {
        self.table.expire(now_ms);
        let (from, x) = (to_e164(from), to_e164(x));
        if let Some((id, row)) = self.table.find(&x, &from)
            && row.a == from
            && row.direction != 2
        {
            return Some(Carrier::out(id, row, &row.b));
        }
        let (id, relation) = self.relations.of_x(&x)?;
        let (route, b, closed) = if relation.a == from {
            let callee = &relation.callee(now_ms)?.b;
            (Route::Out(from_e164(callee)), callee, 2)
        } else {
            let route = Route::In {
                a: from_e164(&relation.a),
                caller_shown: relation.caller_shown,
            };
            (route, &from, 1)
        };
        (relation.direction != closed).then(|| Carrier {
            route,
            bind_id: id.to_owned(),
            a: relation.a.clone(),
            x,
            b: b.clone(),
            own_id: String::new(),
            user_data: relation.user_data.clone(),
            recorded: relation.recorded,
            since_ms: relation.since_ms,
        })
    }

    fn admit(&mut self, call: &Call, now_ms: u64) -> Result<(), Answer> {
        let served = match call.path {
            AXB_PATH => self.credentials.modes.contains(&Mode::Axb),
            AX_PATH | CALLEE_PATH => self.credentials.modes.contains(&Mode::Ax),
            path if OTHER_MODES.contains(&path) => false,
            _ => {
                return Err(Answer {
                    status: 404,
                    entries: vec![named(call)],
                    ..Answer::default()
                });
            }
        };
        if !served {
            let text = "application belongs to another mode";
            return Err(self.refuse(call, 403, "1010040", text));
        }
        if op(call) == "other" {
            return Err(self.refuse(call, 405, "1010002", "invalid request: method"));
        }
        self.keeper
            .check(call.headers, call.peer, now_ms)
            .map_err(|Refusal(code, status, text)| self.refuse(call, status, code, text))
    }

    fn refused_by_fault(&mut self, call: &Call, code: Option<&str>) -> Answer {
        match code {
            None => self.refuse(call, 403, "1010010", "flow control limit reached"),
            Some("") => self.refuse(call, 500, "1010001", "internal error"),
            Some(code) => self.refuse(call, status(code), code, "injected fault"),
        }
    }

    fn serve(&mut self, call: &Call, now_ms: u64, other_x: Option<&str>) -> Answer {
        self.table.expire(now_ms);
        let served = match (call.path, op(call)) {
            (_, "bind") => self.bind(call, now_ms, other_x),
            (_, "unbind") => self.unbind(call),
            (_, "modify") => self.modify(call, now_ms),
            (_, "ax_bind") => self.ax_bind(call, now_ms, other_x),
            (_, "ax_unbind") => self.ax_unbind(call),
            (_, "set_callee") => self.set_callee(call, now_ms),
            (AX_PATH, _) => self.ax_query(call),
            _ => self.query(call),
        };
        served.unwrap_or_else(|Refused(code, text)| self.refuse(call, status(code), code, &text))
    }
}

fn success(body: &Value, entries: Vec<Entry>) -> Answer {
    Answer {
        status: 200,
        code: "0".into(),
        body: body.to_string(),
        entries,
        ..Answer::default()
    }
}

/// The HTTP status that goes with a code.
fn status(code: &str) -> u16 {
    match code {
        "0" => 200,
        "1010002" | "1020001" => 400,
        "1010001" | "1020002" => 500,
        code if code.starts_with("1023") => 400,
        _ => 403,
    }
}

/// What a request that is not served speaks of, as far as it can be read.
fn named(call: &Call) -> Entry {
    let mut entry = Entry {
        op: op(call),
        ..Entry::default()
    };
    let mut set = |name: &str, value: &str| {
        let place = match name {
            "callerNum" | "origNum" => &mut entry.a,
            "relationNum" | "privateNum" => &mut entry.x,
            "calleeNum" => &mut entry.b,
            "subscriptionId" => &mut entry.bind_id,
            _ => return,
        };
        if value.len() <= 64 {
            *place = if name == "subscriptionId" {
                value.to_owned()
            } else {
                from_e164(value)
            };
        }
    };
    if let Ok(Value::Object(fields)) = serde_json::from_slice(call.body) {
        for (name, value) in &fields {
            set(name, value.as_str().unwrap_or(""));
        }
    }
    for (name, value) in call.query.split('&').filter_map(|p| p.split_once('=')) {
        set(name, &percent_decode(value).unwrap_or_default());
    }
    entry
}

#[cfg(test)]
mod ax_tests;
#[cfg(test)]
mod tests;
