//! What a seed decides before anything runs.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;
use tandem_cluster::handle::{Config, Member, Snapshots, Timings};
use tandem_cluster::wal::AnyDisk;
use tandem_simulation::{SimNet, World, world};

/// Where nodes listen for each other.
const PORT: u16 = 7_000;

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub nodes: u64,
    /// No message takes less.
    pub step_ms: u64,
    pub timings: Timings,
    pub snapshots: Snapshots,
    pub segment_bytes: u64,
    pub extend_bytes: u64,
    pub entries_per_s: u32,
    pub callers: u32,
    pub lease_ms: u32,
    /// Callers outlive the nodes, and what they saw is checked for being linearizable.
    pub history: bool,
    /// Nodes come and go.
    pub changes: bool,
    /// How long there is trouble.
    pub trouble_ms: u64,
    /// Least and most between two faults.
    pub fault_every_ms: (u64, u64),
}

/// A generator of its own for each purpose.
pub fn rng(seed: u64, purpose: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose.rotate_left(32))
}

/// A node as the others know it.
pub fn member(id: u64) -> Member {
    Member {
        id,
        address: SimNet::address(id, PORT).to_string(),
    }
}

impl Plan {
    pub fn of(seed: u64) -> Plan {
        let mut rng = rng(seed, 1);
        let timings = match rng.random_bool(0.7) {
            true => Timings::default(),
            false => Timings {
                heartbeat: Duration::from_millis(60),
                election_min: Duration::from_millis(200),
                election_max: Duration::from_millis(350),
            },
        };
        let entries = rng.random_range(30..300);
        Plan {
            seed,
            nodes: if rng.random_bool(0.15) { 5 } else { 3 },
            step_ms: [2, 4, 5][rng.random_range(0..3)],
            timings,
            snapshots: Snapshots {
                entries,
                bytes: rng.random_range(10..200) << 10,
                keep: rng.random_range(5..=entries / 2),
            },
            segment_bytes: rng.random_range(4..48) << 10,
            extend_bytes: rng.random_range(2..16) << 10,
            entries_per_s: [200, 1_000_000][rng.random_range(0..2)],
            callers: rng.random_range(1..4),
            lease_ms: rng.random_range(1_000..3_000),
            history: seed.is_multiple_of(4),
            trouble_ms: rng.random_range(3_000..7_000),
            fault_every_ms: (30, rng.random_range(300..1_200)),
            changes: rng.random_bool(0.35),
        }
    }

    /// Nodes that begin the cluster.
    pub fn ids(&self) -> impl Iterator<Item = u64> + use<> {
        1..=self.nodes
    }

    /// How a node takes part.
    pub fn config(&self, id: u64, world: &World, disk: AnyDisk) -> Config {
        let join = id > self.nodes;
        let members = match join {
            true => Vec::new(),
            false => self.ids().map(member).collect(),
        };
        let listen = SimNet::address(id, PORT);
        let mut config = Config::new(id, "simulated", "/data", listen, members);
        config.join = join;
        config.timings = self.timings;
        config.snapshots = self.snapshots;
        config.entries_per_s = self.entries_per_s;
        config.disk = disk;
        config.log.segment_bytes = self.segment_bytes;
        config.log.extend_bytes = self.extend_bytes;
        config.net = world.net().of(id);
        config.wall = world::wall;
        config.in_place = true;
        config
    }
}
