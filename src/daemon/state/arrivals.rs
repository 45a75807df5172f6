//! From hints to claims.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::jobs::SOLITARY_FROM;
use super::{Key, MAX_RETRY_AFTER, MAX_SAID, RETRY_AFTER, Running, State, Sweep, TimerKey, Tracked};
use crate::config::{Complete, Landing};
use crate::daemon::clerk::Job;
use crate::daemon::places::Obstacle;
use crate::daemon::porter::{Errand, is_wanted, marked_by};
use crate::fsutil::PathError;
use crate::intake::{self, Candidate, Decision, Hint, Kind, Now, Rules, Stat};
use crate::job::JobId;
use crate::ledger::Attempts;
use crate::pipeline::Fault;
use crate::spool::NotClaimed;

/// What a porter has seen under a name.
pub(super) struct Look {
    pub hint: Hint,
    pub stat: Option<Stat>,
    pub marker_there: bool,
}

impl State {
    pub(super) fn on_hint(&mut self, path: &Path, hint: Hint) {
        let Some((landing, relative)) = self.landing_of(path) else { return };
        // Elsewhere an open means nothing: its close will come.
        if relative.as_os_str().is_empty() || (hint == Hint::Opened && landing.complete != Complete::Rename) {
            return;
        }
        if let Some(marked) = marked_by(&landing, &relative) {
            // The file itself is as quiet as before.
            self.send(Errand::Look { landing, relative: marked, hint: Hint::Due });
        } else if is_wanted(&landing, &relative) || landing.recursive {
            self.send(Errand::Look { landing, relative, hint });
        }
    }

    pub(super) fn on_gone(&mut self, path: &Path) {
        let Some((landing, relative)) = self.landing_of(path) else { return };
        if relative.as_os_str().is_empty() {
            return self.sweep(&landing, Hint::Rescanned); // says so, and looks out for its return
        }
        let key = (landing.name.clone(), relative);
        if self.candidates.get(&key).is_some_and(|tracked| !tracked.claiming) {
            self.send(Errand::Look { landing, relative: key.1, hint: Hint::Due });
        }
    }

    fn landing_of(&self, path: &Path) -> Option<(Arc<Landing>, PathBuf)> {
        // A landing may lie in one that is not recursive: the innermost is meant.
        let around = self.landings.iter().filter(|landing| path.starts_with(&landing.dir));
        let landing = around.max_by_key(|landing| landing.dir.components().count())?;
        let relative = path.strip_prefix(&landing.dir).ok()?;
        (!relative.starts_with(crate::spool::SPOOL)).then(|| (landing.clone(), relative.to_owned()))
    }

    pub(super) fn on_looked(&mut self, of: &Landing, relative: PathBuf, look: Look) {
        let Some(landing) = self.current(of) else { return self.no_longer_pending(of, &relative) };
        let key = (landing.name.clone(), relative);
        let claiming = self.candidates.get(&key).is_some_and(|tracked| tracked.claiming);
        let was_pending = self.is_pending(of, &key.1);
        if !claiming {
            self.no_longer_pending(of, &key.1);
        }
        let Some(stat) = look.stat else { return self.drop_candidate(&key) };
        if stat.kind != Kind::Regular {
            self.drop_candidate(&key);
            return self.on_irregular(&landing, key, stat.kind);
        }
        if self.stopping.is_some() || claiming || !is_wanted(&landing, &key.1) {
            return;
        }
        let sweep = match self.sweeps.get(&landing.name) {
            Some(Sweep::UnderWay(it)) if matches!(look.hint, Hint::Found | Hint::Rescanned | Hint::Swept) => {
                Some(it.number)
            }
            _ => None,
        };
        if let Some(tracked) = self.candidates.get_mut(&key) {
            tracked.swept = sweep.unwrap_or(tracked.swept);
            if tracked.deferred.is_some() && look.hint != Hint::Due {
                return; // its turn comes
            }
        }
        self.consider(landing, key, (look, stat), sweep, was_pending);
    }

    /// Decides what becomes of a file, as it was just seen.
    fn consider(
        &mut self,
        landing: Arc<Landing>,
        key: Key,
        (look, stat): (Look, Stat),
        sweep: Option<u64>,
        was_pending: bool,
    ) {
        let now = self.now();
        let known = self.candidates.get(&key);
        let crowded = known.is_none() && self.candidates.len() >= self.max_candidates;
        // When it was first seen is not remembered of one that there is no room for: its last change has to tell.
        let hint = if crowded { Hint::Found } else { look.hint };
        let candidate = intake::observe(known.map(|tracked| tracked.candidate), now, hint, stat);
        let (due, waits) = known.map_or((None, None), |tracked| (tracked.due, tracked.deferred));
        let swept = sweep.or(known.map(|tracked| tracked.swept)).unwrap_or(0);
        let is_new = known.is_none();
        let polled = self.watching.is_remote(&landing);
        let rules = Rules { complete: landing.complete, quiet: landing.quiet, sweep: landing.sweep, polled };
        let decision = intake::decide(&candidate, now, rules, look.marker_there);
        // Who was asked for has its place; others do not get in before those that wait.
        let has_place = was_pending
            || (self.in_flight(&landing) < self.max_jobs && (waits.is_some() || !self.deferred.has_of(&landing.name)));
        let claiming = decision == Decision::Claim && has_place && self.may_claim(&landing);
        if crowded && !claiming {
            self.passed_by.insert(landing.name.clone());
            if decision == Decision::Claim && sweep.is_some() {
                self.end_listings(&landing);
            }
            return;
        }
        if is_new {
            self.count("arrived");
        }
        self.warn_of_links(&landing, &key, &candidate, now);
        let deferred = if decision == Decision::Claim && !claiming {
            waits.or_else(|| Some(self.deferred.push(&key)))
        } else {
            waits.into_iter().for_each(|place| self.deferred.remove(&key.0, place));
            None
        };
        let tracked = Tracked { candidate, landing: landing.clone(), claiming, deferred, due, swept };
        self.candidates.insert(key.clone(), tracked);
        match decision {
            Decision::Claim if claiming => {
                self.pending.entry(key.0).or_default().insert(key.1.clone());
                let (config, relative) = (self.config.clone(), key.1);
                self.send(Errand::Claim { config, landing, relative, seen: stat, arrived_ns: candidate.arrived_ns });
            }
            Decision::Wait { until } => self.wake(until, key),
            Decision::Claim | Decision::Idle => {}
        }
    }

    fn on_irregular(&mut self, landing: &Arc<Landing>, key: Key, kind: Kind) {
        if kind == Kind::Directory {
            return self.on_directory(landing, key.1);
        }
        if self.said.len() < MAX_SAID && self.said.insert(format!("irregular {key:?}")) {
            tracing::warn!(
                code = "file_irregular",
                landing = landing.name,
                file = self.name_for_logs(&key.1),
                "a link, FIFO, socket or device is left alone; remove it"
            );
        }
    }

    fn is_pending(&self, of: &Landing, relative: &Path) -> bool {
        self.pending.get(&of.name).is_some_and(|pending| pending.contains(relative))
    }

    /// A porter has done with a file what it was asked for.
    pub(super) fn no_longer_pending(&mut self, of: &Landing, relative: &Path) {
        let Some(pending) = self.pending.get_mut(&of.name) else { return };
        pending.remove(relative);
        if pending.is_empty() {
            self.pending.remove(&of.name);
        }
    }

    /// Forgets a file that is not there any more, or is a job now.
    pub(super) fn drop_candidate(&mut self, key: &Key) {
        let place = self.candidates.remove(key).and_then(|tracked| tracked.deferred);
        place.into_iter().for_each(|place| self.deferred.remove(&key.0, place));
    }

    /// Where a file lies below its landing, unless names are kept out of logs.
    fn name_for_logs(&self, relative: &Path) -> Option<String> {
        (!self.config.vault.opaque).then(|| relative.display().to_string())
    }

    /// A rename by link and unlink has two names for a moment; one that lasts is somebody's way back into the file.
    fn warn_of_links(&mut self, landing: &Landing, key: &Key, candidate: &Candidate, now: Now) {
        let lasting =
            candidate.linked_since.is_some_and(|since| now.monotonic.saturating_sub(since) >= intake::LINKS_MAY_LAST);
        if lasting && self.said.len() < MAX_SAID && self.said.insert(format!("links {key:?}")) {
            tracing::warn!(
                code = "file_hardlinked",
                landing = landing.name,
                file = self.name_for_logs(&key.1),
                "a file with a second name (hard link) is left alone; remove the other name"
            );
        }
    }

    /// Looks at a candidate again at `at`, or earlier. Each has one timer at most, however many events it has: what the
    /// timer finds unfinished is given another.
    fn wake(&mut self, at: Duration, key: Key) {
        let Some(tracked) = self.candidates.get_mut(&key) else { return };
        if tracked.due.is_none_or(|due| due > at) {
            tracked.due = Some(at);
            self.remind(at, TimerKey::Candidate(key));
        }
    }

    pub(super) fn on_candidate_due(&mut self, at: Duration, key: Key) {
        let Some(tracked) = self.candidates.get_mut(&key).filter(|tracked| tracked.due == Some(at)) else { return };
        tracked.due = None;
        if tracked.deferred.is_some() {
            return; // its turn comes
        }
        let landing = tracked.landing.clone();
        self.send(Errand::Look { landing, relative: key.1, hint: Hint::Due });
    }

    pub(super) fn on_not_claimed(&mut self, landing: &Landing, relative: PathBuf, why: &NotClaimed) {
        self.no_longer_pending(landing, &relative);
        let Some(landing) = self.current(landing) else { return };
        let key = (landing.name.clone(), relative);
        let now = self.now().monotonic;
        if let Some(tracked) = self.candidates.get_mut(&key) {
            tracked.claiming = false;
            if matches!(why, NotClaimed::OpenWriter) {
                tracked.candidate.quiet_since = now; // its close restarts `quiet`
            }
        }
        let NotClaimed::Io(error) = why else {
            return self.wake(now + landing.quiet.max(Duration::from_millis(500)), key);
        };
        let obstacle = Obstacle::from(error);
        if let Some((place, ailment)) = self.place_of(&obstacle) {
            self.trouble(&place, ailment, &obstacle.what);
            if let Some(tracked) = self.candidates.get_mut(&key) {
                tracked.deferred.get_or_insert_with(|| self.deferred.push(&key));
            }
            return;
        }
        // That one file's matter; the older it is, the less often it is tried.
        let of = format!("claim {} {:?}", landing.name, error.source.raw_os_error());
        if self.throttle.lets_through(of, now) {
            let what = if self.config.vault.opaque { error.source.to_string() } else { obstacle.what };
            let advice = claim_advice(error);
            tracing::error!(
                code = "claim_failed",
                landing = landing.name,
                "{what}; {advice}; then it is taken by itself"
            );
        }
        let age = self.candidates.get(&key).map_or(Duration::ZERO, |it| self.age(&it.candidate));
        self.wake(now + (age / 2).clamp(RETRY_AFTER, MAX_RETRY_AFTER), key);
    }

    fn age(&self, candidate: &Candidate) -> Duration {
        let age_ns = self.now().wall_ns - candidate.arrived_ns;
        Duration::from_nanos(u64::try_from(age_ns).unwrap_or(0))
    }

    pub(super) fn admit(&mut self, job: Job, attempts: Attempts) {
        let id = job.id();
        if self.jobs.contains_key(&id) {
            return; // a claim and a reload found it in the spool of a landing that is back
        }
        self.jobs.insert(id, Running::new(job, attempts));
        if attempts.interrupted >= SOLITARY_FROM {
            self.alert_of_interruptions(id, attempts.interrupted);
        }
        self.judge_size(id);
    }

    /// Makes a claimed file ready, unless it is too large.
    pub(super) fn judge_size(&mut self, id: JobId) {
        let Some(Running { job, .. }) = self.jobs.get(&id) else { return };
        if job.claimed.stamp.bytes > job.landing.max_size {
            self.reject(id, file_too_large());
        } else {
            self.ready.push_back(id);
        }
    }
}

/// What an operator does about a file that cannot be claimed.
fn claim_advice(error: &PathError) -> &'static str {
    match (error.doing, error.source.raw_os_error()) {
        ("open", Some(libc::EACCES | libc::EPERM)) => {
            "let veild read it: CAP_DAC_READ_SEARCH for the service, or a default ACL on the landing"
        }
        (_, Some(libc::EACCES)) => "let veild write to its directory: by group, or by a default ACL on the landing",
        (_, Some(libc::EPERM)) => {
            "a sticky directory must be veild's own (`chown`, or `chmod -t` it), an immutable file needs `chattr -i`"
        }
        (_, Some(libc::EXDEV)) => "make its directory, which is a file system of its own, a landing of its own",
        _ => "mend that",
    }
}

fn file_too_large() -> Fault {
    Fault {
        code: "file_too_large".to_owned(),
        sentence: "the file is larger than the landing's max_size".to_owned(),
        row: None,
        column: None,
        byte_offset: None,
        advice: "raise max_size and retry the job, or ask the sender to split the file".to_owned(),
    }
}
