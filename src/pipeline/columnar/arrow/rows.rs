//! Batches as rows of text: CSV, or one JSON object a line.
//!
//! Integers and decimals keep every digit, dates and times are ISO 8601. What has no text refuses the file.

use std::cell::RefCell;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, OffsetSizeTrait, RecordBatch};
use arrow_schema::{DataType, SchemaRef};

use super::leaf;
use super::schema::is_single;
use crate::pipeline::convert::{BLOCK, check_header, push_field, push_key, unconvertible};
use crate::pipeline::fault::{of_file, quoted};
use crate::pipeline::json::push_string;
use crate::pipeline::tap::Tap;
use crate::pipeline::{Failure, Fault, OutputFormat};

pub(super) struct Rows {
    tap: Tap,
    is_csv: bool,
    rows: u64,
    text: Vec<u8>,
}

/// Appends what stands in a place; false where it has no text.
type Put<'a> = Box<dyn Fn(usize, &mut Vec<u8>) -> bool + 'a>;

impl Rows {
    /// `columns` are the columns as they may be given out.
    pub(super) fn begin(
        tap: Tap,
        (schema, columns): (&SchemaRef, &[String]),
        format: OutputFormat,
    ) -> Result<Rows, Failure> {
        let is_csv = format == OutputFormat::Csv;
        let mut text = Vec::new();
        if is_csv {
            let fields = schema.fields();
            let mut all = fields.iter().zip(columns);
            if let Some((_, nested)) = all.find(|(field, _)| !is_single(field.data_type())) {
                return Err(Failure::Reject(nested_column(nested)));
            }
            check_header(fields.iter().map(|field| field.name().as_str()))?;
            fields.iter().enumerate().for_each(|(place, field)| {
                push_field(Some(field.name()), (place, fields.len()), &mut text);
            });
            text.push(b'\n');
        }
        Ok(Rows { tap, is_csv, rows: 0, text })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch, columns: &[String]) -> Result<(), Failure> {
        let width = batch.num_columns();
        let schema = batch.schema();
        let arrays = batch.columns().iter().enumerate();
        let puts: Vec<Put<'_>> = arrays
            .map(|(place, column)| match self.is_csv {
                true => field(column.as_ref(), (place, width)),
                false => member(place, schema.field(place).name(), column.as_ref()),
            })
            .collect();
        for row in 0..batch.num_rows() {
            self.rows += 1;
            let before = self.text.len();
            for (put, column) in puts.iter().zip(columns) {
                if !put(row, &mut self.text) {
                    let what = "a value that has no text stands";
                    return Err(Failure::Reject(unconvertible(self.rows, column, what)));
                }
            }
            self.text.extend_from_slice(if self.is_csv { b"\n" } else { b"}\n" });
            // A few bytes of the input can stand for any number of long values.
            self.tap.outlet.expansion.add_row((self.text.len() - before) as u64, self.rows)?;
            if self.text.len() >= BLOCK {
                self.hand_on()?;
            }
        }
        self.hand_on()
    }

    fn hand_on(&mut self) -> Result<(), Failure> {
        self.tap.outlet.drain.write(&self.text)?;
        self.text.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Tap, Failure> {
        self.tap.outlet.drain.write(&self.text)?;
        Ok(self.tap)
    }
}

fn nested_column(column: &str) -> Fault {
    let sentence = format!("{} is a list, a struct or a map, which CSV has no place for", quoted(column));
    let advice = "Drop what lies in it, or set `output.format` to \"ndjson\".";
    Fault { column: Some(column.to_owned()), ..of_file("unconvertible_column", &sentence, advice) }
}

/// A field of CSV, which has no place for NUL: its readers refuse it, or end there.
fn field<'a>(array: &'a dyn Array, place: (usize, usize)) -> Put<'a> {
    let (nulls, read, cell) = (array.logical_nulls(), leaf::reader(array), RefCell::new(String::new()));
    Box::new(move |at, out| {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(at)) {
            push_field(None, place, out);
            return true;
        }
        let mut cell = cell.borrow_mut();
        cell.clear();
        let is_read = read(at, &mut cell);
        push_field(Some(&cell), place, out);
        is_read && !cell.contains('\0')
    })
}

/// A key of an object with its value.
fn member<'a>(place: usize, name: &str, array: &'a dyn Array) -> Put<'a> {
    let mut key = Vec::new();
    push_key(place, name, &mut key);
    let value = value(array);
    Box::new(move |at, out| {
        out.extend_from_slice(&key);
        value(at, out)
    })
}

fn value(array: &dyn Array) -> Put<'_> {
    let nulls = array.logical_nulls();
    let put = present(array);
    Box::new(move |at, out| {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(at)) {
            out.extend_from_slice(b"null");
            return true;
        }
        put(at, out)
    })
}

/// A value that is not null; maps are lists of their entries, as rules spell them.
fn present(array: &dyn Array) -> Put<'_> {
    match array.data_type() {
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter().zip(fields).enumerate();
            let members = columns.map(|(place, (column, field))| member(place, field.name(), column.as_ref()));
            let members: Vec<Put<'_>> = members.collect();
            Box::new(move |at, out| {
                if members.is_empty() {
                    out.push(b'{');
                }
                let all = members.iter().all(|member| member(at, out));
                out.push(b'}');
                all
            })
        }
        DataType::List(_) => list::<i32>(array),
        DataType::LargeList(_) => list::<i64>(array),
        DataType::ListView(_) => list_view::<i32>(array),
        DataType::LargeListView(_) => list_view::<i64>(array),
        DataType::FixedSizeList(_, width) => {
            let width = width.unsigned_abs() as usize;
            elements(array.as_fixed_size_list().values().as_ref(), move |at| at * width..(at + 1) * width)
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let offsets = map.offsets();
            elements(map.entries(), move |at| offsets[at] as usize..offsets[at + 1] as usize)
        }
        single => leaf(array, stood_for(single)),
    }
}

fn list<O: OffsetSizeTrait>(array: &dyn Array) -> Put<'_> {
    let list = array.as_list::<O>();
    let offsets = list.offsets();
    elements(list.values().as_ref(), move |at| offsets[at].as_usize()..offsets[at + 1].as_usize())
}

fn list_view<O: OffsetSizeTrait>(array: &dyn Array) -> Put<'_> {
    let list = array.as_list_view::<O>();
    elements(list.values().as_ref(), move |at| {
        let start = list.offsets()[at].as_usize();
        start..start + list.sizes()[at].as_usize()
    })
}

fn elements<'a>(values: &'a dyn Array, range: impl Fn(usize) -> Range<usize> + 'a) -> Put<'a> {
    let value = value(values);
    Box::new(move |at, out| {
        out.push(b'[');
        let range = range(at);
        let first = range.start;
        let all = range.into_iter().all(|place| {
            if place > first {
                out.push(b',');
            }
            value(place, out)
        });
        out.push(b']');
        all
    })
}

/// What stands in the rows of a dictionary or of runs.
fn stood_for(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, value) => stood_for(value),
        DataType::RunEndEncoded(_, values) => stood_for(values.data_type()),
        single => single,
    }
}

/// Numbers and truth values stand as they are, everything else is a text. JSON has no number that is none: it is null.
fn leaf<'a>(array: &'a dyn Array, data_type: &DataType) -> Put<'a> {
    let (read, cell) = (leaf::reader(array), RefCell::new(String::new()));
    let is_literal = data_type.is_numeric() || *data_type == DataType::Boolean;
    Box::new(move |at, out| {
        let mut cell = cell.borrow_mut();
        cell.clear();
        let is_read = read(at, &mut cell);
        match (is_literal, cell.as_str()) {
            (true, "NaN") => out.extend_from_slice(b"null"),
            (true, "inf" | "-inf") => return false,
            (true, literal) => out.extend_from_slice(literal.as_bytes()),
            (false, text) => push_string(text, out),
        }
        is_read
    })
}
