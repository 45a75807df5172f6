//! Puts masked cells into the columns of fixed width that they came from.

use std::borrow::Cow;
use std::ops::Range;

use polars::prelude::{NewChunkedArray, StringChunked};

use super::{Block, Layout, fields, line};
use crate::mask::Mistyped;
use crate::pipeline::delimited::{Fate, Fates};
use crate::pipeline::fault::{comment_row, for_mistyped, internal, of_cell};
use crate::pipeline::piece::Piece;
use crate::pipeline::relay::Pieces;
use crate::pipeline::verify::{Rows, Scan, Seen};
use crate::pipeline::{Failure, Fault};

/// The records of a block.
#[derive(Default)]
pub(super) struct Records {
    /// Record by record, one for each touched column.
    pub fields: Vec<Range<usize>>,
    /// The records' lines, with their endings.
    lines: Vec<Range<usize>>,
    /// Data rows of the records.
    rows: Vec<u64>,
    /// Comment lines, which are no records.
    comments: Vec<Range<usize>>,
    /// Lines of records that are left out.
    gaps: Vec<Range<usize>>,
}

impl Records {
    /// The records without some of them.
    fn without(&self, left_out: &[bool], width: usize) -> Records {
        let mut left = Records { comments: self.comments.clone(), ..Records::default() };
        for (index, left_out) in left_out.iter().enumerate() {
            let line = self.lines[index].clone();
            if *left_out {
                left.gaps.push(line);
            } else {
                left.fields.extend_from_slice(&self.fields[index * width..(index + 1) * width]);
                left.lines.push(line);
                left.rows.push(self.rows[index]);
            }
        }
        left
    }
}

impl Layout {
    pub(super) fn splice(&self, block: &Block, plans: &[Fates<'_>], scans: &[Option<Scan>]) -> Pieces {
        let text = std::str::from_utf8(&block.data).map_err(|_| internal("a block was checked"))?;
        let records = self.records(text, block)?;
        let mut pieces = Vec::with_capacity(plans.len());
        let mut first: Option<Fault> = None;
        for (plan, scan) in plans.iter().zip(scans) {
            match self.sifted(text, block, &records, plan, scan.as_ref()) {
                Ok(piece) => pieces.push(piece),
                Err(Failure::Reject(fault)) if first.as_ref().is_none_or(|first| fault.row < first.row) => {
                    first = Some(fault);
                }
                Err(Failure::Reject(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        first.map_or(Ok(pieces), |fault| Err(Failure::Reject(fault)))
    }

    pub(super) fn records(&self, text: &str, block: &Block) -> Result<Records, Failure> {
        let data = &block.data;
        let (mut records, mut row, mut start) = (Records::default(), block.first_row, 0);
        while start < data.len() {
            let line = line(data, start);
            let next = memchr::memchr(b'\n', &data[line.end..]).map_or(data.len(), |found| line.end + found + 1);
            if self.comment.is_some() && data.get(start).copied() == self.comment {
                records.comments.push(start..next);
            } else {
                let fields = fields(text, &line, &self.widths);
                let fields = fields.map_err(|it| Failure::Reject(it.describe(row, block.base, &self.names)))?;
                records.fields.extend(self.touched.iter().map(|column| fields[*column].clone()));
                records.lines.push(start..next);
                records.rows.push(row);
                row += 1;
            }
            start = next;
        }
        Ok(records)
    }

    /// One output's records, those aside that it leaves out.
    fn sifted(
        &self,
        text: &str,
        block: &Block,
        records: &Records,
        plan: &Fates<'_>,
        scan: Option<&Scan>,
    ) -> Result<Piece, Failure> {
        let left_out = match &plan.sifting {
            None => None,
            Some(sifting) => {
                let cells = sifting.columns.iter().filter_map(|column| self.cells_of(text, records, *column));
                let cells: Vec<StringChunked> = cells.collect();
                sifting.sieve.sift(&cells, records.rows.len(), &|index| records.rows[index])?
            }
        };
        match left_out {
            None => self.write(text, block, records, plan, scan),
            Some(left_out) => self.write(text, block, &records.without(&left_out, self.touched.len()), plan, scan),
        }
    }

    fn write(
        &self,
        text: &str,
        block: &Block,
        records: &Records,
        plan: &Fates<'_>,
        scan: Option<&Scan>,
    ) -> Result<Piece, Failure> {
        let columns = self.masked(text, block, records, plan)?;
        let mut out = Vec::with_capacity(text.len() + text.len() / 8);
        let (mut from, mut beginnings) = (0, Vec::new());
        let comments = records.comments.iter().filter(|_| !self.keep_comments);
        let mut gaps: Vec<&Range<usize>> = comments.chain(&records.gaps).collect();
        gaps.sort_unstable_by_key(|gap| gap.start);
        let mut gaps = gaps.into_iter().peekable();
        let mut copy = |out: &mut Vec<u8>, from: usize, to: usize| {
            let mut from = from;
            while let Some(gap) = gaps.next_if(|gap| gap.start < to) {
                out.extend_from_slice(&text.as_bytes()[from..gap.start]);
                from = gap.end;
            }
            out.extend_from_slice(&text.as_bytes()[from..to]);
        };
        for (index, field) in records.fields.iter().enumerate() {
            let (row, slot) = (index / self.touched.len(), index % self.touched.len());
            let cell = Cell::new(&text[field.clone()]);
            let instead = match &columns[slot] {
                Column::Kept => continue,
                Column::Dropped => None,
                Column::Masked(cells) => match cells.get(row).unwrap_or("") {
                    value if value == cell.value => continue,
                    value => Some(value),
                },
            };
            copy(&mut out, from, field.start);
            if self.touched[slot] == 0 {
                beginnings.push((row, out.len()));
            }
            let width = self.widths[self.touched[slot]];
            if instead.is_some_and(|value| !cell.replace(value, width, &mut out)) {
                return Err(Failure::Reject(self.too_wide(block, records.rows[row], slot, field.start)));
            }
            from = field.end;
        }
        copy(&mut out, from, text.len());
        let reads_as_comment = |at: usize| self.comment.is_some() && out.get(at).copied() == self.comment;
        match beginnings.into_iter().find(|(_, at)| reads_as_comment(*at)) {
            Some((row, _)) => Err(Failure::Reject(comment_row(records.rows[row]))),
            None => {
                let mut piece = Piece::from(out);
                piece.seen = scan.and_then(|scan| self.look(scan, text, block, records, &columns));
                Ok(piece)
            }
        }
    }

    /// Lets the leak scan look at a block as it came and as it goes out; then every column is touched.
    fn look(&self, scan: &Scan, text: &str, block: &Block, records: &Records, columns: &[Column]) -> Option<Box<Seen>> {
        let rows = records.fields.len() / self.touched.len().max(1);
        let came: Vec<StringChunked> = (0..columns.len()).map(|slot| self.cells(text, records, slot)).collect();
        let came = came.iter().map(|cells| cells.downcast_iter().next());
        let goes: Vec<Option<Cow<'_, StringChunked>>> = columns.iter().map(Column::masked).collect();
        let goes = goes.iter().map(|cells| cells.as_ref().and_then(|cells| cells.downcast_iter().next()));
        let places: Vec<u32> = records.rows.iter().map(|row| (row - block.first_row) as u32).collect();
        (rows > 0).then(|| scan.look(came.zip(goes), Rows::Some(&places), block.first_row))
    }

    fn masked(&self, text: &str, block: &Block, records: &Records, plan: &Fates<'_>) -> Result<Vec<Column>, Failure> {
        let mut columns = Vec::with_capacity(self.touched.len());
        let mut first: Option<Fault> = None;
        for (slot, column) in self.touched.iter().enumerate() {
            columns.push(match &plan.columns[*column].1 {
                Fate::Keep => Column::Kept,
                Fate::Drop => Column::Dropped,
                Fate::Mask { apply, beside } => {
                    let cells = self.cells(text, records, slot);
                    let beside = beside.and_then(|column| self.cells_of(text, records, column));
                    match apply(&cells, beside.as_ref()) {
                        Ok(masked) if masked.len() == cells.len() => Column::Masked(masked),
                        Ok(_) => return Err(internal("a mask changed the number of rows")),
                        Err(Mistyped { index, expected }) => {
                            let at = records.fields[index * self.touched.len() + slot].start;
                            let fault = of_cell(
                                "mistyped_cell",
                                &format!("{expected} expected"),
                                records.rows[index],
                                &plan.columns[*column].0,
                                block.base + at as u64,
                                for_mistyped(expected),
                            );
                            if first.as_ref().is_none_or(|first| fault.row < first.row) {
                                first = Some(fault);
                            }
                            Column::Kept
                        }
                    }
                }
            });
        }
        first.map_or(Ok(columns), |fault| Err(Failure::Reject(fault)))
    }

    /// The cells of one touched column.
    fn cells(&self, text: &str, records: &Records, slot: usize) -> StringChunked {
        let fields = records.fields.iter().skip(slot).step_by(self.touched.len());
        StringChunked::from_iter_values("".into(), fields.map(|field| Cell::new(&text[field.clone()]).value))
    }

    /// The cells of a column of the file, if it is touched.
    fn cells_of(&self, text: &str, records: &Records, column: usize) -> Option<StringChunked> {
        self.touched.binary_search(&column).ok().map(|slot| self.cells(text, records, slot))
    }

    fn too_wide(&self, block: &Block, row: u64, slot: usize, at: usize) -> Fault {
        of_cell(
            "cell_too_wide",
            &format!("what the mask gives is no line of at most {} characters", self.widths[self.touched[slot]]),
            row,
            &self.names[self.touched[slot]],
            block.base + at as u64,
            "Choose a mask or a `length` that fits the column's width.",
        )
    }
}

/// What an output does with one touched column of a block.
enum Column {
    Kept,
    Dropped,
    Masked(StringChunked),
}

impl Column {
    /// The masked cells in one piece.
    fn masked(&self) -> Option<Cow<'_, StringChunked>> {
        if let Column::Masked(cells) = self { Some(cells.rechunk()) } else { None }
    }
}

/// A field without its padding.
struct Cell<'t> {
    value: &'t str,
    /// Padded on the left only.
    is_right: bool,
}

impl<'t> Cell<'t> {
    fn new(field: &'t str) -> Cell<'t> {
        let value = field.trim_matches(' ');
        Cell { value, is_right: field.starts_with(' ') && !field.ends_with(' ') }
    }

    /// Writes another value in the cell's place; false when it does not fit.
    fn replace(&self, value: &str, width: usize, out: &mut Vec<u8>) -> bool {
        let count = value.chars().count();
        if count > width || value.contains(['\r', '\n']) {
            return false;
        }
        let padding = vec![b' '; width - count];
        let (before, after) = if self.is_right { (&padding[..], &[][..]) } else { (&[][..], &padding[..]) };
        [before, value.as_bytes(), after].into_iter().for_each(|part| out.extend_from_slice(part));
        true
    }
}
