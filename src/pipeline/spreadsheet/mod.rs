//! Spreadsheets: one sheet as delimited text, which then goes the way of all delimited text, or each that can be seen as a
//! member of an archive.
//!
//! The text is made in a thread and handed over in a pipe, so that it lies nowhere. Formulas count by the value that was
//! saved with them, dates are ISO 8601, texts stay as they are written, leading zeros included.

#![allow(clippy::result_large_err, reason = "failures are rare, and their shape is the pipeline's contract")]

mod book;
mod cell;
mod cells;
mod extent;
mod markup;
mod parts;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use self::book::{Book, Bounds};
use super::expansion::Expansion;
use super::fault::{internal, of_file};
use super::source::{digest_of, retry};
use super::survey::{Sample, Surveyed};
use super::window::Window;
use super::{Dialect, DigestKind, Failure, Fault, Format, Input, InputReport, Outgoing, Reading, Report};
use crate::keys::MaskingKeys;

pub(super) use self::book::{recognise, refuse_misnamed};

const ADVICE: &str = "Have the file saved again, or sent as delimited text.";
/// What no text ends with: its reader refuses it, and no output is ended well.
const CUT_OFF: &[u8] = b"\n\"\0";

#[allow(clippy::too_many_arguments)] // as `process`, with what the file was found to be
pub(super) fn process(
    file: File,
    format: Format,
    reading: &Reading,
    digest: DigestKind,
    outputs: Vec<Outgoing>,
    keys: &MaskingKeys,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Failure> {
    let sheet = Sheet::open(file, format, reading, progress)?;
    let as_text = as_text(reading);
    let report = sheet.read(reading, |text| {
        let input = Input { file: text, reading: as_text, digest: DigestKind::None };
        super::process_as_found(input, outputs, keys, threads, progress)
    })?;
    let bytes = sheet.window.size();
    let input_digest = digest_of(&sheet.file, bytes, digest, keys, progress)?;
    let format = format.name().to_owned();
    Ok(Report { input: InputReport { digest: input_digest, digest_kind: digest, bytes, format }, ..report })
}

/// A look at the sheet that would be read.
pub(super) fn survey(file: File, format: Format, reading: &Reading, sample: Sample) -> Result<Surveyed, Failure> {
    let sheet = Sheet::open(file, format, reading, &|_| {})?;
    let as_text = as_text(reading);
    let surveyed = sheet.read(reading, |text| super::survey::text(text, &as_text, sample))?;
    Ok(Surveyed { format: format.name().to_owned(), ..surveyed })
}

/// What is done with a sheet, given by its name and its text.
pub(super) type Visit<'v> = &'v mut dyn FnMut(&str, &mut File) -> Result<(), Failure>;

/// Visits each sheet that can be seen.
pub(super) fn each(
    file: &Arc<File>,
    format: Format,
    reading: &Reading,
    progress: &(dyn Fn(u64) + Sync),
    visit: Visit<'_>,
) -> Result<(), Failure> {
    let file = file.try_clone().map_err(|error| retry("look at the input", &error))?;
    Sheet::open(file, format, reading, progress)?.each(reading, visit)
}

/// How the text of a sheet is read.
pub(super) fn as_text(reading: &Reading) -> Reading {
    let Dialect { columns, preamble, .. } = reading.dialect.clone();
    let dialect = Dialect { delimiter: Some(b','), columns, preamble, ..Dialect::default() };
    let extension = Some("csv".to_owned());
    Reading {
        accept: vec![Format::Csv],
        extension,
        charset: None,
        dialect,
        members: Vec::new(),
        sheets: Vec::new(),
        ..reading.clone()
    }
}

/// A file open for reading.
struct Sheet {
    file: Arc<File>,
    window: Window,
    format: Format,
}

impl Sheet {
    fn open(file: File, format: Format, reading: &Reading, progress: &(dyn Fn(u64) + Sync)) -> Result<Sheet, Failure> {
        let len = file.metadata().map_err(|error| retry("look at the input", &error))?.len();
        let file = Arc::new(file);
        let window = Window::new(file.clone(), len);
        parts::check(&window, format, &reading.limits, progress)?;
        Ok(Sheet { file, window, format })
    }

    /// Hands the sheet's text to a reader of delimited text.
    fn read<T: Send>(
        &self,
        reading: &Reading,
        read: impl FnOnce(File) -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        let (text, pipe) = super::pipe()?;
        thread::scope(|scope| {
            let reader = scope.spawn(move || read(text));
            let written = contained(|| {
                let mut book = Book::open(&self.window, self.format, reading.sheet.as_deref())?;
                let bounds = book.bounds(&self.window)?.ok_or_else(|| Failure::Reject(empty()))?;
                self.write((book, bounds), reading, &pipe)
            });
            end(written.is_ok(), pipe);
            let read = reader.join().unwrap_or_else(|_| Err(internal("the thread of a sheet panicked")));
            written?;
            read.map_err(in_sheet)
        })
    }

    /// Hands the text of each sheet that can be seen and is not empty to a visitor.
    fn each(&self, reading: &Reading, visit: Visit<'_>) -> Result<(), Failure> {
        for name in contained(|| book::names(&self.window, self.format))? {
            let opened = contained(|| {
                let mut book = Book::open(&self.window, self.format, Some(&name))?;
                Ok(book.bounds(&self.window)?.map(|bounds| (book, bounds)))
            })?;
            let Some(opened) = opened else { continue };
            let (mut text, pipe) = super::pipe()?;
            thread::scope(|scope| {
                let writer = scope.spawn(move || {
                    let written = contained(|| self.write(opened, reading, &pipe));
                    end(written.is_ok(), pipe);
                    written
                });
                let visited = visit(&name, &mut text);
                // A visitor that has ended early reads no more; the writer must not wait for it.
                drop(text);
                writer.join().unwrap_or_else(|_| Err(internal("the thread of a sheet panicked")))?;
                visited.map_err(in_sheet)
            })?;
        }
        Ok(())
    }

    fn write(&self, (mut book, bounds): (Book, Bounds), reading: &Reading, pipe: &File) -> Result<(), Failure> {
        let (mut text, expansion) = (String::new(), Expansion::of(self.window.size(), reading.limits));
        let mut out = BufWriter::with_capacity(1 << 16, pipe);
        let (mut row, mut column) = (bounds.first_row, bounds.first_column);
        let mut last = None;
        let mut put = |at: (u32, u32), value: &calamine::Data| -> Result<bool, Failure> {
            text.clear();
            // Each place once: two values would run into one.
            if last.replace(at).is_some_and(|last| at <= last) {
                let (row, column) = (u64::from(at.0) + 1, u64::from(at.1) + 1);
                let place = format!(" at row {row}, column {column} of the sheet, which stands behind a later cell");
                return Err(damaged(&place));
            }
            while row < at.0 {
                push_separators(&mut text, bounds.last_column - column);
                text.push('\n');
                (row, column) = (row + 1, bounds.first_column);
                book::hand_on(&mut text, &mut out, &expansion)?;
            }
            push_separators(&mut text, at.1 - column);
            column = at.1;
            cell::push(value, &mut text);
            book::hand_on(&mut text, &mut out, &expansion)
        };
        let is_read = book.cells(&self.window, &mut put)?;
        if is_read {
            push_separators(&mut text, bounds.last_column - column);
            text.push('\n');
            book::hand_on(&mut text, &mut out, &expansion)?;
            let _ = out.flush(); // the reader's own failure tells why it has ended
        }
        Ok(())
    }
}

/// The library is not made for hostile files everywhere; a panic's payload is dropped, it may hold a value.
fn contained<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged("")))
}

/// Ends a text, well or so that nobody takes it for whole.
fn end(is_whole: bool, pipe: File) {
    if !is_whole {
        let _ = (&pipe).write_all(CUT_OFF); // a reader that has ended needs none
    }
}

fn push_separators(text: &mut String, count: u32) {
    text.extend(std::iter::repeat_n(',', count as usize));
}

fn empty() -> Fault {
    let advice = "Ask the sender for the file, or name another `sheet` in the landing's configuration.";
    of_file("empty_file", "the sheet is empty", advice)
}

/// `place` follows the word it is said of, a cell's or a sheet's number.
fn malformed(place: &str) -> Fault {
    of_file("malformed_file", &format!("the spreadsheet is damaged{place}"), ADVICE)
}

fn damaged(place: &str) -> Failure {
    Failure::Reject(malformed(place))
}

fn too_large(what: &str, limit: u64, name: &str, place: &str) -> Fault {
    let advice = format!("If the file is honest, raise `{name}` in the limits, or have it sent as delimited text.");
    of_file("too_large_to_hold", &format!("{what} {limit} bytes{place}"), &advice)
}

fn in_sheet(failure: Failure) -> Failure {
    match failure {
        Failure::Reject(fault) if fault.byte_offset.is_some() => {
            Failure::Reject(Fault { sentence: format!("{} (counted in the sheet as CSV)", fault.sentence), ..fault })
        }
        failure => failure,
    }
}
