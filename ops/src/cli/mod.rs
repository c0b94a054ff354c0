//! The command line: every command but `plan` and the ones that start processes is a client of the admin API.
//!
//! [`ClientCommand`] is flattened into the binary's own commands; [`run`] carries one out. Data goes to standard
//! output, words to standard error, and the exit code tells programs what happened ([`Exit`]).

mod args;
mod backup;
mod certificates;
mod columns;
mod fields;
mod files;
mod http;
mod interfaces;
mod levels;
mod members;
mod plan;
mod platform;
mod print;
mod relations;
mod route;
mod types;
mod verbs;

pub use args::{ClientCommand, Globals, Output};

use args::ClusterVerb;
use http::Client;
use print::Printer;
use serde_json::Value;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

/// A file of a million rows is checked before the server says the first word.
const UPLOAD_SECS: u64 = 600;

/// What a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Ok = 0,
    /// 1: failed.
    Error = 1,
    /// 2: the command line or a file it names is wrong.
    Usage = 2,
    /// 3: no such thing.
    NotFound = 3,
    /// 4: refused, or changed meanwhile.
    Refused = 4,
    /// 5: token missing, wrong or too weak.
    Unauthorised = 5,
    /// 6: no server answers, or no quorum.
    Unavailable = 6,
    /// 7: some of it was done.
    Partly = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed: its exit code and one line for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CliError {
    /// How the process ends.
    pub exit: Exit,
    /// What failed on which thing.
    pub text: String,
}

impl CliError {
    /// An error of this kind.
    pub fn new(exit: Exit, text: impl Into<String>) -> CliError {
        CliError {
            exit,
            text: text.into(),
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        // Whoever reads our output may stop reading: `tandem cdr export | head` is no failure.
        let exit = if error.kind() == io::ErrorKind::BrokenPipe {
            Exit::Ok
        } else {
            Exit::Error
        };
        CliError::new(exit, format!("output: {error}"))
    }
}

/// Carries a command out and says what went wrong. Makes a runtime of its own, so it must not be called from within
/// one; use [`run_on`] there.
pub fn run(command: &ClientCommand, globals: &Globals) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("no runtime: {error}"));
            return Exit::Error.into();
        }
    };
    runtime.block_on(run_on(command, globals))
}

/// As [`run`], on the runtime of the caller.
pub async fn run_on(command: &ClientCommand, globals: &Globals) -> ExitCode {
    let done = match globals.watch {
        false => once(command, globals).await,
        true => watch(command, globals).await,
    };
    match done {
        Ok(exit) => exit.into(),
        Err(CliError { exit: Exit::Ok, .. }) => Exit::Ok.into(),
        Err(error) => {
            complain(&error.text);
            error.exit.into()
        }
    }
}

async fn once(command: &ClientCommand, globals: &Globals) -> Result<Exit, CliError> {
    let stdout = io::stdout().lock();
    let mut printer = Printer::new(io::BufWriter::new(stdout), globals.output, &globals.columns);
    printer.colours = colours(&io::stdout());
    let exit = match command {
        ClientCommand::Plan(args) => plan::run(args, &mut printer, colours(&io::stdout()))?,
        ClientCommand::Cluster(ClusterVerb::Certificates(args)) => certificates::run(args)?,
        command => {
            let mut globals = globals.clone();
            globals.timeout = globals.timeout.max(command.takes_secs());
            if command.is_upload() {
                globals.timeout = globals.timeout.max(UPLOAD_SECS);
            }
            verbs::carry_out(command, &Client::new(&globals)?, &mut printer).await?
        }
    };
    printer.finish()?;
    Ok(exit)
}

/// Shows the same again and again until interrupted; an outage is said and waited out.
async fn watch(command: &ClientCommand, globals: &Globals) -> Result<Exit, CliError> {
    if !command.is_look() {
        return Err(CliError::new(
            Exit::Usage,
            "`--watch` goes with commands that only look",
        ));
    }
    loop {
        if io::stdout().is_terminal() {
            // Clear and home, so that rows keep their place.
            write!(io::stdout(), "\x1b[2J\x1b[H")?;
        }
        match once(command, globals).await {
            Err(error) if error.exit == Exit::Unavailable => complain(&error.text),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Whether colours may be written there (<https://no-color.org>).
fn colours(to: &impl IsTerminal) -> bool {
    to.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|off| off.is_empty())
}

/// One line on standard error.
pub fn complain(text: &str) {
    say("error:", "31", text);
}

/// Tells what people want to know beside the data.
fn note(text: &str) {
    say("note:", "36", text);
}

/// Tells what is doubtful about a thing just shown, a line each.
fn warn(thing: &Value) {
    for text in warnings(thing) {
        // Whoever reads and changes requests has the secret soon after.
        let red = text.starts_with("`tls_verify`") || text.contains("certificate");
        say("warning:", if red { "31" } else { "33" }, &text);
    }
}

/// The `warnings` of a thing.
fn warnings(thing: &Value) -> Vec<String> {
    texts(thing, "warnings")
}

/// Tells what must not stay as it is, a line each.
fn alarm(thing: &Value) {
    for text in texts(thing, "alarms") {
        say("alarm:", "31", &text);
    }
}

/// A list of texts. They hold what people once typed, which must not steer the terminal.
fn texts(thing: &Value, field: &str) -> Vec<String> {
    let texts = thing.get(field).and_then(Value::as_array);
    texts
        .into_iter()
        .flatten()
        .map(|text| print::cell(Some(text), true))
        .collect()
}

fn say(head: &str, colour: &str, text: &str) {
    let head = if colours(&io::stderr()) {
        format!("\x1b[1;{colour}m{head}\x1b[0m")
    } else {
        head.to_owned()
    };
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr(), "{head} {text}");
}

#[cfg(test)]
mod tests;
