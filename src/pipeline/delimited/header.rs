//! The header record: delimiter and names. Slow and careful; it runs once per file.

use super::escape;
use super::fault::{Broken, Kind};
use super::preface::{self, Preface};
use super::scan::Span;
use crate::pipeline::fault::of_file;
use crate::pipeline::{Dialect, Fault};

const CANDIDATES: [u8; 4] = *b",;\t|";

/// What the first record says.
pub(super) struct Header {
    pub delimiter: u8,
    pub names: Vec<String>,
    /// Of its fields; empty where the names come from the configuration.
    pub spans: Vec<Span>,
    pub preface: Preface,
    /// Where the first data record begins.
    pub end: usize,
}

/// Reads the header from the file's first bytes; `None` asks for more of them.
///
/// # Errors
///
/// A [`Fault`] for an unusable dialect, encoding or header record.
pub(super) fn read(data: &[u8], eof: bool, dialect: &Dialect, max_record_bytes: u64) -> Result<Option<Header>, Fault> {
    if let Err(problem) = dialect.check() {
        return Err(of_file("bad_dialect", problem, "Correct `delimited` in the landing's configuration."));
    }
    let Some(preface) = preface::read(data, eof, dialect) else {
        if data.len() as u64 <= max_record_bytes {
            return Ok(None);
        }
        let too_long = Broken { kind: Kind::TooLong { limit: max_record_bytes }, at: 0, column: None };
        return Err(too_long.describe(first_row(dialect), 0, &[]));
    };
    let start = preface.end;
    check_text(&data[..start])?;
    if data.len() == start && eof {
        return Err(of_file("empty_file", "the file is empty: not even one record", "Ask the sender for the file."));
    }
    let structure = escape::disguise(data, dialect.escape);
    let Some((delimiter, spans, end)) = choose(&structure, start, eof, dialect, max_record_bytes)? else {
        return Ok(None);
    };
    if !dialect.columns.is_empty() {
        let names = dialect.columns.clone();
        return Ok(Some(Header { delimiter, names, spans: Vec::new(), preface, end: start }));
    }
    check_text(&data[..end])?;
    let is_broken = |span: &Span| !span.quoted() && data[span.value()].contains(&b'\r');
    if let Some(column) = spans.iter().position(is_broken) {
        let sentence = format!(
            "a carriage return stands in column {} of the header: perhaps every line ends with one alone",
            column + 1
        );
        let advice = "Have the file written with line feeds, alone or behind carriage returns.";
        return Err(of_file("bare_carriage_return", &sentence, advice));
    }
    let names = spans.iter().map(|span| name(data, *span, dialect)).collect();
    Ok(Some(Header { delimiter, names, spans, preface, end }))
}

type Choice = (u8, Vec<Span>, usize);

/// Number of the first record: a header is row 0.
fn first_row(dialect: &Dialect) -> u64 {
    u64::from(!dialect.columns.is_empty())
}

/// What could not be decoded would otherwise hide all that follows it.
pub(super) fn check_text(data: &[u8]) -> Result<(), Fault> {
    let Err(error) = simdutf8::compat::from_utf8(data) else { return Ok(()) };
    Err(Broken { kind: Kind::InvalidUtf8, at: error.valid_up_to(), column: None }.describe(0, 0, &[]))
}

/// The delimiter that gives the most fields, and where the columns are known, only one that gives as many as they are.
/// A candidate whose record goes on behind `data` must be heard, too: else the choice would depend on how much was read
/// at once.
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
    let known = dialect.columns.len();
    let is_free = |candidate: &&u8| ![dialect.quote, dialect.escape, dialect.comment].contains(&Some(**candidate));
    for &delimiter in candidates.iter().filter(is_free) {
        match bounded_record(data, start, delimiter, dialect.quote, eof, max_record_bytes) {
            Ok(Some((spans, _))) if known > 0 && candidates.len() > 1 && spans.len() != known => {}
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
            "Name the delimiter: `delimited.delimiter` of the landing, `--delimiter` of a command.",
        ));
    }
    match (best, broken) {
        (Some(best), _) => Ok(Some(best)),
        (None, Some(broken)) => Err(broken.describe(first_row(dialect), 0, &[])),
        (None, None) => Err(of_file(
            "ragged_row",
            &format!("no delimiter splits the first record into the {known} columns of the configuration"),
            "Name the delimiter in the landing's configuration, or correct `columns`.",
        )),
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

fn name(data: &[u8], span: Span, dialect: &Dialect) -> String {
    let raw = &data[span.value()];
    if let Some(escape) = dialect.escape {
        let mut plain = Vec::with_capacity(raw.len());
        escape::plain(raw, escape, dialect.quote.filter(|_| span.quoted()), &mut plain);
        return String::from_utf8_lossy(&plain).into_owned();
    }
    let text = String::from_utf8_lossy(raw);
    match dialect.quote {
        Some(quote) if span.quoted() => {
            let quote = char::from(quote);
            text.replace(&format!("{quote}{quote}"), &quote.to_string())
        }
        _ => text.into_owned(),
    }
}
