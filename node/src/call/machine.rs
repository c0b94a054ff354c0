//! The life of one call, as plain data: events in, actions out, time as an argument.
//!
//! ```text
//!  Reserving ──► Binding ──► Dialing ──► Ringing ──► Committing ──► Talking ──► Over
//!      ▲  │ └► Queued ─► Naming ▲           │             │
//!      │  │      └──────┬──┴────┴───────────┘             │ far end's failure: ask for another attempt
//!      └──┼──────────── Next ◄────────────────────────────┘ (not once the callee has answered)
//!         └─► Abandoned ─► Over   caller left, or time ran out, while a reservation was on its way
//! ```
//!
//! An AXB attempt binds first. An AX attempt waits for its turn on its X, names its callee at the platform, and gives
//! the turn up when the platform has taken its INVITE (`DOMAIN.md` §5). A callee that is being named when the caller
//! leaves may still arrive and would be the next call's: so a call that leaves then keeps its turn until the platform has
//! answered.
//!
//! A call of a node that is gone begins as talking, on the node that adopts it (`refresh.rs`); a node whose tenure is
//! over drops its answered calls without a word, for they are another's.
//!
//! A call has one caller leg and at most one callee leg at a time; events of an earlier attempt's leg or binding carry
//! that attempt's number and are ignored. What the switch promised is never forgotten: a reservation that arrives
//! after the caller left is ended at once, and every call ends with exactly one [`Action::End`].

use tandem_cluster::command::{
    Attempt, AxLease, BindingId, Credit, EndReason, EndedBy, Failure, Lease, Refusal,
};
use tandem_cluster::entity::Millis;
use tandem_sip::leg::{Body, Command, LegEvent};

use super::reason;

mod refresh;
mod set_up;
mod talk;

pub use refresh::{Adopted, FarEnd, Takeover};

/// Both clocks of one moment: timers follow the first, records the second.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds of the process's monotonic clock.
    pub mono: Millis,
    /// Milliseconds since 1970 UTC; moves with `mono`, so that a clock step harms no duration.
    pub wall: Millis,
}

/// Bounds of waiting.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For numbers: after this the caller gets 503 with Retry-After.
    pub reserve_ms: u64,
    /// For the replication of an answer: after this the call is given up, for it would be lost with its node. Longer than
    /// an election takes.
    pub commit_ms: u64,
    /// A renewal of credit is asked for this long before the slice ends.
    pub renew_lead_ms: u64,
    /// Retry-After of a refusal that will pass.
    pub retry_after_s: u32,
    /// For the turn on an X: after this another X or gateway is tried.
    pub turn_ms: u64,
    /// The turn is kept this long after a request whose outcome is not known, since it may still be on its way.
    pub late_callee_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            reserve_ms: 2_000,
            commit_ms: 3_000,
            renew_lead_ms: 10_000,
            retry_after_s: 2,
            turn_ms: 10_000,
            late_callee_ms: 2_000,
        }
    }
}

/// What happens to a call.
#[derive(Debug)]
pub enum Event {
    /// The state gave an attempt.
    Reserved(Box<Attempt>),
    /// The state refused.
    Refused(Refusal),
    /// Too much is under way on this node, or it is stopping.
    Overloaded,
    /// The platform holds the binding, with this X (which may differ from the X asked for).
    Bound {
        /// Of this attempt.
        attempt: u16,
        /// Callee to dial when the platform chose another X.
        callee_out: Option<String>,
    },
    /// The platform holds no usable binding.
    BindFailed {
        /// Of this attempt.
        attempt: u16,
        /// Why.
        failure: Failure,
    },
    /// This attempt may name its callee now.
    Turn {
        /// Of this attempt.
        attempt: u16,
    },
    /// The platform connects A's next call to X with this attempt's callee.
    CalleeNamed {
        /// Of this attempt.
        attempt: u16,
    },
    /// It does not.
    CalleeRefused {
        /// Of this attempt.
        attempt: u16,
        /// Why.
        failure: Failure,
        /// The request may still have its effect.
        may_hold: bool,
    },
    /// From the caller's leg.
    Caller(LegEvent),
    /// From the callee's leg of an attempt.
    Callee(u16, LegEvent),
    /// The answer is replicated.
    Committed {
        /// When the binding is to be released; `None` at call end.
        unbind_at: Option<Millis>,
    },
    /// The answer cannot be replicated, whatever the wait.
    NotKept,
    /// The next slice of credit.
    Renewed(Credit),
    /// The far ends of an adopted call may be told now.
    Refresh,
    /// A timer armed earlier.
    Timer(Timer),
    /// An operator, or the node's own stop, ends the call.
    HangUp(&'static str),
    /// The node is about to stop and to hand its answered calls over; comes again until it does.
    Leave,
    /// The tenure is over: an answered call is another node's now.
    Abandon,
}

/// Timers of a call, one of each at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// Numbers do not come.
    Reserve,
    /// The turn on an X does not come, or is kept for a request that may be late.
    Turn,
    /// The gateway is silent.
    Response,
    /// The answer is not replicated yet.
    Commit,
    /// Credit must be renewed.
    Renew,
    /// The talk limit; the reason with which it ends.
    Limit,
    /// The caller is asked again to take the refresh of an adopted call.
    RefreshCaller,
    /// The callee is.
    RefreshCallee,
}

/// The last descriptions that the far ends were sent, for whoever takes the call over.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// To the caller.
    pub caller: Option<Body>,
    /// To the callee.
    pub callee: Option<Body>,
}

impl Told {
    /// What one side was told, and the other.
    fn new(side: Side, told: Option<Body>, other: Option<Body>) -> Self {
        match side {
            Side::Caller => Told {
                caller: told,
                callee: other,
            },
            Side::Callee => Told {
                caller: other,
                callee: told,
            },
        }
    }
}

/// What a call wants done, in order.
#[derive(Debug)]
pub enum Action {
    /// Propose the admission.
    Reserve,
    /// Propose another attempt.
    Next {
        /// The attempt that failed.
        attempt: u16,
        /// How.
        failure: Failure,
    },
    /// Start the binding's actor.
    Bind {
        /// Of this attempt.
        attempt: u16,
        /// The numbers.
        lease: Lease,
    },
    /// Name the attempt's callee at the platform; is answered once, by `CalleeNamed` or `CalleeRefused`.
    NameCallee {
        /// Of this attempt.
        attempt: u16,
        /// The relation and the callee.
        lease: AxLease,
    },
    /// The platform has taken this attempt's INVITE: its turn is over.
    Accepted {
        /// Of this attempt.
        attempt: u16,
    },
    /// The binding is to be released at this wall time (`None`: when the call ends).
    ReleaseAt(Option<Millis>),
    /// The binding is to be released now; the attempt or the call is over.
    Release,
    /// These numbers were reserved, but no bind was ever sent for them.
    NeverBound(BindingId),
    /// Send the INVITE of an attempt.
    Dial {
        /// Where and as whom.
        attempt: Box<Attempt>,
        /// The caller's offer.
        body: Option<Body>,
    },
    /// To the caller's leg.
    Caller(Command),
    /// To the callee's leg of the present attempt.
    Callee(Command),
    /// Replicate the answer.
    Commit {
        /// Wall time of the 200.
        answered_at: Millis,
        /// Post-dial delay.
        pdd_ms: u32,
        /// First audio codec.
        codec: String,
        /// What the caller will be told, and the callee was.
        told: Told,
    },
    /// Replicate the call as it is since its session has changed; nobody waits.
    Keep(Told),
    /// Replicate where its far ends are; what they were told stays.
    KeepTargets,
    /// Ask for leave to refresh both far ends: is answered once, by `Refresh`.
    AskRefresh,
    /// Count a call that was taken over.
    TakenOver(Takeover),
    /// Forget both legs without a word.
    Forget,
    /// Ask for the next slice.
    Renew {
        /// End of the one in hand.
        upto_secs: u32,
    },
    /// Arm a timer at a monotonic time; arming again moves it.
    Arm(Timer, Millis),
    /// Forget a timer.
    Disarm(Timer),
    /// An answer went out before it was replicated.
    Unprotected,
    /// Close the record; always the last action of a call.
    End {
        /// Wall time.
        ended_at: Millis,
        /// Wall time of the answer.
        answered_at: Option<Millis>,
        /// Post-dial delay.
        pdd_ms: Option<u32>,
        /// First audio codec.
        codec: String,
        /// Why.
        reason: EndReason,
        /// By whom.
        by: EndedBy,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reserving,
    Abandoned,
    Binding,
    /// Waits for its turn on the X.
    Queued,
    /// The callee is being named.
    Naming,
    /// It may or may not be named; the turn is kept for a while.
    Doubtful,
    /// The caller left while the callee was being named, or in doubt.
    Leaving,
    Dialing,
    Ringing,
    Committing,
    Talking,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Caller,
    Callee,
}

/// One call.
#[derive(Debug)]
pub struct Machine {
    limits: Limits,
    phase: Phase,
    started: Now,
    /// The caller's offer, kept for further attempts until the callee has answered.
    offer: Option<Body>,
    /// The INVITE had none, so the caller's ACK brings the answer.
    delayed: bool,
    attempt: Option<Box<Attempt>>,
    pdd_ms: Option<u32>,
    codec: String,
    answer: Option<Body>,
    /// Wall time: of the callee's answer, and once it has gone on to the caller of that.
    answered: Option<Millis>,
    /// The answer is replicated: another node can carry the call on.
    kept: bool,
    refresh: Option<Box<refresh::Refresh>>,
    credit: Option<Credit>,
    limit_reason: &'static str,
    /// A re-INVITE or UPDATE that waits for the other side's answer.
    reoffer: Option<Box<Reoffer>>,
    /// The side whose ACK brings the answer to an offer that the other side made, and that offer.
    ack_owed: Option<Box<(Side, Option<Body>)>>,
    /// INFO requests passed on and not yet answered: whose, and its id there.
    infos: Vec<(Side, u64)>,
    /// Why an abandoned call will end once its reservation, or its callee's naming, is known.
    closing: Option<(EndReason, EndedBy)>,
    /// This attempt's turn has come; the word may overtake the attempt itself.
    turn_of: Option<u16>,
    /// The attempt keeps others from its X.
    has_turn: bool,
    /// Why the next attempt is asked for once the turn may be given up.
    doubt: Option<Failure>,
}

/// A change of the session under way.
#[derive(Debug)]
struct Reoffer {
    /// Who asked for it.
    asker: Side,
    /// `None`: the other side is to make it.
    offer: Option<Body>,
}

/// The code of an attempt whose turn on its X did not come in time.
pub const TURN_MISSED: &str = "turn";

impl Machine {
    /// A call whose INVITE has just been admitted to this node, and its first actions.
    pub fn new(offer: Option<Body>, limits: Limits, now: Now) -> (Self, Vec<Action>) {
        let machine = Machine {
            limits,
            phase: Phase::Reserving,
            started: now,
            delayed: offer.is_none(),
            offer,
            attempt: None,
            pdd_ms: None,
            codec: String::new(),
            answer: None,
            answered: None,
            kept: false,
            refresh: None,
            credit: None,
            limit_reason: reason::MAX_DURATION,
            reoffer: None,
            ack_owed: None,
            infos: Vec::new(),
            closing: None,
            turn_of: None,
            has_turn: false,
            doubt: None,
        };
        let arm = Action::Arm(Timer::Reserve, now.mono + limits.reserve_ms);
        (machine, vec![Action::Reserve, arm])
    }

    /// Nothing will come of this call any more.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// The customer has been told that the callee answered.
    pub fn is_answered(&self) -> bool {
        self.phase == Phase::Talking
    }

    /// The attempt under way or talking.
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_deref()
    }

    /// The only way in.
    pub fn on(&mut self, event: Event, now: Now) -> Vec<Action> {
        use Phase::*;
        match (self.phase, event) {
            (Over, _) => Vec::new(),

            (Reserving, Event::Reserved(attempt)) => self.take(attempt, now),
            (Reserving, Event::Refused(refusal)) => self.refuse(&refusal, now),
            (Reserving, Event::Overloaded) => self.refuse(&Refusal::GatewayCapacity, now),
            (Reserving, Event::Timer(Timer::Reserve)) => self.out_of_time(),
            (Abandoned, Event::Reserved(attempt)) => self.close_abandoned(Some(attempt), now),
            (Abandoned, Event::Refused(_) | Event::Overloaded) => self.close_abandoned(None, now),
            // A reservation asked for twice is answered twice alike; the first answer counted.
            (_, Event::Reserved(_) | Event::Refused(_) | Event::Overloaded) => Vec::new(),

            (
                Binding,
                Event::Bound {
                    attempt,
                    callee_out,
                },
            ) if self.is_current(attempt) => self.dial(callee_out, now),
            (Binding, Event::BindFailed { attempt, failure }) if self.is_current(attempt) => {
                self.next(failure, now)
            }
            // Of an attempt given up; its binding's actor releases by itself.
            (_, Event::Bound { .. } | Event::BindFailed { .. }) => Vec::new(),

            (Reserving, Event::Turn { attempt }) => {
                self.turn_of = Some(attempt);
                Vec::new()
            }
            (Queued, Event::Turn { attempt }) if self.is_current(attempt) => self.name_callee(),
            (Queued, Event::Timer(Timer::Turn)) => {
                let code = TURN_MISSED.to_owned();
                self.next(Failure::NumberRefused { code }, now)
            }
            (Naming, Event::CalleeNamed { attempt }) if self.is_current(attempt) => {
                self.dial(None, now)
            }
            (
                Naming,
                Event::CalleeRefused {
                    attempt,
                    failure,
                    may_hold,
                },
            ) if self.is_current(attempt) => self.callee_refused(failure, may_hold, now),
            (Doubtful, Event::Timer(Timer::Turn)) => match self.doubt.take() {
                Some(failure) => self.next(failure, now),
                None => Vec::new(),
            },
            (Leaving, Event::CalleeNamed { .. }) => self.close_abandoned(None, now),
            (
                Leaving,
                Event::CalleeRefused {
                    failure,
                    may_hold: true,
                    ..
                },
            ) => {
                self.doubt = Some(failure);
                vec![self.keep_turn(now)]
            }
            (Leaving, Event::CalleeRefused { .. }) => self.close_abandoned(None, now),
            (Leaving, Event::Timer(Timer::Turn)) if self.doubt.is_some() => {
                self.close_abandoned(None, now)
            }
            // Of an attempt given up.
            (_, Event::Turn { .. } | Event::CalleeNamed { .. } | Event::CalleeRefused { .. }) => {
                Vec::new()
            }

            (_, Event::Callee(attempt, _)) if !self.is_current(attempt) => Vec::new(),
            (Dialing | Ringing, Event::Callee(_, event)) => self.callee_in_set_up(event, now),
            (Dialing | Ringing, Event::Timer(Timer::Response)) => self.silent(now),
            (Committing, Event::Callee(_, LegEvent::Ended(ended))) => {
                self.callee_gone_unanswered(&ended, now)
            }
            (Committing, Event::Callee(_, LegEvent::Moved)) => vec![Action::KeepTargets],
            (Committing, Event::Committed { unbind_at }) => self.answer(unbind_at, now),
            (Committing, Event::NotKept) => self.answer_unprotected(now),
            // Answered now it would be lost with this node's claim, and might be another's already.
            (Committing, Event::Timer(Timer::Commit)) => {
                self.hang_up_all(reason::NODE_FAILURE, now)
            }
            (Talking, Event::Committed { unbind_at }) => {
                self.kept = true;
                vec![Action::ReleaseAt(unbind_at)]
            }

            (Talking, Event::Caller(event)) => self.in_dialog(Side::Caller, event, now),
            (Talking, Event::Callee(_, event)) => self.in_dialog(Side::Callee, event, now),
            (Talking, Event::Refresh) => self.refresh_both(now),
            (Talking, Event::Timer(Timer::RefreshCaller)) => self.refresh_one(Side::Caller, now),
            (Talking, Event::Timer(Timer::RefreshCallee)) => self.refresh_one(Side::Callee, now),
            (Talking, Event::Abandon) if self.kept => {
                self.phase = Over;
                vec![Action::Forget]
            }
            (Talking, Event::Renewed(credit)) => self.renewed(credit, now),
            (Talking, Event::Timer(Timer::Renew)) => self.renew(),
            (Talking, Event::Timer(Timer::Limit)) => {
                self.end_both(reason::of(self.limit_reason), EndedBy::Server, now)
            }

            (_, Event::Caller(LegEvent::Ended(ended))) => self.caller_gone(&ended, now),
            (_, Event::HangUp(why)) => self.hang_up_all(why, now),
            // It is being replicated, or is so: another node will have it.
            (Committing, Event::Leave) => Vec::new(),
            (Talking, Event::Leave) if self.kept => Vec::new(),
            (_, Event::Leave) => self.hang_up_all(reason::ADMIN_HANGUP, now),
            // Nobody else has it.
            (_, Event::Abandon) => self.hang_up_all(reason::NODE_FAILURE, now),
            // Before the answer no dialog stands that could be changed.
            (_, Event::Caller(LegEvent::Reoffered { .. })) => {
                vec![Action::Caller(Command::RefuseReoffer { status: 491 })]
            }
            (_, Event::Caller(LegEvent::Info { id, .. })) => {
                vec![Action::Caller(Command::AnswerInfo { id, status: 481 })]
            }
            (Committing, Event::Callee(_, LegEvent::Reoffered { .. })) => {
                vec![Action::Callee(Command::RefuseReoffer { status: 491 })]
            }
            (Committing, Event::Callee(_, LegEvent::Info { id, .. })) => {
                vec![Action::Callee(Command::AnswerInfo { id, status: 200 })]
            }
            // Timers that were disarmed in the same moment, repeats, and news of a phase gone by.
            (
                _,
                Event::Timer(_)
                | Event::Refresh
                | Event::Committed { .. }
                | Event::NotKept
                | Event::Renewed(_)
                | Event::Caller(_)
                | Event::Callee(..),
            ) => Vec::new(),
        }
    }

    fn is_current(&self, attempt: u16) -> bool {
        self.attempt.as_ref().is_some_and(|a| a.number == attempt)
    }

    // ---- ends ----

    fn end_both(&mut self, reason: EndReason, by: EndedBy, now: Now) -> Vec<Action> {
        let cause = Some(reason::switch_cause(&reason.key));
        let mut actions = vec![
            Action::Caller(Command::HangUp {
                cause: cause.clone(),
            }),
            Action::Callee(Command::HangUp { cause }),
        ];
        actions.extend(self.close(reason, by, now));
        actions
    }

    /// Releases the binding if there is one, and closes the record.
    fn close(&mut self, reason: EndReason, by: EndedBy, now: Now) -> Vec<Action> {
        self.close_at(reason, by, now.wall)
    }

    fn close_at(&mut self, reason: EndReason, by: EndedBy, ended_at: Millis) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.refresh.take().is_some() {
            actions.push(Action::TakenOver(Takeover::Ended));
        }
        if self.attempt.as_ref().is_some_and(|a| a.lease.is_some()) {
            actions.push(Action::Release);
        }
        actions.push(self.end_at(reason, by, ended_at));
        actions
    }

    fn end(&mut self, reason: EndReason, by: EndedBy, now: Now) -> Action {
        self.end_at(reason, by, now.wall)
    }

    fn end_at(&mut self, reason: EndReason, by: EndedBy, ended_at: Millis) -> Action {
        // The customer pays from the answer it was told of.
        let talked = self.phase == Phase::Talking;
        self.phase = Phase::Over;
        Action::End {
            ended_at,
            answered_at: self.answered.filter(|_| talked),
            pdd_ms: self.pdd_ms,
            codec: std::mem::take(&mut self.codec),
            reason,
            by,
        }
    }

    fn note_pdd(&mut self, now: Now) -> u32 {
        let since = now.mono.saturating_sub(self.started.mono);
        *self
            .pdd_ms
            .get_or_insert(u32::try_from(since).unwrap_or(u32::MAX))
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::Caller => Side::Callee,
        Side::Callee => Side::Caller,
    }
}

fn to(side: Side, command: Command) -> Action {
    match side {
        Side::Caller => Action::Caller(command),
        Side::Callee => Action::Callee(command),
    }
}

#[cfg(test)]
mod tests;
