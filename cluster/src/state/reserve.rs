//! Admission: may this call be made, on whose money, through which gateway, with which numbers.

use super::model::cut;
use super::rng::Rng;
use super::route::{Chosen, LOCKED, Numbers};
use super::{Binding, Blob, Call, Phase, State, Tariff};
use crate::command::{
    Attempt, AxbUsage, Biller, Credit, Effect, Lease, Refusal, Reply, Reserve, Slice,
};
use crate::entity::{
    AxbRoute, FeeRate, Id, MappingGateway, Micros, Millis, PrefixList, RoutingGateway, Row,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a number as received.
const NUMBER_MAX: usize = 128;
/// Bytes of a SIP Call-ID.
const SIP_CALL_ID_MAX: usize = 256;

/// What a mapping gateway asks of every call, in the order of the refusals.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gate {
    Lock,
    Capacity,
    Caller,
    Callee,
}

impl Gate {
    pub(super) const ALL: [Gate; 4] = [Gate::Lock, Gate::Capacity, Gate::Caller, Gate::Callee];
}

/// An attempt as it leaves.
pub(super) struct Dialled {
    pub(super) caller_out: String,
    pub(super) callee_out: String,
    pub(super) landing: Option<Tariff>,
    pub(super) axb_settlement: Option<Tariff>,
}

impl State {
    pub(super) fn reserve(&mut self, asked: &Reserve, rng: &mut Rng, biller: &dyn Biller) -> Reply {
        if let Err(stale) = self.live(asked.call.epoch()) {
            return Reply::Refused(stale);
        }
        if let Some(call) = self.content.calls.get(&asked.call) {
            return stored(call);
        }
        if self.lookup().ended.contains(asked.call) {
            return Reply::Refused(Refusal::UnknownCall);
        }
        let Some(from) = self.content.mapping.get(&asked.gateway).cloned() else {
            return Reply::Refused(Refusal::GatewayLocked);
        };
        let mut call = fresh(asked, self.content.at);
        match self.admit(&mut call, &from, rng, biller) {
            Ok((chosen, cost)) => {
                call.admitted = true;
                call.reserved = cost;
                self.index.call(&call, true);
                self.open_attempt(&mut call, chosen, &from, rng);
            }
            // The record stays, holding nothing, so that the call's end writes its CDR.
            Err(refusal) => call.refused = Some(refusal),
        }
        let reply = stored(&call);
        self.content.calls.insert(asked.call, Arc::new(call));
        reply
    }

    /// Every reason to refuse, in their order. Changes nothing but the call's own tariff and credit.
    pub(super) fn admit(
        &self,
        call: &mut Call,
        from: &Row<MappingGateway>,
        rng: &mut Rng,
        biller: &dyn Biller,
    ) -> Result<(Chosen, Micros), Refusal> {
        for gate in Gate::ALL {
            self.gate(gate, from, &call.asked.caller, &call.asked.callee)?;
        }
        let account = self.payer(from)?;
        let tariff = self
            .tariff(account, &call.asked.callee)
            .ok_or(Refusal::RateNotFound)?;
        call.customer = Some(tariff.clone());
        let slice = self.first_slice(&tariff, biller)?;
        call.credit = slice.map(|slice| Credit {
            upto_secs: slice.upto_secs,
            last: slice.last,
        });
        let cost = slice.map_or(0, |slice| slice.cost);
        let chosen = self.route(call, from, rng)?;
        Ok((chosen, cost))
    }

    /// Whether a mapping gateway lets a call of these numbers (N and B) pass.
    pub(super) fn gate(
        &self,
        gate: Gate,
        from: &Row<MappingGateway>,
        caller: &str,
        callee: &str,
    ) -> Result<(), Refusal> {
        let gateway = &from.entity;
        let (holds, refusal) = match gate {
            Gate::Lock => (gateway.lock_type != LOCKED, Refusal::GatewayLocked),
            Gate::Capacity => (
                self.mapping_gateway_calls(from.id) < gateway.capacity,
                Refusal::GatewayCapacity,
            ),
            Gate::Caller => (
                passes(&gateway.caller_prefixes, caller),
                Refusal::CallerForbidden,
            ),
            Gate::Callee => (
                passes(&gateway.callee_prefixes, callee),
                Refusal::CalleeForbidden,
            ),
        };
        if holds { Ok(()) } else { Err(refusal) }
    }

    /// The account that pays for a mapping gateway's calls, if it may.
    pub(super) fn payer(&self, from: &Row<MappingGateway>) -> Result<Id, Refusal> {
        // An account in use cannot be removed; were it gone all the same, nobody would pay.
        let account = self
            .account(from.entity.account)
            .ok_or(Refusal::AccountLocked)?;
        if account.entity.lock_type == LOCKED {
            return Err(Refusal::AccountLocked);
        }
        if account
            .entity
            .valid_until
            .is_some_and(|until| until < self.content.at)
        {
            return Err(Refusal::AccountExpired);
        }
        Ok(account.id)
    }

    /// The first slice of credit; `None`: the call costs nothing.
    pub(super) fn first_slice(
        &self,
        tariff: &Tariff,
        biller: &dyn Biller,
    ) -> Result<Option<Slice>, Refusal> {
        if is_free(&tariff.rate.entity) {
            return Ok(None);
        }
        let available = self.available(tariff.account);
        let slice = biller.slice(&tariff.rate.entity, 0, available);
        slice.map(Some).ok_or(Refusal::BalanceInsufficient)
    }

    /// The rate of `number` in the account's group: longest prefix; locked or none gives none.
    pub(super) fn tariff(&self, account: Id, number: &str) -> Option<Tariff> {
        let rate = self.rate_of(account, number)?;
        (!rate.entity.locked).then(|| Tariff {
            account,
            rate: rate.clone(),
        })
    }

    /// The rate with the longest matching prefix, locked or not.
    pub(super) fn rate_of(&self, account: Id, number: &str) -> Option<&Arc<Row<FeeRate>>> {
        let group = &self.account(account)?.entity.fee_rate_group;
        let rates = self.index.rates.get(&**group)?;
        super::index::Index::longest_prefix(rates, number).map(|(_, rate)| rate)
    }

    /// Numbers as sent to a gateway, and what its suppliers get for the call.
    pub(super) fn dialled(
        &self,
        asked: &Reserve,
        gateway: &Row<RoutingGateway>,
        numbers: Option<&Numbers>,
        rng: &mut Rng,
    ) -> Dialled {
        let rules = self
            .index
            .routing_rules
            .get(&gateway.id)
            .cloned()
            .unwrap_or_default();
        let mut dice = |bound: u32| rng.below(bound);
        let (caller, callee) = match numbers {
            Some(numbers) => (&*numbers.a.text, &*numbers.x.text),
            None => (&*asked.caller, &*asked.callee),
        };
        let caller_out = rules.caller.apply(caller, &mut dice);
        let callee_out = rules.callee.apply(callee, &mut dice);
        let entity = &gateway.entity;
        let landed = if numbers.is_some() {
            callee
        } else {
            &callee_out
        };
        let landing = entity
            .clearing_account
            .and_then(|account| self.tariff(account, landed));
        let axb_settlement = numbers.zip(entity.axb.as_ref()).and_then(|(numbers, axb)| {
            let rated = if axb.rate_on_submitted {
                &numbers.b_submitted
            } else {
                &asked.callee
            };
            self.tariff(axb.account?, rated)
        });
        Dialled {
            caller_out,
            callee_out,
            landing,
            axb_settlement,
        }
    }

    /// What running calls have left of an account's money and limit.
    pub(super) fn available(&self, account: Id) -> Micros {
        let limit = self
            .account(account)
            .map_or(0, |account| account.entity.limit_money);
        let (money, reserved) = self.account_balance(account);
        money.saturating_add(limit).saturating_sub(reserved)
    }

    /// Takes what was chosen: the gateway's line and, on an AXB gateway, A and X with a new binding or over a static
    /// relation.
    pub(super) fn open_attempt(
        &mut self,
        call: &mut Call,
        chosen: Chosen,
        from: &Row<MappingGateway>,
        rng: &mut Rng,
    ) {
        let Chosen { gateway, numbers } = chosen;
        let Dialled {
            caller_out,
            callee_out,
            landing,
            axb_settlement,
        } = self.dialled(&call.asked, &gateway, numbers.as_ref(), rng);
        let entity = &gateway.entity;
        call.landing = landing;
        call.axb_settlement = axb_settlement;
        let (mut lease, mut ax) = (None, None);
        call.binding = None;
        call.a_id = None;
        if let (Some(numbers), Some(axb)) = (&numbers, &entity.axb) {
            call.axb = Some(Arc::new(AxbUsage {
                a: numbers.a.text.clone(),
                x: numbers.x.text.clone(),
                b: call.asked.callee.clone(),
                b_submitted: numbers.b_submitted.clone(),
                interface: self
                    .interface(axb.interface)
                    .map(|row| row.entity.name.clone())
                    .unwrap_or_default(),
                a_group: self
                    .a_group(axb.a_group)
                    .map(|row| row.entity.name.clone())
                    .unwrap_or_default(),
                binding: None,
                handle: BTreeMap::new(),
            }));
            call.a_id = Some(numbers.a.id);
            self.index.a_use_of(numbers.a.id, true);
            self.index.a_refresh(&self.content, numbers.a.id);
            match numbers.ax {
                None => lease = Some(self.take_pair(call, axb, numbers)),
                Some(relation) => ax = Some(self.take_ax(call, relation, axb.interface, numbers)),
            }
            if let Some(axb) = &mut call.axb {
                let axb = Arc::make_mut(axb);
                axb.binding = call.binding;
                axb.handle = ax.iter().flat_map(|ax| ax.handle.clone()).collect();
            }
        }
        call.attempt = Some(Arc::new(Attempt {
            number: call
                .attempt
                .as_ref()
                .map_or(1, |attempt| attempt.number + 1),
            gateway: gateway.id,
            gateway_name: entity.name.clone(),
            address: entity.address,
            transport: entity.transport,
            caller_out,
            callee_out,
            send_identity: entity.send_identity,
            response_timeout_ms: entity.response_timeout_ms,
            lease,
            ax,
            max_duration_secs: from.entity.max_duration_secs,
            credit: call.credit,
        }));
        call.routed = true;
        self.index.route_use(gateway.id, true);
        *self.content.past.entry(gateway.id).or_insert(0) += 1;
    }

    /// A new binding of the two, from now on under way.
    fn take_pair(&mut self, call: &mut Call, axb: &AxbRoute, numbers: &Numbers) -> Lease {
        self.content.last_binding += 1;
        let binding = Binding {
            id: self.content.last_binding,
            call: call.id(),
            owner: call.owner,
            interface: axb.interface,
            a_group: axb.a_group,
            a_id: numbers.a.id,
            x_id: numbers.x.id,
            a: numbers.a.text.clone(),
            x: numbers.x.text.clone(),
            b: call.asked.callee.clone(),
            b_submitted: numbers.b_submitted.clone(),
            created_at: self.content.at,
            bound_at: None,
            expires_at: None,
            unbind_at: None,
            phase: Phase::Binding,
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
        call.binding = Some(binding.id);
        self.hold_binding(binding);
        lease
    }

    /// Gives back the line, the A and the AX slot of the attempt; its binding is another matter.
    pub(super) fn close_attempt(&mut self, call: &mut Call, effects: &mut Vec<Effect>) {
        if let (true, Some(attempt)) = (call.routed, &call.attempt) {
            self.index.route_use(attempt.gateway, false);
            call.routed = false;
        }
        self.free_ax(call, effects);
        if let Some(a) = call.a_id.take() {
            self.index.a_use_of(a, false);
            self.a_settle(a);
        }
    }
}

/// A call that nothing has been decided about.
pub(super) fn fresh(asked: &Reserve, at: Millis) -> Call {
    Call {
        asked: Arc::new(bounded(asked)),
        owner: asked.call.epoch(),
        reserved_at: at,
        refused: None,
        admitted: false,
        attempt: None,
        routed: false,
        a_id: None,
        ax: None,
        binding: None,
        axb: None,
        customer: None,
        landing: None,
        axb_settlement: None,
        reserved: 0,
        credit: None,
        answered_at: None,
        pdd_ms: None,
        codec: String::new(),
        dialogs: Blob::default(),
        heard_at: None,
        tried: Vec::new(),
        refused_x: Vec::new(),
        further_x: 0,
    }
}

/// The reply that a call's record gives, now and whenever the question is repeated.
pub(super) fn stored(call: &Call) -> Reply {
    match (&call.refused, &call.attempt) {
        (Some(refusal), _) => Reply::Refused(refusal.clone()),
        (None, Some(attempt)) => Reply::Reserved(Box::new(Attempt::clone(attempt))),
        (None, None) => Reply::Refused(Refusal::UnknownCall),
    }
}

/// Whether a rate never costs anything.
fn is_free(rate: &FeeRate) -> bool {
    rate.fee == 0 && rate.sections.iter().all(|section| section.fee == 0)
}

fn passes(list: &PrefixList, number: &str) -> bool {
    list.prefixes.is_empty()
        || list
            .prefixes
            .iter()
            .any(|prefix| number.starts_with(&**prefix))
            == list.allow
}

fn bounded(asked: &Reserve) -> Reserve {
    Reserve {
        call: asked.call,
        gateway: asked.gateway,
        caller_access: cut(&asked.caller_access, NUMBER_MAX).to_owned(),
        caller: cut(&asked.caller, NUMBER_MAX).to_owned(),
        callee_access: cut(&asked.callee_access, NUMBER_MAX).to_owned(),
        callee: cut(&asked.callee, NUMBER_MAX).to_owned(),
        started_at: asked.started_at,
        remote: asked.remote,
        sip_call_id: cut(&asked.sip_call_id, SIP_CALL_ID_MAX).to_owned(),
    }
}
