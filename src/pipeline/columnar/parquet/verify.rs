//! The leak scan of a row group: all columns in step, as they came; what a mask makes is looked at as it is made.

use parquet::column::reader::ColumnReader;
use polars::prelude::StringChunked;
use polars_arrow::array::Utf8ViewArray;

use super::batch::{Batch, Pace};
use super::container::Container;
use super::types::Kind;
use super::values::Values;
use super::{Making, Place, place_among_all, unreadable};
use crate::pipeline::Failure;
use crate::pipeline::columnar::plan::{Fate, Leaf};
use crate::pipeline::verify::{Column, Seen, changed, one_piece};

/// Looks at what a mask has made of some records of a column.
pub(super) fn see_masked(
    leaf: &Leaf,
    rows: impl FnOnce() -> Vec<u32>,
    (cells, masked): (&StringChunked, &StringChunked),
    first_row: u64,
) -> Option<Seen> {
    if !leaf.watched.must_change() {
        return None;
    }
    let (cells, masked, rows) = (one_piece(cells), one_piece(masked), rows());
    let column = leaf.watched(&cells, Some(&masked), Some(&rows));
    Some(changed(&column, first_row))
}

/// One column of a batch: its texts, their rows, and what a mask leaves of them where that holds parts of them.
type Texts = (Utf8ViewArray, Vec<u32>, Option<Utf8ViewArray>);

/// Looks at a row group.
pub(super) fn look(
    container: &Container<'_>,
    making: &mut Making<'_>,
    group: usize,
    first_row: u64,
    left_out: Option<&[bool]>,
) -> Result<(), Failure> {
    let Some(digests) = making.sum.digests() else { return Ok(()) };
    let metadata = container.metadata.row_group(group);
    let place = |column| Place { group, column, first_row };
    let blame = |error, column: usize| container.blame(error, None, place(column), &making.leaves[column].public_path);
    let mut readers: Vec<ColumnReader> = Vec::with_capacity(making.leaves.len());
    for column in 0..metadata.num_columns() {
        readers.push(container.reader(group, column).map_err(|error| blame(error, column))?);
    }
    let (mut done, mut pace) = (0, Pace::new());
    loop {
        let mut batches: Vec<Batch> = Vec::with_capacity(readers.len());
        for (column, reader) in readers.iter_mut().enumerate() {
            let batch = Batch::read(reader, metadata.column(column).column_descr(), &pace);
            let batch = batch.map_err(|error| blame(error, column))?;
            // A few bytes can stand for any number of values, and of long ones.
            container.add_expanded(batch.values.bytes().max(batch.values.len()))?;
            if batches.first().is_some_and(|first| first.records != batch.records) {
                return Err(Failure::Reject(unreadable(place(column), &making.leaves[column].public_path)));
            }
            batches.push(batch);
        }
        let records = batches.first().map_or(0, |batch| batch.records);
        if records == 0 {
            return Ok(());
        }
        let bytes = batches.iter().fold(0_usize, |sum, batch| sum.saturating_add(batch.values.bytes()));
        let here = left_out.and_then(|left_out| left_out.get(done..done + records));
        let batches: Vec<Batch> = batches
            .into_iter()
            .enumerate()
            .map(|(column, batch)| batch.left(here, metadata.column(column).column_descr().max_def_level()))
            .collect();
        let mut texts: Vec<Option<Texts>> =
            (0..batches.len()).map(|column| texts(&batches, column, metadata, &making.leaves)).collect();
        for (_, rows, _) in texts.iter_mut().flatten() {
            rows.iter_mut().for_each(|row| *row = place_among_all(here, *row as usize) as u32);
        }
        let columns = making.leaves.iter().zip(&texts).filter_map(|(leaf, texts)| {
            let (cells, rows, masked) = texts.as_ref()?;
            Some(leaf.watched(cells, masked.as_ref(), Some(rows)))
        });
        let columns: Vec<Column<'_>> = columns.collect();
        let seen = digests.look(&columns, records, first_row + done as u64);
        drop(columns);
        making.sum.add(seen);
        pace.adapt(bytes, records);
        done += records;
    }
}

fn texts(
    batches: &[Batch],
    column: usize,
    metadata: &parquet::file::metadata::RowGroupMetaData,
    leaves: &[Leaf],
) -> Option<Texts> {
    let (batch, leaf) = (&batches[column], leaves.get(column)?);
    if matches!(batch.values, Values::Bool(_)) {
        return None;
    }
    let descriptor = metadata.column(column).column_descr();
    let cells = batch.values.texts(Kind::of(descriptor.self_type()), true);
    let masked = match &leaf.fate {
        Fate::Mask(mask) if leaf.watched.keeps_parts() => {
            let beside = mask.beside.map(|other| {
                let descriptor_of_other = metadata.column(other).column_descr();
                let kind = Kind::of(descriptor_of_other.self_type());
                batch.beside(descriptor.max_def_level(), &batches[other], kind, descriptor_of_other.max_def_level())
            });
            mask.prepared.apply_beside(&cells, beside.as_ref(), mask.mistyped).ok()
        }
        _ => None,
    };
    let rows = batch.rows(descriptor.max_def_level());
    Some((one_piece(&cells), rows, masked.as_ref().map(one_piece)))
}
