//! What a call costs: holds, rates, sections and slices of credit (`DOMAIN.md` §8). Pure.
//!
//! A rate defines a staircase: the cost as a function of the hold. Its steps are the sections, in
//! order, then one period after another, without end. A step that is entered is paid whole, so
//! every question here is answered by walking up that staircase: [`charge`] to a hold,
//! [`longest`] to a sum of money, [`slice`] from one step to a later one.

use serde::{Deserialize, Serialize};

use crate::money::Money;

/// Most sections that a rate may have.
pub const SECTIONS_MAX: usize = 16;
/// Shortest slice of credit worth a command of its own, in seconds.
pub const SLICE_MIN_S: u32 = 60;
/// A fraction of a second shorter than this does not begin a charged second.
const GRACE_MS: u64 = 50;

/// The price of calls to the numbers that begin with `prefix`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Head of the numbers that the rate is for; empty for all.
    pub prefix: String,
    /// Price of one period, never negative.
    pub fee: Money,
    /// Length of a period in seconds, at least 1.
    pub period_s: u32,
    /// Lumps for the first seconds, in order, before periods begin; at most [`SECTIONS_MAX`].
    pub sections: Vec<Section>,
    /// A locked rate refuses the calls it would have priced.
    pub locked: bool,
}

/// The first `secs` seconds (after earlier sections) cost `fee` as a lump.
///
/// A section of 0 seconds is paid by every call that lasts beyond the sections before it: first
/// in the list it is a set-up fee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Price of the section, never negative.
    pub fee: Money,
    /// Length in seconds.
    pub secs: u32,
}

/// Why a rate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// The period is 0 seconds long.
    #[error("rate `{0}` has a period of zero seconds")]
    NoPeriod(String),
    /// The fee of the period or of a section is below zero.
    #[error("rate `{0}` has a negative fee")]
    Negative(String),
    /// More than [`SECTIONS_MAX`] sections.
    #[error("rate `{0}` has more than {SECTIONS_MAX} sections")]
    TooManySections(String),
}

impl Rate {
    /// Checks what every function here relies on. Functions given a rate that does not pass still
    /// return without panic: a period of 0 counts as 1 and a negative fee as 0.
    pub fn check(&self) -> Result<(), RateError> {
        let culprit = || self.prefix.clone();
        if self.period_s == 0 {
            Err(RateError::NoPeriod(culprit()))
        } else if self.fee.is_negative() || self.sections.iter().any(|s| s.fee.is_negative()) {
            Err(RateError::Negative(culprit()))
        } else if self.sections.len() > SECTIONS_MAX {
            Err(RateError::TooManySections(culprit()))
        } else {
            Ok(())
        }
    }

    fn period(&self) -> u64 {
        u64::from(self.period_s.max(1))
    }

    fn fee_micros(&self) -> u128 {
        unsigned(self.fee)
    }
}

fn unsigned(fee: Money) -> u128 {
    u128::try_from(fee.micros()).unwrap_or(0)
}

/// No usable rate: none of the prefixes fits, or the longest that fits is locked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRate {
    /// No prefix is a head of the number.
    #[error("no rate for number `{0}`")]
    None(String),
    /// The rate with the longest fitting prefix is locked; shorter ones do not stand in for it.
    #[error("rate `{0}` is locked")]
    Locked(String),
}

/// The rate with the longest prefix that is a head of `number`; of equals the first.
pub fn find<'r>(rates: &'r [Rate], number: &str) -> Result<&'r Rate, NoRate> {
    let mut best: Option<&Rate> = None;
    for rate in rates {
        let longer = best.is_none_or(|best| rate.prefix.len() > best.prefix.len());
        if longer && number.starts_with(&rate.prefix) {
            best = Some(rate);
        }
    }
    match best {
        None => Err(NoRate::None(number.to_owned())),
        Some(rate) if rate.locked => Err(NoRate::Locked(rate.prefix.clone())),
        Some(rate) => Ok(rate),
    }
}

/// Seconds from answer to end, both in milliseconds on one clock: rounded up, but a fraction
/// below 50 ms is dropped. 0 when the end is not after the answer.
pub fn hold_secs(answer_ms: u64, end_ms: u64) -> u32 {
    let talked = end_ms.saturating_sub(answer_ms);
    let started = u64::from(talked % 1_000 >= GRACE_MS);
    saturated(talked / 1_000 + started)
}

/// What a hold comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Billed time in seconds: the hold rounded up to whole steps of the rate.
    pub billed_s: u32,
    /// The price of these steps.
    pub fee: Money,
}

/// Prices a hold of `hold_s` seconds. No hold, no fee.
pub fn charge(rate: &Rate, hold_s: u32) -> Charge {
    let climb = climb(rate, u64::from(hold_s));
    Charge {
        billed_s: saturated(climb.secs),
        fee: climb.fee(),
    }
}

/// The longest hold in seconds whose fee is at most `available`; `None` when money sets no limit
/// because the periods are free and the sections are affordable.
///
/// `Some(0)`: not even the first step can be paid. Limits past `u32::MAX` seconds stand at it.
pub fn longest(rate: &Rate, available: Money) -> Option<u32> {
    let mut left = unsigned(available);
    let mut secs = 0u64;
    for section in &rate.sections {
        match left.checked_sub(unsigned(section.fee)) {
            Some(rest) => left = rest,
            None => return Some(saturated(secs)),
        }
        secs += u64::from(section.secs);
    }
    // No fee, no limit.
    let periods = left.checked_div(rate.fee_micros())?;
    // More periods than a u32 of seconds can hold are not worth an exact product.
    let periods = periods.min(u128::from(u32::MAX)) as u64;
    Some(saturated(secs + periods * rate.period()))
}

/// A stretch of a call that money has been set aside for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The call may last until it has held this many seconds, counted from its answer.
    pub upto_s: u32,
    /// What to set aside for it, on top of earlier slices.
    pub cost: Money,
}

/// The next slice for a call whose slices so far reach to `already_s` seconds: whole steps of at
/// least one period and at least [`SLICE_MIN_S`], or as many as `available` pays for. `None` when
/// it does not pay for one step more: the call ends at `already_s`.
///
/// `available` no longer holds what the earlier slices set aside. The costs of consecutive slices
/// add up to exactly the fee of a call that holds until the last one's end, so calls on one
/// account that live by slices never spend more than there is.
pub fn slice(rate: &Rate, already_s: u32, available: Money) -> Option<Slice> {
    // Where steps stand decides, not where the caller says: a slice begins at a step's edge.
    let from = climb(rate, u64::from(already_s));
    let wanted = u64::from(SLICE_MIN_S).max(rate.period());
    let until = climb(rate, from.secs.saturating_add(wanted));
    let purse = unsigned(available);
    let until = if until.micros - from.micros <= purse {
        until
    } else {
        let all = Money::clamped(i128::try_from(from.micros + purse).unwrap_or(i128::MAX));
        climb(rate, u64::from(longest(rate, all)?))
    };
    (until.secs > from.secs && saturated(until.secs) > already_s).then(|| Slice {
        upto_s: saturated(until.secs),
        cost: until.fee().saturating_sub(from.fee()),
    })
}

/// The slice that a call needs before it is set up.
pub fn first_slice(rate: &Rate, available: Money) -> Option<Slice> {
    slice(rate, 0, available)
}

/// A place on the staircase, at the end of a step.
#[derive(Clone, Copy)]
struct Climb {
    secs: u64,
    micros: u128,
}

impl Climb {
    fn fee(self) -> Money {
        Money::clamped(i128::try_from(self.micros).unwrap_or(i128::MAX))
    }
}

/// The end of the step that a hold of `hold` seconds ends in.
fn climb(rate: &Rate, hold: u64) -> Climb {
    let mut at = Climb { secs: 0, micros: 0 };
    for section in &rate.sections {
        if hold <= at.secs {
            return at;
        }
        at.secs += u64::from(section.secs);
        at.micros += unsigned(section.fee);
    }
    let periods = hold.saturating_sub(at.secs).div_ceil(rate.period());
    at.secs = at
        .secs
        .saturating_add(periods.saturating_mul(rate.period()));
    // Below 2^127: a hold of 2^64 periods at the largest fee.
    at.micros += u128::from(periods) * rate.fee_micros();
    at
}

fn saturated(secs: u64) -> u32 {
    u32::try_from(secs).unwrap_or(u32::MAX)
}
