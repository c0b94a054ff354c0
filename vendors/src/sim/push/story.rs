//! One call as the platform remembers it for its customer.

use crate::sim::sip::{End, Side};
use crate::sim::vendor::Carrier;

/// A call and the binding that carries it. Numbers in E.164, times in Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// The platform's name of the call: letters, digits and hyphens.
    pub session: String,
    /// The binding or relation.
    pub carrier: Carrier,
    /// Whether somebody called the A of a relation.
    pub incoming: bool,
    /// When it came in.
    pub started_ms: u64,
    /// When the phone rang.
    pub ringing_ms: Option<u64>,
    /// When it was answered.
    pub answered_ms: Option<u64>,
    /// When and how it ended.
    pub ended: Option<(u64, End)>,
}

/// What came of a call in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They talked.
    Talked,
    /// Busy.
    Busy,
    /// It rang and nobody answered.
    NoAnswer,
    /// The phone cannot be reached.
    Off,
    /// There is no such number.
    NoNumber,
    /// The callee refused.
    Rejected,
    /// The caller gave up.
    Cancelled,
    /// Something else.
    Failed,
}

impl Story {
    /// Who called.
    pub fn caller(&self) -> &str {
        if self.incoming {
            &self.carrier.b
        } else {
            &self.carrier.a
        }
    }

    /// Whose phone rang.
    pub fn callee(&self) -> &str {
        if self.incoming {
            &self.carrier.a
        } else {
            &self.carrier.b
        }
    }

    /// When it ended; while it lives, when it began.
    pub fn ended_ms(&self) -> u64 {
        self.ended.map_or(self.started_ms, |(at_ms, _)| at_ms)
    }

    /// Who ended it.
    pub fn ended_by(&self) -> Side {
        self.ended.map_or(Side::Platform, |(_, end)| end.by)
    }

    /// Seconds from answer to end, as the difference of the two times written in seconds.
    pub fn talked_s(&self) -> u64 {
        let since = |answered_ms: u64| (self.ended_ms() / 1000).saturating_sub(answered_ms / 1000);
        self.answered_ms.map_or(0, since)
    }

    /// What came of it.
    pub fn fate(&self) -> Fate {
        if self.answered_ms.is_some() {
            return Fate::Talked;
        }
        match self.ended.map(|(_, end)| end.status) {
            Some(486 | 600) => Fate::Busy,
            Some(408 | 504) => Fate::NoAnswer,
            Some(480 | 503) => Fate::Off,
            Some(404 | 410 | 484 | 604) => Fate::NoNumber,
            Some(403 | 603 | 607) => Fate::Rejected,
            Some(487) => Fate::Cancelled,
            _ => Fate::Failed,
        }
    }

    /// The same with a minute and a second more between answer and end: a bill that is wrong.
    #[must_use]
    pub fn lengthened(mut self) -> Story {
        if let (Some(_), Some((at_ms, _))) = (self.answered_ms, &mut self.ended) {
            *at_ms += 61_000;
        }
        self
    }

    /// Where its recording would be, if it has one.
    pub fn recording(&self) -> Option<String> {
        let there = self.carrier.recorded && self.answered_ms.is_some();
        there.then(|| format!("https://records.sim.invalid/{}.wav", self.session))
    }
}
