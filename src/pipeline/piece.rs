//! One block's output under construction.
//!
//! Behind what is written there is always room for [`SHORT`] bytes, so that short texts can be copied with a fixed length.
//! A piece made from bytes that are there has no such room and is only to be read.

use std::ops::Range;

use super::verify::Seen;

/// Longest text in bytes that is copied with a fixed length.
const SHORT: usize = 32;

pub(super) struct Piece {
    bytes: Vec<u8>,
    at: usize,
    /// What the leak scan has seen in it.
    pub seen: Option<Box<Seen>>,
}

impl From<Vec<u8>> for Piece {
    /// A piece that is written already.
    fn from(bytes: Vec<u8>) -> Piece {
        Piece { at: bytes.len(), bytes, seen: None }
    }
}

impl Piece {
    /// An empty piece with room for `bytes`, in `spare`'s memory where that is enough.
    pub(super) fn new(mut spare: Vec<u8>, bytes: usize) -> Piece {
        if spare.len() < bytes + SHORT {
            spare.clear();
            spare.resize(bytes + SHORT, 0);
        }
        Piece { bytes: spare, at: 0, seen: None }
    }

    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let start = self.at;
        self.at += bytes.len();
        self.keep_slack();
        self.bytes[start..self.at].copy_from_slice(bytes);
    }

    /// The same for a range of a larger text. Most cells are short: a copy of fixed length costs less than one that
    /// must look at its length, and what it writes too much lies in the slack.
    #[inline(always)]
    pub(super) fn put_range(&mut self, text: &[u8], range: Range<usize>) {
        let ahead = text.get(range.start..).and_then(|rest| rest.first_chunk::<SHORT>());
        let room = self.bytes.get_mut(self.at..).and_then(|rest| rest.first_chunk_mut::<SHORT>());
        match (ahead, room) {
            (Some(ahead), Some(room)) if range.len() <= SHORT => {
                *room = *ahead;
                self.at += range.len();
                self.keep_slack();
            }
            _ => self.put(&text[range]),
        }
    }

    /// The first `count` of these bytes, copied with a fixed length.
    #[inline]
    pub(super) fn put_start(&mut self, bytes: &[u8; 16], count: usize) {
        match self.bytes.get_mut(self.at..).and_then(|rest| rest.first_chunk_mut()) {
            Some(room) if count <= bytes.len() => {
                *room = *bytes;
                self.at += count;
                self.keep_slack();
            }
            _ => unreachable!("the slack is longer than this, and so are the bytes"),
        }
    }

    #[inline(always)]
    fn keep_slack(&mut self) {
        if self.at + SHORT > self.bytes.len() {
            self.bytes.resize((self.at + SHORT).max(self.bytes.len() * 2), 0);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.at
    }

    pub(super) fn since(&self, from: usize) -> &[u8] {
        &self.bytes[from..self.at]
    }

    /// What was written.
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes[..self.at]
    }

    /// The memory, for another piece.
    pub(super) fn into_spare(self) -> Vec<u8> {
        self.bytes
    }
}
