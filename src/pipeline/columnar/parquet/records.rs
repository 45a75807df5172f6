//! A Parquet file as batches of records, for outputs in another format.
//!
//! Texts come as views, so that a long value of a dictionary stands in memory once, however many rows have it.

use std::sync::Arc;

use arrow_array::builder::StringViewBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

use super::super::{Opened, text};
use super::batch::Batch;
use super::container::Container;
use super::types::Kind;
use super::values::{JULIAN_1970, Values};
use super::{Place, malformed};
use crate::pipeline::Failure;
use crate::pipeline::fault::of_file;
use crate::pipeline::source::retry;
use crate::pipeline::window::Window;

const BATCH_ROWS: usize = 1024;
/// Days from 1970 to either end of what 64 bits of nanoseconds hold, and a day less.
const MOST_DAYS: i64 = 106_750;
const NANOSECONDS_OF_A_DAY: u64 = 86_400_000_000_000;

pub(in crate::pipeline::columnar) struct Records {
    reader: ParquetRecordBatchReader,
    /// With UUIDs as texts.
    pub schema: SchemaRef,
    uuids: Vec<usize>,
    pub window: Window,
    rows: u64,
    all_rows: u64,
    bytes: u64,
}

impl Records {
    pub(in crate::pipeline::columnar) fn open(opened: &Opened<'_>) -> Result<Records, Failure> {
        let container = Container::open(opened)?;
        container.check_moments(opened.progress)?;
        let Container { window, metadata, .. } = container;
        let blame = |error: ParquetError| match window.failure() {
            Some(failure) => retry("read the input", &failure),
            None => Failure::Reject(malformed(error)),
        };
        let root = metadata.file_metadata().schema_descr().root_schema_ptr();
        let uuids = root.get_fields().iter().enumerate();
        let uuids = uuids.filter(|(_, field)| field.is_primitive() && Kind::of(field) == Kind::Uuid);
        let uuids: Vec<usize> = uuids.map(|(place, _)| place).collect();
        let all_rows = metadata.row_groups().iter().map(|group| group.num_rows().unsigned_abs()).sum();
        let metadata = Arc::new(metadata);
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let plain = ArrowReaderMetadata::try_new(metadata.clone(), options.clone()).map_err(blame)?;
        let viewed = Arc::new(Schema::new(plain.schema().fields().iter().map(viewed).collect::<Vec<_>>()));
        let found = ArrowReaderMetadata::try_new(metadata, options.with_schema(viewed.clone())).map_err(blame)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(window.clone(), found);
        let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(blame)?;
        let mut fields: Vec<FieldRef> = viewed.fields().iter().cloned().collect();
        for place in &uuids {
            let field = Field::clone(&fields[*place]).with_data_type(DataType::Utf8View);
            fields[*place] = Arc::new(field);
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Records { reader, schema, uuids, window, rows: 0, all_rows, bytes: opened.len })
    }

    /// How far the reading has come, in bytes of the file.
    pub(in crate::pipeline::columnar) fn position(&self) -> u64 {
        (self.bytes as f64 * (self.rows as f64 / self.all_rows.max(1) as f64)) as u64
    }

    pub(in crate::pipeline::columnar) fn next(&mut self) -> Option<Result<RecordBatch, ArrowError>> {
        let Some(batch) = self.reader.next() else {
            let is_whole = self.rows == self.all_rows;
            return (!is_whole).then(|| Err(ArrowError::ParquetError("rows are missing".to_owned())));
        };
        let batch = batch.and_then(|batch| {
            let mut columns = batch.columns().to_vec();
            for place in &self.uuids {
                columns[*place] = written(columns[*place].as_ref());
            }
            RecordBatch::try_new(self.schema.clone(), columns)
        });
        self.rows += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        Some(batch)
    }
}

/// UUIDs as they are written.
fn written(array: &dyn Array) -> ArrayRef {
    let Some(array) = array.as_fixed_size_binary_opt() else { return array.slice(0, array.len()) };
    let mut builder = StringViewBuilder::new();
    for value in array {
        let mut cell = String::new();
        let value = value.filter(|value| text::push_uuid(value, &mut cell));
        builder.append_option(value.map(|_| &cell));
    }
    Arc::new(builder.finish())
}

/// A field with its texts as views.
fn viewed(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(viewed).collect()),
        DataType::List(inner) => DataType::List(viewed(inner)),
        DataType::Map(inner, sorted) => DataType::Map(viewed(inner), *sorted),
        other => other.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

impl Container<'_> {
    /// Refuses moments of the old kind that 64 bits of nanoseconds do not hold: the library would make others of them.
    fn check_moments(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<(), Failure> {
        let columns = self.metadata.file_metadata().schema_descr().columns();
        let moments = columns.iter().enumerate().filter(|(_, column)| Kind::of(column.self_type()) == Kind::Int96);
        for (column, descriptor) in moments {
            for group in 0..self.metadata.num_row_groups() {
                let place = Place { group, column, first_row: 1 };
                let blame = |error| self.blame(error, None, place, &self.position(column));
                let mut reader = self.reader(group, column).map_err(blame)?;
                loop {
                    let batch = Batch::read_records(&mut reader, descriptor, BATCH_ROWS).map_err(blame)?;
                    if batch.records == 0 {
                        break;
                    }
                    let Values::Int96(values) = &batch.values else { break };
                    let fits = |[low, high, day]: [u32; 3]| {
                        let nanoseconds = u64::from(high) << 32 | u64::from(low);
                        let days = i64::from(day) - JULIAN_1970;
                        nanoseconds < NANOSECONDS_OF_A_DAY && days.abs() <= MOST_DAYS
                    };
                    let all_fit = values.iter().all(|value| value.data().try_into().is_ok_and(fits));
                    if !all_fit {
                        return Err(Failure::Reject(beyond(&self.position(column))));
                    }
                }
                progress(0);
            }
        }
        Ok(())
    }
}

fn beyond(column: &str) -> crate::pipeline::Fault {
    let sentence = format!("{column} of the file has moments before 1678 or behind 2261 that cannot be converted");
    let advice = "Drop the column, set `output.format` to \"same\", or have the moments written in the usual type.";
    of_file("unconvertible_value", &sentence, advice)
}
