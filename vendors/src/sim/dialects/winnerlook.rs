//! Winnerlook's middle numbers: the signature is part of the path, and numbers are unbound by the
//! numbers themselves.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | tolerated clock difference | 5 minutes |
//! | the same signature again | taken, while its time is |
//! | codes other than `000000` | `000001` parameter, `000002` credentials, `000003` binding unknown, `000004` X busy, `000005` none free, `000006` X unknown, `000007` throttled, `999999` failed; HTTP 200 |
//! | id in the answer | `bindId`, which nothing asks for |
//! | query | none |

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, digest, from_base64};
use super::super::common::{
    Answer, Ask, Call, Clashes, Codes, Desk, Dialect, Entry, Fields, Notation, Refused, Scope,
    hex_id, refusal, served, wanted,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "winnerlook",
    scope: Scope::User,
    skew_s: 300,
    id: hex_id,
    throttled: ("000007", "too many requests"),
    internal: ("999999", "system error"),
    unknown: ("000001", "function is unknown"),
    names: ["bindNumberA", "middleNumber", "bindNumberB", "bindId"],
    op,
    authenticate,
    serve,
    refuse,
};

const CODES: Codes = Codes::all("000001");
const CLASHES: Clashes = Clashes {
    same: "000004",
    busy: "000004",
    none_free: "000005",
    unknown_x: "000006",
    alike: "000001",
};
const LASTS_MAX_S: u64 = 31_536_000;

/// Function, application and signature of a path.
fn parts<'a>(call: &Call<'a>) -> Option<[&'a str; 3]> {
    let inside = call.path.strip_prefix("/voice/1.0.0/")?;
    let parts: Vec<&str> = inside.split('/').collect();
    parts.try_into().ok()
}

fn op(call: &Call) -> &'static str {
    match (call.method, parts(call)) {
        ("POST", Some(["middleNumberAXB", _, _])) => "bind",
        ("POST", Some(["middleNumberUnbind", _, _])) => "unbind",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let refused = |text: &'static str| Refused::new("000002", text);
    let [_, app, sign] = parts(call).ok_or_else(|| refused("path is not complete"))?;
    let text = call.header("authorization").and_then(from_base64);
    let text = text.ok_or_else(|| refused("Authorization is no base64"))?;
    let (named, at) = text
        .split_once(':')
        .ok_or_else(|| refused("Authorization has no time"))?;
    if app != desk.credentials.app_key || named != app {
        return Err(refused("appId is unknown"));
    }
    if !at.parse().is_ok_and(|at_ms| desk.in_time(at_ms, now_ms)) {
        return Err(refused("timestamp is too far from our clock"));
    }
    if digest(
        Hash::Md5,
        format!("{app}{}{at}", desk.credentials.app_secret),
    ) != sign
    {
        return Err(refused("sig does not match"));
    }
    Ok(())
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    if ask.op == "bind" {
        bind(desk, ask, &fields)
    } else {
        unbind(desk, ask, &fields)
    }
}

fn ok(mut body: Value, entry: Entry) -> Answer {
    body["result"] = "000000".into();
    body["message"] = "success".into();
    served("000000", &body, entry)
}

const NUMBERS: [&str; 3] = ["bindNumberA", "middleNumber", "bindNumberB"];

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only(
        "middleNumber bindNumberA bindNumberB maxBindingTime maxCallDuration callRec areaCode \
         callbackUrl customerData mode",
    )?;
    fields.choice("callRec", "0 1")?;
    fields.count("maxCallDuration", 0..=86_400)?;
    let lasts_s = fields
        .count("maxBindingTime", 0..=LASTS_MAX_S)?
        .unwrap_or(0);
    if fields.text("middleNumber", 20)?.is_none() && fields.text("areaCode", 8)?.is_none() {
        return Err(fields.missing("middleNumber or areaCode"));
    }
    let row = wanted(fields, NUMBERS, Notation::National, lasts_s, ask)?;
    let bound = desk.bind(row, ask.other_x);
    let (id, row) = bound.map_err(|clash| CLASHES.refusal(&clash))?;
    let body = json!({"middleNumber": Notation::National.write(&row.x), "bindId": id});
    Ok(ok(body, Entry::of(ask.op, &id, &row, true)))
}

fn unbind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("middleNumber bindNumberA bindNumberB mode")?;
    fields.choice("mode", "0")?;
    let named = wanted(fields, NUMBERS, Notation::National, 0, ask)?;
    if named.x.is_empty() {
        return Err(fields.missing("middleNumber"));
    }
    let found = desk.on_x(&named.x, |row| row.a == named.a && row.b == named.b);
    let gone = || Refused::new("000003", "binding does not exist");
    let (id, row) = found.ok_or_else(gone)?;
    desk.end(&id);
    Ok(ok(json!({}), Entry::of(ask.op, &id, &row, true)))
}

fn refuse(_: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    refusal(200, ["result", "message"], false, refused)
}
