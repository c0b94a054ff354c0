//! What is remembered of exchanges: which are written, and how they are shown.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::http::Head;
use super::{Client, Inner};
use crate::exchange::{Op, Request};
use crate::journal::{BODY_MAX, Exchange, HEADERS_MAX, Journal, Link, Shown, VALUE_MAX, cut};
use crate::mask::Masker;
use crate::outcome::Outcome;

/// Hears of exchanges as they end; called on the task that asked, so it must be quick.
pub type Tap = Arc<dyn Fn(&Exchange) + Send + Sync>;

/// What the date of an answer says of the date of its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Dated {
    /// Nothing against it.
    #[default]
    Well,
    /// It was off by more than dates are fine, and the next one will not be.
    Wrongly,
    /// It may have been off: the answer contradicts what is known, and the next one will confirm it or not.
    Doubtfully,
}

/// One request on its way, as far as it came.
#[derive(Default)]
pub(super) struct Seen {
    /// When it left, by our clock.
    pub(super) at_ms: u64,
    pub(super) clock_offset_ms: i64,
    pub(super) dated: Dated,
    /// Absent when none could be built.
    pub(super) request: Option<Request>,
    /// Absent when nothing was sent.
    pub(super) took: Option<Duration>,
    pub(super) head: Option<Head>,
    pub(super) body: Option<Bytes>,
}

impl Client {
    /// A clone whose exchanges are all written, and told to `tap`.
    pub fn tapped(&self, tap: Tap) -> Client {
        Client {
            tap: Some(tap),
            ..self.clone()
        }
    }

    /// The last exchanges, the oldest first. With `watch` everything is written for the next
    /// [`WATCH_MS`](crate::journal::WATCH_MS).
    pub fn exchanges(&self, watch: bool) -> Vec<Arc<Exchange>> {
        let mut journal = journal(&self.inner);
        if watch {
            journal.watch(self.inner.session.wall_ms());
        }
        journal.kept()
    }

    /// Writes an exchange that has ended, if it is one that is written.
    pub(super) fn record<T: Outcome>(&self, op: Op, outcome: &T, seen: Seen) {
        let Some(request) = &seen.request else {
            return;
        };
        let failure = outcome.failure();
        let wanted = match seen.took {
            None => false,
            Some(_) => journal(&self.inner).wants(failure.is_none(), self.inner.session.wall_ms()),
        };
        if !wanted && self.tap.is_none() {
            return;
        }
        let masker = &self.inner.masker;
        let (code, text) = match failure {
            Some(failure) => (failure.code.clone(), masker.answer(&failure.text)),
            None => (String::new(), String::new()),
        };
        let exchange = Exchange {
            number: 0,
            at_ms: seen.at_ms,
            op,
            outcome: outcome.word(),
            code,
            text,
            sent: seen.took.is_some(),
            took_us: seen.took.map_or(0, |took| {
                u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
            }),
            clock_offset_ms: seen.clock_offset_ms,
            link: seen.head.as_ref().map(link),
            request: asked(masker, op, request),
            answer: seen
                .head
                .as_ref()
                .map(|head| answered(masker, head, seen.body.as_deref())),
        };
        // What was not sent is told to who asked for it, and is no exchange with the platform.
        if seen.took.is_some() {
            let written = journal(&self.inner).write(exchange);
            if let Some(tap) = &self.tap {
                tap(&written);
            }
        } else if let Some(tap) = &self.tap {
            tap(&exchange);
        }
    }
}

fn journal(inner: &Inner) -> MutexGuard<'_, Journal> {
    // A journal is a list and counters; a panic between two of its statements spoils none.
    inner.journal.lock().unwrap_or_else(PoisonError::into_inner)
}

fn link(head: &Head) -> Link {
    Link {
        http: format!("{:?}", head.version),
        remote: head.remote,
        tls: head.tls.as_ref().and_then(|tls| tls.version.clone()),
        certificate_sha256: head
            .tls
            .as_ref()
            .and_then(|tls| tls.certificate.as_ref())
            .map(|der| hex::encode(Sha256::digest(der))),
    }
}

fn asked(masker: &Masker, op: Op, request: &Request) -> Shown {
    let header = |(name, value): &(Arc<str>, String)| {
        let shown = masker.header(Some(op), name, value);
        (name.to_string(), cut(shown, VALUE_MAX))
    };
    let url = cut(masker.url(op, &request.url), VALUE_MAX);
    Shown {
        line: format!("{} {url}", request.method.word()),
        headers: request
            .headers
            .iter()
            .take(HEADERS_MAX)
            .map(header)
            .collect(),
        body: cut(masker.body(op, &request.body), BODY_MAX),
        body_bytes: request.body.len(),
    }
}

/// The head came, the body perhaps not.
fn answered(masker: &Masker, head: &Head, body: Option<&[u8]>) -> Shown {
    let headers = head.headers.iter().take(HEADERS_MAX);
    let header = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        let shown = masker.header(None, name.as_str(), &value);
        (name.to_string(), cut(shown, VALUE_MAX))
    };
    let body = body.unwrap_or_default();
    Shown {
        line: head.status.to_string(),
        headers: headers.map(header).collect(),
        body: cut(masker.answer(&String::from_utf8_lossy(body)), BODY_MAX),
        body_bytes: body.len(),
    }
}
