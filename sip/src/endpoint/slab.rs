//! A slab whose handles are never given out twice.

/// A place in a [`Slab`]. A handle of what has been removed finds nothing, even when the place is in use again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    index: u32,
    generation: u32,
}

impl Slot {
    pub(super) fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(super) fn from_u64(id: u64) -> Self {
        Self {
            index: id as u32,
            generation: (id >> 32) as u32,
        }
    }
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by handle; the places of removed ones are used again.
#[derive(Debug)]
pub(super) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    // One counter for all places: a handle comes back only after 2^32 insertions that end on the same place.
    generation: u32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            generation: 0,
        }
    }
}

impl<T> Slab<T> {
    /// Reserves a handle for a value that needs to know its own.
    pub(super) fn insert_with(&mut self, make: impl FnOnce(Slot) -> T) -> Slot {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let index = self.free.pop().unwrap_or(self.entries.len() as u32);
        let slot = Slot { index, generation };
        let entry = Entry {
            generation,
            value: Some(make(slot)),
        };
        match self.entries.get_mut(index as usize) {
            Some(place) => *place = entry,
            None => self.entries.push(entry),
        }
        slot
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        let entry = self.entries.get(slot.index as usize)?;
        entry
            .value
            .as_ref()
            .filter(|_| entry.generation == slot.generation)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        let entry = self.entries.get_mut(slot.index as usize)?;
        entry
            .value
            .as_mut()
            .filter(|_| entry.generation == slot.generation)
    }

    /// Takes a value out to work on it; its place stays reserved until [`Slab::put_back`] or [`Slab::free`].
    pub(super) fn take(&mut self, slot: Slot) -> Option<T> {
        let entry = self.entries.get_mut(slot.index as usize)?;
        if entry.generation == slot.generation {
            entry.value.take()
        } else {
            None
        }
    }

    pub(super) fn put_back(&mut self, slot: Slot, value: T) {
        if let Some(entry) = self.entries.get_mut(slot.index as usize)
            && entry.generation == slot.generation
        {
            entry.value = Some(value);
        }
    }

    /// Gives up the place of a value that was taken out.
    pub(super) fn free(&mut self, slot: Slot) {
        if let Some(entry) = self.entries.get_mut(slot.index as usize)
            && entry.generation == slot.generation
        {
            entry.generation = 0;
            entry.value = None;
            self.free.push(slot.index);
        }
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<T> {
        let value = self.take(slot)?;
        self.free(slot);
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| {
                let slot = Slot {
                    index: index as u32,
                    generation: entry.generation,
                };
                entry.value.as_ref().map(|value| (slot, value))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_of_what_is_gone_finds_nothing() {
        let mut slab = Slab::default();
        let first = slab.insert_with(|_| "first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert_with(|_| "second");
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(Slot::from_u64(second.to_u64()), second);
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_value_taken_out_keeps_its_place() {
        let mut slab = Slab::default();
        let slot = slab.insert_with(|_| 1);
        let value = slab.take(slot).expect("it is there");
        let other = slab.insert_with(|_| 2);
        slab.put_back(slot, value + 10);
        assert_eq!((slab.get(slot), slab.get(other)), (Some(&11), Some(&2)));
        slab.take(slot);
        slab.free(slot);
        assert_eq!(slab.len(), 1);
    }
}
