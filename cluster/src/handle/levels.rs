//! The cluster's level: raised by the leader when every member speaks the next one, noted by each node.

use super::core::{Shared, Standing};
use super::driver::Machine;
use super::{ProposeError, Role};
use crate::codec;
use crate::level::{self, FIRST, Level, Settling};
use crate::link::ANSWER_LIMIT;
use crate::raft::Raft;
use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How often the leader looks at what the members speak.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A level that could not be noted on disk is noted again after this long.
const NOTE_AGAIN: Duration = Duration::from_secs(5);

/// What the consensus must know of the commands it carries.
#[derive(Clone, Copy)]
pub(crate) struct Dialect {
    needs: fn(&[u8]) -> Level,
    raise: fn(Level, Vec<(u64, Level)>) -> Option<Bytes>,
}

impl Dialect {
    pub(crate) fn of<M: Machine>() -> Self {
        Dialect {
            needs: M::needs,
            raise: |level, members| {
                let command = M::raise(level, members)?;
                Some(codec::encode(&command).ok()?.into())
            },
        }
    }

    /// The lowest level that reads all of these commands.
    pub(crate) fn needs_all<'a>(&self, commands: impl Iterator<Item = &'a Bytes>) -> Level {
        let needs = commands.map(|command| (self.needs)(command));
        needs.max().unwrap_or(FIRST)
    }
}

/// Notes each level of the cluster on disk and where new links are made, so that a node too old for it is refused.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut levels = shared.progress.levels.subscribe();
    let mut known = FIRST;
    loop {
        let level = levels.borrow_and_update().active;
        crate::metrics::levels(level, shared.progress.spoken);
        while let Err(error) = shared.roster.set_level(level).await {
            // What was written since is refused by an older release all the same, entry by entry.
            tracing::error!(%error, level, "level of the cluster cannot be noted, tried again");
            sleep(NOTE_AGAIN).await;
        }
        if level > known {
            tracing::info!(
                level,
                spoken = shared.progress.spoken,
                "level of the cluster"
            );
            known = level;
        }
        if levels.changed().await.is_err() {
            return;
        }
    }
}

/// Raises the level, on the leader, for as long as the node runs.
pub(crate) async fn keep(
    raft: Raft,
    shared: Arc<Shared>,
    standing: watch::Receiver<Standing>,
    settled: Duration,
) {
    let mut settling = Settling::default();
    loop {
        sleep(LOOK_EVERY).await;
        match standing.borrow().role {
            Role::Stopped => return,
            Role::Leader => {}
            _ => {
                settling = Settling::default();
                continue;
            }
        }
        let members: Vec<(u64, Option<Level>)> = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            let nodes = metrics.membership_config.nodes();
            nodes
                .map(|(node, _)| (*node, shared.spoken_by(*node)))
                .collect()
        };
        let common = level::common(members.iter().map(|(_, spoken)| *spoken));
        let levels = *shared.progress.levels.borrow();
        let Some(level) = settling.look(levels, common, settled, Instant::now().into_std()) else {
            continue;
        };
        let spoken = members
            .into_iter()
            .filter_map(|(node, spoken)| Some((node, spoken?)));
        let Some(command) = (shared.dialect.raise)(level, spoken.collect()) else {
            return;
        };
        tracing::info!(
            from = levels.active,
            to = level,
            "every member speaks this level, the cluster is raised to it"
        );
        // Looked at again if nothing comes of it.
        match shared.queue.propose(command) {
            Ok(reply) => drop(timeout(ANSWER_LIMIT, reply).await),
            Err(ProposeError::Stopped) => return,
            Err(error) => tracing::warn!(%error, level, "level is not raised yet"),
        }
    }
}
