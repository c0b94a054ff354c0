//! 补充设置 of devices: what an operator may change on a running node.
//!
//! A small set of names, checked when they are set, so that a mistake is told to whoever makes it. The node named reads
//! them from the state and acts on them at once; a name it does not know (set by a newer release) it leaves alone.

use std::collections::BTreeMap;

/// Levels of [`LOG_LEVEL`].
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Least important log lines that the node writes, in place of the node file's filter.
pub const LOG_LEVEL: &str = "log_level";
/// Calls at once on the node; more get 503. No more than the node file's `limits.calls_max`.
pub const CALLS_MAX: &str = "calls_max";
/// New calls a second on the node; more get 503.
pub const CALLS_PER_S: &str = "calls_per_s";

const CALLS_MAX_MOST: u64 = 1_000_000;
const CALLS_PER_S_MOST: u64 = 100_000;

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it may be, for people.
    pub values: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// All settings there are.
pub const SETTINGS: [Setting; 3] = [
    Setting {
        name: LOG_LEVEL,
        values: "error, warn, info, debug or trace",
        meaning: "least important log lines written, in place of the node file's filter",
    },
    Setting {
        name: CALLS_MAX,
        values: "0 to 1000000",
        meaning: "calls at once on the node, more get 503; no more than the node file allows",
    },
    Setting {
        name: CALLS_PER_S,
        values: "1 to 100000",
        meaning: "new calls a second on the node, more get 503",
    },
];

/// Settings as a node acts on them; `None`: as the node file has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// [`LOG_LEVEL`]
    pub log_level: Option<&'static str>,
    /// [`CALLS_MAX`]
    pub calls_max: Option<u32>,
    /// [`CALLS_PER_S`]
    pub calls_per_s: Option<u32>,
}

impl Settings {
    /// Reads what a device has; what cannot be read counts as not set.
    pub fn of(texts: &BTreeMap<String, String>) -> Settings {
        let number = |name: &str, range: std::ops::RangeInclusive<u64>| {
            let value = texts.get(name)?.parse().ok()?;
            range.contains(&value).then(|| u32::try_from(value).ok())?
        };
        Settings {
            log_level: texts
                .get(LOG_LEVEL)
                .and_then(|text| LEVELS.into_iter().find(|level| level == text)),
            calls_max: number(CALLS_MAX, 0..=CALLS_MAX_MOST),
            calls_per_s: number(CALLS_PER_S, 1..=CALLS_PER_S_MOST),
        }
    }
}

/// What is wrong with a setting; an empty value, which takes it back, never is.
pub(super) fn fault(name: &str, value: &str) -> Option<String> {
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
        let known = SETTINGS.map(|setting| setting.name).join(", ");
        return Some(format!("there is no such setting, only {known}"));
    };
    let texts = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let read = value.is_empty() || Settings::of(&texts) != Settings::default();
    (!read).then(|| format!("must be {}", setting.values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_and_what_is_wrong_is_told() {
        let unknown = "there is no such setting, only log_level, calls_max, calls_per_s";
        for (name, value, want) in [
            ("log_level", "debug", None),
            (
                "log_level",
                "loud",
                Some("must be error, warn, info, debug or trace"),
            ),
            ("calls_max", "0", None),
            ("calls_max", "1000001", Some("must be 0 to 1000000")),
            ("calls_per_s", "250", None),
            ("calls_per_s", "0", Some("must be 1 to 100000")),
            ("calls_per_s", "-3", Some("must be 1 to 100000")),
            ("calls_per_s", "", None),
            ("colour", "red", Some(unknown)),
            ("colour", "", Some(unknown)),
        ] {
            assert_eq!(fault(name, value).as_deref(), want, "{name}={value}");
        }
    }

    #[test]
    fn what_a_newer_release_has_set_is_left_alone() {
        let texts = [
            ("calls_max", "7"),
            ("colour", "red"),
            ("log_level", "silent"),
        ];
        let texts = texts.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Settings::of(&BTreeMap::from(texts));
        assert_eq!(settings.calls_max, Some(7));
        assert_eq!(settings.log_level, None);
    }
}
