//! Taking a file out of a landing.

use std::collections::BTreeSet;
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
use crate::fsutil::{At, PathError, create_dir_durable, fsync_dir, remote};
use crate::intake::{Kind, Stat};
use crate::job::JobId;

/// From this many claims on, one `syncfs` is cheaper than an fsync for each of their directories.
const SYNCFS_ABOVE: usize = 8;

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

/// A file that was renamed into the spool, by a rename that may not be durable yet.
pub struct Taken {
    claimed: Claimed,
    writers: Writers,
    berth: Berth,
    /// The directory that it came from, and its path there.
    parent: OwnedFd,
    from: PathBuf,
}

/// Claims `landing/relative` if it is still what was `seen` and nobody writes to it; [`settle`] makes that durable.
pub fn take(landing: &Path, relative: &Path, seen: &Stat, now: Timestamp) -> Result<Taken, NotClaimed> {
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
    berth.take(source, &before, sub_path, writers)
}

/// Makes claims of one landing durable together. Where that fails, they go back.
pub fn settle(landing: &Path, taken: Vec<Taken>) -> Vec<Result<(Claimed, Writers), NotClaimed>> {
    match make_durable(landing, &taken) {
        Ok(()) => taken.into_iter().map(|taken| Ok((taken.claimed, taken.writers))).collect(),
        Err(error) => {
            let again = || PathError {
                doing: error.doing,
                path: error.path.clone(),
                source: error.source.raw_os_error().map_or(error.kind().into(), std::io::Error::from_raw_os_error),
            };
            taken.into_iter().map(|taken| taken.give_back(NotClaimed::Io(again()))).collect()
        }
    }
}

fn make_durable(landing: &Path, taken: &[Taken]) -> Result<(), PathError> {
    // FUSE does not pass syncfs on to its server.
    if taken.len() > SYNCFS_ABOVE && remote(landing)?.is_none() {
        let held = File::open(landing).at("open", landing)?;
        return rustix::fs::syncfs(held).at("make durable", landing);
    }
    // From the jobs' directories upwards: what is durable in the landing must not be lost in the spool.
    let (spool, mut synced) = (landing.join(SPOOL), BTreeSet::new());
    let berths = taken.iter().map(|taken| taken.berth.dir.as_path());
    let sources = taken.iter().filter_map(|taken| taken.from.parent());
    let mut dirs = berths.chain([spool.as_path()]).chain(sources);
    dirs.try_for_each(|dir| if synced.insert(dir) { fsync_dir(dir) } else { Ok(()) })
}

impl Taken {
    fn give_back(self, refusal: NotClaimed) -> Result<(Claimed, Writers), NotClaimed> {
        let name = &self.claimed.name;
        match renameat_with(&self.berth.held, name, &self.parent, name, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.berth.remove();
                Err(refusal)
            }
            // Its name is taken again: it stays claimed, nothing is replaced. The check before the commit sees whether
            // anybody still writes to it.
            Err(_) => Ok((self.claimed, self.writers)),
        }
    }
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
        if dir != root {
            create_dir_durable(&dir, 0o700)?;
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let held = openat(CWD, &dir, flags, Mode::empty()).at("open", &dir)?;
        Ok(Berth { job, root, dir, held })
    }

    fn remove(&self) {
        super::remove_dirs(&self.dir, &self.root); // one that is left behind is found empty by the next recovery
    }

    /// Judges what the rename has brought: the name may have been given to another file, or the file written to or
    /// linked, since it was looked at. What is not right goes back.
    fn take(self, source: Source, before: &Stat, sub_path: PathBuf, writers: Writers) -> Result<Taken, NotClaimed> {
        let path = self.dir.join(&source.name);
        let found = look_in(&self.held, Path::new(&source.name), &path)?.ok_or(NotClaimed::Changed)?;
        let is_right = found.kind == Kind::Regular
            && found.inode == before.inode
            && (found.bytes, found.mtime_ns, found.links) == (before.bytes, before.mtime_ns, before.links);
        if !is_right {
            match renameat_with(&self.held, &source.name, &source.parent, &source.name, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    self.remove();
                    return Err(NotClaimed::Changed);
                }
                // Its name is taken again: it stays claimed, as in [`Taken::give_back`].
                Err(_) if found.kind == Kind::Regular => {}
                Err(error) => return Err(error).at("give back", &source.path).map_err(NotClaimed::Io),
            }
        }
        let claimed = Claimed { job: self.job, name: source.name, sub_path, path, stamp: found.into() };
        Ok(Taken { claimed, writers, berth: self, parent: source.parent, from: source.path })
    }
}
