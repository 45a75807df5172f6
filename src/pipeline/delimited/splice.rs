//! Puts masked cells between the original bytes of a block. Everything that no rule touches is copied as it is.

use polars::prelude::{PlSmallStr, StringChunked};
use polars_arrow::array::{Array, Utf8ViewArray, View};
use polars_arrow::datatypes::ArrowDataType;
use polars_buffer::Buffer;

use super::bits::Finder;
use super::block::{Block, view};
use super::escape;
use super::scan::Span;
use crate::mask::Mistyped;
use crate::pipeline::fault::{comment_row, for_mistyped, internal, of_cell};
use crate::pipeline::piece::Piece;
use crate::pipeline::relay::{Pieces, Spares};
use crate::pipeline::sieve::Sieve;
use crate::pipeline::verify::{Rows, Scan, Seen};
use crate::pipeline::{Failure, Fault};

/// A mask of a column, with the column that it looks at.
pub(super) type Apply<'a> =
    Box<dyn Fn(&StringChunked, Option<&StringChunked>) -> Result<StringChunked, Mistyped> + Send + Sync + 'a>;

/// What one output does with one touched column.
pub(super) enum Action<'a> {
    Keep,
    /// The only column left: an empty cell must be quoted, or its row would become an empty line.
    Sole,
    Drop,
    Mask {
        apply: Apply<'a>,
        /// Place of the column that it looks at, among the touched.
        beside: Option<usize>,
        public_name: String,
    },
}

/// Rows that one output leaves out.
pub(super) struct Sifting<'a> {
    pub sieve: &'a Sieve,
    /// Columns that the sieve looks at: of the header, and of a splicer their places among the touched.
    pub columns: Vec<usize>,
}

/// How one output is made from a block; actions stand in the order of the touched columns.
pub(super) struct Splicer<'a> {
    pub delimiter: u8,
    pub quote: Option<u8>,
    pub escape: Option<u8>,
    /// What a row must not begin with, where its beginning is touched: it would read as a comment.
    pub comment: Option<u8>,
    /// Number of columns in the output.
    pub columns_out: usize,
    /// For each touched column: whether a kept column comes before it.
    pub kept_before: Vec<bool>,
    pub actions: Vec<Action<'a>>,
    /// Finds the bytes that make a cell need quotes.
    pub special: Finder,
    /// Looks for leaks; then every column is touched.
    pub scan: Option<Scan>,
    pub sifting: Option<Sifting<'a>>,
}

/// The first cell that a mask cannot read, with its column's slot and name.
type Mistyping<'a> = (Mistyped, usize, &'a str);

/// A masked column in one piece.
struct Masked {
    cells: Utf8ViewArray,
    /// Whether no cell is null.
    whole: bool,
}

impl Masked {
    fn new(column: &StringChunked) -> Option<Masked> {
        let cells = column.rechunk().downcast_iter().next()?.clone();
        Some(Masked { whole: cells.null_count() == 0, cells })
    }
}

impl Splicer<'_> {
    /// The block's output, in `spare`'s memory where that is enough.
    ///
    /// # Errors
    ///
    /// The failure of the lowest row, and in it of the leftmost column.
    pub(super) fn splice(&self, block: &Block, spare: Vec<u8>) -> Result<Piece, Failure> {
        let Some(Sifting { sieve, columns }) = self.sifting.as_ref().filter(|_| block.rows > 0) else {
            return self.splice_rows(block, spare);
        };
        match sieve.sift(&self.cells(block, columns), block.rows as usize, &|index| block.row(index))? {
            None => self.splice_rows(block, spare),
            Some(left_out) => self.splice_rows(&block.without(&left_out, self.actions.len()), spare),
        }
    }

    fn splice_rows(&self, block: &Block, spare: Vec<u8>) -> Result<Piece, Failure> {
        let width = self.actions.len();
        let mut masked: Vec<Option<Masked>> = Vec::with_capacity(width);
        let columns = self.columns(block);
        let mut first: Option<Mistyping> = None;
        for (slot, action) in self.actions.iter().enumerate() {
            let (Action::Mask { apply, beside, public_name }, Some(column)) = (action, &columns[slot]) else {
                masked.push(None);
                continue;
            };
            match apply(column, beside.and_then(|beside| columns[beside].as_ref())) {
                Ok(column) if column.len() as u64 == block.rows => masked.push(Masked::new(&column)),
                Ok(_) => return Err(internal("a mask changed the number of rows")),
                Err(mistyped) => {
                    if first.as_ref().is_none_or(|(earlier, ..)| earlier.index > mistyped.index) {
                        first = Some((mistyped, slot, public_name));
                    }
                    masked.push(None);
                }
            }
        }
        match first {
            Some((mistyped, slot, name)) => {
                let fault = self.mistyped(block, slot, name, mistyped);
                Err(self.earlier_failure(block, mistyped.index).unwrap_or(Failure::Reject(fault)))
            }
            None => {
                let mut piece = self.write(block, &masked, spare)?;
                piece.seen =
                    self.scan.as_ref().filter(|_| block.rows > 0).map(|scan| look(scan, block, &columns, &masked));
                Ok(piece)
            }
        }
    }

    /// Without quotes, a row before a mistyped one can be unwritable.
    fn earlier_failure(&self, block: &Block, rows: usize) -> Option<Failure> {
        if rows == 0 || self.quote.is_some() {
            return None;
        }
        self.splice_rows(&block.first(rows, self.actions.len()), Vec::new()).err()
    }

    /// The header record of this output: names stay, dropped columns go.
    pub(super) fn splice_header(&self, header: &Block) -> Result<Piece, Failure> {
        let only_drops = Splicer {
            delimiter: self.delimiter,
            quote: self.quote,
            escape: self.escape,
            comment: self.comment,
            columns_out: self.columns_out,
            kept_before: self.kept_before.clone(),
            actions: self
                .actions
                .iter()
                .map(|action| if matches!(action, Action::Drop) { Action::Drop } else { Action::Keep })
                .collect(),
            special: self.special,
            scan: None,
            sifting: None,
        };
        only_drops.write(header, &[], Vec::new())
    }

    fn mistyped(&self, block: &Block, slot: usize, name: &str, mistyped: Mistyped) -> Fault {
        let at = block.spans.get(mistyped.index * self.actions.len() + slot).map_or(0, |span| span.raw().start);
        of_cell(
            "mistyped_cell",
            &format!("{} expected", mistyped.expected),
            block.row(mistyped.index),
            name,
            block.base + at as u64,
            for_mistyped(mistyped.expected),
        )
    }

    /// The cells of the masked columns and of those that masks or the leak scan look at, by their places; views point into the block,
    /// only cells with doubled quotes are copied.
    fn columns(&self, block: &Block) -> Vec<Option<StringChunked>> {
        let mut all: Vec<Option<StringChunked>> = vec![None; self.actions.len()];
        let mut wanted = vec![self.scan.is_some(); self.actions.len()];
        for (slot, action) in self.actions.iter().enumerate() {
            if let Action::Mask { beside, .. } = action {
                wanted[slot] = true;
                beside.iter().for_each(|beside| wanted[*beside] = true);
            }
        }
        let slots: Vec<usize> = (0..wanted.len()).filter(|slot| wanted[*slot]).collect();
        if slots.is_empty() {
            return all;
        }
        for (slot, cells) in slots.iter().zip(self.cells(block, &slots)) {
            all[*slot] = Some(cells);
        }
        all
    }

    /// The cells of some touched columns.
    fn cells(&self, block: &Block, slots: &[usize]) -> Vec<StringChunked> {
        let data = block.data.as_slice();
        let mut views: Vec<_> = slots.iter().map(|_| Vec::<View>::with_capacity(block.rows as usize)).collect();
        let mut extra: Vec<u8> = Vec::new();
        for row in block.spans.chunks_exact(self.actions.len()) {
            for (views, slot) in views.iter_mut().zip(slots) {
                let span = row[*slot];
                if let Some(escape) = self.escape {
                    let start = extra.len();
                    let quote = self.quote.filter(|_| span.quoted());
                    escape::plain(&data[span.value()], escape, quote, &mut extra);
                    views.push(View::new_from_bytes(&extra[start..], 1, start as u32));
                    continue;
                }
                views.push(match self.quote {
                    Some(quote) if span.quoted() && memchr::memchr(quote, &data[span.value()]).is_some() => {
                        let start = extra.len();
                        undouble(&data[span.value()], quote, &mut extra);
                        View::new_from_bytes(&extra[start..], 1, start as u32)
                    }
                    _ => view(data, span.value()),
                });
            }
        }
        let buffers: Buffer<Buffer<u8>> = vec![block.data.clone(), Buffer::from(extra)].into();
        let columns = views.into_iter().map(|views| {
            // SAFETY: every view lies in its buffer, as it was made from a slice of it. The block is UTF-8, which the
            // scanner has checked, and cells begin and end at ASCII bytes, so each cell is UTF-8 by itself.
            let array = unsafe {
                Utf8ViewArray::new_unchecked_unknown_md(
                    ArrowDataType::Utf8View,
                    views.into(),
                    buffers.clone(),
                    None,
                    None,
                )
            };
            StringChunked::with_chunk(PlSmallStr::EMPTY, array)
        });
        columns.collect()
    }

    fn write(&self, block: &Block, masked: &[Option<Masked>], spare: Vec<u8>) -> Result<Piece, Failure> {
        let piece = Piece::new(spare, block.data.len() + block.data.len() / 4);
        #[cfg(target_arch = "x86_64")]
        if self.special.is_wide() {
            // SAFETY: the finder is wide only where the CPU has AVX2.
            return unsafe { self.write_avx2(block, masked, piece) };
        }
        self.write_as::<false>(block, masked, piece)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn write_avx2(&self, block: &Block, masked: &[Option<Masked>], out: Piece) -> Result<Piece, Failure> {
        self.write_as::<true>(block, masked, out)
    }

    #[inline(always)]
    fn write_as<const WIDE: bool>(
        &self,
        block: &Block,
        masked: &[Option<Masked>],
        mut out: Piece,
    ) -> Result<Piece, Failure> {
        let data = block.data.as_slice();
        let (mut from, mut beginnings) = (0, Vec::new());
        let width = self.actions.len().max(1);
        let mut gaps = block.gaps.iter().peekable();
        for (row, spans) in block.spans.chunks_exact(width).enumerate() {
            while let Some(gap) = gaps.next_if(|gap| gap.start <= spans[0].raw().start) {
                out.put(&data[from..gap.start]);
                from = gap.end;
            }
            for (slot, (span, action)) in spans.iter().zip(&self.actions).enumerate() {
                let raw = span.raw();
                match action {
                    Action::Keep => {}
                    Action::Sole => {
                        if let (Some(quote), true) = (self.quote, raw.is_empty()) {
                            out.put(&data[from..raw.start]);
                            out.put(&[quote, quote]);
                            from = raw.end;
                        }
                    }
                    Action::Drop => {
                        let before = self.kept_before[slot];
                        out.put_range(data, from..raw.start - usize::from(before));
                        from = raw.end + usize::from(!before);
                        if slot == 0 && self.comment.is_some() {
                            beginnings.push(out.len());
                        }
                    }
                    Action::Mask { public_name, .. } => {
                        out.put_range(data, from..raw.start);
                        if slot == 0 && self.comment.is_some() {
                            beginnings.push(out.len());
                        }
                        let column = masked[slot].as_ref().ok_or_else(|| internal("a masked column is missing"))?;
                        if !self.cell::<WIDE>(column, row, *span, data, &mut out) {
                            return Err(Failure::Reject(self.unquotable(block, row, *span, public_name)));
                        }
                        from = raw.end;
                    }
                }
            }
        }
        for gap in gaps {
            out.put(&data[from..gap.start]);
            from = gap.end;
        }
        out.put(&data[from..]);
        let reads_as_comment = |at: &usize| out.since(*at).first().copied() == self.comment;
        match beginnings.iter().position(reads_as_comment) {
            Some(row) => Err(Failure::Reject(comment_row(block.row(row)))),
            None => Ok(out),
        }
    }

    /// Writes one masked cell; false when it needs quotes that the format does not have.
    #[inline(always)]
    fn cell<const WIDE: bool>(&self, column: &Masked, row: usize, span: Span, data: &[u8], out: &mut Piece) -> bool {
        let view = column.cells.views()[row];
        let length = view.length as usize;
        if !span.quoted() && length > 0 && column.whole && self.escape.is_none() {
            // Looked at where the cell comes from: bytes that were just written are not there yet for a wide load.
            if view.is_inline() {
                let all = view.as_u128();
                if (self.special.find_short_as::<WIDE>(&all.to_le_bytes()) >> 4) & bits_below(length) == 0 {
                    out.put_start(&(all >> 32).to_le_bytes(), length);
                    return true;
                }
            } else {
                let buffer = column.cells.data_buffers()[view.buffer_idx as usize].as_slice();
                let range = view.offset as usize..view.offset as usize + length;
                let plain = match buffer.get(range.start..).and_then(|rest| rest.first_chunk()) {
                    Some(ahead) if length <= ahead.len() => {
                        self.special.find_as::<WIDE>(ahead) & bits_below(length) == 0
                    }
                    _ => !buffer[range.clone()].iter().any(|byte| self.needs_quotes(*byte)),
                };
                if plain {
                    out.put_range(buffer, range);
                    return true;
                }
            }
        }
        self.quoted_cell(column.cells.get(row).unwrap_or("").as_bytes(), span, data, out)
    }

    fn unquotable(&self, block: &Block, row: usize, span: Span, name: &str) -> Fault {
        of_cell(
            "unquotable_cell",
            "a masked cell would need quotes in a format without them",
            block.row(row),
            name,
            block.base + span.raw().start as u64,
            "Choose another mask for the column, or allow quotes in the dialect.",
        )
    }

    fn needs_quotes(&self, byte: u8) -> bool {
        byte == self.delimiter || Some(byte) == self.quote || matches!(byte, b'\r' | b'\n')
    }

    fn quoted_cell(&self, value: &[u8], span: Span, data: &[u8], out: &mut Piece) -> bool {
        if let Some(escape) = self.escape {
            return self.escaped_cell(value, span, data, escape, out);
        }
        let original = &data[span.value()];
        let sole_empty = value.is_empty() && self.columns_out == 1 && self.quote.is_some();
        if self.same(value, original, span) && !(sole_empty && !span.quoted() && self.kept_before.len() > 1) {
            out.put(&data[span.raw()]);
            return true;
        }
        if !span.quoted() && !sole_empty && !value.iter().any(|byte| self.needs_quotes(*byte)) {
            out.put(value);
            return true;
        }
        let Some(quote) = self.quote else { return false };
        out.put(&[quote]);
        let mut rest = value;
        while let Some(at) = memchr::memchr(quote, rest) {
            out.put(&rest[..=at]);
            out.put(&[quote]);
            rest = &rest[at + 1..];
        }
        out.put(rest);
        out.put(&[quote]);
        true
    }

    /// Any text can be written in a dialect with escapes.
    fn escaped_cell(&self, value: &[u8], span: Span, data: &[u8], escape: u8, out: &mut Piece) -> bool {
        let quote = self.quote.filter(|_| span.quoted() || (value.is_empty() && self.columns_out == 1));
        let mut cell = Vec::with_capacity(value.len() + 2);
        escape::plain(&data[span.value()], escape, self.quote.filter(|_| span.quoted()), &mut cell);
        if cell == value && (span.quoted() || quote.is_none()) {
            out.put(&data[span.raw()]);
            return true;
        }
        cell.clear();
        match quote {
            Some(quote) => {
                cell.push(quote);
                escape::push(value, escape, |byte| byte == quote, &mut cell);
                cell.push(quote);
            }
            None => escape::push(value, escape, |byte| self.needs_quotes(byte), &mut cell),
        }
        out.put(&cell);
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

/// Lets the leak scan look at a block as it came and as it goes out.
fn look(scan: &Scan, block: &Block, columns: &[Option<StringChunked>], masked: &[Option<Masked>]) -> Box<Seen> {
    let came = columns.iter().map(|column| column.as_ref().and_then(|column| column.downcast_iter().next()));
    let goes = masked.iter().map(|masked| masked.as_ref().map(|masked| &masked.cells));
    let rows = block.kept.as_ref().map_or(Rows::All(block.rows as usize), |kept| Rows::Some(kept));
    scan.look(came.zip(goes), rows, block.first_row)
}

/// Every output's piece of a block.
///
/// # Errors
///
/// Of several failures that of the lowest row.
pub(super) fn splice_all(splicers: &[Splicer<'_>], block: &Block, mut spares: Spares) -> Pieces {
    let mut pieces = Vec::with_capacity(splicers.len());
    let mut first: Option<Failure> = None;
    for splicer in splicers {
        match splicer.splice(block, spares.pop().unwrap_or_default()) {
            Ok(piece) => pieces.push(piece),
            Err(failure) if first.as_ref().is_none_or(|first| row(&failure) < row(first)) => first = Some(failure),
            Err(_) => {}
        }
    }
    first.map_or(Ok(pieces), Err)
}

/// A failure without a row goes first: nothing can be said about the rows then.
fn row(failure: &Failure) -> u64 {
    match failure {
        Failure::Reject(fault) => fault.row.unwrap_or(0),
        Failure::Retry { .. } | Failure::Defect { .. } => 0,
    }
}

/// The lowest `count` bits, all of them from 64 on.
fn bits_below(count: usize) -> u64 {
    1_u64.checked_shl(count as u32).map_or(u64::MAX, |bit| bit - 1)
}

/// In a well-formed cell quotes come in pairs only.
pub(super) fn undouble(mut value: &[u8], quote: u8, out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(quote, value) {
        out.extend_from_slice(&value[..=at]);
        value = value.get(at + 2..).unwrap_or(&[]);
    }
    out.extend_from_slice(value);
}
