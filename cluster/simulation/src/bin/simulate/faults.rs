//! What goes wrong, and when it stops going wrong.

use super::ledger::{Ledger, Order};
use super::members::Change;
use super::node;
use super::plan::{self, Plan};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tandem_simulation::net::Weather;
use tandem_simulation::{Death, World, event};

/// What ends a fault.
#[derive(Clone, Copy, Debug)]
enum Remedy {
    Start(u64),
    Resume(u64),
    Heal,
    Clear,
    Quicken(u64),
    Enlarge(u64),
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    PowerOff,
    PowerLoss,
    Pause,
    Isolate,
    Split,
    OneWay,
    Storm,
    SlowDisk,
    FullDisk,
    DyingDisk,
    StepClock,
    Drift,
    Transfer,
    Snapshot,
    Members,
}

/// But for changes of the members, of which the plan decides.
const KINDS: [Kind; 15] = [
    Kind::Kill,
    Kind::PowerOff,
    Kind::PowerLoss,
    Kind::Pause,
    Kind::Isolate,
    Kind::Split,
    Kind::OneWay,
    Kind::Storm,
    Kind::SlowDisk,
    Kind::FullDisk,
    Kind::DyingDisk,
    Kind::StepClock,
    Kind::Drift,
    Kind::Transfer,
    Kind::Snapshot,
];

/// Everybody has heard within this that a clock is right again, pings that come late included.
const HEARD_MS: u64 = 10_000;

pub struct Trouble {
    plan: Rc<Plan>,
    ledger: Rc<Ledger>,
    rng: StdRng,
    kinds: Vec<Kind>,
    /// By moment and order.
    remedies: BTreeMap<(u64, u64), Remedy>,
    next_ms: u64,
    /// Whose clock was stepped last, and since when it is right again.
    clock: Option<(u64, Option<u64>)>,
    pub count: u64,
}

impl Trouble {
    pub fn new(plan: Rc<Plan>, ledger: Rc<Ledger>, now_ms: u64) -> Trouble {
        let mut rng = plan::rng(plan.seed, 2);
        // A few kinds at a time, so that each is seen by itself and in company.
        let mut kinds: Vec<Kind> = KINDS.into_iter().filter(|_| rng.random_bool(0.5)).collect();
        if kinds.is_empty() {
            kinds = vec![Kind::PowerLoss];
        }
        if plan.changes {
            kinds.extend([Kind::Members; 2]);
        }
        event!("trouble of these kinds: {kinds:?}");
        Trouble {
            plan,
            ledger,
            rng,
            kinds,
            remedies: BTreeMap::new(),
            next_ms: now_ms,
            clock: None,
            count: 0,
        }
    }

    fn node(&mut self) -> u64 {
        let machines = self.ledger.roll.machines();
        machines[self.rng.random_range(0..machines.len())]
    }

    fn after(&mut self, world: &World, least_ms: u64, most_ms: u64, remedy: Remedy) {
        self.count += 1;
        let at_ms = world.now_ms() + self.rng.random_range(least_ms..most_ms);
        self.remedies.insert((at_ms, self.count), remedy);
    }

    /// Does what is due: ends faults, and begins another.
    pub fn act(&mut self, world: &mut World) {
        while let Some(first) = self.remedies.first_entry()
            && first.key().0 <= world.now_ms()
        {
            let remedy = first.remove();
            self.remedy(world, remedy);
        }
        self.attend(world);
        for id in self.ledger.roll.machines() {
            if world.is_on(id) && world.disk(id).is_off() {
                self.die(world, id, Death::Power, 2_000);
            } else if world.has_ended(id) {
                self.die(world, id, Death::Process, 500);
            }
        }
        if world.now_ms() >= self.next_ms {
            let (least_ms, most_ms) = self.plan.fault_every_ms;
            self.next_ms = world.now_ms() + self.rng.random_range(least_ms..most_ms);
            let kind = self.kinds[self.rng.random_range(0..self.kinds.len())];
            self.begin(world, kind);
        }
    }

    /// Machines come into service and go out of it.
    fn attend(&mut self, world: &mut World) {
        for id in self.ledger.roll.machines() {
            if !world.has(id) {
                node::install(world, &self.plan, &self.ledger, id);
            }
        }
        for id in self.ledger.roll.retired() {
            if world.is_on(id) {
                world.kill(id, Death::Process);
                self.ledger.node_down(id);
            }
        }
    }

    fn die(&mut self, world: &mut World, id: u64, death: Death, most_ms: u64) {
        if world.is_on(id) {
            world.kill(id, death);
            self.ledger.node_down(id);
            self.after(world, 50, most_ms, Remedy::Start(id));
        }
    }

    fn begin(&mut self, world: &mut World, kind: Kind) {
        let id = self.node();
        match kind {
            Kind::Kill => self.die(world, id, Death::Process, 2_000),
            Kind::PowerOff => self.die(world, id, Death::Power, 2_000),
            Kind::PowerLoss => {
                for id in self.ledger.roll.machines() {
                    self.die(world, id, Death::Power, 1_000);
                }
            }
            Kind::Pause => {
                if world.is_on(id) && !world.is_paused(id) {
                    world.pause(id);
                    self.after(world, 50, 4_000, Remedy::Resume(id));
                }
            }
            Kind::Isolate => {
                let machines = self.ledger.roll.machines();
                for other in machines.into_iter().filter(|other| *other != id) {
                    world.net().cut(id, other);
                    world.net().cut(other, id);
                }
                self.after(world, 50, 2_500, Remedy::Heal);
            }
            Kind::Split => {
                let machines = self.ledger.roll.machines().into_iter();
                let sides: Vec<(u64, bool)> = machines.map(|id| (id, self.rng.random())).collect();
                for (from, here) in &sides {
                    for (to, there) in &sides {
                        if here != there {
                            world.net().cut(*from, *to);
                        }
                    }
                }
                self.after(world, 50, 2_500, Remedy::Heal);
            }
            Kind::OneWay => {
                for _ in 0..self.rng.random_range(1..4) {
                    let (from, to) = (self.node(), self.node());
                    if from != to {
                        world.net().cut(from, to);
                    }
                }
                self.after(world, 50, 2_500, Remedy::Heal);
            }
            Kind::Storm => {
                world.net().set_weather(Weather {
                    jitter_ms: self.rng.random_range(1..60),
                    lost_per_mille: self.rng.random_range(0..200),
                    broken_per_mille: self.rng.random_range(0..50),
                });
                self.after(world, 100, 2_000, Remedy::Clear);
            }
            Kind::SlowDisk => {
                let takes = Duration::from_millis(self.rng.random_range(1..200));
                event!("disk of node {id} takes {takes:?} to sync");
                world.disk(id).set_sync_takes(takes);
                self.after(world, 100, 2_500, Remedy::Quicken(id));
            }
            Kind::FullDisk => {
                let room = world.disk(id).used() + self.rng.random_range(0..8_192);
                event!("disk of node {id} has room for {room} bytes");
                world.disk(id).set_room(Some(room));
                self.after(world, 100, 2_500, Remedy::Enlarge(id));
            }
            Kind::DyingDisk => {
                let left = self.rng.random_range(0..40);
                event!("disk of node {id} fails after {left} operations");
                world.disk(id).fail_after(left);
            }
            Kind::StepClock => {
                let ahead_ms = self.rng.random_range(-3_600_000..3_600_000);
                let ahead_ms = match self.rng.random_range(0..4) {
                    0 => 0,
                    1 | 2 => ahead_ms / 1_000,
                    _ => ahead_ms,
                };
                self.step_clock(world, id, ahead_ms);
            }
            Kind::Drift => {
                let fast_ppm = self.rng.random_range(-50_000..50_000);
                world.set_rate(id, fast_ppm);
            }
            Kind::Transfer => {
                let to = self.node();
                for id in self.ledger.roll.machines() {
                    self.ledger.order(id, Order::Transfer(to));
                }
            }
            Kind::Snapshot => self.ledger.order(id, Order::Snapshot),
            Kind::Members => {
                let settled = self.ledger.roll.is_settled();
                let change = self.ledger.roll.want(&mut self.rng);
                // Half of those that are replaced are broken for good.
                if let Some(Change::Join {
                    replaces: Some(gone),
                    ..
                }) = change
                    && settled
                    && self.rng.random()
                {
                    self.ledger.roll.retire(gone);
                }
                self.attend(world);
            }
        }
    }

    /// Sets the clock of this machine, or of the one whose clock is wrong: a majority of the clocks is right, by what any
    /// node has heard of them.
    fn step_clock(&mut self, world: &mut World, id: u64, ahead_ms: i64) {
        let now_ms = world.now_ms();
        if let Some((wrong, None)) = self.clock
            && !self.ledger.roll.serves(wrong)
        {
            self.clock = Some((wrong, Some(now_ms)));
        }
        let id = match self.clock {
            Some((_, Some(right_ms))) if right_ms + HEARD_MS < now_ms => id,
            Some((last, _)) if self.ledger.roll.serves(last) => last,
            Some(_) => return,
            None => id,
        };
        world.set_clock(id, ahead_ms);
        self.clock = Some((id, (ahead_ms == 0).then_some(now_ms)));
    }

    fn remedy(&mut self, world: &mut World, remedy: Remedy) {
        match remedy {
            Remedy::Start(id) if !self.ledger.roll.serves(id) => {}
            Remedy::Start(id) => world.start(id),
            Remedy::Resume(id) => world.resume(id),
            Remedy::Heal => {
                let given_up = self.rng.random_range(0..1_000);
                world.net().heal(given_up);
            }
            Remedy::Clear => world.net().set_weather(Weather::default()),
            Remedy::Quicken(id) => world.disk(id).set_sync_takes(Duration::ZERO),
            Remedy::Enlarge(id) => world.disk(id).set_room(None),
        }
    }

    /// Ends every fault. Clocks stay as they are: what they are off by must do no harm.
    pub fn end(&mut self, world: &mut World) {
        event!("the world is healed");
        self.attend(world);
        self.remedies.clear();
        self.remedy(world, Remedy::Heal);
        self.remedy(world, Remedy::Clear);
        for id in self.ledger.roll.machines() {
            self.remedy(world, Remedy::Quicken(id));
            self.remedy(world, Remedy::Enlarge(id));
            if world.is_paused(id) {
                world.resume(id);
            }
            // A disk that was to fail later is whole.
            if !world.disk(id).is_off() {
                world.disk(id).restart();
            }
        }
        self.revive(world);
    }

    /// Starts whatever has died.
    pub fn revive(&mut self, world: &mut World) {
        self.attend(world);
        for id in self.ledger.roll.machines() {
            let off = world.disk(id).is_off();
            if world.is_on(id) && (off || world.has_ended(id)) {
                world.kill(id, if off { Death::Power } else { Death::Process });
                self.ledger.node_down(id);
            }
            if !world.is_on(id) {
                world.disk(id).restart();
                world.start(id);
            }
        }
    }
}
