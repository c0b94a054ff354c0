//! The whole switch in a simulated world: three or five nodes with their real actors, signalling and consensus, beside
//! customers, phones and an X platform, in one process and one thread, on one seed. Faults come from the seed as well;
//! then everything is healed, and what `DOMAIN.md` promises must hold. A seed that fails fails again in the same way.
//!
//! Flaws that the checks must find (`--flaw NAME`): `lies` (disks say that they have synced and have not), `mute` (no BYE
//! reaches a phone), `muddle` (a node stores records twice).
//!
//! Every tenth seed is calm: it has no faults, and then every call must go as its two ends mean it to.
//!
//! Start reading at [`run`] (a seed's course), then [`world`] (time and networks) and [`check`] (what must hold).

mod callee;
mod caller;
mod check;
mod dialog;
mod draw;
mod flaw;
mod leg;
mod links;
mod message;
mod net;
mod outlet;
mod plan;
mod platform;
mod process;
mod run;
mod setup;
mod shelf;
mod world;

use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tandem_simulation::runner;

fn main() -> ExitCode {
    runner::main(scenario)
}

/// Panics of the nodes' tasks, which tokio catches.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn panics() -> MutexGuard<'static, Vec<String>> {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn scenario(run: &runner::Run) -> Result<String, String> {
    std::panic::set_hook(Box::new(|panic| {
        panics().push(panic.to_string().replace('\n', " "))
    }));
    let flaw = match run.flaw.as_deref() {
        None => None,
        Some(name) => Some(flaw::Flaw::of(name).ok_or_else(|| format!("no flaw `{name}`"))?),
    };
    let report = run::run(run.seed, flaw);
    let mut wrongs = std::mem::take(&mut *panics());
    wrongs.extend(report.wrongs.iter().cloned());
    match wrongs.is_empty() {
        true => Ok(report.to_string()),
        false => Err(format!("{}; {report}", wrongs.join("; "))),
    }
}
