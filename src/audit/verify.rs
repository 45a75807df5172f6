//! Verification: every byte of every segment against the chain and the signed checkpoints.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use super::chain::{checkpoint_message, checkpoint_record};
use super::segment::{self, GENESIS, Lines};
use super::stub::{self, Stub};
use super::{AuditError, NAMESPACE, Problem, Verdict};
use crate::keys::VerifyingKey;

/// Problems listed at most; one wholesale edit must not fill the memory.
const MAX_PROBLEMS: usize = 1000;

/// Readings at most of a trail of which segments go meanwhile.
const MAX_TRIES: u32 = 3;

/// Lines between two calls of `progress`.
const LINES_PER_STEP: u64 = 1024;

/// One piece of the trail.
enum Piece {
    Segment(PathBuf),
    /// What is left of one.
    Stub(PathBuf),
}

struct Check<'k> {
    key: &'k VerifyingKey,
    verdict: Verdict,
    expected_seq: u64,
    expected_prev: String,
    /// Stubs, and the first numbers of segments of which the trail says that they were pruned.
    stubs: Vec<Stub>,
    announced: HashSet<u64>,
}

/// Reads every byte of the trail; `progress` is called now and then with the bytes done and their total.
pub fn verify(dir: &Path, key: &VerifyingKey, progress: &dyn Fn(u64, u64)) -> Result<Verdict, AuditError> {
    let mut tries = 0;
    loop {
        match verify_once(dir, key, progress) {
            // The daemon has compressed or pruned a segment meanwhile.
            Err(AuditError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound && tries < MAX_TRIES => {
                tries += 1
            }
            verified => return verified,
        }
    }
}

fn verify_once(dir: &Path, key: &VerifyingKey, progress: &dyn Fn(u64, u64)) -> Result<Verdict, AuditError> {
    let (stubs, announced) = (Vec::new(), HashSet::new());
    let verdict = Verdict::default();
    let mut check = Check { key, verdict, expected_seq: 1, expected_prev: GENESIS.to_owned(), stubs, announced };
    let pieces = pieces(dir)?;
    let size = |piece: &Piece| match piece {
        // The bytes of a compressed segment are told apart by nothing else.
        Piece::Segment(path) => path.metadata().map_or(0, |metadata| metadata.len()),
        Piece::Stub(_) => 0,
    };
    let total = pieces.iter().map(|(_, piece)| size(piece)).sum();
    let mut done = 0;
    progress(done, total);
    for (first, piece) in pieces {
        match &piece {
            Piece::Segment(path) => {
                let end = done + size(&piece);
                check.segment(first, path, &|offset| progress((done + offset).min(end), total))?;
                done = end;
            }
            Piece::Stub(path) => check.stub(first, path)?,
        }
    }
    check.unannounced();
    Ok(check.verdict)
}

/// Segments and stubs in their order; where both are there, pruning was cut off, and the segment counts.
fn pieces(dir: &Path) -> Result<Vec<(u64, Piece)>, AuditError> {
    let mut pieces: BTreeMap<u64, Piece> =
        stub::list(dir)?.into_iter().map(|(first, path)| (first, Piece::Stub(path))).collect();
    pieces.extend(segment::list(dir)?.into_iter().map(|(first, path)| (first, Piece::Segment(path))));
    Ok(pieces.into_iter().collect())
}

impl Check<'_> {
    fn segment(&mut self, first: u64, path: &Path, progress: &dyn Fn(u64)) -> Result<(), AuditError> {
        self.verdict.segments += 1;
        let name = segment::label(path);
        let mut lines = Lines::open(path)?;
        loop {
            match lines.advance() {
                Ok(true) => {}
                Ok(false) => break,
                Err(AuditError::Io(error)) if segment::is_compressed(path) && error.source.raw_os_error().is_none() => {
                    self.problem(&name, &lines, format!("the compressed segment is damaged: {}", error.source));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            if lines.number.is_multiple_of(LINES_PER_STEP) {
                progress(lines.offset);
            }
            for what in self.line(&lines, first) {
                self.problem(&name, &lines, what);
            }
        }
        if lines.number == 1 {
            self.problem(&name, &lines, "the segment is empty".to_owned());
        }
        Ok(())
    }

    fn problem(&mut self, segment: &str, lines: &Lines, what: String) {
        self.add(Problem { segment: segment.to_owned(), line: lines.number, byte_offset: lines.offset, what });
    }

    fn add(&mut self, problem: Problem) {
        if self.verdict.problems.len() < MAX_PROBLEMS {
            self.verdict.problems.push(problem);
        }
    }

    /// Follows the chain across what was pruned.
    fn stub(&mut self, first: u64, path: &Path) -> Result<(), AuditError> {
        let name = segment::label(path);
        let problem = |what: String| Problem { segment: name.clone(), line: 1, byte_offset: 0, what };
        let stub = match Stub::read(path) {
            Ok(stub) => stub,
            Err(AuditError::Broken { what, .. }) => {
                self.add(problem(what));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if let Err(what) = stub.verify(self.key) {
            self.add(problem(format!("bad stub: {what}")));
        }
        if stub.first_seq != first || stub.last_seq < stub.first_seq {
            self.add(problem(format!("the file name promises record {first}, the stub begins at {}", stub.first_seq)));
        }
        for what in self.joint(stub.first_seq, &stub.prev) {
            self.add(problem(what));
        }
        self.verdict.pruned_segments += 1;
        self.verdict.pruned_records += stub.last_seq.saturating_sub(stub.first_seq).saturating_add(1);
        self.verdict.last_seq = stub.last_seq;
        self.expected_seq = stub.last_seq.saturating_add(1);
        self.expected_prev = stub.head.clone();
        self.stubs.push(stub);
        Ok(())
    }

    /// Nothing goes without a record that it went; the record itself may have been pruned later.
    fn unannounced(&mut self) {
        let last = self.stubs.last().map_or(0, |stub| stub.last_seq);
        let silent: Vec<_> = self
            .stubs
            .iter()
            .filter(|stub| !self.announced.contains(&stub.first_seq) && stub.recorded_after >= last)
            .map(|stub| (segment::file_name(stub.first_seq), stub.recorded_after))
            .collect();
        for (segment, after) in silent {
            let what = format!("it is pruned, and no record after {after} says so");
            self.add(Problem { segment, line: 1, byte_offset: 0, what });
        }
    }

    /// What is wrong where a piece or a line begins, with this number and chaining.
    fn joint(&self, seq: u64, prev: &str) -> Vec<String> {
        let mut problems = Vec::new();
        if seq > self.expected_seq {
            problems.push(format!("records {} to {} are missing", self.expected_seq, seq - 1));
        } else if seq < self.expected_seq {
            problems.push(format!("record {seq} stands where {} belongs: inserted or reordered", self.expected_seq));
        }
        if prev != self.expected_prev {
            problems
                .push("does not chain to the line before it: that line was changed, removed or inserted".to_owned());
        }
        problems
    }

    /// Checks one line and resynchronises on it, so that one edit is not reported for every line after it.
    fn line(&mut self, lines: &Lines, first: u64) -> Vec<String> {
        let mut problems = Vec::new();
        if !lines.whole() {
            problems.push("the line is cut off, too long or holds NUL bytes".to_owned());
        }
        let hash = segment::hash(&lines.line);
        let value: Option<Value> = serde_json::from_slice(&lines.line).ok();
        let Some((seq, prev)) = value.as_ref().and_then(segment::link) else {
            problems.push(format!("the line {}", segment::unlinked(value.as_ref())));
            self.expected_seq += 1;
            self.expected_prev = hash;
            return problems;
        };
        if lines.number == 1 && seq != first {
            problems.push(format!("the file name promises record {first}, the first one is {seq}"));
        }
        problems.extend(self.joint(seq, prev));
        self.verdict.records += 1;
        self.verdict.unsigned_records += 1;
        if self.verdict.records == 1 {
            self.verdict.first_seq = seq;
        }
        self.verdict.last_seq = seq;
        let action = value.as_ref().and_then(|value| value.get("event")?.get("action")?.as_str());
        let checkpoint = value.as_ref().and_then(|value| value.get("veild")?.get("checkpoint"));
        if action == Some("audit.pruned") {
            let first = value.as_ref().and_then(|value| value["veild"]["pruned"]["first_seq"].as_u64());
            self.announced.extend(first);
        }
        if checkpoint.is_some() || action == Some("audit.checkpoint") {
            match self.checkpoint(checkpoint, seq, &lines.line) {
                Ok(()) => {
                    self.verdict.checkpoints += 1;
                    self.verdict.unsigned_records = 0;
                }
                Err(what) => problems.push(format!("bad checkpoint: {what}")),
            }
        }
        self.expected_seq = seq.saturating_add(1);
        self.expected_prev = hash;
        problems
    }

    /// A checkpoint must be, byte for byte, what its signed content renders to: nothing after it vouches for it.
    fn checkpoint(&self, checkpoint: Option<&Value>, line_seq: u64, line: &[u8]) -> Result<(), String> {
        let text = |key: &str| checkpoint?.get(key)?.as_str();
        let seq = checkpoint.and_then(|checkpoint| checkpoint.get("seq")?.as_u64());
        let at = text("at").and_then(|at| at.parse::<Timestamp>().ok());
        let (Some(seq), Some(head), Some(at), Some(signature)) = (seq, text("head"), at, text("signature")) else {
            return Err("it lacks seq, head, at or signature".to_owned());
        };
        if seq.checked_add(1) != Some(line_seq) || head != self.expected_prev {
            return Err("it signs another line than the one before it".to_owned());
        }
        if signature.trim_end() != signature {
            return Err("the signature's armour has been altered".to_owned());
        }
        self.key.verify(NAMESPACE, &checkpoint_message(seq, head, at), signature).map_err(|error| error.to_string())?;
        let record = checkpoint_record(seq, head, at, signature);
        if segment::render(&record, None, line_seq, head) != line {
            return Err("its unsigned part has been altered".to_owned());
        }
        Ok(())
    }
}
