//! Answered calls of other tenures, carried on by this thread.

use std::sync::Arc;

use actix::prelude::*;
use tandem_cluster::command::{CallId, Epoch};
use tandem_sip::dialog::Dialog;
use tandem_sip::leg::LegEvent;
use tandem_sip::transport::{Flow, Protocol};

use super::{Legs, Shard, Side, unreachable_far_end};
use crate::call::actor::{CallActor, FromLeg};
use crate::call::legs;
use crate::call::machine::Adopted;

/// Carry on an answered call of another tenure. Goes to the thread of its caller.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakeOver {
    /// Which.
    pub call: CallId,
    /// The tenure that carries it on.
    pub epoch: Epoch,
    /// Where it came in.
    pub gateway: Arc<str>,
    /// What the state has of it.
    pub adopted: Adopted,
    /// Towards the caller.
    pub caller: Dialog,
    /// Towards the callee.
    pub callee: Dialog,
}

/// Take a leg of such a call whose other leg lives with another thread.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakeLeg {
    call: CallId,
    actor: Addr<CallActor>,
    side: Side,
    dialog: Dialog,
}

impl Shard {
    /// Makes the legs of a call of another tenure, and its actor.
    fn take_over(&mut self, message: TakeOver, ctx: &mut Context<Self>) {
        let TakeOver {
            call,
            epoch,
            gateway,
            adopted,
            caller,
            callee,
        } = message;
        let known = self.core.calls.contains(call);
        let there = self.core.shard_of(&callee.call_id);
        let Some(there) = there.filter(|_| !known) else {
            return;
        };
        let (core, pool) = (Arc::clone(&self.core), self.pool.clone());
        let legs = legs::Legs {
            caller: ctx.address(),
            callee: there.clone(),
        };
        let side = Side::Callee(adopted.attempt.number);
        let actor = CallActor::adopt(core, legs, pool, (call, epoch), gateway, adopted);
        let leg = |side, dialog| TakeLeg {
            call,
            actor: actor.clone(),
            side,
            dialog,
        };
        self.take_leg(leg(Side::Caller, caller));
        // The leg is there before anything is wanted of it: the actor has not begun yet.
        match there == ctx.address() {
            true => self.take_leg(leg(side, callee)),
            false => there.do_send(leg(side, callee)),
        }
    }

    fn take_leg(&mut self, message: TakeLeg) {
        let TakeLeg {
            call,
            actor,
            side,
            mut dialog,
        } = message;
        let Flow {
            transport,
            local,
            remote,
            ..
        } = dialog.flow;
        let shared = &self.core.config.sip.shared;
        let shared = match transport {
            Protocol::Udp => &shared.udp,
            Protocol::Tcp => &shared.tcp,
        };
        // An address that all nodes share stays the far end's way to the call, wherever it lives.
        let local = match shared.contains(&local) {
            true => Some(local),
            false => self.listener(transport, remote),
        };
        let Some(local) = local else {
            tracing::warn!(?call, ?side, "no listener for this leg's transport");
            let event = LegEvent::Ended(unreachable_far_end());
            return actor.do_send(FromLeg { side, event });
        };
        dialog.flow.local = local;
        let now = self.now();
        let leg = self.endpoint.adopt(dialog, now);
        self.legs.insert(leg, (call, side));
        let legs = self.calls.entry(call).or_insert_with(|| Legs {
            actor: actor.clone(),
            caller: None,
            callee: None,
            max_forwards: 0,
        });
        legs.actor = actor;
        match side {
            Side::Caller => legs.caller = Some(leg),
            Side::Callee(attempt) => legs.callee = Some((attempt, leg)),
        }
    }
}

impl Handler<TakeOver> for Shard {
    type Result = ();

    fn handle(&mut self, message: TakeOver, ctx: &mut Context<Self>) {
        self.take_over(message, ctx);
        self.drain(ctx);
    }
}

impl Handler<TakeLeg> for Shard {
    type Result = ();

    fn handle(&mut self, message: TakeLeg, ctx: &mut Context<Self>) {
        self.take_leg(message);
        self.drain(ctx);
    }
}
