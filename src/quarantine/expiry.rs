//! Entries that go, because somebody wants that or because they were kept long enough: `discard.json` decides it. From
//! then on whoever comes by, the same command or the daemon, finishes it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::decision::Decision;
use super::{is_going, jobs, show};
use crate::audit::Action;
use crate::fsutil::PathError;
use crate::job::JobId;
use crate::vault::change::Cause;

/// `discard.json`.
#[derive(Serialize, Deserialize)]
pub struct Discard {
    pub recorded_after: u64,
    /// Who wants it; absent: it was kept long enough.
    #[serde(default)]
    pub cause: Option<Cause>,
}

impl Decision for Discard {
    const DEED: &'static str = "discard";
    /// 2: with the cause.
    const VERSION: u32 = 2;
    const ACTION: Action = Action::FileDiscarded;

    fn recorded_after(&self) -> Option<u64> {
        Some(self.recorded_after)
    }
}

/// The oldest entry that is to go, these aside: one that has been there for longer than `keep`, whose discard was decided
/// before a crash, or that is on its way out. Of one that cannot be read the reader finds out why.
pub fn oldest(
    dir: &Path,
    keep: Duration,
    now: Timestamp,
    passed: &BTreeSet<JobId>,
) -> Result<Option<JobId>, PathError> {
    let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
    let oldest_kept = now.checked_sub(keep).unwrap_or(Timestamp::MIN);
    let is_due = |job: &JobId| {
        if Discard::is_decided(dir, *job) || is_going(dir, *job) {
            return true;
        }
        // Nothing is quarantined before it is claimed: of a younger claim the reason need not be read.
        job.claim_time() < oldest_kept
            && !matches!(show(dir, *job), Ok(Some((reason, _))) if reason.quarantined_at >= oldest_kept)
    };
    Ok(jobs(dir)?.into_iter().filter(|job| !passed.contains(job)).find(is_due))
}
