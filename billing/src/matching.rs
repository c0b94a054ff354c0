//! Which call a platform's event is about. Pure.
//!
//! By the binding first: the platform names it by its own handle, or echoes our id of it. Where it
//! does neither, by X with A or B at that time. Platforms send bills hours after the call, before
//! its hang-up event, twice, or without a binding, so nothing follows from the order of arrival:
//! the question is asked anew whenever somebody looks, and an event without a call may have one
//! later.

use std::collections::{BTreeSet, HashMap};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::event::{EventKind, PlatformEvent};
use crate::money::Money;
use crate::record::{Handle, Serial};
use crate::time::Time;
use crate::usage::UnknownKey;

/// How far a platform's clock may be from ours. Those that check our clock allow 1 to 15 minutes;
/// two servers that keep time at all are seconds apart.
pub const SKEW_MS: u64 = 5 * 60_000;
/// How long a call may take from its INVITE to the answer: three minutes of ringing and a platform
/// that tries B a second time.
pub const SETUP_MS: u64 = 5 * 60_000;
/// How long before its only known moment, such as its end, a call may have begun.
pub const CALL_MAX_MS: u64 = 6 * 3_600_000;
/// Two calls that fit a moment to within this much of each other cannot be told apart by it:
/// platforms tell whole seconds, and their legs begin some seconds after ours.
pub const CLOSE_MS: u64 = 10_000;
/// An id of ours that comes back this far from its call belongs to another switch that shares the
/// platform's account.
const OWN_ID_MS: u64 = 24 * 3_600_000;

/// A call that got an (A,X), as far as it takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Number of its record in the store.
    pub seq: u64,
    /// The record's own number.
    pub flow_no: Serial,
    /// Interface that X belongs to.
    pub interface_name: String,
    /// The binding made for it.
    pub binding_id: Option<Serial>,
    /// What the platform calls that, or the standing relation.
    pub handle: Handle,
    /// A.
    pub a_number: String,
    /// X.
    pub x_number: String,
    /// B.
    pub b_number: String,
    /// B', as the platform got it.
    pub b_submitted: String,
    /// When the INVITE came.
    pub started_at: Time,
    /// When the callee answered.
    pub answered_at: Option<Time>,
    /// When it ended.
    pub ended_at: Time,
    /// From answer to end, in seconds.
    pub hold_secs: u32,
    /// The hold rounded up by the platform's rate, in seconds.
    pub axb_bill_secs: u32,
    /// What we owe the platform by our rate.
    pub axb_fee: Money,
}

/// Why an event belongs to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The platform echoes our id of the binding.
    OwnId,
    /// The platform names the binding.
    Handle,
    /// X, A or B, and the time fit.
    Numbers,
}

impl By {
    /// The word for people.
    pub const fn key(self) -> &'static str {
        match self {
            By::OwnId => "own_id",
            By::Handle => "handle",
            By::Numbers => "numbers",
        }
    }
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.key())
    }
}

impl<'de> Deserialize<'de> for By {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<By, D::Error> {
        let key = String::deserialize(deserializer)?;
        key.parse().map_err(de::Error::custom)
    }
}

impl FromStr for By {
    type Err = UnknownKey;

    fn from_str(key: &str) -> Result<By, UnknownKey> {
        let mut all = [By::OwnId, By::Handle, By::Numbers].into_iter();
        all.find(|by| by.key() == key)
            .ok_or_else(|| UnknownKey::of(key))
    }
}

/// The call of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'c> {
    /// The one that fits best.
    pub call: &'c Call,
    /// Why.
    pub by: By,
    /// Another one fits as well, to within [`CLOSE_MS`].
    pub ambiguous: bool,
}

/// Calls among which events look for theirs.
#[derive(Debug, Default)]
pub struct Calls {
    calls: Vec<Call>,
    /// Places in `calls` by whatever an event may know them by.
    places: HashMap<Key, Vec<usize>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Binding(u64),
    Handle(String, String),
    X(String),
}

impl Calls {
    /// Of these calls, each once.
    pub fn new(mut calls: Vec<Call>) -> Calls {
        calls.sort_by_key(|call| call.seq);
        calls.dedup_by_key(|call| call.seq);
        let mut places: HashMap<Key, Vec<usize>> = HashMap::new();
        for (place, call) in calls.iter().enumerate() {
            let binding = call.binding_id.map(|id| Key::Binding(id.0));
            let handle = call.handle.values();
            let handle = handle.map(|(name, value)| Key::Handle(name.to_owned(), value.to_owned()));
            let x = Key::X(core(&call.x_number).to_owned());
            for key in binding.into_iter().chain(handle).chain([x]) {
                places.entry(key).or_default().push(place);
            }
        }
        Calls { calls, places }
    }

    /// All of them, in the order of their numbers.
    pub fn all(&self) -> &[Call] {
        &self.calls
    }

    /// The call that an event is about.
    pub fn find(&self, event: &PlatformEvent) -> Option<Found<'_>> {
        let own = own_id(event).map(Key::Binding);
        let handle = event.handle.values();
        let handle = handle.map(|(name, value)| Key::Handle(name.to_owned(), value.to_owned()));
        let x = (!event.x_number.is_empty()).then(|| Key::X(core(&event.x_number).to_owned()));
        let keys = own.into_iter().chain(handle).chain(x);
        let places: BTreeSet<usize> = keys
            .filter_map(|key| self.places.get(&key))
            .flatten()
            .copied()
            .collect();
        best(event, places.into_iter().map(|place| &self.calls[place]))
    }
}

/// The call that fits an event best.
fn best<'c>(event: &PlatformEvent, calls: impl Iterator<Item = &'c Call>) -> Option<Found<'c>> {
    let mut fitting: Vec<(bool, u64, By, &Call)> = calls
        .filter_map(|call| {
            let by = fits(event, call)?;
            Some((by == By::Numbers, distance(event, call), by, call))
        })
        .collect();
    // Of equally near ones the first: alike on all nodes.
    fitting.sort_by_key(|(weak, distance, _, call)| (*weak, *distance, call.seq));
    let (weak, nearest, by, call) = *fitting.first()?;
    let ambiguous = fitting
        .get(1)
        .is_some_and(|next| next.0 == weak && next.1 - nearest <= CLOSE_MS);
    Some(Found {
        call,
        by,
        ambiguous,
    })
}

/// Our id of the binding, if the event echoes one. Relations have ids that are no numbers, and
/// stand for many calls.
pub fn own_id(event: &PlatformEvent) -> Option<u64> {
    event.own_id.parse().ok()
}

/// Whether the event may be about the call, and why.
fn fits(event: &PlatformEvent, call: &Call) -> Option<By> {
    if event.interface_name != call.interface_name {
        return None;
    }
    let mut named = false;
    for (name, told) in event.handle.values() {
        match call.handle.get(name) {
            Some(known) if known == told => named = true,
            Some(_) => return None,
            None => {}
        }
    }
    let other_x = !event.x_number.is_empty() && !same_number(&event.x_number, &call.x_number);
    let (told, known) = (own_id(event), call.binding_id.map(|id| id.0));
    if named {
        // A standing relation carries call after call under one name.
        let here = known.is_some() || span(event).contains(call.started_at.ms());
        let by = if told.is_some() && told == known {
            By::OwnId
        } else {
            By::Handle
        };
        return here.then_some(by);
    }
    if other_x {
        return None;
    }
    match (told, known) {
        (Some(told), Some(known)) if told == known => {
            let near = distance(event, call) <= OWN_ID_MS;
            return near.then_some(By::OwnId);
        }
        (Some(_), Some(_)) => return None,
        _ => {}
    }
    let a = same_number(&event.a_number, &call.a_number);
    let b = [&call.b_number, &call.b_submitted];
    let b = b.iter().any(|b| same_number(&event.b_number, b));
    let x = !event.x_number.is_empty();
    (x && (a || b) && span(event).contains(call.started_at.ms())).then_some(By::Numbers)
}

/// The moments between which a call began, both included, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Not before this.
    pub from: u64,
    /// Not after this.
    pub to: u64,
}

impl Span {
    fn contains(self, ms: u64) -> bool {
        (self.from..=self.to).contains(&ms)
    }
}

/// When the call of an event began, by our clock, as far as the event tells it.
pub fn span(event: &PlatformEvent) -> Span {
    let around = |first: u64, last: u64| Span {
        from: first.saturating_sub(SKEW_MS),
        to: last.saturating_add(SKEW_MS),
    };
    let before = |time: Time, ms: u64| around(time.ms().saturating_sub(ms), time.ms());
    let at = |kinds: &[EventKind]| event.at.filter(|_| kinds.contains(&event.kind));
    if let Some(time) = event.started_at.or(at(&[EventKind::Started])) {
        return before(time, 0);
    }
    let connecting = event.answered_at.or(event.ringing_at);
    if let Some(time) = connecting.or(at(&[EventKind::Ringing, EventKind::Answered])) {
        return before(time, SETUP_MS);
    }
    match (event.ended_at.or(event.at), event.duration_ms) {
        (Some(end), Some(talk)) => {
            let answered = end.ms().saturating_sub(talk);
            around(answered.saturating_sub(SETUP_MS), end.ms())
        }
        (Some(end), None) => before(end, CALL_MAX_MS),
        // It tells no time, so all there is to go by is when it came.
        (None, _) => before(event.received_at, CALL_MAX_MS),
    }
}

/// How far a moment of the event is from the same moment of the call, in milliseconds.
fn distance(event: &PlatformEvent, call: &Call) -> u64 {
    let off = |one: Time, other: Time| one.ms().abs_diff(other.ms());
    let answered = call.answered_at.unwrap_or(call.started_at);
    if let Some(time) = event.started_at.or(event.ringing_at) {
        return off(time, call.started_at);
    }
    if let Some(time) = event.answered_at {
        return off(time, answered);
    }
    match (event.at, event.kind) {
        (Some(at), EventKind::Started | EventKind::Ringing) => off(at, call.started_at),
        (Some(at), EventKind::Answered) => off(at, answered),
        (at, _) => {
            let last = event.ended_at.or(at).unwrap_or(event.received_at);
            off(last, call.ended_at)
        }
    }
}

/// Whether two texts are one number: without country code 86, international prefix and leading
/// zeros, and with any digit where a platform shows an asterisk.
fn same_number(one: &str, other: &str) -> bool {
    let (one, other) = (core(one), core(other));
    let digits = one.bytes().filter(|byte| *byte != b'*').count();
    // So few digits are nobody's number.
    if digits < 3 || one.len() != other.len() {
        return false;
    }
    let alike = |(one, other): (u8, u8)| one == other || one == b'*' || other == b'*';
    one.bytes().zip(other.bytes()).all(alike)
}

/// A number without what platforms add or leave out.
fn core(number: &str) -> &str {
    let number = number.strip_prefix('+').unwrap_or(number);
    let number = number.trim_start_matches('0');
    match number.strip_prefix("86") {
        // The shortest national number with its area code.
        Some(national) if national.trim_start_matches('0').len() >= 8 => {
            national.trim_start_matches('0')
        }
        _ => number,
    }
}

#[cfg(test)]
mod tests;
