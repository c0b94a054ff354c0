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

use serde_json::json;

use super::super::common::crypt::{Hash, digest};
use super::super::common::gate::basic;
use super::super::common::{
    Answer, Ask, Call, Claim, Clashes, Codes, Desk, Dialect, Entry, Envelope, Fields, Gate,
    Notation, Refused, Scope, YEAR_S, hex_id, wanted,
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
    refuse: |_, _, refused| ENVELOPE.refuse(refused),
};

const ENVELOPE: Envelope = Envelope::beside(["result", "message"], "000000");
const GATE: Gate = Gate::of("000002", ["appId", "timestamp", "sig"]);
const CODES: Codes = Codes::all("000001");
const CLASHES: Clashes = Clashes {
    same: "000004",
    busy: "000004",
    none_free: "000005",
    unknown_x: "000006",
    alike: "000001",
};

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
    let path = parts(call).ok_or_else(|| GATE.refuse("path is not complete"))?;
    let [_, key, sign] = path;
    let (named, at) = basic(call, &GATE)?;
    let claim = Claim {
        // The path and the header must name the same one.
        key: if named == key { key } else { "" },
        at_ms: at.parse().ok(),
        sign,
    };
    GATE.pass(desk, now_ms, claim, |secret| {
        digest(Hash::Md5, format!("{key}{secret}{at}"))
    })
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    if ask.op == "bind" {
        bind(desk, ask, &fields)
    } else {
        unbind(desk, ask, &fields)
    }
}

const NUMBERS: [&str; 3] = ["bindNumberA", "middleNumber", "bindNumberB"];

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only(
        "middleNumber bindNumberA bindNumberB maxBindingTime maxCallDuration callRec areaCode \
         callbackUrl customerData mode",
    )?;
    fields.choice("callRec", "0 1")?;
    fields.count("maxCallDuration", 0..=86_400)?;
    let lasts_s = fields.count("maxBindingTime", 0..=YEAR_S)?.unwrap_or(0);
    if fields.text("middleNumber", 20)?.is_none() && fields.text("areaCode", 8)?.is_none() {
        return Err(fields.missing("middleNumber or areaCode"));
    }
    let row = wanted(fields, NUMBERS, Notation::National, lasts_s, ask)?;
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let body = json!({"middleNumber": Notation::National.write(&row.x), "bindId": id});
    Ok(ENVELOPE.ok(body, Entry::of(ask.op, &id, &row, true)))
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
    Ok(ENVELOPE.ok(json!({}), Entry::of(ask.op, &id, &row, true)))
}
