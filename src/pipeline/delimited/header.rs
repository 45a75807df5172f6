//! The header record: byte-order mark, delimiter, names. Slow and careful; it runs once per file.

use super::fault::{Broken, Kind};
use super::scan::Span;
use crate::pipeline::fault::of_file;
use crate::pipeline::{Dialect, Fault};

const CANDIDATES: [u8; 4] = *b",;\t|";
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What the first record says.
pub(super) struct Header {
    pub delimiter: u8,
    pub names: Vec<String>,
    pub spans: Vec<Span>,
    /// Where the first data record begins.
    pub end: usize,
}

/// Reads the header from the file's first bytes; `None` asks for more of them.
///
/// # Errors
///
/// A [`Fault`] for an unusable dialect, encoding or header record.
pub(super) fn read(data: &[u8], eof: bool, dialect: &Dialect, max_record_bytes: u64) -> Result<Option<Header>, Fault> {
    check_dialect(dialect)?;
    if data.starts_with(b"\xff\xfe") || data.starts_with(b"\xfe\xff") {
        return Err(of_file(
            "utf16",
            "the file is in UTF-16 (it begins with its byte-order mark), and only UTF-8 is read",
            "Have the sender export the file as UTF-8.",
        ));
    }
    let start = if data.starts_with(BOM) { BOM.len() } else { 0 };
    if data.len() == start && eof {
        return Err(of_file(
            "empty_file",
            "the file is empty: not even a header record",
            "Ask the sender for the file.",
        ));
    }
    let Some((delimiter, spans, end)) = choose(data, start, eof, dialect, max_record_bytes)? else { return Ok(None) };
    if let Err(error) = simdutf8::compat::from_utf8(&data[..end]) {
        let at = error.valid_up_to();
        return Err(Broken { kind: Kind::InvalidUtf8, at, column: None }.describe(0, 0, &[]));
    }
    let names = spans.iter().map(|span| name(data, *span, dialect.quote)).collect();
    Ok(Some(Header { delimiter, names, spans, end }))
}

fn check_dialect(dialect: &Dialect) -> Result<(), Fault> {
    let bad = |byte: u8| !byte.is_ascii() || matches!(byte, b'\r' | b'\n' | 0);
    if dialect.delimiter.is_some_and(bad)
        || dialect.quote.is_some_and(bad)
        || (dialect.delimiter.is_some() && dialect.delimiter == dialect.quote)
    {
        return Err(of_file(
            "bad_dialect",
            "delimiter and quote must be two different ASCII characters other than CR, LF and NUL",
            "Correct the delimiter and the quote in the configuration.",
        ));
    }
    Ok(())
}

type Choice = (u8, Vec<Span>, usize);

/// The delimiter that gives the most fields. A candidate whose record goes on behind `data` must be heard, too: else
/// the choice would depend on how much was read at once.
fn choose(
    data: &[u8],
    start: usize,
    eof: bool,
    dialect: &Dialect,
    max_record_bytes: u64,
) -> Result<Option<Choice>, Fault> {
    let candidates = match &dialect.delimiter {
        Some(one) => std::slice::from_ref(one),
        None => &CANDIDATES[..],
    };
    let (mut best, mut tie, mut broken): (Option<Choice>, bool, Option<Broken>) = (None, false, None);
    for &delimiter in candidates.iter().filter(|&&candidate| Some(candidate) != dialect.quote) {
        match bounded_record(data, start, delimiter, dialect.quote, eof, max_record_bytes) {
            Ok(Some((spans, end))) => {
                let most = best.as_ref().map_or(0, |(_, spans, _)| spans.len());
                tie = (tie && spans.len() <= most) || (spans.len() == most && most > 1);
                if spans.len() > most {
                    best = Some((delimiter, spans, end));
                }
            }
            Ok(None) => return Ok(None),
            Err(fault) => broken = broken.or(Some(fault)),
        }
    }
    if tie {
        return Err(of_file(
            "ambiguous_delimiter",
            "the header record splits into the same number of fields under two delimiters",
            "Name the delimiter in the landing's configuration.",
        ));
    }
    match (best, broken) {
        (None, Some(broken)) => Err(broken.describe(0, 0, &[])),
        (best, _) => Ok(best),
    }
}

/// A record that is not longer than allowed; a fault behind that length is not reached.
fn bounded_record(
    data: &[u8],
    start: usize,
    delimiter: u8,
    quote: Option<u8>,
    eof: bool,
    limit: u64,
) -> Result<Option<(Vec<Span>, usize)>, Broken> {
    let reached = |end: usize| (end - start) as u64 > limit;
    let too_long = Broken { kind: Kind::TooLong { limit }, at: start, column: None };
    match record(data, start, delimiter, quote, eof) {
        Ok(Some((_, end))) if reached(end) => Err(too_long),
        Ok(None) if reached(data.len()) => Err(too_long),
        Err(broken) if reached(broken.reached(data.len())) => Err(too_long),
        other => other,
    }
}

/// Parses one record byte by byte: the spans of its fields and its end, or `None` when it goes on behind `data`.
pub(super) fn record(
    data: &[u8],
    start: usize,
    delimiter: u8,
    quote: Option<u8>,
    eof: bool,
) -> Result<Option<(Vec<Span>, usize)>, Broken> {
    let mut spans = Vec::new();
    let mut at = start;
    loop {
        let field = at;
        let broken = |kind, at, column| Err(Broken { kind, at, column: Some(column) });
        let quoted = quote.is_some() && data.get(at).copied() == quote;
        if quoted {
            at += 1;
            loop {
                match data.get(at) {
                    None if eof => return broken(Kind::UnterminatedQuote, field, spans.len()),
                    None => return Ok(None),
                    Some(0) => return broken(Kind::Nul, at, spans.len()),
                    Some(&byte) if Some(byte) == quote => {
                        if data.get(at + 1).copied() != quote {
                            break;
                        }
                        at += 2;
                    }
                    Some(_) => at += 1,
                }
            }
            at += 1;
        }
        let closed = at;
        let (end, next, last) = loop {
            match data.get(at) {
                None if !eof => return Ok(None),
                None => break (at, at, true),
                Some(0) if !(quoted && at > closed) => return broken(Kind::Nul, at, spans.len()),
                Some(b'\n') => break (at - usize::from(at > closed && data[at - 1] == b'\r'), at + 1, true),
                Some(&byte) if byte == delimiter => break (at, at + 1, false),
                Some(_) if quoted && at > closed => break (at, at, true),
                Some(_) => at += 1,
            }
        };
        if quoted && end != closed {
            return broken(Kind::BytesAfterQuote, closed, spans.len());
        }
        spans.push(Span::new(field, end, quoted));
        at = next;
        if last {
            return Ok(Some((spans, at)));
        }
    }
}

fn name(data: &[u8], span: Span, quote: Option<u8>) -> String {
    let text = String::from_utf8_lossy(&data[span.value()]);
    match quote {
        Some(quote) if span.quoted() => {
            let quote = char::from(quote);
            text.replace(&format!("{quote}{quote}"), &quote.to_string())
        }
        _ => text.into_owned(),
    }
}
