//! An outcome that can be seen, on its way into audit trail and ledger.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Clerk, ClerkError, Job, Verdict};
use crate::audit::{Action, Outcome, Record};
use crate::daemon::event::Event;
use crate::daemon::places::Obstacle;
use crate::job::JobId;
use crate::keys::MaskingKeys;
use crate::pipeline::{Fault, UNRECOGNISED};
use crate::spool;
use crate::vault::{Published, Receipt, is_archived};

/// A job whose outcome is visible, on its way through audit trail and ledger to the removal of its source.
pub(super) struct Settled {
    pub job: Box<Job>,
    pub outcome: SettledOutcome,
    pub stage: Stage,
}

/// How far a visible outcome has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Visible,
    Audited,
    /// In the ledger, too: only the source is left to go.
    Recorded,
}

pub(super) enum SettledOutcome {
    /// Main output, views, archived original.
    Sealed {
        outputs: Vec<(Receipt, Published)>,
    },
    Quarantined {
        fault: Fault,
        attempts: u32,
    },
    Skipped {
        duplicate_of: JobId,
    },
}

/// What became of the visible outcomes.
#[derive(Default)]
pub struct Settlement {
    pub verdicts: Vec<(JobId, Verdict)>,
    /// Nothing can be recorded: nothing more must become visible.
    pub stopped: Option<Obstacle>,
    /// Sources that could not be removed; other landings go on.
    pub in_landings: Vec<Obstacle>,
}

impl Settlement {
    /// Adds what a later settling has brought: it has tried again what was left before.
    pub(super) fn add(&mut self, later: Settlement) {
        self.verdicts.extend(later.verdicts);
        self.stopped = later.stopped;
        self.in_landings = later.in_landings;
    }

    /// What the loop is to know of it.
    pub fn events(self) -> impl Iterator<Item = Event> {
        let decided = (!self.verdicts.is_empty()).then_some(Event::Decided(self.verdicts));
        decided.into_iter().chain(self.stopped.into_iter().chain(self.in_landings).map(Event::ClerkFailed))
    }
}

impl Clerk {
    /// Audit, ledger, then the sources go. What an error leaves stays with the clerk, who goes on from there.
    pub fn settle(&mut self) -> Settlement {
        if let Err(error) = self.record_settled() {
            let stopped = Some(self.obstacle(&error));
            return Settlement { stopped, ..Settlement::default() };
        }
        let mut settlement = Settlement::default();
        self.unsettled.retain(|settled| match spool::remove(&settled.job.landing.dir, &settled.job.claimed) {
            Ok(()) => {
                crate::faults::point("source_removed");
                settlement.verdicts.push(settled.verdict());
                false
            }
            Err(error) => {
                settlement.in_landings.push(Obstacle::from(&error));
                true
            }
        });
        settlement
    }

    fn record_settled(&mut self) -> Result<(), ClerkError> {
        let at = |stage: Stage| move |settled: &&Settled| settled.stage == stage;
        let visible = self.unsettled.iter().filter(at(Stage::Visible));
        let records: Vec<Record> = visible.map(|settled| settled.record(&self.keys)).collect();
        if !records.is_empty() || !self.owed.is_empty() {
            self.append(&records)?;
            crate::faults::point("audited");
        }
        for settled in self.unsettled.iter_mut().filter(|settled| settled.stage == Stage::Visible) {
            settled.stage = Stage::Audited;
        }
        let audited = self.unsettled.iter().filter(at(Stage::Audited));
        let outcomes: Vec<_> =
            audited.map(|it| (it.job.id(), it.job.landing.name.as_str(), it.outcome.name())).collect();
        if !outcomes.is_empty() {
            self.ledger.done(&outcomes, self.trail.last_seq())?;
            crate::faults::point("ledger_done");
        }
        self.unsettled.iter_mut().for_each(|settled| settled.stage = Stage::Recorded);
        Ok(())
    }
}

impl SettledOutcome {
    pub fn name(&self) -> &'static str {
        match self {
            SettledOutcome::Sealed { .. } => "sealed",
            SettledOutcome::Quarantined { .. } => "quarantined",
            SettledOutcome::Skipped { .. } => "skipped",
        }
    }
}

impl Settled {
    pub fn sealed(job: Box<Job>, outputs: Vec<(Receipt, Published)>) -> Settled {
        Settled::new(job, SettledOutcome::Sealed { outputs })
    }

    pub fn new(job: Box<Job>, outcome: SettledOutcome) -> Settled {
        Settled { job, outcome, stage: Stage::Visible }
    }

    pub fn verdict(&self) -> (JobId, Verdict) {
        let verdict = match &self.outcome {
            SettledOutcome::Sealed { outputs } => {
                let (receipt, published) = &outputs[0];
                Verdict::Sealed {
                    rows: receipt.rows_out,
                    bytes: receipt.output.bytes,
                    object: published.object.clone(),
                    leaks: outputs.iter().map(|(receipt, _)| receipt.verify.leaks.len()).sum(),
                    views: outputs.iter().filter(|(receipt, _)| receipt.view.is_some()).count(),
                }
            }
            SettledOutcome::Quarantined { fault, .. } => Verdict::Quarantined { fault: fault.clone() },
            SettledOutcome::Skipped { duplicate_of } => Verdict::Skipped { duplicate_of: *duplicate_of },
        };
        (self.job.id(), verdict)
    }

    pub fn record(&self, keys: &MaskingKeys) -> Record {
        let job = &self.job;
        let name = job.public_name(keys);
        match &self.outcome {
            SettledOutcome::Sealed { outputs } => {
                let (receipt, published) = &outputs[0];
                let record = Record::new(Timestamp::now(), Action::FileSealed, Outcome::Success)
                    .field("file", json!({"name": name, "size": job.claimed.stamp.bytes}))
                    .veild("job", json!(job.id()))
                    .veild("landing", json!(receipt.landing))
                    .veild("arrived_at", json!(receipt.arrived_at))
                    .veild("claimed_at", json!(receipt.claimed_at))
                    .veild("sealed_at", json!(receipt.sealed_at));
                if is_archived(&published.object) {
                    // After a restart only that it was, not as what.
                    let what = job.unrecognised.as_deref().unwrap_or(UNRECOGNISED.1);
                    return record.veild("unrecognised", what).veild("archive", output_record(&outputs[0]));
                }
                let record = record
                    .veild("rows_in", json!(receipt.rows_in))
                    .veild("rows_out", json!(receipt.rows_out))
                    .veild("rows_suppressed", json!(receipt.rows_suppressed))
                    .veild("object", json!(receipt.output.path))
                    .veild("object_sha256", json!(receipt.output.sha256))
                    .veild("receipt_sha256", json!(published.receipt_sha256))
                    .veild("policy", json!(receipt.policy));
                let (archived, views): (Vec<_>, Vec<_>) =
                    outputs[1..].iter().partition(|(_, published)| is_archived(&published.object));
                let views: Vec<Value> = views.into_iter().map(output_record).collect();
                let k = receipt.anonymity.as_ref().map(|anonymity| anonymity.k);
                let record = if let Some(k) = k { record.veild("k", json!(k)) } else { record };
                let record = if views.is_empty() { record } else { record.veild("views", views) };
                archived.into_iter().fold(record, |record, output| record.veild("archive", output_record(output)))
            }
            SettledOutcome::Quarantined { fault, attempts } => {
                Record::new(Timestamp::now(), Action::FileQuarantined, Outcome::Failure)
                    .field("file", json!({"name": name, "size": job.claimed.stamp.bytes}))
                    .field("error", json!({"code": fault.code, "message": fault.sentence}))
                    .veild("job", json!(job.id()))
                    .veild("landing", json!(job.landing.name))
                    .veild("row", json!(fault.row))
                    .veild("column", json!(fault.column))
                    .veild("byte_offset", json!(fault.byte_offset))
                    .veild("attempts", json!(attempts))
            }
            SettledOutcome::Skipped { duplicate_of } => {
                Record::new(Timestamp::now(), Action::FileSkipped, Outcome::Success)
                    .field("file", json!({"name": name, "size": job.claimed.stamp.bytes}))
                    .veild("job", json!(job.id()))
                    .veild("landing", json!(job.landing.name))
                    .veild("arrived_at", json!(job.arrived_at))
                    .veild("claimed_at", json!(job.id().claim_time()))
                    .veild("duplicate_of", json!(duplicate_of))
            }
        }
    }
}

/// What the record of a sealed file says of an output beside its main one.
fn output_record((receipt, published): &(Receipt, Published)) -> Value {
    json!({
        "view": receipt.view,
        "rows_out": receipt.rows_out,
        "rows_suppressed": receipt.rows_suppressed,
        "object": receipt.output.path,
        "object_sha256": receipt.output.sha256,
        "receipt_sha256": published.receipt_sha256,
        "policy": receipt.policy,
    })
}
