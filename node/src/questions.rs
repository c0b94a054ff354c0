//! Platforms that store nothing ask for each call: A has called X, who is to be rung? Answered by any node from the
//! replicated state.
//!
//! The call's row was replicated before its INVITE left, but the node that is asked may not have applied it yet, and may
//! still have the row of an earlier call with the same numbers: ringing its callee would be the worst answer of all. So
//! before it looks, the node waits until it has applied all that was committed when the question came. A node that
//! cannot know, cut off from the others, says that it cannot, and the platform asks its next address.

use std::time::{Duration, Instant};

use tandem_cluster::command::BindingId;
use tandem_cluster::entity::{AxBinding, Id, Row, Table};
use tandem_cluster::state::{AxPhase, Binding, Call, Phase, State};
use tandem_ops::log::mask_numbers;
use tandem_ops::platform::{PlatformReply, PlatformRequest};
use tandem_vendors::definition::{Asked, CallbackRequest, Callee};
use tandem_vendors::numbers::from_e164;
use tandem_vendors::{Client, Conflict, Vendor};

use crate::ax::own_id;
use crate::callbacks::written;
use crate::core::Core;

/// A node waits no longer for the others; a new leader is there within it. Half of what the platform allows if that is
/// less, so that it has time to ask another address.
const CATCH_UP: Duration = Duration::from_millis(1_000);

/// Who is to be rung.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    /// Whose number, in the state's notation.
    b: String,
    /// Our own id of what says so.
    own_id: String,
    limit_s: Option<u32>,
    /// The word for metrics.
    by: &'static str,
}

/// Answers a question.
pub async fn answer(
    core: &Core,
    interface: Id,
    client: &Client,
    request: &PlatformRequest,
    question: &CallbackRequest<'_>,
) -> PlatformReply {
    let started = Instant::now();
    let reply = reply(core, interface, client, request, question).await;
    let name = request.interface.clone();
    metrics::counter!(
        "tandem_platform_questions_total", "interface" => name.clone(), "result" => reply.result
    )
    .increment(1);
    metrics::histogram!("tandem_platform_question_seconds", "interface" => name)
        .record(started.elapsed().as_secs_f64());
    reply
}

async fn reply(
    core: &Core,
    interface: Id,
    client: &Client,
    request: &PlatformRequest,
    question: &CallbackRequest<'_>,
) -> PlatformReply {
    let asked = match client.question(&request.name, question) {
        Ok(asked) => asked,
        Err(error) => {
            let reply = client.refuse_question(&request.name, &error);
            return written(reply, error.word(), mask_numbers(&error.to_string()));
        }
    };
    let within = CATCH_UP.min(Duration::from_millis(asked.within_ms / 2));
    if !core.barrier.pass(&core.cluster, within).await {
        let note = "this node cannot tell what the others have committed".to_owned();
        return match client.refusal(&request.name, 503) {
            Some(reply) => written(reply, "unavailable", note),
            None => PlatformReply::plain(503, "unavailable"),
        };
    }
    let found = search(&core.cluster.state(), interface, &asked);
    let callee = found.as_ref().map(|found| Callee {
        b: &found.b,
        own_id: &found.own_id,
        limit_s: found.limit_s,
    });
    let say = |callee| client.answer(&request.name, question, &asked, callee);
    match (say(callee), &found) {
        (Ok(reply), Some(found)) => written(reply, found.by, String::new()),
        (Ok(reply), None) => written(reply, "nobody", String::new()),
        (Err(failure), _) => {
            let note = mask_numbers(&failure.to_string());
            match say(None) {
                Ok(reply) => written(reply, "unanswerable", note),
                Err(_) => PlatformReply {
                    note,
                    ..PlatformReply::plain(500, "unanswerable")
                },
            }
        }
    }
}

/// Who is to be rung, by this state.
fn search(state: &State, interface: Id, asked: &Asked) -> Option<Found> {
    let scope = conflict(state, interface);
    match binding(state.bindings().rev(), interface, scope, asked) {
        Some(row) => Some(bound(state, row, asked)),
        None => related(state, interface, asked),
    }
}

fn conflict(state: &State, interface: Id) -> Conflict {
    let vendor = state
        .interface(interface)
        .and_then(|row| Vendor::named(&row.entity.kind));
    vendor.map_or(Conflict::Pair, |vendor| vendor.policy().conflict)
}

/// The live binding that a call from `a` to `x` goes by, the newest first: there is one at most for the pair. Where a
/// number stands on X once, B's call to X finds it too.
fn binding<'s>(
    newest_first: impl Iterator<Item = &'s Binding>,
    interface: Id,
    scope: Conflict,
    asked: &Asked,
) -> Option<&'s Binding> {
    let mut back = None;
    for row in newest_first {
        let live = matches!(row.phase, Phase::Binding | Phase::Bound);
        if row.interface != interface || !live || !same(&row.x, &asked.x) {
            continue;
        }
        if same(&row.a, &asked.a) {
            return Some(row);
        }
        if scope != Conflict::Pair && back.is_none() && same(&row.b_submitted, &asked.a) {
            back = Some(row);
        }
    }
    back
}

fn bound(state: &State, row: &Binding, asked: &Asked) -> Found {
    let id: BindingId = row.id;
    let out = same(&row.a, &asked.a);
    let call = state.call(row.call).filter(|_| out);
    Found {
        b: if out { &row.b_submitted } else { &row.a }.clone(),
        own_id: id.to_string(),
        limit_s: call.and_then(limit_s),
        by: if out { "connected" } else { "called_back" },
    }
}

/// Whom X's static relation says: for its A the callee of the call whose turn it is, for everybody else A.
fn related(state: &State, interface: Id, asked: &Asked) -> Option<Found> {
    let (_, bound) = state.ax_count(interface);
    if bound == 0 {
        return None;
    }
    let rows = state.ax_bindings().filter(|row| {
        let phase = state.ax_live(row.id).map(|live| live.phase);
        phase == Some(AxPhase::Bound)
    });
    let (row, out) = relation(rows, interface, asked)?;
    if !out {
        return Some(Found {
            b: row.entity.a_number.clone(),
            own_id: own_id(row.id),
            limit_s: None,
            by: "relation",
        });
    }
    let x = state.find(Table::XNumbers, &row.entity.x_number)?;
    let call = state.ax_queue(x).next().and_then(|id| state.call(id))?;
    let lease = call.attempt.as_ref()?.ax.as_ref()?;
    (lease.ax == row.id).then(|| Found {
        b: lease.b_submitted.clone(),
        own_id: own_id(row.id),
        limit_s: limit_s(call),
        by: "connected",
    })
}

/// The relation of X that a call goes by, and whether it goes out by it. An X that several have is nobody's for calls
/// that come in.
fn relation<'s>(
    rows: impl Iterator<Item = &'s Row<AxBinding>>,
    interface: Id,
    asked: &Asked,
) -> Option<(&'s Row<AxBinding>, bool)> {
    let mut others = None;
    let mut several = false;
    for row in rows {
        let entity = &row.entity;
        if entity.interface != interface || !same(&entity.x_number, &asked.x) {
            continue;
        }
        if same(&entity.a_number, &asked.a) {
            return Some((row, true));
        }
        several |= others.replace(row).is_some();
    }
    others.filter(|_| !several).map(|row| (row, false))
}

/// How long a call may last from its answer, as far as that is known before it.
fn limit_s(call: &Call) -> Option<u32> {
    let attempt = call.attempt.as_ref()?;
    let credit = call.credit.filter(|credit| credit.last);
    let paid = credit.map(|credit| credit.upto_secs);
    [attempt.max_duration_secs, paid]
        .into_iter()
        .flatten()
        .min()
}

/// Whether a stored number and one in our notation are the same.
fn same(stored: &str, asked: &str) -> bool {
    // Most differ in their last digits, which every notation has.
    let end = &asked.as_bytes()[asked.len().saturating_sub(4)..];
    stored == asked || (stored.as_bytes().ends_with(end) && from_e164(stored) == asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tandem_cluster::command::CallId;

    fn asked(a: &str, x: &str) -> Asked {
        Asked {
            a: a.to_owned(),
            x: x.to_owned(),
            call_id: None,
            digits: None,
            within_ms: 1_000,
        }
    }

    fn row(id: u64, interface: Id, [a, x, b]: [&str; 3], phase: Phase) -> Binding {
        Binding {
            id,
            call: CallId::new(1, 1),
            owner: 1,
            interface,
            a_group: 1,
            a_id: 1,
            x_id: 1,
            a: a.to_owned(),
            x: x.to_owned(),
            b: b.to_owned(),
            b_submitted: b.to_owned(),
            created_at: 0,
            bound_at: None,
            expires_at: None,
            unbind_at: None,
            phase,
            handle: BTreeMap::new(),
            raw: String::new(),
            last_error: None,
        }
    }

    const A: &str = "02100000001";
    const X: &str = "17000000001";
    const B: &str = "13800000001";

    #[test]
    fn a_call_from_a_to_x_finds_its_own_binding_alone() {
        let rows = [
            row(1, 7, [A, X, B], Phase::Unbinding),
            row(2, 7, ["+862100000002", "+8617000000001", B], Phase::Bound),
            row(3, 8, [A, X, "13800000003"], Phase::Bound),
            row(4, 7, [A, X, "13800000004"], Phase::Binding),
            row(5, 7, [A, "17000000002", "13800000005"], Phase::Bound),
        ];
        for (a, x, interface, scope, found) in [
            (A, X, 7, Conflict::XCallee, Some(4)),
            (A, X, 8, Conflict::XCallee, Some(3)),
            ("02100000002", X, 7, Conflict::XCallee, Some(2)),
            (A, "17000000002", 7, Conflict::XCallee, Some(5)),
            ("02100000009", X, 7, Conflict::XCallee, None),
            ("anonymous", X, 7, Conflict::XCallee, None),
            ("", "", 7, Conflict::XCallee, None),
            // B calls back.
            (B, X, 7, Conflict::XCallee, Some(2)),
            (B, X, 7, Conflict::Pair, None),
            ("13800000004", X, 7, Conflict::XExclusive, Some(4)),
        ] {
            let newest_first = rows.iter().rev();
            let got = binding(newest_first, interface, scope, &asked(a, x)).map(|row| row.id);
            assert_eq!(got, found, "{a} {x} {interface} {scope:?}");
        }
    }

    #[test]
    fn a_relation_sends_its_own_a_out_and_all_others_to_a() {
        let relation_of = |id: Id, interface: Id, a: &str, x: &str| Row {
            id,
            memo: String::new(),
            created_at: 0,
            updated_at: 0,
            version: 1,
            entity: AxBinding {
                interface,
                x_number: x.to_owned(),
                a_number: a.to_owned(),
                params: BTreeMap::new(),
                expires_at: None,
            },
        };
        let rows = [
            relation_of(1, 7, A, X),
            relation_of(2, 8, A, "17000000002"),
            relation_of(3, 7, "02100000003", "17000000003"),
            relation_of(4, 7, "02100000004", "17000000003"),
        ];
        for (a, x, found) in [
            (A, X, Some((1, true))),
            ("13900000009", X, Some((1, false))),
            ("anonymous", X, Some((1, false))),
            (A, "17000000002", None),
            ("02100000004", "17000000003", Some((4, true))),
            ("13900000009", "17000000003", None),
        ] {
            let got = relation(rows.iter(), 7, &asked(a, x));
            let got = got.map(|(row, out)| (row.id, out));
            assert_eq!(got, found, "{a} {x}");
        }
    }

    #[test]
    fn a_stored_number_is_compared_in_any_notation() {
        for (stored, asked, alike) in [
            ("02100000001", A, true),
            ("+862100000001", A, true),
            ("00862100000001", A, true),
            ("02100000002", A, false),
            ("2100000001", A, true),
            ("", A, false),
            ("anonymous", "anonymous", true),
        ] {
            assert_eq!(same(stored, asked), alike, "{stored}");
        }
    }
}
