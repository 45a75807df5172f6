//! Masks: pure functions from a Polars column to a Polars column of the same length.
//!
//! Terms follow ISO/IEC 20889. No file system, no clock, no logging; keys are parameters. Null and empty stay as they
//! are. A mask is checked when the configuration is read ([`Mask::from_params`]); after that it can only meet cells
//! that it cannot read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod cells;
mod date;
mod date_shift;
mod fake;
mod fake_locale;
mod ff1;
mod fpe;
mod generalize;
mod hash;
mod noise;
mod normalize;
mod number;
mod params;
mod partial;
mod pattern;
mod prepared;
mod reveal;
mod scrub;
mod token;
mod truncate;
mod when;

pub use generalize::Hierarchy;
pub use params::{MASKS, REDACTED};
pub use prepared::Prepared;
pub use reveal::Revealer;
pub use when::{Case, Test, WhenMask};

/// The parameters of a column rule as they stand in the configuration, all optional; which ones a mask takes is
/// [`Mask::from_params`]' business.
#[derive(Clone, Debug, Default, PartialEq)]
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
    pub normalize: Option<Vec<String>>,
    pub alphabet: Option<String>,
    pub short: Option<String>,
    pub locale: Option<String>,
    pub keep: Option<u32>,
    pub kind: Option<String>,
    pub to: Option<toml::Value>,
    pub format: Option<String>,
    pub as_of: Option<String>,
    pub subject: Option<String>,
    pub max_days: Option<u32>,
    pub width: Option<toml::Value>,
    pub edges: Option<Vec<toml::Value>>,
    /// The content of the file that the configuration names.
    pub hierarchy: Option<Hierarchy>,
    pub level: Option<u32>,
    pub pattern: Option<String>,
    pub replace: Option<String>,
    pub classes: Option<Vec<String>>,
    pub with: Option<String>,
    pub scale: Option<toml::Value>,
    pub epsilon: Option<toml::Value>,
    pub sensitivity: Option<toml::Value>,
    pub min: Option<toml::Value>,
    pub max: Option<toml::Value>,
}

/// One mask with checked parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    Keep,
    Drop,
    Null,
    Redact { text: String },
    Partial(partial::PartialMask),
    Hash(hash::HashMask),
    Token(token::TokenMask),
    Fpe(fpe::FpeMask),
    Fake(fake::FakeMask),
    Truncate(truncate::TruncateMask),
    Generalize(generalize::GeneralizeMask),
    Pattern(pattern::PatternMask),
    Scrub(scrub::ScrubMask),
    Date(date::DateMask),
    DateShift(date_shift::DateShiftMask),
    Round(number::RoundMask),
    Clamp(number::ClampMask),
    Noise(noise::NoiseMask),
    When(Box<when::WhenMask>),
}

impl Mask {
    /// Checks a mask's parameters.
    ///
    /// # Errors
    ///
    /// A sentence for the operator: the unknown mask with the nearest known one, a parameter that the mask does not
    /// take with those it takes, a value that is unsafe with the least safe one.
    pub fn from_params(mask: &str, params: &MaskParams) -> Result<Mask, String> {
        params::from_params(mask, params)
    }

    /// Fixed text in place of every value, as `unlisted = "redact"` asks for.
    pub fn redact() -> Mask {
        Mask::Redact { text: REDACTED.to_owned() }
    }

    /// The mask's name as in the configuration: `partial`, `hash` …
    pub fn name(&self) -> &'static str {
        match self {
            Mask::Keep => "keep",
            Mask::Drop => "drop",
            Mask::Null => "null",
            Mask::Redact { .. } => "redact",
            Mask::Partial(_) => "partial",
            Mask::Hash(_) => "hash",
            Mask::Token(_) => "token",
            Mask::Fpe(_) => "fpe",
            Mask::Fake(_) => "fake",
            Mask::Truncate(_) => "truncate",
            Mask::Generalize(_) => "generalize",
            Mask::Pattern(_) => "pattern",
            Mask::Scrub(_) => "scrub",
            Mask::Date(_) => "date",
            Mask::DateShift(_) => "date_shift",
            Mask::Round(_) => "round",
            Mask::Clamp(_) => "clamp",
            Mask::Noise(_) => "noise",
            Mask::When(_) => "when",
        }
    }

    /// The namespace that the rule gives to a keyed mask.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Mask::Hash(hash) => hash.namespace.as_deref(),
            Mask::Token(token) => token.namespace.as_deref(),
            Mask::Fpe(fpe) => fpe.namespace.as_deref(),
            Mask::Fake(fake) => fake.namespace.as_deref(),
            Mask::DateShift(shift) => shift.namespace.as_deref(),
            _ => None,
        }
    }

    /// Another column that the mask looks at, row by row, as the rule spells it.
    pub fn beside(&self) -> Option<&str> {
        match self {
            Mask::DateShift(shift) => Some(&shift.subject),
            Mask::When(when) => Some(&when.column),
            _ => None,
        }
    }

    /// Whether cells pass unread and unchanged.
    pub fn is_keep(&self) -> bool {
        *self == Mask::Keep
    }

    /// Whether the same value comes out otherwise each time.
    pub fn is_randomized(&self) -> bool {
        match self {
            Mask::Noise(_) => true,
            Mask::When(when) => when.masks().any(Mask::is_randomized),
            _ => false,
        }
    }

    /// Whether the column is removed.
    pub fn is_drop(&self) -> bool {
        *self == Mask::Drop
    }

    /// Whether what comes out of a number is one, so that typed formats can keep it a number; the other masks give text.
    pub fn yields_number(&self) -> bool {
        match self {
            Mask::Round(_) | Mask::Clamp(_) | Mask::Noise(_) => true,
            Mask::When(when) => when.masks().all(|mask| mask.yields_number() || mask.is_keep() || *mask == Mask::Null),
            _ => false,
        }
    }

    /// What of a value is left in what comes out.
    pub fn remains(&self) -> Remains {
        match self {
            Mask::Keep => Remains::All,
            Mask::Scrub(_) | Mask::Pattern(_) => Remains::Parts,
            Mask::When(when) if when.masks().any(|mask| matches!(mask.remains(), Remains::All | Remains::Parts)) => {
                Remains::Parts
            }
            Mask::Hash(_) | Mask::Token(_) | Mask::Fake(_) => Remains::Changed,
            Mask::Partial(partial) => Remains::ChangedBut(partial.character),
            Mask::Fpe(_) => Remains::ChangedMostly,
            Mask::Drop | Mask::Null | Mask::Redact { .. } => Remains::Nothing,
            _ => Remains::Coarse,
        }
    }

    /// Whether it takes values away, those aside that it cannot read.
    pub fn takes_away(&self) -> bool {
        match self {
            Mask::Null => true,
            Mask::When(when) => when.masks().any(Mask::takes_away),
            _ => false,
        }
    }
}

/// What of a value a mask leaves in what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// All of it.
    All,
    /// What the mask has not found in it, or found no rule for.
    Parts,
    /// A coarser or shifted value, which may be the same by chance.
    Coarse,
    /// Nothing, and what comes out is another value.
    Changed,
    /// The same where no character is this one.
    ChangedBut(char),
    /// The same but for one in a million or more.
    ChangedMostly,
    /// Nothing; what comes out does not depend on it.
    Nothing,
}

/// What happens to a cell that the mask cannot read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

#[cfg(test)]
mod tests;
