//! Dice, and what random histories are made of.

/// A splitmix64 stream.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ 0x5bf0_3635_dee9_7f1d)
    }

    pub fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.throw() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn of<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let n = self.below(items.len().max(1) as u64) as usize;
        items.get(n).copied()
    }
}

/// What happens next; which of what is there is chosen by the step's own dice, so a step means something after any
/// other steps and a history can be shortened.
pub type Step = (What, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Call,
    Fail,
    Confirm,
    Answer,
    Accept,
    Renew,
    Unbind,
    FailUnbind,
    HangUp,
    AskUnbind,
    AskAx,
    RunAx,
    Deliver,
    Wait,
    Claim,
    LoseNode,
    EditX,
    EditA,
    EditAx,
    EditGateway,
    EditInterface,
    Pay,
    Store,
    Repeat,
}

pub use What::*;

/// Steps by how often they come.
const MIX: [(What, u64); 24] = [
    (Call, 24),
    (Fail, 9),
    (Confirm, 12),
    (Answer, 7),
    (Accept, 3),
    (Renew, 1),
    (Unbind, 16),
    (FailUnbind, 2),
    (HangUp, 12),
    (AskUnbind, 2),
    (AskAx, 7),
    (RunAx, 8),
    (Deliver, 2),
    (Wait, 6),
    (Claim, 2),
    (LoseNode, 1),
    (EditX, 4),
    (EditA, 2),
    (EditAx, 3),
    (EditGateway, 2),
    (EditInterface, 2),
    (Pay, 1),
    (Store, 1),
    (Repeat, 3),
];

/// The steps of a history.
pub fn steps(dice: &mut Dice) -> Vec<Step> {
    let whole: u64 = MIX.iter().map(|(_, weight)| weight).sum();
    let draw = |dice: &mut Dice| {
        let mut left = dice.below(whole);
        let part = MIX.iter().find(|(_, weight)| {
            let here = left < *weight;
            left = left.saturating_sub(if here { 0 } else { *weight });
            here
        });
        part.expect("the draw lies below the whole").0
    };
    let many = 10 + dice.below(40);
    (0..many).map(|_| (draw(dice), dice.throw())).collect()
}
