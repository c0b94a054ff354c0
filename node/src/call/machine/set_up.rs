//! A call before its answer: numbers, binding, the turn on an X, ringing, and every way in which that ends.

use tandem_cluster::command::{Attempt, EndReason, EndedBy, Failure, Refusal};
use tandem_sip::leg::{Body, Command, Ended, LegEvent};
use tandem_sip::sdp::Session;

use super::{Action, Machine, Now, Phase, Timer, Told};
use crate::call::reason;

/// Longest codec name kept.
const CODEC_MAX: usize = 32;

impl Machine {
    pub(super) fn take(&mut self, attempt: Box<Attempt>, now: Now) -> Vec<Action> {
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

    pub(super) fn name_callee(&mut self) -> Vec<Action> {
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

    pub(super) fn callee_refused(
        &mut self,
        failure: Failure,
        may_hold: bool,
        now: Now,
    ) -> Vec<Action> {
        if !may_hold {
            return self.next(failure, now);
        }
        self.phase = Phase::Doubtful;
        self.doubt = Some(failure);
        vec![self.keep_turn(now)]
    }

    pub(super) fn keep_turn(&self, now: Now) -> Action {
        Action::Arm(Timer::Turn, now.mono + self.limits.late_callee_ms)
    }

    /// The platform has taken the INVITE: others may name their callee on this X.
    pub(super) fn give_turn_up(&mut self) -> Option<Action> {
        let attempt = self.attempt.as_ref()?.number;
        std::mem::take(&mut self.has_turn).then_some(Action::Accepted { attempt })
    }

    pub(super) fn dial(&mut self, callee_out: Option<String>, now: Now) -> Vec<Action> {
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

    pub(super) fn callee_in_set_up(&mut self, event: LegEvent, now: Now) -> Vec<Action> {
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
                self.answered = Some(now.wall);
                self.phase = Phase::Committing;
                let mut actions = vec![Action::Disarm(Timer::Response)];
                actions.extend(self.give_turn_up());
                actions.push(Action::Arm(Timer::Commit, now.mono + self.limits.commit_ms));
                actions.push(Action::Commit {
                    answered_at: now.wall,
                    pdd_ms,
                    codec: self.codec.clone(),
                    told: Told {
                        caller: self.answer.clone(),
                        callee: self.offer.clone(),
                    },
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

    pub(super) fn silent(&mut self, now: Now) -> Vec<Action> {
        let mut actions = vec![Action::Callee(Command::HangUp { cause: None })];
        actions.extend(self.next(Failure::Gateway { status: 408 }, now));
        actions
    }

    /// The attempt failed: its binding goes, another attempt is asked for.
    pub(super) fn next(&mut self, failure: Failure, now: Now) -> Vec<Action> {
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

    pub(super) fn refuse(&mut self, refusal: &Refusal, now: Now) -> Vec<Action> {
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

    pub(super) fn out_of_time(&mut self) -> Vec<Action> {
        self.phase = Phase::Abandoned;
        self.closing = Some((reason::of(reason::RESPONSE_TIMEOUT), EndedBy::Server));
        vec![Action::Caller(Command::Refuse {
            status: 503,
            reason: None,
            retry_after_s: Some(self.limits.retry_after_s),
            cause: Some(reason::sip_cause(503, reason::RESPONSE_TIMEOUT)),
        })]
    }

    pub(super) fn close_abandoned(&mut self, late: Option<Box<Attempt>>, now: Now) -> Vec<Action> {
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
    pub(super) fn caller_gone(&mut self, ended: &Ended, now: Now) -> Vec<Action> {
        let (reason, by) = reason::of_caller_leaving(ended);
        self.leave_set_up(reason, by, now)
    }

    pub(super) fn hang_up_all(&mut self, why: &'static str, now: Now) -> Vec<Action> {
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

    pub(super) fn leave_set_up(&mut self, reason: EndReason, by: EndedBy, now: Now) -> Vec<Action> {
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
                actions.extend(self.close_unheard(reason, by, now));
                actions
            }
        }
    }

    pub(super) fn callee_gone_unanswered(&mut self, ended: &Ended, now: Now) -> Vec<Action> {
        let (reason, by) = reason::of_callee_leaving(ended);
        let mut actions = vec![Action::Caller(Command::Refuse {
            status: 480,
            reason: None,
            retry_after_s: None,
            cause: Some(reason::sip_cause(480, "callee hung up")),
        })];
        actions.extend(self.close_unheard(reason, by, now));
        actions
    }

    /// Closes the record of a call whose caller heard no answer. There may be one in the state by now, or on its way
    /// there: the record ends with it, so that nothing is charged.
    fn close_unheard(&mut self, reason: EndReason, by: EndedBy, now: Now) -> Vec<Action> {
        let ended_at = self.answered.unwrap_or(now.wall);
        self.close_at(reason, by, ended_at)
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
