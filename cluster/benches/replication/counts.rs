//! What a node's process counts of itself: the room's own metrics, and what the kernel knows.

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Figures of one node since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    pub leads: bool,
    pub cpu: Duration,
    /// Bytes on the links to other nodes.
    pub sent: u64,
    pub received: u64,
    /// Entries made durable.
    pub entries: u64,
    /// Writes of the log that were synced.
    pub fsyncs: u64,
    /// Resident memory, bytes.
    pub resident: u64,
}

impl Reading {
    /// For the way from a node to the bench.
    pub fn line(&self) -> String {
        let Reading {
            leads,
            cpu,
            sent,
            received,
            entries,
            fsyncs,
            resident,
        } = self;
        let (leads, cpu) = (u8::from(*leads), cpu.as_nanos());
        format!("{leads} {cpu} {sent} {received} {entries} {fsyncs} {resident}")
    }

    pub fn read(line: &str) -> Reading {
        let mut words = line.split(' ');
        let mut number = || -> u64 {
            let word = words.next().expect("a number for each figure");
            word.parse().expect("number")
        };
        Reading {
            leads: number() == 1,
            cpu: Duration::from_nanos(number()),
            sent: number(),
            received: number(),
            entries: number(),
            fsyncs: number(),
            resident: number(),
        }
    }

    /// What has come since an earlier reading; memory may have become less.
    pub fn since(&self, before: &Reading) -> Reading {
        Reading {
            leads: self.leads,
            cpu: self.cpu.saturating_sub(before.cpu),
            sent: self.sent - before.sent,
            received: self.received - before.received,
            entries: self.entries - before.entries,
            fsyncs: self.fsyncs - before.fsyncs,
            resident: self.resident.saturating_sub(before.resident),
        }
    }
}

/// Keeps the few metrics that the bench asks for.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    sent: Arc<Sum>,
    received: Arc<Sum>,
    entries: Arc<Sum>,
    fsyncs: Arc<Sum>,
}

#[derive(Debug, Default)]
struct Sum(AtomicU64);

impl CounterFn for Sum {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// How many values there were.
impl HistogramFn for Sum {
    fn record(&self, _value: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counts {
    /// Takes the metrics of this process over.
    pub fn install() -> Counts {
        let counts = Counts::default();
        let installed = metrics::set_global_recorder(counts.clone());
        installed.expect("nothing was installed before");
        counts
    }

    pub fn read(&self, leads: bool) -> Reading {
        let of = |sum: &Sum| sum.0.load(Ordering::Relaxed);
        Reading {
            leads,
            cpu: cpu(),
            sent: of(&self.sent),
            received: of(&self.received),
            entries: of(&self.entries),
            fsyncs: of(&self.fsyncs),
            resident: resident(),
        }
    }
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let sent = || {
            let mut labels = key.labels();
            labels.any(|label| (label.key(), label.value()) == ("direction", "sent"))
        };
        let sum = match key.name() {
            "tandem_cluster_link_bytes_total" if sent() => &self.sent,
            "tandem_cluster_link_bytes_total" => &self.received,
            "tandem_cluster_log_entries_total" => &self.entries,
            _ => return Counter::noop(),
        };
        Counter::from_arc(sum.clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match key.name() {
            "tandem_cluster_fsync_seconds" => Histogram::from_arc(self.fsyncs.clone()),
            _ => Histogram::noop(),
        }
    }
}

/// Processor time of this process's threads, in nanoseconds, which `/proc/self/stat` rounds to hundredths of a second.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("this is Linux");
    let of_task = |path: std::path::PathBuf| -> u64 {
        // A thread that has just ended is no loss: those of a node live as long as it does.
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        let ran = text.split(' ').next().unwrap_or_default();
        ran.parse().unwrap_or(0)
    };
    Duration::from_nanos(tasks.flatten().map(|task| of_task(task.path())).sum())
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.expect("has memory").parse::<u64>().expect("number") * 1024
}
