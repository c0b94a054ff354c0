//! The cluster in a simulated world: nodes with callers of their own, faults from a seed, healing, and then everything
//! that must be true.
//!
//! The nodes run what the switch runs: log, snapshots, consensus, links, state and the handle to it. Beside each stands
//! what the switch does with it ([`node`], [`calls`]). [`faults`] lays the trouble, [`ledger`] knows what was
//! acknowledged and states what must follow from it.
//!
//! Every fourth seed has callers who outlive the nodes ([`history`]); with `--operations` every one has, and there is
//! trouble until they have done so much.
//!
//! Flaws that the checks must find: `lies` (disks say that they have synced and have not), `twice` (a number is said
//! to have been given while somebody else held it).

#[path = "../../../../tests/linearizable/altered.rs"]
#[allow(dead_code)]
mod altered;
mod calls;
mod faults;
mod history;
mod ledger;
mod node;
mod plan;
#[path = "../../../../tests/linearizable/pool.rs"]
#[allow(dead_code)]
mod pool;
#[path = "../../../../tests/state/world.rs"]
#[allow(dead_code)]
mod rows;
mod setup;

use faults::Trouble;
use history::History;
use ledger::{Ledger, Phase};
use plan::Plan;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use tandem_cluster::wal::{AnyDisk, SimDisk};
use tandem_simulation::runner::{self, Run};
use tandem_simulation::{Death, World, event};

/// The machine of callers who outlive the nodes.
const CALLERS: u64 = 100;
/// Within so long after healing every node gets something committed.
const ALIVE_MS: u64 = 10_000;
/// Calls that are under way get so long for their ends.
const ENDING_MS: u64 = 3_000;
/// And within so long after that every call and every binding has ended, and all nodes are alike.
const DRAINED_MS: u64 = 30_000;

fn main() -> ExitCode {
    runner::main(scenario)
}

fn scenario(run: &Run) -> Result<String, String> {
    let mut plan = Plan::of(run.seed);
    plan.history |= run.operations.is_some() || run.flaw.as_deref() == Some("twice");
    let plan = Rc::new(plan);
    event!("{plan:?}");
    let ledger = Ledger::new();
    let mut world = World::new(run.seed, plan.step_ms);
    for id in plan.ids() {
        let config = plan.config(id, &world, AnyDisk::default());
        let (plan, ledger) = (plan.clone(), ledger.clone());
        let disk = world.add(id, move |disk: SimDisk| {
            let mut config = config.clone();
            config.disk = AnyDisk(Arc::new(disk.clone()));
            node::run(id, plan.clone(), config, disk, ledger.clone())
        });
        disk.set_lies(run.flaw.as_deref() == Some("lies"));
        world.start(id);
    }
    until(
        &mut world,
        &ledger,
        20_000,
        "configuration is not put in",
        |_| ledger.phase() > Phase::Setup,
    )?;

    let history = History::new(plan.clone(), ledger.clone());
    if plan.history {
        let callers = history.clone();
        world.add(CALLERS, move |_| callers.clone().run());
        world.start(CALLERS);
    }

    let mut trouble = Trouble::new(plan.clone(), ledger.clone(), world.now_ms());
    let calm_ms = world.now_ms() + plan.trouble_ms;
    let enough = run.operations.unwrap_or(0) as usize;
    while world.now_ms() < calm_ms || history.operations() < enough {
        trouble.act(&mut world);
        world.step();
        ledger.verdict()?;
    }
    if run.flaw.as_deref() == Some("lies") {
        for id in plan.ids() {
            world.kill(id, Death::Power);
            ledger.node_down(id);
        }
    }
    trouble.end(&mut world);

    let healed_ms = world.now_ms();
    until(
        &mut world,
        &ledger,
        ALIVE_MS,
        "not every node gets something committed",
        |world| {
            trouble.revive(world);
            plan.ids().all(|id| ledger.probed_at(id) > healed_ms)
        },
    )?;
    ledger.enter(Phase::Drain);
    if plan.history {
        until(
            &mut world,
            &ledger,
            DRAINED_MS,
            "callers wait for answers",
            |world| {
                trouble.revive(world);
                history.is_whole()
            },
        )?;
        history.check(run.flaw.as_deref() == Some("twice"))?;
    }
    world.run_for(ENDING_MS);
    until(
        &mut world,
        &ledger,
        DRAINED_MS,
        "calls or bindings are left",
        |world| {
            trouble.revive(world);
            plan.ids().all(|id| {
                let node = ledger.node(id);
                node.is_some_and(|node| {
                    let (state, _) = node.state_now();
                    state.calls().len() + state.bindings().len() == 0
                })
            })
        },
    )?;
    ledger.enter(Phase::Quiet);
    // What is still on its way arrives.
    world.run_for(3_000);
    until(
        &mut world,
        &ledger,
        DRAINED_MS,
        "nodes have not applied the same",
        |_| {
            let applied = plan
                .ids()
                .map(|id| ledger.node(id).map(|node| node.state_now().1));
            let applied: Vec<Option<u64>> = applied.collect();
            applied.windows(2).all(|pair| pair[0] == pair[1])
        },
    )?;
    let mut hashes = Vec::new();
    for id in plan.ids() {
        let node = ledger.node(id).ok_or("a node is not there")?;
        let (state, upto) = node.state_now();
        ledger
            .check(&state)
            .map_err(|what| format!("node {id}: {what}"))?;
        hashes.push((upto, state.hash()));
    }
    if hashes.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(format!("states differ: {hashes:x?}"));
    }
    ledger.verdict()?;
    Ok(format!(
        "{} nodes, {:.1} s, {} faults, {} commands, {} unknown at first, {} calls, {} adopted, {} comparisons, {} operations",
        plan.nodes,
        world.now_ms() as f64 / 1000.0,
        trouble.count,
        ledger.commands.get(),
        ledger.unknown.get(),
        ledger.calls(),
        ledger.adopted.get(),
        ledger.compared.get(),
        history.operations(),
    ))
}

/// Goes on until it is so, for at most so long.
fn until(
    world: &mut World,
    ledger: &Rc<Ledger>,
    most_ms: u64,
    otherwise: &str,
    mut is_so: impl FnMut(&mut World) -> bool,
) -> Result<(), String> {
    let end_ms = world.now_ms() + most_ms;
    while !is_so(world) {
        if world.now_ms() >= end_ms {
            return Err(format!("{otherwise} after {most_ms} ms"));
        }
        world.run_for(50);
        ledger.verdict()?;
    }
    Ok(())
}
