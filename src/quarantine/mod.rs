//! `STATE/quarantine/<job>/`: rejected originals with their reasons.
//!
//! `original` (or `original.age`) is there and durable before `reason.json`, which appears last and atomically: a
//! directory without `reason.json` is unfinished and is completed or taken back at recovery.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fsutil::PathError;
use crate::job::JobId;
use crate::pipeline::Fault;

/// `reason.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    pub reason_version: u32,
    pub job: JobId,
    pub landing: String,
    pub original_name: String,
    pub policy: String,
    pub arrived_at: Timestamp,
    pub quarantined_at: Timestamp,
    /// Size of the original.
    pub bytes: u64,
    /// Whether the original is sealed to `[quarantine] recipients`.
    pub sealed: bool,
    /// Attempts that were counted against the file.
    pub attempts: u32,
    #[serde(flatten)]
    pub fault: Fault,
}

/// Where a rejected file's bytes come from.
pub enum Original<'a> {
    /// The claimed file as it came.
    AsItCame(&'a Path),
    /// A complete sealed copy, not necessarily durable.
    Sealed(&'a Path),
}

/// Takes a rejected file in: durable original, then `reason.json`. The spool's copy is left for the caller to remove.
/// Doing it again after a crash completes it.
pub fn store(_dir: &Path, _original: &Original<'_>, _reason: &Reason) -> Result<PathBuf, PathError> {
    todo!()
}

/// All complete entries, oldest first.
pub fn list(_dir: &Path) -> Result<Vec<Reason>, PathError> {
    todo!()
}

/// One entry, or `None` when there is none that is complete.
pub fn show(_dir: &Path, _job: JobId) -> Result<Option<(Reason, PathBuf)>, PathError> {
    todo!()
}

/// Removes an entry, `reason.json` first; a sealed or plain original is gone afterwards.
pub fn remove(_dir: &Path, _job: JobId) -> Result<(), PathError> {
    todo!()
}
