//! What a platform lets the pool of numbers do, as data: the switch asks it before it reserves,
//! so that it does not learn the platform's rules from refused binds.

use serde::{Deserialize, Serialize};

use crate::exchange::Op;
use crate::interface::Breaker;
use crate::outcome::Class;

/// What a type can do, and how its numbers may be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Whether the platform stores nothing and asks us for each call: our own rows are all there is
    /// of a binding, and nothing is ever sent.
    pub asks: bool,
    /// Whether X can be given to A for good (`ax_bind`, `ax_unbind`, `ax_query`).
    pub ax: bool,
    /// Whether the callee of A's next call to its X can be named, so that AX can call out.
    pub set_callee: bool,
    /// Whether the platform tells what it holds (`query`, `held_on`): without it a lost bind is
    /// cleared by unbinding, and nothing can be reconciled.
    pub query: bool,
    /// Which bindings may stand side by side.
    pub conflict: Conflict,
    /// How long a released pair (A, X) rests before it is leased again, in milliseconds.
    pub pair_rest_ms: u32,
}

/// Which bindings may not stand side by side. In every scope a pair (A, X) carries at most one
/// (DOMAIN §4.1, I3); each scope forbids more than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// Nothing beyond the pair.
    Pair,
    /// A number appears once per X, as A or as B: at most one binding per (X, B') too (I4), and no
    /// A of one binding is the B of another on the same X.
    XCallee,
    /// X carries one binding at all.
    XExclusive,
}

impl Conflict {
    /// The word in definitions and configuration.
    pub fn word(self) -> &'static str {
        match self {
            Conflict::Pair => "pair",
            Conflict::XCallee => "x_callee",
            Conflict::XExclusive => "x_exclusive",
        }
    }
}

/// How a vendor wants to be treated when things go wrong, as its definition says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Handling {
    /// Bindings one X carries at most; `None`: not said.
    pub bindings_per_x_max: Option<u32>,
    /// The vendor's own limit, requests a second; an interface without a limit keeps to it.
    pub rate_per_s: Option<u32>,
    /// How long (A, X) is left alone when nothing else clears a lost bind, in seconds; `None`: as
    /// long as the platform was asked to keep it.
    pub quarantine_s: Option<u32>,
    /// Whether the platform counts equal binds and releases with the last unbind.
    pub counted: bool,
    /// How long after the answer an unbind is known to be harmless, in milliseconds.
    pub unbind_after_answer_ms: Option<u32>,
    /// What clears a bind whose outcome is unknown, in this order.
    pub recover: Vec<Recovery>,
    /// How often an operation may be repeated after a failure.
    pub retry: Vec<Retry>,
    /// When to stay away.
    pub breaker: Breaker,
}

impl Handling {
    /// How often this operation may be repeated after a failure of this class; 0 when nothing is
    /// said.
    pub fn retries(&self, op: Op, class: Class) -> u8 {
        let found = self
            .retry
            .iter()
            .find(|row| row.op == op && row.class == class);
        found.map_or(0, |row| row.times)
    }
}

/// A row of the matrix of retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// What is repeated.
    pub op: Op,
    /// After which failure.
    pub class: Class,
    /// How often at most.
    pub times: u8,
}

/// A way to clear a bind whose outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// Ask what is bound, and adopt or release it.
    Query,
    /// Unbind by the id that we gave it ourselves.
    OwnId,
    /// Unbind by A, X and B.
    Numbers,
    /// Bind again with the same request id, which the platform answers alike.
    Repeat,
    /// Leave (A, X) alone until the platform has let go by itself.
    Wait,
}
