//! What a policy asks for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::AnonymityReport;
use crate::mask::Mask;

/// Most combinations of levels that are searched.
pub const MAX_NODES: usize = 1 << 18;

/// `[policy.NAME.anonymity]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anonymity {
    pub mode: Mode,
    /// Rows that must look alike, at least 1.
    pub k: u64,
    /// Share of the rows that may be left out, 0 to 1.
    pub max_suppressed: f64,
    pub utility: Utility,
    pub quasi_identifiers: Vec<QuasiIdentifier>,
    pub sensitive: Vec<Sensitive>,
    /// The levels chosen for the first file hold for all later ones, until this text changes.
    pub freeze: Option<String>,
    /// Levels that were chosen before, in the order of the quasi-identifiers; never part of a configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Vec<u32>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Generalise and leave out rows until it holds, else refuse the file.
    #[default]
    Enforce,
    /// Refuse a file of which it does not hold.
    Check,
    /// Say in the receipt what holds.
    Report,
}

/// By what the levels are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Utility {
    /// Non-uniform entropy of the generalised columns; rows that are left out cost nothing.
    #[default]
    Entropy,
    /// Share of a column's values that each cell stands for; a row that is left out is lost whole.
    Loss,
    /// For each row the number of rows that look like it; for one that is left out, all.
    Discernibility,
    /// Rows of an average class, in units of k.
    ClassSize,
}

/// A column by which somebody could be recognised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuasiIdentifier {
    /// As the rule spells it.
    pub column: String,
    /// From fine to coarse; what one level joins, the next does not tell apart. Empty: the column goes out as its own rule
    /// says.
    pub levels: Vec<Mask>,
    /// Number of the first of them.
    pub first_level: u32,
}

/// A column of which nothing shall be learned from a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitive {
    /// As the rule spells it.
    pub column: String,
    /// l: so many values, or for the entropy as many as so many equally frequent ones.
    pub l: Option<f64>,
    pub diversity: Diversity,
    /// Largest distance of a class' distribution from that of all rows.
    pub t: Option<f64>,
    pub distance: Distance,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Diversity {
    /// Different values.
    #[default]
    Distinct,
    /// The exponential of the entropy.
    Entropy,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    /// All values are equally far from each other.
    #[default]
    Equal,
    /// Values are as far apart as their ranks.
    Ordered,
}

impl Anonymity {
    /// Names of the columns that are looked at.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let quasi_identifiers = self.quasi_identifiers.iter().map(|it| it.column.as_str());
        quasi_identifiers.chain(self.sensitive.iter().map(|it| it.column.as_str()))
    }

    /// The levels that a report of this policy tells of, by quasi-identifier.
    pub fn levels_in(&self, report: &AnonymityReport) -> Vec<u32> {
        let pairs = self.quasi_identifiers.iter().zip(&report.quasi_identifiers);
        pairs.map(|(asked, found)| found.level.unwrap_or(0).saturating_sub(asked.first_level)).collect()
    }

    /// SHA-256 over all of it as canonical JSON, frozen levels aside; lower-case hexadecimal.
    pub fn digest(&self) -> String {
        use sha2::{Digest, Sha256};
        let text = serde_json::to_vec(&Anonymity { frozen: None, ..self.clone() }).expect("a policy is plain data");
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
