//! Faults in words that every format shares. No cell value can get in: only kinds and positions are passed.

use super::{Failure, Fault};

/// A fault of the file as a whole.
pub(super) fn of_file(code: &str, sentence: &str, advice: &str) -> Fault {
    Fault {
        code: code.to_owned(),
        sentence: sentence.to_owned(),
        row: None,
        column: None,
        byte_offset: None,
        advice: advice.to_owned(),
    }
}

/// A fault of one cell after the structure was found sound.
pub(super) fn of_cell(code: &str, what: &str, row: u64, column: &str, offset: u64, advice: &str) -> Fault {
    Fault {
        code: code.to_owned(),
        sentence: format!("{what} in {}", place(row, Some(column), offset)),
        row: Some(row),
        column: Some(column.to_owned()),
        byte_offset: Some(offset),
        advice: advice.to_owned(),
    }
}

/// What helps against a value that a mask cannot read, by what that reads.
pub(super) fn for_mistyped(expected: &str) -> &'static str {
    if expected.starts_with("a date as YYYY-MM-DD") {
        "If the dates are written otherwise, say how by the rule's `format` (\"%d.%m.%Y\"); else correct the value, or set \
         `mistyped` to null or redact."
    } else {
        "Correct the value, choose a mask that fits it, or set `mistyped` to null or redact."
    }
}

/// What an output would lose to its readers, though it was no comment in the input.
pub(super) fn comment_row(row: u64) -> Fault {
    let record = if row == 0 { "the header record".to_owned() } else { format!("row {row}") };
    let advice = "Choose a mask for the first column, or other columns to drop, so that no row begins like a comment.";
    let sentence = format!("in the output {record} would read as a comment");
    Fault { row: Some(row), ..of_file("unreadable_row", &sentence, advice) }
}

pub(super) fn place(row: u64, column: Option<&str>, offset: u64) -> String {
    let record = if row == 0 { "the header record".to_owned() } else { format!("row {row}") };
    match column {
        Some(column) => format!("{record}, {}, byte offset {offset}", quoted(column)),
        None => format!("{record}, byte offset {offset}"),
    }
}

/// A column as sentences tell it, by its name or as `column N`.
pub(super) fn quoted(column: &str) -> String {
    if column.starts_with("column ") { column.to_owned() } else { format!("column {column:?}") }
}

/// A fault of ours, not of the file.
pub(super) fn internal(what: &str) -> Failure {
    Failure::Defect { what: what.to_owned() }
}
