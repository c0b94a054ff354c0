//! Messages of calls that are not on this shard.

use std::time::Duration;

use actix::prelude::*;
use tandem_sip::endpoint::{Refusal, Stray};
use tandem_sip::message::{Message, Method};
use tandem_sip::transport::{Flow, Protocol, Received};

use super::admit::text;
use super::{RETRY_AFTER_S, Shard};
use crate::metrics::{Strays, strays as count};
use crate::strays::held::Waiting;
use crate::strays::post::Way;
use crate::strays::{self, Whose};

/// How often requests that wait for their call are tried again.
const HELD_EVERY: Duration = Duration::from_millis(50);

impl Shard {
    /// A message arrives. `passed`: at another node, which passed it on to us.
    pub(super) fn receive(&mut self, received: Received, passed: bool, ctx: &mut Context<Self>) {
        if !passed && let Some(node) = self.set_up_elsewhere(&received) {
            return self.pass(node, &received.message, received.flow);
        }
        let now = self.now();
        let stray = self.endpoint.receive(received.message, received.flow, now);
        if let Some(stray) = stray {
            self.astray(Waiting::from_now(stray, passed, now), ctx);
        }
    }

    fn try_held(&mut self, ctx: &mut Context<Self>) {
        let now = self.now();
        for waiting in self.held.take() {
            let Stray { message, flow } = *waiting.stray;
            // The call may be here by now.
            let stray = self.endpoint.receive(message, flow, now);
            if let Some(stray) = stray {
                self.astray(Waiting { stray, ..waiting }, ctx);
            }
        }
        self.drain(ctx);
    }

    /// Has it served by whom it concerns.
    fn astray(&mut self, waiting: Waiting, ctx: &mut Context<Self>) {
        let Some(call) = strays::call_of(waiting.stray.token()) else {
            return self.turn_away(&waiting.stray, Refusal::Gone);
        };
        let own = self.core.config.node.id;
        let state = self.core.cluster.state();
        match strays::whose(&state, own, call, waiting.passed) {
            Whose::Of(node) if waiting.stray.wants_answer() => self.entrust(node, waiting, ctx),
            Whose::Of(node) => self.pass(node, &waiting.stray.message, waiting.stray.flow),
            Whose::Nobodys => self.turn_away(&waiting.stray, Refusal::Gone),
            // Both legs are here, and this is neither.
            Whose::Unsettled if self.calls.contains_key(&call) => {
                self.turn_away(&waiting.stray, Refusal::Gone)
            }
            // An ACK or an answer is of use only to a call that stood when it was sent.
            Whose::Unsettled if !waiting.stray.wants_answer() => count(Strays::Dropped, 1),
            Whose::Unsettled => self.hold(waiting, ctx),
        }
    }

    /// Passes a request on, and waits with it when its owner does not take it: the state learns of a dead node only when
    /// its tenure has run out.
    fn entrust(&mut self, node: u64, waiting: Waiting, ctx: &mut Context<Self>) {
        let taken = self
            .post
            .heard(node, waiting.stray.flow, &waiting.stray.message);
        let taken = taken.into_actor(self).map(|taken, shard, ctx| match taken {
            true => count(Strays::PassedOn, 1),
            false => {
                shard.hold(waiting, ctx);
                shard.drain(ctx);
            }
        });
        ctx.spawn(taken);
    }

    fn hold(&mut self, waiting: Waiting, ctx: &mut Context<Self>) {
        if self.now() >= waiting.until {
            return self.put_off(&waiting.stray);
        }
        let again = waiting.again;
        match self.held.keep(waiting) {
            Ok(()) if again => {}
            Ok(()) => count(Strays::Held, 1),
            Err(waiting) => return self.put_off(&waiting.stray),
        }
        if self.held.arrange() {
            ctx.run_later(HELD_EVERY, Self::try_held);
        }
    }

    /// The other node that has the call of an INVITE or CANCEL which arrives at a shared address just after that came here.
    fn set_up_elsewhere(&self, received: &Received) -> Option<u64> {
        let Received { message, flow } = received;
        if !self.post.has_just_come(flow.local.ip()) || !message.is_request() {
            return None;
        }
        let begins = matches!(message.method(), Method::Invite | Method::Cancel);
        if !begins || message.to().tag().is_some() {
            return None;
        }
        let state = self.core.cluster.state();
        let own = self.core.config.node.id;
        strays::set_up_at(&state, own, &text(message.call_id()), flow.remote.ip())
    }

    /// Passes on what is of no use later, or comes again by itself.
    fn pass(&mut self, node: u64, message: &Message, flow: Flow) {
        drop(self.post.heard(node, flow, message));
        count(Strays::PassedOn, 1);
    }

    /// Nobody can serve it yet. A datagram comes again by itself; over a connection its sender is told to repeat it.
    fn put_off(&mut self, stray: &Stray) {
        match stray.flow.transport {
            Protocol::Udp => count(Strays::Dropped, 1),
            Protocol::Tcp => {
                let retry_after_s = RETRY_AFTER_S;
                self.turn_away(stray, Refusal::NotNow { retry_after_s });
            }
        }
    }

    fn turn_away(&mut self, stray: &Stray, refusal: Refusal) {
        let outcome = match stray.wants_answer() {
            true => Strays::Refused,
            false => Strays::Dropped,
        };
        count(outcome, 1);
        self.endpoint.refuse(stray, refusal);
    }

    /// Sends a message of ours, from here or through the node that can.
    pub(super) fn send(&self, flow: &Flow, bytes: bytes::Bytes) {
        match self.post.way(flow) {
            Way::Here => {
                let own = Flow {
                    relay: None,
                    ..*flow
                };
                self.transport.send(&own, bytes);
            }
            Way::Through(node) => self.post.say(node, *flow, bytes),
            Way::Nowhere => count(Strays::Dropped, 1),
        }
    }
}
