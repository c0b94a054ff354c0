//! The tables that operators edit, seen alike: where their rows lie, what names them, what is derived from them.

use super::Content;
use super::index::Index;
use super::paged::Rows;
use crate::entity::{
    AGroup, ANumber, Account, AxBinding, Entity, FeeRate, Id, Interface, MappingGateway,
    RoutingGateway, Row, Table, XNumber,
};
use std::sync::Arc;

/// A type of rows.
pub(super) trait Tabled: Clone + PartialEq {
    const TABLE: Table;
    /// What no other row of the table may have.
    fn key(&self) -> String;
    fn rows(content: &Content) -> &Rows<Self>;
    fn rows_mut(content: &mut Content) -> &mut Rows<Self>;
    /// Puts what follows from a row into the index, or takes it out.
    fn link(index: &mut Index, row: &Arc<Row<Self>>, present: bool);
    fn wrap(self) -> Entity;
    /// The other way; `None` for a row of another table.
    fn of(entity: &Entity) -> Option<&Self>;
}

/// The name table's key of a row.
pub(super) fn name_of<T: Tabled>(entity: &T) -> (Table, Arc<str>) {
    (T::TABLE, Arc::from(entity.key()))
}

/// The key of an A number: unique within its group.
pub(super) fn a_key(group: Id, number: &str) -> String {
    format!("{group}/{number}")
}

/// The key of a static relation: the pair, which no two interfaces may share either.
pub(super) fn ax_key(a: &str, x: &str) -> String {
    format!("{a}/{x}")
}

/// The key of a rate: its prefix within its group. Neither may hold a slash.
pub(super) fn rate_key(group: &str, prefix: &str) -> String {
    format!("{group}/{prefix}")
}

pub(super) const TABLES: [Table; 9] = [
    Table::Interfaces,
    Table::XNumbers,
    Table::AGroups,
    Table::ANumbers,
    Table::MappingGateways,
    Table::RoutingGateways,
    Table::Accounts,
    Table::FeeRates,
    Table::AxBindings,
];

/// Position of a table's counter.
pub(super) fn slot(table: Table) -> usize {
    TABLES
        .iter()
        .position(|t| *t == table)
        .expect("TABLES names every table")
}

macro_rules! tabled {
    ($entity:ident, $table:ident, $rows:ident, $self:ident => $key:expr, ($index:ident, $row:ident, $present:ident) => $link:expr) => {
        impl Tabled for $entity {
            const TABLE: Table = Table::$table;
            fn key(&$self) -> String {
                $key
            }
            fn rows(content: &Content) -> &Rows<Self> {
                &content.$rows
            }
            fn rows_mut(content: &mut Content) -> &mut Rows<Self> {
                &mut content.$rows
            }
            fn link($index: &mut Index, $row: &Arc<Row<Self>>, $present: bool) {
                $index.name(name_of(&$row.entity), $row.id, $present);
                $link
            }
            fn wrap(self) -> Entity {
                Entity::$entity(self)
            }
            fn of(entity: &Entity) -> Option<&Self> {
                match entity {
                    Entity::$entity(entity) => Some(entity),
                    _ => None,
                }
            }
        }
    };
}

tabled!(Interface, Interfaces, interfaces, self => self.name.clone(), (index, row, present) => {
    index.interface(row, present)
});
tabled!(AGroup, AGroups, a_groups, self => self.name.clone(), (index, row, present) => {});
tabled!(Account, Accounts, accounts, self => self.account.clone(), (index, row, present) => {});
tabled!(XNumber, XNumbers, x_numbers, self => self.number.clone(), (index, row, present) => index.x_row(row, present));
tabled!(ANumber, ANumbers, a_numbers, self => a_key(self.group, &self.number), (index, row, present) => {
    index.a_row(row, present)
});
tabled!(MappingGateway, MappingGateways, mapping, self => self.name.clone(), (index, row, present) => {
    index.mapping(row, present)
});
tabled!(RoutingGateway, RoutingGateways, routing, self => self.name.clone(), (index, row, present) => {
    index.routing(row, present)
});
tabled!(FeeRate, FeeRates, rates, self => rate_key(&self.group, &self.prefix), (index, row, present) => {
    index.rate(row, present)
});
tabled!(AxBinding, AxBindings, ax, self => ax_key(&self.a_number, &self.x_number), (index, row, present) => {});
