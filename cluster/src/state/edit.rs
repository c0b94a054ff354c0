//! Rows made, changed and removed by operators.

use super::tables::{Tabled, name_of, slot};
use super::valid::Valid;
use super::{AxPhase, Deed, PaidAs, State};
use crate::command::{Effect, Put, Refusal, Remove, Reply};
use crate::entity::{ANumber, Account, AxBinding, Entity, FeeRate, Id, Row, Table, XNumber};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of a memo.
const MEMO_MAX: usize = 1_000;

/// A row to be put.
pub(super) struct Edit<'a, T> {
    pub(super) id: Option<Id>,
    pub(super) version: Option<u32>,
    pub(super) memo: &'a str,
    pub(super) entity: &'a T,
}

/// What earlier rows of the same command do to the names of their table: taken by a row of the command, or given up.
#[derive(Default)]
pub(super) struct Ahead {
    pub(super) names: HashMap<Arc<str>, Option<usize>>,
}

impl State {
    pub(super) fn put(&mut self, put: &Put, effects: &mut Vec<Effect>) -> Reply {
        if let Some(reply) = self.lookup().requests.get(&put.request) {
            return reply.clone();
        }
        let result = match &put.entity {
            Entity::Interface(entity) => self.put_row(put, entity, effects),
            Entity::XNumber(entity) => self.put_row(put, entity, effects),
            Entity::AGroup(entity) => self.put_row(put, entity, effects),
            Entity::ANumber(entity) => self.put_row(put, entity, effects),
            Entity::MappingGateway(entity) => self.put_row(put, entity, effects),
            Entity::RoutingGateway(entity) => self.put_row(put, entity, effects),
            Entity::Account(entity) => self.put_row(put, entity, effects),
            Entity::FeeRate(entity) => self.put_row(put, entity, effects),
            Entity::AxBinding(entity) => self.put_row(put, entity, effects),
        };
        let reply = Reply::from(result);
        self.remember(put.request, &reply);
        reply
    }

    fn put_row<T: Valid>(
        &mut self,
        put: &Put,
        entity: &T,
        effects: &mut Vec<Effect>,
    ) -> Result<Reply, Refusal> {
        let edit = Edit {
            id: put.id,
            version: put.version,
            memo: &put.memo,
            entity,
        };
        let old = self.checked(&edit, &Ahead::default())?;
        let row = self.enter(&put.actor, &edit, old.as_ref());
        let (id, version) = (row.id, row.version);
        let before = old.map(|old| old.entity.clone().wrap());
        self.note(
            &put.actor,
            Deed::Put {
                table: T::TABLE,
                id,
            },
            before,
            Some(row.entity.clone().wrap()),
        );
        effects.push(Effect::Edited {
            table: T::TABLE,
            id,
        });
        Ok(Reply::Row { id, version })
    }

    /// Whether a row may be put behind those `ahead` of it; the row that it replaces. Changes nothing.
    pub(super) fn checked<T: Valid>(
        &self,
        edit: &Edit<'_, T>,
        ahead: &Ahead,
    ) -> Result<Option<Arc<Row<T>>>, Refusal> {
        let old = match edit.id {
            None => None,
            Some(id) => Some(
                T::rows(&self.content)
                    .get(&id)
                    .filter(|_| !self.is_leaving(T::TABLE, id))
                    .cloned()
                    .ok_or(Refusal::NotFound)?,
            ),
        };
        if let (Some(old), Some(seen)) = (&old, edit.version)
            && old.version != seen
        {
            return Err(Refusal::VersionConflict {
                version: old.version,
            });
        }
        if edit.memo.len() > MEMO_MAX {
            return Err(Refusal::Invalid {
                field: "memo".to_owned(),
                text: format!("at most {MEMO_MAX} bytes"),
            });
        }
        edit.entity.valid(self, old.as_deref())?;
        let name = name_of(edit.entity);
        let there = match ahead.names.get(&name.1) {
            Some(Some(place)) => Some(format!("rows[{place}]")),
            // Given up by a row before this one.
            Some(None) => None,
            None => (self.index.names.get(&name))
                .filter(|other| Some(**other) != edit.id)
                .map(|other| format!("row {other}")),
        };
        match there {
            None => Ok(old),
            Some(place) => Err(Refusal::Invalid {
                field: T::KEY_FIELD.to_owned(),
                text: format!("`{}` is there already, as {place}", name.1),
            }),
        }
    }

    /// Puts a row that was found good.
    pub(super) fn enter<T: Valid>(
        &mut self,
        actor: &str,
        edit: &Edit<'_, T>,
        old: Option<&Arc<Row<T>>>,
    ) -> Arc<Row<T>> {
        let id = match edit.id {
            Some(id) => id,
            None => {
                let last = &mut self.content.last_ids[slot(T::TABLE)];
                *last += 1;
                *last
            }
        };
        let at = self.content.at;
        let row = Arc::new(Row {
            id,
            memo: edit.memo.to_owned(),
            created_at: old.map_or(at, |old| old.created_at),
            updated_at: at,
            version: old.map_or(1, |old| old.version.saturating_add(1)),
            entity: edit.entity.kept(old.map(|old| &**old)),
        });
        let exclusive = self.index.exclusive.contains(&id);
        if let Some(old) = old {
            T::link(&mut self.index, old, false);
        }
        T::rows_mut(&mut self.content).insert(id, row.clone());
        T::link(&mut self.index, &row, true);
        let renamed = old.is_some_and(|old| name_of(&old.entity) != name_of(&row.entity));
        match T::TABLE {
            // Its limit of one binding per X has come or gone.
            Table::Interfaces if exclusive != self.index.exclusive.contains(&id) => {
                self.refresh_x_of(id);
            }
            // Another pair: what was said of the former one is not true of it.
            Table::AxBindings if renamed => {
                self.content.ax_live.remove(&id);
            }
            _ => {}
        }
        self.refresh(T::TABLE, id);
        if let (None, Some(money)) = (old, row.entity.opening()) {
            self.content.money.insert(id, money);
            if money != 0 {
                self.record_payment(actor, id, PaidAs::Open, money, "");
            }
        }
        row
    }

    pub(super) fn remove(&mut self, remove: &Remove, effects: &mut Vec<Effect>) -> Reply {
        if let Some(reply) = self.lookup().requests.get(&remove.request) {
            return reply.clone();
        }
        let result = match remove.table {
            Table::Interfaces => self.remove_row::<crate::entity::Interface>(remove),
            Table::XNumbers => self.remove_row::<XNumber>(remove),
            Table::AGroups => self.remove_row::<crate::entity::AGroup>(remove),
            Table::ANumbers => self.remove_row::<ANumber>(remove),
            Table::MappingGateways => self.remove_row::<crate::entity::MappingGateway>(remove),
            Table::RoutingGateways => self.remove_row::<crate::entity::RoutingGateway>(remove),
            Table::Accounts => self.remove_row::<Account>(remove),
            Table::FeeRates => self.remove_row::<FeeRate>(remove),
            Table::AxBindings => self.remove_row::<AxBinding>(remove),
        };
        if result.is_ok() {
            effects.push(Effect::Edited {
                table: remove.table,
                id: remove.id,
            });
        }
        let reply = Reply::from(result);
        self.remember(remove.request, &reply);
        reply
    }

    fn remove_row<T: Valid>(&mut self, remove: &Remove) -> Result<Reply, Refusal> {
        let id = remove.id;
        let row = T::rows(&self.content)
            .get(&id)
            .filter(|_| !self.is_leaving(T::TABLE, id))
            .cloned();
        let row = row.ok_or(Refusal::NotFound)?;
        if let Some(seen) = remove.version
            && seen != row.version
        {
            return Err(Refusal::VersionConflict {
                version: row.version,
            });
        }
        if let Some(by) = self.used_by(T::TABLE, id) {
            return Err(Refusal::InUse { by });
        }
        match T::TABLE {
            // Nothing new is given from now on; the row goes with the last that stands on it.
            Table::XNumbers if self.x_use(id) > 0 => {
                self.content.leaving_x.insert(id);
                self.index.x_refresh(&self.content, id);
            }
            Table::ANumbers if self.a_use(id) > 0 => {
                self.content.leaving_a.insert(id);
                self.index.a_refresh(&self.content, id);
            }
            Table::Accounts => {
                let (money, _) = self.account_balance(id);
                if money != 0 {
                    self.content.money.insert(id, 0);
                    self.record_payment(&remove.actor, id, PaidAs::Zero, -money, "");
                }
                self.content.money.remove(&id);
                self.unlink::<T>(id);
            }
            _ => self.unlink::<T>(id),
        }
        match T::TABLE {
            Table::Interfaces => {
                self.content.errors.remove(&id);
                if let Some(let_go) = self.content.let_go.remove(&id) {
                    self.index.let_go = self.index.let_go.saturating_sub(let_go);
                }
            }
            Table::RoutingGateways => {
                self.content.past.remove(&id);
            }
            Table::AxBindings => {
                self.content.ax_live.remove(&id);
                self.index.ax.refresh(&self.content, id);
            }
            _ => {}
        }
        let before = Some(row.entity.clone().wrap());
        self.note(
            &remove.actor,
            Deed::Remove {
                table: T::TABLE,
                id,
            },
            before,
            None,
        );
        Ok(Reply::Done)
    }

    /// Takes a row out of its table and of all that follows from it.
    pub(super) fn unlink<T: Tabled>(&mut self, id: Id) {
        if let Some(row) = T::rows_mut(&mut self.content).remove(&id) {
            T::link(&mut self.index, &row, false);
        }
        if let (Table::XNumbers, Some(lookup)) = (T::TABLE, self.index.lookup.made_mut()) {
            lookup.standing.forget(id);
        }
    }

    fn refresh(&mut self, table: Table, id: Id) {
        match table {
            Table::XNumbers => self.index.x_refresh(&self.content, id),
            Table::ANumbers => self.index.a_refresh(&self.content, id),
            Table::AxBindings => self.index.ax.refresh(&self.content, id),
            _ => {}
        }
    }

    fn refresh_x_of(&mut self, interface: Id) {
        let of = |x: &&Row<XNumber>| x.entity.interface == interface;
        let ids: Vec<Id> = self.x_numbers().filter(of).map(|x| x.id).collect();
        for id in ids {
            self.index.x_refresh(&self.content, id);
        }
    }

    /// Removed already, only waiting for what stands on it.
    fn is_leaving(&self, table: Table, id: Id) -> bool {
        match table {
            Table::XNumbers => self.content.leaving_x.contains(&id),
            Table::ANumbers => self.content.leaving_a.contains(&id),
            _ => false,
        }
    }

    /// What keeps a row from being removed, if anything.
    fn used_by(&self, table: Table, id: Id) -> Option<String> {
        let routing = |uses: &dyn Fn(&crate::entity::RoutingGateway) -> bool| {
            self.routing_gateways()
                .find(|row| uses(&row.entity))
                .map(|row| format!("routing gateway `{}`", row.entity.name))
        };
        let mapping = |uses: &dyn Fn(&crate::entity::MappingGateway) -> bool| {
            self.mapping_gateways()
                .find(|row| uses(&row.entity))
                .map(|row| format!("mapping gateway `{}`", row.entity.name))
        };
        let call = |uses: &dyn Fn(&super::Call) -> bool| {
            self.calls()
                .find(|call| uses(call))
                .map(|call| format!("call {}", call.id()))
        };
        match table {
            Table::Interfaces => {
                routing(&|row| row.axb.as_ref().is_some_and(|axb| axb.interface == id))
                    .or_else(|| {
                        let mut x = self.x_numbers().filter(|x| x.entity.interface == id);
                        x.next().map(|x| format!("X number `{}`", x.entity.number))
                    })
                    .or_else(|| {
                        let mut bindings =
                            self.bindings().filter(|binding| binding.interface == id);
                        bindings
                            .next()
                            .map(|binding| format!("binding {}", binding.id))
                    })
                    .or_else(|| {
                        let mut rows = self.ax_bindings().filter(|ax| ax.entity.interface == id);
                        rows.next().map(|ax| {
                            let AxBinding {
                                a_number, x_number, ..
                            } = &ax.entity;
                            format!("AX binding `{a_number}/{x_number}`")
                        })
                    })
            }
            Table::AGroups => routing(&|row| row.axb.as_ref().is_some_and(|axb| axb.a_group == id))
                .or_else(|| {
                    let mut a = self.a_numbers().filter(|a| a.entity.group == id);
                    a.next().map(|a| format!("A number `{}`", a.entity.number))
                }),
            Table::XNumbers | Table::ANumbers | Table::FeeRates => None,
            Table::AxBindings => {
                let live = self.ax_live(id).filter(|live| live.takes_pair())?;
                Some(match live.phase {
                    AxPhase::Error => "the platform, which may have it: unbind it first".to_owned(),
                    _ => "the platform, which has it: unbind it first".to_owned(),
                })
            }
            Table::MappingGateways => call(&|call| call.asked.gateway == id),
            Table::RoutingGateways => {
                mapping(&|row| row.routing_gateways.contains(&id)).or_else(|| {
                    call(&|call| {
                        call.routed
                            && call
                                .attempt
                                .as_ref()
                                .is_some_and(|attempt| attempt.gateway == id)
                    })
                })
            }
            Table::Accounts => mapping(&|row| row.account == id)
                .or_else(|| {
                    routing(&|row| {
                        row.clearing_account == Some(id)
                            || row.axb.as_ref().is_some_and(|axb| axb.account == Some(id))
                    })
                })
                .or_else(|| {
                    call(&|call| {
                        [&call.customer, &call.landing, &call.axb_settlement]
                            .into_iter()
                            .flatten()
                            .any(|tariff| tariff.account == id)
                    })
                }),
        }
    }
}
