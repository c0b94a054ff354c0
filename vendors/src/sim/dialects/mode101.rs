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
    Answer, Ask, Call, Clashes, Codes, Desk, Dialect, Entry, Fields, Notation, Refused, Row, Scope,
    plain, plain_id, refusal, served, wanted,
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
    refuse,
};

pub(super) const CODES: Codes = Codes::all("400");
pub(super) const CLASHES: Clashes = Clashes {
    same: "402",
    busy: "402",
    none_free: "402",
    unknown_x: "402",
    alike: "400",
};
pub(super) const CALLEE_MS: u64 = 60_000;
pub(super) const LASTS_MAX_S: u64 = 31_536_000;

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
    [key, ts, sign, company]: [&'static str; 4],
    with_body: bool,
) -> Result<(), Refused> {
    let refused = |text: &'static str| Refused::new("401", text);
    let header = |name| {
        call.header(name)
            .ok_or_else(|| refused("a header is missing"))
    };
    let at = header(ts)?;
    let millis = at
        .get(14..)
        .filter(|ms| ms.len() == 3 && ms.bytes().all(|b| b.is_ascii_digit()));
    let local_s = at.get(..14).and_then(|at| times::read(at, times::DIGITS));
    let (Some(local_s), true) = (local_s, millis.is_some()) else {
        return Err(refused("ts is no time"));
    };
    if !desk.in_time(local_s.saturating_sub(BEIJING_S) * 1000, now_ms) {
        return Err(refused("ts is too far from our clock"));
    }
    if header(key)? != desk.credentials.app_key {
        return Err(refused("the key is unknown"));
    }
    let named = call.header(company).unwrap_or("");
    if !desk.credentials.company.is_empty() && named != desk.credentials.company {
        return Err(refused("the company is unknown"));
    }
    let mut parts = vec![
        (key.to_owned(), header(key)?.to_owned()),
        (ts.to_owned(), at.to_owned()),
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
    let mut text = desk.credentials.app_secret.clone();
    for (name, value) in parts {
        text += &name;
        text += &value;
    }
    text += named;
    if digest(Hash::Md5, text).to_uppercase() != header(sign)? {
        return Err(refused("signature does not match"));
    }
    Ok(())
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

fn ok(data: &Value, entry: Entry) -> Answer {
    let body = json!({"code": 0, "message": "success", "data": data});
    served("0", &body, entry)
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
    let lasts_s = fields.digits("expiration", 0..=LASTS_MAX_S)?;
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
    let bound = desk.bind(row, ask.other_x);
    let (id, row) = bound.map_err(|clash| CLASHES.refusal(&clash))?;
    let data = json!({"subid": id, "telX": Notation::National.write(&row.x)});
    Ok(ok(&data, Entry::of(ask.op, &id, &row, true)))
}

fn ax_bind(desk: &mut Desk, ask: &Ask, own_x: bool) -> Result<Answer, Refused> {
    let (fields, lasts_s) = fields(ask, own_x)?;
    let x = fields.number("telX", Notation::National)?;
    let row = Row {
        a: fields.need_number("telA", Notation::National)?,
        x: x.filter(|_| own_x).unwrap_or_default(),
        fixed: true,
        since_ms: ask.now_ms,
        expires_ms: (lasts_s > 0).then(|| ask.now_ms + lasts_s * 1000),
        ..Row::default()
    };
    let bound = desk.bind(row, ask.other_x);
    let (id, row) = bound.map_err(|clash| CLASHES.refusal(&clash))?;
    let data = json!({"subid": id, "telX": Notation::National.write(&row.x)});
    Ok(ok(&data, Entry::of(ask.op, &id, &row, true)))
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
    Ok(ok(&Value::Null, Entry::of(ask.op, id, &row, true)))
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
    let changed = desk.change(id, row.clone());
    changed.map_err(|clash| CLASHES.refusal(&clash))?;
    Ok(row)
}

fn unbind(desk: &mut Desk, ask: &Ask, id: &str) -> Result<Answer, Refused> {
    let fixed = ask.op == "ax_unbind";
    let there = desk.table.get(id).is_some_and(|row| row.fixed == fixed);
    let row = there.then(|| desk.end(id)).flatten().ok_or_else(gone)?;
    Ok(ok(&Value::Null, Entry::of(ask.op, id, &row, true)))
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
    Ok(ok(&data, Entry::of(ask.op, &id, &row, false)))
}

fn refuse(_: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    refusal(200, ["code", "message"], true, refused)
}
