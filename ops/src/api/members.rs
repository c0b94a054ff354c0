//! Who belongs to the cluster: nodes added, replaced, moved and removed.

use super::Shared;
use super::auth::Actor;
use super::live::name_of;
use super::params::object;
use super::problem::Problem;
use crate::dto;
use crate::membership::{Change, Unchanged};
use crate::switch::{Answer, Query};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use tandem_cluster::command::{Command, MemberDeed};

type Outcome = Result<HttpResponse, Problem>;

impl From<Unchanged> for Problem {
    fn from(unchanged: Unchanged) -> Problem {
        let detail = unchanged.to_string();
        match unchanged {
            Unchanged::NotFound(_) => Problem::not_found(detail),
            Unchanged::Invalid(_) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
            }
            Unchanged::Refused(_) => Problem::new(StatusCode::CONFLICT, "refused", detail),
            Unchanged::NotLeader(_) | Unchanged::Unavailable(_) => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    node: u64,
    address: String,
    replaces: Option<String>,
}

/// One step: 202 while the node catches up, 200 once it votes. To be repeated until then.
pub async fn add(shared: web::Data<Shared>, actor: Actor, payload: web::Payload) -> Outcome {
    let Add {
        node,
        address,
        replaces,
    } = dto::strict::<Add>(&object(payload).await?)?;
    let replaces = match &replaces {
        None => None,
        Some(name) => Some(member(&shared, name)?),
    };
    let change = Change::Add {
        node,
        address: address.clone(),
        replaces,
    };
    let progress = shared.switch.change_members(change).await?;
    if progress.changed {
        let instead = replaces.map(|old| format!("replaces {old}"));
        let (deed, detail) = match progress.voter {
            true => (MemberDeed::Vote, instead.unwrap_or_default()),
            false => (MemberDeed::Add, format!("at {address}")),
        };
        note(&shared, actor, node, deed, detail).await?;
    }
    let body = json!({
        "node": node,
        "address": address,
        "voter": progress.voter,
        "holds": progress.holds,
        "of": progress.of,
    });
    Ok(match progress.voter {
        true => HttpResponse::Ok().json(body),
        false => HttpResponse::Accepted().json(body),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remove {
    node: String,
    #[serde(default)]
    force: bool,
}

pub async fn remove(shared: web::Data<Shared>, actor: Actor, payload: web::Payload) -> Outcome {
    let Remove { node: name, force } = dto::strict::<Remove>(&object(payload).await?)?;
    let node = member(&shared, &name)?;
    if !force {
        idle(&shared, node).await?;
    }
    let change = Change::Remove { node, force };
    let progress = shared.switch.change_members(change).await?;
    if progress.changed {
        note(&shared, actor, node, MemberDeed::Remove, String::new()).await?;
    }
    Ok(HttpResponse::Ok().json(json!({"node": node, "removed": true})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    node: String,
    address: String,
}

/// A node is reached at another address from now on.
pub async fn relocate(shared: web::Data<Shared>, actor: Actor, payload: web::Payload) -> Outcome {
    let Move {
        node: name,
        address,
    } = dto::strict::<Move>(&object(payload).await?)?;
    let node = member(&shared, &name)?;
    let change = Change::Move {
        node,
        address: address.clone(),
    };
    let progress = shared.switch.change_members(change).await?;
    if progress.changed {
        let detail = format!("to {address}");
        note(&shared, actor, node, MemberDeed::Move, detail).await?;
    }
    Ok(HttpResponse::Ok().json(json!({"node": node, "address": address})))
}

/// Refuses while calls live on a node that answers.
async fn idle(shared: &Shared, node: u64) -> Result<(), Problem> {
    let Some(name) = name_of(&shared.switch.state(), node) else {
        return Ok(());
    };
    match shared.switch.ask(&name, Query::Status).await {
        Ok(Answer::Status(status)) if status.node == node && status.calls > 0 => {
            let text = format!(
                "device `{name}` carries {} calls: drain it and wait until they are over, or remove it by force",
                status.calls
            );
            Err(Problem::new(StatusCode::CONFLICT, "refused", text))
        }
        // One that does not answer carries nothing.
        _ => Ok(()),
    }
}

/// The raft id of a node that is named by its access name or by that id.
fn member(shared: &Shared, name: &str) -> Result<u64, Problem> {
    match shared.switch.state().device(name) {
        Some(device) => Ok(device.node),
        None => name
            .parse()
            .map_err(|_| Problem::not_found(format!("no device `{name}`"))),
    }
}

async fn note(
    shared: &Shared,
    actor: Actor,
    node: u64,
    deed: MemberDeed,
    detail: String,
) -> Result<(), Problem> {
    let command = Command::NoteMember {
        node,
        deed,
        detail,
        actor: actor.0,
    };
    shared.switch.propose(command).await?;
    Ok(())
}
