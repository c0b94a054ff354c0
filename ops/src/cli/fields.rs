//! `FIELD=VALUE` as typed, turned into JSON of the type that the field has.

use super::{CliError, Exit};
use serde_json::{Map, Value};
use tandem_cluster::entity::Table;

use crate::dto;

/// What kind of JSON a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Flag,
    List,
    Numbers,
    Map,
}

/// Turns what was typed into the JSON fields of a row of `table`.
pub fn read(table: Table, typed: &[String]) -> Result<Map<String, Value>, CliError> {
    let schema = schema(table);
    let mut fields = Map::new();
    for pair in typed {
        let (name, text) = split(pair)?;
        let (name, part) = match name.split_once('.') {
            Some((name, part)) => (name, Some(part)),
            None => (name, None),
        };
        let kind = kind(&schema, name).ok_or_else(|| {
            CliError::new(
                Exit::Usage,
                format!("{} has no field `{name}`", dto::noun(table)),
            )
        })?;
        match part {
            None => {
                fields.insert(name.to_owned(), value(name, kind, text)?);
            }
            Some(part) if kind == Kind::Map => {
                let entry = fields
                    .entry(name)
                    .or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = entry {
                    map.insert(part.to_owned(), Value::String(text.to_owned()));
                }
            }
            Some(_) => return Err(CliError::new(Exit::Usage, format!("`{name}` has no parts"))),
        }
    }
    Ok(fields)
}

/// The two halves of `FIELD=VALUE`.
pub fn split(pair: &str) -> Result<(&str, &str), CliError> {
    pair.split_once('=')
        .ok_or_else(|| CliError::new(Exit::Usage, format!("`{pair}` is not written FIELD=VALUE")))
}

fn value(name: &str, kind: Kind, text: &str) -> Result<Value, CliError> {
    let wrong =
        |what: &str| CliError::new(Exit::Usage, format!("`{name}` takes {what}, not `{text}`"));
    if text.is_empty() && !matches!(kind, Kind::Text | Kind::List | Kind::Numbers) {
        return Ok(Value::Null);
    }
    match kind {
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::Number => text
            .parse::<u64>()
            .map(Value::from)
            .map_err(|_| wrong("a whole number")),
        Kind::Flag => match text {
            "true" | "yes" | "on" | "1" => Ok(Value::Bool(true)),
            "false" | "no" | "off" | "0" => Ok(Value::Bool(false)),
            _ => Err(wrong("true or false")),
        },
        Kind::List | Kind::Numbers if text.starts_with('[') => {
            serde_json::from_str(text).map_err(|_| wrong("a JSON list"))
        }
        Kind::List | Kind::Numbers if text.is_empty() => Ok(Value::Array(Vec::new())),
        Kind::List => Ok(text.split(',').map(Value::from).collect()),
        Kind::Numbers => {
            let numbers = text
                .split(',')
                .map(|item| item.parse::<u64>().map(Value::from));
            numbers
                .collect::<Result<_, _>>()
                .map_err(|_| wrong("whole numbers"))
        }
        Kind::Map => serde_json::from_str(text).map_err(|_| wrong("a JSON object")),
    }
}

/// The schema that the API document shows for rows of a table.
fn schema(table: Table) -> Value {
    // Schemas are plain data; should one not be JSON, every field is unknown.
    serde_json::to_value(crate::api::schema(table)).unwrap_or_default()
}

fn kind(schema: &Value, field: &str) -> Option<Kind> {
    let property = schema.get("properties")?.get(field)?;
    // Optional fields list `null` beside their type; references are enums of words or nested objects.
    let types: Vec<&str> = match property.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => vec!["reference"],
    };
    let first = types.into_iter().find(|kind| *kind != "null")?;
    Some(match first {
        "integer" | "number" => Kind::Number,
        "boolean" => Kind::Flag,
        "array"
            if property
                .pointer("/items/type")
                .is_some_and(|kind| kind == "integer") =>
        {
            Kind::Numbers
        }
        "array" => Kind::List,
        "object" => Kind::Map,
        "reference" if field.ends_with("_prefixes") => Kind::Map,
        _ => Kind::Text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(table: Table, typed: &[&str], expected: Value) {
        let typed: Vec<String> = typed.iter().map(|pair| (*pair).to_owned()).collect();
        assert_eq!(
            read(table, &typed).map(Value::Object),
            Ok(expected),
            "{typed:?}"
        );
    }

    #[test]
    fn values_take_the_type_of_their_field() {
        check(
            Table::XNumbers,
            &[
                "number=17000000000",
                "line_limit=20",
                "allow_other_callers=no",
                "callers=0571*,@0571,300",
                "state=disabled",
            ],
            json!({"number": "17000000000", "line_limit": 20, "allow_other_callers": false,
                "callers": ["0571*", "@0571", "300"], "state": "disabled"}),
        );
        check(
            Table::Interfaces,
            &[
                "params.app_key=k",
                "params.app_secret=s=1",
                "unbind_delay_secs=",
                "memo=",
            ],
            json!({"params": {"app_key": "k", "app_secret": "s=1"}, "unbind_delay_secs": null, "memo": ""}),
        );
        check(
            Table::RoutingGateways,
            &[
                "prefixes=",
                "switch_on=486,503",
                "axb_enabled=true",
                "signal_port=5062",
                "remote_ip=10.0.0.1",
            ],
            json!({"prefixes": [], "switch_on": [486, 503], "axb_enabled": true, "signal_port": 5062,
                "remote_ip": "10.0.0.1"}),
        );
        check(
            Table::Accounts,
            &["money=12.5", "type=settlement"],
            json!({"money": "12.5", "type": "settlement"}),
        );
    }

    #[test]
    fn mistakes_name_the_field() {
        for (table, typed, text) in [
            (
                Table::XNumbers,
                "nummer=1",
                "X number has no field `nummer`",
            ),
            (
                Table::XNumbers,
                "number",
                "`number` is not written FIELD=VALUE",
            ),
            (
                Table::XNumbers,
                "line_limit=many",
                "`line_limit` takes a whole number, not `many`",
            ),
            (
                Table::XNumbers,
                "allow_other_callers=maybe",
                "`allow_other_callers` takes true or false, not `maybe`",
            ),
            (Table::XNumbers, "number.x=1", "`number` has no parts"),
        ] {
            let error = read(table, &[typed.to_owned()]).expect_err(typed);
            assert_eq!((error.exit, error.text.as_str()), (Exit::Usage, text));
        }
    }
}
