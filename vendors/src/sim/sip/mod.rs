//! The SIP side over UDP: an INVITE from A to X with a live binding goes on to B's phone as an
//! INVITE from X to B. Where X is A's by a static relation, A's calls go on to the callee named for
//! it in the same way, and anybody else's to A, whom X or the caller is shown as the relation says.
//! Else the answer is 404. All this is looked up once, when the call is set up, so an unbind during
//! a call does not end it.
//!
//! It is a record-routing proxy that rewrites numbers, not a back-to-back agent and not the
//! switch's own stack: it keeps no transactions, sends nothing twice by itself and waits for
//! nothing. Retransmissions of both ends pass through it under the same branch. What it keeps is a
//! bounded table of calls by Call-ID, so that From, To and the other places where a number stands
//! are changed alike in every message of a call, in both directions.
//!
//! [`message`] reads and writes, [`proxy`] decides with [`rewrite`] (all pure), [`Driver`] has the
//! socket. Whoever wants to know what becomes of the calls is given a [`Note`] of each step.

mod driver;
pub mod message;
pub mod proxy;
mod rewrite;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

pub use driver::{Driver, Listener};

/// Where calls are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phones {
    /// For every B.
    pub callee: SocketAddr,
    /// For the A of a relation.
    pub a: SocketAddr,
}

/// Where a call to X goes; numbers in our notation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// On to this B, who sees X.
    Out(String),
    /// On to the A who has X.
    In {
        /// A.
        a: String,
        /// Whether A sees the caller, and not X.
        caller_shown: bool,
    },
}

/// A step of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its Call-ID.
    pub call: String,
    /// What happened.
    pub step: Step,
}

/// What happens to a call that has a route, in this order; what is not reached is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It came in and goes on to a phone. Numbers as the caller wrote them.
    Started {
        /// The caller.
        from: String,
        /// Whom he called.
        x: String,
    },
    /// The phone rings.
    Ringing,
    /// It is answered.
    Answered,
    /// It is over.
    Ended(End),
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Who ended it.
    pub by: Side,
    /// SIP status of the refusal; 0 when somebody hung up after the answer.
    pub status: u16,
}

/// One of those who can end a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who called X.
    Caller,
    /// Who was called.
    Callee,
    /// The platform itself, by a time limit.
    Platform,
}

/// What the SIP side has carried; also the body of `GET /_sim/calls`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Answered and not ended.
    pub live: u64,
    /// Sent on to a phone since the start.
    pub total: u64,
    /// Answered since the start.
    pub answered: u64,
    /// Those of `total` that went to the A of a relation.
    #[serde(default)]
    pub incoming: u64,
    /// Without binding since the start.
    pub not_found: u64,
    /// Calls of A that came with a number that is neither A nor X in Contact, an identity header or
    /// the SDP origin: the switch gave away a number it should have kept.
    pub foreign_identity: u64,
    /// Retransmissions of a call's first INVITE since the start.
    pub retransmissions: u64,
    /// Datagrams that were no SIP message.
    pub malformed: u64,
}

/// The counters behind [`Calls`], written by the driver's thread.
#[derive(Debug, Default)]
pub struct Counters {
    /// See [`Calls::live`].
    pub live: AtomicU64,
    /// See [`Calls::total`].
    pub total: AtomicU64,
    /// See [`Calls::answered`].
    pub answered: AtomicU64,
    /// See [`Calls::incoming`].
    pub incoming: AtomicU64,
    /// See [`Calls::not_found`].
    pub not_found: AtomicU64,
    /// See [`Calls::foreign_identity`].
    pub foreign_identity: AtomicU64,
    /// See [`Calls::retransmissions`].
    pub retransmissions: AtomicU64,
    /// See [`Calls::malformed`].
    pub malformed: AtomicU64,
}

impl Counters {
    /// All at once; each is exact, together they may be a datagram apart.
    pub fn read(&self) -> Calls {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Calls {
            live: get(&self.live),
            total: get(&self.total),
            answered: get(&self.answered),
            incoming: get(&self.incoming),
            not_found: get(&self.not_found),
            foreign_identity: get(&self.foreign_identity),
            retransmissions: get(&self.retransmissions),
            malformed: get(&self.malformed),
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
