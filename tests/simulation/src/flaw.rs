//! What is done wrong on purpose: a simulation that does not see it sees nothing.

use crate::plan::{Deed, LOAD_MS, Plan};
use crate::world::World;

/// Every node loses its power so long before the last call begins.
const POWER_MS: u64 = 6_000;

/// Something that is wrong beneath or around the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Disks say that they have synced and have not.
    Lies,
    /// No BYE reaches a phone.
    Mute,
    /// The first node stores some records twice, each in the place of another.
    Muddle,
}

impl Flaw {
    /// By its name on the command line.
    pub fn of(name: &str) -> Option<Flaw> {
        match name {
            "lies" => Some(Flaw::Lies),
            "mute" => Some(Flaw::Mute),
            "muddle" => Some(Flaw::Muddle),
            _ => None,
        }
    }

    /// What must happen for it to show.
    pub fn provoke(self, plan: &mut Plan) {
        if self != Flaw::Lies {
            return;
        }
        let at = LOAD_MS - POWER_MS;
        plan.deeds.retain(|(when, _)| *when < at);
        plan.deeds.push((at, Deed::KillAll));
        let starts = (0..plan.nodes as usize).map(|node| (at + 1_000, Deed::Start { node }));
        plan.deeds.extend(starts);
    }

    /// From now on.
    pub fn begin(self, world: &mut World) {
        match self {
            Flaw::Lies => world
                .machines
                .iter()
                .for_each(|one| one.disk.set_lies(true)),
            Flaw::Mute => world.mute = true,
            Flaw::Muddle => world.machines[0].shelf.look().muddled = true,
        }
    }
}
