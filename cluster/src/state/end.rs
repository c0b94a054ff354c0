//! The end of a call: everything it held is free, its money is charged, its record lies in the outbox. Once.

use super::answer::CODEC_MAX;
use super::model::cut;
use super::{Blob, ENDED_MAX, State, Tariff};
use crate::command::{Biller, Effect, End, EndReason, Rated, Refusal, Reply, Usage};

/// Bytes of an end reason's key.
const KEY_MAX: usize = 64;

impl State {
    pub(super) fn end(
        &mut self,
        end: &End,
        biller: &dyn Biller,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        match self.own_call(end.call, end.epoch) {
            Ok(_) => {}
            // Once more: its record is there.
            Err(Refusal::UnknownCall) => return Reply::Done,
            Err(refusal) => return Reply::Refused(refusal),
        }
        self.finish(end, biller, effects);
        effects.push(Effect::Outbox {
            last: self.content.outbox_last,
        });
        Reply::Done
    }

    /// Ends an open call.
    pub(super) fn finish(&mut self, end: &End, biller: &dyn Biller, effects: &mut Vec<Effect>) {
        let Some(call) = self.content.calls.remove(&end.call) else {
            return;
        };
        self.index.call(&call, false);
        if let Some(a) = call.a_id {
            self.a_settle(a);
        }
        if let Some(hold) = &call.ax {
            self.x_settle(hold.x_id);
            self.turn_ax(hold.x_id, effects);
        }
        if let Some(binding) = call.binding {
            self.release_binding(binding);
        }
        let rated = |tariff: &Option<Tariff>| -> Option<Rated> {
            let tariff = tariff.as_ref()?;
            Some(tariff.rated(self.account(tariff.account)?))
        };
        let asked = &call.asked;
        let attempt = call.attempt.as_deref();
        let gateway = self.mapping_gateway(asked.gateway);
        let usage = Usage {
            call: end.call,
            node: self
                .tenure(call.owner)
                .map(|tenure| tenure.access_name.clone())
                .unwrap_or_default(),
            caller_access: asked.caller_access.clone(),
            caller: asked.caller.clone(),
            caller_out: attempt
                .map(|attempt| attempt.caller_out.clone())
                .unwrap_or_default(),
            callee_access: asked.callee_access.clone(),
            callee: asked.callee.clone(),
            callee_out: attempt
                .map(|attempt| attempt.callee_out.clone())
                .unwrap_or_default(),
            mapping_gateway: gateway
                .map(|row| row.entity.name.clone())
                .unwrap_or_default(),
            routing_gateway: attempt
                .map(|attempt| attempt.gateway_name.clone())
                .unwrap_or_default(),
            caller_ip: asked.remote.ip().to_string(),
            callee_ip: attempt
                .map(|attempt| attempt.address.ip().to_string())
                .unwrap_or_default(),
            sip_call_id: asked.sip_call_id.clone(),
            started_at: asked.started_at,
            answered_at: end.answered_at.or(call.answered_at),
            ended_at: end.ended_at,
            pdd_ms: end.pdd_ms.or(call.pdd_ms),
            codec: if end.codec.is_empty() {
                call.codec.clone()
            } else {
                cut(&end.codec, CODEC_MAX).to_owned()
            },
            reason: EndReason {
                key: cut(&end.reason.key, KEY_MAX).to_owned(),
                ..end.reason
            },
            by: end.by,
            axb: call.axb.as_deref().cloned(),
            customer: rated(&call.customer),
            landing: rated(&call.landing),
            axb_settlement: rated(&call.axb_settlement),
        };
        let closing = biller.close(&usage);
        for (account, amount) in closing.charges {
            if let Some(money) = self.content.money.get_mut(&account) {
                *money = money.saturating_sub(amount);
            }
        }
        self.content.outbox_last += 1;
        self.content.outbox.push_back(Blob::from(&*closing.record));
        self.trim_outbox();
        self.content.ended.push_back(end.call);
        let oldest = (self.content.ended.len() > ENDED_MAX)
            .then(|| self.content.ended.pop_front())
            .flatten();
        if let Some(lookup) = self.index.lookup.made_mut() {
            lookup.ended(end.call, oldest);
        }
    }
}
