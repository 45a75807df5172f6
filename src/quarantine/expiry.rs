//! Entries that go, because somebody wants that or because they were kept long enough: `discard.json` decides it, before
//! the audit trail says so. From then on whoever comes by, the same command or the daemon, finishes it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Reason, jobs, release, retry, show, write_whole};
use crate::fsutil::{At, PathError, fsync_dir, remove_if_there};
use crate::job::JobId;
use crate::vault::change::Cause;

/// 2: with the cause.
const DISCARD_VERSION: u32 = 2;
const DECISION: &str = "discard.json";

/// `discard.json`.
#[derive(Serialize, Deserialize)]
pub struct Decision {
    discard_version: u32,
    /// The audit trail's record of it has a higher number than this.
    pub recorded_after: u64,
    /// Who wants it; absent: it was kept long enough.
    #[serde(default)]
    pub cause: Option<Cause>,
}

impl Decision {
    pub fn new(recorded_after: u64, cause: Option<Cause>) -> Decision {
        Decision { discard_version: DISCARD_VERSION, recorded_after, cause }
    }
}

/// The oldest entry that is to go: one that has been there for longer than `keep`, or of which that was decided before a
/// crash. One whose retry or release is decided is left out, as is one that cannot be read: it must not hold up the others.
pub fn oldest(dir: &Path, keep: Duration, now: Timestamp) -> Result<Option<Reason>, PathError> {
    let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
    let oldest_kept = now.checked_sub(keep).unwrap_or(Timestamp::MIN);
    for job in jobs(dir)? {
        // Nothing is quarantined before it is claimed: of a younger claim the reason need not be read.
        let is_decided = is_decided(dir, job);
        let is_another = retry::is_decided(dir, job) || release::is_decided(dir, job);
        if is_another || (!is_decided && job.claim_time() >= oldest_kept) {
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

/// Decides that an entry goes, whose lock is held.
pub fn decide(dir: &Path, job: JobId, decision: &Decision) -> Result<(), PathError> {
    write_whole(&dir.join(job.to_string()), DECISION, decision)
}

/// What has been decided of an entry.
pub fn decided(dir: &Path, job: JobId) -> Result<Option<Decision>, PathError> {
    let path = dir.join(job.to_string()).join(DECISION);
    let json = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.at("read", &path)?,
    };
    let decision: Decision = serde_json::from_slice(&json).at("read", &path)?;
    if decision.discard_version > DISCARD_VERSION {
        return Err(io::Error::other("it was written by a newer veild; upgrade veild")).at("use", path);
    }
    Ok(Some(decision))
}

/// Takes a decision back of which the audit trail says nothing.
pub fn revoke(dir: &Path, job: JobId) -> Result<(), PathError> {
    let entry = dir.join(job.to_string());
    remove_if_there(&entry.join(DECISION))?;
    fsync_dir(&entry)
}
