//! What of the log is in memory: the index of all of it, and the newest payloads.

use crate::wal::appender::{Location, Written};
use crate::wal::disk::DiskFile;
use crate::wal::record::{LogId, Payload, Vote};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Entries kept in memory for followers and for applying; older ones are read from disk.
const CACHE_BYTES: usize = 32 << 20;

/// An entry's place in the index.
pub(super) struct Slot {
    pub(super) id: LogId,
    /// While it is in memory.
    pub(super) payload: Option<Payload>,
    /// Once it is on disk.
    pub(super) location: Option<Location>,
}

#[derive(Default)]
pub(super) struct Memory {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    pub(super) committed: Option<LogId>,
    /// `committed` is newer than what was written.
    pub(super) committed_dirty: bool,
    /// Without gap, `slots[0].id.index` is the first.
    pub(super) slots: VecDeque<Slot>,
    /// Payloads in memory, bytes.
    pub(super) cached: usize,
    /// Slots before this one have no payload in memory.
    pub(super) uncached: usize,
    pub(super) files: BTreeMap<u64, Arc<dyn DiskFile>>,
    pub(super) failed: Option<String>,
}

impl Memory {
    /// Drops entries from `from` on.
    pub(super) fn truncate(&mut self, from: u64) {
        while self.slots.back().is_some_and(|slot| slot.id.index >= from) {
            if let Some(slot) = self.slots.pop_back() {
                self.forget(&slot);
            }
        }
        self.uncached = self.uncached.min(self.slots.len());
    }

    /// Drops entries up to and with `upto`.
    pub(super) fn purge(&mut self, upto: LogId) {
        while self
            .slots
            .front()
            .is_some_and(|slot| slot.id.index <= upto.index)
        {
            if let Some(slot) = self.slots.pop_front() {
                self.forget(&slot);
                self.uncached = self.uncached.saturating_sub(1);
            }
        }
        self.purged = self.purged.max(Some(upto));
    }

    fn forget(&mut self, slot: &Slot) {
        if let Some(payload) = &slot.payload {
            self.cached = self.cached.saturating_sub(payload.weight());
        }
    }

    /// Drops the oldest payloads that are on disk until the rest fits.
    pub(super) fn evict(&mut self) {
        while self.cached > CACHE_BYTES {
            let Some(slot) = self.slots.get_mut(self.uncached) else {
                return;
            };
            if slot.location.is_none() {
                return;
            }
            if let Some(payload) = slot.payload.take() {
                self.cached = self.cached.saturating_sub(payload.weight());
            }
            self.uncached += 1;
        }
    }

    /// Notes where entries lie, and which segments there are.
    pub(super) fn written(&mut self, entries: &[LogId], written: Written) {
        if let Some((number, file)) = written.begun {
            self.files.insert(number, file);
        }
        if self
            .files
            .first_key_value()
            .is_some_and(|(number, _)| *number < written.oldest)
        {
            self.files = self.files.split_off(&written.oldest);
        }
        let first = self.slots.front().map_or(0, |slot| slot.id.index);
        for (id, location) in entries.iter().zip(written.locations) {
            // Truncated or purged in the meantime, or another entry in its place: then the place does not matter.
            let at = id.index.checked_sub(first).map(|at| at as usize);
            if let Some(slot) = at.and_then(|at| self.slots.get_mut(at))
                && slot.id == *id
            {
                slot.location = Some(location);
            }
        }
    }
}

impl Payload {
    /// Bytes that it takes, about.
    pub(super) fn weight(&self) -> usize {
        match self {
            Payload::Blank => 0,
            Payload::Normal(bytes) => bytes.len(),
            Payload::Membership(membership) => 64 * (1 + membership.nodes.len()),
        }
    }
}
