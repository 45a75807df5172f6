//! Puts masked cells between the original bytes of a block. Everything that no rule touches is copied as it is.

use polars::prelude::{PlSmallStr, StringChunked};
use polars_arrow::array::{Utf8ViewArray, View};
use polars_arrow::datatypes::ArrowDataType;
use polars_buffer::Buffer;

use super::fault::of_cell;
use super::header::Header;
use super::scan::Span;
use crate::mask::Mistyped;
use crate::pipeline::{Failure, Fault};

pub(super) type Apply<'a> = Box<dyn Fn(&StringChunked) -> Result<StringChunked, Mistyped> + Send + Sync + 'a>;

/// What one output does with one touched column.
pub(super) enum Action<'a> {
    Keep,
    /// The only column left: an empty cell must be quoted, or its row would become an empty line.
    Sole,
    Drop,
    Mask {
        apply: Apply<'a>,
        public_name: String,
    },
}

/// How one output is made from a block; actions stand in the order of the touched columns.
pub(super) struct Splicer<'a> {
    pub delimiter: u8,
    pub quote: Option<u8>,
    /// Number of columns in the output.
    pub columns_out: usize,
    /// For each touched column: whether a kept column comes before it.
    pub kept_before: Vec<bool>,
    pub actions: Vec<Action<'a>>,
}

/// Whole records, checked, with the spans of their touched cells.
pub(super) struct Block {
    pub data: Buffer<u8>,
    pub spans: Vec<Span>,
    pub rows: u64,
    /// Data row of the first record, from 1.
    pub first_row: u64,
    /// Offset in the file.
    pub base: u64,
}

impl Splicer<'_> {
    /// The block's output.
    ///
    /// # Errors
    ///
    /// The failure of the lowest row, and in it of the leftmost column.
    pub(super) fn splice(&self, block: &Block) -> Result<Vec<u8>, Failure> {
        let width = self.actions.len();
        let mut masked: Vec<Option<Utf8ViewArray>> = Vec::with_capacity(width);
        let mut first: Option<Fault> = None;
        for (slot, action) in self.actions.iter().enumerate() {
            let Action::Mask { apply, public_name } = action else {
                masked.push(None);
                continue;
            };
            let result = apply(&self.column(block, slot));
            match result {
                Ok(column) if column.len() as u64 == block.rows => {
                    masked.push(column.rechunk().downcast_iter().next().cloned())
                }
                Ok(_) => return Err(internal("a mask changed the number of rows")),
                Err(mistyped) => {
                    let row = block.first_row + mistyped.index as u64;
                    if first.as_ref().is_none_or(|fault| fault.row > Some(row)) {
                        first = Some(self.mistyped(block, slot, public_name, mistyped));
                    }
                    masked.push(None);
                }
            }
        }
        match first {
            Some(fault) => Err(Failure::Reject(fault)),
            None => self.write(block, &masked),
        }
    }

    /// The header record of this output: names stay, dropped columns go.
    pub(super) fn splice_header(&self, header: &Block) -> Result<Vec<u8>, Failure> {
        let only_drops = Splicer {
            delimiter: self.delimiter,
            quote: self.quote,
            columns_out: self.columns_out,
            kept_before: self.kept_before.clone(),
            actions: self
                .actions
                .iter()
                .map(|action| if matches!(action, Action::Drop) { Action::Drop } else { Action::Keep })
                .collect(),
        };
        only_drops.write(header, &[])
    }

    fn mistyped(&self, block: &Block, slot: usize, name: &str, mistyped: Mistyped) -> Fault {
        let at = block.spans.get(mistyped.index * self.actions.len() + slot).map_or(0, |span| span.raw().start);
        of_cell(
            "mistyped_cell",
            &format!("{} expected", mistyped.expected),
            block.first_row + mistyped.index as u64,
            name,
            block.base + at as u64,
            "Correct the cell, choose a mask that fits the column, or set `mistyped` to null or redact.",
        )
    }

    /// The cells of one touched column; views point into the block, only cells with doubled quotes are copied.
    fn column(&self, block: &Block, slot: usize) -> StringChunked {
        let data = block.data.as_slice();
        let mut extra: Vec<u8> = Vec::new();
        let mut views: Vec<View> = Vec::with_capacity(block.rows as usize);
        for span in block.spans.iter().skip(slot).step_by(self.actions.len()) {
            let value = &data[span.value()];
            match self.quote {
                Some(quote) if span.quoted() && memchr::memchr(quote, value).is_some() => {
                    let start = extra.len();
                    undouble(value, quote, &mut extra);
                    views.push(View::new_from_bytes(&extra[start..], 1, start as u32));
                }
                _ => views.push(View::new_from_bytes(value, 0, span.value().start as u32)),
            }
        }
        let buffers = vec![block.data.clone(), Buffer::from(extra)];
        // SAFETY: every view lies in its buffer, as it was made from a slice of it. The block is UTF-8, which the
        // scanner has checked, and cells begin and end at ASCII bytes, so each cell is UTF-8 by itself.
        let array = unsafe {
            Utf8ViewArray::new_unchecked_unknown_md(ArrowDataType::Utf8View, views.into(), buffers.into(), None, None)
        };
        StringChunked::with_chunk(PlSmallStr::EMPTY, array)
    }

    fn write(&self, block: &Block, masked: &[Option<Utf8ViewArray>]) -> Result<Vec<u8>, Failure> {
        let data = block.data.as_slice();
        let mut out = Vec::with_capacity(data.len() + data.len() / 4);
        let mut from = 0;
        let width = self.actions.len();
        let special = self.special();
        let (mut row, mut slot) = (0, 0);
        for span in &block.spans {
            if slot == width {
                (row, slot) = (row + 1, 0);
            }
            slot += 1;
            let raw = span.raw();
            match &self.actions[slot - 1] {
                Action::Keep => {}
                Action::Sole => {
                    if let (Some(quote), true) = (self.quote, raw.is_empty()) {
                        out.extend_from_slice(&data[from..raw.start]);
                        out.extend_from_slice(&[quote, quote]);
                        from = raw.end;
                    }
                }
                Action::Drop => {
                    let before = self.kept_before[slot - 1];
                    out.extend_from_slice(&data[from..raw.start - usize::from(before)]);
                    from = raw.end + usize::from(!before);
                }
                Action::Mask { public_name, .. } => {
                    out.extend_from_slice(&data[from..raw.start]);
                    let value = masked[slot - 1].as_ref().and_then(|column| column.get(row)).unwrap_or("");
                    if !self.cell(value.as_bytes(), *span, data, &special, &mut out) {
                        return Err(Failure::Reject(of_cell(
                            "unquotable_cell",
                            "a masked cell would need quotes in a format without them",
                            block.first_row + row as u64,
                            public_name,
                            block.base + raw.start as u64,
                            "Choose another mask for the column, or allow quotes in the dialect.",
                        )));
                    }
                    from = raw.end;
                }
            }
        }
        out.extend_from_slice(&data[from..]);
        Ok(out)
    }

    /// Bytes that make a cell need quotes.
    fn special(&self) -> [bool; 256] {
        let mut special = [false; 256];
        for byte in [self.delimiter, b'\r', b'\n'].into_iter().chain(self.quote) {
            special[usize::from(byte)] = true;
        }
        special
    }

    /// Writes one masked cell; false when it needs quotes that the format does not have.
    fn cell(&self, value: &[u8], span: Span, data: &[u8], special: &[bool; 256], out: &mut Vec<u8>) -> bool {
        let original = &data[span.value()];
        let sole_empty = value.is_empty() && self.columns_out == 1 && self.quote.is_some();
        if self.same(value, original, span) && !(sole_empty && !span.quoted() && self.kept_before.len() > 1) {
            out.extend_from_slice(&data[span.raw()]);
            return true;
        }
        if !span.quoted() && !sole_empty && !value.iter().any(|byte| special[usize::from(*byte)]) {
            out.extend_from_slice(value);
            return true;
        }
        let Some(quote) = self.quote else { return false };
        out.push(quote);
        let mut rest = value;
        while let Some(at) = memchr::memchr(quote, rest) {
            out.extend_from_slice(&rest[..=at]);
            out.push(quote);
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
        out.push(quote);
        true
    }

    fn same(&self, value: &[u8], original: &[u8], span: Span) -> bool {
        if value == original {
            // Equal to the raw bytes, but a doubled quote there stands for a single one.
            return !(span.quoted() && self.quote.is_some_and(|quote| memchr::memchr(quote, original).is_some()));
        }
        let Some(quote) = self.quote.filter(|_| span.quoted() && value.len() < original.len()) else { return false };
        let mut plain = Vec::with_capacity(value.len());
        undouble(original, quote, &mut plain);
        plain == value
    }
}

/// The header record as a block, byte-order mark included.
pub(super) fn header(data: &[u8], header: &Header, touched: &[usize]) -> Block {
    Block {
        data: data[..header.end].to_vec().into(),
        spans: touched.iter().map(|&column| header.spans[column]).collect(),
        rows: 1,
        first_row: 0,
        base: 0,
    }
}

/// In a well-formed cell quotes come in pairs only.
fn undouble(mut value: &[u8], quote: u8, out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(quote, value) {
        out.extend_from_slice(&value[..=at]);
        value = value.get(at + 2..).unwrap_or(&[]);
    }
    out.extend_from_slice(value);
}

pub(super) fn internal(what: &str) -> Failure {
    Failure::Retry { doing: "mask a block".to_owned(), error: what.to_owned(), errno: None }
}
