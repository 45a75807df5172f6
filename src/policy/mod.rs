//! Policy + header → [`Plan`]: which column gets which mask. Pure.

use serde::{Deserialize, Serialize};

use crate::mask::{Mask, OnMistyped};
use crate::pipeline::Fault;

/// Named rules for the columns of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub name: String,
    pub unlisted: OnUnlisted,
    pub missing: OnMissing,
    pub mistyped: OnMistyped,
    pub columns: Vec<ColumnRule>,
    /// SHA-256 of the policy's canonical form, lower-case hexadecimal; see [`Policy::digest`].
    pub sha256: String,
}

/// A column that no rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnlisted {
    #[default]
    Reject,
    Redact,
    Drop,
    Keep,
}

/// A rule that matches no column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMissing {
    #[default]
    Reject,
    Ignore,
}

/// Columns and what happens to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnRule {
    pub columns: Selector,
    pub mask: Mask,
    /// Overrides the policy's `mistyped`.
    pub mistyped: Option<OnMistyped>,
}

/// Which columns a rule names; literal names are compared normalised ([`normalise`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selector {
    Names(Vec<String>),
    Glob(String),
    Regex(String),
}

/// What is done to each column of one file.
pub struct Plan {
    pub columns: Vec<PlannedColumn>,
}

/// What is done to one column.
pub struct PlannedColumn {
    /// The name as it may be given out, else `column N`.
    pub public_name: String,
    /// Normalised header name, the default namespace of keyed masks.
    pub namespace: String,
    pub mask: Mask,
    pub mistyped: OnMistyped,
}

impl Policy {
    /// Decides for every column of a header.
    ///
    /// # Errors
    ///
    /// A [`Fault`] for a blank or duplicate name, an unlisted column, a rule without a column, a column that two rules
    /// of the same rank claim, and a plan that leaves no column.
    pub fn plan(&self, _header: &[&str]) -> Result<Plan, Fault> {
        todo!()
    }
}

/// The form in which column names are compared: trimmed, runs of white space as one space, lower case.
pub fn normalise(_name: &str) -> String {
    todo!()
}
