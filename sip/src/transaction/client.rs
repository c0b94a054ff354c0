//! The non-INVITE client transaction, RFC 3261 §17.1.2.

use super::{Act, Clock, Timing};
use crate::timer::Millis;

/// A request other than INVITE and ACK that we sent. Timers E, F and K.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    state: State,
    reliable: bool,
    pub(super) clock: Clock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Trying,
    Proceeding,
    Completed,
}

impl Client {
    /// The request is being sent at `now`.
    pub fn new(reliable: bool, timing: &Timing, now: Millis) -> Self {
        let mut clock = Clock::default();
        if !reliable {
            clock.repeat(now, timing.t1_ms);
        }
        clock.end(now, timing.patience_ms());
        Self {
            state: State::Trying,
            reliable,
            clock,
        }
    }

    /// Whether no final response has come yet.
    pub fn pending(&self) -> bool {
        self.state != State::Completed
    }

    /// A response that matched has arrived.
    pub fn on_response(&mut self, status: u16, timing: &Timing, now: Millis) -> Act {
        match (self.state, status) {
            (State::Trying | State::Proceeding, 100..=199) => {
                self.state = State::Proceeding;
                Act::Pass
            }
            (State::Trying | State::Proceeding, _) => {
                self.state = State::Completed;
                self.clock.only_end(
                    now,
                    if self.reliable {
                        0
                    } else {
                        Millis::from(timing.t4_ms)
                    },
                );
                Act::Pass
            }
            // Copies of the final response.
            (State::Completed, _) => Act::Nothing,
        }
    }

    pub(super) fn due(&mut self, timing: &Timing, now: Millis) -> Act {
        if self.clock.ended(now) {
            return if self.pending() {
                Act::TimedOut
            } else {
                Act::Over
            };
        }
        if self.clock.repeats(now) {
            let next_ms = match self.state {
                State::Trying => self.clock.repeat_ms.saturating_mul(2).min(timing.t2_ms),
                State::Proceeding | State::Completed => timing.t2_ms,
            };
            self.clock.repeat_again(now, next_ms);
            return Act::Resend;
        }
        Act::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::super::Machine;
    use super::super::tests::run;
    use super::*;

    #[test]
    fn a_request_is_repeated_from_t1_doubling_to_t2_for_32_seconds() {
        let acts = run(
            Machine::Client(Client::new(false, &Timing::default(), 0)),
            0,
        );
        let resends: Vec<Millis> = acts
            .iter()
            .filter(|(_, act)| *act == Act::Resend)
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(
            resends,
            [
                500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
            ]
        );
        assert_eq!(acts.last(), Some(&(32_000, Act::TimedOut)));
    }

    #[test]
    fn over_a_stream_it_is_sent_once() {
        let acts = run(Machine::Client(Client::new(true, &Timing::default(), 0)), 0);
        assert_eq!(acts, [(32_000, Act::TimedOut)]);
    }

    #[test]
    fn after_a_provisional_response_it_is_repeated_at_t2() {
        let timing = Timing::default();
        let mut bye = Client::new(false, &timing, 0);
        assert_eq!(bye.on_response(100, &timing, 100), Act::Pass);
        let acts = run(Machine::Client(bye), 0);
        assert_eq!(acts[..3], [500, 4_500, 8_500].map(|at| (at, Act::Resend)));
    }

    #[test]
    fn copies_of_the_final_response_are_absorbed_until_timer_k() {
        let timing = Timing::default();
        let mut bye = Client::new(false, &timing, 0);
        assert_eq!(bye.on_response(200, &timing, 100), Act::Pass);
        assert_eq!(bye.on_response(200, &timing, 200), Act::Nothing);
        assert_eq!(run(Machine::Client(bye), 0), [(5_100, Act::Over)]);
    }
}
