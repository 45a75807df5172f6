//! Quarantined originals that have been kept long enough are discarded: decided, recorded, and only then removed.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use super::housekeeping::UPKEEP_LASTS;
use super::{Clerk, ClerkError, chain, quarantine_dir};
use crate::audit::{self, Action, Outcome, Record};
use crate::quarantine::{self, Reason, expiry, retry};

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
        let before = expiry::decide(dir, entry.job, self.trail.last_seq())?;
        crate::faults::point("discard_decided");
        let is_recorded = match before {
            Some(seq) => self.says_discarded(&entry, seq)?,
            None => false,
        };
        if !is_recorded {
            self.append(&[discarded(&entry)])?;
        }
        crate::faults::point("discard_recorded");
        quarantine::remove(dir, entry.job)?;
        tracing::info!(
            code = "quarantine_discarded",
            job = %entry.job,
            landing = entry.landing,
            "an original that nobody asked for during `[quarantine] keep` has been discarded"
        );
        Ok(true)
    }

    fn says_discarded(&self, entry: &Reason, after: u64) -> Result<bool, ClerkError> {
        let records = audit::lines_after(&self.config.audit.dir, after)?;
        let is_of_it = |it: &serde_json::Value| {
            it["event"]["action"] == "file.discarded" && it["veild"]["job"] == json!(entry.job)
        };
        Ok(records.iter().any(is_of_it))
    }
}

fn discarded(entry: &Reason) -> Record {
    Record::new(Timestamp::now(), Action::FileDiscarded, Outcome::Success)
        .file(entry.original_name.as_str())
        .veild("job", json!(entry.job))
        .veild("landing", json!(entry.landing))
        .veild("reason", "it was in quarantine for longer than `[quarantine] keep`")
}
