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

mod door;
mod event;
mod load;
mod received;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use thiserror::Error;

pub(super) use door::Door;
pub(super) use event::Pointer;
pub(super) use load::{Common, Loader, callbacks, over, pointers, reply, unused};
pub(super) use received::{Given, Heard, ROOTS, Received, given};

use super::Plan;
use super::program::Bound;
use crate::exchange::Method;
use crate::outcome::Handle;
use event::Mapping;

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
    door: Door,
    rows: Option<Pointer>,
    rows_max: usize,
    mapping: Mapping,
    reply: Reply,
    refuse: Reply,
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
    pub(super) fn plain(status: u16) -> Reply {
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
    #[error("call-back `{name}` has {bytes} bytes, more than {most}")]
    TooLarge {
        /// The call-back.
        name: String,
        /// Of its body.
        bytes: usize,
        /// How many it may have.
        most: usize,
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
        found.ok_or_else(|| self.unknown_callback(name))
    }

    pub(super) fn unknown_callback(&self, name: &str) -> CallbackError {
        CallbackError::Unknown {
            vendor: self.definition.name.clone(),
            name: short(name),
        }
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
        let malformed = |why: String| CallbackError::Malformed {
            name: callback.name.clone(),
            why,
        };
        let text = callback.door.text(request)?;
        let received = Received::new(request, text, callback.door.body);
        callback.door.prove(&received, &self.params)?;
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
    /// was read and could not be stored. `None` when there is no such call-back or question.
    pub fn refusal(&self, name: &str, status: u16) -> Option<Reply> {
        let refuse = match self.callback(name) {
            Ok(callback) => &callback.refuse,
            Err(_) => self.refuse_proof(name)?,
        };
        Some(Reply {
            status,
            ..refuse.clone()
        })
    }
}

impl Callback {
    /// The answer for success.
    pub fn reply(&self) -> &Reply {
        &self.reply
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
