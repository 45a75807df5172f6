//! `[[landing]]`

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::readers::{Groups, Readers, readers};
use super::{absolute, reading, size, time};
use crate::config::locate::Findings;
use crate::config::spanned::Spanned;
use crate::config::units::Span;
use crate::config::{Complete, Duplicates, Landing, Patterns, View, raw};
use crate::pipeline::{Reading, Writing};
use crate::policy::Policy;

const EXCLUDE: [&str; 7] = [".*", "*.part", "*.filepart", "*.partial", "*.tmp", "*.swp", "*~"];
/// Most that the policies of one landing may take; a message to a worker holds 16 MiB.
const MAX_POLICIES_BYTES: usize = 12 << 20;
const LEAST_SWEEP: Duration = Duration::from_millis(100);
const MOST_SWEEP: Duration = Duration::from_secs(86_400);
const LEAST_WINDOW: Duration = Duration::from_secs(1);
const MOST_WINDOW: Duration = Duration::from_secs(3650 * 86_400);
/// Each takes a descriptor and a sealing of its own.
const MAX_VIEWS: usize = 16;

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

pub(super) fn landing(
    raw: raw::Landing,
    policies: &BTreeMap<String, Policy>,
    groups: &Groups,
    worker_memory: u64,
    findings: &mut Findings<'_>,
) -> Landing {
    check_name("landing", &raw.name, findings);
    check_policy(&raw.policy, policies, findings);
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
    let own = readers_of("landing", raw.recipients, raw.recipients_file, place.clone(), groups, findings);
    let mut named = own.groups;
    let views = views(raw.view, policies, groups, &mut named, findings);
    let members = reading::members(raw.member, policies, findings);
    let names = std::iter::once(raw.policy.get_ref().as_str()).chain(views.iter().map(|view| view.policy.as_str()));
    let (sheet, sheets) = reading::sheets(raw.sheet, policies, findings);
    let of_members = members.iter().chain(&sheets).filter_map(|rule| rule.policy.as_ref());
    let travelling = names.filter_map(|name| policies.get(name)).chain(of_members);
    if travelling.map(travelling_bytes).sum::<usize>() > MAX_POLICIES_BYTES {
        findings.add(
            raw.policy.span(),
            "the policies of this landing and its views, with their hierarchies, are larger \
                                         than 12 MiB; use smaller hierarchies or fewer views",
        );
    }
    let reading = reading::reading(raw.format, raw.encoding, raw.delimited, (raw.limits, worker_memory), findings);
    let writing = Writing { each_sheet: !sheets.is_empty(), ..reading::writing(raw.output, &reading, findings) };
    let reading = Reading { members, sheet, sheets, ..reading };
    let keeps = originals(raw.after, raw.unrecognised, raw.archive_recipients, groups, findings);
    named.extend(keeps.readers.groups);
    let originals = |wanted: bool| wanted.then(|| keeps.readers.recipients.clone());
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
        duplicates: match raw.duplicates {
            None | Some(raw::Duplicates::Process) => Duplicates::Process,
            Some(raw::Duplicates::Skip) => Duplicates::Skip,
            Some(raw::Duplicates::Quarantine) => Duplicates::Quarantine,
        },
        keep: keep(raw.keep, findings),
        dedup_window: dedup_window(raw.dedup_window, findings),
        policy: raw.policy.into_inner(),
        recipients: own.recipients,
        groups: named,
        views,
        archive: originals(keeps.all),
        unrecognised: originals(keeps.unrecognised),
        reading,
        writing,
    }
}

pub(super) fn check_name(of: &str, name: &Spanned<String>, findings: &mut Findings<'_>) {
    let text = name.get_ref();
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if text.is_empty() || text.len() > 63 || !text.bytes().all(is_name) || text.starts_with(['-', '_']) {
        findings.add(
            name.span(),
            format!("a {of}'s name is 1 to 63 of a-z, 0-9, `-` and `_`, and starts with a letter or digit"),
        );
    }
}

pub(super) fn check_policy(policy: &Spanned<String>, policies: &BTreeMap<String, Policy>, findings: &mut Findings<'_>) {
    if !policies.contains_key(policy.get_ref()) {
        let known: Vec<&str> = policies.keys().map(String::as_str).collect();
        findings.add(
            policy.span(),
            format!("there is no [policy.{}]; defined are: {}", policy.get_ref(), known.join(", ")),
        );
    }
}

/// Size of a policy on its way to a worker, which it makes with every file.
fn travelling_bytes(policy: &Policy) -> usize {
    serde_json::to_vec(policy).map_or(0, |text| text.len())
}

fn views(
    given: Vec<Spanned<raw::View>>,
    policies: &BTreeMap<String, Policy>,
    groups: &Groups,
    named: &mut Vec<String>,
    findings: &mut Findings<'_>,
) -> Vec<View> {
    let mut views: Vec<View> = Vec::with_capacity(given.len());
    for (index, raw) in given.into_iter().enumerate() {
        let place = raw.span();
        let raw = raw.into_inner();
        if index == MAX_VIEWS {
            findings.add(place.clone(), format!("a landing has at most {MAX_VIEWS} views"));
        }
        check_name("view", &raw.name, findings);
        check_policy(&raw.policy, policies, findings);
        if views.iter().any(|other| other.name == *raw.name.get_ref()) {
            findings.add(raw.name.span(), format!("this landing has two views named {:?}", raw.name.get_ref()));
        }
        let readers = readers_of("view", raw.recipients, raw.recipients_file, place, groups, findings);
        named.extend(readers.groups);
        let (name, policy) = (raw.name.into_inner(), raw.policy.into_inner());
        views.push(View { name, policy, recipients: readers.recipients });
    }
    views
}

fn keep(given: Option<Spanned<Span>>, findings: &mut Findings<'_>) -> Option<Duration> {
    let given = given?;
    let place = given.span();
    let keep = given.into_inner().0;
    if keep < LEAST_WINDOW {
        findings.add(place, "`keep` of a landing is 1s or more; without it everything is kept");
    }
    Some(keep)
}

fn dedup_window(given: Option<Spanned<Span>>, findings: &mut Findings<'_>) -> Duration {
    let place = given.as_ref().map_or(0..0, Spanned::span);
    let window = time(given.map(Spanned::into_inner), 30 * 86_400);
    if !(LEAST_WINDOW..=MOST_WINDOW).contains(&window) {
        findings.add(place, "`dedup_window` is 1s to 3650d");
    }
    window
}

/// Which originals are kept, and for whom.
struct Originals {
    all: bool,
    unrecognised: bool,
    readers: Readers,
}

fn originals(
    after: Option<Spanned<raw::After>>,
    unrecognised: Option<Spanned<raw::Unrecognised>>,
    recipients: Option<Spanned<raw::OneOrMany>>,
    groups: &Groups,
    findings: &mut Findings<'_>,
) -> Originals {
    let archive = after.filter(|after| *after.get_ref() == raw::After::Archive);
    let seal = unrecognised.filter(|wanted| *wanted.get_ref() == raw::Unrecognised::Seal);
    match (&recipients, &archive, &seal) {
        (None, Some(after), _) => findings
            .add(after.span(), "`after = \"archive\"` needs `archive_recipients`, who can read the unmasked originals"),
        (None, None, Some(wanted)) => findings.add(
            wanted.span(),
            "`unrecognised = \"seal\"` needs `archive_recipients`, who can read what nobody has masked",
        ),
        (Some(recipients), None, None) => findings
            .add(recipients.span(), "`archive_recipients` go with `after = \"archive\"` or `unrecognised = \"seal\"`"),
        _ => {}
    }
    let readers = recipients.map(|recipients| readers(Some(recipients), None, groups, findings));
    Originals { all: archive.is_some(), unrecognised: seal.is_some(), readers: readers.unwrap_or_default() }
}

fn sweep(given: Option<Span>, place: Range<usize>, findings: &mut Findings<'_>) -> Duration {
    let sweep = time(given, 60);
    if !(LEAST_SWEEP..=MOST_SWEEP).contains(&sweep) {
        findings.add(place, "`sweep` of this landing must be 100ms to 1d");
    }
    sweep
}

fn readers_of(
    of: &str,
    given: Option<Spanned<raw::OneOrMany>>,
    file: Option<Spanned<String>>,
    place: Range<usize>,
    groups: &Groups,
    findings: &mut Findings<'_>,
) -> Readers {
    let is_listed = given.is_some();
    let readers = readers(given, file, groups, findings);
    if readers.is_nobody() && !is_listed {
        findings.add(place, format!("this {of} needs `recipients` or `recipients_file`"));
    }
    readers
}

/// Landings must not share files with each other, nor with what veild writes.
pub(super) fn check_apart(
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
