//! Query parameters, bodies and pages, alike for all lists.

use super::problem::Problem;
use super::sort::{self, Place};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Rows of a page when the request does not say.
const LIMIT: usize = 100;
/// Most rows of a page.
pub const LIMIT_MAX: usize = 1_000;
/// Most query parameters of a request.
const PARAMETERS_MAX: usize = 64;

/// Query parameters; each is taken once, and what is left over at the end is a mistake.
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Of a request.
    pub fn of(request: &HttpRequest) -> Result<Params, Problem> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|error| Problem::bad_request(format!("query: {error}")))?
            .into_inner();
        if pairs.len() > PARAMETERS_MAX {
            return Err(Problem::bad_request(format!(
                "more than {PARAMETERS_MAX} query parameters"
            )));
        }
        Ok(Params(pairs))
    }

    /// A parameter's text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// A parameter that is read.
    pub fn read<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T::Err: std::fmt::Display,
    {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|error| Problem::bad_request(format!("`{name}`: {error}")))
    }

    /// `limit`, 1 to 1,000.
    pub fn limit(&mut self) -> Result<usize, Problem> {
        match self.read::<usize>("limit")? {
            None => Ok(LIMIT),
            Some(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
            Some(limit) => Err(Problem::bad_request(format!(
                "`limit`: {limit} is not within 1 and {LIMIT_MAX}"
            ))),
        }
    }

    /// `cursor` as an answer gave it.
    pub fn cursor(&mut self) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text("cursor") else {
            return Ok(None);
        };
        match u64::from_str_radix(text.trim_start_matches('c'), 16) {
            Ok(cursor) if text.starts_with('c') => Ok(Some(cursor)),
            _ => Err(Problem::bad_request(format!(
                "`cursor`: `{text}` is none of ours"
            ))),
        }
    }

    /// Whatever is left is a mistake.
    pub fn done(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::bad_request(format!("no query parameter `{name}`"))),
        }
    }

    /// What is left are conditions on fields.
    pub fn filters(self) -> Vec<(String, String)> {
        self.0
    }
}

/// One page, as every list answers it.
pub fn page(items: Vec<Value>, next: Option<u64>) -> Value {
    // A cursor is opaque, so it does not look like a number that one could count up.
    json!({"items": items, "next_cursor": next.map(|next| format!("c{next:x}"))})
}

/// Walks rows and answers the page that the request asks for, in the order of their keys or of the field that `sort`
/// names (`-field`: in reverse). A row is made into JSON only when its turn comes. Conditions are `field=value`; a
/// value that ends in `*` fits by its beginning.
pub fn list<R>(
    request: &HttpRequest,
    rows: impl Iterator<Item = (u64, R)>,
    view: impl Fn(R) -> Value,
) -> Result<Value, Problem> {
    list_by(request, rows, view, &[])
}

/// As [`list`], where fields have shorter names for conditions and `sort`: pairs of short and whole.
pub fn list_by<R>(
    request: &HttpRequest,
    rows: impl Iterator<Item = (u64, R)>,
    view: impl Fn(R) -> Value,
    short: &[(&str, &str)],
) -> Result<Value, Problem> {
    let whole = |name: &str| {
        let found = short.iter().find(|(short, _)| *short == name);
        found.map_or(name, |(_, whole)| whole).to_owned()
    };
    let full = |filters: Vec<(String, String)>| -> Vec<(String, String)> {
        let named = |(name, value): (String, String)| (whole(&name), value);
        filters.into_iter().map(named).collect()
    };
    let mut params = Params::of(request)?;
    let limit = params.limit()?;
    let sort = params
        .text("sort")
        .map(|sort| match sort.strip_prefix('-') {
            Some(field) => (whole(field), true),
            None => (whole(&sort), false),
        });
    if let Some((field, reverse)) = sort {
        let from = params
            .text("cursor")
            .map(|text| sort::read(&text))
            .transpose()?;
        let filters = full(params.filters());
        return sorted(
            rows,
            view,
            &filters,
            limit,
            &Sort {
                field,
                reverse,
                from,
            },
        );
    }
    let cursor = params.cursor()?;
    let filters = full(params.filters());
    let mut items = Vec::new();
    let mut last = 0;
    for (key, row) in rows.filter(|(key, _)| cursor.is_none_or(|cursor| *key > cursor)) {
        let row = view(row);
        if !fits(&row, &filters)? {
            continue;
        }
        if items.len() == limit {
            return Ok(page(items, Some(last)));
        }
        items.push(row);
        last = key;
    }
    Ok(page(items, None))
}

struct Sort {
    field: String,
    reverse: bool,
    /// The last row of the page before.
    from: Option<Place>,
}

/// A page of rows in the order of a field. Every row is looked at, and never more than a page of them kept.
fn sorted<R>(
    rows: impl Iterator<Item = (u64, R)>,
    view: impl Fn(R) -> Value,
    filters: &[(String, String)],
    limit: usize,
    sort: &Sort,
) -> Result<Value, Problem> {
    let before = |one: &Place, other: &Place| match sort.reverse {
        false => one < other,
        true => one > other,
    };
    let mut kept: BTreeMap<Place, Value> = BTreeMap::new();
    let mut more = false;
    for (key, row) in rows {
        let row = view(row);
        let value = row
            .get(&sort.field)
            .ok_or_else(|| Problem::bad_request(format!("no field `{}` to sort by", sort.field)))?;
        let place = Place::of(&sort.field, value, key);
        if !fits(&row, filters)? || sort.from.as_ref().is_some_and(|from| !before(from, &place)) {
            continue;
        }
        kept.insert(place, row);
        if kept.len() > limit {
            more = true;
            match sort.reverse {
                false => kept.pop_last(),
                true => kept.pop_first(),
            };
        }
    }
    let last = match sort.reverse {
        false => kept.last_key_value(),
        true => kept.first_key_value(),
    };
    let next = last.filter(|_| more).map(|(place, _)| place.written());
    let mut items: Vec<Value> = kept.into_values().collect();
    if sort.reverse {
        items.reverse();
    }
    Ok(json!({"items": items, "next_cursor": next}))
}

/// Whether a row meets all conditions.
pub fn fits(row: &Value, filters: &[(String, String)]) -> Result<bool, Problem> {
    let mut all = true;
    for (name, wanted) in filters {
        let value = row
            .get(name)
            .ok_or_else(|| Problem::bad_request(format!("no field `{name}` to filter by")))?;
        all &= match value {
            Value::Array(items) => items.iter().any(|item| equals(item, wanted)),
            value => equals(value, wanted),
        };
    }
    Ok(all)
}

fn equals(value: &Value, wanted: &str) -> bool {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match wanted.strip_suffix('*') {
        // An X number's caller `0571*` is itself written with a star.
        Some(head) => text.starts_with(head) || text == wanted,
        None => text == wanted,
    }
}

/// The body as bytes, at most `most` of them.
pub async fn bytes(payload: web::Payload, most: usize) -> Result<web::Bytes, Problem> {
    match payload.to_bytes_limited(most).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(Problem::bad_request(format!("body: {error}"))),
        Err(_) => {
            let detail = format!("the body is larger than {most} bytes");
            Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                detail,
            ))
        }
    }
}

/// The body as a JSON object.
pub async fn object(payload: web::Payload) -> Result<Map<String, Value>, Problem> {
    let bytes = bytes(payload, super::BODY_MAX).await?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Problem::bad_request("the body is not a JSON object")),
        Err(error) => Err(Problem::bad_request(format!(
            "the body is not JSON: {error}"
        ))),
    }
}

/// Like [`object`] for an action that needs no body.
pub async fn object_if_any(payload: web::Payload) -> Result<Map<String, Value>, Problem> {
    let bytes = bytes(payload, super::BODY_MAX).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => Ok(Map::new()),
        _ => Err(Problem::bad_request("the body is not a JSON object")),
    }
}

/// The id of an edit: from `Idempotency-Key`, so that a repeat gives the first answer again, else random.
pub fn request_id(request: &HttpRequest) -> Result<u64, Problem> {
    let Some(key) = request.headers().get("Idempotency-Key") else {
        return Ok(rand::random());
    };
    if key.is_empty() || key.len() > 256 {
        return Err(Problem::bad_request("`Idempotency-Key` has 1 to 256 bytes"));
    }
    let mut hash = Sha256::new();
    // One key on two paths is two requests.
    for part in [
        request.method().as_str().as_bytes(),
        request.path().as_bytes(),
        key.as_bytes(),
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    Ok(hash
        .iter()
        .take(8)
        .fold(0, |id, byte| id << 8 | u64::from(*byte)))
}

/// A whole number in a path.
pub fn number(text: &str, what: &str) -> Result<u64, Problem> {
    text.parse()
        .map_err(|_| Problem::not_found(format!("no {what} `{text}`")))
}
