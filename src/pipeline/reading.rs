//! How an input is to be read and what it may cost: what the landing says, as it travels to the worker.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::charset::{Charset, Script};
use super::dialect::Dialect;
use crate::policy::Policy;

/// Extensions of spreadsheets; what bears one comes out as delimited text.
pub(super) const SPREADSHEETS: [&str; 3] = ["xlsx", "xlsm", "ods"];

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
    /// What becomes of the members of archives; without rules archives are not read.
    pub members: Vec<MemberRule>,
}

/// What becomes of an archive's members that a pattern matches; the first rule that does goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberRule {
    /// A shell pattern of the whole name; `*` matches `/` too.
    pub pattern: String,
    /// Instead of the first output's own.
    pub policy: Option<Policy>,
    /// Left out.
    pub drops: bool,
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

impl Compress {
    /// The output's name for an input's: a compression that is chosen shows in the suffix, and a spreadsheet becomes
    /// delimited text.
    pub fn name_of_output(self, name: &OsStr) -> Cow<'_, OsStr> {
        let bytes = name.as_bytes();
        if let Some(stem) = stem_of_spreadsheet(name) {
            let csv = [stem, OsStr::new(".csv")].into_iter().collect::<OsString>();
            return Cow::Owned(self.name_of_output(&csv).into_owned());
        }
        if self == Compress::Same {
            return Cow::Borrowed(name);
        }
        let suffix = self.of(None).map_or("", Compression::suffix);
        let ends = |suffix: &str| bytes.len() > suffix.len() && bytes.to_ascii_lowercase().ends_with(suffix.as_bytes());
        let old = [".gz", ".zst"].into_iter().find(|suffix| ends(suffix)).unwrap_or("");
        let stem = OsStr::from_bytes(&bytes[..bytes.len() - old.len()]);
        Cow::Owned([stem, OsStr::new(suffix)].into_iter().collect::<OsString>())
    }
}

/// The name of a spreadsheet without its extension.
fn stem_of_spreadsheet(name: &OsStr) -> Option<&OsStr> {
    let bytes = name.as_bytes();
    let dot = bytes.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0)?;
    let extension = bytes[dot + 1..].to_ascii_lowercase();
    let is_one = SPREADSHEETS.iter().any(|known| known.as_bytes() == extension);
    is_one.then(|| OsStr::from_bytes(&bytes[..dot]))
}

/// Bounds on what a hostile or broken input may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest record in bytes, its line ending included.
    pub max_record_bytes: u64,
    /// Most bytes that come out of a compressed input.
    pub max_expanded_bytes: u64,
    /// Most bytes that come out of a compressed input for each byte of it, once [`Limits::FREE_BYTES`] came out.
    pub max_expansion: u64,
    /// Deepest nesting of objects and arrays.
    pub max_depth: usize,
    /// Most different paths of nested values in one file.
    pub max_paths: usize,
    /// Most members of an archive.
    pub max_members: usize,
    /// Most bytes that are held in memory of what cannot be streamed.
    pub max_buffered_bytes: u64,
}

impl Limits {
    /// What any compressed input may hold, however small it is.
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
mod tests {
    use super::*;

    #[test]
    fn extensions_are_those_of_the_format() {
        for (name, expected) in [
            ("people.CSV", Some("csv")),
            ("people.csv.gz", Some("csv")),
            ("a.b.json.zst", Some("json")),
            ("people.gz", None),
            (".csv", None),
            ("people", None),
        ] {
            assert_eq!(extension(OsStr::new(name)).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_chosen_compression_shows_in_the_name() {
        for (compress, name, expected) in [
            (Compress::Same, "a.csv.gz", "a.csv.gz"),
            (Compress::None, "a.csv.GZ", "a.csv"),
            (Compress::Zstd, "a.csv.gz", "a.csv.zst"),
            (Compress::Gzip, "a.csv", "a.csv.gz"),
            (Compress::None, ".gz", ".gz"),
            (Compress::Same, "a.b.XLSX", "a.b.csv"),
            (Compress::Gzip, "a.ods", "a.csv.gz"),
        ] {
            assert_eq!(&*compress.name_of_output(OsStr::new(name)), OsStr::new(expected), "{name}");
        }
    }
}
