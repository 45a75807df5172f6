//! Walks over one record: checks it whole, and notes for every output what to put in place of what.
//!
//! Nothing is decoded or copied here except keys that are met for the first time or spelled with escapes.

use super::decision::Act;
use super::fault::{Broken, Kind, Why};
use super::found::{CellKind, Edit, Found};
use super::lex::{Data, Stop, Text, expected, unescape};
use super::pass::{Met, Pass};
use super::sift::Record;
use super::tree::{NodeId, ROOT, Sole, Tree};

/// Most outputs of one reading; they are the bits of a word.
pub(super) const MAX_OUTPUTS: usize = 64;

/// What a policy holds against a value: why, which output's, where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blame {
    pub why: Why,
    pub output: usize,
    pub node: NodeId,
    pub at: usize,
}

/// How a record ended.
pub(super) enum Ended {
    /// Behind its last byte.
    Whole(usize),
    Blamed(Blame),
}

/// One walk.
pub(super) struct Walk<'w, 'k, 'd> {
    pub tree: &'w mut Tree<'k>,
    pub found: &'w mut Found,
    pub data: Data<'d>,
    pub max_depth: usize,
    /// Records in earlier blocks.
    pub rows_before: u64,
    /// Some output leaves out records.
    pub sifts: bool,
    /// Stamp under which the record's walk began.
    pub began: u64,
    pub blame: Option<Blame>,
}

/// Members of one object or elements of one array, as far as they were walked.
struct Members {
    /// Outputs that have kept one.
    kept: u64,
    /// Outputs that removed the last one without having kept any before: the comma behind it goes, too.
    pending: u64,
    pending_start: usize,
    previous_end: usize,
}

fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (word != 0).then(|| {
            let bit = word.trailing_zeros() as usize;
            word &= word - 1;
            bit
        })
    })
}

fn broken(kind: Kind, at: usize) -> Stop {
    Stop::Broken(Broken { kind, at })
}

impl Walk<'_, '_, '_> {
    /// Walks over the record whose opening brace stands at `at`.
    ///
    /// A policy's reproach goes before what is malformed behind it.
    pub(super) fn record(&mut self, at: usize) -> Result<Ended, Stop> {
        (self.blame, self.began) = (None, self.tree.stamp());
        let all = u64::MAX >> (MAX_OUTPUTS - self.tree.outputs());
        let walked = self.object(ROOT, at, 1, all);
        match (walked, self.blame) {
            (Err(Stop::More), _) => {
                self.found.forget(at);
                Err(Stop::More)
            }
            (_, Some(blame)) => {
                self.found.forget(at);
                Ok(Ended::Blamed(blame))
            }
            (Err(stop), None) => {
                self.found.forget(at);
                Err(stop)
            }
            (Ok(end), None) => {
                self.found.rows += 1;
                self.found.records.push(Record { start: at as u32, end: end as u32 });
                Ok(Ended::Whole(end))
            }
        }
    }

    /// The end of a value, and the outputs that drop it.
    fn value(&mut self, node: NodeId, at: usize, depth: usize, live: u64) -> Result<(usize, u64), Stop> {
        let first = self.data.byte(at)?;
        if first == b'"' {
            let Text { start, end, escaped } = self.data.string(at)?;
            let kind = if escaped { CellKind::EscapedText } else { CellKind::Text };
            return Ok((end + 1, self.scalar(node, at, Some((start, end, kind)), live)));
        }
        let (end, cell) = match first {
            b'{' | b'[' => return self.container(node, at, depth, live),
            b'-' | b'0'..=b'9' => {
                let end = self.data.number(at)?;
                (end, Some((at, end, CellKind::Number)))
            }
            b't' => (self.data.word(at, "true")?, Some((at, at + 4, CellKind::Word))),
            b'f' => (self.data.word(at, "false")?, Some((at, at + 5, CellKind::Word))),
            b'n' => (self.data.word(at, "null")?, None),
            _ => return Err(expected("a value", at)),
        };
        Ok((end, self.scalar(node, at, cell, live)))
    }

    #[inline]
    fn scalar(&mut self, id: NodeId, at: usize, cell: Option<(usize, usize, CellKind)>, live: u64) -> u64 {
        let node = &mut self.tree.nodes[id];
        node.is_leaf = true;
        match (node.sole, cell) {
            (Some(Sole::Keep(None)), _) => {}
            // Another column's mask sees null as empty, and tells it from no value at all.
            (Some(Sole::Mask(_)), None) if !node.looked_at => {}
            (Some(Sole::Keep(Some(column)) | Sole::Mask(column)), None) => {
                self.found.push(column, (at, at, CellKind::Text));
            }
            (Some(Sole::Keep(Some(column))), Some(cell)) => {
                self.found.push(column, cell);
            }
            (Some(Sole::Mask(column)), Some(cell)) => {
                let index = self.found.push(column, cell);
                self.found.edits[0].push(Edit::Cell { column, index });
            }
            (None, _) => return self.scalar_by_output(id, at, cell, live),
        }
        0
    }

    fn scalar_by_output(&mut self, id: NodeId, at: usize, cell: Option<(usize, usize, CellKind)>, live: u64) -> u64 {
        let mut dropped = 0;
        let node = &self.tree.nodes[id];
        let seen = cell.unwrap_or((at, at, CellKind::Text));
        let mut index = node.column.filter(|_| node.looked_at).map(|column| self.found.push(column, seen));
        for output in bits(live) {
            let decision = &node.decisions[output];
            match (decision.scalar, cell) {
                (Act::Keep | Act::Enter | Act::Whole(_), _) | (Act::Mask, None) => {}
                (Act::Drop, _) => dropped |= 1 << output,
                (Act::Mask, Some(cell)) => {
                    let column = node.column.expect("what is masked has a column");
                    let index = *index.get_or_insert_with(|| self.found.push(column, cell));
                    self.found.edits[output].push(Edit::Cell { column, index });
                }
                // Nothing where a rule's value lies deeper is nothing that could be unlisted.
                (Act::Refuse(Why::Unlisted), None) if decision.empty == Act::Keep => {}
                (Act::Refuse(why), _) => note(&mut self.blame, why, output, id, at),
            }
            if decision.wanted > 0
                && let Some(pattern) = self.tree.missing(output, id, u64::MAX)
            {
                note(&mut self.blame, Why::Missing(pattern), output, id, at);
            }
        }
        dropped
    }

    fn container(&mut self, id: NodeId, at: usize, depth: usize, live: u64) -> Result<(usize, u64), Stop> {
        let (mut entering, mut dropped, mut replaced) = (0, 0, 0);
        for output in bits(live) {
            match self.tree.nodes[id].decisions[output].container {
                Act::Enter => entering |= 1 << output,
                Act::Drop => dropped |= 1 << output,
                Act::Whole(_) => replaced |= 1 << output,
                Act::Keep | Act::Mask => {}
                Act::Refuse(why) => note(&mut self.blame, why, output, id, at),
            }
        }
        if entering != live {
            self.tree.nodes[id].is_leaf = true;
        }
        let end = match (entering, self.data.bytes[at]) {
            (0, _) => self.pass(id, at, depth)?,
            (_, b'{') => self.object(id, at, depth, entering)?,
            _ => self.array(id, at, depth, entering)?,
        };
        for output in bits(replaced) {
            if let Act::Whole(instead) = self.tree.nodes[id].decisions[output].container {
                self.found.edits[output].push(Edit::Whole { start: at as u32, end: end as u32, instead });
            }
        }
        Ok((end, dropped))
    }

    /// Passes over a whole that no output looks into; the leak scan sees its single values.
    fn pass(&mut self, id: NodeId, at: usize, depth: usize) -> Result<usize, Stop> {
        let pass = Pass { data: self.data, max_depth: self.max_depth };
        if !self.tree.scans {
            return pass.value(at, depth, &mut |_| {});
        }
        let (column, keys) = (self.tree.inside(id), self.tree.keys_within(id));
        pass.value(at, depth, &mut |met| match (met, keys) {
            (Met::Value(cell), _) => {
                self.found.push(column, cell);
            }
            (Met::Key(key), Some(keys)) => self.see_key_within(keys, key),
            (Met::Key(_), None) => {}
        })
    }

    fn object(&mut self, id: NodeId, at: usize, depth: usize, live: u64) -> Result<usize, Stop> {
        self.check_depth(depth, at)?;
        let stamp = self.tree.stamp();
        let mut members = Members { kept: 0, pending: 0, pending_start: 0, previous_end: at + 1 };
        let mut fulfilled = 0;
        let mut hint = 0;
        let mut next = self.data.skip_space(at + 1);
        if self.data.byte(next)? == b'}' {
            self.empty(id, at, live);
            self.check_wanted(id, at, stamp, live, 0);
            return Ok(next + 1);
        }
        loop {
            let start = next;
            self.settle(&mut members, start);
            if self.data.byte(start)? != b'"' {
                return Err(expected("a key in quotes", start));
            }
            let (key, child) = self.key(id, start, &mut hint)?;
            if std::mem::replace(&mut self.tree.nodes[child].stamp, stamp) == stamp {
                return Err(broken(Kind::DuplicateKey, start));
            }
            if self.tree.nodes[id].wants {
                fulfilled += bits(live).map(|it| self.tree.nodes[child].decisions[it].fulfils).sum::<u32>();
            }
            let colon = self.data.skip_space(key.end + 1);
            if self.data.byte(colon)? != b':' {
                return Err(expected("a colon behind a key", colon));
            }
            let value = self.data.skip_space(colon + 1);
            let (end, dropped) = self.value(child, value, depth + 1, live)?;
            self.see_key(child, key, live & !dropped);
            self.member(&mut members, start, end, live, dropped);
            next = self.data.skip_space(end);
            match self.data.byte(next)? {
                b',' => next = self.data.skip_space(next + 1),
                b'}' => break,
                _ => return Err(expected("a comma or the end of an object", next)),
            }
        }
        let end = members.previous_end;
        self.settle(&mut members, end);
        self.check_wanted(id, at, stamp, live, fulfilled);
        Ok(next + 1)
    }

    /// The key whose opening quote stands at `at`, and the node below `id` that it leads to.
    #[inline]
    fn key(&mut self, id: NodeId, at: usize, hint: &mut usize) -> Result<(Text, NodeId), Stop> {
        let bytes = self.data.bytes;
        if let Some((length, child)) = self.tree.next_child(id, bytes, at + 1, hint) {
            return Ok((Text { start: at + 1, end: at + 1 + length, escaped: false }, child));
        }
        let key = self.data.string(at)?;
        let raw = &bytes[key.start..key.end];
        let mut plain = Vec::new();
        if key.escaped {
            unescape(raw, &mut plain).ok_or_else(|| broken(Kind::BadKey, key.start))?;
        }
        let child = self.tree.child(id, if key.escaped { &plain } else { raw }, hint);
        child.map(|child| (key, child)).map_err(|kind| broken(kind, key.start))
    }

    fn array(&mut self, id: NodeId, at: usize, depth: usize, live: u64) -> Result<usize, Stop> {
        self.check_depth(depth, at)?;
        for output in bits(live) {
            if let Some(pattern) = self.tree.nodes[id].decisions[output].wanted_key {
                note(&mut self.blame, Why::Missing(pattern), output, id, at);
            }
        }
        let mut next = self.data.skip_space(at + 1);
        if self.data.byte(next)? == b']' {
            self.empty(id, at, live);
            return Ok(next + 1);
        }
        let element = self.tree.element(id).map_err(|kind| broken(kind, next))?;
        let mut members = Members { kept: 0, pending: 0, pending_start: 0, previous_end: at + 1 };
        loop {
            let start = next;
            self.settle(&mut members, start);
            let (end, dropped) = self.value(element, start, depth + 1, live)?;
            self.member(&mut members, start, end, live, dropped);
            next = self.data.skip_space(end);
            match self.data.byte(next)? {
                b',' => next = self.data.skip_space(next + 1),
                b']' => break,
                _ => return Err(expected("a comma or the end of an array", next)),
            }
        }
        let end = members.previous_end;
        self.settle(&mut members, end);
        Ok(next + 1)
    }

    fn check_depth(&self, depth: usize, at: usize) -> Result<(), Stop> {
        if depth > self.max_depth { Err(broken(Kind::TooDeep { limit: self.max_depth }, at)) } else { Ok(()) }
    }

    /// Ends what a removed first member leaves behind, up to where the next one begins or the last one ended.
    fn settle(&mut self, members: &mut Members, end: usize) {
        for output in bits(std::mem::take(&mut members.pending)) {
            self.found.edits[output].push(Edit::Remove { start: members.pending_start as u32, end: end as u32 });
        }
    }

    /// Notes that a member ended, and removes it with the comma before it where it is dropped.
    fn member(&mut self, members: &mut Members, start: usize, end: usize, live: u64, dropped: u64) {
        for output in bits(dropped & members.kept) {
            let start = members.previous_end as u32;
            self.found.edits[output].push(Edit::Remove { start, end: end as u32 });
        }
        members.pending = dropped & !members.kept;
        members.pending_start = start;
        members.kept |= live & !dropped;
        members.previous_end = end;
    }

    fn empty(&mut self, id: NodeId, at: usize, live: u64) {
        for output in bits(live) {
            if let Act::Refuse(why) = self.tree.nodes[id].decisions[output].empty {
                note(&mut self.blame, why, output, id, at);
            }
        }
    }

    /// Finds out whether each literal rule has its value in an object.
    fn check_wanted(&mut self, id: NodeId, at: usize, stamp: u64, live: u64, fulfilled: u32) {
        if !self.tree.nodes[id].wants {
            return;
        }
        let wanted: u32 = bits(live).map(|output| self.tree.nodes[id].decisions[output].wanted).sum();
        // One of two keys of a name may stand for another that is missing.
        if fulfilled == wanted && !self.tree.nodes[id].has_twins {
            return;
        }
        for output in bits(live) {
            match self.tree.missing(output, id, stamp) {
                Some(pattern) => note(&mut self.blame, Why::Missing(pattern), output, id, at),
                None if fulfilled > wanted => note(&mut self.blame, Why::SameRule, output, id, at),
                None => {}
            }
        }
    }
}

/// The first reproach by position is kept.
fn note(blame: &mut Option<Blame>, why: Why, output: usize, node: NodeId, at: usize) {
    if blame.is_none_or(|blame| at < blame.at) {
        *blame = Some(Blame { why, output, node, at });
    }
}
