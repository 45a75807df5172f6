//! The vault: sealed objects with signed receipts.
//!
//! Layout below `DIR`: `<landing>/<YYYY>/<MM>/<DD>/<stem>.<job>.<ext>.age` with `….receipt.json` and `.receipt.json.sig`
//! beside it, and `….<job>.<view>.<ext>.age` likewise for each view; `.archive/` holds unmasked originals in the same
//! manner, sealed to other readers; `.incoming/` holds what is being written, with
//! intents ([`intent`]) where several objects become visible together. [`recover`] comes first at every start.
//!
//! What can be seen already is changed by [`change`] alone: [`prune`] removes it, [`rewrap`] seals it to other readers;
//! `.changes/` has the journals, `.pruned/` the tombstones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::fsutil::{At, PathError, create_dir_durable, fsync_dir, remove_if_there};
use crate::job::JobId;
use crate::keys::{SigningKey, VerifyingKey};

pub mod change;
mod damaged;
pub mod export;
mod intent;
mod list;
pub mod lock;
mod path;
pub mod prune;
mod publish;
mod receipt;
pub mod rewrap;
mod told;
mod tombstone;
mod verify;

pub use damaged::Damaged;
pub use list::{Entry, list, list_archive, of_job};
pub use receipt::{Amendment, MAX_RECEIPT_BYTES, RECEIPT_VERSION, Receipt, ReceiptOutput, ReceiptPolicy, Signed};
pub use told::Told;
pub use tombstone::pruned;
pub use verify::{Evidence, Problem, VaultVerdict, VerifyError, is_as_said, verify};

const INCOMING: &str = ".incoming";
const ARCHIVE: &str = ".archive";
const CHANGES: &str = ".changes";
const PRUNED: &str = ".pruned";
/// Directories at the top that hold no outputs, `lost+found` of file systems among them.
const APART: [&str; 5] = [INCOMING, ARCHIVE, CHANGES, PRUNED, "lost+found"];
const RECEIPT_SUFFIX: &str = ".receipt.json";
/// Of the receipts' SSH signatures.
pub const NAMESPACE: &str = "veild-receipt";

/// A finished object in `.incoming/` with its receipt, ready to be published.
pub struct Finished {
    /// The sealed bytes, complete but not necessarily durable.
    pub incoming: PathBuf,
    pub receipt: Receipt,
}

/// What publishing made visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub job: JobId,
    /// Relative to the vault.
    pub object: PathBuf,
    /// SHA-256 of the receipt file's bytes, lower-case hexadecimal.
    pub receipt_sha256: String,
}

/// Where objects are written before they are published. Only [`prepare`] creates it, so that a vault which is not
/// mounted is not mistaken for an empty one.
pub fn incoming(dir: &Path) -> PathBuf {
    dir.join(INCOMING)
}

/// Creates `DIR` and `DIR/.incoming`.
pub fn prepare(dir: &Path) -> Result<(), PathError> {
    let incoming = dir.join(INCOMING);
    create_dir_durable(dir, 0o750)?;
    create_dir_durable(&incoming, 0o700)?;
    fs::set_permissions(&incoming, Permissions::from_mode(0o700)).at("set the mode of", &incoming)
}

/// Makes all or none of a job's outputs visible where a crash cut their publication off, then empties `.incoming`.
///
/// `is_done` tells the jobs whose outcome is recorded; what they published is no longer touched.
pub fn recover<E: From<PathError>>(dir: &Path, is_done: impl Fn(JobId) -> Result<bool, E>) -> Result<(), E> {
    intent::recover(dir, &is_done)?;
    Ok(empty_incoming(dir)?)
}

fn empty_incoming(dir: &Path) -> Result<(), PathError> {
    let incoming = dir.join(INCOMING);
    for entry in fs::read_dir(&incoming).at("read", &incoming)? {
        let entry = entry.at("read", &incoming)?;
        let path = entry.path();
        if entry.file_type().at("examine", &path)?.is_dir() {
            fs::remove_dir_all(&path).at("remove", &path)?;
        } else {
            fs::remove_file(&path).at("remove", &path)?;
        }
    }
    fsync_dir(&incoming)
}

/// Path of an object below the vault.
///
/// `sub_path` is the directory below the landing that the file came from (recursive landings), `original` the file's
/// name as bytes; names are shortened so that none passes 255 bytes, and made printable.
pub fn object_path(
    landing: &str,
    sub_path: &Path,
    job: JobId,
    original: &std::ffi::OsStr,
    view: Option<&str>,
    opaque: bool,
) -> PathBuf {
    path::object_path(landing, sub_path, job, original, view, opaque)
}

/// Path below the vault of a file's unmasked original, sealed; the parameters are those of [`object_path`].
pub fn archive_path(landing: &str, sub_path: &Path, job: JobId, original: &std::ffi::OsStr, opaque: bool) -> PathBuf {
    Path::new(ARCHIVE).join(object_path(landing, sub_path, job, original, None, opaque))
}

/// Whether a path below the vault is that of an archived original.
pub fn is_archived(relative: &Path) -> bool {
    relative.starts_with(ARCHIVE)
}

/// Paths of an object's receipt and signature; `None` when it is not named like an object.
fn siblings(object: &Path) -> Option<(PathBuf, PathBuf)> {
    let base = object.file_name()?.to_str()?.strip_suffix(".age")?;
    let receipt = object.with_file_name(format!("{base}{RECEIPT_SUFFIX}"));
    Some((receipt, object.with_file_name(format!("{base}{RECEIPT_SUFFIX}.sig"))))
}

/// The files of the receipt and its signature, given the receipt's path or its object's, wherever they are.
pub fn receipt_files(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let name = path.file_name()?.to_str()?;
    match name.strip_suffix(RECEIPT_SUFFIX) {
        Some(_) => Some((path.to_owned(), path.with_file_name(format!("{name}.sig")))),
        None => siblings(path),
    }
}

/// The object of a receipt, beside it.
pub fn object_of(receipt: &Path) -> Option<PathBuf> {
    let base = receipt.file_name()?.to_str()?.strip_suffix(RECEIPT_SUFFIX)?;
    Some(receipt.with_file_name(format!("{base}.age")))
}

/// Tells whether receipts and tombstones carry this key's signature.
fn signed_by(key: &VerifyingKey) -> impl Fn(&[u8], &str) -> bool {
    move |message, armoured| key.verify(NAMESPACE, message, armoured).is_ok()
}

/// Publishes the outputs of several jobs, each job's main output first: objects, receipts and signatures durable first,
/// then receipts and signatures under their final names, the objects' renames last, directories durable. All or an
/// error; what an error leaves behind is found again by the next attempt, which returns it with its own receipt.
pub fn publish(
    dir: &Path,
    jobs: &[Vec<Finished>],
    key: &SigningKey,
) -> Result<Vec<Vec<(Receipt, Published)>>, PathError> {
    let verifying = key.verifying();
    publish::publish(dir, jobs, &|message: &[u8]| key.sign(NAMESPACE, message), &signed_by(&verifying))
}

/// Takes back an output that was not published, with all that was staged for it.
pub fn withdraw(incoming: &Path) {
    publish::withdraw(incoming);
}

/// What a crash left published but not audited of these jobs of a landing: main output, views, archived original in
/// this order, each of which object, receipt and signature are whole. It is found by the jobs in the names, whatever
/// today's configuration would call it; each day's directory is walked once.
pub fn find(
    dir: &Path,
    landing: &str,
    jobs: &BTreeSet<JobId>,
    key: &VerifyingKey,
) -> Result<BTreeMap<JobId, Vec<(Receipt, Published)>>, PathError> {
    let signed = signed_by(key);
    let days: BTreeSet<PathBuf> = jobs.iter().map(|job| path::day(landing, *job)).collect();
    let mut found: BTreeMap<JobId, Vec<(Receipt, Published)>> = BTreeMap::new();
    for below in days.iter().flat_map(|day| [day.clone(), Path::new(ARCHIVE).join(day)]) {
        for path in list::objects_named(dir, &below, jobs)? {
            // A name is an uploader's; the receipt is ours.
            if let Some((receipt, published)) = find_with(dir, &path, &signed).filter(|it| jobs.contains(&it.0.job)) {
                found.entry(receipt.job).or_default().push((receipt, published));
            }
        }
    }
    let rank = |(receipt, published): &(Receipt, Published)| (is_archived(&published.object), receipt.view.clone());
    found.values_mut().for_each(|outputs| outputs.sort_by_cached_key(rank));
    Ok(found)
}

fn find_with(dir: &Path, relative: &Path, signed: &impl Fn(&[u8], &str) -> bool) -> Option<(Receipt, Published)> {
    let found = verify::check(dir, relative, signed, &|_| {}).ok()?;
    // The crash may have come before the last fsync, and the caller will let go of the source.
    let object = dir.join(relative);
    publish::sync_up_to(dir, &[object.parent()?]).ok()?;
    Some(found)
}

/// Removes an output that nobody has been told of: the object first, so that none is ever seen without its receipt.
pub fn take_back(dir: &Path, relative: &Path) -> Result<(), PathError> {
    let object = dir.join(relative);
    let Some((receipt, signature)) = siblings(&object) else { return Ok(()) };
    if [&object, &receipt, &signature].iter().all(|path| !path.exists()) {
        return Ok(());
    }
    let parent = object.parent().unwrap_or(dir);
    remove_if_there(&object)?;
    fsync_dir(parent)?;
    remove_if_there(&receipt)?;
    remove_if_there(&signature)?;
    fsync_dir(parent)
}

/// Counters by landing, for status.
pub type Counts = BTreeMap<String, u64>;

#[cfg(test)]
mod tests;
