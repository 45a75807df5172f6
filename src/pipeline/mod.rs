//! The work on one file: open descriptors in, sealed output and a report out.
//!
//! Owns the order decode → rows → plan → mask → splice → verify → seal. It must never open a path, and no cell value may leave
//! it except into the sinks. Nothing survives a crash here: whoever called starts the attempt over.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::anonymity::AnonymityReport;
use crate::keys::MaskingKeys;
use crate::policy::Policy;
use crate::seal::Sealing;
use expansion::Expansion;
use sieve::Sieve;
use source::{Digester, Source};

mod anonymise;
mod archive;
mod charset;
mod columnar;
mod convert;
pub mod delimited;
mod dialect;
mod drain;
mod expansion;
mod fault;
mod json;
mod kind;
pub mod original;
mod piece;
mod reading;
mod relay;
mod sieve;
mod source;
mod spreadsheet;
mod survey;
mod tap;
#[cfg(test)]
pub(crate) mod tests;
mod verify;
mod window;

pub use anonymise::{choose, count};
pub use charset::Charset;
pub use dialect::Dialect;
pub use reading::{Compress, Compression, EACH, Format, Limits, MemberRule, OutputFormat, Reading, Writing, extension};
pub use survey::{Part, Surveyed, SurveyedColumn, Table, Tables, survey, survey_all};
pub use verify::{Accepted, Leak, LeakClass, Verified};

/// Code of the fault of a file that is of no format that is read, and what receipts say of its format where it was sealed
/// all the same.
pub const UNRECOGNISED: (&str, &str) = ("unrecognised_format", "unrecognised");

/// How the input's digest is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DigestKind {
    /// Keyed BLAKE3 under a key derived from the masking key: a stranger cannot confirm a guess.
    Keyed,
    /// Plain SHA-256.
    Sha256,
    /// No digest.
    None,
}

/// One input file.
pub struct Input {
    pub file: File,
    pub reading: Reading,
    pub digest: DigestKind,
}

/// One output of the reading.
pub struct Output {
    pub policy: Policy,
    pub writing: Writing,
    pub sink: Sink,
}

/// An output, and the rows that it leaves out.
struct Outgoing {
    policy: Policy,
    writing: Writing,
    sink: Sink,
    /// Counts what a conversion makes.
    expansion: Arc<Expansion>,
    sieve: Option<Arc<Sieve>>,
}

/// Where an output goes.
pub enum Sink {
    /// Sealed to the recipients.
    Sealed { file: File, sealing: Sealing },
    /// Masked plaintext, only ever on a person's explicit wish.
    Plain(Box<dyn Write + Send>),
    /// A dry run.
    Discard,
}

/// What was done, without any cell value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub input: InputReport,
    /// Data rows, the header not counted.
    pub rows_in: u64,
    /// One for each output, in their order.
    pub outputs: Vec<OutputReport>,
}

/// The `input` object of a receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputReport {
    /// Lower-case hexadecimal; null for the kind `none`.
    pub digest: Option<String>,
    /// How the digest was made.
    pub digest_kind: DigestKind,
    /// Size as it came.
    pub bytes: u64,
    /// Format and compression: `csv`, `csv.gz` …
    pub format: String,
}

/// What one output holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputReport {
    /// SHA-256 of the bytes written to the sink (the sealed bytes), lower-case hexadecimal.
    pub sha256: String,
    /// Number of bytes written to the sink.
    pub bytes: u64,
    pub format: String,
    pub rows_out: u64,
    /// Rows that the policy has left out.
    pub rows_suppressed: u64,
    /// Where the policy asks for anonymity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymity: Option<AnonymityReport>,
    pub columns: Vec<ColumnReport>,
    #[serde(default)]
    pub verify: Verified,
}

/// What was done to one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ColumnReport {
    /// The header's name where it may be given out, else `column N`.
    pub name: String,
    /// Name of the mask.
    pub mask: String,
    /// Version of the masking key, where the mask is keyed.
    pub key_version: Option<u32>,
    /// What the mask makes of the type, in typed formats: `integer to text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_change: Option<String>,
}

/// Why a file was not processed, answering one question: what shall the caller do now?
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The file is at fault: quarantine it.
    #[error("{0}")]
    Reject(Fault),
    /// The surroundings are at fault (disk full, I/O error): try again later.
    #[error("{doing}: {error}")]
    Retry {
        doing: String,
        error: String,
        /// The operating system's error number, where there is one.
        errno: Option<i32>,
    },
    /// veild itself is at fault, perhaps because of what is in this file: count the attempt against it.
    #[error("a defect in veild: {what}")]
    Defect { what: String },
}

/// What is wrong with a file, where, and what to do; never a cell value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{sentence}")]
pub struct Fault {
    /// Stable, for machines: `ragged_row`, `unlisted_column` …
    pub code: String,
    /// One plain sentence with all positions in it.
    pub sentence: String,
    /// Data row, from 1; the header record is row 0.
    pub row: Option<u64>,
    /// The column as it may be given out: a name, or `column N` (from 1).
    pub column: Option<String>,
    /// Offset of the fault in the input, from 0.
    pub byte_offset: Option<u64>,
    /// What the operator can do next.
    pub advice: String,
}

/// Keeps freed memory for the next block instead of giving it back to the system and faulting it in again: a fifth of
/// the system time of a large file. To be called once, by processes that do little else than [`process`].
pub fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (option, bytes) in [(libc::M_MMAP_THRESHOLD, 32 << 20), (libc::M_TRIM_THRESHOLD, 64 << 20)] {
        // SAFETY: mallopt changes the allocator's own settings and touches nothing else of ours.
        unsafe { libc::mallopt(option, bytes) };
    }
}

/// Processes one input into all outputs, reading it once.
///
/// `threads` bounds the masking threads; scanning and sealing have one of their own. `progress` is called now and then
/// with the number of input bytes done.
///
/// # Errors
///
/// [`Failure::Reject`] when the file must go to quarantine; the sinks then hold a stream that does not decrypt.
pub fn process(
    input: Input,
    outputs: Vec<Output>,
    keys: &MaskingKeys,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Failure> {
    let metadata = input.file.metadata().map_err(|error| source::retry("look at the input", &error))?;
    // Of a pipe nobody knows the size.
    let size = if metadata.is_file() { metadata.len() } else { u64::MAX };
    let converted = outputs.iter().map(|_| Arc::new(Expansion::of(size, input.reading.limits))).collect();
    process_counted(input, (outputs, converted), keys, threads, progress)
}

/// The same, where what conversions make of each output is counted with what they make of others.
fn process_counted(
    input: Input,
    (outputs, converted): (Vec<Output>, Vec<Arc<Expansion>>),
    keys: &MaskingKeys,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Failure> {
    let reads_twice = outputs.iter().any(|output| anonymise::is_enforced(&output.policy));
    let metadata = input.file.metadata().map_err(|error| source::retry("look at the input", &error))?;
    let again = input.file.try_clone().map_err(|error| source::retry("look at the input", &error))?;
    let means = anonymise::Means { keys, threads, progress };
    let outgoing = anonymise::outgoing(&input, (outputs, converted), means)?;
    let report = process_as_found(input, outgoing, keys, threads, progress)?;
    if report.outputs.iter().any(|output| output.rows_out + output.rows_suppressed != report.rows_in) {
        return Err(fault::internal("rows were lost or came twice"));
    }
    // Whoever commits the outputs removes the input: nothing of it may have been left unread. Of a pipe nobody knows.
    if reads_twice && !source::is_unchanged(&again, &metadata)? {
        return Err(source::retry("read the input", &std::io::Error::other("it changed meanwhile")));
    }
    if metadata.is_file() && report.input.bytes < metadata.len() {
        let what = format!("{} of its {} bytes were read", report.input.bytes, metadata.len());
        return Err(source::retry("read the input", &std::io::Error::other(what)));
    }
    Ok(report)
}

/// As the file's content tells.
fn process_as_found(
    input: Input,
    outputs: Vec<Outgoing>,
    keys: &MaskingKeys,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, Failure> {
    let Input { file, reading, digest } = input;
    if let Some(format) = spreadsheet::recognise(&file)?.filter(|format| kind::is_accepted(*format, &reading)) {
        if !reading.sheets.is_empty() {
            let kind = archive::Kind { format, compression: None };
            return archive::process(file, kind, &reading, digest, outputs, keys, threads, progress);
        }
        return spreadsheet::process(file, format, &reading, digest, outputs, keys, threads, progress);
    }
    spreadsheet::refuse_misnamed(&file, &reading)?;
    if !reading.members.is_empty() {
        let archive = archive::recognise(&file)?;
        if let Some(kind) = archive.filter(|kind| kind::is_accepted(kind.format, &reading)) {
            return archive::process(file, kind, &reading, digest, outputs, keys, threads, progress);
        }
    }
    let columnar = columnar::recognise(&file)?;
    if let Some(format) = columnar.filter(|format| kind::is_accepted(*format, &reading)) {
        return columnar::process(file, format, &reading, digest, outputs, keys, threads, progress);
    }
    let source = Source::open(file, Digester::new(digest, keys), reading.limits, progress)?;
    recognised(source, &reading, |source, format| match format {
        Format::Json | Format::Ndjson => json::process(source, &reading, digest, outputs, keys, threads),
        Format::Csv => delimited::process(source, &reading, digest, outputs, keys, threads),
        _ => Err(Failure::Reject(kind::not_of(format))),
    })
}

/// Reads an input in the format and the encoding that it is found to have.
fn recognised<'a, T>(
    mut source: Source<'a>,
    reading: &Reading,
    read: impl FnOnce(Source<'a>, Format) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let head = source.head().0;
    if let (Some(format), true) = (columnar::format_of(head), source.compression().is_some()) {
        return Err(Failure::Reject(kind::compressed_columnar(format)));
    }
    if source.compression().is_some() && source::compression(head).is_some() {
        return Err(Failure::Reject(kind::compressed_twice()));
    }
    kind::refuse_foreign(head, reading).map_err(Failure::Reject)?;
    let script = reading.script(source.head().0);
    source.read_as(script.clone());
    let format = kind::recognise(source.head().0, reading).map_err(Failure::Reject)?;
    read(source, format).map_err(|failure| match failure {
        Failure::Reject(fault) if !script.is_plain() => Failure::Reject(script.name_in(fault)),
        failure => failure,
    })
}

/// A pipe's reading and its writing end.
fn pipe() -> Result<(File, File), Failure> {
    let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (read, write) = pipe.map_err(|errno| source::retry("make a pipe", &errno.into()))?;
    Ok((read.into(), write.into()))
}
