//! An answer becomes an outcome: bound under which handle, released, found, or failed and how.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::answer::{Answer, Place, Refusal, Rule};
use super::program::{Bound, Eval, Values};
use super::value::{Node, Value};
use crate::description::Auth;
use crate::exchange::{Op, Response};
use crate::numbers::from_e164;
use crate::outcome::{
    BindOutcome, Failure, Handle, Held, Page, QueryOutcome, SetCalleeOutcome, UnbindOutcome,
    bounded,
};

/// Longest value that is taken for a handle, in bytes.
const HANDLE_MAX: usize = 256;
/// Longest text that is taken for a number, in bytes.
const NUMBER_MAX: usize = 32;

/// Records that one text may list.
const SPLIT_MAX: usize = 1_000;

/// What is taken from an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Captures {
    pub(super) handle: Vec<Capture>,
    /// The first place that has something; none: what was asked for.
    pub(super) a: Vec<Place>,
    pub(super) x: Vec<Place>,
    pub(super) b: Vec<Place>,
    /// The list of records, or the only one; absent: the whole answer is one.
    pub(super) rows: Option<Place>,
    /// What stands between several records that come as one text.
    pub(super) split: Option<Box<str>>,
    pub(super) total: Option<Place>,
    /// What is left of a counted binding after an unbind.
    pub(super) left: Option<Place>,
    /// Records of other numbers than those asked for are none.
    pub(super) only_asked: bool,
    /// Tests that a record must pass to count.
    pub(super) keep: Vec<(Place, Box<[Box<str>]>)>,
}

/// One named value of a handle.
#[derive(Clone, Debug)]
pub(super) struct Capture {
    pub(super) name: Box<str>,
    pub(super) from: From,
    pub(super) optional: bool,
}

#[derive(Clone, Debug)]
pub(super) enum From {
    /// The first place that has something.
    Places(Vec<Place>),
    /// What was asked for rather than what was answered.
    Asked(Node),
}

/// Reads the answers to one operation.
pub(super) struct Reader<'a> {
    pub(super) op: Op,
    pub(super) answer: &'a Answer,
    pub(super) rules: &'a [Rule],
    pub(super) params: &'a [Bound],
    pub(super) captures: &'a Captures,
    /// Works out what was asked for.
    pub(super) asked: Eval<'a>,
    pub(super) values: &'a Values<'a>,
}

impl Reader<'_> {
    fn judge(&self, response: &Response) -> Result<Json, Refusal> {
        self.answer
            .judge(self.op, self.rules, self.params, response)
    }

    pub(super) fn bind(&self, response: &Response) -> (BindOutcome, Auth) {
        let body = match self.judge(response) {
            Ok(body) => body,
            Err(refusal) => return (BindOutcome::Failed(refusal.failure), refusal.auth),
        };
        let handle = match self.handle(&body, response) {
            Ok(handle) => handle,
            // It says bound but not under which id: only a query can find it again.
            Err(name) => {
                let said = format!("success without a {name}");
                let failure = self.answer.unreadable(response, &said);
                return (BindOutcome::Failed(failure), Auth::Fine);
            }
        };
        let x = first_text(&self.captures.x, &body, response)
            .filter(|x| !x.is_empty() && x.len() <= NUMBER_MAX)
            .map_or_else(|| from_e164(self.values.x), |x| stored(&x));
        let raw = bounded(String::from_utf8_lossy(&response.body).into_owned());
        (BindOutcome::Bound { handle, x, raw }, Auth::Fine)
    }

    /// The second value says how often the same must be unbound again, where a platform counts.
    pub(super) fn unbind(&self, response: &Response) -> (UnbindOutcome, u32, Auth) {
        match self.judge(response) {
            Ok(body) => {
                let left = place_text(&self.captures.left, &body, response);
                let left = left.and_then(|left| left.parse().ok()).unwrap_or(0);
                (UnbindOutcome::Released, left, Auth::Fine)
            }
            Err(refusal) if refusal.gone => (UnbindOutcome::AlreadyGone, 0, refusal.auth),
            Err(refusal) => (UnbindOutcome::Failed(refusal.failure), 0, refusal.auth),
        }
    }

    pub(super) fn set_callee(&self, response: &Response) -> (SetCalleeOutcome, Auth) {
        match self.judge(response) {
            Ok(_) => (SetCalleeOutcome::Set, Auth::Fine),
            Err(refusal) => (SetCalleeOutcome::Failed(refusal.failure), refusal.auth),
        }
    }

    pub(super) fn query(&self, response: &Response) -> (QueryOutcome, Auth) {
        let (page, auth) = self.page(response);
        let outcome = match page {
            Err(failure) => QueryOutcome::Failed(failure),
            Ok(page) if page.rows == 0 => QueryOutcome::None,
            Ok(page) if page.held.is_empty() => {
                let id = self.captures.handle.first().map_or("id", |id| &*id.name);
                let said = format!("no record has a {id}");
                QueryOutcome::Failed(self.answer.unreadable(response, &said))
            }
            Ok(mut page) => {
                if self.captures.only_asked {
                    page.held.retain(|held| self.is_asked(held));
                }
                if page.held.is_empty() {
                    QueryOutcome::None
                } else {
                    QueryOutcome::Found(page.held)
                }
            }
        };
        (outcome, auth)
    }

    fn is_asked(&self, held: &Held) -> bool {
        let same = |asked: &str, told: &str| {
            asked.is_empty() || told.is_empty() || from_e164(asked) == told
        };
        same(self.values.a, &held.a) && same(self.values.x, &held.x) && same(self.values.b, &held.b)
    }

    /// "No such record" is an empty page. Records without an id are left out; a record that names
    /// no number of a kind gets the one that was asked for.
    pub(super) fn page(&self, response: &Response) -> (Result<Page, Failure>, Auth) {
        let body = match self.judge(response) {
            Ok(body) => body,
            Err(refusal) if refusal.gone => return (Ok(Page::empty()), refusal.auth),
            Err(refusal) => return (Err(refusal.failure), refusal.auth),
        };
        let split;
        let rows: &[Json] = match &self.captures.rows {
            None => std::slice::from_ref(&body),
            Some(place) => match place.json(&body) {
                None | Some(Json::Null) => &[],
                Some(Json::Array(rows)) => rows,
                Some(row @ Json::Object(_)) => std::slice::from_ref(row),
                Some(Json::String(text)) if self.captures.split.is_some() => {
                    let between = self.captures.split.as_deref().unwrap_or(",");
                    let ids = text
                        .split(between)
                        .map(str::trim)
                        .filter(|id| !id.is_empty());
                    split = ids.take(SPLIT_MAX).map(Json::from).collect::<Vec<_>>();
                    &split
                }
                Some(_) => {
                    let said = format!("{} is no list", place.words());
                    return (Err(self.answer.unreadable(response, &said)), Auth::Fine);
                }
            },
        };
        let counts = |row: &&Json| {
            self.captures.keep.iter().all(|(place, words)| {
                place
                    .text(row, response)
                    .is_some_and(|text| words.iter().any(|word| **word == *text))
            })
        };
        let kept: Vec<&Json> = rows.iter().filter(counts).collect();
        let held = kept.iter().filter_map(|row| {
            Some(Held {
                handle: self.handle(row, response).ok()?,
                a: self.number(&self.captures.a, row, response, self.values.a),
                x: self.number(&self.captures.x, row, response, self.values.x),
                b: self.number(&self.captures.b, row, response, self.values.b),
            })
        });
        let total = place_text(&self.captures.total, &body, response);
        let page = Page {
            held: held.collect(),
            rows: if self.op == Op::XQuery {
                rows.len()
            } else {
                kept.len()
            },
            total: total.and_then(|total| total.parse().ok()),
        };
        (Ok(page), Auth::Fine)
    }

    /// The handle, or the name of what it lacks.
    fn handle(&self, record: &Json, response: &Response) -> Result<Handle, &str> {
        let mut handle = Handle::new();
        for capture in &self.captures.handle {
            let value: Option<Cow<'_, str>> = match &capture.from {
                From::Places(places) => first_text(places, record, response),
                From::Asked(node) => match self.asked.value(node) {
                    Ok(Value::Absent) | Err(_) => None,
                    Ok(value) => Some(value.into_text()),
                },
            };
            match value.filter(|value| !value.is_empty() && value.len() <= HANDLE_MAX) {
                Some(value) => {
                    handle.insert(capture.name.to_string(), value.into_owned());
                }
                None if capture.optional => {}
                None => return Err(&capture.name),
            }
        }
        Ok(handle)
    }

    /// A record's number in our notation, or the one that was asked for.
    fn number(&self, places: &[Place], record: &Json, response: &Response, asked: &str) -> String {
        match first_text(places, record, response) {
            Some(number) => stored(&number),
            None => from_e164(asked),
        }
    }
}

fn place_text<'a>(
    place: &Option<Place>,
    body: &'a Json,
    response: &'a Response,
) -> Option<Cow<'a, str>> {
    place.as_ref()?.text(body, response)
}

fn first_text<'a>(
    places: &[Place],
    body: &'a Json,
    response: &'a Response,
) -> Option<Cow<'a, str>> {
    places.iter().find_map(|place| place.text(body, response))
}

/// A number in our notation. Some platforms keep the zero of the area code behind the country's.
pub(super) fn stored(number: &str) -> String {
    let national = ["0086", "+86", "86"]
        .into_iter()
        .find_map(|prefix| number.strip_prefix(prefix))
        .filter(|rest| rest.starts_with('0') && rest.len() > 8);
    from_e164(national.unwrap_or(number))
}
