//! A flow: the path a message came by, and the way back. Plain data, so that transactions and
//! dialogs can keep it and another node can read it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use crate::message::Transport as Protocol;

/// Names one connection of one process; never used again in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// Where a message came in, or shall go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// UDP or TCP.
    pub transport: Protocol,
    /// Our own address: messages leave from the socket bound to it. For TCP that has no connection
    /// yet, its address is the one connected from and its port is ignored.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The connection, for TCP. When it is `None` or gone, a connection to `remote` is looked for,
    /// or made.
    pub connection: Option<ConnectionId>,
}

impl Flow {
    /// The way to a peer by datagrams from one of our own addresses.
    #[must_use]
    pub const fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            transport: Protocol::Udp,
            local,
            remote,
            connection: None,
        }
    }

    /// The way to a peer by a connection, to be made if there is none.
    #[must_use]
    pub const fn tcp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            transport: Protocol::Tcp,
            local,
            remote,
            connection: None,
        }
    }
}
