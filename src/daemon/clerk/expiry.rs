//! Quarantined originals that have been kept long enough are discarded: decided, recorded, and only then removed.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use super::housekeeping::UPKEEP_LASTS;
use super::{Clerk, ClerkError, chain, quarantine_dir};
use crate::audit::{Action, Outcome, Record};
use crate::fsutil::printable_path;
use crate::job::JobId;
use crate::quarantine::decision::Decision;
use crate::quarantine::expiry::Discard;
use crate::quarantine::release::Release;
use crate::quarantine::retry::Retry;
use crate::quarantine::{self, Reason, ShowError, expiry, retry};
use crate::vault::change::Cause;

/// Time between two looks for what has been kept long enough.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Clerk {
    /// Discards what is due, and tries again later what could not be.
    pub(super) fn keep_quarantine(&mut self) {
        let every = crate::faults::limit("QUARANTINE_UPKEEP", LOOK_EVERY);
        // What is not settled may have an entry that the trail does not know of yet.
        if self.expired.as_ref().is_some_and(|(last, _)| last.elapsed() < every) || !self.unsettled.is_empty() {
            return;
        }
        let until = Instant::now() + UPKEEP_LASTS;
        let dir = quarantine_dir(&self.config);
        let (mut passed, mut hindrance) = (BTreeSet::new(), None);
        loop {
            let job = match expiry::oldest(&dir, self.config.quarantine.keep, Timestamp::now(), &passed) {
                Ok(None) => break,
                Ok(Some(job)) => job,
                Err(error) => {
                    hindrance.get_or_insert(chain(&error));
                    break;
                }
            };
            passed.insert(job);
            match self.discard(&dir, job) {
                Ok(None) => {}
                Ok(Some(what)) => {
                    hindrance.get_or_insert(what);
                }
                Err(error) => {
                    hindrance.get_or_insert(format!("job {job}: {}", chain(&error)));
                    if matches!(error, ClerkError::Audit(_)) {
                        break; // nothing can be recorded of the others either
                    }
                }
            }
            if Instant::now() >= until {
                return; // goes on with the next tick
            }
        }
        self.say_hindrance(hindrance);
    }

    /// Says, once, what keeps something in quarantine.
    fn say_hindrance(&mut self, hindrance: Option<String>) {
        let said = self.expired.take().and_then(|(_, said)| said);
        if let Some(what) = hindrance.as_ref().filter(|what| said.as_ref() != Some(what)) {
            tracing::error!(code = "quarantine_upkeep_failed", "not all that was kept long enough went: {what}");
            let alert = Record::new(Timestamp::now(), Action::AlertRaised, Outcome::Failure);
            self.owe(alert.veild("code", "quarantine_upkeep_failed").field("error.message", what.as_str()));
        }
        self.expired = Some((Instant::now(), hindrance));
    }

    /// Discards an entry that is due, unless a command is at work on it; or says who has to finish something before.
    fn discard(&mut self, dir: &Path, job: JobId) -> Result<Option<String>, ClerkError> {
        let Ok(Some(_lock)) = retry::lock(dir, job) else { return Ok(None) };
        // A command may have been at work on it until now.
        let entry = match quarantine::find(dir, &self.config.audit.dir, job) {
            Ok(Some((entry, _))) => Some(entry),
            Ok(None) | Err(ShowError::Damaged(_)) if Discard::is_decided(dir, job) => None,
            // On its way out, or half made of what is still in its spool.
            Ok(None) => return Ok(quarantine::remove(dir, job).map(|()| None)?),
            Err(error) => return Err(error.into_path_error().into()),
        };
        // Nothing but a discard can become of a damaged one.
        if entry.is_some()
            && let Some(hindrance) = self.unfinished(dir, job)?
        {
            return Ok(Some(hindrance));
        }
        let (decision, is_recorded) = match Discard::decided(dir, job)? {
            Some(before) => {
                let is_recorded = before.is_recorded(&self.config.audit.dir, job)?;
                (before, is_recorded)
            }
            None => {
                let new = Discard { recorded_after: self.trail.last_seq(), cause: None };
                new.decide(dir, job)?;
                (new, false)
            }
        };
        crate::faults::point("discard_decided");
        if !is_recorded {
            self.append(&[discarded(job, entry.as_ref(), decision.cause.as_ref())])?;
        }
        crate::faults::point("discard_recorded");
        quarantine::remove(dir, job)?;
        let why = match decision.cause {
            Some(_) => "whose discard was cut off",
            None => "that nobody asked for during `[quarantine] keep`",
        };
        tracing::info!(
            code = "quarantine_discarded",
            %job,
            landing = entry.map(|entry| entry.landing),
            "an original {why} has been discarded"
        );
        Ok(None)
    }

    /// What a command began, and has to finish.
    fn unfinished(&self, dir: &Path, job: JobId) -> Result<Option<String>, ClerkError> {
        if let Some(retry) = self.standing::<Retry>(dir, job)? {
            let landing = printable_path(&retry.landing_dir);
            return Ok(Some(format!("a retry of job {job} into {landing} was cut off; give `quarantine retry` again")));
        }
        if let Some(release) = self.standing::<Release>(dir, job)? {
            let to = printable_path(&release.to);
            return Ok(Some(format!("a release of job {job} to {to} was cut off; give `quarantine release` again")));
        }
        Ok(None)
    }

    /// A decision that the trail has on record; another one has never been.
    fn standing<D: Decision>(&self, dir: &Path, job: JobId) -> Result<Option<D>, ClerkError> {
        let Some(begun) = D::decided(dir, job)? else { return Ok(None) };
        if begun.is_recorded(&self.config.audit.dir, job)? {
            return Ok(Some(begun));
        }
        begun.revoke(dir, job)?;
        Ok(None)
    }
}

/// Of a damaged entry nothing is known but its job.
fn discarded(job: JobId, entry: Option<&Reason>, cause: Option<&Cause>) -> Record {
    let record = Record::new(Timestamp::now(), Action::FileDiscarded, Outcome::Success)
        .veild("job", json!(job))
        .veild("landing", json!(entry.map(|entry| &entry.landing)));
    let record = match entry {
        Some(entry) => record.file(entry.original_name.as_str()),
        None => record,
    };
    match cause {
        Some(cause) => cause.of(record),
        None => record.veild("reason", "it was in quarantine for longer than `[quarantine] keep`"),
    }
}
