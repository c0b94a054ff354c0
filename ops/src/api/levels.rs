//! The cluster's level: held where it is, or let rise when every node speaks the next one.

use super::Shared;
use super::auth::Actor;
use super::params::object;
use super::problem::Problem;
use crate::dto;
use crate::switch::RaftStatus;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use tandem_cluster::command::{Command, Reply};
use tandem_cluster::level::Level;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Upgrade {
    #[serde(default)]
    hold: bool,
}

/// Answers how things stand right behind the command; the level rises by itself some seconds later.
pub async fn upgrade(
    shared: web::Data<Shared>,
    actor: Actor,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let Upgrade { hold } = dto::strict(&object(payload).await?)?;
    let command = Command::HoldLevel {
        hold,
        actor: actor.0,
    };
    if let Reply::Refused(refusal) = shared.switch.propose(command).await? {
        return Err(Problem::refused(refusal, "level"));
    }
    let raft = shared.switch.raft();
    Ok(HttpResponse::Ok().json(json!({
        "level": raft.level,
        "level_held": raft.level_held,
        "level_spoken": highest(&raft),
        "level_behind": behind(&raft),
    })))
}

/// The highest level that any member speaks.
pub fn highest(raft: &RaftStatus) -> Level {
    let spoken = raft.members.iter().filter_map(|member| member.level);
    spoken.max().unwrap_or(raft.level)
}

/// What keeps the cluster from rising to the highest level that a member speaks, a line for each node.
pub fn behind(raft: &RaftStatus) -> Vec<Value> {
    let highest = highest(raft);
    if highest <= raft.level {
        return Vec::new();
    }
    let why = raft.members.iter().filter_map(|member| match member.level {
        _ if !member.alive => Some(format!("node {} does not answer", member.node)),
        Some(level) if level >= highest => None,
        Some(level) => Some(format!("node {} speaks level {level}", member.node)),
        None => Some(format!("node {} has not said what it speaks", member.node)),
    });
    why.map(Value::from).collect()
}

/// An upgrade that was not finished.
pub fn held(raft: &RaftStatus) -> Option<String> {
    let (level, highest) = (raft.level, highest(raft));
    (raft.level_held && highest > level && behind(raft).is_empty()).then(|| {
        format!(
            "every node speaks level {highest} and the cluster is held at {level}: `tandem cluster upgrade` lets it rise"
        )
    })
}
