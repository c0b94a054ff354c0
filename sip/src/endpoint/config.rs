//! What a shard is told at its start, and what it hands out.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::leg::{LegEvent, LegId, Sent};
use crate::timer::Millis;
use crate::transaction::Timing;
use crate::transport::{Flow, Protocol};

/// Something for the node to carry out. Taken in order.
#[derive(Debug, Clone)]
pub enum Output {
    /// Bytes for the wire.
    Send {
        /// Where to.
        flow: Flow,
        /// A whole message.
        bytes: Bytes,
        /// What it is, for metrics and logs.
        kind: Sent,
    },
    /// Something happened on a leg.
    Event {
        /// The leg.
        leg: LegId,
        /// What happened.
        event: LegEvent,
    },
}

/// An address of ours as peers shall see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertised {
    /// Of this transport.
    pub transport: Protocol,
    /// The address a socket is bound to. Port 0 stands for every port, an unspecified IP for every IP.
    pub local: SocketAddr,
    /// What Via and Contact say: where requests to us arrive.
    pub public: SocketAddr,
}

/// What a shard is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// T1, 500 ms.
    pub t1_ms: u32,
    /// T2, 4000 ms.
    pub t2_ms: u32,
    /// T4, 5000 ms.
    pub t4_ms: u32,
    /// The value of Server and User-Agent; empty sends neither.
    pub server_name: String,
    /// How Via and Contact name our addresses. A flow that matches none is named by its own local address; TCP needs
    /// an entry, for its local port is not where we listen.
    pub advertised: Vec<Advertised>,
    /// This shard, below `shards`. Call-IDs made here belong to it.
    pub shard: u32,
    /// Number of shards of the process, at least 1.
    pub shards: u32,
    /// An outbound leg that rings longer is cancelled, where its [`Dial`](crate::leg::Dial) does not say (timer C,
    /// 180 s).
    pub ringing_limit_ms: Millis,
    /// An inbound leg about which the node has not decided is refused with 408.
    pub setup_limit_ms: Millis,
    /// 100 goes out this long after an INVITE unless something else did; 0 sends it at once.
    pub trying_delay_ms: Millis,
    /// More legs than this refuse new INVITEs with 503.
    pub legs_max: usize,
    /// More server transactions than this refuse new INVITEs with 503.
    pub transactions_max: usize,
    /// Retry-After of refusals by the two limits above.
    pub retry_after_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            t1_ms: 500,
            t2_ms: 4_000,
            t4_ms: 5_000,
            server_name: String::from("Tandem"),
            advertised: Vec::new(),
            shard: 0,
            shards: 1,
            ringing_limit_ms: 180_000,
            setup_limit_ms: 240_000,
            trying_delay_ms: 0,
            legs_max: 100_000,
            transactions_max: 200_000,
            retry_after_s: 5,
        }
    }
}

impl Config {
    pub(super) fn timing(&self) -> Timing {
        Timing {
            t1_ms: self.t1_ms,
            t2_ms: self.t2_ms,
            t4_ms: self.t4_ms,
        }
    }
}

/// Whether new work is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admission {
    /// Yes.
    #[default]
    Open,
    /// INVITEs outside dialogs and OPTIONS are refused; calls that stand go on.
    Refusing {
        /// 503.
        status: u16,
        /// Retry-After in seconds; 0 leaves it out.
        retry_after_s: u32,
    },
}

/// What is alive in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Transactions of requests we sent.
    pub client_transactions: usize,
    /// Transactions of requests we received.
    pub server_transactions: usize,
    /// Legs, with those that have ended for the node and still wait for a last answer.
    pub legs: usize,
    /// Timers armed.
    pub timers: usize,
}
