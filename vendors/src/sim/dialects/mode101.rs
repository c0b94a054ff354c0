//! The "mode101" carrier gateways: AXB and AX with a callee named before each call, signed with an
//! MD5 over the sorted fields, with or without a company.
//!
//! | what the vendors leave open | here |
//! |---|---|
//! | codes | the sibling platform's: 401, 402, 403, 404, 429, 501, 503, integers under HTTP 200 |
//! | three causes of 402 | told apart by the text |
//! | tolerated clock difference | 5 minutes; `ts` is the time in Beijing |
//! | a repeated `requestId` | a request like any other |
//! | query | `POST /v2/axb/query`, `queryType` 0 by `subid`, 1 by `telX` and `telA` or `telB` |
//! | how long a callee stays named | a minute, or until the next one |
//! | `unsubmethod` | accepted; the platform does not release by itself |
//! | company | demanded where the configuration names one; signed wherever `compid` is sent |

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, digest};
use super::super::common::times::{self, BEIJING_S};
use super::super::common::{
    Answer, Ask, Call, Claim, Clashes, Codes, Desk, Dialect, Entry, Envelope, Fields, Gate,
    Notation, Refused, Row, Scope, YEAR_S, plain, plain_id, wanted,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "mode101",
    scope: Scope::User,
    skew_s: 300,
    id: plain_id,
    throttled: ("429", "too many requests"),
    internal: ("501", "internal timeout"),
    unknown: ("503", "interface is closed"),
    names: ["telA", "telX", "telB", "subid"],
    op,
    authenticate,
    serve,
    refuse: |_, _, refused| ENVELOPE.refuse(refused),
};

pub(super) const ENVELOPE: Envelope = Envelope::PLAIN;
const GATE: Gate = Gate::of("401", ["the key", "ts", "the signature"]);
pub(super) const CODES: Codes = Codes::all("400");
pub(super) const CLASHES: Clashes = Clashes {
    same: "402",
    busy: "402",
    none_free: "402",
    unknown_x: "402",
    alike: "400",
};
pub(super) const CALLEE_MS: u64 = 60_000;

/// The parts of a path behind `/v2/`.
fn parts<'a>(call: &Call<'a>) -> Vec<&'a str> {
    let inside = call.path.strip_prefix("/v2/").unwrap_or("");
    inside.split('/').collect()
}

fn op(call: &Call) -> &'static str {
    match (call.method, &parts(call)[..]) {
        ("POST", ["axb", "mode101" | "mode102"]) => "bind",
        ("POST", ["axb", "query"]) => "query",
        ("DELETE", ["axb", id]) if !id.is_empty() => "unbind",
        ("POST", ["ax", "mode101" | "mode102"]) => "ax_bind",
        ("PUT", ["ax", "onlinecall", _]) => "set_callee",
        ("DELETE", ["ax", id]) if !id.is_empty() => "ax_unbind",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let names = ["appkey", "ts", "msgdgt", "compid"];
    signed(desk, call, now_ms, names, call.method != "DELETE")
}

/// Checks the family's signature, whose key, time, digest and company stand in headers of these
/// names; the body's fields take part where they are said to.
pub(super) fn signed(
    desk: &mut Desk,
    call: &Call,
    now_ms: u64,
    [key_name, ts_name, sign_name, company]: [&'static str; 4],
    with_body: bool,
) -> Result<(), Refused> {
    let header = |name| {
        let missing = || GATE.refuse("a header is missing");
        call.header(name).ok_or_else(missing)
    };
    let (key, at, sign) = (header(key_name)?, header(ts_name)?, header(sign_name)?);
    let named = call.header(company).unwrap_or("");
    if !desk.credentials.company.is_empty() && named != desk.credentials.company {
        return Err(GATE.refuse("the company is unknown"));
    }
    let mut parts = vec![
        (key_name.to_owned(), key.to_owned()),
        (ts_name.to_owned(), at.to_owned()),
    ];
    if with_body {
        for (name, value) in Fields::object(call.body, CODES)?.map() {
            match value {
                // What stands inside is signed as if it stood outside.
                Value::Object(inner) => {
                    parts.extend(inner.iter().map(|(n, v)| (n.clone(), plain(v))));
                }
                value => parts.push((name.clone(), plain(value))),
            }
        }
    }
    parts.sort();
    let at_ms = beijing_ms(at);
    GATE.pass(desk, now_ms, Claim { key, at_ms, sign }, |secret| {
        let mut text = secret.to_owned();
        for (name, value) in parts {
            text += &name;
            text += &value;
        }
        text += named;
        digest(Hash::Md5, text).to_uppercase()
    })
}

/// 17 digits of the time in Beijing, the last three of them milliseconds, which do not count.
fn beijing_ms(at: &str) -> Option<u64> {
    let millis = at.get(14..).filter(|ms| ms.len() == 3)?;
    let local_s = times::read(at.get(..14)?, times::DIGITS)?;
    let digits = millis.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| local_s.saturating_sub(BEIJING_S) * 1000)
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let parts = parts(ask.call);
    let last = *parts.last().unwrap_or(&"");
    match ask.op {
        "bind" => bind(desk, ask, last == "mode101"),
        "ax_bind" => ax_bind(desk, ask, last == "mode101"),
        "set_callee" => online_call(desk, ask, last),
        "query" => query(desk, ask),
        _ => unbind(desk, ask, last),
    }
}

const FIELDS: &str = "requestId telA telX telB subts anucode areacode expiration remark extra \
    expiretime unsubmethod name cardtype cardno";

/// The fields of a bind, checked, and how long it lasts.
fn fields(ask: &Ask, own_x: bool) -> Result<(Fields, u64), Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.only(FIELDS)?;
    fields.need("requestId", 64)?;
    fields.text("remark", 250)?;
    fields.choice("unsubmethod", "0 1")?;
    if let Some(at) = fields.text("subts", 14)?
        && times::read(&at, times::DIGITS).is_none()
    {
        return Err(fields.bad("subts", "is no time"));
    }
    if own_x && fields.text("telX", 20)?.is_none() {
        return Err(fields.missing("telX"));
    }
    let lasts_s = fields.digits("expiration", 0..=YEAR_S)?;
    let Some(end) = fields.text("expiretime", 14)? else {
        return Ok((fields, lasts_s.unwrap_or(0)));
    };
    let end_s = times::read(&end, times::DIGITS);
    let left_s = end_s.and_then(|end| end.checked_sub(BEIJING_S + ask.now_ms / 1000));
    match left_s {
        Some(left_s) if left_s > 0 && lasts_s.is_none() => Ok((fields, left_s)),
        _ => Err(fields.bad("expiretime", "is past, no time, or beside expiration")),
    }
}

fn bind(desk: &mut Desk, ask: &Ask, own_x: bool) -> Result<Answer, Refused> {
    let (fields, lasts_s) = fields(ask, own_x)?;
    let mut row = wanted(
        &fields,
        ["telA", "telX", "telB"],
        Notation::National,
        lasts_s,
        ask,
    )?;
    if !own_x {
        row.x.clear();
    }
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let data = json!({"subid": id, "telX": Notation::National.write(&row.x)});
    Ok(ENVELOPE.ok(data, Entry::of(ask.op, &id, &row, true)))
}

fn ax_bind(desk: &mut Desk, ask: &Ask, own_x: bool) -> Result<Answer, Refused> {
    let (fields, lasts_s) = fields(ask, own_x)?;
    let x = fields.number("telX", Notation::National)?;
    let row = Row {
        a: fields.need_number("telA", Notation::National)?,
        x: x.filter(|_| own_x).unwrap_or_default(),
        fixed: true,
        since_ms: ask.now_ms,
        expires_ms: ask.until(lasts_s),
        ..Row::default()
    };
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let data = json!({"subid": id, "telX": Notation::National.write(&row.x)});
    Ok(ENVELOPE.ok(data, Entry::of(ask.op, &id, &row, true)))
}

pub(super) fn gone() -> Refused {
    Refused::new("403", "binding does not exist")
}

fn online_call(desk: &mut Desk, ask: &Ask, id: &str) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.only("requestId telB")?;
    fields.need("requestId", 64)?;
    let callee = fields.need_number("telB", Notation::National)?;
    let row = name_callee(desk, id, callee, ask.now_ms)?;
    Ok(ENVELOPE.ok(Value::Null, Entry::of(ask.op, id, &row, true)))
}

/// Names the callee of the next calls of the A of a static binding.
pub(super) fn name_callee(
    desk: &mut Desk,
    id: &str,
    callee: String,
    now_ms: u64,
) -> Result<Row, Refused> {
    let mut row = desk
        .table
        .get(id)
        .filter(|row| row.fixed)
        .cloned()
        .ok_or_else(gone)?;
    row.b = callee;
    row.callee_until_ms = Some(now_ms + CALLEE_MS);
    CLASHES.change(desk, id, &row)?;
    Ok(row)
}

fn unbind(desk: &mut Desk, ask: &Ask, id: &str) -> Result<Answer, Refused> {
    let fixed = ask.op == "ax_unbind";
    let there = desk.table.get(id).is_some_and(|row| row.fixed == fixed);
    let row = there.then(|| desk.end(id)).flatten().ok_or_else(gone)?;
    Ok(ENVELOPE.ok(Value::Null, Entry::of(ask.op, id, &row, true)))
}

fn query(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.only("requestId queryType subid telX telA telB")?;
    let kind = fields.choice("queryType", "0 1")?;
    let found = if kind.ok_or_else(|| fields.missing("queryType"))? == "0" {
        let id = fields.need("subid", 64)?;
        desk.table.get(&id).map(|row| (id.clone(), row.clone()))
    } else {
        let x = fields.need_number("telX", Notation::National)?;
        let number = |name| fields.number(name, Notation::National);
        let (a, b) = (number("telA")?, number("telB")?);
        desk.on_x(&x, |row| {
            a.as_ref().is_none_or(|a| row.a == *a) && b.as_ref().is_none_or(|b| row.b == *b)
        })
    };
    let (id, row) = found.ok_or_else(gone)?;
    let data = json!({
        "subid": id,
        "telA": Notation::National.write(&row.a),
        "telX": Notation::National.write(&row.x),
        "telB": Notation::National.write(&row.b),
    });
    Ok(ENVELOPE.ok(data, Entry::of(ask.op, &id, &row, false)))
}
