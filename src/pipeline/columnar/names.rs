//! Names of a schema that no rule spells, as far as they go out, for the leak scan.

use std::collections::BTreeMap;

use super::plan::{Fate, Found, Leaf};
use super::schema::{ROOT, Schema};
use crate::pipeline::verify::Sum;
use crate::policy::path::push_step;

/// By path, with each the position of the table's column that it names or lies in; keys that no rule spells are stars in it.
#[derive(Default)]
pub(super) struct Unspelled {
    by_path: BTreeMap<String, Vec<(u32, String)>>,
    columns: usize,
}

impl Unspelled {
    pub(super) fn new(schema: &Schema, found: &Found, leaves: &[Leaf]) -> Unspelled {
        let mut goes_out = vec![false; schema.nodes.len()];
        for (id, _) in schema.leaves.iter().zip(leaves).filter(|(_, leaf)| !matches!(leaf.fate, Fate::Drop)) {
            let mut at = *id;
            while at != ROOT && !goes_out[at] {
                goes_out[at] = true;
                at = schema.nodes[at].parent;
            }
        }
        let mut unspelled = Unspelled { columns: leaves.len(), ..Unspelled::default() };
        let mut paths = vec![String::new()];
        for (id, node) in schema.nodes.iter().enumerate().skip(ROOT + 1) {
            let mut path = paths[node.parent].clone();
            match &node.key {
                Some(_) if !found.spelled[id] => path.push_str(if path.is_empty() { "*" } else { ".*" }),
                _ => push_step(&mut path, node.step(&node.normal_key())),
            }
            if let Some(name) = node.key.as_ref().filter(|_| goes_out[id] && !found.spelled[id]) {
                let position = schema.position(id) as u32;
                unspelled.by_path.entry(path.clone()).or_default().push((position, name.clone()));
            }
            paths.push(path);
        }
        unspelled
    }

    pub(super) fn see(&self, sum: &mut Sum) {
        for (index, (path, names)) in self.by_path.iter().enumerate() {
            sum.see_names(self.columns + index, path, names);
        }
    }
}
