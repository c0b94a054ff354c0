//! The store as a node, a peer and an operator see it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use sqlx::{Connection, SqliteConnection};
use tandem_billing::pump::{Batch, Pace, pump};
use tandem_billing::rating::Rate;
use tandem_billing::record::{Handle, Serial};
use tandem_billing::store::{Counts, LIMIT_MAX, Period, ReportQuery};
use tandem_billing::usage::{AxbMode, AxbUsage, EndReason, EndedBy, Rated};
use tandem_billing::{
    AxbCdr, Cdr, Filter, Money, Record, Row, Store, StoreError, Time, Usage, close, codec,
};
use tempfile::TempDir;

/// 2025-11-20T16:00:00Z, midnight in China.
const MIDNIGHT: u64 = 1_763_654_400_000;
const HOUR: u64 = 3_600_000;

fn rated(account: &str, micros: i64, period_s: u32) -> Option<Rated> {
    Some(Rated {
        account: 1,
        account_number: account.into(),
        account_name: format!("name of {account}"),
        rate: Rate {
            prefix: "13".into(),
            fee: Money::from_micros(micros),
            period_s,
            ..Rate::default()
        },
    })
}

/// Call `n` of a made-up carrier day: one starts every minute, two of three got an (A,X), all
/// facts vary with `n`.
fn usage(n: u64) -> Usage {
    let started_ms = MIDNIGHT + n * 60_000;
    let answered = !n.is_multiple_of(5);
    Usage {
        call: n + 1_000,
        // The upper half of the numbers must survive SQLite's signed integers.
        flow_no: u64::MAX - n,
        node: format!("dev-{}", n % 3 + 1),
        caller_access: format!("0{}", n % 10),
        caller: format!("1380000{:04}", n % 10),
        caller_out: format!("021{n:08}"),
        callee_access: format!("88139{:08}", n % 7),
        callee: format!("139{:08}", n % 7),
        callee_out: format!("170{:08}", n % 4),
        caller_gateway: format!("customer-{}", n % 2),
        callee_gateway: "platform".into(),
        caller_ip: Some([10, 0, 0, (n % 250) as u8].into()),
        callee_ip: (!n.is_multiple_of(4)).then(|| [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()),
        started_ms,
        answered_ms: answered.then_some(started_ms + 5_000),
        ended_ms: started_ms + 5_000 + n % 200 * 1_000,
        pdd_ms: answered.then_some(300),
        codec: "PCMA".into(),
        sip_call_id: format!("{n}\"a,b\n@host"),
        end_reason: match n % 5 {
            0 => EndReason::Other { sip: 604, q850: 21 },
            1 => EndReason::BalanceExhausted,
            _ => EndReason::Normal,
        },
        ended_by: EndedBy::from_number((n % 3) as u8).expect("0, 1 or 2"),
        sip_code: 0,
        q850_cause: 16,
        axb: (!n.is_multiple_of(3)).then(|| AxbUsage {
            a: format!("0210000{:04}", n % 200),
            x: format!("170{:08}", n % 4),
            b: format!("139{:08}", n % 7),
            b_submitted: format!("+86139{:08}", n % 7),
            interface: "hz-1".into(),
            a_group: "ga".into(),
            mode: if n.is_multiple_of(2) {
                AxbMode::Axb
            } else {
                AxbMode::Ax
            },
            binding_id: n.is_multiple_of(2).then_some(n),
            handle: Handle::new([("subscriptionId", &*format!("s-{n}"))]),
        }),
        customer: rated(&format!("c{}", n % 3), 100_000, 60),
        landing: rated("landing", 30_000, 60),
        axb_rated: rated(&format!("axb-{}", n % 2), 6_000, 6),
    }
}

fn record(seq: u64) -> Record {
    close(&usage(seq)).record
}

fn rows(numbers: std::ops::RangeInclusive<u64>) -> Vec<(u64, Record)> {
    numbers.map(|seq| (seq, record(seq))).collect()
}

async fn store(dir: &Path) -> Store {
    Store::open(dir).await.expect("a fresh directory")
}

/// A store with rows 1 to `last`.
async fn filled(last: u64) -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = store(dir.path()).await;
    store.append(&rows(1..=last)).await.expect("in order");
    (dir, store)
}

async fn all<R: tandem_billing::store::Listed>(store: &Store, filter: &Filter) -> Vec<(u64, R)> {
    let mut export = store.export::<R>(filter).await.expect("an export");
    let mut rows = Vec::new();
    while let Some(chunk) = export.next().await.expect("a chunk") {
        assert!(!chunk.is_empty() && chunk.len() <= LIMIT_MAX as usize);
        rows.extend(chunk);
    }
    rows
}

#[tokio::test]
async fn rows_come_back_as_they_were_given() {
    let (_dir, store) = filled(300).await;
    let given = rows(1..=300);
    let cdrs: Vec<(u64, Cdr)> = all(&store, &Filter::default()).await;
    let axb_cdrs: Vec<(u64, AxbCdr)> = all(&store, &Filter::default()).await;
    let given_axb: Vec<(u64, AxbCdr)> = given
        .iter()
        .filter_map(|(seq, record)| Some((*seq, record.axb_cdr()?)))
        .collect();
    assert_eq!(axb_cdrs, given_axb);
    let given_cdrs = given.into_iter().map(|(seq, record)| (seq, record.cdr));
    assert_eq!(cdrs, given_cdrs.collect::<Vec<_>>());
    let counts = Counts {
        cdrs: 300,
        axb_cdrs: 200,
        events: 0,
    };
    assert_eq!(store.count().await.expect("counts"), counts);
    assert_eq!(cdrs[0].1.flow_no, Serial(u64::MAX - 1));
}

#[tokio::test]
async fn rows_given_twice_are_stored_once() {
    let (_dir, store) = filled(10).await;
    assert_eq!(store.append(&rows(1..=10)).await.expect("again"), 10);
    assert_eq!(store.append(&rows(5..=12)).await.expect("overlap"), 12);
    assert_eq!(store.append(&[]).await.expect("nothing"), 12);
    assert_eq!(store.last(), 12);
    assert_eq!(store.count().await.expect("counts").cdrs, 12);
}

#[tokio::test]
async fn a_gap_is_refused_and_nothing_of_the_batch_is_stored() {
    let (_dir, store) = filled(10).await;
    let error = store.append(&rows(12..=13)).await.expect_err("11 missing");
    assert_eq!(
        error.to_string(),
        "cdr numbers have a gap, expected 11, got 12"
    );
    assert!(!error.is_passing());
    let mut holed = rows(9..=15);
    holed.remove(4);
    let error = store.append(&holed).await.expect_err("13 missing");
    assert!(matches!(
        error,
        StoreError::Gap {
            expected: 13,
            got: 14
        }
    ));
    assert_eq!(store.last(), 10);
    assert_eq!(store.count().await.expect("counts").cdrs, 10);
    assert_eq!(store.append(&rows(11..=15)).await.expect("whole"), 15);
}

/// Runs this test once more in a process of its own, which writes batches until it is killed.
#[test]
fn a_store_whose_process_was_killed_goes_on_where_it_stopped() {
    const DIR: &str = "TANDEM_BILLING_TEST_DIR";
    const BATCH: u64 = 200;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Ok(dir) = std::env::var(DIR) {
        return runtime.block_on(async {
            let store = store(Path::new(&dir)).await;
            loop {
                let next = store.last() + 1;
                let rows = rows(next..=next + BATCH - 1);
                store.append(&rows).await.expect("in order");
            }
        });
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut before = 0;
    for lived_ms in [150, 310, 470] {
        let mut child = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                "a_store_whose_process_was_killed_goes_on_where_it_stopped",
            ])
            .env(DIR, dir.path())
            .spawn()
            .expect("a child");
        std::thread::sleep(Duration::from_millis(lived_ms));
        child.kill().expect("kill -9");
        child.wait().expect("gone");
        runtime.block_on(async {
            let store = store(dir.path()).await;
            let last = store.last();
            assert!(last >= before && last % BATCH == 0, "{before} to {last}");
            assert_eq!(store.count().await.expect("counts").cdrs, last);
            before = last;
        });
    }
    assert!(before > 0, "the child never got to write");
}

#[tokio::test]
async fn a_write_that_was_given_up_leaves_the_store_usable() {
    let (_dir, store) = filled(10).await;
    let more = rows(11..=3_000);
    for wait_us in [0, 100, 1_000, 5_000] {
        let wait = Duration::from_micros(wait_us);
        let _ = tokio::time::timeout(wait, store.append(&more)).await;
    }
    assert_eq!(store.append(&more).await.expect("whole"), 3_000);
    assert_eq!(store.last(), 3_000);
    assert_eq!(store.count().await.expect("counts").cdrs, 3_000);
}

#[tokio::test]
async fn stores_fed_in_different_batches_export_the_same_bytes() {
    async fn export(batch: usize) -> (String, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let store = store(dir.path()).await;
        for rows in rows(1..=2_500).chunks(batch) {
            store.append(rows).await.expect("in order");
        }
        let mut cdrs = String::new();
        for (_, row) in all::<Cdr>(&store, &Filter::default()).await {
            cdrs += &serde_json::to_string(&row).expect("a row");
            cdrs += "\n";
        }
        let mut axb = String::new();
        for (_, row) in all::<AxbCdr>(&store, &Filter::default()).await {
            axb += &row.values().join("\t");
        }
        (cdrs, axb)
    }
    let first = export(1_000).await;
    assert_eq!(first.0.lines().count(), 2_500);
    assert_eq!(export(7).await, first);
    assert_eq!(export(64).await, first);
}

#[tokio::test]
async fn filters_find_what_a_plain_search_finds() {
    let (_dir, store) = filled(1_500).await;
    let given = rows(1..=1_500);
    let text = |text: &str| Some(text.to_owned());
    let at = |hours| Some(Time::from_ms(MIDNIGHT + hours * HOUR));
    type Check = fn(&Record) -> bool;
    let cases: Vec<(Filter, Check)> = vec![
        (Filter::default(), |_| true),
        (
            Filter {
                since: at(2),
                until: at(5),
                ..Filter::default()
            },
            |r| (MIDNIGHT + 2 * HOUR..MIDNIGHT + 5 * HOUR).contains(&r.cdr.started_at.ms()),
        ),
        (
            Filter {
                since: at(20),
                ..Filter::default()
            },
            |r| r.cdr.started_at.ms() >= MIDNIGHT + 20 * HOUR,
        ),
        (
            Filter {
                until: at(1),
                ..Filter::default()
            },
            |r| r.cdr.started_at.ms() < MIDNIGHT + HOUR,
        ),
        (
            Filter {
                since: at(10_000),
                ..Filter::default()
            },
            |_| false,
        ),
        (
            Filter {
                account: text("c2"),
                ..Filter::default()
            },
            |r| r.cdr.account == "c2",
        ),
        (
            Filter {
                axb_account: text("axb-1"),
                ..Filter::default()
            },
            |r| r.axb.as_ref().is_some_and(|axb| axb.axb_account == "axb-1"),
        ),
        (
            Filter {
                caller: text("05"),
                ..Filter::default()
            },
            |r| r.cdr.caller_access == "05",
        ),
        (
            Filter {
                callee: text("13900000003"),
                gateway: text("customer-1"),
                ..Filter::default()
            },
            |r| r.cdr.callee == "13900000003" && r.cdr.caller_gateway == "customer-1",
        ),
        (
            Filter {
                x: text("17000000002"),
                a: text("02100000002"),
                ..Filter::default()
            },
            |r| {
                r.axb.as_ref().is_some_and(|axb| {
                    axb.x_number == "17000000002" && axb.a_number == "02100000002"
                })
            },
        ),
        (
            Filter {
                end_reason: Some(EndReason::Other { sip: 604, q850: 0 }),
                since: at(3),
                ..Filter::default()
            },
            |r| r.cdr.sip_code == 604 && r.cdr.started_at.ms() >= MIDNIGHT + 3 * HOUR,
        ),
        (
            Filter {
                flow_no: Some(u64::MAX - 77),
                ..Filter::default()
            },
            |r| r.cdr.flow_no == Serial(u64::MAX - 77),
        ),
        (
            Filter {
                caller: text("' OR 1=1 --"),
                ..Filter::default()
            },
            |_| false,
        ),
    ];
    for (filter, fits) in cases {
        let wanted: Vec<u64> = given
            .iter()
            .filter(|(_, record)| fits(record))
            .map(|(seq, _)| *seq)
            .collect();
        let wanted_axb: Vec<u64> = given
            .iter()
            .filter(|(_, record)| fits(record) && record.axb.is_some())
            .map(|(seq, _)| *seq)
            .collect();
        let numbers = |rows: Vec<(u64, Cdr)>| rows.into_iter().map(|(seq, _)| seq).collect();
        let found: Vec<u64> = numbers(all(&store, &filter).await);
        assert_eq!(found, wanted, "{filter:?}");
        let found: Vec<u64> = all::<AxbCdr>(&store, &filter)
            .await
            .into_iter()
            .map(|(seq, _)| seq)
            .collect();
        assert_eq!(found, wanted_axb, "{filter:?}");
        for newest_first in [false, true] {
            let (mut paged, mut page_filter) = (Vec::new(), filter.clone());
            (page_filter.limit, page_filter.newest_first) = (97, newest_first);
            loop {
                let page = store.query(&page_filter).await.expect("a page");
                assert!(page.rows.len() <= 97);
                paged.extend(page.rows.into_iter().map(|(seq, _)| seq));
                page_filter.cursor = page.next;
                if page.next.is_none() {
                    break;
                }
            }
            if newest_first {
                paged.reverse();
            }
            assert_eq!(paged, wanted, "{page_filter:?}");
        }
    }
    let beyond = Filter {
        limit: u32::MAX,
        ..Filter::default()
    };
    let page = store.axb_query(&beyond).await.expect("a page");
    assert_eq!((page.rows.len(), page.next), (1_000, None));
    let page = store.query(&beyond).await.expect("a page");
    assert_eq!((page.rows.len(), page.next), (1_000, Some(1_000)));
}

#[tokio::test]
async fn an_empty_store_answers_every_question() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = store(dir.path()).await;
    assert_eq!(store.last(), 0);
    assert_eq!(store.count().await.expect("counts"), Counts::default());
    let page = store.query(&Filter::default()).await.expect("a page");
    assert_eq!((page.rows.len(), page.next), (0, None));
    assert_eq!(all::<AxbCdr>(&store, &Filter::default()).await, []);
    assert_eq!(store.records(1, 10).await.expect("none"), []);
    let query = ReportQuery {
        until: Time::MAX,
        ..ReportQuery::default()
    };
    assert_eq!(store.axb_report(&query).await.expect("a report"), []);
    assert_eq!(store.sync().await.expect("nothing to sync"), 0);
}

#[tokio::test]
async fn an_export_ends_with_the_rows_there_were_when_it_began() {
    let (_dir, store) = filled(1_500).await;
    let mut export = store
        .export::<Cdr>(&Filter::default())
        .await
        .expect("an export");
    let first = export.next().await.expect("a chunk").expect("rows");
    assert_eq!(first.len(), LIMIT_MAX as usize);
    store.append(&rows(1_501..=4_000)).await.expect("in order");
    let second = export.next().await.expect("a chunk").expect("rows");
    assert_eq!(second.len(), 500);
    assert!(export.next().await.expect("the end").is_none());
}

#[tokio::test]
async fn a_peer_that_misses_rows_gets_the_bytes_of_the_outbox() {
    let (_dir, full) = filled(1_200).await;
    let encoded = |seq| (seq, codec::encode(&record(seq)).expect("short enough"));
    let raw = full.records(5, 8).await.expect("rows");
    assert_eq!(raw, (5..=8).map(encoded).collect::<Vec<_>>());
    assert_eq!(full.records(1_199, 9_999).await.expect("rows").len(), 2);
    assert_eq!(full.records(9, 8).await.expect("none"), []);

    let dir = tempfile::tempdir().expect("a directory");
    let peer = store(dir.path()).await;
    while peer.last() < full.last() {
        let missing = full.records(peer.last() + 1, u64::MAX).await.expect("rows");
        assert!(missing.len() <= LIMIT_MAX as usize);
        peer.append_encoded(&missing).await.expect("in order");
    }
    let filter = Filter::default();
    assert_eq!(
        all::<Cdr>(&peer, &filter).await,
        all::<Cdr>(&full, &filter).await
    );
    let bad = [(1_201, b"\x09nonsense".as_slice().into())];
    let error = peer.append_encoded(&bad).await.expect_err("no record");
    assert_eq!(error.to_string(), "cdr 1201 cannot be decoded");
}

#[tokio::test]
async fn settlement_lines_equal_the_sums_of_their_rows() {
    // Three days and a bit, one call a minute, from midnight in China.
    let (_dir, store) = filled(4_700).await;
    let axb: Vec<(u64, AxbCdr)> = all(&store, &Filter::default()).await;
    let query = |period| ReportQuery {
        account: None,
        since: Time::from_ms(MIDNIGHT),
        until: Time::from_ms(MIDNIGHT + 100 * 24 * HOUR),
        period,
        offset_minutes: 480,
    };
    for (period, lines) in [
        (Period::Day, 8),
        (Period::Week, 4),
        (Period::Month, 2),
        (Period::Range, 2),
    ] {
        let report = store.axb_report(&query(period)).await.expect("a report");
        assert_eq!(report.len(), lines, "{period:?}");
        let mut counted = 0;
        for line in &report {
            let of_line: Vec<&AxbCdr> = axb
                .iter()
                .map(|(_, row)| row)
                .filter(|row| row.axb_account == line.account)
                .filter(|row| (line.period_start..line.period_end).contains(&row.started_at))
                .collect();
            counted += line.count;
            assert_eq!(line.count, of_line.len() as u64, "{line:?}");
            let fee: Money = of_line.iter().map(|row| row.axb_fee).sum();
            assert_eq!(line.total_fee, fee, "{line:?}");
            let secs: u64 = of_line.iter().map(|row| u64::from(row.axb_bill_secs)).sum();
            assert_eq!(line.total_bill_secs, secs, "{line:?}");
            assert_eq!(line.name, format!("name of {}", line.account));
        }
        assert_eq!(counted, axb.len() as u64, "every row in one line");
    }
    let days = store.axb_report(&query(Period::Day)).await.expect("days");
    assert_eq!(days[0].period_start, Time::from_ms(MIDNIGHT));
    assert_eq!(days[0].period_end, Time::from_ms(MIDNIGHT + 24 * HOUR));
    // 2025-11-21 was a Friday.
    let weeks = store.axb_report(&query(Period::Week)).await.expect("weeks");
    assert_eq!(weeks[0].period_end, Time::from_ms(MIDNIGHT + 72 * HOUR));

    let one = ReportQuery {
        account: Some("axb-1".into()),
        since: Time::from_ms(MIDNIGHT + HOUR),
        until: Time::from_ms(MIDNIGHT + 3 * HOUR),
        ..query(Period::Month)
    };
    let report = store.axb_report(&one).await.expect("a report");
    assert_eq!(report.len(), 1);
    assert_eq!(
        (report[0].period_start, report[0].period_end),
        (one.since, one.until)
    );
    assert_eq!(report[0].count, 40);
    let far = ReportQuery {
        offset_minutes: 1_500,
        ..one
    };
    assert!(store.axb_report(&far).await.is_err());
}

#[tokio::test]
async fn reading_goes_on_while_rows_are_written() {
    let (_dir, store) = filled(1_000).await;
    let more = rows(1_001..=9_000);
    let write = async {
        for rows in more.chunks(500) {
            store.append(rows).await.expect("in order");
        }
    };
    let read = async {
        for _ in 0..5 {
            let found: Vec<(u64, Cdr)> = all(&store, &Filter::default()).await;
            let numbers: Vec<u64> = found.iter().map(|(seq, _)| *seq).collect();
            assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(write, read);
    assert_eq!(store.count().await.expect("counts").cdrs, 9_000);
}

#[tokio::test]
async fn the_pump_drains_an_outbox_into_the_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = store(dir.path()).await;
    let mut watch = store.watch();
    let pace = Pace {
        rows_max: 100,
        linger: Duration::ZERO,
        ..Pace::default()
    };
    let outbox: Vec<_> = (1..=1_050)
        .map(|seq| (seq, codec::encode(&record(seq)).expect("short enough")))
        .collect();
    let source = |from: u64, rows_max: usize| {
        // Begins a little early, as a source may.
        let skip = (from as usize - 1).saturating_sub(3);
        let rows: Vec<_> = outbox.iter().skip(skip).take(rows_max).cloned().collect();
        let batch = Batch { rows, head: 1_050 };
        std::future::ready((from <= 1_050).then_some(batch))
    };
    pump(&store, pace, source).await.expect("drained");
    assert_eq!(*watch.borrow_and_update(), 1_050);
    assert_eq!(store.sync().await.expect("synced"), 1_050);

    let gap = |from, _| {
        let rows = vec![(from + 1, outbox[0].1.clone())];
        std::future::ready(Some(Batch { rows, head: 2_000 }))
    };
    let error = pump(&store, pace, gap).await.expect_err("a gap");
    assert!(matches!(
        error,
        StoreError::Gap {
            expected: 1_051,
            ..
        }
    ));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("cdr.db");
    fs::write(&path, "this is a letter, not a database\n".repeat(200)).expect("a file");
    let error = Store::open(dir.path()).await.err().expect("no database");
    assert_eq!(
        error.to_string(),
        format!("`{}` is not a cdr store", path.display())
    );
}

#[tokio::test]
async fn a_database_of_somebody_else_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("cdr.db");
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut conn = SqliteConnection::connect(&url).await.expect("a database");
    sqlx::raw_sql("CREATE TABLE theirs (x)")
        .execute(&mut conn)
        .await
        .expect("a table");
    conn.close().await.expect("closed");
    let error = Store::open(dir.path()).await.err().expect("not ours");
    assert!(matches!(error, StoreError::NotAStore(_)), "{error}");
}

#[tokio::test]
async fn a_store_of_a_newer_release_is_refused_untouched() {
    let (dir, store) = filled(3).await;
    store.close().await;
    let path = dir.path().join("cdr.db");
    let url = format!("sqlite://{}", path.display());
    let mut conn = SqliteConnection::connect(&url).await.expect("the store");
    sqlx::raw_sql("PRAGMA user_version = 7")
        .execute(&mut conn)
        .await
        .expect("a newer schema");
    conn.close().await.expect("closed");
    let error = Store::open(dir.path()).await.err().expect("newer");
    assert_eq!(
        error.to_string(),
        format!(
            "cdr store `{}` has schema 7, this release knows 2",
            path.display()
        )
    );
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    // A file stands where the directory should be.
    let file = dir.path().join("file");
    fs::write(&file, "").expect("a file");
    let error = Store::open(&file).await.err().expect("not a directory");
    assert_eq!(
        error.to_string(),
        format!("cannot create cdr store `{}/cdr.db`", file.display())
    );

    let closed = dir.path().join("closed");
    fs::create_dir(&closed).expect("a directory");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("closed");
    if fs::write(closed.join("probe"), "").is_ok() {
        eprintln!("skipped: root may write everywhere");
        return;
    }
    let error = Store::open(&closed).await.err().expect("read-only");
    assert_eq!(
        error.to_string(),
        format!("cdr store `{}/cdr.db` is read-only", closed.display())
    );
}

#[tokio::test]
async fn a_store_that_became_read_only_refuses_to_open() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, store) = filled(3).await;
    store.close().await;
    let path = dir.path().join("cdr.db");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("closed");
    if fs::OpenOptions::new().append(true).open(&path).is_ok() {
        eprintln!("skipped: root may write everywhere");
        return;
    }
    let error = Store::open(dir.path()).await.err().expect("read-only");
    assert!(matches!(error, StoreError::ReadOnly(_)), "{error}");
}
