//! Who replaces or removes published objects does so alone; whoever needs to see them at rest shares the lock.
//!
//! Publishing takes no lock: what it adds nobody else touches. The kernel lets go of it when its holder dies.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::CHANGES;
use crate::fsutil::{At, PathError, create_dir_durable, open_regular};

/// Held until it is dropped.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// For this process alone; waits for all others.
    pub fn alone(vault: &Path) -> Result<Lock, PathError> {
        let (file, path) = open(vault)?;
        retry(|| flock(&file, FlockOperation::LockExclusive)).at("lock", path)?;
        Ok(Lock { _file: file })
    }

    /// For this process alone, if nobody else has it.
    pub fn try_alone(vault: &Path) -> Result<Option<Lock>, PathError> {
        let (file, path) = open(vault)?;
        match retry(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).at("lock", path),
        }
    }

    /// With other readers; waits for whoever is changing something. `None` where nothing was ever changed.
    pub fn shared(vault: &Path) -> Result<Option<Lock>, PathError> {
        let path = path(vault);
        let file = match open_regular(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        retry(|| flock(&file, FlockOperation::LockShared)).at("lock", path)?;
        Ok(Some(Lock { _file: file }))
    }
}

fn path(vault: &Path) -> PathBuf {
    vault.join(CHANGES).join("lock")
}

fn open(vault: &Path) -> Result<(File, PathBuf), PathError> {
    // Not with its parents: a vault that is not mounted must not be begun anew.
    fs::metadata(vault).at("look at", vault)?;
    create_dir_durable(&vault.join(CHANGES), 0o750)?;
    let path = path(vault);
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path).at("open", &path)?;
    Ok((file, path))
}

fn retry(mut lock: impl FnMut() -> rustix::io::Result<()>) -> io::Result<()> {
    loop {
        match lock() {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
