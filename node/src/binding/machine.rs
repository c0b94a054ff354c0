//! One binding from the request to its release, as plain data.
//!
//! ```text
//!  Asking ──► Held ──► Releasing ──► Over
//!    │  └► Booking ─┘      ▲
//!    └──► Recovering ──────┘   the platform may hold a binding whose handle we do not know
//! ```
//!
//! Whatever happens to the call, the machine ends only when the platform has said that nothing is left there, or when
//! an operator has dropped the row.

use tandem_cluster::command::Failure as AttemptFailure;
use tandem_cluster::entity::Millis;
use tandem_cluster::state::{Binding as Row, Phase as RowPhase};
use tandem_vendors::exchange::Op;
use tandem_vendors::outcome::{
    BindOutcome, Class, Failure, Handle, QueryOutcome, Service, UnbindOutcome,
};
use tandem_vendors::policy::{Recovery, Retry};

use crate::call::machine::Now;
use crate::pause::{LOOK_AGAIN_MS, pause_after};

/// What happens to a binding.
#[derive(Debug)]
pub enum Event {
    /// The platform's answer to the bind.
    BindDone(BindOutcome),
    /// The state's answer to the booking of another X.
    Booked(bool),
    /// The platform's answer to the query.
    QueryDone(QueryOutcome),
    /// The platform's answer to the unbind.
    UnbindDone(UnbindOutcome),
    /// The call ended, or an operator asked: release now.
    Release,
    /// The call was answered: release at this wall time, or when the call ends.
    ReleaseAt(Option<Millis>),
    /// The timer armed last.
    Timer,
    /// An operator dropped the row: one request still goes out.
    Forced,
}

/// What a binding wants done, in order.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Send the bind.
    Bind,
    /// Ask the platform what it holds for these numbers.
    Query,
    /// Send the unbind; without a handle, by our own id or by the numbers, as the platform has it.
    Unbind(Handle),
    /// Tell the state, and wait for its word: the X differs from the one asked for.
    Book {
        /// The X in the answer.
        x: String,
        /// Named values for the unbind.
        handle: Handle,
        /// The reply.
        raw: String,
    },
    /// Tell the state; nobody waits.
    NoteBound {
        /// The X in the answer.
        x: String,
        /// Named values for the unbind.
        handle: Handle,
        /// The reply.
        raw: String,
    },
    /// Tell the call that it may dial; `x` when it differs from the X asked for.
    TellBound {
        /// The other X.
        x: Option<String>,
    },
    /// Tell the call that this attempt has no binding.
    TellFailed(AttemptFailure),
    /// Tell the state that the platform holds nothing.
    NoteUnbound {
        /// The platform had let it go before.
        missing: bool,
    },
    /// Tell the state that the platform did not let go.
    NoteUnbindFailed(String),
    /// Note the interface's last error.
    NoteError(String),
    /// Arm the one timer at a monotonic time.
    Arm(Millis),
    /// Nothing is left to do.
    Finish,
}

#[derive(Debug, PartialEq)]
enum Phase {
    /// `tries`: binds that failed before the one under way. `unsure`: the platform may hold one of them.
    Asking {
        tries: u8,
        unsure: bool,
    },
    Booking {
        x: String,
        handle: Handle,
    },
    Held {
        handle: Handle,
    },
    Recovering {
        /// Which of the platform's means is tried.
        means: usize,
        /// Times the platform said that it holds nothing.
        asked: usize,
        /// Times it could not be asked since.
        failed: u32,
        /// The timer is armed, no request is under way.
        waiting: bool,
    },
    Releasing {
        handle: Handle,
        tries: u32,
        /// As above.
        waiting: bool,
    },
    Refused,
    Farewell,
    Over,
}

/// How a bind is cleared whose outcome is unknown, as the platform's definition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recover {
    /// The platform's means, in the order in which they are tried. Empty: as if it could only be waited for.
    pub means: Vec<Recovery>,
    /// After so long the platform has let go of a binding by itself; `None`: it keeps it for ever.
    pub lapses_ms: Option<Millis>,
    /// How often a request may be repeated soon after a failure, before the long pauses.
    pub retry: Vec<Retry>,
}

impl Recover {
    fn retries(&self, op: Op, class: Class) -> u32 {
        let row = self
            .retry
            .iter()
            .find(|row| row.op == op && row.class == class);
        row.map_or(0, |row| u32::from(row.times))
    }

    /// The pause after a failure of this operation, of which `before` came before.
    fn pause(&self, op: Op, before: u32, failure: &Failure) -> Millis {
        pause_after(before, self.retries(op, failure.class), failure)
    }

    /// Whether a failed bind may be sent again as it was. What may have taken effect is repeated only where the
    /// platform answers the same request id alike, for anything else might bind a second time.
    fn bind_again(&self, tries: u8, failure: &Failure) -> bool {
        u32::from(tries) < self.retries(Op::Bind, failure.class)
            && (!failure.class.may_hold() || self.means.contains(&Recovery::Repeat))
    }
}

/// One binding.
#[derive(Debug)]
pub struct Machine {
    x: String,
    recover: Recover,
    /// When it was asked for, by the monotonic clock.
    asked_at: Millis,
    /// When the platform has let go of what it may hold, by the monotonic clock.
    lapses_at: Option<Millis>,
    phase: Phase,
    /// The release was asked for while the bind was under way.
    release_wanted: bool,
    release_at: Option<Millis>,
}

/// A bind is repeated only within so long of the first one: a caller waits for it.
const BIND_AGAIN_MS: Millis = 1_000;
/// A refused binding waits so long for its call to ask for another attempt.
const REFUSED_MS: Millis = 5_000;

impl Machine {
    /// A binding that is asked for now.
    pub fn ask(x: String, recover: Recover, now: Now) -> (Self, Vec<Action>) {
        let machine = Machine {
            x,
            recover,
            asked_at: now.mono,
            lapses_at: None,
            phase: Phase::Asking {
                tries: 0,
                unsure: false,
            },
            release_wanted: false,
            release_at: None,
        };
        (machine, vec![Action::Bind])
    }

    /// A binding taken over from another tenure.
    pub fn adopt(row: &Row, recover: Recover, now: Now) -> (Self, Vec<Action>) {
        let mut machine = Machine {
            x: row.x.clone(),
            recover,
            asked_at: now.mono,
            lapses_at: None,
            phase: Phase::Over,
            release_wanted: false,
            release_at: row.unbind_at,
        };
        let known = !row.handle.is_empty();
        let actions = match row.phase {
            RowPhase::Bound if known => {
                machine.phase = Phase::Held {
                    handle: row.handle.clone(),
                };
                machine.arm_release(now)
            }
            RowPhase::Unbinding | RowPhase::Bound if known => machine.release(row.handle.clone()),
            _ => machine.recover(now),
        };
        (machine, actions)
    }

    /// A row that an operator dropped while nobody looked after it: one request goes out.
    pub fn farewell(row: &Row, recover: Recover) -> (Self, Vec<Action>) {
        let mut machine = Machine {
            x: row.x.clone(),
            recover,
            asked_at: 0,
            lapses_at: None,
            phase: Phase::Farewell,
            release_wanted: true,
            release_at: None,
        };
        let actions = if row.handle.is_empty() {
            machine.leave_unknown()
        } else {
            vec![Action::Unbind(row.handle.clone())]
        };
        (machine, actions)
    }

    /// A deadline is armed.
    pub fn is_timed(&self) -> bool {
        matches!(self.phase, Phase::Held { .. }) && self.release_at.is_some()
    }

    /// The only way in.
    pub fn on(&mut self, event: Event, now: Now) -> Vec<Action> {
        match (std::mem::replace(&mut self.phase, Phase::Over), event) {
            (Phase::Over, _) => Vec::new(),

            (Phase::Asking { .. }, Event::BindDone(BindOutcome::Bound { handle, x, raw })) => {
                self.bound(handle, x, raw, now)
            }
            (Phase::Asking { tries, unsure }, Event::BindDone(BindOutcome::Failed(failure))) => {
                self.bind_failed(failure, tries, unsure, now)
            }
            (Phase::Booking { x, handle }, Event::Booked(true)) => {
                self.x = x.clone();
                let mut actions = vec![Action::TellBound { x: Some(x) }];
                actions.extend(self.hold(handle, now));
                actions
            }
            (Phase::Booking { handle, .. }, Event::Booked(false)) => {
                let code = "x_not_ours".to_owned();
                let mut actions = vec![Action::TellFailed(AttemptFailure::NumberRefused { code })];
                actions.extend(self.release(handle));
                actions
            }

            (Phase::Held { handle }, Event::Release) => self.release(handle),
            (Phase::Held { handle }, Event::ReleaseAt(at)) => {
                self.release_at = at;
                self.phase = Phase::Held { handle };
                self.arm_release(now)
            }
            (Phase::Held { handle }, Event::Timer) => match self.release_at {
                Some(at) if at <= now.wall => self.release(handle),
                // The deadline has moved since.
                _ => {
                    self.phase = Phase::Held { handle };
                    self.arm_release(now)
                }
            },

            (Phase::Releasing { .. }, Event::UnbindDone(UnbindOutcome::Released)) => {
                self.gone(false)
            }
            (Phase::Releasing { .. }, Event::UnbindDone(UnbindOutcome::AlreadyGone)) => {
                self.gone(true)
            }
            (
                Phase::Releasing { handle, tries, .. },
                Event::UnbindDone(UnbindOutcome::Failed(failure)),
            ) => self.unbind_again_later(handle, tries, &failure, now),
            // An operator who asks need not wait for the pause to pass.
            (
                Phase::Releasing {
                    handle,
                    tries,
                    waiting: true,
                },
                Event::Timer | Event::Release,
            ) => {
                self.phase = Phase::Releasing {
                    handle: handle.clone(),
                    tries,
                    waiting: false,
                };
                vec![Action::Unbind(handle)]
            }

            (Phase::Recovering { .. }, Event::QueryDone(QueryOutcome::Found(held))) => {
                match held.into_iter().next() {
                    Some(held) => self.release(held.handle),
                    None => self.gone(false),
                }
            }
            // By its own id or by its numbers; or it was bound once more, which says that it may be released.
            (Phase::Recovering { .. }, Event::UnbindDone(UnbindOutcome::Released)) => {
                self.gone(false)
            }
            (Phase::Recovering { .. }, Event::BindDone(BindOutcome::Bound { handle, .. })) => {
                self.release(handle)
            }
            // Asked too soon, perhaps: the lost bind may still be on its way.
            (
                Phase::Recovering { means, asked, .. },
                Event::QueryDone(QueryOutcome::None)
                | Event::UnbindDone(UnbindOutcome::AlreadyGone),
            ) => self.ask_again_later(means, asked, now),
            (
                Phase::Recovering {
                    means,
                    asked,
                    failed,
                    ..
                },
                Event::QueryDone(QueryOutcome::Failed(failure))
                | Event::UnbindDone(UnbindOutcome::Failed(failure))
                | Event::BindDone(BindOutcome::Failed(failure)),
            ) => self.means_failed(means, asked, failed, &failure, now),
            // Asking sooner after "nothing is there" would only make a slow bind be missed: that wait is kept.
            (
                Phase::Recovering {
                    means,
                    asked,
                    failed,
                    waiting: true,
                },
                event @ (Event::Timer | Event::Release),
            ) if matches!(event, Event::Timer) || failed > 0 => {
                self.try_means(means, asked, failed, now)
            }

            (Phase::Refused, Event::Release | Event::Timer) => self.gone(false),
            (Phase::Refused, Event::Forced) => vec![Action::Finish],

            (Phase::Farewell, Event::QueryDone(QueryOutcome::Found(held))) => {
                match held.into_iter().next() {
                    Some(held) => {
                        self.phase = Phase::Farewell;
                        vec![Action::Unbind(held.handle)]
                    }
                    None => vec![Action::Finish],
                }
            }
            (Phase::Farewell, Event::QueryDone(_) | Event::UnbindDone(_)) => vec![Action::Finish],

            (
                Phase::Held { handle }
                | Phase::Releasing { handle, .. }
                | Phase::Booking { handle, .. },
                Event::Forced,
            ) => {
                self.phase = Phase::Farewell;
                vec![Action::Unbind(handle)]
            }
            (Phase::Recovering { .. }, Event::Forced) => {
                self.phase = Phase::Farewell;
                self.leave_unknown()
            }
            (phase @ Phase::Asking { .. }, Event::Forced | Event::Release) => {
                self.phase = phase;
                self.release_wanted = true;
                Vec::new()
            }
            // A booking that is released meanwhile is released once it is settled.
            (phase @ Phase::Booking { .. }, Event::Release) => {
                self.phase = phase;
                self.release_wanted = true;
                Vec::new()
            }
            // News that this phase does not wait for: late answers, repeats.
            (phase, _) => {
                self.phase = phase;
                Vec::new()
            }
        }
    }

    fn bound(&mut self, handle: Handle, x: String, raw: String, now: Now) -> Vec<Action> {
        if x != self.x {
            self.phase = Phase::Booking {
                x: x.clone(),
                handle: handle.clone(),
            };
            return vec![Action::Book { x, handle, raw }];
        }
        let mut actions = vec![
            Action::NoteBound {
                x,
                handle: handle.clone(),
                raw,
            },
            Action::TellBound { x: None },
        ];
        actions.extend(self.hold(handle, now));
        actions
    }

    fn hold(&mut self, handle: Handle, now: Now) -> Vec<Action> {
        if self.release_wanted {
            return self.release(handle);
        }
        self.phase = Phase::Held { handle };
        self.arm_release(now)
    }

    /// `tries` binds failed before this one, and the platform may hold one of those if `unsure`.
    fn bind_failed(&mut self, failure: Failure, tries: u8, unsure: bool, now: Now) -> Vec<Action> {
        let code = failure.code.clone();
        let mut actions = vec![Action::NoteError(failure.to_string())];
        let unsure = unsure || failure.class == Class::Unknown;
        let in_time = now.mono.saturating_sub(self.asked_at) < BIND_AGAIN_MS
            && failure.wait_ms.unwrap_or(0) == 0;
        if in_time && !self.release_wanted && self.recover.bind_again(tries, &failure) {
            self.phase = Phase::Asking {
                tries: tries + 1,
                unsure,
            };
            actions.push(Action::Bind);
            return actions;
        }
        if unsure {
            actions.push(Action::TellFailed(AttemptFailure::BindUnknown { code }));
            actions.extend(self.recover(now));
            return actions;
        }
        let told = match failure.class.other_x() {
            Service::Number => AttemptFailure::NumberRefused { code },
            Service::Platform => AttemptFailure::PlatformRefused { code },
        };
        actions.push(Action::TellFailed(told));
        if self.release_wanted {
            actions.extend(self.gone(false));
        } else {
            // The call asks for another attempt now, and by that the state learns which number was refused. Only when
            // the call is gone by then has the row to be dropped from here; a second time does no harm.
            self.phase = Phase::Refused;
            actions.push(Action::Arm(now.mono + REFUSED_MS));
        }
        actions
    }

    fn recover(&mut self, now: Now) -> Vec<Action> {
        self.lapses_at = self.recover.lapses_ms.map(|ms| now.mono + ms);
        self.try_means(0, 0, 0, now)
    }

    /// Asks the platform in one of its ways, or waits until it has let go by itself.
    fn try_means(&mut self, means: usize, asked: usize, failed: u32, now: Now) -> Vec<Action> {
        if self.lapses_at.is_some_and(|at| at <= now.mono) {
            return self.gone(false);
        }
        let action = match self.recover.means.get(means) {
            Some(Recovery::Query) => Action::Query,
            Some(Recovery::OwnId | Recovery::Numbers) => Action::Unbind(Handle::new()),
            Some(Recovery::Repeat) => Action::Bind,
            Some(Recovery::Wait) | None => match self.lapses_at {
                Some(at) => Action::Arm(at),
                // It never lets go and cannot be asked: an operator has to.
                None => {
                    self.phase = Phase::Recovering {
                        means,
                        asked,
                        failed,
                        waiting: true,
                    };
                    return vec![Action::NoteUnbindFailed(
                        "the platform may hold a binding, and there is no way to ask it".to_owned(),
                    )];
                }
            },
        };
        self.phase = Phase::Recovering {
            means,
            asked,
            failed,
            waiting: matches!(action, Action::Arm(_)),
        };
        vec![action]
    }

    fn ask_again_later(&mut self, means: usize, asked: usize, now: Now) -> Vec<Action> {
        match LOOK_AGAIN_MS.get(asked) {
            Some(pause) => {
                self.phase = Phase::Recovering {
                    means,
                    asked: asked + 1,
                    failed: 0,
                    waiting: true,
                };
                vec![Action::Arm(now.mono + pause)]
            }
            None => self.gone(false),
        }
    }

    /// One of the platform's ways led nowhere: the same once more after a pause; the next one when it was refused for
    /// good; the end when the platform has let go by itself by then.
    fn means_failed(
        &mut self,
        means: usize,
        asked: usize,
        failed: u32,
        failure: &Failure,
        now: Now,
    ) -> Vec<Action> {
        let mut actions = vec![Action::NoteUnbindFailed(failure.to_string())];
        let more = self
            .recover
            .means
            .get(means + 1)
            .is_some_and(|next| *next != Recovery::Wait);
        let refused = matches!(
            failure.class,
            Class::Permanent | Class::AlreadyBound | Class::Config
        );
        if refused && more {
            actions.extend(self.try_means(means + 1, asked, 0, now));
            return actions;
        }
        self.phase = Phase::Recovering {
            means,
            asked,
            failed: failed + 1,
            waiting: true,
        };
        let op = match self.recover.means.get(means) {
            Some(Recovery::OwnId | Recovery::Numbers) => Op::Unbind,
            Some(Recovery::Repeat) => Op::Bind,
            _ => Op::Query,
        };
        let at = now.mono + self.recover.pause(op, failed, failure);
        actions.push(Action::Arm(
            self.lapses_at.map_or(at, |lapses| at.min(lapses)),
        ));
        actions
    }

    /// The one request that still goes out for a dropped row whose handle is not known.
    fn leave_unknown(&mut self) -> Vec<Action> {
        vec![match self.recover.means.first() {
            Some(Recovery::Query) => Action::Query,
            Some(Recovery::OwnId | Recovery::Numbers) => Action::Unbind(Handle::new()),
            Some(Recovery::Repeat | Recovery::Wait) | None => Action::Finish,
        }]
    }

    fn arm_release(&self, now: Now) -> Vec<Action> {
        match self.release_at {
            Some(at) => vec![Action::Arm(now.mono + at.saturating_sub(now.wall))],
            None => Vec::new(),
        }
    }

    fn release(&mut self, handle: Handle) -> Vec<Action> {
        self.phase = Phase::Releasing {
            handle: handle.clone(),
            tries: 0,
            waiting: false,
        };
        vec![Action::Unbind(handle)]
    }

    fn unbind_again_later(
        &mut self,
        handle: Handle,
        tries: u32,
        failure: &Failure,
        now: Now,
    ) -> Vec<Action> {
        self.phase = Phase::Releasing {
            handle,
            tries: tries + 1,
            waiting: true,
        };
        vec![
            Action::NoteUnbindFailed(failure.to_string()),
            Action::Arm(now.mono + self.recover.pause(Op::Unbind, tries, failure)),
        ]
    }

    fn gone(&mut self, missing: bool) -> Vec<Action> {
        self.phase = Phase::Over;
        vec![Action::NoteUnbound { missing }, Action::Finish]
    }
}

#[cfg(test)]
mod tests;
