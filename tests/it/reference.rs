//! Delimited text and its masks by the book, slowly: a byte at a time, everything in memory.
//!
//! Written from the design, not from the pipeline, with which it shares no line; the key derivation alone is the
//! library's own. No tests here: `fidelity.rs` compares the two.

use hmac::{Hmac, Mac};
use veild::keys::MaskingKeys;

/// How the text is written.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Absent: sniffed from the header.
    pub delimiter: Option<u8>,
    pub quote: Option<u8>,
    pub max_record: usize,
}

/// Why a file is refused, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub code: String,
    pub row: Option<u64>,
    pub column: Option<String>,
    pub byte_offset: Option<u64>,
}

/// What a policy does with a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    Keep,
    Drop,
    Null,
    Redact(String),
    Partial { first: usize, last: usize, keeps: bool },
    Hash(usize),
    Truncate(usize),
    Year,
    Round(i64),
    Clamp(i64, i64),
}

/// What a policy does with a column that no rule names, or a cell that a mask cannot read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Otherwise {
    Reject,
    Redact,
    Null,
    Drop,
    Keep,
}

#[derive(Clone, Debug)]
pub struct Policy {
    pub unlisted: Otherwise,
    pub mistyped: Otherwise,
    pub missing_is_refused: bool,
    /// Literal names and deeds.
    pub rules: Vec<(String, Deed)>,
}

impl Policy {
    /// The policy as a file that veild reads.
    pub fn toml(&self) -> String {
        let word = |otherwise: Otherwise| format!("{otherwise:?}").to_lowercase();
        let missing = if self.missing_is_refused { "reject" } else { "ignore" };
        let mut text = format!(
            "unlisted = {:?}\nmistyped = {:?}\nmissing = {missing:?}\nverify = \"warn\"\n",
            word(self.unlisted),
            word(self.mistyped)
        );
        for (name, deed) in &self.rules {
            let (mask, parameters) = match deed {
                Deed::Keep => ("keep", String::new()),
                Deed::Drop => ("drop", String::new()),
                Deed::Null => ("null", String::new()),
                Deed::Redact(with) => ("redact", format!("text = {}", toml::Value::from(with.as_str()))),
                Deed::Partial { first, last, keeps: true } => {
                    ("partial", format!("keep_first = {first}\nkeep_last = {last}"))
                }
                Deed::Partial { first, last, keeps: false } => {
                    ("partial", format!("mask_first = {first}\nmask_last = {last}"))
                }
                Deed::Hash(length) => ("hash", format!("length = {length}")),
                Deed::Truncate(keep) => ("truncate", format!("keep = {keep}")),
                Deed::Year => ("date", "to = \"year\"".to_owned()),
                Deed::Round(to) => ("round", format!("to = {to}")),
                Deed::Clamp(min, max) => ("clamp", format!("min = {min}\nmax = {max}")),
            };
            text.push_str(&format!("[[column]]\nname = {name:?}\nmask = {mask:?}\n{parameters}\n"));
        }
        text
    }
}

/// The output of a file under a policy, or why there is none.
pub fn mask(data: &[u8], rules: &Rules, policy: &Policy, keys: &MaskingKeys) -> Result<Vec<u8>, Refusal> {
    let (delimiter, header, start) = read_header(data, rules)?;
    let plan = plan(&header, policy)?;
    let dialect = Dialect { delimiter, quote: rules.quote, max_record: rules.max_record };
    let mut out = data[..start].to_vec();
    write_record(&header, &plan, None, &dialect, &mut out).expect("names are never changed");
    let mut at = header.end;
    let mut row = 1;
    while at < data.len() {
        let record = whole_record(data, at, row, header.cells.len(), &dialect, &plan)?;
        let masked = mask_record(&record, row, &plan, policy, keys)?;
        write_record(&record, &plan, Some(&masked), &dialect, &mut out).map_err(|column| {
            refusal("unquotable_cell", Some(row), Some(plan[column].public.clone()), Some(record.cells[column].start))
        })?;
        at = record.end;
        row += 1;
    }
    Ok(out)
}

fn refusal(code: &str, row: Option<u64>, column: Option<String>, offset: Option<usize>) -> Refusal {
    Refusal { code: code.to_owned(), row, column, byte_offset: offset.map(|offset| offset as u64) }
}

struct Dialect {
    delimiter: u8,
    quote: Option<u8>,
    max_record: usize,
}

struct Cell {
    start: usize,
    raw: Vec<u8>,
    quoted: bool,
    value: Vec<u8>,
}

struct Record {
    cells: Vec<Cell>,
    ending: Vec<u8>,
    end: usize,
}

/// What is wrong with the bytes of a record: code, column from 0, offset.
struct Broken(&'static str, Option<usize>, usize);

/// Reads one record; a fault behind the longest record that is allowed is not reached.
fn read_record(data: &[u8], start: usize, dialect: &Dialect) -> Result<Record, Broken> {
    let too_long = |reached: usize| reached - start > dialect.max_record;
    let record = parse_record(data, start, dialect).map_err(|broken| {
        let reached = if broken.0 == "unterminated_quote" { data.len() } else { broken.2 + 1 };
        if too_long(reached) { Broken("record_too_long", None, start) } else { broken }
    })?;
    if too_long(record.end) { Err(Broken("record_too_long", None, start)) } else { Ok(record) }
}

fn parse_record(data: &[u8], start: usize, dialect: &Dialect) -> Result<Record, Broken> {
    let mut cells = Vec::new();
    let mut at = start;
    loop {
        let begin = at;
        let column = Some(cells.len());
        let quoted = dialect.quote.is_some() && data.get(at).copied() == dialect.quote;
        let mut value = Vec::new();
        if quoted {
            at += 1;
            loop {
                let Some(&byte) = data.get(at) else { return Err(Broken("unterminated_quote", column, begin)) };
                if byte == 0 {
                    return Err(Broken("nul_byte", column, at));
                }
                at += 1;
                if Some(byte) == dialect.quote {
                    if data.get(at).copied() != dialect.quote {
                        break;
                    }
                    at += 1;
                }
                value.push(byte);
            }
        } else {
            while let Some(&byte) = data.get(at) {
                if byte == dialect.delimiter || byte == b'\n' {
                    break;
                }
                if byte == 0 {
                    return Err(Broken("nul_byte", column, at));
                }
                value.push(byte);
                at += 1;
            }
            // The CR of a CRLF is no part of the cell.
            if data.get(at) == Some(&b'\n') && value.last() == Some(&b'\r') {
                value.pop();
                at -= 1;
            }
        }
        cells.push(Cell { start: begin, raw: data[begin..at].to_vec(), quoted, value });
        let ending = match &data[at..] {
            [] => 0,
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            [byte, ..] if *byte == dialect.delimiter => {
                at += 1;
                continue;
            }
            [0, ..] => return Err(Broken("nul_byte", column, at)),
            _ => return Err(Broken("bytes_after_quote", column, at)),
        };
        return Ok(Record { cells, ending: data[at..at + ending].to_vec(), end: at + ending });
    }
}

/// Byte-order mark, delimiter and names.
fn read_header(data: &[u8], rules: &Rules) -> Result<(u8, Record, usize), Refusal> {
    let start = if data.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
    if data.len() == start {
        return Err(refusal("empty_file", None, None, None));
    }
    let candidates = match rules.delimiter {
        Some(one) => vec![one],
        None => vec![b',', b';', b'\t', b'|'],
    };
    let (mut readable, mut first_fault) = (Vec::new(), None);
    for delimiter in candidates.into_iter().filter(|it| Some(*it) != rules.quote) {
        let dialect = Dialect { delimiter, quote: rules.quote, max_record: rules.max_record };
        match read_record(data, start, &dialect) {
            Ok(record) => readable.push((delimiter, record)),
            Err(broken) => first_fault = first_fault.or(Some(broken)),
        }
    }
    let most = readable.iter().map(|(_, record)| record.cells.len()).max();
    let Some(most) = most else {
        let Broken(code, column, at) = first_fault.expect("a record is readable or broken");
        let column = column.map(|column| format!("column {}", column + 1));
        return Err(refusal(code, Some(0), column, Some(at)));
    };
    let mut winners = readable.into_iter().filter(|(_, record)| record.cells.len() == most);
    let (delimiter, record) = winners.next().expect("there is a greatest");
    if most > 1 && winners.next().is_some() {
        return Err(refusal("ambiguous_delimiter", None, None, None));
    }
    if let Some(at) = first_invalid(&data[..record.end]) {
        return Err(refusal("invalid_utf8", Some(0), None, Some(at)));
    }
    if record.cells.iter().any(|cell| !cell.quoted && cell.value.contains(&b'\r')) {
        return Err(refusal("bare_carriage_return", None, None, None));
    }
    Ok((delimiter, record, start))
}

fn first_invalid(data: &[u8]) -> Option<usize> {
    std::str::from_utf8(data).err().map(|error| error.valid_up_to())
}

struct Planned {
    public: String,
    namespace: String,
    deed: Deed,
}

fn normal(name: &str) -> String {
    name.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn plan(header: &Record, policy: &Policy) -> Result<Vec<Planned>, Refusal> {
    let names: Vec<String> =
        header.cells.iter().map(|cell| String::from_utf8(cell.value.clone()).expect("checked")).collect();
    let rule_of = |name: &str| policy.rules.iter().find(|(rule, _)| normal(rule) == normal(name));
    let public: Vec<String> = (0..names.len())
        .map(|index| {
            let like_a_name = !names[index].is_empty()
                && names[index].chars().count() <= 64
                && !names[index].contains("  ")
                && names[index].chars().all(|it| it.is_alphanumeric() || "_-. ".contains(it));
            let other_listed = (0..names.len()).any(|other| other != index && rule_of(&names[other]).is_some());
            let known = other_listed || rule_of(&names[index]).is_some();
            if like_a_name && known { names[index].clone() } else { format!("column {}", index + 1) }
        })
        .collect();
    for index in 0..names.len() {
        let blank = normal(&names[index]).is_empty();
        let again = names[..index].iter().any(|earlier| normal(earlier) == normal(&names[index]));
        if blank || again {
            let code = if blank { "blank_column" } else { "duplicate_column" };
            return Err(refusal(code, Some(0), Some(public[index].clone()), None));
        }
    }
    let mut planned = Vec::new();
    for (name, public) in names.iter().zip(public) {
        let deed = match (rule_of(name), policy.unlisted) {
            (Some((_, deed)), _) => deed.clone(),
            (None, Otherwise::Redact) => Deed::Redact("[REDACTED]".to_owned()),
            (None, Otherwise::Drop) => Deed::Drop,
            (None, Otherwise::Keep) => Deed::Keep,
            (None, _) => return Err(refusal("unlisted_column", Some(0), Some(public), None)),
        };
        planned.push(Planned { public, namespace: normal(name), deed });
    }
    let there = |rule: &str| names.iter().any(|name| normal(name) == normal(rule));
    if policy.missing_is_refused && policy.rules.iter().any(|(rule, _)| !there(rule)) {
        return Err(refusal("missing_column", Some(0), None, None));
    }
    if planned.iter().all(|column| column.deed == Deed::Drop) {
        return Err(refusal("no_column_left", Some(0), None, None));
    }
    Ok(planned)
}

/// A record that is sound, has its cells' number, and is UTF-8 up to its end.
fn whole_record(
    data: &[u8],
    at: usize,
    row: u64,
    width: usize,
    dialect: &Dialect,
    plan: &[Planned],
) -> Result<Record, Refusal> {
    let found = read_record(data, at, dialect).and_then(|record| match record.cells.len() == width {
        true => Ok(record),
        false => Err(Broken("ragged_row", None, at)),
    });
    let sound_to = found.as_ref().map_or_else(|broken| broken.2, |record| record.end);
    if let Some(offset) = first_invalid(&data[at..sound_to]) {
        return Err(refusal("invalid_utf8", Some(row), None, Some(at + offset)));
    }
    found.map_err(|Broken(code, column, offset)| {
        let name = |index: usize| plan.get(index).map_or(format!("column {}", index + 1), |it| it.public.clone());
        refusal(code, Some(row), column.map(name), Some(offset))
    })
}

fn mask_record(
    record: &Record,
    row: u64,
    plan: &[Planned],
    policy: &Policy,
    keys: &MaskingKeys,
) -> Result<Vec<String>, Refusal> {
    let mut masked = Vec::new();
    for (cell, column) in record.cells.iter().zip(plan) {
        let value = std::str::from_utf8(&cell.value).expect("checked");
        if value.is_empty() {
            masked.push(String::new());
            continue;
        }
        masked.push(match (mask_cell(value, column, keys), policy.mistyped) {
            (Some(masked), _) => masked,
            (None, Otherwise::Null) => String::new(),
            (None, Otherwise::Redact) => "[REDACTED]".to_owned(),
            (None, _) => {
                return Err(refusal("mistyped_cell", Some(row), Some(column.public.clone()), Some(cell.start)));
            }
        });
    }
    Ok(masked)
}

fn mask_cell(value: &str, column: &Planned, keys: &MaskingKeys) -> Option<String> {
    match &column.deed {
        Deed::Keep | Deed::Drop => Some(value.to_owned()),
        Deed::Null => Some(String::new()),
        Deed::Redact(text) => Some(text.clone()),
        Deed::Partial { first, last, keeps } => Some(partial(value, *first, *last, *keeps)),
        Deed::Hash(length) => {
            let key = keys.derive("mask/hash", &column.namespace);
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_slice()).unwrap();
            mac.update(value.as_bytes());
            let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            Some(hex[..*length].to_owned())
        }
        Deed::Truncate(keep) => Some(value.chars().take(*keep).collect()),
        Deed::Year => year(value),
        Deed::Round(to) => {
            let (negative, tenths) = tenths(value)?;
            let steps = (tenths + to * 10 / 2) / (to * 10);
            let rounded = steps * to;
            Some(if negative && rounded != 0 { format!("-{rounded}") } else { rounded.to_string() })
        }
        Deed::Clamp(min, max) => {
            let (negative, tenths) = tenths(value)?;
            let number = if negative { -tenths } else { tenths };
            Some(match number {
                _ if number < min * 10 => min.to_string(),
                _ if number > max * 10 => max.to_string(),
                _ => value.to_owned(),
            })
        }
    }
}

fn partial(value: &str, first: usize, last: usize, keeps: bool) -> String {
    let separates = |it: char| it.is_whitespace() || (it.is_ascii() && !it.is_ascii_alphanumeric());
    let count = value.chars().filter(|it| !separates(*it)).count();
    let hides = |index: usize| (index < first || index + last >= count) != keeps;
    let everything = (0..count).filter(|index| hides(*index)).count() < 4;
    let mut index = 0;
    let mut out = String::new();
    for it in value.chars() {
        let hidden = !separates(it) && (everything || hides(index));
        out.push(if hidden { '*' } else { it });
        index += usize::from(!separates(it));
    }
    out
}

fn year(value: &str) -> Option<String> {
    let [year, month, day] = value.split('-').collect::<Vec<_>>()[..] else { return None };
    let number = |text: &str, digits: usize| {
        (text.len() == digits && text.bytes().all(|it| it.is_ascii_digit())).then(|| text.parse::<u32>().unwrap())
    };
    let (y, m, d) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
    let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let days = match m {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=days).contains(&d).then(|| year.to_owned())
}

/// The tenths of a number with at most one place: sign and size.
fn tenths(value: &str) -> Option<(bool, i64)> {
    let (negative, digits) = match value.as_bytes().first()? {
        b'-' => (true, &value[1..]),
        b'+' => (false, &value[1..]),
        _ => (false, value),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !plain(whole) || !plain(fraction) || fraction.len() != 1 || whole.len() > 12 {
        return None;
    }
    Some((negative, whole.parse::<i64>().ok()? * 10 + fraction.parse::<i64>().ok()?))
}

/// Writes a record with its masked cells; fails with the column of a cell that would need quotes and cannot have them.
fn write_record(
    record: &Record,
    plan: &[Planned],
    masked: Option<&[String]>,
    dialect: &Dialect,
    out: &mut Vec<u8>,
) -> Result<(), usize> {
    let kept: Vec<usize> = (0..plan.len()).filter(|index| plan[*index].deed != Deed::Drop).collect();
    for (position, &index) in kept.iter().enumerate() {
        if position > 0 {
            out.push(dialect.delimiter);
        }
        let cell = &record.cells[index];
        let value = masked.map_or(cell.value.as_slice(), |masked| masked[index].as_bytes());
        let changed = value != cell.value;
        // The row of a lone empty cell would be an empty line.
        let vanishes = value.is_empty() && kept.len() == 1 && dialect.quote.is_some() && masked.is_some();
        let alone_now = vanishes && !cell.quoted && plan.len() > 1;
        if !changed && !alone_now {
            out.extend_from_slice(&cell.raw);
            continue;
        }
        let special = |byte: &u8| matches!(byte, b'\r' | b'\n') || *byte == dialect.delimiter;
        let needs = value.iter().any(|byte| special(byte) || Some(*byte) == dialect.quote) || vanishes;
        match dialect.quote {
            Some(quote) if cell.quoted || needs => {
                out.push(quote);
                for &byte in value {
                    out.push(byte);
                    if byte == quote {
                        out.push(byte);
                    }
                }
                out.push(quote);
            }
            None if needs => return Err(index),
            _ => out.extend_from_slice(value),
        }
    }
    out.extend_from_slice(&record.ending);
    Ok(())
}
