//! What a crash can leave, brought to where the loop can go on.

use std::path::Path;
use std::sync::Arc;

use super::settled::{Settled, SettledOutcome};
use super::{Clerk, ClerkError, Job, quarantine_dir};
use crate::config::Landing;
use crate::{quarantine, spool, vault};

impl Clerk {
    /// Brings every state that a crash can leave to where the loop can go on: returns what is to be processed, with
    /// the number of spooled files whose outcome only had to be completed.
    pub fn recover(&mut self, landings: &[Arc<Landing>]) -> Result<(Vec<Job>, u64), ClerkError> {
        self.ledger.interrupt_working()?;
        self.catch_up_with_audit()?;
        vault::recover(&self.config.vault.dir, |job| self.ledger.is_done(job).map_err(ClerkError::from))?;
        let dirs: Vec<&Path> = landings.iter().map(|landing| landing.dir.as_path()).collect();
        quarantine::retry::recover(&quarantine_dir(&self.config), &dirs)?;
        let (mut jobs, mut completed) = (Vec::new(), 0);
        for landing in landings {
            for claimed in spool::recover(&landing.dir)? {
                let job = Job {
                    config: self.config.clone(),
                    landing: landing.clone(),
                    arrived_at: claimed.job.claim_time(),
                    claimed,
                };
                if self.complete(&job)? {
                    completed += 1;
                } else {
                    jobs.push(job);
                }
            }
        }
        Ok((jobs, completed))
    }

    /// The audit trail runs ahead of the ledger by what a crash cut off.
    fn catch_up_with_audit(&mut self) -> Result<(), ClerkError> {
        let lines = crate::audit::lines_after(&self.config.audit.dir, self.ledger.applied_seq()?)?;
        let mut outcomes = Vec::new();
        for line in &lines {
            let outcome = match line["event"]["action"].as_str() {
                Some("file.sealed") => "sealed",
                Some("file.quarantined") => "quarantined",
                _ => continue,
            };
            let job = line["veild"]["job"].as_str().and_then(|job| job.parse().ok());
            if let (Some(job), Some(landing)) = (job, line["veild"]["landing"].as_str()) {
                outcomes.push((job, landing, outcome));
            }
        }
        Ok(self.ledger.done(&outcomes, self.trail.last_seq())?)
    }

    /// Completes a job whose outcome was already visible when the daemon ended.
    fn complete(&mut self, job: &Job) -> Result<bool, ClerkError> {
        if self.ledger.is_done(job.id())? {
            spool::remove(&job.landing.dir, job.id())?;
            return Ok(true);
        }
        let job = Box::new(job.clone());
        let outputs = vault::find(&job.config.vault.dir, &job.landing.name, job.id(), &self.signing.verifying())?;
        let settled = if !outputs.is_empty() {
            Settled::sealed(job, outputs)
        } else if let Some((reason, _)) = quarantine::show(&quarantine_dir(&job.config), job.id())? {
            let outcome = SettledOutcome::Quarantined { fault: reason.fault, attempts: reason.attempts };
            Settled { job, outcome }
        } else {
            return Ok(false);
        };
        self.settle(&[settled])?;
        Ok(true)
    }
}
