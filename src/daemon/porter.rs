//! The thread that touches landings: looks, sweeps, claims. It decides nothing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::event::Event;
use super::places::{Finding, Obstacle, Place};
use crate::config::{Complete, Config, Landing};
use crate::fsutil::{self, At, PathError};
use crate::intake::{Hint, Kind, Stat};
use crate::job::JobId;
use crate::spool::{self, SPOOL, Writers};

/// Deepest directory below a recursive landing.
const MAX_DEPTH: usize = 32;

/// Most claims made durable together; each holds two descriptors until then.
const MAX_CLAIMS: usize = 128;
/// Most errands run before claims are made durable.
const MAX_ERRANDS: usize = 512;

/// What the loop asks for.
pub enum Errand {
    Look {
        landing: Arc<Landing>,
        relative: PathBuf,
        hint: Hint,
    },
    Sweep {
        landing: Arc<Landing>,
        hint: Hint,
    },
    /// Look at the room that is left; `write`: try to write as well.
    Examine {
        landing: Arc<Landing>,
        write: bool,
    },
    /// Under the configuration that decided it, whatever a reload brings meanwhile.
    Claim {
        config: Arc<Config>,
        landing: Arc<Landing>,
        relative: PathBuf,
        seen: Stat,
        arrived_ns: i128,
    },
    /// Look for a job that a command has put into the spool.
    Adopt {
        config: Arc<Config>,
        landing: Arc<Landing>,
        job: JobId,
    },
}

/// Starts the thread; it ends when the sender is dropped.
pub fn start(events: mpsc::Sender<Event>) -> std::io::Result<Sender<Errand>> {
    let (errands, inbox) = channel();
    std::thread::Builder::new().name("porter".to_owned()).spawn(move || work(&inbox, &events))?;
    Ok(errands)
}

fn work(inbox: &Receiver<Errand>, events: &mpsc::Sender<Event>) {
    while let Ok(first) = inbox.recv() {
        // What has gathered is done together, so that claims of a burst become durable together.
        let (mut claims, mut errands, mut next) = (Vec::new(), 0, Some(first));
        while let Some(errand) = next {
            if run(errand, &mut claims, events).is_err() {
                return;
            }
            errands += 1;
            let more = claims.len() < MAX_CLAIMS && errands < MAX_ERRANDS;
            next = if more { inbox.try_recv().ok() } else { None };
        }
        if settle(claims, events).is_err() {
            return;
        }
    }
}

/// Runs one errand; what it has taken is only said once it is durable.
fn run(errand: Errand, claims: &mut Vec<Claim>, events: &mpsc::Sender<Event>) -> Delivered {
    match errand {
        Errand::Look { landing, relative, hint } => look(&landing, relative, hint, events),
        Errand::Sweep { landing, hint } => {
            let swept = restore_spool(&landing, events).and_then(|()| sweep(&landing, &landing.dir, 0, hint, events));
            let obstacle = swept.err().map(|error| Obstacle::from(&error));
            events.blocking_send(Event::SweepOver { landing, obstacle })
        }
        Errand::Adopt { config, landing, job } => adopt(config, landing, job, events),
        Errand::Examine { landing, write } => events.blocking_send(Event::Found(examine(&landing, write, events))),
        Errand::Claim { config, landing, relative, seen, arrived_ns } => {
            match spool::take(&landing.dir, &relative, &seen, Timestamp::now()) {
                Ok(taken) => {
                    crate::faults::point("taken");
                    claims.push(Claim { config, landing, relative, arrived_ns, taken });
                    Ok(())
                }
                Err(why) => events.blocking_send(Event::NotClaimed { landing, relative, why }),
            }
        }
    }
}

/// A file in the spool that nobody has been told of.
struct Claim {
    config: Arc<Config>,
    landing: Arc<Landing>,
    relative: PathBuf,
    arrived_ns: i128,
    taken: spool::Taken,
}

/// Makes claims durable, landing by landing, and says so.
fn settle(claims: Vec<Claim>, events: &mpsc::Sender<Event>) -> Delivered {
    let mut of_landing: BTreeMap<PathBuf, Vec<Claim>> = BTreeMap::new();
    for claim in claims {
        of_landing.entry(claim.landing.dir.clone()).or_default().push(claim);
    }
    for (dir, claims) in of_landing {
        let (asked, taken): (Vec<_>, Vec<_>) = claims
            .into_iter()
            .map(|Claim { config, landing, relative, arrived_ns, taken }| {
                ((config, landing, relative, arrived_ns), taken)
            })
            .unzip();
        for ((config, landing, relative, arrived_ns), settled) in asked.into_iter().zip(spool::settle(&dir, taken)) {
            crate::faults::point("claimed");
            events.blocking_send(match settled {
                Ok((claimed, writers)) => {
                    if landing.complete == Complete::Marker {
                        // Its work is done; one left behind would speak for the next file of this name.
                        let _ = fs::remove_file(marker_path(&landing, &relative));
                    }
                    let lease_known = writers != Writers::Unknown;
                    Event::Claimed { config, landing, relative, arrived_ns, claimed, lease_known }
                }
                Err(why) => Event::NotClaimed { landing, relative, why },
            })?;
        }
    }
    Ok(())
}

/// A landing that has vanished and come back has neither spool nor watch.
fn restore_spool(landing: &Landing, events: &mpsc::Sender<Event>) -> Result<(), PathError> {
    if landing.dir.join(SPOOL).exists() || !landing.dir.exists() {
        return Ok(());
    }
    spool::prepare(&landing.dir)?;
    let _ = events.blocking_send(Event::WatchAgain); // the loop may have ended
    Ok(())
}

fn adopt(config: Arc<Config>, landing: Arc<Landing>, job: JobId, events: &mpsc::Sender<Event>) -> Delivered {
    match spool::find(&landing.dir, job) {
        Ok(Some(claimed)) => {
            let (relative, arrived_ns) = (PathBuf::new(), job.claim_time().as_nanosecond());
            events.blocking_send(Event::Claimed { config, landing, relative, arrived_ns, claimed, lease_known: true })
        }
        Ok(None) => Ok(()), // already done
        Err(error) => {
            tracing::error!(code = "claim_failed", %job, "{}; the next start takes it up", Obstacle::from(&error).what);
            Ok(())
        }
    }
}

/// Looks at a landing's room; with `write`, proves that its spool can be written.
fn examine(landing: &Landing, write: bool, events: &mpsc::Sender<Event>) -> Finding {
    let space = fsutil::space(&landing.dir);
    let tried = if write {
        restore_spool(landing, events).and_then(|()| fsutil::try_write(&landing.dir.join(SPOOL)))
    } else {
        Ok(())
    };
    let obstacle = tried.as_ref().err().or(space.as_ref().err()).map(Obstacle::from);
    let place = Place::Landing(landing.name.clone());
    Finding { place, space: space.ok(), written: write, obstacle }
}

type Delivered = Result<(), mpsc::error::SendError<Event>>;

fn look(landing: &Arc<Landing>, relative: PathBuf, hint: Hint, events: &mpsc::Sender<Event>) -> Delivered {
    let path = landing.dir.join(&relative);
    let stat = spool::look(&path).unwrap_or_default();
    if stat.is_some_and(|stat| stat.kind == Kind::Directory) {
        // Files may already lie in a directory that has just appeared.
        if landing.recursive && relative.components().count() <= MAX_DEPTH && is_swept(&relative) {
            let _ = sweep(landing, &path, relative.components().count(), hint, events); // a sweep of the landing reports it
        }
        return Ok(());
    }
    let marker_there = landing.complete == Complete::Marker
        && spool::look(&marker_path(landing, &relative)).is_ok_and(|it| it.is_some());
    events.blocking_send(Event::Looked { landing: landing.clone(), relative, hint, stat, marker_there })
}

/// Path of the marker that speaks for a file.
fn marker_path(landing: &Landing, relative: &Path) -> PathBuf {
    let name = relative.file_name().unwrap_or_default();
    let (before, after) = landing.marker.split_once("{name}").unwrap_or((&landing.marker, ""));
    let mut marker = std::ffi::OsString::from(before);
    marker.push(name);
    marker.push(after);
    landing.dir.join(relative).with_file_name(marker)
}

/// Whether a directory below a landing is looked into: hidden ones, the spool among them, never are.
fn is_swept(relative: &Path) -> bool {
    relative.components().all(|part| !part.as_os_str().as_bytes().starts_with(b"."))
}

/// Whether a file's name is included and not excluded.
pub fn is_wanted(landing: &Landing, relative: &Path) -> bool {
    let Some(name) = relative.file_name() else { return false };
    let parents_wanted = relative.parent().is_none_or(is_swept);
    let depth_wanted = landing.recursive || relative.components().count() == 1;
    let is_marker = marked_by(landing, relative).is_some();
    parents_wanted
        && depth_wanted
        && !is_marker
        && !name.as_bytes().starts_with(SPOOL.as_bytes())
        && landing.include.set.is_match(Path::new(name))
        && !landing.exclude.set.is_match(Path::new(name))
}

/// The file that a marker speaks for; `None` when the path is no marker's.
pub fn marked_by(landing: &Landing, relative: &Path) -> Option<PathBuf> {
    if landing.complete != Complete::Marker {
        return None;
    }
    let (before, after) = landing.marker.split_once("{name}").unwrap_or((&landing.marker, ""));
    let name = relative.file_name()?.as_bytes();
    let name = name.strip_prefix(before.as_bytes())?.strip_suffix(after.as_bytes())?;
    (!name.is_empty()).then(|| relative.with_file_name(OsStr::from_bytes(name)))
}

fn sweep(
    landing: &Arc<Landing>,
    dir: &Path,
    depth: usize,
    hint: Hint,
    events: &mpsc::Sender<Event>,
) -> Result<(), PathError> {
    for entry in fs::read_dir(dir).at("list", dir)? {
        let entry = entry.at("list", dir)?;
        let path = entry.path();
        let Ok(relative) = path.strip_prefix(&landing.dir) else { continue };
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir {
            if landing.recursive && depth < MAX_DEPTH && is_swept(relative) {
                sweep(landing, &path, depth + 1, hint, events)?;
            }
        } else if is_wanted(landing, relative) && look(landing, relative.to_owned(), hint, events).is_err() {
            return Ok(()); // the loop has ended
        }
    }
    Ok(())
}
