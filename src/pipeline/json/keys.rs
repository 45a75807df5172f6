//! Keys for the leak scan: those that no rule spells may be values, and go out as they came.
//!
//! Each is noted as a cell of its record once in a file; where an output leaves out records, once in each of them. All
//! keys at one path make a column, whatever unspelled keys they lie below.

use std::collections::HashMap;

use ahash::RandomState;

use super::decision::Above;
use super::found::CellKind;
use super::lex::Text;
use super::tree::{Column, NodeId, ROOT, Tree};
use super::walk::Walk;
use crate::pipeline::verify::Watched;
use crate::policy::normalise;
use crate::policy::path::{Step, push_step};

/// Keys in wholes that are remembered; further ones are noted each time.
const REMEMBERED: usize = 1 << 16;

/// Where a key was noted last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Noted {
    /// Number of the record in the file, from 1.
    row: u64,
    stamp: u64,
    /// Bits of the outputs for which it was.
    outputs: u64,
}

impl Noted {
    /// The outputs for which it need not be noted again. What a walk over half a record has noted is forgotten.
    fn known(self, now: &Now) -> u64 {
        let is_here = self.stamp >= now.began;
        if is_here || !(now.each_record || self.row == now.row) { self.outputs } else { 0 }
    }
}

/// The walk that meets a key.
#[derive(Clone, Copy)]
struct Now {
    row: u64,
    began: u64,
    each_record: bool,
}

/// What was noted in a file.
#[derive(Default)]
pub(super) struct KeyColumns {
    /// By path and the outputs in which the keys go out.
    columns: HashMap<(String, u64), u32>,
    /// Keys in wholes that no output looks into, by column and digest.
    within: HashMap<(u32, u64), Noted>,
    digests: RandomState,
}

impl Tree<'_> {
    /// The path of a key, with a star for each that no rule spells.
    fn key_path(&self, id: NodeId) -> String {
        let node = &self.nodes[id];
        if id == ROOT {
            return String::new();
        }
        let mut path = self.key_path(node.parent);
        match &node.key {
            None => push_step(&mut path, Step::Element),
            Some(key) if node.spelled => push_step(&mut path, Step::Key(&normalise(key))),
            Some(_) => push_star(&mut path, "*"),
        }
        path
    }

    /// Bits of the outputs in which a whole here goes out as it is.
    fn kept_wholes(&self, id: NodeId) -> u64 {
        let node = &self.nodes[id];
        let here = node.above.iter().zip(&node.decisions);
        bits_of(here.map(|(above, decision)| above.and(decision.container) == Above::Kept))
    }

    /// The column of keys at a path that go out in these outputs.
    fn key_column(&mut self, path: String, node: NodeId, outputs: u64) -> u32 {
        let number = self.columns.len();
        let column = *self.keys.columns.entry((path.clone(), outputs)).or_insert(number as u32);
        if column as usize == number {
            let goes_out = |output: usize| outputs >> output & 1 == 1;
            let watched = (0..self.outputs()).map(|output| goes_out(output).then(|| Watched::of_keys(number, &path)));
            let (watched, masks) = (watched.collect(), (0..self.outputs()).map(|_| None).collect());
            let column = Column { id: column, node, path: None, keys: Some(path), masks, watched, is_masked: false };
            self.columns.push(column.into());
        }
        column
    }

    /// The column of the keys in a whole that no output looks into, and some keep.
    pub(super) fn keys_within(&mut self, id: NodeId) -> Option<u32> {
        if let Some(column) = self.nodes[id].keys_within {
            return column;
        }
        let outputs = self.kept_wholes(id) & self.scanned;
        let column = (outputs != 0).then(|| {
            let mut path = self.key_path(id);
            push_star(&mut path, "**");
            self.key_column(path, id, outputs)
        });
        self.nodes[id].keys_within = Some(column);
        column
    }
}

/// A word with a bit for each output.
pub(super) fn bits_of(outputs: impl Iterator<Item = bool>) -> u64 {
    (0..).zip(outputs).fold(0, |bits, (output, is_set)| bits | u64::from(is_set) << output)
}

fn push_star(path: &mut String, star: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(star);
}

impl Walk<'_, '_, '_> {
    fn now(&self) -> Now {
        let row = self.rows_before + u64::from(self.found.rows) + 1;
        Now { row, began: self.began, each_record: self.sifts }
    }

    /// Notes a key that `live` outputs pass on, beside those that keep a whole that it lies in.
    #[inline]
    pub(super) fn see_key(&mut self, id: NodeId, key: Text, live: u64) {
        let node = &self.tree.nodes[id];
        if node.spelled {
            return;
        }
        let (now, noted) = (self.now(), node.noted);
        let known = noted.known(&now);
        let new = (live | node.kept) & self.tree.scanned & !known;
        if new != 0 {
            self.note_key(id, key, known, new);
        }
    }

    fn note_key(&mut self, id: NodeId, key: Text, known: u64, new: u64) {
        let path = self.tree.key_path(id);
        let column = self.tree.key_column(path, id, new);
        let (row, stamp) = (self.now().row, self.tree.last_stamp());
        self.tree.nodes[id].noted = Noted { row, stamp, outputs: known | new };
        self.found.push(column, cell(key));
    }

    /// Notes a key in a whole.
    pub(super) fn see_key_within(&mut self, column: u32, key: Text) {
        let now = self.now();
        let raw = &self.data.bytes[key.start..key.end];
        let place = (column, self.tree.keys.digests.hash_one(raw));
        let stamp = self.tree.last_stamp();
        let within = &mut self.tree.keys.within;
        if within.get(&place).is_some_and(|noted| noted.known(&now) != 0) {
            return;
        }
        if within.len() < REMEMBERED || within.contains_key(&place) {
            within.insert(place, Noted { row: now.row, stamp, outputs: 1 });
        }
        self.found.push(column, cell(key));
    }
}

fn cell(key: Text) -> (usize, usize, CellKind) {
    (key.start, key.end, if key.escaped { CellKind::EscapedText } else { CellKind::Text })
}
