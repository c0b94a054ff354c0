//! The rules of `DOMAIN.md` §4.1 and §5 once more, in the plainest words: who holds which numbers is written down from
//! commands, replies and effects alone, and every grant is measured against that. Nothing here asks the state's index.

use crate::rules::relations;
use std::collections::{BTreeMap, BTreeSet};
use tandem_cluster::command::*;
use tandem_cluster::entity::*;
use tandem_cluster::state::{AxPhase, Phase, State, XState};

/// An open call as the ledger knows it.
#[derive(Clone, Debug)]
pub struct Held {
    pub owner: Epoch,
    pub asked: Reserve,
    pub attempt: u16,
    /// Lines held: gateway, and A on an AXB gateway.
    pub gateway: Option<Id>,
    pub a: Option<Id>,
    pub binding: Option<BindingId>,
    pub ax: Option<(AxLease, Id)>,
    pub answered: bool,
    /// Another node can carry it on.
    pub outlives: bool,
    pub refused_x: BTreeSet<Id>,
}

/// What stands on the platform, or may.
#[derive(Clone, Debug)]
pub struct Stand {
    pub owner: Epoch,
    pub interface: Id,
    pub call: CallId,
    pub x: Id,
    pub a: String,
    pub b: String,
    pub confirmed: bool,
    /// Its bind's outcome is unknown.
    pub orphan: bool,
    /// Its call counts on it, so it is not to be released yet.
    pub wanted: bool,
}

/// Numbers of one grant, whichever way it goes out.
struct Grant<'a> {
    a: &'a str,
    x: &'a str,
    b: &'a str,
}

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub calls: BTreeMap<CallId, Held>,
    pub stands: BTreeMap<BindingId, Stand>,
    pub rests: BTreeMap<(String, Id), Millis>,
    /// Calls that set callees, by X, in their order; and those that know that their turn has come.
    pub queues: BTreeMap<Id, Vec<CallId>>,
    pub told: BTreeSet<CallId>,
    /// Rows that an operator has removed; they may stay until what stands on them is gone.
    pub removed: BTreeSet<(Table, Id)>,
    /// What has happened, and how often: histories that never come to a rule prove nothing about it.
    pub seen: BTreeMap<&'static str, u64>,
}

/// Everything that many histories must have come to.
pub const EVENTS: [&str; 12] = [
    "adopted",
    "binding given",
    "call adopted",
    "other X booked",
    "other X refused",
    "outcome unknown",
    "plain call",
    "refused for lack of numbers",
    "relation given",
    "relation given where no pair was left",
    "released by force",
    "turn passed on",
];

type Checked = Result<(), String>;

impl Ledger {
    /// Writes down what a command has done, and says what it should not have done.
    pub fn learn(
        &mut self,
        state: &State,
        command: &Command,
        reply: &Reply,
        effects: &[Effect],
    ) -> Checked {
        self.obey(command, reply)?;
        self.fence(state, effects)?;
        match command {
            Command::Reserve(asked) => self.reserved(state, asked, reply)?,
            Command::Next(next) => self.moved_on(state, next, reply)?,
            Command::Bound(bound) => self.bound(state, bound, reply)?,
            Command::Answered(answered) => {
                if let (Reply::Answered { .. }, Some(call)) =
                    (reply, self.calls.get_mut(&answered.call))
                {
                    if !call.answered {
                        call.outlives = !answered.dialogs.is_empty();
                    }
                    call.answered = true;
                    self.leave(answered.call);
                }
            }
            Command::AxAccepted { call, attempt, .. } if *reply == Reply::Done => {
                self.accept(*call, *attempt)
            }
            Command::Unbound(unbound) if *reply == Reply::Done => {
                let Some(stand) = self.stands.get_mut(&unbound.binding) else {
                    return Ok(());
                };
                let rules = &state.interface(stand.interface).expect("interface").entity;
                if unbound.missing && stand.confirmed && rules.hold_missing {
                    stand.wanted = false;
                } else {
                    self.release(state, unbound.binding, true);
                }
            }
            Command::AskUnbind { binding, .. } if *reply == Reply::Done => {
                if let Some(stand) = self.stands.get_mut(binding) {
                    stand.wanted = false;
                }
            }
            Command::ForceUnbind { binding, .. } if *reply == Reply::Done => {
                self.see("released by force");
                self.release(state, *binding, true);
            }
            Command::Remove(remove) if *reply == Reply::Done => {
                self.removed.insert((remove.table, remove.id));
            }
            Command::Keep(keep) if *reply == Reply::Done => {
                let call = self.calls.get_mut(&keep.call);
                let call = call.filter(|call| call.answered);
                call.ok_or("kept for a call without an answer")?.outlives =
                    !keep.dialogs.is_empty();
            }
            Command::End(end) if *reply == Reply::Done => self.forget(end.call),
            _ => {}
        }
        self.turns(state, effects)
    }

    /// Nobody speaks for what is another's.
    fn obey(&self, command: &Command, reply: &Reply) -> Checked {
        let of_call = |call: &CallId| self.calls.get(call).map(|held| held.owner);
        let of_stand = |id: &BindingId| self.stands.get(id).map(|stand| stand.owner);
        let (owner, epoch) = match command {
            Command::Next(next) => (of_call(&next.call), next.epoch),
            Command::Answered(answered) => (of_call(&answered.call), answered.epoch),
            Command::AxAccepted { call, epoch, .. } => (of_call(call), *epoch),
            Command::Renew(renew) => (of_call(&renew.call), renew.epoch),
            Command::Keep(keep) => (of_call(&keep.call), keep.epoch),
            Command::End(end) => (of_call(&end.call), end.epoch),
            Command::Bound(bound) => (of_stand(&bound.binding), bound.epoch),
            Command::Unbound(unbound) => (of_stand(&unbound.binding), unbound.epoch),
            Command::UnbindFailed(failed) => (of_stand(&failed.binding), failed.epoch),
            _ => return Ok(()),
        };
        let stale = Reply::Refused(Refusal::StaleEpoch);
        match owner.is_some_and(|owner| owner != epoch) && *reply != stale {
            true => Err(format!("epoch {epoch} spoke for {owner:?}: {reply:?}")),
            false => Ok(()),
        }
    }

    /// What a lost tenure had, and who goes on with it.
    fn fence(&mut self, state: &State, effects: &[Effect]) -> Checked {
        for effect in effects {
            match effect {
                Effect::Fenced { epoch } => {
                    let of = |call: &&CallId| {
                        self.calls[call].owner == *epoch && !self.calls[call].outlives
                    };
                    let calls: Vec<CallId> = self.calls.keys().filter(of).copied().collect();
                    let unsure = |stand: &&mut Stand| stand.owner == *epoch && !stand.confirmed;
                    for stand in self.stands.values_mut().filter(unsure) {
                        // Its call goes on without it, if it goes on.
                        (stand.orphan, stand.wanted) = (true, false);
                    }
                    calls.into_iter().for_each(|call| self.forget(call));
                }
                Effect::CallAdopted { owner, call } => {
                    let held = self.calls.get_mut(call);
                    let held = held.ok_or(format!("call {call:?} is adopted and not there"))?;
                    if !held.outlives || state.tenure(held.owner).is_some() {
                        return Err(format!("call {call:?} is adopted and need not be"));
                    }
                    held.owner = *owner;
                    self.see("call adopted");
                }
                Effect::Adopted { owner, binding } => {
                    if let Some(stand) = self.stands.get_mut(binding) {
                        stand.owner = *owner;
                        self.see("adopted");
                    }
                }
                // A dropped relation rests as a dropped binding does.
                _ => {}
            }
        }
        Ok(())
    }

    fn see(&mut self, event: &'static str) {
        *self.seen.entry(event).or_insert(0) += 1;
    }

    fn accept(&mut self, call: CallId, attempt: u16) {
        let held = self.calls.get(&call);
        if held.is_some_and(|held| held.attempt == attempt) {
            self.leave(call);
        }
    }

    fn leave(&mut self, call: CallId) {
        self.queues
            .values_mut()
            .for_each(|queue| queue.retain(|waits| *waits != call));
        self.queues.retain(|_, queue| !queue.is_empty());
        self.told.remove(&call);
    }

    fn forget(&mut self, call: CallId) {
        self.calls.remove(&call);
        self.leave(call);
        for stand in self.stands.values_mut().filter(|stand| stand.call == call) {
            stand.wanted = false;
        }
    }

    /// A pair that is let go rests.
    pub fn rest(&mut self, state: &State, interface: Id, a: &str, x: Id) {
        let rest_ms = state
            .interface(interface)
            .map_or(0, |row| u64::from(row.entity.pair_rest_ms));
        let until = self.rests.entry((a.to_owned(), x)).or_insert(0);
        *until = (*until).max(state.at() + rest_ms);
    }

    fn release(&mut self, state: &State, binding: BindingId, rests: bool) {
        if let Some(stand) = self.stands.remove(&binding)
            && rests
        {
            self.rest(state, stand.interface, &stand.a, stand.x);
        }
    }

    fn reserved(&mut self, state: &State, asked: &Reserve, reply: &Reply) -> Checked {
        if self.calls.contains_key(&asked.call) || state.call(asked.call).is_none() {
            return Ok(());
        }
        let mut held = Held {
            owner: asked.call.epoch(),
            asked: asked.clone(),
            attempt: 0,
            gateway: None,
            a: None,
            binding: None,
            ax: None,
            answered: false,
            outlives: false,
            refused_x: BTreeSet::new(),
        };
        let from = &state
            .mapping_gateway(asked.gateway)
            .expect("gateway")
            .entity;
        match reply {
            Reply::Reserved(attempt) => self.grant(state, &mut held, attempt)?,
            Reply::Refused(Refusal::NoAxbNumber) => {
                self.see("refused for lack of numbers");
                for gateway in state.routing_gateways() {
                    let Some(axb) = &gateway.entity.axb else {
                        continue;
                    };
                    if gateway.entity.lock_type != 0
                        || self.lines(gateway.id) >= gateway.entity.capacity
                    {
                        continue;
                    }
                    for (allowed, ax) in [(from.allow_axb, false), (from.allow_ax, true)] {
                        let call = (&*asked.caller, &*asked.callee, &held.refused_x);
                        let fitting = self.fitting(state, axb, from, call, ax);
                        if allowed && !fitting.is_empty() {
                            return Err(format!("refused although {fitting:?} fit, AX {ax}"));
                        }
                    }
                }
            }
            _ => {}
        }
        self.calls.insert(asked.call, held);
        Ok(())
    }

    fn grant(&mut self, state: &State, held: &mut Held, attempt: &Attempt) -> Checked {
        let gateway = state.routing_gateway(attempt.gateway).expect("gateway");
        if gateway.entity.lock_type != 0 || self.lines(gateway.id) >= gateway.entity.capacity {
            return Err(format!("gateway {} has no line", gateway.id));
        }
        held.attempt = attempt.number;
        held.gateway = Some(gateway.id);
        (held.a, held.binding, held.ax) = (None, None, None);
        let Some(axb) = &gateway.entity.axb else {
            return match (&attempt.lease, &attempt.ax) {
                (None, None) => {
                    self.see("plain call");
                    Ok(())
                }
                _ => Err("a plain gateway with numbers".to_owned()),
            };
        };
        let from = &state
            .mapping_gateway(held.asked.gateway)
            .expect("row")
            .entity;
        let call = (&*held.asked.caller, &*held.asked.callee, &held.refused_x);
        let pairs = self.fitting(state, axb, from, call, false);
        let (grant, fitting) = match (&attempt.lease, &attempt.ax) {
            (
                Some(Lease {
                    a,
                    x,
                    b_submitted: b,
                    ..
                }),
                None,
            ) if from.allow_axb => (Grant { a, x, b }, pairs),
            (
                None,
                Some(AxLease {
                    a,
                    x,
                    b_submitted: b,
                    ..
                }),
            ) if from.allow_ax => {
                if from.allow_axb && !pairs.is_empty() {
                    return Err(format!("over a relation although {pairs:?} fit"));
                }
                let fitting = self.fitting(state, axb, from, call, true);
                (Grant { a, x, b }, fitting)
            }
            _ => return Err("an AXB gateway without numbers, or against the settings".to_owned()),
        };
        let Grant { a, x, b } = grant;
        if !fitting
            .get(a)
            .is_some_and(|xs| xs.iter().any(|fit| fit == x))
        {
            return Err(format!("({a}, {x}) for {b} given where {fitting:?} fit"));
        }
        if b != held.asked.callee {
            return Err(format!("{b} is not what was dialled"));
        }
        let x_id = state.find(Table::XNumbers, x).expect("X");
        held.a = state.find_a(axb.a_group, a);
        if let Some(lease) = &attempt.lease {
            self.see("binding given");
            self.rests.remove(&(a.to_owned(), x_id));
            held.binding = Some(lease.binding);
            let stand = Stand {
                owner: held.owner,
                interface: lease.interface,
                call: held.asked.call,
                x: x_id,
                a: a.to_owned(),
                b: b.to_owned(),
                confirmed: false,
                orphan: false,
                wanted: true,
            };
            self.stands.insert(lease.binding, stand);
        }
        if let Some(lease) = &attempt.ax {
            self.see(match from.allow_axb {
                true => "relation given where no pair was left",
                false => "relation given",
            });
            if lease.set_callee {
                self.queues.entry(x_id).or_default().push(held.asked.call);
                if lease.turn {
                    self.told.insert(held.asked.call);
                }
            }
            held.ax = Some((lease.clone(), x_id));
        }
        Ok(())
    }

    fn moved_on(&mut self, state: &State, next: &Next, reply: &Reply) -> Checked {
        let Some(mut held) = self.calls.get(&next.call).cloned() else {
            return Ok(());
        };
        let moved = match reply {
            Reply::Reserved(attempt) => attempt.number > held.attempt,
            Reply::Refused(Refusal::StaleEpoch) => false,
            Reply::Refused(_) => {
                next.attempt == held.attempt && !held.answered && held.gateway.is_some()
            }
            _ => false,
        };
        if !moved {
            return Ok(());
        }
        self.leave(next.call);
        let refused = matches!(next.failure, Failure::NumberRefused { .. });
        let refusal = refused || matches!(next.failure, Failure::PlatformRefused { .. });
        if let Some((_, x)) = held.ax.take()
            && refused
        {
            held.refused_x.insert(x);
        }
        if let Some(stand) = held.binding.and_then(|id| self.stands.get_mut(&id))
            && stand.wanted
        {
            let open = !stand.confirmed && !stand.orphan;
            stand.wanted = false;
            if open && refused {
                held.refused_x.insert(stand.x);
            }
            if open && matches!(next.failure, Failure::BindUnknown { .. }) {
                stand.orphan = true;
                *self.seen.entry("outcome unknown").or_insert(0) += 1;
            }
            if open && refusal {
                self.release(state, held.binding.expect("it stands"), false);
            }
        }
        (held.gateway, held.a, held.binding) = (None, None, None);
        self.calls.insert(next.call, held.clone());
        if let Reply::Reserved(attempt) = reply {
            self.grant(state, &mut held, attempt)?;
        }
        self.calls.insert(next.call, held);
        Ok(())
    }

    fn bound(&mut self, state: &State, bound: &Bound, reply: &Reply) -> Checked {
        let Some(stand) = self.stands.get(&bound.binding).cloned() else {
            return Ok(());
        };
        let asked = state.x(stand.x).map(|x| x.entity.number.clone());
        let same = asked.as_deref() == Some(&*bound.x);
        let mut new = Stand {
            confirmed: true,
            orphan: false,
            ..stand.clone()
        };
        match reply {
            Reply::Done if same => {}
            Reply::Done => {
                let x = state.find(Table::XNumbers, &bound.x).ok_or("no such X")?;
                let row = state.x(x).expect("row");
                self.stands.remove(&bound.binding);
                if row.entity.interface != stand.interface
                    || self.x_slots(x) >= row.entity.line_limit
                    || !self.beside(state, row, &stand.a, &stand.b, false)
                {
                    return Err(format!("X {} was booked and had no room", bound.x));
                }
                self.rests.remove(&(stand.a.clone(), x));
                new.x = x;
                self.see("other X booked");
            }
            Reply::Refused(Refusal::XNotOurs) if stand.confirmed => return Ok(()),
            Reply::Refused(Refusal::XNotOurs) => {
                if stand.wanted
                    && !stand.orphan
                    && let Some(call) = self.calls.get_mut(&stand.call)
                {
                    call.refused_x.insert(stand.x);
                }
                new.wanted = false;
                self.see("other X refused");
            }
            _ => return Ok(()),
        }
        self.stands.insert(bound.binding, new);
        Ok(())
    }

    /// The first of each queue, and nobody else, has been told.
    fn turns(&mut self, state: &State, effects: &[Effect]) -> Checked {
        for effect in effects {
            let Effect::AxTurn {
                call,
                attempt,
                owner,
            } = effect
            else {
                continue;
            };
            // One that has gone in the same step was told for nothing.
            let Some(held) = self.calls.get(call) else {
                continue;
            };
            if (held.attempt, held.owner) != (*attempt, *owner) || !self.told.insert(*call) {
                return Err(format!(
                    "call {call:?} is told again, or of another attempt"
                ));
            }
            self.see("turn passed on");
        }
        for queue in self.queues.values() {
            for (place, call) in queue.iter().enumerate() {
                let attempt = state.call(*call).and_then(|call| call.attempt.as_ref());
                let turn = attempt.and_then(|attempt| Some(attempt.ax.as_ref()?.turn));
                if turn != Some(place == 0) || self.told.contains(call) != (place == 0) {
                    return Err(format!("call {call:?} is number {place} and has {turn:?}"));
                }
            }
        }
        Ok(())
    }

    /// Holds the state's rows and counters against the ledger, and states I1 to I6 of what stands.
    pub fn compare(&self, state: &State) -> Checked {
        let rows: Vec<_> = state
            .bindings()
            .map(|row| (row.id, row.x_id, &*row.a, &*row.b_submitted))
            .collect();
        let ours: Vec<_> = self
            .stands
            .iter()
            .map(|(id, stand)| (*id, stand.x, &*stand.a, &*stand.b))
            .collect();
        if rows != ours {
            return Err(format!("I6: bindings are {rows:?} and should be {ours:?}"));
        }
        if !state
            .calls()
            .map(|call| call.id())
            .eq(self.calls.keys().copied())
        {
            return Err("I6: calls are lost or left behind".to_owned());
        }
        for call in state.calls() {
            let held = &self.calls[&call.id()];
            let owned = state.tenure(call.owner).is_some();
            let waits = state.tenures().len() == 0 && held.outlives;
            if call.owner != held.owner || !(owned || waits) {
                return Err(format!("I6: nobody runs call {:?}", call.id()));
            }
        }
        for a in state.a_numbers() {
            if state.a_use(a.id) != self.a_lines(a.id) {
                return Err(format!("I1: A {} counts wrong", a.entity.number));
            }
        }
        for x in state.x_numbers() {
            if state.x_use(x.id) != self.x_slots(x.id) {
                return Err(format!("I2: X {} counts wrong", x.entity.number));
            }
            let orphan = self.on(x.id).any(|stand| stand.orphan);
            if orphan && state.x_state(x.id) == XState::Active {
                return Err(format!("X {} is not quarantined", x.entity.number));
            }
        }
        let mut pairs: BTreeSet<(&str, Id)> = BTreeSet::new();
        for stand in self.stands.values() {
            if !pairs.insert((&stand.a, stand.x)) {
                return Err(format!("I3: pair ({}, {}) stands twice", stand.a, stand.x));
            }
            if stand.a == stand.b {
                return Err(format!("I5: {} is called by itself", stand.a));
            }
        }
        for (a, x) in relations(state) {
            let id = state.find(Table::XNumbers, x);
            if id.is_some_and(|id| pairs.contains(&(a, id))) {
                return Err(format!("I3: pair ({a}, {x}) stands and is a relation"));
            }
        }
        for row in state.bindings() {
            let stand = &self.stands[&row.id];
            let wanted = matches!(row.phase, Phase::Binding | Phase::Bound);
            if wanted != (stand.wanted && !stand.orphan) {
                return Err(format!(
                    "I6: binding {} is {:?}: {stand:?}",
                    row.id, row.phase
                ));
            }
            let owned = state.tenure(row.owner).is_some() || state.tenures().len() == 0;
            if !owned || row.owner != stand.owner || (!wanted && row.unbind_at.is_none()) {
                return Err(format!("I6: nobody releases binding {}", row.id));
            }
        }
        for row in state.ax_bindings() {
            let Some(live) = state.ax_live(row.id) else {
                continue;
            };
            let task = matches!(live.phase, AxPhase::Binding | AxPhase::Unbinding);
            let owned = live
                .owner
                .is_some_and(|owner| state.tenure(owner).is_some());
            if task && !owned && state.tenures().len() > 0 {
                return Err(format!("I6: nobody asks for relation {}", row.id));
            }
        }
        Ok(())
    }
}
