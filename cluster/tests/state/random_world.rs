//! Random configurations.

use crate::ledger::Ledger;
use crate::random::*;
use crate::steps::{History, LISTS, pair};
use crate::world::*;
use std::collections::{BTreeMap, BTreeSet};
use tandem_cluster::command::*;
use tandem_cluster::entity::*;

impl History {
    /// A random configuration.
    pub fn new(dice: &mut Dice) -> Self {
        let (a, x) = (1 + dice.below(5) as u32, 1 + dice.below(4) as u32);
        let (mut w, rows) = World::usual(0, 0);
        w.checks = false;
        let set_callee = !dice.one_in(3);
        let conflict = dice.of(&[
            Conflict::XCallee,
            Conflict::XCallee,
            Conflict::Pair,
            Conflict::XExclusive,
        ]);
        w.change_interface(rows.interface, |i| {
            i.type_rules = TypeRules {
                conflict: conflict.expect("four"),
                ax: true,
                set_callee,
            };
            i.unbind_delay_secs = dice.of(&[None, Some(0), Some(2)]).expect("three");
            i.hold_missing = dice.one_in(4);
            i.pair_rest_ms = dice.of(&[0, 2_000]).expect("two");
        });
        for n in 0..a {
            let line_limit = 1 + dice.below(3) as u32;
            let number = format!("021{n:05}");
            w.put(Entity::ANumber(ANumber {
                group: rows.group,
                number,
                line_limit,
            }));
        }
        for n in 0..x {
            let Entity::XNumber(plain) = x_number(rows.interface, &format!("170{n:05}")) else {
                unreachable!("an X is made")
            };
            let callers = dice.of(&LISTS).expect("lists");
            w.put(Entity::XNumber(XNumber {
                line_limit: 1 + dice.below(5) as u32,
                allow_other_callers: !dice.one_in(5),
                callers: callers.iter().map(|entry| (*entry).to_owned()).collect(),
                ..plain
            }));
        }
        let (allow_axb, allow_ax) = dice
            .of(&[(true, false), (true, true), (false, true)])
            .expect("three");
        w.change_mapping(rows.mapping, |g| {
            g.capacity = dice.of(&[3, 100]).expect("two");
            g.x_select_mode = dice
                .of(&[XSelect::None, XSelect::Restrict, XSelect::Prefer])
                .expect("three");
            (g.allow_axb, g.allow_ax) = (allow_axb, allow_ax);
        });
        w.change_routing(rows.routing, |g| {
            g.capacity = dice.of(&[2, 100]).expect("two")
        });
        if dice.one_in(4) {
            w.put(Entity::RoutingGateway(RoutingGateway {
                priority: 20,
                capacity: 3,
                ..routing("plain")
            }));
        }
        if dice.one_in(3) {
            let axb = w
                .state
                .routing_gateway(rows.routing)
                .expect("row")
                .entity
                .axb
                .clone();
            w.put(Entity::RoutingGateway(RoutingGateway {
                priority: 30,
                axb,
                ..routing("second")
            }));
        }
        let mut history = History {
            epochs: BTreeMap::from([(1, w.epoch)]),
            paid: BTreeMap::new(),
            w,
            rows,
            ledger: Ledger::default(),
            boots: 1,
            calls: BTreeSet::new(),
            requests: 1 << 40,
            held: BTreeSet::new(),
            disowned: BTreeSet::new(),
            late: Vec::new(),
        };
        if allow_ax {
            for _ in 0..2 + dice.below(4) {
                history.new_relation(dice);
            }
            let relations: Vec<Id> = history.w.state.ax_bindings().map(|row| row.id).collect();
            for ax in relations {
                if !dice.one_in(4) {
                    if history.w.ask_ax(ax, AxDeed::Bind) != Reply::Done {
                        continue;
                    }
                    history.w.ax_bound(ax);
                    let entity = &history.w.state.ax_binding(ax).expect("row").entity;
                    history.held.insert(pair(entity));
                }
            }
        }
        let state = &history.w.state;
        history.paid = state
            .accounts()
            .map(|row| (row.id, state.account_balance(row.id).0))
            .collect();
        history.w.log.clear();
        history
    }

    pub fn new_relation(&mut self, dice: &mut Dice) {
        let (a, x) = (dice.below(5), dice.below(4));
        let Entity::AxBinding(plain) = relation(
            self.rows.interface,
            &format!("021{a:05}"),
            &format!("170{x:05}"),
        ) else {
            unreachable!("a relation is made")
        };
        let expires_at = dice.one_in(4).then(|| self.w.now + 1 + dice.below(9_000));
        self.w.try_put(
            None,
            Entity::AxBinding(AxBinding {
                expires_at,
                ..plain
            }),
        );
    }
}
