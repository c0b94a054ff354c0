//! The signalling threads that have a call's legs.

use actix::prelude::*;
use tandem_cluster::command::CallId;

use super::machine::Told;
use crate::handover::{self, Far, Handover};
use crate::shard::{Dialogs, Shard, Side};

/// Where the legs of a call live: the thread that the Call-ID of each falls to. A node that takes a call has both in
/// one place; one that takes it over may have another number of threads.
#[derive(Clone)]
pub struct Legs {
    /// The caller's.
    pub caller: Addr<Shard>,
    /// The callee's.
    pub callee: Addr<Shard>,
}

impl Legs {
    pub(super) fn of(&self, side: Side) -> &Addr<Shard> {
        match side {
            Side::Caller => &self.caller,
            Side::Callee(_) => &self.callee,
        }
    }

    /// Tells every thread that has a leg of the call.
    pub(super) fn tell<M>(&self, message: M)
    where
        M: Message<Result = ()> + Clone + Send + 'static,
        Shard: Handler<M>,
    {
        if self.callee != self.caller {
            self.callee.do_send(message.clone());
        }
        self.caller.do_send(message);
    }

    /// Both dialogs and what was last told in them, encoded for the state; empty when a leg is gone.
    pub(super) async fn encoded(self, call: CallId, told: Told) -> Vec<u8> {
        let mut dialogs = self.caller.send(Dialogs(call)).await.unwrap_or_default();
        if self.callee != self.caller {
            dialogs.callee = match self.callee.send(Dialogs(call)).await {
                Ok(there) => there.callee,
                Err(_) => None,
            };
        }
        match (dialogs.caller, dialogs.callee) {
            (Some(caller), Some(callee)) => handover::encode(Handover {
                caller: Far::new(caller, told.caller.as_ref()),
                callee: Far::new(callee, told.callee.as_ref()),
            }),
            _ => Vec::new(),
        }
    }
}
