//! A second opinion on what calls cost, in whole numbers, written from the domain page's text (§8) and sharing nothing
//! with the switch: rates are read through the admin API, holds are measured from the times in the record.

use crate::api::Api;
use crate::records::{Record, micros};
use serde_json::Value;
use std::collections::BTreeMap;

/// A price per prefix, amounts in millionths.
#[derive(Clone, Debug)]
pub struct Rate {
    group: String,
    prefix: String,
    fee: i64,
    period: u64,
    sections: Vec<(i64, u64)>,
}

/// All rates, and the group of each account.
#[derive(Clone, Debug, Default)]
pub struct Tariff {
    rates: Vec<Rate>,
    groups: BTreeMap<String, String>,
}

impl Tariff {
    /// What the switch is configured with now.
    #[track_caller]
    pub fn read(api: &Api) -> Tariff {
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let amount = |row: &Value| {
            micros(&text(row, "fee")).unwrap_or_else(|| panic!("no amount `fee` in {row}"))
        };
        let rates = api.list("fee-rates").into_iter().map(|row| Rate {
            group: text(&row, "group"),
            prefix: text(&row, "prefix"),
            fee: amount(&row),
            period: row["period"]
                .as_u64()
                .unwrap_or_else(|| panic!("no period in {row}")),
            sections: row["sections"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|s| {
                    (
                        amount(s),
                        s["secs"]
                            .as_u64()
                            .unwrap_or_else(|| panic!("no secs in {s}")),
                    )
                })
                .collect(),
        });
        let groups = api.list("accounts");
        Tariff {
            rates: rates.collect(),
            groups: groups
                .iter()
                .map(|row| (text(row, "account"), text(row, "fee_rate_group")))
                .collect(),
        }
    }

    /// Billed seconds and fee of a hold on `account` to `number`; without an account nothing is billed.
    #[track_caller]
    fn price(&self, account: &str, number: &str, hold: u64) -> (u64, i64) {
        if account.is_empty() {
            return (0, 0);
        }
        let group = self
            .groups
            .get(account)
            .unwrap_or_else(|| panic!("no account {account}"));
        let fits = self
            .rates
            .iter()
            .filter(|r| r.group == *group && number.starts_with(&r.prefix));
        let rate = fits
            .max_by_key(|r| r.prefix.len())
            .unwrap_or_else(|| panic!("no rate in {group} for {number}"));
        price(rate, hold)
    }

    /// Checks the hold and the three amounts of a call against its records; both are of one flow number.
    #[track_caller]
    pub fn check(&self, cdr: &Record, axb: &Record) {
        let hold = hold_secs(cdr);
        for row in [cdr, axb] {
            assert_eq!(row.number("hold_secs"), hold, "hold of {}", row.0);
        }
        let (bill, fee) = self.price(cdr.text("account"), cdr.text("callee"), hold);
        for row in [cdr, axb] {
            assert_eq!(
                (row.number("bill_secs"), row.amount("fee")),
                (bill, fee),
                "customer's charge of {}",
                row.0
            );
        }
        let landing = self.price(axb.text("landing_account"), cdr.text("callee_out"), hold);
        let billed = (axb.number("landing_bill_secs"), axb.amount("landing_fee"));
        assert_eq!(billed, landing, "landing settlement of {}", axb.0);
        let platform = self.price(axb.text("axb_account"), axb.text("b_number"), hold);
        let billed = (axb.number("axb_bill_secs"), axb.amount("axb_fee"));
        assert_eq!(billed, platform, "AXB settlement of {}", axb.0);
    }
}

/// Answer to end in seconds, rounded up, but a fraction below 50 ms is dropped; 0 when unanswered.
#[track_caller]
pub fn hold_secs(cdr: &Record) -> u64 {
    let (Some(answered), Some(ended)) = (cdr.time("answered_at"), cdr.time("ended_at")) else {
        return 0;
    };
    let talked = u64::try_from(ended - answered)
        .unwrap_or_else(|_| panic!("ends before its answer: {}", cdr.0));
    talked.saturating_sub(49).div_ceil(1000)
}

fn price(rate: &Rate, hold: u64) -> (u64, i64) {
    if hold == 0 {
        return (0, 0);
    }
    let (mut billed, mut fee) = (0, 0);
    for (lump, secs) in &rate.sections {
        if billed >= hold {
            return (billed, fee);
        }
        billed += secs;
        fee += lump;
    }
    while billed < hold {
        billed += rate.period;
        fee += rate.fee;
    }
    (billed, fee)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(fee: i64, period: u64, sections: &[(i64, u64)]) -> Rate {
        Rate {
            group: "g".into(),
            prefix: String::new(),
            fee,
            period,
            sections: sections.to_vec(),
        }
    }

    #[test]
    fn the_domain_page_s_example_comes_out() {
        assert_eq!(price(&rate(100_000, 60, &[]), 61), (120, 200_000));
        assert_eq!(price(&rate(30_000, 60, &[]), 61), (120, 60_000));
        assert_eq!(price(&rate(6_000, 6, &[]), 61), (66, 66_000));
        assert_eq!(price(&rate(6_000, 6, &[]), 0), (0, 0));
        assert_eq!(price(&rate(1, 6, &[(50, 3)]), 3), (3, 50));
        assert_eq!(price(&rate(1, 6, &[(50, 3)]), 4), (9, 51));
    }

    #[test]
    fn a_hold_drops_a_fraction_below_50_ms() {
        let cases = [
            (3_000, 3),
            (3_049, 3),
            (3_050, 4),
            (49, 0),
            (50, 1),
            (0, 0),
            (61_000, 61),
        ];
        for (ms, secs) in cases {
            let ended = format!(
                "1970-01-01T00:{:02}:{:02}.{:03}Z",
                ms / 60_000,
                ms / 1000 % 60,
                ms % 1000
            );
            let row =
                serde_json::json!({ "answered_at": "1970-01-01T00:00:00.000Z", "ended_at": ended });
            assert_eq!(hold_secs(&Record(row)), secs, "{ms} ms");
        }
    }
}
