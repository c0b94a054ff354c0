//! The one connection that writes.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe, Connection};

use super::StoreError;
use super::events::event_columns;
use crate::bills;
use crate::cell::{Cell, Value};
use crate::codec::Entry;
use crate::event::PlatformEvent;
use crate::metrics;
use crate::record::{Axb, Cdr, Record, Row, Stored};
use crate::time::Time;

/// Rows a statement may insert, largest first. A few fixed sizes keep the statements in the cache;
/// the largest stays below SQLite's 32,766 parameters and gains nothing by growing.
const CHUNKS: [usize; 4] = [64, 16, 4, 1];

pub(super) struct Writer {
    conn: SqliteConnection,
    /// Unknown while a transaction runs, and after one that broke off: then the file knows.
    last: Option<u64>,
    cdr: Inserts,
    axb: Inserts,
    events: Events,
}

impl Writer {
    pub(super) fn new(conn: SqliteConnection) -> Writer {
        let cdr = ["seq"].into_iter().chain(Cdr::columns().iter().copied());
        let axb = ["seq", "started_at"].into_iter();
        let axb = axb.chain(Axb::columns().iter().copied());
        Writer {
            conn,
            last: None,
            cdr: Inserts::new("cdr", cdr.collect()),
            axb: Inserts::new("axb_cdr", axb.collect()),
            events: Events::new(),
        }
    }

    pub(super) async fn last(&mut self, path: &Path) -> Result<u64, StoreError> {
        if let Some(last) = self.last {
            return Ok(last);
        }
        let last: i64 = sqlx::query_scalar("SELECT last FROM meta")
            .fetch_one(&mut self.conn)
            .await
            .map_err(|error| StoreError::sql(path, error))?;
        let last = last.unsigned_abs();
        self.last = Some(last);
        Ok(last)
    }

    /// The rows up to this one count as stored.
    pub(super) async fn begin_after(&mut self, path: &Path, last: u64) -> Result<(), StoreError> {
        self.last = None;
        sqlx::query("UPDATE meta SET last = ?")
            .bind(last as i64)
            .execute(&mut self.conn)
            .await
            .map_err(|error| StoreError::sql(path, error))?;
        Ok(())
    }

    pub(super) async fn append(
        &mut self,
        path: &Path,
        rows: &[(u64, Entry)],
    ) -> Result<u64, StoreError> {
        let last = self.last(path).await?;
        let known = rows.partition_point(|(seq, _)| *seq <= last);
        let rows = &rows[known..];
        for (expected, &(got, _)) in (last + 1..).zip(rows) {
            if expected != got {
                return Err(StoreError::Gap { expected, got });
            }
        }
        let Some(&(last, _)) = rows.last() else {
            return Ok(last);
        };
        let begun = Instant::now();
        self.last = None;
        if let Err(error) = self.write(rows, last).await {
            metrics::write_failed();
            return Err(StoreError::sql(path, error));
        }
        self.last = Some(last);
        metrics::wrote(rows.len(), begun.elapsed());
        Ok(last)
    }

    async fn write(&mut self, entries: &[(u64, Entry)], last: u64) -> Result<(), sqlx::Error> {
        // Immediate: a deferred transaction could find at its first write that it is too late.
        let mut tx = self.conn.begin_with("BEGIN IMMEDIATE").await?;
        let rows: Vec<(u64, &Record)> = entries
            .iter()
            .filter_map(|(seq, entry)| match entry {
                Entry::Call(record) => Some((*seq, &**record)),
                Entry::Event(_) | Entry::Repeat { .. } => None,
            })
            .collect();
        self.cdr
            .run(&mut tx, &rows, |args, (seq, record)| {
                put(args, seq.store());
                record.cdr.store(|value| put(args, value));
            })
            .await?;
        let axb: Vec<(u64, Time, &Axb)> = rows
            .iter()
            .filter_map(|(seq, record)| Some((*seq, record.cdr.started_at, record.axb.as_ref()?)))
            .collect();
        self.axb
            .run(&mut tx, &axb, |args, (seq, started_at, axb)| {
                put(args, seq.store());
                put(args, started_at.store());
                axb.store(|value| put(args, value));
            })
            .await?;
        for (seq, entry) in entries {
            match entry {
                Entry::Call(_) => {}
                Entry::Event(event) => self.events.add(&mut tx, *seq, event).await?,
                Entry::Repeat { first } => repeat(&mut tx, *seq, *first).await?,
            }
        }
        sqlx::query("UPDATE meta SET last = ?")
            .bind(last as i64)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    #[cfg(test)]
    pub(super) fn conn(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }

    pub(super) async fn close(self) {
        if let Err(error) = self.conn.close().await {
            tracing::warn!(%error, "cdr store did not close cleanly");
        }
    }
}

/// The insert statement of platforms' events. They come one by one, since each may be a repeat.
struct Events {
    sql: Arc<str>,
}

impl Events {
    fn new() -> Events {
        let columns = event_columns();
        let places = vec!["?"; columns.len()].join(",");
        let columns = columns.join(",");
        let sql = format!(
            "INSERT INTO platform_events ({columns}) VALUES ({places}) \
             ON CONFLICT (interface_name, callback, key) DO NOTHING"
        );
        Events { sql: sql.into() }
    }

    async fn add(
        &self,
        conn: &mut SqliteConnection,
        seq: u64,
        event: &PlatformEvent,
    ) -> Result<(), sqlx::Error> {
        let mut args = SqliteArguments::default();
        put(&mut args, seq.store());
        event.store(|value| put(&mut args, value));
        put(&mut args, bills::began(event).store());
        let added = sqlx::query_with(AssertSqlSafe(Arc::clone(&self.sql)), args)
            .execute(&mut *conn)
            .await?;
        if added.rows_affected() > 0 {
            return Ok(());
        }
        let first: i64 = sqlx::query_scalar(
            "SELECT seq FROM platform_events \
             WHERE interface_name = ? AND callback = ? AND key = ?",
        )
        .bind(&event.interface_name)
        .bind(&event.callback)
        .bind(&event.key)
        .fetch_one(&mut *conn)
        .await?;
        repeat(conn, seq, first.unsigned_abs()).await
    }
}

/// Notes that a number holds what lies under another one already.
async fn repeat(conn: &mut SqliteConnection, seq: u64, first: u64) -> Result<(), sqlx::Error> {
    let (seq, first) = (seq as i64, first as i64);
    sqlx::query("INSERT INTO platform_repeats (seq, first) VALUES (?, ?)")
        .bind(seq)
        .bind(first)
        .execute(conn)
        .await?;
    Ok(())
}

/// The insert statements of one table.
struct Inserts {
    columns: usize,
    /// One for each of [`CHUNKS`].
    sql: [Arc<str>; CHUNKS.len()],
}

impl Inserts {
    fn new(table: &str, columns: Vec<&'static str>) -> Inserts {
        let tuple = format!("({})", vec!["?"; columns.len()].join(","));
        let head = format!("INSERT INTO {table} ({}) VALUES ", columns.join(","));
        Inserts {
            columns: columns.len(),
            sql: CHUNKS.map(|rows| (head.clone() + &vec![&*tuple; rows].join(",")).into()),
        }
    }

    /// Inserts all rows, `fill` adding the values of one.
    async fn run<T>(
        &self,
        conn: &mut SqliteConnection,
        mut rows: &[T],
        fill: impl Fn(&mut SqliteArguments, &T),
    ) -> Result<(), sqlx::Error> {
        for (rows_max, sql) in CHUNKS.into_iter().zip(&self.sql) {
            while let Some((chunk, rest)) = rows.split_at_checked(rows_max) {
                if chunk.is_empty() {
                    return Ok(());
                }
                let mut args = SqliteArguments::default();
                args.reserve(rows_max * self.columns, 0);
                for row in chunk {
                    fill(&mut args, row);
                }
                sqlx::query_with(AssertSqlSafe(Arc::clone(sql)), args)
                    .execute(&mut *conn)
                    .await?;
                rows = rest;
            }
        }
        Ok(())
    }
}

fn put(args: &mut SqliteArguments, value: Value<'_>) {
    let added = match value {
        Value::Null => args.add(None::<i64>),
        Value::Int(int) => args.add(int),
        Value::Text(Cow::Borrowed(text)) => args.add(text),
        Value::Text(Cow::Owned(text)) => args.add(text),
    };
    added.expect("encoding an integer or a text cannot fail");
}
