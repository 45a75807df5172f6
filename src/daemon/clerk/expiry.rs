//! Quarantined originals that have been kept long enough are discarded: decided, recorded, and only then removed.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use super::housekeeping::UPKEEP_LASTS;
use super::{Clerk, ClerkError, chain, quarantine_dir};
use crate::audit::{Action, Outcome, Record};
use crate::quarantine::expiry::Decision;
use crate::quarantine::{self, Reason, expiry, retry};
use crate::vault::change::Cause;

/// Time between two looks for what has been kept long enough.
const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Clerk {
    /// Discards what is due, and tries again later what could not be.
    pub(super) fn keep_quarantine(&mut self) {
        let every = crate::faults::limit("QUARANTINE_UPKEEP", LOOK_EVERY);
        // What is not settled may have an entry that the trail does not know of yet.
        if self.expired_at.is_some_and(|last| last.elapsed() < every) || !self.unsettled.is_empty() {
            return;
        }
        let until = Instant::now() + UPKEEP_LASTS;
        let dir = quarantine_dir(&self.config);
        loop {
            match self.discard_oldest(&dir) {
                Ok(true) if Instant::now() < until => continue,
                Ok(true) => return, // goes on with the next tick
                Ok(false) => {}
                Err(error) => {
                    let what = chain(&error);
                    tracing::error!(code = "quarantine_upkeep_failed", "nothing was discarded: {what}");
                }
            }
            self.expired_at = Some(Instant::now());
            return;
        }
    }

    fn discard_oldest(&mut self, dir: &Path) -> Result<bool, ClerkError> {
        let Some(entry) = expiry::oldest(dir, self.config.quarantine.keep, Timestamp::now())? else { return Ok(false) };
        let Ok(Some(_lock)) = retry::lock(dir, entry.job) else { return Ok(false) };
        // A command may have been at work on it until now.
        if retry::is_decided(dir, entry.job) || quarantine::show(dir, entry.job)?.is_none() {
            return Ok(false);
        }
        let before = expiry::decided(dir, entry.job)?;
        let is_recorded = match &before {
            Some(it) => {
                let trail = &self.config.audit.dir;
                quarantine::is_recorded(trail, Action::FileDiscarded, entry.job, it.recorded_after)?
            }
            None => false,
        };
        let decision = match before {
            Some(before) => before,
            None => {
                let new = Decision::new(self.trail.last_seq(), None);
                expiry::decide(dir, entry.job, &new)?;
                new
            }
        };
        crate::faults::point("discard_decided");
        if !is_recorded {
            self.append(&[discarded(&entry, decision.cause.as_ref())])?;
        }
        crate::faults::point("discard_recorded");
        quarantine::remove(dir, entry.job)?;
        let why = match decision.cause {
            Some(_) => "whose discard was cut off",
            None => "that nobody asked for during `[quarantine] keep`",
        };
        tracing::info!(
            code = "quarantine_discarded",
            job = %entry.job,
            landing = entry.landing,
            "an original {why} has been discarded"
        );
        Ok(true)
    }
}

fn discarded(entry: &Reason, cause: Option<&Cause>) -> Record {
    let record = Record::new(Timestamp::now(), Action::FileDiscarded, Outcome::Success)
        .file(entry.original_name.as_str())
        .veild("job", json!(entry.job))
        .veild("landing", json!(entry.landing));
    match cause {
        Some(cause) => cause.of(record),
        None => record.veild("reason", "it was in quarantine for longer than `[quarantine] keep`"),
    }
}
