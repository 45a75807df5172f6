//! From what is spelled to what can be used.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::locate::Findings;
use super::spanned::Spanned;
use super::units::{ByteSize, Span};
use super::{
    Audit, Config, Daemon, Keys, Landing, Log, LogFormat, Quarantine, Rotation, Vault, WORKER_MEMORY_BYTES, raw,
};
use crate::keys::KeySource;
use crate::pipeline::DigestKind;
use crate::policy::Policy;

mod anonymity;
mod landing;
mod policy;
mod readers;
mod reading;
mod ship;
mod when;

use landing::{check_apart, landing};
pub(super) use policy::policy;
use readers::Groups;

/// Version of the configuration's format.
pub(super) const CONFIG_VERSION: u32 = 1;
const CREDENTIALS_OF_THE_UNIT: &str = "/run/credentials/veild.service";
/// Smaller audit segments would hold little more than their own checkpoints.
const LEAST_SEGMENT: u64 = 1 << 20;
/// A worker with Polars loaded and a few blocks in flight needs this much.
const LEAST_WORKER_MEMORY: u64 = 128 << 20;
/// Workers report every second.
const LEAST_WORKER_TIMEOUT: Duration = Duration::from_secs(2);
const MOST_WORKER_TIMEOUT: Duration = Duration::from_secs(86_400);
/// scrypt takes 256 MiB for a moment.
const LEAST_WORKER_MEMORY_FOR_PASSPHRASES: u64 = 512 << 20;

pub(super) fn config(root: raw::Root, path: &Path, sha256: String, findings: &mut Findings<'_>) -> Config {
    if let Some(version) = root.config_version.as_ref().filter(|version| *version.get_ref() != CONFIG_VERSION) {
        findings.add(version.span(), unknown_version());
    }
    findings.refuse("api", &root.api);
    findings.refuse("monitor", &root.monitor);
    let policies: BTreeMap<String, Policy> =
        root.policy.into_iter().map(|(name, raw)| (name.clone(), policy(&name, raw, findings))).collect();
    let groups = readers::groups(root.recipients, root.daemon.allow_plugins, findings);
    let place_of_memory = root.daemon.worker_memory.as_ref().map_or(0..0, Spanned::span);
    let daemon = daemon(root.daemon, findings);
    let audit = audit(root.audit, findings);
    let vault = Vault {
        dir: absolute(root.vault.dir, "/var/lib/veild/vault", findings),
        opaque: root.vault.names == Some(raw::Names::Opaque),
        input_digest: root.vault.input_digest.unwrap_or(DigestKind::Keyed),
    };
    if groups.all.values().any(|group| group.passphrase.is_some())
        && daemon.worker_memory < LEAST_WORKER_MEMORY_FOR_PASSPHRASES
    {
        findings.add(place_of_memory, "`worker_memory` must be at least 512MiB where a passphrase seals");
    }
    let keys = Keys {
        masking: key_source(root.keys.masking, "/etc/veild/masking.key", findings),
        signing: key_source(root.keys.signing, "/etc/veild/signing.key", findings),
    };
    let log = log(root.log, findings);
    let mut own = vec![daemon.state_dir.clone(), audit.dir.clone(), vault.dir.clone()];
    own.extend(log.dir.clone());
    let mut landings: Vec<Landing> = Vec::new();
    for raw in root.landing {
        let place = raw.span();
        let landing = landing(raw.into_inner(), &policies, &groups, daemon.worker_memory, findings);
        check_apart(&landing, &landings, &own, place, findings);
        landings.push(landing);
    }
    if landings.is_empty() {
        findings.add(0..0, "there is no [[landing]]; veild would have nothing to watch");
    }
    let quarantine = quarantine(root.quarantine, &groups, findings);
    Config {
        path: path.to_owned(),
        sha256,
        daemon,
        log,
        audit,
        vault,
        keys,
        quarantine,
        landings,
        policies,
        groups: groups.all,
    }
}

/// What is said of a version that is not [`CONFIG_VERSION`]; there was none before it.
pub(super) fn unknown_version() -> String {
    format!("this veild reads config_version {CONFIG_VERSION}; for a later one upgrade veild")
}

fn size(value: Option<ByteSize>, default: u64) -> u64 {
    value.map_or(default, |size| size.0)
}

fn time(value: Option<Span>, default_seconds: u64) -> Duration {
    value.map_or(Duration::from_secs(default_seconds), |span| span.0)
}

fn absolute(value: Option<Spanned<String>>, default: &str, findings: &mut Findings<'_>) -> PathBuf {
    let Some(value) = value else { return default.into() };
    if !value.get_ref().starts_with('/') {
        findings.add(value.span(), "paths are absolute here: start it with `/`");
    } else if Path::new(value.get_ref()).components().any(|part| part == Component::ParentDir) {
        findings.add(value.span(), "paths are plain here: write it without `..`");
    }
    value.into_inner().into()
}

/// A path, `credential:NAME` or `command:PROGRAM ARGUMENT …`.
fn key_source(value: Option<Spanned<String>>, default: &str, findings: &mut Findings<'_>) -> KeySource {
    let Some(line) = value.as_ref().and_then(|value| value.get_ref().strip_prefix("command:")) else {
        return KeySource::File(secret(value, default, findings));
    };
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    if !words.first().is_some_and(|program| program.starts_with('/')) {
        let place = value.as_ref().map_or(0..0, Spanned::span);
        findings
            .add(place, "a command begins with the absolute path of its program: \"command:/usr/bin/pass show veild\"");
    }
    KeySource::Command(words)
}

/// `credential:NAME` is what systemd's LoadCredential= put into $CREDENTIALS_DIRECTORY. Commands beside the service, which
/// have none, find it where systemd keeps it for as long as the unit runs.
fn secret(value: Option<Spanned<String>>, default: &str, findings: &mut Findings<'_>) -> PathBuf {
    let Some(name) = value.as_ref().and_then(|value| value.get_ref().strip_prefix("credential:")) else {
        return absolute(value, default, findings);
    };
    let place = value.as_ref().map_or(0..0, Spanned::span);
    if name.is_empty() || name.contains('/') {
        findings.add(place, "a credential has a plain name: \"credential:NAME\"");
        return PathBuf::new();
    }
    let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return Path::new(CREDENTIALS_OF_THE_UNIT).join(name);
    };
    let path = PathBuf::from(dir).join(name);
    if !path.exists() {
        findings.add(place, format!("there is no credential {name}; the unit needs LoadCredential={name}:PATH"));
    }
    path
}

fn daemon(raw: raw::Daemon, findings: &mut Findings<'_>) -> Daemon {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut at_least_one = |value: Option<Spanned<usize>>, default: usize, most: usize| match value {
        Some(value) if !(1..=most).contains(value.get_ref()) => {
            findings.add(value.span(), format!("must be 1 to {most}"));
            default
        }
        Some(value) => value.into_inner(),
        None => default,
    };
    let workers = at_least_one(raw.workers, cpus.min(4), 64);
    let max_attempts = raw.max_attempts.map(|value| {
        let span = value.span();
        Spanned::new(span, value.into_inner() as usize)
    });
    let max_attempts = at_least_one(max_attempts, 3, 100) as u32;
    let place = raw.worker_memory.as_ref().map_or(0..0, Spanned::span);
    let worker_memory = size(raw.worker_memory.map(Spanned::into_inner), WORKER_MEMORY_BYTES);
    if worker_memory < LEAST_WORKER_MEMORY {
        findings.add(place, "`worker_memory` must be at least 128MiB");
    }
    let place = raw.worker_timeout.as_ref().map_or(0..0, Spanned::span);
    let worker_timeout = time(raw.worker_timeout.map(Spanned::into_inner), 60);
    if !(LEAST_WORKER_TIMEOUT..=MOST_WORKER_TIMEOUT).contains(&worker_timeout) {
        findings.add(place, "`worker_timeout` is 2s to 1d");
    }
    Daemon {
        state_dir: absolute(raw.state_dir, super::STATE_DIR, findings),
        workers,
        worker_memory,
        worker_timeout,
        max_attempts,
        shutdown_grace: time(raw.shutdown_grace, 30),
        min_free: size(raw.min_free, 1 << 30),
        allow_plugins: raw.allow_plugins,
    }
}

fn rotation(raw: Option<raw::Rotate>) -> Rotation {
    match raw {
        None | Some(raw::Rotate::Daily) => Rotation::Daily,
        Some(raw::Rotate::Hourly) => Rotation::Hourly,
        Some(raw::Rotate::Never) => Rotation::Never,
    }
}

fn log(raw: raw::Log, findings: &mut Findings<'_>) -> Log {
    let level = match raw.level.unwrap_or(raw::Level::Info) {
        raw::Level::Error => tracing::Level::ERROR,
        raw::Level::Warn => tracing::Level::WARN,
        raw::Level::Info => tracing::Level::INFO,
        raw::Level::Debug => tracing::Level::DEBUG,
        raw::Level::Trace => tracing::Level::TRACE,
    };
    Log {
        dir: raw.dir.map(|dir| absolute(Some(dir), "", findings)),
        format: match raw.format {
            None | Some(raw::Format::Json) => LogFormat::Json,
            Some(raw::Format::Text) => LogFormat::Text,
        },
        level,
        rotate: rotation(raw.rotate),
        keep: raw.keep.unwrap_or(14),
    }
}

fn audit(raw: raw::Audit, findings: &mut Findings<'_>) -> Audit {
    if let Some(rotate) = raw.rotate.as_ref().filter(|rotate| matches!(rotate.get_ref(), raw::Rotate::Hourly)) {
        findings.add(rotate.span(), "the audit trail rotates `daily` or `never` (and by rotate_size)");
    }
    let place = raw.rotate_size.as_ref().map_or(0..0, Spanned::span);
    let rotate_size = size(raw.rotate_size.map(Spanned::into_inner), 64 << 20);
    if rotate_size < LEAST_SEGMENT {
        findings.add(place, "`rotate_size` must be at least 1MiB");
    }
    if let Some(keep) = raw.keep.as_ref().filter(|keep| keep.get_ref().0.is_zero()) {
        findings.add(keep.span(), "`keep` must be more than nothing");
    }
    let place = raw.total_size.as_ref().map_or(0..0, Spanned::span);
    let total_size = size(raw.total_size.map(Spanned::into_inner), 20 << 30);
    if total_size / 2 < rotate_size {
        findings.add(place, "`total_size` must be at least twice `rotate_size`");
    }
    Audit {
        ship: ship::targets(raw.ship, findings),
        compress_after: time(raw.compress_after, 86_400),
        keep: time(raw.keep.map(Spanned::into_inner), 400 * 86_400),
        total_size,
        dir: absolute(raw.dir, "/var/log/veild/audit", findings),
        rotate_size,
        rotate: rotation(raw.rotate.map(Spanned::into_inner)),
    }
}

fn quarantine(raw: raw::Quarantine, groups: &Groups, findings: &mut Findings<'_>) -> Quarantine {
    if let Some(keep) = raw.keep.as_ref().filter(|keep| keep.get_ref().0.is_zero()) {
        findings.add(keep.span(), "`keep` must be more than nothing");
    }
    let readers = readers::readers(raw.recipients, None, groups, findings);
    let keep = time(raw.keep.map(Spanned::into_inner), 14 * 86_400);
    Quarantine { recipients: readers.recipients, groups: readers.groups, keep, max_size: size(raw.max_size, 10 << 30) }
}
