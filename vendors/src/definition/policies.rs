//! `[policy]`: what the platform lets the pool do, and how it wants to be treated.

use super::Operation;
use super::load::OPS;
use super::question::Wanted;
use super::rules;
use super::source::{Item, Source, Table};
use crate::exchange::Op;
use crate::policy::{Conflict, Handling, Policy, Recovery, Retry};

const CONFLICTS: [(&str, Conflict); 3] = [
    ("pair", Conflict::Pair),
    ("x_callee", Conflict::XCallee),
    ("x_exclusive", Conflict::XExclusive),
];

const RECOVERIES: [(&str, Recovery); 5] = [
    ("query", Recovery::Query),
    ("own_id", Recovery::OwnId),
    ("numbers", Recovery::Numbers),
    ("repeat", Recovery::Repeat),
    ("wait", Recovery::Wait),
];

/// What speaks of requests.
const REQUESTS: [&str; 8] = [
    "bindings_per_x_max",
    "rate_per_s",
    "quarantine_s",
    "counted",
    "unbind_after_answer_ms",
    "recover",
    "retry",
    "breaker",
];

/// Both, of a table that may be missing.
pub(super) fn policies(
    item: Option<Item<'_>>,
    source: &Source<'_>,
    operations: &[Operation],
    wanted: Wanted,
) -> (Policy, Handling) {
    let has = |op: Op| operations.iter().any(|operation| operation.op == op);
    let asks = wanted == Wanted::Local;
    let mut policy = Policy {
        asks,
        ax: asks || has(Op::AxBind) && has(Op::AxQuery),
        set_callee: asks || has(Op::AxBind) && has(Op::AxQuery) && has(Op::SetCallee),
        query: has(Op::Query),
        conflict: Conflict::XCallee,
        pair_rest_ms: 2_000,
    };
    let mut handling = Handling::default();
    let Some(item) = item else {
        source.mistake(0, "`policy` is missing");
        return (policy, handling);
    };
    let Some(mut table) = item.table() else {
        return (policy, handling);
    };
    if let Some(conflict) = table
        .need("conflict")
        .and_then(|item| item.choose(&CONFLICTS))
    {
        policy.conflict = conflict;
    }
    if let Some(rest) = table.need("pair_rest_ms").and_then(|item| item.integer()) {
        policy.pair_rest_ms = rest;
    }
    if asks {
        // A row of our own is never lost; whoever adopts one releases it by the id it has.
        handling.recover = vec![Recovery::OwnId];
        for key in REQUESTS {
            if let Some(item) = table.take(key) {
                let said = format!("`{key}` has no use: with `bind = \"local\"` nothing is sent");
                source.mistake(item.at, said);
            }
        }
        table.finish(&["conflict", "pair_rest_ms"]);
        return (policy, handling);
    }
    handling.bindings_per_x_max = table.integer("bindings_per_x_max");
    handling.rate_per_s = table.integer("rate_per_s");
    handling.quarantine_s = table.integer("quarantine_s");
    handling.counted = table.flag("counted");
    handling.unbind_after_answer_ms = table.integer("unbind_after_answer_ms");
    if let Some(order) = table.need("recover") {
        let order = order.list();
        for item in &order {
            let Some(recovery) = item.choose(&RECOVERIES) else {
                continue;
            };
            if recovery == Recovery::Query && !policy.query {
                item.wrong("there is no `operations.query`");
            }
            if handling.recover.contains(&recovery) {
                item.wrong("is in the order already");
            }
            if handling.recover.last() == Some(&Recovery::Wait) {
                item.wrong("is never reached: `wait` always ends it");
            }
            handling.recover.push(recovery);
        }
    }
    for item in table.table("retry").map(Table::rest).unwrap_or_default() {
        let Some((_, op)) = OPS.iter().find(|(name, _)| *name == item.key) else {
            item.source
                .mistake(item.at, format!("no operation `{}`", item.key));
            continue;
        };
        for class in item.table().map(Table::rest).unwrap_or_default() {
            let (Some(found), Some(times)) = (rules::class_named(&class), class.integer::<u8>())
            else {
                continue;
            };
            let twice = *op == Op::Bind && found.may_hold();
            if twice && times > 0 && !handling.recover.contains(&Recovery::Repeat) {
                class.wrong("might bind twice: `recover` has no `repeat`");
            }
            handling.retry.push(Retry {
                op: *op,
                class: found,
                times,
            });
        }
    }
    if let Some(mut breaker) = table.table("breaker") {
        handling.breaker.refused_ms = breaker
            .integer("refused_ms")
            .unwrap_or(handling.breaker.refused_ms);
        handling.breaker.blocked_ms = breaker
            .integer("blocked_ms")
            .unwrap_or(handling.breaker.blocked_ms);
        handling.breaker.connect_failures = breaker
            .integer("connect_failures")
            .unwrap_or(handling.breaker.connect_failures);
        handling.breaker.probe_ms = breaker
            .integer("probe_ms")
            .unwrap_or(handling.breaker.probe_ms);
        breaker.finish(&["refused_ms", "blocked_ms", "connect_failures", "probe_ms"]);
    }
    table.finish(&[
        "conflict",
        "pair_rest_ms",
        "bindings_per_x_max",
        "rate_per_s",
        "quarantine_s",
        "counted",
        "unbind_after_answer_ms",
        "recover",
        "retry",
        "breaker",
    ]);
    (policy, handling)
}
