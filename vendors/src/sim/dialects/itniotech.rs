//! ITNIO's PNS in AXB.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | `Sign` | MD5 in hex, of either case, of key, secret and timestamp |
//! | fields of a bind | `appId`, `numberA`, `numberB`, `numberX` (absent: the platform chooses), `expireTime` (seconds, 0: never) |
//! | answer of a bind | `status`, `reason`, `bindId`, `numberX` |
//! | codes beside the published ones | `-19` throttled, `-25` X busy, `-26` none free, `-27` X unknown |
//! | tolerated clock difference | 5 minutes, then `-16` |

use serde_json::json;

use super::super::common::crypt::{Hash, digest};
use super::super::common::gate::seconds;
use super::super::common::{
    Answer, Ask, Call, Claim, Clashes, Codes, Desk, Dialect, Entry, Envelope, Fields, Gate,
    Notation, Refused, Scope, YEAR_S, hex_id, wanted,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "itniotech",
    scope: Scope::User,
    skew_s: 300,
    id: hex_id,
    throttled: ("-19", "too many requests"),
    internal: ("-18", "system error"),
    unknown: ("-22", "path is unknown"),
    names: ["numberA", "numberX", "numberB", "bindId"],
    op,
    authenticate,
    serve,
    refuse: |_, _, refused| ENVELOPE.refuse(refused),
};

const ENVELOPE: Envelope = Envelope::beside(["status", "reason"], "0");
const GATE: Gate = Gate {
    codes: ["-1", "-16", "-1"],
    names: ["Api-Key", "Timestamp", "Sign"],
};
const CODES: Codes = Codes::all("-22");
const CLASHES: Clashes = Clashes {
    same: "-25",
    busy: "-25",
    none_free: "-26",
    unknown_x: "-27",
    alike: "-22",
};

fn op(call: &Call) -> &'static str {
    match (call.method, call.path) {
        ("POST", "/number/pns/bind") => "bind",
        ("POST", "/number/pns/unbind") => "unbind",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let header = |name| {
        let missing = || GATE.refuse("a header is missing");
        call.header(name).ok_or_else(missing)
    };
    let (key, at) = (header("api-key")?, header("timestamp")?);
    let claim = Claim {
        key,
        at_ms: seconds(at),
        sign: &header("sign")?.to_lowercase(),
    };
    GATE.pass(desk, now_ms, claim, |secret| {
        digest(Hash::Md5, format!("{key}{secret}{at}"))
    })
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.is("appId", &desk.credentials.pool, "-22")?;
    if ask.op == "bind" {
        bind(desk, ask, &fields)
    } else {
        unbind(desk, ask, &fields)
    }
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appId numberA numberB numberX expireTime userData")?;
    let lasts_s = fields.count("expireTime", 0..=YEAR_S)?.unwrap_or(0);
    let names = ["numberA", "numberX", "numberB"];
    let row = wanted(fields, names, Notation::International, lasts_s, ask)?;
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let body = json!({"bindId": id, "numberX": Notation::International.write(&row.x)});
    Ok(ENVELOPE.ok(body, Entry::of(ask.op, &id, &row, true)))
}

fn unbind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appId bindId")?;
    let id = fields.need("bindId", 64)?;
    let gone = || Refused::new("-24", "binding does not exist");
    let row = desk.end(&id).ok_or_else(gone)?;
    Ok(ENVELOPE.ok(json!({}), Entry::of(ask.op, &id, &row, true)))
}
