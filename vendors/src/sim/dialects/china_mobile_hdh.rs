//! China Mobile's HDH AXB: only the time is signed, and a request id is answered alike.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | paths, which are each deployment's | `POST /axb/binding`, `/axb/unbind`, `/axb/expiration` |
//! | tolerated clock difference | 5 minutes |
//! | the same header again | taken, while its time is |
//! | codes other than `0000` | `1001` parameter, `1002` credentials (HTTP 401), `1003` binding unknown, `1004` X busy, `1005` none free, `1006` X unknown, `1007` throttled, `9999` failed |

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, digest};
use super::super::common::{
    Answer, Ask, Call, Clashes, Codes, Desk, Dialect, Entry, Fields, Notation, Refused, Row, Scope,
    hex_id, refusal, served, wanted,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "china-mobile-hdh",
    scope: Scope::User,
    skew_s: 300,
    id: hex_id,
    throttled: ("1007", "too many requests"),
    internal: ("9999", "system error"),
    unknown: ("1001", "path is unknown"),
    names: ["telA", "telX", "telB", "bindId"],
    op,
    authenticate,
    serve,
    refuse,
};

const CODES: Codes = Codes::all("1001");
const CLASHES: Clashes = Clashes {
    same: "1004",
    busy: "1004",
    none_free: "1005",
    unknown_x: "1006",
    alike: "1001",
};
const LASTS_MAX_S: u64 = 31_536_000;

fn op(call: &Call) -> &'static str {
    match (call.method, call.path) {
        ("POST", "/axb/binding") => "bind",
        ("POST", "/axb/unbind") => "unbind",
        ("POST", "/axb/expiration") => "modify",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let refused = |text: &'static str| Refused::new("1002", text);
    let header = call
        .header("authorization")
        .and_then(|text| text.strip_prefix("EOPAUTH "));
    let header = header.ok_or_else(|| refused("Authorization is no EOPAUTH"))?;
    let part = |name: &str| {
        let mut parts = header
            .split(',')
            .filter_map(|part| part.trim().split_once('='));
        let found = parts.find(|(known, _)| *known == name);
        let value = found.and_then(|(_, v)| v.strip_prefix('"')?.strip_suffix('"'));
        value.ok_or_else(|| refused("Authorization is not complete"))
    };
    let (platform, at, sign) = (part("platformid")?, part("timestamp")?, part("signature")?);
    if platform != desk.credentials.app_key {
        return Err(refused("platformid is unknown"));
    }
    let at_s: Option<u64> = at.parse().ok();
    if !at_s.is_some_and(|at_s| desk.in_time(at_s.saturating_mul(1000), now_ms)) {
        return Err(refused("timestamp is too far from our clock"));
    }
    let wanted = digest(Hash::Md5, format!("{at}{}", desk.credentials.app_secret));
    if wanted.to_uppercase() != sign {
        return Err(refused("signature does not match"));
    }
    Ok(())
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.is("appId", &desk.credentials.pool, "1002")?;
    match ask.op {
        "bind" => bind(desk, ask, &fields),
        "unbind" => unbind(desk, ask, &fields),
        _ => extend(desk, ask, &fields),
    }
}

fn ok(mut body: Value, entry: Entry) -> Answer {
    body["code"] = "0000".into();
    body["message"] = "success".into();
    served("0000", &body, entry)
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields
        .only("appId telA telB telX requestId areaCode expiration record GNFlag userData audio")?;
    let request_id = fields.need("requestId", 64)?;
    fields.choice("record", "0 1")?;
    fields.choice("GNFlag", "00 01 10 11")?;
    let lasts_s = fields.count("expiration", 1..=LASTS_MAX_S)?;
    let lasts_s = lasts_s.ok_or_else(|| fields.missing("expiration"))?;
    let held = desk.table.own(&request_id);
    let (id, row, new) = if let Some((id, row)) = held {
        (id.to_owned(), row.clone(), false)
    } else {
        let mut row = wanted(
            fields,
            ["telA", "telX", "telB"],
            Notation::Country,
            lasts_s,
            ask,
        )?;
        row.own_ids.push(request_id);
        let bound = desk.bind(row, ask.other_x);
        let (id, row) = bound.map_err(|clash| CLASHES.refusal(&clash))?;
        (id, row, true)
    };
    let body = json!({"bindId": id, "x_no": Notation::Country.write(&row.x)});
    Ok(ok(body, Entry::of(ask.op, &id, &row, new)))
}

fn gone() -> Refused {
    Refused::new("1003", "binding does not exist")
}

fn unbind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appId bindId coolDown")?;
    let id = fields.need("bindId", 64)?;
    let row: Row = desk.end(&id).ok_or_else(gone)?;
    Ok(ok(json!({}), Entry::of(ask.op, &id, &row, true)))
}

fn extend(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appId bindId expiration")?;
    let id = fields.need("bindId", 64)?;
    let lasts_s = fields.count("expiration", 1..=LASTS_MAX_S)?;
    let lasts_s = lasts_s.ok_or_else(|| fields.missing("expiration"))?;
    let mut row = desk.table.get(&id).cloned().ok_or_else(gone)?;
    row.expires_ms = Some(ask.now_ms + lasts_s * 1000);
    let changed = desk.change(&id, row.clone());
    changed.map_err(|clash| CLASHES.refusal(&clash))?;
    Ok(ok(json!({}), Entry::of(ask.op, &id, &row, true)))
}

fn refuse(_: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    let status = if refused.code == "1002" { 401 } else { 200 };
    refusal(status, ["code", "message"], false, refused)
}
