//! Child processes, what they measured, and what they cost.

use crate::Histogram;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// What came of a run.
#[derive(Default)]
pub struct Measured {
    /// Of each reservation, from asking to having.
    pub times: Histogram,
    /// Until the last release was done.
    pub wall: Duration,
    /// Refusals or conflicts, after which a caller asked again.
    pub again: u64,
    /// Log entries; 0 where that is not known.
    pub entries: u64,
    pub callers_cpu: Duration,
    pub servers_cpu: Duration,
}

impl Measured {
    /// Adds what another process measured in the same run.
    pub fn join(&mut self, other: Measured) {
        self.times.join(other.times);
        self.wall = self.wall.max(other.wall);
        self.again += other.again;
        // Every node sees the same log.
        self.entries = self.entries.max(other.entries);
    }

    /// Adds a later run.
    pub fn follow(&mut self, other: Measured) {
        self.times.join(other.times);
        self.wall += other.wall;
        self.again += other.again;
        self.entries += other.entries;
        self.callers_cpu += other.callers_cpu;
        self.servers_cpu += other.servers_cpu;
    }

    pub fn per_second(&self) -> f64 {
        self.times.count() as f64 / self.wall.as_secs_f64().max(1e-9)
    }

    /// For the way from a worker to the bench.
    pub fn line(&self) -> String {
        format!(
            "{} {} {} {}",
            self.wall.as_nanos(),
            self.again,
            self.entries,
            self.times.text()
        )
    }

    fn read(line: &str) -> Measured {
        let mut words = line.split(' ');
        // A worker without callers has seen no times.
        let mut word = || words.next().unwrap_or_default();
        Measured {
            wall: Duration::from_nanos(word().parse().expect("number")),
            again: word().parse().expect("number"),
            entries: word().parse().expect("number"),
            times: Histogram::read(word()),
            ..Measured::default()
        }
    }
}

/// CPU time of a process; the kernel counts in hundredths of a second.
pub fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("has a name")
        .split_whitespace()
        .collect();
    let ticks: u64 =
        fields[11].parse::<u64>().expect("number") + fields[12].parse::<u64>().expect("number");
    Duration::from_millis(ticks * 10)
}

/// A copy of this program that does a part of the work.
pub struct Worker {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Worker {
    pub fn start(words: &[&str]) -> Worker {
        let mut child = Command::new(std::env::current_exe().expect("is known"))
            .arg("worker")
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let out = BufReader::new(child.stdout.take().expect("is piped"));
        Worker { child, out }
    }

    pub fn tell(&mut self, order: &str) {
        writeln!(self.child.stdin.as_mut().expect("is piped"), "{order}").expect("worker reads");
    }

    /// What it says next.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("worker writes");
        assert!(!line.is_empty(), "worker has died");
        line.trim_end().to_owned()
    }

    pub fn ready(&mut self) {
        assert_eq!(self.line(), "ready");
    }

    pub fn measured(&mut self) -> Measured {
        Measured::read(&self.line())
    }

    pub fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
