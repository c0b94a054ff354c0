//! A call that another node has answered: both far ends learn where it lives now (`DOMAIN.md` §12).
//!
//! Each far end gets a request inside its dialog with our Contact: an UPDATE without a body where it takes that, else a
//! re-INVITE with the description that it was last told, so that nothing changes but the target. The call talks all the
//! while. What a far end answers decides for itself alone:
//!
//! ```text
//!  Waiting ──► Asked ──2xx──────────────► Settled, refreshed
//!     ▲          │ 491, 500, 503: again after a pause, a few times
//!     └─ Pausing ┘ another refusal: an UPDATE becomes a re-INVITE, else Settled, not refreshed; the call goes on
//!                  481, 408, silence: the call is over, with the reason `node_failure`
//! ```

use tandem_cluster::command::{Attempt, Credit, EndedBy};
use tandem_cluster::entity::Millis;
use tandem_sip::leg::{Body, Command, Ended, EndedBy as LegEnd, Offer};
use tandem_sip::sdp::Session;

use super::{Action, Limits, Machine, Now, Phase, Side, Timer, Told, other, to};
use crate::call::reason;

/// Times that a far end is asked again after it could not take the request.
const TRIES_MAX: u8 = 6;
/// Pause before that, unless the far end names one within these bounds.
const AGAIN_MS: Millis = 1_000;
const AGAIN_MIN_MS: Millis = 50;
const AGAIN_MAX_MS: Millis = 10_000;

/// An answered call of another tenure, as the state has it.
#[derive(Debug)]
pub struct Adopted {
    /// The attempt that was answered.
    pub attempt: Box<Attempt>,
    /// How far it is paid for.
    pub credit: Option<Credit>,
    /// Wall time of the answer.
    pub answered_at: Millis,
    /// Wall time at which its former owner was last heard.
    pub heard_at: Millis,
    /// Towards the caller.
    pub caller: FarEnd,
    /// Towards the callee.
    pub callee: FarEnd,
}

/// What is known of one far end of it.
#[derive(Debug)]
pub struct FarEnd {
    /// The description that it was last told.
    pub told: Option<Body>,
    /// It takes UPDATE.
    pub takes_update: bool,
}

/// How a take-over went, for the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// Both far ends know where the call lives now.
    Refreshed,
    /// It goes on, but a far end refused the refresh.
    Unrefreshed,
    /// It ended by its own or a far end's doing before both had answered.
    Ended,
    /// A far end knows the call no more, or is silent.
    Failed,
}

/// The refresh of both far ends; gone when both are settled.
#[derive(Debug)]
pub(super) struct Refresh {
    heard_at: Millis,
    caller: Far,
    callee: Far,
}

#[derive(Debug)]
struct Far {
    end: FarEnd,
    step: Step,
    tries: u8,
    /// What it answered to a re-INVITE.
    answer: Option<Body>,
    /// It has been told of a change that the other far end's answer brought; that happens once.
    mended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Waiting,
    Asked(Offer),
    Pausing,
    Settled { refreshed: bool },
}

impl Refresh {
    fn far(&mut self, side: Side) -> &mut Far {
        match side {
            Side::Caller => &mut self.caller,
            Side::Callee => &mut self.callee,
        }
    }
}

impl Far {
    fn new(end: FarEnd) -> Self {
        Far {
            end,
            step: Step::Waiting,
            tries: 0,
            answer: None,
            mended: false,
        }
    }

    fn is_settled(&self) -> bool {
        matches!(self.step, Step::Settled { .. })
    }
}

impl Machine {
    /// An answered call taken over from another tenure, and its first actions. It talks at once; its far ends are told
    /// when [`Action::AskRefresh`] is granted.
    pub fn adopted(adopted: Adopted, limits: Limits, now: Now) -> (Self, Vec<Action>) {
        let Adopted {
            attempt,
            credit,
            answered_at,
            heard_at,
            caller,
            callee,
        } = adopted;
        let (mut machine, _) = Machine::new(None, limits, now);
        machine.phase = Phase::Talking;
        machine.delayed = false;
        machine.kept = true;
        machine.attempt = Some(attempt);
        machine.credit = credit;
        machine.answered = Some(answered_at);
        machine.refresh = Some(Box::new(Refresh {
            heard_at,
            caller: Far::new(caller),
            callee: Far::new(callee),
        }));
        let mut actions = machine.set_limits(now);
        actions.push(Action::AskRefresh);
        (machine, actions)
    }

    /// A far end has still to be told where the call lives.
    pub fn is_refreshing(&self) -> bool {
        self.refresh.is_some()
    }

    /// An answer that comes from this side now is one to its refresh.
    pub(super) fn is_asked(&mut self, side: Side) -> bool {
        let refresh = self.refresh.as_mut();
        refresh.is_some_and(|refresh| matches!(refresh.far(side).step, Step::Asked(_)))
    }

    /// This side has not been told yet.
    pub(super) fn is_unsettled(&mut self, side: Side) -> bool {
        let refresh = self.refresh.as_mut();
        refresh.is_some_and(|refresh| !refresh.far(side).is_settled())
    }

    /// Leave has been given.
    pub(super) fn refresh_both(&mut self, now: Now) -> Vec<Action> {
        let mut actions = self.refresh_one(Side::Caller, now);
        actions.extend(self.refresh_one(Side::Callee, now));
        actions
    }

    pub(super) fn refresh_one(&mut self, side: Side, now: Now) -> Vec<Action> {
        // A change of the session that is under way goes first, and no two requests of ours cross in one dialog.
        let busy = self.reoffer.is_some() || self.ack_owed.is_some();
        let Some(refresh) = self.refresh.as_mut() else {
            return Vec::new();
        };
        let far = refresh.far(side);
        if !matches!(far.step, Step::Waiting | Step::Pausing) {
            return Vec::new();
        }
        if busy {
            return self.refresh_later(side, None, now);
        }
        let (via, body) = match &far.end {
            FarEnd {
                takes_update: true, ..
            } => (Offer::Update, None),
            FarEnd {
                told: Some(told), ..
            } => (Offer::Invite, Some(told.clone())),
            // Without an offer of ours it would have to make one, and the other side to answer it.
            FarEnd { told: None, .. } => return self.settle(side, false, now),
        };
        far.step = Step::Asked(via);
        vec![to(side, Command::Reoffer { via, body })]
    }

    pub(super) fn refreshed(
        &mut self,
        side: Side,
        status: u16,
        body: Option<Body>,
        retry_after_ms: Option<Millis>,
        now: Now,
    ) -> Vec<Action> {
        let Some(refresh) = self.refresh.as_mut() else {
            return Vec::new();
        };
        let far = refresh.far(side);
        match (status, far.step) {
            (200..=299, _) => {
                far.answer = body;
                self.settle(side, true, now)
            }
            // The leg's end follows.
            (408 | 481, _) => Vec::new(),
            (491 | 500 | 503, _) => self.refresh_later(side, retry_after_ms, now),
            (_, Step::Asked(Offer::Update)) => {
                far.end.takes_update = false;
                far.step = Step::Waiting;
                self.refresh_one(side, now)
            }
            _ => self.settle(side, false, now),
        }
    }

    fn refresh_later(&mut self, side: Side, after_ms: Option<Millis>, now: Now) -> Vec<Action> {
        let Some(refresh) = self.refresh.as_mut() else {
            return Vec::new();
        };
        let far = refresh.far(side);
        if far.tries >= TRIES_MAX {
            return self.settle(side, false, now);
        }
        far.tries += 1;
        far.step = Step::Pausing;
        let pause = after_ms
            .unwrap_or(AGAIN_MS)
            .clamp(AGAIN_MIN_MS, AGAIN_MAX_MS);
        let timer = match side {
            Side::Caller => Timer::RefreshCaller,
            Side::Callee => Timer::RefreshCallee,
        };
        vec![Action::Arm(timer, now.mono + pause)]
    }

    fn settle(&mut self, side: Side, refreshed: bool, now: Now) -> Vec<Action> {
        let Some(refresh) = self.refresh.as_mut() else {
            return Vec::new();
        };
        refresh.far(side).step = Step::Settled { refreshed };
        if !(refresh.caller.is_settled() && refresh.callee.is_settled()) {
            return Vec::new();
        }
        // A far end may answer with another place for its media than it had; then the other one learns it.
        let mut moved = Vec::new();
        for side in [Side::Caller, Side::Callee] {
            let Some(answer) = refresh.far(side).answer.take() else {
                continue;
            };
            let peer = refresh.far(other(side));
            let news = peer.end.told.as_ref().is_some_and(|t| moves(t, &answer));
            if news && !std::mem::replace(&mut peer.mended, true) {
                peer.end = FarEnd {
                    told: Some(answer),
                    takes_update: false,
                };
                peer.step = Step::Waiting;
                moved.push(other(side));
            }
        }
        if !moved.is_empty() {
            let tell = |side| self.refresh_one(side, now);
            return moved.into_iter().flat_map(tell).collect();
        }
        let Some(refresh) = self.refresh.take() else {
            return Vec::new();
        };
        let all = [&refresh.caller, &refresh.callee]
            .iter()
            .all(|far| far.step == Step::Settled { refreshed: true });
        let told = Told {
            caller: refresh.caller.end.told,
            callee: refresh.callee.end.told,
        };
        let result = match all {
            true => Takeover::Refreshed,
            false => Takeover::Unrefreshed,
        };
        vec![Action::Keep(told), Action::TakenOver(result)]
    }

    /// A far end cannot be told: it has ended the call meanwhile, or is gone itself.
    pub(super) fn lost(&mut self, from: Side, ended: &Ended, now: Now) -> Vec<Action> {
        let heard_at = self.refresh.take().map_or(now.wall, |r| r.heard_at);
        let ended_at = match ended.by {
            // It hung up some time after its node was last heard. The benefit of the doubt is the customer's.
            LegEnd::Refused { status: 481, .. } => heard_at.max(self.answered.unwrap_or(0)),
            _ => now.wall,
        };
        let cause = Some(reason::switch_cause(reason::NODE_FAILURE));
        let mut actions = vec![
            to(other(from), Command::HangUp { cause }),
            Action::TakenOver(Takeover::Failed),
        ];
        let reason = reason::of(reason::NODE_FAILURE);
        actions.extend(self.close_at(reason, EndedBy::Server, ended_at));
        actions
    }
}

/// Whether media goes elsewhere or another way by the second description. Of what cannot be read nothing is known.
fn moves(before: &Body, after: &Body) -> bool {
    let (Some(before), Some(after)) = (Session::parse(&before.bytes), Session::parse(&after.bytes))
    else {
        return false;
    };
    let places = |session: &Session<'_>| -> Vec<_> {
        let media = session.media.iter();
        media
            .map(|m| {
                (
                    m.kind.to_vec(),
                    m.port,
                    m.address.map(<[u8]>::to_vec),
                    m.direction,
                )
            })
            .collect()
    };
    places(&before) != places(&after)
}
