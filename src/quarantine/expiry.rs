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

/// The oldest entry that is to go: one that has been there for longer than `keep`, or of which that was decided before a
/// crash. One whose retry is decided is left out, as is one that cannot be read: it must not hold up the others.
pub fn oldest(dir: &Path, keep: Duration, now: Timestamp) -> Result<Option<Reason>, PathError> {
    let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
    let oldest_kept = now.checked_sub(keep).unwrap_or(Timestamp::MIN);
    for job in jobs(dir)? {
        // Nothing is quarantined before it is claimed: of a younger claim the reason need not be read.
        let is_decided = is_decided(dir, job);
        if (!is_decided && job.claim_time() >= oldest_kept) || retry::is_decided(dir, job) {
            continue;
        }
        match show(dir, job) {
            Ok(Some((reason, _))) if is_decided || reason.quarantined_at < oldest_kept => return Ok(Some(reason)),
            Ok(_) => {}
            Err(error) => tracing::warn!(%job, error = %error, source = %error.source, "unreadable quarantine entry"),
        }
    }
    Ok(None)
}

/// Whether it is decided that an entry goes.
pub fn is_decided(dir: &Path, job: JobId) -> bool {
    dir.join(job.to_string()).join(DECISION).exists()
}

/// Decides that an entry goes, whose lock is held; when that has been decided already, the number after which the audit
/// trail may say so.
pub fn decide(dir: &Path, job: JobId, last_seq: u64) -> Result<Option<u64>, PathError> {
    let entry = dir.join(job.to_string());
    let path = entry.join(DECISION);
    let json = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let decision = Decision { discard_version: DISCARD_VERSION, recorded_after: last_seq };
            return write_whole(&entry, DECISION, &decision).map(|()| None);
        }
        read => read.at("read", &path)?,
    };
    let decision: Decision = serde_json::from_slice(&json).at("read", &path)?;
    if decision.discard_version > DISCARD_VERSION {
        return Err(io::Error::other("it was written by a newer veild; upgrade veild")).at("use", path);
    }
    Ok(Some(decision.recorded_after))
}
