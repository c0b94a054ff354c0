//! How vendors write numbers, read as strictly as they do. Inside, numbers are E.164 with `+`.

use crate::numbers::{from_e164, to_e164};

/// One vendor's notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// Digits as dialled in China: `13900000001`, `02131000001`, `4001234567`.
    National,
    /// The same, but landlines without the zero of the area code: `2131000001`.
    Zeroless,
    /// `86` and the national number; landlines without the zero.
    Country,
    /// `0086` and the number as dialled, landlines with the zero.
    Zeros,
    /// `+` and country code.
    Plus,
    /// Country code and number without `+`, of any country.
    International,
}

impl Notation {
    /// The E.164 form; `None` where the notation is another one or it is no number.
    pub fn read(self, text: &str) -> Option<String> {
        let digits = match self {
            Notation::Plus => text.strip_prefix('+')?,
            Notation::Zeros => text.strip_prefix("0086")?,
            Notation::Country => text.strip_prefix("86")?,
            _ => text,
        };
        let fits = (3..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if !fits {
            return None;
        }
        match self {
            Notation::National | Notation::Zeros => {
                let foreign =
                    digits.starts_with("00") || (digits.len() >= 12 && digits.starts_with("86"));
                (!foreign).then(|| to_e164(digits))
            }
            Notation::Zeroless | Notation::Country => {
                (!digits.starts_with('0')).then(|| format!("+86{digits}"))
            }
            Notation::Plus | Notation::International => {
                let bad = digits.starts_with('0') || digits.starts_with("860");
                (!bad).then(|| format!("+{digits}"))
            }
        }
    }

    /// A number as this vendor writes it.
    pub fn write(self, e164: &str) -> String {
        if e164.is_empty() {
            return String::new();
        }
        let digits = e164.strip_prefix('+').unwrap_or(e164);
        match self {
            Notation::National => from_e164(e164),
            Notation::Zeros => format!("0086{}", from_e164(e164)),
            Notation::Zeroless => digits.strip_prefix("86").unwrap_or(digits).to_owned(),
            Notation::Plus => e164.to_owned(),
            Notation::Country | Notation::International => digits.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_notation_reads_its_own_and_writes_it_again() {
        use Notation::{Country, International, National, Plus, Zeroless, Zeros};
        for (notation, mobile, landline) in [
            (National, "13900000001", "02131000001"),
            (Zeroless, "13900000001", "2131000001"),
            (Country, "8613900000001", "862131000001"),
            (Zeros, "008613900000001", "008602131000001"),
            (Plus, "+8613900000001", "+862131000001"),
            (International, "8613900000001", "862131000001"),
        ] {
            for (text, e164) in [(mobile, "+8613900000001"), (landline, "+862131000001")] {
                assert_eq!(notation.read(text).as_deref(), Some(e164), "{notation:?}");
                assert_eq!(notation.write(e164), text, "{notation:?}");
            }
        }
    }

    #[test]
    fn another_notation_is_refused() {
        use Notation::{Country, National, Plus, Zeroless, Zeros};
        for (notation, text) in [
            (National, "+8613900000001"),
            (National, "8613900000001"),
            (National, "008613900000001"),
            (National, ""),
            (Zeroless, "02131000001"),
            (Country, "13900000001"),
            (Country, "8602131000001"),
            (Zeros, "13900000001"),
            (Plus, "13900000001"),
            (Plus, "+86 139"),
        ] {
            assert_eq!(notation.read(text), None, "{notation:?} {text}");
        }
    }
}
