//! Random histories over random configurations. After every step all invariants hold; at the end everything that was
//! taken is free again, no money has come or gone unseen, every call has one record, and every replica agrees.
//!
//! `PROPTEST_CASES` sets how many histories are run; a failure prints the shrunken steps.

use crate::world::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::State;
use tandem_cluster::state::testing::PerPeriod;

/// A step: what, and two numbers that choose among what is there.
type Step = (u8, u32, u32);

const CALLERS: [&str; 4] = ["05718512345", "05719", "13900000001", "02100000"];
const CALLEES: [&str; 5] = ["138001", "138002", "139", "02100001", "9"];

struct History {
    w: World,
    rows: Rows,
    epochs: BTreeMap<u64, Epoch>,
    boots: u64,
    paid: BTreeMap<Id, Micros>,
    calls: BTreeSet<CallId>,
    requests: u64,
}

fn pick<T: Copy>(items: &[T], n: u32) -> Option<T> {
    (!items.is_empty()).then(|| items[n as usize % items.len()])
}

impl History {
    fn new(shape: u32) -> Self {
        let (mut w, rows) = World::usual(1 + shape % 4, 1 + (shape >> 2) % 4);
        w.checks = false;
        let bits = |at: u32| (shape >> at) & 1 == 1;
        let xs: Vec<Id> = w.state.x_numbers().map(|x| x.id).collect();
        for (n, id) in xs.into_iter().enumerate() {
            let mut x = w.state.x(id).expect("row").entity.clone();
            x.line_limit = 1 + (shape >> 4) % 3;
            x.allow_other_callers = !(bits(6) && n == 0);
            x.callers = match (shape >> 7) % 4 {
                1 => vec!["0571*".into(), "05718512345".into()],
                2 if n % 2 == 0 => vec!["1*".into()],
                _ => vec![],
            };
            w.change(id, Entity::XNumber(x));
        }
        let r#as: Vec<Id> = w.state.a_numbers().map(|a| a.id).collect();
        for id in r#as {
            let mut a = w.state.a(id).expect("row").entity.clone();
            a.line_limit = 1 + (shape >> 9) % 2;
            w.change(id, Entity::ANumber(a));
        }
        w.change_interface(rows.interface, |i| {
            i.unbind_delay_secs = [None, Some(0), Some(2)][(shape >> 10) as usize % 3];
            i.hold_missing = bits(12);
            i.pair_rest_ms = [0, 2_000][(shape >> 13) as usize % 2];
        });
        w.change_mapping(rows.mapping, |g| {
            g.capacity = [3, 100][(shape >> 14) as usize % 2];
            g.x_select_mode =
                [XSelect::None, XSelect::Restrict, XSelect::Prefer][(shape >> 15) as usize % 3];
        });
        w.change_routing(rows.routing, |g| {
            g.capacity = [2, 100][(shape >> 17) as usize % 2]
        });
        if bits(18) {
            w.put(Entity::RoutingGateway(RoutingGateway {
                priority: 20,
                capacity: 3,
                ..routing("plain")
            }));
        }
        if bits(19) {
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
        if bits(20) {
            w.apply(Command::Pay(Payment {
                request: u64::MAX,
                actor: "op".into(),
                account: rows.customer,
                amount: -999 * UNIT - UNIT / 2,
                memo: String::new(),
            }));
        }
        w.checks = true;
        let paid = w
            .state
            .accounts()
            .map(|row| (row.id, w.state.account_balance(row.id).0))
            .collect();
        let epochs = BTreeMap::from([(1, w.epoch)]);
        History {
            w,
            rows,
            epochs,
            boots: 1,
            paid,
            calls: BTreeSet::new(),
            requests: 1 << 40,
        }
    }

    fn step(&mut self, (what, one, two): Step) {
        let calls: Vec<CallId> = self.w.state.calls().map(|call| call.id()).collect();
        let bindings: Vec<BindingId> = self.w.state.bindings().map(|binding| binding.id).collect();
        let call = pick(&calls, one);
        let binding = pick(&bindings, one);
        self.requests += 1;
        match what {
            0..=9 => {
                let nodes: Vec<Epoch> = self.epochs.values().copied().collect();
                let Some(epoch) = pick(&nodes, two >> 8) else {
                    return;
                };
                self.w.epoch = epoch;
                let caller = CALLERS[one as usize % CALLERS.len()];
                let callee = CALLEES[two as usize % CALLEES.len()];
                let (call, reply) = self.w.reserve(self.rows.mapping, caller, callee);
                if reply != Reply::Refused(Refusal::StaleEpoch) && self.w.state.call(call).is_some()
                {
                    self.calls.insert(call);
                }
            }
            10..=12 => {
                let Some(call) = call else { return };
                let attempt = self
                    .w
                    .state
                    .call(call)
                    .and_then(|call| call.attempt.as_ref().map(|a| a.number));
                let failure = match two % 4 {
                    0 => Failure::NumberRefused { code: "n".into() },
                    1 => Failure::PlatformRefused { code: "p".into() },
                    2 => Failure::BindUnknown { code: "u".into() },
                    _ => Failure::Gateway {
                        status: [503, 486, 408][two as usize / 4 % 3],
                    },
                };
                self.w.next(call, attempt.unwrap_or(1), failure);
            }
            13..=16 => {
                let Some(binding) = binding else { return };
                let xs: Vec<String> = self
                    .w
                    .state
                    .x_numbers()
                    .map(|x| x.entity.number.clone())
                    .collect();
                let asked = self.w.binding(binding).x.clone();
                let other = xs
                    .get(two as usize % (xs.len() + 1))
                    .cloned()
                    .unwrap_or("1".into());
                self.w
                    .bound_as(binding, if two % 3 == 0 { &other } else { &asked });
            }
            17..=19 => {
                let Some(call) = call else { return };
                let command = Answered {
                    call,
                    answered_at: self.w.now,
                    pdd_ms: 1,
                    dialogs: vec![7; 10],
                    codec: "PCMA".into(),
                };
                self.w.apply(Command::Answered(command));
            }
            20 => {
                let Some(call) = call else { return };
                let upto = self
                    .w
                    .state
                    .call(call)
                    .and_then(|call| call.credit)
                    .map_or(60, |credit| credit.upto_secs);
                self.w.apply(Command::Renew(Renew {
                    call,
                    upto_secs: upto,
                }));
            }
            21..=24 => {
                if let Some(binding) = binding {
                    self.w.unbound(binding, two % 4 == 0);
                }
            }
            25 => {
                let Some(binding) = binding else { return };
                let epoch = self.w.binding(binding).owner;
                self.w.apply(Command::UnbindFailed(UnbindFailed {
                    binding,
                    epoch,
                    error: "e".into(),
                }));
            }
            26..=29 => {
                if let Some(call) = call {
                    self.w.end(call);
                }
            }
            30 => {
                let binding = binding.unwrap_or(1);
                let actor = "op".to_owned();
                self.w.apply(match two % 2 {
                    0 => Command::AskUnbind { binding, actor },
                    _ => Command::ForceUnbind { binding, actor },
                });
            }
            31..=33 => self.w.wait(u64::from(two % 2_500)),
            34 => {
                let node = u64::from(one % 3) + 1;
                if two % 2 == 0 {
                    self.boots += 1;
                    if let Reply::Claimed { epoch } =
                        self.w.try_claim(&format!("n{node}"), node, self.boots)
                    {
                        self.epochs.insert(node, epoch);
                    }
                } else if let Some(epoch) = self.epochs.get(&node).copied() {
                    self.w.apply(Command::KeepAlive { epoch });
                }
            }
            35 => {
                let node = u64::from(one % 3) + 1;
                let Some(epoch) = self.epochs.get(&node).copied() else {
                    return;
                };
                if two % 3 == 0 {
                    self.w.apply(Command::Resign { epoch });
                } else {
                    self.w.wait(3_000);
                    self.w.apply(Command::NodeDown { epoch });
                }
            }
            36 => self.edit_x(one, two),
            37 => self.edit_a(one, two),
            38 => {
                let account = pick(&[self.rows.customer, self.rows.landing], one).expect("two");
                let amount = i64::from(two % 200) * UNIT / 100 - UNIT;
                let request = self.requests;
                let memo = String::new();
                let pay = Payment {
                    request,
                    actor: "op".into(),
                    account,
                    amount,
                    memo,
                };
                if let Reply::Balance(_) = self.w.apply(Command::Pay(pay)) {
                    *self.paid.entry(account).or_insert(0) += amount;
                }
            }
            39 => self.edit_gateway(one, two),
            40 => {
                self.w.apply(Command::Stored {
                    node: u64::from(one % 4),
                    upto: u64::from(two % 20),
                });
            }
            // The same words again, late: nothing may happen twice.
            _ => {
                let Some((_, _, command)) =
                    self.w.log.get(one as usize % self.w.log.len()).cloned()
                else {
                    return;
                };
                if !matches!(
                    command,
                    Command::Claim(_) | Command::Put(_) | Command::Remove(_)
                ) {
                    self.w.apply(command);
                }
            }
        }
    }

    fn edit_x(&mut self, one: u32, two: u32) {
        let ids: Vec<Id> = self.w.state.x_numbers().map(|x| x.id).collect();
        let Some(id) = pick(&ids, one) else {
            self.w.try_put(None, x_number(self.rows.interface, "1799"));
            return;
        };
        if two.is_multiple_of(4) {
            self.w.remove(Table::XNumbers, id);
            return;
        }
        let mut x = self.w.state.x(id).expect("row").entity.clone();
        match two % 4 {
            1 => x.disabled = !x.disabled,
            2 => x.line_limit = 1 + two / 4 % 3,
            _ => {
                x.callers =
                    vec![["0571*", "13900000001", "@571", "1*"][two as usize / 4 % 4].into()]
            }
        }
        self.w.try_put(Some(id), Entity::XNumber(x));
    }

    fn edit_a(&mut self, one: u32, two: u32) {
        let ids: Vec<Id> = self.w.state.a_numbers().map(|a| a.id).collect();
        match (pick(&ids, one), two % 3) {
            (Some(id), 0) => {
                self.w.remove(Table::ANumbers, id);
            }
            (Some(id), 1) => {
                let mut a = self.w.state.a(id).expect("row").entity.clone();
                a.line_limit = 1 + two / 3 % 2;
                self.w.try_put(Some(id), Entity::ANumber(a));
            }
            _ => {
                self.w
                    .try_put(None, a_number(self.rows.group, &format!("0219{}", two % 5)));
            }
        }
    }

    fn edit_gateway(&mut self, one: u32, two: u32) {
        let ids: Vec<Id> = self.w.state.routing_gateways().map(|g| g.id).collect();
        let Some(id) = pick(&ids, one) else { return };
        let mut gateway = self
            .w
            .state
            .routing_gateway(id)
            .expect("row")
            .entity
            .clone();
        match two % 3 {
            0 => gateway.lock_type = 3 - gateway.lock_type,
            1 => gateway.capacity = 1 + two / 3 % 5,
            _ => {
                self.w.remove(Table::RoutingGateways, id);
                return;
            }
        }
        self.w.try_put(Some(id), Entity::RoutingGateway(gateway));
    }

    /// Everybody hangs up and the platform lets everything go.
    fn finish(&mut self) {
        let calls: Vec<CallId> = self.w.state.calls().map(|call| call.id()).collect();
        for call in calls {
            self.w.end(call);
        }
        self.boots += 1;
        self.w.wait(60_000);
        self.w.claim("n1", 1, self.boots);
        let bindings: Vec<BindingId> = self.w.state.bindings().map(|binding| binding.id).collect();
        for binding in bindings {
            self.w.unbound(binding, false);
        }
    }

    /// What a plain walk over the records says about every balance.
    fn check_money(&self) {
        let mut expected = self.paid.clone();
        let mut ended = BTreeSet::new();
        for record in self.w.records(1) {
            let mut words = record.split(' ');
            let call: u64 = words
                .next()
                .and_then(|word| word.parse().ok())
                .expect("call");
            assert!(ended.insert(CallId(call)), "call {call} has two records");
            for (account, fee) in words.skip(2).filter_map(|word| word.split_once(':')) {
                let (account, fee): (Id, Micros) =
                    (account.parse().expect("id"), fee.parse().expect("fee"));
                *expected.entry(account).or_insert(0) -= fee;
            }
        }
        assert_eq!(ended, self.calls, "every call has its record");
        for (account, money) in expected {
            assert_eq!(
                self.w.state.account_balance(account),
                (money, 0),
                "account {account}"
            );
        }
    }
}

fn replay<'a>(state: &mut State, log: impl IntoIterator<Item = &'a (Millis, u64, Command)>) {
    for (at, seed, command) in log {
        state.apply(*at, *seed, command, &PerPeriod);
    }
}

fn steps() -> impl Strategy<Value = (u32, Vec<Step>)> {
    (
        any::<u32>(),
        proptest::collection::vec((0u8..44, any::<u32>(), any::<u32>()), 1..70),
    )
}

fn cases(usual: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual);
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn invariants_hold_after_every_step_and_all_is_free_at_the_end((shape, steps) in steps()) {
        let mut history = History::new(shape);
        for step in steps {
            history.step(step);
        }
        history.finish();
        let counts = history.w.state.counts();
        prop_assert_eq!(
            (counts.calls, counts.answered, counts.bindings, counts.x_in_use, counts.a_in_use, counts.reserved_money),
            (0, 0, 0, 0, 0, 0)
        );
        history.check_money();
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn replicas_agree_and_a_snapshot_at_any_point_changes_nothing((shape, steps) in steps(), cut in any::<u32>()) {
        let mut history = History::new(shape);
        history.w.checks = false;
        for step in steps {
            history.step(step);
        }
        let log = &history.w.log;
        let mut second = State::new();
        replay(&mut second, log);
        let cut = cut as usize % log.len();
        let mut third = State::new();
        replay(&mut third, &log[..cut]);
        let bytes = bincode::serde::encode_to_vec(&third, bincode::config::standard()).expect("encodes");
        let (mut third, _): (State, _) =
            bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).expect("decodes");
        replay(&mut third, &log[cut..]);
        prop_assert_eq!(second.hash(), history.w.state.hash());
        prop_assert_eq!(third.hash(), history.w.state.hash());
        prop_assert!(third == second);
        prop_assert_eq!(third.check(), Ok(()));
    }
}
