//! Mixcom's virtual numbers in AXB: there is no binding id, so the three numbers are the handle.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | kind of the parameters | JSON or a form |
//! | `sign` | MD5 in hex, of either case, of appkey, secret and time |
//! | credentials refused, throttled | `E300101`, `E300102` |
//! | a bind's codes | `E300202` parameter, `E300201` number, `E300204` X not yours, `E300206` A is B, `E300208` X busy, `E300209` failed, `E300210` none free |
//! | X absent | the platform chooses, and answers `number` |
//!
//! `code` is the integer 200 in success and a text otherwise, under HTTP 200.

use serde_json::{Value, json};

use super::super::common::crypt::{Hash, digest};
use super::super::common::gate::seconds;
use super::super::common::{
    Answer, Ask, Call, Claim, Clashes, Codes, Desk, Dialect, Entry, Fields, Gate, Notation,
    Refused, Row, Scope, hex_id, served,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "mixcom",
    scope: Scope::User,
    skew_s: 600,
    id: hex_id,
    throttled: ("E300102", "too many requests"),
    internal: ("E300209", "unknown error"),
    unknown: ("E300101", "path is unknown"),
    names: ["aparty", "number", "bparty", ""],
    op,
    authenticate,
    serve,
    refuse,
};

const GATE: Gate = Gate::of("E300101", ["appkey", "time", "sign"]);
const BIND: Codes = Codes {
    bad: "E300202",
    missing: "E300202",
    number: "E300201",
};
const UNBIND: Codes = Codes {
    bad: "E300302",
    missing: "E300302",
    number: "E300301",
};
const CLASHES: Clashes = Clashes {
    same: "E300208",
    busy: "E300208",
    none_free: "E300210",
    unknown_x: "E300204",
    alike: "E300206",
};

fn op(call: &Call) -> &'static str {
    match (call.method, call.path) {
        ("POST", "/virtual/axbBind") => "bind",
        ("POST", "/virtual/unAxbBind") => "unbind",
        _ => "other",
    }
}

fn fields(call: &Call, codes: Codes) -> Result<Fields, Refused> {
    let form = call.header("content-type").unwrap_or("");
    if form.starts_with("application/x-www-form-urlencoded") {
        let text = std::str::from_utf8(call.body);
        let text = text.map_err(|_| Refused::new(codes.bad, "body is no text"))?;
        return Fields::form(text, codes);
    }
    Fields::json(call, codes)
}

fn authenticate(desk: &mut Desk, call: &Call, now_ms: u64) -> Result<(), Refused> {
    let fields = fields(call, BIND)?;
    let (key, at) = (fields.plain("appkey"), fields.plain("time"));
    let claim = Claim {
        key: &key,
        at_ms: seconds(&at),
        sign: &fields.plain("sign").to_lowercase(),
    };
    GATE.pass(desk, now_ms, claim, |secret| {
        digest(Hash::Md5, format!("{key}{secret}{at}"))
    })
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    if ask.op == "bind" {
        bind(desk, ask, &fields(ask.call, BIND)?)
    } else {
        unbind(desk, ask, &fields(ask.call, UNBIND)?)
    }
}

fn ok(data: &Value, entry: Entry) -> Answer {
    let body = json!({"success": true, "code": 200, "message": "success", "data": data});
    served("200", &body, entry)
}

/// A and B may be landlines without the zero of their area code.
const PARTY: Notation = Notation::Zeroless;

fn bind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only(
        "appkey time sign number aparty bparty enddate maxduration recording dicrection userdata \
         audioa audiob",
    )?;
    fields.count("maxduration", 0..=1440)?;
    fields.choice("recording", "0 1")?;
    fields.text("userdata", 200)?;
    let direction = fields.count("dicrection", 0..=2)?.unwrap_or(0);
    let end_s = fields.count("enddate", ask.now_ms / 1000 + 1..=9_999_999_999)?;
    let end_s = end_s.ok_or_else(|| fields.missing("enddate"))?;
    let row = Row {
        a: fields.need_number("aparty", PARTY)?,
        x: fields
            .number("number", Notation::National)?
            .unwrap_or_default(),
        b: fields.need_number("bparty", PARTY)?,
        direction: u8::try_from(direction).unwrap_or(0),
        since_ms: ask.now_ms,
        expires_ms: Some(end_s * 1000),
        ..Row::default()
    };
    let (id, row) = CLASHES.bind(desk, row, ask)?;
    let data = json!({"number": Notation::National.write(&row.x)});
    Ok(ok(&data, Entry::of(ask.op, &id, &row, true)))
}

fn unbind(desk: &mut Desk, ask: &Ask, fields: &Fields) -> Result<Answer, Refused> {
    fields.only("appkey time sign number aparty bparty")?;
    let a = fields.need_number("aparty", PARTY)?;
    let x = fields.need_number("number", Notation::National)?;
    let b = fields.need_number("bparty", PARTY)?;
    if !desk.credentials.owns(&x) {
        return Err(Refused::new("E300304", "number X is not yours"));
    }
    if a == b {
        return Err(Refused::new("E300306", "numbers must differ"));
    }
    let found = desk.on_x(&x, |row| row.a == a && row.b == b);
    let gone = || Refused::new("E300308", "binding does not exist, nothing to do");
    let (id, row) = found.ok_or_else(gone)?;
    desk.end(&id);
    Ok(ok(&Value::Null, Entry::of(ask.op, &id, &row, true)))
}

fn refuse(_: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    let body = json!({"success": false, "code": refused.code, "message": refused.text});
    Answer {
        status: 200,
        body: body.to_string(),
        ..Answer::default()
    }
}
