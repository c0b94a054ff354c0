//! The door to the replicated number pools.
//!
//! One on each thread that carries calls. Which A group and which interface serve a call is decided where the entry is
//! applied, so there is one door for all of them; the reservations of a moment share one log entry further down. Here
//! the number of those under way is bounded, and results are counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use actix::prelude::*;
use tandem_cluster::command::{Command, Refusal, Reply};

use crate::core::Core;

/// Asks for numbers: carries a `Reserve` or a `Next`.
#[derive(Message)]
#[rtype(result = "Result<Reply, Busy>")]
pub struct Ask(pub Command);

/// More reservations are under way than this node allows, or it is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// The door.
pub struct NumberPool {
    core: Arc<Core>,
}

impl NumberPool {
    /// A door for this thread's calls.
    pub fn new(core: Arc<Core>) -> Self {
        NumberPool { core }
    }
}

impl Actor for NumberPool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(1_024);
    }
}

impl Handler<Ask> for NumberPool {
    type Result = ResponseFuture<Result<Reply, Busy>>;

    fn handle(&mut self, Ask(command): Ask, _: &mut Context<Self>) -> Self::Result {
        let core = Arc::clone(&self.core);
        let under_way = UnderWay::new(&core);
        if under_way.count > core.config.limits.reservations_max as u64 {
            metrics::counter!("tandem_node_reservations_total", "result" => "busy").increment(1);
            return Box::pin(async { Err(Busy) });
        }
        Box::pin(async move {
            let asked = Instant::now();
            let reply = core.cluster.propose(command).await;
            drop(under_way);
            metrics::histogram!("tandem_node_reservation_seconds")
                .record(asked.elapsed().as_secs_f64());
            let result = match &reply {
                Ok(Reply::Reserved(attempt)) if attempt.lease.is_some() => "axb",
                Ok(Reply::Reserved(attempt)) if attempt.ax.is_some() => "ax",
                Ok(Reply::Reserved(_)) => "plain",
                Ok(Reply::Refused(refusal)) => word(refusal),
                Ok(_) | Err(_) => "failed",
            };
            metrics::counter!("tandem_node_reservations_total", "result" => result).increment(1);
            reply.map_err(|_| Busy)
        })
    }
}

/// Counts one reservation while it lives.
struct UnderWay {
    core: Arc<Core>,
    count: u64,
}

impl UnderWay {
    fn new(core: &Arc<Core>) -> Self {
        let count = core.figures.reservations.fetch_add(1, Ordering::Relaxed) + 1;
        UnderWay {
            core: Arc::clone(core),
            count,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.core
            .figures
            .reservations
            .fetch_sub(1, Ordering::Relaxed);
    }
}

fn word(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoAxbNumber => "no_axb_number",
        Refusal::AxbBindFailed => "axb_bind_failed",
        Refusal::NoRoute => "no_route",
        Refusal::RouteCapacity | Refusal::GatewayCapacity => "capacity",
        Refusal::PassOn { .. } => "passed_on",
        Refusal::StaleEpoch => "stale",
        _ => "refused",
    }
}
