//! A column looked at cell by cell, and what is concluded from it.
//!
//! How certain it is says the [`Tally`] of each class.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};

use serde::Serialize;

use super::address;
use super::birth::{self, FORMATS};
use super::class::Class;
use super::header::{self, Hints};
use super::phone::{self, PLANS, Writing};
use super::sight::{self, Sighting};
use super::tally::Tally;
use super::text;

/// Least confidence that is reported.
const REPORTED: f32 = 0.5;
/// Distinct cells of a column that are remembered.
const REMEMBERED: usize = 20_000;
/// Cells on which numbering plans are tried before one is chosen: all plans on the first, the best of them on all.
const PHONES_TRIED: usize = 48;
const PHONES_TRIED_FIRST: usize = 8;
const PLANS_TRIED_ON: usize = 4;
/// Cells longer than this are looked at in their first bytes only.
const LOOKED_AT_BYTES: usize = 64 << 10;

/// What a column holds of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub class: Class,
    /// 0 to 1.
    pub confidence: f32,
    /// Share of the non-empty cells looked at that are of the class, or hold it within text.
    pub share: f32,
    /// Whether the class was found within longer text.
    pub within_text: bool,
    /// One sentence, without any cell's value.
    pub reason: String,
    /// What the confidence is made of.
    #[serde(skip)]
    odds: f32,
}

/// A column while it is looked at.
pub struct Survey {
    /// The words of the column's name.
    words: String,
    hints: Hints,
    cells: u64,
    filled: u64,
    long: u64,
    seen: HashSet<u64>,
    hasher: RandomState,
    whole: BTreeMap<Class, Tally>,
    within: BTreeMap<Class, Tally>,
    phones: Phones,
    /// Cells that fit each of [`FORMATS`].
    dates: [u64; FORMATS.len()],
    /// Cells written like US ZIP codes, and of these the ones with nine digits, which only they have.
    zips: [u64; 2],
}

/// Which numbering plan a column's national numbers are of.
#[derive(Default)]
struct Phones {
    /// National numbers kept until enough are there to choose by.
    waiting: Vec<(String, Writing)>,
    chosen: Option<usize>,
}

impl Survey {
    /// Begins with the column's name as it stands in the header.
    pub fn new(name: &str) -> Survey {
        Survey {
            words: header::words(name),
            hints: Hints::of(name),
            cells: 0,
            filled: 0,
            long: 0,
            seen: HashSet::new(),
            hasher: RandomState::new(),
            whole: BTreeMap::new(),
            within: BTreeMap::new(),
            phones: Phones::default(),
            dates: [0; FORMATS.len()],
            zips: [0; 2],
        }
    }

    /// Looks at one cell.
    pub fn see(&mut self, cell: &str) {
        self.cells += 1;
        let cell = cell.trim();
        if cell.is_empty() {
            return;
        }
        self.filled += 1;
        let is_new = self.seen.len() < REMEMBERED && self.seen.insert(self.hasher.hash_one(cell));
        for (count, format) in self.dates.iter_mut().zip(FORMATS) {
            *count += u64::from(birth::is_date(cell.as_bytes(), format));
        }
        if let Some(length) = address::us_zip(cell) {
            self.zips[0] += 1;
            self.zips[1] += u64::from(length > 5);
        }
        let mut found = false;
        let whole = &mut self.whole;
        sight::look(cell, &self.hints, |sighting| {
            found |= sighting.passed && !matches!(sighting.class, Class::PersonName | Class::PlaceName);
            whole.entry(sighting.class).or_default().see(sighting, is_new);
        });
        found |= self.see_phone(cell, is_new);
        let is_text = cell.len() > 24 && cell.bytes().any(|byte| matches!(byte, b' ' | b'\n' | b'"' | b':' | b'='));
        self.long += u64::from(is_text && cell.len() > 60);
        if is_text && !found {
            self.see_within(cell, is_new);
        }
    }

    fn see_within(&mut self, cell: &str, is_new: bool) {
        let mut end = cell.len().min(LOOKED_AT_BYTES);
        while !cell.is_char_boundary(end) {
            end -= 1;
        }
        let mut classes: Vec<Class> =
            text::spans(&cell[..end], &text::Wanted::all()).iter().map(|it| it.class).collect();
        classes.sort_unstable();
        classes.dedup();
        for class in classes {
            // What stands in prose has passed a stricter rule already.
            self.within.entry(class).or_default().see(Sighting::new(class, true, 20, 0.0), is_new);
        }
    }

    /// Counts phone numbers; national ones wait until it is clear of which plan they are.
    fn see_phone(&mut self, cell: &str, is_new: bool) -> bool {
        let Some(writing) = phone::writing(cell) else { return false };
        if matches!(writing, Writing::International | Writing::BareInternational) {
            let passed = phone::is_international(cell);
            // One such number among many is one by chance.
            let odds = if writing == Writing::International { 0.0 } else { -5.0 };
            self.phone(passed, phone::ONE_IN, odds, is_new);
            return passed;
        }
        match self.phones.chosen {
            Some(plan) => self.national(cell, writing, plan, is_new),
            None => {
                if is_new {
                    self.phones.waiting.push((cell.to_owned(), writing));
                }
                if self.phones.waiting.len() >= PHONES_TRIED {
                    self.choose_plan();
                }
                false
            }
        }
    }

    fn choose_plan(&mut self) {
        let waiting = std::mem::take(&mut self.phones.waiting);
        // Digits alone are believed by the column's name only.
        if !self.hints.says(Class::Phone) && waiting.iter().all(|(_, writing)| *writing == Writing::Bare) {
            return;
        }
        let fitting = |plan: &usize, cells: usize| {
            waiting.iter().take(cells).filter(|(cell, _)| phone::is_national(cell, PLANS[*plan])).count()
        };
        // The first of equals: plans stand in the order in which they are believed.
        let mut plans: Vec<usize> = (0..PLANS.len()).collect();
        plans.sort_by_cached_key(|plan| Reverse(fitting(plan, PHONES_TRIED_FIRST)));
        plans.truncate(PLANS_TRIED_ON);
        let plan = plans.into_iter().rev().max_by_key(|plan| fitting(plan, PHONES_TRIED)).unwrap_or(0);
        self.phones.chosen = Some(plan);
        for (cell, writing) in waiting {
            self.national(&cell, writing, plan, true);
        }
    }

    fn national(&mut self, cell: &str, writing: Writing, plan: usize, is_new: bool) -> bool {
        let passed = phone::is_national(cell, PLANS[plan]);
        // With the best of many plans chance passes often; bare digits are believed by name only.
        let (one_in, odds) = if writing == Writing::Spelled { (3, -1.0) } else { (1, -3.5) };
        self.phone(passed, one_in, odds, is_new);
        passed
    }

    fn phone(&mut self, passed: bool, one_in: u32, odds: f32, is_new: bool) {
        let sighting = Sighting::new(Class::Phone, passed, one_in, odds);
        self.whole.entry(Class::Phone).or_default().see(sighting, is_new);
    }

    /// Number of cells looked at, and of those that are not empty.
    pub fn cells(&self) -> (u64, u64) {
        (self.cells, self.filled)
    }

    /// Whether the column is prose: many cells of many words.
    pub fn is_prose(&self) -> bool {
        self.long * 5 > self.filled
    }

    /// The format of its dates, as `date` takes it, where most cells have one.
    pub fn date_format(&self) -> Option<&'static str> {
        let most = *self.dates.iter().max()?;
        let format = self.dates.iter().position(|&count| count == most)?;
        (most > 0 && most * 2 > self.filled).then(|| FORMATS[format].strftime)
    }

    /// Whether its postal codes are those of the United States: by their writing, and by the column's name where five
    /// digits could be other countries', too.
    pub(super) fn is_us_zip(&self) -> bool {
        let [all, nine] = self.zips;
        all * 10 >= self.filled * 9 && (nine > 0 || self.name_has(&["zip", "zipcode"]))
    }

    /// Whether one of these words stands in the column's name.
    pub(super) fn name_has(&self, words: &[&str]) -> bool {
        self.words.split(' ').any(|word| words.contains(&word))
    }

    /// What was found, most certain first.
    pub fn findings(&mut self) -> Vec<Finding> {
        if self.phones.chosen.is_none() && !self.phones.waiting.is_empty() {
            self.choose_plan();
        }
        let whole = self.whole.iter().filter_map(|(class, tally)| self.finding(*class, tally, false));
        let within = self.within.iter().filter_map(|(class, tally)| self.finding(*class, tally, true));
        let mut found: Vec<Finding> = whole.collect();
        let known: Vec<Class> = found.iter().map(|finding| finding.class).collect();
        found.extend(within.filter(|finding| !known.contains(&finding.class)));
        self.drop_coincidences(&mut found);
        found.sort_by(|a, b| (b.odds, b.share).partial_cmp(&(a.odds, a.share)).expect("both are finite"));
        found
    }

    /// Words in dictionaries and numbers in plans say little beside a class with a check.
    fn drop_coincidences(&self, found: &mut Vec<Finding>) {
        let weak = |class: Class| {
            matches!(class, Class::Phone | Class::PersonName | Class::PlaceName | Class::PostalAddress | Class::UsEin)
        };
        let strongest =
            found.iter().filter(|it| !weak(it.class) && !it.within_text).map(|it| it.share).fold(0.0, f32::max);
        found.retain(|it| !weak(it.class) || self.hints.says(it.class) || it.share > strongest || it.within_text);
        let named = found.iter().any(|it| self.hints.says(it.class) && !it.within_text);
        found.retain(|it| {
            !(named && matches!(it.class, Class::PersonName | Class::PlaceName) && !self.hints.says(it.class))
        });
    }

    fn finding(&self, class: Class, tally: &Tally, within_text: bool) -> Option<Finding> {
        let named = self.hints.odds(class);
        let (confidence, odds) = (tally.confidence(named), tally.odds(named));
        if tally.cells == 0 || confidence < REPORTED {
            return None;
        }
        let share = tally.cells as f32 / self.filled as f32;
        let mut reason = format!("in {} of {} cells", tally.cells, self.filled);
        if within_text {
            reason.push_str(", within text");
        } else if tally.passed == tally.written {
            reason.push_str(", and all that are written so are valid");
        } else {
            let _ = write!(reason, ", where {} of {} distinct ones written so are valid", tally.passed, tally.written);
        }
        if self.hints.says(class) {
            reason.push_str("; the column's name says so");
        }
        Some(Finding { class, confidence, share, within_text, reason, odds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the cells are taken for in a column whose name says nothing.
    fn first(cells: impl IntoIterator<Item = String>) -> Option<Class> {
        let mut survey = Survey::new("c1");
        cells.into_iter().for_each(|cell| survey.see(&cell));
        survey.findings().first().map(|finding| finding.class)
    }

    #[test]
    fn a_dozen_numbers_tell_their_class() {
        // No check at all, or, in Lithuania, Estonia's.
        let untold = ["us_ssn", "us_itin", "us_ein", "dk_cpr", "pk_cnic", "lt_asmens_kodas"];
        let text = include_str!("../../tests/identifiers/numbers.tsv");
        let mut numbers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for fields in text.lines().map(|line| line.split('\t').collect::<Vec<_>>()) {
            if fields[2] == "1" && !untold.contains(&fields[0]) {
                numbers.entry(fields[0]).or_default().push(fields[1].to_owned());
            }
        }
        let told = |(name, cells)| (first(cells) != Class::of_name(name)).then_some(name);
        let others: Vec<&str> = numbers.into_iter().filter_map(told).collect();
        assert!(others.is_empty(), "{others:?}");
    }

    #[test]
    fn numbers_that_are_nobody_s_tell_nothing() {
        let numbers = |from: u64, step: usize| (from..).step_by(step).take(200);
        assert_eq!(first(numbers(1_700_000_000_000, 7919).map(|it| it.to_string())), None, "milliseconds");
        assert_eq!(first(numbers(1_700_000_000_000_000, 7_919_003).map(|it| it.to_string())), None, "microseconds");
        assert_eq!(first(numbers(4_006_381_333_931, 10).map(|it| it.to_string())), None, "product codes");
        let places = (0..200).map(|it| format!("-{}.{:06}", it % 90, it * 7919));
        assert_eq!(first(places), None, "coordinates");
        assert_eq!(first(numbers(415_555_000, 7919).map(|it| it.to_string())), None, "order numbers");
    }

    #[test]
    fn social_security_numbers_need_no_hyphens() {
        let spaced = (0..100).map(|it| format!("{:03} {:02} {:04}", it * 7 % 665 + 1, it % 98 + 1, it * 77 + 1));
        assert_eq!(first(spaced), Some(Class::UsSsn));
    }
}
