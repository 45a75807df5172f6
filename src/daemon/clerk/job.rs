//! A claimed file with the rules that hold for it to its end.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Config, Landing};
use crate::fsutil::printable_name;
use crate::job::JobId;
use crate::keys::MaskingKeys;
use crate::policy::Policy;
use crate::spool::Claimed;
use crate::vault;

/// A claimed file with the rules that hold for it to its end.
#[derive(Clone)]
pub struct Job {
    pub config: Arc<Config>,
    pub landing: Arc<Landing>,
    pub claimed: Claimed,
    pub arrived_at: Timestamp,
    /// What it is, where no reader takes it and its landing has such files sealed as they are.
    pub unrecognised: Option<String>,
}

impl Job {
    pub fn new(config: Arc<Config>, landing: Arc<Landing>, claimed: Claimed, arrived_at: Timestamp) -> Job {
        Job { config, landing, claimed, arrived_at, unrecognised: None }
    }

    pub fn id(&self) -> JobId {
        self.claimed.job
    }

    /// What is made of the file: main output, views, and the original for the archive; of one that no reader takes the
    /// original alone.
    pub fn outputs(&self) -> Vec<Planned<'_>> {
        let (vault, landing) = (&self.config.vault, &self.landing);
        let (id, sub_path) = (self.id(), &self.claimed.sub_path);
        let name = landing.writing.name_of_output(&self.claimed.name);
        let planned = |incoming: String, view: Option<&'_ str>, policy, recipients| Planned {
            policy: Some(&self.config.policies[policy]),
            recipients,
            incoming: vault.dir.join(".incoming").join(incoming),
            object: vault::object_path(&landing.name, sub_path, id, &name, view, vault.opaque),
            view: view.map(str::to_owned),
        };
        let main = planned(format!("{id}.age"), None, &landing.policy, &landing.recipients);
        let views = landing.views.iter().enumerate().map(|(index, view)| {
            planned(format!("{id}.{index}.age"), Some(view.name.as_str()), &view.policy, &view.recipients)
        });
        let kept = if self.unrecognised.is_some() { &landing.unrecognised } else { &landing.archive };
        let original = kept.iter().map(|recipients| Planned {
            view: None,
            policy: None,
            recipients,
            incoming: vault.dir.join(".incoming").join(format!("{id}.archive.age")),
            object: vault::archive_path(&landing.name, sub_path, id, &self.claimed.name, vault.opaque),
        });
        let masked = std::iter::once(main).chain(views).filter(|_| self.unrecognised.is_none());
        masked.chain(original).collect()
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
}

/// One output of a job.
pub struct Planned<'a> {
    /// `None` for the main output and for the original.
    pub view: Option<String>,
    /// `None` for the unmasked original.
    pub policy: Option<&'a Policy>,
    pub recipients: &'a [String],
    /// Where the worker writes it.
    pub incoming: PathBuf,
    /// Path below the vault.
    pub object: PathBuf,
}

fn public_name(config: &Config, name: &std::ffi::OsStr, keys: &MaskingKeys) -> String {
    if !config.vault.opaque {
        return printable_name(name);
    }
    use std::os::unix::ffi::OsStrExt;
    let key = keys.derive("original-name", "");
    blake3::keyed_hash(&key, name.as_bytes()).to_hex().to_string()
}
