//! Questions to the store: pages, exports, raw rows for peers.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::Range;

use bytes::Bytes;
use sqlx::sqlite::{Sqlite, SqlitePool, SqliteRow, SqliteValueRef};
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _, TypeInfo as _, ValueRef as _};

use super::{Store, StoreError};
use crate::cell::Value;
use crate::codec::{self, Entry};
use crate::record::{Axb, AxbCdr, Cdr, Record, Row, Stored};
use crate::time::Time;
use crate::usage::EndReason;

/// Most rows of a page, of an export's chunk and of [`Store::records`].
pub const LIMIT_MAX: u32 = 1_000;
/// Rows that one statement walks over, so that a reader is never busy for long.
pub(super) const WINDOW: u64 = 100_000;
/// Windows that a page looks at before it hands back what it has.
const PAGE_WINDOWS: u32 = 20;

/// Which rows, and how many of them. The default asks for the first [`LIMIT_MAX`] rows.
///
/// Texts are compared whole. All conditions that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Started at this moment or later.
    pub since: Option<Time>,
    /// Started before this moment.
    pub until: Option<Time>,
    /// Number of the customer's account.
    pub account: Option<String>,
    /// Number of the platform's settlement account.
    pub axb_account: Option<String>,
    /// The caller as received or after rules.
    pub caller: Option<String>,
    /// The callee as received or after rules.
    pub callee: Option<String>,
    /// X.
    pub x: Option<String>,
    /// A.
    pub a: Option<String>,
    /// Mapping gateway or routing gateway.
    pub gateway: Option<String>,
    /// Why the call ended. Of [`EndReason::Other`] the SIP status decides, or without one the
    /// Q.850 cause.
    pub end_reason: Option<EndReason>,
    /// The record's own number.
    pub flow_no: Option<u64>,
    /// Most rows of the page, at most [`LIMIT_MAX`]; 0 for that many. Exports have no limit.
    pub limit: u32,
    /// [`Page::next`] of the page before, of the same question. Exports begin at the beginning.
    pub cursor: Option<u64>,
    /// Last stored row first. Exports run forward.
    pub newest_first: bool,
}

/// Some rows, each with its number, in the order of the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<R> {
    /// The rows.
    pub rows: Vec<(u64, R)>,
    /// The cursor of the page that follows; `None` when there are no more rows to look at.
    pub next: Option<u64>,
}

/// A row that pages and exports can be asked for: [`Cdr`] and [`AxbCdr`].
pub trait Listed: Row + Sized + Send {
    /// The table that numbers and start times are looked up in.
    #[doc(hidden)]
    const TABLE: &'static str;
    /// Where whole rows come from; the first table has the condition columns.
    #[doc(hidden)]
    fn select() -> String;
    /// A column of `axb_cdr` in a condition.
    #[doc(hidden)]
    fn axb_column(column: &str) -> String;
    #[doc(hidden)]
    fn read(row: &SqliteRow) -> Result<(u64, Self), StoreError>;
}

impl Listed for Cdr {
    const TABLE: &'static str = "cdr";

    fn select() -> String {
        format!("SELECT seq,{} FROM cdr ", list::<Cdr>("cdr"))
    }

    fn axb_column(column: &str) -> String {
        format!("(SELECT axb.{column} FROM axb_cdr AS axb WHERE axb.seq = cdr.seq)")
    }

    fn read(row: &SqliteRow) -> Result<(u64, Cdr), StoreError> {
        let mut columns = Columns::new(row);
        let seq = columns.seq();
        Ok((seq, columns.cdr(seq)?))
    }
}

impl Listed for AxbCdr {
    const TABLE: &'static str = "axb_cdr";

    fn select() -> String {
        let cdr = list::<Cdr>("cdr");
        let axb = list::<Axb>("axb_cdr");
        // A cross join keeps the order of the loops: from the few rows to the many.
        format!("SELECT seq,{cdr},{axb} FROM axb_cdr CROSS JOIN cdr USING (seq) ")
    }

    fn axb_column(column: &str) -> String {
        format!("axb_cdr.{column}")
    }

    fn read(row: &SqliteRow) -> Result<(u64, AxbCdr), StoreError> {
        let mut columns = Columns::new(row);
        let seq = columns.seq();
        let cdr = columns.cdr(seq)?;
        Ok((seq, AxbCdr::join(cdr, columns.take(seq)?)))
    }
}

impl Store {
    /// A page of CDRs.
    pub async fn query(&self, filter: &Filter) -> Result<Page<Cdr>, StoreError> {
        self.page(filter).await
    }

    /// A page of AXB CDRs.
    pub async fn axb_query(&self, filter: &Filter) -> Result<Page<AxbCdr>, StoreError> {
        self.page(filter).await
    }

    /// A page of either.
    ///
    /// Conditions without an index (all but times and `flow_no`) are tested row by row. A page
    /// stops after two million rows looked at: then it is short, even empty, and still has a
    /// [`Page::next`].
    pub async fn page<R: Listed>(&self, filter: &Filter) -> Result<Page<R>, StoreError> {
        let limit = match filter.limit {
            0 => LIMIT_MAX,
            limit => limit.min(LIMIT_MAX),
        };
        let mut rows = Vec::new();
        let mut left = self.numbers::<R>(filter).await?;
        match filter.cursor {
            Some(cursor) if filter.newest_first => left.end = left.end.min(cursor),
            Some(cursor) => left.start = left.start.max(cursor.saturating_add(1)),
            None => {}
        }
        for _ in 0..PAGE_WINDOWS {
            let Some(window) = window(filter, self.window, &mut left) else {
                return Ok(Page { rows, next: None });
            };
            // One row more tells whether there is another page.
            let wanted = limit + 1 - rows.len() as u32;
            rows.extend(self.rows::<R>(filter, window, wanted).await?);
            if rows.len() > limit as usize {
                rows.truncate(limit as usize);
                let next = rows.last().map(|(seq, _)| *seq);
                return Ok(Page { rows, next });
            }
        }
        let next = match (left.is_empty(), filter.newest_first) {
            (true, _) => None,
            (false, true) => Some(left.end),
            (false, false) => Some(left.start - 1),
        };
        Ok(Page { rows, next })
    }

    /// All rows that fit, chunk by chunk in the order of their numbers, as of now: what is stored
    /// while the export runs is not part of it. Holds one chunk in memory at a time, and no lock
    /// between them. Every node yields the same rows in the same order.
    pub async fn export<R: Listed>(&self, filter: &Filter) -> Result<Export<'_, R>, StoreError> {
        let filter = Filter {
            limit: 0,
            cursor: None,
            newest_first: false,
            ..filter.clone()
        };
        let left = self.numbers::<R>(&filter).await?;
        Ok(Export {
            store: self,
            filter,
            left,
            rows: PhantomData,
        })
    }

    /// The encoded rows `from ..= to` that there are, at most [`LIMIT_MAX`] of them, for a peer
    /// that misses them: calls, events and the numbers of their repeats.
    pub async fn records(&self, from: u64, to: u64) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let mut rows = self.encoded_calls(from, to).await?;
        rows.extend(self.encoded_events(from, to).await?);
        rows.sort_unstable_by_key(|(seq, _)| *seq);
        // Each kind has its first ones, so the first ones of all are whole.
        rows.truncate(LIMIT_MAX as usize);
        Ok(rows)
    }

    async fn encoded_events(&self, from: u64, to: u64) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let events =
            super::events::select_events() + " WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?";
        let events = sqlx::query(AssertSqlSafe(events))
            .bind(signed(from))
            .bind(signed(to))
            .bind(LIMIT_MAX)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failed(error))?;
        let repeats: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT seq, first FROM platform_repeats WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
        )
        .bind(signed(from))
        .bind(signed(to))
        .bind(LIMIT_MAX)
        .fetch_all(&self.readers)
        .await
        .map_err(|error| self.failed(error))?;
        let events = events.iter().map(|row| {
            let (seq, event) = super::events::read_event(row)?;
            Ok((seq, Entry::Event(Box::new(event))))
        });
        let repeats = repeats.iter().map(|(seq, first)| {
            let first = first.unsigned_abs();
            Ok((seq.unsigned_abs(), Entry::Repeat { first }))
        });
        let encoded = |row: Result<(u64, Entry), StoreError>| {
            let (seq, entry) = row?;
            match entry.encode() {
                Ok(bytes) => Ok((seq, bytes)),
                Err(source) => Err(StoreError::Undecodable { seq, source }),
            }
        };
        events.chain(repeats).map(encoded).collect()
    }

    async fn encoded_calls(&self, from: u64, to: u64) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let sql = format!(
            "SELECT seq,{},axb_cdr.seq,{} FROM cdr LEFT JOIN axb_cdr USING (seq) \
             WHERE cdr.seq BETWEEN ? AND ? ORDER BY cdr.seq LIMIT ?",
            list::<Cdr>("cdr"),
            list::<Axb>("axb_cdr"),
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(signed(from))
            .bind(signed(to))
            .bind(LIMIT_MAX)
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter().map(encoded).collect()
    }

    /// The numbers between which all rows lie that fit the filter's times.
    ///
    /// Rows are stored in the order of their ends, which is nearly that of their starts. So these
    /// bounds, read off the index of the starts, are tight, and rows can be walked in the order of
    /// their numbers without touching the rest of the table.
    async fn numbers<R: Listed>(&self, filter: &Filter) -> Result<Range<u64>, StoreError> {
        let end = self.last() + 1;
        if filter.since.is_none() && filter.until.is_none() {
            return Ok(1..end);
        }
        let sql = format!(
            "SELECT min(seq), max(seq) FROM {} WHERE started_at >= ? AND started_at < ?",
            R::TABLE
        );
        let since = filter.since.unwrap_or_default();
        let until = filter.until.map_or(i64::MAX, |until| signed(until.ms()));
        let bounds: (Option<i64>, Option<i64>) = sqlx::query_as(AssertSqlSafe(sql))
            .bind(signed(since.ms()))
            .bind(until)
            .fetch_one(&self.readers)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(match bounds {
            // Rows stored since `end` was read are left to the next question.
            (Some(low), Some(high)) => low.unsigned_abs()..end.min(high.unsigned_abs() + 1),
            _ => 0..0,
        })
    }

    /// The first rows that fit the filter, among the numbers of `window`.
    async fn rows<R: Listed>(
        &self,
        filter: &Filter,
        window: Range<u64>,
        limit: u32,
    ) -> Result<Vec<(u64, R)>, StoreError> {
        let mut sql = QueryBuilder::<Sqlite>::new(R::select());
        sql.push("WHERE seq >= ")
            .push_bind(signed(window.start))
            .push(" AND seq < ")
            .push_bind(signed(window.end));
        // The unary plus keeps SQLite from walking an index on the column: the numbers have been
        // narrowed already, and rows then come in their order without a sort.
        if let Some(since) = filter.since {
            sql.push(" AND +cdr.started_at >= ")
                .push_bind(signed(since.ms()));
        }
        if let Some(until) = filter.until {
            sql.push(" AND +cdr.started_at < ")
                .push_bind(signed(until.ms()));
        }
        let mut equals = |columns: &[&str], wanted: &Option<String>| {
            let Some(wanted) = wanted else { return };
            let mut before = " AND (";
            for column in columns {
                sql.push(before).push(column).push(" = ");
                sql.push_bind(wanted.clone());
                before = " OR ";
            }
            sql.push(")");
        };
        equals(&["account"], &filter.account);
        equals(&["caller", "caller_access"], &filter.caller);
        equals(&["callee", "callee_access"], &filter.callee);
        equals(&["caller_gateway", "callee_gateway"], &filter.gateway);
        let reason = filter.end_reason.map(|reason| reason.to_string());
        equals(&["end_reason"], &reason);
        if let Some(flow_no) = filter.flow_no {
            sql.push(" AND flow_no = ").push_bind(flow_no as i64);
        }
        for (column, wanted) in [
            ("x_number", &filter.x),
            ("a_number", &filter.a),
            ("axb_account", &filter.axb_account),
        ] {
            if let Some(wanted) = wanted {
                sql.push(" AND ").push(R::axb_column(column)).push(" = ");
                sql.push_bind(wanted.clone());
            }
        }
        let order = if filter.newest_first { "DESC" } else { "ASC" };
        sql.push(" ORDER BY seq ").push(order).push(" LIMIT ");
        sql.push_bind(limit);
        let rows = sql
            .build()
            .fetch_all(&self.readers)
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter().map(R::read).collect()
    }

    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }
}

/// A running export; see [`Store::export`].
pub struct Export<'s, R> {
    store: &'s Store,
    filter: Filter,
    left: Range<u64>,
    rows: PhantomData<fn() -> R>,
}

impl<R: Listed> Export<'_, R> {
    /// The next chunk of at most [`LIMIT_MAX`] rows, never empty; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<(u64, R)>>, StoreError> {
        while let Some(window) = window(&self.filter, self.store.window, &mut self.left) {
            let end = window.end;
            let rows = self
                .store
                .rows::<R>(&self.filter, window, LIMIT_MAX)
                .await?;
            if let (LIMIT_MAX, Some((seq, _))) = (rows.len() as u32, rows.last()) {
                // Back to the rows of the window that did not fit into the chunk.
                self.left.start = (seq + 1).min(end);
            }
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }
}

/// Cuts off the numbers that one statement walks over; `None` when there are none left.
fn window(filter: &Filter, size: u64, left: &mut Range<u64>) -> Option<Range<u64>> {
    if left.is_empty() {
        return None;
    }
    let size = match filter.flow_no {
        // Found by its index however far away.
        Some(_) => u64::MAX,
        None => size,
    };
    Some(if filter.newest_first {
        let edge = left.end.saturating_sub(size).max(left.start);
        let window = edge..left.end;
        left.end = edge;
        window
    } else {
        let edge = left.start.saturating_add(size).min(left.end);
        let window = left.start..edge;
        left.start = edge;
        window
    })
}

/// The row's columns with their table, for both tables of a join share one name.
pub(super) fn list<R: Row>(table: &str) -> String {
    let columns: Vec<String> = R::columns()
        .iter()
        .map(|column| format!("{table}.{column}"))
        .collect();
    columns.join(",")
}

fn encoded(row: &SqliteRow) -> Result<(u64, Bytes), StoreError> {
    let mut columns = Columns::new(row);
    let seq = columns.seq();
    let cdr = columns.cdr(seq)?;
    let axb = match columns.next() {
        Value::Null => None,
        _ => Some(columns.take(seq)?),
    };
    match codec::encode(&Record { cdr, axb }) {
        Ok(bytes) => Ok((seq, bytes)),
        Err(source) => Err(StoreError::Undecodable { seq, source }),
    }
}

/// A row read from left to right.
pub(super) struct Columns<'r> {
    row: &'r SqliteRow,
    at: usize,
}

impl<'r> Columns<'r> {
    pub(super) fn new(row: &'r SqliteRow) -> Columns<'r> {
        Columns { row, at: 0 }
    }

    /// The next column; null when it is of a kind that no release stored.
    pub(super) fn next(&mut self) -> Value<'r> {
        let at = self.at;
        self.at += 1;
        let Ok(value): Result<SqliteValueRef<'r>, _> = self.row.try_get_raw(at) else {
            return Value::Null;
        };
        if value.is_null() {
            return Value::Null;
        }
        let text = value.type_info().name() == "TEXT";
        if text {
            self.row
                .try_get_unchecked::<&str, _>(at)
                .map_or(Value::Null, |text| Value::Text(Cow::Borrowed(text)))
        } else {
            self.row
                .try_get_unchecked::<i64, _>(at)
                .map_or(Value::Null, Value::Int)
        }
    }

    pub(super) fn seq(&mut self) -> u64 {
        match self.next() {
            Value::Int(seq) => seq.unsigned_abs(),
            // The primary key is an integer by the schema.
            _ => 0,
        }
    }

    pub(super) fn take<S: Stored>(&mut self, seq: u64) -> Result<S, StoreError> {
        S::restore(|| self.next()).map_err(|column| StoreError::Row { seq, column })
    }

    fn cdr(&mut self, seq: u64) -> Result<Cdr, StoreError> {
        let mut cdr: Cdr = self.take(seq)?;
        // The reason's text carries one code; the columns carry both.
        if let EndReason::Other { sip, q850 } = &mut cdr.end_reason {
            (*sip, *q850) = (cdr.sip_code, cdr.q850_cause);
        }
        Ok(cdr)
    }
}

/// Numbers and times stay far below 2^63.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_all_numbers_once_in_either_direction() {
        for newest_first in [false, true] {
            let filter = Filter {
                newest_first,
                ..Filter::default()
            };
            let mut left = 5..2 * WINDOW + 7;
            let mut windows = Vec::new();
            while let Some(window) = window(&filter, WINDOW, &mut left) {
                assert!(window.end - window.start <= WINDOW && !window.is_empty());
                windows.push(window);
            }
            if newest_first {
                windows.reverse();
            }
            assert_eq!(windows.len(), 3);
            assert_eq!(windows[0].start, 5);
            assert_eq!(windows[2].end, 2 * WINDOW + 7);
            assert!(windows.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
        let by_number = Filter {
            flow_no: Some(1),
            ..Filter::default()
        };
        let mut left = 1..u64::MAX;
        assert_eq!(window(&by_number, WINDOW, &mut left), Some(1..u64::MAX));
        assert_eq!(window(&by_number, WINDOW, &mut left), None);
    }
}
