//! The thread that makes outcomes durable, in this order: vault or quarantine, audit, ledger, and only then the source
//! goes. What has gathered in its inbox is committed together.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::event::Event;
use super::reload::Proposal;
use crate::audit::{Record, Trail};
use crate::config::{Config, Landing};
use crate::fsutil::PathError;
use crate::job::JobId;
use crate::keys::{MaskingKeys, SigningKey};
use crate::ledger::{Attempts, Ledger, LedgerError};
use crate::pipeline::{Fault, OutputReport, Report};
use crate::quarantine::{self, Original, Reason};
use crate::spool::{self, Writers};
use crate::vault::{self, Finished, Receipt};

mod job;
mod recovery;
mod settled;

pub use job::{Job, Planned};
use settled::{Settled, SettledOutcome};

/// Most outcomes committed together.
const MAX_BATCH: usize = 256;

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
        report: Report,
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
    Audit(Box<Record>),
    Tick,
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
    /// The source changed after its claim: the attempt starts over.
    Changed,
    /// Nothing was decided; the attempt starts over after a pause.
    Failed(String),
}

/// Everything durable that the daemon owns.
pub struct Clerk {
    pub config: Arc<Config>,
    pub ledger: Ledger,
    pub trail: Trail,
    pub signing: SigningKey,
    pub keys: MaskingKeys,
}

/// The clerk cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum ClerkError {
    #[error(transparent)]
    Io(#[from] PathError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Audit(#[from] crate::audit::AuditError),
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
    fn work(mut self, inbox: &Receiver<Paper>, events: &mpsc::Sender<Event>) {
        while let Ok(first) = inbox.recv() {
            let mut papers = vec![first];
            while papers.len() < MAX_BATCH
                && let Ok(next) = inbox.try_recv()
            {
                papers.push(next);
            }
            let mut outcomes = Vec::new();
            for paper in papers {
                let event = match paper {
                    Paper::Commit { job, report } => {
                        outcomes.push(Deed::Seal(job, report));
                        continue;
                    }
                    Paper::Quarantine { job, fault, sealed, attempts } => {
                        outcomes.push(Deed::Reject { job, fault, sealed, attempts });
                        continue;
                    }
                    Paper::Begin { worker, jobs } => Ok(Some(self.begin(worker, jobs))),
                    Paper::AttemptOver { job } => {
                        // A count that cannot be written is made up for by one attempt more.
                        let attempts = self.ledger.attempt_over(job, true).unwrap_or_default();
                        Ok(Some(Event::AttemptOver { job, attempts }))
                    }
                    Paper::TakeUp { proposal, in_flight } => {
                        let taken_up = self.take_up(&proposal.config, &proposal.added, &in_flight);
                        let taken_up = taken_up.map_err(|error| chain(&error));
                        Ok(Some(Event::TakenUp(taken_up.map(|taken_up| (proposal, taken_up)))))
                    }
                    Paper::Audit(record) => self.trail.append(&[*record]).map(|_| None).map_err(ClerkError::from),
                    Paper::Tick => {
                        self.trail.checkpoint(Timestamp::now(), false).map(|()| None).map_err(ClerkError::from)
                    }
                    Paper::Stop { record, done } => {
                        self.finish(outcomes, events);
                        let stopped = self.trail.append(&[*record]).map(|_| ());
                        if let Err(error) = stopped.and_then(|()| self.trail.checkpoint(Timestamp::now(), true)) {
                            tracing::error!(code = "audit_failed", "{}", chain(&error));
                        }
                        let _ = done.send(()); // nobody waits any more
                        return;
                    }
                };
                let event = event.unwrap_or_else(|error| Some(Event::ClerkFailed { what: chain(&error) }));
                if event.is_some_and(|event| events.blocking_send(event).is_err()) {
                    return;
                }
            }
            self.finish(outcomes, events);
        }
    }

    fn begin(&mut self, worker: usize, jobs: Vec<(JobId, Arc<Landing>)>) -> Event {
        match self.record_begin(&jobs) {
            Ok(begun) => Event::Begun { worker, jobs: begun },
            Err(error) => {
                let jobs = jobs.into_iter().map(|(job, _)| job).collect();
                Event::NotBegun { worker, jobs, what: chain(&error) }
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
        let jobs: Vec<JobId> = deeds.iter().map(|deed| deed.job().id()).collect();
        let verdicts = self.commit(deeds).unwrap_or_else(|error| {
            let what = chain(&error);
            jobs.iter().map(|job| (*job, Verdict::Failed(what.clone()))).collect()
        });
        let _ = events.blocking_send(Event::Decided(verdicts)); // the loop may have ended
    }

    /// Commits a batch of outcomes. An error leaves every job of the batch to start over, which finds what was done.
    fn commit(&mut self, deeds: Vec<Deed>) -> Result<Vec<(JobId, Verdict)>, ClerkError> {
        let mut verdicts = Vec::new();
        let mut settled = Vec::new();
        let mut finished = Vec::new();
        for deed in deeds {
            let id = deed.job().id();
            match is_unchanged(deed.job()) {
                Ok(true) => {}
                Ok(false) => {
                    self.ledger.attempt_over(id, false)?;
                    verdicts.push((id, Verdict::Changed));
                    continue;
                }
                // Its landing may have been moved or unmounted; the rest of the batch need not wait for it.
                Err(error) => {
                    verdicts.push((id, Verdict::Failed(chain(&error))));
                    continue;
                }
            }
            match deed {
                Deed::Seal(job, report) => finished.push((self.finished(&job, report), job)),
                Deed::Reject { job, fault, sealed, attempts } => {
                    // An earlier attempt may have published before its commit failed.
                    for output in job.outputs() {
                        vault::take_back(&job.config.vault.dir, &output.object)?;
                    }
                    self.quarantine(&job, &fault, sealed, attempts)?;
                    settled.push(Settled { job, outcome: SettledOutcome::Quarantined { fault, attempts } });
                }
            }
        }
        settled.extend(self.publish(finished)?);
        crate::faults::point("published");
        self.settle(&settled)?;
        verdicts.extend(settled.into_iter().map(|settled| settled.verdict()));
        Ok(verdicts)
    }

    fn publish(&self, finished: Vec<(Vec<Finished>, Box<Job>)>) -> Result<Vec<Settled>, ClerkError> {
        if finished.is_empty() {
            return Ok(Vec::new());
        }
        let (outputs, jobs): (Vec<_>, Vec<_>) = finished.into_iter().unzip();
        let published = vault::publish(&self.config.vault.dir, &outputs, &self.signing)?;
        Ok(jobs.into_iter().zip(published).map(|(job, outputs)| Settled::sealed(job, outputs)).collect())
    }

    /// Audit, ledger, then the sources go.
    fn settle(&mut self, settled: &[Settled]) -> Result<(), ClerkError> {
        if settled.is_empty() {
            return Ok(());
        }
        let records: Vec<Record> = settled.iter().map(|settled| settled.record(&self.keys)).collect();
        self.trail.append(&records)?;
        crate::faults::point("audited");
        let outcomes: Vec<_> =
            settled.iter().map(|it| (it.job.id(), it.job.landing.name.as_str(), it.outcome.name())).collect();
        self.ledger.done(&outcomes, self.trail.last_seq())?;
        crate::faults::point("ledger_done");
        for settled in settled {
            spool::remove(&settled.job.landing.dir, settled.job.id())?;
            crate::faults::point("source_removed");
        }
        Ok(())
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
        quarantine::store(&quarantine_dir(&job.config), &original, &reason)?;
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

enum Deed {
    Seal(Box<Job>, Report),
    Reject { job: Box<Job>, fault: Fault, sealed: bool, attempts: u32 },
}

impl Deed {
    fn job(&self) -> &Job {
        match self {
            Deed::Seal(job, _) | Deed::Reject { job, .. } => job,
        }
    }
}
