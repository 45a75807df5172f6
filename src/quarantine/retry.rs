//! Retry: a copy of the original goes into its landing's spool as a job of its own; the entry goes after that.
//!
//! A whole copy lies ready in the spool before `retry.json` decides it. Once the audit trail knows of it, whoever comes
//! by, the same command or a starting daemon, finishes it: as the copy is moved, never copied again, and the new job's
//! identity is recorded, no crash makes two files of one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::decision::Decision;
use super::expiry::Discard;
use super::{Reason, ShowError, find, jobs, remove};
use crate::audit::{Action, AuditError};
use crate::fsutil::{At, PathError, remove_if_there};
use crate::job::JobId;
use crate::spool::{self, SPOOL};

const READY: &str = "retry-";

/// `retry.json`.
#[derive(Serialize, Deserialize)]
pub struct Retry {
    /// Absent in the first version, which was decided behind its record.
    #[serde(default)]
    recorded_after: Option<u64>,
    pub retried_as: JobId,
    pub landing_dir: PathBuf,
    /// Tells the spool from one that was made on an empty mount point.
    spool_inode: u64,
}

impl Decision for Retry {
    const DEED: &'static str = "retry";
    /// 2: with `recorded_after`.
    const VERSION: u32 = 2;
    const ACTION: Action = Action::FileRetried;

    fn recorded_after(&self) -> Option<u64> {
        self.recorded_after
    }

    fn clear_away(&self, job: JobId) -> Result<(), PathError> {
        remove_if_there(&ready_path(&self.landing_dir, job))
    }
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

impl Retry {
    /// One whose copy lies ready and durable.
    pub fn new(landing: &Path, retried_as: JobId, recorded_after: u64) -> Result<Retry, PathError> {
        let spool = landing.join(SPOOL);
        let spool_inode = fs::metadata(&spool).at("examine", &spool)?.ino();
        Ok(Retry { recorded_after: Some(recorded_after), retried_as, landing_dir: landing.to_owned(), spool_inode })
    }

    /// Whether the copy of a recorded retry has been moved into the spool.
    pub fn is_placed(&self, job: JobId) -> Result<bool, PathError> {
        let spool = self.landing_dir.join(SPOOL);
        if fs::metadata(&spool).at("examine", &spool)?.ino() != self.spool_inode {
            return Err(invalid("it is another directory than when the retry began; mount the landing"))
                .at("use", spool);
        }
        let ready = ready_path(&self.landing_dir, job);
        ready.try_exists().map(|is_ready| !is_ready).at("look for", ready)
    }

    /// Moves the copy of a recorded retry into the spool, unless that has been done. The entry is to be removed when whoever
    /// drives the spool has been told.
    pub fn place(&self, reason: &Reason) -> Result<(), PathError> {
        if self.is_placed(reason.job)? {
            return Ok(());
        }
        let ready = ready_path(&self.landing_dir, reason.job);
        let below = Path::new(reason.sub_path.as_deref().unwrap_or_default()).join(&reason.original_name);
        if !below.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(invalid("the name in its reason leads out of the spool")).at("place", ready);
        }
        spool::place(&self.landing_dir, self.retried_as, &below, &ready)
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Finishes at a start what a crash cut off: recorded retries and removals. What cannot be finished now is logged and
/// left.
pub fn recover(dir: &Path, trail: &Path) -> Result<(), PathError> {
    for job in jobs(dir)? {
        if !Retry::is_decided(dir, job) && dir.join(job.to_string()).join("reason.json").exists() {
            continue;
        }
        let Ok(Some(_lock)) = lock(dir, job) else { continue };
        if let Err(error) = finish(dir, trail, job) {
            tracing::error!(code = "quarantine_stuck", %job, "{}", crate::fsutil::chain(&error));
        }
    }
    Ok(())
}

/// As [`recover`], of one entry whose lock is held.
fn finish(dir: &Path, trail: &Path, job: JobId) -> Result<(), AuditError> {
    let reason = match find(dir, trail, job) {
        Ok(Some((reason, _))) => reason,
        // Its source is still in the spool, or it was on its way out.
        Ok(None) => return Ok(remove(dir, job)?),
        Err(ShowError::Damaged(_)) if Discard::is_decided(dir, job) => return Ok(()), // left to the upkeep
        Err(ShowError::Damaged(_)) if is_done(dir, trail, job)? => return Ok(remove(dir, job)?),
        Err(error) => return Err(error.into_path_error().into()),
    };
    match Retry::decided(dir, job)? {
        None => Ok(()), // finished in between
        Some(retry) if retry.is_recorded(trail, job)? => {
            retry.place(&reason)?;
            Ok(remove(dir, job)?)
        }
        Some(retry) => Ok(retry.revoke(dir, job)?),
    }
}

/// Whether nothing but the entry's removal is left of its retry.
fn is_done(dir: &Path, trail: &Path, job: JobId) -> Result<bool, AuditError> {
    match Retry::decided(dir, job)? {
        Some(retry) => Ok(retry.is_recorded(trail, job)? && retry.is_placed(job)?),
        None => Ok(false),
    }
}

/// Removes from a landing's spool, after [`recover`], the copies whose retry was not decided.
pub fn remove_undecided(dir: &Path, landing: &Path) -> Result<(), PathError> {
    let spool = landing.join(SPOOL);
    for entry in fs::read_dir(&spool).at("list", &spool)? {
        let name = entry.at("list", &spool)?.file_name();
        let job = name.to_str().and_then(|name| name.strip_prefix(READY)).and_then(|job| job.parse::<JobId>().ok());
        let Some(job) = job else { continue };
        // Of an entry that is gone, or that nobody is at work on.
        if matches!(lock(dir, job), Ok(free) if free.is_none() || !Retry::is_decided(dir, job)) {
            remove_if_there(&ready_path(landing, job))?;
        }
    }
    Ok(())
}
