//! Leaves records out of an output.
//!
//! What stands between two records goes with the second of them: with one that is left out, and with the first one that
//! stays where others came before. So arrays stay arrays, and no line is left empty. That is decided in the order of the
//! file, on the thread that cuts the blocks.

use std::sync::Arc;

use polars::prelude::{NewChunkedArray, PlSmallStr, StringChunked};

use super::found::Edit;
use super::splice::Block;
use crate::pipeline::Failure;
use crate::pipeline::sieve::Sieve;
use crate::policy::path::canonical;

/// Sieves of a file's outputs, and how far each has come.
pub(super) struct Sifter<'s> {
    /// By output.
    outputs: Vec<Option<Sifting<'s>>>,
}

struct Sifting<'s> {
    sieve: &'s Sieve,
    /// Paths of what the sieve looks at.
    paths: Vec<String>,
    /// A record of the file has stayed.
    has_kept: bool,
}

/// Where a record stands in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub start: u32,
    pub end: u32,
}

/// What surrounds the records of a block.
#[derive(Clone, Copy)]
pub(super) struct Around {
    /// Records come one after the other, without an array around them.
    pub is_sequence: bool,
    /// Some record of the file has come, in this block or before.
    pub has_records: bool,
}

impl<'s> Sifter<'s> {
    /// `None` where no output leaves out records.
    pub(super) fn new(sieves: &'s [Option<Arc<Sieve>>]) -> Option<Sifter<'s>> {
        let sifting = |sieve: &'s Sieve| {
            let paths = sieve.columns().iter().map(|column| canonical(column).unwrap_or_else(|| column.clone()));
            Sifting { sieve, paths: paths.collect(), has_kept: false }
        };
        let outputs = sieves.iter().map(|sieve| sieve.as_deref().map(sifting)).collect();
        sieves.iter().any(Option::is_some).then_some(Sifter { outputs })
    }

    /// Takes what is left out of a block away, by further edits.
    pub(super) fn sift(&mut self, block: &mut Block, records: &[Record], around: Around) -> Result<(), Failure> {
        for (output, sifting) in self.outputs.iter_mut().enumerate() {
            let Some(sifting) = sifting else { continue };
            let left_out = sifting.left_out(block, records.len())?;
            let gaps = sifting.gaps(block, records, left_out.as_deref(), around);
            block.cut_out(output, &gaps);
            block.left_out[output] = left_out;
        }
        Ok(())
    }
}

impl Sifting<'_> {
    fn left_out(&self, block: &Block, rows: usize) -> Result<Option<Vec<bool>>, Failure> {
        let cells = self.paths.iter().map(|path| block.by_row(path, rows));
        let cells: Vec<StringChunked> = cells.collect::<Result<_, _>>().map_err(Failure::Reject)?;
        self.sieve.sift(&cells, rows, &|index| block.first_row + index as u64)
    }

    /// The bytes that go, in their order.
    fn gaps(&mut self, block: &Block, records: &[Record], left_out: Option<&[bool]>, around: Around) -> Vec<Record> {
        let mut gaps = Vec::new();
        let mut behind = 0;
        for (index, record) in records.iter().enumerate() {
            // What the file begins with stays.
            let is_first = block.first_row == 1 && index == 0;
            let start = if is_first { record.start } else { behind };
            if left_out.is_some_and(|left_out| left_out[index]) {
                gaps.push(Record { start, end: record.end });
            } else if !self.has_kept {
                self.has_kept = true;
                gaps.push(Record { start, end: record.start });
            }
            behind = record.end;
        }
        if around.is_sequence && around.has_records && !self.has_kept {
            gaps.push(Record { start: behind, end: block.data.len() as u32 });
        }
        gaps.retain(|gap| gap.start < gap.end);
        gaps
    }
}

impl Block {
    /// For each record its value at a path; null where there is none, or more than one.
    fn by_row(&self, path: &str, rows: usize) -> Result<StringChunked, crate::pipeline::Fault> {
        let mut values: Vec<Option<String>> = vec![None; rows];
        let mut seen = vec![false; rows];
        for column in self.columns.iter().filter(|column| column.column.path.as_deref() == Some(path)) {
            let texts = self.cells(column)?;
            for (cell, text) in column.cells.iter().zip(texts.iter()) {
                let row = cell.row as usize;
                let is_only = !std::mem::replace(&mut seen[row], true);
                values[row] = text.filter(|_| is_only).map(str::to_owned);
            }
        }
        Ok(StringChunked::from_iter_options(PlSmallStr::EMPTY, values.into_iter()))
    }

    /// Removes bytes from an output, and the edits within them.
    fn cut_out(&mut self, output: usize, gaps: &[Record]) {
        if gaps.is_empty() {
            return;
        }
        let edits = std::mem::take(&mut self.edits[output]);
        let mut left = Vec::with_capacity(edits.len() + gaps.len());
        let mut gaps = gaps.iter().peekable();
        let mut cut = 0;
        for edit in edits {
            let at = self.start_of(&edit);
            while let Some(gap) = gaps.next_if(|gap| gap.start <= at) {
                left.push(Edit::Remove { start: gap.start, end: gap.end });
                cut = gap.end;
            }
            if at >= cut {
                left.push(edit);
            }
        }
        left.extend(gaps.map(|gap| Edit::Remove { start: gap.start, end: gap.end }));
        self.edits[output] = left;
    }

    fn start_of(&self, edit: &Edit) -> u32 {
        match *edit {
            Edit::Cell { column, index } => self.columns[self.places[column as usize]].cells[index as usize].start,
            Edit::Remove { start, .. } | Edit::Whole { start, .. } => start,
        }
    }
}
