//! Records on their way into every node's store.

use super::{Blob, OUTBOX_EVENTS_MAX, OUTBOX_SOFT_MAX, State};
use crate::command::{EVENT_BYTES_MAX, EVENTS_MAX, Effect, Refusal, Reply};
use std::collections::BTreeSet;

impl State {
    pub(super) fn stored(&mut self, node: u64, upto: u64) -> Reply {
        let upto = upto.min(self.content.outbox_last);
        if self.outbox_stored(node) < upto {
            self.content.stored.insert(node, upto);
            self.trim_outbox();
        }
        Reply::Done
    }

    /// Appends what platforms pushed. Nothing is read of it here, so a repeat makes another row, which the records
    /// recognise: asking them is not for `apply`.
    pub(super) fn platform_events(
        &mut self,
        events: &[Vec<u8>],
        effects: &mut Vec<Effect>,
    ) -> Reply {
        let fits = |event: &Vec<u8>| (1..=EVENT_BYTES_MAX).contains(&event.len());
        if !(1..=EVENTS_MAX).contains(&events.len()) || !events.iter().all(fits) {
            return Reply::Refused(Refusal::Invalid {
                field: "events".to_owned(),
                text: format!("must be 1 to {EVENTS_MAX} of 1 to {EVENT_BYTES_MAX} bytes each"),
            });
        }
        if self.content.outbox.len() + events.len() > OUTBOX_EVENTS_MAX {
            return Reply::Refused(Refusal::OutboxFull);
        }
        for event in events {
            self.content.outbox_last += 1;
            self.content.outbox.push_back(Blob::from(&**event));
        }
        self.trim_outbox();
        effects.push(Effect::Outbox {
            last: self.content.outbox_last,
        });
        Reply::Done
    }

    /// Who must have stored a record before it leaves the outbox. The Raft adapter calls this when it applies a
    /// membership entry, and only then, so that it happens at the same place of the log on every node: voters alone,
    /// learners not. While no voters are known nothing leaves.
    pub fn set_voters(&mut self, voters: BTreeSet<u64>) {
        let gone: Vec<u64> = self
            .content
            .stored
            .keys()
            .filter(|node| !voters.contains(node))
            .copied()
            .collect();
        for node in gone {
            self.content.stored.remove(&node);
        }
        self.content.voters = voters;
        self.trim_outbox();
    }

    /// Whose stored records decide what leaves.
    pub fn voters(&self) -> &BTreeSet<u64> {
        &self.content.voters
    }

    /// Drops what every voter has. Above the soft bound a voter without a live claim holds nothing back: it fetches
    /// what it missed from a peer's store.
    pub(super) fn trim_outbox(&mut self) {
        let over = self.content.outbox.len() > OUTBOX_SOFT_MAX;
        let at = self.content.at;
        let alive = |node: &u64| {
            self.tenures()
                .any(|tenure| tenure.node == *node && tenure.lease_until() > at)
        };
        let floor = self
            .content
            .voters
            .iter()
            .filter(|node| !over || alive(node))
            .map(|node| self.outbox_stored(*node))
            .min();
        let Some(floor) = floor else { return };
        while self.outbox_first() <= floor && self.content.outbox.pop_front().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Claim, Command};
    use crate::state::testing::PerPeriod;

    #[test]
    fn events_of_platforms_leave_room_for_the_records_of_calls() {
        let mut state = State::new();
        let mut push = |count, bytes| {
            let events = vec![vec![7; bytes]; count];
            let command = Command::PlatformEvents { events };
            let (reply, effects) = state.apply(1_000, 1, &command, &PerPeriod);
            let last = match effects[..] {
                [Effect::Outbox { last }] => Some(last),
                _ => None,
            };
            (reply, last)
        };
        assert_eq!(push(2, 1), (Reply::Done, Some(2)));
        assert_eq!(push(EVENTS_MAX, EVENT_BYTES_MAX), (Reply::Done, Some(102)));
        for (count, bytes) in [
            (0, 1),
            (1, 0),
            (1, EVENT_BYTES_MAX + 1),
            (EVENTS_MAX + 1, 1),
        ] {
            let (reply, last) = push(count, bytes);
            let refused = matches!(reply, Reply::Refused(Refusal::Invalid { .. }));
            assert!(refused && last.is_none(), "{count} of {bytes}: {reply:?}");
        }
        state.content.outbox = (0..OUTBOX_EVENTS_MAX - 1)
            .map(|_| Blob::default())
            .collect();
        state.content.outbox_last = OUTBOX_EVENTS_MAX as u64;
        let two = Command::PlatformEvents {
            events: vec![vec![1], vec![2]],
        };
        let (reply, effects) = state.apply(1_000, 1, &two, &PerPeriod);
        assert_eq!(reply, Reply::Refused(Refusal::OutboxFull));
        assert_eq!(effects, []);
    }

    #[test]
    fn a_dead_voter_holds_back_no_more_than_the_soft_bound() {
        let mut state = State::new();
        for node in [1, 2] {
            let claim = Claim {
                access_name: format!("n{node}"),
                node,
                boot: 1,
                address: String::new(),
                version: String::new(),
                lease_ms: 3_000,
            };
            state.apply(1_000 * node, 1, &Command::Claim(claim), &PerPeriod);
        }
        state.set_voters(BTreeSet::from([1, 2, 3]));
        let rows = OUTBOX_SOFT_MAX as u64;
        state.content.outbox = (1..=rows).map(|_| Blob::default()).collect();
        state.content.outbox_last = rows;
        for node in [1, 2] {
            state.stored(node, rows - 10);
        }
        assert_eq!(
            state.outbox_len() as u64,
            rows,
            "node 3 has none and is waited for"
        );
        state.content.outbox_last += 1;
        state.content.outbox.push_back(Blob::default());
        state.trim_outbox();
        assert_eq!(state.outbox_len(), 11, "the living have the others");
    }
}
