//! Waiting until this node knows what any node knows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tandem_cluster::handle::Cluster;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// What readers wait for who must not miss what another node has acknowledged. It asks the leader, so one look is under
/// way at a time and serves all who came before it began.
#[derive(Debug, Default)]
pub struct Barrier {
    /// Readers so far.
    came: AtomicU64,
    /// How many of them, by their order, a look has served.
    served: Mutex<u64>,
}

impl Barrier {
    /// Waits until this node has applied what was committed when this was called; false when it cannot tell in time.
    pub async fn pass(&self, cluster: &Cluster, within: Duration) -> bool {
        let own = self.came.fetch_add(1, Ordering::AcqRel) + 1;
        let passed = async {
            let mut served = self.served.lock().await;
            if *served >= own {
                return true;
            }
            let all = self.came.load(Ordering::Acquire);
            let caught_up = cluster.caught_up(within).await.is_ok();
            if caught_up {
                *served = all;
            }
            caught_up
        };
        timeout(within, passed).await.unwrap_or(false)
    }
}
