//! What can go wrong with a store, by what somebody can do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::CodecError;

/// Why a store could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory, the file or the file system may not be written.
    #[error("cdr store `{0}` is read-only")]
    ReadOnly(PathBuf),
    /// No space left; what was to be written was not.
    #[error("disk of cdr store `{0}` is full")]
    Full(PathBuf),
    /// The file is something else.
    #[error("`{0}` is not a cdr store")]
    NotAStore(PathBuf),
    /// The file was written by a newer release.
    #[error("cdr store `{path}` has schema {found}, this release knows {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// Another process has kept the file locked for as long as one waits.
    #[error("cdr store `{0}` is locked by another process")]
    Locked(PathBuf),
    /// The file's structure is broken.
    #[error("cdr store `{0}` is damaged")]
    Damaged(PathBuf),
    /// A row holds a value that no release wrote there.
    #[error("cdr row {seq} has an unreadable `{column}`")]
    Row {
        /// The row.
        seq: u64,
        /// Its column.
        column: &'static str,
    },
    /// The directory or the file could not be made.
    #[error("cannot create cdr store `{path}`")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What the system said to a read, write or sync.
    #[error("i/o error on cdr store `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Rows are missing between the last one stored and the ones offered. Nothing was written;
    /// fetch the missing ones from a peer.
    #[error("cdr numbers have a gap, expected {expected}, got {got}")]
    Gap {
        /// The number that has to come next.
        expected: u64,
        /// The number that came instead.
        got: u64,
    },
    /// An outbox row whose bytes are no record that this release can read.
    #[error("cdr {seq} cannot be decoded")]
    Undecodable {
        /// Its number.
        seq: u64,
        /// Why.
        source: CodecError,
    },
    /// The question itself is impossible.
    #[error("{0}")]
    Question(&'static str),
    /// Anything else that SQLite says.
    #[error("cdr store `{path}` failed")]
    Sql {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Whether the same step may succeed later without anybody mending the data: a full disk or a
    /// lock does, a gap or a damaged file does not.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            StoreError::ReadOnly(_)
                | StoreError::Full(_)
                | StoreError::Locked(_)
                | StoreError::Io { .. }
                | StoreError::Sql { .. }
        )
    }

    /// Sorts by SQLite's primary result code (<https://www.sqlite.org/rescode.html>).
    pub(super) fn sql(path: &Path, source: sqlx::Error) -> StoreError {
        let code = source
            .as_database_error()
            .and_then(|error| error.code())
            .and_then(|code| code.parse::<u32>().ok());
        let path = path.to_owned();
        // The low byte is the primary code.
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => StoreError::Locked(path),
            Some(8) => StoreError::ReadOnly(path),
            Some(11) => StoreError::Damaged(path),
            Some(13) => StoreError::Full(path),
            Some(26) => StoreError::NotAStore(path),
            _ => StoreError::Sql { path, source },
        }
    }

    /// Sorts what the system said while the directory or the file was made.
    pub(super) fn create(path: &Path, source: io::Error) -> StoreError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::ReadOnly(path)
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(path),
            _ => StoreError::Create { path, source },
        }
    }
}
