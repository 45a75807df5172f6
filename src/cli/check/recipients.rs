//! Who reads what: groups with nobody in them, readers of too much, passphrases, plugins.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::{Finding, Service, shell};
use crate::config::{Config, Group, Landing};
use crate::fsutil::At;
use crate::keys::Passphrase;
use crate::seal::{canonical, plugin_of};

/// A group of recipients that expires this soon is worth a warning.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Where systemd lets its services look for programs.
const PATH_OF_UNITS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

pub(super) fn check(config: &Config, service: &Service) -> Vec<Finding> {
    let mut findings = groups(config, Timestamp::now());
    findings.extend(config.groups.values().flat_map(|group| passphrase(group, config, service)));
    findings.extend(plugins(config, service));
    for (landing, reader) in config.landings.iter().flat_map(readers_of_both) {
        findings.push(Finding::warning(format!(
            "landing {landing}: {reader} reads masked outputs and the unmasked originals in the archive"
        )));
    }
    if !config.quarantine.is_sealed() {
        let what = "[quarantine] has no recipients: rejected originals are kept unsealed (mode 0400)";
        findings.push(Finding::warning(what));
    }
    findings
}

/// Groups of recipients to which nothing may be sealed, or soon may not be.
fn groups(config: &Config, now: Timestamp) -> Vec<Finding> {
    let look = |group: &Group| match (group.in_force(now), group.expires) {
        (Err(fault), _) if config.uses_group(&group.name) => {
            Some(Finding::error(format!("{fault}; the landings that name it have stopped, and their files wait")))
        }
        (Err(fault), _) => Some(Finding::warning(format!("{fault}; nothing names it"))),
        (Ok(_), Some(at)) if at.duration_since(now) < SOON => {
            let name = &group.name;
            Some(Finding::warning(format!("[recipients.{name}] expires at {at}: the landings that name it stop then")))
        }
        (Ok(_), _) => None,
    };
    config.groups.values().filter_map(look).collect()
}

fn passphrase(group: &Group, config: &Config, service: &Service) -> Vec<Finding> {
    let Some(path) = &group.passphrase else { return Vec::new() };
    let (name, mut findings) = (&group.name, Vec::new());
    if let Err(problem) = Passphrase::load(path) {
        findings.push(Finding::error(format!("[recipients.{name}]: {problem}")));
    } else if let Err(problem) = service.tries(|| File::open(path).at("open", path)) {
        let mend = format!("chgrp {0} {1} && chmod 0640 {1}", service.account.group, shell(path));
        let what =
            format!("user {} cannot read the passphrase of [recipients.{name}]: {problem}", service.account.name);
        findings.push(Finding::error(what).mend(mend));
    }
    if config.uses_group(name) {
        findings.push(Finding::warning(format!(
            "[recipients.{name}] is a passphrase that lies on this host: whoever takes the host reads all that was sealed with it; \
             recipients have no such secret here"
        )));
    }
    findings
}

/// Plugins that the service would not find.
fn plugins(config: &Config, service: &Service) -> Vec<Finding> {
    let of_landings = config.landings.iter().flat_map(recipients);
    let all = of_landings.chain(&config.quarantine.recipients);
    let names: BTreeSet<&str> = all.filter_map(|recipient| plugin_of(recipient)).collect();
    let path = match &service.unit {
        Some(_) => PATH_OF_UNITS.to_owned(),
        None => std::env::var("PATH").unwrap_or_default(),
    };
    let is_there = |name: &str| {
        let program = format!("age-plugin-{name}");
        path.split(':').any(|dir| Path::new(dir).join(&program).is_file())
    };
    let missing = names.into_iter().filter(|name| !is_there(name));
    let finding = |name: &str| {
        Finding::error(format!(
            "a recipient is of the plugin age-plugin-{name}, which the daemon does not find: install it in {path}"
        ))
    };
    missing.map(finding).collect()
}

/// Everybody to whom anything of a landing is sealed.
fn recipients(landing: &Landing) -> impl Iterator<Item = &String> {
    let views = landing.views.iter().flat_map(|view| &view.recipients);
    landing.recipients.iter().chain(views).chain(originals(landing))
}

/// Who reads unmasked originals.
fn originals(landing: &Landing) -> impl Iterator<Item = &String> {
    landing.archive.as_ref().or(landing.unrecognised.as_ref()).into_iter().flatten()
}

/// Recipients of a landing's archive who are recipients of its masked outputs, too, with the landing's name.
fn readers_of_both(landing: &Landing) -> Vec<(&str, String)> {
    let readers = landing.views.iter().flat_map(|view| &view.recipients).chain(&landing.recipients);
    let readers: BTreeSet<String> = readers.map(|reader| canonical(reader)).collect();
    let archive = originals(landing).map(|reader| canonical(reader));
    let both = archive.filter(|reader| readers.contains(reader));
    both.map(|reader| (landing.name.as_str(), reader)).collect()
}
