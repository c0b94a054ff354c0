//! ITNIO's PNS in AXB.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | `Sign` | MD5 in hex, of either case, of key, secret and timestamp |
//! | fields of a bind | `appId`, `numberA`, `numberB`, `numberX` (absent: the platform chooses), `expireTime` (seconds, 0: never) |
//! | answer of a bind | `status`, `reason`, `bindId`, `numberX` |
//! | codes beside the published ones | `-19` throttled, `-25` X busy, `-26` none free, `-27` X unknown |
//! | tolerated clock difference | 5 minutes, then `-16` |

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, digest};
use super::super::common::{
    Answer, Ask, Call, Clashes, Codes, Desk, Dialect, Entry, Fields, Notation, Refused, Scope,
    hex_id, refusal, served, wanted,
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
    refuse,
};

const CODES: Codes = Codes::all("-22");
const CLASHES: Clashes = Clashes {
    same: "-25",
    busy: "-25",
    none_free: "-26",
    unknown_x: "-27",
    alike: "-22",
};
const LASTS_MAX_S: u64 = 31_536_000;

fn op(call: &Call) -> &'static str {
    match (call.method, call.path) {
        ("POST", "/number/pns/bind") => "bind",
        ("POST", "/number/pns/unbind") => "unbind",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let refused = |text: &'static str| Refused::new("-1", text);
    let header = |name| {
        call.header(name)
            .ok_or_else(|| refused("a header is missing"))
    };
    let (key, at, sign) = (header("api-key")?, header("timestamp")?, header("sign")?);
    if key != desk.credentials.app_key {
        return Err(refused("Api-Key is unknown"));
    }
    let at_s: Option<u64> = at.parse().ok();
    if !at_s.is_some_and(|at_s| desk.in_time(at_s.saturating_mul(1000), now_ms)) {
        return Err(Refused::new("-16", "Timestamp is expired"));
    }
    let wanted = digest(
        Hash::Md5,
        format!("{key}{}{at}", desk.credentials.app_secret),
    );
    if wanted != sign.to_lowercase() {
        return Err(refused("Sign does not match"));
    }
    Ok(())
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

fn ok(mut body: Value, entry: Entry) -> Answer {
    body["status"] = "0".into();
    body["reason"] = "success".into();
    served("0", &body, entry)
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appId numberA numberB numberX expireTime userData")?;
    let lasts_s = fields.count("expireTime", 0..=LASTS_MAX_S)?.unwrap_or(0);
    let names = ["numberA", "numberX", "numberB"];
    let row = wanted(fields, names, Notation::International, lasts_s, ask)?;
    let bound = desk.bind(row, ask.other_x);
    let (id, row) = bound.map_err(|clash| CLASHES.refusal(&clash))?;
    let body = json!({"bindId": id, "numberX": Notation::International.write(&row.x)});
    Ok(ok(body, Entry::of(ask.op, &id, &row, true)))
}

fn unbind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appId bindId")?;
    let id = fields.need("bindId", 64)?;
    let gone = || Refused::new("-24", "binding does not exist");
    let row = desk.end(&id).ok_or_else(gone)?;
    Ok(ok(json!({}), Entry::of(ask.op, &id, &row, true)))
}

fn refuse(_: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    refusal(200, ["status", "reason"], false, refused)
}
