//! A pair (A,X) taken for a trial of its interface: a binding without a call, which holds its X and its pair like any
//! other, so that no call is given either of them meanwhile.
//!
//! It is made as one that is to be released, for that is all that is ever left of it: whatever becomes of the node
//! that tries, whoever looks after the row next clears the platform of it and frees its numbers.

use super::digits::Digits;
use super::rng::Rng;
use super::standing::{Role, Stand};
use super::{Binding, Deed, NO_CALL, Phase, State};
use crate::command::{Borrow, Lease, Refusal, Reply};
use crate::entity::{ANumber, Conflict, Id, Row, Table, XNumber};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An A and an X.
type Pair = (Arc<Row<ANumber>>, Arc<Row<XNumber>>);

/// A numbers, and for each of them X numbers, that are looked at before the search is given up.
const LOOKS_MAX: usize = 64;
/// B' that are looked at for each of those.
const B_LOOKS_MAX: usize = 8;
/// Bytes of a B.
const B_MAX: usize = 32;

impl State {
    pub(super) fn borrow_pair(&mut self, asked: &Borrow, rng: &mut Rng) -> Reply {
        if let Err(stale) = self.live(asked.epoch) {
            return Reply::Refused(stale);
        }
        if self.interface(asked.interface).is_none() {
            return Reply::Refused(Refusal::NotFound);
        }
        let other = self
            .bindings()
            .find(|row| row.call == NO_CALL && row.interface == asked.interface);
        if let Some(other) = other {
            let by = format!("another trial of this interface, binding {}", other.id);
            return Reply::Refused(Refusal::InUse { by });
        }
        let ((a, x), b) = match self.pick_trial(asked, rng) {
            Ok(found) => found,
            Err(refusal) => return Reply::Refused(refusal),
        };
        self.content.last_binding += 1;
        let at = self.content.at;
        let binding = Binding {
            id: self.content.last_binding,
            call: NO_CALL,
            owner: asked.epoch,
            interface: asked.interface,
            a_group: a.entity.group,
            a_id: a.id,
            x_id: x.id,
            a: a.entity.number.clone(),
            x: x.entity.number.clone(),
            b: b.clone(),
            b_submitted: b,
            created_at: at,
            bound_at: None,
            expires_at: None,
            unbind_at: Some(at),
            phase: Phase::Unbinding,
            handle: BTreeMap::new(),
            raw: String::new(),
            last_error: None,
        };
        let lease = Lease {
            binding: binding.id,
            interface: binding.interface,
            a: binding.a.clone(),
            x: binding.x.clone(),
            b_submitted: binding.b_submitted.clone(),
        };
        let deed = Deed::Trial {
            interface: binding.interface,
            binding: binding.id,
        };
        self.hold_binding(binding);
        self.note(&asked.actor, deed, None, None);
        Reply::Lent(lease)
    }

    /// A, X and B that may be bound to each other now.
    fn pick_trial(&self, asked: &Borrow, rng: &mut Rng) -> Result<(Pair, String), Refusal> {
        let invalid = |field: &str, text: &str| Refusal::Invalid {
            field: field.to_owned(),
            text: text.to_owned(),
        };
        let b = asked.b.as_deref();
        if b.is_some_and(|b| b.is_empty() || b.len() > B_MAX) {
            return Err(invalid("b", "must have 1 to 32 characters"));
        }
        let all_a = match &asked.a {
            Some(number) => {
                let mut ours = self.content.a_numbers.values();
                let found = ours.find(|row| row.entity.number == *number);
                vec![
                    found
                        .ok_or_else(|| invalid("a", "is none of our A numbers"))?
                        .id,
                ]
            }
            None => self.trial_a(asked.interface),
        };
        let free = self.index.x_pools.get(&asked.interface);
        let free: Vec<Id> = match &asked.x {
            Some(number) => {
                let x = self
                    .named(Table::XNumbers, number)
                    .and_then(|id| self.x(id))
                    .filter(|row| row.entity.interface == asked.interface)
                    .ok_or_else(|| invalid("x", "is no X number of this interface"))?;
                free.filter(|pool| pool.free.contains(x.id))
                    .map(|_| vec![x.id])
                    .ok_or_else(|| invalid("x", "has no free line or is out of use"))?
            }
            None => free
                .map(|pool| pool.free.iter().collect())
                .unwrap_or_default(),
        };
        let conflict = self.conflict(asked.interface);
        let all_b = match b {
            Some(b) => vec![b.to_owned()],
            None => self.trial_b(&all_a, rng),
        };
        for a in some(&all_a, LOOKS_MAX, rng) {
            let Some(a) = self.content.a_numbers.get(&a) else {
                continue;
            };
            for x in some(&free, LOOKS_MAX, rng) {
                let Some(x) = self.content.x_numbers.get(&x) else {
                    continue;
                };
                let fits = |b: &&String| self.trial_fits(conflict, &a.entity.number, x, b);
                if let Some(b) = all_b.iter().find(fits) {
                    return Ok(((a.clone(), x.clone()), b.clone()));
                }
            }
        }
        Err(Refusal::NoAxbNumber)
    }

    /// A numbers of the groups that calls through this interface take theirs from; all of them when there is none.
    fn trial_a(&self, interface: Id) -> Vec<Id> {
        let routes = self.routing_gateways();
        let groups: Vec<Id> = routes
            .filter_map(|row| row.entity.axb.as_ref())
            .filter(|axb| axb.interface == interface)
            .map(|axb| axb.a_group)
            .collect();
        let members = |wanted: &dyn Fn(&Id) -> bool| -> Vec<Id> {
            let rows = self.a_numbers().filter(|row| wanted(&row.entity.group));
            rows.map(|row| row.id).collect()
        };
        let named = members(&|group| groups.contains(group));
        match named.is_empty() {
            true => members(&|_| true),
            false => named,
        }
    }

    /// Other numbers of ours, which nobody else will wonder about.
    fn trial_b(&self, all_a: &[Id], rng: &mut Rng) -> Vec<String> {
        let ours: Vec<Id> = match all_a.len() {
            0 | 1 => self.a_numbers().map(|row| row.id).collect(),
            _ => all_a.to_vec(),
        };
        some(&ours, B_LOOKS_MAX, rng)
            .into_iter()
            .filter_map(|id| Some(self.a(id)?.entity.number.clone()))
            .collect()
    }

    fn trial_fits(&self, conflict: Conflict, a: &str, x: &Row<XNumber>, b: &str) -> bool {
        let caller = Digits::from(a);
        let free = match self.stand(x.id, &caller, Role::Caller) {
            None => true,
            Some(Stand::Resting(until)) => until <= self.content.at,
            Some(_) => false,
        };
        a != b
            && free
            && self.caller_fits(conflict, x.id, &caller)
            && self.callee_fits(conflict, x.id, &Digits::from(b))
            && self.beside_ax(conflict, x.id)
    }
}

/// At most so many of the ids, from a random one on.
fn some(ids: &[Id], most: usize, rng: &mut Rng) -> Vec<Id> {
    let from = rng.below(u32::try_from(ids.len()).unwrap_or(u32::MAX)) as usize;
    let (first, later) = ids.split_at(from);
    later.iter().chain(first).copied().take(most).collect()
}
