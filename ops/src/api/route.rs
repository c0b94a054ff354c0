//! Every decision about a call that is not made.

use super::Shared;
use super::params::object;
use super::problem::Problem;
use crate::dto::{self, Fault};
use crate::rows;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value};
use tandem_cluster::command::CallId;
use tandem_cluster::entity::Table;
use tandem_cluster::state::explain::Question;

/// Bytes of a number in a question.
const NUMBER_MAX: usize = 64;
/// Fields of an explanation that are money, wherever they stand.
const AMOUNTS: [&str; 5] = ["money", "limit_money", "reserved", "available", "fee"];

/// What may be asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Name of the mapping gateway.
    from: String,
    /// C, as received.
    caller: String,
    /// Callee as received.
    callee: String,
    /// The dice; random when left out.
    seed: Option<u64>,
}

pub async fn test(
    shared: web::Data<Shared>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let asked = dto::strict::<Asked>(&object(payload).await?)?;
    for (field, number) in [("caller", &asked.caller), ("callee", &asked.callee)] {
        if number.len() > NUMBER_MAX {
            return Err(Fault::new(field, format!("longer than {NUMBER_MAX} bytes")).into());
        }
    }
    let none = || Problem::not_found(format!("no mapping gateway `{}`", asked.from));
    let gateway = rows::locate(&shared.switch.state(), Table::MappingGateways, &asked.from)
        .ok_or_else(none)?
        .id;
    let question = Question {
        gateway,
        caller: asked.caller.clone(),
        callee: asked.callee.clone(),
        seed: asked.seed.unwrap_or_else(rand::random),
        call: CallId(0),
    };
    let switch = shared.switch.clone();
    // Walks over all numbers of the interfaces that are asked.
    let told = web::block(move || switch.explain(&question))
        .await
        .map_err(|_| Problem::internal("the explanation broke off"))?
        .ok_or_else(none)?;
    let mut told = serde_json::to_value(told).unwrap_or_default();
    for_people(&mut told);
    Ok(HttpResponse::Ok().json(told))
}

/// Money as decimal strings, times in RFC 3339, outcomes as keys.
fn for_people(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(for_people),
        Value::Object(fields) => {
            for (name, field) in fields {
                match (name.as_str(), &*field) {
                    (name, Value::Number(amount)) if AMOUNTS.contains(&name) => {
                        *field = rows::money(amount.as_i64().unwrap_or_default());
                    }
                    ("valid_until", Value::Number(at)) => {
                        *field = rows::time(at.as_u64().unwrap_or_default());
                    }
                    ("refused", Value::String(name)) => *field = key(name).into(),
                    ("refused", Value::Object(refusal)) => *field = key(first(refusal)).into(),
                    _ => for_people(field),
                }
            }
        }
        _ => {}
    }
}

fn first(fields: &Map<String, Value>) -> &str {
    fields.keys().next().map_or("", String::as_str)
}

/// `NoAxbNumber` as operators know it: `no_axb_number`.
fn key(name: &str) -> String {
    let mut key = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !key.is_empty() {
            key.push('_');
        }
        key.push(letter.to_ascii_lowercase());
    }
    key
}
