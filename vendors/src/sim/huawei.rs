//! Huawei's AXB interface as its documentation describes it, from a parsed request to an answer.
//! Pure: clock and draws come in, the lines for the log go out.
//!
//! Where the documentation names no HTTP status for a code, this simulator answers 403; it refuses
//! body fields it does not know, which the vendor may not do.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::auth::{Gatekeeper, Refusal};
use super::table::{Conflict, Row, Table};
use super::{Binding, Credentials, seconds};
use crate::numbers::{from_e164, to_e164};

const AXB_PATH: &str = "/rest/caas/relationnumber/partners/v1.0";
/// Paths of the vendor's other modes, which an AXB application may not call.
const OTHER_MODES: [&str; 4] = [
    "/rest/provision/caas/privatenumber/v1.0",
    "/rest/caas/privatenumber/calleenumber/v1.0",
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
}

/// A request as HTTP gave it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: &'a str,
    /// The path without the vendor's prefix.
    pub path: &'a str,
    /// The raw query without `?`.
    pub query: &'a str,
    /// Headers, names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
    /// Who asks.
    pub peer: IpAddr,
}

/// What is answered and logged.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The vendor's code, empty for a wrong path.
    pub code: String,
    /// The body.
    pub body: String,
    /// At least one.
    pub entries: Vec<Entry>,
}

/// What a line of the log says about a request; numbers in our notation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// `bind`, `unbind`, `modify`, `query` or `other`.
    pub op: &'static str,
    /// A.
    pub a: String,
    /// X.
    pub x: String,
    /// B.
    pub b: String,
    /// The binding.
    pub bind_id: String,
    /// Whether the table changed.
    pub applied: bool,
}

impl Entry {
    fn of(op: &'static str, id: &str, row: &Row, applied: bool) -> Entry {
        Entry {
            op,
            a: from_e164(&row.a),
            x: from_e164(&row.x),
            b: from_e164(&row.b),
            bind_id: id.to_owned(),
            applied,
        }
    }
}

/// A refused request: code and text.
struct Refused(&'static str, String);

impl Refused {
    fn field(name: &str, what: &str) -> Refused {
        Refused("1010002", format!("invalid request: {name} {what}"))
    }
}

impl Huawei {
    /// An application without bindings.
    pub fn new(credentials: Credentials) -> Huawei {
        let run: u32 = rand::random();
        Huawei {
            keeper: Gatekeeper::new(credentials.clone()),
            credentials,
            table: Table::new(format!("{run:08x}")),
        }
    }

    /// Forgets failed authentications.
    pub fn lift_blocks(&mut self) {
        self.keeper.lift_blocks();
    }

    /// All live bindings.
    pub fn bindings(&mut self, now_ms: u64) -> Vec<Binding> {
        self.table.expire(now_ms);
        let all = self.table.all().into_iter();
        all.map(|(id, row)| Binding {
            vendor: "huawei".into(),
            bind_id: id.to_owned(),
            a: from_e164(&row.a),
            x: from_e164(&row.x),
            b: from_e164(&row.b),
            since: seconds(row.since_ms),
            expires: row.expires_ms.map(seconds),
        })
        .collect()
    }

    /// Where a call from A to X goes: B in our notation.
    pub fn callee(&mut self, a: &str, x: &str, now_ms: u64) -> Option<String> {
        self.table.expire(now_ms);
        let a = to_e164(a);
        let (_, row) = self.table.find(&to_e164(x), &a)?;
        (row.a == a && row.direction != 2).then(|| from_e164(&row.b))
    }

    /// Checks path, method and credentials; afterwards the request may be refused by a fault.
    ///
    /// # Errors
    /// The answer that ends it.
    pub fn admit(&mut self, call: &Call, now_ms: u64) -> Result<(), Answer> {
        if OTHER_MODES.contains(&call.path) {
            let text = "application belongs to another mode";
            return Err(self.refuse(call, 403, "1010040", text));
        }
        if call.path != AXB_PATH {
            let entry = named(call);
            return Err(Answer {
                status: 404,
                code: String::new(),
                body: String::new(),
                entries: vec![entry],
            });
        }
        if op(call.method) == "other" {
            return Err(self.refuse(call, 405, "1010002", "invalid request: method"));
        }
        self.keeper
            .check(call.headers, call.peer, now_ms)
            .map_err(|Refusal(code, status, text)| self.refuse(call, status, code, text))
    }

    /// The answer to a request that is refused without effect, with the status of the code;
    /// `None`: throttled.
    pub fn refused_by_fault(&self, call: &Call, code: Option<&str>) -> Answer {
        match code {
            None => self.refuse(call, 403, "1010010", "flow control limit reached"),
            Some("") => self.refuse(call, 500, "1010001", "internal error"),
            Some(code) => self.refuse(call, status(code), code, "injected fault"),
        }
    }

    /// Serves an admitted request.
    pub fn serve(&mut self, call: &Call, now_ms: u64) -> Answer {
        self.table.expire(now_ms);
        let served = match call.method {
            "POST" => self.bind(call, now_ms),
            "DELETE" => self.unbind(call),
            "PUT" => self.modify(call, now_ms),
            _ => self.query(call),
        };
        served.unwrap_or_else(|Refused(code, text)| self.refuse(call, status(code), code, &text))
    }

    fn refuse(&self, call: &Call, status: u16, code: &str, text: &str) -> Answer {
        let mut entry = named(call);
        // The binding that an id speaks of is worth more than the id.
        if let Some(row) = self.table.get(&entry.bind_id) {
            entry = Entry::of(entry.op, &entry.bind_id.clone(), row, false);
        }
        Answer {
            status,
            code: code.to_owned(),
            body: json!({"resultcode": code, "resultdesc": text}).to_string(),
            entries: vec![entry],
        }
    }

    fn bind(&mut self, call: &Call, now_ms: u64) -> Result<Answer, Refused> {
        let fields = Fields::read(call, BIND_FIELDS)?;
        let a = fields
            .number("callerNum")?
            .ok_or_else(|| missing("callerNum"))?;
        let b = fields
            .number("calleeNum")?
            .ok_or_else(|| missing("calleeNum"))?;
        let area = fields.text("areaCode", 32)?;
        let x = fields.number("relationNum")?;
        let duration_s = fields.whole("duration", DURATION_MAX_S)?.unwrap_or(0);
        let direction = fields.whole("callDirection", 2)?.unwrap_or(0);
        fields.common()?;
        let mut row = Row {
            serial: 0,
            a,
            x: String::new(),
            b,
            direction: u8::try_from(direction).unwrap_or(0),
            max_duration_min: fields.whole("maxDuration", 1440)?.unwrap_or(0),
            user_data: fields.text("userData", 256)?.unwrap_or_default(),
            since_ms: now_ms,
            expires_ms: (duration_s > 0).then(|| now_ms + duration_s * 1000),
        };
        row.x = match (x, area) {
            (Some(x), _) => x,
            (None, Some(_)) => self.free_x(&row).ok_or_else(|| {
                Refused(
                    "1012006",
                    "number resources of the city are exhausted".into(),
                )
            })?,
            (None, None) => return Err(missing("relationNum or areaCode")),
        };
        unlike(&row)?;
        if !self.owns(&row.x) {
            return Err(Refused(
                "1011001",
                "relationNum is not of this application".into(),
            ));
        }
        let id = self.table.insert(row.clone()).map_err(refused_by_table)?;
        let body = json!({
            "resultcode": "0",
            "resultdesc": "Success",
            "subscriptionId": id,
            "relationNum": row.x,
            "callDirection": row.direction,
            "duration": duration_s,
            "maxDuration": row.max_duration_min,
        });
        let entry = Entry::of("bind", &id, &row, true);
        Ok(success(body, vec![entry]))
    }

    fn unbind(&mut self, call: &Call) -> Result<Answer, Refused> {
        let query = query_pairs(call.query, &["subscriptionId", "relationNum"])?;
        let ids: Vec<String> = if let Some(id) = pair(&query, "subscriptionId") {
            if id.is_empty() || id.len() > 64 {
                return Err(Refused::field("subscriptionId", "must have 1 to 64 bytes"));
            }
            vec![id.to_owned()]
        } else if let Some(x) = pair(&query, "relationNum") {
            let x = e164("relationNum", x)?;
            let on_x = self.table.on_x(&x);
            on_x.into_iter().map(|(id, _)| id.to_owned()).collect()
        } else {
            return Err(missing("subscriptionId or relationNum"));
        };
        let entries: Vec<Entry> = ids
            .iter()
            .filter_map(|id| Some(Entry::of("unbind", id, &self.table.remove(id)?, true)))
            .collect();
        if entries.is_empty() {
            return Err(gone());
        }
        let body = json!({"resultcode": "0", "resultdesc": "Success"});
        Ok(success(body, entries))
    }

    fn modify(&mut self, call: &Call, now_ms: u64) -> Result<Answer, Refused> {
        let fields = Fields::read(call, MODIFY_FIELDS)?;
        let id = fields
            .text("subscriptionId", 64)?
            .filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| missing("subscriptionId"))?;
        fields.common()?;
        let mut row = self.table.get(&id).cloned().ok_or_else(gone)?;
        if let Some(a) = fields.number("callerNum")? {
            row.a = a;
        }
        if let Some(b) = fields.number("calleeNum")? {
            row.b = b;
        }
        if let Some(direction) = fields.whole("callDirection", 2)? {
            row.direction = u8::try_from(direction).unwrap_or(0);
        }
        if let Some(minutes) = fields.whole("maxDuration", 1440)? {
            row.max_duration_min = minutes;
        }
        // The lifetime starts again at the change.
        if let Some(duration_s) = fields.whole("duration", DURATION_MAX_S)? {
            row.expires_ms = (duration_s > 0).then(|| now_ms + duration_s * 1000);
        }
        unlike(&row)?;
        let entry = Entry::of("modify", &id, &row, true);
        self.table.replace(&id, row).map_err(refused_by_table)?;
        let body = json!({"resultcode": "0", "resultdesc": "Success"});
        Ok(success(body, vec![entry]))
    }

    fn query(&mut self, call: &Call) -> Result<Answer, Refused> {
        let known = [
            "subscriptionId",
            "relationNum",
            "callerNum",
            "calleeNum",
            "pageIndex",
            "pageSize",
        ];
        let query = query_pairs(call.query, &known)?;
        let page = |name, least: usize, most: usize, default: usize| match pair(&query, name) {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(number) if (least..=most).contains(&number) => Ok(number),
                _ => Err(Refused::field(name, &format!("is not {least} to {most}"))),
            },
        };
        let page_index = page("pageIndex", 1, 1_000_000, 1)?;
        let page_size = page("pageSize", 10, 100, 50)?;
        let mut found: Vec<(String, Row)> = Vec::new();
        if let Some(id) = pair(&query, "subscriptionId") {
            found.extend(self.table.get(id).map(|row| (id.to_owned(), row.clone())));
        } else if let Some(x) = pair(&query, "relationNum") {
            let x = e164("relationNum", x)?;
            let number = |name| pair(&query, name).map(|n| e164(name, n)).transpose();
            let (a, b) = (number("callerNum")?, number("calleeNum")?);
            let narrowed = self.table.on_x(&x).into_iter().filter(|(_, row)| {
                a.as_ref().is_none_or(|a| *a == row.a) && b.as_ref().is_none_or(|b| *b == row.b)
            });
            found.extend(narrowed.map(|(id, row)| (id.to_owned(), row.clone())));
        } else {
            return Err(missing("subscriptionId or relationNum"));
        }
        if found.is_empty() {
            return Err(gone());
        }
        let list: Vec<Value> = found
            .iter()
            .skip((page_index - 1) * page_size)
            .take(page_size)
            .map(|(id, row)| {
                json!({
                    "subscriptionId": id,
                    "relationNum": row.x,
                    "callerNum": row.a,
                    "calleeNum": row.b,
                    "callDirection": row.direction,
                    "maxDuration": row.max_duration_min,
                    "userData": row.user_data,
                })
            })
            .collect();
        let body = json!({
            "resultcode": "0",
            "resultdesc": "Success",
            "totalCount": found.len(),
            "relationNumList": list,
        });
        let (id, row) = &found[0];
        let entry = Entry::of("query", id, row, false);
        Ok(success(body, vec![entry]))
    }

    fn owns(&self, x: &str) -> bool {
        let Credentials {
            x_numbers,
            x_prefix,
            ..
        } = &self.credentials;
        let any = x_numbers.is_empty() && x_prefix.is_empty();
        any || (!x_prefix.is_empty() && from_e164(x).starts_with(x_prefix.as_str()))
            || x_numbers.iter().any(|own| to_e164(own) == x)
    }

    /// The first X of the list on which neither number appears.
    fn free_x(&self, row: &Row) -> Option<String> {
        let all = self.credentials.x_numbers.iter().map(|x| to_e164(x));
        let mut free = all.filter(|x| {
            self.table.find(x, &row.a).is_none() && self.table.find(x, &row.b).is_none()
        });
        free.next()
    }
}

const BIND_FIELDS: &[&str] = &[
    "callerNum",
    "calleeNum",
    "relationNum",
    "areaCode",
    "areaMatchMode",
    "callDirection",
    "duration",
    "recordFlag",
    "recordHintTone",
    "maxDuration",
    "lastMinVoice",
    "privateSms",
    "preVoice",
    "userData",
];

const MODIFY_FIELDS: &[&str] = &[
    "subscriptionId",
    "callerNum",
    "calleeNum",
    "callDirection",
    "duration",
    "maxDuration",
    "lastMinVoice",
    "privateSms",
    "recordFlag",
    "preVoice",
];

/// A JSON body whose fields are all known.
struct Fields(Map<String, Value>);

impl Fields {
    fn read(call: &Call, known: &[&str]) -> Result<Fields, Refused> {
        let content_type = call
            .headers
            .iter()
            .find(|(name, _)| *name == "content-type");
        let content_type =
            content_type.map(|(_, value)| value.to_ascii_lowercase().replace(' ', ""));
        if content_type.as_deref() != Some("application/json;charset=utf-8") {
            return Err(Refused::field("Content-Type", "is not JSON in UTF-8"));
        }
        let Ok(Value::Object(fields)) = serde_json::from_slice(call.body) else {
            return Err(Refused::field("body", "is no JSON object"));
        };
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Refused::field(&shown(name), "is unknown")),
            None => Ok(Fields(fields)),
        }
    }

    fn text(&self, name: &str, bytes_max: usize) -> Result<Option<String>, Refused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= bytes_max => Ok(Some(text.clone())),
            Some(Value::String(_)) => Err(Refused::field(name, "is too long")),
            Some(_) => Err(Refused::field(name, "is no string")),
        }
    }

    fn whole(&self, name: &str, most: u64) -> Result<Option<u64>, Refused> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) if number <= most => Ok(Some(number)),
                _ => Err(Refused::field(
                    name,
                    &format!("is no integer from 0 to {most}"),
                )),
            },
        }
    }

    fn number(&self, name: &str) -> Result<Option<String>, Refused> {
        match self.text(name, 32)? {
            None => Ok(None),
            Some(text) => {
                let number = e164(name, &text)?;
                // The vendor takes neither 400 nor 95 numbers into a binding.
                let national = number.strip_prefix("+86").unwrap_or("");
                if name == "calleeNum"
                    && ((national.len() == 10 && national.starts_with("400"))
                        || (national.len() <= 8 && national.starts_with("95")))
                {
                    return Err(Refused::field(name, "must not be a 400 or 95 number"));
                }
                Ok(Some(number))
            }
        }
    }

    /// Fields that have no effect here, checked all the same.
    fn common(&self) -> Result<(), Refused> {
        for name in ["recordFlag", "privateSms"] {
            if let Some(word) = self.text(name, 5)?
                && word != "true"
                && word != "false"
            {
                return Err(Refused::field(name, "is neither true nor false"));
            }
        }
        self.text("recordHintTone", 128)?;
        self.text("areaMatchMode", 32)?;
        if self
            .text("userData", 256)?
            .is_some_and(|text| text.is_empty())
        {
            return Err(Refused::field("userData", "is empty"));
        }
        let minutes = self.whole("maxDuration", 1440)?;
        if self.text("lastMinVoice", 128)?.is_some() && minutes.unwrap_or(0) == 0 {
            return Err(Refused::field("lastMinVoice", "needs maxDuration"));
        }
        match self.0.get("preVoice") {
            None => Ok(()),
            Some(Value::Object(tones)) => {
                for (name, tone) in tones {
                    let known = name == "callerHintTone" || name == "calleeHintTone";
                    if !known || tone.as_str().is_none_or(|tone| tone.len() > 128) {
                        return Err(Refused::field("preVoice", "holds a bad tone"));
                    }
                }
                Ok(())
            }
            Some(_) => Err(Refused::field("preVoice", "is no object")),
        }
    }
}

/// A number in the vendor's form: `+`, country code, 5 to 20 digits in all, and no zero in front
/// of a Chinese area code.
fn e164(name: &str, text: &str) -> Result<String, Refused> {
    let digits = text.strip_prefix('+').unwrap_or("");
    let fits = (5..=20).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
        && !digits.starts_with("860");
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Refused::field(name, "is no number in the form +86…"))
    }
}

fn unlike(row: &Row) -> Result<(), Refused> {
    if row.a == row.b || row.a == row.x || row.b == row.x {
        return Err(Refused::field(
            "callerNum, calleeNum, relationNum",
            "must differ",
        ));
    }
    Ok(())
}

fn missing(name: &str) -> Refused {
    Refused::field(name, "is missing")
}

fn gone() -> Refused {
    Refused("1012007", "binding does not exist".into())
}

fn refused_by_table(conflict: Conflict) -> Refused {
    match conflict {
        Conflict::Number => {
            let text = "relationNum has a binding with callerNum or calleeNum already";
            Refused("1012010", text.into())
        }
        Conflict::Full => Refused("1012008", "number resources are exhausted".into()),
    }
}

fn success(body: Value, entries: Vec<Entry>) -> Answer {
    Answer {
        status: 200,
        code: "0".into(),
        body: body.to_string(),
        entries,
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

fn op(method: &str) -> &'static str {
    match method {
        "POST" => "bind",
        "DELETE" => "unbind",
        "PUT" => "modify",
        "GET" => "query",
        _ => "other",
    }
}

/// What a request that is not served speaks of, as far as it can be read.
fn named(call: &Call) -> Entry {
    let mut entry = Entry {
        op: op(call.method),
        ..Entry::default()
    };
    let mut set = |name: &str, value: &str| {
        let place = match name {
            "callerNum" => &mut entry.a,
            "relationNum" => &mut entry.x,
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

fn query_pairs(query: &str, known: &[&str]) -> Result<Vec<(String, String)>, Refused> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for item in query.split('&').filter(|item| !item.is_empty()) {
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        let value = percent_decode(value)
            .ok_or_else(|| Refused::field(&shown(name), "is badly encoded"))?;
        if !known.contains(&name) {
            return Err(Refused::field(&shown(name), "is unknown"));
        }
        if pairs.iter().any(|(n, _)| n == name) {
            return Err(Refused::field(name, "is there twice"));
        }
        pairs.push((name.to_owned(), value));
    }
    Ok(pairs)
}

fn pair<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(n, _)| n == name);
    found.map(|(_, value)| value.as_str())
}

/// Form decoding: a bare `+` is a space, so a number must be sent with `%2B`.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// A foreign name, short enough for an answer.
fn shown(name: &str) -> String {
    name.chars().take(40).collect()
}

#[cfg(test)]
#[path = "huawei_tests.rs"]
mod tests;
