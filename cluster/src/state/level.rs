//! The cluster's level: raised, held, and what each node speaks; and the state's bytes, which depend on it.

use super::index::Index;
use super::{Content, Deed, State};
use crate::command::{Biller, ClaimAt, Effect, RAISE_MAX, Raise, Refusal, Reply};
use crate::level::{FIRST, Level, Levels, SPOKEN};
use imbl::OrdMap;
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Who raises a level, in the audit.
const LEADER: &str = "leader";

/// What level 2 added to the state. Below it this is as it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Since2 {
    /// What the cluster is at.
    level: Level,
    /// The level that each node spoke when it last said so, by raft node: the members as of the raise, and from the
    /// next claim on only nodes that have a device.
    spoken: OrdMap<u64, Level>,
}

impl Default for Since2 {
    fn default() -> Self {
        Since2 {
            level: FIRST,
            spoken: OrdMap::new(),
        }
    }
}

impl Since2 {
    pub(super) fn rows(&self) -> usize {
        self.spoken.len()
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content && self.since_2 == other.since_2
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let level = self.level();
        let mut parts = serializer.serialize_tuple(if level >= 2 { 3 } else { 2 })?;
        parts.serialize_element(&level)?;
        parts.serialize_element(&self.content)?;
        if level >= 2 {
            parts.serialize_element(&self.since_2)?;
        }
        parts.end()
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(3, Parts)
    }
}

struct Parts;

impl<'de> Visitor<'de> for Parts {
    type Value = State;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a level and the parts of a state")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<State, A::Error> {
        let short = |at| A::Error::invalid_length(at, &Parts);
        let level: Level = parts.next_element()?.ok_or_else(|| short(0))?;
        if !(FIRST..=SPOKEN).contains(&level) {
            return Err(A::Error::custom(format_args!(
                "state is of level {level}, this release reads {FIRST} to {SPOKEN}"
            )));
        }
        let content: Content = parts.next_element()?.ok_or_else(|| short(1))?;
        let since_2 = match level {
            FIRST => Since2::default(),
            _ => parts.next_element()?.ok_or_else(|| short(2))?,
        };
        if since_2.level != level {
            return Err(A::Error::custom(format_args!(
                "state of level {level} says that it is of {}",
                since_2.level
            )));
        }
        let index = Index::build(&content);
        index.lookup.of(&content);
        Ok(State {
            content,
            since_2,
            index,
            check_in: 0,
        })
    }
}

impl State {
    /// What the cluster is at: nothing that came with a higher level is in this state.
    pub fn level(&self) -> Level {
        self.since_2.level
    }

    /// The same, and whether an operator holds it there.
    pub fn levels(&self) -> Levels {
        Levels {
            active: self.level(),
            held: self.content.level_held,
        }
    }

    /// The level that a raft node spoke when it last said so to the state; `None` for one that never did, and for all of
    /// them below level 2.
    pub fn spoken(&self, node: u64) -> Option<Level> {
        self.since_2.spoken.get(&node).copied()
    }

    pub(super) fn hold_level(&mut self, hold: bool, actor: &str) -> Reply {
        if self.content.level_held != hold {
            self.content.level_held = hold;
            self.note(actor, Deed::HoldLevel { hold }, None, None);
        }
        Reply::Done
    }

    pub(super) fn raise(&mut self, raise: &Raise) -> Reply {
        let (from, to) = (self.level(), raise.level);
        // A repeat, or the word of a leader that has been overtaken.
        if to <= from {
            return Reply::Done;
        }
        if self.content.level_held {
            return Reply::Refused(Refusal::LevelHeld);
        }
        self.since_2.level = to;
        self.since_2.spoken = raise.members.iter().take(RAISE_MAX).copied().collect();
        self.note(LEADER, Deed::Raise { from, to }, None, None);
        Reply::Done
    }

    pub(super) fn claim_at(
        &mut self,
        claim: &ClaimAt,
        biller: &dyn Biller,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        let active = self.level();
        if claim.level < active {
            return Reply::Refused(Refusal::LevelTooLow { active });
        }
        let reply = self.claim(&claim.claim, biller, effects);
        if active >= 2 && matches!(reply, Reply::Claimed { .. }) {
            self.since_2.spoken.insert(claim.claim.node, claim.level);
            let known = |node: u64| self.content.devices.values().any(|d| d.node == node);
            let gone: Vec<u64> = self.since_2.spoken.keys().copied().collect();
            for node in gone.into_iter().filter(|node| !known(*node)) {
                self.since_2.spoken.remove(&node);
            }
        }
        reply
    }

    pub(super) fn check_level(&self) -> Result<(), String> {
        let Since2 { level, spoken } = &self.since_2;
        if !(FIRST..=SPOKEN).contains(level) {
            return Err(format!("level {level} is none of this release"));
        }
        match *level < 2 && !spoken.is_empty() {
            true => Err("what level 2 added is there below it".into()),
            false => Ok(()),
        }
    }
}
