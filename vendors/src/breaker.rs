//! The circuit breaker of one interface, as data over a millisecond clock.
//!
//! ```text
//!            credentials refused, address blocked,
//!            or too many connects failed in a row
//!   closed ───────────────────────────────────────▶ open until t
//!     ▲                                               │ first request at or after t
//!     │ the probe was answered                        ▼
//!     └─────────────────────────────────────────── probing ──▶ open again, if it failed
//! ```
//! A wrong secret must stop at once: platforms block the whole address after a few tries.

use crate::description::Auth;
use crate::interface;

/// The state of one interface.
#[derive(Clone, Debug)]
pub struct Breaker {
    config: interface::Breaker,
    /// A probe that brought no result in this time is given up.
    probe_max_ms: u64,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Closed { connect_failures: u32 },
    Open { until_ms: u64, why: Why },
    Probing { since_ms: u64, why: Why },
}

/// Why requests are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The platform refuses our credentials.
    Refused,
    /// The platform has blocked our address.
    Blocked,
    /// The platform cannot be reached.
    Unreachable,
}

impl Why {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Why::Refused => "platform refused our credentials",
            Why::Blocked => "platform has blocked our address",
            Why::Unreachable => "platform cannot be reached",
        }
    }
}

/// What became of a request, as far as the breaker cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Result {
    /// An answer was read, and it says this about our credentials.
    Answered(Auth),
    /// No connection.
    ConnectFailed,
    /// A connection, but no answer that could be read.
    Lost,
}

impl Breaker {
    /// A closed breaker. `probe_max_ms` is the total time-out of a request.
    pub fn new(config: interface::Breaker, probe_max_ms: u64) -> Breaker {
        Breaker {
            config,
            probe_max_ms,
            state: State::Closed {
                connect_failures: 0,
            },
        }
    }

    /// Whether a request may go out now.
    ///
    /// # Errors
    /// Why not, and for how many milliseconds at least.
    pub fn admit(&mut self, now_ms: u64) -> std::result::Result<(), (Why, u64)> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until_ms, why } if now_ms < until_ms => Err((why, until_ms - now_ms)),
            State::Open { why, .. } => {
                let since_ms = now_ms;
                self.state = State::Probing { since_ms, why };
                Ok(())
            }
            // The probe's caller may have gone away; another one takes its place.
            State::Probing { since_ms, why } if now_ms >= since_ms + self.probe_max_ms => {
                let since_ms = now_ms;
                self.state = State::Probing { since_ms, why };
                Ok(())
            }
            State::Probing { since_ms, why } => Err((why, since_ms + self.probe_max_ms - now_ms)),
        }
    }

    /// Takes note of what became of an admitted request.
    pub fn note(&mut self, result: Result, now_ms: u64) {
        match result {
            Result::Answered(Auth::Blocked) => {
                self.open(Why::Blocked, self.config.blocked_ms, now_ms);
            }
            Result::Answered(Auth::Refused) => {
                self.open(Why::Refused, self.config.refused_ms, now_ms);
            }
            Result::Answered(Auth::Fine) => match self.state {
                // An older request that was under way says nothing new about a refusal.
                State::Open { why, .. } if why != Why::Unreachable => {}
                _ => self.close(),
            },
            Result::Lost => match self.state {
                State::Closed { .. } => self.close(),
                State::Probing { why, .. } => self.open(why, self.config.probe_ms, now_ms),
                State::Open { .. } => {}
            },
            Result::ConnectFailed => match self.state {
                State::Closed { connect_failures } => {
                    let connect_failures = connect_failures.saturating_add(1);
                    let most = self.config.connect_failures;
                    if most > 0 && connect_failures >= most {
                        self.open(Why::Unreachable, self.config.probe_ms, now_ms);
                    } else {
                        self.state = State::Closed { connect_failures };
                    }
                }
                State::Probing { why, .. } => self.open(why, self.config.probe_ms, now_ms),
                State::Open { .. } => {}
            },
        }
    }

    /// Whether requests are held back or only a probe is out.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// Why requests are held back, if they are.
    pub fn why(&self) -> Option<Why> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { why, .. } | State::Probing { why, .. } => Some(why),
        }
    }

    /// Opens for `for_ms`, never shortening an earlier opening.
    fn open(&mut self, why: Why, for_ms: u64, now_ms: u64) {
        let until_ms = now_ms.saturating_add(for_ms);
        if let State::Open {
            until_ms: earlier, ..
        } = self.state
            && earlier >= until_ms
        {
            return;
        }
        self.state = State::Open { until_ms, why };
    }

    fn close(&mut self) {
        self.state = State::Closed {
            connect_failures: 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        let config = interface::Breaker {
            refused_ms: 60_000,
            blocked_ms: 1_800_000,
            connect_failures: 3,
            probe_ms: 1_000,
        };
        Breaker::new(config, 3_000)
    }

    const FINE: Result = Result::Answered(Auth::Fine);

    #[test]
    fn a_blocked_address_is_left_alone_for_half_an_hour_and_then_probed_once() {
        let mut breaker = breaker();
        breaker.note(Result::Answered(Auth::Blocked), 0);
        assert_eq!(breaker.admit(1), Err((Why::Blocked, 1_799_999)));
        // A late answer to an earlier request does not close it, a refusal does not shorten it.
        breaker.note(FINE, 2);
        breaker.note(Result::Answered(Auth::Refused), 3);
        assert_eq!(breaker.admit(1_799_999), Err((Why::Blocked, 1)));
        assert_eq!(breaker.admit(1_800_000), Ok(()));
        assert_eq!(breaker.admit(1_800_001), Err((Why::Blocked, 2_999)));
        breaker.note(FINE, 1_800_010);
        assert_eq!(breaker.admit(1_800_011), Ok(()));
        assert!(!breaker.is_open());
    }

    #[test]
    fn the_first_refusal_of_credentials_opens() {
        let mut breaker = breaker();
        breaker.note(Result::Answered(Auth::Refused), 10);
        assert_eq!(breaker.admit(11), Err((Why::Refused, 59_999)));
    }

    #[test]
    fn failed_connects_open_only_in_a_row_and_a_failed_probe_opens_again() {
        let mut breaker = breaker();
        for now in 0..2 {
            breaker.note(Result::ConnectFailed, now);
        }
        breaker.note(Result::Lost, 2);
        for now in 3..5 {
            breaker.note(Result::ConnectFailed, now);
        }
        assert_eq!(breaker.admit(5), Ok(()));
        breaker.note(Result::ConnectFailed, 6);
        assert_eq!(breaker.admit(7), Err((Why::Unreachable, 999)));
        assert_eq!(breaker.admit(1_006), Ok(()));
        breaker.note(Result::ConnectFailed, 1_010);
        assert_eq!(breaker.admit(1_011), Err((Why::Unreachable, 999)));
        assert_eq!(breaker.admit(2_010), Ok(()));
        breaker.note(FINE, 2_011);
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_probe_without_result_is_replaced_after_the_time_out() {
        let mut breaker = breaker();
        breaker.note(Result::Answered(Auth::Refused), 0);
        assert_eq!(breaker.admit(60_000), Ok(()));
        assert!(breaker.admit(62_999).is_err());
        assert_eq!(breaker.admit(63_000), Ok(()));
    }
}
