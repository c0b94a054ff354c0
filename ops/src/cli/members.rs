//! `cluster add`, `cluster remove`: who belongs to the cluster.

use super::http::{Client, Request};
use super::print::Printer;
use super::{CliError, Exit, note};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};

/// How often a node that catches up is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Adds a node step by step, with a bar on a terminal.
pub async fn add<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    (id, address, replaces): (u64, &str, Option<&str>),
    wait: Duration,
) -> Result<Exit, CliError> {
    printer.first = &["node", "address", "voter", "holds", "of"];
    let body = json!({"node": id, "address": address, "replaces": replaces});
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} entries, {eta} left") {
        bar.set_style(style);
    }
    let begun = Instant::now();
    let mut begins = true;
    let outcome = loop {
        let step = client
            .json(Request::new(Method::POST, ["cluster", "add"]).json(&body))
            .await;
        let step = match step {
            Ok(step) => step,
            // Leadership may be changing hands; the first step is told at once all the same.
            Err(error) if !begins && error.exit == Exit::Unavailable && begun.elapsed() < wait => {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            Err(error) => break Err(error),
        };
        begins = false;
        let number = |field: &str| step.get(field).and_then(Value::as_u64).unwrap_or(0);
        bar.set_length(number("of"));
        bar.set_position(number("holds"));
        if step.get("voter").and_then(Value::as_bool) == Some(true) {
            break Ok(step);
        }
        if begun.elapsed() >= wait {
            let text = format!(
                "node {id} has caught up with {} of {} entries and has no vote yet: the same command goes on",
                number("holds"),
                number("of")
            );
            break Err(CliError::new(Exit::Partly, text));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    bar.finish_and_clear();
    printer.one(&outcome?)?;
    Ok(Exit::Ok)
}

/// Removes a node.
pub async fn remove<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    node: &str,
    force: bool,
) -> Result<Exit, CliError> {
    let body = json!({"node": node, "force": force});
    let request = Request::new(Method::POST, ["cluster", "remove"]).json(&body);
    printer.one(&client.json(request).await?)?;
    Ok(Exit::Ok)
}

/// Tells of members that are not simply voters which the table of nodes shows.
pub fn tell(status: &Value) {
    let list = |field: &str| {
        let list = status.get(field).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    for member in list("members") {
        let text = |field: &str| match member.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        let (node, address) = (text("node"), text("address"));
        let who = format!(
            "node {} at {}",
            node.unwrap_or_default(),
            address.unwrap_or_default()
        );
        if member.get("voter").and_then(Value::as_bool) == Some(false) {
            let applied = text("applied").unwrap_or_else(|| "nothing yet".to_owned());
            note(&format!("{who} has no vote yet, applied {applied}"));
        } else if text("name").is_none() {
            note(&format!("{who} has never claimed an access name"));
        }
    }
}
