//! What a call costs: holds, rates, sections and slices of credit (`DOMAIN.md` §8). Pure.
//!
//! A rate defines a staircase: the cost as a function of the hold. Its steps are the sections, in
//! order, then one period after another, without end. A step that is entered is paid whole, so
//! every question here is answered by walking up that staircase: [`charge`] to a hold,
//! [`longest`] to a sum of money, [`slice()`] from one step to a later one.

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
/// `Some(0)`: not even the first step can be paid. A debt counts as no money, which free steps do
/// not need. Limits past `u32::MAX` seconds stand at it.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn money(text: &str) -> Money {
        text.parse().expect("an amount")
    }

    fn rate(fee: &str, period_s: u32, sections: &[(&str, u32)]) -> Rate {
        Rate {
            fee: money(fee),
            period_s,
            sections: sections
                .iter()
                .map(|&(fee, secs)| Section {
                    fee: money(fee),
                    secs,
                })
                .collect(),
            ..Rate::default()
        }
    }

    #[test]
    fn a_hold_is_rounded_up_but_a_fraction_below_50_ms_is_dropped() {
        for (talked_ms, secs) in [
            (0, 0),
            (49, 0),
            (50, 1),
            (999, 1),
            (1_000, 1),
            (1_049, 1),
            (1_050, 2),
            (60_000, 60),
            (60_049, 60),
            (60_050, 61),
            (u64::MAX - 7, u32::MAX),
        ] {
            assert_eq!(hold_secs(7, 7 + talked_ms), secs, "{talked_ms} ms");
        }
        assert_eq!(hold_secs(2_000, 1_000), 0, "a clock that went back");
    }

    #[test]
    fn charges_follow_the_price_list() {
        const NONE: &[(&str, u32)] = &[];
        for (fee, period, sections, hold, billed, cost) in [
            // The three ratings of the example in DOMAIN.md §8.
            ("0.10", 60, NONE, 61, 120, "0.20"),
            ("0.03", 60, NONE, 61, 120, "0.06"),
            ("0.006", 6, NONE, 61, 66, "0.066"),
            // Edges of periods.
            ("0.10", 60, NONE, 0, 0, "0"),
            ("0.10", 60, NONE, 1, 60, "0.10"),
            ("0.10", 60, NONE, 60, 60, "0.10"),
            ("0.10", 60, NONE, 3_000, 3_000, "5"),
            ("0.000001", 1, NONE, 7, 7, "0.000007"),
            ("0", 60, NONE, 61, 120, "0"),
            // A lump for the first three minutes, then by the second.
            ("0.001", 1, &[("0.30", 180)], 1, 180, "0.30"),
            ("0.001", 1, &[("0.30", 180)], 180, 180, "0.30"),
            ("0.001", 1, &[("0.30", 180)], 181, 181, "0.301"),
            ("0.001", 1, &[("0.30", 180)], 0, 0, "0"),
            // Two lumps in order, then periods of a minute counted from their end.
            ("0.10", 60, &[("0.50", 30), ("0.20", 30)], 30, 30, "0.50"),
            ("0.10", 60, &[("0.50", 30), ("0.20", 30)], 31, 60, "0.70"),
            ("0.10", 60, &[("0.50", 30), ("0.20", 30)], 61, 120, "0.80"),
            // A set-up fee, and a lump of no length behind a section.
            ("0.10", 60, &[("1", 0)], 1, 60, "1.10"),
            ("0.10", 60, &[("1", 30), ("2", 0)], 30, 30, "1"),
            ("0.10", 60, &[("1", 30), ("2", 0)], 31, 90, "3.10"),
            // Limits hold without wrapping.
            (
                "9223372036854",
                1,
                NONE,
                u32::MAX,
                u32::MAX,
                "9223372036854.775807",
            ),
            ("0.10", u32::MAX, NONE, 1, u32::MAX, "0.10"),
        ] {
            let got = charge(&rate(fee, period, sections), hold);
            let wanted = Charge {
                billed_s: billed,
                fee: money(cost),
            };
            assert_eq!(got, wanted, "{fee}/{period} {sections:?} hold {hold}");
        }
    }

    #[test]
    fn the_longest_call_is_what_money_pays_for_whole() {
        const NONE: &[(&str, u32)] = &[];
        for (fee, period, sections, available, longest_s) in [
            // 50 minutes, as DOMAIN.md §8 has it.
            ("0.10", 60, NONE, "5", Some(3_000)),
            ("0.10", 60, NONE, "5.099999", Some(3_000)),
            ("0.10", 60, NONE, "0.10", Some(60)),
            ("0.10", 60, NONE, "0.099999", Some(0)),
            ("0.10", 60, NONE, "0", Some(0)),
            ("0.10", 60, NONE, "-1", Some(0)),
            ("0.006", 6, NONE, "0.066", Some(66)),
            ("0", 60, NONE, "0", None),
            ("0", 60, &[("1", 60)], "0.5", Some(0)),
            ("0", 60, &[("1", 60)], "1", None),
            ("0.001", 1, &[("0.30", 180)], "0.299", Some(0)),
            ("0.001", 1, &[("0.30", 180)], "0.30", Some(180)),
            ("0.001", 1, &[("0.30", 180)], "0.305", Some(185)),
            ("0.10", 60, &[("0.50", 30), ("0.20", 30)], "0.69", Some(30)),
            ("0.10", 60, &[("1", 0)], "1.05", Some(0)),
            ("0.000001", 60, NONE, "9000000000000", Some(u32::MAX)),
        ] {
            let got = longest(&rate(fee, period, sections), money(available));
            assert_eq!(
                got, longest_s,
                "{fee}/{period} {sections:?} with {available}"
            );
        }
    }

    #[test]
    fn slices_are_periods_of_at_least_a_minute_or_what_is_left() {
        const NONE: &[(&str, u32)] = &[];
        for (fee, period, sections, already, available, next) in [
            ("0.10", 60, NONE, 0, "5", Some((60, "0.10"))),
            ("0.10", 60, NONE, 60, "5", Some((120, "0.10"))),
            ("0.10", 60, NONE, 60, "0.09", None),
            ("0.006", 6, NONE, 0, "5", Some((60, "0.06"))),
            ("0.006", 6, NONE, 60, "0.02", Some((78, "0.018"))),
            ("0.01", 45, NONE, 0, "5", Some((90, "0.02"))),
            ("0.01", 180, NONE, 0, "5", Some((180, "0.01"))),
            ("0.10", 60, &[("0.30", 180)], 0, "5", Some((180, "0.30"))),
            ("0.10", 60, &[("0.30", 180)], 180, "5", Some((240, "0.10"))),
            ("0.10", 60, &[("0.30", 30)], 0, "0.35", Some((30, "0.30"))),
            ("0.10", 60, &[("1", 0)], 0, "1.05", None),
            ("0.10", 60, &[("1", 0)], 0, "1.10", Some((60, "1.10"))),
            ("0", 60, NONE, 600, "0", Some((660, "0"))),
            ("0", 60, NONE, u32::MAX, "0", None),
        ] {
            let rate = rate(fee, period, sections);
            let wanted = next.map(|(upto_s, cost)| Slice {
                upto_s,
                cost: money(cost),
            });
            let got = slice(&rate, already, money(available));
            assert_eq!(got, wanted, "{rate:?} from {already} with {available}");
        }
    }

    #[test]
    fn the_longest_prefix_decides_and_a_lock_on_it_refuses() {
        let rates: Vec<Rate> = [("", false), ("1", false), ("138", true), ("1381", false)]
            .into_iter()
            .map(|(prefix, locked)| Rate {
                prefix: prefix.to_owned(),
                locked,
                ..rate("1", 1, &[])
            })
            .collect();
        let prefix = |number| find(&rates, number).map(|rate| rate.prefix.as_str());
        assert_eq!(prefix("13812"), Ok("1381"));
        assert_eq!(prefix("13900"), Ok("1"));
        assert_eq!(prefix("0571"), Ok(""));
        assert_eq!(prefix("13800"), Err(NoRate::Locked("138".into())));
        assert_eq!(find(&rates[1..], "0571"), Err(NoRate::None("0571".into())));
    }

    #[test]
    fn unusable_rates_are_named_and_do_not_panic() {
        let no_period = rate("1", 0, &[]);
        assert_eq!(no_period.check(), Err(RateError::NoPeriod("".into())));
        assert_eq!(charge(&no_period, 3).fee, money("3"));
        let negative = rate("-1", 60, &[("-1", 5)]);
        assert_eq!(negative.check(), Err(RateError::Negative("".into())));
        assert_eq!(charge(&negative, 61).fee, Money::ZERO);
        assert_eq!(longest(&negative, Money::ZERO), None);
        let many = rate("1", 60, &[("0", 1); SECTIONS_MAX + 1]);
        assert_eq!(many.check(), Err(RateError::TooManySections("".into())));
        assert_eq!(rate("1", 60, &[("0", 1); SECTIONS_MAX]).check(), Ok(()));
    }

    fn rates() -> impl Strategy<Value = Rate> {
        let sections = prop::collection::vec((0..3_000_000i64, 0..200u32), 0..4);
        (0..2_000_000i64, 1..400u32, sections).prop_map(|(fee, period_s, sections)| Rate {
            fee: Money::from_micros(fee),
            period_s,
            sections: sections
                .into_iter()
                .map(|(fee, secs)| Section {
                    fee: Money::from_micros(fee),
                    secs,
                })
                .collect(),
            ..Rate::default()
        })
    }

    /// The rule of DOMAIN.md §8 read word by word, second by second.
    fn plain_charge(rate: &Rate, hold: u32) -> (u64, i64) {
        let (mut billed, mut fee) = (0u64, 0i64);
        for section in &rate.sections {
            if billed < u64::from(hold) {
                billed += u64::from(section.secs);
                fee += section.fee.micros();
            }
        }
        while billed < u64::from(hold) {
            billed += u64::from(rate.period_s);
            fee += rate.fee.micros();
        }
        (billed, fee)
    }

    proptest! {
        #[test]
        fn charges_are_those_of_the_plain_rule(rate in rates(), hold in 0..4_000u32) {
            let got = charge(&rate, hold);
            let plain = plain_charge(&rate, hold);
            prop_assert_eq!((u64::from(got.billed_s), got.fee.micros()), plain);
        }

        #[test]
        fn a_longer_hold_never_costs_less(rate in rates(), hold in 0..100_000u32, more in 0..5_000u32) {
            let (short, long) = (charge(&rate, hold), charge(&rate, hold + more));
            prop_assert!(short.fee <= long.fee);
            prop_assert!(short.billed_s <= long.billed_s);
            prop_assert!(short.billed_s >= hold);
        }

        #[test]
        fn the_longest_call_is_affordable_and_a_second_more_is_not(
            rate in rates(),
            available in 0..50_000_000i64,
        ) {
            let available = Money::from_micros(available);
            match longest(&rate, available) {
                None => prop_assert!(charge(&rate, 1_000_000).fee <= available),
                Some(secs) => {
                    prop_assert!(charge(&rate, secs).fee <= available);
                    if secs < u32::MAX {
                        prop_assert!(charge(&rate, secs + 1).fee > available);
                    }
                }
            }
        }

        #[test]
        fn slices_add_up_to_the_fee_and_reach_the_longest_call(
            rate in rates(),
            available in 0..20_000_000i64,
        ) {
            let available = Money::from_micros(available);
            let (mut upto, mut spent) = (0, Money::ZERO);
            for _ in 0..200 {
                let left = available.saturating_sub(spent);
                let Some(next) = slice(&rate, upto, left) else {
                    prop_assert_eq!(Some(upto), longest(&rate, available));
                    break;
                };
                prop_assert!(next.upto_s > upto);
                prop_assert!(next.cost <= left);
                upto = next.upto_s;
                spent = spent.saturating_add(next.cost);
                prop_assert_eq!(spent, charge(&rate, upto).fee);
            }
        }

        #[test]
        fn two_calls_on_one_account_never_spend_more_than_there_is(
            rates in [rates(), rates()],
            available in 0..20_000_000i64,
            turns in prop::collection::vec(0..2usize, 0..60),
        ) {
            let available = Money::from_micros(available);
            let mut left = available;
            let mut upto = [0; 2];
            for call in turns {
                if let Some(next) = slice(&rates[call], upto[call], left) {
                    upto[call] = next.upto_s;
                    left = left.saturating_sub(next.cost);
                }
            }
            let spent: Money = (0..2).map(|call| charge(&rates[call], upto[call]).fee).sum();
            prop_assert!(spent <= available);
        }

        #[test]
        fn nothing_panics_at_the_limits(
            fee: i64, period_s: u32, lump: i64, secs: u32, hold: u32, available: i64,
        ) {
            let rate = Rate {
                fee: Money::from_micros(fee),
                period_s,
                sections: vec![Section { fee: Money::from_micros(lump), secs }; 3],
                ..Rate::default()
            };
            let available = Money::from_micros(available);
            charge(&rate, hold);
            if let Some(secs) = longest(&rate, available) {
                prop_assert!(charge(&rate, secs).fee <= available.max(Money::ZERO));
            }
            if let Some(next) = slice(&rate, hold, available) {
                prop_assert!(next.upto_s > hold);
            }
        }
    }
}
