//! What is seen of the traffic with platforms, and the trial of an interface.

use super::args::{ExchangesArgs, TestArgs};
use super::columns::{EXCHANGE, INTERFACE_NODE};
use super::http::{Client, Request};
use super::print::{Printer, cell};
use super::{CliError, Exit, Output, note, warn};
use reqwest::Method;
use serde_json::{Map, Value};
use std::io::Write;

/// The last requests to a platform, the oldest first.
pub async fn exchanges<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    args: &ExchangesArgs,
) -> Result<Exit, CliError> {
    let node = args
        .node
        .iter()
        .map(|node| ("node".to_owned(), node.clone()));
    let request = Request::new(Method::GET, ["interfaces", &args.name, "exchanges"]).query(node);
    let answer = client.json(request).await?;
    let items = list(&answer, "items");
    if args.full && printer.output.unwrap_or(Output::Table) == Output::Table {
        for item in items {
            printer.raw(step(item).as_bytes())?;
        }
    } else {
        printer.rows(EXCHANGE, items)?;
    }
    said_silent(&answer);
    Ok(Exit::Ok)
}

/// How an interface does, node by node.
pub async fn status<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    name: &str,
) -> Result<Exit, CliError> {
    let request = Request::new(Method::GET, ["interfaces", name, "status"]);
    let answer = client.json(request).await?;
    match printer.output.unwrap_or(Output::Table) {
        Output::Table | Output::Csv => printer.rows(INTERFACE_NODE, list(&answer, "nodes"))?,
        _ => printer.one(&answer)?,
    }
    if let Some(error) = answer.get("last_error").and_then(Value::as_str) {
        let at = cell(answer.get("last_error_at"), true);
        note(&format!(
            "last error at {at}: {}",
            cell(Some(&error.into()), true)
        ));
    }
    said_silent(&answer);
    Ok(Exit::Ok)
}

/// Binds and unbinds a spare number and shows every request and answer.
pub async fn test<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    args: &TestArgs,
) -> Result<Exit, CliError> {
    let mut body = Map::new();
    for (field, number) in [("a", &args.a), ("x", &args.x), ("b", &args.b)] {
        if let Some(number) = number {
            body.insert(field.to_owned(), number.clone().into());
        }
    }
    body.insert("within_secs".to_owned(), args.within_secs.into());
    let request = Request::new(Method::POST, ["interfaces", &args.name, "test"]);
    let tried = client.json(request.json(&Value::Object(body))).await?;
    match printer.output.unwrap_or(Output::Table) {
        Output::Table => printer.raw(told(&tried).as_bytes())?,
        _ => printer.one(&tried)?,
    }
    warn(&tried);
    let is = |field: &str| tried.get(field).and_then(Value::as_bool) == Some(true);
    Ok(match (is("passed"), is("left")) {
        (true, false) => Exit::Ok,
        (_, true) => Exit::Partly,
        (false, false) => Exit::Error,
    })
}

fn said_silent(answer: &Value) {
    for node in list(answer, "silent") {
        note(&format!(
            "device `{}` does not answer",
            cell(Some(node), true)
        ));
    }
}

fn list<'v>(answer: &'v Value, field: &str) -> &'v [Value] {
    let items = answer.get(field).and_then(Value::as_array);
    items.map_or(&[], Vec::as_slice)
}

/// A trial in words. What came from the network must not steer the terminal, so all of it goes through [`cell`].
fn told(tried: &Value) -> String {
    let text = |field: &str| cell(tried.get(field), true);
    let mut out = format!(
        "interface {} ({}) from node {}: A {}, X {}, B {}\n\n",
        text("interface"),
        text("type"),
        text("node"),
        text("a_number"),
        text("x_number"),
        text("b_number"),
    );
    for one in list(tried, "steps") {
        out.push_str(&step(one));
    }
    let head = match tried.get("passed").and_then(Value::as_bool) {
        Some(true) => "passed",
        _ => "FAILED",
    };
    out.push_str(&format!(
        "{head} in {} ms: {}\n",
        text("took_ms"),
        text("verdict")
    ));
    out
}

/// One request and its answer, as curl would show them.
fn step(step: &Value) -> String {
    let text = |field: &str| cell(step.get(field), true);
    let mut head = vec![text("op"), text("outcome")];
    if let Some(code) = step.get("code").and_then(Value::as_str) {
        head.push(format!("code {}", cell(Some(&code.into()), true)));
    }
    head.push(match step.get("sent").and_then(Value::as_bool) {
        Some(true) => format!("{} ms", text("took_ms")),
        _ => "not sent".to_owned(),
    });
    for field in ["http", "tls", "remote"] {
        head.push(text(field));
    }
    let offset = step.get("clock_offset_ms").and_then(Value::as_i64);
    if let Some(offset) = offset.filter(|offset| *offset != 0) {
        head.push(format!("clock {offset:+} ms"));
    }
    head.retain(|word| !word.is_empty());
    let mut out = format!("{}  {}  {}\n", text("at"), text("node"), head.join("  "));
    side(&mut out, '>', step.get("request"));
    match step.get("answer") {
        None | Some(Value::Null) => out.push_str(&format!("  ! {}\n", text("text"))),
        answer => side(&mut out, '<', answer),
    }
    out.push('\n');
    out
}

fn side(out: &mut String, mark: char, side: Option<&Value>) {
    let Some(side) = side else { return };
    out.push_str(&format!("  {mark} {}\n", cell(side.get("line"), true)));
    for header in list(side, "headers") {
        let (name, value) = (cell(header.get(0), true), cell(header.get(1), true));
        out.push_str(&format!("  {mark} {name}: {value}\n"));
    }
    let body = cell(side.get("body"), true);
    let bytes = side.get("body_bytes").and_then(Value::as_u64).unwrap_or(0);
    if bytes > 0 {
        out.push_str(&format!("  {mark} ({bytes} bytes) {body}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_step_reads_like_a_dialogue_and_steers_no_terminal() {
        let shown = step(&json!({
            "node": "n1", "at": "2025-11-21T22:00:00.000Z", "op": "bind", "outcome": "config",
            "code": "1020150", "text": "refused", "sent": true, "took_ms": 12.5, "http": "HTTP/1.1",
            "tls": null, "remote": "10.0.0.1:443", "clock_offset_ms": -61000,
            "request": {"line": "POST http://h/", "headers": [["X-AKSK", "***"]], "body": "{}", "body_bytes": 2},
            "answer": {"line": "401", "headers": [], "body": "no\u{1b}[2J", "body_bytes": 6},
        }));
        assert_eq!(
            shown,
            "2025-11-21T22:00:00.000Z  n1  bind  config  code 1020150  12.5 ms  HTTP/1.1  10.0.0.1:443  clock -61000 ms\n  \
             > POST http://h/\n  > X-AKSK: ***\n  > (2 bytes) {}\n  < 401\n  < (6 bytes) no·[2J\n\n"
        );
    }

    #[test]
    fn a_request_without_an_answer_says_why() {
        let shown = step(&json!({
            "node": "n1", "at": "t", "op": "bind", "outcome": "not_sent", "code": "connect",
            "text": "connection refused", "sent": true, "took_ms": 0.4, "clock_offset_ms": 0,
            "request": {"line": "POST http://h/", "headers": [], "body": "", "body_bytes": 0},
            "answer": null,
        }));
        assert_eq!(
            shown,
            "t  n1  bind  not_sent  code connect  0.4 ms\n  > POST http://h/\n  ! connection refused\n\n"
        );
    }
}
