//! A column's values as codes, level by level.

/// One column: how many different values each of its levels has, and to which value of the next each leads.
pub(super) struct Ladder {
    /// From fine to coarse.
    pub sizes: Vec<usize>,
    /// For each level but the last: the next level's code of each code.
    pub steps: Vec<Vec<u32>>,
}

impl Ladder {
    pub(super) fn levels(&self) -> usize {
        self.sizes.len()
    }

    /// The code at level `to` of each code at level `from`; `None` where they are the same level.
    pub(super) fn between(&self, from: usize, to: usize) -> Option<Vec<u32>> {
        let mut steps = self.steps[from..to].iter();
        let mut codes = steps.next()?.clone();
        for next in steps {
            codes.iter_mut().for_each(|code| *code = next[*code as usize]);
        }
        Some(codes)
    }
}
