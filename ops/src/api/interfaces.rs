//! What is seen of the traffic with platforms, and the trial of an interface.

use super::Shared;
use super::auth::Actor;
use super::params::{Params, object, page};
use super::problem::Problem;
use crate::dto::{self, Fault};
use crate::exchange::{OnNode, TRIAL_SECS, TRIAL_SECS_MAX, Trial, Untried};
use crate::rows;
use crate::switch::{Answer, AskError, Query};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use tandem_cluster::entity::{Entity, Id, Interface, Row, Table};

type Outcome = Result<HttpResponse, Problem>;

/// Longest number that may be named.
const NUMBER_MAX: usize = 32;

fn found(shared: &Shared, name: &str) -> Result<Row<Interface>, Problem> {
    let none = || Problem::not_found(format!("no interface `{name}`"));
    let row = rows::locate(&shared.switch.state(), Table::Interfaces, name).ok_or_else(none)?;
    let (id, memo) = (row.id, row.memo);
    let (created_at, updated_at, version) = (row.created_at, row.updated_at, row.version);
    match row.entity {
        Entity::Interface(entity) => Ok(Row {
            id,
            memo,
            created_at,
            updated_at,
            version,
            entity,
        }),
        _ => Err(none()),
    }
}

/// Asks one node, or all that hold their name; who does not answer is named.
async fn ask(
    shared: &Shared,
    interface: Id,
    exchanges: bool,
    node: Option<String>,
) -> Result<(Vec<(String, OnNode)>, Vec<String>), Problem> {
    let one = node.is_some();
    let nodes: Vec<String> = match node {
        Some(node) => vec![node],
        None => {
            let state = shared.switch.state();
            let held = state.devices().filter(|device| device.epoch.is_some());
            held.map(|device| device.access_name.clone()).collect()
        }
    };
    let query = || Query::Interface {
        interface,
        exchanges,
    };
    let answers = join_all(nodes.iter().map(|node| shared.switch.ask(node, query()))).await;
    let (mut told, mut silent) = (Vec::new(), Vec::new());
    for (node, answer) in nodes.into_iter().zip(answers) {
        match answer {
            Ok(Answer::Interface(on_node)) => told.push((node, *on_node)),
            Ok(other) => {
                let detail = format!("device `{node}` gave an unexpected answer {other:?}");
                return Err(Problem::internal(detail));
            }
            Err(error @ AskError::Unknown(_)) => return Err(error.into()),
            Err(error) if one => return Err(error.into()),
            Err(_) => silent.push(node),
        }
    }
    Ok((told, silent))
}

/// The last requests to a platform, the oldest first.
pub async fn exchanges(
    request: HttpRequest,
    path: web::Path<String>,
    shared: web::Data<Shared>,
) -> Outcome {
    let mut params = Params::of(&request)?;
    let node = params.text("node");
    params.done()?;
    let row = found(&shared, &path)?;
    let (told, silent) = ask(&shared, row.id, true, node).await?;
    let mut all: Vec<_> = told
        .iter()
        .flat_map(|(node, told)| told.exchanges.iter().map(move |one| (node, one)))
        .collect();
    all.sort_by_key(|(_, exchange)| exchange.at);
    let items = all.iter().map(|(node, one)| one.view(node)).collect();
    let mut body = page(items, None);
    body["silent"] = json!(silent);
    Ok(HttpResponse::Ok().json(body))
}

/// How an interface does, node by node.
pub async fn status(path: web::Path<String>, shared: web::Data<Shared>) -> Outcome {
    let row = found(&shared, &path)?;
    let (told, silent) = ask(&shared, row.id, false, None).await?;
    let of = |(node, told): (String, OnNode)| -> Value {
        let health = told.health.as_ref();
        json!({
            "node": node,
            "used": health.is_some(),
            "breaker": health.and_then(|health| health.breaker.clone()),
            "clock_offset_ms": health.map(|health| health.clock_offset_ms),
            "in_flight": health.map(|health| health.in_flight),
            "rate_per_s": health
                .and_then(|health| health.rate_milli)
                .map(|milli| milli as f64 / 1_000.0),
        })
    };
    let state = shared.switch.state();
    let error = state.interface_error(row.id);
    Ok(HttpResponse::Ok().json(json!({
        "name": row.entity.name,
        "type": row.entity.kind,
        "tls_verify": row.entity.tls_verify,
        "last_error": error.map(|(_, text)| text),
        "last_error_at": error.map(|(at, _)| rows::time(at)),
        "nodes": told.into_iter().map(of).collect::<Vec<_>>(),
        "silent": silent,
    })))
}

/// What may be said of a trial.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// One of our A numbers.
    a: Option<String>,
    /// One of the interface's X numbers.
    x: Option<String>,
    /// B'
    b: Option<String>,
    /// The trial ends within so many seconds.
    within_secs: Option<u32>,
}

/// Binds and unbinds a spare number. A trial that failed is an answer, not an error.
pub async fn test(
    path: web::Path<String>,
    shared: web::Data<Shared>,
    actor: Actor,
    payload: web::Payload,
) -> Outcome {
    let asked = dto::strict::<Asked>(&object(payload).await?)?;
    for (field, number) in [("a", &asked.a), ("x", &asked.x), ("b", &asked.b)] {
        let wrong = |number: &String| {
            number.is_empty()
                || number.len() > NUMBER_MAX
                || !number
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b"+*#".contains(&b))
        };
        if number.as_ref().is_some_and(wrong) {
            let text = format!("is no number of 1 to {NUMBER_MAX} digits");
            return Err(Fault::new(field, text).into());
        }
    }
    let within_secs = asked.within_secs.unwrap_or(TRIAL_SECS);
    if !(1..=TRIAL_SECS_MAX).contains(&within_secs) {
        let text = format!("{within_secs} is not within 1 and {TRIAL_SECS_MAX}");
        return Err(Fault::new("within_secs", text).into());
    }
    let row = found(&shared, &path)?;
    let trial = Trial {
        interface: row.id,
        a: asked.a,
        x: asked.x,
        b: asked.b,
        actor: actor.0,
        within_secs,
    };
    match shared.switch.try_interface(trial).await {
        Ok(tried) => Ok(HttpResponse::Ok().json(tried.view())),
        Err(Untried::Refused(refusal)) => {
            Err(Problem::refused(refusal, &format!("interface `{path}`")))
        }
        Err(Untried::Unavailable(unavailable)) => Err(unavailable.into()),
        Err(Untried::Unusable(why)) => Err(Problem::new(StatusCode::CONFLICT, "refused", why)),
    }
}
