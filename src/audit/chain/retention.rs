//! Closed segments are compressed, and go when they are older than `keep` or the trail is larger than `total_size`.
//!
//! What was closed less than `compress_after` ago stays as it is, for shippers that are still reading it, and so does the
//! segment before the newest. A pruned segment leaves a
//! signed stub ([`Stub`]): the stub first, then the record `audit.pruned`, and the segment last. A kill in between is
//! made good by the next step.

use std::fs::{self, File, Permissions};
use std::io::{self, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::hold::{self, Hold};
use super::super::segment::{self, Lines, broken};
use super::super::stub::{self, Stub, Why};
use super::super::{Action, AuditError, Outcome, Record};
use super::Trail;
use crate::fsutil::{self, At};

/// What a step has done.
#[derive(Clone, Debug, PartialEq)]
pub enum Upkeep {
    /// Nothing was due.
    Idle,
    Compressed(String),
    Pruned(Stub),
    /// The trail is larger than it may be, and holds keep what could go.
    OverBudget {
        bytes: u64,
    },
}

/// A closed segment as its records tell it.
struct Survey {
    last_seq: u64,
    prev: String,
    last_line: String,
    first_at: Timestamp,
    last_at: Timestamp,
}

impl Trail {
    /// Does one step of what is due; to be called again until it says [`Upkeep::Idle`] or [`Upkeep::OverBudget`].
    pub fn upkeep(&mut self, now: Timestamp) -> Result<Upkeep, AuditError> {
        let dir = self.options.dir.clone();
        let holds = hold::list(&dir)?;
        if let Some(stub) = self.finish_pruning(&dir, &holds, now)? {
            return Ok(Upkeep::Pruned(stub));
        }
        let mut closed = segment::list(&dir)?;
        let current = self.segment.as_ref().map(|segment| segment.path.clone());
        closed.retain(|(_, path)| Some(path) != current.as_ref());
        // The newest stays as it is; and without one that is being written there is nothing newer for a stub to lean on.
        if current.is_none() || closed.pop().is_none() {
            return Ok(Upkeep::Idle);
        }
        let is_over = segment::bytes(&dir)? > self.options.total_size;
        let read_by_now = before(now, self.options.compress_after);
        for (_, path) in closed.iter().filter(|(_, path)| !segment::is_compressed(path)) {
            // Room for what is kept comes before shippers that are late.
            if is_over || written_at(path)? <= read_by_now {
                compress(path)?;
                return Ok(Upkeep::Compressed(segment::label(path)));
            }
        }
        self.prune_one(&dir, &closed, &holds, now)
    }

    /// Prunes the oldest segment that has to go and may.
    fn prune_one(
        &mut self,
        dir: &Path,
        closed: &[(u64, PathBuf)],
        holds: &[Hold],
        now: Timestamp,
    ) -> Result<Upkeep, AuditError> {
        let bytes = segment::bytes(dir)?;
        let is_over = bytes > self.options.total_size;
        let oldest_kept = before(now, self.options.keep);
        for (first, path) in closed {
            // A segment was written to for the last time before it was compressed: its time is never too early.
            let until = written_at(path)?;
            if !is_over && until >= oldest_kept {
                return Ok(Upkeep::Idle);
            }
            // What is held need not be read whole each time; clocks that were set back meanwhile are seen below.
            if !holds.is_empty() {
                let began = super::recovery::begins_at(path)?;
                if holds.iter().any(|hold| hold.covers(began, until)) {
                    continue;
                }
            }
            let survey = survey(path, *first)?;
            let why = if survey.last_at < oldest_kept { Why::Keep } else { Why::TotalSize };
            if why == Why::TotalSize && !is_over {
                return Ok(Upkeep::Idle);
            }
            if holds.iter().any(|hold| hold.covers(survey.first_at, survey.last_at)) {
                continue;
            }
            if !is_over && self.undelivered.is_some_and(|from| survey.last_seq >= from) {
                return Ok(Upkeep::Idle);
            }
            self.leads_on(dir, &survey)?;
            let Survey { last_seq, prev, last_line, first_at, last_at } = survey;
            let recorded_after = self.head.seq;
            let signature = String::new();
            let mut stub = Stub {
                stub_version: 0,
                first_seq: *first,
                last_seq,
                prev,
                head: segment::hash(last_line.as_bytes()),
                last_line,
                first_at,
                last_at,
                why,
                recorded_after,
                signature,
            };
            stub.sign(&self.key);
            stub.write(dir)?;
            crate::faults::point("audit_stub_written");
            self.record_pruned(&stub, now)?;
            remove_segment(dir, *first)?;
            return Ok(Upkeep::Pruned(stub));
        }
        Ok(if is_over { Upkeep::OverBudget { bytes } } else { Upkeep::Idle })
    }

    /// Whether the chain goes on behind a segment from where the segment ends.
    fn leads_on(&self, dir: &Path, survey: &Survey) -> Result<(), AuditError> {
        let next = survey.last_seq + 1;
        let head = segment::hash(survey.last_line.as_bytes());
        let says = |path: &Path, prev: &str| match prev == head {
            true => Ok(()),
            false => Err(broken(path, "it does not chain to the end of the segment before it")),
        };
        if let Some((_, path)) = segment::list(dir)?.into_iter().find(|(first, _)| *first == next) {
            return says(&path, &super::recovery::first_link(&path)?.1);
        }
        let path = Stub::path(dir, next);
        if path.exists() {
            return says(&path, &Stub::read(&path)?.prev);
        }
        Err(broken(&path, format!("record {next} is missing")))
    }

    fn record_pruned(&mut self, stub: &Stub, now: Timestamp) -> Result<(), AuditError> {
        let record = Record::new(now, Action::AuditPruned, Outcome::Success).veild(
            "pruned",
            json!({
                "segment": segment::file_name(stub.first_seq),
                "first_seq": stub.first_seq,
                "last_seq": stub.last_seq,
                "head": stub.head,
                "first_at": stub.first_at.to_string(),
                "last_at": stub.last_at.to_string(),
                "why": stub.why.name(),
            }),
        );
        self.append(&[record])?;
        crate::faults::point("audit_pruning_recorded");
        Ok(())
    }

    /// A stub that somebody else has put beside a segment must not take it away.
    fn vouches(&self, stub: &Stub, dir: &Path, first: u64) -> Result<(), AuditError> {
        let path = Stub::path(dir, first);
        let stays = |what: &str| broken(&path, format!("{what}; the segment beside it stays"));
        stub.verify(&self.key.verifying()).map_err(|what| stays(&format!("bad stub: {what}")))?;
        let Some((_, segment)) = segment::list(dir)?.into_iter().find(|(number, _)| *number == first) else {
            return Ok(());
        };
        let Survey { last_seq, prev, last_line, .. } = survey(&segment, first)?;
        let said = (stub.first_seq, stub.last_seq, stub.prev.as_str(), stub.head.as_str());
        match said == (first, last_seq, prev.as_str(), segment::hash(last_line.as_bytes()).as_str()) {
            true => Ok(()),
            false => Err(stays("it is of another segment")),
        }
    }

    /// Goes on where a kill came between stub, record and removal; a hold that came since then keeps the segment.
    fn finish_pruning(&mut self, dir: &Path, holds: &[Hold], now: Timestamp) -> Result<Option<Stub>, AuditError> {
        for (first, path) in stub::list(dir)? {
            if !segment::is_there(dir, first) {
                continue;
            }
            let stub = Stub::read(&path)?;
            self.vouches(&stub, dir, first)?;
            if holds.iter().any(|hold| hold.covers(stub.first_at, stub.last_at)) {
                fsutil::remove_if_there(&path)?;
                fsutil::fsync_dir(dir)?;
                continue;
            }
            let is_of_this = |line: &Value| {
                line["event"]["action"] == "audit.pruned" && line["veild"]["pruned"]["first_seq"] == stub.first_seq
            };
            if !segment::any_after(dir, stub.recorded_after, is_of_this)? {
                self.record_pruned(&stub, now)?;
            }
            remove_segment(dir, first)?;
            return Ok(Some(stub));
        }
        Ok(None)
    }
}

/// When a segment was last written to.
fn written_at(path: &Path) -> Result<Timestamp, AuditError> {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).at("stat", path)?;
    Ok(Timestamp::try_from(modified).unwrap_or(Timestamp::MAX))
}

fn before(now: Timestamp, time: Duration) -> Timestamp {
    SignedDuration::try_from(time).ok().and_then(|time| now.checked_sub(time).ok()).unwrap_or(Timestamp::MIN)
}

fn remove_segment(dir: &Path, first: u64) -> Result<(), AuditError> {
    for path in segment::spellings(dir, first) {
        fsutil::remove_if_there(&path)?;
        crate::faults::point("audit_segment_removed");
    }
    Ok(fsutil::fsync_dir(dir)?)
}

/// Follows the chain through a closed segment, to the checkpoint that ends it; one that is damaged is evidence, and must
/// stay.
fn survey(path: &Path, first: u64) -> Result<Survey, AuditError> {
    let mut lines = Lines::open(path)?;
    let mut survey: Option<Survey> = None;
    let (mut head, mut is_checkpoint) = (String::new(), false);
    while lines.advance()? {
        let value: Option<Value> = serde_json::from_slice(&lines.line).ok().filter(|_| lines.whole());
        let link = value.as_ref().and_then(segment::link);
        let at = super::recovery::happened_at(value.as_ref());
        let (Some((seq, prev)), Some(at)) = (link, at) else {
            return Err(broken(path, format!("line {} is no audit line", lines.number)));
        };
        survey = match survey {
            None if seq == first => Some(Survey {
                last_seq: seq,
                prev: prev.to_owned(),
                last_line: String::new(),
                first_at: at,
                last_at: at,
            }),
            Some(so_far) if seq == so_far.last_seq + 1 && prev == head => Some(Survey {
                last_seq: seq,
                // Clocks are set back now and then.
                first_at: so_far.first_at.min(at),
                last_at: so_far.last_at.max(at),
                ..so_far
            }),
            _ => return Err(broken(path, format!("line {} does not continue the chain", lines.number))),
        };
        head = segment::hash(&lines.line);
        is_checkpoint = value.is_some_and(|value| value["event"]["action"] == "audit.checkpoint");
        if is_checkpoint && let Some(survey) = &mut survey {
            survey.last_line = String::from_utf8_lossy(&lines.line).into_owned();
        }
    }
    match survey {
        Some(survey) if is_checkpoint => Ok(survey),
        Some(_) => Err(broken(path, "it does not end with a checkpoint")),
        None => Err(broken(path, "the segment is empty")),
    }
}

/// Compresses a closed segment; it counts until its compressed form is durable and has been read back.
fn compress(path: &Path) -> Result<(), AuditError> {
    let target = segment::compressed(path);
    let fresh = target.with_extension("zst.new");
    for left in [&fresh, &target] {
        fsutil::remove_if_there(left)?; // of a step that was cut off
    }
    let plain = File::open(path).at("open", path)?;
    let metadata = plain.metadata().at("stat", path)?;
    let file = fsutil::create_new(&fresh, 0o640)?;
    let squeezed = squeeze(&plain, &file, metadata.len()).at("compress to", &fresh);
    let placed = squeezed.and_then(|()| {
        file.set_permissions(Permissions::from_mode(0o640)).at("set the mode of", &fresh)?;
        // The time of the last record, by which its age is guessed.
        file.set_modified(metadata.modified().at("stat", path)?).at("set the time of", &fresh)?;
        file.sync_all().at("make durable", &fresh)
    });
    if let Err(error) = placed {
        let _ = fsutil::remove_if_there(&fresh); // the error that counts is the first one
        return Err(error.into());
    }
    if !segment::is_the_same(path, &fresh)? {
        fsutil::remove_if_there(&fresh)?;
        return Err(broken(&fresh, "it does not decompress to what it was made of; check memory and disk"));
    }
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::rename(&fresh, &target).at("rename to", &target)?;
    fsutil::fsync_dir(dir)?;
    crate::faults::point("audit_compressed");
    fsutil::remove_if_there(path)?;
    crate::faults::point("audit_plain_removed");
    Ok(fsutil::fsync_dir(dir)?)
}

fn squeeze(plain: &File, to: &File, bytes: u64) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(to, 0)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(bytes))?;
    io::copy(&mut BufReader::with_capacity(1 << 20, plain), &mut encoder)?;
    encoder.finish().map(drop)
}
