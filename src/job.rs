//! The identity of one claimed file.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One claimed file, from its claim to its end; a ULID, so that jobs sort by the time of their claim.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(ulid::Ulid);

impl JobId {
    /// A fresh identity that carries the time of the claim, to the millisecond.
    pub fn claimed_at(now: Timestamp) -> JobId {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        JobId(ulid::Ulid::from_parts(millis, ulid::Ulid::new().random()))
    }

    /// The first identity that a claim at this time can have.
    pub fn earliest_at(time: Timestamp) -> JobId {
        JobId(ulid::Ulid::from_parts(u64::try_from(time.as_millisecond()).unwrap_or(0), 0))
    }

    /// The time of the claim, to the millisecond.
    pub fn claim_time(self) -> Timestamp {
        i64::try_from(self.0.timestamp_ms())
            .ok()
            .and_then(|millis| Timestamp::from_millisecond(millis).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = NotAJob;

    fn from_str(text: &str) -> Result<JobId, NotAJob> {
        let id = ulid::Ulid::from_string(text).map_err(|_| NotAJob)?;
        // Only the canonical spelling names a job: it also names directories.
        if id.to_string() == text { Ok(JobId(id)) } else { Err(NotAJob) }
    }
}

impl TryFrom<String> for JobId {
    type Error = NotAJob;

    fn try_from(text: String) -> Result<JobId, NotAJob> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(job: JobId) -> String {
        job.to_string()
    }
}

/// The text is not the canonical spelling of a ULID.
#[derive(Debug, thiserror::Error)]
#[error("not a job: expected 26 characters as in 01JQ8Z6V9M3T5K7N2P4R6S8W0X")]
pub struct NotAJob;
