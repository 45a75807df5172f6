//! The configuration: what stands in `config.toml`, checked, with defaults filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::pipeline::{Dialect, DigestKind};
use crate::policy::Policy;

/// A whole configuration; every value is usable as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// SHA-256 of the file's bytes, lower-case hexadecimal.
    pub sha256: String,
    pub daemon: Daemon,
    pub log: Log,
    pub audit: Audit,
    pub vault: Vault,
    pub keys: Keys,
    pub quarantine: Quarantine,
    pub landings: Vec<Landing>,
    pub policies: BTreeMap<String, Policy>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Daemon {
    pub state_dir: PathBuf,
    pub workers: usize,
    pub worker_memory: u64,
    pub max_attempts: u32,
    pub shutdown_grace: Duration,
    pub min_free: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `None`: standard error.
    pub dir: Option<PathBuf>,
    pub format: LogFormat,
    pub level: tracing::Level,
    pub rotate: Rotation,
    pub keep: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    Daily,
    Hourly,
    Never,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    pub dir: PathBuf,
    pub rotate_size: u64,
    pub rotate: Rotation,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Vault {
    pub dir: PathBuf,
    /// `names = "opaque"`
    pub opaque: bool,
    pub input_digest: DigestKind,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// `credential:NAME` is resolved to a path here.
    pub masking: PathBuf,
    pub signing: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Quarantine {
    /// Empty: originals are kept as they came.
    pub recipients: Vec<String>,
    pub keep: Duration,
    pub max_size: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Landing {
    pub name: String,
    pub dir: PathBuf,
    pub recursive: bool,
    pub include: Patterns,
    pub exclude: Patterns,
    pub complete: Complete,
    pub quiet: Duration,
    /// For [`Complete::Marker`], with `{name}` in it.
    pub marker: String,
    pub sweep: Duration,
    pub max_size: u64,
    pub policy: String,
    /// Those of `recipients` and of `recipients_file`, each checked.
    pub recipients: Vec<String>,
    pub dialect: Dialect,
}

/// When a file is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complete {
    Close,
    Rename,
    Marker,
    Stable,
}

/// Shell patterns over a file's name.
#[derive(Clone, Debug)]
pub struct Patterns {
    pub patterns: Vec<String>,
    pub set: globset::GlobSet,
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Patterns) -> bool {
        self.patterns == other.patterns
    }
}

/// Everything that is wrong with a configuration, each with line, column and remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Config {
    /// Reads and checks a configuration file.
    pub fn load(_path: &Path) -> Result<Config, ConfigError> {
        todo!()
    }

    pub fn landing(&self, name: &str) -> Option<&Landing> {
        self.landings.iter().find(|landing| landing.name == name)
    }
}
