//! Tombstones: what is left of objects that went.
//!
//! `.pruned/<id>.json` lists what went at one time, with `.sig` beside it, an SSH signature as receipts have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::PRUNED;
use super::verify::Problem;
use crate::fsutil::{At, PathError, read_regular};
use crate::job::JobId;

pub(super) const TOMBSTONE_VERSION: u32 = 1;
/// Largest tombstone; some hundred objects take less than 1 MiB.
const MAX_TOMBSTONE_BYTES: u64 = 16 << 20;

/// Why an object went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Older than its landing's `keep`.
    Keep,
    /// Older than somebody has said.
    OlderThan,
}

/// One object that went; the last that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pruned {
    /// Relative to the vault.
    pub path: String,
    pub job: JobId,
    pub landing: String,
    pub view: Option<String>,
    pub claimed_at: Timestamp,
    pub sealed_at: Timestamp,
    pub sha256: String,
    pub bytes: u64,
    pub receipt_sha256: String,
    pub why: Why,
}

/// `.pruned/<id>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    pub tombstone_version: u32,
    pub pruned_at: Timestamp,
    pub reason: Option<String>,
    pub objects: Vec<Pruned>,
    /// veild's version.
    pub veild: String,
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, PathError> {
    let pruned = dir.join(PRUNED);
    let entries = match fs::read_dir(&pruned) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.at("read", &pruned)?,
    };
    let paths = entries.map(|entry| Ok(entry.at("read", &pruned)?.path()));
    let mut paths = paths.collect::<Result<Vec<PathBuf>, PathError>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    Ok(paths)
}

/// The tombstones that speak of some of these jobs; not checked against their signatures.
pub(super) fn of(dir: &Path, jobs: &BTreeSet<JobId>) -> Result<Vec<PathBuf>, PathError> {
    let mut paths = files(dir)?;
    let speaks = |tombstone: Tombstone| tombstone.objects.iter().any(|object| jobs.contains(&object.job));
    paths.retain(|path| read(path, &|_, _| true).is_ok_and(speaks));
    Ok(paths)
}

/// The tombstone of a job's objects and when they went; not checked against its signature.
pub fn pruned(dir: &Path, job: JobId) -> Result<Option<(PathBuf, Timestamp)>, PathError> {
    let of_it = of(dir, &BTreeSet::from([job]))?.into_iter().next();
    Ok(of_it.and_then(|path| Some((path.clone(), read(&path, &|_, _| true).ok()?.pruned_at))))
}

/// When the objects that have a tombstone went, and what is wrong with tombstones.
pub(super) fn all(
    dir: &Path,
    signed: &impl Fn(&[u8], &str) -> bool,
) -> Result<(BTreeMap<PathBuf, Timestamp>, Vec<Problem>), PathError> {
    let (mut found, mut problems) = (BTreeMap::new(), Vec::new());
    for path in files(dir)? {
        match read(&path, signed) {
            Ok(tombstone) => {
                let at = tombstone.pruned_at;
                found.extend(tombstone.objects.into_iter().map(|object| (PathBuf::from(object.path), at)));
            }
            Err(what) => {
                let path = path.strip_prefix(dir).unwrap_or(&path).to_owned();
                problems.push(Problem { path, what });
            }
        }
    }
    Ok((found, problems))
}

fn read(path: &Path, signed: &impl Fn(&[u8], &str) -> bool) -> Result<Tombstone, String> {
    #[derive(Deserialize)]
    struct Version {
        tombstone_version: u32,
    }
    let read = |path: &Path| read_regular(path, MAX_TOMBSTONE_BYTES).map_err(|error| error.source);
    let text = read(path).map_err(|error| format!("cannot read the tombstone: {error}"))?;
    let signature = read(&path.with_extension("json.sig"));
    let signature = signature.map_err(|error| format!("missing signature of the tombstone: {error}"))?;
    let signature = String::from_utf8(signature).map_err(|_| "bad signature of the tombstone".to_owned())?;
    if !signed(&text, &signature) {
        return Err("bad signature of the tombstone".to_owned());
    }
    let unreadable = |_| "unreadable tombstone".to_owned();
    let Version { tombstone_version } = serde_json::from_slice(&text).map_err(unreadable)?;
    if tombstone_version > TOMBSTONE_VERSION {
        return Err("the tombstone was written by a newer veild; upgrade veild".to_owned());
    }
    serde_json::from_slice(&text).map_err(unreadable)
}
