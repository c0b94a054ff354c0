//! The timing wheel of a shard.
//!
//! Six levels of 64 slots at one millisecond a tick, so a deadline up to two years ahead costs the same as one in
//! the next second: arm, cancel and fire move a node between linked lists. A timer fires at its own millisecond or
//! when the caller next looks, never before. No clock is read: the caller passes `now`.

use std::num::NonZeroU32;

/// Monotonic milliseconds. Only differences mean anything.
pub type Millis = u64;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 6;
/// Deadlines further ahead than this wait in the last level and are looked at again when it comes round. One slot
/// less than the level holds, so that the last slot is never the one the wheel stands in.
const SPAN: Millis = ((SLOTS as Millis) - 1) << (SLOT_BITS * (LEVELS as u32 - 1));
const NIL: u32 = u32::MAX;

/// A timer that was armed. Stale handles (fired or cancelled) are recognised and do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerId {
    index: u32,
    generation: NonZeroU32,
}

#[derive(Debug)]
struct Node<T> {
    at: Millis,
    next: u32,
    // The head's `prev` is the tail, so that timers of one millisecond fire in the order they were armed.
    prev: u32,
    generation: NonZeroU32,
    level: u8,
    slot: u8,
    value: Option<T>,
}

/// Timers carrying a `T`, fired in order of their deadlines.
#[derive(Debug)]
pub struct Wheel<T> {
    elapsed: Millis,
    nodes: Vec<Node<T>>,
    free: u32,
    live: usize,
    occupied: [u64; LEVELS],
    heads: [[u32; SLOTS]; LEVELS],
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<T> Wheel<T> {
    /// An empty wheel standing at `now`.
    pub fn new(now: Millis) -> Self {
        Self {
            elapsed: now,
            nodes: Vec::new(),
            free: NIL,
            live: 0,
            occupied: [0; LEVELS],
            heads: [[NIL; SLOTS]; LEVELS],
        }
    }

    /// Timers armed and not yet fired or cancelled.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether nothing is armed.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Arms a timer for `at`; a moment that has passed fires at the next [`Wheel::pop`].
    pub fn arm(&mut self, at: Millis, value: T) -> TimerId {
        let index = if self.free == NIL {
            let index = self.nodes.len() as u32;
            self.nodes.push(Node {
                at,
                next: NIL,
                prev: NIL,
                generation: NonZeroU32::MIN,
                level: 0,
                slot: 0,
                value: Some(value),
            });
            index
        } else {
            let index = self.free;
            let node = &mut self.nodes[index as usize];
            self.free = node.next;
            node.at = at;
            node.value = Some(value);
            index
        };
        self.live += 1;
        self.link(index);
        TimerId {
            index,
            generation: self.nodes[index as usize].generation,
        }
    }

    /// Takes a timer back; what it carried, or nothing when it has fired or been cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let node = self.nodes.get(id.index as usize)?;
        if node.generation != id.generation || node.value.is_none() {
            return None;
        }
        self.unlink(id.index);
        self.release(id.index)
    }

    /// A moment not later than the first deadline. At that moment [`Wheel::pop`] may still find nothing due, when the
    /// deadline is far off and only moved closer.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.next_slot().map(|(_, _, at)| at)
    }

    /// The next timer that is due at `now`. Call until it gives nothing.
    pub fn pop(&mut self, now: Millis) -> Option<T> {
        loop {
            match self.next_slot() {
                Some((level, slot, at)) if at <= now => {
                    self.elapsed = self.elapsed.max(at);
                    let head = self.heads[level][slot];
                    if level == 0 {
                        self.unlink(head);
                        return self.release(head);
                    }
                    self.bring_closer(level, slot);
                }
                _ => {
                    self.elapsed = self.elapsed.max(now);
                    return None;
                }
            }
        }
    }

    /// Level, slot and start of the first slot with timers in it. Lower levels lie wholly before higher ones.
    fn next_slot(&self) -> Option<(usize, usize, Millis)> {
        let level = (0..LEVELS).find(|level| self.occupied[*level] != 0)?;
        let shift = SLOT_BITS * level as u32;
        let here = (self.elapsed >> shift) as u32 & (SLOTS as u32 - 1);
        let ahead = self.occupied[level].rotate_right(here).trailing_zeros();
        let slot = ((here + ahead) as usize) & (SLOTS - 1);
        let here_start = (self.elapsed >> shift) << shift;
        Some((level, slot, here_start + (Millis::from(ahead) << shift)))
    }

    /// Spreads the timers of a slot that has been reached over the finer levels.
    fn bring_closer(&mut self, level: usize, slot: usize) {
        let mut index = std::mem::replace(&mut self.heads[level][slot], NIL);
        self.occupied[level] &= !(1 << slot);
        while index != NIL {
            let next = self.nodes[index as usize].next;
            self.link(index);
            index = next;
        }
    }

    fn link(&mut self, index: u32) {
        let at = self.nodes[index as usize]
            .at
            .clamp(self.elapsed, self.elapsed + SPAN);
        let differs = (at ^ self.elapsed) | (SLOTS as u64 - 1);
        let level = (((63 - differs.leading_zeros()) / SLOT_BITS) as usize).min(LEVELS - 1);
        let slot = ((at >> (SLOT_BITS * level as u32)) as usize) & (SLOTS - 1);
        let head = self.heads[level][slot];
        let tail = if head == NIL {
            self.heads[level][slot] = index;
            self.occupied[level] |= 1 << slot;
            index
        } else {
            let tail = std::mem::replace(&mut self.nodes[head as usize].prev, index);
            self.nodes[tail as usize].next = index;
            tail
        };
        let node = &mut self.nodes[index as usize];
        node.prev = tail;
        node.next = NIL;
        node.level = level as u8;
        node.slot = slot as u8;
    }

    fn unlink(&mut self, index: u32) {
        let node = &self.nodes[index as usize];
        let (prev, next) = (node.prev, node.next);
        let (level, slot) = (usize::from(node.level), usize::from(node.slot));
        let head = self.heads[level][slot];
        if head == index {
            self.heads[level][slot] = next;
            if next == NIL {
                self.occupied[level] &= !(1 << slot);
            } else {
                self.nodes[next as usize].prev = prev;
            }
        } else {
            self.nodes[prev as usize].next = next;
            let after = if next == NIL { head } else { next };
            self.nodes[after as usize].prev = prev;
        }
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let free = self.free;
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        node.next = free;
        self.free = index;
        self.live -= 1;
        node.value.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(wheel: &mut Wheel<u32>, now: Millis) -> Vec<u32> {
        std::iter::from_fn(|| wheel.pop(now)).collect()
    }

    #[test]
    fn timers_fire_in_order_and_not_before_their_moment() {
        let mut wheel = Wheel::new(1_000);
        wheel.arm(33_000, 3);
        wheel.arm(1_500, 1);
        wheel.arm(5_000, 2);
        assert!(drain(&mut wheel, 1_499).is_empty());
        assert_eq!(drain(&mut wheel, 1_500), [1]);
        assert!(drain(&mut wheel, 4_999).is_empty());
        assert_eq!(drain(&mut wheel, 40_000), [2, 3]);
        assert!(wheel.is_empty());
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn timers_of_one_millisecond_fire_in_the_order_they_were_armed() {
        let mut wheel = Wheel::new(0);
        for value in 0..5 {
            wheel.arm(700, value);
        }
        assert_eq!(drain(&mut wheel, 700), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_cancelled_timer_does_not_fire_and_its_handle_is_stale_afterwards() {
        let mut wheel = Wheel::new(0);
        let first = wheel.arm(10, 1);
        assert_eq!(wheel.cancel(first), Some(1));
        let second = wheel.arm(10, 2);
        assert_eq!(
            wheel.cancel(first),
            None,
            "the slot is in use again by another timer"
        );
        assert_eq!(drain(&mut wheel, 10), [2]);
        assert_eq!(wheel.cancel(second), None);
    }

    #[test]
    fn a_moment_in_the_past_fires_at_once() {
        let mut wheel = Wheel::new(500);
        wheel.arm(3, 9);
        assert_eq!(drain(&mut wheel, 500), [9]);
    }

    #[test]
    fn a_deadline_beyond_the_span_is_kept() {
        let mut wheel = Wheel::new(0);
        wheel.arm(3 * SPAN + 5, 1);
        assert!(drain(&mut wheel, 12_345).is_empty());
        assert!(drain(&mut wheel, 2 * SPAN + 77).is_empty());
        assert!(drain(&mut wheel, 3 * SPAN + 4).is_empty());
        assert_eq!(drain(&mut wheel, 3 * SPAN + 5), [1]);
    }

    proptest! {
        #[test]
        fn the_wheel_fires_what_a_sorted_list_would(
            start in 0u64..10_000_000,
            steps in prop::collection::vec((0u64..100_000, 0u64..3_000, any::<bool>()), 1..200),
        ) {
            let mut wheel = Wheel::new(start);
            let mut model: Vec<(Millis, u32, TimerId)> = Vec::new();
            let mut now = start;
            for (value, (ahead, pass, cancel)) in steps.into_iter().enumerate() {
                let id = wheel.arm(now + ahead, value as u32);
                model.push((now + ahead, value as u32, id));
                if cancel && model.len() > 1 {
                    let (_, value, id) = model.remove(model.len() / 2);
                    prop_assert_eq!(wheel.cancel(id), Some(value));
                }
                now += pass;
                if let Some(first) = model.iter().map(|(at, ..)| *at).min() {
                    prop_assert!(wheel.next_deadline().expect("timers are armed") <= first.max(now));
                }
                let mut due: Vec<(Millis, u32)> =
                    model.iter().filter(|(at, ..)| *at <= now).map(|(at, value, _)| (*at, *value)).collect();
                model.retain(|(at, ..)| *at > now);
                due.sort();
                let mut fired = drain(&mut wheel, now);
                fired.sort();
                let mut expected: Vec<u32> = due.into_iter().map(|(_, value)| value).collect();
                expected.sort();
                prop_assert_eq!(fired, expected);
                prop_assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
