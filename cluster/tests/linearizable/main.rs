//! Numbers are taken and given back through three nodes that are killed, stopped and cut off from each other, and what
//! the callers saw is linearizable: as if one hand had given all numbers, one after the other.
//!
//! The nodes are processes ([`process`]) whose links lead through the test ([`links`]); faults come one after the other
//! in rounds ([`trouble`]). The callers ([`callers`]) take pairs out of a pool too small for them, so that refusals for
//! want of numbers are as common as pairs; each call's A (`End`) and X (`Unbound`) come back by commands of their own,
//! in either order or side by side; and they look, at any node, how many lines of a number are held. A caller that
//! learns no outcome in time asks the next node for the same with the same bytes, as the switch does: the operation
//! lasts from the first asking to the first answer. A few are never asked for again and stay open.
//!
//! The checker ([`pool`]) knows nothing of the switch. That it finds what it should is shown three ways: small histories
//! against a search that tries every order ([`orders`]), true histories with one thing made wrong ([`altered`]), and
//! pools that break one rule now and then ([`breach`]).
//!
//! `HISTORY_OPERATIONS` asks for a longer history, `HISTORY_SEED` for other moments of the faults.

mod altered;
mod breach;
mod callers;
mod links;
#[path = "../nodes/mod.rs"]
mod nodes;
mod orders;
mod pool;
mod process;
mod trouble;
#[path = "../state/world.rs"]
#[allow(dead_code)]
mod world;

use breach::Breach;
use callers::{A_NUMBERS, CALLEES, Caller, LINES, Plan, Scene, X_NUMBERS};
use links::NODES;
use pool::{Broken, Deed, Moment, Op, Pool, check};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use trouble::{EVERYTHING, Fault};

/// The test below, as a filter.
const NODE_PROCESS: &str = "node_process";
/// Longer than anything may be on its way.
const QUIET: Duration = Duration::from_secs(2);

/// No test: a node's process, started by the others.
#[test]
fn node_process() {
    process::run();
}

fn plan() -> Plan {
    let asked_for = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    Plan {
        nodes: NODES,
        callers: 12,
        operations: asked_for("HISTORY_OPERATIONS").unwrap_or(20_000) as usize,
        longest: Duration::from_secs(3_600),
        rest_ms: 0,
        entries_per_s: 1_000_000,
        impatient_in: 100,
        left_open: 2,
        breach: None,
        seed: asked_for("HISTORY_SEED").unwrap_or(7),
    }
}

/// Lets the callers call, with what befalls the nodes.
async fn play(plan: Plan, faults: &[Fault]) -> (Arc<Scene>, BTreeMap<Fault, u32>) {
    let scene = Arc::new(Scene::set(plan).await);
    let plan = &scene.plan;
    let callers: Vec<_> = (0..plan.callers)
        .map(|n| {
            let (scene, at) = (scene.clone(), n % plan.nodes);
            let seed = plan.seed + n as u64 * 0x1234_5677;
            tokio::spawn(async move { scene.calls(Caller { at, seed }).await })
        })
        .collect();
    let befell = match faults {
        [] => BTreeMap::new(),
        faults => trouble::befalls(&scene, faults, plan.seed).await,
    };
    for caller in callers {
        caller.await.expect("does not panic");
    }
    (scene, befell)
}

fn pool_of(scene: &Scene, rest_ms: u32) -> Pool {
    Pool {
        a_lines: vec![LINES as u8; A_NUMBERS],
        x_lines: vec![LINES as u8; X_NUMBERS],
        callees: CALLEES,
        rest: u64::from(rest_ms) * 1_000_000,
        // The log counts whole milliseconds, by the wall clock.
        slack: 2_000_000 + scene.drift(),
    }
}

/// Plays a plan and checks what the callers saw, and what they would have seen had it been wrong.
async fn a_history_is_linearizable(plan: Plan, faults: &[Fault]) {
    let (scene, befell) = play(plan, faults).await;
    let took = scene.begun.elapsed();
    tokio::time::sleep(QUIET).await;
    let state = scene.nodes.agree().await;
    state.check().expect("invariants hold");
    scene.enter_given_up(&state);

    let rest_ms = scene.plan.rest_ms;
    let pool = pool_of(&scene, rest_ms);
    let history = std::mem::take(&mut *scene.history.lock().expect("no panic"));
    let checking = Instant::now();
    let effort = check(&pool, &history).unwrap_or_else(|broken| panic!("{broken}"));
    let outcomes = outcomes(&history);
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "rest {rest_ms} ms: {} operations in {took:.1?}: {outcomes:?}\naskings without an outcome: {} asked again, {} \
         looks forgotten\nfaults: {befell:?}\nchecked in {:.1?}: {effort:?}",
        history.len(),
        count(&scene.counts.repeated),
        count(&scene.counts.lost_looks),
        checking.elapsed(),
    );
    assert!(
        history.len() >= scene.plan.operations,
        "only {} operations in {took:?}",
        history.len()
    );
    for outcome in ["taken", "refused", "A given back", "X given back", "seen"] {
        let share = outcomes.get(outcome).copied().unwrap_or(0);
        assert!(share > history.len() / 50, "{outcome} is common");
    }
    assert!(
        faults.iter().all(|fault| befell.contains_key(fault)),
        "all of it happened"
    );

    let after = pool.rest + 2 * pool.slack;
    let mut made = 0;
    for (what, wrong) in [
        ("a pair given twice", altered::given_twice(&history)),
        ("a release that was lost", altered::lost_release(&history)),
        ("an old answer", altered::stale_look(&history)),
        (
            "a refusal for no reason",
            altered::refused_for_nothing(&history, after),
        ),
    ] {
        // A short history may have no moment at which it would surely be wrong.
        let Some(wrong) = wrong else {
            println!("no place for {what}");
            continue;
        };
        made += 1;
        let found = check(&pool, &wrong);
        assert!(
            matches!(found, Err(Broken::NotLinearizable { .. })),
            "{what}: {found:?}"
        );
    }
    assert!(made >= 3, "only {made} ways to make it wrong");
}

/// Operations by what came of them.
fn outcomes(history: &[Op]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for op in history {
        let outcome = match (op.deed, op.returned) {
            (Deed::Take { .. }, Some(_)) => "taken",
            (Deed::Take { .. }, None) => "taken, never told",
            (Deed::Refused { .. }, _) => "refused",
            (Deed::FreeA { .. }, Some(_)) => "A given back",
            (Deed::FreeX { .. }, Some(_)) => "X given back",
            (Deed::FreeA { .. }, None) => "A given back, never told",
            (Deed::FreeX { .. }, None) => "X given back, never told",
            (Deed::Seen { .. }, _) => "seen",
        };
        *counts.entry(outcome).or_insert(0) += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_given_as_if_by_one_hand_whatever_befalls_the_nodes() {
    a_history_is_linearizable(plan(), EVERYTHING).await;
}

/// Rests are counted in the log's time, which lies close to the callers' while no message is held up: so only nodes
/// suffer here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pairs_rest_after_their_release_while_nodes_die() {
    let plan = Plan {
        operations: 2_000,
        rest_ms: 25,
        ..plan()
    };
    let faults = [Fault::KillLeader, Fault::HandOn, Fault::KillFollower];
    a_history_is_linearizable(plan, &faults).await;
}

/// A pool on one node, its callers undisturbed, and what the checker says of their history.
async fn verdict(breach: Option<Breach>, rest: Moment) -> Result<(), Broken> {
    let plan = Plan {
        nodes: 1,
        operations: 3_000,
        impatient_in: 10,
        left_open: 0,
        breach,
        ..plan()
    };
    let (scene, _) = play(plan, &[]).await;
    let pool = Pool {
        rest,
        ..pool_of(&scene, 0)
    };
    let history = scene.history.lock().expect("no panic");
    let verdict = check(&pool, &history).map(|_| ());
    println!("{breach:?}: {} operations, {verdict:?}", history.len());
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_breaks_no_rule_is_not_suspected() {
    assert_eq!(verdict(None, 0).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_breaks_a_rule_is_found_out() {
    for breach in [
        Breach::LendsWhatIsHeld,
        Breach::LosesReleases,
        Breach::RefusesForNothing,
        Breach::ForgetsWhoAsked,
        Breach::ShowsTheOld,
    ] {
        let verdict = verdict(Some(breach), 0).await;
        assert!(
            matches!(verdict, Err(Broken::NotLinearizable { .. })),
            "{breach:?}: {verdict:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_lets_no_pair_rest_is_found_out() {
    let verdict = verdict(None, 25_000_000).await;
    assert!(
        matches!(verdict, Err(Broken::NotLinearizable { .. })),
        "{verdict:?}"
    );
}
