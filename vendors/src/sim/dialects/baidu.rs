//! Baidu AI Cloud's PNS in AXB, under bce-auth-v1.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | unbind in AXB | `POST /cloud/api/v1/axb/unbinding/{bindId}` |
//! | name of the id | `data.bindId`, beside it `data.telX` |
//! | refusals of the gateway | `X-Bce-Error-Code`: `AccessDenied`, `InvalidAccessKeyId`, `SignatureDoesNotMatch`, `RequestExpired` with 403, `RequestLimitExceeded` 429, `InternalError` 500 |
//! | codes other than `"0"` | `"1001"` parameter, `"1002"` X busy, `"1003"` none free, `"1004"` X unknown, `"1005"` binding unknown; HTTP 200 |
//! | clock of the client ahead of ours | 5 minutes at most |
//! | the same signature again | taken, while it is valid |

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, mac};
use super::super::common::pairs::{canonical, encoded, pairs};
use super::super::common::times;
use super::super::common::{
    Answer, Ask, Call, Clashes, Codes, Desk, Dialect, Entry, Fields, Notation, Refused, Scope,
    YEAR_S, hex_id, served, wanted,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "baidu",
    scope: Scope::User,
    skew_s: 300,
    id: hex_id,
    throttled: ("RequestLimitExceeded", "request rate exceeds the limit"),
    internal: ("InternalError", "internal error"),
    unknown: ("InvalidURI", "the path is unknown"),
    names: ["telA", "telX", "telB", "bindId"],
    op,
    authenticate,
    serve,
    refuse,
};

const CODES: Codes = Codes::all("1001");
const CLASHES: Clashes = Clashes {
    same: "1002",
    busy: "1002",
    none_free: "1003",
    unknown_x: "1004",
    alike: "1001",
};
/// Signed where a client names no headers.
const DEFAULT_HEADERS: [&str; 4] = ["host", "content-md5", "content-length", "content-type"];

const UNBIND: &str = "/cloud/api/v1/axb/unbinding/";

fn op(call: &Call) -> &'static str {
    match (call.method, call.path) {
        ("POST", "/cloud/api/v1/axb/binding") => "bind",
        ("POST", path) if path.len() > UNBIND.len() && path.starts_with(UNBIND) => "unbind",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let denied = || Refused::new("AccessDenied", "authorization is not complete");
    let authorization = call.header("authorization").ok_or_else(denied)?;
    let parts: Vec<&str> = authorization.split('/').collect();
    let [name, key, at, lasts_s, list, signature] = parts[..] else {
        return Err(denied());
    };
    if name != "bce-auth-v1" {
        return Err(denied());
    }
    if key != desk.credentials.app_key {
        return Err(Refused::new(
            "InvalidAccessKeyId",
            "the access key id is unknown",
        ));
    }
    let (Some(at_s), Ok(lasts_s)) = (times::read(at, times::ISO), lasts_s.parse::<u64>()) else {
        return Err(denied());
    };
    let past = now_ms > (at_s + lasts_s.min(86_400)) * 1000;
    if past || (at_s * 1000 > now_ms && !desk.in_time(at_s * 1000, now_ms)) {
        return Err(Refused::new("RequestExpired", "the request is expired"));
    }
    let mut lines: Vec<String> = Vec::new();
    for (header, value) in call.headers {
        let signed = if list.is_empty() {
            DEFAULT_HEADERS.contains(header) || header.starts_with("x-bce-")
        } else {
            list.split(';').any(|named| named == *header)
        };
        if signed && !value.trim().is_empty() {
            lines.push(format!("{}:{}", encoded(header), encoded(value.trim())));
        }
    }
    lines.sort();
    let named = list.split(';').filter(|name| !name.is_empty());
    let there = |name: &str| call.header(name).is_some();
    if !lines.iter().any(|line| line.starts_with("host:")) || !named.clone().all(there) {
        return Err(denied());
    }
    let path: Vec<String> = call.path.split('/').map(encoded).collect();
    let query = canonical(&pairs(call.query).ok_or_else(denied)?);
    let request = [call.method, &path.join("/"), &query, &lines.join("\n")].join("\n");
    let prefix = format!("bce-auth-v1/{key}/{at}/{lasts_s}");
    // The key of the second step is the hex text of the first one.
    let chain = hex::encode(mac(Hash::Sha256, &desk.credentials.app_secret, prefix));
    if hex::encode(mac(Hash::Sha256, chain, request)) != signature {
        let text = "the request signature we calculated does not match";
        return Err(Refused::new("SignatureDoesNotMatch", text));
    }
    Ok(())
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    match ask.call.path.strip_prefix(UNBIND) {
        Some(id) => {
            let gone = || Refused::new("1005", "binding does not exist");
            let row = desk.end(id).ok_or_else(gone)?;
            Ok(ok(&Value::Null, Entry::of(ask.op, id, &row, true)))
        }
        None => bind(desk, ask),
    }
}

fn ok(data: &Value, entry: Entry) -> Answer {
    let body = json!({"code": "0", "msg": "success", "data": data});
    served("0", &body, entry)
}

fn bind(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.only("telA telB telX areaCode expiration record customer forceRandomX")?;
    fields.need("areaCode", 8)?;
    if fields.need("record", 1)? != "1" {
        return Err(fields.bad("record", "is not 1"));
    }
    let lasts_s = fields.digits("expiration", 1..=YEAR_S)?;
    let lasts_s = lasts_s.ok_or_else(|| fields.missing("expiration"))?;
    let row = wanted(
        &fields,
        ["telA", "telX", "telB"],
        Notation::National,
        lasts_s,
        ask,
    )?;
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let data = json!({"bindId": id, "telX": Notation::National.write(&row.x)});
    Ok(ok(&data, Entry::of(ask.op, &id, &row, true)))
}

/// The gateway's refusals stand in headers too.
fn refuse(_: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    let business = refused.code.bytes().all(|b| b.is_ascii_digit());
    if business {
        let body = json!({"code": refused.code, "msg": refused.text, "data": null});
        return Answer {
            status: 200,
            body: body.to_string(),
            ..Answer::default()
        };
    }
    let status = match &*refused.code {
        "InvalidURI" => 404,
        "RequestLimitExceeded" => 429,
        "InternalError" => 500,
        _ => 403,
    };
    let body = json!({"code": refused.code, "message": refused.text});
    Answer {
        status,
        headers: vec![
            ("X-Bce-Error-Code", refused.code.clone().into_owned()),
            ("X-Bce-Error-Message", refused.text.clone().into_owned()),
        ],
        body: body.to_string(),
        ..Answer::default()
    }
}
