//! The log's time: what the leader stamps entries with, and what every node takes for now.
//!
//! Leases and deadlines of the state are compared with the stamps of entries, so a wrong clock on the node that happens
//! to lead must move none of them. The log's time therefore runs on the leader's monotonic clock, begun at the last
//! stamp, and is drawn towards the *agreed* time: the median of what the clocks of a majority of the nodes say, told
//! in pings. One clock of three may be an hour off, step, or stand still, and nothing is seen of it.
//!
//! - A new leader moves to the agreed time at once if that is later: the log's time stood still while there was no
//!   leader. Otherwise the log's time goes faster or slower than the monotonic clock by one part in [`PULL`], and so
//!   never stands and never jumps.
//! - While fewer than a majority of the clocks are known, it runs on by itself.
//! - A majority of clocks that is wrong together cannot be told from one that is right.
//!
//! Pure: moments come in as microseconds of the process's monotonic clock.

use std::collections::BTreeMap;

/// The log's time is drawn towards the agreed time by this part of what passes.
const PULL: i64 = 50;
/// A follower's idea of it may be drawn back by this part of what passes: entries come late, never early.
const LAG_PULL: i64 = 20;
/// What a node said of its clock counts for so long, six pings: the clock may have been set right since, and then a
/// second wrong one would have the majority.
const HEARD_US: u64 = 3_000_000;

/// The log's time as one node knows it.
#[derive(Debug, Default)]
pub(crate) struct LogTime {
    /// Log time less monotonic time, microseconds.
    offset: Option<i64>,
    /// When `offset` was last moved.
    moved_us: u64,
    /// Milliseconds; neither stamps nor what is shown step back.
    last_ms: u64,
    leads: bool,
    /// The leader has seen what time was agreed on when it took office.
    settled: bool,
    /// Other nodes' clocks less our monotonic time, microseconds, and when they were told.
    clocks: BTreeMap<u64, (i64, u64)>,
}

impl LogTime {
    /// An entry with this stamp was applied.
    pub(crate) fn seen(&mut self, at_ms: u64, now_us: u64) {
        self.last_ms = self.last_ms.max(at_ms);
        if self.leads {
            return;
        }
        let seen = micros(at_ms) - now_us as i64;
        let passed = self.passed(now_us);
        self.offset = Some(match self.offset {
            Some(offset) if seen < offset => offset - (offset - seen).min(passed / LAG_PULL),
            _ => seen,
        });
    }

    /// Another node answered a ping sent `round_us` ago, and said what its clock showed.
    pub(crate) fn heard(&mut self, node: u64, wall_ms: u64, round_us: u64, now_us: u64) {
        let base = micros(wall_ms) + (round_us / 2) as i64 - now_us as i64;
        self.clocks.insert(node, (base, now_us));
    }

    /// This node does not lead (any more).
    pub(crate) fn leave(&mut self) {
        (self.leads, self.settled) = (false, false);
    }

    /// The stamp of an entry that is proposed now, milliseconds since 1970. `wall_ms` is what the own clock shows,
    /// `majority` how many nodes are one.
    pub(crate) fn stamp(&mut self, wall_ms: u64, majority: usize, now_us: u64) -> u64 {
        self.leads = true;
        let own = micros(wall_ms) - now_us as i64;
        let agreed = self.agreed(own, majority, now_us);
        let passed = self.passed(now_us);
        let offset = match (self.offset, agreed) {
            (Some(offset), Some(agreed)) if agreed > offset && !self.settled => agreed,
            (Some(offset), Some(agreed)) => {
                let pull = passed / PULL;
                offset + (agreed - offset).clamp(-pull, pull)
            }
            (Some(offset), None) => offset,
            // The first entry of a cluster.
            (None, agreed) => agreed.unwrap_or(own),
        };
        self.settled |= agreed.is_some();
        self.offset = Some(offset);
        self.last_ms = self.last_ms.max(self.reading(offset, now_us));
        self.last_ms
    }

    /// The log's time now, milliseconds since 1970; `None` before the first entry. Where it was shown too late a time
    /// before an entry came late, it stands until that is over.
    pub(crate) fn now(&mut self, now_us: u64) -> Option<u64> {
        self.last_ms = self.last_ms.max(self.reading(self.offset?, now_us));
        Some(self.last_ms)
    }

    fn reading(&self, offset: i64, now_us: u64) -> u64 {
        u64::try_from((now_us as i64).saturating_add(offset) / 1_000).unwrap_or(0)
    }

    /// What has passed since this was last asked.
    fn passed(&mut self, now_us: u64) -> i64 {
        let passed = now_us.saturating_sub(self.moved_us);
        self.moved_us = now_us;
        passed as i64
    }

    /// The median of a majority of the clocks, less the monotonic time. Of two in the middle the one nearer to the
    /// log's time counts.
    fn agreed(&self, own: i64, majority: usize, now_us: u64) -> Option<i64> {
        let fresh = |clock: &&(i64, u64)| now_us.saturating_sub(clock.1) < HEARD_US;
        let mut clocks: Vec<i64> = self
            .clocks
            .values()
            .filter(fresh)
            .map(|(base, _)| *base)
            .collect();
        clocks.push(own);
        if clocks.len() < majority {
            return None;
        }
        clocks.sort_unstable();
        let (low, high) = (clocks[(clocks.len() - 1) / 2], clocks[clocks.len() / 2]);
        let here = self.offset.unwrap_or(low);
        Some(match low.abs_diff(here) <= high.abs_diff(here) {
            true => low,
            false => high,
        })
    }
}

fn micros(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    /// 2025-11-22, milliseconds.
    const TRUE: i64 = 1_763_800_000_000;

    /// Node 1 of three; its clock and those of the others are off by so much.
    struct World {
        time: LogTime,
        now_ms: u64,
        off: [i64; 3],
        /// Nodes 2 and 3 that answer pings.
        reach: [bool; 2],
    }

    impl World {
        fn new(off: [i64; 3]) -> Self {
            World {
                time: LogTime::default(),
                now_ms: 1_000,
                off,
                reach: [true; 2],
            }
        }

        fn us(&self) -> u64 {
            self.now_ms * 1_000
        }

        fn truth(&self) -> i64 {
            TRUE + self.now_ms as i64
        }

        fn wall(&self, node: usize) -> u64 {
            (self.truth() + self.off[node]) as u64
        }

        fn ping(&mut self) {
            for node in [1, 2] {
                if self.reach[node - 1] {
                    let (wall, now) = (self.wall(node), self.us());
                    self.time.heard(node as u64 + 1, wall, 0, now);
                }
            }
        }

        /// Leads for so long, with an entry and a ping every 100 ms; what each stamp is ahead of the truth.
        fn lead(&mut self, ms: u64) -> Vec<i64> {
            let mut ahead = Vec::new();
            for _ in 0..ms / 100 {
                self.ping();
                let (wall, now) = (self.wall(0), self.us());
                let stamp = self.time.stamp(wall, 2, now) as i64;
                ahead.push(stamp - self.truth());
                self.now_ms += 100;
            }
            ahead
        }
    }

    #[test]
    fn one_wrong_clock_of_three_is_not_seen() {
        for off in [
            [HOUR, 0, 0],
            [-HOUR, 0, 0],
            [0, HOUR, 0],
            [0, 0, -HOUR],
            [0, 20 * HOUR, 3],
        ] {
            let mut world = World::new(off);
            let ahead = world.lead(5_000);
            assert!(
                ahead.iter().all(|ahead| ahead.abs() <= 3),
                "{off:?} {ahead:?}"
            );
        }
    }

    #[test]
    fn a_clock_that_steps_while_its_node_leads_moves_nothing() {
        let mut world = World::new([0; 3]);
        world.lead(1_000);
        for step in [HOUR, -HOUR, -HOUR, HOUR] {
            world.off[0] += step;
            let ahead = world.lead(1_000);
            assert!(ahead.iter().all(|ahead| *ahead == 0), "{step} {ahead:?}");
        }
        // Nor when only one other node is in reach to be asked.
        world.reach = [true, false];
        world.now_ms += 60_000;
        world.lead(500);
        world.off[0] += HOUR;
        let ahead = world.lead(5_000);
        assert!(ahead.iter().all(|ahead| *ahead == 0), "{ahead:?}");
    }

    #[test]
    fn a_leader_whose_clock_is_ahead_carries_on_where_the_one_before_it_stopped() {
        let mut world = World::new([HOUR, 0, 0]);
        world.reach = [false; 2];
        world.time.seen(world.truth() as u64, world.us());
        world.now_ms += 400;
        let ahead = world.lead(1_000);
        assert!(ahead.iter().all(|ahead| *ahead == 0), "{ahead:?}");
    }

    #[test]
    fn what_a_node_last_said_of_its_clock_is_soon_forgotten() {
        let mut world = World::new([0, 0, 2 * HOUR]);
        world.time.seen(world.truth() as u64, world.us());
        world.ping();
        // It is set right where nobody hears of it, and then the leader's own goes wrong.
        world.reach = [true, false];
        world.now_ms += 3_000;
        world.off = [HOUR, 0, 0];
        let ahead = world.lead(1_000);
        assert!(ahead.iter().all(|ahead| *ahead == 0), "{ahead:?}");
    }

    #[test]
    fn time_that_stood_still_without_a_leader_is_made_up_at_once() {
        let mut world = World::new([0, 0, 40]);
        world.time.seen(world.truth() as u64, world.us());
        world.off = [10 * HOUR, 10 * HOUR, 10 * HOUR];
        let ahead = world.lead(1_000);
        assert_eq!(ahead[0], 10 * HOUR, "the machines were off for ten hours");
    }

    #[test]
    fn a_majority_that_steps_is_followed_slowly_and_time_never_stands() {
        let mut world = World::new([0; 3]);
        world.lead(1_000);
        world.off = [HOUR, HOUR, 0];
        let ahead = world.lead(10_000);
        assert!(
            ahead[0] <= 2 && *ahead.last().expect("some") <= 202,
            "{ahead:?}"
        );
        assert!(*ahead.last().expect("some") >= 190, "{ahead:?}");
        // Back again: ahead of the agreed time it goes more slowly, but on.
        world.off = [0; 3];
        let before = world.time.now(world.us());
        let ahead = world.lead(5_000);
        let after = world.time.now(world.us());
        assert!(
            ahead.windows(2).all(|pair| pair[1] <= pair[0] + 1),
            "{ahead:?}"
        );
        let went = after.expect("known") - before.expect("known");
        assert!((4_890..=5_000).contains(&went), "{went}");
    }

    #[test]
    fn followers_know_the_time_between_entries_and_forgive_late_ones() {
        let mut time = LogTime::default();
        assert_eq!(time.now(5_000), None);
        time.seen(1_000_000, 1_000_000);
        assert_eq!(time.now(1_250_000), Some(1_000_250));
        // This one was 200 ms on its way.
        time.seen(1_000_300, 1_500_000);
        assert_eq!(time.now(1_500_000), Some(1_000_475));
        // A restarted node reads old entries first.
        let mut time = LogTime::default();
        time.seen(1_000, 1_000_000);
        time.seen(900_000, 1_001_000);
        assert_eq!(time.now(1_002_000), Some(900_001));
    }

    #[test]
    fn what_a_follower_shows_does_not_step_back_when_an_entry_comes_late() {
        let mut time = LogTime::default();
        time.seen(1_000_000, 1_000_000);
        // Ten seconds without an entry, and then one that was 300 ms on its way.
        let shown = time.now(11_000_000).expect("is known");
        time.seen(1_009_700, 11_000_000);
        assert_eq!(time.now(11_000_000), Some(shown));
        assert_eq!(time.now(11_200_000), Some(shown));
        assert_eq!(time.now(11_400_000), Some(shown + 100));
    }

    #[test]
    fn stamps_never_step_back_whoever_led_before() {
        let mut world = World::new([0; 3]);
        world.lead(300);
        world.time.leave();
        let high = world.truth() as u64 + 700;
        world.time.seen(high, world.us());
        let wall = world.wall(0);
        let stamp = world.time.stamp(wall, 2, world.us());
        assert!(stamp >= high);
    }
}
