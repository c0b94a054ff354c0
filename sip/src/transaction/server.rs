//! The non-INVITE server transaction, RFC 3261 §17.2.2 with RFC 4320.

use super::{Act, Clock, Timing};
use crate::timer::Millis;

/// A request other than INVITE and ACK that we received. Timer J, and the two moments of RFC 4320: when a 100 may be
/// sent, and when it is too late to answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
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

impl Server {
    /// The request has just arrived.
    pub fn new(reliable: bool, timing: &Timing, now: Millis) -> Self {
        let mut clock = Clock::default();
        // RFC 4320 §4.1: no 100 before the client's timer E has grown to T2, and one then; never over a stream.
        if !reliable {
            let mut wait_ms = 0;
            let mut step_ms = timing.t1_ms.max(1);
            while step_ms < timing.t2_ms {
                wait_ms += step_ms;
                step_ms = step_ms.saturating_mul(2);
            }
            clock.repeat(now, wait_ms);
        }
        // RFC 4320 §4.2: after timer F the client is gone, and a 408 would only do harm.
        clock.end(now, timing.patience_ms());
        Self {
            state: State::Trying,
            reliable,
            clock,
        }
    }

    /// Whether no final response has been sent yet.
    pub fn pending(&self) -> bool {
        self.state != State::Completed
    }

    /// The core, or the endpoint by [`Act::Pass`], sends a response.
    pub fn respond(&mut self, status: u16, timing: &Timing, now: Millis) {
        self.clock.stop_repeats();
        match (self.state, status) {
            (State::Trying | State::Proceeding, 100..=199) => self.state = State::Proceeding,
            (State::Trying | State::Proceeding, _) => {
                self.state = State::Completed;
                self.clock.end(
                    now,
                    if self.reliable {
                        0
                    } else {
                        timing.patience_ms()
                    },
                );
            }
            (State::Completed, _) => {}
        }
    }

    /// A copy of the request has arrived.
    pub fn on_copy(&self) -> Act {
        match self.state {
            State::Trying => Act::Nothing,
            State::Proceeding | State::Completed => Act::Resend,
        }
    }

    /// [`Act::Pass`] here means that it is time for a 100.
    pub(super) fn due(&mut self, now: Millis) -> Act {
        if self.clock.ended(now) {
            return if self.pending() {
                Act::TimedOut
            } else {
                Act::Over
            };
        }
        if self.clock.repeats(now) {
            self.clock.stop_repeats();
            return Act::Pass;
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
    fn the_final_response_is_repeated_for_copies_until_timer_j() {
        let timing = Timing::default();
        let mut bye = Server::new(false, &timing, 0);
        assert_eq!(bye.on_copy(), Act::Nothing);
        bye.respond(200, &timing, 10);
        assert_eq!(bye.on_copy(), Act::Resend);
        assert_eq!(run(Machine::Server(bye), 0), [(32_010, Act::Over)]);
    }

    #[test]
    fn over_a_stream_the_transaction_ends_with_its_response() {
        let timing = Timing::default();
        let mut bye = Server::new(true, &timing, 0);
        bye.respond(200, &timing, 10);
        assert_eq!(run(Machine::Server(bye), 0), [(10, Act::Over)]);
    }

    #[test]
    fn a_slow_answer_gets_a_100_after_three_and_a_half_seconds_and_silence_after_32() {
        let timing = Timing::default();
        let info = Server::new(false, &timing, 0);
        assert_eq!(
            run(Machine::Server(info), 0),
            [(3_500, Act::Pass), (32_000, Act::TimedOut)]
        );
        let info = Server::new(true, &timing, 0);
        assert_eq!(run(Machine::Server(info), 0), [(32_000, Act::TimedOut)]);
    }

    #[test]
    fn copies_get_the_100_again_once_it_was_sent() {
        let timing = Timing::default();
        let mut info = Server::new(false, &timing, 0);
        info.respond(100, &timing, 3_500);
        assert_eq!(info.on_copy(), Act::Resend);
    }
}
