//! The node's clocks: timers follow the monotonic one, records the wall clock as it stood at start plus what has
//! passed since, so that stepping the machine's clock harms no duration.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tandem_cluster::entity::Millis;

use crate::call::machine::Now;

/// Both clocks of this process. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    wall: Millis,
}

impl Clock {
    /// Starts at the machine's present time.
    pub fn start() -> Self {
        Clock {
            start: Instant::now(),
            wall: wall_now(),
        }
    }

    /// This moment.
    pub fn now(&self) -> Now {
        let mono = self.mono();
        Now {
            mono,
            wall: self.wall + mono,
        }
    }

    /// Milliseconds since the start of the process.
    pub fn mono(&self) -> Millis {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn wall_now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
