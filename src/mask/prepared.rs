//! Masks ready to work, and the ways through a column that they share.

use polars::prelude::{NewChunkedArray, PlSmallStr, StringChunked};

use super::cells::Cells;
use super::normalize::{LEFT_OVER, Normalize};
use super::number::NUMBER;
use super::{Mask, Mistyped, OnMistyped, REDACTED};
use super::{
    date, date_shift, fake, fpe, generalize, hash, noise, number, partial, pattern, scrub, token, truncate, when,
};
use crate::keys::MaskingKeys;

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

impl Mask {
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
            Tool::Hash(keyed, _) if keyed.normalize.is_none() => Ok(keyed.hash_all(column)),
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
pub(super) fn masked(
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
