//! The library's own suite over our log and state machine.

use super::batch::Batch;
use super::machine::{Driver, Freeze, Progress, StateMachine, Thaw};
use super::snapshot::Store;
use super::store::LogStore;
use super::types::TypeConfig;
use crate::wal::record as own;
use crate::wal::{AnyDisk, Identity, RealDisk, Settings, Wal};
use bytes::Bytes;
use futures::future::BoxFuture;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use std::any::Any;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use tempfile::TempDir;

/// A state that only counts commands.
struct Counter(u64);

impl Driver for Counter {
    fn apply(&mut self, _: own::LogId, batch: Batch, _: bool) -> io::Result<Vec<Bytes>> {
        self.0 += batch.commands.len() as u64;
        Ok(batch.commands)
    }
    fn set_voters(&mut self, _: BTreeSet<u64>) {}
    fn applied(&mut self, _: u64) {}
    fn deliver(&mut self) -> Option<BoxFuture<'_, ()>> {
        None
    }
    fn freeze(&self) -> Freeze {
        let bytes = self.0.to_le_bytes();
        Box::new(move |out| out.write_all(&bytes))
    }
    fn thaw(&self) -> Thaw {
        Box::new(|bytes| {
            let bytes = bytes
                .try_into()
                .map_err(|_| io::Error::other("not eight bytes"))?;
            Ok(Box::new(u64::from_le_bytes(bytes)))
        })
    }
    fn replay(&self, state: &mut (dyn Any + Send), _: own::LogId, batch: Batch) -> io::Result<()> {
        let count: &mut u64 = state.downcast_mut().expect("thaw makes a number");
        *count += batch.commands.len() as u64;
        Ok(())
    }
    fn replay_voters(&self, _: &mut (dyn Any + Send), _: BTreeSet<u64>) {}
    fn replace(&mut self, state: Box<dyn Any + Send>, _: u64) {
        self.0 = *state.downcast().expect("thaw makes a number");
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let identity = Identity {
            cluster: "suite".into(),
            node: 1,
        };
        let wal = Wal::open(
            Arc::new(RealDisk),
            dir.path(),
            identity.clone(),
            Settings::default(),
        )
        .expect("opens");
        let (store, _) = Store::open(AnyDisk::default(), &dir.path().join("snapshots"), &identity)
            .expect("opens");
        let progress = Arc::new(Progress::new(crate::level::SPOKEN));
        let machine = StateMachine::new(
            Box::new(Counter(0)),
            Arc::new(store),
            wal.clone(),
            progress,
            u64::MAX,
        );
        Ok((dir, LogStore::new(wal), machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_librarys_suite_passes() {
    Suite::test_all(Builder).await.expect("passes");
}
