//! What all blocks of an output have shown, and the verdict.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::digest::Digests;
use super::names::Holds;
use super::repeat::{Key, Map, Pair};
use super::{Accepted, ColumnSeen, Leak, LeakClass, Seen, Verified, Watched};
use crate::detect::{Evidence, Remembered};
use crate::mask::Remains;
use crate::pipeline::{Failure, Fault};
use crate::policy::{Acceptance, Policy, Verify, normalise};

/// Digests of each side that are remembered; beyond it every second one is forgotten.
const REMEMBERED: usize = 1 << 17;
/// Different pairs of columns that are remembered.
const PAIRS: usize = 1 << 14;
/// Most times that a value may stand in its masked column to tell anything, and its share of the cells, one in so many.
const RARE: u64 = 3;
const RARE_ONE_IN: u64 = 100;
/// Different values that make a column a copy of another, which one of so many of its cells must be.
const COPIED: usize = 10;
const COPIED_ONE_IN: u64 = 2;
/// The same for words within texts.
const SAID: usize = 3;
const SAID_ONE_IN: u64 = 100;
/// Format-preserving encryption has fixed points: one in a million or more cells.
const FIXED_POINTS: u64 = 3;
const FIXED_ONE_IN: u64 = 100_000;

#[derive(Default)]
struct ColumnSum {
    watched: Option<Arc<Watched>>,
    name: String,
    evidence: Evidence,
    filled: u64,
    unchanged: u64,
    unchanged_row: u64,
}

/// A value of a masked column, and how often it stands there.
struct Original {
    column: u32,
    times: u32,
}

/// A value that went out, and where first.
struct Outgoing {
    column: u32,
    row: u64,
    times: u64,
}

/// The sum of an output's blocks.
pub(in crate::pipeline) struct Sum {
    mode: Verify,
    policy: String,
    accept: Vec<Acceptance>,
    digests: Arc<Digests>,
    sample: u64,
    columns: Vec<ColumnSum>,
    remembered: Remembered,
    cells: Map<Key, Pair>,
    words: Map<Key, Pair>,
    numbers: Map<Key, Pair>,
    originals: Map<u64, Original>,
    outgoing: Map<u64, Outgoing>,
}

impl Sum {
    pub(in crate::pipeline) fn new(policy: &Policy) -> Sum {
        Sum::of(policy.verify, policy.name.clone(), policy.accept.clone())
    }

    fn of(mode: Verify, policy: String, accept: Vec<Acceptance>) -> Sum {
        Sum {
            mode,
            policy,
            accept,
            digests: Arc::new(Digests::new()),
            sample: 0,
            columns: Vec::new(),
            remembered: Remembered::default(),
            cells: Map::default(),
            words: Map::default(),
            numbers: Map::default(),
            originals: Map::default(),
            outgoing: Map::default(),
        }
    }

    /// Of an output that is not looked at as one.
    pub(in crate::pipeline) fn off() -> Sum {
        Sum::of(Verify::Off, String::new(), Vec::new())
    }

    /// What looks at blocks for this; `None` where nothing is to be looked at.
    pub(in crate::pipeline) fn digests(&self) -> Option<Arc<Digests>> {
        (self.mode != Verify::Off).then(|| self.digests.clone())
    }

    /// Adds a block's; blocks must come in their order.
    pub(in crate::pipeline) fn add(&mut self, seen: Seen) {
        let Seen { first_row, columns, repeats } = seen;
        columns.into_iter().for_each(|column| self.add_column(column, first_row));
        let mine = [&mut self.cells, &mut self.words, &mut self.numbers];
        for (mine, theirs) in mine.into_iter().zip([repeats.cells, repeats.words, repeats.numbers]) {
            for (key, pair) in theirs {
                if mine.len() < PAIRS || mine.contains_key(&key) {
                    mine.entry(key).or_default().add(pair);
                }
            }
        }
        for (digest, column) in repeats.originals {
            if digest & self.sample == 0 {
                let original = self.originals.entry(digest).or_insert(Original { column, times: 0 });
                original.times = original.times.saturating_add(1);
                self.narrow_if_full();
            }
        }
        for (digest, column, row) in repeats.outgoing {
            if digest & self.sample == 0 {
                self.outgoing.entry(digest).or_insert(Outgoing { column, row, times: 0 }).times += 1;
                self.narrow_if_full();
            }
        }
    }

    fn add_column(&mut self, seen: ColumnSeen, first_row: u64) {
        let index = seen.watched.index;
        if self.columns.len() <= index {
            self.columns.resize_with(index + 1, ColumnSum::default);
        }
        let sum = &mut self.columns[index];
        if !seen.glimpses.is_empty() {
            let watch = (&seen.watched.watch, index);
            sum.evidence.add(watch, &seen.glimpses, first_row, &mut self.remembered);
        }
        sum.filled += seen.filled;
        if sum.unchanged == 0 {
            sum.unchanged_row = seen.unchanged_row;
        }
        sum.unchanged += seen.unchanged;
        (sum.watched, sum.name) = (Some(seen.watched), seen.name);
    }

    /// Forgets every second value on both sides, the same ones.
    fn narrow_if_full(&mut self) {
        if self.originals.len() < REMEMBERED && self.outgoing.len() < REMEMBERED {
            return;
        }
        // From the top: the low bits are those that maps go by.
        self.sample = self.sample >> 1 | 1 << 63;
        let sample = self.sample;
        self.originals.retain(|digest, _| digest & sample == 0);
        self.outgoing.retain(|digest, _| digest & sample == 0);
        self.digests.narrow(sample);
    }

    /// The verdict over everything that was added.
    ///
    /// # Errors
    ///
    /// The first leak that the policy does not accept, under `block`: of names and keys before cells, by column.
    pub(in crate::pipeline) fn finish(&mut self) -> Result<Verified, Failure> {
        if self.mode == Verify::Off {
            return Ok(Verified::default());
        }
        let (mut counts, mut leaks) = (vec![0; self.accept.len()], Vec::new());
        for (path, leak) in self.leaks() {
            match self.accept.iter().position(|it| it.accepts(&path, leak.class)) {
                Some(acceptance) => counts[acceptance] += leak.cells,
                None => leaks.push((path, leak)),
            }
        }
        if let (Some((path, first)), Verify::Block) = (leaks.first(), self.mode) {
            return Err(Failure::Reject(first.fault(path, &self.policy, leaks.len() - 1)));
        }
        let accepted = self.accept.iter().zip(counts);
        let accepted =
            accepted.map(|(it, cells)| Accepted { column: it.column.clone(), class: it.class.clone(), cells });
        Ok(Verified {
            mode: self.mode,
            leaks: leaks.into_iter().map(|(_, leak)| leak).collect(),
            accepted: accepted.collect(),
            sampled_one_in: (self.sample != 0).then(|| 1 << self.sample.count_ones()),
        })
    }

    /// Every leak with its column's path, by column; names go first, for where they are values, all is.
    fn leaks(&self) -> Vec<(String, Leak)> {
        let repeated = self.repeated();
        let mut leaks = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let Some(watched) = &column.watched else { continue };
            let mut add = |class, of, row, cells| {
                let (column, row) = match watched.holds {
                    Holds::Names => (format!("column {row}"), 0),
                    Holds::Cells | Holds::Keys => (column.name.clone(), row),
                };
                leaks.push((watched.path.clone(), Leak { column, class, of, row, cells }));
            };
            for held in column.evidence.held(&watched.watch) {
                add(LeakClass::Held(held.class), None, held.row, held.cells);
            }
            for ((_, of), (row, cells)) in repeated.range((index as u32, 0)..=(index as u32, u32::MAX)) {
                let of = self.columns.get(*of as usize).map(|column| column.name.clone());
                add(LeakClass::Repeated, of, *row, *cells);
            }
            let fixed_points = match watched.remains {
                Remains::ChangedMostly => FIXED_POINTS + column.filled / FIXED_ONE_IN,
                _ => 0,
            };
            if column.unchanged > fixed_points {
                add(LeakClass::Unchanged, None, column.unchanged_row, column.unchanged);
            }
        }
        leaks.sort_by_key(|(_, leak)| leak.holds() == Holds::Cells);
        leaks
    }

    /// Columns that go out and the masked ones whose values they repeat: the first row, how many cells.
    fn repeated(&self) -> BTreeMap<(u32, u32), (u64, u64)> {
        let mut found = BTreeMap::new();
        let mut see = |(of, column): Key, row: u64, cells: u64| {
            let (first, count) = found.entry((column, of)).or_insert((row, 0));
            (*first, *count) = (row.min(*first), cells.max(*count));
        };
        let filled = |column: u32| self.columns.get(column as usize).map_or(0, |column| column.filled);
        let filled_by_both = |(of, column): Key| filled(of).min(filled(column));
        let holds = |column: u32| self.columns.get(column as usize)?.watched.as_ref().map(|watched| watched.holds);
        // Names are made of the words that stand beside them: `invoice_number` where a masked `kind` is `invoice`.
        let is_said = |(_, column): Key| holds(column) == Some(Holds::Cells);
        let rules = [
            (&self.cells, COPIED, COPIED_ONE_IN, true),
            (&self.words, SAID, SAID_ONE_IN, false),
            (&self.numbers, COPIED, SAID_ONE_IN, false),
        ];
        for (pairs, least, one_in, is_whole) in rules {
            for (key, pair) in pairs {
                if pair.tells() {
                    see(*key, pair.telling_row, pair.telling);
                }
                let counts = is_whole || is_said(*key);
                if counts && pair.is_varied(least) && pair.records * one_in >= filled_by_both(*key) {
                    see(*key, pair.row, pair.records);
                }
            }
        }
        let mut elsewhere: Map<Key, (u64, u64)> = Map::default();
        for (digest, outgoing) in &self.outgoing {
            let Some(original) = self.originals.get(digest) else { continue };
            if u64::from(original.times) <= RARE.max(filled(original.column) / RARE_ONE_IN) {
                let key = (original.column, outgoing.column);
                let (first, cells) = elsewhere.entry(key).or_insert((outgoing.row, 0));
                (*first, *cells) = (outgoing.row.min(*first), *cells + outgoing.times);
            }
        }
        elsewhere.into_iter().for_each(|(key, (row, cells))| see(key, row, cells));
        found
    }
}

impl Acceptance {
    fn accepts(&self, path: &str, class: LeakClass) -> bool {
        let is_class = || LeakClass::of_name(&self.class).is_some_and(|classes| classes.contains(&class));
        let is_column = || {
            normalise(&self.column) == path
                || crate::policy::path::canonical(&self.column).is_some_and(|canonical| canonical == path)
        };
        is_class() && is_column()
    }
}

impl Leak {
    /// Where it is and what was found, as a person says it.
    pub fn in_words(&self) -> String {
        let place = match self.holds() {
            Holds::Cells => format!("row {}, {}", self.row, self.column),
            Holds::Names => format!("the name of {}", self.column),
            Holds::Keys => format!("row {}, keys {}", self.row, self.column),
        };
        format!("{place}: {} ({})", self.title(), self.class.name())
    }

    fn title(&self) -> String {
        let cells = self.holds().count(self.cells);
        match (self.class, &self.of) {
            (LeakClass::Held(class), _) => format!("{} is passed on unmasked, in {cells} at least", class.title()),
            (LeakClass::Repeated, Some(of)) => format!("values of the masked {of} are repeated, in {cells} at least"),
            (LeakClass::Repeated, None) => format!("values of a masked column are repeated, in {cells} at least"),
            (LeakClass::Unchanged, _) => format!("a masked value is what it was, in {cells}"),
        }
    }

    /// `path` is what an acceptance calls the column.
    fn fault(&self, path: &str, policy: &str, others: usize) -> Fault {
        let others = match others {
            0 => String::new(),
            1 => "; and 1 leak more".to_owned(),
            count => format!("; and {count} leaks more"),
        };
        let class = self.class.name();
        let advice = if self.class == LeakClass::Unchanged {
            "This is a defect of a mask: report it, and choose another one for the column.".to_owned()
        } else {
            let (holds, remedy) = (self.holds(), self.holds().remedy());
            // Where it ends in a star, it is made of what rules spell.
            let column = if holds == Holds::Cells { "its own name".to_owned() } else { format!("{path:?}") };
            format!(
                "{remedy}; where it is a false alarm, accept it with [[policy.{policy}.accept]] ([[accept]] in a policy's \
                 own file), column = {column}, class = {class:?}. `veild policy test` shows all leaks."
            )
        };
        Fault {
            code: "leak".to_owned(),
            sentence: format!("{}{others}", self.in_words()),
            row: Some(self.row),
            column: Some(self.column.clone()),
            byte_offset: None,
            advice,
        }
    }
}
