//! Alibaba Cloud's number protection (Dyplsapi 2017-05-25): AXB, AXN with a callee that can be
//! named, 700 numbers and the fixed-line family, under all three signatures.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | tolerated clock difference | 15 minutes |
//! | throttled | `Throttling.User`, HTTP 400, `x-acs-retry-after: 1000` (milliseconds) |
//! | bad AccessKeyId, nonce used, time expired | `InvalidAccessKeyId.NotFound` 404, `SignatureNonceUsed` 400, `InvalidTimeStamp.Expired` 400 |
//! | several bindings on the X of `QuerySubsId` | their ids joined by commas, oldest first |
//! | fixed-line codes other than `0` | `1` for all, with the text of the classic code |
//! | X full | `isv.NO_AVAILABLE_NUMBER` |
//!
//! Parameters may come in the query or in a form; unknown ones are ignored, as the vendor does.

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, base64, digest, mac};
use super::super::common::desk::ended_word;
use super::super::common::pairs::{canonical, encoded, pairs, value};
use super::super::common::times::{self, BEIJING_S};
use super::super::common::{
    Answer, Ask, Call, Clash, Codes, Conflict, Desk, Dialect, Entry, Fields, Notation, Refused,
    Row, Scope, digits_id, served,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "aliyun",
    scope: Scope::User,
    skew_s: 900,
    id: digits_id,
    throttled: (
        "Throttling.User",
        "request was denied due to user flow control",
    ),
    internal: ("isp.SYSTEM_ERROR", "system error"),
    unknown: ("InvalidAction.NotFound", "specified api is not found"),
    names: [
        "PhoneNoA TelA",
        "PhoneNoX SecretNo TelX",
        "PhoneNoB TelB",
        "SubsId SubId",
    ],
    op,
    authenticate,
    serve,
    refuse,
};

const VERSION: &str = "2017-05-25";
const CODES: Codes = Codes {
    bad: "isv.ILLEGAL_ARGUMENT",
    missing: "isv.INVALID_PARAMETERS",
    number: "isv.MOBILE_NUMBER_ILLEGAL",
};

/// The action, wherever it stands.
fn action(call: &Call) -> String {
    let named = call.header("x-acs-action").map(str::to_owned);
    let given = || Some(value(&parameters(call)?, "Action")?.to_owned());
    named.or_else(given).unwrap_or_default()
}

/// Query and form; `None` when one is badly encoded.
fn parameters(call: &Call) -> Option<Vec<(String, String)>> {
    let mut all = pairs(call.query)?;
    let form = call.header("content-type").unwrap_or("");
    if form.starts_with("application/x-www-form-urlencoded") {
        all.extend(pairs(std::str::from_utf8(call.body).ok()?)?);
    }
    Some(all)
}

fn op(call: &Call) -> &'static str {
    if !call.path.trim_matches('/').is_empty() || !matches!(call.method, "POST" | "GET") {
        return "other";
    }
    match action(call).as_str() {
        "BindAxb" | "BindAxb700" | "BindAxbFixedLine" => "bind",
        "BindAxn" => "ax_bind",
        "UnbindSubscription" | "UnbindSubs700" | "DeleteAxbBindFixedLine" => "unbind",
        "UpdateSubscription" => {
            let parameters = parameters(call).unwrap_or_default();
            match value(&parameters, "OperateType") {
                Some("updateNoB") => "set_callee",
                _ => "modify",
            }
        }
        "QuerySubscriptionDetail" | "QuerySubsId" | "QuerySecretNoDetail" => "query",
        _ => "other",
    }
}

/// The vendor's client looks behind the colon for what the server has signed.
fn bad_signature(signed: &str) -> Refused {
    let text = format!(
        "specified signature is not matched with our calculation. server string to sign is:{signed}"
    );
    Refused::new("SignatureDoesNotMatch", text)
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let all = parameters(call)
        .ok_or_else(|| Refused::new("InvalidParameter", "a parameter is badly encoded"))?;
    let mut names: Vec<_> = all.iter().map(|(name, _)| name).collect();
    names.sort();
    if names.windows(2).any(|two| two[0] == two[1]) {
        return Err(Refused::new(
            "InvalidParameter",
            "a parameter is there twice",
        ));
    }
    let authorization = call.header("authorization").unwrap_or("");
    let (key, at, nonce) = if let Some(rest) = authorization.strip_prefix("ACS3-HMAC-SHA256 ") {
        header_signature(desk, call, "ACS3-HMAC-SHA256", Hash::Sha256, rest)?
    } else if let Some(rest) = authorization.strip_prefix("ACS3-HMAC-SM3 ") {
        header_signature(desk, call, "ACS3-HMAC-SM3", Hash::Sm3, rest)?
    } else {
        query_signature(desk, call, &all)?
    };
    if key != desk.credentials.app_key {
        let text = "specified access key is not found";
        return Err(Refused::new("InvalidAccessKeyId.NotFound", text));
    }
    let at_s = times::read(&at, times::ISO);
    if !at_s.is_some_and(|at_s| desk.in_time(at_s * 1000, now_ms)) {
        let text = "specified time stamp or date value is expired";
        return Err(Refused::new("InvalidTimeStamp.Expired", text));
    }
    if nonce.is_empty() || nonce.len() > 128 || !desk.first_use(&nonce, now_ms) {
        let text = "specified signature nonce was used already";
        return Err(Refused::new("SignatureNonceUsed", text));
    }
    Ok(())
}

/// Key, time and nonce of a request that the RPC 1.0 signature is right of.
fn query_signature(
    desk: &Desk,
    call: &Call,
    all: &[(String, String)],
) -> Result<(String, String, String), Refused> {
    let need = |name: &'static str| {
        let text = format!("{name} is mandatory for this action");
        let missing = || Refused::new("MissingParameter", text);
        value(all, name).map(str::to_owned).ok_or_else(missing)
    };
    let signature = need("Signature")?;
    for (name, wanted) in [
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureVersion", "1.0"),
        ("Version", VERSION),
    ] {
        if need(name)? != wanted {
            return Err(Refused::new(
                "InvalidParameter",
                format!("{name} is not {wanted}"),
            ));
        }
    }
    let mut signed = all.to_vec();
    signed.retain(|(name, _)| name != "Signature");
    let text = format!(
        "{}&{}&{}",
        call.method,
        encoded("/"),
        encoded(&canonical(&signed))
    );
    let key = format!("{}&", desk.credentials.app_secret);
    if base64(mac(Hash::Sha1, key, &text)) != signature {
        return Err(bad_signature(&text));
    }
    Ok((
        need("AccessKeyId")?,
        need("Timestamp")?,
        need("SignatureNonce")?,
    ))
}

/// Key, time and nonce of a request that an ACS3 signature is right of. What is signed is what the
/// client says it has signed, but host and every `x-acs-` header must be among it.
fn header_signature(
    desk: &Desk,
    call: &Call,
    name: &'static str,
    hash: Hash,
    rest: &str,
) -> Result<(String, String, String), Refused> {
    let part = |name: &str| {
        let mut parts = rest
            .split(',')
            .filter_map(|part| part.trim().split_once('='));
        parts.find(|(known, _)| *known == name).map(|(_, v)| v)
    };
    let (Some(key), Some(list), Some(signature)) =
        (part("Credential"), part("SignedHeaders"), part("Signature"))
    else {
        return Err(Refused::new(
            "IncompleteSignature",
            "Authorization is not complete",
        ));
    };
    let signed: Vec<&str> = list.split(';').collect();
    let unsigned = call
        .headers
        .iter()
        .map(|(name, _)| *name)
        .chain(["host"])
        .find(|name| (*name == "host" || name.starts_with("x-acs-")) && !signed.contains(name));
    if unsigned.is_some() || !signed.is_sorted() {
        return Err(Refused::new(
            "IncompleteSignature",
            "a header is not signed",
        ));
    }
    let header = |name: &str| {
        call.header(name)
            .map(str::trim)
            .ok_or_else(|| bad_signature("a signed header is not there"))
    };
    let mut lines = String::new();
    for name in &signed {
        lines += &format!("{name}:{}\n", header(name)?);
    }
    let body = digest(hash, call.body);
    if header("x-acs-content-sha256")? != body {
        return Err(bad_signature("x-acs-content-sha256 is not the body's"));
    }
    if header("x-acs-version")? != VERSION {
        return Err(Refused::new("InvalidParameter", "x-acs-version is unknown"));
    }
    let query = canonical(&pairs(call.query).unwrap_or_default());
    let request = format!("{}\n/\n{query}\n{lines}\n{list}\n{body}", call.method);
    let text = format!("{name}\n{}", digest(hash, request));
    if hex::encode(mac(hash, &desk.credentials.app_secret, &text)) != signature {
        return Err(bad_signature(&text));
    }
    Ok((
        key.to_owned(),
        header("x-acs-date")?.to_owned(),
        header("x-acs-signature-nonce")?.to_owned(),
    ))
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let map = parameters(ask.call).unwrap_or_default().into_iter();
    let map = map.map(|(name, value)| (name, Value::String(value)));
    let fields = Fields::of(map.collect(), CODES);
    match action(ask.call).as_str() {
        "BindAxb" | "BindAxn" => bind(desk, ask, &fields),
        "UnbindSubscription" => unbind(desk, &fields),
        "UpdateSubscription" => update(desk, ask, &fields),
        "QuerySubscriptionDetail" => detail(desk, ask, &fields),
        "QuerySubsId" => ids(desk, &fields),
        "QuerySecretNoDetail" => secret_no(desk, &fields),
        "BindAxb700" => bind_700(desk, ask, &fields),
        "UnbindSubs700" => unbind_700(desk, &fields),
        "BindAxbFixedLine" => bind_fixed_line(desk, ask, &fields),
        _ => unbind_fixed_line(desk, &fields),
    }
}

/// `Code` is `OK`, beside the fields of the answer.
fn ok(desk: &mut Desk, mut body: Value, entry: Entry) -> Answer {
    body["Code"] = "OK".into();
    body["Message"] = "OK".into();
    body["RequestId"] = desk.request_id().to_uppercase().into();
    served("OK", &body, entry)
}

fn pool(desk: &Desk, fields: &Fields) -> Result<(), Refused> {
    // Old accounts name a product instead.
    if fields.text("ProductType", 64)?.is_some() && fields.text("PoolKey", 64)?.is_none() {
        return Ok(());
    }
    fields.is("PoolKey", &desk.credentials.pool, "isv.POOLKEY_NOT_EXISTS")
}

/// Unix milliseconds of an end that is more than a minute ahead, in the local time of China.
fn expiration(fields: &Fields, now_ms: u64) -> Result<u64, Refused> {
    let text = fields.need("Expiration", 32)?;
    let local_s = times::read(&text, times::PLAIN);
    let at_ms = local_s
        .and_then(|at| at.checked_sub(BEIJING_S))
        .map(|at| at * 1000);
    at_ms
        .filter(|at_ms| *at_ms > now_ms + 60_000)
        .ok_or_else(|| {
            let text = "Expiration is no local time more than 60 s ahead";
            Refused::new("isv.EXPIRE_DATE_ILLEGAL", text)
        })
}

fn clash(clash: Clash) -> Refused {
    let (code, text) = match clash {
        Clash::Table(Conflict::Same(_) | Conflict::A | Conflict::B) => (
            "isv.BIND_CONFLICT",
            "number A or B is bound with this number X already",
        ),
        Clash::Table(Conflict::X) => (
            "isv.NO_USED_BY_OTHERS",
            "number X is used by another business",
        ),
        Clash::Table(Conflict::Full) | Clash::NoneFree => {
            ("isv.NO_AVAILABLE_NUMBER", "no number X is free")
        }
        Clash::NotOurs => ("isv.NO_NOT_EXIST", "number X does not exist"),
        Clash::Alike => ("isv.ILLEGAL_ARGUMENT", "numbers must differ"),
    };
    Refused::new(code, text)
}

fn gone() -> Refused {
    Refused::new("isv.SUBS_NOT_EXIST", "binding does not exist")
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    pool(desk, fields)?;
    let fixed = ask.op == "ax_bind";
    let a = fields.need_number("PhoneNoA", Notation::National)?;
    let b = fields.number("PhoneNoB", Notation::National)?;
    if b.is_none() && !fixed {
        return Err(fields.missing("PhoneNoB"));
    }
    let restrict = fields.choice("CallRestrict", "CONTROL_AX_DISABLE CONTROL_BX_DISABLE")?;
    fields.choice("CallDisplayType", "0 1")?;
    fields.digits("CallTimeout", 5..=20)?;
    recording(fields, "IsRecordingEnabled")?;
    let row = Row {
        a,
        x: fields
            .number("PhoneNoX", Notation::National)?
            .unwrap_or_default(),
        b: b.unwrap_or_default(),
        fixed,
        direction: match restrict.as_deref() {
            Some("CONTROL_AX_DISABLE") => 2,
            Some(_) => 1,
            None => 0,
        },
        user_data: fields.text("OutId", 256)?.unwrap_or_default(),
        since_ms: ask.now_ms,
        expires_ms: Some(expiration(fields, ask.now_ms)?),
        ..Row::default()
    };
    let (id, row) = desk.bind(row, ask.other_x).map_err(clash)?;
    let dto = json!({
        "SubsId": id,
        "SecretNo": Notation::National.write(&row.x),
        "Extension": "",
    });
    let entry = Entry::of(ask.op, &id, &row, true);
    Ok(ok(desk, json!({"SecretBindDTO": dto}), entry))
}

/// Booleans are taken in any case of their letters.
fn recording(fields: &Fields, name: &str) -> Result<(), Refused> {
    match fields.text(name, 8)?.map(|text| text.to_lowercase()) {
        None => Ok(()),
        Some(word) if word == "true" || word == "false" => Ok(()),
        Some(_) => Err(fields.bad(name, "is neither true nor false")),
    }
}

/// The binding of an id on an X.
fn named(desk: &Desk, fields: &Fields, id: &str, x: &str) -> Result<(String, Row), Refused> {
    let id = fields.need(id, 64)?;
    let x = fields.need_number(x, Notation::National)?;
    let row = desk.table.get(&id).filter(|row| row.x == x);
    row.map(|row| (id, row.clone())).ok_or_else(gone)
}

fn unbind(desk: &mut Desk, fields: &Fields) -> Result<Answer, Refused> {
    pool(desk, fields)?;
    let (id, row) = named(desk, fields, "SubsId", "SecretNo")?;
    desk.end(&id);
    let entry = Entry::of(ended_word(&row), &id, &row, true);
    Ok(ok(desk, json!({"ChargeId": ""}), entry))
}

fn update(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    pool(desk, fields)?;
    let (id, mut row) = named(desk, fields, "SubsId", "PhoneNoX")?;
    match fields.need("OperateType", 64)?.as_str() {
        "updateNoA" => row.a = fields.need_number("PhoneNoA", Notation::National)?,
        "updateNoB" => row.b = fields.need_number("PhoneNoB", Notation::National)?,
        "updateExpire" => row.expires_ms = Some(expiration(fields, ask.now_ms)?),
        "updateOutId" => row.user_data = fields.need("OutId", 256)?,
        "updateCallRestrict" | "updateCallDisplayType" | "updateIsRecordingEnabled" => {}
        _ => return Err(fields.bad("OperateType", "is unknown")),
    }
    desk.change(&id, row.clone())
        .map_err(|why| match clash(why) {
            refused if refused.code == "isv.BIND_CONFLICT" => {
                Refused::new("isv.UPDATE_CONFLICT", refused.text)
            }
            refused => refused,
        })?;
    let op = if row.fixed { ask.op } else { "modify" };
    let entry = Entry::of(op, &id, &row, true);
    Ok(ok(desk, json!({}), entry))
}

fn detail(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    pool(desk, fields)?;
    let id = fields.need("SubsId", 64)?;
    let x = fields.need_number("PhoneNoX", Notation::National)?;
    let live = desk.table.get(&id).map(|row| (row.clone(), 1));
    let ended = || desk.once(|known, _| known == id).map(|(_, row)| (row, 0));
    let found = live.or_else(ended).filter(|(row, _)| row.x == x);
    let (row, status) = found.ok_or_else(gone)?;
    let local = |ms: u64| times::write(ms / 1000 + BEIJING_S, times::PLAIN);
    let dto = json!({
        "SubsId": id,
        "PhoneNoA": Notation::National.write(&row.a),
        "PhoneNoB": Notation::National.write(&row.b),
        "PhoneNoX": Notation::National.write(&row.x),
        "Status": status,
        "ExpireDate": row.expires_ms.map(local),
        "GmtCreate": local(row.since_ms),
        "NeedRecord": false,
    });
    let entry = Entry::of(ask.op, &id, &row, false);
    Ok(ok(desk, json!({"SecretBindDetailDTO": dto}), entry))
}

fn ids(desk: &mut Desk, fields: &Fields) -> Result<Answer, Refused> {
    pool(desk, fields)?;
    let x = fields.need_number("PhoneNoX", Notation::National)?;
    let (id, row) = desk.on_x(&x, |_| true).ok_or_else(gone)?;
    let on_x = desk.table.on_x(&x);
    let all: Vec<&str> = on_x.into_iter().map(|(id, _)| id).collect();
    let body = json!({"SubsId": all.join(",")});
    let entry = Entry::of("query", &id, &row, false);
    Ok(ok(desk, body, entry))
}

fn secret_no(desk: &mut Desk, fields: &Fields) -> Result<Answer, Refused> {
    let x = fields.need_number("SecretNo", Notation::National)?;
    if !desk.credentials.owns(&x) {
        return Err(clash(Clash::NotOurs));
    }
    let found = desk.on_x(&x, |_| true);
    let info = json!({"SecretStatus": i32::from(found.is_some()), "Vendor": 1});
    let mut entry = Entry {
        op: "query",
        x: Notation::National.write(&x),
        ..Entry::default()
    };
    if let Some((id, row)) = found {
        entry = Entry::of("query", &id, &row, false);
    }
    Ok(ok(desk, json!({"SecretNoInfoDTO": info}), entry))
}

/// The 700 family says success with a boolean.
fn ok_700(desk: &mut Desk, data: Value, entry: Entry) -> Answer {
    let body = json!({
        "Success": true,
        "Code": "OK",
        "Message": "OK",
        "RequestId": desk.request_id().to_uppercase(),
        "Data": data,
    });
    served("OK", &body, entry)
}

fn bind_700(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    pool(desk, fields)?;
    let row = Row {
        a: fields.need_number("TelA", Notation::National)?,
        x: fields
            .number("TelX", Notation::National)?
            .unwrap_or_default(),
        b: fields.need_number("TelB", Notation::National)?,
        since_ms: ask.now_ms,
        expires_ms: Some(expiration(fields, ask.now_ms)?),
        ..Row::default()
    };
    recording(fields, "NeedRecord")?;
    let (id, row) = desk.bind(row, ask.other_x).map_err(clash)?;
    let data = json!({
        "SubsId": id.parse::<u64>().unwrap_or(0),
        "SecretNo": Notation::National.write(&row.x),
    });
    let entry = Entry::of("bind", &id, &row, true);
    Ok(ok_700(desk, data, entry))
}

fn unbind_700(desk: &mut Desk, fields: &Fields) -> Result<Answer, Refused> {
    pool(desk, fields)?;
    let (id, row) = named(desk, fields, "SubsId", "TelX")?;
    desk.end(&id);
    let entry = Entry::of("unbind", &id, &row, true);
    Ok(ok_700(desk, json!(true), entry))
}

/// The fixed-line family has `0` for success and names bindings by its own field names.
fn ok_fixed_line(desk: &mut Desk, data: Value, entry: Entry) -> Answer {
    let body = json!({
        "Success": true,
        "Code": "0",
        "Message": "success",
        "RequestId": desk.request_id().to_uppercase(),
        "Data": data,
    });
    served("0", &body, entry)
}

fn bind_fixed_line(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.need("AppId", 64)?;
    fields.need("OrderId", 64)?;
    let mode = fields.choice("BindType", "mode101 mode102")?;
    let own_x = mode.ok_or_else(|| fields.missing("BindType"))? == "mode101";
    let x = fields.number("TelX", Notation::National)?;
    if own_x && x.is_none() {
        return Err(fields.missing("TelX"));
    }
    let lasts_s = fields.digits("Expiration", 0..=31_536_000)?.unwrap_or(0);
    let row = Row {
        a: fields.need_number("TelA", Notation::National)?,
        x: x.filter(|_| own_x).unwrap_or_default(),
        b: fields.need_number("TelB", Notation::National)?,
        since_ms: ask.now_ms,
        expires_ms: ask.until(lasts_s),
        ..Row::default()
    };
    let (id, row) = desk.bind(row, ask.other_x).map_err(clash)?;
    let data = json!({"SubId": id, "TelX": Notation::National.write(&row.x)});
    let entry = Entry::of("bind", &id, &row, true);
    Ok(ok_fixed_line(desk, data, entry))
}

fn unbind_fixed_line(desk: &mut Desk, fields: &Fields) -> Result<Answer, Refused> {
    fields.need("AppId", 64)?;
    fields.need("OrderId", 64)?;
    let id = fields.need("SubId", 64)?;
    let row = desk.end(&id).ok_or_else(gone)?;
    let entry = Entry::of("unbind", &id, &row, true);
    Ok(ok_fixed_line(desk, json!({"SubId": id}), entry))
}

fn refuse(desk: &mut Desk, call: &Call, refused: &Refused) -> Answer {
    let business = refused.code.starts_with("isv.") || refused.code.starts_with("isp.");
    let status = match &*refused.code {
        _ if business => 200,
        code if code.ends_with(".NotFound") => 404,
        "InternalError" => 500,
        "ServiceUnavailable" => 503,
        _ => 400,
    };
    // The classic families say success by the code alone.
    let family = action(call);
    let code = if business && family.contains("FixedLine") {
        "1"
    } else {
        &refused.code
    };
    let mut body = json!({
        "RequestId": desk.request_id().to_uppercase(),
        "Code": code,
        "Message": refused.text,
    });
    if business && (family.contains("700") || family.contains("FixedLine")) {
        body["Success"] = false.into();
    }
    let throttled = refused.code.starts_with("Throttling");
    Answer {
        status,
        headers: throttled
            .then(|| ("x-acs-retry-after", "1000".to_owned()))
            .into_iter()
            .collect(),
        body: body.to_string(),
        ..Answer::default()
    }
}
