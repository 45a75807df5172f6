//! A masked text on its way into another format.
//!
//! Owns what lies between the pieces of an output and its end. Nothing is guessed: what was text stays text, what was a
//! number in JSON stays as it is spelled, and what has no place in the other format refuses the file. The leak scan has seen
//! all of it before.

mod table;

use std::borrow::Cow;
use std::sync::Arc;

pub(super) use self::table::{parquet_properties, push_field, push_key};

use self::table::Table;
use super::expansion::Expansion;
use super::fault::{internal, of_file, quoted};
use super::{Failure, Fault, OutputFormat, Writing, delimited, json};

/// Bytes of text that are handed on at a time.
pub(super) const BLOCK: usize = 256 << 10;

/// One record's value in a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'p> {
    Null,
    Text(Cow<'p, str>),
    /// A number or truth value of JSON, as it is spelled.
    Literal(&'p str),
}

/// How the pieces of the masked text are read.
enum Records {
    Delimited(delimited::Rows),
    Json(json::Rows),
}

pub(super) struct Converter {
    records: Records,
    writing: Writing,
    /// Absent until the columns are known, and where records of JSON stay such.
    table: Option<Table>,
    made: Made,
}

/// Takes what is ready.
type Write<'w> = &'w mut dyn FnMut(&[u8]) -> Result<(), Failure>;

/// What has come of the records so far.
struct Made {
    /// Not yet handed on.
    bytes: Vec<u8>,
    rows: u64,
    /// A few bytes of the input can stand for any number of fields.
    expansion: Arc<Expansion>,
}

impl Made {
    fn new(expansion: Arc<Expansion>) -> Made {
        Made { bytes: Vec::new(), rows: 0, expansion }
    }

    /// Begins a table, whose beginning is not yet handed on.
    fn begin(&mut self, writing: Writing, names: &[String]) -> Result<Table, Failure> {
        // A writer of Parquet holds buffers, a compressor and a decompressor for each column: some 120 KB.
        if writing.format == OutputFormat::Parquet && names.len() > self.expansion.max_columns() {
            return Err(Failure::Reject(too_wide(names.len(), self.expansion.max_columns())));
        }
        Table::begin(writing, names, &mut self.bytes)
    }

    /// Counts a row of so many bytes, and hands on what has come together.
    fn row(&mut self, bytes: usize, write: Write<'_>) -> Result<(), Failure> {
        self.rows += 1;
        self.expansion.add_row(bytes as u64, self.rows)?;
        if self.bytes.len() < BLOCK { Ok(()) } else { self.hand_on(write) }
    }

    fn hand_on(&mut self, write: Write<'_>) -> Result<(), Failure> {
        write(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

impl Converter {
    /// Of delimited text without its header record, whose columns have these names.
    pub(super) fn of_delimited(
        writing: Writing,
        names: &[String],
        rows: delimited::Rows,
        expansion: Arc<Expansion>,
    ) -> Result<Converter, Failure> {
        let mut made = Made::new(expansion);
        let table = Some(made.begin(writing, names)?);
        Ok(Converter { records: Records::Delimited(rows), writing, table, made })
    }

    pub(super) fn of_json(writing: Writing, rows: json::Rows, expansion: Arc<Expansion>) -> Converter {
        Converter { records: Records::Json(rows), writing, table: None, made: Made::new(expansion) }
    }

    /// Rows that were converted.
    pub(super) fn rows(&self) -> u64 {
        self.made.rows
    }

    /// Converts a piece of whole records.
    pub(super) fn take(&mut self, piece: &[u8], write: Write<'_>) -> Result<(), Failure> {
        let Converter { records, writing, table, made } = self;
        match records {
            Records::Delimited(records) => {
                let table = table.as_mut().ok_or_else(|| internal("a table was not begun"))?;
                records.each(piece, &mut |row| {
                    let bytes = table.row(row, &mut made.bytes)?;
                    made.row(bytes, write)
                })?;
            }
            Records::Json(records) if Table::is_lines(*writing) => {
                records.each(piece, &mut |_, record| {
                    json::push_line(record, &mut made.bytes);
                    made.row(record.len(), write)
                })?;
            }
            Records::Json(records) => tabulate(records, piece, *writing, table, made, write)?,
        }
        made.hand_on(write)
    }

    /// What stands at the end.
    pub(super) fn end(self) -> Result<Vec<u8>, Failure> {
        let mut out = self.made.bytes;
        match self.table {
            Some(table) => table.end(&mut out)?,
            None if Table::is_lines(self.writing) => {}
            None => return Err(Failure::Reject(no_columns())),
        }
        Ok(out)
    }
}

/// Puts JSON records into a table; its columns are the keys of the first piece that has records.
fn tabulate(
    records: &mut json::Rows,
    piece: &[u8],
    writing: Writing,
    table: &mut Option<Table>,
    made: &mut Made,
    write: Write<'_>,
) -> Result<(), Failure> {
    if table.is_none() {
        let names = records.names(piece)?;
        if names.is_empty() {
            return records.each(piece, &mut |_, _| Err(Failure::Reject(no_columns())));
        }
        *table = Some(made.begin(writing, &names)?);
    }
    let table = table.as_mut().ok_or_else(|| internal("a table was not begun"))?;
    let (width, is_csv) = (table.width(), writing.format == OutputFormat::Csv);
    records.each(piece, &mut |records, record| {
        let number = made.rows + 1;
        let mut row = vec![Value::Null; width];
        records.members(record, &mut |key, value| {
            let place = table.place(&key).ok_or_else(|| Failure::Reject(new_column(number)))?;
            let value = match value {
                Ok(Value::Text(text)) if is_csv && text.contains('\0') => Err("a NUL character stands"),
                value => value,
            };
            let value = value.map_err(|what| {
                let column = format!("column {} of the output", place + 1);
                Failure::Reject(unconvertible(number, &column, what))
            })?;
            row[place] = value;
            Ok(())
        })?;
        let bytes = table.row(&row, &mut made.bytes)?;
        made.row(bytes, write)
    })
}

/// Refuses columns whose names CSV has no place for; its readers would end within them.
pub(super) fn check_header<'n>(mut names: impl Iterator<Item = &'n str>) -> Result<(), Failure> {
    let Some(column) = names.position(|name| name.contains('\0')) else { return Ok(()) };
    let sentence = format!(
        "a NUL character stands in the name of column {} of the output, which CSV has no place for",
        column + 1
    );
    let advice =
        "Drop the column by a pattern that matches its name, or set `output.format` to \"ndjson\" or \"same\".";
    let column = Some(format!("column {}", column + 1));
    Err(Failure::Reject(Fault { column, ..of_file("unconvertible_column", &sentence, advice) }))
}

fn too_wide(columns: usize, limit: usize) -> Fault {
    let sentence = format!("{columns} columns would go into one Parquet file, and `max_paths` lets {limit} do so");
    let advice = "Drop columns, set `output.format` to \"ndjson\" or \"same\", or raise `max_paths` in the limits, and \
                  `worker_memory` by 120 KB for each column.";
    of_file("too_many_paths", &sentence, advice)
}

fn no_columns() -> Fault {
    let sentence = "no record of the file has a key, so that the output would have no column";
    of_file(
        "unconvertible_file",
        sentence,
        "Set `output.format` to \"ndjson\" or \"same\" on a landing for such files.",
    )
}

/// A key may be a value itself: it is not named.
fn new_column(row: u64) -> Fault {
    let sentence =
        format!("record {row} has a key that none of the first records has, and the output's columns are theirs");
    let advice = "Have every record written with all keys, drop what is rare, or set `output.format` to \"ndjson\".";
    Fault { row: Some(row), ..of_file("unconvertible_value", &sentence, advice) }
}

/// `column` as it may be given out.
pub(super) fn unconvertible(row: u64, column: &str, what: &str) -> Fault {
    let sentence = format!("{what} in row {row}, {}, which the output's format has no place for", quoted(column));
    let advice =
        "Drop or redact the column (what lies in it, by its path), or set `output.format` to \"ndjson\" or \"same\".";
    let column = Some(column.to_owned());
    Fault { row: Some(row), column, ..of_file("unconvertible_value", &sentence, advice) }
}
