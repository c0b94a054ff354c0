//! Seed files: a configuration as TOML, one list a table, the same fields as in the admin API.
//!
//! ```toml
//! [[a_groups]]
//! name = "ga"
//!
//! [[a_numbers]]
//! group = "ga"
//! numbers = "02100000000..02100000199"
//! ```
//!
//! X and A numbers may be given one by one (`number`) or as a range or list (`numbers`). [`parse`] reads a file and
//! names every mistake with its line, [`check`] also looks for rows that the file refers to and does not hold and for
//! what is doubtful, and [`apply`] makes the cluster hold the rows: rows that are equal are left alone, rows that the file does not name too.

mod apply;
mod numbers;

pub use apply::{Report, apply};

use crate::dto::{self, Dto, Fault, Names};
use crate::types::Types;
use crate::warnings::{self, FileWarner};
use numbers::{SeedA, SeedX};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use tandem_cluster::entity::{Id, Table};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Most rows of one file.
pub const ROWS_MAX: usize = 1_000_000;

/// Something in a file that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub col: usize,
    /// What is wrong, with the key.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.col, self.text)
    }
}

/// The rows of a file, in the order in which they can be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seed {
    /// All rows, each after those it refers to.
    pub rows: Vec<Dto>,
}

/// A row with the place it was written at.
struct Placed {
    row: Dto,
    at: usize,
    /// Where each of its keys stands.
    keys: Vec<(String, Range<usize>)>,
}

/// Reads a file; every mistake is named.
pub fn parse(text: &str) -> Result<Seed, Vec<Mistake>> {
    let (rows, mistakes) = read(text);
    if mistakes.is_empty() {
        Ok(Seed {
            rows: rows.into_iter().map(|placed| placed.row).collect(),
        })
    } else {
        Err(mistakes)
    }
}

/// What [`check`] finds, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What keeps the file from being taken.
    pub mistakes: Vec<Mistake>,
    /// What works, but maybe not as meant.
    pub warnings: Vec<Mistake>,
}

/// All mistakes of a file that is meant to be whole, and what is doubtful in it: of a table that the file has rows of,
/// every row that another refers to must be there.
pub fn check(text: &str, types: &dyn Types) -> Checked {
    let (rows, mut mistakes) = read(text);
    let held: BTreeSet<(Table, String)> = rows
        .iter()
        .map(|placed| (placed.row.table(), placed.row.key()))
        .collect();
    let tables: BTreeSet<Table> = rows.iter().map(|placed| placed.row.table()).collect();
    let names = FileNames { held, tables };
    let warner = FileWarner::new(types, rows.iter().map(|placed| &placed.row));
    let mut warnings = Vec::new();
    for placed in &rows {
        let checked = placed.row.entity(&names, None).and_then(|entity| {
            warnings::refuse(types, &entity)?;
            Ok(entity)
        });
        match checked {
            Err(fault) => mistakes.push(place(text, placed, &fault)),
            Ok(entity) => {
                for warning in warner.of(&placed.row, &entity) {
                    warnings.push(placed.warning(text, &warning));
                }
            }
        }
    }
    // Many rows of one range are alike.
    for found in [&mut mistakes, &mut warnings] {
        found.sort();
        found.dedup();
    }
    Checked { mistakes, warnings }
}

impl Placed {
    /// A warning, at the first field it names that is written.
    fn warning(&self, text: &str, warning: &str) -> Mistake {
        let mut named = warning.split('`').skip(1).step_by(2);
        let at = named.find_map(|field| self.place_of(field));
        mistake(text, at.unwrap_or(self.at), warning)
    }

    /// Where a field, or the part of one, is written.
    fn place_of(&self, field: &str) -> Option<usize> {
        let field = field.split('.').next().unwrap_or_default();
        let key = self.keys.iter().find(|(key, _)| key == field)?;
        Some(key.1.start)
    }
}

/// Whether a file looks like a seed file rather than a node's own: it has a list of some table.
pub fn is_seed(text: &str) -> bool {
    let (whole, _) = DeTable::parse_recoverable(text);
    whole
        .get_ref()
        .iter()
        .any(|(key, value)| table(key.get_ref()).is_some() && value.get_ref().is_array())
}

/// The names a file holds. A table that it has no rows of is taken to be in the cluster already.
struct FileNames {
    held: BTreeSet<(Table, String)>,
    tables: BTreeSet<Table>,
}

impl Names for FileNames {
    fn name(&self, _: Table, _: Id) -> Option<String> {
        None
    }

    fn find(&self, table: Table, name: &str) -> Option<Id> {
        // Only whether there is one matters here.
        (!self.tables.contains(&table) || self.held.contains(&(table, name.to_owned())))
            .then_some(0)
    }
}

/// The table of a list's key.
fn table(key: &str) -> Option<Table> {
    dto::TABLES
        .into_iter()
        .find(|table| dto::path(*table).replace('-', "_") == key)
}

fn read(text: &str) -> (Vec<Placed>, Vec<Mistake>) {
    let (whole, errors) = DeTable::parse_recoverable(text);
    let mut mistakes: Vec<Mistake> = errors
        .iter()
        .map(|error| {
            mistake(
                text,
                error.span().map_or(0, |span| span.start),
                error.message(),
            )
        })
        .collect();
    // What follows a syntax error is often only its echo.
    if !mistakes.is_empty() {
        mistakes.sort();
        return (Vec::new(), mistakes);
    }
    let mut rows = Vec::new();
    for (key, value) in whole.into_inner() {
        let at = key.span().start;
        match (table(key.get_ref()), value.into_inner()) {
            (None, _) => mistakes.push(mistake(
                text,
                at,
                &format!("unknown key `{key}`", key = key.get_ref()),
            )),
            (Some(table), DeValue::Array(items)) => {
                for item in items {
                    match rows_of(table, text, item) {
                        Ok(found) => rows.extend(found),
                        Err(found) => mistakes.push(found),
                    }
                    if rows.len() > ROWS_MAX {
                        mistakes.push(mistake(text, at, &format!("more than {ROWS_MAX} rows")));
                        return (Vec::new(), mistakes);
                    }
                }
            }
            (Some(_), _) => {
                let text_ = format!("`{key}` is a list, written [[{key}]]", key = key.get_ref());
                mistakes.push(mistake(text, at, &text_));
            }
        }
    }
    let order = |table: Table| dto::TABLES.iter().position(|other| *other == table);
    rows.sort_by_key(|placed| order(placed.row.table()));
    let mut seen = BTreeSet::new();
    for placed in &rows {
        if !seen.insert((placed.row.table(), placed.row.key())) {
            mistakes.push(mistake(
                text,
                placed.at,
                &format!("{} is given twice", placed.row),
            ));
        }
    }
    mistakes.sort();
    (rows, mistakes)
}

/// The rows that one entry of a list stands for: one, or those of a range of numbers.
fn rows_of(table: Table, text: &str, item: Spanned<DeValue<'_>>) -> Result<Vec<Placed>, Mistake> {
    let span = item.span();
    let keys: Vec<(String, Range<usize>)> = match item.get_ref() {
        DeValue::Table(fields) => fields
            .iter()
            .map(|(key, value)| {
                (
                    key.get_ref().to_string(),
                    key.span().start..value.span().end,
                )
            })
            .collect(),
        _ => return Err(mistake(text, span.start, "not a table of fields")),
    };
    let rows = match table {
        Table::Interfaces => entry(item).map(|row| vec![Dto::Interface(row)]),
        Table::XNumbers => entry::<SeedX>(item).and_then(SeedX::rows),
        Table::AGroups => entry(item).map(|row| vec![Dto::AGroup(row)]),
        Table::ANumbers => entry::<SeedA>(item).and_then(SeedA::rows),
        Table::MappingGateways => entry(item).map(|row| vec![Dto::MappingGateway(row)]),
        Table::RoutingGateways => entry(item).map(|row| vec![Dto::RoutingGateway(row)]),
        Table::Accounts => entry(item).map(|row| vec![Dto::Account(row)]),
        Table::FeeRates => entry(item).map(|row| vec![Dto::FeeRate(row)]),
        Table::AxBindings => entry(item).map(|row| vec![Dto::AxBinding(row)]),
    };
    let rows = rows.map_err(|error| {
        let what = match error.message().split_once(", expected ") {
            // Naming every field there is does not help to find the wrong one.
            Some((what, _)) if what.starts_with("unknown field") => what,
            _ => error.message(),
        };
        let at = error.span().map(|span| span.start);
        let told = |key: &str| what.contains(&format!("`{key}`"));
        let culprit = keys
            .iter()
            .find(|(_, range)| at.is_some_and(|at| range.contains(&at)))
            .or_else(|| keys.iter().find(|(key, _)| told(key)));
        match culprit {
            Some((key, range)) => {
                let at = at.filter(|at| range.contains(at)).unwrap_or(range.start);
                let head = if told(key) {
                    String::new()
                } else {
                    format!("`{key}`: ")
                };
                mistake(text, at, &format!("{head}{what}"))
            }
            None => mistake(text, at.unwrap_or(span.start), what),
        }
    })?;
    // The one who reads wants the line of the entry's head, whose span may begin anywhere in it.
    Ok(rows
        .into_iter()
        .map(|row| Placed {
            row,
            at: span.start,
            keys: keys.clone(),
        })
        .collect())
}

fn entry<'de, T: Deserialize<'de>>(item: Spanned<DeValue<'de>>) -> Result<T, toml::de::Error> {
    T::deserialize(item.into_deserializer())
}

fn place(text: &str, placed: &Placed, fault: &Fault) -> Mistake {
    let at = placed.place_of(&fault.field).unwrap_or(placed.at);
    mistake(text, at, &fault.to_string())
}

fn mistake(text: &str, at: usize, what: &str) -> Mistake {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1);
    let col = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    Mistake {
        line,
        col,
        text: what.lines().collect::<Vec<_>>().join(", "),
    }
}

/// The sample configuration for a cluster of `dev` whose ports begin at `base_port` (at most 65,000): one customer,
/// one AXB carrier behind a simulated platform, one plain carrier, accounts, rates and numbers.
pub fn sample(base_port: u16) -> String {
    let port = |offset: u32| (u32::from(base_port) + offset).to_string();
    include_str!("../../deploy/sample.toml")
        .replace("15080", &port(80))
        .replace("15060", &port(60))
        .replace("15050", &port(50))
}

#[cfg(test)]
mod tests;
