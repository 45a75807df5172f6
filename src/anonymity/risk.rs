//! Risks of re-identification (K. El Emam, "Guide to the De-Identification of Personal Health Information", 2013, chapter
//! 16).

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::combinations::Combinations;
use super::criteria::Classes;
use super::tally::{Counted, Tally};

/// A class of this size or less leaves its rows at risk of more than the usual threshold of 0.2.
const SMALL: u64 = 4;

/// Rows that look alike in all quasi-identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassSize {
    pub rows: u64,
    /// As many as look so in the population that the file is a sample of; a class that it lacks counts as it is.
    pub population: u64,
}

/// What somebody finds out who looks for people in a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Risk {
    pub rows: u64,
    pub classes: u64,
    /// Rows of the smallest class, the average one, and the largest.
    pub smallest: u64,
    pub average: f64,
    pub largest: u64,
    /// Rows that look like no other.
    pub uniques: u64,
    /// The attacker knows that somebody is in the file.
    pub prosecutor: Model,
    /// The attacker knows that somebody is in the population.
    pub journalist: Model,
    /// The attacker wants to recognise as many as he can: the share of rows that he will.
    pub marketer: f64,
    /// Numbers of classes and of rows by size of the class.
    pub sizes: BTreeMap<u64, Size>,
}

/// The risk of single rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Model {
    pub highest: f64,
    pub average: f64,
    /// Share of the rows whose risk is above 0.2.
    pub above_threshold: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    pub classes: u64,
    pub rows: u64,
}

/// The classes of a file as it was counted, told by its first columns; a second file that was counted is the population.
pub fn classes_of(tally: Tally, width: usize) -> Vec<ClassSize> {
    let Counted { combinations, population, .. } = tally.finish();
    let (class_of, count) = combinations.classes(width);
    let kept = vec![true; count];
    sizes(&combinations, &class_of, &kept, population.as_ref(), width)
}

/// The classes of a table that stay, and how large they are in the population at the same levels.
pub(super) fn class_sizes(
    table: &Combinations,
    classes: &Classes,
    kept: &[bool],
    population: Option<&Combinations>,
    width: usize,
) -> Vec<ClassSize> {
    sizes(table, &classes.class_of, kept, population, width)
}

fn sizes(
    table: &Combinations,
    class_of: &[u32],
    kept: &[bool],
    population: Option<&Combinations>,
    width: usize,
) -> Vec<ClassSize> {
    let mut known: HashMap<&[u32], u64> = HashMap::new();
    if let Some(population) = population {
        for (index, rows) in population.counts.iter().enumerate() {
            *known.entry(&population.of(index)[..width]).or_default() += rows;
        }
    }
    let mut sizes = vec![ClassSize { rows: 0, population: 0 }; kept.len()];
    for (index, class) in class_of.iter().enumerate() {
        let size = &mut sizes[*class as usize];
        size.rows += table.counts[index];
        size.population = known.get(&table.of(index)[..width]).copied().unwrap_or(0);
    }
    let stays = sizes.into_iter().zip(kept).filter(|(_, kept)| **kept);
    stays.map(|(size, _)| ClassSize { population: size.population.max(size.rows), ..size }).collect()
}

/// The risks of classes; `None` where there are none.
pub fn risk(classes: &[ClassSize]) -> Option<Risk> {
    let rows: u64 = classes.iter().map(|class| class.rows).sum();
    let (smallest, largest) =
        (classes.iter().map(|class| class.rows).min()?, classes.iter().map(|class| class.rows).max()?);
    let mut sizes: BTreeMap<u64, Size> = BTreeMap::new();
    for class in classes {
        let size = sizes.entry(class.rows).or_default();
        size.classes += 1;
        size.rows += class.rows;
    }
    let recognised: f64 = classes.iter().map(|class| class.rows as f64 / class.population as f64).sum();
    let marketer = recognised / rows as f64;
    let population: u64 = classes.iter().map(|class| class.population).sum();
    let count = classes.len() as f64;
    Some(Risk {
        rows,
        classes: classes.len() as u64,
        smallest,
        average: rows as f64 / count,
        largest,
        uniques: sizes.get(&1).map_or(0, |size| size.rows),
        prosecutor: model(classes, |class| class.rows, count / rows as f64),
        journalist: model(classes, |class| class.population, (count / population as f64).max(marketer)),
        marketer,
        sizes,
    })
}

fn model(classes: &[ClassSize], size: impl Fn(&ClassSize) -> u64, average: f64) -> Model {
    let rows: u64 = classes.iter().map(|class| class.rows).sum();
    let at_risk: u64 = classes.iter().filter(|class| size(class) <= SMALL).map(|class| class.rows).sum();
    let smallest = classes.iter().map(size).min().unwrap_or(1);
    Model { highest: 1.0 / smallest as f64, average, above_threshold: at_risk as f64 / rows as f64 }
}
