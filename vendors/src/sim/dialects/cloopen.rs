//! Cloopen's NME middle numbers, in AXB.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | release | `releasenumber`, by `mappingId` or by `xNumber`, `aNumber` and `bNumber` |
//! | answer of a bind | `statusCode`, `mappingId`, `xNumber` |
//! | `querynumber` | by `mappingId`, or `xNumber` and `aNumber` |
//! | codes other than `000000` | `112001` parameter, `112002` credentials, `112003` mapping unknown, `112004` X busy, `112005` none free, `112006` X unknown, `112007` throttled, `112099` failed; HTTP 200 |
//! | tolerated clock difference | 5 minutes; 14 digits are the time in Beijing, 13 Unix milliseconds |
//! | `expirationSetting` | accepted; the platform releases after `mappingDuration` only |

use serde_json::json;

use super::super::common::crypt::{Hash, digest};
use super::super::common::gate::basic;
use super::super::common::pairs::{pairs, value};
use super::super::common::times::{self, BEIJING_S};
use super::super::common::{
    Answer, Ask, Call, Claim, Clashes, Codes, Desk, Dialect, Entry, Envelope, Fields, Gate,
    Notation, Refused, Row, Scope, YEAR_S, hex_id,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "cloopen",
    scope: Scope::User,
    skew_s: 300,
    id: hex_id,
    throttled: ("112007", "too many requests"),
    internal: ("112099", "system error"),
    unknown: ("112001", "operation is unknown"),
    names: ["aNumber", "xNumber servingNumber", "bNumber", "mappingId"],
    op,
    authenticate,
    serve,
    refuse: |_, _, refused| ENVELOPE.refuse(refused),
};

const ENVELOPE: Envelope = Envelope::beside(["statusCode", "statusMsg"], "000000");
const GATE: Gate = Gate::of("112002", ["account", "timestamp", "sig"]);
const CODES: Codes = Codes::all("112001");
const CLASHES: Clashes = Clashes {
    same: "112004",
    busy: "112004",
    none_free: "112005",
    unknown_x: "112006",
    alike: "112001",
};

/// Account and operation of a path in AXB.
fn parts<'a>(call: &Call<'a>) -> Option<(&'a str, &'a str)> {
    let inside = call.path.strip_prefix("/2013-12-26/Accounts/")?;
    let parts: Vec<&str> = inside.split('/').collect();
    match parts[..] {
        [account, "nme", "axb", _, operation] => Some((account, operation)),
        _ => None,
    }
}

fn op(call: &Call) -> &'static str {
    match (call.method, parts(call)) {
        ("POST", Some((_, "providenumber" | "setnumber" | "set"))) => "bind",
        ("POST", Some((_, "releasenumber"))) => "unbind",
        ("POST", Some((_, "querynumber"))) => "query",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let account = parts(call).map_or("", |(account, _)| account);
    let (named, at) = basic(call, &GATE)?;
    let at_ms = match at.len() {
        13 => at.parse().ok(),
        _ => times::read(&at, times::DIGITS).map(|at_s| at_s.saturating_sub(BEIJING_S) * 1000),
    };
    let query = pairs(call.query).unwrap_or_default();
    let sig = value(&query, "sig").filter(|_| query.len() == 1);
    let claim = Claim {
        // The path and the header must name the same one.
        key: if named == account { account } else { "" },
        at_ms,
        sign: sig.unwrap_or(""),
    };
    GATE.pass(desk, now_ms, claim, |secret| {
        digest(Hash::Md5, format!("{account}{secret}{at}")).to_uppercase()
    })
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.is("appId", &desk.credentials.pool, "112002")?;
    match ask.op {
        "bind" => bind(desk, ask, &fields),
        "unbind" => {
            let (id, row) = named(desk, &fields)?;
            desk.end(&id);
            Ok(ENVELOPE.ok(json!({}), Entry::of(ask.op, &id, &row, true)))
        }
        _ => query(desk, ask, &fields),
    }
}

/// X under either of its names.
fn x_of(fields: &Fields) -> Result<Option<String>, Refused> {
    let x = fields.number("xNumber", Notation::National)?;
    let serving = fields.number("servingNumber", Notation::National)?;
    Ok(x.or(serving))
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only(
        "appId aNumber bNumber xNumber servingNumber mappingDuration needRecord cdrNotifyUrl \
         laterAnswer expirationSetting areaCode userData",
    )?;
    fields.choice("needRecord", "0 1")?;
    fields.choice("expirationSetting", "0 1 2 3")?;
    let lasts_s = fields.digits("mappingDuration", 0..=YEAR_S)?.unwrap_or(0);
    let provide = ask.call.path.ends_with("/providenumber");
    let x = x_of(fields)?;
    if !provide && x.is_none() {
        return Err(fields.missing("xNumber"));
    }
    let row = Row {
        a: fields.need_number("aNumber", Notation::National)?,
        x: x.filter(|_| !provide).unwrap_or_default(),
        b: fields.need_number("bNumber", Notation::National)?,
        since_ms: ask.now_ms,
        expires_ms: ask.until(lasts_s),
        ..Row::default()
    };
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let body = json!({"mappingId": id, "xNumber": Notation::National.write(&row.x)});
    Ok(ENVELOPE.ok(body, Entry::of(ask.op, &id, &row, true)))
}

/// The mapping of an id, or of X and the numbers beside it.
fn named(desk: &Desk, fields: &Fields) -> Result<(String, Row), Refused> {
    fields.only("appId mappingId xNumber servingNumber aNumber bNumber")?;
    let gone = || Refused::new("112003", "mapping does not exist");
    if let Some(id) = fields.text("mappingId", 64)? {
        let row = desk.table.get(&id).cloned().ok_or_else(gone)?;
        return Ok((id, row));
    }
    let x = x_of(fields)?.ok_or_else(|| fields.missing("mappingId or xNumber"))?;
    let a = fields.need_number("aNumber", Notation::National)?;
    let b = fields.number("bNumber", Notation::National)?;
    let fits = |row: &Row| row.a == a && b.as_ref().is_none_or(|b| row.b == *b);
    desk.on_x(&x, fits).ok_or_else(gone)
}

fn query(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    let (id, row) = named(desk, fields)?;
    let body = json!({
        "mappingId": id,
        "aNumber": Notation::National.write(&row.a),
        "xNumber": Notation::National.write(&row.x),
        "bNumber": Notation::National.write(&row.b),
    });
    Ok(ENVELOPE.ok(body, Entry::of(ask.op, &id, &row, false)))
}
