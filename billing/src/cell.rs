//! The values of a row's columns: as text for people and as SQL holds them.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::bills::Verdict;
use crate::event::EventKind;
use crate::matching::By;
use crate::money::Money;
use crate::record::{Handle, Serial};
use crate::time::Time;
use crate::usage::{AxbMode, EndReason, EndedBy};

/// A value as SQL holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'v> {
    Null,
    Int(i64),
    Text(Cow<'v, str>),
}

/// A type that fits into a column.
pub(crate) trait Cell: Sized {
    /// As JSON would show it, but without quotes; empty for null.
    fn text(&self) -> String;

    /// As SQL holds it.
    fn store(&self) -> Value<'_>;

    /// Back from SQL; `None` when the value is not one of this type.
    fn restore(value: Value<'_>) -> Option<Self>;
}

impl<C: Cell> Cell for Option<C> {
    fn text(&self) -> String {
        self.as_ref().map_or_else(String::new, C::text)
    }

    fn store(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, C::store)
    }

    fn restore(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => C::restore(value).map(Some),
        }
    }
}

/// Integers in SQL. `$int` and `$back` turn the type into an `i64` and back.
macro_rules! integers {
    ($($type:ty: $text:expr, $int:expr, $back:expr;)+) => {
        $(impl Cell for $type {
            fn text(&self) -> String {
                let text: fn(&$type) -> String = $text;
                text(self)
            }

            fn store(&self) -> Value<'_> {
                let int: fn(&$type) -> i64 = $int;
                Value::Int(int(self))
            }

            fn restore(value: Value<'_>) -> Option<$type> {
                let back: fn(i64) -> Option<$type> = $back;
                match value {
                    Value::Int(int) => back(int),
                    _ => None,
                }
            }
        })+
    };
}

integers! {
    u8: u8::to_string, |&n| n.into(), |n| n.try_into().ok();
    u16: u16::to_string, |&n| n.into(), |n| n.try_into().ok();
    u32: u32::to_string, |&n| n.into(), |n| n.try_into().ok();
    bool: bool::to_string, |&flag| flag.into(), |n| Some(n != 0);
    i64: i64::to_string, |&n| n, Some;
    u64: u64::to_string, |&n| i64::try_from(n).unwrap_or(i64::MAX), |n| n.try_into().ok();
    Money: Money::to_string, |money| money.micros(), |n| Some(Money::from_micros(n));
    Time: Time::to_string,
        |time| i64::try_from(time.ms()).unwrap_or(i64::MAX),
        |n| n.try_into().ok().map(Time::from_ms);
    // The same 64 bits, so that ids above 2^63 survive; only equality is ever asked.
    Serial: Serial::to_string, |serial| serial.0 as i64, |n| Some(Serial(n as u64));
    EndedBy: |by| by.number().to_string(),
        |by| by.number().into(),
        |n| n.try_into().ok().and_then(EndedBy::from_number);
}

impl Cell for String {
    fn text(&self) -> String {
        self.clone()
    }

    fn store(&self) -> Value<'_> {
        Value::Text(self.into())
    }

    fn restore(value: Value<'_>) -> Option<String> {
        match value {
            Value::Text(text) => Some(text.into_owned()),
            _ => None,
        }
    }
}

/// Texts in SQL that are read back by `FromStr`.
macro_rules! parsed {
    ($($type:ty: $store:expr;)+) => {
        $(impl Cell for $type {
            fn text(&self) -> String {
                self.store_text().into_owned()
            }

            fn store(&self) -> Value<'_> {
                Value::Text(self.store_text())
            }

            fn restore(value: Value<'_>) -> Option<$type> {
                match value {
                    Value::Text(text) => text.parse().ok(),
                    _ => None,
                }
            }
        }

        impl StoreText for $type {
            fn store_text(&self) -> Cow<'static, str> {
                let store: fn(&$type) -> Cow<'static, str> = $store;
                store(self)
            }
        })+
    };
}

/// The one text form of a parsed type.
trait StoreText {
    fn store_text(&self) -> Cow<'static, str>;
}

parsed! {
    IpAddr: |ip| Cow::Owned(ip.to_string());
    AxbMode: |mode| Cow::Borrowed(mode.key());
    EventKind: |kind| Cow::Borrowed(kind.key());
    Verdict: |verdict| Cow::Borrowed(verdict.key());
    By: |by| Cow::Borrowed(by.key());
    Handle: |handle| Cow::Owned(handle.to_string());
    EndReason: |reason| match reason.key() {
        Some(key) => Cow::Borrowed(key),
        None => Cow::Owned(reason.to_string()),
    };
}
