//! Distinct combinations of values, as codes, and a group-by over them.

use std::hash::{BuildHasher, Hasher, RandomState};

const EMPTY: u64 = u64::MAX;
/// Combinations that are added together.
const AHEAD: usize = 32;
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

/// Combinations under construction: an open hash table of their numbers, each below the upper half of its hash, so that
/// others are hardly ever looked at. Its seed keeps values from being chosen so that they collide; no result depends on it.
pub(super) struct Builder {
    combinations: Combinations,
    slots: Vec<u64>,
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
        let mut codes = Vec::with_capacity(AHEAD * self.width);
        for (some, counts) in self.codes.chunks(AHEAD * self.width.max(1)).zip(self.counts.chunks(AHEAD)) {
            codes.clear();
            for combination in some.chunks_exact(self.width) {
                let steps = combination.iter().zip(steps);
                codes.extend(steps.map(|(code, steps)| steps.as_ref().map_or(*code, |steps| steps[*code as usize])));
            }
            builder.add_all(&codes, counts, |_| {});
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
        let (mut classes, mut codes) = (Vec::with_capacity(self.len()), Vec::with_capacity(AHEAD * width));
        for some in self.codes.chunks(AHEAD * self.width) {
            codes.clear();
            some.chunks_exact(self.width).for_each(|combination| codes.extend_from_slice(&combination[..width]));
            builder.add_all(&codes, &[1; AHEAD][..some.len() / self.width], |class| classes.push(class));
        }
        (classes, builder.combinations.len())
    }
}

impl Builder {
    pub(super) fn new(width: usize, expected: usize) -> Builder {
        let slots = vec![EMPTY; (expected * 2).next_power_of_two().max(1024)];
        let combinations = Combinations { width, codes: Vec::new(), counts: Vec::new() };
        Builder { combinations, slots, seed: RandomState::new().build_hasher().finish() }
    }

    /// Counts rows with each of up to [`AHEAD`] combinations, and tells their numbers. What a large table has of them lies
    /// far apart in memory: all is read once before any is added, so that the waits overlap.
    fn add_all(&mut self, codes: &[u32], rows: &[u64], mut tell: impl FnMut(u32)) {
        let (width, mask) = (self.combinations.width, self.slots.len() - 1);
        let (mut hashes, mut found) = ([0; AHEAD], [EMPTY; AHEAD]);
        let combinations = || codes.chunks_exact(width);
        hashes.iter_mut().zip(combinations()).for_each(|(hash, codes)| *hash = self.hash(codes));
        found.iter_mut().zip(hashes).take(rows.len()).for_each(|(slot, hash)| *slot = self.slots[hash as usize & mask]);
        let known = found.iter().filter(|slot| **slot != EMPTY).map(|slot| *slot as u32 as usize);
        std::hint::black_box(known.fold(0, |read, number| {
            read ^ u64::from(self.combinations.codes[number * width]) ^ self.combinations.counts[number]
        }));
        for ((codes, rows), hash) in combinations().zip(rows).zip(hashes) {
            tell(self.add_hashed(codes, hash, *rows));
        }
    }

    /// Counts rows with a combination; its number.
    pub(super) fn add(&mut self, codes: &[u32], rows: u64) -> u32 {
        self.add_hashed(codes, self.hash(codes), rows)
    }

    fn add_hashed(&mut self, codes: &[u32], hash: u64, rows: u64) -> u32 {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let found = self.slots[slot];
            if found == EMPTY {
                break;
            }
            let number = found as u32;
            if (found ^ hash) >> 32 == 0 && self.combinations.of(number as usize) == codes {
                self.combinations.counts[number as usize] += rows;
                return number;
            }
            slot = (slot + 1) & mask;
        }
        let number = self.combinations.len() as u32;
        self.combinations.codes.extend_from_slice(codes);
        self.combinations.counts.push(rows);
        self.slots[slot] = tagged(hash, number);
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
            let hash = self.hash(self.combinations.of(number));
            let mut slot = hash as usize & mask;
            while self.slots[slot] != EMPTY {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = tagged(hash, number as u32);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.combinations.bytes() + self.slots.len() * 8
    }

    pub(super) fn finish(self) -> Combinations {
        self.combinations
    }
}

fn tagged(hash: u64, number: u32) -> u64 {
    (hash & !u64::from(u32::MAX)) | u64::from(number)
}
