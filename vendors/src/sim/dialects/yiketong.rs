//! YiKeTong's AXB, whose platform always chooses X.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | digest of `sign` | MD5 in hex, of either case |
//! | unbind | `POST /number/axb/unbinding` with `bind_id` |
//! | answer | `code`, `message`, `data` with `bind_id` and `tel_x` |
//! | codes | integers: 0 ok, 1001 parameter, 1002 credentials, 1003 binding unknown, 1005 none free, 1007 throttled, 1008 failed; HTTP 200 |
//! | pool usage | `data` with `total` and `used` |
//! | a repeated `request_id` | a request like any other |
//! | tolerated clock difference | 5 minutes |

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, digest};
use super::super::common::gate::seconds;
use super::super::common::{
    Answer, Ask, Call, Claim, Clashes, Codes, Desk, Dialect, Entry, Envelope, Fields, Gate,
    Notation, Refused, Row, Scope, YEAR_S, hex_id, plain,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "yiketong",
    scope: Scope::User,
    skew_s: 300,
    id: hex_id,
    throttled: ("1007", "too many requests"),
    internal: ("1008", "system error"),
    unknown: ("1001", "path is unknown"),
    names: ["tel_a", "tel_x", "tel_b", "bind_id"],
    op,
    authenticate,
    serve,
    refuse: |_, _, refused| ENVELOPE.refuse(refused),
};

const ENVELOPE: Envelope = Envelope::PLAIN;
const GATE: Gate = Gate::of("1002", ["appkey", "ts", "sign"]);
const CODES: Codes = Codes::all("1001");
const CLASHES: Clashes = Clashes {
    same: "1005",
    busy: "1005",
    none_free: "1005",
    unknown_x: "1005",
    alike: "1001",
};

fn op(call: &Call) -> &'static str {
    match (call.method, call.path) {
        ("POST", "/number/axb/binding") => "bind",
        ("POST", "/number/axb/unbinding") => "unbind",
        ("POST", "/monitor/axb/utilization") => "query",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let fields = Fields::json(call, CODES)?;
    let claim = Claim {
        key: &fields.plain("appkey"),
        at_ms: seconds(&fields.plain("ts")),
        sign: &fields.plain("sign").to_lowercase(),
    };
    GATE.pass(desk, now_ms, claim, |secret| {
        let signed = fields.map().iter().filter(|(name, _)| *name != "sign");
        let mut items: Vec<String> = signed.map(|(n, v)| format!("{n}={}", plain(v))).collect();
        items.sort();
        items.push(format!("secret={secret}"));
        digest(Hash::Md5, items.join("&"))
    })
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    match ask.op {
        "bind" => bind(desk, ask, &fields),
        "unbind" => unbind(desk, ask, &fields),
        _ => usage(desk, ask),
    }
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appkey ts sign request_id tel_a tel_b area_code expiration")?;
    fields.need("request_id", 64)?;
    let lasts_s = fields.count("expiration", 1..=YEAR_S)?;
    let lasts_s = lasts_s.ok_or_else(|| fields.missing("expiration"))?;
    let row = Row {
        a: fields.need_number("tel_a", Notation::National)?,
        b: fields.need_number("tel_b", Notation::National)?,
        since_ms: ask.now_ms,
        expires_ms: Some(ask.now_ms + lasts_s * 1000),
        ..Row::default()
    };
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let data = json!({"bind_id": id, "tel_x": Notation::National.write(&row.x)});
    Ok(ENVELOPE.ok(data, Entry::of(ask.op, &id, &row, true)))
}

fn unbind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appkey ts sign request_id bind_id")?;
    let id = fields.need("bind_id", 64)?;
    let gone = || Refused::new("1003", "binding does not exist");
    let row = desk.end(&id).ok_or_else(gone)?;
    Ok(ENVELOPE.ok(Value::Null, Entry::of(ask.op, &id, &row, true)))
}

fn usage(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let all: Vec<String> = desk.credentials.listed_x().collect();
    let used = all
        .iter()
        .filter(|x| !desk.table.on_x(x).is_empty())
        .count();
    let entry = Entry {
        op: ask.op,
        ..Entry::default()
    };
    Ok(ENVELOPE.ok(json!({"total": all.len(), "used": used}), entry))
}
