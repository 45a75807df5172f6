//! What the cells of one column say about one class.
//!
//! The confidence is a posterior: what the writing alone says, what the column's name says, and for each distinct cell
//! that is written like the class the likelihood ratio between "is of the class" and "passes by chance". Only a dozen
//! cells' worth of evidence counts, because cells of one column are not independent.

use super::sight::Sighting;

/// Share of a class's own cells that pass: data is dirty.
const PASSES: f32 = 0.9;
/// Number of cells whose evidence counts.
const WORTH: f32 = 12.0;

/// What was seen of one class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Cells of the class, repeated ones counted.
    pub cells: u64,
    /// Distinct cells written like it, and of these the valid ones.
    pub written: u32,
    pub passed: u32,
    /// Sum of log-likelihood ratios and of the writing's log-odds over distinct cells.
    evidence: f32,
    odds: f32,
}

impl Tally {
    pub(super) fn see(&mut self, sighting: Sighting, is_new: bool) {
        self.cells += u64::from(sighting.passed);
        if !is_new {
            return;
        }
        self.written += 1;
        self.passed += u32::from(sighting.passed);
        self.odds += sighting.odds;
        self.evidence += sighting.evidence();
    }

    /// 0 to 1; `named` is what the column's name says, in log-odds.
    pub(super) fn confidence(&self, named: f32) -> f32 {
        1.0 / (1.0 + (-self.odds(named)).exp())
    }

    /// The same in log-odds, which still differ where two confidences are as good as 1.
    pub(super) fn odds(&self, named: f32) -> f32 {
        let written = self.written.max(1) as f32;
        self.odds / written + named + self.evidence / written * written.min(WORTH)
    }
}

impl Sighting {
    /// The log-likelihood ratio of one cell.
    pub(super) fn evidence(&self) -> f32 {
        if self.passed { (PASSES / self.chance).ln() } else { ((1.0 - PASSES) / (1.0 - self.chance)).ln() }
    }
}
