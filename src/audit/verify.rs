//! Verification: every byte of every segment against the chain and the signed checkpoints.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;

use jiff::Timestamp;
use serde_json::Value;

use super::checkpoint::Checkpoint;
use super::segment::{self, GENESIS};
use super::stub::{self, Stub};
use super::{AuditError, NAMESPACE, Problem, Verdict};
use crate::keys::VerifyingKey;

mod evidence;
mod pruned;
mod scan;

pub use evidence::Evidence;
use scan::{Item, Kind, Link, Scanned};

/// Problems listed at most; one wholesale edit must not fill the memory.
const MAX_PROBLEMS: usize = 1000;

/// Readings at most of a trail of which segments go meanwhile.
const MAX_TRIES: u32 = 3;

/// One piece of the trail.
enum Piece {
    Segment(PathBuf),
    /// What is left of one.
    Stub(PathBuf),
}

/// Which of the checkpoints since the last one that was seen are there.
#[derive(Clone, Copy)]
enum Between {
    /// All there were.
    All,
    /// Some may have gone with their segment.
    Pruned,
}

struct Check<'k> {
    key: &'k VerifyingKey,
    evidence: Evidence,
    /// Key and epoch of the last sealed checkpoint.
    epoch: Option<(String, u64)>,
    between: Between,
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
    let host_key = evidence.host_key();
    let (stubs, announced) = (Vec::new(), HashSet::new());
    let verdict = Verdict::default();
    let expected_prev = GENESIS.to_owned();
    let mut check = Check {
        key,
        evidence,
        epoch: None,
        between: Between::All,
        verdict,
        expected_seq: 1,
        expected_prev,
        stubs,
        announced,
    };
    check.compare(0, GENESIS); // the very first checkpoint pins what is before any record
    let pieces = pieces(dir)?;
    let size = |piece: &Piece| match piece {
        // The bytes of a compressed segment are told apart by nothing else.
        Piece::Segment(path) => path.metadata().map_or(0, |metadata| metadata.len()),
        Piece::Stub(_) => 0,
    };
    let total = pieces.iter().map(|(_, piece)| size(piece)).sum();
    let mut done = 0;
    progress(done, total);
    let segments = pieces.iter().filter_map(|(_, piece)| match piece {
        Piece::Segment(path) => Some(path.clone()),
        Piece::Stub(_) => None,
    });
    let segments: Vec<PathBuf> = segments.collect();
    std::thread::scope(|scope| {
        let items = scan::start(scope, segments);
        for (first, piece) in &pieces {
            match piece {
                Piece::Segment(path) => {
                    let end = done + size(piece);
                    check.segment(*first, path, &items, &|offset| progress((done + offset).min(end), total))?;
                    done = end;
                }
                Piece::Stub(path) => check.stub(*first, path)?,
            }
        }
        Ok::<(), AuditError>(())
    })?;
    check.beside(dir)?;
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
    fn segment(
        &mut self,
        first: u64,
        path: &Path,
        items: &Receiver<Item>,
        progress: &dyn Fn(u64),
    ) -> Result<(), AuditError> {
        self.verdict.segments += 1;
        let (name, mut number, mut offset) = (segment::label(path), 0, 0);
        loop {
            match items.recv() {
                Ok(Item::Lines(lines)) => {
                    for line in lines.recv().into_iter().flatten() {
                        (number, offset) = (number + 1, line.offset);
                        for what in self.line(&line, number, first) {
                            self.add(Problem { segment: name.clone(), line: number, byte_offset: offset, what });
                        }
                    }
                    progress(offset);
                }
                Ok(Item::End(Ok(()))) if number > 0 => return Ok(()),
                Ok(Item::End(Ok(()))) => {
                    let what = "the segment is empty".to_owned();
                    self.add(Problem { segment: name, line: 1, byte_offset: 0, what });
                    return Ok(());
                }
                Ok(Item::End(Err(AuditError::Io(error)))) if error.source.raw_os_error().is_none() => {
                    let what = match segment::is_compressed(path) {
                        true => format!("the compressed segment is damaged: {}", error.source),
                        false => format!("the segment cannot be read: {}", error.source),
                    };
                    self.add(Problem { segment: name, line: number + 1, byte_offset: offset, what });
                    return Ok(());
                }
                Ok(Item::End(Err(error))) => return Err(error),
                // A reading thread has panicked, which the scope passes on.
                Err(_) => return Err(segment::broken(path, "its reading was cut off")),
            }
        }
    }

    /// What lies beside the segments that were read, and would be taken for one of them.
    fn beside(&mut self, dir: &Path) -> Result<(), AuditError> {
        let about = |segment, what: &str| Problem { segment, line: 0, byte_offset: 0, what: what.to_owned() };
        for segment in segment::misnamed(dir)? {
            self.add(about(
                segment,
                "the file is named like a segment, and its number is none: nothing was read of it",
            ));
        }
        for (plain, compressed) in segment::doubled(dir)? {
            if !segment::is_the_same(&plain, &compressed)? {
                let what = "the compressed segment is damaged, or another one than that beside it, which was read";
                self.add(about(segment::label(&compressed), what));
            }
        }
        Ok(())
    }

    fn add(&mut self, problem: Problem) {
        if self.verdict.problems.len() < MAX_PROBLEMS {
            self.verdict.problems.push(problem);
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
    fn line(&mut self, line: &Scanned, number: u64, first: u64) -> Vec<String> {
        let mut problems = Vec::new();
        if !line.is_whole {
            problems.push("the line is cut off, too long or holds NUL bytes".to_owned());
        }
        let hash = &line.hash;
        let (Link { seq, prev }, bytes) = match &line.kind {
            Kind::Plain(link) => (link, None),
            Kind::Checkpoint(link, bytes) | Kind::Pruned(link, bytes) => (link, Some(bytes)),
            Kind::Unknown(bytes) => {
                let value: Option<Value> = serde_json::from_slice(bytes).ok();
                problems.push(format!("the line {}", segment::unlinked(value.as_ref())));
                self.expected_seq += 1;
                self.expected_prev.clone_from(hash);
                return problems;
            }
        };
        let seq = *seq;
        if number == 1 && seq != first {
            problems.push(format!("the file name promises record {first}, the first one is {seq}"));
        }
        problems.extend(self.joint(seq, prev));
        problems.extend(self.compare(seq, hash));
        self.verdict.records += 1;
        self.verdict.unsigned_records += 1;
        if self.verdict.records == 1 {
            self.verdict.first_seq = seq;
        }
        self.verdict.last_seq = seq;
        let veild = bytes.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok()?.get("veild").cloned());
        if let Kind::Pruned(..) = line.kind {
            self.announced.extend(veild.as_ref().and_then(|veild| veild["pruned"]["first_seq"].as_u64()));
        }
        if let Kind::Checkpoint(_, bytes) = &line.kind {
            match self.checkpoint(veild.as_ref().and_then(|veild| veild.get("checkpoint")), seq, bytes) {
                Ok(at) => {
                    self.verdict.checkpoints += 1;
                    self.verdict.unsigned_records = 0;
                    self.trust(seq, at, problems.is_empty());
                }
                Err(what) => problems.push(format!("bad checkpoint: {what}")),
            }
        }
        self.expected_seq = seq.saturating_add(1);
        self.expected_prev.clone_from(hash);
        problems
    }

    /// A good checkpoint says that all before it is as it was written, unless something there was wrong.
    fn trust(&mut self, seq: u64, at: Timestamp, is_good: bool) {
        // Given the secret, a signature alone proves nothing: a later root has that key.
        let is_sealed = self.evidence.secrets.is_empty() || self.epoch.is_some();
        if is_sealed && is_good && self.verdict.problems.is_empty() {
            (self.verdict.trusted_seq, self.verdict.trusted_at) = (seq, Some(at));
        }
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
        if segment::render(&checkpoint.record(), checkpoint.host.as_deref(), line_seq, &checkpoint.head) != line {
            return Err("its unsigned part has been altered".to_owned());
        }
        self.seal(&checkpoint)?;
        Ok(checkpoint.at)
    }

    /// Epochs follow each other without a gap, each under the key that was erased after it.
    fn seal(&mut self, checkpoint: &Checkpoint) -> Result<(), String> {
        let between = std::mem::replace(&mut self.between, Between::All);
        let Some(seal) = &checkpoint.seal else {
            return match &self.epoch {
                Some((_, last)) => Err(format!("it is not sealed, and epoch {last} was before it")),
                None => Ok(()),
            };
        };
        let before = self.epoch.replace((seal.key.clone(), seal.epoch));
        let next = match before {
            Some((key, last)) if key == seal.key => last.saturating_add(1),
            _ => 0,
        };
        let due = match between {
            Between::All => next,
            Between::Pruned => next.max(seal.epoch),
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
}
