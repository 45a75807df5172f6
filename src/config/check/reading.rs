//! `format`, `delimited` and `limits` of a `[[landing]]`.

use toml::Value;

use super::size;
use crate::config::locate::Findings;
use crate::config::raw;
use crate::config::spanned::Spanned;
use crate::pipeline::{Dialect, Format, Limits, Reading};

/// Longest record that may be allowed, in bytes.
const MAX_RECORD_BYTES: u64 = 512 << 20;
/// Deepest nesting that may be allowed; the walk over it takes the stack.
const MAX_DEPTH: usize = 512;
const MAX_PATHS: usize = 65536;

pub(super) fn reading(
    format: Option<Spanned<Value>>,
    delimited: Option<Spanned<raw::Delimited>>,
    given: Option<Spanned<raw::Limits>>,
    findings: &mut Findings<'_>,
) -> Reading {
    Reading {
        accept: format.map(|format| accept(format, findings)).unwrap_or_default(),
        extension: None,
        dialect: dialect(delimited, findings),
        limits: given.map(|given| limits(given, findings)).unwrap_or_default(),
    }
}

fn accept(given: Spanned<Value>, findings: &mut Findings<'_>) -> Vec<Format> {
    let place = given.span();
    let names = match given.into_inner() {
        Value::Array(names) => names,
        one => vec![one],
    };
    let formats: Option<Vec<Format>> =
        names.iter().map(|name| Format::ALL.into_iter().find(|format| name.as_str() == Some(format.name()))).collect();
    match formats {
        Some(formats) if !formats.is_empty() => formats,
        _ => {
            let known: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
            findings.add(place, format!("`format` is one of {}, or a list of them", known.join(", ")));
            Vec::new()
        }
    }
}

fn limits(given: Spanned<raw::Limits>, findings: &mut Findings<'_>) -> Limits {
    let place = given.span();
    let given = given.into_inner();
    let default = Limits::default();
    let limits = Limits {
        max_record_bytes: size(given.max_record, default.max_record_bytes),
        max_expanded_bytes: size(given.max_expanded, default.max_expanded_bytes),
        max_expansion: given.max_expansion.unwrap_or(default.max_expansion),
        max_depth: given.max_depth.unwrap_or(default.max_depth),
        max_paths: given.max_paths.unwrap_or(default.max_paths),
    };
    if !(1..=MAX_RECORD_BYTES).contains(&limits.max_record_bytes) {
        findings.add(place.clone(), "`max_record` is 1B to 512MiB");
    }
    if !(1..=MAX_DEPTH).contains(&limits.max_depth) || !(1..=MAX_PATHS).contains(&limits.max_paths) {
        findings.add(place.clone(), "`max_depth` is 1 to 512, `max_paths` 1 to 65536");
    }
    if limits.max_expansion == 0 || limits.max_expanded_bytes == 0 {
        findings.add(place, "`max_expanded` and `max_expansion` are at least 1");
    }
    limits
}

fn dialect(raw: Option<Spanned<raw::Delimited>>, findings: &mut Findings<'_>) -> Dialect {
    let mut dialect = Dialect::default();
    let Some(raw) = raw else { return dialect };
    let place = raw.span();
    let raw = raw.into_inner();
    let one = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii() && !b"\r\n\0".contains(byte) => Some(*byte),
        _ => None,
    };
    if let Some(delimiter) = raw.delimiter {
        dialect.delimiter = one(&delimiter);
        if dialect.delimiter.is_none() {
            findings.add(place.clone(), "`delimiter` is one ASCII character");
        }
    }
    if let Some(quote) = raw.quote {
        dialect.quote = one(&quote);
        if dialect.quote.is_none() && !quote.is_empty() {
            findings.add(place.clone(), "`quote` is one ASCII character, or \"\" for none");
        }
    }
    if dialect.delimiter.is_some() && dialect.delimiter == dialect.quote {
        findings.add(place, "`delimiter` and `quote` must differ");
    }
    dialect
}
