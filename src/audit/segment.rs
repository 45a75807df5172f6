//! Segments: the form of a line, reading them; which there are is told by their [`names`].

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow::{self, Break, Continue};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{AUDIT_VERSION, Action, AuditError, MAX_LINE, Record};
use crate::fsutil::{At, open_regular};
use crate::job::JobId;

mod names;

pub(super) use names::{
    bytes, compressed, doubled, file_name, is_compressed, is_the_same, is_there, label, list, misnamed, numbered,
    spellings,
};

/// `veild.prev` of the very first record.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Bytes read at once.
const BLOCK: usize = 256 << 10;
/// What a string is cut to in a record that is too long.
const SHORT: usize = 256;

pub(super) fn broken(path: &Path, what: impl Into<String>) -> AuditError {
    AuditError::Broken { segment: label(path), what: what.into() }
}

pub(super) fn unusable(path: &Path, what: impl Into<String>) -> AuditError {
    AuditError::Unusable { path: path.to_owned(), what: what.into() }
}

/// Reads lines with their newline, never more than [`MAX_LINE`] bytes of one at a time.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
    path: PathBuf,
    pub line: Vec<u8>,
    /// Of `line`, from 1.
    pub number: u64,
    /// Of the first byte of `line`.
    pub offset: u64,
}

impl Lines {
    pub fn open(path: &Path) -> Result<Lines, AuditError> {
        Lines::open_at(path, 0)
    }

    /// Opens a segment behind its first `offset` bytes, as they were before it was compressed.
    pub fn open_at(path: &Path, offset: u64) -> Result<Lines, AuditError> {
        let (mut file, path) = open_file(path)?;
        let reader: Box<dyn BufRead + Send> = if is_compressed(&path) {
            let mut plain = zstd::stream::read::Decoder::new(file).at("open", &path)?;
            io::copy(&mut plain.by_ref().take(offset), &mut io::sink()).at("read", &path)?;
            Box::new(BufReader::with_capacity(BLOCK, plain))
        } else {
            file.seek(SeekFrom::Start(offset)).at("read", &path)?;
            Box::new(BufReader::with_capacity(BLOCK, file))
        };
        Ok(Lines { reader, path, line: Vec::new(), number: 0, offset })
    }

    /// Moves to the next line; false at the end of the file.
    pub fn advance(&mut self) -> Result<bool, AuditError> {
        self.offset += self.line.len() as u64;
        self.number += 1;
        self.line.clear();
        let read: io::Result<usize> = self.reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut self.line);
        Ok(read.at("read", &self.path)? > 0)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn whole(&self) -> bool {
        is_whole(&self.line)
    }
}

/// Opens a segment under the name that it has now.
pub(super) fn open_file(path: &Path) -> Result<(File, PathBuf), AuditError> {
    match open_regular(path) {
        // It was compressed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_compressed(path) => {
            let path = compressed(path);
            Ok((open_regular(&path)?, path))
        }
        opened => Ok((opened?, path.to_owned())),
    }
}

/// Whether a line is as the writer leaves one: ended, and without the NULs of blocks that never reached the disk.
pub(super) fn is_whole(line: &[u8]) -> bool {
    line.ends_with(b"\n") && memchr::memchr(0, line).is_none()
}

pub(super) fn hash(line: &[u8]) -> String {
    super::epoch::hex(&Sha256::digest(line))
}

/// The numbering and chaining of a parsed line.
pub(super) fn link(value: &Value) -> Option<(u64, &str)> {
    let veild = value.get("veild")?;
    (1..=AUDIT_VERSION).contains(&veild.get("audit_version")?.as_u64()?).then_some(())?;
    Some((veild.get("seq")?.as_u64()?, veild.get("prev")?.as_str()?))
}

/// Why a line has no numbering and chaining.
pub(super) fn unlinked(value: Option<&Value>) -> String {
    let version = value.and_then(|value| value.get("veild")?.get("audit_version")?.as_u64());
    match version.filter(|version| *version > AUDIT_VERSION) {
        Some(version) => format!("was written by a newer veild (audit_version {version}); upgrade veild"),
        None => "is no audit line of a known version".to_owned(),
    }
}

/// A record as its line. `host` is absent on checkpoints of before version 3 alone: verification must be able to rebuild
/// them from what their signature covers, for no later line vouches for the last one.
pub(super) fn render(record: &Record, host: Option<&str>, seq: u64, prev: &str) -> Vec<u8> {
    let line = render_once(record, host, seq, prev);
    if line.len() <= MAX_LINE {
        return line;
    }
    let mut short = record.clone();
    shorten(&mut short.fields);
    shorten(&mut short.veild);
    short.veild.insert("shortened".to_owned(), Value::Bool(true));
    let line = render_once(&short, host, seq, prev);
    if line.len() <= MAX_LINE {
        return line;
    }
    let bare = Record::new(record.at, record.action, record.outcome).veild("shortened", true);
    render_once(&bare, host, seq, prev)
}

fn render_once(record: &Record, host: Option<&str>, seq: u64, prev: &str) -> Vec<u8> {
    let mut line = Map::new();
    line.insert("@timestamp".to_owned(), json!(record.at.to_string()));
    line.insert("ecs".to_owned(), json!({"version": "8.11"}));
    let (category, kind) = record.action.class();
    let mut event = json!({"action": record.action, "outcome": record.outcome, "category": [category]});
    if host.is_some() {
        event["type"] = json!([kind]);
    }
    event["kind"] = json!(record.action.kind());
    event["dataset"] = json!("veild.audit");
    if let Some(host) = host {
        event["module"] = json!("veild");
        event["id"] = json!(id(seq, prev, record, host));
    }
    line.insert("event".to_owned(), event);
    if let Some(host) = host {
        line.insert("host".to_owned(), json!({"name": host}));
    }
    merge(&mut line, &record.fields);
    let mut veild = Map::new();
    let is_sealed = record.veild.get("checkpoint").is_some_and(|checkpoint| checkpoint.get("epoch").is_some());
    let version = if host.is_some() { AUDIT_VERSION } else { 1 + u64::from(is_sealed) };
    veild.insert("audit_version".to_owned(), json!(version));
    veild.insert("seq".to_owned(), json!(seq));
    veild.insert("prev".to_owned(), json!(prev));
    merge(&mut veild, &record.veild);
    // Ours replaces whatever a caller has put there: nothing may pass for the chain.
    line.insert("veild".to_owned(), Value::Object(veild));
    let mut bytes = Value::Object(line).to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

/// `event.id`, which tells a record that arrives twice somewhere: no other one has its place in the chain, and of those
/// that begin one none has its time and host.
fn id(seq: u64, prev: &str, record: &Record, host: &str) -> String {
    let mut id = hash(format!("veild-event-id v1\n{seq}\n{prev}\n{}\n{host}\n", record.at).as_bytes());
    id.truncate(32);
    id
}

/// Adds what is not there yet; what is there stays.
fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (None, _) => {
                into.insert(key.clone(), value.clone());
            }
            (Some(Value::Object(inner)), Value::Object(more)) => merge(inner, more),
            (Some(_), _) => {}
        }
    }
}

fn shorten(map: &mut Map<String, Value>) {
    for value in map.values_mut() {
        match value {
            Value::String(text) if text.len() > SHORT => {
                *text = text.chars().take(SHORT).chain(['…']).collect();
            }
            Value::Object(inner) => shorten(inner),
            Value::Array(items) => items.truncate(16),
            _ => {}
        }
    }
}

/// Hands out every record, in order.
pub fn each_record(dir: &Path, mut take: impl FnMut(Value)) -> Result<(), AuditError> {
    list(dir)?.iter().try_for_each(|(_, path)| {
        let _all = each(path, |_, value| {
            take(value);
            Ok(Continue(()))
        })?;
        Ok(())
    })
}

/// Hands out the records with a number above `seq`, in order, until there have been enough of them.
pub fn each_after(
    dir: &Path,
    seq: u64,
    mut take: impl FnMut(Value) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, AuditError> {
    let segments = list(dir)?;
    for (index, (_, path)) in segments.iter().enumerate() {
        // A segment ends where the next one begins.
        if segments.get(index + 1).is_some_and(|(next, _)| *next <= seq.saturating_add(1)) {
            continue;
        }
        let flow = each(path, |_, value| match link(&value) {
            Some((number, _)) if number > seq => Ok(take(value)),
            _ => Ok(Continue(())),
        })?;
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(Continue(()))
}

/// Whether one of the records above `seq` is of a kind; nothing behind the first of them is read.
pub fn any_after(dir: &Path, seq: u64, is_it: impl Fn(&Value) -> bool) -> Result<bool, AuditError> {
    Ok(each_after(dir, seq, |record| if is_it(&record) { Break(()) } else { Continue(()) })?.is_break())
}

/// Number of a record that was written before a point in time, with few between; 0 where none is known to have been.
pub fn last_seq_before(dir: &Path, time: Timestamp) -> Result<u64, AuditError> {
    for (first_seq, path) in list(dir)?.iter().rev() {
        let mut is_earlier = false;
        let _first = each(path, |_, record| {
            let written_at = record["@timestamp"].as_str().and_then(|it| it.parse::<Timestamp>().ok());
            is_earlier = written_at.is_some_and(|it| it < time);
            Ok(Break(()))
        })?;
        if is_earlier {
            return Ok(*first_seq);
        }
    }
    Ok(0)
}

/// Whether a record with a sequence number above `seq` says that this was done to a job's file.
pub fn is_recorded(dir: &Path, seq: u64, action: Action, job: JobId) -> Result<bool, AuditError> {
    let (action, job) = (json!(action), json!(job));
    any_after(dir, seq, |line| line["event"]["action"] == action && line["veild"]["job"] == job)
}

/// All records with a sequence number above `seq`, as parsed lines; for recovery and `audit tail`.
pub fn lines_after(dir: &Path, seq: u64) -> Result<Vec<Value>, AuditError> {
    let mut found = Vec::new();
    let _all = each_after(dir, seq, |record| {
        found.push(record);
        Continue(())
    })?;
    Ok(found)
}

/// The last `n` records, oldest first.
pub fn tail(dir: &Path, n: usize) -> Result<Vec<Value>, AuditError> {
    let mut found: VecDeque<Value> = VecDeque::new();
    for (_, path) in list(dir)?.iter().rev() {
        let wanted = n - found.len();
        if wanted == 0 {
            break;
        }
        let mut last = VecDeque::new();
        let _all = each(path, |_, value| {
            if last.len() == wanted {
                last.pop_front();
            }
            last.push_back(value);
            Ok(Continue(()))
        })?;
        last.append(&mut found);
        found = last;
    }
    Ok(found.into())
}

/// The number of the last record; 0 when there is none.
pub fn last_seq(dir: &Path) -> Result<u64, AuditError> {
    Ok(tail(dir, 1)?.first().and_then(link).map_or(0, |(seq, _)| seq))
}

/// Hands out the lines of a segment with their bytes until there have been enough of them; a last one without newline is
/// still being written, or torn, and left out.
fn each(
    path: &Path,
    mut take: impl FnMut(&[u8], Value) -> Result<ControlFlow<()>, AuditError>,
) -> Result<ControlFlow<()>, AuditError> {
    let mut lines = Lines::open(path)?;
    while lines.advance()? {
        if !lines.line.ends_with(b"\n") && lines.line.len() <= MAX_LINE {
            break;
        }
        let value = serde_json::from_slice(&lines.line)
            .map_err(|_| broken(path, format!("line {} is no JSON", lines.number)))?;
        if take(&lines.line, value)?.is_break() {
            return Ok(Break(()));
        }
    }
    Ok(Continue(()))
}

/// Hands out every line of the trail with its bytes, in order.
pub fn each_line(dir: &Path, mut take: impl FnMut(&[u8], &Value) -> io::Result<()>) -> Result<(), AuditError> {
    for (_, path) in list(dir)? {
        let _all = each(&path, |line, value| {
            take(line, &value).at("hand on", &path)?;
            Ok(Continue(()))
        })?;
    }
    Ok(())
}
