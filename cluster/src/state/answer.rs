//! An answered call: its answer is kept, its binding gets a moment of release, its credit is renewed.

use super::{Blob, Call, Phase, State};
use crate::command::{Answered, Biller, Credit, DIALOGS_MAX, Effect, Keep, Refusal, Renew, Reply};
use crate::entity::Millis;
use std::sync::Arc;

/// Bytes of a codec's name.
pub(super) const CODEC_MAX: usize = 64;

impl State {
    pub(super) fn answered(&mut self, answered: &Answered, effects: &mut Vec<Effect>) -> Reply {
        if let Err(refusal) = within_bounds(&answered.dialogs) {
            return Reply::Refused(refusal);
        }
        if let Err(refusal) = self.own_call(answered.call, answered.epoch) {
            return Reply::Refused(refusal);
        }
        let call = self.content.calls.get_mut(&answered.call);
        let Some(call) = call.filter(|call| call.refused.is_none()) else {
            return Reply::Refused(Refusal::UnknownCall);
        };
        let binding = call.binding;
        if call.answered_at.is_none() {
            let call = Arc::make_mut(call);
            call.answered_at = Some(answered.answered_at);
            call.pdd_ms = Some(answered.pdd_ms);
            call.codec = super::model::cut(&answered.codec, CODEC_MAX).to_owned();
            call.dialogs = Blob::from(&*answered.dialogs);
            self.index.answered += 1;
            if let Some(id) = binding {
                let moment = self.content.bindings.get(&id).and_then(|binding| {
                    let delay = self
                        .interface(binding.interface)?
                        .entity
                        .unbind_delay_secs?;
                    Some(
                        answered
                            .answered_at
                            .saturating_add(Millis::from(delay) * 1000),
                    )
                });
                if moment.is_some() {
                    self.change_binding(id, |binding| {
                        if matches!(binding.phase, Phase::Binding | Phase::Bound) {
                            binding.unbind_at = moment;
                        }
                    });
                }
            }
            self.leave_queue(answered.call, effects);
        }
        let unbind_at = binding
            .and_then(|id| self.content.bindings.get(&id))
            .and_then(|binding| binding.unbind_at);
        Reply::Answered { unbind_at }
    }

    pub(super) fn keep(&mut self, keep: &Keep) -> Reply {
        let allowed = within_bounds(&keep.dialogs)
            .and_then(|()| self.own_call(keep.call, keep.epoch).map(drop));
        if let Err(refusal) = allowed {
            return Reply::Refused(refusal);
        }
        let call = self.content.calls.get_mut(&keep.call);
        // An answer is what makes a call outlive its node.
        let Some(call) = call.filter(|call| call.answered_at.is_some()) else {
            return Reply::Refused(Refusal::UnknownCall);
        };
        Arc::make_mut(call).dialogs = Blob::from(&*keep.dialogs);
        Reply::Done
    }

    pub(super) fn renew(&mut self, renew: &Renew, biller: &dyn Biller) -> Reply {
        let call = match self.own_call(renew.call, renew.epoch) {
            Ok(call) => call,
            Err(refusal) => return Reply::Refused(refusal),
        };
        let (Some(customer), Some(credit)) = (&call.customer, call.credit) else {
            return Reply::Renewed(Credit {
                upto_secs: u32::MAX,
                last: false,
            });
        };
        // A repeat: the slice after this one has been granted.
        if renew.upto_secs < credit.upto_secs || call.refused.is_some() {
            return Reply::Renewed(credit);
        }
        let account = customer.account;
        let slice = biller.slice(
            &customer.rate.entity,
            credit.upto_secs,
            self.available(account),
        );
        let (credit, cost) = match slice {
            Some(slice) => (
                Credit {
                    upto_secs: slice.upto_secs,
                    last: slice.last,
                },
                slice.cost,
            ),
            None => (
                Credit {
                    last: true,
                    ..credit
                },
                0,
            ),
        };
        let mut call = Call::clone(call);
        call.credit = Some(credit);
        call.reserved = call.reserved.saturating_add(cost);
        self.index.reserve(Some(account), cost, true);
        self.content.calls.insert(renew.call, Arc::new(call));
        Reply::Renewed(credit)
    }
}

fn within_bounds(dialogs: &[u8]) -> Result<(), Refusal> {
    if dialogs.len() <= DIALOGS_MAX {
        return Ok(());
    }
    Err(Refusal::Invalid {
        field: "dialogs".to_owned(),
        text: format!("{} bytes where {DIALOGS_MAX} are kept", dialogs.len()),
    })
}
