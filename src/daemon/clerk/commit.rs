//! Outcomes, from what a worker has made of a file to what can be seen of it: duplicates left out, contents noted, outputs
//! published, rejected files quarantined. [`Clerk::settle`] goes on from there.

use std::path::Path;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::duplicates::{self, Novelty};
use super::settled::{Settled, SettledOutcome, Settlement};
use super::{Clerk, ClerkError, Job, Planned, Verdict, quarantine_dir};
use crate::daemon::event::Event;
use crate::daemon::places::Obstacle;
use crate::fsutil::PathError;
use crate::job::JobId;
use crate::ledger::{Content, Frozen, LedgerError};
use crate::pipeline::{Fault, OutputReport, Report};
use crate::quarantine::{self, Original, Reason};
use crate::spool::{self, Writers};
use crate::vault::{self, Finished, Receipt};
use crate::worker::message::Masked;

/// What a worker has made of a file.
pub(super) enum Deed {
    Seal(Box<Job>, Masked),
    Reject { job: Box<Job>, fault: Fault, sealed: bool, attempts: u32 },
}

impl Deed {
    fn job(&self) -> &Job {
        match self {
            Deed::Seal(job, _) | Deed::Reject { job, .. } => job,
        }
    }
}

/// A file whose outputs are finished.
pub(super) struct Ready {
    pub job: Box<Job>,
    pub outputs: Vec<Finished>,
    /// Where its landing cares about duplicates.
    pub content: Option<Content>,
}

impl Clerk {
    pub(super) fn finish(&mut self, deeds: Vec<Deed>, events: &mpsc::Sender<Event>) {
        if deeds.is_empty() {
            return;
        }
        for event in self.commit(deeds).events() {
            let _ = events.blocking_send(event); // the loop may have ended
        }
    }

    /// Commits a batch of outcomes. A job that fails starts over, and finds what was done; one that can be seen already
    /// has no verdict before it is settled.
    fn commit(&mut self, deeds: Vec<Deed>) -> Settlement {
        let mut settlement = self.settle();
        // While the trail or the ledger takes nothing, nothing more becomes visible.
        if let Some(obstacle) = &settlement.stopped {
            let failed = |deed: &Deed| (deed.job().id(), Verdict::Failed(obstacle.clone()));
            settlement.verdicts.extend(deeds.iter().map(failed));
            let outputs = deeds.iter().flat_map(|deed| deed.job().outputs());
            outputs.for_each(|output| vault::withdraw(&output.incoming));
            return settlement;
        }
        let (mut ready, mut later) = (Vec::new(), Vec::new());
        for deed in deeds {
            let id = deed.job().id();
            match self.decide(deed, &mut ready, &mut later) {
                Ok(verdict) => settlement.verdicts.extend(verdict.map(|verdict| (id, verdict))),
                Err(error) => settlement.verdicts.push((id, Verdict::Failed(self.obstacle(&error)))),
            }
        }
        settlement.verdicts.extend(self.publish(ready));
        crate::faults::point("published");
        crate::faults::hold("published");
        settlement.add(if later.is_empty() { self.settle() } else { self.commit(later) });
        settlement
    }

    /// Brings one outcome to where it can be published or settled.
    fn decide(
        &mut self,
        deed: Deed,
        batch: &mut Vec<Ready>,
        later: &mut Vec<Deed>,
    ) -> Result<Option<Verdict>, ClerkError> {
        if !is_unchanged(deed.job())? {
            self.ledger.attempt_over(deed.job().id(), false)?;
            return Ok(Some(Verdict::Changed));
        }
        match deed {
            Deed::Seal(job, masked) => {
                let content = duplicates::content(&job, &masked);
                match self.novelty(&job, content.as_ref(), batch)? {
                    Novelty::New if !self.freeze(&job, &masked.report)? => {
                        self.ledger.attempt_over(job.id(), false)?;
                        return Ok(Some(Verdict::Refrozen));
                    }
                    Novelty::New => {
                        batch.push(Ready { outputs: self.finished(&job, masked.report), content, job });
                    }
                    Novelty::NotYetKnown => later.push(Deed::Seal(job, masked)),
                    Novelty::Duplicate(twin) => return Ok(self.pass_over(job, twin)),
                }
            }
            Deed::Reject { job, fault, sealed, attempts } => {
                // An earlier attempt may have published before its commit failed.
                for output in job.outputs() {
                    vault::take_back(&job.config.vault.dir, &output.object)?;
                }
                self.quarantine(&job, &fault, sealed, attempts)?;
                self.unsettled.push(Settled::new(job, SettledOutcome::Quarantined { fault, attempts }));
            }
        }
        Ok(None)
    }

    /// Keeps the levels of a landing's first file for its later ones; false when others are kept already. A file without
    /// rows has chosen none.
    fn freeze(&mut self, job: &Job, report: &Report) -> Result<bool, ClerkError> {
        let landing = &job.landing.name;
        for (planned, made) in job.outputs().into_iter().zip(&report.outputs) {
            let asked = planned.policy.and_then(|policy| policy.anonymity.as_ref()).filter(|it| it.freeze.is_some());
            let Some((asked, found)) = asked.zip(made.anonymity.as_ref().filter(|found| found.k.is_some())) else {
                continue;
            };
            let levels = asked.levels_in(found);
            let frozen = Frozen { output: planned.view.unwrap_or_default(), anonymity: asked.digest(), levels };
            let is_other = |it: &Frozen| {
                (&it.output, &it.anonymity) == (&frozen.output, &frozen.anonymity) && it.levels != frozen.levels
            };
            if self.ledger.frozen(landing)?.iter().any(is_other) {
                return Ok(false);
            }
            self.ledger.freeze(landing, &frozen, job.id())?;
            crate::faults::point("levels_frozen");
        }
        Ok(true)
    }

    /// Publishes what is finished; what cannot be published gives its room back. When one of several is in the way of
    /// the others, each is tried by itself.
    fn publish(&mut self, batch: Vec<Ready>) -> Vec<(JobId, Verdict)> {
        if batch.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.note_contents(&batch) {
            let obstacle = self.obstacle(&error.into());
            batch.iter().flat_map(|ready| &ready.outputs).for_each(|output| vault::withdraw(&output.incoming));
            return batch.iter().map(|ready| (ready.job.id(), Verdict::Failed(obstacle.clone()))).collect();
        }
        self.publish_noted(batch)
    }

    fn note_contents(&mut self, batch: &[Ready]) -> Result<(), LedgerError> {
        self.ledger.note_contents(&batch.iter().filter_map(Ready::note).collect::<Vec<_>>())?;
        crate::faults::point("contents_noted");
        Ok(())
    }

    fn publish_noted(&mut self, batch: Vec<Ready>) -> Vec<(JobId, Verdict)> {
        let (outputs, jobs): (Vec<_>, Vec<_>) = batch.into_iter().map(|ready| (ready.outputs, ready.job)).unzip();
        match vault::publish(&self.config.vault.dir, &outputs, &self.signing) {
            Ok(published) => {
                let settled = jobs.into_iter().zip(published);
                self.unsettled.extend(settled.map(|(job, outputs)| Settled::sealed(job, outputs)));
                Vec::new()
            }
            Err(error) if jobs.len() > 1 && Obstacle::from(&error).ailment.is_none() => {
                let alone = outputs.into_iter().zip(jobs);
                let alone = alone.map(|(outputs, job)| vec![Ready { outputs, job, content: None }]);
                alone.flat_map(|one| self.publish_noted(one)).collect()
            }
            Err(error) => {
                outputs.iter().flatten().for_each(|output| vault::withdraw(&output.incoming));
                jobs.iter().map(|job| (job.id(), Verdict::Failed(Obstacle::from(&error)))).collect()
            }
        }
    }

    fn quarantine(&self, job: &Job, fault: &Fault, sealed: bool, attempts: u32) -> Result<(), ClerkError> {
        let incoming = job.incoming_original();
        let original = if sealed { Original::Sealed(&incoming) } else { Original::AsItCame(&job.claimed.path) };
        let reason = Reason {
            reason_version: 1,
            job: job.id(),
            landing: job.landing.name.clone(),
            original_name: job.public_name(&self.keys),
            sub_path: job.public_sub_path(),
            policy: job.landing.policy.clone(),
            arrived_at: job.arrived_at,
            quarantined_at: Timestamp::now(),
            bytes: job.claimed.stamp.bytes,
            sealed,
            attempts,
            fault: fault.clone(),
        };
        let dir = quarantine_dir(&job.config);
        let bytes = if sealed { 0 } else { job.claimed.stamp.bytes };
        let kept = bytes.saturating_add(self.config.daemon.min_free / 2);
        if crate::fsutil::space(&dir)?.free_bytes < kept {
            return Err(ClerkError::NoRoom { bytes, dir });
        }
        quarantine::store(&dir, &original, &reason)?;
        for output in job.outputs() {
            crate::fsutil::remove_if_there(&output.incoming)?;
        }
        crate::faults::point("quarantined");
        Ok(())
    }

    /// A job's outputs with their receipts.
    fn finished(&self, job: &Job, report: Report) -> Vec<Finished> {
        let (input, rows_in, sealed_at) = (report.input, report.rows_in, Timestamp::now());
        let outputs = job.outputs().into_iter().zip(report.outputs);
        let receipt = |planned: &Planned<'_>, output: OutputReport| Receipt {
            receipt_version: vault::RECEIPT_VERSION,
            job: job.id(),
            landing: job.landing.name.clone(),
            view: planned.view.clone(),
            original_name: job.public_name(&self.keys),
            arrived_at: job.arrived_at,
            claimed_at: job.id().claim_time(),
            sealed_at,
            input: input.clone(),
            output: vault::ReceiptOutput {
                path: planned.object.to_string_lossy().into_owned(),
                sha256: output.sha256,
                bytes: output.bytes,
                format: output.format,
            },
            rows_in,
            rows_out: output.rows_out,
            rows_suppressed: output.rows_suppressed,
            anonymity: output.anonymity,
            columns: output.columns,
            policy: planned
                .policy
                .map(|policy| vault::ReceiptPolicy { name: policy.name.clone(), sha256: policy.sha256.clone() }),
            recipients: planned.recipients.to_vec(),
            verify: output.verify,
            veild: env!("CARGO_PKG_VERSION").to_owned(),
            amended: Vec::new(),
        };
        outputs
            .map(|(planned, output)| Finished { receipt: receipt(&planned, output), incoming: planned.incoming })
            .collect()
    }
}

/// Whether the source is still what was claimed, and nobody writes to it any more.
fn is_unchanged(job: &Job) -> Result<bool, PathError> {
    let path: &Path = &job.claimed.path;
    let file = crate::fsutil::open_regular(path)?;
    Ok(spool::stamp(&file, path)? == job.claimed.stamp && spool::writers(&file) != Writers::Some)
}
