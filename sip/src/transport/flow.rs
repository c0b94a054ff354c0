//! A flow: the path a message came by, and the way back. Plain data, so that transactions and
//! dialogs can keep it and another node can read it.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

pub use crate::message::Transport as Protocol;

/// Names one connection of one process; never used again in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// Another process of the switch, in whose hands a flow lies. The number is its keeper's; no transport reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Relay(pub NonZeroU32);

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
    /// Socket and connection belong to this other process, which is given what shall go this way. `None`: they are
    /// our own.
    pub relay: Option<Relay>,
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
            relay: None,
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
            relay: None,
        }
    }
}

/// The shard a Call-ID belongs to: FNV-1a, the same in every process and version, so that the
/// messages of one call meet in one place and stay in order. `shards` is at least 1.
#[must_use]
pub fn shard_of(call_id: &[u8], shards: usize) -> usize {
    let hash = call_id
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    (hash % shards.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_stable_and_even() {
        assert_eq!(shard_of(b"", 1), 0);
        // The offset basis itself, and the published vector of "a".
        assert_eq!(shard_of(b"", 1 << 16), 0x2325);
        assert_eq!(
            shard_of(b"a", 1 << 16),
            0xaf63_dc4c_8601_ec8c_u64 as usize & 0xffff
        );
        let mut counts = [0; 4];
        for n in 0..4_000 {
            counts[shard_of(format!("call-{n}@h").as_bytes(), 4)] += 1;
        }
        assert!(
            counts.iter().all(|&count| (900..1_100).contains(&count)),
            "{counts:?}"
        );
    }
}
