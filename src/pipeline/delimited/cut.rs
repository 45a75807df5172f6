//! Cuts the input into blocks of whole records.

use super::block::Block;
use super::fault::{Broken, Kind};
use super::preface::comments_end;
use super::scan::{Scanned, Scanner};
use crate::pipeline::Failure;
use crate::pipeline::source::Source;

/// Size of a block in bytes, unless a record is longer.
pub(super) const BLOCK: usize = 1 << 20;

/// Cuts the input into blocks of whole records.
pub(super) struct Cutter<'a> {
    pub source: Source<'a>,
    pub scanner: Scanner,
    /// Public column names, for faults.
    pub names: Vec<String>,
    /// Bytes read and not yet handed out.
    pub buffer: Vec<u8>,
    /// Offset of `buffer` in the file.
    pub base: u64,
    pub block_bytes: usize,
    pub rows: u64,
    /// A fault behind the block handed out last.
    pub failed: Option<Failure>,
    /// Comment lines are handed out instead of passed over.
    pub keep_comments: bool,
}

impl Cutter<'_> {
    pub(super) fn next(&mut self) -> Result<Option<Block>, Failure> {
        if let Some(failure) = self.failed.take() {
            return Err(failure);
        }
        let mut size = self.block_bytes;
        loop {
            self.source.fill(&mut self.buffer, size)?;
            let eof = self.source.eof;
            match comments_end(&self.buffer, 0, eof, self.scanner.comment) {
                Some(0) if self.buffer.is_empty() => return Ok(None),
                Some(0) => {}
                Some(end) if self.keep_comments => {
                    self.check_text(end)?;
                    return Ok(Some(self.hand_out(Scanned { end, ..Scanned::default() })));
                }
                Some(end) => {
                    self.check_text(end)?;
                    self.buffer.drain(..end);
                    self.base += end as u64;
                    continue;
                }
                None if self.buffer.len() as u64 <= self.scanner.max_record_bytes => {
                    size = self.buffer.len() * 2;
                    continue;
                }
                None => return Err(self.too_long()),
            }
            let scanned = self.scanner.scan(&self.buffer, self.source.eof);
            let failure = scanned
                .broken
                .map(|broken| Failure::Reject(broken.describe(self.rows + scanned.rows + 1, self.base, &self.names)));
            if scanned.rows > 0 {
                self.failed = failure;
                return Ok(Some(self.hand_out(scanned)));
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
            let limit = self.scanner.max_record_bytes;
            if self.buffer.len() as u64 > limit {
                return Err(self.too_long());
            }
            size = (self.buffer.len() * 2).max(self.block_bytes).min(limit as usize + 1).max(self.buffer.len() + 1);
        }
    }

    fn hand_out(&mut self, scanned: Scanned) -> Block {
        let rest = self.buffer.split_off(scanned.end);
        let data = std::mem::replace(&mut self.buffer, rest);
        let (first_row, base) = (self.rows + 1, self.base);
        self.rows += scanned.rows;
        self.base += scanned.end as u64;
        let Scanned { spans, row_ends, rows, .. } = scanned;
        Block { data: data.into(), spans, row_ends, rows, first_row, base, kept: None, gaps: Vec::new() }
    }

    /// Comments must be text, too: what could not be decoded would otherwise be passed over with all that follows it.
    fn check_text(&self, end: usize) -> Result<(), Failure> {
        let Err(error) = simdutf8::compat::from_utf8(&self.buffer[..end]) else { return Ok(()) };
        let broken = Broken { kind: Kind::InvalidUtf8, at: error.valid_up_to(), column: None };
        Err(Failure::Reject(broken.describe(self.rows + 1, self.base, &self.names)))
    }

    fn too_long(&self) -> Failure {
        let kind = Kind::TooLong { limit: self.scanner.max_record_bytes };
        Failure::Reject(Broken { kind, at: 0, column: None }.describe(self.rows + 1, self.base, &self.names))
    }
}
