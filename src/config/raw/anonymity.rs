//! `[policy.NAME.anonymity]` as it is spelled.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use toml::Value;

use crate::anonymity::{Distance, Diversity, Mode, Utility};
use crate::config::spanned::Spanned;

fn numbers_or_texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": {"type": ["number", "string"]}, "minItems": 1})
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Anonymity {
    /// `enforce`: generalise and leave out rows until it holds; `check`: refuse files of which it does not; `report`: say in the receipt what holds.
    #[serde(default)]
    pub mode: Mode,
    /// Rows of a file that must look alike in all quasi-identifiers.
    pub k: Spanned<u64>,
    /// Share of a file's rows that may be left out, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_suppressed: Option<Spanned<f64>>,
    /// By what the levels are chosen.
    pub utility: Option<Spanned<Utility>>,
    /// The levels chosen for the first file of a landing hold for all later ones, until this text changes.
    pub freeze: Option<Spanned<String>>,
    /// Columns by which somebody could be recognised.
    #[serde(default)]
    pub quasi_identifier: Vec<Spanned<QuasiIdentifier>>,
    /// Columns of which nothing shall be learned from rows that look alike.
    #[serde(default)]
    pub sensitive: Vec<Spanned<Sensitive>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuasiIdentifier {
    /// The column or path. One with a rule of its own counts as that makes it; else its levels are the rule.
    pub column: String,
    /// Levels: intervals of these widths, each a multiple of the one before.
    #[serde(default)]
    #[schemars(schema_with = "numbers_or_texts")]
    pub widths: Option<Vec<Value>>,
    /// Levels: what is left of a date: `month`, `quarter`, `year`, `decade`, in this order.
    #[schemars(extend("items" = {"enum": ["month", "quarter", "year", "decade"]}))]
    pub dates: Option<Vec<String>>,
    /// With `dates`: strftime-like format; YYYY-MM-DD when absent.
    pub format: Option<String>,
    /// Levels: so many first characters, each fewer than the one before.
    pub prefixes: Option<Vec<u32>>,
    /// Levels: a hierarchy file as ARX has them, with semicolons between value and levels.
    pub hierarchy: Option<Spanned<String>>,
    /// Finest level that may be chosen; 0, the default, is the value as it came.
    pub min_level: Option<u32>,
    /// Coarsest level that may be chosen; the last, one text for all, when absent.
    pub max_level: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sensitive {
    /// The column or path; it counts as its rule makes it.
    pub column: String,
    /// Different values that rows which look alike must have.
    #[schemars(range(min = 1.0))]
    pub l: Option<f64>,
    /// What `l` counts: values, or the exponential of their entropy.
    #[serde(default)]
    pub diversity: Diversity,
    /// How far the values of rows that look alike may be from those of all rows, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub t: Option<f64>,
    /// How `t` is measured: all values equally far from each other, or by their order.
    #[serde(default)]
    pub distance: Distance,
}
