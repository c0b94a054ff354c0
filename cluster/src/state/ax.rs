//! Static relations (A,X): asked for by operators, made and released at the platform by a node (`DOMAIN.md` §5).
//!
//! The state says what is to be so, a tenure asks the platform, and its answer is written back:
//!
//! ```text
//!            Bind                 Bound              Unbind, end
//!  Unbound ───────▶ Binding ─────────────▶ Bound ───────────────▶ Unbinding ───▶ Unbound
//!                     │ Failed                                     │    ▲  Unbound
//!                     ▼                                            └────┘ Failed
//!                   Error ── Bind ▶ Binding,  Unbind ▶ Unbinding (Unbound when the platform surely has nothing)
//! ```
//!
//! Whoever is named by [`Effect::AxAsked`] looks at the row and does what its phase says: `Binding` bind, `Unbinding`
//! unbind, anything else nothing; one exchange a row at a time, and after each a look at the row again. It retries a
//! failed unbind by itself; each [`Effect::AxAsked`] makes it try at once. A forced release leaves the row
//! [`AxPhase::Unbound`] at once. A relation that a platform no longer has is [`AxPhase::Unbound`] whatever the
//! interface's `hold_missing` says: its row stays anyway.
//!
//! From `Binding` until the release is confirmed or forced the relation takes its pair (I3); a bind that failed keeps it
//! when the platform may have done it all the same. A released pair rests like any other.

use super::binding::{RAW_MAX, WAKE_MAX, bounded_handle};
use super::digits::Digits;
use super::model::cut;
use super::next::ERROR_MAX;
use super::{AxLive, AxPhase, AxRow, Deed, State};
use crate::command::{AskAx, AxDeed, AxOutcome, AxResult, Effect, Epoch, Refusal, Reply};
use crate::entity::{AxBinding, Conflict, Id, Table};
use std::sync::Arc;

impl AxLive {
    /// The pair is not to be leased: the platform has the relation, is being asked, or may have it.
    pub fn takes_pair(&self) -> bool {
        match self.phase {
            AxPhase::Binding | AxPhase::Bound | AxPhase::Unbinding => true,
            AxPhase::Error => self.maybe_held,
            AxPhase::Unbound => false,
        }
    }
}

impl State {
    pub(super) fn ask_ax(&mut self, ask: &AskAx, effects: &mut Vec<Effect>) -> Reply {
        if let Err(stale) = self.live(ask.owner) {
            return Reply::Refused(stale);
        }
        let Some(row) = self.ax_row(ask.ax) else {
            return Reply::Refused(Refusal::NotFound);
        };
        let done = match ask.deed {
            AxDeed::Bind => self.ask_ax_bind(&row, ask.owner, effects),
            AxDeed::Unbind => self.ask_ax_unbind(&row, ask.owner, effects),
            AxDeed::ForceUnbind => Ok(self.force_ax(row, ask.owner, effects)),
        };
        match done {
            Ok(true) => {
                let deed = Deed::AskAx {
                    ax: ask.ax,
                    deed: ask.deed,
                };
                self.note(&ask.actor, deed, None, None);
                Reply::Done
            }
            Ok(false) => Reply::Done,
            Err(refusal) => Reply::Refused(refusal),
        }
    }

    /// True when something is asked of the platform.
    fn ask_ax_bind(
        &mut self,
        row: &AxRow,
        owner: Epoch,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, Refusal> {
        let entity = &row.entity;
        match row.live.phase {
            AxPhase::Binding | AxPhase::Bound => return Ok(false),
            AxPhase::Unbinding => {
                return Err(Refusal::InUse {
                    by: "the release that the platform has not confirmed".to_owned(),
                });
            }
            AxPhase::Unbound | AxPhase::Error => {}
        }
        let invalid = |field: &str, text: &str| Refusal::Invalid {
            field: field.to_owned(),
            text: text.to_owned(),
        };
        let rules = self
            .interface(entity.interface)
            .map(|row| row.entity.type_rules);
        if !rules.is_some_and(|rules| rules.ax) {
            return Err(invalid("interface", "is of a type without AX relations"));
        }
        if entity.expires_at.is_some_and(|end| end <= self.content.at) {
            return Err(invalid("expires_at", "has passed"));
        }
        if !row.live.takes_pair() {
            self.ax_may_stand(entity, true)?;
        }
        self.change_ax(row.id, |live| {
            live.phase = AxPhase::Binding;
            live.owner = Some(owner);
            live.asked += 1;
            live.bound_at = None;
            live.expires_at = None;
            live.handle.clear();
            live.raw.clear();
        });
        effects.push(Effect::AxAsked { owner, ax: row.id });
        Ok(true)
    }

    fn ask_ax_unbind(
        &mut self,
        row: &AxRow,
        owner: Epoch,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, Refusal> {
        match row.live.phase {
            AxPhase::Unbound => return Ok(false),
            // The platform has surely nothing: there is nobody to ask.
            AxPhase::Error if !row.live.maybe_held => {
                self.change_ax(row.id, |live| live.phase = AxPhase::Unbound);
                return Ok(true);
            }
            _ => {}
        }
        // A bind under way ends where it began: its owner knows when its answer is in. A release that is being asked
        // for stays where it is, and is tried again at once.
        let owner = row
            .live
            .owner
            .filter(|owner| self.live(*owner).is_ok())
            .unwrap_or(owner);
        self.release_ax(row.id, Some(owner), effects);
        Ok(true)
    }

    fn force_ax(&mut self, row: AxRow, owner: Epoch, effects: &mut Vec<Effect>) -> bool {
        if row.live.phase == AxPhase::Unbound {
            return false;
        }
        self.free_ax_pair(row.id);
        effects.push(Effect::AxForced {
            owner,
            gone: Box::new(row),
        });
        true
    }

    pub(super) fn ax_outcome(&mut self, outcome: &AxOutcome, effects: &mut Vec<Effect>) -> Reply {
        if let Err(stale) = self.live(outcome.epoch) {
            return Reply::Refused(stale);
        }
        let Some(row) = self.ax_row(outcome.ax) else {
            return Reply::Refused(Refusal::NotFound);
        };
        let at = self.content.at;
        let answers = row.live.asked == outcome.asked;
        match (&outcome.result, row.live.phase) {
            (AxResult::Bound { .. }, _) => return self.ax_bound(outcome, &row, effects),
            (AxResult::Unbound { missing }, AxPhase::Unbinding) if answers => {
                // After an unbind that failed on the way the platform may well have done it: not its doing then.
                let failed = row.live.last_error_at >= row.live.bound_at;
                if *missing && row.live.bound_at.is_some() && !failed {
                    let let_go = self.content.let_go.entry(row.entity.interface).or_insert(0);
                    *let_go += 1;
                    self.index.let_go += 1;
                }
                self.free_ax_pair(row.id);
            }
            (AxResult::Failed { error, unknown }, AxPhase::Binding) if answers => {
                self.change_ax(row.id, |live| {
                    live.phase = AxPhase::Error;
                    live.owner = None;
                    live.maybe_held |= unknown;
                    live.last_error = Some(cut(error, ERROR_MAX).to_owned());
                    live.last_error_at = Some(at);
                });
            }
            (AxResult::Failed { error, .. }, AxPhase::Unbinding) if answers => {
                self.change_ax(row.id, |live| {
                    live.last_error = Some(cut(error, ERROR_MAX).to_owned());
                    live.last_error_at = Some(at);
                });
            }
            // The answer to what is no longer asked, or the same answer again.
            _ => {}
        }
        Reply::Done
    }

    fn ax_bound(&mut self, outcome: &AxOutcome, row: &AxRow, effects: &mut Vec<Effect>) -> Reply {
        let AxResult::Bound {
            handle,
            expires_at,
            raw,
        } = &outcome.result
        else {
            return Reply::Done;
        };
        let answers = row.live.asked == outcome.asked;
        let release = match row.live.phase {
            AxPhase::Binding | AxPhase::Error if answers => false,
            // It was dropped, or is to be released, while the bind was under way: now it is known what to release.
            AxPhase::Unbinding if row.live.bound_at.is_none() => true,
            AxPhase::Unbound => true,
            // The same answer again, or what has been asked since will have its own.
            _ => return Reply::Done,
        };
        if !row.live.takes_pair()
            && let Err(taken) = self.ax_may_stand(&row.entity, false)
        {
            return Reply::Refused(taken);
        }
        let at = self.content.at;
        self.change_ax(row.id, |live| {
            live.bound_at = Some(at);
            live.expires_at = *expires_at;
            live.handle = bounded_handle(handle);
            live.raw = cut(raw, RAW_MAX).to_owned();
            live.maybe_held = false;
            if !release {
                live.phase = AxPhase::Bound;
                live.owner = None;
            }
        });
        if release {
            let owner = row.live.owner.unwrap_or(outcome.epoch);
            self.release_ax(row.id, Some(owner), effects);
        }
        Reply::Done
    }

    /// From now on `owner` releases the relation; with none, whoever comes next.
    fn release_ax(&mut self, id: Id, owner: Option<Epoch>, effects: &mut Vec<Effect>) {
        self.change_ax(id, |live| {
            if live.phase != AxPhase::Unbinding {
                live.phase = AxPhase::Unbinding;
                live.asked += 1;
            }
            live.owner = owner;
        });
        if let Some(owner) = owner {
            effects.push(Effect::AxAsked { owner, ax: id });
        }
    }

    /// The platform has it no more, or that is to be believed; the pair rests.
    fn free_ax_pair(&mut self, id: Id) {
        let taken = self.ax_live(id).is_some_and(AxLive::takes_pair);
        self.change_ax(id, |live| {
            *live = AxLive {
                asked: live.asked + 1,
                last_error: live.last_error.take(),
                last_error_at: live.last_error_at,
                ..AxLive::default()
            };
        });
        let entity = self.ax_binding(id).map(|row| &row.entity);
        let Some(entity) = entity.filter(|_| taken) else {
            return;
        };
        let a = Digits::from(&*entity.a_number);
        let rest_ms = self
            .interface(entity.interface)
            .map_or(0, |row| row.entity.pair_rest_ms);
        if let Some(x) = self.named(Table::XNumbers, &entity.x_number) {
            self.rest_pair((a, x), rest_ms);
        }
    }

    /// Relations whose end has come are released. Whether one may be leased never depends on this: the choice looks at
    /// the end as well.
    pub(super) fn wake_ax(&mut self, effects: &mut Vec<Effect>) {
        for _ in 0..WAKE_MAX {
            match self.index.ax.first_end() {
                Some((end, id)) if end <= self.content.at => {
                    let owners = self.content.tenures.len().max(1);
                    let owner = self.content.tenures.keys().nth(id as usize % owners);
                    self.release_ax(id, owner.copied(), effects);
                }
                _ => return,
            }
        }
    }

    /// Rows that are being asked for by nobody who lives, in their order.
    pub(super) fn ax_orphans(&self) -> Vec<Id> {
        let alone = |live: &AxLive| {
            matches!(live.phase, AxPhase::Binding | AxPhase::Unbinding)
                && live.owner.is_none_or(|owner| self.live(owner).is_err())
        };
        self.content
            .ax_live
            .iter()
            .filter(|(_, live)| alone(live))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Another tenure goes on asking. What the lost one had asked may have been done.
    pub(super) fn adopt_ax(&mut self, id: Id, owner: Epoch, effects: &mut Vec<Effect>) {
        self.change_ax(id, |live| {
            live.owner = Some(owner);
            live.maybe_held |= live.phase == AxPhase::Binding;
        });
        effects.push(Effect::AxAsked { owner, ax: id });
    }

    /// Whether a relation that takes no pair yet may take one: I3, and what its type says of numbers on one X.
    fn ax_may_stand(&self, entity: &AxBinding, rested: bool) -> Result<(), Refusal> {
        let conflict = self.conflict(entity.interface);
        let used = |by: String| Err(Refusal::InUse { by });
        if conflict == Conflict::XExclusive
            && self.index.ax.relations(&Digits::from(&*entity.x_number)) > 0
        {
            return used(format!(
                "another relation, the only one on X `{}`",
                entity.x_number
            ));
        }
        let Some(x) = self.named(Table::XNumbers, &entity.x_number) else {
            return Ok(());
        };
        let a = Digits::from(&*entity.a_number);
        if let Some(binding) = self.pair_holder(&a, x) {
            return used(format!("binding {binding}"));
        }
        if conflict == Conflict::XExclusive
            && let Some(binding) = self.bindings().find(|binding| binding.x_id == x)
        {
            return used(format!("binding {}", binding.id));
        }
        if conflict == Conflict::XCallee && self.stands_as_b(x, &a) {
            return used(format!(
                "a call to `{}` over X `{}`",
                entity.a_number, entity.x_number
            ));
        }
        match self.rest_left((a, x)) {
            Some(left_ms) if rested => used(format!("the pair's rest of another {left_ms} ms")),
            _ => Ok(()),
        }
    }

    /// Changes what lives on a relation.
    pub(super) fn change_ax(&mut self, id: Id, change: impl FnOnce(&mut AxLive)) {
        let live = self.content.ax_live.entry(id).or_default();
        change(Arc::make_mut(live));
        self.index.ax.refresh(&self.content, id);
    }
}
