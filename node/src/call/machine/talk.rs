//! A call from its answer on: limits and credit, changes of the session, news that cross from leg to leg.

use tandem_cluster::command::{Credit, EndedBy};
use tandem_cluster::entity::Millis;
use tandem_sip::leg::{Body, Command, EndedBy as LegEnd, LegEvent, Offer};

use super::{Action, Machine, Now, Phase, Reoffer, Side, Timer, Told, other, to};
use crate::call::reason;

/// INFO requests in flight in one call; more are refused with 500.
const INFOS_MAX: usize = 8;

impl Machine {
    pub(super) fn answer(&mut self, unbind_at: Option<Millis>, now: Now) -> Vec<Action> {
        self.kept = true;
        let mut actions = vec![Action::Disarm(Timer::Commit)];
        actions.extend(self.let_talk(now));
        actions.push(Action::ReleaseAt(unbind_at));
        actions
    }

    pub(super) fn answer_unprotected(&mut self, now: Now) -> Vec<Action> {
        let mut actions = vec![Action::Unprotected];
        actions.extend(self.let_talk(now));
        actions
    }

    pub(super) fn let_talk(&mut self, now: Now) -> Vec<Action> {
        self.phase = Phase::Talking;
        // The customer pays for what it hears: the wait for the replication, which an election makes long, is not its.
        // What the state has is the callee's moment, for whoever takes the call over.
        self.answered = Some(now.wall);
        self.offer = None;
        let mut actions = Vec::new();
        let body = match self.delayed {
            // Wanted once more when its answer is known, which the callee's ACK then brings.
            true => self.answer.clone(),
            // Only now: a callee whose node dies before the answer is kept gets no ACK, and ends the call by itself.
            false => {
                actions.push(Action::Callee(Command::Ack { body: None }));
                self.answer.take()
            }
        };
        actions.push(Action::Caller(Command::Answer { body }));
        actions.extend(self.set_limits(now));
        actions
    }

    /// Arms the talk limit and the renewal of credit from what is known now.
    pub(super) fn set_limits(&mut self, now: Now) -> Vec<Action> {
        let Some(answered) = self.answered else {
            return Vec::new();
        };
        // By the wall clock, which moves with the other one: the answer may be older than this process.
        let from_answer = |secs: u32| {
            let moment = answered.saturating_add(u64::from(secs) * 1_000);
            now.mono + moment.saturating_sub(now.wall)
        };
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

    pub(super) fn renew(&mut self) -> Vec<Action> {
        match self.credit {
            Some(credit) if !credit.last => vec![Action::Renew {
                upto_secs: credit.upto_secs,
            }],
            _ => Vec::new(),
        }
    }

    pub(super) fn renewed(&mut self, credit: Credit, now: Now) -> Vec<Action> {
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

    pub(super) fn in_dialog(&mut self, from: Side, event: LegEvent, now: Now) -> Vec<Action> {
        match event {
            LegEvent::Ended(ended)
                if self.is_unsettled(from) && !matches!(ended.by, LegEnd::Bye) =>
            {
                self.lost(from, &ended, now)
            }
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
                if !self.delayed {
                    return Vec::new();
                }
                let told = Told::new(from, self.answer.take(), body.clone());
                vec![to(other(from), Command::Ack { body }), Action::Keep(told)]
            }
            LegEvent::Moved => vec![Action::KeepTargets],
            LegEvent::Reoffered { via, body } => self.reoffered(from, via, body),
            LegEvent::Reanswered {
                status,
                body,
                retry_after_ms,
                ..
            } if self.is_asked(from) => self.refreshed(from, status, body, retry_after_ms, now),
            LegEvent::Reanswered { status, body, .. } => self.reanswered(from, status, body),
            LegEvent::Reconfirmed { body } => match self.ack_owed.take_if(|owed| owed.0 == from) {
                Some(owed) => {
                    let told = Told::new(from, owed.1, body.clone());
                    vec![to(other(from), Command::Ack { body }), Action::Keep(told)]
                }
                None => Vec::new(),
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

    pub(super) fn reoffered(&mut self, from: Side, via: Offer, body: Option<Body>) -> Vec<Action> {
        if self.reoffer.is_some() || self.is_asked(other(from)) {
            // Glare: both ends changed the session at once (RFC 3261 §14.1), or one is just being refreshed.
            return vec![to(from, Command::RefuseReoffer { status: 491 })];
        }
        self.reoffer = Some(Box::new(Reoffer {
            asker: from,
            offer: body.clone(),
        }));
        vec![to(other(from), Command::Reoffer { via, body })]
    }

    pub(super) fn reanswered(
        &mut self,
        from: Side,
        status: u16,
        body: Option<Body>,
    ) -> Vec<Action> {
        let asker = other(from);
        let Some(change) = self.reoffer.take_if(|change| change.asker == asker) else {
            return Vec::new();
        };
        if !(200..=299).contains(&status) {
            return vec![to(asker, Command::RefuseReoffer { status })];
        }
        match change.offer {
            None => {
                self.ack_owed = Some(Box::new((asker, body.clone())));
                vec![to(asker, Command::AcceptReoffer { body })]
            }
            Some(offer) => {
                let told = Told::new(asker, body.clone(), Some(offer));
                vec![
                    to(asker, Command::AcceptReoffer { body }),
                    Action::Keep(told),
                ]
            }
        }
    }
}
