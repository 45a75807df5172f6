//! The loop and what it owns: candidates, jobs, workers, timers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::clerk::{Job, Paper, Verdict};
use super::event::{Event, Request};
use super::porter::{Errand, is_wanted};
use super::{DaemonError, control, tell_systemd};
use crate::audit::{Action, Outcome as AuditOutcome, Record};
use crate::config::{Config, Landing};
use crate::intake::{self, Candidate, Decision, Hint, Kind, Now, Rules, Stat};
use crate::job::JobId;
use crate::ledger::Attempts;
use crate::pipeline::{Failure, Fault};
use crate::spool::NotClaimed;
use crate::watch::{Noticed, Watch};
use crate::worker::message::{OutputSpec, Task, Work};
use crate::worker::pool::{Assignment, Outcome, Pool, WorkerReport};

/// Most claimed files in flight; the rest waits in its landing.
const MAX_JOBS: usize = 1024;
/// Most small files handed to a worker together.
const MAX_BATCH: usize = 32;
/// A file up to this size counts as small.
const SMALL_BYTES: u64 = 1 << 20;
/// Pause before an attempt that failed for reasons outside the file starts over.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Beat of the loop's own housekeeping; also feeds the watchdog.
const BEAT: Duration = Duration::from_secs(5);
/// Longest time without an event in which `--once` looks again.
const ONCE_BEAT: Duration = Duration::from_millis(50);

/// A file may have two names for this long, in nanoseconds, before that is worth a warning.
const LINKS_MAY_LAST_NS: i128 = 60_000_000_000;
/// Most warnings that are remembered as said.
const MAX_SAID: usize = 10_000;

type Key = (String, PathBuf);

struct Tracked {
    candidate: Candidate,
    landing: Arc<Landing>,
    claiming: bool,
    /// Finished, and in `deferred`.
    deferred: bool,
}

struct Running {
    job: Job,
    attempts: Attempts,
    /// Set when the file is at fault and its original is being sealed for the quarantine.
    rejected: Option<Fault>,
}

pub(super) struct State {
    config: Arc<Config>,
    landings: Vec<Arc<Landing>>,
    paused: BTreeMap<String, String>,
    watch: Option<Watch>,
    candidates: HashMap<Key, Tracked>,
    timers: BinaryHeap<Reverse<(Duration, TimerKey)>>,
    jobs: HashMap<JobId, Running>,
    ready: VecDeque<JobId>,
    idle: Vec<usize>,
    sweeping: HashSet<String>,
    said: HashSet<String>,
    counts: BTreeMap<&'static str, u64>,
    pool: Pool,
    porter: Sender<Errand>,
    papers: Sender<Paper>,
    events: mpsc::Sender<Event>,
    began: Instant,
    began_at: Timestamp,
    once: bool,
    stopping: Option<Duration>,
    /// Set by the watcher when the loop's queue was full.
    lost_events: Arc<AtomicBool>,
    /// Finished files that wait for a place in flight.
    deferred: VecDeque<Key>,
    last_beat: Duration,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum TimerKey {
    Candidate(Key),
    Sweep(String),
    Retry(JobId),
}

impl State {
    #[allow(clippy::too_many_arguments)] // everything the loop is handed, once
    pub(super) fn new(
        config: Arc<Config>,
        landings: Vec<Arc<Landing>>,
        pool: Pool,
        porter: Sender<Errand>,
        papers: Sender<Paper>,
        events: mpsc::Sender<Event>,
        once: bool,
        recovered: Vec<Job>,
    ) -> State {
        let mut state = State {
            idle: (0..config.daemon.workers).rev().collect(),
            config,
            landings,
            paused: BTreeMap::new(),
            watch: None,
            candidates: HashMap::new(),
            timers: BinaryHeap::new(),
            jobs: HashMap::new(),
            ready: VecDeque::new(),
            sweeping: HashSet::new(),
            said: HashSet::new(),
            counts: BTreeMap::new(),
            pool,
            porter,
            papers,
            events,
            began: Instant::now(),
            began_at: Timestamp::now(),
            once,
            stopping: None,
            lost_events: Arc::default(),
            deferred: VecDeque::new(),
            last_beat: Duration::ZERO,
        };
        for job in recovered {
            state.ready.push_back(job.id());
            state.jobs.insert(job.id(), Running { job, attempts: Attempts::default(), rejected: None });
        }
        state
    }

    /// Runs until it is told to stop and nothing is in flight.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Event>) -> Result<(), DaemonError> {
        let socket = self.config.daemon.state_dir.join("control.sock");
        control::listen(&socket, self.events.clone()).map_err(super::cannot_start)?;
        self.watch_landings();
        self.sweep_all();
        self.dispatch();
        tracing::info!(code = "daemon_started", landings = self.landings.len(), "watching");
        tell_systemd(&[sd_notify::NotifyState::Ready]);
        while !self.is_over() {
            let wait = self.until_next_timer();
            match tokio::time::timeout(wait, inbox.recv()).await {
                Ok(Some(event)) => self.on_event(event),
                Ok(None) => break,
                Err(_) => {}
            }
            self.on_time();
            self.dispatch();
        }
        self.stop(&socket);
        Ok(())
    }

    fn now(&self) -> Now {
        Now { monotonic: self.began.elapsed() + Duration::from_secs(3600), wall_ns: Timestamp::now().as_nanosecond() }
    }

    fn until_next_timer(&self) -> Duration {
        let beat = if self.once || self.stopping.is_some() { ONCE_BEAT } else { BEAT };
        let next = self.timers.peek().map(|Reverse((at, _))| at.saturating_sub(self.now().monotonic));
        next.unwrap_or(beat).min(beat)
    }

    fn is_over(&self) -> bool {
        let now = self.now().monotonic;
        let working =
            self.idle.len() < self.config.daemon.workers || self.jobs.values().any(|it| it.rejected.is_some());
        if let Some(deadline) = self.stopping {
            return !working || now >= deadline;
        }
        if !self.once || !self.jobs.is_empty() || !self.sweeping.is_empty() {
            return false;
        }
        let waited = self.began.elapsed() >= self.config.daemon.shutdown_grace;
        self.candidates.is_empty() || (waited && self.candidates.values().all(|tracked| !tracked.claiming))
    }

    fn stop(&mut self, socket: &Path) {
        tell_systemd(&[sd_notify::NotifyState::Stopping]);
        let _ = std::fs::remove_file(socket); // a stale one is replaced at the next start
        let record = Record::new(Timestamp::now(), Action::DaemonStopped, AuditOutcome::Success)
            .veild("counts", json!(self.counts));
        let (done, stopped) = std::sync::mpsc::channel();
        if self.papers.send(Paper::Stop { record: Box::new(record), done }).is_ok() {
            let _ = stopped.recv_timeout(Duration::from_secs(20)); // the clerk has said what went wrong
        }
        tracing::info!(code = "daemon_stopped", "stopped; {} unfinished file(s) stay in the spool", self.jobs.len());
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Noticed(Noticed::Rescan) => {
                tracing::warn!(code = "watch_failed", "events were lost; sweeping everything");
                self.watch_landings();
                self.sweep_all();
            }
            Event::Noticed(Noticed::Path { path, hint }) => self.on_hint(&path, hint),
            Event::Looked { landing, relative, hint, stat, marker_there } => {
                self.on_looked(landing, relative, hint, stat, marker_there);
            }
            Event::SweepOver { landing, error, free_bytes } => self.on_swept(&landing, error, free_bytes),
            Event::Claimed { landing, relative, arrived_ns, claimed, lease_known } => {
                self.candidates.remove(&(landing.name.clone(), relative));
                if !lease_known && self.said.insert(format!("lease {}", landing.name)) {
                    tracing::warn!(
                        code = "lease_unavailable",
                        landing = landing.name,
                        "open writers cannot be seen here; `quiet` alone decides"
                    );
                }
                self.count("claimed");
                let arrived_at = Timestamp::from_nanosecond(arrived_ns).unwrap_or_else(|_| claimed.job.claim_time());
                let job = Job { config: self.config.clone(), landing, claimed, arrived_at };
                self.admit(job);
            }
            Event::NotClaimed { landing, relative, why } => self.on_not_claimed(landing, relative, &why),
            Event::Begun { worker, jobs } => self.on_begun(worker, jobs),
            Event::Worker(report) => self.on_worker(report),
            Event::AttemptOver { job, attempts } => self.on_attempt_over(job, attempts),
            Event::Decided(verdicts) => verdicts.into_iter().for_each(|(job, verdict)| self.on_verdict(job, verdict)),
            Event::WatchAgain => self.watch_landings(),
            Event::NotBegun { worker, jobs, what } => {
                self.idle.push(worker);
                jobs.into_iter().for_each(|job| self.try_later(job, &what));
            }
            Event::ClerkFailed { what } => {
                tracing::error!(code = "audit_failed", "{what}; make room or mend the audit directory");
            }
            Event::Signal(signal) => self.on_signal(signal),
            Event::Control { request, answer } => {
                let reply = self.on_request(request);
                let _ = answer.send(reply); // the asker may have left
            }
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    // ---- watching ----

    fn watch_landings(&mut self) {
        let (events, lost) = (self.events.clone(), self.lost_events.clone());
        // Never block here: the loop waits for this thread while it adds watches.
        let watch = Watch::start(move |noticed| {
            if events.try_send(Event::Noticed(noticed)).is_err() {
                lost.store(true, Ordering::Relaxed);
            }
        });
        let mut watch = match watch {
            Ok(watch) => watch,
            Err(error) => return self.watch_failed(&error.to_string()),
        };
        for landing in self.landings.clone() {
            if let Err(error) = watch.add(&landing.dir, landing.recursive) {
                self.watch_failed(&format!("{}: {:?}", landing.dir.display(), error.kind));
            }
        }
        self.watch = Some(watch);
    }

    fn watch_failed(&mut self, why: &str) {
        tracing::warn!(code = "watch_failed", "no events: {why}; sweeps go on finding files");
    }

    fn sweep_all(&mut self) {
        for landing in self.landings.clone() {
            self.sweep(&landing);
        }
    }

    fn sweep(&mut self, landing: &Arc<Landing>) {
        if self.sweeping.insert(landing.name.clone()) {
            self.send(Errand::Sweep { landing: landing.clone() });
        }
    }

    fn send(&self, errand: Errand) {
        self.porter.send(errand).expect("the porter ends only after the loop");
    }

    fn hand(&self, paper: Paper) {
        self.papers.send(paper).expect("the clerk ends only after the loop");
    }

    fn on_hint(&mut self, path: &Path, hint: Hint) {
        let landing = self.landings.iter().find(|landing| path.starts_with(&landing.dir)).cloned();
        let Some(landing) = landing else { return };
        let Ok(relative) = path.strip_prefix(&landing.dir) else { return };
        if relative.as_os_str().is_empty() || relative.starts_with(crate::spool::SPOOL) {
            return;
        }
        // A marker speaks for another file: look at the whole landing.
        if landing.complete == crate::config::Complete::Marker
            && hint != Hint::Touched
            && !is_wanted(&landing, relative)
        {
            return self.sweep(&landing);
        }
        if is_wanted(&landing, relative) || landing.recursive {
            self.send(Errand::Look { landing: landing.clone(), relative: relative.to_owned(), hint });
        }
    }

    fn on_swept(&mut self, landing: &Arc<Landing>, error: Option<String>, free_bytes: u64) {
        self.sweeping.remove(&landing.name);
        let at = self.now().monotonic + landing.sweep;
        self.timers.push(Reverse((at, TimerKey::Sweep(landing.name.clone()))));
        let low = free_bytes < self.config.daemon.min_free;
        match (error, low) {
            (Some(error), _) => self.pause(landing, "landing_gone", &format!("{error}; put the directory back")),
            (None, true) => self.pause(landing, "disk_low", "less than min_free is left; make room"),
            (None, false) => self.resume(landing),
        }
    }

    fn pause(&mut self, landing: &Landing, code: &'static str, why: &str) {
        if self.paused.insert(landing.name.clone(), why.to_owned()).is_none() {
            tracing::error!(code, landing = landing.name, "intake paused: {why}");
            let record = Record::new(Timestamp::now(), Action::LandingPaused, AuditOutcome::Failure)
                .veild("landing", json!(landing.name))
                .veild("code", json!(code));
            self.hand(Paper::Audit(Box::new(record)));
        }
    }

    fn resume(&mut self, landing: &Landing) {
        if self.paused.remove(&landing.name).is_some() {
            tracing::info!(code = "landing_back", landing = landing.name, "intake resumed");
            let record = Record::new(Timestamp::now(), Action::LandingResumed, AuditOutcome::Success)
                .veild("landing", json!(landing.name));
            self.hand(Paper::Audit(Box::new(record)));
            self.watch_landings();
        }
    }

    // ---- intake ----

    fn on_looked(
        &mut self,
        landing: Arc<Landing>,
        relative: PathBuf,
        hint: Hint,
        stat: Option<Stat>,
        marker_there: bool,
    ) {
        let key = (landing.name.clone(), relative);
        let Some(stat) = stat else {
            self.candidates.remove(&key);
            return;
        };
        if stat.kind != Kind::Regular {
            self.candidates.remove(&key);
            if self.said.len() < MAX_SAID && self.said.insert(format!("irregular {key:?}")) {
                tracing::warn!(
                    code = "file_irregular",
                    landing = landing.name,
                    "a link, FIFO, socket or device is left alone; remove it"
                );
            }
            return;
        }
        if self.stopping.is_some() || !is_wanted(&landing, &key.1) {
            return;
        }
        let now = self.now();
        let known = self.candidates.get(&key);
        if known.is_some_and(|tracked| tracked.claiming || (tracked.deferred && hint != Hint::Due)) {
            return;
        }
        let candidate = intake::observe(known.map(|tracked| tracked.candidate), now, hint, stat);
        if known.is_none() {
            self.count("arrived");
        }
        self.warn_of_links(&landing, &key, &candidate, now);
        let rules = Rules { complete: landing.complete, quiet: landing.quiet, sweep: landing.sweep };
        let decision = intake::decide(&candidate, now, rules, marker_there);
        let full = self.jobs.len() >= MAX_JOBS || self.paused.contains_key(&landing.name);
        let claiming = decision == Decision::Claim && !full;
        self.candidates.insert(
            key.clone(),
            Tracked { candidate, landing: landing.clone(), claiming, deferred: decision == Decision::Claim && full },
        );
        match decision {
            Decision::Claim if full => self.deferred.push_back(key),
            Decision::Claim => {
                let (_, relative) = key;
                self.send(Errand::Claim { landing, relative, seen: stat, arrived_ns: candidate.arrived_ns });
            }
            Decision::Wait { until } => self.wake(until, key),
            Decision::Idle => {}
        }
    }

    /// A rename by link and unlink has two names for a moment; one that lasts is somebody's way back into the file.
    fn warn_of_links(&mut self, landing: &Landing, key: &Key, candidate: &Candidate, now: Now) {
        let lasting = now.wall_ns - candidate.arrived_ns > LINKS_MAY_LAST_NS;
        if candidate.stat.links != 1
            && lasting
            && self.said.len() < MAX_SAID
            && self.said.insert(format!("links {key:?}"))
        {
            tracing::warn!(
                code = "file_hardlinked",
                landing = landing.name,
                "a file with a second name (hard link) is left alone; remove the other name"
            );
        }
    }

    fn wake(&mut self, at: Duration, key: Key) {
        self.timers.push(Reverse((at, TimerKey::Candidate(key))));
    }

    fn on_not_claimed(&mut self, landing: Arc<Landing>, relative: PathBuf, why: &NotClaimed) {
        let key = (landing.name.clone(), relative);
        let now = self.now().monotonic;
        if let Some(tracked) = self.candidates.get_mut(&key) {
            tracked.claiming = false;
            if matches!(why, NotClaimed::OpenWriter) {
                tracked.candidate.quiet_since = now; // its close restarts `quiet`
            }
        }
        if let NotClaimed::Io(error) = why {
            let what = super::porter::with_source(error);
            tracing::error!(code = "claim_failed", landing = landing.name, "{what}; the file stays where it is");
            return self.wake(now + RETRY_AFTER, key);
        }
        self.wake(now + landing.quiet.max(Duration::from_millis(500)), key);
    }

    fn admit(&mut self, job: Job) {
        let id = job.id();
        let too_large = job.claimed.stamp.bytes > job.landing.max_size;
        self.jobs.insert(id, Running { job, attempts: Attempts::default(), rejected: None });
        if too_large {
            self.reject(id, file_too_large());
        } else {
            self.ready.push_back(id);
        }
    }

    // ---- work ----

    fn dispatch(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        self.look_at_deferred();
        while !self.ready.is_empty()
            && let Some(worker) = self.idle.pop()
        {
            let jobs = self.next_batch();
            if jobs.is_empty() {
                self.idle.push(worker);
                return;
            }
            self.hand(Paper::Begin { worker, jobs });
        }
    }

    /// Takes up finished files once half of the places in flight are free, as many as have a place.
    fn look_at_deferred(&mut self) {
        if self.jobs.len() > MAX_JOBS / 2 {
            return;
        }
        for _ in 0..self.deferred.len().min(MAX_JOBS - self.jobs.len()) {
            let Some(key) = self.deferred.pop_front() else { return };
            match self.candidates.get(&key).map(|tracked| tracked.landing.clone()) {
                Some(landing) if self.paused.contains_key(&landing.name) => self.deferred.push_back(key),
                Some(landing) => self.send(Errand::Look { landing, relative: key.1, hint: Hint::Due }),
                None => {}
            }
        }
    }

    /// The oldest ready file with as many small ones behind it as leaves work for the other workers.
    fn next_batch(&mut self) -> Vec<(JobId, Arc<Landing>)> {
        let share = self.ready.len().div_ceil(self.config.daemon.workers).clamp(1, MAX_BATCH);
        let mut batch = Vec::new();
        while batch.len() < share
            && let Some(id) = self.ready.front().copied()
        {
            let Some(running) = self.jobs.get(&id) else {
                self.ready.pop_front();
                continue;
            };
            let alone = running.job.claimed.stamp.bytes > SMALL_BYTES
                || running.attempts.died > 0
                || running.attempts.interrupted > 1;
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

    fn on_begun(&mut self, worker: usize, jobs: Vec<(JobId, Attempts)>) {
        let mut assignments = Vec::new();
        for (id, attempts) in jobs {
            let Some(running) = self.jobs.get_mut(&id) else { continue };
            running.attempts = attempts;
            if attempts.interrupted > 1 && self.said.insert(format!("interrupted {id}")) {
                tracing::error!(
                    code = "file_interrupted",
                    job = %id,
                    times = attempts.interrupted,
                    "the daemon ended more than once while this file was at work; it runs alone now"
                );
            }
            assignments.push(assignment(running));
        }
        if assignments.is_empty() {
            self.idle.push(worker);
        } else {
            self.pool.assign(worker, assignments);
        }
    }

    fn on_worker(&mut self, report: WorkerReport) {
        let WorkerReport { worker, job, outcome, idle } = report;
        if idle {
            self.idle.push(worker);
        }
        let Some(running) = self.jobs.get_mut(&job) else { return };
        match outcome {
            Outcome::Masked(Ok(report)) => {
                let job = Box::new(running.job.clone());
                self.hand(Paper::Commit { job, report });
            }
            Outcome::Masked(Err(Failure::Reject(fault))) => self.reject(job, fault),
            Outcome::Sealed(Ok(())) => {
                if let Some(fault) = running.rejected.clone() {
                    let (attempts, boxed) = (running.attempts.died, Box::new(running.job.clone()));
                    self.hand(Paper::Quarantine { job: boxed, fault, sealed: true, attempts });
                }
            }
            Outcome::Masked(Err(Failure::Retry { doing, error, .. }))
            | Outcome::Sealed(Err(Failure::Retry { doing, error, .. })) => {
                self.try_later(job, &format!("cannot {doing}: {error}"));
            }
            Outcome::Sealed(Err(Failure::Reject(fault))) => self.try_later(job, &fault.sentence),
            Outcome::NotStarted(why) => self.try_later(job, &why),
            Outcome::Died { hung } => {
                let code = if hung { "worker_hung" } else { "worker_died" };
                tracing::error!(code, job = %job, "a worker ended while it had this file; a new one takes over");
                self.count("worker_deaths");
                self.hand(Paper::AttemptOver { job });
            }
        }
    }

    fn on_attempt_over(&mut self, id: JobId, attempts: Attempts) {
        let Some(running) = self.jobs.get_mut(&id) else { return };
        running.attempts = attempts;
        if attempts.died < self.config.daemon.max_attempts {
            self.ready.push_back(id);
        } else if running.rejected.is_some() {
            // Even sealing the original kills the worker: keep trying, slowly, rather than leave it unsealed.
            self.try_later(id, "workers end while sealing the original");
        } else {
            self.reject(id, worker_died(attempts.died));
        }
    }

    /// Sends a file to quarantine, by way of a worker where its original is to be sealed.
    fn reject(&mut self, id: JobId, fault: Fault) {
        let Some(running) = self.jobs.get_mut(&id) else { return };
        running.rejected = Some(fault.clone());
        if running.job.config.quarantine.recipients.is_empty() {
            let (attempts, job) = (running.attempts.died, Box::new(running.job.clone()));
            self.hand(Paper::Quarantine { job, fault, sealed: false, attempts });
        } else {
            self.ready.push_front(id);
        }
    }

    fn try_later(&mut self, id: JobId, why: &str) {
        tracing::error!(code = "commit_failed", job = %id, "{why}; nothing is lost, tried again in 5 s");
        let at = self.now().monotonic + RETRY_AFTER;
        self.timers.push(Reverse((at, TimerKey::Retry(id))));
    }

    fn on_verdict(&mut self, id: JobId, verdict: Verdict) {
        let Some(running) = self.jobs.get(&id) else { return };
        let landing = running.job.landing.name.clone();
        match verdict {
            Verdict::Sealed { rows, bytes, object } => {
                let object = object.display().to_string();
                tracing::info!(code = "file_sealed", job = %id, landing, rows, bytes, object, "sealed");
                self.count("sealed");
                self.jobs.remove(&id);
            }
            Verdict::Quarantined { fault } => {
                tracing::warn!(code = "file_quarantined", job = %id, landing, reason = fault.code, "{}", fault.sentence);
                self.count("quarantined");
                self.jobs.remove(&id);
            }
            Verdict::Changed => {
                tracing::warn!(code = "file_changed", job = %id, landing, "the file changed after its claim; starting over");
                self.start_over(id);
            }
            Verdict::Failed(why) => self.try_later(id, &why),
        }
    }

    fn start_over(&mut self, id: JobId) {
        let Some(running) = self.jobs.get_mut(&id) else { return };
        running.rejected = None;
        let path = &running.job.claimed.path;
        if let Ok(stamp) = crate::spool::open_regular(path).and_then(|file| crate::spool::stamp(&file, path)) {
            running.job.claimed.stamp = stamp;
        }
        let at = self.now().monotonic + Duration::from_millis(500);
        self.timers.push(Reverse((at, TimerKey::Retry(id))));
    }

    // ---- time, signals, questions ----

    fn on_time(&mut self) {
        let now = self.now().monotonic;
        while self.timers.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, timer))) = self.timers.pop() else { return };
            match timer {
                TimerKey::Candidate(key) => {
                    if let Some(landing) = self.candidates.get(&key).map(|tracked| tracked.landing.clone()) {
                        self.send(Errand::Look { landing, relative: key.1, hint: Hint::Due });
                    }
                }
                TimerKey::Sweep(name) => {
                    if let Some(landing) = self.landings.iter().find(|landing| landing.name == name).cloned() {
                        self.sweep(&landing);
                    }
                }
                TimerKey::Retry(id) => {
                    if self.jobs.contains_key(&id) && !self.ready.contains(&id) {
                        self.ready.push_back(id);
                    }
                }
            }
        }
        if self.lost_events.swap(false, Ordering::Relaxed) {
            tracing::warn!(code = "watch_failed", "events came faster than they could be taken; sweeping everything");
            self.sweep_all();
        }
        if now.saturating_sub(self.last_beat) >= BEAT {
            self.last_beat = now;
            let status = format!("{} in flight, {} waiting", self.jobs.len(), self.candidates.len());
            tell_systemd(&[sd_notify::NotifyState::Watchdog, sd_notify::NotifyState::Status(&status)]);
            self.hand(Paper::Tick);
        }
    }

    fn on_signal(&mut self, signal: i32) {
        use signal_hook::consts::{SIGHUP, SIGUSR1};
        match signal {
            SIGHUP => self.reload(),
            SIGUSR1 => self.sweep_all(),
            _ => {
                let deadline = self.now().monotonic + self.config.daemon.shutdown_grace;
                self.stopping.get_or_insert(deadline);
            }
        }
    }

    /// All or nothing: a bad file leaves the old configuration running.
    fn reload(&mut self) {
        tell_systemd(&[sd_notify::NotifyState::Reloading]);
        let record = match super::reloaded(&self.config) {
            Ok(config) => {
                let record = Record::new(Timestamp::now(), Action::ConfigLoaded, AuditOutcome::Success)
                    .veild("before", json!(self.config.sha256))
                    .veild("after", json!(config.sha256));
                tracing::info!(code = "config_loaded", sha256 = config.sha256, "configuration reloaded");
                self.landings = config.landings.iter().cloned().map(Arc::new).collect();
                self.config = Arc::new(config);
                self.candidates.retain(|_, tracked| tracked.claiming);
                self.watch_landings();
                self.sweep_all();
                record
            }
            Err(why) => {
                tracing::error!(code = "config_rejected", "{why}; the old configuration stays in force");
                Record::new(Timestamp::now(), Action::ConfigRejected, AuditOutcome::Failure)
                    .field("error", json!({"message": why}))
            }
        };
        self.hand(Paper::Audit(Box::new(record)));
        tell_systemd(&[sd_notify::NotifyState::Ready]);
    }

    fn on_request(&mut self, request: Request) -> Value {
        match request {
            Request::Status => self.status(),
            Request::Sweep => {
                self.sweep_all();
                json!({"ok": true})
            }
            Request::Audit(record) => {
                self.hand(Paper::Audit(record));
                json!({"ok": true})
            }
        }
    }

    fn status(&self) -> Value {
        let landings: Vec<Value> = self
            .landings
            .iter()
            .map(|landing| {
                let of = |name: &String| *name == landing.name;
                json!({
                    "name": landing.name,
                    "dir": landing.dir,
                    "waiting": self.candidates.keys().filter(|(name, _)| of(name)).count(),
                    "in_flight": self.jobs.values().filter(|it| of(&it.job.landing.name)).count(),
                    "paused": self.paused.get(&landing.name),
                })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "started_at": self.began_at,
            "config_sha256": self.config.sha256,
            "landings": landings,
            "workers": {"all": self.config.daemon.workers, "idle": self.idle.len()},
            "counts": self.counts,
        })
    }
}

fn assignment(running: &Running) -> Assignment {
    let job = &running.job;
    let (work, incoming) = if running.rejected.is_some() {
        let recipients = job.config.quarantine.recipients.clone();
        (Work::Seal { recipients }, job.incoming_original())
    } else {
        let policy = job.config.policies[&job.landing.policy].clone();
        let output = OutputSpec { policy, recipients: job.landing.recipients.clone() };
        let (dialect, digest) = (job.landing.dialect.clone(), job.config.vault.input_digest);
        (Work::Mask { dialect, digest, outputs: vec![output] }, job.incoming())
    };
    Assignment { task: Task { job: job.id(), work }, source: job.claimed.path.clone(), incoming: vec![incoming] }
}

fn file_too_large() -> Fault {
    Fault {
        code: "file_too_large".to_owned(),
        sentence: "the file is larger than the landing's max_size".to_owned(),
        row: None,
        column: None,
        byte_offset: None,
        advice: "raise max_size and retry the job, or ask the sender to split the file".to_owned(),
    }
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
