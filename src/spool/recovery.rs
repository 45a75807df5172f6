//! What a spool holds.

use std::fs;
use std::path::Path;

use jiff::Timestamp;

use super::claim::Claimed;
use super::look::look;
use super::{SPOOL, job_dir};
use crate::fsutil::{At, PathError, create_dir_durable, fsync_dir, rename_noreplace};
use crate::intake::Kind;
use crate::job::JobId;

/// The jobs that a landing's spool has a directory for, oldest first.
pub fn spooled(landing: &Path) -> Result<Vec<JobId>, PathError> {
    let spool = landing.join(SPOOL);
    let mut jobs = Vec::new();
    for entry in fs::read_dir(&spool).at("list", &spool)? {
        let name = entry.at("list", &spool)?.file_name();
        jobs.extend(name.to_str().and_then(|name| name.parse::<JobId>().ok()));
    }
    jobs.sort_unstable();
    Ok(jobs)
}

/// Moves a file that lies ready in the spool into a new job's directory, as a claim would; durable when this returns.
pub fn place(landing: &Path, job: JobId, below: &Path, ready: &Path) -> Result<(), PathError> {
    let path = job_dir(landing, job).join(below);
    let parent = path.parent().unwrap_or(landing);
    create_dir_durable(parent, 0o700)?;
    rename_noreplace(ready, &path)?;
    fsync_dir(parent)?;
    fsync_dir(&landing.join(SPOOL))
}

/// What the spool holds of one job, or `None`.
pub fn find(landing: &Path, job: JobId) -> Result<Option<Claimed>, PathError> {
    let mut found = Vec::new();
    collect(job, &job_dir(landing, job), Path::new(""), &mut found)?;
    Ok(found.pop())
}

/// Number of claimed files in a landing's spool; `None` when there is no spool. Changes nothing.
pub fn count(landing: &Path) -> Result<Option<usize>, PathError> {
    let jobs = match spooled(landing) {
        Err(error) if matches!(error.source.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => return Ok(None),
        jobs => jobs?,
    };
    let mut found = Vec::new();
    for job in jobs {
        collect(job, &job_dir(landing, job), Path::new(""), &mut found)?;
    }
    Ok(Some(found.len()))
}

/// Everything that a landing's spool holds, oldest first.
pub fn recover(landing: &Path) -> Result<Vec<Claimed>, PathError> {
    let mut found = Vec::new();
    for job in spooled(landing)? {
        found.extend(recover_job(landing, job)?);
    }
    Ok(found)
}

/// What lies in a job's directory; nothing, and the directory removed, when its claim was cut off before the rename.
///
/// More than one file means that a directory came under the name of a file during a claim: each is a job of its own.
fn recover_job(landing: &Path, job: JobId) -> Result<Vec<Claimed>, PathError> {
    let dir = job_dir(landing, job);
    let mut found = Vec::new();
    collect(job, &dir, Path::new(""), &mut found)?;
    if found.is_empty() {
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.at("remove", &dir)?,
        }
    }
    for further in found.iter_mut().skip(1) {
        *further = give_own_job(landing, further)?;
    }
    Ok(found)
}

fn collect(job: JobId, dir: &Path, sub_path: &Path, found: &mut Vec<Claimed>) -> Result<(), PathError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.at("list", dir)?,
    };
    for entry in entries {
        let entry = entry.at("list", dir)?;
        let (path, name) = (entry.path(), entry.file_name());
        let Some(stat) = look(&path)? else { continue };
        match stat.kind {
            Kind::Directory => collect(job, &path, &sub_path.join(name), found)?,
            Kind::Regular => {
                found.push(Claimed { job, name, sub_path: sub_path.to_owned(), path, stamp: stat.into() });
            }
            Kind::Irregular => {}
        }
    }
    Ok(())
}

fn give_own_job(landing: &Path, claimed: &Claimed) -> Result<Claimed, PathError> {
    let job = JobId::claimed_at(Timestamp::now());
    let dir = job_dir(landing, job).join(&claimed.sub_path);
    create_dir_durable(&dir, 0o700)?;
    let path = dir.join(&claimed.name);
    fs::rename(&claimed.path, &path).at("rename to", &path)?; // nobody else gets into the new directory
    fsync_dir(&dir)?;
    let stamp = look(&path)?.map_or(claimed.stamp, Into::into); // the rename has changed its ctime
    Ok(Claimed { job, path, stamp, ..claimed.clone() })
}

/// Removes a job's source, and its directories as far as they are empty; that they are gone already is no error.
pub fn remove(landing: &Path, claimed: &Claimed) -> Result<(), PathError> {
    crate::fsutil::remove_if_there(&claimed.path)?;
    let root = job_dir(landing, claimed.job);
    super::remove_dirs(claimed.path.parent().unwrap_or(&root), &root);
    Ok(())
}
