//! Jumdata's privacy numbers: AXB, and AX with an "online caller" that names the callee first.
//! Nothing but the signature is readable in public, so all else here is the likely shape.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | paths | `POST /axb/bind`, `/axb/query`, `/axb/unbind`, `/ax/bind`, `/ax/onlinecaller`, `/ax/query`, `/ax/unbind` |
//! | fields | JSON: `appId`, `timestamp`, `sign`, `telA`, `telX`, `telB`, `expiration` (seconds), `subid` |
//! | answer | `code`, `msg`, `data` with `subid` and `telX` |
//! | codes | integers: 0 ok, 1001 parameter, 1002 credentials, 1003 binding unknown, 1004 X busy, 1005 none free, 1006 X unknown, 1007 throttled, 1008 failed; HTTP 200 |
//! | tolerated clock difference | 5 minutes |
//! | how long a callee stays named | a minute, or until the next one |

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, digest};
use super::super::common::desk::ended_word;
use super::super::common::{
    Answer, Ask, Call, Claim, Clashes, Codes, Desk, Dialect, Entry, Envelope, Fields, Gate,
    Notation, Refused, Row, Scope, YEAR_S, hex_id,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "jumdata",
    scope: Scope::User,
    skew_s: 300,
    id: hex_id,
    throttled: ("1007", "too many requests"),
    internal: ("1008", "system error"),
    unknown: ("1001", "path is unknown"),
    names: ["telA", "telX", "telB", "subid"],
    op,
    authenticate,
    serve,
    refuse: |_, _, refused| ENVELOPE.refuse(refused),
};

const ENVELOPE: Envelope = Envelope {
    names: ["code", "msg"],
    ..Envelope::PLAIN
};
const GATE: Gate = Gate::of("1002", ["appId", "timestamp", "sign"]);
const CODES: Codes = Codes::all("1001");
const CLASHES: Clashes = Clashes {
    same: "1004",
    busy: "1004",
    none_free: "1005",
    unknown_x: "1006",
    alike: "1001",
};
const CALLEE_MS: u64 = 60_000;

fn op(call: &Call) -> &'static str {
    match (call.method, call.path) {
        ("POST", "/axb/bind") => "bind",
        ("POST", "/axb/unbind") => "unbind",
        ("POST", "/axb/query" | "/ax/query") => "query",
        ("POST", "/ax/bind") => "ax_bind",
        ("POST", "/ax/onlinecaller") => "set_callee",
        ("POST", "/ax/unbind") => "ax_unbind",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let fields = Fields::json(call, CODES)?;
    let (key, at) = (fields.plain("appId"), fields.plain("timestamp"));
    let claim = Claim {
        key: &key,
        at_ms: at.parse().ok(),
        sign: &fields.plain("sign"),
    };
    GATE.pass(desk, now_ms, claim, |secret| {
        digest(Hash::Sha256, format!("{key}{secret}{at}"))
    })
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.only("appId timestamp sign telA telX telB expiration subid requestId userData")?;
    match ask.op {
        "bind" | "ax_bind" => bind(desk, ask, &fields),
        "set_callee" => set_callee(desk, ask, &fields),
        "query" => query(desk, ask, &fields),
        _ => unbind(desk, &fields),
    }
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    let fixed = ask.op == "ax_bind";
    let b = fields.number("telB", Notation::National)?;
    if b.is_none() && !fixed {
        return Err(fields.missing("telB"));
    }
    let lasts_s = fields.count("expiration", 0..=YEAR_S)?.unwrap_or(0);
    let row = Row {
        a: fields.need_number("telA", Notation::National)?,
        x: fields
            .number("telX", Notation::National)?
            .unwrap_or_default(),
        b: b.filter(|_| !fixed).unwrap_or_default(),
        fixed,
        since_ms: ask.now_ms,
        expires_ms: ask.until(lasts_s),
        ..Row::default()
    };
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let data = json!({"subid": id, "telX": Notation::National.write(&row.x)});
    Ok(ENVELOPE.ok(data, Entry::of(ask.op, &id, &row, true)))
}

fn gone() -> Refused {
    Refused::new("1003", "binding does not exist")
}

fn set_callee(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    let id = fields.need("subid", 64)?;
    let row = desk.table.get(&id).filter(|row| row.fixed).cloned();
    let mut row = row.ok_or_else(gone)?;
    row.b = fields.need_number("telB", Notation::National)?;
    row.callee_until_ms = Some(ask.now_ms + CALLEE_MS);
    CLASHES.change(desk, &id, &row)?;
    Ok(ENVELOPE.ok(Value::Null, Entry::of(ask.op, &id, &row, true)))
}

fn query(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    let found = if let Some(id) = fields.text("subid", 64)? {
        desk.table.get(&id).map(|row| (id.clone(), row.clone()))
    } else {
        let x = fields.need_number("telX", Notation::National)?;
        let a = fields.number("telA", Notation::National)?;
        desk.on_x(&x, |row| a.as_ref().is_none_or(|a| row.a == *a))
    };
    let (id, row) = found.ok_or_else(gone)?;
    let data = json!({
        "subid": id,
        "telA": Notation::National.write(&row.a),
        "telX": Notation::National.write(&row.x),
        "telB": Notation::National.write(row.callee(ask.now_ms).unwrap_or("")),
    });
    Ok(ENVELOPE.ok(data, Entry::of(ask.op, &id, &row, false)))
}

fn unbind(desk: &mut Desk, fields: &Fields) -> Result<Answer, Refused> {
    let id = fields.need("subid", 64)?;
    let row = desk.end(&id).ok_or_else(gone)?;
    Ok(ENVELOPE.ok(Value::Null, Entry::of(ended_word(&row), &id, &row, true)))
}
