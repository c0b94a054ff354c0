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

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, digest, from_base64};
use super::super::common::pairs::{pairs, value};
use super::super::common::times::{self, BEIJING_S};
use super::super::common::{
    Answer, Ask, Call, Clashes, Codes, Desk, Dialect, Entry, Fields, Notation, Refused, Row, Scope,
    hex_id, refusal, served,
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
    refuse,
};

const CODES: Codes = Codes::all("112001");
const CLASHES: Clashes = Clashes {
    same: "112004",
    busy: "112004",
    none_free: "112005",
    unknown_x: "112006",
    alike: "112001",
};
const LASTS_MAX_S: u64 = 31_536_000;

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
    let refused = |text: &'static str| Refused::new("112002", text);
    let account = parts(call).map_or("", |(account, _)| account);
    let text = call.header("authorization").and_then(from_base64);
    let text = text.ok_or_else(|| refused("Authorization is no base64"))?;
    let (named, at) = text
        .split_once(':')
        .ok_or_else(|| refused("Authorization has no time"))?;
    if account != desk.credentials.app_key || named != account {
        return Err(refused("account is unknown"));
    }
    let at_ms = match at.len() {
        13 => at.parse().ok(),
        _ => times::read(at, times::DIGITS).map(|at_s| at_s.saturating_sub(BEIJING_S) * 1000),
    };
    if !at_ms.is_some_and(|at_ms| desk.in_time(at_ms, now_ms)) {
        return Err(refused("timestamp is too far from our clock"));
    }
    let query = pairs(call.query).unwrap_or_default();
    let wanted = digest(
        Hash::Md5,
        format!("{account}{}{at}", desk.credentials.app_secret),
    );
    let sig = value(&query, "sig").filter(|_| query.len() == 1);
    if sig != Some(wanted.to_uppercase().as_str()) {
        return Err(refused("sig does not match"));
    }
    Ok(())
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.is("appId", &desk.credentials.pool, "112002")?;
    match ask.op {
        "bind" => bind(desk, ask, &fields),
        "unbind" => {
            let (id, row) = named(desk, &fields)?;
            desk.end(&id);
            Ok(ok(json!({}), Entry::of(ask.op, &id, &row, true)))
        }
        _ => query(desk, ask, &fields),
    }
}

fn ok(mut body: Value, entry: Entry) -> Answer {
    body["statusCode"] = "000000".into();
    body["statusMsg"] = "success".into();
    served("000000", &body, entry)
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
    let lasts_s = fields
        .digits("mappingDuration", 0..=LASTS_MAX_S)?
        .unwrap_or(0);
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
        expires_ms: (lasts_s > 0).then(|| ask.now_ms + lasts_s * 1000),
        ..Row::default()
    };
    let bound = desk.bind(row, ask.other_x);
    let (id, row) = bound.map_err(|clash| CLASHES.refusal(&clash))?;
    let body = json!({"mappingId": id, "xNumber": Notation::National.write(&row.x)});
    Ok(ok(body, Entry::of(ask.op, &id, &row, true)))
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
    Ok(ok(body, Entry::of(ask.op, &id, &row, false)))
}

fn refuse(_: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    refusal(200, ["statusCode", "statusMsg"], false, refused)
}
