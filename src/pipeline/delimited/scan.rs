//! The structural scanner: where records and fields begin and end. One thread, in order, never guessing.
//!
//! Block boundaries cannot be found by counting quotes, because a quote inside an unquoted field is data; so the
//! scanner walks every structural byte from the start.

use std::ops::Range;

use super::bits::Finder;
use super::escape::disguise;
use super::fault::{Broken, Kind};

/// Where a cell stands in its block, quotes included; the top bit of `end` tells whether it is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

const QUOTED: u32 = 1 << 31;
/// Bytes of a record below which the spans' vector has to grow while scanning.
const SHORT_RECORD: usize = 64;

impl Span {
    /// Blocks stay below 2 GiB, so that offsets leave the top bit free.
    pub(super) fn new(start: usize, end: usize, quoted: bool) -> Span {
        Span { start: start as u32, end: end as u32 | if quoted { QUOTED } else { 0 } }
    }

    pub(super) fn quoted(self) -> bool {
        self.end & QUOTED != 0
    }

    pub(super) fn raw(self) -> Range<usize> {
        self.start as usize..(self.end & !QUOTED) as usize
    }

    /// The same cell when `bytes` before it are gone.
    pub(super) fn moved_back(self, bytes: usize) -> Span {
        Span { start: self.start - bytes as u32, end: self.end - bytes as u32 }
    }

    /// Without the quotes around it; doubled quotes are still doubled.
    pub(super) fn value(self) -> Range<usize> {
        let quote = usize::from(self.quoted());
        let raw = self.raw();
        raw.start + quote..raw.end - quote
    }
}

/// What a file's records look like.
pub(super) struct Scanner {
    pub delimiter: u8,
    pub quote: Option<u8>,
    pub escape: Option<u8>,
    /// First byte of lines that are no records; the scan stops before each.
    pub comment: Option<u8>,
    pub columns: usize,
    pub max_record_bytes: u64,
    /// Columns whose spans are wanted, ascending.
    pub touched: Vec<usize>,
    /// Whether it is wanted where each record ends.
    pub ends: bool,
    pub finder: Finder,
}

/// The whole records at the beginning of a buffer.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// Row by row, one for each touched column.
    pub spans: Vec<Span>,
    /// Where each record ends, where that is wanted.
    pub row_ends: Vec<u32>,
    pub rows: u64,
    /// Where the last whole record ends.
    pub end: usize,
    /// What is wrong with the record that follows.
    pub broken: Option<Broken>,
}

/// Where the walk stands within a record.
struct Walk {
    out: Scanned,
    field: usize,
    column: usize,
    wanted: usize,
    quoted: bool,
    /// Behind the closing quote's last byte; 0 while the field is open.
    closed: usize,
    in_quotes: bool,
    /// A byte to pass over: the second of two doubled quotes.
    skip: usize,
}

impl Scanner {
    pub(super) fn needles(delimiter: u8, quote: Option<u8>) -> super::bits::Needles {
        [delimiter, b'\n', 0, quote.unwrap_or(delimiter)]
    }

    /// Scans the whole records in `data`; with `eof` its last record needs no line ending.
    pub(super) fn scan(&self, data: &[u8], eof: bool) -> Scanned {
        let mut walk = Walk {
            out: Scanned::default(),
            field: 0,
            column: 0,
            wanted: 0,
            quoted: false,
            closed: 0,
            in_quotes: false,
            skip: usize::MAX,
        };
        // No record has fewer bytes than columns, its line ending counted.
        walk.out.spans.reserve(data.len() / SHORT_RECORD.max(self.columns) * self.touched.len());
        let structure = disguise(data, self.escape);
        let done = self.walk(&mut walk, &structure).and_then(|()| self.finish(&mut walk, &structure, eof));
        let done = done.map_err(|broken| self.or_too_long(broken, walk.out.end, data.len()));
        walk.out.spans.truncate(walk.out.rows as usize * self.touched.len());
        walk.out.broken = done.err().filter(|broken| broken.kind != Kind::Comment);
        if let Err(error) = simdutf8::compat::from_utf8(&data[..walk.out.broken.map_or(walk.out.end, |b| b.at)]) {
            let at = error.valid_up_to();
            // Cut at the fault, the rest is sound; the records before it are still needed to find the first failure.
            let mut before = self.scan(&data[..at], false);
            before.broken = Some(Broken { kind: Kind::InvalidUtf8, at, column: None });
            return before;
        }
        walk.out
    }

    /// A fault behind the longest record that is allowed is not reached, however much was read at once.
    fn or_too_long(&self, broken: Broken, start: usize, len: usize) -> Broken {
        let limit = self.max_record_bytes;
        match (broken.reached(len) - start) as u64 > limit {
            true if broken.at >= start => Broken { kind: Kind::TooLong { limit }, at: start, column: None },
            _ => broken,
        }
    }

    fn walk(&self, walk: &mut Walk, data: &[u8]) -> Result<(), Broken> {
        #[cfg(target_arch = "x86_64")]
        if self.finder.is_wide() {
            // SAFETY: the finder is wide only where the CPU has AVX2.
            return unsafe { self.walk_avx2(walk, data) };
        }
        self.walk_as::<false>(walk, data)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn walk_avx2(&self, walk: &mut Walk, data: &[u8]) -> Result<(), Broken> {
        self.walk_as::<true>(walk, data)
    }

    #[inline(always)]
    fn walk_as<const WIDE: bool>(&self, walk: &mut Walk, data: &[u8]) -> Result<(), Broken> {
        let (chunks, rest) = data.as_chunks::<64>();
        let mut base = 0;
        for chunk in chunks {
            self.chunk(walk, data, base, self.finder.find_as::<WIDE>(chunk))?;
            base += 64;
        }
        let mut last = [b'x'; 64];
        last[..rest.len()].copy_from_slice(rest);
        let bits = self.finder.find_as::<WIDE>(&last) & ((1_u64 << rest.len()) - 1);
        self.chunk(walk, data, base, bits)
    }

    #[inline(always)]
    fn chunk(&self, walk: &mut Walk, data: &[u8], base: usize, mut bits: u64) -> Result<(), Broken> {
        while bits != 0 {
            let at = base + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let byte = data[at];
            if Some(byte) == self.quote {
                self.quote(walk, data, at);
            } else if byte == 0 {
                // Behind a closing quote, whatever came between is the earlier fault.
                let (kind, at) = match walk.closed {
                    closed if closed != 0 && closed != at => (Kind::BytesAfterQuote, closed),
                    _ => (Kind::Nul, at),
                };
                return Err(Broken { kind, at, column: Some(walk.column) });
            } else if walk.in_quotes {
                continue;
            } else if byte == self.delimiter {
                self.end_field(walk, at)?;
                walk.field = at + 1;
            } else {
                let cr = at > walk.field.max(walk.closed) && data[at - 1] == b'\r';
                self.end_field(walk, at - usize::from(cr))?;
                self.end_record(walk, at + 1)?;
                if self.comment.is_some() && data.get(at + 1).copied() == self.comment {
                    return Err(Broken { kind: Kind::Comment, at: at + 1, column: None });
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn quote(&self, walk: &mut Walk, data: &[u8], at: usize) {
        if walk.skip == at {
            return;
        }
        if walk.in_quotes {
            if data.get(at + 1).copied() == self.quote {
                walk.skip = at + 1;
            } else {
                walk.in_quotes = false;
                walk.closed = at + 1;
            }
        } else if at == walk.field {
            walk.in_quotes = true;
            walk.quoted = true;
        }
    }

    #[inline]
    fn end_field(&self, walk: &mut Walk, end: usize) -> Result<(), Broken> {
        if walk.quoted && walk.closed != end {
            return Err(Broken { kind: Kind::BytesAfterQuote, at: walk.closed, column: Some(walk.column) });
        }
        if self.touched.get(walk.wanted) == Some(&walk.column) {
            walk.out.spans.push(Span::new(walk.field, end, walk.quoted));
            walk.wanted += 1;
        }
        walk.column += 1;
        walk.quoted = false;
        walk.closed = 0;
        Ok(())
    }

    #[inline]
    fn end_record(&self, walk: &mut Walk, next: usize) -> Result<(), Broken> {
        let start = walk.out.end;
        if (next - start) as u64 > self.max_record_bytes {
            let kind = Kind::TooLong { limit: self.max_record_bytes };
            return Err(Broken { kind, at: start, column: None });
        }
        if walk.column != self.columns {
            let kind = Kind::Ragged { expected: self.columns, found: walk.column };
            return Err(Broken { kind, at: start, column: None });
        }
        walk.out.rows += 1;
        walk.out.end = next;
        if self.ends {
            walk.out.row_ends.push(next as u32);
        }
        walk.field = next;
        walk.column = 0;
        walk.wanted = 0;
        Ok(())
    }

    fn finish(&self, walk: &mut Walk, data: &[u8], eof: bool) -> Result<(), Broken> {
        let start = walk.out.end;
        if !eof || start == data.len() {
            return Ok(());
        }
        if walk.in_quotes {
            return Err(Broken { kind: Kind::UnterminatedQuote, at: walk.field, column: Some(walk.column) });
        }
        self.end_field(walk, data.len())?;
        self.end_record(walk, data.len())
    }
}
