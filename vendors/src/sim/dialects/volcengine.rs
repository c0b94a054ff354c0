//! Volcengine's private numbers (vms 2022-01-01): AXB, AX and the step from AX to AXB, under the
//! HMAC-SHA256 signature. Business errors come with HTTP 200.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | tolerated clock difference | 15 minutes |
//! | status of what is not authenticated | 401, `UnauthenticatedRequest` |
//! | bindings that one X carries | 5000, then `ExceedMaxBindCount` |
//! | shape of `QuerySubscription` | the subscription's fields directly in `Result` |
//! | `UpdateType` beside `updateExpireTime` | `updatePhoneNoA`, `updatePhoneNoB`, `updatePhoneNoX` |
//! | `Status` of a live binding | 1; of an ended one 0 |
//! | a query for numbers that are not bound | `SubscriptionEmpty` by id, an empty list by number |

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, derived, digest, mac};
use super::super::common::desk::ended_word;
use super::super::common::gate::listed;
use super::super::common::pairs::{canonical, pairs, value};
use super::super::common::times;
use super::super::common::{
    Answer, Ask, Call, Claim, Clash, Codes, Conflict, Desk, Dialect, Entry, Fields, Gate, Notation,
    Refused, Row, Scope, plain_id, served,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "volcengine",
    scope: Scope::User,
    skew_s: 900,
    id: plain_id,
    throttled: ("OverQpsLimit", "the request exceeds the qps limit"),
    internal: ("SystemError", "system error"),
    unknown: ("UnsupportedOperation", "the action is not supported"),
    names: ["PhoneNoA", "PhoneNoX", "PhoneNoB", "SubId"],
    op,
    authenticate,
    serve,
    refuse,
};

const VERSION: &str = "2022-01-01";
const REGION: &str = "cn-north-1";
const SERVICE: &str = "vms";
const CODES: Codes = Codes::all("IllegalArgument");
/// The vendor takes no end from 2038 on.
const EXPIRY_MAX_S: u64 = 2_145_916_800;

fn action(call: &Call) -> String {
    let query = pairs(call.query).unwrap_or_default();
    value(&query, "Action").unwrap_or("").to_owned()
}

fn op(call: &Call) -> &'static str {
    if !call.path.trim_matches('/').is_empty() || !matches!(call.method, "POST" | "GET") {
        return "other";
    }
    match action(call).as_str() {
        "BindAXB" => {
            let form = std::str::from_utf8(call.body).ok().and_then(pairs);
            let form = form.unwrap_or_default();
            // Without a callee it is X for A.
            match value(&form, "PhoneNoB") {
                Some(b) if !b.is_empty() => "bind",
                _ => "ax_bind",
            }
        }
        "SelectNumberAndBindAXB" => "bind",
        "UnbindAXB" => "unbind",
        "UpgradeAXToAXB" => "set_callee",
        "UpdateAXB" => "modify",
        "QuerySubscription" | "QuerySubscriptionForList" => "query",
        _ => "other",
    }
}

const GATE: Gate = Gate::of(
    "UnauthenticatedRequest",
    ["the access key", "X-Date", "the signature"],
);

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let incomplete = || GATE.refuse("Authorization is not complete");
    let header = |name: &str| {
        let missing = || GATE.refuse("a signed header is not there");
        call.header(name).map(str::trim).ok_or_else(missing)
    };
    let authorization = call.header("authorization").ok_or_else(incomplete)?;
    let rest = authorization.strip_prefix("HMAC-SHA256 ");
    let rest = rest.ok_or_else(incomplete)?;
    let part = |name: &str| listed(rest, name).ok_or_else(incomplete);
    let (credential, list, sign) = (
        part("Credential")?,
        part("SignedHeaders")?,
        part("Signature")?,
    );
    let (key, scope) = credential.split_once('/').ok_or_else(incomplete)?;
    let at = header("x-date")?;
    let day = at.get(..8).ok_or_else(incomplete)?;
    if scope != format!("{day}/{REGION}/{SERVICE}/request") {
        return Err(GATE.refuse("the credential's scope is wrong"));
    }
    let body = digest(Hash::Sha256, call.body);
    if header("x-content-sha256")? != body {
        return Err(GATE.refuse("X-Content-Sha256 is not the body's"));
    }
    let signed: Vec<&str> = list.split(';').collect();
    let least = ["host", "x-content-sha256", "x-date"];
    if !least.iter().all(|name| signed.contains(name)) || !signed.is_sorted() {
        return Err(incomplete());
    }
    let mut lines = String::new();
    for name in &signed {
        let mut line = header(name)?;
        if *name == "host" {
            // The ports of the schemes are not signed.
            let bare = line
                .strip_suffix(":80")
                .or_else(|| line.strip_suffix(":443"));
            line = bare.unwrap_or(line);
        }
        lines += &format!("{name}:{line}\n");
    }
    let query = pairs(call.query).ok_or_else(|| GATE.refuse("query is badly encoded"))?;
    let request = format!(
        "{}\n/\n{}\n{lines}\n{list}\n{body}",
        call.method,
        canonical(&query)
    );
    let request = digest(Hash::Sha256, request);
    let at_ms = times::read(at, times::COMPACT).map(|at_s| at_s * 1000);
    GATE.pass(desk, now_ms, Claim { key, at_ms, sign }, |secret| {
        let key = derived(secret, &[day, REGION, SERVICE, "request"]);
        let text = format!("HMAC-SHA256\n{at}\n{scope}\n{request}");
        hex::encode(mac(Hash::Sha256, key, text))
    })?;
    if value(&query, "Version") != Some(VERSION) {
        return Err(Refused::new(
            "UnsupportedOperation",
            "the version is unknown",
        ));
    }
    Ok(())
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let kind = ask.call.header("content-type").unwrap_or("");
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Refused::new(CODES.bad, "Content-Type is not a form's"));
    }
    let text = std::str::from_utf8(ask.call.body);
    let text = text.map_err(|_| Refused::new(CODES.bad, "body is no text"))?;
    let fields = Fields::form(text, CODES)?;
    fields.is("NumberPoolNo", &desk.credentials.pool, CODES.bad)?;
    match action(ask.call).as_str() {
        "BindAXB" | "SelectNumberAndBindAXB" => bind(desk, ask, &fields),
        "UnbindAXB" => unbind(desk, ask, &fields),
        "UpgradeAXToAXB" => upgrade(desk, ask, &fields),
        "UpdateAXB" => update(desk, ask, &fields),
        "QuerySubscription" => one(desk, ask, &fields),
        _ => list(desk, ask, &fields),
    }
}

fn metadata(desk: &mut Desk, call: &Call) -> Value {
    json!({
        "RequestId": desk.request_id(),
        "Action": action(call),
        "Version": VERSION,
        "Service": SERVICE,
        "Region": REGION,
    })
}

fn ok(desk: &mut Desk, call: &Call, result: &Value, entry: Entry) -> Answer {
    let body = json!({"ResponseMetadata": metadata(desk, call), "Result": result});
    served("", &body, entry)
}

fn subscription(id: &str, row: &Row, status: u8) -> Value {
    json!({
        "SubId": id,
        "PhoneNoA": Notation::National.write(&row.a),
        "PhoneNoB": Notation::National.write(&row.b),
        "PhoneNoX": Notation::National.write(&row.x),
        "Status": status,
        "EnableTime": row.since_ms / 1000,
        "ExpireTime": row.expires_ms.map_or(0, |ms| ms / 1000),
        "UserData": row.user_data,
        "OutId": row.own_ids.first().map_or("", String::as_str),
    })
}

/// Unix milliseconds of an end more than a minute ahead.
fn expiry(fields: &Fields, now_ms: u64) -> Result<u64, Refused> {
    let at_s = fields.digits("ExpireTime", now_ms / 1000 + 61..=EXPIRY_MAX_S - 1)?;
    let at_s = at_s.ok_or_else(|| fields.missing("ExpireTime"))?;
    Ok(at_s * 1000)
}

fn clash(clash: Clash) -> Refused {
    let (code, text) = match clash {
        Clash::Table(Conflict::Same(_) | Conflict::A) => {
            ("ConflictWithExisting", "A has a binding with X already")
        }
        Clash::Table(Conflict::B) => ("PhoneNoXBConflicted", "B has a binding with X already"),
        Clash::Table(Conflict::X) => ("PhoneNoXOccupied", "X is occupied"),
        Clash::Table(Conflict::Full) => ("ExceedMaxBindCount", "X has the most bindings"),
        Clash::NoneFree => ("NumberNotEnough", "the pool has no number that is free"),
        Clash::NotOurs => ("IllegalPhoneNoX", "X is not of the pool"),
        Clash::Alike => ("IllegalArgument", "numbers must differ"),
    };
    Refused::new(code, text)
}

fn gone() -> Refused {
    Refused::new("SubscriptionEmpty", "the subscription does not exist")
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    let select = action(ask.call) == "SelectNumberAndBindAXB";
    fields.only(if select {
        "NumberPoolNo PhoneNoA PhoneNoB ExpireTime AudioRecordFlag CallDisplayType UserData OutId \
         VerifyFlag CityCode CityCodeByPhoneNo DegradeCityList RandomFlag AxConflictAxbFlag \
         IdempotentId"
    } else {
        "NumberPoolNo PhoneNoA PhoneNoX PhoneNoB ExpireTime AudioRecordFlag CallDisplayType \
         UserData OutId VerifyFlag"
    })?;
    fields.choice("AudioRecordFlag", "0 1")?;
    let a = fields.need_number("PhoneNoA", Notation::National)?;
    let b = fields.number("PhoneNoB", Notation::National)?;
    let x = if select {
        String::new()
    } else {
        fields.need_number("PhoneNoX", Notation::National)?
    };
    if select && b.is_none() {
        return Err(fields.missing("PhoneNoB"));
    }
    let idempotent = fields.text("IdempotentId", 128)?;
    if let Some(own) = &idempotent
        && let Some((id, row)) = desk.table.own(own)
        && row.a == a
        && Some(&row.b) == b.as_ref()
    {
        let (id, row) = (id.to_owned(), row.clone());
        let entry = Entry::of(ask.op, &id, &row, false);
        return Ok(ok(desk, ask.call, &subscription(&id, &row, 1), entry));
    }
    let row = Row {
        a,
        x,
        fixed: b.is_none(),
        b: b.unwrap_or_default(),
        own_ids: idempotent.into_iter().collect(),
        user_data: fields.text("UserData", 2048)?.unwrap_or_default(),
        since_ms: ask.now_ms,
        expires_ms: Some(expiry(fields, ask.now_ms)?),
        ..Row::default()
    };
    let (id, row) = desk.bind(row, ask.other_x).map_err(clash)?;
    let entry = Entry::of(ask.op, &id, &row, true);
    Ok(ok(desk, ask.call, &subscription(&id, &row, 1), entry))
}

/// The live binding of `SubId`.
fn named(desk: &Desk, fields: &Fields) -> Result<(String, Row), Refused> {
    let id = fields.need("SubId", 64)?;
    let row = desk.table.get(&id).cloned().ok_or_else(gone)?;
    Ok((id, row))
}

fn unbind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("NumberPoolNo SubId")?;
    let (id, row) = named(desk, fields)?;
    desk.end(&id);
    let entry = Entry::of(ended_word(&row), &id, &row, true);
    Ok(ok(desk, ask.call, &json!(true), entry))
}

/// Names the callee of a plain AX; it stays until another one is named or the binding ends.
fn upgrade(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("NumberPoolNo SubId PhoneNoB UserData")?;
    let (id, mut row) = named(desk, fields)?;
    if !row.fixed {
        return Err(Refused::new("UpgradeError", "the subscription is no AX"));
    }
    row.b = fields.need_number("PhoneNoB", Notation::National)?;
    if let Some(user_data) = fields.text("UserData", 2048)? {
        row.user_data = user_data;
    }
    desk.change(&id, row.clone()).map_err(clash)?;
    let entry = Entry::of(ask.op, &id, &row, true);
    Ok(ok(desk, ask.call, &subscription(&id, &row, 1), entry))
}

fn update(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only(
        "NumberPoolNo SubId UpdateType ExpireTime PhoneNoA PhoneNoB PhoneNoX AutoCreateFlag",
    )?;
    let (id, mut row) = named(desk, fields)?;
    let number = |name| fields.need_number(name, Notation::National);
    match fields.need("UpdateType", 64)?.as_str() {
        "updateExpireTime" => row.expires_ms = Some(expiry(fields, ask.now_ms)?),
        "updatePhoneNoA" => row.a = number("PhoneNoA")?,
        "updatePhoneNoB" => row.b = number("PhoneNoB")?,
        "updatePhoneNoX" => row.x = number("PhoneNoX")?,
        _ => return Err(Refused::new("CanNotUpdate", "UpdateType is unknown")),
    }
    desk.change(&id, row.clone()).map_err(clash)?;
    let entry = Entry::of(ask.op, &id, &row, true);
    Ok(ok(desk, ask.call, &json!(true), entry))
}

fn one(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("NumberPoolNo SubId")?;
    let (id, row) = named(desk, fields)?;
    let entry = Entry::of(ask.op, &id, &row, false);
    Ok(ok(desk, ask.call, &subscription(&id, &row, 1), entry))
}

fn list(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("NumberPoolNo PhoneNoX PhoneNoA PhoneNoB OutId Status Offset Limit")?;
    let number = |name| fields.number(name, Notation::National);
    let (a, x, b) = (
        number("PhoneNoA")?,
        number("PhoneNoX")?,
        number("PhoneNoB")?,
    );
    let offset = fields.digits("Offset", 0..=1_000_000)?.unwrap_or(0);
    let limit = fields.digits("Limit", 1..=100)?.unwrap_or(20);
    let ended = fields.choice("Status", "0 1")?.as_deref() == Some("0");
    let fits = |row: &Row| {
        a.as_ref().is_none_or(|a| row.a == *a)
            && x.as_ref().is_none_or(|x| row.x == *x)
            && b.as_ref().is_none_or(|b| row.b == *b)
    };
    let all: Vec<(&str, &Row)> = if ended {
        let all = desk.ended.iter();
        all.map(|(id, row)| (id.as_str(), row)).collect()
    } else {
        desk.table.all()
    };
    let found: Vec<_> = all.into_iter().filter(|(_, row)| fits(row)).collect();
    let number =
        |wanted: &Option<String>| Notation::National.write(wanted.as_deref().unwrap_or(""));
    let entry = Entry {
        op: ask.op,
        a: number(&a),
        x: number(&x),
        b: number(&b),
        ..Entry::default()
    };
    let page = found
        .iter()
        .skip(usize::try_from(offset).unwrap_or(usize::MAX));
    let page = page.take(usize::try_from(limit).unwrap_or(0));
    let records: Vec<_> = page
        .map(|(id, row)| subscription(id, row, u8::from(!ended)))
        .collect();
    let result = json!({"Records": records, "Total": found.len()});
    Ok(ok(desk, ask.call, &result, entry))
}

fn refuse(desk: &mut Desk, call: &Call, refused: &Refused) -> Answer {
    let status = match &*refused.code {
        "UnauthenticatedRequest" => 401,
        "UnsupportedOperation" => 404,
        _ => 200,
    };
    let mut metadata = metadata(desk, call);
    metadata["Error"] = json!({"Code": refused.code, "Message": refused.text});
    Answer {
        status,
        body: json!({ "ResponseMetadata": metadata }).to_string(),
        ..Answer::default()
    }
}
