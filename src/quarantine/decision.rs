//! What is decided of an entry: a file in it that is there before the audit trail says so.
//!
//! A decision of which the trail has its record is carried out, whatever cuts it off; one of which it has none has never
//! been, and is taken back by whoever comes by with the entry's lock.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::write_whole;
use crate::audit::{self, Action, AuditError};
use crate::fsutil::{At, PathError, fsync_dir, read_regular, remove_if_there};
use crate::job::JobId;

/// Largest file of one.
const MAX_BYTES: u64 = 1 << 20;

/// A retry, a release or a discard.
pub trait Decision: Serialize + DeserializeOwned {
    /// Its file is `<DEED>.json`, with the version of its format as `<DEED>_version`.
    const DEED: &'static str;
    const VERSION: u32;
    /// Its record in the audit trail.
    const ACTION: Action;

    /// The record has a higher number than this; `None`: it was there before the decision.
    fn recorded_after(&self) -> Option<u64>;

    /// Removes what was made ready for it.
    fn clear_away(&self, _job: JobId) -> Result<(), PathError> {
        Ok(())
    }

    /// Decides it of an entry whose lock is held. After an error it is not decided.
    fn decide(&self, dir: &Path, job: JobId) -> Result<(), PathError> {
        let entry = dir.join(job.to_string());
        let mut json = Map::from_iter([(version_key::<Self>(), json!(Self::VERSION))]);
        match serde_json::to_value(self).at("write", path::<Self>(dir, job))? {
            Value::Object(keys) => json.extend(keys),
            _ => unreachable!("every decision is a structure"),
        }
        let written = write_whole(&entry, &file::<Self>(), &json);
        if written.is_err() {
            // It may have its name and not be durable.
            remove_if_there(&path::<Self>(dir, job))?;
        }
        written
    }

    /// The one of an entry.
    fn decided(dir: &Path, job: JobId) -> Result<Option<Self>, PathError> {
        let path = path::<Self>(dir, job);
        let json = match read_regular(&path, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let json: Value = serde_json::from_slice(&json).at("read", &path)?;
        if json[version_key::<Self>()].as_u64().is_none_or(|version| version > Self::VERSION.into()) {
            return Err(io::Error::other("it was written by a newer veild; upgrade veild")).at("use", path);
        }
        Ok(Some(serde_json::from_value(json).at("read", path)?))
    }

    /// Whether there is one.
    fn is_decided(dir: &Path, job: JobId) -> bool {
        path::<Self>(dir, job).exists()
    }

    /// Takes it back.
    fn revoke(&self, dir: &Path, job: JobId) -> Result<(), PathError> {
        remove_if_there(&path::<Self>(dir, job))?;
        fsync_dir(&dir.join(job.to_string()))?;
        self.clear_away(job)
    }

    /// Whether the trail has its record.
    fn is_recorded(&self, trail: &Path, job: JobId) -> Result<bool, AuditError> {
        let Some(after) = self.recorded_after() else { return Ok(true) };
        audit::is_recorded(trail, after, Self::ACTION, job)
    }
}

fn file<D: Decision>() -> String {
    format!("{}.json", D::DEED)
}

fn path<D: Decision>(dir: &Path, job: JobId) -> PathBuf {
    dir.join(job.to_string()).join(file::<D>())
}

fn version_key<D: Decision>() -> String {
    format!("{}_version", D::DEED)
}
