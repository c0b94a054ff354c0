//! What a node's device decides, as plain data: its claim and when it is over, whether a majority is in reach, which
//! tenures have run out, and what the state holds that nobody here looks after.
//!
//! Looks at the world come in as events; the machine keeps only what it needs to compare one look with the next.

use std::collections::{BTreeMap, BTreeSet};

use tandem_cluster::command::{BindingId, CallId, Effect, Epoch, Refusal};
use tandem_cluster::entity::{Id, Millis, Table};
use tandem_cluster::state::{AxRow, Binding};

/// Bounds of waiting, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pause after a claim that was refused or could not be replicated.
    pub claim_again_ms: Millis,
    /// An election takes less than this: calls wait for its end. After it they are refused, for a caller is better
    /// served by trying elsewhere.
    pub quorum_grace_ms: Millis,
    /// A node that has just started has not heard from anybody yet.
    pub silence_ms: Millis,
    /// What is younger than this may still be on its way between state and actors.
    pub settled_ms: Millis,
    /// A new leader, and one that has its majority again, lets every node renew for so long: before, nobody could.
    pub lease_ms: Millis,
}

/// What happens to a device.
#[derive(Debug)]
pub enum Event {
    /// The process has started.
    Started,
    /// Time to claim again.
    ClaimAgain,
    /// The claim was granted.
    Claimed(Epoch),
    /// It was refused.
    Refused(Refusal),
    /// It could not be replicated.
    Unanswered,
    /// Time to renew.
    Renew,
    /// The state took a claim or a renewal that was asked for at `asked_at`, by the monotonic clock.
    Held {
        /// The tenure.
        epoch: Epoch,
        /// No later than that it began to count.
        asked_at: Millis,
    },
    /// A renewal was told that this tenure is over.
    Stale(Epoch),
    /// A look at the cluster.
    Looked(View),
    /// What the state holds under the present tenure and no actor here runs. `at` is the state's time.
    Unattended {
        /// The state's time.
        at: Millis,
        /// What, and since when.
        what: Vec<(Suspect, Millis)>,
    },
    /// An entry was applied.
    Applied(Effect),
    /// The process is stopping: an operator's undrain no longer counts.
    Stopping,
    /// The claim is to be given up.
    Resign,
}

/// A look at the cluster and the state.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// A majority is in reach and the disk works.
    pub healthy: bool,
    /// This node orders the log.
    pub leads: bool,
    /// The other nodes and whether they answer.
    pub members: Vec<(u64, bool)>,
    /// An operator wants no new calls here.
    pub draining: bool,
    /// Tenures whose lease has run out.
    pub expired: Vec<Epoch>,
}

/// Something that the state holds and that should have an actor here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspect {
    /// A binding.
    Binding(BindingId),
    /// A call.
    Call(CallId),
    /// A static relation about which the platform is to be asked.
    Relation(Id),
}

/// What a device wants done, in order.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// Claim the access name; `afresh` as another process, so that the earlier tenure is not given back.
    Claim {
        /// As another process.
        afresh: bool,
    },
    /// Come back with `ClaimAgain` after so long.
    ClaimAfter(Millis),
    /// Serve under this tenure, or under none.
    Serve(Option<Epoch>),
    /// Tell the process how its first claim went.
    TellFirst(Result<Epoch, Refusal>),
    /// The claim counts until then, by the monotonic clock.
    Hold(Millis),
    /// Renew the claim.
    Renew(Epoch),
    /// Give the claim up; `None`: there is none, and nothing to wait for.
    Resign(Option<Epoch>),
    /// Drop what runs under a tenure that is over: it is another's.
    Drop(Epoch),
    /// Calls may or may not count on a majority.
    SetQuorum(bool),
    /// New calls are refused, or taken.
    SetDraining(bool),
    /// Say once that a node does not answer, or does again.
    Say {
        /// Which.
        node: u64,
        /// It answers.
        answers: bool,
    },
    /// Declare a tenure over.
    Down(Epoch),
    /// Look after a binding, unless somebody does.
    Adopt(Epoch, BindingId),
    /// Count a binding that came from another node.
    CountAdopted,
    /// Release a binding.
    Release(Epoch, BindingId),
    /// Send the last request of a dropped binding.
    Farewell(Epoch, Box<Binding>),
    /// Look after everything that the state gives to a tenure that has just begun.
    AdoptAll(Epoch),
    /// Carry on an answered call, unless somebody does.
    TakeOver(Epoch, CallId),
    /// Close the record of a call that nobody runs.
    Close(Epoch, CallId),
    /// Tell a call that its turn has come.
    Turn(CallId, u16),
    /// Do what a static relation's row wants.
    Look(Epoch, Id),
    /// Send the last request of a dropped relation.
    FarewellAx(Epoch, Box<AxRow>),
    /// Ask the platform of an edited interface at once for what it could not release.
    AskAgain(Epoch, Id),
}

/// One node's device.
#[derive(Debug)]
pub struct Machine {
    limits: Limits,
    epoch: Option<Epoch>,
    told_first: bool,
    /// The lease of another holder of the name was waited for.
    waited: bool,
    stopping: bool,
    leading_since: Option<Millis>,
    healthy_at: Option<Millis>,
    /// Nodes that do not answer, each told once.
    silent: BTreeSet<u64>,
    /// Seen without an actor at the last look; acted on when still so at the next.
    suspects: BTreeSet<Suspect>,
    /// Calls of other tenures that were taken over under this one: one of them that nobody runs has ended.
    taken: BTreeSet<CallId>,
}

impl Machine {
    /// A device that has not claimed yet.
    pub fn new(limits: Limits) -> Self {
        Machine {
            limits,
            epoch: None,
            told_first: false,
            waited: false,
            stopping: false,
            leading_since: None,
            healthy_at: None,
            silent: BTreeSet::new(),
            suspects: BTreeSet::new(),
            taken: BTreeSet::new(),
        }
    }

    /// The only way in. `now` is the process's monotonic time.
    pub fn on(&mut self, event: Event, now: Millis) -> Vec<Action> {
        match event {
            Event::Started => vec![Action::Claim { afresh: false }],
            // A process that stops does not come back.
            Event::ClaimAgain | Event::Unanswered if self.stopping => Vec::new(),
            Event::ClaimAgain => vec![Action::Claim { afresh: false }],
            Event::Claimed(epoch) => self.claimed(epoch),
            Event::Refused(refusal) => self.refused(refusal),
            Event::Unanswered => vec![Action::ClaimAfter(self.limits.claim_again_ms)],
            Event::Renew => self.epoch.map(Action::Renew).into_iter().collect(),
            Event::Held { epoch, asked_at } => self.held(epoch, asked_at, now),
            Event::Stale(epoch) | Event::Applied(Effect::Fenced { epoch }) => self.fence(epoch),
            Event::Looked(view) => self.looked(view, now),
            Event::Unattended { at, what } => self.unattended(at, &what),
            Event::Applied(effect) => self.applied(effect),
            Event::Stopping => {
                self.stopping = true;
                vec![Action::SetDraining(true)]
            }
            Event::Resign => {
                self.stopping = true;
                let epoch = self.epoch.take();
                vec![Action::Serve(None), Action::Resign(epoch)]
            }
        }
    }

    fn claimed(&mut self, epoch: Epoch) -> Vec<Action> {
        // Granted while the process was giving up: nobody serves under it.
        if self.stopping {
            return vec![Action::Resign(Some(epoch))];
        }
        self.epoch = Some(epoch);
        self.suspects.clear();
        self.taken.clear();
        let mut actions = vec![Action::Serve(Some(epoch))];
        actions.extend(self.tell_first(Ok(epoch)));
        // What was given to it in the same step may have been told before this answer.
        actions.push(Action::AdoptAll(epoch));
        actions
    }

    /// Counted from when it was asked for: the state counts from a later moment, so the lease is over here before it is
    /// over there, and nobody else holds the name yet.
    fn held(&mut self, epoch: Epoch, asked_at: Millis, now: Millis) -> Vec<Action> {
        if self.epoch != Some(epoch) {
            return Vec::new();
        }
        let until = asked_at.saturating_add(self.limits.lease_ms);
        let mut actions = vec![Action::Hold(until)];
        if until <= now {
            actions.push(Action::Renew(epoch));
        }
        actions
    }

    fn refused(&mut self, refusal: Refusal) -> Vec<Action> {
        // The holder may have died, and its lease is about to run out. That is waited for once; if it has been renewed by
        // then the holder lives.
        if let Refusal::ClaimHeld { left_ms, .. } = refusal
            && !(self.told_first || self.waited || self.stopping)
        {
            self.waited = true;
            return vec![Action::ClaimAfter(left_ms + self.limits.claim_again_ms)];
        }
        let mut actions: Vec<_> = self.tell_first(Err(refusal)).into_iter().collect();
        if !self.stopping {
            actions.push(Action::ClaimAfter(self.limits.claim_again_ms));
        }
        actions
    }

    fn tell_first(&mut self, answer: Result<Epoch, Refusal>) -> Option<Action> {
        let first = !std::mem::replace(&mut self.told_first, true);
        first.then_some(Action::TellFirst(answer))
    }

    /// The tenure is over: what runs under it is dropped here without a word, for the state has closed it or given it to
    /// others; then the name is claimed anew.
    fn fence(&mut self, epoch: Epoch) -> Vec<Action> {
        if self.epoch != Some(epoch) {
            return Vec::new();
        }
        self.epoch = None;
        let mut actions = vec![Action::Serve(None), Action::Drop(epoch)];
        if !self.stopping {
            actions.push(Action::Claim { afresh: true });
        }
        actions
    }

    fn looked(&mut self, view: View, now: Millis) -> Vec<Action> {
        let mut actions = Vec::new();
        if now >= self.limits.silence_ms {
            self.listen(&view.members, &mut actions);
        }
        if view.healthy {
            self.healthy_at = Some(now);
        }
        let in_reach = self
            .healthy_at
            .is_some_and(|at| now.saturating_sub(at) < self.limits.quorum_grace_ms);
        actions.push(Action::SetQuorum(in_reach));
        if !self.stopping {
            actions.push(Action::SetDraining(view.draining));
        }
        // A leader whom a majority no longer hears cannot take renewals either, and does not always know at once that
        // it leads no more.
        if !(view.leads && view.healthy) {
            self.leading_since = None;
            return actions;
        }
        let since = *self.leading_since.get_or_insert(now);
        if now.saturating_sub(since) >= self.limits.lease_ms {
            actions.extend(view.expired.into_iter().map(Action::Down));
        }
        actions
    }

    /// Says once of every other node that it does not answer, and once that it does again.
    fn listen(&mut self, members: &[(u64, bool)], actions: &mut Vec<Action>) {
        for &(node, answers) in members {
            let changed = match answers {
                true => self.silent.remove(&node),
                false => self.silent.insert(node),
            };
            if changed {
                actions.push(Action::Say { node, answers });
            }
        }
    }

    fn unattended(&mut self, at: Millis, what: &[(Suspect, Millis)]) -> Vec<Action> {
        let Some(epoch) = self.epoch else {
            self.suspects.clear();
            return Vec::new();
        };
        let settled: BTreeMap<Suspect, Millis> = what
            .iter()
            .copied()
            .filter(|(_, since)| since.saturating_add(self.limits.settled_ms) < at)
            .collect();
        let before = std::mem::take(&mut self.suspects);
        let mut actions = Vec::new();
        for suspect in settled.into_keys() {
            if !before.contains(&suspect) {
                self.suspects.insert(suspect);
                continue;
            }
            actions.push(match suspect {
                Suspect::Binding(binding) => Action::Adopt(epoch, binding),
                Suspect::Call(call) if call.epoch() == epoch || self.taken.contains(&call) => {
                    Action::Close(epoch, call)
                }
                Suspect::Call(call) => self.take_over(epoch, call),
                Suspect::Relation(relation) => Action::Look(epoch, relation),
            });
        }
        actions
    }

    fn take_over(&mut self, epoch: Epoch, call: CallId) -> Action {
        self.taken.insert(call);
        Action::TakeOver(epoch, call)
    }

    fn applied(&mut self, effect: Effect) -> Vec<Action> {
        let Some(own) = self.epoch else {
            return Vec::new();
        };
        match effect {
            Effect::Adopted { owner, binding } if owner == own => {
                vec![Action::CountAdopted, Action::Adopt(own, binding)]
            }
            Effect::CallAdopted { owner, call } if owner == own => {
                vec![self.take_over(own, call)]
            }
            Effect::UnbindAsked { owner, binding } if owner == own => {
                vec![Action::Release(own, binding)]
            }
            Effect::ForceUnbound { owner, gone } if owner == own => {
                vec![Action::Farewell(own, gone)]
            }
            Effect::AxTurn {
                owner,
                call,
                attempt,
            } if owner == own => vec![Action::Turn(call, attempt)],
            Effect::AxAsked { owner, ax } if owner == own => vec![Action::Look(own, ax)],
            Effect::AxForced { owner, gone } if owner == own => {
                vec![Action::FarewellAx(own, gone)]
            }
            Effect::Edited {
                table: Table::Interfaces,
                id,
            } => vec![Action::AskAgain(own, id)],
            // Another node's, or looked up where it is needed.
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
