//! Retry: a copy of the original goes into its landing's spool as a job of its own; the entry goes after that.
//!
//! A whole copy lies ready in the spool, and the audit trail knows of the retry, before `retry.json` decides it. From
//! then on whoever comes by, the same command or a starting daemon, finishes it: as the copy is moved, never copied
//! again, and the new job's identity is recorded, no crash makes two files of one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Reason, jobs, remove, show, write_whole};
use crate::fsutil::{At, PathError, remove_if_there};
use crate::job::JobId;
use crate::spool::{self, SPOOL};

const RETRY_VERSION: u32 = 1;
const DECISION: &str = "retry.json";
const READY: &str = "retry-";

/// `retry.json`.
#[derive(Serialize, Deserialize)]
struct Decision {
    retry_version: u32,
    retried_as: JobId,
    landing_dir: PathBuf,
    /// Tells the spool from one that was made on an empty mount point.
    spool_inode: u64,
}

/// Keeps other commands off an entry for as long as the file is open.
pub fn lock(dir: &Path, job: JobId) -> Result<Option<File>, PathError> {
    let entry = dir.join(job.to_string());
    let file = match File::open(&entry) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.at("open", &entry)?,
    };
    flock(&file, FlockOperation::NonBlockingLockExclusive).at("lock (another command is at work on it)", &entry)?;
    Ok(Some(file))
}

/// Where the copy for a retry lies ready; outside the reach of uploaders.
pub fn ready_path(landing: &Path, job: JobId) -> PathBuf {
    landing.join(SPOOL).join(format!("{READY}{job}"))
}

/// Decides a retry whose copy lies ready and durable, and of which the audit trail knows.
pub fn decide(dir: &Path, job: JobId, landing: &Path, retried_as: JobId) -> Result<(), PathError> {
    let spool = landing.join(SPOOL);
    let spool_inode = fs::metadata(&spool).at("examine", &spool)?.ino();
    let decision = Decision { retry_version: RETRY_VERSION, retried_as, landing_dir: landing.to_owned(), spool_inode };
    write_whole(&dir.join(job.to_string()), DECISION, &decision)
}

/// Whether an entry's retry is decided.
pub fn is_decided(dir: &Path, job: JobId) -> bool {
    dir.join(job.to_string()).join(DECISION).exists()
}

/// Moves the copy of a decided retry into the spool, unless that has been done: the new job and its landing's directory.
/// The entry is to be removed when whoever drives the spool has been told.
pub fn place(dir: &Path, reason: &Reason) -> Result<(JobId, PathBuf), PathError> {
    let path = dir.join(reason.job.to_string()).join(DECISION);
    let decision: Decision = serde_json::from_slice(&fs::read(&path).at("read", &path)?).at("read", &path)?;
    let spool = decision.landing_dir.join(SPOOL);
    let invalid = |why: &'static str| io::Error::new(io::ErrorKind::InvalidData, why);
    if decision.retry_version > RETRY_VERSION {
        return Err(invalid("it was written by a newer veild; upgrade veild")).at("use", path);
    }
    if fs::metadata(&spool).at("examine", &spool)?.ino() != decision.spool_inode {
        return Err(invalid("it is another directory than when the retry began; mount the landing")).at("use", spool);
    }
    let ready = ready_path(&decision.landing_dir, reason.job);
    if ready.exists() {
        let (sub_path, name) = (reason.sub_path.as_deref().unwrap_or_default(), &reason.original_name);
        let below = Path::new(sub_path).join(name);
        if !below.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(invalid("the name in its reason leads out of the spool")).at("place", ready);
        }
        spool::place(&decision.landing_dir, decision.retried_as, &below, &ready)?;
    }
    Ok((decision.retried_as, decision.landing_dir))
}

/// Finishes at a start what a crash cut off: decided retries and removals. What cannot be finished now is logged and
/// left.
pub fn recover(dir: &Path) -> Result<(), PathError> {
    for job in jobs(dir)? {
        if !is_decided(dir, job) && dir.join(job.to_string()).join("reason.json").exists() {
            continue;
        }
        let Ok(Some(_lock)) = lock(dir, job) else { continue };
        let done = match show(dir, job) {
            Ok(Some((reason, _))) if is_decided(dir, job) => place(dir, &reason).and_then(|_| remove(dir, job)),
            Ok(Some(_)) => continue, // finished in between
            // Its source is still in the spool, or it was on its way out.
            Ok(None) => remove(dir, job),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::error!(code = "quarantine_stuck", %job, "{error}: {}", error.source);
        }
    }
    Ok(())
}

/// Removes from a landing's spool, after [`recover`], the copies whose retry was not decided.
pub fn remove_undecided(dir: &Path, landing: &Path) -> Result<(), PathError> {
    let spool = landing.join(SPOOL);
    for entry in fs::read_dir(&spool).at("list", &spool)? {
        let name = entry.at("list", &spool)?.file_name();
        let job = name.to_str().and_then(|name| name.strip_prefix(READY)).and_then(|job| job.parse::<JobId>().ok());
        let Some(job) = job else { continue };
        // Of an entry that is gone, or that nobody is at work on.
        if matches!(lock(dir, job), Ok(free) if free.is_none() || !is_decided(dir, job)) {
            remove_if_there(&ready_path(landing, job))?;
        }
    }
    Ok(())
}
