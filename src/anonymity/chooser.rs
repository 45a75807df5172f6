//! The rows that are left out, told again as the file is read a second time.

use std::collections::{HashMap, HashSet};

use polars::prelude::StringChunked;

/// Classes that go, by the finest texts of their rows.
pub struct Chooser {
    /// By quasi-identifier: the codes of its finest texts.
    pub(super) texts: Vec<HashMap<Box<str>, u32>>,
    /// The code at the level that was chosen, absent where that is the finest.
    pub(super) steps: Vec<Option<Vec<u32>>>,
    pub(super) gone: HashSet<Box<[u32]>>,
}

/// A value that was not there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed;

impl Chooser {
    /// For each row of a block whether it is left out; `None` where all of them stay. `finest` has the finest texts of the
    /// quasi-identifiers.
    ///
    /// # Errors
    ///
    /// [`Changed`] when the file is not the one that was counted.
    pub fn left_out(&self, finest: &[StringChunked]) -> Result<Option<Vec<bool>>, Changed> {
        if self.gone.is_empty() {
            return Ok(None);
        }
        let rows = finest.first().map_or(0, StringChunked::len);
        let mut codes = vec![0; rows * self.texts.len()];
        for (column, texts) in finest.iter().take(self.texts.len()).enumerate() {
            let cells = texts.downcast_iter().flat_map(|chunk| chunk.iter()).enumerate();
            for (row, text) in cells {
                let code = *self.texts[column].get(text.unwrap_or("")).ok_or(Changed)?;
                codes[row * self.texts.len() + column] =
                    self.steps[column].as_ref().map_or(code, |steps| steps[code as usize]);
            }
        }
        let left_out: Vec<bool> = codes.chunks_exact(self.texts.len()).map(|codes| self.gone.contains(codes)).collect();
        Ok(left_out.contains(&true).then_some(left_out))
    }
}
