//! What every simulated vendor is to the rest: a request comes in, an answer and lines for the log
//! go out. Pure: clock and draws come in.

use std::fmt::Debug;
use std::net::IpAddr;

use super::Binding;
use super::sip::Route;
use super::table::Row;
use crate::numbers::from_e164;

/// A request as HTTP gave it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: &'a str,
    /// The path without the vendor's prefix.
    pub path: &'a str,
    /// The raw query without `?`.
    pub query: &'a str,
    /// Headers, names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
    /// Who asks.
    pub peer: IpAddr,
}

impl<'a> Call<'a> {
    /// A header that is there exactly once; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        header(self.headers, name)
    }
}

/// A header that is there exactly once; names in lower case.
pub fn header<'a>(headers: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    let mut values = headers.iter().filter(|(n, _)| *n == name).map(|(_, v)| *v);
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// What is answered and logged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The vendor's code, empty for a wrong path.
    pub code: String,
    /// Headers beside `Content-Type`.
    pub headers: Vec<(&'static str, String)>,
    /// `Content-Type`; empty: JSON in UTF-8.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
    /// At least one.
    pub entries: Vec<Entry>,
}

/// What a line of the log says about a request; numbers in our notation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// One of the words of the log.
    pub op: &'static str,
    /// A.
    pub a: String,
    /// X.
    pub x: String,
    /// B.
    pub b: String,
    /// The binding.
    pub bind_id: String,
    /// Whether a binding came, went or changed.
    pub applied: bool,
}

impl Entry {
    /// The line about a binding.
    pub fn of(op: &'static str, id: &str, row: &Row, applied: bool) -> Entry {
        Entry {
            op,
            a: from_e164(&row.a),
            x: from_e164(&row.x),
            b: from_e164(&row.b),
            bind_id: id.to_owned(),
            applied,
        }
    }
}

/// What carries a call, and what a platform tells of it afterwards. Numbers in E.164, the route in
/// our notation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carrier {
    /// Where the call goes.
    pub route: Route,
    /// The binding.
    pub bind_id: String,
    /// A.
    pub a: String,
    /// X.
    pub x: String,
    /// B, or whoever calls the A of a relation.
    pub b: String,
    /// The first id that the one who asked gave it, empty without one.
    pub own_id: String,
    /// Echoed.
    pub user_data: String,
    /// Whether calls are recorded.
    pub recorded: bool,
    /// When it was made, Unix milliseconds.
    pub since_ms: u64,
}

impl Carrier {
    /// A binding, for a call of its A.
    pub fn out(id: &str, row: &Row, callee: &str) -> Carrier {
        Carrier {
            route: Route::Out(from_e164(callee)),
            bind_id: id.to_owned(),
            a: row.a.clone(),
            x: row.x.clone(),
            b: callee.to_owned(),
            own_id: row.own_ids.first().cloned().unwrap_or_default(),
            user_data: row.user_data.clone(),
            recorded: row.recorded,
            since_ms: row.since_ms,
        }
    }
}

/// One application at one vendor.
pub trait Vendor: Debug + Send {
    /// The word of the log for what is asked; `other` for what the vendor does not serve.
    fn op(&self, call: &Call) -> &'static str;

    /// Checks path, method and credentials; afterwards the request may be refused by a fault.
    ///
    /// # Errors
    /// The answer that ends it.
    fn admit(&mut self, call: &Call, now_ms: u64) -> Result<(), Answer>;

    /// Serves an admitted request. What is bound is bound on `other_x` instead of the X asked for,
    /// if there is one (E.164).
    fn serve(&mut self, call: &Call, now_ms: u64, other_x: Option<&str>) -> Answer;

    /// The answer to a request that is refused without effect, with the status of the code; empty:
    /// the vendor's internal error; `None`: throttled.
    fn refused_by_fault(&mut self, call: &Call, code: Option<&str>) -> Answer;

    /// All live bindings and relations, oldest first.
    fn bindings(&mut self, now_ms: u64) -> Vec<Binding>;

    /// The binding or relation that carries a call to X; numbers may come in any notation.
    fn carrier(&mut self, from: &str, x: &str, now_ms: u64) -> Option<Carrier>;

    /// Where a call to X goes.
    fn route(&mut self, from: &str, x: &str, now_ms: u64) -> Option<Route> {
        Some(self.carrier(from, x, now_ms)?.route)
    }

    /// Forgets failed authentications.
    fn lift_blocks(&mut self);
}
