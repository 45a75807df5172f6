//! Groups of recipients that are empty or have expired: what waits for them, who is told, and how work goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::State;
use super::health::alert;
use crate::audit::{Action, Outcome};
use crate::config::{Config, GroupFault, Landing};
use crate::daemon::clerk::Paper;
use crate::daemon::places::SAY_AGAIN_AFTER;
use crate::job::JobId;

/// A group with a fault that some landing depends on.
pub(super) struct GroupAlert {
    fault: GroupFault,
    since: Timestamp,
    said_at: Duration,
}

impl State {
    /// Looks at every group that is in use: says and records what has changed, pauses and resumes landings.
    pub(super) fn examine_groups(&mut self) {
        let (now, at) = (self.now().monotonic, Timestamp::now());
        let mut before = std::mem::take(&mut self.group_alerts);
        let (mut alerts, mut changed) = (BTreeMap::new(), false);
        let config = self.config.clone();
        for (name, group) in config.groups.iter().filter(|(name, _)| config.uses_group(name)) {
            let Err(fault) = group.in_force(at) else { continue };
            let known = before.remove(name).filter(|known| known.fault == fault);
            let is_new = known.is_none();
            let mut raised = known.unwrap_or(GroupAlert { fault, since: at, said_at: now });
            if is_new || now.saturating_sub(raised.said_at) >= SAY_AGAIN_AFTER {
                let since = raised.since;
                tracing::error!(code = raised.fault.code(), group = name, %since, "{}; files wait", raised.fault);
                raised.said_at = now;
            }
            if is_new {
                changed = true;
                self.record_group(Action::AlertRaised, Outcome::Failure, &raised.fault, name);
            }
            alerts.insert(name.clone(), raised);
        }
        for (name, GroupAlert { fault, .. }) in before.into_iter().filter(|(name, _)| !alerts.contains_key(name)) {
            changed = true;
            tracing::info!(code = "recipients_back", group = name, was = fault.code(), "nothing waits for it any more");
            self.record_group(Action::AlertCleared, Outcome::Success, &fault, &name);
        }
        self.group_alerts = alerts;
        if changed {
            self.pause_and_resume();
            self.let_go_of_held();
        }
    }

    fn record_group(&self, action: Action, outcome: Outcome, fault: &GroupFault, name: &str) {
        let record =
            alert(action, outcome, fault.code()).veild("group", json!(name)).field("message", fault.to_string());
        self.hand(Paper::Audit(Box::new(record)));
    }

    /// Whether there is somebody to seal a claimed file to. One whose own configuration knows nobody any more goes on
    /// under today's.
    pub(super) fn has_readers(&mut self, id: JobId) -> bool {
        let now = Timestamp::now();
        let Some(running) = self.jobs.get(&id) else { return false };
        let (job, rejected) = (&running.job, running.rejected.is_some());
        let has_all = |config: &Config, landing: &Landing| match rejected {
            true => config.quarantine_fault(now).is_none(),
            false => config.group_fault(landing, now).is_none(),
        };
        if has_all(&job.config, &job.landing) {
            return true;
        }
        let config = self.config.clone();
        let Some(landing) = self.current(&job.landing).filter(|landing| has_all(&config, landing)) else {
            return false;
        };
        if let Some(running) = self.jobs.get_mut(&id) {
            running.job.config = config;
            running.job.landing = landing;
        }
        true
    }

    /// For `veild status`.
    pub(super) fn group_report(&self) -> Vec<Value> {
        let report = |(name, alert): (&String, &GroupAlert)| {
            let (code, what) = (alert.fault.code(), alert.fault.to_string());
            json!({"level": "error", "code": code, "of": format!("group {name}"), "since": alert.since, "what": what})
        };
        self.group_alerts.iter().map(report).collect()
    }
}
