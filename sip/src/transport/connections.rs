//! The table of connections: found by id or by peer, counted, each with its bounded queue.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::{Bounds, ConnectionId, Flow};
use crate::metrics;

#[derive(Default)]
pub(super) struct Connections {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last_id: u64,
    by_id: HashMap<ConnectionId, Entry>,
    /// Connections that may be used for new messages to a peer; the newest of several.
    by_peer: HashMap<SocketAddr, ConnectionId>,
    /// Connections made to us, by address.
    inbound: HashMap<IpAddr, usize>,
}

struct Entry {
    queue: Queue,
    remote: SocketAddr,
    inbound: bool,
}

/// The sending end of a connection's queue.
#[derive(Clone)]
pub(super) struct Queue {
    messages: mpsc::Sender<Outbound>,
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    /// Wakes the connection's task to close at once.
    pub(super) kill: Arc<Notify>,
    /// Wakes the connection's writer to end once the queue is empty.
    pub(super) finish: Arc<Notify>,
}

/// A message in a connection's queue.
pub(super) struct Outbound {
    pub(super) bytes: Bytes,
    /// The flow it was sent to; `None` for keep-alives.
    pub(super) flow: Option<Flow>,
}

/// The receiving end.
pub(super) struct Queued {
    messages: mpsc::Receiver<Outbound>,
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    fn new(bounds: &Bounds) -> (Self, Queued) {
        let (messages, queued) = mpsc::channel(bounds.queue_messages_max.max(1));
        let bytes = Arc::new(AtomicUsize::new(0));
        let queue = Self {
            messages,
            bytes: bytes.clone(),
            bytes_max: bounds.queue_bytes_max,
            kill: Arc::new(Notify::new()),
            finish: Arc::new(Notify::new()),
        };
        (
            queue,
            Queued {
                messages: queued,
                bytes,
            },
        )
    }

    /// Queues a message, or gives it back when the queue is full or its connection gone.
    pub(super) fn push(&self, message: Outbound) -> Result<(), Refused> {
        let length = message.bytes.len();
        // Whoever races past the bound overshoots it by one message.
        if self.bytes.fetch_add(length, Ordering::Relaxed) > self.bytes_max {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            return Err(Refused::Full(message));
        }
        self.messages.try_send(message).map_err(|error| {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(message) => Refused::Full(message),
                mpsc::error::TrySendError::Closed(message) => Refused::Gone(message),
            }
        })
    }
}

pub(super) enum Refused {
    /// The peer does not read.
    Full(Outbound),
    /// The connection has just ended.
    Gone(Outbound),
}

impl Queued {
    /// Waits for messages and takes up to `most`; empty when every sender is gone.
    pub(super) async fn pull(&mut self, into: &mut Vec<Outbound>, most: usize) {
        self.messages.recv_many(into, most).await;
        self.taken(into);
    }

    /// Takes up to `most` of what is there.
    pub(super) fn pull_now(&mut self, into: &mut Vec<Outbound>, most: usize) {
        while into.len() < most
            && let Ok(message) = self.messages.try_recv()
        {
            into.push(message);
        }
        self.taken(into);
    }

    fn taken(&self, messages: &[Outbound]) {
        let bytes = messages.iter().map(|message| message.bytes.len()).sum();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What is still waiting; nothing more can be queued after this.
    pub(super) fn drain(&mut self) -> Vec<Outbound> {
        self.messages.close();
        std::iter::from_fn(|| self.messages.try_recv().ok()).collect()
    }
}

/// Why there is no room for another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    Connections,
    Address,
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is sound between any two statements that could panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self) -> usize {
        self.table().by_id.len()
    }

    /// The queue to send through: the flow's own connection if it still is what it was, or one to
    /// the same peer.
    pub(super) fn find(&self, flow: &Flow) -> Option<Queue> {
        let table = self.table();
        // Ids of another process can come with a dialog taken over, hence the look at the peer.
        let own = flow
            .connection
            .and_then(|id| table.by_id.get(&id))
            .filter(|e| e.remote == flow.remote);
        own.or_else(|| table.by_id.get(table.by_peer.get(&flow.remote)?))
            .map(|entry| entry.queue.clone())
    }

    pub(super) fn add(
        &self,
        remote: SocketAddr,
        inbound: bool,
        bounds: &Bounds,
    ) -> Result<(ConnectionId, Queue, Queued), NoRoom> {
        let mut table = self.table();
        if table.by_id.len() >= bounds.connections_max {
            return Err(NoRoom::Connections);
        }
        if inbound {
            let count = table.inbound.entry(remote.ip()).or_default();
            if *count >= bounds.connections_per_ip_max {
                return Err(NoRoom::Address);
            }
            *count += 1;
        }
        table.last_id += 1;
        let id = ConnectionId(table.last_id);
        let (queue, queued) = Queue::new(bounds);
        table.by_id.insert(
            id,
            Entry {
                queue: queue.clone(),
                remote,
                inbound,
            },
        );
        table.by_peer.insert(remote, id);
        metrics::connections(table.by_id.len());
        Ok((id, queue, queued))
    }

    /// No new messages to the peer go this way any more; answers on the flow itself still do.
    pub(super) fn retire(&self, id: ConnectionId, remote: SocketAddr) {
        let mut table = self.table();
        if table.by_peer.get(&remote) == Some(&id) {
            table.by_peer.remove(&remote);
        }
    }

    pub(super) fn remove(&self, id: ConnectionId) {
        let mut table = self.table();
        let Some(entry) = table.by_id.remove(&id) else {
            return;
        };
        if table.by_peer.get(&entry.remote) == Some(&id) {
            table.by_peer.remove(&entry.remote);
        }
        if entry.inbound
            && let Some(count) = table.inbound.get_mut(&entry.remote.ip())
        {
            *count -= 1;
            if *count == 0 {
                table.inbound.remove(&entry.remote.ip());
            }
        }
        metrics::connections(table.by_id.len());
    }
}
