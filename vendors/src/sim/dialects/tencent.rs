//! Tencent Cloud's number protection (NPP 2019-08-23): AXB with a reference count, under the TC3
//! signature and the older form signature.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | tolerated clock difference | 5 minutes |
//! | code of success | `"0"` |
//! | assigned X is in use | `ErrorCode` `"106"` |
//! | no number of the platform's choice is free | `ErrorCode` `"107"` (its documented "city without numbers") |
//! | binding does not exist | `ErrorCode` `"103"` |
//! | `BizId` used by another pair | `ErrorCode` `"105"` |
//! | who may share an X | nobody: X carries one binding |
//! | a pair bound again, with another X wanted | another binding |
//! | refused, throttled, failed | `AuthFailure.*`, `RequestLimitExceeded`, `InternalError` |
//!
//! A count that moves is no line that says `applied`: only a binding that comes or goes is. The
//! answer's type is exactly `application/json`: with anything behind it the vendor's own client
//! sees no errors.

use serde_json::{Map, Value, json};

use super::super::common::crypt::{Hash, base64, derived, digest, mac};
use super::super::common::gate::{listed, seconds};
use super::super::common::pairs::{pairs, value};
use super::super::common::times;
use super::super::common::{
    Answer, Ask, Call, Claim, Clash, Codes, Conflict, Desk, Dialect, Entry, Fields, Gate, Notation,
    Refused, Row, Scope, plain_id, served,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "tencent",
    scope: Scope::Exclusive,
    skew_s: 300,
    id: plain_id,
    throttled: (
        "RequestLimitExceeded",
        "request frequency exceeds the limit",
    ),
    internal: ("InternalError", "internal error"),
    unknown: ("InvalidAction", "the action is invalid or not found"),
    names: ["Src", "AssignVirtualNum", "Dst", "BindId"],
    op,
    authenticate,
    serve,
    refuse,
};

const VERSION: &str = "2019-08-23";
const GATE: Gate = Gate {
    codes: [
        "AuthFailure.SecretIdNotFound",
        "AuthFailure.SignatureExpire",
        "AuthFailure.SignatureFailure",
    ],
    names: ["SecretId", "the timestamp", "the signature"],
};
const CODES: Codes = Codes {
    bad: "InvalidParameter",
    missing: "MissingParameter",
    number: "InvalidParameterValue",
};
const IN_USE: &str = "106";
const NONE_FREE: &str = "107";
const GONE: &str = "103";
const BIZ_ID_USED: &str = "105";
const LIFETIME_S: u64 = 24 * 3600;
const LIFETIME_MAX_S: u64 = 168 * 3600;

/// The form of an old-style request: its body, or the query of a GET.
fn form(call: &Call) -> Vec<(String, String)> {
    let text = if call.method == "GET" {
        Some(call.query)
    } else {
        std::str::from_utf8(call.body).ok()
    };
    text.and_then(pairs).unwrap_or_default()
}

fn action(call: &Call) -> String {
    match call.header("x-tc-action") {
        Some(action) => action.to_owned(),
        None => value(&form(call), "Action").unwrap_or("").to_owned(),
    }
}

fn op(call: &Call) -> &'static str {
    if !call.path.trim_matches('/').is_empty() || !matches!(call.method, "POST" | "GET") {
        return "other";
    }
    match action(call).as_str() {
        "GetVirtualNum" => "bind",
        "DelVirtualNum" => "unbind",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let version = match call.header("authorization") {
        Some(authorization) => tc3(desk, call, authorization, now_ms)?,
        None => form_signature(desk, call, now_ms)?,
    };
    if version != VERSION {
        return Err(Refused::new("NoSuchVersion", "the version does not exist"));
    }
    Ok(())
}

/// The version of a request that the TC3 signature is right of.
fn tc3(desk: &Desk, call: &Call, authorization: &str, now_ms: u64) -> Result<String, Refused> {
    let incomplete = || {
        let text = "Authorization is not TC3-HMAC-SHA256 with its three parts";
        Refused::new("AuthFailure.InvalidAuthorization", text)
    };
    let rest = authorization.strip_prefix("TC3-HMAC-SHA256 ");
    let rest = rest.ok_or_else(incomplete)?;
    let part = |name: &str| listed(rest, name).ok_or_else(incomplete);
    let (credential, list, sign) = (
        part("Credential")?,
        part("SignedHeaders")?,
        part("Signature")?,
    );
    let (key, scope) = credential.split_once('/').ok_or_else(incomplete)?;
    let header = |name: &str| {
        call.header(name)
            .map(str::trim)
            .ok_or_else(|| GATE.mismatch())
    };
    let at = header("x-tc-timestamp")?;
    let date = at.parse().ok().map(|at_s| times::write(at_s, "YYYY-MM-DD"));
    let date = date.ok_or_else(|| GATE.mismatch())?;
    if scope != format!("{date}/npp/tc3_request") {
        return Err(GATE.mismatch());
    }
    let signed: Vec<&str> = list.split(';').collect();
    let least = ["content-type", "host"];
    if !least.iter().all(|name| signed.contains(name)) || !signed.is_sorted() {
        return Err(incomplete());
    }
    let mut lines = String::new();
    for name in &signed {
        lines += &format!("{name}:{}\n", header(name)?.to_lowercase());
    }
    let query = if call.method == "GET" { call.query } else { "" };
    let body = digest(Hash::Sha256, call.body);
    let request = format!("{}\n/\n{query}\n{lines}\n{list}\n{body}", call.method);
    let request = digest(Hash::Sha256, request);
    let at_ms = seconds(at);
    GATE.pass(desk, now_ms, Claim { key, at_ms, sign }, |secret| {
        let links = [date.as_str(), "npp", "tc3_request"];
        let key = derived(format!("TC3{secret}"), &links);
        let text = format!("TC3-HMAC-SHA256\n{at}\n{scope}\n{request}");
        hex::encode(mac(Hash::Sha256, key, text))
    })?;
    Ok(header("x-tc-version")?.to_owned())
}

/// The version of a request that the older signature is right of: its values are signed as they
/// are, not encoded, and `_` in a name counts as a dot.
fn form_signature(desk: &Desk, call: &Call, now_ms: u64) -> Result<String, Refused> {
    let form = form(call);
    let need = |name: &'static str| {
        let missing = || Refused::new("MissingParameter", format!("{name} is missing"));
        value(&form, name).ok_or_else(missing)
    };
    let sign = need("Signature")?;
    let hash = match need("SignatureMethod")? {
        "HmacSHA1" => Hash::Sha1,
        "HmacSHA256" => Hash::Sha256,
        _ => return Err(GATE.mismatch()),
    };
    need("Nonce")?;
    let mut signed: Vec<_> = form
        .iter()
        .filter(|(name, _)| name != "Signature")
        .map(|(name, value)| format!("{}={value}", name.replace('_', ".")))
        .collect();
    signed.sort();
    let host = call.header("host").ok_or_else(|| GATE.mismatch())?;
    let (key, at_ms) = (need("SecretId")?, seconds(need("Timestamp")?));
    GATE.pass(desk, now_ms, Claim { key, at_ms, sign }, |secret| {
        let text = format!("{}{host}/?{}", call.method, signed.join("&"));
        base64(mac(hash, secret, text))
    })?;
    Ok(need("Version")?.to_owned())
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = if ask.call.header("x-tc-action").is_some() && ask.call.method == "POST" {
        Fields::json(ask.call, CODES)?
    } else {
        let map = form(ask.call).into_iter();
        let common = "Action RequestClient Nonce Timestamp Version SecretId SignatureMethod \
                      Language Signature Region Token";
        let business = map.filter(|(name, _)| !common.split(' ').any(|known| known == name));
        let map: Map<_, _> = business.map(|(n, v)| (n, Value::String(v))).collect();
        Fields::of(map, CODES)
    };
    fields.is("BizAppId", &desk.credentials.pool, "UnauthorizedOperation")?;
    if ask.op == "bind" {
        bind(desk, ask, &fields)
    } else {
        unbind(desk, &fields)
    }
}

fn ok(desk: &mut Desk, mut body: Value, entry: Entry) -> Answer {
    body["ErrorCode"] = "0".into();
    body["Msg"] = "ok".into();
    body["RequestId"] = desk.request_id().into();
    let mut answer = served("0", &json!({"Response": body}), entry);
    answer.content_type = "application/json";
    answer
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only(
        "BizAppId Src Dst AssignVirtualNum AccreditList Record CityId BizId MaxAssignTime \
         StatusFlag StatusUrl HangupUrl RecordUrl",
    )?;
    let a = fields.need_number("Src", Notation::Zeros)?;
    let b = fields.need_number("Dst", Notation::Zeros)?;
    let x = fields.number("AssignVirtualNum", Notation::Zeros)?;
    let lasts_s = fields.digits("MaxAssignTime", 1..=LIFETIME_MAX_S)?;
    let record = fields.choice("Record", "0 1")?;
    fields.digits("StatusFlag", 0..=16_383)?;
    let own = fields.text("BizId", 16)?;
    if let Some(own) = &own
        && let Some((_, row)) = desk.table.own(own)
        && (row.a != a || row.b != b)
    {
        return Err(Refused::new(BIZ_ID_USED, "BizId is used already"));
    }
    // The same pair shares its binding and must be released as often.
    let same = |row: &Row| row.a == a && row.b == b && x.as_ref().is_none_or(|x| row.x == *x);
    let held = desk.table.find_row(same);
    let (id, row, new) = if let Some((id, mut row)) = held {
        row.more_refs += 1;
        row.own_ids
            .extend(own.filter(|own| !row.own_ids.contains(own)));
        desk.change(&id, row.clone()).map_err(clash)?;
        (id, row, false)
    } else {
        let row = Row {
            a,
            x: x.unwrap_or_default(),
            b,
            own_ids: own.into_iter().collect(),
            recorded: record.as_deref() == Some("1"),
            since_ms: ask.now_ms,
            expires_ms: Some(ask.now_ms + lasts_s.unwrap_or(LIFETIME_S) * 1000),
            ..Row::default()
        };
        let (id, row) = desk.bind(row, ask.other_x).map_err(clash)?;
        (id, row, true)
    };
    let entry = Entry::of("bind", &id, &row, new);
    let body = json!({
        "BindId": id,
        "VirtualNum": Notation::Zeros.write(&row.x),
        "RefNum": (row.more_refs + 1).to_string(),
    });
    Ok(ok(desk, body, entry))
}

fn unbind(desk: &mut Desk, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("BizAppId BindId BizId")?;
    let by_id = fields.text("BindId", 64)?;
    let by_own = fields.text("BizId", 16)?;
    let found = match (by_id, by_own) {
        (Some(id), _) => desk.table.get(&id).map(|row| (id.clone(), row.clone())),
        (None, Some(own)) => {
            let found = desk.table.own(&own);
            found.map(|(id, row)| (id.to_owned(), row.clone()))
        }
        (None, None) => return Err(fields.missing("BindId or BizId")),
    };
    let gone = || Refused::new(GONE, "binding does not exist");
    let (id, mut row) = found.ok_or_else(gone)?;
    let left = row.more_refs;
    if left == 0 {
        desk.end(&id);
    } else {
        row.more_refs -= 1;
        desk.change(&id, row.clone()).map_err(clash)?;
    }
    let entry = Entry::of("unbind", &id, &row, left == 0);
    let body = json!({"BindId": id, "RefLeftNum": left.to_string()});
    Ok(ok(desk, body, entry))
}

fn clash(clash: Clash) -> Refused {
    match clash {
        Clash::Table(Conflict::Full) | Clash::NoneFree => {
            Refused::new(NONE_FREE, "the city has no number that is free")
        }
        Clash::Table(_) => Refused::new(IN_USE, "AssignVirtualNum is in use"),
        Clash::NotOurs => Refused::new("InvalidParameterValue", "AssignVirtualNum is unknown"),
        Clash::Alike => Refused::new("InvalidParameterValue", "Src, Dst and X must differ"),
    }
}

/// Business results stand beside the answer's fields, all else in an `Error`; both with HTTP 200.
fn refuse(desk: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    let request_id = desk.request_id();
    let business = refused.code.bytes().all(|b| b.is_ascii_digit());
    let body = if business {
        json!({"Response": {
            "ErrorCode": refused.code,
            "Msg": refused.text,
            "RequestId": request_id,
        }})
    } else {
        json!({"Response": {
            "Error": {"Code": refused.code, "Message": refused.text},
            "RequestId": request_id,
        }})
    };
    Answer {
        status: 200,
        content_type: "application/json",
        body: body.to_string(),
        ..Answer::default()
    }
}
