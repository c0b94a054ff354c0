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
mod events;
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
pub use events::{BillQuery, COMPARED_MAX, EventFilter};
pub use read::{Export, Filter, LIMIT_MAX, Listed, Page};
pub use report::{Period, ReportQuery};

use crate::codec::Entry;
use crate::record::Record;

/// Name of the file in its directory.
const FILE: &str = "cdr.db";
/// Marks the file as ours (`PRAGMA application_id`): "TAND".
const APPLICATION: i64 = 0x5441_4e44;
/// Steps from an empty file to today's schema; the file's `user_version` counts those done.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_cdr.sql"),
    include_str!("../../migrations/0002_platform.sql"),
];
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
    /// [`read::WINDOW`], which tests make small.
    window: u64,
}

/// How many records a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls.
    pub cdrs: u64,
    /// Those that got an (A,X).
    pub axb_cdrs: u64,
    /// What platforms told, repeats not counted.
    pub events: u64,
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
            window: read::WINDOW,
        };
        let last = store.writer.lock().await.last(&path).await?;
        store.last.send_replace(last);
        tracing::info!(path = %path.display(), last, "cdr store open");
        Ok(store)
    }

    /// Opens a store of which nothing is there, as if the rows up to `last` had been stored and dropped: the next one
    /// is `last + 1`. A store that has rows is left as it is.
    pub async fn begin_after(dir: impl AsRef<Path>, last: u64) -> Result<Store, StoreError> {
        let store = Store::open(dir).await?;
        if store.last() == 0 && last > 0 {
            store
                .writer
                .lock()
                .await
                .begin_after(&store.path, last)
                .await?;
            store.last.send_replace(last);
        }
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
        let entry = |(seq, record): &(u64, Record)| (*seq, Entry::Call(Box::new(record.clone())));
        let rows: Vec<_> = rows.iter().map(entry).collect();
        self.append_entries(&rows).await
    }

    /// As [`Store::append`], for whatever lies in the outbox. An event of a platform that is stored
    /// already is left out, and its number counts as stored.
    pub async fn append_entries(&self, rows: &[(u64, Entry)]) -> Result<u64, StoreError> {
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
            .map(|(seq, bytes)| match Entry::decode(bytes) {
                Ok(entry) => Ok((*seq, entry)),
                Err(source) => Err(StoreError::Undecodable { seq: *seq, source }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.append_entries(&rows).await
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
        let (cdrs, axb_cdrs, events): (i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM cdr), (SELECT count(*) FROM axb_cdr), \
             (SELECT count(*) FROM platform_events)",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(|error| self.failed(error))?;
        Ok(Counts {
            cdrs: cdrs.unsigned_abs(),
            axb_cdrs: axb_cdrs.unsigned_abs(),
            events: events.unsigned_abs(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::{Usage, close};

    async fn pragma(store: &Store, sql: &'static str) {
        let mut writer = store.writer.lock().await;
        sqlx::raw_sql(sql)
            .execute(writer.conn())
            .await
            .expect("a pragma");
    }

    #[tokio::test]
    async fn a_full_disk_is_named_and_writing_goes_on_when_there_is_room() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).await.expect("a fresh directory");
        let record = close(&Usage::default()).record;
        let rows: Vec<(u64, Record)> = (1..=2_000).map(|seq| (seq, record.clone())).collect();
        // SQLite then reports what it reports when the file cannot grow.
        pragma(&store, "PRAGMA max_page_count = 20").await;
        let error = store.append(&rows).await.expect_err("no room");
        let path = dir.path().join(FILE);
        assert_eq!(
            error.to_string(),
            format!("disk of cdr store `{}` is full", path.display())
        );
        assert!(error.is_passing());
        assert_eq!(store.last(), 0);
        pragma(&store, "PRAGMA max_page_count = 1000000").await;
        assert_eq!(store.append(&rows).await.expect("room"), 2_000);
    }

    #[tokio::test]
    async fn writing_to_a_read_only_database_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).await.expect("a fresh directory");
        pragma(&store, "PRAGMA query_only = on").await;
        let row = (1, close(&Usage::default()).record);
        let error = store.append(&[row]).await.expect_err("read-only");
        assert!(matches!(error, StoreError::ReadOnly(_)), "{error}");
    }

    #[tokio::test]
    async fn a_store_that_another_process_holds_is_named_as_locked() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).await.expect("a fresh directory");
        pragma(&store, "PRAGMA busy_timeout = 20").await;
        let row = [(1, close(&Usage::default()).record)];
        let other = SqliteConnectOptions::new().filename(dir.path().join(FILE));
        let mut other = SqliteConnection::connect_with(&other).await.expect("open");
        let tx = other.begin_with("BEGIN IMMEDIATE").await.expect("the lock");
        let error = store.append(&row).await.expect_err("locked");
        assert!(matches!(error, StoreError::Locked(_)), "{error}");
        assert!(error.is_passing());
        tx.rollback().await.expect("given back");
        assert_eq!(store.append(&row).await.expect("free"), 1);
    }

    #[tokio::test]
    async fn a_rare_row_is_found_over_many_short_pages_in_either_direction() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut store = Store::open(dir.path()).await.expect("a fresh directory");
        store.window = 3;
        let rare = |seq| [2, 205, 206, 500].contains(&seq);
        let row = |seq| {
            let caller = if rare(seq) { "rare" } else { "common" }.to_owned();
            let usage = Usage {
                caller,
                ..Usage::default()
            };
            (seq, close(&usage).record)
        };
        let rows: Vec<_> = (1..=500).map(row).collect();
        store.append(&rows).await.expect("in order");
        for newest_first in [false, true] {
            let (mut found, mut pages) = (Vec::new(), 0);
            let mut filter = Filter {
                caller: Some("rare".into()),
                limit: 2,
                newest_first,
                ..Filter::default()
            };
            loop {
                let page = store.query(&filter).await.expect("a page");
                found.extend(page.rows.iter().map(|(seq, _)| *seq));
                pages += 1;
                filter.cursor = page.next;
                if page.next.is_none() {
                    break;
                }
            }
            if newest_first {
                found.reverse();
            }
            assert_eq!(found, [2, 205, 206, 500]);
            assert!((9..=11).contains(&pages), "{pages} pages");
        }
        let filter = Filter {
            caller: Some("rare".into()),
            ..Filter::default()
        };
        let mut export = store.export::<crate::Cdr>(&filter).await.expect("all");
        let mut found = Vec::new();
        while let Some(chunk) = export.next().await.expect("a chunk") {
            found.extend(chunk.iter().map(|(seq, _)| *seq));
        }
        assert_eq!(found, [2, 205, 206, 500]);
    }

    #[tokio::test]
    async fn pages_and_reports_walk_keys_and_never_sort_rows() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).await.expect("a fresh directory");
        for (sql, wanted) in [
            (
                "SELECT min(seq), max(seq) FROM cdr WHERE started_at >= 1 AND started_at < 9",
                "COVERING INDEX cdr_started",
            ),
            (
                "SELECT * FROM cdr WHERE seq >= 1 AND seq < 9 AND +cdr.started_at >= 3 ORDER BY seq",
                "USING INTEGER PRIMARY KEY",
            ),
            (
                "SELECT * FROM cdr WHERE seq >= 1 AND seq < 9 AND flow_no = 7 ORDER BY seq",
                "INDEX cdr_flow",
            ),
            (
                "SELECT * FROM axb_cdr CROSS JOIN cdr USING (seq) WHERE seq >= 1 AND seq < 9 \
                 AND (caller = 'c' OR caller_access = 'c') ORDER BY seq",
                "USING INTEGER PRIMARY KEY",
            ),
        ] {
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                    .fetch_all(&store.readers)
                    .await
                    .expect("a plan");
            let plan: Vec<String> = plan.into_iter().map(|step| step.3).collect();
            assert!(plan[0].contains(wanted), "{plan:?}");
            assert!(!plan.iter().any(|step| step.contains("B-TREE")), "{plan:?}");
        }
    }
}
