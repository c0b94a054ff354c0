//! Streams: a task for each listener and one for each connection, which reads and writes at the
//! same time and ends on its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, warn};

use super::connections::{NoRoom, Outbound, Queue, Queued, Refused};
use super::{
    Batches, ConnectionId, Flow, Framed, Framer, Inbound, LIMITS, Protocol, Received, Shared,
};
use crate::message::{Framing, Message, Rejected, Writer};
use crate::metrics;

/// Messages written with one call.
const GATHER: usize = 32;
/// How long a late shard is waited for before a stream's messages are dropped. Meanwhile the
/// connection is not read, so its peer is slowed down.
const SHARD_WAIT: Duration = Duration::from_millis(500);

pub(super) fn listen(address: SocketAddr, absent: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if address.is_ipv6() {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    // Only lets a port be taken again whose old connections are still fading away.
    socket.set_reuseaddr(true)?;
    if absent {
        super::allow_absent(&SockRef::from(&socket), address.ip())?;
    }
    socket.bind(address)?;
    socket.listen(1_024)
}

/// Accepts until the transport closes.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut closed = std::pin::pin!(shared.closed());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut closed => return,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Usually no file descriptors left: others must end first.
                warn!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match shared.connections.add(remote, true, &shared.bounds) {
            Ok((id, queue, queued)) => {
                let connection = Connection {
                    id,
                    remote,
                    queue,
                    shared: shared.clone(),
                };
                tokio::spawn(async move { connection.run(stream, queued).await });
            }
            Err(no_room) => refuse(no_room, remote),
        }
    }
}

fn refuse(no_room: NoRoom, remote: SocketAddr) {
    let reason = match no_room {
        NoRoom::Connections => "connections_max",
        NoRoom::Address => "connections_per_ip_max",
    };
    metrics::connection_refused(reason);
    debug!(%remote, reason, "connection refused");
}

/// Queues a message for its connection, which is made if there is none.
pub(super) fn send(shared: &Arc<Shared>, flow: &Flow, message: Bytes) {
    let mut message = Outbound {
        bytes: message,
        flow: Some(*flow),
    };
    if shared.is_closed() {
        shared.failed(*flow, message.bytes);
        return;
    }
    if let Some(queue) = shared.connections.find(flow) {
        match queue.push(message) {
            Ok(()) => return,
            Err(Refused::Full(message)) => {
                metrics::connection_refused("queue_full");
                debug!(remote = %flow.remote, "connection closed, its queue is full");
                queue.kill.notify_one();
                shared.failed(*flow, message.bytes);
                return;
            }
            Err(Refused::Gone(back)) => message = back,
        }
    }
    match shared.connections.add(flow.remote, false, &shared.bounds) {
        Ok((id, queue, queued)) => {
            // An empty queue takes its first message, unless that alone is beyond every bound.
            if let Err(Refused::Full(message) | Refused::Gone(message)) = queue.push(message) {
                shared.failed(*flow, message.bytes);
            }
            let connection = Connection {
                id,
                remote: flow.remote,
                queue,
                shared: shared.clone(),
            };
            let local = flow.local;
            shared
                .runtime
                .spawn(async move { connection.connect(local, queued).await });
        }
        Err(no_room) => {
            refuse(no_room, flow.remote);
            shared.failed(*flow, message.bytes);
        }
    }
}

struct Connection {
    id: ConnectionId,
    remote: SocketAddr,
    queue: Queue,
    shared: Arc<Shared>,
}

/// Why a connection stops reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The peer ended its direction; it may still want its answers.
    PeerDone,
    /// The stream cannot be read further; the answer is queued.
    Bad,
    /// Silent for too long, or half a message for too long.
    Late,
    /// Reading or writing failed.
    Broken,
    /// Its queue ran full.
    Killed,
    /// The transport closes.
    Closed,
}

impl Connection {
    async fn connect(self, local: SocketAddr, mut queued: Queued) {
        let limit = Duration::from_millis(self.shared.bounds.connect_ms);
        let connected = tokio::select! {
            connected = timeout(limit, connect(local, self.remote)) => connected,
            () = self.shared.closed() => Ok(Err(io::ErrorKind::ConnectionAborted.into())),
        };
        match connected {
            Ok(Ok(stream)) => self.run(stream, queued).await,
            failed => {
                debug!(remote = %self.remote, ?failed, "connect failed");
                self.end(&mut queued, Vec::new());
            }
        }
    }

    async fn run(self, stream: TcpStream, mut queued: Queued) {
        // Answers are small and wait for nothing.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_keepalive(true);
        let Ok(local) = stream.local_addr() else {
            self.end(&mut queued, Vec::new());
            return;
        };
        let flow = Flow {
            transport: Protocol::Tcp,
            local,
            remote: self.remote,
            connection: Some(self.id),
            relay: None,
        };
        let (mut reader, writer) = stream.into_split();
        let writes = AtomicU64::new(0);
        let mut unsent = Vec::new();
        let limit = Duration::from_millis(self.shared.bounds.write_ms);
        {
            let mut write = std::pin::pin!(write_queue(
                writer,
                &mut queued,
                &mut unsent,
                limit,
                &writes,
                &self.queue.finish,
            ));
            let end = tokio::select! {
                end = self.read(&mut reader, flow, &writes) => end,
                () = &mut write => End::Broken,
                () = self.queue.kill.notified() => End::Killed,
                () = self.shared.closed() => End::Closed,
            };
            debug!(remote = %self.remote, ?end, "connection ends");
            match end {
                End::PeerDone => {
                    self.shared.connections.retire(self.id, self.remote);
                    let linger = Duration::from_millis(self.shared.bounds.linger_ms);
                    tokio::select! {
                        _ = timeout(linger, &mut write) => {}
                        () = self.queue.kill.notified() => {}
                        () = self.shared.closed() => {}
                    }
                }
                End::Bad | End::Closed => {
                    // What is queued is written, nothing more is taken.
                    self.shared.connections.remove(self.id);
                    self.queue.finish.notify_one();
                    let _ = timeout(limit, &mut write).await;
                    discard(&mut reader).await;
                }
                End::Late | End::Broken | End::Killed => {
                    if end == End::Late {
                        metrics::connection_refused("late");
                    }
                }
            }
        }
        self.end(&mut queued, unsent);
    }

    /// Takes the connection out of the table and tells what was not sent.
    fn end(&self, queued: &mut Queued, unsent: Vec<Outbound>) {
        self.shared.connections.remove(self.id);
        for message in unsent.into_iter().chain(queued.drain()) {
            if let Some(flow) = message.flow {
                self.shared.failed(flow, message.bytes);
            }
        }
    }

    async fn read(&self, reader: &mut OwnedReadHalf, flow: Flow, writes: &AtomicU64) -> End {
        let bounds = &self.shared.bounds;
        let idle = Duration::from_millis(bounds.idle_ms);
        let half = Duration::from_millis(bounds.half_message_ms);
        let mut framer = Framer::new(LIMITS);
        let mut batches = Batches::new(self.shared.deliver.shards());
        let mut writer = Writer::new();
        let mut half_since: Option<Instant> = None;
        loop {
            let written = writes.load(Ordering::Relaxed);
            let deadline = match half_since {
                Some(since) => since + half,
                None => Instant::now() + idle,
            };
            match timeout_at(deadline, reader.read_buf(framer.room())).await {
                Ok(Ok(0)) => return End::PeerDone,
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return End::Broken,
                Err(_) if half_since.is_none() && writes.load(Ordering::Relaxed) != written => {
                    continue;
                }
                Err(_) => return End::Late,
            }
            let mut whole = false;
            let mut bad = false;
            let mut pinged = false;
            while let Some(frame) = framer.next_frame() {
                whole = true;
                match frame {
                    Framed::Message(bytes) => self.message(bytes, flow, &mut batches, &mut writer),
                    Framed::Ping => pinged = true,
                    Framed::Bad(rejected) => {
                        metrics::parse_error(rejected.why.label());
                        self.answer(&rejected, &mut writer);
                        bad = true;
                    }
                }
            }
            if pinged {
                // One answer for however many came at once.
                metrics::keepalive(Protocol::Tcp);
                self.push(Bytes::from_static(b"\r\n"));
            }
            self.hand_up(&mut batches).await;
            if bad {
                return End::Bad;
            }
            half_since = match half_since {
                _ if !framer.is_partial() => None,
                Some(since) if !whole => Some(since),
                _ => Some(Instant::now()),
            };
        }
    }

    fn message(&self, bytes: Bytes, flow: Flow, batches: &mut Batches, writer: &mut Writer) {
        match Message::parse_within(bytes, Framing::Stream, &LIMITS) {
            Ok(mut message) => {
                self.shared.messages.received(Protocol::Tcp, &message);
                message.set_source(self.remote);
                batches.add(Inbound::Received(Received { flow, message }));
            }
            // Its length was sound, so the stream goes on.
            Err(rejected) => {
                metrics::parse_error(rejected.why.label());
                self.answer(&rejected, writer);
            }
        }
    }

    fn answer(&self, rejected: &Rejected, writer: &mut Writer) {
        if let Some((answer, _)) = rejected.answer(writer, self.remote) {
            self.shared.messages.sent(Protocol::Tcp, &answer);
            self.push(answer);
        }
    }

    fn push(&self, bytes: Bytes) {
        if self.queue.push(Outbound { bytes, flow: None }).is_err() {
            self.queue.kill.notify_one();
        }
    }

    async fn hand_up(&self, batches: &mut Batches) {
        for (shard, mut batch) in batches.take() {
            let give_up = Instant::now() + SHARD_WAIT;
            while let Err(back) = self.shared.deliver.deliver(shard, batch) {
                if Instant::now() >= give_up || self.shared.is_closed() {
                    metrics::dropped("shard", back.len());
                    break;
                }
                batch = back;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

async fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if !local.ip().is_unspecified() && local.is_ipv4() == remote.is_ipv4() {
        socket.bind(SocketAddr::new(local.ip(), 0))?;
    }
    socket.connect(remote).await
}

/// Closing while bytes of the peer lie unread would reset the connection and could take our last
/// answer with it, so some are read and forgotten first.
async fn discard(reader: &mut OwnedReadHalf) {
    let mut bytes = [0; 4_096];
    let reading = async {
        for _ in 0..64 {
            if !matches!(reader.read(&mut bytes).await, Ok(1..)) {
                return;
            }
        }
    };
    let _ = timeout(Duration::from_millis(250), reading).await;
}

/// Writes the queue until the peer stops taking it, or until it is empty after `finish`; then ends
/// our direction. What was pulled but not written is left in `unsent`.
async fn write_queue(
    mut writer: OwnedWriteHalf,
    queued: &mut Queued,
    unsent: &mut Vec<Outbound>,
    limit: Duration,
    writes: &AtomicU64,
    finish: &Notify,
) {
    let mut gathered = Vec::new();
    let mut finishing = false;
    loop {
        if finishing {
            queued.pull_now(unsent, GATHER);
        } else {
            tokio::select! {
                biased;
                () = queued.pull(unsent, GATHER) => {}
                () = finish.notified() => {
                    finishing = true;
                    continue;
                }
            }
        }
        let written = match &unsent[..] {
            [] => return,
            [one] => timeout(limit, writer.write_all(&one.bytes)).await,
            many => {
                gathered.clear();
                for message in many {
                    gathered.extend_from_slice(&message.bytes);
                }
                timeout(limit, writer.write_all(&gathered)).await
            }
        };
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
        unsent.clear();
        gathered.shrink_to(16_384);
        writes.fetch_add(1, Ordering::Relaxed);
    }
}
