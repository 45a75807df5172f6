//! The faults of delimited text in words. No cell value can get in: only kinds and positions are passed.

use crate::pipeline::Fault;
use crate::pipeline::fault::place;

/// What breaks a record's structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    BytesAfterQuote,
    UnterminatedQuote,
    Nul,
    Ragged {
        expected: usize,
        found: usize,
    },
    /// A line of fixed-width text of another length.
    Width {
        expected: usize,
        found: usize,
    },
    TooLong {
        limit: u64,
    },
    InvalidUtf8,
    /// Not a fault: a comment line begins here, and the scan stops before it.
    Comment,
}

/// A structural fault within a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub kind: Kind,
    /// Offset in the buffer.
    pub at: usize,
    /// Column from 0, where one is to blame.
    pub column: Option<usize>,
}

impl Broken {
    /// Where a reader stands when it has found the fault; `len` is the buffer's length.
    pub(super) fn reached(&self, len: usize) -> usize {
        if self.kind == Kind::UnterminatedQuote { len } else { self.at + 1 }
    }

    /// Puts the fault into words; `base` is the buffer's offset in the file.
    pub(super) fn describe(self, row: u64, base: u64, names: &[String]) -> Fault {
        let offset = base + self.at as u64;
        let column = self.column.map(|n| names.get(n).cloned().unwrap_or_else(|| format!("column {}", n + 1)));
        let place = place(row, column.as_deref(), offset);
        let (code, what, advice) = match self.kind {
            Kind::BytesAfterQuote => (
                "bytes_after_quote",
                format!("bytes follow a closing quote in {place}"),
                "Have the sender double every quote inside a quoted field.",
            ),
            Kind::UnterminatedQuote => (
                "unterminated_quote",
                format!("a quoted field is never closed; it begins in {place}"),
                "Look for a stray quote at this place or for a file that was cut off, and have it sent again.",
            ),
            Kind::Nul => (
                "nul_byte",
                format!("there is a NUL byte in {place}"),
                "The file is damaged, binary, or in another encoding (UTF-16?); have it sent again as UTF-8 text.",
            ),
            Kind::Ragged { expected, found } => (
                "ragged_row",
                format!(
                    "{found} {} found where the header has {expected}, in {place}",
                    if found == 1 { "field" } else { "fields" }
                ),
                "Have the sender quote fields that contain the delimiter or line breaks, and remove empty lines.",
            ),
            Kind::Width { expected, found } => (
                "ragged_row",
                format!("a line of {found} characters found where the widths make {expected}, in {place}"),
                "Have the sender pad every line, or correct `widths`.",
            ),
            Kind::TooLong { limit } => (
                "record_too_long",
                format!("a record is longer than {limit} bytes, in {place}"),
                "Look for a stray opening quote at this place; if the record is right, raise `max_record` in the limits.",
            ),
            Kind::Comment => ("comment", format!("a comment begins in {place}"), "Have the sender leave comments out."),
            Kind::InvalidUtf8 => (
                "invalid_utf8",
                format!("the bytes are not valid UTF-8 in {place}"),
                "Name its encoding (`encoding` of the landing, `--encoding` of a command), or have the sender export it as UTF-8.",
            ),
        };
        Fault {
            code: code.to_owned(),
            sentence: what,
            row: Some(row),
            column,
            byte_offset: Some(offset),
            advice: advice.to_owned(),
        }
    }
}
