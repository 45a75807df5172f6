//! What a receipt says of a file's anonymity.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{Distance, Mode, Utility};

/// The `anonymity` object of a receipt. It speaks of the rows of this output, and of no others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnonymityReport {
    /// What was done about it.
    pub mode: Mode,
    /// Whether what the policy asks for holds.
    pub holds: bool,
    /// Records of the smallest class; null without records.
    pub k: Option<u64>,
    /// Number of classes: of rows that look alike in all quasi-identifiers.
    pub classes: u64,
    /// The columns by which somebody could be recognised.
    pub quasi_identifiers: Vec<LevelReport>,
    /// The columns of which nothing shall be learned from a class.
    pub sensitive: Vec<SensitiveReport>,
    /// By what the levels were chosen, and what they cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utility: Option<UtilityReport>,
    /// The levels were those of an earlier file.
    pub frozen: bool,
}

/// One quasi-identifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LevelReport {
    /// As the policy spells it.
    pub column: String,
    /// The level, from 0; absent for a column that its own rule masks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u32>,
    /// Number of the coarsest level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coarsest: Option<u32>,
}

/// One sensitive column; the numbers are null without records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SensitiveReport {
    /// As the policy spells it.
    pub column: String,
    /// Fewest different values of a class.
    pub l_distinct: Option<u64>,
    /// Least exponential of a class' entropy.
    pub l_entropy: Option<f64>,
    /// Greatest distance of a class from all rows.
    pub t: Option<f64>,
    /// How the distance is measured.
    pub distance: Distance,
}

/// What the levels cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UtilityReport {
    /// How it is measured.
    pub measure: Utility,
    /// The least that there is.
    pub loss: f64,
}
