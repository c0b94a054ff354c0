//! Sets of row ids that can be counted and indexed: the free numbers of a pool.
//!
//! The k-th member is the k-th smallest id, so what a draw picks depends on the content of the set alone and never on
//! the order in which it came about. Few members are a sorted list; many are blocks of 4,096 bits with counts. Blocks
//! are shared between clones.

use std::sync::Arc;

const LIST_MAX: usize = 48;
const BLOCK_BITS: u32 = 12;
const WORDS: usize = 1 << (BLOCK_BITS - 6);

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
    words: Arc<[u64; WORDS]>,
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
            Ids::Blocks { blocks, .. } => {
                match blocks.binary_search_by_key(&(id >> BLOCK_BITS), |b| b.base) {
                    Ok(at) => {
                        let (word, bit) = place(id);
                        blocks[at].words[word] & bit != 0
                    }
                    Err(_) => false,
                }
            }
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
                let at = match blocks.binary_search_by_key(&(id >> BLOCK_BITS), |b| b.base) {
                    Ok(at) => at,
                    Err(at) => {
                        blocks.insert(
                            at,
                            Block {
                                base: id >> BLOCK_BITS,
                                len: 0,
                                words: Arc::new([0; WORDS]),
                            },
                        );
                        at
                    }
                };
                let block = &mut blocks[at];
                let (word, bit) = place(id);
                Arc::make_mut(&mut block.words)[word] ^= bit;
                if member {
                    block.len += 1;
                    *len += 1;
                } else {
                    block.len -= 1;
                    *len -= 1;
                    if block.len == 0 {
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
                let block = blocks.iter().find(|block| {
                    let here = left < block.len;
                    if !here {
                        left -= block.len;
                    }
                    here
                })?;
                for (index, &word) in block.words.iter().enumerate() {
                    let ones = word.count_ones();
                    if left < ones {
                        let mut word = word;
                        for _ in 0..left {
                            word &= word - 1;
                        }
                        return Some(
                            block.base << BLOCK_BITS | (index as u32) << 6 | word.trailing_zeros(),
                        );
                    }
                    left -= ones;
                }
                None
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
            if blocks
                .last()
                .is_none_or(|block| block.base != id >> BLOCK_BITS)
            {
                blocks.push(Block {
                    base: id >> BLOCK_BITS,
                    len: 0,
                    words: Arc::new([0; WORDS]),
                });
            }
            let block = blocks.last_mut().expect("pushed above when there was none");
            let (word, bit) = place(id);
            Arc::make_mut(&mut block.words)[word] |= bit;
            block.len += 1;
            *len += 1;
        }
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
