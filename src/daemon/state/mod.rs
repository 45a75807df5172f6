//! The loop and what it owns: candidates, jobs, workers, timers.
//!
//! Here are its start, its end and time; [`arrivals`] has the way from a hint to a claim, [`jobs`] that from a claim to
//! a verdict.

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

use super::clerk::{Job, Paper};
use super::event::{Event, Request};
use super::porter::Errand;
use super::{DaemonError, control, tell_systemd};
use crate::audit::{Action, Outcome as AuditOutcome, Record};
use crate::config::{Config, Landing};
use crate::intake::{Candidate, Now};
use crate::job::JobId;
use crate::ledger::Attempts;
use crate::pipeline::Fault;
use crate::watch::{Noticed, Watch};
use crate::worker::pool::Pool;

mod arrivals;
mod jobs;
mod reload;

use reload::{Rejected, Reload};

/// Most claimed files in flight; the rest waits in its landing.
const MAX_JOBS: usize = 1024;
/// Pause before an attempt that failed for reasons outside the file starts over.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Beat of the loop's own housekeeping; also feeds the watchdog.
const BEAT: Duration = Duration::from_secs(5);
/// Longest time without an event in which `--once` looks again.
const ONCE_BEAT: Duration = Duration::from_millis(50);

/// Most warnings that are remembered as said.
const MAX_SAID: usize = 10_000;

type Key = (String, PathBuf);

struct Tracked {
    candidate: Candidate,
    landing: Arc<Landing>,
    claiming: bool,
    /// Finished, and in `deferred`.
    deferred: bool,
    /// When its only timer goes off.
    due: Option<Duration>,
}

/// Where a landing stands between its sweeps.
enum Sweep {
    UnderWay(Arc<Landing>),
    /// When its only timer goes off.
    Due(Duration),
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
    /// By name of the landing.
    sweeps: HashMap<String, Sweep>,
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
    reload: Reload,
    rejected: Option<Rejected>,
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
            sweeps: HashMap::new(),
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
            reload: Reload::Idle,
            rejected: None,
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
        if !self.once || !self.jobs.is_empty() || self.is_sweeping() {
            return false;
        }
        let waited = self.began.elapsed() >= self.config.daemon.shutdown_grace;
        self.candidates.is_empty() || (waited && self.candidates.values().all(|tracked| !tracked.claiming))
    }

    fn is_sweeping(&self) -> bool {
        self.sweeps.values().any(|sweep| matches!(sweep, Sweep::UnderWay(_)))
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
                self.on_looked(&landing, relative, hint, stat, marker_there);
            }
            Event::SweepOver { landing, error, free_bytes } => self.on_swept(&landing, error, free_bytes),
            Event::Claimed { config, landing, relative, arrived_ns, claimed, lease_known } => {
                if let Some(current) = self.current(&landing) {
                    self.candidates.remove(&(current.name.clone(), relative));
                }
                if self.jobs.contains_key(&claimed.job) {
                    return; // adopted twice
                }
                if !lease_known && self.said.insert(format!("lease {}", landing.name)) {
                    tracing::warn!(
                        code = "lease_unavailable",
                        landing = landing.name,
                        "open writers cannot be seen here; `quiet` alone decides"
                    );
                }
                self.count("claimed");
                let arrived_at = Timestamp::from_nanosecond(arrived_ns).unwrap_or_else(|_| claimed.job.claim_time());
                let job = Job { config, landing, claimed, arrived_at };
                self.admit(job);
            }
            Event::NotClaimed { landing, relative, why } => self.on_not_claimed(&landing, relative, &why),
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
            Event::Read(read) => self.on_read(read),
            Event::TakenUp(taken_up) => self.on_taken_up(taken_up),
            Event::Control { request, answer } => {
                let reply = self.on_request(request);
                let _ = answer.send(reply); // the asker may have left
            }
        }
    }

    fn send(&self, errand: Errand) {
        self.porter.send(errand).expect("the porter ends only after the loop");
    }

    fn hand(&self, paper: Paper) {
        self.papers.send(paper).expect("the clerk ends only after the loop");
    }

    fn remind(&mut self, at: Duration, of: TimerKey) {
        self.timers.push(Reverse((at, of)));
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn on_time(&mut self) {
        crate::faults::hold("loop");
        let now = self.now().monotonic;
        while self.timers.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((at, timer))) = self.timers.pop() else { return };
            match timer {
                TimerKey::Candidate(key) => self.on_candidate_due(at, key),
                TimerKey::Sweep(name) => self.on_sweep_due(at, &name),
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
            tell_systemd(&[sd_notify::NotifyState::Watchdog]);
            self.tell_status();
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

    /// The line that `systemctl status` shows.
    fn tell_status(&self) {
        let mut status = format!("{} in flight, {} waiting", self.jobs.len(), self.candidates.len());
        if !self.paused.is_empty() {
            let names: Vec<&str> = self.paused.keys().map(String::as_str).collect();
            status.push_str(&format!("; PAUSED: {}", names.join(", ")));
        }
        if let Some(Rejected { why, .. }) = &self.rejected {
            let why = why.replace('\n', "; "); // a line of its own would be another variable
            status.push_str(&format!("; CONFIGURATION REFUSED, the old one is in force: {why}"));
        }
        tell_systemd(&[sd_notify::NotifyState::Status(&status)]);
    }

    fn on_request(&mut self, request: Request) -> Value {
        match request {
            Request::Status => self.status(),
            Request::Sweep => {
                self.sweep_all();
                json!({"ok": true})
            }
            Request::Adopt { landing_dir, job } => {
                let landing = self.landings.iter().find(|landing| landing.dir == landing_dir).cloned();
                if let Some(landing) = landing.filter(|_| !self.jobs.contains_key(&job)) {
                    self.send(Errand::Adopt { config: self.config.clone(), landing, job });
                }
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
        // Of landings that a reload has taken out, or moved to another name or directory.
        let mut leaving: BTreeMap<&str, usize> = BTreeMap::new();
        for landing in self.jobs.values().map(|it| &it.job.landing) {
            if !self.landings.iter().any(|it| it.name == landing.name) {
                *leaving.entry(&landing.name).or_default() += 1;
            }
        }
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "started_at": self.began_at,
            "config_sha256": self.config.sha256,
            "config_rejected": self.rejected.as_ref().map(|it| json!({"at": it.at, "why": it.why})),
            "landings": landings,
            "leaving": leaving,
            "workers": {"all": self.config.daemon.workers, "idle": self.idle.len()},
            "counts": self.counts,
        })
    }
}
