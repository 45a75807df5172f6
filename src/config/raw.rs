//! The configuration as it is spelled; every key that exists, and none that does not.
//!
//! The first line above a key is what `veild schema` says about it; keys of parts that are not built yet are skipped
//! there.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use toml::Value;

use super::spanned::Spanned;
use super::units::{ByteSize, Span};
use crate::mask::{MaskParams, OnMistyped};
use crate::policy::{OnMissing, OnUnlisted};

fn number_or_text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["number", "string"]})
}

fn numbers_or_texts(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": number_or_text(generator)})
}

fn words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": ["string", "integer", "boolean"]}, "minItems": 1})
}

fn classes(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<&str> = crate::detect::Class::ALL.iter().map(|class| class.name()).collect();
    let names = [names, vec![crate::detect::NATIONAL_ID]].concat();
    json_schema!({"anyOf": [{"enum": names}, {"type": "array", "items": {"enum": names}, "minItems": 1}]})
}

fn presets(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": super::PRESETS.map(|(name, _)| name)})
}

fn formats(_: &mut SchemaGenerator) -> Schema {
    let names = crate::pipeline::Format::ALL.map(crate::pipeline::Format::name);
    json_schema!({"anyOf": [{"enum": names}, {"type": "array", "items": {"enum": names}, "minItems": 1}]})
}

/// veild's configuration, config.toml.
#[derive(Deserialize, JsonSchema)]
#[schemars(title = "veild configuration")]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Version of this format.
    #[schemars(extend("const" = 1))]
    pub config_version: Option<Spanned<u32>>,
    /// The daemon's own settings.
    #[serde(default)]
    pub daemon: Daemon,
    /// The operational log.
    #[serde(default)]
    pub log: Log,
    /// The tamper-evident trail.
    #[serde(default)]
    pub audit: Audit,
    /// Sealed objects and their receipts.
    #[serde(default)]
    pub vault: Vault,
    /// Key files, by path or as `credential:NAME` for systemd's LoadCredential=.
    #[serde(default)]
    pub keys: Keys,
    /// Rejected files.
    #[serde(default)]
    pub quarantine: Quarantine,
    /// Directories in which files arrive; at least one.
    #[serde(default)]
    pub landing: Vec<Spanned<Landing>>,
    /// What is done to the columns, by name of the policy.
    #[serde(default)]
    pub policy: BTreeMap<String, Policy>,
    #[schemars(skip)]
    pub api: Option<Spanned<Value>>,
    #[schemars(skip)]
    pub monitor: Option<Spanned<Value>>,
    #[schemars(skip)]
    pub recipients: Option<Spanned<Value>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Daemon {
    /// Ledger, quarantine and control socket.
    pub state_dir: Option<Spanned<String>>,
    /// Worker processes; as many as CPUs, at most 4, when absent.
    pub workers: Option<Spanned<usize>>,
    /// Hard limit for each worker process.
    pub worker_memory: Option<Spanned<ByteSize>>,
    /// Worker deaths or hangs on one file before it is quarantined.
    pub max_attempts: Option<Spanned<u32>>,
    /// Time to drain after SIGTERM.
    pub shutdown_grace: Option<Span>,
    /// A landing's intake pauses when its file system has less.
    pub min_free: Option<ByteSize>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Folder of the log files; standard error (journald) when absent.
    pub dir: Option<Spanned<String>>,
    /// Spelling of a line.
    pub format: Option<Format>,
    /// Least level that is written.
    pub level: Option<Level>,
    /// When a new file begins; for `dir`.
    pub rotate: Option<Rotate>,
    /// Number of files that are kept; for `dir`.
    pub keep: Option<usize>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    Text,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rotate {
    Daily,
    Hourly,
    Never,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Folder of the trail.
    pub dir: Option<Spanned<String>>,
    /// Size at which a new segment begins.
    pub rotate_size: Option<Spanned<ByteSize>>,
    /// `daily` or `never`, beside `rotate_size`.
    pub rotate: Option<Spanned<Rotate>>,
    /// Closed segments that are older are pruned; a signed stub stays.
    pub keep: Option<Spanned<Span>>,
    /// Above this size of the whole trail the oldest closed segments are pruned, whatever `keep` says.
    pub total_size: Option<Spanned<ByteSize>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// Folder of the vault.
    pub dir: Option<Spanned<String>>,
    /// `opaque`: file names nowhere outside the landing.
    pub names: Option<Names>,
    /// Digest of the input in the receipt; `sha256` lets a stranger confirm a guess.
    pub input_digest: Option<crate::pipeline::DigestKind>,
}

#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    Original,
    Opaque,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The masking key, the same on every host whose files shall join.
    pub masking: Option<Spanned<String>>,
    /// The signing key, one per host.
    pub signing: Option<Spanned<String>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// age recipients to whom originals are sealed; kept as they came when absent.
    pub recipients: Option<Spanned<Vec<String>>>,
    #[schemars(skip)]
    pub keep: Option<Spanned<Value>>,
    #[schemars(skip)]
    pub max_size: Option<Spanned<Value>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Landing {
    /// 1 to 63 of a-z, 0-9, `-` and `_`.
    pub name: Spanned<String>,
    /// The directory, owned by root or veild.
    pub dir: Spanned<String>,
    /// Files in sub-directories too; their path is kept in the vault.
    #[serde(default)]
    pub recursive: bool,
    /// Shell patterns of the names that are taken.
    pub include: Option<Spanned<Vec<String>>>,
    /// Shell patterns of the names that are left alone.
    pub exclude: Option<Spanned<Vec<String>>>,
    /// When a file is finished.
    pub complete: Option<Complete>,
    /// Time without a change before a file is taken.
    pub quiet: Option<Span>,
    /// Name of the file that says that another is finished; for `complete = "marker"`.
    pub marker: Option<Spanned<String>>,
    /// Time between two looks at everything.
    pub sweep: Option<Span>,
    /// Larger files are quarantined.
    pub max_size: Option<ByteSize>,
    /// What is done with content seen before.
    pub duplicates: Option<Duplicates>,
    /// For how long a sealed content counts as seen.
    pub dedup_window: Option<Spanned<Span>>,
    /// Name of the policy.
    pub policy: Spanned<String>,
    /// age recipients of the output: `age1…`, `ssh-ed25519 …`, `ssh-rsa …`.
    pub recipients: Option<Spanned<Vec<String>>>,
    /// A file with further recipients, one a line.
    pub recipients_file: Option<Spanned<String>>,
    /// What is done with the original.
    pub after: Option<Spanned<After>>,
    /// age recipients of the unmasked original; for `after = "archive"`.
    pub archive_recipients: Option<Spanned<Vec<String>>>,
    /// Further outputs of the same reading, for other readers.
    #[serde(default)]
    pub view: Vec<Spanned<View>>,
    /// Format that is accepted, or a list of them; every format that is read when absent.
    #[serde(default)]
    #[schemars(schema_with = "formats")]
    pub format: Option<Spanned<Value>>,
    /// How delimited text is read.
    pub delimited: Option<Spanned<Delimited>>,
    /// Encoding of text, by its WHATWG label; when absent what a byte-order mark says, else UTF-8.
    pub encoding: Option<Spanned<String>>,
    /// How the output is written.
    #[serde(default)]
    pub output: Output,
    /// The sheet of spreadsheets that is read; the only one that can be seen when absent.
    pub sheet: Option<String>,
    /// What becomes of the members of archives; archives are refused when absent.
    #[serde(default)]
    pub member: Vec<Spanned<Member>>,
    /// Bounds on one file.
    pub limits: Option<Spanned<Limits>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    #[schemars(skip)]
    pub format: Option<Spanned<Value>>,
    /// Compression of the output.
    #[serde(default)]
    pub compress: crate::pipeline::Compress,
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
    /// Most different paths in a file of JSON, Parquet or Arrow.
    pub max_paths: Option<usize>,
    /// Most members of an archive.
    pub max_members: Option<usize>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    Process,
    /// Removed, and recorded.
    Skip,
    Quarantine,
}

#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum After {
    Delete,
    /// Sealed to `archive_recipients`, below the vault's `.archive`.
    Archive,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// As a landing's name; it stands before the extension of the object.
    pub name: Spanned<String>,
    /// Name of the policy.
    pub policy: Spanned<String>,
    /// age recipients of this output.
    pub recipients: Option<Spanned<Vec<String>>>,
    /// A file with further recipients, one a line.
    pub recipients_file: Option<Spanned<String>>,
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

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Complete {
    Close,
    Rename,
    Marker,
    Stable,
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
    /// Passes preamble and comments on, though no rule looks at them.
    #[serde(default)]
    pub keep_comments: bool,
    /// Widths of the columns in characters: the text is not delimited.
    pub widths: Option<Vec<u32>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Ready rules to which those of the policy are added; these go before.
    #[serde(default)]
    #[schemars(schema_with = "presets")]
    pub extends: Option<Spanned<String>>,
    /// A column that no rule names.
    #[serde(default)]
    pub unlisted: OnUnlisted,
    /// A rule that matches no column.
    #[serde(default)]
    pub missing: OnMissing,
    /// A cell that the mask cannot read.
    #[serde(default)]
    pub mistyped: OnMistyped,
    /// Leak scan of the output.
    pub verify: Option<Spanned<String>>,
    #[schemars(skip)]
    pub suppress_rows: Option<Spanned<Value>>,
    /// Rules; a literal name goes before patterns.
    #[serde(default)]
    pub column: Vec<Spanned<Column>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// One column's name; case and spaces do not matter.
    pub name: Option<String>,
    /// Several columns' names.
    pub names: Option<Vec<String>>,
    /// A shell pattern over column names.
    pub glob: Option<String>,
    /// A regular expression over whole column names.
    pub regex: Option<String>,
    /// One class of personal data or several, told by the columns' names; `national_id` for all national identifiers.
    #[serde(default)]
    #[schemars(schema_with = "classes")]
    pub class: Option<Spanned<Value>>,
    /// What is done to the cells.
    #[schemars(extend("enum" = crate::mask::MASKS))]
    pub mask: Spanned<String>,
    /// Rows for which the rule counts; several rules of one column may have one each, and the last none.
    pub when: Option<Spanned<When>>,
    /// With `when`: what becomes of the cells of other rows.
    #[schemars(extend("enum" = ["redact", "null", "keep"]))]
    pub otherwise: Option<Spanned<String>>,
    /// A cell that the mask cannot read; the policy's `mistyped` when absent.
    pub mistyped: Option<OnMistyped>,
    /// `redact`: the text in place of every value.
    pub text: Option<String>,
    /// `partial`, `fpe`: letters and digits that stay at the beginning.
    pub keep_first: Option<u32>,
    /// `partial`, `fpe`: letters and digits that stay at the end.
    pub keep_last: Option<u32>,
    /// `partial`: letters and digits hidden at the beginning.
    pub mask_first: Option<u32>,
    /// `partial`: letters and digits hidden at the end.
    pub mask_last: Option<u32>,
    /// `partial`: what stands for a hidden character.
    pub char: Option<String>,
    /// `hash`: `hmac-sha256` or `blake3`.
    pub algorithm: Option<String>,
    /// `hash`: characters of the pseudonym, 64 to 256 bits; `fpe`: characters that every value has.
    pub length: Option<u32>,
    /// `hash`: `hex`, `base32` or `base64url`.
    pub encoding: Option<String>,
    /// `hash`, `token`, `fpe`, `fake`, `date_shift` (of the subject): columns of one namespace join; the column's name when absent.
    pub namespace: Option<String>,
    /// `hash`, `token`, `fpe`, `fake`, `date_shift` (of the subject): spellings that count as one value: a list of `nfc`, `trim`, `lowercase` and `digits`.
    pub normalize: Option<Vec<String>>,
    /// `fpe`: `digits`, `hex`, `lowercase`, `uppercase`, `alphanumeric`, or the characters themselves.
    pub alphabet: Option<String>,
    /// `fpe`: a value outside the alphabet, or too short: `reject` (it is mistyped), `redact` or `hash`.
    pub short: Option<String>,
    /// `fake`: `en`, `de`, `fr`, `it`, `nl`, `pt-PT`, `pt-BR`, `cy`, `ja`, `zh-CN`, `zh-TW`, `ar` or `fa`.
    pub locale: Option<String>,
    /// `truncate`: characters, or bits of an IPv4 address, that stay.
    pub keep: Option<u32>,
    /// `truncate`: `prefix`, `zip3`, `ip` or `geohash`; `fpe`: `text`, `card` or `iban`; `fake`: `name`, `first_name`, `last_name`, `email`, `username`, `phone`, `street`, `city`, `address` or `company`; `noise`: `laplace` or `gaussian`.
    pub kind: Option<String>,
    /// `round`: multiples of this; `date`: `year`, `quarter`, `month`, `week`, `decade` or `age_band`.
    #[serde(default)]
    #[schemars(schema_with = "number_or_text")]
    pub to: Option<Value>,
    /// `date`, `date_shift`: strftime-like format; YYYY-MM-DD when absent.
    pub format: Option<String>,
    /// `date`: the day, YYYY-MM-DD, on which an age band counts.
    pub as_of: Option<String>,
    /// `date_shift`: the column or path that says whose date it is.
    pub subject: Option<String>,
    /// `date_shift`: most days of a shift, back and forth.
    pub max_days: Option<u32>,
    /// `generalize`: width of the intervals; `date`: years of an age band.
    #[serde(default)]
    #[schemars(schema_with = "number_or_text")]
    pub width: Option<Value>,
    /// `generalize`: ascending edges of the intervals.
    #[serde(default)]
    #[schemars(schema_with = "numbers_or_texts")]
    pub edges: Option<Vec<Value>>,
    /// `generalize`: a hierarchy file as ARX has them, with semicolons between value and levels.
    pub hierarchy: Option<Spanned<String>>,
    /// `generalize`: level of the hierarchy, from 1.
    pub level: Option<u32>,
    /// `pattern`: a regular expression; one anchored by `^` and `$` must match the whole cell.
    pub pattern: Option<String>,
    /// `pattern`: the text in place of each match, with `$1` or `${name}` for groups.
    pub replace: Option<String>,
    /// `scrub`: classes of personal data that are looked for; all that free text can show when absent.
    pub classes: Option<Vec<String>>,
    /// `scrub`: the text in place of what is found; `{class}` stands for its class.
    pub with: Option<String>,
    /// `noise`: Laplace's scale, or the standard deviation.
    #[serde(default)]
    #[schemars(schema_with = "number_or_text")]
    pub scale: Option<Value>,
    /// `noise`: privacy budget of each value, with `sensitivity`.
    #[serde(default)]
    #[schemars(schema_with = "number_or_text")]
    pub epsilon: Option<Value>,
    /// `noise`: by how much one person can change the value.
    #[serde(default)]
    #[schemars(schema_with = "number_or_text")]
    pub sensitivity: Option<Value>,
    /// `clamp`: lower bound.
    #[serde(default)]
    #[schemars(schema_with = "number_or_text")]
    pub min: Option<Value>,
    /// `clamp`: upper bound.
    #[serde(default)]
    #[schemars(schema_with = "number_or_text")]
    pub max: Option<Value>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The column or path that is looked at in the same row; it needs a rule of its own.
    pub column: String,
    /// Values of it, as they are spelled.
    #[serde(rename = "in", default)]
    #[schemars(schema_with = "words")]
    pub values: Option<Vec<Value>>,
    /// Values that it does not have.
    #[serde(rename = "not_in", default)]
    #[schemars(schema_with = "words")]
    pub other_values: Option<Vec<Value>>,
}

impl Column {
    /// The parameters for the mask, the hierarchy's file not yet read.
    pub fn params(&self) -> MaskParams {
        MaskParams {
            text: self.text.clone(),
            keep_first: self.keep_first,
            keep_last: self.keep_last,
            mask_first: self.mask_first,
            mask_last: self.mask_last,
            char: self.char.clone(),
            algorithm: self.algorithm.clone(),
            length: self.length,
            encoding: self.encoding.clone(),
            namespace: self.namespace.clone(),
            normalize: self.normalize.clone(),
            alphabet: self.alphabet.clone(),
            short: self.short.clone(),
            locale: self.locale.clone(),
            keep: self.keep,
            kind: self.kind.clone(),
            to: self.to.clone(),
            format: self.format.clone(),
            as_of: self.as_of.clone(),
            subject: self.subject.clone(),
            max_days: self.max_days,
            width: self.width.clone(),
            edges: self.edges.clone(),
            hierarchy: None,
            level: self.level,
            pattern: self.pattern.clone(),
            replace: self.replace.clone(),
            classes: self.classes.clone(),
            with: self.with.clone(),
            scale: self.scale.clone(),
            epsilon: self.epsilon.clone(),
            sensitivity: self.sensitivity.clone(),
            min: self.min.clone(),
            max: self.max.clone(),
        }
    }
}
