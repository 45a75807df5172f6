//! Entries that have been kept long enough: `discard.json` decides that one goes, before the audit trail says so.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Reason, jobs, retry, show, write_whole};
use crate::fsutil::{At, PathError};
use crate::job::JobId;

const DISCARD_VERSION: u32 = 1;
const DECISION: &str = "discard.json";

/// `discard.json`.
#[derive(Serialize, Deserialize)]
struct Decision {
    discard_version: u32,
    /// The audit trail's record of it has a higher number than this.
    recorded_after: u64,
}

/// The oldest entry that has been there for longer than `keep`; those that another command is at work on are left out.
pub fn oldest(dir: &Path, keep: Duration, now: Timestamp) -> Result<Option<Reason>, PathError> {
    let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
    let oldest_kept = now.checked_sub(keep).unwrap_or(Timestamp::MIN);
    // Nothing is quarantined before it is claimed, and entries are in the order of their claims.
    for job in jobs(dir)?.into_iter().take_while(|job| job.claim_time() < oldest_kept) {
        if retry::is_decided(dir, job) {
            continue;
        }
        if let Some((reason, _)) = show(dir, job)?.filter(|(reason, _)| reason.quarantined_at < oldest_kept) {
            return Ok(Some(reason));
        }
    }
    Ok(None)
}

/// Decides that an entry goes; when that has been decided already, the number after which the audit trail may say so.
pub fn decide(dir: &Path, job: JobId, last_seq: u64) -> Result<Option<u64>, PathError> {
    let entry = dir.join(job.to_string());
    let path = entry.join(DECISION);
    match fs::read(&path) {
        Ok(json) => {
            let decision: Decision = serde_json::from_slice(&json).at("read", &path)?;
            Ok(Some(decision.recorded_after))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let decision = Decision { discard_version: DISCARD_VERSION, recorded_after: last_seq };
            write_whole(&entry, DECISION, &decision)?;
            Ok(None)
        }
        Err(error) => Err(error).at("read", path),
    }
}
