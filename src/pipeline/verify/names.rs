//! Names of columns and keys of objects: they go out as they came, whatever a mask does to what they name.
//!
//! A file that has lost its header line has values for names, and so have objects that serve as maps. The scan takes
//! those that no rule spells for cells of a column that is kept: its path ends in a star, as a pattern for them would.

use std::sync::Arc;

use polars_arrow::array::Utf8ViewArray;

use super::{Column, Leak, Sum, Watched};
use crate::detect::Watch;
use crate::mask::Remains;

impl Watched {
    /// For keys of objects at a path that ends in a star.
    pub(in crate::pipeline) fn of_keys(index: usize, path: &str) -> Arc<Watched> {
        Watched::of(Holds::Keys, index, path)
    }

    fn of(holds: Holds, index: usize, path: &str) -> Arc<Watched> {
        Arc::new(Watched { index, path: path.to_owned(), remains: Remains::All, holds, watch: Watch::of_names(path) })
    }
}

impl Sum {
    /// Looks at names of columns that go out, each with its position from 1, ascending. `path` ends in a star, and `index`
    /// is a place behind those of all columns.
    pub(in crate::pipeline) fn see_names(&mut self, index: usize, path: &str, names: &[(u32, String)]) {
        let (Some(digests), Some((last, _))) = (self.digests(), names.last()) else { return };
        let watched = Watched::of(Holds::Names, index, path);
        let cells = Utf8ViewArray::from_slice_values(names.iter().map(|(_, name)| name).collect::<Vec<_>>());
        let rows: Vec<u32> = names.iter().map(|(position, _)| position - 1).collect();
        let column = Column { watched: &watched, name: path, cells: &cells, masked: None, rows: Some(&rows) };
        self.add(digests.look(&[column], *last as usize, 1));
    }
}

/// What a column of the scan holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Cells,
    /// Names of columns; their positions stand for rows.
    Names,
    /// Keys of objects.
    Keys,
}

impl Leak {
    /// Told by the row and the column's end: no path of values ends in a star.
    pub(super) fn holds(&self) -> Holds {
        match self {
            Leak { row: 0, .. } => Holds::Names,
            Leak { column, .. } if column.ends_with('*') => Holds::Keys,
            Leak { .. } => Holds::Cells,
        }
    }
}

impl Holds {
    pub(super) fn count(self, count: u64) -> String {
        let noun = match self {
            Holds::Cells => "cell",
            Holds::Names => "name",
            Holds::Keys => "key",
        };
        if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
    }

    /// What helps against it, but for an acceptance.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Holds::Cells => "Mask or drop the column",
            Holds::Names => {
                "Perhaps the file has lost its header line: name its columns for the landing (`delimited.columns`), or \
                 have it sent with one. A column that is rightly called so is dropped, or gets a rule by its very name"
            }
            Holds::Keys => "Keys go out as they came: drop the object that they stand in, or have it sent as a list",
        }
    }
}
