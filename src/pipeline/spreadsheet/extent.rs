//! How many cells and bytes of text the repeats of an ods file stand for: the library writes them all out in memory.

use calamine::Data;
use quick_xml::events::{BytesStart, Event};

use super::book::{MOST_COLUMNS, MOST_ROWS};
use super::malformed;
use super::markup::{Held, altered, attribute};
use crate::pipeline::Fault;

/// A cell in memory, with the place of its formula.
const CELL: u64 = (size_of::<Data>() + size_of::<String>()) as u64;
/// What a text takes besides its bytes.
const TEXT: u64 = 16;

#[derive(Default)]
pub(super) struct Extent {
    /// From 1; tables and rows that have begun.
    tables: u64,
    table: Table,
    row: Option<Row>,
    cell: Option<Cell>,
}

/// Of a table so far, counted from 0.
#[derive(Default)]
struct Table {
    next_row: u64,
    /// The rectangle that holds all that is not empty, behind its last row and column.
    rows: Option<(u64, u64)>,
    columns: Option<(u64, u64)>,
    /// As they are written, and with their rows repeated.
    cells: u64,
    texts: u64,
    repeated_texts: u64,
}

#[derive(Default)]
struct Row {
    repeats: u64,
    next_column: u64,
    columns: Option<(u64, u64)>,
    texts: u64,
}

#[derive(Default)]
struct Cell {
    depth: usize,
    repeats: u64,
    is_used: bool,
    /// Its content is its value.
    is_text: bool,
    text: u64,
}

impl Extent {
    pub(super) fn place(&self) -> String {
        if self.tables == 0 {
            return String::new();
        }
        let row = self.row.as_ref().map_or_else(String::new, |row| {
            let column = self.cell.as_ref().map_or_else(String::new, |_| format!(", column {}", row.next_column + 1));
            format!(", at row {}{column}", self.table.next_row.saturating_add(1))
        });
        format!(" in sheet {}{row}", self.tables)
    }

    /// Whether the event is within a cell.
    pub(super) fn take(&mut self, event: &Event<'_>, held: &mut Held) -> Result<bool, Fault> {
        match event {
            Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::PI(_) if self.is_between_cells() => {
                return Err(malformed(&format!("{}: there is something else than cells in the row", self.place())));
            }
            Event::Start(element) => self.start(element)?,
            Event::End(element) => self.end(element.name().as_ref(), held)?,
            Event::Text(text) => self.add_text(text.len() as u64),
            Event::GeneralRef(_) => self.add_text(4),
            Event::CData(_) if self.cell.is_some() => {
                return Err(altered("a cell has a CDATA section", &self.place()));
            }
            _ => {}
        }
        Ok(self.cell.is_some())
    }

    fn is_between_cells(&self) -> bool {
        self.row.is_some() && self.cell.is_none()
    }

    fn add_text(&mut self, bytes: u64) {
        if let Some(cell) = self.cell.as_mut().filter(|cell| cell.is_text) {
            cell.text = cell.text.saturating_add(bytes);
        }
    }

    fn start(&mut self, element: &BytesStart<'_>) -> Result<(), Fault> {
        let name = element.name();
        if let Some(cell) = &mut self.cell {
            cell.depth += 1;
            let spaces = if name.as_ref() == "text:s" { attribute(element, "text:c") } else { None };
            self.add_text(spaces.map_or(1, |count| count.parse().unwrap_or(u64::MAX)));
            return Ok(());
        }
        let repeats = |name: &str| -> Result<u64, Fault> {
            let Some(count) = attribute(element, name) else { return Ok(1) };
            count.parse().map_err(|_| malformed(&format!("{}: a repeat is no number", self.place())))
        };
        match name.as_ref() {
            "table:table" => {
                self.tables += 1;
                self.table = Table::default();
            }
            "table:table-row" => {
                let repeats = repeats("table:number-rows-repeated")?;
                self.row = Some(Row { repeats, ..Row::default() });
            }
            "table:table-cell" | "table:covered-table-cell" if self.row.is_some() => {
                let repeats = repeats("table:number-columns-repeated")?;
                self.cell = Some(Cell { repeats, ..cell(element) });
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str, held: &mut Held) -> Result<(), Fault> {
        match &mut self.cell {
            Some(Cell { depth: 0, .. }) => return self.end_cell(),
            Some(cell) => {
                cell.depth -= 1;
                return Ok(());
            }
            None => {}
        }
        match name {
            "table:table-row" => self.end_row(held),
            "table:table" => held.add(self.table.bytes(), || self.place()),
            _ => Ok(()),
        }
    }

    fn end_cell(&mut self) -> Result<(), Fault> {
        let place = self.place();
        let (Some(cell), Some(row)) = (self.cell.take(), &mut self.row) else { return Ok(()) };
        let first = row.next_column;
        row.next_column = first.saturating_add(cell.repeats);
        if !cell.is_used || cell.repeats == 0 {
            return Ok(());
        }
        if row.next_column > u64::from(MOST_COLUMNS) {
            return Err(malformed(&format!("{place}: it goes beyond {MOST_COLUMNS} columns")));
        }
        row.columns = Some((row.columns.map_or(first, |(least, _)| least), row.next_column));
        row.texts = row.texts.saturating_add(cell.text.saturating_add(TEXT).saturating_mul(cell.repeats));
        Ok(())
    }

    fn end_row(&mut self, held: &mut Held) -> Result<(), Fault> {
        let place = self.place();
        let Some(row) = self.row.take() else { return Ok(()) };
        let table = &mut self.table;
        let first = table.next_row;
        table.next_row = first.saturating_add(row.repeats);
        let Some((least, end)) = row.columns.filter(|_| row.repeats > 0) else { return Ok(()) };
        if table.next_row > u64::from(MOST_ROWS) {
            return Err(malformed(&format!("{place}: it goes beyond {MOST_ROWS} rows")));
        }
        table.rows = Some((table.rows.map_or(first, |(first, _)| first), table.next_row));
        table.columns = Some(table.columns.map_or((least, end), |(from, to)| (from.min(least), to.max(end))));
        table.cells = table.cells.saturating_add(end);
        table.texts = table.texts.saturating_add(row.texts);
        table.repeated_texts = table.repeated_texts.saturating_add(row.texts.saturating_mul(row.repeats));
        held.check(table.bytes(), || place)
    }
}

impl Table {
    /// As it is written, or with all rows of the same width: the library has both, one after the other.
    fn bytes(&self) -> u64 {
        let span = |range: Option<(u64, u64)>| range.map_or(0, |(from, to)| to - from);
        let area = span(self.rows).saturating_mul(span(self.columns));
        let bytes = |cells: u64, texts: u64| cells.saturating_mul(CELL).saturating_add(texts);
        bytes(self.cells, self.texts).max(bytes(area, self.repeated_texts))
    }
}

/// What the tag of a cell tells.
fn cell(element: &BytesStart<'_>) -> Cell {
    let mut found = Cell::default();
    let mut has_value = false;
    for attribute in element.attributes().with_checks(false).flatten() {
        let bytes = attribute.value.len() as u64;
        match attribute.key.as_ref() {
            "office:value" | "office:boolean-value" => has_value = true,
            "office:string-value" | "office:date-value" | "office:time-value" => {
                has_value = true;
                found.text = found.text.saturating_add(bytes);
            }
            "office:value-type" | "calcext:value-type" => {
                found.is_text |= ["string", "error"].contains(&attribute.value.as_ref());
            }
            "table:formula" => {
                found.is_used = true;
                found.text = found.text.saturating_add(bytes);
            }
            _ => {}
        }
    }
    found.is_used |= has_value || found.is_text;
    found
}
