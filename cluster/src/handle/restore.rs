//! A data directory that begins with the state of a backup.
//!
//! The restored nodes are a cluster of their own, with members of their own: each that restores the same backup under
//! the same configuration begins at the same entry with the same state, as if all of them had taken one snapshot. The
//! backup's mark keeps nodes apart that begin with another one, or with nothing.

use super::{Config, Machine, StartError};
use crate::codec;
use crate::level;
use crate::link::Roster;
use crate::raft::snapshot::Store;
use crate::raft::types::Members;
use crate::wal::disk::{Disk, DiskError, RealDisk};
use crate::wal::{AnyDisk, Identity, LogId, Membership, WalError};
use std::collections::BTreeSet;
use std::io::Write;

/// Makes the data directory of a node that is not running, which must be empty or missing. `applied` are the entries
/// in the state, `mark` is the backup's. Blocks.
pub fn restore<M: Machine>(
    config: &Config,
    mut state: M,
    applied: u64,
    mark: u64,
) -> Result<(), StartError> {
    config.check()?;
    let refused = |what: String| Err(StartError::Config(what));
    if config.join {
        return refused("a node that joins gets its state from the others".into());
    }
    let Some(last) = applied.checked_sub(1) else {
        return refused("the backup holds no entry".into());
    };
    let dir = &config.data_dir;
    let wal = |error: DiskError| StartError::Log(WalError::Disk(error));
    RealDisk.create_dir_all(dir).map_err(|source| {
        wal(DiskError::NotCreatable {
            path: dir.clone(),
            source,
        })
    })?;
    let named = |doing: &'static str| move |source| wal(DiskError::new(doing, dir, source));
    if std::fs::read_dir(dir)
        .map_err(named("read"))?
        .next()
        .is_some()
    {
        return refused(format!("data directory `{}` is not empty", dir.display()));
    }
    let _lock = RealDisk.lock(&dir.join("lock")).map_err(named("locking"))?;

    let damaged = |error: &dyn std::fmt::Display| StartError::Restore(error.to_string());
    let founders: BTreeSet<u64> = config.members.iter().map(|member| member.id).collect();
    // Forgets what nodes of the same ids had stored: those were others.
    state.set_voters(BTreeSet::new());
    state.set_voters(founders.clone());
    // Below every entry of a leader to come, as the first entry of a new cluster is.
    let last = LogId {
        index: last,
        ..LogId::default()
    };
    let members = Members {
        id: Some(last),
        membership: Membership {
            configs: vec![founders.into_iter().collect()],
            nodes: config
                .members
                .iter()
                .map(|member| (member.id, member.address.clone()))
                .collect(),
        },
    };
    let us = Identity {
        cluster: config.cluster_id.clone(),
        node: config.node_id,
    };
    let level = state.levels().active;
    level::check(|| "backup".to_owned(), level, config.level_max)?;
    Roster::begin(dir, mark, level).map_err(wal)?;
    let (store, _) = Store::open(AnyDisk::default(), &dir.join("snapshots"), &us)?;
    store
        .write(
            level,
            Some(last),
            members,
            BTreeSet::new(),
            |mut out: &mut dyn Write| {
                codec::encode_to(&state, &mut out)
                    .map(drop)
                    .map_err(std::io::Error::other)
            },
        )
        .map_err(|error| damaged(&error))?;
    Ok(())
}
