//! The configuration as it is spelled; every key that exists, and none that does not.
//!
//! The first line above a key is what `veild schema` says about it; keys of parts that are not built yet are skipped
//! there.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Value;

use super::spanned::Spanned;
use super::units::{ByteSize, Deadline, Span};

mod anonymity;
mod policy;
mod reading;

pub use anonymity::{Anonymity, QuasiIdentifier, Sensitive};
pub use policy::{Accept, Column, Policy, SuppressRows, When};
pub use reading::{Delimited, Limits, Member, Output, SheetRule, Sheets};

/// veild's configuration, config.toml.
#[derive(Deserialize, JsonSchema)]
#[schemars(title = "veild configuration")]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Version of this format.
    #[schemars(extend("const" = 1))]
    pub config_version: Option<Spanned<u32>>,
    /// The daemon's own settings.
    #[serde(default)]
    pub daemon: Daemon,
    /// The operational log.
    #[serde(default)]
    pub log: Log,
    /// The tamper-evident trail.
    #[serde(default)]
    pub audit: Audit,
    /// Sealed objects and their receipts.
    #[serde(default)]
    pub vault: Vault,
    /// Keys: by path, as `credential:NAME` for systemd's LoadCredential=, or as `command:PROGRAM ARGUMENT …`, which
    /// prints one.
    #[serde(default)]
    pub keys: Keys,
    /// Rejected files.
    #[serde(default)]
    pub quarantine: Quarantine,
    /// Directories in which files arrive; at least one.
    #[serde(default)]
    pub landing: Vec<Spanned<Landing>>,
    /// What is done to the columns, by name of the policy.
    #[serde(default)]
    pub policy: BTreeMap<String, Policy>,
    #[schemars(skip)]
    pub api: Option<Spanned<Value>>,
    #[schemars(skip)]
    pub monitor: Option<Spanned<Value>>,
    /// Groups of recipients, by name; lists of recipients take one as `group:NAME`.
    #[serde(default)]
    pub recipients: BTreeMap<String, Spanned<Group>>,
}

/// One text, or a list.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a recipient, \"group:NAME\", or a list of them")]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Vec<String> {
    fn from(given: OneOrMany) -> Vec<String> {
        match given {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// age recipients: `age1…` (X25519, tag, tagpq or of a plugin), `ssh-ed25519 …`, `ssh-rsa …`.
    pub recipients: Option<Spanned<OneOrMany>>,
    /// A file with further recipients, one a line.
    pub file: Option<Spanned<String>>,
    /// In the place of recipients: the file of a passphrase (or `credential:NAME`), which this host could open with what
    /// it has sealed.
    pub passphrase: Option<Spanned<String>>,
    /// Last day (UTC) on which something is sealed to it, or the moment at which that ends.
    pub expires: Option<Deadline>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Daemon {
    /// Ledger, quarantine and control socket.
    pub state_dir: Option<Spanned<String>>,
    /// Worker processes; as many as CPUs, at most 4, when absent.
    pub workers: Option<Spanned<usize>>,
    /// Hard limit for each worker process.
    pub worker_memory: Option<Spanned<ByteSize>>,
    /// A worker that shows no progress for this long is killed, and its file tried again.
    pub worker_timeout: Option<Spanned<Span>>,
    /// Worker deaths or hangs on one file before it is quarantined.
    pub max_attempts: Option<Spanned<u32>>,
    /// Time to drain after SIGTERM.
    pub shutdown_grace: Option<Span>,
    /// Lets age plugins (programs `age-plugin-NAME` on PATH) run, for recipients and identities of theirs.
    #[serde(default)]
    pub allow_plugins: bool,
    /// A landing's intake pauses when its file system has less.
    pub min_free: Option<ByteSize>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Folder of the log files; standard error (journald) when absent.
    pub dir: Option<Spanned<String>>,
    /// Spelling of a line.
    pub format: Option<Format>,
    /// Least level that is written.
    pub level: Option<Level>,
    /// When a new file begins; for `dir`.
    pub rotate: Option<Rotate>,
    /// Number of files that are kept; for `dir`.
    pub keep: Option<usize>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    Text,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rotate {
    Daily,
    Hourly,
    Never,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Folder of the trail.
    pub dir: Option<Spanned<String>>,
    /// Size at which a new segment begins.
    pub rotate_size: Option<Spanned<ByteSize>>,
    /// `daily` or `never`, beside `rotate_size`.
    pub rotate: Option<Spanned<Rotate>>,
    /// Closed segments that are older are compressed; shippers read plain ones.
    pub compress_after: Option<Span>,
    /// Closed segments that are older are pruned; a signed stub stays.
    pub keep: Option<Spanned<Span>>,
    /// Above this size of the whole trail the oldest closed segments are pruned, whatever `keep` says.
    pub total_size: Option<Spanned<ByteSize>>,
    /// Where every record goes as well, by name of the target.
    #[serde(default)]
    pub ship: BTreeMap<String, Spanned<Ship>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ship {
    /// `journald`, or `syslog+tls://HOST:PORT`.
    pub to: Spanned<String>,
    /// PEM file of who signs the server's certificate; for syslog over TLS.
    pub ca: Option<Spanned<String>>,
    /// PEM file of a certificate to show to the server.
    pub cert: Option<Spanned<String>>,
    /// PEM file of its key, or `credential:NAME`.
    pub key: Option<Spanned<String>>,
    /// Records that wait for longer raise an alert.
    pub alert_after: Option<Spanned<Span>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// Folder of the vault.
    pub dir: Option<Spanned<String>>,
    /// `opaque`: file names nowhere outside the landing.
    pub names: Option<Names>,
    /// Digest of the input in the receipt; `sha256` lets a stranger confirm a guess.
    pub input_digest: Option<crate::pipeline::DigestKind>,
}

#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    Original,
    Opaque,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The masking key, the same on every host whose files shall join.
    pub masking: Option<Spanned<String>>,
    /// The signing key, one per host.
    pub signing: Option<Spanned<String>>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// age recipients, or groups, to whom originals are sealed; kept as they came when absent.
    pub recipients: Option<Spanned<OneOrMany>>,
    /// Originals that have been there for longer are discarded, which the audit trail says.
    pub keep: Option<Spanned<Span>>,
    /// While all of them are larger than this, no file is claimed.
    pub max_size: Option<ByteSize>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Landing {
    /// 1 to 63 of a-z, 0-9, `-` and `_`.
    pub name: Spanned<String>,
    /// The directory, owned by root or veild.
    pub dir: Spanned<String>,
    /// Files in sub-directories too; their path is kept in the vault.
    #[serde(default)]
    pub recursive: bool,
    /// Shell patterns of the names that are taken.
    pub include: Option<Spanned<Vec<String>>>,
    /// Shell patterns of the names that are left alone.
    pub exclude: Option<Spanned<Vec<String>>>,
    /// When a file is finished.
    pub complete: Option<Complete>,
    /// Time without a change before a file is taken.
    pub quiet: Option<Span>,
    /// Name of the file that says that another is finished; for `complete = "marker"`.
    pub marker: Option<Spanned<String>>,
    /// Time between two looks at everything.
    pub sweep: Option<Span>,
    /// Larger files are quarantined.
    pub max_size: Option<ByteSize>,
    /// Outputs and originals sealed longer ago are pruned, and a signed tombstone stays; all are kept when absent.
    pub keep: Option<Spanned<Span>>,
    /// What is done with content seen before.
    pub duplicates: Option<Duplicates>,
    /// For how long a sealed content counts as seen.
    pub dedup_window: Option<Spanned<Span>>,
    /// Name of the policy.
    pub policy: Spanned<String>,
    /// age recipients of the output: `age1…`, `ssh-ed25519 …`, `ssh-rsa …`, `group:NAME`.
    pub recipients: Option<Spanned<OneOrMany>>,
    /// A file with further recipients, one a line.
    pub recipients_file: Option<Spanned<String>>,
    /// What is done with the original.
    pub after: Option<Spanned<After>>,
    /// What is done with files of no format that is read.
    pub unrecognised: Option<Spanned<Unrecognised>>,
    /// age recipients, or groups, of the unmasked original; for `after = "archive"` and `unrecognised = "seal"`.
    pub archive_recipients: Option<Spanned<OneOrMany>>,
    /// Further outputs of the same reading, for other readers.
    #[serde(default)]
    pub view: Vec<Spanned<View>>,
    /// Format that is accepted, or a list of them; every format that is read when absent.
    #[serde(default)]
    #[schemars(schema_with = "reading::formats")]
    pub format: Option<Spanned<Value>>,
    /// How delimited text is read.
    pub delimited: Option<Spanned<Delimited>>,
    /// Encoding of text, by its WHATWG label; when absent what a byte-order mark says, else UTF-8.
    pub encoding: Option<Spanned<String>>,
    /// How the output is written.
    #[serde(default)]
    pub output: Output,
    /// The sheet of spreadsheets that is read, the only one that can be seen when absent; "each", or rules for each that can
    /// be seen, which come out as one zip archive.
    #[schemars(with = "Option<Sheets>")]
    pub sheet: Option<Spanned<Value>>,
    /// What becomes of the members of archives; archives are refused when absent.
    #[serde(default)]
    pub member: Vec<Spanned<Member>>,
    /// Bounds on one file.
    pub limits: Option<Spanned<Limits>>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    Process,
    /// Removed, and recorded.
    Skip,
    Quarantine,
}

#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum After {
    Delete,
    /// Sealed to `archive_recipients`, below the vault's `.archive`.
    Archive,
}

#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unrecognised {
    /// Quarantined, with what they are.
    Reject,
    /// Sealed as they are to `archive_recipients`, below the vault's `.archive`.
    Seal,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// As a landing's name; it stands before the extension of the object.
    pub name: Spanned<String>,
    /// Name of the policy.
    pub policy: Spanned<String>,
    /// age recipients, or groups, of this output.
    pub recipients: Option<Spanned<OneOrMany>>,
    /// A file with further recipients, one a line.
    pub recipients_file: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Complete {
    Close,
    Rename,
    Marker,
    Stable,
}
