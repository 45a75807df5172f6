//! Workbooks: which there are, which of their sheets is read, and its cells in order.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use calamine::{Data, Ods, Range, Reader, Sheet, SheetType, SheetVisible, Xlsx};

use super::{ADVICE, damaged};
use crate::pipeline::expansion::Expansion;
use crate::pipeline::fault::of_file;
use crate::pipeline::source::retry;
use crate::pipeline::window::{From, Window};
use crate::pipeline::{Failure, Fault, Format, Reading, kind};

pub(super) const BUFFER: usize = 64 << 10;
const ODS: &[u8] = b"application/vnd.oasis.opendocument.spreadsheet";

/// Of a sheet in xlsx; the library believes places behind them.
pub(super) const MOST_ROWS: u32 = 1 << 20;
pub(super) const MOST_COLUMNS: u32 = 1 << 14;

type Bytes = BufReader<From>;

pub(super) fn reader(window: &Window) -> Bytes {
    BufReader::with_capacity(BUFFER, window.from(0))
}

/// A window on what begins as zip archives do; anything else is for others to tell.
fn zipped(file: &File) -> Result<Option<Window>, Failure> {
    let mut head = [0; 4];
    if file.read_exact_at(&mut head, 0).is_err() || head != *b"PK\x03\x04" {
        return Ok(None);
    }
    let doing = |error: io::Error| retry("look at the input", &error);
    let len = file.metadata().map_err(doing)?.len();
    Ok(Some(Window::new(file.try_clone().map_err(doing)?.into(), len)))
}

/// What an input is, if it is a spreadsheet.
pub(in crate::pipeline) fn recognise(file: &File) -> Result<Option<Format>, Failure> {
    let Some(window) = zipped(file)? else { return Ok(None) };
    let none = || window.failure().map_or(Ok(None), |error| Err(retry("look at the input", &error)));
    let Ok(mut archive) = zip::ZipArchive::new(reader(&window)) else { return none() };
    if archive.index_for_name("xl/workbook.xml").is_some() {
        return Ok(Some(Format::Xlsx));
    }
    let mut kind = Vec::new();
    let Ok(member) = archive.by_name("mimetype") else { return none() };
    let read = member.take(ODS.len() as u64 + 1).read_to_end(&mut kind);
    if read.is_ok() && kind.starts_with(ODS) { Ok(Some(Format::Ods)) } else { none() }
}

/// Refuses what has the name of a spreadsheet and was recognised as none: as damaged where it begins as one.
pub(in crate::pipeline) fn refuse_misnamed(file: &File, reading: &Reading) -> Result<(), Failure> {
    let Err(misnamed) = kind::refuse_misnamed(reading) else { return Ok(()) };
    let Some(window) = zipped(file)? else { return Err(Failure::Reject(misnamed)) };
    let is_whole = zip::ZipArchive::new(reader(&window)).is_ok_and(|mut archive| {
        // What tells an ods file apart must be readable, too.
        archive.index_for_name("mimetype").is_none()
            || archive
                .by_name("mimetype")
                .is_ok_and(|member| io::copy(&mut member.take(1 << 10), &mut io::sink()).is_ok())
    });
    if is_whole {
        return Err(Failure::Reject(misnamed));
    }
    let what = "the spreadsheet is cut off or damaged: the directory of its parts, at its end, cannot be read";
    let fault = of_file("malformed_file", what, "Have the file sent again, whole, or saved again.");
    Err(window.failure().map_or(Failure::Reject(fault), |error| retry("look at the input", &error)))
}

/// Its cell would come out empty.
fn without_value(row: u32, column: u32) -> Fault {
    let sentence = format!(
        "the formula in row {}, column {} of the sheet was saved without its value",
        u64::from(row) + 1,
        u64::from(column) + 1
    );
    let advice = "Have the file opened in a spreadsheet program, which works formulas out, and saved there.";
    of_file("formula_without_value", &sentence, advice)
}

pub(super) fn unreadable(window: &Window, place: &str) -> Failure {
    match window.failure() {
        Some(error) => retry("read the input", &error),
        None => damaged(place),
    }
}

/// The same of a sheet, behind the last cell that could be read.
fn behind(window: &Window, last: Option<(u32, u32)>) -> Failure {
    let place = last.map_or_else(
        || ": the first cell of the sheet cannot be read".to_owned(),
        |(row, column)| {
            let (row, column) = (u64::from(row) + 1, u64::from(column) + 1);
            format!(": the cell behind row {row}, column {column} of the sheet cannot be read")
        },
    );
    unreadable(window, &place)
}

/// Writes and empties a text; false when its reader has ended.
pub(super) fn hand_on(text: &mut String, out: &mut BufWriter<&File>, expansion: &Expansion) -> Result<bool, Failure> {
    expansion.add(text.len() as u64)?;
    let is_read = out.write_all(text.as_bytes()).is_ok();
    text.clear();
    Ok(is_read)
}

/// The cells that hold something, from 0.
pub(super) struct Bounds {
    pub first_row: u32,
    pub first_column: u32,
    pub last_column: u32,
}

/// A workbook with its sheet chosen.
pub(super) enum Book {
    Xlsx(Box<Xlsx<Bytes>>, String),
    Ods(Range<Data>),
}

/// What is done with each cell, by row and column; false ends the walk.
pub(super) type Visit<'a> = &'a mut dyn FnMut((u32, u32), &Data) -> Result<bool, Failure>;

/// The names of the sheets that can be seen.
pub(super) fn names(window: &Window, format: Format) -> Result<Vec<String>, Failure> {
    let broken = || unreadable(window, "");
    let names = |sheets: &[Sheet]| {
        let seen = sheets.iter().filter(|it| it.visible == SheetVisible::Visible && it.typ == SheetType::WorkSheet);
        seen.map(|sheet| sheet.name.clone()).collect()
    };
    if format == Format::Xlsx {
        let book: Xlsx<Bytes> = Xlsx::new(reader(window)).map_err(|_| broken())?;
        return Ok(names(book.sheets_metadata()));
    }
    let book: Ods<Bytes> = Ods::new(reader(window)).map_err(|_| broken())?;
    Ok(names(book.sheets_metadata()))
}

impl Book {
    pub(super) fn open(window: &Window, format: Format, sheet: Option<&str>) -> Result<Book, Failure> {
        let broken = || unreadable(window, "");
        if format == Format::Xlsx {
            let book: Xlsx<Bytes> = Xlsx::new(reader(window)).map_err(|_| broken())?;
            let name = choose(book.sheets_metadata(), sheet)?;
            return Ok(Book::Xlsx(Box::new(book), name));
        }
        let mut book: Ods<Bytes> = Ods::new(reader(window)).map_err(|_| broken())?;
        let name = choose(book.sheets_metadata(), sheet)?;
        let range = book.worksheet_range(&name).map_err(|_| broken())?;
        let formulas = book.worksheet_formula(&name).map_err(|_| broken())?;
        let (first_row, first_column) = formulas.start().unwrap_or_default();
        for (row, column, formula) in formulas.used_cells() {
            let at = (first_row + row as u32, first_column + column as u32);
            if !formula.is_empty() && range.get_value(at).is_none_or(|value| *value == Data::Empty) {
                return Err(Failure::Reject(without_value(at.0, at.1)));
            }
        }
        Ok(Book::Ods(range))
    }

    /// `None` for an empty sheet.
    pub(super) fn bounds(&mut self, window: &Window) -> Result<Option<Bounds>, Failure> {
        let mut found: Option<Bounds> = None;
        self.cells(window, &mut |(row, column), _| {
            let bounds = found.get_or_insert(Bounds { first_row: row, first_column: column, last_column: column });
            bounds.first_row = bounds.first_row.min(row);
            bounds.first_column = bounds.first_column.min(column);
            bounds.last_column = bounds.last_column.max(column);
            Ok(true)
        })?;
        Ok(found)
    }

    /// Visits the cells that hold something, row by row; false when a visit has ended the walk.
    pub(super) fn cells(&mut self, window: &Window, visit: Visit<'_>) -> Result<bool, Failure> {
        let broken = || unreadable(window, "");
        match self {
            Book::Xlsx(book, name) => {
                let mut cells = book.worksheet_cells_reader(name).map_err(|_| broken())?;
                let mut last = None;
                while let Some(cell) = cells.next_cell_with_formula_metadata().map_err(|_| behind(window, last))? {
                    let (row, column) = cell.pos;
                    last = Some(cell.pos);
                    if row >= MOST_ROWS || column >= MOST_COLUMNS {
                        let most = format!(": a sheet has at most {MOST_ROWS} rows and {MOST_COLUMNS} columns");
                        return Err(damaged(&most));
                    }
                    let value = Data::from(cell.value);
                    if value == Data::Empty && cell.formula.is_some() {
                        return Err(Failure::Reject(without_value(row, column)));
                    }
                    if value != Data::Empty && !visit((row, column), &value)? {
                        return Ok(false);
                    }
                }
            }
            Book::Ods(range) => {
                for (row, column, value) in range.used_cells() {
                    let at = (u32::try_from(row), u32::try_from(column));
                    let (Ok(row), Ok(column)) = at else { return Err(broken()) };
                    if !visit((row, column), value)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

/// The sheet that is named, or the only one that can be seen.
fn choose(sheets: &[Sheet], wanted: Option<&str>) -> Result<String, Failure> {
    let mut seen = sheets.iter().filter(|sheet| {
        let is_wanted = wanted.map_or(sheet.visible == SheetVisible::Visible, |wanted| sheet.name == wanted);
        is_wanted && sheet.typ == SheetType::WorkSheet
    });
    match (seen.next(), seen.count(), wanted) {
        (Some(sheet), 0, _) => Ok(sheet.name.clone()),
        (None, _, Some(wanted)) => {
            let sentence = format!("the spreadsheet has no sheet {wanted:?}, which is asked for");
            Err(Failure::Reject(of_file("missing_sheet", &sentence, "Ask the sender for it, or correct `sheet`.")))
        }
        (None, _, None) => Err(Failure::Reject(of_file("empty_file", "the spreadsheet has no sheet", ADVICE))),
        (Some(_), others, _) => {
            let sentence = format!("the spreadsheet has {} sheets, and nothing says which is read", others + 1);
            let advice = "Name one by `sheet` in the landing's configuration (`--sheet` on the command line), take them all, \
                          one by one, by `sheet = \"each\"`, or give them rules: `[[landing.sheet]]`.";
            Err(Failure::Reject(of_file("many_sheets", &sentence, advice)))
        }
    }
}
