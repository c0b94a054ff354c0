//! Log lines: where they go and what they may show.

use std::fmt;
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How log lines look.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends log lines to standard error. `filter` is written as `info,tandem_cluster=debug`; the environment's
/// `RUST_LOG` wins over it. Called once a process; a second call changes nothing.
pub fn init(format: Format, filter: &str) -> Result<(), ParseError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(text)?,
        _ => EnvFilter::try_new(filter)?,
    };
    let usual = filter.to_string();
    let lines = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(
            std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|off| off.is_empty()),
        );
    // An error says only that somebody else was first, such as another test of the same process.
    let change: Option<Box<dyn Fn(EnvFilter) -> bool + Send + Sync>> = match format {
        Format::Text => {
            let lines = lines.with_env_filter(filter).with_filter_reloading();
            let handle = lines.reload_handle();
            let first = lines.try_init().is_ok();
            first.then(|| Box::new(move |filter| handle.reload(filter).is_ok()) as _)
        }
        Format::Json => {
            let lines = lines.json().with_env_filter(filter).with_filter_reloading();
            let handle = lines.reload_handle();
            let first = lines.try_init().is_ok();
            first.then(|| Box::new(move |filter| handle.reload(filter).is_ok()) as _)
        }
    };
    if let Some(change) = change {
        let _ = FILTER.set(Filter { usual, change });
    }
    Ok(())
}

/// What decides which lines are written.
struct Filter {
    /// As the process was started with.
    usual: String,
    change: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
}

static FILTER: OnceLock<Filter> = OnceLock::new();

/// Writes lines of this level (`error` to `trace`) and above from now on; `None`: as [`init`] was told. False when that
/// cannot be.
pub fn set_level(level: Option<&str>) -> bool {
    let Some(filter) = FILTER.get() else {
        return false;
    };
    let wanted = level.map_or_else(|| filter.usual.clone(), of_level);
    EnvFilter::try_new(wanted).is_ok_and(|wanted| (filter.change)(wanted))
}

/// The filter of a level: of other people's libraries nobody wants to read more than `info`, and the consensus library
/// repeats a dead peer's silence many times a second.
fn of_level(level: &str) -> String {
    match level {
        "debug" | "trace" => format!("info,tandem={level},openraft=error"),
        level => format!("{level},openraft=error"),
    }
}

/// A number as log lines show it: its first three and last two digits, `*` between. Numbers of up to five digits show
/// nothing.
///
/// ```
/// assert_eq!(tandem_ops::log::mask("13812345678").to_string(), "138******78");
/// ```
pub fn mask(number: &str) -> Masked<'_> {
    Masked(number)
}

/// A text of somebody else, such as a platform's error, with every number in it masked: each run of six digits or more
/// as [`mask`] shows it.
///
/// ```
/// let text = tandem_ops::log::mask_numbers("number +8613812345678 is busy (code 101)");
/// assert_eq!(text, "number +861********78 is busy (code 101)");
/// ```
pub fn mask_numbers(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        masked.push_str(before);
        match digits.len() {
            ..6 => masked.push_str(digits),
            _ => masked.push_str(&mask(digits).to_string()),
        }
        rest = after;
    }
    masked.push_str(rest);
    masked
}

/// See [`mask`].
#[derive(Clone, Copy)]
pub struct Masked<'n>(&'n str);

impl fmt::Display for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.chars().count();
        for (place, digit) in self.0.chars().enumerate() {
            let shown = length > 5 && (place < 3 || place >= length - 2);
            fmt::Write::write_char(f, if shown { digit } else { '*' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ends_of_a_number_are_shown() {
        for (number, shown) in [
            ("13812345678", "138******78"),
            ("021000", "021*00"),
            ("+8613812345678", "+86*********78"),
            ("12345", "*****"),
            ("9", "*"),
            ("", ""),
            ("号码一二三四五", "号码一**四五"),
        ] {
            assert_eq!(mask(number).to_string(), shown, "{number}");
        }
    }

    #[test]
    fn every_level_is_a_filter_and_acts_at_once() {
        init(Format::Text, "warn").expect("a filter");
        for level in ["error", "warn", "info", "debug", "trace"] {
            assert!(set_level(Some(level)), "{level}");
            assert_eq!(
                tracing::enabled!(target: "tandem_node", tracing::Level::DEBUG),
                matches!(level, "debug" | "trace"),
                "{level}"
            );
        }
        assert!(set_level(None));
        assert!(!tracing::enabled!(target: "tandem_node", tracing::Level::INFO));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        assert!(init(Format::Text, "tandem=loudly").is_err());
    }
}
