//! Releases: `release.json` decides that an original is handed to a path, before the audit trail says so.
//!
//! The copy is whole and lies beside its place by then. What a crash cuts off behind the record is finished by the same
//! command: nobody else can write where the operator wants it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::write_whole;
use crate::fsutil::{At, PathError, fsync_dir, open_regular, read_regular, remove_if_there};
use crate::job::JobId;

const RELEASE_VERSION: u32 = 1;
const DECISION: &str = "release.json";
/// Largest `release.json`.
const MAX_BYTES: u64 = 1 << 20;

/// `release.json`.
#[derive(Serialize, Deserialize)]
pub struct Release {
    release_version: u32,
    /// The audit trail's record of it has a higher number than this.
    pub recorded_after: u64,
    pub to: PathBuf,
}

/// Decides a release whose copy is whole.
pub fn decide(dir: &Path, job: JobId, to: &Path, recorded_after: u64) -> Result<(), PathError> {
    let release = Release { release_version: RELEASE_VERSION, recorded_after, to: to.to_owned() };
    write_whole(&dir.join(job.to_string()), DECISION, &release)
}

/// What has been decided of an entry.
pub fn decided(dir: &Path, job: JobId) -> Result<Option<Release>, PathError> {
    let path = dir.join(job.to_string()).join(DECISION);
    let json = match read_regular(&path, MAX_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let release: Release = serde_json::from_slice(&json).at("read", &path)?;
    if release.release_version > RELEASE_VERSION {
        return Err(io::Error::other("it was written by a newer veild; upgrade veild")).at("use", path);
    }
    Ok(Some(release))
}

/// Whether a release of it is decided.
pub fn is_decided(dir: &Path, job: JobId) -> bool {
    dir.join(job.to_string()).join(DECISION).exists()
}

/// Takes a decision back of which the audit trail says nothing.
pub fn revoke(dir: &Path, job: JobId) -> Result<(), PathError> {
    let entry = dir.join(job.to_string());
    remove_if_there(&entry.join(DECISION))?;
    fsync_dir(&entry)
}

/// Whether a file holds what the original holds.
pub fn is_copy(original: &Path, copy: &Path) -> Result<bool, PathError> {
    let digest = |path: &Path| {
        let mut hash = Sha256::new();
        io::copy(&mut open_regular(path)?, &mut hash).at("read", path)?;
        Ok(hash.finalize())
    };
    Ok(digest(original)? == digest(copy)?)
}
