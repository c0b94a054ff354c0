//! How a node takes part in the cluster.

use super::{MemberError, StartError, members};
use crate::level::{FIRST, Level, SPOKEN};
use crate::link::{AnyNet, Files};
use crate::wal::{AnyDisk, Settings};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id: never given to another machine, nor to the same one with an empty disk.
    pub id: u64,
    /// Where its links are reached, `host:port`. A name rather than a number survives a move.
    pub address: String,
}

impl Member {
    /// Refuses what cannot be an id or an address.
    pub fn check(id: u64, address: &str) -> Result<(), MemberError> {
        members::check(id, address)
    }
}

/// How a node takes part.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node's id, one of `members`.
    pub node_id: u64,
    /// Nodes that name another cluster are rejected.
    pub cluster_id: String,
    /// Holds log and snapshots. Locked while the node runs.
    pub data_dir: PathBuf,
    /// Where to listen for the other nodes.
    pub listen: SocketAddr,
    /// All voters, this node included, alike on every node. Read when the cluster is made; later changes travel in
    /// the log, and a member's address there goes before the one here.
    pub members: Vec<Member>,
    /// This node never begins a cluster: it waits to be added to one that exists. `members` may then be empty.
    pub join: bool,
    /// Certificates for the links between nodes; `None` leaves them in the clear.
    pub tls: Option<Files>,
    /// The highest [level](crate::level) that this node speaks: [`SPOKEN`], or less to rehearse an upgrade.
    pub level_max: Level,
    /// How long every member must have spoken a level before the cluster is raised to it.
    pub level_settled: Duration,
    /// When elections happen.
    pub timings: Timings,
    /// When snapshots happen.
    pub snapshots: Snapshots,
    /// Threads of the node's runtime, 1 or 2.
    pub workers: usize,
    /// How long a submitted command may wait for company before it is proposed alone.
    pub linger: Duration,
    /// Entries a second beyond which the leader lets commands gather, 10 and more. At 200 a busy leader adds up to
    /// 5 ms to a commit; up to some 100 calls a second, and for a burst of 32 entries, next to nothing is delayed.
    /// Measured with 500 calls/s of five commands: 0.94 ms CPU a call over three nodes without a pace, 0.69 at 300,
    /// 0.46 at 100.
    pub entries_per_s: u32,
    /// Where log and snapshots lie: this machine's disk, but in tests of bad disks and in simulations.
    pub disk: AnyDisk,
    /// Sizes of the log's files.
    pub log: Settings,
    /// What links are made over: this machine's network, but in simulations, which have no `tls`.
    pub net: AnyNet,
    /// This machine's clock, milliseconds since 1970: [`wall_clock`], but in tests of wrong clocks and in simulations.
    pub wall: fn() -> u64,
    /// The node has no runtime and no thread of its own: everything it does, the log's writing too, is tasks of the
    /// runtime that it is started on, and ends with that. For simulations, on a runtime of one thread.
    pub in_place: bool,
}

/// The machine's clock, milliseconds since 1970.
pub fn wall_clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

impl Config {
    /// A node with the defaults of everything that has one.
    pub fn new(
        node_id: u64,
        cluster_id: impl Into<String>,
        data_dir: impl Into<PathBuf>,
        listen: SocketAddr,
        members: Vec<Member>,
    ) -> Self {
        Config {
            node_id,
            cluster_id: cluster_id.into(),
            data_dir: data_dir.into(),
            listen,
            members,
            join: false,
            tls: None,
            level_max: SPOKEN,
            level_settled: Duration::from_secs(10),
            timings: Timings::default(),
            snapshots: Snapshots::default(),
            workers: 1,
            linger: Duration::from_millis(20),
            entries_per_s: 200,
            disk: AnyDisk::default(),
            log: Settings::default(),
            net: AnyNet::default(),
            wall: wall_clock,
            in_place: false,
        }
    }

    pub(super) fn check(&self) -> Result<(), StartError> {
        let bad = |what: String| Err(StartError::Config(what));
        if self.cluster_id.is_empty() || self.cluster_id.len() > 64 {
            return bad("cluster id must have 1 to 64 bytes".into());
        }
        if !self.join && !self.members.iter().any(|member| member.id == self.node_id) {
            return bad(format!("node {} is not among the members", self.node_id));
        }
        for (at, member) in self.members.iter().enumerate() {
            if self.members[..at].iter().any(|other| other.id == member.id) {
                return bad(format!("member {} is listed twice", member.id));
            }
            if self.members[..at]
                .iter()
                .any(|other| other.address == member.address)
            {
                return bad(format!("address `{}` is listed twice", member.address));
            }
        }
        for member in &self.members {
            if let Err(error) = Member::check(member.id, &member.address) {
                return bad(error.to_string());
            }
        }
        if self.tls.is_some() && self.net.0.is_some() {
            return bad("links of a simulation are in the clear".into());
        }
        if !(FIRST..=SPOKEN).contains(&self.level_max) {
            return bad(format!("level_max must lie between {FIRST} and {SPOKEN}"));
        }
        if self.entries_per_s < 10 {
            return bad("entries_per_s must be 10 or more".into());
        }
        let Timings {
            heartbeat,
            election_min,
            election_max,
        } = self.timings;
        if heartbeat.is_zero() || heartbeat * 2 > election_min || election_min >= election_max {
            return bad("timings must satisfy 2 x heartbeat <= election_min < election_max".into());
        }
        Ok(())
    }
}

/// When a silent leader is replaced. A new leader stands about `election_max` plus a random part between the two
/// after the last word of the old one; at most twice `election_max` and a round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Interval of the leader's word.
    pub heartbeat: Duration,
    /// Least random wait.
    pub election_min: Duration,
    /// Most random wait, and the time a leader is trusted without a word.
    pub election_max: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Timings {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(300),
        }
    }
}

/// When the log is replaced by a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshots {
    /// After this many entries.
    pub entries: u64,
    /// Or this many bytes of them.
    pub bytes: u64,
    /// Entries kept behind a snapshot, so that a node that was away for a short time catches up from the log.
    pub keep: u64,
}

impl Default for Snapshots {
    fn default() -> Self {
        Snapshots {
            entries: 50_000,
            bytes: 64 << 20,
            keep: 20_000,
        }
    }
}
