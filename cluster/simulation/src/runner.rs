//! A process a seed: one seed in this process, or many in processes of the same program, a few at a time.
//!
//! Command line: `[SEEDS] [FIRST] [--twice]` runs so many seeds from the first on; `--seed N` runs one and prints what
//! happens. `--twice` runs each seed twice and compares all that happened. `--flaw NAME` is something that the scenario
//! does wrong on purpose and that its checks must find; `--operations N` is how much a seed is to do.

use crate::{entropy, trace, world};
use std::io::Read;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::prelude::*;

/// A seed that takes longer than this, by the real clock, hangs: a second or a minute, as long as nothing else has the
/// processor.
const LONGEST: Duration = Duration::from_secs(600);
/// Stack of the thread in which everything happens, bytes.
const STACK: usize = 16 << 20;
/// Seeds that fail are listed up to this many.
const LISTED: usize = 20;

/// What a scenario gets.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Decides everything.
    pub seed: u64,
    /// What is done wrong on purpose.
    pub flaw: Option<String>,
    /// How much is to be done, where the scenario counts that.
    pub operations: Option<u64>,
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

/// What panicked first: the runtime catches a panic of a task, and the world goes on without it.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

fn panicked() -> MutexGuard<'static, Option<String>> {
    PANIC.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes panics; `quiet`: they are not printed, for nobody reads along.
fn note_panics(quiet: bool) {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !quiet {
            print(panic);
        }
        panicked().get_or_insert_with(|| panic.to_string().replace('\n', " "));
    }));
}

struct VirtualTime;

impl FormatTime for VirtualTime {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let host = world::current().unwrap_or(0);
        write!(w, "{:>9.3} node {host}", world::now_ms() as f64 / 1000.0)
    }
}

const USAGE: &str =
    "usage: [SEEDS] [FIRST] [--twice] | --seed N [--quiet], and [--flaw NAME] [--operations N]";

/// The `main` of a program that runs seeds of a scenario.
pub fn main(scenario: Scenario) -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut run = Run::default();
    let (mut seed, mut quiet, mut twice) = (None, false, false);
    let (mut numbers, mut wishes) = (Vec::new(), Vec::new());
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match argument.as_str() {
            "--quiet" => quiet = true,
            "--twice" => twice = true,
            "--flaw" => {
                let flaw = value();
                wishes.extend([argument, flaw.clone()]);
                run.flaw = Some(flaw);
            }
            "--operations" | "--seed" => match (value(), argument.as_str()) {
                (text, "--seed") => seed = text.parse().ok(),
                (text, _) => {
                    run.operations = text.parse().ok();
                    wishes.extend([argument, text]);
                }
            },
            text => match text.parse::<u64>() {
                Ok(number) => numbers.push(number),
                Err(_) => {
                    eprintln!("{USAGE}");
                    return ExitCode::from(2);
                }
            },
        }
    }
    if let Some(seed) = seed {
        run.seed = seed;
        return one(scenario, run, quiet);
    }
    let program = std::env::current_exe().expect("a running program has a path");
    let many = Many {
        program: program.to_string_lossy().into_owned(),
        first: numbers.get(1).copied().unwrap_or(1),
        count: numbers.first().copied().unwrap_or(1_000),
        twice,
        wishes,
    };
    tell(&many, &many.run())
}

fn one(scenario: Scenario, run: Run, quiet: bool) -> ExitCode {
    if let Err(error) = entropy::fix(run.seed) {
        eprintln!("program does not start again with its randomness fixed: {error}");
        return ExitCode::FAILURE;
    }
    if !quiet {
        let level = std::env::var("TANDEM_LOG").unwrap_or_else(|_| "tandem=info".into());
        let layer = tracing_subscriber::fmt::layer()
            .with_timer(VirtualTime)
            .with_ansi(false)
            .with_writer(std::io::stdout);
        // Draws no randomness, as a filter with spans would while the world runs.
        let targets: Targets = level.parse().unwrap_or_default();
        tracing_subscriber::registry()
            .with(layer.with_filter(targets))
            .init();
    }
    note_panics(quiet);
    let seed = run.seed;
    // A thread of its own: what has drawn randomness so far changes nothing of what happens.
    let world = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || {
            if !quiet {
                trace::print();
            }
            let outcome = scenario(&run);
            let (events, hash) = trace::digest();
            let (verdict, text, code) = match (outcome, &*panicked()) {
                (Ok(text), None) => ("holds", text, ExitCode::SUCCESS),
                (Err(text), None) => ("fails", text, ExitCode::FAILURE),
                (_, Some(panic)) => ("fails", panic.clone(), ExitCode::FAILURE),
            };
            println!("seed {seed} {verdict}, {events} events, hash {hash:016x}: {text}");
            code
        });
    match world.map(|world| world.join()) {
        Ok(Ok(code)) => code,
        Ok(Err(_)) => {
            let panic = panicked().clone().unwrap_or_default();
            println!("seed {seed} fails: {panic}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("no thread for the world: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Many seeds, each in a process of its own.
#[derive(Clone, Debug)]
pub struct Many {
    /// Path of a program with [`main`].
    pub program: String,
    /// The first seed.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Each runs twice, and both must do the same.
    pub twice: bool,
    /// Further arguments.
    pub wishes: Vec<String>,
}

impl Many {
    /// Runs them, as many at a time as there are processors.
    pub fn run(&self) -> Summary {
        let begun = Instant::now();
        let at_once = std::thread::available_parallelism().map_or(2, |many| many.get() as u64);
        let next = AtomicU64::new(self.first);
        let failed = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.first + self.count {
                            return;
                        }
                        if let Err(text) = self.judge(seed) {
                            let mut failed = failed.lock().expect("no worker panics");
                            failed.push((seed, text));
                        }
                    }
                });
            }
        });
        let mut failed = failed.into_inner().expect("no worker panicked");
        failed.sort();
        Summary {
            seeds: self.count,
            failed,
            took: begun.elapsed(),
        }
    }

    fn judge(&self, seed: u64) -> Result<(), String> {
        let (holds, line) = self.child(seed);
        if self.twice {
            let (_, again) = self.child(seed);
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
    fn child(&self, seed: u64) -> (bool, String) {
        let spawned = Command::new(&self.program)
            .args(["--seed", &seed.to_string(), "--quiet"])
            .args(&self.wishes)
            .env(entropy::VARIABLE, seed.to_string())
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

fn tell(many: &Many, summary: &Summary) -> ExitCode {
    for (_, text) in summary.failed.iter().take(LISTED) {
        println!("{text}");
    }
    if let Some((seed, _)) = summary.failed.first() {
        let wishes = many.wishes.join(" ");
        println!("to see one: tests/simulate --seed {seed} {wishes}");
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
