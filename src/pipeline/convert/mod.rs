//! A masked text on its way into another format.
//!
//! Owns what lies between the pieces of an output and its end. Nothing is guessed: what was text stays text, what was a
//! number in JSON stays as it is spelled, and what has no place in the other format refuses the file. The leak scan has seen
//! all of it before.

mod table;

use std::borrow::Cow;

pub(super) use self::table::{parquet_properties, push_field, push_key};

use self::table::Table;
use super::fault::{internal, of_file};
use super::{Failure, Fault, OutputFormat, Writing, delimited, json};

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
    rows: u64,
    /// Of the last piece, in memory that is used again.
    made: Vec<u8>,
}

impl Converter {
    /// Of delimited text without its header record, whose columns have these names.
    pub(super) fn of_delimited(
        writing: Writing,
        names: &[String],
        rows: delimited::Rows,
    ) -> Result<Converter, Failure> {
        let mut made = Vec::new();
        let table = Some(Table::begin(writing, names, &mut made)?);
        Ok(Converter { records: Records::Delimited(rows), writing, table, rows: 0, made })
    }

    pub(super) fn of_json(writing: Writing, rows: json::Rows) -> Converter {
        Converter { records: Records::Json(rows), writing, table: None, rows: 0, made: Vec::new() }
    }

    /// Rows that were converted.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// What becomes of a piece of whole records.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut out = std::mem::take(&mut self.made);
        match &mut self.records {
            Records::Delimited(records) => {
                let table = self.table.as_mut().ok_or_else(|| internal("a table was not begun"))?;
                records.each(piece, &mut |row| {
                    self.rows += 1;
                    table.row(row, &mut out)
                })?;
            }
            Records::Json(records) if Table::is_lines(self.writing) => {
                records.each(piece, &mut |_, record| {
                    self.rows += 1;
                    json::push_line(record, &mut out);
                    Ok(())
                })?;
            }
            Records::Json(records) => {
                tabulate(records, piece, self.writing, (&mut self.table, &mut self.rows), &mut out)?
            }
        }
        if let Some(table) = &mut self.table {
            table.hand_on(&mut out);
        }
        Ok(out)
    }

    /// Gives back memory for the next piece.
    pub(super) fn reuse(&mut self, mut made: Vec<u8>) {
        made.clear();
        self.made = made;
    }

    /// What stands at the end.
    pub(super) fn end(self) -> Result<Vec<u8>, Failure> {
        let mut out = self.made;
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
    (table, rows): (&mut Option<Table>, &mut u64),
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    if table.is_none() {
        let names = records.names(piece)?;
        if names.is_empty() {
            return records.each(piece, &mut |_, _| Err(Failure::Reject(no_columns())));
        }
        *table = Some(Table::begin(writing, &names, out)?);
    }
    let table = table.as_mut().ok_or_else(|| internal("a table was not begun"))?;
    let (width, is_csv) = (table.width(), writing.format == OutputFormat::Csv);
    records.each(piece, &mut |records, record| {
        *rows += 1;
        let mut row = vec![Value::Null; width];
        records.members(record, &mut |key, value| {
            let place = table.place(&key).ok_or_else(|| Failure::Reject(new_column(*rows)))?;
            let value = match value {
                Ok(Value::Text(text)) if is_csv && text.contains('\0') => Err("a NUL character stands"),
                value => value,
            };
            let value = value.map_err(|what| Failure::Reject(unconvertible(*rows, place, what)))?;
            row[place] = value;
            Ok(())
        })?;
        table.row(&row, out)
    })
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

/// `column` counts from 0.
pub(super) fn unconvertible(row: u64, column: usize, what: &str) -> Fault {
    let sentence =
        format!("{what} in row {row}, column {} of the output, which its format has no place for", column + 1);
    let advice =
        "Drop or redact the column (what lies in it, by its path), or set `output.format` to \"ndjson\" or \"same\".";
    let column = Some(format!("column {}", column + 1));
    Fault { row: Some(row), column, ..of_file("unconvertible_value", &sentence, advice) }
}
