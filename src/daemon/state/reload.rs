//! From SIGHUP to another configuration in force, or to a refusal that everybody can see.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::{State, Tracked};
use crate::audit::{Action, Outcome as AuditOutcome, Record};
use crate::config::Landing;
use crate::daemon::clerk::Paper;
use crate::daemon::porter::is_wanted;
use crate::daemon::reload::{self, Proposal, TakenUp};
use crate::daemon::tell_systemd;
use crate::intake::Hint;

/// At most one reload is under way; a request meanwhile starts another, for the file may have changed since it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reload {
    Idle,
    UnderWay,
    Again,
}

/// A refused configuration, remembered until another is accepted.
pub(super) struct Rejected {
    pub at: Timestamp,
    pub why: String,
}

impl State {
    pub(super) fn reload(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        if self.reload != Reload::Idle {
            self.reload = Reload::Again;
            return;
        }
        // Type=notify-reload insists on the time; older ones ignore it.
        let time = sd_notify::NotifyState::monotonic_usec_now().into_iter();
        tell_systemd(&[sd_notify::NotifyState::Reloading].into_iter().chain(time).collect::<Vec<_>>());
        self.reload = Reload::UnderWay;
        if let Err(error) = reload::start(self.config.clone(), self.events.clone()) {
            self.reject_config(&error.to_string());
        }
    }

    pub(super) fn on_read(&mut self, read: Result<Box<Proposal>, String>) {
        match read {
            Ok(proposal) => {
                let in_flight: HashSet<_> = self.jobs.keys().copied().collect();
                self.hand(Paper::TakeUp { proposal, in_flight });
            }
            Err(why) => self.reject_config(&why),
        }
    }

    pub(super) fn on_taken_up(&mut self, taken_up: Result<(Box<Proposal>, TakenUp), String>) {
        match taken_up {
            Ok((proposal, taken_up)) => self.accept_config(*proposal, taken_up),
            Err(why) => self.reject_config(&why),
        }
    }

    /// From here on nothing can fail: the whole configuration is in force, or none of it.
    fn accept_config(&mut self, proposal: Proposal, taken_up: TakenUp) {
        let changes = reload::changes(&self.config, &proposal.config);
        let record = Record::new(Timestamp::now(), Action::ConfigLoaded, AuditOutcome::Success)
            .veild("config", json!({"path": proposal.config.path, "sha256": proposal.config.sha256}))
            .veild("before", json!(self.config.sha256))
            .veild("landings", changes.clone())
            .veild("groups", reload::changed_groups(&self.config, &proposal.config));
        tracing::info!(
            code = "config_loaded",
            sha256 = proposal.config.sha256,
            landings = %changes,
            in_flight = self.jobs.len(),
            taken_up = taken_up.jobs.len(),
            completed = taken_up.completed,
            "configuration reloaded; files in flight finish under the one they started with"
        );
        self.hand(Paper::Audit(Box::new(record)));
        self.config = proposal.config;
        self.passphrases.renew(proposal.passphrases);
        self.follow_moved(taken_up.in_flight);
        self.replace_landings(proposal.landings);
        self.examine_groups();
        self.let_go_of_held(); // some may have other readers now
        taken_up.jobs.into_iter().for_each(|(job, attempts)| self.admit(job, attempts));
        self.rejected = None;
        self.end_reload();
    }

    /// All or nothing: the old configuration stays in force.
    fn reject_config(&mut self, why: &str) {
        tracing::error!(code = "config_rejected", "{why}; the old configuration stays in force");
        let record = Record::new(Timestamp::now(), Action::ConfigRejected, AuditOutcome::Failure)
            .field("error", json!({"message": why}))
            .veild("config", json!({"path": self.config.path, "sha256": self.config.sha256}));
        self.hand(Paper::Audit(Box::new(record)));
        self.rejected = Some(Rejected { at: Timestamp::now(), why: why.to_owned() });
        self.end_reload();
    }

    fn end_reload(&mut self) {
        let again = self.reload == Reload::Again;
        self.reload = Reload::Idle;
        tell_systemd(&[sd_notify::NotifyState::Ready]);
        self.tell_status();
        if again {
            self.reload();
        }
    }

    /// A landing's directory may have been moved with its spool in it: the files in flight lie elsewhere now.
    fn follow_moved(&mut self, spooled: Vec<(crate::spool::Claimed, Arc<Landing>)>) {
        for (claimed, landing) in spooled {
            let Some(running) = self.jobs.get_mut(&claimed.job) else { continue };
            let rules = Landing { dir: landing.dir.clone(), ..(*running.job.landing).clone() };
            running.job.landing = Arc::new(rules);
            running.job.claimed.path = claimed.path;
        }
    }

    /// What was known of a directory goes on, under whatever name and rules it has now.
    fn replace_landings(&mut self, landings: Vec<Arc<Landing>>) {
        let before = std::mem::replace(&mut self.landings, landings);
        let mut paused = std::mem::take(&mut self.paused);
        for old in before {
            if let (Some(why), Some(now)) = (paused.remove(&old.name), self.current(&old)) {
                self.paused.insert(now.name.clone(), why);
            }
        }
        for ((_, relative), tracked) in std::mem::take(&mut self.candidates) {
            let Some(landing) = self.current(&tracked.landing) else { continue };
            if tracked.claiming || is_wanted(&landing, &relative) {
                let key = (landing.name.clone(), relative);
                self.candidates.insert(key, Tracked { landing, deferred: None, due: None, ..tracked });
            }
        }
        self.places.follow(&self.config);
        self.pause_and_resume();
        // The sweep looks at every candidate again, under the new rules.
        self.deferred.clear();
        self.sweeps.clear();
        self.follow_ground();
        self.sweep_all(Hint::Swept);
        self.examining.clear();
        self.examine_places();
    }

    /// The landing that has this one's directory today, if any.
    pub(super) fn current(&self, landing: &Landing) -> Option<Arc<Landing>> {
        self.landings.iter().find(|it| it.dir == landing.dir).cloned()
    }
}
