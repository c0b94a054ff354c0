//! The node file: what one process needs to know before it can ask the cluster for the rest.
//!
//! Gateways, numbers, accounts and rates are not here: the nodes agree on those through the replicated state.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tandem_cluster::handle::Member;
use tandem_cluster::level::{FIRST, Level, SPOKEN};

/// Shared addresses, at most.
const SHARED_MAX: usize = 16;

/// A node file, read and checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this is and where it keeps things.
    pub node: Node,
    /// Signalling.
    pub sip: Sip,
    /// The other nodes.
    pub cluster: Cluster,
    /// Admin API and console.
    pub admin: Admin,
    /// What is written where.
    #[serde(default)]
    pub log: Log,
    /// Bounds of this process.
    #[serde(default)]
    pub limits: Limits,
    /// Platforms beyond those built in.
    #[serde(default)]
    pub vendors: Vendors,
    /// What platforms push to us.
    #[serde(default)]
    pub callbacks: Callbacks,
}

/// Identity and storage.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Number in the cluster, 1 to 4294967295; never that of an earlier machine or disk.
    pub id: u64,
    /// 接入名称, unique in the cluster.
    pub access_name: String,
    /// Log, snapshots and records; made when missing.
    pub data_dir: PathBuf,
    /// How long the claim on the access name lasts without renewal, 1,000 to 60,000 ms.
    #[serde(default = "lease_ms")]
    pub lease_ms: u32,
}

/// SIP listeners.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sip {
    /// UDP addresses; the first one is used for calls to gateways reached by UDP.
    #[serde(default)]
    pub udp: Vec<SocketAddr>,
    /// TCP addresses; likewise.
    #[serde(default)]
    pub tcp: Vec<SocketAddr>,
    /// Threads that carry calls, 1 to 64; absent: one per core, less one for everything else, at least 1.
    pub shards: Option<usize>,
    /// Address put into Contact and Via when the one listened on is not the one that others reach.
    pub advertised: Option<SocketAddr>,
    /// Addresses that all nodes listen on.
    #[serde(default)]
    pub shared: Shared,
}

/// SIP listeners on addresses that are alike on all nodes. A node need not have them when it starts: one at a time may
/// have them (VRRP), or all at once (anycast). They stand for themselves in Contact and Via, whatever is advertised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shared {
    /// UDP addresses, at most 16 with those of TCP.
    pub udp: Vec<SocketAddr>,
    /// TCP addresses.
    pub tcp: Vec<SocketAddr>,
}

impl Sip {
    fn shared_fault(&self) -> Option<String> {
        let Shared { udp, tcp } = &self.shared;
        if udp.len() + tcp.len() > SHARED_MAX {
            return Some(format!("names more than {SHARED_MAX} addresses"));
        }
        for (shared, own) in [(udp, &self.udp), (tcp, &self.tcp)] {
            for (at, address) in shared.iter().enumerate() {
                let text = |text: &str| Some(format!("names `{address}`, {text}"));
                if address.ip().is_unspecified() || address.port() == 0 {
                    return text("which is no certain address and port");
                }
                if shared[..at].contains(address) {
                    return text("twice");
                }
                let covers = |own: &&SocketAddr| {
                    own.port() == address.port()
                        && own.is_ipv4() == address.is_ipv4()
                        && (own.ip() == address.ip() || own.ip().is_unspecified())
                };
                if let Some(own) = own.iter().find(covers) {
                    return text(&format!("which `{own}` of this node covers"));
                }
            }
        }
        None
    }
}

/// Consensus.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The cluster's name; nodes of another one are refused.
    pub id: String,
    /// Where the other nodes' links arrive.
    pub listen: SocketAddr,
    /// All voters, this node included, alike on all of them: who begins the cluster. Once it exists its members are
    /// what the cluster says; an address here is then tried after the one that was given when the node was added.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Certificates with which nodes prove to each other who they are; absent: links are in the clear.
    pub tls: Option<LinkTls>,
    /// Highest level that this node speaks and writes, to rehearse an upgrade; absent: all that its release can.
    pub max_level: Option<Level>,
    /// This node never begins a cluster: it waits until `tandem cluster add` takes it into one that exists.
    #[serde(default)]
    pub join: bool,
    /// Time between a leader's heartbeats.
    #[serde(default = "heartbeat_ms")]
    pub heartbeat_ms: u64,
    /// Shortest and longest wait before an election.
    #[serde(default = "election_ms")]
    pub election_ms: [u64; 2],
}

impl Cluster {
    /// Links leave this machine in the clear.
    pub fn has_plain_links(&self) -> bool {
        self.tls.is_none() && !self.listen.ip().is_loopback()
    }
}

/// PEM files; read again while the node runs when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkTls {
    /// The authorities that node certificates are accepted of.
    pub ca: PathBuf,
    /// This node's certificate, for the name `node-N.tandem`, N its `node.id`.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its `node.id`.
    pub id: u64,
    /// Its `cluster.listen` as seen from here, `host:port`; a name survives a move.
    pub address: String,
}

/// Admin API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// File with the administrator's token, one line; readable by the owner only.
    pub token_file: PathBuf,
}

/// Logging.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// As `RUST_LOG` has it; that variable wins.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

impl Default for Log {
    fn default() -> Self {
        Log {
            // The consensus library repeats a dead peer's silence many times a second.
            filter: "info,openraft=error".to_owned(),
            json: false,
        }
    }
}

/// Bounds that keep one process healthy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Calls at once on this node; more get 503.
    pub calls_max: usize,
    /// Reservations under way at once; more get 503.
    pub reservations_max: usize,
    /// Wait for numbers, ms.
    pub reserve_ms: u64,
    /// Wait for the replication of an answer, 100 to 20,000 ms; a call whose answer takes longer is given up. Less than an
    /// election takes refuses answers whenever a leader dies; the callee itself waits 32 s.
    pub commit_ms: u64,
    /// Ringing, ms.
    pub ringing_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            calls_max: 50_000,
            reservations_max: 4_096,
            reserve_ms: 2_000,
            commit_ms: 3_000,
            ringing_ms: 120_000,
        }
    }
}

fn lease_ms() -> u32 {
    3_000
}

fn heartbeat_ms() -> u64 {
    50
}

fn election_ms() -> [u64; 2] {
    [150, 300]
}

/// Where definitions of platforms are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vendors {
    /// A folder whose `.toml` files are read when the node starts; one of a built-in's name
    /// replaces it. All nodes must have the same files.
    pub definitions: Option<PathBuf>,
}

/// How platforms reach us.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Callbacks {
    /// Where `/callbacks` of this node's admin port is found from outside, such as
    /// `https://switch.example.com`; alike on all nodes behind one address. Some platforms sign the
    /// URL that they call, and behind a proxy that is not the one which arrives here. Absent: the
    /// `Host` that a request names, over plain HTTP.
    pub public_url: Option<String>,
}

impl Callbacks {
    fn fault(&self) -> Option<&'static str> {
        let url = self.public_url.as_deref()?;
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        match rest {
            None => Some("must begin with https:// or http://"),
            Some("") => Some("names no host"),
            Some(_) if url.len() > 1_024 => Some("is longer than 1024 bytes"),
            Some(rest) if rest.ends_with('/') => Some("must not end with a slash"),
            Some(rest) if rest.contains(|c: char| "?#@\\".contains(c) || c <= ' ') => {
                Some("holds what is neither host nor path")
            }
            Some(_) => None,
        }
    }
}

/// Why a node file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("config `{path}` cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("config `{path}` line {line} column {column}: {text}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Counts from 1.
        line: usize,
        /// Counts from 1.
        column: usize,
        /// What is wrong.
        text: String,
    },
    /// A value is out of its bounds or contradicts another.
    #[error("config `{path}`: `{key}` {text}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Dotted key.
        key: &'static str,
        /// What is wrong.
        text: String,
    },
}

impl Config {
    /// Reads and checks a node file.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Config::parse(path, &text)
    }

    /// Reads and checks the text of a node file; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        let config: Config = toml::from_str(text).map_err(|error| {
            let (line, column) = place(text, error.span().map_or(0, |span| span.start));
            let text = error.message().lines().collect::<Vec<_>>().join(", ");
            ConfigError::Wrong {
                path: path.to_owned(),
                line,
                column,
                text,
            }
        })?;
        match config.fault() {
            None => Ok(config),
            Some((key, text)) => Err(ConfigError::Invalid {
                path: path.to_owned(),
                key,
                text,
            }),
        }
    }

    fn fault(&self) -> Option<(&'static str, String)> {
        let fault = |key, text: &str| Some((key, text.to_owned()));
        if self.node.id == 0 {
            return fault("node.id", "must be 1 or more");
        }
        if u32::try_from(self.node.id).is_err() {
            return fault("node.id", "must be at most 4294967295");
        }
        if self.node.access_name.is_empty() || self.node.access_name.len() > 64 {
            return fault("node.access_name", "must have 1 to 64 bytes");
        }
        if !(1_000..=60_000).contains(&self.node.lease_ms) {
            return fault("node.lease_ms", "must lie between 1000 and 60000");
        }
        if !(100..=20_000).contains(&self.limits.commit_ms) {
            return fault("limits.commit_ms", "must lie between 100 and 20000");
        }
        if self.sip.udp.is_empty() && self.sip.tcp.is_empty() {
            return fault("sip", "names no listener");
        }
        if let Some(text) = self.sip.shared_fault() {
            return Some(("sip.shared", text));
        }
        if self.sip.shards.is_some_and(|n| !(1..=64).contains(&n)) {
            return fault("sip.shards", "must lie between 1 and 64");
        }
        if self.cluster.id.is_empty() || self.cluster.id.len() > 64 {
            return fault("cluster.id", "must have 1 to 64 bytes");
        }
        let mut ids: Vec<_> = self.cluster.peers.iter().map(|peer| peer.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return fault("cluster.peers", "name an id twice");
        }
        if !self.cluster.join && ids.binary_search(&self.node.id).is_err() {
            return Some((
                "cluster.peers",
                format!("do not name node {}", self.node.id),
            ));
        }
        let bad = |peer: &&Peer| Member::check(peer.id, &peer.address).is_err();
        if let Some(peer) = self.cluster.peers.iter().find(bad) {
            return Some((
                "cluster.peers",
                format!(
                    "name `{}`, which is not host:port",
                    peer.address.escape_debug()
                ),
            ));
        }
        let spoken = self.cluster.max_level.unwrap_or(SPOKEN);
        if !(FIRST..=SPOKEN).contains(&spoken) {
            let text = format!("must lie between {FIRST} and {SPOKEN}");
            return Some(("cluster.max_level", text));
        }
        let [shortest, longest] = self.cluster.election_ms;
        if shortest <= self.cluster.heartbeat_ms || longest <= shortest {
            return fault(
                "cluster.election_ms",
                "must be [shortest, longest], both above heartbeat_ms",
            );
        }
        self.callbacks
            .fault()
            .and_then(|text| fault("callbacks.public_url", text))
    }

    /// Threads that carry calls.
    pub fn shards(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.sip
            .shards
            .unwrap_or_else(|| cores.saturating_sub(1).clamp(1, 64))
    }
}

/// Line and column of a byte offset, both from 1.
pub(crate) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .count()
        + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[node]
id = 1
access_name = "east-1"
data_dir = "data"
[sip]
udp = ["127.0.0.1:5060"]
[cluster]
id = "east"
listen = "127.0.0.1:5070"
peers = [{ id = 1, address = "127.0.0.1:5070" }]
[admin]
listen = "127.0.0.1:5080"
token_file = "token"
"#;

    fn check(from: &str, to: &str, want: &str) {
        let text = GOOD.replacen(from, to, 1);
        let error = Config::parse(Path::new("n.toml"), &text)
            .expect_err("must be refused")
            .to_string();
        assert_eq!(error, format!("config `n.toml`{want}"));
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = Config::parse(Path::new("n.toml"), GOOD).expect("is whole");
        assert_eq!(config.node.lease_ms, 3_000);
        assert_eq!(config.limits.calls_max, 50_000);
    }

    #[test]
    fn a_node_that_joins_needs_no_peers() {
        let peers = r#"peers = [{ id = 1, address = "127.0.0.1:5070" }]"#;
        let text = GOOD.replacen(peers, "join = true", 1);
        let config = Config::parse(Path::new("n.toml"), &text).expect("is whole");
        assert!(config.cluster.join && config.cluster.peers.is_empty());
        let secured = text.replacen(
            "[admin]",
            "[cluster.tls]\nca = \"ca.pem\"\ncertificate = \"n.pem\"\nkey = \"n.key\"\n[admin]",
            1,
        );
        let config = Config::parse(Path::new("n.toml"), &secured).expect("is whole");
        assert!(config.cluster.tls.is_some() && !config.cluster.has_plain_links());
        let named = GOOD.replacen("127.0.0.1:5070\" }", "node-1.switch.example:5070\" }", 1);
        assert!(Config::parse(Path::new("n.toml"), &named).is_ok());
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        check("id = 1", "id = 0", ": `node.id` must be 1 or more");
        check(
            "[admin]",
            "[limits]\ncommit_ms = 32000\n[admin]",
            ": `limits.commit_ms` must lie between 100 and 20000",
        );
        check(
            "id = 1\n",
            "id = 2\n",
            ": `cluster.peers` do not name node 2",
        );
        check(
            "address = \"127.0.0.1:5070\"",
            "address = \"127.0.0.1\"",
            ": `cluster.peers` name `127.0.0.1`, which is not host:port",
        );
        check(
            r#"udp = ["127.0.0.1:5060"]"#,
            "",
            ": `sip` names no listener",
        );
        for (url, fault) in [
            ("switch.example.com", "must begin with https:// or http://"),
            ("https://", "names no host"),
            ("https://switch.example.com/", "must not end with a slash"),
            (
                "https://me:secret@host",
                "holds what is neither host nor path",
            ),
        ] {
            check(
                "[admin]",
                &format!("[callbacks]\npublic_url = \"{url}\"\n[admin]"),
                &format!(": `callbacks.public_url` {fault}"),
            );
        }
        for (shared, fault) in [
            (
                "udp = [\"0.0.0.0:5062\"]",
                "names `0.0.0.0:5062`, which is no certain address and port",
            ),
            (
                "tcp = [\"192.0.2.1:0\"]",
                "names `192.0.2.1:0`, which is no certain address and port",
            ),
            (
                "udp = [\"127.0.0.1:5060\"]",
                "names `127.0.0.1:5060`, which `127.0.0.1:5060` of this node covers",
            ),
            (
                "udp = [\"192.0.2.1:5060\", \"192.0.2.1:5060\"]",
                "names `192.0.2.1:5060`, twice",
            ),
        ] {
            check(
                "[cluster]",
                &format!("[sip.shared]\n{shared}\n[cluster]"),
                &format!(": `sip.shared` {fault}"),
            );
        }
        let text = GOOD.replacen("data_dir", "data_dri", 1);
        let error = Config::parse(Path::new("n.toml"), &text)
            .expect_err("must be refused")
            .to_string();
        assert!(
            error.starts_with("config `n.toml` line 5 column 1: unknown field `data_dri`"),
            "{error}"
        );
        let text = GOOD.replacen("5060\"", "x\"", 1);
        let error = Config::parse(Path::new("n.toml"), &text)
            .expect_err("must be refused")
            .to_string();
        assert!(
            error.starts_with("config `n.toml` line 7 column"),
            "{error}"
        );
    }
}
