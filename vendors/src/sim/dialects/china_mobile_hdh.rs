//! China Mobile's HDH AXB: only the time is signed, and a request id is answered alike.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | paths, which are each deployment's | `POST /axb/binding`, `/axb/unbind`, `/axb/expiration` |
//! | tolerated clock difference | 5 minutes |
//! | the same header again | taken, while its time is |
//! | codes other than `0000` | `1001` parameter, `1002` credentials (HTTP 401), `1003` binding unknown, `1004` X busy, `1005` none free, `1006` X unknown, `1007` throttled, `9999` failed |

use serde_json::json;

use super::super::common::crypt::{Hash, digest};
use super::super::common::gate::{listed, seconds};
use super::super::common::{
    Answer, Ask, Call, Claim, Clashes, Codes, Desk, Dialect, Entry, Envelope, Fields, Gate,
    Notation, Refused, Row, Scope, YEAR_S, hex_id, wanted,
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
    refuse: |_, _, refused| ENVELOPE.refuse(refused),
};

const ENVELOPE: Envelope = Envelope {
    unauthorized: "1002",
    ..Envelope::beside(["code", "message"], "0000")
};
const GATE: Gate = Gate::of("1002", ["platformid", "timestamp", "signature"]);
const CODES: Codes = Codes::all("1001");
const CLASHES: Clashes = Clashes {
    same: "1004",
    busy: "1004",
    none_free: "1005",
    unknown_x: "1006",
    alike: "1001",
};

fn op(call: &Call) -> &'static str {
    match (call.method, call.path) {
        ("POST", "/axb/binding") => "bind",
        ("POST", "/axb/unbind") => "unbind",
        ("POST", "/axb/expiration") => "modify",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let header = call.header("authorization");
    let header = header.and_then(|text| text.strip_prefix("EOPAUTH "));
    let header = header.ok_or_else(|| GATE.refuse("Authorization is no EOPAUTH"))?;
    let part = |name: &str| {
        let quoted = listed(header, name).and_then(|v| v.strip_prefix('"')?.strip_suffix('"'));
        quoted.ok_or_else(|| GATE.refuse("Authorization is not complete"))
    };
    let at = part("timestamp")?;
    let claim = Claim {
        key: part("platformid")?,
        at_ms: seconds(at),
        sign: part("signature")?,
    };
    GATE.pass(desk, now_ms, claim, |secret| {
        digest(Hash::Md5, format!("{at}{secret}")).to_uppercase()
    })
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

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields
        .only("appId telA telB telX requestId areaCode expiration record GNFlag userData audio")?;
    let request_id = fields.need("requestId", 64)?;
    fields.choice("record", "0 1")?;
    fields.choice("GNFlag", "00 01 10 11")?;
    let lasts_s = fields.count("expiration", 1..=YEAR_S)?;
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
    Ok(ENVELOPE.ok(body, Entry::of(ask.op, &id, &row, new)))
}

fn gone() -> Refused {
    Refused::new("1003", "binding does not exist")
}

fn unbind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appId bindId coolDown")?;
    let id = fields.need("bindId", 64)?;
    let row: Row = desk.end(&id).ok_or_else(gone)?;
    Ok(ENVELOPE.ok(json!({}), Entry::of(ask.op, &id, &row, true)))
}

fn extend(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appId bindId expiration")?;
    let id = fields.need("bindId", 64)?;
    let lasts_s = fields.count("expiration", 1..=YEAR_S)?;
    let lasts_s = lasts_s.ok_or_else(|| fields.missing("expiration"))?;
    let mut row = desk.table.get(&id).cloned().ok_or_else(gone)?;
    row.expires_ms = Some(ask.now_ms + lasts_s * 1000);
    CLASHES.change(desk, &id, &row)?;
    Ok(ENVELOPE.ok(json!({}), Entry::of(ask.op, &id, &row, true)))
}
