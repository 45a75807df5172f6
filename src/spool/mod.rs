//! Claims: a rename into the landing's own `.veild/<job>/<original name>`, on the same file system.
//!
//! The original name survives in the spool, so that a crash before the ledger's row loses nothing. Nothing here reads
//! a byte of content.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::fsutil::{At, PathError, fsync_dir};
use crate::job::JobId;

mod claim;
mod look;
mod recovery;

pub use claim::{Claimed, NotClaimed, Taken, settle, take};
pub use look::{Stamp, Writers, look, stamp, writers};
pub use recovery::{count, find, place, recover, remove, spooled};

/// Name of the spool inside a landing.
pub const SPOOL: &str = ".veild";

/// Creates a landing's spool and proves with a real rename that landing and spool are one file system: of bind mounts
/// not even the device number tells. For the holder of the state directory's lock, which finds what a crash left of its
/// last proof.
///
/// Refuses a landing, and a spool, of another owner than root and ourselves, who could take the spool away.
pub fn prepare(landing: &Path) -> Result<(), PathError> {
    let own = rustix::process::geteuid().as_raw();
    check_owner(landing, &[0, own])?;
    probe(landing, "daemon", &[own])
}

/// Whether landing and spool are still nobody else's: what [`prepare`] refuses of a landing that it has prepared.
pub fn check_owners(landing: &Path) -> Result<(), PathError> {
    let own = rustix::process::geteuid().as_raw();
    check_owner(landing, &[0, own])?;
    check_owner(&landing.join(SPOOL), &[own])
}

/// As [`prepare`], next to a running daemon. Root may do so for a daemon that runs as the landing's owner.
pub fn check(landing: &Path) -> Result<(), PathError> {
    let own = rustix::process::geteuid().as_raw();
    let owner = fs::symlink_metadata(landing).at("look at", landing)?.uid();
    let owners = if own == 0 { &[own, owner][..] } else { &[own] };
    probe(landing, &JobId::claimed_at(Timestamp::now()).to_string(), owners)
}

fn probe(landing: &Path, prober: &str, owners: &[u32]) -> Result<(), PathError> {
    let spool = landing.join(SPOOL);
    match fs::DirBuilder::new().mode(0o700).create(&spool) {
        Ok(()) => fsync_dir(landing)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            check_owner(&spool, owners)?;
            fs::set_permissions(&spool, fs::Permissions::from_mode(0o700)).at("close to others", &spool)?;
        }
        Err(error) => return Err(error).at("create", &spool),
    }
    let (from, to) = (landing.join(format!(".veild-probe-{prober}")), spool.join(format!("probe-{prober}")));
    crate::fsutil::remove_if_there(&from)?;
    File::create_new(&from).at("create", &from)?;
    let renamed = fs::rename(&from, &to).at("rename into the spool, from", &from);
    let _ = fs::remove_file(&from); // gone unless the rename failed
    renamed?;
    fs::remove_file(&to).at("remove", &to)
}

fn check_owner(dir: &Path, owners: &[u32]) -> Result<(), PathError> {
    let metadata = fs::symlink_metadata(dir).at("look at", dir)?;
    let refusal = if !metadata.is_dir() {
        "it is not a directory; move it away".to_owned()
    } else if !owners.contains(&metadata.uid()) {
        format!("it belongs to user {}, who could take the spool away; give it to veild's user", metadata.uid())
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, refusal)).at("use", dir)
}

/// Directory of one job in a landing's spool.
pub fn job_dir(landing: &Path, job: JobId) -> PathBuf {
    landing.join(SPOOL).join(job.to_string())
}

/// Removes `dir` and its parents up to `root` as long as they are empty.
fn remove_dirs(dir: &Path, root: &Path) {
    for dir in dir.ancestors().take_while(|dir| dir.starts_with(root)) {
        if fs::remove_dir(dir).is_err() {
            return; // it holds something, or is gone
        }
    }
}

#[cfg(test)]
mod tests;
