//! The questions of a comparison: paced, repeated when turned away, a few at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use tandem_cluster::command::{AskAx, AxDeed, BindingId, Command, Reply, Unbound};
use tandem_cluster::entity::Id;
use tandem_cluster::state::State;
use tandem_ops::log::mask_numbers;
use tandem_ops::reconciliation::{Kind, Outcome};
use tandem_ops::switch::Failed;
use tandem_vendors::outcome::{AxBind, Bind, Class, Failure, Held, QueryOutcome, UnbindOutcome};
use tandem_vendors::{Client, Vendor};
use tokio::time::Instant;

use super::compare::{Candidate, Told, What};
use crate::ax::own_id;
use crate::core::Core;

/// Questions under way at once: calls need the platform as well.
const AT_ONCE: usize = 8;
/// Of an interface's rate, the part that a comparison takes: one in so many.
const SHARE: u32 = 4;
/// A question that the platform or our own limit turned away is repeated so often.
const TRIES: u32 = 8;
/// Pause before such a repeat, unless another one is asked for.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// So many numbers in a row without an answer, and the platform is taken to serve nobody.
const SILENT_MAX: u32 = 32;
/// A row is released within this.
const PROPOSE_WITHIN: Duration = Duration::from_secs(5);
/// Who asked, for the audit.
const ACTOR: &str = "reconcile";

/// Works on all of them, a few at once, in their order.
pub async fn all<T, W, F>(items: impl Iterator<Item = T>, work: W) -> Vec<F::Output>
where
    W: Fn(T) -> F,
    F: Future,
{
    futures::stream::iter(items.map(work))
        .buffered(AT_ONCE)
        .collect()
        .await
}

/// Asks one platform.
pub struct Asker {
    /// The interface's name.
    pub name: String,
    core: Arc<Core>,
    client: Client,
    /// Static relations are asked about as well. Some platforms refuse that to applications that have none.
    relations: bool,
    gap: Duration,
    next: tokio::sync::Mutex<Instant>,
    silent: AtomicU32,
}

impl Asker {
    /// Errors say why this interface cannot be compared.
    pub fn new(core: &Arc<Core>, state: &State, interface: Id) -> Result<Asker, Failed> {
        let row = state
            .interface(interface)
            .ok_or_else(|| Failed(format!("no interface {interface}")))?;
        let asked = Vendor::named(&row.entity.kind).is_some_and(|vendor| vendor.policy().query);
        if !asked {
            let kind = &row.entity.kind;
            return Err(Failed(format!(
                "type `{kind}` cannot be asked what it holds"
            )));
        }
        let mut related = state.ax_bindings();
        Ok(Asker {
            name: row.entity.name.clone(),
            core: Arc::clone(core),
            client: core.platforms.client(state, interface).map_err(Failed)?,
            relations: related.any(|row| row.entity.interface == interface),
            gap: row.entity.rate_per_s.map_or(Duration::ZERO, |rate| {
                Duration::from_secs(1) * SHARE / rate.max(1)
            }),
            next: tokio::sync::Mutex::new(Instant::now()),
            silent: AtomicU32::new(0),
        })
    }

    /// Everything the platform holds on one X.
    pub async fn all_of(&self, x: &str) -> Result<Told, String> {
        if self.silent.load(Ordering::Relaxed) >= SILENT_MAX {
            return Err("the platform gives no answers".to_owned());
        }
        let told = async {
            let bindings = self.ask(|| self.client.held_on(x)).await?;
            let relations = match self.relations {
                true => {
                    let numbers = related(None, "", x);
                    Some(self.ask(|| self.client.ax_query(&numbers)).await?)
                }
                false => None,
            };
            Ok::<_, Failure>(Told {
                bindings,
                relations,
            })
        };
        match told.await {
            Ok(told) => {
                self.silent.store(0, Ordering::Relaxed);
                Ok(told)
            }
            Err(failure) => {
                self.silent.fetch_add(1, Ordering::Relaxed);
                let error = failure.to_string();
                tracing::debug!(interface = %self.name, error = %mask_numbers(&error), "not told");
                Err(error)
            }
        }
    }

    /// An error once the platform has given no answers for long.
    pub fn heard(&self) -> Result<(), Failed> {
        match self.silent.load(Ordering::Relaxed) {
            silent if silent >= SILENT_MAX => Err(Failed(format!(
                "interface `{}` gives no answers: {silent} numbers in a row",
                self.name
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the platform holds exactly this; `None` when it does not say.
    pub async fn still_there(&self, x: &str, one: &Candidate) -> Option<bool> {
        let held = match one.what {
            What::Binding(id) => {
                let numbers = bound(id, one, x);
                self.ask(|| self.client.query(&numbers)).await
            }
            What::Relation(id) => {
                let numbers = related(id, &one.a, x);
                self.ask(|| self.client.ax_query(&numbers)).await
            }
        };
        let is_it = |held: &Held| one.handle.is_empty() || held.handle == one.handle;
        Some(held.ok()?.iter().any(is_it))
    }

    /// Clears a confirmed difference on the side that is wrong.
    pub async fn clear(&self, x: &str, one: &Candidate) -> (Outcome, String) {
        match (one.kind, one.what) {
            (Kind::OnlyHere, What::Binding(Some(id))) => self.release_row(id).await,
            (Kind::OnlyHere, What::Relation(Some(id))) => self.release_relation(id).await,
            (_, What::Binding(id)) => {
                let numbers = bound(id, one, x);
                self.pace().await;
                released(self.client.unbind(&one.handle, &numbers).await)
            }
            (_, What::Relation(id)) => {
                let numbers = related(id, &one.a, x);
                self.pace().await;
                released(self.client.ax_unbind(&one.handle, &numbers).await)
            }
        }
    }

    async fn release_row(&self, binding: BindingId) -> (Outcome, String) {
        if self.core.epoch().is_none() {
            return stands("this node has no claim");
        }
        let Some(row) = self.core.cluster.state().binding(binding).cloned() else {
            return (Outcome::Cleared, "released".to_owned());
        };
        // In the name of its owner, for nobody else may let a row go. One that changes hands at this moment stays.
        let command = Command::Unbound(Unbound {
            binding,
            epoch: row.owner,
            missing: true,
        });
        let (outcome, note) = self.propose(command, "released").await;
        let held = self.core.cluster.state().binding(binding).is_some();
        if outcome == Outcome::Cleared && held {
            // `hold_missing`.
            return stands("the interface holds what is missing until it is force-unbound");
        }
        (outcome, note)
    }

    async fn release_relation(&self, ax: Id) -> (Outcome, String) {
        let Some(owner) = self.core.epoch() else {
            return stands("this node has no claim");
        };
        let command = Command::AskAx(AskAx {
            ax,
            deed: AxDeed::Unbind,
            owner,
            actor: ACTOR.to_owned(),
        });
        self.propose(command, "its release has begun").await
    }

    async fn propose(&self, command: Command, done: &str) -> (Outcome, String) {
        let cluster = &self.core.cluster;
        let applied = async {
            let (index, reply) = cluster.propose_indexed(command).await?;
            cluster.state_at_least(index, PROPOSE_WITHIN).await?;
            Ok::<_, tandem_cluster::handle::ProposeError>(reply)
        };
        match tokio::time::timeout(PROPOSE_WITHIN, applied).await {
            Ok(Ok(Reply::Done)) => (Outcome::Cleared, done.to_owned()),
            Ok(Ok(reply)) => stands(&format!("{reply:?}")),
            Ok(Err(error)) => stands(&error.to_string()),
            Err(_) => stands("no answer in time"),
        }
    }

    /// One question, repeated while it is turned away.
    async fn ask<F>(&self, question: impl Fn() -> F) -> Result<Vec<Held>, Failure>
    where
        F: Future<Output = QueryOutcome>,
    {
        for _ in 1..TRIES {
            self.pace().await;
            match question().await {
                QueryOutcome::Failed(failure) if failure.class == Class::Throttled => {
                    let pause = failure.wait_ms.map_or(PAUSE, Duration::from_millis);
                    tokio::time::sleep(pause.min(PAUSE_MAX)).await;
                }
                outcome => return told(outcome),
            }
        }
        self.pace().await;
        told(question().await)
    }

    /// Waits for a place within this comparison's share of the interface's rate.
    async fn pace(&self) {
        if self.gap.is_zero() {
            return;
        }
        let at = {
            let mut next = self.next.lock().await;
            let at = (*next).max(Instant::now());
            *next = at + self.gap;
            at
        };
        tokio::time::sleep_until(at).await;
    }
}

fn told(outcome: QueryOutcome) -> Result<Vec<Held>, Failure> {
    match outcome {
        QueryOutcome::Found(held) => Ok(held),
        QueryOutcome::None => Ok(Vec::new()),
        QueryOutcome::Failed(failure) => Err(failure),
    }
}

fn released(outcome: UnbindOutcome) -> (Outcome, String) {
    match outcome {
        UnbindOutcome::Released => (Outcome::Cleared, "unbound at the platform".to_owned()),
        UnbindOutcome::AlreadyGone => (Outcome::Cleared, "gone meanwhile".to_owned()),
        UnbindOutcome::Failed(failure) => stands(&failure.to_string()),
    }
}

fn stands(why: &str) -> (Outcome, String) {
    (Outcome::Stands, why.to_owned())
}

fn bound(id: Option<BindingId>, one: &Candidate, x: &str) -> Bind {
    Bind {
        a: one.a.clone(),
        x: x.to_owned(),
        b: one.b.clone(),
        own_id: id.map(|id| id.to_string()).unwrap_or_default(),
    }
}

fn related(id: Option<Id>, a: &str, x: &str) -> AxBind {
    AxBind {
        a: a.to_owned(),
        x: x.to_owned(),
        own_id: id.map(own_id).unwrap_or_default(),
    }
}
