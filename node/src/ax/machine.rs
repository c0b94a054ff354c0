//! A wish about one static relation until the platform has answered it, as plain data.
//!
//! ```text
//!  Binding ──► Looking ◄─► Pausing      a bind whose outcome is not known: the platform is asked what it holds
//!     │           │
//!     ├───────────┴──► Over             the state is told: bound, or failed
//!     │ (released meanwhile)
//!     ▼
//!  Unbinding ◄─► Waiting ──► Over       tried again until the platform has nothing any more
//! ```
//!
//! One request at a time. The state counts its wishes ([`AxLive::asked`](tandem_cluster::state::AxLive::asked)), and each
//! outcome names the one it answers; a wish that comes while a request is out waits for that request's answer.

use tandem_cluster::entity::Millis;
use tandem_cluster::state::{AxPhase, AxRow};
use tandem_vendors::outcome::{BindOutcome, Failure, Handle, QueryOutcome, UnbindOutcome};

use crate::call::machine::Now;
use crate::pause::{LOOK_AGAIN_MS, pause_after};

/// What the row wants of the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// That it holds the relation.
    Bind,
    /// That it does not. The handle may be empty: then the numbers name it.
    Unbind(Handle),
}

impl Wish {
    /// The wish of a row and its count; `None` when nothing is to be asked.
    pub fn of(row: &AxRow) -> Option<(Wish, u32)> {
        let wish = match row.live.phase {
            AxPhase::Binding => Wish::Bind,
            AxPhase::Unbinding => Wish::Unbind(row.live.handle.clone()),
            AxPhase::Unbound | AxPhase::Bound | AxPhase::Error => return None,
        };
        Some((wish, row.live.asked))
    }
}

/// What happens to a relation.
#[derive(Debug)]
pub enum Event {
    /// The row wants this; its wishes are counted.
    Wished(Wish, u32),
    /// The platform's answer to the bind.
    BindDone(BindOutcome),
    /// The platform's answer to the query.
    QueryDone(QueryOutcome),
    /// The platform's answer to the unbind.
    UnbindDone(UnbindOutcome),
    /// The timer armed last.
    Timer,
    /// An operator dropped it: one request still goes out.
    Forced,
}

/// What a relation wants done, in order.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Send the bind.
    Bind,
    /// Ask the platform whether it holds the relation.
    Query,
    /// Send the unbind, for this X, which may be another than the row's.
    Unbind {
        /// X
        x: String,
        /// Empty: by the numbers.
        handle: Handle,
    },
    /// Tell the state that it stands.
    NoteBound {
        /// The wish it answers.
        asked: u32,
        /// Named values for the unbind.
        handle: Handle,
        /// The reply.
        raw: String,
    },
    /// Tell the state that the platform has nothing.
    NoteUnbound {
        /// The wish it answers.
        asked: u32,
        /// The platform had let it go before.
        missing: bool,
    },
    /// Tell the state that it did not work. An unbind is tried again all the same.
    NoteFailed {
        /// The wish it answers.
        asked: u32,
        /// What was said.
        error: String,
        /// The platform may have done it all the same.
        unknown: bool,
    },
    /// Arm the one timer at a monotonic time.
    Arm(Millis),
    /// Nothing is left to do.
    Finish,
}

#[derive(Debug)]
enum Phase {
    Binding,
    /// `looks`: times the platform said that it holds nothing. `error`: why the bind's outcome is not known.
    Looking {
        looks: usize,
        error: String,
    },
    Pausing {
        looks: usize,
        error: String,
    },
    /// The platform gave another X, which goes back to it.
    Returning {
        error: String,
    },
    Unbinding {
        handle: Handle,
        tries: u32,
    },
    Waiting {
        handle: Handle,
        tries: u32,
    },
    /// The last request about a relation that an operator dropped.
    Farewell,
    Over,
}

/// One relation.
#[derive(Debug)]
pub struct Machine {
    x: String,
    asked: u32,
    phase: Phase,
    /// A wish that came while a request was out.
    later: Option<(Wish, u32)>,
    /// The row was dropped while a request was out.
    dropped: bool,
}

impl Machine {
    /// A relation about which something is wished.
    pub fn new(x: String, wish: Wish, asked: u32) -> (Self, Vec<Action>) {
        let mut machine = Machine {
            x,
            asked,
            phase: Phase::Over,
            later: None,
            dropped: false,
        };
        let actions = machine.begin(wish, asked);
        (machine, actions)
    }

    /// A relation that an operator dropped while nobody asked about it: one request goes out.
    pub fn farewell(row: &AxRow) -> (Self, Vec<Action>) {
        let mut machine = Machine {
            x: row.entity.x_number.clone(),
            asked: row.live.asked,
            phase: Phase::Over,
            later: None,
            dropped: true,
        };
        let actions = machine.say_farewell(row.live.handle.clone());
        (machine, actions)
    }

    /// The last wish that was taken up.
    pub fn asked(&self) -> u32 {
        self.later.as_ref().map_or(self.asked, |(_, asked)| *asked)
    }

    /// The only way in.
    pub fn on(&mut self, event: Event, now: Now) -> Vec<Action> {
        match (std::mem::replace(&mut self.phase, Phase::Over), event) {
            (Phase::Over, Event::Wished(wish, asked)) => self.begin(wish, asked),
            (Phase::Over, _) => Vec::new(),

            // Whoever asks again does not want to wait for the pause's end. The row may not know the handle yet.
            (Phase::Waiting { handle, .. }, Event::Wished(Wish::Unbind(known), asked)) => {
                let handle = if known.is_empty() { handle } else { known };
                self.begin(Wish::Unbind(handle), asked)
            }
            (Phase::Waiting { .. } | Phase::Pausing { .. }, Event::Wished(wish, asked)) => {
                self.begin(wish, asked)
            }
            (phase, Event::Wished(wish, asked)) => {
                if asked > self.asked() {
                    self.later = Some((wish, asked));
                }
                self.phase = phase;
                Vec::new()
            }

            (Phase::Binding, Event::BindDone(outcome)) => self.bind_done(outcome),
            (Phase::Looking { looks, error }, Event::QueryDone(outcome)) => {
                self.query_done(outcome, looks, error, now)
            }
            (Phase::Pausing { looks, error }, Event::Timer) => {
                self.phase = Phase::Looking { looks, error };
                vec![Action::Query]
            }
            (Phase::Returning { error }, Event::UnbindDone(outcome)) => {
                let unknown = matches!(outcome, UnbindOutcome::Failed(_));
                self.failed(error, unknown)
            }

            (Phase::Unbinding { .. }, Event::UnbindDone(UnbindOutcome::Released)) => {
                self.unbound(false)
            }
            (Phase::Unbinding { .. }, Event::UnbindDone(UnbindOutcome::AlreadyGone)) => {
                self.unbound(true)
            }
            (
                Phase::Unbinding { handle, tries },
                Event::UnbindDone(UnbindOutcome::Failed(failure)),
            ) => self.unbind_again_later(handle, tries, &failure, now),
            (Phase::Waiting { handle, tries }, Event::Timer) => self.unbind(handle, tries),

            (Phase::Farewell, Event::UnbindDone(_)) => self.finish(),

            (Phase::Waiting { handle, .. }, Event::Forced) => self.say_farewell(handle),
            (Phase::Pausing { .. }, Event::Forced) => self.say_farewell(Handle::new()),
            // The request that is out is the one that still goes out.
            (Phase::Unbinding { .. }, Event::Forced) => {
                self.phase = Phase::Farewell;
                self.drop_wishes();
                Vec::new()
            }
            (phase, Event::Forced) => {
                self.phase = phase;
                self.drop_wishes();
                Vec::new()
            }
            // News that this phase does not wait for: late answers, repeats.
            (phase, _) => {
                self.phase = phase;
                Vec::new()
            }
        }
    }

    fn begin(&mut self, wish: Wish, asked: u32) -> Vec<Action> {
        self.asked = asked;
        self.later = None;
        self.dropped = false;
        match wish {
            Wish::Bind => {
                self.phase = Phase::Binding;
                vec![Action::Bind]
            }
            Wish::Unbind(handle) => self.unbind(handle, 0),
        }
    }

    fn bind_done(&mut self, outcome: BindOutcome) -> Vec<Action> {
        match outcome {
            BindOutcome::Bound { handle, x, raw } if x == self.x => self.bound(handle, raw),
            BindOutcome::Bound { handle, x, .. } => {
                let error = "the platform gave another X".to_owned();
                self.phase = Phase::Returning { error };
                vec![Action::Unbind { x, handle }]
            }
            BindOutcome::Failed(failure) if self.dropped => match failure.class.may_hold() {
                true => self.say_farewell(Handle::new()),
                false => self.finish(),
            },
            BindOutcome::Failed(failure) if failure.class.may_hold() => {
                self.phase = Phase::Looking {
                    looks: 0,
                    error: failure.to_string(),
                };
                vec![Action::Query]
            }
            BindOutcome::Failed(failure) => self.failed(failure.to_string(), false),
        }
    }

    fn query_done(
        &mut self,
        outcome: QueryOutcome,
        looks: usize,
        error: String,
        now: Now,
    ) -> Vec<Action> {
        match outcome {
            QueryOutcome::Found(held) => match held.into_iter().find(|held| held.x == self.x) {
                Some(held) => self.bound(held.handle, format!("{error}, found")),
                None => self.failed(error, false),
            },
            QueryOutcome::None if self.dropped => self.finish(),
            QueryOutcome::Failed(_) if self.dropped => self.say_farewell(Handle::new()),
            QueryOutcome::None => match LOOK_AGAIN_MS.get(looks) {
                Some(pause) => {
                    let looks = looks + 1;
                    self.phase = Phase::Pausing { looks, error };
                    vec![Action::Arm(now.mono + pause)]
                }
                None => self.failed(error, false),
            },
            QueryOutcome::Failed(failure) => self.failed(format!("{error}; {failure}"), true),
        }
    }

    /// The platform holds it.
    fn bound(&mut self, handle: Handle, raw: String) -> Vec<Action> {
        if self.dropped {
            return self.say_farewell(handle);
        }
        let mut actions = vec![Action::NoteBound {
            asked: self.asked,
            handle: handle.clone(),
            raw,
        }];
        actions.extend(match self.later.take() {
            Some((Wish::Unbind(_), asked)) => self.begin(Wish::Unbind(handle), asked),
            _ => self.finish(),
        });
        actions
    }

    fn failed(&mut self, error: String, unknown: bool) -> Vec<Action> {
        let mut actions = vec![Action::NoteFailed {
            asked: self.asked,
            error,
            unknown,
        }];
        actions.extend(match self.later.take() {
            Some((wish, asked)) => self.begin(wish, asked),
            None => self.finish(),
        });
        actions
    }

    fn unbound(&mut self, missing: bool) -> Vec<Action> {
        let mut actions = vec![Action::NoteUnbound {
            asked: self.asked,
            missing,
        }];
        actions.extend(match self.later.take() {
            Some((Wish::Bind, asked)) => self.begin(Wish::Bind, asked),
            // Nothing is left there, whoever asked for it.
            Some((Wish::Unbind(_), asked)) => {
                let mut both = vec![Action::NoteUnbound { asked, missing }];
                both.extend(self.finish());
                both
            }
            None => self.finish(),
        });
        actions
    }

    fn unbind(&mut self, handle: Handle, tries: u32) -> Vec<Action> {
        let x = self.x.clone();
        self.phase = Phase::Unbinding {
            handle: handle.clone(),
            tries,
        };
        vec![Action::Unbind { x, handle }]
    }

    fn unbind_again_later(
        &mut self,
        handle: Handle,
        tries: u32,
        failure: &Failure,
        now: Now,
    ) -> Vec<Action> {
        let mut actions = vec![Action::NoteFailed {
            asked: self.asked,
            error: failure.to_string(),
            unknown: failure.class.may_hold(),
        }];
        actions.extend(match self.later.take() {
            Some((wish, asked)) => self.begin(wish, asked),
            None => {
                self.phase = Phase::Waiting {
                    handle,
                    tries: tries + 1,
                };
                vec![Action::Arm(now.mono + pause_after(tries, 0, failure))]
            }
        });
        actions
    }

    fn say_farewell(&mut self, handle: Handle) -> Vec<Action> {
        self.dropped = true;
        self.phase = Phase::Farewell;
        let x = self.x.clone();
        vec![Action::Unbind { x, handle }]
    }

    fn drop_wishes(&mut self) {
        self.dropped = true;
        self.later = None;
    }

    fn finish(&mut self) -> Vec<Action> {
        self.phase = Phase::Over;
        match self.later.take() {
            Some((wish, asked)) => self.begin(wish, asked),
            None => vec![Action::Finish],
        }
    }
}

#[cfg(test)]
mod tests;
