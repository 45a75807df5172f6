//! The vault: sealed objects with signed receipts.
//!
//! Layout below `DIR`: `<landing>/<YYYY>/<MM>/<DD>/<stem>.<job>.<ext>.age` with `….receipt.json` and `.receipt.json.sig`
//! beside it; `.incoming/` holds what is being written and may be emptied at every start.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fsutil::{At, PathError, create_dir_durable, fsync_dir};
use crate::job::JobId;
use crate::keys::SigningKey;
use crate::pipeline::{ColumnReport, InputReport};

mod list;
mod path;
mod publish;
mod verify;

pub use list::{Entry, list};
pub use verify::{Problem, VaultVerdict, verify};

const INCOMING: &str = ".incoming";
const RECEIPT_SUFFIX: &str = ".receipt.json";
/// Of the receipts' SSH signatures.
const NAMESPACE: &str = "veild-receipt";

/// The receipt of one object; field names are the published format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    pub receipt_version: u32,
    pub job: JobId,
    pub landing: String,
    pub view: Option<String>,
    /// As [`crate::fsutil::printable_name`] gives it; a keyed hash when names are opaque.
    pub original_name: String,
    pub arrived_at: Timestamp,
    pub claimed_at: Timestamp,
    pub sealed_at: Timestamp,
    pub input: InputReport,
    pub output: ReceiptOutput,
    pub rows_in: u64,
    pub rows_out: u64,
    pub columns: Vec<ColumnReport>,
    pub policy: ReceiptPolicy,
    pub recipients: Vec<String>,
    /// Result of the leak scan: `off`, later others.
    pub verify: String,
    /// veild's version.
    pub veild: String,
}

/// The `output` object of a receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptOutput {
    /// Relative to the vault.
    pub path: String,
    pub sha256: String,
    pub bytes: u64,
    pub format: String,
}

/// The `policy` object of a receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptPolicy {
    pub name: String,
    pub sha256: String,
}

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

/// Creates `DIR` and `DIR/.incoming` and empties the latter.
pub fn prepare(dir: &Path) -> Result<(), PathError> {
    let incoming = dir.join(INCOMING);
    create_dir_durable(dir, 0o750)?;
    create_dir_durable(&incoming, 0o700)?;
    fs::set_permissions(&incoming, Permissions::from_mode(0o700)).at("set the mode of", &incoming)?;
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
pub fn object_path(landing: &str, sub_path: &Path, job: JobId, original: &std::ffi::OsStr, opaque: bool) -> PathBuf {
    path::object_path(landing, sub_path, job, original, opaque)
}

/// Paths of an object's receipt and signature; `None` when it is not named like an object.
fn siblings(object: &Path) -> Option<(PathBuf, PathBuf)> {
    let base = object.file_name()?.to_str()?.strip_suffix(".age")?;
    let receipt = object.with_file_name(format!("{base}{RECEIPT_SUFFIX}"));
    Some((receipt, object.with_file_name(format!("{base}{RECEIPT_SUFFIX}.sig"))))
}

/// Publishes a batch: objects, receipts and signatures durable first, then receipt and signature under their final
/// names, the object's rename last, directories durable. All or an error; what an error leaves behind is found again
/// by [`find`].
pub fn publish(dir: &Path, batch: &[Finished], key: &SigningKey) -> Result<Vec<Published>, PathError> {
    publish::publish(dir, batch, &|message: &[u8]| key.sign(NAMESPACE, message))
}

/// An object that a crash left published but not audited: its receipt when object, receipt and signature are whole.
///
/// `object` is relative to the vault or begins with `dir`.
pub fn find(dir: &Path, object: &Path, key: &crate::keys::VerifyingKey) -> Option<(Receipt, Published)> {
    let relative = object.strip_prefix(dir).unwrap_or(object);
    let signed = |message: &[u8], armoured: &str| key.verify(NAMESPACE, message, armoured).is_ok();
    find_with(dir, relative, &signed)
}

fn find_with(dir: &Path, relative: &Path, signed: &impl Fn(&[u8], &str) -> bool) -> Option<(Receipt, Published)> {
    let found = verify::check(dir, relative, signed).ok()?;
    // The crash may have come before the last fsync, and the caller will let go of the source.
    let object = dir.join(relative);
    publish::sync_up_to(dir, &[object.parent()?]).ok()?;
    Some(found)
}

/// Counters by landing, for status.
pub type Counts = BTreeMap<String, u64>;

#[cfg(test)]
mod tests;
