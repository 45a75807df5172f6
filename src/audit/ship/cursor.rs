//! How far a target has the trail: `STATE/ship/<name>.json`, there as a whole or not at all.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::audit::segment;
use crate::fsutil::{self, At, PathError};

const CURSOR_VERSION: u32 = 1;

/// The last record that a target has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    cursor_version: u32,
    pub seq: u64,
    /// Of its line: tells the trail from another one.
    pub line_sha256: String,
}

impl Cursor {
    pub fn at(seq: u64, line: &[u8]) -> Cursor {
        Cursor { cursor_version: CURSOR_VERSION, seq, line_sha256: segment::hash(line) }
    }

    /// `None` before the first delivery.
    pub fn load(path: &Path) -> Result<Option<Cursor>, PathError> {
        let json = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.at("read", path)?,
        };
        let cursor: Cursor = serde_json::from_slice(&json).at("read", path)?;
        match cursor.cursor_version {
            CURSOR_VERSION => Ok(Some(cursor)),
            _ => Err(io::Error::other("it was written by a newer veild; upgrade veild")).at("use", path),
        }
    }

    pub fn save(&self, path: &Path) -> Result<(), PathError> {
        let dir = path.parent().unwrap_or(Path::new("/"));
        fsutil::create_dir_durable(dir, 0o750)?;
        let mut json = serde_json::to_vec(self).at("write", path)?;
        json.push(b'\n');
        fsutil::replace_durable(path, 0o640, &json)
    }
}
