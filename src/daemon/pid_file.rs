//! The pid file: names the process while it runs, and is locked for as long.
//!
//! It is never followed through a link, and nothing but a pid file of our own is written to: whoever can plant a name in
//! its directory gains no file that is overwritten.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};

use crate::fsutil::{At, PathError};

/// Times that the file may vanish between its opening and its locking, as that of a daemon does that stops meanwhile.
const MAX_TRIES: usize = 100;

/// Why a pid file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    #[error("{} is held by a daemon that runs{}", path.display(), pid.as_ref().map_or(String::new(), |pid| format!(" (process {pid})")))]
    Held { path: PathBuf, pid: Option<u32> },
    #[error("{} is {what}; remove it, or name another --pid-file", path.display())]
    Foreign { path: PathBuf, what: &'static str },
    #[error(transparent)]
    Io(#[from] PathError),
}

/// A pid file of this process; removed when dropped.
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Takes the file for this process: a new one, or one that a daemon left which was killed.
    pub fn take(path: &Path) -> Result<PidFile, PidFileError> {
        for _ in 0..MAX_TRIES {
            let file = open(path)?;
            // A record lock: it ends with this process and is not inherited by one that is being forked.
            match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::ACCESS | rustix::io::Errno::AGAIN) => {
                    return Err(PidFileError::Held { path: path.to_owned(), pid: read_pid(&file) });
                }
                Err(errno) => return Err(errno).at("lock", path)?,
            }
            let held = PidFile { path: path.to_owned(), file };
            if held.is_in_place() {
                held.write().at("write", path)?;
                return Ok(held);
            }
        }
        Err(io::Error::other("it vanishes again and again")).at("take", path)?
    }

    fn write(&self) -> io::Result<()> {
        let line = format!("{}\n", std::process::id());
        self.file.set_permissions(Permissions::from_mode(0o644))?;
        self.file.write_all_at(line.as_bytes(), 0)?;
        self.file.set_len(line.len() as u64)
    }

    /// Whether the path still leads to the file that is locked.
    fn is_in_place(&self) -> bool {
        let identity = |metadata: io::Result<fs::Metadata>| metadata.map(|it| (it.dev(), it.ino())).ok();
        identity(fs::symlink_metadata(&self.path)) == identity(self.file.metadata())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.is_in_place() {
            let _ = fs::remove_file(&self.path); // one that stays is not locked, and is taken over
        }
    }
}

fn open(path: &Path) -> Result<File, PidFileError> {
    let foreign = |what| Err(PidFileError::Foreign { path: path.to_owned(), what });
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o644);
    let file = match options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return foreign("a symbolic link"),
        other => other.at("open", path)?,
    };
    let metadata = file.metadata().at("look at", path)?;
    if !metadata.is_file() {
        return foreign("no regular file");
    }
    if metadata.nlink() > 1 {
        return foreign("a file that has other names");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return foreign("a file of another user");
    }
    match metadata.len() {
        0 => Ok(file),
        _ if read_pid(&file).is_some() => Ok(file),
        _ => foreign("a file with something else in it"),
    }
}

/// The number in it, and nothing else.
fn read_pid(file: &File) -> Option<u32> {
    let mut text = [0; 32];
    let count = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..count]).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pid_file_of_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("veild.pid"), dir.path().join("precious"));
        fs::write(&other, "precious").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(PidFile::take(&path).err().unwrap().to_string().contains("is a symbolic link; remove it"));
        fs::remove_file(&path).unwrap();
        fs::hard_link(&other, &path).unwrap();
        assert!(PidFile::take(&path).err().unwrap().to_string().contains("other names"));
        fs::remove_file(&path).unwrap();
        assert!(PidFile::take(&other).err().unwrap().to_string().contains("something else in it"));
        assert!(PidFile::take(dir.path()).is_err());
        assert_eq!(fs::read(&other).unwrap(), b"precious");
    }

    #[test]
    fn a_stale_one_is_taken_over_and_its_own_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("veild.pid");
        fs::write(&path, "4194304\n").unwrap();
        let held = PidFile::take(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "of somebody else").unwrap();
        drop(held);
        assert!(path.exists(), "it removed a file that it did not hold");
    }
}
