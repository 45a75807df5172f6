//! One column's array: read as text, masked, and built anew.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::builder::{GenericStringBuilder, PrimitiveBuilder, StringViewBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, RunEndIndexType, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, OffsetSizeTrait, new_null_array};
use arrow_buffer::{ArrowNativeType, NullBuffer};
use arrow_schema::{DataType, TimeUnit};
use polars::prelude::{NewChunkedArray, StringChunked, StringChunkedBuilder};

use super::array::{Live, RowOf};
use super::schema::Target;
use crate::mask::{Mask, OnMistyped, REDACTED};
use crate::pipeline::Failure;
use crate::pipeline::columnar::plan::LeafMask;
use crate::pipeline::columnar::text;
use crate::pipeline::expansion::Expansion;

/// A value that a mask cannot take.
pub(super) struct Refused {
    /// From 0.
    pub row: usize,
    pub expected: &'static str,
}

/// Appends the text of a place; false where a value cannot be read as text.
type Reader<'a> = Box<dyn Fn(usize, &mut String) -> bool + 'a>;

/// Reads an array's values as text; places without a value are not to be asked for.
pub(super) fn reader(array: &dyn Array) -> Reader<'_> {
    match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            Box::new(move |at, out| write!(out, "{}", array.value(at)).is_ok())
        }
        DataType::Int8 => shown::<Int8Type>(array),
        DataType::Int16 => shown::<Int16Type>(array),
        DataType::Int32 => shown::<Int32Type>(array),
        DataType::Int64 => shown::<Int64Type>(array),
        DataType::UInt8 => shown::<UInt8Type>(array),
        DataType::UInt16 => shown::<UInt16Type>(array),
        DataType::UInt32 => shown::<UInt32Type>(array),
        DataType::UInt64 => shown::<UInt64Type>(array),
        DataType::Float16 => shown::<Float16Type>(array),
        DataType::Float32 => shown::<Float32Type>(array),
        DataType::Float64 => shown::<Float64Type>(array),
        DataType::Utf8 => strings::<i32>(array),
        DataType::LargeUtf8 => strings::<i64>(array),
        DataType::Utf8View => {
            let array = array.as_string_view();
            Box::new(move |at, out| push(array.value(at), out))
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Box::new(move |at, out| push_utf8(array.value(at), out))
        }
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>();
            Box::new(move |at, out| push_utf8(array.value(at), out))
        }
        DataType::BinaryView => {
            let array = array.as_binary_view();
            Box::new(move |at, out| push_utf8(array.value(at), out))
        }
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            Box::new(move |at, out| {
                text::push_hex(array.value(at), out);
                true
            })
        }
        DataType::Decimal32(..) => decimals::<Decimal32Type>(array),
        DataType::Decimal64(..) => decimals::<Decimal64Type>(array),
        DataType::Decimal128(..) => decimals::<Decimal128Type>(array),
        DataType::Decimal256(..) => decimals::<Decimal256Type>(array),
        DataType::Dictionary(..) => {
            let array = array.as_any_dictionary();
            let (keys, read) = (array.normalized_keys(), reader(array.values().as_ref()));
            Box::new(move |at, out| keys.get(at).is_some_and(|key| read(*key, out)))
        }
        DataType::RunEndEncoded(ends, _) => match ends.data_type() {
            DataType::Int16 => runs::<Int16Type>(array),
            DataType::Int32 => runs::<Int32Type>(array),
            _ => runs::<Int64Type>(array),
        },
        _ => calendar(array),
    }
}

fn calendar(array: &dyn Array) -> Reader<'_> {
    const DAY_MS: i64 = 86_400_000;
    match array.data_type() {
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>();
            Box::new(move |at, out| text::push_date(i64::from(days.value(at)), out))
        }
        DataType::Date64 => {
            let millis = array.as_primitive::<Date64Type>();
            Box::new(move |at, out| text::push_date(millis.value(at).div_euclid(DAY_MS), out))
        }
        DataType::Time32(TimeUnit::Second) => times::<Time32SecondType>(array, 1),
        DataType::Time32(_) => times::<Time32MillisecondType>(array, 1_000),
        DataType::Time64(TimeUnit::Microsecond) => times::<Time64MicrosecondType>(array, 1_000_000),
        DataType::Time64(_) => times::<Time64NanosecondType>(array, 1_000_000_000),
        DataType::Timestamp(TimeUnit::Second, zone) => stamps::<TimestampSecondType>(array, 1, zone.is_some()),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            stamps::<TimestampMillisecondType>(array, 1_000, zone.is_some())
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            stamps::<TimestampMicrosecondType>(array, 1_000_000, zone.is_some())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            stamps::<TimestampNanosecondType>(array, 1_000_000_000, zone.is_some())
        }
        DataType::Duration(TimeUnit::Second) => durations::<DurationSecondType>(array, 1),
        DataType::Duration(TimeUnit::Millisecond) => durations::<DurationMillisecondType>(array, 1_000),
        DataType::Duration(TimeUnit::Microsecond) => durations::<DurationMicrosecondType>(array, 1_000_000),
        DataType::Duration(TimeUnit::Nanosecond) => durations::<DurationNanosecondType>(array, 1_000_000_000),
        _ => Box::new(|_, _| false),
    }
}

fn runs<R: RunEndIndexType>(array: &dyn Array) -> Reader<'_> {
    let array = array.as_run::<R>();
    let read = reader(array.values().as_ref());
    Box::new(move |at, out| read(array.get_physical_index(at), out))
}

fn durations<T: ArrowPrimitiveType<Native = i64>>(array: &dyn Array, per_second: i64) -> Reader<'_> {
    let array = array.as_primitive::<T>();
    Box::new(move |at, out| {
        text::push_duration(array.value(at), per_second, out);
        true
    })
}

fn shown<T: ArrowPrimitiveType<Native: std::fmt::Display>>(array: &dyn Array) -> Reader<'_> {
    let array = array.as_primitive::<T>();
    Box::new(move |at, out| write!(out, "{}", array.value(at)).is_ok())
}

fn decimals<T: arrow_array::types::DecimalType>(array: &dyn Array) -> Reader<'_> {
    let array = array.as_primitive::<T>();
    Box::new(move |at, out| push(&array.value_as_string(at), out))
}

fn times<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &dyn Array, per_second: i64) -> Reader<'_> {
    let array = array.as_primitive::<T>();
    Box::new(move |at, out| text::push_time(array.value(at).into(), per_second, out))
}

fn stamps<T: ArrowPrimitiveType<Native = i64>>(array: &dyn Array, per_second: i64, utc: bool) -> Reader<'_> {
    let array = array.as_primitive::<T>();
    Box::new(move |at, out| text::push_timestamp(array.value(at), per_second, utc, out))
}

fn strings<O: OffsetSizeTrait>(array: &dyn Array) -> Reader<'_> {
    let array = array.as_string::<O>();
    Box::new(move |at, out| push(array.value(at), out))
}

fn push(text: &str, out: &mut String) -> bool {
    out.push_str(text);
    true
}

fn push_utf8(bytes: &[u8], out: &mut String) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok_and(|text| push(text, out))
}

/// Which places of a column hold a value that belongs to something.
pub(super) fn there(array: &dyn Array, live: &Live) -> Live {
    NullBuffer::union(array.logical_nulls().as_ref(), live.as_ref())
}

/// What stands in a place of a masked column.
enum Slot<'a> {
    Text(&'a str),
    /// It was missing, or a mask took it.
    Null,
    /// It belongs to nothing.
    Hidden,
}

/// The texts of a column without lists, by row.
pub(super) fn by_row(
    array: &dyn Array,
    live: &Live,
    row_of: RowOf<'_>,
    rows: usize,
    expansion: &Expansion,
) -> Result<Vec<Option<String>>, Failure> {
    expansion.add(rows as u64)?;
    let (there, read) = (there(array, live), reader(array));
    let mut texts = vec![Some(String::new()); rows];
    for place in (0..array.len()).filter(|place| there.as_ref().is_none_or(|there| there.is_valid(*place))) {
        let mut cell = String::new();
        if let Some(text) = texts.get_mut(row_of(place)) {
            let is_read = read(place, &mut cell);
            expansion.add(cell.len() as u64)?;
            *text = is_read.then_some(cell);
        }
    }
    Ok(texts)
}

/// Why a column was not masked.
pub(super) enum Unmasked {
    Refused(Refused),
    Failed(Failure),
}

/// Is shown the texts of a column before and after its mask, and the row of each.
pub(super) type See<'a> = &'a mut dyn FnMut(&StringChunked, &StringChunked, Vec<u32>);

/// The texts of a column that is not masked, and the row of each.
pub(super) fn passed(
    array: &dyn Array,
    live: &Live,
    row_of: RowOf<'_>,
    expansion: &Expansion,
) -> Result<(StringChunked, Vec<u32>), Failure> {
    expansion.add(array.len() as u64)?;
    let (there, read) = (there(array, live), reader(array));
    let (mut texts, mut rows) = (StringChunkedBuilder::new("".into(), array.len()), Vec::new());
    let mut cell = String::new();
    for place in (0..array.len()).filter(|place| there.as_ref().is_none_or(|there| there.is_valid(*place))) {
        cell.clear();
        if read(place, &mut cell) {
            expansion.add(cell.len() as u64)?;
            texts.append_value(&cell);
            rows.push(row_of(place) as u32);
        }
    }
    Ok((texts.finish(), rows))
}

/// The masked array; `beside` has the texts of the column that the mask looks at, by row.
pub(super) fn masked(
    array: &ArrayRef,
    leaf: &LeafMask,
    target: &Target,
    (live, row_of): (&Live, RowOf<'_>),
    beside: Option<&[Option<String>]>,
    expansion: &Expansion,
    see: See<'_>,
) -> Result<ArrayRef, Unmasked> {
    if leaf.mask == Mask::Null {
        return Ok(new_null_array(&target.data_type, array.len()));
    }
    // A few bytes can stand for any number of rows, and a dictionary for one long value in each of them.
    expansion.add(array.len() as u64).map_err(Unmasked::Failed)?;
    let there = there(array.as_ref(), live);
    let is_there = |place: usize| there.as_ref().is_none_or(|there| there.is_valid(place));
    let places: Vec<usize> = (0..array.len()).filter(|place| is_there(*place)).collect();
    let refused = |index: usize, expected| {
        Unmasked::Refused(Refused { row: row_of(places.get(index).copied().unwrap_or(0)), expected })
    };
    let cells = texts(array.as_ref(), &places, matches!(leaf.mask, Mask::Redact { .. }), expansion);
    let cells = cells.map_err(Unmasked::Failed)?;
    if let Some(index) = cells.first_null().filter(|_| leaf.mistyped == OnMistyped::Reject) {
        return Err(refused(index, "a value that reads as text"));
    }
    let beside = beside.map(|texts| {
        let of_places = places.iter().map(|place| texts.get(row_of(*place)).and_then(Option::as_deref));
        StringChunked::from_iter_options("".into(), of_places)
    });
    let masked = leaf
        .prepared
        .apply_beside(&cells, beside.as_ref(), leaf.mistyped)
        .map_err(|it| refused(it.index, it.expected))?;
    see(&cells, &masked, places.iter().map(|place| row_of(*place) as u32).collect());
    let hidden = |place: usize| live.as_ref().is_some_and(|live| live.is_null(place));
    let mut slots: Vec<Slot<'_>> =
        (0..array.len()).map(|place| if hidden(place) { Slot::Hidden } else { Slot::Null }).collect();
    let inputs = cells.downcast_iter().flat_map(|chunk| chunk.iter());
    let outputs = masked.downcast_iter().flat_map(|chunk| chunk.iter());
    for ((input, output), place) in inputs.zip(outputs).zip(&places) {
        slots[*place] = match (input, output) {
            (None, _) if leaf.mistyped == OnMistyped::Redact => Slot::Text(REDACTED),
            // What a mask takes away is missing; what was empty stays so.
            (Some(input), Some(output)) if !output.is_empty() || input.is_empty() => Slot::Text(output),
            _ => Slot::Null,
        };
    }
    let expected = "a mask's value that fits the column's type";
    built(&slots, target, leaf.mistyped).map_err(|place| Unmasked::Refused(Refused { row: row_of(place), expected }))
}

/// The values as text, null where one cannot be read as such, or with something in its place.
fn texts(
    array: &dyn Array,
    places: &[usize],
    stands_in: bool,
    expansion: &Expansion,
) -> Result<StringChunked, Failure> {
    let read = reader(array);
    let mut builder = StringChunkedBuilder::new("".into(), places.len());
    let mut cell = String::new();
    for place in places {
        cell.clear();
        let is_read = read(*place, &mut cell);
        expansion.add(cell.len() as u64)?;
        match is_read {
            true => builder.append_value(&cell),
            false if stands_in => builder.append_value("x"),
            false => builder.append_null(),
        }
    }
    Ok(builder.finish())
}

/// Builds the array; an error names the place of a value that does not fit.
fn built(slots: &[Slot<'_>], target: &Target, mistyped: OnMistyped) -> Result<ArrayRef, usize> {
    let numbers = Numbers { slots, target, mistyped };
    match &target.data_type {
        DataType::LargeUtf8 => Ok(string_array::<i64>(slots, target)),
        DataType::Utf8View => {
            let mut builder = StringViewBuilder::new();
            slots.iter().for_each(|slot| builder.append_option(text_of(slot, target)));
            Ok(Arc::new(builder.finish()))
        }
        DataType::Int8 => numbers.parsed::<Int8Type>(),
        DataType::Int16 => numbers.parsed::<Int16Type>(),
        DataType::Int32 => numbers.parsed::<Int32Type>(),
        DataType::Int64 => numbers.parsed::<Int64Type>(),
        DataType::UInt8 => numbers.parsed::<UInt8Type>(),
        DataType::UInt16 => numbers.parsed::<UInt16Type>(),
        DataType::UInt32 => numbers.parsed::<UInt32Type>(),
        DataType::UInt64 => numbers.parsed::<UInt64Type>(),
        DataType::Float32 => numbers.parsed::<Float32Type>(),
        DataType::Float64 => numbers.parsed::<Float64Type>(),
        DataType::Decimal32(precision, scale) => numbers.read::<Decimal32Type>(|text| {
            text::decimal(text, i32::from(*precision), i32::from(*scale))?.try_into().ok()
        }),
        DataType::Decimal64(precision, scale) => numbers.read::<Decimal64Type>(|text| {
            text::decimal(text, i32::from(*precision), i32::from(*scale))?.try_into().ok()
        }),
        DataType::Decimal128(precision, scale) => {
            numbers.read::<Decimal128Type>(|text| text::decimal(text, i32::from(*precision), i32::from(*scale)))
        }
        _ => Ok(string_array::<i32>(slots, target)),
    }
}

fn string_array<O: OffsetSizeTrait>(slots: &[Slot<'_>], target: &Target) -> ArrayRef {
    let mut builder = GenericStringBuilder::<O>::new();
    slots.iter().for_each(|slot| builder.append_option(text_of(slot, target)));
    Arc::new(builder.finish())
}

fn text_of<'a>(slot: &Slot<'a>, target: &Target) -> Option<&'a str> {
    match slot {
        Slot::Text(text) => Some(text),
        _ if target.is_nullable => None,
        _ => Some(""),
    }
}

struct Numbers<'a> {
    slots: &'a [Slot<'a>],
    target: &'a Target,
    mistyped: OnMistyped,
}

impl Numbers<'_> {
    fn parsed<T: ArrowPrimitiveType<Native: std::str::FromStr>>(&self) -> Result<ArrayRef, usize> {
        self.read::<T>(|text| text.parse().ok())
    }

    fn read<T: ArrowPrimitiveType>(&self, parse: impl Fn(&str) -> Option<T::Native>) -> Result<ArrayRef, usize> {
        let mut builder =
            PrimitiveBuilder::<T>::with_capacity(self.slots.len()).with_data_type(self.target.data_type.clone());
        for (place, slot) in self.slots.iter().enumerate() {
            let number = match slot {
                Slot::Text(text) => parse(text),
                Slot::Hidden if !self.target.is_nullable => Some(T::Native::usize_as(0)),
                _ => None,
            };
            let is_misfit = number.is_none() && matches!(slot, Slot::Text(_));
            if (is_misfit && self.mistyped == OnMistyped::Reject) || (number.is_none() && !self.target.is_nullable) {
                return Err(place);
            }
            builder.append_option(number);
        }
        Ok(Arc::new(builder.finish()))
    }
}
