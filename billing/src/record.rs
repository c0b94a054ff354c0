//! The rows of `DOMAIN.md` §9: the CDR of every call and the AXB CDR of those that got an (A,X).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::cell::{Cell, Value};
use crate::money::Money;
use crate::time::Time;
use crate::usage::{AxbMode, EndReason, EndedBy};

/// What is stored of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The call's CDR.
    pub cdr: Cdr,
    /// What an AXB CDR adds to it, when the call got an (A,X).
    pub axb: Option<Axb>,
}

impl Record {
    /// The AXB CDR, when the call got an (A,X).
    pub fn axb_cdr(&self) -> Option<AxbCdr> {
        self.axb
            .clone()
            .map(|axb| AxbCdr::join(self.cdr.clone(), axb))
    }
}

/// A row that can be printed: the same names and order in JSON, CSV and tables.
pub trait Row: Serialize {
    /// Names of the columns, in order; they are the JSON keys too.
    fn columns() -> &'static [&'static str];

    /// One text for each column, as JSON would show it but without quotes; empty for null.
    fn values(&self) -> Vec<String>;
}

/// A row as SQL holds it.
pub(crate) trait Stored: Sized {
    /// The values in column order.
    fn store(&self, put: impl FnMut(Value<'_>));

    /// A row from its values in column order; the error names the column that holds no such thing.
    fn restore<'v>(next: impl FnMut() -> Value<'v>) -> Result<Self, &'static str>;
}

/// Declares a struct whose fields are columns.
macro_rules! row {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($(#[$doc:meta])+ $field:ident: $type:ty,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name { $($(#[$doc])+ pub $field: $type,)+ }

        impl Row for $name {
            fn columns() -> &'static [&'static str] {
                &[$(stringify!($field),)+]
            }

            fn values(&self) -> Vec<String> {
                vec![$(Cell::text(&self.$field),)+]
            }
        }

        impl Stored for $name {
            fn store(&self, mut put: impl FnMut(Value<'_>)) {
                $(put(Cell::store(&self.$field));)+
            }

            fn restore<'v>(mut next: impl FnMut() -> Value<'v>) -> Result<Self, &'static str> {
                Ok($name {
                    $($field: Cell::restore(next()).ok_or(stringify!($field))?,)+
                })
            }
        }
    };
}

pub(crate) use row;

row! {
    /// The record of one call attempt, answered or not. Fields stand in export order; the ones
    /// behind `call_id` are additions to the list of `DOMAIN.md` §9. Its order is also that of the
    /// encoded form (see [`codec`](crate::codec)): it changes only with a new version there.
    pub struct Cdr {
        /// The record's own number.
        flow_no: Serial,
        /// C, the caller as received.
        caller_access: String,
        /// N, the caller after rules.
        caller: String,
        /// The caller as sent.
        caller_out: String,
        /// The callee as received.
        callee_access: String,
        /// B, the callee after rules.
        callee: String,
        /// The callee as sent.
        callee_out: String,
        /// Mapping gateway.
        caller_gateway: String,
        /// Routing gateway.
        callee_gateway: String,
        /// Signalling address of the calling side.
        caller_ip: Option<IpAddr>,
        /// Signalling address of the called side.
        callee_ip: Option<IpAddr>,
        /// When the INVITE came.
        started_at: Time,
        /// When the callee answered.
        answered_at: Option<Time>,
        /// When the call ended.
        ended_at: Time,
        /// From answer to end, in seconds.
        hold_secs: u32,
        /// The hold rounded up by the customer's rate, in seconds.
        bill_secs: u32,
        /// What the customer pays.
        fee: Money,
        /// Prefix of the customer's rate.
        rate_prefix: String,
        /// Part of the hold taken from a package.
        package_secs: u32,
        /// Part of the fee taken from a package.
        package_fee: Money,
        /// Number of the customer's account.
        account: String,
        /// Why the call ended.
        end_reason: EndReason,
        /// Who ended it: 0 caller, 1 callee, 2 server.
        end_direction: EndedBy,
        /// Post-dial delay in milliseconds.
        pdd_ms: Option<u32>,
        /// Speech codec.
        codec: String,
        /// Access name of the node.
        node: String,
        /// Our id of the call.
        call_id: Serial,
        /// Name of the customer's account.
        account_name: String,
        /// Number of the carrier's settlement account.
        landing_account: String,
        /// The hold rounded up by the carrier's rate, in seconds.
        landing_bill_secs: u32,
        /// What we owe the carrier.
        landing_fee: Money,
        /// Final SIP status of the far end, 0 for none.
        sip_code: u16,
        /// Q.850 cause of the far end, 0 for none.
        q850_cause: u8,
        /// Call-ID of the calling side's dialog.
        sip_call_id: String,
    }
}

row! {
    /// What an AXB CDR adds to the call's CDR. The field order is that of the encoded form.
    pub struct Axb {
        /// A.
        a_number: String,
        /// X.
        x_number: String,
        /// B.
        b_number: String,
        /// B', as the platform got it.
        b_submitted: String,
        /// Interface that X belongs to.
        interface_name: String,
        /// A group that A was taken from.
        a_group: String,
        /// By a binding of its own or a standing one.
        mode: AxbMode,
        /// Number of the platform's settlement account.
        axb_account: String,
        /// Name of the platform's settlement account.
        axb_account_name: String,
        /// The hold rounded up by the platform's rate, in seconds.
        axb_bill_secs: u32,
        /// What we owe the platform.
        axb_fee: Money,
        /// Part of the hold taken from a package.
        axb_package_secs: u32,
        /// Part of the fee taken from a package.
        axb_package_fee: Money,
        /// The binding made for the call, by which the platform may name it; none over a standing
        /// one.
        binding_id: Option<Serial>,
        /// What the platform calls the binding.
        handle: Handle,
    }
}

row! {
    /// One line of the AXB settlement report (AXB 结算报表): the AXB CDRs of one account that
    /// started in one period.
    pub struct ReportRow {
        /// First moment of the period, or of the asked range if that begins later.
        period_start: Time,
        /// First moment behind the period, or behind the asked range if that ends earlier.
        period_end: Time,
        /// Number of the settlement account; empty for calls whose gateway names none.
        account: String,
        /// Its name, as on the latest of the rows.
        name: String,
        /// Sum of the AXB fees.
        total_fee: Money,
        /// Sum of the AXB billed times, in seconds.
        total_bill_secs: u64,
        /// Sum of the package fees.
        package_fee: Money,
        /// Sum of the package times, in seconds.
        package_secs: u64,
        /// How many rows.
        count: u64,
    }
}

row! {
    /// The record of a call that got an (A,X) (AXB 历史话单). Fields stand in export order; the
    /// ones behind `flow_no` are additions to the list of `DOMAIN.md` §9.
    pub struct AxbCdr {
        /// A.
        a_number: String,
        /// X.
        x_number: String,
        /// B.
        b_number: String,
        /// When the INVITE came.
        started_at: Time,
        /// When the call ended.
        ended_at: Time,
        /// From answer to end, in seconds.
        hold_secs: u32,
        /// The hold rounded up by the platform's rate, in seconds.
        axb_bill_secs: u32,
        /// What we owe the platform.
        axb_fee: Money,
        /// The hold rounded up by the carrier's rate, in seconds.
        landing_bill_secs: u32,
        /// What we owe the carrier.
        landing_fee: Money,
        /// The hold rounded up by the customer's rate, in seconds.
        bill_secs: u32,
        /// What the customer pays.
        fee: Money,
        /// Why the call ended.
        end_reason: EndReason,
        /// Who ended it: 0 caller, 1 callee, 2 server.
        end_direction: EndedBy,
        /// Mapping gateway.
        caller_gateway: String,
        /// Routing gateway.
        callee_gateway: String,
        /// Interface that X belongs to.
        interface_name: String,
        /// Number of the platform's settlement account.
        axb_account: String,
        /// Name of the platform's settlement account.
        axb_account_name: String,
        /// Number of the carrier's settlement account.
        landing_account: String,
        /// Number of the customer's account.
        account: String,
        /// Part of the hold taken from a package of the platform's account.
        axb_package_secs: u32,
        /// Part of the fee taken from a package of the platform's account.
        axb_package_fee: Money,
        /// The record's own number.
        flow_no: Serial,
        /// Fee less landing fee less AXB fee.
        profit: Money,
        /// When the callee answered.
        answered_at: Option<Time>,
        /// B', as the platform got it.
        b_submitted: String,
        /// A group that A was taken from.
        a_group: String,
        /// `axb` by a binding of its own, `ax` by a standing one.
        mode: AxbMode,
        /// Access name of the node.
        node: String,
        /// Our id of the call.
        call_id: Serial,
        /// The binding made for the call, by which the platform may name it; none over a standing
        /// one.
        binding_id: Option<Serial>,
        /// What the platform calls the binding.
        handle: Handle,
    }
}

impl AxbCdr {
    pub(crate) fn join(cdr: Cdr, axb: Axb) -> AxbCdr {
        AxbCdr {
            a_number: axb.a_number,
            x_number: axb.x_number,
            b_number: axb.b_number,
            started_at: cdr.started_at,
            ended_at: cdr.ended_at,
            hold_secs: cdr.hold_secs,
            axb_bill_secs: axb.axb_bill_secs,
            axb_fee: axb.axb_fee,
            landing_bill_secs: cdr.landing_bill_secs,
            landing_fee: cdr.landing_fee,
            bill_secs: cdr.bill_secs,
            fee: cdr.fee,
            end_reason: cdr.end_reason,
            end_direction: cdr.end_direction,
            caller_gateway: cdr.caller_gateway,
            callee_gateway: cdr.callee_gateway,
            interface_name: axb.interface_name,
            axb_account: axb.axb_account,
            axb_account_name: axb.axb_account_name,
            landing_account: cdr.landing_account,
            account: cdr.account,
            axb_package_secs: axb.axb_package_secs,
            axb_package_fee: axb.axb_package_fee,
            flow_no: cdr.flow_no,
            profit: cdr
                .fee
                .saturating_sub(cdr.landing_fee)
                .saturating_sub(axb.axb_fee),
            answered_at: cdr.answered_at,
            b_submitted: axb.b_submitted,
            a_group: axb.a_group,
            mode: axb.mode,
            node: cdr.node,
            call_id: cdr.call_id,
            binding_id: axb.binding_id,
            handle: axb.handle,
        }
    }
}

/// A 64-bit id. Where a person reads it is a decimal string, since JSON readers keep only 53 bits
/// of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub u64);

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Serial, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map(Serial).map_err(de::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Serial)
        }
    }
}

/// What a platform calls a binding: named values, such as `subscriptionId=fe12`. People and SQL see
/// one text, `name=value` joined by `&`, in which `%`, `&`, `=` and control characters of a value
/// are written as in a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Handle(BTreeMap<String, String>);

impl Handle {
    /// Most bytes of the text. Platforms' ids are far shorter.
    pub const BYTES_MAX: usize = 1_024;

    /// Of these values; those that do not fit in [`Handle::BYTES_MAX`] are left out, and so are
    /// empty ones.
    pub fn new<'v>(values: impl IntoIterator<Item = (&'v str, &'v str)>) -> Handle {
        let mut handle = Handle::default();
        let mut bytes = 0;
        for (name, value) in values {
            let more = escaped(name).len() + escaped(value).len() + 2;
            if !name.is_empty() && !value.is_empty() && bytes + more <= Handle::BYTES_MAX {
                bytes += more;
                handle.0.insert(name.to_owned(), value.to_owned());
            }
        }
        handle
    }

    /// Whether there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values in the order of their names.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' | '&' | '=' | '\0'..=' ' | '\x7f' => {
                escaped.push_str(&format!("%{:02X}", u32::from(c)));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        let (digits, after) = after.split_at_checked(2)?;
        plain.push_str(before);
        plain.push(u8::from_str_radix(digits, 16).ok()?.into());
        rest = after;
    }
    plain.push_str(rest);
    Some(plain)
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let between = if index == 0 { "" } else { "&" };
            write!(f, "{between}{}={}", escaped(name), escaped(value))?;
        }
        Ok(())
    }
}

/// A text that is no [`Handle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not name=value joined by &")]
pub struct NoHandle;

impl FromStr for Handle {
    type Err = NoHandle;

    fn from_str(text: &str) -> Result<Handle, NoHandle> {
        let mut values = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(NoHandle)?;
            let name = unescaped(name).ok_or(NoHandle)?;
            values.insert(name, unescaped(value).ok_or(NoHandle)?);
        }
        Ok(Handle(values))
    }
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Handle, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_one_text_for_people_and_sql() {
        for (values, text) in [
            (&[][..], ""),
            (
                &[("subscriptionId", "fe12-ab")][..],
                "subscriptionId=fe12-ab",
            ),
            (&[("z", "1"), ("a", "x&y=z%")][..], "a=x%26y%3Dz%25&z=1"),
            (&[("a", "line\nbreak 你")][..], "a=line%0Abreak%20你"),
            (&[("a", ""), ("", "b")][..], ""),
        ] {
            let handle = Handle::new(values.iter().copied());
            assert_eq!(handle.to_string(), text);
            assert_eq!(text.parse::<Handle>().expect("written so"), handle);
        }
        for text in ["a", "a=%", "a=%4", "a=%zz", "a=1&b"] {
            assert_eq!(text.parse::<Handle>(), Err(NoHandle), "{text}");
        }
    }

    #[test]
    fn a_handle_has_a_bound() {
        let long = "&".repeat(Handle::BYTES_MAX / 3);
        let handle = Handle::new([("long", &*long), ("short", "1")]);
        assert_eq!(handle.to_string(), "short=1");
    }
}
