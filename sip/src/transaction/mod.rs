//! The four transaction machines of RFC 3261 §17, with the Accepted state of RFC 6026 and the manners of RFC 4320.
//!
//! What goes in: a response or request that matched, what the core sends, the moment. What comes out: whether to send
//! the last bytes again, whether to tell the core, and when to look again. The machines hold neither messages nor
//! bytes; the endpoint's table does. Each has at most two timers running, folded into one clock, so that a
//! transaction needs one entry in the wheel.
//!
//! ```text
//!  client INVITE   Calling ─1xx→ Proceeding ─2xx→ Accepted (M)
//!                     └──────────────┴──3xx+→ Completed (D)
//!  client other    Trying ─1xx→ Proceeding ─2xx+→ Completed (K)
//!  server INVITE   Proceeding ─2xx→ Accepted (L)
//!                     └────────3xx+→ Completed (G, H) ─ACK→ Confirmed (I)
//!  server other    Trying ─1xx→ Proceeding ─2xx+→ Completed (J)
//! ```

mod client;
mod client_invite;
mod server;
mod server_invite;

pub use client::Client;
pub use client_invite::ClientInvite;
pub use server::Server;
pub use server_invite::ServerInvite;

use crate::timer::Millis;

/// The base values of RFC 3261 §17.1.1.1 and Table 4, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// T1: estimate of the round trip, 500.
    pub t1_ms: u32,
    /// T2: longest pause between repeats of a non-INVITE request or an INVITE response, 4000.
    pub t2_ms: u32,
    /// T4: how long a message may stay in the network, 5000.
    pub t4_ms: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            t1_ms: 500,
            t2_ms: 4_000,
            t4_ms: 5_000,
        }
    }
}

impl Timing {
    /// 64·T1, the patience of timers B, F, H, J, L and M.
    pub fn patience_ms(&self) -> Millis {
        64 * Millis::from(self.t1_ms)
    }

    /// Timer D: at least 32 s on unreliable transports, RFC 3261 §17.1.1.2.
    fn absorb_ms(&self) -> Millis {
        self.patience_ms().max(32_000)
    }
}

/// What a machine asks of its owner after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing to do: a copy that was absorbed, or a moment without meaning.
    Nothing,
    /// Send the last bytes once more.
    Resend,
    /// Hand the message to the core.
    Pass,
    /// Hand the response to the core; the endpoint builds an ACK for it, sends it and keeps it as the last bytes.
    PassAndAck,
    /// No answer came (timers B, F) or no ACK (timer H); the transaction is over.
    TimedOut,
    /// The transaction is over and its entry can go.
    Over,
}

/// The two deadlines of a transaction: when to repeat, when to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Clock {
    repeat_at: Option<Millis>,
    repeat_ms: u32,
    end_at: Option<Millis>,
}

impl Clock {
    fn repeat(&mut self, now: Millis, after_ms: u32) {
        self.repeat_ms = after_ms;
        self.repeat_at = Some(now + Millis::from(after_ms));
    }

    /// Counts the next repeat from the moment the last was due, so that a late look does not stretch the series.
    fn repeat_again(&mut self, now: Millis, after_ms: u32) {
        let due = self.repeat_at.unwrap_or(now);
        self.repeat_ms = after_ms;
        self.repeat_at = Some((due + Millis::from(after_ms)).max(now + 1));
    }

    fn stop_repeats(&mut self) {
        self.repeat_at = None;
    }

    fn end(&mut self, now: Millis, after_ms: Millis) {
        self.end_at = Some(now + after_ms);
    }

    fn only_end(&mut self, now: Millis, after_ms: Millis) {
        self.stop_repeats();
        self.end(now, after_ms);
    }

    fn next(&self) -> Option<Millis> {
        match (self.repeat_at, self.end_at) {
            (Some(repeat), Some(end)) => Some(repeat.min(end)),
            (repeat, end) => repeat.or(end),
        }
    }

    fn ended(&self, now: Millis) -> bool {
        self.end_at.is_some_and(|at| at <= now)
    }

    fn repeats(&self, now: Millis) -> bool {
        self.repeat_at.is_some_and(|at| at <= now)
    }
}

/// Any of the four, as a table keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// An INVITE we sent.
    ClientInvite(ClientInvite),
    /// Another request we sent.
    Client(Client),
    /// An INVITE we received.
    ServerInvite(ServerInvite),
    /// Another request we received.
    Server(Server),
}

impl Machine {
    /// When [`Machine::due`] wants to be called, if ever.
    pub fn next(&self) -> Option<Millis> {
        match self {
            Self::ClientInvite(machine) => machine.clock.next(),
            Self::Client(machine) => machine.clock.next(),
            Self::ServerInvite(machine) => machine.clock.next(),
            Self::Server(machine) => machine.clock.next(),
        }
    }

    /// A deadline has come.
    pub fn due(&mut self, timing: &Timing, now: Millis) -> Act {
        match self {
            Self::ClientInvite(machine) => machine.due(now),
            Self::Client(machine) => machine.due(timing, now),
            Self::ServerInvite(machine) => machine.due(timing, now),
            Self::Server(machine) => machine.due(now),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Runs a machine by its own deadlines until it ends; what it asked for and when, from `start`.
    pub(crate) fn run(mut machine: Machine, start: Millis) -> Vec<(Millis, Act)> {
        let timing = Timing::default();
        let mut acts = Vec::new();
        while let Some(at) = machine.next() {
            let act = machine.due(&timing, at);
            acts.push((at - start, act));
            if matches!(act, Act::Over | Act::TimedOut) {
                break;
            }
            assert!(acts.len() < 100, "the machine never ends");
        }
        acts
    }

    #[test]
    fn a_late_look_does_not_stretch_the_series_of_repeats() {
        let mut clock = Clock::default();
        clock.repeat(0, 500);
        clock.repeat_again(520, 1_000);
        assert_eq!(clock.next(), Some(1_500));
    }
}
