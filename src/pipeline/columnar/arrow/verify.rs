//! The leak scan of a batch: the columns that were masked as their masks saw them, all others as they came.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::DataType;
use polars::prelude::{NewChunkedArray, StringChunked};
use polars_arrow::array::Utf8ViewArray;

use super::array::{Live, RowOf, Trouble, Walk};
use super::sift::Sifted;
use super::{leaf, unwritable};
use crate::pipeline::Failure;
use crate::pipeline::columnar::plan::Leaf;
use crate::pipeline::expansion::Expansion;
use crate::pipeline::verify::{Column, Digests, Seen, one_piece};

/// One column's texts, what its mask made of them, and the row of each.
struct Texts {
    cells: Utf8ViewArray,
    masked: Option<Utf8ViewArray>,
    rows: Vec<u32>,
}

/// What was seen of a batch so far.
pub(super) struct Scan {
    digests: Option<Arc<Digests>>,
    columns: Vec<Option<Texts>>,
}

impl Scan {
    /// Without digests nothing is looked at.
    pub(super) fn new(digests: Option<Arc<Digests>>, columns: usize) -> Scan {
        Scan { digests, columns: (0..columns).map(|_| None).collect() }
    }

    /// Notes a column.
    pub(super) fn see(&mut self, column: usize, cells: &StringChunked, masked: Option<&StringChunked>, rows: Vec<u32>) {
        if self.digests.is_none() {
            return;
        }
        let texts = if rows.is_sorted() {
            Texts { cells: one_piece(cells), masked: masked.map(one_piece), rows }
        } else {
            // Lists may lie in any order.
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by_key(|place| rows[*place]);
            let sorted = |texts: &StringChunked| {
                let texts = order.iter().map(|place| texts.get(*place));
                one_piece(&StringChunked::from_iter_options("".into(), texts))
            };
            let masked = masked.map(sorted);
            Texts { cells: sorted(cells), masked, rows: order.iter().map(|place| rows[*place]).collect() }
        };
        self.columns[column] = Some(texts);
    }

    /// Looks at the batch, whose first row has this number.
    pub(super) fn look(
        mut self,
        sifted: &Sifted<'_>,
        leaves: &[Leaf],
        first_row: u64,
        expansion: &Expansion,
    ) -> Result<Option<Seen>, Failure> {
        let Some(digests) = self.digests.clone() else { return Ok(None) };
        let batch: &RecordBatch = sifted.batch.as_ref();
        let mut visit = |index: usize, array: &ArrayRef, live: &Live, row_of: RowOf<'_>| {
            if self.columns[index].is_none() && *array.data_type() != DataType::Boolean {
                let passed = leaf::passed(array.as_ref(), live, row_of, expansion);
                let (cells, rows) = passed.map_err(Trouble::Failed)?;
                self.see(index, &cells, None, rows);
            }
            Ok(array.clone())
        };
        let schema = batch.schema();
        let mut walk = Walk { visit: &mut visit, next: 0 };
        let walked = walk.columns((schema.fields(), batch.columns()), schema.fields(), &None, &|row| row);
        walked.map_err(|trouble| if let Trouble::Failed(failure) = trouble { failure } else { unwritable() })?;
        for texts in self.columns.iter_mut().flatten() {
            texts.rows.iter_mut().for_each(|row| *row = sifted.row(*row as usize) as u32);
        }
        let columns = leaves.iter().zip(&self.columns).filter_map(|(leaf, texts)| {
            let Texts { cells, masked, rows } = texts.as_ref()?;
            Some(leaf.watched(cells, masked.as_ref(), Some(rows)))
        });
        let columns: Vec<Column<'_>> = columns.collect();
        let rows = batch.num_rows().checked_sub(1).map_or(0, |last| sifted.row(last) + 1);
        Ok(Some(digests.look(&columns, rows, first_row)))
    }
}
