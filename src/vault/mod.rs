//! The vault: sealed objects with signed receipts.
//!
//! Layout below `DIR`: `<landing>/<YYYY>/<MM>/<DD>/<stem>.<job>.<ext>.age` with `….receipt.json` and `.receipt.json.sig`
//! beside it; `.incoming/` holds what is being written and may be emptied at every start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fsutil::PathError;
use crate::job::JobId;
use crate::keys::SigningKey;
use crate::pipeline::{ColumnReport, InputReport};

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
    pub object: PathBuf,
    /// SHA-256 of the receipt file's bytes, lower-case hexadecimal.
    pub receipt_sha256: String,
}

/// Creates `DIR` and `DIR/.incoming` and empties the latter.
pub fn prepare(_dir: &Path) -> Result<(), PathError> {
    todo!()
}

/// Path of an object below the vault.
///
/// `sub_path` is the directory below the landing that the file came from (recursive landings), `original` the file's
/// name as bytes; names are shortened so that none passes 255 bytes, and made printable.
pub fn object_path(
    _landing: &str,
    _sub_path: &Path,
    _job: JobId,
    _original: &std::ffi::OsStr,
    _opaque: bool,
) -> PathBuf {
    todo!()
}

/// Publishes a batch: objects, receipts and signatures durable first, then receipt and signature under their final
/// names, the object's rename last, directories durable. All or an error; what an error leaves behind is found again
/// by [`find`].
pub fn publish(_dir: &Path, _batch: &[Finished], _key: &SigningKey) -> Result<Vec<Published>, PathError> {
    todo!()
}

/// An object that a crash left published but not audited: its receipt when object, receipt and signature are whole.
pub fn find(_dir: &Path, _object: &Path, _key: &crate::keys::VerifyingKey) -> Option<(Receipt, Published)> {
    todo!()
}

/// Counters by landing, for status.
pub type Counts = BTreeMap<String, u64>;
