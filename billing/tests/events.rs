//! What platforms tell, as a node, a peer and an operator see it in the store.

use bytes::Bytes;
use tandem_billing::bills::{Tolerance, Verdict};
use tandem_billing::codec::Entry;
use tandem_billing::record::{Handle, Serial};
use tandem_billing::store::{BillQuery, Counts, EventFilter};
use tandem_billing::usage::{AxbUsage, Rated, Usage};
use tandem_billing::{EventKind, Money, PlatformEvent, Rate, Store, Time, close};
use tempfile::TempDir;

/// 2025-11-21T04:00:00Z, noon in China.
const NOON: u64 = 1_763_697_600_000;
const MINUTE: u64 = 60_000;

/// Call `n`: begins `n` minutes after noon, talks for a minute over X `n % 3`.
fn call(n: u64) -> Entry {
    let started_ms = NOON + n * MINUTE;
    let usage = Usage {
        call: n,
        flow_no: 1_000 + n,
        started_ms,
        answered_ms: Some(started_ms + 5_000),
        ended_ms: started_ms + 65_000,
        axb: Some(AxbUsage {
            a: format!("0210000{n:04}"),
            x: format!("1700000000{}", n % 3),
            b: format!("1380000{n:04}"),
            b_submitted: format!("+861380000{n:04}"),
            interface: "hz".into(),
            a_group: "ga".into(),
            binding_id: Some(n),
            handle: Handle::new([("id", &*format!("H{n}"))]),
            ..AxbUsage::default()
        }),
        axb_rated: Some(Rated {
            rate: Rate {
                fee: Money::from_micros(100_000),
                period_s: 60,
                ..Rate::default()
            },
            ..Rated::default()
        }),
        ..Usage::default()
    };
    Entry::Call(Box::new(close(&usage).record))
}

/// A bill about call `n`, which the platform names by its handle.
fn bill(n: u64, secs: u64) -> PlatformEvent {
    PlatformEvent {
        received_at: Time::from_ms(NOON + (n + 5) * MINUTE),
        interface_name: "hz".into(),
        kind: EventKind::Bill,
        started_at: Some(Time::from_ms(NOON + n * MINUTE + 1_000)),
        duration_ms: Some(secs * 1_000),
        handle: Handle::new([("id", &*format!("H{n}"))]),
        callback: "bills".into(),
        key: format!("bill\n{n}"),
        node: "dev-1".into(),
        ..PlatformEvent::default()
    }
}

fn told(event: PlatformEvent) -> Entry {
    Entry::Event(Box::new(event))
}

async fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).await.expect("a fresh directory");
    (dir, store)
}

/// Stores the entries under the next numbers.
async fn add(store: &Store, entries: Vec<Entry>) {
    let rows: Vec<(u64, Entry)> = (store.last() + 1..).zip(entries).collect();
    store.append_entries(&rows).await.expect("in order");
}

/// `call-back key: record, why`, a line each.
async fn lines(store: &Store, filter: &EventFilter) -> Vec<String> {
    let page = store.events(filter).await.expect("a page");
    assert_eq!(page.next, None);
    let line = |(_, seen): &(u64, tandem_billing::event::SeenEvent)| {
        let flow = seen.found.flow_no.map_or(0, |flow| flow.0);
        let by = seen.found.matched_by.map_or("", |by| by.key());
        format!("{} {flow} {by}", seen.event.key.replace('\n', " "))
    };
    page.rows.iter().map(line).collect()
}

#[tokio::test]
async fn an_event_is_stored_once_and_its_repeats_leave_no_gap() {
    let (_dir, store) = store().await;
    let other = PlatformEvent {
        callback: "events".into(),
        ..bill(1, 60)
    };
    add(
        &store,
        vec![
            told(bill(1, 60)),
            told(bill(1, 60)),
            told(other),
            told(PlatformEvent {
                node: "dev-2".into(),
                ..bill(1, 60)
            }),
        ],
    )
    .await;
    add(&store, vec![call(1), told(bill(1, 60))]).await;
    assert_eq!(store.last(), 6);
    let counts = Counts {
        cdrs: 1,
        axb_cdrs: 1,
        events: 2,
    };
    assert_eq!(store.count().await.expect("counts"), counts);
    let known = store.known_events("hz", "bills", &["bill\n1", "bill\n2"]);
    let known: Vec<String> = known.await.expect("asked").into_iter().collect();
    assert_eq!(known, ["bill\n1"]);
    let known = store.known_events("bj", "bills", &["bill\n1"]);
    assert!(known.await.expect("asked").is_empty());
}

#[tokio::test]
async fn a_node_that_was_away_gets_calls_events_and_repeats_from_a_peer() {
    let (_dir, one) = store().await;
    for n in 0..40 {
        let repeat = told(bill(n, 60));
        add(&one, vec![repeat.clone(), call(n), repeat.clone(), repeat]).await;
    }
    let (_dir, other) = store().await;
    while other.last() < one.last() {
        let from = other.last() + 1;
        let rows: Vec<(u64, Bytes)> = one.records(from, from + 50).await.expect("rows");
        other.append_encoded(&rows).await.expect("no gap");
    }
    assert_eq!(one.records(1, 160).await.expect("rows").len(), 160);
    assert_eq!(
        one.records(1, 160).await.expect("rows"),
        other.records(1, 160).await.expect("rows")
    );
    let all = EventFilter::default();
    assert_eq!(
        one.events(&all).await.expect("rows"),
        other.events(&all).await.expect("rows")
    );
}

#[tokio::test]
async fn events_are_listed_with_their_calls_however_they_are_asked_for() {
    let (_dir, store) = store().await;
    let mut entries: Vec<Entry> = (0..30).map(call).collect();
    entries.extend([
        // By handle, by our own id, by numbers in the platform's notation, and about nothing of ours.
        told(bill(3, 60)),
        told(PlatformEvent {
            handle: Handle::default(),
            own_id: "4".into(),
            started_at: None,
            ended_at: Some(Time::from_ms(NOON + 6 * MINUTE)),
            ..bill(4, 60)
        }),
        told(PlatformEvent {
            handle: Handle::default(),
            x_number: "+8617000000002".into(),
            b_number: "13800000005".into(),
            kind: EventKind::Ended,
            ..bill(5, 60)
        }),
        told(bill(77, 60)),
        told(PlatformEvent {
            interface_name: "bj".into(),
            ..bill(6, 60)
        }),
    ]);
    add(&store, entries).await;
    let rows = [
        "bill 3 1003 handle",
        "bill 4 1004 own_id",
        "bill 5 1005 numbers",
        "bill 77 0 ",
        "bill 6 0 ",
    ];
    let all = EventFilter::default();
    assert_eq!(lines(&store, &all).await, rows);
    let at = |minute| Some(Time::from_ms(NOON + minute * MINUTE));
    let checks: [(EventFilter, &[usize]); 9] = [
        (
            EventFilter {
                matched: Some(true),
                ..all.clone()
            },
            &[0, 1, 2],
        ),
        (
            EventFilter {
                matched: Some(false),
                ..all.clone()
            },
            &[3, 4],
        ),
        (
            EventFilter {
                interface: Some("bj".into()),
                ..all.clone()
            },
            &[4],
        ),
        (
            EventFilter {
                kind: Some(EventKind::Ended),
                ..all.clone()
            },
            &[2],
        ),
        (
            EventFilter {
                flow_no: Some(1_003),
                ..all.clone()
            },
            &[0],
        ),
        (
            EventFilter {
                flow_no: Some(1_004),
                ..all.clone()
            },
            &[1],
        ),
        (
            EventFilter {
                flow_no: Some(1_005),
                ..all.clone()
            },
            &[2],
        ),
        (
            EventFilter {
                flow_no: Some(9),
                ..all.clone()
            },
            &[],
        ),
        (
            EventFilter {
                since: at(9),
                until: at(11),
                ..all.clone()
            },
            &[1, 2],
        ),
    ];
    for (filter, want) in checks {
        let want: Vec<&str> = want.iter().map(|place| rows[*place]).collect();
        assert_eq!(lines(&store, &filter).await, want, "{filter:?}");
    }
    for newest_first in [false, true] {
        let mut filter = EventFilter {
            limit: 2,
            newest_first,
            ..all.clone()
        };
        let mut found = Vec::new();
        loop {
            let page = store.events(&filter).await.expect("a page");
            assert!(page.rows.len() <= 2);
            found.extend(page.rows.iter().map(|(_, seen)| seen.event.key.clone()));
            filter.cursor = page.next;
            if page.next.is_none() {
                break;
            }
        }
        if newest_first {
            found.reverse();
        }
        assert_eq!(
            found,
            ["bill\n3", "bill\n4", "bill\n5", "bill\n77", "bill\n6"]
        );
    }
}

#[tokio::test]
async fn an_event_that_came_before_its_calls_record_has_its_call_later() {
    let (_dir, store) = store().await;
    add(&store, vec![told(bill(1, 60))]).await;
    let all = EventFilter::default();
    assert_eq!(lines(&store, &all).await, ["bill 1 0 "]);
    add(&store, vec![call(1)]).await;
    assert_eq!(lines(&store, &all).await, ["bill 1 1001 handle"]);
}

#[tokio::test]
async fn bills_are_compared_with_what_was_rated() {
    let (_dir, store) = store().await;
    let mut entries: Vec<Entry> = (0..5).map(call).collect();
    entries.extend([
        told(bill(0, 60)),
        told(bill(1, 75)),
        told(PlatformEvent {
            cost: Some(Money::from_micros(100_001)),
            recording: "https://platform.invalid/r/2".into(),
            ..bill(2, 60)
        }),
        // Hours late, without a time, and with our own id.
        told(PlatformEvent {
            handle: Handle::default(),
            own_id: "3".into(),
            received_at: Time::from_ms(NOON + 4 * MINUTE),
            started_at: None,
            ..bill(3, 61)
        }),
        told(bill(9, 10)),
        // No bill, so nothing to compare.
        told(PlatformEvent {
            kind: EventKind::Ended,
            callback: "events".into(),
            ..bill(4, 60)
        }),
    ]);
    add(&store, entries).await;
    let query = BillQuery {
        since: Time::from_ms(NOON),
        until: Time::from_ms(NOON + 60 * MINUTE),
        interface: None,
        tolerance: Tolerance::default(),
    };
    let (rows, totals) = store.compare_bills(&query).await.expect("compared");
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row.verdict, row.flow_no, row.diff_secs))
        .collect();
    assert_eq!(
        found,
        [
            (Verdict::OnlyOurs, Some(Serial(1_004)), None),
            (Verdict::OnlyTheirs, None, None),
            (Verdict::Differs, Some(Serial(1_001)), Some(15)),
            (Verdict::Differs, Some(Serial(1_002)), Some(0)),
            (Verdict::Equal, Some(Serial(1_000)), Some(0)),
            (Verdict::Equal, Some(Serial(1_003)), Some(1)),
        ]
    );
    assert_eq!(rows[3].recording, "https://platform.invalid/r/2");
    assert_eq!((totals.calls, totals.bills, totals.only_ours), (5, 5, 1));
    // Of an interface that never billed nothing is missing, unless it is asked for by name.
    let bj = BillQuery {
        interface: Some("bj".into()),
        ..query.clone()
    };
    let (rows, _) = store.compare_bills(&bj).await.expect("compared");
    assert!(rows.is_empty());
    let short = BillQuery {
        until: Time::from_ms(NOON + MINUTE),
        ..query
    };
    let (rows, _) = store.compare_bills(&short).await.expect("compared");
    assert_eq!(rows.len(), 1, "what lies behind the range is not shown");
}

#[tokio::test]
async fn a_store_of_the_release_before_is_brought_up_to_date() {
    let dir = tempfile::tempdir().expect("a directory");
    {
        use sqlx::{Connection, SqliteConnection};
        let path = dir.path().join("cdr.db");
        let url = format!("sqlite://{}?mode=rwc", path.display());
        let mut old = SqliteConnection::connect(&url).await.expect("a file");
        let first = include_str!("../migrations/0001_cdr.sql");
        let marks = "PRAGMA application_id = 1413566020; PRAGMA user_version = 1;";
        sqlx::raw_sql(first).execute(&mut old).await.expect("made");
        sqlx::raw_sql(marks)
            .execute(&mut old)
            .await
            .expect("marked");
        old.close().await.expect("closed");
    }
    let store = Store::open(dir.path()).await.expect("brought up to date");
    add(&store, vec![call(1), told(bill(1, 60))]).await;
    let all = EventFilter::default();
    assert_eq!(lines(&store, &all).await, ["bill 1 1001 handle"]);
}
