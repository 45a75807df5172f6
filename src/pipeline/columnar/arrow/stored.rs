//! Arrow's types as Parquet has them: it knows no seconds and no days of 64 bits, and would hold bare numbers in their place.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Time32MillisecondType, Time32SecondType, TimestampMillisecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::pipeline::fault::{internal, of_file, quoted};
use crate::pipeline::{Failure, Fault};

const MILLISECONDS_OF_A_DAY: i64 = 86_400_000;

/// The schema of what is written; `columns` are the columns as they may be given out.
pub(super) fn schema(schema: &Schema, columns: &[String]) -> Result<SchemaRef, Failure> {
    let mut fields = Vec::with_capacity(schema.fields().len());
    for (field, column) in schema.fields().iter().zip(columns) {
        let data_type = match field.data_type() {
            DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
            DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
            DataType::Date64 => DataType::Date32,
            other if is_stored(other) => other.clone(),
            _ => return Err(Failure::Reject(unknown(column))),
        };
        fields.push(Field::clone(field).with_data_type(data_type));
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// Whether Parquet has a type, with all that lies in it.
fn is_stored(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) | DataType::Time32(TimeUnit::Second) => false,
        DataType::Date64 | DataType::Union(..) | DataType::FixedSizeBinary(0) => false,
        DataType::Struct(fields) => fields.iter().all(|field| is_stored(field.data_type())),
        DataType::List(inner)
        | DataType::LargeList(inner)
        | DataType::ListView(inner)
        | DataType::LargeListView(inner)
        | DataType::FixedSizeList(inner, _)
        | DataType::Map(inner, _)
        | DataType::RunEndEncoded(_, inner) => is_stored(inner.data_type()),
        DataType::Dictionary(_, values) => is_stored(values),
        _ => true,
    }
}

/// A batch under that schema.
pub(super) fn batch(batch: &RecordBatch, schema: &SchemaRef, columns_told: &[String]) -> Result<RecordBatch, Failure> {
    let mut columns = Vec::with_capacity(batch.num_columns());
    for ((array, field), column) in batch.columns().iter().zip(schema.fields()).zip(columns_told) {
        let to = field.data_type();
        let stored = match array.data_type() {
            before if before == to => Some(array.clone()),
            DataType::Timestamp(..) => {
                changed::<TimestampSecondType, TimestampMillisecondType>(array, to, |it| it.checked_mul(1000))
            }
            DataType::Time32(_) => {
                changed::<Time32SecondType, Time32MillisecondType>(array, to, |it| it.checked_mul(1000))
            }
            _ => changed::<Date64Type, Date32Type>(array, to, whole_days),
        };
        columns.push(stored.ok_or_else(|| Failure::Reject(beyond(column)))?);
    }
    let made = RecordBatch::try_new(schema.clone(), columns);
    made.map_err(|_| internal("the columns of a batch do not fit their schema"))
}

/// `None` where a value has no place in the other type.
fn changed<F: ArrowPrimitiveType, T: ArrowPrimitiveType>(
    array: &ArrayRef,
    to: &DataType,
    change: impl Fn(F::Native) -> Option<T::Native>,
) -> Option<ArrayRef> {
    let array = array.as_primitive_opt::<F>()?;
    let made = array.try_unary::<_, T, ()>(|value| change(value).ok_or(())).ok()?;
    Some(Arc::new(made.with_data_type(to.clone())))
}

fn whole_days(milliseconds: i64) -> Option<i32> {
    let is_whole = milliseconds % MILLISECONDS_OF_A_DAY == 0;
    i32::try_from(milliseconds / MILLISECONDS_OF_A_DAY).ok().filter(|_| is_whole)
}

fn unknown(column: &str) -> Fault {
    let sentence = format!("{} has a type that Parquet does not have", quoted(column));
    let advice = "Drop it, or set `output.format` to \"same\" on a landing for such files.";
    Fault { column: Some(column.to_owned()), ..of_file("unconvertible_column", &sentence, advice) }
}

fn beyond(column: &str) -> Fault {
    let sentence = format!("{} has a date or time that Parquet has no place for", quoted(column));
    let advice = "Drop it, or set `output.format` to \"same\" on a landing for such files.";
    Fault { column: Some(column.to_owned()), ..of_file("unconvertible_value", &sentence, advice) }
}
