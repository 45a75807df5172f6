//! Puts masked values between the original bytes of a block.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use polars::prelude::{NewChunkedArray, PlSmallStr, StringChunked};
use polars_arrow::array::{Utf8ViewArray, View};
use polars_arrow::datatypes::ArrowDataType;
use polars_buffer::Buffer;

use super::decision::Instead;
use super::found::{Cell, CellKind, Edit};
use super::lex::{plain_end, push_string, unescape};
use super::tree::{CellMask, Column};
use crate::mask::{Mistyped, REDACTED};
use crate::pipeline::fault::{for_mistyped, internal, of_cell};
use crate::pipeline::piece::Piece;
use crate::pipeline::relay::{Pieces, Spares};
use crate::pipeline::verify::{self, Digests, Seen};
use crate::pipeline::{Failure, Fault};

/// Whole records, checked, with what is to be done to them.
pub(super) struct Block {
    pub data: Buffer<u8>,
    pub columns: Vec<BlockColumn>,
    /// Place in `columns` by column id.
    pub places: Vec<usize>,
    /// By output.
    pub edits: Vec<Vec<Edit>>,
    /// By output: for each record whether it is left out; absent where all of them stay.
    pub left_out: Vec<Option<Vec<bool>>>,
    /// Number of the first record in the file, from 1.
    pub first_row: u64,
    /// Offset in the file.
    pub base: u64,
}

/// The values of one masked path in a block.
pub(super) struct BlockColumn {
    pub column: Arc<Column>,
    /// The path as it may be given out.
    pub public_path: String,
    pub cells: Vec<Cell>,
}

impl Block {
    /// Every output's piece.
    ///
    /// # Errors
    ///
    /// The failure that stands first in the file.
    pub(super) fn splice(&self, mut spares: Spares, scans: &[Option<Arc<Digests>>]) -> Pieces {
        let mut inputs = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            inputs.push(self.cells(column).map_err(Failure::Reject)?);
        }
        let mut pieces = Vec::with_capacity(self.edits.len());
        let mut first: Option<Fault> = None;
        for (output, scan) in scans.iter().enumerate() {
            match self.mask(output, &inputs)? {
                Ok(masked) => {
                    let spare = spares.pop().unwrap_or_default();
                    let mut piece = self.write(output, &inputs, &masked, spare);
                    piece.seen = scan.as_ref().map(|digests| self.look(output, digests, &inputs, &masked));
                    pieces.push(piece);
                }
                Err(fault) if first.as_ref().is_none_or(|first| fault.byte_offset < first.byte_offset) => {
                    first = Some(fault);
                }
                Err(_) => {}
            }
        }
        first.map_or(Ok(pieces), |fault| Err(Failure::Reject(fault)))
    }

    /// Lets the leak scan look at the block as it came and as one output gives it out.
    fn look(
        &self,
        output: usize,
        digests: &Digests,
        inputs: &[StringChunked],
        masked: &[Option<Utf8ViewArray>],
    ) -> Box<Seen> {
        let all = self.columns.iter().zip(inputs).zip(masked);
        let (mut rows, mut came, mut goes) = (Vec::new(), Vec::new(), Vec::new());
        for ((column, input), masked) in all {
            let left = self.left(output, column);
            let stays = |place: usize| left.as_ref().is_none_or(|left| left[place]);
            let places = column.cells.iter().enumerate().filter(|(place, _)| stays(*place));
            rows.push(places.map(|(_, cell)| cell.row).collect::<Vec<u32>>());
            let input = input.downcast_iter().next();
            came.push(input.map(|cells| only(cells, left.as_deref())));
            goes.push(masked.as_ref().map(|cells| only(cells, left.as_deref())));
        }
        let all = self.columns.iter().zip(&came).zip(&goes).zip(&rows);
        let columns: Vec<verify::Column<'_>> = all
            .filter_map(|(((column, cells), masked), rows)| {
                let (watched, cells) = (column.column.watched[output].as_ref()?, cells.as_deref()?);
                let name = &column.public_path;
                Some(verify::Column { watched, name, cells, masked: masked.as_deref(), rows: Some(rows) })
            })
            .collect();
        let count = rows.iter().filter_map(|rows| rows.last()).max().map_or(0, |last| *last as usize + 1);
        Box::new(digests.look(&columns, count, self.first_row))
    }

    /// One output's masked columns, `None` for those that it does not mask.
    #[allow(clippy::type_complexity, reason = "a failure of ours stops at once, a fault of the file does not")]
    fn mask(
        &self,
        output: usize,
        inputs: &[StringChunked],
    ) -> Result<Result<Vec<Option<Utf8ViewArray>>, Fault>, Failure> {
        let mut masked = Vec::with_capacity(inputs.len());
        let mut first: Option<Fault> = None;
        for (column, input) in self.columns.iter().zip(inputs) {
            let Some(mask) = &column.column.masks[output] else {
                masked.push(None);
                continue;
            };
            let beside = mask.beside.as_ref().map(|path| self.beside(column, path, inputs));
            let made = match self.left(output, column) {
                None => mask.prepared.apply_beside(input, beside.as_ref(), mask.mistyped),
                Some(left) => mask_some(input, beside.as_ref(), &left, mask),
            };
            match made {
                Ok(cells) if cells.len() == input.len() => {
                    masked.push(cells.rechunk().downcast_iter().next().cloned());
                }
                Ok(_) => return Err(internal("a mask changed the number of cells")),
                Err(Mistyped { index, expected }) => {
                    let fault = self.mistyped(column, index, &format!("{expected} expected"));
                    if first.as_ref().is_none_or(|first| fault.byte_offset < first.byte_offset) {
                        first = Some(fault);
                    }
                    masked.push(None);
                }
            }
        }
        Ok(first.map_or(Ok(masked), Err))
    }

    /// For each value of a path whether its record stays, where an output leaves out some.
    fn left(&self, output: usize, column: &BlockColumn) -> Option<Vec<bool>> {
        let left_out = self.left_out[output].as_ref()?;
        Some(column.cells.iter().map(|cell| !left_out[cell.row as usize]).collect())
    }

    /// For each value of a path the one of another path in the same record; null where there is none, as within
    /// a whole that is dropped or where a whole stands in its place, and where there is more than one.
    fn beside(&self, column: &BlockColumn, path: &str, inputs: &[StringChunked]) -> StringChunked {
        let mut by_row: HashMap<u32, Option<&str>> = HashMap::new();
        let there = self.columns.iter().zip(inputs).filter(|(other, _)| other.column.path.as_deref() == Some(path));
        for (other, values) in there {
            for (cell, value) in other.cells.iter().zip(values.iter()) {
                by_row.entry(cell.row).and_modify(|known| *known = None).or_insert(value);
            }
        }
        let found = column.cells.iter().map(|cell| by_row.get(&cell.row).copied().flatten());
        StringChunked::from_iter_options(PlSmallStr::EMPTY, found)
    }

    fn mistyped(&self, column: &BlockColumn, index: usize, what: &str) -> Fault {
        let cell = column.cells[index];
        of_cell(
            "mistyped_cell",
            what,
            self.first_row + u64::from(cell.row),
            &column.public_path,
            self.base + u64::from(cell.start),
            for_mistyped(what),
        )
    }

    /// A path's values as a column; views point into the block, only escaped texts are copied.
    pub(super) fn cells(&self, column: &BlockColumn) -> Result<StringChunked, Fault> {
        let data = self.data.as_slice();
        let mut extra = Vec::new();
        let mut views = Vec::with_capacity(column.cells.len());
        for (index, cell) in column.cells.iter().enumerate() {
            let raw = &data[cell.start as usize..cell.end as usize];
            if cell.kind != CellKind::EscapedText {
                views.push(View::new_from_bytes(raw, 0, cell.start));
                continue;
            }
            let start = extra.len();
            if unescape(raw, &mut extra).is_none() {
                if !column.column.is_masked {
                    extra.truncate(start);
                    views.push(View::default());
                    continue;
                }
                return Err(self.mistyped(column, index, "a text of whole characters expected, half of one found"));
            }
            views.push(View::new_from_bytes(&extra[start..], 1, start as u32));
        }
        let buffers = vec![self.data.clone(), Buffer::from(extra)];
        // SAFETY: every view was made from the range of the buffer that it names. The block was checked to be UTF-8, and
        // cells begin and end at ASCII bytes; decoded escapes are whole characters.
        let array = unsafe {
            Utf8ViewArray::new_unchecked_unknown_md(ArrowDataType::Utf8View, views.into(), buffers.into(), None, None)
        };
        Ok(StringChunked::with_chunk(PlSmallStr::EMPTY, array))
    }

    fn write(
        &self,
        output: usize,
        inputs: &[StringChunked],
        masked: &[Option<Utf8ViewArray>],
        spare: Vec<u8>,
    ) -> Piece {
        let data = self.data.as_slice();
        let mut piece = Piece::new(spare, data.len() + data.len() / 4);
        let decoded: Vec<Option<&Utf8ViewArray>> = inputs.iter().map(|input| input.downcast_iter().next()).collect();
        let mut from = 0;
        for edit in &self.edits[output] {
            match *edit {
                Edit::Remove { start, end } => {
                    piece.put_range(data, from..start as usize);
                    from = end as usize;
                }
                Edit::Whole { start, end, instead } => {
                    piece.put_range(data, from..start as usize);
                    match instead {
                        Instead::Null => piece.put(b"null"),
                        Instead::Redacted => put_string(REDACTED, &mut piece),
                    }
                    from = end as usize;
                }
                Edit::Cell { column, index } => {
                    let place = self.places[column as usize];
                    let (column, index) = (&self.columns[place], index as usize);
                    let value = masked[place].as_ref().and_then(|cells| cells.get(index)).unwrap_or("");
                    let cell = column.cells[index];
                    let original = match cell.kind {
                        CellKind::EscapedText => {
                            decoded[place].and_then(|cells| cells.get(index)).unwrap_or("").as_bytes()
                        }
                        _ => &data[cell.start as usize..cell.end as usize],
                    };
                    if value.as_bytes() == original {
                        continue;
                    }
                    let quote = usize::from(matches!(cell.kind, CellKind::Text | CellKind::EscapedText));
                    piece.put_range(data, from..cell.start as usize - quote);
                    from = cell.end as usize + quote;
                    let stays = column.column.masks[output].as_ref().is_some_and(|mask| mask.yields_number);
                    put_value(value, cell.kind == CellKind::Number && stays, &mut piece);
                }
            }
        }
        piece.put(&data[from..]);
        piece
    }
}

/// The values of the records that stay.
fn only<'a>(cells: &'a Utf8ViewArray, left: Option<&[bool]>) -> Cow<'a, Utf8ViewArray> {
    let Some(left) = left else { return Cow::Borrowed(cells) };
    let left = cells.iter().zip(left).filter(|(_, left)| **left).map(|(cell, _)| cell);
    Cow::Owned(Utf8ViewArray::from_slice(left.collect::<Vec<_>>()))
}

/// Masks the values of the records that stay; null stands for the others.
fn mask_some(
    input: &StringChunked,
    beside: Option<&StringChunked>,
    left: &[bool],
    mask: &CellMask,
) -> Result<StringChunked, Mistyped> {
    let places: Vec<usize> = (0..left.len()).filter(|place| left[*place]).collect();
    let some = |column: &StringChunked| -> StringChunked {
        let cells = column.iter().zip(left).filter(|(_, left)| **left).map(|(cell, _)| cell);
        cells.collect()
    };
    let masked = mask.prepared.apply_beside(&some(input), beside.map(some).as_ref(), mask.mistyped);
    let masked = masked.map_err(|it| Mistyped { index: places.get(it.index).copied().unwrap_or(0), ..it })?;
    let mut masked = masked.iter();
    let cells = left.iter().map(|left| if *left { masked.next().flatten() } else { None });
    Ok(StringChunked::from_iter_options(PlSmallStr::EMPTY, cells))
}

/// Writes a masked value: what a mask has emptied is null, a number stays one where it can.
fn put_value(value: &str, number: bool, piece: &mut Piece) {
    if value.is_empty() {
        piece.put(b"null");
    } else if number && is_number(value.as_bytes()) {
        piece.put(value.as_bytes());
    } else {
        put_string(value, piece);
    }
}

/// Writes a text as a JSON string.
fn put_string(text: &str, piece: &mut Piece) {
    if plain_end(text.as_bytes(), 0) < text.len() {
        let mut escaped = Vec::with_capacity(text.len() + 8);
        push_string(text, &mut escaped);
        piece.put(&escaped);
    } else {
        piece.put(b"\"");
        piece.put(text.as_bytes());
        piece.put(b"\"");
    }
}

fn is_number(value: &[u8]) -> bool {
    let data = super::lex::Data { bytes: value, eof: true };
    matches!(value[0], b'-' | b'0'..=b'9') && data.number(0).is_ok_and(|end| end == value.len())
}
