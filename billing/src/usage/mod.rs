//! The facts of an ended call, and what they come to. Pure.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::money::Money;
use crate::rating::{self, Charge, Rate};
use crate::record::{Axb, Cdr, Handle, Record, Serial};
use crate::time::Time;

/// Longest text that a record keeps, in bytes; what is longer is cut at a character.
///
/// Numbers and names are far shorter. The bound keeps an encoded record below
/// [`codec::BYTES_MAX`](crate::codec::BYTES_MAX) whatever a far end sends.
pub const TEXT_MAX: usize = 256;

/// Everything known about an ended call, answered or not, that cannot be derived (`DOMAIN.md` §9).
///
/// Texts that do not apply are empty. Times are milliseconds since 1970 UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Our id of the call.
    pub call: u64,
    /// The record's own number, unique for ever; charging happens once for each.
    pub flow_no: u64,
    /// Access name of the node that ended the call.
    pub node: String,

    /// C, the caller as received.
    pub caller_access: String,
    /// N, the caller after the mapping gateway's rules.
    pub caller: String,
    /// The caller as sent.
    pub caller_out: String,
    /// The callee as received.
    pub callee_access: String,
    /// B, the callee after the mapping gateway's rules.
    pub callee: String,
    /// The callee as sent.
    pub callee_out: String,

    /// Name of the mapping gateway that the call came from.
    pub caller_gateway: String,
    /// Name of the routing gateway last tried.
    pub callee_gateway: String,
    /// Signalling address of the calling side.
    pub caller_ip: Option<IpAddr>,
    /// Signalling address of the called side.
    pub callee_ip: Option<IpAddr>,

    /// When the INVITE came.
    pub started_ms: u64,
    /// When the callee answered.
    pub answered_ms: Option<u64>,
    /// When the call ended.
    pub ended_ms: u64,
    /// Post-dial delay: from the INVITE received to the first ringing or answer, in milliseconds.
    pub pdd_ms: Option<u32>,

    /// Speech codec last agreed on, as in SDP.
    pub codec: String,
    /// Call-ID of the calling side's dialog.
    pub sip_call_id: String,
    /// Why the call ended.
    pub end_reason: EndReason,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// Final SIP status of the far end, 0 for none. With [`EndReason::Other`] that one counts.
    pub sip_code: u16,
    /// Q.850 cause of the far end, 0 for none. With [`EndReason::Other`] that one counts.
    pub q850_cause: u8,

    /// The numbers lent for the call, when it got any.
    pub axb: Option<AxbUsage>,

    /// What the customer pays, on B.
    pub customer: Option<Rated>,
    /// What we owe the carrier, on the callee as dialled.
    pub landing: Option<Rated>,
    /// What we owe the X platform, on B or B'. Needs [`Usage::axb`].
    pub axb_rated: Option<Rated>,
}

/// The numbers of a call that got an (A,X).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxbUsage {
    /// A, our number sent as caller.
    pub a: String,
    /// X, the number lent by the platform.
    pub x: String,
    /// B, the callee.
    pub b: String,
    /// B', the callee as submitted to the platform.
    pub b_submitted: String,
    /// Name of the interface that X belongs to.
    pub interface: String,
    /// Name of the A group that A was taken from.
    pub a_group: String,
    /// How the numbers were tied.
    pub mode: AxbMode,
    /// The binding made for the call.
    pub binding_id: Option<u64>,
    /// What the platform calls the binding.
    pub handle: Handle,
}

/// How A and X were tied for a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AxbMode {
    /// By a binding made for the call.
    #[default]
    Axb,
    /// By a standing AX binding whose callee was set.
    Ax,
}

impl AxbMode {
    /// The text in records.
    pub const fn key(self) -> &'static str {
        match self {
            AxbMode::Axb => "axb",
            AxbMode::Ax => "ax",
        }
    }
}

impl FromStr for AxbMode {
    type Err = UnknownKey;

    fn from_str(key: &str) -> Result<AxbMode, UnknownKey> {
        match key {
            "axb" => Ok(AxbMode::Axb),
            "ax" => Ok(AxbMode::Ax),
            other => Err(UnknownKey::of(other)),
        }
    }
}

/// An account and the rate that was chosen for it when the call was admitted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rated {
    /// Id of the account, handed back with the charge.
    pub account: u64,
    /// The account's number, as records show it.
    pub account_number: String,
    /// The account's name.
    pub account_name: String,
    /// The rate. Whether it has been locked since plays no part.
    pub rate: Rate,
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EndedBy {
    /// The calling side.
    Caller,
    /// The called side.
    Callee,
    /// This switch.
    #[default]
    Server,
}

impl EndedBy {
    /// The number in records: 0 caller, 1 callee, 2 server.
    pub const fn number(self) -> u8 {
        match self {
            EndedBy::Caller => 0,
            EndedBy::Callee => 1,
            EndedBy::Server => 2,
        }
    }

    /// The reverse of [`EndedBy::number`].
    pub const fn from_number(number: u8) -> Option<EndedBy> {
        match number {
            0 => Some(EndedBy::Caller),
            1 => Some(EndedBy::Callee),
            2 => Some(EndedBy::Server),
            _ => None,
        }
    }
}

impl Serialize for EndedBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for EndedBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EndedBy, D::Error> {
        let number = u8::deserialize(deserializer)?;
        EndedBy::from_number(number)
            .ok_or_else(|| de::Error::custom(format_args!("unknown hang-up side {number}")))
    }
}

/// A text that names nothing of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown key `{0}`")]
pub struct UnknownKey(String);

impl UnknownKey {
    pub(crate) fn of(key: &str) -> UnknownKey {
        UnknownKey(key.chars().take(40).collect())
    }
}

/// Declares the reasons once, with the text key and the frozen number of each.
macro_rules! end_reasons {
    ($($(#[$doc:meta])+ $name:ident = $number:literal $key:literal,)+) => {
        /// Why a call ended (`DOMAIN.md` §9).
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum EndReason {
            #[default]
            $($(#[$doc])+ $name,)+
            /// The far end refused with something that none of the others says.
            Other {
                /// Its SIP status, 0 for none.
                sip: u16,
                /// Its Q.850 cause, 0 for none.
                q850: u8,
            },
        }

        impl EndReason {
            /// Every reason but [`EndReason::Other`].
            pub const ALL: &[EndReason] = &[$(EndReason::$name,)+];

            /// The text key; `None` for [`EndReason::Other`], whose text carries its code.
            pub const fn key(self) -> Option<&'static str> {
                match self {
                    $(EndReason::$name => Some($key),)+
                    EndReason::Other { .. } => None,
                }
            }

            /// The number in encoded records.
            const fn number(self) -> u8 {
                match self {
                    $(EndReason::$name => $number,)+
                    EndReason::Other { .. } => OTHER,
                }
            }
        }
    };
}

const OTHER: u8 = 255;

// Numbers are stored: append, never change one or use it again.
end_reasons! {
    /// Somebody hung up an answered call.
    Normal = 0 "normal",
    /// The caller gave up before the answer.
    Cancelled = 1 "cancelled",
    /// It rang until the ringing limit.
    NoAnswer = 2 "no_answer",
    /// The callee is busy.
    Busy = 3 "busy",
    /// The callee refused.
    Rejected = 4 "rejected",
    /// No routing gateway has a fitting prefix.
    NoRoute = 5 "no_route",
    /// A gateway's line limit is reached.
    GatewayCapacity = 6 "gateway_capacity",
    /// No free pair of A and X.
    NoAxbNumber = 7 "no_axb_number",
    /// The mapping gateway may not use AXB.
    AxbNotAllowed = 8 "axb_not_allowed",
    /// The platform refused the binding or did not answer.
    AxbBindFailed = 9 "axb_bind_failed",
    /// The account is locked.
    AccountLocked = 10 "account_locked",
    /// The account is past its date.
    AccountExpired = 11 "account_expired",
    /// The account cannot pay for the first slice.
    BalanceInsufficient = 12 "balance_insufficient",
    /// The account could not pay for another slice.
    BalanceExhausted = 13 "balance_exhausted",
    /// No rate for the number, or a locked one.
    RateNotFound = 14 "rate_not_found",
    /// The caller's number is not allowed.
    CallerForbidden = 15 "caller_forbidden",
    /// The callee's number is not allowed.
    CalleeForbidden = 16 "callee_forbidden",
    /// Wrong or missing credentials.
    AuthFailed = 17 "auth_failed",
    /// The called side did not respond at all.
    ResponseTimeout = 18 "response_timeout",
    /// No speech for too long.
    MediaTimeout = 19 "media_timeout",
    /// The longest allowed duration is reached.
    MaxDuration = 20 "max_duration",
    /// An operator ended the call.
    AdminHangup = 21 "admin_hangup",
    /// The node died and nobody could take the call over.
    NodeFailure = 22 "node_failure",
}

impl fmt::Display for EndReason {
    /// The key; of [`EndReason::Other`] `sip_604` when it has a SIP status, else `q850_38`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            EndReason::Other { sip: 0, q850 } => write!(f, "q850_{q850}"),
            EndReason::Other { sip, .. } => write!(f, "sip_{sip}"),
            reason => f.pad(reason.key().expect("only `Other` has no key")),
        }
    }
}

impl FromStr for EndReason {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<EndReason, UnknownKey> {
        let known = EndReason::ALL
            .iter()
            .find(|reason| reason.key() == Some(text))
            .copied();
        let sip = || {
            let sip = text.strip_prefix("sip_")?.parse().ok()?;
            Some(EndReason::Other { sip, q850: 0 })
        };
        let q850 = || {
            let q850 = text.strip_prefix("q850_")?.parse().ok()?;
            Some(EndReason::Other { sip: 0, q850 })
        };
        known
            .or_else(sip)
            .or_else(q850)
            .ok_or_else(|| UnknownKey::of(text))
    }
}

impl Serialize for EndReason {
    /// The text where a person reads, else three numbers.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let (sip, q850) = match *self {
            EndReason::Other { sip, q850 } => (sip, q850),
            _ => (0, 0),
        };
        (self.number(), sip, q850).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EndReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EndReason, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return text.parse().map_err(de::Error::custom);
        }
        let (number, sip, q850) = <(u8, u16, u8)>::deserialize(deserializer)?;
        if number == OTHER {
            return Ok(EndReason::Other { sip, q850 });
        }
        EndReason::ALL
            .iter()
            .find(|reason| reason.number() == number)
            .copied()
            .ok_or_else(|| de::Error::custom(format_args!("unknown end reason {number}")))
    }
}

/// What an ended call comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// What to take from which account: customer, landing, AXB, in this order, without those that
    /// pay nothing. The same account may appear twice.
    pub charges: Vec<(u64, Money)>,
    /// The record to store.
    pub record: Record,
}

/// Prices an ended call: three ratings of one hold, and the record with their results.
///
/// Every node computes this for itself while it applies the call's end, so equal facts give equal
/// results, to the byte.
pub fn close(usage: &Usage) -> Closing {
    let hold_secs = usage
        .answered_ms
        .map_or(0, |answered| rating::hold_secs(answered, usage.ended_ms));
    // Without an (A,X) there is no row to show an AXB fee in, so there is no such fee.
    let axb_rated = usage.axb.as_ref().and(usage.axb_rated.as_ref());
    let customer = Priced::of(usage.customer.as_ref(), hold_secs);
    let landing = Priced::of(usage.landing.as_ref(), hold_secs);
    let axb = Priced::of(axb_rated, hold_secs);

    let charges = [&customer, &landing, &axb]
        .into_iter()
        .filter(|priced| !priced.charge.fee.is_zero())
        .map(|priced| (priced.account, priced.charge.fee))
        .collect();
    let (sip_code, q850_cause) = match usage.end_reason {
        EndReason::Other { sip, q850 } => (sip, q850),
        _ => (usage.sip_code, usage.q850_cause),
    };
    let cdr = Cdr {
        flow_no: Serial(usage.flow_no),
        caller_access: text(&usage.caller_access),
        caller: text(&usage.caller),
        caller_out: text(&usage.caller_out),
        callee_access: text(&usage.callee_access),
        callee: text(&usage.callee),
        callee_out: text(&usage.callee_out),
        caller_gateway: text(&usage.caller_gateway),
        callee_gateway: text(&usage.callee_gateway),
        caller_ip: usage.caller_ip,
        callee_ip: usage.callee_ip,
        started_at: Time::from_ms(usage.started_ms),
        answered_at: usage.answered_ms.map(Time::from_ms),
        ended_at: Time::from_ms(usage.ended_ms),
        hold_secs,
        bill_secs: customer.charge.billed_s,
        fee: customer.charge.fee,
        rate_prefix: customer.rate_prefix,
        package_secs: 0,
        package_fee: Money::ZERO,
        account: customer.account_number,
        end_reason: usage.end_reason,
        end_direction: usage.ended_by,
        pdd_ms: usage.pdd_ms,
        codec: text(&usage.codec),
        node: text(&usage.node),
        call_id: Serial(usage.call),
        account_name: customer.account_name,
        landing_account: landing.account_number,
        landing_bill_secs: landing.charge.billed_s,
        landing_fee: landing.charge.fee,
        sip_code,
        q850_cause,
        sip_call_id: text(&usage.sip_call_id),
    };
    let axb = usage.axb.as_ref().map(|numbers| Axb {
        a_number: text(&numbers.a),
        x_number: text(&numbers.x),
        b_number: text(&numbers.b),
        b_submitted: text(&numbers.b_submitted),
        interface_name: text(&numbers.interface),
        a_group: text(&numbers.a_group),
        mode: numbers.mode,
        axb_account: axb.account_number,
        axb_account_name: axb.account_name,
        axb_bill_secs: axb.charge.billed_s,
        axb_fee: axb.charge.fee,
        axb_package_secs: 0,
        axb_package_fee: Money::ZERO,
        binding_id: numbers.binding_id.map(Serial),
        handle: numbers.handle.clone(),
    });
    Closing {
        charges,
        record: Record { cdr, axb },
    }
}

/// One of the three ratings; all empty when the call has none.
#[derive(Default)]
struct Priced {
    account: u64,
    account_number: String,
    account_name: String,
    rate_prefix: String,
    charge: Charge,
}

impl Priced {
    fn of(rated: Option<&Rated>, hold_secs: u32) -> Priced {
        rated.map_or_else(Priced::default, |rated| Priced {
            account: rated.account,
            account_number: text(&rated.account_number),
            account_name: text(&rated.account_name),
            rate_prefix: text(&rated.rate.prefix),
            charge: rating::charge(&rated.rate, hold_secs),
        })
    }
}

fn text(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_MAX)].to_owned()
}

#[cfg(test)]
mod tests;
