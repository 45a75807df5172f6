//! Leaves rows out of a batch, with all that is theirs: a filter alone would keep their texts in the buffers of views and
//! in dictionaries.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::{ArrowError, DataType, Fields};
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take;
use polars::prelude::{NewChunkedArray, StringChunked};

use super::{texts_by_row, unwritable};
use crate::pipeline::columnar::plan::Sieving;
use crate::pipeline::expansion::Expansion;
use crate::pipeline::fault::of_file;
use crate::pipeline::{Failure, Fault};

/// What is left of a batch.
pub(super) struct Sifted<'b> {
    pub batch: Cow<'b, RecordBatch>,
    /// Rows of the input's batch, where some were left out.
    kept: Option<Vec<usize>>,
}

impl<'b> Sifted<'b> {
    pub(super) fn whole(batch: &'b RecordBatch) -> Sifted<'b> {
        Sifted { batch: Cow::Borrowed(batch), kept: None }
    }

    /// The place in the input's batch of a row that is left.
    pub(super) fn row(&self, row: usize) -> usize {
        self.kept.as_ref().map_or(row, |kept| kept.get(row).copied().unwrap_or(0))
    }
}

/// `rows_before` is the number of rows in the batches before.
pub(super) fn sift<'b>(
    sieving: &Sieving<'_>,
    batch: &'b RecordBatch,
    rows_before: u64,
    expansion: &Expansion,
) -> Result<Sifted<'b>, Failure> {
    let texts = texts_by_row(&sieving.columns, batch, expansion)?;
    let cells = |column: &usize| -> StringChunked {
        let texts = texts.get(column).map_or(&[][..], Vec::as_slice);
        StringChunked::from_iter_options("".into(), texts.iter().map(Option::as_deref))
    };
    let cells: Vec<StringChunked> = sieving.columns.iter().map(cells).collect();
    let left_out = sieving.sieve.sift(&cells, batch.num_rows(), &|index| rows_before + index as u64 + 1)?;
    let Some(left_out) = left_out else { return Ok(Sifted::whole(batch)) };
    let stays: BooleanArray = left_out.iter().map(|left_out| Some(!left_out)).collect();
    let batch = filter_record_batch(batch, &stays).map_err(|_| unwritable())?;
    let kept = left_out.iter().enumerate().filter(|(_, left_out)| !**left_out).map(|(row, _)| row);
    Ok(Sifted { batch: Cow::Owned(batch), kept: Some(kept.collect()) })
}

/// A column with its own values only; a dictionary is taken apart.
pub(super) fn compacted(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match array.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            compacted(&take(dictionary.values(), dictionary.keys(), None)?)?
        }
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => array.clone(),
    })
}

/// Refuses types of which a row cannot be taken away whole.
pub(super) fn check(fields: &Fields) -> Result<(), Fault> {
    if fields.iter().all(|field| is_divisible(field.data_type())) {
        return Ok(());
    }
    let sentence = "the file has list views, unions or run-end encoded columns, of which no row can be left out";
    let advice = "Have the file written with plain lists and columns, or as Parquet.";
    Err(of_file("unsupported_file", sentence, advice))
}

fn is_divisible(data_type: &DataType) -> bool {
    match data_type {
        DataType::ListView(_) | DataType::LargeListView(_) | DataType::Union(..) | DataType::RunEndEncoded(..) => false,
        DataType::Struct(fields) => fields.iter().all(|field| is_divisible(field.data_type())),
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::Map(inner, _) => is_divisible(inner.data_type()),
        DataType::Dictionary(_, value) => is_divisible(value),
        _ => true,
    }
}
