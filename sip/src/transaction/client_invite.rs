//! The INVITE client transaction, RFC 3261 §17.1.1 with RFC 6026 §7.2.

use super::{Act, Clock, Timing};
use crate::timer::Millis;

/// An INVITE we sent. Timers A, B, D and M.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientInvite {
    state: State,
    reliable: bool,
    pub(super) clock: Clock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
}

impl ClientInvite {
    /// The INVITE is being sent at `now`. `reliable`: the transport repeats by itself.
    pub fn new(reliable: bool, timing: &Timing, now: Millis) -> Self {
        let mut clock = Clock::default();
        if !reliable {
            clock.repeat(now, timing.t1_ms);
        }
        clock.end(now, timing.patience_ms());
        Self {
            state: State::Calling,
            reliable,
            clock,
        }
    }

    /// Whether a provisional response has come, so that a CANCEL may go out (RFC 3261 §9.1).
    pub fn proceeding(&self) -> bool {
        self.state == State::Proceeding
    }

    /// Whether no final response has come yet.
    pub fn pending(&self) -> bool {
        matches!(self.state, State::Calling | State::Proceeding)
    }

    /// Gives up waiting at `at` although the far end rings on: after CANCEL, RFC 3261 §9.1.
    pub fn give_up_at(&mut self, at: Millis) {
        if self.pending() {
            self.clock.end_at = Some(at);
        }
    }

    /// A response that matched has arrived.
    pub fn on_response(&mut self, status: u16, timing: &Timing, now: Millis) -> Act {
        match (self.state, status) {
            (State::Calling, 100..=199) => {
                self.state = State::Proceeding;
                // Neither A nor B runs on; how long it may ring is the core's business.
                self.clock = Clock::default();
                Act::Pass
            }
            (State::Proceeding, 100..=199) => Act::Pass,
            (State::Calling | State::Proceeding, 200..=299) => {
                self.state = State::Accepted;
                self.clock.only_end(now, timing.patience_ms());
                Act::Pass
            }
            (State::Calling | State::Proceeding, _) => {
                self.state = State::Completed;
                self.clock
                    .only_end(now, if self.reliable { 0 } else { timing.absorb_ms() });
                Act::PassAndAck
            }
            // A 2xx again, or from another branch of a fork: the core acknowledges each.
            (State::Accepted, 200..=299) => Act::Pass,
            (State::Completed, 300..) => Act::Resend,
            // Late provisionals, and a final response of the other kind: the first one decided.
            (State::Accepted | State::Completed, _) => Act::Nothing,
        }
    }

    pub(super) fn due(&mut self, now: Millis) -> Act {
        if self.clock.ended(now) {
            return match self.state {
                State::Calling | State::Proceeding => Act::TimedOut,
                State::Completed | State::Accepted => Act::Over,
            };
        }
        if self.clock.repeats(now) {
            // Timer A doubles without a ceiling, RFC 3261 §17.1.1.2.
            self.clock
                .repeat_again(now, self.clock.repeat_ms.saturating_mul(2));
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

    fn machine(reliable: bool) -> ClientInvite {
        ClientInvite::new(reliable, &Timing::default(), 0)
    }

    #[test]
    fn an_unanswered_invite_is_repeated_at_doubling_intervals_for_32_seconds() {
        let acts = run(Machine::ClientInvite(machine(false)), 0);
        let resends = [500, 1_500, 3_500, 7_500, 15_500, 31_500].map(|at| (at, Act::Resend));
        assert_eq!(acts[..6], resends);
        assert_eq!(acts[6..], [(32_000, Act::TimedOut)]);
    }

    #[test]
    fn over_a_stream_an_invite_is_sent_once_and_given_up_after_32_seconds() {
        assert_eq!(
            run(Machine::ClientInvite(machine(true)), 0),
            [(32_000, Act::TimedOut)]
        );
    }

    #[test]
    fn a_provisional_response_stops_the_repeats_and_the_patience() {
        let mut invite = machine(false);
        assert_eq!(invite.on_response(180, &Timing::default(), 100), Act::Pass);
        assert_eq!(Machine::ClientInvite(invite).next(), None);
    }

    #[test]
    fn a_refusal_is_acknowledged_again_for_every_copy_until_timer_d() {
        let timing = Timing::default();
        let mut invite = machine(false);
        assert_eq!(invite.on_response(486, &timing, 1_000), Act::PassAndAck);
        assert_eq!(invite.on_response(486, &timing, 1_500), Act::Resend);
        assert_eq!(invite.on_response(180, &timing, 1_600), Act::Nothing);
        assert_eq!(invite.on_response(200, &timing, 1_700), Act::Nothing);
        assert_eq!(run(Machine::ClientInvite(invite), 0), [(33_000, Act::Over)]);
    }

    #[test]
    fn over_a_stream_a_refusal_ends_the_transaction_at_once() {
        let mut invite = machine(true);
        assert_eq!(
            invite.on_response(486, &Timing::default(), 1_000),
            Act::PassAndAck
        );
        assert_eq!(Machine::ClientInvite(invite).next(), Some(1_000));
    }

    #[test]
    fn every_2xx_reaches_the_core_until_timer_m() {
        let timing = Timing::default();
        let mut invite = machine(true);
        assert_eq!(invite.on_response(200, &timing, 0), Act::Pass);
        assert_eq!(invite.on_response(200, &timing, 500), Act::Pass);
        assert_eq!(invite.on_response(486, &timing, 600), Act::Nothing);
        assert_eq!(run(Machine::ClientInvite(invite), 0), [(32_000, Act::Over)]);
    }

    #[test]
    fn a_cancelled_invite_that_is_never_finished_times_out() {
        let mut invite = machine(false);
        invite.on_response(180, &Timing::default(), 100);
        invite.give_up_at(40_000);
        assert_eq!(
            run(Machine::ClientInvite(invite), 0),
            [(40_000, Act::TimedOut)]
        );
    }
}
