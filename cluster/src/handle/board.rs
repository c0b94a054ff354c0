//! What readers see of the state: a clone of it, taken when somebody reads and the last one has grown old.
//!
//! A clone shares its maps with the state, so whatever is written afterwards must be copied first. Taken after each
//! applied batch, clones cost more than applying did. Most batches are seen by nobody: who reads a few times a second,
//! or waits for one entry, needs one clone then. A node at rest makes none and has no timer for them.

use arc_swap::ArcSwap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

/// The state, written by applying alone.
pub(crate) struct Live<M> {
    pub(crate) state: M,
    /// Index after the last entry applied to it.
    pub(crate) upto: u64,
}

/// Marked states kept. Each holds what has changed since; more than two are wanted by nobody.
const MARKS_MAX: usize = 2;

/// A state kept at a mark.
struct Marked<M> {
    id: u64,
    state: Arc<M>,
    upto: u64,
    since: Instant,
}

/// The state and what is shown of it.
pub(crate) struct Board<M> {
    live: Mutex<Live<M>>,
    shown: ArcSwap<M>,
    /// `Live::upto`, to be read without the lock.
    applied: AtomicU64,
    /// Index after the last entry in `shown`. Written after it, read before it.
    shown_upto: AtomicU64,
    /// When that was taken: microseconds since `begun`.
    shown_at: AtomicU64,
    /// A reader found the state being written and took an old clone.
    missed: AtomicBool,
    /// The newest last.
    marks: Mutex<VecDeque<Marked<M>>>,
    begun: Instant,
}

impl<M: Clone> Board<M> {
    pub(crate) fn new(state: M) -> Self {
        Board {
            shown: ArcSwap::from_pointee(state.clone()),
            live: Mutex::new(Live { state, upto: 0 }),
            applied: AtomicU64::new(0),
            shown_upto: AtomicU64::new(0),
            shown_at: AtomicU64::new(0),
            missed: AtomicBool::new(false),
            marks: Mutex::default(),
            begun: Instant::now(),
        }
    }

    fn marks(&self) -> MutexGuard<'_, VecDeque<Marked<M>>> {
        self.marks
            .lock()
            .expect("no code panics while it holds the marks")
    }

    /// Keeps a state that has every entry below `upto` under `id`, in place of the oldest one kept.
    pub(crate) fn mark(&self, id: u64, state: M, upto: u64) {
        let mut marks = self.marks();
        while marks.len() >= MARKS_MAX {
            marks.pop_front();
        }
        marks.push_back(Marked {
            id,
            state: Arc::new(state),
            upto,
            since: Instant::now(),
        });
    }

    /// The state kept under `id`, and the index after the last entry in it.
    pub(crate) fn marked(&self, id: u64) -> Option<(Arc<M>, u64)> {
        let marks = self.marks();
        let mark = marks.iter().find(|mark| mark.id == id)?;
        Some((mark.state.clone(), mark.upto))
    }

    /// Lets go of states that were kept for longer than `age`.
    pub(crate) fn forget_marks(&self, age: Duration) {
        let mut marks = self.marks();
        while marks.front().is_some_and(|mark| mark.since.elapsed() > age) {
            marks.pop_front();
        }
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }

    fn show(&self, live: &Live<M>) {
        self.shown.store(Arc::new(live.state.clone()));
        self.shown_upto.store(live.upto, Ordering::Release);
        self.shown_at.store(self.now(), Ordering::Relaxed);
        self.missed.store(false, Ordering::Relaxed);
    }

    /// What is shown; if that is older than `age` and entries have been applied since, a new clone. While entries are
    /// just being applied nobody waits for them: then it may be older by that.
    pub(crate) fn within(&self, age: Duration) -> Arc<M> {
        let old = |shown_at: u64| Duration::from_micros(self.now().saturating_sub(shown_at)) >= age;
        if self.shown_upto.load(Ordering::Acquire) < self.applied.load(Ordering::Acquire)
            && old(self.shown_at.load(Ordering::Relaxed))
        {
            match self.live.try_lock() {
                Ok(live) => self.show(&live),
                Err(_) => self.missed.store(true, Ordering::Relaxed),
            }
        }
        self.shown.load_full()
    }

    /// The state with every entry applied so far, and the index after the last of them. Waits for a batch that is just
    /// being applied.
    pub(crate) fn latest(&self) -> (Arc<M>, u64) {
        let Ok(live) = self.live.lock() else {
            // Poisoned: applying has failed for good, what is shown stays the last good state.
            let upto = self.shown_upto.load(Ordering::Acquire);
            return (self.shown.load_full(), upto);
        };
        if self.shown_upto.load(Ordering::Acquire) < live.upto {
            self.show(&live);
        }
        (self.shown.load_full(), live.upto)
    }

    /// Sees to it that what is shown has every entry below `upto` that has been applied.
    pub(crate) fn show_upto(&self, upto: u64) {
        if self.shown_upto.load(Ordering::Acquire) < upto
            // Poisoned: applying has failed for good, what is shown stays the last good state.
            && let Ok(live) = self.live.lock()
            && self.shown_upto.load(Ordering::Acquire) < upto.min(live.upto)
        {
            self.show(&live);
        }
    }

    /// The state, to be written or frozen.
    pub(crate) fn live(&self) -> MutexGuard<'_, Live<M>> {
        self.live
            .lock()
            .expect("whoever panicked while applying was the only one to apply")
    }

    /// Entries below `upto` have been applied, and those waiting for them will be told now.
    pub(crate) fn applied(&self, upto: u64) {
        let mut live = self.live();
        live.upto = upto;
        self.applied.store(upto, Ordering::Release);
        if self.missed.load(Ordering::Relaxed) {
            self.show(&live);
        }
    }

    /// Puts another state in place, which has every entry below `upto`; [`Board::applied`] follows.
    pub(crate) fn replace(&self, state: M, upto: u64) {
        let mut live = self.live();
        (live.state, live.upto) = (state, upto);
        self.show(&live);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Duration = Duration::ZERO;
    const YOUNG: Duration = Duration::from_secs(3600);

    fn apply(board: &Board<u64>, upto: u64) {
        board.live().state = upto;
        board.applied(upto);
    }

    #[test]
    fn a_reader_sees_nothing_older_than_it_allows() {
        let board = Board::new(0);
        apply(&board, 1);
        assert_eq!(*board.within(YOUNG), 0, "young enough");
        assert_eq!(*board.within(OLD), 1);
        let shown = board.within(OLD);
        assert!(
            Arc::ptr_eq(&shown, &board.within(OLD)),
            "nothing new, no clone"
        );
    }

    #[test]
    fn who_was_told_of_an_entry_sees_it() {
        let board = Board::new(0);
        apply(&board, 1);
        apply(&board, 2);
        board.show_upto(1);
        assert_eq!(*board.within(YOUNG), 2);
        let shown = board.within(YOUNG);
        board.show_upto(9);
        assert!(Arc::ptr_eq(&shown, &board.within(YOUNG)), "not applied yet");
    }

    #[test]
    fn the_latest_state_comes_with_its_index_however_young_the_shown_one_is() {
        let board = Board::new(0);
        apply(&board, 1);
        assert_eq!(*board.within(OLD), 1);
        apply(&board, 2);
        let (state, upto) = board.latest();
        assert_eq!((*state, upto), (2, 2));
        board.replace(7, 7);
        let (state, upto) = board.latest();
        assert_eq!((*state, upto), (7, 7));
    }

    #[test]
    fn marked_states_stay_as_they_were_and_old_ones_are_let_go() {
        let board = Board::new(0);
        for id in 1..=3 {
            apply(&board, id);
            board.mark(id, id, id);
        }
        apply(&board, 9);
        assert_eq!(board.marked(1), None, "two are kept");
        assert_eq!(board.marked(3), Some((Arc::new(3), 3)));
        board.forget_marks(YOUNG);
        assert!(board.marked(2).is_some());
        board.forget_marks(OLD);
        assert_eq!((board.marked(2), board.marked(3)), (None, None));
    }

    #[test]
    fn a_reader_that_came_while_entries_were_applied_makes_them_show_at_their_end() {
        let board = Board::new(0);
        apply(&board, 1);
        let writing = board.live();
        assert_eq!(*board.within(OLD), 0, "does not wait");
        drop(writing);
        apply(&board, 2);
        assert_eq!(*board.within(YOUNG), 2);
        apply(&board, 3);
        assert_eq!(*board.within(YOUNG), 2, "once");
    }
}
