//! The threads that touch landings: looks, sweeps, claims. They decide nothing.
//!
//! Each landing has its own: a file system that hangs holds up its own landing alone, and what is asked of one landing
//! is done in the order in which it is asked.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use tokio::sync::mpsc;

use super::event::Event;
use super::places::{Ailment, Finding, Obstacle, Place};
use crate::config::{Complete, Config, Landing};
use crate::fsutil::{self, At, PathError};
use crate::intake::{Hint, Kind, Stat};
use crate::job::JobId;
use crate::spool::{self, SPOOL, Writers};

mod names;

use names::marker_path;
pub use names::{is_swept, is_wanted, marked_by};

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
    /// See what the landing stands on, before it is swept.
    Survey {
        landing: Arc<Landing>,
    },
    /// Look at everything in one directory.
    List {
        landing: Arc<Landing>,
        relative: PathBuf,
        hint: Hint,
        /// Number of the sweep that it belongs to.
        sweep: u64,
        /// Set when what is still to be found would not be taken up.
        enough: Option<Arc<AtomicBool>>,
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
    /// Look at a claimed file that somebody had written to.
    Revisit {
        landing: Arc<Landing>,
        job: JobId,
        path: PathBuf,
    },
    /// What is mounted there now is what is meant.
    Reloaded {
        landing: Arc<Landing>,
    },
}

impl Errand {
    fn landing(&self) -> &Landing {
        match self {
            Errand::Look { landing, .. }
            | Errand::Survey { landing }
            | Errand::List { landing, .. }
            | Errand::Examine { landing, .. }
            | Errand::Claim { landing, .. }
            | Errand::Adopt { landing, .. }
            | Errand::Revisit { landing, .. }
            | Errand::Reloaded { landing } => landing,
        }
    }
}

/// What was found in a directory beside the files.
pub struct Listing {
    /// Directories that are to be listed too.
    pub below: Vec<PathBuf>,
    /// It was not cut short.
    pub is_whole: bool,
}

/// What a landing stands on.
pub struct Ground {
    /// The kind of a file system of which events do not tell everything.
    pub remote: Option<&'static str>,
    /// What its spool holds.
    pub spooled: Vec<JobId>,
}

/// The porters' threads, by directory of their landing; they end when this is dropped.
pub struct Porters {
    events: mpsc::Sender<Event>,
    inboxes: HashMap<PathBuf, Sender<Errand>>,
}

impl Porters {
    pub fn new(events: mpsc::Sender<Event>) -> Porters {
        Porters { events, inboxes: HashMap::new() }
    }

    pub fn send(&mut self, errand: Errand) {
        let dir = &errand.landing().dir;
        if !self.inboxes.contains_key(dir) {
            self.inboxes.insert(dir.clone(), start(self.events.clone(), &errand.landing().name));
        }
        let inbox = self.inboxes.get(dir).expect("started just above");
        inbox.send(errand).expect("a porter ends only after the loop");
    }

    /// Lets those go whose landings have left the configuration.
    pub fn retain(&mut self, is_landing: impl Fn(&Path) -> bool) {
        self.inboxes.retain(|dir, _| is_landing(dir));
    }
}

fn start(events: mpsc::Sender<Event>, landing: &str) -> Sender<Errand> {
    let (errands, inbox) = channel();
    let porter = Porter { events, mounted: false, claims: Vec::new() };
    let name = format!("porter-{landing}");
    std::thread::Builder::new()
        .name(name)
        .spawn(move || porter.work(&inbox))
        .expect("without a thread for a landing the daemon is of no use");
    errands
}

type Delivered = Result<(), mpsc::error::SendError<Event>>;

/// A file in the spool that nobody has been told of.
struct Claim {
    config: Arc<Config>,
    landing: Arc<Landing>,
    relative: PathBuf,
    arrived_ns: i128,
    taken: spool::Taken,
}

struct Porter {
    events: mpsc::Sender<Event>,
    /// The landing's directory was the root of a mount.
    mounted: bool,
    /// Claims that are made durable together, and said only then.
    claims: Vec<Claim>,
}

impl Porter {
    fn work(mut self, inbox: &Receiver<Errand>) {
        while let Ok(first) = inbox.recv() {
            // What has gathered is done together, so that claims of a burst become durable together.
            let (mut errands, mut next) = (0, Some(first));
            while let Some(errand) = next {
                if self.perform(errand).is_err() {
                    return; // the loop has ended
                }
                errands += 1;
                let more = self.claims.len() < MAX_CLAIMS && errands < MAX_ERRANDS;
                next = if more { inbox.try_recv().ok() } else { None };
            }
            if self.settle().is_err() {
                return;
            }
        }
    }

    fn perform(&mut self, errand: Errand) -> Delivered {
        match errand {
            Errand::Look { landing, relative, hint } => {
                // What is said of a name after its claim is about another file.
                if self.claims.iter().any(|claim| claim.relative.as_os_str() == relative.as_os_str()) {
                    self.settle()?;
                }
                self.look(&landing, relative, hint)
            }
            Errand::Survey { landing } => {
                self.settle()?; // what the spool holds is known to the loop
                let ground = self.survey(&landing);
                self.events.blocking_send(Event::Surveyed { landing, ground })
            }
            Errand::List { landing, relative, hint, sweep, enough } => {
                self.settle()?;
                let listed = self.list(&landing, &relative, hint, enough.as_deref());
                self.events.blocking_send(Event::Listed { landing, relative, hint, sweep, listed })
            }
            Errand::Adopt { config, landing, job } => self.adopt(config, landing, job),
            Errand::Examine { landing, write } => {
                let finding = self.examine(&landing, write);
                self.events.blocking_send(Event::Found(finding))
            }
            Errand::Claim { config, landing, relative, seen, arrived_ns } => {
                match spool::take(&landing.dir, &relative, &seen, Timestamp::now()) {
                    Ok(taken) => {
                        crate::faults::point("taken");
                        self.claims.push(Claim { config, landing, relative, arrived_ns, taken });
                        Ok(())
                    }
                    Err(why) => self.events.blocking_send(Event::NotClaimed { landing, relative, why }),
                }
            }
            Errand::Revisit { landing, job, path } => {
                let found = crate::fsutil::open_regular(&path)
                    .and_then(|file| Ok((spool::stamp(&file, &path)?, spool::writers(&file))));
                self.events.blocking_send(Event::Revisited { landing, job, found })
            }
            Errand::Reloaded { .. } => {
                self.mounted = false;
                Ok(())
            }
        }
    }

    /// Whether the landing is where it was. A mount point without its mount is an empty directory of another file
    /// system: what is taken there would be hidden by the next mount, and what was claimed is not there.
    fn find(&mut self, landing: &Landing) -> Result<(), Obstacle> {
        let found = statx(CWD, &landing.dir, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS);
        let found = found.at("look at", &landing.dir).map_err(|error| Obstacle::from(&error))?;
        let is_mount = found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        if self.mounted && !is_mount {
            let dir = landing.dir.display();
            return Err(Obstacle {
                what: format!("{dir} was a mount point and is none any more (if that is meant, reload)"),
                path: Some(landing.dir.clone()),
                ailment: Some(Ailment::Gone),
            });
        }
        self.mounted = is_mount;
        Ok(())
    }

    fn survey(&mut self, landing: &Landing) -> Result<Ground, Obstacle> {
        self.find(landing)?;
        let survey = || {
            restore_spool(landing)?;
            Ok(Ground { remote: fsutil::remote(&landing.dir)?, spooled: spool::spooled(&landing.dir)? })
        };
        survey().map_err(|error: PathError| Obstacle::from(&error))
    }

    /// Looks at a landing's room; with `write`, proves that its spool can be written.
    fn examine(&mut self, landing: &Landing, write: bool) -> Finding {
        let found = self.find(landing);
        let space = fsutil::space(&landing.dir);
        let tried = match (&found, write) {
            // Of one that was refused at the start nothing is prepared yet.
            (Ok(()), true) => spool::prepare(&landing.dir).and_then(|()| fsutil::try_write(&landing.dir.join(SPOOL))),
            _ => Ok(()),
        };
        let failed = tried.as_ref().err().or(space.as_ref().err()).map(Obstacle::from);
        let place = Place::Landing(landing.name.clone());
        Finding { place, space: space.ok(), written: write, obstacle: found.err().or(failed) }
    }

    fn adopt(&self, config: Arc<Config>, landing: Arc<Landing>, job: JobId) -> Delivered {
        let event = match spool::find(&landing.dir, job) {
            Ok(Some(claimed)) => {
                let (relative, arrived_ns) = (PathBuf::new(), job.claim_time().as_nanosecond());
                Event::Claimed { config, landing, relative, arrived_ns, claimed, lease_known: true }
            }
            Ok(None) => return Ok(()), // already done
            Err(error) => {
                let what = Obstacle::from(&error).what;
                tracing::error!(code = "claim_failed", %job, "{what}; the next sweep takes it up");
                return Ok(());
            }
        };
        self.events.blocking_send(event)
    }

    /// Makes the claims durable, and says so.
    fn settle(&mut self) -> Delivered {
        let claims = std::mem::take(&mut self.claims);
        let Some(first) = claims.first() else { return Ok(()) };
        let dir = first.landing.dir.clone();
        let (asked, taken): (Vec<_>, Vec<_>) = claims
            .into_iter()
            .map(|Claim { config, landing, relative, arrived_ns, taken }| {
                ((config, landing, relative, arrived_ns), taken)
            })
            .unzip();
        for ((config, landing, relative, arrived_ns), settled) in asked.into_iter().zip(spool::settle(&dir, taken)) {
            crate::faults::point("claimed");
            self.events.blocking_send(match settled {
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
        Ok(())
    }

    fn look(&self, landing: &Arc<Landing>, relative: PathBuf, hint: Hint) -> Delivered {
        let landing = landing.clone();
        let event = match spool::look(&landing.dir.join(&relative)) {
            Ok(stat) => {
                let is_file = stat.is_some_and(|stat| stat.kind == Kind::Regular);
                let marker_there = is_file
                    && landing.complete == Complete::Marker
                    && spool::look(&marker_path(&landing, &relative)).is_ok_and(|it| it.is_some());
                Event::Looked { landing, relative, hint, stat, marker_there }
            }
            Err(error) => Event::NotClaimed { landing, relative, why: error.into() },
        };
        self.events.blocking_send(event)
    }

    /// Looks at every file in a directory that is wanted, until it is enough.
    fn list(
        &self,
        landing: &Arc<Landing>,
        relative: &Path,
        hint: Hint,
        enough: Option<&AtomicBool>,
    ) -> Result<Listing, PathError> {
        let dir = landing.dir.join(relative);
        let mut below = Vec::new();
        for entry in fs::read_dir(&dir).at("list", &dir)? {
            if enough.is_some_and(|enough| enough.load(Ordering::Relaxed)) {
                return Ok(Listing { below, is_whole: false });
            }
            let entry = entry.at("list", &dir)?;
            let relative = relative.join(entry.file_name());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if landing.recursive && is_swept(&relative) {
                    below.push(relative);
                }
            } else if is_wanted(landing, &relative) && self.look(landing, relative, hint).is_err() {
                break; // the loop has ended
            }
        }
        Ok(Listing { below, is_whole: true })
    }
}

/// A landing that has vanished and come back has no spool, or somebody else's.
fn restore_spool(landing: &Landing) -> Result<(), PathError> {
    match spool::look(&landing.dir.join(SPOOL))? {
        Some(_) => spool::check_owners(&landing.dir),
        None => spool::prepare(&landing.dir),
    }
}
