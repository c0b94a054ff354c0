//! Accounts and fee rates.

use super::{Fault, moment};
use serde::{Deserialize, Deserializer, Serialize};
use tandem_billing::Money;
use tandem_cluster::entity::{self, AccountKind, Millis};
use utoipa::ToSchema;

/// 账户.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// 账户号码, unique.
    pub account: String,
    /// 账户名称
    #[serde(default)]
    pub name: String,
    /// Balance. Written when the row is made; afterwards it moves by payments and charges only, and what an edit says
    /// about it is passed over.
    #[serde(default)]
    #[schema(value_type = String)]
    pub money: Money,
    /// 透支限额, not negative.
    #[serde(default)]
    #[schema(value_type = String)]
    pub limit_money: Money,
    /// Group of fee rates that prices its calls.
    #[serde(default)]
    pub fee_rate_group: String,
    /// 类型: `normal` (0), `card` (1) or `settlement` (2).
    #[serde(
        rename = "type",
        alias = "kind",
        default,
        deserialize_with = "account_kind"
    )]
    #[schema(value_type = String)]
    pub kind: AccountKind,
    /// 0 free, 3 all locked.
    #[serde(default)]
    pub lock_type: u8,
    /// Not usable after this time.
    #[serde(default, with = "moment")]
    #[schema(value_type = Option<String>)]
    pub valid_until: Option<Millis>,
    /// A settlement account whose balance is checked as a customer's is.
    #[serde(default)]
    pub check_balance: bool,
    /// 备注
    #[serde(default)]
    pub memo: String,
}

/// Reads a type by word or by its number.
fn account_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AccountKind, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u8),
        Word(String),
    }
    let text = match Written::deserialize(deserializer)? {
        Written::Number(number) => number.to_string(),
        Written::Word(word) => word,
    };
    match text.as_str() {
        "0" | "normal" => Ok(AccountKind::Normal),
        "1" | "card" => Ok(AccountKind::Card),
        "2" | "settlement" => Ok(AccountKind::Settlement),
        other => Err(serde::de::Error::custom(format!(
            "`{other}` is none of normal, card, settlement"
        ))),
    }
}

impl Account {
    pub(super) fn of(row: &entity::Account, memo: &str) -> Account {
        Account {
            account: row.account.clone(),
            name: row.name.clone(),
            money: Money::from_micros(row.money),
            limit_money: Money::from_micros(row.limit_money),
            fee_rate_group: row.fee_rate_group.clone(),
            kind: row.kind,
            lock_type: row.lock_type,
            valid_until: row.valid_until,
            check_balance: row.check_balance,
            memo: memo.into(),
        }
    }

    pub(super) fn entity(&self, old: Option<&entity::Account>) -> Result<entity::Account, Fault> {
        if self.limit_money.is_negative() {
            return Err(Fault::new("limit_money", "must not be negative"));
        }
        Ok(entity::Account {
            account: self.account.clone(),
            name: self.name.clone(),
            money: old.map_or(self.money.micros(), |old| old.money),
            limit_money: self.limit_money.micros(),
            fee_rate_group: self.fee_rate_group.clone(),
            kind: self.kind,
            lock_type: self.lock_type,
            valid_until: self.valid_until,
            check_balance: self.check_balance,
        })
    }
}

/// One piece of 分段费率: the first `secs` cost `fee` as a lump.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Price of the piece.
    #[schema(value_type = String)]
    pub fee: Money,
    /// Its length, seconds.
    pub secs: u32,
}

/// 费率.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeeRate {
    /// Rates are looked up within a group.
    pub group: String,
    /// Longest match wins; empty matches everything.
    #[serde(default)]
    pub prefix: String,
    /// Area, for people.
    #[serde(default)]
    pub area_code: String,
    /// Area, for people.
    #[serde(default)]
    pub area_name: String,
    /// 1 网内, 2 本地, 4 国内, 5 国际.
    #[serde(default = "level")]
    pub level: u8,
    /// Price of one period.
    #[schema(value_type = String)]
    pub fee: Money,
    /// 计费周期, seconds, at least 1.
    pub period: u32,
    /// A locked rate refuses the call.
    #[serde(default)]
    pub locked: bool,
    /// 分段费率, in order, before the periods.
    #[serde(default)]
    pub sections: Vec<Section>,
    /// 备注
    #[serde(default)]
    pub memo: String,
}

fn level() -> u8 {
    4
}

impl FeeRate {
    pub(super) fn of(row: &entity::FeeRate, memo: &str) -> FeeRate {
        FeeRate {
            group: row.group.clone(),
            prefix: row.prefix.clone(),
            area_code: row.area_code.clone(),
            area_name: row.area_name.clone(),
            level: row.level,
            fee: Money::from_micros(row.fee),
            period: row.period,
            locked: row.locked,
            sections: row
                .sections
                .iter()
                .map(|section| Section {
                    fee: Money::from_micros(section.fee),
                    secs: section.secs,
                })
                .collect(),
            memo: memo.into(),
        }
    }

    pub(super) fn entity(&self) -> entity::FeeRate {
        entity::FeeRate {
            group: self.group.clone(),
            prefix: self.prefix.clone(),
            area_code: self.area_code.clone(),
            area_name: self.area_name.clone(),
            level: self.level,
            fee: self.fee.micros(),
            period: self.period,
            locked: self.locked,
            sections: self
                .sections
                .iter()
                .map(|section| entity::Section {
                    fee: section.fee.micros(),
                    secs: section.secs,
                })
                .collect(),
        }
    }
}
