//! The audit trail: one hash-chained ECS JSON line per event, durable before its effects are let go.
//!
//! `DIR/audit-<first-seq>.jsonl`; each line carries `veild.seq` and `veild.prev`, the SHA-256 of the line before it with
//! its newline. Checkpoints are signed with the host key. A torn last line is cut off, and that is recorded. Closed
//! segments become `.jsonl.zst`; what is pruned leaves a signed stub ([`Stub`]), unless it is held ([`hold`]).

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod action;
mod chain;
mod checkpoint;
pub mod epoch;
mod follow;
pub mod hold;
mod segment;
pub mod ship;
mod stub;
#[cfg(test)]
mod tests;
mod verify;

pub use action::Action;
pub use chain::{Trail, Upkeep};
pub use follow::Durable;
pub use segment::{each_after, each_line, each_record, is_recorded, last_seq, last_seq_before, lines_after, tail};
pub use stub::{Stub, Why, pruned_until};
pub use verify::{Evidence, verify, verify_with};

/// Newest version of the line format: every line names itself (`event.id`) and its host. Before it were 1, and 2 for
/// checkpoints with an epoch. A new key of `veild` takes no new version: readers pass over what they do not know, and do
/// without what an older line does not have.
pub const AUDIT_VERSION: u64 = 3;
/// No line is longer than this, newline included; a longer record is shortened.
pub const MAX_LINE: usize = 64 * 1024;
/// SSH signature namespace of checkpoints.
const NAMESPACE: &str = "veild-audit";

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

impl Record {
    pub fn new(at: Timestamp, action: Action, outcome: Outcome) -> Record {
        Record { at, action, outcome, fields: Map::new(), veild: Map::new() }
    }

    /// Sets `file.name`.
    pub fn file(self, name: impl Into<String>) -> Record {
        self.field("file.name", name.into())
    }

    /// Sets an ECS field; dots in the key open nested objects.
    pub fn field(mut self, key: &str, value: impl Into<Value>) -> Record {
        insert_nested(&mut self.fields, key, value.into());
        self
    }

    /// Sets a field of the `veild` object.
    pub fn veild(mut self, key: &str, value: impl Into<Value>) -> Record {
        insert_nested(&mut self.veild, key, value.into());
        self
    }
}

fn insert_nested(map: &mut Map<String, Value>, key: &str, value: Value) {
    let Some((head, rest)) = key.split_once('.') else {
        map.insert(key.to_owned(), value);
        return;
    };
    let entry = map.entry(head).or_insert_with(|| Value::Object(Map::new()));
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    if let Value::Object(inner) = entry {
        insert_nested(inner, rest, value);
    }
}

/// How the trail is kept.
#[derive(Clone, Debug)]
pub struct TrailOptions {
    pub dir: PathBuf,
    pub rotate_size: u64,
    pub rotate_daily: bool,
    /// Closed segments stay as they are for this long, for shippers that read them.
    pub compress_after: Duration,
    /// Older closed segments are pruned.
    pub keep: Duration,
    /// The forward-secure key; no file there: checkpoints carry signatures alone.
    pub epoch_key: PathBuf,
    /// Above this many bytes the oldest closed segments are pruned.
    pub total_size: u64,
    /// Time between signed checkpoints while anything is written.
    pub checkpoint_every: Duration,
}

impl TrailOptions {
    /// A trail in segments of this size that keeps everything, seals nothing and compresses what is closed.
    pub fn keeping_all(dir: PathBuf, rotate_size: u64) -> TrailOptions {
        TrailOptions {
            dir,
            rotate_size,
            rotate_daily: false,
            compress_after: Duration::ZERO,
            keep: Duration::MAX,
            epoch_key: PathBuf::new(),
            total_size: u64::MAX,
            checkpoint_every: Duration::from_secs(600),
        }
    }
}

/// A trail that cannot be written or read; intake must stop.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Io(#[from] crate::fsutil::PathError),
    /// The newest segment does not continue the chain: somebody has edited it.
    #[error("the audit trail is broken at {segment}: {what}; run `veild audit verify`")]
    Broken { segment: String, what: String },
    /// A key, secret or checkpoint that was given is none; nothing is said of the trail.
    #[error("{}: {what}", path.display())]
    Unusable { path: PathBuf, what: String },
}

/// What verification found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub segments: u64,
    /// Segments of which only a stub is left, and their records.
    pub pruned_segments: u64,
    pub pruned_records: u64,
    pub records: u64,
    pub checkpoints: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    /// Checkpoints whose MAC was checked with a secret.
    pub sealed_checkpoints: u64,
    /// The last good checkpoint before the first problem: what it covers is as it was written, what follows may not be.
    pub trusted_seq: u64,
    pub trusted_at: Option<Timestamp>,
    /// Records after the last good checkpoint: cutting them off leaves no trace.
    pub unsigned_records: u64,
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
