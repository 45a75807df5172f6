//! From counted combinations to the levels, the rows that go, and what then holds.

use std::collections::HashMap;

use super::chooser::Chooser;
use super::criteria::{Demands, measure as measure_classes};
use super::model::Anonymity;
use super::report::{AnonymityReport, LevelReport, SensitiveReport, UtilityReport};
use super::risk::{ClassSize, class_sizes};
use super::search::{Look, Search, Space};
use super::tally::{Counted, Tally};
use super::utility::Prices;

/// What is done to the rows.
pub struct Decision {
    /// By quasi-identifier, from 0.
    pub levels: Vec<u32>,
    /// Rows that are left out.
    pub suppressed: u64,
    /// Tells these rows.
    pub chooser: Chooser,
    /// The classes that stay.
    pub classes: Vec<ClassSize>,
    pub report: AnonymityReport,
}

/// What is asked for cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmet {
    pub rows: u64,
    /// Rows that would have to go at the levels that were frozen, else at the coarsest.
    pub suppressed: u64,
    pub most_suppressed: u64,
    pub frozen: bool,
}

/// Chooses levels and rows so that what is asked for holds, with the least loss.
///
/// # Errors
///
/// [`Unmet`] where no levels will do, or those that are frozen do not.
pub fn decide(tally: Tally, asked: &Anonymity, progress: &dyn Fn()) -> Result<Decision, Unmet> {
    let Counted { ladders, mut texts, combinations, population } = tally.finish();
    let rows = combinations.rows();
    let count = asked.quasi_identifiers.len();
    let ranks = texts[count..].iter().map(ranks).collect();
    let demands = Demands::new(asked, ranks, rows);
    let space = Space { ladders: ladders.into_iter().take(count).collect(), table: combinations };
    let limits = (demands.k, demands.most_suppressed);
    let prices = Prices::new(asked.utility, &space.ladders, &space.table, limits);
    let frozen = frozen(asked, &space);
    let levels = match &frozen {
        Some(levels) => Some(levels.clone()),
        None if rows == 0 => Some(vec![0; count]),
        None => Search::new(&space, &demands, &prices, progress).run(),
    };
    let mut look = space.look(levels.as_ref().unwrap_or(&space.coarsest()), &demands);
    let suppressed = look.judged.suppressed;
    let Some(levels) = levels.filter(|_| demands.are_met(suppressed, rows)) else {
        return Err(Unmet { rows, suppressed, most_suppressed: demands.most_suppressed, frozen: frozen.is_some() });
    };
    let loss = prices.of(&levels, &look.table, &look.classes, &look.judged);
    let steps = levels.iter().zip(&space.ladders).map(|(level, ladder)| ladder.between(0, *level)).collect();
    texts.truncate(count);
    let population = population.map(|population| space.rolled_up(&vec![0; count], &population, &levels));
    let classes = class_sizes(&look.table, &look.classes, &look.judged.kept, population.as_ref(), count);
    Ok(Decision {
        classes,
        report: AnonymityReport {
            utility: Some(UtilityReport { measure: asked.utility, loss }),
            frozen: frozen.is_some(),
            ..report(asked, &demands, &mut look, Some(&levels))
        },
        chooser: Chooser { texts, steps, gone: gone(&look, count) },
        suppressed,
        levels: levels.into_iter().map(|level| level as u32).collect(),
    })
}

/// Says what holds of rows that all stay as they are.
pub fn measure(tally: Tally, asked: &Anonymity) -> AnonymityReport {
    let Counted { ladders, texts, combinations, .. } = tally.finish();
    let count = asked.quasi_identifiers.len();
    let ranks = texts[count..].iter().map(ranks).collect();
    // Nothing is left out here.
    let asked = Anonymity { max_suppressed: 0.0, ..asked.clone() };
    let demands = Demands::new(&asked, ranks, combinations.rows());
    let space = Space { ladders: ladders.into_iter().take(count).collect(), table: combinations };
    let mut look = space.look(&vec![0; count], &demands);
    let holds = look.judged.suppressed == 0;
    look.judged.kept.fill(true);
    AnonymityReport { holds, ..report(&asked, &demands, &mut look, None) }
}

/// The levels that were chosen before, where they are some of this policy.
fn frozen(asked: &Anonymity, space: &Space) -> Option<Vec<usize>> {
    let frozen = asked.frozen.as_ref()?;
    let levels: Vec<usize> = frozen.iter().map(|level| *level as usize).collect();
    let fit = levels.iter().zip(&space.ladders).all(|(level, ladder)| *level < ladder.levels());
    (levels.len() == space.ladders.len() && fit).then_some(levels)
}

fn gone(look: &Look, quasi_identifiers: usize) -> std::collections::HashSet<Box<[u32]>> {
    let Look { table, classes, judged } = look;
    let members = classes.class_of.iter().enumerate().filter(|(_, class)| !judged.kept[**class as usize]);
    members.map(|(index, _)| table.of(index)[..quasi_identifiers].into()).collect()
}

fn report(asked: &Anonymity, demands: &Demands, look: &mut Look, levels: Option<&[usize]>) -> AnonymityReport {
    let Look { table, classes, judged } = look;
    let achieved = measure_classes(table, classes, &judged.kept, demands);
    let kept = || classes.sizes.iter().zip(&judged.kept).filter(|(_, kept)| **kept).map(|(size, _)| *size);
    let levels = asked.quasi_identifiers.iter().enumerate().map(|(place, it)| {
        let has_levels = !it.levels.is_empty();
        LevelReport {
            column: it.column.clone(),
            level: levels.filter(|_| has_levels).map(|levels| it.first_level + levels[place] as u32),
            coarsest: has_levels.then(|| it.first_level + it.levels.len() as u32 - 1),
        }
    });
    let sensitive = demands.sensitive.iter().zip(achieved).map(|(demand, achieved)| SensitiveReport {
        column: demand.asked.column.clone(),
        l_distinct: achieved.map(|it| it.distinct),
        l_entropy: achieved.map(|it| it.entropy),
        t: achieved.map(|it| it.distance),
        distance: demand.asked.distance,
    });
    AnonymityReport {
        mode: asked.mode,
        holds: true,
        k: kept().min(),
        classes: kept().count() as u64,
        quasi_identifiers: levels.collect(),
        sensitive: sensitive.collect(),
        utility: None,
        frozen: false,
    }
}

/// For each code the place of its text among all: numbers and intervals by size, where all are such, else texts by spelling.
fn ranks(texts: &HashMap<Box<str>, u32>) -> Vec<u32> {
    let mut all: Vec<(&str, u32)> = texts.iter().map(|(text, code)| (&**text, *code)).collect();
    all.sort_unstable();
    let numbers: Option<Vec<f64>> = all.iter().map(|(text, _)| number(text)).collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    if let Some(numbers) = numbers {
        order.sort_by(|a, b| numbers[*a].total_cmp(&numbers[*b]));
    }
    let mut ranks = vec![0; all.len()];
    for (rank, place) in order.into_iter().enumerate() {
        ranks[all[place].1 as usize] = rank as u32;
    }
    ranks
}

/// A number, or the lower end of an interval; what is empty comes first.
fn number(text: &str) -> Option<f64> {
    if text.is_empty() {
        return Some(f64::NEG_INFINITY);
    }
    let start = text.trim_start_matches(['[', '(']);
    let number = start.split(',').next().unwrap_or(start).trim();
    number.parse().ok().filter(|number: &f64| !number.is_nan())
}
