//! What runs: cluster, devices, bindings, calls; payments and the audit.

use super::Shared;
use super::auth::Actor;
use super::levels;
use super::params::{Params, list, list_by, number, object, request_id};
use super::problem::Problem;
use crate::dto::{self, Fault};
use crate::rows;
use crate::switch::{Answer, AskError, Check, NodeStatus, Query, RaftStatus};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tandem_billing::Money;
use tandem_cluster::command::{CallId, Command, Payment, Reply};
use tandem_cluster::entity::Table;
use tandem_cluster::level::Level;
use tandem_cluster::state::Device;

type Outcome = Result<HttpResponse, Problem>;

pub async fn status(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    let mut params = Params::of(&request)?;
    let node = params.text("node");
    params.done()?;
    let status = match node {
        None => shared.switch.local(),
        Some(node) => ask_status(&shared, &node).await?,
    };
    Ok(HttpResponse::Ok().json(status_view(&status)))
}

fn status_view(status: &NodeStatus) -> Value {
    let checks: BTreeMap<&str, Value> = status
        .checks
        .iter()
        .map(|Check { name, fault }| (name.as_str(), json!(fault)))
        .collect();
    json!({
        "calls": status.calls,
        "answered_calls": status.answered_calls,
        "bindings": status.bindings,
        "x_in_use": status.x_in_use,
        "a_in_use": status.a_in_use,
        "timers": status.timers,
        "reserved": rows::money(status.reserved),
        "outbox": status.outbox,
        "applied": status.applied,
        "state_hash": hash(status.state_hash),
        "name": status.name,
        "node": status.node,
        "address": status.address,
        "version": status.version,
        "uptime_secs": status.uptime_secs,
        "draining": status.draining,
        "role": status.raft.role,
        "term": status.raft.term,
        "level": status.raft.level,
        "cpu_ms": status.cpu_ms,
        "memory_bytes": status.memory_bytes,
        "disk_free_bytes": status.disk_free_bytes,
        "ready": status.ready(),
        "checks": checks,
        "settings": status.settings,
    })
}

/// 64 bits as 16 hexadecimal digits: JSON readers keep only 53 bits of a number.
pub(super) fn hash(hash: u64) -> String {
    format!("{hash:016x}")
}

async fn ask_status(shared: &Shared, node: &str) -> Result<NodeStatus, Problem> {
    match shared.switch.ask(node, Query::Status).await? {
        Answer::Status(status) => Ok(*status),
        other => Err(odd(node, &other)),
    }
}

pub(super) fn odd(node: &str, answer: &Answer) -> Problem {
    match answer {
        Answer::Failed(why) => Problem::new(
            StatusCode::CONFLICT,
            "refused",
            format!("device `{node}`: {why}"),
        ),
        other => Problem::internal(format!(
            "device `{node}` gave an unexpected answer {other:?}"
        )),
    }
}

pub async fn cluster(shared: web::Data<Shared>) -> Outcome {
    let (state, raft) = (shared.switch.state(), shared.switch.raft());
    // What a node once claimed that is no member any more is history.
    let member = |node: u64| raft.members.iter().any(|member| member.node == node);
    let stays = |device: &&Device| device.epoch.is_some() || member(device.node);
    let devices: Vec<&Device> = state.devices().filter(stays).collect();
    let asked = devices
        .iter()
        .map(|device| shared.switch.ask(&device.access_name, Query::Status));
    let answers = join_all(asked).await;
    let mut alarms = alarms(&state);
    let plain = answers.iter().filter_map(|answer| match answer {
        Ok(Answer::Status(status)) if status.raft.plain_links => Some(status.name.as_str()),
        _ => None,
    });
    let plain: Vec<&str> = plain.collect();
    if !plain.is_empty() {
        alarms.push(format!(
            "links of {} are not encrypted: anybody on the way can read and change what nodes tell each other",
            plain.join(", ")
        ));
    }
    alarms.extend(levels::held(&raft));
    let nodes: Vec<Value> = devices
        .iter()
        .zip(answers)
        .map(|(device, answer)| {
            let status = match &answer {
                Ok(Answer::Status(status)) => Some(&**status),
                _ => None,
            };
            json!({
                "name": device.access_name,
                "label": device.label,
                "node": device.node,
                "address": device.address,
                "role": status.map(|status| status.raft.role.word()),
                "alive": status.is_some() && rows::alive(&state, device),
                "applied": status.map(|status| status.applied),
                "calls": status.map(|status| status.calls),
                "bindings": status.map(|status| status.bindings),
                "state_hash": status.map(|status| hash(status.state_hash)),
                "version": status.map_or(&device.version, |status| &status.version),
                "level": speaks(&raft, device.node).or(state.spoken(device.node)),
                "draining": device.draining,
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({
        "leader": raft.leader.and_then(|leader| name_of(&state, leader)),
        "term": raft.term,
        "voters": raft.voters,
        "former": raft.former,
        "members": raft.members.iter().map(|member| json!({
            "node": member.node,
            "address": member.address,
            "name": name_of(&state, member.node),
            "voter": member.voter,
            "alive": member.alive,
            "applied": member.applied,
            "level": member.level,
        })).collect::<Vec<_>>(),
        "level": raft.level,
        "level_held": raft.level_held,
        "level_spoken": levels::highest(&raft),
        "level_behind": levels::behind(&raft),
        "answered_by": shared.switch.name(),
        "nodes": nodes,
        "alarms": alarms,
    })))
}

/// The highest level that a raft node spoke when it last said so to this one.
fn speaks(raft: &RaftStatus, node: u64) -> Option<Level> {
    let member = raft.members.iter().find(|member| member.node == node);
    member.and_then(|member| member.level)
}

/// What must not stay as it is, whoever looks.
fn alarms(state: &tandem_cluster::state::State) -> Vec<String> {
    let unverified = state.interfaces().filter(|row| !row.entity.tls_verify);
    unverified
        .map(|row| {
            format!(
                "interface `{}` does not verify its platform's certificate: anybody on the way can read and change \
                 requests",
                row.entity.name
            )
        })
        .collect()
}

/// The access name of a raft node.
pub(super) fn name_of(state: &tandem_cluster::state::State, node: u64) -> Option<String> {
    // A node may have claimed several names over the years; the one it holds now counts.
    let mut devices: Vec<&Device> = state
        .devices()
        .filter(|device| device.node == node)
        .collect();
    devices.sort_by_key(|device| (device.epoch.is_some(), device.accessed_at));
    devices.last().map(|device| device.access_name.clone())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    node: Option<String>,
}

async fn which(payload: web::Payload) -> Result<Option<String>, Problem> {
    Ok(dto::strict::<Which>(&object(payload).await?)?.node)
}

async fn which_one(payload: web::Payload) -> Result<String, Problem> {
    which(payload)
        .await?
        .ok_or_else(|| Fault::new("node", "is missing").into())
}

pub async fn drain(shared: web::Data<Shared>, actor: Actor, payload: web::Payload) -> Outcome {
    let change = DeviceChange {
        draining: Some(true),
        ..DeviceChange::default()
    };
    change_device(&shared, actor, which_one(payload).await?, change).await
}

pub async fn undrain(shared: web::Data<Shared>, actor: Actor, payload: web::Payload) -> Outcome {
    let change = DeviceChange {
        draining: Some(false),
        ..DeviceChange::default()
    };
    change_device(&shared, actor, which_one(payload).await?, change).await
}

pub async fn snapshot(shared: web::Data<Shared>, payload: web::Payload) -> Outcome {
    let state = shared.switch.state();
    let nodes = match which(payload).await? {
        Some(node) => vec![node],
        None => state
            .devices()
            .filter(|device| device.epoch.is_some())
            .map(|d| d.access_name.clone())
            .collect(),
    };
    let answers = join_all(
        nodes
            .iter()
            .map(|node| shared.switch.ask(node, Query::Snapshot)),
    )
    .await;
    let mut lines = Vec::new();
    for (node, answer) in nodes.iter().zip(answers) {
        let (upto, error) = match answer {
            Ok(Answer::Snapshot(upto)) => (Some(upto), None),
            Ok(Answer::Failed(why)) => (None, Some(why)),
            Ok(other) => (None, Some(format!("unexpected answer {other:?}"))),
            Err(unknown @ AskError::Unknown(_)) => return Err(unknown.into()),
            Err(silent) => (None, Some(silent.to_string())),
        };
        lines.push(json!({"name": node, "snapshot": upto, "error": error}));
    }
    Ok(HttpResponse::Ok().json(json!({"nodes": lines})))
}

pub async fn transfer_leader(shared: web::Data<Shared>, payload: web::Payload) -> Outcome {
    let wanted = which(payload).await?;
    let (state, raft) = (shared.switch.state(), shared.switch.raft());
    let no_leader = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "no leader");
    let leader_id = raft.leader.ok_or_else(no_leader)?;
    let leader = name_of(&state, leader_id).ok_or_else(no_leader)?;
    let device = match &wanted {
        Some(name) => state
            .device(name)
            .ok_or_else(|| Problem::not_found(format!("no device `{name}`")))?,
        None => state
            .devices()
            .find(|device| device.node != leader_id && rows::alive(&state, device))
            .ok_or_else(|| {
                Problem::new(
                    StatusCode::CONFLICT,
                    "refused",
                    "no other live device to lead",
                )
            })?,
    };
    if device.node != leader_id {
        match shared
            .switch
            .ask(&leader, Query::TransferLeader { to: device.node })
            .await?
        {
            Answer::Done => {}
            other => return Err(odd(&leader, &other)),
        }
    }
    Ok(HttpResponse::Ok().json(json!({"from": leader, "to": device.access_name})))
}

pub async fn devices(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    let state = shared.switch.state();
    let rows = state
        .devices()
        .enumerate()
        .map(|(place, device)| (place as u64, device));
    Ok(HttpResponse::Ok().json(list(&request, rows, |device| rows::device(&state, device))?))
}

pub async fn device(path: web::Path<String>, shared: web::Data<Shared>) -> Outcome {
    let state = shared.switch.state();
    let device = state
        .device(&path)
        .ok_or_else(|| Problem::not_found(format!("no device `{path}`")))?;
    Ok(HttpResponse::Ok().json(rows::device(&state, device)))
}

/// What may be changed of a device.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceChange {
    label: Option<String>,
    settings: Option<BTreeMap<String, String>>,
    draining: Option<bool>,
}

pub async fn edit_device(
    path: web::Path<String>,
    shared: web::Data<Shared>,
    actor: Actor,
    payload: web::Payload,
) -> Outcome {
    let change = dto::strict::<DeviceChange>(&object(payload).await?)?;
    change_device(&shared, actor, path.into_inner(), change).await
}

async fn change_device(
    shared: &Shared,
    actor: Actor,
    name: String,
    change: DeviceChange,
) -> Outcome {
    let command = Command::Device {
        access_name: name.clone(),
        label: change.label,
        settings: change.settings,
        draining: change.draining,
        actor: actor.0,
    };
    done(
        shared.switch.propose(command).await?,
        &format!("device `{name}`"),
    )?;
    let state = shared.switch.state();
    let device = state
        .device(&name)
        .ok_or_else(|| Problem::not_found(format!("no device `{name}`")))?;
    Ok(HttpResponse::Ok().json(rows::device(&state, device)))
}

pub async fn info(path: web::Path<String>, shared: web::Data<Shared>) -> Outcome {
    Ok(HttpResponse::Ok().json(status_view(&ask_status(&shared, &path).await?)))
}

/// Names that bindings may be filtered and sorted by beside their fields' own.
const BINDING_FIELDS: &[(&str, &str)] = &[
    ("a", "a_number"),
    ("x", "x_number"),
    ("b", "b_number"),
    ("interface", "interface_name"),
    ("node", "owner_node"),
];

pub async fn bindings(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    let state = shared.switch.state();
    let rows = state.bindings().map(|binding| (binding.id, binding));
    let view = |binding| rows::binding(&state, binding);
    Ok(HttpResponse::Ok().json(list_by(&request, rows, view, BINDING_FIELDS)?))
}

pub async fn binding(path: web::Path<String>, shared: web::Data<Shared>) -> Outcome {
    let state = shared.switch.state();
    let binding = state
        .binding(number(&path, "binding")?)
        .ok_or_else(|| Problem::not_found(format!("no binding `{path}`")))?;
    Ok(HttpResponse::Ok().json(rows::binding(&state, binding)))
}

pub async fn unbind(path: web::Path<String>, shared: web::Data<Shared>, actor: Actor) -> Outcome {
    let binding = number(&path, "binding")?;
    let reply = shared
        .switch
        .propose(Command::AskUnbind {
            binding,
            actor: actor.0,
        })
        .await?;
    done(reply, &format!("binding `{binding}`"))?;
    Ok(HttpResponse::Accepted().json(json!({"id": binding, "action": "unbind"})))
}

pub async fn force_unbind(
    path: web::Path<String>,
    shared: web::Data<Shared>,
    actor: Actor,
) -> Outcome {
    let binding = number(&path, "binding")?;
    let reply = shared
        .switch
        .propose(Command::ForceUnbind {
            binding,
            actor: actor.0,
        })
        .await?;
    done(reply, &format!("binding `{binding}`"))?;
    Ok(HttpResponse::Ok().json(json!({"id": binding, "action": "force_unbind"})))
}

pub async fn calls(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    let (state, now) = (shared.switch.state(), shared.switch.now());
    let rows = state.calls().map(|call| (call.id().0, call));
    Ok(HttpResponse::Ok().json(list(&request, rows, |call| rows::call(&state, call, now))?))
}

pub async fn call(path: web::Path<String>, shared: web::Data<Shared>) -> Outcome {
    let (state, now) = (shared.switch.state(), shared.switch.now());
    let call = state
        .call(CallId(number(&path, "call")?))
        .ok_or_else(|| Problem::not_found(format!("no call `{path}`")))?;
    Ok(HttpResponse::Ok().json(rows::call(&state, call, now)))
}

pub async fn hangup(path: web::Path<String>, shared: web::Data<Shared>, actor: Actor) -> Outcome {
    let id = CallId(number(&path, "call")?);
    let gone = || Problem::not_found(format!("no call `{path}`"));
    let state = shared.switch.state();
    let call = state.call(id).ok_or_else(gone)?;
    let owner = state
        .tenure(call.owner)
        .map(|tenure| tenure.access_name.clone())
        .ok_or_else(|| {
            Problem::new(
                StatusCode::CONFLICT,
                "refused",
                format!("call `{path}` has no node just now"),
            )
        })?;
    match shared.switch.ask(&owner, Query::HangUp(id)).await? {
        Answer::HangUp(true) => {
            tracing::info!(call = %id, actor = actor.0, "call hung up by an operator");
            Ok(HttpResponse::Accepted().json(json!({"id": id.to_string(), "action": "hangup"})))
        }
        Answer::HangUp(false) => Err(gone()),
        other => Err(odd(&owner, &other)),
    }
}

pub async fn payments(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    let state = shared.switch.state();
    let rows = state.payments().map(|paid| (paid.number, paid));
    Ok(HttpResponse::Ok().json(list(&request, rows, rows::payment)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pay {
    account: String,
    amount: Money,
    #[serde(default)]
    memo: String,
}

pub async fn pay(
    request: HttpRequest,
    shared: web::Data<Shared>,
    actor: Actor,
    payload: web::Payload,
) -> Outcome {
    let pay = dto::strict::<Pay>(&object(payload).await?)?;
    let row = rows::locate(&shared.switch.state(), Table::Accounts, &pay.account)
        .ok_or_else(|| Fault::new("account", format!("no account `{}`", pay.account)))?;
    let payment = Payment {
        request: request_id(&request)?,
        actor: actor.0,
        account: row.id,
        amount: pay.amount.micros(),
        memo: pay.memo.clone(),
    };
    match shared.switch.propose(Command::Pay(payment)).await? {
        Reply::Balance(balance) => Ok(HttpResponse::Created().json(json!({
            "account": pay.account,
            "amount": pay.amount,
            "balance": rows::money(balance),
            "memo": pay.memo,
        }))),
        Reply::Refused(refusal) => Err(Problem::refused(
            refusal,
            &format!("account `{}`", pay.account),
        )),
        other => Err(Problem::internal(format!(
            "unexpected reply {other:?} to a payment"
        ))),
    }
}

pub async fn audit(request: HttpRequest, shared: web::Data<Shared>) -> Outcome {
    let state = shared.switch.state();
    let rows = state.audit().map(|line| (line.number, line));
    Ok(HttpResponse::Ok().json(list(&request, rows, |line| rows::audit(&state, line))?))
}

fn done(reply: Reply, thing: &str) -> Result<(), Problem> {
    match reply {
        Reply::Refused(refusal) => Err(Problem::refused(refusal, thing)),
        _ => Ok(()),
    }
}
