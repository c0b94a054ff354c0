//! The tables that operators edit.

use super::auth::Actor;
use super::params::{bytes, list as page, object, request_id};
use super::problem::Problem;
use super::{SEED_MAX, Shared};
use crate::dto::{self, Dto};
use crate::rows::{self, StateNames};
use crate::seed as seeds;
use crate::warnings::{self, Warner};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};
use tandem_cluster::command::{Command, Put, Refusal, Remove, Reply};
use tandem_cluster::entity::{Entity, Id, Row, Table};
use tandem_cluster::state::State;

/// Times that a change is tried again when another edit of the same row comes between.
const RETRIES: u64 = 5;

type Answer = Result<HttpResponse, Problem>;

pub async fn list(
    request: HttpRequest,
    path: web::Path<String>,
    shared: web::Data<Shared>,
) -> Answer {
    let table = table(&path)?;
    let state = shared.switch.state();
    let warner = Warner::new(shared.switch.types(), &state);
    let rows = rows::ids(&state, table).map(|id| (u64::from(id), id));
    let view = |id: Id| {
        state
            .row(table, id)
            .map_or(Value::Null, |row| rows::warned(&state, &warner, &row))
    };
    Ok(HttpResponse::Ok().json(page(&request, rows, view)?))
}

pub async fn show(path: web::Path<(String, String)>, shared: web::Data<Shared>) -> Answer {
    let (table, state) = (table(&path.0)?, shared.switch.state());
    let row = located(&state, table, &path.1)?;
    let warner = Warner::new(shared.switch.types(), &state);
    Ok(HttpResponse::Ok().json(rows::warned(&state, &warner, &row)))
}

pub async fn add(
    request: HttpRequest,
    path: web::Path<String>,
    shared: web::Data<Shared>,
    actor: Actor,
    payload: web::Payload,
) -> Answer {
    let table = table(&path)?;
    let mut fields = object(payload).await?;
    let state = shared.switch.state();
    if rows::writable(&state, table, &mut fields)?.is_some() {
        return Err(dto::Fault::new("version", "a new row has none").into());
    }
    let row = Dto::read(table, &fields)?;
    let entity = row.entity(&StateNames(&state), None)?;
    let request = request_id(&request)?;
    let put = Put {
        request,
        actor: actor.0,
        id: None,
        version: None,
        memo: row.memo().to_owned(),
        entity,
    };
    let body = put_row(&shared, put, table, &row.to_string()).await?;
    let key: String = row
        .key()
        .split('/')
        .map(encoded)
        .collect::<Vec<_>>()
        .join("/");
    let location = format!("/api/v1/{}/{key}", dto::path(table));
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .json(body))
}

pub async fn replace(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    shared: web::Data<Shared>,
    actor: Actor,
    payload: web::Payload,
) -> Answer {
    let table = table(&path.0)?;
    let mut fields = object(payload).await?;
    let state = shared.switch.state();
    let old = located(&state, table, &path.1)?;
    let version = rows::writable(&state, table, &mut fields)?;
    let row = Dto::read(table, &fields)?;
    let entity = row.entity(&StateNames(&state), Some(&old.entity))?;
    let request = request_id(&request)?;
    let put = Put {
        request,
        actor: actor.0,
        id: Some(old.id),
        version,
        memo: row.memo().to_owned(),
        entity,
    };
    Ok(HttpResponse::Ok().json(put_row(&shared, put, table, &thing(table, &path.1)).await?))
}

pub async fn change(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    shared: web::Data<Shared>,
    actor: Actor,
    payload: web::Payload,
) -> Answer {
    let table = table(&path.0)?;
    let changes = object(payload).await?;
    let request = request_id(&request)?;
    let mut tries = 0;
    loop {
        let state = shared.switch.state();
        let old = located(&state, table, &path.1)?;
        let mut changes = changes.clone();
        let version = rows::writable(&state, table, &mut changes)?;
        let mut fields = Dto::of(&old.entity, &old.memo, &StateNames(&state)).fields();
        merge(&mut fields, changes);
        let row = Dto::read(table, &fields)?;
        let entity = row.entity(&StateNames(&state), Some(&old.entity))?;
        let put = Put {
            // A refused edit is remembered by its id as well, so the next try is another edit.
            request: request.wrapping_add(tries),
            actor: actor.0.clone(),
            id: Some(old.id),
            // The fields that were not named are those of the version just read.
            version: version.or(Some(old.version)),
            memo: row.memo().to_owned(),
            entity,
        };
        match put_row(&shared, put, table, &thing(table, &path.1)).await {
            Err(problem)
                if problem.code == "version_conflict" && version.is_none() && tries < RETRIES =>
            {
                tries += 1
            }
            Err(problem) => return Err(problem),
            Ok(body) => return Ok(HttpResponse::Ok().json(body)),
        }
    }
}

pub async fn remove(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    shared: web::Data<Shared>,
    actor: Actor,
) -> Answer {
    let table = table(&path.0)?;
    let mut params = super::params::Params::of(&request)?;
    let version = params.read("version")?;
    params.done()?;
    let id = located(&shared.switch.state(), table, &path.1)?.id;
    let remove = Remove {
        request: request_id(&request)?,
        actor: actor.0,
        table,
        id,
        version,
    };
    match shared.switch.propose(Command::Remove(remove)).await? {
        Reply::Refused(refusal) => Err(Problem::refused(refusal, &thing(table, &path.1))),
        _ => Ok(HttpResponse::build(StatusCode::NO_CONTENT).finish()),
    }
}

/// A whole seed file; see [`crate::seed`].
pub async fn seed(shared: web::Data<Shared>, actor: Actor, payload: web::Payload) -> Answer {
    let bytes = bytes(payload, SEED_MAX).await?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Problem::bad_request("the seed file is not UTF-8"))?;
    let seed = seeds::parse(text).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().take(20).map(ToString::to_string).collect();
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            lines.join("; "),
        )
    })?;
    Ok(HttpResponse::Ok().json(seeds::apply(&*shared.switch, &actor.0, &seed).await))
}

/// Proposes a row that can work and answers it as it is then.
async fn put_row(shared: &Shared, put: Put, table: Table, thing: &str) -> Result<Value, Problem> {
    warnings::refuse(shared.switch.types(), &put.entity)?;
    match shared.switch.propose(Command::Put(put)).await? {
        Reply::Row { id, version } => {
            let state = shared.switch.state();
            let warner = Warner::new(shared.switch.types(), &state);
            // The answer to a repeated request may name a row that is gone meanwhile.
            let gone = json!({"id": id, "version": version});
            Ok(state
                .row(table, id)
                .map_or(gone, |row| rows::warned(&state, &warner, &row)))
        }
        Reply::Refused(Refusal::NotFound) => Err(Problem::not_found(format!("no {thing}"))),
        Reply::Refused(refusal) => Err(Problem::refused(refusal, thing)),
        other => Err(Problem::internal(format!(
            "unexpected reply {other:?} to {thing}"
        ))),
    }
}

/// JSON merge patch (RFC 7396): null removes, so that the default comes back.
fn merge(fields: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (name, change) in changes {
        match change {
            Value::Null => {
                fields.remove(&name);
            }
            Value::Object(parts) => {
                let entry = fields
                    .entry(name)
                    .or_insert_with(|| Value::Object(Map::new()));
                if !entry.is_object() {
                    *entry = Value::Object(Map::new());
                }
                if let Value::Object(whole) = entry {
                    merge(whole, parts);
                }
            }
            other => {
                fields.insert(name, other);
            }
        }
    }
}

fn table(path: &str) -> Result<Table, Problem> {
    dto::table(path).ok_or_else(|| Problem::not_found(format!("no collection `{path}`")))
}

fn located(state: &State, table: Table, key: &str) -> Result<Row<Entity>, Problem> {
    rows::locate(state, table, key)
        .ok_or_else(|| Problem::not_found(format!("no {}", thing(table, key))))
}

fn thing(table: Table, key: &str) -> String {
    format!("{} `{key}`", dto::noun(table))
}

/// A name as a part of a path (RFC 3986 section 2.3).
fn encoded(part: &str) -> String {
    part.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
