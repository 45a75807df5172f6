//! The site's own files and directories: configuration, keys, state, vault, audit trail, log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Finding, Service, shell};
use crate::audit::AuditError;
use crate::audit::epoch::EpochKey;
use crate::cli::unit::Barrier;
use crate::config::Config;
use crate::daemon::places::readable;
use crate::fsutil::{self, At};
use crate::keys::{KeySource, MaskingKeys, SigningKey};

pub(super) fn check(config: &Config, service: &Service) -> Vec<Finding> {
    let mut findings = configuration(config, service);
    findings.extend(keys(config, service));
    findings.extend(epoch_key(config, service));
    let mut dirs = vec![
        ("state", config.daemon.state_dir.as_path()),
        ("vault", config.vault.dir.as_path()),
        ("audit", config.audit.dir.as_path()),
    ];
    dirs.extend(config.log.dir.as_deref().map(|dir| ("log", dir)));
    for (what, dir) in dirs {
        findings.extend(own_dir(what, dir, config, service));
    }
    findings.extend(ways(config, service));
    findings
}

/// What is wrong with the masking and the signing key.
pub fn keys(config: &Config, service: &Service) -> Vec<Finding> {
    let masking = MaskingKeys::from_source(&config.keys.masking).err().map(|error| error.to_string());
    let mut findings = key("masking", &config.keys.masking, masking, service);
    let signing = SigningKey::from_source(&config.keys.signing).err().map(|error| error.to_string());
    findings.extend(key("signing", &config.keys.signing, signing, service));
    findings
}

/// The audit trail's forward-secure key, which the service goes on with.
fn epoch_key(config: &Config, service: &Service) -> Option<Finding> {
    let path = crate::daemon::epoch_key(config);
    match EpochKey::load(&path) {
        Ok(None) if config.daemon.state_dir.exists() => {
            let what = "checkpoints of the audit trail are signed, and not sealed: a later root could write it anew";
            Some(Finding::warning(what).mend("veild audit seal, with the daemon stopped"))
        }
        Ok(None) => None,
        Ok(Some(_)) => {
            let opened = service.tries(|| File::options().read(true).write(true).open(&path).at("open", &path));
            let what =
                |problem| format!("user {} cannot use the audit trail's epoch key: {problem}", service.account.name);
            let mend = format!("chown {} {}", service.owner(), shell(&path));
            opened.err().map(|problem| Finding::error(what(problem)).mend(mend))
        }
        Err(AuditError::Broken { what, .. }) => {
            Some(Finding::error(format!("the audit trail's epoch key {}: {what}", path.display())))
        }
        Err(AuditError::Unusable { what, .. }) => {
            let is_open = fs::metadata(&path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0);
            let finding =
                Finding::error(format!("the audit trail's epoch key {} cannot be used: {what}", path.display()));
            Some(if is_open { finding.mend(format!("chmod 0600 {}", shell(&path))) } else { finding })
        }
        // Whoever asks may not look into the service's state.
        Err(_) => None,
    }
}

fn configuration(config: &Config, service: &Service) -> Vec<Finding> {
    let (path, quoted) = (&config.path, shell(&config.path));
    let mut findings = Vec::new();
    if let Err(problem) = service.tries(|| File::open(path).at("open", path)) {
        let what = format!("user {} cannot read the configuration: {problem}", service.account.name);
        findings.push(Finding::error(what).mend(readable_by(service, path)));
    }
    if let Ok(metadata) = fs::metadata(path)
        && metadata.mode() & 0o022 != 0
    {
        let what = format!(
            "{} can be written by others (mode {:04o}): whoever may, decides what is masked and for whom",
            path.display(),
            metadata.mode() & 0o7777
        );
        findings.push(Finding::error(what).mend(format!("chmod go-w {quoted}")));
    }
    findings
}

fn key(name: &str, source: &KeySource, problem: Option<String>, service: &Service) -> Vec<Finding> {
    let KeySource::File(path) = source else {
        return problem.map(Finding::error).into_iter().collect();
    };
    let quoted = shell(path);
    if !path.exists() {
        let what = problem.unwrap_or_else(|| format!("there is no {name} key {}", path.display()));
        return vec![Finding::error(what).mend(format!("veild key generate {name} --out {quoted}"))];
    }
    if let Some(problem) = problem {
        let is_open = fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o037 != 0);
        let finding = Finding::error(problem);
        return vec![if is_open { finding.mend(format!("chmod g-wx,o-rwx {quoted}")) } else { finding }];
    }
    let mut findings = Vec::new();
    if let Err(problem) = service.tries(|| File::open(path).at("open", path)) {
        let what = format!("user {} cannot read the {name} key: {problem}", service.account.name);
        findings.push(Finding::error(what).mend(readable_by(service, path)));
    }
    if let Ok(metadata) = fs::metadata(path)
        && ![0, service.account.uid].contains(&metadata.uid())
    {
        let what = format!("the {name} key {} belongs to user {}, who can change it", path.display(), metadata.uid());
        findings.push(Finding::error(what).mend(format!("chown {} {quoted}", service.owner())));
    }
    findings
}

fn own_dir(what: &str, dir: &Path, config: &Config, service: &Service) -> Vec<Finding> {
    let shown = dir.display();
    let make = format!("install -d -o {0} -g {1} -m 0750 {2}", service.account.name, service.account.group, shell(dir));
    let Ok(metadata) = fs::metadata(dir) else {
        let made_by_systemd = service.unit.as_ref().is_some_and(|unit| unit.makes(dir));
        let what = format!("the {what} directory {shown} is not there");
        return if made_by_systemd { Vec::new() } else { vec![Finding::error(what).mend(make)] };
    };
    if !metadata.is_dir() {
        return vec![Finding::error(format!("the {what} directory {shown} is something else"))];
    }
    let mut findings = reachable(what, dir, service);
    let mode = metadata.mode() & 0o7777;
    if ![0, service.account.uid].contains(&metadata.uid()) {
        let what = format!("the {what} directory {shown} belongs to user {}", metadata.uid());
        findings.push(Finding::error(what).mend(format!("chown -R {} {}", service.owner(), shell(dir))));
    } else if let Err(problem) = service.tries(|| fsutil::try_write(dir)) {
        let what = format!("user {} cannot write to the {what} directory: {problem}", service.account.name);
        findings.push(Finding::error(what).mend(format!("chown -R {} {}", service.owner(), shell(dir))));
    }
    if mode & 0o022 != 0 {
        let what = format!("the {what} directory {shown} can be written by others (mode {mode:04o})");
        findings.push(Finding::error(what).mend(format!("chmod go-w {}", shell(dir))));
    } else if mode & 0o007 != 0 {
        let what = format!("the {what} directory {shown} is open to all users (mode {mode:04o}), who see file names");
        findings.push(Finding::warning(what).mend(format!("chmod o-rwx {}", shell(dir))));
    }
    findings.extend(room(what, dir, config));
    findings
}

/// Whether `min_free` is kept already.
pub(super) fn room(what: &str, dir: &Path, config: &Config) -> Option<Finding> {
    let (space, least) = (fsutil::space(dir).ok()?, config.daemon.min_free);
    let (shown, wanted) = (dir.display(), readable(least));
    if space.total_bytes < least {
        let total = readable(space.total_bytes);
        return Some(Finding::error(format!(
            "{what}: the file system of {shown} has {total} in all, less than min_free ({wanted}); nothing would ever be claimed: lower `min_free` in [daemon]"
        )));
    }
    let free = readable(space.free_bytes);
    (space.free_bytes < least).then(|| {
        Finding::error(format!(
            "{what}: {free} are free in {shown}, less than min_free ({wanted}): intake pauses; make room"
        ))
        .mend(format!("du -xh --max-depth=2 {} | sort -h | tail", shell(dir)))
    })
}

/// Whether the unit lets the service write there.
pub(super) fn reachable(what: &str, dir: &Path, service: &Service) -> Vec<Finding> {
    let Some((unit, barrier)) = service.unit.as_ref().and_then(|unit| Some((unit, unit.keeps_from(dir)?))) else {
        return Vec::new();
    };
    let (shown, by) = (dir.display(), unit.path.display());
    let drop_in = "veild init --drop-in && systemctl daemon-reload && systemctl restart veild";
    vec![match barrier {
        Barrier::Home => {
            Finding::error(format!("{what}: {shown} is out of the service's reach (ProtectHome= in {by})"))
                .mend(drop_in)
        }
        Barrier::ReadOnly => {
            Finding::error(format!("{what}: {shown} is read-only for the service (no ReadWritePaths= in {by})"))
                .mend(drop_in)
        }
        Barrier::Tmp => Finding::error(format!(
            "{what}: {shown} is out of the service's reach (PrivateTmp= in {by}), and temporary: choose another place"
        )),
    }]
}

/// Whoever may write to a directory above can put another thing in a path's place.
fn ways(config: &Config, service: &Service) -> Vec<Finding> {
    let own = [&config.path, config.keys.masking.path(), config.keys.signing.path()].into_iter();
    let places = own.chain([&*config.daemon.state_dir, &config.vault.dir, &config.audit.dir]);
    let paths = places.chain(config.log.dir.as_deref()).chain(config.landings.iter().map(|landing| &*landing.dir));
    let mut above: BTreeMap<&Path, &Path> = BTreeMap::new();
    for path in paths {
        path.ancestors().skip(1).for_each(|dir| {
            above.entry(dir).or_insert(path);
        });
    }
    above.into_iter().filter_map(|(dir, path)| way(dir, path, service)).collect()
}

fn way(dir: &Path, path: &Path, service: &Service) -> Option<Finding> {
    let metadata = fs::metadata(dir).ok()?;
    let (shown, quoted, mode) = (dir.display(), shell(dir), metadata.mode() & 0o7777);
    let danger = format!("could put something else in the place of {}", path.display());
    if ![0, service.account.uid].contains(&metadata.uid()) {
        let what = format!("{shown} belongs to user {}, who {danger}", metadata.uid());
        return Some(Finding::error(what).mend(format!("chown root {quoted}")));
    }
    // In a sticky directory only its owner renames what belongs to others.
    (mode & 0o022 != 0 && mode & 0o1000 == 0).then(|| {
        let what = format!("others may write to {shown} (mode {mode:04o}), and {danger}");
        Finding::error(what).mend(format!("chmod go-w {quoted}"))
    })
}

/// Lets the service read a file of root.
fn readable_by(service: &Service, path: &Path) -> String {
    format!("chgrp {0} {1} && chmod 0640 {1}", service.account.group, shell(path))
}
