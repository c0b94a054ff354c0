//! Three real nodes on loopback with a small state of their own, for tests and benches.
#![allow(dead_code)]

use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tandem_cluster::handle::{
    Config, Handle, Machine, Member, MemberError, MemberStatus, Role, Snapshots,
};
use tempfile::TempDir;

/// Notes ids in the order in which they come, each once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Notes {
    /// Where each id stands.
    pub places: OrdMap<u64, u64>,
    /// The ids.
    pub order: Vector<u64>,
    /// Commands applied, repeats included.
    pub applied: u64,
    /// Clock of the last one.
    pub at: u64,
    /// Who votes.
    pub voters: BTreeSet<u64>,
    /// Mixed from all seeds: alike only where the same entries were applied alike.
    pub mix: u64,
}

/// Notes an id; `weight` makes the entry heavier.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Note {
    pub id: u64,
    pub weight: Vec<u8>,
}

impl Note {
    pub fn new(id: u64) -> Self {
        Note {
            id,
            weight: vec![7; 60],
        }
    }
}

impl Machine for Notes {
    type Command = Note;
    type Reply = u64;
    type Effect = u64;
    type Context = ();

    fn initial() -> Self {
        Notes::default()
    }

    fn apply_one(&mut self, at: u64, seed: u64, command: &Note, (): &()) -> (u64, Vec<u64>) {
        self.applied += 1;
        self.at = self.at.max(at);
        if let Some(place) = self.places.get(&command.id) {
            return (*place, vec![]);
        }
        self.mix = self.mix.rotate_left(7) ^ seed;
        let place = self.order.len() as u64;
        self.places.insert(command.id, place);
        self.order.push_back(command.id);
        (place, vec![command.id])
    }

    fn set_voters(&mut self, voters: BTreeSet<u64>) {
        self.voters = voters;
    }
}

pub type Node = Handle<Notes>;

/// A cluster of three whose nodes may be down.
pub struct Three<M: Machine = Notes> {
    pub nodes: Vec<Option<Handle<M>>>,
    pub configs: Vec<Config>,
    /// What each node lends its state.
    pub contexts: Vec<Arc<M::Context>>,
    dirs: Vec<TempDir>,
}

/// Addresses of this machine that nobody listens at. Their ports lie below those that the kernel gives to connections and
/// to whoever asks for any: a node that is down for a while finds its own free when it comes back.
pub fn free_addresses(n: usize) -> Vec<SocketAddr> {
    let mut listeners = Vec::new();
    for _ in 0..1_000 {
        if listeners.len() == n {
            break;
        }
        let drawn = RandomState::new().build_hasher().finish();
        let port = 11_000 + (drawn % 21_000) as u16;
        listeners.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    assert_eq!(listeners.len(), n, "too few ports are free");
    let addresses = listeners.iter().map(|listener| listener.local_addr());
    addresses
        .map(|address| address.expect("is bound"))
        .collect()
}

/// Waits until something is so.
pub async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(20), "not {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Nodes at these addresses, with ids from 1 on.
pub fn members<A: ToString>(addresses: &[A]) -> Vec<Member> {
    let member = |(id, address): (u64, &A)| Member {
        id,
        address: address.to_string(),
    };
    (1..).zip(addresses).map(member).collect()
}

impl Three {
    pub async fn start() -> Three {
        Three::start_with(|_| ()).await
    }

    pub async fn start_with(change: impl Fn(&mut Config)) -> Three {
        Three::start_many(3, change).await
    }

    /// The same with another number of nodes.
    pub async fn start_many(count: usize, change: impl Fn(&mut Config)) -> Three {
        Three::open((0..count).map(|_| Arc::new(())).collect(), change).await
    }
}

impl<M: Machine> Three<M> {
    /// A node for each context.
    pub async fn open(contexts: Vec<Arc<M::Context>>, change: impl Fn(&mut Config)) -> Self {
        let count = contexts.len();
        let addresses = free_addresses(count);
        let members = members(&addresses);
        let dirs: Vec<_> = (0..count)
            .map(|_| tempfile::tempdir().expect("temporary directory"))
            .collect();
        let configs = (1..)
            .zip(&dirs)
            .zip(&addresses)
            .map(|((id, dir), address)| {
                let mut config = Config::new(id, "test", dir.path(), *address, members.clone());
                change(&mut config);
                config
            })
            .collect();
        let mut three = Three {
            nodes: vec![None; count],
            configs,
            contexts,
            dirs,
        };
        for at in 0..count {
            three.up(at).await;
        }
        three
    }

    /// Starts one more node, which waits to be added, and returns its place and what to add.
    pub async fn grow(&mut self) -> (usize, Member) {
        let (at, dir) = (
            self.nodes.len(),
            tempfile::tempdir().expect("temporary directory"),
        );
        let member = Member {
            id: at as u64 + 1,
            address: free_addresses(1)[0].to_string(),
        };
        let listen = member.address.parse().expect("is an address");
        let mut config = Config::new(member.id, "test", dir.path(), listen, vec![]);
        config.join = true;
        config.snapshots = self.configs[0].snapshots;
        self.configs.push(config);
        self.contexts.push(self.contexts[0].clone());
        self.dirs.push(dir);
        self.nodes.push(None);
        self.up(at).await;
        (at, member)
    }

    /// Empties a node's disk, which must be down.
    pub fn wipe(&mut self, at: usize) {
        assert!(self.nodes[at].is_none());
        let dir = tempfile::tempdir().expect("temporary directory");
        self.configs[at].data_dir = dir.path().to_path_buf();
        self.dirs[at] = dir;
    }

    /// Has the leader of the moment do something until it is done.
    pub async fn by_leader<T>(
        &self,
        act: impl AsyncFn(&Handle<M>) -> Result<T, MemberError>,
    ) -> Result<T, MemberError> {
        let begun = Instant::now();
        loop {
            let leading = self
                .up_nodes()
                .find(|(_, node)| node.standing().borrow().role == Role::Leader);
            let outcome = match leading {
                Some((_, node)) => act(node).await,
                None => Err(MemberError::NotLeader(None)),
            };
            match outcome {
                Err(MemberError::NotLeader(_) | MemberError::Busy)
                    if begun.elapsed() < Duration::from_secs(20) =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Adds a node until it votes.
    pub async fn add(&self, member: &Member, replaces: Option<u64>) -> Result<(), MemberError> {
        let begun = Instant::now();
        loop {
            let step = self
                .by_leader(async |node| node.add_member(member.clone(), replaces).await)
                .await?;
            if step.voter {
                return Ok(());
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "has not caught up: {step:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn remove(&self, node: u64, force: bool) -> Result<bool, MemberError> {
        self.by_leader(async |leader| leader.remove_member(node, force).await)
            .await
    }

    pub async fn up(&mut self, at: usize) {
        let node = Handle::open(self.configs[at].clone(), self.contexts[at].clone()).await;
        self.nodes[at] = Some(node.expect("starts"));
    }

    /// Stops a node without any order.
    pub fn kill(&mut self, at: usize) {
        if let Some(node) = self.nodes[at].take() {
            node.kill();
        }
    }

    pub fn node(&self, at: usize) -> &Handle<M> {
        self.nodes[at].as_ref().expect("node is up")
    }

    pub fn up_nodes(&self) -> impl Iterator<Item = (usize, &Handle<M>)> {
        self.nodes
            .iter()
            .enumerate()
            .filter_map(|(at, node)| Some((at, node.as_ref()?)))
    }

    /// Waits until every node has been told by every other what time it is and how far it is.
    pub async fn hear(&self) {
        let told = |member: &MemberStatus| member.alive && member.applied.is_some();
        let heard = |node: &Handle<M>| node.status().members.iter().all(told);
        until("heard of each other", || {
            self.up_nodes().all(|(_, node)| heard(node))
        })
        .await;
    }

    /// Waits for a leader that the living agree on.
    pub async fn leader(&self) -> usize {
        let begun = Instant::now();
        loop {
            let leaders: Vec<usize> = self
                .up_nodes()
                .filter(|(_, node)| node.standing().borrow().role == Role::Leader)
                .map(|(at, _)| at)
                .collect();
            if let [leader] = leaders[..]
                && self
                    .up_nodes()
                    .all(|(_, node)| node.standing().borrow().leader == Some(leader as u64 + 1))
            {
                return leader;
            }
            if begun.elapsed() >= Duration::from_secs(20) {
                let said: Vec<_> = self.up_nodes().map(|(_, node)| node.status()).collect();
                panic!("no leader: {said:#?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        self.up_nodes()
            .map(|(at, _)| at)
            .find(|at| *at != leader)
            .expect("two are up")
    }
}

impl<M: Machine + PartialEq + std::fmt::Debug> Three<M> {
    /// Waits until all living nodes have applied the same and checks that they agree.
    pub async fn agree(&self) -> Arc<M> {
        let begun = Instant::now();
        loop {
            let applied: Vec<u64> = self
                .up_nodes()
                .map(|(_, node)| node.status().applied)
                .collect();
            if applied.windows(2).all(|pair| pair[0] == pair[1]) {
                let states: Vec<_> = self.up_nodes().map(|(_, node)| node.state()).collect();
                let still: Vec<u64> = self
                    .up_nodes()
                    .map(|(_, node)| node.status().applied)
                    .collect();
                if still == applied {
                    for pair in states.windows(2) {
                        assert_eq!(pair[0], pair[1], "states part at the same index");
                    }
                    return states[0].clone();
                }
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "nodes do not come together: {applied:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Snapshots after a handful of entries.
pub fn small_snapshots(config: &mut Config) {
    config.snapshots = Snapshots {
        entries: 50,
        bytes: 64 << 20,
        keep: 10,
    };
}
