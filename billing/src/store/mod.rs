//! The records of one node in SQLite: written once in outbox order, read in pages.
//!
//! One connection writes, a few read beside it (WAL). A row's number and the row are stored in the
//! same transaction, so after a crash the store goes on where it stopped: a row offered twice is
//! stored once, a row left out is refused.
//!
//! A commit survives the death of the process at once, and the loss of power after the next
//! [`Store::sync`] or checkpoint: whoever drops rows from the replicated outbox waits for a `sync`
//! that covers them. Until then a lost tail is simply written again.

mod error;
mod read;
mod report;
mod write;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::{Mutex, watch};

pub use error::StoreError;
pub use read::{Export, Filter, LIMIT_MAX, Listed, Page};
pub use report::{Period, ReportQuery};

use crate::codec;
use crate::record::Record;

/// Name of the file in its directory.
const FILE: &str = "cdr.db";
/// Marks the file as ours (`PRAGMA application_id`): "TAND".
const APPLICATION: i64 = 0x5441_4e44;
/// Steps from an empty file to today's schema; the file's `user_version` counts those done.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/0001_cdr.sql")];
/// Connections that read; each is a thread.
const READERS_MAX: u32 = 3;
/// How long a statement waits for a lock held by another process, and a reader for a connection.
const WAIT: Duration = Duration::from_secs(5);

/// The records of one node.
pub struct Store {
    path: PathBuf,
    writer: Mutex<write::Writer>,
    readers: SqlitePool,
    last: watch::Sender<u64>,
}

/// How many records a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls.
    pub cdrs: u64,
    /// Those that got an (A,X).
    pub axb_cdrs: u64,
}

impl Store {
    /// Opens the store in `dir`, which is made when missing, and brings its schema up to date.
    pub async fn open(dir: impl AsRef<Path>) -> Result<Store, StoreError> {
        let dir = dir.as_ref();
        let path = dir.join(FILE);
        make_file(dir, &path)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .busy_timeout(WAIT)
            .foreign_keys(false)
            .statement_cache_capacity(64);
        let failed = |error| StoreError::sql(&path, error);
        let writing = options
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            // A checkpoint every 16 MB: fewer, longer writes than with the default of 4 MB.
            .pragma("wal_autocheckpoint", "4000")
            .pragma("journal_size_limit", "67108864")
            .pragma("cache_size", "-16384");
        let mut conn = SqliteConnection::connect_with(&writing)
            .await
            .map_err(failed)?;
        migrate(&path, &mut conn).await?;
        let writer = write::Writer::new(conn);
        let readers = SqlitePoolOptions::new()
            .min_connections(0)
            .max_connections(READERS_MAX)
            .acquire_timeout(WAIT)
            .connect_lazy_with(options.read_only(true).pragma("cache_size", "-4096"));
        let store = Store {
            path: path.clone(),
            writer: Mutex::new(writer),
            readers,
            last: watch::Sender::new(0),
        };
        let last = store.writer.lock().await.last(&path).await?;
        store.last.send_replace(last);
        tracing::info!(path = %path.display(), last, "cdr store open");
        Ok(store)
    }

    /// Number of the last row stored, 0 for none.
    pub fn last(&self) -> u64 {
        *self.last.borrow()
    }

    /// Follows [`Store::last`].
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Stores rows and returns the number of the last one stored.
    ///
    /// Rows come in the order of their numbers. Those up to [`Store::last`] are there already and
    /// are left alone; of the others the first must be the next number and no number may be left
    /// out, else [`StoreError::Gap`]. All of them are stored, or none.
    pub async fn append(&self, rows: &[(u64, Record)]) -> Result<u64, StoreError> {
        let mut writer = self.writer.lock().await;
        let last = writer.append(&self.path, rows).await?;
        self.last.send_if_modified(|stored| {
            let grown = last > *stored;
            *stored = last.max(*stored);
            grown
        });
        Ok(last)
    }

    /// As [`Store::append`], for encoded rows as the outbox and peers hold them. Rows stored
    /// already are not even decoded.
    pub async fn append_encoded(&self, rows: &[(u64, Bytes)]) -> Result<u64, StoreError> {
        let last = self.last();
        let rows = rows
            .iter()
            .filter(|(seq, _)| *seq > last)
            .map(|(seq, bytes)| match codec::decode(bytes) {
                Ok(record) => Ok((*seq, record)),
                Err(source) => Err(StoreError::Undecodable { seq: *seq, source }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.append(&rows).await
    }

    /// Makes everything stored so far survive a loss of power; returns the last number covered.
    pub async fn sync(&self) -> Result<u64, StoreError> {
        // Read first: what is committed while the sync runs may not be covered by it.
        let last = self.last();
        let wal = self.wal();
        let synced = tokio::task::spawn_blocking(move || match File::open(&wal) {
            Ok(file) => file.sync_data(),
            // Checkpointed and removed; SQLite has synced the database then.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        });
        let synced = synced
            .await
            .unwrap_or_else(|gone| Err(io::Error::other(gone)));
        match synced {
            Ok(()) => Ok(last),
            Err(source) => Err(StoreError::Io {
                path: self.wal(),
                source,
            }),
        }
    }

    /// How many records there are. Counts the AXB rows one by one: for tests and rare checks.
    pub async fn count(&self) -> Result<Counts, StoreError> {
        let (cdrs, axb_cdrs): (i64, i64) =
            sqlx::query_as("SELECT (SELECT count(*) FROM cdr), (SELECT count(*) FROM axb_cdr)")
                .fetch_one(&self.readers)
                .await
                .map_err(|error| self.failed(error))?;
        Ok(Counts {
            cdrs: cdrs.unsigned_abs(),
            axb_cdrs: axb_cdrs.unsigned_abs(),
        })
    }

    /// Closes all connections and writes the WAL back into the database. A store that is merely
    /// dropped loses nothing.
    pub async fn close(self) {
        self.readers.close().await;
        self.writer.into_inner().close().await;
    }

    fn wal(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push("-wal");
        name.into()
    }

    fn failed(&self, error: sqlx::Error) -> StoreError {
        StoreError::sql(&self.path, error)
    }
}

/// Makes the directory and the empty file, whose failures SQLite would report without a reason.
///
/// An existing file is not even opened: closing it would drop the locks that SQLite holds on it
/// for another store of this process (POSIX locks belong to the process, not to the descriptor).
fn make_file(dir: &Path, path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(dir).map_err(|error| StoreError::create(path, error))?;
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::create(path, error)),
    }
}

/// Takes the schema from the file's `user_version` to the newest, each step whole or not at all.
async fn migrate(path: &Path, conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let failed = |error| StoreError::sql(path, error);
    let known = MIGRATIONS.len() as i64;
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let (application, found, tables): (i64, i64, i64) = sqlx::query_as(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) \
         FROM pragma_application_id, pragma_user_version",
    )
    .fetch_one(&mut *tx)
    .await
    .map_err(failed)?;
    let empty = application == 0 && found == 0 && tables == 0;
    if !empty && application != APPLICATION {
        return Err(StoreError::NotAStore(path.to_owned()));
    }
    if found > known {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for step in &MIGRATIONS[done..] {
        sqlx::raw_sql(*step)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
    }
    let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {known};");
    sqlx::raw_sql(AssertSqlSafe(marks))
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    tx.commit().await.map_err(failed)
}
