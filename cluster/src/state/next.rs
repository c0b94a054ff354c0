//! Another attempt after a failed one.

use super::reserve::stored;
use super::rng::Rng;
use super::route::{Chosen, LOCKED};
use super::{ATTEMPTS_MAX, Call, Phase, State};
use crate::command::{BindingId, Effect, Failure, Next, Refusal, Reply};
use crate::entity::{MappingGateway, RoutingGateway, Row};
use std::sync::Arc;

/// Further X numbers that are tried on one gateway.
const FURTHER_X_MAX: u8 = 2;
/// Bytes of an error text.
pub(super) const ERROR_MAX: usize = 500;

impl State {
    pub(super) fn next(&mut self, next: &Next, rng: &mut Rng, effects: &mut Vec<Effect>) -> Reply {
        let call = match self.own_call(next.call, next.epoch) {
            Ok(call) => call,
            Err(refusal) => return Reply::Refused(refusal),
        };
        let Some(attempt) = call.attempt.clone() else {
            return stored(call);
        };
        if attempt.number < next.attempt {
            return Reply::Refused(Refusal::UnknownCall);
        }
        // A repeat, or a failure that the answer has overtaken.
        if attempt.number > next.attempt || call.refused.is_some() || call.answered_at.is_some() {
            return stored(call);
        }
        let mut call = Call::clone(call);
        // A callee that could not be set leaves nothing behind on the platform: the next one overwrites it.
        if let (Failure::NumberRefused { .. }, Some(hold)) = (&next.failure, &call.ax) {
            call.refused_x.push(hold.x_id);
        }
        self.close_attempt(&mut call, effects);
        if let Some(binding) = call.binding.take() {
            self.fail_binding(&mut call, binding, &next.failure);
        }
        match self.other(&mut call, attempt.gateway, &next.failure, rng) {
            Some((chosen, from)) => self.open_attempt(&mut call, chosen, &from, rng),
            None => {
                call.refused = Some(match next.failure {
                    Failure::Gateway { status } => Refusal::PassOn { status },
                    _ => Refusal::AxbBindFailed,
                });
            }
        }
        let reply = stored(&call);
        self.content.calls.insert(next.call, Arc::new(call));
        reply
    }

    /// What becomes of the failed attempt's binding.
    fn fail_binding(&mut self, call: &mut Call, id: BindingId, failure: &Failure) {
        let Some(binding) = self.content.bindings.get(&id) else {
            return;
        };
        let now = self.content.at;
        match failure {
            Failure::NumberRefused { .. } | Failure::PlatformRefused { .. }
                if binding.phase == Phase::Binding =>
            {
                if matches!(failure, Failure::NumberRefused { .. }) {
                    call.refused_x.push(binding.x_id);
                }
                // The platform never had it, so the pair needs no rest.
                self.drop_binding(id, 0);
            }
            Failure::BindUnknown { code } => self.change_binding(id, |binding| {
                if binding.phase == Phase::Binding {
                    binding.phase = Phase::Orphan;
                    binding.last_error = Some(super::model::cut(code, ERROR_MAX).to_owned());
                } else {
                    binding.phase = Phase::Unbinding;
                }
                binding.unbind_at = Some(now);
            }),
            _ => self.release_binding(id),
        }
    }

    fn other(
        &self,
        call: &mut Call,
        gateway: crate::entity::Id,
        failure: &Failure,
        rng: &mut Rng,
    ) -> Option<(Chosen, Arc<Row<MappingGateway>>)> {
        let from = self.content.mapping.get(&call.asked.gateway)?.clone();
        if call
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.number >= ATTEMPTS_MAX)
        {
            return None;
        }
        let row = self.content.routing.get(&gateway);
        match failure {
            Failure::Gateway { status }
                if !row.is_some_and(|row| moves_on(&row.entity, *status)) =>
            {
                return None;
            }
            Failure::NumberRefused { .. } if call.further_x < FURTHER_X_MAX => {
                if let Some(row) = row
                    && row.entity.lock_type != LOCKED
                    && self.gateway_calls(gateway) < row.entity.capacity
                    && let Some(numbers) = self.numbers_for(call, row, &from, rng)
                {
                    call.further_x += 1;
                    return Some((
                        Chosen {
                            gateway: row.clone(),
                            numbers: Some(numbers),
                        },
                        from,
                    ));
                }
            }
            _ => {}
        }
        call.tried.push(gateway);
        call.further_x = 0;
        let chosen = self.route(call, &from, rng).ok()?;
        Some((chosen, from))
    }
}

/// Whether a final status moves the call to the next gateway.
fn moves_on(gateway: &RoutingGateway, status: u16) -> bool {
    if gateway.switch_on.is_empty() {
        matches!(status, 408 | 430 | 500..=599)
    } else {
        gateway.switch_on.contains(&status)
    }
}
