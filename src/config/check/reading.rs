//! `format`, `delimited` and `limits` of a `[[landing]]`.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Value;

use super::size;
use crate::config::locate::{Findings, explain};
use crate::config::raw;
use crate::config::spanned::Spanned;
use crate::pipeline::{Charset, Dialect, EACH, Format, Limits, MemberRule, OutputFormat, Reading, Writing};
use crate::policy::Policy;

/// Longest record that may be allowed, in bytes.
const MAX_RECORD_BYTES: u64 = 512 << 20;
/// Deepest nesting that may be allowed; the walk over it takes the stack.
const MAX_DEPTH: usize = 512;
const MAX_PATHS: usize = 65536;

pub(super) fn reading(
    format: Option<Spanned<Value>>,
    encoding: Option<Spanned<String>>,
    delimited: Option<Spanned<raw::Delimited>>,
    (given, worker_memory): (Option<Spanned<raw::Limits>>, u64),
    findings: &mut Findings<'_>,
) -> Reading {
    Reading {
        accept: format.map(|format| accept(format, findings)).unwrap_or_default(),
        extension: None,
        charset: encoding.and_then(|encoding| charset(encoding, findings)),
        dialect: dialect(delimited, findings),
        limits: limits(given, worker_memory, findings),
        sheet: None,
        sheets: Vec::new(),
        members: Vec::new(),
    }
}

/// How outputs are written; what no file could be converted to is found here.
pub(super) fn writing(given: raw::Output, reading: &Reading, findings: &mut Findings<'_>) -> Writing {
    let place = given.format.as_ref().map_or(0..0, Spanned::span);
    let format = given.format.map(Spanned::into_inner).unwrap_or_default();
    let Dialect { widths, keep_comments, .. } = &reading.dialect;
    if format != OutputFormat::Same && !widths.is_empty() {
        findings.add(place.clone(), "text of fixed width is not converted: leave `output.format` out, or `widths`");
    }
    if !matches!(format, OutputFormat::Same | OutputFormat::Csv) && *keep_comments {
        findings.add(place, "comments cannot be converted: leave `output.format` out, or `keep_comments`");
    }
    Writing { format, compress: given.compress, ..Writing::default() }
}

/// The rules of an archive's members.
pub(super) fn members(
    given: Vec<Spanned<raw::Member>>,
    policies: &BTreeMap<String, Policy>,
    findings: &mut Findings<'_>,
) -> Vec<MemberRule> {
    let rule = |raw: Spanned<raw::Member>| {
        let place = raw.span();
        let raw::Member { member, policy, drop } = raw.into_inner();
        rule((member, policy, drop), place, "member", policies, findings)
    };
    given.into_iter().map(rule).collect()
}

/// The sheet that is read, or the rules of each.
pub(super) fn sheets(
    given: Option<Spanned<Value>>,
    policies: &BTreeMap<String, Policy>,
    findings: &mut Findings<'_>,
) -> (Option<String>, Vec<MemberRule>) {
    let place = given.as_ref().map_or(0..0, Spanned::span);
    let given = given.map(Spanned::into_inner);
    let rules = given.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
    match given.map(Value::try_into::<raw::Sheets>) {
        None => (None, Vec::new()),
        Some(Err(_)) => {
            let wrong = rules.into_iter().zip(1..).find_map(|(rule, number)| {
                let error = rule.try_into::<raw::SheetRule>().err()?;
                Some(format!("number {number} of these [[landing.sheet]]: {}", explain(error.message())))
            });
            let expected =
                "`sheet` is the name of a sheet, \"each\", or [[landing.sheet]] with `sheet` and `policy` or `drop`";
            findings.add(place, wrong.unwrap_or_else(|| expected.to_owned()));
            (None, Vec::new())
        }
        Some(Ok(raw::Sheets::One(name))) if name == EACH => (None, vec![MemberRule::any()]),
        Some(Ok(raw::Sheets::One(name))) => (Some(name), Vec::new()),
        Some(Ok(raw::Sheets::Rules(given))) => {
            let at = |text: String| Spanned::new(place.clone(), text);
            let rule = |raw: raw::SheetRule| {
                let given = (at(raw.sheet), raw.policy.map(at), raw.drop);
                rule(given, place.clone(), "sheet", policies, findings)
            };
            (None, given.into_iter().map(rule).collect())
        }
    }
}

fn rule(
    (pattern, policy, drops): (Spanned<String>, Option<Spanned<String>>, bool),
    place: Range<usize>,
    noun: &str,
    policies: &BTreeMap<String, Policy>,
    findings: &mut Findings<'_>,
) -> MemberRule {
    if globset::Glob::new(pattern.get_ref()).is_err() {
        findings.add(pattern.span(), format!("{:?} is not a shell pattern", pattern.get_ref()));
    }
    if drops && policy.is_some() {
        findings.add(place, format!("a {noun} that is dropped has no policy"));
    }
    if let Some(policy) = &policy {
        super::landing::check_policy(policy, policies, findings);
    }
    let policy = policy.and_then(|policy| policies.get(policy.get_ref()).cloned());
    MemberRule { pattern: pattern.into_inner(), policy, drops }
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

fn limits(given: Option<Spanned<raw::Limits>>, worker_memory: u64, findings: &mut Findings<'_>) -> Limits {
    let default = Limits::default();
    let default = Limits { max_buffered_bytes: default.max_buffered_bytes.min(worker_memory / 4), ..default };
    let Some(given) = given else { return default };
    let place = given.span();
    let given = given.into_inner();
    let limits = Limits {
        max_record_bytes: size(given.max_record, default.max_record_bytes),
        max_expanded_bytes: size(given.max_expanded, default.max_expanded_bytes),
        max_expansion: given.max_expansion.unwrap_or(default.max_expansion),
        max_depth: given.max_depth.unwrap_or(default.max_depth),
        max_paths: given.max_paths.unwrap_or(default.max_paths),
        max_members: given.max_members.unwrap_or(default.max_members),
        max_buffered_bytes: size(given.max_buffered, default.max_buffered_bytes),
    };
    if !(1..=MAX_RECORD_BYTES).contains(&limits.max_record_bytes) {
        findings.add(place.clone(), "`max_record` is 1B to 512MiB");
    }
    if !(1..=MAX_DEPTH).contains(&limits.max_depth) || !(1..=MAX_PATHS).contains(&limits.max_paths) {
        findings.add(place.clone(), "`max_depth` is 1 to 512, `max_paths` 1 to 65536");
    }
    if !(1..=worker_memory / 2).contains(&limits.max_buffered_bytes) {
        findings.add(place.clone(), "`max_buffered` is 1B to half of `worker_memory`");
    }
    if limits.max_members == 0 {
        findings.add(place.clone(), "`max_members` is at least 1");
    }
    if limits.max_expansion == 0 || limits.max_expanded_bytes == 0 {
        findings.add(place, "`max_expanded` and `max_expansion` are at least 1");
    }
    limits
}

fn charset(given: Spanned<String>, findings: &mut Findings<'_>) -> Option<Charset> {
    let charset = Charset::for_label(given.get_ref());
    if charset.is_none() {
        let known = "utf-8, utf-16le, utf-16be, windows-1250 to windows-1258, iso-8859-1 to -16, koi8-r, shift_jis, \
                     gb18030, gbk, big5, euc-kr";
        findings.add(given.span(), format!("`encoding` is one of {known}"));
    }
    charset
}

fn dialect(raw: Option<Spanned<raw::Delimited>>, findings: &mut Findings<'_>) -> Dialect {
    let mut dialect = Dialect::default();
    let Some(raw) = raw else { return dialect };
    let place = raw.span();
    let raw = raw.into_inner();
    let mut one = |name: &str, text: &str, ascii_only: bool| {
        let mut characters = text.chars();
        let character = characters.next().filter(|it| characters.next().is_none() && (!ascii_only || it.is_ascii()));
        let byte = character.and_then(|character| dialect.byte_for(character));
        if byte.is_none() {
            let kind = if ascii_only { "ASCII character" } else { "character" };
            findings.add(place.clone(), format!("`{name}` is one {kind}, no line end and no NUL"));
        }
        byte
    };
    let delimiter = raw.delimiter.and_then(|text| one("delimiter", &text, false));
    let quote = match raw.quote.as_deref() {
        None => Some(b'"'),
        Some("") => None,
        Some(text) => one("quote", text, false),
    };
    let escape = raw.escape.and_then(|text| one("escape", &text, true));
    let comment = raw.comment.and_then(|text| one("comment", &text, true));
    dialect.delimiter = delimiter;
    dialect.quote = quote.filter(|_| raw.widths.is_none());
    dialect.escape = escape;
    dialect.comment = comment;
    dialect.columns = raw.columns.unwrap_or_default();
    dialect.preamble = raw.preamble.unwrap_or(0);
    dialect.keep_comments = raw.keep_comments;
    dialect.widths = raw.widths.unwrap_or_default();
    if let Err(problem) = dialect.check() {
        findings.add(place, problem);
    }
    dialect
}
