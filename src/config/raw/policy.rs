//! Policies as they are spelled.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use toml::Value;

use crate::config::spanned::Spanned;
use crate::mask::{MaskParams, OnMistyped};
use crate::pipeline::LeakClass;
use crate::policy::{OnMissing, OnUnlisted, Verify};

fn number_or_text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["number", "string"]})
}

fn numbers_or_texts(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": number_or_text(generator)})
}

fn words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": ["string", "integer", "boolean"]}, "minItems": 1})
}

fn leak_classes(_: &mut SchemaGenerator) -> Schema {
    classes_and(&[crate::detect::NATIONAL_ID, LeakClass::REPEATED, LeakClass::UNCHANGED])
}

fn classes(_: &mut SchemaGenerator) -> Schema {
    classes_and(&[crate::detect::NATIONAL_ID])
}

fn classes_and(others: &[&str]) -> Schema {
    let names: Vec<&str> = crate::detect::Class::ALL.iter().map(|class| class.name()).collect();
    let names = [&names, others].concat();
    json_schema!({"anyOf": [{"enum": names}, {"type": "array", "items": {"enum": names}, "minItems": 1}]})
}

fn presets(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"enum": crate::config::PRESETS.map(|(name, _)| name)})
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
    /// A leak in the finished output.
    #[serde(default)]
    pub verify: Verify,
    /// False alarms of the leak scan.
    #[serde(default)]
    pub accept: Vec<Accept>,
    /// Rows that are left out, within limits.
    #[serde(default)]
    pub suppress_rows: Vec<Spanned<SuppressRows>>,
    /// What must hold of the rows of a file together.
    pub anonymity: Option<super::Anonymity>,
    /// Rules; a literal name goes before patterns.
    #[serde(default)]
    pub column: Vec<Spanned<Column>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// Name or path of the column; `*` for the names of a table's columns, `path.*` for the keys of an object.
    pub column: Spanned<String>,
    /// A class of personal data, `national_id`, `repeated_value` or `unchanged_value`; or a list.
    #[schemars(schema_with = "leak_classes")]
    pub class: Spanned<Value>,
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

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuppressRows {
    /// The rows.
    pub when: Spanned<When>,
    /// So many of a file at most; a file with more is quarantined.
    pub max_rows: Option<u64>,
    /// This share of a file's rows at most, 0 to 1; a file with more is quarantined.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_share: Option<f64>,
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
