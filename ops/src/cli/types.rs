//! `tandem interface types`

use super::http::{Client, Request};
use super::print::Printer;
use super::verbs::{pages, show};
use super::{CliError, Exit, Output};
use crate::types::{Form, InterfaceType, TypeParam};
use reqwest::Method;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write;

/// Columns of the list of types.
const TYPES: &[&str] = &[
    "id",
    "name",
    "title",
    "policy.ax",
    "policy.set_callee",
    "policy.query",
    "policy.conflict",
    "policy.pair_rest_ms",
    "base_url",
];
/// Columns of one type's parameters.
const PARAMS: &[&str] = &["params", "form", "default", "required", "secret", "help"];

/// All types, or one of them with its parameters.
pub async fn run<W: Write>(
    client: &Client,
    printer: &mut Printer<W>,
    name: Option<&str>,
) -> Result<Exit, CliError> {
    let Some(name) = name else {
        return pages(
            client,
            printer,
            &["interface-types"],
            TYPES,
            Vec::new(),
            None,
        )
        .await;
    };
    let request = Request::new(Method::GET, ["interface-types", name]);
    if printer.output.unwrap_or(Output::Table) != Output::Table {
        return show(client, printer, request).await;
    }
    let known: InterfaceType = serde_json::from_value(client.json(request).await?)
        .map_err(|error| CliError::new(Exit::Error, format!("interface type: {error}")))?;
    printer.raw(head(&known).as_bytes())?;
    let params: Vec<Value> = known.params.iter().map(row).collect();
    printer.rows(PARAMS, &params)?;
    Ok(Exit::Ok)
}

/// What stands above the parameters.
fn head(known: &InterfaceType) -> String {
    let InterfaceType {
        id,
        name,
        title,
        base_url,
        ..
    } = known;
    let yes = |can: bool| if can { "yes" } else { "no" };
    let policy = &known.policy;
    let conflict = json!(policy.conflict);
    let mut text = format!("{name} (type {id}): {title}\n");
    // Writing into a text cannot fail.
    let _ = writeln!(
        text,
        "AX {}, AX outgoing {}, reconcile {}, conflict {}, pair rest {} ms",
        yes(policy.ax),
        yes(policy.set_callee),
        yes(policy.query),
        conflict.as_str().unwrap_or_default(),
        policy.pair_rest_ms
    );
    let _ = writeln!(text, "urls.base = {base_url}");
    for url in &known.urls {
        let _ = writeln!(text, "urls.{} = {} ({})", url.name, url.path, url.method);
    }
    text.push('\n');
    text
}

fn row(param: &TypeParam) -> Value {
    json!({
        "params": param.name,
        "form": form(&param.form),
        "default": param.default,
        "required": param.required,
        "secret": param.secret,
        "help": param.help,
    })
}

fn form(form: &Form) -> String {
    match form {
        Form::Text { bytes_max } => format!("text, {bytes_max} bytes"),
        Form::Number {
            min,
            max,
            warn_below,
        } => match warn_below {
            Some(low) => format!("{min} to {max}, warns below {}", low.least),
            None => format!("{min} to {max}"),
        },
        Form::Choice { words } => words.join(" | "),
    }
}
