//! Who the nodes are: where each is reached, by which disk it is known, and who is out.
//!
//! A node's id must never come back with an empty disk: what it had acknowledged would be missing from a majority
//! that counted it. So each data directory gets a random number when it is made, nodes tell each other theirs in the
//! handshake, and each keeps the first one that it sees of an id for good. A node with another one is turned away, and
//! so is one that was removed from the cluster; it is told so, and stops.
//!
//! The file `roster` in the data directory holds a fact a line: `disk`, `origin`, `level`, and `peer` for each node met.
//!
//! Nodes also tell each other which [level](crate::level) they speak and at which they know the cluster to be. One that
//! speaks a lower level than the cluster is at is told so by whoever it meets, and stops.

use super::AnyNet;
use super::tls::{self, Tls};
use super::{Hello, LinkError, PROTOCOL, Rejection, Welcome};
use crate::beside::beside;
use crate::codec;
use crate::level::{self, Level, TooNew};
use crate::link::Channel;
use crate::wal::AnyDisk;
use crate::wal::Identity;
use crate::wal::disk::{Disk, DiskError, RealDisk, read_whole, write_whole};
use rustls::pki_types::CertificateDer;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};
use tokio::sync::watch;

/// Nodes that a founding hello may name.
const FOUNDERS_MAX: usize = 64;

/// What is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    /// This data directory.
    disk: u64,
    /// The highest level that the cluster was known to be at.
    level: Level,
    /// What the cluster was begun from: 0 for nothing, else the backup's mark. `None` until this node has a log.
    origin: Option<u64>,
    /// The data directories of the others.
    peers: BTreeMap<u64, u64>,
}

impl Known {
    fn new(disk: u64) -> Self {
        Known {
            disk,
            level: level::FIRST,
            origin: None,
            peers: BTreeMap::new(),
        }
    }

    fn parse(text: &str) -> Option<Known> {
        let mut known = Known::new(0);
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["disk", disk] => known.disk = u64::from_str_radix(disk, 16).ok()?,
                ["level", level] => known.level = level.parse().ok()?,
                ["origin", origin] => known.origin = Some(u64::from_str_radix(origin, 16).ok()?),
                ["peer", node, disk] => {
                    let disk = u64::from_str_radix(disk, 16).ok()?;
                    known.peers.insert(node.parse().ok()?, disk);
                }
                _ => return None,
            }
        }
        (known.disk != 0).then_some(known)
    }

    fn text(&self) -> String {
        let mut text = format!("disk {:016x}\nlevel {}\n", self.disk, self.level);
        // Writing to a string cannot fail.
        if let Some(origin) = self.origin {
            let _ = writeln!(text, "origin {origin:016x}");
        }
        for (node, disk) in &self.peers {
            let _ = writeln!(text, "peer {node} {disk:016x}");
        }
        text
    }
}

/// A number that no other directory has.
fn random() -> u64 {
    // The hasher's keys come from the system's randomness.
    RandomState::new().hash_one("data directory") | 1
}

/// What the links of a node, and what is known of their other ends, stand on.
#[derive(Clone, Debug)]
pub(crate) struct Under {
    /// Where the roster lies.
    pub(crate) disk: AnyDisk,
    /// Where connections are made.
    pub(crate) net: AnyNet,
    /// Where links are encrypted, with what.
    pub(crate) tls: Option<Arc<Tls>>,
    /// The highest level that this node speaks.
    pub(crate) spoken: Level,
    /// Without a log this node would begin the cluster, not join it.
    pub(crate) founds: bool,
}

impl Default for Under {
    fn default() -> Self {
        Under {
            disk: AnyDisk::default(),
            net: AnyNet::default(),
            tls: None,
            spoken: level::SPOKEN,
            founds: false,
        }
    }
}

/// The members as this node's log has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// Everyone with the address that was given when it was added; empty before the first word of a cluster.
    pub(crate) nodes: BTreeMap<u64, String>,
    /// Who was one once.
    pub(crate) former: BTreeSet<u64>,
}

impl Members {
    fn is_former(&self, node: u64) -> bool {
        self.former.contains(&node) && !self.nodes.contains_key(&node)
    }
}

/// Shared by all links of a node.
#[derive(Debug)]
pub(crate) struct Roster {
    pub(crate) us: Identity,
    path: PathBuf,
    /// Nodes in this node's configuration.
    configured: BTreeMap<u64, String>,
    known: Mutex<Known>,
    members: RwLock<Members>,
    expelled: watch::Sender<Option<String>>,
    pub(crate) under: Under,
}

impl Roster {
    /// Begins the roster of a data directory that is restored from the backup with this mark, of a state of this level.
    /// Blocks.
    pub(crate) fn begin(dir: &Path, mark: u64, level: Level) -> Result<(), DiskError> {
        let path = dir.join("roster");
        let known = Known {
            level,
            origin: Some(mark),
            ..Known::new(random())
        };
        write_whole(&RealDisk, &path, known.text().as_bytes())
            .map_err(|source| DiskError::new("write", &path, source))
    }

    /// Refuses a data directory that may hold what this node cannot read. Asked before anything else is opened there.
    /// Blocks.
    pub(crate) fn check_level(disk: &dyn Disk, dir: &Path, spoken: Level) -> Result<(), TooNew> {
        // What else is wrong with the file is told when it is opened.
        let text = read_whole(disk, &dir.join("roster")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("level "));
        let level = lines.next().and_then(|level| level.parse().ok());
        let what = || format!("data directory `{}`", dir.display());
        level::check(what, level.unwrap_or(level::FIRST), spoken)
    }

    /// Reads the roster of a data directory, or begins one. Blocks. `has_log`: the directory held a log before.
    pub(crate) fn open(
        dir: &Path,
        us: Identity,
        configured: BTreeMap<u64, String>,
        has_log: bool,
        under: Under,
    ) -> Result<Roster, DiskError> {
        let path = dir.join("roster");
        let mut known = match read_whole(&*under.disk, &path) {
            Ok(text) => Known::parse(&String::from_utf8_lossy(&text)).ok_or_else(|| {
                let what = io::Error::new(io::ErrorKind::InvalidData, "lines are not as written");
                DiskError::new("read", &path, what)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Known::new(random()),
            Err(source) => return Err(DiskError::new("read", &path, source)),
        };
        if has_log {
            known.origin.get_or_insert(0);
        }
        write_whole(&*under.disk, &path, known.text().as_bytes())
            .map_err(|source| DiskError::new("write", &path, source))?;
        Ok(Roster {
            us,
            path,
            configured,
            known: Mutex::new(known),
            members: RwLock::default(),
            expelled: watch::Sender::new(None),
            under,
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known
            .lock()
            .expect("no code panics while it holds this")
    }

    pub(crate) fn members(&self) -> RwLockReadGuard<'_, Members> {
        self.members
            .read()
            .expect("no code panics while it holds this")
    }

    /// Who belongs to the cluster from now on, as far as this node knows.
    pub(crate) fn set_members(&self, members: Members) {
        if members.is_former(self.us.node) {
            self.expel(format!(
                "node {} was removed from cluster `{}`",
                self.us.node, self.us.cluster
            ));
        }
        *self
            .members
            .write()
            .expect("no code panics while it holds this") = members;
    }

    /// Where to reach a node: as the cluster has it, then as this node's configuration has it.
    pub(crate) fn addresses(&self, node: u64) -> Vec<String> {
        let members = self.members();
        let mut addresses: Vec<String> = members.nodes.get(&node).cloned().into_iter().collect();
        if let Some(configured) = self.configured.get(&node)
            && !addresses.contains(configured)
        {
            addresses.push(configured.clone());
        }
        addresses
    }

    /// Everyone this node has to do with, without itself: the members, or before there are any those configured.
    pub(crate) fn others(&self) -> BTreeMap<u64, String> {
        let members = self.members();
        let mut others = match members.nodes.is_empty() {
            true => self.configured.clone(),
            false => members.nodes.clone(),
        };
        others.remove(&self.us.node);
        others
    }

    /// Whether a node was taken out of the cluster.
    pub(crate) fn is_former(&self, node: u64) -> bool {
        self.members().is_former(node)
    }

    /// Why this node may take no part any more, once it is known.
    pub(crate) fn expelled(&self) -> watch::Receiver<Option<String>> {
        self.expelled.subscribe()
    }

    fn expel(&self, reason: String) {
        self.expelled.send_if_modified(|expelled| {
            let first = expelled.is_none();
            if first {
                tracing::error!(reason, "this node may take no part in the cluster");
                *expelled = Some(reason);
            }
            first
        });
    }

    /// This node begins a cluster that holds nothing; a reason when it may not.
    pub(crate) async fn found(self: &Arc<Self>) -> io::Result<Result<(), String>> {
        // Set when a node with a log has dialled us already.
        if self.known().origin.is_some_and(|origin| origin != 0) {
            return Ok(Err(self.was_restored(self.us.node)));
        }
        self.change(|known| known.origin.replace(0) != Some(0))
            .await?;
        Ok(Ok(()))
    }

    fn was_restored(&self, node: u64) -> String {
        format!(
            "cluster `{}` was restored from a backup: restore the same one on node {node}, or let it join",
            self.us.cluster
        )
    }

    /// Changes what is known, once that is on disk; `change` tells whether it changes anything.
    async fn change(
        self: &Arc<Self>,
        change: impl Fn(&mut Known) -> bool + Send + 'static,
    ) -> io::Result<()> {
        let mut known = self.known().clone();
        if !change(&mut known) {
            return Ok(());
        }
        let roster = self.clone();
        beside(move || {
            // Held over the write, so that the last change is the one that stays.
            let mut known = roster.known();
            let mut next = known.clone();
            if change(&mut next) {
                let text = next.text();
                write_whole(&*roster.under.disk, &roster.path, text.as_bytes())?;
                *known = next;
            }
            Ok(())
        })
        .await?
    }

    /// The cluster is at this level, as far as is known here.
    pub(crate) async fn set_level(self: &Arc<Self>, level: Level) -> io::Result<()> {
        let raise = move |known: &mut Known| {
            let higher = level > known.level;
            known.level = known.level.max(level);
            higher
        };
        self.change(raise).await
    }

    /// Finds that the node we dialled is too old for the cluster, or that we are.
    pub(crate) fn check_levels(
        &self,
        node: u64,
        address: &str,
        welcome: &Welcome,
    ) -> Result<(), LinkError> {
        let active = self.known().level.max(welcome.active);
        if let Some(reason) = self.too_old(active) {
            self.expel(reason.clone());
            let address = address.to_owned();
            return Err(LinkError::Rejected {
                node,
                address,
                reason,
            });
        }
        match welcome.level < active {
            false => Ok(()),
            true => Err(LinkError::TooOld {
                node,
                address: address.to_owned(),
                level: welcome.level,
                active,
            }),
        }
    }

    /// Why this node cannot take part in a cluster at this level.
    fn too_old(&self, active: Level) -> Option<String> {
        (active > self.under.spoken).then(|| {
            format!(
                "cluster `{}` is at level {active}, this node speaks {}: run a newer release on it",
                self.us.cluster, self.under.spoken
            )
        })
    }

    /// First words to a node. `founders`: who begins the cluster together with us, when we have no log yet.
    pub(crate) fn hello(&self, to: u64, channel: Channel, founders: &[u64]) -> Hello {
        let known = self.known();
        // Whoever would begin the cluster says so whatever it dials for: it must not be noted before that is settled.
        let founders = match self.under.founds && known.origin.is_none() {
            true => self.configured.keys().copied().collect(),
            false => founders.to_vec(),
        };
        Hello {
            protocol: PROTOCOL,
            cluster: self.us.cluster.clone(),
            from: self.us.node,
            to,
            channel,
            level: self.under.spoken,
            active: known.level,
            proof: Vec::new(),
            disk: known.disk,
            origin: known.origin,
            founders,
        }
    }

    /// The answer to a hello; `proof` is the certificate that its sender has proven. Whoever is welcome is known from then on.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        body: &[u8],
        proof: Option<&CertificateDer<'_>>,
    ) -> Result<(Hello, Welcome), Rejection> {
        let unread = |_| Rejection::passing("hello cannot be read".into());
        let protocol: u16 = codec::decode_front(body).map_err(unread)?;
        if protocol != PROTOCOL {
            let reason = format!("protocol {protocol} is not ours, {PROTOCOL}");
            return Err(Rejection::passing(reason));
        }
        let hello: Hello = codec::decode_front(body).map_err(unread)?;
        if proof.is_some_and(|proof| !tls::is_of(proof, hello.from)) {
            let reason = format!("certificate is not that of node {}", hello.from);
            return Err(Rejection::passing(reason));
        }
        self.check(&hello)?;
        let restored = hello.origin.is_some_and(|origin| origin != 0);
        if self.under.founds && restored && self.known().origin.is_none() {
            // We would have begun it with nothing. Nobody may note this data directory as ours: it goes, and the one that
            // holds the backup comes.
            let reason = self.was_restored(self.us.node);
            self.expel(reason.clone());
            return Err(Rejection::passing(reason));
        }
        self.meet(hello.from, hello.disk, hello.origin).await?;
        let known = self.known();
        let welcome = Welcome {
            disk: known.disk,
            origin: known.origin,
            level: self.under.spoken,
            active: known.level,
        };
        drop(known);
        Ok((hello, welcome))
    }

    fn check(&self, hello: &Hello) -> Result<(), Rejection> {
        let us = &self.us;
        let passing = |reason| Err(Rejection::passing(reason));
        if hello.cluster != us.cluster {
            let named: String = hello.cluster.chars().take(64).collect();
            return passing(format!("cluster `{named}` is not ours, `{}`", us.cluster));
        }
        if hello.to != us.node {
            return passing(format!("this is node {}, not {}", us.node, hello.to));
        }
        if hello.from == us.node {
            return passing(format!("node {} is us", hello.from));
        }
        if self.is_former(hello.from) {
            return Err(Rejection::lasting(format!(
                "node {} was removed from cluster `{}`",
                hello.from, us.cluster
            )));
        }
        let active = self.known().level;
        if hello.level < active {
            return Err(Rejection::lasting(format!(
                "node {} speaks level {}, cluster `{}` is at level {active}: run a newer release on it",
                hello.from, hello.level, us.cluster
            )));
        }
        if let Some(reason) = self.too_old(hello.active) {
            // It is welcome all the same, and finds in the answer that we are too old.
            self.expel(reason);
        }
        if !hello.founders.is_empty() {
            self.check_founder(hello)?;
        }
        Ok(())
    }

    /// A node without a log wants to begin the cluster.
    fn check_founder(&self, hello: &Hello) -> Result<(), Rejection> {
        let origin = self.known().origin;
        if origin.is_some_and(|origin| origin != 0) {
            return Err(Rejection::lasting(self.was_restored(hello.from)));
        }
        let members = self.members();
        let ours: Vec<u64> = match members.nodes.is_empty() {
            true => self.configured.keys().copied().collect(),
            false => members.nodes.keys().copied().collect(),
        };
        let theirs = &hello.founders[..hello.founders.len().min(FOUNDERS_MAX)];
        // Who joins has no list, and waits for somebody to tell.
        match ours.is_empty() || ours == theirs {
            true => Ok(()),
            false => Err(Rejection::lasting(format!(
                "cluster `{}` consists of nodes {}, not {}: a further node must be configured to join",
                self.us.cluster,
                list(&ours),
                list(theirs)
            ))),
        }
    }

    /// Notes whom we deal with, or finds that it is somebody else.
    pub(crate) async fn meet(
        self: &Arc<Self>,
        node: u64,
        disk: u64,
        origin: Option<u64>,
    ) -> Result<(), Rejection> {
        {
            let known = self.known();
            if known.peers.get(&node).is_some_and(|known| *known != disk) {
                return Err(Rejection::lasting(format!(
                    "node {node} comes with another data directory than the one it joined with: an id is never used \
                     again with an empty disk, add the machine under a new one"
                )));
            }
            if let (Some(ours), Some(theirs)) = (known.origin, origin)
                && ours != theirs
            {
                return Err(Rejection::passing(format!(
                    "nodes {node} and {} were begun from different backups",
                    self.us.node
                )));
            }
        }
        let noted = self.change(move |known| {
            let adopts = known.origin.is_none() && origin.is_some();
            if adopts {
                known.origin = origin;
            }
            known.peers.insert(node, disk).is_none() || adopts
        });
        // Without the note the node could come back later with another disk.
        noted
            .await
            .map_err(|error| Rejection::passing(format!("roster cannot be written: {error}")))
    }

    /// What a node that we dialled said to our hello.
    pub(crate) fn rejected(&self, node: u64, address: &str, rejection: Rejection) -> LinkError {
        let reason: String = rejection.reason.chars().take(300).collect();
        if rejection.lasting {
            self.expel(reason.clone());
        }
        LinkError::Rejected {
            node,
            address: address.to_owned(),
            reason,
        }
    }
}

fn list(nodes: &[u64]) -> String {
    let nodes: Vec<String> = nodes.iter().map(u64::to_string).collect();
    nodes.join(", ")
}

#[cfg(test)]
mod tests;
