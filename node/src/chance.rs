//! Chance, as far as a node decides anything by it: what must not be guessed in its tags and Call-IDs, the digits that
//! dial rules leave open, the name of a process's claim.

use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Where a node's chance comes from.
#[derive(Debug, Default)]
pub struct Chance(Option<Mutex<StdRng>>);

impl Chance {
    /// This machine's.
    pub fn of_machine() -> Self {
        Chance(None)
    }

    /// The same draws for the same seed, for simulations: whoever knows the seed can guess them.
    pub fn seeded(seed: u64) -> Self {
        Chance(Some(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Any number.
    pub fn draw(&self) -> u64 {
        self.with(|rng| rng.random(), rand::random)
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&self, bound: u32) -> u32 {
        let range = 0..bound.max(1);
        self.with(
            |rng| rng.random_range(range.clone()),
            || rand::random_range(range.clone()),
        )
    }

    fn with<T>(&self, seeded: impl FnOnce(&mut StdRng) -> T, machine: impl FnOnce() -> T) -> T {
        match &self.0 {
            // A generator is whole after every draw.
            Some(rng) => seeded(&mut rng.lock().unwrap_or_else(PoisonError::into_inner)),
            None => machine(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_draws_the_same_again_and_another_seed_does_not() {
        let drawn = |chance: Chance| [chance.draw(), chance.draw(), u64::from(chance.below(1_000))];
        assert_eq!(drawn(Chance::seeded(7)), drawn(Chance::seeded(7)));
        assert_ne!(drawn(Chance::seeded(7)), drawn(Chance::seeded(8)));
        assert_ne!(drawn(Chance::of_machine()), drawn(Chance::of_machine()));
        assert_eq!(Chance::of_machine().below(0), 0);
    }
}
