//! A process a seed: one seed in this process, or many in processes of the same program, a few at a time.
//!
//! Command line: `[SEEDS] [FIRST] [--twice] [--flaw NAME]` runs so many seeds from the first on; `--seed N` runs one
//! and prints what happens. `--twice` runs each seed twice and compares all that happened. A flaw is something that
//! the scenario does wrong on purpose and that its checks must find.

use crate::{entropy, trace, world};
use std::io::Read;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// A seed that takes longer than this, by the real clock, hangs.
const LONGEST: Duration = Duration::from_secs(120);
/// Stack of the thread in which everything happens, bytes.
const STACK: usize = 16 << 20;
/// Seeds that fail are listed up to this many.
const LISTED: usize = 20;

/// What a scenario gets.
#[derive(Clone, Debug)]
pub struct Run {
    /// Decides everything.
    pub seed: u64,
    /// What is done wrong on purpose.
    pub flaw: Option<String>,
}

/// A scenario: what it did in one line, or what is wrong.
pub type Scenario = fn(&Run) -> Result<String, String>;

/// What many seeds gave.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that ran.
    pub seeds: u64,
    /// Those that failed, each with the reason.
    pub failed: Vec<(u64, String)>,
    /// Real time of all together.
    pub took: Duration,
}

struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let host = world::current().unwrap_or(0);
        write!(w, "{:>9.3} node {host}", world::now_ms() as f64 / 1000.0)
    }
}

/// The `main` of a program that runs seeds of a scenario.
pub fn main(scenario: Scenario) -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut seed, mut quiet, mut twice, mut flaw, mut numbers) =
        (None, false, false, None, vec![]);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok());
        match argument.as_str() {
            "--seed" => seed = number(),
            "--quiet" => quiet = true,
            "--twice" => twice = true,
            "--flaw" => flaw = arguments.next(),
            text => match text.parse::<u64>() {
                Ok(number) => numbers.push(number),
                Err(_) => {
                    eprintln!(
                        "usage: [SEEDS] [FIRST] [--twice] [--flaw NAME] | --seed N [--quiet] [--flaw NAME]"
                    );
                    return ExitCode::from(2);
                }
            },
        }
    }
    match seed {
        Some(seed) => one(scenario, Run { seed, flaw }, quiet),
        None => {
            let program = std::env::current_exe().expect("a running program has a path");
            let program = program.to_string_lossy().into_owned();
            let count = numbers.first().copied().unwrap_or(1_000);
            let first = numbers.get(1).copied().unwrap_or(1);
            let summary = many(&program, first, count, twice, flaw.as_deref());
            tell(&summary, flaw.as_deref())
        }
    }
}

fn one(scenario: Scenario, run: Run, quiet: bool) -> ExitCode {
    if let Err(error) = entropy::fix(run.seed) {
        eprintln!("program does not start again with its randomness fixed: {error}");
        return ExitCode::FAILURE;
    }
    if !quiet {
        let level = std::env::var("TANDEM_LOG").unwrap_or_else(|_| "info".into());
        tracing_subscriber::fmt()
            .with_env_filter(level)
            .with_timer(VirtualTime)
            .with_ansi(false)
            .with_writer(std::io::stdout)
            .init();
    }
    // A thread of its own: what has drawn randomness so far, as a log's filter does, changes nothing of what happens.
    let world = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || {
            if !quiet {
                trace::print();
            }
            let outcome = scenario(&run);
            let (events, hash) = trace::digest();
            let (verdict, text, code) = match outcome {
                Ok(text) => ("holds", text, ExitCode::SUCCESS),
                Err(text) => ("fails", text, ExitCode::FAILURE),
            };
            let seed = run.seed;
            println!("seed {seed} {verdict}, {events} events, hash {hash:016x}: {text}");
            code
        });
    let outcome = world.map(|world| world.join());
    match outcome {
        Ok(Ok(code)) => code,
        // A panic has been printed.
        Ok(Err(_)) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("no thread for the world: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `count` seeds from `first` on, each in a process of `program`, as many at a time as there are processors.
pub fn many(program: &str, first: u64, count: u64, twice: bool, flaw: Option<&str>) -> Summary {
    let begun = Instant::now();
    let at_once = std::thread::available_parallelism().map_or(2, |many| many.get() as u64);
    let mut summary = Summary::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.min(count))
            .map(|worker| {
                scope.spawn(move || {
                    let mine = (first + worker..first + count).step_by(at_once as usize);
                    mine.map(|seed| (seed, judge(program, seed, twice, flaw)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for worker in workers {
            for (seed, outcome) in worker.join().expect("workers do not panic") {
                summary.seeds += 1;
                if let Err(text) = outcome {
                    summary.failed.push((seed, text));
                }
            }
        }
    });
    summary.failed.sort();
    summary.took = begun.elapsed();
    summary
}

fn judge(program: &str, seed: u64, twice: bool, flaw: Option<&str>) -> Result<(), String> {
    let (holds, line) = child(program, seed, flaw);
    if twice {
        let (_, again) = child(program, seed, flaw);
        if line != again {
            return Err(format!("two runs differ: `{line}` and `{again}`"));
        }
    }
    match holds {
        true => Ok(()),
        false => Err(line),
    }
}

/// Whether the seed holds, and the last line that its process printed.
fn child(program: &str, seed: u64, flaw: Option<&str>) -> (bool, String) {
    let mut command = Command::new(program);
    command.args(["--seed", &seed.to_string(), "--quiet"]);
    if let Some(flaw) = flaw {
        command.args(["--flaw", flaw]);
    }
    let spawned = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return (false, format!("process cannot be started: {error}")),
    };
    let ended = wait(&mut child);
    let mut text = String::new();
    if let Some(out) = &mut child.stdout {
        // A process that was killed leaves what it had said.
        let _ = out.read_to_string(&mut text);
    }
    let last = text.lines().last().unwrap_or_default().to_owned();
    match ended {
        None => (false, format!("seed {seed} hangs")),
        Some(true) => (true, last),
        Some(false) if last.starts_with("seed ") => (false, last),
        Some(false) => {
            let mut said = String::new();
            if let Some(err) = &mut child.stderr {
                let _ = err.read_to_string(&mut said);
            }
            let said: Vec<&str> = said.lines().take(4).collect();
            (false, format!("seed {seed} panics: {}", said.join(" ")))
        }
    }
}

/// Whether the process ended well; `None` when it had to be killed.
fn wait(child: &mut Child) -> Option<bool> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) if begun.elapsed() < LONGEST => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                // It may have ended meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

fn tell(summary: &Summary, flaw: Option<&str>) -> ExitCode {
    let flaw = flaw
        .map(|flaw| format!(" --flaw {flaw}"))
        .unwrap_or_default();
    for (_, text) in summary.failed.iter().take(LISTED) {
        println!("{text}");
    }
    if let Some((seed, _)) = summary.failed.first() {
        println!("to see one: tests/simulate --seed {seed}{flaw}");
    }
    println!(
        "{} seeds in {:.1?}, {} failed",
        summary.seeds,
        summary.took,
        summary.failed.len()
    );
    match summary.failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
