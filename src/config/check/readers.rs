//! Who an output is sealed to: recipients one by one, lists of them in files, and groups by name.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{absolute, landing};
use crate::config::group::{GROUP_PREFIX, Group};
use crate::config::locate::Findings;
use crate::config::raw;
use crate::config::spanned::Spanned;
use crate::seal::{Recipients, canonical};

pub(super) type Groups = BTreeMap<String, Group>;

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
    if let Some(given) = given {
        let place = given.span();
        let entries = Vec::from(given.into_inner());
        let named = entries.iter().filter_map(|entry| entry.trim().strip_prefix(GROUP_PREFIX));
        readers.groups = named.map(|name| name.trim().to_owned()).collect();
        readers.add(&direct(&entries, place.clone(), findings));
        for name in &readers.groups.clone() {
            match groups.get(name) {
                Some(group) => readers.add(&group.recipients),
                None => findings.add(place.clone(), unknown(name, groups)),
            }
        }
        if entries.is_empty() {
            findings.add(place, "there are no recipients: at least one is needed");
        }
    }
    if let Some(file) = file {
        let place = file.span();
        let listed = listed(file, findings);
        if listed.is_empty() {
            findings.add(place, "there are no recipients in this file: at least one is needed");
        }
        readers.add(&listed);
    }
    readers
}

fn unknown(name: &str, groups: &Groups) -> String {
    let known: Vec<&str> = groups.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("there is no [recipients.{name}]; defined are: {known}")
}

/// The entries that are no groups, checked; the numbers in messages count all.
fn direct(entries: &[String], place: Range<usize>, findings: &mut Findings<'_>) -> Vec<String> {
    let direct = entries.iter().enumerate().filter(|(_, entry)| !entry.trim().starts_with(GROUP_PREFIX));
    let numbered: Vec<(usize, &str)> = direct.map(|(index, entry)| (index + 1, entry.as_str())).collect();
    if !numbered.is_empty()
        && let Err(error) = Recipients::parse_numbered(&numbered)
    {
        findings.add(place, error.to_string());
    }
    numbered.into_iter().map(|(_, entry)| entry.to_owned()).collect()
}

/// The recipients in a file, one a line.
fn listed(file: Spanned<String>, findings: &mut Findings<'_>) -> Vec<String> {
    let place = file.span();
    let path = absolute(Some(file), "", findings);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            findings.add(place, format!("cannot read {}: {error}", path.display()));
            return Vec::new();
        }
    };
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let numbered: Vec<(usize, &str)> = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect();
    if !numbered.is_empty()
        && let Err(error) = Recipients::parse_numbered(&numbered)
    {
        findings.add(place, format!("in {}, by line: {error}", path.display()));
    }
    numbered.into_iter().map(|(_, line)| line.to_owned()).collect()
}

/// `[recipients.NAME]`; a group may be empty, which stops the landings that name it.
pub(super) fn groups(given: BTreeMap<String, Spanned<raw::Group>>, findings: &mut Findings<'_>) -> Groups {
    let mut groups = Groups::new();
    for (name, raw) in given {
        let place = raw.span();
        let raw = raw.into_inner();
        landing::check_name("group", &Spanned::new(place.clone(), name.clone()), findings);
        if raw.recipients.is_none() && raw.file.is_none() {
            findings.add(place, "a group of recipients has `recipients`, or a `file` of them");
        }
        let mut members = Readers::default();
        if let Some(given) = raw.recipients {
            let place = given.span();
            let entries = Vec::from(given.into_inner());
            if entries.iter().any(|entry| entry.trim().starts_with(GROUP_PREFIX)) {
                findings.add(place.clone(), "a group holds no groups: name its members");
            }
            members.add(&direct(&entries, place, findings));
        }
        if let Some(file) = raw.file {
            members.add(&listed(file, findings));
        }
        let expires = raw.expires.map(|expires| expires.0);
        groups.insert(name.clone(), Group { name, recipients: members.recipients, expires });
    }
    groups
}
