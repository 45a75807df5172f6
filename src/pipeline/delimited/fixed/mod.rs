//! Text of columns of fixed width, counted in characters; padding is spaces, on the side where the cell has it.

mod splice;
mod survey;

pub(super) use self::survey::survey;

use std::ops::Range;

use super::fault::{Broken, Kind};
use super::header::check_text;
use super::{Fate, Fates, LONGEST_RECORD, Ran, SMALL, preface};
use crate::pipeline::drain::Outlet;
use crate::pipeline::fault::{internal, of_file};
use crate::pipeline::relay;
use crate::pipeline::source::Source;
use crate::pipeline::verify::Scan;
use crate::pipeline::{Dialect, Failure, Fault, Format, Reading};

const BLOCK: usize = 1 << 20;

/// Where the columns stand, and which of them an output touches.
struct Layout {
    widths: Vec<usize>,
    /// Public names, for faults.
    names: Vec<String>,
    touched: Vec<usize>,
    comment: Option<u8>,
    keep_comments: bool,
}

/// Whole lines of UTF-8.
struct Block {
    data: Vec<u8>,
    /// Data row of the first record, from 1.
    first_row: u64,
    /// Offset in the file.
    base: u64,
}

pub(super) fn run<'a>(
    mut source: Source<'_>,
    reading: &Reading,
    planner: impl FnOnce(&[&str]) -> Result<Vec<Fates<'a>>, Fault>,
    outlets: &mut [Outlet],
    threads: usize,
) -> Result<Ran, Failure> {
    let dialect = &reading.dialect;
    if outlets.iter().any(|outlet| outlet.conversion(Format::Csv).is_some()) {
        let sentence = "text of fixed width is not converted to other formats";
        return Err(Failure::Reject(of_file("unconvertible_file", sentence, "Set `output.format` to \"same\".")));
    }
    let max_record_bytes = reading.limits.max_record_bytes.min(LONGEST_RECORD);
    let (beginning, mut buffer) = read_beginning(&mut source, dialect, max_record_bytes)?;
    let names: Vec<&str> = beginning.names.iter().map(String::as_str).collect();
    let plans = planner(&names).map_err(Failure::Reject)?;
    plans.iter().zip(&mut *outlets).for_each(|(plan, outlet)| plan.see_names(&mut outlet.sum));
    let width = dialect.widths.len();
    if plans.iter().any(|plan| plan.columns.len() != width) {
        return Err(internal("a plan does not fit the header"));
    }
    let touched: Vec<Vec<bool>> = plans.iter().map(Fates::touched).collect();
    let is_touched = |column: &usize| touched.iter().any(|plan| plan[*column]);
    let layout = Layout {
        widths: dialect.widths.iter().map(|width| *width as usize).collect(),
        names: plans.first().map(Fates::names).unwrap_or_default(),
        touched: (0..width).filter(is_touched).collect(),
        comment: dialect.comment,
        keep_comments: dialect.keep_comments,
    };
    write_beginning(&buffer, &beginning, dialect, &layout, &plans, outlets)?;
    buffer.drain(..beginning.end);
    let (base, small) = (beginning.end as u64, source.eof);
    let comment = dialect.comment;
    let mut cutter = Cutter { source, buffer, base, rows: 0, max_record_bytes, comment };
    let scans = plans.iter().zip(&*outlets);
    let scans: Vec<Option<Scan>> =
        scans.map(|(plan, outlet)| Scan::new(&outlet.sum, plan.names(), plan.watched.clone())).collect();
    let splice = |block: &Block, _| layout.splice(block, &plans, &scans);
    relay::carry(small, || cutter.next(), splice, outlets, threads)?;
    let (rows, bytes) = (cutter.rows, cutter.source.bytes());
    Ok(Ran { digest: cutter.source.digest(), bytes, rows })
}

/// What stands before the first data record, and the first bytes of the file with it in them.
fn read_beginning(
    source: &mut Source<'_>,
    dialect: &Dialect,
    max_record_bytes: u64,
) -> Result<(Beginning, Vec<u8>), Failure> {
    let mut buffer = Vec::new();
    let mut size = SMALL;
    loop {
        source.fill(&mut buffer, size)?;
        match beginning(&buffer, source.eof, dialect).map_err(Failure::Reject)? {
            Some(beginning) => return Ok((beginning, buffer)),
            None if buffer.len() as u64 > max_record_bytes => {
                return Err(reject(Kind::TooLong { limit: max_record_bytes }, 0, 0, 0));
            }
            None => size *= 2,
        }
    }
}

fn reject(kind: Kind, at: usize, row: u64, base: u64) -> Failure {
    Failure::Reject(Broken { kind, at, column: None }.describe(row, base, &[]))
}

/// What stands before the first data record.
struct Beginning {
    preface: preface::Preface,
    names: Vec<String>,
    /// Where the first data record begins.
    end: usize,
}

fn beginning(data: &[u8], eof: bool, dialect: &Dialect) -> Result<Option<Beginning>, Fault> {
    if let Err(problem) = dialect.check() {
        return Err(of_file("bad_dialect", problem, "Correct `delimited` in the landing's configuration."));
    }
    let Some(preface) = preface::read(data, eof, dialect) else { return Ok(None) };
    let start = preface.end;
    check_text(&data[..start])?;
    if start == data.len() && eof {
        let sentence = "the file is empty: not even one record";
        return Err(of_file("empty_file", sentence, "Ask the sender for the file."));
    }
    let end = if dialect.columns.is_empty() {
        match memchr::memchr(b'\n', &data[start..]) {
            Some(found) => start + found + 1,
            None if eof => data.len(),
            None => return Ok(None),
        }
    } else {
        start
    };
    check_text(&data[..end])?;
    if !dialect.columns.is_empty() {
        return Ok(Some(Beginning { preface, names: dialect.columns.clone(), end }));
    }
    let text = std::str::from_utf8(&data[..end]).unwrap_or_default();
    let widths: Vec<usize> = dialect.widths.iter().map(|width| *width as usize).collect();
    let line = line(&text.as_bytes()[..end], start);
    let fields = fields(text, &line, &widths).map_err(|broken| broken.describe(0, 0, &[]))?;
    let names = fields.into_iter().map(|field| text[field].trim().to_owned()).collect();
    Ok(Some(Beginning { preface, names, end }))
}

fn write_beginning(
    data: &[u8],
    beginning: &Beginning,
    dialect: &Dialect,
    layout: &Layout,
    plans: &[Fates<'_>],
    outlets: &mut [Outlet],
) -> Result<(), Failure> {
    let start = beginning.preface.end;
    let kept = if dialect.keep_comments { start } else { beginning.preface.mark };
    for (outlet, plan) in outlets.iter_mut().zip(plans) {
        let mut out = data[..kept].to_vec();
        if beginning.end > start {
            let text =
                std::str::from_utf8(&data[start..beginning.end]).map_err(|_| internal("a header was checked"))?;
            let line = line(text.as_bytes(), 0);
            let fields = fields(text, &line, &layout.widths).map_err(|_| internal("a header was checked"))?;
            for (field, (_, fate)) in fields.into_iter().zip(&plan.columns) {
                if !matches!(fate, Fate::Drop) {
                    out.extend_from_slice(text[field].as_bytes());
                }
            }
            out.extend_from_slice(&text.as_bytes()[line.end..]);
        }
        outlet.drain.write(&out)?;
    }
    Ok(())
}

/// The line that begins at `start`, its ending not counted.
fn line(data: &[u8], start: usize) -> Range<usize> {
    let end = memchr::memchr(b'\n', &data[start..]).map_or(data.len(), |found| start + found);
    let cr = usize::from(end > start && data[end - 1] == b'\r');
    start..end - cr
}

/// The fields of a line; the last may be cut short, as editors cut trailing spaces.
fn fields(text: &str, line: &Range<usize>, widths: &[usize]) -> Result<Vec<Range<usize>>, Broken> {
    let content = &text[line.clone()];
    let all: usize = widths.iter().sum();
    let least = all - widths.last().copied().unwrap_or(0);
    let count = if content.is_ascii() { content.len() } else { content.chars().count() };
    if count > all || count < least {
        let kind = Kind::Width { expected: all, found: count };
        return Err(Broken { kind, at: line.start, column: None });
    }
    let mut at = line.start;
    let mut fields = Vec::with_capacity(widths.len());
    for width in widths {
        let rest = &text[at..line.end];
        let length = match rest.as_bytes().get(..*width) {
            Some(start) if start.is_ascii() => *width,
            _ => rest.char_indices().nth(*width).map_or(rest.len(), |(length, _)| length),
        };
        fields.push(at..at + length);
        at += length;
    }
    Ok(fields)
}

/// Cuts the input into blocks of whole lines.
struct Cutter<'a> {
    source: Source<'a>,
    buffer: Vec<u8>,
    base: u64,
    rows: u64,
    max_record_bytes: u64,
    comment: Option<u8>,
}

impl Cutter<'_> {
    fn next(&mut self) -> Result<Option<Block>, Failure> {
        let mut size = BLOCK;
        loop {
            self.source.fill(&mut self.buffer, size)?;
            if self.buffer.is_empty() {
                return Ok(None);
            }
            let end = match memchr::memrchr(b'\n', &self.buffer) {
                _ if self.source.eof => self.buffer.len(),
                Some(last) => last + 1,
                None if self.buffer.len() as u64 > self.max_record_bytes => {
                    return Err(reject(Kind::TooLong { limit: self.max_record_bytes }, 0, self.rows + 1, self.base));
                }
                None => {
                    size = self.buffer.len() * 2;
                    continue;
                }
            };
            let rest = self.buffer.split_off(end);
            let data = std::mem::replace(&mut self.buffer, rest);
            let block = Block { first_row: self.rows + 1, base: self.base, data };
            self.rows += self.count(&block)?;
            self.base += end as u64;
            return Ok(Some(block));
        }
    }

    /// Counts the records, and checks what their walk will rely on.
    fn count(&self, block: &Block) -> Result<u64, Failure> {
        let data = &block.data;
        let invalid = simdutf8::compat::from_utf8(data).err().map(|error| (error.valid_up_to(), Kind::InvalidUtf8));
        let nul = memchr::memchr(0, data).map(|at| (at, Kind::Nul));
        let bad = [invalid, nul].into_iter().flatten().min_by_key(|(at, _)| *at);
        let (mut rows, mut start) = (0, 0);
        while start < data.len() {
            let end = memchr::memchr(b'\n', &data[start..]).map_or(data.len(), |found| start + found + 1);
            if let Some((at, kind)) = bad.filter(|(at, _)| *at < end) {
                return Err(reject(kind, at, block.first_row + rows, block.base));
            }
            if (end - start) as u64 > self.max_record_bytes {
                let kind = Kind::TooLong { limit: self.max_record_bytes };
                return Err(reject(kind, start, block.first_row + rows, block.base));
            }
            rows += u64::from(self.comment.is_none() || data.get(start).copied() != self.comment);
            start = end;
        }
        Ok(rows)
    }
}
