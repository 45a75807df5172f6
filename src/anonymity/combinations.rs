//! Distinct combinations of values, as codes, and a group-by over them.

use std::hash::{BuildHasher, Hasher, RandomState};

const EMPTY: u32 = u32::MAX;
/// Of the golden ratio: multiplication by it spreads bits upwards.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Combinations, each once, with the number of rows that have it.
#[derive(Clone)]
pub(super) struct Combinations {
    pub width: usize,
    /// One combination behind the other.
    codes: Vec<u32>,
    pub counts: Vec<u64>,
}

/// Combinations under construction: an open hash table of their numbers. Its seed keeps values from being chosen so that
/// they collide; no result depends on it.
pub(super) struct Builder {
    combinations: Combinations,
    slots: Vec<u32>,
    seed: u64,
}

impl Combinations {
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    pub(super) fn of(&self, index: usize) -> &[u32] {
        &self.codes[index * self.width..(index + 1) * self.width]
    }

    pub(super) fn rows(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.codes.len() * 4 + self.counts.len() * 8
    }

    /// The combinations that are left when codes are replaced: `steps` has a table for each column, absent where the
    /// column stays as it is.
    pub(super) fn rolled_up(&self, steps: &[Option<Vec<u32>>]) -> Combinations {
        let mut builder = Builder::new(self.width, self.len() / 4);
        let mut codes = vec![0; self.width];
        for index in 0..self.len() {
            for ((code, before), steps) in codes.iter_mut().zip(self.of(index)).zip(steps) {
                *code = steps.as_ref().map_or(*before, |steps| steps[*before as usize]);
            }
            builder.add(&codes, self.counts[index]);
        }
        builder.combinations
    }

    /// For each combination the number of its class, which is told by the first `width` columns, and how many classes
    /// there are.
    pub(super) fn classes(&self, width: usize) -> (Vec<u32>, usize) {
        if width == self.width {
            return ((0..self.len() as u32).collect(), self.len());
        }
        let mut builder = Builder::new(width, self.len() / 4);
        let classes = (0..self.len()).map(|index| builder.add(&self.of(index)[..width], 1));
        let classes = classes.collect();
        (classes, builder.combinations.len())
    }
}

impl Builder {
    pub(super) fn new(width: usize, expected: usize) -> Builder {
        let slots = vec![EMPTY; (expected * 2).next_power_of_two().max(1024)];
        let combinations = Combinations { width, codes: Vec::new(), counts: Vec::new() };
        Builder { combinations, slots, seed: RandomState::new().build_hasher().finish() }
    }

    /// Counts rows with a combination; its number.
    pub(super) fn add(&mut self, codes: &[u32], rows: u64) -> u32 {
        let mask = self.slots.len() - 1;
        let mut slot = self.hash(codes) as usize & mask;
        loop {
            match self.slots[slot] {
                EMPTY => break,
                found if self.combinations.of(found as usize) == codes => {
                    self.combinations.counts[found as usize] += rows;
                    return found;
                }
                _ => slot = (slot + 1) & mask,
            }
        }
        let number = self.combinations.len() as u32;
        self.combinations.codes.extend_from_slice(codes);
        self.combinations.counts.push(rows);
        self.slots[slot] = number;
        if self.combinations.len() * 2 > self.slots.len() {
            self.grow();
        }
        number
    }

    fn hash(&self, codes: &[u32]) -> u64 {
        let mixed = codes.iter().fold(self.seed, |hash, code| {
            let wide = u128::from(hash ^ u64::from(*code)) * u128::from(SPREAD | 1);
            (wide as u64) ^ ((wide >> 64) as u64)
        });
        mixed ^ (mixed >> 29)
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        self.slots.clear();
        self.slots.resize(mask + 1, EMPTY);
        for number in 0..self.combinations.len() {
            let mut slot = self.hash(self.combinations.of(number)) as usize & mask;
            while self.slots[slot] != EMPTY {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = number as u32;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.combinations.bytes() + self.slots.len() * 4
    }

    pub(super) fn finish(self) -> Combinations {
        self.combinations
    }
}
