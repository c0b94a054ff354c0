//! Call-backs: what a platform pushes to us of calls, bills and recordings.
//!
//! A definition names each push it knows (`[callbacks.NAME]`): how the platform proves that it is
//! the sender, where its records stand, what the fields of a record mean, and which literal answer
//! it takes for success. In goes a request as it came and the time; out come [`CallEvent`]s, or why
//! the push is refused, and in both cases the literal [`Reply`].
//!
//! This part remembers nothing: the same push twice gives the same events with the same
//! [`CallEvent::key`], and whoever stores them keeps the first one. Most platforms repeat a push
//! until they see the literal answer.

mod event;
mod load;
mod received;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use subtle::ConstantTimeEq;
use thiserror::Error;

pub(super) use load::callbacks;
pub(super) use received::{Given, ROOTS, Received, given};

use super::program::{Bound, Eval, Program, Values};
use super::value::{Node, Value};
use super::{NOWHERE, Plan};
use crate::exchange::{Attempt, Method};
use crate::outcome::{Failure, Handle};
use event::{Mapping, Notation, Pointer};

/// Largest body of a push that is read, in bytes. Huawei sends 50 bills of some 2 KiB at most.
pub const CALLBACK_BODY_MAX: usize = 262_144;
/// Most records of one push, whatever the definition allows.
pub const CALLBACK_ROWS_MAX: usize = 1_000;
/// Longest [`CallEvent::key`], in bytes.
pub const CALLBACK_KEY_MAX: usize = 256;
/// Things told of one push that could not be read; more only repeat the first ones.
const ODD_MAX: usize = 20;

/// One push that a platform makes.
#[derive(Debug)]
pub struct Callback {
    /// The last word of its address.
    pub name: String,
    /// What it is, for people who enter its address at the platform.
    pub help: String,
    /// How it is sent.
    pub method: Method,
    body: Body,
    rows: Option<Pointer>,
    rows_max: usize,
    /// Steps of [`Callback::auth`].
    program: Program,
    /// Any of them will do.
    auth: Vec<Auth>,
    /// Whether some expression reads what follows the name in the path.
    has_suffix: bool,
    mapping: Mapping,
    reply: Reply,
    refuse: Reply,
}

/// Where a push carries its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Json,
    Form,
    Query,
}

/// One way in which a platform proves that it is the sender.
#[derive(Debug)]
struct Auth {
    /// What it must have sent.
    expected: Node,
    /// What it sent.
    given: Node,
    /// Several values may be given, with this between them; one that fits is enough.
    list: Option<char>,
    moment: Option<Moment>,
}

/// When a push was signed, and how far that may be from our own time.
#[derive(Debug)]
struct Moment {
    at: Node,
    notation: Notation,
    /// Seconds; 0 or absent: any.
    skew_s: Node,
}

/// A push as it came. Header names in any letter case.
#[derive(Clone, Copy, Debug)]
pub struct CallbackRequest<'a> {
    /// HTTP method, upper case.
    pub method: &'a str,
    /// The whole URL as the platform called it, query included: what it signs. Behind a proxy this
    /// is not the one that arrives.
    pub url: &'a str,
    /// What follows the call-back's name in the path, without the slash before it.
    pub suffix: &'a str,
    /// Header fields.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body; more than [`CALLBACK_BODY_MAX`] is refused.
    pub body: &'a [u8],
    /// Our clock, Unix milliseconds.
    pub now_ms: u64,
}

/// What happened to a call, by a platform's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The call arrived at the platform, or the platform calls B.
    Started,
    /// B rings.
    Ringing,
    /// B answered.
    Answered,
    /// It is over.
    Ended,
    /// The record by which the platform charges.
    Bill,
    /// A recording is ready.
    Recording,
    /// Something else.
    Other,
}

impl EventKind {
    const WORDS: [(&'static str, EventKind); 7] = [
        ("started", EventKind::Started),
        ("ringing", EventKind::Ringing),
        ("answered", EventKind::Answered),
        ("ended", EventKind::Ended),
        ("bill", EventKind::Bill),
        ("recording", EventKind::Recording),
        ("other", EventKind::Other),
    ];

    /// The word in definitions, logs and tables.
    pub fn word(self) -> &'static str {
        let mut words = EventKind::WORDS.iter();
        let found = words.find(|(_, kind)| *kind == self);
        found.map_or("other", |(word, _)| word)
    }
}

/// One event or bill, in our notation. What the platform did not say, or said in a form that
/// cannot be read, is `None`. Every text is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEvent {
    /// What it tells.
    pub kind: EventKind,
    /// The same for every repetition, and for nothing else of the same interface and call-back; at
    /// most [`CALLBACK_KEY_MAX`] bytes.
    pub key: String,
    /// The platform's name of the call.
    pub call_id: Option<String>,
    /// What of the binding's handle it names; empty when no binding matched.
    pub handle: Handle,
    /// Our own id of the binding, if the platform echoes it.
    pub own_id: Option<String>,
    /// Our outbound number. Platforms do not vouch for the numbers of events; bills are exact.
    pub a: Option<String>,
    /// The platform's number.
    pub x: Option<String>,
    /// The callee.
    pub b: Option<String>,
    /// When it happened, Unix milliseconds, as are the next four.
    pub at_ms: Option<u64>,
    /// When the call began.
    pub started_ms: Option<u64>,
    /// When B rang.
    pub ringing_ms: Option<u64>,
    /// When B answered.
    pub answered_ms: Option<u64>,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// How long it was connected, by the platform's word.
    pub duration_ms: Option<u64>,
    /// Why it ended, in the platform's codes.
    pub cause: Option<String>,
    /// Where a recording can be fetched; at most 2,048 bytes.
    pub recording: Option<String>,
    /// What it cost, in millionths of the platform's currency.
    pub cost_micros: Option<i64>,
}

/// What came of a push that was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// In the order of the push; records of no interest are left out.
    pub events: Vec<CallEvent>,
    /// What could not be read although the rest could, at most 20, for the log.
    pub odd: Vec<String>,
}

/// Literal answer to a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Content type, empty when there is none.
    pub content_type: String,
    /// The body.
    pub body: String,
}

impl Reply {
    fn plain(status: u16) -> Reply {
        Reply {
            status,
            content_type: String::new(),
            body: String::new(),
        }
    }
}

/// Why a push is refused. No text shows what was sent as proof, or what should have been.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallbackError {
    /// No such call-back.
    #[error("{vendor} has no call-back `{name}`")]
    Unknown {
        /// The definition.
        vendor: String,
        /// What was asked for.
        name: String,
    },
    /// Sent by another method.
    #[error("call-back `{name}` comes by {wanted}, not by {got}")]
    Method {
        /// The call-back.
        name: String,
        /// Its method.
        wanted: &'static str,
        /// The request's, shortened.
        got: String,
    },
    /// Longer than anything is read.
    #[error("call-back `{name}` has {bytes} bytes, more than {CALLBACK_BODY_MAX}")]
    TooLarge {
        /// The call-back.
        name: String,
        /// Of its body.
        bytes: usize,
    },
    /// The interface has none of the parameters that it is proved by.
    #[error("call-back `{name}` cannot be proved: the interface has no secret for it")]
    Unconfigured {
        /// The call-back.
        name: String,
    },
    /// The proof is missing or wrong.
    #[error("call-back `{name}` is not proved: {why}")]
    Unproved {
        /// The call-back.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The proof is right and too old, or from the future.
    #[error("call-back `{name}` was signed {off_s} s from now, more than {skew_s}")]
    Stale {
        /// The call-back.
        name: String,
        /// How far, in seconds.
        off_s: u64,
        /// How far it may be.
        skew_s: u64,
    },
    /// It cannot be read.
    #[error("call-back `{name}` cannot be read: {why}")]
    Malformed {
        /// The call-back.
        name: String,
        /// What is wrong.
        why: String,
    },
}

impl CallbackError {
    /// The word for metrics and logs.
    pub fn word(&self) -> &'static str {
        match self {
            CallbackError::Unknown { .. } => "unknown",
            CallbackError::Method { .. } => "method",
            CallbackError::TooLarge { .. } => "too_large",
            CallbackError::Unconfigured { .. } => "unconfigured",
            CallbackError::Unproved { .. } => "unproved",
            CallbackError::Stale { .. } => "stale",
            CallbackError::Malformed { .. } => "malformed",
        }
    }
}

impl Plan {
    /// The pushes that its definition knows.
    pub fn callbacks(&self) -> &'static [Callback] {
        &self.definition.callbacks
    }

    fn callback(&self, name: &str) -> Result<&'static Callback, CallbackError> {
        let found = self.callbacks().iter().find(|known| known.name == name);
        found.ok_or_else(|| CallbackError::Unknown {
            vendor: self.definition.name.clone(),
            name: short(name),
        })
    }

    /// Reads a push: its proof first, then its records.
    ///
    /// # Errors
    /// Every way in which it cannot be taken; nothing of it may be used then. A record that cannot
    /// be read among others that can is told in [`Receipt::odd`] instead.
    pub fn receive(
        &self,
        name: &str,
        request: &CallbackRequest<'_>,
    ) -> Result<Receipt, CallbackError> {
        let callback = self.callback(name)?;
        let name = || callback.name.clone();
        if request.method != callback.method.word() {
            return Err(CallbackError::Method {
                name: name(),
                wanted: callback.method.word(),
                got: short(request.method),
            });
        }
        if request.body.len() > CALLBACK_BODY_MAX {
            let bytes = request.body.len();
            return Err(CallbackError::TooLarge {
                name: name(),
                bytes,
            });
        }
        let unproved = |why: &str| CallbackError::Unproved {
            name: name(),
            why: why.to_owned(),
        };
        if !request.suffix.is_empty() && !callback.has_suffix {
            return Err(unproved("nothing may follow its name in the path"));
        }
        let malformed = |why: String| CallbackError::Malformed { name: name(), why };
        let text = std::str::from_utf8(request.body)
            .map_err(|error| malformed(format!("is no utf-8 at byte {}", error.valid_up_to())))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let received = Received::new(request, text, callback.body);
        callback.prove(&received, &self.params, request.now_ms)?;
        let record = received.record().map_err(malformed)?;
        callback.read(record, &self.params).map_err(malformed)
    }

    /// The literal answer to a push.
    pub fn reply(&self, name: &str, received: &Result<Receipt, CallbackError>) -> Reply {
        let Ok(callback) = self.callback(name) else {
            return Reply::plain(404);
        };
        let refused = |status| Reply {
            status,
            ..callback.refuse.clone()
        };
        match received {
            Ok(_) => callback.reply.clone(),
            Err(CallbackError::Unknown { .. }) => Reply::plain(404),
            Err(CallbackError::Method { .. }) => refused(405),
            Err(CallbackError::TooLarge { .. }) => refused(413),
            Err(CallbackError::Malformed { .. }) => refused(400),
            Err(
                CallbackError::Unconfigured { .. }
                | CallbackError::Unproved { .. }
                | CallbackError::Stale { .. },
            ) => callback.refuse.clone(),
        }
    }

    /// The literal refusal under another status: that of what our own bounds refuse, or of what
    /// was read and could not be stored. `None` when there is no such call-back.
    pub fn refusal(&self, name: &str, status: u16) -> Option<Reply> {
        let callback = self.callback(name).ok()?;
        Some(Reply {
            status,
            ..callback.refuse.clone()
        })
    }
}

impl Callback {
    /// The answer for success.
    pub fn reply(&self) -> &Reply {
        &self.reply
    }

    /// Whether one of the proofs holds; else what the one that came nearest lacks.
    fn prove(
        &self,
        received: &Received<'_>,
        params: &[Bound],
        now_ms: u64,
    ) -> Result<(), CallbackError> {
        let values = Values::default();
        let attempt = Attempt {
            now_ms,
            nonce: String::new(),
        };
        let eval = Eval::new(&self.program, params, &NOWHERE, &values, &attempt);
        let eval = eval.receiving(received);
        let mut nearest = (
            0,
            CallbackError::Unconfigured {
                name: self.name.clone(),
            },
        );
        for auth in &self.auth {
            match self.proved(auth, &eval, params, now_ms) {
                Ok(()) => return Ok(()),
                Err(failed) if failed.0 > nearest.0 => nearest = failed,
                Err(_) => {}
            }
        }
        Err(nearest.1)
    }

    /// Whether one proof holds; else how near it came, and what it lacks.
    fn proved(
        &self,
        auth: &Auth,
        eval: &Eval<'_>,
        params: &[Bound],
        now_ms: u64,
    ) -> Result<(), (u8, CallbackError)> {
        let name = || self.name.clone();
        let unproved = |why: String| CallbackError::Unproved { name: name(), why };
        let missing = |failure: Failure| (1, unproved(failure.text));
        let given = eval.value(&auth.given).map_err(missing)?;
        let expected = eval.value(&auth.expected).map_err(missing)?;
        let (given, expected) = (given.text(), expected.text());
        // A parameter without a value: nobody can prove that.
        if expected.is_empty() {
            return Err((0, CallbackError::Unconfigured { name: name() }));
        }
        if given.is_empty() {
            return Err((1, unproved("it carries no proof".to_owned())));
        }
        let fits = |given: &str| bool::from(given.as_bytes().ct_eq(expected.as_bytes()));
        let fits = match auth.list {
            None => fits(&given),
            Some(between) => given.split(between).any(|one| fits(one.trim())),
        };
        if !fits {
            let why = "its signature or secret is wrong".to_owned();
            return Err((2, unproved(why)));
        }
        let Some(moment) = &auth.moment else {
            return Ok(());
        };
        let skew_s = match eval.value(&moment.skew_s).map_err(missing)? {
            Value::Integer(skew_s) => u64::try_from(skew_s).unwrap_or(0),
            _ => 0,
        };
        if skew_s == 0 {
            return Ok(());
        }
        let at = eval.value(&moment.at).map_err(missing)?;
        let Some(at) = moment.notation.read(&at.text(), params) else {
            let why = "the time it was signed cannot be read".to_owned();
            return Err((3, unproved(why)));
        };
        let off_s = at.abs_diff(now_ms) / 1_000;
        if off_s > skew_s {
            let error = CallbackError::Stale {
                name: name(),
                off_s,
                skew_s,
            };
            return Err((4, error));
        }
        Ok(())
    }

    /// The records' events.
    fn read(&self, record: &Json, params: &[Bound]) -> Result<Receipt, String> {
        let rows: &[Json] = match &self.rows {
            None => match record {
                Json::Array(rows) => rows,
                row => std::slice::from_ref(row),
            },
            Some(place) => match place.follow(record) {
                Some(Json::Array(rows)) => rows,
                Some(row @ Json::Object(_)) => std::slice::from_ref(row),
                _ => return Err(format!("there is no list at {place}")),
            },
        };
        if rows.len() > self.rows_max {
            let (has, most) = (rows.len(), self.rows_max);
            return Err(format!("it has {has} records, at most {most} are read"));
        }
        let mut receipt = Receipt::default();
        let mut unread = 0;
        for (index, row) in rows.iter().enumerate() {
            let mut odd = Vec::new();
            match self.mapping.event(row, params, &mut odd) {
                Ok(event) => receipt.events.extend(event),
                Err(why) => {
                    unread += 1;
                    odd.push(why);
                }
            }
            for said in odd {
                if receipt.odd.len() < ODD_MAX {
                    receipt.odd.push(format!("record {}: {said}", index + 1));
                }
            }
        }
        if unread > 0 && unread == rows.len() {
            return Err(receipt.odd.swap_remove(0));
        }
        Ok(receipt)
    }
}

/// What a sender made up, shortened for an error.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}
