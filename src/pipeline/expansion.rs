//! How much may come out of an input, of which a few bytes can stand for many.

use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::of_file;
use super::{Failure, Fault, Limits};

impl Limits {
    /// What is exceeded when so much has come out of an input of that size, and what to do.
    pub(super) fn exceeded(&self, expanded: u64, size: u64) -> Option<(String, String)> {
        let (what, limit) = if expanded > self.max_expanded_bytes {
            (format!("more than {} bytes come out of it", self.max_expanded_bytes), "max_expanded")
        } else if expanded > Limits::FREE_BYTES.max(size.saturating_mul(self.max_expansion)) {
            (format!("more than {} bytes come out of each byte of it", self.max_expansion), "max_expansion")
        } else {
            return None;
        };
        Some((what, format!("If the file is honest, raise `{limit}` in the limits.")))
    }
}

/// Counts what comes out of one input.
pub(super) struct Expansion {
    limits: Limits,
    /// Of the input, in bytes.
    size: u64,
    expanded: AtomicU64,
}

impl Expansion {
    pub(super) fn of(size: u64, limits: Limits) -> Expansion {
        Expansion { limits, size, expanded: AtomicU64::new(0) }
    }

    /// Most columns of what a conversion makes, where each of them takes memory of its own.
    pub(super) fn max_columns(&self) -> usize {
        self.limits.max_paths
    }

    /// # Errors
    ///
    /// [`Failure::Reject`] once more has come out than the limits allow.
    pub(super) fn add(&self, bytes: u64) -> Result<(), Failure> {
        let before = self.expanded.fetch_add(bytes, Ordering::Relaxed);
        self.check(before.saturating_add(bytes))
    }

    /// The same of a row of an output, which is then told.
    pub(super) fn add_row(&self, bytes: u64, row: u64) -> Result<(), Failure> {
        self.add(bytes).map_err(|failure| match failure {
            Failure::Reject(fault) => {
                let sentence = format!("{}, from row {row} of the output on", fault.sentence);
                Failure::Reject(Fault { sentence, row: Some(row), ..fault })
            }
            failure => failure,
        })
    }

    /// The same of what was counted elsewhere.
    pub(super) fn check(&self, expanded: u64) -> Result<(), Failure> {
        match self.limits.exceeded(expanded, self.size) {
            None => Ok(()),
            Some((what, advice)) => {
                let sentence = format!("the file is refused: {what}");
                Err(Failure::Reject(of_file("expansion_exceeded", &sentence, &advice)))
            }
        }
    }
}
