//! Our notation of a number and the platform's.
//!
//! We store plain digits as people dial them inside China: mobile `13900000001`, landline with the
//! zero of its area code `02100000000`, service `4001234567`; a number of another country is kept
//! with its `+`. Platforms of the E.164 form want `+86` and no zero.
//!
//! | stored | [`to_e164`] | [`from_e164`] gives back |
//! |---|---|---|
//! | `13900000001` | `+8613900000001` | `13900000001` |
//! | `02100000000` | `+862100000000` | `02100000000` |
//! | `4001234567` | `+864001234567` | `4001234567` |
//! | `+8613900000001`, `008613900000001`, `8613900000001` | `+8613900000001` | `13900000001` |
//! | `+12125550123`, `0012125550123` | `+12125550123` | `+12125550123` |
//! | `110`, `95588` | `+86110`, `+8695588` | `110`, `95588` |
//! | empty, or with anything but digits after the optional `+` | unchanged | unchanged |
//!
//! So three spellings of one number come back as the stored one, and for every text
//! `to_e164(from_e164(to_e164(n))) == to_e164(n)`. Compare numbers in one of the two forms, never
//! a stored one with a received one as it came.

/// The platform's E.164 form of a stored number.
pub fn to_e164(number: &str) -> String {
    let digits = number.strip_prefix('+').unwrap_or(number);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || number.starts_with('+') {
        return number.to_owned();
    }
    if let Some(rest) = digits.strip_prefix("00") {
        return format!("+{rest}");
    }
    if let Some(rest) = digits.strip_prefix('0') {
        return format!("+86{rest}");
    }
    // No national number of ten or more digits begins with 86 (there is no area code 086x).
    if digits.len() >= 12 && digits.starts_with("86") {
        return format!("+{digits}");
    }
    format!("+86{digits}")
}

/// The stored form of a number that a platform wrote in any of the usual ways.
pub fn from_e164(number: &str) -> String {
    let number = to_e164(number);
    let Some(rest) = number.strip_prefix("+86") else {
        return number;
    };
    let odd = rest.is_empty()
        || !rest.bytes().all(|b| b.is_ascii_digit())
        || rest.starts_with('0')
        || (rest.len() >= 12 && rest.starts_with("86"));
    if odd {
        return number;
    }
    if is_landline(rest) {
        format!("0{rest}")
    } else {
        rest.to_owned()
    }
}

/// Whether national digits without the leading zero are a landline: area code and subscriber make
/// 9 to 11 digits. Area codes begin with 10 (Beijing) or 2 to 9. Not among them are mobile numbers
/// (11 digits from 13 to 19), 400 and 800 service numbers of 10 digits and the 950 and 96 families.
fn is_landline(national: &str) -> bool {
    let first = national.as_bytes()[0];
    match national.len() {
        10 if national.starts_with("10") => true,
        10 if national.starts_with("400") || national.starts_with("800") => false,
        9..=11 => {
            (b'2'..=b'9').contains(&first)
                && !national.starts_with("950")
                && !national.starts_with("96")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_numbers_go_out_in_e164_and_come_back() {
        for (stored, e164) in [
            ("13900000001", "+8613900000001"),
            ("17000000000", "+8617000000000"),
            ("02100000000", "+862100000000"),
            ("01012345678", "+861012345678"),
            ("075528000001", "+8675528000001"),
            ("0951123456", "+86951123456"),
            ("04112345678", "+864112345678"),
            ("4001234567", "+864001234567"),
            ("8008100000", "+868008100000"),
            ("95013123456", "+8695013123456"),
            ("110", "+86110"),
            ("95588", "+8695588"),
            ("1064800000001", "+861064800000001"),
            ("+12125550123", "+12125550123"),
        ] {
            assert_eq!(to_e164(stored), e164);
            assert_eq!(from_e164(e164), stored, "{e164}");
        }
    }

    #[test]
    fn every_spelling_of_a_number_comes_back_as_the_stored_one() {
        for (spelling, stored) in [
            ("+8613900000001", "13900000001"),
            ("008613900000001", "13900000001"),
            ("8613900000001", "13900000001"),
            ("862100000000", "02100000000"),
            ("+862100000000", "02100000000"),
            ("0012125550123", "+12125550123"),
        ] {
            assert_eq!(from_e164(&to_e164(spelling)), stored, "{spelling}");
        }
    }

    #[test]
    fn what_is_no_number_stays_as_it_is() {
        for odd in ["", "+", "alice", "+86x", "139 0000", "*72", "号码"] {
            assert_eq!(to_e164(odd), odd);
            assert_eq!(from_e164(odd), odd);
        }
    }

    #[test]
    fn going_out_again_after_coming_back_changes_nothing() {
        let digits = [
            "0", "1", "2", "4", "8", "6", "86", "9", "00", "400", "10", "95",
        ];
        let mut texts = vec![String::new(), "+".into()];
        for _ in 0..6 {
            let longer: Vec<_> = texts
                .iter()
                .flat_map(|t| digits.iter().map(move |d| format!("{t}{d}")))
                .collect();
            for text in &longer {
                let out = to_e164(text);
                assert_eq!(to_e164(&from_e164(&out)), out, "{text}");
            }
            // Keep the product of choices small: every 7th text grows on.
            texts = longer.into_iter().step_by(7).collect();
        }
    }
}
