//! What stands before the header record: byte-order mark, a preamble of a known number of lines, comments.

use crate::pipeline::Dialect;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The first bytes of a file, up to its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preface {
    /// Length of the byte-order mark.
    pub mark: usize,
    /// Where the first record begins.
    pub end: usize,
}

/// Finds the first record; `None` asks for more of the file.
pub(super) fn read(data: &[u8], eof: bool, dialect: &Dialect) -> Option<Preface> {
    let mark = if data.starts_with(BOM) { BOM.len() } else { 0 };
    let mut end = mark;
    for _ in 0..dialect.preamble {
        end = line_end(data, end, eof)?;
    }
    let end = comments_end(data, end, eof, dialect.comment)?;
    // The last of them may go on behind the data.
    let open = dialect.comment.is_some() && data.get(end).copied() == dialect.comment;
    (!open).then_some(Preface { mark, end })
}

/// The end of the whole comment lines that begin at `at`; `None` when not even the first is whole.
pub(super) fn comments_end(data: &[u8], at: usize, eof: bool, comment: Option<u8>) -> Option<usize> {
    let mut end = at;
    while comment.is_some() && data.get(end).copied() == comment {
        match line_end(data, end, eof) {
            Some(next) => end = next,
            None if end == at => return None,
            None => break,
        }
    }
    Some(end)
}

fn line_end(data: &[u8], at: usize, eof: bool) -> Option<usize> {
    match memchr::memchr(b'\n', &data[at..]) {
        Some(found) => Some(at + found + 1),
        None => eof.then_some(data.len()),
    }
}
