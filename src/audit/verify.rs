//! Verification: every byte of every segment against the chain and the signed checkpoints.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::checkpoint::Checkpoint;
use super::epoch::{EpochKey, Secret};
use super::segment::{self, GENESIS, Lines};
use super::stub::{self, Stub};
use super::{AUDIT_VERSION, AuditError, NAMESPACE, Problem, Verdict};
use crate::keys::VerifyingKey;

/// Problems listed at most; one wholesale edit must not fill the memory.
const MAX_PROBLEMS: usize = 1000;

/// Readings at most of a trail of which segments go meanwhile.
const MAX_TRIES: u32 = 3;

/// Lines between two calls of `progress`.
const LINES_PER_STEP: u64 = 1024;

/// What the chain needs of a line; of the rest only that it is JSON.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    event: Option<Event<'a>>,
    veild: Links<'a>,
}

#[derive(Deserialize)]
struct Event<'a> {
    action: &'a str,
}

#[derive(Deserialize)]
struct Links<'a> {
    audit_version: u64,
    seq: u64,
    prev: &'a str,
    checkpoint: Option<IgnoredAny>,
}

/// One piece of the trail.
enum Piece {
    Segment(PathBuf),
    /// What is left of one.
    Stub(PathBuf),
}

/// What was kept elsewhere, or on the host beside the trail, to check it against.
#[derive(Default)]
pub struct Evidence {
    secrets: Vec<Secret>,
    checkpoints: Vec<Checkpoint>,
    /// The host's key; compared with the secrets.
    epoch_key: PathBuf,
}

impl Evidence {
    /// Takes the secret that was shown when the trail began.
    pub fn secret(mut self, file: &Path, epoch_key: &Path) -> Result<Evidence, AuditError> {
        self.secrets = Secret::load(file)?;
        epoch_key.clone_into(&mut self.epoch_key);
        Ok(self)
    }

    /// Takes checkpoints that were copied from the trail or the operational log.
    pub fn checkpoints(mut self, file: &Path) -> Result<Evidence, AuditError> {
        self.checkpoints.extend(Checkpoint::load(file)?);
        Ok(self)
    }
}

struct Check<'k> {
    key: &'k VerifyingKey,
    evidence: Evidence,
    /// Key and epoch of the last sealed checkpoint.
    epoch: Option<(String, u64)>,
    verdict: Verdict,
    expected_seq: u64,
    expected_prev: String,
    /// Stubs, and the first numbers of segments of which the trail says that they were pruned.
    stubs: Vec<Stub>,
    announced: HashSet<u64>,
}

/// Reads every byte of the trail; `progress` is called now and then with the bytes done and their total.
pub fn verify(dir: &Path, key: &VerifyingKey, progress: &dyn Fn(u64, u64)) -> Result<Verdict, AuditError> {
    verify_with(dir, key, || Ok(Evidence::default()), progress)
}

/// As [`verify`], against what was kept elsewhere.
pub fn verify_with(
    dir: &Path,
    key: &VerifyingKey,
    evidence: impl Fn() -> Result<Evidence, AuditError>,
    progress: &dyn Fn(u64, u64),
) -> Result<Verdict, AuditError> {
    let mut tries = 0;
    loop {
        match verify_once(dir, key, evidence()?, progress) {
            // The daemon has compressed or pruned a segment meanwhile.
            Err(AuditError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound && tries < MAX_TRIES => {
                tries += 1
            }
            verified => return verified,
        }
    }
}

fn verify_once(
    dir: &Path,
    key: &VerifyingKey,
    evidence: Evidence,
    progress: &dyn Fn(u64, u64),
) -> Result<Verdict, AuditError> {
    // Before the trail is read: a running daemon goes on with both.
    let host_key = (!evidence.secrets.is_empty()).then(|| EpochKey::load(&evidence.epoch_key));
    let (stubs, announced) = (Vec::new(), HashSet::new());
    let verdict = Verdict::default();
    let expected_prev = GENESIS.to_owned();
    let mut check = Check { key, evidence, epoch: None, verdict, expected_seq: 1, expected_prev, stubs, announced };
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
    check.end(host_key)?;
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
        for what in self.joint(stub.first_seq, &stub.prev).into_iter().chain(self.compare(stub.last_seq, &stub.head)) {
            self.add(problem(what));
        }
        self.verdict.pruned_segments += 1;
        self.verdict.pruned_records += stub.last_seq.saturating_sub(stub.first_seq).saturating_add(1);
        self.verdict.last_seq = stub.last_seq;
        self.expected_seq = stub.last_seq.saturating_add(1);
        self.expected_prev = stub.head.clone();
        // Which epochs were in there is not known.
        self.epoch = None;
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
        let parsed: Option<Line<'_>> = serde_json::from_slice(&lines.line).ok();
        let known = parsed.filter(|line| (1..=AUDIT_VERSION).contains(&line.veild.audit_version));
        let Some(Line { event, veild: Links { seq, prev, checkpoint, .. } }) = known else {
            let value: Option<Value> = serde_json::from_slice(&lines.line).ok();
            problems.push(format!("the line {}", segment::unlinked(value.as_ref())));
            self.expected_seq += 1;
            self.expected_prev = hash;
            return problems;
        };
        if lines.number == 1 && seq != first {
            problems.push(format!("the file name promises record {first}, the first one is {seq}"));
        }
        problems.extend(self.joint(seq, prev));
        problems.extend(self.compare(seq, &hash));
        self.verdict.records += 1;
        self.verdict.unsigned_records += 1;
        if self.verdict.records == 1 {
            self.verdict.first_seq = seq;
        }
        self.verdict.last_seq = seq;
        let veild = || -> Option<Value> { serde_json::from_slice::<Value>(&lines.line).ok()?.get("veild").cloned() };
        let action = event.map(|event| event.action);
        if action == Some("audit.pruned") {
            self.announced.extend(veild().and_then(|veild| veild["pruned"]["first_seq"].as_u64()));
        }
        if checkpoint.is_some() || action == Some("audit.checkpoint") {
            match self.checkpoint(veild().as_ref().and_then(|veild| veild.get("checkpoint")), seq, &lines.line) {
                Ok(at) => {
                    self.verdict.checkpoints += 1;
                    self.verdict.unsigned_records = 0;
                    // Given the secret, a signature alone proves nothing: a later root has that key.
                    let is_sealed = self.evidence.secrets.is_empty() || self.epoch.is_some();
                    if is_sealed && problems.is_empty() && self.verdict.problems.is_empty() {
                        (self.verdict.trusted_seq, self.verdict.trusted_at) = (seq, Some(at));
                    }
                }
                Err(what) => problems.push(format!("bad checkpoint: {what}")),
            }
        }
        self.expected_seq = seq.saturating_add(1);
        self.expected_prev = hash;
        problems
    }

    /// A checkpoint must be, byte for byte, what its signed content renders to: nothing after it vouches for it.
    fn checkpoint(&mut self, json: Option<&Value>, line_seq: u64, line: &[u8]) -> Result<Timestamp, String> {
        let checkpoint = json.and_then(Checkpoint::parse).ok_or("it lacks seq, head, at or signature")?;
        if checkpoint.seq.checked_add(1) != Some(line_seq) || checkpoint.head != self.expected_prev {
            return Err("it signs another line than the one before it".to_owned());
        }
        if checkpoint.signature.trim_end() != checkpoint.signature {
            return Err("the signature's armour has been altered".to_owned());
        }
        let signed = self.key.verify(NAMESPACE, &checkpoint.signed_message(), &checkpoint.signature);
        signed.map_err(|error| error.to_string())?;
        if segment::render(&checkpoint.record(), None, line_seq, &checkpoint.head) != line {
            return Err("its unsigned part has been altered".to_owned());
        }
        self.seal(&checkpoint)?;
        Ok(checkpoint.at)
    }

    /// Epochs follow each other without a gap, each under the key that was erased after it.
    fn seal(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        let Some(seal) = &checkpoint.seal else {
            return match &self.epoch {
                Some((_, last)) => Err(format!("it is not sealed, and epoch {last} was before it")),
                None => Ok(()),
            };
        };
        let before = self.epoch.replace((seal.key.clone(), seal.epoch));
        let due = match before {
            Some((key, last)) if key == seal.key => last.saturating_add(1),
            // What went before was pruned.
            None if !self.stubs.is_empty() => seal.epoch,
            _ => 0,
        };
        if !self.evidence.secrets.is_empty() {
            let secret = self.evidence.secrets.iter_mut().find(|secret| secret.id() == seal.key);
            let secret = secret.ok_or_else(|| format!("it is sealed under another secret ({})", seal.key))?;
            if !secret.verifies(seal.epoch, &checkpoint.sealed_message(), &seal.mac) {
                return Err(format!("its seal of epoch {} does not hold: this was written anew later", seal.epoch));
            }
            self.verdict.sealed_checkpoints += 1;
        }
        match seal.epoch == due {
            true => Ok(()),
            false => Err(format!("it is of epoch {}, and {due} belongs here: checkpoints were removed", seal.epoch)),
        }
    }

    /// Compares a record, or the end of a pruned part, with the checkpoints that were kept elsewhere.
    fn compare(&mut self, seq: u64, hash: &str) -> Option<String> {
        let known = &mut self.evidence.checkpoints;
        let index = known.iter().position(|known| known.seq == seq)?;
        let known = known.swap_remove(index);
        (known.head != hash)
            .then(|| format!("record {seq} is not the one of the given checkpoint: it or one before it was rewritten"))
    }

    /// What the trail should have and has not.
    fn end(&mut self, host_key: Option<Result<Option<EpochKey>, AuditError>>) -> Result<(), AuditError> {
        self.unannounced();
        let missing = |what: String| Problem { segment: "the trail".to_owned(), line: 0, byte_offset: 0, what };
        let last = self.verdict.last_seq;
        let pruned = |seq: u64| self.stubs.iter().any(|stub| (stub.first_seq..=stub.last_seq).contains(&seq));
        let mut problems = Vec::new();
        for known in &self.evidence.checkpoints {
            if known.seq > last {
                problems.push(missing(format!(
                    "it ends at {last}, and the given checkpoint is of {}: rolled back",
                    known.seq
                )));
            } else if !pruned(known.seq) {
                problems.push(missing(format!("record {} of the given checkpoint is missing", known.seq)));
            }
        }
        if let Some(host_key) = host_key {
            problems.extend(self.end_of_epochs(host_key)?.map(missing));
        }
        problems.into_iter().for_each(|problem| self.add(problem));
        Ok(())
    }

    /// The host's key has gone on by one epoch for each checkpoint: fewer of them were cut off.
    fn end_of_epochs(&mut self, host_key: Result<Option<EpochKey>, AuditError>) -> Result<Option<String>, AuditError> {
        let path = &self.evidence.epoch_key;
        let key = match host_key {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(Some(format!("the epoch key {} is gone", path.display()))),
            Err(AuditError::Broken { what, .. }) => {
                return Ok(Some(format!("the epoch key {}: {what}", path.display())));
            }
            Err(error) => return Err(error),
        };
        let is_ours = |secret: &mut Secret| secret.id() == key.id && secret.leads_to(&key);
        if !self.evidence.secrets.iter_mut().any(is_ours) {
            return Ok(Some(format!("the epoch key {} does not come from the given secret", path.display())));
        }
        let next = self.epoch.as_ref().filter(|(id, _)| *id == key.id).map_or(0, |(_, epoch)| epoch.saturating_add(1));
        // A kill may have come between a checkpoint and the next epoch.
        let what = format!("it ends before epoch {next}, and the host's key is of {}: its end was cut off", key.epoch);
        Ok((key.epoch > next).then_some(what))
    }
}
