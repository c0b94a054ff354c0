//! Bringing a seed file into the cluster.

use super::Seed;
use crate::dto::{self, Dto, Names};
use crate::rows::{self, StateNames};
use crate::switch::Switch;
use crate::warnings::{self, Warner};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tandem_cluster::command::{Command, Put, Reply};
use tandem_cluster::entity::{Id, Table};
use utoipa::ToSchema;

/// Proposals under way at a time; the cluster puts those of one moment into one log entry.
const PROPOSALS_MAX: usize = 256;
/// Failures that are told one by one.
const TOLD_MAX: usize = 100;

/// What came of a seed file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// Rows that were made.
    pub made: u64,
    /// Rows that were changed.
    pub changed: u64,
    /// Rows that were there already.
    pub equal: u64,
    /// Rows that were not taken, with the reason; at most 100 and a line that counts the others.
    pub failed: Vec<String>,
    /// Rows that work, but maybe not as meant; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Makes the cluster hold the rows of a file. Doing it again changes nothing.
///
/// Fields and references of all rows are checked against file and cluster first; while one is wrong nothing is
/// changed. What only the cluster can refuse comes later: such a row does not stop the others, except those that refer
/// to it.
pub async fn apply(switch: &dyn Switch, actor: &str, seed: &Seed) -> Report {
    let faults = faults(switch, seed);
    if !faults.is_empty() {
        return Report {
            failed: faults,
            ..Report::default()
        };
    }
    let mut report = Report::default();
    let mut failed = 0;
    for table in dto::TABLES {
        // Rows of earlier tables are there now, so names can be resolved.
        let state = switch.state();
        let names = StateNames(&state);
        let puts = seed
            .rows
            .iter()
            .filter(|row| row.table() == table)
            .map(|row| {
                let put = prepare(row, actor, &names);
                async move {
                    match put {
                        Ok(Some(put)) => {
                            let new = put.id.is_none();
                            match switch.propose(Command::Put(put)).await {
                                Ok(Reply::Row { .. }) if new => Done::Made,
                                Ok(Reply::Row { .. }) => Done::Changed,
                                Ok(Reply::Refused(refusal)) => {
                                    Done::Failed(format!("{row}: {}", rows::refusal(&refusal)))
                                }
                                Ok(other) => {
                                    Done::Failed(format!("{row}: unexpected reply {other:?}"))
                                }
                                Err(unavailable) => Done::Failed(format!("{row}: {unavailable}")),
                            }
                        }
                        Ok(None) => Done::Equal,
                        Err(fault) => Done::Failed(format!("{row}: {fault}")),
                    }
                }
            });
        let mut puts = futures::stream::iter(puts).buffer_unordered(PROPOSALS_MAX);
        while let Some(done) = puts.next().await {
            match done {
                Done::Made => report.made += 1,
                Done::Changed => report.changed += 1,
                Done::Equal => report.equal += 1,
                Done::Failed(why) => {
                    failed += 1;
                    if report.failed.len() < TOLD_MAX {
                        report.failed.push(why);
                    }
                }
            }
        }
    }
    if failed > TOLD_MAX {
        report
            .failed
            .push(format!("and {} more", failed - TOLD_MAX));
    }
    report.warnings = doubts(switch, seed);
    report
}

/// What is doubtful about the rows of a file as the cluster holds them now.
fn doubts(switch: &dyn Switch, seed: &Seed) -> Vec<String> {
    let state = switch.state();
    let warner = Warner::new(switch.types(), &state);
    let rows = seed.rows.iter().filter(|row| warnings::has(row.table()));
    let found = rows.flat_map(|row| {
        let table = row.table();
        let id = state.find(table, &row.key());
        let held = id.and_then(|id| state.row(table, id));
        let found = held.map_or_else(Vec::new, |held| warner.of(&held.entity));
        found.into_iter().map(move |text| format!("{row}: {text}"))
    });
    found.take(TOLD_MAX).collect()
}

/// What is wrong with the rows as they stand, before any of them is proposed.
fn faults(switch: &dyn Switch, seed: &Seed) -> Vec<String> {
    let state = switch.state();
    let names = Both {
        state: StateNames(&state),
        file: seed
            .rows
            .iter()
            .map(|row| (row.table(), row.key()))
            .collect(),
    };
    let wrong = seed.rows.iter().filter_map(|row| {
        let old = state
            .find(row.table(), &row.key())
            .and_then(|id| state.row(row.table(), id));
        let fault = row
            .entity(&names, old.as_ref().map(|old| &old.entity))
            .and_then(|entity| warnings::refuse(switch.types(), &entity))
            .err()?;
        Some(format!("{row}: {fault}"))
    });
    wrong.take(TOLD_MAX).collect()
}

/// Names of the cluster and of the file.
struct Both<'s> {
    state: StateNames<'s>,
    file: BTreeSet<(Table, String)>,
}

impl Names for Both<'_> {
    fn name(&self, table: Table, id: Id) -> Option<String> {
        self.state.name(table, id)
    }

    fn find(&self, table: Table, name: &str) -> Option<Id> {
        // The id of a row that is yet to be made does not matter here.
        let coming = || self.file.contains(&(table, name.to_owned())).then_some(0);
        self.state.find(table, name).or_else(coming)
    }
}

enum Done {
    Made,
    Changed,
    Equal,
    Failed(String),
}

/// What has to be proposed for a row; nothing when the cluster holds it as it is.
fn prepare(row: &Dto, actor: &str, names: &StateNames<'_>) -> Result<Option<Put>, dto::Fault> {
    let state = names.0;
    let old = state
        .find(row.table(), &row.key())
        .and_then(|id| state.row(row.table(), id));
    let entity = row.entity(names, old.as_ref().map(|old| &old.entity))?;
    if old
        .as_ref()
        .is_some_and(|old| old.entity == entity && old.memo == row.memo())
    {
        return Ok(None);
    }
    Ok(Some(Put {
        request: rand::random(),
        actor: actor.to_owned(),
        id: old.map(|old| old.id),
        version: None,
        memo: row.memo().to_owned(),
        entity,
    }))
}
