//! The thread that makes outcomes durable, in this order: vault or quarantine, audit, ledger, and only then the source
//! goes. What has gathered in its inbox is committed together.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::event::{Begun, Event};
use super::places::{Obstacle, Place};
use super::reload::Proposal;
use crate::audit::ship::Delivery;
use crate::audit::{AuditError, Record, Trail};
use crate::config::{Config, Landing};
use crate::fsutil::PathError;
use crate::job::JobId;
use crate::keys::{MaskingKeys, SigningKey};
use crate::ledger::{Ledger, LedgerError};
use crate::pipeline::Fault;
use crate::quarantine;
use crate::worker::message::Masked;

mod commit;
mod duplicates;
mod expiry;
mod housekeeping;
mod job;
mod recovery;
mod settled;
mod shipping;

pub use crate::fsutil::chain;
use commit::Deed;
pub use housekeeping::obstacle;
pub use job::{Job, Planned};
use settled::Settled;

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
    /// An attempt could not be brought to its end, for reasons outside the file; it waits for another.
    AttemptPutOff {
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
    /// Records on behalf of a command, which must not go on without them.
    AuditFor {
        records: Vec<Record>,
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
        done: oneshot::Sender<()>,
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
        /// Kinds of leaks that were sealed all the same.
        leaks: usize,
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
    /// Other levels were frozen on the landing meanwhile: the attempt starts over with these.
    Refrozen,
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
    /// When the trail was last found to be in order, and what stood in the way then.
    upkeep: Option<(Instant, Option<String>)>,
    /// When the quarantine was last looked through for what has been kept long enough, and what stood in the way then.
    expired: Option<(Instant, Option<String>)>,
    /// Where the trail is carried, and which of the targets are late.
    shipping: Vec<(Arc<Delivery>, bool)>,
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
    #[error("{} are in quarantine, more than `[quarantine] max_size` ({})", crate::daemon::places::readable(*bytes), crate::daemon::places::readable(*most))]
    Crowded { bytes: u64, most: u64, dir: PathBuf },
}

/// Starts the thread; it ends at [`Paper::Stop`] or when the sender is dropped.
pub fn start(clerk: Clerk, events: mpsc::Sender<Event>) -> std::io::Result<Sender<Paper>> {
    let (papers, inbox) = channel();
    std::thread::Builder::new().name("clerk".to_owned()).spawn(move || clerk.work(&inbox, &events))?;
    Ok(papers)
}

impl Clerk {
    pub fn new(config: Arc<Config>, ledger: Ledger, trail: Trail, signing: SigningKey, keys: MaskingKeys) -> Clerk {
        let (owed, unsettled) = (Vec::new(), Vec::new());
        let shipping = Vec::new();
        Clerk {
            config,
            ledger,
            trail,
            signing,
            keys,
            owed,
            unsettled,
            forgot_at: None,
            upkeep: None,
            expired: None,
            shipping,
        }
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
            Paper::AttemptPutOff { job } => {
                // Should the daemon end before it is written: an interruption too many is held against nobody.
                let _ = self.ledger.attempt_over(job, false);
                Vec::new()
            }
            Paper::Audit(record) => {
                self.owe(*record);
                self.pay().err().map(|error| self.failed(error)).into_iter().collect()
            }
            Paper::AuditFor { records, answer } => {
                // What can be seen already has its record first.
                let mut events: Vec<Event> = self.settle().events().collect();
                let appended = self.append(&records);
                let reply = match &appended {
                    Ok(()) => serde_json::json!({"ok": true}),
                    Err(error) => serde_json::json!({"error": chain(error)}),
                };
                let _ = answer.send(reply); // the asker may have left
                events.extend(appended.err().map(|error| self.failed(error)));
                events
            }
            Paper::TakeUp { proposal, in_flight } => {
                let taken_up = self.take_up(&proposal.config, &proposal.added, &in_flight);
                let taken_up = taken_up.map_err(|error| chain(&error)).map(|taken_up| (proposal, taken_up));
                self.settle_before(Event::TakenUp(taken_up))
            }
            Paper::Recover { config, landing, in_flight } => {
                let retried =
                    quarantine::retry::recover(&quarantine_dir(&config), &config.audit.dir).map_err(ClerkError::from);
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

    fn record_begin(&mut self, jobs: &[(JobId, Arc<Landing>)]) -> Result<Vec<Begun>, LedgerError> {
        let rows: Vec<_> = jobs.iter().map(|(job, landing)| (*job, landing.name.as_str())).collect();
        self.ledger.begin(&rows)?;
        crate::faults::point("begun");
        let begun = |(job, landing): &(JobId, Arc<Landing>)| {
            let attempts = self.ledger.attempts(*job)?.unwrap_or_default();
            Ok(Begun { job: *job, attempts, frozen: self.ledger.frozen(&landing.name)? })
        };
        jobs.iter().map(begun).collect()
    }
}

/// `STATE/quarantine`.
pub fn quarantine_dir(config: &Config) -> PathBuf {
    config.daemon.state_dir.join("quarantine")
}
