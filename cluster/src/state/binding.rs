//! The life of a binding after its reservation: confirmed, released, not released, dropped.

use super::digits::Digits;
use super::model::cut;
use super::next::ERROR_MAX;
use super::standing::{Role, Stand};
use super::{Binding, Deed, Phase, RESTS_MAX, State};
use crate::command::{AxbUsage, BindingId, Bound, Effect, Refusal, Reply, UnbindFailed, Unbound};
use crate::entity::{Id, Millis};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes kept of the platform's reply.
pub(super) const RAW_MAX: usize = 2_048;
/// Pairs woken by one command: more than one command can put to rest, so they never pile up.
pub(super) const WAKE_MAX: usize = 16;
/// Named values of a platform, and bytes of each.
const HANDLE_MAX: usize = 32;
const HANDLE_TEXT_MAX: usize = 1_024;

/// A platform's named values as they are kept.
pub(super) fn bounded_handle(handle: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let text = |text: &str| cut(text, HANDLE_TEXT_MAX).to_owned();
    handle
        .iter()
        .take(HANDLE_MAX)
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

impl State {
    pub(super) fn bound(&mut self, bound: &Bound) -> Reply {
        if let Err(stale) = self.live(bound.epoch) {
            return Reply::Refused(stale);
        }
        let Some(binding) = self.content.bindings.get(&bound.binding) else {
            return Reply::Refused(Refusal::NotFound);
        };
        if let Err(stale) = self.owns(bound.epoch, binding.owner) {
            return Reply::Refused(stale);
        }
        let x_differs = binding.x != bound.x;
        let at = self.content.at;
        let wanted = binding.phase == Phase::Binding;
        // A repeat: had the answered X been booked, it would not differ.
        if x_differs && binding.bound_at.is_some() {
            return Reply::Refused(Refusal::XNotOurs);
        }
        let booked = !x_differs || self.rebook(bound.binding, &bound.x);
        self.change_binding(bound.binding, |binding| {
            if binding.bound_at.is_none() {
                binding.bound_at = Some(at);
            }
            binding.handle = bounded_handle(&bound.handle);
            binding.expires_at = bound.expires_at;
            binding.raw = cut(&bound.raw, RAW_MAX).to_owned();
            binding.phase = match binding.phase {
                Phase::Binding | Phase::Bound if booked => Phase::Bound,
                // Its call is gone or went another way, or its number is not ours: now it is known what to release.
                _ => Phase::Unbinding,
            };
            if binding.phase == Phase::Unbinding
                && binding.unbind_at.is_none_or(|moment| moment > at)
            {
                binding.unbind_at = Some(at);
            }
        });
        if booked {
            self.name_binding(bound.binding);
            return Reply::Done;
        }
        if wanted {
            self.lose_binding(bound.binding);
            // The platform gave another number for this one and would do so again.
            self.pass_over(bound.binding);
        }
        Reply::Refused(Refusal::XNotOurs)
    }

    /// The call's record will name what the platform calls its binding, also when that is released before the call ends.
    fn name_binding(&mut self, id: BindingId) {
        let Some(binding) = self.content.bindings.get(&id) else {
            return;
        };
        let (call, handle) = (binding.call, binding.handle.clone());
        if let Some(call) = self.content.calls.get_mut(&call)
            && let Some(axb) = &call.axb
            && axb.binding == Some(id)
        {
            let axb = AxbUsage {
                handle,
                ..AxbUsage::clone(axb)
            };
            Arc::make_mut(call).axb = Some(Arc::new(axb));
        }
    }

    /// Books the X that the platform answered instead of the one asked for.
    fn rebook(&mut self, id: BindingId, answered: &str) -> bool {
        let Some(binding) = self.content.bindings.get(&id).cloned() else {
            return false;
        };
        let x_id = self.named(crate::entity::Table::XNumbers, answered);
        let Some((x_id, x)) = x_id.and_then(|id| Some((id, self.index.x_briefs.get(id)?))) else {
            return false;
        };
        let conflict = self.conflict(binding.interface);
        let a = Digits::from(&*binding.a);
        let b = Digits::from(&*binding.b_submitted);
        // The platform has let the pair go when it gives it again, so a rest does not count.
        if x.pool != binding.interface
            || x.used >= self.index.x_limit(x)
            || self.pair_holder(&a, x_id).is_some()
            || !self.caller_fits(conflict, x_id, &a)
            || !self.callee_fits(conflict, x_id, &b)
            || !self.beside_ax(conflict, x_id)
        {
            return false;
        }
        self.drop_binding(id, 0);
        let moved = Binding {
            x_id,
            x: answered.to_owned(),
            ..Binding::clone(&binding)
        };
        self.hold_binding(moved);
        self.redial(&binding, answered);
        true
    }

    /// The call that waits for this binding dials the answered X.
    fn redial(&mut self, binding: &Binding, x: &str) {
        let Some(call) = self
            .content
            .calls
            .get(&binding.call)
            .filter(|call| call.binding == Some(binding.id))
        else {
            return;
        };
        let mut call = super::Call::clone(call);
        if let Some(attempt) = &mut call.attempt {
            let attempt = Arc::make_mut(attempt);
            let rules = self
                .index
                .routing_rules
                .get(&attempt.gateway)
                .cloned()
                .unwrap_or_default();
            attempt.callee_out = rules.callee.apply(x, &mut |_| 0);
            if let Some(lease) = &mut attempt.lease {
                lease.x = x.to_owned();
            }
            let clearing = self
                .routing_gateway(attempt.gateway)
                .and_then(|row| row.entity.clearing_account);
            call.landing = clearing.and_then(|account| self.tariff(account, x));
        }
        if let Some(axb) = &mut call.axb {
            Arc::make_mut(axb).x = x.to_owned();
        }
        self.content.calls.insert(binding.call, Arc::new(call));
    }

    /// The call is not offered this binding's X again.
    fn pass_over(&mut self, id: BindingId) {
        let Some(binding) = self.content.bindings.get(&id) else {
            return;
        };
        let x = binding.x_id;
        if let Some(call) = self.content.calls.get_mut(&binding.call)
            && !call.refused_x.contains(&x)
        {
            Arc::make_mut(call).refused_x.push(x);
        }
    }

    /// The call no longer counts on this binding.
    fn lose_binding(&mut self, id: BindingId) {
        let Some(binding) = self.content.bindings.get(&id) else {
            return;
        };
        if let Some(call) = self.content.calls.get_mut(&binding.call)
            && call.binding == Some(id)
        {
            Arc::make_mut(call).binding = None;
        }
    }

    pub(super) fn unbound(&mut self, unbound: &Unbound) -> Reply {
        if let Err(stale) = self.live(unbound.epoch) {
            return Reply::Refused(stale);
        }
        let Some(binding) = self.content.bindings.get(&unbound.binding) else {
            return Reply::Done;
        };
        if let Err(stale) = self.owns(unbound.epoch, binding.owner) {
            return Reply::Refused(stale);
        }
        let (interface, confirmed) = (binding.interface, binding.bound_at.is_some());
        let (hold, rest_ms) = self.interface(interface).map_or((false, 0), |row| {
            (row.entity.hold_missing, row.entity.pair_rest_ms)
        });
        if unbound.missing && confirmed {
            // After an unbind that failed on the way the platform may well have done it: not its doing then.
            if binding.last_error.is_none() {
                *self.content.let_go.entry(interface).or_insert(0) += 1;
                self.index.let_go += 1;
            }
            if hold {
                self.release_binding(unbound.binding);
                self.change_binding(unbound.binding, |binding| {
                    binding.last_error = Some("the platform has no such binding".to_owned());
                });
                return Reply::Done;
            }
        }
        self.drop_binding(unbound.binding, rest_ms);
        Reply::Done
    }

    pub(super) fn unbind_failed(&mut self, failed: &UnbindFailed) -> Reply {
        let owner = self.content.bindings.get(&failed.binding);
        let owner = owner.map_or(failed.epoch, |binding| binding.owner);
        if let Err(stale) = self.owns(failed.epoch, owner) {
            return Reply::Refused(stale);
        }
        self.change_binding(failed.binding, |binding| {
            binding.last_error = Some(cut(&failed.error, ERROR_MAX).to_owned());
        });
        Reply::Done
    }

    pub(super) fn ask_unbind(
        &mut self,
        id: BindingId,
        actor: &str,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        let Some(owner) = self.content.bindings.get(&id).map(|binding| binding.owner) else {
            return Reply::Refused(Refusal::NotFound);
        };
        // A bind of unknown outcome stays one: it is being cleared already, and its number stays out of use.
        if self
            .content
            .bindings
            .get(&id)
            .is_some_and(|binding| binding.phase != Phase::Orphan)
        {
            self.release_binding(id);
            self.lose_binding(id);
        }
        self.note(actor, Deed::AskUnbind { binding: id }, None, None);
        effects.push(Effect::UnbindAsked { owner, binding: id });
        Reply::Done
    }

    pub(super) fn force_unbind(
        &mut self,
        id: BindingId,
        actor: &str,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        let Some(binding) = self.content.bindings.get(&id).cloned() else {
            return Reply::Refused(Refusal::NotFound);
        };
        let rest_ms = self
            .interface(binding.interface)
            .map_or(0, |row| row.entity.pair_rest_ms);
        self.lose_binding(id);
        self.drop_binding(id, rest_ms);
        self.note(actor, Deed::ForceUnbind { binding: id }, None, None);
        effects.push(Effect::ForceUnbound {
            owner: binding.owner,
            gone: Box::new(Binding::clone(&binding)),
        });
        Reply::Done
    }

    pub(super) fn interface_error_put(&mut self, interface: Id, text: &str) -> Reply {
        if !self.content.interfaces.contains_key(&interface) {
            return Reply::Refused(Refusal::NotFound);
        }
        self.content.errors.insert(
            interface,
            (self.content.at, cut(text, ERROR_MAX).to_owned()),
        );
        Reply::Done
    }

    /// Enters a binding and takes its X, its pair and its (X,B').
    pub(super) fn hold_binding(&mut self, binding: Binding) {
        let pair = (Digits::from(&*binding.a), binding.x_id);
        let active = Stand::Active(binding.id);
        let before = self
            .index
            .lookup
            .made_mut()
            .and_then(|lookup| lookup.standing.put(pair.1, &pair.0, active));
        if let Some(Stand::Resting(until)) = before {
            self.content.rests.remove(until, &pair.0, pair.1);
        }
        self.index.called(binding.x_id, &binding.b_submitted, true);
        self.index.x_use_of(&binding, true);
        self.index.x_refresh(&self.content, binding.x_id);
        self.content.bindings.insert(binding.id, Arc::new(binding));
    }

    /// Drops a binding, frees its X and lets the pair rest.
    pub(super) fn drop_binding(&mut self, id: BindingId, rest_ms: u32) {
        let Some(binding) = self.content.bindings.remove(&id) else {
            return;
        };
        let pair = (Digits::from(&*binding.a), binding.x_id);
        self.index.called(binding.x_id, &binding.b_submitted, false);
        self.index.x_use_of(&binding, false);
        self.rest_pair(pair, rest_ms);
        self.x_settle(binding.x_id);
    }

    /// A pair that was taken is free, from now on or after a rest.
    pub(super) fn rest_pair(&mut self, pair: (Digits, Id), rest_ms: u32) {
        let at = self.content.at;
        if let Some(Stand::Resting(earlier)) = self.stand(pair.1, &pair.0, Role::Caller) {
            // The longer of two rests counts.
            if earlier >= at.saturating_add(Millis::from(rest_ms)) {
                return;
            }
            self.content.rests.remove(earlier, &pair.0, pair.1);
        }
        if rest_ms == 0 {
            self.index.lookup.free(&pair);
            return;
        }
        let until = self.content.rests.push(at, rest_ms, pair.0.clone(), pair.1);
        if let Some(lookup) = self.index.lookup.made_mut() {
            let resting = Stand::Resting(until);
            lookup.standing.put(pair.1, &pair.0, resting);
        }
        while self.content.rests.len() > RESTS_MAX {
            self.wake_first();
        }
    }

    /// How long a pair still rests.
    pub(super) fn rest_left(&self, pair: (Digits, Id)) -> Option<Millis> {
        match self.stand(pair.1, &pair.0, Role::Caller) {
            Some(Stand::Resting(until)) => until.checked_sub(self.content.at),
            _ => None,
        }
    }

    /// After an A's use went down: free again, or gone if it was only waiting for that.
    pub(super) fn a_settle(&mut self, a: Id) {
        if self.content.leaving_a.contains(&a) && self.a_use(a) == 0 {
            self.content.leaving_a.remove(&a);
            self.unlink::<crate::entity::ANumber>(a);
        } else {
            self.index.a_refresh(&self.content, a);
        }
    }

    /// From now on the owner releases this binding.
    pub(super) fn release_binding(&mut self, id: BindingId) {
        let at = self.content.at;
        self.change_binding(id, |binding| {
            if binding.phase != Phase::Orphan {
                binding.phase = Phase::Unbinding;
            }
            if binding.unbind_at.is_none_or(|moment| moment > at) {
                binding.unbind_at = Some(at);
            }
        });
    }

    /// Changes what does not touch numbers: phase, moments, texts, owner.
    pub(super) fn change_binding(&mut self, id: BindingId, change: impl FnOnce(&mut Binding)) {
        let Some(binding) = self.content.bindings.get_mut(&id) else {
            return;
        };
        let was_orphan = binding.phase == Phase::Orphan;
        let binding = Arc::make_mut(binding);
        change(binding);
        let is_orphan = binding.phase == Phase::Orphan;
        if was_orphan != is_orphan {
            let x = binding.x_id;
            self.index.orphan(x, is_orphan);
            self.index.x_refresh(&self.content, x);
        }
    }

    /// Lets go of pairs whose rest is over. Whether a pair may be leased never depends on this: it only frees memory.
    pub(super) fn wake_pairs(&mut self) {
        for _ in 0..WAKE_MAX {
            match self.content.rests.first() {
                Some(rest) if rest.until <= self.content.at => self.wake_first(),
                _ => return,
            }
        }
    }

    fn wake_first(&mut self) {
        let Some(rest) = self.content.rests.pop() else {
            return;
        };
        // Only one that is let go before its time stands for anything yet.
        let resting = Some(Stand::Resting(rest.until));
        if rest.until > self.content.at && self.stand(rest.x, &rest.a, Role::Caller) == resting {
            self.index.lookup.free(&(rest.a, rest.x));
        }
    }
}
