//! Several objects of one job become visible together: an intent lists them all before the first is renamed.
//!
//! It is durable by then, as are the objects, and it goes after the last rename. A crash in between leaves it: recovery
//! then shows what is missing, or, where that has been lost, takes back what can be seen. An intent of which nothing can
//! be seen is void.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::publish::{is_inside, write_fresh};
use super::{Finished, INCOMING, MAX_RECEIPT_BYTES, Receipt, siblings, take_back};
use crate::fsutil::{At, PathError, fsync_dir, open_regular, read_regular, rename_noreplace};
use crate::job::JobId;

const INTENT_VERSION: u32 = 1;
const SUFFIX: &str = ".intent";
/// Largest intent: it names each output of one file.
const MAX_BYTES: u64 = 16 << 20;

/// `.incoming/<job>.intent`.
#[derive(Serialize, Deserialize)]
struct Intent {
    intent_version: u32,
    job: JobId,
    /// The main output first.
    objects: Vec<Object>,
}

#[derive(Serialize, Deserialize)]
struct Object {
    /// Name in `.incoming`.
    incoming: String,
    /// Relative to the vault.
    path: PathBuf,
}

/// Writes the intent of one job; to be made durable by the caller.
pub(super) fn write(dir: &Path, outputs: &[Finished]) -> Result<PathBuf, PathError> {
    let job = outputs[0].receipt.job;
    let path = dir.join(INCOMING).join(format!("{job}{SUFFIX}"));
    let object = |finished: &Finished| Object {
        incoming: finished.incoming.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        path: PathBuf::from(&finished.receipt.output.path),
    };
    let intent = Intent { intent_version: INTENT_VERSION, job, objects: outputs.iter().map(object).collect() };
    write_fresh(&path, &serde_json::to_vec(&intent).at("write", &path)?)?;
    Ok(path)
}

/// Finishes or takes back every publication that was cut off; `is_done` tells the jobs that had their outcome recorded.
pub(super) fn recover<E: From<PathError>>(dir: &Path, is_done: &impl Fn(JobId) -> Result<bool, E>) -> Result<(), E> {
    let incoming = dir.join(INCOMING);
    for entry in fs::read_dir(&incoming).at("read", &incoming)? {
        let path = entry.at("read", &incoming)?.path();
        if !path.to_string_lossy().ends_with(SUFFIX) {
            continue;
        }
        // One that is not whole was never made durable: nothing has been renamed.
        let Ok(intent) = serde_json::from_slice::<Intent>(&read_regular(&path, MAX_BYTES)?) else { continue };
        if intent.intent_version > INTENT_VERSION {
            return Err(io::Error::other("it was written by a newer veild; upgrade veild")).at("use", path)?;
        }
        // After its record an object may have left the vault by rights.
        if !is_done(intent.job)? && intent.objects.iter().all(|object| is_inside(&object.path)) {
            settle(dir, &intent)?;
        }
    }
    Ok(())
}

fn settle(dir: &Path, intent: &Intent) -> Result<(), PathError> {
    let is_visible = |object: &&Object| dir.join(&object.path).exists();
    let (visible, missing): (Vec<&Object>, Vec<&Object>) = intent.objects.iter().rev().partition(is_visible);
    if visible.is_empty() {
        return missing.iter().try_for_each(|object| take_back(dir, &object.path));
    }
    if missing.iter().all(|object| is_whole(dir, object)) {
        for object in missing {
            let to = dir.join(&object.path);
            rename_noreplace(&dir.join(INCOMING).join(&object.incoming), &to)?;
            crate::faults::point("rolled_forward");
            fsync_dir(to.parent().unwrap_or(dir))?;
        }
        return Ok(());
    }
    tracing::warn!(code = "publication_undone", job = %intent.job, "a part of a publication was lost; it starts over");
    intent.objects.iter().try_for_each(|object| take_back(dir, &object.path))
}

/// Whether an object that waits in `.incoming` is what its receipt, published already, says.
fn is_whole(dir: &Path, object: &Object) -> bool {
    let whole = || -> Option<bool> {
        let (receipt, _) = siblings(&dir.join(&object.path))?;
        let receipt = Receipt::parse(&read_regular(&receipt, MAX_RECEIPT_BYTES).ok()?).ok()?;
        let mut hash = Sha256::new();
        let bytes = io::copy(&mut open_regular(&dir.join(INCOMING).join(&object.incoming)).ok()?, &mut hash).ok()?;
        Some(bytes == receipt.output.bytes && format!("{:x}", hash.finalize()) == receipt.output.sha256)
    };
    whole().unwrap_or(false)
}
