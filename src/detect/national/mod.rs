//! National identifiers: how each is written, and what makes one valid. One table a region.
//!
//! A validator sees upper-case letters and digits only, separators taken out. It knows no date of today, so that a
//! number means the same on every day. Sources are the issuers' specifications as collected by python-stdnum, with
//! which `tests/identifiers/generate.py` compares every validator that has its counterpart there.

use super::class::Class;

mod africa_pacific;
mod americas;
mod asia;
mod baltic;
mod central;
mod east;
mod north;
mod south;
mod west;

/// One kind of identifier.
pub(super) struct Identifier {
    pub class: Class,
    /// Ways to write it: `#` a digit, `@` a letter, `?` either, all else itself.
    pub forms: &'static [&'static str],
    /// One in how many unrelated cells of these shapes passes; a test measures it.
    pub one_in: u32,
    pub valid: fn(&[u8]) -> bool,
}

/// All identifiers.
pub(super) fn identifiers() -> impl Iterator<Item = &'static Identifier> {
    [
        americas::TABLE,
        west::TABLE,
        central::TABLE,
        south::TABLE,
        east::TABLE,
        north::TABLE,
        baltic::TABLE,
        asia::TABLE,
        africa_pacific::TABLE,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests;
