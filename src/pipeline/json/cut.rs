//! Cuts the input into blocks of whole records: one a line, or all in one array, or one alone.

use super::fault::{Broken, Kind};
use super::found::Found;
use super::lex::{Data, Stop, expected};
use super::sift::{Around, Sifter};
use super::splice::{Block, BlockColumn};
use super::tree::Tree;
use super::walk::{Ended, Walk};
use crate::pipeline::source::Source;
use crate::pipeline::{Failure, Format};

const BLOCK: usize = 1 << 20;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Where the reading stands between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    Start,
    /// One after the other, without an array around them.
    Sequence,
    /// In the array, before its first element or its end.
    ArrayBegun,
    /// In the array, before an element.
    Element,
    /// In the array, behind an element.
    Comma,
    /// Behind the array.
    Done,
}

pub(super) struct Cutter<'a, 'k> {
    pub source: Source<'a>,
    pub tree: Tree<'k>,
    pub max_record_bytes: u64,
    pub max_depth: usize,
    /// Accepted formats; empty: both.
    pub accept: Vec<Format>,
    pub rows: u64,
    /// Where an output leaves out records.
    pub sifter: Option<Sifter<'k>>,
    between: Between,
    /// Empty, with room for what the next block will hold.
    found: Found,
    /// Bytes read and not yet handed out.
    buffer: Vec<u8>,
    /// Offset of `buffer` in the input.
    base: u64,
    /// A fault behind the block handed out last.
    failed: Option<Failure>,
}

impl<'a, 'k> Cutter<'a, 'k> {
    pub(super) fn new(source: Source<'a>, tree: Tree<'k>, max_record_bytes: u64, max_depth: usize) -> Cutter<'a, 'k> {
        let found = Found::new(tree.outputs());
        Cutter {
            source,
            tree,
            max_record_bytes,
            max_depth,
            accept: Vec::new(),
            rows: 0,
            sifter: None,
            between: Between::Start,
            found,
            buffer: Vec::new(),
            base: 0,
            failed: None,
        }
    }

    /// The format that the file turned out to be.
    pub(super) fn format(&self, named_lines: bool) -> Format {
        let lines = self.between == Between::Sequence && (self.rows > 1 || named_lines);
        if lines { Format::Ndjson } else { Format::Json }
    }

    pub(super) fn next(&mut self) -> Result<Option<Block>, Failure> {
        if let Some(failure) = self.failed.take() {
            return Err(failure);
        }
        let mut size = BLOCK;
        loop {
            self.source.fill(&mut self.buffer, size)?;
            if self.buffer.is_empty() && self.source.eof {
                return self.end().map(|()| None);
            }
            let (sound, invalid) = sound(&self.buffer, self.source.eof);
            let eof = self.source.eof && invalid.is_none();
            let (before, is_sifted) = (self.between, self.sifter.is_some());
            let (end, found, failure) = self.scan(sound, eof);
            let invalid = invalid.map(|at| self.reject(Kind::InvalidUtf8, at, u64::from(found.rows) + 1));
            let failure = failure.or(invalid);
            let is_gap = end >= BLOCK / 2 && !is_sifted;
            if found.rows > 0 || (end > 0 && (failure.is_some() || self.source.eof || is_gap)) {
                self.failed = failure;
                return self.hand_out(end, found).map(Some);
            }
            self.between = before;
            if let Some(failure) = failure {
                return Err(failure);
            }
            let limit = self.max_record_bytes;
            if (self.buffer.len() - end) as u64 > limit {
                return Err(self.reject(Kind::TooLong { limit }, end, 1));
            }
            size = (self.buffer.len() * 2).max(BLOCK).min(end + limit as usize + 1).max(self.buffer.len() + 1);
        }
    }

    fn reject(&self, kind: Kind, at: usize, row: u64) -> Failure {
        Failure::Reject(Broken { kind, at }.describe(self.rows + row, self.base))
    }

    /// The file's end, with nothing left to read.
    fn end(&self) -> Result<(), Failure> {
        match self.between {
            Between::Sequence | Between::Done => match self.tree.missing_pattern().filter(|_| self.rows > 0) {
                Some(fault) => Err(Failure::Reject(fault)),
                None => Ok(()),
            },
            Between::Start => Err(Failure::Reject(crate::pipeline::fault::of_file(
                "empty_file",
                "the file is empty: not even one record",
                "Ask the sender for the file.",
            ))),
            Between::ArrayBegun | Between::Element | Between::Comma => Err(self.reject(Kind::CutOff, 0, 1)),
        }
    }

    fn hand_out(&mut self, end: usize, found: Found) -> Result<Block, Failure> {
        let rest = self.buffer.split_off(end);
        let data = std::mem::replace(&mut self.buffer, rest);
        self.found = found.emptied();
        let Found { cells, edits, records, rows } = found;
        let mut places = vec![0; cells.len()];
        let mut columns = Vec::new();
        for (id, cells) in cells.into_iter().enumerate().filter(|(_, cells)| !cells.is_empty()) {
            let column = self.tree.columns[id].clone();
            places[id] = columns.len();
            let public_path = column.keys.clone().unwrap_or_else(|| self.tree.public_path(column.node));
            columns.push(BlockColumn { public_path, column, cells });
        }
        let (first_row, base) = (self.rows + 1, self.base);
        self.rows += u64::from(rows);
        self.base += end as u64;
        let left_out = vec![None; edits.len()];
        let mut block = Block { data: data.into(), columns, places, edits, left_out, first_row, base };
        if let Some(sifter) = &mut self.sifter {
            let around = Around { is_sequence: self.between == Between::Sequence, has_records: self.rows > 0 };
            sifter.sift(&mut block, &records, around)?;
        }
        Ok(block)
    }

    /// Walks over the whole records in the buffer's first bytes: where they end, and what is wrong behind them.
    fn scan(&mut self, sound: usize, eof: bool) -> (usize, Found, Option<Failure>) {
        let buffer = std::mem::take(&mut self.buffer);
        let data = Data { bytes: &buffer[..sound], eof };
        let mut found = std::mem::replace(&mut self.found, Found::new(self.tree.outputs()));
        let mut end = 0;
        // What follows a record goes with the next one.
        let mut last = None;
        let failure = loop {
            let rows = found.rows;
            match self.step(data, end, &mut found) {
                Ok(Some(next)) => {
                    end = next;
                    if found.rows > rows {
                        last = Some((end, self.between));
                    }
                }
                Ok(None) | Err(StepEnd::More) => break None,
                Err(StepEnd::Failed(failure)) => break Some(failure),
            }
        };
        let is_end = eof && failure.is_none() && end == sound;
        if let (Some((behind, between)), Some(_), false) = (last, &self.sifter, is_end) {
            (end, self.between) = (behind, between);
        }
        self.buffer = buffer;
        (end, found, failure)
    }

    /// One record, or one step between two; `None` at the end of the data.
    fn step(&mut self, data: Data<'_>, from: usize, found: &mut Found) -> Result<Option<usize>, StepEnd> {
        let row = u64::from(found.rows) + 1;
        let mut at = from;
        if self.between == Between::Start && self.base == 0 && from == 0 && data.bytes.starts_with(BOM) {
            at = BOM.len();
        }
        at = data.skip_space(at);
        let Some(&byte) = data.bytes.get(at) else {
            return if at > from { Ok(Some(at)) } else { Ok(None) };
        };
        let fail = |this: &Self, kind, at| Err(StepEnd::Failed(this.reject(kind, at, row)));
        let syntax = |this: &Self, what| {
            let Stop::Broken(broken) = expected(what, at) else { unreachable!("made to be one") };
            fail(this, broken.kind, broken.at)
        };
        match (self.between, byte) {
            (Between::Start, b'[') if !self.accepts(Format::Json) => {
                fail(self, Kind::NotAccepted { found: "one JSON document" }, at)
            }
            (Between::Start, b'[') => {
                self.between = Between::ArrayBegun;
                Ok(Some(at + 1))
            }
            (Between::ArrayBegun | Between::Comma, b']') => {
                self.between = Between::Done;
                Ok(Some(at + 1))
            }
            (Between::Comma, b',') => {
                self.between = Between::Element;
                Ok(Some(at + 1))
            }
            (Between::Sequence, b'{') if self.rows + row > 1 && !self.accepts(Format::Ndjson) => {
                fail(self, Kind::NotAccepted { found: "more than one JSON document" }, at)
            }
            (Between::Start | Between::Sequence | Between::ArrayBegun | Between::Element, b'{') => {
                let end = self.record(data, at, row, found)?;
                self.between = match self.between {
                    Between::Start | Between::Sequence => Between::Sequence,
                    _ => Between::Comma,
                };
                Ok(Some(end))
            }
            (Between::Comma, _) => syntax(self, "a comma or the end of the array"),
            (Between::Done, _) => syntax(self, "the end of the file behind the array"),
            (_, b'"' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => fail(self, Kind::NotAnObject, at),
            _ => syntax(self, "an object"),
        }
    }

    fn accepts(&self, format: Format) -> bool {
        self.accept.is_empty() || self.accept.contains(&format)
    }

    fn record(&mut self, data: Data<'_>, at: usize, row: u64, found: &mut Found) -> Result<usize, StepEnd> {
        let max_depth = self.max_depth;
        let (rows_before, sifts) = (self.rows, self.sifter.is_some());
        let mut walk = Walk { tree: &mut self.tree, found, data, max_depth, rows_before, sifts, began: 0, blame: None };
        let limit = self.max_record_bytes;
        match walk.record(at) {
            Ok(Ended::Whole(end)) if (end - at) as u64 > limit => {
                Err(StepEnd::Failed(self.reject(Kind::TooLong { limit }, at, row)))
            }
            Ok(Ended::Whole(end)) => Ok(end),
            Ok(Ended::Blamed(blame)) => {
                let offset = self.base + blame.at as u64;
                let fault = self.tree.describe(blame.why, blame.output, blame.node, self.rows + row, offset);
                Err(StepEnd::Failed(Failure::Reject(fault)))
            }
            Err(Stop::More) => Err(StepEnd::More),
            Err(Stop::Broken(broken)) => {
                Err(StepEnd::Failed(Failure::Reject(broken.describe(self.rows + row, self.base))))
            }
        }
    }
}

enum StepEnd {
    More,
    Failed(Failure),
}

/// How many first bytes are UTF-8, and where they are not; a character that is still to be completed is neither.
fn sound(bytes: &[u8], eof: bool) -> (usize, Option<usize>) {
    match simdutf8::compat::from_utf8(bytes) {
        Ok(_) => (bytes.len(), None),
        Err(error) if error.error_len().is_none() && !eof => (error.valid_up_to(), None),
        Err(error) => (error.valid_up_to(), Some(error.valid_up_to())),
    }
}
