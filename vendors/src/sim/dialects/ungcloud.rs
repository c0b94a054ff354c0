//! UNG Cloud, which looks like the mode101 gateways in other words.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | signature | that of mode101 over `access-key`, `ts` and the body's fields, `company-id` behind them |
//! | fields of the body | `request_id`, `tel_a`, `tel_x`, `tel_b`, `area_code`, `expiration`, `bind_id` |
//! | unbind | `POST /api/v1/axb/unbind` with `bind_id`; numbers beside it must be the binding's, else 404 |
//! | AX | the same below `/api/v1/ax`, and `/api/v1/ax/onlinecall` with `bind_id` and `tel_b` |
//! | answer | `code`, `message`, `data` with `bind_id` and `tel_x`, HTTP 200 |
//! | tolerated clock difference | 5 minutes; `ts` is the time in Beijing |

use serde_json::{Value, json};

use super::super::common::{
    Answer, Ask, Call, Desk, Dialect, Entry, Fields, Notation, Refused, Row, Scope, YEAR_S,
    plain_id,
};
use super::mode101::{CLASHES, CODES, ENVELOPE, gone, name_callee, signed};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "ungcloud",
    scope: Scope::User,
    skew_s: 300,
    id: plain_id,
    throttled: ("429", "too many requests"),
    internal: ("501", "internal timeout"),
    unknown: ("503", "interface is closed"),
    names: ["tel_a", "tel_x", "tel_b", "bind_id"],
    op,
    authenticate,
    serve,
    refuse: |_, _, refused| ENVELOPE.refuse(refused),
};

fn op(call: &Call) -> &'static str {
    match (call.method, call.path) {
        ("POST", "/api/v1/axb/bind" | "/api/v1/axb/assign") => "bind",
        ("POST", "/api/v1/axb/unbind") => "unbind",
        ("POST", "/api/v1/ax/bind" | "/api/v1/ax/assign") => "ax_bind",
        ("POST", "/api/v1/ax/unbind") => "ax_unbind",
        ("POST", "/api/v1/ax/onlinecall") => "set_callee",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    if !call
        .header("company-id")
        .is_some_and(|id| id.starts_with('7'))
    {
        return Err(Refused::new("401", "company-id is missing"));
    }
    let names = ["access-key", "ts", "sign", "company-id"];
    signed(desk, call, now_ms, names, true)
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.only("request_id tel_a tel_x tel_b area_code expiration bind_id record user_data")?;
    fields.need("request_id", 64)?;
    match ask.op {
        "bind" | "ax_bind" => bind(desk, ask, &fields),
        "set_callee" => {
            let id = fields.need("bind_id", 64)?;
            let callee = fields.need_number("tel_b", Notation::National)?;
            let row = name_callee(desk, &id, callee, ask.now_ms)?;
            Ok(ENVELOPE.ok(Value::Null, Entry::of(ask.op, &id, &row, true)))
        }
        _ => unbind(desk, ask, &fields),
    }
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    let fixed = ask.op == "ax_bind";
    let own_x = ask.call.path.ends_with("/bind");
    let number = |name| fields.number(name, Notation::National);
    let (x, b) = (number("tel_x")?, number("tel_b")?);
    if own_x && x.is_none() {
        return Err(fields.missing("tel_x"));
    }
    if b.is_none() && !fixed {
        return Err(fields.missing("tel_b"));
    }
    let lasts_s = fields.count("expiration", 0..=YEAR_S)?.unwrap_or(0);
    let row = Row {
        a: fields.need_number("tel_a", Notation::National)?,
        x: x.filter(|_| own_x).unwrap_or_default(),
        b: b.unwrap_or_default(),
        fixed,
        since_ms: ask.now_ms,
        expires_ms: ask.until(lasts_s),
        ..Row::default()
    };
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let data = json!({"bind_id": id, "tel_x": Notation::National.write(&row.x)});
    Ok(ENVELOPE.ok(data, Entry::of(ask.op, &id, &row, true)))
}

fn unbind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    let id = fields.need("bind_id", 64)?;
    let fixed = ask.op == "ax_unbind";
    let row = desk
        .table
        .get(&id)
        .filter(|row| row.fixed == fixed)
        .cloned();
    let row = row.ok_or_else(gone)?;
    for (name, own) in [("tel_a", &row.a), ("tel_x", &row.x), ("tel_b", &row.b)] {
        if fields
            .number(name, Notation::National)?
            .is_some_and(|number| number != *own)
        {
            return Err(Refused::new("404", "numbers are not those of the binding"));
        }
    }
    desk.end(&id);
    Ok(ENVELOPE.ok(Value::Null, Entry::of(ask.op, &id, &row, true)))
}
