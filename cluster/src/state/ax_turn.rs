//! Outgoing AX calls of one X, one after another.
//!
//! A platform keeps one callee per X, and the next set overwrites it. So from the moment at which a call may set its
//! callee until the platform has accepted its INVITE (18x or 2xx, or the attempt is over) the X is that call's alone;
//! the others wait in the order in which they came. Calls on different X numbers do not wait for each other.

use super::route::Numbers;
use super::{AxHold, Call, State};
use crate::command::{AxLease, CallId, Effect, Epoch, Refusal, Reply};
use crate::entity::{Id, XNumber};
use std::sync::Arc;

impl State {
    /// Takes one slot of the X, its callee and, where the type sets callees, a place in the X's queue.
    pub(super) fn take_ax(
        &mut self,
        call: &mut Call,
        relation: Id,
        interface: Id,
        numbers: &Numbers,
    ) -> AxLease {
        let x_id = numbers.x.id;
        let set_callee = self
            .interface(interface)
            .is_some_and(|row| row.entity.type_rules.set_callee);
        let first = self.index.ax.queued(x_id).next().is_none();
        let place = set_callee.then(|| {
            self.content.ax_places += 1;
            self.content.ax_places
        });
        let hold = AxHold {
            ax: relation,
            x_id,
            place,
        };
        self.index
            .ax_hold(call.id(), &hold, &numbers.b_submitted, true);
        self.index.x_refresh(&self.content, x_id);
        call.ax = Some(hold);
        AxLease {
            ax: relation,
            interface,
            a: numbers.a.text.clone(),
            x: numbers.x.text.clone(),
            b_submitted: numbers.b_submitted.clone(),
            handle: self
                .ax_live(relation)
                .map(|live| live.handle.clone())
                .unwrap_or_default(),
            set_callee,
            turn: first || !set_callee,
        }
    }

    /// Gives back what [`Self::take_ax`] took.
    pub(super) fn free_ax(&mut self, call: &mut Call, effects: &mut Vec<Effect>) {
        let Some(hold) = call.ax.take() else { return };
        if let Some(lease) = call
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.ax.as_ref())
        {
            self.index
                .ax_hold(call.id(), &hold, &lease.b_submitted, false);
        }
        self.x_settle(hold.x_id);
        self.turn_ax(hold.x_id, effects);
    }

    /// The platform has taken the call's INVITE.
    pub(super) fn ax_accepted(
        &mut self,
        id: CallId,
        epoch: Epoch,
        attempt: u16,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        let call = match self.own_call(id, epoch) {
            Ok(call) => call,
            Err(Refusal::UnknownCall) => return Reply::Done,
            Err(refusal) => return Reply::Refused(refusal),
        };
        if call.attempt.as_ref().map(|known| known.number) == Some(attempt) {
            self.leave_queue(id, effects);
        }
        Reply::Done
    }

    /// The call sets no callee any more; what it holds it keeps.
    pub(super) fn leave_queue(&mut self, id: CallId, effects: &mut Vec<Effect>) {
        let Some(call) = self.content.calls.get(&id) else {
            return;
        };
        let Some((x_id, place)) = call
            .ax
            .as_ref()
            .and_then(|hold| Some((hold.x_id, hold.place?)))
        else {
            return;
        };
        let mut call = Call::clone(call);
        if let Some(hold) = &mut call.ax {
            hold.place = None;
        }
        // Whoever is accepted waits no more, even one that was so out of its turn.
        if let Some(lease) = call
            .attempt
            .as_mut()
            .and_then(|attempt| Arc::make_mut(attempt).ax.as_mut())
        {
            lease.turn = true;
        }
        self.content.calls.insert(id, Arc::new(call));
        self.index.ax.queue(x_id, place, id, false);
        self.turn_ax(x_id, effects);
    }

    /// Tells the first of the queue that its turn has come, unless it knows.
    pub(super) fn turn_ax(&mut self, x_id: Id, effects: &mut Vec<Effect>) {
        let Some((_, id)) = self.index.ax.queued(x_id).next() else {
            return;
        };
        let Some(call) = self.content.calls.get(&id) else {
            return;
        };
        let waits = |lease: &AxLease| !lease.turn;
        let attempt = call.attempt.as_deref();
        if !attempt.is_some_and(|attempt| attempt.ax.as_ref().is_some_and(waits)) {
            return;
        }
        let mut call = Call::clone(call);
        if let Some(attempt) = &mut call.attempt {
            let attempt = Arc::make_mut(attempt);
            if let Some(lease) = &mut attempt.ax {
                lease.turn = true;
            }
            effects.push(Effect::AxTurn {
                owner: call.owner,
                call: id,
                attempt: attempt.number,
            });
        }
        self.content.calls.insert(id, Arc::new(call));
    }

    /// After an X's use went down: free again, or gone if it was only waiting for that.
    pub(super) fn x_settle(&mut self, x: Id) {
        if self.content.leaving_x.contains(&x) && self.x_use(x) == 0 {
            self.content.leaving_x.remove(&x);
            self.unlink::<XNumber>(x);
        } else {
            self.index.x_refresh(&self.content, x);
        }
    }
}
