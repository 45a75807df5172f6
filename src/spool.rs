//! Claims: a rename into the landing's own `.veild/<job>/<original name>`, on the same file system.
//!
//! The original name survives in the spool, so that a crash before the ledger's row loses nothing. Nothing here reads
//! a byte of content.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::fsutil::{At, PathError, fsync_dir, rename_noreplace};
use crate::intake::{Kind, Stat};
use crate::job::JobId;

/// Name of the spool inside a landing.
pub const SPOOL: &str = ".veild";

/// Size and times of a file; equal stamps mean that nothing was written in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub bytes: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
}

/// A claimed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub job: JobId,
    pub name: OsString,
    /// Directory below the landing that it came from; kept below the job's directory too.
    pub sub_path: PathBuf,
    /// Where it lies now.
    pub path: PathBuf,
    pub stamp: Stamp,
}

/// Why a file was not claimed.
#[derive(Debug, thiserror::Error)]
pub enum NotClaimed {
    #[error("somebody has it open for writing")]
    OpenWriter,
    #[error("it changed, went away or was replaced meanwhile")]
    Changed,
    #[error(transparent)]
    Io(#[from] PathError),
}

/// Whether the kernel says that somebody has a file open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    None,
    Some,
    /// No CAP_LEASE, or a file system without leases.
    Unknown,
}

/// Looks at a path without following a link or opening anything; `None` when nothing is there.
pub fn look(path: &Path) -> Result<Option<Stat>, PathError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(stat_of(&metadata))),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        Err(error) => Err(error).at("look at", path),
    }
}

fn stat_of(metadata: &fs::Metadata) -> Stat {
    let kind = if metadata.is_file() {
        Kind::Regular
    } else if metadata.is_dir() {
        Kind::Directory
    } else {
        Kind::Irregular
    };
    let stamp = stamp_of(metadata);
    Stat { kind, bytes: stamp.bytes, mtime_ns: stamp.mtime_ns, ctime_ns: stamp.ctime_ns, links: metadata.nlink() }
}

fn stamp_of(metadata: &fs::Metadata) -> Stamp {
    Stamp {
        bytes: metadata.len(),
        mtime_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        ctime_ns: i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
    }
}

/// The stamp of an open file.
pub fn stamp(file: &File, path: &Path) -> Result<Stamp, PathError> {
    Ok(stamp_of(&file.metadata().at("look at", path)?))
}

/// Opens a regular file for reading, following no link and waiting for nothing.
pub fn open_regular(path: &Path) -> Result<File, PathError> {
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).at("open", path)?;
    if file.metadata().at("look at", path)?.is_file() {
        return Ok(file);
    }
    Err(std::io::Error::other("not a regular file")).at("open", path)
}

/// Asks the kernel for a read lease, which it grants only while nobody has the file open for writing, and gives it
/// back at once. A writer that opens in between is delayed by microseconds, and we get a SIGIO that is ignored.
pub fn writers(file: &File) -> Writers {
    // SAFETY: F_SETLEASE takes an int and touches no memory of ours; the descriptor is open for the whole call.
    let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    if taken == 0 {
        // SAFETY: as above.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
        return Writers::None;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => Writers::Some,
        _ => Writers::Unknown,
    }
}

/// Creates a landing's spool and proves with a real rename that landing and spool are one file system; for the holder
/// of the state directory's lock, which finds what a crash left of its last proof.
pub fn prepare(landing: &Path) -> Result<(), PathError> {
    probe(landing, "daemon")
}

/// As [`prepare`], next to a running daemon.
pub fn check(landing: &Path) -> Result<(), PathError> {
    probe(landing, &JobId::claimed_at(Timestamp::now()).to_string())
}

fn probe(landing: &Path, prober: &str) -> Result<(), PathError> {
    let spool = landing.join(SPOOL);
    crate::fsutil::create_dir_durable(&spool, 0o700)?;
    let (from, to) = (landing.join(format!(".veild-probe-{prober}")), spool.join(format!("probe-{prober}")));
    crate::fsutil::remove_if_there(&from)?;
    File::create_new(&from).at("create", &from)?;
    let renamed = fs::rename(&from, &to).at("rename into the spool, from", &from);
    let _ = fs::remove_file(&from); // gone unless the rename failed
    renamed?;
    fs::remove_file(&to).at("remove", &to)
}

/// Directory of one job in a landing's spool.
pub fn job_dir(landing: &Path, job: JobId) -> PathBuf {
    landing.join(SPOOL).join(job.to_string())
}

/// Claims `landing/relative` if it is still what was `seen` and nobody writes to it; durable when this returns.
pub fn claim(landing: &Path, relative: &Path, seen: Stat, now: Timestamp) -> Result<(Claimed, Writers), NotClaimed> {
    let from = landing.join(relative);
    let file = match open_regular(&from) {
        Ok(file) => file,
        Err(error) if matches!(error.source.raw_os_error(), Some(libc::ENOENT | libc::ELOOP)) => {
            return Err(NotClaimed::Changed);
        }
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata().at("look at", &from)?;
    if stat_of(&metadata) != seen {
        return Err(NotClaimed::Changed);
    }
    let writers = writers(&file);
    if writers == Writers::Some {
        return Err(NotClaimed::OpenWriter);
    }
    let job = JobId::claimed_at(now);
    let dir = job_dir(landing, job);
    fs::DirBuilder::new().create(&dir).at("create", &dir)?;
    let name = from.file_name().unwrap_or(OsStr::new("unnamed")).to_owned();
    let sub_path = relative.parent().unwrap_or(Path::new("")).to_owned();
    let path = dir.join(&sub_path).join(&name);
    crate::fsutil::create_dir_durable(&dir.join(&sub_path), 0o700)?;
    if let Err(error) = rename_noreplace(&from, &path) {
        let _ = fs::remove_dir_all(&dir); // holds no file: the rename failed
        return Err(match error.kind() {
            std::io::ErrorKind::NotFound => NotClaimed::Changed,
            // What stands in the way is the file's owner, not the spool.
            _ => PathError { doing: "claim", path: from, source: error.source }.into(),
        });
    }
    // The name may have been given to another file between the look and the rename.
    let now_there = fs::symlink_metadata(&path).at("look at", &path)?;
    if (now_there.dev(), now_there.ino()) != (metadata.dev(), metadata.ino()) {
        rename_noreplace(&path, &from)?;
        let _ = fs::remove_dir_all(&dir); // holds no file again
        return Err(NotClaimed::Changed);
    }
    let durable = fsync_dir(&dir.join(&sub_path))
        .and_then(|()| fsync_dir(&landing.join(SPOOL)))
        .and_then(|()| fsync_dir(from.parent().unwrap_or(landing)));
    if let Err(error) = durable {
        rename_noreplace(&path, &from)?;
        let _ = fs::remove_dir_all(&dir); // holds no file again
        return Err(error.into());
    }
    Ok((Claimed { job, name, sub_path, path, stamp: stamp_of(&now_there) }, writers))
}

/// Moves a file that lies ready in the spool into a new job's directory, as a claim would; durable when this returns.
pub fn place(landing: &Path, job: JobId, below: &Path, ready: &Path) -> Result<(), PathError> {
    let path = job_dir(landing, job).join(below);
    let parent = path.parent().unwrap_or(landing);
    crate::fsutil::create_dir_durable(parent, 0o700)?;
    rename_noreplace(ready, &path)?;
    fsync_dir(parent)?;
    fsync_dir(&landing.join(SPOOL))
}

/// What the spool holds of one job, or `None`.
pub fn find(landing: &Path, job: JobId) -> Result<Option<Claimed>, PathError> {
    let dir = job_dir(landing, job);
    let mut found = Vec::new();
    match collect(job, &dir, Path::new(""), &mut found) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(|()| found.pop()),
    }
}

/// Number of claimed files in a landing's spool; `None` when there is no spool. Changes nothing.
pub fn count(landing: &Path) -> Result<Option<usize>, PathError> {
    match jobs(&landing.join(SPOOL)) {
        Err(error) if matches!(error.source.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        found => Ok(Some(found?.iter().map(|(_, files)| files.len()).sum())),
    }
}

/// Everything that a landing's spool holds, oldest first; empty job directories are removed on the way.
pub fn recover(landing: &Path) -> Result<Vec<Claimed>, PathError> {
    let mut found = Vec::new();
    for (dir, files) in jobs(&landing.join(SPOOL))? {
        if files.is_empty() {
            fs::remove_dir_all(&dir).at("remove", &dir)?; // a claim that was cut off before its rename
        }
        found.extend(files);
    }
    found.sort_by_key(|claimed| claimed.job);
    Ok(found)
}

/// Directories of jobs in a spool, each with the files in it.
fn jobs(spool: &Path) -> Result<Vec<(PathBuf, Vec<Claimed>)>, PathError> {
    let mut jobs = Vec::new();
    for entry in fs::read_dir(spool).at("list", spool)? {
        let entry = entry.at("list", spool)?;
        let Some(job) = entry.file_name().to_str().and_then(|name| name.parse::<JobId>().ok()) else { continue };
        let mut files = Vec::new();
        collect(job, &entry.path(), Path::new(""), &mut files)?;
        jobs.push((entry.path(), files));
    }
    Ok(jobs)
}

fn collect(job: JobId, dir: &Path, sub_path: &Path, found: &mut Vec<Claimed>) -> Result<(), PathError> {
    for entry in fs::read_dir(dir).at("list", dir)? {
        let entry = entry.at("list", dir)?;
        let (path, name) = (entry.path(), entry.file_name());
        let metadata = fs::symlink_metadata(&path).at("look at", &path)?;
        if metadata.is_dir() {
            collect(job, &path, &sub_path.join(name), found)?;
        } else if metadata.is_file() {
            found.push(Claimed { job, name, sub_path: sub_path.to_owned(), path, stamp: stamp_of(&metadata) });
        }
    }
    Ok(())
}

/// Removes a job's source and its directory; that they are gone already is no error.
pub fn remove(landing: &Path, job: JobId) -> Result<(), PathError> {
    let dir = job_dir(landing, job);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", &dir),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn landing() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path()).unwrap();
        dir
    }

    fn seen(dir: &Path, name: &str) -> Stat {
        look(&dir.join(name)).unwrap().unwrap()
    }

    #[test]
    fn a_claim_moves_the_file_and_recover_finds_it() {
        let dir = landing();
        fs::write(dir.path().join("a.csv"), "a\n1\n").unwrap();
        let stat = seen(dir.path(), "a.csv");
        let (claimed, _) = claim(dir.path(), Path::new("a.csv"), stat, Timestamp::now()).unwrap();
        assert!(!dir.path().join("a.csv").exists());
        assert_eq!(recover(dir.path()).unwrap(), std::slice::from_ref(&claimed));
        remove(dir.path(), claimed.job).unwrap();
        assert_eq!(recover(dir.path()).unwrap(), []);
    }

    #[test]
    fn an_open_writer_or_a_change_refuses_the_claim() {
        let dir = landing();
        let path = dir.path().join("a.csv");
        let writer = File::create(&path).unwrap();
        let stat = seen(dir.path(), "a.csv");
        let refused = claim(dir.path(), Path::new("a.csv"), stat, Timestamp::now());
        if let Err(refusal) = refused {
            assert!(matches!(refusal, NotClaimed::OpenWriter));
        } else {
            eprintln!("SKIPPED: this file system grants no leases");
        }
        drop(writer);
        fs::write(&path, "longer").unwrap();
        assert!(matches!(claim(dir.path(), Path::new("a.csv"), stat, Timestamp::now()), Err(NotClaimed::Changed)));
    }

    #[test]
    fn links_and_fifos_are_never_opened() {
        let dir = landing();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        let stat = seen(dir.path(), "link");
        assert_eq!(stat.kind, Kind::Irregular);
        assert!(claim(dir.path(), Path::new("link"), stat, Timestamp::now()).is_err());
        assert!(dir.path().join("link").symlink_metadata().is_ok());
    }
}
