//! Keyed digests of values, and which of them are remembered.

use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use polars_arrow::array::{Utf8ViewArray, View};
use rand_core::{OsRng, RngCore};

/// Digests under a key of this output's own.
pub(in crate::pipeline) struct Digests {
    key: RandomState,
    /// Low bits that a digest must not have to be remembered: the same values are chosen on every side.
    sample: AtomicU64,
}

impl Digests {
    pub(in crate::pipeline) fn new() -> Digests {
        let mut seeds = [0; 4];
        seeds.iter_mut().for_each(|seed| *seed = OsRng.next_u64());
        let [a, b, c, d] = seeds;
        Digests { key: RandomState::with_seeds(a, b, c, d), sample: AtomicU64::new(0) }
    }

    /// The digest of a cell. Short ones stand in their view, whatever column they are of.
    #[inline]
    pub(super) fn of(&self, cells: &Utf8ViewArray, cell: usize, view: &View) -> u64 {
        if view.is_inline() { self.key.hash_one(view.as_u128()) } else { self.key.hash_one(cells.value(cell)) }
    }

    pub(super) fn sample(&self) -> u64 {
        self.sample.load(Ordering::Relaxed)
    }

    pub(super) fn narrow(&self, sample: u64) {
        self.sample.store(sample, Ordering::Relaxed);
    }
}
