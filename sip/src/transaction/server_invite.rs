//! The INVITE server transaction, RFC 3261 §17.2.1 with RFC 6026 §7.1.

use super::{Act, Clock, Timing};
use crate::timer::Millis;

/// An INVITE we received. Timers G, H, I and L.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerInvite {
    state: State,
    reliable: bool,
    pub(super) clock: Clock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Proceeding,
    Accepted,
    Completed,
    Confirmed,
}

impl ServerInvite {
    /// The INVITE has just arrived.
    pub fn new(reliable: bool) -> Self {
        Self {
            state: State::Proceeding,
            reliable,
            clock: Clock::default(),
        }
    }

    /// Whether no final response has been sent yet.
    pub fn pending(&self) -> bool {
        self.state == State::Proceeding
    }

    /// Whether a 2xx was sent, so that an ACK belongs to the core.
    pub fn accepted(&self) -> bool {
        self.state == State::Accepted
    }

    /// The core sends a response.
    pub fn respond(&mut self, status: u16, timing: &Timing, now: Millis) {
        match (self.state, status) {
            (State::Proceeding, 200..=299) => {
                self.state = State::Accepted;
                self.clock.only_end(now, timing.patience_ms());
            }
            (State::Proceeding, 300..) => {
                self.state = State::Completed;
                if !self.reliable {
                    self.clock.repeat(now, timing.t1_ms);
                }
                self.clock.end(now, timing.patience_ms());
            }
            // Provisionals change nothing; the core repeats a 2xx itself while Accepted.
            _ => {}
        }
    }

    /// A copy of the INVITE has arrived.
    pub fn on_copy(&self) -> Act {
        match self.state {
            State::Proceeding | State::Completed => Act::Resend,
            // The core repeats the 2xx by its own clock; after the ACK there is nothing left to say.
            State::Accepted | State::Confirmed => Act::Nothing,
        }
    }

    /// An ACK that matched has arrived.
    pub fn on_ack(&mut self, timing: &Timing, now: Millis) -> Act {
        match self.state {
            State::Accepted => Act::Pass,
            State::Completed => {
                self.state = State::Confirmed;
                self.clock.only_end(
                    now,
                    if self.reliable {
                        0
                    } else {
                        Millis::from(timing.t4_ms)
                    },
                );
                Act::Nothing
            }
            // A copy of the ACK, or one for a response that was never sent.
            State::Proceeding | State::Confirmed => Act::Nothing,
        }
    }

    pub(super) fn due(&mut self, timing: &Timing, now: Millis) -> Act {
        if self.clock.ended(now) {
            return if self.state == State::Completed {
                Act::TimedOut
            } else {
                Act::Over
            };
        }
        if self.clock.repeats(now) {
            self.clock.repeat_again(
                now,
                self.clock.repeat_ms.saturating_mul(2).min(timing.t2_ms),
            );
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
    fn a_refusal_is_repeated_until_timer_h() {
        let timing = Timing::default();
        let mut invite = ServerInvite::new(false);
        invite.respond(487, &timing, 0);
        let acts = run(Machine::ServerInvite(invite), 0);
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
    fn after_the_ack_of_a_refusal_copies_are_absorbed_until_timer_i() {
        let timing = Timing::default();
        let mut invite = ServerInvite::new(false);
        invite.respond(486, &timing, 0);
        assert_eq!(invite.on_copy(), Act::Resend);
        assert_eq!(invite.on_ack(&timing, 100), Act::Nothing);
        assert_eq!(invite.on_copy(), Act::Nothing);
        assert_eq!(invite.on_ack(&timing, 200), Act::Nothing);
        assert_eq!(run(Machine::ServerInvite(invite), 0), [(5_100, Act::Over)]);
    }

    #[test]
    fn over_a_stream_a_refusal_is_not_repeated_but_its_ack_awaited() {
        let timing = Timing::default();
        let mut invite = ServerInvite::new(true);
        invite.respond(486, &timing, 0);
        assert_eq!(
            run(Machine::ServerInvite(invite), 0),
            [(32_000, Act::TimedOut)]
        );
        assert_eq!(invite.on_ack(&timing, 100), Act::Nothing);
        assert_eq!(Machine::ServerInvite(invite).next(), Some(100));
    }

    #[test]
    fn after_a_2xx_copies_are_absorbed_and_acks_passed_on_until_timer_l() {
        let timing = Timing::default();
        let mut invite = ServerInvite::new(false);
        assert_eq!(invite.on_copy(), Act::Resend);
        invite.respond(180, &timing, 0);
        assert_eq!(invite.on_copy(), Act::Resend);
        invite.respond(200, &timing, 1_000);
        assert_eq!(invite.on_copy(), Act::Nothing);
        assert_eq!(invite.on_ack(&timing, 1_100), Act::Pass);
        assert_eq!(invite.on_copy(), Act::Nothing);
        assert_eq!(run(Machine::ServerInvite(invite), 0), [(33_000, Act::Over)]);
    }
}
