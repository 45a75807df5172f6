//! Masks: pure functions from a Polars column to a Polars column of the same length.
//!
//! Terms follow ISO/IEC 20889. No file system, no clock, no logging; keys are parameters. Null and empty stay as they
//! are. A mask is checked when the configuration is read ([`Mask::from_params`]); after that it can only meet cells
//! that it cannot read.

use polars::prelude::{NewChunkedArray, PlSmallStr, StringChunked};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::keys::MaskingKeys;

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
mod reveal;
mod scrub;
mod token;
mod truncate;
mod when;

pub use generalize::Hierarchy;
pub use params::MASKS;
pub use reveal::Revealer;
pub use when::{Case, Test, WhenMask};

use cells::Cells;
use normalize::{LEFT_OVER, Normalize};
use number::NUMBER;
pub use params::REDACTED;

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

    /// Makes the mask ready for one column: derives keys, compiles what is to be compiled.
    ///
    /// `namespace` is the normalised column name; a namespace in the mask's parameters goes before it.
    pub fn prepare(&self, namespace: &str, keys: &MaskingKeys) -> Prepared {
        Prepared(match self {
            Mask::Keep | Mask::Drop => Tool::Pass,
            Mask::Null => Tool::Fixed(String::new()),
            Mask::Redact { text } => Tool::Fixed(text.clone()),
            Mask::Partial(partial) => Tool::Partial(partial.clone()),
            Mask::Hash(hash) => {
                let key = keys.derive("mask/hash", hash.namespace.as_deref().unwrap_or(namespace));
                Tool::Hash(hash::Keyed::new(hash, &key), keys.current_version())
            }
            Mask::Token(token) => {
                Tool::Token(token::Tokenizer::new(token, token.namespace.as_deref().unwrap_or(namespace), keys))
            }
            Mask::Fpe(fpe) => {
                let namespace = fpe.namespace.as_deref().unwrap_or(namespace);
                Tool::Fpe(Box::new(fpe::Encryptor::new(fpe, namespace, keys)))
            }
            Mask::Fake(fake) => {
                Tool::Fake(fake::Faker::new(fake, fake.namespace.as_deref().unwrap_or(namespace), keys))
            }
            Mask::Truncate(truncate) => Tool::Truncate(truncate.clone()),
            Mask::Generalize(generalize) => Tool::Generalize(generalize.clone()),
            Mask::Pattern(pattern) => {
                Tool::Pattern(pattern.compile().expect("a pattern is compiled once when the configuration is read"))
            }
            Mask::Scrub(scrub) => Tool::Scrub(scrub.prepare()),
            Mask::Date(date) => Tool::Date(date.clone()),
            Mask::DateShift(shift) => Tool::DateShift(date_shift::Shifter::new(shift, keys)),
            Mask::Round(round) => Tool::Round(round.clone()),
            Mask::Clamp(clamp) => Tool::Clamp(clamp.clone()),
            Mask::Noise(noise) => Tool::Noise(noise.clone()),
            Mask::When(when) => Tool::When(Box::new(when.prepare(namespace, keys))),
        })
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

/// A mask ready to work on one column; shared by the masking threads.
pub struct Prepared(Tool);

/// What a mask works with, keys derived and patterns compiled.
enum Tool {
    Pass,
    Fixed(String),
    Partial(partial::PartialMask),
    /// With the version of its key.
    Hash(hash::Keyed, u32),
    Token(token::Tokenizer),
    Fpe(Box<fpe::Encryptor>),
    Fake(fake::Faker),
    Truncate(truncate::TruncateMask),
    Generalize(generalize::GeneralizeMask),
    Pattern(pattern::Replacer),
    Scrub(scrub::Scrubber),
    Date(date::DateMask),
    DateShift(date_shift::Shifter),
    Round(number::RoundMask),
    Clamp(number::ClampMask),
    Noise(noise::NoiseMask),
    When(Box<when::Chooser>),
}

impl Prepared {
    /// Version of the masking key used, where the mask is keyed.
    pub fn key_version(&self) -> Option<u32> {
        match &self.0 {
            Tool::Hash(_, version) => Some(*version),
            Tool::Token(tokenizer) => Some(tokenizer.version()),
            Tool::Fpe(encryptor) => Some(encryptor.version()),
            Tool::DateShift(shifter) => Some(shifter.version()),
            Tool::Fake(faker) => Some(faker.version()),
            Tool::When(chooser) => chooser.key_version(),
            _ => None,
        }
    }

    /// Masks single values.
    ///
    /// # Errors
    ///
    /// As [`Prepared::apply`] has them.
    pub fn apply_to<'a>(
        &self,
        values: impl Iterator<Item = &'a str>,
        mistyped: OnMistyped,
    ) -> Result<Vec<String>, Mistyped> {
        let column = StringChunked::from_iter_values(PlSmallStr::EMPTY, values);
        let masked = self.apply(&column, mistyped)?;
        Ok(masked.iter().map(|value| value.unwrap_or_default().to_owned()).collect())
    }

    /// Masks a column that is looked at alone. One of which the mask must see another column beside it
    /// ([`Mask::beside`]) has nothing but unreadable cells then.
    ///
    /// # Errors
    ///
    /// [`Mistyped`] names the first cell that the mask cannot read.
    pub fn apply(&self, column: &StringChunked, mistyped: OnMistyped) -> Result<StringChunked, Mistyped> {
        self.apply_beside(column, None, mistyped)
    }

    /// Masks a column; `beside` has a cell for each of its cells.
    ///
    /// # Errors
    ///
    /// [`Mistyped`] names the first cell that the mask cannot read.
    pub fn apply_beside(
        &self,
        column: &StringChunked,
        beside: Option<&StringChunked>,
        mistyped: OnMistyped,
    ) -> Result<StringChunked, Mistyped> {
        match &self.0 {
            Tool::Pass => Ok(column.clone()),
            Tool::Fixed(text) => Ok(fixed(column, text)),
            Tool::Partial(partial) => readable(column, |value, out| partial.mask_into(value, out)),
            Tool::Hash(keyed, _) => normalized(column, mistyped, keyed.normalize, LEFT_OVER, |value, out| {
                keyed.hash_into(value, out);
                true
            }),
            Tool::Token(tokenizer) => {
                let cipher = tokenizer.cipher();
                normalized(column, mistyped, tokenizer.normalize, LEFT_OVER, |value, out| {
                    cipher.token_into(value, out);
                    true
                })
            }
            Tool::Fpe(encryptor) => {
                normalized(column, mistyped, encryptor.normalize, encryptor.expected, |value, out| {
                    encryptor.mask_into(value, out)
                })
            }
            Tool::Fake(faker) => {
                normalized(column, mistyped, faker.normalize, LEFT_OVER, |value, out| faker.mask_into(value, out))
            }
            Tool::Truncate(truncate) => {
                masked(column, mistyped, truncate.expected(), |value, out| truncate.mask_into(value, out))
            }
            Tool::Generalize(generalize) => {
                masked(column, mistyped, generalize.expected(), |value, out| generalize.mask_into(value, out))
            }
            Tool::Pattern(pattern) => {
                masked(column, mistyped, pattern.expected(), |value, out| pattern.mask_into(value, out))
            }
            Tool::Scrub(scrubber) => readable(column, |value, out| scrubber.mask_into(value, out)),
            Tool::Date(date) => masked(column, mistyped, date.expected(), |value, out| date.mask_into(value, out)),
            Tool::DateShift(shifter) => {
                masked_beside(column, beside, mistyped, shifter.expected(), |value, subject, out| {
                    shifter.mask_into(value, subject, out)
                })
            }
            Tool::Round(round) => masked(column, mistyped, NUMBER, |value, out| round.mask_into(value, out)),
            Tool::Clamp(clamp) => masked(column, mistyped, NUMBER, |value, out| clamp.mask_into(value, out)),
            Tool::When(chooser) => chooser.apply(column, beside, mistyped),
            Tool::Noise(noise) => {
                let source = noise.source();
                masked(column, mistyped, NUMBER, |value, out| source.mask_into(value, out))
            }
        }
    }
}

/// A mask that can read every cell.
fn readable(column: &StringChunked, mask: impl Fn(&str, &mut String)) -> Result<StringChunked, Mistyped> {
    masked(column, OnMistyped::Reject, "any text", |value, out| {
        mask(value, out);
        true
    })
}

/// A mask that sees the normal forms of the cells. Of white space nothing need be left: it stays as empty as it is. Any
/// other cell of which nothing is left would be one value with all others like it, and counts as unreadable.
fn normalized(
    column: &StringChunked,
    mistyped: OnMistyped,
    normalize: Normalize,
    expected: &'static str,
    mask: impl Fn(&str, &mut String) -> bool,
) -> Result<StringChunked, Mistyped> {
    if normalize.is_none() {
        return masked(column, mistyped, expected, mask);
    }
    masked(column, mistyped, expected, |value, out| match normalize.apply(value) {
        normal if normal.is_empty() => value.trim().is_empty(),
        normal => mask(&normal, out),
    })
}

/// Builds the masked column; null and empty pass. `mask` appends to the text of the cells before.
fn masked(
    column: &StringChunked,
    on_mistyped: OnMistyped,
    expected: &'static str,
    mask: impl Fn(&str, &mut String) -> bool,
) -> Result<StringChunked, Mistyped> {
    masked_beside(column, None, on_mistyped, expected, |value, _, out| mask(value, out))
}

/// The same for a mask that sees the cell beside each cell, where there is one.
fn masked_beside(
    column: &StringChunked,
    beside: Option<&StringChunked>,
    on_mistyped: OnMistyped,
    expected: &'static str,
    mask: impl Fn(&str, Option<&str>, &mut String) -> bool,
) -> Result<StringChunked, Mistyped> {
    let mut cells = Cells::with_capacity(column.len());
    let mut beside = beside.into_iter().flat_map(|beside| beside.iter());
    for value in column.downcast_iter().flat_map(|chunk| chunk.iter()) {
        let beside = beside.next().flatten();
        match value.filter(|value| !value.is_empty()) {
            None => cells.push_empty(),
            Some(value) if cells.push_with(|text| mask(value, beside, text)) => {}
            Some(_) => match on_mistyped {
                OnMistyped::Reject => return Err(Mistyped { index: cells.len(), expected }),
                OnMistyped::Null => cells.push_empty(),
                OnMistyped::Redact => cells.push(REDACTED),
            },
        }
    }
    Ok(cells.finish(column))
}

/// One text in place of every value; null and empty pass.
fn fixed(column: &StringChunked, text: &str) -> StringChunked {
    let mut cells = Cells::with_capacity(0);
    let view = cells.keep(text);
    for value in column.downcast_iter().flat_map(|chunk| chunk.iter()) {
        match value.filter(|value| !value.is_empty()) {
            None => cells.push_empty(),
            Some(_) => cells.push_view(view),
        }
    }
    cells.finish(column)
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
