//! What a platform holds beside what the state says it holds: asked number by number, compared, and cleared on the
//! side that is wrong when that is wanted.
//!
//! A difference is believed only at the second look, some seconds and a barrier through the log after the first: what
//! was under way between the sides has then arrived on both. Start reading at [`compare`].

mod asker;
pub mod compare;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tandem_cluster::entity::{Id, Millis};
use tandem_cluster::state::{AxPhase, Phase, State};
use tandem_ops::reconciliation::{
    DIFFERENCES_MAX, Difference, Kind, Outcome, Progress, ProgressTo, Reconciliation, Subject,
    UNASKED_MAX, Unasked,
};
use tandem_ops::switch::Failed;

use crate::core::Core;
use asker::{Asker, all};
use compare::{Candidate, Ours, Told, What, compare};

/// Numbers that are asked about before their rows are read and their differences looked at again.
const BATCH: usize = 256;
/// Pause before a difference is looked at again.
const SETTLE: Duration = Duration::from_secs(3);
/// The barrier through the log must be passed within this.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(5);

/// Interfaces that are being compared on this node.
#[derive(Clone, Default)]
pub struct UnderWay(Arc<Mutex<BTreeSet<Id>>>);

/// One comparison under way, until it is dropped.
struct Place(UnderWay, Id);

impl UnderWay {
    fn begin(&self, interface: Id) -> Option<Place> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = under_way.insert(interface);
        first.then(|| Place(self.clone(), interface))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.1);
    }
}

/// Compares one interface. See [`Switch::reconcile`](tandem_ops::switch::Switch::reconcile).
pub async fn run(
    core: Arc<Core>,
    interface: Id,
    apply: bool,
    progress: ProgressTo,
) -> Result<Reconciliation, Failed> {
    let state = current(&core).await?;
    let asker = Arc::new(Asker::new(&core, &state, interface)?);
    let _place = core
        .comparing
        .begin(interface)
        .ok_or_else(|| Failed("this interface is being compared already".to_owned()))?;
    let numbers = numbers_of(&state, interface);
    let of = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    let mut result = Reconciliation {
        interface: asker.name.clone(),
        node: core.config.node.access_name.clone(),
        apply,
        ..Reconciliation::default()
    };
    progress(Progress { asked: 0, of });
    for batch in numbers.chunks(BATCH) {
        // By the state's own clock, so that it can be set against the times in its rows.
        let asked_at = core.cluster.state().at();
        let answers = all(batch.iter().cloned(), {
            let asker = Arc::clone(&asker);
            let (progress, before) = (Arc::clone(&progress), result.asked);
            let done = Arc::new(std::sync::atomic::AtomicU32::new(before));
            move |x| {
                let (asker, progress, done) =
                    (Arc::clone(&asker), Arc::clone(&progress), Arc::clone(&done));
                async move {
                    let told = asker.all_of(&x).await;
                    let asked = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                    progress(Progress { asked, of });
                    (x, told)
                }
            }
        })
        .await;
        result.asked += u32::try_from(answers.len()).unwrap_or(u32::MAX);
        asker.heard()?;
        let state = current(&core).await?;
        let found = look(&state, interface, answers, asked_at, &mut result);
        let sure = confirm(&core, &asker, found).await?;
        let done = all(sure.into_iter(), {
            let asker = Arc::clone(&asker);
            move |(x, candidate)| {
                let asker = Arc::clone(&asker);
                async move {
                    let (outcome, note) = match candidate.kind {
                        Kind::OnlyThere | Kind::OnlyHere if apply => {
                            asker.clear(&x, &candidate).await
                        }
                        _ => (Outcome::Shown, candidate.note.to_owned()),
                    };
                    shown(x, candidate, outcome, note)
                }
            }
        })
        .await;
        for difference in done {
            result.differences.push(difference);
        }
        if result.differences.len() > DIFFERENCES_MAX {
            result.more += (result.differences.len() - DIFFERENCES_MAX) as u64;
            result.differences.truncate(DIFFERENCES_MAX);
        }
    }
    tracing::info!(
        interface = %result.interface, asked = result.asked, agreed = result.agreed, apply,
        only_there = result.count(Kind::OnlyThere), only_here = result.count(Kind::OnlyHere),
        "platform compared with the state"
    );
    Ok(result)
}

/// The state with everything that was committed anywhere before now.
async fn current(core: &Core) -> Result<Arc<State>, Failed> {
    core.cluster
        .caught_up(CAUGHT_UP_WITHIN)
        .await
        .map_err(|error| Failed(error.to_string()))?;
    Ok(core.cluster.state())
}

/// Every X on which something of ours stands or may stand at this platform.
fn numbers_of(state: &State, interface: Id) -> Vec<String> {
    let listed = state
        .x_numbers()
        .filter(|row| row.entity.interface == interface)
        .map(|row| row.entity.number.clone());
    let related = state
        .ax_bindings()
        .filter(|row| row.entity.interface == interface)
        .map(|row| row.entity.x_number.clone());
    let numbers: BTreeSet<String> = listed.chain(related).collect();
    numbers.into_iter().collect()
}

/// The first look at a batch: its differences by X.
fn look(
    state: &State,
    interface: Id,
    answers: Vec<(String, Result<Told, String>)>,
    asked_at: Millis,
    result: &mut Reconciliation,
) -> Vec<(String, Candidate)> {
    let mut rows: HashMap<&str, Ours> = answers
        .iter()
        .map(|(x, _)| (x.as_str(), Ours::default()))
        .collect();
    for row in state.bindings().filter(|row| row.interface == interface) {
        if let Some(ours) = rows.get_mut(row.x.as_str()) {
            ours.bindings.push(row.clone());
        }
    }
    for row in state.ax_bindings() {
        if row.entity.interface == interface
            && let Some(ours) = rows.get_mut(row.entity.x_number.as_str())
        {
            ours.relations.extend(state.ax_row(row.id));
        }
    }
    let mut found = Vec::new();
    for (x, told) in &answers {
        match told {
            Ok(told) => {
                let (agreed, candidates) = compare(told, &rows[x.as_str()], asked_at);
                result.agreed += agreed;
                found.extend(candidates.into_iter().map(|one| (x.clone(), one)));
            }
            Err(error) if result.unasked.len() < UNASKED_MAX => result.unasked.push(Unasked {
                x: x.clone(),
                error: error.clone(),
            }),
            Err(_) => {}
        }
    }
    found
}

/// The second look: what was settled meanwhile is no difference.
async fn confirm(
    core: &Arc<Core>,
    asker: &Arc<Asker>,
    found: Vec<(String, Candidate)>,
) -> Result<Vec<(String, Candidate)>, Failed> {
    if found.iter().all(|(_, one)| one.kind == Kind::InFlight) {
        return Ok(found);
    }
    tokio::time::sleep(SETTLE).await;
    let looked = all(found.into_iter(), {
        let asker = Arc::clone(asker);
        move |(x, candidate)| {
            let asker = Arc::clone(&asker);
            async move {
                let stands = match candidate.kind {
                    Kind::InFlight => true,
                    Kind::OnlyThere => asker.still_there(&x, &candidate).await == Some(true),
                    Kind::OnlyHere => asker.still_there(&x, &candidate).await == Some(false),
                };
                stands.then_some((x, candidate))
            }
        }
    })
    .await;
    // After the platform's second answer: a row that came meanwhile explains it.
    let state = current(core).await?;
    let stands = |(x, one): &(String, Candidate)| match one.kind {
        Kind::InFlight => true,
        Kind::OnlyThere => !known(&state, x, one),
        Kind::OnlyHere => counted_on(&state, one),
    };
    Ok(looked.into_iter().flatten().filter(stands).collect())
}

/// Whether a row of ours explains what the platform holds.
fn known(state: &State, x: &str, one: &Candidate) -> bool {
    match one.what {
        What::Binding(_) => state.bindings().any(|row| {
            row.handle == one.handle || (row.a == one.a && row.x == x && row.b_submitted == one.b)
        }),
        What::Relation(_) => state
            .ax_bindings()
            .filter(|row| row.entity.x_number == x && row.entity.a_number == one.a)
            .any(|row| {
                state
                    .ax_live(row.id)
                    .is_some_and(|live| live.phase != AxPhase::Unbound)
            }),
    }
}

/// Whether the row still counts on what the platform does not hold.
fn counted_on(state: &State, one: &Candidate) -> bool {
    match one.what {
        What::Binding(id) => id
            .and_then(|id| state.binding(id))
            .is_some_and(|row| row.phase == Phase::Bound && row.handle == one.handle),
        What::Relation(id) => id
            .and_then(|id| state.ax_live(id))
            .is_some_and(|live| live.phase == AxPhase::Bound && live.handle == one.handle),
    }
}

fn shown(x: String, one: Candidate, outcome: Outcome, note: String) -> Difference {
    Difference {
        kind: one.kind,
        subject: match one.what {
            What::Binding(id) => Subject::Binding(id),
            What::Relation(id) => Subject::Ax(id),
        },
        a: one.a,
        x,
        b: one.b,
        outcome,
        note,
    }
}
