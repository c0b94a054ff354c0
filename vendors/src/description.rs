//! What a vendor is, as data: its operations, its parameters and its result codes. A vendor's
//! folder holds one [`Description`]; checking an interface and classifying an answer work on it
//! alone and know no vendor. [`Schema`] is the part of it that people are shown.

use serde::Serialize;

use crate::exchange::{Method, Op};
use crate::interface::{Finding, Severity};
use crate::outcome::Class;
use crate::policy::Policy;

/// One vendor's interface, as far as it is data.
#[derive(Debug)]
pub struct Description {
    /// The number of the type, never used again for another one.
    pub id: u32,
    /// The word in configuration and in the simulator's paths.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// The base URL used when the interface names none.
    pub base_url: &'static str,
    /// What can be asked of it and where.
    pub operations: &'static [Operation],
    /// Every parameter it knows; all others are mistakes.
    pub params: &'static [Param],
    /// Result codes and HTTP statuses, first match wins.
    pub codes: &'static [Code],
    /// The code that means success.
    pub success: &'static str,
    /// What it can do and how its numbers may be combined.
    pub policy: Policy,
}

/// What a form for an interface of one type needs: its addresses and parameters.
#[derive(Clone, Debug, Serialize)]
pub struct Schema {
    /// The number of the type.
    pub id: u32,
    /// The word in configuration.
    pub name: &'static str,
    /// The name for people.
    pub title: &'static str,
    /// The base URL used when the interface names none.
    pub base_url: &'static str,
    /// The addresses that can be replaced.
    pub urls: Vec<Url>,
    /// The parameters, in the order in which they are best asked for.
    pub params: &'static [Param],
    /// What the type can do.
    pub policy: Policy,
}

/// One address of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Url {
    /// The key in `Interface::urls`.
    pub name: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// The path used when the interface names none.
    pub path: &'static str,
}

/// Method and path of one operation.
#[derive(Debug)]
pub struct Operation {
    /// Which.
    pub op: Op,
    /// HTTP method.
    pub method: Method,
    /// Path below the base URL, beginning with `/`.
    pub path: &'static str,
}

/// One parameter of an interface, with the form its text must have.
#[derive(Debug, Serialize)]
pub struct Param {
    /// Its name in `Interface::params`.
    pub name: &'static str,
    /// What its text must look like.
    pub form: Form,
    /// Used when it is absent; `None` together with `required: false` means "not sent".
    pub default: Option<&'static str>,
    /// Whether an interface without it is refused.
    pub required: bool,
    /// Whether it must never be shown.
    pub secret: bool,
    /// One line for people.
    pub help: &'static str,
}

/// The form of a parameter's text.
#[derive(Debug, Serialize)]
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
        words: &'static [&'static str],
    },
}

/// A number that works but is unwise.
#[derive(Debug, Serialize)]
pub struct WarnBelow {
    /// The least wise one.
    pub least: u64,
    /// What happens below it.
    pub why: &'static str,
}

/// One rule of the table that turns an answer into a class.
#[derive(Debug)]
pub struct Code {
    /// Which codes it speaks of.
    pub code: CodeMatch,
    /// Which class they get.
    pub class: Class,
    /// How long the vendor asks to stay away, in milliseconds.
    pub wait_ms: Option<u64>,
    /// Whether it shows that our credentials are not accepted, which opens the breaker.
    pub auth: Auth,
    /// What it means, for people.
    pub meaning: &'static str,
}

/// What a rule matches.
#[derive(Debug)]
pub enum CodeMatch {
    /// The code, exactly.
    Is(&'static str),
    /// Every code that begins so.
    Prefix(&'static str),
    /// The record does not exist: success for unbind, "none" for query.
    Gone(&'static str),
}

impl CodeMatch {
    fn matches(&self, code: &str) -> bool {
        match self {
            CodeMatch::Is(word) | CodeMatch::Gone(word) => *word == code,
            CodeMatch::Prefix(word) => code.starts_with(word),
        }
    }
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

impl Description {
    /// The operation's method and path; `None` when the vendor has no such operation.
    pub fn operation(&self, op: Op) -> Option<&'static Operation> {
        self.operations.iter().find(|o| o.op == op)
    }

    /// What people are shown of it.
    pub fn schema(&self) -> Schema {
        let mut urls: Vec<Url> = Vec::new();
        for operation in self.operations {
            let name = operation.op.url_key();
            if urls.iter().all(|url| url.name != name) {
                urls.push(Url {
                    name,
                    method: operation.method.word(),
                    path: operation.path,
                });
            }
        }
        Schema {
            id: self.id,
            name: self.name,
            title: self.title,
            base_url: self.base_url,
            urls,
            params: self.params,
            policy: self.policy,
        }
    }

    /// The parameter's description, `None` for an unknown name.
    pub fn param(&self, name: &str) -> Option<&'static Param> {
        self.params.iter().find(|p| p.name == name)
    }

    /// What an answer means that is not success: by the vendor's code first, then, for a code the
    /// table does not know or an answer without one, by HTTP status. A server error is never taken
    /// as proof that nothing was applied.
    pub fn verdict(&self, status: u16, code: Option<&str>) -> Verdict {
        if let Some(code) = code
            && let Some(rule) = self.codes.iter().find(|rule| rule.code.matches(code))
        {
            return Verdict {
                class: rule.class,
                wait_ms: rule.wait_ms,
                auth: rule.auth,
                gone: matches!(rule.code, CodeMatch::Gone(_)),
            };
        }
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
            200..=299 | 400..=499 if code.is_some() => plain(Class::Permanent),
            // Wrong path, wrong proxy, forbidden source: nothing a call can cure.
            300..=399 | 403 | 404 | 405 => plain(Class::Config),
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
            Form::Choice { words } if !words.contains(&value) => Some(Finding::error(
                field(),
                format!("\"{shown}\" is none of {}", words.join(", ")),
            )),
            Form::Choice { .. } => None,
        }
    }
}
