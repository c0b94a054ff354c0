//! Platforms' events: what is known already, pages of them with the call each is about, and the
//! comparison of bills.
//!
//! Which call an event belongs to is found when somebody looks, not when it is stored: a bill may
//! come before the call's own record, and whoever looks later sees what came since. It costs no
//! index that every call would have to be written into; pages look among the calls around their
//! events' times, the comparison reads both sides of its range once.

use std::collections::HashSet;
use std::ops::Range;

use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{AssertSqlSafe, QueryBuilder};

use super::read::{Columns, LIMIT_MAX, Page, list, signed};
use super::{Store, StoreError};
use crate::bills::{self, BillRow, BillTotals, Tolerance};
use crate::cell::Cell;
use crate::event::{EventKind, Match, PlatformEvent, SeenEvent};
use crate::matching::{self, Call, Calls, span};
use crate::record::Row;
use crate::time::Time;

/// Most calls, and most bills, that one comparison reads.
pub const COMPARED_MAX: usize = 200_000;
/// Calls that one page of events may be looked for among.
const CALLS_MAX: usize = 100_000;
/// Chunks of rows that a page looks at before it hands back what it has.
const CHUNKS_MAX: u32 = 20;
/// Values in one list of a statement.
const LIST_MAX: usize = 500;

/// Which events, and how many of them. The default asks for the first [`LIMIT_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Arrived at this moment or later.
    pub since: Option<Time>,
    /// Arrived before this moment.
    pub until: Option<Time>,
    /// Name of the interface.
    pub interface: Option<String>,
    /// What they tell.
    pub kind: Option<EventKind>,
    /// Those about the call of this record.
    pub flow_no: Option<u64>,
    /// Those whose call has a record, or those that have none (yet).
    pub matched: Option<bool>,
    /// Most rows of the page, at most [`LIMIT_MAX`]; 0 for that many.
    pub limit: u32,
    /// [`Page::next`] of the page before, of the same question.
    pub cursor: Option<u64>,
    /// Last stored row first.
    pub newest_first: bool,
}

/// Which bills are compared with which calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BillQuery {
    /// Calls that began at this moment or later.
    pub since: Time,
    /// Calls that began before this moment.
    pub until: Time,
    /// One interface; `None`: every one that has ever sent a bill, for of the others no call has.
    pub interface: Option<String>,
    /// What still counts as equal.
    pub tolerance: Tolerance,
}

impl Store {
    /// Those of `keys` that events of this interface and call-back are stored under already.
    pub async fn known_events(
        &self,
        interface: &str,
        callback: &str,
        keys: &[&str],
    ) -> Result<HashSet<String>, StoreError> {
        let mut known = HashSet::new();
        for keys in keys.chunks(LIST_MAX) {
            let mut sql = QueryBuilder::<Sqlite>::new(
                "SELECT key FROM platform_events WHERE interface_name = ",
            );
            sql.push_bind(interface.to_owned())
                .push(" AND callback = ")
                .push_bind(callback.to_owned());
            one_of(&mut sql, " AND key", keys.iter().copied());
            let found: Vec<String> = sql
                .build_query_scalar()
                .fetch_all(self.readers())
                .await
                .map_err(|error| self.failed(error))?;
            known.extend(found);
        }
        Ok(known)
    }

    /// A page of events in the order in which they were stored, each with its call.
    pub async fn events(&self, filter: &EventFilter) -> Result<Page<SeenEvent>, StoreError> {
        let limit = match filter.limit {
            0 => LIMIT_MAX,
            limit => limit.min(LIMIT_MAX),
        } as usize;
        let about = match filter.flow_no {
            None => None,
            Some(flow_no) => match self.call_of(flow_no).await? {
                Some(call) => Some(call),
                None => {
                    return Ok(Page {
                        rows: Vec::new(),
                        next: None,
                    });
                }
            },
        };
        let mut rows: Vec<(u64, SeenEvent)> = Vec::new();
        let mut cursor = filter.cursor;
        for _ in 0..CHUNKS_MAX {
            let chunk = self.event_rows(filter, cursor, about.as_ref()).await?;
            let whole = chunk.len() == LIMIT_MAX as usize;
            let last = chunk.last().map(|(seq, _)| *seq);
            for (seq, seen) in self.with_calls(chunk).await? {
                let about = filter
                    .flow_no
                    .is_none_or(|flow_no| seen.found.flow_no.is_some_and(|f| f.0 == flow_no));
                let matched = filter
                    .matched
                    .is_none_or(|matched| seen.found.flow_no.is_some() == matched);
                if !about || !matched {
                    continue;
                }
                if rows.len() == limit {
                    let next = rows.last().map(|(seq, _)| *seq);
                    return Ok(Page { rows, next });
                }
                rows.push((seq, seen));
            }
            if !whole {
                return Ok(Page { rows, next: None });
            }
            cursor = last;
        }
        Ok(Page { rows, next: cursor })
    }

    /// What platforms billed for the calls of a range against what we rated, differences first.
    ///
    /// # Errors
    /// More than [`COMPARED_MAX`] calls or bills are [`StoreError::Question`].
    pub async fn compare_bills(
        &self,
        query: &BillQuery,
    ) -> Result<(Vec<BillRow>, BillTotals), StoreError> {
        let interfaces = match &query.interface {
            Some(interface) => vec![interface.clone()],
            None => self.billing_interfaces().await?,
        };
        let margin = bills::margin_ms();
        let from = query.since.ms().saturating_sub(margin);
        let to = query.until.ms().saturating_add(margin);
        let (mut calls, mut bills) = (Vec::new(), Vec::new());
        for interface in &interfaces {
            calls.extend(
                self.calls_between(interface, from..to, &[], COMPARED_MAX)
                    .await?,
            );
            bills.extend(self.bills_between(interface, from..to).await?);
            if calls.len() > COMPARED_MAX || bills.len() > COMPARED_MAX {
                let why = "over 200000 calls or bills in the range, ask for a shorter one";
                return Err(StoreError::Question(why));
            }
        }
        // A bill that tells no time is looked for by our own id beyond the range.
        let own: Vec<u64> = bills.iter().filter_map(matching::own_id).collect();
        calls.extend(self.calls_of_bindings(&own).await?);
        let range = (query.since, query.until);
        Ok(bills::compare(
            &Calls::new(calls),
            &bills,
            range,
            query.tolerance,
        ))
    }

    /// Rows that fit the filter, but for what only their calls tell.
    async fn event_rows(
        &self,
        filter: &EventFilter,
        cursor: Option<u64>,
        about: Option<&Call>,
    ) -> Result<Vec<(u64, PlatformEvent)>, StoreError> {
        let mut sql = QueryBuilder::<Sqlite>::new(select_events());
        sql.push(" WHERE true");
        if let Some(cursor) = cursor {
            let after = if filter.newest_first { " < " } else { " > " };
            sql.push(" AND seq").push(after).push_bind(signed(cursor));
        }
        if filter.since.is_some() || filter.until.is_some() {
            // Rows come nearly in the order of their arrival, so this is tight.
            let numbers = self.event_numbers(filter).await?;
            sql.push(" AND seq >= ").push_bind(signed(numbers.start));
            sql.push(" AND seq < ").push_bind(signed(numbers.end));
        }
        if let Some(since) = filter.since {
            sql.push(" AND +received_at >= ")
                .push_bind(signed(since.ms()));
        }
        if let Some(until) = filter.until {
            sql.push(" AND +received_at < ")
                .push_bind(signed(until.ms()));
        }
        if let Some(interface) = &filter.interface {
            sql.push(" AND +interface_name = ")
                .push_bind(interface.clone());
        }
        if let Some(kind) = filter.kind {
            sql.push(" AND kind = ").push_bind(kind.key());
        }
        if let Some(call) = about {
            let margin = bills::margin_ms();
            let from = call.started_at.ms().saturating_sub(margin);
            let to = call.ended_at.ms().saturating_add(matching::CALL_MAX_MS);
            sql.push(" AND seq IN (SELECT seq FROM platform_events WHERE interface_name = ")
                .push_bind(call.interface_name.clone())
                .push(" AND call_at BETWEEN ")
                .push_bind(signed(from))
                .push(" AND ")
                .push_bind(signed(to));
            if let Some(binding) = call.binding_id {
                sql.push(" UNION SELECT seq FROM platform_events WHERE own_id <> '' AND own_id = ")
                    .push_bind(binding.to_string());
            }
            sql.push(")");
        }
        let order = if filter.newest_first { "DESC" } else { "ASC" };
        sql.push(" ORDER BY seq ").push(order).push(" LIMIT ");
        sql.push_bind(LIMIT_MAX);
        let rows = sql
            .build()
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter().map(read_event).collect()
    }

    /// The numbers between which all rows lie that arrived in the filter's times.
    async fn event_numbers(&self, filter: &EventFilter) -> Result<Range<u64>, StoreError> {
        let until = filter.until.map_or(i64::MAX, |until| signed(until.ms()));
        let bounds: (Option<i64>, Option<i64>) = sqlx::query_as(
            "SELECT min(seq), max(seq) FROM platform_events \
             WHERE received_at >= ? AND received_at < ?",
        )
        .bind(signed(filter.since.unwrap_or_default().ms()))
        .bind(until)
        .fetch_one(self.readers())
        .await
        .map_err(|error| self.failed(error))?;
        Ok(match bounds {
            (Some(low), Some(high)) => low.unsigned_abs()..high.unsigned_abs() + 1,
            _ => 0..0,
        })
    }

    /// Each event with its call.
    async fn with_calls(
        &self,
        events: Vec<(u64, PlatformEvent)>,
    ) -> Result<Vec<(u64, SeenEvent)>, StoreError> {
        let own: Vec<u64> = events
            .iter()
            .filter_map(|(_, event)| matching::own_id(event))
            .collect();
        let mut found = self.calls_of_bindings(&own).await?;
        let calls = Calls::new(found.clone());
        let lost: Vec<&PlatformEvent> = events
            .iter()
            .map(|(_, event)| event)
            .filter(|event| calls.find(event).is_none())
            .collect();
        found.extend(self.calls_around(&lost).await?);
        let calls = Calls::new(found);
        let seen = |(seq, event): (u64, PlatformEvent)| {
            let found = calls.find(&event);
            let found = found.map_or_else(Match::default, |found| Match {
                flow_no: Some(found.call.flow_no),
                matched_by: Some(found.by),
                ambiguous: found.ambiguous,
            });
            (seq, SeenEvent { event, found })
        };
        Ok(events.into_iter().map(seen).collect())
    }

    /// The calls that began when those of the events did, by one of the events' X or handles.
    async fn calls_around(&self, events: &[&PlatformEvent]) -> Result<Vec<Call>, StoreError> {
        let mut calls = Vec::new();
        let mut interfaces: Vec<&str> = events.iter().map(|e| &*e.interface_name).collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        for interface in interfaces {
            let events = events.iter().filter(|e| e.interface_name == interface);
            let mut events: Vec<(Range<u64>, &PlatformEvent)> = events
                .map(|event| {
                    let span = span(event);
                    (span.from..span.to.saturating_add(1), *event)
                })
                .collect();
            events.sort_by_key(|(span, _)| span.start);
            let mut rest = &events[..];
            while let Some(((first, _), _)) = rest.split_first() {
                // Those that overlap are looked for together.
                let mut reach = first.clone();
                let mut together = 0;
                for (span, _) in rest {
                    if span.start > reach.end {
                        break;
                    }
                    reach.end = reach.end.max(span.end);
                    together += 1;
                }
                let (group, others) = rest.split_at(together);
                let group: Vec<&PlatformEvent> = group.iter().map(|(_, event)| *event).collect();
                for group in group.chunks(LIST_MAX / 2) {
                    let found = self
                        .calls_between(interface, reach.clone(), group, CALLS_MAX)
                        .await?;
                    calls.extend(found);
                }
                rest = others;
            }
        }
        Ok(calls)
    }

    /// The calls of an interface that began in a range; of some events only those that share an X
    /// or a handle with one of them. At most one more than `most`.
    async fn calls_between(
        &self,
        interface: &str,
        range: Range<u64>,
        events: &[&PlatformEvent],
        most: usize,
    ) -> Result<Vec<Call>, StoreError> {
        let mut sql = QueryBuilder::<Sqlite>::new(SELECT_CALLS);
        sql.push("WHERE axb_cdr.started_at >= ")
            .push_bind(signed(range.start))
            .push(" AND axb_cdr.started_at < ")
            .push_bind(signed(range.end))
            .push(" AND interface_name = ")
            .push_bind(interface.to_owned());
        if !events.is_empty() {
            // Platforms add country codes to X; its last digits are alike in all notations.
            let x = events.iter().map(|event| &*event.x_number);
            let x = x.filter(|x| x.len() >= TAIL && x.is_ascii());
            let tails: Vec<&str> = x.map(|x| &x[x.len() - TAIL..]).collect();
            let handles: Vec<String> = events
                .iter()
                .filter(|event| !event.handle.is_empty())
                .map(|event| event.handle.to_string())
                .collect();
            // A handle of several values is compared by the caller, value by value.
            sql.push(" AND (instr(handle, '&') > 0");
            one_of(&mut sql, &format!(" OR substr(x_number, -{TAIL})"), tails);
            one_of(&mut sql, " OR handle", handles.iter().map(String::as_str));
            sql.push(")");
        }
        sql.push(" LIMIT ")
            .push_bind(i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1));
        self.calls(sql).await
    }

    /// The calls that bindings were made for.
    async fn calls_of_bindings(&self, ids: &[u64]) -> Result<Vec<Call>, StoreError> {
        let mut calls = Vec::new();
        for ids in ids.chunks(LIST_MAX) {
            let mut sql = QueryBuilder::<Sqlite>::new(SELECT_CALLS);
            sql.push("WHERE binding_id IN (");
            let mut list = sql.separated(", ");
            for id in ids {
                list.push_bind(*id as i64);
            }
            sql.push(")");
            calls.extend(self.calls(sql).await?);
        }
        Ok(calls)
    }

    /// The call of a record, when it got an (A,X).
    async fn call_of(&self, flow_no: u64) -> Result<Option<Call>, StoreError> {
        let mut sql = QueryBuilder::<Sqlite>::new(SELECT_CALLS);
        sql.push("WHERE axb_cdr.seq IN (SELECT seq FROM cdr WHERE flow_no = ")
            .push_bind(flow_no as i64)
            .push(")");
        Ok(self.calls(sql).await?.into_iter().next())
    }

    async fn calls(&self, mut sql: QueryBuilder<Sqlite>) -> Result<Vec<Call>, StoreError> {
        let rows = sql
            .build()
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.failed(error))?;
        rows.iter().map(read_call).collect()
    }

    /// Interfaces that have ever sent a bill, by leaps over the index of bills.
    async fn billing_interfaces(&self) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar(
            "WITH RECURSIVE known (name) AS ( \
             SELECT min(interface_name) FROM platform_events WHERE kind = 'bill' UNION ALL \
             SELECT (SELECT min(interface_name) FROM platform_events \
             WHERE kind = 'bill' AND interface_name > name) FROM known WHERE name IS NOT NULL) \
             SELECT name FROM known WHERE name IS NOT NULL",
        )
        .fetch_all(self.readers())
        .await
        .map_err(|error| self.failed(error))
    }

    /// Bills about calls that began in a range. At most one more than [`COMPARED_MAX`].
    async fn bills_between(
        &self,
        interface: &str,
        range: Range<u64>,
    ) -> Result<Vec<PlatformEvent>, StoreError> {
        let sql = select_events()
            + " WHERE kind = 'bill' AND interface_name = ? AND call_at >= ? AND call_at < ? \
               ORDER BY seq LIMIT ?";
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(interface)
            .bind(signed(range.start))
            .bind(signed(range.end))
            .bind(COMPARED_MAX as i64 + 1)
            .fetch_all(self.readers())
            .await
            .map_err(|error| self.failed(error))?;
        let read = |row| read_event(row).map(|(_, event)| event);
        rows.iter().map(read).collect()
    }
}

/// Digits of X that are alike in all notations of a number.
const TAIL: usize = 7;

const SELECT_CALLS: &str = "SELECT axb_cdr.seq, cdr.flow_no, interface_name, binding_id, handle, \
     a_number, x_number, b_number, b_submitted, cdr.started_at, answered_at, ended_at, hold_secs, \
     axb_bill_secs, axb_fee FROM axb_cdr CROSS JOIN cdr USING (seq) ";

pub(super) fn select_events() -> String {
    let columns = list::<PlatformEvent>("platform_events");
    format!("SELECT seq,{columns} FROM platform_events")
}

pub(super) fn read_event(row: &SqliteRow) -> Result<(u64, PlatformEvent), StoreError> {
    let mut columns = Columns::new(row);
    let seq = columns.seq();
    Ok((seq, columns.take(seq)?))
}

fn read_call(row: &SqliteRow) -> Result<Call, StoreError> {
    let mut columns = Columns::new(row);
    let seq = columns.seq();
    Ok(Call {
        seq,
        flow_no: cell(&mut columns, seq, "flow_no")?,
        interface_name: cell(&mut columns, seq, "interface_name")?,
        binding_id: cell(&mut columns, seq, "binding_id")?,
        handle: cell(&mut columns, seq, "handle")?,
        a_number: cell(&mut columns, seq, "a_number")?,
        x_number: cell(&mut columns, seq, "x_number")?,
        b_number: cell(&mut columns, seq, "b_number")?,
        b_submitted: cell(&mut columns, seq, "b_submitted")?,
        started_at: cell(&mut columns, seq, "started_at")?,
        answered_at: cell(&mut columns, seq, "answered_at")?,
        ended_at: cell(&mut columns, seq, "ended_at")?,
        hold_secs: cell(&mut columns, seq, "hold_secs")?,
        axb_bill_secs: cell(&mut columns, seq, "axb_bill_secs")?,
        axb_fee: cell(&mut columns, seq, "axb_fee")?,
    })
}

fn cell<C: Cell>(
    columns: &mut Columns<'_>,
    seq: u64,
    column: &'static str,
) -> Result<C, StoreError> {
    C::restore(columns.next()).ok_or(StoreError::Row { seq, column })
}

/// `what IN (…)`, nothing for no values.
fn one_of<'v>(
    sql: &mut QueryBuilder<Sqlite>,
    what: &str,
    values: impl IntoIterator<Item = &'v str>,
) {
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        return;
    }
    sql.push(what).push(" IN (");
    let mut list = sql.separated(", ");
    for value in values {
        list.push_bind(value.to_owned());
    }
    sql.push(")");
}

/// Columns of the table, in the order of [`Row::columns`].
pub(super) fn event_columns() -> Vec<&'static str> {
    let columns = ["seq"].into_iter();
    let columns = columns.chain(PlatformEvent::columns().iter().copied());
    columns.chain(["call_at"]).collect()
}
