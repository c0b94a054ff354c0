//! `tandem config check`: every mistake of a configuration file, one a line, with its place.

use std::path::Path;
use std::process::ExitCode;

use tandem_ops::seed::Mistake;
use tandem_vendors::definition::{Catalogue, CatalogueError};

use crate::config::Config;
use crate::start::chain;
use crate::types::Vendors;

/// Checks a node file, a simulator file or a seed file; which one it is shows in its tables. What is doubtful in a seed
/// file is told and does no harm.
pub fn run(path: &Path) -> ExitCode {
    let Checked { mistakes, warnings } = match std::fs::read_to_string(path) {
        Err(error) => {
            eprintln!(
                "tandem: config `{}` cannot be read: {error}",
                path.display()
            );
            return ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound {
                3
            } else {
                1
            });
        }
        Ok(text) => check(path, &text),
    };
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    if mistakes.is_empty() {
        println!("{}: ok", path.display());
        return ExitCode::SUCCESS;
    }
    for mistake in &mistakes {
        eprintln!("{mistake}");
    }
    ExitCode::from(2)
}

/// One line each.
#[derive(Default)]
struct Checked {
    mistakes: Vec<String>,
    warnings: Vec<String>,
}

fn check(path: &Path, text: &str) -> Checked {
    let has = |table: &str| {
        text.lines()
            .any(|line| line.trim_start().starts_with(table))
    };
    let only = |mistake: Option<String>| Checked {
        mistakes: mistake.into_iter().collect(),
        ..Checked::default()
    };
    if has("[node]") || has("[cluster]") {
        return match Config::parse(path, text) {
            Err(error) => only(Some(chain(&error))),
            Ok(config) => only(definitions(&config)),
        };
    }
    if has("callee_phone") {
        return only(simulator_of(path, text).err());
    }
    let seed = tandem_ops::seed::check(text, &Vendors);
    let lines = |found: Vec<Mistake>| {
        found
            .into_iter()
            .map(|found| format!("config `{}` {found}", path.display()))
            .collect()
    };
    Checked {
        mistakes: lines(seed.mistakes),
        warnings: lines(seed.warnings),
    }
}

/// The mistakes of the definitions that a node would load.
fn definitions(config: &Config) -> Option<String> {
    let folder = config.vendors.definitions.as_deref()?;
    match Catalogue::with_folder(folder) {
        Ok(_) => None,
        Err(error @ CatalogueError::Wrong(_)) => Some(error.to_string()),
        Err(error) => Some(chain(&error)),
    }
}

/// Reads a simulator file; the error is one line.
pub fn simulator(path: &Path) -> Result<tandem_vendors::sim::Config, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("config `{}` cannot be read: {error}", path.display()))?;
    simulator_of(path, &text)
}

fn simulator_of(path: &Path, text: &str) -> Result<tandem_vendors::sim::Config, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let (line, column) = crate::config::place(text, error.span().map_or(0, |span| span.start));
        format!(
            "config `{}` line {line} column {column}: {}",
            path.display(),
            error.message()
        )
    })
}
