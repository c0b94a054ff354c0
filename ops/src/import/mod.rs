//! Whole files of X and A numbers and of regions, brought into the cluster.
//!
//! A file is read and checked whole against the state before anything of it is applied; every row that is wrong is
//! named with its line ([`BadRow`]). What is good goes to the cluster in commands of many rows. Of numbers each command
//! is applied whole or not at all; a table of regions comes in force with its last part.
//!
//! Reading and checking are pure and may take seconds: the caller gives them a thread of their own.

pub mod numbers;
pub mod phone_dat;
pub mod regions;

use crate::dto::Fault;
use crate::sheet;
use crate::switch::{Switch, Unavailable};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use tandem_cluster::command::{Command, Refusal, Reply};
use tokio::sync::mpsc;
use utoipa::ToSchema;

/// Bad rows that are named one by one.
pub const NAMED_MAX: usize = 1_000;
/// Times a command is proposed when no quorum answers, a second apart: an election is over by then.
const TRIES: u32 = 4;

/// A row of a file that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BadRow {
    /// Its line in the file (of a workbook: its row; of a list: its place), counted from 1.
    pub line: u64,
    /// Which field.
    pub field: String,
    /// What is wrong with it.
    pub text: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`: {}", self.line, self.field, self.text)
    }
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Checked<T> {
    /// Every row may be applied.
    Good(T),
    /// Some may not.
    Bad(Bad),
}

/// The rows that are wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bad {
    /// The first [`NAMED_MAX`] of them.
    pub rows: Vec<BadRow>,
    /// All of them.
    pub count: u64,
    /// Rows of the file.
    pub of: u64,
}

impl Bad {
    fn add(&mut self, line: u64, fault: Fault) {
        self.count += 1;
        if self.rows.len() < NAMED_MAX {
            self.rows.push(BadRow {
                line,
                field: fault.field,
                text: fault.text,
            });
        }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} rows are wrong; nothing was applied",
            self.count, self.of
        )
    }
}

/// A file that cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// As a table.
    #[error(transparent)]
    Sheet(#[from] sheet::Error),
    /// As phone.dat.
    #[error(transparent)]
    PhoneDat(#[from] phone_dat::Error),
    /// As JSON.
    #[error("the rows are not a list of JSON objects: {0}")]
    Json(String),
}

/// How far an import is: a line of its answer. The last one says what was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Rows applied.
    pub done: u64,
    /// Rows to apply.
    pub of: u64,
    /// In the last line: what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ImportReport)]
pub struct Report {
    /// Rows made.
    pub made: u64,
    /// Rows changed.
    pub changed: u64,
    /// Rows that were there as the file has them.
    pub equal: u64,
    /// Nothing was applied; this is what would have been.
    pub dry_run: bool,
    /// Why it broke off. The counts are of what was applied before.
    pub failed: Option<String>,
}

/// Proposes a command until the cluster answers. Commands carry the id of their request, so a repeat does nothing twice.
async fn propose(switch: &dyn Switch, command: Command) -> Result<Reply, Unavailable> {
    let mut tries = 1;
    loop {
        match switch.propose(command.clone()).await {
            Err(unavailable) if tries == TRIES => return Err(unavailable),
            Err(_) => tries += 1,
            Ok(reply) => return Ok(reply),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Tells how far an import is. Whoever asked for it may have gone; the import goes on, for half a file helps nobody.
async fn hear(tell: &mpsc::Sender<Progress>, progress: Progress) {
    let _ = tell.send(progress).await;
}

/// A refusal as a fault of a row's field.
fn fault(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Invalid { field, text } => Fault::new(field, text),
        other => Fault::new("row", crate::rows::refusal(&other)),
    }
}

#[cfg(test)]
mod tests;
