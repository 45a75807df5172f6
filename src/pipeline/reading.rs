//! How an input is to be read and what it may cost: what the landing says, as it travels to the worker.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::charset::{Charset, Script};
use super::dialect::Dialect;
use crate::policy::Policy;

/// Extensions of spreadsheets; what bears one comes out as delimited text.
pub(super) const SPREADSHEETS: [&str; 3] = ["xlsx", "xlsm", "ods"];
/// Extensions of delimited text.
pub(super) const DELIMITED: [&str; 6] = ["csv", "tsv", "psv", "tab", "txt", "dat"];
/// Extensions of other data; a conversion puts its own in their place.
const OTHER_DATA: [&str; 8] = ["json", "ndjson", "jsonl", "geojson", "parquet", "arrow", "arrows", "feather"];
const ARCHIVES: [&str; 4] = ["zip", "tar", "tgz", "tzst"];
/// Extensions of formats that compress within.
const COMPRESSED_WITHIN: [&str; 5] = ["parquet", "arrow", "arrows", "feather", "zip"];

/// What is known about an input before its first byte is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Formats that are accepted; empty: all. One alone is not guessed at.
    pub accept: Vec<Format>,
    /// Extension of the name, a hint where the content leaves a doubt; see [`extension`].
    pub extension: Option<String>,
    /// Encoding of text; absent: what a byte-order mark says, else UTF-8.
    pub charset: Option<Charset>,
    pub dialect: Dialect,
    pub limits: Limits,
    /// The sheet of a spreadsheet; absent: the only one that can be seen.
    pub sheet: Option<String>,
    /// Where each sheet that can be seen goes out, what becomes of it; without rules one sheet is read.
    pub sheets: Vec<MemberRule>,
    /// What becomes of the members of archives; without rules archives are not read.
    pub members: Vec<MemberRule>,
}

/// In the place of a sheet's name: all that can be seen, one by one.
pub const EACH: &str = "each";

/// What becomes of an archive's members, or a spreadsheet's sheets, that a pattern matches; the first rule that does goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberRule {
    /// A shell pattern of the whole name; `*` matches `/` too.
    pub pattern: String,
    /// Instead of the first output's own.
    pub policy: Option<Policy>,
    /// Left out.
    pub drops: bool,
}

impl MemberRule {
    /// Takes anything.
    pub fn any() -> MemberRule {
        MemberRule { pattern: "*".to_owned(), policy: None, drops: false }
    }
}

impl Reading {
    /// How the text is written that begins with these bytes.
    pub(super) fn script(&self, head: &[u8]) -> Script {
        let charset = self.charset.or_else(|| Charset::of_mark(head)).unwrap_or(Charset::Utf8);
        Script { charset, swaps: self.dialect.swaps.clone() }
    }
}

/// A format that is read, its compression aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Delimited text, whatever its delimiter.
    Csv,
    /// One array of objects, or one object.
    Json,
    /// One object a line.
    Ndjson,
    Parquet,
    /// Arrow IPC, as a file or a stream.
    Arrow,
    Xlsx,
    Ods,
    Zip,
    /// With or without compression around it.
    Tar,
}

impl Format {
    /// Every format, in the order in which messages list them.
    pub const ALL: [Format; 9] = [
        Format::Csv,
        Format::Json,
        Format::Ndjson,
        Format::Parquet,
        Format::Arrow,
        Format::Xlsx,
        Format::Ods,
        Format::Zip,
        Format::Tar,
    ];

    /// The name in configuration and receipts.
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Json => "json",
            Format::Ndjson => "ndjson",
            Format::Parquet => "parquet",
            Format::Arrow => "arrow",
            Format::Xlsx => "xlsx",
            Format::Ods => "ods",
            Format::Zip => "zip",
            Format::Tar => "tar",
        }
    }

    /// Whether it holds files of other formats.
    pub(super) fn is_archive(self) -> bool {
        matches!(self, Format::Zip | Format::Tar)
    }

    /// Whether it compresses what it holds, so that nothing is compressed around it; readers would not take it.
    fn compresses_within(self) -> bool {
        matches!(self, Format::Parquet | Format::Arrow | Format::Zip)
    }

    /// The name with a compression's suffix, as receipts give it: `csv.gz`.
    pub fn compressed(self, compression: Option<Compression>) -> String {
        format!("{}{}", self.name(), compression.map_or("", Compression::suffix))
    }

    /// The format as a person says it, with its article.
    pub fn title(self) -> &'static str {
        match self {
            Format::Csv => "delimited text",
            Format::Json | Format::Ndjson => "JSON",
            Format::Parquet => "a Parquet file",
            Format::Arrow => "an Arrow IPC file",
            Format::Xlsx | Format::Ods => "a spreadsheet",
            Format::Zip => "a zip archive",
            Format::Tar => "a tar archive",
        }
    }
}

/// A compression around a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// What stands behind a format's name for it.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }
}

/// How an output is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compress {
    /// As the input was.
    #[default]
    Same,
    None,
    Gzip,
    Zstd,
}

impl Compress {
    /// The output's compression for an input's.
    pub fn of(self, input: Option<Compression>) -> Option<Compression> {
        match self {
            Compress::Same => input,
            Compress::None => None,
            Compress::Gzip => Some(Compression::Gzip),
            Compress::Zstd => Some(Compression::Zstd),
        }
    }
}

/// What an output is converted to after masking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// As the input was; of spreadsheets delimited text.
    #[default]
    Same,
    Csv,
    Parquet,
    /// One JSON object a line.
    Ndjson,
}

impl OutputFormat {
    /// The output's format for an input's.
    pub(super) fn of(self, input: Format) -> Format {
        match self {
            OutputFormat::Same => input,
            OutputFormat::Csv => Format::Csv,
            OutputFormat::Parquet => Format::Parquet,
            OutputFormat::Ndjson => Format::Ndjson,
        }
    }

    /// Whether an input of that format must be converted.
    pub(super) fn converts(self, input: Format) -> bool {
        self.of(input) != input
    }

    /// The extension of outputs, and those of inputs that it leaves as they are.
    fn extensions(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            OutputFormat::Same => None,
            OutputFormat::Csv => Some((".csv", &DELIMITED)),
            OutputFormat::Parquet => Some((".parquet", &["parquet"])),
            OutputFormat::Ndjson => Some((".ndjson", &["ndjson", "jsonl"])),
        }
    }
}

/// How an output is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writing {
    pub format: OutputFormat,
    /// That of the whole, but for formats that compress within: what becomes Parquet gets it in its columns.
    pub compress: Compress,
    /// A spreadsheet becomes a zip archive of its sheets.
    pub each_sheet: bool,
}

impl From<Compress> for Writing {
    fn from(compress: Compress) -> Writing {
        Writing { compress, ..Writing::default() }
    }
}

impl Writing {
    /// The compression around what becomes of an input of that format.
    pub(super) fn compression(self, format: Format, input: Option<Compression>) -> Option<Compression> {
        if self.format.of(format).compresses_within() { None } else { self.compress.of(input) }
    }

    /// The output's name for an input's: what is chosen shows in the extension, a spreadsheet becomes delimited text, and
    /// an archive stays one.
    pub fn name_of_output(self, name: &OsStr) -> Cow<'_, OsStr> {
        let (stem, suffix) = split_at_suffix(name.as_bytes());
        let (base, extension) = split_at_extension(stem);
        let is = |known: &[&str]| known.iter().any(|known| known.as_bytes() == extension);
        let wanted = match self.format.extensions() {
            _ if is(&ARCHIVES) => None,
            _ if self.each_sheet && is(&SPREADSHEETS) => Some(".zip"),
            Some((_, stay)) if is(stay) => None,
            Some((wanted, _)) => Some(wanted),
            None => is(&SPREADSHEETS).then_some(".csv"),
        };
        let compresses_within = match wanted {
            Some(wanted) => COMPRESSED_WITHIN.contains(&&wanted[1..]),
            None => is(&COMPRESSED_WITHIN),
        };
        let suffix = match self.compress {
            _ if compresses_within => b"",
            Compress::Same => suffix,
            compress => compress.of(None).map_or("", Compression::suffix).as_bytes(),
        };
        let is_data = is(&DELIMITED) || is(&OTHER_DATA) || is(&SPREADSHEETS);
        let stem = if wanted.is_some() && is_data { base } else { stem };
        let made = [stem, wanted.unwrap_or("").as_bytes(), suffix].concat();
        if made == name.as_bytes() { Cow::Borrowed(name) } else { Cow::Owned(OsString::from_vec(made)) }
    }
}

/// A name and the suffix of a compression behind it.
fn split_at_suffix(name: &[u8]) -> (&[u8], &[u8]) {
    let suffixes = [".gz", ".zst"].into_iter();
    let mut places = suffixes.filter_map(|suffix| Some((name.len().checked_sub(suffix.len())?, suffix.as_bytes())));
    let found = places.find(|(at, suffix)| *at > 0 && name[*at..].eq_ignore_ascii_case(suffix));
    name.split_at(found.map_or(name.len(), |(at, _)| at))
}

/// A name without its extension, and that in lower case.
fn split_at_extension(name: &[u8]) -> (&[u8], Vec<u8>) {
    match name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0) {
        Some(dot) => (&name[..dot], name[dot + 1..].to_ascii_lowercase()),
        None => (name, Vec::new()),
    }
}

/// Bounds on what a hostile or broken input may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest record in bytes, its line ending included.
    pub max_record_bytes: u64,
    /// Most bytes that come out of a compressed or converted input.
    pub max_expanded_bytes: u64,
    /// Most bytes that come out of such an input for each byte of it, once [`Limits::FREE_BYTES`] came out.
    pub max_expansion: u64,
    /// Deepest nesting of objects and arrays.
    pub max_depth: usize,
    /// Most different paths of nested values in one file, and columns of what is converted to Parquet.
    pub max_paths: usize,
    /// Most members of an archive.
    pub max_members: usize,
    /// Most bytes that are held in memory of what cannot be streamed.
    pub max_buffered_bytes: u64,
}

impl Limits {
    /// What may come out of any input, however small it is.
    pub const FREE_BYTES: u64 = 16 << 20;
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_record_bytes: 16 << 20,
            max_expanded_bytes: 200 << 30,
            max_expansion: 500,
            max_depth: 64,
            max_paths: 4096,
            max_members: 10_000,
            max_buffered_bytes: 256 << 20,
        }
    }
}

/// The extension that tells a name's format, in lower case; a compression's suffix behind it is passed over.
pub fn extension(name: &OsStr) -> Option<String> {
    let name = name.to_str()?.to_ascii_lowercase();
    let name = [".gz", ".zst"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, extension)| extension.to_owned())
}

#[cfg(test)]
mod tests;
