//! From a claimed file to its verdict: batches, workers, attempts.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::health::alert;
use super::{Running, State, TimerKey};
use crate::audit::{Action, Outcome as AuditOutcome};
use crate::config::{Duplicates, Landing};
use crate::daemon::clerk::{Paper, Planned, Verdict, chain};
use crate::daemon::event::Begun;
use crate::daemon::places::Obstacle;
use crate::daemon::porter::Errand;
use crate::fsutil::PathError;
use crate::intake::Hint;
use crate::job::JobId;
use crate::keys::Passphrases;
use crate::ledger::{Attempts, Frozen};
use crate::pipeline::{Failure, Fault, Reading, UNRECOGNISED};
use crate::policy::Policy;
use crate::seal::Readers;
use crate::spool::{Stamp, Writers};
use crate::worker::message::{OutputSpec, Task, Work};
use crate::worker::pool::{Assignment, NotStarted, Outcome, WorkerReport};

/// Most small files handed to a worker together.
const MAX_BATCH: usize = 128;
/// Time between two looks at a claimed file that somebody writes to: the landing's `quiet`, within these.
const MIN_REVISIT: Duration = Duration::from_millis(500);
const MAX_REVISIT: Duration = Duration::from_secs(10);
/// A file up to this size counts as small.
const SMALL_BYTES: u64 = 1 << 20;
/// From this many ends of the daemon during its attempts on, a file runs alone.
pub(super) const SOLITARY_FROM: u32 = 2;

impl State {
    pub(super) fn dispatch(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        self.look_at_deferred();
        self.sweep_passed_by();
        while let Some(id) = self.next_ready() {
            // So that it is known which file ends the daemon.
            let alone = self.is_solitary(id);
            let others_at_work = self.idle.len() < self.config.daemon.workers;
            let kept_apart = self.solitary.is_some_and(|worker| !self.idle.contains(&worker));
            if kept_apart || (alone && others_at_work) {
                return;
            }
            let Some(worker) = self.idle.pop() else { return };
            self.solitary = alone.then_some(worker);
            let jobs = self.next_batch();
            self.hand(Paper::Begin { worker, jobs });
        }
    }

    fn is_solitary(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|running| running.attempts.interrupted >= SOLITARY_FROM)
    }

    /// The next file to work on; those whose places cannot be written, or whose readers are nobody, are put aside.
    fn next_ready(&mut self) -> Option<JobId> {
        while let Some(id) = self.ready.front().copied() {
            let Some(running) = self.jobs.get(&id) else {
                self.ready.pop_front();
                continue;
            };
            if !self.places.blocks(&running.job.landing.name) && self.has_readers(id) {
                return Some(id);
            }
            self.held.extend(self.ready.pop_front());
        }
        None
    }

    /// Files in flight and those of a landing that may be soon. Of others' porters none is waited for: one may hang.
    pub(super) fn in_flight(&self, landing: &Landing) -> usize {
        self.jobs.len() + self.pending.get(&landing.name).map_or(0, HashSet::len)
    }

    /// Takes up finished files once half of the places in flight are free; landings share them.
    pub(super) fn look_at_deferred(&mut self) {
        if self.deferred.is_empty() || self.jobs.len() > self.max_jobs / 2 {
            return;
        }
        let wait = |landing: &Arc<Landing>| self.deferred.has_of(&landing.name) && self.may_claim(landing);
        let waiting: Vec<Arc<Landing>> = self.landings.iter().filter(|it| wait(it)).cloned().collect();
        for landing in &waiting {
            let in_flight = self.in_flight(landing);
            if in_flight > self.max_jobs / 2 {
                continue;
            }
            let share = (self.max_jobs - in_flight).div_ceil(waiting.len());
            for relative in self.deferred.take(&landing.name, share) {
                let key = (landing.name.clone(), relative);
                if let Some(tracked) = self.candidates.get_mut(&key) {
                    tracked.deferred = None;
                }
                self.pending.entry(key.0).or_default().insert(key.1.clone());
                self.send(Errand::Look { landing: landing.clone(), relative: key.1, hint: Hint::Due });
            }
        }
    }

    /// The oldest ready file with as many small ones behind it as leaves work for the other workers.
    fn next_batch(&mut self) -> Vec<(JobId, Arc<Landing>)> {
        let share = self.ready.len().div_ceil(self.config.daemon.workers).clamp(1, MAX_BATCH);
        let mut batch = Vec::new();
        while batch.len() < share
            && let Some(id) = self.next_ready()
        {
            let running = &self.jobs[&id];
            let alone = running.job.claimed.stamp.bytes > SMALL_BYTES
                || running.attempts.died > 0
                || running.attempts.interrupted >= SOLITARY_FROM;
            if alone && !batch.is_empty() {
                break;
            }
            batch.push((id, running.job.landing.clone()));
            self.ready.pop_front();
            if alone {
                break;
            }
        }
        batch
    }

    pub(super) fn on_begun(&mut self, worker: usize, jobs: Vec<Begun>) {
        let mut assignments = Vec::new();
        for Begun { job, attempts, frozen } in jobs {
            let Some(running) = self.jobs.get_mut(&job) else { continue };
            running.attempts = attempts;
            assignments.push(assignment(running, &frozen, &self.passphrases));
        }
        if assignments.is_empty() {
            self.idle.push(worker);
        } else {
            self.pool.assign(worker, assignments);
        }
    }

    pub(super) fn alert_of_interruptions(&mut self, id: JobId, times: u32) {
        tracing::error!(
            code = "file_interrupted",
            job = %id,
            times,
            "the daemon ended more than once while this file was at work; it runs alone, after all others"
        );
        self.interrupted.insert(id);
        let record = alert(Action::AlertRaised, AuditOutcome::Failure, "file_interrupted")
            .veild("job", json!(id))
            .veild("times", json!(times));
        self.hand(Paper::Audit(Box::new(record)));
    }

    /// Takes leave of a job, and of its alert.
    pub(super) fn forget(&mut self, id: JobId) -> Option<Running> {
        if self.interrupted.remove(&id) {
            let record = alert(Action::AlertCleared, AuditOutcome::Success, "file_interrupted").veild("job", json!(id));
            self.hand(Paper::Audit(Box::new(record)));
        }
        self.jobs.remove(&id)
    }

    pub(super) fn on_worker(&mut self, report: WorkerReport) {
        let WorkerReport { worker, job, outcome, idle } = report;
        if idle {
            self.idle.push(worker);
        }
        let Some(running) = self.jobs.get_mut(&job) else { return };
        match outcome {
            Outcome::Masked(Ok(masked)) => {
                let job = Box::new(running.job.clone());
                self.hand(Paper::Commit { job, masked });
            }
            Outcome::Masked(Err(Failure::Reject(fault))) => {
                if fault.code == UNRECOGNISED.0 && running.job.landing.unrecognised.is_some() {
                    running.job.unrecognised = Some(fault.sentence);
                    self.ready.push_front(job);
                } else {
                    self.reject(job, fault);
                }
            }
            Outcome::Sealed(Ok(())) => {
                if let Some(fault) = running.rejected.clone() {
                    let (attempts, boxed) = (running.attempts.died, Box::new(running.job.clone()));
                    self.hand(Paper::Quarantine { job: boxed, fault, sealed: true, attempts });
                }
            }
            Outcome::Masked(Err(Failure::Retry { doing, error, errno }))
            | Outcome::Sealed(Err(Failure::Retry { doing, error, errno })) => {
                let obstacle = self.worker_obstacle(&format!("cannot {doing}: {error}"), errno);
                self.set_back(job, &obstacle);
            }
            Outcome::Masked(Err(Failure::Defect { what })) | Outcome::Sealed(Err(Failure::Defect { what })) => {
                tracing::error!(code = "worker_died", job = %job, "{what}; a new worker takes over; report a bug");
                self.count("worker_deaths");
                self.hand(Paper::AttemptOver { job });
            }
            Outcome::Sealed(Err(Failure::Reject(fault))) => self.set_back(job, &Obstacle::other(fault.sentence)),
            Outcome::NotStarted(NotStarted::Path(error)) => self.set_back(job, &Obstacle::from(&error)),
            Outcome::NotStarted(why) => self.set_back(job, &Obstacle::other(chain(&why))),
            Outcome::Died { hung } => {
                let code = if hung { "worker_hung" } else { "worker_died" };
                tracing::error!(code, job = %job, "a worker ended while it had this file; a new one takes over");
                self.count("worker_deaths");
                self.hand(Paper::AttemptOver { job });
            }
        }
    }

    pub(super) fn on_attempt_over(&mut self, id: JobId, attempts: Option<Attempts>) {
        let Some(running) = self.jobs.get_mut(&id) else { return };
        let counted = Attempts { died: running.attempts.died + 1, ..running.attempts };
        let attempts = attempts.unwrap_or(counted);
        running.attempts = attempts;
        if attempts.died < self.config.daemon.max_attempts {
            self.ready.push_back(id);
        } else if running.rejected.is_some() {
            // Even sealing the original kills the worker: keep trying, slowly, rather than leave it unsealed.
            self.set_back(id, &Obstacle::other("workers end while sealing the original"));
        } else {
            self.reject(id, worker_died(attempts.died));
        }
    }

    /// Sends a file to quarantine, by way of a worker where its original is to be sealed.
    pub(super) fn reject(&mut self, id: JobId, fault: Fault) {
        let Some(running) = self.jobs.get_mut(&id) else { return };
        running.rejected = Some(fault.clone());
        if !running.job.config.quarantine.is_sealed() {
            let (attempts, job) = (running.attempts.died, Box::new(running.job.clone()));
            self.hand(Paper::Quarantine { job, fault, sealed: false, attempts });
        } else {
            self.ready.push_front(id);
        }
    }

    /// Takes a job up again.
    pub(super) fn take_up(&mut self, id: JobId) {
        match self.jobs.get(&id).map(|running| running.rejected.clone()) {
            Some(Some(fault)) => self.reject(id, fault),
            Some(None) if !self.ready.contains(&id) => self.ready.push_back(id),
            Some(None) | None => {}
        }
    }

    pub(super) fn on_verdict(&mut self, id: JobId, verdict: Verdict) {
        let Some(running) = self.jobs.get(&id) else { return };
        let landing = running.job.landing.name.clone();
        match verdict {
            Verdict::Sealed { rows, bytes, object, views, leaks } => {
                let object = object.display().to_string();
                if leaks > 0 {
                    let what = "sealed with leaks, as the policy has `verify = \"warn\"`";
                    tracing::warn!(code = "leak_sealed", job = %id, landing, object, leaks, "{what}");
                }
                let how = match &running.job.unrecognised {
                    Some(_) => "sealed as it is, for the archive's readers",
                    None => "sealed",
                };
                tracing::info!(code = "file_sealed", job = %id, landing, rows, bytes, object, views, "{how}");
                let input_bytes = running.job.claimed.stamp.bytes;
                self.count("sealed");
                let now = self.now().monotonic;
                self.tally.sealed(&landing, input_bytes, Timestamp::now(), now);
                self.forget(id);
            }
            Verdict::Quarantined { fault } => {
                tracing::warn!(code = "file_quarantined", job = %id, landing, reason = fault.code, "{}", fault.sentence);
                self.count("quarantined");
                self.tally.quarantined(&landing);
                self.forget(id);
            }
            Verdict::Skipped { duplicate_of } => {
                let of = duplicate_of.to_string();
                tracing::info!(code = "file_skipped", job = %id, landing, of, "its content was sealed before; removed");
                self.count("skipped");
                self.forget(id);
            }
            Verdict::Duplicate { fault } => self.reject(id, fault),
            Verdict::Changed => {
                tracing::warn!(code = "file_changed", job = %id, landing, "the file changed after its claim; starting over");
                self.start_over(id);
            }
            Verdict::Refrozen => {
                tracing::info!(code = "levels_frozen", job = %id, landing, "another file has chosen the levels; starting over");
                self.start_over(id);
            }
            Verdict::Failed(obstacle) => self.set_back(id, &obstacle),
        }
    }

    fn start_over(&mut self, id: JobId) {
        let Some(running) = self.jobs.get_mut(&id) else { return };
        running.rejected = None;
        running.job.unrecognised = None;
        running.awaited = true;
        self.revisit(id);
    }

    /// Has a look at a file that somebody had written to; it is worked on when that is over.
    pub(super) fn revisit(&mut self, id: JobId) {
        let Some(Running { job, .. }) = self.jobs.get(&id) else { return };
        let (landing, path) = (job.landing.clone(), job.claimed.path.clone());
        self.send(Errand::Revisit { landing, job: id, path });
    }

    pub(super) fn on_revisited(&mut self, id: JobId, found: Result<(Stamp, Writers), PathError>) {
        let Some(running) = self.jobs.get_mut(&id).filter(|running| running.awaited) else { return };
        match found {
            Ok((stamp, writers)) if stamp == running.job.claimed.stamp && writers != Writers::Some => {
                running.awaited = false;
                self.judge_size(id);
            }
            Ok((stamp, _)) => {
                running.job.claimed.stamp = stamp;
                let pause = running.job.landing.quiet.clamp(MIN_REVISIT, MAX_REVISIT);
                self.remind(self.now().monotonic + pause, TimerKey::Revisit(id));
            }
            Err(error) => {
                running.awaited = false;
                self.set_back(id, &Obstacle::from(&error));
            }
        }
    }
}

fn assignment(running: &Running, frozen: &[Frozen], passphrases: &Passphrases) -> Assignment {
    let job = &running.job;
    let (work, incoming) = if running.rejected.is_some() {
        let readers = Readers::new(&job.config.quarantine.recipients, passphrases);
        (Work::Seal { readers }, vec![job.incoming_original()])
    } else {
        let spec = |output: &Planned<'_>| {
            let readers = Readers::new(output.recipients, passphrases);
            match output.policy.map(|policy| with_frozen(policy, output.view.as_deref(), frozen)) {
                Some(policy) => OutputSpec::Masked { policy, writing: job.landing.writing, readers },
                None => OutputSpec::Original { readers },
            }
        };
        let planned = job.outputs();
        let extension = crate::pipeline::extension(&job.claimed.name);
        let reading = Box::new(Reading { extension, ..job.landing.reading.clone() });
        let digest = job.config.vault.input_digest;
        let content = job.landing.duplicates != Duplicates::Process;
        let work = Work::Mask { reading, digest, content, outputs: planned.iter().map(spec).collect() };
        (work, planned.into_iter().map(|output| output.incoming).collect())
    };
    Assignment { task: Task { job: job.id(), work }, source: job.claimed.path.clone(), incoming }
}

/// A policy with the levels that were frozen for it.
fn with_frozen(policy: &Policy, view: Option<&str>, frozen: &[Frozen]) -> Policy {
    let mut policy = policy.clone();
    if let Some(asked) = policy.anonymity.as_mut().filter(|asked| asked.freeze.is_some()) {
        let digest = asked.digest();
        let is_its = |it: &&Frozen| it.output == view.unwrap_or_default() && it.anonymity == digest;
        asked.frozen = frozen.iter().find(is_its).map(|it| it.levels.clone());
    }
    policy
}

fn worker_died(times: u32) -> Fault {
    Fault {
        code: "worker_died".to_owned(),
        sentence: format!("{times} workers died or hung on this file"),
        row: None,
        column: None,
        byte_offset: None,
        advice: "raise worker_memory if the file has very long records; otherwise report a bug".to_owned(),
    }
}
