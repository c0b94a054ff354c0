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
//! A call has one caller leg and at most one callee leg at a time; events of an earlier attempt's leg or binding carry
//! that attempt's number and are ignored. What the switch promised is never forgotten: a reservation that arrives
//! after the caller left is ended at once, and every call ends with exactly one [`Action::End`].

use tandem_cluster::command::{
    Attempt, AxLease, BindingId, Credit, EndReason, EndedBy, Failure, Lease, Refusal,
};
use tandem_cluster::entity::Millis;
use tandem_sip::leg::{Body, Command, Ended, LegEvent, Offer};
use tandem_sip::sdp::Session;

use super::reason;

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
    /// For the replication of an answer: after this the 200 goes out unprotected.
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
            commit_ms: 500,
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
    /// The next slice of credit.
    Renewed(Credit),
    /// A timer armed earlier.
    Timer(Timer),
    /// An operator, or the node's own stop, ends the call.
    HangUp(&'static str),
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
    },
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
    answered: Option<Now>,
    credit: Option<Credit>,
    limit_reason: &'static str,
    /// Whose re-INVITE or UPDATE waits for the other side's answer, and whether it asks for our offer.
    reoffer: Option<(Side, bool)>,
    /// The side whose ACK brings the answer to an offer that the other side made.
    ack_owed: Option<Side>,
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

/// The code of an attempt whose turn on its X did not come in time.
pub const TURN_MISSED: &str = "turn";
/// Longest codec name kept.
const CODEC_MAX: usize = 32;
/// INFO requests in flight in one call; more are refused with 500.
const INFOS_MAX: usize = 8;

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
            (Committing, Event::Committed { unbind_at }) => self.answer(unbind_at, now),
            (Committing, Event::Timer(Timer::Commit)) => self.answer_unprotected(now),
            (Talking, Event::Committed { unbind_at }) => vec![Action::ReleaseAt(unbind_at)],

            (Talking, Event::Caller(event)) => self.in_dialog(Side::Caller, event, now),
            (Talking, Event::Callee(_, event)) => self.in_dialog(Side::Callee, event, now),
            (Talking, Event::Renewed(credit)) => self.renewed(credit, now),
            (Talking, Event::Timer(Timer::Renew)) => self.renew(),
            (Talking, Event::Timer(Timer::Limit)) => {
                self.end_both(reason::of(self.limit_reason), EndedBy::Server, now)
            }

            (_, Event::Caller(LegEvent::Ended(ended))) => self.caller_gone(&ended, now),
            (_, Event::HangUp(why)) => self.hang_up_all(why, now),
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
                | Event::Committed { .. }
                | Event::Renewed(_)
                | Event::Caller(_)
                | Event::Callee(..),
            ) => Vec::new(),
        }
    }

    fn is_current(&self, attempt: u16) -> bool {
        self.attempt.as_ref().is_some_and(|a| a.number == attempt)
    }

    // ---- before the answer ----

    fn take(&mut self, attempt: Box<Attempt>, now: Now) -> Vec<Action> {
        let lease = attempt.lease.clone();
        let ax = attempt.ax.as_ref().filter(|ax| ax.set_callee);
        let (named, turn) = (ax.is_some(), ax.is_some_and(|ax| ax.turn));
        let number = attempt.number;
        self.credit = attempt.credit;
        self.attempt = Some(attempt);
        let mut actions = vec![Action::Disarm(Timer::Reserve)];
        match lease {
            Some(lease) => {
                self.phase = Phase::Binding;
                actions.push(Action::Bind {
                    attempt: number,
                    lease,
                });
            }
            None if named && (turn || self.turn_of == Some(number)) => {
                actions.extend(self.name_callee());
            }
            None if named => {
                self.phase = Phase::Queued;
                actions.push(Action::Arm(Timer::Turn, now.mono + self.limits.turn_ms));
            }
            None => actions.extend(self.dial(None, now)),
        }
        actions
    }

    fn name_callee(&mut self) -> Vec<Action> {
        let Some((attempt, lease)) = self
            .attempt
            .as_ref()
            .and_then(|attempt| Some((attempt.number, attempt.ax.clone()?)))
        else {
            return Vec::new();
        };
        let waited = self.phase == Phase::Queued;
        self.phase = Phase::Naming;
        self.has_turn = true;
        let name = Action::NameCallee { attempt, lease };
        match waited {
            true => vec![Action::Disarm(Timer::Turn), name],
            false => vec![name],
        }
    }

    fn callee_refused(&mut self, failure: Failure, may_hold: bool, now: Now) -> Vec<Action> {
        if !may_hold {
            return self.next(failure, now);
        }
        self.phase = Phase::Doubtful;
        self.doubt = Some(failure);
        vec![self.keep_turn(now)]
    }

    fn keep_turn(&self, now: Now) -> Action {
        Action::Arm(Timer::Turn, now.mono + self.limits.late_callee_ms)
    }

    /// The platform has taken the INVITE: others may name their callee on this X.
    fn give_turn_up(&mut self) -> Option<Action> {
        let attempt = self.attempt.as_ref()?.number;
        std::mem::take(&mut self.has_turn).then_some(Action::Accepted { attempt })
    }

    fn dial(&mut self, callee_out: Option<String>, now: Now) -> Vec<Action> {
        let Some(attempt) = self.attempt.as_mut() else {
            return Vec::new();
        };
        if let Some(callee_out) = callee_out {
            attempt.callee_out = callee_out;
        }
        self.phase = Phase::Dialing;
        let silence = u64::from(attempt.response_timeout_ms);
        vec![
            Action::Dial {
                attempt: attempt.clone(),
                body: self.offer.clone(),
            },
            Action::Arm(Timer::Response, now.mono + silence),
        ]
    }

    fn callee_in_set_up(&mut self, event: LegEvent, now: Now) -> Vec<Action> {
        match event {
            LegEvent::Progress { status, body, .. } => {
                self.note_pdd(now);
                self.phase = Phase::Ringing;
                let mut actions = vec![Action::Disarm(Timer::Response)];
                actions.extend(self.give_turn_up());
                actions.push(Action::Caller(Command::Progress { status, body }));
                actions
            }
            LegEvent::Answered { body } => {
                let pdd_ms = self.note_pdd(now);
                self.codec = body.as_ref().map(codec_of).unwrap_or_default();
                self.answer = body;
                self.answered = Some(now);
                self.phase = Phase::Committing;
                let mut actions = vec![Action::Disarm(Timer::Response)];
                actions.extend(self.give_turn_up());
                actions.push(Action::Arm(Timer::Commit, now.mono + self.limits.commit_ms));
                actions.push(Action::Commit {
                    answered_at: now.wall,
                    pdd_ms,
                    codec: self.codec.clone(),
                });
                actions
            }
            LegEvent::Ended(ended) => self.next(
                Failure::Gateway {
                    status: reason::status_of(&ended),
                },
                now,
            ),
            LegEvent::Reoffered { .. } => {
                vec![Action::Callee(Command::RefuseReoffer { status: 491 })]
            }
            LegEvent::Info { id, .. } => {
                vec![Action::Callee(Command::AnswerInfo { id, status: 200 })]
            }
            _ => Vec::new(),
        }
    }

    fn silent(&mut self, now: Now) -> Vec<Action> {
        let mut actions = vec![Action::Callee(Command::HangUp { cause: None })];
        actions.extend(self.next(Failure::Gateway { status: 408 }, now));
        actions
    }

    /// The attempt failed: its binding goes, another attempt is asked for.
    fn next(&mut self, failure: Failure, now: Now) -> Vec<Action> {
        let Some(attempt) = self.attempt.as_ref() else {
            return Vec::new();
        };
        let mut actions = vec![Action::Disarm(Timer::Response)];
        // After a failed bind the binding's actor knows already what is left to do at the platform.
        if attempt.lease.is_some() && matches!(failure, Failure::Gateway { .. }) {
            actions.push(Action::Release);
        }
        actions.push(Action::Next {
            attempt: attempt.number,
            failure,
        });
        actions.push(Action::Arm(
            Timer::Reserve,
            now.mono + self.limits.reserve_ms,
        ));
        self.phase = Phase::Reserving;
        // With the failed attempt the state takes its turn back.
        self.has_turn = false;
        actions
    }

    fn refuse(&mut self, refusal: &Refusal, now: Now) -> Vec<Action> {
        let answer = reason::answer_to(refusal);
        let refuse = Command::Refuse {
            status: answer.status,
            reason: None,
            retry_after_s: answer.passing.then_some(self.limits.retry_after_s),
            cause: Some(answer.cause()),
        };
        let mut actions = vec![Action::Disarm(Timer::Reserve), Action::Caller(refuse)];
        actions.push(self.end(answer.reason, answer.by, now));
        actions
    }

    fn out_of_time(&mut self) -> Vec<Action> {
        self.phase = Phase::Abandoned;
        self.closing = Some((reason::of(reason::RESPONSE_TIMEOUT), EndedBy::Server));
        vec![Action::Caller(Command::Refuse {
            status: 503,
            reason: None,
            retry_after_s: Some(self.limits.retry_after_s),
            cause: Some(reason::sip_cause(503, reason::RESPONSE_TIMEOUT)),
        })]
    }

    fn close_abandoned(&mut self, late: Option<Box<Attempt>>, now: Now) -> Vec<Action> {
        let (reason, by) = self
            .closing
            .take()
            .unwrap_or_else(|| (reason::of(reason::CANCELLED), EndedBy::Caller));
        let mut actions = Vec::new();
        if let Some(lease) = late.and_then(|attempt| attempt.lease) {
            actions.push(Action::NeverBound(lease.binding));
        }
        actions.push(self.end(reason, by, now));
        actions
    }

    /// The caller's leg ended before the answer crossed: CANCEL, or its transport or transaction failed.
    fn caller_gone(&mut self, ended: &Ended, now: Now) -> Vec<Action> {
        let (reason, by) = reason::of_caller_leaving(ended);
        self.leave_set_up(reason, by, now)
    }

    fn hang_up_all(&mut self, why: &'static str, now: Now) -> Vec<Action> {
        let reason = reason::of(why);
        if self.phase == Phase::Talking {
            return self.end_both(reason, EndedBy::Server, now);
        }
        let mut actions = vec![Action::Caller(Command::Refuse {
            status: 503,
            reason: None,
            retry_after_s: Some(self.limits.retry_after_s),
            cause: Some(reason::sip_cause(503, why)),
        })];
        actions.extend(self.leave_set_up(reason, EndedBy::Server, now));
        actions
    }

    fn leave_set_up(&mut self, reason: EndReason, by: EndedBy, now: Now) -> Vec<Action> {
        match self.phase {
            Phase::Reserving | Phase::Abandoned => {
                self.phase = Phase::Abandoned;
                self.closing.get_or_insert((reason, by));
                vec![Action::Disarm(Timer::Reserve)]
            }
            // The turn ends with the call, and the next call's callee must be the last one named.
            Phase::Naming | Phase::Doubtful | Phase::Leaving => {
                self.phase = Phase::Leaving;
                self.closing.get_or_insert((reason, by));
                Vec::new()
            }
            phase => {
                // A 200 that crosses our CANCEL is acknowledged and ended by the leg itself.
                let mut actions = match phase {
                    Phase::Binding => Vec::new(),
                    Phase::Queued => vec![Action::Disarm(Timer::Turn)],
                    _ => vec![Action::Callee(Command::HangUp { cause: None })],
                };
                actions.extend(self.close(reason, by, now));
                actions
            }
        }
    }

    fn callee_gone_unanswered(&mut self, ended: &Ended, now: Now) -> Vec<Action> {
        let (reason, by) = reason::of_callee_leaving(ended);
        let mut actions = vec![Action::Caller(Command::Refuse {
            status: 480,
            reason: None,
            retry_after_s: None,
            cause: Some(reason::sip_cause(480, "callee hung up")),
        })];
        actions.extend(self.close(reason, by, now));
        actions
    }

    // ---- the answer ----

    fn answer(&mut self, unbind_at: Option<Millis>, now: Now) -> Vec<Action> {
        let mut actions = vec![Action::Disarm(Timer::Commit)];
        actions.extend(self.let_talk(now));
        actions.push(Action::ReleaseAt(unbind_at));
        actions
    }

    fn answer_unprotected(&mut self, now: Now) -> Vec<Action> {
        let mut actions = vec![Action::Unprotected];
        actions.extend(self.let_talk(now));
        actions
    }

    fn let_talk(&mut self, now: Now) -> Vec<Action> {
        self.phase = Phase::Talking;
        self.offer = None;
        let mut actions = vec![Action::Caller(Command::Answer {
            body: self.answer.take(),
        })];
        actions.extend(self.set_limits(now));
        actions
    }

    /// Arms the talk limit and the renewal of credit from what is known now.
    fn set_limits(&mut self, now: Now) -> Vec<Action> {
        let Some(answered) = self.answered else {
            return Vec::new();
        };
        let from_answer = |secs: u32| answered.mono + u64::from(secs) * 1_000;
        let configured = self
            .attempt
            .as_ref()
            .and_then(|a| a.max_duration_secs)
            .map(from_answer);
        let paid = self
            .credit
            .filter(|c| c.last)
            .map(|c| from_answer(c.upto_secs));
        let mut actions = Vec::new();
        let limit = match (configured, paid) {
            (Some(configured), Some(paid)) if paid < configured => {
                Some((paid, reason::BALANCE_EXHAUSTED))
            }
            (None, Some(paid)) => Some((paid, reason::BALANCE_EXHAUSTED)),
            (Some(configured), _) => Some((configured, reason::MAX_DURATION)),
            (None, None) => None,
        };
        if let Some((at, reason)) = limit {
            self.limit_reason = reason;
            actions.push(Action::Arm(Timer::Limit, at));
        }
        if let Some(credit) = self.credit.filter(|c| !c.last) {
            let at = from_answer(credit.upto_secs)
                .saturating_sub(self.limits.renew_lead_ms)
                .max(now.mono);
            actions.push(Action::Arm(Timer::Renew, at));
        }
        actions
    }

    fn renew(&mut self) -> Vec<Action> {
        match self.credit {
            Some(credit) if !credit.last => vec![Action::Renew {
                upto_secs: credit.upto_secs,
            }],
            _ => Vec::new(),
        }
    }

    fn renewed(&mut self, credit: Credit, now: Now) -> Vec<Action> {
        // A late copy of an earlier answer must not shorten what was granted since.
        if self
            .credit
            .is_some_and(|c| c.last || c.upto_secs > credit.upto_secs)
        {
            return Vec::new();
        }
        self.credit = Some(credit);
        self.set_limits(now)
    }

    // ---- talking ----

    fn in_dialog(&mut self, from: Side, event: LegEvent, now: Now) -> Vec<Action> {
        match event {
            LegEvent::Ended(ended) => {
                let (reason, by) = match from {
                    Side::Caller => reason::of_talk(&ended, EndedBy::Caller),
                    Side::Callee => reason::of_talk(&ended, EndedBy::Callee),
                };
                let mut actions = vec![to(other(from), Command::HangUp { cause: ended.cause })];
                actions.extend(self.close(reason, by, now));
                actions
            }
            LegEvent::Confirmed { body } => {
                // The answer to an offer that travelled in our 200 (RFC 3261 §13.2.1).
                if self.delayed {
                    vec![to(other(from), Command::Ack { body })]
                } else {
                    Vec::new()
                }
            }
            LegEvent::Reoffered { via, body } => self.reoffered(from, via, body),
            LegEvent::Reanswered { status, body, .. } => self.reanswered(from, status, body),
            LegEvent::Reconfirmed { body } => match self.ack_owed {
                Some(side) if side == from => {
                    self.ack_owed = None;
                    vec![to(other(from), Command::Ack { body })]
                }
                _ => Vec::new(),
            },
            LegEvent::Info {
                content_type,
                bytes,
                id,
            } => {
                if self.infos.len() >= INFOS_MAX {
                    return vec![to(from, Command::AnswerInfo { id, status: 500 })];
                }
                self.infos.push((from, id));
                vec![to(
                    other(from),
                    Command::Info {
                        content_type,
                        bytes,
                    },
                )]
            }
            LegEvent::InfoAnswered { status } => {
                // Answers come in the order of the requests of one direction.
                match self.infos.iter().position(|(side, _)| *side == other(from)) {
                    Some(at) => {
                        let (side, id) = self.infos.remove(at);
                        vec![to(side, Command::AnswerInfo { id, status })]
                    }
                    None => Vec::new(),
                }
            }
            // Belongs to set-up; a far end that repeats it changes nothing.
            LegEvent::Invited(_) | LegEvent::Progress { .. } | LegEvent::Answered { .. } => {
                Vec::new()
            }
        }
    }

    fn reoffered(&mut self, from: Side, via: Offer, body: Option<Body>) -> Vec<Action> {
        if self.reoffer.is_some() {
            // Glare: both ends changed the session at once (RFC 3261 §14.1).
            return vec![to(from, Command::RefuseReoffer { status: 491 })];
        }
        self.reoffer = Some((from, via == Offer::Invite && body.is_none()));
        vec![to(other(from), Command::Reoffer { via, body })]
    }

    fn reanswered(&mut self, from: Side, status: u16, body: Option<Body>) -> Vec<Action> {
        match self.reoffer {
            Some((asker, delayed)) if asker == other(from) => {
                self.reoffer = None;
                let command = match status {
                    200..=299 => {
                        self.ack_owed = delayed.then_some(asker);
                        Command::AcceptReoffer { body }
                    }
                    _ => Command::RefuseReoffer { status },
                };
                vec![to(asker, command)]
            }
            _ => Vec::new(),
        }
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
        let mut actions = Vec::new();
        if self.attempt.as_ref().is_some_and(|a| a.lease.is_some()) {
            actions.push(Action::Release);
        }
        actions.push(self.end(reason, by, now));
        actions
    }

    fn end(&mut self, reason: EndReason, by: EndedBy, now: Now) -> Action {
        // The customer pays from the answer it was told of.
        let talked = self.phase == Phase::Talking;
        self.phase = Phase::Over;
        Action::End {
            ended_at: now.wall,
            answered_at: self.answered.filter(|_| talked).map(|at| at.wall),
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

fn codec_of(body: &Body) -> String {
    // A multipart body keeps its description inside; its codec is not worth taking it apart.
    let sdp = Session::parse(&body.bytes);
    let codec = sdp.as_ref().and_then(|sdp| sdp.codec());
    codec
        .map(|codec| {
            String::from_utf8_lossy(codec)
                .chars()
                .take(CODEC_MAX)
                .collect()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
