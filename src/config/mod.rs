//! The configuration: what stands in `config.toml`, checked, with defaults filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::fsutil::{MAX_NAMED_BYTES, read_named_text};
use crate::keys::KeySource;
use crate::pipeline::{DigestKind, Reading, Writing};
use crate::policy::Policy;

mod check;
mod group;
mod locate;
mod raw;
mod schema;
mod spanned;
mod units;

pub use group::{GROUP_PREFIX, Group, GroupFault};
use locate::{Findings, explain};
pub use schema::schema;
pub use units::{parse_byte_size, parse_span};

/// What a policy can extend: names and rules.
const PRESETS: [(&str, &str); 3] = [
    ("hipaa-safe-harbor", include_str!("presets/hipaa-safe-harbor.toml")),
    ("gdpr-pseudonymised", include_str!("presets/gdpr-pseudonymised.toml")),
    ("pci-dss", include_str!("presets/pci-dss.toml")),
];
const STATE_DIR: &str = "/var/lib/veild";
/// What a worker may take where no configuration says so.
pub const WORKER_MEMORY_BYTES: u64 = 1 << 30;

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
    /// By name.
    pub groups: BTreeMap<String, Group>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Daemon {
    pub state_dir: PathBuf,
    pub workers: usize,
    pub worker_memory: u64,
    /// A worker that shows no progress for this long is killed.
    pub worker_timeout: Duration,
    pub max_attempts: u32,
    pub shutdown_grace: Duration,
    pub min_free: u64,
    pub allow_plugins: bool,
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
    pub compress_after: Duration,
    pub keep: Duration,
    pub total_size: u64,
    /// `[audit.ship.NAME]`
    pub ship: Vec<crate::audit::ship::Target>,
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
    pub masking: KeySource,
    pub signing: KeySource,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Quarantine {
    /// Those of the groups too.
    pub recipients: Vec<String>,
    /// Names of the groups among them.
    pub groups: Vec<String>,
    /// Originals that have been there for longer are discarded.
    pub keep: Duration,
    /// In bytes; while there is more, no file is claimed.
    pub max_size: u64,
}

impl Quarantine {
    /// Whether originals are sealed, or kept as they came.
    pub fn is_sealed(&self) -> bool {
        !(self.recipients.is_empty() && self.groups.is_empty())
    }
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
    pub duplicates: Duplicates,
    /// What was sealed longer ago is pruned; `None`: never.
    pub keep: Option<Duration>,
    /// For how long a sealed content counts as seen.
    pub dedup_window: Duration,
    pub policy: String,
    /// Those of `recipients`, its groups and `recipients_file`, each checked.
    pub recipients: Vec<String>,
    /// Names of the groups to which any of its outputs or its archive is sealed.
    pub groups: Vec<String>,
    /// Further outputs of the same reading.
    pub views: Vec<View>,
    /// `after = "archive"`: who can read the unmasked originals.
    pub archive: Option<Vec<String>>,
    /// `unrecognised = "seal"`: to whom files of no format that is read are sealed as they are.
    pub unrecognised: Option<Vec<String>>,
    /// How its files are read; without a file's own extension.
    pub reading: Reading,
    /// How its outputs are written.
    pub writing: Writing,
}

/// `[[landing.view]]`
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub name: String,
    pub policy: String,
    pub recipients: Vec<String>,
}

/// What becomes of a file whose content was sealed on its landing before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    Process,
    Skip,
    Quarantine,
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

/// What to do about a configuration that is not there.
const NAME_IT: &str = "name the configuration with --config or $VEILD_CONFIG; `veild init` makes one";

/// Everything that is wrong with a configuration, each with line, column and remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Config {
    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = read(path, NAME_IT)?;
        let sha256 = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut findings = Findings::new(path, &text);
        let root = parse(path, &text).map_err(|error| other_version(path, &text).unwrap_or(error))?;
        let config = check::config(root, path, sha256, &mut findings);
        if findings.is_empty() { Ok(config) } else { Err(ConfigError(findings.report())) }
    }

    /// The state directory that a configuration file names, whatever else is wrong with it.
    pub fn state_dir(path: &Path) -> Result<PathBuf, ConfigError> {
        let text = read(path, NAME_IT)?;
        let in_section = |table: &toml::Table| table.get("daemon")?.get("state_dir")?.as_str().map(PathBuf::from);
        let in_line = |table: toml::Table| table.get("state_dir")?.as_str().map(PathBuf::from);
        let named = match toml::from_str::<toml::Table>(&text) {
            Ok(table) => in_section(&table),
            Err(_) => text.lines().filter_map(|line| toml::from_str(line).ok()).find_map(in_line),
        };
        Ok(named.unwrap_or_else(|| STATE_DIR.into()))
    }

    /// `keep` of the landings that have one.
    pub fn retention(&self) -> BTreeMap<String, Duration> {
        self.landings.iter().filter_map(|landing| Some((landing.name.clone(), landing.keep?))).collect()
    }

    pub fn landing(&self, name: &str) -> Option<&Landing> {
        self.landings.iter().find(|landing| landing.name == name)
    }
}

/// Reads a file that holds the keys of one policy.
pub fn load_policy_file(path: &Path) -> Result<Policy, ConfigError> {
    let text = read(path, "--policy takes the name of a policy in the configuration, or the path of a TOML file")?;
    policy_of(path, &text)
}

/// The policy that such a file's text makes.
pub fn policy_of(path: &Path, text: &str) -> Result<Policy, ConfigError> {
    let mut findings = Findings::new(path, text);
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let policy = check::policy(&name, parse(path, text)?, &mut findings);
    if findings.is_empty() { Ok(policy) } else { Err(ConfigError(findings.report())) }
}

fn read(path: &Path, remedy: &str) -> Result<String, ConfigError> {
    match read_named_text(path, MAX_NAMED_BYTES) {
        Ok(mut text) => Ok(std::mem::take(&mut *text)),
        Err(error) => Err(ConfigError(format!("cannot read {}: {error}; {remedy}", path.display()))),
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let mut findings = Findings::new(path, text);
        findings.add(error.span().unwrap_or(0..0), explain(error.message()));
        ConfigError(findings.report())
    })
}

/// What is wrong with a file of another version is its version, whatever keys that has.
fn other_version(path: &Path, text: &str) -> Option<ConfigError> {
    #[derive(serde::Deserialize)]
    struct Version {
        config_version: toml::Spanned<u32>,
    }
    let Version { config_version } = toml::from_str(text).ok()?;
    if *config_version.get_ref() == check::CONFIG_VERSION {
        return None;
    }
    let mut findings = Findings::new(path, text);
    findings.add(config_version.span(), check::unknown_version());
    Some(ConfigError(findings.report()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(from: &str, to: &str) -> String {
        let example = include_str!("../../config.toml.example");
        assert!(example.contains(from), "{from:?}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, example.replacen(from, to, 1)).unwrap();
        let error = Config::load(&path).unwrap_err().to_string();
        error.replace(dir.path().to_str().unwrap(), "")
    }

    #[test]
    fn the_example_is_complete_and_loads() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml.example"));
        let config = Config::load(path).unwrap();
        assert_eq!(config.landings[0].quiet, Duration::from_secs(2));
        assert!(!config.policies["people"].columns.is_empty());
    }

    #[test]
    fn presets_hold_nothing_but_rules_that_are_in_order() {
        for (name, text) in PRESETS {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("policy.toml");
            std::fs::write(&path, text).unwrap();
            let preset = load_policy_file(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            std::fs::write(&path, format!("extends = {name:?}\n[[column]]\nname = \"id\"\nmask = \"keep\"")).unwrap();
            let extending = load_policy_file(&path).unwrap();
            assert_eq!(extending.columns.len(), preset.columns.len() + 1, "{name}");
            assert!(!extending.columns[0].preset && extending.columns[1..].iter().all(|rule| rule.preset));
            assert_ne!(extending.sha256, preset.sha256);
        }
    }

    #[test]
    fn errors_name_place_key_and_remedy() {
        let typo = refusal("must\nrecipients = [", "must\nrecipent = [");
        assert!(
            typo.contains("config.toml:") && typo.ends_with("unknown key `recipent`, did you mean `recipients`?"),
            "{typo}"
        );
        let timeout = refusal("worker_timeout = \"60s\"", "worker_timeout = \"1s\"");
        assert!(timeout.ends_with("`worker_timeout` is 2s to 1d"), "{timeout}");
        let comments =
            refusal("output.format = \"same\"", "output.format = \"ndjson\"\ndelimited.keep_comments = true");
        assert!(comments.contains("comments cannot be converted"), "{comments}");
        let sheet = refusal("# sheet = \"People\"", "sheet = [{ sheet = \"*\", policy = \"peple\" }]");
        assert!(sheet.contains("there is no [policy.peple]"), "{sheet}");
        let sheet = refusal(
            "max_buffered = \"256MiB\"",
            "max_buffered = \"256MiB\"\n[[landing.sheet]]\nsheet = \"*\"\npolcy = \"x\"",
        );
        assert!(sheet.contains("[[landing.sheet]]: unknown key `polcy`, did you mean `policy`?"), "{sheet}");
        let sheet = refusal("# sheet = \"People\"", "sheet = 1");
        assert!(sheet.contains("`sheet` is the name of a sheet, \"each\""), "{sheet}");
        let buffered = refusal("max_buffered = \"256MiB\"", "max_buffered = \"600MiB\"");
        assert!(buffered.ends_with("half of `worker_memory`"), "{buffered}");
        let unit = refusal("quiet = \"2s\"", "quiet = \"2\"");
        assert!(unit.contains("expected a duration like"), "{unit}");
        let policy = refusal("policy = \"people\"", "policy = \"peple\"");
        assert!(policy.contains("there is no [policy.peple]; defined are: people"), "{policy}");
        let mask = refusal("mask = \"partial\"", "mask = \"partail\"");
        assert!(mask.contains("unknown mask \"partail\", did you mean \"partial\"?"), "{mask}");
        let archive = refusal("after = \"delete\"", "after = \"archive\"");
        assert!(archive.contains("needs `archive_recipients`"), "{archive}");
        let archive = refusal("# archive_recipients", "archive_recipients");
        assert!(archive.contains("go with `after = \"archive\"` or"), "{archive}");
        let seal = refusal("unrecognised = \"reject\"", "unrecognised = \"seal\"");
        assert!(seal.contains("`unrecognised = \"seal\"` needs `archive_recipients`"), "{seal}");
        let view = refusal("policy = \"people-coarse\"", "policy = \"people-course\"");
        assert!(view.contains("there is no [policy.people-course]"), "{view}");
        let view = refusal("name = \"statistics\"", "name = \"a/b\"");
        assert!(view.contains("a view's name is 1 to 63 of"), "{view}");
        let ship = refusal("# [audit.ship.central]", "[audit.ship.central]\nto = \"syslog://h\"");
        assert!(ship.contains("expected \"journald\" or \"syslog+tls://HOST:PORT\""), "{ship}");
        let ship = refusal("# [audit.ship.central]", "[audit.ship.central]\nto = \"syslog+tls://h\"");
        assert!(ship.contains("needs `ca`"), "{ship}");
        let ship = refusal("# [audit.ship.central]", "[audit.ship.central]\nto = \"journald\"\nalert_after = \"1s\"");
        assert!(ship.contains("at least 1m"), "{ship}");
        let own = refusal("/srv/landing/hr", "/var/lib/veild/vault/../in");
        assert!(own.contains("write it without `..`"), "{own}");
        let nested = refusal("/srv/landing/hr", "/var/lib");
        assert!(nested.contains("lie in each other"), "{nested}");
        let group = refusal("recipients = \"group:analysts\"", "recipients = [\"group:analyst\"]");
        assert!(group.ends_with("there is no [recipients.analyst]; defined are: analysts"), "{group}");
        let nested = refusal("recipients = [\"age1xta", "recipients = [\"group:analysts\", \"age1xta");
        assert!(nested.ends_with("a group holds no groups: name its members"), "{nested}");
        let wrong = refusal("recipients = \"group:analysts\"", "recipients = [\"group:analysts\", \"age1x\"]");
        assert!(wrong.contains("recipient 2 is not a valid X25519 recipient"), "{wrong}");
        let kind = refusal("recipients = \"group:analysts\"", "recipients = 1");
        assert!(kind.ends_with("expected a recipient, \"group:NAME\", or a list of them"), "{kind}");
        let never = refusal("expires = \"2099-12-31\"", "expires = \"never\"");
        assert!(never.contains("expected a day like"), "{never}");
        let version = refusal("config_version = 1", "config_version = 2\nkey_of_that_version = true");
        assert!(version.contains("config.toml:") && version.contains("upgrade veild"), "{version}");
    }
}
