//! `cluster upgrade`: the level is held, or rises.

use super::http::{Client, Request};
use super::print::Printer;
use super::{CliError, Exit, note};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};

/// How often the level is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Holds the level; or lets it rise and waits until it has.
pub async fn upgrade<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    hold: bool,
    wait: Duration,
) -> Result<Exit, CliError> {
    printer.first = &["level", "level_held", "level_spoken"];
    let request = Request::new(Method::POST, ["cluster", "upgrade"]);
    let mut status = client.json(request.json(&json!({"hold": hold}))).await?;
    if hold {
        printer.one(&told(&status))?;
        return Ok(Exit::Ok);
    }
    let begun = Instant::now();
    loop {
        let number = |field: &str| status.get(field).and_then(Value::as_u64).unwrap_or(0);
        let (level, spoken) = (number("level"), number("level_spoken"));
        if level >= spoken {
            printer.one(&told(&status))?;
            return Ok(Exit::Ok);
        }
        let behind = status.get("level_behind").and_then(Value::as_array);
        let behind: Vec<&str> = behind
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if begun.elapsed() >= wait {
            let (exit, why) = match behind.is_empty() {
                true => (Exit::Partly, "it has not risen yet".to_owned()),
                false => (Exit::Refused, behind.join(", ")),
            };
            let text = format!("cluster stays at level {level}, not {spoken}: {why}");
            return Err(CliError::new(exit, text));
        }
        if begun.elapsed() < LOOK_EVERY {
            match behind.is_empty() {
                true => note(&format!(
                    "waits until every node has spoken level {spoken} for a while"
                )),
                false => note(&format!("waits for level {spoken}: {}", behind.join(", "))),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
        status = client.json(Request::new(Method::GET, ["cluster"])).await?;
    }
}

/// What the answer says of levels.
fn told(status: &Value) -> Value {
    let field = |name: &str| status.get(name).cloned().unwrap_or_default();
    json!({
        "level": field("level"),
        "level_held": field("level_held"),
        "level_spoken": field("level_spoken"),
    })
}
