//! The configuration as it is spelled; every key that exists, and none that does not.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::units::{ByteSize, Span};
use crate::mask::{MaskParams, OnMistyped};
use crate::policy::{OnMissing, OnUnlisted};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    pub config_version: Option<Spanned<u32>>,
    #[serde(default)]
    pub daemon: Daemon,
    #[serde(default)]
    pub log: Log,
    #[serde(default)]
    pub audit: Audit,
    #[serde(default)]
    pub vault: Vault,
    #[serde(default)]
    pub keys: Keys,
    #[serde(default)]
    pub quarantine: Quarantine,
    #[serde(default)]
    pub landing: Vec<Spanned<Landing>>,
    #[serde(default)]
    pub policy: BTreeMap<String, Policy>,
    pub api: Option<Spanned<Value>>,
    pub monitor: Option<Spanned<Value>>,
    pub recipients: Option<Spanned<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Daemon {
    pub state_dir: Option<Spanned<String>>,
    pub workers: Option<Spanned<usize>>,
    pub worker_memory: Option<Spanned<ByteSize>>,
    pub max_attempts: Option<Spanned<u32>>,
    pub shutdown_grace: Option<Span>,
    pub min_free: Option<ByteSize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub dir: Option<Spanned<String>>,
    pub format: Option<Format>,
    pub level: Option<Level>,
    pub rotate: Option<Rotate>,
    pub keep: Option<usize>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    Text,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rotate {
    Daily,
    Hourly,
    Never,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    pub dir: Option<Spanned<String>>,
    pub rotate_size: Option<Spanned<ByteSize>>,
    pub rotate: Option<Spanned<Rotate>>,
    pub keep: Option<Spanned<Value>>,
    pub total_size: Option<Spanned<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    pub dir: Option<Spanned<String>>,
    pub names: Option<Names>,
    pub input_digest: Option<crate::pipeline::DigestKind>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    Original,
    Opaque,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    pub masking: Option<Spanned<String>>,
    pub signing: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    pub recipients: Option<Spanned<Vec<String>>>,
    pub keep: Option<Spanned<Value>>,
    pub max_size: Option<Spanned<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Landing {
    pub name: Spanned<String>,
    pub dir: Spanned<String>,
    #[serde(default)]
    pub recursive: bool,
    pub include: Option<Spanned<Vec<String>>>,
    pub exclude: Option<Spanned<Vec<String>>>,
    pub complete: Option<Complete>,
    pub quiet: Option<Span>,
    pub marker: Option<Spanned<String>>,
    pub sweep: Option<Span>,
    pub max_size: Option<ByteSize>,
    pub duplicates: Option<Spanned<String>>,
    pub dedup_window: Option<Spanned<Value>>,
    pub policy: Spanned<String>,
    pub recipients: Option<Spanned<Vec<String>>>,
    pub recipients_file: Option<Spanned<String>>,
    pub after: Option<Spanned<String>>,
    pub archive_recipients: Option<Spanned<Value>>,
    #[serde(default)]
    pub view: Vec<Spanned<View>>,
    pub format: Option<Spanned<Value>>,
    pub delimited: Option<Spanned<Delimited>>,
    #[serde(default)]
    pub output: Output,
    pub limits: Option<Spanned<Limits>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub format: Option<Spanned<Value>>,
    #[serde(default)]
    pub compress: crate::pipeline::Compress,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub max_record: Option<ByteSize>,
    pub max_expanded: Option<ByteSize>,
    pub max_expansion: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    pub name: Spanned<String>,
    pub policy: Spanned<String>,
    pub recipients: Option<Spanned<Vec<String>>>,
    pub recipients_file: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Complete {
    Close,
    Rename,
    Marker,
    Stable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delimited {
    pub delimiter: Option<String>,
    pub quote: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    #[serde(default)]
    pub unlisted: OnUnlisted,
    #[serde(default)]
    pub missing: OnMissing,
    #[serde(default)]
    pub mistyped: OnMistyped,
    pub verify: Option<Spanned<String>>,
    #[serde(default)]
    pub column: Vec<Spanned<Column>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub name: Option<String>,
    pub names: Option<Vec<String>>,
    pub glob: Option<String>,
    pub regex: Option<String>,
    pub class: Option<Spanned<Value>>,
    pub mask: Spanned<String>,
    pub mistyped: Option<OnMistyped>,
    pub text: Option<String>,
    pub keep_first: Option<u32>,
    pub keep_last: Option<u32>,
    pub mask_first: Option<u32>,
    pub mask_last: Option<u32>,
    pub char: Option<String>,
    pub algorithm: Option<String>,
    pub length: Option<u32>,
    pub encoding: Option<String>,
    pub namespace: Option<String>,
    pub keep: Option<u32>,
    pub kind: Option<String>,
    pub to: Option<Value>,
    pub format: Option<String>,
    pub as_of: Option<String>,
    pub width: Option<Value>,
    pub edges: Option<Vec<Value>>,
    pub hierarchy: Option<Spanned<String>>,
    pub level: Option<u32>,
    pub pattern: Option<String>,
    pub replace: Option<String>,
    pub min: Option<Value>,
    pub max: Option<Value>,
}

impl Column {
    /// The parameters for the mask, the hierarchy's file not yet read.
    pub fn params(&self) -> MaskParams {
        MaskParams {
            text: self.text.clone(),
            keep_first: self.keep_first,
            keep_last: self.keep_last,
            mask_first: self.mask_first,
            mask_last: self.mask_last,
            char: self.char.clone(),
            algorithm: self.algorithm.clone(),
            length: self.length,
            encoding: self.encoding.clone(),
            namespace: self.namespace.clone(),
            keep: self.keep,
            kind: self.kind.clone(),
            to: self.to.clone(),
            format: self.format.clone(),
            as_of: self.as_of.clone(),
            width: self.width.clone(),
            edges: self.edges.clone(),
            hierarchy: None,
            level: self.level,
            pattern: self.pattern.clone(),
            replace: self.replace.clone(),
            min: self.min.clone(),
            max: self.max.clone(),
        }
    }
}
