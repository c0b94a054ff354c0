//! Exact amounts: integers of a millionth of the currency unit (`DOMAIN.md` §8).

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Millionths in one currency unit.
const UNIT: u64 = 1_000_000;
/// Digits behind the point that an amount can hold.
const DIGITS: usize = 6;

/// An amount in millionths of the currency unit; negative amounts are debts.
///
/// Text form: a decimal string with at most six digits behind the point and no trailing zeros
/// (`0.066`, `-12`, `0`). Serde writes that string where a person reads (JSON, CSV) and the bare
/// integer elsewhere (bincode). There is no way from or to floating point.
///
/// The largest amount is about 9.2 · 10¹² units. Sums that would pass it stay at the limit in the
/// `saturating_*` family and are `None` in the `checked_*` family; nothing wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);
    /// The largest amount.
    pub const MAX: Money = Money(i64::MAX);
    /// The deepest debt.
    pub const MIN: Money = Money(i64::MIN);

    /// The amount of `micros` millionths.
    pub const fn from_micros(micros: i64) -> Money {
        Money(micros)
    }

    /// The amount in millionths.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whether the amount is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether the amount is zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The nearest amount to `micros` that can be held.
    pub(crate) fn clamped(micros: i128) -> Money {
        // The clamp makes the cast exact.
        Money(micros.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }

    /// `self + other`, or `None` when the sum cannot be held.
    pub fn checked_add(self, other: Money) -> Option<Money> {
        self.0.checked_add(other.0).map(Money)
    }

    /// `self - other`, or `None` when the difference cannot be held.
    pub fn checked_sub(self, other: Money) -> Option<Money> {
        self.0.checked_sub(other.0).map(Money)
    }

    /// `self + other`, held at the limits.
    pub fn saturating_add(self, other: Money) -> Money {
        Money(self.0.saturating_add(other.0))
    }

    /// `self - other`, held at the limits.
    pub fn saturating_sub(self, other: Money) -> Money {
        Money(self.0.saturating_sub(other.0))
    }

    /// `self` taken `count` times, held at the limits.
    pub fn times(self, count: u64) -> Money {
        Money::clamped(i128::from(self.0) * i128::from(count))
    }

    /// `self · numerator / denominator`, rounded half-up (away from zero for debts) to a millionth
    /// once, held at the limits; `None` when `denominator` is zero.
    ///
    /// This is the only place where rounding happens: a fee by periods is exact, only shares and
    /// discounts of one need it.
    pub fn scaled(self, numerator: u64, denominator: u64) -> Option<Money> {
        if denominator == 0 {
            return None;
        }
        let denominator = i128::from(denominator);
        // |i64| · u64 stays below 2^127.
        let product = i128::from(self.0) * i128::from(numerator);
        let whole = product / denominator;
        let rest = (product % denominator).abs();
        let up = i128::from(rest * 2 >= denominator);
        Some(Money::clamped(whole + up * product.signum()))
    }
}

impl Sum for Money {
    /// The exact sum, held at the limits once at the end.
    fn sum<I: Iterator<Item = Money>>(amounts: I) -> Money {
        Money::clamped(amounts.map(|amount| i128::from(amount.0)).sum())
    }
}

impl fmt::Display for Money {
    /// Honours width, fill and sign; precision is ignored, for it would drop money.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.unsigned_abs();
        let (whole, part) = (micros / UNIT, micros % UNIT);
        let mut text = whole.to_string();
        if part != 0 {
            let digits = format!("{part:06}");
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
        f.pad_integral(!self.is_negative(), "", &text)
    }
}

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Something else than an optional sign, digits and at most one point between digits.
    #[error("amount `{0}` is not a decimal number")]
    NotDecimal(String),
    /// A digit other than zero behind the sixth decimal place.
    #[error("amount `{0}` has more than six decimal places")]
    TooFine(String),
    /// Beyond [`Money::MAX`] or [`Money::MIN`].
    #[error("amount `{0}` is too large")]
    TooLarge(String),
}

impl FromStr for Money {
    type Err = MoneyError;

    /// Reads an optional sign, digits, and optionally a point with digits behind it. Zeros behind
    /// the sixth place are accepted, for they change nothing; blanks and exponents are not.
    fn from_str(text: &str) -> Result<Money, MoneyError> {
        // An amount is short; a long text in an error message helps nobody.
        let culprit = || text.chars().take(40).collect::<String>();
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, part) = match unsigned.split_once('.') {
            Some((whole, part)) if !part.is_empty() => (whole, part),
            Some(_) => return Err(MoneyError::NotDecimal(culprit())),
            None => (unsigned, ""),
        };
        let all_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(part) {
            return Err(MoneyError::NotDecimal(culprit()));
        }
        let (kept, dropped) = part.split_at(part.len().min(DIGITS));
        if dropped.bytes().any(|byte| byte != b'0') {
            return Err(MoneyError::TooFine(culprit()));
        }
        let padding = std::iter::repeat_n(b'0', DIGITS - kept.len());
        let mut micros: i128 = 0;
        for digit in whole.bytes().chain(kept.bytes()).chain(padding) {
            micros = micros * 10 + i128::from(digit - b'0');
            if micros > i128::from(u64::MAX) {
                return Err(MoneyError::TooLarge(culprit()));
            }
        }
        let signed = if negative { -micros } else { micros };
        i64::try_from(signed)
            .map(Money)
            .map_err(|_| MoneyError::TooLarge(culprit()))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Reader)
        } else {
            i64::deserialize(deserializer).map(Money)
        }
    }
}

/// Takes decimal strings and whole numbers; a number with a point has already lost exactness when
/// it gets here, so it is refused.
struct Reader;

impl Visitor<'_> for Reader {
    type Value = Money;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount as a decimal string such as \"0.10\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Money, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, units: i64) -> Result<Money, E> {
        units
            .checked_mul(UNIT as i64)
            .map(Money)
            .ok_or_else(|| E::custom(MoneyError::TooLarge(units.to_string())))
    }

    fn visit_u64<E: de::Error>(self, units: u64) -> Result<Money, E> {
        i64::try_from(units)
            .map_err(|_| E::custom(MoneyError::TooLarge(units.to_string())))
            .and_then(|units| self.visit_i64(units))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_read_exactly_and_written_shortest() {
        for (text, micros, shown) in [
            ("0", 0, "0"),
            ("-0", 0, "0"),
            ("0.10", 100_000, "0.1"),
            ("+1.5", 1_500_000, "1.5"),
            ("0.000001", 1, "0.000001"),
            ("-0.000001", -1, "-0.000001"),
            ("12.3400000000", 12_340_000, "12.34"),
            ("007", 7_000_000, "7"),
            ("9223372036854.775807", i64::MAX, "9223372036854.775807"),
            ("-9223372036854.775808", i64::MIN, "-9223372036854.775808"),
        ] {
            let money: Money = text.parse().expect(text);
            assert_eq!(money.micros(), micros, "{text}");
            assert_eq!(money.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_amounts_are_refused_by_name() {
        use MoneyError::*;
        for (text, error) in [
            ("", NotDecimal("".into())),
            (".5", NotDecimal(".5".into())),
            ("5.", NotDecimal("5.".into())),
            ("1e3", NotDecimal("1e3".into())),
            (" 1", NotDecimal(" 1".into())),
            ("1.2.3", NotDecimal("1.2.3".into())),
            ("--1", NotDecimal("--1".into())),
            ("١", NotDecimal("١".into())),
            ("0.0000001", TooFine("0.0000001".into())),
            (
                "9223372036854.775808",
                TooLarge("9223372036854.775808".into()),
            ),
            (
                "99999999999999999999999999999999999999999999",
                TooLarge("9".repeat(40)),
            ),
        ] {
            assert_eq!(text.parse::<Money>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_share_is_rounded_half_up_once() {
        for (micros, numerator, denominator, expected) in [
            (1, 1, 2, 1),
            (1, 1, 3, 0),
            (2, 1, 3, 1),
            (-1, 1, 2, -1),
            (-1, 1, 3, 0),
            (100_000, 61, 60, 101_667),
            (i64::MAX, u64::MAX, 1, i64::MAX),
            (i64::MIN, u64::MAX, 1, i64::MIN),
            (i64::MIN, u64::MAX, u64::MAX, i64::MIN),
        ] {
            let got = Money(micros).scaled(numerator, denominator);
            assert_eq!(
                got,
                Some(Money(expected)),
                "{micros}·{numerator}/{denominator}"
            );
        }
        assert_eq!(Money(1).scaled(1, 0), None);
    }

    #[test]
    fn arithmetic_stops_at_the_limits() {
        assert_eq!(Money::MAX.checked_add(Money(1)), None);
        assert_eq!(Money::MIN.checked_sub(Money(1)), None);
        assert_eq!(Money::MAX.saturating_add(Money(1)), Money::MAX);
        assert_eq!(Money::MIN.saturating_sub(Money(1)), Money::MIN);
        assert_eq!(Money::MAX.times(2), Money::MAX);
        assert_eq!(Money::MIN.times(u64::MAX), Money::MIN);
        assert_eq!(
            [Money::MAX, Money::MAX].into_iter().sum::<Money>(),
            Money::MAX
        );
        let there_and_back = [Money::MAX, Money::MAX, Money::MIN, Money(1)];
        assert_eq!(there_and_back.into_iter().sum::<Money>(), Money(i64::MAX));
    }

    #[test]
    fn width_is_honoured_and_precision_never_drops_money() {
        assert_eq!(format!("{:>8}", Money(100_000)), "     0.1");
        assert_eq!(format!("{:.1}", Money(123_456)), "0.123456");
        assert_eq!(format!("{:<5}|", Money(-1_000_000)), "-1   |");
    }

    #[test]
    fn json_holds_decimal_strings_and_refuses_floats() {
        assert_eq!(serde_json::to_string(&Money(66_000)).unwrap(), "\"0.066\"");
        assert_eq!(
            serde_json::from_str::<Money>("\"0.066\"").unwrap(),
            Money(66_000)
        );
        assert_eq!(
            serde_json::from_str::<Money>("5").unwrap(),
            Money(5_000_000)
        );
        assert!(serde_json::from_str::<Money>("0.1").is_err());
        assert!(serde_json::from_str::<Money>("9300000000000").is_err());
    }

    proptest! {
        #[test]
        fn every_amount_survives_its_text(micros: i64) {
            let money = Money(micros);
            prop_assert_eq!(money.to_string().parse::<Money>(), Ok(money));
        }

        #[test]
        fn arbitrary_texts_never_panic(text: String) {
            let _ = text.parse::<Money>();
        }
    }
}
