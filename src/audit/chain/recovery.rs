//! What the last writer left: the end of the chain is found, and a torn tail cut off.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

use super::super::checkpoint::{Checkpoint, Seal};
use super::super::segment::{self, GENESIS, Lines, broken};
use super::super::stub::Stub;
use super::super::{AuditError, NAMESPACE};
use super::{Head, Segment, cut, day};
use crate::fsutil::{self, At};
use crate::keys::VerifyingKey;

/// A sealed checkpoint, which nobody may have signed, and where it stands.
pub(super) struct Sealed {
    pub seal: Seal,
    checkpoint: Checkpoint,
    segment: PathBuf,
    line: u64,
}

impl Sealed {
    /// Its epoch, if the host has signed it.
    pub fn epoch(&self, host: &VerifyingKey) -> Result<u64, AuditError> {
        let Sealed { seal, checkpoint, segment, line } = self;
        let signed = host.verify(NAMESPACE, &checkpoint.signed_message(), &checkpoint.signature);
        signed.map(|()| seal.epoch).map_err(|error| {
            let what = "was forged, or signed with a key that was replaced since (README, Keys)";
            let left = "the epoch key was left as it is";
            broken(segment, format!("line {line} is a checkpoint of epoch {} that {what}: {error}; {left}", seal.epoch))
        })
    }
}

/// The end of the trail.
pub(super) struct Recovered {
    pub segment: Option<Segment>,
    pub head: Head,
    /// Bytes of a torn tail.
    pub cut: u64,
    /// The last sealed checkpoint.
    pub sealed: Option<Sealed>,
}

/// Finds the end of the chain and cuts a torn tail.
pub(super) fn recover(dir: &Path) -> Result<Recovered, AuditError> {
    let mut segments = segment::list(dir)?;
    let mut torn = 0;
    while let Some((first, path)) = segments.pop() {
        if segment::is_compressed(&path) {
            // The one that was written behind it is gone, for verification to find; a new one is begun.
            let (_, head, sealed) = scan(&path, first)?;
            let head = head.ok_or_else(|| broken(&path, "the segment is empty"))?;
            return Ok(Recovered { segment: None, head, cut: torn, sealed });
        }
        let (mut segment, head, sealed) = scan(&path, first)?;
        let size = segment.file.metadata().at("stat", &path)?.len();
        torn += size - segment.len;
        let Some(head) = head else {
            // The crash came before its first record was whole: the segment before it is the newest.
            drop(segment);
            fsutil::remove_if_there(&path)?;
            fsutil::fsync_dir(dir)?;
            continue;
        };
        let (seq, prev) = first_link(&path)?;
        match segments.last() {
            // What was pruned in between is vouched for by its stub.
            _ if Stub::ends_at(dir, seq, &prev)? => {}
            Some((_, before)) => follows(&path, &prev, before)?,
            None => {}
        }
        cut(&mut segment)?;
        // A young segment has no checkpoint yet; the one before it ends with one.
        let sealed = match (sealed, segments.last()) {
            (None, Some((first, before))) => scan(before, *first)?.2,
            (sealed, _) => sealed,
        };
        return Ok(Recovered { segment: Some(segment), head, cut: torn, sealed });
    }
    let head = Head { seq: 0, hash: GENESIS.to_owned() };
    Ok(Recovered { segment: None, head, cut: torn, sealed: None })
}

/// Number and chaining of a segment's first record.
pub(super) fn first_link(path: &Path) -> Result<(u64, String), AuditError> {
    let mut lines = Lines::open(path)?;
    lines.advance()?;
    let value: Option<Value> = serde_json::from_slice(&lines.line).ok();
    let link = value.as_ref().and_then(segment::link).map(|(seq, prev)| (seq, prev.to_owned()));
    link.ok_or_else(|| broken(path, "line 1 is no audit line"))
}

/// When a segment's first record happened.
pub(super) fn begins_at(path: &Path) -> Result<Timestamp, AuditError> {
    let mut lines = Lines::open(path)?;
    lines.advance()?;
    let value: Option<Value> = serde_json::from_slice(&lines.line).ok();
    happened_at(value.as_ref()).ok_or_else(|| broken(path, "line 1 is no audit line"))
}

/// When a record happened.
pub(super) fn happened_at(record: Option<&Value>) -> Option<Timestamp> {
    record?.get("@timestamp")?.as_str()?.parse().ok()
}

/// Whether a segment's first line, which says `prev`, chains to the last one of the segment before it.
fn follows(path: &Path, prev: &str, before: &Path) -> Result<(), AuditError> {
    let mut lines = Lines::open(before)?;
    let mut last = String::new();
    while lines.advance()? {
        last = segment::hash(&lines.line);
    }
    if prev == last {
        return Ok(());
    }
    Err(broken(path, format!("line 1 does not chain to the end of {}", segment::label(before))))
}

/// A crash leaves one torn line at the end, perhaps with blocks of zeros that never reached the disk; anything else
/// behind a line that is not whole is an edit, and cutting it would destroy evidence.
fn only_zeros_follow(lines: &mut Lines) -> Result<(), AuditError> {
    let number = lines.number;
    while lines.advance()? {
        if lines.line.iter().any(|byte| *byte != 0) {
            return Err(broken(lines.path(), format!("line {number} is no audit line")));
        }
    }
    Ok(())
}

/// The segment, the end of its chain, and its last sealed checkpoint.
type Scanned = (Segment, Option<Head>, Option<Sealed>);

/// Follows the chain through a segment, up to its end or its torn last line.
fn scan(path: &Path, first: u64) -> Result<Scanned, AuditError> {
    let mut sealed = None;
    let mut lines = Lines::open(path)?;
    let mut head: Option<Head> = None;
    let (mut len, mut date) = (0, Date::ZERO);
    while lines.advance()? {
        if !lines.whole() {
            only_zeros_follow(&mut lines)?;
            break;
        }
        let value: Option<Value> = serde_json::from_slice(&lines.line).ok();
        let Some((seq, prev)) = value.as_ref().and_then(segment::link) else {
            return Err(broken(path, format!("line {} {}", lines.number, segment::unlinked(value.as_ref()))));
        };
        let follows = match &head {
            Some(head) => seq == head.seq + 1 && prev == head.hash,
            None => seq == first,
        };
        if !follows {
            return Err(broken(path, format!("line {} does not continue the chain", lines.number)));
        }
        if head.is_none() {
            date = happened_at(value.as_ref()).map(day).unwrap_or_default();
        }
        if let Some(json) = value.as_ref().and_then(|value| value.get("veild")?.get("checkpoint")) {
            let what = || broken(path, format!("line {} is no whole checkpoint", lines.number));
            let checkpoint = Checkpoint::parse(json).ok_or_else(what)?;
            if let Some(seal) = checkpoint.seal.clone() {
                sealed = Some(Sealed { seal, checkpoint, segment: path.to_owned(), line: lines.number });
            }
        }
        head = Some(Head { seq, hash: segment::hash(&lines.line) });
        len = lines.offset + lines.line.len() as u64;
    }
    let file = OpenOptions::new().read(true).write(!segment::is_compressed(path)).open(path).at("open", path)?;
    Ok((Segment { path: path.to_owned(), file, len, day: date }, head, sealed))
}
