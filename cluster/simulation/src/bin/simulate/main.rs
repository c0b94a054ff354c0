//! The cluster in a simulated world: nodes with callers of their own, faults from a seed, healing, and then everything
//! that must be true.
//!
//! The nodes run what the switch runs: log, snapshots, consensus, links, state and the handle to it. Beside each stands
//! what the switch does with it ([`node`], [`calls`]). [`faults`] lays the trouble, [`ledger`] knows what was
//! acknowledged and states what must follow from it.
//!
//! In some seeds nodes join, leave and are replaced meanwhile ([`members`]).
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
mod members;
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
use tandem_simulation::runner::{self, Run};
use tandem_simulation::{Death, World, event};

/// The machine of callers who outlive the nodes.
const CALLERS: u64 = 100;
/// Within so long after healing every node gets something committed.
const ALIVE_MS: u64 = 10_000;
/// Within so long before that every wanted change of the members is carried out.
const CHANGED_MS: u64 = 20_000;
/// Calls that are under way get so long for their ends.
const ENDING_MS: u64 = 3_000;
/// And within so long after that every call and every binding has ended, and all nodes are alike.
const DRAINED_MS: u64 = 30_000;

fn main() -> ExitCode {
    runner::main(scenario)
}

fn scenario(run: &Run) -> Result<String, String> {
    let mut plan = Plan::of(run.seed);
    // What a flaw leads to is to be seen by itself.
    plan.changes &= run.flaw.is_none();
    plan.history |= run.operations.is_some() || run.flaw.as_deref() == Some("twice");
    let plan = Rc::new(plan);
    event!("{plan:?}");
    let ledger = Ledger::new(&plan);
    let mut world = World::new(run.seed, plan.step_ms);
    for id in plan.ids() {
        node::install(&mut world, &plan, &ledger, id);
        let lies = run.flaw.as_deref() == Some("lies");
        world.disk(id).set_lies(lies);
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

    if plan.changes {
        until(
            &mut world,
            &ledger,
            CHANGED_MS,
            "not every change of the members is done and known to those who went",
            |world| {
                trouble.revive(world);
                ledger.roll.is_settled()
                    && ledger.roll.members().into_iter().eq(ledger.roll.machines())
            },
        )?;
    }
    let healed_ms = world.now_ms();
    until(
        &mut world,
        &ledger,
        ALIVE_MS,
        "not every node gets something committed",
        |world| {
            trouble.revive(world);
            let mut machines = ledger.roll.machines().into_iter();
            machines.all(|id| ledger.probed_at(id) > healed_ms)
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
    let drained = until(
        &mut world,
        &ledger,
        DRAINED_MS,
        "calls or bindings are left",
        |world| {
            trouble.revive(world);
            let mut machines = ledger.roll.machines().into_iter();
            machines.all(|id| held(&ledger, id).is_some_and(|held| held.is_empty()))
        },
    );
    drained.map_err(|what| {
        let machines = ledger.roll.machines().into_iter();
        let held: Vec<_> = machines.map(|id| (id, held(&ledger, id))).collect();
        format!("{what}: {held:?}")
    })?;
    ledger.enter(Phase::Quiet);
    // What is still on its way arrives.
    world.run_for(3_000);
    until(
        &mut world,
        &ledger,
        DRAINED_MS,
        "nodes have not applied the same",
        |_| {
            let machines = ledger.roll.machines().into_iter();
            let applied: Vec<Option<u64>> = machines
                .map(|id| ledger.node(id).map(|node| node.state_now().1))
                .collect();
            applied.windows(2).all(|pair| pair[0] == pair[1])
        },
    )?;
    let mut hashes = Vec::new();
    for id in ledger.roll.machines() {
        let node = ledger.node(id).ok_or("a node is not there")?;
        let (state, upto) = node.state_now();
        ledger
            .check(&state)
            .and_then(|()| ledger.roll.check(&node))
            .map_err(|what| format!("node {id}: {what}"))?;
        hashes.push((upto, state.hash()));
    }
    if hashes.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(format!("states differ: {hashes:x?}"));
    }
    ledger.verdict()?;
    Ok(format!(
        "{} nodes, {:.1} s, {} faults, {} commands, {} unknown at first, {} reads, {} calls, {} adopted, {} comparisons, {} operations, {} changes of members",
        plan.nodes,
        world.now_ms() as f64 / 1000.0,
        trouble.count,
        ledger.commands.get(),
        ledger.unknown.get(),
        ledger.reads.get(),
        ledger.calls(),
        ledger.adopted.get(),
        ledger.compared.get(),
        history.operations(),
        ledger.roll.changed(),
    ))
}

/// What is under way as a node has it; `None` when it is not there.
fn held(ledger: &Ledger, id: u64) -> Option<Vec<String>> {
    let (state, _) = ledger.node(id)?.state_now();
    let calls = state.calls().map(|call| format!("call {:?}", call.id()));
    let bindings = state.bindings();
    let bindings = bindings.map(|binding| format!("binding {} of {:?}", binding.id, binding.call));
    Some(calls.chain(bindings).collect())
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
