//! Datagrams: one task a socket receives, sends go straight to the socket.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::{Domain, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::{Batches, Bounds, Flow, Inbound, LIMITS, Protocol, Received, Shared};
use crate::message::{Framing, Message, Writer};
use crate::metrics;

/// The largest datagram of IP is a little smaller.
const DATAGRAM_BYTES: usize = 65_536;
/// Datagrams read before others get their turn.
const DRAIN: usize = 64;
/// Peers whose local address is remembered.
const ROUTES_MAX: usize = 4_096;

type Queued = (Bytes, Flow);

pub(super) struct Socket {
    socket: UdpSocket,
    pub(super) local: SocketAddr,
    /// Datagrams the kernel would not take at once; full, it loses them.
    queue: mpsc::Sender<Queued>,
}

impl Socket {
    pub(super) fn bind(
        address: SocketAddr,
        absent: bool,
        bounds: &Bounds,
    ) -> io::Result<(Self, mpsc::Receiver<Queued>)> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The kernel caps these without an error; less only means loss under bursts.
        let _ = socket.set_recv_buffer_size(bounds.udp_buffer_bytes);
        let _ = socket.set_send_buffer_size(bounds.udp_buffer_bytes);
        socket.set_nonblocking(true)?;
        if absent {
            super::allow_absent(&socket, address.ip())?;
        }
        // Without SO_REUSEADDR: an occupied port must be an error.
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let local = socket.local_addr()?;
        let (queue, queued) = mpsc::channel(bounds.queue_messages_max.max(1));
        Ok((
            Self {
                socket,
                local,
                queue,
            },
            queued,
        ))
    }
}

/// Sends from the socket bound to the flow's local address.
pub(super) fn send(shared: &Arc<Shared>, flow: &Flow, message: Bytes) {
    let Some(socket) = choose(&shared.udp, flow).filter(|_| !shared.is_closed()) else {
        shared.failed(*flow, message);
        return;
    };
    match socket.socket.try_send_to(&message, flow.remote) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            // A full queue loses a datagram like any other; retransmission is there for it.
            if socket.queue.try_send((message, *flow)).is_err() {
                metrics::dropped("udp_send", 1);
            }
        }
        Err(error) => unsent(shared, *flow, message, &error),
    }
}

/// The kernel refused a datagram: lost when it was only short of memory or told of an earlier one,
/// failed when the peer cannot be reached.
fn unsent(shared: &Shared, flow: Flow, message: Bytes, error: &io::Error) {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, Interrupted, OutOfMemory};
    debug!(remote = %flow.remote, %error, "datagram not sent");
    // ENOBUFS has no kind of its own.
    const NO_BUFFERS: i32 = 105;
    let passing = matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | Interrupted | OutOfMemory
    );
    if passing || error.raw_os_error() == Some(NO_BUFFERS) {
        metrics::dropped("udp_send", 1);
    } else {
        shared.failed(flow, message);
    }
}

/// The exact socket, or a wildcard of the same port, or any of the same family.
fn choose<'a>(sockets: &'a [Arc<Socket>], flow: &Flow) -> Option<&'a Arc<Socket>> {
    let family = |socket: &&Arc<Socket>| socket.local.is_ipv4() == flow.remote.is_ipv4();
    let same = || sockets.iter().filter(family);
    same()
        .find(|s| s.local == flow.local)
        .or_else(|| {
            same().find(|s| s.local.ip().is_unspecified() && s.local.port() == flow.local.port())
        })
        .or_else(|| {
            same().find(|s| s.local.ip() == flow.local.ip() || s.local.ip().is_unspecified())
        })
        .or_else(|| same().find(|_| flow.local.ip().is_unspecified()))
}

/// Writes what the kernel would not take at once.
pub(super) async fn send_queued(
    socket: Arc<Socket>,
    mut queue: mpsc::Receiver<Queued>,
    shared: Arc<Shared>,
) {
    let limit = Duration::from_millis(shared.bounds.write_ms);
    let mut closed = std::pin::pin!(shared.closed());
    loop {
        let next = tokio::select! {
            next = queue.recv() => next,
            () = &mut closed => None,
        };
        let Some((message, flow)) = next else { return };
        match tokio::time::timeout(limit, socket.socket.send_to(&message, flow.remote)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => unsent(&shared, flow, message, &error),
            Err(_) => metrics::dropped("udp_send", 1),
        }
    }
}

/// Receives until the transport closes.
pub(super) async fn receive(socket: Arc<Socket>, shared: Arc<Shared>) {
    let mut receiver = Receiver {
        batches: Batches::new(shared.deliver.shards()),
        routes: HashMap::new(),
        writer: Writer::new(),
        refusals: Refusals::new(shared.bounds.refusals_per_second_max),
        socket,
        shared: shared.clone(),
    };
    let mut buffer = vec![0; DATAGRAM_BYTES];
    let mut closed = std::pin::pin!(shared.closed());
    loop {
        let ready = tokio::select! {
            ready = receiver.socket.socket.readable() => ready,
            () = &mut closed => return,
        };
        if let Err(error) = ready {
            // Cannot be mended here; without a pause it would spin.
            warn!(local = %receiver.socket.local, %error, "socket not readable");
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        for _ in 0..DRAIN {
            match receiver.socket.socket.try_recv_from(&mut buffer) {
                Ok((length, remote)) => receiver.datagram(&buffer[..length], remote),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // What an earlier datagram of ours met; says nothing about this socket.
                Err(error) => debug!(local = %receiver.socket.local, %error, "receive"),
            }
        }
        for (shard, batch) in receiver.batches.take() {
            if let Err(batch) = shared.deliver.deliver(shard, batch) {
                metrics::dropped("shard", batch.len());
            }
        }
        tokio::task::yield_now().await;
    }
}

struct Receiver {
    socket: Arc<Socket>,
    shared: Arc<Shared>,
    batches: Batches,
    /// For a wildcard socket: from which of our addresses each peer is reached.
    routes: HashMap<IpAddr, IpAddr>,
    writer: Writer,
    refusals: Refusals,
}

impl Receiver {
    fn datagram(&mut self, bytes: &[u8], remote: SocketAddr) {
        if is_keep_alive(bytes) {
            metrics::keepalive(Protocol::Udp);
            return;
        }
        // Its own allocation of just its size: a kept message must not pin a receive buffer.
        match Message::parse_within(Bytes::copy_from_slice(bytes), Framing::Datagram, &LIMITS) {
            Ok(mut message) => {
                self.shared.messages.received(Protocol::Udp, &message);
                message.set_source(remote);
                let flow = Flow::udp(self.local_for(remote), remote);
                self.batches
                    .add(Inbound::Received(Received { flow, message }));
            }
            Err(rejected) => {
                metrics::parse_error(rejected.why.label());
                debug!(%remote, why = %rejected.why, "datagram refused");
                if rejected.status.is_none() || !self.refusals.one_more() {
                    return;
                }
                if let Some((answer, to)) = rejected.answer(&mut self.writer, remote) {
                    self.shared.messages.sent(Protocol::Udp, &answer);
                    // Lost like any other datagram when the kernel would not take it.
                    let _ = self.socket.socket.try_send_to(&answer, to);
                }
            }
        }
    }

    fn local_for(&mut self, remote: SocketAddr) -> SocketAddr {
        let bound = self.socket.local;
        if !bound.ip().is_unspecified() {
            return bound;
        }
        if self.routes.len() >= ROUTES_MAX {
            self.routes.clear();
        }
        let ip = *self
            .routes
            .entry(remote.ip())
            .or_insert_with(|| route_from(remote).unwrap_or(bound.ip()));
        SocketAddr::new(ip, bound.port())
    }
}

/// Which of our addresses the kernel would send from; nothing is sent.
pub(super) fn route_from(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = std::net::UdpSocket::bind((any, 0)).ok()?;
    probe.connect(remote).ok()?;
    let ip = probe.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

/// Datagrams that only keep an address translation open: nothing, blank lines, a few octets, or
/// STUN (whose first two bits are 0, as no SIP message's are together with what follows).
fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.len() <= 4
        || bytes.iter().all(|&b| matches!(b, b'\r' | b'\n' | b' ' | 0))
        || (bytes[0] < 4 && bytes.get(4..8) == Some(&[0x21, 0x12, 0xa4, 0x42]))
}

/// How many unreadable requests are still answered in this second.
struct Refusals {
    since: Instant,
    left: u32,
    per_second: u32,
}

impl Refusals {
    fn new(per_second: u32) -> Self {
        Self {
            since: Instant::now(),
            left: per_second,
            per_second,
        }
    }

    fn one_more(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self::new(self.per_second);
        }
        let some = self.left > 0;
        self.left -= u32::from(some);
        some
    }
}
