//! The rows of a masked text, read once more for another format.

use std::borrow::Cow;

use super::header::Header;
use super::scan::{Scanner, Span};
use super::splice::undouble;
use super::{bits, escape};
use crate::pipeline::charset::Script;
use crate::pipeline::convert::Value;
use crate::pipeline::fault::internal;
use crate::pipeline::{Dialect, Failure};

pub(in crate::pipeline) struct Rows {
    scanner: Scanner,
    /// What a delimiter or quote beyond ASCII stands for within cells.
    script: Script,
}

impl Rows {
    /// Of an output with so many columns.
    pub(super) fn new(header: &Header, dialect: &Dialect, columns: usize, script: Script) -> Rows {
        let Dialect { quote, escape, .. } = *dialect;
        let scanner = Scanner {
            delimiter: header.delimiter,
            quote,
            escape,
            comment: None,
            columns,
            max_record_bytes: u64::MAX,
            touched: (0..columns).collect(),
            ends: false,
            finder: bits::Finder::new(Scanner::needles(header.delimiter, quote)),
        };
        Rows { scanner, script }
    }

    /// Hands on each row of a piece of whole records.
    pub(in crate::pipeline) fn each(
        &self,
        piece: &[u8],
        take: &mut dyn FnMut(&[Value<'_>]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let text = simdutf8::basic::from_utf8(piece).map_err(|_| internal("a masked piece is no text"))?;
        let scanned = self.scanner.scan(piece, true);
        if scanned.broken.is_some() || scanned.end != piece.len() {
            return Err(internal("a masked row cannot be read back"));
        }
        let mut row = Vec::with_capacity(self.scanner.columns);
        for spans in scanned.spans.chunks_exact(self.scanner.columns.max(1)) {
            row.clear();
            row.extend(spans.iter().map(|span| Value::Text(self.cell(text, *span))));
            take(&row)?;
        }
        Ok(())
    }

    fn cell<'p>(&self, text: &'p str, span: Span) -> Cow<'p, str> {
        let raw = &text[span.value()];
        let quote = self.scanner.quote.filter(|_| span.quoted());
        let is_special = |byte: u8| Some(byte) == self.scanner.escape || Some(byte) == quote;
        if self.script.swaps.is_empty() && !raw.bytes().any(is_special) {
            return Cow::Borrowed(raw);
        }
        let mut plain = Vec::with_capacity(raw.len());
        match (self.scanner.escape, quote) {
            (Some(escape), quote) => escape::plain(raw.as_bytes(), escape, quote, &mut plain),
            (None, Some(quote)) => undouble(raw.as_bytes(), quote, &mut plain),
            (None, None) => plain.extend_from_slice(raw.as_bytes()),
        }
        // Only whole ASCII characters were taken out.
        Cow::Owned(self.script.as_written(&String::from_utf8_lossy(&plain)).into_owned())
    }
}
