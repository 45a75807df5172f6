//! The leak scan: every block of an output is looked at on its way out, and judged when the last one has passed.
//!
//! Three things are looked for: (a) personal data that can be proved in cells that are passed on
//! ([`crate::detect::Watch`]), (b) values of masked columns that turn up elsewhere in the output ([`repeat`]), (c) masked
//! cells that are what they were; (a) and (b) in names of columns and keys, too ([`names`]). Blocks are looked at by the
//! masking threads and added up in their order ([`Sum`]), so that the verdict does not depend on which thread was faster.
//! Memory is bounded: samples and counts are kept, and of values only digests under a key that is drawn for each output
//! and never leaves it.

use std::sync::Arc;

use polars::prelude::StringChunked;
use polars_arrow::array::Utf8ViewArray;
use polars_arrow::datatypes::ArrowDataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::names::Holds;
use self::repeat::Repeats;
use crate::detect::{Class, Glimpses, Watch};
use crate::mask::{Mask, REDACTED, Remains};
use crate::policy::Verify;

mod digest;
mod names;
mod repeat;
mod row;
mod sum;
mod telling;
#[cfg(test)]
mod tests;

pub(super) use digest::Digests;
pub(super) use sum::Sum;

/// What a leak is of, as policies accept it and receipts name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeakClass {
    /// Personal data of a class in a column that is passed on.
    Held(Class),
    /// Values of a masked column in another one.
    Repeated,
    /// Masked cells that are what they were.
    Unchanged,
}

impl LeakClass {
    pub const REPEATED: &str = "repeated_value";
    pub const UNCHANGED: &str = "unchanged_value";

    /// The name in configuration and receipts.
    pub fn name(self) -> &'static str {
        match self {
            LeakClass::Held(class) => class.name(),
            LeakClass::Repeated => LeakClass::REPEATED,
            LeakClass::Unchanged => LeakClass::UNCHANGED,
        }
    }

    /// The leaks that an acceptance means by a name: one class, or all national identifiers.
    pub fn of_name(name: &str) -> Option<Vec<LeakClass>> {
        match name {
            LeakClass::REPEATED => Some(vec![LeakClass::Repeated]),
            LeakClass::UNCHANGED => Some(vec![LeakClass::Unchanged]),
            name => Some(Class::of_rule(name)?.into_iter().map(LeakClass::Held).collect()),
        }
    }
}

impl Serialize for LeakClass {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for LeakClass {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<LeakClass, D::Error> {
        let name = String::deserialize(deserializer)?;
        let classes = LeakClass::of_name(&name).filter(|classes| classes.len() == 1);
        classes.map(|classes| classes[0]).ok_or_else(|| serde::de::Error::custom("unknown class of a leak"))
    }
}

/// What was found in one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leak {
    /// As it may be given out. In row 0 it is that column's name that leaks; a path that ends in a star stands for keys.
    pub column: String,
    /// A class of personal data, `repeated_value` or `unchanged_value`.
    #[schemars(with = "String")]
    pub class: LeakClass,
    /// The masked column whose values these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Data row of the first one, from 1; 0 for the name of a column.
    pub row: u64,
    /// Cells, or names, that were seen to leak: at least so many do.
    pub cells: u64,
}

/// What became of an acceptance of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// As the policy spells it.
    pub column: String,
    /// A class of personal data, `national_id`, `repeated_value` or `unchanged_value`.
    pub class: String,
    /// Cells that it has let through, 0 where there was nothing to accept.
    pub cells: u64,
}

/// The result of the scan, as receipts hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verified {
    /// What the policy asks for.
    pub mode: Verify,
    /// What was sealed all the same, under `warn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaks: Vec<Leak>,
    /// The policy's false alarms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Accepted>,
    /// Of the values of masked columns one in so many was looked for in other rows; all of them in their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled_one_in: Option<u64>,
}

/// Nothing was looked for.
impl Default for Verified {
    fn default() -> Verified {
        Verified { mode: Verify::Off, leaks: Vec::new(), accepted: Vec::new(), sampled_one_in: None }
    }
}

impl Verified {
    /// Adds what was found in a member of an archive, which goes by its rule.
    pub(super) fn add_member(&mut self, pattern: &str, member: &Verified) {
        if self.mode == Verify::Off {
            self.mode = member.mode;
        }
        for leak in &member.leaks {
            let column = format!("{pattern}: {}", leak.column);
            let is_same = |it: &&mut Leak| {
                (&it.column, it.holds(), it.class, &it.of) == (&column, leak.holds(), leak.class, &leak.of)
            };
            match self.leaks.iter_mut().find(is_same) {
                Some(known) => known.cells += leak.cells,
                None => self.leaks.push(Leak { column, ..leak.clone() }),
            }
        }
        for accepted in &member.accepted {
            let is_same = |it: &&mut Accepted| (&it.column, &it.class) == (&accepted.column, &accepted.class);
            match self.accepted.iter_mut().find(is_same) {
                Some(known) => known.cells += accepted.cells,
                None => self.accepted.push(accepted.clone()),
            }
        }
        self.sampled_one_in = self.sampled_one_in.max(member.sampled_one_in);
    }
}

/// What the scan knows of one column before its first cell.
pub(super) struct Watched {
    /// Place among the columns of the output.
    pub index: usize,
    /// Normalised name or path, as acceptances spell it.
    pub path: String,
    remains: Remains,
    holds: Holds,
    watch: Watch,
}

impl Watched {
    pub(super) fn new(index: usize, path: &str, mask: &Mask) -> Arc<Watched> {
        let watch = Watch::new(path);
        Arc::new(Watched { index, path: path.to_owned(), remains: mask.remains(), holds: Holds::Cells, watch })
    }

    /// Whether no cell may be what it was.
    pub(super) fn must_change(&self) -> bool {
        matches!(self.remains, Remains::Changed | Remains::ChangedBut(_) | Remains::ChangedMostly)
    }

    /// Whether the mask passes on what it does not look for.
    pub(super) fn keeps_parts(&self) -> bool {
        self.remains == Remains::Parts
    }

    /// Whether values of the column are not to be found in the output.
    fn is_original(&self) -> bool {
        !matches!(self.remains, Remains::All | Remains::Parts)
    }
}

/// One column of a block: as it came, and where the scan wants it as it goes out.
pub(super) struct Column<'a> {
    pub watched: &'a Arc<Watched>,
    /// The name as it may be given out.
    pub name: &'a str,
    pub cells: &'a Utf8ViewArray,
    pub masked: Option<&'a Utf8ViewArray>,
    /// Row in the block of each cell, ascending; absent: one cell for each row.
    pub rows: Option<&'a [u32]>,
}

impl<'a> Column<'a> {
    /// The cells that go out, where they hold what came in.
    fn outgoing(&self) -> Option<&'a Utf8ViewArray> {
        match self.watched.remains {
            Remains::All => Some(self.cells),
            Remains::Parts => self.masked,
            _ => None,
        }
    }

    fn row(&self, cell: usize) -> u32 {
        self.rows.map_or(cell as u32, |rows| rows[cell])
    }
}

/// The scan of an output whose columns are known from the beginning, each with one cell in a row.
pub(super) struct Scan {
    digests: Arc<Digests>,
    /// As they may be given out.
    names: Vec<String>,
    watched: Vec<Arc<Watched>>,
}

impl Scan {
    /// `None` where nothing is to be looked at.
    pub(super) fn new(sum: &Sum, names: Vec<String>, watched: Vec<Arc<Watched>>) -> Option<Scan> {
        let digests = sum.digests().filter(|_| !watched.is_empty())?;
        Some(Scan { digests, names, watched })
    }

    /// Looks at a block: for each column its cells as they came, and as they go out where they were masked.
    pub(super) fn look<'c>(
        &'c self,
        cells: impl Iterator<Item = (Option<&'c Utf8ViewArray>, Option<&'c Utf8ViewArray>)>,
        rows: Rows<'c>,
        first_row: u64,
    ) -> Box<Seen> {
        let (count, rows) = match rows {
            Rows::All(count) => (count, None),
            Rows::Some(places) => (places.last().map_or(0, |last| *last as usize + 1), Some(places)),
        };
        let columns =
            self.watched.iter().zip(&self.names).zip(cells).filter_map(|((watched, name), (cells, masked))| {
                Some(Column { watched, name, cells: cells?, masked, rows })
            });
        Box::new(self.digests.look(&columns.collect::<Vec<_>>(), count, first_row))
    }
}

/// Which rows of a block go out.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// All of them, so many.
    All(usize),
    /// Those in these places, ascending.
    Some(&'a [u32]),
}

/// What was seen in one column of a block.
pub(super) struct ColumnSeen {
    watched: Arc<Watched>,
    name: String,
    glimpses: Glimpses,
    /// Cells that are long enough to be told from others.
    filled: u64,
    /// Masked cells that are what they were, and the row of the first.
    unchanged: u64,
    unchanged_row: u64,
}

/// What was seen in one block of one output.
pub(super) struct Seen {
    first_row: u64,
    columns: Vec<ColumnSeen>,
    repeats: Repeats,
}

impl Digests {
    /// Looks at a block whose first row has this number.
    pub(super) fn look(&self, columns: &[Column<'_>], rows: usize, first_row: u64) -> Seen {
        let mut seen: Vec<ColumnSeen> = columns.iter().map(|column| unchanged(column, first_row)).collect();
        let repeats = repeat::look(self, columns, rows, first_row, &mut seen);
        Seen { first_row, columns: seen, repeats }
    }
}

/// Looks for nothing but masked cells that are what they were.
pub(super) fn changed(column: &Column<'_>, first_row: u64) -> Seen {
    Seen { first_row, columns: vec![unchanged(column, first_row)], repeats: Repeats::default() }
}

/// A column's cells in one piece.
pub(super) fn one_piece(column: &StringChunked) -> Utf8ViewArray {
    let cells = column.rechunk();
    cells.downcast_iter().next().cloned().unwrap_or_else(|| Utf8ViewArray::new_empty(ArrowDataType::Utf8View))
}

/// Looks for masked cells that are what they were.
fn unchanged(column: &Column<'_>, first_row: u64) -> ColumnSeen {
    let mut seen = ColumnSeen {
        watched: column.watched.clone(),
        name: column.name.to_owned(),
        glimpses: Glimpses::default(),
        filled: 0,
        unchanged: 0,
        unchanged_row: 0,
    };
    let but = match column.watched.remains {
        Remains::Changed | Remains::ChangedMostly => None,
        Remains::ChangedBut(character) => Some(character),
        _ => return seen,
    };
    let Some(masked) = column.masked else { return seen };
    let views = column.cells.views().iter().zip(masked.views().iter());
    for (cell, (before, after)) in views.enumerate() {
        // The length and the first bytes stand in the view.
        if before.length != after.length || before.prefix != after.prefix || before.length == 0 {
            continue;
        }
        let value = column.cells.value(cell);
        let is_hidden = |letter: char| letter.is_alphanumeric() && Some(letter) != but;
        if value != masked.value(cell) || value == REDACTED || !value.chars().any(is_hidden) {
            continue;
        }
        // Where the mask's own character stands in it, it may have been masked before.
        if but.is_some_and(|but| value.contains(but)) {
            continue;
        }
        if seen.unchanged == 0 {
            seen.unchanged_row = first_row + u64::from(column.row(cell));
        }
        seen.unchanged += 1;
    }
    seen
}
