//! The networks: datagrams between far ends and nodes, requests to the platform, links between nodes. Who reaches whom,
//! and what is lost on the way.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How datagrams fare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Share that is lost.
    pub loss: f64,
    /// Share that arrives twice.
    pub twice: f64,
    /// They are under way for at least a millisecond and up to so many.
    pub slow_ms: u64,
}

/// A fine day.
pub const FAIR: Weather = Weather {
    loss: 0.0,
    twice: 0.0,
    slow_ms: 4,
};

/// The networks.
pub struct Net {
    rng: StdRng,
    /// Of datagrams.
    pub weather: Weather,
    /// Of links between nodes, most of a round trip.
    pub link_slow_ms: u64,
    /// From whom nothing reaches whom.
    cut: BTreeSet<(IpAddr, IpAddr)>,
}

impl Net {
    pub fn new(seed: u64) -> Net {
        Net {
            rng: StdRng::seed_from_u64(seed),
            weather: FAIR,
            link_slow_ms: 3,
            cut: BTreeSet::new(),
        }
    }

    /// Cuts one direction, or mends it.
    pub fn set_cut(&mut self, from: IpAddr, to: IpAddr, cut: bool) {
        match cut {
            true => self.cut.insert((from, to)),
            false => self.cut.remove(&(from, to)),
        };
    }

    pub fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        self.cut.contains(&(from, to))
    }

    /// Everything is well again.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.weather = FAIR;
        self.link_slow_ms = 3;
    }

    /// After how many milliseconds a datagram arrives, each time it does.
    pub fn datagram(&mut self, from: IpAddr, to: IpAddr) -> Vec<u64> {
        let Weather {
            loss,
            twice,
            slow_ms,
        } = self.weather;
        // Drawn in any case, so that a cut changes nothing else.
        let lost = self.rng.random_bool(loss);
        let times = if self.rng.random_bool(twice) { 2 } else { 1 };
        let delays = (0..times)
            .map(|_| self.rng.random_range(1..=slow_ms))
            .collect();
        match lost || self.is_cut(from, to) {
            true => Vec::new(),
            false => delays,
        }
    }

    /// How long bytes between nodes, or to the platform, are under way.
    pub fn stream(&mut self) -> u64 {
        self.rng.random_range(1..=self.link_slow_ms)
    }

    /// A draw from 0 to 1.
    pub fn roll(&mut self) -> f64 {
        self.rng.random()
    }
}
