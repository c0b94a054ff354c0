//! What of a call goes into the replicated state while it runs: its answer, its changed sessions, its credit.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tandem_cluster::command::{Answered, CallId, Command, Keep, Refusal, Renew, Reply};

use super::CallActor;
use crate::call::machine::{Event, Told};
use crate::call::reason;
use crate::core::Core;
use crate::handover;

/// Pause before credit is asked for again while no quorum answers.
const RENEW_AGAIN: Duration = Duration::from_secs(1);

/// An entry that the leader has applied comes here within so long.
const KEPT_WITHIN: Duration = Duration::from_secs(5);

/// What of a call's session is on its way into the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    Nothing,
    Once,
    /// It has changed once more meanwhile.
    Again,
}

impl CallActor {
    pub(super) fn commit(
        &mut self,
        answered_at: u64,
        pdd_ms: u32,
        codec: String,
        told: Told,
        ctx: &mut Context<Self>,
    ) {
        let (legs, cluster) = (self.legs.clone(), self.core.cluster.clone());
        let (call, epoch) = (self.id, self.epoch);
        let committed = async move {
            let dialogs = legs.encoded(call, told).await;
            cluster
                .propose_indexed(Command::Answered(Answered {
                    call,
                    epoch,
                    answered_at,
                    pdd_ms,
                    dialogs,
                    codec,
                }))
                .await
        };
        ctx.spawn(
            committed
                .into_actor(self)
                .map(|reply, actor, ctx| match reply {
                    Ok((index, Reply::Answered { unbind_at }))
                        if actor.core.serves_under(actor.epoch) =>
                    {
                        actor.is_told(index);
                        actor.feed(Event::Committed { unbind_at }, ctx)
                    }
                    // A process that was stopped reads the reply when it goes on. By then another node has the call,
                    // and has heard from the customer, who was told of no answer, that there is none.
                    Ok((_, Reply::Answered { .. })) => {
                        actor.feed(Event::HangUp(reason::NODE_FAILURE), ctx);
                    }
                    // The tenure is over: the state has closed the call already.
                    Ok((_, Reply::Refused(Refusal::StaleEpoch | Refusal::UnknownCall))) => {
                        actor.feed(Event::HangUp(reason::NODE_FAILURE), ctx);
                    }
                    // Far ends whose dialogs are too large to keep talk all the same, unprotected.
                    Ok((_, Reply::Refused(refusal))) => {
                        tracing::warn!(call = ?actor.id, ?refusal, "answer not replicated");
                        actor.feed(Event::NotKept, ctx);
                    }
                    // The process is stopping; the commit timer ends the wait.
                    _ => {}
                }),
        );
    }

    /// The state learns of a changed session, one change after the other. Nobody waits: until then another node would
    /// begin where it was before.
    pub(super) fn keep(&mut self, ctx: &mut Context<Self>) {
        if self.keeping != Keeping::Nothing {
            self.keeping = Keeping::Again;
            return;
        }
        self.keeping = Keeping::Once;
        let (legs, core) = (self.legs.clone(), Arc::clone(&self.core));
        let (call, epoch) = (self.id, self.epoch);
        let (told, told_at) = (self.told.clone(), self.told_at);
        let kept = async move {
            let told = match told {
                Some(told) => told,
                None => kept(&core, call, told_at).await?,
            };
            let dialogs = legs.encoded(call, told).await;
            // A leg that has just ended ends the call.
            if dialogs.is_empty() {
                return None;
            }
            let keep = Keep {
                call,
                epoch,
                dialogs,
            };
            // A refusal says that the call is over, or another's by now.
            let kept = core.cluster.propose_indexed(Command::Keep(keep)).await;
            kept.ok().map(|(index, _)| index)
        };
        ctx.spawn(kept.into_actor(self).map(|index, actor, ctx| {
            match std::mem::replace(&mut actor.keeping, Keeping::Nothing) {
                Keeping::Again => actor.keep(ctx),
                _ => actor.is_told(index.unwrap_or(0)),
            }
        }));
    }

    /// The state has what the far ends were told, since this entry: it need not be remembered here.
    fn is_told(&mut self, index: u64) {
        self.told = None;
        self.told_at = self.told_at.max(index);
    }

    pub(super) fn renew(&mut self, upto_secs: u32, ctx: &mut Context<Self>) {
        let (cluster, call, epoch) = (self.core.cluster.clone(), self.id, self.epoch);
        let renewed = async move {
            cluster
                .propose(Command::Renew(Renew {
                    call,
                    epoch,
                    upto_secs,
                }))
                .await
        };
        ctx.spawn(
            renewed
                .into_actor(self)
                .map(move |reply, actor, ctx| match reply {
                    Ok(Reply::Renewed(credit)) => actor.feed(Event::Renewed(credit), ctx),
                    Ok(Reply::Refused(Refusal::StaleEpoch)) => actor.feed(Event::Abandon, ctx),
                    Ok(_) => actor.feed(Event::HangUp(reason::NODE_FAILURE), ctx),
                    Err(_) => {
                        ctx.run_later(RENEW_AGAIN, move |actor, ctx| actor.renew(upto_secs, ctx));
                    }
                }),
        );
    }
}

/// What the far ends of an answered call were last told, as the state has it since this entry: a reply comes from the
/// leader, and the entry itself a moment later. `None` when there is no such call, or the entry does not come.
async fn kept(core: &Core, call: CallId, told_at: u64) -> Option<Told> {
    let state = core.cluster.state_at_least(told_at, KEPT_WITHIN).await;
    let row = state.ok()?.call(call).cloned()?;
    let handover = handover::decode(&row.dialogs.0)?;
    Some(handover.told())
}
