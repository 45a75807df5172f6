//! `STATE/quarantine/<job>/`: rejected originals with their reasons.
//!
//! `original` (or `original.age`) is there and durable before `reason.json`, which appears last and atomically: a
//! directory without `reason.json` is unfinished and is completed or taken back at recovery, unless the audit trail says
//! that it was whole ([`find`]). `retry.json` is there while a retry is under way ([`retry`]), `discard.json` while one is
//! discarded ([`expiry`]), `release.json` while one is handed out ([`release`]): each is a [`decision`]. `removed.json` stands there instead of `reason.json` in an entry on its way out.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::audit::{self, Action, AuditError};
use crate::fsutil::{
    At, PathError, copy_in_kernel, create_dir_durable, create_new, fsync_dir, read_regular, remove_if_there,
    write_new_synced,
};
use crate::job::JobId;
use crate::pipeline::Fault;

pub mod decision;
pub mod expiry;
pub mod release;
pub mod retry;

use decision::Decision;
use retry::Retry;

/// Version of `reason.json`.
const REASON_VERSION: u32 = 1;

/// `reason.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    pub reason_version: u32,
    pub job: JobId,
    pub landing: String,
    pub original_name: String,
    /// Directory below the landing that it came from, in the same spelling; absent at its top, and when names are
    /// opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
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

/// The name that an original has in its entry.
fn original_file(sealed: bool) -> &'static str {
    if sealed { "original.age" } else { "original" }
}

/// Takes a rejected file in: durable original, then `reason.json`. The spool's copy is left for the caller to remove.
/// Doing it again after a crash completes it. Returns the path of the stored original.
pub fn store(dir: &Path, original: &Original<'_>, reason: &Reason) -> Result<PathBuf, PathError> {
    let entry = dir.join(reason.job.to_string());
    let sealed = matches!(original, Original::Sealed(_));
    let stored = entry.join(original_file(sealed));
    if sealed != reason.sealed {
        return Err(io::Error::other("the reason contradicts its original about being sealed")).at("store", stored);
    }
    create_dir_durable(&entry, 0o700)?;
    fs::set_permissions(&entry, Permissions::from_mode(0o700)).at("set the mode of", &entry)?;
    // Even if the entry was there: a crash may have come between its creation and its fsync.
    fsync_dir(dir)?;
    let complete = entry.join("reason.json");
    match show(dir, reason.job) {
        Ok(Some((_, stored))) => {
            // The earlier store may have been cut off just before its last fsync.
            fsync_dir(&entry)?;
            return Ok(stored);
        }
        Ok(None) => {}
        Err(ShowError::Damaged(_)) => remove_whatever(&complete)?,
        Err(error) => return Err(error.into_path_error()),
    }
    match original {
        Original::AsItCame(from) => copy_in(from, &stored, &entry.join("original.tmp"))?,
        Original::Sealed(from) => move_in(from, &stored, &entry.join("original.tmp"))?,
    }
    // An earlier attempt under another configuration may have left the other kind, perhaps in the clear.
    remove_if_there(&entry.join(original_file(!sealed)))?;
    remove_whatever(&entry.join(REMOVED))?;
    fsync_dir(&entry)?;
    crate::faults::point("original_stored");
    write_whole(&entry, "reason.json", reason)?;
    Ok(stored)
}

/// Writes a JSON file of an entry, whole and durable or not at all.
fn write_whole(entry: &Path, name: &str, content: &impl Serialize) -> Result<(), PathError> {
    let (tmp, path) = (entry.join(format!("{name}.tmp")), entry.join(name));
    let mut json = serde_json::to_vec_pretty(content).at("write", &path)?;
    json.push(b'\n');
    remove_if_there(&tmp)?;
    write_new_synced(&tmp, 0o600, &json)?;
    fs::rename(&tmp, &path).at("rename to", &path)?;
    fsync_dir(entry)
}

/// Copies, never links: an uploader may still hold the inode open for writing.
fn copy_in(from: &Path, stored: &Path, tmp: &Path) -> Result<(), PathError> {
    let source = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(from) {
        // `stored` got its name only when it was whole, so it serves when the source is gone.
        Err(error) if error.kind() == io::ErrorKind::NotFound && stored.exists() => return Ok(()),
        other => other.at("open", from)?,
    };
    remove_if_there(tmp)?;
    let copy = create_new(tmp, 0o600)?;
    // Shares the blocks where the file system can; EXDEV, EOPNOTSUPP and the like mean that it cannot.
    if rustix::fs::ioctl_ficlone(&copy, &source).is_err() {
        copy_in_kernel(&source, &copy, tmp)?;
    }
    settle(&copy, tmp, stored)
}

/// Mode, content and name of a stored original; the name is durable after an fsync of its directory.
fn settle(file: &File, tmp: &Path, stored: &Path) -> Result<(), PathError> {
    file.set_permissions(Permissions::from_mode(0o400)).at("set the mode of", tmp)?;
    file.sync_all().at("make durable", tmp)?;
    fs::rename(tmp, stored).at("rename to", stored)
}

/// Sealed copies are the daemon's own, so their inode may be taken over.
fn move_in(from: &Path, stored: &Path, tmp: &Path) -> Result<(), PathError> {
    let source = match File::open(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && stored.exists() => return Ok(()),
        other => other.at("open", from)?,
    };
    remove_if_there(tmp)?;
    source.set_permissions(Permissions::from_mode(0o400)).at("set the mode of", from)?;
    source.sync_all().at("make durable", from)?;
    match fs::rename(from, stored) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy_in(from, stored, tmp)?;
            remove_if_there(from)
        }
        other => other.at("rename to", stored),
    }
}

/// The entries' directories, complete or not, oldest first.
pub fn jobs(dir: &Path) -> Result<Vec<JobId>, PathError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("read", dir)?,
    };
    let mut jobs = Vec::new();
    for entry in entries {
        jobs.extend(entry.at("read", dir)?.file_name().to_str().and_then(|name| name.parse::<JobId>().ok()));
    }
    jobs.sort();
    Ok(jobs)
}

/// All complete entries, oldest first.
pub fn list(dir: &Path) -> Result<Vec<Reason>, PathError> {
    let mut reasons = Vec::new();
    for job in jobs(dir)? {
        reasons.extend(show(dir, job).map_err(ShowError::into_path_error)?.map(|(reason, _)| reason));
    }
    Ok(reasons)
}

/// Largest `reason.json`.
const MAX_REASON_BYTES: u64 = 1 << 20;

/// Why [`show`] does not show an entry.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// Its `reason.json` is of no use.
    #[error(transparent)]
    Damaged(PathError),
    /// It cannot be read just now, or by this veild.
    #[error(transparent)]
    Unreadable(#[from] PathError),
}

impl ShowError {
    /// For whom both are the same.
    pub fn into_path_error(self) -> PathError {
        match self {
            ShowError::Damaged(error) | ShowError::Unreadable(error) => error,
        }
    }
}

/// One entry with the path of its original, or `None` when there is none that is complete.
pub fn show(dir: &Path, job: JobId) -> Result<Option<(Reason, PathBuf)>, ShowError> {
    let entry = dir.join(job.to_string());
    let path = entry.join("reason.json");
    let json = match read_regular(&path, MAX_REASON_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.source.raw_os_error().is_none() => return Err(ShowError::Damaged(error)),
        other => other?,
    };
    #[derive(Deserialize)]
    struct Version {
        reason_version: u32,
    }
    let version: Version = serde_json::from_slice(&json).at("read", &path).map_err(ShowError::Damaged)?;
    if version.reason_version > REASON_VERSION {
        let newer = io::Error::other("it was written by a newer veild; upgrade veild");
        return Err(newer).at("read", &path).map_err(ShowError::Unreadable);
    }
    let reason: Reason = serde_json::from_slice(&json).at("read", &path).map_err(ShowError::Damaged)?;
    let original = entry.join(original_file(reason.sealed));
    Ok(Some((reason, original)))
}

/// As [`show`]; an entry that has lost its `reason.json` although the audit trail has it quarantined is damaged.
pub fn find(dir: &Path, trail: &Path, job: JobId) -> Result<Option<(Reason, PathBuf)>, ShowError> {
    let found = show(dir, job)?;
    if found.is_some() || !has_lost_reason(dir, trail, job)? {
        return Ok(found);
    }
    // It may have become whole while the trail was read.
    if let Some(found) = show(dir, job)? {
        return Ok(Some(found));
    }
    let lost = Err(io::Error::other("it is lost")).at("read", dir.join(job.to_string()).join("reason.json"));
    lost.map_err(ShowError::Damaged)
}

/// Of an entry without `reason.json`: whether it is neither half made nor on its way out.
fn has_lost_reason(dir: &Path, trail: &Path, job: JobId) -> Result<bool, PathError> {
    let entry = dir.join(job.to_string());
    let has = |name: &str| {
        let path = entry.join(name);
        path.try_exists().at("look for", path)
    };
    // In this order: the original of one on its way out goes before its mark.
    if has(REMOVED)? || !(has(original_file(true))? || has(original_file(false))?) {
        return Ok(false);
    }
    is_quarantined(trail, job).map_err(io::Error::other).at("search", trail)
}

/// Whether the trail says so, or does not reach back to when it would.
fn is_quarantined(trail: &Path, job: JobId) -> Result<bool, AuditError> {
    let claimed_at = job.claim_time();
    if audit::pruned_until(trail)?.is_some_and(|until| until >= claimed_at) {
        return Ok(true);
    }
    let since = claimed_at.checked_sub(CLOCK_MAY_STEP).unwrap_or(Timestamp::MIN);
    audit::is_recorded(trail, audit::last_seq_before(trail, since)?, Action::FileQuarantined, job)
}

/// By which the clock may have been set back.
const CLOCK_MAY_STEP: SignedDuration = SignedDuration::from_hours(24);

/// What `reason.json` is called in an entry on its way out.
const REMOVED: &str = "removed.json";

/// Whether an entry is on its way out; one that has its reason is not, whatever else lies there.
fn is_going(dir: &Path, job: JobId) -> bool {
    let entry = dir.join(job.to_string());
    entry.join(REMOVED).exists() && !entry.join("reason.json").exists()
}

/// Originals, and what was to become one; they go before what was decided of them.
const ORIGINALS: [&str; 3] = ["original", "original.age", "original.tmp"];
/// What else an entry may hold beside its reason.
const DECISIONS: [&str; 7] = [
    "reason.json.tmp",
    "retry.json.tmp",
    "retry.json",
    "discard.json.tmp",
    "discard.json",
    "release.json.tmp",
    "release.json",
];

/// Removes an entry, its original first. Doing it again after a crash completes it.
pub fn remove(dir: &Path, job: JobId) -> Result<(), PathError> {
    let entry = dir.join(job.to_string());
    if !entry.exists() {
        return Ok(());
    }
    if let Ok(Some(retry)) = Retry::decided(dir, job) {
        retry.clear_away(job)?; // of one that could not be finished
    }
    let (reason, removed) = (entry.join("reason.json"), entry.join(REMOVED));
    if reason.symlink_metadata().is_ok() {
        fs::rename(&reason, &removed).at("rename to", &removed)?;
        fsync_dir(&entry)?;
    }
    crate::faults::point("entry_going");
    ORIGINALS.iter().try_for_each(|name| remove_if_there(&entry.join(name)))?;
    fsync_dir(&entry)?;
    crate::faults::point("original_removed");
    DECISIONS.iter().try_for_each(|name| remove_if_there(&entry.join(name)))?;
    remove_whatever(&removed)?;
    fs::remove_dir(&entry).at("remove", &entry)?;
    fsync_dir(dir)
}

/// Of a damaged entry any of the files may be a directory.
fn remove_whatever(path: &Path) -> Result<(), PathError> {
    match remove_if_there(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => fs::remove_dir_all(path).at("remove", path),
        other => other,
    }
}

/// Size of everything below, unfinished entries included; what goes meanwhile does not count.
pub fn total_bytes(dir: &Path) -> Result<u64, PathError> {
    let mut total = 0;
    for job in jobs(dir)? {
        let entry = dir.join(job.to_string());
        let Some(files) = unless_gone(fs::read_dir(&entry)).at("read", &entry)? else { continue };
        for file in files {
            let Some(file) = unless_gone(file).at("read", &entry)? else { continue };
            total += unless_gone(file.metadata()).at("examine", file.path())?.map_or(0, |metadata| metadata.len());
        }
    }
    Ok(total)
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests;
