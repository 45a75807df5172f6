//! How files come to notice: what is swept, and what makes up for lost events.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{State, TimerKey};
use crate::config::Landing;
use crate::daemon::clerk::Paper;
use crate::daemon::places::{Ailment, Obstacle, Place};
use crate::daemon::porter::{Errand, Ground, Listing, is_swept};
use crate::fsutil::PathError;
use crate::intake::{self, Hint};
use crate::job::JobId;

/// Time between two lines about lost events.
const SAY_LOSS_AFTER: Duration = Duration::from_secs(60);
/// Least time between two sweeps that make up for lost events.
const RESCAN_AFTER: Duration = Duration::from_secs(1);
/// Deepest directory below a recursive landing.
const MAX_DEPTH: usize = 32;

/// Where a landing stands between its sweeps.
pub(super) enum Sweep {
    UnderWay(UnderWay),
    /// When its only timer goes off.
    Due {
        at: Duration,
        hint: Hint,
    },
}

pub(super) struct UnderWay {
    pub of: Arc<Landing>,
    pub number: u64,
    since: Duration,
    hint: Hint,
    /// Asked for meanwhile; this one may have passed by what is new.
    again: Option<Hint>,
    /// Directories that are still to be listed.
    lists: usize,
    /// Told to its listings when what is still to be found would not be taken up.
    enough: Arc<AtomicBool>,
}

impl State {
    pub(super) fn sweep_all(&mut self, hint: Hint) {
        for landing in self.landings.clone() {
            self.sweep(&landing, hint);
        }
    }

    /// Starts a sweep, or another behind the one that is under way.
    pub(super) fn sweep(&mut self, landing: &Arc<Landing>, hint: Hint) {
        let hint = match self.sweeps.get_mut(&landing.name) {
            Some(Sweep::UnderWay(under_way)) => {
                under_way.again = under_way.again.max(Some(hint));
                return;
            }
            Some(Sweep::Due { .. }) => hint,
            None => Hint::Found,
        };
        self.sweep_count += 1;
        let (of, number, since) = (landing.clone(), self.sweep_count, self.now().monotonic);
        let under_way = UnderWay { of, number, since, hint, again: None, lists: 0, enough: Arc::default() };
        self.sweeps.insert(landing.name.clone(), Sweep::UnderWay(under_way));
        self.send(Errand::Survey { landing: landing.clone() });
    }

    /// Goes back for files that there was no room to remember, once there is room for half as many.
    pub(super) fn sweep_passed_by(&mut self) {
        if self.passed_by.is_empty() || self.candidates.len() > self.max_candidates / 2 {
            return;
        }
        for name in std::mem::take(&mut self.passed_by) {
            if let Some(landing) = self.landings.iter().find(|landing| landing.name == name).cloned() {
                self.sweep(&landing, Hint::Swept);
            }
        }
    }

    /// A timer that another sweep has overtaken means nothing.
    pub(super) fn on_sweep_due(&mut self, at: Duration, name: &str) {
        let Some(Sweep::Due { at: due, hint }) = self.sweeps.get(name) else { return };
        let hint = *hint;
        if *due == at
            && let Some(landing) = self.landings.iter().find(|landing| landing.name == name).cloned()
        {
            self.sweep(&landing, hint);
        }
    }

    /// Events were lost: nothing that only a whole stream of them tells is believed any more, and sweeps go to find
    /// what they would have told.
    pub(super) fn rescan(&mut self, why: &str) {
        let now = self.now().monotonic;
        if self.watching.loss_said.is_none_or(|said| now - said >= SAY_LOSS_AFTER) {
            self.watching.loss_said = Some(now);
            tracing::warn!(code = "events_lost", "events were lost: {why}; sweeps find what they would have told");
        }
        self.candidates.values_mut().for_each(|tracked| intake::doubt(&mut tracked.candidate));
        self.sweep_all(Hint::Rescanned);
    }

    /// The sweep of a landing that is under way; `None` when a reload has replaced the landing since.
    fn under_way(&mut self, landing: &Arc<Landing>) -> Option<&mut UnderWay> {
        match self.sweeps.get_mut(&landing.name) {
            Some(Sweep::UnderWay(under_way)) if Arc::ptr_eq(&under_way.of, landing) => Some(under_way),
            _ => None,
        }
    }

    pub(super) fn sweep_since(&self, landing: &Landing) -> Option<Duration> {
        match self.sweeps.get(&landing.name) {
            Some(Sweep::UnderWay(under_way)) => Some(under_way.since),
            _ => None,
        }
    }

    /// Whether the first sweep of a landing is under way.
    pub(super) fn is_first_swept(&self, landing: &Landing) -> bool {
        matches!(self.sweeps.get(&landing.name), Some(Sweep::UnderWay(UnderWay { hint: Hint::Found, .. })))
    }

    /// A landing's porter has given a sign of life.
    pub(super) fn hear(&mut self, landing: &Landing) {
        let now = self.now().monotonic;
        match self.heard.get_mut(&landing.name) {
            Some(heard) => *heard = now,
            None => drop(self.heard.insert(landing.name.clone(), now)),
        }
    }

    pub(super) fn heard_at(&self, landing: &Landing) -> Duration {
        self.heard.get(&landing.name).copied().unwrap_or_default()
    }

    /// After a reload: what is watched, mounted and served by threads follows the landings.
    pub(super) fn follow_ground(&mut self) {
        self.stop_watching_others();
        let dirs: HashSet<PathBuf> = self.landings.iter().map(|landing| landing.dir.clone()).collect();
        self.porters.retain(|dir| dirs.contains(dir));
        for landing in self.landings.clone() {
            self.send(Errand::Reloaded { landing });
        }
    }

    pub(super) fn on_surveyed(&mut self, landing: &Arc<Landing>, ground: Result<Ground, Obstacle>) {
        let Some(under_way) = self.under_way(landing) else { return };
        match ground {
            Ok(Ground { remote, spooled }) => {
                under_way.lists = 1;
                let (hint, sweep) = (under_way.hint, under_way.number);
                self.note_kind(landing, remote);
                self.take_up_unknown(landing, spooled);
                if remote.is_none() {
                    self.watch_dir(landing, &landing.dir);
                }
                // Only now, that nothing may come in unnoticed behind the list.
                self.send_list(landing, PathBuf::new(), hint, sweep);
            }
            Err(obstacle) => {
                let number = under_way.number;
                if let Some((_, sweep)) = self.watching.failed.get_mut(&landing.dir) {
                    *sweep = number; // this one has not tried to watch it
                }
                self.sweep_failed(landing, &obstacle);
                self.end_sweep(landing);
            }
        }
    }

    fn sweep_failed(&mut self, landing: &Landing, obstacle: &Obstacle) {
        let place = Place::Landing(landing.name.clone());
        self.trouble(&place, obstacle.ailment.unwrap_or(Ailment::Failing), &obstacle.what);
    }

    /// A spool may hold what nobody is at work on: it was away for a while, or a command has put it there.
    fn take_up_unknown(&mut self, landing: &Arc<Landing>, spooled: Vec<JobId>) {
        if self.stopping.is_none() && spooled.iter().any(|job| !self.jobs.contains_key(job)) {
            self.recover_spool(landing);
        }
    }

    pub(super) fn recover_spool(&mut self, landing: &Arc<Landing>) {
        if self.recovering.insert(landing.dir.clone()) {
            let (config, in_flight) = (self.config.clone(), self.jobs.keys().copied().collect());
            self.hand(Paper::Recover { config, landing: landing.clone(), in_flight });
        }
    }

    /// A directory was listed, for a sweep or because it has appeared.
    pub(super) fn on_listed(
        &mut self,
        landing: &Arc<Landing>,
        relative: &Path,
        hint: Hint,
        sweep: u64,
        listed: Result<Listing, PathError>,
    ) {
        let Some(current) = self.current(landing).filter(|current| Arc::ptr_eq(current, landing)) else { return };
        let Listing { below, is_whole } = listed.unwrap_or_else(|error| {
            self.list_failed(&current, relative, &error);
            Listing { below: Vec::new(), is_whole: true }
        });
        if !is_whole {
            self.passed_by.insert(current.name.clone());
        }
        let mut found = 0;
        for dir in below {
            found += usize::from(self.list_dir(&current, dir, hint, sweep));
        }
        let Some(under_way) = self.under_way(landing).filter(|under_way| under_way.number == sweep) else { return };
        under_way.lists = under_way.lists + found - 1;
        if under_way.lists == 0 {
            self.end_sweep(landing);
        }
    }

    /// Watches a directory below a recursive landing, and lists it after that; not if it lies too deep.
    fn list_dir(&mut self, landing: &Arc<Landing>, relative: PathBuf, hint: Hint, sweep: u64) -> bool {
        if relative.components().count() > MAX_DEPTH {
            if self.throttle.lets_through(format!("depth {}", landing.name), self.now().monotonic) {
                let (code, landing) = ("directory_too_deep", &landing.name);
                tracing::error!(
                    code,
                    landing,
                    "directories more than {MAX_DEPTH} deep are not looked into; move them up"
                );
            }
            return false;
        }
        if !self.watching.is_remote(landing) {
            self.watch_dir(landing, &landing.dir.join(&relative));
        }
        self.send_list(landing, relative, hint, sweep);
        true
    }

    /// Ends the listings of a landing's sweep: there is neither a place in flight nor room to remember more.
    pub(super) fn end_listings(&self, landing: &Landing) {
        if let Some(Sweep::UnderWay(under_way)) = self.sweeps.get(&landing.name) {
            under_way.enough.store(true, Ordering::Relaxed);
        }
    }

    fn send_list(&mut self, landing: &Arc<Landing>, relative: PathBuf, hint: Hint, sweep: u64) {
        let enough = self.under_way(landing).filter(|it| it.number == sweep).map(|it| it.enough.clone());
        self.send(Errand::List { landing: landing.clone(), relative, hint, sweep, enough });
    }

    /// A directory has come under a name in a landing; files may lie in it already.
    pub(super) fn on_directory(&mut self, landing: &Arc<Landing>, relative: PathBuf) {
        if landing.recursive && is_swept(&relative) {
            self.list_dir(landing, relative, Hint::Rescanned, 0);
        }
    }

    fn list_failed(&mut self, landing: &Landing, relative: &Path, error: &PathError) {
        if relative.as_os_str().is_empty() {
            return self.sweep_failed(landing, &Obstacle::from(error));
        }
        // Its own matter; one that is gone was removed while the sweep was under way.
        let gone = matches!(error.source.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR));
        let now = self.now().monotonic;
        if !gone && self.throttle.lets_through(format!("list {} {relative:?}", landing.name), now) {
            let what = if self.config.vault.opaque { error.source.to_string() } else { Obstacle::from(error).what };
            tracing::error!(code = "directory_unreadable", landing = landing.name, "{what}; let veild read it");
        }
    }

    fn end_sweep(&mut self, landing: &Arc<Landing>) {
        let Some(UnderWay { again, number, enough, .. }) = self.under_way(landing) else { return };
        let (again, number, is_whole) = (*again, *number, !enough.load(Ordering::Relaxed));
        let (pause, hint) = match again {
            Some(Hint::Rescanned) => (landing.sweep.min(RESCAN_AFTER), Hint::Rescanned),
            Some(asked) => (Duration::ZERO, asked),
            None => (landing.sweep, Hint::Swept),
        };
        let at = self.now().monotonic + pause;
        self.sweeps.insert(landing.name.clone(), Sweep::Due { at, hint });
        self.remind(at, TimerKey::Sweep(landing.name.clone()));
        if self.watching.failed.get(&landing.dir).is_some_and(|(_, sweep)| *sweep < number) {
            self.watching.failed.remove(&landing.dir);
            tracing::info!(code = "watch_back", landing = landing.name, "its events come again");
        }
        if is_whole {
            self.look_for_unseen(landing, number);
        }
        if !self.places.are_known(&landing.name) {
            self.examine(landing);
        }
    }

    /// What a whole sweep has passed by is probably gone, without an event that said so.
    fn look_for_unseen(&mut self, landing: &Arc<Landing>, number: u64) {
        let there = self.candidates.iter().filter(|((name, _), _)| *name == landing.name);
        let unseen = there.filter(|(_, tracked)| tracked.swept != number && !tracked.claiming);
        for relative in unseen.map(|((_, relative), _)| relative.clone()).collect::<Vec<_>>() {
            self.send(Errand::Look { landing: landing.clone(), relative, hint: Hint::Due });
        }
    }
}
