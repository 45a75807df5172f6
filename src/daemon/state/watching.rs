//! What is watched: the landings' directories where events of the kernel tell of them, and which are swept only.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::State;
use crate::config::{Complete, Landing};
use crate::daemon::event::Event;
use crate::fsutil;
use crate::watch::{self, Watch};

/// The watcher and what it watches.
#[derive(Default)]
pub(super) struct Watching {
    pub watch: Option<Watch>,
    pub dirs: HashSet<PathBuf>,
    /// Landings of which something is not watched, by directory: why, and how many sweeps there had been.
    pub failed: BTreeMap<PathBuf, (String, u64)>,
    /// Landings that are swept only, by directory, and the kind of their file system.
    pub remote: HashMap<PathBuf, &'static str>,
    /// When it was last said that events were lost.
    pub loss_said: Option<Duration>,
}

impl Watching {
    pub fn is_remote(&self, landing: &Landing) -> bool {
        self.remote.contains_key(&landing.dir)
    }

    /// Whether and how a landing's files come to notice, for `veild status`.
    pub fn report(&self, landing: &Landing) -> String {
        match (self.remote.get(&landing.dir), self.failed.get(&landing.dir)) {
            (Some(kind), _) => format!("sweeps ({kind})"),
            (None, Some((why, _))) => format!("sweeps ({why})"),
            (None, None) => "events and sweeps".to_owned(),
        }
    }
}

impl State {
    /// Starts a watcher, in the place of one that has ended, for all landings that are known to be well and local.
    pub(super) fn start_watching(&mut self) {
        self.watching.watch = None;
        self.watching.dirs.clear();
        for landing in self.landings.clone() {
            let is_well = !self.unrecovered.contains(&landing.dir);
            // Anything else is found out by the survey before its first sweep.
            if is_well && matches!(fsutil::remote(&landing.dir), Ok(None)) {
                self.watch_dir(&landing, &landing.dir);
            }
        }
    }

    /// Watches a directory of a landing. Asked for at each sweep: another directory may stand there now, and an
    /// unmount ends a watch without a word.
    pub(super) fn watch_dir(&mut self, landing: &Landing, dir: &Path) {
        let watched = match &mut self.watching.watch {
            Some(watch) => watch.add(dir),
            None => self.new_watch().and_then(|mut watch| {
                let watched = watch.add(dir);
                self.watching.watch = Some(watch);
                watched
            }),
        };
        match watched {
            Ok(()) => drop(self.watching.dirs.insert(dir.to_owned())),
            Err(error) => {
                let why = watch::explain(&error);
                let failed = (why.clone(), self.sweep_count);
                if self.watching.failed.insert(landing.dir.clone(), failed).is_none() {
                    let (every, landing) = (landing.sweep, &landing.name);
                    tracing::warn!(
                        code = "watch_failed",
                        landing,
                        "no events of {}: {why}; its files are found by sweeps alone, every {every:?}",
                        fsutil::printable_path(dir)
                    );
                }
            }
        }
    }

    fn new_watch(&self) -> notify::Result<Watch> {
        let (events, lost) = (self.events.clone(), self.lost_events.clone());
        // Never block here: the loop waits for this thread while it adds watches.
        Watch::start(move |noticed| {
            if events.try_send(Event::Noticed(noticed)).is_err() {
                lost.store(true, Ordering::Relaxed);
            }
        })
    }

    /// Stops watching what belongs to no landing any more, or to one that is only swept.
    pub(super) fn stop_watching_others(&mut self) {
        let landings = &self.landings;
        let keeps = |dir: &Path| landings.iter().any(|landing| dir.starts_with(&landing.dir));
        self.watching.remote.retain(|dir, _| keeps(dir));
        self.watching.failed.retain(|dir, _| keeps(dir));
        let Watching { watch, dirs, remote, .. } = &mut self.watching;
        dirs.retain(|dir| {
            let kept = keeps(dir) && !remote.keys().any(|landing| dir.starts_with(landing));
            if let (false, Some(watch)) = (kept, watch.as_mut()) {
                watch.remove(dir);
            }
            kept
        });
    }

    /// Follows a landing to a file system of another kind.
    pub(super) fn note_kind(&mut self, landing: &Landing, remote: Option<&'static str>) {
        let before = match remote {
            Some(kind) => self.watching.remote.insert(landing.dir.clone(), kind),
            None => self.watching.remote.remove(&landing.dir),
        };
        let Some(kind) = remote.filter(|_| before != remote) else { return };
        self.stop_watching_others();
        let (every, name) = (landing.sweep, &landing.name);
        if landing.complete == Complete::Close {
            tracing::warn!(
                code = "landing_polled",
                landing = name,
                "on {kind} a close by another host is not seen: files are taken when two sweeps, every {every:?}, find \
                 them unchanged; set complete = \"stable\", \"rename\" or \"marker\""
            );
        } else {
            tracing::info!(code = "landing_polled", landing = name, "on {kind}: swept every {every:?}");
        }
    }
}
