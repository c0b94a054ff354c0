//! What the simulated vendors have in common: a vendor is a [`Dialect`], a table of a few functions
//! and rules over a [`Desk`] that keeps bindings, nonces and requests' own ids.
//!
//! Pure: the clock comes in. Huawei is written out by itself in [`super::huawei`], for it has
//! relations and bindings side by side and blocks addresses.

pub mod crypt;
pub mod desk;
pub mod envelope;
pub mod fields;
pub mod gate;
pub mod nonces;
pub mod notation;
pub mod pairs;
pub mod times;

use std::borrow::Cow;

use serde_json::Value;

pub use super::table::{Conflict, Row, Scope};
pub use super::vendor::{Answer, Call, Entry};
pub use desk::{Booth, Clash, Desk};
pub use envelope::Envelope;
pub use fields::{Codes, Fields};
pub use gate::{Claim, Gate};
pub use notation::Notation;

/// A request that is not served: the vendor's code and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The code.
    pub code: Cow<'static, str>,
    /// The text.
    pub text: Cow<'static, str>,
}

impl Refused {
    /// A refusal with a code of the vendor's table.
    pub fn new(code: &'static str, text: impl Into<Cow<'static, str>>) -> Refused {
        Refused {
            code: Cow::Borrowed(code),
            text: text.into(),
        }
    }
}

/// A request that has been let in.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The request.
    pub call: &'a Call<'a>,
    /// The word of the log for it.
    pub op: &'static str,
    /// Unix milliseconds.
    pub now_ms: u64,
    /// Bind on this X (E.164) instead of the one asked for.
    pub other_x: Option<&'a str>,
}

impl Ask<'_> {
    /// When a binding ends that lasts so many seconds; one of 0 never does.
    pub fn until(&self, lasts_s: u64) -> Option<u64> {
        (lasts_s > 0).then(|| self.now_ms + lasts_s * 1000)
    }
}

/// How one vendor speaks.
#[derive(Debug)]
pub struct Dialect {
    /// Its word: the prefix of its paths and its section in the configuration.
    pub word: &'static str,
    /// Which bindings may stand side by side.
    pub scope: Scope,
    /// Tolerated difference between the clocks, in seconds.
    pub skew_s: u64,
    /// Makes a binding's id of the number of this run and the binding's own number in it.
    pub id: fn(u32, u64) -> String,
    /// Code and text of a throttled request, an internal error and an unknown path or action.
    pub throttled: (&'static str, &'static str),
    /// See `throttled`.
    pub internal: (&'static str, &'static str),
    /// See `throttled`.
    pub unknown: (&'static str, &'static str),
    /// Names of the fields with A, X, B and the binding's id, for the log of what is refused
    /// (blanks between several).
    pub names: [&'static str; 4],
    /// The word of the log for a request.
    pub op: fn(&Call) -> &'static str,
    /// Checks who asks.
    pub authenticate: fn(&mut Desk, &Call, u64) -> Result<(), Refused>,
    /// Serves a request that has been let in.
    pub serve: fn(&mut Desk, &Ask) -> Result<Answer, Refused>,
    /// Status, headers and body of a refusal; the rest is filled in.
    pub refuse: fn(&mut Desk, &Call, &Refused) -> Answer,
}

/// A served request's answer with status 200.
pub fn served(code: &str, body: &Value, entry: Entry) -> Answer {
    Answer {
        status: 200,
        code: code.to_owned(),
        body: body.to_string(),
        entries: vec![entry],
        ..Answer::default()
    }
}

/// A vendor's codes for what its table refuses. The texts are the same everywhere and tell apart
/// what some vendors have one code for.
#[derive(Clone, Copy, Debug)]
pub struct Clashes {
    /// These very numbers are bound.
    pub same: &'static str,
    /// A or B appears on X, or X is taken.
    pub busy: &'static str,
    /// X is full, or none is free.
    pub none_free: &'static str,
    /// X is not the application's.
    pub unknown_x: &'static str,
    /// Two of the numbers are one.
    pub alike: &'static str,
}

impl Clashes {
    /// The refusal.
    pub fn refusal(&self, clash: &Clash) -> Refused {
        let (code, text) = match clash {
            Clash::Table(Conflict::Same(_)) => (self.same, "these numbers are bound already"),
            Clash::Table(Conflict::Full) | Clash::NoneFree => (
                self.none_free,
                "the pool is exhausted, no number X is available",
            ),
            Clash::Table(_) => (self.busy, "number X is bound already"),
            Clash::NotOurs => (self.unknown_x, "number X does not exist"),
            Clash::Alike => (self.alike, "numbers must differ"),
        };
        Refused::new(code, text)
    }

    /// Makes a binding as asked; its id and what it has become.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn bind(&self, desk: &mut Desk, row: Row, ask: &Ask) -> Result<(String, Row), Refused> {
        let bound = desk.bind(row, ask.other_x);
        bound.map_err(|clash| self.refusal(&clash))
    }

    /// Changes a binding.
    ///
    /// # Errors
    /// When it cannot be; nothing has changed then.
    pub fn change(&self, desk: &mut Desk, id: &str, row: &Row) -> Result<(), Refused> {
        let changed = desk.change(id, row.clone());
        changed.map_err(|clash| self.refusal(&clash))
    }
}

/// How long a binding may be asked for at most, where a vendor names no bound: a year of seconds.
pub const YEAR_S: u64 = 31_536_000;

/// The binding that is asked for under these names of A, X and B; X may be absent. It ends after
/// so many seconds, after 0 never.
pub fn wanted(
    fields: &Fields,
    [a, x, b]: [&str; 3],
    notation: Notation,
    lasts_s: u64,
    ask: &Ask,
) -> Result<Row, Refused> {
    Ok(Row {
        a: fields.need_number(a, notation)?,
        x: fields.number(x, notation)?.unwrap_or_default(),
        b: fields.need_number(b, notation)?,
        since_ms: ask.now_ms,
        expires_ms: ask.until(lasts_s),
        ..Row::default()
    })
}

/// A value as it is signed: a text as it is, all else as JSON.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An id like `0a1b2c3d-00000001`.
pub fn plain_id(run: u32, serial: u64) -> String {
    format!("{run:08x}-{serial:08}")
}

/// An id of digits only, which fits 63 bits.
pub fn digits_id(run: u32, serial: u64) -> String {
    format!(
        "{}",
        1_000_000_000_000_000_000 + u64::from(run) * 1_000_000_000 + serial
    )
}

/// An id of 32 hex digits.
pub fn hex_id(run: u32, serial: u64) -> String {
    format!("{run:08x}{serial:024x}")
}

/// An id in the form of a UUID.
pub fn uuid_id(run: u32, serial: u64) -> String {
    format!("{run:08x}-0000-4000-8000-{serial:012x}")
}
