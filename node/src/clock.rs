//! The node's clocks: timers follow the monotonic one; the wall clock, which records and deadlines show, runs on it too
//! and is drawn towards the log's time, so that all nodes write the same times and stepping a machine's clock harms no
//! duration.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tandem_cluster::entity::Millis;
// The runtime's, so that a simulation's time is this node's.
use tokio::time::Instant;

use crate::call::machine::Now;

/// Nearer than this to the log's time the wall clock is right: entries are on their way for a moment.
const NEAR_MS: i64 = 10;
/// The wall clock is drawn towards the log's time by this part of what passes.
const PULL: i64 = 20;

/// Both clocks of this process. Copies agree.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    /// Wall time at `start`.
    base: Arc<AtomicI64>,
    /// When [`Clock::follow`] was last called, by the monotonic clock.
    followed: Arc<AtomicI64>,
}

impl Clock {
    /// Starts at the machine's present time.
    pub fn start() -> Self {
        Clock::begin(wall_now())
    }

    /// Starts with the wall clock at `wall`, milliseconds since 1970.
    pub fn begin(wall: Millis) -> Self {
        Clock {
            start: Instant::now(),
            base: Arc::new(AtomicI64::new(i64::try_from(wall).unwrap_or(i64::MAX / 2))),
            followed: Arc::default(),
        }
    }

    /// This moment.
    pub fn now(&self) -> Now {
        let mono = self.mono();
        let wall = self.base.load(Ordering::Relaxed) + mono as i64;
        Now {
            mono,
            wall: u64::try_from(wall).unwrap_or(0),
        }
    }

    /// Milliseconds since the start of the process.
    pub fn mono(&self) -> Millis {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes the log's time over at once: while no call runs, so that no duration is harmed. For the caller of
    /// [`Clock::follow`].
    pub fn set(&self, log_time: Millis) {
        let Now { mono, wall } = self.now();
        self.followed.store(mono as i64, Ordering::Relaxed);
        if wall.abs_diff(log_time) > NEAR_MS as u64 {
            let base = log_time as i64 - mono as i64;
            self.base.store(base, Ordering::Relaxed);
        }
    }

    /// Draws the wall clock a little towards the log's time. For one caller, every now and then.
    pub fn follow(&self, log_time: Millis) {
        let Now { mono, wall } = self.now();
        let passed = mono as i64 - self.followed.swap(mono as i64, Ordering::Relaxed);
        let pull = drawn(log_time as i64 - wall as i64, passed);
        self.base.fetch_add(pull, Ordering::Relaxed);
    }
}

/// How far a clock is moved that is `behind` by so much after `passed` milliseconds.
fn drawn(behind: i64, passed: i64) -> i64 {
    match behind.abs() <= NEAR_MS {
        true => 0,
        false => behind.clamp(-passed / PULL, passed / PULL),
    }
}

fn wall_now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_off_is_drawn_and_never_jumps() {
        for (behind, passed, want) in [
            (0, 100, 0),
            (10, 100, 0),
            (-10, 100, 0),
            (3_600_000, 100, 5),
            (-3_600_000, 100, -5),
            (12, 1_000, 12),
        ] {
            assert_eq!(drawn(behind, passed), want, "{behind} after {passed}");
        }
        let clock = Clock::begin(4_000_000);
        // Nearer than entries come it is left alone.
        clock.set(4_000_005);
        assert!((4_000_000..4_000_005).contains(&clock.now().wall));
        clock.set(5_000_000);
        let now = clock.now().wall;
        assert!((5_000_000..5_001_000).contains(&now), "{now}");
    }
}
