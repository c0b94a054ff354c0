//! The last exchanges with one platform, masked when they are written, so that nothing unmasked is
//! ever kept.
//!
//! Not every success is written, for masking costs more than sending: every failure, but not more
//! than [`FAILURES_PER_S`], and one success in [`ONE_IN`]; while somebody watches, everything.
//! What our own limits refused (rate, breaker) is no exchange, and is counted elsewhere.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::bucket::Bucket;
use crate::exchange::Op;

/// Exchanges that are kept of one interface on one node.
pub const KEPT_MAX: usize = 64;
/// Longest body that is kept, in bytes, after masking.
pub const BODY_MAX: usize = 4_096;
/// Longest value of a header that is kept, in bytes, and longest URL.
pub const VALUE_MAX: usize = 1_024;
/// Headers that are kept of a request or an answer.
pub const HEADERS_MAX: usize = 32;
/// Failures written in a second, unless somebody watches.
pub const FAILURES_PER_S: u32 = 16;
/// One success in so many is written, unless somebody watches.
pub const ONE_IN: u64 = 16;
/// How long a look means that somebody watches, in milliseconds.
pub const WATCH_MS: u64 = 10_000;

/// One request to a platform and what came back, as it may be shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exchange {
    /// Counts what was written, from 1, for one interface on one node.
    pub number: u64,
    /// When the request left, by our clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// What was asked.
    pub op: Op,
    /// The word of the outcome, as in metrics: the success, or the failure's class.
    pub outcome: &'static str,
    /// The failure's code; empty for a success.
    pub code: String,
    /// The failure's words; empty for a success.
    pub text: String,
    /// Whether anything was sent.
    pub sent: bool,
    /// From the first byte sent to the last byte read, connecting included, in microseconds.
    pub took_us: u64,
    /// What was added to our clock for this request, in milliseconds.
    pub clock_offset_ms: i64,
    /// The connection, once there was one.
    pub link: Option<Link>,
    /// The request.
    pub request: Shown,
    /// The answer; absent when none came.
    pub answer: Option<Shown>,
}

/// What carried an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub http: String,
    /// The far end of the connection: the platform, or the proxy.
    pub remote: Option<SocketAddr>,
    /// `TLS 1.3`; absent without TLS.
    pub tls: Option<String>,
    /// SHA-256 of the platform's certificate, lower-case hexadecimal.
    pub certificate_sha256: Option<String>,
}

/// A request or an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// `POST https://…`, or `200`.
    pub line: String,
    /// At most [`HEADERS_MAX`].
    pub headers: Vec<(String, String)>,
    /// At most [`BODY_MAX`] bytes.
    pub body: String,
    /// How many bytes the body had.
    pub body_bytes: usize,
}

/// The last exchanges of one interface on one node.
#[derive(Debug)]
pub struct Journal {
    written: u64,
    kept: VecDeque<Arc<Exchange>>,
    successes: u64,
    failures: Bucket,
    watched_until_ms: u64,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal {
            written: 0,
            kept: VecDeque::new(),
            successes: 0,
            failures: Bucket::new(FAILURES_PER_S, 1, 0),
            watched_until_ms: 0,
        }
    }
}

impl Journal {
    /// Somebody looks: everything is written for a while.
    pub fn watch(&mut self, now_ms: u64) {
        self.watched_until_ms = now_ms.saturating_add(WATCH_MS);
    }

    /// Whether an exchange is to be written; counts it.
    pub fn wants(&mut self, success: bool, now_ms: u64) -> bool {
        let watched = now_ms < self.watched_until_ms;
        match success {
            true => {
                self.successes += 1;
                watched || self.successes % ONE_IN == 1
            }
            false => self.failures.take(now_ms).is_ok() || watched,
        }
    }

    /// Writes an exchange and gives it its number; the oldest one makes room.
    pub fn write(&mut self, mut exchange: Exchange) -> Arc<Exchange> {
        self.written += 1;
        exchange.number = self.written;
        let exchange = Arc::new(exchange);
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Arc::clone(&exchange));
        exchange
    }

    /// What is kept, the oldest first.
    pub fn kept(&self) -> Vec<Arc<Exchange>> {
        self.kept.iter().cloned().collect()
    }
}

/// Cuts a text to `most` bytes at a character's border.
pub(crate) fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> Exchange {
        Exchange {
            number: 0,
            at_ms: 0,
            op: Op::Bind,
            outcome: "bound",
            code: String::new(),
            text: String::new(),
            sent: true,
            took_us: 1_000,
            clock_offset_ms: 0,
            link: None,
            request: Shown {
                line: "POST http://h/".to_owned(),
                headers: Vec::new(),
                body: String::new(),
                body_bytes: 0,
            },
            answer: None,
        }
    }

    #[test]
    fn the_oldest_makes_room_and_numbers_go_on() {
        let mut journal = Journal::default();
        for _ in 0..KEPT_MAX + 6 {
            journal.write(exchange());
        }
        let kept = journal.kept();
        assert_eq!(kept.len(), KEPT_MAX);
        assert_eq!(kept[0].number, 7);
        assert_eq!(kept[KEPT_MAX - 1].number, KEPT_MAX as u64 + 6);
    }

    #[test]
    fn one_success_in_sixteen_is_written_and_failures_up_to_a_bound() {
        let mut journal = Journal::default();
        let successes = (0..160).filter(|_| journal.wants(true, 0)).count();
        assert_eq!(successes, 10);
        assert!(Journal::default().wants(true, 0), "the first one is");
        let failures = (0..1_000).filter(|_| journal.wants(false, 0)).count();
        assert_eq!(failures, FAILURES_PER_S as usize);
        assert!(journal.wants(false, 1_000));
    }

    #[test]
    fn everything_is_written_while_somebody_watches() {
        let mut journal = Journal::default();
        journal.watch(5);
        let both = |now_ms: u64, journal: &mut Journal| {
            (0..100).all(|n| journal.wants(n % 2 == 0, now_ms))
        };
        assert!(both(6, &mut journal));
        assert!(both(5 + WATCH_MS - 1, &mut journal));
        assert!(!both(5 + WATCH_MS, &mut journal));
    }
}
