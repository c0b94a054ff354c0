//! Why a node did not start, or a command or a copied state came to nothing.

use crate::codec::CodecError;
use crate::level::{Level, TooNew};
use crate::link::TlsError;
use crate::wal::WalError;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a node did not start. One line each, naming the culprit.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not fit together.
    #[error("cluster configuration: {0}")]
    Config(String),
    /// The data directory or what lies in it.
    #[error(transparent)]
    Log(#[from] WalError),
    /// The address is taken or not ours.
    #[error("cannot listen for nodes on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The data directory is one of a newer release. Nothing in it was changed.
    #[error(transparent)]
    TooNew(#[from] TooNew),
    /// The certificates for links.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The others do not take this node, and only an operator can change that.
    #[error("{0}")]
    Expelled(String),
    /// The state could not be brought back from snapshot and log.
    #[error("state cannot be restored: {0}")]
    Restore(String),
    /// The operating system gave no threads.
    #[error("runtime of the cluster cannot be made")]
    Runtime(#[source] io::Error),
}

impl StartError {
    /// What lies in the data directory does not let this node start: starting again will not help.
    pub fn is_for_good(&self) -> bool {
        match self {
            StartError::Restore(_) | StartError::TooNew(_) => true,
            StartError::Log(error) => !matches!(error, WalError::Disk(_)) || error.is_damage(),
            _ => false,
        }
    }
}

/// Why a proposal has no reply.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// No answer within the limit: the command may still be applied later, or never.
    #[error("outcome of the command is not known after {0:?}")]
    Unknown(Duration),
    /// Too many commands wait already; this one was not taken.
    #[error("{0} commands wait to be committed, no more are taken")]
    Overloaded(usize),
    /// The cluster is not yet at the level that the command came with; it was not taken.
    #[error(
        "command is of level {needs}, the cluster is at level {active} until every node is upgraded"
    )]
    Level {
        /// The command's level.
        needs: Level,
        /// The cluster's.
        active: Level,
    },
    /// The command is larger than 1 MB; it was not taken.
    #[error("command of {0} bytes is too large")]
    TooLarge(usize),
    /// The node is stopping or has failed.
    #[error("cluster node has stopped")]
    Stopped,
    /// The command has no encoding, or the reply none that we can read.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Why another node's state was not put in place.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The bytes are no state.
    #[error("copied state cannot be read")]
    Codec(#[from] CodecError),
    /// What was applied behind it cannot be applied to it; nothing has changed.
    #[error("copied state is of no use: {0}")]
    Replay(String),
    /// The node is stopping or has failed.
    #[error("cluster node has stopped")]
    Stopped,
}
