//! One seed from beginning to end: set up, load and faults, healing, quiet, and what must hold then.

use std::fmt;

use tandem_simulation::event;
use tandem_vendors::sim::Faults;

use crate::caller::Outcome;
use crate::check;
use crate::flaw::Flaw;
use crate::plan::{Deed, LOAD_MS, Plan, last_call};
use crate::world::World;

/// What came of a seed.
#[derive(Debug, Default)]
pub struct Report {
    pub nodes: u64,
    pub calls: usize,
    /// Calls that the customer saw answered.
    pub talked: usize,
    pub records: usize,
    /// Deaths of nodes, and everything else that was done to the world.
    pub kills: usize,
    pub deeds: usize,
    pub refreshes: u32,
    pub simulated_ms: u64,
    /// What must not be.
    pub wrongs: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            nodes,
            calls,
            talked,
            records,
            kills,
            deeds,
            refreshes,
            simulated_ms,
            wrongs: _,
        } = self;
        write!(
            f,
            "{nodes} nodes, {calls} calls, {talked} talked, {records} records, {kills} kills, {deeds} deeds, \
             {refreshes} refreshes in {} s",
            simulated_ms / 1_000
        )
    }
}

/// Of so many seeds one has no faults.
const CALM_EVERY: u64 = 10;
/// Everything must be over so long after the healing.
const QUIET_MS: u64 = 150_000;

/// Nodes that were woken by the healing take calls again after so long.
const SETTLED_MS: u64 = 4_000;

/// Runs a seed, with something wrong on purpose or not.
pub fn run(seed: u64, flaw: Option<Flaw>) -> Report {
    let mut plan = Plan::of(seed, seed.is_multiple_of(CALM_EVERY));
    if let Some(flaw) = flaw {
        flaw.provoke(&mut plan);
    }
    let x_limit = plan.setup.x_limit as usize;
    let mut world = World::new(seed, plan.nodes, x_limit, plan.off);
    let mut report = Report {
        nodes: plan.nodes,
        ..Report::default()
    };
    for at in 0..world.machines.len() {
        world.start(at);
    }
    if let Err(wrong) = world.set_up(plan.setup.clone()) {
        report.wrongs.push(wrong);
        return report;
    }
    // Claims, leases and clocks settle.
    world.run_until(world.now + 3_000);

    if let Some(flaw) = flaw {
        flaw.begin(&mut world);
    }
    let load = world.now;
    for (at, caller, callee) in &plan.calls {
        world.expect_call(load + at, caller.clone(), callee.clone());
    }
    let mut troubles = Troubles::default();
    for (at, deed) in &plan.deeds {
        world.run_until(load + at);
        report.deeds += 1;
        report.kills += usize::from(matches!(deed, Deed::Kill { .. } | Deed::KillAll));
        event!("{} deed {deed:?}", world.now);
        do_it(&mut world, deed);
        troubles.note(world.now);
    }
    world.run_until(load + LOAD_MS);
    heal(&mut world);
    troubles.note(world.now);
    let healed = world.now;

    if !world.run_till(healed + QUIET_MS, check::is_quiet) {
        report.wrongs.push("it does not become quiet".to_owned());
        report.wrongs.extend(check::unrest(&world));
    }
    world.run_until(healed + SETTLED_MS);
    let first = world.callers.len();
    for node in 1..=plan.nodes {
        let (caller, callee) = last_call(world.callers.len(), node);
        world.expect_call(world.now + 10 * node, caller, callee);
    }
    if !world.run_till(world.now + 60_000, check::is_quiet) {
        report
            .wrongs
            .push("it does not become quiet again".to_owned());
        report.wrongs.extend(check::unrest(&world));
    }
    // Records are written, told of and let go.
    world.run_until(world.now + 3_000);
    for caller in &world.callers[first..] {
        // A node with a wrong clock learns the platform's from a first refusal.
        if caller.outcome != Outcome::Talked || caller.tries > 2 {
            let (node, outcome) = (caller.plan.nodes[0], caller.outcome);
            let wrong = format!(
                "a call at {node} after the healing: {outcome:?} after {} tries",
                caller.tries
            );
            report.wrongs.push(wrong);
        }
    }
    let calm = plan.deeds.is_empty();
    check::all(&mut world, &plan, calm, &troubles, &mut report);
    report.calls = world.callers.len();
    let talked = world
        .callers
        .iter()
        .filter(|one| one.outcome == Outcome::Talked);
    report.talked = talked.count();
    report.refreshes = world.legs.iter().map(|leg| leg.refreshes).sum();
    report.simulated_ms = world.now;
    report
}

/// When something was done to the world.
#[derive(Debug, Default)]
pub struct Troubles(Vec<u64>);

impl Troubles {
    fn note(&mut self, at: u64) {
        self.0.push(at);
    }

    /// Whether something went wrong so shortly before a moment, or at it, that it may still be felt.
    pub fn felt(&self, at: u64) -> bool {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else {
            return false;
        };
        self.0.len() > 1 && (*first..=last + 40_000).contains(&at)
    }
}

fn do_it(world: &mut World, deed: &Deed) {
    match *deed {
        Deed::Kill { node, silent } => world.kill(node, silent),
        Deed::KillAll => {
            for node in 0..world.machines.len() {
                world.kill(node, true);
                world.lose_power(node);
            }
        }
        Deed::Start { node } => {
            if world.machines[node].process.is_none() {
                world.start(node);
            }
        }
        Deed::Pause { node } => {
            if world.machines[node].process.is_some() {
                world.pause(node);
            }
        }
        Deed::Resume { node } => world.resume(node),
        Deed::Cut {
            node,
            inwards,
            outwards,
            cut,
        } => {
            for other in (0..world.machines.len()).filter(|other| *other != node) {
                if inwards {
                    world.cut_links(other, node, cut);
                }
                if outwards {
                    world.cut_links(node, other, cut);
                }
            }
        }
        Deed::Weather(weather) => world.net.weather = weather,
        Deed::Slow(ms) => world.net.link_slow_ms = ms,
        Deed::Away { node, cut } => {
            world.away[node] = cut;
        }
        Deed::Platform(ref faults) => world.platform.set_faults(faults.clone()),
        Deed::Full { node, full } => world.machines[node].shelf.look().full = full,
    }
}

/// Everything works again.
fn heal(world: &mut World) {
    world.net.heal();
    world.away.fill(false);
    world.platform.set_faults(Faults::default());
    for at in 0..world.machines.len() {
        world.machines[at].shelf.look().full = false;
        world.resume(at);
        if world.machines[at].process.is_none() {
            world.start(at);
        }
    }
}
