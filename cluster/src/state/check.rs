//! The invariants, stated from scratch.

use super::index::Index;
use super::{AxPhase, Phase, State};
use crate::entity::Conflict;
use std::collections::{BTreeMap, BTreeSet};

impl State {
    /// States every invariant; an error names the first that does not hold. Costs a walk over everything.
    pub fn check(&self) -> Result<(), String> {
        self.check_numbers()?;
        self.check_callees()?;
        self.check_ax()?;
        self.check_calls()?;
        self.check_outbox()?;
        self.check_level()?;
        self.check_index()
    }

    /// Whether what is derived from the content (counters, free numbers, lookup tables) is as it should be; an error
    /// names the first difference. A copy of the state is free of such damage, for only the content travels.
    pub fn check_index(&self) -> Result<(), String> {
        let content = &self.content;
        let rebuilt = Index::build(content);
        rebuilt.lookup.of(content);
        if rebuilt != self.index {
            return Err(self.index.difference(&rebuilt));
        }
        Ok(())
    }

    /// I1 to I5.
    fn check_numbers(&self) -> Result<(), String> {
        let content = &self.content;
        let mut a_use = BTreeMap::new();
        for call in self.calls() {
            if let Some(a) = call.a_id {
                *a_use.entry(a).or_insert(0u32) += 1;
            }
        }
        for (id, used) in a_use {
            // An operator may lower a limit below what is in use; then nothing new is given.
            let row = content
                .a_numbers
                .get(&id)
                .ok_or(format!("calls hold A row {id} that is gone"))?;
            if used > row.entity.line_limit && row.version == 1 {
                return Err(format!(
                    "I1: A `{}` carries {used} of {}",
                    row.entity.number, row.entity.line_limit
                ));
            }
        }
        let mut x_use = BTreeMap::new();
        let mut pairs = BTreeSet::new();
        for hold in self.calls().filter_map(|call| call.ax.as_ref()) {
            *x_use.entry(hold.x_id).or_insert(0u32) += 1;
        }
        for binding in self.bindings() {
            *x_use.entry(binding.x_id).or_insert(0u32) += 1;
            if !pairs.insert((&binding.a, binding.x_id)) {
                return Err(format!(
                    "I3: pair ({}, {}) is bound twice",
                    binding.a, binding.x
                ));
            }
            if binding.a == binding.b_submitted {
                return Err(format!("I5: binding {} calls its own A", binding.id));
            }
            if binding.phase == Phase::Binding && !content.tenures.contains_key(&binding.owner) {
                return Err(format!(
                    "I6: binding {} is under way without an owner",
                    binding.id
                ));
            }
            if matches!(binding.phase, Phase::Binding | Phase::Bound) {
                let held = content
                    .calls
                    .get(&binding.call)
                    .is_some_and(|call| call.binding == Some(binding.id));
                if !held {
                    return Err(format!("I6: no call holds binding {}", binding.id));
                }
            }
        }
        for (id, used) in x_use {
            let row = content
                .x_numbers
                .get(&id)
                .ok_or(format!("bindings stand on X row {id} that is gone"))?;
            if used > row.entity.line_limit && row.version == 1 {
                return Err(format!(
                    "I2: X `{}` carries {used} of {}",
                    row.entity.number, row.entity.line_limit
                ));
            }
        }
        for id in content.leaving_x.iter() {
            if self.x_use(*id) == 0 {
                return Err(format!("X row {id} is leaving with no binding on it"));
            }
        }
        for id in content.leaving_a.iter() {
            if self.a_use(*id) == 0 {
                return Err(format!("A row {id} is leaving with no call on it"));
            }
        }
        Ok(())
    }

    /// I4 and what else a type says of numbers on one X.
    fn check_callees(&self) -> Result<(), String> {
        let mut called = BTreeSet::new();
        let mut callers = BTreeSet::new();
        let strict = |interface| self.conflict(interface) == Conflict::XCallee;
        let bound = self
            .bindings()
            .filter(|binding| strict(binding.interface))
            .map(|binding| (&*binding.x, &*binding.b_submitted));
        let ax = self
            .calls()
            .filter(|call| call.ax.is_some())
            .filter_map(|call| call.attempt.as_ref()?.ax.as_ref())
            .filter(|lease| strict(lease.interface))
            .map(|lease| (&*lease.x, &*lease.b_submitted));
        for (x, b) in bound.chain(ax) {
            if !called.insert((x, b)) {
                return Err(format!("I4: ({x}, {b}) is bound twice"));
            }
        }
        for binding in self.bindings().filter(|binding| strict(binding.interface)) {
            callers.insert((&*binding.x, &*binding.a));
        }
        for row in self.ax_bindings() {
            let held = self.ax_live(row.id).is_some_and(|live| live.takes_pair());
            if held && strict(row.entity.interface) {
                callers.insert((&*row.entity.x_number, &*row.entity.a_number));
            }
        }
        match callers.intersection(&called).next() {
            Some((x, number)) => Err(format!("I4: `{number}` is A and B' of X `{x}`")),
            None => Ok(()),
        }
    }

    /// Static relations and the calls over them.
    fn check_ax(&self) -> Result<(), String> {
        let content = &self.content;
        let bindings: BTreeSet<_> = self.bindings().map(|row| (&*row.a, &*row.x)).collect();
        // A number that has changed its interface under a binding is that binding's until the release.
        let mut bound_x: BTreeSet<_> = BTreeSet::new();
        for row in self.bindings() {
            let exclusive = self.conflict(row.interface) == Conflict::XExclusive;
            if !bound_x.insert((&*row.x, row.interface)) && exclusive {
                return Err(format!("I2: X `{}` is bound twice", row.x));
            }
        }
        let mut single = BTreeSet::new();
        for (id, live) in content.ax_live.iter() {
            let Some(row) = self.ax_binding(*id) else {
                return Err(format!("relation {id} lives and is gone"));
            };
            let (a, x) = (&*row.entity.a_number, &*row.entity.x_number);
            let asked = matches!(live.phase, AxPhase::Binding | AxPhase::Unbinding);
            let owned = live
                .owner
                .is_some_and(|owner| content.tenures.contains_key(&owner));
            if asked && !owned && !content.tenures.is_empty() {
                return Err(format!("I6: nobody asks for relation {a}/{x}"));
            }
            if !asked && live.owner.is_some() {
                return Err(format!("relation {a}/{x} has an owner and no task"));
            }
            if !live.takes_pair() {
                continue;
            }
            if bindings.contains(&(a, x)) {
                return Err(format!("I3: pair ({a}, {x}) is bound and a relation"));
            }
            let interface = row.entity.interface;
            if self.conflict(interface) == Conflict::XExclusive
                && (!single.insert(x) || bound_x.contains(&(x, interface)))
            {
                return Err(format!("I3: relation {a}/{x} shares its X"));
            }
        }
        for call in self.calls() {
            let id = call.id();
            let lease = call
                .attempt
                .as_ref()
                .and_then(|attempt| attempt.ax.as_ref());
            let Some(hold) = &call.ax else { continue };
            let Some(lease) = lease else {
                return Err(format!("call {id} holds an X without a relation"));
            };
            if lease.a == lease.b_submitted {
                return Err(format!("I5: call {id} calls its own A"));
            }
            if !call.routed || call.a_id.is_none() || call.binding.is_some() {
                return Err(format!("call {id} holds an X and no line"));
            }
            let first = self.index.ax.queued(hold.x_id).next();
            let turn = hold.place.is_none() || first == hold.place.map(|place| (place, id));
            if turn != lease.turn {
                return Err(format!("call {id} is mistaken about its turn"));
            }
            if hold.place.is_some() && (call.answered_at.is_some() || !lease.set_callee) {
                return Err(format!("call {id} waits for nothing"));
            }
        }
        Ok(())
    }

    fn check_calls(&self) -> Result<(), String> {
        let content = &self.content;
        let mut reserved = BTreeMap::new();
        for call in self.calls() {
            let id = call.id();
            let owned = content.tenures.contains_key(&call.owner);
            let waits = content.tenures.is_empty() && call.outlives_its_node();
            if !(owned || waits) {
                return Err(format!("I6: call {id} has no live owner"));
            }
            let binding = call.binding.and_then(|id| content.bindings.get(&id));
            if binding.is_some_and(|binding| binding.owner != call.owner) {
                return Err(format!("binding of call {id} is with another owner"));
            }
            if call.refused.is_some() && (call.routed || call.a_id.is_some()) {
                return Err(format!("refused call {id} holds a line"));
            }
            if call.a_id.is_some() && !call.routed {
                return Err(format!("call {id} holds an A without a gateway"));
            }
            if call.reserved < 0 {
                return Err(format!("call {id} has set aside less than nothing"));
            }
            if let Some(customer) = &call.customer {
                *reserved.entry(customer.account).or_insert(0) += call.reserved;
            }
        }
        for account in content.accounts.keys() {
            let sum = reserved.remove(&account).unwrap_or(0);
            if self.account_balance(account).1 != sum {
                return Err(format!(
                    "account {account} has {} set aside, its calls {sum}",
                    self.account_balance(account).1
                ));
            }
        }
        if let Some(account) = reserved.keys().next() {
            return Err(format!("calls charge account {account} that is gone"));
        }
        for device in self.devices() {
            if let Some(epoch) = device.epoch
                && content
                    .tenures
                    .get(&epoch)
                    .is_none_or(|tenure| tenure.access_name != device.access_name)
            {
                return Err(format!(
                    "device `{}` names a tenure that is over",
                    device.access_name
                ));
            }
        }
        Ok(())
    }

    fn check_outbox(&self) -> Result<(), String> {
        let content = &self.content;
        if content.outbox.len() as u64 > content.outbox_last {
            return Err(format!(
                "outbox holds {} records of {} ever written",
                content.outbox.len(),
                content.outbox_last
            ));
        }
        Ok(())
    }

    pub(super) fn check_now_and_then(&mut self) {
        if self.check_in > 0 {
            self.check_in -= 1;
            return;
        }
        if let Err(broken) = self.check() {
            panic!("invariant broken: {broken}");
        }
        let content = &self.content;
        let rows = content.calls.len()
            + content.bindings.len()
            + content.outbox.len()
            + self.index.names.len()
            + content.rests.len()
            + content.ended.len();
        // The cost of checking stays a small multiple of the cost of applying.
        self.check_in = (rows / 8) as u32;
    }
}

impl Index {
    /// Names the part in which two indexes differ.
    fn difference(&self, rebuilt: &Index) -> String {
        macro_rules! compare {
            ($($part:ident)*) => {
                $(if self.$part != rebuilt.$part {
                    return format!("index `{}` is {:?} and should be {:?}", stringify!($part), self.$part, rebuilt.$part);
                })*
            };
        }
        compare!(names sources source_bits mapping_rules routing_rules routes rates x_pools a_pools x_briefs x_orphans a_briefs
            mapping_use routing_use reserved reserved_total answered let_go ax exclusive lookup);
        "index differs".to_owned()
    }
}
