//! What a walk notes of a block: where values lie, and what each output changes.

use super::decision::Instead;
use super::sift::Record;

/// What kind of single value a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CellKind {
    Text,
    EscapedText,
    Number,
    /// `true` or `false`.
    Word,
}

/// A single value of a masked path: its text in the block, without quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub start: u32,
    pub end: u32,
    /// From 0, in the block.
    pub row: u32,
    pub kind: CellKind,
}

/// A change to the block's bytes, in their order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Edit {
    /// The cell with this index of the column with this id.
    Cell {
        column: u32,
        index: u32,
    },
    Remove {
        start: u32,
        end: u32,
    },
    /// A whole object or array gives way.
    Whole {
        start: u32,
        end: u32,
        instead: Instead,
    },
}

/// What was found in a block.
#[derive(Default)]
pub(super) struct Found {
    /// By column id.
    pub cells: Vec<Vec<Cell>>,
    /// By output.
    pub edits: Vec<Vec<Edit>>,
    pub records: Vec<Record>,
    pub rows: u32,
}

impl Found {
    pub(super) fn new(outputs: usize) -> Found {
        Found { edits: (0..outputs).map(|_| Vec::new()).collect(), ..Found::default() }
    }

    /// An empty one with room for as much as was found before.
    pub(super) fn emptied(&self) -> Found {
        let cells = self.cells.iter().map(|cells| Vec::with_capacity(cells.len())).collect();
        let edits = self.edits.iter().map(|edits| Vec::with_capacity(edits.len())).collect();
        Found { cells, edits, records: Vec::with_capacity(self.records.len()), rows: 0 }
    }

    /// Notes a value of the record that is being walked over; its place among those of its path.
    pub(super) fn push(&mut self, column: u32, (start, end, kind): (usize, usize, CellKind)) -> u32 {
        let column = column as usize;
        self.cells.resize_with(self.cells.len().max(column + 1), Vec::new);
        let list = &mut self.cells[column];
        list.push(Cell { start: start as u32, end: end as u32, row: self.rows, kind });
        list.len() as u32 - 1
    }

    /// Forgets what was noted behind an offset: the record there is not whole yet.
    pub(super) fn forget(&mut self, from: usize) {
        let from = from as u32;
        for edits in &mut self.edits {
            let keep = edits.iter().rposition(|edit| match *edit {
                Edit::Cell { column, index } => self.cells[column as usize][index as usize].start < from,
                Edit::Remove { start, .. } | Edit::Whole { start, .. } => start < from,
            });
            edits.truncate(keep.map_or(0, |last| last + 1));
        }
        for cells in &mut self.cells {
            let keep = cells.iter().rposition(|cell| cell.start < from);
            cells.truncate(keep.map_or(0, |last| last + 1));
        }
    }
}
