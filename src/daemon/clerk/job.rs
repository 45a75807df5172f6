//! A claimed file with the rules that hold for it to its end.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Config, Landing};
use crate::fsutil::printable_name;
use crate::job::JobId;
use crate::keys::MaskingKeys;
use crate::spool::Claimed;
use crate::vault;

/// A claimed file with the rules that hold for it to its end.
#[derive(Clone)]
pub struct Job {
    pub config: Arc<Config>,
    pub landing: Arc<Landing>,
    pub claimed: Claimed,
    pub arrived_at: Timestamp,
}

impl Job {
    pub fn id(&self) -> JobId {
        self.claimed.job
    }

    /// Where the worker's output for this job is written.
    pub fn incoming(&self) -> PathBuf {
        self.config.vault.dir.join(".incoming").join(format!("{}.age", self.id()))
    }

    /// Where the sealed original of a rejected file is written.
    pub fn incoming_original(&self) -> PathBuf {
        self.config.vault.dir.join(".incoming").join(format!("{}.original.age", self.id()))
    }

    /// The name for records; a keyed hash when names are opaque.
    pub fn public_name(&self, keys: &MaskingKeys) -> String {
        public_name(&self.config, &self.claimed.name, keys)
    }

    /// The directory below the landing for records; absent at its top, and when names are opaque.
    pub fn public_sub_path(&self) -> Option<String> {
        let parts = self.claimed.sub_path.components().map(|part| printable_name(part.as_os_str()));
        let path = parts.collect::<Vec<_>>().join("/");
        Some(path).filter(|path| !path.is_empty() && !self.config.vault.opaque)
    }

    /// Path of the job's object below the vault.
    pub fn object(&self) -> PathBuf {
        vault::object_path(
            &self.landing.name,
            &self.claimed.sub_path,
            self.id(),
            &self.landing.compress.name_of_output(&self.claimed.name),
            self.config.vault.opaque,
        )
    }
}

fn public_name(config: &Config, name: &std::ffi::OsStr, keys: &MaskingKeys) -> String {
    if !config.vault.opaque {
        return printable_name(name);
    }
    use std::os::unix::ffi::OsStrExt;
    let key = keys.derive("original-name", "");
    blake3::keyed_hash(&key, name.as_bytes()).to_hex().to_string()
}
