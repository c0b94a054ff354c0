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
    Answer, Ask, Call, Clashes, Codes, Desk, Dialect, Entry, Fields, Notation, Refused, Row, Scope,
    hex_id, plain, refusal, served, wanted,
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
    refuse,
};

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
const LASTS_MAX_S: u64 = 31_536_000;

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
    let refused = |text: &'static str| Refused::new("11", text);
    let fields = Fields::json(call, CODES)?;
    if plain_of(&fields, "appkey") != desk.credentials.app_key {
        return Err(refused("appkey is unknown"));
    }
    let pool = &desk.credentials.pool;
    if !pool.is_empty() && parts(call).is_some_and(|(_, customer)| customer != pool) {
        return Err(refused("the customer is unknown"));
    }
    let at_ms = plain_of(&fields, "ts").parse();
    if !at_ms.is_ok_and(|at_ms| desk.in_time(at_ms, now_ms)) {
        return Err(refused("ts is too far from our clock"));
    }
    let mut items: Vec<String> = Vec::new();
    for (name, value) in fields.map() {
        let mut text = plain(value);
        text.retain(|c| !matches!(c, '\r' | '\n' | ' '));
        if !text.is_empty() && !["appkey", "sign", "vcc_id"].contains(&name.as_str()) {
            items.push(format!("{name}={text}"));
        }
    }
    items.sort();
    items.push(format!("secret_key={}", desk.credentials.app_secret));
    if digest(Hash::Md5, items.join("&")).to_uppercase() != plain_of(&fields, "sign") {
        return Err(refused("signature does not match"));
    }
    Ok(())
}

fn plain_of(fields: &Fields, name: &str) -> String {
    fields.map().get(name).map_or_else(String::new, plain)
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

fn ok(data: &Value, entry: Entry) -> Answer {
    let body = json!({"code": 0, "message": "success", "data": data});
    served("0", &body, entry)
}

fn lifetime(fields: &Fields) -> Result<u64, Refused> {
    let lasts_s = fields.count("expiration", 1..=u64::MAX)?;
    let lasts_s = lasts_s.ok_or_else(|| fields.missing("expiration"))?;
    if lasts_s > LASTS_MAX_S {
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
        return Ok(ok(
            &json!({"tel_x": x, "bind_id": id, "is_repeat": true}),
            entry,
        ));
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
    let bound = desk.bind(row, ask.other_x);
    let (id, row) = bound.map_err(|clash| CLASHES.refusal(&clash))?;
    let data = json!({"tel_x": Notation::National.write(&row.x), "bind_id": id});
    Ok(ok(&data, Entry::of(ask.op, &id, &row, true)))
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
    Ok(ok(&Value::Null, Entry::of(ask.op, &id, &row, true)))
}

/// The new lifetime counts from now.
fn extend(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appkey ts sign vcc_id bind_id expiration request_id")?;
    let (id, mut row) = named(desk, fields)?;
    row.expires_ms = Some(ask.now_ms + lifetime(fields)? * 1000);
    let changed = desk.change(&id, row.clone());
    changed.map_err(|clash| CLASHES.refusal(&clash))?;
    Ok(ok(&Value::Null, Entry::of(ask.op, &id, &row, true)))
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
    let changed = desk.change(&id, row.clone());
    changed.map_err(|clash| CLASHES.refusal(&clash))?;
    Ok(ok(&Value::Null, Entry::of(ask.op, &id, &row, true)))
}

fn refuse(_: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    refusal(200, ["code", "message"], true, refused)
}
