//! What operators change at random.

use crate::random::Dice;
use crate::steps::{Checked, History, LISTS};
use crate::world::*;
use tandem_cluster::command::*;
use tandem_cluster::entity::*;

impl History {
    fn put(&mut self, id: Option<Id>, entity: Entity) -> Checked {
        let put = Put {
            request: self.requests,
            actor: "op".into(),
            id,
            version: None,
            memo: String::new(),
            entity,
        };
        self.apply(Command::Put(put))?;
        Ok(())
    }

    fn remove(&mut self, table: Table, id: Id) -> Checked {
        let remove = Remove {
            request: self.requests,
            actor: "op".into(),
            table,
            id,
            version: None,
        };
        self.apply(Command::Remove(remove))?;
        Ok(())
    }

    pub fn edit_x(&mut self, dice: &mut Dice) -> Checked {
        let ids: Vec<Id> = self.w.state.x_numbers().map(|x| x.id).collect();
        let Some(id) = dice.of(&ids).filter(|_| !dice.one_in(5)) else {
            let number = format!("170{:05}", dice.below(4));
            return self.put(None, x_number(self.rows.interface, &number));
        };
        let mut x = self.w.state.x(id).expect("row").entity.clone();
        match dice.below(4) {
            0 => return self.remove(Table::XNumbers, id),
            1 => x.disabled = !x.disabled,
            2 => x.line_limit = 1 + dice.below(3) as u32,
            _ => {
                x.callers = dice
                    .of(&LISTS)
                    .expect("lists")
                    .iter()
                    .map(|entry| (*entry).to_owned())
                    .collect()
            }
        }
        self.put(Some(id), Entity::XNumber(x))
    }

    pub fn edit_a(&mut self, dice: &mut Dice) -> Checked {
        let ids: Vec<Id> = self.w.state.a_numbers().map(|a| a.id).collect();
        match (dice.of(&ids), dice.below(3)) {
            (Some(id), 0) => self.remove(Table::ANumbers, id),
            (Some(id), 1) => {
                let mut a = self.w.state.a(id).expect("row").entity.clone();
                a.line_limit = 1 + dice.below(2) as u32;
                self.put(Some(id), Entity::ANumber(a))
            }
            _ => self.put(
                None,
                a_number(self.rows.group, &format!("021{:05}", dice.below(5))),
            ),
        }
    }

    pub fn edit_ax(&mut self, ax: Option<Id>, dice: &mut Dice) -> Checked {
        let Some(id) = ax.filter(|_| !dice.one_in(3)) else {
            self.new_relation(dice);
            return self.ledger.compare(&self.w.state);
        };
        if dice.one_in(2) {
            return self.remove(Table::AxBindings, id);
        }
        let mut entity = self.w.state.ax_binding(id).expect("row").entity.clone();
        match dice.below(2) {
            0 => entity.expires_at = dice.one_in(2).then(|| self.w.now + dice.below(3_000)),
            _ => entity.x_number = format!("170{:05}", dice.below(4)),
        }
        self.put(Some(id), Entity::AxBinding(entity))
    }

    pub fn edit_gateway(&mut self, dice: &mut Dice) -> Checked {
        let ids: Vec<Id> = self.w.state.routing_gateways().map(|row| row.id).collect();
        let Some(id) = dice.of(&ids) else {
            return Ok(());
        };
        let mut gateway = self
            .w
            .state
            .routing_gateway(id)
            .expect("row")
            .entity
            .clone();
        match dice.below(5) {
            0 => return self.remove(Table::RoutingGateways, id),
            1 => gateway.lock_type = 3 - gateway.lock_type,
            2 => gateway.capacity = 1 + dice.below(5) as u32,
            _ => {
                let mut from = self
                    .w
                    .state
                    .mapping_gateway(self.rows.mapping)
                    .expect("row")
                    .entity
                    .clone();
                (from.allow_axb, from.allow_ax) = (!dice.one_in(3), !dice.one_in(3));
                return self.put(Some(self.rows.mapping), Entity::MappingGateway(from));
            }
        }
        self.put(Some(id), Entity::RoutingGateway(gateway))
    }

    pub fn edit_interface(&mut self, dice: &mut Dice) -> Checked {
        let mut interface = self
            .w
            .state
            .interface(self.rows.interface)
            .expect("row")
            .entity
            .clone();
        let scopes = [Conflict::XCallee, Conflict::Pair, Conflict::XExclusive];
        match dice.below(4) {
            0 => interface.type_rules.conflict = dice.of(&scopes).expect("three"),
            1 => interface.type_rules.set_callee = !interface.type_rules.set_callee,
            2 => interface.pair_rest_ms = dice.of(&[0, 1_000, 4_000]).expect("three"),
            _ => interface.hold_missing = !interface.hold_missing,
        }
        self.put(Some(self.rows.interface), Entity::Interface(interface))
    }
}
