//! AX 绑定管理, and the comparison of platforms with the state.

use super::args::{AxVerb, ReconcileArgs, Rows};
use super::http::{Client, Request};
use super::print::Printer;
use super::{CliError, Exit, complain, note};
use crate::reconciliation::{Difference, Kind, Outcome, Progress, Reconciliation};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Longest line of an answer: a whole result of ten thousand differences.
const LINE_MAX: usize = 16 << 20;
/// How often a relation is looked at while the platform is asked.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl AxVerb {
    pub(super) fn rows(&self) -> Option<Rows<'_>> {
        Some(match self {
            AxVerb::List(args) => Rows::List(args),
            AxVerb::Show { name } => Rows::Show(name),
            AxVerb::Add(args) => Rows::Add(args),
            AxVerb::Set(args) => Rows::Set(args),
            AxVerb::Remove(args) => Rows::Remove(args),
            AxVerb::Bind { .. } | AxVerb::Unbind { .. } | AxVerb::ForceUnbind { .. } => {
                return None;
            }
        })
    }
}

/// Binds or releases relations, waits for the platform's answers and prints the rows.
pub async fn ax<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    verb: &AxVerb,
    usual: &[&str],
) -> Result<Exit, CliError> {
    let (names, action, wanted, wait) = match verb {
        AxVerb::Bind { names, wait_secs } => (names, "bind", "bound", *wait_secs),
        AxVerb::Unbind { names, wait_secs } => (names, "unbind", "unbound", *wait_secs),
        AxVerb::ForceUnbind { names } => (names, "force-unbind", "unbound", 0),
        _ => return Err(CliError::new(Exit::Usage, "no such command")),
    };
    let until = Instant::now() + Duration::from_secs(wait);
    let (mut asked, mut failed) = (Vec::new(), Vec::new());
    for name in names {
        let path = |last: &'static str| {
            let parts = std::iter::once("ax-bindings").chain(name.split('/'));
            parts.chain((!last.is_empty()).then_some(last))
        };
        match client.json(Request::new(Method::POST, path(action))).await {
            Ok(_) => asked.push(name),
            Err(error)
                if asked.is_empty()
                    && matches!(error.exit, Exit::Unauthorised | Exit::Unavailable) =>
            {
                return Err(error);
            }
            Err(error) => failed.push(error),
        }
    }
    let (mut rows, mut unlike) = (Vec::new(), 0);
    for name in asked {
        let row = settled(client, name, until).await?;
        let state = text(&row, "state");
        if state != wanted {
            unlike += 1;
            let error = match text(&row, "last_error") {
                "" => "no answer yet",
                error => error,
            };
            complain(&format!("AX binding `{name}` is {state}: {error}"));
        }
        rows.push(row);
    }
    printer.rows(usual, &rows)?;
    let done = rows.len() - unlike;
    match failed.pop() {
        None if unlike == 0 => Ok(Exit::Ok),
        None if done > 0 => Ok(Exit::Partly),
        None => Ok(Exit::Error),
        Some(last) => {
            failed.iter().for_each(|error| complain(&error.text));
            let exit = if done > 0 { Exit::Partly } else { last.exit };
            Err(CliError { exit, ..last })
        }
    }
}

/// The row once nothing is under way, or as it is at `until`.
async fn settled(client: &Client, name: &str, until: Instant) -> Result<Value, CliError> {
    loop {
        let path = std::iter::once("ax-bindings").chain(name.split('/'));
        let row = client.json(Request::new(Method::GET, path)).await?;
        let under_way = matches!(text(&row, "state"), "binding" | "unbinding");
        if !under_way || Instant::now() >= until {
            return Ok(row);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn text<'v>(row: &'v Value, field: &str) -> &'v str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A line of the answer to a comparison.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Progress(Progress),
    Result(Box<Reconciliation>),
    Problem(crate::api::problem::Problem),
}

/// Compares platforms with the state and prints what differs.
pub async fn reconcile<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    args: &ReconcileArgs,
) -> Result<Exit, CliError> {
    let names = match &args.interface {
        Some(name) => vec![name.clone()],
        None => interfaces(client).await?,
    };
    let (mut left, mut unasked) = (0, 0);
    for name in &names {
        let result = compare(client, name, args.apply).await?;
        let rows: Vec<Value> = result
            .differences
            .iter()
            .map(|difference| line(&result, difference))
            .collect();
        printer.rows(COLUMNS, &rows)?;
        for unasked in &result.unasked {
            complain(&format!("{name}: X {}: {}", unasked.x, unasked.error));
        }
        note(&words(&result));
        let open = |difference: &&Difference| {
            let stays = matches!(difference.outcome, Outcome::Shown | Outcome::Stands);
            difference.kind != Kind::InFlight && stays
        };
        left += result.differences.iter().filter(open).count() as u64 + result.more;
        unasked += result.unasked.len();
    }
    Ok(match (left, unasked) {
        (0, 0) => Exit::Ok,
        _ if args.apply || left == 0 => Exit::Partly,
        _ => Exit::Error,
    })
}

const COLUMNS: &[&str] = &[
    "interface_name",
    "held_by",
    "what",
    "id",
    "a_number",
    "x_number",
    "b_number",
    "outcome",
    "note",
];

fn line(result: &Reconciliation, difference: &Difference) -> Value {
    use crate::reconciliation::Subject;
    let (what, id) = match difference.subject {
        Subject::Binding(id) => ("binding", id),
        Subject::Ax(id) => ("ax", id.map(u64::from)),
    };
    let held_by = match difference.kind {
        Kind::OnlyThere => "platform",
        Kind::OnlyHere => "us",
        Kind::InFlight => "under way",
    };
    json!({
        "interface_name": result.interface,
        "held_by": held_by,
        "what": what,
        "id": id,
        "a_number": difference.a,
        "x_number": difference.x,
        "b_number": difference.b,
        "outcome": difference.outcome,
        "note": difference.note,
    })
}

fn words(result: &Reconciliation) -> String {
    let (there, here) = (result.count(Kind::OnlyThere), result.count(Kind::OnlyHere));
    let cleared = result
        .differences
        .iter()
        .filter(|difference| difference.outcome == Outcome::Cleared)
        .count();
    let mut words = format!(
        "{}: {} X numbers asked, {} agree, {there} only at the platform, {here} only here",
        result.interface, result.asked, result.agreed
    );
    if result.apply {
        words.push_str(&format!(", {cleared} cleared"));
    } else if there + here > 0 {
        words.push_str("; `--apply` clears them");
    }
    if result.more > 0 {
        words.push_str(&format!("; {} more: run it again", result.more));
    }
    words
}

async fn interfaces(client: &Client) -> Result<Vec<String>, CliError> {
    let list = Request::new(Method::GET, ["interfaces"]);
    let answer = client
        .json(list.query([("limit".to_owned(), "1000".to_owned())]))
        .await?;
    let items = answer.get("items").and_then(Value::as_array);
    Ok(items
        .into_iter()
        .flatten()
        .map(|row| text(row, "name").to_owned())
        .collect())
}

async fn compare(client: &Client, name: &str, apply: bool) -> Result<Reconciliation, CliError> {
    let request = Request::new(Method::POST, ["interfaces", name, "reconcile"])
        .query([("apply".to_owned(), apply.to_string())]);
    let mut response = client.send(request).await?;
    let broken = |why: &str| CliError::new(Exit::Unavailable, format!("interface `{name}`: {why}"));
    let watched = std::io::stderr().is_terminal();
    let mut buffer = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| broken(&error.to_string()))?
    {
        buffer.extend_from_slice(&chunk);
        if buffer.len() > LINE_MAX {
            return Err(broken("the answer is too long"));
        }
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let bytes: Vec<u8> = buffer.drain(..=end).collect();
            let line: Line =
                serde_json::from_slice(&bytes).map_err(|_| broken("the answer cannot be read"))?;
            match line {
                Line::Progress(progress) if watched => {
                    eprint!("\r{name}: {} of {} X numbers", progress.asked, progress.of);
                    if progress.asked == progress.of {
                        eprintln!();
                    }
                }
                Line::Progress(_) => {}
                Line::Result(result) => return Ok(*result),
                Line::Problem(problem) => return Err(broken(&problem.detail)),
            }
        }
    }
    Err(broken("the answer broke off"))
}
