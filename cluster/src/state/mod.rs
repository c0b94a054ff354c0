//! The replicated state and the one function that changes it.
//!
//! [`State::apply`] takes a command with the log's time and seed and answers with a reply and effects. Each command
//! with a story has a file. What is stored lies in `Content`; what follows from it (counters, free numbers, lookup
//! tables) lies in `Index`, which a snapshot does not carry and `check` recomputes. Both are made of shared
//! parts, so a clone of the state costs about a microsecond and readers keep whole states without locks.
//!
//! Reading is in `read.rs`: every row by id and by name, live use, totals.

mod answer;
mod audit;
mod ax;
mod ax_choice;
mod ax_index;
mod ax_turn;
mod binding;
mod bits;
mod briefs;
mod check;
mod claim;
mod conflict;
mod digits;
mod edit;
mod end;
pub mod explain;
mod hash;
mod index;
mod level;
mod lookup;
mod model;
mod next;
mod numbers;
mod outbox;
mod paged;
mod pay;
mod pools;
mod put_many;
mod read;
mod regions;
mod reserve;
mod rests;
mod rng;
mod route;
pub mod settings;
mod standing;
mod tables;
pub mod testing;
mod trial;
mod valid;

pub use hash::TableHash;
pub use index::{MappingRules, RoutingRules};
pub use model::{
    Audit, AxHold, AxLive, AxPhase, AxRow, Binding, Blob, Call, Counts, Deed, Device, NO_CALL,
    Paid, PaidAs, Phase, Tariff, Tenure, XState,
};

use crate::command::{Biller, BindingId, CallId, Command, Effect, Epoch, Refusal, Reply};
use crate::entity::{
    AGroup, ANumber, Account, AxBinding, FeeRate, Id, Interface, MappingGateway, Micros, Millis,
    RoutingGateway, XNumber,
};
use crate::regions::{Import, Regions};
use imbl::{OrdMap, OrdSet, Vector};
use index::Index;
use lookup::Lookup;
use paged::{Numbered, Rows};
use rests::Rests;
use rng::Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Ids of ended calls that are remembered, so that a late repeat of their `Reserve` is refused.
const ENDED_MAX: usize = 65_536;
/// Edits whose replies are remembered.
const REQUESTS_MAX: usize = 4_096;
/// Lines of the audit.
const AUDIT_MAX: usize = 10_000;
/// Devices remembered; beyond that the one nobody holds and that was away longest is forgotten.
const DEVICES_MAX: usize = 256;
/// Rows of the payments.
const PAYMENTS_MAX: usize = 10_000;
/// Pairs at rest; the oldest are let go beyond that.
const RESTS_MAX: usize = 200_000;
/// Outbox rows above which nodes without a live claim hold none back.
const OUTBOX_SOFT_MAX: usize = 200_000;
/// Outbox rows above which no more events of platforms are taken.
const OUTBOX_EVENTS_MAX: usize = OUTBOX_SOFT_MAX / 2;
/// Attempts of one call.
const ATTEMPTS_MAX: u16 = 32;

/// What a snapshot of the first level carries, and the first part of all others. The order of the fields is their
/// encoding: what comes with a further level is a struct of its own ([`level::Since2`]).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Content {
    at: Millis,
    /// Last id given, per table.
    last_ids: [Id; 9],
    last_binding: BindingId,
    last_epoch: Epoch,
    interfaces: Rows<Interface>,
    x_numbers: Rows<XNumber>,
    a_groups: Rows<AGroup>,
    a_numbers: Rows<ANumber>,
    mapping: Rows<MappingGateway>,
    routing: Rows<RoutingGateway>,
    accounts: Rows<Account>,
    rates: Rows<FeeRate>,
    ax: Rows<AxBinding>,
    /// What lives on static relations; a row that was never asked for has none.
    ax_live: OrdMap<Id, Arc<AxLive>>,
    /// Removed by an operator, kept until their last binding is gone.
    leaving_x: OrdSet<Id>,
    /// Removed by an operator, kept until their last call is gone.
    leaving_a: OrdSet<Id>,
    /// Last error of each interface.
    errors: OrdMap<Id, (Millis, String)>,
    /// Balances.
    money: OrdMap<Id, Micros>,
    /// Attempts ever, per routing gateway.
    past: OrdMap<Id, u64>,
    /// Bindings that the platform let go first, per interface.
    let_go: OrdMap<Id, u64>,
    calls: Numbered<CallId, Call>,
    ended: Vector<CallId>,
    bindings: Numbered<BindingId, Binding>,
    rests: Rests,
    devices: OrdMap<String, Arc<Device>>,
    tenures: OrdMap<Epoch, Arc<Tenure>>,
    /// Its last record has the number `outbox_last`.
    outbox: Vector<Blob>,
    outbox_last: u64,
    /// Last number that each node has stored.
    stored: OrdMap<u64, u64>,
    voters: BTreeSet<u64>,
    requests: Vector<(u64, Reply)>,
    payments: Vector<Arc<Paid>>,
    payment_last: u64,
    audit: Vector<Arc<Audit>>,
    audit_last: u64,
    /// Last place given in a queue of outgoing AX calls.
    ax_places: u64,
    regions: Arc<Regions>,
    region_import: Option<Arc<Import>>,
    /// An operator wants the cluster to stay at its level.
    level_held: bool,
}

/// Everything the nodes agree on.
///
/// Its bytes begin with the level that they are of; then the parts follow that came with each level up to that one
/// (`level.rs` writes and reads them).
#[derive(Clone, Debug, Default)]
pub struct State {
    content: Content,
    since_2: level::Since2,
    index: Index,
    /// Applied commands until `check` runs by itself again (debug builds only); no part of the state.
    check_in: u32,
}

impl State {
    /// The state before the first command.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one command. `at` is the leader's wall clock (made monotone here), `seed` decides every choice.
    ///
    /// # Panics
    /// In debug builds, when an invariant of [`State::check`] is broken: that is a fault of this room. The check runs
    /// after every command while the state is small and more rarely as it grows.
    pub fn apply(
        &mut self,
        at: Millis,
        seed: u64,
        command: &Command,
        biller: &dyn Biller,
    ) -> (Reply, Vec<Effect>) {
        self.lookup();
        self.content.at = self.content.at.max(at);
        if let Some(lookup) = self.index.lookup.made_mut() {
            lookup.standing.set_now(self.content.at);
        }
        self.wake_pairs();
        let mut effects = Vec::new();
        self.wake_ax(&mut effects);
        let reply = self.decide(seed, command, biller, &mut effects);
        if cfg!(debug_assertions) {
            self.check_now_and_then();
        }
        (reply, effects)
    }

    fn decide(
        &mut self,
        seed: u64,
        command: &Command,
        biller: &dyn Biller,
        effects: &mut Vec<Effect>,
    ) -> Reply {
        match command {
            Command::Reserve(reserve) => {
                self.reserve(reserve, &mut Rng::new(seed, reserve.call.0), biller)
            }
            Command::Next(next) => self.next(next, &mut Rng::new(seed, next.call.0), effects),
            Command::Bound(bound) => self.bound(bound),
            Command::Answered(answered) => self.answered(answered, effects),
            Command::Renew(renew) => self.renew(renew, biller),
            Command::Unbound(unbound) => self.unbound(unbound),
            Command::UnbindFailed(failed) => self.unbind_failed(failed),
            Command::End(end) => self.end(end, biller, effects),
            Command::Claim(claim) => self.claim(claim, biller, effects),
            Command::KeepAlive { epoch } => self.keep_alive(*epoch),
            Command::Resign { epoch } => self.resign(*epoch, biller, effects),
            Command::NodeDown { epoch } => self.node_down(*epoch, biller, effects),
            Command::Put(put) => self.put(put, effects),
            Command::Remove(remove) => self.remove(remove, effects),
            Command::Pay(payment) => self.pay(payment),
            Command::Stored { node, upto } => self.stored(*node, *upto),
            Command::AskUnbind { binding, actor } => self.ask_unbind(*binding, actor, effects),
            Command::ForceUnbind { binding, actor } => self.force_unbind(*binding, actor, effects),
            Command::Device {
                access_name,
                label,
                settings,
                draining,
                actor,
            } => self.device_edit(
                access_name,
                label.as_deref(),
                settings.as_ref(),
                *draining,
                actor,
            ),
            Command::InterfaceError { interface, text } => {
                self.interface_error_put(*interface, text)
            }
            Command::AskAx(ask) => self.ask_ax(ask, effects),
            Command::AxOutcome(outcome) => self.ax_outcome(outcome, effects),
            Command::AxAccepted {
                call,
                epoch,
                attempt,
            } => self.ax_accepted(*call, *epoch, *attempt, effects),
            Command::Regions(edit) => self.region_edit(edit),
            Command::PutMany(many) => self.put_many(many, effects),
            Command::Borrow(borrow) => {
                self.borrow_pair(borrow, &mut Rng::new(seed, u64::from(borrow.interface)))
            }
            Command::PlatformEvents { events } => self.platform_events(events, effects),
            Command::NoteMember {
                node,
                deed,
                detail,
                actor,
            } => self.note_member(*node, *deed, detail, actor),
            Command::Keep(keep) => self.keep(keep),
            Command::Mark { .. } => Reply::Done,
            Command::HoldLevel { hold, actor } => self.hold_level(*hold, actor),
            Command::Raise(raise) => self.raise(raise),
            Command::ClaimAt(claim) => self.claim_at(claim, biller, effects),
        }
    }

    fn lookup(&self) -> &Lookup {
        self.index.lookup.of(&self.content)
    }

    /// A tenure that may speak for what is `owner`'s.
    fn owns(&self, epoch: Epoch, owner: Epoch) -> Result<(), Refusal> {
        self.live(epoch)?;
        match epoch == owner {
            true => Ok(()),
            false => Err(Refusal::StaleEpoch),
        }
    }

    /// The call, for the tenure that runs it.
    fn own_call(&self, id: CallId, epoch: Epoch) -> Result<&Arc<Call>, Refusal> {
        self.live(epoch)?;
        let call = self.content.calls.get(&id).ok_or(Refusal::UnknownCall)?;
        self.owns(epoch, call.owner)?;
        Ok(call)
    }

    /// A tenure that may propose.
    fn live(&self, epoch: Epoch) -> Result<(), Refusal> {
        if self.content.tenures.contains_key(&epoch) {
            Ok(())
        } else {
            Err(Refusal::StaleEpoch)
        }
    }
}

impl From<Result<Reply, Refusal>> for Reply {
    fn from(result: Result<Reply, Refusal>) -> Self {
        result.unwrap_or_else(Reply::Refused)
    }
}
