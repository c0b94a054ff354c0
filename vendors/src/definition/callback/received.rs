//! A push as expressions see it.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::CallbackRequest;
use crate::definition::compile::{BODY, Known, QUERY, SUFFIX};
use crate::definition::value::{Kind, Member, Node, Value};

/// Most fields of a form or a query.
const FIELDS_MAX: usize = 500;

/// Where a push carries its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::definition) enum Body {
    Json,
    Form,
    Query,
}

/// What was understood of a question, for the expressions of its answer.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::definition) struct Heard<'a> {
    pub(in crate::definition) call_id: Option<&'a str>,
    pub(in crate::definition) digits: Option<&'a str>,
    /// How long the call may last.
    pub(in crate::definition) limit_s: Option<u32>,
}

/// What only a push has.
#[derive(Clone, Debug)]
pub(in crate::definition) enum Given {
    Url,
    /// Without its query.
    BareUrl,
    Suffix,
    /// Of a header; its name in lower case.
    Header(Box<str>),
    /// Of a field of the query.
    Query(Box<str>),
    /// Of a field of the body.
    Body(Box<str>),
    /// Of a question: the platform's name of the call.
    CallId,
    /// Of a question: what the caller keyed.
    Digits,
    /// Of an answer: how long the call may last.
    LimitS,
}

/// The values that a call-back's expressions may speak of, besides its steps and parameters.
pub(in crate::definition) const ROOTS: [&str; 9] = [
    "method", "url", "bare_url", "host", "path", "suffix", "query", "body", "now",
];

/// The value of a name, and what is known of it.
pub(in crate::definition) fn given(names: &[String]) -> Option<(Node, Known)> {
    let text = || Known::of(Kind::Text);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Some(match names[..] {
        ["method"] => (Node::Method, text()),
        ["url"] => (Node::Given(Given::Url), text()),
        ["bare_url"] => (Node::Given(Given::BareUrl), text()),
        ["host"] => (Node::Host, text()),
        ["path"] => (Node::Path, text()),
        ["suffix"] => {
            let known = text().reading(SUFFIX).optional();
            (Node::Given(Given::Suffix), known)
        }
        ["query"] => (Node::Query, Known::of(Kind::Fields).reading(QUERY)),
        ["body"] => (Node::Body, text().reading(BODY)),
        ["now"] => (Node::Now, Known::of(Kind::Time)),
        ["header", name] => {
            let name = name.to_ascii_lowercase().into();
            (Node::Given(Given::Header(name)), text().optional())
        }
        ["query", name] => (Node::Given(Given::Query(name.into())), text().optional()),
        ["body", name] => (Node::Given(Given::Body(name.into())), text().optional()),
        _ => return None,
    })
}

/// A push, its fields taken apart.
pub(in crate::definition) struct Received<'a> {
    request: &'a CallbackRequest<'a>,
    text: &'a str,
    body: Body,
    bare_url: &'a str,
    host: &'a str,
    path: &'a str,
    query: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Of a form; empty for other bodies.
    form: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The fields as one record, or why there is none.
    record: Result<Json, String>,
    heard: Heard<'a>,
}

impl<'a> Received<'a> {
    pub(in crate::definition) fn new(
        request: &'a CallbackRequest<'a>,
        text: &'a str,
        body: Body,
    ) -> Received<'a> {
        let (bare_url, query) = request.url.split_once('?').unwrap_or((request.url, ""));
        let rest = bare_url
            .split_once("://")
            .map_or(bare_url, |(_, rest)| rest);
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let pairs = |text: &'a str| {
            let pairs = form_urlencoded::parse(text.as_bytes());
            pairs.take(FIELDS_MAX + 1).collect::<Vec<_>>()
        };
        let query = pairs(query);
        let form = match body {
            Body::Form => pairs(text),
            Body::Json | Body::Query => Vec::new(),
        };
        let record = if query.len() > FIELDS_MAX || form.len() > FIELDS_MAX {
            Err(format!("it has more than {FIELDS_MAX} fields"))
        } else {
            match body {
                Body::Json => serde_json::from_str(text).map_err(|error| error.to_string()),
                Body::Form => Ok(object(&form)),
                Body::Query => Ok(object(&query)),
            }
        };
        let record = record.and_then(|record: Json| match record {
            Json::Object(_) | Json::Array(_) => Ok(record),
            _ => Err("it is neither an object nor a list".to_owned()),
        });
        Received {
            request,
            text,
            body,
            bare_url,
            host,
            path,
            query,
            form,
            record,
            heard: Heard::default(),
        }
    }

    /// The same with what was understood of it.
    pub(in crate::definition) fn hearing(mut self, heard: Heard<'a>) -> Received<'a> {
        self.heard = heard;
        self
    }

    /// When it came, Unix milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        self.request.now_ms
    }

    pub(in crate::definition) fn record(&self) -> Result<&Json, String> {
        self.record.as_ref().map_err(Clone::clone)
    }

    /// What a name of a push stands for; `None` for what has nothing to do with it.
    pub(in crate::definition) fn value(&self, node: &Node) -> Option<Value<'_>> {
        let text = |text: &'a str| match text {
            "" => Value::Absent,
            text => Value::Text(Cow::Borrowed(text)),
        };
        Some(match node {
            Node::Method => text(self.request.method),
            Node::Host => text(self.host),
            Node::Path => text(self.path),
            Node::Body => Value::Text(Cow::Borrowed(self.text)),
            Node::Query => Value::Fields(members(&self.query)),
            Node::BodyFields => Value::Fields(self.body_fields()),
            Node::Given(given) => match given {
                Given::Url => text(self.request.url),
                Given::BareUrl => text(self.bare_url),
                Given::Suffix => text(self.request.suffix),
                Given::Header(name) => {
                    let mut headers = self.request.headers.iter();
                    let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
                    found.map_or(Value::Absent, |(_, value)| text(value))
                }
                Given::Query(name) => named(&self.query, name),
                Given::Body(name) => match &self.record {
                    Ok(Json::Object(fields)) => {
                        fields.get(&**name).map_or(Value::Absent, json_value)
                    }
                    _ => Value::Absent,
                },
                Given::CallId => self.heard.call_id.map_or(Value::Absent, text),
                Given::Digits => self.heard.digits.map_or(Value::Absent, text),
                Given::LimitS => match self.heard.limit_s {
                    Some(limit_s) => Value::Integer(i64::from(limit_s)),
                    None => Value::Absent,
                },
            },
            _ => return None,
        })
    }

    /// A form's fields in their order and as often as they are there; of JSON its members.
    fn body_fields(&self) -> Vec<Member<'_>> {
        match (self.body, &self.record) {
            (Body::Json, Ok(Json::Object(fields))) => json_members(fields),
            _ => members(&self.form),
        }
    }
}

fn object(pairs: &[(Cow<'_, str>, Cow<'_, str>)]) -> Json {
    let mut fields = serde_json::Map::new();
    for (name, value) in pairs {
        // The first of several of one name, as the expressions have it.
        fields
            .entry(name.as_ref())
            .or_insert_with(|| Json::String(value.to_string()));
    }
    Json::Object(fields)
}

fn named<'v>(pairs: &'v [(Cow<'_, str>, Cow<'_, str>)], name: &str) -> Value<'v> {
    let found = pairs.iter().find(|(known, _)| known == name);
    match found {
        Some((_, value)) if !value.is_empty() => Value::Text(Cow::Borrowed(value)),
        _ => Value::Absent,
    }
}

fn members<'v>(pairs: &'v [(Cow<'_, str>, Cow<'_, str>)]) -> Vec<Member<'v>> {
    let member = |(name, value): &'v (Cow<'_, str>, Cow<'_, str>)| Member {
        name: Cow::Borrowed(name),
        value: Value::Text(Cow::Borrowed(value)),
    };
    pairs.iter().map(member).collect()
}

fn json_members(fields: &serde_json::Map<String, Json>) -> Vec<Member<'_>> {
    let member = |(name, value)| match json_value(value) {
        Value::Absent => None,
        value => Some(Member {
            name: Cow::Borrowed(String::as_str(name)),
            value,
        }),
    };
    fields.iter().filter_map(member).collect()
}

/// A list is the text of its JSON; nothing is signed member by member that deep.
fn json_value(value: &Json) -> Value<'_> {
    match value {
        Json::Null => Value::Absent,
        Json::Bool(flag) => Value::Flag(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Text(Cow::Owned(number.to_string())),
        },
        Json::String(text) => Value::Text(Cow::Borrowed(text)),
        Json::Array(_) => Value::Text(Cow::Owned(value.to_string())),
        Json::Object(fields) => Value::Fields(json_members(fields)),
    }
}
