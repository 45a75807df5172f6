//! Taking a file out of a landing.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat, renameat_with};
use rustix::io::Errno;

use super::look::{Stamp, Writers, look_at, look_in, writers};
use super::{SPOOL, job_dir};
use crate::fsutil::{At, PathError, create_dir_durable, fsync_dir};
use crate::intake::{Kind, Stat};
use crate::job::JobId;

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

/// The file under a name, held open.
struct Source {
    parent: OwnedFd,
    name: OsString,
    path: PathBuf,
    file: File,
}

impl Source {
    /// Opens a regular file below a landing without following a link, neither as its name nor on the way there: who
    /// may make directories in a landing must not lead us out of it.
    fn open(landing: &Path, relative: &Path) -> Result<Source, NotClaimed> {
        let path = landing.join(relative);
        let gone_or = |error: Errno, path: &Path| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => NotClaimed::Changed,
            other => NotClaimed::Io(PathError { doing: "open", path: path.to_owned(), source: other.into() }),
        };
        let directory = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let mut parent = openat(CWD, landing, directory, Mode::empty()).at("open", landing)?;
        for part in relative.parent().unwrap_or(Path::new("")) {
            parent = openat(&parent, part, directory | OFlags::NOFOLLOW, Mode::empty())
                .map_err(|error| gone_or(error, &path))?;
        }
        let name = relative.file_name().unwrap_or(OsStr::new("unnamed")).to_owned();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&parent, &name, flags, Mode::empty()).map_err(|error| gone_or(error, &path))?;
        Ok(Source { parent, name, path, file: file.into() })
    }
}

/// Claims `landing/relative` if it is still what was `seen` and nobody writes to it; durable when this returns.
pub fn claim(landing: &Path, relative: &Path, seen: &Stat, now: Timestamp) -> Result<(Claimed, Writers), NotClaimed> {
    let source = Source::open(landing, relative)?;
    let before = look_at(&source.file, &source.path)?;
    if before.kind != Kind::Regular || !before.is_as(seen) {
        return Err(NotClaimed::Changed);
    }
    let writers = writers(&source.file);
    if writers == Writers::Some {
        return Err(NotClaimed::OpenWriter);
    }
    let job = JobId::claimed_at(now);
    let sub_path = relative.parent().unwrap_or(Path::new("")).to_owned();
    let berth = Berth::make(landing, job, &sub_path)?;
    // The name is free: nobody else gets into the job's directory. A plain rename, because NFS knows no other, and a
    // link and unlink in its place could be cut in two by a crash and leave the file under both names.
    if let Err(error) = renameat(&source.parent, &source.name, &berth.held, &source.name) {
        berth.remove();
        return Err(match error {
            Errno::NOENT => NotClaimed::Changed,
            other => PathError { doing: "claim", path: source.path, source: other.into() }.into(),
        });
    }
    berth.take(source, &before, landing, sub_path, writers)
}

/// The new, empty directory of a job in the spool.
struct Berth {
    job: JobId,
    /// The job's directory.
    root: PathBuf,
    /// The directory below it that the file goes to.
    dir: PathBuf,
    held: OwnedFd,
}

impl Berth {
    fn make(landing: &Path, job: JobId, sub_path: &Path) -> Result<Berth, PathError> {
        let root = job_dir(landing, job);
        let dir = root.join(sub_path);
        fs::DirBuilder::new().mode(0o700).create(&root).at("create", &root)?;
        create_dir_durable(&dir, 0o700)?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let held = openat(CWD, &dir, flags, Mode::empty()).at("open", &dir)?;
        Ok(Berth { job, root, dir, held })
    }

    fn remove(&self) {
        super::remove_dirs(&self.dir, &self.root); // one that is left behind is found empty by the next recovery
    }

    /// Judges what the rename has brought: the name may have been given to another file, or the file written to or
    /// linked, since it was looked at. What is not right goes back.
    fn take(
        self,
        source: Source,
        before: &Stat,
        landing: &Path,
        sub_path: PathBuf,
        writers: Writers,
    ) -> Result<(Claimed, Writers), NotClaimed> {
        let path = self.dir.join(&source.name);
        let found = look_in(&self.held, Path::new(&source.name), &path)?.ok_or(NotClaimed::Changed)?;
        let is_right = found.kind == Kind::Regular
            && found.inode == before.inode
            && (found.bytes, found.mtime_ns, found.links) == (before.bytes, before.mtime_ns, before.links);
        let refusal = match is_right {
            true => self.make_durable(landing, &source.path).err().map(NotClaimed::Io),
            false => Some(NotClaimed::Changed),
        };
        if let Some(refusal) = refusal {
            match renameat_with(&self.held, &source.name, &source.parent, &source.name, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    self.remove();
                    return Err(refusal);
                }
                // Its name is taken again: it stays claimed, nothing is replaced. The check before the commit sees
                // whether anybody still writes to it.
                Err(_) if found.kind == Kind::Regular => {}
                Err(error) => return Err(error).at("give back", &source.path).map_err(NotClaimed::Io),
            }
        }
        Ok((Claimed { job: self.job, name: source.name, sub_path, path, stamp: found.into() }, writers))
    }

    fn make_durable(&self, landing: &Path, from: &Path) -> Result<(), PathError> {
        fsync_dir(&self.dir)?;
        fsync_dir(&landing.join(SPOOL))?;
        fsync_dir(from.parent().unwrap_or(landing))
    }
}
