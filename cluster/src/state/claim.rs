//! Access names and their tenures: claimed, renewed, given up, lost; and what becomes of what a lost one held.

use super::{Call, DEVICES_MAX, Deed, Device, Phase, State, Tenure, model, settings};
use crate::command::{
    Biller, BindingId, CallId, Claim, Effect, End, EndReason, EndedBy, Epoch, Refusal, Reply,
};
use crate::entity::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of an access name, an address, a version, a label.
const TEXT_MAX: usize = 128;

/// Processes that a device remembers.
const BOOTS_MAX: usize = 8;

/// What becomes of a call whose tenure is over.
enum Fate {
    /// Its record is closed: it was still in set-up, or nobody else can carry it on.
    End,
    /// It waits for [`State::adopt`].
    GoOn,
}

impl State {
    pub(super) fn claim(
        &mut self,
        claim: &Claim,
        biller: &dyn Biller,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        let name = &claim.access_name;
        if name.is_empty() || name.len() > TEXT_MAX || name.chars().any(char::is_control) {
            let text = format!("1 to {TEXT_MAX} bytes without control characters");
            return Reply::Refused(Refusal::Invalid {
                field: "access_name".to_owned(),
                text,
            });
        }
        let at = self.content.at;
        let holder = self
            .tenures()
            .find(|tenure| tenure.access_name == *name)
            .cloned();
        let holder_node = holder.as_ref().map(|holder| holder.node);
        if let Some(holder) = holder {
            if (holder.node, holder.boot) == (claim.node, claim.boot) {
                return self.keep_alive(holder.epoch).claimed(holder.epoch);
            }
            if holder.node != claim.node && holder.lease_until() > at {
                let left_ms = holder.lease_until() - at;
                return Reply::Refused(Refusal::ClaimHeld {
                    address: holder.address,
                    left_ms,
                });
            }
        }
        // A word of an earlier process that was under way for long: it must not unseat the one that came after it.
        let known = self.content.devices.get(name);
        if holder_node == Some(claim.node)
            && known.is_some_and(|device| device.boots.contains(&claim.boot))
        {
            return Reply::Refused(Refusal::StaleEpoch);
        }
        // Its own earlier processes, and whoever let this name expire.
        let over: Vec<Epoch> = self
            .tenures()
            .filter(|tenure| tenure.node == claim.node || tenure.access_name == *name)
            .map(|tenure| tenure.epoch)
            .collect();
        for epoch in over {
            self.end_tenure(epoch, biller, effects);
        }
        self.content.last_epoch += 1;
        let epoch = self.content.last_epoch;
        let cut = |text: &str| model::cut(text, TEXT_MAX).to_owned();
        let tenure = Tenure {
            epoch,
            access_name: name.clone(),
            node: claim.node,
            boot: claim.boot,
            address: cut(&claim.address),
            version: cut(&claim.version),
            lease_ms: claim.lease_ms.clamp(1_000, 60_000),
            renewed_at: at,
        };
        let known = self.content.devices.get(name);
        let mut boots = known.map(|device| device.boots.clone()).unwrap_or_default();
        boots.retain(|boot| *boot != claim.boot);
        boots.push(claim.boot);
        if boots.len() > BOOTS_MAX {
            boots.remove(0);
        }
        let device = Device {
            access_name: name.clone(),
            label: known.map(|device| device.label.clone()).unwrap_or_default(),
            settings: known
                .map(|device| device.settings.clone())
                .unwrap_or_default(),
            created_at: known.map_or(at, |device| device.created_at),
            accessed_at: at,
            address: tenure.address.clone(),
            version: tenure.version.clone(),
            node: claim.node,
            epoch: Some(epoch),
            boots,
            draining: false,
        };
        self.content.devices.insert(name.clone(), Arc::new(device));
        self.forget_devices();
        self.content.tenures.insert(epoch, Arc::new(tenure));
        self.adopt(effects);
        Reply::Claimed { epoch }
    }

    /// Names that nobody holds any more are remembered, but not without end.
    fn forget_devices(&mut self) {
        if self.content.devices.len() <= DEVICES_MAX {
            return;
        }
        let idle = self.devices().filter(|device| device.epoch.is_none());
        let oldest = idle.min_by_key(|device| device.accessed_at);
        if let Some(name) = oldest.map(|device| device.access_name.clone()) {
            self.content.devices.remove(&name);
        }
    }

    pub(super) fn keep_alive(&mut self, epoch: Epoch) -> Reply {
        let at = self.content.at;
        match self.content.tenures.get_mut(&epoch) {
            Some(tenure) => {
                Arc::make_mut(tenure).renewed_at = at;
                Reply::Done
            }
            None => Reply::Refused(Refusal::StaleEpoch),
        }
    }

    pub(super) fn resign(
        &mut self,
        epoch: Epoch,
        biller: &dyn Biller,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        self.end_tenure(epoch, biller, effects);
        self.adopt(effects);
        Reply::Done
    }

    pub(super) fn node_down(
        &mut self,
        epoch: Epoch,
        biller: &dyn Biller,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        if let Some(tenure) = self.tenure(epoch)
            && tenure.lease_until() > self.content.at
        {
            let left_ms = tenure.lease_until() - self.content.at;
            return Reply::Refused(Refusal::ClaimHeld {
                address: tenure.address.clone(),
                left_ms,
            });
        }
        self.end_tenure(epoch, biller, effects);
        self.adopt(effects);
        Reply::Done
    }

    /// Fences a tenure and settles its calls in set-up. Its answered calls and its bindings wait for [`Self::adopt`].
    fn end_tenure(&mut self, epoch: Epoch, biller: &dyn Biller, effects: &mut Vec<Effect>) {
        let Some(tenure) = self.content.tenures.get(&epoch).cloned() else {
            return;
        };
        let at = self.content.at;
        // Binds whose answer only the lost process could have had.
        let unsure: Vec<BindingId> = self
            .bindings_of(epoch)
            .filter(|binding| binding.bound_at.is_none())
            .map(|binding| binding.id)
            .collect();
        for id in unsure {
            self.change_binding(id, |binding| {
                binding.phase = Phase::Orphan;
                binding.unbind_at = Some(at);
            });
        }
        let calls: Vec<Arc<Call>> = self
            .content
            .calls
            .values()
            .filter(|call| call.owner == epoch)
            .cloned()
            .collect();
        let mut ended = false;
        for call in calls {
            match fate(&call) {
                Fate::End => {
                    ended = true;
                    self.finish(&lost(&call, tenure.renewed_at), biller, effects);
                }
                Fate::GoOn => {
                    if let Some(call) = self.content.calls.get_mut(&call.id()) {
                        Arc::make_mut(call).heard_at = Some(tenure.renewed_at);
                    }
                }
            }
        }
        self.content.tenures.remove(&epoch);
        if let Some(device) = self.content.devices.get_mut(&tenure.access_name)
            && device.epoch == Some(epoch)
        {
            Arc::make_mut(device).epoch = None;
        }
        effects.push(Effect::Fenced { epoch });
        if ended {
            effects.push(Effect::Outbox {
                last: self.content.outbox_last,
            });
        }
    }

    /// Spreads answered calls, bindings and static relations without a live owner over the live tenures, in the order
    /// of both. The binding of a call goes where its call goes, which tells it when to let go. With no tenure left they
    /// wait for the next claim.
    fn adopt(&mut self, effects: &mut Vec<Effect>) {
        let owners: Vec<Epoch> = self.content.tenures.keys().copied().collect();
        if owners.is_empty() {
            return;
        }
        let mut next = owners.iter().copied().cycle();
        let calls: Vec<CallId> = self
            .calls()
            .filter(|call| !self.content.tenures.contains_key(&call.owner))
            .map(|call| call.id())
            .collect();
        let calls: Vec<(CallId, Epoch)> = calls.into_iter().zip(&mut next).collect();
        for (call, owner) in &calls {
            if let Some(call) = self.content.calls.get_mut(call) {
                Arc::make_mut(call).owner = *owner;
            }
        }
        let waiting: Vec<(BindingId, Option<Epoch>)> = self
            .bindings()
            .filter(|binding| !self.content.tenures.contains_key(&binding.owner))
            .map(|binding| {
                let call = self.content.calls.get(&binding.call);
                let call = call.filter(|call| call.binding == Some(binding.id));
                (binding.id, call.map(|call| call.owner))
            })
            .collect();
        for (binding, of_call) in waiting {
            let Some(owner) = of_call.or_else(|| next.next()) else {
                return;
            };
            self.change_binding(binding, |binding| binding.owner = owner);
            effects.push(Effect::Adopted { owner, binding });
        }
        for (ax, owner) in self.ax_orphans().into_iter().zip(&mut next) {
            self.adopt_ax(ax, owner, effects);
        }
        // Last, so that whoever looks after a call's binding is there before the call can end.
        let adopted = calls.into_iter();
        effects.extend(adopted.map(|(call, owner)| Effect::CallAdopted { owner, call }));
    }

    pub(super) fn device_edit(
        &mut self,
        access_name: &str,
        label: Option<&str>,
        settings: Option<&BTreeMap<String, String>>,
        draining: Option<bool>,
        actor: &str,
    ) -> Reply {
        let invalid = |field: &str, text: String| {
            Reply::Refused(Refusal::Invalid {
                field: field.to_owned(),
                text,
            })
        };
        if label.is_some_and(|label| label.len() > TEXT_MAX) {
            return invalid("label", format!("at most {TEXT_MAX} bytes"));
        }
        for (name, value) in settings.into_iter().flatten() {
            if let Some(text) = settings::fault(name, value) {
                return invalid(&format!("settings.{}", model::cut(name, TEXT_MAX)), text);
            }
        }
        let Some(device) = self.content.devices.get_mut(access_name) else {
            return Reply::Refused(Refusal::NotFound);
        };
        let device = Arc::make_mut(device);
        if let Some(label) = label {
            label.clone_into(&mut device.label);
        }
        for (name, value) in settings.into_iter().flatten() {
            match value.is_empty() {
                true => device.settings.remove(name),
                false => device.settings.insert(name.clone(), value.clone()),
            };
        }
        if let Some(draining) = draining {
            device.draining = draining;
        }
        self.note(
            actor,
            Deed::Device {
                access_name: access_name.to_owned(),
            },
            None,
            None,
        );
        Reply::Done
    }
}

/// The one place that decides what becomes of a lost tenure's call.
fn fate(call: &Call) -> Fate {
    match call.outlives_its_node() {
        true => Fate::GoOn,
        false => Fate::End,
    }
}

/// The end of a call whose node is lost. It is counted up to the moment at which that node was last heard.
fn lost(call: &Call, heard_at: Millis) -> End {
    let ended_at = heard_at
        .max(call.answered_at.unwrap_or(0))
        .max(call.asked.started_at);
    End {
        call: call.id(),
        epoch: call.owner,
        ended_at,
        answered_at: call.answered_at,
        pdd_ms: call.pdd_ms,
        codec: String::new(),
        reason: EndReason {
            key: "node_failure".to_owned(),
            sip: None,
            q850: None,
        },
        by: EndedBy::Server,
    }
}

impl Reply {
    fn claimed(self, epoch: Epoch) -> Reply {
        match self {
            Reply::Done => Reply::Claimed { epoch },
            refused => refused,
        }
    }
}
