//! Many rows at once: all of them or none.
//!
//! Every row is checked before the first is entered, so there is nothing to take back. No row of a table refers to
//! another of the same table; what the rows of one command can do to each other is to take a name, to give one up, or
//! to come twice, and those are kept [`Ahead`] of the row under check.

use super::edit::{Ahead, Edit};
use super::tables::name_of;
use super::valid::Valid;
use super::{Deed, State};
use crate::command::{Effect, PUT_MANY_MAX, PutMany, PutRow, Refusal, Reply};
use crate::entity::{
    AGroup, ANumber, Account, AxBinding, Entity, FeeRate, Interface, MappingGateway,
    RoutingGateway, XNumber,
};
use std::collections::HashMap;

impl State {
    pub(super) fn put_many(&mut self, many: &PutMany, effects: &mut Vec<Effect>) -> Reply {
        if let Some(reply) = self.lookup().requests.get(&many.request) {
            return reply.clone();
        }
        let result = match many.rows.first().map(|row| &row.entity) {
            None => Err(size()),
            Some(_) if many.rows.len() > PUT_MANY_MAX => Err(size()),
            Some(Entity::Interface(_)) => self.put_rows::<Interface>(many, effects),
            Some(Entity::XNumber(_)) => self.put_rows::<XNumber>(many, effects),
            Some(Entity::AGroup(_)) => self.put_rows::<AGroup>(many, effects),
            Some(Entity::ANumber(_)) => self.put_rows::<ANumber>(many, effects),
            Some(Entity::MappingGateway(_)) => self.put_rows::<MappingGateway>(many, effects),
            Some(Entity::RoutingGateway(_)) => self.put_rows::<RoutingGateway>(many, effects),
            Some(Entity::Account(_)) => self.put_rows::<Account>(many, effects),
            Some(Entity::FeeRate(_)) => self.put_rows::<FeeRate>(many, effects),
            Some(Entity::AxBinding(_)) => self.put_rows::<AxBinding>(many, effects),
        };
        let reply = Reply::from(result);
        self.remember(many.request, &reply);
        reply
    }

    /// Whether the row could be put as things stand now. Changes nothing, and knows nothing of rows beside it.
    pub fn check_row(&self, row: &PutRow) -> Result<(), Refusal> {
        match &row.entity {
            Entity::Interface(entity) => self.check_one(row, entity),
            Entity::XNumber(entity) => self.check_one(row, entity),
            Entity::AGroup(entity) => self.check_one(row, entity),
            Entity::ANumber(entity) => self.check_one(row, entity),
            Entity::MappingGateway(entity) => self.check_one(row, entity),
            Entity::RoutingGateway(entity) => self.check_one(row, entity),
            Entity::Account(entity) => self.check_one(row, entity),
            Entity::FeeRate(entity) => self.check_one(row, entity),
            Entity::AxBinding(entity) => self.check_one(row, entity),
        }
    }

    fn check_one<T: Valid>(&self, row: &PutRow, entity: &T) -> Result<(), Refusal> {
        let edit = Edit {
            id: row.id,
            version: row.version,
            memo: &row.memo,
            entity,
        };
        self.checked(&edit, &Ahead::default()).map(drop)
    }

    fn put_rows<T: Valid>(
        &mut self,
        many: &PutMany,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let mut good = Vec::with_capacity(many.rows.len());
        let mut ahead = Ahead::default();
        let mut changed = HashMap::new();
        for (place, row) in many.rows.iter().enumerate() {
            let Some(entity) = T::of(&row.entity) else {
                return Err(at(place, invalid("entity", "is of another table")));
            };
            if let Some(first) = row.id.and_then(|id| changed.insert(id, place)) {
                let text = format!("the row is in rows[{first}] already");
                return Err(at(place, invalid("id", &text)));
            }
            let edit = Edit {
                id: row.id,
                version: row.version,
                memo: &row.memo,
                entity,
            };
            let old = self
                .checked(&edit, &ahead)
                .map_err(|refusal| at(place, refusal))?;
            if let Some(old) = &old {
                ahead.names.insert(name_of(&old.entity).1, None);
            }
            ahead.names.insert(name_of(entity).1, Some(place));
            good.push((edit, old));
        }
        let ids = good
            .iter()
            .map(|(edit, old)| self.enter(&many.actor, edit, old.as_ref()).id)
            .collect();
        let rows = good.len() as u32;
        let table = T::TABLE;
        self.note(&many.actor, Deed::PutMany { table, rows }, None, None);
        effects.push(Effect::EditedMany { table, rows });
        Ok(Reply::Rows(ids))
    }
}

fn invalid(field: &str, text: &str) -> Refusal {
    Refusal::Invalid {
        field: field.to_owned(),
        text: text.to_owned(),
    }
}

fn size() -> Refusal {
    invalid("rows", &format!("must be 1 to {PUT_MANY_MAX}"))
}

/// A row's refusal as the command's: every one names its row.
fn at(place: usize, refusal: Refusal) -> Refusal {
    let (field, text) = match refusal {
        Refusal::Invalid { field, text } => (field, text),
        Refusal::NotFound => ("id".to_owned(), "no such row".to_owned()),
        Refusal::VersionConflict { version } => {
            ("version".to_owned(), format!("is {version} by now"))
        }
        Refusal::InUse { by } => ("id".to_owned(), format!("is in use by {by}")),
        other => return other,
    };
    Refusal::Invalid {
        field: format!("rows[{place}].{field}"),
        text,
    }
}
