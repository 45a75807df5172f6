//! What stands at a path or behind a descriptor, never followed, never read.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, StatxTimestamp, statx};

use crate::fsutil::{At, PathError};
use crate::intake::{Kind, Stat};

/// Size and times of a file; equal stamps mean that nothing was written in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub bytes: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
}

impl From<Stat> for Stamp {
    fn from(stat: Stat) -> Stamp {
        Stamp { bytes: stat.bytes, mtime_ns: stat.mtime_ns, ctime_ns: stat.ctime_ns }
    }
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
    look_in(CWD, path, path)
}

/// Looks at `name` in an open directory; `path` is for errors.
///
/// Network file systems and FUSE answer from a cache that is up to a minute old, unless they are told to ask.
pub(super) fn look_in(dir: impl AsFd, name: &Path, path: &Path) -> Result<Option<Stat>, PathError> {
    match statx(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS) {
        Ok(found) => Ok(Some(stat_of(&found))),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error).at("look at", path),
    }
}

/// Looks at an open file.
pub(super) fn look_at(file: &File, path: &Path) -> Result<Stat, PathError> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
    Ok(stat_of(&statx(file, "", flags, StatxFlags::BASIC_STATS).at("look at", path)?))
}

fn stat_of(found: &Statx) -> Stat {
    let kind = match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::RegularFile => Kind::Regular,
        FileType::Directory => Kind::Directory,
        _ => Kind::Irregular,
    };
    Stat {
        kind,
        inode: found.stx_ino,
        bytes: found.stx_size,
        mtime_ns: nanoseconds(found.stx_mtime),
        ctime_ns: nanoseconds(found.stx_ctime),
        links: found.stx_nlink.into(),
    }
}

fn nanoseconds(time: StatxTimestamp) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

/// The stamp of an open file.
pub fn stamp(file: &File, path: &Path) -> Result<Stamp, PathError> {
    Ok(look_at(file, path)?.into())
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
