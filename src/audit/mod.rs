//! The audit trail: one hash-chained ECS JSON line per event, durable before its effects are let go.
//!
//! `DIR/audit-<first-seq>.jsonl`; each line carries `veild.seq` and `veild.prev`, the SHA-256 of the line before it with
//! its newline. Checkpoints are signed with the host key. A torn last line is cut off, and that is recorded.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::keys::{SigningKey, VerifyingKey};

/// What happened; the closed list of `event.action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    #[serde(rename = "daemon.started")]
    DaemonStarted,
    #[serde(rename = "daemon.recovered")]
    DaemonRecovered,
    #[serde(rename = "daemon.stopped")]
    DaemonStopped,
    #[serde(rename = "config.loaded")]
    ConfigLoaded,
    #[serde(rename = "config.rejected")]
    ConfigRejected,
    #[serde(rename = "file.sealed")]
    FileSealed,
    #[serde(rename = "file.quarantined")]
    FileQuarantined,
    #[serde(rename = "file.skipped")]
    FileSkipped,
    #[serde(rename = "file.retried")]
    FileRetried,
    #[serde(rename = "file.released")]
    FileReleased,
    #[serde(rename = "file.discarded")]
    FileDiscarded,
    #[serde(rename = "landing.paused")]
    LandingPaused,
    #[serde(rename = "landing.resumed")]
    LandingResumed,
    #[serde(rename = "vault.opened")]
    VaultOpened,
    #[serde(rename = "vault.verified")]
    VaultVerified,
    #[serde(rename = "key.generated")]
    KeyGenerated,
    #[serde(rename = "alert.raised")]
    AlertRaised,
    #[serde(rename = "alert.cleared")]
    AlertCleared,
    #[serde(rename = "audit.rotated")]
    AuditRotated,
    #[serde(rename = "audit.repaired")]
    AuditRepaired,
    #[serde(rename = "audit.checkpoint")]
    AuditCheckpoint,
}

/// `event.outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Success,
    Failure,
    Unknown,
}

/// One event before it is numbered and chained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub at: Timestamp,
    pub action: Action,
    pub outcome: Outcome,
    /// Further ECS objects, merged into the line: `file`, `user`, `error`, `message` …
    pub fields: Map<String, Value>,
    /// Our own, merged into the line's `veild` object beside `seq` and `prev`: `job`, `landing`, …
    pub veild: Map<String, Value>,
}

/// How the trail is kept.
#[derive(Clone, Debug)]
pub struct TrailOptions {
    pub dir: PathBuf,
    pub rotate_size: u64,
    pub rotate_daily: bool,
    /// Time between signed checkpoints while anything is written.
    pub checkpoint_every: Duration,
}

/// A trail that cannot be written or read; intake must stop.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Io(#[from] crate::fsutil::PathError),
    /// The newest segment does not continue the chain: somebody has edited it.
    #[error("the audit trail is broken at {segment}: {what}; run `veild audit verify`")]
    Broken { segment: String, what: String },
}

/// The trail open for appending; there is one writer per directory.
pub struct Trail {}

impl Trail {
    /// Opens the trail, repairs a torn tail (recorded as `audit.repaired`).
    pub fn open(_options: TrailOptions, _key: SigningKey, _now: Timestamp) -> Result<Trail, AuditError> {
        todo!()
    }

    /// Appends a batch with one write and makes it durable; returns the sequence number of its first record.
    /// Rotates and writes checkpoints when due. On an error nothing counts as written; the next call repairs the tail.
    pub fn append(&mut self, _batch: &[Record]) -> Result<u64, AuditError> {
        todo!()
    }

    /// Sequence number of the last durable record; 0 when there is none.
    pub fn last_seq(&self) -> u64 {
        todo!()
    }

    /// Writes a checkpoint if one is due at `now`; `closing` forces it.
    pub fn checkpoint(&mut self, _now: Timestamp, _closing: bool) -> Result<(), AuditError> {
        todo!()
    }
}

/// All records with a sequence number above `seq`, as parsed lines; for recovery and `audit tail`.
pub fn lines_after(_dir: &Path, _seq: u64) -> Result<Vec<Value>, AuditError> {
    todo!()
}

/// What verification found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub segments: u64,
    pub records: u64,
    pub checkpoints: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    /// Empty when the trail holds.
    pub problems: Vec<Problem>,
}

/// One break in the trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    pub segment: String,
    /// From 1.
    pub line: u64,
    pub byte_offset: u64,
    pub what: String,
}

/// Reads every byte of the trail.
pub fn verify(_dir: &Path, _key: &VerifyingKey) -> Result<Verdict, AuditError> {
    todo!()
}
