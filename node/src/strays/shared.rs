//! Addresses that all nodes listen on: one of them has such an address at a time and may lose it to another (VRRP), or
//! all have it at once (anycast). A node that does not have it can send nothing from it, so it must know who has.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tandem_cluster::entity::Millis;

/// Who has an address says so every half second; after this long without a word nobody is known to have it.
const HEARD_MS: Millis = 2_500;
/// How long after an address came here what belongs to set-ups elsewhere may still arrive: INVITEs are repeated for 32 s,
/// and few callers let it ring for longer.
const FRESH_MS: Millis = 60_000;

/// The shared addresses as this node knows them.
#[derive(Debug, Default)]
pub struct Shared(Vec<Address>);

#[derive(Debug)]
struct Address {
    ip: IpAddr,
    /// Since when it is on this machine; [`AWAY`] while it is not.
    since: AtomicU64,
    /// The other node that was last heard to have it, and when.
    holder: Mutex<Option<(u64, Millis)>>,
}

const AWAY: Millis = Millis::MAX;

/// Where a shared address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine, be it on others as well.
    Here,
    /// With this node.
    At(u64),
    /// Nobody is known to have it.
    Nowhere,
}

impl Shared {
    /// Nothing is known yet of where they are.
    pub fn new(ips: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut addresses: Vec<Address> = Vec::new();
        for ip in ips {
            if addresses.iter().all(|address| address.ip != ip) {
                addresses.push(Address {
                    ip,
                    since: AtomicU64::new(AWAY),
                    holder: Mutex::new(None),
                });
            }
        }
        Shared(addresses)
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where an address is; `None` for one that is not shared.
    pub fn place(&self, ip: IpAddr, now: Millis) -> Option<Place> {
        let address = self.0.iter().find(|address| address.ip == ip)?;
        if address.since.load(Ordering::Relaxed) != AWAY {
            return Some(Place::Here);
        }
        Some(match *address.holder() {
            Some((node, at)) if now < at + HEARD_MS => Place::At(node),
            _ => Place::Nowhere,
        })
    }

    /// Whether an address came here so lately that others have calls in set-up that began there.
    pub fn is_fresh(&self, ip: IpAddr, now: Millis) -> bool {
        let address = self.0.iter().find(|address| address.ip == ip);
        address.is_some_and(|address| {
            let since = address.since.load(Ordering::Relaxed);
            since != AWAY && now < since + FRESH_MS
        })
    }

    /// Looks which of them this machine has now, and answers those.
    pub fn look(&self, now: Millis, is_here: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
        let mut have = Vec::new();
        for address in &self.0 {
            let here = is_here(address.ip);
            let was_here = address.since.load(Ordering::Relaxed) != AWAY;
            if here != was_here {
                let since = if here { now } else { AWAY };
                address.since.store(since, Ordering::Relaxed);
                tracing::info!(address = %address.ip, here, "shared address moved");
            }
            if here {
                have.push(address.ip);
            }
        }
        have
    }

    /// Another node has these.
    pub fn heard(&self, node: u64, ips: &[IpAddr], now: Millis) {
        for address in self.0.iter().filter(|address| ips.contains(&address.ip)) {
            *address.holder() = Some((node, now));
        }
    }
}

impl Address {
    fn holder(&self) -> std::sync::MutexGuard<'_, Option<(u64, Millis)>> {
        // Copied in and out in one piece.
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_address_is_here_or_with_the_node_heard_last() {
        let shared = Shared::new([ip(1), ip(2), ip(1)]);
        assert!(!shared.is_empty() && Shared::default().is_empty());
        assert_eq!(shared.place(ip(3), 0), None);
        assert_eq!(shared.place(ip(1), 0), Some(Place::Nowhere));

        shared.heard(2, &[ip(1), ip(9)], 1_000);
        shared.heard(3, &[ip(2)], 1_000);
        assert_eq!(shared.place(ip(1), 1_000), Some(Place::At(2)));
        assert_eq!(shared.place(ip(2), 3_499), Some(Place::At(3)));
        assert_eq!(shared.place(ip(2), 3_500), Some(Place::Nowhere));

        assert_eq!(shared.look(1_000, |at| at == ip(1)), [ip(1)]);
        assert_eq!(shared.place(ip(1), 1_000), Some(Place::Here));
        shared.heard(3, &[ip(1)], 2_000);
        assert_eq!(shared.place(ip(1), 2_000), Some(Place::Here));
        assert_eq!(shared.look(2_000, |_| false), [] as [IpAddr; 0]);
        assert_eq!(shared.place(ip(1), 2_000), Some(Place::At(3)));
    }

    #[test]
    fn an_address_is_fresh_for_a_while_after_it_came() {
        let shared = Shared::new([ip(1)]);
        assert!(!shared.is_fresh(ip(1), 0));
        for (now, here, fresh) in [
            (1_000, true, true),
            (1_500, true, true),
            (60_999, true, true),
            (61_000, true, false),
            (62_000, false, false),
            (63_000, true, true),
        ] {
            shared.look(now, |_| here);
            assert_eq!(shared.is_fresh(ip(1), now), fresh, "{now}");
            assert!(!shared.is_fresh(ip(2), now));
        }
    }
}
