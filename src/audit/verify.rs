//! Verification: every byte of every segment against the chain and the signed checkpoints.

use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use super::chain::{checkpoint_message, checkpoint_record};
use super::segment::{self, GENESIS, Lines};
use super::{AuditError, NAMESPACE, Problem, Verdict};
use crate::keys::VerifyingKey;

/// Problems listed at most; one wholesale edit must not fill the memory.
const MAX_PROBLEMS: usize = 1000;

/// Lines between two calls of `progress`.
const LINES_PER_STEP: u64 = 1024;

struct Check<'k> {
    key: &'k VerifyingKey,
    verdict: Verdict,
    expected_seq: u64,
    expected_prev: String,
}

/// Reads every byte of the trail; `progress` is called now and then with the bytes done and their total.
pub fn verify(dir: &Path, key: &VerifyingKey, progress: &dyn Fn(u64, u64)) -> Result<Verdict, AuditError> {
    let verdict = Verdict {
        segments: 0,
        records: 0,
        checkpoints: 0,
        first_seq: 0,
        last_seq: 0,
        unsigned_records: 0,
        problems: Vec::new(),
    };
    let mut check = Check { key, verdict, expected_seq: 1, expected_prev: GENESIS.to_owned() };
    let segments = segment::list(dir)?;
    let size = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let total = segments.iter().map(|(_, path)| size(path)).sum();
    let mut done = 0;
    progress(done, total);
    for (first, path) in segments {
        check.segment(first, &path, &|offset| progress(done + offset, total))?;
        done += size(&path);
    }
    Ok(check.verdict)
}

impl Check<'_> {
    fn segment(&mut self, first: u64, path: &Path, progress: &dyn Fn(u64)) -> Result<(), AuditError> {
        self.verdict.segments += 1;
        let name = segment::label(path);
        let mut lines = Lines::open(path)?;
        while lines.advance()? {
            if lines.number.is_multiple_of(LINES_PER_STEP) {
                progress(lines.offset);
            }
            for what in self.line(&lines, first) {
                if self.verdict.problems.len() < MAX_PROBLEMS {
                    let (line, byte_offset) = (lines.number, lines.offset);
                    self.verdict.problems.push(Problem { segment: name.clone(), line, byte_offset, what });
                }
            }
        }
        if lines.number == 1 {
            let what = "the segment is empty".to_owned();
            self.verdict.problems.push(Problem { segment: name, line: 1, byte_offset: 0, what });
        }
        Ok(())
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
        if seq > self.expected_seq {
            problems.push(format!("records {} to {} are missing", self.expected_seq, seq - 1));
        } else if seq < self.expected_seq {
            problems.push(format!("record {seq} stands where {} belongs: inserted or reordered", self.expected_seq));
        }
        if prev != self.expected_prev {
            problems
                .push("does not chain to the line before it: that line was changed, removed or inserted".to_owned());
        }
        self.verdict.records += 1;
        self.verdict.unsigned_records += 1;
        if self.verdict.records == 1 {
            self.verdict.first_seq = seq;
        }
        self.verdict.last_seq = seq;
        let action = value.as_ref().and_then(|value| value.get("event")?.get("action")?.as_str());
        let checkpoint = value.as_ref().and_then(|value| value.get("veild")?.get("checkpoint"));
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
