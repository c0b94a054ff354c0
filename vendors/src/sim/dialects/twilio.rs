//! Twilio Proxy: a session of two participants, each of whom sees a proxy number in place of the
//! other. The first participant is A, the number A calls is X, the second one is B.
//!
//! | what the vendor leaves open | here |
//! |---|---|
//! | codes | 20001 parameter, 20003 credentials, 20404 not there, 20429 throttled, 20500 failed |
//! | name of a session is taken, also by a closed one | 80103, HTTP 400 |
//! | no free proxy number for a participant | 80207, HTTP 400 |
//! | participant's number is in another session with this proxy number | 80604, HTTP 400 |
//! | proxy number is not of the service | 80105, HTTP 400 |
//! | proxy number of the second participant, if none is named | the first one's |
//! | a session by its name in place of its sid | everywhere |
//! | a closed session closed again | 200, nothing changes |
//! | `Ttl` | from the creation on; a call does not start it again |

use serde_json::{Map, Value, json};

use super::super::common::pairs::pairs;
use super::super::common::times;
use super::super::common::{
    Answer, Ask, Call, Clash, Codes, Conflict, Desk, Dialect, Entry, Fields, Notation, Refused,
    Row, Scope, hex_id,
};
use super::plivo::basic;

/// See the module.
pub static DIALECT: Dialect = Dialect {
    word: "twilio",
    scope: Scope::User,
    skew_s: 0,
    id: |run, serial| format!("KC{}", hex_id(run, serial)),
    throttled: ("20429", "too many requests"),
    internal: ("20500", "internal server error"),
    unknown: ("20404", "the requested resource was not found"),
    names: ["", "ProxyIdentifier", "", ""],
    op,
    authenticate,
    serve,
    refuse,
};

const CODES: Codes = Codes::all("20001");
const NAME_TAKEN: &str = "80103";
const NOT_OURS: &str = "80105";
const NONE_FREE: &str = "80207";
const IN_USE: &str = "80604";
const TTL_MAX_S: u64 = 31_536_000;

/// Service, session and participant of a path; what is not there is empty.
#[derive(Clone, Copy, Debug)]
struct Path<'a> {
    service: &'a str,
    session: &'a str,
    participants: bool,
}

fn path<'a>(call: &Call<'a>) -> Option<Path<'a>> {
    let rest = call.path.strip_prefix("/v1/Services/")?;
    let parts: Vec<&str> = rest.split('/').collect();
    let (service, session, participants) = match parts[..] {
        [service, "Sessions"] => (service, "", false),
        [service, "Sessions", session] => (service, session, false),
        [service, "Sessions", session, "Participants"] => (service, session, true),
        _ => return None,
    };
    Some(Path {
        service,
        session,
        participants,
    })
}

fn op(call: &Call) -> &'static str {
    let Some(path) = path(call) else {
        return "other";
    };
    match (call.method, path.session.is_empty(), path.participants) {
        ("POST", true, _) => "bind",
        ("POST", false, true) => "modify",
        ("POST", false, false) => {
            let form = std::str::from_utf8(call.body).unwrap_or("");
            if form.split('&').any(|item| item == "Status=closed") {
                "unbind"
            } else {
                "modify"
            }
        }
        ("DELETE", false, false) => "unbind",
        ("GET", false, _) => "query",
        _ => "other",
    }
}

fn authenticate(desk: &mut Desk, call: &Call, _: u64) -> Result<(), Refused> {
    if !basic(desk, call) {
        return Err(Refused::new(
            "20003",
            "authentication error - invalid username",
        ));
    }
    let pool = &desk.credentials.pool;
    if !pool.is_empty() && path(call).is_some_and(|path| path.service != pool) {
        return Err(Refused::new("20404", "the requested service was not found"));
    }
    Ok(())
}

fn serve(desk: &mut Desk, ask: &Ask) -> Result<Answer, Refused> {
    let path = path(ask.call).ok_or_else(gone)?;
    match (ask.op, ask.call.method) {
        ("bind", _) => create(desk, ask, path.service),
        ("modify", _) if path.participants => add_participant(desk, ask, path),
        ("modify", _) => update(desk, ask, path),
        ("unbind", "DELETE") => delete(desk, ask, path),
        ("unbind", _) => close(desk, ask, path),
        _ if path.participants => list_participants(desk, ask, path),
        _ => fetch(desk, ask, path),
    }
}

fn gone() -> Refused {
    Refused::new("20404", "the requested resource was not found")
}

/// The form, whose `Participants` may be there many times, and those.
fn form(call: &Call) -> Result<(Fields, Vec<Fields>), Refused> {
    let bad = |what: &'static str| Refused::new(CODES.bad, what);
    let text = std::str::from_utf8(call.body).ok().and_then(pairs);
    let mut map = Map::new();
    let mut participants = Vec::new();
    for (name, value) in text.ok_or_else(|| bad("body is no form"))? {
        if name == "Participants" {
            let participant = Fields::object(value.as_bytes(), CODES)?;
            participant.only("Identifier ProxyIdentifier FriendlyName ProxyIdentifierSid")?;
            participants.push(participant);
        } else if map.insert(name, Value::String(value)).is_some() {
            return Err(bad("a parameter is there twice"));
        }
    }
    if participants.len() > 2 {
        return Err(bad("a session has two participants at most"));
    }
    Ok((Fields::of(map, CODES), participants))
}

/// Unix milliseconds when a session ends by itself.
fn expiry(fields: &Fields, since_ms: u64) -> Result<Option<u64>, Refused> {
    if let Some(date) = fields.text("DateExpiry", 32)? {
        let at_s = times::read(&date, times::ISO);
        let at_s = at_s.ok_or_else(|| fields.bad("DateExpiry", "is no UTC time"))?;
        return Ok(Some(at_s * 1000));
    }
    let ttl_s = fields.digits("Ttl", 0..=TTL_MAX_S)?.unwrap_or(0);
    Ok((ttl_s > 0).then(|| since_ms + ttl_s * 1000))
}

/// Puts a participant into the first free place of a session.
fn join(row: &mut Row, participant: &Fields) -> Result<(), Refused> {
    let number = participant.need_number("Identifier", Notation::Plus)?;
    let proxy = participant.number("ProxyIdentifier", Notation::Plus)?;
    if row.a.is_empty() {
        row.a = number;
        row.x = proxy.unwrap_or_default();
    } else if row.b.is_empty() {
        row.b = number;
        row.note["proxy_b"] = proxy.into();
    } else {
        return Err(Refused::new(
            CODES.bad,
            "the session has two participants already",
        ));
    }
    Ok(())
}

fn clash(clash: Clash) -> Refused {
    match clash {
        Clash::NoneFree | Clash::Table(Conflict::Full) => Refused::new(
            NONE_FREE,
            "no proxy number is available for the participant",
        ),
        Clash::Table(_) => Refused::new(
            IN_USE,
            "the participant is in another session with this proxy number",
        ),
        Clash::NotOurs => Refused::new(NOT_OURS, "the proxy number is not of this service"),
        Clash::Alike => Refused::new(CODES.bad, "participants must differ"),
    }
}

fn create(desk: &mut Desk, ask: &Ask, service: &str) -> Result<Answer, Refused> {
    let (fields, participants) = form(ask.call)?;
    fields.only("UniqueName Ttl DateExpiry Mode Status")?;
    fields.choice("Mode", "message-only voice-only voice-and-message")?;
    fields.choice("Status", "open in-progress")?;
    let name = fields.text("UniqueName", 191)?;
    if let Some(name) = &name
        && find(desk, name).is_some()
    {
        return Err(Refused::new(
            NAME_TAKEN,
            "session UniqueName must be unique",
        ));
    }
    let mut row = Row {
        own_ids: name.into_iter().collect(),
        since_ms: ask.now_ms,
        expires_ms: expiry(&fields, ask.now_ms)?,
        note: json!({"mode": fields.text("Mode", 32)?, "ttl": fields.digits("Ttl", 0..=TTL_MAX_S)?}),
        ..Row::default()
    };
    for participant in &participants {
        join(&mut row, participant)?;
    }
    let (id, row) = if row.a.is_empty() {
        let inserted = desk.table.insert(row.clone());
        (inserted.map_err(|why| clash(Clash::Table(why)))?, row)
    } else {
        desk.bind(row, ask.other_x).map_err(clash)?
    };
    let entry = Entry::of(ask.op, &id, &row, true);
    Ok(answered(
        201,
        &session(desk, service, &id, &row, "open"),
        entry,
    ))
}

/// A session by its sid or name: open, or closed and not deleted.
fn find(desk: &Desk, key: &str) -> Option<(String, Row, &'static str)> {
    let by_sid = desk.table.get(key).map(|row| (key.to_owned(), row.clone()));
    let by_name = || {
        let found = desk.table.own(key);
        found.map(|(id, row)| (id.to_owned(), row.clone()))
    };
    if let Some((id, row)) = by_sid.or_else(by_name) {
        return Some((id, row, "open"));
    }
    let named = |id: &str, row: &Row| id == key || row.own_ids.iter().any(|own| own == key);
    desk.once(named).map(|(id, row)| (id, row, "closed"))
}

fn open(desk: &Desk, key: &str) -> Result<(String, Row), Refused> {
    match find(desk, key) {
        Some((id, row, "open")) => Ok((id, row)),
        Some(_) => Err(Refused::new(CODES.bad, "the session is closed")),
        None => Err(gone()),
    }
}

fn add_participant(desk: &mut Desk, ask: &Ask, path: Path) -> Result<Answer, Refused> {
    let (fields, _) = form(ask.call)?;
    fields.only("Identifier FriendlyName ProxyIdentifier ProxyIdentifierSid")?;
    let (id, mut row) = open(desk, path.session)?;
    join(&mut row, &fields)?;
    if row.x.is_empty() || ask.other_x.is_some() {
        let other = ask.other_x.map(str::to_owned);
        let mut listed = desk.credentials.listed_x();
        let free = |x: &String| {
            let wanted = Row {
                x: x.clone(),
                ..row.clone()
            };
            desk.table.refusal(&wanted, Some(&id)).is_none()
        };
        let x = other.or_else(|| listed.find(free));
        row.x = x.ok_or_else(|| clash(Clash::NoneFree))?;
        desk.table
            .replace(&id, row.clone())
            .map_err(|why| clash(Clash::Table(why)))?;
    } else {
        desk.change(&id, row.clone()).map_err(clash)?;
    }
    let all = participants(desk, path.service, &id, &row);
    let entry = Entry::of(ask.op, &id, &row, true);
    Ok(answered(201, all.last().unwrap_or(&Value::Null), entry))
}

fn update(desk: &mut Desk, ask: &Ask, path: Path) -> Result<Answer, Refused> {
    let (fields, _) = form(ask.call)?;
    fields.only("Ttl DateExpiry Status")?;
    fields.choice("Status", "open in-progress")?;
    let (id, mut row) = open(desk, path.session)?;
    row.expires_ms = expiry(&fields, ask.now_ms)?;
    row.note["ttl"] = fields.digits("Ttl", 0..=TTL_MAX_S)?.into();
    desk.table
        .replace(&id, row.clone())
        .map_err(|why| clash(Clash::Table(why)))?;
    let entry = Entry::of(ask.op, &id, &row, true);
    Ok(answered(
        200,
        &session(desk, path.service, &id, &row, "open"),
        entry,
    ))
}

fn close(desk: &mut Desk, ask: &Ask, path: Path) -> Result<Answer, Refused> {
    let (id, row, status) = find(desk, path.session).ok_or_else(gone)?;
    let live = status == "open";
    if live {
        desk.end(&id);
    }
    let entry = Entry::of(ask.op, &id, &row, live);
    Ok(answered(
        200,
        &session(desk, path.service, &id, &row, "closed"),
        entry,
    ))
}

fn delete(desk: &mut Desk, ask: &Ask, path: Path) -> Result<Answer, Refused> {
    let (id, row, status) = find(desk, path.session).ok_or_else(gone)?;
    desk.table.remove(&id);
    desk.ended.retain(|(known, _)| *known != id);
    Ok(Answer {
        status: 204,
        code: "204".into(),
        entries: vec![Entry::of(ask.op, &id, &row, status == "open")],
        ..Answer::default()
    })
}

fn fetch(desk: &mut Desk, ask: &Ask, path: Path) -> Result<Answer, Refused> {
    let (id, row, status) = find(desk, path.session).ok_or_else(gone)?;
    let entry = Entry::of(ask.op, &id, &row, false);
    Ok(answered(
        200,
        &session(desk, path.service, &id, &row, status),
        entry,
    ))
}

fn list_participants(desk: &mut Desk, ask: &Ask, path: Path) -> Result<Answer, Refused> {
    let (id, row, _) = find(desk, path.session).ok_or_else(gone)?;
    let all = participants(desk, path.service, &id, &row);
    let url = format!("/v1/Services/{}/Sessions/{id}/Participants", path.service);
    let body = json!({
        "participants": all,
        "meta": {
            "key": "participants",
            "page": 0,
            "page_size": 50,
            "url": url,
            "first_page_url": url,
            "next_page_url": null,
            "previous_page_url": null,
        },
    });
    let entry = Entry::of(ask.op, &id, &row, false);
    Ok(answered(200, &body, entry))
}

fn answered(status: u16, body: &Value, entry: Entry) -> Answer {
    Answer {
        status,
        code: status.to_string(),
        body: body.to_string(),
        entries: vec![entry],
        ..Answer::default()
    }
}

fn session(desk: &Desk, service: &str, id: &str, row: &Row, status: &str) -> Value {
    let at = |ms: u64| times::write(ms / 1000, times::ISO);
    let url = format!("/v1/Services/{service}/Sessions/{id}");
    json!({
        "sid": id,
        "service_sid": service,
        "account_sid": desk.credentials.app_key,
        "unique_name": row.own_ids.first(),
        "status": status,
        "closed_reason": (status == "closed").then_some("api"),
        "ttl": row.note["ttl"],
        "mode": row.note["mode"],
        "date_created": at(row.since_ms),
        "date_updated": at(row.since_ms),
        "date_started": at(row.since_ms),
        "date_ended": null,
        "date_last_interaction": null,
        "date_expiry": row.expires_ms.map(at),
        "url": url,
        "links": {"participants": format!("{url}/Participants")},
    })
}

fn participants(desk: &Desk, service: &str, id: &str, row: &Row) -> Vec<Value> {
    let proxy_b = row.note["proxy_b"].as_str().unwrap_or(&row.x);
    let both = [(&row.a, row.x.as_str()), (&row.b, proxy_b)]
        .into_iter()
        .enumerate();
    let there = both.filter(|(_, (number, _))| !number.is_empty());
    there
        .map(|(n, (number, proxy))| {
            let sid = format!("KP{n}{}", &id[3..]);
            json!({
                "sid": sid,
                "session_sid": id,
                "service_sid": service,
                "account_sid": desk.credentials.app_key,
                "identifier": number,
                "proxy_identifier": proxy,
                "proxy_identifier_sid": null,
                "friendly_name": null,
                "date_created": times::write(row.since_ms / 1000, times::ISO),
                "date_updated": times::write(row.since_ms / 1000, times::ISO),
                "date_deleted": null,
                "url": format!("/v1/Services/{service}/Sessions/{id}/Participants/{sid}"),
                "links": {},
            })
        })
        .collect()
}

fn refuse(_: &mut Desk, _: &Call, refused: &Refused) -> Answer {
    let status = match &*refused.code {
        "20003" => 401,
        "20404" => 404,
        "20429" => 429,
        "20500" => 500,
        _ => 400,
    };
    let body = json!({
        "code": refused.code.parse::<u64>().unwrap_or(0),
        "message": refused.text,
        "more_info": format!("errors/{}", refused.code),
        "status": status,
    });
    Answer {
        status,
        body: body.to_string(),
        ..Answer::default()
    }
}
