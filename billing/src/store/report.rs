//! The AXB settlement report.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{Store, StoreError};
use crate::money::Money;
use crate::record::ReportRow;
use crate::time::{DAY_MS, Date, Time};
use crate::usage::UnknownKey;

/// Most lines of a report.
const LINES_MAX: usize = 100_000;
/// No place on Earth is further from UTC than 14 hours.
const OFFSET_MAX_MIN: i32 = 24 * 60;

/// What a line of the report covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Period {
    /// A local calendar day.
    #[default]
    Day,
    /// Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
    /// All that was asked for.
    Range,
}

impl FromStr for Period {
    type Err = UnknownKey;

    /// Reads `day`, `week`, `month` and `range`.
    fn from_str(key: &str) -> Result<Period, UnknownKey> {
        match key {
            "day" => Ok(Period::Day),
            "week" => Ok(Period::Week),
            "month" => Ok(Period::Month),
            "range" => Ok(Period::Range),
            other => Err(UnknownKey::of(other)),
        }
    }
}

/// Which AXB CDRs to sum up, and how finely.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportQuery {
    /// Number of one settlement account; `None` for all, each with lines of its own.
    pub account: Option<String>,
    /// Started at this moment or later.
    pub since: Time,
    /// Started before this moment.
    pub until: Time,
    /// What a line covers.
    pub period: Period,
    /// How far local business time is ahead of UTC, in minutes; 480 in China.
    pub offset_minutes: i32,
}

impl Store {
    /// The settlement report, ordered by period, then account. Every AXB CDR that started in the
    /// range counts in exactly one line, so sums of lines equal sums of rows.
    pub async fn axb_report(&self, query: &ReportQuery) -> Result<Vec<ReportRow>, StoreError> {
        if query.offset_minutes.abs() > OFFSET_MAX_MIN {
            return Err(StoreError::Question("local time is over a day from utc"));
        }
        let offset_ms = i64::from(query.offset_minutes) * 60_000;
        let days = self.days(query, offset_ms).await?;
        let mut lines: BTreeMap<(Time, String), (ReportRow, i64)> = BTreeMap::new();
        for day in days {
            let (start, end) = period(query, day.day, offset_ms);
            let line = lines.entry((start, day.account.clone()));
            let (line, latest) = line.or_insert_with(|| (empty(start, end, &day.account), 0));
            // Days come in their order, but a call that began late may end early.
            if day.seq > *latest {
                *latest = day.seq;
                line.name = day.name;
            }
            line.total_fee = line.total_fee.saturating_add(Money::from_micros(day.fee));
            line.total_bill_secs += day.bill_secs.unsigned_abs();
            line.package_fee = line
                .package_fee
                .saturating_add(Money::from_micros(day.package_fee));
            line.package_secs += day.package_secs.unsigned_abs();
            line.count += day.count.unsigned_abs();
            if lines.len() > LINES_MAX {
                return Err(StoreError::Question("report has over 100000 lines"));
            }
        }
        Ok(lines.into_values().map(|(line, _)| line).collect())
    }

    /// Sums of the range by local day and account; the calendar above days is left to us.
    async fn days(&self, query: &ReportQuery, offset_ms: i64) -> Result<Vec<Day>, StoreError> {
        // SQLite takes the name from the row with the highest number
        // (https://www.sqlite.org/lang_select.html#bareagg). Division cuts towards zero, so two
        // days are lent lest a time before 1970 comes out of the offset.
        sqlx::query_as(
            "SELECT (started_at + ?1 + 2 * ?2) / ?2 - 2 AS day, axb_account AS account, \
             axb_account_name AS name, max(seq) AS seq, sum(axb_fee) AS fee, \
             sum(axb_bill_secs) AS bill_secs, sum(axb_package_fee) AS package_fee, \
             sum(axb_package_secs) AS package_secs, count(*) AS count \
             FROM axb_cdr WHERE started_at >= ?3 AND started_at < ?4 \
             AND (?5 IS NULL OR axb_account = ?5) GROUP BY 1, 2 ORDER BY 1, 2 LIMIT ?6",
        )
        .bind(offset_ms)
        .bind(DAY_MS as i64)
        .bind(query.since.ms() as i64)
        .bind(query.until.ms() as i64)
        .bind(&query.account)
        // As many days as fit into a report's lines when each is a month.
        .bind(LINES_MAX as i64 * 31)
        .fetch_all(self.readers())
        .await
        .map_err(|error| self.failed(error))
    }
}

/// The sums of one day and account.
#[derive(sqlx::FromRow)]
struct Day {
    /// Local days since 1970-01-01.
    day: i64,
    account: String,
    name: String,
    seq: i64,
    fee: i64,
    bill_secs: i64,
    package_fee: i64,
    package_secs: i64,
    count: i64,
}

/// The asked period that the local day belongs to, as moments, within the asked range.
fn period(query: &ReportQuery, day: i64, offset_ms: i64) -> (Time, Time) {
    let (first, behind) = match query.period {
        Period::Range => return (query.since, query.until),
        Period::Day => (day, day + 1),
        Period::Week => {
            // 1970-01-01 was a Thursday.
            let monday = day - (day + 3).rem_euclid(7);
            (monday, monday + 7)
        }
        Period::Month => {
            let first = Date {
                day: 1,
                ..Date::of_day(day)
            };
            (first.day_number(), first.next_month().day_number())
        }
    };
    let moment = |day: i64| {
        let ms = day * DAY_MS as i64 - offset_ms;
        Time::from_ms(u64::try_from(ms).unwrap_or(0))
    };
    (
        moment(first).max(query.since),
        moment(behind).min(query.until),
    )
}

fn empty(start: Time, end: Time, account: &str) -> ReportRow {
    ReportRow {
        period_start: start,
        period_end: end,
        account: account.to_owned(),
        name: String::new(),
        total_fee: Money::ZERO,
        total_bill_secs: 0,
        package_fee: Money::ZERO,
        package_secs: 0,
        count: 0,
    }
}
