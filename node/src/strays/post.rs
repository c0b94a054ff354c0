//! The way of [`Errand`]s between nodes: a bounded queue and a task for each other node, many errands in one request.
//!
//! One request is under way to a node at a time, which keeps the messages of a call in order. Nothing here is waited for
//! by those who send: what a full queue or a dead node loses is repeated by SIP itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tandem_sip::message::{Framing, Message};
use tandem_sip::transport::{
    Flow, Inbound, Protocol, Received, Relay, Transport, is_local, shard_of,
};
use tokio::sync::{mpsc, oneshot};

use super::Errand;
use super::shared::{Place, Shared};
use crate::core::Core;
use crate::metrics::{self, Errands};
use crate::peer;

/// Errands that wait for one node.
const QUEUE_MAX: usize = 1_024;
/// Bytes of those.
const QUEUE_BYTES_MAX: usize = 2 << 20;
/// Errands and bytes of one request, about.
const BATCH_MAX: usize = 64;
const BATCH_BYTES: usize = 256 << 10;
/// A node that does not answer within this has lost the errands.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How often the node looks which shared addresses it has, and tells the others.
const SHARED_EVERY: Duration = Duration::from_millis(500);

/// Errands to and from the other nodes.
pub struct Post {
    core: Arc<Core>,
    transport: Transport,
    /// Of each shard.
    feeds: Vec<mpsc::Sender<Vec<Inbound>>>,
    shared: Shared,
    runtime: tokio::runtime::Handle,
    queues: Mutex<HashMap<u64, Queue>>,
}

/// How a message goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From this node.
    Here,
    /// From this other node.
    Through(u64),
    /// Its shared address is with nobody at this moment.
    Nowhere,
}

#[derive(Clone)]
struct Queue {
    errands: mpsc::Sender<Outgoing>,
    bytes: Arc<AtomicUsize>,
}

/// An errand, and who wants to hear whether its node has carried it out.
struct Outgoing {
    errand: Errand,
    tell: Option<oneshot::Sender<bool>>,
}

impl Post {
    /// Within the runtime whose tasks do the sending. `feeds` are those of the shards, in order.
    pub fn new(
        core: Arc<Core>,
        transport: Transport,
        feeds: Vec<mpsc::Sender<Vec<Inbound>>>,
    ) -> Arc<Self> {
        let shared = &core.config.sip.shared;
        let shared = Shared::new(shared.udp.iter().chain(&shared.tcp).map(|at| at.ip()));
        let watched = !shared.is_empty();
        let post = Arc::new(Post {
            core,
            transport,
            feeds,
            shared,
            runtime: tokio::runtime::Handle::current(),
            queues: Mutex::new(HashMap::new()),
        });
        if watched {
            post.runtime.spawn(Arc::clone(&post).watch_shared());
        }
        post
    }

    /// How something goes out this way.
    pub fn way(&self, flow: &Flow) -> Way {
        let relay = match flow.relay {
            Some(relay) => Way::Through(u64::from(relay.0.get())),
            None => Way::Here,
        };
        // A connection is where it is.
        let connected = flow.connection.is_some() || flow.relay.is_some();
        if self.shared.is_empty() || (flow.transport == Protocol::Tcp && connected) {
            return relay;
        }
        match self.shared.place(flow.local.ip(), self.core.clock.mono()) {
            None => relay,
            Some(Place::Here) => Way::Here,
            Some(Place::At(node)) => Way::Through(node),
            Some(Place::Nowhere) => match relay {
                Way::Here => Way::Nowhere,
                relay => relay,
            },
        }
    }

    /// Whether a message could not be sent only because its address has just moved: as good as lost on the way.
    pub fn is_moving(&self, flow: &Flow) -> bool {
        let shared = || self.shared.place(flow.local.ip(), self.core.clock.mono());
        flow.transport == Protocol::Udp && !self.shared.is_empty() && shared().is_some()
    }

    /// Whether what arrives at this address of ours may belong to a set-up that began while another node had it.
    pub fn has_just_come(&self, ip: IpAddr) -> bool {
        !self.shared.is_empty() && self.shared.is_fresh(ip, self.core.clock.mono())
    }

    /// Has a message of a far end served by the node that has its call; tells whether that node took it.
    pub fn heard(
        self: &Arc<Self>,
        node: u64,
        flow: Flow,
        message: &Message,
    ) -> impl Future<Output = bool> + use<> {
        let bytes = Bytes::copy_from_slice(message.as_bytes());
        let (tell, told) = oneshot::channel();
        let errand = Errand::Heard { flow, bytes };
        self.send(node, errand, Some(tell));
        // Dropped untold, it was not taken.
        async move { told.await.unwrap_or(false) }
    }

    /// Has a message of ours sent by another node.
    pub fn say(self: &Arc<Self>, node: u64, flow: Flow, bytes: Bytes) {
        self.send(node, Errand::Say { flow, bytes }, None);
    }

    /// Queues an errand. A full queue loses it as a network would, and counts it.
    fn send(self: &Arc<Self>, node: u64, errand: Errand, tell: Option<oneshot::Sender<bool>>) {
        let queue = self.queue(node);
        let length = length(&errand);
        let waiting = queue.bytes.fetch_add(length, Ordering::Relaxed);
        let outgoing = Outgoing { errand, tell };
        if waiting + length > QUEUE_BYTES_MAX || queue.errands.try_send(outgoing).is_err() {
            queue.bytes.fetch_sub(length, Ordering::Relaxed);
            metrics::errands(Errands::Full, 1);
        }
    }

    fn queue(self: &Arc<Self>, node: u64) -> Queue {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // As many as there are nodes: nobody else can name one.
        let queue = queues.entry(node).or_insert_with(|| {
            let (errands, waiting) = mpsc::channel(QUEUE_MAX);
            let bytes = Arc::new(AtomicUsize::new(0));
            let carrier = Arc::clone(self).carry(node, waiting, Arc::clone(&bytes));
            self.runtime.spawn(carrier);
            Queue { errands, bytes }
        });
        queue.clone()
    }

    async fn carry(
        self: Arc<Self>,
        node: u64,
        mut waiting: mpsc::Receiver<Outgoing>,
        bytes: Arc<AtomicUsize>,
    ) {
        while let Some(first) = waiting.recv().await {
            let mut taken = length(&first.errand);
            let mut batch = vec![first.errand];
            let mut tells = vec![first.tell];
            while batch.len() < BATCH_MAX
                && taken < BATCH_BYTES
                && let Ok(next) = waiting.try_recv()
            {
                taken += length(&next.errand);
                batch.push(next.errand);
                tells.push(next.tell);
            }
            bytes.fetch_sub(taken, Ordering::Relaxed);
            let count = batch.len();
            let outcome = peer::errands(&self.core, node, batch, ANSWER_WITHIN).await;
            let done = outcome.is_ok();
            metrics::errands(if done { Errands::Done } else { Errands::Lost }, count);
            for tell in tells.into_iter().flatten() {
                // Who asked may have stopped.
                let _ = tell.send(done);
            }
            if let Err(batch) = outcome {
                self.lost(batch);
            }
        }
    }

    /// What could not be said through a node is said from here: the far end may well take it.
    fn lost(&self, batch: Vec<Errand>) {
        for errand in batch {
            if let Errand::Say { flow, bytes } = errand {
                let any: IpAddr = match flow.remote {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let flow = Flow {
                    local: SocketAddr::new(any, 0),
                    connection: None,
                    relay: None,
                    ..flow
                };
                self.transport.send(&flow, bytes);
            }
        }
    }

    /// Carries out what another node asks for.
    pub fn deliver(&self, from: u64, errands: Vec<Errand>) {
        let mut batches: Vec<Vec<Inbound>> = self.feeds.iter().map(|_| Vec::new()).collect();
        for errand in errands {
            match errand {
                Errand::Heard { flow, bytes } => {
                    if let Some(inbound) = passed_on(from, flow, bytes) {
                        let shard = shard_of(inbound.message.call_id(), self.feeds.len());
                        batches[shard].push(Inbound::PassedOn(inbound));
                    }
                }
                Errand::Say { flow, bytes } => {
                    let own = Flow {
                        relay: None,
                        ..flow
                    };
                    self.transport.send(&own, bytes);
                }
                Errand::Holds(ips) => self.shared.heard(from, &ips, self.core.clock.mono()),
            }
        }
        for (feed, batch) in self.feeds.iter().zip(batches) {
            let count = batch.len();
            if count > 0 && feed.try_send(batch).is_err() {
                metrics::strays(metrics::Strays::Dropped, count);
            }
        }
    }

    async fn watch_shared(self: Arc<Self>) {
        let mut every = tokio::time::interval(SHARED_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let here = self.shared.look(self.core.clock.mono(), is_local);
            metrics::shared_here(here.len());
            if here.is_empty() {
                continue;
            }
            let state = self.core.cluster.state();
            let own = self.core.config.node.id;
            for tenure in state.tenures().filter(|tenure| tenure.node != own) {
                self.send(tenure.node, Errand::Holds(here.clone()), None);
            }
        }
    }
}

/// Reads a message back that another node has read before; its flow leads through that node.
fn passed_on(from: u64, mut flow: Flow, bytes: Bytes) -> Option<Received> {
    flow.relay = Some(Relay(NonZeroU32::new(u32::try_from(from).ok()?)?));
    let message = Message::parse(bytes, Framing::Datagram).ok()?;
    Some(Received { flow, message })
}

fn length(errand: &Errand) -> usize {
    match errand {
        Errand::Heard { bytes, .. } | Errand::Say { bytes, .. } => bytes.len(),
        Errand::Holds(ips) => 16 * ips.len(),
    }
}
