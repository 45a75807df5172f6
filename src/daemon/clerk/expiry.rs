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
        self.expired_at = Some(Instant::now());
        let until = Instant::now() + UPKEEP_LASTS;
        let dir = quarantine_dir(&self.config);
        loop {
            match self.discard_oldest(&dir) {
                Ok(true) if Instant::now() < until => {}
                Ok(true) => self.expired_at = None, // goes on with the next tick
                Ok(false) => return,
                Err(error) => {
                    let what = chain(&error);
                    return tracing::error!(code = "quarantine_upkeep_failed", "nothing was discarded: {what}");
                }
            }
            if self.expired_at.is_none() {
                return;
            }
        }
    }

    fn discard_oldest(&mut self, dir: &Path) -> Result<bool, ClerkError> {
        let Some(entry) = expiry::oldest(dir, self.config.quarantine.keep, Timestamp::now())? else { return Ok(false) };
        let Ok(_lock) = retry::lock(dir, entry.job) else { return Ok(false) };
        let before = expiry::decide(dir, entry.job, self.trail.last_seq())?;
        crate::faults::point("discard_decided");
        if !before.is_some_and(|seq| self.says_discarded(&entry, seq)) {
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

    fn says_discarded(&self, entry: &Reason, after: u64) -> bool {
        let records = audit::lines_after(&self.config.audit.dir, after).unwrap_or_default();
        let is_of_it = |it: &serde_json::Value| {
            it["event"]["action"] == "file.discarded" && it["veild"]["job"] == json!(entry.job)
        };
        records.iter().any(is_of_it)
    }
}

fn discarded(entry: &Reason) -> Record {
    Record::new(Timestamp::now(), Action::FileDiscarded, Outcome::Success)
        .file(entry.original_name.as_str())
        .veild("job", json!(entry.job))
        .veild("landing", json!(entry.landing))
        .veild("reason", "it was in quarantine for longer than `[quarantine] keep`")
}
