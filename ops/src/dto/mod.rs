//! Rows as people write and read them: the field names of `DOMAIN.md` §3, references by name, amounts as decimal
//! strings.
//!
//! One struct a table, used by the admin API (JSON) and by seed files (TOML) alike. Unknown fields are errors, missing
//! ones take the default that the struct states. A row goes to the cluster by `entity` and comes back by `of`; live
//! columns are added by [`crate::rows`].

mod account;
mod gateway;
mod number;

pub use account::{Account, FeeRate, Section};
pub use gateway::{MappingGateway, PrefixList, Protocol, RoutingGateway};
pub use number::{AGroup, ANumber, AxBinding, HttpVersion, Interface, XNumber, XState, is_secret};

use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde_json::{Map, Value};
use std::fmt;
use tandem_cluster::entity::{Entity, Id, Table};

/// What a masked secret looks like. Written back, it keeps the secret that is there.
pub const MASK: &str = "***";

/// Where names become ids and back.
pub trait Names {
    /// The name people use for a row.
    fn name(&self, table: Table, id: Id) -> Option<String>;
    /// The row with this name.
    fn find(&self, table: Table, name: &str) -> Option<Id>;
}

/// A field that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {text}")]
pub struct Fault {
    /// Which.
    pub field: String,
    /// What is wrong with it.
    pub text: String,
}

impl Fault {
    /// A fault of `field`.
    pub fn new(field: impl Into<String>, text: impl Into<String>) -> Fault {
        Fault {
            field: field.into(),
            text: text.into(),
        }
    }
}

/// All tables that operators edit, in the order in which rows may refer to each other: a row refers only to tables
/// before its own.
pub const TABLES: [Table; 9] = [
    Table::FeeRates,
    Table::Accounts,
    Table::Interfaces,
    Table::AGroups,
    Table::XNumbers,
    Table::ANumbers,
    Table::AxBindings,
    Table::RoutingGateways,
    Table::MappingGateways,
];

/// The collection's name in the API.
pub fn path(table: Table) -> &'static str {
    match table {
        Table::Interfaces => "interfaces",
        Table::XNumbers => "x-numbers",
        Table::AGroups => "a-groups",
        Table::ANumbers => "a-numbers",
        Table::MappingGateways => "mapping-gateways",
        Table::RoutingGateways => "routing-gateways",
        Table::Accounts => "accounts",
        Table::FeeRates => "fee-rates",
        Table::AxBindings => "ax-bindings",
    }
}

/// One row of a table, in words.
pub fn noun(table: Table) -> &'static str {
    match table {
        Table::Interfaces => "interface",
        Table::XNumbers => "X number",
        Table::AGroups => "A group",
        Table::ANumbers => "A number",
        Table::MappingGateways => "mapping gateway",
        Table::RoutingGateways => "routing gateway",
        Table::Accounts => "account",
        Table::FeeRates => "fee rate",
        Table::AxBindings => "AX binding",
    }
}

/// The table behind a collection's name.
pub fn table(path_: &str) -> Option<Table> {
    TABLES.into_iter().find(|table| path(*table) == path_)
}

/// Fields that hold a name of another table's row; each is shown with `<field>_id` beside it and may be written by
/// either.
pub fn references(table: Table) -> &'static [(&'static str, Table)] {
    match table {
        Table::XNumbers | Table::AxBindings => &[("interface", Table::Interfaces)],
        Table::ANumbers => &[("group", Table::AGroups)],
        Table::MappingGateways => &[("account", Table::Accounts)],
        Table::RoutingGateways => &[
            ("a_group", Table::AGroups),
            ("interface", Table::Interfaces),
            ("clearing_account", Table::Accounts),
            ("axb_account", Table::Accounts),
        ],
        Table::Interfaces | Table::AGroups | Table::Accounts | Table::FeeRates => &[],
    }
}

/// A row of any table, without what the state itself adds.
#[derive(Clone, Debug, PartialEq)]
pub enum Dto {
    /// An interface.
    Interface(Interface),
    /// An X number.
    XNumber(XNumber),
    /// An A group.
    AGroup(AGroup),
    /// An A number.
    ANumber(ANumber),
    /// A mapping gateway.
    MappingGateway(MappingGateway),
    /// A routing gateway.
    RoutingGateway(RoutingGateway),
    /// An account.
    Account(Account),
    /// A fee rate.
    FeeRate(FeeRate),
    /// A static (A,X) relation.
    AxBinding(AxBinding),
}

impl Dto {
    /// Reads a row of `table` from JSON. Faults name the field.
    pub fn read(table: Table, fields: &Map<String, Value>) -> Result<Dto, Fault> {
        Ok(match table {
            Table::Interfaces => Dto::Interface(strict(fields)?),
            Table::XNumbers => Dto::XNumber(strict(fields)?),
            Table::AGroups => Dto::AGroup(strict(fields)?),
            Table::ANumbers => Dto::ANumber(strict(fields)?),
            Table::MappingGateways => Dto::MappingGateway(strict(fields)?),
            Table::RoutingGateways => Dto::RoutingGateway(strict(fields)?),
            Table::Accounts => Dto::Account(strict(fields)?),
            Table::FeeRates => Dto::FeeRate(strict(fields)?),
            Table::AxBindings => Dto::AxBinding(strict(fields)?),
        })
    }

    /// A row as people read it; secrets are masked.
    pub fn of(entity: &Entity, memo: &str, names: &dyn Names) -> Dto {
        match entity {
            Entity::Interface(row) => Dto::Interface(Interface::of(row, memo)),
            Entity::XNumber(row) => Dto::XNumber(XNumber::of(row, memo, names)),
            Entity::AGroup(row) => Dto::AGroup(AGroup {
                name: row.name.clone(),
                memo: memo.into(),
            }),
            Entity::ANumber(row) => Dto::ANumber(ANumber::of(row, memo, names)),
            Entity::MappingGateway(row) => {
                Dto::MappingGateway(MappingGateway::of(row, memo, names))
            }
            Entity::RoutingGateway(row) => {
                Dto::RoutingGateway(RoutingGateway::of(row, memo, names))
            }
            Entity::Account(row) => Dto::Account(Account::of(row, memo)),
            Entity::FeeRate(row) => Dto::FeeRate(FeeRate::of(row, memo)),
            Entity::AxBinding(row) => Dto::AxBinding(AxBinding::of(row, memo, names)),
        }
    }

    /// The row for the cluster. `old` is the row it replaces: masked secrets are taken from it, and an account's
    /// balance, which edits never change.
    pub fn entity(&self, names: &dyn Names, old: Option<&Entity>) -> Result<Entity, Fault> {
        Ok(match self {
            Dto::Interface(row) => Entity::Interface(row.entity(match old {
                Some(Entity::Interface(old)) => Some(old),
                _ => None,
            })?),
            Dto::XNumber(row) => Entity::XNumber(row.entity(names)?),
            Dto::AGroup(row) => Entity::AGroup(tandem_cluster::entity::AGroup {
                name: row.name.clone(),
            }),
            Dto::ANumber(row) => Entity::ANumber(row.entity(names)?),
            Dto::MappingGateway(row) => Entity::MappingGateway(row.entity(names)?),
            Dto::RoutingGateway(row) => Entity::RoutingGateway(row.entity(names)?),
            Dto::Account(row) => Entity::Account(row.entity(match old {
                Some(Entity::Account(old)) => Some(old),
                _ => None,
            })?),
            Dto::FeeRate(row) => Entity::FeeRate(row.entity()),
            Dto::AxBinding(row) => Entity::AxBinding(row.entity(names)?),
        })
    }

    /// 备注
    pub fn memo(&self) -> &str {
        match self {
            Dto::Interface(row) => &row.memo,
            Dto::XNumber(row) => &row.memo,
            Dto::AGroup(row) => &row.memo,
            Dto::ANumber(row) => &row.memo,
            Dto::MappingGateway(row) => &row.memo,
            Dto::RoutingGateway(row) => &row.memo,
            Dto::Account(row) => &row.memo,
            Dto::FeeRate(row) => &row.memo,
            Dto::AxBinding(row) => &row.memo,
        }
    }

    /// Its table.
    pub fn table(&self) -> Table {
        match self {
            Dto::Interface(_) => Table::Interfaces,
            Dto::XNumber(_) => Table::XNumbers,
            Dto::AGroup(_) => Table::AGroups,
            Dto::ANumber(_) => Table::ANumbers,
            Dto::MappingGateway(_) => Table::MappingGateways,
            Dto::RoutingGateway(_) => Table::RoutingGateways,
            Dto::Account(_) => Table::Accounts,
            Dto::FeeRate(_) => Table::FeeRates,
            Dto::AxBinding(_) => Table::AxBindings,
        }
    }

    /// The name that is unique in its table, as [`key`] gives it for a row of the cluster.
    pub fn key(&self) -> String {
        match self {
            Dto::Interface(row) => row.name.clone(),
            Dto::XNumber(row) => row.number.clone(),
            Dto::AGroup(row) => row.name.clone(),
            Dto::ANumber(row) => format!("{}/{}", row.group, row.number),
            Dto::MappingGateway(row) => row.name.clone(),
            Dto::RoutingGateway(row) => row.name.clone(),
            Dto::Account(row) => row.account.clone(),
            Dto::FeeRate(row) => format!("{}/{}", row.group, row.prefix),
            Dto::AxBinding(row) => format!("{}/{}", row.a_number, row.x_number),
        }
    }

    /// The fields as JSON.
    pub fn fields(&self) -> Map<String, Value> {
        match self {
            Dto::Interface(row) => object(row),
            Dto::XNumber(row) => object(row),
            Dto::AGroup(row) => object(row),
            Dto::ANumber(row) => object(row),
            Dto::MappingGateway(row) => object(row),
            Dto::RoutingGateway(row) => object(row),
            Dto::Account(row) => object(row),
            Dto::FeeRate(row) => object(row),
            Dto::AxBinding(row) => object(row),
        }
    }
}

/// The table of a row.
pub fn table_of(entity: &Entity) -> Table {
    match entity {
        Entity::Interface(_) => Table::Interfaces,
        Entity::XNumber(_) => Table::XNumbers,
        Entity::AGroup(_) => Table::AGroups,
        Entity::ANumber(_) => Table::ANumbers,
        Entity::MappingGateway(_) => Table::MappingGateways,
        Entity::RoutingGateway(_) => Table::RoutingGateways,
        Entity::Account(_) => Table::Accounts,
        Entity::FeeRate(_) => Table::FeeRates,
        Entity::AxBinding(_) => Table::AxBindings,
    }
}

/// Reads a struct from JSON; a fault names the field, which serde itself does not do for a wrong type.
pub fn strict<T: DeserializeOwned>(fields: &Map<String, Value>) -> Result<T, Fault> {
    let read =
        |fields: Map<String, Value>| T::deserialize(Value::Object(fields).into_deserializer());
    let error = match read(fields.clone()) {
        Ok(row) => return Ok(row),
        Err(error) => error.to_string(),
    };
    if let Some(field) = quoted(&error, "missing field `") {
        return Err(Fault::new(field, "is missing"));
    }
    if let Some(field) = quoted(&error, "unknown field `") {
        return Err(Fault::new(field, "no such field"));
    }
    // The culprit is the field without which the complaint changes.
    let culprit = fields.keys().find(|key| {
        let mut without = fields.clone();
        without.remove(*key);
        read(without)
            .err()
            .is_none_or(|other| other.to_string() != error)
    });
    Err(Fault::new(
        culprit.map(String::as_str).unwrap_or("body"),
        error,
    ))
}

/// The word in backquotes that follows `head`.
pub(crate) fn quoted<'t>(text: &'t str, head: &str) -> Option<&'t str> {
    text.strip_prefix(head)?.split('`').next()
}

fn object<T: Serialize>(row: &T) -> Map<String, Value> {
    match serde_json::to_value(row) {
        Ok(Value::Object(fields)) => fields,
        // Rows are structs with string keys, which JSON always holds.
        _ => Map::new(),
    }
}

/// Finds the row that a field names.
fn reference(names: &dyn Names, table: Table, field: &str, name: &str) -> Result<Id, Fault> {
    names
        .find(table, name)
        .ok_or_else(|| Fault::new(field, format!("no {} `{name}`", noun(table))))
}

/// The name of a row that another refers to. The state keeps such rows, so `#7` is never seen with a whole state.
fn named(names: &dyn Names, table: Table, id: Id) -> String {
    names.name(table, id).unwrap_or_else(|| format!("#{id}"))
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

/// Serde form of times: RFC 3339 UTC with milliseconds.
mod moment {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use tandem_billing::Time;
    use tandem_cluster::entity::Millis;

    pub fn serialize<S: Serializer>(at: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(Time::from_ms).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Millis>, D::Error> {
        Ok(Option::<Time>::deserialize(deserializer)?.map(Time::ms))
    }
}

/// A number in words, for faults of bounded fields.
fn bounded(field: &str, value: u32, least: u32, most: u32) -> Result<u32, Fault> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Fault::new(
        field,
        format!("{value} is not within {least} and {most}"),
    ))
}

impl fmt::Display for Dto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", noun(self.table()), self.key())
    }
}
