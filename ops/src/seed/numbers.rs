//! X and A numbers of a seed file, singly or many at a time.

use crate::dto::{ANumber, Dto, XNumber};
use serde::Deserialize;
use serde::de::Error as _;
use toml::de::Error;

/// Most numbers of one range.
const RANGE_MAX: u64 = 100_000;

/// `numbers`: a range with both its ends, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    Range(String),
    List(Vec<String>),
}

/// `[[x_numbers]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeedX {
    interface: String,
    number: Option<String>,
    numbers: Option<Numbers>,
    line_limit: Option<u32>,
    #[serde(default)]
    callers: Vec<String>,
    allow_other_callers: Option<bool>,
    #[serde(default)]
    param: String,
    #[serde(default)]
    state: crate::dto::XState,
    #[serde(default)]
    memo: String,
}

impl SeedX {
    pub(super) fn rows(self) -> Result<Vec<Dto>, Error> {
        let row = |number: String| {
            Dto::XNumber(XNumber {
                interface: self.interface.clone(),
                number,
                line_limit: self.line_limit.unwrap_or(1),
                callers: self.callers.clone(),
                allow_other_callers: self.allow_other_callers.unwrap_or(true),
                param: self.param.clone(),
                state: self.state,
                memo: self.memo.clone(),
            })
        };
        Ok(spread(self.number.as_ref(), self.numbers.as_ref())?
            .into_iter()
            .map(row)
            .collect())
    }
}

/// `[[a_numbers]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeedA {
    #[serde(alias = "a_group")]
    group: String,
    number: Option<String>,
    numbers: Option<Numbers>,
    line_limit: Option<u32>,
    #[serde(default)]
    memo: String,
}

impl SeedA {
    pub(super) fn rows(self) -> Result<Vec<Dto>, Error> {
        let row = |number: String| {
            Dto::ANumber(ANumber {
                group: self.group.clone(),
                number,
                line_limit: self.line_limit.unwrap_or(1),
                memo: self.memo.clone(),
            })
        };
        Ok(spread(self.number.as_ref(), self.numbers.as_ref())?
            .into_iter()
            .map(row)
            .collect())
    }
}

fn spread(one: Option<&String>, many: Option<&Numbers>) -> Result<Vec<String>, Error> {
    match (one, many) {
        (Some(number), None) => Ok(vec![number.clone()]),
        (None, Some(Numbers::List(list))) => Ok(list.clone()),
        (None, Some(Numbers::Range(range))) => {
            between(range).map_err(|why| Error::custom(format!("`numbers`: `{range}` {why}")))
        }
        (None, None) => Err(Error::custom("missing field `number` or `numbers`")),
        (Some(_), Some(_)) => Err(Error::custom("`number` and `numbers` exclude each other")),
    }
}

/// The numbers of `first..last`, both included; they keep their length, so leading zeros stay.
fn between(range: &str) -> Result<Vec<String>, String> {
    let (first, last) = range.split_once("..").ok_or("is not written FIRST..LAST")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) || first.len() != last.len() {
        return Err("needs two numbers of as many digits".into());
    }
    let (Ok(low), Ok(high)) = (first.parse::<u64>(), last.parse::<u64>()) else {
        return Err("needs numbers of at most 19 digits".into());
    };
    if high < low {
        return Err("runs backwards".into());
    }
    if high - low >= RANGE_MAX {
        return Err(format!("holds more than {RANGE_MAX} numbers"));
    }
    let width = first.len();
    Ok((low..=high)
        .map(|number| format!("{number:0width$}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_keep_their_zeros() {
        assert_eq!(
            between("0998..1001"),
            Ok(["0998", "0999", "1000", "1001"].map(str::to_owned).to_vec())
        );
        assert_eq!(between("7..7"), Ok(vec!["7".to_owned()]));
        assert_eq!(
            between("02100000000..02100000199").map(|numbers| numbers.len()),
            Ok(200)
        );
    }

    #[test]
    fn ranges_that_are_none_are_refused() {
        for (range, why) in [
            ("5", "is not written FIRST..LAST"),
            ("1..10", "needs two numbers of as many digits"),
            ("..5", "needs two numbers of as many digits"),
            ("+1..+2", "needs two numbers of as many digits"),
            ("9..1", "runs backwards"),
            ("000000..100000", "holds more than 100000 numbers"),
            (
                "99999999999999999998..99999999999999999999",
                "needs numbers of at most 19 digits",
            ),
        ] {
            assert_eq!(between(range), Err(why.to_owned()), "{range}");
        }
    }
}
