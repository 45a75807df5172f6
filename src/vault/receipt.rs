//! The receipt of one object: what was done to a file, signed by the host that did it.

use std::path::Path;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::siblings;
use crate::anonymity::AnonymityReport;
use crate::fsutil::read_regular;
use crate::job::JobId;
use crate::pipeline::{ColumnReport, InputReport, Verified};
use crate::policy::Verify;

/// Version of the receipts' format that new receipts have.
///
/// 2: `verify` is an object, and `rows_suppressed` and `anonymity` are there; in version 1 `verify` was the word `off`.
pub const RECEIPT_VERSION: u32 = 2;
/// Largest receipt: one of some hundred thousand columns.
pub const MAX_RECEIPT_BYTES: u64 = 64 << 20;
/// That of amended ones.
const AMENDED_VERSION: u32 = 3;

/// What veild did to one file for one group of readers. The file beside it with `.sig` at its end is an SSH signature over
/// the receipt's bytes, namespace `veild-receipt`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "veild receipt")]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Version of this format.
    #[schemars(range(min = 2, max = 3))]
    pub receipt_version: u32,
    /// The file's identity from its claim on; a ULID.
    #[schemars(with = "String", extend("pattern" = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"))]
    pub job: JobId,
    /// Name of the landing; `-` for a file masked by hand.
    pub landing: String,
    /// Name of the view; null for the main output and for an archived original.
    pub view: Option<String>,
    /// The file's name, percent-encoded where a terminal could not show it; a keyed hash when names are opaque.
    pub original_name: String,
    /// When the file was first seen.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub arrived_at: Timestamp,
    /// When it was taken out of the landing.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub claimed_at: Timestamp,
    /// When its outputs were complete.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub sealed_at: Timestamp,
    /// The file as it came.
    pub input: InputReport,
    /// The sealed object.
    pub output: ReceiptOutput,
    /// Records read.
    pub rows_in: u64,
    /// Records written.
    pub rows_out: u64,
    /// Records that the policy has left out.
    #[serde(default)]
    pub rows_suppressed: u64,
    /// What holds of the records of this output together; absent where the policy does not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymity: Option<AnonymityReport>,
    /// What was done to each column.
    pub columns: Vec<ColumnReport>,
    /// The policy; null for an archived original, which is not masked.
    pub policy: Option<ReceiptPolicy>,
    /// Who can open the object.
    pub recipients: Vec<String>,
    /// What the leak scan found.
    #[serde(deserialize_with = "verified")]
    pub verify: Verified,
    /// Version of veild.
    pub veild: String,
    /// What the object and its receipt were before it was sealed to other readers; oldest first, absent when it never was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amended: Vec<Amendment>,
}

/// What one amendment replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Amendment {
    /// When it was replaced.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub amended_at: Timestamp,
    /// SHA-256 of the receipt that it had, which the audit trail has recorded.
    pub receipt_sha256: String,
    /// Who could open the object.
    pub recipients: Vec<String>,
    /// SHA-256 of the sealed bytes as they were.
    pub sha256: String,
    /// Their size.
    pub bytes: u64,
    /// Version of veild that replaced it.
    pub veild: String,
}

/// The result of the leak scan, in this version's form or in that of version 1.
fn verified<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Verified, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Now(Verified),
        Then(Verify),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Now(verified) => verified,
        Either::Then(mode) => Verified { mode, ..Verified::default() },
    })
}

/// The `output` object of a receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptOutput {
    /// Relative to the vault.
    pub path: String,
    /// SHA-256 of the sealed bytes, lower-case hexadecimal.
    pub sha256: String,
    /// Size of the sealed bytes.
    pub bytes: u64,
    /// Format and compression of what is sealed.
    pub format: String,
}

/// The `policy` object of a receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptPolicy {
    /// Its name in the configuration, or of its file.
    pub name: String,
    /// Digest of its rules, lower-case hexadecimal.
    pub sha256: String,
}

impl Receipt {
    /// Reads a receipt, which may be of any version up to this one.
    pub fn parse(json: &[u8]) -> Result<Receipt, String> {
        #[derive(Deserialize)]
        struct Version {
            receipt_version: u32,
        }
        let unreadable = |_| "unreadable receipt".to_owned();
        let Version { receipt_version } = serde_json::from_slice(json).map_err(unreadable)?;
        if receipt_version > AMENDED_VERSION {
            return Err(format!("its receipt (version {receipt_version}) was written by a newer veild; upgrade veild"));
        }
        serde_json::from_slice(json).map_err(unreadable)
    }

    /// Adds what the object was before.
    pub(super) fn amend(&mut self, before: Amendment) {
        self.receipt_version = AMENDED_VERSION;
        self.amended.push(before);
    }

    /// JSON Schema (2020-12) of receipts as they are written.
    pub fn schema() -> serde_json::Value {
        let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
        settings.into_generator().into_root_schema_for::<Receipt>().to_value()
    }
}

/// A receipt whose signature holds.
pub struct Signed {
    pub receipt: Receipt,
    /// SHA-256 of the receipt file's bytes, lower-case hexadecimal.
    pub sha256: String,
}

impl Signed {
    /// The receipt of an object below the vault, if it is the object's own and signed.
    pub(super) fn read(dir: &Path, relative: &Path, signed: &impl Fn(&[u8], &str) -> bool) -> Result<Signed, String> {
        let (receipt, signature) = siblings(&dir.join(relative)).ok_or("not an object's name")?;
        let read = |path: &Path, what: &str| {
            read_regular(path, MAX_RECEIPT_BYTES).map_err(|error| format!("{what}: {}", error.source))
        };
        let json = read(&receipt, "missing receipt")?;
        let armoured = String::from_utf8(read(&signature, "missing signature")?);
        let armoured = armoured.map_err(|_| "bad signature of the receipt".to_owned())?;
        if !signed(&json, &armoured) {
            return Err("bad signature of the receipt".to_owned());
        }
        let receipt = Receipt::parse(&json)?;
        if Path::new(&receipt.output.path) != relative {
            return Err("the receipt is of another path".to_owned());
        }
        Ok(Signed { receipt, sha256: format!("{:x}", Sha256::digest(&json)) })
    }
}
