//! Columnar files: Parquet and Arrow IPC.
//!
//! Owns the way from a file that is read at any place to each output's bytes. Columns that no rule touches keep value
//! and type; what is written of a masked column, its statistics included, is made from the masked values alone.

#![allow(clippy::result_large_err, reason = "failures are rare, and their shape is the pipeline's contract")]

mod arrow;
mod fault;
mod fields;
mod names;
mod parquet;
mod plan;
mod schema;
#[cfg(test)]
mod tests;
mod text;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;

use super::drain::Outlet;
use super::fault::of_file;
use super::sieve::{self, Rows, Sieve};
use super::source::{digest_of, retry};
use super::survey::{Sample, Surveyed};
use super::tap::Tap;
use super::verify::{Sum, Verified};
use super::{ColumnReport, DigestKind, Failure, Format, InputReport, Outgoing, Reading, Report};
use crate::keys::MaskingKeys;
use crate::policy::Policy;

/// What an input is, by its first bytes, if it is columnar.
pub(super) fn recognise(file: &File) -> Result<Option<Format>, Failure> {
    let mut head = [0; 8];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // A pipe, the reader of most members of archives: it cannot be read at any place.
            Err(error) if error.raw_os_error() == Some(libc::ESPIPE) => return Ok(None),
            Err(error) => return Err(retry("read the input", &error)),
        }
    }
    Ok(format_of(&head[..filled]))
}

/// The format that begins so.
pub(super) fn format_of(head: &[u8]) -> Option<Format> {
    match head {
        [b'P', b'A', b'R', b'1', ..] => Some(Format::Parquet),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Some(Format::Arrow),
        // The stream's first message: the schema, in a size that a schema has.
        [0xff, 0xff, 0xff, 0xff, _, _, _, 0, ..] => Some(Format::Arrow),
        _ => None,
    }
}

/// A file open for reading at any place.
struct Opened<'a> {
    file: Arc<File>,
    format: Format,
    len: u64,
    reading: &'a Reading,
    policies: Vec<Policy>,
    /// By output.
    sieves: Vec<Option<Arc<Sieve>>>,
    keys: &'a MaskingKeys,
    /// That mask.
    threads: usize,
    progress: &'a (dyn Fn(u64) + Sync),
}

/// What a run has read and made.
struct Ran {
    rows: u64,
    outputs: Vec<(Tap, Vec<ColumnReport>)>,
}

#[allow(clippy::too_many_arguments)] // as `process`, with what the file was found to be
pub(super) fn process(
    file: File,
    format: Format,
    reading: &Reading,
    digest_kind: DigestKind,
    outputs: Vec<Outgoing>,
    keys: &MaskingKeys,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Failure> {
    let len = file.metadata().map_err(|error| retry("look at the input", &error))?.len();
    let policies: Vec<Policy> = outputs.iter().map(|output| output.policy.clone()).collect();
    let sieves = outputs.iter().map(|output| output.sieve.clone()).collect();
    let taps = outputs.into_iter().map(|output| {
        let sum = Sum::new(&output.policy);
        Outlet::open_binary(output, (format, None), sum).map(Tap::new)
    });
    let taps = taps.collect::<Result<Vec<_>, _>>()?;
    let converts = taps.iter().any(|tap| tap.outlet.conversion(format).is_some());
    let opened = Opened { file: Arc::new(file), format, len, reading, policies, sieves, keys, threads, progress };
    // The libraries are not made for hostile files everywhere; a panic's payload is dropped, it may hold a value.
    let ran = catch_unwind(AssertUnwindSafe(|| match format {
        Format::Parquet if !converts => parquet::run(&opened, taps),
        _ => arrow::run(&opened, taps),
    }));
    let ran = ran.unwrap_or_else(|_| Err(Failure::Reject(panicked(format))))?;
    let digest = digest_of(&opened.file, len, digest_kind, keys, progress)?;
    let rows = sieve::finish_all(&opened.sieves, ran.rows)?;
    let mut made = ran.outputs;
    let verified = Outlet::verify_all(made.iter_mut().map(|(tap, _)| &mut tap.outlet))?;
    let finish = |(((tap, columns), verify), rows): (((Tap, Vec<ColumnReport>), Verified), Rows)| {
        tap.outlet.finish(format, rows, columns, verify)
    };
    let outputs = made.into_iter().zip(verified).zip(rows).map(finish).collect::<Result<Vec<_>, _>>()?;
    let format = format.name().to_owned();
    Ok(Report { input: InputReport { digest, digest_kind, bytes: len, format }, rows_in: ran.rows, outputs })
}

/// A look at a whole file.
pub(super) fn survey(file: File, format: Format, reading: &Reading, sample: Sample) -> Result<Surveyed, Failure> {
    let len = file.metadata().map_err(|error| retry("look at the input", &error))?.len();
    // Nothing is masked.
    let keys = MaskingKeys::parse(&MaskingKeys::generate(Timestamp::UNIX_EPOCH)).expect("a new key can be read");
    let (file, policies, sieves) = (Arc::new(file), Vec::new(), Vec::new());
    let opened = Opened { file, format, len, reading, policies, sieves, keys: &keys, threads: 1, progress: &|_| {} };
    let surveyed = catch_unwind(AssertUnwindSafe(|| match format {
        Format::Arrow => arrow::survey(&opened, sample),
        _ => parquet::survey(&opened, sample),
    }));
    surveyed.unwrap_or_else(|_| Err(Failure::Reject(panicked(format))))
}

fn panicked(format: Format) -> super::Fault {
    let sentence = format!("the file is not {} that can be read: its reader gave up", format.title());
    of_file("malformed_file", &sentence, "Have the file sent again, whole, or written by another program.")
}
