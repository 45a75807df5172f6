//! Which rows of an output are left out, told by cells of theirs, and whether they are too many.
//!
//! Rules tell a row by itself. Where anonymity is asked for, the rows are counted on their way, or told by what was counted
//! before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use polars::prelude::StringChunked;

use super::fault::{of_file, quoted};
use super::source::retry;
use super::{Failure, Fault};
use crate::anonymity::{Anonymity, AnonymityReport, Cells, Chooser, Decision, Levels, Mode, Refused, Tally, measure};
use crate::keys::MaskingKeys;
use crate::mask::{Mask, OnMistyped};
use crate::policy::{Policy, RowRule, normalise};

/// The rules of one output about rows, and what they have left out so far. It is shared by the masking threads.
pub(super) struct Sieve {
    policy: String,
    /// What is looked at in each row, as the rules spell it.
    columns: Vec<String>,
    rules: Vec<Counted>,
    /// Rows that a rule cannot tell are left out, too, instead of refusing the file.
    takes_untold: bool,
    grouping: Option<Grouping>,
}

struct Counted {
    rule: RowRule,
    /// Place of its column.
    place: usize,
    rows: AtomicU64,
}

/// What is done with rows because of all others.
struct Grouping {
    /// For each column that counts its place, and that of the one that its mask looks at.
    places: Vec<(usize, Option<usize>)>,
    levels: Levels,
    deed: Deed,
}

enum Deed {
    /// Counts rows, which all go on.
    Watch { tally: Mutex<Option<Tally>>, asked: Anonymity },
    /// Counts rows and lets none through.
    Count { tally: Mutex<Option<Tally>>, rows: AtomicU64 },
    /// Leaves out what was found before.
    Choose { chooser: Chooser, expected: u64, report: AnonymityReport, rows: AtomicU64 },
}

/// What became of an input's rows in one output.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    pub out: u64,
    pub suppressed: u64,
    pub anonymity: Option<AnonymityReport>,
}

impl Rows {
    pub(super) fn all(out: u64) -> Rows {
        Rows { out, suppressed: 0, anonymity: None }
    }
}

impl Sieve {
    /// `None` where the policy says nothing about rows.
    pub(super) fn of(policy: &Policy, keys: &MaskingKeys) -> Option<Sieve> {
        let grouping = policy.anonymity.as_ref().map(|asked| {
            let levels = levels(policy, keys, usize::MAX);
            let tally = Mutex::new(Some(Tally::new(&levels)));
            (levels, Deed::Watch { tally, asked: asked.clone() })
        });
        let sieve = Sieve::new(policy, grouping);
        (!sieve.columns.is_empty()).then_some(sieve)
    }

    /// For a first reading, which only counts; a tally that was begun goes on.
    pub(super) fn counting(policy: &Policy, keys: &MaskingKeys, begun: Option<Tally>) -> Sieve {
        let levels = levels(policy, keys, usize::MAX);
        let tally = Mutex::new(Some(begun.unwrap_or_else(|| Tally::new(&levels))));
        Sieve::new(policy, Some((levels, Deed::Count { tally, rows: AtomicU64::new(0) })))
    }

    /// For the reading after it.
    pub(super) fn choosing(policy: &Policy, decision: Decision, keys: &MaskingKeys) -> Sieve {
        let levels = levels(policy, keys, decision.levels.len());
        let Decision { suppressed, chooser, report, .. } = decision;
        let deed = Deed::Choose { chooser, expected: suppressed, report, rows: AtomicU64::new(0) };
        Sieve::new(policy, Some((levels, deed)))
    }

    fn new(policy: &Policy, grouping: Option<(Levels, Deed)>) -> Sieve {
        let columns = policy.row_columns();
        let place = |wanted: &str| columns.iter().position(|column| *column == wanted);
        let rules = policy.suppress_rows.iter();
        let rules = rules.filter_map(|rule| {
            Some(Counted { place: place(&rule.column)?, rule: rule.clone(), rows: AtomicU64::new(0) })
        });
        let counted = policy.counted_columns();
        let places = counted.iter().filter_map(|(column, beside)| Some((place(column)?, beside.and_then(place))));
        let (rules, places) = (rules.collect(), places.collect());
        Sieve {
            policy: policy.name.clone(),
            columns: columns.into_iter().map(str::to_owned).collect(),
            rules,
            takes_untold: policy.mistyped != OnMistyped::Reject,
            grouping: grouping.map(|(levels, deed)| Grouping { places, levels, deed }),
        }
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Whether every row is left out.
    pub(super) fn lets_none_through(&self) -> bool {
        matches!(self.grouping, Some(Grouping { deed: Deed::Count { .. }, .. }))
    }

    /// What was counted in a first reading.
    pub(super) fn into_tally(self) -> Option<Tally> {
        match self.grouping?.deed {
            Deed::Count { tally, .. } => tally.into_inner().unwrap_or_else(PoisonError::into_inner),
            Deed::Watch { .. } | Deed::Choose { .. } => None,
        }
    }

    /// For each row of a block whether it is left out; `None` where all of them stay. The cells stand in the order of
    /// [`Sieve::columns`]; of one that is null nothing can be told. `row_of` gives a row's number in the file.
    ///
    /// # Errors
    ///
    /// [`Failure::Reject`] for a row that cannot be told.
    pub(super) fn sift(
        &self,
        columns: &[StringChunked],
        rows: usize,
        row_of: &dyn Fn(usize) -> u64,
    ) -> Result<Option<Vec<bool>>, Failure> {
        let mut left_out = vec![false; rows];
        self.by_rules(columns, &mut left_out, row_of).map_err(Failure::Reject)?;
        if let Some(grouping) = &self.grouping {
            self.by_others(grouping, columns, &mut left_out, row_of)?;
        }
        Ok(left_out.contains(&true).then_some(left_out))
    }

    fn by_rules(
        &self,
        columns: &[StringChunked],
        left_out: &mut [bool],
        row_of: &dyn Fn(usize) -> u64,
    ) -> Result<(), Fault> {
        let mut untold: Vec<Option<&Counted>> = vec![None; left_out.len()];
        for counted in &self.rules {
            let mut count = 0;
            for (row, cell) in columns[counted.place].iter().enumerate().take(left_out.len()) {
                match cell {
                    _ if left_out[row] => {}
                    Some(value) if counted.rule.test.holds(value) => {
                        left_out[row] = true;
                        count += 1;
                    }
                    Some(_) => {}
                    None => untold[row] = untold[row].or(Some(counted)),
                }
            }
            counted.rows.fetch_add(count, Ordering::Relaxed);
        }
        for (row, counted) in untold.into_iter().enumerate() {
            let Some(counted) = counted.filter(|_| !left_out[row]) else { continue };
            if !self.takes_untold {
                return Err(self.untold(counted.place, row_of(row)));
            }
            left_out[row] = true;
            counted.rows.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Counts the rows that are left, or leaves out some because of the others.
    fn by_others(
        &self,
        grouping: &Grouping,
        columns: &[StringChunked],
        left_out: &mut [bool],
        row_of: &dyn Fn(usize) -> u64,
    ) -> Result<(), Failure> {
        let here: Vec<usize> = (0..left_out.len()).filter(|row| !left_out[*row]).collect();
        for (place, _) in &grouping.places {
            let untold = columns[*place].iter().enumerate().find(|(row, cell)| cell.is_none() && !left_out[*row]);
            if let Some((row, _)) = untold {
                return Err(Failure::Reject(self.untold(*place, row_of(row))));
            }
        }
        let is_whole = here.len() == left_out.len();
        let chosen = |place: usize| match is_whole {
            true => columns[place].clone(),
            false => here.iter().map(|row| columns[place].get(*row)).collect(),
        };
        let cells = grouping.places.iter().take(grouping.levels.len());
        let cells: Vec<Cells> =
            cells.map(|(place, beside)| Cells { cells: chosen(*place), beside: beside.map(chosen) }).collect();
        let refused = |refused: Refused| Failure::Reject(self.refused(grouping, refused, &|index| row_of(here[index])));
        let finest = grouping.levels.finest(&cells).map_err(refused)?;
        match &grouping.deed {
            Deed::Watch { tally, .. } | Deed::Count { tally, .. } => {
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(tally) = tally.as_mut() {
                    tally.add(&grouping.levels, &cells, &finest).map_err(refused)?;
                }
                if let Deed::Count { rows, .. } = &grouping.deed {
                    left_out.fill(true);
                    rows.fetch_add(here.len() as u64, Ordering::Relaxed);
                }
            }
            Deed::Choose { chooser, rows, .. } => {
                let goes = chooser.left_out(&finest).map_err(|_| changed())?.unwrap_or_default();
                for (row, _) in here.iter().zip(&goes).filter(|(_, goes)| **goes) {
                    left_out[*row] = true;
                }
                rows.fetch_add(goes.iter().filter(|goes| **goes).count() as u64, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// A row that cannot be told.
    fn untold(&self, place: usize, row: u64) -> Fault {
        let column = &self.columns[place];
        let sentence = format!(
            "row {row} has no single value at {column:?}, by which policy {:?} would tell whether to leave it out",
            self.policy
        );
        let advice =
            "Ask the sender for the value; with `mistyped = \"redact\"` rules of `suppress_rows` leave such rows out.";
        let fault = of_file("undecided_row", &sentence, advice);
        Fault { row: Some(row), column: Some(column.clone()), ..fault }
    }

    fn refused(&self, grouping: &Grouping, refused: Refused, row_of: &dyn Fn(usize) -> u64) -> Fault {
        match refused {
            Refused::Cell { place, index, expected } => {
                let (column, row) = (&self.columns[grouping.places[place].0], row_of(index));
                let sentence = format!("{expected} expected in row {row}, {}", quoted(column));
                let advice = "Correct the cell, choose levels that fit the column, or set `mistyped` to redact.";
                let fault = of_file("mistyped_cell", &sentence, advice);
                Fault { row: Some(row), column: Some(column.clone()), ..fault }
            }
            Refused::TooMany => {
                let sentence = format!(
                    "the columns that policy {:?} asks anonymity of have too many different combinations to be counted",
                    self.policy
                );
                let advice = "Begin with coarser levels (`min_level`), or have the file sent in parts.";
                of_file("too_many_combinations", &sentence, advice)
            }
        }
    }

    /// What became of all rows, once they have gone through.
    ///
    /// # Errors
    ///
    /// [`Failure::Reject`] when a rule has left out more than it may, or what must hold does not.
    fn finish(&self, rows_in: u64) -> Result<Rows, Failure> {
        let mut suppressed = 0;
        for Counted { rule, rows, .. } in &self.rules {
            let count = rows.load(Ordering::Relaxed);
            suppressed += count;
            self.check_budget(rule, count, rows_in).map_err(Failure::Reject)?;
        }
        let anonymity = match self.grouping.as_ref().map(|grouping| &grouping.deed) {
            None => None,
            Some(Deed::Count { rows, .. }) => {
                suppressed += rows.load(Ordering::Relaxed);
                None
            }
            Some(Deed::Choose { expected, report, rows, .. }) => {
                let rows = rows.load(Ordering::Relaxed);
                if rows != *expected {
                    return Err(changed());
                }
                suppressed += rows;
                Some(report.clone())
            }
            Some(Deed::Watch { tally, asked }) => {
                let tally = tally.lock().unwrap_or_else(PoisonError::into_inner).take();
                let report = tally.map(|tally| measure(tally, asked));
                if let Some(report) = report.as_ref().filter(|report| !report.holds && asked.mode == Mode::Check) {
                    return Err(Failure::Reject(self.not_anonymous(asked, report)));
                }
                report
            }
        };
        Ok(Rows { out: rows_in.saturating_sub(suppressed), suppressed, anonymity })
    }

    fn check_budget(&self, rule: &RowRule, count: u64, rows_in: u64) -> Result<(), Fault> {
        let of_rows = rule.max_rows.filter(|most| count > *most).map(|most| format!("max_rows = {most}"));
        // Both sides are the nearest to what the operator wrote: a product would not be.
        let exceeds = |share: &f64| count as f64 / rows_in.max(1) as f64 > *share;
        let of_share = rule.max_share.filter(exceeds).map(|share| format!("max_share = {share}"));
        let Some(limit) = of_rows.or(of_share) else { return Ok(()) };
        let sentence = format!(
            "policy {:?} would leave out {count} of {rows_in} rows by {:?}, more than {limit} allows",
            self.policy, rule.column
        );
        let advice = "Look whether the file is what it should be; if it is, raise the limit in `suppress_rows`.";
        Err(of_file("too_many_rows_suppressed", &sentence, advice))
    }

    fn not_anonymous(&self, asked: &Anonymity, report: &AnonymityReport) -> Fault {
        let mut found = vec![format!("k is {}, and {} is asked for", report.k.unwrap_or(0), asked.k)];
        for (sensitive, of) in report.sensitive.iter().zip(&asked.sensitive) {
            let column = &sensitive.column;
            let l = of.l.zip(sensitive.l_distinct).zip(sensitive.l_entropy);
            found.extend(l.map(|((l, distinct), entropy)| {
                format!("l of {column:?} is {distinct} (entropy {entropy:.2}), and {l} is asked for")
            }));
            found.extend(
                of.t.zip(sensitive.t)
                    .map(|(t, is)| format!("t of {column:?} is {is:.3}, and at most {t} is asked for")),
            );
        }
        let sentence = format!("policy {:?} does not hold: {}", self.policy, found.join("; "));
        let advice = "Choose coarser masks for the quasi-identifiers, or `mode = \"enforce\"` with levels for them.";
        of_file("not_anonymous", &sentence, advice)
    }
}

/// The masks of the columns that count, the first ones of them.
fn levels(policy: &Policy, keys: &MaskingKeys, count: usize) -> Levels {
    let asked = policy.anonymity.as_ref();
    let quasi_identifiers = asked.iter().flat_map(|it| &it.quasi_identifiers).map(|it| &it.levels[..]);
    let of_levels = quasi_identifiers.chain(std::iter::repeat(&[][..]));
    let columns = policy.counted_columns().into_iter().zip(of_levels).take(count).map(|((column, _), levels)| {
        let rule = policy.rule_named(column);
        let mistyped = rule.and_then(|rule| rule.mistyped).unwrap_or(policy.mistyped);
        let own = rule.map_or(Mask::Keep, |rule| rule.mask.clone());
        let masks = if levels.is_empty() { std::slice::from_ref(&own) } else { levels };
        let namespace = normalise(column);
        (masks.iter().map(|mask| mask.prepare(&namespace, keys)).collect(), mistyped)
    });
    Levels::new(columns.collect())
}

/// The file is not the one that was counted.
fn changed() -> Failure {
    retry("read the input twice", &std::io::Error::other("it changed meanwhile"))
}

/// What became of all rows, output by output.
///
/// # Errors
///
/// As of the first output that has one.
pub(super) fn finish_all(sieves: &[Option<Arc<Sieve>>], rows_in: u64) -> Result<Vec<Rows>, Failure> {
    let finish = |sieve: &Option<Arc<Sieve>>| {
        sieve.as_ref().map_or_else(|| Ok(Rows::all(rows_in)), |sieve| sieve.finish(rows_in))
    };
    sieves.iter().map(finish).collect()
}

#[cfg(test)]
mod tests;
