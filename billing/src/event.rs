//! What a platform tells of a call: its events, its bill, its recording. One row each, told once.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::cell::{Cell, Value};
use crate::matching::By;
use crate::money::Money;
use crate::record::{Handle, Row, Serial, Stored, row};
use crate::time::Time;
use crate::usage::UnknownKey;

/// Longest text of an event but [`PlatformEvent::recording`] and [`PlatformEvent::handle`], bytes.
pub const TEXT_MAX: usize = 256;
/// Longest address of a recording, bytes.
pub const URL_MAX: usize = 2_048;

/// Declares the kinds once, with the key and the frozen number of each.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $name:ident = $number:literal $key:literal,)+) => {
        /// What an event tells.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $($(#[$doc])+ $name,)+
        }

        impl EventKind {
            /// All of them.
            pub const ALL: &[EventKind] = &[$(EventKind::$name,)+];

            /// The word in records.
            pub const fn key(self) -> &'static str {
                match self {
                    $(EventKind::$name => $key,)+
                }
            }

            /// The number in encoded events.
            const fn number(self) -> u8 {
                match self {
                    $(EventKind::$name => $number,)+
                }
            }
        }
    };
}

kinds! {
    /// Something that none of the others says.
    #[default]
    Other = 0 "other",
    /// The call arrived at the platform, or the platform calls B.
    Started = 1 "started",
    /// B rings.
    Ringing = 2 "ringing",
    /// B answered.
    Answered = 3 "answered",
    /// It is over.
    Ended = 4 "ended",
    /// The record by which the platform charges.
    Bill = 5 "bill",
    /// A recording is ready.
    Recording = 6 "recording",
}

impl FromStr for EventKind {
    type Err = UnknownKey;

    fn from_str(key: &str) -> Result<EventKind, UnknownKey> {
        let mut all = EventKind::ALL.iter().copied();
        all.find(|kind| kind.key() == key)
            .ok_or_else(|| UnknownKey::of(key))
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.key())
        } else {
            serializer.serialize_u8(self.number())
        }
    }
}

impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EventKind, D::Error> {
        if deserializer.is_human_readable() {
            let key = String::deserialize(deserializer)?;
            return key.parse().map_err(de::Error::custom);
        }
        let number = u8::deserialize(deserializer)?;
        let mut all = EventKind::ALL.iter().copied();
        all.find(|kind| kind.number() == number)
            .ok_or_else(|| de::Error::custom(format_args!("unknown event kind {number}")))
    }
}

row! {
    /// One event of a platform. What it did not tell is empty or null. The field order is that of
    /// the encoded form (see [`codec`](crate::codec)).
    pub struct PlatformEvent {
        /// When it arrived, by the clock of the node that took it.
        received_at: Time,
        /// Interface whose platform told it.
        interface_name: String,
        /// What it tells.
        kind: EventKind,
        /// A, by the platform's word. Some do not vouch for the numbers of events; bills are exact.
        a_number: String,
        /// X.
        x_number: String,
        /// B.
        b_number: String,
        /// When it happened, by the platform's clock, as are the next four.
        at: Option<Time>,
        /// When the call began.
        started_at: Option<Time>,
        /// When B rang.
        ringing_at: Option<Time>,
        /// When B answered.
        answered_at: Option<Time>,
        /// When it ended.
        ended_at: Option<Time>,
        /// How long it was connected, in milliseconds.
        duration_ms: Option<u64>,
        /// What it cost, in the platform's currency.
        cost: Option<Money>,
        /// Why it ended, in the platform's codes.
        cause: String,
        /// Where a recording can be fetched.
        recording: String,
        /// The platform's name of the call.
        platform_call_id: String,
        /// Our own id of the binding, if the platform echoes it.
        own_id: String,
        /// What it named of the binding's handle.
        handle: Handle,
        /// The definition's name of the call-back that it came by.
        callback: String,
        /// The same for every repetition, and for nothing else of this interface and call-back.
        key: String,
        /// Access name of the node that took it.
        node: String,
    }
}

impl PlatformEvent {
    /// How long the call was connected by the platform's word, in milliseconds: as it says, else
    /// from answer to end. A call that ended and was never answered was not connected at all.
    pub fn connected_ms(&self) -> Option<u64> {
        if self.duration_ms.is_some() {
            return self.duration_ms;
        }
        let ended = self.ended_at?.ms();
        let answered = self.answered_at.map(Time::ms);
        Some(answered.map_or(0, |answered| ended.saturating_sub(answered)))
    }
}

row! {
    /// An event as people see it: with the call that it is about.
    pub struct Match {
        /// The call's record, when there is one by now.
        flow_no: Option<Serial>,
        /// How it was found; null while there is no record.
        matched_by: Option<By>,
        /// Another call fits nearly as well.
        ambiguous: bool,
    }
}

/// A [`PlatformEvent`] with its [`Match`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SeenEvent {
    /// What the platform told.
    #[serde(flatten)]
    pub event: PlatformEvent,
    /// Which call that is about.
    #[serde(flatten)]
    pub found: Match,
}

impl Row for SeenEvent {
    fn columns() -> &'static [&'static str] {
        use std::sync::LazyLock;
        static COLUMNS: LazyLock<Vec<&str>> =
            LazyLock::new(|| [PlatformEvent::columns(), Match::columns()].concat());
        &COLUMNS
    }

    fn values(&self) -> Vec<String> {
        let mut values = self.event.values();
        values.extend(self.found.values());
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_words_for_people_and_numbers_in_bytes() {
        for (number, kind) in (0..).zip(EventKind::ALL.iter().copied()) {
            assert_eq!(kind.key().parse::<EventKind>().expect("a key"), kind);
            assert_eq!(kind.number(), number);
        }
        assert!("hung up".parse::<EventKind>().is_err());
    }

    #[test]
    fn a_platform_that_tells_no_duration_has_told_it_by_answer_and_end() {
        let at = |ms| Some(Time::from_ms(ms));
        for (duration_ms, answered_at, ended_at, connected) in [
            (Some(5_000), at(1_000), at(9_000), Some(5_000)),
            (None, at(1_000), at(9_000), Some(8_000)),
            (None, at(9_000), at(1_000), Some(0)),
            (None, None, at(9_000), Some(0)),
            (None, at(1_000), None, None),
        ] {
            let event = PlatformEvent {
                duration_ms,
                answered_at,
                ended_at,
                ..PlatformEvent::default()
            };
            assert_eq!(event.connected_ms(), connected, "{event:?}");
        }
    }

    #[test]
    fn a_seen_event_has_a_value_for_each_column() {
        let seen = SeenEvent {
            event: PlatformEvent::default(),
            found: Match::default(),
        };
        assert_eq!(seen.values().len(), SeenEvent::columns().len());
        let json = serde_json::to_value(&seen).expect("json");
        let keys = json.as_object().expect("an object").keys();
        let mut columns = SeenEvent::columns().to_vec();
        columns.sort_unstable();
        assert_eq!(keys.collect::<Vec<_>>(), columns);
    }
}
