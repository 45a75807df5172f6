//! How a landing's files are read, and its outputs written.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use crate::config::spanned::Spanned;
use crate::config::units::ByteSize;
use crate::pipeline::{Compress, Format, OutputFormat};

pub fn formats(_: &mut SchemaGenerator) -> Schema {
    let names = Format::ALL.map(Format::name);
    json_schema!({"anyOf": [{"enum": names}, {"type": "array", "items": {"enum": names}, "minItems": 1}]})
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// What the masked data is converted to; a spreadsheet is delimited text then.
    pub format: Option<Spanned<OutputFormat>>,
    /// Compression of the output; Parquet, Arrow and zip stay compressed within as they came, and what is converted to
    /// Parquet gets it in its columns.
    #[serde(default)]
    pub compress: Compress,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Longest record.
    pub max_record: Option<ByteSize>,
    /// Most that may come out of a compressed file.
    pub max_expanded: Option<ByteSize>,
    /// Most bytes out of each byte of a compressed file, above 16 MiB.
    pub max_expansion: Option<u64>,
    /// Deepest nesting of JSON, Parquet and Arrow.
    pub max_depth: Option<usize>,
    /// Most different paths in a file of JSON, Parquet or Arrow, and columns of what is converted to Parquet.
    pub max_paths: Option<usize>,
    /// Most members of an archive.
    pub max_members: Option<usize>,
    /// Most that is held in memory of what cannot be streamed: members of archives that are Parquet, Arrow or
    /// spreadsheets, and the texts of a spreadsheet.
    pub max_buffered: Option<ByteSize>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Shell pattern of a member's whole name; `*` matches `/` too, and case does not matter.
    pub member: Spanned<String>,
    /// Name of the policy of the landing's own output; the landing's when absent.
    pub policy: Option<Spanned<String>>,
    /// Leaves the member out.
    #[serde(default)]
    pub drop: bool,
}

/// One sheet, "each", or rules for each.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Sheets {
    One(String),
    Rules(Vec<SheetRule>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SheetRule {
    /// Shell pattern of a sheet's name; case does not matter.
    pub sheet: String,
    /// Name of the policy of the landing's own output; the landing's when absent.
    pub policy: Option<String>,
    /// Leaves the sheet out.
    #[serde(default)]
    pub drop: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delimited {
    /// One character; sniffed from the header when absent.
    pub delimiter: Option<String>,
    /// One character, or "" for none.
    pub quote: Option<String>,
    /// ASCII character that takes the meaning from the one behind it: "\\".
    pub escape: Option<String>,
    /// Names of the columns of files without a header record.
    pub columns: Option<Vec<String>>,
    /// Number of lines before the first record; dropped.
    pub preamble: Option<u32>,
    /// First ASCII character of lines that are no records; dropped.
    pub comment: Option<String>,
    /// Passes preamble and comments on, though no rule and no leak scan looks at them.
    #[serde(default)]
    pub keep_comments: bool,
    /// Widths of the columns in characters: the text is not delimited.
    pub widths: Option<Vec<u32>>,
}
