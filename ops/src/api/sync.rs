//! 同步数据: what a device holds compared with the other nodes, and put right where it differs.
//!
//! A mark in the log makes every node keep its state as it is behind one entry, so the nodes are compared at the same
//! entry whatever the load, and a difference is one. The leader is right unless a majority of the voters agrees
//! against it: then the leader is the damaged one.

use super::Shared;
use super::live::{hash, name_of, odd};
use super::params::object_if_any;
use super::problem::Problem;
use crate::dto;
use crate::switch::{Answer, AskError, Digest, Query, TableDigest};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tandem_cluster::command::Command;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct How {
    /// Put right what differs.
    #[serde(default = "yes")]
    repair: bool,
}

fn yes() -> bool {
    true
}

/// What the nodes hold at one entry, by raft node.
type Held = BTreeMap<u64, Digest>;

/// Whom to believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The device holds what this raft node holds.
    Equal(u64),
    /// It differs from this raft node, which is right.
    Differs(u64),
    /// It differs from this raft node, and nobody can tell which of the two is right.
    Open(u64),
}

/// Compares what `device` holds with the leader and the majority of `voters`.
fn judge(held: &Held, device: u64, leader: Option<u64>, voters: &[u64]) -> Verdict {
    let like = |one: u64, other: u64| match (held.get(&one), held.get(&other)) {
        (Some(one), Some(other)) => one.is_like(other),
        _ => false,
    };
    let agree = |node: u64| voters.iter().filter(|voter| like(**voter, node)).count();
    let majority = |node: &u64| agree(*node) * 2 > voters.len();
    let leader = leader.filter(|leader| held.contains_key(leader));
    // The leader first: of those who are right it is the one to be named.
    let others = leader
        .into_iter()
        .chain(held.keys().copied())
        .filter(|node| *node != device);
    let others: Vec<u64> = others.collect();
    if let Some(right) = others.iter().copied().find(majority) {
        return match like(device, right) {
            true => Verdict::Equal(right),
            false => Verdict::Differs(right),
        };
    }
    match others.first() {
        None => Verdict::Equal(device),
        Some(other) if like(device, *other) => Verdict::Equal(*other),
        Some(other) if leader == Some(*other) => Verdict::Differs(*other),
        Some(other) => Verdict::Open(*other),
    }
}

/// `POST /devices/{name}/sync`
pub async fn sync(
    path: web::Path<String>,
    shared: web::Data<Shared>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let How { repair } = dto::strict::<How>(&object_if_any(payload).await?)?;
    let name = path.into_inner();
    let state = shared.switch.state();
    let device = state
        .device(&name)
        .ok_or_else(|| Problem::not_found(format!("no device `{name}`")))?
        .node;
    let (mark, held) = compare(&shared, &name).await?;
    let raft = shared.switch.raft();
    let verdict = judge(&held, device, raft.leader, &raft.voters);
    let (Verdict::Equal(reference) | Verdict::Differs(reference) | Verdict::Open(reference)) =
        verdict;
    let called = |node: u64| name_of(&state, node).unwrap_or_else(|| node.to_string());
    let mut report = lines(&held[&device], &held[&reference]);
    report.insert("name".into(), json!(name));
    report.insert("leader".into(), json!(called(reference)));
    let mut note = match verdict {
        Verdict::Open(other) => Some(format!(
            "no majority tells whether `{name}` or `{}` is right",
            called(other)
        )),
        _ => odd_leader(&held, raft.leader, reference)
            .map(|leader| format!("`{}` leads and differs from the majority", called(leader))),
    };
    let mut repaired = false;
    if let (Verdict::Differs(from), true) = (verdict, repair) {
        tracing::warn!(
            device = name,
            from = called(from),
            "state differs, it is repaired"
        );
        match shared
            .switch
            .ask(&name, Query::CopyState { mark, from })
            .await?
        {
            Answer::Copied(_) => {}
            other => return Err(odd(&name, &other)),
        }
        // Looked at again, at a later entry.
        let (_, held) = compare(&shared, &name).await?;
        repaired = held
            .get(&from)
            .is_some_and(|right| held[&device].is_like(right));
        if !repaired {
            note = Some(format!("`{name}` still differs after the repair"));
        }
        // Its own snapshot may hold the damage, and it starts from that.
        match shared.switch.ask(&name, Query::Snapshot).await? {
            Answer::Snapshot(_) => {}
            other => return Err(odd(&name, &other)),
        }
    }
    report.insert("repaired".into(), json!(repaired));
    report.insert("note".into(), json!(note));
    Ok(HttpResponse::Ok().json(Value::Object(report)))
}

/// The leader, when it is not among those who are right.
fn odd_leader(held: &Held, leader: Option<u64>, right: u64) -> Option<u64> {
    let (leader_holds, right_holds) = (held.get(&leader?)?, held.get(&right)?);
    (!leader_holds.is_like(right_holds)).then_some(leader)?
}

/// Marks an entry, and asks every node that lives what it holds there. `name` must answer; who else is silent is left
/// out.
async fn compare(shared: &Shared, name: &str) -> Result<(u64, Held), Problem> {
    let mark: u64 = rand::random();
    shared.switch.propose(Command::Mark { id: mark }).await?;
    let state = shared.switch.state();
    let devices: Vec<_> = state
        .devices()
        .filter(|device| device.epoch.is_some() || device.access_name == name)
        .collect();
    let asked = devices.iter().map(|device| {
        shared
            .switch
            .ask(&device.access_name, Query::Digest { mark })
    });
    let mut held = Held::new();
    for (device, answer) in devices.iter().zip(join_all(asked).await) {
        match answer {
            Ok(Answer::Digest(digest)) => drop(held.insert(device.node, digest)),
            Err(error) if device.access_name == name => return Err(error.into()),
            Ok(Answer::Failed(why)) if device.access_name == name => {
                let text = format!("device `{name}`: {why}");
                return Err(Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unavailable",
                    text,
                ));
            }
            Ok(other) if device.access_name == name => return Err(odd(name, &other)),
            Ok(_) | Err(AskError::Unknown(_) | AskError::Silent(_)) => {}
        }
    }
    Ok((mark, held))
}

/// Both sides, table by table.
fn lines(ours: &Digest, theirs: &Digest) -> serde_json::Map<String, Value> {
    let other = |name: &str| theirs.tables.iter().find(|table| table.table == name);
    let none = TableDigest::default();
    let tables: Vec<Value> = ours
        .tables
        .iter()
        .map(|own| {
            let other = other(&own.table).unwrap_or(&none);
            json!({
                "table": own.table,
                "rows": own.rows,
                "hash": hash(own.hash),
                "leader_rows": other.rows,
                "leader_hash": hash(other.hash),
                "equal": own == other,
            })
        })
        .collect();
    let report = json!({
        "applied": ours.applied,
        "leader_applied": theirs.applied,
        "state_hash": hash(ours.state_hash),
        "leader_state_hash": hash(theirs.state_hash),
        "equal": ours.is_like(theirs),
        "fault": ours.fault,
        "leader_fault": theirs.fault,
        "tables": tables,
    });
    match report {
        Value::Object(report) => report,
        _ => serde_json::Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each raft node holds, as one letter; absent ones do not answer.
    fn check(holds: &[(u64, char)], device: u64, leader: u64, want: Verdict) {
        let digest = |letter: &char| Digest {
            tables: vec![TableDigest {
                table: "calls".into(),
                rows: 1,
                hash: u64::from(*letter),
            }],
            ..Digest::default()
        };
        let held: Held = holds
            .iter()
            .map(|(node, letter)| (*node, digest(letter)))
            .collect();
        let got = judge(&held, device, Some(leader), &[1, 2, 3]);
        assert_eq!(got, want, "{holds:?}: {device}, led by {leader}");
    }

    #[test]
    fn the_leader_is_right_unless_a_majority_agrees_against_it() {
        use Verdict::{Differs, Equal, Open};
        let all = [(1, 'a'), (2, 'a'), (3, 'a')];
        check(&all, 2, 1, Equal(1));
        check(&all, 1, 1, Equal(2));
        let second = [(1, 'a'), (2, 'b'), (3, 'a')];
        check(&second, 2, 1, Differs(1));
        check(&second, 3, 1, Equal(1));
        check(&second, 1, 1, Equal(3));
        // The leader is the damaged one.
        check(&second, 2, 2, Differs(1));
        check(&second, 1, 2, Equal(3));
        // One of three is down.
        check(&[(1, 'a'), (2, 'b')], 2, 1, Differs(1));
        check(&[(1, 'a'), (2, 'b')], 1, 1, Open(2));
        check(&[(1, 'a'), (2, 'a')], 2, 1, Equal(1));
        // Nobody agrees with anybody.
        check(&[(1, 'a'), (2, 'b'), (3, 'c')], 2, 1, Differs(1));
        check(&[(1, 'a'), (2, 'b'), (3, 'c')], 1, 1, Open(2));
    }
}
