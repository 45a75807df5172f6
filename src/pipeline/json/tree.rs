//! The paths of a file, found as it is read, and what every output's policy does with each.
//!
//! The scanning thread owns the tree. Its size is bounded, and so is what its keys take.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::decision::{Above, Act, Decision, OutputRules, decide, decide_root};
use super::fault::Kind;
use super::keys::{KeyColumns, Noted, bits_of};
use super::lex::plain_end;
use crate::keys::MaskingKeys;
use crate::mask::{Mask, OnMistyped, Prepared};
use crate::pipeline::verify::Watched;
use crate::policy::path::{Matches, PathRules, Step, canonical, push_step};
use crate::policy::{Policy, normalise};

mod report;

/// Keys of one object that are looked through in order; beyond them a map is kept.
const FEW: usize = 16;
/// Most bytes that the keys of all paths may take.
const MAX_KEY_BYTES: usize = 8 << 20;

pub(super) type NodeId = usize;
pub(super) const ROOT: NodeId = 0;

/// One path.
pub(super) struct Node {
    pub parent: NodeId,
    /// As in the file, escapes decoded; `None` for the elements of an array.
    pub key: Option<String>,
    /// Normalised, as rules spell it.
    path: String,
    pub decisions: Vec<Decision>,
    /// What is done with single values, where there is one output and nothing more to it.
    pub sole: Option<Sole>,
    pub column: Option<u32>,
    /// Masks of other paths or the leak scan look at the values here.
    pub looked_at: bool,
    /// By output: what has become of a whole that this lies in.
    pub above: Vec<Above>,
    /// Column of what lies in wholes here that no output looks into, for the leak scan.
    inside: Option<u32>,
    /// The object in which the key was met last.
    pub stamp: u64,
    /// A single value, or a whole that was decided upon, was met here.
    pub is_leaf: bool,
    /// A rule spells this very key.
    pub spelled: bool,
    /// Bits of the outputs that keep a whole that this lies in.
    pub kept: u64,
    /// Where the leak scan has met the key.
    pub noted: Noted,
    /// Column of the keys in wholes here that no output looks into; looked for once.
    pub keys_within: Option<Option<u32>>,
    /// A rule spells this very key, or claims it because of what it is.
    known: bool,
    /// Children that are known.
    known_children: u32,
    children: Vec<Child>,
    /// Places in `children`.
    by_key: Option<HashMap<Box<[u8]>, usize>>,
    element: Option<NodeId>,
    /// Some output wants values below.
    pub wants: bool,
    /// Rules call several keys below by one name.
    pub has_twins: bool,
}

struct Child {
    key: Box<[u8]>,
    /// The key and the quote behind it, and which bytes they take; none where they are too long, or the key needs escapes.
    word: u128,
    word_mask: u128,
    id: NodeId,
}

impl Child {
    fn new(key: &[u8], id: NodeId) -> Child {
        let mut word = [0; 16];
        let is_short = key.len() < word.len() && plain_end(key, 0) == key.len();
        if is_short {
            word[..key.len()].copy_from_slice(key);
            word[key.len()] = b'"';
        }
        let word_mask = if is_short { u128::MAX >> (8 * (word.len() - 1 - key.len())) } else { 0 };
        Child { key: key.into(), word: u128::from_le_bytes(word), word_mask, id }
    }
}

/// What the only output does with single values.
#[derive(Clone, Copy)]
pub(super) enum Sole {
    /// Keeps them; those who look at them do so in this column.
    Keep(Option<u32>),
    /// Masks them in this column.
    Mask(u32),
}

/// What is done at one path, for the masking threads.
pub(super) struct Column {
    pub id: u32,
    pub node: NodeId,
    /// Normalised, as rules spell it; absent for what lies inside of values, and for keys.
    pub path: Option<String>,
    /// Where these are keys, what they are called together.
    pub keys: Option<String>,
    /// One for each output that masks here.
    pub masks: Vec<Option<CellMask>>,
    /// One for each output that the leak scan looks at.
    pub watched: Vec<Option<Arc<Watched>>>,
    /// A mask looks at the values here: every text must be whole characters.
    pub is_masked: bool,
}

pub(super) struct CellMask {
    pub prepared: Prepared,
    pub mistyped: OnMistyped,
    /// A number stays one.
    pub yields_number: bool,
    /// Path of the value in the same record that the mask looks at.
    pub beside: Option<String>,
}

pub(super) struct Tree<'k> {
    pub nodes: Vec<Node>,
    pub columns: Vec<Arc<Column>>,
    /// Some output is looked at by the leak scan; bits of those that are.
    pub scans: bool,
    pub scanned: u64,
    /// Keys that it has met.
    pub keys: KeyColumns,
    outputs: Vec<OutputRules>,
    masking_keys: &'k MaskingKeys,
    key_bytes: usize,
    max_paths: usize,
    next_stamp: u64,
}

impl<'k> Tree<'k> {
    pub(super) fn new(policies: Vec<Policy>, keys: &'k MaskingKeys, max_paths: usize) -> Result<Tree<'k>, String> {
        let mut outputs = Vec::with_capacity(policies.len());
        for policy in policies {
            let rules = PathRules::new(&policy)?;
            let beside = policy.columns.iter().filter_map(|rule| rule.mask.beside()).chain(policy.row_columns());
            let looked_at = beside.filter_map(canonical).collect();
            outputs.push(OutputRules { matched: vec![false; rules.len()], policy, rules, looked_at });
        }
        let decisions = outputs.iter().map(|output| decide_root(&output.rules)).collect();
        let above = vec![Above::Entered; outputs.len()];
        let scanned = bits_of(outputs.iter().map(OutputRules::is_scanned));
        let (nodes, columns) = (Vec::new(), Vec::new());
        let mut tree = Tree {
            nodes,
            columns,
            scans: scanned != 0,
            scanned,
            keys: KeyColumns::default(),
            outputs,
            masking_keys: keys,
            key_bytes: 0,
            max_paths,
            next_stamp: 0,
        };
        tree.add(Node { above, ..Node::new(ROOT, None, String::new(), decisions, false) });
        Ok(tree)
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// A number for one object of the file.
    pub(super) fn stamp(&mut self) -> u64 {
        self.next_stamp += 1;
        self.next_stamp
    }

    pub(super) fn last_stamp(&self) -> u64 {
        self.next_stamp
    }

    /// Length of the key of `parent` that is expected next, and its node, if that key stands at `at`.
    #[inline]
    pub(super) fn next_child(
        &self,
        parent: NodeId,
        bytes: &[u8],
        at: usize,
        hint: &mut usize,
    ) -> Option<(usize, NodeId)> {
        let child = self.nodes[parent].children.get(*hint)?;
        let text = bytes.get(at..)?.first_chunk()?;
        let is_it = child.word_mask != 0 && u128::from_le_bytes(*text) & child.word_mask == child.word;
        is_it.then(|| {
            *hint += 1;
            (child.key.len(), child.id)
        })
    }

    /// The child of `parent` under a key without escapes; `hint` is where the next one is expected.
    pub(super) fn child(&mut self, parent: NodeId, key: &[u8], hint: &mut usize) -> Result<NodeId, Kind> {
        let node = &self.nodes[parent];
        let next = node.children.get(*hint).is_some_and(|child| *child.key == *key).then_some(*hint);
        let place = next.or_else(|| match &node.by_key {
            Some(places) => places.get(key).copied(),
            None => node.children.iter().position(|child| *child.key == *key),
        });
        if let Some(place) = place {
            *hint = place + 1;
            return Ok(node.children[place].id);
        }
        let text = std::str::from_utf8(key).map_err(|_| Kind::InvalidUtf8)?;
        let id = self.grow(parent, Some(text))?;
        let node = &mut self.nodes[parent];
        if let Some(places) = &mut node.by_key {
            places.insert(key.into(), node.children.len());
        }
        node.children.push(Child::new(key, id));
        *hint = node.children.len();
        if node.by_key.is_none() && node.children.len() > FEW {
            let places = node.children.iter().enumerate().map(|(place, child)| (child.key.clone(), place));
            node.by_key = Some(places.collect());
        }
        Ok(id)
    }

    /// The node of an array's elements.
    pub(super) fn element(&mut self, parent: NodeId) -> Result<NodeId, Kind> {
        if let Some(element) = self.nodes[parent].element {
            return Ok(element);
        }
        let element = self.grow(parent, None)?;
        self.nodes[parent].element = Some(element);
        Ok(element)
    }

    fn grow(&mut self, parent: NodeId, key: Option<&str>) -> Result<NodeId, Kind> {
        let normal = key.map(normalise);
        let step = normal.as_deref().map_or(Step::Element, Step::Key);
        let mut path = self.nodes[parent].path.clone();
        push_step(&mut path, step);
        self.key_bytes += path.len() + key.map_or(0, str::len);
        if self.nodes.len() > self.max_paths || self.key_bytes > MAX_KEY_BYTES {
            return Err(Kind::TooManyPaths { limit: self.max_paths });
        }
        let (mut decisions, mut spelled) = (Vec::with_capacity(self.outputs.len()), false);
        for (index, output) in self.outputs.iter_mut().enumerate() {
            let (matches, here) = output.rules.step(&self.nodes[parent].decisions[index].matches, step);
            spelled |= here;
            decisions.push(decide(output, matches, &path));
        }
        let above = self.nodes[parent].above.iter().zip(&self.nodes[parent].decisions);
        let above: Vec<Above> = above.map(|(above, decision)| above.and(decision.container)).collect();
        let kept = bits_of(above.iter().map(|above| *above == Above::Kept));
        let node = Node { above, kept, ..Node::new(parent, key.map(str::to_owned), path, decisions, spelled) };
        let is_wanted = node.decisions.iter().any(|decision| decision.fulfils > 0);
        let parent = &self.nodes[parent];
        let has_twin = is_wanted && parent.children.iter().any(|child| self.nodes[child.id].path == node.path);
        let parent = &mut self.nodes[node.parent];
        parent.has_twins |= has_twin;
        parent.known_children += u32::from(node.known);
        Ok(self.add(node))
    }

    fn add(&mut self, mut node: Node) -> NodeId {
        let id = self.nodes.len();
        let by_masks = self.outputs.iter().any(|output| output.looked_at.contains(&node.path));
        node.looked_at = by_masks || self.scans;
        if node.looked_at || node.decisions.iter().any(|decision| decision.scalar == Act::Mask) {
            let column = self.column(&node, id, by_masks);
            node.column = Some(column.id);
            self.columns.push(Arc::new(column));
        }
        node.sole = match &node.decisions[..] {
            [decision] if decision.wanted == 0 => match (decision.scalar, node.column) {
                (Act::Keep, column) => Some(Sole::Keep(column)),
                (Act::Mask, Some(column)) => Some(Sole::Mask(column)),
                _ => None,
            },
            _ => None,
        };
        self.nodes.push(node);
        id
    }

    fn column(&self, node: &Node, id: NodeId, by_masks: bool) -> Column {
        let (number, here) = (self.columns.len(), || node.decisions.iter().zip(&self.outputs));
        let masks: Vec<Option<CellMask>> =
            here().map(|(decision, output)| self.cell_mask(decision, output, &node.path)).collect();
        let watched = here().zip(&node.above).map(|((decision, output), above)| {
            let mask = match above {
                Above::Kept => Cow::Owned(Mask::Keep),
                Above::Gone => Cow::Owned(Mask::Drop),
                Above::Entered => output.mask(decision),
            };
            output.is_scanned().then(|| Watched::new(number, &node.path, &mask))
        });
        let watched = watched.collect();
        let is_masked = by_masks || masks.iter().any(Option::is_some);
        let path = Some(node.path.clone());
        Column { id: number as u32, node: id, path, keys: None, masks, watched, is_masked }
    }

    /// The column of what lies in a whole that no output looks into.
    pub(super) fn inside(&mut self, id: NodeId) -> u32 {
        let node = &self.nodes[id];
        if let Some(column) = node.inside {
            return column;
        }
        let number = self.columns.len();
        let here = node.above.iter().zip(&node.decisions).zip(&self.outputs);
        let watched = here.map(|((above, decision), output)| {
            let mask = if above.and(decision.container) == Above::Kept { Mask::Keep } else { Mask::Drop };
            output.is_scanned().then(|| Watched::new(number, &node.path, &mask))
        });
        let (watched, masks) = (watched.collect(), self.outputs.iter().map(|_| None).collect());
        // No mask may take these for values of the path itself.
        let column = Column { id: number as u32, node: id, path: None, keys: None, masks, watched, is_masked: false };
        self.nodes[id].inside = Some(column.id);
        self.columns.push(Arc::new(column));
        number as u32
    }

    fn cell_mask(&self, decision: &Decision, output: &OutputRules, path: &str) -> Option<CellMask> {
        if decision.scalar != Act::Mask {
            return None;
        }
        let rule = decision.rule.map(|rule| &output.policy.columns[rule]);
        let mask = output.mask(decision);
        let mistyped = rule.and_then(|rule| rule.mistyped).unwrap_or(output.policy.mistyped);
        let beside = mask.beside().and_then(canonical);
        Some(CellMask {
            prepared: mask.prepare(path, self.masking_keys),
            mistyped,
            yields_number: mask.yields_number(),
            beside,
        })
    }

    /// The literal rule of an output that finds no value in the object with this stamp.
    pub(super) fn missing(&self, output: usize, node: NodeId, stamp: u64) -> Option<usize> {
        let children = &self.nodes[node].children;
        let rules = &self.outputs[output].rules;
        let there = children.iter().map(|child| &self.nodes[child.id]).filter(|child| child.stamp == stamp);
        let there: Vec<&Matches> = there.map(|child| &child.decisions[output].matches).collect();
        let mut wanted = rules.wanted(&self.nodes[node].decisions[output].matches);
        wanted
            .find(|(pattern, is_key)| !is_key || !there.iter().any(|matches| matches.has(*pattern)))
            .map(|(pattern, _)| pattern)
    }

    /// A path as rules spell it.
    pub(super) fn path(&self, id: NodeId) -> &str {
        &self.nodes[id].path
    }

    /// The paths below which nothing was met, in the order in which they were met, and those of which `has_values` is true.
    pub(super) fn ends(&self, has_values: impl Fn(NodeId) -> bool) -> impl Iterator<Item = (NodeId, &str)> {
        let nodes = self.nodes.iter().enumerate().skip(ROOT + 1);
        nodes
            .filter(move |(id, node)| (node.children.is_empty() && node.element.is_none()) || has_values(*id))
            .map(|(id, node)| (id, node.path.as_str()))
    }
}

impl Node {
    fn new(parent: NodeId, key: Option<String>, path: String, decisions: Vec<Decision>, spelled: bool) -> Node {
        Node {
            parent,
            key,
            path,
            has_twins: false,
            wants: decisions.iter().any(|decision| decision.wanted > 0),
            known: spelled || decisions.iter().any(|decision| decision.knows_key),
            decisions,
            sole: None,
            column: None,
            looked_at: false,
            above: Vec::new(),
            inside: None,
            stamp: 0,
            is_leaf: false,
            spelled,
            kept: 0,
            noted: Noted::default(),
            keys_within: None,
            known_children: 0,
            children: Vec::new(),
            by_key: None,
            element: None,
        }
    }
}
