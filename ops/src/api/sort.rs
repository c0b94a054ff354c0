//! The order of a list by one of its fields, and the cursor that goes on after a row of it.

use super::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tandem_billing::Money;

/// Fields whose texts are amounts.
const AMOUNTS: [&str; 7] = [
    "money",
    "limit_money",
    "reserved",
    "available",
    "fee",
    "amount",
    "balance",
];

/// Where a row stands: by its value, then by its key, so that no two rows share a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place(Rank, u64);

/// Nothing before flags before numbers before texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Rank {
    Nothing,
    Flag(bool),
    Number(i64),
    Text(String),
}

impl Place {
    /// Of a row with this key, by this value of `field`. Lists and maps are ordered as they are written.
    pub fn of(field: &str, value: &Value, key: u64) -> Place {
        let rank = match value {
            Value::Null => Rank::Nothing,
            Value::Bool(flag) => Rank::Flag(*flag),
            Value::Number(number) => Rank::Number(number.as_i64().unwrap_or(i64::MAX)),
            Value::String(text) if AMOUNTS.contains(&field) => match text.parse::<Money>() {
                Ok(amount) => Rank::Number(amount.micros()),
                Err(_) => Rank::Text(text.clone()),
            },
            Value::String(text) => Rank::Text(text.clone()),
            other => Rank::Text(other.to_string()),
        };
        Place(rank, key)
    }

    /// As a cursor.
    pub fn written(&self) -> String {
        // A number and a text are always JSON.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let hex = |byte: &u8| format!("{byte:02x}");
        format!("s{}", bytes.iter().map(hex).collect::<String>())
    }
}

/// Reads a cursor that [`Place::written`] made.
pub fn read(cursor: &str) -> Result<Place, Problem> {
    let place = || {
        let bytes: Option<Vec<u8>> = cursor
            .strip_prefix('s')?
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        serde_json::from_slice(&bytes?).ok()
    };
    place().ok_or_else(|| Problem::bad_request(format!("`cursor`: `{cursor}` is none of ours")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_stand_by_value_then_by_key() {
        let place = |value: Value, key| Place::of("money", &value, key);
        let order = [
            place(Value::Null, 9),
            place(json!(false), 8),
            place(json!("-3"), 1),
            place(json!("9.5"), 3),
            place(json!("9.5"), 4),
            place(json!("10"), 2),
            place(json!("none"), 5),
        ];
        assert!(order.is_sorted(), "{order:?}");
        assert!(
            Place::of("number", &json!("10"), 1) < Place::of("number", &json!("9"), 1),
            "numbers of people are texts"
        );
        for place in order {
            assert_eq!(read(&place.written()).ok(), Some(place));
        }
    }

    #[test]
    fn a_cursor_from_elsewhere_is_refused() {
        for cursor in ["", "c7", "s", "s7", "szz", "s7b7d", "s\u{20ac}"] {
            assert!(read(cursor).is_err(), "{cursor}");
        }
    }
}
