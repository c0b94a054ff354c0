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
use super::super::common::{
    Answer, Ask, Call, Clashes, Codes, Desk, Dialect, Entry, Fields, Notation, Refused, Row, Scope,
    hex_id, plain, refusal, served,
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
    refuse,
};

const CODES: Codes = Codes::all("1001");
const CLASHES: Clashes = Clashes {
    same: "1005",
    busy: "1005",
    none_free: "1005",
    unknown_x: "1005",
    alike: "1001",
};
const LASTS_MAX_S: u64 = 31_536_000;

fn op(call: &Call) -> &'static str {
    match (call.method, call.path) {
        ("POST", "/number/axb/binding") => "bind",
        ("POST", "/number/axb/unbinding") => "unbind",
        ("POST", "/monitor/axb/utilization") => "query",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let refused = |text: &'static str| Refused::new("1002", text);
    let fields = Fields::json(call, CODES)?;
    let said = |name: &str| fields.map().get(name).map_or_else(String::new, plain);
    if said("appkey") != desk.credentials.app_key {
        return Err(refused("appkey is unknown"));
    }
    let at_s: Option<u64> = said("ts").parse().ok();
    if !at_s.is_some_and(|at_s| desk.in_time(at_s.saturating_mul(1000), now_ms)) {
        return Err(refused("ts is too far from our clock"));
    }
    let signed = fields.map().iter().filter(|(name, _)| *name != "sign");
    let mut items: Vec<String> = signed.map(|(n, v)| format!("{n}={}", plain(v))).collect();
    items.sort();
    items.push(format!("secret={}", desk.credentials.app_secret));
    if digest(Hash::Md5, items.join("&")) != said("sign").to_lowercase() {
        return Err(refused("sign does not match"));
    }
    Ok(())
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    match ask.op {
        "bind" => bind(desk, ask, &fields),
        "unbind" => unbind(desk, ask, &fields),
        _ => usage(desk, ask),
    }
}

fn ok(data: &Value, entry: Entry) -> Answer {
    served(
        "0",
        &json!({"code": 0, "message": "success", "data": data}),
        entry,
    )
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appkey ts sign request_id tel_a tel_b area_code expiration")?;
    fields.need("request_id", 64)?;
    let lasts_s = fields.count("expiration", 1..=LASTS_MAX_S)?;
    let lasts_s = lasts_s.ok_or_else(|| fields.missing("expiration"))?;
    let row = Row {
        a: fields.need_number("tel_a", Notation::National)?,
        b: fields.need_number("tel_b", Notation::National)?,
        since_ms: ask.now_ms,
        expires_ms: Some(ask.now_ms + lasts_s * 1000),
        ..Row::default()
    };
    let bound = desk.bind(row, ask.other_x);
    let (id, row) = bound.map_err(|clash| CLASHES.refusal(&clash))?;
    let data = json!({"bind_id": id, "tel_x": Notation::National.write(&row.x)});
    Ok(ok(&data, Entry::of(ask.op, &id, &row, true)))
}

fn unbind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appkey ts sign request_id bind_id")?;
    let id = fields.need("bind_id", 64)?;
    let gone = || Refused::new("1003", "binding does not exist");
    let row = desk.end(&id).ok_or_else(gone)?;
    Ok(ok(&Value::Null, Entry::of(ask.op, &id, &row, true)))
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
    Ok(ok(&json!({"total": all.len(), "used": used}), entry))
}

fn refuse(_: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    refusal(200, ["code", "message"], true, refused)
}
