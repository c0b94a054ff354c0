//! Sets of row ids that can be counted and indexed: the free numbers of a pool.
//!
//! The k-th member is the k-th smallest id, so what a draw picks depends on the content of the set alone and never on
//! the order in which it came about. Few members are a sorted list; many are blocks of 4,096 bits with counts, so that
//! a draw looks at the counts and one cache line of bits. Blocks are shared between clones.

use std::sync::Arc;

const LIST_MAX: usize = 48;
const BLOCK_BITS: u32 = 12;
const WORDS: usize = 1 << (BLOCK_BITS - 6);
/// Words that are counted together: a cache line.
const RUN: usize = 8;

/// A set of ids.
#[derive(Clone, Debug)]
pub(super) enum Ids {
    List(Vec<u32>),
    Blocks { len: u32, blocks: Vec<Block> },
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    /// The ids' upper bits.
    base: u32,
    len: u32,
    /// Members in each run of words.
    runs: [u16; WORDS / RUN],
    words: Arc<Words>,
}

#[derive(Clone, Debug)]
#[repr(align(64))]
struct Words([u64; WORDS]);

impl Block {
    fn new(base: u32) -> Self {
        Block {
            base,
            len: 0,
            runs: [0; WORDS / RUN],
            words: Arc::new(Words([0; WORDS])),
        }
    }

    fn contains(&self, id: u32) -> bool {
        let (word, bit) = place(id);
        self.words.0[word] & bit != 0
    }

    /// Puts a member in that is not there, or takes one out that is.
    fn flip(&mut self, id: u32) {
        let (word, bit) = place(id);
        let words = &mut Arc::make_mut(&mut self.words).0;
        words[word] ^= bit;
        if words[word] & bit != 0 {
            self.len += 1;
            self.runs[word / RUN] += 1;
        } else {
            self.len -= 1;
            self.runs[word / RUN] -= 1;
        }
    }

    fn nth(&self, k: u32) -> Option<u32> {
        let mut left = k;
        let mut runs = self.runs.iter();
        let run = runs.position(|members| is_among(&mut left, u32::from(*members)))?;
        let mut words = self.words.0[run * RUN..][..RUN].iter();
        let word = words.position(|word| is_among(&mut left, word.count_ones()))? + run * RUN;
        let mut bits = self.words.0[word];
        for _ in 0..left {
            bits &= bits - 1;
        }
        Some(self.base << BLOCK_BITS | (word as u32) << 6 | bits.trailing_zeros())
    }
}

/// Whether the member that `left` others come before is one of the next `here`; else these are counted off.
fn is_among(left: &mut u32, here: u32) -> bool {
    let among = *left < here;
    if !among {
        *left -= here;
    }
    among
}

impl Default for Ids {
    fn default() -> Self {
        Ids::List(Vec::new())
    }
}

impl PartialEq for Ids {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Ids {
    pub(super) fn len(&self) -> u32 {
        match self {
            Ids::List(list) => list.len() as u32,
            Ids::Blocks { len, .. } => *len,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        match self {
            Ids::List(list) => list.binary_search(&id).is_ok(),
            Ids::Blocks { blocks, .. } => match find(blocks, id >> BLOCK_BITS) {
                Ok(at) => blocks[at].contains(id),
                Err(_) => false,
            },
        }
    }

    /// Puts `id` in or takes it out.
    pub(super) fn set(&mut self, id: u32, member: bool) {
        if self.contains(id) == member {
            return;
        }
        match self {
            Ids::List(list) => match list.binary_search(&id) {
                Ok(at) => {
                    list.remove(at);
                }
                Err(at) => {
                    list.insert(at, id);
                    if list.len() > LIST_MAX {
                        self.spread();
                    }
                }
            },
            Ids::Blocks { len, blocks } => {
                let at = match find(blocks, id >> BLOCK_BITS) {
                    Ok(at) => at,
                    Err(at) => {
                        blocks.insert(at, Block::new(id >> BLOCK_BITS));
                        at
                    }
                };
                blocks[at].flip(id);
                if member {
                    *len += 1;
                } else {
                    *len -= 1;
                    if blocks[at].len == 0 {
                        blocks.remove(at);
                    }
                }
                // Half the limit, so that a set at the border does not change its form at every step.
                if (*len as usize) < LIST_MAX / 2 {
                    *self = Ids::List(self.iter().collect());
                }
            }
        }
    }

    /// The `k`-th smallest member.
    pub(super) fn nth(&self, k: u32) -> Option<u32> {
        match self {
            Ids::List(list) => list.get(k as usize).copied(),
            Ids::Blocks { blocks, .. } => {
                let mut left = k;
                let block = blocks.iter().find(|block| is_among(&mut left, block.len))?;
                block.nth(left)
            }
        }
    }

    /// All members, rising.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let (list, blocks): (&[u32], &[Block]) = match self {
            Ids::List(list) => (list, &[]),
            Ids::Blocks { blocks, .. } => (&[], blocks),
        };
        let spread = blocks.iter().flat_map(|block| {
            block
                .words
                .0
                .iter()
                .enumerate()
                .flat_map(move |(index, &word)| {
                    let mut word = word;
                    std::iter::from_fn(move || {
                        (word != 0).then(|| {
                            let bit = word.trailing_zeros();
                            word &= word - 1;
                            block.base << BLOCK_BITS | (index as u32) << 6 | bit
                        })
                    })
                })
        });
        list.iter().copied().chain(spread)
    }

    fn spread(&mut self) {
        let Ids::List(list) = self else { return };
        let list = std::mem::take(list);
        *self = Ids::Blocks {
            len: 0,
            blocks: Vec::new(),
        };
        // Filled block by block: `set` on a nearly empty set would turn it back into a list.
        let Ids::Blocks { len, blocks } = self else {
            return;
        };
        for id in list {
            let base = id >> BLOCK_BITS;
            if blocks.last().is_none_or(|block| block.base != base) {
                blocks.push(Block::new(base));
            }
            let block = blocks.last_mut().expect("pushed above when there was none");
            block.flip(id);
            *len += 1;
        }
    }
}

/// The block of this base. While ids are dense it stands at its own number.
fn find(blocks: &[Block], base: u32) -> Result<usize, usize> {
    match blocks.get(base as usize) {
        Some(block) if block.base == base => Ok(base as usize),
        _ => blocks.binary_search_by_key(&base, |block| block.base),
    }
}

fn place(id: u32) -> (usize, u64) {
    let low = id & ((1 << BLOCK_BITS) - 1);
    ((low >> 6) as usize, 1 << (low & 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_as_a_sorted_set(steps in proptest::collection::vec((0u32..9000, any::<bool>()), 0..400)) {
            let mut ids = Ids::default();
            let mut model = BTreeSet::new();
            for (id, member) in steps {
                ids.set(id, member);
                if member { model.insert(id); } else { model.remove(&id); }
                prop_assert_eq!(ids.len() as usize, model.len());
            }
            prop_assert!(ids.iter().eq(model.iter().copied()));
            for (k, id) in model.iter().enumerate() {
                prop_assert_eq!(ids.nth(k as u32), Some(*id));
                prop_assert!(ids.contains(*id));
            }
            prop_assert_eq!(ids.nth(model.len() as u32), None);
        }
    }

    #[test]
    fn form_does_not_matter_to_equality() {
        let mut grown = Ids::default();
        (0..100).for_each(|id| grown.set(id, true));
        (30..100).for_each(|id| grown.set(id, false));
        let mut small = Ids::default();
        (0..30).for_each(|id| small.set(id, true));
        assert_eq!(grown, small);
    }
}
