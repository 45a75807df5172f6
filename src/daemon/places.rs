//! The places that veild writes to, what is wrong with them, and what pauses for it. Pure: clocks and findings come in.
//!
//! A place with less than `min_free`, or a quarantine with too much, only stops the intake; what is claimed already is finished with the reserve. A
//! place that cannot be written stops the work as well: claimed files wait in their spools until it can be written
//! again. A landing on a file system of its own is different: finishing its files is what makes room there.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::config::Config;
use crate::fsutil::{PathError, Space};

/// Time between two lines about a trouble that lasts.
pub const SAY_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// Something that veild writes to; troubles of the first three concern every landing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Audit,
    State,
    Vault,
    Landing(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Audit => f.write_str("audit"),
            Place::State => f.write_str("state"),
            Place::Vault => f.write_str("vault"),
            Place::Landing(name) => write!(f, "landing {name}"),
        }
    }
}

impl Place {
    /// The place that a path belongs to: one may lie in another, the innermost counts. In a landing only the spool is
    /// the place; an error on any other path there is that of one file.
    pub fn of(path: &Path, config: &Config) -> Option<Place> {
        let fixed = [
            (&config.audit.dir, Place::Audit),
            (&config.daemon.state_dir, Place::State),
            (&config.vault.dir, Place::Vault),
        ];
        let fixed = fixed.into_iter().map(|(dir, place)| (dir.clone(), place));
        let spool = |dir: &Path| dir.join(crate::spool::SPOOL);
        let spools = config.landings.iter().map(|it| (spool(&it.dir), Place::Landing(it.name.clone())));
        let of_path = fixed.chain(spools).filter(|(dir, _)| path.starts_with(dir));
        of_path.max_by_key(|(dir, _)| dir.components().count()).map(|(_, place)| place)
    }
}

/// What is wrong with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// Less than `min_free` is left.
    Low,
    /// The quarantine holds more than it may.
    Crowded,
    Full,
    ReadOnly,
    /// I/O errors.
    Failing,
    Denied,
    /// Not there, or not mounted.
    Gone,
    /// Its server or device does not answer.
    Silent,
    /// SQLite finds the ledger damaged.
    Damaged,
}

impl Ailment {
    /// What an error says about the place it happened in; `None` when it says nothing about the place.
    pub fn of(error: &io::Error) -> Option<Ailment> {
        let Some(errno) = error.raw_os_error() else {
            // Refused by veild itself, for its owner or for what it is.
            return (error.kind() == io::ErrorKind::PermissionDenied).then_some(Ailment::Denied);
        };
        match errno {
            libc::ENOSPC | libc::EDQUOT => Some(Ailment::Full),
            libc::EROFS => Some(Ailment::ReadOnly),
            libc::EIO | libc::EUCLEAN | libc::ENXIO | libc::EREMOTEIO => Some(Ailment::Failing),
            libc::EACCES | libc::EPERM => Some(Ailment::Denied),
            libc::ENOENT | libc::ENOTDIR | libc::ENODEV | libc::ENOTCONN | libc::ESTALE | libc::ESHUTDOWN => {
                Some(Ailment::Gone)
            }
            libc::ETIMEDOUT | libc::EHOSTDOWN | libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ECONNREFUSED => {
                Some(Ailment::Silent)
            }
            _ => None,
        }
    }

    /// The stable code of its log line.
    pub fn code(self, place: Option<&Place>) -> &'static str {
        match (self, place) {
            (Ailment::Low, _) => "disk_low",
            (Ailment::Crowded, _) => "quarantine_full",
            (Ailment::Full, _) => "disk_full",
            (Ailment::ReadOnly, _) => "disk_readonly",
            (Ailment::Failing, _) => "disk_error",
            (Ailment::Denied, _) => "disk_denied",
            (Ailment::Gone, Some(Place::Landing(_))) => "landing_gone",
            (Ailment::Gone, _) => "disk_gone",
            (Ailment::Silent, Some(Place::Landing(_))) => "landing_silent",
            (Ailment::Silent, _) => "disk_silent",
            (Ailment::Damaged, _) => "ledger_damaged",
        }
    }

    /// Everything can be written still.
    fn stops_only_intake(self) -> bool {
        matches!(self, Ailment::Low | Ailment::Crowded)
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Ailment::Low | Ailment::Full => "make room",
            Ailment::Crowded => "retry, release or discard what is there (`veild quarantine list`)",
            Ailment::ReadOnly => "find out why it is read-only (`dmesg`), then `mount -o remount,rw` it",
            Ailment::Failing => "look at `dmesg` and at the disk; a file system that needs repair needs veild stopped",
            Ailment::Denied => "`veild check` says how to mend owner and mode",
            Ailment::Gone => "mount it or put the directory back",
            Ailment::Silent => "look at its server, the network and the mount",
            Ailment::Damaged => {
                "stop veild, move ledger.sqlite* out of the state directory and start: it is made again from the audit trail"
            }
        }
    }
}

/// Why some work could not be done, for reasons outside the file; made on the threads that hit them.
#[derive(Clone, Debug)]
pub struct Obstacle {
    /// In one line, for the operator.
    pub what: String,
    pub path: Option<PathBuf>,
    pub ailment: Option<Ailment>,
}

impl Obstacle {
    /// One that says nothing about any place.
    pub fn other(what: impl Into<String>) -> Obstacle {
        Obstacle { what: what.into(), path: None, ailment: None }
    }
}

impl From<&PathError> for Obstacle {
    fn from(error: &PathError) -> Obstacle {
        Obstacle {
            what: format!("{error}: {}", error.source),
            path: Some(error.path.clone()),
            ailment: Ailment::of(&error.source),
        }
    }
}

/// What a look at a place found.
#[derive(Clone, Debug)]
pub struct Finding {
    pub place: Place,
    pub space: Option<Space>,
    /// Whether a write was tried; only then the absence of an error says that it can be written.
    pub written: bool,
    pub obstacle: Option<Obstacle>,
}

/// A place's trouble.
#[derive(Clone, Debug, Serialize)]
pub struct Trouble {
    #[serde(skip)]
    pub ailment: Ailment,
    pub code: &'static str,
    /// What is wrong and what to do.
    pub what: String,
    pub since: Timestamp,
    #[serde(skip)]
    said_at: Duration,
}

/// What a report has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    Raised,
    /// It lasts, and it is time to say so again.
    Lasts,
    Cleared(Ailment),
}

#[derive(Clone)]
struct Health {
    dir: PathBuf,
    space: Option<Space>,
    trouble: Option<Trouble>,
}

/// All places with what is known of them.
pub struct Places {
    min_free: u64,
    healths: BTreeMap<Place, Health>,
}

impl Places {
    pub fn new(config: &Config) -> Places {
        let mut places = Places { min_free: 0, healths: BTreeMap::new() };
        places.follow(config);
        places
    }

    /// Takes the places of another configuration; what is known of a directory is kept, whatever its
    /// landing is called now.
    pub fn follow(&mut self, config: &Config) {
        let mut dirs = vec![
            (Place::Audit, &config.audit.dir),
            (Place::State, &config.daemon.state_dir),
            (Place::Vault, &config.vault.dir),
        ];
        dirs.extend(config.landings.iter().map(|landing| (Place::Landing(landing.name.clone()), &landing.dir)));
        let old = std::mem::take(&mut self.healths);
        self.min_free = config.daemon.min_free;
        for (place, dir) in dirs {
            let is_landing = matches!(place, Place::Landing(_));
            let mut same = old.iter().filter(|(it, _)| matches!(it, Place::Landing(_)) == is_landing);
            let known = same.find(|(it, health)| health.dir == *dir && (is_landing || **it == place));
            let fresh = Health { dir: dir.clone(), space: None, trouble: None };
            self.healths.insert(place, known.map_or(fresh, |(_, health)| health.clone()));
        }
    }

    /// Notes that something could not be done in a place.
    pub fn failed(&mut self, place: &Place, ailment: Ailment, what: &str, now: Duration, at: Timestamp) -> Change {
        let what = format!("{what}; {}, work goes on by itself", ailment.remedy());
        self.raise(place, ailment, what, now, at)
    }

    fn raise(&mut self, place: &Place, ailment: Ailment, what: String, now: Duration, at: Timestamp) -> Change {
        let Some(health) = self.healths.get_mut(place) else { return Change::Nothing };
        match &mut health.trouble {
            // The room that is left says less than a write that failed.
            Some(known) if ailment == known.ailment || ailment == Ailment::Low => {
                if now.saturating_sub(known.said_at) < SAY_AGAIN_AFTER {
                    return Change::Nothing;
                }
                known.said_at = now;
                Change::Lasts
            }
            known => {
                let since = known.as_ref().map_or(at, |known| known.since);
                *known = Some(Trouble { ailment, code: ailment.code(Some(place)), what, since, said_at: now });
                Change::Raised
            }
        }
    }

    /// Notes what a look at a place has found; `waiting` are the bytes of all files that lie there.
    pub fn found(&mut self, finding: &Finding, waiting: u64, now: Duration, at: Timestamp) -> Change {
        let relief = if finding.space.is_some_and(|space| self.is_apart(&finding.place, space)) { waiting } else { 0 };
        let Some(health) = self.healths.get_mut(&finding.place) else { return Change::Nothing };
        health.space = finding.space.or(health.space);
        if let Some(obstacle) = &finding.obstacle {
            let ailment = obstacle.ailment.unwrap_or(Ailment::Failing);
            return self.failed(&finding.place, ailment, &obstacle.what, now, at);
        }
        // Once low, an eighth more than `min_free` must be there, or intake would stop and go with every file.
        let plenty = self.min_free.saturating_add(self.min_free / 8);
        let wanted = if health.trouble.is_some() { plenty } else { self.min_free };
        let low =
            finding.space.filter(|space| space.free_bytes < wanted && space.free_bytes.saturating_add(relief) < plenty);
        if let Some(space) = low {
            let what = low_room(&health.dir, space, self.min_free);
            return self.raise(&finding.place, Ailment::Low, what, now, at);
        }
        match health.trouble.take_if(|trouble| finding.written || trouble.ailment.stops_only_intake()) {
            Some(trouble) => Change::Cleared(trouble.ailment),
            None => Change::Nothing,
        }
    }

    /// Whether a landing has a file system of its own, where nothing is written for its files but their spool entries.
    fn is_apart(&self, place: &Place, space: Space) -> bool {
        let shares = |other: &Place| {
            self.healths.get(other).and_then(|health| health.space).is_none_or(|it| it.device == space.device)
        };
        matches!(place, Place::Landing(_)) && ![Place::Audit, Place::State, Place::Vault].iter().any(shares)
    }

    pub fn trouble(&self, place: &Place) -> Option<&Trouble> {
        self.healths.get(place)?.trouble.as_ref()
    }

    /// The trouble for which nothing more is claimed in a landing.
    pub fn pauses(&self, landing: &str) -> Option<(Place, &Trouble)> {
        let places = [Place::Audit, Place::State, Place::Vault, Place::Landing(landing.to_owned())];
        places.into_iter().find_map(|place| Some((place.clone(), self.trouble(&place)?)))
    }

    /// Whether even claimed files of a landing have to wait. A full landing is no reason: finishing its files helps.
    pub fn blocks(&self, landing: &str) -> bool {
        let own = [Place::Audit, Place::State, Place::Vault];
        let its = self.trouble(&Place::Landing(landing.to_owned()));
        own.iter().any(|place| self.is_unwritable(place))
            || its.is_some_and(|trouble| !trouble.ailment.stops_only_intake() && trouble.ailment != Ailment::Full)
    }

    /// Whether a look at this place should try to write.
    pub fn is_unwritable(&self, place: &Place) -> bool {
        self.trouble(place).is_some_and(|trouble| !trouble.ailment.stops_only_intake())
    }

    pub fn any_unwritable(&self) -> bool {
        self.healths.keys().any(|place| self.is_unwritable(place))
    }

    /// Whether every place that a landing depends on has been looked at.
    pub fn are_known(&self, landing: &str) -> bool {
        self.own_are_known() && self.is_known(&Place::Landing(landing.to_owned()))
    }

    /// Whether the places that veild itself writes to have been looked at: before that nobody can tell whether a
    /// landing has a file system of its own.
    pub fn own_are_known(&self) -> bool {
        [Place::Audit, Place::State, Place::Vault].iter().all(|place| self.is_known(place))
    }

    fn is_known(&self, place: &Place) -> bool {
        self.healths.get(place).is_some_and(|it| it.space.is_some() || it.trouble.is_some())
    }

    /// For `veild status`.
    pub fn report(&self) -> Vec<serde_json::Value> {
        let places = self.healths.iter().map(|(place, health)| {
            serde_json::json!({
                "place": place.to_string(),
                "dir": health.dir,
                "free_bytes": health.space.map(|space| space.free_bytes),
                "total_bytes": health.space.map(|space| space.total_bytes),
                "min_free_bytes": self.min_free,
                "trouble": health.trouble,
            })
        });
        places.collect()
    }
}

fn low_room(dir: &Path, space: Space, min_free: u64) -> String {
    let (dir, free, least) = (dir.display(), readable(space.free_bytes), readable(min_free));
    if space.total_bytes < min_free {
        let total = readable(space.total_bytes);
        return format!("the file system of {dir} has {total} in all, less than min_free ({least}); lower min_free");
    }
    let wanted = readable(min_free.saturating_add(min_free / 8));
    format!("{free} are free in {dir}, less than min_free ({least}); make room, intake goes on at {wanted}")
}

/// A number of bytes as an operator reads it.
pub fn readable(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests;
