//! Releases: `release.json` decides that an original is handed to a path.
//!
//! The copy is whole and lies beside its place by then. What a crash cuts off behind the record is finished by the same
//! command: nobody else can write where the operator wants it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::decision::Decision;
use crate::audit::Action;
use crate::fsutil::{At, PathError, open_regular};

/// `release.json`.
#[derive(Serialize, Deserialize)]
pub struct Release {
    pub recorded_after: u64,
    pub to: PathBuf,
}

impl Decision for Release {
    const DEED: &'static str = "release";
    const VERSION: u32 = 1;
    const ACTION: Action = Action::FileReleased;

    fn recorded_after(&self) -> Option<u64> {
        Some(self.recorded_after)
    }
}

/// Whether a file holds what the original holds.
pub fn is_copy(original: &Path, copy: &Path) -> Result<bool, PathError> {
    let digest = |path: &Path| {
        let mut hash = Sha256::new();
        io::copy(&mut open_regular(path)?, &mut hash).at("read", path)?;
        Ok(hash.finalize())
    };
    Ok(digest(original)? == digest(copy)?)
}
