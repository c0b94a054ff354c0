//! Platforms that store nothing: for each call to one of their X they ask the customer's server who
//! is to be called, and do what its answer says.
//!
//! ```text
//! sip/driver.rs ─INVITE─▶ switchboard.rs ─question─▶ driver.rs ─HTTP─▶ customer
//!        ▲                 (calls wait)              (a thread)            │
//!        └────────────── where it goes ◀──────────── vendors/ ◀────answer──┘
//! ```
//! A vendor is an [`Asker`]: how its question looks, how it proves that it is the sender, and which
//! answers it takes. All of it is written from the vendors' papers and shares nothing with the
//! definitions that answer. An answer in any other form is no answer.
//!
//! | vendor | question below the address | proof | time limit |
//! |---|---|---|---|
//! | `china-unicom-x` | `/voice_inactive` | `sign` in the body, MD5 of appId, timestamp and secret (open) | 2 s (open) |
//! | `infobip` | `/callback` | SHA-256 of path, query, body and key in `Authorization` | 2 s (open) |
//!
//! "Open" is what the papers leave open and what is done here. When an address does not answer in
//! time or in form, the next one is asked. A call without answer, or whose answer calls nobody, is
//! refused with 404. Each question is a line of the log: its address is not in it, `code` is `dial`,
//! `refuse`, `malformed` or `silent`, `B` and `bind_id` are the answer's.

mod driver;
mod hold;
mod switchboard;
mod vendors;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::SimError;
use super::faults::Gate;
use crate::numbers::to_e164;

pub(super) use driver::Driver;
pub(super) use hold::Hold;
pub use switchboard::{Held, Switchboard};

/// The vendors that ask, by their words.
pub static ASKERS: [&Asker; 2] = [&vendors::infobip::ASKER, &vendors::unicom::ASKER];

/// How one vendor asks.
#[derive(Debug)]
pub struct Asker {
    /// Its word.
    pub word: &'static str,
    /// What stands behind the customer's address.
    pub path: &'static str,
    /// The question as it is sent.
    pub ask: fn(&Question, &Asking, &Stamp) -> Request,
    /// What an answer says.
    pub read: fn(&Heard) -> Result<Answer, String>,
}

/// One customer of a platform that asks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asking {
    /// The addresses that are asked, one after another until one answers, before the vendor's word
    /// for the question that is put behind each; `http:` only. Empty: every call is refused.
    #[serde(default)]
    pub callback_urls: Vec<String>,
    /// The customer's key or application.
    pub key: String,
    /// What questions are signed with.
    pub secret: String,
    /// The X numbers it owns, in our notation.
    #[serde(default)]
    pub x_numbers: Vec<String>,
    /// Every X that begins so, in our notation, is owned too; empty: none is.
    #[serde(default)]
    pub x_prefix: String,
    /// How long each address may take, in milliseconds.
    #[serde(default = "within_ms")]
    pub within_ms: u64,
}

fn within_ms() -> u64 {
    2_000
}

impl Asking {
    /// A customer who owns every X that begins so.
    pub fn new(key: &str, secret: &str, x_prefix: &str, callback_urls: &[String]) -> Asking {
        Asking {
            callback_urls: callback_urls.to_vec(),
            key: key.to_owned(),
            secret: secret.to_owned(),
            x_numbers: Vec::new(),
            x_prefix: x_prefix.to_owned(),
            within_ms: within_ms(),
        }
    }

    /// Whether an X in our notation is the customer's.
    fn owns(&self, x: &str) -> bool {
        let by_prefix = !self.x_prefix.is_empty() && x.starts_with(self.x_prefix.as_str());
        by_prefix || self.x_numbers.iter().any(|own| to_e164(own) == to_e164(x))
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking")
            .field("callback_urls", &self.callback_urls)
            .field("key", &self.key)
            .field("secret", &"***")
            .field("x_numbers", &self.x_numbers.len())
            .field("x_prefix", &self.x_prefix)
            .finish_non_exhaustive()
    }
}

/// What is asked. Numbers in E.164 with `+`, or as they came where they are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The platform's name of the call.
    pub call: String,
    /// Who calls.
    pub from: String,
    /// The X that is called.
    pub x: String,
    /// The whole address of the question.
    pub url: String,
}

/// The moment of one try.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Unix milliseconds.
    pub now_ms: u64,
}

/// A question as it is sent, by POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Header fields.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

/// An answer as it came, and what it is about.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// HTTP status.
    pub status: u16,
    /// Content type, empty without one.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// The X that was called, in E.164.
    pub x: &'a str,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Call somebody.
    Dial {
        /// Whom, in E.164.
        b: String,
        /// The customer's own id of it; empty without one.
        own_id: String,
    },
    /// Call nobody.
    Refuse,
}

/// One vendor's customer, with what goes wrong on request.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) asker: &'static Asker,
    pub(super) asking: Asking,
    pub(super) gate: Gate,
}

impl Desk {
    /// The customers of a configuration.
    ///
    /// # Errors
    /// When a word is no vendor's that asks, or an address is none.
    pub(super) fn open(
        config: &BTreeMap<String, Asking>,
    ) -> Result<BTreeMap<&'static str, Desk>, SimError> {
        let mut desks = BTreeMap::new();
        for (name, asking) in config {
            let asker = ASKERS.iter().find(|asker| asker.word == name);
            let asker = asker.ok_or_else(|| SimError::UnknownVendor(name.clone()))?;
            if let Some(url) = asking.callback_urls.iter().find(|url| !is_address(url)) {
                return Err(SimError::AskUrl {
                    vendor: asker.word,
                    url: url.clone(),
                });
            }
            let asking = asking.clone();
            let gate = Gate::default();
            desks.insert(
                asker.word,
                Desk {
                    asker,
                    asking,
                    gate,
                },
            );
        }
        Ok(desks)
    }

    /// The customer who owns an X.
    pub(super) fn of<'d>(desks: &'d BTreeMap<&'static str, Desk>, x: &str) -> Option<&'d Desk> {
        desks.values().find(|desk| desk.asking.owns(x))
    }
}

fn is_address(url: &str) -> bool {
    let rest = url.strip_prefix("http://").unwrap_or_default();
    !rest.is_empty() && !rest.starts_with('/') && url.bytes().all(|b| b.is_ascii_graphic())
}
