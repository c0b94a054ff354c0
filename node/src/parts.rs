//! The parts of a node that carry its calls, put together: the actors, the tasks beside them and what they share.
//!
//! What is outside of them (sockets and threads, disks, the admin API, signals) is [`start`](crate::start)'s. A
//! simulation puts the same parts together within a world of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tandem_billing::pump::Keep;
use tandem_cluster::command::{Effect, Epoch, Refusal};
use tandem_cluster::handle;
use tandem_cluster::state::Phase;
use tandem_ops::switch::Switch;
use tandem_sip::endpoint::{Advertised, Endpoint};
use tandem_sip::transport::{Inbound, Protocol, Transport};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::call::actor::{HangUp, Leave};
use crate::call::reason;
use crate::config::Config;
use crate::core::Core;
use crate::device::{self, Applied, DeviceActor, Resign, Stopping};
use crate::pool::NumberPool;
use crate::shard::Shard;
use crate::strays::post::Post;
use crate::{outbox, peer};

/// Batches of messages that may wait for a shard.
const ARRIVALS_MAX: usize = 4_096;
/// An orderly stop waits this long for calls in set-up and releases under way.
const STOP_WITHIN: Duration = Duration::from_secs(12);
/// Of which calls in set-up are given so long to come to their answer, if other nodes are there to have them then.
const SET_UP_WITHIN: Duration = Duration::from_secs(8);

/// The ways of received messages into the shards, one each.
pub type Feeds = Vec<mpsc::Sender<Vec<Inbound>>>;
/// Their other ends.
pub type Arrivals = Vec<mpsc::Receiver<Vec<Inbound>>>;

/// The ways into as many shards as the node has.
pub fn feeds(config: &Config) -> (Feeds, Arrivals) {
    (0..config.shards())
        .map(|_| mpsc::channel(ARRIVALS_MAX))
        .unzip()
}

/// The parts of one node. Its tasks end when this is dropped; its actors end with their threads.
pub struct Parts {
    core: Arc<Core>,
    transport: Transport,
    post: Arc<Post>,
    /// Follows the newest number of the outbox.
    head: watch::Sender<u64>,
    device: Option<Addr<DeviceActor>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Parts {
    /// The parts that need no claim yet: records are written from here on. On a thread with a local set, whose
    /// runtime carries what goes to the other nodes.
    pub fn put_together<K: Keep>(
        core: &Arc<Core>,
        store: &Arc<K>,
        transport: Transport,
        feeds: Feeds,
    ) -> Parts {
        let (head, newest) = watch::channel(0);
        let writer = actix::spawn(outbox::run(Arc::clone(core), Arc::clone(store), newest));
        let post = Post::new(Arc::clone(core), transport.clone(), feeds);
        Parts {
            core: Arc::clone(core),
            transport,
            post,
            head,
            device: None,
            tasks: vec![writer],
        }
    }

    /// Makes the shards. `place` has each of them started on the thread that shall carry it, by its number.
    ///
    /// # Panics
    /// With other arrivals than [`feeds`] made.
    pub fn start_shards(
        &self,
        arrivals: Arrivals,
        mut place: impl FnMut(usize, Box<dyn FnOnce() + Send>),
    ) {
        let shards = u32::try_from(arrivals.len()).expect("at most 64");
        for (index, arrivals) in (0..shards).zip(arrivals) {
            let (core, transport, post) = (
                Arc::clone(&self.core),
                self.transport.clone(),
                Arc::clone(&self.post),
            );
            let config = endpoint_config(&core.config, index, shards);
            let endpoint = Endpoint::new(config, core.chance.draw());
            let index = index as usize;
            place(
                index,
                Box::new(move || {
                    let pool = NumberPool::new(Arc::clone(&core)).start();
                    Shard::new(index, core, pool, endpoint, transport, post, arrivals).start();
                }),
            );
        }
    }

    /// Answers what other nodes ask from here on; questions of the admin API only with a `switch`.
    pub fn answer_peers<K: Keep>(&self, store: &Arc<K>, switch: Option<Arc<dyn Switch>>) {
        let (store, post) = (Arc::clone(store), Arc::clone(&self.post));
        let cluster = &self.core.cluster;
        let copies = Arc::new(peer::Copies::new(cluster.clone()));
        cluster.on_peer_request(Arc::new(move |from, question| {
            let (switch, store) = (switch.clone(), Arc::clone(&store));
            let (post, copies) = (Arc::clone(&post), Arc::clone(&copies));
            Box::pin(peer::answer(from, question, post, switch, store, copies))
        }));
    }

    /// Claims the access name and serves; tells how the first claim went.
    pub fn claim(
        &mut self,
        effects: handle::EffectReceiver<Effect>,
    ) -> oneshot::Receiver<Result<Epoch, Refusal>> {
        let (first, claimed) = oneshot::channel();
        let device = DeviceActor::new(Arc::clone(&self.core), first).start();
        let (core, head) = (Arc::clone(&self.core), self.head.clone());
        let router = actix::spawn(route_effects(core, effects, device.clone(), head));
        self.tasks.push(router);
        self.device = Some(device);
        claimed
    }

    /// The first half of an orderly stop: no new calls, the claim is given up, and what talks is another node's. What
    /// is left to say goes out until the transport is closed.
    pub async fn leave(&self) {
        if let Some(device) = &self.device {
            device.send(Stopping).await.unwrap_or_default();
            settle(&self.core).await;
            device.send(Resign).await.unwrap_or_default();
        }
        device::drop_all(&self.core);
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn endpoint_config(config: &Config, shard: u32, shards: u32) -> tandem_sip::endpoint::Config {
    let names = |transport, locals: &[std::net::SocketAddr]| {
        let public = config.sip.advertised;
        locals
            .iter()
            .map(|local| Advertised {
                transport,
                local: *local,
                public: public.unwrap_or(*local),
            })
            .collect::<Vec<_>>()
    };
    let mut advertised = names(Protocol::Udp, &config.sip.udp);
    advertised.extend(names(Protocol::Tcp, &config.sip.tcp));
    let shared = &config.sip.shared;
    for (transport, shared) in [(Protocol::Udp, &shared.udp), (Protocol::Tcp, &shared.tcp)] {
        advertised.extend(shared.iter().map(|at| Advertised {
            transport,
            local: *at,
            public: *at,
        }));
    }
    tandem_sip::endpoint::Config {
        server_name: format!("Tandem/{}", env!("CARGO_PKG_VERSION")),
        advertised,
        shard,
        shards,
        ringing_limit_ms: config.limits.ringing_ms,
        legs_max: config.limits.calls_max.saturating_mul(2),
        ..tandem_sip::endpoint::Config::default()
    }
}

/// Effects of applied entries, in their order.
pub(crate) async fn route_effects(
    core: Arc<Core>,
    mut effects: handle::EffectReceiver<Effect>,
    device: Addr<DeviceActor>,
    head: watch::Sender<u64>,
) {
    head.send_replace(core.cluster.state().outbox_last());
    while let Some(applied) = effects.recv().await {
        for effect in applied.effects {
            match effect {
                Effect::Outbox { last } => drop(head.send_replace(last)),
                effect => {
                    if device.send(Applied(effect)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Waits for calls in set-up, ends what no other node can carry on, and gives the last releases and records time to be
/// carried out. Answered calls and their bindings stay for the nodes that live; when there is none, they end as well.
async fn settle(core: &Arc<Core>) {
    let heirs = has_heirs(core);
    let began = tokio::time::Instant::now();
    let until = began + STOP_WITHIN;
    loop {
        let waits = heirs && began.elapsed() < SET_UP_WITHIN;
        for (_, call) in core.calls.all() {
            match heirs {
                true if waits => {}
                true => call.do_send(Leave),
                false => call.do_send(HangUp(reason::ADMIN_HANGUP)),
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let settled = match heirs {
            true => is_quiet(core),
            false => core.calls.is_empty() && core.bindings.is_empty(),
        };
        if settled || tokio::time::Instant::now() >= until {
            break;
        }
    }
    while core.cluster.submitted() > 0 && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Another node lives that can take over what talks here.
fn has_heirs(core: &Core) -> bool {
    let (own, now) = (core.epoch(), core.clock.now().wall);
    let state = core.cluster.state();
    let mut others = state
        .tenures()
        .filter(|tenure| Some(tenure.epoch) != own && tenure.lease_until() > now);
    core.has_quorum() && others.next().is_some()
}

/// Nothing is under way but talk.
fn is_quiet(core: &Core) -> bool {
    let answered = core.figures.answered.load(Ordering::Relaxed);
    let state = core.cluster.state();
    let mut bindings = core.epoch().into_iter().flat_map(|e| state.bindings_of(e));
    core.calls.len() as u64 <= answered && bindings.all(|row| row.phase == Phase::Bound)
}
