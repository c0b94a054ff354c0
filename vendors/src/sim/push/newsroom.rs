//! Follows the calls of the SIP side and says what is to be pushed of each step. Pure: the clock
//! comes in, and so does what is known of the vendors.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::faults::Faults;
use super::super::sip::{Note, Step};
use super::super::vendor::Carrier;
use super::mailbox::Letter;
use super::{Account, Herald, Notice, Story, Told};
use crate::sim::sip::Route;

/// The stories of the calls that live, by Call-ID. The SIP side bounds their number and ends each.
#[derive(Debug)]
pub(in crate::sim) struct Newsroom {
    run: u32,
    serial: u64,
    stories: HashMap<String, (Teller, Story)>,
}

/// The vendor that carries a call and tells of it.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Teller {
    pub(in crate::sim) herald: &'static Herald,
    pub(in crate::sim) account: Arc<Account>,
}

/// What is known of the vendors.
pub(in crate::sim) trait Vendors {
    /// What carries a call from one number to another, if its vendor tells of calls.
    fn carrier(&mut self, from: &str, x: &str, now_ms: u64) -> Option<(Teller, Carrier)>;

    /// What a vendor does wrong now.
    fn faults(&self, word: &str) -> Faults;
}

impl Newsroom {
    /// One that follows no call yet; `run` should differ from run to run.
    pub(in crate::sim) fn new(run: u32) -> Newsroom {
        Newsroom {
            run,
            serial: 0,
            stories: HashMap::new(),
        }
    }

    /// Takes a note at a time in Unix milliseconds. What comes out is to be sent at the times beside
    /// it.
    pub(in crate::sim) fn on(
        &mut self,
        note: Note,
        now_ms: u64,
        vendors: &mut impl Vendors,
    ) -> Vec<(u64, Letter)> {
        let step = note.step;
        let told = match &step {
            Step::Started { from, x } => {
                let Some((teller, carrier)) = vendors.carrier(from, x, now_ms) else {
                    return Vec::new();
                };
                self.begin(&note.call, teller, carrier, now_ms);
                Told::Started
            }
            Step::Ringing => Told::Ringing,
            Step::Answered => Told::Answered,
            Step::Ended(_) => Told::Ended,
        };
        let Some((teller, story)) = self.stories.get_mut(&note.call) else {
            return Vec::new();
        };
        match step {
            Step::Ringing => story.ringing_ms = Some(now_ms),
            Step::Answered => story.answered_ms = Some(now_ms),
            Step::Ended(end) => story.ended = Some((now_ms, end)),
            Step::Started { .. } => {}
        }
        let faults = vendors.faults(teller.herald.word);
        let letters = letters(teller, story, told, &faults, now_ms);
        if told == Told::Ended {
            self.stories.remove(&note.call);
        }
        letters
    }

    fn begin(&mut self, call: &str, teller: Teller, carrier: Carrier, now_ms: u64) {
        self.serial += 1;
        let story = Story {
            session: format!("{:08x}-{:010}", self.run, self.serial),
            incoming: matches!(carrier.route, Route::In { .. }),
            carrier,
            started_ms: now_ms,
            ringing_ms: None,
            answered_ms: None,
            ended: None,
        };
        self.stories.insert(call.to_owned(), (teller, story));
    }
}

/// What is sent of a step, and when.
fn letters(
    teller: &Teller,
    story: &Story,
    told: Told,
    faults: &Faults,
    now_ms: u64,
) -> Vec<(u64, Letter)> {
    let tell = teller.herald.tell;
    let mut notices = tell(story, told, &teller.account);
    if told == Told::Ended {
        let billed = if faults.wrong_bills {
            story.clone().lengthened()
        } else {
            story.clone()
        };
        notices.extend(tell(&billed, Told::Bill, &teller.account));
    }
    let times = match (faults.no_callbacks, faults.duplicate_callbacks) {
        (true, _) => 0,
        (false, true) => 2,
        (false, false) => 1,
    };
    let due_ms = now_ms.saturating_add(faults.callback_delay_ms);
    let letter = |notice: Notice| Letter::new(teller.clone(), &story.carrier, notice);
    notices
        .into_iter()
        .flat_map(|notice| std::iter::repeat_n(notice, times))
        .map(|notice| (due_ms, letter(notice)))
        .collect()
}
