//! The paths of a columnar file, from its schema.

use std::collections::HashSet;

use crate::pipeline::fault::of_file;
use crate::pipeline::{Fault, Limits};
use crate::policy::normalise;
use crate::policy::path::{Step, push_step};

pub(super) const ROOT: usize = 0;

/// Every column, nested or not, and what it is nested in; whatever holds another stands before it.
pub(super) struct Schema {
    pub nodes: Vec<Node>,
    /// Nodes of the columns, in the file's order.
    pub leaves: Vec<usize>,
    names: HashSet<(usize, String)>,
    limits: Limits,
}

pub(super) struct Node {
    pub parent: usize,
    /// As in the file; `None` for the elements of a list.
    pub key: Option<String>,
    /// Normalised, as rules spell it.
    pub path: String,
    pub is_leaf: bool,
    depth: usize,
}

impl Node {
    /// The step from the parent, given the key normalised.
    pub(super) fn step<'k>(&self, normal: &'k str) -> Step<'k> {
        if self.key.is_some() { Step::Key(normal) } else { Step::Element }
    }

    pub(super) fn normal_key(&self) -> String {
        self.key.as_deref().map(normalise).unwrap_or_default()
    }
}

impl Schema {
    pub(super) fn new(limits: Limits) -> Schema {
        let root = Node { parent: ROOT, key: None, path: String::new(), is_leaf: false, depth: 0 };
        Schema { nodes: vec![root], leaves: Vec::new(), names: HashSet::new(), limits }
    }

    /// Adds a named value within `parent`.
    ///
    /// # Errors
    ///
    /// A [`Fault`] for a blank or second name, and for nesting beyond the limits.
    pub(super) fn add_key(&mut self, parent: usize, key: &str, is_leaf: bool) -> Result<usize, Fault> {
        let normal = normalise(key);
        if normal.is_empty() {
            let advice = "Ask the sender to name every column.";
            return Err(of_file("blank_column", "a column of the file has no name", advice));
        }
        if !self.names.insert((parent, normal.clone())) {
            let advice = "Ask the sender to give every column its own name.";
            return Err(of_file("duplicate_column", "two columns of the file have the same name", advice));
        }
        self.add(parent, Some(key.to_owned()), Step::Key(&normal), is_leaf)
    }

    /// Adds what a list holds.
    pub(super) fn add_element(&mut self, parent: usize, is_leaf: bool) -> Result<usize, Fault> {
        self.add(parent, None, Step::Element, is_leaf)
    }

    /// The table's column that a node is or lies in.
    pub(super) fn column(&self, mut id: usize) -> usize {
        while self.nodes[id].parent != ROOT {
            id = self.nodes[id].parent;
        }
        id
    }

    /// Position of that column in the table, from 1.
    pub(super) fn position(&self, id: usize) -> usize {
        self.nodes[ROOT + 1..=id].iter().filter(|node| node.parent == ROOT).count()
    }

    fn add(&mut self, parent: usize, key: Option<String>, step: Step<'_>, is_leaf: bool) -> Result<usize, Fault> {
        let depth = self.nodes[parent].depth + 1;
        if depth > self.limits.max_depth {
            let sentence = format!("the file's columns are nested deeper than {}", self.limits.max_depth);
            return Err(of_file(
                "nested_too_deep",
                &sentence,
                "If the file is right, raise `max_depth` in the limits.",
            ));
        }
        if self.nodes.len() > self.limits.max_paths {
            let sentence = format!("the file has more than {} columns", self.limits.max_paths);
            return Err(of_file("too_many_paths", &sentence, "If the file is right, raise `max_paths` in the limits."));
        }
        let mut path = self.nodes[parent].path.clone();
        push_step(&mut path, step);
        let id = self.nodes.len();
        if is_leaf {
            self.leaves.push(id);
        }
        self.nodes.push(Node { parent, key, path, is_leaf, depth });
        Ok(id)
    }
}
