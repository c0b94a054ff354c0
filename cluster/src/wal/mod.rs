//! The log of one node on disk: votes, entries, truncations and purges in one serial stream of checksummed blocks.
//!
//! [`Wal`] is the handle: calls return at once and their callbacks run when the bytes are durable. A thread (in a
//! simulation a task) drains the queue into one write and one sync at a time ([`appender::Appender`]). Layout:
//! [`record`] and [`segment`].
//!
//! What it holds to: after a crash at any byte the longest valid prefix is back, and it contains everything that was
//! ever called durable; a damaged record with sound ones behind it is an error, never a shorter log; after a failed
//! write or sync nothing more is written until the log is opened again; purged segments are unlinked only after the
//! purge itself is durable.

pub mod appender;
pub mod disk;
pub mod record;
pub mod segment;
mod sim;
#[cfg(test)]
mod tests;
mod writer;

pub use appender::Settings;
pub use disk::{AnyDisk, Disk, DiskError, DiskFile, RealDisk};
pub use record::{Entry, LogId, Membership, Payload, Vote};
pub use segment::Identity;
pub use sim::SimDisk;
pub use writer::{Callback, Fullness, Wal};

use std::io;
use std::path::PathBuf;

/// Why a log cannot be opened or written to. One line each, naming the file.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The disk or the directory.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log belongs to another cluster.
    #[error("log `{}` belongs to cluster `{found}`, not `{wanted}`", path.display())]
    OtherCluster {
        /// Segment.
        path: PathBuf,
        /// Cluster named in it.
        found: String,
        /// Our cluster.
        wanted: String,
    },
    /// The log belongs to another node.
    #[error("log `{}` belongs to node {found}, not {wanted}", path.display())]
    OtherNode {
        /// Segment.
        path: PathBuf,
        /// Node named in it.
        found: u64,
        /// Our id.
        wanted: u64,
    },
    /// The log was written by another release. Nothing of it was changed.
    #[error("log `{}` has format {found}, this release reads {}", path.display(), segment::FORMAT)]
    Format {
        /// Segment.
        path: PathBuf,
        /// Its format.
        found: u16,
    },
    /// What lies beside the log was written by a newer release.
    #[error("{0}")]
    Newer(String),
    /// The log is damaged: this node must be replaced or its directory restored.
    #[error("log `{}` is damaged at byte {offset}: {what}", path.display())]
    Corrupt {
        /// Segment.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// How.
        what: &'static str,
    },
    /// An earlier write failed; nothing is written since.
    #[error("log is closed after an earlier failure: {0}")]
    Closed(String),
}

impl WalError {
    /// What lies on disk is not what was written.
    ///
    /// Such a node is refused rather than repaired from its peers under its own id: what it has lost may be an entry
    /// that was acknowledged because it had it, or a vote that it gave. With the hole filled from somewhere it would
    /// vote as if it had promised nothing, and two leaders of one term, or a leader without an acknowledged entry, could
    /// come of it. Under a new id and with an empty disk it joins as a node that has promised nothing.
    pub fn is_damage(&self) -> bool {
        match self {
            WalError::Corrupt { .. } => true,
            WalError::Disk(error) => error.kind() == io::ErrorKind::InvalidData,
            _ => false,
        }
    }
}

impl From<WalError> for io::Error {
    fn from(error: WalError) -> Self {
        let kind = match &error {
            WalError::Disk(error) => error.kind(),
            WalError::Corrupt { .. } => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
