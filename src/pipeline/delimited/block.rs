//! Blocks of whole records, and views of their cells.

use std::ops::Range;

use polars_arrow::array::View;
use polars_buffer::Buffer;

use super::header::Header;
use super::preface::Preface;
use super::scan::Span;

/// Whole records, checked, with the spans of their touched cells.
pub(super) struct Block {
    pub data: Buffer<u8>,
    pub spans: Vec<Span>,
    /// Where each record ends, where that is wanted.
    pub row_ends: Vec<u32>,
    pub rows: u64,
    /// Data row of the first record, from 1.
    pub first_row: u64,
    /// Offset in the file.
    pub base: u64,
    /// Which records are left, by their place in the block; absent: all.
    pub kept: Option<Vec<u32>>,
    /// Where others have been.
    pub gaps: Vec<Range<usize>>,
}

impl Block {
    /// Data row of a record.
    pub(super) fn row(&self, index: usize) -> u64 {
        self.first_row + self.kept.as_ref().map_or(index as u64, |kept| u64::from(kept[index]))
    }

    /// The first records.
    pub(super) fn first(&self, rows: usize, width: usize) -> Block {
        let spans = self.spans[..rows * width].to_vec();
        let (data, row_ends, kept, gaps) = (self.data.clone(), Vec::new(), self.kept.clone(), self.gaps.clone());
        Block { data, spans, row_ends, rows: rows as u64, kept, gaps, ..*self }
    }

    /// The block without some of its records.
    pub(super) fn without(&self, left_out: &[bool], width: usize) -> Block {
        let (mut spans, mut kept, mut gaps) = (Vec::with_capacity(self.spans.len()), Vec::new(), Vec::new());
        let mut start = 0;
        for ((row, left_out), end) in left_out.iter().enumerate().zip(&self.row_ends) {
            let end = *end as usize;
            if *left_out {
                gaps.push(start..end);
            } else {
                spans.extend_from_slice(&self.spans[row * width..(row + 1) * width]);
                kept.push(row as u32);
            }
            start = end;
        }
        let (data, rows) = (self.data.clone(), kept.len() as u64);
        Block { data, spans, row_ends: Vec::new(), rows, kept: Some(kept), gaps, ..*self }
    }
}

/// What an output begins with, as a block: the byte-order mark, the preface if it is kept, the header record if there
/// is one.
pub(super) fn beginning(data: &[u8], header: &Header, touched: &[usize], keep_preface: bool) -> Block {
    let Preface { mark, end: start } = header.preface;
    let kept = if keep_preface { start } else { mark };
    let moved = |span: Span| span.moved_back(start - kept);
    let spans = touched.iter().filter_map(|&column| header.spans.get(column)).map(|&span| moved(span)).collect();
    Block {
        data: [&data[..kept], &data[start..header.end]].concat().into(),
        spans,
        row_ends: Vec::new(),
        rows: 1,
        first_row: 0,
        base: 0,
        kept: None,
        gaps: Vec::new(),
    }
}

/// A view of a range of the block. Short cells stand in the view itself, read in one piece where the block goes on.
#[inline]
pub(super) fn view(data: &[u8], range: Range<usize>) -> View {
    let length = range.len();
    match data.get(range.start..).and_then(|rest| rest.first_chunk::<16>()) {
        Some(ahead) if length <= View::MAX_INLINE_SIZE as usize => {
            let inline = u128::from_le_bytes(*ahead) & ((1 << (8 * length)) - 1);
            View::from((inline << 32) | length as u128)
        }
        _ => View::new_from_bytes(&data[range.clone()], 0, range.start as u32),
    }
}
