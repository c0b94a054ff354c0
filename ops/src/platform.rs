//! Requests that platforms make of us: what goes from the open path to the process and back, and the bounds on the way.
//!
//! They come from outside without a token: what a platform's definition names as its proof is the only authentication.
//! So nothing of them is logged but the names of interface and address, and everything has a bound before it is read.

use bytes::Bytes;
use std::collections::HashMap;
use std::fmt;

/// Largest body that is read, bytes.
pub const BODY_MAX: usize = 262_144;
/// Most header fields.
pub const HEADERS_MAX: usize = 64;
/// Most bytes of all header fields together.
pub const HEADER_BYTES_MAX: usize = 16_384;
/// Longest URL, bytes. Twilio and Plivo send their fields in it.
pub const URL_MAX: usize = 8_192;

/// A request of a platform, as it came.
#[derive(Clone)]
pub struct PlatformRequest {
    /// Name of the interface that the address belongs to.
    pub interface: String,
    /// The definition's name of what is pushed or asked.
    pub name: String,
    /// What follows the name in the path, decoded, without the slash before it. May be a secret.
    pub suffix: String,
    /// HTTP method, upper case.
    pub method: String,
    /// The whole URL as the platform called it, query included: what it signs.
    pub url: String,
    /// Header fields, names in lower case; those that are no text are left out.
    pub headers: Vec<(String, String)>,
    /// The body, at most [`BODY_MAX`].
    pub body: Bytes,
}

impl fmt::Debug for PlatformRequest {
    /// Neither secrets nor numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlatformRequest")
            .field("interface", &self.interface)
            .field("name", &self.name)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The answer, in the platform's literal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformReply {
    /// HTTP status.
    pub status: u16,
    /// Content type, empty when there is none.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
    /// What came of it, one word of a fixed set: a label of the metric.
    pub result: &'static str,
    /// What people should know of it, for the log: no secret, no whole number; empty when all is as ever.
    pub note: String,
}

impl PlatformReply {
    /// Without a body.
    pub fn plain(status: u16, result: &'static str) -> PlatformReply {
        PlatformReply {
            status,
            content_type: String::new(),
            body: Bytes::new(),
            result,
            note: String::new(),
        }
    }
}

/// What is known of an address before anything of the request is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// No such interface.
    Nothing,
    /// The interface is there, but its type has no such address.
    Interface,
    /// Both.
    Address,
}

/// Requests a second of one interface on one node, and how many may come at once. A thousand calls a minute push some
/// hundred events and bills a second at most, and a platform that was away for hours repeats all of them.
const RATE: Bucket = Bucket::new(1_000, 2_000);
/// Of all addresses together that belong to no interface: scanners, and interfaces that were removed.
const UNKNOWN_RATE: Bucket = Bucket::new(10, 100);
/// Log lines about refusals.
const NOTE_RATE: Bucket = Bucket::new(1, 10);
/// Interfaces whose rate is remembered; beyond it all begin anew.
const INTERFACES_MAX: usize = 1_000;

/// How many requests may pass. Pure: the time comes in, in milliseconds from any moment on.
#[derive(Debug, Default)]
pub struct Rates {
    interfaces: HashMap<String, Bucket>,
    unknown: Option<Bucket>,
    notes: Option<Bucket>,
}

impl Rates {
    /// Whether one more request for this interface may pass; `None`: for none that there is.
    pub fn pass(&mut self, interface: Option<&str>, now_ms: u64) -> bool {
        let Some(interface) = interface else {
            return self.unknown.get_or_insert(UNKNOWN_RATE).take(now_ms);
        };
        if !self.interfaces.contains_key(interface) && self.interfaces.len() >= INTERFACES_MAX {
            self.interfaces.clear();
        }
        let bucket = self.interfaces.entry(interface.to_owned()).or_insert(RATE);
        bucket.take(now_ms)
    }

    /// Whether one more log line may be written.
    pub fn note(&mut self, now_ms: u64) -> bool {
        self.notes.get_or_insert(NOTE_RATE).take(now_ms)
    }
}

/// Tokens in thousandths.
#[derive(Clone, Debug)]
struct Bucket {
    per_s: u64,
    full: u64,
    left: u64,
    at_ms: u64,
}

impl Bucket {
    /// A full one.
    const fn new(per_s: u64, burst: u64) -> Bucket {
        Bucket {
            per_s,
            full: burst * 1_000,
            left: burst * 1_000,
            at_ms: 0,
        }
    }

    fn take(&mut self, now_ms: u64) -> bool {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let gained = passed.saturating_mul(self.per_s);
        self.left = self.left.saturating_add(gained).min(self.full);
        match self.left.checked_sub(1_000) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_has_its_own_rate_and_strangers_share_a_small_one() {
        let mut rates = Rates::default();
        let passed = |rates: &mut Rates, interface, now_ms| {
            (0..5_000).filter(|_| rates.pass(interface, now_ms)).count()
        };
        assert_eq!(passed(&mut rates, Some("one"), 0), 2_000);
        assert_eq!(passed(&mut rates, Some("two"), 0), 2_000);
        assert_eq!(passed(&mut rates, Some("one"), 1_500), 1_500);
        assert_eq!(passed(&mut rates, None, 1_500), 100);
        assert_eq!(passed(&mut rates, None, 1_600), 1);
        assert_eq!(passed(&mut rates, None, 0), 0, "a clock that goes back");
    }

    #[test]
    fn remembered_interfaces_have_a_bound() {
        let mut rates = Rates::default();
        for number in 0..5_000 {
            assert!(rates.pass(Some(&number.to_string()), 0));
        }
        assert!(rates.interfaces.len() <= INTERFACES_MAX);
    }

    #[test]
    fn a_request_in_a_log_line_shows_no_secret() {
        let request = PlatformRequest {
            interface: "hz".into(),
            name: "bills".into(),
            suffix: "s3cret".into(),
            method: "POST".into(),
            url: "https://x/callbacks/hz/bills/s3cret?sign=q".into(),
            headers: vec![("authorization".into(), "s3cret".into())],
            body: "13800000000".into(),
        };
        let shown = format!("{request:?}");
        assert_eq!(
            shown,
            "PlatformRequest { interface: \"hz\", name: \"bills\", bytes: 11, .. }"
        );
    }
}
