//! Connections between the nodes of a cluster.
//!
//! TCP (in a simulation a [`Net`] of its own), frames of `[length u32][kind u8][body]`, little endian, the length counting the body. Between two nodes there
//! are up to four connections each way, so that none can hold up another: appends, votes and heartbeats, snapshots,
//! and requests (forwarded proposals, questions from node to node). The first frame of each is a [`Hello`]; the other
//! side answers `WELCOME` or `REJECT` with a reason.
//!
//! Here stands what all four share: frames, the handshake, dialling, who may take part ([`roster`]), and the client of
//! the request connection. What the frames mean to the consensus stands in `raft`. There is one place where a stream is made and one where it is
//! accepted, which is where [`tls`] goes.

mod connection;
mod frame;
mod net;
mod requests;
mod roster;
mod stream;
pub(crate) mod tls;

pub(crate) use connection::{Connection, Dialer, accept, outdated};
#[cfg(test)]
pub(crate) use frame::FrameCodec;
pub(crate) use frame::{Frame, FrameError, kind};
pub use net::{AnyNet, Incoming, Net, Wire};
pub(crate) use net::{Listener, Socket};
pub use requests::RequestError;
pub(crate) use requests::{Peer, Response, response, take_request};
pub(crate) use roster::{Members, Roster, Under};
pub use tls::{Files, TlsError, name_of as tls_name};

use crate::level::Level;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Version of the handshake and the frames. Nodes with another one are rejected, so it changes only if nothing else does:
/// what is added to frames goes by the [level](crate::level) that both sides speak, and a [`Hello`] and the answers to it
/// grow at their ends, where older releases do not look.
pub const PROTOCOL: u16 = 1;
/// Largest body of a frame.
pub const FRAME_MAX: usize = 64 << 20;
/// Longest time to make a connection, name lookup included.
pub const CONNECT_LIMIT: Duration = Duration::from_millis(300);
/// Longest time that an owed answer may take. A connection that owes nothing may be silent for ever.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Channel {
    /// Streams of appended entries.
    Append,
    /// Votes, heartbeats, transfers of leadership.
    Control,
    /// Snapshots.
    Snapshot,
    /// Forwarded proposals and small questions.
    Request,
}

impl Channel {
    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Append => "append",
            Channel::Control => "control",
            Channel::Snapshot => "snapshot",
            Channel::Request => "request",
        }
    }
}

/// First frame of a connection, from the side that dialled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`]; first, so that every later version can read it.
    pub protocol: u16,
    /// Both sides must serve the same cluster.
    pub cluster: String,
    /// Who dials.
    pub from: u64,
    /// Whom it believes to have reached: a replaced machine at an old address says no.
    pub to: u64,
    /// What for.
    pub channel: Channel,
    /// Highest level the dialling node speaks.
    pub level: Level,
    /// The level it knows the cluster to be at.
    pub active: Level,
    /// Reserved for proof of membership where the transport gives none.
    pub proof: Vec<u8>,
    /// The dialling node's data directory: a number made with it.
    pub disk: u64,
    /// What its log goes back to: 0 for a cluster begun empty, else the mark of a backup; `None` without a log.
    pub origin: Option<u64>,
    /// Who shall begin the cluster, sorted, from a node that has no log yet and is not to join; empty otherwise.
    pub founders: Vec<u64>,
}

/// The answer to a [`Hello`] that is welcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The answering node's data directory.
    pub disk: u64,
    /// What its log goes back to.
    pub origin: Option<u64>,
    /// Highest level the answering node speaks.
    pub level: Level,
    /// The level it knows the cluster to be at.
    pub active: Level,
}

/// The answer to a [`Hello`] that is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Nothing but an operator can change it: the node that dialled has to stop.
    pub lasting: bool,
    /// One line for people.
    pub reason: String,
}

impl Rejection {
    fn passing(reason: String) -> Self {
        Rejection {
            lasting: false,
            reason,
        }
    }

    fn lasting(reason: String) -> Self {
        Rejection {
            lasting: true,
            reason,
        }
    }
}

/// Why a connection could not be made or ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer cannot be reached.
    #[error("node {node} at `{address}` cannot be reached")]
    Unreachable {
        /// Which.
        node: u64,
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody said where the peer is.
    #[error("node {node} has no known address")]
    NoAddress {
        /// Which.
        node: u64,
    },
    /// We do not take the peer.
    #[error("node {node} at `{address}` is not taken: {reason}")]
    Refused {
        /// Which.
        node: u64,
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// Who the peer is, is not proven, or it does not find it proven who we are.
    #[error("no secure link to node {node} at `{address}`")]
    Insecure {
        /// Which.
        node: u64,
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A stranger dialled us.
    #[error("stranger at {0} proves nothing")]
    Stranger(String),
    /// The peer does not take us.
    #[error("node {node} at `{address}` rejected us: {reason}")]
    Rejected {
        /// Which.
        node: u64,
        /// Where.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The peer runs a release that is too old for this cluster.
    #[error(
        "node {node} at `{address}` speaks level {level}, the cluster is at level {active}: run a newer release on it"
    )]
    TooOld {
        /// Which.
        node: u64,
        /// Where.
        address: String,
        /// What it speaks.
        level: Level,
        /// What the cluster is at.
        active: Level,
    },
    /// The other side broke the protocol.
    #[error("peer broke the protocol: {0}")]
    Protocol(&'static str),
    /// The connection broke.
    #[error("connection broke")]
    Broken(#[from] std::io::Error),
    /// An answer did not come in time.
    #[error("answer of node {node} is overdue")]
    Overdue {
        /// Which.
        node: u64,
    },
}

impl From<FrameError> for LinkError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLarge(_) => LinkError::Protocol("frame is larger than the cap"),
            FrameError::Io(error) => LinkError::Broken(error),
        }
    }
}
