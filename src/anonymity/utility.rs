//! What generalisation and suppression cost.

use super::combinations::Combinations;
use super::criteria::{Classes, Judged};
use super::ladder::Ladder;
use super::model::Utility;

/// What each level of each column costs, worked out once.
pub(super) struct Prices {
    utility: Utility,
    /// By column and level.
    entropy: Vec<Vec<f64>>,
    /// By column, level and code: the share of the column's values that a cell stands for beside its own.
    share: Vec<Vec<Vec<f64>>>,
    /// By column and level: the mean share over all rows.
    mean_share: Vec<Vec<f64>>,
    rows: u64,
    k: u64,
    most_suppressed: u64,
}

impl Prices {
    pub(super) fn new(
        utility: Utility,
        ladders: &[Ladder],
        table: &Combinations,
        (k, most_suppressed): (u64, u64),
    ) -> Prices {
        let rows = table.rows();
        let (mut entropy, mut share, mut mean_share) = (Vec::new(), Vec::new(), Vec::new());
        for (column, ladder) in ladders.iter().enumerate() {
            let counts = counts(ladder, table, column);
            entropy.push((0..ladder.levels()).map(|level| column_entropy(ladder, &counts, level)).collect());
            let shares: Vec<Vec<f64>> = (0..ladder.levels()).map(|level| shares(ladder, level)).collect();
            let mean = |(level, shares): (usize, &Vec<f64>)| {
                let lost = counts[level].iter().zip(shares).map(|(rows, share)| *rows as f64 * share);
                sum(lost) / rows.max(1) as f64
            };
            mean_share.push(shares.iter().enumerate().map(mean).collect());
            share.push(shares);
        }
        Prices { utility, entropy, share, mean_share, rows, k, most_suppressed }
    }

    /// Whether what a node costs is told by its levels alone, and grows with them.
    pub(super) fn is_monotonic(&self) -> bool {
        self.utility == Utility::Entropy
    }

    /// What neither a node nor any above it can cost less than, as far as its levels tell.
    pub(super) fn floor(&self, levels: &[usize]) -> f64 {
        let sum =
            |prices: &[Vec<f64>]| levels.iter().zip(prices).map(|(level, of_column)| of_column[*level]).sum::<f64>();
        match self.utility {
            Utility::Entropy => sum(&self.entropy),
            Utility::Loss => sum(&self.mean_share) / levels.len().max(1) as f64,
            Utility::Discernibility | Utility::ClassSize => 0.0,
        }
    }

    /// The same, as far as a node's classes tell.
    pub(super) fn floor_of_classes(&self, levels: &[usize], classes: &Classes) -> f64 {
        match self.utility {
            Utility::Entropy | Utility::Loss => self.floor(levels),
            Utility::Discernibility => squares(classes.sizes.iter()),
            Utility::ClassSize => {
                (self.rows - self.most_suppressed) as f64 / classes.sizes.len().max(1) as f64 / self.k as f64
            }
        }
    }

    /// What a node costs.
    pub(super) fn of(&self, levels: &[usize], table: &Combinations, classes: &Classes, judged: &Judged) -> f64 {
        let kept = || classes.sizes.iter().zip(&judged.kept).filter(|(_, kept)| **kept).map(|(size, _)| size);
        match self.utility {
            Utility::Entropy => self.floor(levels),
            Utility::Loss => self.loss(levels, table, classes, judged),
            Utility::Discernibility => squares(kept()) + judged.suppressed as f64 * self.rows as f64,
            Utility::ClassSize => kept().sum::<u64>() as f64 / kept().count().max(1) as f64 / self.k as f64,
        }
    }

    fn loss(&self, levels: &[usize], table: &Combinations, classes: &Classes, judged: &Judged) -> f64 {
        let cells = (self.rows * levels.len() as u64).max(1) as f64;
        let mut lost = judged.suppressed as f64 * levels.len() as f64;
        for (index, class) in classes.class_of.iter().enumerate() {
            if judged.kept[*class as usize] {
                let shares = levels.iter().zip(&self.share).zip(table.of(index));
                let share: f64 = shares.map(|((level, shares), code)| shares[*level][*code as usize]).sum();
                lost += table.counts[index] as f64 * share;
            }
        }
        lost / cells
    }
}

/// The sum does not depend on the order in which values were met.
fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    let mut terms: Vec<f64> = terms.collect();
    terms.sort_unstable_by(f64::total_cmp);
    terms.into_iter().sum()
}

fn squares<'a>(sizes: impl Iterator<Item = &'a u64>) -> f64 {
    sizes.map(|size| u128::from(*size) * u128::from(*size)).sum::<u128>() as f64
}

/// Rows by level and code.
fn counts(ladder: &Ladder, table: &Combinations, column: usize) -> Vec<Vec<u64>> {
    let mut finest = vec![0; ladder.sizes[0]];
    for index in 0..table.len() {
        finest[table.of(index)[column] as usize] += table.counts[index];
    }
    let mut all = vec![finest];
    for (step, size) in ladder.steps.iter().zip(&ladder.sizes[1..]) {
        let mut coarser = vec![0; *size];
        let finer = &all[all.len() - 1];
        step.iter().zip(finer).for_each(|(to, rows)| coarser[*to as usize] += rows);
        all.push(coarser);
    }
    all
}

/// Non-uniform entropy: for each row the bits that tell its value from the others that look alike (A. De Waal and L.
/// Willenborg, "Information loss through global recoding and local suppression", 1999).
fn column_entropy(ladder: &Ladder, counts: &[Vec<u64>], level: usize) -> f64 {
    let Some(steps) = ladder.between(0, level) else { return 0.0 };
    let bits = counts[0]
        .iter()
        .zip(&steps)
        .filter(|(rows, _)| **rows > 0)
        .map(|(rows, to)| *rows as f64 * (counts[level][*to as usize] as f64 / *rows as f64).log2());
    sum(bits)
}

/// For each code of a level the other values that it stands for, of all others (V. Iyengar, "Transforming Data to Satisfy
/// Privacy Constraints", 2002).
fn shares(ladder: &Ladder, level: usize) -> Vec<f64> {
    let mut values = vec![0_u64; ladder.sizes[level]];
    match ladder.between(0, level) {
        None => values.fill(1),
        Some(steps) => steps.iter().for_each(|to| values[*to as usize] += 1),
    }
    let others = ladder.sizes[0].saturating_sub(1).max(1) as f64;
    values.into_iter().map(|values| values.saturating_sub(1) as f64 / others).collect()
}
