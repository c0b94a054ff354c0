//! When each push is tried: those that wait, in the order of their times, and what becomes of them.
//! Pure: the clock comes in.

use std::collections::BTreeMap;

use super::newsroom::Teller;
use super::{Notice, Told};
use crate::numbers::from_e164;
use crate::sim::vendor::Carrier;

/// Pushes that wait at most; one more is given up at once.
const WAITING_MAX: usize = 10_000;
/// Tries under way at most.
const SENDING_MAX: usize = 64;

/// A push on its way.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Letter {
    pub(super) teller: Teller,
    pub(super) notice: Notice,
    /// For the log: A, X and B in our notation, and the binding.
    pub(super) numbers: [String; 3],
    pub(super) bind_id: String,
    /// How often it has been tried.
    pub(super) tries: usize,
}

impl Letter {
    pub(super) fn new(teller: Teller, carrier: &Carrier, notice: Notice) -> Letter {
        Letter {
            teller,
            notice,
            numbers: [&carrier.a, &carrier.x, &carrier.b].map(|number| from_e164(number)),
            bind_id: carrier.bind_id.clone(),
            tries: 0,
        }
    }

    /// The vendor's word.
    pub(in crate::sim) fn vendor(&self) -> &'static str {
        self.teller.herald.word
    }

    /// Milliseconds until the next try after one that failed; `None`: there is none.
    fn again_ms(&self) -> Option<u64> {
        let [events, bills] = self.teller.herald.again_s;
        let pattern = if self.notice.told == Told::Bill {
            bills
        } else {
            events
        };
        let seconds = pattern.get(self.tries.checked_sub(1)?)?;
        Some(seconds.saturating_mul(self.teller.account.minute_ms) / 60)
    }
}

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fortune {
    /// The literal answer came.
    Heard,
    /// It did not, and the push is tried again later.
    Again,
    /// It did not, and that was the last try.
    GivenUp,
}

/// The pushes that wait.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    serial: u64,
    waiting: BTreeMap<(u64, u64), Letter>,
    sending: usize,
}

impl Mailbox {
    /// Keeps a push until its time.
    ///
    /// # Errors
    /// The push, when too many wait.
    pub(super) fn put(&mut self, due_ms: u64, letter: Letter) -> Result<(), Box<Letter>> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(Box::new(letter));
        }
        self.serial += 1;
        self.waiting.insert((due_ms, self.serial), letter);
        Ok(())
    }

    /// The next push whose time has come, counted as tried, unless enough are under way.
    pub(super) fn take(&mut self, now_ms: u64) -> Option<Letter> {
        let first = self.waiting.first_entry()?;
        if self.sending >= SENDING_MAX || first.key().0 > now_ms {
            return None;
        }
        self.sending += 1;
        let mut letter = first.remove();
        letter.tries += 1;
        Some(letter)
    }

    /// What follows from a try.
    pub(super) fn settle(&mut self, letter: Letter, heard: bool, now_ms: u64) -> Fortune {
        self.sending = self.sending.saturating_sub(1);
        if heard {
            return Fortune::Heard;
        }
        let put = |again_ms| {
            self.put(now_ms.saturating_add(again_ms), letter.clone())
                .ok()
        };
        match letter.again_ms().and_then(put) {
            Some(()) => Fortune::Again,
            None => Fortune::GivenUp,
        }
    }

    /// When [`Mailbox::take`] is worth asking, if not for a try that ends.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let first = self
            .waiting
            .first_key_value()
            .map(|((due_ms, _), _)| *due_ms);
        first.filter(|_| self.sending < SENDING_MAX)
    }
}
