//! Values of masked columns that turn up elsewhere: in their own record at once, in any other by remembered digests.

use std::collections::HashMap;

use ahash::RandomState;
use polars_arrow::array::{Utf8ViewArray, View};

use super::digest::Digests;
use super::row::RowTable;
use super::telling::is_telling;
use super::{Column, ColumnSeen};
use crate::mask::Remains;

/// Shorter values are common to many columns.
const SHORTEST: u32 = 4;
/// Shortest word that is looked for within other cells, and shortest cell that it is looked for in.
const SHORTEST_WORD: u32 = 5;
const SHORTEST_TEXT: u32 = 9;
/// Words of a record that are looked for: its texts are searched for each.
const WORDS: usize = 256;
/// Different values of a pair of columns that are counted.
const COUNTED: usize = 64;

/// A masked column and one that goes out.
pub(super) type Key = (u32, u32);
pub(super) type Map<K, V> = HashMap<K, V, RandomState>;

/// Records in which a column that goes out holds the value of a masked one.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    pub records: u64,
    pub row: u64,
    /// Those with a value of which one is enough.
    pub telling: u64,
    pub telling_row: u64,
    /// How often each of the first different values was met.
    values: Map<u64, u64>,
}

impl Pair {
    fn see(&mut self, digest: u64, row: u64, telling: bool) {
        if self.records == 0 {
            self.row = row;
        }
        self.records += 1;
        if telling {
            if self.telling == 0 {
                self.telling_row = row;
            }
            self.telling += 1;
        }
        self.count(digest, 1);
    }

    fn count(&mut self, digest: u64, times: u64) {
        if self.values.len() < COUNTED || self.values.contains_key(&digest) {
            *self.values.entry(digest).or_default() += times;
        }
    }

    /// Adds what was seen in a later block.
    pub(super) fn add(&mut self, later: Pair) {
        if self.records == 0 {
            self.row = later.row;
        }
        if self.telling == 0 {
            self.telling_row = later.telling_row;
        }
        self.records += later.records;
        self.telling += later.telling;
        later.values.into_iter().for_each(|(digest, times)| self.count(digest, times));
    }

    /// Whether telling values were met, and not one alone all the time.
    pub(super) fn tells(&self) -> bool {
        let most = self.values.values().max().copied().unwrap_or(0);
        self.telling > 0 && (self.records <= 3 || most * 2 <= self.records)
    }

    /// Whether there are at least so many different values, and none of them is most of what was met.
    pub(super) fn is_varied(&self, least: usize) -> bool {
        let most = self.values.values().max().copied().unwrap_or(0);
        let share = if self.records < 100 { 2 } else { 10 };
        self.values.len() >= least && most * share <= self.records
    }
}

/// What a block shows of repeated values.
#[derive(Default)]
pub(super) struct Repeats {
    /// Whole cells.
    pub cells: Map<Key, Pair>,
    /// Words within cells.
    pub words: Map<Key, Pair>,
    /// Dates and numbers within cells: of one time, they meet by chance.
    pub numbers: Map<Key, Pair>,
    /// Telling values of masked columns, sampled.
    pub originals: Vec<(u64, u32)>,
    /// Telling values that go out, sampled, with the number of their row.
    pub outgoing: Vec<(u64, u32, u64)>,
}

/// One column's cells in the order of their rows.
struct Side<'a> {
    cells: &'a Utf8ViewArray,
    views: &'a [View],
    rows: Option<&'a [u32]>,
    /// Place in the block's columns and among those of the output.
    slot: usize,
    index: u32,
    next: usize,
    /// Its words are looked for within cells.
    has_words: bool,
}

impl<'a> Side<'a> {
    fn new(slot: usize, column: &Column<'a>, cells: &'a Utf8ViewArray) -> Side<'a> {
        let has_words = column.watched.remains != Remains::Coarse;
        let (rows, index) = (column.rows, column.watched.index as u32);
        Side { cells, views: cells.views(), rows, slot, index, next: 0, has_words }
    }

    /// The next cell of the row, if it has one more.
    #[inline]
    fn next(&mut self, row: u32) -> Option<(usize, View)> {
        let is_here = self.rows.map_or(self.next as u32 == row, |rows| rows.get(self.next) == Some(&row));
        let view = self.views.get(self.next).filter(|_| is_here)?;
        self.next += 1;
        Some((self.next - 1, *view))
    }
}

/// A word of a masked column in this record: its beginning, its cell, the cell's place among the columns, its digest.
type Word = (u32, usize, usize, u64);

/// Looks at a block, record by record.
pub(super) fn look(
    digests: &Digests,
    columns: &[Column<'_>],
    rows: usize,
    first_row: u64,
    seen: &mut [ColumnSeen],
) -> Repeats {
    let all = || columns.iter().enumerate();
    let originals = all().filter(|(_, column)| column.watched.is_original());
    let mut originals: Vec<Side<'_>> = originals.map(|(slot, column)| Side::new(slot, column, column.cells)).collect();
    let outgoing = all().filter_map(|(slot, column)| Some((slot, column, column.outgoing()?)));
    let mut outgoing: Vec<Side<'_>> = outgoing.map(|(slot, column, cells)| Side::new(slot, column, cells)).collect();
    let sample = digests.sample();
    let (mut found, mut table, mut words) = (Repeats::default(), RowTable::new(), Vec::<Word>::new());
    for row in 0..rows as u32 {
        table.next();
        words.clear();
        let mut starts = 0;
        for side in &mut originals {
            while let Some((cell, view)) = side.next(row) {
                if view.length < SHORTEST {
                    continue;
                }
                seen[side.slot].filled += 1;
                let digest = digests.of(side.cells, cell, &view);
                table.insert(digest, side.index);
                if digest & sample == 0 && is_telling(side.cells.value(cell).as_bytes()) {
                    found.originals.push((digest, side.index));
                }
                if view.length >= SHORTEST_WORD && side.has_words && words.len() < WORDS {
                    let start = fold(view.prefix);
                    starts |= bit(start);
                    words.push((start, cell, side.slot, digest));
                }
            }
        }
        let number = first_row + u64::from(row);
        for side in &mut outgoing {
            while let Some((cell, view)) = side.next(row) {
                if view.length < SHORTEST {
                    continue;
                }
                let column = &mut seen[side.slot];
                column.filled += 1;
                let digest = digests.of(side.cells, cell, &view);
                let value = side.cells.value(cell);
                columns[side.slot].watched.watch.look(value, digest, row, &mut column.glimpses);
                if let Some(of) = table.find(digest) {
                    let pair = found.cells.entry((of, side.index)).or_default();
                    pair.see(digest, number, is_telling(value.as_bytes()));
                } else if starts != 0 && view.length >= SHORTEST_TEXT {
                    look_for_words(value.as_bytes(), starts, &words, columns, |of, digest, value| {
                        let pairs = if has_letters(value) { &mut found.words } else { &mut found.numbers };
                        pairs.entry((of, side.index)).or_default().see(digest, number, is_telling(value));
                    });
                }
                if digest & sample == 0 && is_telling(value.as_bytes()) {
                    found.outgoing.push((digest, side.index, number));
                }
            }
        }
    }
    found
}

/// The first bytes of a word, the same for capital and small letters.
fn fold(start: u32) -> u32 {
    start | 0x2020_2020
}

fn bit(start: u32) -> u64 {
    1 << (start.wrapping_mul(0x9e37_79b1) >> 26)
}

/// Looks for the record's words where the cell's words begin.
fn look_for_words(
    text: &[u8],
    starts: u64,
    words: &[Word],
    columns: &[Column<'_>],
    mut see: impl FnMut(u32, u64, &[u8]),
) {
    for at in beginnings(text) {
        let Some(start) = text[at..].first_chunk().map(|start| fold(u32::from_le_bytes(*start))) else { break };
        if starts & bit(start) == 0 {
            continue;
        }
        for (_, cell, slot, digest) in words.iter().filter(|(word, ..)| *word == start) {
            let value = columns[*slot].cells.value(*cell).as_bytes();
            let is_here = text[at..].get(..value.len()).is_some_and(|here| here.eq_ignore_ascii_case(value));
            let ends = |next: Option<&u8>| next.is_none_or(|next| !is_word(*next));
            if is_here && ends(text.get(at + value.len())) && is_worth_a_word(value) {
                see(columns[*slot].watched.index as u32, *digest, value);
            }
        }
    }
}

/// Where words begin, found for 64 bytes at once.
fn beginnings(text: &[u8]) -> impl Iterator<Item = usize> {
    let mut before = 0;
    text.chunks(64).enumerate().flat_map(move |(chunk, bytes)| {
        let mut is_word_byte = [0; 64];
        is_word_byte.iter_mut().zip(bytes).for_each(|(flag, byte)| *flag = u8::from(is_word(*byte)));
        let words = bits(&is_word_byte);
        let mut begin = words & !(words << 1 | before);
        before = words >> 63;
        std::iter::from_fn(move || {
            let at = (begin != 0).then(|| begin.trailing_zeros() as usize)?;
            begin &= begin - 1;
            Some(chunk * 64 + at)
        })
    })
}

/// The lowest bit of each byte.
fn bits(bytes: &[u8; 64]) -> u64 {
    let (eights, _) = bytes.as_chunks::<8>();
    let gather = |eight: &[u8; 8]| u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    eights.iter().rev().fold(0, |all, eight| all << 8 | gather(eight))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

/// Short numbers stand in many a text.
fn is_worth_a_word(value: &[u8]) -> bool {
    value.len() >= 7 || has_letters(value)
}

fn has_letters(value: &[u8]) -> bool {
    value.iter().any(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_begin_behind_what_is_none() {
        let text = format!("{} Łódź-1, {}x y_z", "a".repeat(70), "b ".repeat(40));
        let slow = (0..text.len()).filter(|&at| {
            let bytes = text.as_bytes();
            is_word(bytes[at]) && (at == 0 || !is_word(bytes[at - 1]))
        });
        assert_eq!(beginnings(text.as_bytes()).collect::<Vec<_>>(), slow.collect::<Vec<_>>());
    }

    #[test]
    fn what_is_most_of_a_pair_makes_it_no_copy() {
        let pair = |values: &[u64]| {
            let mut pair = Pair::default();
            values.iter().for_each(|value| pair.see(*value, 1, false));
            pair
        };
        let many: Vec<u64> = (0..1000).collect();
        assert!(pair(&many).is_varied(10));
        let few: Vec<u64> = (0..1000).map(|value| value % 5).collect();
        assert!(!pair(&few).is_varied(10));
        let countries: Vec<u64> = (0..1000).map(|value| if value % 5 == 0 { 0 } else { value }).collect();
        assert!(!pair(&countries).is_varied(10));
    }
}
