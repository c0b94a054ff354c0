//! What is asked of a platform and what may come of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The platform's names for one binding, as captured from its answer (Huawei: `subscriptionId`).
/// A set of named values, because some platforms have no single id. Opaque to everybody else;
/// replicate and store it as it is.
pub type Handle = BTreeMap<String, String>;

/// A wanted binding. Numbers are plain digits as the switch stores them (`02100000000`,
/// `17000000000`, `13900000001`); a leading `+` is allowed. See [`crate::numbers`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Our outbound number.
    pub a: String,
    /// The platform's number that joins A and B.
    pub x: String,
    /// The callee.
    pub b: String,
    /// Our own id of the binding, at most 256 bytes; sent where the vendor has a field for it and
    /// the interface's parameters ask for it.
    pub own_id: String,
}

/// A wanted static relation: X is A's until it is taken away again. Numbers as in [`Bind`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxBind {
    /// Our outbound number.
    pub a: String,
    /// The platform's number that becomes A's.
    pub x: String,
    /// Our own id of the relation, at most 256 bytes; see [`Bind::own_id`].
    pub own_id: String,
}

/// What became of a bind, of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindOutcome {
    /// The platform holds the binding.
    Bound {
        /// How to name it in unbind.
        handle: Handle,
        /// The X of the answer in our notation; the call must use this one, which may differ from
        /// the X that was asked for.
        x: String,
        /// The answer's body, at most [`RAW_MAX`] bytes, for the binding's related data.
        raw: String,
    },
    /// It did not work, or it is not known whether it did: [`Failure::class`].
    Failed(Failure),
}

/// What became of an unbind, of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnbindOutcome {
    /// The platform released it now.
    Released,
    /// The platform does not know it (any more): nothing is left there.
    AlreadyGone,
    /// Still bound, or not known.
    Failed(Failure),
}

/// What became of naming the callee of A's next call to X.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetCalleeOutcome {
    /// The platform connects A's next call to X with this callee. It overwrote whatever callee was
    /// named for X before.
    Set,
    /// Not set, or not known. After a failure whose class [`Class::may_hold`] the callee may be
    /// set all the same; it does no harm, since it ends by itself and the next one overwrites it.
    Failed(Failure),
}

/// What a query found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryOutcome {
    /// The bindings the platform holds for these numbers, at least one.
    Found(Vec<Held>),
    /// It holds none.
    None,
    /// Not known.
    Failed(Failure),
}

/// A binding as the platform tells it; numbers in our notation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// How to name it in unbind.
    pub handle: Handle,
    /// The A number.
    pub a: String,
    /// The X number.
    pub x: String,
    /// The B number; empty for a static relation, which has none.
    pub b: String,
}

/// What the client needs of every outcome.
pub(crate) trait Outcome {
    /// The outcome of an exchange that failed.
    fn failed(failure: Failure) -> Self;
    /// The failure, unless it is a success.
    fn failure(&self) -> Option<&Failure>;
    /// The word of the `result` label: the success, or the failure's class.
    fn word(&self) -> &'static str;
}

impl Outcome for BindOutcome {
    fn failed(failure: Failure) -> BindOutcome {
        BindOutcome::Failed(failure)
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            BindOutcome::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            BindOutcome::Bound { .. } => "bound",
            BindOutcome::Failed(failure) => failure.class.word(),
        }
    }
}

impl Outcome for UnbindOutcome {
    fn failed(failure: Failure) -> UnbindOutcome {
        UnbindOutcome::Failed(failure)
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            UnbindOutcome::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            UnbindOutcome::Released => "released",
            UnbindOutcome::AlreadyGone => "already_gone",
            UnbindOutcome::Failed(failure) => failure.class.word(),
        }
    }
}

impl Outcome for SetCalleeOutcome {
    fn failed(failure: Failure) -> SetCalleeOutcome {
        SetCalleeOutcome::Failed(failure)
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            SetCalleeOutcome::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            SetCalleeOutcome::Set => "set",
            SetCalleeOutcome::Failed(failure) => failure.class.word(),
        }
    }
}

impl Outcome for QueryOutcome {
    fn failed(failure: Failure) -> QueryOutcome {
        QueryOutcome::Failed(failure)
    }

    fn failure(&self) -> Option<&Failure> {
        match self {
            QueryOutcome::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            QueryOutcome::Found(_) => "found",
            QueryOutcome::None => "none",
            QueryOutcome::Failed(failure) => failure.class.word(),
        }
    }
}

/// One page of an answer that has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The rows, possibly none.
    pub held: Vec<Held>,
    /// How many rows the answer's list had, those without an id included.
    pub rows: usize,
    /// How many rows all pages have together, where the platform says it.
    pub total: Option<usize>,
}

impl Page {
    /// A page without rows.
    pub fn empty() -> Page {
        Page {
            held: Vec::new(),
            rows: 0,
            total: None,
        }
    }
}

impl Outcome for Result<Page, Failure> {
    fn failed(failure: Failure) -> Result<Page, Failure> {
        Err(failure)
    }

    fn failure(&self) -> Option<&Failure> {
        self.as_ref().err()
    }

    fn word(&self) -> &'static str {
        match self {
            Ok(page) if page.rows == 0 => "none",
            Ok(_) => "found",
            Err(failure) => failure.class.word(),
        }
    }
}

/// The bound on [`BindOutcome::Bound::raw`] and on [`Failure::text`], in bytes.
pub const RAW_MAX: usize = 1024;

/// Why a request to a platform failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What to do about it.
    pub class: Class,
    /// The vendor's code as text (`1012010`), `http 503` when there was none, or one of our own
    /// words: `timeout`, `connect`, `reset`, `unreadable`, `too_large`, `too_many`, `number`,
    /// `handle`, `in_flight`, `rate_limit`, `breaker`.
    pub code: String,
    /// The vendor's words or ours, at most [`RAW_MAX`] bytes. May hold numbers; mask it in logs.
    pub text: String,
    /// How long the platform (or our own limit) asks to stay away, in milliseconds.
    pub wait_ms: Option<u64>,
}

impl Failure {
    /// A failure without waiting time; `text` is cut to [`RAW_MAX`].
    pub fn new(class: Class, code: impl Into<String>, text: impl Into<String>) -> Failure {
        Failure {
            class,
            code: code.into(),
            text: bounded(text.into()),
            wait_ms: None,
        }
    }

    /// The same failure with a waiting time.
    pub fn wait(mut self, wait_ms: u64) -> Failure {
        self.wait_ms = Some(wait_ms);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {}", self.class.word(), self.code)?;
        if !self.text.is_empty() {
            write!(f, ", {}", self.text)?;
        }
        f.write_str(")")
    }
}

/// Cuts text to [`RAW_MAX`] bytes on a character border.
pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > RAW_MAX {
        let mut end = RAW_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

/// What a failure means for the next step. The questions a caller asks are [`Class::may_hold`],
/// [`Class::other_x`] and [`Class::lasting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// X is taken for this pair: A or B already appears on X. Often somebody else's binding,
    /// sometimes our own lost one; another X works. A query tells which.
    XConflict,
    /// The platform does not let us use this X at all; another X may work.
    XUnusable,
    /// The platform has no free number to give.
    PoolExhausted,
    /// Exactly this binding exists: query and adopt it.
    AlreadyBound,
    /// Too many requests, by the vendor's word or our own limit; surely not applied.
    Throttled,
    /// The request may or may not have been applied (time-out, cut connection, 5xx, unreadable
    /// answer): recover before X is used again.
    Unknown,
    /// The request surely never reached the platform (connect refused or timed out, DNS, TLS).
    NotSent,
    /// The platform refused this request for its content; repeating it changes nothing.
    Permanent,
    /// Credentials, URL or allow list are wrong: a human must act, no bind will work before.
    Config,
    /// The platform serves nobody for now (account frozen, breaker open); surely not applied.
    VendorDown,
    /// The platform knows no such record. For unbind and query this is an outcome of its own and
    /// no failure; a bind answered so speaks of its X, a set callee of the relation A–X.
    NotFound,
}

/// The words of the trade for what a platform says (DOMAIN §4.3), `ok` left out: what operators
/// see as last error. Several classes may share a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// This very record exists already.
    Exists,
    /// The platform knows no such record, or no such X of ours.
    NotFound,
    /// A number is in use already where it may be used once.
    NumberBusy,
    /// The platform has no number left.
    Exhausted,
    /// Credentials, allow list, mode or address: a human must act.
    Auth,
    /// Too many requests.
    Throttled,
    /// Surely not applied, the platform is not there for us.
    Unavailable,
    /// No word that can be trusted: nobody knows whether it was applied.
    Timeout,
    /// Refused for its content. Beside the list of DOMAIN §4.3, which leaves these unnamed.
    Invalid,
}

impl Kind {
    /// The word in last errors and in the console.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Exists => "exists",
            Kind::NotFound => "not_found",
            Kind::NumberBusy => "number_busy",
            Kind::Exhausted => "exhausted",
            Kind::Auth => "auth",
            Kind::Throttled => "throttled",
            Kind::Unavailable => "unavailable",
            Kind::Timeout => "timeout",
            Kind::Invalid => "invalid",
        }
    }
}

/// How much of the interface a failure speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// About these numbers only: another X of the same interface may work.
    Number,
    /// About the whole interface: only another gateway helps.
    Platform,
}

impl Class {
    /// All classes, for tables and tests.
    pub const ALL: [Class; 11] = [
        Class::XConflict,
        Class::XUnusable,
        Class::PoolExhausted,
        Class::AlreadyBound,
        Class::Throttled,
        Class::Unknown,
        Class::NotSent,
        Class::Permanent,
        Class::Config,
        Class::VendorDown,
        Class::NotFound,
    ];

    /// Whether the platform may hold the binding after a bind failed this way, so that it must be
    /// queried, unbound or waited out before (A, X) is used again.
    pub fn may_hold(self) -> bool {
        matches!(self, Class::Unknown | Class::AlreadyBound)
    }

    /// Whether another X of the same interface is worth a try, or only another gateway.
    pub fn other_x(self) -> Service {
        match self {
            Class::XConflict | Class::XUnusable | Class::AlreadyBound | Class::NotFound => {
                Service::Number
            }
            Class::PoolExhausted
            | Class::Throttled
            | Class::Unknown
            | Class::NotSent
            // What it disliked is most likely B, which another X does not change.
            | Class::Permanent
            | Class::Config
            | Class::VendorDown => Service::Platform,
        }
    }

    /// Whether the same request will fail the same way until somebody changes something.
    pub fn lasting(self) -> bool {
        matches!(
            self,
            Class::XUnusable | Class::Permanent | Class::Config | Class::NotFound
        )
    }

    /// The word for logs, metrics and the console.
    pub fn word(self) -> &'static str {
        match self {
            Class::XConflict => "x_conflict",
            Class::XUnusable => "x_unusable",
            Class::PoolExhausted => "pool_exhausted",
            Class::AlreadyBound => "already_bound",
            Class::Throttled => "throttled",
            Class::Unknown => "unknown",
            Class::NotSent => "not_sent",
            Class::Permanent => "permanent",
            Class::Config => "config",
            Class::VendorDown => "vendor_down",
            Class::NotFound => "not_found",
        }
    }

    /// The trade's word for it.
    pub fn kind(self) -> Kind {
        match self {
            Class::XConflict => Kind::NumberBusy,
            Class::XUnusable | Class::NotFound => Kind::NotFound,
            Class::PoolExhausted => Kind::Exhausted,
            Class::AlreadyBound => Kind::Exists,
            Class::Throttled => Kind::Throttled,
            Class::Unknown => Kind::Timeout,
            Class::NotSent | Class::VendorDown => Kind::Unavailable,
            Class::Permanent => Kind::Invalid,
            Class::Config => Kind::Auth,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_vendor_words_are_cut_on_a_character_border() {
        let failure = Failure::new(Class::Unknown, "x", "号".repeat(1000));
        assert!(failure.text.len() <= RAW_MAX && failure.text.len() > RAW_MAX - 3);
    }

    #[test]
    fn a_failure_reads_as_one_clause() {
        let failure = Failure::new(Class::XConflict, "1012010", "busy");
        assert_eq!(failure.to_string(), "x_conflict (code 1012010, busy)");
    }

    #[test]
    fn only_unknown_and_already_bound_may_leave_something_behind() {
        let holding: Vec<_> = Class::ALL.into_iter().filter(|c| c.may_hold()).collect();
        assert_eq!(holding, [Class::AlreadyBound, Class::Unknown]);
    }
}
