//! The thread that makes outcomes durable, in this order: vault or quarantine, audit, ledger, and only then the source
//! goes. What has gathered in its inbox is committed together.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::event::Event;
use super::places::{Obstacle, Place};
use super::reload::Proposal;
use crate::audit::{AuditError, Record, Trail};
use crate::config::{Config, Landing};
use crate::fsutil::PathError;
use crate::job::JobId;
use crate::keys::{MaskingKeys, SigningKey};
use crate::ledger::{Attempts, Content, Ledger, LedgerError};
use crate::pipeline::{Fault, OutputReport, Report};
use crate::quarantine::{self, Original, Reason};
use crate::spool::{self, Writers};
use crate::vault::{self, Finished, Receipt};
use crate::worker::message::Masked;

mod duplicates;
mod housekeeping;
mod job;
mod recovery;
mod settled;

use duplicates::Novelty;
pub use housekeeping::obstacle;
pub use job::{Job, Planned};
use settled::{Settled, SettledOutcome, Settlement};

/// Most outcomes committed together.
const MAX_BATCH: usize = 256;
/// Most records of the daemon's own that wait for a trail that takes nothing.
const MAX_OWED: usize = 1000;

/// What the loop hands over.
pub enum Paper {
    Begin {
        worker: usize,
        jobs: Vec<(JobId, Arc<Landing>)>,
    },
    /// A worker died or hung on this job.
    AttemptOver {
        job: JobId,
    },
    Commit {
        job: Box<Job>,
        masked: Masked,
    },
    Quarantine {
        job: Box<Job>,
        fault: Fault,
        sealed: bool,
        attempts: u32,
    },
    /// Look into the spools of the landings that a reload adds.
    TakeUp {
        proposal: Box<Proposal>,
        in_flight: HashSet<JobId>,
    },
    /// A record of the daemon's own; it is owed until the trail takes it.
    Audit(Box<Record>),
    /// A record on behalf of a command, which must not go on without it.
    AuditFor {
        record: Box<Record>,
        answer: oneshot::Sender<serde_json::Value>,
    },
    /// Looks into the spool of a landing that could not be read before.
    Recover {
        config: Arc<Config>,
        landing: Arc<Landing>,
        in_flight: HashSet<JobId>,
    },
    /// Housekeeping; tries to write in these places.
    Tick {
        probe: Vec<Place>,
    },
    Stop {
        record: Box<Record>,
        done: Sender<()>,
    },
}

/// What became of a job.
#[derive(Clone, Debug)]
pub enum Verdict {
    Sealed {
        rows: u64,
        bytes: u64,
        object: PathBuf,
        /// How many views it has.
        views: usize,
    },
    Quarantined {
        fault: Fault,
    },
    /// Its content was sealed before, and the landing leaves such files out.
    Skipped {
        duplicate_of: JobId,
    },
    /// Its content was sealed before: it is to be quarantined.
    Duplicate {
        fault: Fault,
    },
    /// The source changed after its claim: the attempt starts over.
    Changed,
    /// Nothing was decided; the attempt starts over after a pause.
    Failed(Obstacle),
}

/// Everything durable that the daemon owns.
pub struct Clerk {
    pub config: Arc<Config>,
    pub ledger: Ledger,
    pub trail: Trail,
    pub signing: SigningKey,
    pub keys: MaskingKeys,
    /// Records that the trail could not take yet.
    owed: Vec<Record>,
    /// Outcomes that can be seen, but could not be recorded to the end yet.
    unsettled: Vec<Settled>,
    /// When contents that are too old were last forgotten.
    forgot_at: Option<Timestamp>,
}

/// The clerk cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum ClerkError {
    #[error(transparent)]
    Io(#[from] PathError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(
        "no room to quarantine a file of {bytes} bytes and keep min_free in {}: make room, or discard old entries", dir.display()
    )]
    NoRoom { bytes: u64, dir: PathBuf },
}

/// An error with everything below it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Starts the thread; it ends at [`Paper::Stop`] or when the sender is dropped.
pub fn start(clerk: Clerk, events: mpsc::Sender<Event>) -> std::io::Result<Sender<Paper>> {
    let (papers, inbox) = channel();
    std::thread::Builder::new().name("clerk".to_owned()).spawn(move || clerk.work(&inbox, &events))?;
    Ok(papers)
}

impl Clerk {
    pub fn new(config: Arc<Config>, ledger: Ledger, trail: Trail, signing: SigningKey, keys: MaskingKeys) -> Clerk {
        Clerk { config, ledger, trail, signing, keys, owed: Vec::new(), unsettled: Vec::new(), forgot_at: None }
    }

    fn work(mut self, inbox: &Receiver<Paper>, events: &mpsc::Sender<Event>) {
        while let Ok(first) = inbox.recv() {
            let mut papers = vec![first];
            while papers.len() < MAX_BATCH
                && let Ok(next) = inbox.try_recv()
            {
                papers.push(next);
            }
            let mut deeds = Vec::new();
            for paper in papers {
                match paper {
                    Paper::Commit { job, masked } => deeds.push(Deed::Seal(job, masked)),
                    Paper::Quarantine { job, fault, sealed, attempts } => {
                        deeds.push(Deed::Reject { job, fault, sealed, attempts });
                    }
                    Paper::Stop { record, done } => {
                        self.finish(deeds, events);
                        self.stop(*record);
                        let _ = done.send(()); // nobody waits any more
                        return;
                    }
                    other => {
                        if self.take(other).into_iter().any(|event| events.blocking_send(event).is_err()) {
                            return;
                        }
                    }
                }
            }
            self.finish(deeds, events);
        }
    }

    /// Handles what is no outcome; returns what the loop is to know.
    fn take(&mut self, paper: Paper) -> Vec<Event> {
        match paper {
            Paper::Begin { worker, jobs } => vec![self.begin(worker, jobs)],
            Paper::AttemptOver { job } => {
                // A count that cannot be written goes on in memory.
                vec![Event::AttemptOver { job, attempts: self.ledger.attempt_over(job, true).ok() }]
            }
            Paper::Audit(record) => {
                self.owe(*record);
                self.pay().err().map(|error| self.failed(error)).into_iter().collect()
            }
            Paper::AuditFor { record, answer } => {
                let appended = self.append(&[*record]);
                let reply = match &appended {
                    Ok(()) => serde_json::json!({"ok": true}),
                    Err(error) => serde_json::json!({"error": chain(error)}),
                };
                let _ = answer.send(reply); // the asker may have left
                appended.err().map(|error| self.failed(error)).into_iter().collect()
            }
            Paper::TakeUp { proposal, in_flight } => {
                let taken_up = self.take_up(&proposal.config, &proposal.added, &in_flight);
                let taken_up = taken_up.map_err(|error| chain(&error)).map(|taken_up| (proposal, taken_up));
                self.settle_before(Event::TakenUp(taken_up))
            }
            Paper::Recover { config, landing, in_flight } => {
                let retried = quarantine::retry::recover(&quarantine_dir(&config)).map_err(ClerkError::from);
                let taken_up = retried.and_then(|()| self.take_up(&config, std::slice::from_ref(&landing), &in_flight));
                let taken_up = taken_up.map_err(|error| self.obstacle(&error));
                self.settle_before(Event::Recovered { landing, taken_up })
            }
            Paper::Tick { probe } => self.tick(&probe),
            Paper::Commit { .. } | Paper::Quarantine { .. } | Paper::Stop { .. } => Vec::new(),
        }
    }

    fn begin(&mut self, worker: usize, jobs: Vec<(JobId, Arc<Landing>)>) -> Event {
        match self.record_begin(&jobs) {
            Ok(begun) => Event::Begun { worker, jobs: begun },
            Err(error) => {
                let jobs = jobs.into_iter().map(|(job, _)| job).collect();
                Event::NotBegun { worker, jobs, obstacle: self.obstacle(&error.into()) }
            }
        }
    }

    fn record_begin(&mut self, jobs: &[(JobId, Arc<Landing>)]) -> Result<Vec<(JobId, Attempts)>, LedgerError> {
        let rows: Vec<_> = jobs.iter().map(|(job, landing)| (*job, landing.name.as_str())).collect();
        self.ledger.begin(&rows)?;
        crate::faults::point("begun");
        jobs.iter().map(|(job, _)| Ok((*job, self.ledger.attempts(*job)?.unwrap_or_default()))).collect()
    }

    fn finish(&mut self, deeds: Vec<Deed>, events: &mpsc::Sender<Event>) {
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
            columns: output.columns,
            policy: planned
                .policy
                .map(|policy| vault::ReceiptPolicy { name: policy.name.clone(), sha256: policy.sha256.clone() }),
            recipients: planned.recipients.to_vec(),
            verify: "off".to_owned(),
            veild: env!("CARGO_PKG_VERSION").to_owned(),
        };
        outputs
            .map(|(planned, output)| Finished { receipt: receipt(&planned, output), incoming: planned.incoming })
            .collect()
    }
}

/// `STATE/quarantine`.
pub fn quarantine_dir(config: &Config) -> PathBuf {
    config.daemon.state_dir.join("quarantine")
}

/// Whether the source is still what was claimed, and nobody writes to it any more.
fn is_unchanged(job: &Job) -> Result<bool, PathError> {
    let path: &Path = &job.claimed.path;
    let file = spool::open_regular(path)?;
    Ok(spool::stamp(&file, path)? == job.claimed.stamp && spool::writers(&file) != Writers::Some)
}

/// A file whose outputs are finished.
struct Ready {
    job: Box<Job>,
    outputs: Vec<Finished>,
    /// Where its landing cares about duplicates.
    content: Option<Content>,
}

enum Deed {
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
