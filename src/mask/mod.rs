//! Masks: pure functions from a Polars column to a Polars column of the same length.
//!
//! Terms follow ISO/IEC 20889. No file system, no clock, no logging; keys are parameters. Null and empty stay as they
//! are. A mask is checked when the configuration is read ([`Mask::from_params`]); after that it can only meet cells
//! that it cannot read.

use polars::prelude::StringChunked;
use serde::{Deserialize, Serialize};

use crate::keys::MaskingKeys;

/// The parameters of a column rule as they stand in the configuration, all optional; which ones a mask takes is
/// [`Mask::from_params`]' business.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MaskParams {
    pub text: Option<String>,
    pub keep_first: Option<u32>,
    pub keep_last: Option<u32>,
    pub mask_first: Option<u32>,
    pub mask_last: Option<u32>,
    pub char: Option<String>,
    pub algorithm: Option<String>,
    pub length: Option<u32>,
    pub encoding: Option<String>,
    pub namespace: Option<String>,
    pub keep: Option<u32>,
    pub kind: Option<String>,
    pub to: Option<toml::Value>,
    pub format: Option<String>,
    pub as_of: Option<String>,
    pub width: Option<u32>,
    pub min: Option<toml::Value>,
    pub max: Option<toml::Value>,
}

/// One mask with checked parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mask {}

impl Mask {
    /// Checks a mask's parameters.
    ///
    /// # Errors
    ///
    /// A sentence for the operator: the unknown mask with the nearest known one, a parameter that the mask does not
    /// take with those it takes, a value that is unsafe with the least safe one.
    pub fn from_params(_mask: &str, _params: &MaskParams) -> Result<Mask, String> {
        todo!()
    }

    /// The mask's name as in the configuration: `partial`, `hash` …
    pub fn name(&self) -> &'static str {
        todo!()
    }

    /// Whether cells pass unread and unchanged.
    pub fn is_keep(&self) -> bool {
        todo!()
    }

    /// Whether the column is removed.
    pub fn is_drop(&self) -> bool {
        todo!()
    }

    /// Makes the mask ready for one column: derives keys, compiles what is to be compiled.
    ///
    /// `namespace` is the normalised column name; a namespace in the mask's parameters goes before it.
    pub fn prepare(&self, _namespace: &str, _keys: &MaskingKeys) -> Prepared {
        todo!()
    }
}

/// A mask ready to work on one column; shared by the masking threads.
pub struct Prepared {}

impl Prepared {
    /// Version of the masking key used, where the mask is keyed.
    pub fn key_version(&self) -> Option<u32> {
        todo!()
    }

    /// Masks a column.
    ///
    /// # Errors
    ///
    /// [`Mistyped`] names the first cell that the mask cannot read.
    pub fn apply(&self, _column: &StringChunked, _mistyped: OnMistyped) -> Result<StringChunked, Mistyped> {
        todo!()
    }
}

/// What happens to a cell that the mask cannot read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMistyped {
    #[default]
    Reject,
    Null,
    Redact,
}

/// The first cell of a column that the mask could not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{expected} expected")]
pub struct Mistyped {
    /// Index in the column, from 0.
    pub index: usize,
    /// What the mask reads: "a date as YYYY-MM-DD", "a decimal number".
    pub expected: &'static str,
}
