//! What a platform lets the pool of numbers do, as data: the switch asks it before it reserves,
//! so that it does not learn the platform's rules from refused binds.

use serde::{Deserialize, Serialize};

/// What a type can do, and how its numbers may be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
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
