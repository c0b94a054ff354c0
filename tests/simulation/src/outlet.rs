//! What one process of a node wants of the world: gathered while it runs, carried out between its steps.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tandem_sip::transport::{Flow, Network};
use tandem_vendors::client::{Carried, Carrying, Lost, Outside};
use tandem_vendors::exchange::Request;
use tokio::sync::{mpsc, oneshot};

use crate::draw::Draw;
use crate::links::{Dialled, Taken};
use crate::process::wall_ms;

/// One wish.
pub enum Out {
    /// A datagram of SIP.
    Say {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
    /// A request to the platform.
    Ask {
        request: Request,
        tell: oneshot::Sender<Result<Carried, Lost>>,
    },
    /// A connection to another node.
    Dial {
        address: String,
        tell: oneshot::Sender<Dialled>,
    },
    /// Connections of other nodes come this way.
    Listen {
        connections: mpsc::UnboundedSender<Taken>,
    },
    /// Bytes on a connection.
    Bytes {
        connection: u64,
        side: usize,
        bytes: Vec<u8>,
    },
    /// One end of a connection is gone.
    Closed { connection: u64, side: usize },
}

/// Where wishes gather. Clones share it.
#[derive(Clone, Default)]
pub struct Outlet(Arc<Mutex<Vec<Out>>>);

impl Outlet {
    pub fn push(&self, out: Out) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(out);
    }

    pub fn take(&self) -> Vec<Out> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The way of datagrams out of a node.
pub struct Datagrams(pub Outlet);

impl Network for Datagrams {
    fn send(&self, flow: &Flow, message: Bytes) {
        self.0.push(Out::Say {
            from: flow.local,
            to: flow.remote,
            bytes: message,
        });
    }
}

/// The way to the platform.
pub struct Ways {
    pub outlet: Outlet,
    pub draw: Draw,
}

impl Outside for Ways {
    fn wall_ms(&self) -> u64 {
        wall_ms()
    }

    fn nonce(&self) -> [u8; 16] {
        self.draw.bytes()
    }

    fn carry(&self, request: &Request) -> Carrying {
        let (tell, told) = oneshot::channel();
        let request = request.clone();
        self.outlet.push(Out::Ask { request, tell });
        Box::pin(async move { told.await.unwrap_or(Err(Lost::Cut)) })
    }
}
