//! Reservations per second through three nodes, beside etcd doing what a user would otherwise write.
//!
//! ```text
//! cargo bench -p tandem-cluster --bench reservations [-- callers=16,256 rounds=3 seconds=3 etcd=no entries=200]
//! ```
//!
//! Ours: three processes, each a node with its log on disk, every commit synced, TCP links between them; the callers
//! live in the nodes' processes, as calls do. A caller reserves (A, X, line, money, all of an AXB call's admission)
//! and waits; then it submits the call's end and the binding's release without waiting, and reserves again.
//!
//! etcd: three servers with their defaults, synced too, and three processes with callers, one connection to each
//! server, gRPC over HTTP/2. A caller draws A and X at random and claims them in one transaction, if neither they nor
//! the pair exist: the cheapest form there is (lines of 1, nothing read before, no account, no record, no rest), and
//! from so many numbers that conflicts are rare; after one it draws again. Then it sends the deletion without waiting,
//! and claims again.
//!
//! Both take turns at each number of callers, and so in each round. The callers' own CPU is within ours; for etcd it
//! stands apart. etcd is looked for on the `PATH`: Debian's `etcd-server` has it (unpacking the package is enough, no
//! daemon is wanted). Without it our half runs alone. Put `TMPDIR` on a real disk: a sync in memory costs nothing.

mod etcd;
mod histogram;
mod ours;
mod process;

use histogram::Histogram;
use process::{Measured, Worker};
use std::io::{BufRead, Write};
use std::net::TcpListener;
use std::time::Duration;

/// What the command line asks for.
struct Plan {
    callers: Vec<usize>,
    rounds: usize,
    seconds: f64,
    etcd: bool,
    entries_per_s: u32,
}

impl Plan {
    fn read() -> Result<Plan, String> {
        let mut plan = Plan {
            callers: vec![1, 16, 256, 1024],
            rounds: 3,
            seconds: 3.0,
            etcd: true,
            entries_per_s: 200,
        };
        // Cargo adds `--bench`.
        for word in std::env::args().skip(1).filter(|word| word != "--bench") {
            let bad = || format!("`{word}` is not understood");
            let (key, value) = word.split_once('=').ok_or_else(bad)?;
            match key {
                "callers" => {
                    let numbers = value.split(',').map(str::parse);
                    plan.callers = numbers.collect::<Result<_, _>>().map_err(|_| bad())?;
                }
                "rounds" => plan.rounds = value.parse().map_err(|_| bad())?,
                "seconds" => plan.seconds = value.parse().map_err(|_| bad())?,
                "etcd" => plan.etcd = value != "no",
                "entries" => plan.entries_per_s = value.parse().map_err(|_| bad())?,
                _ => return Err(bad()),
            }
        }
        Ok(plan)
    }
}

/// Free ports of this machine.
fn free_addresses(count: usize) -> Vec<String> {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("binds"))
        .collect();
    listeners
        .iter()
        .map(|listener| listener.local_addr().expect("is bound").to_string())
        .collect()
}

/// Three workers, and what runs beside them.
struct Contender {
    workers: Vec<Worker>,
    servers: Option<etcd::Servers>,
}

impl Contender {
    fn ours(plan: &Plan, dir: &std::path::Path) -> Contender {
        let addresses = free_addresses(3).join(",");
        let mut workers: Vec<Worker> = (1..=3)
            .map(|id| {
                let dir = dir.join(format!("node-{id}"));
                std::fs::create_dir(&dir).expect("a folder of its own");
                let entries = plan.entries_per_s.to_string();
                let dir = dir.to_string_lossy();
                Worker::start(&["ours", &id.to_string(), &dir, &addresses, &entries])
            })
            .collect();
        // The nodes find each other while they start, so all are started before the first is waited for.
        workers.iter_mut().for_each(Worker::ready);
        workers[0].tell("configure");
        workers[0].ready();
        Contender {
            workers,
            servers: None,
        }
    }

    fn etcd(servers: etcd::Servers) -> Contender {
        let mut workers: Vec<Worker> = servers
            .clients
            .iter()
            .map(|address| Worker::start(&["etcd", address]))
            .collect();
        workers.iter_mut().for_each(Worker::ready);
        Contender {
            workers,
            servers: Some(servers),
        }
    }

    /// One run; `first` is the worker that gets the odd caller.
    fn run(&mut self, callers: usize, seconds: f64, first: usize) -> Measured {
        let used = self.cpu();
        for (at, worker) in self.workers.iter_mut().enumerate() {
            let mine = callers / 3 + usize::from((at + 3 - first % 3) % 3 < callers % 3);
            worker.tell(&format!("run {mine} {seconds}"));
        }
        let mut sum = Measured::default();
        for worker in &mut self.workers {
            sum.join(worker.measured());
        }
        let now = self.cpu();
        sum.callers_cpu = now.0.saturating_sub(used.0);
        sum.servers_cpu = now.1.saturating_sub(used.1);
        sum
    }

    /// Of the workers, and of the servers.
    fn cpu(&self) -> (Duration, Duration) {
        let workers = self.workers.iter().map(Worker::cpu).sum();
        let servers = self.servers.as_ref().map(etcd::Servers::cpu);
        (workers, servers.unwrap_or_default())
    }
}

fn heading() {
    println!(
        "{:>7}  {:<6} {:>9} {:>10} {:>10} {:>12} {:>12} {:>9} {:>9}",
        "callers", "", "per s", "p50", "p99", "CPU/reserv.", "callers' CPU", "again", "commands",
    );
}

fn row(callers: usize, name: &str, measured: &Measured) {
    let count = measured.times.count().max(1) as f64;
    let each = |cpu: Duration| format!("{:.0} us", cpu.as_secs_f64() * 1e6 / count);
    let (cpu, beside) = match measured.servers_cpu.is_zero() {
        true => (each(measured.callers_cpu), "within".to_owned()),
        false => (each(measured.servers_cpu), each(measured.callers_cpu)),
    };
    let commands = match measured.entries {
        0 => String::new(),
        // Reserve, end and release.
        entries => format!("{:.1}/entry", count * 3.0 / entries as f64),
    };
    println!(
        "{callers:>7}  {name:<6} {:>9.0} {:>10.2?} {:>10.2?} {cpu:>12} {beside:>12} {:>8.2}% {commands:>9}",
        measured.per_second(),
        measured.times.quantile(0.5),
        measured.times.quantile(0.99),
        measured.again as f64 * 100.0 / count,
    );
}

fn compare(callers: usize, ours: &Measured, etcd: &Measured) {
    let latency = |q: f64| {
        etcd.times.quantile(q).as_secs_f64() / ours.times.quantile(q).as_secs_f64().max(1e-9)
    };
    let cpu = |measured: &Measured, cpu: Duration| {
        cpu.as_secs_f64() / measured.times.count().max(1) as f64
    };
    println!(
        "{callers:>7}  ratio  {:>8.1}x {:>9.1}x {:>9.1}x {:>11.1}x",
        ours.per_second() / etcd.per_second().max(1e-9),
        latency(0.5),
        latency(0.99),
        cpu(etcd, etcd.servers_cpu) / cpu(ours, ours.callers_cpu).max(1e-9),
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
    let servers = match plan.etcd {
        true => etcd::Servers::start(dir.path()).unwrap_or_else(|error| {
            eprintln!("{error}: our half runs alone");
            None
        }),
        false => None,
    };
    if let Some(servers) = &servers {
        println!("beside {}", servers.version);
    }
    let mut ours = Contender::ours(&plan, dir.path());
    let mut theirs = servers.map(Contender::etcd);
    for contender in [Some(&mut ours), theirs.as_mut()].into_iter().flatten() {
        // Connections, caches, and the burst that a quiet cluster may spend.
        contender.run(16, 0.5, 0);
    }
    println!(
        "{} rounds of {} s, entries_per_s {}, numbers {} A and {} X",
        plan.rounds,
        plan.seconds,
        plan.entries_per_s,
        ours::NUMBERS,
        ours::NUMBERS
    );
    heading();
    for &callers in &plan.callers {
        let (mut our_sum, mut their_sum) = (Measured::default(), Measured::default());
        for round in 0..plan.rounds {
            our_sum.follow(ours.run(callers, plan.seconds, round));
            if let Some(theirs) = &mut theirs {
                their_sum.follow(theirs.run(callers, plan.seconds, round));
            }
        }
        row(callers, "tandem", &our_sum);
        if theirs.is_some() {
            row(callers, "etcd", &their_sum);
            compare(callers, &our_sum, &their_sum);
        }
    }
}

/// A worker's process: orders come in by lines, measurements go out by lines.
fn work(words: &[String]) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut side = match words {
            [kind, id, dir, addresses, entries] if kind == "ours" => {
                Side::Ours(ours::Side::start(id, dir, addresses, entries).await)
            }
            [kind, address] if kind == "etcd" => Side::Etcd(etcd::Side::start(address).await),
            _ => panic!("worker does not understand {words:?}"),
        };
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
            let words: Vec<&str> = order.split(' ').collect();
            match (&words[..], &mut side) {
                (["configure"], Side::Ours(side)) => {
                    side.configure().await;
                    say("ready");
                }
                (["run", callers, seconds], side) => {
                    let callers = callers.parse().expect("number");
                    let run = Duration::from_secs_f64(seconds.parse().expect("number"));
                    let measured = match side {
                        Side::Ours(side) => side.run(callers, run).await,
                        Side::Etcd(side) => side.run(callers, run).await,
                    };
                    say(&measured.line());
                }
                _ => panic!("worker does not understand `{order}`"),
            }
        }
    });
}

enum Side {
    Ours(ours::Side),
    Etcd(etcd::Side),
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("the bench reads");
}
