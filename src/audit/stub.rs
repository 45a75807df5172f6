//! What is left of a pruned segment: where the chain entered it and where it came out, signed.
//!
//! `DIR/audit-<first-seq>.pruned.json` stands in the place of the segment. It is durable before the trail says
//! `audit.pruned`, and the segment goes last; where both are there, the segment counts.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::segment::{self, broken};
use super::{AuditError, NAMESPACE};
use crate::fsutil::{self, At};
use crate::keys::{SigningKey, VerifyingKey};

/// Those of version 1 lack the last line.
const STUB_VERSION: u32 = 2;
const SUFFIX: &str = ".pruned.json";

/// Why a segment went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Older than `keep`.
    Keep,
    /// The trail was larger than `total_size`.
    TotalSize,
}

impl Why {
    pub fn name(self) -> &'static str {
        match self {
            Why::Keep => "keep",
            Why::TotalSize => "total_size",
        }
    }
}

/// A pruned segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stub {
    pub stub_version: u32,
    pub first_seq: u64,
    pub last_seq: u64,
    /// `veild.prev` of its first record.
    pub prev: String,
    /// SHA-256 of its last line.
    pub head: String,
    /// That line as it stood, newline included: the checkpoint that ends every segment. Its seal, of which the key is
    /// gone, says that the chain came this way.
    #[serde(default)]
    pub last_line: String,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub why: Why,
    /// `audit.pruned` has a higher number than this.
    pub recorded_after: u64,
    /// SSH signature, namespace `veild-audit`, over [`Stub::message`].
    pub signature: String,
}

/// Largest stub: it holds one line of the trail.
const MAX_BYTES: u64 = 1 << 20;

impl Stub {
    fn message(&self) -> Vec<u8> {
        format!(
            "veild-audit-stub v1\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n",
            self.first_seq,
            self.last_seq,
            self.prev,
            self.head,
            self.first_at,
            self.last_at,
            self.why.name(),
            self.recorded_after
        )
        .into_bytes()
    }

    pub fn sign(&mut self, key: &SigningKey) {
        self.stub_version = STUB_VERSION;
        self.signature = key.sign(NAMESPACE, &self.message());
    }

    /// Whether the host has signed it.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), String> {
        key.verify(NAMESPACE, &self.message(), &self.signature).map_err(|error| error.to_string())
    }

    pub fn path(dir: &Path, first_seq: u64) -> PathBuf {
        dir.join(format!("audit-{first_seq:020}{SUFFIX}"))
    }

    pub fn write(&self, dir: &Path) -> Result<(), AuditError> {
        let path = Stub::path(dir, self.first_seq);
        let mut json = serde_json::to_vec_pretty(self).at("write", &path)?;
        json.push(b'\n');
        Ok(fsutil::replace_durable(&path, 0o640, &json)?)
    }

    pub fn read(path: &Path) -> Result<Stub, AuditError> {
        let json = fsutil::read_regular(path, MAX_BYTES)?;
        let stub: Stub = serde_json::from_slice(&json).map_err(|_| broken(path, "it is no stub of a known version"))?;
        match stub.stub_version {
            1..=STUB_VERSION => Ok(stub),
            _ => Err(broken(path, "it was written by a newer veild; upgrade veild")),
        }
    }

    /// Whether a pruned part of the trail ends just before this record, which says `prev`.
    pub fn ends_at(dir: &Path, seq: u64, prev: &str) -> Result<bool, AuditError> {
        let Some((_, path)) = list(dir)?.into_iter().rfind(|(first, _)| *first < seq) else { return Ok(false) };
        let stub = Stub::read(&path)?;
        Ok(stub.last_seq.checked_add(1) == Some(seq) && stub.head == prev)
    }
}

/// The time of the last record that is known to have gone.
pub fn pruned_until(dir: &Path) -> Result<Option<Timestamp>, AuditError> {
    let stubs = list(dir)?.into_iter().map(|(_, path)| Ok(Stub::read(&path)?.last_at));
    Ok(stubs.collect::<Result<Vec<_>, AuditError>>()?.into_iter().max())
}

/// All stubs in order, each with the first sequence number that its name gives.
pub fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, AuditError> {
    segment::numbered(dir, &[SUFFIX])
}
