//! INVITEs: whose they are, and the numbers in them.

use std::sync::Arc;

use actix::prelude::*;
use bytes::Bytes;
use tandem_cluster::command::Reserve;
use tandem_cluster::dial_rules::Rules;
use tandem_cluster::entity::{CalleeSource, CallerSource, MappingGateway};
use tandem_sip::leg::{Command, Invited, LegId};
use tandem_sip::message::{NameAddr, Uri};

use super::{Legs, RETRY_AFTER_S, Shard, Side};
use crate::call::actor::CallActor;
use crate::call::reason;
use crate::chance::Chance;
use crate::strays::token;

/// Longest number taken from a request, in bytes.
const NUMBER_MAX: usize = 64;

impl Shard {
    pub(super) fn invited(&mut self, leg: LegId, invited: Invited, ctx: &mut Context<Self>) {
        match self.admit(&invited) {
            Ok((admission, gateway)) => {
                let call = admission.call;
                // Nothing but a 100 has gone out, so the tag is still ours to write.
                self.command(leg, Command::Name { token: token(call) });
                let (core, pool) = (Arc::clone(&self.core), self.pool.clone());
                let actor =
                    CallActor::launch(core, ctx.address(), pool, admission, gateway, invited.body);
                let max_forwards = invited.max_forwards.saturating_sub(1);
                self.calls.insert(
                    call,
                    Legs {
                        actor,
                        caller: Some(leg),
                        callee: None,
                        max_forwards,
                    },
                );
                self.legs.insert(leg, (call, Side::Caller));
            }
            Err(refused) => {
                metrics::counter!("tandem_node_invites_refused_total", "reason" => refused.word)
                    .increment(1);
                let refuse = Command::Refuse {
                    status: refused.status,
                    reason: None,
                    retry_after_s: refused.passing.then_some(RETRY_AFTER_S),
                    cause: Some(reason::sip_cause(refused.status, refused.word)),
                };
                self.command(leg, refuse);
            }
        }
    }

    /// Recognises the gateway and reads the numbers; the rest is decided by the replicated state.
    fn admit(&mut self, invited: &Invited) -> Result<(Reserve, Arc<str>), Turned> {
        if let Some(closed) = self.core.closed() {
            return Err(Turned::later(closed.word()));
        }
        if self.stillness.look(self.now()) {
            return Err(Turned::later("stood_still"));
        }
        let state = self.core.tables();
        let Some(gateway) = state.mapping_gateway_for(invited.received_from.ip()) else {
            return Err(Turned::away(403, "unknown_source"));
        };
        let caller_access = number(caller_of(&gateway.entity, invited)).unwrap_or_default();
        let Some(callee_access) = number(callee_of(&gateway.entity, invited)) else {
            return Err(Turned::away(484, "bad_number"));
        };
        if !self.core.is_in_pace() {
            return Err(Turned::later("pace"));
        }
        let Some(call) = self.core.next_call() else {
            return Err(Turned::later("no_claim"));
        };
        let rules = state.mapping_rules(gateway.id);
        let chance = &self.core.chance;
        let admission = Reserve {
            call,
            gateway: gateway.id,
            caller: by_rules(rules.map(|rules| &rules.caller), &caller_access, chance),
            callee: by_rules(rules.map(|rules| &rules.callee), &callee_access, chance),
            caller_access,
            callee_access,
            started_at: self.core.clock.now().wall,
            remote: invited.received_from,
            sip_call_id: text(&invited.call_id),
        };
        Ok((admission, Arc::from(gateway.entity.name.as_str())))
    }
}

/// An INVITE that does not become a call.
struct Turned {
    status: u16,
    word: &'static str,
    passing: bool,
}

impl Turned {
    fn away(status: u16, word: &'static str) -> Self {
        Turned {
            status,
            word,
            passing: false,
        }
    }

    fn later(word: &'static str) -> Self {
        Turned {
            status: 503,
            word,
            passing: true,
        }
    }
}

fn caller_of(gateway: &MappingGateway, invited: &Invited) -> String {
    match gateway.caller_source {
        CallerSource::From => invited.from_user.clone(),
        CallerSource::PAssertedIdentity => user_of(&invited.p_asserted_identity),
        CallerSource::RemotePartyId => user_of(&invited.remote_party_id),
        CallerSource::PPreferredIdentity => user_of(&invited.p_preferred_identity),
        CallerSource::Display => invited.from_display.clone(),
    }
}

fn callee_of(gateway: &MappingGateway, invited: &Invited) -> String {
    match gateway.callee_source {
        CalleeSource::RequestUri => invited.uri_user.clone(),
        CalleeSource::To => invited.to_user.clone(),
        CalleeSource::Diversion => user_of(&invited.diversion),
    }
}

/// The user part of a name-addr header; empty when there is none.
fn user_of(value: &Option<Bytes>) -> String {
    let uri = value
        .as_deref()
        .and_then(NameAddr::parse)
        .map(|value| value.uri);
    let user = uri
        .and_then(Uri::parse)
        .and_then(|uri| uri.user_text().map(|user| user.into_owned()));
    user.map(|user| String::from_utf8_lossy(&user).into_owned())
        .unwrap_or_default()
}

/// A user part as a number: without parameters, bounded, made of what a number may have.
fn number(user: String) -> Option<String> {
    let number = user.split(';').next().unwrap_or_default();
    let fits = !number.is_empty()
        && number.len() <= NUMBER_MAX
        && number
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+*#-._".contains(&byte));
    fits.then(|| number.to_owned())
}

fn by_rules(rules: Option<&Rules>, number: &str, chance: &Chance) -> String {
    match rules {
        Some(rules) => rules.apply(number, &mut |bound| chance.below(bound)),
        None => number.to_owned(),
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.truncate(text.floor_char_boundary(256));
    text
}
