//! Rows of text as CSV, as JSON lines or as Parquet.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::{Value, check_header};
use crate::pipeline::fault::internal;
use crate::pipeline::json::push_string;
use crate::pipeline::{Compress, Failure, OutputFormat, Writing};

/// Of a row group, before another one begins: it is held in memory.
const GROUP_BYTES: usize = 16 << 20;
const GROUP_ROWS: usize = 1 << 20;
/// Of text that is not yet in a row group.
const BATCH_BYTES: usize = 4 << 20;
const ZSTD_LEVEL: i32 = 3;

pub(super) struct Table {
    places: HashMap<String, usize>,
    body: Body,
}

enum Body {
    Csv,
    Lines {
        /// What stands before each value.
        keys: Vec<Vec<u8>>,
    },
    Parquet(Box<Groups>),
}

/// A Parquet file whose bytes are taken out of its memory as they come.
struct Groups {
    writer: ArrowWriter<Vec<u8>>,
    schema: SchemaRef,
    columns: Vec<StringBuilder>,
    bytes: usize,
}

impl Table {
    /// Whether records of JSON need not be taken apart.
    pub(super) fn is_lines(writing: Writing) -> bool {
        writing.format == OutputFormat::Ndjson
    }

    pub(super) fn begin(writing: Writing, names: &[String], out: &mut Vec<u8>) -> Result<Table, Failure> {
        let body = match writing.format {
            OutputFormat::Csv => {
                check_header(names.iter().map(String::as_str))?;
                let names: Vec<Value<'_>> = names.iter().map(|name| Value::Text(name.into())).collect();
                push_row(&names, out);
                Body::Csv
            }
            OutputFormat::Ndjson => Body::Lines { keys: names.iter().enumerate().map(key).collect() },
            OutputFormat::Parquet => Body::Parquet(Box::new(Groups::begin(writing, names)?)),
            OutputFormat::Same => return Err(internal("there is nothing to convert")),
        };
        let places = names.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
        Ok(Table { places, body })
    }

    pub(super) fn width(&self) -> usize {
        self.places.len()
    }

    /// The column of that name, from 0.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// Adds a row, and tells of how many bytes; what is ready is appended to `out`.
    pub(super) fn row(&mut self, row: &[Value<'_>], out: &mut Vec<u8>) -> Result<usize, Failure> {
        let before = out.len();
        match &mut self.body {
            Body::Csv => push_row(row, out),
            Body::Lines { keys } => {
                for (key, value) in keys.iter().zip(row) {
                    out.extend_from_slice(key);
                    match value {
                        Value::Null => out.extend_from_slice(b"null"),
                        Value::Text(text) => push_string(text, out),
                        Value::Literal(text) => out.extend_from_slice(text.as_bytes()),
                    }
                }
                out.extend_from_slice(b"}\n");
            }
            Body::Parquet(groups) => {
                let bytes = groups.row(row)?;
                out.append(groups.writer.inner_mut());
                return Ok(bytes);
            }
        }
        Ok(out.len() - before)
    }

    pub(super) fn end(self, out: &mut Vec<u8>) -> Result<(), Failure> {
        if let Body::Parquet(mut groups) = self.body {
            groups.flush()?;
            out.append(&mut groups.writer.into_inner().map_err(unwritten)?);
        }
        Ok(())
    }
}

impl Groups {
    fn begin(writing: Writing, names: &[String]) -> Result<Groups, Failure> {
        let fields: Vec<Field> = names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let properties = parquet_properties(writing.compress);
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).map_err(unwritten)?;
        let columns = names.iter().map(|_| StringBuilder::new()).collect();
        Ok(Groups { writer, schema, columns, bytes: 0 })
    }

    fn row(&mut self, row: &[Value<'_>]) -> Result<usize, Failure> {
        let before = self.bytes;
        for (column, value) in self.columns.iter_mut().zip(row) {
            let text = match value {
                Value::Null => None,
                Value::Text(text) => Some(text.as_ref()),
                Value::Literal(text) => Some(*text),
            };
            self.bytes += text.map_or(1, str::len);
            column.append_option(text);
        }
        let bytes = self.bytes - before;
        if self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(bytes)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.bytes = 0;
        let columns = self.columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), columns);
        let batch = batch.map_err(|_| internal("the columns of a table have different lengths"))?;
        self.writer.write(&batch).map_err(unwritten)
    }
}

/// How Parquet is written: its compression is that of its columns.
pub(in crate::pipeline) fn parquet_properties(compress: Compress) -> WriterProperties {
    let compression = match compress {
        Compress::None => Compression::UNCOMPRESSED,
        Compress::Gzip => Compression::GZIP(GzipLevel::default()),
        Compress::Same | Compress::Zstd => Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default()),
    };
    WriterProperties::builder()
        .set_created_by(concat!("veild version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression)
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build()
}

/// It is written to memory: nothing outside is to blame. What the library says is dropped, it may quote values.
fn unwritten(_: ParquetError) -> Failure {
    internal("a Parquet file could not be written")
}

fn key((place, name): (usize, &String)) -> Vec<u8> {
    let mut key = Vec::new();
    push_key(place, name, &mut key);
    key
}

/// `{"name":` or `,"name":`
pub(in crate::pipeline) fn push_key(place: usize, name: &str, out: &mut Vec<u8>) {
    out.push(if place == 0 { b'{' } else { b',' });
    push_string(name, out);
    out.push(b':');
}

fn push_row(row: &[Value<'_>], out: &mut Vec<u8>) {
    for (place, value) in row.iter().enumerate() {
        let text = match value {
            Value::Null => None,
            Value::Text(text) => Some(text.as_ref()),
            Value::Literal(text) => Some(*text),
        };
        push_field(text, (place, row.len()), out);
    }
    out.push(b'\n');
}

/// A field of CSV: nothing for what is missing, two quotes for an empty text and where the line would be empty.
pub(in crate::pipeline) fn push_field(text: Option<&str>, (place, width): (usize, usize), out: &mut Vec<u8>) {
    if place > 0 {
        out.push(b',');
    }
    match text {
        None if width > 1 => {}
        None | Some("") => out.extend_from_slice(b"\"\""),
        Some(text) if text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) => {
            out.push(b'"');
            for part in text.split_inclusive('"') {
                out.extend_from_slice(part.as_bytes());
                if part.ends_with('"') {
                    out.push(b'"');
                }
            }
            out.push(b'"');
        }
        Some(text) => out.extend_from_slice(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let mut out = Vec::new();
        let row = ["007", "a,b", "say \"hi\"", " x ", "", "l\nm"].map(|text| Value::Text(text.into()));
        push_row(&row, &mut out);
        push_row(&[Value::Null, Value::Literal("1.50")], &mut out);
        push_row(&[Value::Null], &mut out);
        assert_eq!(out, b"007,\"a,b\",\"say \"\"hi\"\"\", x ,\"\",\"l\nm\"\n,1.50\n\"\"\n");
    }
}
