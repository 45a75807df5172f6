//! Disks that are full, read-only, failing or gone: what pauses for them, who is told, and how work goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::{MAX_RETRY_AFTER, RETRY_AFTER, Running, State, TimerKey};
use crate::audit::{Action, Outcome, Record};
use crate::config::Landing;
use crate::daemon::clerk::Paper;
use crate::daemon::places::{Ailment, Change, Finding, Obstacle, Place};
use crate::daemon::porter::Errand;
use crate::daemon::reload::TakenUp;
use crate::intake::Hint;
use crate::job::JobId;

/// A landing's file system that gives no sign for this long is in trouble.
const SILENT_AFTER: Duration = Duration::from_secs(20);

impl State {
    /// Looks at every place, and tries to write where that has failed.
    pub(super) fn examine_places(&mut self) {
        let mut probe = vec![Place::Audit, Place::State, Place::Vault];
        probe.retain(|place| self.places.is_unwritable(place));
        self.hand(Paper::Tick { probe });
        for landing in self.landings.clone() {
            self.examine(&landing);
        }
    }

    /// Looks at a landing's room; behind its first sweep, because what waits there is part of what its room means.
    pub(super) fn examine(&mut self, landing: &Arc<Landing>) {
        let now = self.now().monotonic;
        let silent_since = self.asked_at(landing).map(|asked| asked.max(self.heard_at(landing)));
        if silent_since.is_some_and(|since| now.saturating_sub(since) >= SILENT_AFTER) {
            let what = format!("{} has not answered for {SILENT_AFTER:?}", landing.dir.display());
            self.trouble(&Place::Landing(landing.name.clone()), Ailment::Silent, &what);
        }
        // One look at a time: a file system that hangs must not gather errands.
        if !self.is_first_swept(landing) && !self.examining.contains_key(&landing.name) {
            self.examining.insert(landing.name.clone(), now);
            let write = self.places.is_unwritable(&Place::Landing(landing.name.clone()));
            self.send(Errand::Examine { landing: landing.clone(), write });
        }
    }

    /// Since when an answer about a landing is awaited.
    fn asked_at(&self, landing: &Landing) -> Option<Duration> {
        let sweep = self.sweep_since(landing);
        let examining = self.examining.get(&landing.name).copied();
        sweep.into_iter().chain(examining).min()
    }

    pub(super) fn on_found(&mut self, finding: &Finding) {
        let mut waiting = 0;
        if let Place::Landing(name) = &finding.place {
            self.examining.remove(name);
            if !self.places.own_are_known() && finding.obstacle.is_none() {
                self.unjudged = true;
                return;
            }
            let there = self.candidates.iter().filter(|((landing, _), _)| landing == name);
            let claimed = self.jobs.values().filter(|running| running.job.landing.name == *name);
            waiting = there.map(|(_, tracked)| tracked.candidate.stat.bytes).sum::<u64>()
                + claimed.map(|running| running.job.claimed.stamp.bytes).sum::<u64>();
        }
        let change = self.places.found(finding, waiting, self.now().monotonic, Timestamp::now());
        self.follow(&finding.place, change);
        if self.unjudged && self.places.own_are_known() {
            self.unjudged = false;
            self.examine_places();
        }
    }

    /// Notes that something could not be done in a place.
    pub(super) fn trouble(&mut self, place: &Place, ailment: Ailment, what: &str) {
        let change = self.places.failed(place, ailment, what, self.now().monotonic, Timestamp::now());
        self.follow(place, change);
    }

    /// The place that an obstacle says something about, with what it says.
    pub(super) fn place_of(&self, obstacle: &Obstacle) -> Option<(Place, Ailment)> {
        Place::of(obstacle.path.as_deref()?, &self.config).zip(obstacle.ailment)
    }

    pub(super) fn on_obstacle(&mut self, obstacle: &Obstacle) {
        match self.place_of(obstacle) {
            Some((place, ailment)) => self.trouble(&place, ailment, &obstacle.what),
            None if self.throttle.lets_through(obstacle.what.clone(), self.now().monotonic) => {
                tracing::error!(code = "commit_failed", "{}; nothing is lost, it is tried again", obstacle.what);
            }
            None => {}
        }
    }

    /// What a worker could not do. It writes to the vault; errors that reading can have as well say nothing about it,
    /// and are looked into.
    pub(super) fn worker_obstacle(&self, what: &str, errno: Option<i32>) -> Obstacle {
        let ailment = errno.and_then(|errno| Ailment::of(&std::io::Error::from_raw_os_error(errno)));
        if let Some(ailment @ (Ailment::Full | Ailment::ReadOnly)) = ailment {
            let path = Some(crate::vault::incoming(&self.config.vault.dir));
            return Obstacle { what: what.to_owned(), path, ailment: Some(ailment) };
        }
        self.hand(Paper::Tick { probe: vec![Place::Vault] });
        Obstacle::other(what)
    }

    /// A job could not be brought on, for reasons outside its file: it waits until the place is well again, or for an
    /// ever longer pause.
    pub(super) fn set_back(&mut self, id: JobId, obstacle: &Obstacle) {
        let Some(running) = self.jobs.get_mut(&id) else { return };
        running.setbacks += 1;
        let (setbacks, landing) = (running.setbacks, running.job.landing.name.clone());
        self.hand(Paper::AttemptPutOff { job: id });
        let Some(running) = self.jobs.get(&id) else { return };
        let of_its_source = obstacle.path.as_ref() == Some(&running.job.claimed.path);
        if of_its_source && obstacle.ailment == Some(Ailment::Gone) && setbacks > 2 && !self.places.blocks(&landing) {
            return self.give_up(id);
        }
        if !of_its_source && let Some((place, ailment)) = self.place_of(obstacle) {
            self.trouble(&place, ailment, &obstacle.what);
            if self.places.blocks(&landing) {
                self.held.insert(id);
                return;
            }
        }
        let now = self.now().monotonic;
        let what = match of_its_source && self.config.vault.opaque {
            true => "a claimed file cannot be read", // its path has its name
            false => obstacle.what.as_str(),
        };
        if self.throttle.lets_through(format!("{landing} {what}"), now) {
            tracing::error!(code = "commit_failed", job = %id, landing, "{what}; nothing is lost, it is tried again");
        }
        self.remind(now + pause_after(setbacks), TimerKey::Retry(id));
    }

    /// The spool holds the job's source no more; should it be found there again, it is taken up again.
    fn give_up(&mut self, id: JobId) {
        let Some(running) = self.forget(id) else { return };
        let landing = running.job.landing;
        self.unrecovered.insert(landing.dir.clone());
        tracing::error!(
            code = "source_gone",
            job = %id,
            landing = landing.name,
            "a claimed file has left the spool: if its file system was unmounted, it is taken up when that is back; else find out who removed it, and ask its sender for it again"
        );
        let record = alert(Action::AlertRaised, Outcome::Failure, "source_gone")
            .veild("job", json!(id))
            .veild("landing", json!(landing.name));
        self.hand(Paper::Audit(Box::new(record)));
    }

    /// Says and records what has changed, pauses and resumes landings, lets go of what was held.
    fn follow(&mut self, place: &Place, change: Change) {
        let mut cleared = None;
        match change {
            Change::Nothing => return,
            Change::Raised | Change::Lasts => {
                let Some(trouble) = self.places.trouble(place) else { return };
                let (code, what) = (trouble.code, trouble.what.clone());
                tracing::error!(code, place = %place, since = %trouble.since, "{what}");
                if change == Change::Lasts {
                    return;
                }
                let record = alert(Action::AlertRaised, Outcome::Failure, code)
                    .veild("place", json!(place.to_string()))
                    .field("message", what);
                self.hand(Paper::Audit(Box::new(record)));
            }
            Change::Cleared(ailment) => {
                cleared = Some(ailment);
                let code = ailment.code(Some(place));
                tracing::info!(code = "disk_back", place = %place, was = code, "all is well here again");
                let record =
                    alert(Action::AlertCleared, Outcome::Success, code).veild("place", json!(place.to_string()));
                self.hand(Paper::Audit(Box::new(record)));
            }
        }
        self.pause_and_resume();
        if let Some(ailment) = cleared {
            self.on_cleared(place, ailment);
        }
    }

    fn on_cleared(&mut self, place: &Place, ailment: Ailment) {
        if let Place::Landing(name) = place
            && let Some(landing) = self.landings.iter().find(|landing| landing.name == *name).cloned()
        {
            let was_away = !matches!(ailment, Ailment::Low | Ailment::Full);
            if was_away {
                self.sweep(&landing, Hint::Rescanned); // watches it again, too
            }
            // The source of a file that was committed meanwhile may still lie in a spool that was away.
            if self.unrecovered.remove(&landing.dir) || was_away {
                self.recover_spool(&landing);
            }
        }
        self.let_go_of_held();
    }

    /// Takes up again what was put aside, as far as its places can be written.
    pub(super) fn let_go_of_held(&mut self) {
        let now = self.now().monotonic;
        for id in std::mem::take(&mut self.held) {
            match self.jobs.get(&id) {
                Some(running) if self.places.blocks(&running.job.landing.name) => {
                    self.held.insert(id);
                }
                // One that fails again and again must not go first each time.
                Some(Running { setbacks: 2.., .. }) => {
                    let setbacks = self.jobs[&id].setbacks;
                    self.remind(now + pause_after(setbacks), TimerKey::Retry(id));
                }
                Some(_) => self.take_up(id),
                None => {}
            }
        }
    }

    /// Whether files of a landing may be claimed: nothing pauses it, everything that might has been looked at, and there
    /// is somebody to seal them to.
    pub(super) fn may_claim(&self, landing: &Landing) -> bool {
        !self.paused.contains_key(&landing.name)
            && self.places.are_known(&landing.name)
            && self.config.group_fault(landing, Timestamp::now()).is_none()
    }

    /// Brings what is paused in line with the troubles of places and of groups of recipients.
    pub(super) fn pause_and_resume(&mut self) {
        let before = std::mem::take(&mut self.paused);
        let mut paused = BTreeMap::new();
        for landing in self.landings.clone() {
            let name = &landing.name;
            let of_place =
                self.places.pauses(name).map(|(place, trouble)| (trouble.code, place.to_string(), &trouble.what));
            let of_place = of_place.map(|(code, place, what)| (code, format!("{place}: {what}"), place));
            let of_group = || {
                let fault = self.config.group_fault(&landing, Timestamp::now())?;
                Some((fault.code(), fault.to_string(), "recipients".to_owned()))
            };
            match (of_place.or_else(of_group), before.contains_key(name)) {
                (Some((code, why, place)), was_paused) => {
                    if !was_paused {
                        tracing::warn!(code = "landing_paused", landing = name, place, reason = code, "intake paused");
                        self.record_pause(Action::LandingPaused, &landing, Some(code));
                    }
                    paused.insert(name.clone(), why);
                }
                (None, true) => {
                    tracing::info!(code = "landing_back", landing = name, "intake resumed");
                    self.record_pause(Action::LandingResumed, &landing, None);
                }
                (None, false) => {}
            }
        }
        self.paused = paused;
    }

    fn record_pause(&self, action: Action, landing: &Landing, code: Option<&str>) {
        let outcome = if code.is_some() { Outcome::Failure } else { Outcome::Success };
        let record = Record::new(Timestamp::now(), action, outcome).veild("landing", json!(landing.name));
        let record = match code {
            Some(code) => record.veild("code", json!(code)),
            None => record,
        };
        self.hand(Paper::Audit(Box::new(record)));
    }

    /// Says, once, why the vault could not be pruned.
    pub(super) fn on_kept(&mut self, kept: Result<u64, String>) {
        if let Some(what) = self.keeper.done(kept) {
            tracing::error!(code = "vault_upkeep_failed", "{what}");
            let record = alert(Action::AlertRaised, Outcome::Failure, "vault_upkeep_failed");
            self.hand(Paper::Audit(Box::new(record.field("error.message", what))));
        }
    }

    /// Takes up what a spool held that could not be read before.
    pub(super) fn on_recovered(&mut self, landing: &Landing, taken_up: Result<TakenUp, Obstacle>) {
        self.recovering.remove(&landing.dir);
        match taken_up {
            Err(obstacle) => {
                let place = Place::Landing(landing.name.clone());
                self.unrecovered.insert(landing.dir.clone());
                self.trouble(&place, obstacle.ailment.unwrap_or(Ailment::Failing), &obstacle.what);
            }
            Ok(TakenUp { jobs, completed, .. }) => {
                let resumed = jobs.len();
                if completed > 0 || resumed > 0 {
                    tracing::info!(code = "daemon_recovered", landing = landing.name, completed, resumed, "spool read");
                }
                for (job, attempts) in jobs {
                    self.adopted.insert(job.id());
                    self.admit(job, attempts);
                }
            }
        }
    }
}

/// A record about an alert with a code.
pub(super) fn alert(action: Action, outcome: Outcome, code: &str) -> Record {
    Record::new(Timestamp::now(), action, outcome).veild("code", json!(code))
}

fn pause_after(setbacks: u32) -> Duration {
    (RETRY_AFTER * (1 << setbacks.saturating_sub(1).min(10))).min(MAX_RETRY_AFTER)
}
