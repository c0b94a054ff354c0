//! What people are shown of a vendor and what its parameters may be. [`Schema`] is the part of a
//! [`crate::Definition`] that a form for an interface is made of.

use std::fmt;

use serde::Serialize;

use crate::interface::{Finding, Interface, Severity};
use crate::outcome::Class;
use crate::policy::Policy;

/// What a form for an interface of one type needs: its addresses and parameters.
#[derive(Clone, Debug, Serialize)]
pub struct Schema<'a> {
    /// The number of the type.
    pub id: u32,
    /// The word in configuration.
    pub name: &'a str,
    /// The name for people.
    pub title: &'a str,
    /// The base URL used when the interface names none.
    pub base_url: &'a str,
    /// The addresses that can be replaced.
    pub urls: Vec<Url<'a>>,
    /// The parameters, in the order in which they are best asked for.
    pub params: &'a [Param],
    /// What the type can do.
    pub policy: Policy,
}

/// One address of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Url<'a> {
    /// The key in `Interface::urls`.
    pub name: &'a str,
    /// HTTP method.
    pub method: &'static str,
    /// The path used when the interface names none.
    pub path: &'a str,
}

/// One parameter of an interface, with the form its text must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Param {
    /// Its name in `Interface::params`.
    pub name: String,
    /// What its text must look like.
    pub form: Form,
    /// Used when it is absent; `None` together with `required: false` means "not sent".
    pub default: Option<String>,
    /// Whether an interface without it is refused.
    pub required: bool,
    /// Whether it must never be shown.
    pub secret: bool,
    /// One line for people.
    pub help: String,
    /// What goes beyond its own form.
    #[serde(skip)]
    pub(crate) notes: Vec<Note>,
    /// Where its definition speaks of it.
    #[serde(skip)]
    pub(crate) at: usize,
}

/// What a parameter means beside others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// Without this other one the platform refuses it.
    Needs(String),
    /// It has no effect unless this other one has this value.
    OnlyWith(String, String),
    /// With this value it works, but somebody should know this.
    Warn(String, String),
}

impl Note {
    /// The other parameter it speaks of.
    pub(crate) fn other(&self) -> Option<&str> {
        match self {
            Note::Needs(other) | Note::OnlyWith(other, _) => Some(other),
            Note::Warn(..) => None,
        }
    }
}

/// The form of a parameter's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Form {
    /// Printable text of so many bytes at most.
    Text {
        /// Longest.
        bytes_max: usize,
    },
    /// A whole number in a range.
    Number {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
        /// Below this it works, but somebody should know.
        warn_below: Option<WarnBelow>,
    },
    /// One of these words.
    Choice {
        /// The words.
        words: Vec<String>,
    },
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Form::Text { bytes_max } => write!(f, "text, {bytes_max} bytes"),
            Form::Number { min, max, .. } => write!(f, "{min} to {max}"),
            Form::Choice { words } => f.write_str(&words.join(" | ")),
        }
    }
}

/// A number that works but is unwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WarnBelow {
    /// The least wise one.
    pub least: u64,
    /// What happens below it.
    pub why: String,
}

/// What an answer says about our credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    Fine,
    /// They are wrong: going on would get our address blocked.
    Refused,
    /// Our address is blocked already.
    Blocked,
}

/// What the table makes of an answer that is not success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The class.
    pub class: Class,
    /// How long to stay away, in milliseconds.
    pub wait_ms: Option<u64>,
    /// What it says about our credentials.
    pub auth: Auth,
    /// Whether it says that the record does not exist.
    pub gone: bool,
}

impl Verdict {
    /// What an answer means that no rule speaks of: a server error is never taken as proof that
    /// nothing was applied. `coded` is whether it carries a code of the vendor's own.
    pub fn of_status(status: u16, coded: bool) -> Verdict {
        let plain = |class| Verdict {
            class,
            wait_ms: None,
            auth: Auth::Fine,
            gone: false,
        };
        match status {
            401 => Verdict {
                auth: Auth::Refused,
                ..plain(Class::Config)
            },
            429 => plain(Class::Throttled),
            // The vendor named a code of its own: it read the request and refused it.
            200..=299 | 400..=499 if coded => plain(Class::Permanent),
            // Wrong path, wrong proxy (or wrong password for it), forbidden source: nothing a call
            // can cure.
            300..=399 | 403 | 404 | 405 | 407 => plain(Class::Config),
            408 => plain(Class::Unknown),
            400..=499 => plain(Class::Permanent),
            _ => plain(Class::Unknown),
        }
    }
}

impl Param {
    /// What is wrong with a value, if anything.
    pub fn check(&self, value: &str) -> Option<Finding> {
        let field = || format!("params.{}", self.name);
        // The value of a secret never reaches a message.
        let shown = if self.secret { "…" } else { value };
        match &self.form {
            Form::Text { bytes_max } => {
                let text = if value.is_empty() && self.required {
                    "is empty".to_owned()
                } else if value.len() > *bytes_max {
                    format!("is longer than {bytes_max} bytes")
                } else if value.chars().any(char::is_control) {
                    "holds a control character".to_owned()
                } else {
                    return None;
                };
                Some(Finding::error(field(), text))
            }
            Form::Number {
                min,
                max,
                warn_below,
            } => match value.parse::<u64>() {
                Ok(number) if number < *min || number > *max => Some(Finding::error(
                    field(),
                    format!("\"{shown}\" is not between {min} and {max}"),
                )),
                Ok(number) => match warn_below {
                    Some(WarnBelow { least, why }) if number < *least => Some(Finding {
                        field: field(),
                        severity: Severity::Warning,
                        text: format!("\"{shown}\" is below {least}: {why}"),
                    }),
                    _ => None,
                },
                Err(_) => Some(Finding::error(
                    field(),
                    format!("\"{shown}\" is not a whole number"),
                )),
            },
            Form::Choice { words } if !words.iter().any(|word| word == value) => {
                Some(Finding::error(
                    field(),
                    format!("\"{shown}\" is none of {}", words.join(", ")),
                ))
            }
            Form::Choice { .. } => None,
        }
    }

    /// What is wrong or doubtful about it beside other parameters.
    pub(crate) fn check_notes(&self, interface: &Interface) -> Vec<Finding> {
        let Some(value) = interface.params.get(&self.name) else {
            return Vec::new();
        };
        let field = format!("params.{}", self.name);
        let finding = |note: &Note| match note {
            Note::Needs(other) if !interface.params.contains_key(other) => {
                let text =
                    format!("has no effect without params.{other}, and the platform refuses it");
                Some(Finding::error(&field, text))
            }
            Note::OnlyWith(other, word) if interface.param(other) != Some(word) => {
                let text = format!("has no effect unless params.{other} is {word}");
                Some(Finding::warning(&field, text))
            }
            Note::Warn(word, said) if word == value => {
                Some(Finding::warning(&field, format!("{word} {said}")))
            }
            _ => None,
        };
        self.notes.iter().filter_map(finding).collect()
    }
}
