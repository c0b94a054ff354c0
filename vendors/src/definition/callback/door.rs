//! What a push passes before anything of it is read: method, size, encoding, proof.

use subtle::ConstantTimeEq;

use super::event::Notation;
use super::received::{Body, Received};
use super::{CallbackError, CallbackRequest, short};
use crate::definition::NOWHERE;
use crate::definition::program::{Bound, Eval, Program, Values};
use crate::definition::value::{Node, Value};
use crate::exchange::{Attempt, Method};
use crate::outcome::Failure;

/// How one push, or one question, is let in.
#[derive(Debug)]
pub(in crate::definition) struct Door {
    /// Its name, for errors.
    pub(in crate::definition) name: String,
    pub(in crate::definition) method: Method,
    pub(in crate::definition) body: Body,
    /// Longest body, in bytes.
    pub(in crate::definition) bytes_max: usize,
    /// Steps of `auth`.
    pub(in crate::definition) program: Program,
    /// Any of them will do.
    pub(super) auth: Vec<Auth>,
    /// Whether some expression reads what follows the name in the path.
    pub(in crate::definition) has_suffix: bool,
}

/// One way in which a platform proves that it is the sender.
#[derive(Debug)]
pub(in crate::definition) struct Auth {
    /// What it must have sent.
    pub(super) expected: Node,
    /// What it sent.
    pub(super) given: Node,
    /// Several values may be given, with this between them; one that fits is enough.
    pub(super) list: Option<char>,
    pub(super) moment: Option<Moment>,
}

/// When a push was signed, and how far that may be from our own time.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) at: Node,
    pub(super) notation: Notation,
    /// Seconds; 0 or absent: any.
    pub(super) skew_s: Node,
}

impl Door {
    /// The body's text, if method, size and encoding are right.
    pub(in crate::definition) fn text<'a>(
        &self,
        request: &CallbackRequest<'a>,
    ) -> Result<&'a str, CallbackError> {
        let name = || self.name.clone();
        if request.method != self.method.word() {
            return Err(CallbackError::Method {
                name: name(),
                wanted: self.method.word(),
                got: short(request.method),
            });
        }
        if request.body.len() > self.bytes_max {
            return Err(CallbackError::TooLarge {
                name: name(),
                bytes: request.body.len(),
                most: self.bytes_max,
            });
        }
        if !request.suffix.is_empty() && !self.has_suffix {
            return Err(CallbackError::Unproved {
                name: name(),
                why: "nothing may follow its name in the path".to_owned(),
            });
        }
        let text = std::str::from_utf8(request.body).map_err(|error| CallbackError::Malformed {
            name: name(),
            why: format!("is no utf-8 at byte {}", error.valid_up_to()),
        })?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// Whether one of the proofs holds; else what the one that came nearest lacks.
    pub(in crate::definition) fn prove(
        &self,
        received: &Received<'_>,
        params: &[Bound],
    ) -> Result<(), CallbackError> {
        let now_ms = received.now_ms();
        let values = Values::default();
        let attempt = Attempt {
            now_ms,
            nonce: String::new(),
        };
        let eval = Eval::new(&self.program, params, &NOWHERE, &values, &attempt);
        let eval = eval.receiving(received);
        let mut nearest = (
            0,
            CallbackError::Unconfigured {
                name: self.name.clone(),
            },
        );
        for auth in &self.auth {
            match self.proved(auth, &eval, params, now_ms) {
                Ok(()) => return Ok(()),
                Err(failed) if failed.0 > nearest.0 => nearest = failed,
                Err(_) => {}
            }
        }
        Err(nearest.1)
    }

    /// Whether one proof holds; else how near it came, and what it lacks.
    fn proved(
        &self,
        auth: &Auth,
        eval: &Eval<'_>,
        params: &[Bound],
        now_ms: u64,
    ) -> Result<(), (u8, CallbackError)> {
        let name = || self.name.clone();
        let unproved = |why: String| CallbackError::Unproved { name: name(), why };
        let missing = |failure: Failure| (1, unproved(failure.text));
        let given = eval.value(&auth.given).map_err(missing)?;
        let expected = eval.value(&auth.expected).map_err(missing)?;
        let (given, expected) = (given.text(), expected.text());
        // A parameter without a value: nobody can prove that.
        if expected.is_empty() {
            return Err((0, CallbackError::Unconfigured { name: name() }));
        }
        if given.is_empty() {
            return Err((1, unproved("it carries no proof".to_owned())));
        }
        let fits = |given: &str| bool::from(given.as_bytes().ct_eq(expected.as_bytes()));
        let fits = match auth.list {
            None => fits(&given),
            Some(between) => given.split(between).any(|one| fits(one.trim())),
        };
        if !fits {
            let why = "its signature or secret is wrong".to_owned();
            return Err((2, unproved(why)));
        }
        let Some(moment) = &auth.moment else {
            return Ok(());
        };
        let skew_s = match eval.value(&moment.skew_s).map_err(missing)? {
            Value::Integer(skew_s) => u64::try_from(skew_s).unwrap_or(0),
            _ => 0,
        };
        if skew_s == 0 {
            return Ok(());
        }
        let at = eval.value(&moment.at).map_err(missing)?;
        let Some(at) = moment.notation.read(&at.text(), params) else {
            let why = "the time it was signed cannot be read".to_owned();
            return Err((3, unproved(why)));
        };
        let off_s = at.abs_diff(now_ms) / 1_000;
        if off_s > skew_s {
            let error = CallbackError::Stale {
                name: name(),
                off_s,
                skew_s,
            };
            return Err((4, error));
        }
        Ok(())
    }
}
