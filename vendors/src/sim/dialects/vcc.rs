//! The "vcc" private-number platform: AXB, with an answer per request id.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | tolerated clock difference | 5 minutes |
//! | longest lifetime | 31,536,000 s, beyond it 104 |
//! | a request id whose binding has been ended | binds again |
//! | an answer repeated | `is_repeat` true inside `data` |
//! | other modes than axb | not ordered: 11 |
//!
//! Codes are integers under HTTP 200. A different request id for the same A and B gets another X:
//! that follows from A and B appearing once per X.

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, digest};
use super::super::common::{
    Answer, Ask, Call, Claim, Clashes, Codes, Desk, Dialect, Entry, Envelope, Fields, Gate,
    Notation, Refused, Row, Scope, YEAR_S, hex_id, plain, wanted,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "vcc",
    scope: Scope::User,
    skew_s: 300,
    id: hex_id,
    throttled: ("12", "service is busy"),
    internal: ("12", "system error"),
    unknown: ("11", "mode is not ordered"),
    names: ["tel_a", "tel_x", "tel_b", "bind_id"],
    op,
    authenticate,
    serve,
    refuse: |_, _, refused| ENVELOPE.refuse(refused),
};

const ENVELOPE: Envelope = Envelope::PLAIN;
const GATE: Gate = Gate::of("11", ["appkey", "ts", "sign"]);
const CODES: Codes = Codes {
    bad: "-1",
    missing: "-1",
    number: "102",
};
const CLASHES: Clashes = Clashes {
    same: "105",
    busy: "106",
    none_free: "101",
    unknown_x: "108",
    alike: "109",
};

/// Action and customer of an AXB path.
fn parts<'a>(call: &Call<'a>) -> Option<(&'a str, &'a str)> {
    call.path.strip_prefix("/api/v1/bind/axb/")?.split_once('/')
}

fn op(call: &Call) -> &'static str {
    match (call.method, parts(call)) {
        ("POST", Some(("binding", _))) => "bind",
        ("POST", Some(("unbind", _))) => "unbind",
        ("POST", Some(("updateExpiration" | "updateTelBinded", _))) => "modify",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let fields = Fields::json(call, CODES)?;
    let pool = &desk.credentials.pool;
    if !pool.is_empty() && parts(call).is_some_and(|(_, customer)| customer != pool) {
        return Err(GATE.refuse("the customer is unknown"));
    }
    let claim = Claim {
        key: &fields.plain("appkey"),
        at_ms: fields.plain("ts").parse().ok(),
        sign: &fields.plain("sign"),
    };
    GATE.pass(desk, now_ms, claim, |secret| {
        let mut items: Vec<String> = Vec::new();
        for (name, value) in fields.map() {
            let mut text = plain(value);
            text.retain(|c| !matches!(c, '\r' | '\n' | ' '));
            if !text.is_empty() && !["appkey", "sign", "vcc_id"].contains(&name.as_str()) {
                items.push(format!("{name}={text}"));
            }
        }
        items.sort();
        items.push(format!("secret_key={secret}"));
        digest(Hash::Md5, items.join("&")).to_uppercase()
    })
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    match (ask.op, parts(ask.call)) {
        ("bind", _) => bind(desk, ask, &fields),
        ("unbind", _) => unbind(desk, ask, &fields),
        (_, Some(("updateExpiration", _))) => extend(desk, ask, &fields),
        _ => replace(desk, ask, &fields),
    }
}

fn lifetime(fields: &Fields) -> Result<u64, Refused> {
    let lasts_s = fields.count("expiration", 1..=u64::MAX)?;
    let lasts_s = lasts_s.ok_or_else(|| fields.missing("expiration"))?;
    if lasts_s > YEAR_S {
        return Err(Refused::new("104", "expiration is too long"));
    }
    Ok(lasts_s)
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only(
        "appkey ts sign vcc_id tel_a tel_b tel_x area_code area_match_mode expiration request_id \
         model enable_record record_file_format max_duration user_data audio_a audio_b \
         audio_a_call_x audio_b_call_x audio_other_call_x",
    )?;
    let request_id = fields.need("request_id", 64)?;
    fields.choice("area_match_mode", "1 2")?;
    fields.choice("model", "2 3")?;
    let record = fields.choice("enable_record", "0 1")?;
    let lasts_s = lifetime(fields)?;
    if let Some((id, row)) = desk.table.own(&request_id) {
        let entry = Entry::of(ask.op, id, row, false);
        let x = Notation::National.write(&row.x);
        return Ok(ENVELOPE.ok(json!({"tel_x": x, "bind_id": id, "is_repeat": true}), entry));
    }
    let mut row = wanted(
        fields,
        ["tel_a", "tel_x", "tel_b"],
        Notation::National,
        lasts_s,
        ask,
    )?;
    row.own_ids.push(request_id);
    row.recorded = record.as_deref() == Some("1");
    row.user_data = fields.text("user_data", 2048)?.unwrap_or_default();
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let data = json!({"tel_x": Notation::National.write(&row.x), "bind_id": id});
    Ok(ENVELOPE.ok(data, Entry::of(ask.op, &id, &row, true)))
}

fn named(desk: &Desk, fields: &Fields) -> Result<(String, Row), Refused> {
    let id = fields.need("bind_id", 64)?;
    let row = desk.table.get(&id).cloned();
    let row = row.ok_or_else(|| Refused::new("103", "binding does not exist"))?;
    Ok((id, row))
}

fn unbind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appkey ts sign vcc_id bind_id request_id")?;
    let (id, row) = named(desk, fields)?;
    desk.end(&id);
    Ok(ENVELOPE.ok(Value::Null, Entry::of(ask.op, &id, &row, true)))
}

/// The new lifetime counts from now.
fn extend(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appkey ts sign vcc_id bind_id expiration request_id")?;
    let (id, mut row) = named(desk, fields)?;
    row.expires_ms = Some(ask.now_ms + lifetime(fields)? * 1000);
    CLASHES.change(desk, &id, &row)?;
    Ok(ENVELOPE.ok(Value::Null, Entry::of(ask.op, &id, &row, true)))
}

fn replace(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appkey ts sign vcc_id bind_id tel_binded tel_update request_id")?;
    let (id, mut row) = named(desk, fields)?;
    let old = fields.need_number("tel_binded", Notation::National)?;
    let new = fields.need_number("tel_update", Notation::National)?;
    if row.a == old {
        row.a = new;
    } else if row.b == old {
        row.b = new;
    } else {
        return Err(Refused::new("107", "tel_binded is not bound"));
    }
    CLASHES.change(desk, &id, &row)?;
    Ok(ENVELOPE.ok(Value::Null, Entry::of(ask.op, &id, &row, true)))
}
