//! Plivo's number masking sessions: the platform chooses X, and asking twice makes two sessions.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | names in the answer of a create | `session_uuid` and `virtual_number` on the top level, the whole session beside them |
//! | shape of a list | `meta` with `total_count`, the sessions in `objects` |
//! | a session that does not exist | 404 |
//! | throttled, failed | 429, 500, with `error` |
//! | no number is free | 400, `error` `no virtual number is available` |
//! | lifetime without `session_expiry`, and 0 | for ever |
//! | cool-off of X | none |
//!
//! The code in the log is the HTTP status.

use serde_json::{Map, Value, json};

use super::super::common::crypt::from_base64;
use super::super::common::desk::ended_word;
use super::super::common::times;
use super::super::common::{
    Answer, Ask, Call, Clash, Codes, Desk, Dialect, Entry, Fields, Notation, Refused, Row, Scope,
    YEAR_S, uuid_id,
};

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "plivo",
    scope: Scope::User,
    skew_s: 0,
    id: uuid_id,
    throttled: ("429", "too many requests"),
    internal: ("500", "internal server error"),
    unknown: ("404", "the resource does not exist"),
    names: [
        "first_party",
        "virtual_number",
        "second_party",
        "session_uuid",
    ],
    op,
    authenticate,
    serve,
    refuse,
};

const CODES: Codes = Codes::all("400");

/// The account and the id behind `Masking/Session/`, which every path ends with a slash.
fn parts<'a>(call: &Call<'a>) -> Option<(&'a str, Option<&'a str>)> {
    let rest = call.path.strip_prefix("/v1/Account/")?;
    let (account, rest) = rest.split_once("/Masking/Session/")?;
    if rest.is_empty() {
        return Some((account, None));
    }
    let id = rest.strip_suffix('/')?;
    (!id.contains('/')).then_some((account, Some(id)))
}

fn op(call: &Call) -> &'static str {
    match (parts(call), call.method) {
        (Some((_, None)), "POST") => "bind",
        (Some((_, Some(_))), "POST") => "modify",
        (Some((_, Some(_))), "DELETE") => "unbind",
        (Some(_), "GET") => "query",
        _ => "other",
    }
}

/// Whether HTTP Basic names key and secret.
pub(super) fn basic(desk: &Desk, call: &Call) -> bool {
    let given = call
        .header("authorization")
        .and_then(|text| text.strip_prefix("Basic "));
    let wanted = format!(
        "{}:{}",
        desk.credentials.app_key, desk.credentials.app_secret
    );
    given
        .and_then(from_base64)
        .is_some_and(|given| given == wanted)
}

fn authenticate(desk: &mut Desk, call: &Call, _: u64) -> Result<(), Refused> {
    let account = parts(call).map(|(account, _)| account);
    if !basic(desk, call) || account != Some(desk.credentials.app_key.as_str()) {
        return Err(Refused::new(
            "401",
            "could not verify your access level for that URL",
        ));
    }
    Ok(())
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let id = parts(ask.call).and_then(|(_, id)| id);
    match (ask.op, id) {
        ("bind", _) => create(desk, ask),
        ("modify", Some(id)) => update(desk, ask, id),
        ("unbind", Some(id)) => delete(desk, ask, id),
        (_, Some(id)) => get(desk, ask, id),
        (_, None) => list(desk, ask),
    }
}

fn ok(desk: &mut Desk, status: u16, mut body: Value, entry: Entry) -> Answer {
    body["api_id"] = desk.request_id().into();
    Answer {
        status,
        code: status.to_string(),
        body: body.to_string(),
        entries: vec![entry],
        ..Answer::default()
    }
}

fn session(id: &str, row: &Row, status: &str) -> Value {
    let at = |ms: u64| times::write(ms / 1000, times::PLAIN);
    json!({
        "session_uuid": id,
        "first_party": Notation::International.write(&row.a),
        "second_party": Notation::International.write(&row.b),
        "virtual_number": Notation::International.write(&row.x),
        "status": status,
        "session_expiry": row.expires_ms.map_or(0, |ms| (ms - row.since_ms) / 1000),
        "created_time": at(row.since_ms),
        "expiry_time": row.expires_ms.map(at),
    })
}

fn clash(clash: Clash) -> Refused {
    let text = match clash {
        Clash::NoneFree => "no virtual number is available",
        Clash::Alike => "first_party and second_party must differ",
        _ => "virtual number is not available",
    };
    Refused::new("400", text)
}

fn gone() -> Refused {
    Refused::new("404", "masking session does not exist")
}

const OPTIONS: &str = "first_party second_party session_expiry call_time_limit record \
    record_file_format recording_callback_url initiate_call_to_first_party callback_url \
    callback_method ring_timeout first_party_play_url second_party_play_url \
    recording_callback_method is_pin_authentication_required generate_pin generate_pin_length \
    first_party_pin second_party_pin pin_prompt_play pin_retry pin_retry_wait incorrect_pin_play \
    unknown_caller_play subaccount geomatch create_session_with_single_party \
    virtual_number_cooloff_period force_pin_authentication session_uuid";

fn create(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.only(OPTIONS)?;
    let lasts_s = fields.whole("session_expiry", 0..=YEAR_S)?.unwrap_or(0);
    fields.whole("call_time_limit", 0..=86_400)?;
    fields.whole("ring_timeout", 0..=600)?;
    fields.choice("record", "true false")?;
    let row = Row {
        a: fields.need_number("first_party", Notation::International)?,
        b: fields.need_number("second_party", Notation::International)?,
        since_ms: ask.now_ms,
        expires_ms: ask.until(lasts_s),
        ..Row::default()
    };
    let (id, row) = desk.bind(row, ask.other_x).map_err(clash)?;
    let body = json!({
        "message": "Session created",
        "session_uuid": id,
        "virtual_number": Notation::International.write(&row.x),
        "session": session(&id, &row, "active"),
    });
    let entry = Entry::of(ask.op, &id, &row, true);
    Ok(ok(desk, 201, body, entry))
}

fn update(desk: &mut Desk, ask: &Ask, id: &str) -> Result<Answer, Refused> {
    let fields = Fields::json(ask.call, CODES)?;
    fields.only(OPTIONS)?;
    let mut row = desk.table.get(id).cloned().ok_or_else(gone)?;
    if let Some(a) = fields.number("first_party", Notation::International)? {
        row.a = a;
    }
    if let Some(b) = fields.number("second_party", Notation::International)? {
        row.b = b;
    }
    // The lifetime starts again at the change.
    if let Some(lasts_s) = fields.whole("session_expiry", 0..=YEAR_S)? {
        row.expires_ms = ask.until(lasts_s);
    }
    desk.change(id, row.clone()).map_err(clash)?;
    let body = json!({
        "message": "Session updated",
        "session": session(id, &row, "active"),
    });
    let entry = Entry::of(ask.op, id, &row, true);
    Ok(ok(desk, 202, body, entry))
}

fn delete(desk: &mut Desk, ask: &Ask, id: &str) -> Result<Answer, Refused> {
    let fields = Fields::object(ask.call.body, CODES)?;
    fields.only("session_uuid")?;
    if fields
        .text("session_uuid", 64)?
        .is_some_and(|named| named != id)
    {
        return Err(fields.bad("session_uuid", "is not the path's"));
    }
    let row = desk.end(id).ok_or_else(gone)?;
    Ok(Answer {
        status: 204,
        code: "204".into(),
        entries: vec![Entry::of(ended_word(&row), id, &row, true)],
        ..Answer::default()
    })
}

fn get(desk: &mut Desk, ask: &Ask, id: &str) -> Result<Answer, Refused> {
    let live = desk.table.get(id).map(|row| (row.clone(), "active"));
    let ended = || {
        desk.once(|known, _| known == id)
            .map(|(_, row)| (row, "expired"))
    };
    let (row, status) = live.or_else(ended).ok_or_else(gone)?;
    let entry = Entry::of(ask.op, id, &row, false);
    Ok(ok(
        desk,
        200,
        json!({"response": session(id, &row, status)}),
        entry,
    ))
}

fn list(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let fields = Fields::form(ask.call.query, CODES)?;
    let number = |name| fields.number(name, Notation::International);
    let (a, b, x) = (
        number("first_party")?,
        number("second_party")?,
        number("virtual_number")?,
    );
    let status = fields
        .text("status", 32)?
        .unwrap_or_else(|| "active".into());
    let limit = fields.digits("limit", 1..=20)?.unwrap_or(20);
    let offset = fields.digits("offset", 0..=1_000_000)?.unwrap_or(0);
    let fits = |row: &Row| {
        a.as_ref().is_none_or(|a| row.a == *a)
            && x.as_ref().is_none_or(|x| row.x == *x)
            && b.as_ref().is_none_or(|b| row.b == *b)
    };
    let rows: Vec<(&str, &Row)> = if status == "active" {
        desk.table.all()
    } else {
        desk.ended
            .iter()
            .map(|(id, row)| (id.as_str(), row))
            .collect()
    };
    let found: Vec<_> = rows.into_iter().filter(|(_, row)| fits(row)).collect();
    let mut entry = Entry {
        op: ask.op,
        ..Entry::default()
    };
    if let Some((id, row)) = found.first() {
        entry = Entry::of(ask.op, id, row, false);
    }
    let page = found
        .iter()
        .skip(usize::try_from(offset).unwrap_or(usize::MAX));
    let page = page.take(usize::try_from(limit).unwrap_or(0));
    let objects: Vec<_> = page.map(|(id, row)| session(id, row, &status)).collect();
    let mut body = Map::new();
    let meta = json!({"limit": limit, "offset": offset, "total_count": found.len()});
    body.insert("meta".into(), meta);
    body.insert("objects".into(), objects.into());
    Ok(ok(desk, 200, body.into(), entry))
}

fn refuse(desk: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    let body = json!({"api_id": desk.request_id(), "error": refused.text});
    Answer {
        status: refused
            .code
            .parse()
            .ok()
            .filter(|code| (400..600).contains(code))
            .unwrap_or(400),
        body: body.to_string(),
        ..Answer::default()
    }
}
