//! What replication costs a call: three nodes beside one alone, in turns.
//!
//! ```text
//! cargo bench -p tandem-cluster --bench replication [-- rates=20,200,1500 seconds=6 rounds=2 held=10000]
//! ```
//!
//! Each node is a process with its log on disk, every commit synced, links over TCP. The callers live in the nodes'
//! processes, spread evenly, as calls do; a call is five commands (reserve, bound, answered with two dialogs, unbound,
//! end) and half a second long. Processor time is of the whole process, callers included, on either side; at a low rate
//! most of it is heartbeats and timers, which the rows at rest show apart. Bytes are those of frames on the links,
//! counted where they are sent and where they are received. Put `TMPDIR` on a real disk: a sync in memory costs nothing.
//!
//! At the end calls are answered and held: what one takes of a node's resident memory, its callers gone and a snapshot
//! taken. The nodes here use the system's allocator, where the switch has its own.

#[path = "../calls.rs"]
mod calls;
mod counts;
#[path = "../reservations/histogram.rs"]
#[allow(dead_code)]
mod histogram;
mod node;
#[path = "../reservations/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../sample.rs"]
mod sample;

use counts::{Counts, Reading};
use histogram::Histogram;
use node::Node;
use process::{Measured, Worker};
use std::io::{BufRead, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

/// What the command line asks for.
struct Plan {
    /// Calls a second over all nodes.
    rates: Vec<u32>,
    seconds: u32,
    rounds: u32,
    held: u32,
}

impl Plan {
    fn read() -> Result<Plan, String> {
        let mut plan = Plan {
            rates: vec![20, 200, 1_500],
            seconds: 6,
            rounds: 2,
            held: 10_000,
        };
        // Cargo adds `--bench`.
        for word in std::env::args().skip(1).filter(|word| word != "--bench") {
            let bad = || format!("`{word}` is not understood");
            let (key, value) = word.split_once('=').ok_or_else(bad)?;
            let number = || value.parse().map_err(|_| bad());
            match key {
                "rates" => {
                    let rates = value.split(',').map(str::parse);
                    plan.rates = rates.collect::<Result<_, _>>().map_err(|_| bad())?;
                }
                "seconds" => plan.seconds = number()?,
                "rounds" => plan.rounds = number()?,
                "held" => plan.held = number()?,
                _ => return Err(bad()),
            }
        }
        Ok(plan)
    }
}

/// A cluster of so many nodes.
struct Nodes(Vec<Worker>);

impl Nodes {
    fn start(count: usize, dir: &Path, held: u32) -> Nodes {
        let listeners: Vec<_> = (0..count)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("binds"))
            .collect();
        let addresses: Vec<String> = listeners
            .iter()
            .map(|listener| listener.local_addr().expect("is bound").to_string())
            .collect();
        drop(listeners);
        let mut workers: Vec<Worker> = (1..=count)
            .map(|id| {
                let dir = dir.join(format!("{id}-of-{count}"));
                std::fs::create_dir(&dir).expect("a folder of its own");
                let dir = dir.to_string_lossy();
                Worker::start(&[&id.to_string(), &dir, &addresses.join(",")])
            })
            .collect();
        // The nodes find each other while they start, so all are started before the first is waited for.
        workers.iter_mut().for_each(Worker::ready);
        // Those to be held, those to come before, and those of the runs.
        workers[0].tell(&format!("configure {}", 2 * held + 5_000));
        workers[0].ready();
        Nodes(workers)
    }

    fn readings(&mut self) -> Vec<Reading> {
        let each = self.0.iter_mut().map(|worker| {
            worker.tell("read");
            Reading::read(&worker.line())
        });
        each.collect()
    }

    /// Runs something and tells what each node counted meanwhile.
    fn count<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> (Vec<Reading>, T) {
        let before = self.readings();
        let done = run(self);
        let after = self.readings();
        let each = after.iter().zip(&before);
        (
            each.map(|(after, before)| after.since(before)).collect(),
            done,
        )
    }

    /// So many calls a second, over so many seconds; tells how many that were.
    fn run(&mut self, per_s: u32, seconds: u32) -> (u32, Measured) {
        let share = f64::from(per_s) / self.0.len() as f64;
        let calls = (share * f64::from(seconds)).round() as u32;
        for worker in &mut self.0 {
            worker.tell(&format!("run {calls} {share}"));
        }
        let mut sum = Measured::default();
        for worker in &mut self.0 {
            sum.join(worker.measured());
        }
        (calls * self.0.len() as u32, sum)
    }

    /// Answers so many calls and leaves them.
    fn hold(&mut self, calls: u32) {
        let share = calls / self.0.len() as u32;
        for worker in &mut self.0 {
            worker.tell(&format!("hold {share}"));
        }
        self.0.iter_mut().for_each(Worker::ready);
        // The snapshot is written, and memory given back.
        std::thread::sleep(Duration::from_secs(2));
    }

    fn name(&self) -> &'static str {
        match self.0.len() {
            1 => "alone",
            _ => "three",
        }
    }
}

/// Figures of several rounds, by role: the nodes that led, then the others.
#[derive(Default)]
struct Sum {
    calls: u32,
    times: Histogram,
    nodes: Vec<Reading>,
}

impl Sum {
    fn add(&mut self, calls: u32, times: Histogram, mut readings: Vec<Reading>) {
        readings.sort_by_key(|reading| !reading.leads);
        self.calls += calls;
        self.times.join(times);
        self.nodes.resize(readings.len(), Reading::default());
        for (sum, reading) in self.nodes.iter_mut().zip(readings) {
            sum.leads |= reading.leads;
            sum.cpu += reading.cpu;
            sum.sent += reading.sent;
            sum.received += reading.received;
            sum.entries += reading.entries;
            sum.fsyncs += reading.fsyncs;
        }
    }

    fn total(&self) -> Reading {
        let mut total = Reading::default();
        for node in &self.nodes {
            total.cpu += node.cpu;
            total.sent += node.sent;
            total.received += node.received;
            total.entries += node.entries;
            total.fsyncs += node.fsyncs;
        }
        total
    }

    /// A row for each node and one for all, `per` what it is divided by.
    fn print(&self, rate: &str, name: &str, per: f64) {
        let row = |who: &str, of: &Reading, times: &str| {
            println!(
                "{rate:>8}  {name:<6} {who:<9} {:>9.3} {:>9.0} {:>9.0} {:>8.2} {:>8.2}  {times}",
                of.cpu.as_secs_f64() * 1e3 / per,
                of.sent as f64 / per,
                of.received as f64 / per,
                of.entries as f64 / per,
                of.fsyncs as f64 / per,
            );
        };
        let times = match self.times.count() {
            0 => String::new(),
            _ => format!(
                "{:.2?} {:.2?}",
                self.times.quantile(0.5),
                self.times.quantile(0.99)
            ),
        };
        if self.nodes.len() == 1 {
            return row("all", &self.nodes[0], &times);
        }
        for node in &self.nodes {
            let role = if node.leads { "leader" } else { "follower" };
            row(role, node, "");
        }
        row("all", &self.total(), &times);
    }
}

fn heading(per: &str) {
    let columns =
        "nodes               CPU ms    sent B   recv. B  entries   fsyncs  reserve p50 p99";
    println!("\n{per:>8}  {columns}");
}

fn compare(rate: &str, three: &Sum, alone: &Sum) {
    let each = |sum: &Sum, of: fn(&Reading) -> f64| of(&sum.total()) / f64::from(sum.calls.max(1));
    let ratio = |of: fn(&Reading) -> f64| each(three, of) / each(alone, of).max(1e-12);
    println!(
        "{rate:>8}  three to one     {:>8.1}x {:>29.1}x {:>7.1}x",
        ratio(|reading| reading.cpu.as_secs_f64()),
        ratio(|reading| reading.entries as f64),
        ratio(|reading| reading.fsyncs as f64),
    );
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == "worker") {
        work(&words[2..]);
        return;
    }
    let plan = Plan::read().unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(2);
    });
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut both = [3, 1].map(|count| Nodes::start(count, dir.path(), plan.held));
    for nodes in &mut both {
        // Connections, caches, and the burst that a quiet cluster may spend.
        nodes.run(100, 2);
    }

    heading("a second");
    for nodes in &mut both {
        let (readings, ()) = nodes.count(|_| std::thread::sleep(Duration::from_secs(3)));
        let mut rest = Sum::default();
        rest.add(0, Histogram::default(), readings);
        rest.print("rest", nodes.name(), 3.0);
    }
    heading("calls/s");
    for &rate in &plan.rates {
        let mut sums = [Sum::default(), Sum::default()];
        for _ in 0..plan.rounds {
            for (nodes, sum) in both.iter_mut().zip(&mut sums) {
                let (readings, (calls, measured)) =
                    nodes.count(|nodes| nodes.run(rate, plan.seconds));
                sum.add(calls, measured.times, readings);
            }
        }
        let rate = rate.to_string();
        for (nodes, sum) in both.iter().zip(&sums) {
            sum.print(&rate, nodes.name(), f64::from(sum.calls));
        }
        compare(&rate, &sums[0], &sums[1]);
    }

    println!("\nmemory of one held call, of {}", plan.held);
    for nodes in &mut both {
        // The first ones find room that is there already.
        nodes.hold(plan.held / 2);
        let (readings, ()) = nodes.count(|nodes| nodes.hold(plan.held));
        for reading in readings {
            let role = if reading.leads { "leader" } else { "follower" };
            let kib = reading.resident as f64 / 1024.0 / f64::from(plan.held);
            println!("{:>8}  {role:<9} {kib:>6.2} KiB", nodes.name());
        }
    }
}

/// A node's process: orders come in by lines, figures go out by lines.
fn work(words: &[String]) {
    let counts = Counts::install();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let [id, dir, addresses] = words else {
            panic!("worker does not understand {words:?}");
        };
        let node = Node::start(id, dir, addresses).await;
        say("ready");
        // The orders come so seldom that waiting for them may hold a thread.
        let (send, mut orders) = tokio::sync::mpsc::channel::<String>(1);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if send.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        while let Some(order) = orders.recv().await {
            match order.split(' ').collect::<Vec<_>>()[..] {
                ["configure", calls] => {
                    node.configure(calls.parse().expect("number")).await;
                    say("ready");
                }
                ["read"] => say(&node.reading(&counts)),
                ["run", calls, per_s] => {
                    let (calls, per_s) = (calls.parse(), per_s.parse());
                    let measured = node.run(calls.expect("number"), per_s.expect("number"));
                    say(&measured.await.line());
                }
                ["hold", calls] => {
                    node.hold(calls.parse().expect("number")).await;
                    say("ready");
                }
                _ => panic!("worker does not understand `{order}`"),
            }
        }
    });
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("the bench reads");
}
