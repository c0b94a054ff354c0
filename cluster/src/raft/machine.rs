//! The state machine as the library wants it, over a [`Driver`] that knows the state's types.

use super::batch::{self, Batch};
use super::snapshot::{SnapshotFile, Store};
use super::time::LogTime;
use super::types::{self, LogId, Members, Replies, StoredMembership, TypeConfig};
use crate::beside::beside;

use crate::level::{self, Level, Levels};
use crate::wal::{Wal, record as own};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{EntryPayload, OptionalSend};
use std::any::Any;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Writes a frozen state out.
pub(crate) type Freeze = Box<dyn Fn(&mut dyn Write) -> io::Result<()> + Send + Sync>;
/// Reads a state.
pub(crate) type Thaw = Box<dyn FnOnce(&[u8]) -> io::Result<Box<dyn Any + Send>> + Send>;

/// The state, its types hidden.
pub(crate) trait Driver: Send + Sync + 'static {
    /// Applies a batch; encoded replies in the commands' order if `answer`, nothing otherwise.
    fn apply(&mut self, id: own::LogId, batch: Batch, answer: bool) -> io::Result<Vec<Bytes>>;
    /// Where the state has the cluster's level.
    fn levels(&self) -> Levels {
        Levels::default()
    }
    /// Tells the state who votes, of all configurations in force.
    fn set_voters(&mut self, voters: BTreeSet<u64>);
    /// Everything below this index is applied: whoever is told so from now on must be able to see it.
    fn applied(&mut self, upto: u64);
    /// Hands effects of applied batches on; waits while the receiver is behind.
    fn deliver(&mut self) -> Option<BoxFuture<'_, ()>>;
    /// The state of this moment, to be written by another thread.
    fn freeze(&self) -> Freeze;
    /// How to read a state.
    fn thaw(&self) -> Thaw;
    /// Applies a batch to a state aside.
    fn replay(&self, state: &mut (dyn Any + Send), id: own::LogId, batch: Batch) -> io::Result<()>;
    /// As [`Driver::set_voters`], for a state aside.
    fn replay_voters(&self, state: &mut (dyn Any + Send), voters: BTreeSet<u64>);
    /// Puts a state read by [`Driver::thaw`] in place.
    fn replace(&mut self, state: Box<dyn Any + Send>, upto: u64);
}

/// What is shared with the rest of the node.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Index of the last applied entry plus one; the state can be seen with it.
    pub(crate) applied: watch::Sender<u64>,
    /// Told when the log since the last snapshot has become too heavy.
    pub(crate) heavy: Notify,
    /// Nodes that were members once, as of the last applied entry.
    pub(crate) former: watch::Sender<BTreeSet<u64>>,
    /// The cluster's level, as of the last applied entry.
    pub(crate) levels: watch::Sender<Levels>,
    /// The highest level that this node speaks.
    pub(crate) spoken: Level,
    time: Mutex<LogTime>,
    begun: Instant,
}

impl Progress {
    /// Of a node that speaks levels up to `spoken`.
    pub(crate) fn new(spoken: Level) -> Self {
        Progress {
            applied: watch::Sender::new(0),
            heavy: Notify::new(),
            former: watch::Sender::default(),
            levels: watch::Sender::default(),
            spoken,
            time: Mutex::default(),
            begun: Instant::now(),
        }
    }

    /// The log's time, held for a moment.
    pub(crate) fn time(&self) -> MutexGuard<'_, LogTime> {
        self.time
            .lock()
            .expect("no code panics while it holds the time")
    }

    fn set_levels(&self, levels: Levels) {
        self.levels
            .send_if_modified(|known| std::mem::replace(known, levels) != levels);
    }

    /// Microseconds of the clock that [`Progress::time`] is told of.
    pub(crate) fn now_us(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }
}

/// The state machine.
pub(crate) struct StateMachine {
    driver: Box<dyn Driver>,
    store: Arc<Store>,
    log: Wal,
    last: Option<own::LogId>,
    members: Members,
    /// Nodes that were members before; their ids are never given again.
    former: BTreeSet<u64>,
    progress: Arc<Progress>,
    /// Bytes of entries applied since the last snapshot was begun.
    weight: u64,
    weight_max: u64,
}

impl StateMachine {
    pub(crate) fn new(
        driver: Box<dyn Driver>,
        store: Arc<Store>,
        log: Wal,
        progress: Arc<Progress>,
        weight_max: u64,
    ) -> Self {
        let (last, members) = (None, Members::default());
        StateMachine {
            driver,
            store,
            log,
            last,
            members,
            former: BTreeSet::new(),
            progress,
            weight: 0,
            weight_max,
        }
    }

    /// Puts another node's state in place of this one's. It has every entry below `upto`; what was applied here behind
    /// that is applied to it from the own log, without replies and effects, for those were given the first time. The
    /// log, the vote and the members are not touched: to the consensus nothing has happened. Answers the index after
    /// the last entry.
    pub(crate) fn put_in_place(
        &mut self,
        mut state: Box<dyn Any + Send>,
        upto: u64,
    ) -> io::Result<u64> {
        let end = self.last.map_or(0, |last| last.index + 1);
        if upto > end {
            return Err(invalid(format!(
                "entries below {upto} are not all applied here"
            )));
        }
        let mut next = upto;
        while next < end {
            let entries = self.log.read(next..end)?;
            if entries.is_empty() {
                return Err(invalid(format!("entry {next} is no longer in the log")));
            }
            for own::Entry { id, payload } in entries {
                if id.index != next {
                    return Err(invalid(format!("entry {next} is no longer in the log")));
                }
                match payload {
                    own::Payload::Blank => {}
                    own::Payload::Normal(bytes) => {
                        let batch = self.batch(id, &bytes)?;
                        self.driver.replay(&mut *state, id, batch)?;
                    }
                    own::Payload::Membership(membership) => {
                        let voters = membership.configs.iter().flatten().copied().collect();
                        self.driver.replay_voters(&mut *state, voters);
                    }
                }
                next += 1;
            }
        }
        self.driver.replace(state, end);
        self.progress.set_levels(self.driver.levels());
        self.driver.applied(end);
        tracing::warn!(
            index = end,
            copied = upto,
            "state replaced by another node's"
        );
        Ok(end)
    }

    fn batch(&self, id: own::LogId, bytes: &Bytes) -> io::Result<Batch> {
        batch::decode(bytes, self.progress.spoken)
            .map_err(|error| invalid(format!("{id}: {error}")))
    }

    fn freeze(&mut self) -> Builder {
        self.weight = 0;
        let freeze = Some(self.driver.freeze());
        Builder {
            freeze,
            level: self.driver.levels().active,
            last: self.last,
            members: self.members.clone(),
            former: self.former.clone(),
            store: self.store.clone(),
        }
    }

    fn set_members(&mut self, members: Members) {
        let stays = |node: &u64| members.membership.nodes.iter().any(|(id, _)| id == node);
        let before = self.members.membership.nodes.iter().map(|(id, _)| *id);
        let mut former: BTreeSet<u64> = self.former.iter().copied().chain(before).collect();
        former.retain(|node| !stays(node));
        self.former = former;
        self.members = members;
        self.progress.former.send_replace(self.former.clone());
    }
}

/// A full disk is looked at again after this long.
const FULL_WAIT: Duration = Duration::from_secs(5);

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let members = types::from_members(&self.members).map_err(invalid)?;
        Ok((self.last.as_ref().map(types::from_log_id), members))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let begun = Instant::now();
        let mut answers: Vec<(ApplyResponder<TypeConfig>, Replies)> = Vec::new();
        let (mut count, mut commands) = (0, 0);
        let mut at = None;
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let id = types::to_log_id(&entry.log_id);
            let replies = match entry.payload {
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Normal(payload) => {
                    self.weight += payload.0.len() as u64;
                    let batch = self.batch(id, &payload.0)?;
                    commands += batch.commands.len();
                    at = Some(batch.at);
                    self.driver.apply(id, batch, responder.is_some())?
                }
                EntryPayload::Membership(membership) => {
                    self.driver.set_voters(membership.voter_ids().collect());
                    self.set_members(Members {
                        id: Some(id),
                        membership: types::to_membership(&membership),
                    });
                    Vec::new()
                }
            };
            self.last = Some(id);
            count += 1;
            if let Some(responder) = responder {
                answers.push((responder, Replies(replies)));
            }
        }
        // The state can be seen before the proposer sees its reply.
        self.progress.set_levels(self.driver.levels());
        if let Some(last) = self.last {
            self.driver.applied(last.index + 1);
            if let Some(at) = at {
                self.progress.time().seen(at, self.progress.now_us());
            }
            self.progress.applied.send_replace(last.index + 1);
        }
        for (responder, replies) in answers {
            responder.send(replies);
        }
        crate::metrics::applied(begun.elapsed(), count, commands);
        if self.weight > self.weight_max {
            self.weight = 0;
            self.progress.heavy.notify_one();
        }
        if let Some(delivery) = self.driver.deliver() {
            delivery.await;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.freeze()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotFile,
    ) -> io::Result<()> {
        let (thaw, store) = (self.driver.thaw(), self.store.clone());
        let last = meta.last_log_id.as_ref().map(types::to_log_id);
        let spoken = self.progress.spoken;
        let installing = beside(move || {
            let (header, bytes) = snapshot.load()?;
            level::check(|| "snapshot".into(), header.level, spoken).map_err(invalid)?;
            if header.last != last {
                return Err(invalid("snapshot is not the one announced"));
            }
            let state = thaw(&bytes)?;
            store.adopt(&snapshot.path, last)?;
            Ok::<_, io::Error>((state, header))
        });
        let (state, header) = installing.await??;
        let upto = last.map_or(0, |last| last.index + 1);
        self.driver.replace(state, upto);
        self.progress.set_levels(self.driver.levels());
        self.last = last;
        self.members = header.members;
        self.former = header.former;
        self.progress.former.send_replace(self.former.clone());
        self.weight = 0;
        self.driver.applied(upto);
        self.progress.applied.send_replace(upto);
        tracing::info!(
            index = last.map_or(0, |last| last.index),
            "installed a snapshot"
        );
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotFile>>> {
        let store = self.store.clone();
        let Some((header, snapshot)) = beside(move || store.newest()).await?? else {
            return Ok(None);
        };
        Ok(Some(SnapshotOf::<TypeConfig, SnapshotFile> {
            meta: header.meta().map_err(invalid)?,
            snapshot,
        }))
    }
}

/// Writes one snapshot.
pub(crate) struct Builder {
    freeze: Option<Freeze>,
    /// Of the state.
    level: Level,
    last: Option<own::LogId>,
    members: Members,
    former: BTreeSet<u64>,
    store: Arc<Store>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, SnapshotFile>> {
        let freeze = self
            .freeze
            .take()
            .ok_or_else(|| io::Error::other("a builder builds once"))?;
        let (store, last, level) = (self.store.clone(), self.last, self.level);
        let (members, former) = (self.members.clone(), self.former.clone());
        let begun = Instant::now();
        let freeze = Arc::new(freeze);
        let meta = SnapshotMetaOf::<TypeConfig> {
            last_log_id: last.as_ref().map(types::from_log_id),
            last_membership: types::from_members(&members).map_err(invalid)?,
        };
        let snapshot = loop {
            let (store, freeze) = (store.clone(), freeze.clone());
            let (members, former) = (members.clone(), former.clone());
            let write = move || store.write(level, last, members, former, |out| freeze(out));
            match beside(write).await? {
                // Without it the log only grows longer: no reason to stop.
                Err(error) if is_full(&error) => {
                    tracing::error!(%error, "snapshot finds no room on the disk, it waits for some");
                    tokio::time::sleep(FULL_WAIT).await;
                }
                outcome => break outcome?,
            }
        };
        let (index, bytes) = (last.map_or(0, |last| last.index), snapshot.bytes);
        crate::metrics::snapshot_built(begun.elapsed(), bytes);
        tracing::info!(index, bytes, "built a snapshot");
        Ok(SnapshotOf::<TypeConfig, SnapshotFile> { meta, snapshot })
    }
}
