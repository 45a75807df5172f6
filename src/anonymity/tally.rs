//! Counts combinations of values as blocks of rows go by.

use std::collections::HashMap;

use polars::prelude::StringChunked;

use super::combinations::{Builder, Combinations};
use super::ladder::Ladder;
use crate::mask::{OnMistyped, Prepared};

/// Most that combinations and their values may take; a worker has several times as much.
const MAX_BYTES: usize = 192 << 20;
/// What a text costs beside its bytes: an entry of a hash table, and its code.
const TEXT_BYTES: usize = 64;

/// The masks of the columns that are counted, level by level. It is shared by the masking threads.
pub struct Levels {
    columns: Vec<(Vec<Prepared>, OnMistyped)>,
}

/// One column of a block, and the one that its mask looks at.
pub struct Cells {
    pub cells: StringChunked,
    pub beside: Option<StringChunked>,
}

/// Distinct combinations of values, how often each is there, and what the values become at each level.
pub struct Tally {
    columns: Vec<Column>,
    builder: Builder,
    /// What was counted before the file at hand.
    before: Option<Combinations>,
    text_bytes: usize,
}

/// A column's values.
struct Column {
    /// Codes of the finest texts.
    by_text: HashMap<Box<str>, u32>,
    above: Vec<Level>,
}

/// A level above the finest.
#[derive(Default)]
struct Level {
    by_text: HashMap<Box<str>, u32>,
    /// For each of the finest codes the code here.
    codes: Vec<u32>,
}

/// Why a block was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A cell that a mask cannot read.
    Cell {
        /// Place of its column.
        place: usize,
        /// Its row in the block, from 0.
        index: usize,
        expected: &'static str,
    },
    /// More different combinations than there is room for.
    TooMany,
}

/// What was counted.
pub(super) struct Counted {
    pub ladders: Vec<Ladder>,
    /// By column: the codes of the finest texts.
    pub texts: Vec<HashMap<Box<str>, u32>>,
    pub combinations: Combinations,
    /// Of a second file, the population.
    pub population: Option<Combinations>,
}

impl Levels {
    /// For each column its masks from fine to coarse, at least one, and what becomes of cells that they cannot read.
    pub fn new(columns: Vec<(Vec<Prepared>, OnMistyped)>) -> Levels {
        Levels { columns }
    }

    /// Number of columns.
    #[allow(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// The finest texts of a block.
    ///
    /// # Errors
    ///
    /// [`Refused::Cell`]
    pub fn finest(&self, block: &[Cells]) -> Result<Vec<StringChunked>, Refused> {
        let columns = self.columns.iter().zip(block).enumerate();
        let texts = columns.map(|(place, ((masks, mistyped), cells))| {
            let masked = masks[0].apply_beside(&cells.cells, cells.beside.as_ref(), *mistyped);
            masked.map_err(|it| Refused::Cell { place, index: it.index, expected: it.expected })
        });
        texts.collect()
    }
}

impl Tally {
    pub fn new(levels: &Levels) -> Tally {
        let above = |masks: &Vec<Prepared>| masks.iter().skip(1).map(|_| Level::default()).collect();
        let column = |(masks, _): &(Vec<Prepared>, OnMistyped)| Column { by_text: HashMap::new(), above: above(masks) };
        let columns: Vec<Column> = levels.columns.iter().map(column).collect();
        Tally { builder: Builder::new(columns.len(), 0), columns, before: None, text_bytes: 0 }
    }

    /// Goes on with a second file, of which the first is a sample.
    pub fn with_population(self) -> Tally {
        let builder = Builder::new(self.columns.len(), 0);
        let before = Some(self.builder.finish());
        Tally { builder, before, ..self }
    }

    /// Counts a block, of which `finest` has the finest texts.
    ///
    /// # Errors
    ///
    /// What cannot be counted is of no further use.
    pub fn add(&mut self, levels: &Levels, block: &[Cells], finest: &[StringChunked]) -> Result<(), Refused> {
        let mut coded = Vec::with_capacity(finest.len());
        for (place, column) in self.columns.iter_mut().enumerate() {
            let before = column.by_text.len();
            let codes = column.codes(&levels.columns[place], &block[place].cells, &finest[place], &mut self.text_bytes);
            coded.push(codes.map_err(|(index, expected)| Refused::Cell { place, index, expected })?);
            self.text_bytes += (column.by_text.len() - before) * (TEXT_BYTES + 4 * column.above.len());
        }
        let rows = coded.first().map_or(0, Vec::len);
        let mut combination = vec![0; coded.len()];
        for row in 0..rows {
            combination.iter_mut().zip(&coded).for_each(|(code, codes)| *code = codes[row]);
            self.builder.add(&combination, 1);
        }
        let before = self.before.as_ref().map_or(0, Combinations::bytes);
        if self.builder.bytes() + before + self.text_bytes > MAX_BYTES { Err(Refused::TooMany) } else { Ok(()) }
    }

    pub(super) fn finish(self) -> Counted {
        let (mut ladders, mut texts) = (Vec::new(), Vec::new());
        for column in self.columns {
            ladders.push(column.ladder());
            texts.push(column.by_text);
        }
        let last = self.builder.finish();
        let (combinations, population) = match self.before {
            Some(before) => (before, Some(last)),
            None => (last, None),
        };
        Counted { ladders, texts, combinations, population }
    }
}

impl Column {
    fn codes(
        &mut self,
        (masks, mistyped): &(Vec<Prepared>, OnMistyped),
        cells: &StringChunked,
        finest: &StringChunked,
        text_bytes: &mut usize,
    ) -> Result<Vec<u32>, (usize, &'static str)> {
        let (mut codes, mut fresh) = (Vec::with_capacity(finest.len()), Vec::new());
        for (row, text) in finest.downcast_iter().flat_map(|chunk| chunk.iter()).enumerate() {
            let text = text.unwrap_or("");
            codes.push(match self.by_text.get(text) {
                Some(code) => *code,
                None => {
                    fresh.push(row);
                    *text_bytes += text.len();
                    intern(&mut self.by_text, text)
                }
            });
        }
        if fresh.is_empty() || self.above.is_empty() {
            return Ok(codes);
        }
        let raw: StringChunked = fresh.iter().map(|row| cells.get(*row)).collect();
        for (level, mask) in self.above.iter_mut().zip(&masks[1..]) {
            let texts = mask.apply(&raw, *mistyped).map_err(|it| (fresh[it.index], it.expected))?;
            for text in texts.iter() {
                let before = level.by_text.len();
                let code = intern(&mut level.by_text, text.unwrap_or(""));
                *text_bytes += (level.by_text.len() - before) * TEXT_BYTES;
                level.codes.push(code);
            }
        }
        Ok(codes)
    }

    fn ladder(&self) -> Ladder {
        let mut ladder = Ladder { sizes: vec![self.by_text.len()], steps: Vec::new() };
        let finest: Vec<u32> = (0..self.by_text.len() as u32).collect();
        let mut below = &finest;
        for level in &self.above {
            let mut step = vec![0; ladder.sizes.last().copied().unwrap_or(0)];
            for (from, to) in below.iter().zip(&level.codes) {
                step[*from as usize] = *to;
            }
            ladder.steps.push(step);
            ladder.sizes.push(level.by_text.len());
            below = &level.codes;
        }
        ladder
    }
}

fn intern(by_text: &mut HashMap<Box<str>, u32>, text: &str) -> u32 {
    if let Some(code) = by_text.get(text) {
        return *code;
    }
    let code = by_text.len() as u32;
    by_text.insert(text.into(), code);
    code
}
