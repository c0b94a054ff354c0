//! NXCloud's PNS: one path, the operation in a header; the platform chooses X, and the customer's
//! own id is as good as the vendor's.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | codes other than 0 | 1001 parameter, 1002 key or signature, 1003 time, 1004 `customerBindId` is used, 1005 binding unknown, 1006 none free, 1007 throttled, 1008 failed; HTTP 200 |
//! | same pair again under another own id | another binding on another X |
//! | numbers of two countries | 1001 |

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, digest};
use super::super::common::{
    Answer, Ask, Call, Claim, Clashes, Codes, Desk, Dialect, Entry, Envelope, Fields, Gate,
    Notation, Refused, Row, Scope, YEAR_S, hex_id, served,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "nxcloud",
    scope: Scope::User,
    skew_s: 60,
    id: hex_id,
    throttled: ("1007", "too many requests"),
    internal: ("1008", "system error"),
    unknown: ("1001", "action is unknown"),
    names: ["phoneA", "phoneX", "phoneB", "bindId"],
    op,
    authenticate,
    serve,
    refuse: |_, _, refused| Envelope::PLAIN.refuse(refused),
};

const GATE: Gate = Gate {
    codes: ["1002", "1003", "1002"],
    names: ["accessKey", "ts", "sign"],
};
const CODES: Codes = Codes::all("1001");
const CLASHES: Clashes = Clashes {
    same: "1006",
    busy: "1006",
    none_free: "1006",
    unknown_x: "1006",
    alike: "1001",
};

fn op(call: &Call) -> &'static str {
    let here = ["/v1/api/pns", "/api/pns"].contains(&call.path.trim_end_matches('/'));
    match call.header("action") {
        Some("bindAXB") if here && call.method == "POST" => "bind",
        Some("unbindAXB") if here && call.method == "POST" => "unbind",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let header = |name: &'static str| {
        let missing = || GATE.refuse(format!("{name} is missing"));
        call.header(name).ok_or_else(missing)
    };
    let (key, action) = (header("accesskey")?, header("action")?);
    let (kind, at, sign) = (header("biztype")?, header("ts")?, header("sign")?);
    let hash = match call.header("algorithm").unwrap_or("md5") {
        "md5" => Hash::Md5,
        "sha256" => Hash::Sha256,
        _ => return Err(GATE.refuse("algorithm is unknown")),
    };
    let at_ms = at.parse().ok();
    GATE.pass(desk, now_ms, Claim { key, at_ms, sign }, |secret| {
        let head = format!("accessKey={key}&action={action}&bizType={kind}&ts={at}");
        let mut text = head.into_bytes();
        if !call.body.is_empty() {
            text.extend_from_slice(b"&body=");
            text.extend_from_slice(call.body);
        }
        text.extend_from_slice(format!("&accessSecret={secret}").as_bytes());
        digest(hash, text)
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

fn ok(desk: &mut Desk, data: &Value, entry: Entry) -> Answer {
    let request_id = desk.request_id();
    let body = json!({"code": 0, "message": "success", "requestId": request_id, "data": data});
    served("0", &body, entry)
}

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("phoneA phoneB expireSecond customerBindId flag")?;
    let lasts_s = fields.whole("expireSecond", 0..=YEAR_S)?;
    let lasts_s = lasts_s.ok_or_else(|| fields.missing("expireSecond"))?;
    fields.whole("flag", 0..=255)?;
    let own = fields.text("customerBindId", 64)?;
    if own
        .as_ref()
        .is_some_and(|own| desk.table.own(own).is_some())
    {
        return Err(Refused::new("1004", "customerBindId is used already"));
    }
    let row = Row {
        a: fields.need_number("phoneA", Notation::International)?,
        b: fields.need_number("phoneB", Notation::International)?,
        own_ids: own.into_iter().collect(),
        since_ms: ask.now_ms,
        expires_ms: ask.until(lasts_s),
        ..Row::default()
    };
    if row.a.starts_with("+86") != row.b.starts_with("+86") {
        return Err(fields.bad("phoneB", "is of another country"));
    }
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let data = json!({"bindId": id, "did": Notation::International.write(&row.x)});
    let entry = Entry::of(ask.op, &id, &row, true);
    Ok(ok(desk, &data, entry))
}

fn unbind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("bindId customerBindId")?;
    let own = fields.text("customerBindId", 64)?;
    let id = match (fields.text("bindId", 64)?, own) {
        (Some(id), _) => Some(id),
        (None, Some(own)) => desk.table.own(&own).map(|(id, _)| id.to_owned()),
        (None, None) => return Err(fields.missing("bindId or customerBindId")),
    };
    let ended = id.and_then(|id| Some((desk.end(&id)?, id)));
    let (row, id) = ended.ok_or_else(|| Refused::new("1005", "binding does not exist"))?;
    let entry = Entry::of(ask.op, &id, &row, true);
    Ok(ok(desk, &Value::Null, entry))
}
