//! From what is spelled to what can be used.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::locate::Findings;
use super::units::{ByteSize, Span};
use super::{
    Audit, Complete, Config, Daemon, Keys, Landing, Log, LogFormat, Patterns, Quarantine, Rotation, Vault, raw,
};
use crate::mask::Mask;
use crate::pipeline::{Dialect, DigestKind};
use crate::policy::{ColumnRule, Policy, Selector};
use crate::seal::Recipients;

const EXCLUDE: [&str; 7] = [".*", "*.part", "*.filepart", "*.partial", "*.tmp", "*.swp", "*~"];
const LEAST_SWEEP: Duration = Duration::from_millis(100);
const MOST_SWEEP: Duration = Duration::from_secs(86_400);
/// Smaller audit segments would hold little more than their own checkpoints.
const LEAST_SEGMENT: u64 = 1 << 20;
/// A worker with Polars loaded and a few blocks in flight needs this much.
const LEAST_WORKER_MEMORY: u64 = 128 << 20;
/// Longest record that may be allowed, in bytes.
const MAX_RECORD_BYTES: u64 = 512 << 20;

pub(super) fn config(root: raw::Root, path: &Path, sha256: String, findings: &mut Findings<'_>) -> Config {
    if let Some(version) = &root.config_version
        && *version.get_ref() != 1
    {
        findings.add(version.span(), "this veild reads config_version 1; upgrade veild");
    }
    findings.refuse("api", &root.api);
    findings.refuse("monitor", &root.monitor);
    findings.refuse("recipients", &root.recipients);
    let policies: BTreeMap<String, Policy> =
        root.policy.into_iter().map(|(name, raw)| (name.clone(), policy(&name, raw, findings))).collect();
    let daemon = daemon(root.daemon, findings);
    let audit = audit(root.audit, findings);
    let vault = Vault {
        dir: absolute(root.vault.dir, "/var/lib/veild/vault", findings),
        opaque: root.vault.names == Some(raw::Names::Opaque),
        input_digest: root.vault.input_digest.unwrap_or(DigestKind::Keyed),
    };
    let keys = Keys {
        masking: secret(root.keys.masking, "/etc/veild/masking.key", findings),
        signing: secret(root.keys.signing, "/etc/veild/signing.key", findings),
    };
    let log = log(root.log, findings);
    let mut own = vec![daemon.state_dir.clone(), audit.dir.clone(), vault.dir.clone()];
    own.extend(log.dir.clone());
    let mut landings: Vec<Landing> = Vec::new();
    for raw in root.landing {
        let place = raw.span();
        let landing = landing(raw.into_inner(), &policies, findings);
        check_apart(&landing, &landings, &own, place, findings);
        landings.push(landing);
    }
    if landings.is_empty() {
        findings.add(0..0, "there is no [[landing]]; veild would have nothing to watch");
    }
    let quarantine = quarantine(root.quarantine, findings);
    Config { path: path.to_owned(), sha256, daemon, log, audit, vault, keys, quarantine, landings, policies }
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

/// `credential:NAME` is what systemd's LoadCredential= put into $CREDENTIALS_DIRECTORY.
fn secret(value: Option<Spanned<String>>, default: &str, findings: &mut Findings<'_>) -> PathBuf {
    let Some(name) = value.as_ref().and_then(|value| value.get_ref().strip_prefix("credential:")) else {
        return absolute(value, default, findings);
    };
    match std::env::var_os("CREDENTIALS_DIRECTORY") {
        Some(dir) if !name.is_empty() && !name.contains('/') => PathBuf::from(dir).join(name),
        _ => {
            let place = value.as_ref().map_or(0..0, Spanned::span);
            let what = "there is no such systemd credential; the unit needs LoadCredential=NAME:PATH";
            findings.add(place, what);
            PathBuf::new()
        }
    }
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
    let worker_memory = size(raw.worker_memory.map(Spanned::into_inner), 1 << 30);
    if worker_memory < LEAST_WORKER_MEMORY {
        findings.add(place, "`worker_memory` must be at least 128MiB");
    }
    Daemon {
        state_dir: absolute(raw.state_dir, "/var/lib/veild", findings),
        workers,
        worker_memory,
        max_attempts,
        shutdown_grace: time(raw.shutdown_grace, 30),
        min_free: size(raw.min_free, 1 << 30),
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
    findings.refuse("keep", &raw.keep);
    findings.refuse("total_size", &raw.total_size);
    if let Some(rotate) = raw.rotate.as_ref().filter(|rotate| matches!(rotate.get_ref(), raw::Rotate::Hourly)) {
        findings.add(rotate.span(), "the audit trail rotates `daily` or `never` (and by rotate_size)");
    }
    let place = raw.rotate_size.as_ref().map_or(0..0, Spanned::span);
    let rotate_size = size(raw.rotate_size.map(Spanned::into_inner), 64 << 20);
    if rotate_size < LEAST_SEGMENT {
        findings.add(place, "`rotate_size` must be at least 1MiB");
    }
    Audit {
        dir: absolute(raw.dir, "/var/log/veild/audit", findings),
        rotate_size,
        rotate: rotation(raw.rotate.map(Spanned::into_inner)),
    }
}

fn quarantine(raw: raw::Quarantine, findings: &mut Findings<'_>) -> Quarantine {
    findings.refuse("keep", &raw.keep);
    findings.refuse("max_size", &raw.max_size);
    let recipients = raw.recipients.map(|given| checked_recipients(given, findings)).unwrap_or_default();
    Quarantine { recipients }
}

fn checked_recipients(given: Spanned<Vec<String>>, findings: &mut Findings<'_>) -> Vec<String> {
    if let Err(error) = Recipients::parse(given.get_ref()) {
        findings.add(given.span(), error.to_string());
    }
    given.into_inner()
}

fn patterns(given: Option<Spanned<Vec<String>>>, default: &[&str], findings: &mut Findings<'_>) -> Patterns {
    let place = given.as_ref().map_or(0..0, Spanned::span);
    let patterns = given.map_or_else(|| default.iter().map(|it| (*it).to_owned()).collect(), Spanned::into_inner);
    let mut set = globset::GlobSetBuilder::new();
    for pattern in &patterns {
        match globset::Glob::new(pattern) {
            Ok(glob) => {
                set.add(glob);
            }
            Err(_) => findings.add(place.clone(), format!("{pattern:?} is not a shell pattern")),
        }
    }
    Patterns { set: set.build().unwrap_or_default(), patterns }
}

fn landing(raw: raw::Landing, policies: &BTreeMap<String, Policy>, findings: &mut Findings<'_>) -> Landing {
    findings.refuse("view", &raw.view);
    findings.refuse("format", &raw.format);
    findings.refuse("archive_recipients", &raw.archive_recipients);
    findings.refuse("dedup_window", &raw.dedup_window);
    for (value, only) in [(&raw.after, "delete"), (&raw.duplicates, "process")] {
        if let Some(other) = value.as_ref().filter(|value| value.get_ref() != only) {
            findings.add(other.span(), format!("only {only:?} is built yet"));
        }
    }
    let name = raw.name.get_ref();
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(is_name) || name.starts_with(['-', '_']) {
        findings.add(
            raw.name.span(),
            "a landing's name is 1 to 63 of a-z, 0-9, `-` and `_`, and starts with a letter or digit",
        );
    }
    if !policies.contains_key(raw.policy.get_ref()) {
        let known: Vec<&str> = policies.keys().map(String::as_str).collect();
        findings.add(
            raw.policy.span(),
            format!("there is no [policy.{}]; defined are: {}", raw.policy.get_ref(), known.join(", ")),
        );
    }
    let complete = match raw.complete {
        None | Some(raw::Complete::Close) => Complete::Close,
        Some(raw::Complete::Rename) => Complete::Rename,
        Some(raw::Complete::Marker) => Complete::Marker,
        Some(raw::Complete::Stable) => Complete::Stable,
    };
    if let Some(marker) = &raw.marker {
        if complete != Complete::Marker {
            findings.add(marker.span(), "`marker` goes with `complete = \"marker\"`");
        } else if marker.get_ref().matches("{name}").count() != 1
            || marker.get_ref() == "{name}"
            || marker.get_ref().contains('/')
        {
            findings.add(marker.span(), "a marker holds `{name}` once, something beside it, and no `/`");
        }
    }
    let place = raw.name.span();
    let recipients = landing_recipients(raw.recipients, raw.recipients_file, place.clone(), findings);
    Landing {
        name: raw.name.into_inner(),
        dir: absolute(Some(raw.dir), "", findings),
        recursive: raw.recursive,
        include: patterns(raw.include, &["*"], findings),
        exclude: patterns(raw.exclude, &EXCLUDE, findings),
        complete,
        quiet: time(raw.quiet, 2),
        marker: raw.marker.map_or_else(|| "{name}.done".to_owned(), Spanned::into_inner),
        sweep: sweep(raw.sweep, place.clone(), findings),
        max_size: size(raw.max_size, 50 << 30),
        policy: raw.policy.into_inner(),
        recipients,
        dialect: dialect(raw.delimited, findings),
    }
}

fn sweep(given: Option<Span>, place: Range<usize>, findings: &mut Findings<'_>) -> Duration {
    let sweep = time(given, 60);
    if !(LEAST_SWEEP..=MOST_SWEEP).contains(&sweep) {
        findings.add(place, "`sweep` of this landing must be 100ms to 1d");
    }
    sweep
}

fn landing_recipients(
    given: Option<Spanned<Vec<String>>>,
    file: Option<Spanned<String>>,
    place: Range<usize>,
    findings: &mut Findings<'_>,
) -> Vec<String> {
    let mut all = given.map(|given| checked_recipients(given, findings)).unwrap_or_default();
    if let Some(file) = file {
        let span = file.span();
        let path = absolute(Some(file), "", findings);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
                let listed: Vec<String> = lines.map(str::to_owned).collect();
                all.extend(checked_recipients(Spanned::new(span, listed), findings));
            }
            Err(error) => findings.add(span, format!("cannot read {}: {error}", path.display())),
        }
    }
    if all.is_empty() {
        findings.add(place, "this landing needs `recipients` or `recipients_file`");
    }
    all
}

fn dialect(raw: Option<Spanned<raw::Delimited>>, findings: &mut Findings<'_>) -> Dialect {
    let mut dialect = Dialect::default();
    let Some(raw) = raw else { return dialect };
    let place = raw.span();
    let raw = raw.into_inner();
    let one = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii() && !b"\r\n\0".contains(byte) => Some(*byte),
        _ => None,
    };
    if let Some(delimiter) = raw.delimiter {
        dialect.delimiter = one(&delimiter);
        if dialect.delimiter.is_none() {
            findings.add(place.clone(), "`delimiter` is one ASCII character");
        }
    }
    if let Some(quote) = raw.quote {
        dialect.quote = one(&quote);
        if dialect.quote.is_none() && !quote.is_empty() {
            findings.add(place.clone(), "`quote` is one ASCII character, or \"\" for none");
        }
    }
    if dialect.delimiter.is_some() && dialect.delimiter == dialect.quote {
        findings.add(place.clone(), "`delimiter` and `quote` must differ");
    }
    dialect.max_record_bytes = size(raw.max_record, dialect.max_record_bytes);
    if !(1..=MAX_RECORD_BYTES).contains(&dialect.max_record_bytes) {
        findings.add(place, "`max_record` is 1B to 512MiB");
    }
    dialect
}

/// Landings must not share files with each other, nor with what veild writes.
fn check_apart(
    landing: &Landing,
    others: &[Landing],
    own: &[PathBuf],
    place: Range<usize>,
    findings: &mut Findings<'_>,
) {
    for other in others {
        if other.name == landing.name {
            findings.add(place.clone(), format!("there are two landings named {:?}", landing.name));
        }
        let nested = (other.recursive && landing.dir.starts_with(&other.dir))
            || (landing.recursive && other.dir.starts_with(&landing.dir));
        if other.dir == landing.dir || nested {
            findings.add(
                place.clone(),
                format!("landings {:?} and {:?} would take each other's files", other.name, landing.name),
            );
        }
    }
    if own.iter().any(|own| landing.dir.starts_with(own) || own.starts_with(&landing.dir)) {
        findings
            .add(place, format!("landing {:?} and a directory that veild writes to lie in each other", landing.name));
    }
}

pub(super) fn policy(name: &str, raw: raw::Policy, findings: &mut Findings<'_>) -> Policy {
    if let Some(verify) = raw.verify.as_ref().filter(|verify| verify.get_ref() != "off") {
        findings.add(verify.span(), "the leak scan is not built yet: only \"off\" is accepted");
    }
    let mut columns = Vec::new();
    let mut last = 0..0;
    for column in raw.column {
        last = column.span();
        columns.extend(column_rule(column, findings));
    }
    let mut policy = Policy {
        name: name.to_owned(),
        unlisted: raw.unlisted,
        missing: raw.missing,
        mistyped: raw.mistyped,
        columns,
        sha256: String::new(),
    };
    if let Err(error) = policy.check() {
        findings.add(last, format!("policy {name:?}: {error}"));
    }
    policy.sha256 = policy.digest();
    policy
}

fn column_rule(column: Spanned<raw::Column>, findings: &mut Findings<'_>) -> Option<ColumnRule> {
    let place = column.span();
    let column = column.into_inner();
    findings.refuse("class", &column.class);
    let selectors = [
        column.name.clone().map(|name| Selector::Names(vec![name])),
        column.names.clone().map(Selector::Names),
        column.glob.clone().map(Selector::Glob),
        column.regex.clone().map(Selector::Regex),
    ];
    let mut selectors = selectors.into_iter().flatten();
    let (Some(columns), None) = (selectors.next(), selectors.next()) else {
        findings.add(place, "a column rule has exactly one of `name`, `names`, `glob` and `regex`");
        return None;
    };
    match Mask::from_params(column.mask.get_ref(), &column.params()) {
        Ok(mask) => Some(ColumnRule { columns, mask, mistyped: column.mistyped }),
        Err(error) => {
            findings.add(column.mask.span(), error);
            None
        }
    }
}
