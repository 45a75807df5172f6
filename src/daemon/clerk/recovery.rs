//! What a crash can leave, brought to where the loop can go on.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::settled::{Settled, SettledOutcome};
use super::{Clerk, ClerkError, Job, quarantine_dir};
use crate::audit::{Action, Outcome, Record};
use crate::config::{Config, Landing};
use crate::daemon::reload::TakenUp;
use crate::job::JobId;
use crate::pipeline::UNRECOGNISED;
use crate::quarantine::ShowError;
use crate::spool::Claimed;
use crate::vault::change::{self, Books};
use crate::vault::{Published, Receipt};
use crate::{quarantine, spool, vault};

impl Clerk {
    /// Brings ledger, vault and quarantine to where the audit trail is; the spools of the landings come after that.
    pub fn recover(&mut self) -> Result<(), ClerkError> {
        self.ledger.interrupt_working()?;
        self.look_for_lost_records()?;
        self.catch_up_with_audit()?;
        vault::recover(&self.config.vault.dir, |job| self.ledger.is_done(job).map_err(ClerkError::from))?;
        self.complete_changes()?;
        let config = &self.config;
        Ok(quarantine::retry::recover(&quarantine_dir(config), &config.audit.dir)?)
    }

    /// Completes what was being pruned or rewrapped; a command that is at work looks after its own.
    fn complete_changes(&mut self) -> Result<(), ClerkError> {
        let config = self.config.clone();
        let dir = &config.vault.dir;
        let Some(lock) = vault::lock::Lock::try_alone(dir)? else { return Ok(()) };
        let mut append = |records: Vec<Record>| self.append(&records).map_err(ClerkError::from);
        change::recover(dir, &lock, &mut Books { trail: &config.audit.dir, append: &mut append })
    }

    /// Takes up what lies in the spools of landings that were not watched so far. Outcomes that only have to be
    /// completed are left to [`Clerk::settle`].
    pub fn take_up(
        &mut self,
        config: &Arc<Config>,
        landings: &[Arc<Landing>],
        in_flight: &HashSet<JobId>,
    ) -> Result<TakenUp, ClerkError> {
        let mut taken_up = TakenUp::default();
        for landing in landings {
            quarantine::retry::remove_undecided(&quarantine_dir(config), &landing.dir)?;
            let (in_flight, at_rest): (Vec<_>, Vec<_>) =
                spool::recover(&landing.dir)?.into_iter().partition(|claimed| in_flight.contains(&claimed.job));
            taken_up.in_flight.extend(in_flight.into_iter().map(|claimed| (claimed, landing.clone())));
            let mut published = self.published(config, landing, &at_rest)?;
            for claimed in at_rest {
                let outputs = published.remove(&claimed.job).unwrap_or_default();
                let arrived_at = claimed.job.claim_time();
                let job = Job::new(config.clone(), landing.clone(), claimed, arrived_at);
                if self.complete(&job, outputs)? {
                    taken_up.completed += 1;
                } else {
                    let attempts = self.ledger.attempts(job.id())?.unwrap_or_default();
                    taken_up.jobs.push((job, attempts));
                }
            }
        }
        taken_up.jobs.sort_by_key(|(job, attempts)| (attempts.interrupted, job.id()));
        Ok(taken_up)
    }

    /// The ledger never runs ahead of the audit trail, unless somebody has cut off the trail's end.
    fn look_for_lost_records(&mut self) -> Result<(), ClerkError> {
        let (noted, last) = (self.ledger.applied_seq()?, self.trail.last_seq());
        // The trail has begun this run with a checkpoint.
        if last > noted {
            return Ok(());
        }
        tracing::error!(
            code = "audit_truncated",
            noted,
            last,
            "the audit trail ends before a record that it had: its end was cut off or deleted, or the trail was begun elsewhere; find out by whom"
        );
        self.owe(
            Record::new(Timestamp::now(), Action::AlertRaised, Outcome::Failure)
                .veild("code", "audit_truncated")
                .veild("noted_seq", noted),
        );
        Ok(self.ledger.fall_back_to(last)?)
    }

    /// The audit trail runs ahead of the ledger by what a crash cut off.
    fn catch_up_with_audit(&mut self) -> Result<(), ClerkError> {
        let lines = crate::audit::lines_after(&self.config.audit.dir, self.ledger.applied_seq()?)?;
        let mut outcomes = Vec::new();
        for line in &lines {
            let outcome = match line["event"]["action"].as_str() {
                Some("file.sealed") => "sealed",
                Some("file.quarantined") => "quarantined",
                Some("file.skipped") => "skipped",
                _ => continue,
            };
            let job = line["veild"]["job"].as_str().and_then(|job| job.parse().ok());
            if let (Some(job), Some(landing)) = (job, line["veild"]["landing"].as_str()) {
                outcomes.push((job, landing, outcome));
            }
        }
        Ok(self.ledger.done(&outcomes, self.trail.last_seq())?)
    }

    /// What an earlier run has published of claimed files, under the name that their landing has or had when work on
    /// them began.
    fn published(
        &self,
        config: &Config,
        landing: &Landing,
        claimed: &[Claimed],
    ) -> Result<BTreeMap<JobId, Vec<(Receipt, Published)>>, ClerkError> {
        let mut names: BTreeMap<String, BTreeSet<JobId>> = BTreeMap::new();
        for Claimed { job, .. } in claimed {
            let former = self.ledger.landing(*job)?;
            for name in former.into_iter().chain([landing.name.clone()]) {
                names.entry(name).or_default().insert(*job);
            }
        }
        let mut found = BTreeMap::new();
        for (name, jobs) in &names {
            found.extend(vault::find(&config.vault.dir, name, jobs, &self.signing.verifying())?);
        }
        Ok(found)
    }

    /// Completes a job whose outcome was already visible when the daemon ended.
    fn complete(&mut self, job: &Job, outputs: Vec<(Receipt, Published)>) -> Result<bool, ClerkError> {
        if self.unsettled.iter().any(|settled| settled.job.id() == job.id()) {
            return Ok(true);
        }
        if self.ledger.is_done(job.id())? {
            spool::remove(&job.landing.dir, &job.claimed)?;
            return Ok(true);
        }
        let job = Box::new(job.clone());
        let is_main = |(receipt, published): &(Receipt, Published)| {
            let is_alone = receipt.input.format == UNRECOGNISED.1;
            is_alone || (receipt.view.is_none() && !vault::is_archived(&published.object))
        };
        // Where the main output is, all are.
        let settled = if outputs.first().is_some_and(is_main) {
            Settled::sealed(job, outputs)
        } else {
            let reason = match quarantine::show(&quarantine_dir(&job.config), job.id()) {
                Ok(Some((reason, _))) => reason,
                Ok(None) | Err(ShowError::Damaged(_)) => return Ok(false), // it goes its way again
                Err(error) => return Err(error.into_path_error().into()),
            };
            Settled::new(job, SettledOutcome::Quarantined { fault: reason.fault, attempts: reason.attempts })
        };
        self.unsettled.push(settled);
        Ok(true)
    }
}
