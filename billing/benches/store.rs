//! What pricing and storing a call costs: `cargo bench -p tandem-billing`.
//!
//! `TANDEM_BENCH_ROWS` sets the rows of each run (default 20,000). Read the CPU columns; rates
//! depend on the disk.

use std::env;
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use tandem_billing::rating::Rate;
use tandem_billing::store::{Period, ReportQuery};
use tandem_billing::usage::{AxbUsage, Rated};
use tandem_billing::{AxbCdr, Cdr, Filter, Money, Record, Store, Time, Usage, close, codec};

/// Linux reports CPU times in hundredths of a second, whatever its timer does.
const TICK: Duration = Duration::from_millis(10);

fn rated(account: String, micros: i64, period_s: u32) -> Option<Rated> {
    Some(Rated {
        account: 1,
        account_name: format!("customer {account}"),
        account_number: account,
        rate: Rate {
            prefix: "138".into(),
            fee: Money::from_micros(micros),
            period_s,
            ..Rate::default()
        },
    })
}

fn usage(n: u64, axb: bool) -> Usage {
    let started_ms = 1_763_762_400_000 + n * 10;
    Usage {
        call: n << 20,
        flow_no: n << 8,
        node: "sw-hangzhou-1".into(),
        caller_access: format!("0571{:08}", n % 100_000_000),
        caller: format!("0571{:08}", n % 100_000_000),
        caller_out: format!("021{n:08}"),
        callee_access: format!("88138{:08}", n * 7_919 % 100_000_000),
        callee: format!("138{:08}", n * 7_919 % 100_000_000),
        callee_out: format!("1700000{:04}", n % 1_000),
        caller_gateway: "customer-12".into(),
        callee_gateway: "platform-3".into(),
        caller_ip: Some([10, 1, 2, 3].into()),
        callee_ip: Some([10, 9, 8, 7].into()),
        started_ms,
        answered_ms: Some(started_ms + 6_000),
        ended_ms: started_ms + 67_000,
        pdd_ms: Some(900),
        codec: "PCMA".into(),
        sip_call_id: format!("{n:032x}@10.1.2.3"),
        axb: axb.then(|| AxbUsage {
            a: format!("021{n:08}"),
            x: format!("1700000{:04}", n % 1_000),
            b: format!("138{:08}", n * 7_919 % 100_000_000),
            b_submitted: format!("+86138{:08}", n * 7_919 % 100_000_000),
            interface: "huawei-hz-1".into(),
            a_group: "ga".into(),
            ..AxbUsage::default()
        }),
        customer: rated(format!("c{:05}", n * 31 % 500), 100_000, 60),
        landing: rated("landing-3".into(), 30_000, 60),
        axb_rated: rated("axb-settle-1".into(), 6_000, 6),
        ..Usage::default()
    }
}

/// User and system time of this process so far.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("linux");
    // The fields behind the name in brackets; utime and stime are the 14th and 15th of all.
    let fields = stat.rsplit_once(')').expect("a name").1;
    let ticks = fields.split_whitespace().skip(11).take(2);
    TICK * ticks
        .map(|ticks| ticks.parse::<u32>().expect("a number"))
        .sum()
}

fn bytes_written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").expect("linux");
    let line = io.lines().find(|line| line.starts_with("write_bytes"));
    let bytes = line.and_then(|line| line.split_whitespace().nth(1));
    bytes.expect("a count").parse().expect("a number")
}

struct Measured {
    wall: Duration,
    cpu: Duration,
    written: u64,
}

struct Watch(Instant, Duration, u64);

impl Watch {
    fn start() -> Watch {
        Watch(Instant::now(), cpu(), bytes_written())
    }

    fn stop(self) -> Measured {
        Measured {
            wall: self.0.elapsed(),
            cpu: cpu() - self.1,
            written: bytes_written() - self.2,
        }
    }
}

fn line(what: &str, rows: u64, measured: &Measured) {
    let rows_f = rows as f64;
    println!(
        "{what:<34} {rows:>8} rows  {:>8.0} ms  {:>9.0} rows/s  {:>7.2} us CPU/row  {:>6.0} B written/row",
        measured.wall.as_secs_f64() * 1e3,
        rows_f / measured.wall.as_secs_f64(),
        measured.cpu.as_secs_f64() * 1e6 / rows_f,
        measured.written as f64 / rows_f,
    );
}

fn main() {
    let rows: u64 = env::var("TANDEM_BENCH_ROWS")
        .ok()
        .and_then(|rows| rows.parse().ok())
        .unwrap_or(20_000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");

    let usages: Vec<Usage> = (1..=1_000).map(|n| usage(n, true)).collect();
    let watch = Watch::start();
    for n in 0..200_000 {
        black_box(close(&usages[n % usages.len()]));
    }
    line("price", 200_000, &watch.stop());
    let record = close(&usages[7]).record;
    let watch = Watch::start();
    for _ in 0..200_000 {
        black_box(codec::encode(&record).expect("short enough"));
    }
    line("encode", 200_000, &watch.stop());
    let bytes = codec::encode(&record).expect("short enough");
    let watch = Watch::start();
    for _ in 0..200_000 {
        black_box(codec::decode(&bytes).expect("just encoded"));
    }
    line(
        &format!("decode {} bytes", bytes.len()),
        200_000,
        &watch.stop(),
    );

    for (axb, batch) in [
        (false, 50),
        (false, 500),
        (true, 1),
        (true, 50),
        (true, 500),
    ] {
        let kind = if axb { "axb" } else { "plain" };
        let rows = if batch == 1 { rows / 10 } else { rows };
        let records: Vec<(u64, Record)> = (1..=rows)
            .map(|seq| (seq, close(&usage(seq, axb)).record))
            .collect();
        let dir = tempfile::tempdir().expect("a directory");
        runtime.block_on(async {
            let store = Store::open(dir.path()).await.expect("a store");
            let watch = Watch::start();
            let mut slowest = Duration::ZERO;
            for rows in records.chunks(batch) {
                let begun = Instant::now();
                store.append(rows).await.expect("in order");
                slowest = slowest.max(begun.elapsed());
            }
            line(
                &format!("write {kind}, {batch} a transaction"),
                rows,
                &watch.stop(),
            );
            println!("{:<34} slowest transaction {slowest:.1?}", "");
            if axb && batch == 500 {
                read(&store, rows).await;
            }
            store.close().await;
        });
    }
}

async fn read(store: &Store, rows: u64) {
    let watch = Watch::start();
    let mut export = store.export::<Cdr>(&Filter::default()).await.expect("all");
    while let Some(chunk) = export.next().await.expect("a chunk") {
        black_box(chunk);
    }
    line("export cdrs", rows, &watch.stop());
    let watch = Watch::start();
    let mut export = store
        .export::<AxbCdr>(&Filter::default())
        .await
        .expect("all");
    while let Some(chunk) = export.next().await.expect("a chunk") {
        black_box(chunk);
    }
    line("export axb cdrs", rows, &watch.stop());
    let watch = Watch::start();
    let query = ReportQuery {
        until: Time::MAX,
        period: Period::Month,
        ..ReportQuery::default()
    };
    black_box(store.axb_report(&query).await.expect("a report"));
    line("settlement report", rows, &watch.stop());
}
