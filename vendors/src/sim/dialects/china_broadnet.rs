//! China Broadnet's AXB: the signature stands inside the body, and the platform may give another X
//! than the one asked for.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | paths, which are each deployment's | `POST /axb/binding`, `DELETE` and `PUT /axb/binding/{bindId}` |
//! | variant of the signature | HMAC-SHA256 |
//! | clock, replay | not part of a request |
//! | throttled, failed | 503 |
//! | `X-APP-ID` | the key; `X-APP-bizId` must be there |
//! | another X by a fault | the bind answers 621 |
//! | a `requestId` whose binding lives | 13001, as a repeated triple |
//! | no X is free | 622 |
//!
//! Codes are integers under HTTP 200.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::common::crypt::{Hash, mac};
use super::super::common::{
    Answer, Ask, Call, Clashes, Codes, Desk, Dialect, Entry, Envelope, Fields, Notation, Refused,
    Scope, YEAR_S, hex_id, plain, served, wanted,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "china-broadnet",
    scope: Scope::User,
    skew_s: 0,
    id: hex_id,
    throttled: ("503", "service is busy"),
    internal: ("503", "service is not available"),
    unknown: ("405", "method is not allowed"),
    names: ["telA", "xNumber telX", "telB", "bindId"],
    op,
    authenticate,
    serve,
    refuse,
};

const CODES: Codes = Codes::all("400");
const CLASHES: Clashes = Clashes {
    same: "13001",
    busy: "603",
    none_free: "622",
    unknown_x: "601",
    alike: "400",
};

fn id<'a>(call: &Call<'a>) -> Option<&'a str> {
    let id = call.path.strip_prefix("/axb/binding/")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

fn op(call: &Call) -> &'static str {
    match (call.method, id(call)) {
        ("POST", None) if call.path == "/axb/binding" => "bind",
        ("DELETE", Some(_)) => "unbind",
        ("PUT", Some(_)) => "modify",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, _: u64) -> Result<(), Refused> {
    let refused = |text: &'static str| Refused::new("401", text);
    if call.header("x-app-id") != Some(desk.credentials.app_key.as_str()) {
        return Err(refused("X-APP-ID is unknown"));
    }
    if call.header("x-app-bizid").is_none_or(str::is_empty) {
        return Err(refused("X-APP-bizId is missing"));
    }
    if call.method == "DELETE" {
        return Ok(());
    }
    // What stands inside is signed as it was written, so it must not be read and written again.
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(call.body)
        .map_err(|_| Refused::new(CODES.bad, "body is no JSON object"))?;
    let mut text = String::new();
    let mut sign = String::new();
    for (name, value) in fields {
        let value = match serde_json::from_str(value.get()) {
            Ok(Value::String(text)) => text,
            _ => value.get().to_owned(),
        };
        if name == "sign" {
            sign = value;
        } else {
            text += &name;
            text += &value;
        }
    }
    let wanted = mac(Hash::Sha256, &desk.credentials.app_secret, text);
    if hex::encode_upper(wanted) != sign {
        return Err(refused("sign does not match"));
    }
    Ok(())
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    match (ask.op, id(ask.call)) {
        ("unbind", Some(id)) => unbind(desk, ask, id),
        ("modify", Some(id)) => modify(desk, ask, id),
        _ => bind(desk, ask),
    }
}

fn ok(code: u16, data: &Value, entry: Entry) -> Answer {
    let body = json!({"code": code, "state": "success", "message": "success", "data": data});
    served(&code.to_string(), &body, entry)
}

fn bind(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.only("requestId telA telB xNumber areaCode expiration extra sign")?;
    let request_id = fields.need("requestId", 64)?;
    fields.whole("areaCode", 1..=9_999)?;
    let lasts_s = fields.whole("expiration", 1..=YEAR_S)?;
    let lasts_s = lasts_s.ok_or_else(|| fields.missing("expiration"))?;
    if let Some(record) = fields
        .map()
        .get("extra")
        .and_then(|extra| extra.get("record"))
        && !["0", "1"].contains(&plain(record).as_str())
    {
        return Err(fields.bad("extra", "has a record that is neither 0 nor 1"));
    }
    if desk.table.own(&request_id).is_some() {
        return Err(Refused::new(
            CLASHES.same,
            "requestId has a binding already",
        ));
    }
    let mut row = wanted(
        &fields,
        ["telA", "xNumber", "telB"],
        Notation::Country,
        lasts_s,
        ask,
    )?;
    row.own_ids.push(request_id);
    let asked = row.x.clone();
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let other = !asked.is_empty() && asked != row.x;
    let data = json!({
        "bindId": id,
        "telX": Notation::Country.write(&row.x),
        "flag": i32::from(other),
    });
    let entry = Entry::of(ask.op, &id, &row, true);
    Ok(ok(if other { 621 } else { 200 }, &data, entry))
}

fn gone() -> Refused {
    Refused::new("404", "binding does not exist")
}

fn unbind(desk: &mut Desk, ask: &Ask, id: &str) -> Result<Answer, Refused> {
    let row = desk.end(id).ok_or_else(gone)?;
    Ok(ok(200, &Value::Null, Entry::of(ask.op, id, &row, true)))
}

fn modify(desk: &mut Desk, ask: &Ask, id: &str) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.only("requestId telA telB expiration sign")?;
    let mut row = desk.table.get(id).cloned().ok_or_else(gone)?;
    if let Some(a) = fields.number("telA", Notation::Country)? {
        row.a = a;
    }
    if let Some(b) = fields.number("telB", Notation::Country)? {
        row.b = b;
    }
    if let Some(lasts_s) = fields.whole("expiration", 1..=YEAR_S)? {
        row.expires_ms = Some(ask.now_ms + lasts_s * 1000);
    }
    let changed = desk.change(id, row.clone());
    changed.map_err(|_| Refused::new("611", "the binding cannot be modified"))?;
    Ok(ok(200, &Value::Null, Entry::of(ask.op, id, &row, true)))
}

fn refuse(_: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    let mut answer = Envelope::PLAIN.refuse(refused);
    if let Ok(mut body) = serde_json::from_str::<Value>(&answer.body) {
        body["state"] = "fail".into();
        answer.body = body.to_string();
    }
    answer
}
