//! Opens what a node has on disk, and starts its tasks.

use super::shared::Shared;
use super::watch;
use super::{Core, Standing};
use crate::beside::beside;
use crate::handle::levels::{self, Dialect};
use crate::handle::members;
use crate::handle::proposer::{Proposer, Queue};
use crate::handle::serve::Server;
use crate::handle::{Config, StartError, Timings};
use crate::link::tls::Tls;
use crate::link::{Channel, Dialer, LinkError, Roster, Under};
use crate::raft::Raft;
use crate::raft::machine::{Driver, Progress, StateMachine};
use crate::raft::network::Networks;
use crate::raft::snapshot::Store;
use crate::raft::store::LogStore;
use crate::wal::record::LogId;
use crate::wal::{Identity, Wal, WalError};
use openraft::SnapshotPolicy;
use openraft::errors::{InitializeError, RaftError};
use openraft::impls::BasicNode;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch::channel;

/// Opens a node: log, snapshot, roster and listener first, then everything that runs. `live` is called when the replay
/// is over.
pub(super) async fn open(
    config: Config,
    driver: Box<dyn Driver>,
    live: Box<dyn FnOnce() + Send>,
    dialect: Dialect,
) -> Result<Core, StartError> {
    let identity = Identity {
        cluster: config.cluster_id.clone(),
        node: config.node_id,
    };
    let configured: BTreeMap<u64, String> = config
        .members
        .iter()
        .map(|member| (member.id, member.address.clone()))
        .collect();
    let tls = match config.tls.clone() {
        None => None,
        Some(files) => {
            let opened = beside(move || Tls::open(config.node_id, files)).await;
            let opened = opened.map_err(|error| StartError::Restore(error.to_string()))?;
            Some(Arc::new(opened?))
        }
    };
    if let Some(tls) = &tls {
        tokio::spawn(tls.clone().follow_files());
    }
    let (wal, store, snapshot, roster, pristine) = {
        let (dir, identity) = (config.data_dir.clone(), identity.clone());
        let configured = configured.clone();
        let under = Under {
            disk: config.disk.clone(),
            net: config.net.clone(),
            tls,
            spoken: config.level_max,
            founds: !config.join,
        };
        let (log, in_place) = (config.log, config.in_place);
        beside(move || -> Result<_, StartError> {
            Roster::check_level(&*under.disk.0, &dir, under.spoken)?;
            let disk = under.disk.clone();
            let open = match in_place {
                true => Wal::open_in_place,
                false => Wal::open,
            };
            let wal = open(disk.0.clone(), &dir, identity.clone(), log)?;
            let (store, snapshot) = Store::open(disk, &dir.join("snapshots"), &identity)?;
            let pristine = wal.last().is_none() && wal.vote().is_none() && snapshot.is_none();
            let roster = Roster::open(&dir, identity, configured, !pristine, under)
                .map_err(WalError::from)?;
            Ok((wal, Arc::new(store), snapshot, Arc::new(roster), pristine))
        })
        .await
        .map_err(|error| StartError::Restore(error.to_string()))??
    };
    check_complete(wal.purged(), snapshot)?;

    let listening = config.net.listen(config.listen).await;
    let (listener, address) = listening.map_err(|source| StartError::Listen {
        address: config.listen,
        source,
    })?;

    let fullness = wal.fullness();
    let progress = Arc::new(Progress::new(config.level_max));
    let machine = StateMachine::new(
        driver,
        store.clone(),
        wal.clone(),
        progress.clone(),
        config.snapshots.bytes,
    );
    let networks = Networks {
        roster: roster.clone(),
    };
    let restore = |error: &dyn std::fmt::Display| StartError::Restore(error.to_string());
    let settings = Arc::new(
        settings(&config)
            .validate()
            .map_err(|error| StartError::Config(error.to_string()))?,
    );
    let raft = Raft::build(
        config.node_id,
        settings,
        networks,
        LogStore::new(wal),
        machine,
    )
    .await
    .map_err(|error| restore(&error))?;
    live();
    raft.run();

    let queue = Arc::new(Queue::default());
    let shared = Arc::new(Shared::new(
        queue.clone(),
        progress.clone(),
        roster.clone(),
        config.wall,
        dialect,
    ));
    watch::note_members(&raft, &shared);

    let (sender, standing) = channel(Standing::default());
    tokio::spawn(watch::follow_standing(raft.clone(), sender));
    tokio::spawn(watch::follow_members(raft.clone(), shared.clone()));
    let server = Server {
        raft: raft.clone(),
        store,
        shared: shared.clone(),
        standing: standing.clone(),
    };
    tokio::spawn(server.listen(listener));
    tokio::spawn(Proposer::new(raft.clone(), shared.clone(), standing.clone(), &config).run());
    tokio::spawn(watch::tick(
        raft.clone(),
        fullness.clone(),
        shared.clone(),
        standing.clone(),
    ));
    tokio::spawn(watch::snapshot_when_heavy(raft.clone(), progress));
    tokio::spawn(members::finish_changes(raft.clone(), standing.clone()));
    tokio::spawn(levels::follow(shared.clone()));
    tokio::spawn(levels::keep(
        raft.clone(),
        shared.clone(),
        standing.clone(),
        config.level_settled,
    ));

    if pristine && !config.join {
        may_found(&roster, configured.keys().copied().collect()).await?;
    }
    let core = Core {
        node: config.node_id,
        address,
        raft,
        queue,
        standing,
        shared,
        fullness,
        in_place: config.in_place,
        runtime: Mutex::new(None),
    };
    if config.join {
        if pristine {
            tracing::info!(
                cluster = config.cluster_id,
                node = config.node_id,
                %address,
                "waits to be added to the cluster"
            );
        }
        return Ok(core);
    }
    let members: BTreeMap<u64, BasicNode> = configured
        .iter()
        .map(|(id, address)| (*id, BasicNode::new(address)))
        .collect();
    match core.raft.initialize(members).await {
        Ok(()) => tracing::info!(
            cluster = config.cluster_id,
            node = config.node_id,
            "made the cluster"
        ),
        // It exists already.
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
        Err(error) => return Err(restore(&error)),
    }
    tracing::info!(cluster = config.cluster_id, node = config.node_id, %address, "cluster node is up");
    Ok(core)
}

/// Asks the others whether this node, which has no log, may begin the cluster with them: not when there was a log of
/// this id, or when they know other members. Who does not answer is taken to be not there yet.
async fn may_found(roster: &Arc<Roster>, founders: Vec<u64>) -> Result<(), StartError> {
    let others = roster.others().into_keys();
    let asked = others.map(|node| {
        let (dialer, founders) = (Dialer::new(roster.clone(), node), founders.clone());
        async move { dialer.dial_as(Channel::Control, &founders).await }
    });
    for answer in futures::future::join_all(asked).await {
        if let Err(error @ LinkError::Refused { .. }) = answer {
            return Err(StartError::Expelled(error.to_string()));
        }
    }
    if let Some(reason) = roster.expelled().borrow().clone() {
        return Err(StartError::Expelled(reason));
    }
    roster
        .found()
        .await
        .map_err(|error| StartError::Restore(format!("roster cannot be written: {error}")))?
        .map_err(StartError::Expelled)
}

/// Entries that were purged must be in the snapshot.
fn check_complete(purged: Option<LogId>, snapshot: Option<LogId>) -> Result<(), StartError> {
    match (purged, snapshot) {
        (Some(purged), snapshot)
            if snapshot.is_none_or(|snapshot| snapshot.index < purged.index) =>
        {
            let text =
                format!("log begins behind entry {purged}, newest snapshot ends at {snapshot:?}");
            Err(StartError::Restore(text))
        }
        _ => Ok(()),
    }
}

fn settings(config: &Config) -> openraft::Config {
    let ms = |duration: Duration| duration.as_millis() as u64;
    openraft::Config {
        cluster_name: config.cluster_id.clone(),
        heartbeat_interval: ms(config.timings.heartbeat),
        election_timeout_min: ms(config.timings.election_min),
        election_timeout_max: ms(config.timings.election_max),
        // Acknowledged entries spare a follower heartbeats, for as long as one can still come in time.
        heartbeat_min_interval: Some(spared_ms(config.timings)),
        enable_pre_vote: Some(true),
        // The commit noted on disk may lag: a restarted leader stands for election again.
        enable_leader_restore: Some(false),
        install_snapshot_timeout: 60_000,
        // Entries weigh up to a megabyte or two; a request must fit a frame.
        max_payload_entries: 16,
        replication_lag_threshold: config.snapshots.entries + config.snapshots.keep,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshots.entries),
        max_in_snapshot_log_to_keep: config.snapshots.keep,
        purge_batch_size: (config.snapshots.keep / 8).clamp(1, 1024),
        backoff: "100ms".into(),
        ..openraft::Config::default()
    }
}

/// How long after an acknowledged message no heartbeat is needed: the next one, a tick of the library late, must still
/// come before `election_min`.
fn spared_ms(timings: Timings) -> u64 {
    let (heartbeat, min) = (
        timings.heartbeat.as_millis() as u64,
        timings.election_min.as_millis() as u64,
    );
    let tick = heartbeat * 13 / 64 + 1;
    min.saturating_sub(heartbeat + 3 * tick)
}
