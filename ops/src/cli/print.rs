//! Rows on standard output: aligned for people, or JSON, JSON lines and CSV for programs.

use super::{CliError, Exit, Output};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;
use std::io::Write;

/// Prints rows as they come; only tables wait for the last one, to align.
pub struct Printer<W: Write> {
    out: W,
    /// What was asked for; `None` leaves it to the command.
    pub output: Option<Output>,
    /// Fields that people look for first in one thing.
    pub first: &'static [&'static str],
    /// A table shows in red what must not stay as it is.
    pub colours: bool,
    columns: Vec<String>,
    table: Option<(Vec<String>, Vec<Vec<String>>)>,
    /// Lines of the table that are red.
    red: Vec<usize>,
    printed: usize,
}

impl<W: Write> Printer<W> {
    /// A printer of this form; `columns` empty leaves them to the command.
    pub fn new(out: W, output: Option<Output>, columns: &[String]) -> Self {
        Printer {
            out,
            output,
            first: &[],
            colours: false,
            columns: columns.to_vec(),
            table: None,
            red: Vec::new(),
            printed: 0,
        }
    }

    /// Prints rows of a list. `usual` are the columns a table shows; other forms show everything, these first.
    pub fn rows(&mut self, usual: &[&str], rows: &[Value]) -> Result<(), CliError> {
        for row in rows {
            match self.output.unwrap_or(Output::Table) {
                Output::Table => {
                    let columns =
                        self.chosen(|| usual.iter().map(|column| (*column).to_owned()).collect());
                    let cells = columns
                        .iter()
                        .map(|column| cell(field(row, column), true))
                        .collect();
                    let lines = &mut self.table.get_or_insert_with(|| (columns, Vec::new())).1;
                    lines.push(cells);
                    if self.colours && is_alarming(row) {
                        self.red.push(lines.len());
                    }
                }
                Output::Json => {
                    self.out
                        .write_all(if self.printed == 0 { b"[\n" } else { b",\n" })?;
                    write!(self.out, "{}", self.picked(row))?;
                }
                Output::Jsonl => writeln!(self.out, "{}", self.picked(row))?,
                Output::Csv => self.csv(usual, row)?,
                Output::Xlsx => return Err(no_workbook()),
            }
            self.printed += 1;
        }
        if rows.is_empty() && self.table.is_none() {
            let columns = self.chosen(|| usual.iter().map(|column| (*column).to_owned()).collect());
            if self.output == Some(Output::Csv) {
                csv_line(&mut self.out, columns.iter().map(String::as_str))?;
            }
            self.table = Some((columns, Vec::new()));
        }
        Ok(())
    }

    /// Prints one thing: a table shows a field a line.
    /// Those of [`Printer::first`] stand before the others.
    pub fn one(&mut self, thing: &Value) -> Result<(), CliError> {
        match self.output.unwrap_or(Output::Table) {
            Output::Table => {
                let names = self.chosen(|| ordered(self.first, thing));
                let rows = names
                    .iter()
                    .map(|name| vec![name.clone(), cell(field(thing, name), true)])
                    .collect();
                let red = names.iter().position(|name| name == UNVERIFIED);
                let red = red.filter(|_| self.colours && is_alarming(thing));
                write_table(&mut self.out, None, rows, red.as_slice())?;
            }
            Output::Json => {
                let thing = self.picked(thing);
                // Values are JSON already.
                writeln!(
                    self.out,
                    "{}",
                    serde_json::to_string_pretty(&thing).unwrap_or_default()
                )?;
            }
            Output::Jsonl => writeln!(self.out, "{}", self.picked(thing))?,
            Output::Csv => self.csv(self.first, thing)?,
            Output::Xlsx => return Err(no_workbook()),
        }
        Ok(())
    }

    /// Prints bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.out.write_all(bytes)?;
        Ok(())
    }

    /// Prints what had to wait for the last row.
    pub fn finish(&mut self) -> Result<(), CliError> {
        let listed = self.table.take();
        match (self.output.unwrap_or(Output::Table), listed) {
            (Output::Table, Some((columns, rows))) => write_table(
                &mut self.out,
                Some(columns),
                rows,
                &std::mem::take(&mut self.red),
            )?,
            (Output::Json, Some(_)) if self.printed == 0 => self.out.write_all(b"[]\n")?,
            (Output::Json, _) if self.printed > 0 => self.out.write_all(b"\n]\n")?,
            _ => {}
        }
        self.out.flush()?;
        Ok(())
    }

    fn chosen(&self, usual: impl FnOnce() -> Vec<String>) -> Vec<String> {
        if self.columns.is_empty() {
            usual()
        } else {
            self.columns.clone()
        }
    }

    fn picked(&self, row: &Value) -> Value {
        if self.columns.is_empty() {
            return row.clone();
        }
        let pick = |column: &String| {
            (
                column.clone(),
                field(row, column).cloned().unwrap_or(Value::Null),
            )
        };
        Value::Object(self.columns.iter().map(pick).collect())
    }

    fn csv(&mut self, usual: &[&str], row: &Value) -> Result<(), CliError> {
        if self.printed == 0 && self.table.is_none() {
            let columns = ordered(usual, row);
            let columns = self.chosen(|| columns);
            csv_line(&mut self.out, columns.iter().map(String::as_str))?;
            self.table = Some((columns, Vec::new()));
        }
        let columns = self
            .table
            .as_ref()
            .map(|(columns, _)| columns.clone())
            .unwrap_or_default();
        let cells: Vec<String> = columns
            .iter()
            .map(|column| cell(field(row, column), false))
            .collect();
        csv_line(&mut self.out, cells.iter().map(String::as_str))
    }
}

/// The field of an interface that, when it is off, lets anybody on the way read and change requests.
const UNVERIFIED: &str = "tls_verify";

fn is_alarming(row: &Value) -> bool {
    row.get(UNVERIFIED) == Some(&Value::Bool(false))
}

/// Files of rows are written by the server and passed on as they are.
fn no_workbook() -> CliError {
    CliError::new(
        Exit::Usage,
        "only exports of numbers and regions are workbooks",
    )
}

fn csv_line<'c>(
    out: &mut impl Write,
    cells: impl Iterator<Item = &'c str>,
) -> Result<(), CliError> {
    let mut line = csv::Writer::from_writer(Vec::new());
    let written = line.write_record(cells).map_err(std::io::Error::other);
    written?;
    let bytes = line
        .into_inner()
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    out.write_all(&bytes)?;
    Ok(())
}

fn write_table(
    out: &mut impl Write,
    header: Option<Vec<String>>,
    rows: Vec<Vec<String>>,
    red: &[usize],
) -> Result<(), CliError> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if let Some(header) = header {
        table.set_header(header.iter().map(|column| column.to_uppercase()));
    }
    for row in rows {
        table.add_row(row);
    }
    for (number, line) in table.lines().enumerate() {
        let line = line.trim_end();
        // Every cell has a blank before it, the first one too.
        let line = line.strip_prefix(' ').unwrap_or(line);
        match red.contains(&number) {
            true => writeln!(out, "\x1b[1;31m{line}\x1b[0m")?,
            false => writeln!(out, "{line}")?,
        }
    }
    Ok(())
}

/// All fields of a thing, those of `first` before the others.
fn ordered(first: &[&str], thing: &Value) -> Vec<String> {
    let first = first.iter().filter(|column| field(thing, column).is_some());
    let mut columns: Vec<String> = first.map(|column| (*column).to_owned()).collect();
    for name in names(thing) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    columns
}

fn names(thing: &Value) -> Vec<String> {
    thing
        .as_object()
        .map(|fields| fields.keys().cloned().collect())
        .unwrap_or_default()
}

/// A field, or a part of one written `raft.term`.
fn field<'v>(row: &'v Value, column: &str) -> Option<&'v Value> {
    row.get(column).or_else(|| {
        column
            .split('.')
            .try_fold(row, |value, part| value.get(part))
    })
}

/// A value as text. On a terminal control characters must not reach it: some values come from the network.
pub(super) fn cell(value: Option<&Value>, terminal: bool) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items))
            if items
                .iter()
                .all(|item| !item.is_object() && !item.is_array()) =>
        {
            items
                .iter()
                .map(|item| cell(Some(item), terminal))
                .collect::<Vec<_>>()
                .join(",")
        }
        Some(other) => other.to_string(),
    };
    match terminal {
        true => text
            .chars()
            .map(|letter| if letter.is_control() { '·' } else { letter })
            .collect(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn printed(
        output: Output,
        columns: &[&str],
        print: impl FnOnce(&mut Printer<&mut Vec<u8>>),
    ) -> String {
        let mut out = Vec::new();
        let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
        let mut printer = Printer::new(&mut out, Some(output), &columns);
        print(&mut printer);
        printer.finish().expect("memory takes everything");
        String::from_utf8(out).expect("text")
    }

    fn two_rows(printer: &mut Printer<&mut Vec<u8>>) {
        let rows = [
            json!({"name": "hz-1", "urls": ["a", "b"], "raft": {"term": 3}, "memo": null}),
            json!({"name": "x,\u{1b}[2J", "urls": [], "raft": {"term": 12}, "memo": "\"m\""}),
        ];
        printer
            .rows(&["name", "raft.term"], &rows[..1])
            .expect("memory");
        printer
            .rows(&["name", "raft.term"], &rows[1..])
            .expect("memory");
    }

    #[test]
    fn every_form_holds_the_rows() {
        assert_eq!(
            printed(Output::Table, &[], two_rows),
            "NAME    RAFT.TERM\nhz-1    3\nx,·[2J  12\n"
        );
        assert_eq!(printed(Output::Table, &["urls"], two_rows), "URLS\na,b\n\n");
        assert_eq!(
            printed(Output::Csv, &["name", "memo", "urls"], two_rows),
            "name,memo,urls\nhz-1,,\"a,b\"\n\"x,\u{1b}[2J\",\"\"\"m\"\"\",\n"
        );
        assert!(printed(Output::Csv, &[], two_rows).starts_with("name,raft.term,memo,raft,urls\n"));
        let lines = printed(Output::Jsonl, &[], two_rows);
        assert_eq!(lines.lines().count(), 2);
        let whole: Value =
            serde_json::from_str(&printed(Output::Json, &["name"], two_rows)).expect("JSON");
        assert_eq!(whole, json!([{"name": "hz-1"}, {"name": "x,\u{1b}[2J"}]));
    }

    #[test]
    fn no_rows_are_an_empty_list_and_a_bare_header() {
        let none = |printer: &mut Printer<&mut Vec<u8>>| {
            printer.rows(&["name", "type"], &[]).expect("memory")
        };
        assert_eq!(printed(Output::Table, &[], none), "NAME  TYPE\n");
        assert_eq!(printed(Output::Json, &[], none), "[]\n");
        assert_eq!(printed(Output::Jsonl, &[], none), "");
        assert_eq!(printed(Output::Csv, &[], none), "name,type\n");
    }

    #[test]
    fn an_interface_that_verifies_no_certificate_is_red_where_colours_are_seen() {
        let rows = [
            json!({"name": "a", "tls_verify": true}),
            json!({"name": "b", "tls_verify": false}),
        ];
        let list = |colours: bool| {
            printed(Output::Table, &[], |printer| {
                printer.colours = colours;
                printer
                    .rows(&["name", "tls_verify"], &rows)
                    .expect("memory");
            })
        };
        assert_eq!(list(false), "NAME  TLS_VERIFY\na     true\nb     false\n");
        assert_eq!(
            list(true),
            "NAME  TLS_VERIFY\na     true\n\u{1b}[1;31mb     false\u{1b}[0m\n"
        );
        let one = |row: usize| {
            printed(Output::Table, &[], |printer| {
                printer.colours = true;
                printer.one(&rows[row]).expect("memory");
            })
        };
        assert!(!one(0).contains('\u{1b}'));
        assert_eq!(
            one(1),
            "name        b\n\u{1b}[1;31mtls_verify  false\u{1b}[0m\n"
        );
    }

    #[test]
    fn one_thing_is_a_field_a_line() {
        let one = |printer: &mut Printer<&mut Vec<u8>>| {
            printer.first = &["term", "none"];
            printer
                .one(&json!({"leader": "dev-1", "term": 4}))
                .expect("memory");
        };
        assert_eq!(
            printed(Output::Table, &[], one),
            "term    4\nleader  dev-1\n"
        );
        assert_eq!(printed(Output::Csv, &[], one), "term,leader\n4,dev-1\n");
        assert_eq!(
            printed(Output::Jsonl, &[], one),
            "{\"leader\":\"dev-1\",\"term\":4}\n"
        );
    }
}
