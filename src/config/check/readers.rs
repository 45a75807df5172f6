//! Who an output is sealed to: recipients one by one, lists of them in files, and groups by name.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{absolute, landing};
use crate::config::group::{GROUP_PREFIX, Group};
use crate::config::locate::Findings;
use crate::config::raw;
use crate::config::spanned::Spanned;
use crate::fsutil::{MAX_NAMED_BYTES, read_named_text};
use crate::seal::{PASSPHRASE_PREFIX, Recipients, canonical, discord, plugin_of};

/// What lists of recipients may name.
pub(super) struct Groups {
    pub all: BTreeMap<String, Group>,
    allow_plugins: bool,
}

/// Recipients, each once, those of the groups too; and the names of the groups.
#[derive(Default)]
pub(super) struct Readers {
    pub recipients: Vec<String>,
    pub groups: Vec<String>,
}

impl Readers {
    fn add(&mut self, recipients: &[String]) {
        for recipient in recipients {
            // Somebody may be in two groups.
            if !self.recipients.iter().any(|known| canonical(known) == canonical(recipient)) {
                self.recipients.push(recipient.clone());
            }
        }
    }

    pub(super) fn is_nobody(&self) -> bool {
        self.recipients.is_empty() && self.groups.is_empty()
    }
}

/// `recipients = …` and the file beside it.
pub(super) fn readers(
    given: Option<Spanned<raw::OneOrMany>>,
    file: Option<Spanned<String>>,
    groups: &Groups,
    findings: &mut Findings<'_>,
) -> Readers {
    let mut readers = Readers::default();
    let whole = given.as_ref().map(Spanned::span).or(file.as_ref().map(Spanned::span)).unwrap_or(0..0);
    if let Some(given) = given {
        let place = given.span();
        let entries = Vec::from(given.into_inner());
        let named = entries.iter().filter_map(|entry| entry.trim().strip_prefix(GROUP_PREFIX));
        readers.groups = named.map(|name| name.trim().to_owned()).collect();
        readers.add(&groups.direct(&entries, place.clone(), findings));
        for name in &readers.groups.clone() {
            match groups.all.get(name) {
                Some(group) => readers.add(&group.recipients),
                None => findings.add(place.clone(), groups.unknown(name)),
            }
        }
        if entries.is_empty() {
            findings.add(place, "there are no recipients: at least one is needed");
        }
    }
    if let Some(file) = file {
        let place = file.span();
        let listed = groups.listed(file, findings);
        if listed.is_empty() {
            findings.add(place, "there are no recipients in this file: at least one is needed");
        }
        readers.add(&listed);
    }
    if let Some(discord) = discord(&readers.recipients) {
        findings.add(whole, discord);
    }
    readers
}

impl Groups {
    fn unknown(&self, name: &str) -> String {
        let known: Vec<&str> = self.all.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        format!("there is no [recipients.{name}]; defined are: {known}")
    }

    /// The entries that are no groups, checked; the numbers in messages count all.
    fn direct(&self, entries: &[String], place: Range<usize>, findings: &mut Findings<'_>) -> Vec<String> {
        let direct = entries.iter().enumerate().filter(|(_, entry)| !entry.trim().starts_with(GROUP_PREFIX));
        let numbered: Vec<(usize, &str)> = direct.map(|(index, entry)| (index + 1, entry.trim())).collect();
        if let Some(problem) = self.problem(&numbered) {
            findings.add(place, problem);
        }
        numbered.into_iter().map(|(_, entry)| entry.to_owned()).collect()
    }

    /// The recipients in a file, one a line.
    fn listed(&self, file: Spanned<String>, findings: &mut Findings<'_>) -> Vec<String> {
        let place = file.span();
        let path = absolute(Some(file), "", findings);
        let text = match read_named_text(&path, MAX_NAMED_BYTES) {
            Ok(text) => text,
            Err(error) => {
                findings.add(place, format!("cannot read {}: {error}", path.display()));
                return Vec::new();
            }
        };
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let numbered: Vec<_> = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect();
        if let Some(problem) = self.problem(&numbered) {
            findings.add(place, format!("in {}, by line: {problem}", path.display()));
        }
        numbered.into_iter().map(|(_, line)| line.to_owned()).collect()
    }

    fn problem(&self, numbered: &[(usize, &str)]) -> Option<String> {
        if numbered.is_empty() {
            return None;
        }
        if let Err(error) = Recipients::parse_numbered(numbered) {
            return Some(error.to_string());
        }
        let (number, plugin) = numbered.iter().find_map(|(number, text)| Some((number, plugin_of(text)?)))?;
        (!self.allow_plugins).then(|| {
            format!("recipient {number} is of the plugin age-plugin-{plugin}: `allow_plugins = true` in [daemon] lets it run")
        })
    }
}

/// `[recipients.NAME]`; a group may be empty, which stops the landings that name it.
pub(super) fn groups(
    given: BTreeMap<String, Spanned<raw::Group>>,
    allow_plugins: bool,
    findings: &mut Findings<'_>,
) -> Groups {
    let mut groups = Groups { all: BTreeMap::new(), allow_plugins };
    for (name, raw) in given {
        let place = raw.span();
        landing::check_name("group", &Spanned::new(place.clone(), name.clone()), findings);
        let group = group(&name, raw.into_inner(), place, &groups, findings);
        groups.all.insert(name, group);
    }
    groups
}

fn group(name: &str, raw: raw::Group, place: Range<usize>, groups: &Groups, findings: &mut Findings<'_>) -> Group {
    match (&raw.passphrase, raw.recipients.is_some() || raw.file.is_some()) {
        (Some(passphrase), true) => {
            findings.add(passphrase.span(), "a passphrase stands alone: age seals to it and nobody else");
        }
        (None, false) => {
            findings.add(place, "a group of recipients has `recipients`, a `file` of them, or a `passphrase`")
        }
        _ => {}
    }
    let mut members = Readers::default();
    if let Some(given) = raw.recipients {
        let place = given.span();
        let entries = Vec::from(given.into_inner());
        if entries.iter().any(|entry| entry.trim().starts_with(GROUP_PREFIX)) {
            findings.add(place.clone(), "a group holds no groups: name its members");
        }
        members.add(&groups.direct(&entries, place, findings));
    }
    if let Some(file) = raw.file {
        members.add(&groups.listed(file, findings));
    }
    let passphrase = raw.passphrase.map(|file| super::secret(Some(file), "", findings));
    if passphrase.is_some() {
        members.recipients = vec![format!("{PASSPHRASE_PREFIX}{name}")];
    }
    let expires = raw.expires.map(|expires| expires.0);
    Group { name: name.to_owned(), recipients: members.recipients, passphrase, expires }
}
