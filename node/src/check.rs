//! `tandem config check`: every mistake of a configuration file, one a line, with its place.

use std::path::Path;
use std::process::ExitCode;

use crate::config::Config;
use crate::start::chain;

/// Checks a node file, a simulator file or a seed file; which one it is shows in its tables.
pub fn run(path: &Path) -> ExitCode {
    let mistakes = match std::fs::read_to_string(path) {
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
        Ok(text) => mistakes(path, &text),
    };
    if mistakes.is_empty() {
        println!("{}: ok", path.display());
        return ExitCode::SUCCESS;
    }
    for mistake in &mistakes {
        eprintln!("{mistake}");
    }
    ExitCode::from(2)
}

fn mistakes(path: &Path, text: &str) -> Vec<String> {
    let has = |table: &str| {
        text.lines()
            .any(|line| line.trim_start().starts_with(table))
    };
    if has("[node]") || has("[cluster]") {
        return Config::parse(path, text)
            .err()
            .map(|error| chain(&error))
            .into_iter()
            .collect();
    }
    if has("callee_phone") {
        return simulator_of(path, text).err().into_iter().collect();
    }
    tandem_ops::seed::check(text)
        .into_iter()
        .map(|mistake| format!("config `{}` {mistake}", path.display()))
        .collect()
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
