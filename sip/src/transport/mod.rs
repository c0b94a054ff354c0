//! Transports. [`Flow`], [`shard_of`] and [`Framer`] are pure. [`Transport`] is the tokio driver: a
//! task for each UDP socket, one for each TCP listener, one for each connection.
//!
//! What comes in is parsed, answered with 400 where it must be, and handed to a [`Deliver`] in
//! batches, each for one shard. What goes out through [`Transport::send`] is never waited for: a
//! datagram goes to the socket at once or waits in a bounded queue; a stream's bytes wait in the
//! bounded queue of their connection, and a queue that is full or does not move closes that
//! connection alone. A message that cannot be sent (its connection is gone or was refused, its peer
//! cannot be reached) comes back as [`Inbound::Failed`]; a datagram may be lost without a word.

mod connections;
mod flow;
mod framing;
mod tcp;
mod udp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Type};
use tokio::sync::{mpsc, watch};

use crate::message::{Framing, Limits, Message};
use crate::metrics;

pub use flow::{ConnectionId, Flow, Protocol, Relay, shard_of};
pub use framing::{Framed, Framer};

/// Addresses to listen on. Port 0 takes any free port, see [`Transport::listening`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// UDP sockets.
    pub udp: Vec<SocketAddr>,
    /// TCP listeners.
    pub tcp: Vec<SocketAddr>,
    /// Further UDP sockets on addresses that this machine may not have yet, or not all the time. Nothing is sent from
    /// one of them unless its flow says so.
    pub udp_shared: Vec<SocketAddr>,
    /// Further TCP listeners of that kind.
    pub tcp_shared: Vec<SocketAddr>,
    /// Bounds on what peers can use up.
    pub bounds: Bounds,
}

/// Bounds of the drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Open TCP connections of both directions together.
    pub connections_max: usize,
    /// Open TCP connections that one address made to us.
    pub connections_per_ip_max: usize,
    /// Messages waiting for one connection or one UDP socket.
    pub queue_messages_max: usize,
    /// Bytes waiting for one connection.
    pub queue_bytes_max: usize,
    /// How long a connection may refuse to take bytes.
    pub write_ms: u64,
    /// How long a connect may take.
    pub connect_ms: u64,
    /// How long a connection may be silent in both directions.
    pub idle_ms: u64,
    /// How long a message may take from its first byte to its last.
    pub half_message_ms: u64,
    /// How long answers still go to a peer that has ended its own direction.
    pub linger_ms: u64,
    /// Kernel buffer wanted for each direction of a UDP socket; the kernel may give less.
    pub udp_buffer_bytes: usize,
    /// Answers a second from one UDP socket to requests that cannot be read.
    pub refusals_per_second_max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            connections_per_ip_max: 200,
            queue_messages_max: 1_024,
            queue_bytes_max: 1 << 20,
            write_ms: 5_000,
            connect_ms: 4_000,
            idle_ms: 900_000,
            half_message_ms: 30_000,
            linger_ms: 3_000,
            udp_buffer_bytes: 4 << 20,
            refusals_per_second_max: 100,
        }
    }
}

/// A message and the way it came. Its source is already noted in it.
#[derive(Debug, Clone)]
pub struct Received {
    /// The way it came, and the way back.
    pub flow: Flow,
    /// The message; it may have a finding.
    pub message: Message,
}

/// What a transport hands up.
#[derive(Debug, Clone)]
pub enum Inbound {
    /// A message came in.
    Received(Received),
    /// A message came in at another process, which passed it on; its flow names that process. No transport hands this
    /// up: the keeper of the shards does.
    PassedOn(Received),
    /// A message of ours could not be sent: its transaction ends as with 503 (RFC 3261 section
    /// 8.1.3.1). Find it by the message's top Via.
    Failed {
        /// The way it should have gone.
        flow: Flow,
        /// The message that was not sent, read back.
        message: Message,
    },
}

impl Inbound {
    fn call_id(&self) -> &[u8] {
        match self {
            Self::Received(received) | Self::PassedOn(received) => received.message.call_id(),
            Self::Failed { message, .. } => message.call_id(),
        }
    }
}

/// Where inbound things go: one bounded queue for each shard.
pub trait Deliver: Send + Sync + 'static {
    /// How many shards there are; constant, at least 1.
    fn shards(&self) -> usize;

    /// Hands a batch to its shard without waiting.
    ///
    /// # Errors
    /// Gives the batch back when the shard's queue is full or gone.
    fn deliver(&self, shard: usize, batch: Vec<Inbound>) -> Result<(), Vec<Inbound>>;
}

/// A queue for each shard. Full means that the shard is late; it counts batches, each of at most 64.
impl Deliver for Vec<mpsc::Sender<Vec<Inbound>>> {
    fn shards(&self) -> usize {
        self.len()
    }

    fn deliver(&self, shard: usize, batch: Vec<Inbound>) -> Result<(), Vec<Inbound>> {
        match self.get(shard) {
            Some(queue) => queue
                .try_send(batch)
                .map_err(mpsc::error::TrySendError::into_inner),
            None => Err(batch),
        }
    }
}

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {} {address}", .protocol.label())]
pub struct BindError {
    /// UDP or TCP.
    pub protocol: Protocol,
    /// The address asked for.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: io::Error,
}

/// What carries messages in place of this machine's sockets: a simulation's network.
pub trait Network: Send + Sync + 'static {
    /// Sends a message without waiting, as [`Transport::send`].
    fn send(&self, flow: &Flow, message: Bytes);
}

/// A handle to the running drivers. Clones are cheap and mean the same drivers, which stop at
/// [`Transport::close`] or when the last handle is dropped.
#[derive(Clone)]
pub struct Transport(Way);

#[derive(Clone)]
enum Way {
    Sockets {
        shared: Arc<Shared>,
        /// Dropped with the last handle, which stops the drivers.
        closing: Arc<watch::Sender<bool>>,
    },
    Lent {
        network: Arc<dyn Network>,
        listening: Arc<Listen>,
    },
}

/// What the tasks share.
struct Shared {
    bounds: Bounds,
    deliver: Box<dyn Deliver>,
    udp: Vec<Arc<udp::Socket>>,
    tcp_listening: Vec<SocketAddr>,
    connections: connections::Connections,
    messages: metrics::Messages,
    runtime: tokio::runtime::Handle,
    closed: watch::Receiver<bool>,
}

impl Transport {
    /// Listens on every address, or on none. Must be called within a tokio runtime with I/O and
    /// time, which then drives the sockets.
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    pub fn bind(listen: &Listen, deliver: impl Deliver) -> Result<Self, BindError> {
        let bounds = listen.bounds;
        let failed = |protocol, address| {
            move |source| BindError {
                protocol,
                address,
                source,
            }
        };
        let mut udp = Vec::new();
        let mut queues = Vec::new();
        let shared =
            |shared: &[SocketAddr]| shared.iter().map(|at| (*at, true)).collect::<Vec<_>>();
        let own = |own: &[SocketAddr]| own.iter().map(|at| (*at, false)).collect::<Vec<_>>();
        // Our own first: they serve whatever does not ask for a certain one.
        for (address, absent) in [own(&listen.udp), shared(&listen.udp_shared)].concat() {
            let (socket, queue) = udp::Socket::bind(address, absent, &bounds)
                .map_err(failed(Protocol::Udp, address))?;
            udp.push(Arc::new(socket));
            queues.push(queue);
        }
        let mut listeners = Vec::new();
        let mut tcp_listening = Vec::new();
        for (address, absent) in [own(&listen.tcp), shared(&listen.tcp_shared)].concat() {
            let listener = tcp::listen(address, absent).map_err(failed(Protocol::Tcp, address))?;
            tcp_listening.push(
                listener
                    .local_addr()
                    .map_err(failed(Protocol::Tcp, address))?,
            );
            listeners.push(listener);
        }
        let (closing, closed) = watch::channel(false);
        let shared = Arc::new(Shared {
            bounds,
            deliver: Box::new(deliver),
            udp,
            tcp_listening,
            connections: connections::Connections::default(),
            messages: metrics::Messages::default(),
            runtime: tokio::runtime::Handle::current(),
            closed,
        });
        for (socket, queue) in shared.udp.iter().zip(queues) {
            tokio::spawn(udp::receive(socket.clone(), shared.clone()));
            tokio::spawn(udp::send_queued(socket.clone(), queue, shared.clone()));
        }
        for listener in listeners {
            tokio::spawn(tcp::accept(listener, shared.clone()));
        }
        Ok(Self(Way::Sockets {
            shared,
            closing: Arc::new(closing),
        }))
    }

    /// Sends into another network than this machine's, which hands what it brings to the shards
    /// itself. Nothing is listened on here; `listen` is what [`Transport::listening`] answers.
    #[must_use]
    pub fn through(network: Arc<dyn Network>, listen: Listen) -> Self {
        let listening = Arc::new(listen);
        Self(Way::Lent { network, listening })
    }

    /// Sends a message without waiting. A failure comes back as [`Inbound::Failed`], soon or later.
    pub fn send(&self, flow: &Flow, message: Bytes) {
        match &self.0 {
            Way::Sockets { shared, .. } => shared.send(flow, message),
            Way::Lent { network, .. } => network.send(flow, message),
        }
    }

    /// The addresses listened on, with their real ports.
    #[must_use]
    pub fn listening(&self, protocol: Protocol) -> Vec<SocketAddr> {
        match (&self.0, protocol) {
            (Way::Sockets { shared, .. }, Protocol::Udp) => {
                shared.udp.iter().map(|socket| socket.local).collect()
            }
            (Way::Sockets { shared, .. }, Protocol::Tcp) => shared.tcp_listening.clone(),
            (Way::Lent { listening, .. }, Protocol::Udp) => listening.udp.clone(),
            (Way::Lent { listening, .. }, Protocol::Tcp) => listening.tcp.clone(),
        }
    }

    /// The way to a peer, from the given local address if there is one and else from the first
    /// that suits; `None` when nothing listens that could be used. Its `local` is never a wildcard
    /// as long as the peer can be routed to, so that it can stand in Via and Contact.
    #[must_use]
    pub fn route(&self, protocol: Protocol, from: Option<IpAddr>, to: SocketAddr) -> Option<Flow> {
        let listening = self.listening(protocol);
        let suits = |local: &&SocketAddr| {
            local.is_ipv4() == to.is_ipv4()
                && from.is_none_or(|from| local.ip() == from || local.ip().is_unspecified())
        };
        let exact = |local: &&SocketAddr| Some(local.ip()) == from;
        let local = listening
            .iter()
            .filter(suits)
            .find(exact)
            .or_else(|| listening.iter().find(suits))?;
        let ip = match from {
            Some(from) => from,
            None if local.ip().is_unspecified() => udp::route_from(to).unwrap_or(local.ip()),
            None => local.ip(),
        };
        let local = SocketAddr::new(ip, local.port());
        Some(Flow {
            transport: protocol,
            local,
            remote: to,
            connection: None,
            relay: None,
        })
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        match &self.0 {
            Way::Sockets { shared, .. } => shared.connections.open(),
            Way::Lent { .. } => 0,
        }
    }

    /// Stops listening and closes every connection once its queue is written, each within the
    /// write time. Messages sent later fail.
    pub fn close(&self) {
        if let Way::Sockets { closing, .. } = &self.0 {
            closing.send_replace(true);
        }
    }
}

impl Shared {
    fn send(self: &Arc<Self>, flow: &Flow, message: Bytes) {
        self.messages.sent(flow.transport, &message);
        match flow.transport {
            Protocol::Udp => udp::send(self, flow, message),
            Protocol::Tcp => tcp::send(self, flow, message),
        }
    }

    /// Resolves when the transport is closed or its last handle is gone.
    async fn closed(&self) {
        // An error means that the sender is gone, which is the same.
        let _ = self.closed.clone().wait_for(|closed| *closed).await;
    }

    fn is_closed(&self) -> bool {
        *self.closed.borrow() || self.closed.has_changed().is_err()
    }

    /// Tells the message's shard that it was not sent.
    fn failed(&self, flow: Flow, message: Bytes) {
        metrics::send_failure(flow.transport);
        // Keep-alives are not messages, and nobody waits for them.
        let Ok(message) = Message::parse(message, Framing::Datagram) else {
            return;
        };
        let shard = shard_of(message.call_id(), self.deliver.shards());
        if self
            .deliver
            .deliver(shard, vec![Inbound::Failed { flow, message }])
            .is_err()
        {
            metrics::dropped("shard", 1);
        }
    }
}

/// Whether messages can be sent from this address now: this machine has it. Nothing is sent.
#[must_use]
pub fn is_local(ip: IpAddr) -> bool {
    let probe = || {
        let socket = socket2::Socket::new(Domain::for_address((ip, 0).into()), Type::DGRAM, None)?;
        if ip.is_ipv6() {
            return socket.bind(&SocketAddr::new(ip, 0).into());
        }
        // A system may be set to bind whatever it is asked for; a way from there it has only when the address is here.
        allow_absent(&socket, ip)?;
        socket.bind(&SocketAddr::new(ip, 0).into())?;
        socket.connect(&SocketAddr::new(ip, 9).into())
    };
    let probed: io::Result<()> = probe();
    probed.is_ok()
}

/// Lets a socket be bound to an address that this machine does not have (yet).
fn allow_absent(socket: &socket2::Socket, ip: IpAddr) -> io::Result<()> {
    match ip {
        IpAddr::V4(_) => socket.set_freebind_v4(true),
        IpAddr::V6(_) => socket.set_freebind_v6(true),
    }
}

/// The bounds on received messages; drivers take no others.
const LIMITS: Limits = Limits::DEFAULT;

/// Messages gathered from one wake-up of a socket, by shard.
struct Batches(Vec<Vec<Inbound>>);

impl Batches {
    fn new(shards: usize) -> Self {
        Self((0..shards.max(1)).map(|_| Vec::new()).collect())
    }

    fn add(&mut self, inbound: Inbound) {
        let shard = shard_of(inbound.call_id(), self.0.len());
        self.0[shard].push(inbound);
    }

    fn take(&mut self) -> impl Iterator<Item = (usize, Vec<Inbound>)> {
        self.0
            .iter_mut()
            .enumerate()
            .filter(|(_, batch)| !batch.is_empty())
            .map(|(shard, batch)| (shard, std::mem::take(batch)))
    }
}
