//! Pools that break a rule, to see whether their history gives them away.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tandem_cluster::command::{CallId, Command, Effect, Refusal, Reply, Reserve, Unbound};
use tandem_cluster::handle::Machine;
use tandem_cluster::state::State;
use tandem_cluster::state::testing::PerPeriod;

/// What is wrong with a pool. Each mistake is made at one chance in [`ONE_IN`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Breach {
    /// It takes the oldest binding for gone and lends its X and pair again.
    LendsWhatIsHeld,
    /// It says that a binding is gone and keeps it.
    LosesReleases,
    /// It refuses although a pair is free.
    RefusesForNothing,
    /// It takes the repeat of a call's asking for another call's. Whenever there is one.
    ForgetsWhoAsked,
    /// Whoever looks is shown what was there up to 200 ms ago. Always.
    ShowsTheOld,
}

const ONE_IN: u64 = 20;

/// A state in which the numbers of the pool can be looked at.
pub trait Pooled: Machine<Command = Command, Reply = Reply> {
    /// The switch's state.
    fn pool(&self) -> &State;
}

impl Pooled for State {
    fn pool(&self) -> &State {
        self
    }
}

/// The switch's state under somebody who breaks a rule.
#[derive(Clone, Serialize, Deserialize)]
pub struct Lawless(State);

impl Pooled for Lawless {
    fn pool(&self) -> &State {
        &self.0
    }
}

impl Machine for Lawless {
    type Command = Command;
    type Reply = Reply;
    type Effect = Effect;
    type Context = Breach;

    fn initial() -> Self {
        Lawless(State::new())
    }

    fn apply_one(
        &mut self,
        at: u64,
        seed: u64,
        command: &Command,
        breach: &Breach,
    ) -> (Reply, Vec<Effect>) {
        let tempted = seed.is_multiple_of(ONE_IN);
        match (breach, command) {
            (Breach::LendsWhatIsHeld, Command::Reserve(_)) if tempted => self.forget(at, seed),
            (Breach::LosesReleases, Command::Unbound(_)) if tempted => {
                return (Reply::Done, vec![]);
            }
            (Breach::RefusesForNothing, Command::Reserve(_)) if tempted => {
                return (Reply::Refused(Refusal::NoAxbNumber), vec![]);
            }
            (Breach::ForgetsWhoAsked, Command::Reserve(asked))
                if self.0.call(asked.call).is_some() =>
            {
                let other = Command::Reserve(Reserve {
                    call: CallId(asked.call.0 | 1 << 31),
                    ..asked.clone()
                });
                return self.0.apply(at, seed, &other, &PerPeriod);
            }
            _ => {}
        }
        self.0.apply(at, seed, command, &PerPeriod)
    }

    fn set_voters(&mut self, voters: BTreeSet<u64>) {
        self.0.set_voters(voters);
    }
}

impl Lawless {
    fn forget(&mut self, at: u64, seed: u64) {
        let Some((binding, epoch)) = self
            .0
            .bindings()
            .map(|binding| (binding.id, binding.owner))
            .next()
        else {
            return;
        };
        let unbound = Command::Unbound(Unbound {
            binding,
            epoch,
            missing: false,
        });
        self.0.apply(at, seed, &unbound, &PerPeriod);
    }
}
