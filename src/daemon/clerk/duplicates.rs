//! Content that was seen before: which file counts as a duplicate, and what then becomes of it.
//!
//! Only what was sealed counts as seen, so that nothing is passed over which is not in the vault, and a file that was
//! rejected can be sent again. A content is noted before its outputs become visible and counts from the moment in which
//! the ledger knows the outcome; whatever dies in between, one of two equal files is sealed and the other is not.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::commit::Ready;
use super::settled::{Settled, SettledOutcome};
use super::{Clerk, ClerkError, Job, Verdict};
use crate::config::Duplicates;
use crate::job::JobId;
use crate::ledger::{Content, Note};
use crate::pipeline::Fault;
use crate::vault;
use crate::worker::message::Masked;

/// For how long the ledger knows an outcome; a source that should have gone may come back with its file system.
const OUTCOMES_LAST: Duration = Duration::from_secs(90 * 86_400);
/// Time between two looks for what can be forgotten.
const FORGET_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// What the clerk makes of a file that is ready to be published.
pub(super) enum Novelty {
    New,
    /// Of the same content as another one of the same batch; to be asked again when that one is settled.
    NotYetKnown,
    Duplicate(JobId),
}

impl Clerk {
    /// Whether a file's content was sealed on its landing before.
    pub(super) fn novelty(&self, job: &Job, content: Option<&Content>, batch: &[Ready]) -> Result<Novelty, ClerkError> {
        let Some(content) = content else { return Ok(Novelty::New) };
        let landing = &job.landing;
        // What an earlier attempt has made visible is sealed.
        if job.outputs().iter().any(|output| job.config.vault.dir.join(&output.object).exists()) {
            return Ok(Novelty::New);
        }
        let is_same = |other: &Ready| other.job.landing.name == landing.name && other.content.as_ref() == Some(content);
        if batch.iter().any(is_same) {
            return Ok(Novelty::NotYetKnown);
        }
        let twin = self.ledger.sealed_content(&landing.name, content, oldest(landing.dedup_window))?;
        Ok(twin.filter(|twin| *twin != job.id()).map_or(Novelty::New, Novelty::Duplicate))
    }

    /// Disposes of a duplicate as its landing says.
    pub(super) fn pass_over(&mut self, job: Box<Job>, twin: JobId) -> Option<Verdict> {
        job.outputs().iter().for_each(|output| vault::withdraw(&output.incoming));
        if job.landing.duplicates == Duplicates::Quarantine {
            return Some(Verdict::Duplicate { fault: duplicate(&job, twin) });
        }
        self.unsettled.push(Settled::new(job, SettledOutcome::Skipped { duplicate_of: twin }));
        None
    }

    /// Lets the ledger forget contents whose window is over, and outcomes of long ago.
    pub(super) fn forget(&mut self) -> Result<(), ClerkError> {
        let now = Timestamp::now();
        if self.forgot_at.is_some_and(|last| now.duration_since(last).abs() < FORGET_EVERY) {
            return Ok(());
        }
        self.forgot_at = Some(now);
        self.ledger.forget_contents(now)?;
        Ok(self.ledger.forget_outcomes(oldest(OUTCOMES_LAST))?)
    }
}

impl Ready {
    /// What the ledger is to remember.
    pub(super) fn note(&self) -> Option<Note<'_>> {
        let (job, landing) = (self.job.id(), &self.job.landing);
        let window = SignedDuration::try_from(landing.dedup_window).unwrap_or(SignedDuration::MAX);
        let forget_at = job.claim_time().checked_add(window).unwrap_or(Timestamp::MAX);
        self.content.as_ref().map(|content| Note { job, landing: &landing.name, content, forget_at })
    }
}

/// The first job that a window of time up to now can hold.
fn oldest(window: Duration) -> JobId {
    let window = SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX);
    JobId::earliest_at(Timestamp::now().checked_sub(window).unwrap_or(Timestamp::UNIX_EPOCH))
}

fn duplicate(job: &Job, twin: JobId) -> Fault {
    Fault {
        code: "duplicate".to_owned(),
        sentence: format!("its content was sealed on landing {} before, as job {twin}", job.landing.name),
        row: None,
        column: None,
        byte_offset: None,
        advice: "discard it; to process it all the same, set duplicates = \"process\" for the landing and retry"
            .to_owned(),
    }
}

/// What identifies a file's content, where its landing cares.
pub(super) fn content(job: &Job, masked: &Masked) -> Option<Content> {
    let digest = masked.content.as_ref().filter(|_| job.landing.duplicates != Duplicates::Process)?;
    Some(Content { digest: *blake3::Hash::from_hex(digest).ok()?.as_bytes(), bytes: masked.report.input.bytes })
}
