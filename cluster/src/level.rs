//! Feature levels: what the nodes of a cluster may say to each other and write down.
//!
//! A release speaks every level up to [`SPOKEN`]. The cluster is at one level at a time, which is part of its state;
//! what came with a higher one is neither proposed nor written by any node. It rises by [`Command::Raise`], which the
//! leader proposes once every member, voter or learner, has said for a while that it speaks the next level, unless an
//! operator holds it ([`Command::HoldLevel`]). It never falls: until it has risen each node can go back to the release
//! before, afterwards none can, for its disk may hold what that release cannot read.
//!
//! | level | what came with it |
//! | --- | --- |
//! | 1 | everything there was when levels were introduced |
//! | 2 | [`Command::Raise`]; [`Command::ClaimAt`], so that the state knows which level each node speaks; the part of the state behind its first ([`State`](crate::state::State)) that holds both |
//!
//! What carries a level so that a reader knows before it reads on: an entry of the log (its first byte: the lowest level
//! that reads all of its commands), a snapshot and a backup (in their headers), the state's own bytes (their first), the
//! handshake between nodes (what each speaks, what it knows the cluster to be at), the answer to a ping, and the data
//! directory (`roster`). A node that meets a higher level than it speaks refuses with one line and changes nothing.
//!
//! How something new is brought in stands in [`codec`](crate::codec).
//!
//! [`Command::Raise`]: crate::command::Command::Raise
//! [`Command::HoldLevel`]: crate::command::Command::HoldLevel
//! [`Command::ClaimAt`]: crate::command::Command::ClaimAt

use std::time::{Duration, Instant};

/// A feature level, from 1.
pub type Level = u8;

/// The level that every cluster begins at, and the lowest one that this release reads.
pub const FIRST: Level = 1;
/// The highest level that this release speaks.
pub const SPOKEN: Level = 2;

/// Where a cluster stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The level it is at.
    pub active: Level,
    /// An operator wants it to stay there.
    pub held: bool,
}

impl Default for Levels {
    fn default() -> Self {
        Levels {
            active: FIRST,
            held: false,
        }
    }
}

/// Something was written by a newer release, or by this one before it was capped. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is of level {level}, this node speaks {spoken}: run a newer release on it")]
pub struct TooNew {
    /// What, named for people.
    pub what: String,
    /// Its level.
    pub level: Level,
    /// The highest one that this node speaks.
    pub spoken: Level,
}

/// Refuses what this node does not speak.
pub(crate) fn check(
    what: impl FnOnce() -> String,
    level: Level,
    spoken: Level,
) -> Result<(), TooNew> {
    match level <= spoken {
        true => Ok(()),
        false => Err(TooNew {
            what: what(),
            level,
            spoken,
        }),
    }
}

/// The highest level that every member speaks; `None` while one of them has not said so of late.
pub(crate) fn common(members: impl IntoIterator<Item = Option<Level>>) -> Option<Level> {
    members
        .into_iter()
        .try_fold(Level::MAX, |low, spoken| Some(low.min(spoken?)))
}

/// Waits until the members have agreed on a level for long enough: one that keeps restarting is not yet upgraded.
#[derive(Debug, Default)]
pub(crate) struct Settling(Option<(Level, Instant)>);

impl Settling {
    /// A look at the members. The level to raise the cluster to, if it is time.
    pub(crate) fn look(
        &mut self,
        levels: Levels,
        common: Option<Level>,
        settled: Duration,
        now: Instant,
    ) -> Option<Level> {
        let wanted = common.filter(|common| *common > levels.active && !levels.held);
        let Some(wanted) = wanted else {
            self.0 = None;
            return None;
        };
        match self.0 {
            Some((level, since)) if level == wanted => {
                (now.saturating_duration_since(since) >= settled).then_some(wanted)
            }
            _ => {
                self.0 = Some((wanted, now));
                settled.is_zero().then_some(wanted)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_all_is_that_of_the_oldest_and_nobody_may_be_silent() {
        for (members, level) in [
            (&[Some(2), Some(2), Some(2)][..], Some(2)),
            (&[Some(2), Some(1), Some(3)], Some(1)),
            (&[Some(2), None, Some(2)], None),
            (&[Some(4)], Some(4)),
        ] {
            assert_eq!(common(members.iter().copied()), level, "{members:?}");
        }
    }

    #[test]
    fn a_level_is_raised_when_all_have_spoken_it_for_a_while_and_nobody_holds_it() {
        let settled = Duration::from_secs(10);
        let at = |active| Levels {
            active,
            held: false,
        };
        let held = Levels {
            active: 1,
            held: true,
        };
        let begun = Instant::now();
        let mut settling = Settling::default();
        // (second, where the cluster stands, what all speak, raised to)
        for (second, levels, common, raised) in [
            (0, at(1), Some(1), None),
            (1, at(1), Some(2), None),
            (9, at(1), Some(2), None),
            // One of them was started again: counted from then.
            (10, at(1), None, None),
            (11, at(1), Some(2), None),
            (20, at(1), Some(2), None),
            (21, at(1), Some(2), Some(2)),
            // Proposed again until it is so.
            (22, at(1), Some(2), Some(2)),
            (23, at(2), Some(2), None),
            (24, held, Some(3), None),
            (90, held, Some(3), None),
            (91, at(1), Some(3), None),
            (101, at(1), Some(3), Some(3)),
            // Never down.
            (102, at(3), Some(2), None),
            (200, at(3), Some(2), None),
        ] {
            let now = begun + Duration::from_secs(second);
            let look = settling.look(levels, common, settled, now);
            assert_eq!(look, raised, "second {second}");
        }
    }

    #[test]
    fn what_is_too_new_is_named_with_both_levels() {
        let entry = || "entry 3.1.7".to_owned();
        assert_eq!(check(entry, 2, 2), Ok(()));
        assert_eq!(
            check(entry, 3, 2).expect_err("is refused").to_string(),
            "entry 3.1.7 is of level 3, this node speaks 2: run a newer release on it"
        );
    }
}
