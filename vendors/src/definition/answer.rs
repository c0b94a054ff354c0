//! What an answer means: whether it is success, and if not, which class the rules give it.
//!
//! Text and whole numbers compare equal when their text is equal, since platforms send both.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value as Json;

use super::program::Bound;
use crate::description::{Auth, Param, Verdict};
use crate::exchange::{Op, Response};
use crate::outcome::{Class, Failure};

/// How much of a body a rule can look into and a failure shows, in bytes.
const TEXT_MAX: usize = 4_096;
/// Longest code that is kept, in characters.
const CODE_MAX: usize = 64;
/// The longest that a platform's word keeps us away.
const WAIT_MS_MAX: u64 = 3_600_000;

/// Where something stands in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Steps of a JSON pointer (RFC 6901).
    Pointer(Box<[Box<str>]>),
    /// A header's name in lower case.
    Header(Arc<str>),
    /// The body as text.
    Body,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Status(Box<[RangeInclusive<u16>]>),
    /// Some code of the answer, wherever the vendor puts it.
    Code(Words),
    /// The code is what this parameter says.
    CodeParam(usize),
    Field(Place, Words),
    Present(Place),
    Absent(Place),
}

/// What a text must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// One of these; one that ends with `*` is the beginning of it.
    Is(Box<[Box<str>]>),
    /// One of these stands in it, letter case aside.
    Contains(Box<[Box<str>]>),
}

/// When an answer is success, and what it means when it is not.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) success: Vec<Test>,
    /// The first one that is present is the code.
    pub(super) code: Vec<Place>,
    /// The first one that is present are the vendor's words.
    pub(super) text: Vec<Place>,
    /// Of a code that no rule knows; `None`: by HTTP status.
    pub(super) unknown: Option<Class>,
    /// Of an answer that cannot be read.
    pub(super) unparsable: Class,
}

/// One row of the table that turns an answer into a class; the first that holds wins.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Empty: all operations.
    pub(super) ops: Vec<Op>,
    pub(super) tests: Vec<Test>,
    pub(super) outcome: Outcome,
    pub(super) wait: Wait,
    pub(super) auth: Auth,
    /// For people.
    pub(super) means: Box<str>,
}

/// A rule as people read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleShown {
    /// What must hold.
    pub when: String,
    /// What it then is: a class, `ok` or `gone`.
    pub class: &'static str,
    /// How long the platform asks to stay away, and what it says about credentials.
    pub then: String,
    /// What it is about.
    pub means: String,
}

impl Rule {
    pub(super) fn shown(&self, params: &[Param]) -> RuleShown {
        let mut when: Vec<String> = self.tests.iter().map(|test| test.shown(params)).collect();
        if !self.ops.is_empty() {
            let ops: Vec<_> = self.ops.iter().map(|op| op.word()).collect();
            when.push(format!("in {}", ops.join(", ")));
        }
        let wait = match &self.wait {
            Wait::None => None,
            Wait::Ms(ms) => Some(format!("wait {ms} ms")),
            Wait::Told(place, 1) => Some(format!("wait {} ms", place.words())),
            Wait::Told(place, _) => Some(format!("wait {} s", place.words())),
        };
        let auth = match self.auth {
            Auth::Fine => None,
            Auth::Refused => Some("credentials refused".to_owned()),
            Auth::Blocked => Some("address blocked".to_owned()),
        };
        let then: Vec<_> = [wait, auth].into_iter().flatten().collect();
        RuleShown {
            when: when.join(" and "),
            class: match self.outcome {
                Outcome::Success => "ok",
                Outcome::Gone => "gone",
                Outcome::Class(class) => class.word(),
            },
            then: then.join(", "),
            means: self.means.to_string(),
        }
    }
}

/// What a rule makes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Success after all.
    Success,
    /// The record does not exist: success for unbind, "none" for query.
    Gone,
    Class(Class),
}

/// How long the platform asks to stay away.
#[derive(Clone, Debug)]
pub(super) enum Wait {
    None,
    Ms(u64),
    /// A number of the answer, and its unit in milliseconds.
    Told(Place, u64),
}

/// An answer that is not success, judged.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) failure: Failure,
    pub(super) gone: bool,
    pub(super) auth: Auth,
}

impl Place {
    /// What stands there, as text; lists and objects have none.
    pub(super) fn text<'a>(&self, body: &'a Json, response: &'a Response) -> Option<Cow<'a, str>> {
        match self {
            Place::Pointer(steps) => scalar(follow(body, steps)?),
            Place::Header(name) => response.header(name).map(Cow::Borrowed),
            Place::Body => {
                let start = &response.body[..response.body.len().min(TEXT_MAX)];
                Some(String::from_utf8_lossy(start))
            }
        }
    }

    /// What stands there; only pointers lead to something that is no text.
    pub(super) fn json<'a>(&self, body: &'a Json) -> Option<&'a Json> {
        match self {
            Place::Pointer(steps) => follow(body, steps),
            Place::Header(_) | Place::Body => None,
        }
    }

    fn is_present(&self, body: &Json, response: &Response) -> bool {
        match self {
            Place::Pointer(steps) => follow(body, steps).is_some_and(|found| !found.is_null()),
            Place::Header(name) => response.header(name).is_some(),
            Place::Body => !response.body.is_empty(),
        }
    }

    /// As it is written.
    pub(super) fn words(&self) -> String {
        match self {
            Place::Pointer(steps) => match &**steps {
                [only] => only.to_string(),
                steps => format!("/{}", steps.join("/")),
            },
            Place::Header(name) => format!("header {name}"),
            Place::Body => "body".to_owned(),
        }
    }
}

pub(super) fn follow<'a>(body: &'a Json, steps: &[Box<str>]) -> Option<&'a Json> {
    let mut found = body;
    for step in steps {
        found = match found {
            Json::Object(fields) => fields.get(&**step)?,
            Json::Array(list) => list.get(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(found)
}

/// As text; lists and objects have none.
pub(super) fn scalar(value: &Json) -> Option<Cow<'_, str>> {
    match value {
        Json::String(text) => Some(Cow::Borrowed(text)),
        Json::Number(number) => Some(Cow::Owned(number.to_string())),
        Json::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

impl Words {
    fn hold(&self, text: &str) -> bool {
        match self {
            Words::Is(words) => words.iter().any(|word| match word.strip_suffix('*') {
                Some(start) => text.starts_with(start),
                None => **word == *text,
            }),
            Words::Contains(words) => {
                let text = text.to_lowercase();
                words.iter().any(|word| text.contains(&word.to_lowercase()))
            }
        }
    }
}

impl Test {
    fn shown(&self, params: &[Param]) -> String {
        let all = |words: &Words| match words {
            Words::Is(words) => words.join(" | "),
            Words::Contains(words) => format!("… {} …", words.join(" | ")),
        };
        match self {
            Test::Status(ranges) => {
                let shown = |range: &RangeInclusive<u16>| match (range.start(), range.end()) {
                    (one, other) if one == other => one.to_string(),
                    (low, high) => format!("{low}..{high}"),
                };
                let ranges: Vec<_> = ranges.iter().map(shown).collect();
                format!("http {}", ranges.join(" | "))
            }
            Test::Code(words) => all(words),
            Test::CodeParam(index) => {
                let name = params.get(*index).map_or("", |param| &*param.name);
                format!("params.{name}")
            }
            Test::Field(place, words) => format!("{} {}", place.words(), all(words)),
            Test::Present(place) => format!("{} present", place.words()),
            Test::Absent(place) => format!("{} absent", place.words()),
        }
    }

    fn holds(
        &self,
        body: &Json,
        code: Option<&str>,
        params: &[Bound],
        response: &Response,
    ) -> bool {
        match self {
            Test::CodeParam(index) => match params.get(*index) {
                Some(Bound::Text(word)) => code == Some(word),
                _ => false,
            },
            Test::Status(ranges) => ranges.iter().any(|range| range.contains(&response.status)),
            Test::Code(words) => code.is_some_and(|code| words.hold(code)),
            Test::Field(place, words) => place
                .text(body, response)
                .is_some_and(|text| words.hold(&text)),
            Test::Present(place) => place.is_present(body, response),
            // Nothing is absent from what is no answer at all.
            Test::Absent(Place::Pointer(_)) if !body.is_object() => false,
            Test::Absent(place) => !place.is_present(body, response),
        }
    }
}

impl Answer {
    /// The body of a success, or what the answer means instead.
    pub(super) fn judge(
        &self,
        op: Op,
        rules: &[Rule],
        params: &[Bound],
        response: &Response,
    ) -> Result<Json, Refusal> {
        let bytes: &[u8] = &response.body;
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let parsed: Option<Json> = if bytes.is_empty() {
            Some(Json::Null)
        } else {
            serde_json::from_slice(bytes).ok()
        };
        let readable = parsed.is_some();
        let body = parsed.unwrap_or(Json::Null);
        let status = response.status;
        let code = first(&self.code, &body, response);
        let code = code.as_deref();
        let rule = rules.iter().find(|rule| {
            (rule.ops.is_empty() || rule.ops.contains(&op))
                && rule
                    .tests
                    .iter()
                    .all(|test| test.holds(&body, code, params, response))
        });
        let mut holding = self
            .success
            .iter()
            .map(|test| (test, test.holds(&body, code, params, response)));
        if (readable && holding.clone().all(|(_, holds)| holds))
            || rule.is_some_and(|rule| rule.outcome == Outcome::Success)
        {
            return Ok(body);
        }
        if let Some(rule) = rule {
            let (class, gone) = match rule.outcome {
                Outcome::Class(class) => (class, false),
                Outcome::Gone | Outcome::Success => (Class::NotFound, true),
            };
            let verdict = Verdict {
                class,
                wait_ms: rule.wait.ms(&body, response),
                auth: rule.auth,
                gone,
            };
            return Err(self.refusal(verdict, code, &body, response));
        }
        // Success in the body under another status contradicts itself.
        let only_status = holding.all(|(test, holds)| holds != matches!(test, Test::Status(_)));
        let says_success = |test: &Test| !matches!(test, Test::Status(_) | Test::Absent(_));
        if only_status && self.success.iter().any(says_success) {
            let said = format!("{} {}", self.code_words(), code.unwrap_or_default());
            let failure = Failure::new(Class::Unknown, format!("http {status}"), said);
            return Err(Refusal {
                failure,
                gone: false,
                auth: Auth::Fine,
            });
        }
        if code.is_none() && (200..=299).contains(&status) {
            let said = format!("answer without {}", self.code_words());
            return Err(Refusal {
                failure: self.unreadable(response, &said),
                gone: false,
                auth: Auth::Fine,
            });
        }
        let mut verdict = Verdict::of_status(status, code.is_some());
        if let (Some(class), Some(_)) = (self.unknown, code) {
            verdict.class = class;
        }
        Err(self.refusal(verdict, code, &body, response))
    }

    fn refusal(
        &self,
        verdict: Verdict,
        code: Option<&str>,
        body: &Json,
        response: &Response,
    ) -> Refusal {
        let (code, words) = match code {
            Some(code) => {
                let words = first(&self.text, body, response).map(Cow::into_owned);
                (
                    code.chars().take(CODE_MAX).collect(),
                    words.unwrap_or_default(),
                )
            }
            None => {
                let start = &response.body[..response.body.len().min(TEXT_MAX)];
                let words = first(&self.text, body, response).map(Cow::into_owned);
                let words = words.unwrap_or_else(|| String::from_utf8_lossy(start).into_owned());
                (format!("http {}", response.status), words)
            }
        };
        let mut failure = Failure::new(verdict.class, code, words);
        failure.wait_ms = verdict.wait_ms;
        Refusal {
            failure,
            gone: verdict.gone,
            auth: verdict.auth,
        }
    }

    /// A failure of an answer that says success, or nothing at all, and cannot be used.
    pub(super) fn unreadable(&self, response: &Response, what: &str) -> Failure {
        let start = String::from_utf8_lossy(&response.body[..response.body.len().min(200)]);
        let text = format!("{what}: http {} {start}", response.status);
        Failure::new(self.unparsable, "unreadable", text)
    }

    fn code_words(&self) -> String {
        self.code
            .first()
            .map_or_else(|| "a code".to_owned(), Place::words)
    }
}

fn first<'a>(places: &[Place], body: &'a Json, response: &'a Response) -> Option<Cow<'a, str>> {
    places
        .iter()
        .find_map(|place| place.text(body, response))
        .filter(|text| !text.is_empty())
}

impl Wait {
    fn ms(&self, body: &Json, response: &Response) -> Option<u64> {
        match self {
            Wait::None => None,
            Wait::Ms(ms) => Some(*ms),
            Wait::Told(place, unit) => {
                let told: u64 = place.text(body, response)?.trim().parse().ok()?;
                let ms = told.saturating_mul(*unit).min(WAIT_MS_MAX);
                (ms > 0).then_some(ms)
            }
        }
    }
}
