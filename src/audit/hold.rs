//! Legal hold: records and objects that must stay, whatever their age or number.
//!
//! `DIR/holds/<name>.json` is one hold, there as a whole or not at all. Whoever prunes reads them all just before, and
//! prunes nothing when one of them cannot be read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fsutil::{self, At, PathError};
use crate::job::JobId;

/// Those of version 1 hold the objects of all landings.
const HOLD_VERSION: u32 = 2;
const HOLDS: &str = "holds";

/// One hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    pub hold_version: u32,
    pub name: String,
    /// What happened before this is not held; absent: from the beginning.
    pub from: Option<Timestamp>,
    /// What happens after this is not held; absent: for ever.
    pub to: Option<Timestamp>,
    /// Only this landing's objects are held; all records of the time are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landing: Option<String>,
    /// Only these jobs' objects are held, when there are any here; all records of the time are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobId>,
    pub reason: String,
    pub since: Timestamp,
}

impl Hold {
    pub fn new(name: &str, from: Option<Timestamp>, to: Option<Timestamp>, reason: &str, since: Timestamp) -> Hold {
        let (landing, jobs) = (None, Vec::new());
        Hold { hold_version: 1, name: name.to_owned(), from, to, landing, jobs, reason: reason.to_owned(), since }
    }

    /// The same for objects of one landing or some jobs alone.
    pub fn only(self, landing: Option<&str>, jobs: &[JobId]) -> Hold {
        let is_narrow = landing.is_some() || !jobs.is_empty();
        let hold_version = if is_narrow { HOLD_VERSION } else { 1 };
        Hold { hold_version, landing: landing.map(str::to_owned), jobs: jobs.to_owned(), ..self }
    }

    /// Whether it holds something of this span of time.
    pub fn covers(&self, first: Timestamp, last: Timestamp) -> bool {
        self.from.is_none_or(|from| last >= from) && self.to.is_none_or(|to| first <= to)
    }

    /// Whether it holds an object of this landing and job, which was worked on in this span of time.
    pub fn covers_object(&self, landing: &str, job: JobId, first: Timestamp, last: Timestamp) -> bool {
        self.covers(first, last)
            && self.landing.as_deref().is_none_or(|only| only == landing)
            && (self.jobs.is_empty() || self.jobs.contains(&job))
    }

    /// Puts it into force, durably; the name must be free.
    pub fn add(&self, dir: &Path) -> Result<(), PathError> {
        let holds = dir.join(HOLDS);
        fsutil::create_dir_durable(&holds, 0o755)?;
        let path = path(dir, &self.name);
        let mut json = serde_json::to_vec_pretty(self).at("write", &path)?;
        json.push(b'\n');
        fsutil::place_new(&path, 0o644, &json)
    }
}

/// Ends a hold, durably.
pub fn remove(dir: &Path, name: &str) -> Result<(), PathError> {
    fsutil::remove_if_there(&path(dir, name))?;
    fsutil::fsync_dir(&dir.join(HOLDS))
}

fn path(dir: &Path, name: &str) -> PathBuf {
    dir.join(HOLDS).join(format!("{name}.json"))
}

/// Whether a hold may have this name: 1 to 63 of a-z, 0-9, `-` and `_`.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    (1..=63).contains(&name.len()) && name.bytes().all(plain)
}

/// Largest hold: one of some ten thousand jobs.
const MAX_BYTES: u64 = 1 << 20;

/// All holds of a trail, by name.
pub fn list(dir: &Path) -> Result<Vec<Hold>, PathError> {
    let holds = dir.join(HOLDS);
    let entries = match fs::read_dir(&holds) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("read", &holds)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.at("read", &holds)?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let hold: Hold = serde_json::from_slice(&fsutil::read_regular(&path, MAX_BYTES)?).at("read", &path)?;
        if hold.hold_version > HOLD_VERSION {
            return Err(io::Error::other("it was written by a newer veild; upgrade veild")).at("use", &path);
        }
        found.push(hold);
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}
